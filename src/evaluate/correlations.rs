//! How well pictures go with the truth inside windows: correlations, and how sure they are over places.

use super::metrics::pearson;
use super::report::Row;
use crate::modality::Raster;
use crate::sampler::training_generator;
use rand_chacha::rand_core::RngCore;
use std::collections::BTreeMap;

/// Draws of places by which an interval is found.
const DRAWS: usize = 1000;

/// Pearson's correlation of values `(band, pixel)` with the valid pixels of the truth, inside each band, averaged over
/// bands; NaN where the truth does not vary. What does not vary itself goes with nothing.
pub(super) fn correlation(truth: &Raster, values: &[f32]) -> f64 {
    let square = truth.width * truth.height;
    let of_band = |c: usize| {
        let own = truth.valid_of(truth.channel(c));
        if own.iter().all(|v| *v == own[0]) {
            return f64::NAN;
        }
        let found = pearson(&own, &truth.valid_of(&values[c * square..(c + 1) * square]));
        if found.is_nan() { 0.0 } else { found }
    };
    let found: Vec<f64> = (0..truth.channels).map(of_band).filter(|v| v.is_finite()).collect();
    found.iter().sum::<f64>() / found.len() as f64
}

/// Correlations by name of what was compared, and by scene.
#[derive(Debug, Default)]
pub(super) struct Correlations(BTreeMap<&'static str, BTreeMap<String, Vec<f64>>>);

impl Correlations {
    pub(super) fn add(&mut self, scene: &str, of: &'static str, value: f64) {
        if value.is_finite() {
            self.0.entry(of).or_default().entry(scene.to_owned()).or_default().push(value);
        }
    }

    /// Mean over scenes of the means over their windows.
    fn mean(&self, of: &str) -> f64 {
        let scenes = self.by_scene(of);
        scenes.iter().sum::<f64>() / scenes.len() as f64
    }

    fn by_scene(&self, of: &str) -> Vec<f64> {
        let scenes = self.0.get(of).into_iter().flat_map(BTreeMap::values);
        scenes.map(|windows| windows.iter().sum::<f64>() / windows.len() as f64).collect()
    }

    /// All of them, the model's with an interval over places.
    pub(super) fn row(&self, of: &str, windows: usize) -> Row {
        let metric = "correlation inside a window and band";
        let mut row = Row::single(of, metric, "", self.mean("model"), windows);
        row.mean_of_samples = self.mean("one sample");
        let others = self.0.keys().filter(|name| !["model", "one sample"].contains(name));
        row.baselines = others.map(|name| (*name, self.mean(name))).collect();
        row.interval = interval(&self.by_scene("model"));
        row
    }
}

/// Ends of the middle nineteen twentieths of the mean over places drawn with replacement; `None` below three places.
pub(super) fn interval(places: &[f64]) -> Option<[f64; 2]> {
    let n = places.len();
    interval_of(n, &mut |below| (0..n).map(|_| places[below(n)]).sum::<f64>() / n as f64)
}

/// Draws a number below another.
pub(super) type Draw<'a> = dyn FnMut(usize) -> usize + 'a;

/// The same of any figure of places that are drawn with replacement.
pub(super) fn interval_of(places: usize, figure: &mut dyn FnMut(&mut Draw) -> f64) -> Option<[f64; 2]> {
    if places < 3 {
        return None;
    }
    let mut generator = training_generator(0, "bootstrap", "", 0);
    let mut below = |n: usize| (generator.next_u64() % n as u64) as usize;
    let mut figures: Vec<f64> = (0..DRAWS).map(|_| figure(&mut below)).collect();
    figures.sort_by(f64::total_cmp);
    Some([figures[DRAWS / 40], figures[DRAWS - 1 - DRAWS / 40]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_vary_goes_with_nothing_and_intervals_hold_the_mean() {
        let truth = Raster::from_fn(2, 4, 4, |c, pixel| (pixel * (c + 1)) as f32);
        assert!((correlation(&truth, &truth.data) - 1.0).abs() < 1e-9);
        assert_eq!(correlation(&truth, &[0.5; 32]), 0.0);
        assert!(correlation(&Raster::constant(1, 4, 4, 3.0), &[0.5; 16]).is_nan());
        let places = [0.1, 0.2, 0.3, 0.4, 0.5];
        let [low, high] = interval(&places).expect("interval");
        assert!(low > 0.1 && low < 0.3 && high > 0.3 && high < 0.5, "{low} {high}");
        assert!(interval(&places[..2]).is_none());
        let mut correlations = Correlations::default();
        // A scene counts once, however many windows it has.
        [0.0, 0.2].iter().for_each(|v| correlations.add("a", "model", *v));
        correlations.add("b", "model", 0.5);
        correlations.add("b", "model", f64::NAN);
        let row = correlations.row("x", 3);
        assert!((row.model - 0.3).abs() < 1e-9 && row.interval.is_none());
    }
}
