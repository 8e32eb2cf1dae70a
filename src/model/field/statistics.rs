//! What is known about the field: level, spectrum, and how channels go together at each scale.

use super::layout::Layout;
use super::transform::Cosines;
use crate::error::{Error, Result};
use crate::modality::ModalityTable;
use crate::model::weights::{Init, Parameters, TensorData};
use candle_core::{DType, Tensor};
use nalgebra::DMatrix;
use std::collections::BTreeMap;

/// Statistics of the Gaussian field over all channels of a table.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Channels and frequencies.
    pub layout: Layout,
    /// Mean of each channel, network values.
    pub mean: Vec<f64>,
    /// Standard deviation of one cosine coefficient, divided by the window's side, per radial bin and channel.
    pub deviation: Vec<Vec<f64>>,
    /// Correlation between all channels, per radial bin.
    pub correlation: Vec<DMatrix<f64>>,
    /// Deviation at every frequency divided by the gain there, by modality: `(channels, side, side)`.
    spectra: Vec<Vec<f32>>,
    cosines: Cosines,
}

impl Statistics {
    /// Statistics from their parts.
    ///
    /// # Errors
    /// When sizes do not fit the table, or a number is no mean, deviation or correlation.
    pub fn new(
        table: &ModalityTable,
        mean: Vec<f64>,
        deviation: Vec<Vec<f64>>,
        correlation: Vec<DMatrix<f64>>,
    ) -> Result<Self> {
        let layout = Layout::new(table)?;
        let n = layout.channels;
        let sized = mean.len() == n
            && deviation.len() == Layout::bins()
            && deviation.iter().all(|d| d.len() == n && d.iter().all(|v| *v > 0.0 && v.is_finite()))
            && correlation.len() == Layout::bins()
            && correlation.iter().all(|c| c.shape() == (n, n) && c.iter().all(|v| v.abs() < 1.001))
            && mean.iter().all(|v| v.is_finite());
        if !sized {
            return Err(Error::request(format!("These are not statistics of a Gaussian field of {n} channels.")));
        }
        let spectra = layout.parts.iter().map(|part| {
            let mut values = Vec::with_capacity(part.len());
            for channel in part.first..part.first + part.channels {
                for row in 0..part.side {
                    for column in 0..part.side {
                        let radius = (row as f64).hypot(column as f64);
                        values.push((between(&deviation, channel, radius) / Layout::gain(Layout::bin(radius))) as f32);
                    }
                }
            }
            values
        });
        let spectra = spectra.collect();
        let cosines = Cosines::new(layout.parts.iter().map(|p| p.side));
        Ok(Self { layout, mean, deviation, correlation, spectra, cosines })
    }

    /// Takes `field.mean (channels)`, `field.deviation (bins, channels)`, `field.correlation (bins, channels, channels)`.
    ///
    /// # Errors
    /// When one is missing, misshapen or out of range.
    pub fn load(table: &ModalityTable, source: &mut dyn Parameters) -> Result<Self> {
        let (n, bins) = (Layout::new(table)?.channels, Layout::bins());
        let rows = |t: Tensor| -> Result<Vec<Vec<f64>>> { Ok(t.to_dtype(DType::F64)?.to_vec2()?) };
        let mean = rows(source.get("field.mean", &[n], Init::Zeros)?.reshape((1, n))?)?.swap_remove(0);
        let deviation = rows(source.get("field.deviation", &[bins, n], Init::Ones)?)?;
        let correlation = rows(source.get("field.correlation", &[bins, n, n], Init::Zeros)?.reshape((bins, n * n))?)?;
        let correlation = correlation.into_iter().map(|c| DMatrix::from_row_slice(n, n, &c)).collect();
        Self::new(table, mean, deviation, correlation)
    }

    /// As [`load`](Self::load) takes them.
    pub fn tensors(&self) -> BTreeMap<String, TensorData> {
        let (n, bins) = (self.layout.channels, Layout::bins());
        let tensor = |shape: Vec<usize>, values: &mut dyn Iterator<Item = f64>| TensorData {
            dtype: DType::F32,
            shape,
            bytes: values.flat_map(|v| (v as f32).to_le_bytes()).collect(),
        };
        // Symmetric, so the order of rows and columns does not matter.
        BTreeMap::from([
            ("field.mean".into(), tensor(vec![n], &mut self.mean.iter().copied())),
            ("field.deviation".into(), tensor(vec![bins, n], &mut self.deviation.iter().flatten().copied())),
            (
                "field.correlation".into(),
                tensor(vec![bins, n, n], &mut self.correlation.iter().flat_map(|c| c.iter().copied())),
            ),
        ])
    }

    /// Network values of one modality → the cosine coefficients of its latent, in place.
    fn coefficients(&self, modality: usize, values: &mut [f32]) {
        let (part, spectrum) = (&self.layout.parts[modality], &self.spectra[modality]);
        let square = part.side * part.side;
        for (channel, image) in values.chunks_exact_mut(square).enumerate() {
            let mean = self.mean[part.first + channel] as f32;
            image.iter_mut().for_each(|v| *v -= mean);
        }
        self.cosines.forward(values, part.side);
        let side = part.side as f32;
        values.iter_mut().zip(spectrum).for_each(|(v, s)| *v /= s * side);
    }

    /// Network values of one modality → its latent, in place: an image of which each channel has the same spectrum,
    /// [`Layout::gain`] squared.
    pub fn whiten(&self, modality: usize, values: &mut [f32]) {
        self.coefficients(modality, values);
        self.cosines.inverse(values, self.layout.parts[modality].side);
    }

    /// The inverse of [`whiten`](Self::whiten), in place.
    pub fn colour(&self, modality: usize, latent: &mut [f32]) {
        let (part, spectrum) = (&self.layout.parts[modality], &self.spectra[modality]);
        self.cosines.forward(latent, part.side);
        let side = part.side as f32;
        latent.iter_mut().zip(spectrum).for_each(|(v, s)| *v *= s * side);
        self.cosines.inverse(latent, part.side);
        for (channel, image) in latent.chunks_exact_mut(part.side * part.side).enumerate() {
            let mean = self.mean[part.first + channel] as f32;
            image.iter_mut().for_each(|v| *v += mean);
        }
    }

    /// The cosine transforms of all sides.
    pub fn cosines(&self) -> &Cosines {
        &self.cosines
    }

    /// Deviation of a channel's coefficients at a radius, relative to the side; see [`deviation`](Self::deviation).
    pub fn deviation_at(&self, channel: usize, radius: f64) -> f64 {
        between(&self.deviation, channel, radius)
    }
}

/// Log-linear between the centres of the bins; the mean has its own.
fn between(deviation: &[Vec<f64>], channel: usize, radius: f64) -> f64 {
    if radius < 0.5 {
        return deviation[0][channel];
    }
    let x = radius.ln();
    let last = deviation.len() - 1;
    let upper = (1..=last).find(|&b| Layout::centre(b) >= radius).unwrap_or(last).max(2);
    let (a, b) = (Layout::centre(upper - 1).ln(), Layout::centre(upper).ln());
    let share = ((x - a) / (b - a)).clamp(0.0, 1.0);
    (deviation[upper - 1][channel].ln() * (1.0 - share) + deviation[upper][channel].ln() * share).exp()
}
