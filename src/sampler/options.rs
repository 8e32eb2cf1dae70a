//! Switches of sampling; the defaults are those the specification recommends (sections E and I).

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

/// Options of one sampling run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplerOptions {
    /// Function evaluations (S in E.2); the published default is 50.
    pub steps: usize,
    /// Latents of conditions.
    pub condition: ConditionLatent,
    /// Ignored modalities.
    pub ignored: IgnoredMode,
    /// One more evaluation at t = 0.001 whose data prediction is the result (I.7; off in the published code).
    pub final_denoise: bool,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            steps: 50,
            condition: ConditionLatent::Mean,
            ignored: IgnoredMode::GenerateAndDiscard,
            final_denoise: false,
        }
    }
}
