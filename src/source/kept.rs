//! Fetched places and pictures, kept for when there is no network, up to a size.

use crate::error::{Error, Result};
use crate::files::{
    LONGEST_TEXT, UserFolder, absent, doomed_name, folders, hex, is_unfinished, read, read_text, remove_abandoned,
    write_atomically,
};
use sha2::{Digest, Sha256};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// So much is kept unless something else is said, bytes.
const USUAL_LIMIT: u64 = 4 << 30;

/// Where things are kept.
#[derive(Debug, Clone)]
pub struct Kept {
    dir: PathBuf,
}

/// A kept scene.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptScene {
    /// Its folder.
    pub dir: PathBuf,
    /// Size on disk.
    pub bytes: u64,
    /// When it was last opened.
    pub used: SystemTime,
}

impl Kept {
    /// In a folder.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// In the user's data folder, or where `COPGEN_PLACES` says; `None` on a system that has none.
    pub fn usual() -> Option<Self> {
        UserFolder::Places.folder().map(Self::new)
    }

    /// Where scenes are made.
    pub fn scenes_dir(&self) -> PathBuf {
        self.dir.join("scenes")
    }

    /// Whether a folder is kept here.
    pub fn holds(&self, dir: &Path) -> bool {
        dir.starts_with(&self.dir)
    }

    fn thumbnail_file(&self, url: &str) -> PathBuf {
        let hash = hex(&Sha256::digest(url)[..12]);
        self.dir.join("thumbnails").join(hash)
    }

    /// A small picture that was fetched from this address before.
    pub fn thumbnail(&self, url: &str) -> Option<Vec<u8>> {
        read(&self.thumbnail_file(url), LONGEST_TEXT).ok()
    }

