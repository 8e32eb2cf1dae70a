//! Models that are known, fetched, used, checked and removed from the window.

use crate::app::state::choices::usual;
use crate::app::state::model::LoadedModel;
use crate::app::state::models::{Going, Outcome, Pause, Work};
use crate::app::view::shown::Shown;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::exchange::{Exchange, News};
use crate::app::work::queue;
use crate::error::{Error, Result};
use crate::hub::{Checked, Library, Listed, Progress, Source, Wish, install, remove, verify};
use crate::model::Manifest;
use crate::sampler::Role;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an exchange about a model tells.
pub enum ModelNews {
    /// How far it is.
    Progress(Progress),
    /// It was fetched, or could not be.
    Installed(Box<Result<Manifest>>),
    /// Its files were checked.
    Verified(Result<Vec<Checked>>),
    /// It was removed, or could not be.
    Removed(Result<()>),
    /// Nothing could be done.
    Failed(Error),
}

impl ExplorerWindow {
    /// Has the models listed anew.
    pub(super) fn list_models(&mut self) {
        let Some(dir) = self.models.dir.clone() else { return };
        self.models.listings[0] += 1;
        let number = self.models.listings[0];
        let listing = self.exchanges.send(News::Broken, move |_, teller, _| {
            teller.tell(News::Models(number, Library::at(dir).map(|l| l.list())))
        });
        self.keep_on(listing);
    }

    /// A short exchange that does not look whether it should stop; that it cannot begin is told.
    fn keep_on(&mut self, exchange: Result<Exchange>) {
        if let Err(error) = exchange {
            self.session.note(error.to_string(), true);
        }
    }

    /// Takes the list; what was interrupted by the end of the program goes on.
    pub(super) fn models_listed(&mut self, number: u64, listed: Result<Vec<Listed>>) {
        if number < self.models.listings[1] {
            return;
        }
        self.models.listings[1] = number;
        match listed {
            Ok(listed) => self.models.listed = listed,
            Err(error) => return self.session.note(error.to_string(), true),
        }
        if !std::mem::replace(&mut self.models.resumed, true) {
            let wishes: Vec<Wish> = self.models.listed.iter().filter_map(|listed| listed.going_on.clone()).collect();
            let online = !self.session.offline;
            wishes.into_iter().filter(|_| online).for_each(|wish| self.fetch_model(wish));
        }
    }

    /// Begins to fetch a model, or the rest of it.
    pub(super) fn fetch_model(&mut self, wish: Wish) {
        let (id, hub) = (wish.id.clone(), self.models.hub.clone());
        let pause = Pause::default();
        self.begin(&id, "beginning", Work::Fetching, pause.clone(), move |dir, network, stop, tell| {
            let library = Library::at(dir.clone())?;
            let done = install(&library, &wish, &Source::Hub(&hub, network), stop, &mut |progress| {
                tell(ModelNews::Progress(progress.clone()));
            });
            pause.write(dir, &wish.id, true);
            Ok(ModelNews::Installed(Box::new(done)))
        });
    }

    /// Compares a model's files with their hashes.
    pub(super) fn verify_model(&mut self, id: &str) {
        let Some(listed) = self.models.listed.iter().find(|listed| listed.id == id).cloned() else { return };
        self.begin(id, "checking", Work::Checking, Pause::default(), move |_, _, stop, tell| {
            let told = &mut |file: &Path| {
                let what = format!("checking {}", file.display());
                tell(ModelNews::Progress(Progress { what, ..Progress::default() }));
            };
            Ok(ModelNews::Verified(verify(&listed.dir, stop, told)))
        });
    }

    /// Removes an installed model.
    pub(super) fn remove_model(&mut self, id: &str) {
        let listed = self.models.listed.iter().find(|listed| listed.id == id);
        let in_use = self.session.model.as_ref().map(|model| &model.dir);
        if listed.is_some_and(|listed| Some(&listed.dir) == in_use) {
            return self.outcome(id, "It is in use; use another model first.", true);
        }
        let name = id.to_owned();
        self.begin(id, "removing", Work::Removing, Pause::default(), move |dir, _, _, _| {
            Ok(ModelNews::Removed(remove(&Library::at(dir)?, &name)))
        });
    }

    /// Ends what is done to a model; what was fetched of it is kept, and does not go on by itself.
    pub(super) fn stop_model(&mut self, id: &str) {
        let Some(going) = self.models.going.get_mut(id) else { return };
        going.pause.wished.store(true, Ordering::Relaxed);
        going.exchange.stop();
        going.progress.what = "stopping".into();
        if going.work == Work::Fetching
            && let Some(dir) = self.models.dir.clone()
        {
            let (pause, name) = (going.pause.clone(), id.to_owned());
            let paused = self.exchanges.send(News::Broken, move |_, _, _| pause.write(dir, &name, false));
            self.keep_on(paused);
        }
    }

