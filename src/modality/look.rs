//! Ways to look at a family and indices of its bands, as the catalogue describes them.

use super::Group;
use super::check::rises;
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Three bands as red, green and blue.
    Composite,
    /// Two bands and their ratio as red, green and blue, all in decibels.
    Decibels,
    /// Heights in colour, lit from the north-west.
    Relief,
    /// The light alone.
    Hillshade,
}

/// A way to look at a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookEntry {
    /// Name for people.
    pub name: String,
    /// How.
    pub style: Style,
    /// The bands that are looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<String>,
    /// Values at both ends of red, green and blue in stated units, for all places alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stretch: Option<[[f32; 2]; 3]>,
}

impl LookEntry {
    /// # Errors
    /// As the rest of a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let needed = match self.style {
            Style::Composite => 3,
            Style::Decibels => 2,
            Style::Relief | Style::Hillshade => 0,
        };
        if self.bands.len() != needed {
            return Err(format!("has a look \"{}\" that needs {needed} bands", self.name));
        }
        if self.stretch.iter().flatten().any(|[low, high]| !rises(low, high)) {
            return Err(format!("has a look \"{}\" whose stretch does not go from low to high", self.name));
        }
        Ok(())
    }
}

/// A normalised difference (a − b)/(a + b) of two bands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexEntry {
    /// Its usual name.
    pub name: String,
    /// The two bands.
    pub bands: [String; 2],
    /// Values at both ends of the colours: the same for every place.
    pub range: [f32; 2],
    /// What it shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// A normalised difference of two channels of a raster.
#[derive(Debug, Clone, Copy)]
pub struct SpectralIndex {
    /// The channels a and b.
    pub channels: [usize; 2],
    /// Values at both ends of the colours.
    pub range: [f32; 2],
    /// Sums are taken for no smaller than this, so that the index of two zeros is 0.
    floor: f32,
}

impl SpectralIndex {
    /// The value of two stored numbers; 0 where both are 0.
    pub fn of(self, a: f32, b: f32) -> f32 {
        (a - b) / (a + b).max(self.floor)
    }

    /// Those a raster holds both bands of, with their names.
    pub fn all_of(m: &Group) -> Vec<(&str, Self)> {
        let find = |name: &str| m.channels.iter().position(|c| c.eq_ignore_ascii_case(name));
        let with = |entry: &'_ IndexEntry| {
            let channels = [find(&entry.bands[0])?, find(&entry.bands[1])?];
            // A ten-thousandth of a unit: one digital number of a reflectance.
            Some(Self { channels, range: entry.range, floor: m.about.per_unit / 10_000.0 })
        };
        m.about.indices.iter().filter_map(|entry| Some((entry.name.as_str(), with(entry)?))).collect()
    }

    fn bits(self) -> ([usize; 2], [u32; 3]) {
        (self.channels, [self.range[0], self.range[1], self.floor].map(f32::to_bits))
    }
}

impl PartialEq for SpectralIndex {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for SpectralIndex {}

impl Hash for SpectralIndex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}
