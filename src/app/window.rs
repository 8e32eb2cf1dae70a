//! The window: carries out commands, takes what the background threads answer, and lays out the panels.

use super::basemap::{Layer, Lines};
use super::command::Command;
use super::export_window::ExportForm;
use super::map::MapView;
use super::scene_window::SceneForm;
use super::session::{RunState, Selection, Session};
use super::shown::{Base, Shown};
use super::studio::{self, Purpose, Reply, Studio};
use super::tour::Tour;
use super::{Options, gallery, notes, roles_panel, sampling_panel, spread_paint, theme, widgets};
use crate::error::Result;
use crate::job::{Event, Worker};
use crate::sampler::Role;
use egui::{CentralPanel, Context, Panel, RichText, Ui};
use std::path::PathBuf;

/// The application.
pub struct Window {
    session: Session,
    shown: Shown,
    form: ExportForm,
    scene_form: SceneForm,
    map: MapView,
    worker: Worker,
    studio: Studio,
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
        let model = options.model;
        studio.run(move || studio::load_model(model));
        let others = options.scenes.into_iter().filter(|dir| Some(dir) != options.first.as_ref());
        let others: Vec<_> = others.map(|dir| (dir, false)).collect();
        for (dir, pick) in options.first.into_iter().map(|dir| (dir, true)).chain(others) {
            studio.run(move || studio::open_scene(&dir, pick));
        }
        studio.run(|| Reply::Lines(Lines::open()));
        let (form, scene_form) = (ExportForm::default(), SceneForm::default());
        Ok(Self {
            session,
            shown: Shown::default(),
            form,
            scene_form,
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
            Command::Centre(at, zoom) => self.map.centre(at, zoom),
            Command::Fit(at, side_m) => self.map.fit(at, side_m),
            Command::Zoom(levels) => self.map.zoom_by(levels),
            Command::Basemap(layer) => {
                if let Err(error) = self.map.set_layer(layer, ctx) {
                    session.note(error.to_string(), true);
                }
            }
            Command::Theme(theme) => ctx.set_theme(theme),
            Command::Role(i, role) => {
                if let Some(slot) = session.roles.get_mut(i) {
                    *slot = role;
                }
            }
            Command::Typed(i, text) => {
                session.typed.insert(i, text);
            }
            Command::Samples(samples) => session.samples = samples,
            Command::Steps(steps) => session.steps = steps,
            Command::Seed(seed) => session.seed = seed,
            Command::Generate => self.generate(),
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
            Command::Channel(i) => {
                self.shown.channel = i;
                self.order();
            }
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
            Command::ExportWindow(open) => {
                self.form.open = open;
                self.form.problem = None;
            }
            Command::SceneWindow(open) => self.scene_form.open = open,
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

    fn pick(&mut self, selection: Selection) {
        if self.session.selection.as_ref() == Some(&selection) && self.session.observed.is_some() {
            return;
        }
        self.session.selection = Some(selection.clone());
        self.session.observed = None;
        // Notes about the old place; problems stay until they are read.
        self.session.notes.retain(|note| note.problem);
        self.shown.thumbnails.clear();
        self.observe(selection);
    }

    /// Reads the picked place, once the model is known.
    fn observe(&mut self, selection: Selection) {
        let Some(table) = self.session.table().cloned() else { return };
        match selection {
            Selection::Scene(i) => {
                let Some(known) = self.session.scenes.get(i).cloned() else { return };
                if let Some(middle) = known.scene.location() {
                    self.map.fit(middle, table.window_m());
                }
                self.studio.run(move || studio::observe_scene(selection, &known.scene, &table));
            }
            Selection::Cell(cell) => self.studio.run(move || studio::observe_cell(cell, &table)),
        }
    }

    fn generate(&mut self) {
        let started = self.session.request().and_then(|request| {
            self.worker.start(request.clone())?;
            Ok(request)
        });
        match started {
            Ok(request) => {
                let shows_generated = request.roles.get(self.shown.modality) == Some(&Role::Generated);
                self.session.started(request);
                self.shown.forget_run();
                self.shown.fresh_run = true;
                if !shows_generated {
                    self.show_a_generated_modality();
                }
                self.order();
            }
            Err(error) => self.session.note(error.to_string(), true),
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
    fn order(&mut self) {
        if let Some(order) = self.shown.order(&self.session) {
            self.studio.run(move || studio::paint(&order));
        }
    }

    fn events(&mut self) {
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
                    repaint = true;
                }
                _ => {}
            }
            self.session.event(event);
        }
        if repaint {
            self.order();
        }
        if let Some((index, modality, raster)) = preview
            && let Some(m) = self.session.table().and_then(|table| table.get(modality)).cloned()
        {
            self.studio.run(move || studio::paint_preview(&m, index, modality, &raster));
        }
    }

    fn replies(&mut self, ctx: &Context) {
        while let Ok(reply) = self.studio.replies.try_recv() {
            match reply {
                Reply::Model(Ok(model)) => {
                    self.shown.modality = Shown::first_choice(&model.manifest.modalities);
                    self.session.model = Some(std::sync::Arc::new(model));
                    if let Some(selection) = self.session.selection.clone() {
                        self.observe(selection);
                    }
                }
                Reply::Scene(Ok(known), pick) => {
                    let at = self.session.scenes.iter().position(|other| other.scene.dir() == known.scene.dir());
                    let at = at.unwrap_or_else(|| {
                        self.session.scenes.push(known);
                        self.session.scenes.len() - 1
                    });
                    if pick {
                        self.pick(Selection::Scene(at));
                    }
                }
                Reply::Lines(Ok(lines)) => self.map.set_lines(lines),
                Reply::Observed(selection, result) => {
                    if self.session.selection.as_ref() != Some(&selection) {
                        continue;
                    }
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
                Reply::Preview(index, modality, image) => {
                    if self.session.busy() {
                        self.shown.previewed(ctx, index, modality, image);
                    }
                }
                Reply::Exported(result) => {
                    self.form.writing = false;
                    match result {
                        Ok(paths) => {
                            self.form.open = false;
                            let text = format!("{} files were written to {}.", paths.len(), self.form.dir);
                            self.session.note(text, false);
                        }
                        Err(error) => self.form.problem = Some(error.to_string()),
                    }
                }
                Reply::Folder(purpose, Some(dir)) => self.chosen(purpose, dir),
                Reply::Folder(_, None) => self.session.note(
                    "No folder was chosen. If no dialog opened, type the folder instead or drop it on the window.",
                    false,
                ),
                Reply::Model(Err(error)) | Reply::Scene(Err(error), _) | Reply::Lines(Err(error)) => {
                    self.session.note(error.to_string(), true);
                }
            }
        }
    }

    fn open_scene(&mut self, dir: PathBuf) {
        self.scene_form.open = false;
        self.studio.run(move || studio::open_scene(&dir, true));
    }

    fn chosen(&mut self, purpose: Purpose, dir: PathBuf) {
        match purpose {
            Purpose::OpenScene => self.open_scene(dir),
            Purpose::Export => self.form.dir = dir.display().to_string(),
        }
    }

    fn top_bar(&self, ui: &mut Ui, commands: &mut Vec<Command>) {
        ui.horizontal(|ui| {
            ui.label(RichText::new("COP-GEN Explorer").strong().size(15.0));
            ui.separator();
            self.places(ui, commands);
            if let Some(ground) = self.session.observed.as_ref().map(|observed| &observed.ground)
                && ground.corners.is_some()
                && ui.button("Go to place").on_hover_text("Move the map to the picked place").clicked()
                && let Ok(middle) = ground.footprint.centre()
            {
                commands.push(Command::Fit(middle, ground.footprint.width_m));
            }
            if ui.button("Open scene …").on_hover_text("A folder of GeoTIFFs named by modality").clicked() {
                commands.push(Command::SceneWindow(true));
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                let dark = ui.visuals().dark_mode;
                let (text, other) = if dark { ("Light", egui::Theme::Light) } else { ("Dark", egui::Theme::Dark) };
                let button = ui.button(text).on_hover_text("Colours of the window");
                if button.clicked() {
                    commands.push(Command::Theme(other));
                }
                let layer = self.map.layer();
                let list = egui::ComboBox::from_id_salt("basemap").selected_text(layer.name());
                let response = list.show_ui(ui, |ui| {
                    for choice in Layer::ALL {
                        if ui.selectable_label(choice == layer, choice.name()).clicked() {
                            commands.push(Command::Basemap(choice));
                        }
                    }
                });
                widgets::named(&response.response, egui::Role::ComboBox, "Base map");
                if let Some(model) = &self.session.model {
                    let manifest = &model.manifest;
                    let text = RichText::new(&manifest.name).small().color(theme::ink(ui.visuals(), theme::SYNTHETIC));
                    ui.label(text).on_hover_text(format!("{}\n{}", manifest.description, manifest.licence));
                }
            });
        });
    }

    fn places(&self, ui: &mut Ui, commands: &mut Vec<Command>) {
        let text = match &self.session.selection {
            Some(Selection::Scene(i)) => self.session.scenes.get(*i).map_or("", |known| known.scene.name()).to_owned(),
            Some(Selection::Cell(cell)) => format!("cell {cell}"),
            None => "Pick a place".into(),
        };
        let list = egui::ComboBox::from_id_salt("places").selected_text(text).width(240.0);
        let response = list.show_ui(ui, |ui| {
            for (i, known) in self.session.scenes.iter().enumerate() {
                let on = self.session.selection == Some(Selection::Scene(i));
                let suffix = if known.corners.is_none() { "  (no position)" } else { "" };
                let label = ui.selectable_label(on, format!("{}{suffix}", known.scene.name()));
                if label.on_hover_text(known.scene.attribution().unwrap_or("")).clicked() {
                    commands.push(Command::Pick(Selection::Scene(i)));
                }
            }
        });
        widgets::named(&response.response, egui::Role::ComboBox, "Place");
    }
}

impl eframe::App for Window {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.replies(ctx);
        self.events();
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
        Panel::top("top").frame(theme::bar(&ctx)).show(ui, |ui| self.top_bar(ui, &mut commands));
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
        });
        self.form.show(&ctx, &self.session, &mut commands);
        self.scene_form.show(&ctx, &mut commands);
        for command in commands {
            self.apply(&ctx, command);
        }
    }
}
