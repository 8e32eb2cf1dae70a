//! Training of the coarse network of a cascade, over scenes that lack some modalities.

use super::atmosphere::make_other_level;
use super::augment::Augmentation;
use super::autoencoder::normal;
use super::holes::{counts, told, valid};
use super::items::{Item, State, draw_items};
use super::masks::known_pixels;
use super::recipe::{OptimiserRecipe, Recipe};
use super::split::Use;
use super::steps::Task;
use super::windows::{Windows, turned_value, uniform};
use crate::error::Result;
use crate::modality::{Mask, Modality, ModalityTable, Subject, Value, to_network};
use crate::model::TRAIN_STEPS;
use crate::model::cascade::{Cells, Coarse, CoarseInputs, KnownCells, Level, Part, Standard};
use crate::parallel;
use crate::sampler::training_generator;
use candle_core::Tensor;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use std::path::Path;

/// Items of a step that are computed together: weights are laid out anew for each such part.
const ITEMS_TOGETHER: usize = 8;
/// Windows the validation loss is taken over.
const VALIDATION_ITEMS: usize = 128;
/// Times at which errors are told: of a first guess, and where what varies inside a window is decided.
const TOLD_TIMES: [usize; 3] = [TRAIN_STEPS, 250, 60];
/// Of less than this that is open, beside a channel's own variation, errors do not count for more.
const LEAST_OPEN: f32 = 0.1;
/// Weight of how much cells vary, beside what they are.
const SPREAD_WEIGHT: f32 = 0.3;
/// Deviation by which a given location or date is moved on its sphere: 600 km or six days. Of few places a network would learn
/// each by heart.
const SCALAR_JITTER: f32 = 0.1;
/// Deviation by which a channel of given radar or elevation is moved as a whole, standardised: by its exact mean, too, a
/// network would know the scene, and with it the scene's colour.
const LEVEL_JITTER: f32 = 0.3;

/// Windows in memory, and the changes they go through.
pub(super) struct CachedWindows<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) table: ModalityTable,
    pub(super) train: Vec<Vec<Option<Value>>>,
    pub(super) validation: Vec<Vec<Option<Value>>>,
    augmentation: Augmentation,
}

impl<'a> CachedWindows<'a> {
    /// Draws the windows to train and validate on.
    ///
    /// # Errors
    /// When scenes cannot be read.
    pub(super) fn read(recipe: &'a Recipe, table: &ModalityTable, scenes: &Path) -> Result<Self> {
        let draw = |purpose: Use, name: &str, count: usize| -> Result<Vec<Vec<Option<Value>>>> {
            let windows = Windows::open(scenes, table, &recipe.data, purpose)?.without_turns();
            let numbers: Vec<u64> = (0..count as u64).collect();
            parallel::map(&numbers, |number| {
                let mut generator = training_generator(recipe.seed, name, "", *number);
                let mut values = windows.draw(&mut generator, None)?;
                if purpose == Use::Train && uniform(&mut generator) < recipe.data.other_level {
                    make_other_level(table, &mut values, &mut || uniform(&mut generator));
                }
                Ok(values)
            })
        };
        let train = draw(Use::Train, "windows", recipe.denoiser.cached_windows)?;
        let validation = draw(Use::Validation, "validation windows", VALIDATION_ITEMS).unwrap_or_else(|error| {
            // Nothing held out lies here: the training goes on without validation.
            tracing::warn!("no validation: {error}");
            Vec::new()
        });
        let augmentation = Augmentation::new(&recipe.data, table);
        Ok(Self { recipe, table: table.clone(), train, validation, augmentation })
    }

    /// A window as an item of training has it.
    pub(super) fn augmented(&self, item: &Item) -> Vec<Option<Value>> {
        let mut values = self.train[item.window].clone();
        // Before turning: the sun knows where north is.
        self.augmentation.apply(&mut values, item.seed);
        self.turned(values, item)
    }

    /// Values of a window, turned as an item of training has them.
    pub(super) fn turned(&self, mut values: Vec<Option<Value>>, item: &Item) -> Vec<Option<Value>> {
        if self.recipe.data.turns {
            values.iter_mut().flatten().for_each(|value| *value = turned_value(value, item.turn));
        }
        values
    }

