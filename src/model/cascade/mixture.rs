//! What cells are expected to be by their statistics alone: the start that the coarse network corrects.

use crate::error::{Error, Result};
use crate::model::cosines::Cosines;
use crate::model::tensor_data::TensorData;
use crate::model::weights::LoadedWeights;
use crate::model::{Init, Parameters};
use candle_core::{DType, Device};
use nalgebra::{Cholesky, DMatrix, DVector};
use std::collections::BTreeMap;
use std::path::Path;

/// Variance, relative to a channel's own, that even a given value is taken to be unsure by: channels that are all but
/// copies of each other would leave no system to solve.
const FLOOR: f64 = 1e-4;

/// The least variance of a channel: of classes that were never seen.
const LEAST: f64 = 1e-6;

/// The least deviation that is left open: of 1, a thing's own.
const LEAST_DEVIATION: f32 = 0.03;

/// Ends of the bands of frequencies, in half waves a window: its mean, and five octaves.
const BANDS: [f64; 6] = [0.5, 1.5, 3.0, 6.0, 12.0, f64::INFINITY];

/// Windows that the statistics of a kind are taken to be known from when kinds are told apart: what lies far from all of
/// them then says little (the predictive density is Student's t, not the Gaussian).
const KNOWN_FROM: f64 = 6.0;

/// Kinds less probable than this are left out of an estimate.
const NEGLIGIBLE: f64 = 1e-3;

/// One kind of window: snow, sea, fields, closed clouds.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Share of all windows.
    pub share: f64,
    /// Mean of each channel of standardised cells.
    pub mean: Vec<f32>,
    /// Covariance of the channels' coefficients (of an orthonormal cosine transform) in each band of frequencies.
    pub covariance: Vec<DMatrix<f64>>,
}

/// Kinds of windows, each with mean and covariance of the channels of standardised cells, at each scale: cosine coefficients of
/// a window are taken to be independent, their covariance that of their band of frequencies.
#[derive(Debug, Clone)]
pub struct Mixture {
    side: usize,
    kinds: Vec<Kind>,
    /// Which coefficients are in each band.
    members: Vec<Vec<usize>>,
    cosines: Cosines,
}

/// What is expected of cells, and what that leaves open.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// `(row, column, channels)`, standardised.
    pub values: Vec<f32>,
    /// By channel: deviation of the truth from it, of the mean of a window and of what varies about it.
    pub deviations: Vec<[f32; 2]>,
    /// Probability of each kind.
    pub shares: Vec<f64>,
}

impl Mixture {
    /// Of kinds that all have one number of channels, on a grid of so many cells along a side.
    ///
    /// # Errors
    /// When there are none, sizes differ, or a number is not finite.
    pub fn new(side: usize, kinds: Vec<Kind>) -> Result<Self> {
        let n = kinds.first().map_or(0, |kind| kind.mean.len());
        let fits = |kind: &Kind| {
            kind.covariance.len() == Self::bands()
                && kind.covariance.iter().all(|c| c.shape() == (n, n) && c.iter().all(|v| v.is_finite()))
                && kind.mean.len() == n
                && kind.mean.iter().all(|v| v.is_finite())
                && kind.share > 0.0
                && kind.share <= 1.0
        };
        if kinds.is_empty() || !kinds.iter().all(fits) {
            return Err(Error::request(format!("These are not statistics of {n} channels of cells.")));
        }
        Ok(Self { side, kinds, members: Self::coefficients(side), cosines: Cosines::new([side]) })
    }

    /// One kind, whose channels say nothing of each other.
    #[cfg(test)]
    pub(super) fn unrelated(side: usize, channels: usize) -> Self {
        let covariance = vec![DMatrix::identity(channels, channels); Self::bands()];
        Self::new(side, vec![Kind { share: 1.0, mean: vec![0.0; channels], covariance }]).expect("statistics")
    }

    /// Number of bands.
    pub fn bands() -> usize {
        BANDS.len()
    }

