//! Folders that were opened or saved lately.

use crate::error::Result;
use crate::files::write_atomically;
use std::path::{Path, PathBuf};

/// As many are remembered.
const KEPT: usize = 10;

/// The list, newest first, and the file it is kept in, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    file: Option<PathBuf>,
    /// Folders.
    pub folders: Vec<PathBuf>,
}

impl Recent {
    /// Reads the list kept in a session's folder; a damaged one is an empty one.
    pub(crate) fn open(session: Option<&Path>) -> Self {
        let file = session.map(|dir| dir.join("recent.json"));
        let text = file.as_ref().and_then(|file| crate::files::read_text(file).ok());
        let folders = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self { file, folders }
    }

    /// Puts a folder at the head of the list; whether the list has to be written.
    pub(crate) fn add(&mut self, dir: &Path) -> bool {
        if self.folders.first().is_some_and(|first| first == dir) {
            return false;
        }
        self.folders.retain(|other| other != dir);
        self.folders.insert(0, dir.to_path_buf());
        self.folders.truncate(KEPT);
        self.file.is_some()
    }

    /// Writes the list.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        write_atomically(file, serde_json::json!(self.folders).to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_once_and_the_list_survives() {
        let dir = tempfile::tempdir().expect("folder");
        let mut recent = Recent::open(Some(dir.path()));
        for name in ["a", "b", "a", "c", "c"] {
            recent.add(Path::new(name));
        }
        assert_eq!(recent.folders, ["c", "a", "b"].map(PathBuf::from));
        for i in 0..40 {
            recent.add(Path::new(&i.to_string()));
        }
        assert_eq!(recent.folders.len(), KEPT);
        recent.write().expect("written");
        assert_eq!(Recent::open(Some(dir.path())).folders, recent.folders);
        std::fs::write(dir.path().join("recent.json"), "{").expect("damage");
        assert!(Recent::open(Some(dir.path())).folders.is_empty());
        assert!(!Recent::open(None).add(Path::new("a")));
    }
}
