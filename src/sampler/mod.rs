//! Noise schedule, solver, roles and noise streams (specification E).

mod noise;
mod options;
mod roles;
mod run;
mod solver;

pub use crate::model::{Schedule, TRAIN_STEPS};
pub use noise::{NoisePurpose, Stream, training_generator};
pub use options::{ConditionLatent, IgnoredMode, Preset, SamplerOptions};
pub use roles::{Role, Roles};
pub use run::{BatchName, Evaluation, Start, sample, solved};
pub use solver::{MOST_STEPS, Method, Solver, TimeGrid, solve};
