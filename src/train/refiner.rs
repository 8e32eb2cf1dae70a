//! Training of the refiner of a cascade: pixels near the true ones, as varied within cells, and such that a judge takes them
//! for real.

use super::autoencoder::normal;
use super::coarse::CachedWindows;
use super::holes::{told, valid};
use super::items::{Item, State};
use super::judge::{Judge, pooled};
use super::masks::known_pixels;
use super::recipe::RefinerRecipe;
use super::steps::Task;
use super::windows::uniform;
use crate::error::Result;
use crate::modality::{Mask, Value, to_network};
use crate::model::cascade::{Layer, NOISE_CHANNELS, Refiner, RefinerInput, RefinerInputs, SMOOTH, Standard, Usage};
use candle_core::Tensor;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// Items of a step that are computed together.
const ITEMS_TOGETHER: usize = 4;
/// Period, in the finest pixels, of the places that the judge looks at.
const GRID: usize = 4;
/// Deviation by which the cells of what is drawn are moved: those of a sampling are not exact either.
const CELL_JITTER: f32 = 0.1;

/// The task; its networks hold the parameters under training.
pub(super) struct RefinerTask<'a> {
    windows: CachedWindows<'a>,
    settings: &'a RefinerRecipe,
    network: Refiner,
    judge: Judge,
    standards: Vec<Option<Standard>>,
}

/// Both layers of a part of a step: tensors `(row, column, item, channel)`.
struct Truth {
    /// Standardised pixels; 0 where there are none.
    real: [Tensor; 2],
    /// 1 where a pixel is to be drawn.
    drawn: [Tensor; 2],
    /// Weight of the difference of a pixel: 0 for classes.
    weights: [Tensor; 2],
    /// The same of how a cell varies, by its pixels: 0 in all of a cell that has pixels without data.
    whole: [Tensor; 2],
    /// By class modality of the finest layer: first channel, channels, and the true classes as 1 and 0 times their weight.
    classes: Vec<(usize, usize, Tensor)>,
    /// 0 where neither real nor drawn images are to show what is drawn: classes.
    shown: [Tensor; 2],
    /// By item: whether there is anything to judge.
    judged: Tensor,
}

impl<'a> RefinerTask<'a> {
    pub(super) fn new(
        windows: CachedWindows<'a>,
        settings: &'a RefinerRecipe,
        network: Refiner,
        judge: Judge,
        standards: Vec<Option<Standard>>,
    ) -> Self {
        Self { windows, settings, network, judge, standards }
    }

    /// Channels that the judge sees of a network's layers.
    pub(super) fn judged_channels(network: &Refiner) -> [usize; 2] {
        network.layers().map(|layer| 3 * layer.channels + layer.members.len())
    }

    fn loss_of(&self, items: &[(Vec<Option<Value>>, &Item)], divisor: f64) -> Result<Tensor> {
        let (inputs, truth) = self.prepare(items)?;
        let drawn = self.network.forward(&inputs)?;
        let mut loss = self.difference(&drawn, &truth)?;
        if self.settings.judged > 0.0 {
            let known = self.network.known(&inputs)?;
            let seed = items.first().map_or(0, |(_, item)| item.seed as usize);
            let (row, column) = (seed % GRID, seed / GRID % GRID);
            let seen = |images: &[Tensor; 2], fixed: bool| -> Result<Tensor> {
                let with = |k: usize| -> Result<Tensor> {
                    let all = Tensor::cat(&[&images[k], &known[k], &inputs.base[k]], 3)?;
                    shifted(&all, [row >> k, column >> k], GRID >> k)
                };
                self.judge.forward(&with(0)?, &with(1)?, fixed)
            };
            let images = |of: &dyn Fn(usize) -> Result<Tensor>| -> Result<[Tensor; 2]> {
                let one = |k: usize| -> Result<Tensor> { Ok((of(k)? * &truth.shown[k])?) };
                Ok([one(0)?, one(1)?])
            };
            // What is not drawn is real in both.
            let fake = images(&|k| Ok((&truth.real[k] + ((&drawn[k] - &truth.real[k])? * &truth.drawn[k])?)?))?;
            let real = images(&|k| Ok(truth.real[k].clone()))?;
            let counted = |scores: Tensor| -> Result<Tensor> {
                let by_item = scores.mean((0, 1))?.flatten_all()?;
                Ok((by_item * &truth.judged)?.sum_all()?)
            };
            let pleasing = counted(seen(&fake, true)?.neg()?)?;
            loss = (loss + (pleasing * self.settings.judged)?)?;
            let fixed = [fake[0].detach(), fake[1].detach()];
            let right = (seen(&real, false)?.neg()? + 1.0)?.relu()?;
            let wrong = (seen(&fixed, false)? + 1.0)?.relu()?;
            loss = (loss + counted((right + wrong)?)?)?;
        }
        Ok((loss / divisor)?)
    }

