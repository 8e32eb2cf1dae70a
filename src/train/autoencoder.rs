//! Training of the autoencoder of one modality (specification F.2, the simple part): L1 + L2 + KL.

use super::parameters::{Optimiser, Trainable};
use super::recipe::Recipe;
use super::windows::Windows;
use super::{Progress, pca};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Modality, ModalityTable, PostOptions, Value, from_network, to_network};
use crate::model::{Autoencoder, LoadedWeights, MANIFEST_FILE, Moments, TensorData, autoencoder_file, write_weights};
use crate::sampler::{Purpose, Stream};
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Windows evaluated at once, so that memory stays bounded.
const EVALUATED_TOGETHER: usize = 8;

/// What training an autoencoder found out; written beside its weights.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AutoencoderReport {
    /// Reciprocal standard deviation of sampled latents (specification A.4).
    pub scale_factor: f64,
    /// Steps trained after the linear fit.
    pub steps: u64,
    /// Training scenes that hold the modality.
    pub scenes: usize,
    /// Mean absolute error (dB for radar) or share of wrong pixels (classes) of reconstructions of held-out windows;
    /// `None` when no held-out scene has the modality.
    pub held_out_error: Option<f64>,
    /// Seconds it took.
    pub seconds: f64,
}

/// Trains one modality and writes `autoencoder_NAME.safetensors` (half precision) and `.json` to `out`.
///
/// # Errors
/// When no scene holds the modality, the loss is not finite, or files cannot be written.
pub fn train_autoencoder(
    recipe: &Recipe,
    table: &ModalityTable,
    index: usize,
    scenes: &Path,
    out: &Path,
    device: &Device,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<AutoencoderReport> {
    let started = std::time::Instant::now();
    if out.join(MANIFEST_FILE).exists() {
        return Err(Error::file(out, "There is a finished model in this folder; choose another one"));
    }
    let (m, settings) = (&table[index], &recipe.autoencoder);
    let windows = Windows::open(scenes, table, &recipe.data, false)?;
    let generator = |step: u64| {
        Stream {
            seed: recipe.seed,
            tile: "autoencoder",
            realisation: 0,
            modality: &m.key,
            purpose: Purpose::Training { step },
        }
        .generator()
    };
    let factor = m.pixels / m.latent[1];
    let mut start = BTreeMap::new();
    if settings.sizes.linear_path {
        let images = batch(&windows, m, index, settings.pca_windows, &mut generator(u64::MAX), device)?;
        start = pca::fit(&images, factor, m.latent[0], settings.whitening)?;
    }
    let mut parameters = Trainable::new(recipe.seed, start, device);
    let model = Autoencoder::new(&settings.sizes, m.network_channels(), m.latent[0], &mut parameters, device)?;
    let mut optimiser = Optimiser::new(parameters, &settings.optimiser)?;
    let steps = settings.optimiser.steps;
    for step in 0..steps {
        let mut generator = generator(step);
        let image = batch(&windows, m, index, settings.optimiser.batch, &mut generator, device)?;
        let moments = Moments::split(&model.moments(&image)?)?;
        let latent = moments.draw(&normal_like(&moments.mean, &mut generator)?)?;
        let difference = (model.decode(&latent)? - &image)?;
        let reconstruction = (difference.abs()?.sum_all()? + difference.sqr()?.sum_all()?)?;
        let kl = ((moments.mean.sqr()? + moments.log_variance.exp()?)? - &moments.log_variance)?.affine(0.5, -0.5)?;
        let loss = ((reconstruction + (kl.sum_all()? * settings.kl_weight)?)? / settings.optimiser.batch as f64)?;
        let value = loss.to_scalar::<f32>()?;
        if !value.is_finite() {
            return Err(Error::Compute(format!(
                "The loss of {} is not finite at step {step}; training stopped.",
                m.name
            )));
        }
        optimiser.step(&[loss.backward()?])?;
        let per_value = f64::from(value) / (m.network_channels() * m.pixels * m.pixels) as f64;
        progress(&Progress { what: m.name.clone(), step: step + 1, steps, loss: per_value })?;
    }
    let weights = optimiser.averaged();
    let path = out.join(autoencoder_file(m));
    write_weights(&path, &weights, true)?;
    let trained = load(recipe, m, weights, device)?;
    let report = AutoencoderReport {
        scale_factor: 1.0 / deviation(&trained, &windows, m, index, &mut generator(u64::MAX - 1), device)?,
        steps,
        scenes: windows.holding(index),
        held_out_error: held_out_error(&trained, recipe, table, index, scenes, device)?,
        seconds: started.elapsed().as_secs_f64(),
    };
    let text = serde_json::to_string_pretty(&report).map_err(|e| Error::file(&path, e.to_string()))?;
    write_atomically(&path.with_extension("json"), text.as_bytes())?;
    Ok(report)
}

/// Loads `autoencoder_NAME` that [`train_autoencoder`] wrote.
///
/// # Errors
/// When it is missing or does not fit the recipe.
pub fn trained_autoencoder(
    recipe: &Recipe,
    m: &Modality,
    out: &Path,
    device: &Device,
) -> Result<(Autoencoder, AutoencoderReport)> {
    let path = out.join(autoencoder_file(m));
    let mut weights = LoadedWeights::open(&path, None, device)?;
    let model = Autoencoder::new(&recipe.autoencoder.sizes, m.network_channels(), m.latent[0], &mut weights, device)?;
    weights.finish()?;
    let path = path.with_extension("json");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", &e))?;
    let report =
        serde_json::from_str(&text).map_err(|e| Error::file(&path, format!("This is not a training report: {e}")))?;
    Ok((model, report))
}

fn load(recipe: &Recipe, m: &Modality, weights: BTreeMap<String, TensorData>, device: &Device) -> Result<Autoencoder> {
    let mut source = Trainable::new(0, weights, device);
    Autoencoder::new(&recipe.autoencoder.sizes, m.network_channels(), m.latent[0], &mut source, device)
}

/// `n` random windows of one modality as a network image `(n, channels, H, W)`.
fn batch(
    windows: &Windows,
    m: &Modality,
    index: usize,
    n: usize,
    generator: &mut ChaCha12Rng,
    device: &Device,
) -> Result<Tensor> {
    let mut data = Vec::new();
    for _ in 0..n {
        let values = windows.draw(generator, Some(index))?;
        let value = values[index].as_ref().ok_or_else(|| Error::request(format!("{} could not be read.", m.name)))?;
        data.extend(to_network(m, value)?);
    }
    Ok(Tensor::from_vec(data, (n, m.network_channels(), m.pixels, m.pixels), device)?)
}

/// Standard-normal noise of the shape of a tensor.
pub(super) fn normal_like(like: &Tensor, generator: &mut ChaCha12Rng) -> Result<Tensor> {
    let data: Vec<f32> = (0..like.elem_count()).map(|_| StandardNormal.sample(&mut *generator)).collect();
    Ok(Tensor::from_vec(data, like.shape(), like.device())?)
}

/// Standard deviation of sampled latents over 64 windows.
fn deviation(
    model: &Autoencoder,
    windows: &Windows,
    m: &Modality,
    index: usize,
    generator: &mut ChaCha12Rng,
    device: &Device,
) -> Result<f64> {
    let mut latent: Vec<f32> = Vec::new();
    for _ in 0..64 / EVALUATED_TOGETHER {
        let images = batch(windows, m, index, EVALUATED_TOGETHER, generator, device)?;
        let moments = Moments::split(&model.moments(&images)?)?;
        latent.extend(moments.draw(&normal_like(&moments.mean, generator)?)?.flatten_all()?.to_vec1::<f32>()?);
    }
    let n = latent.len() as f64;
    let mean = latent.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let variance = latent.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
    Ok(variance.sqrt().max(1e-6))
}

fn held_out_error(
    model: &Autoencoder,
    recipe: &Recipe,
    table: &ModalityTable,
    index: usize,
    scenes: &Path,
    device: &Device,
) -> Result<Option<f64>> {
    let m = &table[index];
    let windows = match Windows::open(scenes, table, &recipe.data, true) {
        Ok(windows) if windows.holding(index) > 0 => windows,
        _ => return Ok(None),
    };
    let stream = Stream {
        seed: recipe.seed,
        tile: "held out",
        realisation: 0,
        modality: &m.key,
        purpose: Purpose::Training { step: 0 },
    };
    let mut generator = stream.generator();
    let mut errors = Vec::new();
    for _ in 0..48 / EVALUATED_TOGETHER {
        let images = batch(&windows, m, index, EVALUATED_TOGETHER, &mut generator, device)?;
        let back = model.decode(&Moments::split(&model.moments(&images)?)?.mean)?;
        for item in 0..EVALUATED_TOGETHER {
            let physical = |t: &Tensor| -> Result<Value> {
                from_network(m, &t.get(item)?.flatten_all()?.to_vec1::<f32>()?, &PostOptions::default())
            };
            let (truth, back) = (physical(&images)?, physical(&back)?);
            if let (Some(truth), Some(back)) = (truth.image(), back.image()) {
                errors.extend(truth.data.iter().zip(&back.data).map(|(a, b)| error(m, *a, *b)));
            }
        }
    }
    Ok(Some(errors.iter().sum::<f64>() / errors.len().max(1) as f64))
}

fn error(m: &Modality, a: f32, b: f32) -> f64 {
    use crate::modality::ValueKind;
    match m.values {
        ValueKind::Classes { .. } => f64::from(u8::from(a != b)),
        ValueKind::Decibel { .. } => (10.0 * (f64::from(a) / f64::from(b)).log10()).abs(),
        _ => f64::from((a - b).abs()),
    }
}
