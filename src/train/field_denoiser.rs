//! Training of what a Gaussian field leaves to the networks: their corrections, over scenes that lack some modalities.
//!
//! The field alone has a loss of about 1; what the networks explain of the rest lowers it.

use super::augment::Augmentation;
use super::autoencoder::normal;
use super::holes::{counted, counts, told, valid};
use super::items::{ITEMS_TOGETHER, Item, State, draw_items};
use super::recipe::Recipe;
use super::split::Use;
use super::steps::Task;
use super::windows::{Windows, turned_value};
use crate::error::Result;
use crate::modality::{Mask, ModalityTable, Value, to_network};
use crate::model::field::{Block, FieldDenoiser, Inputs, Level};
use crate::parallel;
use crate::sampler::training_generator;
use candle_core::Tensor;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// How often the expected squared error of the field an item may weigh.
const MOST_EXCESS: f32 = 4.0;

/// Windows the validation loss is taken over.
const VALIDATION_ITEMS: usize = 64;

/// The task; its denoiser holds the parameters under training.
pub(super) struct FieldTask<'a> {
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
    pub(super) fn new(
        recipe: &'a Recipe,
        table: &ModalityTable,
        denoiser: FieldDenoiser,
        scenes: &std::path::Path,
    ) -> Result<Self> {
        let generator = |tile: &str| training_generator(recipe.seed, tile, "", u64::MAX);
        let draw = |held_out: bool, count: usize| -> Result<Vec<Vec<Option<Value>>>> {
            let windows =
                match Windows::open(scenes, table, &recipe.data, if held_out { Use::Validation } else { Use::Train }) {
                    // Nothing held out lies here: the training goes on without validation.
                    Err(error) if held_out => {
                        tracing::warn!("no validation: {error}");
                        return Ok(Vec::new());
                    }
                    windows => windows?.without_turns(),
                };
            let mut generator = generator(if held_out { "held out" } else { "denoiser" });
            (0..count).map(|_| windows.draw(&mut generator, None)).collect()
        };
        let cache = draw(false, recipe.denoiser.cached_windows)?;
        let validation = draw(true, VALIDATION_ITEMS)?;
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
    fn prepare(&self, values: &[Option<Value>], item: &Item) -> Result<Prepared> {
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
        let scored: Vec<usize> = (0..self.table.len())
            .filter(|&i| values[i].is_some() && matches!(item.states[i], State::Noised(_)))
            .collect();
        let valid: Vec<Option<Mask>> = values.iter().map(|value| value.as_ref().and_then(valid).cloned()).collect();
        let mut target = Target {
            places: vec![0.0; places.count() * places.features],
            place_weights: vec![0.0; places.count() * places.features],
            scalars: Vec::new(),
            scalar_weights: Vec::new(),
        };
        let share = 1.0 / scored.len().max(1) as f32;
        for (i, part) in places.parts.iter().enumerate() {
            let is_scored = scored.contains(&i);
            let missing: Vec<f32> = if is_scored {
                clean[i].iter().zip(&inputs.estimate[i]).map(|(a, b)| a - b).collect()
            } else {
                vec![0.0; inputs.estimate[i].len()]
            };
            match part {
                Some(part) if is_scored => {
                    places.gather(i, &missing, &mut target.places, places.features);
                    let own = part.first..part.first + part.size();
                    // Places with pixels that say nothing have no truth.
                    let told = values[i].as_ref().and_then(|value| told(value, places.per_side));
                    let each = share / (counted(told.as_ref(), places.count()).max(1) * part.size()) as f32;
                    for (place, weights) in target.place_weights.chunks_exact_mut(places.features).enumerate() {
                        if counts(told.as_ref(), place) {
                            weights[own.clone()].copy_from_slice(&self.weights[own.clone()]);
                            weights[own.clone()].iter_mut().for_each(|w| *w *= each);
                        }
                    }
                }
                Some(_) => {}
                None => {
                    let at = target.scalars.len();
                    target.scalars.extend(missing.iter().zip(&inputs.scalar_scale[at..]).map(|(v, s)| v / s));
                    target.scalar_weights.extend([if is_scored { share / 3.0 } else { 0.0 }; 3]);
                }
            }
        }
        for (value, scale) in target.places.iter_mut().zip(inputs.scale.iter().cycle()) {
            *value /= scale;
        }
        // Where the field is far off its own deviation (a cloud that nothing announces), one window would outweigh all
        // others of its step.
        for part in places.parts.iter().flatten() {
            let own = part.first..part.first + part.size();
            let weights = target.place_weights.chunks_exact(places.features);
            let rows = target.places.chunks_exact(places.features).zip(weights);
            let told = rows.filter(|(_, weights)| weights[part.first] > 0.0).map(|(row, _)| &row[own.clone()]);
            let (mut square, mut count) = (0.0, 0);
            for row in told {
                square += row.iter().map(|v| v * v).sum::<f32>();
                count += row.len();
            }
            let excess = square / count.max(1) as f32 / MOST_EXCESS;
            for weights in target.place_weights.chunks_exact_mut(places.features) {
                weights[own.clone()].iter_mut().for_each(|w| *w /= excess.max(1.0));
            }
        }
        Ok(Prepared { inputs, target, noisy, clean, levels, scored, valid })
    }

    fn loss_of(&self, items: &[(&[Option<Value>], &Item)], divisor: f64) -> Result<Tensor> {
        let prepared: Vec<Prepared> =
            items.iter().map(|(values, item)| self.prepare(values, item)).collect::<Result<_>>()?;
        let inputs: Vec<&Inputs> = prepared.iter().map(|p| &p.inputs).collect();
        let (places, scalars) = self.denoiser.correct(&inputs)?;
        let stack = |part: &dyn Fn(&Target) -> &[f32], shape: &[usize]| -> Result<Tensor> {
            let data: Vec<f32> = prepared.iter().flat_map(|p| part(&p.target).iter().copied()).collect();
            Ok(Tensor::from_vec(data, shape, places.device())?)
        };
        let (b, n, features) = places.dims3()?;
        let error = (&places - stack(&|t| &t.places, &[b, n, features])?)?.sqr()?;
        let error = (error * stack(&|t| &t.place_weights, &[b, n, features])?)?.sum_all()?;
        let three = scalars.dim(1)?;
        let scalar_error = (&scalars - stack(&|t| &t.scalars, &[b, three])?)?.sqr()?;
        let scalar_error = (scalar_error * stack(&|t| &t.scalar_weights, &[b, three])?)?.sum_all()?;
        let mut loss = (error + scalar_error)?;
        if self.denoiser.local().is_some() {
            loss = ((loss + self.local_loss(prepared, &places, &scalars)?)? * 0.5)?;
        }
        Ok((loss / divisor)?)
    }

    /// Loss of the second network, which starts from what the first one makes of its inputs.
    fn local_loss(&self, prepared: Vec<Prepared>, places: &Tensor, scalars: &Tensor) -> Result<Tensor> {
        let Some((grid, network)) = self.denoiser.local() else {
            return Ok(Tensor::zeros((), candle_core::DType::F32, places.device())?);
        };
        let layout = &self.denoiser.statistics().layout;
        let flat = |t: &Tensor, i: usize| -> Result<Vec<f32>> { Ok(t.get(i)?.flatten_all()?.to_vec1()?) };
        let (mut inputs, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (k, item) in prepared.into_iter().enumerate() {
            let Prepared { inputs: first, noisy, clean, levels, scored, valid, .. } = item;
            // Numbers, not a graph: each network learns from its own loss.
            let deviation = first.deviation.clone();
            let estimate = self.denoiser.corrected(first, &flat(places, k)?, &flat(scalars, k)?);
            let own = self.denoiser.refine_inputs(&noisy, &estimate, &levels, &deviation);
            let (cells, size) = (grid.side * grid.side, grid.side * grid.side * grid.corrected);
            let (mut target, mut weight) = (vec![0.0; size], vec![0.0; size]);
            let scored: Vec<usize> = scored.into_iter().filter(|&i| grid.corrects(i)).collect();
            for &i in &scored {
                let missing: Vec<f32> =
                    clean[i].iter().zip(&estimate[i]).map(|(a, b)| (a - b) / own.scale[i]).collect();
                let pixels = layout.parts[i].side * layout.parts[i].side;
                let own = missing.iter().enumerate().filter(|(k, _)| counts(valid[i].as_ref(), k % pixels));
                let known = counted(valid[i].as_ref(), pixels) * layout.parts[i].channels;
                let square = own.map(|(_, v)| v * v).sum::<f32>() / known.max(1) as f32;
                let stride = grid.corrected;
                let mut slot = Block { values: &mut target, stride, offset: 0 };
                grid.put(layout, i, &missing, 1.0, &mut slot);
                let range = grid.range(layout, i);
                let told = valid[i].as_ref().map(|valid| valid.resized(grid.side, grid.side));
                let each = 1.0 / (scored.len() * counted(told.as_ref(), cells).max(1) * range.len()) as f32;
                for cell in (0..cells).filter(|&cell| counts(told.as_ref(), cell)) {
                    let at = cell * grid.corrected;
                    weight[at + range.start..at + range.end].fill(each / (square / MOST_EXCESS).max(1.0));
                }
            }
            inputs.push(own);
            targets.push(target);
            weights.push(weight);
        }
        let (cells, c, n) = (grid.side * grid.side, grid.corrected, inputs.len());
        let side_by_side = |items: &[Vec<f32>]| -> Result<Tensor> {
            let mut all = Vec::with_capacity(cells * c * n);
            for cell in 0..cells {
                items.iter().for_each(|item| all.extend_from_slice(&item[cell * c..(cell + 1) * c]));
            }
            Ok(Tensor::from_vec(all, (grid.side, grid.side, n, c), network.device())?)
        };
        let error = (self.denoiser.refine(&inputs)? - side_by_side(&targets)?)?.sqr()?;
        Ok((error * side_by_side(&weights)?)?.sum_all()?)
    }
}

impl Task for FieldTask<'_> {
    type Part = Vec<Item>;

    fn draw(&self, step: u64) -> Result<Vec<Vec<Item>>> {
        let mut generator = training_generator(self.recipe.seed, "denoiser", "", step);
        let mut items = draw_items(
            &self.table,
            self.cache.len(),
            &|window, i| self.cache[window][i].is_some(),
            &self.recipe.denoiser,
            self.recipe.denoiser.optimiser.items(),
            &mut generator,
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
        self.loss_of(&items, optimiser.items() as f64)
    }

    fn validation(&self) -> Result<Option<f64>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let mut generator = training_generator(self.recipe.seed, "validation", "", 0);
        let mut items = Vec::new();
        for (window, values) in self.validation.iter().enumerate() {
            let present = |_: usize, i: usize| values[i].is_some();
            let mut drawn = draw_items(&self.table, 1, &present, &self.recipe.denoiser, 1, &mut generator);
            drawn.truncate(1);
            items.extend(drawn.into_iter().map(|item| Item { window, ..item }));
        }
        let parts: Vec<&[Item]> = items.chunks(ITEMS_TOGETHER).collect();
        let losses = parallel::map(&parts, |part| {
            let items: Vec<(&[Option<Value>], &Item)> =
                part.iter().map(|item| (self.validation[item.window].as_slice(), item)).collect();
            Ok(f64::from(self.loss_of(&items, self.validation.len() as f64)?.to_scalar::<f32>()?))
        })?;
        Ok(Some(losses.iter().sum()))
    }
}

