//! The window: carries out commands, takes what the background threads answer, and lays out the panels.

use super::basemap::{Layer, Lines};
use super::command::Command;
use super::export_window::ExportForm;
use super::keeper::{self, Keeper};
use super::map::MapView;
use super::project_form::ProjectForm;
use super::scene_window::SceneForm;
use super::session::{KnownScene, RunState, Selection, Session};
use super::shown::{Base, Shown};
use super::studio::{self, Purpose, Reply, Studio};
use super::top_bar::TopBar;
use super::tour::Tour;
use super::{Options, find, gallery, inspector, keys, notes, roles_panel, sampling_panel, spread_paint, theme};
use crate::error::Result;
use crate::job::{Request, Worker};
use crate::project::Project;
use crate::sampler::Role;
use egui::{CentralPanel, Context, Panel, Ui};
use std::path::PathBuf;

/// The application.
pub struct Window {
    pub(super) session: Session,
    pub(super) shown: Shown,
    pub(super) form: ExportForm,
    pub(super) scene_form: SceneForm,
    top_bar: TopBar,
    pub(super) project_form: ProjectForm,
    pub(super) keeper: Option<Keeper>,
    key_sheet: bool,
    pub(super) map: MapView,
    pub(super) worker: Worker,
    pub(super) studio: Studio,
    overlay: bool,
    tour: Option<Tour>,
}

impl Window {
    /// Starts the background threads and asks for model, scenes and map lines.
    ///
    /// # Errors
    /// When a thread cannot be started or the program's own files are missing.
    pub fn new(cc: &eframe::CreationContext, options: Options) -> Result<Self> {
        let ctx = cc.egui_ctx.clone();
        theme::apply(&ctx);
        let wake = |ctx: Context| move || ctx.request_repaint();
        let worker = Worker::spawn(wake(ctx.clone()))?;
        let studio = Studio::spawn(wake(ctx.clone()))?;
        let mut session = Session { samples: 4, steps: 20, ..Session::default() };
        let overlay = cc.wgpu_render_state.as_ref().is_some_and(spread_paint::install);
        if !overlay {
            session.note("This graphics adapter cannot draw the overlay of disagreement; exports hold it.", true);
        }
        let mut map = MapView::new();
        if let Err(error) = map.set_layer(Layer::Offline, &ctx) {
            session.note(error.to_string(), true);
        }
        let keeper = match options.session.map(Keeper::open).transpose() {
            Ok(keeper) => keeper,
            Err(error) => {
                session.note(error.to_string(), true);
                None
            }
        };
        let before = keeper.as_ref().map(|keeper| keeper.dir().to_path_buf()).filter(|dir| Project::is_at(dir));
        let first = options.first.filter(|_| before.is_none());
        let model = options.model;
        studio.run(move || studio::load_model(model));
        let others = options.scenes.into_iter().filter(|dir| Some(dir) != first.as_ref());
        let others: Vec<_> = others.map(|dir| (dir, false)).collect();
        for (dir, pick) in first.into_iter().map(|dir| (dir, true)).chain(others) {
            studio.run(move || studio::open_scene(&dir, pick));
        }
        if let Some(dir) = before {
            studio.run(move || keeper::restore(dir));
        }
        studio.run(|| Reply::Lines(Lines::open()));
        let (form, scene_form) = (ExportForm::default(), SceneForm::default());
        Ok(Self {
            session,
            shown: Shown::default(),
            form,
            scene_form,
            top_bar: TopBar::default(),
            project_form: ProjectForm::default(),
            keeper,
            key_sheet: false,
            map,
            worker,
            studio,
            overlay,
            tour: options.tour,
        })
    }

