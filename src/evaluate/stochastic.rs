//! The questions that have many right answers: realisations beside repeated acquisitions, and clear sky on demand.

use super::metrics::{intra_set_distance, mmd2, one_nn_accuracy, precision_recall, range_coverage, wasserstein1};
use super::report::Row;
use super::task_input::{TaskInput, rasters};
use super::windows::{HeldWindow, clear_share};
use crate::error::Result;
use crate::job::SetValue;
use crate::modality::{Location, Raster, Subject, Value, measured};

/// Neighbours that make the radius of a point (specification G.3).
const NEIGHBOURS: usize = 5;

/// Acquisitions a window needs to be a series.
const LEAST_DATES: usize = 4;

impl TaskInput<'_> {
    /// Windows that several scenes hold: one list per piece of ground.
    fn series(&self, modality: usize) -> Vec<Vec<&HeldWindow>> {
        let mut series: Vec<Vec<&HeldWindow>> = Vec::new();
        for window in self.windows.iter().filter(|w| w.truth[modality].is_some()) {
            let Some(here) = place(window) else { continue };
            // Within some hundred metres.
            let near = |a: Location, b: Location| (a.lat - b.lat).abs() < 2e-3 && (a.lon - b.lon).abs() < 2e-3;
            let same = |w: &HeldWindow| place(w).is_some_and(|there| near(here, there));
            match series.iter_mut().find(|s| same(s[0])) {
                Some(dates) => dates.push(window),
                None => series.push(vec![window]),
            }
        }
        series.retain(|dates| dates.len() >= LEAST_DATES);
        series
    }

    /// G.3 on mean spectra over the 10 m bands: real dates against realisations given place and day alone.
    pub(super) fn dates(&self) -> Result<Vec<Row>> {
        let Some(target) = self.finest(Subject::SurfaceReflectance) else { return Ok(Vec::new()) };
        let m = &self.evaluation.model.manifest.modalities[target];
        let given = self.telling_of(&[Subject::Place, Subject::Date]);
        // Training windows drawn at random are what a model without any skill would answer.
        let drawn: Vec<Vec<f64>> = self.training.rasters(target).map(|r| spectrum(&r)).collect();
        let samples = self.evaluation.samples;
        let series = self.series(target);
        let mut figures: Vec<(&str, Vec<f64>, Vec<f64>)> = Vec::new();
        let mut real_distance = Vec::new();
        for (k, dates) in series.iter().enumerate() {
            let real: Vec<Vec<f64>> =
                dates.iter().filter_map(|w| Some(spectrum(&measured(m, w.image(target)?)))).collect();
            let middle = dates[dates.len() / 2];
            let realisations = self.realisations(middle, &given, &[target], &[])?;
            let made: Vec<Vec<f64>> = rasters(&realisations, target).map(|r| spectrum(&measured(m, r))).collect();
            let start = (k * samples) % drawn.len().saturating_sub(samples).max(1);
            let random: Vec<Vec<f64>> = drawn.iter().skip(start).take(samples).cloned().collect();
            let measures = |made: &[Vec<f64>]| {
                let (precision, recall) = precision_recall(&real, made, NEIGHBOURS);
                let band = |set: &[Vec<f64>], b: usize| set.iter().map(|v| v[b]).collect::<Vec<f64>>();
                let bands = real[0].len();
                let distance =
                    (0..bands).map(|b| wasserstein1(&band(&real, b), &band(made, b))).sum::<f64>() / bands as f64;
                [
                    ("recall", recall),
                    ("precision", precision),
                    ("range coverage", range_coverage(&real, made)),
                    ("intra-set distance", intra_set_distance(made)),
                    // As many of either: only then is a half ideal.
                    ("1-NN accuracy (0.5 is ideal)", one_nn_accuracy(&real, &made[..made.len().min(real.len())])),
                    ("MMD²", mmd2(&real, made)),
                    ("Wasserstein-1", distance),
                ]
            };
            for ((name, value), (_, baseline)) in measures(&made).into_iter().zip(measures(&random)) {
                match figures.iter_mut().find(|(known, ..)| *known == name) {
                    Some((_, values, baselines)) => {
                        values.push(value);
                        baselines.push(baseline);
                    }
                    None => figures.push((name, vec![value], vec![baseline])),
                }
            }
            real_distance.push(intra_set_distance(&real));
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        let rows = figures.into_iter().map(|(name, values, baselines)| {
            let mut row = Row::single(&m.name, name, "", mean(&values), values.len());
            row.baselines = vec![("training windows at random", mean(&baselines))];
            if name == "intra-set distance" {
                let real = mean(&real_distance);
                row.baselines.push(("real dates", real));
                row = row.should("≥ a quarter of the real", mean(&values) >= real / 4.0);
            }
            row
        });
        Ok(rows.collect())
    }

    /// How many pixels of B02 are brighter than the ground ever is on clear dates.
    pub(super) fn clear(&self) -> Result<Vec<Row>> {
        let (target, mask) = (self.finest(Subject::SurfaceReflectance), self.finest(Subject::Clouds));
        let (Some(target), Some(mask)) = (target, mask) else { return Ok(Vec::new()) };
        let m = &self.evaluation.model.manifest.modalities[target];
        // Clouds are brightest against the ground where light is shortest.
        let length = |channel: usize| m.wavelength_nm(&m.channels[channel]).unwrap_or(f64::INFINITY);
        let Some(blue) = (0..m.channels.len()).min_by(|a, b| length(*a).total_cmp(&length(*b))) else {
            return Ok(Vec::new());
        };
        let slow = [Subject::Place, Subject::Date, Subject::Elevation, Subject::LandCover, Subject::Radar];
        let known = self.telling_of(&slow);
        let clear_share = |w: &HeldWindow| w.image(mask).map_or(f64::NAN, clear_share);
        let mut shares: [Vec<f64>; 4] = Default::default();
        for dates in self.series(target) {
            let clear: Vec<Raster> = dates
                .iter()
                .filter(|w| clear_share(w) > 0.95)
                .filter_map(|w| Some(measured(m, w.image(target)?)))
                .collect();
            let cloudy: Vec<&&HeldWindow> = dates.iter().filter(|w| clear_share(w) < 0.5).collect();
            if clear.is_empty() || cloudy.is_empty() {
                continue;
            }
            let mut ground: Vec<f32> = clear.iter().flat_map(|r| r.valid_values(blue)).collect();
            ground.sort_by(f32::total_cmp);
            let brightest = ground[ground.len() * 99 / 100];
            let bright = |r: &Raster| {
                let band = r.valid_of(r.channel(blue));
                band.iter().filter(|v| **v > brightest).count() as f64 / band.len() as f64
            };
            shares[0].extend(clear.iter().map(bright));
            for window in cloudy {
                shares[1].extend(window.image(target).map(|r| bright(&measured(m, r))));
                let given: Vec<usize> = known.iter().copied().filter(|&i| window.truth[i].is_some()).collect();
                for (at, code) in [(2, 0), (3, 1)] {
                    let set = [(mask, SetValue::Class(code))];
                    let realisations = self.realisations(window, &given, &[target], &set)?;
                    shares[at].extend(rasters(&realisations, target).map(|r| bright(&measured(m, r))));
                }
            }
        }
        if shares[2].is_empty() {
            return Ok(Vec::new());
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let [clear, cloudy, asked_clear, asked_cloudy] = shares.each_ref().map(|v| mean(v));
        let name = format!("{} brighter than 99 % of clear ground", m.channels[blue]);
        let mut row = Row::single("asked for clear sky", &name, "share of pixels", asked_clear, shares[2].len())
            .should(
                "nearer to clear dates than to cloudy ones, and below 0.1",
                asked_clear < 0.1 && asked_clear < (clear + cloudy) / 2.0,
            );
        row.baselines =
            vec![("real clear dates", clear), ("real cloudy dates", cloudy), ("asked for thick cloud", asked_cloudy)];
        Ok(vec![row])
    }
}

/// Mean of each band over valid pixels that are not zero (specification G.3).
fn spectrum(raster: &Raster) -> Vec<f64> {
    let mean = |c: usize| {
        let values = raster.valid_values(c).filter(|v| *v != 0.0);
        let (sum, n) = values.fold((0.0, 0usize), |(sum, n), v| (sum + f64::from(v), n + 1));
        if n == 0 { 0.0 } else { sum / n as f64 }
    };
    (0..raster.channels).map(mean).collect()
}

fn place(window: &HeldWindow) -> Option<Location> {
    window.truth.iter().flatten().find_map(|value| match value {
        Value::Location(at) => Some(*at),
        _ => None,
    })
}