    /// The items of a step, in parts that are computed together.
    pub(super) fn items(&self, step: u64, name: &str, optimiser: &OptimiserRecipe, together: usize) -> Vec<Vec<Item>> {
        let mut generator = training_generator(self.recipe.seed, name, "", step);
        let present = |window: usize, i: usize| self.train[window][i].is_some();
        let items = draw_items(
            &self.table,
            self.train.len(),
            &present,
            &self.recipe.denoiser,
            optimiser.items(),
            &mut generator,
        );
        items.chunks(together).map(<[Item]>::to_vec).collect()
    }

    /// One item for each validation window, always the same.
    pub(super) fn validation_items(&self) -> Vec<Item> {
        let mut generator = training_generator(self.recipe.seed, "validation", "", 0);
        let mut items = Vec::new();
        for (window, values) in self.validation.iter().enumerate() {
            let present = |_: usize, i: usize| values[i].is_some();
            let drawn = draw_items(&self.table, 1, &present, &self.recipe.denoiser, 1, &mut generator);
            items.extend(drawn.into_iter().map(|item| Item { window, ..item }));
        }
        items
    }
}

/// The task; its network holds the parameters under training.
pub(super) struct CoarseTask<'a> {
    windows: CachedWindows<'a>,
    network: Coarse,
    standards: Vec<Option<Standard>>,
}

impl<'a> CoarseTask<'a> {
    pub(super) fn new(windows: CachedWindows<'a>, network: Coarse, standards: Vec<Option<Standard>>) -> Self {
        Self { windows, network, standards }
    }

    /// Inputs, targets and weights of one item, of which some pixels are known with this chance.
    fn prepare(&self, values: &[Option<Value>], item: &Item, partly: f64) -> Result<Prepared> {
        let mut generator = ChaCha12Rng::seed_from_u64(item.seed);
        let (table, cells) = (&self.windows.table, self.network.cells());
        let partly = uniform(&mut generator) < partly;
        let finest = table.iter().map(|m| m.pixels).max().unwrap_or(1);
        let mask = partly.then(|| known_pixels(finest, &mut generator).resized(cells.side, cells.side));
        let (mut noisy, mut levels, mut known) = (Vec::new(), Vec::new(), Vec::new());
        let mut target = Target {
            data: vec![0.0; cells.count() * cells.channels],
            told: vec![0.0; cells.count() * cells.channels],
            weights: vec![0.0; cells.channels],
            left_out: vec![1.0; cells.channels],
            scalars: Vec::new(),
            scalar_weights: Vec::new(),
        };
        let scored = |i: usize| values[i].is_some() && matches!(item.states[i], State::Noised(_));
        let share = 1.0 / (0..table.len()).filter(|&i| scored(i)).count().max(1) as f32;
        for (i, m) in table.iter().enumerate() {
            let noise = normal(m.latent.iter().product(), &mut generator);
            let level = match (item.states[i], &values[i]) {
                (_, None) | (State::Absent, _) => Level::ABSENT,
                (State::Given, _) => Level::GIVEN,
                (State::Noised(n), _) => self.network.level(n as f32),
            };
            let deviation = self.network.deviation(i);
            let standardised = match (&values[i], &cells.parts[i], &self.standards[i]) {
                (None, ..) => vec![0.0; noise.len()],
                (Some(value), Some(part), Some(standard)) => standardised_cells(m, cells, part, standard, value)?,
                (Some(value), ..) => to_network(m, value)?,
            };
            let scale = if m.is_scalar() { 1.0 } else { deviation as f32 };
            let mut latent: Vec<f32> = standardised.iter().map(|v| v * scale).collect();
            let Some(part) = &cells.parts[i] else {
                target.scalars.extend_from_slice(&standardised);
                target.scalar_weights.extend([if scored(i) { share * 0.1 / 3.0 } else { 0.0 }; 3]);
                if level == Level::GIVEN {
                    latent.iter_mut().zip(&noise).for_each(|(v, n)| *v += SCALAR_JITTER * n);
                }
                noisy.push(mixed(&latent, &noise, level));
                levels.push(level);
                known.push(None);
                continue;
            };
            let valid = values[i].as_ref().and_then(|value| told(value, cells.side));
            // What was filled in is not known.
            let own_mask = mask.as_ref().filter(|_| scored(i)).map(|mask| match &valid {
                Some(valid) => mask.and(valid),
                None => mask.clone(),
            });
            if scored(i) {
                let told =
                    |cell: usize| own_mask.as_ref().is_none_or(|mask| !mask.at(cell)) && counts(valid.as_ref(), cell);
                let told: Vec<usize> = (0..cells.count()).filter(|&cell| told(cell)).collect();
                for k in 0..part.latent {
                    let kind = if k >= part.channels { SPREAD_WEIGHT } else { 1.0 };
                    target.weights[part.first + k] = share * kind / part.latent as f32;
                    target.left_out[part.first + k] = f32::from(u8::from(own_mask.is_none()));
                    for &cell in &told {
                        let at = cell * cells.channels + part.first + k;
                        target.data[at] = standardised[k * cells.count() + cell];
                        target.told[at] = 1.0 / told.len() as f32;
                    }
                }
            }
            if level == Level::GIVEN && matches!(m.about.subject, Subject::Radar | Subject::Elevation) {
                let channels = latent.chunks_exact_mut(cells.count()).zip(noise.chunks_exact(cells.count()));
                for (channel, noise) in channels.take(part.channels) {
                    channel.iter_mut().for_each(|v| *v += LEVEL_JITTER * scale * noise[0]);
                }
            }
            noisy.push(mixed(&latent, &noise, level));
            levels.push(level);
            known.push(own_mask.map(|mask| KnownCells { mask, latent }));
        }
        Ok(Prepared { inputs: self.network.prepare(&noisy, &levels, &known)?, target })
    }

