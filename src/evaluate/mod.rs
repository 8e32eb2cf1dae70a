//! How good a model is, on places it was never trained on, beside simple baselines (specification G).

mod baselines;
pub mod metrics;
mod place;
mod report;
mod sheet;
mod solver_table;
mod solvers;
mod stochastic;
mod tasks;
mod windows;

pub use baselines::{Regression, Training};
pub use report::{Report, Row};
pub use sheet::contact_sheet;
pub use solver_table::SolverTable;
pub use solvers::{Deviation, ModalityDeviation, SolverStudy, compare_solvers};
pub use windows::{HeldWindow, held_windows};

use crate::ensemble::Realisation;
use crate::error::{Error, Result};
use crate::job::{Event, Place, Request, SetValue, run};
use crate::modality::{PostOptions, Subject, Value};
use crate::model::Model;
use crate::sampler::{Roles, SamplerOptions};
use crate::train::Recipe;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The questions, by the names of the command line.
pub const TASKS: [(&str, &str); 11] = [
    ("reconstruct", "encoding and decoding alone"),
    ("rest", "Sentinel-2 L2A from everything else"),
    ("others", "Sentinel-2 L1C, radar and elevation, each from everything else"),
    ("bands", "Sentinel-2 L2A at 20 m and 60 m from its 10 m bands"),
    ("radar", "Sentinel-2 L2A from elevation, land cover and radar"),
    ("clear_radar", "the same under a sky said to be clear"),
    ("cover", "land cover from Sentinel-2 L2A"),
    ("where", "location and date from everything else"),
    ("certainty", "spread of Sentinel-2 L2A as more is given"),
    ("dates", "realisations beside repeated acquisitions of one place"),
    ("clear", "clear sky asked for where it was cloudy"),
];

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
    /// Network evaluations per realisation.
    pub steps: usize,
    /// Seed.
    pub seed: u64,
    /// Stops the evaluation when set.
    pub cancel: &'a AtomicBool,
}

/// Everything a task works with.
struct Bench<'a> {
    evaluation: &'a Evaluation<'a>,
    windows: Vec<HeldWindow>,
    training: Training,
}

/// Answers the questions of these names ([`TASKS`]), in that order; `tell` hears what is being worked on.
///
/// # Errors
/// When a name is unknown, the scenes hold none of the recipe's held-out places, or sampling fails.
pub fn evaluate(evaluation: &Evaluation, tasks: &[String], tell: &mut dyn FnMut(&str)) -> Result<Report> {
    if let Some(unknown) = tasks.iter().find(|t| !TASKS.iter().any(|(name, _)| name == t)) {
        let known: Vec<&str> = TASKS.iter().map(|(name, _)| *name).collect();
        return Err(Error::request(format!("There is no task \"{unknown}\". Known: {}.", known.join(", "))));
    }
    let table = &evaluation.model.manifest.modalities;
    tell("reading held-out and training windows");
    let bench = Bench {
        evaluation,
        windows: held_windows(evaluation.scenes, table, &evaluation.recipe.data, 2)?,
        training: Training::draw(evaluation.recipe, table, evaluation.scenes)?,
    };
    let mut report = Report::default();
    for (name, question) in TASKS {
        if !tasks.is_empty() && !tasks.iter().any(|t| t == name) {
            continue;
        }
        tell(question);
        let rows = match name {
            "reconstruct" => bench.reconstruct(),
            "rest" => bench.rest(),
            "others" => bench.others(),
            "bands" => bench.bands(),
            "radar" => bench.radar(),
            "clear_radar" => bench.clear_radar(),
            "cover" => bench.cover(),
            "where" => bench.place_and_date(),
            "certainty" => bench.certainty(),
            "dates" => bench.dates(),
            _ => bench.clear(),
        };
        let rows = match rows {
            // What is finished is kept.
            Err(Error::Cancelled) => break,
            rows => rows?,
        };
        report.add(name, question, rows);
    }
    Ok(report)
}

impl Bench<'_> {
    /// Indices of these modalities or families; none for what the model does not have.
    /// Modalities that tell of these subjects, in the order of the subjects.
    fn telling_of(&self, subjects: &[Subject]) -> Vec<usize> {
        let table = &self.evaluation.model.manifest.modalities;
        subjects.iter().flat_map(|subject| table.telling_of(*subject)).collect()
    }

    /// The one that tells most finely of a subject.
    fn finest(&self, subject: Subject) -> Option<usize> {
        self.evaluation.model.manifest.modalities.finest(subject)
    }

    /// Names of the families of modalities, each once.
    fn named(&self, modalities: &[usize]) -> String {
        let table = &self.evaluation.model.manifest.modalities;
        let mut names: Vec<&str> = modalities.iter().map(|&i| table[i].family.as_str()).collect();
        names.dedup();
        names.join(", ")
    }

    /// Realisations of one window.
    fn realisations(
        &self,
        window: &HeldWindow,
        given: &[usize],
        generated: &[usize],
        set: &[(usize, SetValue)],
    ) -> Result<Vec<Arc<Realisation>>> {
        let e = self.evaluation;
        let effort = Effort { samples: e.samples, steps: e.steps, seed: e.seed };
        realisations(e.model, window, given, generated, set, effort, e.cancel)
    }
}

/// How much is sampled.
#[derive(Debug, Clone, Copy)]
struct Effort {
    samples: usize,
    steps: usize,
    seed: u64,
}

/// Realisations of one window, through the same chain as everywhere.
fn realisations(
    model: &Model,
    window: &HeldWindow,
    given: &[usize],
    generated: &[usize],
    set: &[(usize, SetValue)],
    effort: Effort,
    cancel: &AtomicBool,
) -> Result<Vec<Arc<Realisation>>> {
    let given: Vec<usize> = given.iter().copied().chain(set.iter().map(|(i, _)| *i)).collect();
    let request = Request {
        model: model.dir.clone(),
        place: Place::scene(&window.dir, window.window),
        roles: Roles::new(&model.manifest.modalities, &given, Some(generated))?,
        set: set.iter().cloned().collect::<BTreeMap<_, _>>(),
        samples: effort.samples,
        first: 0,
        seed: effort.seed,
        batch: effort.samples,
        computing: Default::default(),
        options: SamplerOptions { steps: effort.steps, ..SamplerOptions::default() },
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
fn rasters(members: &[Arc<Realisation>], modality: usize) -> impl Iterator<Item = &crate::modality::Raster> {
    members.iter().filter_map(move |r| r.values[modality].as_ref().and_then(Value::image))
}
