//! Ways to look at a modality: band combinations, indices, single bands.

use crate::ensemble::Quantity;
use crate::modality::{Index, Modality, ValueKind};

/// How a modality's values become colours; numbers are channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Three bands as red, green and blue.
    Composite([usize; 3]),
    /// One band in grey.
    Band(usize),
    /// Normalised difference (a − b)/(a + b) in colour.
    Index(usize, usize, Index),
    /// VV, VH and their ratio, in dB.
    Radar(usize, usize),
    /// One polarisation in dB, in grey.
    Polarisation(usize),
    /// Elevation in colour, lit from the north-west.
    Relief,
    /// The light alone.
    Hillshade,
    /// The class's own colour.
    Classes,
    /// Three channels that are colours already.
    Picture([usize; 3]),
}

/// Named combinations: red, green, blue.
const COMPOSITES: [(&str, [&str; 3]); 4] = [
    ("true colour", ["B04", "B03", "B02"]),
    ("false colour, B08 B04 B03", ["B08", "B04", "B03"]),
    ("B11 B8A B05", ["B11", "B8A", "B05"]),
    ("short-wave infrared, B12 B8A B05", ["B12", "B8A", "B05"]),
];

/// All ways to look at a modality, by name; the first is the usual one. None for places and dates.
pub fn looks(m: &Modality) -> Vec<(String, Look)> {
    let find = |name: &str| m.channels.iter().position(|c| c.eq_ignore_ascii_case(name));
    let bands = |look: fn(usize) -> Look| m.channels.iter().enumerate().map(move |(i, c)| (c.clone(), look(i)));
    let mut all: Vec<(String, Look)> = Vec::new();
    match &m.values {
        ValueKind::Reflectance { .. } => {
            for (name, [r, g, b]) in COMPOSITES {
                if let (Some(r), Some(g), Some(b)) = (find(r), find(g), find(b)) {
                    all.push((name.into(), Look::Composite([r, g, b])));
                }
            }
            let indices = Index::all_of(m).into_iter();
            all.extend(indices.map(|(index, a, b)| (index.name().into(), Look::Index(a, b, index))));
            all.extend(bands(Look::Band));
        }
        ValueKind::Decibel { .. } => {
            if let (Some(vv), Some(vh)) = (find("vv"), find("vh")) {
                all.push(("VV, VH, VV/VH in dB".into(), Look::Radar(vv, vh)));
            }
            all.extend(
                m.channels
                    .iter()
                    .enumerate()
                    .map(|(i, c)| (format!("{} in dB", c.to_uppercase()), Look::Polarisation(i))),
            );
        }
        ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => {
            all.push(("elevation with hillshade".into(), Look::Relief));
            all.push(("hillshade".into(), Look::Hillshade));
        }
        ValueKind::Classes { .. } => all.push(("classes".into(), Look::Classes)),
        ValueKind::Picture => {
            let last = m.channels.len().saturating_sub(1);
            all.push(("picture without units".into(), Look::Picture([0, 1.min(last), 2.min(last)])));
        }
        ValueKind::Location | ValueKind::Date => {}
    }
    all
}

/// The usual way to look at a modality.
pub fn usual_look(m: &Modality) -> Look {
    looks(m).first().map_or(Look::Band(0), |(_, look)| *look)
}

/// The quantity that stands for a look where realisations are compared: its first channel, or its index.
pub fn quantity_of(look: Look) -> Quantity {
    match look {
        Look::Composite([c, ..])
        | Look::Picture([c, ..])
        | Look::Band(c)
        | Look::Polarisation(c)
        | Look::Radar(c, _) => Quantity::Channel(c),
        Look::Index(a, b, index) => Quantity::Index(index, a, b),
        Look::Relief | Look::Hillshade | Look::Classes => Quantity::Channel(0),
    }
}

/// What the colours of a modality's usual picture mean.
pub fn caption(m: &Modality) -> String {
    looks(m).into_iter().next().map(|(name, _)| name).unwrap_or_default()
}
