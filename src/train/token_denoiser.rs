//! Training of the published kind of denoiser (specification F.1), over scenes that lack some modalities.
//!
//! An absent modality enters as pure noise at time 1000 and has no loss.

use super::autoencoder::normal;
use super::holes::{counted, counts, told};
use super::items::{ITEMS_TOGETHER, Item, State, draw_items};
use super::recipe::Recipe;
use super::split::Use;
use super::steps::Task;
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::modality::{Mask, ModalityTable, to_network};
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

/// The latent posterior of one window by modality; `None` if absent.
type Encoded = Vec<Option<Posterior>>;

/// What an autoencoder makes of one image.
#[derive(Clone)]
struct Posterior {
    /// Scaled.
    mean: Tensor,
    /// Scaled.
    deviation: Tensor,
    /// The latent's cells whose pixels are all valid; `None`: all of them.
    told: Option<Mask>,
}

/// Changes when the file of encoded windows holds other things than before.
const LATENTS_VERSION: &str = "2";

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
            let told = told(&value, m.latent[1]);
            let data = to_network(m, &value)?;
            encoded[k] = Some(match &autoencoders[k] {
                None => {
                    let latent = Tensor::from_vec(data, (1, 1, 1, 3), device)?;
                    Posterior { mean: latent.clone(), deviation: latent.zeros_like()?, told }
                }
                Some(autoencoder) => {
                    let image =
                        Tensor::from_vec(data, (1, m.network_channels(), m.pixels, m.pixels), autoencoder.device())?;
                    let moments = Moments::split(&autoencoder.moments(&image)?.detach())?;
                    let deviation = moments.log_variance.affine(0.5, 0.0)?.exp()?;
                    let (mean, deviation) = ((moments.mean * m.scale_factor)?, (deviation * m.scale_factor)?);
                    Posterior { mean, deviation, told }
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
    let says = |key: &str, what: &str| notes.get(key).map(String::as_str) == Some(what);
    if !says("recipe", fingerprint) || !says("version", LATENTS_VERSION) {
        return None;
    }
    let count: usize = notes.get("windows")?.parse().ok()?;
    let mut tensor = |name: String| tensors.remove(&name)?.to_tensor(device).ok();
    let mut one = |w: usize, i: usize| {
        let [mean, deviation, told] = ["mean", "deviation", "told"].map(|part| tensor(format!("{w}.{i}.{part}")));
        let [_, rows, columns] = table[i].latent;
        let told = match told {
            Some(told) => {
                let told: Vec<f32> = told.flatten_all().ok()?.to_vec1().ok()?;
                Some(Mask::from_fn(rows, columns, |cell| told.get(cell).is_some_and(|v| *v > 0.0)))
            }
            None => None,
        };
        Some(Posterior { mean: mean?, deviation: deviation?, told })
    };
    let mut window = |w: usize| (0..table.len()).map(|i| one(w, i)).collect();
    Some((0..count).map(&mut window).collect())
}

/// Keeps latents on disk as moments.
fn write_latents(path: &Path, cache: &[Encoded], fingerprint: &str) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (w, encoded) in cache.iter().enumerate() {
        for (i, own) in encoded.iter().enumerate().filter_map(|(i, own)| Some((i, own.as_ref()?))) {
            for (part, tensor) in [("mean", &own.mean), ("deviation", &own.deviation)] {
                let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
                tensors.insert(format!("{w}.{i}.{part}"), TensorData::new(tensor.dims().to_vec(), &values));
            }
            if let Some(told) = &own.told {
                let (rows, columns) = told.size();
                tensors.insert(format!("{w}.{i}.told"), TensorData::new(vec![rows, columns], &told.numbers()));
            }
        }
    }
    let notes = [
        ("recipe", fingerprint.to_owned()),
        ("version", LATENTS_VERSION.to_owned()),
        ("windows", cache.len().to_string()),
    ];
    let notes = notes.map(|(key, value)| (key.to_owned(), value));
    write_tensors(path, &tensors, Some(notes.into())).map(drop)
}

/// Mean squared error of the prediction where windows have no holes, summed over modalities and items.
fn loss_of(denoiser: &Denoiser, cache: &[Encoded], schedule: &Schedule, items: &[Item]) -> Result<Tensor> {
    let (table, device) = (denoiser.table(), denoiser.device());
    let mut latents: Vec<Vec<Tensor>> = vec![Vec::new(); table.len()];
    let mut targets: Vec<Vec<Tensor>> = vec![Vec::new(); table.len()];
    let mut times: Vec<Vec<f32>> = vec![Vec::new(); table.len()];
    let mut weights: Vec<Vec<f32>> = vec![Vec::new(); table.len()];
    for item in items {
        let mut generator = ChaCha12Rng::seed_from_u64(item.seed);
        for (k, m) in table.iter().enumerate() {
            let [c, h, w] = m.latent;
            let noise = Tensor::from_vec(normal(c * h * w, &mut generator), (1, c, h, w), device)?;
            let encoded = &cache[item.window][k];
            let (latent, time, counts_in_loss) = match (item.states[k], encoded) {
                (State::Absent, _) | (_, None) => (noise.clone(), TRAIN_STEPS, 0.0),
                (state, Some(Posterior { mean, deviation, .. })) => {
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
            // By value of the latent: its share of those that have a truth.
            let told = encoded.as_ref().and_then(|own| own.told.as_ref());
            let known = counted(told, h * w).max(1) * c;
            let weight = |cell: usize| if counts(told, cell % (h * w)) { counts_in_loss / known as f32 } else { 0.0 };
            weights[k].extend((0..c * h * w).map(weight));
        }
    }
    let latents: Vec<Tensor> = latents.iter().map(|l| Ok(Tensor::cat(l, 0)?)).collect::<Result<_>>()?;
    let predicted = denoiser.noise(&latents, &times)?;
    let mut total: Option<Tensor> = None;
    for (k, m) in table.iter().enumerate() {
        let size = m.latent.iter().product::<usize>();
        let error = (&predicted[k] - Tensor::cat(&targets[k], 0)?)?.sqr()?.reshape((items.len(), size))?;
        let own =
            (error * Tensor::from_vec(std::mem::take(&mut weights[k]), (items.len(), size), device)?)?.sum_all()?;
        total = Some(match total {
            None => own,
            Some(total) => (total + own)?,
        });
    }
    total.ok_or_else(|| Error::request("The modality table is empty."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DenoiserSizes, MadeUp};

    #[test]
    fn cells_over_holes_have_no_loss_and_are_remembered_on_disk() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small_modalities.json");
        let text = std::fs::read_to_string(path).expect("text");
        let table: ModalityTable = serde_json::from_str(&text).expect("table");
        let sizes = DenoiserSizes { width: 32, depth: 2, heads: 2, mlp_ratio: 2 };
        let (device, mut parameters) = (Device::Cpu, MadeUp::new(&Device::Cpu));
        let denoiser = Denoiser::new(&table, &sizes, &mut parameters, &device).expect("denoiser");
        let i = table.index("S2L2A_10m").expect("modality");
        let [c, h, w] = table[i].latent;
        let window = |told: Option<Mask>| -> Vec<Encoded> {
            let mean = Tensor::ones((1, c, h, w), candle_core::DType::F32, &device).expect("mean");
            let deviation = mean.zeros_like().expect("deviation");
            let mut encoded: Encoded = vec![None; table.len()];
            encoded[i] = Some(Posterior { mean, deviation, told });
            vec![encoded]
        };
        let states = (0..table.len()).map(|k| if k == i { State::Noised(500) } else { State::Absent }).collect();
        let items = [Item { window: 0, turn: 0, states, seed: 3 }];
        let loss = |told: Option<Mask>| {
            let loss = loss_of(&denoiser, &window(told), &Schedule::new(), &items).expect("loss");
            loss.to_scalar::<f32>().expect("number")
        };
        let half = |first: bool| Some(Mask::from_fn(h, w, move |cell| (cell < h * w / 2) == first));
        assert_eq!(loss(Some(Mask::full(h, w))), loss(None));
        assert_eq!(loss(Some(Mask::from_fn(h, w, |_| false))), 0.0);
        // Each half by itself; the whole is their mean.
        let (one, other) = (loss(half(true)), loss(half(false)));
        assert!(one != other && (0.5 * (one + other) - loss(None)).abs() < 1e-4, "{one} {other}");

        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("latents.safetensors");
        write_latents(&path, &window(half(true)), "recipe").expect("written");
        let read = read_latents(&path, &table, "recipe", &device).expect("read");
        assert_eq!(read[0][i].as_ref().and_then(|own| own.told.clone()), half(true));
        assert!(read[0].iter().enumerate().all(|(k, own)| own.is_some() == (k == i)));
        assert!(read_latents(&path, &table, "another", &device).is_none());
    }
}
