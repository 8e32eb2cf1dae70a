//! The window: carries out commands, takes what the background threads answer, and lays out the panels.

use super::cells_window::CellsForm;
use super::chart::Chart;
use super::command::Command;
use super::courier::Courier;
use super::data_window::{self, DataForm};
use super::export_window::ExportForm;
use super::files_window::FilesForm;
use super::frames::Frames;
use super::guide::{self, Step};
use super::habits::Habits;
use super::keeper::{self, Keeper};
use super::map::MapView;
use super::models::Models;
use super::models_window::ModelsForm;
use super::palette::Palette;
use super::project_form::ProjectForm;
use super::recent::Recent;
use super::scene_window::SceneForm;
use super::session::Session;
use super::shown::Shown;
use super::studio::{self, Reply, Studio};
use super::top_bar::TopBar;
use super::tour::Tour;
use super::{
    Options, apply, area_window, gallery, inspector, keys, notes, roles_panel, sampling_panel, spread_paint, theme,
};
use crate::basemap::{LayerId, Layers};
use crate::error::Result;
use crate::job::Worker;
use crate::project::Project;
use crate::sampler::Preset;
use crate::source::Provider;
use egui::{CentralPanel, Context, Panel, Ui};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// How long each realisation stays while one is shown after another.
const FRAME_OF_PLAY: Duration = Duration::from_millis(700);

/// The application.
pub struct Window {
    pub(super) session: Session,
    pub(super) shown: Shown,
    pub(super) form: ExportForm,
    pub(super) scene_form: SceneForm,
    top_bar: TopBar,
    pub(super) project_form: ProjectForm,
    pub(super) files_form: FilesForm,
    pub(super) cells_form: CellsForm,
    pub(super) models: Models,
    pub(super) models_form: ModelsForm,
    pub(super) palette: Palette,
    pub(super) guide: Option<Step>,
    frames: Frames,
    logic_took: Duration,
    /// Orders to read a place so far.
    pub(super) orders: u64,
    /// Wishes for another place so far, picked or opened: what answers an older one is no longer picked.
    pub(super) places: u64,
    /// The layer that is wished for: a file's is shown only once it is opened.
    pub(super) layer_wanted: LayerId,
    /// Number of the newest order to paint.
    pub(super) newest: Arc<AtomicU64>,
    pub(super) recent: Recent,
    pub(super) habits: Habits,
    pub(super) keeper: Option<Keeper>,
    pub(super) key_sheet: bool,
    pub(super) map: MapView,
    /// Folder for servers' map tiles.
    pub(super) tiles: Option<PathBuf>,
    pub(super) worker: Worker,
    pub(super) studio: Studio,
    pub(super) courier: Courier,
    pub(super) data: DataForm,
    pub(super) sources: Arc<Vec<Provider>>,
    overlay: bool,
    memory_looked: Option<Instant>,
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
        let courier = Courier::new(options.network, wake(ctx.clone()));
        let presets = Preset::Standard.options();
        let mut session = Session { samples: 4, options: presets, kept: options.kept, ..Session::default() };
        let overlay = cc.wgpu_render_state.as_ref().is_some_and(spread_paint::install);
        if !overlay {
            session.note("This graphics adapter cannot draw the overlay of disagreement; exports hold it.", true);
        }
        let keeper = match options.session.map(Keeper::open).transpose() {
            Ok(keeper) => keeper,
            Err(error) => {
                session.note(error.to_string(), true);
                None
            }
        };
        let habits = Habits::open(keeper.as_ref().map(Keeper::dir));
        if habits.light {
            ctx.set_theme(egui::Theme::Light);
        }
        if habits.offline {
            courier.network.set_offline(true);
        }
        session.offline = courier.network.is_offline();
        let (layers, problems) = Layers::open(options.maps.config.as_deref(), keeper.as_ref().map(Keeper::dir));
        problems.iter().for_each(|problem| session.note(problem.to_string(), true));
        session.layers = layers;
        studio.run(|| studio::open_map(LayerId::Bundled));
        let recent = Recent::open(keeper.as_ref().map(Keeper::dir));
        let before = keeper.as_ref().map(|keeper| keeper.dir().to_path_buf()).filter(|dir| Project::is_at(dir));
        // Who has no session yet is new.
        let guide = (keeper.is_some() && before.is_none()).then_some(Step::Look);
        let first = options.first.filter(|_| before.is_none());
        let model = options.model;
        studio.run(move || studio::load_model(model));
        let others = options.scenes.into_iter().filter(|dir| Some(dir) != first.as_ref());
        let others: Vec<_> = others.map(|dir| (dir, None)).collect();
        for problem in options.problems {
            session.note(problem, true);
        }
        for (dir, place) in first.into_iter().map(|dir| (dir, Some(0))).chain(others) {
            studio.run(move || studio::open_scene(&dir, place));
        }
        if let Some(dir) = before {
            studio.run(move || keeper::restore(dir, 0));
        }
        if let Some(kept) = session.kept.clone() {
            studio.run(move || studio::open_kept(&kept));
        }
        studio.run(|| Reply::Chart(Chart::open().map(Box::new)));
        let (form, scene_form) = (ExportForm::default(), SceneForm::default());
        let shown = session.layers.shown().clone();
        let mut window = Self {
            session,
            shown: Shown::default(),
            form,
            scene_form,
            top_bar: TopBar::default(),
            project_form: ProjectForm::default(),
            files_form: FilesForm::default(),
            cells_form: CellsForm::default(),
            models: Models::new(options.models, options.hub),
            models_form: ModelsForm::default(),
            palette: Palette::default(),
            guide,
            frames: Frames::default(),
            logic_took: Duration::ZERO,
            orders: 0,
            places: 0,
            layer_wanted: LayerId::Bundled,
            newest: Arc::default(),
            recent,
            habits,
            keeper,
            key_sheet: false,
            map: MapView::default(),
            tiles: options.maps.cache,
            worker,
            studio,
            courier,
            data: DataForm::default(),
            sources: Arc::new(options.sources),
            overlay,
            memory_looked: None,
            tour: options.tour,
        };
        window.list_models();
        window.basemap(&ctx, shown);
        Ok(window)
    }

    /// What the window knows; for the tour and for tests.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What is known of models; for tests.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// How long frames took.
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// The map; for tests.
    pub fn map(&self) -> &MapView {
        &self.map
    }

    /// What the window shows; for the tour and for tests.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }
}

