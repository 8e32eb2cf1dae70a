//! Carries out commands: the one place where the session changes because somebody wished it.

use crate::app::command::Command;
use crate::app::command::Purpose;
use crate::app::state::find;
use crate::app::state::place::{KnownScene, Selection};
use crate::app::state::project;
use crate::app::state::runs::RunState;
use crate::app::state::session::Session;
use crate::app::state::tools::Tool;
use crate::app::view::shown::Base;
use crate::app::view::shown::Shown;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::export;
use crate::app::work::queue::{self, Reply};
use crate::basemap::LayerId;
use crate::job::{Event, PlaceData};
use crate::sampler::Role;
use egui::Context;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl ExplorerWindow {
    /// Carries out a command.
    pub fn apply(&mut self, ctx: &Context, command: Command) {
        let session = &mut self.session;
        match command {
            Command::Pick(selection) => {
                // A click on what is picked already is no new wish.
                if session.selection.as_ref() != Some(&selection) {
                    self.new_place();
                }
                self.pick(selection);
            }
            Command::MoveWindow(window) => {
                if let Some(selection) = session.selection.clone() {
                    (session.window, session.moved, session.observed) = (window, true, None);
                    self.observe(selection);
                }
            }
            Command::Centre(at, zoom) => self.map.centre(at, zoom),
            Command::Fit(at, side_m) => self.map.fit(at, side_m),
            Command::Zoom(levels) => self.map.zoom_by(levels),
            Command::Basemap(layer) => self.basemap(ctx, layer),
            Command::ForgetMap(path) => self.forget_map(&path),
            Command::MapNames(on) => self.map.set_names(on),
            Command::Theme(theme) => {
                ctx.set_theme(theme);
                self.preferences.light = theme == egui::Theme::Light;
                self.write_preferences();
            }
            Command::Role(i, role) => session.choices.role(i, role),
            Command::Roles(all, role) => session.choices.roles(&all, role),
            Command::Set(i, text) => session.choices.set(i, text),
            Command::Typed(i, text) => session.choices.typed(i, text),
            Command::Ask(question) => match session.choices_for(question) {
                Ok(choices) => session.choices.replace(choices),
                Err(reason) => session.note(format!("{}: {reason}", question.name()), true),
            },
            Command::Undo => session.choices.undo(),
            Command::Redo => session.choices.redo(),
            Command::Find(text) => self.find(&text),
            Command::Samples(samples) => session.samples = samples,
            Command::Steps(steps) => session.options.steps = steps,
            Command::Seed(seed) => session.seed = seed,
            Command::RandomSeed(random) => session.random_seed = random,
            Command::Computing(computing) => session.computing = computing,
            Command::Options(options, post) => (session.options, session.post) = (options, post),
            Command::Generate => self.generate(),
            Command::More => self.more(),
            Command::Stop => {
                if let Some(run) = session.runs.working_mut() {
                    run.state = RunState::Stopping;
                    self.worker.cancel();
                }
            }
            Command::Withdraw(place) => {
                let before = session.run().map(|run| run.id.clone());
                session.runs.withdraw(place);
                if session.run().map(|run| run.id.clone()) != before {
                    self.show_run();
                }
            }
            Command::ShowRun(at) => {
                session.runs.show(at);
                self.show_run();
            }
            Command::ForgetRun(at) => {
                let id = session.runs.all().get(at).filter(|run| !run.active()).map(|run| run.id.clone());
                session.runs.remove(at);
                if let (Some(id), Some(session_folder)) = (id, &self.session_folder) {
                    let dir = session_folder.dir().to_path_buf();
                    self.queue.run(move || Reply::Kept(crate::project::forget(&dir, &id)));
                }
                self.show_run();
            }
            Command::Modality(i) => {
                self.shown.show_modality(i);
                if session.run().is_some_and(|run| run.request.roles.get(i) != Some(&Role::Generated)) {
                    self.shown.base = Base::Observed;
                }
                self.order();
            }
            Command::Look(look) => {
                self.shown.look = look;
                self.order();
            }
            Command::OwnStretch(own) => {
                self.shown.own_stretch = own;
                self.order();
            }
            Command::Sort(sort) => self.shown.sort = sort,
            Command::Swipe(at) => self.shown.swipe = at,
            Command::Blink => self.shown.blink(&pinned(session)),
            Command::Recall => session.recall(),
            Command::Inspect(spot) => self.shown.spot = spot,
            Command::Tool(tool) => {
                self.shown.tool = tool;
                if tool == Tool::Ruler {
                    self.shown.ruler.clear();
                }
            }
            Command::Ruler(Some(at)) => self.shown.ruler.push(at),
            Command::Ruler(None) => self.shown.ruler.clear(),
            Command::Area(area) => {
                self.shown.area = area;
                self.order();
            }
            Command::Paint(stroke) => session.paint(stroke),
            Command::Settle => session.choices.settle(),
            Command::Placed(i, at) => {
                let lon = (at.lon + 180.0).rem_euclid(360.0) - 180.0;
                session.choices.set(i, format!("{:.5}, {lon:.5}", at.lat));
                self.shown.tool = Tool::Pointer;
            }
            Command::Measure(measure) => {
                (self.shown.measure, self.shown.fixed_range) = (measure, None);
                self.order();
            }
            Command::Quantity(i) => {
                (self.shown.quantity, self.shown.fixed_range) = (i, None);
                self.order();
            }
            Command::Step(by) => self.shown.step(by, &pinned(session)),
            Command::GalleryZoom(lens) => self.shown.gallery_zoom = lens,
            Command::TogglePlay => {
                let wish = Command::Play(self.shown.playing.is_none());
                self.apply(ctx, wish);
            }
            Command::RoleOfShown(role) => {
                let i = self.shown.modality;
                if role != Role::Given || session.can_be_given(i) {
                    session.choices.role(i, role);
                }
            }
            Command::Palette(open) => self.palette.set(open),
            Command::Guide(step) => self.guide = step,
            Command::Play(true) => self.shown.play(&pinned(session)),
            Command::Play(false) => self.shown.playing = None,
            Command::Pin(index, on) => {
                if let Some(run) = session.runs.shown_mut() {
                    if on {
                        run.pinned.insert(index)
                    } else {
                        run.pinned.remove(&index)
                    };
                }
            }
            Command::Base(base) => self.shown.base = base,
            Command::Spread(wanted) => self.shown.spread_wanted = wanted,
            Command::PictureOpacity(opacity) => self.shown.picture_opacity = opacity,
            Command::Range(range) => self.shown.fixed_range = range,
            Command::Opacity(opacity) => self.shown.opacity = opacity,
            Command::Tick(index, ticked) => {
                if let Some(run) = session.runs.shown_mut() {
                    if ticked {
                        run.chosen.insert(index)
                    } else {
                        run.chosen.remove(&index)
                    };
                }
            }
            Command::KeySheet(open) => self.key_sheet = open,
            Command::ExportWindow(open) => {
                self.form.open = open;
                self.form.problem = None;
            }
            Command::SceneWindow(open) => self.scene_form.open = open,
            Command::ProjectWindow(open) => self.project_form.open = open,
            Command::SaveProject(dir) => self.save_project(dir),
            Command::ChooseFolder(purpose) => self.queue.choose_folder(purpose),
            Command::OpenScene(dir) => {
                let place = self.new_place();
                self.open_scene(dir, place);
            }
            Command::OpenPaths(paths) => self.open_paths(paths),
            Command::OpenFiles(files) => {
                self.files_form.close();
                if let Some(files) = files {
                    let place = self.new_place();
                    self.open_files(files, place);
                }
            }
            Command::OpenTables(files, cell) => self.open_tables(files, cell),
            Command::FetchRows(rows) => {
                let place = self.new_place();
                self.fetch_rows(rows, place);
            }
            Command::CloseCells => self.cells_form.close(),
            Command::ExportOver(dir) => (self.form.dir, self.form.overwrite) = (dir.display().to_string(), true),
            Command::Export => {
                if let Some(order) = self.form.order(session, &self.shown) {
                    self.form.writing = true;
                    self.queue.run(move || export::export(order));
                }
            }
            Command::DataWindow(open) => self.data_window(open),
            Command::DataDays(from, to, most_cloud) => {
                (self.data.from, self.data.to, self.data.most_cloud) = (from, to, most_cloud);
            }
            Command::SearchData => self.search_data(),
            Command::FetchData => self.fetch_data(),
            Command::StopFetch => self.data.fetching = None,
            Command::RemoveKept(dir) => self.remove_kept(dir),
            Command::KeepAtMost(bytes) => self.keep_at_most(bytes),
            Command::ModelsWindow(open) => {
                self.models_form.open = open;
                self.list_models();
            }
            Command::FetchModel(wish) => self.fetch_model(wish),
            Command::StopModel(id) => self.stop_model(&id),
            Command::UseModel(dir) => self.use_model(dir),
            Command::VerifyModel(id) => self.verify_model(&id),
            Command::RemoveModel(id) => self.remove_model(&id),
            Command::Offline(offline) => {
                self.exchanges.network.set_offline(offline);
                session.offline = self.exchanges.network.is_offline();
                if session.offline && !offline {
                    let text = format!("{} keeps this program off the network.", crate::net::OFFLINE_VARIABLE);
                    session.note(text, true);
                }
                self.map.retry();
                self.preferences.offline = offline;
                self.write_preferences();
            }
            Command::Dismiss(i) => {
                if i < session.notes.len() {
                    session.notes.remove(i);
                }
            }
        }
    }

    pub(super) fn pick(&mut self, selection: Selection) {
        if let Selection::Cell(cell) = selection
            && let Some(dir) = self.session.collected(cell)
        {
            return self.open_scene(dir, self.places);
        }
        let known = self.session.observed.is_some() || self.session.reading > 0;
        if self.session.selection.as_ref() == Some(&selection) && known && !self.session.moved {
            return;
        }
        self.session.selection = Some(selection.clone());
        self.session.observed = None;
        (self.session.window, self.session.moved) = (crate::scene::Window::Centre, false);
        self.look();
        // Notes about the old place; problems stay until they are read.
        self.session.notes.retain(|note| note.problem);
        self.shown.thumbnails.clear();
        self.shown.spot = None;
        (self.shown.area, self.shown.area_figures) = (None, None);
        self.observe(selection);
    }

    /// Moves the map to the picked scene.
    pub(super) fn look(&mut self) {
        if let (Some(Selection::Scene(i)), Some(table)) = (&self.session.selection, self.session.table())
            && let Some(middle) = self.session.scenes.get(*i).and_then(|known| known.scene.location())
        {
            self.map.fit(middle, table.window_m());
        }
    }

    /// Reads the picked place, once the model is known.
    pub(super) fn observe(&mut self, selection: Selection) {
        let Some(table) = self.session.table().cloned() else { return };
        let place = match self.session.place(&selection) {
            Ok(place) => place,
            Err(error) => return self.session.note(error.to_string(), true),
        };
        self.orders += 1;
        let order = self.orders;
        self.session.reading = order;
        let kept = self.session.kept.clone();
        self.queue.run(move || {
            if let (Some(kept), PlaceData::Scene(dir)) = (kept, &place.data) {
                kept.touch(dir);
            }
            queue::observe_place(order, &place, &table)
        });
    }

    /// Asks for a run of the choices; it is looked at at once unless another one goes on.
    fn generate(&mut self) {
        if self.session.random_seed {
            self.session.seed = random_seed();
        }
        match self.session.request() {
            Ok(request) => self.session.asked(request),
            Err(error) => return self.session.note(error.to_string(), true),
        }
        if !self.session.busy() {
            self.session.runs.show(usize::MAX);
            self.show_run();
        }
        self.next_run();
    }

    fn more(&mut self) {
        match self.session.more() {
            Ok(request) => self.session.runs.extend(request),
            Err(error) => self.session.note(error.to_string(), true),
        }
        self.next_run();
    }

    /// Hands the next request to the worker, if it is idle.
    pub(super) fn next_run(&mut self) {
        while let Some(request) = self.session.runs.begin_next() {
            if let Err(error) = self.worker.start(request) {
                self.session.event(Event::Failed(error.to_string()));
            }
        }
    }

    /// Has the pictures of the run that is looked at painted.
    pub(super) fn show_run(&mut self) {
        self.shown.forget_run();
        self.shown.base = Base::Observed;
        let Some(run) = self.session.run() else { return };
        self.shown.fresh_run = true;
        if run.request.roles.get(self.shown.modality) != Some(&Role::Generated) {
            self.show_a_generated_modality();
        }
        self.order();
    }

    /// Moves to what was typed: a scene by its name, a grid cell, or coordinates.
    fn find(&mut self, text: &str) {
        let named = |known: &KnownScene| known.scene.name().to_lowercase().contains(&text.to_lowercase());
        match find::place(text) {
            Some(found) => {
                self.map.fit(found.middle, found.side_m);
                self.new_place();
                self.pick(Selection::Cell(found.cell));
            }
            None => match self.session.scenes.iter().position(named) {
                Some(i) => {
                    self.new_place();
                    self.pick(Selection::Scene(i));
                }
                None => self.session.note(
                    format!("\"{text}\" was not found: type a latitude and longitude such as 46.5, 11.35, a grid cell such as 618U_30L, or part of a scene's name."),
                    true,
                ),
            },
        }
    }

    fn show_a_generated_modality(&mut self) {
        let (Some(table), Some(run)) = (self.session.table(), self.session.run()) else { return };
        let generated = run.request.roles.with(Role::Generated);
        let best = Some(Shown::first_choice(table)).filter(|i| generated.contains(i));
        let image = generated.iter().copied().find(|&i| !table[i].is_scalar());
        if let Some(i) = best.or(image).or(generated.first().copied()) {
            self.shown.show_modality(i);
        }
    }

    /// Has the gallery painted anew.
    pub(super) fn order(&mut self) {
        if let Some(order) = self.shown.order(&self.session) {
            let latest = self.newest.clone();
            latest.store(order.serial, Ordering::Relaxed);
            self.queue.run(move || queue::paint(&order, &latest));
        }
    }

    fn save_project(&mut self, dir: PathBuf) {
        self.project_form.open = false;
        match (project::project(&self.session), self.session.table().cloned()) {
            (Some(project), Some(table)) => {
                let members: Vec<_> = self.session.runs.all().iter().map(|run| run.realisations.clone()).collect();
                self.queue.run(move || queue::save_project(dir, &project, &table, &members));
            }
            _ => self.session.note("There is nothing to save yet: pick a place first.", true),
        }
    }

    /// Has written what the session has to keep, if it is time; when to look again.
    pub(super) fn keep(&mut self) -> Option<Duration> {
        let session_folder = self.session_folder.as_mut()?;
        if let Some(rest) = session_folder.rest() {
            return Some(rest);
        }
        if session_folder.try_again() {
            self.keep_runs_from(0);
        }
        let session_folder = self.session_folder.as_mut()?;
        if let Some((dir, project)) = session_folder.due(&self.session) {
            self.queue.run(move || queue::keep_project(&dir, &project));
        }
        None
    }

    pub(super) fn chosen(&mut self, purpose: Purpose, dir: PathBuf) {
        match purpose {
            Purpose::OpenScene => {
                let place = self.new_place();
                self.open_scene(dir, place);
            }
            Purpose::Export => self.form.dir = dir.display().to_string(),
            Purpose::MapFile => self.open_map(LayerId::File(dir)),
            Purpose::Project => self.project_form.dir = dir.display().to_string(),
        }
    }
}

/// Realisations pinned to the front of the gallery.
pub(super) fn pinned(session: &Session) -> BTreeSet<u64> {
    session.run().map(|run| run.pinned.clone()).unwrap_or_default()
}

/// A seed nobody chose: short enough to be read out.
fn random_seed() -> u64 {
    // The hasher's keys are the standard library's own random numbers.
    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0u8) % 1_000_000
}
