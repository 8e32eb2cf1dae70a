//! Training of the autoencoder of one modality (specification F.2, the simple part): L1 + L2 + KL.

use super::parameters::Trainable;
use super::recipe::{AutoencoderRecipe, Recipe};
use super::split::Use;
use super::steps::{Setting, Task, Training, run};
use super::windows::Windows;
use super::{Progress, pca};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Modality, ModalityTable, PostOptions, Value, from_network, to_network};
use crate::model::{Autoencoder, Codec, LoadedWeights, Moments, autoencoder_file, write_weights};
use crate::sampler::training_generator;
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
    setting: &Setting,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<AutoencoderReport> {
    let Setting { scenes, out, device, options } = *setting;
    let started = std::time::Instant::now();
    out.refuse_finished()?;
    let out = out.dir();
    let settings = recipe.autoencoder.as_ref().ok_or_else(|| Error::request("The recipe has no [autoencoder]."))?;
    let m = &table[index];
    let windows = Windows::open(scenes, table, &recipe.data, Use::Train)?;
    let (mut parameters, name) =
        (start(recipe, settings, m, index, &windows, device)?, format!("autoencoder_{}", m.name));
    let model = Autoencoder::new(&settings.sizes, m.network_channels(), m.latent[0], &mut parameters, device)?;
    let task = AutoencoderTask { recipe, settings, m, index, windows, device, model };
    let fingerprint = format!("{:x}", Sha256::digest(format!("{recipe:?} {m:?}")));
    let optimiser = &settings.optimiser;
    let training = Training { what: &name, out, recipe: optimiser, fingerprint: &fingerprint, options };
    let weights = run(training, parameters, &task, &mut |_, _| Ok(()), progress)?.averaged()?;
    let path = out.join(autoencoder_file(m));
    write_weights(&path, &weights, true)?;
    let mut source = Trainable::new(0, weights, device);
    let trained = Autoencoder::new(&settings.sizes, m.network_channels(), m.latent[0], &mut source, device)?;
    let report = AutoencoderReport {
        scale_factor: 1.0
            / deviation(&trained, &task.windows, m, index, &mut generator(recipe, m, u64::MAX - 1), device)?,
        steps: settings.optimiser.steps,
        scenes: task.windows.holding(index),
        held_out_error: held_out_error(&trained, recipe, table, index, scenes, device)?,
        seconds: started.elapsed().as_secs_f64(),
    };
    let text = serde_json::to_string_pretty(&report).map_err(|e| Error::file(&path, e.to_string()))?;
    write_atomically(&path.with_extension("json"), text.as_bytes())?;
    Ok(report)
}

struct AutoencoderTask<'a> {
    recipe: &'a Recipe,
    settings: &'a AutoencoderRecipe,
    m: &'a Modality,
    index: usize,
    windows: Windows,
    device: &'a Device,
    model: Autoencoder,
}

/// The draws of one step.
fn generator(recipe: &Recipe, m: &Modality, step: u64) -> ChaCha12Rng {
    training_generator(recipe.seed, "autoencoder", &m.key, step)
}

/// Fresh parameters; the linear path begins as patch PCA.
fn start(
    recipe: &Recipe,
    settings: &AutoencoderRecipe,
    m: &Modality,
    index: usize,
    windows: &Windows,
    device: &Device,
) -> Result<Trainable> {
    let mut start = BTreeMap::new();
    if settings.sizes.linear_path {
        let images = batch(windows, m, index, settings.pca_windows, &mut generator(recipe, m, u64::MAX), device)?;
        start = pca::fit(&images, m.pixels / m.latent[1], m.latent[0], settings.whitening)?;
    }
    Ok(Trainable::new(recipe.seed, start, device).with_precision(settings.optimiser.precision))
}

impl Task for AutoencoderTask<'_> {
    /// Seed of one batch.
    type Part = ChaCha12Rng;

    fn draw(&self, step: u64) -> Result<Vec<ChaCha12Rng>> {
        let mut generator = generator(self.recipe, self.m, step);
        let count = self.settings.optimiser.accumulation as u64;
        Ok((0..count).map(|_| ChaCha12Rng::seed_from_u64(generator.next_u64())).collect())
    }

    /// L1, L2 and KL (and cross-entropy for classes), per value of the image.
    fn loss(&self, part: &ChaCha12Rng) -> Result<Tensor> {
        let (m, settings, mut generator) = (self.m, self.settings, part.clone());
        let model = &self.model;
        let size = settings.optimiser.batch;
        let image = batch(&self.windows, m, self.index, size, &mut generator, self.device)?;
        let moments = Moments::split(&model.moments(&image)?)?;
        let noise = normal(moments.mean.elem_count(), &mut generator);
        let latent = moments.draw(&Tensor::from_vec(noise, moments.mean.shape(), self.device)?)?;
        let decoded = model.decode(&latent)?;
        let difference = (&decoded - &image)?;
        let mut loss = (difference.abs()?.sum_all()? + difference.sqr()?.sum_all()?)?;
        if m.classes().is_some() && settings.cross_entropy > 0.0 {
            // One-hot ±1: logits are the decoded values, four to a unit so that ±1 is a clear verdict.
            let logits = candle_nn::ops::log_softmax(&(decoded * 4.0)?, 1)?;
            let truth = image.affine(0.5, 0.5)?;
            loss = (loss - ((logits * truth)?.sum_all()? * settings.cross_entropy)?)?;
        }
        let kl = ((moments.mean.sqr()? + moments.log_variance.exp()?)? - &moments.log_variance)?.affine(0.5, -0.5)?;
        loss = (loss + (kl.sum_all()? * settings.kl_weight)?)?;
        // Summed over the values of an image as published, then shown per value.
        let values = (m.network_channels() * m.pixels * m.pixels) as f64;
        Ok((loss / ((size * settings.optimiser.accumulation) as f64 * values))?)
    }
}

