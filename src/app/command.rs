//! What panels ask for; [`ExplorerWindow`](crate::app::window::explorer::ExplorerWindow) is the only place that carries it out.

use crate::app::state::guide::GuideStep;
use crate::app::state::place::Selection;
use crate::app::state::questions::Question;
use crate::app::state::tools::{Brush, Stroked, Tool};
use crate::app::view::gallery_zoom::GalleryZoom;
use crate::app::view::shown::{Base, Sort};
use crate::basemap::LayerId;
use crate::grid::GridCell;
use crate::hub::InstallRequest;
use crate::job::Keep;
use crate::modality::{Location, PostOptions};
use crate::model::Computing;
use crate::sampler::{Role, SamplerOptions};
use crate::scene::Window;
use crate::source::major_tom::{Origin, Row};
use crate::view::Spot;

/// What a folder or file is chosen for in a dialog of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChoice {
    /// A scene to open.
    OpenScene,
    /// Where to export to.
    Export,
    /// Where to save the project.
    Project,
    /// A file with map tiles.
    MapFile,
}

/// Something a person wants done.
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
    Basemap(LayerId),
    /// Take a map file off the list; the file stays.
    ForgetMap(std::path::PathBuf),
    /// Draw borders and names over the layer below, or not.
    MapNames(bool),
    /// Light or dark.
    Theme(egui::Theme),
    /// Give a modality a role.
    Role(usize, Role),
    /// Give several modalities a role.
    Roles(Vec<usize>, Role),
    /// Keep some of several modalities and generate the rest of them.
    Keep(Vec<usize>, Keep),
    /// Give a modality, with this text for its value.
    Set(usize, String),
    /// Text for a value set by hand.
    Typed(usize, String),
    /// A ready-made question.
    Ask(Question),
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
    /// Take a new seed for each run, or keep to the chosen one.
    RandomSeed(bool),
    /// What to compute on.
    Computing(Computing),
    /// Switches of sampling and post-processing.
    Options(SamplerOptions, PostOptions),
    /// Sample, or queue it while a run goes on.
    Generate,
    /// Add as many realisations again to the run that is looked at.
    More,
    /// Stop the run that goes on.
    Stop,
    /// Take what is at this place of the queue out of it.
    Withdraw(usize),
    /// Look at another run, by its place in the list.
    ShowRun(usize),
    /// Forget a run and its realisations.
    ForgetRun(usize),
    /// Show this modality.
    Modality(usize),
    /// Look at the pictures in this way, by its place in the list.
    Look(usize),
    /// Stretch each picture by itself, or all alike.
    OwnStretch(bool),
    /// Compare this quantity over realisations, by its place in the list.
    Quantity(usize),
    /// Show the picture before (-1) or after (1) this one.
    Step(i32),
    /// Show this part of all pictures in the gallery.
    GalleryZoom(GalleryZoom),
    /// Show one realisation after another, or stop.
    Play(bool),
    /// The other of both.
    TogglePlay,
    /// Give the modality that is shown a role.
    RoleOfShown(Role),
    /// Open or close the list of everything that can be done.
    Palette(bool),
    /// Go to this step of the guide, or close it.
    Guide(Option<GuideStep>),
    /// Keep a realisation at the front of the gallery, or not.
    Pin(u64, bool),
    /// Order the gallery.
    Sort(Sort),
    /// Compare the run that is looked at with the scene of this folder, or with none.
    Compare(Option<std::path::PathBuf>),
    /// Show what was observed, or the reference, west of this share of the picture's width, or nowhere.
    Swipe(Option<f32>),
    /// Show what was observed, or again what was shown before it.
    Blink,
    /// Take roles, values, switches and seed of the run that is looked at.
    Recall,
    /// Inspect this spot of the picked window, or none.
    Inspect(Option<Spot>),
    /// Use this tool on the map.
    Tool(Tool),
    /// Add a place to the path that is measured, or begin anew.
    Ruler(Option<Location>),
    /// Mark an area of the picked window, by two corners, or none.
    Area(Option<[Spot; 2]>),
    /// Paint classes.
    Paint(Stroked),
    /// Paint all that this outline of the window encloses.
    Fill(Brush, Vec<Spot>),
    /// The stroke has ended; the next is another step for undo.
    EndUndoStep,
    /// Set a place by hand that was chosen on the map.
    Placed(usize, Location),
    /// Measure spread in this way, by its place in the list.
    Measure(usize),
    /// Show this picture on the map.
    Base(Base),
    /// Show where realisations disagree.
    Spread(bool),
    /// Opacity of the picture on the map, 0…1.
    PictureOpacity(f32),
    /// Values at both ends of the legend of spread, or those that fit.
    Range(Option<[f32; 2]>),
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
    /// Choose a folder, or a file, in a dialog.
    ChooseFolder(FileChoice),
    /// Open a folder: a scene or a project.
    OpenScene(std::path::PathBuf),
    /// Open what was dropped or typed: folders, GeoTIFFs as one scene, parquet files or their addresses, map files.
    OpenPaths(Vec<std::path::PathBuf>),
    /// Open these GeoTIFFs as one scene, or none: path, modality, day.
    OpenFiles(Option<Vec<(std::path::PathBuf, String, Option<jiff::civil::Date>)>>),
    /// Open parquet files of Major TOM Core, or indices of them, at a cell if one is known.
    OpenTables(Vec<Origin>, Option<GridCell>),
    /// Make a scene of these rows and open it.
    FetchRows(Vec<Row>),
    /// Ask no longer which cell, and stop reading.
    CloseCells,
    /// Write into this folder, in place of what an earlier export left there.
    ExportOver(std::path::PathBuf),
    /// Write what is ticked.
    Export,
    /// Open or close the window of open data.
    DataWindow(bool),
    /// Look for images of these days, from the first to the last, with no more than so many percent of cloud.
    DataDays(jiff::civil::Date, jiff::civil::Date, f64),
    /// Ask the catalogues what there is of the picked place.
    SearchData,
    /// Fetch what is chosen.
    FetchData,
    /// Stop fetching.
    StopFetch,
    /// Remove a kept place.
    RemoveKept(std::path::PathBuf),
    /// Keep no more than so many bytes for offline use.
    KeepAtMost(u64),
    /// Open or close the list of models.
    ModelsWindow(bool),
    /// Fetch a model, or the rest of it.
    FetchModel(InstallRequest),
    /// End what is done to a model.
    StopModel(String),
    /// Use the model in this folder.
    UseModel(std::path::PathBuf),
    /// Compare a model's files with their hashes.
    VerifyModel(String),
    /// Remove an installed model.
    RemoveModel(String),
    /// Switch the network off, or on.
    Offline(bool),
    /// Forget a note.
    Dismiss(usize),
}
