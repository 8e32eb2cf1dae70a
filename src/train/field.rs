//! Fits the statistics of a Gaussian field to scenes that lack some modalities, by expectation maximisation.

use super::augment::Augmentation;
use super::moments::{Belief, Moments, correlation, maximise, rough_mean, scaled};
use super::recipe::{FieldRecipe, Recipe};
use super::regimes;
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, to_network};
use crate::model::field::{Cosines, Layout, Part, Regime, Statistics};
use crate::sampler::training_generator;
use nalgebra::{DMatrix, DVector};
use rand_chacha::rand_core::RngCore;
use std::collections::BTreeMap;
use std::path::Path;

/// Frequencies that exist in every image modality: the scale at which levels and bands are compared.
const COARSE: usize = 16;

/// Variance of a mean of which nothing is known, in units of the channels'.
const FLAT: f64 = 1e6;

/// Fits a field to random windows of the training scenes: first one for all of them, then one for each regime.
///
/// # Errors
/// When scenes cannot be read or a modality of the table is in none of them.
pub fn fit_field(recipe: &Recipe, table: &ModalityTable, scenes: &Path) -> Result<Statistics> {
    let settings = recipe.field.as_ref().ok_or_else(|| Error::request("The recipe has no [field]."))?;
    // Radial statistics are the same for a turned window.
    let windows = Windows::open(scenes, table, &recipe.data, false)?.without_turns();
    let augmentation = Augmentation::new(&recipe.data, table);
    let layout = Layout::new(table)?;
    let mut generator = training_generator(recipe.seed, "field", "", 0);
    let (mut drawn, mut sources): (Vec<Held>, Vec<usize>) = (Vec::new(), Vec::new());
    for _ in 0..settings.windows {
        let (source, mut values) = windows.draw_from(&mut generator, None)?;
        augmentation.apply(&mut values, generator.next_u64());
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
            return Err(Error::request(format!("No training scene holds {}.", m.name)));
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

/// What one window holds.
pub struct Held {
    /// Independent windows it counts for.
    pub weight: f64,
    /// By modality: network values, or coefficients of latents.
    pub values: Vec<Option<Vec<f32>>>,
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
    let prior = scaled(&same_band_prior(table, layout, &total, settings), &deviation);
    let (mean, covariance) =
        maximise(&total, &Belief { mean: rough, doubt: &prior * FLAT, covariance: &prior, windows: settings.prior })?;
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
        let prior = scaled(&all_scales, &deviation);
        let (mean, doubt) = (DVector::zeros(n), DMatrix::zeros(n, n));
        let belief = Belief { mean, doubt, covariance: &prior, windows: settings.scale_prior };
        let (_, covariance) = maximise(&moments, &belief)?;
        covariances.push(scaled(&covariance, &deviation.iter().map(|d| 1.0 / d).collect::<Vec<_>>()));
        spectrum.push(deviation);
    }
    let regime = Regime { weight: 1.0, mean: vec![0.0; n], covariance: covariances };
    Statistics::new(table, mean.iter().copied().collect(), spectrum, vec![regime])
}

/// Moments over all coarse frequencies, and by radial bin.
pub fn gather(layout: &Layout, windows: impl Iterator<Item = Held>) -> (Vec<Moments>, Vec<Vec<Moments>>) {
    let mut total: BTreeMap<Vec<usize>, Moments> = BTreeMap::new();
    let mut bins: Vec<BTreeMap<Vec<usize>, Moments>> = vec![BTreeMap::new(); Layout::bins()];
    for Held { weight, values: coefficients } in windows {
        let held: Vec<usize> = (0..layout.parts.len()).filter(|&i| coefficients[i].is_some()).collect();
        let at = |i: usize, channel: usize, row: usize, column: usize| -> f64 {
            let side = layout.parts[i].side;
            match &coefficients[i] {
                Some(values) if row.max(column) < side => f64::from(values[(channel * side + row) * side + column]),
                _ => 0.0,
            }
        };
        // (channel, frequency) of some modalities.
        let columns = |modalities: &[usize], frequencies: &[(usize, usize)]| {
            let own = |&i: &usize| (0..layout.parts[i].channels).map(move |c| (i, c));
            let rows: Vec<(usize, usize)> = modalities.iter().flat_map(own).collect();
            DMatrix::from_fn(rows.len(), frequencies.len(), |r, f| {
                at(rows[r].0, rows[r].1, frequencies[f].0, frequencies[f].1)
            })
        };
        let coarse: Vec<(usize, usize)> = (0..COARSE * COARSE).map(|k| (k / COARSE, k % COARSE)).collect();
        let all = columns(&held, &coarse);
        let level = all.column(0).into_owned();
        let moments = total.entry(held.clone()).or_insert_with(|| Moments::empty(layout.stack_of(&held)));
        moments.add(weight, &level, &all, 1.0);
        for group in &layout.groups {
            let modalities: Vec<usize> = group.modalities.iter().copied().filter(|i| held.contains(i)).collect();
            if modalities.is_empty() {
                continue;
            }
            let columns = columns(&modalities, &group.frequencies);
            let level = if group.bin == 0 { columns.column(0).into_owned() } else { DVector::zeros(columns.nrows()) };
            let count = group.frequencies.len() as f64;
            // Frequencies of one window are not independent: they count as the root of their number.
            bins[group.bin]
                .entry(modalities.clone())
                .or_insert_with(|| Moments::empty(layout.stack_of(&modalities)))
                .add(weight * count.sqrt(), &level, &columns, 1.0 / count);
        }
    }
    let average = |moments: BTreeMap<Vec<usize>, Moments>| moments.into_values().map(Moments::averaged).collect();
    (average(total), bins.into_iter().map(average).collect())
}

/// Weighted sums of squares by channel, and the weights, which are added to `count`. The same band of two families counts
/// for one: what is seen of either in some scenes holds for both.
pub fn squares(moments: &[Moments], mut count: Vec<f64>, same: &[Vec<usize>; 2]) -> (Vec<f64>, Vec<f64>) {
    let mut sum = vec![0.0; count.len()];
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.second[(i, i)];
            count[c] += m.weight;
        }
    }
    for (&a, &b) in same[0].iter().zip(&same[1]) {
        for values in [&mut sum, &mut count] {
            let both = values[a] + values[b];
            (values[a], values[b]) = (both, both);
        }
    }
    (sum, count)
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

