//! Between images and the transformer's tokens: one token per place, a square of ground with all modalities on it.

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::modality::ModalityTable;

/// Coarse cosine coefficients kept per patch and direction. What is finer is left to the Gaussian field.
const KEPT: usize = 6;

/// Places of a window.
#[derive(Debug, Clone)]
pub struct Places {
    /// Places along a side.
    pub per_side: usize,
    /// Features of one place: for every image modality `(channel, row frequency, column frequency)`.
    pub features: usize,
    /// By modality; none for scalars.
    pub parts: Vec<Option<PlacePart>>,
}

/// What a modality contributes to a place.
#[derive(Debug, Clone)]
pub struct PlacePart {
    /// First feature.
    pub first: usize,
    /// Channels.
    pub channels: usize,
    /// Coefficients kept per direction.
    pub kept: usize,
    /// Pixels along a side of a patch.
    patch: usize,
    /// Orthonormal cosines `(kept, patch)`.
    basis: Vec<f32>,
}

impl PlacePart {
    /// Features of this modality at one place.
    pub fn size(&self) -> usize {
        self.channels * self.kept * self.kept
    }
}

impl Places {
    /// Places of a table's patches.
    ///
    /// # Errors
    /// When patches of different modalities do not cover the same ground.
    pub fn new(table: &ModalityTable, layout: &Layout) -> Result<Self> {
        let (mut parts, mut features, mut per_side) = (Vec::new(), 0, None);
        for (m, own) in table.iter().zip(&layout.parts) {
            if m.is_scalar() {
                parts.push(None);
                continue;
            }
            let n = own.side / m.patch;
            if *per_side.get_or_insert(n) != n || n * m.patch != own.side {
                return Err(Error::request(format!(
                    "The patches of {} do not cover the same ground as those of the other modalities.",
                    m.name
                )));
            }
            let kept = m.patch.min(KEPT);
            let cosine = |i: usize, x: usize| {
                let scale = if i == 0 { 1.0 } else { 2.0 } / m.patch as f64;
                scale.sqrt() * (std::f64::consts::PI * i as f64 * (x as f64 + 0.5) / m.patch as f64).cos()
            };
            let basis = (0..kept).flat_map(|i| (0..m.patch).map(move |x| cosine(i, x) as f32)).collect();
            let part = PlacePart { first: features, channels: own.channels, kept, patch: m.patch, basis };
            features += part.size();
            parts.push(Some(part));
        }
        let per_side = per_side.ok_or_else(|| Error::request("A Gaussian field needs at least one image."))?;
        Ok(Self { per_side, features, parts })
    }

    /// Number of places.
    pub fn count(&self) -> usize {
        self.per_side * self.per_side
    }

    /// Radius of a feature's frequency in half-periods per window.
    pub fn radius(&self, row: usize, column: usize) -> f64 {
        self.per_side as f64 * (row as f64 + 0.5).hypot(column as f64 + 0.5)
    }

    /// Image `(channels, side, side)` of a modality → its features, into rows of `stride` values, one per place.
    pub fn gather(&self, modality: usize, image: &[f32], out: &mut [f32], stride: usize) {
        let Some(part) = &self.parts[modality] else { return };
        self.each_patch(part, |place, channel, pixels| {
            let start = place * stride + part.first + channel * part.kept * part.kept;
            let out = &mut out[start..start + part.kept * part.kept];
            for i in 0..part.kept {
                for j in 0..part.kept {
                    let mut sum = 0.0;
                    for (y, row) in pixels.iter().enumerate() {
                        let inner: f32 =
                            part.cosines(j).iter().zip(&image[row.clone()]).map(|(a, b)| a * b).sum::<f32>();
                        sum += part.cosines(i)[y] * inner;
                    }
                    out[i * part.kept + j] = sum;
                }
            }
        });
    }

    /// Adds what features stand for to an image; the inverse of [`gather`](Self::gather) on what it keeps.
    pub fn scatter(&self, modality: usize, features: &[f32], stride: usize, image: &mut [f32]) {
        let Some(part) = &self.parts[modality] else { return };
        self.each_patch(part, |place, channel, pixels| {
            let start = place * stride + part.first + channel * part.kept * part.kept;
            let features = &features[start..start + part.kept * part.kept];
            for (y, row) in pixels.iter().enumerate() {
                for j in 0..part.kept {
                    let weight: f32 = (0..part.kept).map(|i| features[i * part.kept + j] * part.cosines(i)[y]).sum();
                    image[row.clone()].iter_mut().zip(part.cosines(j)).for_each(|(v, c)| *v += weight * c);
                }
            }
        });
    }

    /// Calls `each(place, channel, rows of the patch)`.
    fn each_patch(&self, part: &PlacePart, mut each: impl FnMut(usize, usize, &[std::ops::Range<usize>])) {
        let (n, p) = (self.per_side, part.patch);
        let side = n * p;
        for channel in 0..part.channels {
            for place in 0..n * n {
                let (top, left) = (place / n * p, place % n * p);
                let start = |y: usize| channel * side * side + (top + y) * side + left;
                let rows: Vec<_> = (0..p).map(|y| start(y)..start(y) + p).collect();
                each(place, channel, &rows);
            }
        }
    }
}

impl PlacePart {
    fn cosines(&self, i: usize) -> &[f32] {
        &self.basis[i * self.patch..(i + 1) * self.patch]
    }
}
