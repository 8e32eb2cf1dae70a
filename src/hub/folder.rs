//! The folder of one model while it is installed, changed or removed: its lock, and a record of which parts are finished.

use super::catalog::{Entry, Part};
use crate::error::{Error, Result};
use crate::files::{LOCK_FILE, LONGEST_TEXT, absent, is_unfinished, lock_folder, read, write_atomically};
use crate::modality::ModalityTable;
use crate::model::{AutoencoderEntry, DENOISER_FILE, DenoiserSizes, MANIFEST_FILE, Manifest, Published, WeightFile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

/// Names the parts of an installation that are finished, until all are.
const RECORD_FILE: &str = "installing.json";
/// Exists while the user does not want the installation to go on at the next start.
const PAUSED_FILE: &str = "paused";
/// Names that this program gives to weights of models without autoencoders; the first is one that version 0.1.0 gave.
const FILES_OF_CASCADES: [&str; 7] = [
    "field.safetensors",
    "coarse.safetensors",
    "refiner.safetensors",
    "drawing.safetensors",
    "statistics.safetensors",
    "exemplars.safetensors",
    "first_guess.safetensors",
];
/// Where published files lie until they are converted.
const DOWNLOADS: &str = "download";

/// Which parts of an installation are finished.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Whether weights are converted to half precision.
    pub half: bool,
    /// Names of the modalities whose autoencoders are wanted; all if none are named.
    pub wanted: Option<Vec<String>>,
    /// In the order of the denoiser.
    pub table: Option<ModalityTable>,
    /// The denoiser.
    pub denoiser: Option<(DenoiserSizes, WeightFile)>,
    /// By modality key.
    pub autoencoders: BTreeMap<String, AutoencoderEntry>,
    /// By file of the folder.
    pub published: BTreeMap<PathBuf, Published>,
}

impl Record {
    /// Of an installation that was begun; `None` if there is none.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        // One that cannot be read is worth nothing: the work is done again.
        serde_json::from_slice(&read(&dir.join(RECORD_FILE), LONGEST_TEXT).ok()?).ok()
    }

    /// Of a model that is installed.
    pub(super) fn of(manifest: Manifest) -> Self {
        let origin = manifest.origin.unwrap_or_default();
        Self {
            half: origin.half,
            wanted: None,
            table: Some(manifest.modalities),
            denoiser: manifest.denoiser.map(|sizes| (sizes, manifest.denoiser_weights)),
            autoencoders: manifest.autoencoders,
            published: origin.published,
        }
    }

    /// Writes it into the folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(RECORD_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::file(&path, e.to_string()))?;
        write_atomically(&path, &text)
    }

    /// Whether a part is finished.
    pub(super) fn holds(&self, dir: &Path, entry: &Entry, part: &Part) -> bool {
        let here = |file: &WeightFile| dir.join(&file.file).is_file();
        if part.modalities.is_empty() {
            return self.denoiser.as_ref().is_some_and(|(_, file)| here(file));
        }
        let of = |name: &String| self.autoencoders.get(&entry.modalities.iter().find(|m| m.name == *name)?.key);
        part.modalities.iter().all(|name| of(name).is_some_and(|own| here(&own.weights)))
    }
}

/// The record of an installation that was begun and should go on at the next start; `None` if there is none.
pub(super) fn unfinished_installation(dir: &Path) -> Option<Record> {
    Record::read(dir).filter(|_| !dir.join(PAUSED_FILE).exists())
}

/// Keeps an installation that is stopped from going on by itself at the next start.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn pause(dir: &Path) -> Result<()> {
    if dir.join(RECORD_FILE).exists() { write_atomically(&dir.join(PAUSED_FILE), b"") } else { Ok(()) }
}

/// The folder of a model, locked against other programs.
pub(super) struct LockedFolder {
    /// Where it is.
    pub dir: PathBuf,
    _lock: File,
}

impl LockedFolder {
    /// Locks the folder; it is made if it is not there.
    ///
    /// # Errors
    /// When another program works on it, or it cannot be written.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let busy = "This model is being fetched, trained or changed already, here or by another program; wait until that has ended";
        Ok(Self { dir: dir.to_path_buf(), _lock: lock_folder(dir, busy)? })
    }

    /// Where a published file lies until it is converted.
    pub(super) fn download(&self, file: &str, published: &str) -> PathBuf {
        let ending = Path::new(published).extension().and_then(|e| e.to_str()).unwrap_or("pth");
        self.dir.join(DOWNLOADS).join(Path::new(file).with_extension(ending))
    }

    /// Removes files that a killed program left half written, and the mark that the installation is paused.
    pub(super) fn remove_leftovers(&self) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        // Nobody else writes here while the folder is locked. Earlier versions wrote under names that begin with ".tmp".
        let unfinished = |path: &PathBuf| {
            is_unfinished(path) || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".tmp"))
        };
        for path in entries.map(|entry| entry.path()).filter(unfinished) {
            let _ = std::fs::remove_file(path);
        }
        let _ = std::fs::remove_file(self.dir.join(PAUSED_FILE));
    }

    /// Removes the folder if nothing lies in it but its lock.
    pub(super) fn remove_if_empty(&self) {
        let lock = |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == LOCK_FILE);
        if std::fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.all(lock)) {
            let _ = std::fs::remove_file(self.dir.join(LOCK_FILE));
            let _ = std::fs::remove_dir(&self.dir);
        }
    }

    /// Removes everything but the finished model.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(super) fn finish(&self) -> Result<()> {
        let downloads = self.dir.join(DOWNLOADS);
        if downloads.exists() {
            std::fs::remove_dir_all(&downloads).map_err(|e| Error::io(&downloads, "remove", &e))?;
        }
        remove(&self.dir.join(RECORD_FILE))?;
        remove(&self.dir.join(PAUSED_FILE))
    }

    /// Weights by the names this program gives them, where no manifest tells.
    fn weights(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name()).filter(|name| {
            let name = name.to_string_lossy();
            name == DENOISER_FILE
                || FILES_OF_CASCADES.contains(&&*name)
                || (name.starts_with("autoencoder") && name.ends_with(".safetensors"))
        });
        names.map(PathBuf::from).collect()
    }

    /// Removes the model: the manifest first, so that half a model is never taken for one; what this program did not put
    /// there stays.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(super) fn remove(self) -> Result<()> {
        let manifest = Manifest::open(&self.dir).ok();
        let mut files = match &manifest {
            Some(manifest) => manifest.files().into_keys().map(Path::to_path_buf).collect(),
            None => self.weights(),
        };
        for record in manifest.map(Record::of).into_iter().chain(Record::read(&self.dir)) {
            files.extend(record.denoiser.map(|(_, file)| file.file));
            files.extend(record.autoencoders.into_values().map(|entry| entry.weights.file));
        }
        remove(&self.dir.join(MANIFEST_FILE))?;
        self.remove_leftovers();
        // The record is a file like any other: what it names elsewhere is not ours.
        let own = |file: &&PathBuf| file.components().all(|part| matches!(part, Component::Normal(_)));
        let own = files.iter().filter(own).map(|file| self.dir.join(file)).filter(|path| !path.is_dir());
        own.into_iter().try_for_each(|path| remove(&path))?;
        self.finish()?;
        remove(&self.dir.join(LOCK_FILE))?;
        // Another file may lie there.
        let _ = std::fs::remove_dir(&self.dir);
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    absent(std::fs::remove_file(path)).map_err(|e| Error::io(path, "remove", &e))
}