/// Loads `autoencoder_NAME` that [`train_autoencoder`] wrote.
///
/// # Errors
/// When it is missing or does not fit the recipe.
pub(super) fn trained_autoencoder(
    settings: &AutoencoderRecipe,
    m: &Modality,
    out: &Path,
    device: &Device,
) -> Result<(Autoencoder, AutoencoderReport)> {
    let path = out.join(autoencoder_file(m));
    let mut weights = LoadedWeights::open(&path, None, device)?;
    let model = Autoencoder::new(&settings.sizes, m.network_channels(), m.latent[0], &mut weights, device)?;
    weights.finish()?;
    let path = path.with_extension("json");
    let text = crate::files::read_text(&path).map_err(|e| Error::io(&path, "read", &e))?;
    let report =
        serde_json::from_str(&text).map_err(|e| Error::file(&path, format!("This is not a training report: {e}")))?;
    Ok((model, report))
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
    image(m, &draw(windows, m, index, n, generator)?, device)
}

/// `n` random windows of one modality.
fn draw(windows: &Windows, m: &Modality, index: usize, n: usize, generator: &mut ChaCha12Rng) -> Result<Vec<Value>> {
    let one = |_| {
        let value = windows.draw(generator, Some(index))?.swap_remove(index);
        value.ok_or_else(|| Error::request(format!("{} could not be read.", m.name)))
    };
    (0..n).map(one).collect()
}

/// Windows as one network image.
fn image(m: &Modality, values: &[Value], device: &Device) -> Result<Tensor> {
    let mut data = Vec::new();
    for value in values {
        data.extend(to_network(m, value)?);
    }
    Ok(Tensor::from_vec(data, (values.len(), m.network_channels(), m.pixels, m.pixels), device)?)
}

/// Standard-normal noise.
pub(super) fn normal(n: usize, generator: &mut ChaCha12Rng) -> Vec<f32> {
    (0..n).map(|_| StandardNormal.sample(&mut *generator)).collect()
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
        let noise = normal(moments.mean.elem_count(), generator);
        let noise = Tensor::from_vec(noise, moments.mean.shape(), device)?;
        latent.extend(moments.draw(&noise)?.flatten_all()?.to_vec1::<f32>()?);
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
    let windows = match Windows::open(scenes, table, &recipe.data, Use::Validation) {
        Ok(windows) if windows.holding(index) > 0 => windows,
        _ => return Ok(None),
    };
    let mut generator = training_generator(recipe.seed, "held out", &m.key, 0);
    let mut errors = Vec::new();
    for _ in 0..48 / EVALUATED_TOGETHER {
        let drawn = draw(&windows, m, index, EVALUATED_TOGETHER, &mut generator)?;
        let images = image(m, &drawn, device)?;
        let back = model.decode(&Moments::split(&model.moments(&images)?)?.mean)?;
        for (item, observed) in drawn.iter().enumerate() {
            let physical = |t: &Tensor| -> Result<Value> {
                from_network(m, &t.get(item)?.flatten_all()?.to_vec1::<f32>()?, &PostOptions::default())
            };
            let (truth, back) = (physical(&images)?, physical(&back)?);
            if let (Some(truth), Some(back), Some(observed)) = (truth.image(), back.image(), observed.image()) {
                // What was filled for the network is no truth.
                let (truth, back) = (observed.valid_of(&truth.data), observed.valid_of(&back.data));
                errors.extend(truth.iter().zip(back.iter()).map(|(a, b)| error(m, *a, *b)));
            }
        }
    }
    Ok(Some(errors.iter().sum::<f64>() / errors.len().max(1) as f64))
}

fn error(m: &Modality, a: f32, b: f32) -> f64 {
    match () {
        () if m.classes().is_some() => f64::from(u8::from(a != b)),
        () if m.about.decibel => (10.0 * (f64::from(a) / f64::from(b)).log10()).abs(),
        () => f64::from((a - b).abs()),
    }
}
