//! Physical values and how they become network values and back (specification B.4–B.9).
//!
//! Everything here is float32 (float64 inside one formula where that costs nothing), on every device:
//! half precision would turn elevation into terraces (E.5, I.8).

use super::{Class, Curve, Modality, Raster, ValueKind, filled};
use crate::error::{Error, Result};
use jiff::civil::Date;

/// A geographic position in degrees (WGS 84).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Location {
    /// Latitude, −90…90, north positive.
    pub lat: f64,
    /// Longitude, −180…180, east positive.
    pub lon: f64,
}

/// The physical value of one modality over one window.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Pixels.
    Image(Raster),
    /// Where it is.
    Location(Location),
    /// When it was.
    Date(Date),
}

impl Value {
    /// The pixels, if this is an image.
    pub fn image(&self) -> Option<&Raster> {
        match self {
            Self::Image(raster) => Some(raster),
            _ => None,
        }
    }
}

/// Switches of the way back from network values to physical ones.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PostOptions {
    /// Clip Sentinel-2 to 0…10000 DN (specification I.14; the published code does not).
    pub clip_reflectance: bool,
    /// Bring the location vector to length 1 before reading the latitude (I.15; the published code does not).
    pub normalise_location: bool,
}

impl Default for PostOptions {
    fn default() -> Self {
        Self { clip_reflectance: false, normalise_location: true }
    }
}

/// Index of a raster code in the one-hot order; codes outside the table count as index 0 (B.7, I.13).
pub fn class_index(classes: &[Class], code: f32) -> usize {
    classes.iter().position(|class| f32::from(class.code) == code).unwrap_or(0)
}

/// Physical value → network value.
///
/// Images become `(channels, rows, columns)` with one-hot channels for class rasters; scalars become the
/// three numbers that *are* the latent. Row-major float32. Holes of a raster are [filled](super::filled) before.
///
/// # Errors
/// When the value is not of the modality's kind or has another number of channels, or most of it is missing.
pub fn to_network(modality: &Modality, value: &Value) -> Result<Vec<f32>> {
    let mismatch = || Error::request(format!("The value given for {} is not of its kind.", modality.name));
    let whole;
    let value = match value {
        Value::Image(raster) if raster.valid().is_some() => {
            whole = Value::Image(filled(modality, raster)?.into_owned());
            &whole
        }
        value => value,
    };
    match (&modality.values, value) {
        (ValueKind::Location, Value::Location(at)) => {
            let (phi, lambda) = (at.lat.to_radians(), at.lon.to_radians());
            Ok([phi.cos() * lambda.cos(), phi.cos() * lambda.sin(), phi.sin()].map(|v| v as f32).to_vec())
        }
        (ValueKind::Date, Value::Date(date)) => {
            let theta = std::f64::consts::TAU * f64::from(date.day_of_year()) / f64::from(date.days_in_year());
            let year = 2.0 * (f64::from(date.year()) - 1950.0) / 100.0 - 1.0;
            Ok([theta.sin(), theta.cos(), year].map(|v| v as f32).to_vec())
        }
        (ValueKind::Classes { classes }, Value::Image(raster)) if raster.channels == 1 => {
            let n = raster.data.len();
            let mut out = vec![-1.0; classes.len() * n];
            for (i, &code) in raster.data.iter().enumerate() {
                out[class_index(classes, code) * n + i] = 1.0;
            }
            Ok(out)
        }
        (kind, Value::Image(raster)) if raster.channels == modality.channels.len() => {
            let f: Box<dyn Fn(f32) -> f32> = match *kind {
                ValueKind::Reflectance { dn_per_unit, curve } => match curve {
                    Curve::Linear => Box::new(move |x| x / dn_per_unit * 2.0 - 1.0),
                    Curve::SquareRoot => Box::new(move |x| (x / dn_per_unit).max(0.0).sqrt() * 2.0 - 1.0),
                },
                ValueKind::RootElevation { max_m } => {
                    Box::new(move |x| (x / max_m).abs().sqrt().copysign(x) * 2.0 - 1.0)
                }
                ValueKind::Picture => Box::new(|x| x / 255.0 * 2.0 - 1.0),
                ValueKind::Decibel { min_db, max_db, min_positive } => Box::new(move |x| {
                    let x = if x <= 0.0 { min_positive } else { f64::from(x) };
                    scale_in(10.0 * x.log10(), min_db, max_db)
                }),
                ValueKind::LogElevation { min_log, max_log, min_positive } => Box::new(move |x| {
                    let x = if x <= 0.0 { min_positive } else { f64::from(x) };
                    scale_in(x.ln_1p(), min_log, max_log)
                }),
                ValueKind::Classes { .. } | ValueKind::Location | ValueKind::Date => return Err(mismatch()),
            };
            Ok(raster.data.iter().map(|&x| f(x)).collect())
        }
        _ => Err(mismatch()),
    }
}

