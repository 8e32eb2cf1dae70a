//! Training of the published kind of denoiser (specification F.1), over scenes that lack some modalities.
//!
//! An absent modality enters as pure noise at time 1000 and has no loss.

use super::autoencoder::normal;
use super::items::{ITEMS_TOGETHER, Item, State, draw_items};
use super::recipe::Recipe;
use super::split::Use;
use super::steps::Task;
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, to_network};
use crate::model::{
    Autoencoder, Codec, Denoiser, Moments, NoisePredictor, SafetensorsContent, Schedule, TRAIN_STEPS, TensorData,
    read_safetensors, write_tensors,
};
use crate::sampler::training_generator;
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::path::Path;

/// The latent posterior of one window: per modality mean and standard deviation, scaled; `None` if absent.
type Encoded = Vec<Option<(Tensor, Tensor)>>;

/// The task; its denoiser holds the parameters under training.
pub(super) struct TokenTask<'a> {
    recipe: &'a Recipe,
    denoiser: Denoiser,
    cache: Vec<Encoded>,
    schedule: Schedule,
}

impl<'a> TokenTask<'a> {
    /// Encodes the windows to train on, or takes them from `out/latents.safetensors` if that was made alike.
    ///
    /// # Errors
    /// When scenes cannot be read or the cache cannot be written.
    pub(super) fn new(
        recipe: &'a Recipe,
        denoiser: Denoiser,
        autoencoders: &[Option<Autoencoder>],
        scenes: &Path,
        out: &Path,
        fingerprint: &str,
    ) -> Result<Self> {
        let (path, device) = (out.join("latents.safetensors"), denoiser.device().clone());
        let cache = match read_latents(&path, denoiser.table(), fingerprint, &device) {
            Some(cache) => cache,
            None => {
                let table = denoiser.table();
                let windows = Windows::open(scenes, table, &recipe.data, Use::Train)?;
                let mut generator = training_generator(recipe.seed, "denoiser", "", u64::MAX);
                let count = recipe.denoiser.cached_windows;
                let cache = encode(&windows, table, autoencoders, count, &mut generator, &device)?;
                write_latents(&path, &cache, fingerprint)?;
                cache
            }
        };
        Ok(Self { recipe, denoiser, cache, schedule: Schedule::new() })
    }
}

impl Task for TokenTask<'_> {
    type Part = Vec<Item>;

    fn draw(&self, step: u64) -> Result<Vec<Vec<Item>>> {
        let mut generator = training_generator(self.recipe.seed, "denoiser", "", step);
        let items = draw_items(
            self.denoiser.table(),
            self.cache.len(),
            &|window, i| self.cache[window][i].is_some(),
            &self.recipe.denoiser,
            self.recipe.denoiser.optimiser.items(),
            &mut generator,
        );
        // An accelerator takes a whole batch at once.
        let together =
            if self.denoiser.device().is_cpu() { ITEMS_TOGETHER } else { self.recipe.denoiser.optimiser.batch };
        Ok(items.chunks(together).map(<[Item]>::to_vec).collect())
    }

    fn together(&self) -> usize {
        if self.denoiser.device().is_cpu() { 8 } else { 1 }
    }

    fn loss(&self, part: &Vec<Item>) -> Result<Tensor> {
        let optimiser = &self.recipe.denoiser.optimiser;
        let sum = loss_of(&self.denoiser, &self.cache, &self.schedule, part)?;
        Ok((sum / optimiser.items() as f64)?)
    }
}

/// Encodes random windows once; latents are drawn anew at every use.
fn encode(
    windows: &Windows,
    table: &ModalityTable,
    autoencoders: &[Option<Autoencoder>],
    count: usize,
    generator: &mut ChaCha12Rng,
    device: &Device,
) -> Result<Vec<Encoded>> {
    let mut cache = Vec::with_capacity(count);
    for _ in 0..count {
        let mut encoded: Encoded = vec![None; table.len()];
        for (k, value) in windows.draw(generator, None)?.into_iter().enumerate() {
            let (Some(value), m) = (value, &table[k]) else { continue };
            let data = to_network(m, &value)?;
            encoded[k] = Some(match &autoencoders[k] {
                None => {
                    let latent = Tensor::from_vec(data, (1, 1, 1, 3), device)?;
                    (latent.clone(), latent.zeros_like()?)
                }
                Some(autoencoder) => {
                    let image =
                        Tensor::from_vec(data, (1, m.network_channels(), m.pixels, m.pixels), autoencoder.device())?;
                    let moments = Moments::split(&autoencoder.moments(&image)?.detach())?;
                    let deviation = moments.log_variance.affine(0.5, 0.0)?.exp()?;
                    ((moments.mean * m.scale_factor)?, (deviation * m.scale_factor)?)
                }
            });
        }
        cache.push(encoded);
    }
    Ok(cache)
}

