//! The coarse network of a cascade: a U-Net that predicts the cells of all modalities from noisy ones. It adds structure
//! to what their statistics tell, in units of what these leave open (as in Karras et al. 2022, arXiv 2206.00364): where
//! little is open it cannot do much harm. The mean of a window is left to the statistics: of a hundred places a network
//! learns each by heart.

use super::cells::{Cells, Level, Part, relief};
use super::exemplars::Exemplars;
use super::layers::{Attention, Residual, groups};
use super::matching::{ALIKE_KNOWN, State, Wanted};
use super::mixture::{Mixture, Seen};
use crate::error::{Error, Result};
use crate::modality::{Mask, ModalityTable};
use crate::model::denoiser::{NoisePredictor, check_inputs};
use crate::model::known::Known;
use crate::model::layers::{Conv3, GroupNorm, Projection, Sampling, linear, linear_from, pointwise};
use crate::model::parameters::{Init, Parameters, Scope};
use crate::model::schedule::{Schedule, TRAIN_STEPS};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Noise, as a variance beside that of a signal of full strength, in which what the network adds is divided by the root of
/// two. What it makes of noise and of what is given alone it knows by heart from its training places (measured on others,
/// where it made the squared error of such a first guess 4 % greater than the statistics alone, and 3 % less in noise
/// of 5).
const TRUSTED: f64 = 20.0;

/// Standard deviation of the numbers of a location or date: three of them on a sphere.
const SCALAR_DEVIATION: f64 = 0.577;

/// Sizes of the coarse network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoarseSizes {
    /// Channels on the grid of cells; twice as many on the one of half the resolution.
    pub width: usize,
    /// Residual blocks on the grid before, and again after, the coarser one.
    pub blocks: usize,
    /// Residual blocks on the coarser grid before, and again after, attention.
    pub middle_blocks: usize,
    /// Attention heads.
    pub heads: usize,
}

impl CoarseSizes {
    /// # Errors
    /// When the sizes do not fit together.
    pub fn check(&self) -> Result<()> {
        let fits = self.width > 0 && self.width.is_multiple_of(32) && self.width <= 4096;
        let heads = self.heads > 0 && (2 * self.width).is_multiple_of(8 * self.heads);
        if !fits || !heads || self.blocks.max(self.middle_blocks) > 64 {
            return Err(Error::request(
                "The width of a cascade's coarse network must be a multiple of 32 that its heads share in multiples of 8, with at most 64 blocks.",
            ));
        }
        Ok(())
    }
}

/// Cells of one modality that are known.
#[derive(Debug, Clone)]
pub struct KnownCells {
    /// Which.
    pub mask: Mask,
    /// Their latents without noise, `(latent channels, side, side)`; anything elsewhere.
    pub latent: Vec<f32>,
}

/// One item, prepared for the network.
#[derive(Debug)]
pub struct CoarseInputs {
    /// `(row, column, inputs)`; what the statistics tell comes last.
    pub values: Vec<f32>,
    /// Levels of all modalities, and what is known of scalars.
    pub globals: Vec<f32>,
    /// By channel of the grid: how far the truth is expected to be from what the statistics tell, apart from the window's
    /// mean.
    pub open: Vec<f32>,
    /// By channel of the grid: how much the network is trusted, 0…1.
    pub trust: Vec<f32>,
}

impl CoarseInputs {
    /// What the statistics tell: `(row, column, channels)`, standardised.
    pub fn told(&self, cells: &Cells) -> Vec<f32> {
        let own = |input: &[f32]| input[input.len() - cells.channels..].to_vec();
        self.values.chunks_exact(Coarse::inputs(cells)).flat_map(own).collect()
    }
}

/// The network.
#[derive(Debug)]
pub struct Coarse {
    table: ModalityTable,
    cells: Cells,
    statistics: Mixture,
    exemplars: Option<Arc<Exemplars>>,
    schedule: Schedule,
    device: Device,
    enter: Conv3,
    embed: [Projection; 2],
    fine_in: Vec<Residual>,
    down: Conv3,
    middle_in: Vec<Residual>,
    attention: Attention,
    middle_out: Vec<Residual>,
    up: Conv3,
    merge: Projection,
    fine_out: Vec<Residual>,
    norm: GroupNorm,
    leave: Conv3,
    scalars: Projection,
}

