//! Measures of how far realisations differ at a pixel.

use crate::modality::{Modality, Raster, measured_value};

/// A measure of how far realisations differ from each other, or from what was observed, per pixel. None of the former is
/// calibrated error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Population variance (divided by n), physical unit squared.
    Variance,
    /// Its root, physical unit.
    Deviation,
    /// Between the quartiles (linear interpolation), physical unit.
    Quartiles,
    /// Between the smallest and the largest, physical unit.
    Range,
    /// Share of realisations that differ from the most frequent class, 0…1.
    Disagreement,
    /// Entropy of the classes in bits.
    Entropy,
    /// Distance of the mean from what was observed, physical unit.
    Error,
    /// Share of realisations below what was observed (of those that equal it, half), 0…1. At the ends the truth lies
    /// outside the ensemble.
    Rank,
    /// Share of realisations whose class is not the observed one, 0…1.
    Missed,
}

impl Measure {
    /// Those that make sense for a modality, of which something was observed or not; the first is the usual one.
    pub fn of(m: &Modality, observed: bool) -> &'static [Self] {
        let (all, own): (&[Self], _) = match m.classes() {
            Some(_) => (&[Self::Disagreement, Self::Entropy, Self::Missed], 2),
            None => (&[Self::Variance, Self::Deviation, Self::Quartiles, Self::Range, Self::Error, Self::Rank], 4),
        };
        if observed { all } else { &all[..own] }
    }

    /// Whether it compares with what was observed.
    pub fn needs_truth(self) -> bool {
        matches!(self, Self::Error | Self::Rank | Self::Missed)
    }

    /// The measure of one pixel's values.
    pub(super) fn at(self, values: &mut [f32], truth: f32) -> f32 {
        let n = values.len() as f64;
        // In float64: exact enough for elevations of thousands of metres that differ by centimetres.
        let variance = |values: &[f32]| {
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n
        };
        let shares =
            |values: &[f32]| -> Vec<f64> { values.chunk_by(|a, b| a == b).map(|same| same.len() as f64 / n).collect() };
        match self {
            Self::Variance => variance(values) as f32,
            Self::Deviation => variance(values).sqrt() as f32,
            Self::Error => (values.iter().map(|v| f64::from(v - truth)).sum::<f64>() / n).abs() as f32,
            Self::Missed => (values.iter().filter(|v| **v != truth).count() as f64 / n) as f32,
            Self::Rank => {
                let below = values.iter().filter(|v| **v < truth).count() as f64;
                ((below + values.iter().filter(|v| **v == truth).count() as f64 / 2.0) / n) as f32
            }
            _ => {
                values.sort_unstable_by(f32::total_cmp);
                match self {
                    Self::Range => values.last().zip(values.first()).map_or(0.0, |(high, low)| high - low),
                    Self::Disagreement => 1.0 - shares(values).into_iter().fold(0.0, f64::max) as f32,
                    Self::Entropy => -shares(values).iter().map(|p| p * p.log2()).sum::<f64>() as f32,
                    _ => quantile(values, 0.75) - quantile(values, 0.25),
                }
            }
        }
    }
}

/// How far two rasters of a modality are apart: root mean square over all channels and all pixels that are valid in both,
/// in the units of [`measured_value`], or the share of those pixels whose classes differ; `None` if they differ in size or
/// no pixel is valid in both.
pub fn distance(m: &Modality, a: &Raster, b: &Raster) -> Option<f32> {
    if a.data.len() != b.data.len() || a.data.is_empty() {
        return None;
    }
    let pixels = (a.height * a.width).max(1);
    let both = |i: usize| a.is_valid(i % pixels) && b.is_valid(i % pixels);
    let pairs = || a.data.iter().zip(&b.data).enumerate().filter(|(i, _)| both(*i)).map(|(_, pair)| pair);
    let n = pairs().count() as f64;
    if n == 0.0 {
        return None;
    }
    if m.classes().is_some() {
        return Some((pairs().filter(|(a, b)| a != b).count() as f64 / n) as f32);
    }
    let square = |(a, b): (&f32, &f32)| f64::from(measured_value(m, *a) - measured_value(m, *b)).powi(2);
    Some((pairs().map(square).sum::<f64>() / n).sqrt() as f32)
}

/// Linear between the nearest of sorted values.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let at = share * (sorted.len() - 1) as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::{Mask, ModalityTable};

    #[test]
    fn distances_are_in_the_units_people_state() {
        let table = ModalityTable::published();
        let of = |name: &str| table.index(name).map(|i| &table[i]).expect("modality");
        let flat = |m: &Modality, value: f32| Raster::constant(m.channels.len(), m.pixels, m.pixels, value);
        let optical = of("S2L2A_20m");
        let found = distance(optical, &flat(optical, 1000.0), &flat(optical, 1500.0)).expect("distance");
        assert!((found - 0.05).abs() < 1e-6);
        let radar = of("S1RTC");
        let found = distance(radar, &flat(radar, 0.1), &flat(radar, 0.01)).expect("distance");
        assert!((found - 10.0).abs() < 1e-4);
        let cover = of("LULC");
        let mut half = flat(cover, 1.0);
        let n = half.data.len();
        half.data[..n / 2].fill(2.0);
        assert_eq!(distance(cover, &flat(cover, 1.0), &half), Some(0.5));
        assert_eq!(distance(cover, &half, &flat(optical, 1.0)), None);
        // What is not valid is not compared.
        let holed = |first: usize| Mask::from_fn(half.height, half.width, |pixel| pixel >= first);
        let right = half.clone().with_valid(&holed(n / 4)).expect("mask");
        let found = distance(cover, &flat(cover, 1.0), &right).expect("distance");
        assert!((found - 1.0 / 3.0).abs() < 1e-6, "{found}");
        assert_eq!(distance(cover, &half.clone().with_valid(&holed(n)).expect("mask"), &half), None);
    }

    #[test]
    fn measures_are_what_their_names_say() {
        let at = |measure: Measure, values: &[f32]| measure.at(&mut values.to_vec(), 2.0);
        let values = [4.0, 1.0, 2.0, 3.0];
        assert_eq!(at(Measure::Variance, &values), 1.25);
        assert!((at(Measure::Deviation, &values) - 1.25f32.sqrt()).abs() < 1e-6);
        assert_eq!(at(Measure::Range, &values), 3.0);
        // Quartiles 1.75 and 3.25.
        assert_eq!(at(Measure::Quartiles, &values), 1.5);
        assert_eq!(at(Measure::Disagreement, &[7.0, 7.0, 7.0, 2.0]), 0.25);
        assert!((at(Measure::Entropy, &[7.0, 2.0, 7.0, 2.0]) - 1.0).abs() < 1e-6);
        assert_eq!(at(Measure::Error, &values), 0.5);
        assert_eq!(at(Measure::Error, &[1.0, 3.0]), 0.0);
        assert_eq!(at(Measure::Rank, &values), 0.375);
        assert_eq!((at(Measure::Rank, &[3.0, 4.0]), at(Measure::Rank, &[0.0, 1.0])), (0.0, 1.0));
        assert_eq!(at(Measure::Missed, &[7.0, 2.0, 2.0, 5.0]), 0.5);
        for measure in [Measure::Variance, Measure::Quartiles, Measure::Range, Measure::Disagreement, Measure::Entropy]
        {
            assert_eq!(at(measure, &[5.0; 3]), 0.0, "{measure:?} of what agrees");
            assert_eq!(at(measure, &[5.0]), 0.0, "{measure:?} of one");
        }
    }
}
