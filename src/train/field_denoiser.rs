//! Training of what a Gaussian field leaves to the network: its corrections, over scenes that lack some modalities.
//!
//! A loss of 1 is the field alone; what the network explains of the rest lowers it.

use super::augment::Augmentation;
use super::autoencoder::normal;
use super::denoiser::{ITEMS_TOGETHER, Item, State, draw_items};
use super::recipe::Recipe;
use super::steps::Task;
use super::windows::{Windows, turned_value};
use crate::error::Result;
use crate::modality::{ModalityTable, Value, to_network};
use crate::model::field::{FieldDenoiser, Inputs, Level};
use crate::sampler::{Purpose, Stream};
use candle_core::Tensor;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// How often the expected squared error of the field an item may weigh.
const MOST_EXCESS: f32 = 4.0;

/// Windows the validation loss is taken over.
const VALIDATION_ITEMS: usize = 64;

/// The task; its denoiser holds the parameters under training.
pub struct FieldTask<'a> {
    recipe: &'a Recipe,
    table: ModalityTable,
    denoiser: FieldDenoiser,
    cache: Vec<Vec<Option<Value>>>,
    validation: Vec<Vec<Option<Value>>>,
    augmentation: Augmentation,
    /// Weight of each feature of a place: in proportion to the deviation it stands for, 1 on average per modality.
    weights: Vec<f32>,
}

impl<'a> FieldTask<'a> {
    /// Draws the windows to train and validate on.
    ///
    /// # Errors
    /// When scenes cannot be read.
    pub fn new(
        recipe: &'a Recipe,
        table: &ModalityTable,
        denoiser: FieldDenoiser,
        scenes: &std::path::Path,
    ) -> Result<Self> {
        let generator = |tile: &str| {
            let purpose = Purpose::Training { step: u64::MAX };
            Stream { seed: recipe.seed, tile, realisation: 0, modality: "", purpose }.generator()
        };
        let draw = |held_out: bool, count: usize| -> Result<Vec<Vec<Option<Value>>>> {
            let windows = Windows::open(scenes, table, &recipe.data, held_out)?.without_turns();
            let mut generator = generator(if held_out { "held out" } else { "denoiser" });
            (0..count).map(|_| windows.draw(&mut generator, None)).collect()
        };
        let cache = draw(false, recipe.denoiser.cached_windows)?;
        let validation = if recipe.data.held_out.is_empty() { Vec::new() } else { draw(true, VALIDATION_ITEMS)? };
        let weights = weights(&denoiser);
        Ok(Self {
            recipe,
            table: table.clone(),
            denoiser,
            cache,
            validation,
            augmentation: Augmentation::new(&recipe.data, table),
            weights,
        })
    }

    /// Inputs, targets and weights of one item.
    fn prepare(&self, values: &[Option<Value>], item: &Item) -> Result<(Inputs, Target)> {
        let mut generator = ChaCha12Rng::seed_from_u64(item.seed);
        let (field, places) = (self.denoiser.statistics(), self.denoiser.places());
        let (mut clean, mut noisy, mut levels) = (Vec::new(), Vec::new(), Vec::new());
        for (i, m) in self.table.iter().enumerate() {
            let noise = normal(m.latent.iter().product(), &mut generator);
            let Some(value) = &values[i] else {
                clean.push(Vec::new());
                noisy.push(noise);
                levels.push(self.denoiser.level(crate::model::TRAIN_STEPS as f32));
                continue;
            };
            let mut latent = to_network(m, value)?;
            field.whiten(i, &mut latent);
            let level = match item.states[i] {
                State::Absent => self.denoiser.level(crate::model::TRAIN_STEPS as f32),
                State::Given => Level { signal: 1.0, noise: 0.0 },
                State::Noised(n) => self.denoiser.level(n as f32),
            };
            let (signal, part) = (level.signal as f32, level.noise as f32);
            noisy.push(match item.states[i] {
                State::Absent => noise,
                _ => latent.iter().zip(&noise).map(|(x, n)| signal * x + part * n).collect(),
            });
            clean.push(latent);
            levels.push(level);
        }
        let inputs = self.denoiser.prepare(&noisy, &levels)?;
        let counted: Vec<usize> = (0..self.table.len())
            .filter(|&i| values[i].is_some() && matches!(item.states[i], State::Noised(_)))
            .collect();
        let mut target = Target {
            places: vec![0.0; places.count() * places.features],
            place_weights: vec![0.0; places.features],
            scalars: Vec::new(),
            scalar_weights: Vec::new(),
        };
        let share = 1.0 / counted.len().max(1) as f32;
        for (i, part) in places.parts.iter().enumerate() {
            let counts = counted.contains(&i);
            let missing: Vec<f32> = if counts {
                clean[i].iter().zip(&inputs.estimate[i]).map(|(a, b)| a - b).collect()
            } else {
                vec![0.0; inputs.estimate[i].len()]
            };
            match part {
                Some(part) if counts => {
                    places.gather(i, &missing, &mut target.places, places.features);
                    let own = part.first..part.first + part.len();
                    let each = share / (places.count() * part.len()) as f32;
                    target.place_weights[own.clone()].copy_from_slice(&self.weights[own.clone()]);
                    target.place_weights[own].iter_mut().for_each(|w| *w *= each);
                }
                Some(_) => {}
                None => {
                    let at = target.scalars.len();
                    target.scalars.extend(missing.iter().zip(&inputs.scalar_scale[at..]).map(|(v, s)| v / s));
                    target.scalar_weights.extend([if counts { share / 3.0 } else { 0.0 }; 3]);
                }
            }
        }
        for (value, scale) in target.places.iter_mut().zip(inputs.scale.iter().cycle()) {
            *value /= scale;
        }
        // Where the field is far off its own deviation (a cloud that nothing announces), one window would outweigh all
        // others of its step.
        for part in places.parts.iter().flatten() {
            let own = part.first..part.first + part.len();
            let rows = target.places.chunks_exact(places.features);
            let square: f32 = rows.map(|row| row[own.clone()].iter().map(|v| v * v).sum::<f32>()).sum();
            let excess = square / (places.count() * part.len()) as f32 / MOST_EXCESS;
            target.place_weights[own].iter_mut().for_each(|w| *w /= excess.max(1.0));
        }
        Ok((inputs, target))
    }

