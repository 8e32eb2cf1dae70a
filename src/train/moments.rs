//! Mean and covariance from windows that each lack some channels.

use crate::error::{Error, Result};
use nalgebra::{Cholesky, DMatrix, DVector};

/// Moments of the windows that hold the same channels.
#[derive(Clone)]
pub struct Moments {
    /// Stack indices of the channels.
    pub stack: Vec<usize>,
    /// Independent windows they count for.
    pub weight: f64,
    /// Mean.
    pub mean: DVector<f64>,
    /// Mean products: about zero, not about the mean.
    pub second: DMatrix<f64>,
}

impl Moments {
    /// Of no windows yet.
    pub fn empty(stack: Vec<usize>) -> Self {
        let n = stack.len();
        Self { stack, weight: 0.0, mean: DVector::zeros(n), second: DMatrix::zeros(n, n) }
    }

    /// Takes one window in: its mean coefficients and the average of the products at `columns`.
    pub fn add(&mut self, weight: f64, mean: &DVector<f64>, columns: &DMatrix<f64>, share: f64) {
        self.weight += weight;
        self.mean += mean * weight;
        self.second += columns * columns.transpose() * (weight * share);
    }

    /// From sums to averages.
    pub fn averaged(mut self) -> Self {
        self.mean /= self.weight;
        self.second /= self.weight;
        self
    }

    /// The same about a given mean.
    pub fn about(mut self, mean: &DVector<f64>) -> Self {
        let centre = DVector::from_fn(self.stack.len(), |i, _| mean[self.stack[i]]);
        let (cross, square) = (&self.mean * centre.transpose(), &centre * centre.transpose());
        self.second += square - &cross - cross.transpose();
        self.mean -= centre;
        self
    }
}

/// Mean of each channel over the windows that hold it.
pub fn rough_mean(moments: &[Moments], n: usize) -> DVector<f64> {
    let (mut sum, mut count) = (DVector::zeros(n), DVector::from_element(n, 1e-9));
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.mean[i];
            count[c] += m.weight;
        }
    }
    sum.component_div(&count)
}

/// Expectation maximisation of mean (unless it is fixed) and covariance, with `belief` windows' worth of `prior`. The
/// mean of a channel that no window holds moves from `start` as the others let expect.
///
/// # Errors
/// When a covariance cannot be inverted.
pub fn maximise(
    moments: &[Moments],
    prior: &DMatrix<f64>,
    belief: f64,
    rounds: usize,
    start: DVector<f64>,
    fixed: bool,
) -> Result<(DVector<f64>, DMatrix<f64>)> {
    let n = prior.nrows();
    let mut mean = start;
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
        if !fixed {
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

/// The correlation of a covariance.
pub fn correlation(covariance: &DMatrix<f64>) -> DMatrix<f64> {
    let scale = covariance.diagonal().map(|v| 1.0 / v.sqrt());
    DMatrix::from_fn(covariance.nrows(), covariance.ncols(), |i, j| covariance[(i, j)] * scale[i] * scale[j])
}

/// The covariance of a correlation and standard deviations.
pub fn scaled(correlation: &DMatrix<f64>, deviation: &[f64]) -> DMatrix<f64> {
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
        let (found_mean, found) =
            maximise(&moments, &DMatrix::identity(3, 3), 1.0, 400, rough_mean(&moments, 3), false).expect("fit");
        assert!((found[(0, 1)] - a).abs() < 0.01 && (found[(1, 2)] - b).abs() < 0.01, "{found}");
        // The data leave it open within limits; it must be neither forgotten nor made up beyond them.
        assert!((found[(0, 2)] - a * b).abs() < 0.1, "{found}");
        assert!((found_mean - mean).amax() < 0.02);
    }

    #[test]
    fn without_data_the_prior_stays() {
        let prior = DMatrix::from_row_slice(2, 2, &[2.0, 0.5, 0.5, 1.0]);
        let nothing = [seen(&DMatrix::identity(2, 2), &DVector::zeros(2), &[0, 1], 1e-9)];
        let (_, found) = maximise(&nothing, &prior, 10.0, 5, DVector::zeros(2), true).expect("fit");
        assert!((found - prior).amax() < 1e-6);
    }
}
