//! Checkpoints: everything a training needs to go on as if it had never stopped, in one file written at once.

use super::parameters::Optimiser;
use crate::error::{Error, Result};
use crate::model::{TensorData, write_tensors};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// Where the checkpoint of a training lies.
pub fn checkpoint_file(out: &Path, what: &str) -> PathBuf {
    out.join(format!("{what}_checkpoint.safetensors"))
}

/// Writes weights, their moving averages and the optimiser's state. `fingerprint` names the recipe they belong to.
///
/// # Errors
/// When the file cannot be written; the one before it is kept then.
pub fn write_checkpoint(path: &Path, optimiser: &Optimiser, fingerprint: &str) -> Result<()> {
    let state = optimiser.state().map(|(name, shape, values)| (name, TensorData::new(shape, values))).collect();
    let notes = [("step", optimiser.steps_done().to_string()), ("recipe", fingerprint.to_owned())];
    let notes = notes.map(|(key, value)| (key.to_owned(), value));
    write_tensors(path, &state, Some(notes.into()))
}

/// Continues from a checkpoint.
///
/// # Errors
/// When it is missing, damaged, or belongs to another recipe.
pub fn read_checkpoint(path: &Path, optimiser: &mut Optimiser, fingerprint: &str) -> Result<()> {
    let bytes = crate::files::read(path, u64::MAX).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::file(path, "There is no checkpoint to resume from; start without --resume")
        }
        _ => Error::io(path, "read", &e),
    })?;
    let bad = |what: &str| Error::file(path, format!("This checkpoint cannot be used: {what}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(&e.to_string()))?;
    let note = |key: &str| header.metadata().as_ref().and_then(|m| m.get(key).cloned());
    if note("recipe").as_deref() != Some(fingerprint) {
        return Err(bad("it belongs to another recipe or start; resume with those it began with, or start anew"));
    }
    let step = note("step").and_then(|s| s.parse().ok()).ok_or_else(|| bad("it does not say at which step it is"))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(&e.to_string()))?;
    optimiser.restore(step, |name, length| {
        let view = file.tensor(name).map_err(|_| bad(&format!("it lacks {name}")))?;
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if values.len() == length { Ok(values) } else { Err(bad(&format!("{name} has the wrong size"))) }
    })
}
