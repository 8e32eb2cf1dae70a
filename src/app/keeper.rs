//! Keeps the session on disk while it goes on, and brings it back.

use super::runs::{Run, RunState};
use super::session::{KnownScene, LoadedModel, Selection, Session, Unread};
use super::studio::{self, Known, Reply};
use crate::error::{Error, Result};
use crate::export::Lineage;
use crate::job::observe;
use crate::modality::ModalityTable;
use crate::project::{self, KeptRun, Picked, Project};
use crate::scene::Collection;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Choices are written at most this often.
const PAUSE: Duration = Duration::from_millis(700);

/// What could not be written is tried again after this.
const RETRY: Duration = Duration::from_secs(20);

/// The folder of the session, and what lies there.
pub struct Keeper {
    dir: PathBuf,
    last: Option<Project>,
    looked: Instant,
    /// When something could not be written that has to be tried again.
    failed: Option<Instant>,
    /// Held as long as the window is open: two windows would overwrite each other's session.
    _lock: File,
}

impl Keeper {
    /// Keeps in this folder.
    ///
    /// # Errors
    /// When it cannot be written, or another window keeps its session there.
    pub fn open(dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, "create", &e))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|e| Error::io(&path, "create", &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, last: None, looked: Instant::now(), failed: None, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::file(&dir, "Another window keeps its session here; this one is not kept for the next start"))
            }
            Err(TryLockError::Error(e)) => Err(Error::io(&path, "lock", &e)),
        }
    }

    /// Where it keeps.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it is too early to look again; when it is not.
    pub fn rest(&self) -> Option<Duration> {
        PAUSE.checked_sub(self.looked.elapsed()).filter(|rest| !rest.is_zero())
    }

    /// Remembers that something could not be written.
    pub fn failed(&mut self) {
        self.failed.get_or_insert_with(Instant::now);
        self.last = None;
    }

    /// Whether it is time to write again what could not be written.
    pub fn try_again(&mut self) -> bool {
        let due = self.failed.is_some_and(|at| at.elapsed() > RETRY);
        if due {
            self.failed = None;
        }
        due
    }

    /// What has to be written now, if anything has changed.
    pub fn due(&mut self, session: &Session) -> Option<(PathBuf, Project)> {
        self.looked = Instant::now();
        let now = project(session)?;
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now.clone());
        Some((self.dir.clone(), now))
    }
}

/// The session as a project; `None` before the model is known or while a place is being read.
pub fn project(session: &Session) -> Option<Project> {
    let (model, table) = (session.model.as_ref()?, session.table()?);
    session.observed.as_ref()?;
    let named = |i: usize| table[i].name.clone();
    let choices = session.choices.now();
    let typed = choices.typed.iter().filter(|(_, text)| !text.trim().is_empty());
    let runs = session.runs.all();
    let kept = |run: &Run| KeptRun {
        request: run.request.clone(),
        folder: run.folder.clone(),
        model_sha256: run.model_sha256.clone().unwrap_or_else(|| model.sha256.clone()),
    };
    let scenes = session.scenes.iter().map(|known| known.scene.dir().to_path_buf());
    let scenes = session.collections.iter().map(|collection| collection.root.clone()).chain(scenes);
    Some(Project {
        version: Project::version(),
        model: model.dir.clone(),
        scenes: scenes.chain(session.unread.scenes.iter().cloned()).collect(),
        picked: session.selection.as_ref().and_then(|selection| match selection {
            Selection::Scene(i) => Some(Picked::Scene(session.scenes.get(*i)?.scene.dir().to_path_buf())),
            Selection::Cell(cell) => Some(Picked::Cell(cell.to_string())),
        }),
        window: session.window,
        roles: choices.roles.iter().enumerate().map(|(i, role)| (named(i), *role)).collect(),
        typed: typed.map(|(i, text)| (named(*i), text.clone())).collect::<BTreeMap<_, _>>(),
        samples: session.samples,
        options: session.options.clone(),
        post: session.post,
        seed: session.seed,
        computing: session.computing,
        random_seed: session.random_seed,
        runs: runs.iter().map(kept).chain(session.unread.runs.iter().cloned()).collect(),
        shown: session.runs.shown_at(),
    })
}

/// A session from disk.
pub struct Restored {
    /// Choices.
    pub project: Project,
    /// The model.
    pub model: LoadedModel,
    /// Scenes that could be opened.
    pub scenes: Vec<KnownScene>,
    /// Data sets that could be opened.
    pub collections: Vec<Collection>,
    /// Runs with what was finished of them, and which is looked at.
    pub runs: Vec<Run>,
    /// See there.
    pub shown: usize,
    /// What could not be read, and stays named.
    pub unread: Unread,
    /// Why, as sentences.
    pub problems: Vec<String>,
}

