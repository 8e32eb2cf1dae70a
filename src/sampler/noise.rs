//! Reproducible noise, bound to the ground.
//!
//! Every number belongs to a seed, a realisation, a modality, a purpose, and a place in the grid of the coordinate system.
//! So a realisation is the same whatever the batch size, the order, the device, the name of the folder, or how many others
//! were drawn, and overlapping windows see the same noise on common ground (the published code has one global stream;
//! specification I.20).

use crate::error::Result;
use crate::grid::Footprint;
use crate::modality::Modality;
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

/// Latent cells along the side of a block that is drawn at once.
const BLOCK: i64 = 8;

/// What a stream of noise is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoisePurpose {
    /// The draw from the posterior of a condition.
    Condition,
    /// The initial state of a generated modality.
    Initial,
    /// What pixels are drawn from, once cells are known.
    Drawing,
    /// What the network sees of an ignored modality, at this evaluation.
    Ignored {
        /// Evaluation, from 0.
        evaluation: usize,
    },
}

/// Names a stream of noise that lies on the ground.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the realisation.
    pub realisation: u64,
    /// Key of the modality.
    pub modality: &'a str,
    /// What for.
    pub purpose: NoisePurpose,
}

impl Stream<'_> {
    /// Standard-normal noise for a modality's latents on this ground, shape `(1, C, h, w)`, drawn on the CPU.
    ///
    /// A latent cell is as large as the ground's width divided by the latent's columns. Cells are counted from the origin
    /// of the coordinate system to the east and to the south; the ground's corner belongs to the nearest cell (of two
    /// equally near ones to the one further east or south), its coordinates being taken to the millimetre. A location or
    /// date is one cell of the whole window. Without a coordinate system, cells are counted from the scene's corner.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn on_ground(&self, m: &Modality, ground: &Footprint, device: &Device) -> Result<Tensor> {
        let [c, h, w] = m.latent;
        let data = if m.is_scalar() { self.cells(c * h * w, 1, 1, ground) } else { self.cells(c, h, w, ground) };
        Ok(Tensor::from_vec(data, (1, c, h, w), device)?)
    }

    /// Values of `rows` × `columns` cells, channel after channel.
    pub fn cells(&self, channels: usize, rows: usize, columns: usize, ground: &Footprint) -> Vec<f32> {
        let cell_m = ground.width_m / columns as f64;
        let (east, south) = (first_cell(ground.left, cell_m), first_cell(-ground.top, cell_m));
        let key = self.key(ground);
        let (last_east, last_south) = (east + columns as i64, south + rows as i64);
        let mut data = vec![0.0; channels * rows * columns];
        for block_south in south.div_euclid(BLOCK)..=(last_south - 1).div_euclid(BLOCK) {
            for block_east in east.div_euclid(BLOCK)..=(last_east - 1).div_euclid(BLOCK) {
                // Each block has a stream of its own, numbered by its place; numbers beyond 32 bits lie on no planet.
                let mut generator = ChaCha12Rng::from_seed(key);
                generator.set_stream(u64::from(block_east as u32) << 32 | u64::from(block_south as u32));
                for channel in 0..channels {
                    for within in 0..BLOCK * BLOCK {
                        let value: f32 = StandardNormal.sample(&mut generator);
                        let row = block_south * BLOCK + within / BLOCK - south;
                        let column = block_east * BLOCK + within % BLOCK - east;
                        if (0..rows as i64).contains(&row) && (0..columns as i64).contains(&column) {
                            data[(channel * rows + row as usize) * columns + column as usize] = value;
                        }
                    }
                }
            }
        }
        data
    }

    /// What all blocks of this stream share.
    fn key(&self, ground: &Footprint) -> [u8; 32] {
        let (purpose, counter) = match self.purpose {
            NoisePurpose::Condition => (0, 0),
            NoisePurpose::Initial => (1, 0),
            // 3 is what trainings are numbered by.
            NoisePurpose::Drawing => (4, 0),
            NoisePurpose::Ignored { evaluation } => (2, evaluation as u64),
        };
        let crs = ground.crs.as_ref().map_or("", |crs| crs.0.as_str());
        named([self.seed, self.realisation, purpose, counter], crs, self.modality)
    }
}

/// Number of the cell that begins nearest to a coordinate.
fn first_cell(coordinate_m: f64, cell_m: f64) -> i64 {
    let coordinate_m = (coordinate_m * 1000.0).round() / 1000.0;
    (coordinate_m / cell_m + 0.5).floor() as i64
}

/// The generator of a training's draws at a step, or of anything else that lies nowhere on the ground. `what` and
/// `modality` name what is drawn.
pub fn training_generator(seed: u64, what: &str, modality: &str, step: u64) -> ChaCha12Rng {
    ChaCha12Rng::from_seed(named([seed, 0, 3, step], what, modality))
}