    fn loss_of(&self, items: &[(Vec<Option<Value>>, &Item)], divisor: f64) -> Result<Tensor> {
        let partly = self.windows.recipe.denoiser.partly;
        let prepared: Vec<Prepared> =
            items.iter().map(|(values, item)| self.prepare(values, item, partly)).collect::<Result<_>>()?;
        let (inputs, targets): (Vec<CoarseInputs>, Vec<Target>) =
            prepared.into_iter().map(|p| (p.inputs, p.target)).unzip();
        let (data, scalars) = self.network.predict(&inputs)?;
        let cells = self.network.cells();
        let side_by_side = |part: &dyn Fn(&Target) -> &[f32]| -> Result<Tensor> {
            let mut all = Vec::with_capacity(data.elem_count());
            for cell in 0..cells.count() {
                for target in &targets {
                    all.extend_from_slice(&part(target)[cell * cells.channels..(cell + 1) * cells.channels]);
                }
            }
            Ok(Tensor::from_vec(all, data.shape(), data.device())?)
        };
        let told = side_by_side(&|t| &t.told)?;
        let error = (&data - side_by_side(&|t| &t.data)?)?;
        // The mean of a window is not the network's, but where some of it is known, how the rest differs from that is.
        let mean = (&error * &told)?.sum_keepdim((0, 1))?;
        let by_channel = |of: Vec<f32>| -> Result<Tensor> { Ok(Tensor::from_vec(of, mean.shape(), data.device())?) };
        let left_out = by_channel(targets.iter().flat_map(|t| t.left_out.iter().copied()).collect())?;
        let about = (error.broadcast_sub(&(&mean * left_out)?)?.sqr()? * &told)?.sum_keepdim((0, 1))?;
        // In units of what is open, once: an error of what is all but told counts for more than its size, but not for all.
        let whole = self.network.statistics().about();
        let of = |(input, target): (&CoarseInputs, &Target)| -> Vec<f32> {
            let each = |((open, whole), w): ((&f32, &f32), &f32)| w / (whole * open.max(LEAST_OPEN * whole));
            input.open.iter().zip(whole).zip(&target.weights).map(each).collect()
        };
        let mut loss = (about * by_channel(inputs.iter().zip(&targets).flat_map(of).collect())?)?.sum_all()?;
        let of_scalars = |part: &dyn Fn(&Target) -> &[f32]| -> Result<Tensor> {
            let all: Vec<f32> = targets.iter().flat_map(|t| part(t).iter().copied()).collect();
            Ok(Tensor::from_vec(all, scalars.shape(), scalars.device())?)
        };
        if targets.iter().any(|t| !t.scalars.is_empty()) {
            let error = (&scalars - of_scalars(&|t| &t.scalars)?)?.sqr()?;
            loss = (loss + (error * of_scalars(&|t| &t.scalar_weights)?)?.sum_all()?)?;
        }
        Ok((loss / divisor)?)
    }
}

