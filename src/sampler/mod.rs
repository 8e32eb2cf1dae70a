//! Noise schedule, solver, roles and noise streams (specification E).

mod conditioning;
mod noise;
mod options;
mod roles;
mod run;
mod solver;
mod solving;

pub use crate::model::{Schedule, TRAIN_STEPS};
pub use noise::{NoisePurpose, Stream, training_generator};
pub use options::{ConditionLatent, IgnoredMode, KeepQuality, Preset, SamplerOptions};
pub use roles::{Role, Roles};
pub use run::{BatchName, Evaluation, Partly, Start, sample, sample_partly, solved};
pub use solver::{MOST_STEPS, Method, Solver, TimeGrid, solve};
pub use solving::Solving;
