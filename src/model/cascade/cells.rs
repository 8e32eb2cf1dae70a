//! Images as cells of a coarse grid: the mean of each channel in a cell, and how much it varies there.

use crate::error::{Error, Result};
use crate::modality::{Mask, Modality, ModalityTable};
use serde::{Deserialize, Serialize};

/// Added to a deviation before its logarithm is taken, in units of the channel's deviation.
pub const SMOOTH: f32 = 0.02;

/// How much more relief within a window weighs than elevation itself.
const RELIEF: f32 = 10.0;

/// How much is left of a latent, and how much noise is in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// α: 1 for what is given, 0 for what is not there.
    pub signal: f64,
    /// σ: 0 for what is given.
    pub noise: f64,
}

impl Level {
    /// What is given.
    pub const GIVEN: Self = Self { signal: 1.0, noise: 0.0 };
    /// What is not there: a network is told nothing of it, whatever noise stands in its place.
    pub const ABSENT: Self = Self { signal: 0.0, noise: 1.0 };

    /// For a network: −1.5 for what is given, 1.5 for what is not there, and between −1 and 1 the logarithm of noise
    /// over a signal that varies by `deviation`.
    pub fn number(self, deviation: f64) -> f32 {
        if self.noise <= 0.0 {
            return -1.5;
        }
        if self.signal <= 0.0 {
            return 1.5;
        }
        (((self.noise / (self.signal * deviation)).ln() - 0.8) / 3.1).clamp(-1.2, 1.2) as f32
    }

    /// What a noisy number says of the number, both of them having mean 0 and the number this deviation.
    pub fn expected(self, deviation: f64) -> f32 {
        let signal = self.signal * deviation;
        (self.signal * deviation * deviation / (signal * signal + self.noise * self.noise)) as f32
    }
}

/// Mean and deviation of the channels of one modality, network values; by them images have mean 0 and deviation 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// By channel: of its pixels.
    pub pixels: Vec<[f32; 2]>,
    /// By channel: of the logarithm of its deviation within cells, in units of the pixels' deviation; empty where cells
    /// have none.
    pub spreads: Vec<[f32; 2]>,
}

/// One image modality on the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// First of its channels on the grid.
    pub first: usize,
    /// Channels of the image.
    pub channels: usize,
    /// Pixels along its side.
    pub pixels: usize,
    /// Channels of its latent: those of the image, and as many again if cells also say how much they vary.
    pub latent: usize,
    /// Which of all image modalities it is.
    pub number: usize,
    /// Whether it is an elevation, whose relief within a window is small beside its range.
    pub relief: bool,
}

impl Part {
    /// Whether cells say how much they vary.
    pub fn has_spreads(&self) -> bool {
        self.latent > self.channels
    }
}

/// How the modalities of a table lie on the grid.
#[derive(Debug, Clone)]
pub struct Cells {
    /// Cells along a side.
    pub side: usize,
    /// By modality; `None` for scalars.
    pub parts: Vec<Option<Part>>,
    /// Channels on the grid.
    pub channels: usize,
}

impl Cells {
    /// Reads the grid off the table: latents are `(C or 2·C, side, side)`, all of one side.
    ///
    /// # Errors
    /// When a latent has another shape, or cells are to have spreads that no whole number of pixels fills.
    pub fn new(table: &ModalityTable) -> Result<Self> {
        let side = table.iter().find(|m| !m.is_scalar()).map_or(0, |m| m.latent[1]);
        let (mut parts, mut channels, mut number) = (Vec::new(), 0, 0);
        for m in table.iter() {
            if m.is_scalar() {
                parts.push(None);
                continue;
            }
            let own = m.network_channels();
            let latent = m.latent[0];
            let spreads = latent == 2 * own && m.pixels > side && m.pixels % side.max(1) == 0;
            if side < 4 || side % 2 != 0 || m.latent != [latent, side, side] || !(latent == own || spreads) {
                return Err(Error::request(format!(
                    "In a cascade the latent of {} is {own} × {side} × {side}, or twice as many channels where cells hold several of its pixels; {side} must be even.",
                    m.name
                )));
            }
            let relief = m.about.subject == crate::modality::Subject::Elevation;
            parts.push(Some(Part { first: channels, channels: own, pixels: m.pixels, latent, number, relief }));
            channels += latent;
            number += 1;
        }
        Ok(Self { side, parts, channels })
    }

    /// Number of cells.
    pub fn count(&self) -> usize {
        self.side * self.side
    }

    /// Number of image modalities.
    pub fn images(&self) -> usize {
        self.parts.iter().flatten().count()
    }

    /// Channels whose relief is shown apart.
    pub fn reliefs(&self) -> usize {
        self.parts.iter().flatten().filter(|part| part.relief).count()
    }

