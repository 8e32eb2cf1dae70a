//! The window: what it holds, and what it begins with.

use crate::app::dialogs::cells::CellsForm;
use crate::app::dialogs::export::ExportForm;
use crate::app::dialogs::loose_files::FilesForm;
use crate::app::dialogs::models::ModelsForm;
use crate::app::dialogs::open::SceneForm;
use crate::app::dialogs::open_data::DataForm;
use crate::app::dialogs::palette::Palette;
use crate::app::dialogs::save_project::ProjectForm;
use crate::app::kit::frames::Frames;
use crate::app::kit::theme;
use crate::app::map::borders::Borders;
use crate::app::map::map_view::MapView;
use crate::app::panels::top_bar::TopBar;
use crate::app::state::guide::GuideStep;
use crate::app::state::models::Models;
use crate::app::state::ongoing::Ongoing;
use crate::app::state::preferences::Preferences;
use crate::app::state::recent::Recent;
use crate::app::state::session::Session;
use crate::app::state::ticket::Requests;
use crate::app::view::shown::Shown;
use crate::app::view::spread_overlay;
use crate::app::window::options::Options;
use crate::app::work::answers::Outbox;
use crate::app::work::exchange;
use crate::app::work::queue::{Lane, Queue};
use crate::app::work::read;
use crate::app::work::restore::With;
use crate::app::work::session_folder::SessionFolder;
use crate::basemap::{LayerId, Layers};
use crate::error::Result;
use crate::job::Worker;
use crate::net::Network;
use crate::project::Project;
use crate::sampler::Preset;
use crate::source::Provider;
use egui::Context;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The application.
pub struct ExplorerWindow {
    /// For repaints, textures and colours.
    pub(super) ctx: Context,
    pub(super) session: Session,
    pub(super) shown: Shown,
    pub(super) form: ExportForm,
    pub(super) scene_form: SceneForm,
    pub(super) top_bar: TopBar,
    pub(super) project_form: ProjectForm,
    pub(super) files_form: FilesForm,
    pub(super) cells_form: CellsForm,
    pub(super) models: Models,
    pub(super) models_form: ModelsForm,
    pub(super) palette: Palette,
    pub(super) guide: Option<GuideStep>,
    pub(super) frames: Frames,
    pub(super) logic_took: Duration,
    /// Requests to read a place.
    pub(super) readings: Requests,
    /// Requests to read the scene that is compared.
    pub(super) references: Requests,
    /// Requests for another place, picked or opened: what answers an older one is no longer picked.
    pub(super) places: Requests,
    /// The layer that is asked for: a file's is shown only once it is opened.
    pub(super) wanted_layer: LayerId,
    pub(super) recent: Recent,
    pub(super) preferences: Preferences,
    pub(super) session_folder: Option<SessionFolder>,
    pub(super) key_sheet: bool,
    pub(super) map: MapView,
    /// Folder for servers' map tiles.
    pub(super) tiles: Option<PathBuf>,
    pub(super) worker: Worker,
    pub(super) queue: Queue<Self>,
    /// The way to servers.
    pub(super) network: Network,
    pub(super) data: DataForm,
    pub(super) sources: Arc<Vec<Provider>>,
    pub(super) overlay: bool,
    pub(super) memory_looked: Option<Instant>,
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
        let network = options.network;
        let standard = Preset::Standard.options();
        let mut session = Session { samples: 4, options: standard, kept: options.kept, ..Session::default() };
        let overlay = cc.wgpu_render_state.as_ref().is_some_and(spread_overlay::install);
        if !overlay {
            session.note("This graphics adapter cannot draw the overlay of disagreement; exports hold it.", true);
        }
        // What belongs to the user counts in every window, also where another one keeps the session.
        let home = options.session.clone();
        let session_folder = match options.session.map(SessionFolder::open).transpose() {
            Ok(folder) => folder,
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
            network.set_offline(true);
        }
        session.offline = network.is_offline();
        let (layers, problems) = Layers::open(options.maps.config.as_deref(), home.as_deref());
        problems.iter().for_each(|problem| session.note(problem.to_string(), true));
        session.layers = layers;
        let recent = Recent::open(home.as_deref());
        let before = session_folder.as_ref().map(|folder| folder.dir().to_path_buf()).filter(|dir| Project::is_at(dir));
        // Who has no session yet is new.
        let guide = (session_folder.is_some() && before.is_none()).then_some(GuideStep::Look);
        let named = options.scene;
        let first = options.first.filter(|_| before.is_none() && named.is_none());
        let model = options.model;
        let with = if options.named_model { With::Named(model.clone()) } else { With::ItsOr(model.clone()) };
        options.problems.into_iter().for_each(|problem| session.note(problem, true));
        let layer = session.layers.shown().clone();
        let mut window = Self {
            ctx,
            session,
            shown: Shown::default(),
            form: ExportForm::default(),
            scene_form: SceneForm::default(),
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
            readings: Requests::default(),
            references: Requests::default(),
            places: Requests::default(),
            wanted_layer: LayerId::Bundled,
            recent,
            preferences,
            session_folder,
            key_sheet: false,
            map: MapView::default(),
            tiles: options.maps.cache,
            worker,
            queue,
            network,
            data: DataForm::default(),
            sources: Arc::new(options.sources),
            overlay,
            memory_looked: None,
        };
        window.read_map(LayerId::Bundled);
        window.load_model(model);
        let place = window.places.latest();
        let others = options.scenes.into_iter().filter(|dir| Some(dir) != first.as_ref()).map(|dir| (dir, false));
        let others: Vec<_> = others.collect();
        for (dir, picked) in first.clone().into_iter().map(|dir| (dir, true)).chain(others) {
            window.open_places(move || read::folder(&dir), place.clone(), picked);
        }
        if let Some(dir) = before {
            window.restore(dir, with, place);
        }
        if let Some(dir) = named {
            // Asked for later than what is brought back.
            let place = window.places.next();
            window.open_places(move || read::folder(&dir), place, true);
        }
        window.open_kept_places();
        window.read_borders();
        window.list_models();
        window.base_map(layer);
        Ok(window)
    }

    /// Puts all kept places on the map.
    fn open_kept_places(&self) {
        let Some(kept) = self.session.kept.clone() else { return };
        self.queue.run(
            Lane::Read,
            move || Ok(read::kept_scenes(&kept)),
            |window: &mut Self, scenes| match scenes {
                Ok(scenes) => scenes.into_iter().for_each(|known| {
                    window.session.add_scene(known);
                }),
                Err(error) => window.session.note(error.to_string(), true),
            },
        );
    }

    /// Reads coast, borders and names.
    fn read_borders(&self) {
        self.queue.run(Lane::Read, Borders::open, |window: &mut Self, read| match read {
            Ok(borders) => window.map.set_borders(borders),
            Err(error) => window.session.note(error.to_string(), true),
        });
    }

    /// Begins an exchange with a server, as [`exchange::begin`] does it.
    pub(super) fn exchange<T: Send + 'static>(
        &self,
        exchange: impl FnOnce(&Network, &Outbox<Self>, &Arc<AtomicBool>) -> Result<T> + Send + 'static,
        then: impl FnOnce(&mut Self, Result<T>) + Send + 'static,
    ) -> Ongoing {
        exchange::begin(self.queue.outbox(), &self.network, exchange, then)
    }

    /// Does what the answers that have come from the background ask for.
    pub(super) fn take_answers(&mut self) {
        while let Some(answer) = self.queue.answer() {
            answer(self);
        }
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

/// One with a model and no scenes, for tests beside the code.
#[cfg(test)]
pub(super) fn bare(
    model: PathBuf,
    models: Option<PathBuf>,
    session: Option<PathBuf>,
) -> egui_kittest::Harness<'static, ExplorerWindow> {
    let options = Options {
        model,
        scenes: Vec::new(),
        named_model: false,
        first: None,
        scene: None,
        session,
        models,
        hub: crate::hub::Hub::at("http://127.0.0.1:9"),
        network: Network::default(),
        sources: Vec::new(),
        kept: None,
        problems: Vec::new(),
        maps: crate::basemap::Folders::default(),
    };
    egui_kittest::Harness::builder().build_eframe(|cc| ExplorerWindow::new(cc, options).expect("window"))
}

/// Takes answers until something holds; for tests beside the code.
#[cfg(test)]
pub(super) fn answered(window: &mut ExplorerWindow, done: impl Fn(&ExplorerWindow) -> bool) {
    let begun = Instant::now();
    while !done(window) {
        assert!(begun.elapsed().as_secs() < 60, "it never happens: {:?}", window.session.notes);
        window.take_answers();
        std::thread::yield_now();
    }
}
