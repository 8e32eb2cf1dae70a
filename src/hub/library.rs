//! What there is: the catalogue, and what of it is installed.

use super::catalog::{Catalogue, Entry};
use super::folder::{Record, pause, unfinished_installation};
use super::request::InstallRequest;
use crate::error::{Error, Result};
use crate::files::{UserFolder, bundled, folders, is_unfinished};
use crate::model::{MANIFEST_FILE, Manifest, about_memory};
use std::path::{Path, PathBuf};

/// Realisations computed together, for an estimate of the memory.
const BATCH: usize = 4;

/// The catalogue and the folder of installed models.
#[derive(Debug, Clone)]
pub struct Library {
    /// One folder per model.
    pub dir: PathBuf,
    /// What is known.
    pub catalogue: Catalogue,
}

/// How much of a model is here.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It comes with the program.
    Bundled,
    /// All of it.
    Installed,
    /// It can be used, without some autoencoders.
    Partly,
    /// Some of it; it cannot be used yet.
    Begun,
    /// Nothing.
    Absent,
    /// It cannot be read, and why.
    Broken(String),
}

/// A part of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedPart {
    /// What it is.
    pub title: String,
    /// Modalities that use it, by name; none for the denoiser.
    pub modalities: Vec<String>,
    /// Length of the published file: about, unless it was fetched.
    pub bytes: u64,
    /// Whether it is installed.
    pub here: bool,
}

/// A model as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Name on the command line.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Licence.
    pub licence: String,
    /// Where it stands.
    pub licence_url: Option<String>,
    /// What has to be said with it.
    pub attribution: String,
    /// Its page.
    pub homepage: Option<String>,
    /// Its folder, whether it is there or not.
    pub dir: PathBuf,
    /// How much is here.
    pub state: State,
    /// What can be fetched.
    pub parts: Vec<ListedPart>,
    /// Bytes of weights on disk.
    pub bytes: u64,
    /// Estimated bytes of memory that a run needs.
    pub memory_bytes: u64,
    /// Whether it is in half precision.
    pub half: bool,
    /// Whether it can be removed: something of it is here, and it does not come with the program.
    pub removable: bool,
    /// An installation that was interrupted and not stopped: it goes on at the next start of the window.
    pub unfinished: Option<InstallRequest>,
}

impl Listed {
    /// Whether it can be used.
    pub fn usable(&self) -> bool {
        matches!(self.state, State::Bundled | State::Installed | State::Partly)
    }

    /// Bytes of published files that are not here.
    pub fn missing_bytes(&self) -> u64 {
        self.parts.iter().filter(|part| !part.here).map(|part| part.bytes).sum()
    }
}

impl Library {
    /// That of the user: in `COPGEN_MODELS`, else in the user's data folder.
    ///
    /// # Errors
    /// When the system has no such folder, or the user's own catalogue there is none.
    pub fn open() -> Result<Self> {
        Self::at(Self::folder()?)
    }

    /// Where models are installed.
    ///
    /// # Errors
    /// When the system has no such folder.
    pub fn folder() -> Result<PathBuf> {
        UserFolder::Models.folder().ok_or_else(Self::nowhere)
    }

    /// That there is no folder for models.
    pub fn nowhere() -> Error {
        let variable = UserFolder::Models.variable();
        Error::request(format!("This system has no folder for models; name one with the variable {variable}."))
    }

    /// That of a folder.
    ///
    /// # Errors
    /// When the user's own catalogue in it is none.
    pub fn at(dir: PathBuf) -> Result<Self> {
        Ok(Self { catalogue: Catalogue::with_own(&dir)?, dir })
    }

    /// A model of the catalogue.
    ///
    /// # Errors
    /// When there is none of this name; the message lists what there is.
    pub fn entry(&self, id: &str) -> Result<&Entry> {
        self.catalogue.get(id).ok_or_else(|| {
            let known: Vec<&str> = self.catalogue.models.iter().map(|entry| entry.id.as_str()).collect();
            Error::request(format!("There is no model \"{id}\" in the catalogue. Known: {}.", known.join(", ")))
        })
    }

    /// All of the catalogue, then what else lies in the folder.
    pub fn list(&self) -> Vec<Listed> {
        let mut all: Vec<Listed> = self.catalogue.models.iter().map(|entry| self.listed(entry)).collect();
        for dir in folders(&self.dir).unwrap_or_default() {
            let id = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if self.catalogue.get(&id).is_none() && dir.join(MANIFEST_FILE).exists() && !is_unfinished(&dir) {
                all.push(match Manifest::open(&dir) {
                    Ok(manifest) => own(id, dir, &manifest),
                    Err(error) => broken(id, dir, &error),
                });
            }
        }
        all
    }

