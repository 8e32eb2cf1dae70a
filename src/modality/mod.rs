//! The modality table: what the model knows about, as data (specification A.1).
//!
//! The order of the table is the order inside the network. A model folder carries its own table, so that
//! other window sizes, fewer modalities, or COP-GEN-Beta (J.1) run without new code.

mod class_map;
mod fill;
mod index;
mod mask;
mod measured;
mod raster;
mod values;

pub use class_map::ClassMap;
pub use fill::{MOST_MISSING, filled};
pub use index::Index;
pub use mask::Mask;
pub use measured::{measured, measured_unit, measured_value};
pub use raster::Raster;
pub use values::{Location, PostOptions, Value, class_index, from_network, to_network};

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Families of rasters (products), in the order in which they lead.
pub const FAMILIES: [&str; 5] = ["S2L2A", "S2L1C", "S1RTC", "DEM", "LULC"];

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

/// How reflectance is spread over the network's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// In proportion, as published (B.4).
    #[default]
    Linear,
    /// By the square root: dark ground is told apart as well as bright clouds, and distributions come closer to normal.
    SquareRoot,
}

impl Curve {
    /// Whether it is the published one.
    pub fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

/// How physical values become network values in about −1…1 (B.4–B.9).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueKind {
    /// Sentinel-2 digital numbers.
    Reflectance {
        /// DN of reflectance 1.
        dn_per_unit: f32,
        /// How they are spread over the network's range.
        #[serde(default, skip_serializing_if = "Curve::is_linear")]
        curve: Curve,
    },
    /// Linear backscatter power, scaled in decibels.
    Decibel {
        /// dB at network value −1.
        min_db: f64,
        /// dB at network value +1.
        max_db: f64,
        /// Power that stands for everything that is not positive.
        min_positive: f64,
    },
    /// Metres above sea level, scaled in ln(1+x).
    LogElevation {
        /// ln(1+x) at network value −1.
        min_log: f64,
        /// ln(1+x) at network value +1.
        max_log: f64,
        /// Elevation that stands for everything that is not positive (I.12).
        min_positive: f64,
    },
    /// Metres above sea level, scaled by their square root (with the sign of the elevation). Not in the published
    /// model: a logarithm makes metres near the sea count a thousand times those of a mountain.
    RootElevation {
        /// Metres at network value +1.
        max_m: f32,
    },
    /// Raster codes, one-hot inside the network.
    Classes {
        /// In one-hot order.
        classes: Vec<Class>,
    },
    /// Degrees; on the unit sphere inside the network.
    Location,
    /// A calendar day; sine, cosine and year inside the network.
    Date,
    /// An 8-bit picture without units (COP-GEN-Beta).
    Picture,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modality {
    /// Key in the published weights and data, e.g. `S2L2A_B02_B03_B04_B08`. Not the channel order.
    pub key: String,
    /// Short name, e.g. `S2L2A_10m`; also the stem of its file in a scene folder.
    pub name: String,
    /// Sensor or product the band group belongs to, e.g. `S2L2A`.
    pub family: String,
    /// Channels of the raster in network order.
    pub channels: Vec<String>,
    /// Pixels per side of the window; 0 for scalars.
    pub pixels: usize,
    /// Ground size of a pixel in metres; 0 for scalars.
    pub ground_m: f64,
    /// Latent shape (channels, rows, columns); (1,1,3) for scalars.
    pub latent: [usize; 3],
    /// Side of a patch in the latent.
    pub patch: usize,
    /// Latents are multiplied by this after encoding and divided by it before decoding; 1 for scalars.
    pub scale_factor: f64,
    /// Normalisation.
    pub values: ValueKind,
}

impl Modality {
    /// Whether the value itself is the latent (location, date).
    pub fn is_scalar(&self) -> bool {
        matches!(self.values, ValueKind::Location | ValueKind::Date)
    }

    /// The classes, for a class raster.
    pub fn classes(&self) -> Option<&[Class]> {
        match &self.values {
            ValueKind::Classes { classes } => Some(classes),
            _ => None,
        }
    }

    /// Channels that enter the autoencoder: one per class, else one per band; 0 for scalars.
    pub fn network_channels(&self) -> usize {
        match &self.values {
            ValueKind::Location | ValueKind::Date => 0,
            ValueKind::Classes { classes } => classes.len(),
            _ => self.channels.len(),
        }
    }

    /// The code that stands for nothing in rasters of this family, whatever their files declare: "No data" of land cover,
    /// "unknown" of cloud masks.
    pub fn no_data(&self) -> Option<f32> {
        match self.family.as_str() {
            "LULC" => Some(0.0),
            "cloud_mask" => Some(255.0),
            _ => None,
        }
    }

    /// Patch tokens of this modality in the sequence.
    pub fn tokens(&self) -> usize {
        self.latent[1] / self.patch * (self.latent[2] / self.patch)
    }

    /// Side of the window on the ground in metres; 0 for scalars.
    pub fn window_m(&self) -> f64 {
        self.pixels as f64 * self.ground_m
    }

