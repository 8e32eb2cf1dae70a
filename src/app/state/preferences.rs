//! What a person has chosen of the window itself, kept for the next start.

use crate::error::Result;
use crate::files::write_atomically;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The choices, and the file they are kept in, if any.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Preferences {
    #[serde(skip)]
    file: Option<PathBuf>,
    /// Whether the network is switched off.
    pub offline: bool,
    /// Whether the colours are light.
    pub light: bool,
}

impl Preferences {
    /// Reads what is kept in a session's folder; a damaged file is as none.
    pub(crate) fn open(session: Option<&Path>) -> Self {
        let file = session.map(|dir| dir.join("window.json"));
        let text = file.as_ref().and_then(|file| crate::files::read_text(file).ok());
        let preferences: Self = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self { file, ..preferences }
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        write_atomically(file, serde_json::json!(self).to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_survives_and_damage_is_as_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        let first = Preferences::open(Some(dir.path()));
        assert!(!first.offline && !first.light);
        let chosen = Preferences { offline: true, light: true, ..first };
        chosen.write().expect("written");
        assert_eq!(Preferences::open(Some(dir.path())), chosen);
        std::fs::write(dir.path().join("window.json"), "{\"offline\": true").expect("damage");
        assert!(!Preferences::open(Some(dir.path())).offline);
        Preferences::open(None).write().expect("nothing to do");
    }
}
