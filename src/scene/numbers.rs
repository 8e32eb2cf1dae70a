//! What a band says of its numbers (scale, offset, unit), and the numbers that its modality expects.

use crate::modality::{Group, Subject};
use gdal::raster::RasterBand;

/// A scale this close to the usual one is the usual one.
const SAME: f64 = 1e-9;

/// What a band says of its numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbers {
    /// By how much stored numbers are multiplied.
    scale: f64,
    /// What is added then.
    offset: f64,
    /// Unit of the result; empty if the band does not say.
    unit: String,
}

/// How numbers become those that a modality expects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conversion {
    scale: f64,
    offset: f64,
    /// Whether these are decibels, of which power is to be made.
    decibels: bool,
    /// Whether a stored 0 is no measurement: with an offset it would become one that is none.
    zero_is_nothing: bool,
    /// What was done, for people; empty if nothing was.
    note: String,
}

impl Numbers {
    /// Of a band.
    pub(crate) fn of(band: &RasterBand) -> Self {
        let finite = |v: Option<f64>, usual: f64| v.filter(|v| v.is_finite()).unwrap_or(usual);
        let scale = finite(band.scale(), 1.0);
        Self {
            scale: if scale == 0.0 { 1.0 } else { scale },
            offset: finite(band.offset(), 0.0),
            unit: band.unit().trim().to_lowercase(),
        }
    }

    /// Of what is said elsewhere than in a band.
    pub(crate) fn new(scale: f64, offset: f64) -> Self {
        Self { scale: if scale == 0.0 { 1.0 } else { scale }, offset, unit: String::new() }
    }

    /// Scale, offset and unit, as the band says them.
    pub(crate) fn said(&self) -> (f64, f64, &str) {
        (self.scale, self.offset, &self.unit)
    }

    /// What makes the numbers of a modality of the stored ones; a sentence if it cannot be told.
    pub(crate) fn conversion(&self, m: &Group) -> Result<Conversion, String> {
        let about = &m.about;
        let plain = self.scale == 1.0 && self.offset == 0.0;
        let unit = self.unit.as_str();
        let (factor, decibels) = match () {
            () if m.classes().is_some() || m.is_picture() => return Ok(Conversion::none()),
            () if about.is_optical() => match unit {
                "%" | "percent" => (0.01 * f64::from(about.per_unit), false),
                // Without a scale the numbers, and what is added to them, are digital numbers.
                _ if self.scale == 1.0 => (1.0, false),
                _ => (f64::from(about.per_unit), false),
            },
            () if about.subject == Subject::Elevation => (metres(unit)?, false),
            () if about.decibel => (1.0, ["db", "decibel", "decibels"].contains(&unit)),
            () => (1.0, false),
        };
        let (scale, offset) = (self.scale * factor, self.offset * factor);
        if !decibels && (scale - 1.0).abs() < SAME && offset.abs() < SAME {
            return Ok(Conversion::none());
        }
        let mut note = String::from("its numbers were read as its tags say: ");
        note += &match plain {
            true => "stored".to_owned(),
            false if self.offset == 0.0 => format!("stored × {}", self.scale),
            false if self.offset < 0.0 => format!("stored × {} − {}", self.scale, -self.offset),
            false => format!("stored × {} + {}", self.scale, self.offset),
        };
        note += &if unit.is_empty() { String::new() } else { format!(", in {unit}") };
        Ok(Conversion { scale, offset, decibels, zero_is_nothing: about.is_optical() && offset != 0.0, note })
    }
}

impl Conversion {
    /// Numbers as they are stored.
    pub(crate) fn none() -> Self {
        Self { scale: 1.0, offset: 0.0, decibels: false, zero_is_nothing: false, note: String::new() }
    }

    /// What was done, for people; `None` if nothing was.
    pub(crate) fn note(&self) -> Option<&str> {
        Some(self.note.as_str()).filter(|note| !note.is_empty())
    }

    /// Whether an offset was taken off.
    pub(crate) fn moves(&self) -> bool {
        self.offset != 0.0
    }

