//! How near an ensemble comes to another image of the same ground.

use super::{Quantity, Realisation, rasters};
use crate::modality::{Mask, Modality, Raster, measured_value};

/// Mean absolute difference from a reference, over pixels that are valid in both: of channels in the units of
/// [`measured_value`], of indices as they are; of classes the share of pixels that differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Number of pixels.
    pub pixels: usize,
    /// Of the mean of the realisations; of classes, of the most frequent one.
    pub mean: f32,
    /// Of one realisation, on average over all.
    pub single: f32,
    /// Of what was observed; `None` if nothing was at these pixels.
    pub observed: Option<f32>,
}

impl Agreement {
    /// Of a quantity of realisations, whose mean or most frequent class is `middle`, at the pixels that `at` chooses (all if `None`); `None` where there is nothing to compare, or sizes
    /// differ.
    pub fn of(
        (m, modality, quantity): (&Modality, usize, Quantity),
        (realisations, middle): (&[&Realisation], &Raster),
        observed: Option<&Raster>,
        reference: &Raster,
        at: Option<&Mask>,
    ) -> Option<Self> {
        let made = rasters(m, modality, realisations).ok()?;
        let from = |raster: &Raster| difference((m, quantity), raster, reference, at);
        let singles = made.iter().map(|raster| Some(from(raster)?.0)).collect::<Option<Vec<f64>>>()?;
        let (mean, pixels) = from(middle)?;
        Some(Self {
            pixels,
            mean: mean as f32,
            single: (singles.iter().sum::<f64>() / singles.len() as f64) as f32,
            observed: observed.and_then(from).map(|(far, _)| far as f32),
        })
    }
}

/// Mean absolute difference of a quantity, or the share of pixels whose classes differ, and the number of pixels.
fn difference(
    (m, quantity): (&Modality, Quantity),
    raster: &Raster,
    reference: &Raster,
    at: Option<&Mask>,
) -> Option<(f64, usize)> {
    let size = (reference.height, reference.width);
    if (raster.height, raster.width) != size || at.is_some_and(|mask| mask.size() != size) {
        return None;
    }
    let (values, truth) = (quantity.pixels(raster)?, quantity.pixels(reference)?);
    let chosen =
        |pixel: &usize| at.is_none_or(|mask| mask.at(*pixel)) && reference.is_valid(*pixel) && raster.is_valid(*pixel);
    let apart = |pixel: usize| match (m.classes(), quantity) {
        (Some(_), _) => f64::from(u8::from(values[pixel] != truth[pixel])),
        (None, Quantity::Index(_)) => f64::from((values[pixel] - truth[pixel]).abs()),
        (None, Quantity::Channel(_)) => {
            f64::from((measured_value(m, values[pixel]) - measured_value(m, truth[pixel])).abs())
        }
    };
    let all: Vec<f64> = (0..size.0 * size.1).filter(chosen).map(apart).collect();
    (!all.is_empty()).then(|| (all.iter().sum::<f64>() / all.len() as f64, all.len()))
}

#[cfg(test)]
mod tests {
    use super::super::statistics;
    use super::*;
    use crate::modality::{ModalityTable, Value};

    fn modality(name: &str) -> (usize, Modality) {
        let table = ModalityTable::published();
        let i = table.index(name).expect("modality");
        (i, table[i].clone())
    }

    fn realisation(modality: usize, raster: Raster) -> Realisation {
        let mut values = vec![None; modality + 1];
        values[modality] = Some(Value::Image(raster));
        Realisation { values, ..Realisation::default() }
    }

    #[test]
    fn means_come_nearer_than_single_ones_and_holes_do_not_count() {
        let (i, m) = modality("S2L2A_10m");
        let flat = |level: f32| Raster::constant(m.channels.len(), 4, 4, level);
        let made = [realisation(i, flat(1000.0)), realisation(i, flat(3000.0))];
        let made: Vec<&Realisation> = made.iter().collect();
        let half = Mask::from_fn(4, 4, |pixel| pixel < 8);
        let mut truth = flat(2500.0);
        truth.data[0] = 9000.0;
        let truth = truth.with_valid(&Mask::from_fn(4, 4, |pixel| pixel != 0)).expect("valid");
        let channel = (&m, i, Quantity::Channel(0));
        let middle = statistics(&m, i, &made).expect("statistics").middle();
        let made = (&made[..], &middle);
        let found = Agreement::of(channel, made, Some(&flat(7500.0)), &truth, Some(&half)).expect("agreement");
        assert_eq!((found.pixels, found.observed), (7, Some(0.5)));
        assert!((found.mean - 0.05).abs() < 1e-6 && (found.single - 0.1).abs() < 1e-6, "{found:?}");
        let other = Raster::constant(m.channels.len(), 2, 2, 1.0);
        assert_eq!(Agreement::of(channel, made, None, &other, None), None, "another size");
        assert_eq!(Agreement::of(channel, made, None, &truth, Some(&Mask::from_fn(4, 4, |_| false))), None);
    }

    #[test]
    fn classes_are_counted() {
        let (i, m) = modality("LULC");
        let flat = |level: f32| Raster::constant(1, 2, 2, level);
        let made = [1.0, 2.0, 2.0].map(|code| realisation(i, flat(code)));
        let made: Vec<&Realisation> = made.iter().collect();
        let middle = statistics(&m, i, &made).expect("statistics").middle();
        let made = (&made[..], &middle);
        let found = Agreement::of((&m, i, Quantity::Channel(0)), made, None, &flat(2.0), None).expect("agreement");
        assert_eq!((found.mean, found.observed, found.pixels), (0.0, None, 4));
        assert!((found.single - 1.0 / 3.0).abs() < 1e-6);
    }
}
