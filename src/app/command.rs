//! What panels ask for; [`Window`](super::window::Window) is the only place that carries it out.

use super::basemap::Layer;
use super::presets::Preset;
use super::session::Selection;
use super::shown::{Base, Sort};
use super::studio::Purpose;
use crate::modality::Location;
use crate::sampler::Role;
use crate::scene::Window;
use crate::view::Spot;

/// A wish of the user.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Pick a scene or a grid cell.
    Pick(Selection),
    /// Take another window of the picked scene.
    MoveWindow(Window),
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
    /// Text for a value set by hand.
    Typed(usize, String),
    /// A ready-made question.
    Preset(Preset),
    /// Take the last change of roles or values back.
    Undo,
    /// Make it again.
    Redo,
    /// Move to, and pick, what was typed: coordinates, a grid cell, or a scene.
    Find(String),
    /// Number of realisations.
    Samples(usize),
    /// Evaluations per realisation.
    Steps(usize),
    /// Seed.
    Seed(u64),
    /// Start sampling.
    Generate,
    /// Add as many realisations again to the latest run.
    More,
    /// Stop sampling.
    Stop,
    /// Show this modality.
    Modality(usize),
    /// Look at the pictures in this way, by its place in the list.
    Look(usize),
    /// Stretch each picture by itself, or all alike.
    OwnStretch(bool),
    /// Show the spread of this channel.
    Channel(usize),
    /// Show the picture before (-1) or after (1) this one.
    Step(i32),
    /// Order the gallery.
    Sort(Sort),
    /// Show what was observed west of this share of the picture's width, or nowhere.
    Swipe(Option<f32>),
    /// Show what was observed, or again what was shown before it.
    Blink,
    /// Take roles, values, steps and seed of the latest run.
    Recall,
    /// Inspect this spot of the picked window, or none.
    Inspect(Option<Spot>),
    /// Measure spread in this way, by its place in the list.
    Measure(usize),
    /// Show this picture on the map.
    Base(Base),
    /// Show where realisations disagree.
    Spread(bool),
    /// Opacity of the spread, 0…1.
    Opacity(f32),
    /// Tick a realisation for export, or not.
    Tick(u64, bool),
    /// Open or close the sheet of keys.
    KeySheet(bool),
    /// Open or close the export window.
    ExportWindow(bool),
    /// Open or close the window that asks for a scene folder.
    SceneWindow(bool),
    /// Open or close the window that asks where to save the project.
    ProjectWindow(bool),
    /// Save the project to this folder.
    SaveProject(std::path::PathBuf),
    /// Choose a folder in a dialog.
    ChooseFolder(Purpose),
    /// Open a folder: a scene or a project.
    OpenScene(std::path::PathBuf),
    /// Write what is ticked.
    Export,
    /// Forget a note.
    Dismiss(usize),
}