impl eframe::App for Window {
    /// Keeps the last state, and waits for what is being written.
    fn on_exit(&mut self) {
        self.worker.cancel();
        if let Some((dir, project)) = self.keeper.as_mut().and_then(|keeper| keeper.due(&self.session)) {
            self.studio.run(move || studio::keep_project(&dir, &project));
        }
        self.studio.finish();
    }

    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        let begun = Instant::now();
        self.replies(ctx);
        self.events();
        self.news(ctx);
        if let Some(rest) = self.keep() {
            ctx.request_repaint_after(rest);
        }
        if let Some(since) = self.shown.playing {
            if since.elapsed() >= FRAME_OF_PLAY {
                self.shown.play(&apply::pinned(&self.session));
            }
            ctx.request_repaint_after(FRAME_OF_PLAY);
        }
        if self.memory_looked.is_none_or(|at| at.elapsed() > Duration::from_secs(2)) {
            self.session.memory_limit = crate::process::memory_limit();
            self.memory_looked = Some(Instant::now());
        }
        let dropped: Vec<PathBuf> =
            ctx.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_path_buf()).collect());
        if !dropped.is_empty() {
            self.apply(ctx, Command::OpenPaths(dropped));
        }
        if let Some(mut tour) = self.tour.take() {
            for command in tour.next(ctx, self) {
                self.apply(ctx, command);
            }
            self.tour = Some(tour);
        }
        self.session.hold_used();
        self.logic_took = begun.elapsed();
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let begun = Instant::now();
        let mut commands = Vec::new();
        let ctx = ui.ctx().clone();
        self.shown.follow_painting(&ctx, &self.session);
        // Those on top first: Escape closes one of them.
        self.palette.show(&ctx, &self.session, &mut commands);
        self.files_form.show(&ctx, &mut commands);
        self.cells_form.show(&ctx, &mut commands);
        self.form.show(&ctx, &self.session, &self.shown, &mut commands);
        self.scene_form.show(&ctx, &self.recent, &mut commands);
        self.models_form.show(&ctx, &self.session, &self.models, &mut commands);
        self.project_form.show(&ctx, &mut commands);
        self.data.show(&ctx, &self.session, &mut commands);
        if self.key_sheet {
            keys::sheet(&ctx, &mut commands);
        }
        Panel::top("top").frame(theme::bar(&ctx)).show(ui, |ui| {
            self.top_bar.show(ui, &self.session, self.map.names(), &mut commands);
        });
        Panel::left("roles").frame(theme::panel(&ctx)).exact_size(348.0).show(ui, |ui| {
            let frame = egui::Frame::new().inner_margin(egui::Margin { top: 6, ..Default::default() });
            Panel::bottom("sampling").frame(frame).show(ui, |ui| {
                sampling_panel::show(ui, &self.session, &mut commands);
            });
            egui::ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                roles_panel::show(ui, &self.session, &self.shown, &mut commands);
            });
        });
        let gallery = match self.session.run() {
            Some(_) => {
                let most = (ctx.content_rect().height() - 260.0).max(170.0);
                Panel::bottom("gallery").resizable(true).default_size(208.0).size_range(150.0..=most)
            }
            None => Panel::bottom("no gallery").exact_size(42.0),
        };
        gallery.frame(theme::panel(&ctx)).show(ui, |ui| {
            gallery::show(ui, &self.session, &self.shown, &mut commands);
        });
        CentralPanel::no_frame().show(ui, |ui| {
            let map = ui.max_rect();
            commands.extend(self.map.show(ui, &self.session, &self.shown, self.overlay));
            if let Some(step) = self.guide.filter(|_| self.session.observed.is_some()) {
                guide::show(&ctx, map, &self.session, &self.shown, step, &mut commands);
            }
            if !self.data.open {
                data_window::offer(&ctx, map, &self.session, &mut commands);
            }
            notes::show(&ctx, map, &self.session, &mut commands);
            area_window::show(&ctx, map, &self.session, &self.shown, &mut commands);
            if let Some(spot) = self.shown.spot.filter(|_| self.session.observed.is_some()) {
                inspector::show(&ctx, map, &self.session, spot, &mut commands);
            }
        });
        commands.extend(keys::pressed(&ctx, &self.session));
        for command in commands {
            self.apply(&ctx, command);
        }
        self.session.hold_used();
        self.frames.add(begun.elapsed() + self.logic_took, self.session.busy());
    }
}

/// One with a model and no scenes, for tests beside the code.
#[cfg(test)]
pub(super) fn bare(model: PathBuf, models: Option<PathBuf>) -> egui_kittest::Harness<'static, Window> {
    let options = Options {
        model,
        scenes: Vec::new(),
        first: None,
        session: None,
        models,
        hub: crate::hub::Hub::at("http://127.0.0.1:9"),
        network: crate::net::Network::default(),
        sources: Vec::new(),
        kept: None,
        problems: Vec::new(),
        maps: crate::basemap::Folders::default(),
        tour: None,
    };
    egui_kittest::Harness::builder().build_eframe(|cc| Window::new(cc, options).expect("window"))
}
