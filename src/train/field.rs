//! Fits the statistics of a Gaussian field to scenes that lack some modalities, by expectation maximisation.

use super::recipe::{FieldRecipe, Recipe};
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::modality::{Modality, ModalityTable, to_network};
use crate::model::field::{Cosines, Layout, Statistics};
use crate::sampler::{Purpose, Stream};
use nalgebra::{Cholesky, DMatrix, DVector};
use std::collections::BTreeMap;
use std::path::Path;

/// Frequencies that exist in every image modality: the scale at which levels and bands are compared.
const COARSE: usize = 16;

/// Moments of the windows that hold the same channels.
#[derive(Clone)]
struct Moments {
    /// Stack indices of the channels.
    stack: Vec<usize>,
    /// Independent windows they count for.
    weight: f64,
    mean: DVector<f64>,
    /// About zero, not about the mean.
    second: DMatrix<f64>,
}

impl Moments {
    fn empty(stack: Vec<usize>) -> Self {
        let n = stack.len();
        Self { stack, weight: 0.0, mean: DVector::zeros(n), second: DMatrix::zeros(n, n) }
    }

    /// Takes one window in: its mean coefficients and the average of the products at `columns`.
    fn add(&mut self, weight: f64, mean: &DVector<f64>, columns: &DMatrix<f64>, share: f64) {
        self.weight += weight;
        self.mean += mean * weight;
        self.second += columns * columns.transpose() * (weight * share);
    }

    /// From sums to averages.
    fn averaged(mut self) -> Self {
        self.mean /= self.weight;
        self.second /= self.weight;
        self
    }

    /// The same about a given mean.
    fn about(mut self, mean: &DVector<f64>) -> Self {
        let centre = DVector::from_fn(self.stack.len(), |i, _| mean[self.stack[i]]);
        let (cross, square) = (&self.mean * centre.transpose(), &centre * centre.transpose());
        self.second += square - &cross - cross.transpose();
        self.mean -= centre;
        self
    }
}

/// Fits a field to random windows of the training scenes.
///
/// # Errors
/// When scenes cannot be read or a modality of the table is in none of them.
pub fn fit_field(recipe: &Recipe, table: &ModalityTable, scenes: &Path) -> Result<Statistics> {
    let settings = recipe.field.as_ref().ok_or_else(|| Error::request("The recipe has no [field]."))?;
    let windows = Windows::open(scenes, table, &recipe.data, false)?;
    let layout = Layout::new(table)?;
    let n = layout.channels;
    let (total, bins) = gather(recipe, settings, table, &layout, &windows)?;
    for (i, m) in table.iter().enumerate() {
        if !total.iter().any(|t| t.stack.contains(&layout.parts[i].first)) {
            return Err(Error::request(format!("No training scene holds {}.", m.name)));
        }
    }
    // All scales together: level, and which channel goes with which.
    let centred: Vec<_> = total.iter().map(|t| t.clone().about(&rough_mean(&total, n))).collect();
    let deviation = deviations(&centred, table, &layout);
    let prior = scaled(&same_band_prior(table, &layout, &total, settings), &deviation);
    let (mean, covariance) = maximise(&total, &prior, settings.prior, 100, None)?;
    let pooled = correlation(&covariance);
    let (mut spectrum, mut correlations) = (Vec::new(), Vec::new());
    for (bin, moments) in bins.into_iter().enumerate() {
        let level = if bin == 0 { mean.clone() } else { DVector::zeros(n) };
        let moments: Vec<_> = moments.into_iter().map(|m| m.about(&level)).collect();
        let deviation = deviations(&moments, table, &layout);
        let prior = scaled(&pooled, &deviation);
        let (_, covariance) = maximise(&moments, &prior, settings.scale_prior, 20, Some(&DVector::zeros(n)))?;
        spectrum.push(deviation);
        correlations.push(correlation(&covariance));
    }
    Statistics::new(table, mean.iter().copied().collect(), spectrum, correlations)
}

