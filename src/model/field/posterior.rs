//! The best linear estimate of all latents from noisy ones (the Wiener filter, or cokriging).

use super::layout::Layout;
use super::statistics::Statistics;
use crate::error::{Error, Result};
use nalgebra::{Cholesky, DMatrix};

/// How much of a modality's latent is left and how much noise is in it: x = signal·latent + noise·ε.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// α.
    pub signal: f64,
    /// σ.
    pub noise: f64,
}

/// Variance, relative to that of a latent, that even a given value is taken to have: keeps the system solvable where
/// channels are all but copies of each other.
const FLOOR: f64 = 1e-4;

/// The estimate for one set of levels.
#[derive(Debug)]
pub struct Posterior {
    /// Per group of frequencies: the matrix from noisy coefficients to estimated ones.
    gains: Vec<DMatrix<f32>>,
    /// Per radial bin and channel: standard deviation that is left, in units of the latent.
    pub deviation: Vec<Vec<f32>>,
}

impl Posterior {
    /// For one level per modality.
    ///
    /// # Errors
    /// When the statistics are no covariance.
    pub fn new(statistics: &Statistics, levels: &[Level]) -> Result<Self> {
        let layout = &statistics.layout;
        let mut gains = Vec::with_capacity(layout.groups.len());
        let mut deviation = vec![vec![1.0; layout.channels]; Layout::bins()];
        for group in &layout.groups {
            let stack = layout.stack_of(&group.modalities);
            let of = |f: &dyn Fn(Level) -> f64| -> Vec<f64> {
                group.modalities.iter().flat_map(|&i| vec![f(levels[i]); layout.parts[i].channels]).collect()
            };
            // In units of what a coefficient varies by.
            let unit = Layout::gain(group.bin);
            let noise = |l: Level| (l.noise / unit).powi(2) + FLOOR * l.signal.powi(2);
            let (signal, noise) = (of(&|l| l.signal), of(&noise));
            let correlation = statistics.correlation[group.bin].select_rows(&stack).select_columns(&stack);
            // M = A R A + S,  gain = R A M⁻¹
            let k = stack.len();
            let cross = DMatrix::from_fn(k, k, |i, j| correlation[(i, j)] * signal[j]);
            let mut system = DMatrix::from_fn(k, k, |i, j| cross[(i, j)] * signal[i]);
            for (i, n) in noise.iter().enumerate() {
                system[(i, i)] += n;
            }
            let solved = Cholesky::new(system)
                .ok_or_else(|| Error::Compute("The statistics of the Gaussian field are no covariance.".into()))?;
            let gain = &cross * solved.inverse();
            for (i, &channel) in stack.iter().enumerate() {
                let explained: f64 = (0..k).map(|j| gain[(i, j)] * cross[(i, j)]).sum();
                deviation[group.bin][channel] = ((1.0 - explained).max(0.0).sqrt() * unit) as f32;
            }
            gains.push(gain.map(|v| v as f32));
        }
        Ok(Self { gains, deviation })
    }

    /// Noisy latents, as coefficients by modality → estimated coefficients.
    pub fn estimate(&self, layout: &Layout, noisy: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut estimate: Vec<Vec<f32>> = noisy.iter().map(|v| vec![0.0; v.len()]).collect();
        for (group, gain) in layout.groups.iter().zip(&self.gains) {
            // (channel, frequency), one column per frequency.
            let mut given = DMatrix::<f32>::zeros(gain.ncols(), group.frequencies.len());
            let places = || {
                let own = |&i: &usize| {
                    let part = &layout.parts[i];
                    (0..part.channels).map(move |c| (i, c * part.side * part.side, part.side))
                };
                group.modalities.iter().flat_map(own).enumerate()
            };
            for (row, (i, start, side)) in places() {
                for (column, &(v, u)) in group.frequencies.iter().enumerate() {
                    given[(row, column)] = noisy[i][start + v * side + u];
                }
            }
            let found = gain * given;
            for (row, (i, start, side)) in places() {
                for (column, &(v, u)) in group.frequencies.iter().enumerate() {
                    estimate[i][start + v * side + u] = found[(row, column)];
                }
            }
        }
        estimate
    }
}
