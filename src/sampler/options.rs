//! Switches of sampling; the defaults are those the specification recommends (sections E and I).

use super::solver::{Method, Solver, TimeGrid};
use serde::{Deserialize, Serialize};

/// How a condition's latent is taken from the encoder's posterior (specification I.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ConditionLatent {
    /// The posterior mean.
    Mean,
    /// One random draw shared by all realisations (what the published code does).
    SharedDraw,
    /// A draw for each realisation.
    DrawPerRealisation,
}

/// What the network sees of an ignored modality (specification I.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum IgnoredMode {
    /// It is generated with the rest and thrown away.
    GenerateAndDiscard,
    /// One noise tensor at time 1000 throughout: "unknown", as in training with absent modalities.
    NoiseAtEnd,
    /// Fresh noise at time 0 at each evaluation: the published code, kept for comparison.
    FreshNoiseAtZero,
}

/// How closely estimates are kept to what is partly given. Chosen from the table *Partly given* of `benches/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum KeepQuality {
    /// One probe: two evaluations a step.
    Quick,
    /// Up to three probes: up to four evaluations a step.
    #[default]
    Careful,
}

impl KeepQuality {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Careful => "careful",
        }
    }

    /// Evaluations beside the usual one of a step, at most.
    pub fn probes(self) -> usize {
        match self {
            Self::Quick => 1,
            Self::Careful => 3,
        }
    }
}

/// Options of one sampling run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplerOptions {
    /// Function evaluations (S in E.2); the published default is 50.
    pub steps: usize,
    /// How the sampling equation is solved. Settings from before there was a choice mean the published solver.
    #[serde(default)]
    pub solver: Solver,
    /// Where the solver evaluates; `None` is its own grid ([`Solver::grid`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<TimeGrid>,
    /// Latents of conditions.
    pub condition: ConditionLatent,
    /// Ignored modalities.
    pub ignored: IgnoredMode,
    /// One more evaluation at t = 0.001 whose data prediction is the result (I.7; off in the published code).
    pub final_denoise: bool,
    /// Partly given modalities; of no effect without any.
    #[serde(default)]
    pub keep: KeepQuality,
}

impl Default for SamplerOptions {
    /// Solver and steps as published.
    fn default() -> Self {
        Self {
            steps: 50,
            solver: Solver::Singlestep,
            grid: None,
            condition: ConditionLatent::Mean,
            ignored: IgnoredMode::GenerateAndDiscard,
            final_denoise: false,
            keep: KeepQuality::default(),
        }
    }
}

impl SamplerOptions {
    /// Solver, grid and steps.
    pub fn method(&self) -> Method {
        Method { solver: self.solver, grid: self.grid.unwrap_or(self.solver.grid()), steps: self.steps }
    }

    /// Network evaluations per realisation, the denoising one included.
    pub fn evaluations(&self) -> usize {
        self.steps + usize::from(self.final_denoise)
    }
}

/// How exactly to solve. Each was chosen from the table in `benches/solvers.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preset {
    /// The fewest evaluations that still show the right picture.
    Draft,
    /// Nearer to the exact solution than half-precision weights would be. The default everywhere.
    #[default]
    Standard,
    /// The published solver with its 50 evaluations.
    Published,
}

impl Preset {
    /// All of them, fastest first.
    pub const ALL: [Self; 3] = [Self::Draft, Self::Standard, Self::Published];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Standard => "Standard",
            Self::Published => "Published",
        }
    }

    /// Solver and number of evaluations.
    pub fn solver(self) -> (Solver, usize) {
        match self {
            Self::Draft => (Solver::Unipc3, 8),
            Self::Standard => (Solver::Unipc3, 20),
            Self::Published => (Solver::Singlestep, 50),
        }
    }

    /// How far its latents end from the solution, in percent of their spread over realisations: of the bundled model, as
    /// `benches/solvers.md` has it.
    pub fn deviation_percent(self) -> f64 {
        match self {
            Self::Draft => 1.7,
            Self::Standard => 0.052,
            Self::Published => 1.9,
        }
    }

    /// The same of the solution with weights in bfloat16.
    pub const BFLOAT16_PERCENT: f64 = 0.14;

    /// Options with this solver, everything else as usual.
    pub fn options(self) -> SamplerOptions {
        self.applied_to(&SamplerOptions::default())
    }

    /// These options with this solver.
    pub fn applied_to(self, options: &SamplerOptions) -> SamplerOptions {
        let (solver, steps) = self.solver();
        SamplerOptions { steps, solver, grid: None, ..options.clone() }
    }

    /// The preset that these options solve by, if there is one.
    pub fn of(options: &SamplerOptions) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.applied_to(options) == *options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_change_the_solver_alone_and_are_known_again() {
        let own = SamplerOptions { final_denoise: true, grid: Some(TimeGrid::Lambda), ..SamplerOptions::default() };
        assert_eq!(Preset::of(&own), None);
        for preset in Preset::ALL {
            let options = preset.applied_to(&own);
            assert_eq!((options.solver, options.steps), preset.solver());
            assert!(options.final_denoise && options.evaluations() == options.steps + 1);
            assert_eq!(Preset::of(&options), Some(preset));
            assert_eq!(Preset::of(&SamplerOptions { steps: 49, ..options }), None);
        }
        assert_eq!(Preset::Published.options(), SamplerOptions::default());
    }

    #[test]
    fn options_come_back_and_those_from_before_solvers_mean_the_published_one() {
        let before = r#"{"steps":20,"condition":"mean","ignored":"noise_at_end","final_denoise":true}"#;
        let options: SamplerOptions = serde_json::from_str(before).expect("old options");
        assert_eq!((options.solver, options.grid, options.steps), (Solver::Singlestep, None, 20));
        for solver in Solver::ALL {
            for grid in [None, Some(TimeGrid::Time), Some(TimeGrid::Lambda), Some(TimeGrid::Quadratic)] {
                let options = SamplerOptions { solver, grid, ..options.clone() };
                let text = serde_json::to_string(&options).expect("text");
                assert_eq!(serde_json::from_str::<SamplerOptions>(&text).expect("options"), options, "{text}");
            }
        }
    }
}
