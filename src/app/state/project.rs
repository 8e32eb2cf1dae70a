//! The session as a project on disk, and the way back.

use crate::app::state::choices::usual;
use crate::app::state::model::LoadedModel;
use crate::app::state::place::{KnownScene, Selection};
use crate::app::state::runs::Run;
use crate::app::state::session::{Session, Unread};
use crate::modality::ModalityTable;
use crate::project::{KeptRun, Picked, Project};
use crate::scene::Collection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The session as a project; `None` before the model is known or while a place is being read.
pub(crate) fn project(session: &Session) -> Option<Project> {
    let (model, table) = (session.model.as_ref()?, session.table()?);
    session.observed.as_ref()?;
    let named = |i: usize| table[i].name.clone();
    let choices = session.choices.now();
    let runs = session.runs.all();
    let kept = |run: &Run| KeptRun {
        request: run.request.clone(),
        id: run.id.clone(),
        model_sha256: run.model.sha256.clone(),
        made_by: Some(run.model.clone()),
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
        typed: choices.written().map(|(i, text)| (named(i), text)).collect::<BTreeMap<_, _>>(),
        keep: choices.keep.iter().map(|(i, keep)| (named(*i), keep.clone())).collect(),
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
pub(crate) struct Restored {
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
    /// The project that runs of another model were moved to, if they were.
    pub earlier: Option<PathBuf>,
}

impl Restored {
    /// Puts it in place of what the session holds; the picked place has still to be read. If it is not to be picked,
    /// the place of the session stays with its choices, which need the same modalities.
    pub(crate) fn apply(self, session: &mut Session, pick: bool) {
        let Self { project, model, scenes, collections, runs, shown, unread, problems, .. } = self;
        let table: &ModalityTable = &model.manifest.modalities;
        let mut choices = usual(table, &|_| false);
        for (name, role) in &project.roles {
            if let Some(i) = table.index(name) {
                choices.roles[i] = *role;
            }
        }
        for (name, text) in &project.typed {
            if let Some(i) = table.index(name) {
                choices.read_back(i, text);
            }
        }
        for (name, keep) in project.keep {
            if let Some(i) = table.index(&name).filter(|i| choices.roles[*i] == crate::sampler::Role::Generated) {
                choices.keep.insert(i, keep);
            }
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
