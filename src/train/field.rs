//! Fits the statistics of a Gaussian field to scenes that lack some modalities, by expectation maximisation.

use super::moments::{Moments, correlation, maximise, rough_mean, scaled};
use super::recipe::{FieldRecipe, Recipe};
use super::windows::{Windows, below, uniform};
use crate::error::{Error, Result};
use crate::modality::{Modality, ModalityTable, ValueKind, to_network};
use crate::model::field::{Cosines, Estimate, Layout, Level, Part, Posterior, Regime, Statistics};
use crate::sampler::Stream;
use nalgebra::{DMatrix, DVector};
use rand_chacha::ChaCha12Rng;
use std::collections::BTreeMap;
use std::path::Path;

/// Frequencies that exist in every image modality: the scale at which levels and bands are compared.
const COARSE: usize = 16;

/// Fits a field to random windows of the training scenes: first one for all of them, then one for each regime.
///
/// # Errors
/// When scenes cannot be read or a modality of the table is in none of them.
pub fn fit_field(recipe: &Recipe, table: &ModalityTable, scenes: &Path) -> Result<Statistics> {
    let settings = recipe.field.as_ref().ok_or_else(|| Error::request("The recipe has no [field]."))?;
    let windows = Windows::open(scenes, table, &recipe.data, false)?;
    let layout = Layout::new(table)?;
    let mut generator = Stream::training(recipe.seed, "field", "", 0).generator();
    let mut drawn: Vec<Held> = Vec::with_capacity(settings.windows);
    for _ in 0..settings.windows {
        let values = windows.draw(&mut generator, None)?;
        let values = values.iter().zip(table.iter()).map(|(v, m)| v.as_ref().map(|v| to_network(m, v)).transpose());
        drawn.push(values.collect::<Result<_>>()?);
    }
    for (i, m) in table.iter().enumerate() {
        if drawn.iter().all(|window| window[i].is_none()) {
            return Err(Error::request(format!("No training scene holds {}.", m.name)));
        }
    }
    let pooled = fit_pooled(settings, table, &layout, &drawn)?;
    // Regimes differ in what is seen of the ground; windows that show nothing of it say nothing about them. From here
    // on in units of the pooled deviation.
    let optical = |window: &Held| (0..table.len()).any(|i| is_optical(&table[i]) && window[i].is_some());
    drawn.retain(optical);
    if settings.regimes < 2 || drawn.len() < settings.regimes {
        return Ok(pooled);
    }
    for window in &mut drawn {
        for (i, values) in window.iter_mut().enumerate() {
            if let Some(values) = values {
                pooled.coefficients(i, values);
            }
        }
    }
    let mut labels = first_labels(settings, table, &pooled, &drawn, &mut generator)?;
    let mut field = fit_regimes(settings, table, &pooled, &drawn, &labels)?;
    for _ in 0..ROUNDS {
        let next = told_apart(&field, &drawn)?;
        if next == labels {
            break;
        }
        labels = next;
        field = fit_regimes(settings, table, &pooled, &drawn, &labels)?;
    }
    Ok(field)
}

/// Values of one window by modality: network values, or coefficients of latents.
type Held = Vec<Option<Vec<f32>>>;

/// How often windows are told apart anew.
const ROUNDS: usize = 6;

