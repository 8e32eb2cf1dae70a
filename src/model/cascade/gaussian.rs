//! What cells are expected to be as far as that is linear: the start that the coarse network corrects.

use crate::error::{Error, Result};
use crate::model::cosines::Cosines;
use crate::model::tensor_data::TensorData;
use crate::model::weights::LoadedWeights;
use crate::model::{Init, Parameters};
use candle_core::{DType, Device};
use nalgebra::{Cholesky, DMatrix};
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

/// Mean and covariance of the channels of standardised cells, at each scale: cosine coefficients of a window are taken to be
/// independent, their covariance that of their band of frequencies.
#[derive(Debug, Clone)]
pub struct Gaussian {
    side: usize,
    mean: Vec<f32>,
    covariance: Vec<DMatrix<f64>>,
    /// Which coefficients are in each band.
    members: Vec<Vec<usize>>,
    cosines: Cosines,
}

impl Gaussian {
    /// From the mean of all windows and the covariance of coefficients (of an orthonormal transform) in each band; all of
    /// one number of channels, on a grid of so many cells along a side.
    ///
    /// # Errors
    /// When sizes differ or a number is not finite.
    pub fn new(side: usize, mean: Vec<f32>, covariance: Vec<DMatrix<f64>>) -> Result<Self> {
        let n = mean.len();
        let fits = covariance.len() == Self::bands()
            && covariance.iter().all(|c| c.shape() == (n, n) && c.iter().all(|v| v.is_finite()))
            && mean.iter().all(|v| v.is_finite());
        if !fits {
            return Err(Error::request(format!("These are not statistics of {n} channels of cells.")));
        }
        Ok(Self { side, mean, covariance, members: Self::coefficients(side), cosines: Cosines::new([side]) })
    }

    /// Channels that say nothing of each other.
    #[cfg(test)]
    pub(super) fn unrelated(side: usize, channels: usize) -> Self {
        let covariance = vec![DMatrix::identity(channels, channels); Self::bands()];
        Self::new(side, vec![0.0; channels], covariance).expect("statistics")
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
        self.mean.len()
    }

    /// Reads a file that [`tensors`](Self::tensors) filled; with `sha256`, checks that this is its hash.
    ///
    /// # Errors
    /// When it is missing, damaged, or of another number of channels.
    pub fn open(path: &Path, sha256: Option<&str>, side: usize, channels: usize) -> Result<Self> {
        let mut source = LoadedWeights::open(path, sha256, &Device::Cpu)?;
        let mut get = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            Ok(source.get(name, shape, Init::Zeros)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        let mean = get("mean", &[channels])?;
        let all = get("covariance", &[Self::bands(), channels, channels])?;
        source.finish()?;
        let square = |c: &[f32]| DMatrix::from_iterator(channels, channels, c.iter().map(|v| f64::from(*v)));
        let covariance = all.chunks_exact((channels * channels).max(1)).map(square).collect();
        Self::new(side, mean, covariance).map_err(|e| Error::file(path, e.to_string()))
    }

    /// `mean (channels)`, `covariance (bands, channels, channels)`.
    pub fn tensors(&self) -> BTreeMap<String, TensorData> {
        let n = self.channels();
        let tensor = |shape: Vec<usize>, values: &mut dyn Iterator<Item = f32>| TensorData {
            dtype: DType::F32,
            shape,
            bytes: values.flat_map(f32::to_le_bytes).collect(),
        };
        // Symmetric: the order of rows and columns does not matter.
        let mut all = self.covariance.iter().flatten().map(|v| *v as f32);
        BTreeMap::from([
            ("mean".to_owned(), tensor(vec![n], &mut self.mean.iter().copied())),
            ("covariance".to_owned(), tensor(vec![Self::bands(), n, n], &mut all)),
        ])
    }

    /// The best linear estimate of cells from noisy ones `(row, column, channels)`, standardised. `noise` is by channel
    /// the variance of the noise beside a signal of full strength: 0 for what is given, infinite for what is not there
    /// (whatever stands in its place).
    ///
    /// # Errors
    /// When the statistics are no covariance.
    pub fn estimate(&self, noisy: &[f32], noise: &[f64]) -> Result<Estimate> {
        let (n, cells) = (self.channels(), self.side * self.side);
        let seen: Vec<usize> = (0..n).filter(|&c| noise[c].is_finite()).collect();
        let of = |&c: &usize| (0..cells).map(move |cell| noisy[cell * n + c] - self.mean[c]);
        let mut observed: Vec<f32> = seen.iter().flat_map(of).collect();
        self.cosines.forward(&mut observed, self.side);
        let own: Vec<f64> = seen.iter().map(|&c| noise[c]).collect();
        let mut expected = vec![0.0; n * cells];
        let mut open = vec![[0.0; 2]; n];
        for (band, (covariance, members)) in self.covariance.iter().zip(&self.members).enumerate() {
            let observed = DMatrix::from_fn(seen.len(), members.len(), |i, k| observed[i * cells + members[k]]);
            let gain = gain(covariance, &seen, &own)?;
            let found = &gain * observed;
            for (k, member) in members.iter().enumerate() {
                found.column(k).iter().enumerate().for_each(|(c, v)| expected[c * cells + member] = *v);
            }
            for (c, open) in open.iter_mut().enumerate() {
                let told: f64 =
                    seen.iter().enumerate().map(|(i, &s)| f64::from(gain[(c, i)]) * covariance[(c, s)]).sum();
                let share = members.len() as f64 / cells as f64;
                open[usize::from(band > 0)] += share * (covariance[(c, c)] - told).max(0.0);
            }
        }
        self.cosines.inverse(&mut expected, self.side);
        let cell = |cell: usize| (0..n).map(move |c| (c, cell));
        let values = (0..cells).flat_map(cell).map(|(c, cell)| expected[c * cells + cell] + self.mean[c]).collect();
        let deviations =
            open.into_iter().map(|open| open.map(|variance| (variance.sqrt() as f32).max(LEAST_DEVIATION)));
        Ok(Estimate { values, deviations: deviations.collect() })
    }
}

/// What is linear in noisy cells, and what it leaves open.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// `(row, column, channels)`, standardised.
    pub values: Vec<f32>,
    /// By channel: deviation of the truth from it, of the mean of a window and of what varies about it.
    pub deviations: Vec<[f32; 2]>,
}

