//! Which model made something.

use super::Manifest;
use serde::{Deserialize, Serialize};

/// A model in one of its states: two are the same exactly when their hashes are. The rest is what files say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// SHA-256 of its manifest, which holds those of all files.
    pub sha256: String,
    /// What it is called.
    pub name: String,
    /// Licence of its weights.
    pub licence: String,
    /// Who is to be named.
    pub attribution: String,
}

impl ModelIdentity {
    /// Of a manifest with this hash.
    pub fn of(manifest: &Manifest, sha256: &str) -> Self {
        Self {
            sha256: sha256.to_owned(),
            name: manifest.name.clone(),
            licence: manifest.licence.clone(),
            attribution: manifest.attribution.clone(),
        }
    }

    /// Whether it is this model in this state.
    pub fn is(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}