    /// Unit of the physical values, for legends and files.
    pub fn unit(&self) -> &'static str {
        match self.values {
            ValueKind::Reflectance { .. } => "DN (reflectance × 10000)",
            ValueKind::Decibel { .. } => "linear power",
            ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => "m",
            ValueKind::Classes { .. } => "class",
            ValueKind::Location => "degrees",
            ValueKind::Date => "date",
            ValueKind::Picture => "picture, no unit",
        }
    }
}

/// The modalities of one model, in network order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Modality>", into = "Vec<Modality>")]
pub struct ModalityTable(Vec<Modality>);

impl std::ops::Deref for ModalityTable {
    type Target = [Modality];
    fn deref(&self) -> &[Modality] {
        &self.0
    }
}

impl ModalityTable {
    /// A table, checked: unique keys and names, latents that patches divide, one window for all images.
    ///
    /// # Errors
    /// A sentence naming the first offending modality.
    pub fn new(modalities: Vec<Modality>) -> Result<Self> {
        let bad = |m: &Modality, what: &str| Err(Error::request(format!("Modality table: {} {what}.", m.key)));
        if modalities.is_empty() {
            return Err(Error::request("The modality table is empty."));
        }
        for (i, m) in modalities.iter().enumerate() {
            if modalities[..i].iter().any(|o| o.key == m.key || o.name == m.name) {
                return bad(m, "occurs twice");
            }
            if m.patch == 0 || m.latent.contains(&0) || m.latent[1] % m.patch != 0 || m.latent[2] % m.patch != 0 {
                return bad(m, "has a latent that its patch size does not divide");
            }
            if m.latent.iter().any(|&n| n > 4096) || m.pixels > 16_384 || m.channels.len() > 4096 {
                return bad(m, "is larger than anything this program can hold");
            }
            if !(m.scale_factor.is_finite() && m.scale_factor > 0.0) {
                return bad(m, "has a scale factor that is not a positive number");
            }
            if m.is_scalar() {
                if m.latent != [1, 1, 3] || m.patch != 1 {
                    return bad(m, "is a scalar and needs latent (1,1,3) and patch 1");
                }
            } else if m.pixels == 0 || m.channels.is_empty() || !(m.ground_m > 0.0 && m.ground_m.is_finite()) {
                return bad(m, "has no pixels, no channels, or no ground resolution");
            } else if m.pixels % m.latent[1] != 0 || m.latent[1] != m.latent[2] {
                return bad(m, "has a latent that does not divide its window");
            }
            if m.classes().is_some_and(<[Class]>::is_empty) {
                return bad(m, "has no classes");
            }
        }
        let table = Self(modalities);
        if let Some(m) = table.iter().find(|m| !m.is_scalar() && (m.window_m() - table.window_m()).abs() > 1e-6) {
            return bad(m, "covers another ground square than the first image modality");
        }
        Ok(table)
    }

    /// The table of the published model (A.1, A.4, B.7).
    pub fn published() -> Self {
        let text = include_str!("published.json");
        // The file is part of the program and covered by a test.
        serde_json::from_str(text).unwrap_or_else(|error| unreachable!("published.json: {error}"))
    }

    /// The same rows in ASCII order of their keys.
    pub fn sorted_by_key(&self) -> Self {
        let mut rows = self.0.clone();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        Self(rows)
    }

    /// Side of the window on the ground in metres, the same for all images; 0 if there are none.
    pub fn window_m(&self) -> f64 {
        self.iter().find(|m| !m.is_scalar()).map_or(0.0, Modality::window_m)
    }

    /// Tokens of the whole sequence: one time token per modality plus all patches.
    pub fn tokens(&self) -> usize {
        self.len() + self.iter().map(Modality::tokens).sum::<usize>()
    }

    /// Index of a modality by published key or short name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.iter().position(|m| m.key == name || m.name.eq_ignore_ascii_case(name))
    }

    /// All modalities meant by a name: a published key, a short name, a family (`S2L2A`), or one of the
    /// published synonyms (`lat_lon`, `timestamps`, `cloud_mask`). Network order.
    ///
    /// # Errors
    /// When nothing matches; the message lists what there is.
    pub fn select(&self, name: &str) -> Result<Vec<usize>> {
        let wanted = match name.trim() {
            "lat_lon" => "location",
            "timestamps" => "date",
            other => other,
        };
        if let Some(i) = self.index(wanted) {
            return Ok(vec![i]);
        }
        let found: Vec<usize> =
            self.iter().enumerate().filter(|(_, m)| m.family.eq_ignore_ascii_case(wanted)).map(|(i, _)| i).collect();
        if found.is_empty() {
            let known: Vec<&str> = self.iter().map(|m| m.name.as_str()).collect();
            return Err(Error::request(format!("There is no modality \"{name}\". Known: {}.", known.join(", "))));
        }
        Ok(found)
    }

    /// Indices of a comma-separated list of names.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn select_list(&self, names: &str) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for name in names.split(',').filter(|name| !name.trim().is_empty()) {
            found.extend(self.select(name)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

impl From<ModalityTable> for Vec<Modality> {
    fn from(table: ModalityTable) -> Self {
        table.0
    }
}

impl TryFrom<Vec<Modality>> for ModalityTable {
    type Error = Error;
    fn try_from(modalities: Vec<Modality>) -> Result<Self> {
        Self::new(modalities)
    }
}
