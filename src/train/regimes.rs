//! Regimes: kinds of windows, each with statistics of its own, told apart by what an optical sensor sees.

use super::k_means::k_means;
use super::moments::{NOT_SEEN, Prior, maximise, own_deviations, rough_mean, scaled};
use super::recipe::FieldRecipe;
use super::window_moments::{Held, gather, same_channels, squares};
use crate::error::Result;
use crate::modality::{ModalityTable, Subject};
use crate::model::field::{Estimate, Layout, Level, Part, Posterior, Regime, Statistics};
use nalgebra::{DMatrix, DVector};
use rand_chacha::ChaCha12Rng;
use std::collections::BTreeMap;

/// Fits regimes to windows given as coefficients of the pooled field's latents: windows of like optical level, each kind
/// with a field of its own. (Telling them apart anew by their likelihood gathers everything unusual, bright or dark, in
/// the broadest regime.)
///
/// # Errors
/// When the windows make no covariance.
pub(super) fn fit(
    settings: &FieldRecipe,
    table: &ModalityTable,
    pooled: &Statistics,
    drawn: &[Held],
    generator: &mut ChaCha12Rng,
) -> Result<Statistics> {
    let labels = kinds(settings, table, pooled, drawn, generator)?;
    fit_regimes(settings, table, pooled, drawn, &labels)
}

/// One field per regime, in units of the pooled one, for windows of known regime.
fn fit_regimes(
    settings: &FieldRecipe,
    table: &ModalityTable,
    pooled: &Statistics,
    drawn: &[Held],
    labels: &[usize],
) -> Result<Statistics> {
    let (layout, n) = (&pooled.layout, pooled.layout.channels);
    let same = same_channels(settings, table, layout);
    let mut optical = vec![false; n];
    for i in (0..table.len()).filter(|&i| table[i].about.is_optical() || table[i].about.subject == Subject::Clouds) {
        optical[layout.stack(i)].fill(true);
    }
    let mut regimes = Vec::new();
    let weight = |of: &dyn Fn(usize) -> bool| -> f64 {
        drawn.iter().zip(labels).filter(|(_, label)| of(**label)).map(|(window, _)| window.weight).sum()
    };
    for k in 0..settings.regimes {
        if !labels.contains(&k) {
            continue;
        }
        let own = drawn.iter().zip(labels).filter(|(_, label)| **label == k).map(|(window, _)| units(layout, window));
        let (_, bins) = gather(layout, own);
        let (mut mean, mut covariance) = (vec![0.0; n], Vec::new());
        for (bin, moments) in bins.into_iter().enumerate() {
            let pooled = &pooled.regimes[0].covariance[bin];
            let level = if bin == 0 { rough_mean(&moments, n) } else { DVector::zeros(n) };
            let about: Vec<_> = moments.iter().map(|m| m.clone().about(&level)).collect();
            // Channels go together as in all windows; how much they vary is the regime's own.
            let (sum, count) = squares(&about, vec![0.0; n], &same);
            let prior_covariance = scaled(pooled, &own_deviations(&sum, &count, &optical));
            // A mean that few places tell keeps to that of all windows, and what is not seen by the optical sensor all the
            // more; details have none.
            let sure = |c: usize| settings.regime_mean_prior * if optical[c] { 1.0 } else { NOT_SEEN };
            let mean_covariance = match bin {
                0 => DMatrix::from_fn(n, n, |i, j| pooled[(i, j)] / (sure(i) * sure(j)).sqrt()),
                _ => DMatrix::zeros(n, n),
            };
            let prior = Prior {
                mean: DVector::zeros(n),
                mean_covariance,
                covariance: &prior_covariance,
                windows: settings.regime_prior,
            };
            let (level, own) = maximise(&moments, &prior)?;
            covariance.push(own);
            if bin == 0 {
                mean = level.iter().copied().collect();
            }
        }
        regimes.push(Regime { weight: weight(&|label| label == k) / weight(&|_| true), mean, covariance });
    }
    pooled.clone().with_regimes(table, regimes)
}

/// Coefficients of latents in units of what they vary by.
fn units(layout: &Layout, window: &Held) -> Held {
    let scaled = |(values, part): (&Option<Vec<f32>>, &Part)| {
        let mut values = values.clone()?;
        for (k, value) in values.iter_mut().enumerate() {
            let (row, column) = (k / part.side % part.side, k % part.side);
            *value /= Layout::gain(Layout::bin((row as f64).hypot(column as f64))) as f32;
        }
        Some(values)
    };
    Held { weight: window.weight, values: window.values.iter().zip(&layout.parts).map(scaled).collect() }
}

/// What a field makes of each window when all that it holds is given.
fn estimates(field: &Statistics, drawn: &[Held]) -> Result<Vec<Estimate>> {
    let layout = &field.layout;
    let mut posteriors: BTreeMap<Vec<bool>, Posterior> = BTreeMap::new();
    let mut found = Vec::with_capacity(drawn.len());
    for window in drawn {
        let held: Vec<bool> = window.values.iter().map(Option::is_some).collect();
        if !posteriors.contains_key(&held) {
            let level =
                |held: &bool| if *held { Level { signal: 1.0, noise: 0.0 } } else { Level { signal: 0.0, noise: 1.0 } };
            let levels: Vec<Level> = held.iter().map(level).collect();
            posteriors.insert(held.clone(), Posterior::new(field, &levels)?);
        }
        let noisy: Vec<Vec<f32>> = window
            .values
            .iter()
            .zip(&layout.parts)
            .map(|(values, part)| values.clone().unwrap_or_else(|| vec![0.0; part.size()]))
            .collect();
        found.extend(posteriors.get(&held).map(|posterior| posterior.estimate(layout, &noisy)));
    }
    Ok(found)
}

/// Windows of like optical level (k-means), as far as the pooled field can tell it.
fn kinds(
    settings: &FieldRecipe,
    table: &ModalityTable,
    pooled: &Statistics,
    drawn: &[Held],
    generator: &mut ChaCha12Rng,
) -> Result<Vec<usize>> {
    let layout = &pooled.layout;
    let optical: Vec<usize> = (0..table.len()).filter(|&i| table[i].about.is_optical()).collect();
    let level = |e: &Estimate| -> Vec<f64> {
        let own = |&i: &usize| {
            let square = layout.parts[i].side.pow(2);
            (0..layout.parts[i].channels).map(move |c| (i, c * square))
        };
        optical.iter().flat_map(own).map(|(i, at)| f64::from(e.coefficients[i][at])).collect()
    };
    let points: Vec<Vec<f64>> = estimates(pooled, drawn)?.iter().map(level).collect();
    let weights: Vec<f64> = drawn.iter().map(|window| window.weight).collect();
    Ok(k_means(&points, &weights, settings.regimes, generator))
}
