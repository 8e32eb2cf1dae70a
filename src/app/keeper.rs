//! Keeps the session on disk while it goes on, and brings it back.

use super::runs::{Run, RunState};
use super::session::{Ground, KnownScene, LoadedModel, Observed, Selection, Session};
use super::studio::{self, Reply};
use crate::error::{Error, Result};
use crate::export::Lineage;
use crate::job::observe;
use crate::modality::ModalityTable;
use crate::model::{MANIFEST_FILE, Manifest, sha256_of};
use crate::project::{self, KeptRun, Picked, Project};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Choices are written at most this often.
const PAUSE: Duration = Duration::from_millis(700);

/// The folder of the session, and what lies there.
pub struct Keeper {
    dir: PathBuf,
    last: Option<Project>,
    looked: Instant,
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
            Ok(()) => Ok(Self { dir, last: None, looked: Instant::now(), _lock: lock }),
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

    /// What has to be written now, if anything.
    pub fn due(&mut self, session: &Session) -> Option<(PathBuf, Project)> {
        if self.looked.elapsed() < PAUSE {
            return None;
        }
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
    Some(Project {
        version: Project::version(),
        model: model.dir.clone(),
        scenes: session.scenes.iter().map(|known| known.scene.dir().to_path_buf()).collect(),
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
        random_seed: session.random_seed,
        runs: runs.iter().map(|run| KeptRun { request: run.request.clone(), folder: run.folder.clone() }).collect(),
        shown: session.runs.shown_at(),
    })
}

/// A session from disk.
pub struct Restored {
    /// The folder it was read from.
    pub dir: PathBuf,
    /// Choices.
    pub project: Project,
    /// The model.
    pub model: LoadedModel,
    /// Scenes that could be opened.
    pub scenes: Vec<KnownScene>,
    /// Runs with what was finished of them, and which is looked at.
    pub runs: Vec<Run>,
    /// See there.
    pub shown: usize,
    /// What could not be brought back, as sentences.
    pub problems: Vec<String>,
}

/// Reads a project with everything it names.
pub fn restore(dir: PathBuf) -> Reply {
    let restore = || -> Result<Restored> {
        let project = Project::read(&dir)?;
        let manifest = Manifest::open(&project.model)?;
        let sha256 = sha256_of(&project.model.join(MANIFEST_FILE))?;
        let weight_bytes = manifest.weight_bytes(&project.model);
        let model = LoadedModel { dir: project.model.clone(), manifest, sha256, weight_bytes };
        let (mut scenes, mut problems) = (Vec::new(), Vec::new());
        for scene in &project.scenes {
            match studio::known_scene(scene) {
                Ok(known) => scenes.push(known),
                Err(error) => problems.push(error.to_string()),
            }
        }
        let (mut runs, mut shown) = (Vec::new(), 0);
        for (i, kept) in project.runs.iter().enumerate() {
            if let Some(run) = restored_run(&dir, kept, &model, &mut problems) {
                if i <= project.shown {
                    shown = runs.len();
                }
                runs.push(run);
            }
        }
        Ok(Restored { dir: dir.clone(), project, model, scenes, runs, shown, problems })
    };
    Reply::Restored(Box::new(restore()))
}

fn restored_run(dir: &Path, kept: &KeptRun, model: &LoadedModel, problems: &mut Vec<String>) -> Option<Run> {
    let table = &model.manifest.modalities;
    if kept.request.roles.check(table).is_err() {
        problems.push("A run was made with another model; its realisations are not shown.".into());
        return None;
    }
    let (realisations, damaged) = project::kept(dir, &kept.folder, table);
    problems.extend(damaged.iter().map(ToString::to_string));
    if realisations.is_empty() {
        return None;
    }
    // Without the scene there is nothing to compare with, and nothing to name as a source.
    let observation = match observe(table, &kept.request) {
        Ok(observation) => observation,
        Err(error) => {
            problems.push(format!("A run cannot be shown: {error}"));
            return None;
        }
    };
    let lineage = Lineage::new(&model.manifest, &model.sha256, &kept.request, &observation);
    let ground = Ground { corners: observation.footprint.corners().ok(), footprint: observation.footprint.clone() };
    let whole = realisations.len() >= kept.request.samples;
    Some(Run {
        folder: kept.folder.clone(),
        lineage: Some(Arc::new(lineage)),
        chosen: realisations.iter().map(|r| r.index).collect(),
        realisations: realisations.into_iter().map(Arc::new).collect(),
        state: if whole { RunState::Finished } else { RunState::Cancelled },
        ..Run::new(kept.request.clone(), Observed { ground, observation })
    })
}

impl Restored {
    /// Puts it in place of what the session holds; the picked place has still to be read.
    pub fn apply(self, session: &mut Session) {
        let Self { project, model, scenes, runs, shown, problems, .. } = self;
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
        session.choices.restart(choices);
        session.model = Some(Arc::new(model));
        for known in scenes {
            session.add_scene(known);
        }
        session.selection = project.picked.and_then(|picked| match picked {
            Picked::Scene(dir) => {
                session.scenes.iter().position(|known| known.scene.dir() == dir).map(Selection::Scene)
            }
            Picked::Cell(name) => name.parse().ok().map(Selection::Cell),
        });
        (session.window, session.moved, session.observed) = (project.window, true, None);
        session.samples = project.samples.max(1);
        (session.options, session.post) = (project.options, project.post);
        (session.seed, session.random_seed) = (project.seed, project.random_seed);
        session.runs.restore(runs, shown);
        for problem in problems {
            session.note(problem, true);
        }
    }
}
