//! Training of the autoencoder of one modality (specification F.2, the simple part): L1 + L2 + KL.

use super::holes::{counts, told, valid};
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
        let drawn = draw(windows, m, index, settings.pca_windows, &mut generator(recipe, m, u64::MAX))?;
        let images = image(m, &drawn, device)?;
        let whole = whole_cells(m, &drawn);
        start = pca::fit(&images, whole.as_deref(), m.pixels / m.latent[1], m.latent[0], settings.whitening)?;
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
        let drawn = draw(&self.windows, m, self.index, size, &mut generator)?;
        let image = image(m, &drawn, self.device)?;
        let moments = Moments::split(&model.moments(&image)?)?;
        let noise = normal(moments.mean.elem_count(), &mut generator);
        let latent = moments.draw(&Tensor::from_vec(noise, moments.mean.shape(), self.device)?)?;
        let decoded = model.decode(&latent)?;
        let cross_entropy = if m.classes().is_some() { settings.cross_entropy } else { 0.0 };
        let mut loss = image_loss(&decoded, &image, valid_pixels(m, &drawn, self.device)?.as_ref(), cross_entropy)?;
        let kl = ((moments.mean.sqr()? + moments.log_variance.exp()?)? - &moments.log_variance)?.affine(0.5, -0.5)?;
        let kl = only(kl, numbers(whole_cells(m, &drawn), (size, 1, m.latent[1], m.latent[2]), self.device)?.as_ref())?;
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

/// L1, L2 and, with a factor, cross-entropy of decoded images; of valid pixels alone where not all are.
fn image_loss(decoded: &Tensor, image: &Tensor, valid: Option<&Tensor>, cross_entropy: f64) -> Result<Tensor> {
    let difference = only((decoded - image)?, valid)?;
    let mut loss = (difference.abs()?.sum_all()? + difference.sqr()?.sum_all()?)?;
    if cross_entropy > 0.0 {
        // One-hot ±1: logits are the decoded values, four to a unit so that ±1 is a clear verdict.
        let logits = candle_nn::ops::log_softmax(&(decoded * 4.0)?, 1)?;
        let truth = only(image.affine(0.5, 0.5)?, valid)?;
        loss = (loss - ((logits * truth)?.sum_all()? * cross_entropy)?)?;
    }
    Ok(loss)
}

/// Values times 1 where they count, and 0 elsewhere.
fn only(values: Tensor, counts: Option<&Tensor>) -> Result<Tensor> {
    Ok(match counts {
        Some(counts) => values.broadcast_mul(counts)?,
        None => values,
    })
}

/// 1 at every valid pixel `(n, 1, H, W)`; `None`: all are.
fn valid_pixels(m: &Modality, values: &[Value], device: &Device) -> Result<Option<Tensor>> {
    let flags = values.iter().any(|value| valid(value).is_some()).then(|| {
        let own = |value| (0..m.pixels * m.pixels).map(move |pixel| counts(valid(value), pixel));
        values.iter().flat_map(own).collect()
    });
    numbers(flags, (values.len(), 1, m.pixels, m.pixels), device)
}

/// By window and cell of the latent, whether all pixels of the cell are valid; `None`: all are.
fn whole_cells(m: &Modality, values: &[Value]) -> Option<Vec<bool>> {
    let [_, rows, columns] = m.latent;
    values.iter().any(|value| valid(value).is_some()).then(|| {
        let own = |value| {
            let told = told(value, rows);
            (0..rows * columns).map(move |cell| counts(told.as_ref(), cell))
        };
        values.iter().flat_map(own).collect()
    })
}

