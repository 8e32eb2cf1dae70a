//! What cells are expected to be as far as that is linear: the start that the coarse network corrects.

use crate::error::{Error, Result};
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

/// Mean and covariance of the channels of standardised cells, those of a window's mean and those of what its cells have
/// beside it apart. Cells of one window are taken to be independent: what neighbours say of each other the network
/// has to learn.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    mean: DVector<f32>,
    between: DMatrix<f64>,
    within: DMatrix<f64>,
}

impl Gaussian {
    /// From the mean of all windows, the covariance of their means, and that of cells about the mean of their window; all
    /// of one number of channels.
    ///
    /// # Errors
    /// When sizes differ or a number is not finite.
    pub fn new(mean: Vec<f32>, between: DMatrix<f64>, within: DMatrix<f64>) -> Result<Self> {
        let shape = (mean.len(), mean.len());
        let finite = mean.iter().all(|v| v.is_finite()) && between.iter().chain(&within).all(|v| v.is_finite());
        if between.shape() != shape || within.shape() != shape || !finite {
            return Err(Error::request(format!("These are not statistics of {} channels of cells.", mean.len())));
        }
        Ok(Self { mean: DVector::from_vec(mean), between, within })
    }

    /// Channels that say nothing of each other.
    pub fn unrelated(channels: usize) -> Self {
        let half = DMatrix::identity(channels, channels) * 0.5;
        Self { mean: DVector::zeros(channels), between: half.clone(), within: half }
    }

    /// Channels it is of.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Reads a file that [`tensors`](Self::tensors) filled; with `sha256`, checks that this is its hash.
    ///
    /// # Errors
    /// When it is missing, damaged, or of another number of channels.
    pub fn open(path: &Path, sha256: Option<&str>, channels: usize) -> Result<Self> {
        let mut source = LoadedWeights::open(path, sha256, &Device::Cpu)?;
        let mut get = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            Ok(source.get(name, shape, Init::Zeros)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        let mean = get("mean", &[channels])?;
        let mut square = |name: &str| -> Result<DMatrix<f64>> {
            let values = get(name, &[channels, channels])?.into_iter().map(f64::from);
            Ok(DMatrix::from_iterator(channels, channels, values))
        };
        let (between, within) = (square("between")?, square("within")?);
        source.finish()?;
        Self::new(mean, between, within).map_err(|e| Error::file(path, e.to_string()))
    }

    /// `mean (channels)`, `between (channels, channels)`, `within (channels, channels)`.
    pub fn tensors(&self) -> BTreeMap<String, TensorData> {
        let n = self.channels();
        let tensor = |shape: Vec<usize>, values: &mut dyn Iterator<Item = f32>| TensorData {
            dtype: DType::F32,
            shape,
            bytes: values.flat_map(f32::to_le_bytes).collect(),
        };
        // Symmetric: the order of rows and columns does not matter.
        let square = |of: &DMatrix<f64>| tensor(vec![n, n], &mut of.iter().map(|v| *v as f32));
        BTreeMap::from([
            ("mean".to_owned(), tensor(vec![n], &mut self.mean.iter().copied())),
            ("between".to_owned(), square(&self.between)),
            ("within".to_owned(), square(&self.within)),
        ])
    }

    /// The best linear estimate of cells `(row, column, channels)` from noisy ones, standardised. `noise` is by channel
    /// the variance of the noise beside a signal of full strength: 0 for what is given, infinite for what is not there
    /// (whatever stands in its place).
    ///
    /// # Errors
    /// When the statistics are no covariance.
    pub fn estimate(&self, noisy: &[f32], noise: &[f64]) -> Result<Vec<f32>> {
        let n = self.channels();
        let seen: Vec<usize> = (0..n).filter(|&c| noise[c].is_finite()).collect();
        let cells = noisy.len() / n.max(1);
        if seen.is_empty() {
            return Ok(self.mean.as_slice().repeat(cells));
        }
        let observed = DMatrix::from_fn(seen.len(), cells, |i, cell| noisy[cell * n + seen[i]] - self.mean[seen[i]]);
        let mean = observed.column_mean();
        let mut about = observed;
        about.column_iter_mut().for_each(|mut cell| cell -= &mean);
        let own = |share: f64| seen.iter().map(|&c| noise[c] * share).collect::<Vec<_>>();
        let level = &self.mean + gain(&self.between, &seen, &own(1.0 / cells as f64))? * mean;
        let mut expected = gain(&self.within, &seen, &own(1.0))? * about;
        expected.column_iter_mut().for_each(|mut cell| cell += &level);
        Ok(expected.as_slice().to_vec())
    }
}

/// From noisy values of the channels that are seen to all channels.
fn gain(covariance: &DMatrix<f64>, seen: &[usize], noise: &[f64]) -> Result<DMatrix<f32>> {
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

    /// Two channels: the second is half the first, and a little of its own.
    fn pair() -> Gaussian {
        let of = |scale: f64| DMatrix::from_row_slice(2, 2, &[1.0, 0.5, 0.5, 0.26]) * scale;
        Gaussian::new(vec![1.0, -1.0], of(1.0), of(0.1)).expect("statistics")
    }

    #[test]
    fn what_is_linear_in_what_is_given_is_told_and_what_is_not_there_is_the_mean() {
        let cells = [3.0, 99.0, 2.0, -99.0];
        let found = pair().estimate(&cells, &[0.0, f64::INFINITY]).expect("estimate");
        for (cell, first) in [(0, 3.0), (1, 2.0)] {
            assert!((found[2 * cell] - first).abs() < 1e-3, "{found:?}");
            assert!((found[2 * cell + 1] - (-1.0 + (first - 1.0) / 2.0)).abs() < 1e-3, "{found:?}");
        }
        let nothing = pair().estimate(&cells, &[f64::INFINITY; 2]).expect("estimate");
        assert_eq!(nothing, [1.0, -1.0, 1.0, -1.0]);
    }

    #[test]
    fn noise_is_averaged_away_from_the_mean_of_a_window_first() {
        // A level of 2 above the mean in all of a hundred cells, one of them 2 higher still.
        let mut cells = [3.0, 0.0].repeat(100);
        cells[0] = 5.0;
        let found = pair().estimate(&cells, &[1.0, f64::INFINITY]).expect("estimate");
        assert!((found[2] - 3.0).abs() < 0.05, "{found:?}");
        // Of what one cell has beside the others a tenth out of eleven is believed.
        assert!((found[0] - found[2] - 2.0 / 11.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn statistics_come_back_from_their_file_and_others_are_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("statistics.safetensors");
        crate::model::write_weights(&path, &pair().tensors(), false).expect("write");
        let back = Gaussian::open(&path, None, 2).expect("read");
        let estimate = |of: &Gaussian| of.estimate(&[3.0, 0.0], &[0.0, f64::INFINITY]).expect("estimate");
        assert!(estimate(&back).iter().zip(estimate(&pair())).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(Gaussian::open(&path, None, 3).is_err());
        let two = DMatrix::zeros(2, 2);
        assert!(Gaussian::new(vec![0.0; 3], two.clone(), two.clone()).is_err());
        assert!(Gaussian::new(vec![f32::NAN; 2], two.clone(), two).is_err());
    }
}
