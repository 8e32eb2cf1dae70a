//! Carries out commands: the one place where the session changes because somebody asked for it.

use crate::app::command::{Command, FileChoice};
use crate::app::state::runs::RunState;
use crate::app::state::tools::Tool;
use crate::app::view::shown::Base;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::export;
use crate::app::work::queue::Lane;
use crate::basemap::LayerId;
use crate::error::Result;
use crate::sampler::Role;
use std::path::PathBuf;

impl ExplorerWindow {
    /// Carries out a command.
    pub fn apply(&mut self, command: Command) {
        let session = &mut self.session;
        match command {
            Command::Pick(selection) => {
                // A click on what is picked already asks for nothing new.
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
            Command::Basemap(layer) => self.base_map(layer),
            Command::ForgetMap(path) => self.forget_map(&path),
            Command::MapNames(on) => self.map.set_names(on),
            Command::Theme(theme) => {
                self.ctx.set_theme(theme);
                self.preferences.light = theme == egui::Theme::Light;
                self.write_preferences();
            }
            Command::Role(i, role) => session.choices.role(i, role),
            Command::Roles(all, role) => session.choices.roles(&all, role),
            Command::Set(i, text) => session.choices.set(i, text),
            Command::Typed(i, text) => session.choices.typed(i, text),
            Command::Ask(question) => match session.choices_for(question) {
                Ok(choices) => {
                    if let Some(remark) = session.remark_on(question, &choices) {
                        session.note(remark, false);
                    }
                    session.choices.replace(choices);
                }
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
            Command::Withdraw(place) => self.withdraw(place),
            Command::ShowRun(at) => {
                session.runs.show(at);
                self.show_run();
            }
            Command::ForgetRun(at) => self.forget_run(at),
            Command::Modality(i) => {
                self.shown.show_modality(i);
                if session.run().is_some_and(|run| !run.request.roles.generated(i)) {
                    self.shown.base = Base::Observed;
                }
                self.paint_gallery();
            }
            Command::Look(look) => {
                self.shown.look = look;
                self.paint_gallery();
            }
            Command::OwnStretch(own) => {
                self.shown.own_stretch = own;
                self.paint_gallery();
            }
            Command::Sort(sort) => self.shown.sort = sort,
            Command::Compare(dir) => {
                session.compare(dir.as_deref());
                self.paint_gallery();
            }
            Command::Swipe(at) => self.shown.swipe = at,
            Command::Blink => self.shown.blink(&session.pinned()),
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
                self.paint_gallery();
            }
            Command::Keep(modalities, keep) => session.choices.keep(&modalities, &keep),
            Command::Paint(stroke) => session.paint(stroke.brush, |map, ground_m| stroke.onto(map, ground_m)),
            Command::Fill(brush, outline) => session.paint(brush, |map, _| brush.fill(map, &outline)),
            Command::EndUndoStep => session.choices.end_undo_step(),
            Command::Placed(i, at) => {
                let lon = (at.lon + 180.0).rem_euclid(360.0) - 180.0;
                session.choices.set(i, format!("{:.5}, {lon:.5}", at.lat));
                self.shown.tool = Tool::Pointer;
            }
            Command::Measure(measure) => {
                (self.shown.measure, self.shown.fixed_range) = (measure, None);
                self.paint_gallery();
            }
            Command::Quantity(i) => {
                (self.shown.quantity, self.shown.fixed_range) = (i, None);
                self.paint_gallery();
            }
            Command::Step(by) => self.shown.step(by, &session.pinned()),
            Command::GalleryZoom(lens) => self.shown.gallery_zoom = lens,
            Command::TogglePlay => {
                let play = Command::Play(self.shown.playing.is_none());
                self.apply(play);
            }
            Command::RoleOfShown(role) => {
                let i = self.shown.modality;
                if role != Role::Given || session.can_be_given(i) {
                    session.choices.role(i, role);
                }
            }
            Command::Palette(open) => self.palette.set(open),
            Command::Guide(step) => self.guide = step,
            Command::Play(true) => self.shown.play(&session.pinned()),
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
            Command::ChooseFolder(purpose) => self.choose(purpose),
            Command::OpenScene(dir) => {
                let place = self.new_place();
                self.open_folder(dir, place);
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
            Command::Export => self.export(),
            Command::DataWindow(open) => self.data_window(open),
            Command::DataDays(from, to, most_cloud) => {
                (self.data.from, self.data.to, self.data.most_cloud) = (from, to, most_cloud);
            }
            Command::SearchData => self.search_data(),
            Command::FetchData => self.fetch_data(),
            Command::StopFetch => self.stop_fetch(),
            Command::RemoveKept(dir) => self.remove_kept(dir),
            Command::KeepAtMost(bytes) => self.keep_at_most(bytes),
            Command::ModelsWindow(open) => {
                self.models_form.open = open;
                self.list_models();
            }
            Command::FetchModel(request) => self.fetch_model(request),
            Command::StopModel(id) => self.stop_model(&id),
            Command::UseModel(dir) => self.use_model(dir),
            Command::VerifyModel(id) => self.verify_model(&id),
            Command::RemoveModel(id) => self.remove_model(&id),
            Command::Offline(offline) => {
                self.network.set_offline(offline);
                session.offline = self.network.is_offline();
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

    /// Asks for a folder or file in a dialog of the system, on a thread of its own: it may stay open for long.
    fn choose(&self, purpose: FileChoice) {
        let choose = move || {
            let dialog = rfd::FileDialog::new();
            Ok(match purpose {
                FileChoice::MapFile => dialog.add_filter("Map tiles", &["pmtiles", "mbtiles"]).pick_file(),
                _ => dialog.pick_folder(),
            })
        };
        self.queue.outbox().aside(choose, move |window: &mut Self, chosen| match (chosen, purpose) {
            (Ok(Some(path)), _) => window.chosen(purpose, path),
            // Closed without a choice, or there is no dialog to open.
            (Ok(None), FileChoice::MapFile) => window.session.note(
                "No file was chosen. If no dialog opened, type its path under \"Open …\" or drop it on the window.",
                false,
            ),
            (Ok(None), _) => window.session.note(
                "No folder was chosen. If no dialog opened, type the folder instead or drop it on the window.",
                false,
            ),
            (Err(error), _) => window.session.note(error.to_string(), true),
        });
    }

    fn chosen(&mut self, purpose: FileChoice, dir: PathBuf) {
        match purpose {
            FileChoice::OpenScene => {
                let place = self.new_place();
                self.open_folder(dir, place);
            }
            FileChoice::Export => self.form.dir = dir.display().to_string(),
            FileChoice::MapFile => self.open_map(LayerId::File(dir)),
            FileChoice::Project => self.project_form.dir = dir.display().to_string(),
        }
    }

    /// Writes what the export window asks for.
    fn export(&mut self) {
        let Some(order) = self.form.order(&self.session, &self.shown) else { return };
        self.form.writing = true;
        self.queue.run(Lane::Write, move || export::export(order), Self::exported);
    }

    fn exported(&mut self, written: Result<(PathBuf, Vec<PathBuf>)>) {
        self.form.writing = false;
        match written {
            Ok((dir, paths)) => {
                self.form.open = false;
                self.session.note(format!("{} files were written to {}.", paths.len(), dir.display()), false);
            }
            Err(error) => self.form.problem = Some(error.to_string()),
        }
    }
}