    /// Cells of an image of standardised pixels `(channels, pixels, pixels)`: `(latent channels, side, side)`.
    pub fn of_image(&self, part: &Part, standard: &Standard, image: &[f32]) -> Vec<f32> {
        let mut cells = resample(image, part.pixels, self.side);
        if part.has_spreads() {
            let spreads = spreads(image, part.pixels, self.side);
            for (channel, [mean, deviation]) in spreads.chunks_exact(self.count()).zip(&standard.spreads) {
                cells.extend(channel.iter().map(|v| (v - mean) / deviation));
            }
        }
        cells
    }
}

impl Standard {
    /// Network values as standardised pixels, in place.
    pub fn standardise(&self, image: &mut [f32]) {
        let pixels = image.len() / self.pixels.len().max(1);
        for (channel, [mean, deviation]) in image.chunks_exact_mut(pixels.max(1)).zip(&self.pixels) {
            channel.iter_mut().for_each(|v| *v = (*v - mean) / deviation);
        }
    }

    /// Standardised pixels as network values, in place.
    pub fn restore(&self, image: &mut [f32]) {
        let pixels = image.len() / self.pixels.len().max(1);
        for (channel, [mean, deviation]) in image.chunks_exact_mut(pixels.max(1)).zip(&self.pixels) {
            channel.iter_mut().for_each(|v| *v = *v * deviation + mean);
        }
    }

    /// Fits one to windows of network values `(channels, pixels, pixels)`, with the pixels of them that count (`None`: all).
    pub fn fit(m: &Modality, cells: &Cells, part: &Part, windows: &[(Vec<f32>, Option<Mask>)]) -> Self {
        let counts = |mask: &Option<Mask>, at: usize| mask.as_ref().is_none_or(|mask| mask.at(at));
        let size = part.pixels * part.pixels;
        // A class that is hardly ever seen must not weigh as much as one that is.
        let least = if m.classes().is_some() { 0.2 } else { 1e-3 };
        let of = |values: &mut dyn Iterator<Item = f32>, least: f64| {
            let (mut n, mut sum, mut square) = (0.0, 0.0, 0.0);
            for v in values {
                let v = f64::from(v);
                (n, sum, square) = (n + 1.0, sum + v, square + v * v);
            }
            let mean = sum / f64::max(n, 1.0);
            let deviation = (square / f64::max(n, 1.0) - mean * mean).max(0.0).sqrt().max(least);
            [mean as f32, deviation as f32]
        };
        let channel = |k: usize| {
            let own = windows.iter().flat_map(|(image, valid)| {
                let pixels = image[k * size..(k + 1) * size].iter().enumerate();
                pixels.filter(|(pixel, _)| counts(valid, *pixel)).map(|(_, v)| *v)
            });
            of(&mut { own }, least)
        };
        let pixels = (0..part.channels).map(channel).collect();
        let mut standard = Self { pixels, spreads: Vec::new() };
        if part.has_spreads() {
            let count = cells.count();
            let all: Vec<(Vec<f32>, Option<Mask>)> = windows
                .iter()
                .map(|(image, valid)| {
                    let mut image = image.clone();
                    standard.standardise(&mut image);
                    let valid = valid.as_ref().map(|valid| valid.resized(cells.side, cells.side));
                    (spreads(&image, part.pixels, cells.side), valid)
                })
                .collect();
            let channel = |k: usize| {
                let own = all.iter().flat_map(|(spreads, valid)| {
                    let cells = spreads[k * count..(k + 1) * count].iter().enumerate();
                    cells.filter(|(cell, _)| counts(valid, *cell)).map(|(_, v)| *v)
                });
                of(&mut { own }, 0.05)
            };
            standard.spreads = (0..part.channels).map(channel).collect();
        }
        standard
    }
}

/// What stands above and below the mean of a window, enlarged: small beside all elevations, it says most of the ground.
pub(super) fn relief(cells: &[f32]) -> Vec<f32> {
    let mean = cells.iter().sum::<f32>() / cells.len() as f32;
    cells.iter().map(|v| (v - mean) * RELIEF).collect()
}

/// Square images `(channels, from, from)` on another grid of the same ground, by area: `(channels, to, to)`.
pub(super) fn resample(images: &[f32], from: usize, to: usize) -> Vec<f32> {
    if from == to {
        return images.to_vec();
    }
    let weights = overlaps(from, to);
    let mut out = Vec::with_capacity(images.len() / (from * from).max(1) * to * to);
    for image in images.chunks_exact((from * from).max(1)) {
        let mut rows = vec![0.0; to * from];
        for (row, into) in rows.chunks_exact_mut(from).enumerate() {
            for &(source, weight) in &weights[row] {
                let source = &image[source * from..(source + 1) * from];
                into.iter_mut().zip(source).for_each(|(o, v)| *o += weight * v);
            }
        }
        for row in rows.chunks_exact(from) {
            out.extend(weights.iter().map(|own| own.iter().map(|&(at, weight)| weight * row[at]).sum::<f32>()));
        }
    }
    out
}