    /// Keeps a small picture.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_thumbnail(&self, url: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.thumbnail_file(url), bytes)
    }

    /// All scenes, the one that was used longest ago first.
    pub fn scenes(&self) -> Vec<KeptScene> {
        let all = folders(&self.scenes_dir()).unwrap_or_default();
        let whole = all.into_iter().filter(|dir| is_scene(dir));
        let mut scenes: Vec<KeptScene> = whole
            .map(|dir| {
                let used = std::fs::metadata(mark(&dir)).or_else(|_| std::fs::metadata(dir.join("scene.json")));
                let used = used.and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                KeptScene { bytes: size(&dir), dir, used }
            })
            .collect();
        scenes.sort_by(|a, b| a.used.cmp(&b.used).then(a.dir.cmp(&b.dir)));
        scenes
    }

    /// Notes that a scene was opened.
    pub fn touch(&self, dir: &Path) {
        if self.holds(dir) {
            // It only decides what goes first when there is no room.
            let _ = std::fs::write(mark(dir), b"");
        }
    }

    /// Bytes that may be kept.
    pub fn limit(&self) -> u64 {
        let text = read_text(&self.dir.join("limit")).ok();
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(USUAL_LIMIT)
    }

    /// Sets how much may be kept.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn set_limit(&self, bytes: u64) -> Result<()> {
        write_atomically(&self.dir.join("limit"), bytes.to_string().as_bytes())
    }

    /// Bytes that are kept: of scenes and small pictures, not of what others have put into the folder.
    pub fn bytes(&self) -> u64 {
        self.bytes_with(&self.scenes())
    }

    /// As [`bytes`](Self::bytes), where the scenes have been listed already.
    pub fn bytes_with(&self, scenes: &[KeptScene]) -> u64 {
        let all = folders(&self.scenes_dir()).unwrap_or_default();
        let others = all.into_iter().filter(|dir| is_unfinished(dir)).chain(self.thumbnails());
        scenes.iter().map(|scene| scene.bytes).chain(others.map(|path| size(&path))).sum()
    }

    /// Files of small pictures.
    fn thumbnails(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.join("thumbnails")).into_iter().flatten().flatten();
        let ours = |name: &str| name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit());
        entries
            .map(|entry| entry.path())
            .filter(|p| p.file_name().is_some_and(|n| ours(&n.to_string_lossy())))
            .collect()
    }

    /// Says that a scene is in use: neither this program nor another one removes it as long as the answer lives. `None` if
    /// it is not kept here, is being removed, or the system refuses.
    pub fn hold(&self, dir: &Path) -> Option<InUse> {
        let within = dir.canonicalize().ok()?.parent()? == self.scenes_dir().canonicalize().ok()?;
        if !within || !is_scene(dir) {
            return None;
        }
        let lock = File::options().create(true).append(true).open(mark(dir)).ok()?;
        lock.try_lock_shared().ok()?;
        // It may have been removed in between; from here on it is not.
        is_scene(dir).then(|| InUse { dir: dir.to_path_buf(), _lock: lock })
    }

    /// Removes what was used longest ago until everything fits the limit, small pictures first, and nothing that is in use;
    /// the scenes that were removed.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn shrink(&self) -> Result<Vec<PathBuf>> {
        // What is left of fetches and removals that broke off.
        remove_abandoned(&self.scenes_dir());
        let scenes = self.scenes();
        let (limit, mut now) = (self.limit(), self.bytes_with(&scenes));
        let mut removed = Vec::new();
        if now > limit {
            for file in self.thumbnails() {
                now = now.saturating_sub(size(&file));
                absent(std::fs::remove_file(&file)).map_err(|e| Error::io(&file, "remove", &e))?;
            }
        }
        for scene in scenes {
            if now <= limit {
                break;
            }
            if self.removed(&scene.dir)? {
                now = now.saturating_sub(scene.bytes);
                removed.push(scene.dir);
            }
        }
        Ok(removed)
    }

    /// Keeps a scene that was just made: what no longer fits goes, but not this one.
    ///
    /// # Errors
    /// As [`shrink`](Self::shrink).
    pub fn make_room(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        self.touch(dir);
        let _in_use = self.hold(dir);
        self.shrink()
    }

    /// Removes one scene; one that is gone already is removed, too.
    ///
    /// # Errors
    /// When it is not kept here, is in use, or cannot be removed.
    pub fn remove(&self, dir: &Path) -> Result<()> {
        match self.removed(dir)? {
            true => Ok(()),
            false => Err(Error::file(dir, "This place is in use, here or in another window; close it there first")),
        }
    }

    /// Removes a scene unless it is in use; whether it is gone. It gets another name first: what is left of a removal that
    /// breaks off is no scene, and goes with the next one.
    fn removed(&self, dir: &Path) -> Result<bool> {
        let Some(name) = dir.file_name().filter(|_| dir.parent() == Some(&self.scenes_dir())) else {
            return Err(Error::file(dir, "This is not one of the kept places"));
        };
        let failed = |e: std::io::Error| Error::io(dir, "remove", &e);
        // Where no mark can be made nobody can have said that it is in use.
        let lock = dir.exists().then(|| File::options().create(true).append(true).open(mark(dir)).ok()).flatten();
        if lock.as_ref().is_some_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
            return Ok(false);
        }
        let doomed = dir.with_file_name(doomed_name(&name.to_string_lossy()));
        absent(std::fs::remove_dir_all(&doomed)).map_err(failed)?;
        absent(std::fs::rename(dir, &doomed)).map_err(failed)?;
        let _ = std::fs::remove_file(mark(dir));
        absent(std::fs::remove_dir_all(&doomed)).map_err(failed)?;
        Ok(true)
    }
}

/// A kept scene that is in use.
#[derive(Debug)]
pub struct InUse {
    dir: PathBuf,
    /// Shared by all that use it; who removes a scene needs it alone. The system takes it back when a program ends.
    _lock: File,
}

