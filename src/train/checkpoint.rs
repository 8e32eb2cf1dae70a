//! Checkpoints: everything a training needs to go on as if it had never stopped, in one file written at once.

use super::parameters::Optimiser;
use crate::error::{Error, Result};
use crate::model::{SafetensorsContent, TensorData, read_safetensors, write_tensors};
use std::path::{Path, PathBuf};

/// Where the checkpoint of a training lies.
pub fn checkpoint_file(out: &Path, what: &str) -> PathBuf {
    out.join(format!("{what}_checkpoint.safetensors"))
}

/// Writes weights, their moving averages and the optimiser's state. `fingerprint` names the recipe they belong to.
///
/// # Errors
/// When the file cannot be written; the one before it is kept then.
pub(super) fn write_checkpoint(path: &Path, optimiser: &Optimiser, fingerprint: &str) -> Result<()> {
    let state = optimiser.state().map(|(name, shape, values)| (name, TensorData::new(shape, values))).collect();
    let notes = [("step", optimiser.steps_done().to_string()), ("recipe", fingerprint.to_owned())];
    let notes = notes.map(|(key, value)| (key.to_owned(), value));
    write_tensors(path, &state, Some(notes.into())).map(drop)
}

/// Continues from a checkpoint.
///
/// # Errors
/// When it is missing, damaged, or belongs to another recipe.
pub(super) fn read_checkpoint(path: &Path, optimiser: &mut Optimiser, fingerprint: &str) -> Result<()> {
    if !path.exists() {
        return Err(Error::file(path, "There is no checkpoint to resume from; start without --resume"));
    }
    let SafetensorsContent { mut tensors, notes, .. } = read_safetensors(path)?;
    let bad = |what: &str| Error::file(path, format!("This checkpoint cannot be used: {what}"));
    if notes.get("recipe").map(String::as_str) != Some(fingerprint) {
        return Err(bad("it belongs to another recipe or start; resume with those it began with, or start anew"));
    }
    let step = notes.get("step").and_then(|s| s.parse().ok());
    let step = step.ok_or_else(|| bad("it does not say at which step it is"))?;
    optimiser.restore(step, |name, length| {
        let data = tensors.remove(name).ok_or_else(|| bad(&format!("it lacks {name}")))?;
        let values: Vec<f32> =
            data.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if values.len() == length { Ok(values) } else { Err(bad(&format!("{name} has the wrong size"))) }
    })
}
