//! Painting: values as pictures that are ready to become textures, with the figures that go with them.

use crate::app::state::ticket::Ticket;
use crate::ensemble::{Agreement, Measure, Quantity, Realisation, Samples, Statistics, distance, kept, statistics};
use crate::modality::{Mask, Modality, ModalityTable, Raster};
use crate::project::RunId;
use crate::view::{self, AreaFigures, AreaOrder, Look, Spot, Stretch, area_figures};
use egui::ColorImage;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A picture ready to become a texture.
pub(crate) type Picture = Arc<ColorImage>;

/// Of what pictures are painted, and how: those that agree in it can stand beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendering {
    /// The run.
    pub run: RunId,
    /// Index of the modality.
    pub modality: usize,
    /// How its values become colours.
    pub look: Look,
    /// Whether each picture has a stretch of its own.
    pub own_stretch: bool,
    /// Folder of the scene that is compared with it, once it is read.
    pub reference: Option<PathBuf>,
}

/// What to paint of a run in one modality.
pub struct GalleryOrder {
    /// The request it answers.
    pub ticket: Ticket,
    /// Row of the table.
    pub m: Modality,
    /// What its pictures are of, and how they are painted.
    pub rendering: Rendering,
    /// What is compared over realisations.
    pub quantity: Quantity,
    /// How spread is measured.
    pub measure: Measure,
    /// What was observed there.
    pub observed: Option<Raster>,
    /// The part of it that sets the contrast; the realisations do if there is none.
    pub scale: Option<Raster>,
    /// What another scene shows there, which is compared with it.
    pub reference: Option<Raster>,
    /// Whether what was observed is the truth of what was sampled, if there is no reference.
    pub truth: bool,
    /// All realisations of the ensemble.
    pub realisations: Vec<Arc<Realisation>>,
    /// What was painted of the same run in the same way, if anything was.
    pub before: Option<Before>,
    /// An area to count in: its corners, all modalities, and what was observed of each.
    pub area: Option<([Spot; 2], ModalityTable, Vec<Option<Raster>>)>,
}

/// What has been painted already.
#[derive(Debug, Clone)]
pub struct Before {
    /// The stretch that all pictures share.
    pub stretch: Stretch,
    /// Realisations whose pictures there are, with their distance from what was observed.
    pub realisations: BTreeMap<u64, Option<f32>>,
}

/// How far a realisation is from others, in the units of [`distance`]; `None` where there is nothing to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Distances {
    /// From the mean (or most frequent class) of all.
    pub mean: Option<f32>,
    /// From what was observed, or from the reference.
    pub observed: Option<f32>,
}

/// Pictures of one modality of a run.
pub struct Gallery {
    /// What its pictures are of, and how they were painted.
    pub rendering: Rendering,
    /// The stretch that all pictures share.
    pub stretch: Stretch,
    /// What was observed; `None` if there is nothing, or its picture is as before.
    pub observed: Option<Picture>,
    /// What the reference shows; `None` if there is none, or its picture is as before.
    pub reference: Option<Picture>,
    /// How near all come to it: where something was sampled, and where it was kept as observed.
    pub agreement: [Option<Agreement>; 2],
    /// Pictures by number of the realisation: those that are new, or no longer as before.
    pub realisations: Vec<(u64, Picture)>,
    /// Mean or most frequent class, from two realisations on.
    pub mean: Option<Picture>,
    /// How far each realisation is from the mean and from the truth, by its number.
    pub distances: BTreeMap<u64, Distances>,
    /// Data of the overlay, from two realisations on, with a range for its legend.
    pub spread: Option<(Quantity, Samples, [f32; 2])>,
    /// Figures of the area that is marked.
    pub area: Option<AreaFigures>,
}

/// The usual picture, with its own stretch.
pub(crate) fn usual(m: &Modality, raster: &Raster) -> Picture {
    let look = view::usual_look(m);
    drawn(m, look, raster, &view::stretch(m, look, &[raster]))
}