/// Square images `(channels, from, from)` on a finer grid of the same ground, linear between the middles of their pixels.
pub(super) fn bilinear(images: &[f32], from: usize, to: usize) -> Vec<f32> {
    let at = |pixel: usize| {
        let x = ((pixel as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        let first = (x as usize).min(from.saturating_sub(2));
        (first, (first + 1).min(from - 1), (x - first as f64) as f32)
    };
    let along: Vec<(usize, usize, f32)> = (0..to).map(at).collect();
    let mut out = Vec::with_capacity(images.len() / (from * from).max(1) * to * to);
    for image in images.chunks_exact((from * from).max(1)) {
        for &(above, below, down) in &along {
            let (above, below) = (&image[above * from..], &image[below * from..]);
            for &(left, right, across) in &along {
                let between = |row: &[f32]| row[left] + across * (row[right] - row[left]);
                let (above, below) = (between(above), between(below));
                out.push(above + down * (below - above));
            }
        }
    }
    out
}

/// By pixel of a row of `to`: the pixels of a row of `from` that lie in it, with their shares.
fn overlaps(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let ratio = from as f64 / to as f64;
    let of = |pixel: usize| {
        let (begin, end) = (pixel as f64 * ratio, (pixel + 1) as f64 * ratio);
        let share = |source: usize| ((source + 1) as f64).min(end) - (source as f64).max(begin);
        let last = (end.ceil() as usize).min(from);
        (begin as usize..last).map(|s| (s, (share(s) / ratio) as f32)).filter(|(_, share)| *share > 1e-6).collect()
    };
    (0..to).map(of).collect()
}

/// Logarithm of the deviation of the pixels in each cell: `(channels, side, side)`.
fn spreads(images: &[f32], pixels: usize, side: usize) -> Vec<f32> {
    let means = resample(images, pixels, side);
    let squares: Vec<f32> = images.iter().map(|v| v * v).collect();
    let squares = resample(&squares, pixels, side);
    means.iter().zip(&squares).map(|(mean, square)| ((square - mean * mean).max(0.0).sqrt() + SMOOTH).ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_keep_their_mean_on_any_grid_and_cells_know_how_much_they_vary() {
        let image: Vec<f32> = (0..2 * 32 * 32).map(|i| ((i * 37) % 101) as f32 / 50.0).collect();
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        for to in [8, 16, 24, 32, 48, 96] {
            let other = resample(&image, 32, to);
            assert_eq!(other.len(), 2 * to * to);
            assert!((mean(&other) - mean(&image)).abs() < 1e-4, "{to}");
        }
        // A slope stays one, whatever the grid; and what is between the middles is linear.
        let slope: Vec<f32> = (0..64).map(|i| (i % 8) as f32).collect();
        let fine = bilinear(&slope, 8, 32);
        let row = &fine[..32];
        assert!(row.is_sorted() && row.windows(2).skip(2).take(27).all(|w| (w[1] - w[0] - 0.25).abs() < 1e-5));
        assert_eq!(bilinear(&slope, 8, 8), slope);
        // A chequerboard of ±1 varies by 1 in every cell, a flat image by nothing.
        let board: Vec<f32> = (0..32 * 32).map(|i| if (i / 32 + i % 32) % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(spreads(&board, 32, 8).iter().all(|v| (v - (1.0 + SMOOTH).ln()).abs() < 1e-5));
        assert!(spreads(&[3.0; 32 * 32], 32, 8).iter().all(|v| (v - SMOOTH.ln()).abs() < 1e-3));
    }

    #[test]
    fn levels_run_from_given_to_absent() {
        let levels = [(0.9996, 0.029), (0.9, 0.44), (0.07, 0.9975)].map(|(signal, noise)| Level { signal, noise });
        let numbers: Vec<f32> =
            [&[Level::GIVEN][..], &levels, &[Level::ABSENT]].concat().iter().map(|l| l.number(0.3)).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        // Nothing is made of pure noise, everything of what is given.
        assert_eq!(Level::ABSENT.expected(0.3), 0.0);
        assert!((Level::GIVEN.expected(0.3) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn pixels_that_say_nothing_count_in_no_standard() {
        let table = crate::model::cascade::tests::table();
        let (cells, i) = (Cells::new(&table).expect("cells"), table.index("S2L2A_10m").expect("modality"));
        let part = cells.parts[i].as_ref().expect("an image");
        let side = part.pixels;
        let hole = |pixel: usize| pixel / side < 7 && pixel % side < 9;
        let window = |beneath: f32| -> Vec<f32> {
            let value = |k: usize| if hole(k % (side * side)) { beneath } else { ((k * 37) % 101) as f32 / 100.0 };
            (0..part.channels * side * side).map(value).collect()
        };
        let valid = Mask::from_fn(side, side, |pixel| !hole(pixel));
        let fit = |beneath: f32, mask: Option<Mask>| Standard::fit(&table[i], &cells, part, &[(window(beneath), mask)]);
        assert_eq!(fit(0.0, Some(valid.clone())), fit(9.0, Some(valid)));
        assert_ne!(fit(0.0, None), fit(9.0, None));
        assert_eq!(fit(0.5, None), fit(0.5, Some(Mask::full(side, side))));
    }
}
