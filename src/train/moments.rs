//! Mean and covariance from windows that each lack some channels.

use crate::error::{Error, Result};
use nalgebra::{Cholesky, DMatrix, DVector};

/// Moments of the windows that hold the same channels.
#[derive(Clone)]
pub(super) struct Moments {
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
    pub(super) fn empty(stack: Vec<usize>) -> Self {
        let n = stack.len();
        Self { stack, weight: 0.0, mean: DVector::zeros(n), second: DMatrix::zeros(n, n) }
    }

    /// Takes one window in: its mean coefficients and the average of the products at `columns`.
    pub(super) fn add(&mut self, weight: f64, mean: &DVector<f64>, columns: &DMatrix<f64>, share: f64) {
        self.weight += weight;
        self.mean += mean * weight;
        self.second += columns * columns.transpose() * (weight * share);
    }

    /// From sums to averages.
    pub(super) fn averaged(mut self) -> Self {
        self.mean /= self.weight;
        self.second /= self.weight;
        self
    }

    /// The same about a given mean.
    pub(super) fn about(mut self, mean: &DVector<f64>) -> Self {
        let centre = DVector::from_fn(self.stack.len(), |i, _| mean[self.stack[i]]);
        let (cross, square) = (&self.mean * centre.transpose(), &centre * centre.transpose());
        self.second += square - &cross - cross.transpose();
        self.mean -= centre;
        self
    }
}

/// Mean of each channel over the windows that hold it.
pub(super) fn rough_mean(moments: &[Moments], n: usize) -> DVector<f64> {
    let (mut sum, mut count) = (DVector::zeros(n), DVector::from_element(n, 1e-9));
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.mean[i];
            count[c] += m.weight;
        }
    }
    sum.component_div(&count)
}

/// By channel, the weighted sum of squares over the windows that hold it, and their weights, which are added to `count`.
pub(super) fn squares(moments: &[Moments], mut count: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
    let mut sum = vec![0.0; count.len()];
    for m in moments {
        for (i, &c) in m.stack.iter().enumerate() {
            sum[c] += m.weight * m.second[(i, i)];
            count[c] += m.weight;
        }
    }
    (sum, count)
}

/// Windows the usual deviation is worth.
const HELD_BACK: f64 = 4.0;

/// Kinds of windows are of what an optical sensor sees. That they differ in anything else takes so many times more to show.
pub(super) const NOT_SEEN: f64 = 10.0;

/// Standard deviations in one kind of window, relative to those of all windows, of sums of squares in units of these and their
/// counts. Where little is seen, an optical channel varies as the others do in this kind, and anything else as in all windows.
pub(super) fn own_deviations(sum: &[f64], count: &[f64], optical: &[bool]) -> Vec<f64> {
    let of_bands = |values: &[f64]| -> f64 { values.iter().zip(optical).filter(|(_, o)| **o).map(|(v, _)| v).sum() };
    let bands = (of_bands(sum) / of_bands(count).max(1e-9)).max(1e-6);
    let own = |c: usize| {
        let usual = if optical[c] { bands } else { 1.0 };
        let windows = if optical[c] { HELD_BACK } else { NOT_SEEN * HELD_BACK };
        ((sum[c] + windows * usual) / (count[c] + windows)).sqrt().clamp(0.05, 5.0)
    };
    (0..optical.len()).map(own).collect()
}

/// What is assumed before anything is seen: a normal distribution of the mean, and a covariance worth some windows.
pub(super) struct Prior<'a> {
    /// Mean, also of channels that are never seen.
    pub mean: DVector<f64>,
    /// Covariance of that mean's error; a channel of which it is zero keeps its mean.
    pub mean_covariance: DMatrix<f64>,
    /// Covariance.
    pub covariance: &'a DMatrix<f64>,
    /// Windows that the covariance is worth.
    pub windows: f64,
}

/// Mean and covariance that explain the moments best, given the prior: expectation maximisation,
/// extrapolated (SQUAREM, Varadhan and Roland 2008), since with most channels missing it creeps. The mean of a channel
/// that no window holds moves as the others let expect.
///
/// # Errors
/// When a covariance cannot be inverted.
pub(super) fn maximise(moments: &[Moments], prior: &Prior) -> Result<(DVector<f64>, DMatrix<f64>)> {
    let step = |from: &Normal| from.step(moments, prior);
    let mut at = Normal { mean: prior.mean.clone(), covariance: prior.covariance.clone() };
    // From what is seen: a long way from the prior there is a second, worse answer of no shift and great spread.
    let seen = rough_mean(moments, at.mean.len());
    for m in moments {
        for &c in m.stack.iter().filter(|&&c| prior.mean_covariance[(c, c)] > 0.0) {
            at.mean[c] = seen[c];
        }
    }
    for _ in 0..MOST_ROUNDS {
        let (one, likelihood) = step(&at)?;
        let (two, _) = step(&one)?;
        let (first, second) = (one.minus(&at), two.minus(&one));
        let curve = second.minus(&first);
        // Channels are in units of their own.
        if second.size(prior) < CONVERGED {
            return Ok((two.mean, two.covariance));
        }
        let length = first.size(prior) / curve.size(prior).max(1e-300);
        let far = at.plus(&first, 2.0 * length).plus(&curve, length * length);
        // Where it goes too far, what plain steps have reached.
        at = match step(&far) {
            Ok((next, reached)) if length > 1.0 && reached.is_finite() && reached >= likelihood => next,
            _ => two,
        };
    }
    Ok((at.mean, at.covariance))
}

