//! What there is to read and to generate: the catalogue of families (`families.toml`), the modality table of a model, and
//! the way of physical values into a network and back.

mod catalogue;
mod check;
mod class_map;
mod earlier;
mod family;
mod fill;
mod group;
mod look;
mod mask;
mod measured;
mod normalisation;
mod raster;
mod rows;
mod table;
mod values;

#[cfg(test)]
mod tests;

pub use catalogue::{Catalogue, FAMILIES_FILE};
pub use class_map::ClassMap;
pub use family::{Band, Family, Fill, GroupEntry, MajorTom, Subject, ValueForm};
pub use fill::{MOST_MISSING, filled, filled_however};
pub use group::Group;
pub use look::{IndexEntry, LookEntry, SpectralIndex, Style};
pub use mask::Mask;
pub use measured::{measured, measured_unit, measured_value};
pub use normalisation::{Normalisation, class_index};
pub use raster::Raster;
pub use table::{Modality, ModalityTable};
pub use values::{Location, PostOptions, Value, from_network, to_network};

use serde::{Deserialize, Serialize};

/// One class of a class raster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Code in the raster.
    pub code: u8,
    /// Name for people.
    pub name: String,
    /// Colour, sRGB.
    pub color: [u8; 3],
}
