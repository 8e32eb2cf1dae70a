//! What the window knows and what the user has chosen: no drawing here.

use super::choices::{self, Choices, History};
use super::map_tools::Stroked;
use super::presets::Preset;
use super::runs::{Run, RunState, Runs};
use crate::basemap::Layers;
use crate::error::{Error, Result};
use crate::export::Lineage;
use crate::grid::{Footprint, GridCell};
use crate::job::{Event, Place, PlaceData, Request, SetValue, Settings};
use crate::modality::{ClassMap, Location, Modality, ModalityTable, PostOptions, Value, filled};
use crate::model::Computing;
use crate::model::{MANIFEST_FILE, Manifest, sha256_of};
use crate::project::KeptRun;
use crate::sampler::{Role, Roles, SamplerOptions};
use crate::scene::{Collection, Observation, Scene, Window};
use crate::source::Kept;
use crate::view::Spot;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The model in use, as far as the window needs it; the worker loads the weights.
#[derive(Debug)]
pub struct LoadedModel {
    /// Its folder.
    pub dir: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// SHA-256 of the manifest.
    pub sha256: String,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
}

impl LoadedModel {
    /// Reads a model folder's manifest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(dir: PathBuf) -> Result<Self> {
        let manifest = Manifest::open(&dir)?;
        let sha256 = sha256_of(&dir.join(MANIFEST_FILE))?;
        let weight_bytes = manifest.weight_bytes(&dir);
        Ok(Self { dir, manifest, sha256, weight_bytes })
    }
}

/// What a project names that could not be read: it is kept, so that it is there again when the disk is.
#[derive(Debug, Clone, Default)]
pub struct Unread {
    /// Scene folders.
    pub scenes: Vec<PathBuf>,
    /// Runs.
    pub runs: Vec<KeptRun>,
}

/// A scene on the map.
#[derive(Debug, Clone)]
pub struct KnownScene {
    /// The scene.
    pub scene: Scene,
    /// Its corners (north-west, north-east, south-east, south-west); `None` without georeference.
    pub corners: Option<[Location; 4]>,
}

/// A rectangle on the map.
#[derive(Debug, Clone)]
pub struct Ground {
    /// In its own coordinate system.
    pub footprint: Footprint,
    /// North-west, north-east, south-east, south-west; `None` without georeference.
    pub corners: Option<[Location; 4]>,
}

/// What is picked.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// One of the scenes.
    Scene(usize),
    /// A grid cell without data.
    Cell(GridCell),
}

/// What is known of the picked place.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The window of the model.
    pub ground: Ground,
    /// All values that could be read there.
    pub observation: Observation,
}

/// Something to tell, kept until it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// One or two sentences.
    pub text: String,
    /// Whether something went wrong.
    pub problem: bool,
}

/// Realisations computed together.
fn batch(samples: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.clamp(1, 4).min(samples.max(1))
}

/// All of it.
#[derive(Debug, Default)]
pub struct Session {
    /// The model, once its manifest is read.
    pub model: Option<Arc<LoadedModel>>,
    /// Scenes on the map.
    pub scenes: Vec<KnownScene>,
    /// Data sets on the map, whose cells become scenes when they are picked.
    pub collections: Vec<Collection>,
    /// Layers there are to lie below everything.
    pub layers: Layers,
    /// What is picked.
    pub selection: Option<Selection>,
    /// Which window of a picked scene.
    pub window: Window,
    /// What is known there; `None` while it is being read.
    pub observed: Option<Observed>,
    /// What is wanted of each modality.
    pub choices: History,
    /// Number of realisations.
    pub samples: usize,
    /// Sampling switches, among them the evaluations per realisation.
    pub options: SamplerOptions,
    /// Post-processing switches.
    pub post: PostOptions,
    /// What is computed on.
    pub computing: Computing,
    /// Seed.
    pub seed: u64,
    /// Whether each run takes a seed of its own.
    pub random_seed: bool,
    /// Runs, done and to come.
    pub runs: Runs,
    /// What the session names and could not be read.
    pub unread: Unread,
    /// Number of the order to read a place that was given last; 0 when nothing is being read.
    pub reading: u64,
    /// Bytes this program may hold, with what it holds now; `None` where the system does not tell.
    pub memory_limit: Option<u64>,
    /// Whether the window was moved over the same scene.
    pub moved: bool,
    /// Where fetched places are kept for offline use.
    pub kept: Option<Kept>,
    /// Whether the network is switched off.
    pub offline: bool,
    /// Unread notes, oldest first.
    pub notes: Vec<Note>,
}