fn drawn(m: &Modality, look: Look, raster: &Raster, stretch: &Stretch) -> Picture {
    let picture = view::picture(m, look, raster, stretch);
    let pixels = picture.pixels.iter().map(|[r, g, b]| egui::Color32::from_rgb(*r, *g, *b)).collect();
    Arc::new(ColorImage::new([picture.width, picture.height], pixels))
}

/// Stripes over the pixels that a mask leaves out, nothing over the others.
pub(crate) fn hatching(mask: &Mask) -> Picture {
    let (rows, columns) = mask.size();
    let stripe = |pixel: usize| match mask.at(pixel) {
        true => egui::Color32::TRANSPARENT,
        false if (pixel / columns + pixel % columns) % 6 < 2 => {
            egui::Color32::from_rgba_unmultiplied(240, 160, 64, 230)
        }
        false => egui::Color32::from_rgba_unmultiplied(20, 22, 28, 90),
    };
    Arc::new(ColorImage::new([columns, rows], (0..rows * columns).map(stripe).collect()))
}

/// Paints the gallery of one modality: what is new in it, and what another contrast has changed. `None` if it was ordered
/// anew meanwhile.
pub(crate) fn gallery(order: &GalleryOrder) -> Option<Gallery> {
    if !order.ticket.is_latest() {
        return None;
    }
    let (m, rendering) = (&order.m, &order.rendering);
    let (index, look, own_stretch) = (rendering.modality, rendering.look, rendering.own_stretch);
    let all: Vec<&Realisation> = order.realisations.iter().map(AsRef::as_ref).collect();
    let held: Vec<(u64, &Raster)> =
        all.iter().filter_map(|r| Some((r.index, r.values.get(index)?.as_ref()?.image()?))).collect();
    // What was observed sets the scale where it is known: then wrong levels show as such.
    let scale = match &order.scale {
        Some(part) if part.valid_share() > 0.0 => vec![part],
        _ => held.iter().map(|(_, raster)| *raster).collect(),
    };
    let stretch = view::stretch(m, look, &scale);
    let drawn = |raster: &Raster| {
        let own = own_stretch.then(|| view::stretch(m, look, &[raster]));
        drawn(m, look, raster, own.as_ref().unwrap_or(&stretch))
    };
    let before = order.before.as_ref().filter(|before| own_stretch || before.stretch == stretch);
    let is_new = |index: &u64| before.is_none_or(|before| !before.realisations.contains_key(index));
    let middle = statistics(m, index, &all).ok().map(Statistics::middle);
    // One alone is its own mean: nothing to show, or to be near to.
    let shown = middle.as_ref().filter(|_| held.len() > 1);
    // Distances from what was observed stay as they are, whatever the contrast.
    let known = |index: &u64| order.before.as_ref()?.realisations.get(index).copied();
    let truth = order.reference.as_ref().or(order.observed.as_ref().filter(|_| order.truth));
    let from = |other: Option<&Raster>, raster: &Raster| other.and_then(|other| distance(m, raster, other));
    let distances = held.iter().map(|(index, raster)| {
        let observed = known(index).unwrap_or_else(|| from(truth, raster));
        (*index, Distances { mean: from(shown, raster), observed })
    });
    let spread = (held.len() > 1).then(|| {
        let samples = Samples::new(m, index, order.quantity, &all, truth, order.measure).ok()?;
        let range = view::spread_range(&samples);
        Some((order.quantity, samples, range))
    });
    let agreement = order.reference.as_ref().zip(middle.as_ref()).map_or([None, None], |(reference, middle)| {
        let kept = kept(all.iter().copied(), index);
        let sampled = kept.map(Mask::inverted);
        let within = |at| {
            let made = (&all[..], middle);
            Agreement::of((m, index, order.quantity), made, order.observed.as_ref(), reference, at)
        };
        [within(sampled.as_ref()), kept.and_then(|kept| within(Some(kept)))]
    });
    let area = order.area.as_ref().and_then(|(area, table, observed)| {
        let (quantity, realisations) = (order.quantity, &all[..]);
        area_figures(&AreaOrder { area: *area, table, observed, realisations, modality: index, quantity })
    });
    Some(Gallery {
        rendering: order.rendering.clone(),
        stretch,
        observed: order.observed.as_ref().filter(|_| before.is_none()).map(drawn),
        reference: order.reference.as_ref().filter(|_| before.is_none()).map(drawn),
        agreement,
        realisations: held.iter().filter(|(i, _)| is_new(i)).map(|(i, raster)| (*i, drawn(raster))).collect(),
        mean: shown.map(drawn),
        distances: distances.collect(),
        spread: spread.flatten(),
        area,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::state::ticket::Requests;
    use crate::modality::Value;

    /// An order for realisations of one level each, in a modality of several bands.
    fn order(levels: &[f32], observed: Option<f32>) -> GalleryOrder {
        let table = ModalityTable::published();
        let modality = table.index("S2L2A_10m").expect("modality");
        let m = table[modality].clone();
        // Not flat, so that every picture has a contrast of its own.
        let raster = |level: f32| {
            let mut raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, level);
            raster.data.iter_mut().enumerate().for_each(|(i, v)| *v += (i % 97) as f32);
            raster
        };
        let realisation = |(index, level): (usize, &f32)| {
            let mut values = vec![None; table.len()];
            values[modality] = Some(Value::Image(raster(*level)));
            Arc::new(Realisation { index: index as u64, seed: 1, values, ..Realisation::default() })
        };
        GalleryOrder {
            ticket: Requests::default().next(),
            rendering: Rendering {
                run: RunId::now(),
                modality,
                look: view::usual_look(&m),
                own_stretch: false,
                reference: None,
            },
            quantity: Quantity::Channel(0),
            measure: Measure::of(&m, observed.is_some())[0],
            observed: observed.map(raster),
            scale: observed.map(raster),
            reference: None,
            truth: observed.is_some(),
            realisations: levels.iter().enumerate().map(realisation).collect(),
            before: None,
            area: None,
            m,
        }
    }

    fn before(gallery: &Gallery) -> Option<Before> {
        let realisations = gallery.distances.iter().map(|(index, far)| (*index, far.observed)).collect();
        Some(Before { stretch: gallery.stretch, realisations })
    }

    fn numbers(gallery: &Gallery) -> Vec<u64> {
        gallery.realisations.iter().map(|(index, _)| *index).collect()
    }

    #[test]
    fn only_what_is_new_is_painted_and_looks_as_if_all_were() {
        let first = gallery(&order(&[900.0, 1100.0], Some(1000.0))).expect("painted");
        assert_eq!((numbers(&first), first.observed.is_some()), (vec![0, 1], true));
        let three = [900.0, 1100.0, 1500.0];
        let whole = gallery(&order(&three, Some(1000.0))).expect("painted");
        let more = GalleryOrder { before: before(&first), ..order(&three, Some(1000.0)) };
        let more = gallery(&more).expect("painted");
        assert_eq!((numbers(&more), more.observed.is_some()), (vec![2], false));
        assert_eq!(more.realisations[0].1.pixels, whole.realisations[2].1.pixels);
        // Mean, spread and distances are those of all.
        assert_eq!(more.mean.map(|m| m.pixels.clone()), whole.mean.map(|m| m.pixels.clone()));
        assert_eq!(more.distances, whole.distances);
        assert_eq!(more.spread.map(|(_, samples, _)| samples.count), Some(3));
    }

    #[test]
    fn another_contrast_paints_all_anew_unless_each_has_its_own() {
        let first = gallery(&order(&[900.0, 1100.0], None)).expect("painted");
        let brighter = [900.0, 1100.0, 9000.0];
        let more = GalleryOrder { before: before(&first), ..order(&brighter, None) };
        assert_eq!(numbers(&gallery(&more).expect("painted")), [0, 1, 2], "the shared contrast has changed");
        let mut own = GalleryOrder { before: before(&first), ..order(&brighter, None) };
        own.rendering.own_stretch = true;
        assert_eq!(numbers(&gallery(&own).expect("painted")), [2]);
        let requests = Requests::default();
        let late = GalleryOrder { ticket: requests.next(), ..own };
        requests.next();
        assert!(gallery(&late).is_none(), "it was ordered anew");
    }
}