/// From noisy values of the channels that are seen to all channels.
fn gain(covariance: &DMatrix<f64>, seen: &[usize], noise: &[f64]) -> Result<DMatrix<f32>> {
    if seen.is_empty() {
        return Ok(DMatrix::zeros(covariance.nrows(), 0));
    }
    let cross = covariance.select_columns(seen);
    let mut system = cross.select_rows(seen);
    for (i, noise) in noise.iter().enumerate() {
        system[(i, i)] += FLOOR * system[(i, i)] + LEAST + noise;
    }
    let solver = Cholesky::new(system)
        .ok_or_else(|| Error::Compute("The statistics of the model's cells are no covariance.".into()))?;
    Ok(solver.solve(&cross.transpose()).transpose().map(|v| v as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 8;

    /// Two channels: the second is half the first and a little of its own; windows differ by more than cells do.
    fn pair() -> Gaussian {
        let of = |scale: f64| DMatrix::from_row_slice(2, 2, &[1.0, 0.5, 0.5, 0.26]) * scale;
        let covariance = [64.0, 8.0, 1.0, 0.1, 0.1, 0.1].map(of).to_vec();
        Gaussian::new(SIDE, vec![1.0, -1.0], covariance).expect("statistics")
    }

    fn cells(first: impl Fn(usize) -> f32) -> Vec<f32> {
        (0..SIDE * SIDE).flat_map(|cell| [first(cell), 99.0]).collect()
    }

    #[test]
    fn what_is_linear_in_what_is_given_is_told_and_what_is_not_there_is_the_mean() {
        let first = |cell: usize| 2.0 + (cell as f32 * 0.7).sin();
        let found = pair().estimate(&cells(first), &[0.0, f64::INFINITY]).expect("estimate");
        for (cell, found) in found.values.chunks_exact(2).enumerate() {
            assert!((found[0] - first(cell)).abs() < 2e-3, "{cell}: {found:?}");
            assert!((found[1] - (-1.0 + (first(cell) - 1.0) / 2.0)).abs() < 2e-3, "{cell}: {found:?}");
        }
        let nothing = pair().estimate(&cells(first), &[f64::INFINITY; 2]).expect("estimate");
        assert_eq!(nothing.values, [1.0, -1.0].repeat(SIDE * SIDE));
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
        let found = pair().estimate(&cells(|cell| 3.0 + board(cell)), &[1.0, f64::INFINITY]).expect("estimate");
        let found = found.values;
        let mean = found.chunks_exact(2).map(|c| c[0]).sum::<f32>() / (SIDE * SIDE) as f32;
        assert!((mean - 1.0 - 2.0 * 64.0 / 65.0).abs() < 0.01, "{mean}");
        let fine = found.chunks_exact(2).enumerate().map(|(cell, c)| (c[0] - mean) * board(cell)).sum::<f32>();
        assert!(fine / ((SIDE * SIDE) as f32) < 0.2, "{fine}");
    }

    #[test]
    fn every_coefficient_is_in_one_band() {
        let all = Gaussian::coefficients(24);
        assert_eq!(all[0], [0]);
        let mut members: Vec<usize> = all.concat();
        members.sort_unstable();
        assert_eq!(members, (0..576).collect::<Vec<_>>());
    }

    #[test]
    fn statistics_come_back_from_their_file_and_others_are_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("statistics.safetensors");
        crate::model::write_weights(&path, &pair().tensors(), false).expect("write");
        let back = Gaussian::open(&path, None, SIDE, 2).expect("read");
        let estimate = |of: &Gaussian| of.estimate(&cells(|_| 3.0), &[0.0, f64::INFINITY]).expect("estimate").values;
        assert!(estimate(&back).iter().zip(estimate(&pair())).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(Gaussian::open(&path, None, SIDE, 3).is_err());
        let two = || vec![DMatrix::identity(2, 2); Gaussian::bands()];
        assert!(Gaussian::new(SIDE, vec![0.0; 3], two()).is_err());
        assert!(Gaussian::new(SIDE, vec![f32::NAN; 2], two()).is_err());
        assert!(Gaussian::new(SIDE, vec![0.0; 2], two()[1..].to_vec()).is_err());
    }
}
