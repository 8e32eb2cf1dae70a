//! Training of a cascade: the coarse network, then the refiner, and the model folder they end in.

use super::Progress;
use super::cell_moments::cell_statistics;
use super::coarse::{CachedWindows, CoarseTask, standards};
use super::denoiser::{Denoising, fingerprint_of};
use super::exemplars::write_exemplars;
use super::first_guess::FirstGuessTask;
use super::judge::{Judge, PREFIX as JUDGE};
use super::output::OutputFolder;
use super::parameters::{Optimiser, Trainable};
use super::recipe::{CascadeRecipe, OptimiserRecipe, Recipe};
use super::refiner::RefinerTask;
use super::steps::{Task, Training, run};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::ModalityTable;
use crate::model::cascade::{CascadeEntry, Cells, Coarse, FirstGuess, Mixture, Refiner, Standard};
use crate::model::{
    LoadedWeights, MANIFEST_FILE, Manifest, TensorData, WeightFile, read_weights, weight_file, write_manifest,
    write_weights,
};
use candle_core::Device;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// File of the coarse network in a folder that is trained into.
const COARSE_FILE: &str = "coarse.safetensors";

/// File of the refiner, and of the judge it was trained against, in a folder that is trained into.
const REFINER_FILE: &str = "refiner.safetensors";

/// File of the first guess in a folder that is trained into, and in a model.
const FIRST_GUESS_FILE: &str = "first_guess.safetensors";

/// File of the statistics of cells, in a folder that is trained into.
const STATISTICS_FILE: &str = "statistics.safetensors";

/// File of what standardises each modality, by key, in a folder that is trained into.
const STANDARDS_FILE: &str = "standards.json";

fn sizes(recipe: &Recipe) -> Result<&CascadeRecipe> {
    recipe.cascade.as_ref().ok_or_else(|| Error::request("The recipe has no [cascade]."))
}

/// Trains the coarse network, and leaves it with what standardises images in the output folder.
///
/// # Errors
/// When `from` does not fit, scenes cannot be read, the loss is not finite, or files cannot be written.
pub fn train_coarse(
    recipe: &Recipe,
    table: &ModalityTable,
    place: &Denoising,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    let sizes = sizes(recipe)?;
    let out = place.out.dir();
    let windows = read_windows(recipe, table, place, progress)?;
    let cells = Cells::new(table)?;
    let (start, standards, statistics) = match place.from {
        None => {
            let standards = standards(&windows, &cells)?;
            let statistics = cell_statistics(&windows, &cells, &standards)?;
            (BTreeMap::new(), standards, statistics)
        }
        Some(from) => {
            let Begun { standards, weights, statistics } = begun(from, COARSE_FILE, table, place.device)?;
            let statistics = match statistics {
                Some((path, sha256)) => Mixture::open(&path, sha256.as_deref(), cells.side, cells.channels)?,
                None => cell_statistics(&windows, &cells, &standards)?,
            };
            (weights, standards, statistics)
        }
    };
    write_standards(out, table, &standards)?;
    write_weights(&out.join(STATISTICS_FILE), &statistics.tensors(), false)?;
    let optimiser = &recipe.denoiser.optimiser;
    let mut parameters = Trainable::new(recipe.seed, start, place.device).with_precision(optimiser.precision);
    let network = Coarse::new(table, &sizes.coarse, statistics, &mut parameters, place.device)?;
    let task = CoarseTask::new(windows, network, standards.clone());
    train_network("coarse", (recipe, optimiser), place, &standards, parameters, &task, progress)
}

/// Trains the refiner, and leaves it in the output folder. It needs no trained coarse network, only what standardises
/// images: that of `from`, or else of the output folder.
///
/// # Errors
/// When standards are missing, `from` does not fit, scenes cannot be read, the loss is not finite, or files cannot be
/// written.
pub fn train_refiner(
    recipe: &Recipe,
    table: &ModalityTable,
    place: &Denoising,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    let settings = &sizes(recipe)?.refiner;
    let Begun { standards, weights, .. } = standards_and_weights(REFINER_FILE, table, place)?;
    let windows = read_windows(recipe, table, place, progress)?;
    let optimiser = &settings.optimiser;
    let mut parameters = Trainable::new(recipe.seed, weights, place.device).with_precision(optimiser.precision);
    let network = Refiner::new(table, &settings.sizes, &mut parameters, place.device)?;
    let [fine, half] = RefinerTask::judged_channels(&network);
    let judge = Judge::new(fine, half, settings.judge_width, &mut parameters)?;
    let task = RefinerTask::new(windows, settings, network, judge, standards.clone());
    train_network("refiner", (recipe, optimiser), place, &standards, parameters, &task, progress)
}

