//! The second background thread: reads scenes, paints pictures and writes files, so that the window never waits.

use crate::app::command::Purpose;
use crate::app::map::borders::Chart;
use crate::app::state::model::LoadedModel;
use crate::app::state::open_data::Store;
use crate::app::state::place::{Ground, KnownScene, Observed};
use crate::app::state::project::Restored;
use crate::basemap::{Archive, LayerId};
use crate::ensemble::{Measure, Quantity, Realisation, Samples, Statistics, distance, statistics};
use crate::error::{Error, Result};
use crate::files::bundled;
use crate::grid::Footprint;
use crate::job::{Place, Settings, observe_all};
use crate::modality::{Modality, ModalityTable, Raster};
use crate::process::panic_text;
use crate::project::Project;
use crate::scene::{Collection, Given, LooseFile, Scene, recognise};
use crate::source::Kept;
use crate::view::{self, AreaFigures, AreaOrder, Spot, area_figures};
use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::ColorImage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// One picture per modality of the table.
pub type Thumbnails = Vec<Option<Arc<ColorImage>>>;

/// What the thread answers.
pub enum Reply {
    /// The manifest of the model in this folder was read.
    Model(PathBuf, Result<LoadedModel>),
    /// A scene was opened; by number of the wish for it, if it is to be picked at once.
    Scene(Result<KnownScene>, Option<u64>),
    /// A folder turned out to be a data set of many cells; the number is as for a scene.
    Collection(Box<Collection>, Option<u64>),
    /// A file that this program exported was looked into: its name and settings.
    Settings(PathBuf, Box<Settings>),
    /// GeoTIFFs were looked into, by number of the wish for them.
    Recognised(Vec<Result<LooseFile>>, u64),
    /// Places kept for offline use.
    KeptScenes(Vec<KnownScene>),
    /// What is kept, and which places had to make room; or why it cannot be told.
    Store(Result<(Store, Vec<PathBuf>)>),
    /// Coast, borders and names.
    Chart(Result<Box<Chart>>),
    /// A file with map tiles was opened.
    MapFile(LayerId, Box<Result<Archive>>),
    /// A place was read: by number of the order, its values, and a thumbnail by modality.
    Observed(u64, Result<(Observed, Thumbnails)>),
    /// Pictures of the gallery.
    Painted(Box<Painted>),
    /// A painting that was ordered anew before it began.
    Superseded,
    /// A preview of a realisation in the making: folder of its run, its number, modality, picture.
    Preview(String, u64, usize, Arc<ColorImage>),
    /// Files were written to this folder.
    Exported(PathBuf, Result<Vec<PathBuf>>),
    /// A task failed in a way nobody foresaw.
    Broken(String),
    /// A session was read back from this folder, by number of the wish for it.
    Restored(PathBuf, Box<Result<Restored>>, u64),
    /// The session's own folder was written, or could not be.
    Kept(Result<()>),
    /// A project was saved to this folder.
    Saved(Result<PathBuf>),
    /// A folder or file was chosen in a dialog; `None` if it was closed or could not open.
    Folder(Purpose, Option<PathBuf>),
}

/// What to paint.
pub struct PaintOrder {
    /// Number of the order; answers to older ones are dropped.
    pub serial: u64,
    /// The modality's row of the table.
    pub modality: Modality,
    /// Its index.
    pub index: usize,
    /// How its values become colours.
    pub look: view::Look,
    /// Whether each picture has a stretch of its own.
    pub own_stretch: bool,
    /// What is compared over realisations.
    pub quantity: Quantity,
    /// How spread is measured.
    pub measure: Measure,
    /// What was observed there.
    pub observed: Option<Raster>,
    /// The realisations.
    pub members: Vec<Arc<Realisation>>,
    /// An area to count in: its corners, all modalities, and what was observed of each.
    pub area: Option<([Spot; 2], ModalityTable, Vec<Option<Raster>>)>,
}

