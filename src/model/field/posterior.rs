//! The expected latents given noisy ones: per regime the best linear estimate (the Wiener filter, or cokriging), and
//! how probable each regime is.

use super::layout::{FrequencyGroup, Layout};
use super::statistics::{Regime, Statistics};
use crate::error::{Error, Result};
use nalgebra::{Cholesky, DMatrix, DVector};

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

/// Regimes are told apart by what is broader than this bin's scale; detail has too many values and too little to say.
const TELLING_BINS: usize = 1;

/// Windows that a regime's covariance is taken to be known from when regimes are told apart: what lies far from all of
/// them then says little (the predictive density is Student's t, not the Gaussian). Each modality is judged by itself,
/// given those before it: a strange land cover does not silence the cloud mask.
const KNOWN_FROM: f64 = 6.0;

/// Regimes less probable than this are left out of an estimate.
const NEGLIGIBLE: f64 = 1e-4;

/// The posterior for one set of levels.
#[derive(Debug)]
pub struct Posterior {
    regimes: Vec<Linear>,
}

/// One regime's part.
#[derive(Debug)]
struct Linear {
    log_weight: f64,
    /// One per group of frequencies.
    groups: Vec<Gain>,
    /// Per radial bin and channel: variance that is left, in units of the latent.
    variance: Vec<Vec<f64>>,
}

#[derive(Debug)]
struct Gain {
    /// From noisy coefficients, less their mean, to estimated ones, less theirs.
    matrix: DMatrix<f32>,
    /// Expected noisy and clean coefficients; zero but for the mean of the window.
    means: Option<[DVector<f32>; 2]>,
    telling: Option<Telling>,
}

/// How coefficients tell a regime.
#[derive(Debug)]
struct Telling {
    /// From noisy coefficients, less their mean, to what each adds to those before it, in units of its deviation: the
    /// inverse of the covariance's lower Cholesky factor.
    innovations: DMatrix<f32>,
    /// Rows of each modality: how many.
    rows: Vec<usize>,
    /// Logarithm of the determinant of the noisy coefficients' covariance.
    log_determinant: f64,
    /// How much each frequency counts.
    weight: f64,
}

/// What a posterior makes of noisy latents.
#[derive(Debug)]
pub struct Estimate {
    /// Expected coefficients by modality.
    pub coefficients: Vec<Vec<f32>>,
    /// Probability of each regime.
    pub shares: Vec<f64>,
}

impl Posterior {
    /// For one level per modality.
    ///
    /// # Errors
    /// When the statistics are no covariance.
    pub fn new(statistics: &Statistics, levels: &[Level]) -> Result<Self> {
        let regime = |r: &Regime| Linear::new(&statistics.layout, r, levels);
        Ok(Self { regimes: statistics.regimes.iter().map(regime).collect::<Result<_>>()? })
    }

    /// Noisy latents, as coefficients by modality → what they are expected to be without noise.
    pub fn estimate(&self, layout: &Layout, noisy: &[Vec<f32>]) -> Estimate {
        let given: Vec<DMatrix<f32>> = layout.groups.iter().map(|group| gathered(layout, group, noisy)).collect();
        let shares = self.shares(&given);
        let mut coefficients: Vec<Vec<f32>> = noisy.iter().map(|v| vec![0.0; v.len()]).collect();
        for (k, (group, given)) in layout.groups.iter().zip(&given).enumerate() {
            let mut expected = DMatrix::<f32>::zeros(given.nrows(), given.ncols());
            for (regime, share) in self.regimes.iter().zip(&shares).filter(|(_, share)| **share > NEGLIGIBLE) {
                let gain = &regime.groups[k];
                let mut own = match &gain.means {
                    None => &gain.matrix * given,
                    Some([noisy, clean]) => {
                        let mut own = &gain.matrix * with_mean(given, noisy, -1.0);
                        own.column_iter_mut().for_each(|mut column| column += clean);
                        own
                    }
                };
                own *= *share as f32;
                expected += own;
            }
            scattered(layout, group, &expected, &mut coefficients);
        }
        Estimate { coefficients, shares }
    }

    /// Standard deviation that is left on average over the regimes, per radial bin and channel, in units of the latent.
    pub fn deviation(&self, shares: &[f64]) -> Vec<Vec<f32>> {
        let mut sum: Vec<Vec<f64>> = Vec::new();
        for (regime, share) in self.regimes.iter().zip(shares) {
            sum.resize(regime.variance.len(), vec![0.0; regime.variance.first().map_or(0, Vec::len)]);
            for (sum, variance) in sum.iter_mut().zip(&regime.variance) {
                sum.iter_mut().zip(variance).for_each(|(s, v)| *s += share * v);
            }
        }
        sum.iter().map(|bin| bin.iter().map(|v| v.sqrt() as f32).collect()).collect()
    }

