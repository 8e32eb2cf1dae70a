//! Reads a project with everything it names.

use crate::app::state::model::LoadedModel;
use crate::app::state::project::Restored;
use crate::app::state::runs::{Run, RunState};
use crate::app::state::session::Unread;
use crate::app::work::read::{self, Known};
use crate::error::{Error, Result};
use crate::export::Lineage;
use crate::job::observe;
use crate::project::{self, KeptRun, Project};
use std::path::Path;
use std::sync::Arc;

/// Reads it; what of it cannot be read is told, and stays named.
///
/// # Errors
/// When the project or its model cannot be read.
pub fn restored(dir: &Path) -> Result<Restored> {
    let project = Project::read(dir)?;
    let model = LoadedModel::open(project.model.clone())?;
    let (mut scenes, mut problems, mut unread) = (Vec::new(), Vec::new(), Unread::default());
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
    let observed = read::observed_at(&request.place, table)?;
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
