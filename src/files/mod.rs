//! Files of the program and of the user.

mod lock;
mod reading;
mod unfinished;

pub use lock::{LOCK_FILE, lock_folder};
pub use reading::{LONGEST_TEXT, check, open, read, read_text, read_toml, toml_problem};
pub use unfinished::{UNFINISHED, doomed_name, is_unfinished, remove_abandoned, temporary_file, temporary_folder};

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

/// A folder that is there while something is made in it. Those that had to be made for it, it and the ones above it, are
/// removed in the end if nothing lies in them.
#[derive(Debug)]
pub struct MadeFolder(Vec<PathBuf>);

impl MadeFolder {
    /// Makes a folder and what is missing above it.
    ///
    /// # Errors
    /// When the system refuses; nothing is left behind then.
    pub fn make(dir: &Path) -> Result<Self> {
        let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
        let made = Self(missing.map(Path::to_path_buf).collect());
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
        Ok(made)
    }
}

impl Drop for MadeFolder {
    fn drop(&mut self) {
        for dir in &self.0 {
            // Something lies in it: then it is wanted.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Makes sure that a file of this name can be made in a folder.
///
/// # Errors
/// When its name or path is too long, or it cannot be made for another reason.
pub fn check_name(dir: &Path, name: &std::ffi::OsStr) -> Result<()> {
    let path = dir.join(name);
    let made = std::fs::File::create_new(&path).and_then(|_| std::fs::remove_file(&path));
    made.map_err(|e| Error::io(&path, "write", &e))
}

/// Makes a folder whole or not at all: `fill` gets one of another name beside it, which is renamed when it is full. An
/// empty folder of this name is replaced.
///
/// That its name can be made is found out before anything is done for it.
///
/// # Errors
/// When something is there already, what `fill` fails with, or when the system refuses; nothing is left behind then.
pub fn make_folder<T>(dir: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let is_empty = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    let there = dir.exists();
    if there && !is_empty() {
        return Err(Error::file(dir, "It exists already; choose the name of a new folder"));
    }
    let parent = folder_of(dir);
    let _made = MadeFolder::make(parent)?;
    if !there {
        check_folder(dir).map_err(|e| Error::io(dir, "create", &e))?;
    }
    let hidden = temporary_folder(parent).map_err(|e| Error::io(parent, "write to", &e))?;
    let made = fill(hidden.path()).map_err(|e| e.moved(hidden.path(), dir))?;
    if there {
        // Not every system renames onto an empty folder.
        std::fs::remove_dir(dir).map_err(|e| Error::io(dir, "replace", &e))?;
    }
    std::fs::rename(hidden.path(), dir).map_err(|e| Error::io(dir, "create", &e))?;
    // It has moved; there is nothing left to remove.
    let _ = hidden.keep();
    Ok(made)
}

/// Makes a folder and a file in it, and removes both: their names are not too long then.
fn check_folder(dir: &Path) -> std::io::Result<()> {
    // As long as any name of a file that the program writes into folders of its own.
    let file = dir.join(format!("{UNFINISHED}{:064}", 0));
    std::fs::create_dir(dir)?;
    let made = std::fs::File::create_new(&file).and_then(|_| std::fs::remove_file(&file));
    std::fs::remove_dir(dir).and(made)
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
pub enum UserFolder {
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

impl UserFolder {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("folder").map(|entry| entry.expect("entry").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn folders_made_for_nothing_are_removed_and_others_stay() {
        let dir = tempfile::tempdir().expect("folder");
        let deep = dir.path().join("a/b/c");
        drop(MadeFolder::make(&deep).expect("made"));
        assert!(names(dir.path()).is_empty());
        // An empty folder of the user's stays, and so does what something lies in.
        std::fs::create_dir(dir.path().join("a")).expect("folder");
        drop(MadeFolder::make(&deep).expect("made"));
        assert_eq!(names(dir.path()), ["a"]);
        let made = MadeFolder::make(&deep).expect("made");
        std::fs::write(deep.join("file"), "").expect("file");
        drop(made);
        assert!(deep.join("file").exists());
    }

    #[test]
    fn names_that_are_too_long_are_told_before_anything_is_done() {
        let dir = tempfile::tempdir().expect("folder");
        let deep = dir.path().join("a/b");
        for name in ["x".repeat(256), format!("{}/x", "y".repeat(300))] {
            let error = make_folder::<()>(&deep.join(name), |_| panic!("begun in vain")).expect_err("too long");
            assert!(error.to_string().contains("too long"), "{error}");
        }
        // A folder that could be made, but not filled.
        let mut path = dir.path().to_path_buf();
        while path.as_os_str().len() < 4020 {
            let rest = 4030 - path.as_os_str().len();
            path.push("z".repeat(rest.clamp(1, 200)));
        }
        let error = make_folder::<()>(&path, |_| panic!("begun in vain")).expect_err("too long");
        assert!(error.to_string().contains("too long"), "{error}");
        assert!(names(dir.path()).is_empty(), "{:?} was left behind", names(dir.path()));
        // What fails while it is filled names the folder that was asked for.
        let target = dir.path().join("target");
        let error = make_folder::<()>(&target, |hidden| Err(Error::file(hidden.join("part"), "It is bad")));
        assert!(error.expect_err("bad").to_string().ends_with("target/part"));
    }
}
