//! One family of the catalogue: a sensor or product, and all that is known about its rasters apart from any network.
//! `families.toml` says what each field means.

use super::Class;
use super::look::{IndexEntry, LookEntry};
use serde::{Deserialize, Serialize};

/// What a family tells of. Questions, augmentation and figures ask for this, never for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Reflectance of the ground in sunlight.
    SurfaceReflectance,
    /// The same with the atmosphere above it.
    TopOfAtmosphere,
    /// Any other reflectance in sunlight.
    Reflectance,
    /// Radar backscatter.
    Radar,
    /// Height of the ground.
    Elevation,
    /// What covers the ground.
    LandCover,
    /// How clear the sky is.
    Clouds,
    /// Where it is.
    Place,
    /// When it was.
    Date,
    /// Anything else.
    #[default]
    Other,
}

/// What one value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueForm {
    /// A number per channel and pixel.
    #[default]
    Number,
    /// A code of the legend per pixel.
    Class,
    /// One place for the whole window, degrees.
    Location,
    /// One calendar day for the whole window.
    Date,
    /// Colours from 0 to 255 without units.
    Picture,
}

/// One band of a sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Its name, which is that of the channel.
    pub name: String,
    /// Central wavelength in nanometres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nm: Option<f64>,
    /// Native resolution in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground_m: Option<f64>,
    /// Least and greatest stored number that can be true, if they are not those of the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<[f64; 2]>,
    /// Whether it sees no ground under a clear sky.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cirrus: bool,
}

/// Channels that lie on one grid, in one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupEntry {
    /// Its name, which is also that of its file in a scene folder.
    pub name: String,
    /// Channels in the order of networks.
    pub channels: Vec<String>,
    /// Side of a pixel in metres; 0 for places and dates.
    #[serde(default)]
    pub ground_m: f64,
    /// Other stems of its file's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// What stands where a source has nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// The stored number.
    pub value: f32,
    /// What it means, for provenance; empty if that needs no words.
    #[serde(default)]
    pub meaning: String,
}

/// Where a family lies in the Major TOM layout (specification B.10).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MajorTom {
    /// Folder of the product, e.g. `Core-S2L2A`.
    pub folder: String,
    /// Whether cells are filed by their column alone, below a folder of their row.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_column: bool,
    /// Names of products of this family; `*` stands for anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<String>,
}

/// One family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Its name, e.g. `S2L2A`.
    pub name: String,
    /// Name for people; empty if it is the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Other names that people and data sets use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synonyms: Vec<String>,
    /// What it tells of.
    #[serde(default)]
    pub subject: Subject,
    /// What one value is.
    #[serde(default)]
    pub form: ValueForm,
    /// The physical quantity, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub quantity: String,
    /// Unit that people state it in; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Unit of the stored numbers, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// Stored numbers of one unit.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub per_unit: f32,
    /// Whether stored numbers are linear power that is stated in decibels.
    #[serde(default, skip_serializing_if = "is_false")]
    pub decibel: bool,
    /// Whether it is stored as whole numbers from 1 to 65535.
    #[serde(default, skip_serializing_if = "is_false")]
    pub whole_numbers: bool,
    /// What newer processing baselines of Sentinel-2 add to the stored numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<f32>,
    /// The least and the greatest stored number that can be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<[f64; 2]>,
    /// Stored numbers that mean that nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_data: Vec<f64>,
    /// What stands where a source has nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
    /// Classes, in the one-hot order of networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legend: Vec<Class>,
    /// What is known of its bands; a channel needs none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Band>,
    /// Its rasters.
    pub groups: Vec<GroupEntry>,
    /// Ways to look at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<LookEntry>,
    /// Indices of two bands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indices: Vec<IndexEntry>,
    /// Ends of the grey of a single band in stated units, for all places alike; stretched to what is there if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<[f32; 2]>,
    /// The colours of a single band span no fewer stored numbers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub least_contrast: f32,
    /// Rank among those whose grid a scene has; none comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<u32>,
    /// The family it may be taken for, if the user says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in_for: Option<String>,
    /// Families whose products bring it along: the first that is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    /// Whether it has no date.
    #[serde(default, skip_serializing_if = "is_false")]
    pub timeless: bool,
    /// Where it lies in the Major TOM layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_tom: Option<MajorTom>,
    /// Whom to name; `{years}` stands for the years of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<String>,
}

