//! Noise schedule, solver, roles and noise streams (specification E).

mod options;
mod roles;

pub use options::{ConditionLatent, IgnoredMode, SamplerOptions};
pub use roles::{Role, Roles};
