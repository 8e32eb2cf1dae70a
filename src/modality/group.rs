//! One readable raster: a band group of a family, on one grid and in one file.

use super::{Class, Family, ValueForm};
use std::sync::Arc;

/// A band group, with all that the catalogue says of its family.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Short name, e.g. `S2L2A_10m`; also the stem of its file in a scene folder.
    pub name: String,
    /// Name of the family: the sensor or product it belongs to, e.g. `S2L2A`.
    pub family: String,
    /// Channels in the order of networks.
    pub channels: Vec<String>,
    /// Ground size of a pixel in metres; 0 for places and dates.
    pub ground_m: f64,
    /// Other stems of its file's name.
    pub files: Vec<String>,
    /// What the catalogue says of its family.
    pub about: Arc<Family>,
}

impl Group {
    /// Whether it is one value for the whole window (location, date), not a raster.
    pub fn is_scalar(&self) -> bool {
        !self.about.is_raster()
    }

    /// Whether its pixels are measurements: numbers with a unit.
    pub fn is_measured(&self) -> bool {
        self.about.form == ValueForm::Number
    }

    /// Whether it is a place.
    pub fn is_location(&self) -> bool {
        self.about.form == ValueForm::Location
    }

    /// Whether it is a calendar day.
    pub fn is_date(&self) -> bool {
        self.about.form == ValueForm::Date
    }

    /// Whether it holds colours without units.
    pub fn is_picture(&self) -> bool {
        self.about.form == ValueForm::Picture
    }

    /// The classes in one-hot order, for a class raster.
    pub fn classes(&self) -> Option<&[Class]> {
        (self.about.form == ValueForm::Class).then_some(self.about.legend.as_slice())
    }

    /// Central wavelength of a channel in nanometres.
    pub fn wavelength_nm(&self, channel: &str) -> Option<f64> {
        self.about.band(channel)?.nm
    }

    /// Unit of the stored values, for legends and files.
    pub fn unit(&self) -> String {
        let about = &self.about;
        match about.form {
            ValueForm::Class => "class".into(),
            ValueForm::Picture => "picture, no unit".into(),
            ValueForm::Date => "date".into(),
            ValueForm::Number | ValueForm::Location => match &about.stored {
                Some(stored) if about.per_unit != 1.0 => format!("{stored} ({} × {})", about.unit, about.per_unit),
                Some(stored) => stored.clone(),
                None if about.per_unit != 1.0 => format!("{} × {}", about.unit, about.per_unit),
                None if about.unit.is_empty() => "no unit".into(),
                None => about.unit.clone(),
            },
        }
    }

    /// Unit of the numbers that a file holds, times the scale that it says: a band's own words for it. Empty for classes and
    /// pictures.
    pub fn band_unit(&self) -> &str {
        match self.about.form {
            ValueForm::Number if self.about.per_unit != 1.0 => &self.about.unit,
            ValueForm::Number => self.about.stored.as_deref().unwrap_or(&self.about.unit),
            _ => "",
        }
    }

    /// The same in short, for legends; empty where there is none.
    pub fn short_unit(&self) -> &str {
        match self.about.form {
            ValueForm::Picture => "levels of 255",
            ValueForm::Number => self.about.stored.as_deref().unwrap_or(&self.about.unit),
            ValueForm::Class | ValueForm::Location | ValueForm::Date => "",
        }
    }
}