/// [`same_bands`] of the recipe, if it names any.
pub fn same_channels(settings: &FieldRecipe, table: &ModalityTable, layout: &Layout) -> [Vec<usize>; 2] {
    settings.same_band.as_ref().map(|same| same_bands(table, layout, &same.families)).unwrap_or_default()
}

/// Channels of two families that have the same name, in the same order.
fn same_bands(table: &ModalityTable, layout: &Layout, families: &[String; 2]) -> [Vec<usize>; 2] {
    let bands = |family: &String| -> Vec<(&str, usize)> {
        let own = |i: usize| table[i].channels.iter().map(String::as_str).zip(layout.stack(i));
        (0..table.len()).filter(|&i| table[i].family == *family).flat_map(own).collect()
    };
    let (one, other) = (bands(&families[0]), bands(&families[1]));
    let pair = |(name, at): &(&str, usize)| Some((*one.iter().find(|(n, _)| n == name).map(|(_, at)| at)?, *at));
    let (one, other) = other.iter().filter_map(pair).unzip();
    [one, other]
}

/// What is believed before any scene is seen: channels know nothing of each other, except that the two levels of an
/// optical sensor see the same ground. Their bands go together as bands of one level do, and the same band of both
/// levels with the recipe's correlation.
fn same_band_prior(table: &ModalityTable, layout: &Layout, total: &[Moments], settings: &FieldRecipe) -> DMatrix<f64> {
    let n = layout.channels;
    let mut prior = DMatrix::identity(n, n);
    let Some(same) = &settings.same_band else { return prior };
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
    let belief = Belief { mean: start, doubt: &unrelated * FLAT, covariance: &unrelated, windows: 1.0 };
    let Ok((_, covariance)) = maximise(&pooled, &belief) else { return prior };
    let bands = correlation(&covariance);
    for i in 0..k {
        for j in 0..k {
            for a in 0..2 {
                for b in 0..2 {
                    let factor = if a == b { 1.0 } else { same.correlation };
                    prior[(places[a][i], places[b][j])] = factor * bands[(i, j)];
                }
            }
        }
    }
    prior
}
