//! Training of the denoiser over scenes that lack some modalities (specification F.1).
//!
//! An absent modality enters as pure noise at time 1000 and has no loss.

use super::Progress;
use super::autoencoder::{normal_like, trained_autoencoder};
use super::parameters::{Optimiser, Trainable};
use super::recipe::{DenoiserRecipe, Recipe};
use super::windows::{Windows, below, uniform};
use crate::error::{Error, Result};
use crate::lanes::side_by_side;
use crate::modality::{Modality, ModalityTable, to_network};
use crate::model::{
    Autoencoder, AutoencoderEntry, DENOISER_FILE, Denoiser, Manifest, Moments, Prediction, autoencoder_file,
    weight_file, write_manifest, write_weights,
};
use crate::sampler::{Purpose, Schedule, Stream, TRAIN_STEPS};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;

/// Items of a batch that are computed together.
const ITEMS_TOGETHER: usize = 4;

/// The latent posterior of one window: per modality mean and standard deviation, scaled; `None` if absent.
type Encoded = Vec<Option<(Tensor, Tensor)>>;

/// Trains the denoiser on the autoencoders already in `out` and completes the model folder there.
///
/// The averaged weights are saved every `save_every` steps and at the end; the manifest last.
///
/// # Errors
/// When an autoencoder is missing, the loss is not finite, or files cannot be written.
pub fn train_denoiser(
    recipe: &Recipe,
    table: &ModalityTable,
    scenes: &Path,
    out: &Path,
    device: &Device,
    save_every: u64,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    let settings = &recipe.denoiser;
    let mut table: Vec<_> = table.clone().into();
    let mut autoencoders: Vec<Option<Autoencoder>> = Vec::new();
    for m in &mut table {
        if m.is_scalar() {
            autoencoders.push(None);
            continue;
        }
        let (autoencoder, report) = trained_autoencoder(recipe, m, out, device)?;
        m.scale_factor = report.scale_factor;
        autoencoders.push(Some(autoencoder));
    }
    let table = ModalityTable::new(table)?;
    let generator = |step: u64| {
        Stream {
            seed: recipe.seed,
            tile: "denoiser",
            realisation: 0,
            modality: "",
            purpose: Purpose::Training { step },
        }
        .generator()
    };
    let windows = Windows::open(scenes, &table, &recipe.data, false)?;
    let cache = encode(&windows, &table, &autoencoders, settings.cached_windows, &mut generator(u64::MAX), progress)?;

    let mut parameters = Trainable::new(recipe.seed, BTreeMap::new(), device);
    let denoiser = Denoiser::new(&table, &settings.sizes, &mut parameters, device)?;
    let mut optimiser = Optimiser::new(parameters, &settings.optimiser)?;
    let (steps, schedule) = (settings.optimiser.steps, Schedule::new());
    for step in 0..steps {
        let items = draw_items(&table, &cache, settings, &mut generator(step));
        // Parts of a batch are independent: computed side by side they keep all cores busy, and their size does not
        // depend on the number of cores, so that neither does the result.
        let parts: Vec<&[Item]> = items.chunks(ITEMS_TOGETHER).collect();
        let parts: Vec<(f64, GradStore)> = side_by_side(&parts, |part| {
            let loss = (loss(&denoiser, &cache, &schedule, part)? / settings.optimiser.batch as f64)?;
            Ok((f64::from(loss.to_scalar::<f32>()?), loss.backward()?))
        })?;
        let value: f64 = parts.iter().map(|(loss, _)| loss).sum();
        if !value.is_finite() {
            return Err(Error::Compute(format!(
                "The loss is not finite at step {step}; training stopped, the last saved weights are kept."
            )));
        }
        let gradients: Vec<GradStore> = parts.into_iter().map(|(_, gradients)| gradients).collect();
        optimiser.step(&gradients)?;
        progress(&Progress { what: "denoiser".into(), step: step + 1, steps, loss: value })?;
        if (step + 1) % save_every == 0 || step + 1 == steps {
            save(recipe, &table, &optimiser, out)?;
        }
    }
    Ok(())
}

fn save(recipe: &Recipe, table: &ModalityTable, optimiser: &Optimiser, out: &Path) -> Result<()> {
    write_weights(&out.join(DENOISER_FILE), &optimiser.averaged(), true)?;
    let entry = |m: &Modality| -> Result<(String, AutoencoderEntry)> {
        let weights = weight_file(out, autoencoder_file(m))?;
        Ok((m.key.clone(), AutoencoderEntry { sizes: recipe.autoencoder.sizes.clone(), weights }))
    };
    let images = table.iter().filter(|m| !m.is_scalar());
    let manifest = Manifest {
        name: recipe.name.clone(),
        description: recipe.description.clone(),
        licence: recipe.licence.clone(),
        attribution: recipe.attribution.clone(),
        modalities: table.clone(),
        denoiser: recipe.denoiser.sizes.clone(),
        denoiser_weights: weight_file(out, DENOISER_FILE)?,
        autoencoders: images.map(entry).collect::<Result<_>>()?,
    };
    write_manifest(out, &manifest)
}

