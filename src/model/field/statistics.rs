//! What is known about the field: level, spectrum, and how channels go together at each scale.

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::modality::ModalityTable;
use crate::model::cosines::Cosines;
use crate::model::parameters::{Init, Parameters};
use crate::model::tensor_data::TensorData;
use crate::model::weights::LoadedWeights;
use candle_core::{DType, Device};
use nalgebra::DMatrix;
use std::collections::BTreeMap;
use std::path::Path;

/// One kind of window, in units of [`Statistics::deviation`].
#[derive(Debug, Clone)]
pub struct Regime {
    /// Share of windows.
    pub weight: f64,
    /// Mean level of each channel, beside the mean of all.
    pub mean: Vec<f64>,
    /// Covariance between all channels, per radial bin.
    pub covariance: Vec<DMatrix<f64>>,
}

/// Statistics of the Gaussian field over all channels of a table.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Channels and frequencies.
    pub layout: Layout,
    /// Mean of each channel, network values.
    pub mean: Vec<f64>,
    /// Standard deviation of one cosine coefficient, divided by the window's side, per radial bin and channel.
    pub deviation: Vec<Vec<f64>>,
    /// Kinds of windows; a window is of one of them.
    pub regimes: Vec<Regime>,
    /// Deviation at every frequency divided by the gain there, by modality: `(channels, side, side)`.
    spectra: Vec<Vec<f32>>,
    cosines: Cosines,
}

