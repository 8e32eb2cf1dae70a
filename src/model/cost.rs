//! What a run will take: memory, estimated before it starts, and operations.

use super::{AutoencoderSizes, DenoiserSizes, Manifest};
use crate::grid::Footprint;
use crate::modality::{Modality, ModalityTable};
use std::path::Path;

/// Images of the refiner's width that a cascade holds at once per realisation.
const CASCADE_COPIES: u64 = 12;
/// Exemplars of which it is held how well each of their cells fits each cell of the window.
const COMPARED: u64 = 64;
/// The same numbers that are being made of one exemplar each, on this many cores, and what else a cascade needs once.
const IN_WORK: u64 = 32;
/// Bytes of a float32.
const FLOAT: u64 = 4;
/// The program without a model, with its window.
const PROGRAM: u64 = 250_000_000;
/// Copies of the token sequence that one evaluation of the token kind holds per realisation: three of attention, five of
/// the wide layer, and what is added to.
const TOKEN_COPIES: u64 = 12;

impl DenoiserSizes {
    /// Floating-point operations of one evaluation of the token kind's matrix products (a multiplication and an addition
    /// count two; norms, softmax and GELU are left out, below 1 % at the published size).
    pub fn flop(&self, table: &ModalityTable, batch: usize) -> f64 {
        let (n, d) = (table.tokens() as f64, self.width as f64);
        let linear = |inputs: f64, outputs: f64| 2.0 * n * inputs * outputs;
        let attention = linear(d, 3.0 * d) + linear(d, d) + 4.0 * n * n * d;
        let mlp = 2.0 * linear(d, self.mlp_ratio as f64 * d);
        let half = (self.depth / 2) as f64;
        let patches: f64 = table.iter().map(|m| 4.0 * (m.latent.iter().product::<usize>() as f64) * d).sum();
        batch as f64 * ((2.0 * half + 1.0) * (attention + mlp) + half * linear(2.0 * d, d) + patches)
    }
}

impl AutoencoderSizes {
    /// Operations of encoding one image of `side` pixels with these numbers of channels, counted as in
    /// [`DenoiserSizes::flop`].
    pub fn encode_flop(&self, side: usize, channels: usize, latent: usize) -> f64 {
        let (mut pixels, mut width) = ((side * side) as f64, self.base_width as f64);
        let mut sum = convolution(channels as f64, width, pixels);
        for (level, multiplier) in self.multipliers.iter().enumerate() {
            let wider = (self.base_width * multiplier) as f64;
            for _ in 0..self.residual_blocks {
                sum += residual(width, wider, pixels);
                width = wider;
            }
            if level + 1 < self.multipliers.len() {
                pixels /= 4.0;
                sum += convolution(width, width, pixels);
            }
        }
        sum + middle(width, pixels) + convolution(width, 2.0 * latent as f64, pixels)
    }

    /// The same of decoding to `side` pixels.
    pub fn decode_flop(&self, side: usize, channels: usize, latent: usize) -> f64 {
        let widths: Vec<f64> = self.multipliers.iter().map(|m| (self.base_width * m) as f64).collect();
        let mut pixels = (side * side) as f64 / 4f64.powi(widths.len() as i32 - 1);
        let mut width = widths[widths.len() - 1];
        let mut sum = convolution(latent as f64, width, pixels) + middle(width, pixels);
        for (level, narrower) in widths.iter().enumerate().rev() {
            for _ in 0..=self.residual_blocks {
                sum += residual(width, *narrower, pixels);
                width = *narrower;
            }
            if level > 0 {
                pixels *= 4.0;
                sum += convolution(width, width, pixels);
            }
        }
        sum + convolution(width, channels as f64, pixels)
    }
}

fn convolution(inputs: f64, outputs: f64, pixels: f64) -> f64 {
    18.0 * inputs * outputs * pixels
}

fn residual(inputs: f64, outputs: f64, pixels: f64) -> f64 {
    let shortcut = if inputs == outputs { 0.0 } else { 2.0 * inputs * outputs * pixels };
    convolution(inputs, outputs, pixels) + convolution(outputs, outputs, pixels) + shortcut
}

fn middle(width: f64, pixels: f64) -> f64 {
    2.0 * residual(width, width, pixels) + 8.0 * width * width * pixels + 4.0 * pixels * pixels * width
}

/// Estimated bytes of memory of a model whose float32 weights have this many, before its sizes are known.
pub fn about_memory(weights: u64) -> u64 {
    PROGRAM + 2 * weights
}

impl Manifest {
    /// Bytes of the weight files; missing files count nothing.
    pub fn weight_bytes(&self, dir: &Path) -> u64 {
        let found = self.files().into_keys().filter_map(|file| std::fs::metadata(dir.join(file)).ok());
        found.map(|file| file.len()).sum()
    }

    /// Bytes of a finished realisation of these modalities on so much ground.
    pub fn realisation_bytes(&self, generated: &[usize], ground: &Footprint) -> u64 {
        let values = |m: &Modality| match ground.pixels(m.ground_m) {
            Ok((rows, columns)) if !m.is_scalar() => (m.channels.len() * rows * columns) as u64,
            _ => 0,
        };
        FLOAT * generated.iter().map(|&i| values(&self.modalities[i])).sum::<u64>()
    }

    /// Estimated bytes of a run besides what it makes: the program, weights (`weights` bytes on disk, float32 in memory;
    /// exemplars are read whole before they become that), and one evaluation of a batch.
    pub fn working_bytes(&self, weights: u64, batch: usize) -> u64 {
        let exemplars = self.cascade.as_ref().is_some_and(|cascade| cascade.exemplars.is_some());
        let pairs = || self.modalities.iter().map(|m| (m.latent[1] * m.latent[2]).pow(2) as u64).max().unwrap_or(0);
        let (copies, once) = if exemplars { (3, FLOAT * (COMPARED + IN_WORK) * pairs()) } else { (2, 0) };
        let latents = |m: &Modality| m.latent.iter().product::<usize>() as u64;
        let all = || self.modalities.iter();
        let working = if let Some(cascade) = &self.cascade {
            // The refiner's layers at the finest pixels, and half of that at half the resolution.
            let finest = all().map(|m| m.pixels * m.pixels).max().unwrap_or(0);
            CASCADE_COPIES * (finest * cascade.refiner.width) as u64
        } else {
            let tokens: u64 = all().map(|m| latents(m) / (m.latent[0] * m.patch * m.patch).max(1) as u64).sum();
            TOKEN_COPIES * tokens * self.denoiser.as_ref().map_or(0, |sizes| sizes.width) as u64
        };
        PROGRAM + copies * weights + once + FLOAT * batch as u64 * working
    }

    /// Estimated peak memory of a run in bytes: [`working_bytes`](Self::working_bytes), and all realisations of these
    /// modalities that it makes on so much ground. No batch is larger than the run.
    pub fn run_bytes(
        &self,
        weights: u64,
        generated: &[usize],
        ground: &Footprint,
        samples: usize,
        batch: usize,
    ) -> u64 {
        let made = self.realisation_bytes(generated, ground).saturating_mul(samples as u64);
        self.working_bytes(weights, batch.min(samples)).saturating_add(made)
    }
}