/// Steps are this small, in units of the channels' deviations, when nothing is left to gain.
const CONVERGED: f64 = 1e-5;

/// Extrapolated steps at most.
const MOST_ROUNDS: usize = 200;

/// A mean and a covariance.
#[derive(Clone)]
struct Normal {
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
}

impl Normal {
    fn minus(&self, other: &Self) -> Self {
        Self { mean: &self.mean - &other.mean, covariance: &self.covariance - &other.covariance }
    }

    fn plus(&self, other: &Self, factor: f64) -> Self {
        Self { mean: &self.mean + &other.mean * factor, covariance: &self.covariance + &other.covariance * factor }
    }

    /// Root mean square in units of the prior's deviations.
    fn size(&self, prior: &Prior) -> f64 {
        let unit = prior.covariance.diagonal().map(|v| v.sqrt().max(1e-150));
        let n = unit.len();
        let mean = (0..n).map(|i| (self.mean[i] / unit[i]).powi(2)).sum::<f64>();
        let all = (0..n * n).map(|k| (self.covariance[k] / unit[k % n] / unit[k / n]).powi(2)).sum::<f64>();
        (mean / n as f64 + all / (n * n) as f64).sqrt()
    }

    /// One step of expectation maximisation, and the logarithm of the posterior density it sets out from, less a
    /// constant.
    fn step(&self, moments: &[Moments], prior: &Prior) -> Result<(Self, f64)> {
        let (mean, covariance) = (&self.mean, &self.covariance);
        let n = mean.len();
        let (mut sum, mut weight, mut expected) = (DVector::zeros(n), 0.0, Vec::new());
        let all = solver(covariance.clone())?;
        let mut likelihood = -0.5 * prior.windows * (log_determinant(&all) + all.solve(prior.covariance).trace());
        let free: Vec<usize> = (0..n).filter(|&c| prior.mean_covariance[(c, c)] > 0.0).collect();
        let mean_covariance = prior.mean_covariance.select_rows(&free).select_columns(&free);
        if !free.is_empty() {
            let off = (mean - &prior.mean).select_rows(&free);
            likelihood -= 0.5 * solver(mean_covariance.clone())?.solve(&off).dot(&off);
        }
        for m in moments {
            let seen = &m.stack;
            let mut system = covariance.select_rows(seen).select_columns(seen);
            for i in 0..seen.len() {
                system[(i, i)] *= 1.0 + 1e-6;
            }
            let solver = solver(system)?;
            // From what is seen to everything: the identity on itself.
            let cross = covariance.select_columns(seen);
            let mut regression = solver.solve(&cross.transpose()).transpose();
            for (i, &c) in seen.iter().enumerate() {
                regression.row_mut(c).fill(0.0);
                regression[(c, i)] = 1.0;
            }
            let about = DVector::from_fn(seen.len(), |i, _| m.mean[i] - mean[seen[i]]);
            let own_spread = &m.second - &m.mean * m.mean.transpose();
            let scatter = &own_spread + &about * about.transpose();
            likelihood -= 0.5 * m.weight * (log_determinant(&solver) + solver.solve(&scatter).trace());
            let own_mean = mean + &regression * about;
            // What stays unknown of the channels that were not seen.
            let mut rest = covariance - &regression * cross.transpose();
            for &c in seen {
                rest.row_mut(c).fill(0.0);
                rest.column_mut(c).fill(0.0);
            }
            sum += &own_mean * m.weight;
            weight += m.weight;
            expected.push((m.weight, own_mean, &regression * own_spread * regression.transpose() + rest));
        }
        // What the windows say, weighed against the prior.
        let mut mean = prior.mean.clone();
        if !free.is_empty() {
            let observed = (sum / weight - &prior.mean).select_rows(&free);
            let own = covariance.select_rows(&free).select_columns(&free) / weight;
            let moved = &mean_covariance * solver(&mean_covariance + own)?.solve(&observed);
            free.iter().zip(moved.iter()).for_each(|(&c, m)| mean[c] += m);
        }
        let mut next = prior.covariance * prior.windows;
        for (weight, own_mean, spread) in expected {
            let off = own_mean - &mean;
            next += (spread + &off * off.transpose()) * weight;
        }
        next /= weight + prior.windows;
        Ok((Self { mean, covariance: (&next + next.transpose()) * 0.5 }, likelihood))
    }
}