/// Reads a project with everything it names; `place` is the number of the wish for it.
pub fn restore(dir: PathBuf, place: u64) -> Reply {
    let restored = restored(&dir);
    Reply::Restored(dir, Box::new(restored), place)
}

fn restored(dir: &Path) -> Result<Restored> {
    let project = Project::read(dir)?;
    let model = LoadedModel::open(project.model.clone())?;
    let (mut scenes, mut problems, mut unread) = (Vec::new(), Vec::new(), Unread::default());
    let mut collections = Vec::new();
    for scene in &project.scenes {
        match studio::known_place(scene) {
            Ok(Known::Scene(known)) => scenes.push(*known),
            Ok(Known::Collection(collection)) => collections.push(*collection),
            Err(error) => {
                problems.push(error.to_string());
                unread.scenes.push(scene.clone());
            }
        }
    }
    let (mut runs, mut shown) = (Vec::new(), 0);
    for (i, kept) in project.runs.iter().enumerate() {
        match restored_run(dir, kept, &model, &mut problems) {
            Ok(run) => {
                if i <= project.shown {
                    shown = runs.len();
                }
                runs.push(run);
            }
            Err(error) => {
                problems.push(format!("A run cannot be shown: {error}"));
                unread.runs.push(kept.clone());
            }
        }
    }
    Ok(Restored { project, model, scenes, collections, runs, shown, unread, problems })
}

fn restored_run(dir: &Path, kept: &KeptRun, model: &LoadedModel, problems: &mut Vec<String>) -> Result<Run> {
    let table = &model.manifest.modalities;
    let request = &kept.request;
    request.roles.check(table).map_err(|_| Error::request("it was made with a model of other modalities."))?;
    let (realisations, damaged) = project::kept(dir, &kept.folder, table);
    problems.extend(damaged.iter().map(ToString::to_string));
    // What was given makes the lineage; all that is known there is what realisations are compared with.
    let given = observe(table, request)?;
    let observed = studio::observed_at(&request.place, table)?;
    let other_model = kept.model_sha256 != model.sha256;
    if other_model {
        problems.push(format!(
            "The run of seed {} was made with another version of the model; nothing can be added to it.",
            request.seed
        ));
    }
    let lineage = Lineage::new(&model.manifest, &kept.model_sha256, request, &given);
    let whole = realisations.len() >= request.samples;
    Ok(Run {
        folder: kept.folder.clone(),
        lineage: Some(Arc::new(lineage)),
        chosen: realisations.iter().map(|r| r.index).collect(),
        realisations: realisations.into_iter().map(Arc::new).collect(),
        state: if whole { RunState::Finished } else { RunState::Cancelled },
        other_model,
        model_sha256: Some(kept.model_sha256.clone()),
        ..Run::new(request.clone(), observed)
    })
}

impl Restored {
    /// Puts it in place of what the session holds; the picked place has still to be read. If it is not to be picked,
    /// the place of the session stays with its choices, which need the same modalities.
    pub fn apply(self, session: &mut Session, pick: bool) {
        let Self { project, model, scenes, collections, runs, shown, unread, problems, .. } = self;
        let table: &ModalityTable = &model.manifest.modalities;
        let mut choices = super::choices::usual(table, &|_| false);
        for (name, role) in &project.roles {
            if let Some(i) = table.index(name) {
                choices.roles[i] = *role;
            }
        }
        for (name, text) in &project.typed {
            choices.typed.extend(table.index(name).map(|i| (i, text.clone())));
        }
        let anew = pick || session.table() != Some(table);
        if anew {
            session.choices.restart(choices);
            session.observed = None;
        }
        session.model = Some(Arc::new(model));
        for known in scenes {
            session.add_scene(known);
        }
        for collection in collections {
            session.add_collection(collection);
        }
        if pick {
            session.selection = project.picked.and_then(|picked| match picked {
                Picked::Scene(dir) => {
                    session.scenes.iter().position(|known| known.scene.dir() == dir).map(Selection::Scene)
                }
                Picked::Cell(name) => name.parse().ok().map(Selection::Cell),
            });
            (session.window, session.moved) = (project.window, true);
        } else if anew {
            (session.window, session.moved) = (crate::scene::Window::Centre, false);
        }
        session.samples = project.samples.max(1);
        (session.options, session.post) = (project.options, project.post);
        session.computing = project.computing;
        (session.seed, session.random_seed) = (project.seed, project.random_seed);
        session.runs.restore(runs, shown);
        session.unread.scenes.extend(unread.scenes);
        session.unread.runs.extend(unread.runs);
        for problem in problems {
            session.note(problem, true);
        }
    }
}
