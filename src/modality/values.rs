//! Physical values, and their way into a network and back (specification B.4–B.9).

use super::{Modality, Raster, filled};
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

/// Physical value → network value.
///
/// Images become `(channels, rows, columns)` with one-hot channels for class rasters; scalars become the
/// three numbers that *are* the latent. Row-major float32. Holes of a raster are [filled](super::filled) before.
///
/// # Errors
/// When the value is not of the modality's kind or has another number of channels, or most of it is missing.
pub fn to_network(modality: &Modality, value: &Value) -> Result<Vec<f32>> {
    let pixels = |raster: &Raster| -> Result<Option<Vec<f32>>> {
        if raster.channels != modality.channels.len() {
            return Ok(None);
        }
        Ok(modality.normalisation.pixels_in(&modality.about, &filled(modality, raster)?.data))
    };
    let values = match value {
        Value::Location(at) => modality.is_location().then(|| vector_of_location(*at).to_vec()),
        Value::Date(date) => modality.is_date().then(|| vector_of_date(*date).to_vec()),
        Value::Image(raster) => pixels(raster)?,
    };
    values.ok_or_else(|| Error::request(format!("The value given for {} is not of its kind.", modality.name)))
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
    if modality.is_location() {
        let vector = [data[0], data[1], data[2]];
        return Ok(Value::Location(location_from_vector(vector, options.normalise_location)));
    }
    match modality.normalisation.pixels_out(&modality.about, data, options.clip_reflectance) {
        Some(data) => Raster::new(modality.channels.len(), modality.pixels, modality.pixels, data).map(Value::Image),
        None => date_from_vector([data[0], data[1], data[2]]).map(Value::Date),
    }
}

/// B.8.
fn vector_of_location(at: Location) -> [f32; 3] {
    let (phi, lambda) = (at.lat.to_radians(), at.lon.to_radians());
    [phi.cos() * lambda.cos(), phi.cos() * lambda.sin(), phi.sin()].map(|v| v as f32)
}

/// B.9.
fn vector_of_date(date: Date) -> [f32; 3] {
    let theta = std::f64::consts::TAU * f64::from(date.day_of_year()) / f64::from(date.days_in_year());
    let year = 2.0 * (f64::from(date.year()) - 1950.0) / 100.0 - 1.0;
    [theta.sin(), theta.cos(), year].map(|v| v as f32)
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