    /// Probability of each regime.
    fn shares(&self, given: &[DMatrix<f32>]) -> Vec<f64> {
        if self.regimes.len() < 2 {
            return vec![1.0; self.regimes.len()];
        }
        let logs: Vec<f64> = self.regimes.iter().map(|regime| regime.log_probability(given)).collect();
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|l| (l - highest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    }
}

impl Linear {
    fn new(layout: &Layout, regime: &Regime, levels: &[Level]) -> Result<Self> {
        let mut groups = Vec::with_capacity(layout.groups.len());
        let mut variance = vec![vec![0.0; layout.channels]; Layout::bins()];
        let mut counts = vec![vec![0.0; layout.channels]; Layout::bins()];
        for group in &layout.groups {
            let stack = layout.stack_of(&group.modalities);
            let of = |f: &dyn Fn(Level) -> f64| -> Vec<f64> {
                group.modalities.iter().flat_map(|&i| vec![f(levels[i]); layout.parts[i].channels]).collect()
            };
            // In units of what a coefficient varies by.
            let unit = Layout::gain(group.bin);
            let noise = |l: Level| (l.noise / unit).powi(2) + FLOOR * l.signal.powi(2);
            let (signal, noise) = (of(&|l| l.signal), of(&noise));
            let covariance = regime.covariance[group.bin].select_rows(&stack).select_columns(&stack);
            // M = A C A + S,  gain = C A M⁻¹
            let k = stack.len();
            let cross = DMatrix::from_fn(k, k, |i, j| covariance[(i, j)] * signal[j]);
            let mut system = DMatrix::from_fn(k, k, |i, j| cross[(i, j)] * signal[i]);
            for (i, n) in noise.iter().enumerate() {
                system[(i, i)] += n;
            }
            let solver = Cholesky::new(system)
                .ok_or_else(|| Error::Compute("The statistics of the Gaussian field are no covariance.".into()))?;
            let inverse = solver.inverse();
            let gain = &cross * &inverse;
            let frequencies = group.frequencies.len() as f64;
            for (i, &channel) in stack.iter().enumerate() {
                let explained: f64 = (0..k).map(|j| gain[(i, j)] * cross[(i, j)]).sum();
                let left = (covariance[(i, i)] - explained).max(0.0) * unit * unit;
                variance[group.bin][channel] += left * frequencies;
                counts[group.bin][channel] += frequencies;
            }
            let means = (group.bin == 0).then(|| {
                let clean = |i: usize| regime.mean[stack[i]] * unit;
                [DVector::from_fn(k, |i, _| (clean(i) * signal[i]) as f32), DVector::from_fn(k, |i, _| clean(i) as f32)]
            });
            let telling = (group.bin < TELLING_BINS).then(|| {
                let lower = solver.l();
                // A lower factor of what could be factored has an inverse.
                let inverse = lower.solve_lower_triangular(&DMatrix::identity(k, k)).unwrap_or_else(|| lower.clone());
                Telling {
                    innovations: inverse.map(|v| (v / unit) as f32),
                    rows: group.modalities.iter().map(|&i| layout.parts[i].channels).collect(),
                    log_determinant: 2.0 * lower.diagonal().iter().map(|v| v.ln()).sum::<f64>(),
                    // Neighbouring frequencies of one window are not independent: they count as the root of their number.
                    weight: 1.0 / frequencies.sqrt(),
                }
            });
            groups.push(Gain { matrix: gain.map(|v| v as f32), means, telling });
        }
        for (variance, count) in variance.iter_mut().flatten().zip(counts.iter().flatten()) {
            *variance /= f64::max(*count, 1.0);
        }
        Ok(Self { log_weight: regime.weight.max(1e-12).ln(), groups, variance })
    }

    fn log_probability(&self, given: &[DMatrix<f32>]) -> f64 {
        let mut sum = self.log_weight;
        for (gain, given) in self.groups.iter().zip(given) {
            let Some(telling) = &gain.telling else { continue };
            let off = match &gain.means {
                None => given.clone(),
                Some([noisy, _]) => with_mean(given, noisy, -1.0),
            };
            for column in (&telling.innovations * off).column_iter() {
                let mut first = 0;
                for &n in &telling.rows {
                    let square: f64 = column.rows(first, n).iter().map(|v| f64::from(v * v)).sum();
                    sum -= 0.5 * telling.weight * (KNOWN_FROM + n as f64) * (square / KNOWN_FROM).ln_1p();
                    first += n;
                }
                sum -= 0.5 * telling.weight * telling.log_determinant;
            }
        }
        sum
    }
}

fn with_mean(values: &DMatrix<f32>, mean: &DVector<f32>, sign: f32) -> DMatrix<f32> {
    let mut out = values.clone();
    out.column_iter_mut().for_each(|mut column| column.axpy(sign, mean, 1.0));
    out
}

/// Rows of a group: modality, first coefficient of the channel, side.
fn rows<'a>(layout: &'a Layout, group: &'a FrequencyGroup) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
    group.modalities.iter().flat_map(|&i| {
        let part = &layout.parts[i];
        (0..part.channels).map(move |c| (i, c * part.side * part.side, part.side))
    })
}

/// `(channel, frequency)` of a group.
fn gathered(layout: &Layout, group: &FrequencyGroup, coefficients: &[Vec<f32>]) -> DMatrix<f32> {
    let rows: Vec<_> = rows(layout, group).collect();
    DMatrix::from_fn(rows.len(), group.frequencies.len(), |r, f| {
        let ((i, start, side), (v, u)) = (rows[r], group.frequencies[f]);
        coefficients[i][start + v * side + u]
    })
}

/// The inverse of [`gathered`].
fn scattered(layout: &Layout, group: &FrequencyGroup, values: &DMatrix<f32>, coefficients: &mut [Vec<f32>]) {
    for (r, (i, start, side)) in rows(layout, group).enumerate() {
        for (f, &(v, u)) in group.frequencies.iter().enumerate() {
            coefficients[i][start + v * side + u] = values[(r, f)];
        }
    }
}