impl Coarse {
    /// Builds the network from its parameters and the statistics of cells.
    ///
    /// # Errors
    /// When the sizes do not fit together or a parameter is missing or misshapen.
    pub fn new(
        table: &ModalityTable,
        sizes: &CoarseSizes,
        statistics: Mixture,
        source: &mut dyn Parameters,
        device: &Device,
    ) -> Result<Self> {
        sizes.check()?;
        let cells = Cells::new(table)?;
        if statistics.channels() != cells.channels {
            return Err(Error::request(
                "The statistics of a cascade's cells are of other channels than its table has.",
            ));
        }
        let scalars = table.len() - cells.images();
        let root = &mut Scope::root(source);
        let (w, c, e) = (sizes.width, 2 * sizes.width, 2 * sizes.width);
        let inputs = Self::inputs(&cells);
        let blocks = |root: &mut Scope, name: &str, n: usize, width: usize| -> Result<Vec<Residual>> {
            (0..n).map(|k| Residual::new(&mut root.at(format!("{name}.{k}")), width, e)).collect()
        };
        Ok(Self {
            table: table.clone(),
            schedule: Schedule::new(),
            device: device.clone(),
            enter: Conv3::new(&mut root.at("enter"), inputs, w, Sampling::Same)?,
            embed: [
                linear(&mut root.at("embed.0"), table.len() + 3 * scalars, e, true)?,
                linear(&mut root.at("embed.1"), e, e, true)?,
            ],
            fine_in: blocks(root, "fine_in", sizes.blocks, w)?,
            down: Conv3::new(&mut root.at("down"), w, c, Sampling::Half)?,
            middle_in: blocks(root, "middle_in", sizes.middle_blocks, c)?,
            attention: Attention::new(&mut root.at("attention"), c, sizes.heads)?,
            middle_out: blocks(root, "middle_out", sizes.middle_blocks, c)?,
            up: Conv3::new(&mut root.at("up"), c, w, Sampling::Double)?,
            merge: pointwise(&mut root.at("merge"), 2 * w, w)?,
            fine_out: blocks(root, "fine_out", sizes.blocks, w)?,
            norm: GroupNorm::new(&mut root.at("norm"), w, groups(w))?,
            leave: Conv3::with_init(&mut root.at("leave"), w, cells.channels, Sampling::Same, Init::Zeros)?,
            scalars: linear_from(&mut root.at("scalars"), c, (3 * scalars).max(1), true, Init::Zeros)?,
            cells,
            statistics,
            exemplars: None,
        })
    }

    /// The same, with exemplars that tell what little is known of.
    pub fn with_exemplars(mut self, exemplars: Arc<Exemplars>) -> Self {
        self.exemplars = Some(exemplars);
        self
    }

    /// Channels that go in: noisy cells, levels, reliefs, and what the statistics tell.
    fn inputs(cells: &Cells) -> usize {
        2 * cells.channels + cells.images() + cells.reliefs()
    }

    /// What it adds to.
    pub fn statistics(&self) -> &Mixture {
        &self.statistics
    }

    /// The grid it works on.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Signal and noise at a network time: 0 is "given", 1000 "not there".
    pub fn level(&self, time: f32) -> Level {
        match time {
            ..=0.0 => Level::GIVEN,
            time if f64::from(time) >= TRAIN_STEPS as f64 => Level::ABSENT,
            time => {
                let t = f64::from(time) / TRAIN_STEPS as f64;
                Level { signal: self.schedule.alpha(t), noise: self.schedule.sigma(t) }
            }
        }
    }

    /// Standard deviation of a modality's latent.
    pub fn deviation(&self, modality: usize) -> f64 {
        if self.table[modality].is_scalar() { SCALAR_DEVIATION } else { self.table[modality].scale_factor }
    }

