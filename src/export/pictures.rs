//! Pictures for reports and slides: what was observed, each realisation, their mean and spread, with their lineage inside.

use super::{Exporter, numbers};
use crate::ensemble::{Measure, Quantity, Realisation, Samples, Statistics, kept, statistics};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Modality, Raster, Subject};
use crate::view::{self, Legend, Look};
use image::RgbImage;
use std::path::PathBuf;

/// How pictures look.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// Whether a legend is drawn below.
    pub legend: bool,
    /// Whether each picture has a stretch of its own; otherwise those of one modality share one.
    pub own_stretch: bool,
    /// A modality that is not looked at in its usual way, if any.
    pub chosen: Option<ChosenLook>,
    /// What was observed, by modality: it is drawn beside, and sets the stretch that is shared.
    pub observed: Vec<Option<Raster>>,
}

/// How one modality is looked at, and how its spread is measured.
#[derive(Debug, Clone)]
pub struct ChosenLook {
    /// Index of the modality.
    pub modality: usize,
    /// Place in [`view::looks`].
    pub look: usize,
    /// What is compared over realisations.
    pub quantity: Quantity,
    /// How its spread is measured.
    pub measure: Measure,
    /// Values at both ends of the legend of spread, if they were set by hand.
    pub range: Option<[f32; 2]>,
}

impl Pictures {
    /// Pictures in the usual look, with a legend and one stretch for all.
    pub fn usual(observed: Vec<Option<Raster>>) -> Self {
        Self { legend: true, own_stretch: false, chosen: None, observed }
    }

    fn observed(&self, modality: usize) -> Option<&Raster> {
        self.observed.get(modality)?.as_ref()
    }

    fn of(&self, modality: usize, m: &Modality) -> Option<Drawn> {
        let chosen = self.chosen.as_ref().filter(|chosen| chosen.modality == modality);
        let mut looks = view::looks(m);
        if looks.is_empty() {
            return None;
        }
        let at = chosen.map_or(0, |chosen| chosen.look).min(looks.len() - 1);
        let (name, look) = looks.swap_remove(at);
        let (quantity, measure) = chosen.map_or_else(
            || (view::quantity_of(look), Measure::of(m, false)[0]),
            |chosen| (chosen.quantity, chosen.measure),
        );
        let named = Quantity::of(m).into_iter().find(|(_, other)| *other == quantity);
        let quantity_name = named.map(|(name, _)| name).unwrap_or_default();
        let range = chosen.and_then(|chosen| chosen.range);
        Some(Drawn { name, look, quantity, quantity_name, measure, range })
    }
}

/// How the pictures of one modality are drawn.
struct Drawn {
    /// The look's name.
    name: String,
    look: Look,
    quantity: Quantity,
    quantity_name: String,
    measure: Measure,
    range: Option<[f32; 2]>,
}

impl Drawn {
    fn spread_name(&self) -> String {
        format!("{} {}", view::spread_name(self.measure), self.quantity_name)
    }
}

/// What the picture of the middle of the realisations shows.
fn middle_name(m: &Modality) -> &'static str {
    if m.classes().is_some() { "mode" } else { "mean" }
}