/// One field for all windows: level, spectrum, and which channels go together.
fn fit_pooled(settings: &FieldRecipe, table: &ModalityTable, layout: &Layout, drawn: &[Held]) -> Result<Statistics> {
    let n = layout.channels;
    let cosines = Cosines::new(layout.parts.iter().map(|p| p.side));
    let coefficients = |window: &Held| -> Held {
        let transformed = |(values, part): (&Option<Vec<f32>>, &Part)| {
            let mut values = values.clone()?;
            cosines.forward(&mut values, part.side);
            values.iter_mut().for_each(|v| *v /= part.side as f32);
            Some(values)
        };
        window.iter().zip(&layout.parts).map(transformed).collect()
    };
    let weight = settings.effective_windows / settings.windows as f64;
    let (total, bins) = gather(layout, drawn.iter().map(coefficients), weight);
    // All scales together: level, and which channel goes with which.
    let rough = rough_mean(&total, n);
    let centred: Vec<_> = total.iter().map(|t| t.clone().about(&rough)).collect();
    let deviation = deviations(&centred, table, layout);
    let prior = scaled(&same_band_prior(table, layout, &total, settings), &deviation);
    let (mean, covariance) = maximise(&total, &prior, settings.prior, 100, rough, false)?;
    let all_scales = correlation(&covariance);
    let (mut spectrum, mut correlations): (Vec<Vec<f64>>, Vec<DMatrix<f64>>) = (Vec::new(), Vec::new());
    for (bin, moments) in bins.into_iter().enumerate() {
        let level = if bin == 0 { mean.clone() } else { DVector::zeros(n) };
        let moments: Vec<_> = moments.into_iter().map(|m| m.about(&level)).collect();
        let mut deviation = deviations(&moments, table, layout);
        // Beyond the finest frequency of a modality its spectrum goes on as it ended.
        for (i, part) in layout.parts.iter().enumerate() {
            let missing = !layout.groups.iter().any(|g| g.bin == bin && g.modalities.contains(&i));
            if let (true, Some(before)) = (missing && part.side > 1, spectrum.last()) {
                deviation[layout.stack(i)].copy_from_slice(&before[layout.stack(i)]);
            }
        }
        let prior = scaled(&all_scales, &deviation);
        let (_, covariance) = maximise(&moments, &prior, settings.scale_prior, 20, DVector::zeros(n), true)?;
        spectrum.push(deviation);
        correlations.push(correlation(&covariance));
    }
    let regime = Regime { weight: 1.0, mean: vec![0.0; n], covariance: correlations };
    Statistics::new(table, mean.iter().copied().collect(), spectrum, vec![regime])
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
    let weight = settings.effective_windows / settings.windows as f64;
    let mut regimes = Vec::new();
    for k in 0..settings.regimes {
        let own = drawn.iter().zip(labels).filter(|(_, label)| **label == k).map(|(window, _)| units(layout, window));
        let (_, bins) = gather(layout, own, weight);
        let count = labels.iter().filter(|label| **label == k).count();
        if count == 0 {
            continue;
        }
        let (mut mean, mut covariance) = (vec![0.0; n], Vec::new());
        for (bin, moments) in bins.into_iter().enumerate() {
            let pooled = &pooled.regimes[0].covariance[bin];
            let level = if bin == 0 { rough_mean(&moments, n) } else { DVector::zeros(n) };
            let about: Vec<_> = moments.iter().map(|m| m.clone().about(&level)).collect();
            // Channels go together as in all windows; how much they vary is the regime's own.
            let prior = scaled(pooled, &own_deviations(&about, n));
            if bin > 0 {
                let (_, own) = maximise(&moments, &prior, settings.regime_prior, 15, level, true)?;
                covariance.push(own);
                continue;
            }
            // From the mean of all windows: channels that are not seen in a regime follow those that are.
            let (level, own) = maximise(&moments, &prior, settings.regime_prior, 30, DVector::zeros(n), false)?;
            mean = level.iter().copied().collect();
            covariance.push(own);
        }
        regimes.push(Regime { weight: count as f64 / labels.len() as f64, mean, covariance });
    }
    pooled.clone().with_regimes(table, regimes)
}

/// Standard deviations in one regime, relative to those of all windows, held back by one window of all kinds. A channel
/// that is not seen in it varies like those that are.
fn own_deviations(moments: &[Moments], n: usize) -> Vec<f64> {
    let (mut sum, mut count) = (vec![0.0; n], vec![0.0; n]);
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.second[(i, i)];
            count[c] += m.weight;
        }
    }
    let all = sum.iter().sum::<f64>() / count.iter().sum::<f64>().max(1e-9);
    let own = |(sum, count): (&f64, &f64)| ((sum + all.max(1e-6)) / (count + 1.0)).sqrt().clamp(0.05, 5.0);
    sum.iter().zip(&count).map(own).collect()
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
    window.iter().zip(&layout.parts).map(scaled).collect()
}

/// What a field makes of each window when all that it holds is given.
fn estimates(field: &Statistics, drawn: &[Held]) -> Result<Vec<Estimate>> {
    let layout = &field.layout;
    let mut posteriors: BTreeMap<Vec<bool>, Posterior> = BTreeMap::new();
    let mut found = Vec::with_capacity(drawn.len());
    for window in drawn {
        let held: Vec<bool> = window.iter().map(Option::is_some).collect();
        if !posteriors.contains_key(&held) {
            let level =
                |held: &bool| if *held { Level { signal: 1.0, noise: 0.0 } } else { Level { signal: 0.0, noise: 1.0 } };
            let levels: Vec<Level> = held.iter().map(level).collect();
            posteriors.insert(held.clone(), Posterior::new(field, &levels)?);
        }
        let noisy: Vec<Vec<f32>> = window
            .iter()
            .zip(&layout.parts)
            .map(|(values, part)| values.clone().unwrap_or_else(|| vec![0.0; part.size()]))
            .collect();
        found.extend(posteriors.get(&held).map(|posterior| posterior.estimate(layout, &noisy)));
    }
    Ok(found)
}

fn is_optical(m: &Modality) -> bool {
    matches!(m.values, ValueKind::Reflectance { .. })
}