    /// Which of a window's coefficients are in each band.
    pub fn coefficients(side: usize) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); Self::bands()];
        for k in 0..side * side {
            let radius = ((k / side) as f64).hypot((k % side) as f64);
            let band = BANDS.iter().position(|end| radius < *end).unwrap_or(Self::bands() - 1);
            all[band].push(k);
        }
        all
    }

    /// Channels it is of.
    pub fn channels(&self) -> usize {
        self.kinds.first().map_or(0, |kind| kind.mean.len())
    }

    /// Reads a file that [`tensors`](Self::tensors) filled; with `sha256`, checks that this is its hash.
    ///
    /// # Errors
    /// When it is missing, damaged, or of another number of channels.
    pub fn open(path: &Path, sha256: Option<&str>, side: usize, channels: usize) -> Result<Self> {
        let mut source = LoadedWeights::open(path, sha256, &Device::Cpu)?;
        let count = source.tensors().get("share").and_then(|share| share.shape.first().copied()).unwrap_or(0);
        let mut get = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            Ok(source.get(name, shape, Init::Zeros)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        let shares = get("share", &[count])?;
        let means = get("mean", &[count, channels])?;
        let all = get("covariance", &[count, Self::bands(), channels, channels])?;
        source.finish()?;
        let square = |c: &[f32]| DMatrix::from_iterator(channels, channels, c.iter().map(|v| f64::from(*v)));
        let squares: Vec<DMatrix<f64>> = all.chunks_exact((channels * channels).max(1)).map(square).collect();
        let kinds = shares.iter().zip(means.chunks_exact(channels.max(1))).zip(squares.chunks_exact(Self::bands()));
        let kind = |((share, mean), covariance): ((&f32, &[f32]), &[DMatrix<f64>])| Kind {
            share: f64::from(*share),
            mean: mean.to_vec(),
            covariance: covariance.to_vec(),
        };
        Self::new(side, kinds.map(kind).collect()).map_err(|e| Error::file(path, e.to_string()))
    }

    /// `share (kinds)`, `mean (kinds, channels)`, `covariance (kinds, bands, channels, channels)`.
    pub fn tensors(&self) -> BTreeMap<String, TensorData> {
        let (k, n) = (self.kinds.len(), self.channels());
        let tensor = |shape: Vec<usize>, values: &mut dyn Iterator<Item = f32>| TensorData {
            dtype: DType::F32,
            shape,
            bytes: values.flat_map(f32::to_le_bytes).collect(),
        };
        let kinds = || self.kinds.iter();
        // Symmetric: the order of rows and columns does not matter.
        let mut all = kinds().flat_map(|kind| &kind.covariance).flatten().map(|v| *v as f32);
        BTreeMap::from([
            ("share".to_owned(), tensor(vec![k], &mut kinds().map(|kind| kind.share as f32))),
            ("mean".to_owned(), tensor(vec![k, n], &mut kinds().flat_map(|kind| kind.mean.iter().copied()))),
            ("covariance".to_owned(), tensor(vec![k, Self::bands(), n, n], &mut all)),
        ])
    }

    /// What cells are expected to be, standardised, given noisy ones `(row, column, channels)`: by kind the best linear
    /// estimate, weighed by how probable each is. `noise` is by channel the variance of the noise beside a signal of full
    /// strength: 0 for what is given, infinite for what is not there (whatever stands in its place).
    ///
    /// # Errors
    /// When the statistics are no covariance.
    pub fn estimate(&self, noisy: &[f32], noise: &[f64]) -> Result<Estimate> {
        let (n, cells) = (self.channels(), self.side * self.side);
        let seen: Vec<usize> = (0..n).filter(|&c| noise[c].is_finite()).collect();
        let own: Vec<f64> = seen.iter().map(|&c| noise[c]).collect();
        let of = |&c: &usize| (0..cells).map(move |cell| noisy[cell * n + c]);
        let mut observed: Vec<f32> = seen.iter().flat_map(of).collect();
        self.cosines.forward(&mut observed, self.side);
        // The mean of a window is its first coefficient.
        let side = self.side as f32;
        let off = |kind: &Kind| DVector::from_fn(seen.len(), |i, _| observed[i * cells] - side * kind.mean[seen[i]]);
        let levels =
            self.kinds.iter().map(|kind| Gain::new(&kind.covariance[0], &seen, &own)).collect::<Result<Vec<_>>>()?;
        let likely = |(kind, gain): (&Kind, &Gain)| kind.share.ln() + gain.log_density(&off(kind));
        let shares = shares(&self.kinds.iter().zip(&levels).map(likely).collect::<Vec<_>>());
        let mut expected = vec![0.0; n * cells];
        let mut open = vec![[0.0; 2]; n];
        let mut squares = vec![0.0; n];
        let likely = self.kinds.iter().zip(levels).zip(&shares).filter(|(_, share)| **share > 0.0);
        for ((kind, level), &share) in likely {
            for (band, (covariance, members)) in kind.covariance.iter().zip(&self.members).enumerate() {
                let count = members.len() as f64 / cells as f64;
                if band == 0 {
                    let found = &level.matrix * off(kind);
                    for (c, found) in found.iter().enumerate() {
                        let coefficient = side * kind.mean[c] + found;
                        expected[c * cells] += share as f32 * coefficient;
                        squares[c] += share * f64::from(coefficient).powi(2) * count;
                        open[c][0] += share * count * level.left[c];
                    }
                    continue;
                }
                let gain = Gain::new(covariance, &seen, &own)?;
                let observed = DMatrix::from_fn(seen.len(), members.len(), |i, k| observed[i * cells + members[k]]);
                let found = &gain.matrix * observed;
                for (k, member) in members.iter().enumerate() {
                    let into = found.column(k);
                    into.iter().enumerate().for_each(|(c, v)| expected[c * cells + member] += share as f32 * v);
                }
                open.iter_mut().zip(&gain.left).for_each(|(open, left)| open[1] += share * count * left);
            }
        }
        for (c, open) in open.iter_mut().enumerate() {
            // Kinds differ in what they expect.
            open[0] += (squares[c] - f64::from(expected[c * cells]).powi(2) / cells as f64).max(0.0);
        }
        self.cosines.inverse(&mut expected, self.side);
        let cell = |cell: usize| (0..n).map(move |c| (c, cell));
        let values = (0..cells).flat_map(cell).map(|(c, cell)| expected[c * cells + cell]).collect();
        let deviations =
            open.into_iter().map(|open| open.map(|variance| (variance.sqrt() as f32).max(LEAST_DEVIATION)));
        Ok(Estimate { values, deviations: deviations.collect(), shares })
    }
}