impl InUse {
    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// A file beside a scene that tells by its date when the scene was last opened, and by locks on it whether it is in use.
fn mark(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    dir.with_file_name(format!(".{name}.used"))
}

/// Whether a folder is a whole scene that was fetched, and none that somebody has put here.
fn is_scene(dir: &Path) -> bool {
    let text = read(&dir.join("scene.json"), LONGEST_TEXT).ok();
    let description: Option<serde_json::Value> = text.and_then(|text| serde_json::from_slice(&text).ok());
    // Older ones out of Major TOM have only the latter.
    !is_unfinished(dir) && description.is_some_and(|d| d["fetched"].is_string() || d["sources"].is_array())
}

/// Bytes of a file, or of all files in a folder.
fn size(dir: &Path) -> u64 {
    if let Ok(file) = std::fs::metadata(dir)
        && file.is_file()
    {
        return file.len();
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(m) if m.is_dir() => size(&entry.path()),
        Ok(m) => m.len(),
        Err(_) => 0,
    };
    entries.flatten().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let dir = tempfile::tempdir().expect("folder");
        let kept = Kept::new(dir.path().to_path_buf());
        for name in ["a", "b", "c", "d"] {
            let scene = kept.scenes_dir().join(name);
            std::fs::create_dir_all(&scene).expect("folder");
            std::fs::write(scene.join("scene.json"), r#"{"fetched": "2026"}"#).expect("file");
            std::fs::write(scene.join("DEM.tif"), vec![0; 1000]).expect("file");
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
        std::fs::create_dir_all(kept.scenes_dir().join("no scene")).expect("folder");
        kept.keep_thumbnail("https://h/a.png", &[0; 5000]).expect("picture");
        assert_eq!(kept.thumbnail("https://h/a.png").map(|b| b.len()), Some(5000));
        kept.touch(&kept.scenes_dir().join("a"));
        let names = |kept: &Kept| -> Vec<String> {
            kept.scenes().iter().filter_map(|s| Some(s.dir.file_name()?.to_string_lossy().into_owned())).collect()
        };
        assert_eq!(names(&kept), ["b", "c", "d", "a"]);
        assert!(kept.shrink().expect("shrunk").is_empty(), "everything fits");
        kept.set_limit(3100).expect("limit");
        let in_use = kept.hold(&kept.scenes_dir().join("b")).expect("in use");
        let removed = kept.shrink().expect("shrunk");
        assert_eq!(removed, [kept.scenes_dir().join("c")]);
        assert!(kept.thumbnail("https://h/a.png").is_none());
        assert_eq!(names(&kept), ["d", "a", "b"]);
        let error = kept.remove(in_use.dir()).expect_err("in use").to_string();
        assert!(error.contains("in use") && in_use.dir().exists(), "{error}");
        // Several may use it, and the last one decides.
        let also = kept.hold(in_use.dir()).expect("used twice");
        let dir_of_it = in_use.dir().to_path_buf();
        drop(in_use);
        assert!(kept.remove(&dir_of_it).is_err());
        drop(also);
        kept.remove(&dir_of_it).expect("removed");
        assert!(kept.hold(&dir_of_it).is_none(), "what is gone cannot be used");
        assert_eq!(names(&kept), ["d", "a"]);
        assert!(kept.remove(dir.path()).is_err(), "only scenes can be removed");
        assert!(kept.bytes() <= 3100);
    }

    #[test]
    fn what_others_put_into_the_folder_stays_and_does_not_count() {
        let dir = tempfile::tempdir().expect("folder");
        let kept = Kept::new(dir.path().to_path_buf());
        let old = SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 3600);
        let folder = |name: &str, description: Option<&str>| {
            let made = dir.path().join(name);
            std::fs::create_dir_all(&made).expect("folder");
            std::fs::write(made.join("DEM.tif"), vec![0; 100_000]).expect("file");
            if let Some(text) = description {
                std::fs::write(made.join("scene.json"), text).expect("file");
            }
            std::fs::File::open(&made).and_then(|f| f.set_modified(old)).expect("date");
            made
        };
        let theirs = [
            folder("scenes/plain", None),
            folder("scenes/described", Some(r#"{"name": "by hand"}"#)),
            folder("scenes/damaged", Some("{")),
            folder("thumbnails", None),
            folder("pictures of mine", None),
        ];
        let broken_off = folder("scenes/.unfinished-x", None);
        let ours = folder("scenes/ours", Some(r#"{"fetched": "2026-11-01T00:00:00Z"}"#));
        kept.keep_thumbnail("https://h/a.png", &[0; 5000]).expect("picture");
        assert_eq!(kept.scenes().len(), 1);
        kept.set_limit(1000).expect("limit");
        assert_eq!(kept.shrink().expect("shrunk"), std::slice::from_ref(&ours));
        assert!(theirs.iter().all(|dir| dir.join("DEM.tif").exists()));
        assert!(!broken_off.exists() && !ours.exists());
        assert_eq!(kept.bytes(), 0);
        // Another process was faster.
        kept.remove(&ours).expect("nothing left to do");
    }
}