    fn begin(
        &mut self,
        id: &str,
        what: &str,
        work: Work,
        pause: Pause,
        exchange: impl FnOnce(PathBuf, &crate::net::Network, &AtomicBool, &mut dyn FnMut(ModelNews)) -> Result<ModelNews>
        + Send
        + 'static,
    ) {
        if self.models.going.contains_key(id) {
            return;
        }
        self.models.outcomes.remove(id);
        let name = id.to_owned();
        let exchange = self.models.library().and_then(|dir| {
            let id = name.clone();
            let broken = move |error| News::Model(id, ModelNews::Failed(error));
            self.exchanges.send(broken, move |network, teller, stop| {
                let mut tell = |news| teller.tell(News::Model(name.clone(), news));
                match exchange(dir, network, stop, &mut tell) {
                    Ok(news) => tell(news),
                    Err(error) => tell(ModelNews::Failed(error)),
                }
            })
        });
        match exchange {
            Ok(exchange) => {
                let progress = Progress { what: what.into(), ..Progress::default() };
                self.models.going.insert(id.to_owned(), Going { exchange, pause, progress, work });
            }
            Err(error) => self.outcome(id, error.to_string(), true),
        }
    }

    fn outcome(&mut self, id: &str, text: impl Into<String>, problem: bool) {
        self.models.outcomes.insert(id.to_owned(), Outcome { text: text.into(), problem });
    }

    /// Takes what an exchange about a model has told.
    pub(super) fn model_news(&mut self, id: &str, news: ModelNews) {
        let (text, problem) = match news {
            ModelNews::Progress(progress) => {
                if let Some(going) = self.models.going.get_mut(id)
                    && going.progress.what != "stopping"
                {
                    going.progress = progress;
                }
                return;
            }
            ModelNews::Installed(done) => match *done {
                Ok(manifest) => {
                    self.refresh_model(id);
                    (format!("{} is installed.", manifest.name), false)
                }
                Err(Error::Cancelled) => {
                    ("Stopped. What has arrived is kept; Download goes on from there.".into(), false)
                }
                Err(error) => (error.to_string(), true),
            },
            ModelNews::Verified(Ok(files)) => {
                match files.iter().find_map(|file| Some((file, file.problem.as_ref()?))) {
                    Some((file, problem)) => {
                        (format!("{}: {problem}. Remove the model and fetch it again.", file.file.display()), true)
                    }
                    None => (format!("All {} files are as they were installed.", files.len()), false),
                }
            }
            ModelNews::Removed(Ok(())) => ("Removed.".into(), false),
            ModelNews::Verified(Err(Error::Cancelled)) => ("Stopped.".into(), false),
            ModelNews::Verified(Err(error)) | ModelNews::Removed(Err(error)) | ModelNews::Failed(error) => {
                (error.to_string(), true)
            }
        };
        self.models.going.remove(id);
        self.outcome(id, text, problem);
        self.list_models();
    }

    /// The model in use has got further parts.
    fn refresh_model(&mut self, id: &str) {
        let dir = self.models.dir.as_ref().map(|dir| dir.join(id));
        self.models.refresh |= dir.is_some() && self.session.model.as_ref().map(|model| &model.dir) == dir.as_ref();
        self.refresh_if_due();
    }

    /// Reads further parts of the model in use once nothing is sampled with those it has and no other one is wanted.
    pub(super) fn refresh_if_due(&mut self) {
        if !self.models.refresh || self.models.wanted.is_some() || self.model_is_held().is_some() {
            return;
        }
        self.models.refresh = false;
        if let Some(dir) = self.session.model.as_ref().map(|model| model.dir.clone()) {
            self.queue.run(move || queue::load_model(dir));
        }
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
            None => {
                self.models.wanted = Some(dir.clone());
                self.queue.run(move || queue::load_model(dir));
            }
        }
    }

    /// A model was read: the one wished for last, or the one in use with further parts. Any other one comes too late.
    pub(super) fn model_read(&mut self, dir: &Path, read: Result<LoadedModel>) {
        let wanted = self.models.wanted.take_if(|wanted| *wanted == dir).is_some();
        let in_use = self.session.model.as_ref().is_none_or(|model| model.dir == dir);
        match read {
            _ if !wanted && !in_use => {}
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
        if !absent.is_empty() {
            self.session.choices.roles(&absent, Role::Ignored);
        }
        if let Some(selection) = self.session.selection.clone()
            && self.session.observed.is_none()
        {
            self.look();
            self.observe(selection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::window::explorer::bare;

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
            let mut harness = bare(at("a"), Some(dir.path().to_path_buf()));
            let ctx = harness.ctx.clone();
            let window = harness.state_mut();
            let begun = std::time::Instant::now();
            while window.session.model.is_none() {
                assert!(begun.elapsed().as_secs() < 60, "the model is not read: {:?}", window.session.notes);
                window.replies(&ctx);
                std::thread::yield_now();
            }
            // Both before any answer is taken.
            window.use_model(at(wanted));
            window.model_news("a", ModelNews::Installed(Box::new(Manifest::open(&at("a")))));
            window.queue.finish();
            window.replies(&ctx);
            assert_eq!(window.session.model.as_ref().map(|model| model.dir.clone()), Some(at(then)));
            assert_eq!(window.models.refresh, then == "a", "what stays in use has still to be read anew");
            assert_eq!(window.models.wanted, None);
        }
    }
}
