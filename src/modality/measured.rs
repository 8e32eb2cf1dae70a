//! Values in the units people state them in.

use super::{Modality, Raster, ValueKind};

/// A pixel's physical value as people state it: reflectance, dB, metres, class code.
pub fn measured_value(m: &Modality, value: f32) -> f32 {
    match m.values {
        ValueKind::Reflectance { dn_per_unit, .. } => value / dn_per_unit,
        // Specification G.1.
        ValueKind::Decibel { .. } => (10.0 * value.max(1e-12).log10()).clamp(-50.0, 10.0),
        _ => value,
    }
}

/// All pixels as [`measured_value`].
pub fn measured(m: &Modality, raster: &Raster) -> Raster {
    raster.map(|v| measured_value(m, v))
}

/// The unit of [`measured`].
pub fn measured_unit(m: &Modality) -> &'static str {
    match m.values {
        ValueKind::Reflectance { .. } => "reflectance",
        ValueKind::Decibel { .. } => "dB",
        ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => "m",
        ValueKind::Classes { .. } => "share of pixels",
        ValueKind::Picture => "levels of 255, no unit",
        _ => "",
    }
}