    fn loss_of(&self, items: &[(&[Option<Value>], &Item)], divisor: f64) -> Result<Tensor> {
        let (inputs, targets): (Vec<Inputs>, Vec<Target>) = items
            .iter()
            .map(|(values, item)| self.prepare(values, item))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let (places, scalars) = self.denoiser.correct(&inputs)?;
        let stack = |part: &dyn Fn(&Target) -> &[f32], shape: &[usize]| -> Result<Tensor> {
            let data: Vec<f32> = targets.iter().flat_map(|t| part(t).iter().copied()).collect();
            Ok(Tensor::from_vec(data, shape, places.device())?)
        };
        let (b, n, features) = places.dims3()?;
        let error = (&places - stack(&|t| &t.places, &[b, n, features])?)?.sqr()?;
        let error = error.broadcast_mul(&stack(&|t| &t.place_weights, &[b, 1, features])?)?.sum_all()?;
        let three = scalars.dim(1)?;
        let scalar_error = (&scalars - stack(&|t| &t.scalars, &[b, three])?)?.sqr()?;
        let scalar_error = (scalar_error * stack(&|t| &t.scalar_weights, &[b, three])?)?.sum_all()?;
        Ok(((error + scalar_error)? / divisor)?)
    }
}

impl Task for FieldTask<'_> {
    type Part = Vec<Item>;

    fn draw(&self, step: u64) -> Result<Vec<Vec<Item>>> {
        let purpose = Purpose::Training { step };
        let stream = Stream { seed: self.recipe.seed, tile: "denoiser", realisation: 0, modality: "", purpose };
        let mut items = draw_items(
            &self.table,
            self.cache.len(),
            &|window, i| self.cache[window][i].is_some(),
            &self.recipe.denoiser,
            &mut stream.generator(),
        );
        let mut parts = Vec::new();
        while !items.is_empty() {
            parts.push(items.drain(..ITEMS_TOGETHER.min(items.len())).collect());
        }
        Ok(parts)
    }

    fn loss(&self, part: &Vec<Item>) -> Result<Tensor> {
        let optimiser = &self.recipe.denoiser.optimiser;
        let augmented = |item: &Item| -> Vec<Option<Value>> {
            let mut values = self.cache[item.window].clone();
            // Before turning: the sun knows where north is.
            self.augmentation.apply(&mut values, item.seed);
            if self.recipe.data.turns {
                values.iter_mut().flatten().for_each(|value| *value = turned_value(value, item.turn));
            }
            values
        };
        let values: Vec<Vec<Option<Value>>> = part.iter().map(augmented).collect();
        let items: Vec<(&[Option<Value>], &Item)> = values.iter().map(Vec::as_slice).zip(part).collect();
        self.loss_of(&items, (optimiser.batch * optimiser.accumulation) as f64)
    }

    fn validation(&self) -> Result<Option<f64>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let purpose = Purpose::Training { step: 0 };
        let stream = Stream { seed: self.recipe.seed, tile: "validation", realisation: 0, modality: "", purpose };
        let mut items = Vec::new();
        let mut generator = stream.generator();
        for (window, values) in self.validation.iter().enumerate() {
            let present = |_: usize, i: usize| values[i].is_some();
            let mut drawn = draw_items(&self.table, 1, &present, &self.recipe.denoiser, &mut generator);
            drawn.truncate(1);
            items.extend(drawn.into_iter().map(|item| Item { window, ..item }));
        }
        let parts: Vec<&[Item]> = items.chunks(ITEMS_TOGETHER).collect();
        let losses = crate::lanes::side_by_side(&parts, |part| {
            let items: Vec<(&[Option<Value>], &Item)> =
                part.iter().map(|item| (self.validation[item.window].as_slice(), item)).collect();
            Ok(f64::from(self.loss_of(&items, self.validation.len() as f64)?.to_scalar::<f32>()?))
        })?;
        Ok(Some(losses.iter().sum()))
    }
}

struct Target {
    places: Vec<f32>,
    place_weights: Vec<f32>,
    scalars: Vec<f32>,
    scalar_weights: Vec<f32>,
}

fn weights(denoiser: &FieldDenoiser) -> Vec<f32> {
    let (field, places) = (denoiser.statistics(), denoiser.places());
    let mut weights = vec![0.0; places.features];
    for (i, part) in places.parts.iter().enumerate() {
        let Some(part) = part else { continue };
        let first = field.layout.parts[i].first;
        let own = &mut weights[part.first..part.first + part.len()];
        for (k, weight) in own.iter_mut().enumerate() {
            let (channel, row, column) = (k / (part.kept * part.kept), k / part.kept % part.kept, k % part.kept);
            *weight = field.deviation_at(first + channel, places.radius(row, column)) as f32;
        }
        let mean = own.iter().sum::<f32>() / own.len() as f32;
        own.iter_mut().for_each(|w| *w /= mean);
    }
    weights
}
