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
    /// Whether the offset of newer Sentinel-2 baselines is taken off.
    moves: bool,
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

    /// The same with what a catalogue says of the band where the band itself is silent; a sentence if both speak of it in another
    /// way. Of reflectance a catalogue's usual scale says nothing new, and its offset is evidence of another kind.
    pub(crate) fn or_said(
        &self,
        m: &Group,
        scale: Option<f64>,
        offset: Option<f64>,
        unit: Option<&str>,
    ) -> Result<Self, String> {
        let scale = scale.filter(|scale| *scale != 0.0).unwrap_or(1.0);
        let usual = m.about.is_optical() && (scale == 1.0 || (scale * f64::from(m.about.per_unit) - 1.0).abs() < 1e-6);
        let said = if usual { (1.0, 0.0) } else { (scale, offset.unwrap_or(0.0)) };
        let own = (self.scale, self.offset);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
        let linear = match (own == (1.0, 0.0), said == (1.0, 0.0)) {
            (_, true) => own,
            (true, _) => said,
            _ if near(own.0, said.0) && near(own.1, said.1) => own,
            _ => {
                return Err(format!(
                    "Its file says that its numbers are to be multiplied by {} and {} added, its catalogue by {} and {}; choose another image",
                    own.0, own.1, said.0, said.1
                ));
            }
        };
        let unit = match (self.unit.as_str(), unit.unwrap_or_default()) {
            ("", said) => said,
            (own, "") => own,
            (own, said) if same_unit(own, said) => own,
            (own, said) => {
                return Err(format!(
                    "Its file says that its unit is {own}, its catalogue that it is {said}; choose another image"
                ));
            }
        };
        Ok(Self { scale: linear.0, offset: linear.1, unit: unit.to_owned() })
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
            () if about.decibel => (1.0, DECIBELS.contains(&unit)),
            () => (1.0, false),
        };
        if about.is_optical() && factor == 1.0 && self.offset != 0.0 && self.offset.abs() < 1.0 {
            return Err(format!(
                "Its band says that its numbers are to be multiplied by {}, and that {} is added: a reflectance, beside digital numbers; correct its tags (gdal_edit.py -scale {} -offset {})",
                self.scale,
                self.offset,
                1.0 / about.per_unit,
                self.offset
            ));
        }
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
        let usual = about.offset.map_or(0.0, |usual| f64::from(usual.abs()) / 2.0);
        let moves = offset != 0.0 && offset.abs() >= usual;
        Ok(Conversion { scale, offset, decibels, moves, zero_is_nothing: about.is_optical() && offset != 0.0, note })
    }
}

impl Conversion {
    /// Numbers as they are stored.
    pub(crate) fn none() -> Self {
        Self { scale: 1.0, offset: 0.0, decibels: false, moves: false, zero_is_nothing: false, note: String::new() }
    }

    /// What was done, for people; `None` if nothing was.
    pub(crate) fn note(&self) -> Option<&str> {
        Some(self.note.as_str()).filter(|note| !note.is_empty())
    }

    /// Whether the offset of newer Sentinel-2 baselines was taken off: what is far smaller is another.
    pub(crate) fn moves(&self) -> bool {
        self.moves
    }

