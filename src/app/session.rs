//! What the window knows and what the user has chosen: no drawing here.

use super::choices::{self, Choices, History};
use super::presets::Preset;
use crate::ensemble::Realisation;
use crate::error::{Error, Result};
use crate::export::Lineage;
use crate::grid::{Footprint, GridCell};
use crate::job::{Event, Place, Request, SetValue};
use crate::modality::{Location, ModalityTable, PostOptions, Value};
use crate::model::Manifest;
use crate::project::run_folder;
use crate::sampler::{Role, Roles, SamplerOptions};
use crate::scene::{Observation, Scene, Window};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The model in use, as far as the window needs it; the worker loads the weights.
#[derive(Debug)]
pub struct LoadedModel {
    /// Its folder.
    pub dir: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// SHA-256 of the manifest.
    pub sha256: String,
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

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It waits or samples.
    Running,
    /// The user asked it to stop.
    Stopping,
    /// It made all realisations.
    Finished,
    /// It was stopped.
    Cancelled,
    /// It failed.
    Failed,
}

/// The latest run and what it delivered.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was asked for.
    pub request: Request,
    /// Folder of its realisations in the session's folder on disk.
    pub folder: String,
    /// The place as it was when the run began.
    pub observed: Observed,
    /// For exports; known once the worker has read the scene.
    pub lineage: Option<Arc<Lineage>>,
    /// Finished realisations.
    pub realisations: Vec<Arc<Realisation>>,
    /// Those ticked for export.
    pub chosen: BTreeSet<u64>,
    /// What it does now.
    pub stage: String,
    /// Evaluations done, in all, time left.
    pub progress: (usize, usize, Option<Duration>),
    /// State.
    pub state: RunState,
}

impl Run {
    /// Whether the worker still works on it.
    pub fn active(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Stopping)
    }
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
    /// Evaluations per realisation.
    pub steps: usize,
    /// Seed.
    pub seed: u64,
    /// The latest run.
    pub run: Option<Run>,
    /// Whether the window was moved over the same scene.
    pub moved: bool,
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
            self.choices.restart(choices::usual(&table, &|i| observed.observation.values[i].is_some()));
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

    /// Whether a modality can be given here: it was read, or a value can be set by hand.
    pub fn can_be_given(&self, i: usize) -> bool {
        self.known(i).is_some() || self.table().is_some_and(|t| Choices::can_be_set(&t[i]))
    }

    /// The choices of a preset at the picked place.
    ///
    /// # Errors
    /// What is missing here, as a sentence.
    pub fn preset(&self, preset: Preset) -> Result<Choices, String> {
        match (self.table(), &self.observed) {
            (Some(table), Some(_)) => preset.choices(table, &|i| self.known(i)),
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
        let place = match selection {
            Selection::Scene(i) => {
                let scene = self.scenes.get(*i).ok_or_else(|| Error::request("That scene is gone; pick another."))?;
                Place::Scene { dir: scene.scene.dir().to_path_buf(), window: self.window }
            }
            Selection::Cell(cell) => {
                Place::Ground { name: cell.to_string(), footprint: observed.ground.footprint.clone() }
            }
        };
        Ok(Request {
            model: model.dir.clone(),
            place,
            roles,
            set,
            samples: self.samples,
            first: 0,
            seed: self.seed,
            batch: batch(self.samples),
            options: SamplerOptions { steps: self.steps, ..SamplerOptions::default() },
            post: PostOptions::default(),
        })
    }

    /// Takes roles, values set by hand, steps and seed of the latest run, as one change that can be undone.
    pub fn recall(&mut self) {
        let (Some(table), Some(run)) = (self.table(), &self.run) else { return };
        let text = |i: usize, value: &SetValue| match value {
            SetValue::Class(code) => {
                let classes = table[i].classes().unwrap_or_default();
                classes.iter().find(|c| c.code == *code).map_or_else(|| code.to_string(), |c| c.name.clone())
            }
            other => other.describe(&table[i]),
        };
        let typed = run.request.set.iter().map(|(&i, value)| (i, text(i, value))).collect();
        let choices = Choices { roles: run.request.roles.0.clone(), typed };
        (self.steps, self.seed) = (run.request.options.steps, run.request.seed);
        self.choices.replace(choices);
    }

    /// The request that adds as many realisations again to the latest run.
    ///
    /// # Errors
    /// Why there is nothing to add to.
    pub fn more(&self) -> Result<Request> {
        let Some(run) = self.run.as_ref().filter(|run| !run.active() && run.lineage.is_some()) else {
            return Err(Error::request("There is no finished run to add to."));
        };
        let first = run.realisations.iter().map(|r| r.index + 1).max().unwrap_or(0);
        Ok(Request { first, samples: self.samples, batch: batch(self.samples), ..run.request.clone() })
    }

    /// Remembers that [`more`](Self::more) was handed to the worker.
    pub fn adding(&mut self, request: &Request) {
        if let Some(run) = &mut self.run {
            run.request.samples = run.realisations.len() + request.samples;
            (run.state, run.progress, run.stage) = (RunState::Running, (0, 0, None), "Waiting".into());
        }
    }

    /// Remembers a run that was handed to the worker.
    pub fn started(&mut self, request: Request) {
        let Some(observed) = self.observed.clone() else { return };
        self.run = Some(Run {
            request,
            folder: run_folder(),
            observed,
            lineage: None,
            realisations: Vec::new(),
            chosen: BTreeSet::new(),
            stage: "Waiting".into(),
            progress: (0, 0, None),
            state: RunState::Running,
        });
    }

    /// Takes an event of the worker.
    pub fn event(&mut self, event: Event) {
        let (Some(model), Some(run)) = (self.model.clone(), self.run.as_mut()) else { return };
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

    /// Whether the latest run is of the picked place.
    pub fn run_is_here(&self) -> bool {
        let place = |observed: &Observed| (observed.observation.tile.clone(), observed.ground.footprint.clone());
        self.run.as_ref().map(|run| place(&run.observed)) == self.observed.as_ref().map(place)
    }

    /// Whether a run is going on.
    pub fn busy(&self) -> bool {
        self.run.as_ref().is_some_and(Run::active)
    }
}
