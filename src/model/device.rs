//! What a person asks to compute on.

use super::Precision;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a person asks to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// CUDA or Metal in builds that have them, else a true graphics adapter with room, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The best graphics adapter there is, be it software.
    Gpu,
    /// An NVIDIA card through CUDA; needs a build with that feature.
    Cuda,
    /// An Apple GPU through Metal; needs a build with that feature.
    Metal,
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        })
    }
}

/// What a person asks to compute on, and how weights are held there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Computing {
    /// On what.
    pub device: DeviceChoice,
    /// How weights are held.
    pub precision: Precision,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn names_are_the_same_on_the_command_line_in_files_and_for_people() {
        for choice in DeviceChoice::value_variants() {
            let typed = choice.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(typed.as_deref(), Some(choice.to_string().as_str()));
            assert_eq!(serde_json::to_string(choice).expect("written"), format!("\"{choice}\""));
        }
        // As projects of earlier versions have it.
        let read: Computing = serde_json::from_str(r#"{"device":"cpu","precision":"i16"}"#).expect("read");
        assert_eq!(read, Computing { device: DeviceChoice::Cpu, precision: Precision::I16 });
    }
}