fn one() -> f32 {
    1.0
}

fn is_one(value: &f32) -> bool {
    *value == 1.0
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Family {
    /// One of which nothing is known but its name and what its values are.
    pub fn unknown(name: &str, form: ValueForm) -> Self {
        Self {
            name: name.to_owned(),
            title: String::new(),
            synonyms: Vec::new(),
            subject: Subject::Other,
            form,
            quantity: String::new(),
            unit: String::new(),
            stored: None,
            per_unit: 1.0,
            decibel: false,
            whole_numbers: false,
            offset: None,
            valid: None,
            no_data: Vec::new(),
            fill: None,
            legend: Vec::new(),
            bands: Vec::new(),
            groups: Vec::new(),
            looks: Vec::new(),
            indices: Vec::new(),
            shown: None,
            least_contrast: 0.0,
            anchor: None,
            stands_in_for: None,
            within: Vec::new(),
            timeless: false,
            major_tom: None,
            credit: None,
        }
    }

    /// An 8-bit picture of it: colours, no measurements.
    #[must_use]
    pub fn as_picture(&self) -> Self {
        let own = self.clone();
        Self {
            title: own.title,
            synonyms: own.synonyms,
            subject: own.subject,
            quantity: "colours of a picture".into(),
            timeless: own.timeless,
            ..Self::unknown(&own.name, ValueForm::Picture)
        }
    }

    /// Name for people.
    pub fn title(&self) -> &str {
        if self.title.is_empty() { &self.name } else { &self.title }
    }

    /// Whether this name is meant for it.
    pub fn is_called(&self, name: &str) -> bool {
        std::iter::once(&self.name).chain(&self.synonyms).any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether it is read from rasters (and neither place nor date).
    pub fn is_raster(&self) -> bool {
        !matches!(self.form, ValueForm::Location | ValueForm::Date)
    }

    /// Whether it is a product of its own: neither brought along by others nor a stand-in for one.
    pub fn is_product(&self) -> bool {
        self.is_raster() && self.within.is_empty() && self.stands_in_for.is_none()
    }

    /// Whether it measures what an optical sensor sees: clouds hide it, the sun lights it.
    pub fn is_optical(&self) -> bool {
        let seen = [Subject::SurfaceReflectance, Subject::TopOfAtmosphere, Subject::Reflectance];
        self.form == ValueForm::Number && seen.contains(&self.subject)
    }

    /// Whether a stored number means that nothing is known. What is not finite always does.
    pub fn is_no_data(&self, value: f32) -> bool {
        !value.is_finite() || self.no_data.iter().any(|none| value == *none as f32)
    }

    /// Whether a stored number of radar means that there was no echo at all, which no ground gives: frames are filled up with
    /// exactly 0, also where numbers are decibels.
    pub fn is_no_echo(&self, stored: f32) -> bool {
        self.decibel && stored == 0.0
    }

    /// The no-data code for holes that no class of the legend stands for, if there is one.
    pub fn hole(&self) -> Option<f32> {
        let named = |value: f64| self.legend.iter().any(|class| f64::from(class.code) == value);
        self.no_data.iter().copied().find(|value| !named(*value)).map(|value| value as f32)
    }

    /// What is known of a band, by the name of its channel.
    pub fn band(&self, channel: &str) -> Option<&Band> {
        self.bands.iter().find(|band| band.name.eq_ignore_ascii_case(channel))
    }

    /// The least and the greatest stored number of a channel that can be true, if that is known.
    pub fn valid(&self, channel: &str) -> Option<[f64; 2]> {
        self.band(channel).and_then(|band| band.valid).or(self.valid)
    }

    /// Whether a product's name is one of this family's.
    pub fn made(&self, product: &str) -> bool {
        self.major_tom.iter().flat_map(|place| &place.products).any(|pattern| matches(pattern, product))
    }
}

/// Whether a text is of a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let (Some((first, rest)), Some(mut left)) = (parts.split_first(), text.strip_prefix(parts[0])) else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else { return text == *first };
    for part in middle {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("*MSIL2A*", "S2A_MSIL2A_2023", true),
            ("*MSIL2A*", "S2A_MSIL1C_2023", false),
            ("S1*GRD*", "S1A_IW_GRDH_1SDV", true),
            ("S1*GRD*", "X_S1A_IW_GRDH", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