impl Exporter<'_> {
    /// Where the pictures of a modality of realisations with these numbers are written.
    pub(super) fn picture_paths(&self, pictures: &Pictures, i: usize, indices: &[u64]) -> Vec<PathBuf> {
        let m = &self.lineage.table[i];
        let (Some(drawn), Some(range)) = (pictures.of(i, m), super::range(indices)) else { return Vec::new() };
        let observed = pictures.observed(i).map(|_| self.picture_path("observed", m, &drawn.name));
        let each = indices.iter().map(|index| self.picture_path(&format!("r{index:03}"), m, &drawn.name));
        let mut paths: Vec<PathBuf> = observed.into_iter().chain(each).collect();
        if indices.len() > 1 {
            paths.push(self.picture_path(&format!("{}_{}", numbers(range), middle_name(m)), m, &drawn.name));
            paths.push(self.picture_path(&format!("{}_spread", numbers(range)), m, &drawn.spread_name()));
        }
        paths
    }

    fn picture_path(&self, part: &str, m: &Modality, look: &str) -> PathBuf {
        let plain: String = look.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
        self.path(&format!("{part}_"), &format!("{}_{}.png", m.name, words.join("-")))
    }

    /// Draws and writes the pictures of one modality: what was observed, each realisation, their mean (or most frequent
    /// class) and spread. Places and dates have none.
    ///
    /// # Errors
    /// When a picture cannot be drawn or written.
    pub(super) fn pictures(
        &self,
        pictures: &Pictures,
        i: usize,
        realisations: &[&Realisation],
    ) -> Result<Vec<PathBuf>> {
        let m = &self.lineage.table[i];
        let held: Vec<(u64, &Raster)> =
            realisations.iter().filter_map(|r| Some((r.index, r.values.get(i)?.as_ref()?.image()?))).collect();
        let indices: Vec<u64> = held.iter().map(|(index, _)| *index).collect();
        let (Some(drawn), Some(range)) = (pictures.of(i, m), super::range(&indices)) else { return Ok(Vec::new()) };
        let look = drawn.look;
        let observed = pictures.observed(i);
        // What was observed sets the scale where it is known: then wrong levels show as such.
        let kept = kept(realisations.iter().copied(), i);
        let sky = self.lineage.table.finest(Subject::Clouds).and_then(|sky| pictures.observed(sky));
        let part = observed.and_then(|observed| view::comparable(m, observed, kept, sky));
        let scale = match &part {
            Some(part) => vec![part],
            None => held.iter().map(|(_, raster)| *raster).collect(),
        };
        // What lies under a cloud is not the truth of what was sampled in its place.
        let truth = observed.filter(|_| !self.lineage.kept.contains(&i));
        let word = if self.lineage.kept.contains(&i) { "partly synthetic" } else { "synthetic" };
        let shared = view::stretch(m, look, &scale);
        let draw = |raster: &Raster, title: &str, synthetic: bool| {
            let own = pictures.own_stretch.then(|| view::stretch(m, look, &[raster]));
            let stretch = own.as_ref().unwrap_or(&shared);
            let legend = pictures.legend.then(|| Legend::of_look(m, (&drawn.name, look), raster, stretch, title));
            view::labelled(&view::picture(m, look, raster, stretch), legend.as_ref(), synthetic.then_some(word))
        };
        let (tile, seed) = (&self.lineage.tile, self.lineage.seed);
        let mut written = Vec::new();
        let mut put = |part: &str, look: &str, picture: &RgbImage, synthetic: bool| -> Result<()> {
            let path = self.picture_path(part, m, look);
            let bytes =
                self.encoded(picture, synthetic).map_err(|e| Error::file(&path, format!("Cannot be encoded: {e}")))?;
            write_atomically(&path, &bytes)?;
            written.push(path);
            Ok(())
        };
        if let Some(observed) = observed {
            let picture = draw(observed, &format!("{} observed, {tile}", m.name), false)?;
            put("observed", &drawn.name, &picture, false)?;
        }
        for (index, raster) in &held {
            let title = format!("{} realisation {index}, seed {seed}, {tile} ({word})", m.name);
            put(&format!("r{index:03}"), &drawn.name, &draw(raster, &title, true)?, true)?;
        }
        if held.len() > 1 {
            let middle = match statistics(m, i, realisations)? {
                Statistics::Continuous { mean: middle, .. } | Statistics::Classes { mode: middle, .. } => middle,
            };
            let (what, count) = (middle_name(m), held.len());
            let title = format!("{} {what} of {count} realisations, {tile} ({word})", m.name);
            let part = format!("{}_{what}", numbers(range));
            put(&part, &drawn.name, &draw(&middle, &title, true)?, true)?;
            let samples = Samples::new(m, i, drawn.quantity, realisations, truth, drawn.measure)?;
            let ends = drawn.range.unwrap_or_else(|| view::spread_range(&samples));
            let title = format!("{} {}, {count} realisations, {tile}", m.name, drawn.quantity_name);
            let legend = pictures.legend.then(|| Legend::of_spread(m, drawn.quantity, drawn.measure, ends, &title));
            let picture =
                view::labelled(&view::spread_picture(&samples.spread(), ends), legend.as_ref(), Some("synthetic"))?;
            put(&format!("{}_spread", numbers(range)), &drawn.spread_name(), &picture, true)?;
        }
        Ok(written)
    }

    /// A picture as PNG. Lineage goes into text chunks; one of what was observed (`synthetic` false) says only what and
    /// where it is.
    fn encoded(&self, picture: &RgbImage, synthetic: bool) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let shown = |key: &str| synthetic || ["tile", "program"].contains(&key);
        for (key, value) in self.lineage.metadata.iter().filter(|(key, _)| shown(key)) {
            encoder.add_itxt_chunk(key.clone(), value.clone())?;
        }
        if !synthetic {
            encoder.add_itxt_chunk("synthetic".into(), "no".into())?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(picture.as_raw())?;
        writer.finish()?;
        Ok(bytes)
    }
}
