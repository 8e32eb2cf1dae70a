//! A comparison of solvers: what is asked for, and what is found.

use crate::model::Model;
use crate::sampler::{Method, Solver};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// What is compared, and how thoroughly.
pub struct SolverStudy<'a> {
    /// The model.
    pub model: &'a Model,
    /// Scene folders; their centres are asked about.
    pub places: &'a [PathBuf],
    /// Solvers, each on every grid.
    pub solvers: &'a [Solver],
    /// Numbers of evaluations of each.
    pub steps: &'a [usize],
    /// Evaluations of what is taken for the solution.
    pub reference: usize,
    /// Realisations per place and question, at least 2.
    pub samples: usize,
    /// Seed.
    pub seed: u64,
    /// Stops the comparison when set.
    pub cancel: &'a AtomicBool,
}

/// One way to an answer, and how far its answers lie from the solution.
#[derive(Debug, Clone, Serialize)]
pub struct Deviation {
    /// In words.
    pub what: String,
    /// How it was solved.
    #[serde(flatten)]
    pub method: Method,
    /// Mean over all questions and modalities of what [`ModalityDeviation::relative`] is for each.
    pub mean: f64,
    /// One by one.
    pub modalities: Vec<ModalityDeviation>,
}

/// How far from the solution the answers in one modality lie.
#[derive(Debug, Clone, Serialize)]
pub struct ModalityDeviation {
    /// The question.
    pub question: &'static str,
    /// The modality.
    pub modality: String,
    /// Root mean square of the difference of scaled latents, divided by their standard deviation over realisations.
    pub relative: f64,
    /// Difference of decoded values: root mean square of images, share of pixels of another class, mean of scalars.
    pub physical: f64,
    /// Unit of it.
    pub unit: String,
}
