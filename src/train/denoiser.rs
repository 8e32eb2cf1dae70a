//! Training of a denoiser from its beginning or from a finished model, and the model folder it ends in.

use super::Progress;
use super::field_denoiser::FieldTask;
use super::parameters::{Optimiser, Trainable};
use super::recipe::{DenoiserRecipe, Recipe};
use super::start::{Latents, Start};
use super::steps::{Options, Training, run};
use super::token_denoiser::TokenTask;
use super::windows::{below, uniform};
use crate::error::{Error, Result};
use crate::files::{absent, hex};
use crate::modality::ModalityTable;
use crate::model::field::FieldDenoiser;
use crate::model::{
    DENOISER_FILE, Denoiser, MANIFEST_FILE, Manifest, TRAIN_STEPS, weight_file, write_manifest, write_weights,
};
use candle_core::Device;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use rand_distr::{Distribution, StandardNormal};
use std::path::Path;

/// Items of a batch that are computed together on a CPU.
pub const ITEMS_TOGETHER: usize = 4;

/// Where a training of a denoiser reads and writes, and how it runs.
#[derive(Debug, Clone)]
pub struct Denoising<'a> {
    /// Folder of scene folders.
    pub scenes: &'a Path,
    /// Model folder.
    pub out: &'a Path,
    /// A finished model to start from; its autoencoders or field are taken over unchanged.
    pub from: Option<&'a Path>,
    /// Train thin matrices of this rank beside the weights instead of the weights (LoRA).
    pub low_rank: Option<usize>,
    /// Where to compute.
    pub device: &'a Device,
    /// Resume, checkpoints, validation.
    pub options: &'a Options,
}

/// Trains the denoiser on what lies in `out` (autoencoders or a field) or comes with `from`, and completes the model
/// folder. Only a finished training leaves a manifest there, so a folder with one is a whole model.
///
/// Every `validate_every` steps the model as it is then lies in `out/snapshot`, and `look` is told the folder and step.
///
/// # Errors
/// When an autoencoder or the field is missing, `from` does not fit, the loss is not finite, or files cannot be written.
pub fn train_denoiser(
    recipe: &Recipe,
    table: &ModalityTable,
    place: &Denoising,
    look: &mut dyn FnMut(&Path, u64) -> Result<()>,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    if place.low_rank.is_some() && place.from.is_none() {
        return Err(Error::request("Low-rank training needs a finished model to start from: say which with --from."));
    }
    let start = match place.from {
        None => Start::fresh(recipe, table, place.out, place.device)?,
        Some(from) => Start::from_model(recipe, from, place.out, place.device)?,
    };
    let Start { table, sizes, autoencoders, field, latents, weights, base } = start;
    let manifest = Manifest {
        name: recipe.name.clone(),
        description: recipe.description.clone(),
        licence: recipe.licence.clone(),
        attribution: match &base {
            None => recipe.attribution.clone(),
            Some(base) => format!("{}; trained further from {}", recipe.attribution, base.credit),
        },
        modalities: table.clone(),
        denoiser: sizes.clone(),
        // Known only at the end.
        denoiser_weights: crate::model::WeightFile { file: DENOISER_FILE.into(), sha256: String::new() },
        autoencoders,
        field,
        origin: None,
    };
    let base = base.map_or_else(String::new, |base| base.sha256);
    let fingerprint = fingerprint(recipe, &manifest, place, &base)?;
    let mut parameters = Trainable::new(recipe.seed, weights, place.device);
    if let Some(rank) = place.low_rank {
        parameters = parameters.with_low_rank(rank.max(1));
    }
    let optimiser = &recipe.denoiser.optimiser;
    let training = Training {
        what: "denoiser",
        out: place.out,
        recipe: optimiser,
        fingerprint: &fingerprint,
        options: place.options,
    };
    progress(&Progress::Remark("reading the windows to train on".into()))?;
    let mut snapshot = |optimiser: &Optimiser| -> Result<()> {
        let dir = place.out.join("snapshot");
        save(&dir, Some(place.out), &manifest, optimiser)?;
        look(&dir, optimiser.steps_done())
    };
    let trained = match &latents {
        Latents::Autoencoders(autoencoders) => {
            let denoiser = Denoiser::new(&table, &sizes, &mut parameters, place.device)?;
            let task = TokenTask::new(recipe, denoiser, autoencoders, place.scenes, place.out, &fingerprint)?;
            run(training, parameters, &task, &mut snapshot, progress)?
        }
        Latents::Field(statistics) => {
            let denoiser = FieldDenoiser::new(&table, &sizes, statistics.clone(), &mut parameters, place.device)?;
            let task = FieldTask::new(recipe, &table, denoiser, place.scenes)?;
            run(training, parameters, &task, &mut snapshot, progress)?
        }
    };
    save(place.out, None, &manifest, &trained)
}

