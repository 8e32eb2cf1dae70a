//! What the window knows and what the user has chosen: no drawing here.

use crate::app::state::choices::{self, Choices, History};
use crate::app::state::model::LoadedModel;
use crate::app::state::notes::Note;
use crate::app::state::place::KnownScene;
use crate::app::state::place::Observed;
use crate::app::state::place::Reference;
use crate::app::state::place::Selection;
use crate::app::state::questions::Question;
use crate::app::state::runs::{Run, RunState, Runs};
use crate::app::state::tools::Brush;
use crate::basemap::Layers;
use crate::error::Result;
use crate::export::Lineage;
use crate::grid::GridCell;
use crate::job::{Event, PlaceData, Request, SetValue, Settings};
use crate::modality::{ClassMap, Modality, ModalityTable, PostOptions, Value, filled};
use crate::model::Computing;
use crate::project::KeptRun;
use crate::sampler::{Role, SamplerOptions};
use crate::scene::{Collection, Window};
use crate::source::{InUse, Kept};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a project names that could not be read: it is kept, so that it is there again when the disk is.
#[derive(Debug, Clone, Default)]
pub struct Unread {
    /// Scene folders.
    pub scenes: Vec<PathBuf>,
    /// Runs.
    pub runs: Vec<KeptRun>,
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
    /// Another scene that is compared with the run that is looked at.
    pub reference: Option<Reference>,
    /// What the session names and could not be read.
    pub unread: Unread,
    /// Whether the picked place is being read.
    pub reading: bool,
    /// Bytes this program may hold, with what it holds now; `None` where the system does not tell.
    pub memory_limit: Option<u64>,
    /// Whether the window was moved over the same scene.
    pub moved: bool,
    /// Where fetched places are kept for offline use.
    pub kept: Option<Kept>,
    /// Those of them that are in use, which nobody may remove.
    pub in_use: Vec<InUse>,
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

    /// Keeps places that are used from being removed to make room, by any program, and lets go of those that are not.
    pub fn hold_used(&mut self) {
        let Some(kept) = &self.kept else { return };
        let dirs = self.scenes.iter().map(|known| known.scene.dir());
        let used = dirs.filter(|dir| kept.holds(dir) && self.uses(dir));
        let used: Vec<PathBuf> = used.map(Path::to_path_buf).collect();
        self.in_use.retain(|place| used.iter().any(|dir| dir == place.dir()));
        for dir in used {
            if self.in_use.iter().all(|place| place.dir() != dir) {
                self.in_use.extend(kept.hold(&dir));
            }
        }
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

    /// Value set by hand for a modality, if any.
    pub(super) fn set(&self, table: &ModalityTable, i: usize) -> Result<Option<SetValue>> {
        let choices = self.choices.now();
        match (choices.painted.get(&i), choices.text(i)) {
            (Some(map), _) => Ok(Some(SetValue::Painted(ClassMap::clone(map)))),
            (None, "") => Ok(None),
            (None, text) => SetValue::parse(&table[i], text).map(Some),
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

    /// The choices that a question makes at the picked place.
    ///
    /// # Errors
    /// What is missing here, as a sentence.
    pub fn choices_for(&self, question: Question) -> Result<Choices, String> {
        match (self.table(), &self.observed) {
            (Some(table), Some(_)) => {
                question.choices(table, &|i| self.givable(i)).map(|choices| self.with_kept(question, choices))
            }
            _ => Err("Pick a place first.".into()),
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

    /// Paints over the classes of a modality, or over what is kept of it: `onto` gets the map, and the side of its pixels in
    /// metres.
    pub fn paint(&mut self, brush: Brush, onto: impl FnOnce(&mut ClassMap, f64)) {
        if brush.keeps {
            return self.paint_mask(brush.modality, onto);
        }
        let (i, Some(table)) = (brush.modality, self.table()) else { return };
        let (Some(m), Some(mut map)) = (table.get(i), self.class_map(i)) else { return };
        onto(&mut map, m.ground_m);
        self.choices.paint(i, map);
    }

    /// The run that is looked at.
    pub fn run(&self) -> Option<&Run> {
        self.runs.shown()
    }

    /// Realisations pinned to the front of the gallery.
    pub fn pinned(&self) -> BTreeSet<u64> {
        self.run().map(|run| run.pinned.clone()).unwrap_or_default()
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
            other => other.describe(&table[i]),
        };
        let now = self.choices.now();
        let mut choices = Choices { roles: now.roles.clone(), ..Choices::default() };
        for (i, role) in settings.roles.iter().filter_map(|(name, role)| Some((table.index(name)?, role))) {
            if let Some(slot) = choices.roles.get_mut(i) {
                *slot = *role;
            }
        }
        for (i, value) in settings.set.iter().filter_map(|(name, value)| Some((table.index(name)?, value))) {
            match value {
                SetValue::Painted(map) => _ = choices.painted.insert(i, Arc::new(map.clone())),
                value => _ = choices.typed.insert(i, text(i, value)),
            }
        }
        for (i, keep) in settings.keep.iter().filter_map(|(name, keep)| Some((table.index(name)?, keep))) {
            if choices.roles.get(i) == Some(&Role::Generated) {
                choices.keep.insert(i, keep.clone());
            }
        }
        self.choices.replace(choices);
        (self.options, self.post) = (settings.options, settings.post);
        (self.seed, self.random_seed) = (settings.seed, false);
    }

    /// Puts a run of these choices at the end of the queue.
    pub fn asked(&mut self, request: Request) {
        if let (Some(model), Some(observed)) = (&self.model, self.observed.clone()) {
            self.runs.add(Run::new(request, model.identity(), observed));
        }
    }

    /// Takes an event of the worker.
    pub fn event(&mut self, event: Event) {
        let (Some(model), Some(run)) = (self.model.clone(), self.runs.working_mut()) else { return };
        match event {
            Event::Stage(stage) => run.stage = stage,
            Event::Observed(observation) => {
                let lineage = Lineage::new(&run.model, &model.manifest.modalities, &run.request, &observation);
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