    /// Whether power was made of decibels.
    pub(crate) fn decibels(&self) -> bool {
        self.decibels
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

/// Names of the unit.
const DECIBELS: [&str; 3] = ["db", "decibel", "decibels"];

/// Whether two names are of one unit; what is no unit of length or decibels is told apart by its name alone.
fn same_unit(a: &str, b: &str) -> bool {
    let length = |unit: &str| metres(unit).ok();
    a == b || length(a).is_some() && length(a) == length(b) || DECIBELS.contains(&a) && DECIBELS.contains(&b)
}

/// From so many values on they are evidence.
const SEVERAL: usize = 64;
/// Less than this share of values is no evidence: shadows and water reach a little below 0.
const FEW: f64 = 0.05;

/// Whether values of which an offset was taken off tell that it had been gone before: many lie further below 0 than any correction
/// of the atmosphere leaves, or most a little. NaN tells nothing.
pub(crate) fn already_gone(values: impl Iterator<Item = f32>, offset: f32) -> bool {
    let (mut count, mut below, mut far) = (0usize, 0usize, 0usize);
    for v in values.filter(|v| !v.is_nan()) {
        count += 1;
        below += usize::from(v < -0.05 * offset);
        far += usize::from(v < -0.2 * offset);
    }
    offset > 0.0 && count >= SEVERAL && (far as f64 > FEW * count as f64 || below as f64 > 0.5 * count as f64)
}

/// Whether power made of decibels tells that the numbers were power before: nearly all are about 1, for power lies between 0 and
/// 1 and no ground sends back as much.
pub(crate) fn already_power(values: &[f32]) -> bool {
    let known = values.iter().filter(|v| !v.is_nan());
    let (count, about_one) = known.fold((0, 0), |(n, k), v| (n + 1, k + usize::from((0.99..1.26).contains(v))));
    count >= SEVERAL && about_one as f64 > (1.0 - FEW) * count as f64
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
    fn what_contradicts_itself_is_refused_and_a_small_offset_is_not_that_of_sentinel_2() {
        let catalogue = Catalogue::bundled();
        let m = catalogue.group("S2L2A_10m").expect("modality");
        let moves = |scale, offset| Numbers::new(scale, offset).conversion(m).map(|conversion| conversion.moves());
        assert!(moves(1.0, -0.1).expect_err("digital numbers and reflectance").contains("-offset -0.1"));
        assert_eq!([moves(1e-4, -0.1), moves(1.0, -1000.0), moves(1.0, -5.0)], [Ok(true), Ok(true), Ok(false)]);
        assert_eq!([moves(1e-4, -0.001), moves(1e-4, 0.0)], [Ok(false), Ok(false)]);
    }

    #[test]
    fn a_catalogue_speaks_where_a_file_is_silent_and_may_not_contradict_it() {
        let catalogue = Catalogue::bundled();
        let [heights, optical] = ["DEM", "S2L2A_10m"].map(|name| catalogue.group(name).expect("modality"));
        let file = |scale, offset, unit: &str| Numbers { scale, offset, unit: unit.into() };
        let silent = file(1.0, 0.0, "");
        assert_eq!(silent.or_said(heights, Some(0.1), None, Some("m")), Ok(file(0.1, 0.0, "m")));
        assert_eq!(silent.or_said(heights, None, None, None), Ok(silent.clone()));
        let speaks = file(0.1, 0.0, "metre");
        assert_eq!(speaks.or_said(heights, Some(0.1), Some(0.0), Some("m")), Ok(speaks.clone()));
        assert_eq!(speaks.or_said(heights, Some(1.0), Some(0.0), None), Ok(speaks.clone()));
        assert!(speaks.or_said(heights, Some(0.01), None, None).expect_err("scale").contains("0.01"));
        assert!(speaks.or_said(heights, None, None, Some("foot")).expect_err("unit").contains("foot"));
        assert_eq!(silent.or_said(optical, Some(1e-4), Some(-0.1), None), Ok(silent.clone()));
        assert_eq!(silent.or_said(optical, Some(0.01), None, None), Ok(file(0.01, 0.0, "")));
    }

    #[test]
    fn pixels_tell_what_was_done_before() {
        let ramp = |from: f32, to: f32| (0..100).map(move |i| from + (to - from) * i as f32 / 99.0);
        assert!(already_gone(ramp(-900.0, -100.0), 1000.0));
        assert!(already_gone(ramp(-600.0, 3000.0), 1000.0));
        // Dark water and some shadow.
        assert!(!already_gone(ramp(-40.0, 60.0), 1000.0) && !already_gone(ramp(-250.0, 4000.0), 1000.0));
        assert!(!already_gone(ramp(-900.0, -100.0), 0.0) && !already_gone([-900.0].into_iter(), 1000.0));
        let read = |from, to| already_power(&ramp(from, to).map(|db| 10f32.powf(db / 10.0)).collect::<Vec<_>>());
        assert!(read(0.004, 0.9) && !read(-25.0, 5.0) && !already_power(&[1.0]));
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
