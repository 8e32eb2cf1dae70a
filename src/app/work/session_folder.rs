//! The folder that keeps the session for the next start.

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
pub(crate) struct SessionFolder {
    dir: PathBuf,
    last: Option<Project>,
    looked: Instant,
    /// When the choices could not be written; nothing if they could.
    choices_failed: Option<Instant>,
    /// When a realisation could not be written.
    missing: Option<Instant>,
    /// Held as long as the window is open: two windows would overwrite each other's session.
    _lock: File,
}

impl SessionFolder {
    /// Keeps in this folder.
    ///
    /// # Errors
    /// When it cannot be written, or another window keeps its session there.
    pub(crate) fn open(dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, "create", &e))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|e| Error::io(&path, "create", &e))?;
        match lock.try_lock() {
            Ok(()) => {
                let looked = Instant::now();
                Ok(Self { dir, last: None, looked, choices_failed: None, missing: None, _lock: lock })
            }
            Err(TryLockError::WouldBlock) => {
                Err(Error::file(&dir, "Another window keeps its session here; this one is not kept for the next start"))
            }
            Err(TryLockError::Error(e)) => Err(Error::io(&path, "lock", &e)),
        }
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it is too early to look again; when it is not.
    pub(crate) fn rest(&self) -> Option<Duration> {
        PAUSE.checked_sub(self.looked.elapsed()).filter(|rest| !rest.is_zero())
    }

    /// The choices could not be written: they are tried again when they change, or after a while.
    pub(crate) fn choices_failed(&mut self) {
        self.choices_failed = Some(Instant::now());
    }

    /// A realisation could not be written: it is tried again after a while.
    pub(crate) fn realisation_missing(&mut self) {
        self.missing.get_or_insert_with(Instant::now);
    }

    /// Whether a realisation could not be written and was not tried again yet.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing.is_some()
    }

    /// Whether it is time to write again what is missing.
    pub(crate) fn is_time_for_missing(&mut self) -> bool {
        self.missing.take_if(|since| since.elapsed() > RETRY).is_some()
    }

    /// What has to be written now, if anything has changed.
    pub(crate) fn due(&mut self, session: &Session) -> Option<(PathBuf, Project)> {
        self.looked = Instant::now();
        if self.choices_failed.take_if(|since| since.elapsed() > RETRY).is_some() {
            self.last = None;
        }
        let now = project(session)?;
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now.clone());
        Some((self.dir.clone(), now))
    }

    /// What is not written yet: what has changed, or what failed the last time.
    pub(crate) fn unwritten(&mut self, session: &Session) -> Option<(PathBuf, Project)> {
        if self.choices_failed.take().is_some() {
            self.last = None;
        }
        self.due(session)
    }
}
