//! Keeps the session on disk while it goes on, and brings it back.

use crate::app::state::project::project;
use crate::app::state::session::Session;
use crate::error::{Error, Result};
use crate::project::Project;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Choices are written at most this often.
const PAUSE: Duration = Duration::from_millis(700);

/// What could not be written is tried again after this.
const RETRY: Duration = Duration::from_secs(20);

/// The folder of the session, and what lies there.
pub struct SessionFolder {
    dir: PathBuf,
    last: Option<Project>,
    looked: Instant,
    /// When something could not be written that has to be tried again.
    failed: Option<Instant>,
    /// Held as long as the window is open: two windows would overwrite each other's session.
    _lock: File,
}

impl SessionFolder {
    /// Keeps in this folder.
    ///
    /// # Errors
    /// When it cannot be written, or another window keeps its session there.
    pub fn open(dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, "create", &e))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|e| Error::io(&path, "create", &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, last: None, looked: Instant::now(), failed: None, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::file(&dir, "Another window keeps its session here; this one is not kept for the next start"))
            }
            Err(TryLockError::Error(e)) => Err(Error::io(&path, "lock", &e)),
        }
    }

    /// Where it keeps.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it is too early to look again; when it is not.
    pub fn rest(&self) -> Option<Duration> {
        PAUSE.checked_sub(self.looked.elapsed()).filter(|rest| !rest.is_zero())
    }

    /// Remembers that something could not be written.
    pub fn failed(&mut self) {
        self.failed.get_or_insert_with(Instant::now);
        self.last = None;
    }

    /// Whether it is time to write again what could not be written.
    pub fn try_again(&mut self) -> bool {
        let due = self.failed.is_some_and(|at| at.elapsed() > RETRY);
        if due {
            self.failed = None;
        }
        due
    }

    /// What has to be written now, if anything has changed.
    pub fn due(&mut self, session: &Session) -> Option<(PathBuf, Project)> {
        self.looked = Instant::now();
        let now = project(session)?;
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now.clone());
        Some((self.dir.clone(), now))
    }
}