/// Probabilities of their logarithms, up to a constant; 0 where they are negligible.
fn shares(logs: &[f64]) -> Vec<f64> {
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> =
        logs.iter().map(|l| Some((l - highest).exp()).filter(|w| *w > NEGLIGIBLE).unwrap_or(0.0)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// What the coefficients of one band that are seen tell of all of them.
struct Gain {
    /// From what is seen, less its mean, to everything, less its mean.
    matrix: DMatrix<f32>,
    /// By channel, the variance that is left.
    left: Vec<f64>,
    /// The lower Cholesky factor of the covariance of what is seen.
    lower: DMatrix<f64>,
}

impl Gain {
    fn new(covariance: &DMatrix<f64>, seen: &[usize], noise: &[f64]) -> Result<Self> {
        let n = covariance.nrows();
        if seen.is_empty() {
            let left = covariance.diagonal().iter().copied().collect();
            return Ok(Self { matrix: DMatrix::zeros(n, 0), left, lower: DMatrix::zeros(0, 0) });
        }
        let cross = covariance.select_columns(seen);
        let mut system = cross.select_rows(seen);
        for (i, noise) in noise.iter().enumerate() {
            system[(i, i)] += FLOOR * system[(i, i)] + LEAST + noise;
        }
        let solver = Cholesky::new(system)
            .ok_or_else(|| Error::Compute("The statistics of the model's cells are no covariance.".into()))?;
        let gain = solver.solve(&cross.transpose()).transpose();
        let told = |c: usize| gain.row(c).dot(&cross.row(c));
        let left = (0..n).map(|c| (covariance[(c, c)] - told(c)).max(0.0)).collect();
        Ok(Self { matrix: gain.map(|v| v as f32), left, lower: solver.unpack() })
    }

    /// Logarithm of the density of what is seen, less its mean, up to a constant. What each channel adds to those before it is
    /// judged by itself: a strange land cover does not silence the cloud mask.
    fn log_density(&self, off: &DVector<f32>) -> f64 {
        let off = off.map(f64::from);
        // A lower factor has no zero on its diagonal.
        let added = self.lower.solve_lower_triangular(&off).unwrap_or(off);
        let log_determinant: f64 = self.lower.diagonal().iter().map(|v| v.ln()).sum();
        let each = |v: f64| 0.5 * (KNOWN_FROM + 1.0) * (v * v / KNOWN_FROM).ln_1p();
        -log_determinant - added.iter().copied().map(each).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 8;

    /// Two channels: the second is half the first and a little of its own; windows differ by more than cells do.
    fn pair(share: f64, mean: [f32; 2], scale: f64) -> Kind {
        let of = |own: f64| DMatrix::from_row_slice(2, 2, &[1.0, 0.5, 0.5, 0.26]) * own * scale;
        Kind { share, mean: mean.to_vec(), covariance: [64.0, 8.0, 1.0, 0.1, 0.1, 0.1].map(of).to_vec() }
    }

    fn one() -> Mixture {
        Mixture::new(SIDE, vec![pair(1.0, [1.0, -1.0], 1.0)]).expect("statistics")
    }

    fn cells(first: impl Fn(usize) -> f32) -> Vec<f32> {
        (0..SIDE * SIDE).flat_map(|cell| [first(cell), 99.0]).collect()
    }

    const FIRST: [f64; 2] = [0.0, f64::INFINITY];

    #[test]
    fn what_is_linear_in_what_is_given_is_told_and_what_is_not_there_is_the_mean() {
        let first = |cell: usize| 2.0 + (cell as f32 * 0.7).sin();
        let found = one().estimate(&cells(first), &FIRST).expect("estimate");
        for (cell, found) in found.values.chunks_exact(2).enumerate() {
            assert!((found[0] - first(cell)).abs() < 2e-3, "{cell}: {found:?}");
            assert!((found[1] - (-1.0 + (first(cell) - 1.0) / 2.0)).abs() < 2e-3, "{cell}: {found:?}");
        }
        let nothing = one().estimate(&cells(first), &[f64::INFINITY; 2]).expect("estimate");
        for found in nothing.values.chunks_exact(2) {
            assert!((found[0] - 1.0).abs() < 1e-5 && (found[1] + 1.0).abs() < 1e-5, "{found:?}");
        }
        // Open is what the first does not tell of the second, of the mean of the window and of the rest of it.
        let [level, rest] = found.deviations[1];
        assert!((level * level - 0.01).abs() < 2e-3, "{level}");
        let all = nothing.deviations[1];
        assert!((all[0] * all[0] - 0.26).abs() < 1e-3, "{all:?}");
        assert!(((rest / all[1]).powi(2) - 0.01 / 0.26).abs() < 1e-2, "{rest} of {all:?}");
        assert!(found.deviations[0].iter().all(|d| *d < 0.04));
    }

    #[test]
    fn what_is_broad_is_believed_before_what_is_fine() {
        // A level of 2 above the mean, and a chequerboard of 1 on top, under noise of 1.
        let board = |cell: usize| if (cell / SIDE + cell % SIDE).is_multiple_of(2) { 1.0 } else { -1.0 };
        let found = one().estimate(&cells(|cell| 3.0 + board(cell)), &[1.0, f64::INFINITY]).expect("estimate");
        let found = found.values;
        let mean = found.chunks_exact(2).map(|c| c[0]).sum::<f32>() / (SIDE * SIDE) as f32;
        assert!((mean - 1.0 - 2.0 * 64.0 / 65.0).abs() < 0.01, "{mean}");
        let fine = found.chunks_exact(2).enumerate().map(|(cell, c)| (c[0] - mean) * board(cell)).sum::<f32>();
        assert!(fine / ((SIDE * SIDE) as f32) < 0.2, "{fine}");
    }

    #[test]
    fn a_kind_is_told_by_what_is_given_and_says_what_it_expects_of_the_rest() {
        // A calm dark kind, and a bright one ten times as varied.
        let kinds = vec![pair(0.7, [-2.0, -3.0], 0.01), pair(0.3, [4.0, 5.0], 0.1)];
        let both = Mixture::new(SIDE, kinds).expect("statistics");
        let nothing = both.estimate(&cells(|_| 0.0), &[f64::INFINITY; 2]).expect("estimate");
        assert!((nothing.shares[0] - 0.7).abs() < 1e-9 && (nothing.values[0] - (0.3 * 4.0 - 0.7 * 2.0)).abs() < 1e-3);
        // What the kinds differ in is open.
        assert!((nothing.deviations[1][0] - (0.21f32 * 64.0 + 0.007 * 0.26 + 0.03 * 0.26).sqrt()).abs() < 0.05);
        for (level, expected, kind) in [(-2.0, -3.0, 0), (4.0, 5.0, 1)] {
            let found = both.estimate(&cells(|_| level), &FIRST).expect("estimate");
            assert!(found.shares[kind] > 0.99, "{:?}", found.shares);
            assert!((found.values[1] - expected).abs() < 0.05, "{}", found.values[1]);
        }
        let calm = both.estimate(&cells(|_| -2.0), &FIRST).expect("estimate").deviations[1];
        let varied = both.estimate(&cells(|_| 4.0), &FIRST).expect("estimate").deviations[1];
        assert!(calm[1] < 0.5 * varied[1], "{calm:?} {varied:?}");
    }

    #[test]
    fn every_coefficient_is_in_one_band() {
        let all = Mixture::coefficients(24);
        assert_eq!(all[0], [0]);
        let mut members: Vec<usize> = all.concat();
        members.sort_unstable();
        assert_eq!(members, (0..576).collect::<Vec<_>>());
    }

    #[test]
    fn statistics_come_back_from_their_file_and_others_are_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("statistics.safetensors");
        let kinds = || vec![pair(0.7, [-2.0, -3.0], 0.01), pair(0.3, [4.0, 5.0], 0.1)];
        let both = Mixture::new(SIDE, kinds()).expect("statistics");
        crate::model::write_weights(&path, &both.tensors(), false).expect("write");
        let back = Mixture::open(&path, None, SIDE, 2).expect("read");
        let estimate = |of: &Mixture| of.estimate(&cells(|_| 3.0), &FIRST).expect("estimate").values;
        assert!(estimate(&back).iter().zip(estimate(&both)).all(|(a, b)| (a - b).abs() < 1e-4));
        assert!(Mixture::open(&path, None, SIDE, 3).is_err());
        let spoilt = |spoil: &dyn Fn(&mut Kind)| {
            let mut kinds = kinds();
            spoil(&mut kinds[1]);
            Mixture::new(SIDE, kinds).is_err()
        };
        assert!(Mixture::new(SIDE, Vec::new()).is_err());
        assert!(spoilt(&|kind| kind.mean.push(0.0)));
        assert!(spoilt(&|kind| kind.mean[0] = f32::NAN));
        assert!(spoilt(&|kind| drop(kind.covariance.pop())));
        assert!(spoilt(&|kind| kind.share = 0.0));
    }
}
