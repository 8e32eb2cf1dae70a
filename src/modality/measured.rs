//! Values in the units people state them in.

use super::{Group, Raster, ValueForm};

/// A pixel's physical value as people state it: reflectance, dB, metres, class code.
pub fn measured_value(m: &Group, value: f32) -> f32 {
    match m.about.form {
        // Specification G.1.
        ValueForm::Number if m.about.decibel => (10.0 * value.max(1e-12).log10()).clamp(-50.0, 10.0),
        ValueForm::Number => value / m.about.per_unit,
        _ => value,
    }
}

/// All pixels as [`measured_value`].
pub fn measured(m: &Group, raster: &Raster) -> Raster {
    raster.map(|v| measured_value(m, v))
}

/// The unit of [`measured`]; for classes that of how far two rasters are apart.
pub fn measured_unit(m: &Group) -> &str {
    match m.about.form {
        ValueForm::Number => &m.about.unit,
        ValueForm::Class => "share of pixels",
        ValueForm::Picture => "levels of 255, no unit",
        ValueForm::Location | ValueForm::Date => "",
    }
}
