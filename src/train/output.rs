//! The folder that a training writes to.

use crate::error::{Error, Result};
use crate::files::lock_folder;
use crate::model::MANIFEST_FILE;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A model folder that no other training writes to meanwhile.
pub struct OutputFolder {
    dir: PathBuf,
    /// Held as long as the training goes on.
    _lock: File,
}

impl OutputFolder {
    /// Makes the folder if it is not there, and locks it.
    ///
    /// # Errors
    /// When another training writes to it, or it cannot be written.
    pub fn open(dir: &Path) -> Result<Self> {
        let busy = "Another training writes to this folder; wait until it has ended, or name another folder with --out";
        Ok(Self { dir: dir.to_path_buf(), _lock: lock_folder(dir, busy)? })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Parts of a finished model must not change under it.
    ///
    /// # Errors
    /// When there is one in this folder.
    pub fn refuse_finished(&self) -> Result<()> {
        if self.dir.join(MANIFEST_FILE).exists() {
            return Err(Error::file(&self.dir, "There is a finished model in this folder; choose another one"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_training_is_refused_until_the_first_has_ended() {
        let dir = tempfile::tempdir().expect("folder");
        let out = dir.path().join("model");
        let first = OutputFolder::open(&out).expect("opened");
        let problem = OutputFolder::open(&out).err().expect("refused").to_string();
        assert!(problem.contains("Another training writes to this folder"), "{problem}");
        OutputFolder::open(&dir.path().join("other")).expect("another folder");
        drop(first);
        OutputFolder::open(&out).expect("free again");
    }
}