/// Trains the regression that exemplars add to, and leaves it in the output folder. It needs what standardises images: that
/// of `from`, or else of the output folder.
///
/// # Errors
/// As [`train_refiner`].
pub fn train_first_guess(
    recipe: &Recipe,
    table: &ModalityTable,
    place: &Denoising,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    let settings = &sizes(recipe)?.first_guess;
    let Begun { standards, weights, .. } = standards_and_weights(FIRST_GUESS_FILE, table, place)?;
    let windows = read_windows(recipe, table, place, progress)?;
    let optimiser = &settings.optimiser;
    let mut parameters = Trainable::new(recipe.seed, weights, place.device).with_precision(optimiser.precision);
    let network = FirstGuess::new(table, settings.width, &mut parameters, place.device)?;
    let task = FirstGuessTask::new(windows, optimiser, network, standards.clone());
    train_network("first_guess", (recipe, optimiser), place, &standards, parameters, &task, progress)
}

/// What standardises images, of `from` or else of the output folder, where it is left; and the weights in this file of `from`.
fn standards_and_weights(file: &str, table: &ModalityTable, place: &Denoising) -> Result<Begun> {
    let out = place.out.dir();
    let begun = match place.from {
        None => Begun { standards: read_standards(out, table)?, weights: BTreeMap::new(), statistics: None },
        Some(from) => begun(from, file, table, place.device)?,
    };
    write_standards(out, table, &begun.standards)?;
    Ok(begun)
}

fn read_windows<'a>(
    recipe: &'a Recipe,
    table: &ModalityTable,
    place: &Denoising,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<CachedWindows<'a>> {
    progress(&Progress::Remark("reading the windows to train on".into()))?;
    CachedWindows::read(recipe, table, place.scenes)
}

/// Runs the training of a network of this name, whose averaged weights lie in the output folder whenever it was looked at.
fn train_network<T: Task>(
    what: &str,
    (recipe, optimiser): (&Recipe, &OptimiserRecipe),
    place: &Denoising,
    standards: &[Option<Standard>],
    parameters: Trainable,
    task: &T,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    let out = place.out.dir();
    let fingerprint = fingerprint_of(recipe, &format!("{what} {standards:?} {:?}", place.from), place.scenes)?;
    let training = Training { what, out, recipe: optimiser, fingerprint: &fingerprint, options: place.options };
    let save = |optimiser: &Optimiser| -> Result<()> {
        write_weights(&out.join(format!("{what}.safetensors")), &optimiser.averaged()?, true).map(drop)
    };
    let trained = run(training, parameters, task, &mut |optimiser, _| save(optimiser), progress)?;
    save(&trained)
}

