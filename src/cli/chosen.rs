//! Which model a command samples from, and what on.

use crate::error::Result;
use crate::files::bundled;
use crate::hub::model_folder;
use crate::model::{Computing, DeviceChoice, Precision};
use std::path::{Path, PathBuf};

/// The model and what it is computed on.
#[derive(Debug, clap::Args)]
pub(super) struct ChosenModel {
    /// Model: a folder, or a name of "copgen models list"; the bundled demonstration model if left out.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Where to compute: auto (a graphics adapter if there is a true one, else the CPU), cpu, gpu (any graphics adapter),
    /// cuda or metal (those need a build with that feature).
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// How weights are held and multiplied: bf16, i16 or i8 on the CPU, f16 on a gpu, f32 on any.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

impl ChosenModel {
    /// Its folder.
    ///
    /// # Errors
    /// When no model is called that.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        folder_or_bundled(self.model.as_deref())
    }

    /// What it is computed on.
    pub(super) fn computing(&self) -> Computing {
        Computing { device: self.device, precision: self.precision }
    }
}

/// The folder of a model, or that of the bundled one.
///
/// # Errors
/// When no model is called that.
pub(super) fn folder_or_bundled(model: Option<&Path>) -> Result<PathBuf> {
    model.map_or_else(|| bundled("models/demo"), model_folder)
}