    /// How far drawn pixels are from the true ones, and how differently they vary within cells.
    fn difference(&self, drawn: &[Tensor; 2], truth: &Truth) -> Result<Tensor> {
        let side = self.network.cells().side;
        let mut loss = Tensor::zeros((), candle_core::DType::F32, drawn[0].device())?;
        let of_layers = truth.real.iter().zip(truth.weights.iter().zip(&truth.whole));
        for (drawn, (real, (weights, whole))) in drawn.iter().zip(of_layers) {
            let off = ((drawn - real)?.abs()? * weights)?.sum_all()?;
            loss = (loss + (off * self.settings.difference)?)?;
            let spread = |x: &Tensor| -> Result<Tensor> {
                let mean = pooled(x, side)?;
                let variance = (pooled(&x.sqr()?, side)? - mean.sqr()?)?.relu()?;
                let smooth = f64::from(SMOOTH);
                Ok((((variance + smooth * smooth)?.sqrt()?) + smooth)?.log()?)
            };
            let each = (drawn.dim(0)? / side).pow(2) as f64;
            let weights = (pooled(whole, side)? * each)?;
            let off = ((spread(drawn)? - spread(real)?)?.abs()? * weights)?.sum_all()?;
            loss = (loss + (off * self.settings.spread)?)?;
        }
        for (first, channels, wanted) in &truth.classes {
            let logits = drawn[0].narrow(3, *first, *channels)?.contiguous()?;
            let missing = (candle_nn::ops::log_softmax(&logits, 3)? * wanted)?.sum_all()?.neg()?;
            loss = (loss + missing)?;
        }
        Ok(loss)
    }