    /// Inputs of one item: noisy scaled latents by modality, each with its level, and cells of them that are known.
    ///
    /// # Errors
    /// When the statistics of cells are no covariance.
    pub fn prepare(&self, noisy: &[Vec<f32>], levels: &[Level], known: &[Option<KnownCells>]) -> Result<CoarseInputs> {
        let (count, images, channels) = (self.cells.count(), self.cells.images(), self.cells.channels);
        let stride = Self::inputs(&self.cells);
        let mut values = vec![0.0; count * stride];
        let (mut observed, mut seen) = (vec![0.0; count * channels], vec![Seen::under(f64::INFINITY); channels]);
        let mut trust = vec![0.0; channels];
        let (mut globals, mut scalars, mut reliefs) = (Vec::new(), Vec::new(), 0);
        for (i, part) in self.cells.parts.iter().enumerate() {
            let (level, deviation) = (levels[i], self.deviation(i));
            let (number, expected) = (level.number(deviation), level.expected(deviation));
            globals.push(number);
            let Some(part) = part else {
                // Of about 1, like everything else.
                let unit = expected / deviation as f32;
                scalars.extend(noisy[i].iter().map(|v| if level == Level::ABSENT { 0.0 } else { v * unit }));
                continue;
            };
            let (unit, full) = (expected / deviation as f32, 1.0 / deviation as f32);
            let known = known.get(i).and_then(Option::as_ref);
            let is_known = |cell: usize| known.filter(|k| k.mask.at(cell));
            let signal = level.signal * deviation;
            let noise = if level == Level::ABSENT { f64::INFINITY } else { (level.noise / signal).powi(2) };
            let known_cells: Vec<usize> = (0..count).filter(|&cell| is_known(cell).is_some()).collect();
            let own = part.first..part.first + part.latent;
            seen[own.clone()].fill(Seen { noise, known: known_cells.len() as f64 / count as f64 });
            // What is not there is all noise.
            let most = (self.schedule.alpha(1.0) * deviation).powi(-2);
            trust[own].fill((1.0 / (1.0 + noise.min(most) / TRUSTED).sqrt()) as f32);
            for (channel, image) in noisy[i].chunks_exact(count).enumerate() {
                // Where nothing else is known, other cells are as those that are known, give or take what cells vary by.
                let of_known = |known: &KnownCells| {
                    known_cells.iter().map(|cell| known.latent[channel * count + cell] * full).sum::<f32>()
                        / known_cells.len().max(1) as f32
                };
                let others = known.map_or(0.0, of_known);
                let vary = f64::from(self.statistics.about()[part.first + channel]).powi(2);
                let weight = if known_cells.is_empty() { 1.0 } else { (vary / (vary + noise)) as f32 };
                for (cell, v) in image.iter().enumerate() {
                    let [expected, undone] = match is_known(cell) {
                        Some(known) => [known.latent[channel * count + cell] * full; 2],
                        None if level == Level::ABSENT => [0.0, others],
                        None => [v * unit, weight * v / signal as f32 + (1.0 - weight) * others],
                    };
                    values[cell * stride + part.first + channel] = expected;
                    observed[cell * channels + part.first + channel] = undone;
                }
            }
            for cell in 0..count {
                let own = if is_known(cell).is_some() { Level::GIVEN.number(deviation) } else { number };
                values[cell * stride + self.cells.channels + part.number] = own;
            }
            if part.relief {
                let own: Vec<f32> = (0..count).map(|cell| values[cell * stride + part.first]).collect();
                for (cell, v) in relief(&own).into_iter().enumerate() {
                    values[cell * stride + self.cells.channels + images + reliefs] = v;
                }
                reliefs += 1;
            }
        }
        globals.extend(scalars);
        let told = self.statistics.estimate(&observed, &seen)?;
        for (values, told) in values.chunks_exact_mut(stride).zip(told.values.chunks_exact(channels)) {
            values[stride - channels..].copy_from_slice(told);
        }
        Ok(CoarseInputs { values, globals, open: told.open, trust })
    }

