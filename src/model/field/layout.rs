//! Which channel stands where, and which frequencies belong together.

use crate::error::{Error, Result};
use crate::modality::ModalityTable;

/// Edges of the radial bins, in half-periods per window. The first holds the mean alone.
const EDGES: [f64; 11] = [0.0, 0.5, 1.5, 2.5, 4.5, 8.5, 16.0, 24.0, 32.0, 48.0, 64.0];

/// One modality in the stack of all channels.
#[derive(Debug, Clone)]
pub struct Part {
    /// First channel in the stack.
    pub first: usize,
    /// Channels: bands, classes, or the three numbers of a scalar.
    pub channels: usize,
    /// Pixels along a side; 1 for scalars, which are images of one pixel.
    pub side: usize,
}

impl Part {
    /// Values of the modality.
    pub fn size(&self) -> usize {
        self.channels * self.side * self.side
    }
}

/// Frequencies at which the same channels exist and that share their statistics.
#[derive(Debug, Clone)]
pub struct FrequencyGroup {
    /// Radial bin.
    pub bin: usize,
    /// Modalities that are fine enough to have these frequencies.
    pub modalities: Vec<usize>,
    /// `(row, column)` in half-periods per window.
    pub frequencies: Vec<(usize, usize)>,
}

/// The stack of all channels of a table, in its order.
#[derive(Debug, Clone)]
pub struct Layout {
    /// One per modality.
    pub parts: Vec<Part>,
    /// Channels in all.
    pub channels: usize,
    /// All frequencies of the finest modality.
    pub groups: Vec<FrequencyGroup>,
}

impl Layout {
    /// Lays a table out.
    ///
    /// # Errors
    /// When a latent is not the image itself.
    pub fn new(table: &ModalityTable) -> Result<Self> {
        let (mut parts, mut channels) = (Vec::new(), 0);
        for m in table.iter() {
            let (own, side) = if m.is_scalar() { (3, 1) } else { (m.network_channels(), m.pixels) };
            if !m.is_scalar() && m.latent != [own, side, side] || own * side * side > 1 << 26 {
                return Err(Error::request(format!(
                    "The latent of {} in a Gaussian field is the image itself: {own} × {side} × {side}.",
                    m.name
                )));
            }
            parts.push(Part { first: channels, channels: own, side });
            channels += own;
        }
        let largest = parts.iter().map(|p| p.side).max().unwrap_or(0);
        let mut groups: Vec<FrequencyGroup> = Vec::new();
        for row in 0..largest {
            for column in 0..largest {
                let fine = |i: &usize| parts[*i].side > row.max(column);
                let modalities: Vec<usize> = (0..parts.len()).filter(fine).collect();
                let bin = Self::bin((row as f64).hypot(column as f64));
                match groups.iter_mut().find(|g| g.bin == bin && g.modalities == modalities) {
                    Some(group) => group.frequencies.push((row, column)),
                    None => groups.push(FrequencyGroup { bin, modalities, frequencies: vec![(row, column)] }),
                }
            }
        }
        Ok(Self { parts, channels, groups })
    }

    /// Number of radial bins.
    pub fn bins() -> usize {
        EDGES.len()
    }

    /// The radial bin of a frequency, in half-periods per window.
    pub fn bin(radius: f64) -> usize {
        EDGES.iter().rposition(|edge| radius >= *edge).unwrap_or(0)
    }

    /// Deviation of a latent's coefficients in a bin, about as in a photograph: the broad shape of a window stands out
    /// of the noise first, and detail is made to fit it. With all alike (1 everywhere) all scales come at once.
    pub fn gain(bin: usize) -> f64 {
        (6.0 / Self::centre(bin)).sqrt().clamp(0.35, 2.0)
    }

    /// Where a bin's deviation is taken to hold; between these it is interpolated.
    pub fn centre(bin: usize) -> f64 {
        let outer = EDGES.get(bin + 1).map_or(EDGES[bin] * 1.4, |e| *e);
        (EDGES[bin].max(0.5) * outer).sqrt()
    }

    /// Stack indices of a modality's channels.
    pub fn stack(&self, modality: usize) -> std::ops::Range<usize> {
        let part = &self.parts[modality];
        part.first..part.first + part.channels
    }

    /// Stack indices of all channels of some modalities, in their order.
    pub fn stack_of(&self, modalities: &[usize]) -> Vec<usize> {
        modalities.iter().flat_map(|&i| self.stack(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_found_where_they_begin() {
        assert_eq!([0.0, 0.4, 0.5, 1.0, 1.5, 63.9, 64.0, 500.0].map(Layout::bin), [0, 0, 1, 1, 2, 9, 10, 10]);
        for bin in 1..Layout::bins() {
            assert_eq!(Layout::bin(Layout::centre(bin)), bin);
        }
    }
}