/// The most probable regime of each window.
fn told_apart(field: &Statistics, drawn: &[Held]) -> Result<Vec<usize>> {
    let best = |e: &Estimate| (0..e.shares.len()).max_by(|&a, &b| e.shares[a].total_cmp(&e.shares[b])).unwrap_or(0);
    Ok(estimates(field, drawn)?.iter().map(best).collect())
}

/// A first guess at regimes: windows of like optical level (k-means), as far as the pooled field can tell it.
fn first_labels(
    settings: &FieldRecipe,
    table: &ModalityTable,
    pooled: &Statistics,
    drawn: &[Held],
    generator: &mut ChaCha12Rng,
) -> Result<Vec<usize>> {
    let layout = &pooled.layout;
    let optical: Vec<usize> = (0..table.len()).filter(|&i| is_optical(&table[i])).collect();
    let level = |e: &Estimate| -> Vec<f64> {
        let own = |&i: &usize| {
            let square = layout.parts[i].side.pow(2);
            (0..layout.parts[i].channels).map(move |c| (i, c * square))
        };
        optical.iter().flat_map(own).map(|(i, at)| f64::from(e.coefficients[i][at])).collect()
    };
    let points: Vec<Vec<f64>> = estimates(pooled, drawn)?.iter().map(level).collect();
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    let nearest = |centres: &[Vec<f64>], p: &[f64]| -> (usize, f64) {
        let all = centres.iter().map(|c| distance(c, p)).enumerate();
        all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
    };
    // Far from each other to begin with (k-means++).
    let mut centres = vec![points[below(generator, points.len())].clone()];
    while centres.len() < settings.regimes {
        let far: Vec<f64> = points.iter().map(|p| nearest(&centres, p).1).collect();
        let mut at = uniform(generator) * far.iter().sum::<f64>();
        let chosen = far.iter().position(|d| {
            at -= d;
            at < 0.0
        });
        centres.push(points[chosen.unwrap_or(0)].clone());
    }
    let mut labels = vec![0; points.len()];
    for _ in 0..30 {
        labels = points.iter().map(|p| nearest(&centres, p).0).collect();
        for (k, centre) in centres.iter_mut().enumerate() {
            let own: Vec<&Vec<f64>> = points.iter().zip(&labels).filter(|(_, l)| **l == k).map(|(p, _)| p).collect();
            if !own.is_empty() {
                *centre = (0..centre.len()).map(|d| own.iter().map(|p| p[d]).sum::<f64>() / own.len() as f64).collect();
            }
        }
    }
    Ok(labels)
}

/// Moments over all coarse frequencies, and by radial bin, of windows that each count for `weight`.
fn gather(layout: &Layout, windows: impl Iterator<Item = Held>, weight: f64) -> (Vec<Moments>, Vec<Vec<Moments>>) {
    let mut total: BTreeMap<Vec<usize>, Moments> = BTreeMap::new();
    let mut bins: Vec<BTreeMap<Vec<usize>, Moments>> = vec![BTreeMap::new(); Layout::bins()];
    for coefficients in windows {
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

/// Standard deviation of each channel. A class that is hardly ever seen gets a share of its modality's, so that it can
/// still be given.
fn deviations(moments: &[Moments], table: &ModalityTable, layout: &Layout) -> Vec<f64> {
    let n = layout.channels;
    let (mut sum, mut count) = (vec![0.0; n], vec![1e-9; n]);
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.second[(i, i)];
            count[c] += m.weight;
        }
    }
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
    let mut prior = DMatrix::identity(n, n);
    let Some(same) = &settings.same_band else { return prior };
    // Channel of the first family → channel of the second.
    let mut names: Vec<&str> = Vec::new();
    let bands = |family: &str| -> Vec<(&str, usize)> {
        let own = |(i, m): (usize, &'_ Modality)| {
            let first = layout.parts[i].first;
            (m.family == family).then(|| (0..m.channels.len()).map(move |c| (i, c, first + c)))
        };
        let found = table.iter().enumerate().filter_map(own).flatten();
        found.map(|(i, c, at)| (table[i].channels[c].as_str(), at)).collect()
    };
    let levels = [bands(&same.families[0]), bands(&same.families[1])];
    for (name, _) in &levels[1] {
        if levels[0].iter().any(|(other, _)| other == name) {
            names.push(name);
        }
    }
    let place = |level: &[(&str, usize)]| -> Vec<usize> {
        names.iter().filter_map(|name| level.iter().find(|(n, _)| n == name).map(|(_, at)| *at)).collect()
    };
    let places = [place(&levels[0]), place(&levels[1])];
    // Both levels of every scene, under one name.
    let mut pooled = Vec::new();
    for m in total {
        for level in &places {
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
    let k = names.len();
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
    let Ok((_, covariance)) = maximise(&pooled, &scaled(&DMatrix::identity(k, k), &spread), 1.0, 60, start, false)
    else {
        return prior;
    };
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
