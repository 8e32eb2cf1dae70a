//! What is known of models, and what is done to them in the background.

use crate::app::state::ongoing::Ongoing;
use crate::app::state::ticket::Requests;
use crate::error::{Error, Result};
use crate::hub::{Hub, Library, Listed, Progress};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What can be done to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// It is fetched; can be stopped, and goes on later.
    Fetching,
    /// Its files are checked; can be stopped.
    Checking,
    /// It is removed, which nothing stops.
    Removing,
}

/// Keeps an installation that is stopped from going on by itself at the next start: written at once, since it may take
/// long to end, and once more at its end, since it has perhaps left its record only then.
#[derive(Clone, Default)]
pub struct Pause {
    /// Whether it was asked for.
    pub asked: Arc<AtomicBool>,
    /// Whether the installation has ended: what comes later would pause the next one.
    over: Arc<Mutex<bool>>,
}

impl Pause {
    /// Writes it, if it was asked for; `last` once the installation has ended.
    pub fn write(&self, dir: PathBuf, id: &str, last: bool) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        // If this fails, it goes on at the next start and can be stopped again.
        if !*over
            && self.asked.load(Ordering::Relaxed)
            && let Err(error) = Library::at(dir).and_then(|library| library.pause(id))
        {
            tracing::warn!("{error}");
        }
        *over |= last;
    }
}

/// What is done to a model in the background.
pub struct ModelTask {
    /// Ends it.
    pub ongoing: Ongoing,
    /// Keeps it from going on by itself.
    pub pause: Pause,
    /// How far it is.
    pub progress: Progress,
    /// What it is.
    pub kind: TaskKind,
}

/// What happened last to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// A sentence.
    pub text: String,
    /// Whether something went wrong.
    pub problem: bool,
}

impl Outcome {
    /// It went well.
    pub fn done(text: impl Into<String>) -> Self {
        Self { text: text.into(), problem: false }
    }

    /// It did not.
    pub fn problem(error: &Error) -> Self {
        Self { text: error.to_string(), problem: true }
    }
}

/// What the window knows of models.
pub struct Models {
    /// The folder they are installed in; none on a system without one.
    pub dir: Option<PathBuf>,
    /// Where they are fetched from.
    pub hub: Hub,
    /// All that are known, once the folder was looked at.
    pub listed: Vec<Listed>,
    /// What goes on, by name of the model.
    pub going: BTreeMap<String, ModelTask>,
    /// What happened last, by name of the model.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Whether interrupted installations were already begun again.
    pub resumed: bool,
    /// Requests to list them.
    pub listings: Requests,
    /// The model in use has got further parts that are still to be read.
    pub refresh: bool,
    /// Requests to use another one.
    pub switches: Requests,
    /// Whether the one to be used from then on is being read.
    pub is_switching: bool,
}

impl Models {
    /// With models in this folder, and files from there.
    pub fn new(dir: Option<PathBuf>, hub: Hub) -> Self {
        Self {
            dir,
            hub,
            listed: Vec::new(),
            going: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            resumed: false,
            listings: Requests::default(),
            refresh: false,
            switches: Requests::default(),
            is_switching: false,
        }
    }

    /// The folder they are installed in.
    ///
    /// # Errors
    /// On a system without one.
    pub fn library(&self) -> Result<PathBuf> {
        self.dir.clone().ok_or_else(Library::nowhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_comes_late_does_not_meet_the_next_installation() {
        let dir = tempfile::tempdir().expect("folder");
        std::fs::create_dir(dir.path().join("a")).expect("folder");
        let (record, paused) = (dir.path().join("a/installing.json"), dir.path().join("a/paused"));
        std::fs::write(record, "{}").expect("written");
        let write = |pause: &Pause, last: bool| pause.write(dir.path().to_path_buf(), "a", last);
        // Nobody stopped this one: the window was closed.
        write(&Pause::default(), true);
        assert!(!paused.exists());
        let pause = Pause::default();
        pause.asked.store(true, Ordering::Relaxed);
        for last in [false, true] {
            write(&pause, last);
            assert!(paused.exists());
            std::fs::remove_file(&paused).expect("as the next installation does");
        }
        write(&pause, false);
        assert!(!paused.exists());
    }
}