/// Encodes random windows once; latents are drawn anew at every use.
fn encode(
    windows: &Windows,
    table: &ModalityTable,
    autoencoders: &[Option<Autoencoder>],
    count: usize,
    generator: &mut ChaCha12Rng,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<Vec<Encoded>> {
    let mut cache = Vec::with_capacity(count);
    for i in 0..count {
        let mut encoded: Encoded = vec![None; table.len()];
        for (k, value) in windows.draw(generator, None)?.into_iter().enumerate() {
            let (Some(value), m) = (value, &table[k]) else { continue };
            let data = to_network(m, &value)?;
            encoded[k] = Some(match &autoencoders[k] {
                None => {
                    let latent = Tensor::from_vec(data, (1, 1, 1, 3), &Device::Cpu)?;
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
        progress(&Progress {
            what: "encoding windows".into(),
            step: i as u64 + 1,
            steps: count as u64,
            loss: f64::NAN,
        })?;
    }
    Ok(cache)
}

/// What one item of a batch is made of, drawn before the parts of the batch are computed side by side.
struct Item {
    /// Which cached window.
    window: usize,
    /// By modality.
    states: Vec<State>,
    /// Seed of the item's noise.
    seed: u64,
}

/// How a modality enters the network.
#[derive(Clone, Copy)]
enum State {
    /// Pure noise at time 1000, no loss: absent or withheld.
    Absent,
    /// Clean at time 0, no loss: as a condition.
    Given,
    /// Noised to this step of 1…1000.
    Noised(usize),
}

fn draw_items(
    table: &ModalityTable,
    cache: &[Encoded],
    settings: &DenoiserRecipe,
    generator: &mut ChaCha12Rng,
) -> Vec<Item> {
    let mut item = || {
        let window = below(generator, cache.len());
        let shared = (uniform(generator) < settings.shared_time).then(|| 1 + below(generator, TRAIN_STEPS));
        let states = (0..table.len()).map(|k| {
            let n = shared.unwrap_or(1 + below(generator, TRAIN_STEPS));
            let (withheld, given) = (uniform(generator) < settings.withheld, uniform(generator) < settings.given);
            match (&cache[window][k], withheld, given) {
                (None, ..) | (_, true, _) => State::Absent,
                (Some(_), false, true) => State::Given,
                (Some(_), false, false) => State::Noised(n),
            }
        });
        let states = states.collect();
        Item { window, states, seed: generator.next_u64() }
    };
    (0..settings.optimiser.batch).map(|_| item()).collect()
}

/// Mean squared error of the prediction, summed over modalities and items.
fn loss(denoiser: &Denoiser, cache: &[Encoded], schedule: &Schedule, items: &[Item]) -> Result<Tensor> {
    let (table, device) = (denoiser.table(), denoiser.device());
    let mut latents: Vec<Vec<Tensor>> = vec![Vec::new(); table.len()];
    let mut targets: Vec<Vec<Tensor>> = vec![Vec::new(); table.len()];
    let mut times: Vec<Vec<f32>> = vec![Vec::new(); table.len()];
    let mut counts: Vec<Vec<f32>> = vec![Vec::new(); table.len()];
    for item in items {
        let mut generator = ChaCha12Rng::seed_from_u64(item.seed);
        for (k, m) in table.iter().enumerate() {
            let [c, h, w] = m.latent;
            let noise = normal_like(&Tensor::zeros((1, c, h, w), candle_core::DType::F32, device)?, &mut generator)?;
            let mut target = noise.clone();
            let (latent, time, counts_in_loss) = match (item.states[k], &cache[item.window][k]) {
                (State::Absent, _) | (_, None) => (noise.clone(), TRAIN_STEPS, 0.0),
                (state, Some((mean, deviation))) => {
                    let clean = (mean + (deviation * normal_like(mean, &mut generator)?)?)?;
                    match state {
                        State::Noised(n) => {
                            let t = n as f64 / TRAIN_STEPS as f64;
                            let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
                            let noisy = ((&clean * alpha)? + (&noise * sigma)?)?;
                            if denoiser.sizes().predicts == Prediction::Residual {
                                target = ((&noise - &noisy)? / alpha)?;
                            }
                            (noisy, n, 1.0)
                        }
                        _ => (clean, 0, 0.0),
                    }
                }
            };
            latents[k].push(latent);
            targets[k].push(target);
            times[k].push(time as f32);
            counts[k].push(counts_in_loss);
        }
    }
    let latents: Vec<Tensor> = latents.iter().map(|l| Ok(Tensor::cat(l, 0)?)).collect::<Result<_>>()?;
    let predicted = denoiser.forward(&latents, &times)?;
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