fn named(numbers: [u64; 4], name: &str, modality: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for number in numbers.into_iter().chain([name.len() as u64]) {
        hash.update(number.to_le_bytes());
    }
    hash.update(name);
    hash.update(modality);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Crs;
    use crate::modality::ModalityTable;
    use proptest::prelude::*;

    const BASE: Stream = Stream { seed: 7, realisation: 0, modality: "DEM_DEM", purpose: NoisePurpose::Initial };

    fn ground(left: f64, top: f64) -> Footprint {
        Footprint { crs: Some(Crs("EPSG:32632".into())), left, top, width_m: 1920.0, height_m: 1920.0 }
    }

    /// 24 × 24 cells of 80 m with two channels.
    fn draw(stream: Stream, ground: &Footprint) -> Vec<f32> {
        stream.cells(2, 24, 24, ground)
    }

    #[test]
    fn a_stream_repeats_itself_and_differs_from_every_other() {
        let here = ground(480_000.0, 5_100_000.0);
        let first = draw(BASE, &here);
        assert_eq!(first, draw(BASE, &here));
        let others = [
            (Stream { seed: 8, ..BASE }, here.clone()),
            (Stream { realisation: 1, ..BASE }, here.clone()),
            (Stream { modality: "LULC_LULC", ..BASE }, here.clone()),
            (Stream { purpose: NoisePurpose::Condition, ..BASE }, here.clone()),
            (Stream { purpose: NoisePurpose::Ignored { evaluation: 0 }, ..BASE }, here.clone()),
            (Stream { purpose: NoisePurpose::Ignored { evaluation: 1 }, ..BASE }, here.clone()),
            // The same numbers in another zone are another place.
            (BASE, Footprint { crs: Some(Crs("EPSG:32633".into())), ..here.clone() }),
            (BASE, Footprint { crs: None, ..here.clone() }),
            (BASE, ground(480_000.0 + 1920.0, 5_100_000.0)),
            (BASE, ground(480_000.0, 5_100_000.0 - 1920.0)),
        ];
        for (other, ground) in others {
            let n = first.iter().zip(draw(other, &ground)).filter(|(a, b)| **a == *b).count();
            assert_eq!(n, 0, "{other:?} on {ground:?}");
        }
    }

    proptest! {
        /// Cell for cell, wherever the windows lie, on both sides of the origin, and whatever their shapes.
        #[test]
        fn common_ground_has_common_noise(
            [x, y] in [-60i64..60, -60i64..60],
            [dx, dy] in [-30i64..30, -30i64..30],
            [h, w] in [1usize..30, 1usize..30],
        ) {
            let at = |x: i64, y: i64, rows: usize, columns: usize| {
                let (width_m, height_m) = (columns as f64 * 80.0, rows as f64 * 80.0);
                let ground = Footprint { width_m, height_m, ..ground(x as f64 * 80.0, -y as f64 * 80.0) };
                BASE.cells(2, rows, columns, &ground)
            };
            let (a, b) = (at(x, y, 24, 24), at(x + dx, y + dy, h, w));
            for c in 0..2 {
                for row in 0..h {
                    for column in 0..w {
                        let (i, j) = (row as i64 + dy, column as i64 + dx);
                        if (0..24).contains(&i) && (0..24).contains(&j) {
                            prop_assert_eq!(a[(c * 24 + i as usize) * 24 + j as usize], b[(c * h + row) * w + column]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn windows_480_m_apart_share_the_published_networks_noise_wherever_they_overlap() {
        let (here, there) = (ground(709_980.0, 5_699_940.0), ground(709_980.0 + 480.0, 5_699_940.0 - 960.0));
        for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
            let [c, h, w] = m.latent;
            let noise = |ground: &Footprint| -> Vec<f32> {
                let noise = BASE.on_ground(m, ground, &Device::Cpu).expect("noise");
                noise.flatten_all().and_then(|t| t.to_vec1()).expect("values")
            };
            let (a, b) = (noise(&here), noise(&there));
            let (dx, dy) = (w / 4, h / 2);
            assert_eq!((dx * 4, dy * 2), (w, h), "{}: cells divide 480 m", m.name);
            for (c, row, column) in
                (0..c).flat_map(|c| (0..h - dy).flat_map(move |r| (0..w - dx).map(move |k| (c, r, k))))
            {
                assert_eq!(a[(c * h + row + dy) * w + column + dx], b[(c * h + row) * w + column], "{}", m.name);
            }
        }
    }

    #[test]
    fn a_corner_between_two_cells_belongs_to_the_nearest() {
        // Rasters that lie anywhere, and coordinates that were computed.
        let cell = |coordinate: f64| first_cell(coordinate, 80.0);
        assert_eq!([0.0, 39.0, 40.0, 79.0, 80.0, 119.999].map(cell), [0, 0, 1, 1, 1, 1]);
        assert_eq!([-40.0, -41.0, -80.0].map(cell), [0, -1, -1]);
        assert_eq!([39.999_999_9, 40.000_000_1].map(cell), [1, 1], "the same to the millimetre");
        let (a, b) = (draw(BASE, &ground(480_000.0, 5e6)), draw(BASE, &ground(480_030.0, 5e6 + 30.0)));
        assert_eq!(a, b);
    }

    #[test]
    fn noise_is_standard_normal_and_channels_and_neighbours_are_independent() {
        let side = 200;
        let ground = Footprint { width_m: 2000.0, height_m: 2000.0, ..ground(1.23e5, 4.56e6) };
        let values = BASE.cells(4, side, side, &ground);
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
        // Beside, below, a block further, and in the next channel.
        for shift in [1, side, BLOCK as usize, BLOCK as usize * side, side * side] {
            let pairs = values.iter().zip(&values[shift..]);
            let together = pairs.map(|(a, b)| a * b).sum::<f32>() / n;
            assert!(together.abs() < 0.015, "shift {shift}: {together}");
        }
    }

    #[test]
    fn training_draws_by_name() {
        let draw = |seed, what, modality, step| -> [f32; 4] {
            let mut generator = training_generator(seed, what, modality, step);
            [(); 4].map(|()| StandardNormal.sample(&mut generator))
        };
        let first = draw(1, "denoiser", "DEM", 5);
        assert_eq!(first, draw(1, "denoiser", "DEM", 5));
        // The border between the two names matters.
        for other in [draw(2, "denoiser", "DEM", 5), draw(1, "denoise", "rDEM", 5), draw(1, "denoiser", "DEM", 6)] {
            assert!(first.iter().zip(other).all(|(a, b)| *a != b));
        }
    }
}
