//! How the sampling equation is solved, as arguments that several commands and the columns of plans share.

use super::{Preset, SamplerOptions, Solver, TimeGrid};

/// How the sampling equation is solved.
#[derive(Debug, Clone, clap::Args)]
pub struct Solving {
    /// How exactly to solve; chooses solver and number of evaluations.
    #[arg(long, value_enum, default_value = "standard")]
    preset: Preset,
    /// Another solver than the preset's.
    #[arg(long, value_enum)]
    solver: Option<Solver>,
    /// Another number of network evaluations per realisation than the preset's.
    #[arg(long)]
    steps: Option<usize>,
    /// What the times of evaluations are even in; the solver's own choice if left out.
    #[arg(long, value_enum)]
    grid: Option<TimeGrid>,
}

impl Solving {
    /// Options with this solver, everything else as usual.
    pub fn options(&self) -> SamplerOptions {
        let preset = self.preset.options();
        SamplerOptions {
            steps: self.steps.unwrap_or(preset.steps),
            solver: self.solver.unwrap_or(preset.solver),
            grid: self.grid,
            ..preset
        }
    }
}
