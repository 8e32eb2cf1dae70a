//! The denoiser of a Gaussian field: its estimate, corrected by a transformer over places, then by convolutions.

use super::local::{Block as Channels, CellGrid, Local};
use super::places::Places;
use super::posterior::{Estimate, Level, Posterior};
use super::statistics::Statistics;
use crate::error::Result;
use crate::modality::ModalityTable;
use crate::model::denoiser::{Blocks, NoisePredictor, check_inputs};
use crate::model::layers::{LayerNorm, Projection, linear, linear_from};
use crate::model::manifest::DenoiserSizes;
use crate::model::parameters::{Init, Parameters, Scope};
use crate::model::schedule::{Schedule, TRAIN_STEPS};
use candle_core::{DType, Device, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// Corrections are in units of the deviation the linear estimate leaves, but of at least this much of what a latent
/// varies by.
const LEAST_DEVIATION: f32 = 0.03;

/// Estimates the data as a Gaussian field would, and adds what a network has learned that is not Gaussian.
#[derive(Debug)]
pub struct FieldDenoiser {
    table: ModalityTable,
    statistics: Statistics,
    places: Places,
    schedule: Schedule,
    network: Network,
    local: Option<(CellGrid, Local)>,
    device: Device,
    /// The posterior of the last levels: all realisations of an evaluation share it.
    last: Mutex<Option<(Vec<Level>, Arc<Posterior>)>>,
}

/// One item, prepared for the network.
#[derive(Debug)]
pub struct Inputs {
    /// Linear estimate of every modality's latent.
    pub estimate: Vec<Vec<f32>>,
    /// `(places, 2 · features)`: of the noisy latents and of the estimate.
    pub features: Vec<f32>,
    /// Levels of all modalities. Not the scalars: from a few places a network would learn each by heart.
    pub globals: Vec<f32>,
    /// Size of a correction of 1: per feature of a place.
    pub scale: Vec<f32>,
    /// The same for the scalars, three each.
    pub scalar_scale: Vec<f32>,
    /// What the field leaves uncertain, per radial bin and channel.
    pub deviation: Vec<Vec<f32>>,
}

/// One item, prepared for the second network.
#[derive(Debug, Default)]
pub struct LocalInputs {
    /// `(row, column, 2 · grid channels)`: noisy latents and estimates, of about 1.
    pub values: Vec<f32>,
    /// Levels of all modalities. Not the scalars: from a few places a network would learn each by heart.
    pub globals: Vec<f32>,
    /// Size of a correction of 1, by modality.
    pub scale: Vec<f32>,
}

impl FieldDenoiser {
    /// Builds it from its statistics and the network's parameters.
    ///
    /// # Errors
    /// When the sizes do not fit together or a parameter is missing or misshapen.
    pub fn new(
        table: &ModalityTable,
        sizes: &DenoiserSizes,
        statistics: Statistics,
        source: &mut dyn Parameters,
        device: &Device,
    ) -> Result<Self> {
        let places = Places::new(table, &statistics.layout)?;
        let scalars = table.iter().filter(|m| m.is_scalar()).count();
        let network = Network::new(sizes, &places, table.len(), scalars, source)?;
        let local = match &sizes.local {
            None => None,
            Some(local) => {
                let grid = CellGrid::new(table, &statistics.layout)?;
                let network = Local::new(local, &grid, 2 * table.len(), source, device)?;
                Some((grid, network))
            }
        };
        Ok(Self {
            table: table.clone(),
            statistics,
            places,
            schedule: Schedule::new(),
            network,
            local,
            device: device.clone(),
            last: Mutex::default(),
        })
    }

    /// The statistics of its field.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Its places.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Signal and noise at a network time; time 0 is "given".
    pub fn level(&self, time: f32) -> Level {
        if time <= 0.0 {
            return Level { signal: 1.0, noise: 0.0 };
        }
        let t = f64::from(time) / TRAIN_STEPS as f64;
        Level { signal: self.schedule.alpha(t), noise: self.schedule.sigma(t) }
    }

    fn posterior(&self, levels: &[Level]) -> Result<Arc<Posterior>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, posterior)) = last.filter(|(of, _)| of == levels) {
            return Ok(posterior);
        }
        let posterior = Arc::new(Posterior::new(&self.statistics, levels)?);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((levels.to_vec(), posterior.clone()));
        Ok(posterior)
    }

    /// Linear estimate and network inputs of one item: noisy latents by modality, each with its level.
    ///
    /// # Errors
    /// When the statistics are no covariance.
    pub fn prepare(&self, noisy: &[Vec<f32>], levels: &[Level]) -> Result<Inputs> {
        let layout = &self.statistics.layout;
        let posterior = self.posterior(levels)?;
        let cosines = self.statistics.cosines();
        let mut coefficients = noisy.to_vec();
        for (values, part) in coefficients.iter_mut().zip(&layout.parts) {
            cosines.forward(values, part.side);
        }
        let Estimate { coefficients: mut estimate, shares } = posterior.estimate(layout, &coefficients);
        let deviation = posterior.deviation(&shares);
        for (values, part) in estimate.iter_mut().zip(&layout.parts) {
            cosines.inverse(values, part.side);
        }
        let stride = 2 * self.places.features;
        let mut features = vec![0.0; self.places.count() * stride];
        let (mut scale, mut scalar_scale) = (vec![1.0; self.places.features], Vec::new());
        for (i, part) in self.places.parts.iter().enumerate() {
            let stack = layout.stack(i);
            let Some(part) = part else {
                let unit = super::Layout::gain(0) as f32;
                scalar_scale.extend(stack.map(|c| deviation[0][c].max(LEAST_DEVIATION * unit)));
                continue;
            };
            self.places.gather(i, &noisy[i], &mut features, stride);
            self.places.gather(i, &estimate[i], &mut features[self.places.features..], stride);
            for k in 0..part.size() {
                let (channel, row, column) = (k / (part.kept * part.kept), k / part.kept % part.kept, k % part.kept);
                let bin = super::Layout::bin(self.places.radius(row, column));
                let unit = super::Layout::gain(bin) as f32;
                scale[part.first + k] = deviation[bin][stack.start + channel].max(LEAST_DEVIATION * unit);
                // The network sees values of about 1 at all scales and levels.
                let variance = (levels[i].signal as f32 * unit).powi(2) + (levels[i].noise as f32).powi(2);
                for place in features.chunks_exact_mut(stride) {
                    place[part.first + k] /= variance.sqrt();
                    place[self.places.features + part.first + k] /= unit;
                }
            }
        }
        Ok(Inputs { estimate, features, globals: numbers(levels), scale, scalar_scale, deviation })
    }

    /// Corrections in units of [`Inputs::scale`]: `(batch, places, features)` and `(batch, 3 · scalars)`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn correct(&self, items: &[&Inputs]) -> Result<(Tensor, Tensor)> {
        let stack = |part: &dyn Fn(&Inputs) -> &[f32], shape: &[usize]| -> Result<Tensor> {
            let data: Vec<f32> = items.iter().flat_map(|item| part(item).iter().copied()).collect();
            Ok(Tensor::from_vec(data, shape, &self.device)?)
        };
        let places = self.places.count();
        let features = stack(&|i| &i.features, &[items.len(), places, 2 * self.places.features])?;
        let globals = stack(&|i| &i.globals, &[items.len(), items.first().map_or(0, |i| i.globals.len())])?;
        self.network.forward(&features, &globals)
    }

    /// The second network, if there is one, and the grid it works on.
    pub fn local(&self) -> Option<&(CellGrid, Local)> {
        self.local.as_ref()
    }

    /// What the second network sees of one item: noisy latents, the estimate the first network corrected, and
    /// [`Inputs::deviation`].
    pub fn refine_inputs(
        &self,
        noisy: &[Vec<f32>],
        estimate: &[Vec<f32>],
        levels: &[Level],
        deviation: &[Vec<f32>],
    ) -> LocalInputs {
        let Some((grid, _)) = &self.local else { return LocalInputs::default() };
        let layout = &self.statistics.layout;
        let stride = 2 * grid.channels;
        let mut values = vec![0.0; grid.side * grid.side * stride];
        let mut scale = Vec::new();
        for (i, part) in layout.parts.iter().enumerate() {
            let unit = self.unit(i);
            let variance = (levels[i].signal as f32 * unit).powi(2) + (levels[i].noise as f32).powi(2);
            let mut slot = Channels { values: &mut values, stride, offset: 0 };
            grid.put(layout, i, &noisy[i], 1.0 / variance.sqrt(), &mut slot);
            slot.offset = grid.channels;
            grid.put(layout, i, &estimate[i], 1.0 / unit, &mut slot);
            // What the field leaves, over all frequencies and channels.
            let count = |group: &&super::FrequencyGroup| group.modalities.contains(&i);
            let left: f64 = layout
                .groups
                .iter()
                .filter(count)
                .map(|group| {
                    let own = deviation[group.bin][layout.stack(i)].iter();
                    let mean = own.map(|d| f64::from(*d).powi(2)).sum::<f64>() / part.channels as f64;
                    mean * group.frequencies.len() as f64
                })
                .sum();
            scale.push(((left / (part.side * part.side) as f64).sqrt() as f32).max(LEAST_DEVIATION * unit));
        }
        LocalInputs { values, globals: numbers(levels), scale }
    }

    /// Standard deviation of a modality's latent, from the gains of its frequencies.
    fn unit(&self, modality: usize) -> f32 {
        let layout = &self.statistics.layout;
        let part = &layout.parts[modality];
        let own = layout.groups.iter().filter(|g| g.modalities.contains(&modality));
        let power: f64 = own.map(|g| super::Layout::gain(g.bin).powi(2) * g.frequencies.len() as f64).sum();
        (power / (part.side * part.side) as f64).sqrt() as f32
    }

    /// Corrections of the second network in units of [`LocalInputs::scale`]: `(row, column, item, corrected channels)`.
    ///
    /// # Errors
    /// When there is none or the device fails.
    pub fn refine(&self, items: &[LocalInputs]) -> Result<Tensor> {
        let (grid, network) =
            self.local.as_ref().ok_or_else(|| crate::Error::Compute("There is no local network.".into()))?;
        let (cells, stride, n) = (grid.side * grid.side, 2 * grid.channels, items.len());
        let mut values = Vec::with_capacity(cells * stride * n);
        for cell in 0..cells {
            for item in items {
                values.extend_from_slice(&item.values[cell * stride..(cell + 1) * stride]);
            }
        }
        let x = Tensor::from_vec(values, (grid.side, grid.side, n, stride), &self.device)?;
        let globals: Vec<f32> = items.iter().flat_map(|i| i.globals.iter().copied()).collect();
        let globals = Tensor::from_vec(globals, (n, items.first().map_or(0, |i| i.globals.len())), &self.device)?;
        network.forward(&x, &globals)
    }

    /// Mean of each channel of a measured modality; none for classes. How the levels of channels go together differs from
    /// place to place, and of places a network has seen few: there the field's word stands.
    fn levels(&self, modality: usize, values: &[f32]) -> Vec<f32> {
        let side = self.statistics.layout.parts[modality].side;
        if self.table[modality].classes().is_some() {
            return Vec::new();
        }
        values.chunks_exact(side * side).map(mean).collect()
    }

    /// Gives channels these means again.
    fn restore(&self, modality: usize, values: &mut [f32], levels: &[f32]) {
        let side = self.statistics.layout.parts[modality].side;
        for (channel, level) in values.chunks_exact_mut(side * side).zip(levels) {
            let shift = level - mean(channel);
            channel.iter_mut().for_each(|v| *v += shift);
        }
    }

    /// The estimate with corrections added, by modality; measured channels keep their means.
    pub fn corrected(&self, inputs: Inputs, places: &[f32], scalars: &[f32]) -> Vec<Vec<f32>> {
        let scaled: Vec<f32> = places.iter().zip(inputs.scale.iter().cycle()).map(|(v, s)| v * s).collect();
        let mut scalars = scalars.iter().zip(&inputs.scalar_scale).map(|(v, s)| v * s);
        let mut data = inputs.estimate;
        for (i, (values, part)) in data.iter_mut().zip(&self.places.parts).enumerate() {
            match part {
                Some(_) => {
                    let levels = self.levels(i, values);
                    self.places.scatter(i, &scaled, self.places.features, values);
                    self.restore(i, values, &levels);
                }
                None => values.iter_mut().zip(&mut scalars).for_each(|(v, c)| *v += c),
            }
        }
        data
    }
}