/// How far a realisation is from others, in the units of [`distance`]; `None` where there is nothing to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Distances {
    /// From the mean (or most frequent class) of all.
    pub mean: Option<f32>,
    /// From what was observed.
    pub observed: Option<f32>,
}

/// Pictures of one modality.
pub struct Painted {
    /// The order's number.
    pub serial: u64,
    /// What was observed.
    pub observed: Option<Arc<ColorImage>>,
    /// By number of the realisation.
    pub realisations: Vec<(u64, Arc<ColorImage>)>,
    /// Mean or most frequent class, from two realisations on.
    pub mean: Option<Arc<ColorImage>>,
    /// By number of the realisation: how far it is from the mean and from what was observed.
    pub distances: Vec<(u64, Distances)>,
    /// Data of the overlay, from two realisations on, with a range for its legend.
    pub spread: Option<(Quantity, Samples, [f32; 2])>,
    /// Figures of the area that is marked.
    pub area: Option<AreaFigures>,
}

/// The thread.
pub struct Queue {
    tasks: Option<Sender<Box<dyn FnOnce() -> Reply + Send>>>,
    thread: Option<JoinHandle<()>>,
    /// Answers, in the order of the tasks.
    pub replies: Receiver<Reply>,
    aside: Sender<Reply>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Queue {
    /// Starts it; `wake` is called after each answer.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn spawn(wake: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        let (tasks, inbox) = unbounded::<Box<dyn FnOnce() -> Reply + Send>>();
        let (outbox, replies) = unbounded();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(wake);
        let (aside, own_wake) = (outbox.clone(), wake.clone());
        let thread = std::thread::Builder::new()
            .name("queue".into())
            .spawn(move || {
                for task in inbox {
                    // A defect must not end all reading, painting and keeping.
                    let reply = catch_unwind(AssertUnwindSafe(task))
                        .unwrap_or_else(|panic| Reply::Broken(panic_text(panic.as_ref())));
                    if outbox.send(reply).is_err() {
                        return;
                    }
                    own_wake();
                }
            })
            .map_err(|e| Error::Compute(format!("The background thread cannot be started: {e}")))?;
        Ok(Self { tasks: Some(tasks), thread: Some(thread), replies, aside, wake })
    }

    /// Queues a task.
    pub fn run(&self, task: impl FnOnce() -> Reply + Send + 'static) {
        // The thread ends only with the window.
        if let Some(tasks) = &self.tasks {
            let _ = tasks.send(Box::new(task));
        }
    }

