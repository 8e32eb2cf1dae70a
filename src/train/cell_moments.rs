//! Fits the statistics of a cascade's cells to windows that lack some modalities.

use super::coarse::CachedWindows;
use super::moments::{Moments, Prior, maximise, rough_mean};
use crate::error::Result;
use crate::modality::to_network;
use crate::model::cascade::{Cells, Gaussian, Standard};
use crate::parallel;
use nalgebra::{DMatrix, DVector};
use std::collections::BTreeMap;

/// Windows that are looked at.
const MOST_WINDOWS: usize = 2000;
/// Independent windows that all of them count for: many are of one place.
const INDEPENDENT: f64 = 200.0;
/// Independent cells of a window: neighbours are alike.
const INDEPENDENT_CELLS: f64 = 24.0;
/// Windows that the belief in unrelated channels is worth: more would blur what goes closely together.
const PRIOR_WINDOWS: f64 = 1.0;
/// Variance of a mean of which nothing is known, in units of the channels'.
const FLAT: f64 = 1e6;

/// Mean and covariance of standardised cells, by expectation maximisation.
///
/// # Errors
/// When a value does not fit its modality, or a covariance cannot be inverted.
pub(super) fn cell_statistics(
    windows: &CachedWindows,
    cells: &Cells,
    standards: &[Option<Standard>],
) -> Result<Gaussian> {
    let every = windows.train.len().div_ceil(MOST_WINDOWS).max(1);
    let chosen: Vec<usize> = (0..windows.train.len()).step_by(every).collect();
    let weight = INDEPENDENT / chosen.len().max(1) as f64;
    // Channels that a window holds, and `(channel, cell)` of them.
    let held = parallel::map(&chosen, |&window| {
        let (mut stack, mut values) = (Vec::new(), Vec::new());
        for (i, value) in windows.train[window].iter().enumerate() {
            let (Some(value), Some(part), Some(standard)) = (value, &cells.parts[i], &standards[i]) else { continue };
            let mut image = to_network(&windows.table[i], value)?;
            standard.standardise(&mut image);
            values.extend(cells.of_image(part, standard, &image));
            stack.extend(part.first..part.first + part.latent);
        }
        Ok((stack, values))
    })?;
    let n = cells.channels;
    let (mut between, mut within) = (BTreeMap::new(), BTreeMap::new());
    for (stack, values) in held.into_iter().filter(|(stack, _)| !stack.is_empty()) {
        let mut own = DMatrix::from_row_iterator(stack.len(), cells.count(), values.into_iter().map(f64::from));
        let mean: DVector<f64> = own.column_mean();
        own.column_iter_mut().for_each(|mut cell| cell -= &mean);
        let nothing = DVector::zeros(stack.len());
        let of = |all: &mut BTreeMap<Vec<usize>, Moments>, weight: f64, mean: &DVector<f64>, columns: &DMatrix<f64>| {
            let moments = all.entry(stack.clone()).or_insert_with(|| Moments::empty(stack.clone()));
            moments.add(weight, mean, columns, 1.0 / columns.ncols() as f64);
        };
        of(&mut between, weight, &mean, &DMatrix::from_columns(std::slice::from_ref(&mean)));
        of(&mut within, weight * INDEPENDENT_CELLS, &nothing, &own);
    }
    let averaged =
        |all: BTreeMap<Vec<usize>, Moments>| all.into_values().map(Moments::averaged).collect::<Vec<Moments>>();
    let (between, within) = (averaged(between), averaged(within));
    let rough = rough_mean(&between, n);
    let unrelated = unrelated(between.iter().map(|m| m.clone().about(&rough)), n);
    let mean_covariance = &unrelated * FLAT;
    let (mean, between) =
        maximise(&between, &Prior { mean: rough, mean_covariance, covariance: &unrelated, windows: PRIOR_WINDOWS })?;
    let unrelated = self::unrelated(within.iter().cloned(), n);
    let prior = Prior {
        mean: DVector::zeros(n),
        mean_covariance: DMatrix::zeros(n, n),
        covariance: &unrelated,
        windows: PRIOR_WINDOWS,
    };
    let (_, within) = maximise(&within, &prior)?;
    Gaussian::new(mean.iter().map(|v| *v as f32).collect(), between, within)
}

/// The variance of each channel that moments about their mean tell, and nothing between channels.
fn unrelated(moments: impl Iterator<Item = Moments>, n: usize) -> DMatrix<f64> {
    let (mut sum, mut count) = (DVector::zeros(n), DVector::from_element(n, 1e-9));
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.second[(i, i)];
            count[c] += m.weight;
        }
    }
    DMatrix::from_diagonal(&sum.component_div(&count).map(|v| v.max(1e-4)))
}