    /// The data of several items, standardised: `(row, column, item, channels)`, and `(item, 3 · scalars)`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn predict(&self, items: &[CoarseInputs]) -> Result<(Tensor, Tensor)> {
        let (count, side, n) = (self.cells.count(), self.cells.side, items.len());
        let (stride, channels) = (Self::inputs(&self.cells), self.cells.channels);
        let mut values = Vec::with_capacity(count * stride * n);
        for cell in 0..count {
            for item in items {
                values.extend_from_slice(&item.values[cell * stride..(cell + 1) * stride]);
            }
        }
        let inputs = Tensor::from_vec(values, (side, side, n, stride), &self.device)?;
        let globals: Vec<f32> = items.iter().flat_map(|i| i.globals.iter().copied()).collect();
        let globals = Tensor::from_vec(globals, (n, items.first().map_or(0, |i| i.globals.len())), &self.device)?;
        let embedding = self.embed[1].forward(&self.embed[0].forward(&globals)?.silu()?)?.silu()?;
        let through = |blocks: &[Residual], x: Tensor| blocks.iter().try_fold(x, |x, b| b.forward(&x, &embedding));
        let fine = through(&self.fine_in, self.enter.forward(&inputs)?)?;
        let x = through(&self.middle_in, self.down.forward(&fine)?)?;
        let x = through(&self.middle_out, self.attention.forward(&x)?)?;
        let scalars = self.scalars.forward(&x.mean((0, 1))?)?;
        let x = self.merge.forward(&Tensor::cat(&[&self.up.forward(&x)?, &fine], 3)?)?;
        let x = through(&self.fine_out, x)?;
        let told = inputs.narrow(3, stride - channels, channels)?;
        let added = self.leave.forward(&self.norm.forward_swish(&x)?)?;
        let scale = items.iter().flat_map(|i| i.open.iter().zip(&i.trust).map(|(open, trust)| open * trust));
        let scale = Tensor::from_vec(scale.collect::<Vec<f32>>(), (1, 1, n, channels), &self.device)?;
        let about = added.broadcast_sub(&added.mean_keepdim((0, 1))?)?;
        let data = (told + about.broadcast_mul(&scale)?)?;
        Ok((data, scalars))
    }

    /// Puts what exemplars tell in the place of what was predicted, for all that is drawn from them. All are scaled latents.
    fn follow_exemplars(
        &self,
        noisy: &[Vec<f32>],
        levels: &[Level],
        known: &[Option<KnownCells>],
        predicted: &mut [Vec<f32>],
    ) -> Result<()> {
        let Some(exemplars) = &self.exemplars else { return Ok(()) };
        let standardised = |i: usize| noisy[i].iter().map(|v| v / self.deviation(i) as f32).collect::<Vec<f32>>();
        let unscaled = |i: usize| if self.table[i].is_scalar() { noisy[i].clone() } else { standardised(i) };
        let given = (0..self.table.len()).map(|i| (levels[i] == Level::GIVEN).then(|| unscaled(i))).collect::<Vec<_>>();
        let sampled: Vec<bool> = levels.iter().map(|l| *l != Level::GIVEN && *l != Level::ABSENT).collect();
        let Some(conditions) = exemplars.conditions(Wanted { given, sampled })? else { return Ok(()) };
        let count = self.cells.count();
        let (mut state, mut noise) = (Vec::new(), Vec::new());
        for &(i, _) in conditions.drawn() {
            let full = (levels[i].signal * self.deviation(i)) as f32;
            let deviation = levels[i].noise as f32 / full;
            let known = known.get(i).and_then(Option::as_ref);
            for (at, v) in noisy[i].iter().enumerate() {
                let known = known.filter(|known| known.mask.at(at % count));
                state.push(known.map_or(v / full, |known| known.latent[at] / self.deviation(i) as f32));
                noise.push(known.map_or(deviation, |_| ALIKE_KNOWN));
            }
        }
        let told = conditions.tell(&State { noisy: &state, noise: &noise })?;
        for &(i, first) in conditions.drawn() {
            let own = &told.values[first * count..first * count + predicted[i].len()];
            predicted[i] = own.iter().map(|v| v * self.deviation(i) as f32).collect();
        }
        Ok(())
    }

    /// Scaled latents of one item from the network's answer `(row, column, channels)` and `(3 · scalars)`.
    pub fn latents(&self, data: &[f32], scalars: &[f32]) -> Vec<Vec<f32>> {
        let count = self.cells.count();
        let mut scalars = scalars.chunks_exact(3);
        let of = |(i, part): (usize, &Option<Part>)| match part {
            None => scalars.next().map_or_else(Vec::new, <[f32]>::to_vec),
            Some(part) => {
                let scale = self.deviation(i) as f32;
                let channel =
                    |c: usize| (0..count).map(move |cell| data[cell * self.cells.channels + part.first + c] * scale);
                (0..part.latent).flat_map(channel).collect()
            }
        };
        self.cells.parts.iter().enumerate().map(of).collect()
    }
}