    /// What the window knows; for the tour and for tests.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the window shows; for the tour and for tests.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Carries out a command.
    pub fn apply(&mut self, ctx: &Context, command: Command) {
        let session = &mut self.session;
        match command {
            Command::Pick(selection) => self.pick(selection),
            Command::MoveWindow(window) => {
                if let Some(selection) = session.selection.clone() {
                    (session.window, session.moved, session.observed) = (window, true, None);
                    self.observe(selection);
                }
            }
            Command::Centre(at, zoom) => self.map.centre(at, zoom),
            Command::Fit(at, side_m) => self.map.fit(at, side_m),
            Command::Zoom(levels) => self.map.zoom_by(levels),
            Command::Basemap(layer) => {
                if let Err(error) = self.map.set_layer(layer, ctx) {
                    session.note(error.to_string(), true);
                }
            }
            Command::Theme(theme) => ctx.set_theme(theme),
            Command::Role(i, role) => session.choices.role(i, role),
            Command::Typed(i, text) => session.choices.typed(i, text),
            Command::Preset(preset) => match session.preset(preset) {
                Ok(choices) => session.choices.replace(choices),
                Err(reason) => session.note(format!("{}: {reason}", preset.name()), true),
            },
            Command::Undo => session.choices.undo(),
            Command::Redo => session.choices.redo(),
            Command::Find(text) => self.find(&text),
            Command::Samples(samples) => session.samples = samples,
            Command::Steps(steps) => session.steps = steps,
            Command::Seed(seed) => session.seed = seed,
            Command::Generate => self.generate(),
            Command::More => self.more(),
            Command::Stop => {
                self.worker.cancel();
                if let Some(run) = session.run.as_mut().filter(|run| run.active()) {
                    run.state = RunState::Stopping;
                }
            }
            Command::Modality(i) => {
                self.shown.show_modality(i);
                if session.run.as_ref().is_some_and(|run| run.request.roles.get(i) != Some(&Role::Generated)) {
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
            Command::Blink => self.shown.blink(),
            Command::Recall => session.recall(),
            Command::Inspect(spot) => self.shown.spot = spot,
            Command::Measure(measure) => {
                self.shown.measure = measure;
                self.order();
            }
            Command::Channel(i) => {
                self.shown.channel = i;
                self.order();
            }
            Command::Step(by) => self.shown.step(by),
            Command::Base(base) => self.shown.base = base,
            Command::Spread(wanted) => self.shown.spread_wanted = wanted,
            Command::Opacity(opacity) => self.shown.opacity = opacity,
            Command::Tick(index, ticked) => {
                if let Some(run) = &mut session.run {
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
            Command::ChooseFolder(purpose) => self.studio.choose_folder(purpose),
            Command::OpenScene(dir) => self.open_scene(dir),
            Command::Export => {
                if let Some(order) = self.form.order(session) {
                    self.form.writing = true;
                    self.studio.run(move || studio::export(&order));
                }
            }
            Command::Dismiss(i) => {
                if i < session.notes.len() {
                    session.notes.remove(i);
                }
            }
        }
    }

    pub(super) fn pick(&mut self, selection: Selection) {
        if self.session.selection.as_ref() == Some(&selection) && self.session.observed.is_some() {
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
        match selection {
            Selection::Scene(i) => {
                let Some(known) = self.session.scenes.get(i).cloned() else { return };
                let window = self.session.window;
                self.studio.run(move || studio::observe_scene(selection, &known.scene, window, &table));
            }
            Selection::Cell(cell) => self.studio.run(move || studio::observe_cell(cell, &table)),
        }
    }

    fn generate(&mut self) {
        let Some(request) = self.start(self.session.request()) else { return };
        let shows_generated = request.roles.get(self.shown.modality) == Some(&Role::Generated);
        self.session.started(request);
        self.shown.forget_run();
        self.shown.fresh_run = true;
        if !shows_generated {
            self.show_a_generated_modality();
        }
        self.order();
    }

    fn more(&mut self) {
        if let Some(request) = self.start(self.session.more()) {
            self.session.adding(&request);
        }
    }

    /// Hands a request to the worker; what cannot be started becomes a note.
    fn start(&mut self, request: Result<Request>) -> Option<Request> {
        let started = request.and_then(|request| {
            self.worker.start(request.clone())?;
            Ok(request)
        });
        started.map_err(|error| self.session.note(error.to_string(), true)).ok()
    }

    /// Moves to what was typed: a scene by its name, a grid cell, or coordinates.
    fn find(&mut self, text: &str) {
        let named = |known: &KnownScene| known.scene.name().to_lowercase().contains(&text.to_lowercase());
        match find::place(text) {
            Some(found) => {
                self.map.fit(found.middle, found.side_m);
                self.pick(Selection::Cell(found.cell));
            }
            None => match self.session.scenes.iter().position(named) {
                Some(i) => self.pick(Selection::Scene(i)),
                None => self.session.note(
                    format!("\"{text}\" was not found: type a latitude and longitude such as 46.5, 11.35, a grid cell such as 618U_30L, or part of a scene's name."),
                    true,
                ),
            },
        }
    }

    fn show_a_generated_modality(&mut self) {
        let (Some(table), Some(run)) = (self.session.table(), &self.session.run) else { return };
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
            self.studio.run(move || studio::paint(&order));
        }
    }

    fn open_scene(&mut self, dir: PathBuf) {
        self.scene_form.open = false;
        if Project::is_at(&dir) {
            self.studio.run(move || keeper::restore(dir));
        } else {
            self.studio.run(move || studio::open_scene(&dir, true));
        }
    }

    fn save_project(&mut self, dir: PathBuf) {
        self.project_form.open = false;
        match (keeper::project(&self.session), self.session.table().cloned()) {
            (Some(project), Some(table)) => {
                let members = self.session.run.as_ref().map(|run| run.realisations.clone()).unwrap_or_default();
                self.studio.run(move || studio::save_project(dir, &project, &table, &members));
            }
            _ => self.session.note("There is nothing to save yet: pick a place first.", true),
        }
    }

    /// Has written what the session has to keep.
    fn keep(&mut self) {
        if let Some((dir, project)) = self.keeper.as_mut().and_then(|keeper| keeper.due(&self.session)) {
            self.studio.run(move || studio::keep_project(&dir, &project));
        }
    }

    pub(super) fn chosen(&mut self, purpose: Purpose, dir: PathBuf) {
        match purpose {
            Purpose::OpenScene => self.open_scene(dir),
            Purpose::Export => self.form.dir = dir.display().to_string(),
            Purpose::Project => self.project_form.dir = dir.display().to_string(),
        }
    }
}

impl eframe::App for Window {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.replies(ctx);
        self.events();
        self.keep();
        let dropped: Vec<PathBuf> =
            ctx.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_path_buf()).collect());
        for dir in dropped {
            // A file of a scene stands for its folder.
            let dir = if dir.is_file() { dir.parent().map(PathBuf::from).unwrap_or(dir) } else { dir };
            self.apply(ctx, Command::OpenScene(dir));
        }
        if let Some(mut tour) = self.tour.take() {
            for command in tour.next(ctx, self) {
                self.apply(ctx, command);
            }
            self.tour = Some(tour);
        }
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let mut commands = Vec::new();
        let ctx = ui.ctx().clone();
        Panel::top("top").frame(theme::bar(&ctx)).show(ui, |ui| {
            self.top_bar.show(ui, &self.session, self.map.layer(), &mut commands);
        });
        Panel::left("roles").frame(theme::panel(&ctx)).exact_size(340.0).show(ui, |ui| {
            let frame = egui::Frame::new().inner_margin(egui::Margin { top: 6, ..Default::default() });
            Panel::bottom("sampling").frame(frame).show(ui, |ui| {
                sampling_panel::show(ui, &self.session, &mut commands);
            });
            egui::ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                roles_panel::show(ui, &self.session, &self.shown, &mut commands);
            });
        });
        let height = if self.session.run.is_some() { 208.0 } else { 42.0 };
        Panel::bottom("gallery").frame(theme::panel(&ctx)).exact_size(height).show(ui, |ui| {
            gallery::show(ui, &self.session, &self.shown, &mut commands);
        });
        CentralPanel::no_frame().show(ui, |ui| {
            let map = ui.max_rect();
            commands.extend(self.map.show(ui, &self.session, &self.shown, self.overlay));
            notes::show(&ctx, map, &self.session, &mut commands);
            if let Some(spot) = self.shown.spot.filter(|_| self.session.observed.is_some()) {
                inspector::show(&ctx, map, &self.session, spot, &mut commands);
            }
        });
        if self.key_sheet {
            keys::sheet(&ctx, &mut commands);
        }
        commands.extend(keys::pressed(&ctx, &self.session));
        self.form.show(&ctx, &self.session, &mut commands);
        self.scene_form.show(&ctx, &mut commands);
        self.project_form.show(&ctx, &mut commands);
        for command in commands {
            self.apply(&ctx, command);
        }
    }
}
