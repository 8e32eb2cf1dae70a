//! Reads a project with everything it names.

use crate::app::state::model::LoadedModel;
use crate::app::state::project::Restored;
use crate::app::state::runs::{Run, RunState};
use crate::app::state::session::Unread;
use crate::app::work::read::{self, Known};
use crate::error::{Error, Result};
use crate::export::Lineage;
use crate::job::observe;
use crate::model::ModelIdentity;
use crate::project::{self, KeptRun, Project};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The model that a project is opened with.
#[derive(Debug, Clone)]
pub(crate) enum With {
    /// The one it names.
    Its,
    /// The one it names, or this one if that cannot be read.
    ItsOr(PathBuf),
    /// This one.
    Named(PathBuf),
}

/// Reads it; what of it cannot be read is told, and stays named. The session is opened with another model than its own at
/// times: runs that this one has nothing in common with become a project of their own.
///
/// # Errors
/// When the project or its model cannot be read, or the runs cannot be moved.
pub(crate) fn restored(dir: &Path, with: With) -> Result<Restored> {
    let mut project = Project::read(dir)?;
    let (mut scenes, mut problems, mut unread) = (Vec::new(), Vec::new(), Unread::default());
    let (model, earlier) = match (LoadedModel::open(project.model.clone()), with) {
        (Ok(its), With::Its | With::ItsOr(_)) => (its, None),
        (Err(error), With::Its) => return Err(error),
        (its, With::ItsOr(other) | With::Named(other)) => {
            let model = LoadedModel::open(other)?;
            problems.extend(its.as_ref().err().map(ToString::to_string));
            let same = its.is_ok_and(|its| its.manifest.modalities == model.manifest.modalities);
            let earlier = if same || project.runs.is_empty() { None } else { Some(move_runs(&mut project, dir)?) };
            (model, earlier)
        }
    };
    let mut collections = Vec::new();
    for scene in &project.scenes {
        match read::folder(scene) {
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
    Ok(Restored { project, model, scenes, collections, runs, shown, unread, problems, earlier })
}

fn restored_run(dir: &Path, kept: &KeptRun, model: &LoadedModel, problems: &mut Vec<String>) -> Result<Run> {
    let table = &model.manifest.modalities;
    let request = &kept.request;
    request.roles.check(table).map_err(|_| Error::request("it was made with a model of other modalities."))?;
    let (realisations, damaged) = project::kept(dir, &kept.id, table);
    problems.extend(damaged.iter().map(ToString::to_string));
    // What was given makes the lineage; all that is known there is what realisations are compared with.
    let given = observe(table, request)?;
    let observed = read::observed_at(&request.place, table)?;
    let made_by = made_by(kept, model);
    if !made_by.is(&model.identity()) {
        problems.push(format!(
            "The run of seed {} was made with another model, or another version of it ({}); nothing can be added to it.",
            request.seed, made_by.name
        ));
    }
    let lineage = Lineage::new(&made_by, table, request, &given);
    let whole = realisations.len() >= request.samples;
    Ok(Run {
        id: kept.id.clone(),
        lineage: Some(Arc::new(lineage)),
        chosen: realisations.iter().map(|r| r.index).collect(),
        realisations: realisations.into_iter().map(Arc::new).collect(),
        state: if whole { RunState::Finished } else { RunState::Cancelled },
        ..Run::new(request.clone(), made_by, observed)
    })
}

/// The model that made a run. Earlier versions kept only its hash: then it is looked for in the model in use and where it
/// was; if it is no longer there, its folder's name has to do.
fn made_by(kept: &KeptRun, model: &LoadedModel) -> ModelIdentity {
    let right = |identity: &ModelIdentity| identity.sha256 == kept.model_sha256;
    let there = || LoadedModel::open(kept.request.model.clone()).ok().map(|model| model.identity());
    let found = kept.made_by.clone().filter(right).or_else(|| Some(model.identity()).filter(right));
    found.or_else(|| there().filter(right)).unwrap_or_else(|| {
        let name = kept.request.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unknown = || "not known any more".to_owned();
        ModelIdentity { sha256: kept.model_sha256.clone(), name, licence: unknown(), attribution: unknown() }
    })
}

/// Makes the runs of the session a project of their own, in a new folder below the session's; that folder.
fn move_runs(project: &mut Project, dir: &Path) -> Result<PathBuf> {
    let model = project.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let now = jiff::Zoned::now().strftime("%Y-%m-%d_%H-%M-%S");
    let name = |number: u32| dir.join("earlier").join(format!("{now}_{model}{}", "+".repeat(number as usize)));
    let to = (0..).map(name).find(|to| !to.exists()).unwrap_or_else(|| name(0));
    project.move_runs(dir, &to)?;
    Ok(to)
}