/// Flags as numbers.
fn numbers(flags: Option<Vec<bool>>, shape: (usize, usize, usize, usize), device: &Device) -> Result<Option<Tensor>> {
    let number = |flag: bool| f32::from(u8::from(flag));
    let tensor = |flags: Vec<bool>| Tensor::from_vec(flags.into_iter().map(number).collect::<Vec<_>>(), shape, device);
    Ok(flags.map(tensor).transpose()?)
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

/// Standard deviation of sampled latents over 64 windows, where these have no holes.
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
        let drawn = draw(windows, m, index, EVALUATED_TOGETHER, generator)?;
        let moments = Moments::split(&model.moments(&image(m, &drawn, device)?)?)?;
        let noise = normal(moments.mean.elem_count(), generator);
        let noise = Tensor::from_vec(noise, moments.mean.shape(), device)?;
        let sampled = moments.draw(&noise)?.flatten_all()?.to_vec1::<f32>()?;
        let (whole, cells) = (whole_cells(m, &drawn), m.latent[1] * m.latent[2]);
        let of_cell = |(i, v): (usize, f32)| {
            let cell = i / (m.latent[0] * cells) * cells + i % cells;
            whole.as_ref().is_none_or(|whole| whole[cell]).then_some(v)
        };
        latent.extend(sampled.into_iter().enumerate().filter_map(of_cell));
    }
    if latent.is_empty() {
        return Err(Error::request(format!("Every part of the windows drawn of {} has pixels without data.", m.name)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::{Mask, Raster};

    #[test]
    fn what_was_filled_in_gives_no_loss_and_nothing_to_learn() {
        let table = ModalityTable::published();
        let m = &table[table.index("LULC").expect("modality")];
        let side = m.pixels;
        let hole = |pixel: usize| pixel % side < 9;
        let raster = Raster::constant(1, side, side, 5.0);
        let holed = raster.clone().with_valid(&Mask::from_fn(side, side, |pixel| !hole(pixel))).expect("mask");
        let whole = [Value::Image(raster.clone()), Value::Image(raster.clone())];
        assert!(valid_pixels(m, &whole, &Device::Cpu).expect("mask").is_none() && whole_cells(m, &whole).is_none());
        let drawn = [Value::Image(raster), Value::Image(holed)];
        let mask = valid_pixels(m, &drawn, &Device::Cpu).expect("mask").expect("holes");
        // Whatever is beneath a hole of the second image: here the opposite of what it was filled with.
        let truth = image(m, &drawn, &Device::Cpu).expect("image");
        let (pixels, channels) = (side * side, m.network_channels());
        let changed: Vec<f32> = truth.flatten_all().and_then(|t| t.to_vec1()).expect("values");
        let change = |(i, v): (usize, f32)| if i >= channels * pixels && hole(i % pixels) { -v } else { v };
        let changed: Vec<f32> = changed.into_iter().enumerate().map(change).collect();
        let other = Tensor::from_vec(changed, truth.shape(), &Device::Cpu).expect("image");
        let decoded = candle_core::Var::from_tensor(&truth.affine(0.3, 0.1).expect("image")).expect("variable");
        let loss = |image: &Tensor| image_loss(&decoded, image, Some(&mask), 0.5).expect("loss");
        let number = |loss: &Tensor| loss.to_scalar::<f32>().expect("number");
        assert_eq!(number(&loss(&truth)), number(&loss(&other)));
        assert!(number(&loss(&truth)) < number(&image_loss(&decoded, &truth, None, 0.5).expect("loss")));
        let gradients = loss(&truth).backward().expect("gradients");
        let gradient = gradients.get(&decoded).expect("gradient").flatten_all().and_then(|t| t.to_vec1::<f32>());
        for (i, slope) in gradient.expect("values").into_iter().enumerate() {
            assert_eq!(slope == 0.0, i >= channels * pixels && hole(i % pixels), "{i}");
        }
        // A cell of the latent counts where all of it does.
        let cells = whole_cells(m, &drawn).expect("holes");
        let [_, rows, columns] = m.latent;
        let per_cell = side / columns;
        for (i, counts) in cells.into_iter().enumerate() {
            assert_eq!(counts, i < rows * columns || i % columns >= 9usize.div_ceil(per_cell), "{i}");
        }
    }
}
