//! Reproducible noise: one independent ChaCha stream per (seed, tile, realisation, modality, purpose).
//!
//! So a realisation is the same whatever the batch size, the order, the device, or how many others were
//! drawn (the published code has one global stream; specification I.20).

use crate::error::Result;
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

/// What a stream of noise is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The draw from the posterior of a condition.
    Condition,
    /// The initial state of a generated modality.
    Initial,
    /// What the network sees of an ignored modality, at this evaluation.
    Ignored {
        /// Evaluation, from 0.
        evaluation: usize,
    },
    /// Training: draws of latents, times and noise at this step.
    Training {
        /// Step, from 0.
        step: u64,
    },
}

/// Names a stream.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    /// Seed of the run.
    pub seed: u64,
    /// Name of the place and window.
    pub tile: &'a str,
    /// Number of the realisation.
    pub realisation: u64,
    /// Key of the modality.
    pub modality: &'a str,
    /// What for.
    pub purpose: Purpose,
}

impl<'a> Stream<'a> {
    /// The stream of a training's draws at a step; `tile` names what is drawn.
    pub fn training(seed: u64, tile: &'a str, modality: &'a str, step: u64) -> Self {
        Self { seed, tile, realisation: 0, modality, purpose: Purpose::Training { step } }
    }

    /// The generator of this stream, at its beginning.
    pub fn generator(&self) -> ChaCha12Rng {
        let (purpose, counter) = match self.purpose {
            Purpose::Condition => (0u64, 0),
            Purpose::Initial => (1, 0),
            Purpose::Ignored { evaluation } => (2, evaluation as u64),
            Purpose::Training { step } => (3, step),
        };
        let mut hash = Sha256::new();
        for number in [self.seed, self.realisation, purpose, counter, self.tile.len() as u64] {
            hash.update(number.to_le_bytes());
        }
        hash.update(self.tile);
        hash.update(self.modality);
        ChaCha12Rng::from_seed(hash.finalize().into())
    }

    /// Standard-normal noise of shape `(1, C, h, w)`, drawn on the CPU.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn normal(&self, [c, h, w]: [usize; 3], device: &Device) -> Result<Tensor> {
        let mut generator = self.generator();
        let data: Vec<f32> = (0..c * h * w).map(|_| StandardNormal.sample(&mut generator)).collect();
        Ok(Tensor::from_vec(data, (1, c, h, w), device)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(stream: Stream) -> Vec<f32> {
        let noise = stream.normal([2, 8, 8], &Device::Cpu).expect("noise");
        noise.flatten_all().and_then(|t| t.to_vec1()).expect("values")
    }

    const BASE: Stream =
        Stream { seed: 7, tile: "618U_30L", realisation: 0, modality: "DEM_DEM", purpose: Purpose::Initial };

    #[test]
    fn a_stream_repeats_itself_and_differs_from_every_other() {
        let first = draw(BASE);
        assert_eq!(first, draw(BASE));
        let others = [
            Stream { seed: 8, ..BASE },
            Stream { tile: "618U_30R", ..BASE },
            Stream { realisation: 1, ..BASE },
            Stream { modality: "LULC_LULC", ..BASE },
            Stream { purpose: Purpose::Condition, ..BASE },
            Stream { purpose: Purpose::Ignored { evaluation: 0 }, ..BASE },
            Stream { purpose: Purpose::Ignored { evaluation: 1 }, ..BASE },
            // The border between tile and modality name matters.
            Stream { tile: "618U_30LD", modality: "EM_DEM", ..BASE },
        ];
        for other in others {
            let n = first.iter().zip(draw(other)).filter(|(a, b)| **a == *b).count();
            assert_eq!(n, 0, "{other:?}");
        }
    }

    #[test]
    fn noise_is_standard_normal() {
        let noise = Stream { realisation: 5, ..BASE }.normal([4, 100, 100], &Device::Cpu).expect("noise");
        let values: Vec<f32> = noise.flatten_all().and_then(|t| t.to_vec1()).expect("values");
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "mean {mean}, variance {variance}");
    }
}