    fn prepare(&self, items: &[(Vec<Option<Value>>, &Item)]) -> Result<(RefinerInputs, Truth)> {
        let [fine, half] = self.network.layers();
        let mut images = [Images::new(fine, items.len()), Images::new(half, items.len())];
        let mut classes: Vec<(usize, usize, Vec<f32>)> = Vec::new();
        let table = &self.windows.table;
        for &(i, first) in &fine.members {
            if table[i].classes().is_some() {
                let channels = table[i].network_channels();
                classes.push((first, channels, vec![0.0; fine.side * fine.side * items.len() * channels]));
            }
        }
        let (mut all, mut judged) = (Vec::new(), Vec::new());
        for (number, (values, item)) in items.iter().enumerate() {
            let mut generator = ChaCha12Rng::seed_from_u64(item.seed ^ 0x7265_6669_6e65);
            let partly = uniform(&mut generator) < self.windows.recipe.denoiser.partly;
            let mask = partly.then(|| known_pixels(fine.side, &mut generator));
            let noise = normal(NOISE_CHANNELS * fine.side * fine.side, &mut generator);
            let draws = |i: usize| values[i].is_some() && matches!(item.states[i], State::Noised(_));
            let members = || fine.members.iter().chain(&half.members);
            let share = 1.0 / members().filter(|(i, _)| draws(*i)).count().max(1) as f32;
            let any = members().any(|&(i, _)| draws(i) && table[i].classes().is_none());
            judged.push(f32::from(u8::from(any)));
            let mut inputs = Vec::with_capacity(table.len());
            for (i, m) in table.iter().enumerate() {
                let (Some(part), Some(standard), Some(value)) =
                    (&self.network.cells().parts[i], &self.standards[i], &values[i])
                else {
                    inputs.push(RefinerInput { usage: Usage::Absent, cells: Vec::new(), pixels: None });
                    continue;
                };
                let network = to_network(m, value)?;
                let mut pixels = network.clone();
                standard.standardise(&mut pixels);
                let mut cells = self.network.cells().of_image(part, standard, &pixels);
                let usage = match item.states[i] {
                    State::Absent => Usage::Absent,
                    State::Given => Usage::Given,
                    State::Noised(_) => Usage::Drawn,
                };
                if usage == Usage::Drawn {
                    let jitter = normal(cells.len(), &mut generator);
                    cells.iter_mut().zip(jitter).for_each(|(v, n)| *v += CELL_JITTER * n);
                }
                let own_mask = mask.as_ref().filter(|_| usage == Usage::Drawn);
                // What was filled in is not known.
                let known =
                    own_mask.map(|mask| mask.resized(part.pixels, part.pixels)).map(|mask| match valid(value) {
                        Some(valid) => mask.and(valid),
                        None => mask,
                    });
                let at = [fine, half].iter().position(|layer| layer.side == part.pixels);
                if let Some(at) = at.filter(|_| usage != Usage::Absent) {
                    let layer = [fine, half][at];
                    let first = layer.members.iter().find(|(member, _)| *member == i).map_or(0, |(_, first)| *first);
                    let valid = valid(value);
                    let is_class = m.classes().is_some();
                    images[at].put(number, first, &pixels);
                    let size = part.pixels * part.pixels;
                    if usage == Usage::Drawn {
                        let counts = |pixel: usize| {
                            known.as_ref().is_none_or(|mask| !mask.at(pixel)) && valid.is_none_or(|v| v.at(pixel))
                        };
                        let hole: Vec<f32> = (0..size).map(|p| f32::from(u8::from(counts(p)))).collect();
                        let each = share / (size * if is_class { 1 } else { part.channels }) as f32;
                        if let Some((_, channels, wanted)) = classes.iter_mut().find(|c| is_class && c.0 == first) {
                            for pixel in 0..size {
                                for c in 0..*channels {
                                    wanted[(pixel * items.len() + number) * *channels + c] =
                                        (network[c * size + pixel] + 1.0) / 2.0 * hole[pixel] * each;
                                }
                            }
                        }
                        images[at].draw(number, first..first + part.channels, &hole, each, is_class);
                        let side = self.network.cells().side;
                        if let Some(told) = told(value, side).filter(|_| !is_class) {
                            images[at].leave_cells_out(number, first..first + part.channels, &told);
                        }
                    }
                }
                let seen: Option<Option<Mask>> = match usage {
                    Usage::Given => Some(None),
                    _ => known.map(Some),
                };
                inputs.push(RefinerInput { usage, cells, pixels: seen.map(|mask| (pixels, mask)) });
            }
            all.push((inputs, noise));
        }
        let prepared: Vec<(&[RefinerInput], &[f32])> =
            all.iter().map(|(inputs, noise)| (inputs.as_slice(), noise.as_slice())).collect();
        let device = candle_core::Device::Cpu;
        let [fine_images, half_images] = images;
        let (fine_images, half_images) = (fine_images.tensors()?, half_images.tensors()?);
        let pair = |k: usize| [fine_images[k].clone(), half_images[k].clone()];
        let shape = |channels: usize| (fine.side, fine.side, items.len(), channels);
        let truth = Truth {
            real: pair(0),
            drawn: pair(1),
            weights: pair(2),
            shown: pair(3),
            whole: pair(4),
            classes: classes
                .into_iter()
                .map(|(first, channels, wanted)| {
                    Ok((first, channels, Tensor::from_vec(wanted, shape(channels), &device)?))
                })
                .collect::<Result<_>>()?,
            judged: Tensor::new(judged, &device)?,
        };
        Ok((self.network.prepare(&prepared)?, truth))
    }
}

