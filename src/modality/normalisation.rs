//! How stored values become network values in about −1…1 and back (specification B.4–B.9): the only place that knows.
//!
//! Everything here is float32 (float64 inside one formula where that costs nothing), on every device: half precision
//! would turn elevation into terraces (E.5, I.8).

use super::{Class, Family, ValueForm};
use serde::{Deserialize, Serialize};

/// A transform between stored and network values. It belongs to a network; units and legends are the catalogue's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalisation {
    /// In proportion, as published for reflectance (B.4).
    Linear {
        /// Stored value at network value −1.
        #[serde(default)]
        min: f32,
        /// Stored value at network value +1.
        max: f32,
    },
    /// By the square root: dark ground is told apart as well as bright clouds, and distributions come closer to normal.
    SquareRoot {
        /// Stored value at network value +1.
        max: f32,
    },
    /// By the square root with the value's sign. Not in the published model: a logarithm makes metres near the sea count
    /// a thousand times those of a mountain.
    SignedRoot {
        /// Stored value at network value +1.
        max: f32,
    },
    /// In decibels (B.5).
    Decibel {
        /// dB at network value −1.
        min_db: f64,
        /// dB at network value +1.
        max_db: f64,
        /// Stands for everything that is not positive.
        min_positive: f64,
    },
    /// In ln(1 + x) (B.6).
    #[serde(rename = "log1p")]
    Log1p {
        /// ln(1 + x) at network value −1.
        min_log: f64,
        /// ln(1 + x) at network value +1.
        max_log: f64,
        /// Stands for everything that is not positive (I.12).
        min_positive: f64,
    },
    /// One channel per class of the legend, 1 or −1 (B.7).
    OneHot,
    /// A place on the unit sphere (B.8).
    UnitSphere,
    /// Sine and cosine of the day in the year, and the year (B.9).
    SineCosineYear,
    /// Levels of 0 to 255 in proportion (J.1).
    EightBit,
}

impl Normalisation {
    /// The one that a form of values can only have, if there is one.
    pub fn of_form(form: ValueForm) -> Option<Self> {
        match form {
            ValueForm::Number => None,
            ValueForm::Class => Some(Self::OneHot),
            ValueForm::Location => Some(Self::UnitSphere),
            ValueForm::Date => Some(Self::SineCosineYear),
            ValueForm::Picture => Some(Self::EightBit),
        }
    }

    /// What values it transforms.
    pub fn form(&self) -> ValueForm {
        match self {
            Self::OneHot => ValueForm::Class,
            Self::UnitSphere => ValueForm::Location,
            Self::SineCosineYear => ValueForm::Date,
            Self::EightBit => ValueForm::Picture,
            Self::Linear { .. }
            | Self::SquareRoot { .. }
            | Self::SignedRoot { .. }
            | Self::Decibel { .. }
            | Self::Log1p { .. } => ValueForm::Number,
        }
    }

    /// Whether both ends of its range are numbers, the second one the greater.
    pub fn has_range(&self) -> bool {
        let [low, high] = match *self {
            Self::Linear { min, max } => [f64::from(min), f64::from(max)],
            Self::SquareRoot { max } | Self::SignedRoot { max } => [0.0, f64::from(max)],
            Self::Decibel { min_db, max_db, .. } => [min_db, max_db],
            Self::Log1p { min_log, max_log, .. } => [min_log, max_log],
            Self::OneHot | Self::UnitSphere | Self::SineCosineYear | Self::EightBit => [0.0, 1.0],
        };
        low.is_finite() && high.is_finite() && low < high
    }

    /// Stored pixels as network values, channel after channel; `None` for what is no raster.
    pub(super) fn pixels_in(&self, family: &Family, pixels: &[f32]) -> Option<Vec<f32>> {
        let each = |f: &dyn Fn(f32) -> f32| Some(pixels.iter().map(|&x| f(x)).collect());
        match *self {
            Self::Linear { min, max } => each(&|x| (x - min) / (max - min) * 2.0 - 1.0),
            Self::SquareRoot { max } => each(&|x| (x / max).max(0.0).sqrt() * 2.0 - 1.0),
            Self::SignedRoot { max } => each(&|x| (x / max).abs().sqrt().copysign(x) * 2.0 - 1.0),
            Self::EightBit => each(&|x| x / 255.0 * 2.0 - 1.0),
            Self::Decibel { min_db, max_db, min_positive } => each(&|x| {
                let x = if x <= 0.0 { min_positive } else { f64::from(x) };
                scale_in(10.0 * x.log10(), min_db, max_db)
            }),
            Self::Log1p { min_log, max_log, min_positive } => each(&|x| {
                let x = if x <= 0.0 { min_positive } else { f64::from(x) };
                scale_in(x.ln_1p(), min_log, max_log)
            }),
            Self::OneHot => {
                let n = pixels.len();
                let mut out = vec![-1.0; family.legend.len() * n];
                for (i, &code) in pixels.iter().enumerate() {
                    out[class_index(&family.legend, code) * n + i] = 1.0;
                }
                Some(out)
            }
            Self::UnitSphere | Self::SineCosineYear => None,
        }
    }

    /// Network values as stored pixels, channel after channel; `clip` keeps optical values between no light and all of it.
    /// `None` for what is no raster.
    pub(super) fn pixels_out(&self, family: &Family, data: &[f32], clip: bool) -> Option<Vec<f32>> {
        let clip = clip && family.is_optical();
        let each = |f: &dyn Fn(f32) -> f32| {
            let clipped = |v: f32| if clip { f(v).clamp(0.0, family.per_unit) } else { f(v) };
            Some(data.iter().map(|&v| clipped(v)).collect())
        };
        match *self {
            Self::Linear { min, max } => each(&|v| (v + 1.0) / 2.0 * (max - min) + min),
            Self::SquareRoot { max } => each(&|v| ((v + 1.0) / 2.0).max(0.0).powi(2) * max),
            Self::SignedRoot { max } => each(&|v| {
                let root = (v + 1.0) / 2.0;
                (root * root).copysign(root) * max
            }),
            Self::EightBit => each(&|v| ((v + 1.0) / 2.0 * 255.0).clamp(0.0, 255.0)),
            Self::Decibel { min_db, max_db, min_positive } => {
                each(&|v| 10f64.powf(scale_out(v, min_db, max_db) / 10.0).max(min_positive) as f32)
            }
            Self::Log1p { min_log, max_log, min_positive } => {
                each(&|v| scale_out(v, min_log, max_log).exp_m1().max(min_positive) as f32)
            }
            Self::OneHot => {
                let n = data.len() / family.legend.len().max(1);
                let code = |i: usize| {
                    let mut best = 0;
                    for c in 1..family.legend.len() {
                        if data[c * n + i] > data[best * n + i] {
                            best = c;
                        }
                    }
                    f32::from(family.legend[best].code)
                };
                Some((0..n).map(code).collect())
            }
            Self::UnitSphere | Self::SineCosineYear => None,
        }
    }
}

/// Index of a raster code in the one-hot order; codes outside the legend count as index 0 (B.7, I.13).
pub fn class_index(classes: &[Class], code: f32) -> usize {
    classes.iter().position(|class| f32::from(class.code) == code).unwrap_or(0)
}

fn scale_in(value: f64, min: f64, max: f64) -> f32 {
    (2.0 * (value - min) / (max - min) - 1.0) as f32
}

fn scale_out(v: f32, min: f64, max: f64) -> f64 {
    ((f64::from(v) + 1.0) / 2.0).clamp(0.0, 1.0) * (max - min) + min
}
