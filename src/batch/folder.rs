//! A store in a folder that all workers see.

use super::store::{Claim, RECORD_FILE, Record, Store, job_file};
use crate::error::{Error, Result};
use crate::files::{
    LONGEST_TEXT, absent, doomed_name, is_unfinished, read, temporary_file, temporary_folder, write_atomically,
};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// See the module.
pub(super) struct FolderStore {
    dir: PathBuf,
}

impl FolderStore {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    fn folder(&self, path: &str) -> Result<PathBuf> {
        let dir = self.path(path);
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, "create", &e))?;
        Ok(dir)
    }
}

impl Store for FolderStore {
    fn address(&self) -> String {
        self.dir.display().to_string()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(path);
        match read(&path, LONGEST_TEXT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&path, "read", &e)),
        }
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.path(path);
        let dir = path.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
        let failed = |e: std::io::Error| Error::io(&path, "write", &e);
        let mut aside = temporary_file(dir, "").map_err(failed)?;
        aside.write_all(bytes).and_then(|()| aside.as_file().sync_all()).map_err(failed)?;
        match aside.persist_noclobber(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(failed(e.error)),
        }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.path(path), bytes)
    }

    fn put(&self, path: &str, file: &Path) -> Result<()> {
        let target = self.path(path);
        crate::files::write_aside(&target, |aside| {
            let mut from = File::open(file).map_err(|e| Error::io(file, "read", &e))?;
            std::io::copy(&mut from, aside).map(drop).map_err(|e| Error::io(&target, "write", &e))
        })
    }

    fn append(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        let dir = path.parent().unwrap_or(&self.dir);
        let open = || File::options().create(true).append(true).open(&path);
        let written = std::fs::create_dir_all(dir).and_then(|()| open()).and_then(|mut f| f.write_all(text.as_bytes()));
        written.map_err(|e| Error::io(&path, "write", &e))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let path = self.path(path);
        absent(std::fs::remove_file(&path)).map_err(|e| Error::io(&path, "remove", &e))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let dir = self.path(folder);
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(&dir, "read", &e)),
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| !is_unfinished(path));
        Ok(paths.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    /// The system gives a lock back when its process ends, however it ends, on all machines that share the file system. Where it
    /// knows no locks, every worker gets each claim: a job may be done twice then, with the same bytes.
    fn claim(&self, job: &str) -> Result<Option<Box<dyn Claim>>> {
        let path = self.folder("claims")?.join(job);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(|e| Error::io(&path, "create", &e))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {}
                // Whoever held it has removed it meanwhile.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => tracing::debug!("{} cannot be locked: {e}", path.display()),
            }
            return Ok(Some(Box::new(Locked { path, _file: file })));
        }
    }

    fn working(&self) -> Result<usize> {
        let locked = |name: &String| {
            let file = File::open(self.path("claims").join(name));
            file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
        };
        Ok(self.list("claims")?.iter().filter(|name| locked(name)).count())
    }

    fn stage(&self) -> Result<TempDir> {
        let dir = self.folder("jobs")?;
        temporary_folder(&dir).map_err(|e| Error::io(&dir, "write to", &e))
    }

    fn publish(&self, job: &str, made: TempDir) -> Result<()> {
        let target = self.path(&format!("jobs/{job}"));
        let failed = |e: std::io::Error| Error::io(&target, "create", &e);
        if std::fs::symlink_metadata(&target).is_ok() {
            // What is not whole goes, out of sight first.
            let doomed = self.folder("jobs")?.join(doomed_name(job));
            absent(std::fs::remove_dir_all(&doomed))
                .and_then(|()| absent(std::fs::rename(&target, &doomed)))
                .map_err(failed)?;
            let removed =
                if doomed.is_dir() { std::fs::remove_dir_all(&doomed) } else { std::fs::remove_file(&doomed) };
            absent(removed).map_err(failed)?;
        }
        if let Err(e) = std::fs::rename(made.path(), &target) {
            // Another worker may have been first where the file system knows no locks.
            return if target.join(RECORD_FILE).exists() { Ok(()) } else { Err(failed(e)) };
        }
        // It has moved; there is nothing left to remove.
        let _ = made.keep();
        Ok(())
    }

    fn is_whole(&self, record: &Record) -> Result<bool> {
        let there = |name: &String| std::fs::metadata(self.path(&job_file(&record.job, name))).map(|found| found.len());
        Ok(record.files.iter().all(|(name, file)| there(name).is_ok_and(|bytes| bytes == file.bytes)))
    }

    fn scenes(&self) -> Result<PathBuf> {
        self.folder("scenes")
    }
}

/// A lock on a file of `claims/`.
struct Locked {
    path: PathBuf,
    _file: File,
}

impl Claim for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        // Whoever opened it before sees that it is gone, and makes a new one.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a file is still the one at its path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: std::fs::Metadata, b: std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().is_ok_and(|a| std::fs::metadata(path).is_ok_and(|b| same(a, b)))
}

/// Files of claims stay where one that is open cannot be removed.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_a_claim_and_it_leaves_no_file() {
        let dir = tempfile::tempdir().expect("folder");
        let store = FolderStore::new(dir.path().to_path_buf());
        let first = store.claim("a").expect("store").expect("free");
        assert!(store.claim("a").expect("store").is_none());
        assert!(store.claim("b").expect("store").is_some());
        drop(first);
        assert!(store.list("claims").expect("names").is_empty());
        let holders = std::sync::atomic::AtomicUsize::new(0);
        let had = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Some(claim) = store.claim("a").expect("store") else { continue };
                        assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0, "two at once");
                        had.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(claim);
                    }
                });
            }
        });
        assert!(had.into_inner() > 0 && store.claim("a").expect("store").is_some());
    }

    #[test]
    fn what_is_published_replaces_what_is_not_whole() {
        let dir = tempfile::tempdir().expect("folder");
        let store = FolderStore::new(dir.path().to_path_buf());
        std::fs::create_dir_all(dir.path().join("jobs/a")).expect("folder");
        std::fs::write(dir.path().join("jobs/a/half.tif"), "half").expect("file");
        let stage = store.stage().expect("stage");
        std::fs::write(stage.path().join("whole.tif"), "whole").expect("file");
        assert_eq!(store.list("jobs").expect("names"), ["a"]);
        store.publish("a", stage).expect("published");
        assert_eq!(store.list("jobs/a").expect("names"), ["whole.tif"]);
        assert_eq!(std::fs::read_dir(dir.path().join("jobs")).expect("folder").count(), 1);
        assert!(store.create("x/one", b"1").expect("made") && !store.create("x/one", b"2").expect("there"));
        assert_eq!(store.read("x/one").expect("read").as_deref(), Some(&b"1"[..]));
    }
}
