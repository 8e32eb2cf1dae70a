//! How good a model is, on places it was never trained on, beside simple baselines (specification G).

mod baselines;
mod classifier;
mod cloud_free;
mod correlations;
mod hidden;
pub mod metrics;
mod per_pixel;
mod place;
mod report;
mod sheet;
mod solver_study;
mod solver_table;
mod solvers;
mod stochastic;
mod task;
mod task_input;
mod told_apart;
mod windows;

pub use baselines::{Regression, Training};
pub use report::{Report, Row};
pub use sheet::contact_sheet;
pub use solver_study::{Deviation, ModalityDeviation, SolverStudy};
pub use solver_table::SolverTable;
pub use solvers::compare_solvers;
pub use task::Task;
pub use task_input::Evaluation;
pub use windows::{Choice, HeldWindow, held_windows};

use crate::error::{Error, Result};
use crate::modality::Subject;
use task_input::TaskInput;

/// Answers these questions, all if none are named, in the order of [`Task::ALL`]; `progress` hears what is being worked
/// on. What was answered before the evaluation is stopped is kept.
///
/// # Errors
/// When the scenes hold none of the recipe's held-out places, or sampling fails.
pub fn evaluate(evaluation: &Evaluation, tasks: &[Task], progress: &mut dyn FnMut(&str)) -> Result<Report> {
    progress("reading held-out and training windows");
    let input = TaskInput::read(evaluation)?;
    let mut report = Report::default();
    for task in Task::ALL.into_iter().filter(|task| tasks.is_empty() || tasks.contains(task)) {
        progress(task.question());
        let rows = match task {
            Task::Reconstruct => input.reconstruct(),
            Task::Rest => input.rest(),
            Task::Others => input.others(),
            Task::Bands => input.bands(),
            Task::Radar => input.radar(),
            Task::ClearRadar => input.clear_radar(),
            Task::RadarCover => input.seen_by_radar(&[Subject::Radar, Subject::LandCover]),
            Task::RadarAlone => input.seen_by_radar(&[Subject::Radar]),
            Task::Level => input.level(),
            Task::ToldApart => input.told_apart(),
            Task::Cover => input.cover(),
            Task::Where => input.place_and_date(),
            Task::Certainty => input.certainty(),
            Task::Dates => input.dates(),
            Task::Clear => input.clear(),
            Task::CloudFree => input.cloud_free(progress),
        };
        match rows {
            Err(Error::Cancelled) => break,
            rows => report.add(task.name(), task.question(), rows?),
        }
    }
    Ok(report)
}