impl NoisePredictor for Coarse {
    fn table(&self) -> &ModalityTable {
        &self.table
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn takes_known(&self) -> bool {
        true
    }

    fn noise(&self, latents: &[Tensor], times: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        self.noise_knowing(latents, times, &[])
    }

    fn noise_knowing(&self, latents: &[Tensor], times: &[Vec<f32>], known: &[Option<Known>]) -> Result<Vec<Tensor>> {
        let side = self.cells.side;
        let cells = |known: &Option<Known>| -> Result<Option<KnownCells>> {
            let Some((latent, set)) = known.as_ref().map(Known::as_cells).transpose()? else {
                return Ok(None);
            };
            Ok(Some(KnownCells { mask: Mask::from_fn(side, side, |cell| set[cell] > 0.5), latent }))
        };
        let known: Vec<Option<KnownCells>> = known.iter().map(cells).collect::<Result<_>>()?;
        let batch = check_inputs(&self.table, latents, times)?;
        let flat = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?) };
        let noisy: Vec<Vec<f32>> = latents.iter().map(flat).collect::<Result<_>>()?;
        let size = |i: usize| noisy[i].len() / batch.max(1);
        let item = |i: usize, k: usize| noisy[i][k * size(i)..(k + 1) * size(i)].to_vec();
        let items: Vec<(Vec<Vec<f32>>, Vec<Level>)> = (0..batch)
            .map(|k| {
                let own = (0..self.table.len()).map(|i| item(i, k)).collect();
                (own, times.iter().map(|t| self.level(t[k])).collect())
            })
            .collect();
        let inputs: Vec<CoarseInputs> =
            items.iter().map(|(own, levels)| self.prepare(own, levels, &known)).collect::<Result<_>>()?;
        let (data, scalars) = self.predict(&inputs)?;
        let mut noise: Vec<Vec<f32>> = vec![Vec::new(); self.table.len()];
        for k in 0..batch {
            let data = flat(&data.narrow(2, k, 1)?)?;
            let mut predicted = self.latents(&data, &flat(&scalars.get(k)?)?);
            let (own, levels) = &items[k];
            self.follow_exemplars(own, levels, &known, &mut predicted)?;
            for ((i, predicted), times) in predicted.iter().enumerate().zip(times) {
                let t = f64::from(times[k]) / TRAIN_STEPS as f64;
                let (signal, part) = (self.schedule.alpha(t) as f32, self.schedule.sigma(t) as f32);
                // Of what is given nobody asks for the noise.
                let of = |(x, d): (&f32, &f32)| if t > 0.0 { (x - signal * d) / part } else { 0.0 };
                noise[i].extend(own[i].iter().zip(predicted).map(of));
            }
        }
        let tensor = |(values, like): (Vec<f32>, &Tensor)| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, like.shape(), &self.device)?.to_dtype(like.dtype())?)
        };
        noise.into_iter().zip(latents).map(tensor).collect()
    }
}