/// Writes a whole model folder. What the denoiser works on is copied from `parts` unless it lies there already.
fn save(dir: &Path, parts: Option<&Path>, manifest: &Manifest, optimiser: &Optimiser) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
    // Without a manifest the folder is no model; so it is never one whose parts do not fit together.
    let path = dir.join(MANIFEST_FILE);
    absent(std::fs::remove_file(&path)).map_err(|e| Error::io(&path, "replace", &e))?;
    for file in manifest.autoencoders.values().map(|a| &a.weights).chain(&manifest.field) {
        if let Some(parts) = parts {
            let to = dir.join(&file.file);
            std::fs::copy(parts.join(&file.file), &to).map_err(|e| Error::io(&to, "write", &e))?;
        }
    }
    write_weights(&dir.join(DENOISER_FILE), &optimiser.averaged()?, true)?;
    write_manifest(dir, &Manifest { denoiser_weights: weight_file(dir, DENOISER_FILE)?, ..manifest.clone() })
}

/// Names what a checkpoint belongs to: the recipe, the scenes, what the training starts from, and how.
fn fingerprint(recipe: &Recipe, manifest: &Manifest, place: &Denoising, base: &str) -> Result<String> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(format!("{recipe:?}"));
    hash.update(serde_json::to_string(manifest).unwrap_or_default());
    hash.update(format!("{base} {:?}", place.low_rank));
    let entries = std::fs::read_dir(place.scenes).map_err(|e| Error::io(place.scenes, "read", &e))?;
    let mut scenes: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    scenes.sort();
    hash.update(format!("{scenes:?}"));
    Ok(hex(&hash.finalize()))
}

/// What one item of a batch is made of, drawn before the parts of the batch are computed side by side.
#[derive(Debug, Clone)]
pub struct Item {
    /// Which cached window.
    pub window: usize,
    /// Which of the eight flips and quarter turns.
    pub turn: usize,
    /// By modality.
    pub states: Vec<State>,
    /// Seed of the item's noise.
    pub seed: u64,
}

/// How a modality enters the network.
#[derive(Debug, Clone, Copy)]
pub enum State {
    /// Pure noise at time 1000, no loss: absent or withheld.
    Absent,
    /// Clean at time 0, no loss: as a condition.
    Given,
    /// Noised to this step of 1…1000.
    Noised(usize),
}

/// The items of one step; `present(window, modality)` says what the windows hold.
pub fn draw_items(
    table: &ModalityTable,
    windows: usize,
    present: &dyn Fn(usize, usize) -> bool,
    settings: &DenoiserRecipe,
    generator: &mut ChaCha12Rng,
) -> Vec<Item> {
    let mut item = || {
        let window = below(generator, windows);
        let central = uniform(generator) < settings.central_times;
        let time = |generator: &mut ChaCha12Rng| {
            if !central {
                return 1 + below(generator, TRAIN_STEPS);
            }
            let normal: f64 = StandardNormal.sample(generator);
            ((TRAIN_STEPS as f64 / (1.0 + (-normal).exp())) as usize).clamp(1, TRAIN_STEPS)
        };
        let shared = (uniform(generator) < settings.shared_time).then(|| time(generator));
        // From nothing given to nearly everything; groups of one product mostly share their part, as in use.
        let given = 2.0 * settings.given * uniform(generator);
        let by_family = uniform(generator) < settings.by_family;
        let mut states: Vec<State> = Vec::new();
        for (k, m) in table.iter().enumerate() {
            let n = shared.unwrap_or_else(|| time(generator));
            let withheld =
                if m.is_scalar() { settings.scalars_withheld.max(settings.withheld) } else { settings.withheld };
            let chances = [uniform(generator) < withheld, uniform(generator) < given];
            let relative = (0..k).filter(|_| by_family).find(|&o| table[o].family == m.family && present(window, o));
            states.push(match (present(window, k), relative, chances) {
                (false, ..) => State::Absent,
                (true, Some(relative), _) => match states[relative] {
                    State::Noised(_) => State::Noised(n),
                    other => other,
                },
                (true, None, [true, _]) => State::Absent,
                (true, None, [false, true]) => State::Given,
                (true, None, [false, false]) => State::Noised(n),
            });
        }
        Item { window, turn: below(generator, 8), states, seed: generator.next_u64() }
    };
    let o = &settings.optimiser;
    (0..o.batch * o.accumulation).map(|_| item()).collect()
}
