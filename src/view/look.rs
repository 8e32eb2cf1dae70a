//! Ways to look at a modality: band combinations, indices, single bands.

use crate::ensemble::Quantity;
use crate::modality::{Group, SpectralIndex, Style, ValueForm};

/// How a modality's values become colours; numbers are channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Three bands as red, green and blue.
    Composite([usize; 3]),
    /// One band in grey.
    Band(usize),
    /// Normalised difference (a − b)/(a + b) in colour.
    Index(SpectralIndex),
    /// Two bands and their ratio, in dB.
    Radar(usize, usize),
    /// One band in dB, in grey.
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

/// All ways to look at a modality, by name; the first is the usual one. None for places and dates.
pub fn looks(m: &Group) -> Vec<(String, Look)> {
    match m.about.form {
        ValueForm::Class => vec![("classes".into(), Look::Classes)],
        ValueForm::Picture => {
            let last = m.channels.len().saturating_sub(1);
            vec![("picture without units".into(), Look::Picture([0, 1.min(last), 2.min(last)]))]
        }
        ValueForm::Location | ValueForm::Date => Vec::new(),
        ValueForm::Number => numbers(m),
    }
}

/// Those that the catalogue names and this raster has the bands of, its indices, and each of several bands by itself.
fn numbers(m: &Group) -> Vec<(String, Look)> {
    let find = |name: &String| m.channels.iter().position(|c| c.eq_ignore_ascii_case(name));
    let mut all: Vec<(String, Look)> = Vec::new();
    for entry in &m.about.looks {
        let Some(bands) = entry.bands.iter().map(find).collect::<Option<Vec<usize>>>() else { continue };
        let look = match (entry.style, bands.as_slice()) {
            (Style::Composite, &[r, g, b]) => Look::Composite([r, g, b]),
            (Style::Decibels, &[a, b]) => Look::Radar(a, b),
            (Style::Relief, _) => Look::Relief,
            (Style::Hillshade, _) => Look::Hillshade,
            (Style::Composite | Style::Decibels, _) => continue,
        };
        all.push((entry.name.clone(), look));
    }
    all.extend(SpectralIndex::all_of(m).into_iter().map(|(name, index)| (name.to_owned(), Look::Index(index))));
    if m.channels.len() > 1 || all.is_empty() {
        all.extend(m.channels.iter().enumerate().map(|(i, name)| match m.about.decibel {
            true => (format!("{} in dB", name.to_uppercase()), Look::Polarisation(i)),
            false => (name.clone(), Look::Band(i)),
        }));
    }
    all
}

/// The usual way to look at a modality.
pub fn usual_look(m: &Group) -> Look {
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
        Look::Index(index) => Quantity::Index(index),
        Look::Relief | Look::Hillshade | Look::Classes => Quantity::Channel(0),
    }
}

/// What the colours of a modality's usual picture mean.
pub fn caption(m: &Group) -> String {
    looks(m).into_iter().next().map(|(name, _)| name).unwrap_or_default()
}
