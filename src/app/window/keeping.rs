//! What is kept on disk while the window is open, and what is told when it cannot be.
//!
//! Nothing is written over a session before it was brought back: a session is written once its place is read, and that is
//! done after it was brought back, by the same thread.

use crate::app::state::project::project;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::queue::Lane;
use crate::ensemble::Realisation;
use crate::error::Result;
use crate::project::{self, Project, RunId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

impl ExplorerWindow {
    /// Writes in the background; `lost` says what a person loses if that fails.
    fn write(&self, lost: &'static str, write: impl FnOnce() -> Result<()> + Send + 'static) {
        self.queue.run(Lane::Keep, write, move |window: &mut Self, written| {
            if let Err(error) = written {
                window.session.note(format!("{lost}: {error}"), true);
            }
        });
    }

    /// Remembers a folder that was opened or saved.
    pub(super) fn remember(&mut self, dir: &Path) {
        if self.recent.add(dir) {
            let recent = self.recent.clone();
            self.write("The list of what was opened lately is not kept for the next start", move || recent.write());
        }
    }

    /// Writes down what was chosen of the window itself.
    pub(super) fn write_preferences(&self) {
        let preferences = self.preferences.clone();
        self.write("Colours and network switch are not kept for the next start", move || preferences.write());
    }

    /// Writes down which base maps there are, and which is shown.
    pub(super) fn write_layers(&self) {
        let layers = self.session.layers.clone();
        self.write("The list of base maps is not kept for the next start", move || layers.write());
    }

    /// Removes what a forgotten run has on disk.
    pub(super) fn forget_on_disk(&self, run: RunId) {
        let Some(dir) = self.session_folder.as_ref().map(|folder| folder.dir().to_path_buf()) else { return };
        self.write("What a forgotten run has on disk could not be removed", move || project::forget(&dir, &run));
    }

    /// Writes a finished realisation into the folder of its run.
    pub(super) fn keep_realisation(&self, run: RunId, made: Arc<Realisation>) {
        let (Some(folder), Some(table)) = (&self.session_folder, self.session.table().cloned()) else { return };
        let (dir, name) = (folder.dir().to_path_buf(), format!("Realisation {} of seed {}", made.index, made.seed));
        let keep = move || project::keep(&dir, &run, &table, &made);
        self.queue.run(Lane::Keep, keep, move |window: &mut Self, kept| window.realisations_kept(&name, kept));
    }

    /// Writes the realisations of runs from this place on that are not in the session's folder.
    pub(super) fn keep_runs_from(&self, first: usize) {
        let (Some(folder), Some(table)) = (&self.session_folder, self.session.table().cloned()) else { return };
        let runs = self.session.runs.all().iter().skip(first);
        let runs: Vec<_> = runs.map(|run| (run.id.clone(), run.realisations.clone())).collect();
        let dir = folder.dir().to_path_buf();
        let keep = move || {
            let mut all = runs.iter().flat_map(|(run, realisations)| realisations.iter().map(move |made| (run, made)));
            all.try_for_each(|(run, made)| match project::is_kept(&dir, run, made.index) {
                true => Ok(()),
                false => project::keep(&dir, run, &table, made),
            })
        };
        self.queue.run(Lane::Keep, keep, |window: &mut Self, kept| window.realisations_kept("A realisation", kept));
    }

    fn realisations_kept(&mut self, what: &str, kept: Result<()>) {
        if let (Err(error), Some(folder)) = (kept, &mut self.session_folder) {
            folder.realisation_missing();
            self.session.note(format!("{what} is not kept for the next start until this is mended: {error}"), true);
        }
    }

    /// Has written what the session has to keep, if it is time; when to look again.
    pub(super) fn keep(&mut self) -> Option<Duration> {
        let folder = self.session_folder.as_mut()?;
        if let Some(rest) = folder.rest() {
            return Some(rest);
        }
        let project = folder.due(&self.session);
        if folder.is_time_for_missing() {
            self.keep_runs_from(0);
        }
        self.write_project(project);
        None
    }

    /// Has written whatever is not on disk yet, as the window closes.
    pub(super) fn keep_all(&mut self) {
        let Some(folder) = &mut self.session_folder else { return };
        let project = folder.unwritten(&self.session);
        if folder.is_missing() {
            self.keep_runs_from(0);
        }
        self.write_project(project);
    }

    fn write_project(&mut self, due: Option<(PathBuf, Project)>) {
        let Some((dir, project)) = due else { return };
        self.queue.run(
            Lane::Keep,
            move || project.write(&dir),
            |window: &mut Self, written| {
                if let (Err(error), Some(folder)) = (written, &mut window.session_folder) {
                    folder.choices_failed();
                    let text = format!("Choices are not kept for the next start until this is mended: {error}");
                    window.session.note(text, true);
                }
            },
        );
    }

    /// Writes everything to a folder of the person's.
    pub(super) fn save_project(&mut self, dir: PathBuf) {
        self.project_form.open = false;
        let (Some(project), Some(table)) = (project(&self.session), self.session.table().cloned()) else {
            return self.session.note("There is nothing to save yet: pick a place first.", true);
        };
        let runs: Vec<_> = self.session.runs.all().iter().map(|run| run.realisations.clone()).collect();
        let save = move || project.write_with(&dir, &table, &runs).map(|()| dir);
        self.queue.run(Lane::Write, save, |window: &mut Self, saved| match saved {
            Ok(dir) => {
                window.remember(&dir);
                window.session.note(format!("The project was saved to {}.", dir.display()), false);
            }
            Err(error) => window.session.note(format!("The project was not saved: {error}"), true),
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::app::state::place::Selection;
    use crate::app::window::explorer::{answered, bare};
    use crate::ensemble::Realisation;
    use crate::project::RunId;
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn each_failed_write_says_what_is_not_kept() {
        let dir = tempfile::tempdir().expect("folder");
        let model = crate::files::bundled("models/demo").expect("model");
        let mut harness = bare(model, None, Some(dir.path().to_path_buf()));
        let window = harness.state_mut();
        answered(window, |window| window.session.model.is_some());
        window.pick(Selection::Cell("618U_30L".parse().expect("cell")));
        answered(window, |window| window.session.observed.is_some());
        // Folders where files are to be written, and a file where a folder is.
        for name in ["recent.json", "window.json", "layers.json", "project.json", "run-1/000000.safetensors"] {
            let _ = std::fs::remove_file(dir.path().join(name));
            std::fs::create_dir_all(dir.path().join(name).join("in the way")).expect("folder");
        }
        std::fs::write(dir.path().join("run-2"), "").expect("file");
        let failed = |window: &mut super::ExplorerWindow, words: &str| {
            window.queue.settle();
            window.take_answers();
            let notes: Vec<String> = window.session.notes.drain(..).map(|note| note.text).collect();
            assert!(notes.len() == 1 && notes[0].starts_with(words), "{words}: {notes:?}");
        };
        let id = |name: &str| RunId::try_from(name.to_owned()).expect("a name");
        window.session.notes.clear();
        window.remember(Path::new("/somewhere"));
        failed(window, "The list of what was opened lately is not kept for the next start: ");
        window.write_preferences();
        failed(window, "Colours and network switch are not kept for the next start: ");
        window.write_layers();
        failed(window, "The list of base maps is not kept for the next start: ");
        window.forget_on_disk(id("run-1"));
        failed(window, "What a forgotten run has on disk could not be removed: ");
        window.keep_all();
        failed(window, "Choices are not kept for the next start until this is mended: ");
        let missing = |window: &super::ExplorerWindow| window.session_folder.as_ref().is_some_and(|f| f.is_missing());
        assert!(!missing(window), "no realisation has to be written again");
        let made = Arc::new(Realisation { index: 3, seed: 7, ..Realisation::default() });
        window.keep_realisation(id("run-2"), made);
        failed(window, "Realisation 3 of seed 7 is not kept for the next start until this is mended: ");
        assert!(missing(window));
        // What failed is written as the window closes, if that is possible by then.
        std::fs::remove_dir_all(dir.path().join("project.json")).expect("removed");
        window.keep_all();
        window.queue.settle();
        assert!(dir.path().join("project.json").is_file());
    }
}
