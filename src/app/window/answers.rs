//! What the background threads answer.

use crate::app::command::Purpose;
use crate::app::state::project::Restored;
use crate::app::state::runs::Run;
use crate::app::view::shown::{Base, Shown};
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::exchange::News;
use crate::app::work::queue::{self, Reply};
use crate::error::Result;
use crate::job::Event;
use egui::Context;
use std::path::Path;

impl ExplorerWindow {
    /// Takes what the worker has told.
    pub(super) fn events(&mut self) {
        let mut preview = None;
        let mut repaint = false;
        while let Ok(event) = self.worker.events.try_recv() {
            match event {
                // Only the newest preview is worth painting.
                Event::Preview { index, modality, raster } => {
                    preview = Some((index, modality, raster));
                    continue;
                }
                Event::Realisation(_) | Event::Finished { .. } | Event::Failed(_) => {
                    preview = None;
                    self.shown.preview = None;
                    repaint |= self.session.run().is_some_and(Run::working);
                }
                _ => {}
            }
            if let (Event::Realisation(made), Some(run), Some(session_folder), Some(table)) =
                (&event, self.session.runs.working(), &self.session_folder, self.session.table().cloned())
            {
                let (dir, id, made) = (session_folder.dir().to_path_buf(), run.id.clone(), made.clone());
                self.queue.run(move || queue::keep_realisation(&dir, &id, &table, &made));
            }
            self.session.event(event);
        }
        self.next_run();
        self.refresh_if_due();
        if repaint {
            self.order();
        }
        if let Some((index, modality, raster)) = preview
            && let Some(m) = self.session.table().and_then(|table| table.get(modality)).cloned()
            && let Some(run) = self.session.runs.working().map(|run| run.id.clone())
        {
            self.queue.run(move || queue::paint_preview(run, &m, index, modality, &raster));
        }
    }

    /// Takes what exchanges with servers have told.
    pub(super) fn news(&mut self, ctx: &Context) {
        while let Ok(news) = self.exchanges.news.try_recv() {
            match news {
                News::Broken(error) => self.session.note(error.to_string(), true),
                News::Surveyed(serial, found) => self.surveyed(serial, found),
                News::Pictured(url, image) => self.pictured(ctx, url, image),
                News::Fetching(serial, progress) => {
                    if let Some(fetching) = self.data.fetching.as_mut().filter(|fetching| fetching.serial == serial) {
                        fetching.progress = progress;
                    }
                }
                News::Fetched(serial, done) => self.fetched(serial, done),
                News::MadeRoom(removed) => self.made_room(removed),
                News::CellsListed(number, listed) => self.cells_listed(number, listed),
                News::CellFetched(number, fetched) => self.cell_fetched(number, fetched),
                News::Models(number, listed) => self.models_listed(number, listed),
                News::Model(id, news) => self.model_news(&id, news),
            }
        }
    }

    fn broken(&mut self, text: &str) {
        let text = format!("A task in the background failed ({text}); please report it. Work goes on.");
        self.session.note(text, true);
    }

    /// Takes what the queue has done.
    pub(super) fn replies(&mut self, ctx: &Context) {
        while let Ok(reply) = self.queue.replies.try_recv() {
            match reply {
                Reply::Model(dir, read) => self.model_read(&dir, read),
                Reply::Scene(Ok(known), place) => self.scene_opened(known, place),
                Reply::Collection(collection, place) => self.collected(*collection, place.unwrap_or_default()),
                Reply::Settings(path, settings) => {
                    self.session.take(*settings);
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let text = format!("Roles, values, switches and seed of {name} were taken over.");
                    self.session.note(text, false);
                }
                Reply::Recognised(files, place) => self.recognised(files, place),
                Reply::KeptScenes(scenes) => scenes.into_iter().for_each(|known| {
                    self.session.add_scene(known);
                }),
                Reply::Store(Ok((store, removed))) => {
                    self.data.store = store;
                    self.made_room(Ok(removed));
                }
                Reply::Store(Err(error)) => self.session.note(error.to_string(), true),
                Reply::Chart(Ok(chart)) => self.map.set_chart(*chart),
                Reply::MapFile(layer, opened) => self.map_opened(ctx, layer, *opened),
                Reply::Observed(order, result) => {
                    // Another place was picked meanwhile.
                    if order != self.session.reading {
                        continue;
                    }
                    self.session.reading = 0;
                    match result {
                        Ok((observed, thumbnails)) => {
                            self.shown.place(ctx, thumbnails);
                            self.session.observed(observed);
                            self.order();
                        }
                        Err(error) => {
                            self.session.selection = None;
                            self.session.note(error.to_string(), true);
                        }
                    }
                }
                Reply::Painted(painted) => {
                    self.shown.painted(ctx, *painted);
                    // The first result of a run shows itself.
                    if let Some(&first) = self.shown.realisations.keys().next()
                        && std::mem::take(&mut self.shown.fresh_run)
                    {
                        self.shown.base = Base::Realisation(first);
                    }
                }
                Reply::Superseded => {}
                Reply::Broken(text) => {
                    self.form.writing = false;
                    self.broken(&text);
                }
                Reply::Preview(run, index, modality, image) => {
                    // It may come after what it is a preview of.
                    let made = |run: &Run| run.realisations.iter().any(|made| made.index == index);
                    if self.session.runs.working().is_some_and(|working| working.id == run && !made(working)) {
                        self.shown.previewed(ctx, index, modality, image);
                    }
                }
                Reply::Exported(dir, result) => {
                    self.form.writing = false;
                    match result {
                        Ok(paths) => {
                            self.form.open = false;
                            let text = format!("{} files were written to {}.", paths.len(), dir.display());
                            self.session.note(text, false);
                        }
                        Err(error) => self.form.problem = Some(error.to_string()),
                    }
                }
                Reply::Restored(dir, restored, place) => self.restored(&dir, *restored, place),
                Reply::Kept(Ok(())) => {}
                Reply::Kept(Err(error)) => {
                    if let Some(session_folder) = &mut self.session_folder {
                        session_folder.failed();
                    }
                    let text = format!("The session is not kept for the next start until this is mended: {error}");
                    self.session.note(text, true);
                }
                Reply::Saved(Ok(dir)) => {
                    self.remember(&dir);
                    self.session.note(format!("The project was saved to {}.", dir.display()), false);
                }
                Reply::Saved(Err(error)) => self.session.note(error.to_string(), true),
                Reply::Folder(purpose, Some(dir)) => self.chosen(purpose, dir),
                Reply::Folder(Purpose::MapFile, None) => self.session.note(
                    "No file was chosen. If no dialog opened, type its path under \"Open …\" or drop it on the window.",
                    false,
                ),
                Reply::Folder(_, None) => self.session.note(
                    "No folder was chosen. If no dialog opened, type the folder instead or drop it on the window.",
                    false,
                ),
                Reply::Scene(Err(error), _) | Reply::Chart(Err(error)) => self.session.note(error.to_string(), true),
            }
        }
    }