impl CoarseTask<'_> {
    /// Tells how far predictions of the finest surface reflectance are from the truth, apart from the mean of a window, at
    /// several times: from radar, land cover, both, nothing else, or what a satellite sees of it; on windows that are trained
    /// on, and on others.
    fn tell_errors(&self) -> Result<()> {
        let table = &self.windows.table;
        let telling = |subjects: &[Subject]| subjects.iter().flat_map(|s| table.telling_of(*s)).collect::<Vec<_>>();
        let all = [Subject::Radar, Subject::LandCover, Subject::Clouds];
        let Some(asked) = table.finest(Subject::SurfaceReflectance) else { return Ok(()) };
        for subjects in
            [&all[..], &all[1..], &[Subject::Radar, Subject::Clouds], &all[2..], &[Subject::TopOfAtmosphere]]
        {
            let given = telling(subjects);
            let held = if given.iter().any(|i| table[*i].about.is_optical()) { given.clone() } else { telling(&all) };
            for (windows, of) in [(&self.windows.train, "seen"), (&self.windows.validation, "unseen")] {
                let holds = |w: &&Vec<Option<Value>>| held.iter().chain([&asked]).all(|&i| w[i].is_some());
                let windows: Vec<&Vec<Option<Value>>> =
                    windows.iter().filter(holds).take(VALIDATION_ITEMS / 2).collect();
                for time in TOLD_TIMES.into_iter().filter(|_| !windows.is_empty()) {
                    let [network, statistics] = self.errors(&windows, &given, asked, time)?;
                    tracing::info!(
                        "squared error from {subjects:?}, {of}, time {time}: {network:.3} of the truth's variance, statistics alone {statistics:.3} ({} windows)",
                        windows.len()
                    );
                }
            }
        }
        Ok(())
    }

    /// Squared errors of the network and of the statistics alone.
    fn errors(&self, windows: &[&Vec<Option<Value>>], given: &[usize], asked: usize, time: usize) -> Result<[f64; 2]> {
        let (table, cells) = (&self.windows.table, self.network.cells());
        let Some(part) = &cells.parts[asked] else { return Ok([0.0; 2]) };
        let state = |i: usize| match i {
            _ if table[i].family == table[asked].family => State::Noised(time),
            _ if given.contains(&i) => State::Given,
            _ => State::Absent,
        };
        let states: Vec<State> = (0..table.len()).map(state).collect();
        let numbered: Vec<_> = windows.iter().enumerate().collect();
        let sums = parallel::map(&numbered, |(number, values)| {
            let item = Item { window: 0, turn: 0, states: states.clone(), seed: *number as u64 };
            let Prepared { inputs, target } = self.prepare(values, &item, 0.0)?;
            let told = inputs.told(cells);
            let data: Vec<f32> = self.network.predict(&[inputs])?.0.flatten_all()?.to_vec1()?;
            let mut sums = [0.0; 3];
            for channel in part.first..part.first + part.channels {
                let at = |cell: usize| cell * cells.channels + channel;
                let of = |k: usize, at: usize| {
                    f64::from([data[at] - target.data[at], told[at] - target.data[at], target.data[at]][k])
                };
                let mean_of = |f: &dyn Fn(usize) -> f64| -> f64 {
                    (0..cells.count()).map(|cell| f64::from(target.told[at(cell)]) * f(at(cell))).sum()
                };
                for (k, sum) in sums.iter_mut().enumerate() {
                    let mean = mean_of(&|at| of(k, at));
                    *sum += mean_of(&|at| (of(k, at) - mean).powi(2));
                }
            }
            Ok(sums)
        })?;
        let sum = |k: usize| sums.iter().map(|s| s[k]).sum::<f64>();
        Ok([0, 1].map(|k| sum(k) / sum(2).max(f64::MIN_POSITIVE)))
    }
}

