//! How weights are held.

use serde::{Deserialize, Serialize};

/// How weights are held, and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Float32: the reference.
    #[default]
    F32,
    /// Half precision on a graphics adapter: half the memory, weights rounded to 11 bits, sums in float32.
    F16,
    /// Bfloat16 on a CPU: half the memory, both factors of a product rounded to 8 bits, sums in float32. Fast where the
    /// processor has a matrix unit (AMX).
    Bf16,
    /// 16-bit integers on a CPU: half the memory, both factors of a product rounded to 1/2896 of the largest value of up to
    /// 256 neighbours, sums exact.
    I16,
    /// 8-bit integers on a CPU with a matrix unit (AMX): a quarter of the memory, both factors of a product rounded to 1/127 of the
    /// largest value of the token or the output, sums exact; attention, norms, autoencoders and what everything passes through
    /// stay finer. On other processors the same as 16-bit integers.
    I8,
}

impl Precision {
    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I16 => "i16",
            Self::I8 => "i8",
        }
    }
}
