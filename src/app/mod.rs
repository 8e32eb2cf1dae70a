//! The window: panels read the session and ask for things with commands; two background threads do the work.

mod command;
mod dialogs;
mod kit;
mod map;
mod panels;
mod state;
mod view;
mod window;
mod work;

pub use command::Command;
pub use dialogs::open_data::DataForm;
pub use kit::frames::Frames;
pub use map::map_view::MapView;
pub use state::choices::{Choices, History};
pub use state::guide::GuideStep;
pub use state::models::{Models, Outcome};
pub use state::open_data::Site;
pub use state::place::Selection;
pub use state::questions::Question;
pub use state::runs::{Run, RunState, Runs};
pub use state::session::Session;
pub use state::tools::{Brush, Stroked, Tool};
pub use view::shown::{Base, Shown, Sort};
pub use window::explorer::ExplorerWindow;
pub use window::tour::{Tour, Trip};

use crate::basemap::Folders;
use crate::error::{Error, Result};
use crate::files::{bundled, folders};
use crate::hub::{Hub, Library};
use crate::modality::Catalogue;
use crate::model::Manifest;
use crate::net::Network;
use crate::source::{Kept, Provider, providers};
use std::path::PathBuf;

/// What the window opens with.
pub struct Options {
    /// Model folder.
    pub model: PathBuf,
    /// Scenes on the map.
    pub scenes: Vec<PathBuf>,
    /// Scene that is picked at once.
    pub first: Option<PathBuf>,
    /// Folder that keeps the session for the next start; nothing is kept without one.
    pub session: Option<PathBuf>,
    /// Folder that models are installed in; none on a system without one.
    pub models: Option<PathBuf>,
    /// Where models are fetched from.
    pub hub: Hub,
    /// The way to servers, and whether it is open.
    pub network: Network,
    /// Providers of open data.
    pub sources: Vec<Provider>,
    /// Where fetched places are kept for offline use.
    pub kept: Option<Kept>,
    /// What to tell at once.
    pub problems: Vec<String>,
    /// Where map layers are described and servers' tiles are kept.
    pub maps: Folders,
    /// Takes pictures of the window and closes it.
    pub tour: Option<Tour>,
}

/// The scene a newcomer sees first.
const FIRST_SCENE: &str = "433D_629L_3_1";

impl Options {
    /// The bundled scenes with one of them picked, and the bundled model.
    ///
    /// # Errors
    /// When the program's own files are not found.
    pub fn bundled() -> Result<Self> {
        let dir = bundled("assets/scenes")?;
        let scenes = folders(&dir)?;
        let first = Some(dir.join(FIRST_SCENE));
        // Everything but the user's own families works without them.
        let mut problems: Vec<String> = Catalogue::checked().err().iter().map(ToString::to_string).collect();
        let sources = providers().unwrap_or_else(|error| {
            // Everything but open data works without.
            problems.push(error.to_string());
            Vec::new()
        });
        Ok(Self {
            model: bundled("models/demo")?,
            first,
            scenes,
            session: None,
            models: Library::folder().ok(),
            hub: Hub::from_env(),
            network: Network::default(),
            sources,
            kept: Kept::usual(),
            problems,
            maps: Folders::default(),
            tour: None,
        })
    }
}

/// Opens the window and returns when it is closed.
///
/// # Errors
/// When there is no display or no graphics adapter.
pub fn open(options: Options) -> Result<()> {
    let headless = || {
        Error::Compute(
            "There is no display to open a window on; use \"copgen generate --scene DIR --given DEM,LULC --out DIR\" to work without one (see copgen generate --help).".into(),
        )
    };
    let named = ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"];
    if cfg!(target_os = "linux") && named.iter().all(|name| std::env::var_os(name).is_none_or(|v| v.is_empty())) {
        return Err(headless());
    }
    Manifest::open(&options.model)?;
    let size = egui::vec2(1440.0, 900.0);
    let viewport = egui::ViewportBuilder::default()
        .with_title("COP-GEN Explorer")
        .with_app_id("copgen")
        .with_inner_size(size)
        .with_min_inner_size(egui::vec2(1100.0, 640.0));
    let native = eframe::NativeOptions { viewport, ..Default::default() };
    let create: eframe::AppCreator = Box::new(move |cc| Ok(Box::new(ExplorerWindow::new(cc, options)?)));
    match eframe::run_native("copgen", native, create) {
        Ok(()) => Ok(()),
        Err(eframe::Error::Winit(_) | eframe::Error::WinitEventLoop(_)) => Err(headless()),
        Err(eframe::Error::AppCreation(error)) => Err(Error::Compute(error.to_string())),
        Err(error) => Err(Error::Compute(format!("The window cannot be opened: {error}"))),
    }
}