impl Statistics {
    /// Statistics from their parts.
    ///
    /// # Errors
    /// When sizes do not fit the table, or a number is no mean, deviation or correlation.
    pub fn new(table: &ModalityTable, mean: Vec<f64>, deviation: Vec<Vec<f64>>, regimes: Vec<Regime>) -> Result<Self> {
        let layout = Layout::new(table)?;
        let n = layout.channels;
        let sized = mean.len() == n
            && deviation.len() == Layout::bins()
            && deviation.iter().all(|d| d.len() == n && d.iter().all(|v| *v > 0.0 && v.is_finite()))
            && !regimes.is_empty()
            && regimes.iter().all(|r| {
                (0.0..=1.0).contains(&r.weight)
                    && r.mean.len() == n
                    && r.mean.iter().all(|v| v.is_finite())
                    && r.covariance.len() == Layout::bins()
                    && r.covariance.iter().all(|c| c.shape() == (n, n) && c.iter().all(|v| v.is_finite()))
            })
            && mean.iter().all(|v| v.is_finite());
        if !sized {
            return Err(Error::request(format!("These are not statistics of a Gaussian field of {n} channels.")));
        }
        let spectra = layout.parts.iter().map(|part| {
            let mut values = Vec::with_capacity(part.size());
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
        Ok(Self { layout, mean, deviation, regimes, spectra, cosines })
    }

    /// These statistics if they are sound.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_regimes(self, table: &ModalityTable, regimes: Vec<Regime>) -> Result<Self> {
        Self::new(table, self.mean, self.deviation, regimes)
    }

    /// Takes `field.mean (channels)`, `field.deviation (bins, channels)`, and per regime `field.K.weight (1)`,
    /// `field.K.mean (channels)`, `field.K.covariance (bins, channels, channels)`; `regimes` of them.
    ///
    /// # Errors
    /// When one is missing, misshapen or out of range.
    pub fn load(table: &ModalityTable, regimes: usize, source: &mut dyn Parameters) -> Result<Self> {
        let (n, bins) = (Layout::new(table)?.channels, Layout::bins());
        let mut get = |name: &str, shape: &[usize]| -> Result<Vec<f64>> {
            let values: Vec<f32> = source.get(name, shape, Init::Zeros)?.flatten_all()?.to_vec1()?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        let mean = get("field.mean", &[n])?;
        let deviation = get("field.deviation", &[bins, n])?.chunks_exact(n).map(<[f64]>::to_vec).collect();
        let regime = |k: usize| -> Result<Regime> {
            let covariance = get(&format!("field.{k}.covariance"), &[bins, n, n])?;
            Ok(Regime {
                weight: get(&format!("field.{k}.weight"), &[1])?[0],
                mean: get(&format!("field.{k}.mean"), &[n])?,
                covariance: covariance.chunks_exact(n * n).map(|c| DMatrix::from_row_slice(n, n, c)).collect(),
            })
        };
        let regimes = (0..regimes).map(regime).collect::<Result<_>>()?;
        Self::new(table, mean, deviation, regimes)
    }

    /// Reads a file that [`tensors`](Self::tensors) filled.
    ///
    /// # Errors
    /// When it is missing, damaged (with `sha256`: its hash differs) or does not fit the table.
    pub fn open(table: &ModalityTable, path: &Path, sha256: Option<&str>) -> Result<Self> {
        // Always on the CPU: everything here is computed there.
        let mut source = LoadedWeights::open(path, sha256, &Device::Cpu)?;
        let regimes = (0..).take_while(|k| source.tensors().contains_key(&format!("field.{k}.weight"))).count();
        let statistics = Self::load(table, regimes, &mut source).map_err(|e| Error::file(path, e.to_string()))?;
        source.finish()?;
        Ok(statistics)
    }

    /// As [`load`](Self::load) takes them.
    pub fn tensors(&self) -> BTreeMap<String, TensorData> {
        let (n, bins) = (self.layout.channels, Layout::bins());
        let tensor = |shape: Vec<usize>, values: &mut dyn Iterator<Item = f64>| TensorData {
            dtype: DType::F32,
            shape,
            bytes: values.flat_map(|v| (v as f32).to_le_bytes()).collect(),
        };
        let mut all = BTreeMap::from([
            ("field.mean".to_owned(), tensor(vec![n], &mut self.mean.iter().copied())),
            ("field.deviation".to_owned(), tensor(vec![bins, n], &mut self.deviation.iter().flatten().copied())),
        ]);
        for (k, regime) in self.regimes.iter().enumerate() {
            all.insert(format!("field.{k}.weight"), tensor(vec![1], &mut std::iter::once(regime.weight)));
            all.insert(format!("field.{k}.mean"), tensor(vec![n], &mut regime.mean.iter().copied()));
            // Symmetric, so the order of rows and columns does not matter.
            let mut values = regime.covariance.iter().flat_map(|c| c.iter().copied());
            all.insert(format!("field.{k}.covariance"), tensor(vec![bins, n, n], &mut values));
        }
        all
    }

    /// Network values of one modality → the cosine coefficients of its latent, in place.
    pub fn coefficients(&self, modality: usize, values: &mut [f32]) {
        let (part, spectrum) = (&self.layout.parts[modality], &self.spectra[modality]);
        self.without_mean(modality, values);
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
        let part = &self.layout.parts[modality];
        self.shape(modality, latent);
        for (channel, image) in latent.chunks_exact_mut(part.side * part.side).enumerate() {
            let mean = self.mean[part.first + channel] as f32;
            image.iter_mut().for_each(|v| *v += mean);
        }
    }

    /// Gives a latent the spectrum of its modality's network values, without their mean: linear, and its own transpose.
    pub fn shape(&self, modality: usize, latent: &mut [f32]) {
        let square = self.layout.parts[modality].side.pow(2);
        for (channel, image) in latent.chunks_exact_mut(square).enumerate() {
            self.shape_channel(modality, channel, image, 1);
        }
    }

    /// The same for one channel, several times over.
    pub fn shape_channel(&self, modality: usize, channel: usize, image: &mut [f32], times: i32) {
        let side = self.layout.parts[modality].side;
        let spectrum = &self.spectra[modality][channel * side * side..][..side * side];
        self.cosines.forward(image, side);
        image.iter_mut().zip(spectrum).for_each(|(v, s)| *v *= (s * side as f32).powi(times));
        self.cosines.inverse(image, side);
    }

    /// Takes the mean of each channel off network values.
    pub fn without_mean(&self, modality: usize, values: &mut [f32]) {
        let part = &self.layout.parts[modality];
        for (channel, image) in values.chunks_exact_mut(part.side * part.side).enumerate() {
            let mean = self.mean[part.first + channel] as f32;
            image.iter_mut().for_each(|v| *v -= mean);
        }
    }

    /// How much the network values of a channel of a modality vary: the standard deviation over windows and pixels.
    pub fn channel_deviation(&self, modality: usize, channel: usize) -> f32 {
        let (part, spectrum) = (&self.layout.parts[modality], &self.spectra[modality]);
        let square = part.side * part.side;
        let power = spectrum[channel * square..][..square].iter().map(|s| f64::from(*s).powi(2));
        // A latent has one spectrum for all channels; its coefficients vary as that says.
        let gains = (0..square).map(|at| {
            let (row, column) = ((at / part.side) as f64, (at % part.side) as f64);
            Layout::gain(Layout::bin((row * row + column * column).sqrt())).powi(2)
        });
        power.zip(gains).map(|(s, g)| s * g).sum::<f64>().sqrt() as f32
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