/// One item.
struct Prepared {
    inputs: Inputs,
    target: Target,
    noisy: Vec<Vec<f32>>,
    /// Latents without noise; empty where absent.
    clean: Vec<Vec<f32>>,
    levels: Vec<Level>,
    /// Modalities that count in the loss.
    scored: Vec<usize>,
    /// By modality: where it is valid; `None`: everywhere.
    valid: Vec<Option<Mask>>,
}

struct Target {
    /// `(place, feature)`.
    places: Vec<f32>,
    /// `(place, feature)`.
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
        let own = &mut weights[part.first..part.first + part.size()];
        for (k, weight) in own.iter_mut().enumerate() {
            let (channel, row, column) = (k / (part.kept * part.kept), k / part.kept % part.kept, k % part.kept);
            *weight = field.deviation_at(first + channel, places.radius(row, column)) as f32;
        }
        let mean = own.iter().sum::<f32>() / own.len() as f32;
        own.iter_mut().for_each(|w| *w /= mean);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Raster;
    use crate::model::field::{Layout, Regime, Statistics};
    use crate::model::{DenoiserSizes, MadeUp};
    use candle_core::Device;
    use nalgebra::DMatrix;

    #[test]
    fn only_what_was_observed_is_a_truth() {
        let path = crate::files::bundled("models/recipes/demo.toml").expect("recipe");
        let (recipe, table) = Recipe::open(&path).expect("recipe");
        let n = Layout::new(&table).expect("layout").channels;
        let bins = Layout::bins();
        let regime = Regime { weight: 1.0, mean: vec![0.0; n], covariance: vec![DMatrix::identity(n, n); bins] };
        let statistics = Statistics::new(&table, vec![0.0; n], vec![vec![0.5; n]; bins], vec![regime]).expect("field");
        let local = recipe.denoiser.sizes.clone().expect("sizes").local;
        let sizes = DenoiserSizes { width: 32, depth: 2, heads: 2, mlp_ratio: 2, local };
        let mut parameters = MadeUp::new(&Device::Cpu);
        let denoiser = FieldDenoiser::new(&table, &sizes, statistics, &mut parameters, &Device::Cpu).expect("denoiser");
        let weights = weights(&denoiser);
        let (cache, validation, augmentation) = (Vec::new(), Vec::new(), Augmentation::new(&recipe.data, &table));
        let task = FieldTask { recipe: &recipe, table, denoiser, cache, validation, augmentation, weights };
        let i = task.table.index("DEM").expect("modality");
        let side = task.table[i].pixels;
        let mut values: Vec<Option<Value>> = vec![None; task.table.len()];
        let states = (0..values.len()).map(|k| if k == i { State::Noised(300) } else { State::Absent }).collect();
        let item = Item { window: 0, turn: 0, states, seed: 1 };
        let raster = Raster::from_fn(1, side, side, |_, pixel| (pixel % 17) as f32 * 10.0);
        let prepared = |values: &[Option<Value>]| task.prepare(values, &item).expect("prepared").target.place_weights;
        let loss = |values: &[Option<Value>]| {
            let loss = task.loss_of(&[(values, &item)], 1.0).expect("loss");
            loss.to_scalar::<f32>().expect("number")
        };
        values[i] = Some(Value::Image(raster.clone()));
        let whole = prepared(&values);
        assert!(loss(&values) > 0.0);
        let valid = |pixel: usize| pixel / side >= 6 || pixel % side >= 6;
        values[i] = Some(Value::Image(raster.clone().with_valid(&Mask::from_fn(side, side, valid)).expect("mask")));
        let holed = prepared(&values);
        let (per_side, features) = (task.denoiser.places().per_side, task.denoiser.places().features);
        let reached = 6usize.div_ceil(side / per_side);
        let told = (per_side * per_side - reached * reached) as f32;
        for (k, (holed, whole)) in holed.iter().zip(&whole).enumerate() {
            let (row, column) = (k / features / per_side, k / features % per_side);
            let expected = if row < reached && column < reached { 0.0 } else { whole / told };
            assert!((holed - expected * (per_side * per_side) as f32).abs() <= 1e-5 * whole, "place {row} {column}");
        }
        // With a hole in every place nothing is left to learn from.
        let valid = |pixel: usize| pixel.is_multiple_of(2);
        values[i] = Some(Value::Image(raster.with_valid(&Mask::from_fn(side, side, valid)).expect("mask")));
        assert_eq!(loss(&values), 0.0);
    }
}
