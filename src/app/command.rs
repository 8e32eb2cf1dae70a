//! What panels ask for; [`Window`](super::window::Window) is the only place that carries it out.

use super::basemap::Layer;
use super::session::Selection;
use super::shown::Base;
use super::studio::Purpose;
use crate::modality::Location;
use crate::sampler::Role;

/// A wish of the user.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Pick a scene or a grid cell.
    Pick(Selection),
    /// Move the map to a place.
    Centre(Location, f64),
    /// Move the map so that a square of this side in metres fills a good part of it.
    Fit(Location, f64),
    /// Zoom in or out by so many levels.
    Zoom(f64),
    /// Another layer below everything.
    Basemap(Layer),
    /// Light or dark.
    Theme(egui::Theme),
    /// Give a modality a role.
    Role(usize, Role),
    /// Text typed for a location or a date.
    Typed(usize, String),
    /// Number of realisations.
    Samples(usize),
    /// Evaluations per realisation.
    Steps(usize),
    /// Seed.
    Seed(u64),
    /// Start sampling.
    Generate,
    /// Stop sampling.
    Stop,
    /// Show this modality.
    Modality(usize),
    /// Show the spread of this channel.
    Channel(usize),
    /// Show this picture on the map.
    Base(Base),
    /// Show where realisations disagree.
    Spread(bool),
    /// Opacity of the spread, 0…1.
    Opacity(f32),
    /// Tick a realisation for export, or not.
    Tick(u64, bool),
    /// Open or close the export window.
    ExportWindow(bool),
    /// Open or close the window that asks for a scene folder.
    SceneWindow(bool),
    /// Choose a folder in a dialog.
    ChooseFolder(Purpose),
    /// Open a scene folder.
    OpenScene(std::path::PathBuf),
    /// Write what is ticked.
    Export,
    /// Forget a note.
    Dismiss(usize),
}