    fn listed(&self, entry: &Entry) -> Listed {
        let dir = match &entry.bundled {
            Some(name) => bundled(&name.to_string_lossy()).unwrap_or_else(|_| name.clone()),
            None => self.dir.join(&entry.id),
        };
        let manifest = match dir.join(MANIFEST_FILE).exists() || entry.bundled.is_some() {
            true => Some(Manifest::open(&dir)),
            false => None,
        };
        let begun = Record::read(&dir);
        let manifest_record = manifest.as_ref().and_then(|m| m.as_ref().ok()).cloned().map(Record::of);
        let records: Vec<&Record> = manifest_record.iter().chain(&begun).collect();
        let part = |part: &super::catalog::Part| {
            let mut published = records.iter().flat_map(|record| record.published.values());
            let fetched = published.rfind(|own| own.repository == part.repository && own.file == part.file);
            ListedPart {
                title: part.title(),
                modalities: part.modalities.clone(),
                bytes: fetched.map_or(part.about_bytes, |own| own.bytes),
                here: records.iter().any(|record| record.holds(&dir, entry, part)),
            }
        };
        let parts: Vec<ListedPart> = entry.parts().map(part).collect();
        let absent = |manifest: &Manifest| (0..manifest.modalities.len()).any(|i| manifest.is_absent(i));
        let state = match &manifest {
            Some(Err(error)) => State::Broken(error.to_string()),
            Some(Ok(_)) if entry.bundled.is_some() => State::Bundled,
            Some(Ok(manifest)) if absent(manifest) => State::Partly,
            Some(Ok(_)) => State::Installed,
            None if begun.is_some() => State::Begun,
            None => State::Absent,
        };
        let half = records.iter().any(|record| record.half);
        let removable = entry.bundled.is_none() && state != State::Absent;
        let (bytes, memory_bytes) = match &manifest {
            Some(Ok(manifest)) => sizes(manifest, &dir),
            _ => (0, about_memory(parts.iter().map(|part| part.bytes).sum())),
        };
        let unfinished = unfinished_installation(&dir).map(|record| InstallRequest {
            id: entry.id.clone(),
            modalities: record.wanted,
            half: record.half,
        });
        Listed {
            id: entry.id.clone(),
            name: entry.name.clone(),
            description: entry.description.clone(),
            licence: entry.licence.clone(),
            licence_url: entry.licence_url.clone(),
            attribution: entry.attribution.clone(),
            homepage: entry.homepage.clone(),
            dir,
            state,
            parts,
            bytes,
            memory_bytes,
            half,
            removable,
            unfinished: unfinished.filter(|_| entry.bundled.is_none()),
        }
    }

    /// Folder of a model that is meant by a name of the catalogue or of an installed model.
    ///
    /// # Errors
    /// When it is known but not installed.
    pub fn find(&self, id: &str) -> Result<Option<PathBuf>> {
        let Some(entry) = self.catalogue.get(id) else {
            return Ok(Some(self.dir.join(id)).filter(|dir| dir.join(MANIFEST_FILE).exists()));
        };
        match &entry.bundled {
            Some(name) => bundled(&name.to_string_lossy()).map(Some),
            None if self.dir.join(id).join(MANIFEST_FILE).exists() => Ok(Some(self.dir.join(id))),
            None => Err(Error::request(format!(
                "{} is not installed. Fetch it under \"Models\" in the window, or with: copgen models download {id}",
                entry.name
            ))),
        }
    }

    /// Whether parts of a model lie in its folder, from which an installation can go on.
    pub fn is_begun(&self, id: &str) -> bool {
        Record::read(&self.dir.join(id)).is_some()
    }

    /// Keeps an interrupted installation from going on by itself.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn pause(&self, id: &str) -> Result<()> {
        pause(&self.dir.join(id))
    }
}

fn sizes(manifest: &Manifest, dir: &Path) -> (u64, u64) {
    let bytes = manifest.weight_bytes(dir);
    let half = manifest.origin.as_ref().is_some_and(|origin| origin.half);
    (bytes, manifest.working_bytes(if half { 2 * bytes } else { bytes }, BATCH))
}

/// A model the catalogue does not know.
fn own(id: String, dir: PathBuf, manifest: &Manifest) -> Listed {
    let (bytes, memory_bytes) = sizes(manifest, &dir);
    Listed {
        id,
        name: manifest.name.clone(),
        description: manifest.description.clone(),
        licence: manifest.licence.clone(),
        licence_url: None,
        attribution: manifest.attribution.clone(),
        homepage: None,
        dir,
        state: State::Installed,
        parts: Vec::new(),
        bytes,
        memory_bytes,
        half: false,
        removable: true,
        unfinished: None,
    }
}

/// A model the catalogue does not know, whose manifest cannot be used.
fn broken(id: String, dir: PathBuf, error: &Error) -> Listed {
    Listed {
        name: id.clone(),
        id,
        description: String::new(),
        licence: String::new(),
        licence_url: None,
        attribution: String::new(),
        homepage: None,
        dir,
        state: State::Broken(error.to_string()),
        parts: Vec::new(),
        bytes: 0,
        memory_bytes: 0,
        half: false,
        removable: true,
        unfinished: None,
    }
}

/// The folder meant by `--model`: a model folder, or the name of a model that is installed or comes with the program.
///
/// # Errors
/// When it is a name of the catalogue whose model is not installed.
pub fn model_folder(named: &Path) -> Result<PathBuf> {
    let single = named.components().count() == 1;
    match named.to_str().filter(|_| single && !named.join(MANIFEST_FILE).exists()) {
        Some(id) => Ok(Library::open()?.find(id)?.unwrap_or_else(|| named.to_path_buf())),
        None => Ok(named.to_path_buf()),
    }
}
