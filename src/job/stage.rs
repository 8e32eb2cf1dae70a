//! What a job is doing.

use std::fmt;

/// What a job is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It waits for others before it.
    Waiting,
    /// The model's weights are read.
    LoadingModel,
    /// What is given is read.
    ReadingScene,
    /// What is given becomes latents.
    Encoding,
    /// The solver runs, on the device of this name.
    Sampling {
        /// For people.
        device: String,
    },
    /// Latents become realisations.
    Decoding,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("Waiting"),
            Self::LoadingModel => f.write_str("Loading the model"),
            Self::ReadingScene => f.write_str("Reading the scene"),
            Self::Encoding => f.write_str("Encoding"),
            Self::Sampling { device } => write!(f, "Sampling on {device}"),
            Self::Decoding => f.write_str("Decoding"),
        }
    }
}