/// An image without a border of so many pixels in all, beginning at this one: a judge that looks at every second pixel would
/// teach the refiner a pattern of just that period, if it always looked at the same ones.
fn shifted(image: &Tensor, [row, column]: [usize; 2], border: usize) -> Result<Tensor> {
    let side = image.dim(0)?.saturating_sub(border);
    Ok(image.narrow(0, row, side)?.narrow(1, column, side)?.contiguous()?)
}

/// What is known of a layer's pixels, `(row, column, item, channel)`: values, which are drawn, their weights, which
/// are shown to the judge, and the weights in cells whose variation is known.
struct Images {
    parts: [Vec<f32>; 5],
    side: usize,
    items: usize,
    channels: usize,
}

impl Images {
    fn new(layer: &Layer, items: usize) -> Self {
        let size = layer.side * layer.side * items * layer.channels;
        let zeros = || vec![0.0; size];
        Self {
            parts: [zeros(), zeros(), zeros(), vec![1.0; size], zeros()],
            side: layer.side,
            items,
            channels: layer.channels,
        }
    }

    fn at(&self, pixel: usize, item: usize, channel: usize) -> usize {
        (pixel * self.items + item) * self.channels + channel
    }

    fn put(&mut self, item: usize, first: usize, pixels: &[f32]) {
        for (k, image) in pixels.chunks_exact(self.side * self.side).enumerate() {
            for (pixel, v) in image.iter().enumerate() {
                let at = self.at(pixel, item, first + k);
                self.parts[0][at] = *v;
            }
        }
    }

    /// Marks channels as drawn where `hole` is 1.
    fn draw(&mut self, item: usize, channels: std::ops::Range<usize>, hole: &[f32], each: f32, is_class: bool) {
        for channel in channels {
            for (pixel, v) in hole.iter().enumerate() {
                let at = self.at(pixel, item, channel);
                self.parts[1][at] = *v;
                self.parts[2][at] = if is_class { 0.0 } else { v * each };
                self.parts[3][at] = if is_class { 1.0 - v } else { 1.0 };
                self.parts[4][at] = self.parts[2][at];
            }
        }
    }

    /// Leaves the variation of cells out that are not set.
    fn leave_cells_out(&mut self, item: usize, channels: std::ops::Range<usize>, told: &Mask) {
        let told = told.resized(self.side, self.side);
        for pixel in told.holes() {
            for channel in channels.clone() {
                let at = self.at(pixel, item, channel);
                self.parts[4][at] = 0.0;
            }
        }
    }

    fn tensors(self) -> Result<[Tensor; 5]> {
        let shape = (self.side, self.side, self.items, self.channels);
        let mut out = Vec::with_capacity(5);
        for part in self.parts {
            out.push(Tensor::from_vec(part, shape, &candle_core::Device::Cpu)?);
        }
        <[Tensor; 5]>::try_from(out).map_err(|_| crate::Error::Compute("five parts".into()))
    }
}

impl Task for RefinerTask<'_> {
    type Part = Vec<Item>;

    fn draw(&self, step: u64) -> Result<Vec<Vec<Item>>> {
        Ok(self.windows.items(step, "refiner", &self.settings.optimiser, ITEMS_TOGETHER))
    }

    fn loss(&self, part: &Vec<Item>) -> Result<Tensor> {
        let optimiser = &self.settings.optimiser;
        let items: Vec<(Vec<Option<Value>>, &Item)> =
            part.iter().map(|item| (self.windows.augmented(item), item)).collect();
        self.loss_of(&items, optimiser.items() as f64)
    }
}