impl NoisePredictor for FieldDenoiser {
    fn table(&self) -> &ModalityTable {
        &self.table
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn noise(&self, latents: &[Tensor], times: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        let batch = check_inputs(&self.table, latents, times)?;
        let mut noise: Vec<Vec<f32>> = vec![Vec::new(); self.table.len()];
        for item in 0..batch {
            let flat = |l: &Tensor| -> Result<Vec<f32>> { Ok(l.get(item)?.flatten_all()?.to_vec1::<f32>()?) };
            let noisy: Vec<Vec<f32>> = latents.iter().map(flat).collect::<Result<_>>()?;
            let levels: Vec<Level> = times.iter().map(|t| self.level(t[item])).collect();
            let inputs = self.prepare(&noisy, &levels)?;
            let (places, scalars) = self.correct(&[&inputs])?;
            let flat = |t: Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?) };
            let deviation = inputs.deviation.clone();
            let mut data = self.corrected(inputs, &flat(places)?, &flat(scalars)?);
            if let Some((grid, _)) = &self.local {
                let inputs = self.refine_inputs(&noisy, &data, &levels, &deviation);
                let correction = flat(self.refine(std::slice::from_ref(&inputs))?)?;
                for (i, values) in data.iter_mut().enumerate() {
                    let levels = self.levels(i, values);
                    grid.add(&self.statistics.layout, i, &correction, inputs.scale[i], values);
                    self.restore(i, values, &levels);
                }
            }
            for (i, level) in levels.iter().enumerate() {
                // A given value has no noise in it.
                let (signal, part) =
                    (level.signal as f32, if level.noise > 0.0 { 1.0 / level.noise as f32 } else { 0.0 });
                noise[i].extend(noisy[i].iter().zip(&data[i]).map(|(x, d)| (x - signal * d) * part));
            }
        }
        let shaped = |(values, m): (Vec<f32>, &crate::modality::Modality)| {
            let [c, h, w] = m.latent;
            Ok(Tensor::from_vec(values, (batch, c, h, w), &self.device)?)
        };
        noise.into_iter().zip(self.table.iter()).map(shaped).collect()
    }
}

