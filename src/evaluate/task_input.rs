//! What every task works with: the windows that were held out, training windows for the baselines, and realisations.

use super::baselines::Training;
use super::windows::{Choice, HeldWindow, held_windows};
use crate::ensemble::Realisation;
use crate::error::Result;
use crate::job::{Event, Keep, Place, Request, SetValue, run};
use crate::modality::{PostOptions, Subject, Value};
use crate::model::Model;
use crate::sampler::{Roles, SamplerOptions};
use crate::train::Recipe;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What is evaluated, and how thoroughly.
pub struct Evaluation<'a> {
    /// The model.
    pub model: &'a Model,
    /// The recipe that says which scenes were held out.
    pub recipe: &'a Recipe,
    /// Folder of scene folders.
    pub scenes: &'a Path,
    /// Realisations per window.
    pub samples: usize,
    /// Solver, steps and switches of every realisation.
    pub options: SamplerOptions,
    /// Seed.
    pub seed: u64,
    /// Stops the evaluation when set.
    pub cancel: &'a AtomicBool,
}

impl Evaluation<'_> {
    /// So many realisations, in this evaluation's way.
    pub(super) fn sampling(&self, samples: usize) -> Sampling {
        let stand_ins = self.recipe.data.accept_grd_as_rtc;
        Sampling { samples, seed: self.seed, options: self.options.clone(), stand_ins }
    }
}

/// Everything a task works with.
pub(super) struct TaskInput<'a> {
    /// What is evaluated.
    pub evaluation: &'a Evaluation<'a>,
    /// Windows that were held out of training.
    pub windows: Vec<HeldWindow>,
    /// Training windows.
    pub training: Training,
}

impl<'a> TaskInput<'a> {
    /// Reads the windows.
    ///
    /// # Errors
    /// When the scenes hold none of the recipe's held-out places, or cannot be read.
    pub(super) fn read(evaluation: &'a Evaluation<'a>) -> Result<Self> {
        let table = &evaluation.model.manifest.modalities;
        Ok(Self {
            evaluation,
            windows: held_windows(evaluation.scenes, table, &evaluation.recipe.data, &Choice::of_tests(2))?,
            training: Training::draw(evaluation.recipe, table, evaluation.scenes)?,
        })
    }

    /// Modalities that tell of these subjects, in the order of the subjects.
    pub(super) fn telling_of(&self, subjects: &[Subject]) -> Vec<usize> {
        let table = &self.evaluation.model.manifest.modalities;
        subjects.iter().flat_map(|subject| table.telling_of(*subject)).collect()
    }

    /// The one that tells most finely of a subject.
    pub(super) fn finest(&self, subject: Subject) -> Option<usize> {
        self.evaluation.model.manifest.modalities.finest(subject)
    }

    /// Names of the families of modalities, each once.
    pub(super) fn named(&self, modalities: &[usize]) -> String {
        let table = &self.evaluation.model.manifest.modalities;
        let mut names: Vec<&str> = modalities.iter().map(|&i| table[i].family.as_str()).collect();
        names.dedup();
        names.join(", ")
    }

    /// Realisations of one window of which some is kept.
    pub(super) fn partly(
        &self,
        window: &HeldWindow,
        given: &[usize],
        set: &[(usize, SetValue)],
        keep: &BTreeMap<usize, Keep>,
    ) -> Result<Vec<Arc<Realisation>>> {
        let e = self.evaluation;
        let generated: Vec<usize> = keep.keys().copied().collect();
        let sampling = e.sampling(e.samples);
        realisations_keeping(e.model, window, given, &generated, set, keep, &sampling, e.cancel)
    }

    /// Realisations of one window.
    pub(super) fn realisations(
        &self,
        window: &HeldWindow,
        given: &[usize],
        generated: &[usize],
        set: &[(usize, SetValue)],
    ) -> Result<Vec<Arc<Realisation>>> {
        let e = self.evaluation;
        realisations(e.model, window, given, generated, set, &e.sampling(e.samples), e.cancel)
    }
}

/// What is sampled, and how.
pub(super) struct Sampling {
    /// Realisations.
    pub samples: usize,
    /// Seed.
    pub seed: u64,
    /// Solver, steps and switches.
    pub options: SamplerOptions,
    /// Whether sigma0 stands in for gamma0, as in training.
    pub stand_ins: bool,
}

/// Realisations of one window, through the same chain as everywhere.
///
/// # Errors
/// When a modality cannot be given or generated, sampling fails, or [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn realisations(
    model: &Model,
    window: &HeldWindow,
    given: &[usize],
    generated: &[usize],
    set: &[(usize, SetValue)],
    sampling: &Sampling,
    cancel: &AtomicBool,
) -> Result<Vec<Arc<Realisation>>> {
    realisations_keeping(model, window, given, generated, set, &BTreeMap::new(), sampling, cancel)
}

#[expect(clippy::too_many_arguments, reason = "what a request holds, each of its own kind")]
fn realisations_keeping(
    model: &Model,
    window: &HeldWindow,
    given: &[usize],
    generated: &[usize],
    set: &[(usize, SetValue)],
    keep: &BTreeMap<usize, Keep>,
    sampling: &Sampling,
    cancel: &AtomicBool,
) -> Result<Vec<Arc<Realisation>>> {
    let given: Vec<usize> = given.iter().copied().chain(set.iter().map(|(i, _)| *i)).collect();
    let request = Request {
        model: model.dir.clone(),
        place: Place { stand_ins: sampling.stand_ins, ..Place::scene(&window.dir, window.window) },
        roles: Roles::new(&model.manifest.modalities, &given, Some(generated))?,
        set: set.iter().cloned().collect::<BTreeMap<_, _>>(),
        keep: keep.clone(),
        samples: sampling.samples,
        first: 0,
        seed: sampling.seed,
        batch: sampling.samples,
        computing: Default::default(),
        options: sampling.options.clone(),
        post: PostOptions::default(),
    };
    let mut found = Vec::new();
    run(model, &request, cancel, false, &mut |event| {
        if let Event::Realisation(realisation) = event {
            found.push(realisation);
        }
    })?;
    Ok(found)
}

/// The rasters of one modality in all realisations.
pub(super) fn rasters(
    realisations: &[Arc<Realisation>],
    modality: usize,
) -> impl Iterator<Item = &crate::modality::Raster> {
    realisations.iter().filter_map(move |r| r.values[modality].as_ref().and_then(Value::image))
}