/// Network value → physical value; the inverse of [`to_network`] on everything that can occur in the data.
///
/// # Errors
/// When `data` has not the size the modality's table entry says.
pub fn from_network(modality: &Modality, data: &[f32], options: &PostOptions) -> Result<Value> {
    let expected =
        if modality.is_scalar() { 3 } else { modality.network_channels() * modality.pixels * modality.pixels };
    if data.len() != expected {
        return Err(Error::Compute(format!(
            "{} has {} network values, expected {expected}.",
            modality.name,
            data.len()
        )));
    }
    let image = |channels: usize, data: Vec<f32>| {
        Raster::new(channels, modality.pixels, modality.pixels, data).map(Value::Image)
    };
    Ok(match &modality.values {
        ValueKind::Location => {
            Value::Location(location_from_vector([data[0], data[1], data[2]], options.normalise_location))
        }
        ValueKind::Date => Value::Date(date_from_vector([data[0], data[1], data[2]])?),
        ValueKind::Classes { classes } => {
            let n = modality.pixels * modality.pixels;
            let codes = (0..n).map(|i| {
                let mut best = 0;
                for c in 1..classes.len() {
                    if data[c * n + i] > data[best * n + i] {
                        best = c;
                    }
                }
                f32::from(classes[best].code)
            });
            image(1, codes.collect())?
        }
        ValueKind::Reflectance { dn_per_unit, curve } => {
            let dn = data.iter().map(|&v| match curve {
                Curve::Linear => (v + 1.0) / 2.0 * dn_per_unit,
                Curve::SquareRoot => ((v + 1.0) / 2.0).max(0.0).powi(2) * dn_per_unit,
            });
            let clip = options.clip_reflectance;
            image(modality.channels.len(), dn.map(|v| if clip { v.clamp(0.0, *dn_per_unit) } else { v }).collect())?
        }
        ValueKind::RootElevation { max_m } => {
            let metres = data.iter().map(|&v| (v + 1.0) / 2.0).map(|root| (root * root).copysign(root) * max_m);
            image(modality.channels.len(), metres.collect())?
        }
        ValueKind::Picture => {
            image(modality.channels.len(), data.iter().map(|&v| ((v + 1.0) / 2.0 * 255.0).clamp(0.0, 255.0)).collect())?
        }
        &ValueKind::Decibel { min_db, max_db, min_positive } => image(
            modality.channels.len(),
            data.iter().map(|&v| 10f64.powf(scale_out(v, min_db, max_db) / 10.0).max(min_positive) as f32).collect(),
        )?,
        &ValueKind::LogElevation { min_log, max_log, min_positive } => image(
            modality.channels.len(),
            data.iter().map(|&v| scale_out(v, min_log, max_log).exp_m1().max(min_positive) as f32).collect(),
        )?,
    })
}

fn scale_in(value: f64, min: f64, max: f64) -> f32 {
    (2.0 * (value - min) / (max - min) - 1.0) as f32
}

fn scale_out(v: f32, min: f64, max: f64) -> f64 {
    ((f64::from(v) + 1.0) / 2.0).clamp(0.0, 1.0) * (max - min) + min
}

/// B.8, with the switch of I.15.
fn location_from_vector(vector: [f32; 3], normalise: bool) -> Location {
    let [x, y, z] = vector.map(f64::from);
    let length = (x * x + y * y + z * z).sqrt();
    let z = if normalise && length > 0.0 { z / length } else { z };
    Location { lat: z.clamp(-1.0, 1.0).asin().to_degrees(), lon: y.atan2(x).to_degrees() }
}

/// B.9. Years are kept within what a calendar can hold.
fn date_from_vector(vector: [f32; 3]) -> Result<Date> {
    let [sin, cos, y] = vector.map(f64::from);
    let unreadable = || Error::Compute("A generated date is not a number.".into());
    if !(sin.is_finite() && cos.is_finite() && y.is_finite()) {
        return Err(unreadable());
    }
    let year = ((y + 1.0) / 2.0 * 100.0 + 1950.0).round_ties_even().clamp(1.0, 9998.0) as i16;
    let first = Date::new(year, 1, 1).map_err(|_| unreadable())?;
    let days = f64::from(first.days_in_year());
    let theta = sin.atan2(cos).rem_euclid(std::f64::consts::TAU);
    let day = (theta * days / std::f64::consts::TAU).round_ties_even() as i64 % days as i64;
    let day = if day == 0 { days as i64 } else { day };
    first.checked_add(jiff::Span::new().days(day - 1)).map_err(|_| unreadable())
}