fn mean(values: &[f32]) -> f32 {
    (values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len().max(1) as f64) as f32
}

/// Levels as a network sees them.
fn numbers(levels: &[Level]) -> Vec<f32> {
    levels.iter().flat_map(|l| [l.signal as f32, l.noise as f32]).collect()
}

/// The published blocks (specification D.3) over one token per place.
#[derive(Debug)]
struct Network {
    embed: Projection,
    embed_globals: Projection,
    positions: Tensor,
    blocks: Blocks,
    norm: LayerNorm,
    head: Projection,
    scalar_head: Projection,
}

impl Network {
    fn new(
        sizes: &DenoiserSizes,
        places: &Places,
        modalities: usize,
        scalars: usize,
        source: &mut dyn Parameters,
    ) -> Result<Self> {
        sizes.check()?;
        let root = &mut Scope::root(source);
        let width = sizes.width;
        Ok(Self {
            embed: linear(&mut root.at("embed"), 2 * places.features, width, true)?,
            embed_globals: linear(&mut root.at("embed_globals"), 2 * modalities, width, true)?,
            positions: root.get("pos_embed", &[1, places.count(), width], Init::Normal(0.02))?,
            blocks: Blocks::new(root, sizes)?,
            norm: LayerNorm::new(&mut root.at("norm"), width)?,
            // It begins as no correction at all.
            head: linear_from(&mut root.at("head"), width, places.features, true, Init::Zeros)?,
            scalar_head: linear_from(&mut root.at("scalar_head"), width, 3 * scalars, true, Init::Zeros)?,
        })
    }

    fn forward(&self, features: &Tensor, globals: &Tensor) -> Result<(Tensor, Tensor)> {
        let globals = self.embed_globals.forward(globals)?.unsqueeze(1)?;
        let x = self.embed.forward(features)?.broadcast_add(&self.positions)?.broadcast_add(&globals)?;
        let x = self.blocks.forward(x)?;
        let x = self.norm.forward(&x)?;
        Ok((self.head.forward(&x)?, self.scalar_head.forward(&x.mean(1)?)?))
    }
}
