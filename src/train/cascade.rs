//! Training of a cascade: the coarse network, then the refiner, and the model folder they end in.

use super::Progress;
use super::coarse::{CachedWindows, CoarseTask, standards};
use super::denoiser::{Denoising, fingerprint_of};
use super::parameters::Trainable;
use super::recipe::{CascadeRecipe, Recipe};
use super::steps::{Training, run};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::ModalityTable;
use crate::model::cascade::{Cells, Coarse, Standard};
use crate::model::{LoadedWeights, write_weights};
use std::collections::BTreeMap;

/// File of the coarse network in a folder that is trained into.
pub const COARSE_FILE: &str = "coarse.safetensors";

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
    progress(&Progress::Remark("reading the windows to train on".into()))?;
    let windows = CachedWindows::read(recipe, table, place.scenes)?;
    let (start, standards) = match place.from {
        None => (BTreeMap::new(), standards(&windows, &Cells::new(table)?)?),
        Some(from) => {
            let standards = read_standards(from, table)?;
            (LoadedWeights::open(&from.join(COARSE_FILE), None, place.device)?.into_tensors(), standards)
        }
    };
    write_standards(out, table, &standards)?;
    let optimiser = &recipe.denoiser.optimiser;
    let mut parameters = Trainable::new(recipe.seed, start, place.device).with_precision(optimiser.precision);
    let network = Coarse::new(table, &sizes.coarse, &mut parameters, place.device)?;
    let fingerprint = fingerprint_of(recipe, &format!("coarse {standards:?} {:?}", place.from), place.scenes)?;
    let training =
        Training { what: "coarse", out, recipe: optimiser, fingerprint: &fingerprint, options: place.options };
    let task = CoarseTask::new(windows, network, standards);
    let mut keep = |optimiser: &super::Optimiser, _| {
        write_weights(&out.join(COARSE_FILE), &optimiser.averaged()?, true).map(drop)
    };
    let trained = run(training, parameters, &task, &mut keep, progress)?;
    write_weights(&out.join(COARSE_FILE), &trained.averaged()?, true).map(drop)
}

fn write_standards(dir: &std::path::Path, table: &ModalityTable, standards: &[Option<Standard>]) -> Result<()> {
    let named: BTreeMap<&str, &Standard> =
        table.iter().zip(standards).filter_map(|(m, s)| Some((m.key.as_str(), s.as_ref()?))).collect();
    let path = dir.join(STANDARDS_FILE);
    let text = serde_json::to_string(&named).map_err(|e| Error::file(&path, e.to_string()))?;
    write_atomically(&path, text.as_bytes())
}

fn read_standards(dir: &std::path::Path, table: &ModalityTable) -> Result<Vec<Option<Standard>>> {
    let path = dir.join(STANDARDS_FILE);
    let text = crate::files::read_text(&path).map_err(|e| Error::io(&path, "read", &e))?;
    let mut named: BTreeMap<String, Standard> =
        serde_json::from_str(&text).map_err(|e| Error::file(&path, format!("These are no standards: {e}")))?;
    Ok(table.iter().map(|m| named.remove(&m.key)).collect())
}
