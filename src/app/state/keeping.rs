//! Partly given modalities of a session: what is kept of them here, and how that is painted.

use crate::app::state::choices::Choices;
use crate::app::state::questions::Question;
use crate::app::state::session::Session;
use crate::job::{Keep, KnownWhere, kept_mask};
use crate::modality::{ClassMap, Mask, Raster, Subject, Value};
use crate::sampler::Role;

impl Session {
    /// The raster of a modality here.
    fn image(&self, i: usize) -> Option<&Raster> {
        self.known(i).and_then(Value::image)
    }

    /// What tells here how clear the sky is.
    fn sky(&self) -> Option<&Raster> {
        self.image(self.table()?.finest(Subject::Clouds)?)
    }

    /// What is kept of a modality unless something else is said: of an image in sunlight what is clear, else what is valid,
    /// else all, for a mask to be painted. `None` if nothing of it is known here.
    pub fn usual_keep(&self, i: usize) -> Option<Keep> {
        let (m, raster) = (self.table()?.get(i)?, self.image(i)?);
        let known = match (self.sky(), raster.valid()) {
            (Some(_), _) if m.about.is_optical() => KnownWhere::Clear { also: Vec::new() },
            (_, Some(_)) => KnownWhere::Valid,
            _ => KnownWhere::Painted(ClassMap::constant((raster.height, raster.width), 1)),
        };
        Some(Keep { known, buffer_m: Keep::BUFFER_M })
    }

    /// The modalities whose mask changes with that of this one: all that are partly given.
    pub fn kept_together(&self, i: usize) -> Vec<usize> {
        let mut all: Vec<usize> = self.choices.now().keep.keys().copied().collect();
        if !all.contains(&i) {
            all.push(i);
        }
        all
    }

    /// The pixels of a modality that this would keep here; `None` if that is not known without reading a file.
    pub fn mask_of(&self, i: usize, keep: &Keep) -> Option<Mask> {
        let footprint = &self.observed.as_ref()?.ground.footprint;
        if matches!(keep.known, KnownWhere::File(_)) {
            return None;
        }
        kept_mask(self.table()?.get(i)?, keep, self.sky(), self.image(i)?, footprint).ok()
    }

    /// Of images in sunlight whose sky is known: what is clear of them, and the pixels that keeps.
    fn clear(&self) -> impl Iterator<Item = (usize, Keep, Mask)> {
        let optical = self.table().into_iter().flat_map(|table| table.iter().enumerate());
        optical.filter(|(_, m)| m.about.is_optical()).filter_map(|(i, _)| {
            let keep = self.usual_keep(i).filter(|keep| matches!(keep.known, KnownWhere::Clear { .. }))?;
            let mask = self.mask_of(i, &keep)?;
            Some((i, keep, mask))
        })
    }

    /// Choices of a question, with what is kept by it: the clear pixels of images whose sky is known, if there are any.
    pub(super) fn with_kept(&self, question: Question, mut choices: Choices) -> Choices {
        if question == Question::CloudFree {
            let some = self.clear().filter(|(_, _, mask)| mask.count() > 0 && !mask.is_full());
            let generated = some.filter(|(i, ..)| choices.roles.get(*i) == Some(&Role::Generated));
            let kept: Vec<(usize, Keep)> = generated.map(|(i, keep, _)| (i, keep)).collect();
            choices.keep.extend(kept);
        }
        choices
    }

    /// What has to be said about a question's choices: that nothing of a cloudy image is clear, or nothing cloudy.
    pub fn remark_on(&self, question: Question, choices: &Choices) -> Option<String> {
        if question != Question::CloudFree || !choices.keep.is_empty() {
            return None;
        }
        let words = match self.clear().next()?.2.share() {
            0.0 => "Nothing is clear here, or far enough from a cloud: all of it is sampled.",
            _ => "There is no cloud here: all of it is sampled anew.",
        };
        Some(format!("{}: {words}", question.name()))
    }

    /// Paints a stroke over the mask that all partly given modalities share.
    pub(super) fn paint_mask(&mut self, i: usize, onto: impl FnOnce(&mut ClassMap, f64)) {
        let Some(table) = self.table() else { return };
        let Some((m, keep)) = table.get(i).zip(self.choices.now().keep.get(&i)) else { return };
        // What was proposed becomes paint with its buffer, so no other buffer is added.
        let mut map = match &keep.known {
            KnownWhere::Painted(map) => map.clone(),
            _ => {
                let Some(mask) = self.mask_of(i, keep) else { return };
                ClassMap::of_mask(&mask)
            }
        };
        onto(&mut map, m.ground_m);
        let all: Vec<usize> = self.choices.now().keep.keys().copied().collect();
        self.choices.paint_kept(&all, &Keep { known: KnownWhere::Painted(map), buffer_m: 0.0 });
    }
}