impl Task for CoarseTask<'_> {
    type Part = Vec<Item>;

    fn draw(&self, step: u64) -> Result<Vec<Vec<Item>>> {
        Ok(self.windows.items(step, "coarse", &self.windows.recipe.denoiser.optimiser, ITEMS_TOGETHER))
    }

    fn loss(&self, part: &Vec<Item>) -> Result<Tensor> {
        let optimiser = &self.windows.recipe.denoiser.optimiser;
        let items: Vec<(Vec<Option<Value>>, &Item)> =
            part.iter().map(|item| (self.windows.augmented(item), item)).collect();
        self.loss_of(&items, optimiser.items() as f64)
    }

    fn validation(&self) -> Result<Option<f64>> {
        let items = self.windows.validation_items();
        if items.is_empty() {
            return Ok(None);
        }
        let parts: Vec<&[Item]> = items.chunks(ITEMS_TOGETHER).collect();
        let losses = parallel::map(&parts, |part| {
            let own: Vec<(Vec<Option<Value>>, &Item)> =
                part.iter().map(|item| (self.windows.validation[item.window].clone(), item)).collect();
            Ok(f64::from(self.loss_of(&own, items.len() as f64)?.to_scalar::<f32>()?))
        })?;
        if tracing::enabled!(tracing::Level::INFO) {
            self.tell_errors()?;
        }
        Ok(Some(losses.iter().sum()))
    }
}

/// A latent at a level; pure noise where it is not there.
fn mixed(latent: &[f32], noise: &[f32], level: Level) -> Vec<f32> {
    let (signal, part) = (level.signal as f32, level.noise as f32);
    latent.iter().zip(noise).map(|(x, n)| signal * x + part * n).collect()
}

/// One item.
struct Prepared {
    inputs: CoarseInputs,
    target: Target,
}

struct Target {
    /// `(row, column, channels)`; 0 where it is not told.
    data: Vec<f32>,
    /// `(row, column, channels)`: a cell's share of all cells of the channel whose truth is told.
    told: Vec<f32>,
    /// By channel.
    weights: Vec<f32>,
    /// By channel: 1 where the error of the mean is left out, else 0.
    left_out: Vec<f32>,
    scalars: Vec<f32>,
    scalar_weights: Vec<f32>,
}

/// The latent of a value before it is scaled.
///
/// # Errors
/// When the value does not fit its modality.
pub(super) fn standardised_cells(
    m: &Modality,
    cells: &Cells,
    part: &Part,
    standard: &Standard,
    value: &Value,
) -> Result<Vec<f32>> {
    let mut image = to_network(m, value)?;
    standard.standardise(&mut image);
    Ok(cells.of_image(part, standard, &image))
}

/// Fits what standardises each modality to the windows to train on.
///
/// # Errors
/// When a value does not fit its modality.
pub(super) fn standards(windows: &CachedWindows, cells: &Cells) -> Result<Vec<Option<Standard>>> {
    /// Windows are enough to know a mean and a deviation by.
    const ENOUGH: usize = 400;
    let numbers: Vec<usize> = (0..windows.table.len()).collect();
    parallel::map(&numbers, |&i| {
        let Some(part) = &cells.parts[i] else { return Ok(None) };
        let m = &windows.table[i];
        let own = windows.train.iter().filter_map(|values| values[i].as_ref()).take(ENOUGH);
        let image = |value: &Value| Ok((to_network(m, value)?, valid(value).cloned()));
        let images: Vec<(Vec<f32>, Option<Mask>)> = own.map(image).collect::<Result<_>>()?;
        Ok(Some(Standard::fit(m, cells, part, &images)))
    })
}
