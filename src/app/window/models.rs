//! Models that are listed, fetched, used, checked and removed from the window.

use crate::app::state::choices::usual;
use crate::app::state::model::LoadedModel;
use crate::app::state::models::{ModelTask, Outcome, Pause, TaskKind};
use crate::app::view::shown::Shown;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::queue::Lane;
use crate::error::{Error, Result};
use crate::hub::{Checked, InstallRequest, Library, Listed, Progress, Source, install, remove, verify};
use crate::model::Manifest;
use crate::net::Network;
use crate::sampler::Role;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl ExplorerWindow {
    /// Has the models listed anew.
    pub(super) fn list_models(&mut self) {
        let Some(dir) = self.models.dir.clone() else { return };
        let ticket = self.models.listings.next();
        let list = move || Library::at(dir).map(|library| library.list());
        self.queue.outbox().aside(list, move |window: &mut Self, listed| {
            if ticket.is_latest() {
                window.models_listed(listed);
            }
        });
    }

    /// Takes the list; what was interrupted by the end of the program goes on.
    fn models_listed(&mut self, listed: Result<Vec<Listed>>) {
        match listed {
            Ok(listed) => self.models.listed = listed,
            Err(error) => return self.session.note(error.to_string(), true),
        }
        if !std::mem::replace(&mut self.models.resumed, true) {
            let requests: Vec<InstallRequest> =
                self.models.listed.iter().filter_map(|listed| listed.unfinished.clone()).collect();
            let online = !self.session.offline;
            requests.into_iter().filter(|_| online).for_each(|request| self.fetch_model(request));
        }
    }

    /// Begins to fetch a model, or the rest of it.
    pub(super) fn fetch_model(&mut self, request: InstallRequest) {
        let (id, hub) = (request.id.clone(), self.models.hub.clone());
        let pause = Pause::default();
        let fetch = {
            let pause = pause.clone();
            move |dir: PathBuf, network: &Network, stop: &AtomicBool, tell: &mut dyn FnMut(Progress)| {
                let library = Library::at(dir.clone())?;
                let done = install(&library, &request, &Source::Hub(&hub, network), stop, &mut |progress| {
                    tell(progress.clone())
                });
                pause.write(dir, &request.id, true);
                done
            }
        };
        self.begin(&id, "beginning", TaskKind::Fetching, pause, fetch, Self::installed);
    }

    fn installed(&mut self, id: &str, done: Result<Manifest>) -> Outcome {
        match done {
            Ok(manifest) => {
                self.refresh_model(id);
                Outcome::done(format!("{} is installed.", manifest.name))
            }
            Err(Error::Cancelled) => Outcome::done("Stopped. What has arrived is kept; Download goes on from there."),
            Err(error) => Outcome::problem(&error),
        }
    }

    /// Compares a model's files with their hashes.
    pub(super) fn verify_model(&mut self, id: &str) {
        let Some(listed) = self.models.listed.iter().find(|listed| listed.id == id).cloned() else { return };
        let check = move |_: PathBuf, _: &Network, stop: &AtomicBool, tell: &mut dyn FnMut(Progress)| {
            verify(&listed.dir, stop, &mut |file: &Path| {
                let what = format!("checking {}", file.display());
                tell(Progress { what, ..Progress::default() });
            })
        };
        self.begin(id, "checking", TaskKind::Checking, Pause::default(), check, Self::verified);
    }

    fn verified(&mut self, _: &str, done: Result<Vec<Checked>>) -> Outcome {
        match done {
            Ok(files) => match files.iter().find_map(|file| Some((file, file.problem.as_ref()?))) {
                Some((file, problem)) => Outcome {
                    text: format!("{}: {problem}. Remove the model and fetch it again.", file.file.display()),
                    problem: true,
                },
                None => Outcome::done(format!("All {} files are as they were installed.", files.len())),
            },
            Err(Error::Cancelled) => Outcome::done("Stopped."),
            Err(error) => Outcome::problem(&error),
        }
    }

    /// Removes an installed model.
    pub(super) fn remove_model(&mut self, id: &str) {
        let listed = self.models.listed.iter().find(|listed| listed.id == id);
        let in_use = self.session.model.as_ref().map(|model| &model.dir);
        if listed.is_some_and(|listed| Some(&listed.dir) == in_use) {
            let text = "It is in use; use another model first.".into();
            self.models.outcomes.insert(id.to_owned(), Outcome { text, problem: true });
            return;
        }
        let name = id.to_owned();
        let remove = move |dir: PathBuf, _: &Network, _: &AtomicBool, _: &mut dyn FnMut(Progress)| {
            remove(&Library::at(dir)?, &name)
        };
        self.begin(id, "removing", TaskKind::Removing, Pause::default(), remove, |_, _, done| match done {
            Ok(()) => Outcome::done("Removed."),
            Err(error) => Outcome::problem(&error),
        });
    }

    /// Ends what is done to a model; what was fetched of it is kept, and does not go on by itself.
    pub(super) fn stop_model(&mut self, id: &str) {
        let Some(task) = self.models.going.get_mut(id) else { return };
        task.pause.asked.store(true, Ordering::Relaxed);
        task.ongoing.stop();
        task.progress.what = "stopping".into();
        if task.kind == TaskKind::Fetching
            && let Some(dir) = self.models.dir.clone()
        {
            let (pause, name) = (task.pause.clone(), id.to_owned());
            let write = move || {
                pause.write(dir, &name, false);
                Ok(())
            };
            self.queue.outbox().aside(write, |window: &mut Self, written| {
                if let Err(error) = written {
                    window.session.note(error.to_string(), true);
                }
            });
        }
    }

    /// Begins to do something to a model, unless something is done to it; `then` says what came of it.
    fn begin<T: Send + 'static>(
        &mut self,
        id: &str,
        what: &str,
        kind: TaskKind,
        pause: Pause,
        task: impl FnOnce(PathBuf, &Network, &AtomicBool, &mut dyn FnMut(Progress)) -> Result<T> + Send + 'static,
        then: impl FnOnce(&mut Self, &str, Result<T>) -> Outcome + Send + 'static,
    ) {
        if self.models.going.contains_key(id) {
            return;
        }
        self.models.outcomes.remove(id);
        let dir = match self.models.library() {
            Ok(dir) => dir,
            Err(error) => {
                self.models.outcomes.insert(id.to_owned(), Outcome::problem(&error));
                return;
            }
        };
        let (telling, ending) = (id.to_owned(), id.to_owned());
        let ongoing = self.exchange(
            move |network, tell, stop| {
                task(dir, network, stop, &mut |progress| {
                    let id = telling.clone();
                    tell.send(move |window: &mut Self| window.model_progress(&id, progress));
                })
            },
            move |window: &mut Self, done| {
                let outcome = then(window, &ending, done);
                window.models.going.remove(&ending);
                window.models.outcomes.insert(ending, outcome);
                window.list_models();
            },
        );
        let progress = Progress { what: what.into(), ..Progress::default() };
        self.models.going.insert(id.to_owned(), ModelTask { ongoing, pause, progress, kind });
    }

    fn model_progress(&mut self, id: &str, progress: Progress) {
        if let Some(task) = self.models.going.get_mut(id)
            && task.progress.what != "stopping"
        {
            task.progress = progress;
        }
    }

    /// The model in use has got further parts.
    fn refresh_model(&mut self, id: &str) {
        let dir = self.models.dir.as_ref().map(|dir| dir.join(id));
        self.models.refresh |= dir.is_some() && self.session.model.as_ref().map(|model| &model.dir) == dir.as_ref();
        self.refresh_if_due();
    }

    /// Reads further parts of the model in use once nothing is sampled with those it has and no other one is wanted.
    pub(super) fn refresh_if_due(&mut self) {
        if !self.models.refresh || self.models.is_switching || self.model_is_held().is_some() {
            return;
        }
        self.models.refresh = false;
        if let Some(dir) = self.session.model.as_ref().map(|model| model.dir.clone()) {
            self.load_model(dir);
        }
    }

    /// Reads a model that is used unless another one is by then: the first of the session, or the one in use once more.
    pub(super) fn load_model(&mut self, dir: PathBuf) {
        let from = dir.clone();
        self.queue.run(
            Lane::Read,
            move || LoadedModel::open(from),
            move |window: &mut Self, read| {
                if window.session.model.as_ref().is_none_or(|model| model.dir == dir) {
                    window.model_read(read);
                }
            },
        );
    }

    /// Why another model cannot be used now.
    fn model_is_held(&self) -> Option<&'static str> {
        let held = self.session.busy() || self.session.runs.waiting().next().is_some();
        held.then_some("Stop the sampling before another model is used.")
    }

    /// Reads a model to be used.
    pub(super) fn use_model(&mut self, dir: PathBuf) {
        match self.model_is_held() {
            Some(reason) => self.session.note(reason, true),
            None => self.switch_model(move || LoadedModel::open(dir)),
        }
    }

    fn switch_model(&mut self, read: impl FnOnce() -> Result<LoadedModel> + Send + 'static) {
        let ticket = self.models.switches.next();
        self.models.is_switching = true;
        self.queue.run(Lane::Read, read, move |window: &mut Self, read| {
            // Another one may have been asked for meanwhile.
            if ticket.is_latest() {
                window.models.is_switching = false;
                window.model_read(read);
            }
        });
    }

    fn model_read(&mut self, read: Result<LoadedModel>) {
        match read {
            Ok(model) => self.take_model(model),
            Err(error) => self.session.note(error.to_string(), true),
        }
    }

    /// Uses a model that was read: the first of the session, or another one. Runs of the old one stay if the new one has
    /// the same modalities; otherwise they have to be forgotten first.
    fn take_model(&mut self, model: LoadedModel) {
        if let Some(old) = self.session.model.clone() {
            if let Some(reason) = self.model_is_held() {
                if old.dir == model.dir {
                    self.models.refresh = true;
                    return;
                }
                return self.session.note(reason, true);
            }
            let same = old.manifest.modalities == model.manifest.modalities;
            if !same && !self.session.runs.all().is_empty() {
                let text = "That model has other modalities: save this session's runs and forget them first.";
                return self.session.note(text, true);
            }
            if !same {
                self.session.choices.restart(usual(&model.manifest.modalities, &|_| false));
                self.session.observed = None;
                self.read_no_longer();
                self.shown.spot = None;
                (self.shown.area, self.shown.area_figures) = (None, None);
                self.shown.thumbnails.clear();
                (self.session.window, self.session.moved) = (crate::scene::Window::Centre, false);
            }
            if old.dir != model.dir {
                self.models.refresh = false;
                self.session.note(format!("{} is used from now on.", model.manifest.name), false);
            }
            self.shown.modality =
                if same { self.shown.modality } else { Shown::first_choice(&model.manifest.modalities) };
        } else {
            self.shown.modality = Shown::first_choice(&model.manifest.modalities);
        }
        let absent: Vec<usize> =
            (0..model.manifest.modalities.len()).filter(|&i| model.manifest.is_absent(i)).collect();
        self.session.model = Some(Arc::new(model));
        self.session.forget_reference_values();
        if !absent.is_empty() {
            self.session.choices.roles(&absent, Role::Ignored);
        }
        if let Some(selection) = self.session.selection.clone()
            && self.session.observed.is_none()
        {
            self.go_to_picked();
            self.observe(selection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::window::explorer::{answered, bare};

    /// Folders of models that are their manifests alone.
    fn models() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("folder");
        let manifest = crate::files::bundled("models/demo/manifest.json").expect("manifest");
        for name in ["a", "b"] {
            std::fs::create_dir(dir.path().join(name)).expect("folder");
            std::fs::copy(&manifest, dir.path().join(name).join("manifest.json")).expect("copy");
        }
        dir
    }

    #[test]
    fn further_parts_of_a_model_do_not_bring_it_back() {
        let dir = models();
        let at = |name: &str| dir.path().join(name);
        // One can be used, the other one turns out to be gone.
        for (wanted, then) in [("b", "b"), ("gone", "a")] {
            let mut harness = bare(at("a"), Some(dir.path().to_path_buf()), None);
            let window = harness.state_mut();
            answered(window, |window| window.session.model.is_some());
            // Both before any answer is taken.
            window.use_model(at(wanted));
            window.installed("a", Manifest::open(&at("a")));
            window.queue.settle();
            window.take_answers();
            assert_eq!(window.session.model.as_ref().map(|model| model.dir.clone()), Some(at(then)));
            assert_eq!(window.models.refresh, then == "a", "what stays in use has still to be read anew");
            assert!(!window.models.is_switching);
        }
    }

    #[test]
    fn a_model_whose_reading_panics_is_told_and_holds_up_no_other() {
        let dir = models();
        let mut harness = bare(dir.path().join("a"), Some(dir.path().to_path_buf()), None);
        let window = harness.state_mut();
        answered(window, |window| window.session.model.is_some());
        window.switch_model(|| panic!("a manifest that nobody expected"));
        answered(window, |window| !window.models.is_switching);
        let found = window.session.notes.iter().find(|note| note.text.contains("a manifest that nobody expected"));
        assert!(found.is_some_and(|note| note.problem), "{:?}", window.session.notes);
        // What is due is read, and another one can be used.
        window.models.refresh = true;
        window.refresh_if_due();
        assert!(!window.models.refresh);
        window.use_model(dir.path().join("b"));
        answered(window, |window| window.session.model.as_ref().is_some_and(|model| model.dir.ends_with("b")));
    }
}
