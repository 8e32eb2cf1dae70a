//! Normalised differences of two bands.

use super::Modality;

/// A normalised difference (a − b)/(a + b).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Index {
    /// Vegetation: near infrared and red (Rouse et al. 1974).
    Ndvi,
    /// Open water: green and near infrared (McFeeters 1996).
    Ndwi,
    /// Moisture of vegetation: near and short-wave infrared (Gao 1996).
    Ndmi,
    /// Burnt ground: near and far short-wave infrared (Key and Benson 2006).
    Nbr,
}

impl Index {
    const ALL: [Self; 4] = [Self::Ndvi, Self::Ndwi, Self::Ndmi, Self::Nbr];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndvi => "NDVI",
            Self::Ndwi => "NDWI",
            Self::Ndmi => "NDMI",
            Self::Nbr => "NBR",
        }
    }

    /// Values at both ends of the colours: the same for every place.
    pub fn range(self) -> [f32; 2] {
        match self {
            Self::Ndvi => [-0.2, 0.9],
            Self::Ndwi | Self::Ndmi | Self::Nbr => [-0.7, 0.7],
        }
    }

    fn bands(self) -> [&'static str; 2] {
        match self {
            Self::Ndvi => ["B08", "B04"],
            Self::Ndwi => ["B03", "B08"],
            Self::Ndmi => ["B8A", "B11"],
            Self::Nbr => ["B8A", "B12"],
        }
    }

    /// The value of two digital numbers of the bands; 0 where both are 0.
    pub fn of(self, a: f32, b: f32) -> f32 {
        (a - b) / (a + b).max(1.0)
    }

    /// Those a modality holds both bands of, with the bands' channels.
    pub fn all_of(m: &Modality) -> Vec<(Self, usize, usize)> {
        let find = |name: &str| m.channels.iter().position(|c| c.eq_ignore_ascii_case(name));
        let with = |index: Self| {
            let [a, b] = index.bands();
            Some((index, find(a)?, find(b)?))
        };
        Self::ALL.into_iter().filter_map(with).collect()
    }
}