/// Latents that were encoded before with the same recipe and autoencoders.
fn read_latents(path: &Path, table: &ModalityTable, fingerprint: &str, device: &Device) -> Option<Vec<Encoded>> {
    let SafetensorsContent { mut tensors, notes, .. } = read_safetensors(path).ok()?;
    if notes.get("recipe").map(String::as_str) != Some(fingerprint) {
        return None;
    }
    let count: usize = notes.get("windows")?.parse().ok()?;
    let mut tensor = |name: String| tensors.remove(&name)?.to_tensor(device).ok();
    let mut window = |w: usize| {
        (0..table.len())
            .map(|i| Some((tensor(format!("{w}.{i}.mean"))?, tensor(format!("{w}.{i}.deviation"))?)))
            .collect()
    };
    Some((0..count).map(&mut window).collect())
}

/// Keeps latents on disk as moments.
fn write_latents(path: &Path, cache: &[Encoded], fingerprint: &str) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (w, encoded) in cache.iter().enumerate() {
        for (i, (mean, deviation)) in encoded.iter().enumerate().filter_map(|(i, e)| Some((i, e.as_ref()?))) {
            for (part, tensor) in [("mean", mean), ("deviation", deviation)] {
                let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
                tensors.insert(format!("{w}.{i}.{part}"), TensorData::new(tensor.dims().to_vec(), &values));
            }
        }
    }
    let notes = [("recipe", fingerprint.to_owned()), ("windows", cache.len().to_string())];
    let notes = notes.map(|(key, value)| (key.to_owned(), value));
    write_tensors(path, &tensors, Some(notes.into())).map(drop)
}

/// Mean squared error of the prediction, summed over modalities and items.
fn loss_of(denoiser: &Denoiser, cache: &[Encoded], schedule: &Schedule, items: &[Item]) -> Result<Tensor> {
    let (table, device) = (denoiser.table(), denoiser.device());
    let mut latents: Vec<Vec<Tensor>> = vec![Vec::new(); table.len()];
    let mut targets: Vec<Vec<Tensor>> = vec![Vec::new(); table.len()];
    let mut times: Vec<Vec<f32>> = vec![Vec::new(); table.len()];
    let mut counts: Vec<Vec<f32>> = vec![Vec::new(); table.len()];
    for item in items {
        let mut generator = ChaCha12Rng::seed_from_u64(item.seed);
        for (k, m) in table.iter().enumerate() {
            let [c, h, w] = m.latent;
            let noise = Tensor::from_vec(normal(c * h * w, &mut generator), (1, c, h, w), device)?;
            let (latent, time, counts_in_loss) = match (item.states[k], &cache[item.window][k]) {
                (State::Absent, _) | (_, None) => (noise.clone(), TRAIN_STEPS, 0.0),
                (state, Some((mean, deviation))) => {
                    let clean = {
                        let drawn = Tensor::from_vec(normal(mean.elem_count(), &mut generator), mean.shape(), device)?;
                        (mean + (deviation * drawn)?)?
                    };
                    match state {
                        State::Noised(n) => {
                            let t = n as f64 / TRAIN_STEPS as f64;
                            let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
                            let noisy = ((&clean * alpha)? + (&noise * sigma)?)?;
                            (noisy, n, 1.0)
                        }
                        _ => (clean, 0, 0.0),
                    }
                }
            };
            latents[k].push(latent);
            targets[k].push(noise);
            times[k].push(time as f32);
            counts[k].push(counts_in_loss);
        }
    }
    let latents: Vec<Tensor> = latents.iter().map(|l| Ok(Tensor::cat(l, 0)?)).collect::<Result<_>>()?;
    let predicted = denoiser.noise(&latents, &times)?;
    let mut total: Option<Tensor> = None;
    for (k, m) in table.iter().enumerate() {
        let size = m.latent.iter().product::<usize>();
        let error = (&predicted[k] - Tensor::cat(&targets[k], 0)?)?.sqr()?.reshape((items.len(), size))?.mean(1)?;
        let counted = (error * Tensor::new(counts[k].as_slice(), device)?)?.sum_all()?;
        total = Some(match total {
            None => counted,
            Some(total) => (total + counted)?,
        });
    }
    total.ok_or_else(|| Error::request("The modality table is empty."))
}
