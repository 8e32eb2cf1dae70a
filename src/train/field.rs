//! Fits the statistics of a Gaussian field to scenes that lack some modalities, by expectation maximisation.

use super::augment::Augmentation;
use super::holes::is_whole;
use super::moments::{Moments, Prior, correlation, maximise, rough_mean, scaled};
use super::recipe::{FieldRecipe, Recipe};
use super::regimes;
use super::split::Use;
use super::window_moments::{Held, gather, same_bands, same_channels, squares};
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, to_network};
use crate::model::Cosines;
use crate::model::field::{Layout, Part, Regime, Statistics};
use crate::sampler::training_generator;
use nalgebra::{DMatrix, DVector};
use rand_chacha::rand_core::RngCore;
use std::path::Path;

/// Variance of a mean of which nothing is known, in units of the channels'.
const FLAT: f64 = 1e6;

/// Fits a field to random windows of the training scenes: first one for all of them, then one for each regime.
///
/// # Errors
/// When scenes cannot be read or a modality of the table is in none of them.
pub fn fit_field(recipe: &Recipe, table: &ModalityTable, scenes: &Path) -> Result<Statistics> {
    let settings = recipe.field.as_ref().ok_or_else(|| Error::request("The recipe has no [field]."))?;
    // Radial statistics are the same for a turned window.
    let windows = Windows::open(scenes, table, &recipe.data, Use::Train)?.without_turns();
    let augmentation = Augmentation::new(&recipe.data, table);
    let layout = Layout::new(table)?;
    let mut generator = training_generator(recipe.seed, "field", "", 0);
    let (mut drawn, mut sources): (Vec<Held>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut holed = vec![0; table.len()];
    for _ in 0..settings.windows {
        let (source, mut values) = windows.draw_from(&mut generator, None)?;
        augmentation.apply(&mut values, generator.next_u64());
        // A spectrum is that of a whole image: what was filled in is smoother than what it stands for.
        for (value, holed) in values.iter_mut().zip(&mut holed) {
            *holed += usize::from(value.take_if(|value| !is_whole(value)).is_some());
        }
        let values = values.iter().zip(table.iter()).map(|(v, m)| v.as_ref().map(|v| to_network(m, v)).transpose());
        drawn.push(Held { weight: 0.0, values: values.collect::<Result<_>>()? });
        sources.push(source);
    }
    // What is known of a place does not grow with the windows drawn from it.
    for (window, source) in drawn.iter_mut().zip(&sources) {
        let count = sources.iter().filter(|s| *s == source).count() as f64;
        window.weight = (settings.scene_windows * windows.breadth(*source) / count).min(1.0);
    }
    for (i, m) in table.iter().enumerate() {
        if drawn.iter().all(|window| window.values[i].is_none()) {
            return Err(Error::request(match holed[i] {
                0 => format!("No training scene holds {}.", m.name),
                n => format!(
                    "All {n} windows drawn with {} have pixels without data, and statistics are those of whole images. Add scenes without holes.",
                    m.name
                ),
            }));
        }
    }
    let pooled = fit_pooled(settings, table, &layout, &drawn)?;
    // Regimes differ in what is seen of the ground; windows that show nothing of it say nothing about them. From here
    // on in units of the pooled deviation.
    let optical = |window: &Held| (0..table.len()).any(|i| table[i].about.is_optical() && window.values[i].is_some());
    drawn.retain(optical);
    if settings.regimes < 2 || drawn.len() < settings.regimes {
        return Ok(pooled);
    }
    for window in &mut drawn {
        for (i, values) in window.values.iter_mut().enumerate() {
            if let Some(values) = values {
                pooled.coefficients(i, values);
            }
        }
    }
    regimes::fit(settings, table, &pooled, &drawn, &mut generator)
}

/// One field for all windows: level, spectrum, and which channels go together.
fn fit_pooled(settings: &FieldRecipe, table: &ModalityTable, layout: &Layout, drawn: &[Held]) -> Result<Statistics> {
    let n = layout.channels;
    let same = same_channels(settings, table, layout);
    let cosines = Cosines::new(layout.parts.iter().map(|p| p.side));
    let coefficients = |window: &Held| -> Held {
        let transformed = |(values, part): (&Option<Vec<f32>>, &Part)| {
            let mut values = values.clone()?;
            cosines.forward(&mut values, part.side);
            values.iter_mut().for_each(|v| *v /= part.side as f32);
            Some(values)
        };
        Held { weight: window.weight, values: window.values.iter().zip(&layout.parts).map(transformed).collect() }
    };
    let (total, bins) = gather(layout, drawn.iter().map(coefficients));
    // All scales together: level, and which channel goes with which.
    let rough = rough_mean(&total, n);
    let centred: Vec<_> = total.iter().map(|t| t.clone().about(&rough)).collect();
    let deviation = deviations(&centred, table, layout, &same);
    let prior_covariance = scaled(&same_band_prior(table, layout, &total, settings), &deviation);
    let (mean, covariance) = maximise(
        &total,
        &Prior {
            mean: rough,
            mean_covariance: &prior_covariance * FLAT,
            covariance: &prior_covariance,
            windows: settings.prior,
        },
    )?;
    let all_scales = correlation(&covariance);
    let (mut spectrum, mut covariances): (Vec<Vec<f64>>, Vec<DMatrix<f64>>) = (Vec::new(), Vec::new());
    for (bin, moments) in bins.into_iter().enumerate() {
        let level = if bin == 0 { mean.clone() } else { DVector::zeros(n) };
        let moments: Vec<_> = moments.into_iter().map(|m| m.about(&level)).collect();
        let mut deviation = deviations(&moments, table, layout, &same);
        // Beyond the finest frequency of a modality its spectrum goes on as it ended.
        for (i, part) in layout.parts.iter().enumerate() {
            let missing = !layout.groups.iter().any(|g| g.bin == bin && g.modalities.contains(&i));
            if let (true, Some(before)) = (missing && part.side > 1, spectrum.last()) {
                deviation[layout.stack(i)].copy_from_slice(&before[layout.stack(i)]);
            }
        }
        let prior_covariance = scaled(&all_scales, &deviation);
        let (mean, mean_covariance) = (DVector::zeros(n), DMatrix::zeros(n, n));
        let prior = Prior { mean, mean_covariance, covariance: &prior_covariance, windows: settings.scale_prior };
        let (_, covariance) = maximise(&moments, &prior)?;
        covariances.push(scaled(&covariance, &deviation.iter().map(|d| 1.0 / d).collect::<Vec<_>>()));
        spectrum.push(deviation);
    }
    let regime = Regime { weight: 1.0, mean: vec![0.0; n], covariance: covariances };
    Statistics::new(table, mean.iter().copied().collect(), spectrum, vec![regime])
}

/// Standard deviation of each channel. A class that is hardly ever seen gets a share of its modality's, so that it can
/// still be given.
fn deviations(moments: &[Moments], table: &ModalityTable, layout: &Layout, same: &[Vec<usize>; 2]) -> Vec<f64> {
    let n = layout.channels;
    let (sum, count) = squares(moments, vec![1e-9; n], same);
    let mut variance: Vec<f64> = sum.iter().zip(&count).map(|(s, c)| s / c).collect();
    for i in 0..table.len() {
        let own = &mut variance[layout.stack(i)];
        let floor = (0.02 * own.iter().sum::<f64>() / own.len() as f64).max(1e-10);
        own.iter_mut().for_each(|v| *v = v.max(floor));
    }
    variance.iter().map(|v| v.sqrt()).collect()
}

/// What is believed before any scene is seen: channels know nothing of each other, except that the two levels of an
/// optical sensor see the same ground. Their bands go together as bands of one level do, and the same band of both
/// levels with the recipe's correlation.
fn same_band_prior(table: &ModalityTable, layout: &Layout, total: &[Moments], settings: &FieldRecipe) -> DMatrix<f64> {
    let n = layout.channels;
    let mut prior_covariance = DMatrix::identity(n, n);
    let Some(same) = &settings.same_band else { return prior_covariance };
    let [one, other] = &same_bands(table, layout, &same.families);
    let (k, places) = (one.len(), [one, other]);
    // Both levels of every scene, under one name.
    let mut pooled = Vec::new();
    for m in total {
        for level in places {
            let (stack, rows): (Vec<usize>, Vec<usize>) = level
                .iter()
                .enumerate()
                .filter_map(|(band, at)| m.stack.iter().position(|c| c == at).map(|row| (band, row)))
                .unzip();
            if !stack.is_empty() {
                let mean = m.mean.select_rows(&rows);
                let second = m.second.select_rows(&rows).select_columns(&rows);
                pooled.push(Moments { stack, weight: m.weight, mean, second });
            }
        }
    }
    let mean = rough_mean(&pooled, k);
    let spread: Vec<f64> = {
        let mut variance = DVector::zeros(k);
        let mut count = DVector::from_element(k, 1e-9);
        for m in &pooled {
            for (i, &c) in m.stack.iter().enumerate() {
                variance[c] += m.weight * (m.second[(i, i)] - 2.0 * m.mean[i] * mean[c] + mean[c] * mean[c]);
                count[c] += m.weight;
            }
        }
        variance.component_div(&count).iter().map(|v: &f64| v.max(1e-10).sqrt()).collect()
    };
    let start = rough_mean(&pooled, k);
    let unrelated = scaled(&DMatrix::identity(k, k), &spread);
    let prior = Prior { mean: start, mean_covariance: &unrelated * FLAT, covariance: &unrelated, windows: 1.0 };
    let Ok((_, covariance)) = maximise(&pooled, &prior) else { return prior_covariance };
    let bands = correlation(&covariance);
    for i in 0..k {
        for j in 0..k {
            for a in 0..2 {
                for b in 0..2 {
                    let factor = if a == b { 1.0 } else { same.correlation };
                    prior_covariance[(places[a][i], places[b][j])] = factor * bands[(i, j)];
                }
            }
        }
    }
    prior_covariance
}