    /// Converts stored numbers in place; those that are no data stay so.
    pub(crate) fn apply(&self, values: &mut [f32]) {
        if self.note.is_empty() {
            return;
        }
        values.iter_mut().for_each(|v| *v = self.value(*v));
    }

    /// The number that a stored one means.
    pub(crate) fn value(&self, stored: f32) -> f32 {
        if self.note.is_empty() {
            return stored;
        }
        let number = f64::from(stored) * self.scale + self.offset;
        match () {
            () if self.zero_is_nothing && stored == 0.0 => f32::NAN,
            () if self.decibels => 10f64.powf(number / 10.0) as f32,
            () => number as f32,
        }
    }
}

/// Metres of a unit of length.
fn metres(unit: &str) -> Result<f64, String> {
    Ok(match unit.replace(['_', '-'], " ").as_str() {
        "" | "m" | "metre" | "metres" | "meter" | "meters" | "metre height" => 1.0,
        "ft" | "foot" | "feet" | "international foot" => 0.3048,
        "us survey foot" | "us survey feet" | "us ft" | "ftus" | "foot us" => 1200.0 / 3937.0,
        "dm" | "decimetre" | "decimetres" | "decimeter" | "decimeters" => 0.1,
        "cm" | "centimetre" | "centimetres" | "centimeter" | "centimeters" => 0.01,
        "mm" | "millimetre" | "millimetres" | "millimeter" | "millimeters" => 0.001,
        "km" | "kilometre" | "kilometres" | "kilometer" | "kilometers" => 1000.0,
        _ => {
            return Err(format!(
                "Its elevation is in \"{unit}\", which is no known unit of length; convert it to metres first (gdal_calc.py), or correct the unit (gdal_edit.py -units m)"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Catalogue;

    fn read(modality: &str, (scale, offset, unit): (f64, f64, &str), stored: f32) -> Result<(f32, bool), String> {
        let catalogue = Catalogue::bundled();
        let m = catalogue.group(modality).expect("modality");
        let conversion = Numbers { scale, offset, unit: unit.into() }.conversion(m)?;
        let mut values = [stored];
        conversion.apply(&mut values);
        Ok((values[0], conversion.note().is_some()))
    }

    #[test]
    fn numbers_are_read_as_their_band_says_and_usual_ones_stay_as_they_are() {
        for (modality, says, stored, expected, noted) in [
            ("DEM", (1.0, 0.0, ""), 812.0, 812.0, false),
            ("DEM", (1.0, 0.0, "metre"), 812.0, 812.0, false),
            ("DEM", (0.1, 0.0, "m"), 8120.0, 812.0, true),
            ("DEM", (1.0, 0.0, "ft"), 1000.0, 304.8, true),
            ("DEM", (1.0, 0.0, "us survey foot"), 1000.0, 304.8006, true),
            ("DEM", (1.0, -100.0, ""), 300.0, 200.0, true),
            ("S2L2A_10m", (1e-4, 0.0, ""), 1234.0, 1234.0, false),
            ("S2L2A_10m", (1e-4, -0.1, ""), 2234.0, 1234.0, true),
            ("S2L2A_10m", (1.0, -1000.0, ""), 2234.0, 1234.0, true),
            ("S2L2A_10m", (0.01, 0.0, "%"), 1234.0, 1234.0, false),
            ("S1RTC", (1.0, 0.0, ""), 0.08, 0.08, false),
            ("S1RTC", (1.0, 0.0, "db"), -10.0, 0.1, true),
            ("S1RTC", (0.01, 0.0, "db"), -1000.0, 0.1, true),
            ("LULC", (0.1, 3.0, "ft"), 4.0, 4.0, false),
        ] {
            let (found, note) = read(modality, says, stored).expect("known");
            assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{modality} {says:?}: {found}");
            assert_eq!((note, noted || found == stored), (noted, true), "{modality} {says:?}");
        }
        assert!(read("DEM", (1.0, 0.0, "fathom"), 1.0).expect_err("unknown").contains("fathom"));
        // No data that nobody declared does not become a measurement.
        assert!(read("S2L2A_10m", (1e-4, -0.1, ""), 0.0).expect("known").0.is_nan());
    }
}
