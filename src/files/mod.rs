//! Files of the program and of the user.

mod lock;
mod unfinished;

pub use lock::{LOCK_FILE, lock_folder};
pub use unfinished::{doomed_name, is_unfinished, remove_abandoned, temporary_file, temporary_folder};

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The outcome of a removal (or renaming) that is done, too, if nothing was there.
///
/// # Errors
/// Any other failure.
pub fn absent(removed: std::io::Result<()>) -> std::io::Result<()> {
    removed.or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// Writes a file under a temporary name in the same folder, then renames it.
///
/// # Errors
/// When the folder cannot be written or the disk is full.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    write_aside(path, |file| file.write_all(bytes).map_err(|e| Error::io(path, "write", &e)))
}

/// As [`write_atomically`], for what is too large to be held: `write` gets the temporary file.
///
/// # Errors
/// As there, or what `write` fails with.
pub fn write_aside<T>(path: &Path, write: impl FnOnce(&mut std::fs::File) -> Result<T>) -> Result<T> {
    let dir = folder_of(path);
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
    let failed = |e: std::io::Error| Error::io(path, "write", &e);
    let mut aside = temporary_file(dir, "").map_err(failed)?;
    let written = write(aside.as_file_mut())?;
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(path).map_err(|e| failed(e.error))?;
    Ok(written)
}

/// Makes a folder whole or not at all: `fill` gets one of another name beside it, which is renamed when it is full. An
/// empty folder of this name is replaced.
///
/// # Errors
/// When something is there already, what `fill` fails with, or when the system refuses; nothing is left behind then.
pub fn make_folder<T>(dir: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let is_empty = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    if dir.exists() && !is_empty() {
        return Err(Error::file(dir, "It exists already; choose the name of a new folder"));
    }
    let parent = folder_of(dir);
    std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", &e))?;
    let hidden = temporary_folder(parent).map_err(|e| Error::io(parent, "write to", &e))?;
    let made = fill(hidden.path())?;
    if dir.exists() {
        // Not every system renames onto an empty folder.
        std::fs::remove_dir(dir).map_err(|e| Error::io(dir, "replace", &e))?;
    }
    std::fs::rename(hidden.path(), dir).map_err(|e| Error::io(dir, "create", &e))?;
    // It has moved; there is nothing left to remove.
    let _ = hidden.keep();
    Ok(made)
}

/// The folder a file or folder lies in; the current one for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A number of bytes for people.
pub fn size_text(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e6 => format!("{:.0} kB", b / 1e3),
        b if b < 1e7 => format!("{:.1} MB", b / 1e6),
        b if b < 1e9 => format!("{:.0} MB", b / 1e6),
        b => format!("{:.1} GB", b / 1e9),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The folders in a folder, by name.
///
/// # Errors
/// When it cannot be read.
pub fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, "read", &e))?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// What a variable of the environment is set to, without blanks around it; `None` if that is nothing.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A folder of the user's that the program keeps something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// What the user writes by hand: `sources.toml`, `layers.toml`.
    Settings,
    /// The session, for the next start.
    Session,
    /// Installed models.
    Models,
    /// Fetched places, for when there is no network.
    Places,
    /// Tiles of map servers.
    Tiles,
}

impl Own {
    /// Variable of the environment that names another folder.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Settings => "COPGEN_CONFIG",
            Self::Session => "COPGEN_SESSION",
            Self::Models => "COPGEN_MODELS",
            Self::Places => "COPGEN_PLACES",
            Self::Tiles => "COPGEN_TILES",
        }
    }

    /// What the variable names, else where the system wants such things; `None` on a system without such a place.
    pub fn folder(self) -> Option<PathBuf> {
        let named = std::env::var_os(self.variable()).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let usual = || {
            let dirs = directories::ProjectDirs::from("", "", "copgen")?;
            Some(match self {
                Self::Settings => dirs.config_dir().to_path_buf(),
                Self::Session => dirs.data_local_dir().join("session"),
                Self::Models => dirs.data_local_dir().join("models"),
                Self::Places => dirs.data_local_dir().join("places"),
                Self::Tiles => dirs.cache_dir().join("tiles"),
            })
        };
        named.or_else(usual)
    }
}

/// A file or folder that comes with the program, such as `models/demo`: in the folder named by `COPGEN_HOME`, beside the
/// executable or in a folder above it, in the current folder, or in the source folder it was built from.
///
/// # Errors
/// When it is in none of them.
pub fn bundled(name: &str) -> Result<PathBuf> {
    let executable = std::env::current_exe().unwrap_or_default();
    let home = std::env::var_os("COPGEN_HOME").map(PathBuf::from);
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let places = home.into_iter().chain(executable.ancestors().skip(1).map(Path::to_path_buf));
    places.chain([PathBuf::from("."), source]).map(|place| place.join(name)).find(|path| path.exists()).ok_or_else(
        || {
            Error::file(
                name,
                "This part of the program was not found beside it; set COPGEN_HOME to the folder that holds it",
            )
        },
    )
}