fn solver(covariance: DMatrix<f64>) -> Result<Cholesky<f64, nalgebra::Dyn>> {
    // Channels that are copies of each other leave it singular but for rounding.
    let steadied = |mut covariance: DMatrix<f64>| {
        let unit = covariance.diagonal();
        (0..unit.len()).for_each(|i| covariance[(i, i)] += 1e-7 * unit[i]);
        Cholesky::new(covariance)
    };
    Cholesky::new(covariance.clone())
        .or_else(|| steadied(covariance))
        .ok_or_else(|| Error::Compute("The covariance of the training scenes cannot be inverted.".into()))
}

fn log_determinant(solver: &Cholesky<f64, nalgebra::Dyn>) -> f64 {
    2.0 * solver.l_dirty().diagonal().iter().map(|v| v.ln()).sum::<f64>()
}

/// The covariance of a correlation and standard deviations.
pub(super) fn scaled(correlation: &DMatrix<f64>, deviation: &[f64]) -> DMatrix<f64> {
    DMatrix::from_fn(correlation.nrows(), correlation.ncols(), |i, j| correlation[(i, j)] * deviation[i] * deviation[j])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior_of(mean: DVector<f64>, covariance: &DMatrix<f64>, windows: f64) -> Prior<'_> {
        Prior { mean, mean_covariance: covariance * 1e6, covariance, windows }
    }

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
            maximise(&moments, &prior_of(rough_mean(&moments, 3), &DMatrix::identity(3, 3), 1.0)).expect("fit");
        assert!((found[(0, 1)] - a).abs() < 0.01 && (found[(1, 2)] - b).abs() < 0.01, "{found}");
        // The data leave it open within limits; it must be neither forgotten nor made up beyond them.
        assert!((found[(0, 2)] - a * b).abs() < 0.1, "{found}");
        assert!((found_mean - mean).amax() < 0.02);
    }

    #[test]
    fn little_seen_among_much_missing_still_counts_in_full() {
        // A thousand windows hold channel 0 alone and stand two above those few that tell how 1 goes with it.
        let truth = DMatrix::from_row_slice(2, 2, &[1.0, 0.9, 0.9, 1.0]);
        let moments = [
            seen(&truth, &DVector::from_vec(vec![2.0, 0.0]), &[0], 1000.0),
            seen(&truth, &DVector::from_vec(vec![0.0, 5.0]), &[0, 1], 5.0),
        ];
        let (mean, covariance) =
            maximise(&moments, &prior_of(rough_mean(&moments, 2), &DMatrix::identity(2, 2), 1e-3)).expect("fit");
        let expected = 5.0 + covariance[(0, 1)] / covariance[(0, 0)] * mean[0];
        assert!((mean[1] - expected).abs() < 5e-3 && mean[1] > 6.5, "{mean} {covariance}");
    }

    #[test]
    fn a_shift_of_all_channels_together_is_a_mean_and_not_a_spread() {
        // Six channels that vary by 0.3, nearly as one, three above what is believed to within one.
        let n = 6;
        let truth = DMatrix::from_fn(n, n, |i, j| if i == j { 0.09 } else { 0.085 });
        let moments = [seen(&truth, &DVector::from_element(n, 3.0), &[0, 1, 2, 3, 4, 5], 20.0)];
        let mut prior = prior_of(DVector::zeros(n), &truth, 20.0);
        prior.mean_covariance = &truth / 0.09;
        let (mean, covariance) = maximise(&moments, &prior).expect("fit");
        assert!(mean.iter().all(|m| (2.8..3.0).contains(m)), "{mean}");
        assert!((0..n).all(|i| covariance[(i, i)] < 0.2), "{covariance}");
        // What is sure stays.
        prior.mean_covariance.row_mut(5).fill(0.0);
        prior.mean_covariance.column_mut(5).fill(0.0);
        assert_eq!(maximise(&moments, &prior).expect("fit").0[5], 0.0);
    }

    #[test]
    fn without_data_the_prior_stays() {
        let prior_covariance = DMatrix::from_row_slice(2, 2, &[2.0, 0.5, 0.5, 1.0]);
        let nothing = [seen(&DMatrix::identity(2, 2), &DVector::zeros(2), &[0, 1], 1e-9)];
        let (_, found) = maximise(&nothing, &prior_of(DVector::zeros(2), &prior_covariance, 10.0)).expect("fit");
        assert!((found - prior_covariance).amax() < 1e-6);
    }
}
