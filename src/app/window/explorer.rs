//! The window: carries out commands, takes what the background threads answer, and lays out the panels.

use crate::app::Options;
use crate::app::command::Command;
use crate::app::dialogs::cells::CellsForm;
use crate::app::dialogs::export::ExportForm;
use crate::app::dialogs::keys;
use crate::app::dialogs::loose_files::FilesForm;
use crate::app::dialogs::models::ModelsForm;
use crate::app::dialogs::open::SceneForm;
use crate::app::dialogs::open_data::DataForm;
use crate::app::dialogs::palette::Palette;
use crate::app::dialogs::save_project::ProjectForm;
use crate::app::kit::frames::Frames;
use crate::app::kit::theme;
use crate::app::map::borders::Chart;
use crate::app::map::map_view::MapView;
use crate::app::panels::area;
use crate::app::panels::gallery;
use crate::app::panels::guide;
use crate::app::panels::inspector;
use crate::app::panels::notes;
use crate::app::panels::open_data_offer;
use crate::app::panels::roles;
use crate::app::panels::sampling;
use crate::app::panels::top_bar::TopBar;
use crate::app::state::guide::GuideStep;
use crate::app::state::models::Models;
use crate::app::state::preferences::Preferences;
use crate::app::state::recent::Recent;
use crate::app::state::session::Session;
use crate::app::view::shown::Shown;
use crate::app::view::spread_overlay;
use crate::app::window::apply;
use crate::app::window::tour::Tour;
use crate::app::work::exchange::Exchanges;
use crate::app::work::queue::{self, Queue, Reply};
use crate::app::work::restore::{self, With};
use crate::app::work::session_folder::SessionFolder;
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
pub struct ExplorerWindow {
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
    pub(super) guide: Option<GuideStep>,
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
    pub(super) preferences: Preferences,
    pub(super) session_folder: Option<SessionFolder>,
    pub(super) key_sheet: bool,
    pub(super) map: MapView,
    /// Folder for servers' map tiles.
    pub(super) tiles: Option<PathBuf>,
    pub(super) worker: Worker,
    pub(super) queue: Queue,
    pub(super) exchanges: Exchanges,
    pub(super) data: DataForm,
    pub(super) sources: Arc<Vec<Provider>>,
    overlay: bool,
    memory_looked: Option<Instant>,
    tour: Option<Tour>,
}

impl ExplorerWindow {
    /// Starts the background threads and asks for model, scenes and map lines.
    ///
    /// # Errors
    /// When a thread cannot be started or the program's own files are missing.
    pub fn new(cc: &eframe::CreationContext, options: Options) -> Result<Self> {
        let ctx = cc.egui_ctx.clone();
        theme::apply(&ctx);
        let wake = |ctx: Context| move || ctx.request_repaint();
        let worker = Worker::spawn(wake(ctx.clone()))?;
        let queue = Queue::spawn(wake(ctx.clone()))?;
        let exchanges = Exchanges::new(options.network, wake(ctx.clone()));
        let presets = Preset::Standard.options();
        let mut session = Session { samples: 4, options: presets, kept: options.kept, ..Session::default() };
        let overlay = cc.wgpu_render_state.as_ref().is_some_and(spread_overlay::install);
        if !overlay {
            session.note("This graphics adapter cannot draw the overlay of disagreement; exports hold it.", true);
        }
        // What belongs to the user counts in every window, also where another one keeps the session.
        let home = options.session.clone();
        let session_folder = match options.session.map(SessionFolder::open).transpose() {
            Ok(session_folder) => session_folder,
            Err(error) => {
                session.note(error.to_string(), true);
                None
            }
        };
        let preferences = Preferences::open(home.as_deref());
        if preferences.light {
            ctx.set_theme(egui::Theme::Light);
        }
        if preferences.offline {
            exchanges.network.set_offline(true);
        }
        session.offline = exchanges.network.is_offline();
        let (layers, problems) = Layers::open(options.maps.config.as_deref(), home.as_deref());
        problems.iter().for_each(|problem| session.note(problem.to_string(), true));
        session.layers = layers;
        queue.run(|| queue::open_map(LayerId::Bundled));
        let recent = Recent::open(home.as_deref());
        let before = session_folder
            .as_ref()
            .map(|session_folder| session_folder.dir().to_path_buf())
            .filter(|dir| Project::is_at(dir));
        // Who has no session yet is new.
        let guide = (session_folder.is_some() && before.is_none()).then_some(GuideStep::Look);
        let named = options.scene;
        let first = options.first.filter(|_| before.is_none() && named.is_none());
        let model = options.model;
        let with = if options.named_model { With::Named(model.clone()) } else { With::ItsOr(model.clone()) };
        queue.run(move || queue::load_model(model));
        let others = options.scenes.into_iter().filter(|dir| Some(dir) != first.as_ref());
        let others: Vec<_> = others.map(|dir| (dir, None)).collect();
        for problem in options.problems {
            session.note(problem, true);
        }
        for (dir, place) in first.into_iter().map(|dir| (dir, Some(0))).chain(others) {
            queue.run(move || queue::open_scene(&dir, place));
        }
        if let Some(dir) = before {
            queue.run(move || restore::restore(dir, with, 0));
        }
        // A wish for a place, newer than what is brought back.
        let places = u64::from(named.is_some());
        if let Some(dir) = named {
            queue.run(move || queue::open_scene(&dir, Some(places)));
        }
        if let Some(kept) = session.kept.clone() {
            queue.run(move || queue::open_kept(&kept));
        }
        queue.run(|| Reply::Chart(Chart::open().map(Box::new)));
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
            places,
            layer_wanted: LayerId::Bundled,
            newest: Arc::default(),
            recent,
            preferences,
            session_folder,
            key_sheet: false,
            map: MapView::default(),
            tiles: options.maps.cache,
            worker,
            queue,
            exchanges,
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

impl eframe::App for ExplorerWindow {
    /// Keeps the last state, and waits for what is being written.
    fn on_exit(&mut self) {
        self.worker.cancel();
        if let Some((dir, project)) =
            self.session_folder.as_mut().and_then(|session_folder| session_folder.due(&self.session))
        {
            self.queue.run(move || queue::keep_project(&dir, &project));
        }
        self.queue.finish();
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
                sampling::show(ui, &self.session, &mut commands);
            });
            egui::ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                roles::show(ui, &self.session, &self.shown, &mut commands);
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
                open_data_offer::show(&ctx, map, &self.session, &mut commands);
            }
            notes::show(&ctx, map, &self.session, &mut commands);
            area::show(&ctx, map, &self.session, &self.shown, &mut commands);
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
pub(super) fn bare(model: PathBuf, models: Option<PathBuf>) -> egui_kittest::Harness<'static, ExplorerWindow> {
    let options = Options {
        model,
        scenes: Vec::new(),
        named_model: false,
        first: None,
        scene: None,
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
    egui_kittest::Harness::builder().build_eframe(|cc| ExplorerWindow::new(cc, options).expect("window"))
}
