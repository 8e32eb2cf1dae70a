//! Opens the window on the screen.

use crate::app::window::explorer::ExplorerWindow;
use crate::app::window::on_tour::OnTour;
use crate::app::window::options::Options;
use crate::app::window::tour::Tour;
use crate::error::{Error, Result};
use crate::model::Manifest;

/// Opens the window and returns when it is closed.
///
/// # Errors
/// When there is no display or no graphics adapter.
pub fn open(options: Options) -> Result<()> {
    run(options, None)
}

/// Opens the window for a tour, which takes pictures of it and closes it.
///
/// # Errors
/// When there is no display or no graphics adapter.
pub fn open_on_tour(options: Options, tour: Tour) -> Result<()> {
    run(options, Some(tour))
}

fn run(options: Options, tour: Option<Tour>) -> Result<()> {
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
    let create: eframe::AppCreator = Box::new(move |cc| {
        let window = ExplorerWindow::new(cc, options)?;
        Ok(match tour {
            Some(tour) => Box::new(OnTour { window, tour }),
            None => Box::new(window),
        })
    });
    match eframe::run_native("copgen", native, create) {
        Ok(()) => Ok(()),
        Err(eframe::Error::Winit(_) | eframe::Error::WinitEventLoop(_)) => Err(headless()),
        Err(eframe::Error::AppCreation(error)) => Err(Error::Compute(error.to_string())),
        Err(error) => Err(Error::Compute(format!("The window cannot be opened: {error}"))),
    }
}
