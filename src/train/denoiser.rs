//! Training of a denoiser from its beginning or from a finished model, and the model folder it ends in.

use super::Progress;
use super::output::OutputFolder;
use super::parameters::{Optimiser, Trainable};
use super::recipe::Recipe;
use super::start::Start;
use super::steps::{Options, Seen, Training, run};
use super::token_denoiser::TokenTask;
use crate::error::{Error, Result};
use crate::files::{absent, hex};
use crate::modality::ModalityTable;
use crate::model::{DENOISER_FILE, Denoiser, MANIFEST_FILE, Manifest, WeightFile, write_manifest, write_weights};
use candle_core::Device;
use std::path::Path;

/// Where a training of a denoiser reads and writes, and how it runs.
pub struct Denoising<'a> {
    /// Folder of scene folders.
    pub scenes: &'a Path,
    /// Model folder.
    pub out: &'a OutputFolder,
    /// A finished model to start from; its autoencoders are taken over unchanged.
    pub from: Option<&'a Path>,
    /// Train thin matrices of this rank beside the weights instead of the weights (LoRA).
    pub low_rank: Option<usize>,
    /// Where to compute.
    pub device: &'a Device,
    /// Resume, checkpoints, validation.
    pub options: &'a Options,
}

/// Trains the denoiser on autoencoders that lie in `out` or come with `from`, and completes the model
/// folder. Only a finished training leaves a manifest there, so a folder with one is a whole model.
///
/// Every `validate_every` steps the model as it is then lies in `out/snapshot`, and `look` gets the folder, the step, and
/// whether it may have seen that step already: a training that goes on from a checkpoint shows the checkpoint's step once
/// more, since it may have been killed before `look` had ended.
///
/// # Errors
/// When an autoencoder is missing, `from` does not fit, the loss is not finite, or files cannot be written.
pub fn train_denoiser(
    recipe: &Recipe,
    table: &ModalityTable,
    place: &Denoising,
    look: &mut dyn FnMut(&Path, u64, Seen) -> Result<()>,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    if place.low_rank.is_some() && place.from.is_none() {
        return Err(Error::request("Low-rank training needs a finished model to start from: say which with --from."));
    }
    let start = match place.from {
        None => Start::fresh(recipe, table, place.out.dir(), place.device)?,
        Some(from) => Start::from_model(from, place.out.dir(), place.device)?,
    };
    let Start { table, sizes, autoencoders, loaded, weights, base } = start;
    let manifest = Manifest {
        name: recipe.name.clone(),
        description: recipe.description.clone(),
        licence: recipe.licence.clone(),
        attribution: match &base {
            None => recipe.attribution.clone(),
            Some(base) => format!("{}; trained further from {}", recipe.attribution, base.credit),
        },
        modalities: table.clone(),
        denoiser: Some(sizes.clone()),
        // Known only at the end.
        denoiser_weights: WeightFile { file: DENOISER_FILE.into(), sha256: String::new() },
        autoencoders,
        cascade: None,
        origin: None,
    };
    let base = base.map_or_else(String::new, |base| base.sha256);
    let fingerprint = fingerprint(recipe, &manifest, place, &base)?;
    let precision = recipe.denoiser.optimiser.precision;
    let mut parameters = Trainable::new(recipe.seed, weights, place.device).with_precision(precision);
    if let Some(rank) = place.low_rank {
        parameters = parameters.with_low_rank(rank.max(1));
    }
    let optimiser = &recipe.denoiser.optimiser;
    let training = Training {
        what: "denoiser",
        out: place.out.dir(),
        recipe: optimiser,
        fingerprint: &fingerprint,
        options: place.options,
    };
    progress(&Progress::Remark("reading the windows to train on".into()))?;
    let mut snapshot = |optimiser: &Optimiser, seen: Seen| -> Result<()> {
        let dir = place.out.dir().join("snapshot");
        save(&dir, Some(place.out.dir()), &manifest, optimiser)?;
        look(&dir, optimiser.steps_done(), seen)
    };
    let denoiser = Denoiser::new(&table, &sizes, &mut parameters, place.device)?;
    let task = TokenTask::new(recipe, denoiser, &loaded, place.scenes, place.out.dir(), &fingerprint)?;
    let trained = run(training, parameters, &task, &mut snapshot, progress)?;
    save(place.out.dir(), None, &manifest, &trained)
}

/// Writes a whole model folder. What the denoiser works on is copied from `parts` unless it lies there already.
fn save(dir: &Path, parts: Option<&Path>, manifest: &Manifest, optimiser: &Optimiser) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
    // Without a manifest the folder is no model; so it is never one whose parts do not fit together.
    let path = dir.join(MANIFEST_FILE);
    absent(std::fs::remove_file(&path)).map_err(|e| Error::io(&path, "replace", &e))?;
    for file in manifest.autoencoders.values().map(|a| &a.weights) {
        if let Some(parts) = parts {
            let to = dir.join(&file.file);
            std::fs::copy(parts.join(&file.file), &to).map_err(|e| Error::io(&to, "write", &e))?;
        }
    }
    let sha256 = write_weights(&dir.join(DENOISER_FILE), &optimiser.averaged()?, true)?;
    let denoiser_weights = WeightFile { file: DENOISER_FILE.into(), sha256 };
    write_manifest(dir, &Manifest { denoiser_weights, ..manifest.clone() })
}

/// Names what a checkpoint belongs to: the recipe, the scenes, what the training starts from, and how.
fn fingerprint(recipe: &Recipe, manifest: &Manifest, place: &Denoising, base: &str) -> Result<String> {
    let manifest = serde_json::to_string(manifest).unwrap_or_default();
    fingerprint_of(recipe, &format!("{manifest}{base} {:?}", place.low_rank), place.scenes)
}

/// The same of a recipe, of a text that tells what else it depends on, and of the names of the scenes.
pub(super) fn fingerprint_of(recipe: &Recipe, rest: &str, scenes: &Path) -> Result<String> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(format!("{recipe:?}{rest}"));
    let entries = std::fs::read_dir(scenes).map_err(|e| Error::io(scenes, "read", &e))?;
    let mut scenes: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    scenes.sort();
    hash.update(format!("{scenes:?}"));
    Ok(hex(&hash.finalize()))
}