    fn restored(&mut self, dir: &Path, restored: Result<Restored>, place: u64) {
        let own = self.session_folder.as_ref().is_some_and(|session_folder| session_folder.dir() == dir);
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => {
                self.session.note(error.to_string(), true);
                if own && crate::project::Project::read(dir).is_ok() {
                    // It can be read, so it stays as it is.
                    self.session_folder = None;
                    self.session
                        .note("This session is not kept for the next start; the last one stays as it is.", true);
                } else if own {
                    match crate::project::set_aside(dir) {
                        Ok(aside) => self.session.note(
                            format!("The last session could not be read; it is kept as {}.", aside.display()),
                            true,
                        ),
                        // Nothing is written over it.
                        Err(_) => self.session_folder = None,
                    }
                }
                return;
            }
        };
        // A run that goes on is not thrown away.
        if self.session.busy() || self.session.runs.waiting().next().is_some() {
            return self.session.note("Stop the sampling before opening a project.", true);
        }
        let same = self.session.table().is_none_or(|table| *table == restored.model.manifest.modalities);
        if !same && !self.session.runs.all().is_empty() {
            let text = "This project was made with a model of other modalities: save this session's runs and forget them first.";
            return self.session.note(text, true);
        }
        if let Some(earlier) = &restored.earlier {
            self.remember(earlier);
            let text = format!(
                "The runs of the last session were made with a model of other modalities. They are kept as a project of \
                 their own, {}: open it to see them.",
                earlier.display()
            );
            self.session.note(text, true);
        }
        let before = self.session.runs.all().len();
        // A place that was picked meanwhile stays.
        restored.apply(&mut self.session, place == self.places);
        if !own {
            self.remember(dir);
            self.keep_runs_from(before);
        }
        if let Some(table) = self.session.table() {
            self.shown.modality = Shown::first_choice(table);
        }
        self.show_run();
        if let Some(selection) = self.session.selection.clone().filter(|_| self.session.observed.is_none()) {
            self.look();
            self.observe(selection);
        }
    }

    /// Has the realisations of runs from this place on written into the session's folder.
    pub(super) fn keep_runs_from(&mut self, first: usize) {
        let (Some(session_folder), Some(table)) = (&self.session_folder, self.session.table().cloned()) else { return };
        let runs = self.session.runs.all().iter().skip(first);
        let runs: Vec<_> = runs.map(|run| (run.id.clone(), run.realisations.clone())).collect();
        let dir = session_folder.dir().to_path_buf();
        self.queue.run(move || queue::keep_missing(&dir, &table, &runs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::state::runs;
    use crate::app::window::explorer as window;
    use crate::ensemble::Realisation;
    use std::sync::Arc;

    #[test]
    fn a_preview_does_not_appear_beside_what_it_was_a_preview_of() {
        let mut harness = window::bare(crate::files::bundled("models/demo").expect("model"), None);
        let ctx = harness.ctx.clone();
        let window = harness.state_mut();
        window.session.runs.add(runs::tests::run(1));
        window.session.runs.begin_next();
        let run = window.session.runs.working_mut().expect("a run");
        run.realisations.push(Arc::new(Realisation { index: 0, seed: 1, values: Vec::new() }));
        for index in [1, 0] {
            let id = window.session.runs.working().expect("a run").id.clone();
            let picture = Arc::new(egui::ColorImage::filled([1, 1], egui::Color32::BLACK));
            window.queue.run(move || Reply::Preview(id, index, 0, picture));
        }
        window.queue.finish();
        window.replies(&ctx);
        assert_eq!(window.shown.preview.as_ref().map(|(index, ..)| *index), Some(1));
    }
}
