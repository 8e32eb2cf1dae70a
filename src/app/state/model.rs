//! The model in use.

use crate::error::Result;
use crate::model::{MANIFEST_FILE, Manifest, ModelIdentity, sha256_of};
use std::path::PathBuf;

/// The model in use, as far as the window needs it; the worker loads the weights.
#[derive(Debug)]
pub struct LoadedModel {
    /// Its folder.
    pub dir: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// SHA-256 of the manifest.
    pub sha256: String,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
}

impl LoadedModel {
    /// Reads a model folder's manifest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(dir: PathBuf) -> Result<Self> {
        let manifest = Manifest::open(&dir)?;
        let sha256 = sha256_of(&dir.join(MANIFEST_FILE))?;
        let weight_bytes = manifest.weight_bytes(&dir);
        Ok(Self { dir, manifest, sha256, weight_bytes })
    }

    /// What its runs are made by.
    pub fn identity(&self) -> ModelIdentity {
        ModelIdentity::of(&self.manifest, &self.sha256)
    }
}
