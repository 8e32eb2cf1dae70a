//! Checking and removing what is installed.

use super::folder::LockedFolder;
use super::library::Library;
use crate::error::{Error, Result};
use crate::model::{Manifest, sha256_of};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A file of a model, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Within the model folder.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// Compares the hash of every file of a model folder with what its manifest says.
///
/// # Errors
/// When the folder has no readable manifest, or [`Error::Cancelled`].
pub fn verify(dir: &Path, stop: &AtomicBool, progress: &mut dyn FnMut(&Path)) -> Result<Vec<Checked>> {
    let manifest = Manifest::open(dir)?;
    let check = |(file, expected): (&Path, &str)| {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        progress(file);
        let path = dir.join(file);
        let problem = match sha256_of(&path) {
            Ok(found) if found.eq_ignore_ascii_case(expected) => None,
            Ok(found) => Some(format!("damaged or changed: its sha256 is {found}, expected {expected}")),
            Err(error) => Some(error.to_string()),
        };
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        Ok(Checked { file: file.to_path_buf(), bytes, problem })
    };
    manifest.files().into_iter().map(check).collect()
}

/// Removes an installed model, or what was fetched of one.
///
/// # Errors
/// When it comes with the program, is not there, is being changed, or cannot be removed.
pub fn remove(library: &Library, id: &str) -> Result<()> {
    let known = library.catalogue.get(id);
    if known.is_some_and(|entry| entry.bundled.is_some()) {
        return Err(Error::request(format!("{id} comes with the program and is not removed.")));
    }
    // The name is joined to a path: it must lead to a folder in that of the models, and to none that is hidden.
    let plain = Path::new(id).components().eq([Component::Normal(id.as_ref())]) && !id.starts_with('.');
    let dir = library.dir.join(id);
    if !plain || !dir.is_dir() {
        return Err(Error::request(format!("There is no installed model \"{id}\" in {}.", library.dir.display())));
    }
    LockedFolder::new(&dir)?.remove()
}