impl Session {
    /// The table of the model; `None` while it loads.
    pub fn table(&self) -> Option<&ModalityTable> {
        self.model.as_ref().map(|m| &m.manifest.modalities)
    }

    /// Puts a scene on the map, unless it is there; its place in the list.
    pub fn add_scene(&mut self, known: KnownScene) -> usize {
        let at = self.scenes.iter().position(|other| other.scene.dir() == known.scene.dir());
        at.unwrap_or_else(|| {
            self.scenes.push(known);
            self.scenes.len() - 1
        })
    }

    /// Whether a scene was fetched and is kept for offline use.
    pub fn is_kept(&self, known: &KnownScene) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.holds(known.scene.dir()))
    }

    /// Whether a scene is picked, or a run was made of it.
    pub fn uses(&self, dir: &Path) -> bool {
        let picked = match &self.selection {
            Some(Selection::Scene(i)) => self.scenes.get(*i).is_some_and(|known| known.scene.dir() == dir),
            _ => false,
        };
        let sampled = |run: &Run| matches!(&run.request.place.data, PlaceData::Scene(own) if own == dir);
        picked || self.runs.all().iter().any(sampled)
    }

    /// Takes a scene off the map, unless it is picked.
    pub fn forget_scene(&mut self, dir: &Path) {
        let Some(at) = self.scenes.iter().position(|known| known.scene.dir() == dir) else { return };
        match &mut self.selection {
            Some(Selection::Scene(i)) if *i == at => return,
            Some(Selection::Scene(i)) if *i > at => *i -= 1,
            _ => {}
        }
        self.scenes.remove(at);
    }

    /// Puts a data set on the map, in place of an older look at the same.
    pub fn add_collection(&mut self, collection: Collection) {
        self.collections.retain(|other| other.root != collection.root);
        self.collections.push(collection);
    }

    /// The folder of a cell in the data sets on the map, if they have it; the one opened last comes first.
    pub fn collected(&self, cell: GridCell) -> Option<PathBuf> {
        self.collections.iter().rev().find_map(|collection| collection.folder(cell))
    }

    /// Adds a note unless it is already there.
    pub fn note(&mut self, text: impl Into<String>, problem: bool) {
        let note = Note { text: text.into(), problem };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Takes the values read at the picked place, and chooses what makes sense there; a window that was moved keeps the
    /// choices.
    pub fn observed(&mut self, observed: Observed) {
        let Some(table) = self.table().cloned() else { return };
        if !std::mem::take(&mut self.moved) || self.choices.now().roles.len() != table.len() {
            let mut usual = choices::usual(&table, &|i| observed.observation.values[i].is_some());
            // What cannot be encoded or decoded is not asked for.
            let absent = |i: usize| self.model.as_ref().is_some_and(|model| model.manifest.is_absent(i));
            usual.roles.iter_mut().enumerate().filter(|(i, _)| absent(*i)).for_each(|(_, role)| *role = Role::Ignored);
            self.choices.restart(usual);
        }
        for note in &observed.observation.notes {
            self.note(note.clone(), false);
        }
        self.observed = Some(observed);
    }

    /// Value typed for a modality, if any.
    fn set(&self, table: &ModalityTable, i: usize) -> Result<Option<SetValue>> {
        match self.choices.now().text(i) {
            "" => Ok(None),
            text => SetValue::parse(&table[i], text).map(Some),
        }
    }

    /// What was read of a modality at the picked place.
    pub fn known(&self, i: usize) -> Option<&Value> {
        Some(&self.observed.as_ref()?.observation.values.get(i)?.as_ref()?.value)
    }

    /// The same if enough of it is there to be given: what is mostly no data is only looked at.
    fn givable(&self, i: usize) -> Option<&Value> {
        let observation = &self.observed.as_ref()?.observation;
        let missing = observation.mostly_missing(self.table()?.get(i)?, i).is_some();
        self.known(i).filter(|_| !missing)
    }

    /// Whether a modality can be given here: enough of it was read, or a value can be set by hand.
    pub fn can_be_given(&self, i: usize) -> bool {
        self.givable(i).is_some() || self.table().is_some_and(|t| Choices::can_be_set(&t[i]))
    }

    /// The choices of a preset at the picked place.
    ///
    /// # Errors
    /// What is missing here, as a sentence.
    pub fn preset(&self, preset: Preset) -> Result<Choices, String> {
        match (self.table(), &self.observed) {
            (Some(table), Some(_)) => preset.choices(table, &|i| self.givable(i)),
            _ => Err("Pick a place first.".into()),
        }
    }

    /// The request that the choices make.
    ///
    /// # Errors
    /// Why nothing can be started: one sentence for the user.
    pub fn request(&self) -> Result<Request> {
        let model = self.model.as_ref().ok_or_else(|| Error::request("The model is still loading."))?;
        let table = &model.manifest.modalities;
        let (selection, observed) = match (&self.selection, &self.observed) {
            (Some(selection), Some(observed)) => (selection, observed),
            (Some(_), None) => return Err(Error::request("The place is still being read.")),
            (None, _) => return Err(Error::request("Pick a scene or a grid cell on the map first.")),
        };
        let roles = Roles(self.choices.now().roles.clone());
        roles.check(table)?;
        model.manifest.check_present(&[roles.with(Role::Given), roles.with(Role::Generated)].concat())?;
        let mut set = BTreeMap::new();
        for i in roles.with(Role::Given) {
            if let Some(value) = self.set(table, i)? {
                set.insert(i, value);
            } else if observed.observation.values[i].is_none() {
                let advice = if Choices::can_be_set(&table[i]) { "set it by hand, or choose" } else { "choose" };
                return Err(Error::request(format!(
                    "{} is given, but not known here: {advice} generate or ignore.",
                    table[i].name
                )));
            }
        }
        let request = Request {
            model: model.dir.clone(),
            place: self.place(selection)?,
            roles,
            set,
            samples: self.samples,
            first: 0,
            seed: self.seed,
            batch: batch(self.samples),
            computing: self.computing,
            options: self.options.clone(),
            post: self.post,
        };
        self.enough_memory(&request)?;
        Ok(request)
    }

    /// The place that a selection means, with the window that is chosen in it.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn place(&self, selection: &Selection) -> Result<Place> {
        Ok(match selection {
            Selection::Scene(i) => {
                let scene = self.scenes.get(*i).ok_or_else(|| Error::request("That scene is gone; pick another."))?;
                Place::scene(scene.scene.dir(), self.window)
            }
            Selection::Cell(cell) => Place::ground(cell.to_string(), cell.footprint()?),
        })
    }

    /// Estimated peak memory in bytes once a request is done, with all runs that are there or still to come.
    pub fn memory(&self, request: &Request) -> Option<u64> {
        let model = self.model.as_ref()?;
        let one = |request: &Request, ground: &Footprint| {
            model.manifest.realisation_bytes(&request.roles.with(Role::Generated), ground)
        };
        let runs = self.runs.all().iter().map(|run| {
            let owed = if run.active() { run.request.samples } else { 0 };
            owed.max(run.realisations.len()) as u64 * one(&run.request, &run.observed.ground.footprint)
        });
        let generated = request.roles.with(Role::Generated);
        let ground = &self.observed.as_ref()?.ground.footprint;
        let own = model.manifest.run_bytes(model.weight_bytes, &generated, ground, request.samples, request.batch);
        Some(own + runs.sum::<u64>())
    }

    /// Whether there is memory for a request.
    ///
    /// # Errors
    /// How much is missing, and what to do.
    fn enough_memory(&self, request: &Request) -> Result<()> {
        match (self.memory(request), self.memory_limit) {
            (Some(needed), Some(limit)) if needed > limit => Err(Error::request(format!(
                "This needs about {:.1} GB of memory, and {:.1} GB are free: ask for fewer realisations, or forget earlier runs.",
                needed as f64 / 1e9,
                limit as f64 / 1e9
            ))),
            _ => Ok(()),
        }
    }

    /// Classes of a modality as they would be given now: painted, one everywhere, or as they were read.
    pub fn class_map(&self, i: usize) -> Option<ClassMap> {
        let m = self.table()?.get(i)?;
        let classes = m.classes()?;
        match self.set(self.table()?, i) {
            Ok(Some(SetValue::Painted(map))) => return Some(map),
            Ok(Some(SetValue::Class(code))) => return Some(ClassMap::constant(self.size(m)?, code)),
            _ => {}
        }
        // Unknown pixels are those of their neighbours, as the network would get them.
        let read = self.known(i).and_then(Value::image).and_then(|raster| filled(m, raster).ok());
        let read = read.map(|raster| ClassMap::of(&raster));
        read.or_else(|| Some(ClassMap::constant(self.size(m)?, classes.first()?.code)))
    }

    /// Rows and columns of a modality's raster on the ground that is picked.
    fn size(&self, m: &Modality) -> Option<(usize, usize)> {
        self.observed.as_ref()?.ground.footprint.pixels(m.ground_m).ok()
    }

    /// Paints a stroke over the classes of a modality.
    pub fn paint(&mut self, stroke: Stroked) {
        let (i, Some(table)) = (stroke.brush.modality, self.table()) else { return };
        let (Some(m), Some(mut map)) = (table.get(i), self.class_map(i)) else { return };
        let (rows, columns) = map.size();
        let at = |spot: Spot| [spot.x * columns as f64, spot.y * rows as f64];
        map.paint([at(stroke.from), at(stroke.to)], stroke.brush.radius_m / m.ground_m, stroke.brush.code);
        self.choices.paint(i, map.to_string());
    }

    /// The run that is looked at.
    pub fn run(&self) -> Option<&Run> {
        self.runs.shown()
    }

    /// Takes roles, values set by hand, switches and seed of the run that is looked at.
    pub fn recall(&mut self) {
        if let (Some(table), Some(run)) = (self.table(), self.run()) {
            self.take(Settings::of(table, &run.request));
        }
    }

    /// Takes settings, roles and values as one change that can be undone; modalities that the model does not have are left
    /// out.
    pub fn take(&mut self, settings: Settings) {
        let Some(table) = self.table() else { return };
        let text = |i: usize, value: &SetValue| match value {
            SetValue::Class(code) => {
                let classes = table[i].classes().unwrap_or_default();
                classes.iter().find(|c| c.code == *code).map_or_else(|| code.to_string(), |c| c.name.clone())
            }
            SetValue::Painted(map) => map.to_string(),
            other => other.describe(&table[i]),
        };
        let now = self.choices.now();
        let mut choices = Choices { roles: now.roles.clone(), typed: BTreeMap::new() };
        for (i, role) in settings.roles.iter().filter_map(|(name, role)| Some((table.index(name)?, role))) {
            if let Some(slot) = choices.roles.get_mut(i) {
                *slot = *role;
            }
        }
        let set = settings.set.iter().filter_map(|(name, value)| Some((table.index(name)?, value)));
        choices.typed = set.map(|(i, value)| (i, text(i, value))).collect();
        self.choices.replace(choices);
        (self.options, self.post) = (settings.options, settings.post);
        (self.seed, self.random_seed) = (settings.seed, false);
    }

    /// The request that adds as many realisations again to the run that is looked at.
    ///
    /// # Errors
    /// Why there is nothing to add to.
    pub fn more(&self) -> Result<Request> {
        let Some(run) = self.run().filter(|run| self.can_add_to(run)) else {
            return Err(Error::request("There is no finished run to add to."));
        };
        let first = run.realisations.iter().map(|r| r.index + 1).max().unwrap_or(0);
        let request = Request { first, samples: self.samples, batch: batch(self.samples), ..run.request.clone() };
        self.enough_memory(&request)?;
        Ok(request)
    }

    /// Whether more realisations of a run can be asked for.
    pub fn can_add_to(&self, run: &Run) -> bool {
        !run.active() && run.lineage.is_some() && !run.other_model
    }

    /// Puts a run of these choices at the end of the queue.
    pub fn asked(&mut self, request: Request) {
        if let Some(observed) = self.observed.clone() {
            self.runs.add(Run::new(request, observed));
        }
    }

    /// Takes an event of the worker.
    pub fn event(&mut self, event: Event) {
        let (Some(model), Some(run)) = (self.model.clone(), self.runs.working_mut()) else { return };
        match event {
            Event::Stage(stage) => run.stage = stage,
            Event::Observed(observation) => {
                let lineage = Lineage::new(&model.manifest, &model.sha256, &run.request, &observation);
                run.lineage = Some(Arc::new(lineage));
                for note in observation.notes.clone() {
                    self.note(note, false);
                }
            }
            Event::Progress { done, total, eta } => run.progress = (done, total, eta),
            Event::Note(note) => self.note(note, false),
            // Previews are shown, not kept.
            Event::Preview { .. } => {}
            Event::Realisation(realisation) => {
                run.chosen.insert(realisation.index);
                run.realisations.push(realisation);
            }
            Event::Finished { cancelled } => {
                run.state = if cancelled { RunState::Cancelled } else { RunState::Finished };
                let (made, asked) = (run.realisations.len(), run.request.samples);
                if cancelled {
                    self.note(format!("Stopped: {made} of {asked} realisations were finished and are kept."), false);
                }
            }
            Event::Failed(problem) => {
                run.state = RunState::Failed;
                self.note(problem, true);
            }
        }
    }

    /// Whether the run that is looked at is of the picked place.
    pub fn run_is_here(&self) -> bool {
        let place = |observed: &Observed| (observed.observation.tile.clone(), observed.ground.footprint.clone());
        self.run().map(|run| place(&run.observed)) == self.observed.as_ref().map(place)
    }

    /// Whether a run is going on.
    pub fn busy(&self) -> bool {
        self.runs.working().is_some()
    }
}
