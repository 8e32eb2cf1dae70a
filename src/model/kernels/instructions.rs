//! Which instructions of the processor the kernels use.
//!
//! Products in 16-bit integers give the same bits whatever is chosen here. In float32 the order of sums follows from the width of the
//! registers, and on a matrix unit a number is three bfloat16; `COPGEN_INSTRUCTIONS` makes different processors agree.

use super::matrix_unit;
use crate::model::Precision;
use pulp::Arch;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use std::sync::OnceLock;

/// The variable of the environment that forbids what is better than it names.
pub const INSTRUCTIONS_VARIABLE: &str = "COPGEN_INSTRUCTIONS";

/// Sets of instructions, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Instructions {
    /// What every processor has.
    Plain,
    /// AVX2 with fused multiplication and addition; on other architectures what their registers offer.
    Avx2,
    /// AVX-512 (foundation, bytes and words).
    Avx512,
    /// AVX-512 with dot products of 16-bit integers (VNNI).
    Vnni,
    /// The matrix unit (AMX): bfloat16, float32 as three of them, 8-bit integers.
    Amx,
}

impl Instructions {
    /// Every set, the simplest first.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Avx2, Self::Avx512, Self::Vnni, Self::Amx];

    /// What is used here: the best that this processor has, but nothing better than `COPGEN_INSTRUCTIONS` names. A matrix
    /// unit is used only if the system grants it and it gives what its description says.
    pub fn here() -> Self {
        static HERE: OnceLock<Instructions> = OnceLock::new();
        *HERE.get_or_init(|| {
            let wanted = std::env::var(INSTRUCTIONS_VARIABLE).unwrap_or_default();
            let named = <Self as clap::ValueEnum>::from_str(&wanted, true);
            if !wanted.is_empty() && named.is_err() {
                let names = Self::ALL.map(Self::name).join(", ");
                tracing::warn!("{INSTRUCTIONS_VARIABLE} is none of {names}; the best instructions are used.");
            }
            let most = named.unwrap_or(Self::Amx);
            Self::ALL.into_iter().rfind(|set| *set <= most && set.is_here()).unwrap_or(Self::Plain)
        })
    }

    /// Whether products of this precision are bfloat16 on a matrix unit.
    pub(super) fn has_unit_for(precision: Precision) -> bool {
        precision == Precision::Bf16 && Self::here() == Self::Amx
    }

    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Vnni => "vnni",
            Self::Amx => "amx",
        }
    }

    /// Whether this processor has it.
    pub(super) fn is_here(self) -> bool {
        match self {
            Self::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => V4::try_new().is_some() && std::arch::is_x86_feature_detected!("avx512vnni"),
            // Whoever has a matrix unit has the others.
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Vnni.is_here() && matrix_unit::is_here(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 => !matches!(Arch::new(), Arch::Scalar),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Vnni | Self::Amx => false,
        }
    }

    /// The registers of it.
    pub(in crate::model) fn registers(self) -> Arch {
        match self {
            Self::Plain => Arch::Scalar,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => V3::try_new().map_or(Arch::Scalar, Arch::V3),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Vnni | Self::Amx => V4::try_new().map_or(Arch::Scalar, Arch::V4),
            #[cfg(not(target_arch = "x86_64"))]
            _ => Arch::new(),
        }
    }
}