/// Makes a model folder of the networks that were trained into `out`, and of exemplars of the scenes, if there are any; it
/// gets its manifest last.
///
/// # Errors
/// When a network is missing or does not fit, scenes cannot be read, or files cannot be written.
pub fn finish_cascade(
    recipe: &Recipe,
    table: &ModalityTable,
    scenes: Option<&Path>,
    out: &OutputFolder,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<()> {
    let sizes = sizes(recipe)?;
    let dir = out.dir();
    let standards = read_standards(dir, table)?;
    let exemplars = match scenes {
        None => None,
        Some(scenes) => {
            let file = "exemplars.safetensors";
            let (count, sha256) = write_exemplars(recipe, table, scenes, &standards, &dir.join(file))?;
            progress(&Progress::Remark(format!("{count} windows as exemplars")))?;
            Some(WeightFile { file: file.into(), sha256 })
        }
    };
    let standards = table.iter().zip(standards).filter_map(|(m, s)| Some((m.key.clone(), s?))).collect();
    let mut refiner = read_weights(&dir.join(REFINER_FILE))?;
    // The judge has done its work.
    refiner.retain(|name, _| !name.starts_with(JUDGE));
    let name = "drawing.safetensors";
    let refiner_weights = WeightFile { file: name.into(), sha256: write_weights(&dir.join(name), &refiner, true)? };
    let manifest = Manifest {
        name: recipe.name.clone(),
        description: recipe.description.clone(),
        licence: recipe.licence.clone(),
        attribution: recipe.attribution.clone(),
        modalities: table.clone(),
        denoiser: None,
        denoiser_weights: weight_file(dir, COARSE_FILE)?,
        autoencoders: BTreeMap::new(),
        cascade: Some(CascadeEntry {
            coarse: sizes.coarse.clone(),
            refiner: sizes.refiner.sizes.clone(),
            refiner_weights,
            statistics: weight_file(dir, STATISTICS_FILE)?,
            first_guess: dir.join(FIRST_GUESS_FILE).exists().then(|| weight_file(dir, FIRST_GUESS_FILE)).transpose()?,
            exemplars,
            standards,
        }),
        origin: None,
    };
    write_manifest(dir, &manifest)
}

fn write_standards(dir: &Path, table: &ModalityTable, standards: &[Option<Standard>]) -> Result<()> {
    let named: BTreeMap<&str, &Standard> =
        table.iter().zip(standards).filter_map(|(m, s)| Some((m.key.as_str(), s.as_ref()?))).collect();
    let path = dir.join(STANDARDS_FILE);
    let text = serde_json::to_string(&named).map_err(|e| Error::file(&path, e.to_string()))?;
    write_atomically(&path, text.as_bytes())
}

/// What a training goes on from: standards, and the weights of one network, of a folder that was trained into or of a
/// finished model (which has no judge any more: the next refiner gets a fresh one).
fn begun(from: &Path, file: &str, table: &ModalityTable, device: &Device) -> Result<Begun> {
    let open = |path: &Path, sha256: Option<&str>| -> Result<BTreeMap<String, TensorData>> {
        Ok(LoadedWeights::open(path, sha256, device)?.into_tensors())
    };
    if from.join(STANDARDS_FILE).exists() || !from.join(MANIFEST_FILE).exists() {
        return Ok(Begun {
            standards: read_standards(from, table)?,
            weights: open(&from.join(file), None)?,
            statistics: Some((from.join(STATISTICS_FILE), None)).filter(|(path, _)| path.exists()),
        });
    }
    let manifest = Manifest::open(from)?;
    let cascade = manifest.cascade.ok_or_else(|| Error::file(from, "This model is no cascade"))?;
    let own = match file {
        REFINER_FILE => Some(&cascade.refiner_weights),
        // A model that has none lends its standards.
        FIRST_GUESS_FILE => cascade.first_guess.as_ref(),
        _ => Some(&manifest.denoiser_weights),
    };
    let open = |own: &WeightFile| open(&from.join(&own.file), Some(&own.sha256));
    let weights = own.map(open).transpose()?.unwrap_or_default();
    let statistics = Some((from.join(cascade.statistics.file), Some(cascade.statistics.sha256)));
    Ok(Begun { standards: in_order(table, cascade.standards), weights, statistics })
}

struct Begun {
    standards: Vec<Option<Standard>>,
    weights: BTreeMap<String, TensorData>,
    /// The file of the cells' statistics, if there is one, and its hash, if that is known.
    statistics: Option<(PathBuf, Option<String>)>,
}

fn read_standards(dir: &Path, table: &ModalityTable) -> Result<Vec<Option<Standard>>> {
    let path = dir.join(STANDARDS_FILE);
    let text = crate::files::read_text(&path).map_err(|e| Error::io(&path, "read", &e))?;
    let named: BTreeMap<String, Standard> =
        serde_json::from_str(&text).map_err(|e| Error::file(&path, format!("These are no standards: {e}")))?;
    Ok(in_order(table, named))
}

/// Standards by key, in the order of the table.
fn in_order(table: &ModalityTable, mut named: BTreeMap<String, Standard>) -> Vec<Option<Standard>> {
    table.iter().map(|m| named.remove(&m.key)).collect()
}