    /// Waits until everything that was queued is done; nothing can be queued any more.
    pub fn finish(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Opens a dialog on a thread of its own: it may stay open for long.
    pub fn choose_folder(&self, purpose: Purpose) {
        let (aside, wake) = (self.aside.clone(), self.wake.clone());
        std::thread::spawn(move || {
            let dialog = rfd::FileDialog::new();
            let folder = match purpose {
                Purpose::MapFile => dialog.add_filter("Map tiles", &["pmtiles", "mbtiles"]).pick_file(),
                _ => dialog.pick_folder(),
            };
            let _ = aside.send(Reply::Folder(purpose, folder));
            wake();
        });
    }
}

/// Reads a model's manifest.
pub fn load_model(dir: PathBuf) -> Reply {
    let read = LoadedModel::open(dir.clone());
    Reply::Model(dir, read)
}

/// Looks into files: one that this program exported holds settings, others may be part of a scene.
pub fn look_into(paths: &[PathBuf], place: u64) -> Reply {
    if let [path] = paths
        && let Ok(Some(settings)) = Settings::in_file(path)
    {
        return Reply::Settings(path.clone(), Box::new(settings));
    }
    Reply::Recognised(paths.iter().map(|path| recognise(path)).collect(), place)
}

/// Opens a file with map tiles.
pub fn open_map(layer: LayerId) -> Reply {
    let opened = match &layer {
        LayerId::File(path) => Archive::open(path),
        _ => bundled("assets/basemap/world.pmtiles").and_then(|path| Archive::open(&path)),
    };
    Reply::MapFile(layer, Box::new(opened))
}

/// Opens a scene folder, or a data set of many cells; `place` is the number of the wish, if it is to be picked.
pub fn open_scene(dir: &Path, place: Option<u64>) -> Reply {
    match known_place(dir) {
        Ok(Known::Scene(known)) => Reply::Scene(Ok(*known), place),
        Ok(Known::Collection(collection)) => Reply::Collection(collection, place),
        Err(error) => Reply::Scene(Err(error), place),
    }
}

/// What a folder can be.
pub enum Known {
    /// One place.
    Scene(Box<KnownScene>),
    /// Many cells.
    Collection(Box<Collection>),
}

/// Opens what a folder is.
///
/// # Errors
/// When it is neither a scene nor a data set.
pub fn known_place(dir: &Path) -> Result<Known> {
    let error = match known_scene(dir) {
        Ok(known) => return Ok(Known::Scene(Box::new(known))),
        Err(error) => error,
    };
    match Collection::find(dir)? {
        Some(collection) => Ok(Known::Collection(Box::new(collection))),
        None => Err(error),
    }
}

/// A scene as the map needs it.
///
/// # Errors
/// When the folder is no scene.
pub fn known_scene(dir: &Path) -> Result<KnownScene> {
    let scene = Scene::open(dir)?;
    let corners = scene.footprint().corners().ok();
    Ok(KnownScene { scene, corners })
}

/// Opens all kept places; one that is damaged is left out.
pub fn open_kept(kept: &Kept) -> Reply {
    Reply::KeptScenes(kept.scenes().iter().filter_map(|scene| known_scene(&scene.dir).ok()).collect())
}

/// Writes the project file of the session.
pub fn keep_project(dir: &Path, project: &Project) -> Reply {
    Reply::Kept(project.write(dir))
}

/// Writes a finished realisation into the session's folder.
pub fn keep_realisation(dir: &Path, folder: &str, table: &ModalityTable, realisation: &Realisation) -> Reply {
    Reply::Kept(crate::project::keep(dir, folder, table, realisation))
}

/// Writes all realisations that are not in the session's folder, as after a full disk.
pub fn keep_missing(dir: &Path, table: &ModalityTable, runs: &[(String, Vec<Arc<Realisation>>)]) -> Reply {
    let keep = |folder: &str, made: &Realisation| match crate::project::is_kept(dir, folder, made.index) {
        true => Ok(()),
        false => crate::project::keep(dir, folder, table, made),
    };
    let mut all = runs.iter().flat_map(|(folder, members)| members.iter().map(move |made| (folder, made)));
    Reply::Kept(all.try_for_each(|(folder, made)| keep(folder, made)))
}

/// Writes everything to a folder of the user's; `members` holds the realisations of each run.
pub fn save_project(
    dir: PathBuf,
    project: &Project,
    table: &ModalityTable,
    members: &[Vec<Arc<Realisation>>],
) -> Reply {
    Reply::Saved(project.write_with(&dir, table, members).map(|()| dir))
}

fn ground(footprint: Footprint) -> Ground {
    Ground { corners: footprint.corners().ok(), footprint }
}

/// Reads all that is known at a place, with a thumbnail of each modality.
pub fn observe_place(order: u64, place: &Place, table: &ModalityTable) -> Reply {
    Reply::Observed(order, observed_at(place, table).map(|observed| with_thumbnails(table, observed)))
}

/// See [`observe_place`].
///
/// # Errors
/// When the place cannot be opened, or its extent does not lie in it.
pub fn observed_at(place: &Place, table: &ModalityTable) -> Result<Observed> {
    let mut observation = observe_all(table, place)?;
    let ground = ground(observation.footprint.clone());
    if ground.corners.is_none() {
        let text = "This scene has no position, so it is not on the map; its pictures are in the gallery.";
        observation.notes.push(text.into());
    }
    Ok(Observed { ground, observation })
}

fn with_thumbnails(table: &ModalityTable, observed: Observed) -> (Observed, Thumbnails) {
    let thumbnail = |(m, given): (&Modality, &Option<Given>)| {
        let raster = given.as_ref()?.value.image()?;
        Some(drawn_usual(m, raster))
    };
    let pictures = table.iter().zip(&observed.observation.values).map(thumbnail).collect();
    (observed, pictures)
}

/// The usual picture, with its own stretch.
pub fn drawn_usual(m: &Modality, raster: &Raster) -> Arc<ColorImage> {
    let look = view::usual_look(m);
    drawn(m, look, raster, &view::stretch(m, look, &[raster]))
}

/// A picture ready to become a texture.
fn drawn(m: &Modality, look: view::Look, raster: &Raster, stretch: &view::Stretch) -> Arc<ColorImage> {
    let picture = view::picture(m, look, raster, stretch);
    let pixels = picture.pixels.iter().map(|[r, g, b]| egui::Color32::from_rgb(*r, *g, *b)).collect();
    Arc::new(ColorImage::new([picture.width, picture.height], pixels))
}

/// Paints a preview.
pub fn paint_preview(run: String, m: &Modality, index: u64, modality: usize, raster: &Raster) -> Reply {
    Reply::Preview(run, index, modality, drawn_usual(m, raster))
}

/// Paints the gallery of one modality, unless it was ordered anew meanwhile: `latest` is the newest order's number.
pub fn paint(order: &PaintOrder, latest: &AtomicU64) -> Reply {
    if latest.load(Ordering::Relaxed) > order.serial {
        return Reply::Superseded;
    }
    let m = &order.modality;
    let members: Vec<&Realisation> = order.members.iter().map(AsRef::as_ref).collect();
    let held: Vec<(u64, &Raster)> =
        members.iter().filter_map(|r| Some((r.index, r.values.get(order.index)?.as_ref()?.image()?))).collect();
    // What was observed sets the scale where it is known: then wrong levels show as such.
    let scale = match &order.observed {
        Some(observed) if observed.valid_share() > 0.0 => vec![observed],
        _ => held.iter().map(|(_, raster)| *raster).collect(),
    };
    let shared = view::stretch(m, order.look, &scale);
    let drawn = |raster: &Raster| {
        let own = order.own_stretch.then(|| view::stretch(m, order.look, &[raster]));
        drawn(m, order.look, raster, own.as_ref().unwrap_or(&shared))
    };
    let mut painted = Painted {
        serial: order.serial,
        observed: order.observed.as_ref().map(drawn),
        realisations: held.iter().map(|(i, raster)| (*i, drawn(raster))).collect(),
        mean: None,
        distances: Vec::new(),
        spread: None,
        area: None,
    };
    let mean = match statistics(m, order.index, &members) {
        Ok(Statistics::Continuous { mean, .. }) if held.len() > 1 => Some(mean),
        Ok(Statistics::Classes { mode, .. }) if held.len() > 1 => Some(mode),
        _ => None,
    };
    let from = |other: &Option<Raster>, raster: &Raster| other.as_ref().and_then(|other| distance(m, raster, other));
    painted.distances = held
        .iter()
        .map(|(i, raster)| (*i, Distances { mean: from(&mean, raster), observed: from(&order.observed, raster) }))
        .collect();
    painted.mean = mean.as_ref().map(drawn);
    if held.len() > 1 {
        let observed = order.observed.as_ref();
        let samples = Samples::new(m, order.index, order.quantity, &members, observed, order.measure);
        painted.spread = samples.ok().map(|samples| (order.quantity, samples.clone(), view::spread_range(&samples)));
    }
    if let Some((area, table, observed)) = &order.area {
        let (modality, quantity, members) = (order.index, order.quantity, &members[..]);
        painted.area = area_figures(&AreaOrder { area: *area, table, observed, members, modality, quantity });
    }
    Reply::Painted(Box::new(painted))
}