/// Moments over all coarse frequencies, and by radial bin.
fn gather(
    recipe: &Recipe,
    settings: &FieldRecipe,
    table: &ModalityTable,
    layout: &Layout,
    windows: &Windows,
) -> Result<(Vec<Moments>, Vec<Vec<Moments>>)> {
    let stream = Stream {
        seed: recipe.seed,
        tile: "field",
        realisation: 0,
        modality: "",
        purpose: Purpose::Training { step: 0 },
    };
    let (mut generator, cosines) = (stream.generator(), Cosines::new(layout.parts.iter().map(|p| p.side)));
    let weight = settings.effective_windows / settings.windows as f64;
    let mut total: BTreeMap<Vec<usize>, Moments> = BTreeMap::new();
    let mut bins: Vec<BTreeMap<Vec<usize>, Moments>> = vec![BTreeMap::new(); Layout::bins()];
    for _ in 0..settings.windows {
        let mut coefficients: Vec<Option<Vec<f32>>> = Vec::new();
        for ((value, m), part) in windows.draw(&mut generator, None)?.iter().zip(table.iter()).zip(&layout.parts) {
            coefficients.push(match value {
                None => None,
                Some(value) => {
                    let mut values = to_network(m, value)?;
                    cosines.forward(&mut values, part.side);
                    values.iter_mut().for_each(|v| *v /= part.side as f32);
                    Some(values)
                }
            });
        }
        let held: Vec<usize> = (0..table.len()).filter(|&i| coefficients[i].is_some()).collect();
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
    Ok((average(total), bins.into_iter().map(average).collect()))
}

fn rough_mean(moments: &[Moments], n: usize) -> DVector<f64> {
    let (mut sum, mut count) = (DVector::zeros(n), DVector::from_element(n, 1e-9));
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.mean[i];
            count[c] += m.weight;
        }
    }
    sum.component_div(&count)
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
    let Ok((_, covariance)) = maximise(&pooled, &scaled(&DMatrix::identity(k, k), &spread), 1.0, 60, None) else {
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

/// Expectation maximisation of mean (unless it is fixed) and covariance, with `belief` windows' worth of `prior`.
fn maximise(
    moments: &[Moments],
    prior: &DMatrix<f64>,
    belief: f64,
    rounds: usize,
    fixed: Option<&DVector<f64>>,
) -> Result<(DVector<f64>, DMatrix<f64>)> {
    let n = prior.nrows();
    let mut mean = fixed.cloned().unwrap_or_else(|| rough_mean(moments, n));
    let mut covariance = prior.clone();
    for _ in 0..rounds {
        let (mut sum, mut weight, mut expected) = (DVector::zeros(n), 0.0, Vec::new());
        for m in moments {
            let seen = &m.stack;
            let mut system = covariance.select_rows(seen).select_columns(seen);
            for i in 0..seen.len() {
                system[(i, i)] *= 1.0 + 1e-6;
            }
            let solver = Cholesky::new(system)
                .ok_or_else(|| Error::Compute("The covariance of the training scenes cannot be inverted.".into()))?;
            // From what is seen to everything: the identity on itself.
            let cross = covariance.select_columns(seen);
            let mut regression = solver.solve(&cross.transpose()).transpose();
            for (i, &c) in seen.iter().enumerate() {
                regression.row_mut(c).fill(0.0);
                regression[(c, i)] = 1.0;
            }
            let about = DVector::from_fn(seen.len(), |i, _| m.mean[i] - mean[seen[i]]);
            let own_mean = &mean + &regression * about;
            let own_spread = &m.second - &m.mean * m.mean.transpose();
            // What stays unknown of the channels that were not seen.
            let mut rest = &covariance - &regression * cross.transpose();
            for &c in seen {
                rest.row_mut(c).fill(0.0);
                rest.column_mut(c).fill(0.0);
            }
            sum += &own_mean * m.weight;
            weight += m.weight;
            expected.push((m.weight, own_mean, &regression * own_spread * regression.transpose() + rest));
        }
        if fixed.is_none() {
            mean = sum / weight;
        }
        let mut next = prior * belief;
        for (weight, own_mean, spread) in expected {
            let off = own_mean - &mean;
            next += (spread + &off * off.transpose()) * weight;
        }
        next /= weight + belief;
        covariance = (&next + next.transpose()) * 0.5;
    }
    Ok((mean, covariance))
}

fn correlation(covariance: &DMatrix<f64>) -> DMatrix<f64> {
    let scale = covariance.diagonal().map(|v| 1.0 / v.sqrt());
    DMatrix::from_fn(covariance.nrows(), covariance.ncols(), |i, j| covariance[(i, j)] * scale[i] * scale[j])
}

fn scaled(correlation: &DMatrix<f64>, deviation: &[f64]) -> DMatrix<f64> {
    DMatrix::from_fn(correlation.nrows(), correlation.ncols(), |i, j| correlation[(i, j)] * deviation[i] * deviation[j])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments of draws from a covariance, of which only some channels are seen.
    fn seen(covariance: &DMatrix<f64>, mean: &DVector<f64>, stack: &[usize], weight: f64) -> Moments {
        let own = mean.select_rows(stack);
        let second = covariance.select_rows(stack).select_columns(stack) + &own * own.transpose();
        Moments { stack: stack.to_vec(), weight, mean: own, second }
    }

    #[test]
    fn what_was_never_seen_together_is_joined_through_what_was() {
        // 0–1 and 1–2 are seen, 0–2 never; if 1 is all they share, their correlation is the product.
        let (a, b) = (0.8, 0.6);
        let truth = DMatrix::from_row_slice(3, 3, &[1.0, a, a * b, a, 1.0, b, a * b, b, 1.0]);
        let mean = DVector::from_vec(vec![1.0, -2.0, 5.0]);
        let moments = [seen(&truth, &mean, &[0, 1], 1e4), seen(&truth, &mean, &[1, 2], 1e4)];
        let (found_mean, found) = maximise(&moments, &DMatrix::identity(3, 3), 1.0, 400, None).expect("fit");
        assert!((found[(0, 1)] - a).abs() < 0.01 && (found[(1, 2)] - b).abs() < 0.01, "{found}");
        // The data leave it open within limits; it must be neither forgotten nor made up beyond them.
        assert!((found[(0, 2)] - a * b).abs() < 0.1, "{found}");
        assert!((found_mean - mean).amax() < 0.02);
    }

    #[test]
    fn without_data_the_prior_stays() {
        let prior = DMatrix::from_row_slice(2, 2, &[2.0, 0.5, 0.5, 1.0]);
        let nothing = [seen(&DMatrix::identity(2, 2), &DVector::zeros(2), &[0, 1], 1e-9)];
        let (_, found) = maximise(&nothing, &prior, 10.0, 5, Some(&DVector::zeros(2))).expect("fit");
        assert!((found - prior).amax() < 1e-6);
    }
}
