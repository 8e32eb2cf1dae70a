//! Training of a cascade's first guess: what cells of radar and reflectance are likely to be by what is given around them.

use super::coarse::{CachedWindows, standardised_cells};
use super::exemplars::is_clear;
use super::holes::{counts, told};
use super::items::{Item, State};
use super::recipe::OptimiserRecipe;
use super::steps::Task;
use crate::error::Result;
use crate::modality::Value;
use crate::model::cascade::{FirstGuess, Standard};
use crate::parallel;
use candle_core::Tensor;

/// Items of a step that are computed together.
const ITEMS_TOGETHER: usize = 8;

/// The task; its network holds the parameters under training.
pub(super) struct FirstGuessTask<'a> {
    windows: CachedWindows<'a>,
    optimiser: &'a OptimiserRecipe,
    network: FirstGuess,
    standards: Vec<Option<Standard>>,
}

impl<'a> FirstGuessTask<'a> {
    /// Of windows that are clear.
    pub(super) fn new(
        mut windows: CachedWindows<'a>,
        optimiser: &'a OptimiserRecipe,
        network: FirstGuess,
        standards: Vec<Option<Standard>>,
    ) -> Self {
        // As exemplars, which it is for.
        windows.train.retain(|values| is_clear(&windows.table, values));
        windows.validation.retain(|values| is_clear(&windows.table, values));
        Self { windows, optimiser, network, standards }
    }

    /// What an item adds to the loss: the mean squared error of the channels that are asked for, of valid cells.
    fn loss_of(&self, values: &[Option<Value>], item: &Item) -> Result<Option<Tensor>> {
        let (table, cells) = (&self.windows.table, self.network.cells());
        let (count, outputs) = (cells.count(), self.network.outputs());
        let is_given = |i: usize| matches!(item.states[i], State::Given);
        let optical_given = (0..table.len()).any(|i| is_given(i) && table[i].about.is_optical());
        let mut given = vec![None; table.len()];
        let (mut target, mut weights) = (vec![0.0; count * outputs], vec![0.0; count * outputs]);
        for (i, m) in table.iter().enumerate() {
            let (Some(value), Some(part), Some(standard)) = (&values[i], &cells.parts[i], &self.standards[i]) else {
                continue;
            };
            // Of another level of reflectance, or other bands of it, reflectance is not made of exemplars.
            let asked = matches!(item.states[i], State::Noised(_)) && !(optical_given && m.about.is_optical());
            let first = self.network.first(i).filter(|_| asked);
            if !is_given(i) && first.is_none() {
                continue;
            }
            let standardised = standardised_cells(m, cells, part, standard, value)?;
            if let Some(first) = first {
                let valid = told(value, cells.side);
                for k in 0..part.channels {
                    for cell in (0..count).filter(|&cell| counts(valid.as_ref(), cell)) {
                        target[cell * outputs + first + k] = standardised[k * count + cell];
                        weights[cell * outputs + first + k] = 1.0;
                    }
                }
            } else {
                given[i] = Some(standardised);
            }
        }
        let sum: f32 = weights.iter().sum();
        if sum == 0.0 {
            return Ok(None);
        }
        weights.iter_mut().for_each(|w| *w /= sum);
        let telling = self.network.telling(&given)?;
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (count, outputs), telling.device());
        let error = (self.network.forward(&telling)? - tensor(target)?)?.sqr()?;
        Ok(Some((error * tensor(weights)?)?.sum_all()?))
    }
}

impl Task for FirstGuessTask<'_> {
    type Part = Vec<Item>;

    fn draw(&self, step: u64) -> Result<Vec<Vec<Item>>> {
        Ok(self.windows.items(step, "first guess", self.optimiser, ITEMS_TOGETHER))
    }

    fn loss(&self, part: &Vec<Item>) -> Result<Tensor> {
        let mut loss = Tensor::zeros((), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        for item in part {
            let values = self.windows.turned(self.windows.train[item.window].clone(), item);
            if let Some(own) = self.loss_of(&values, item)? {
                loss = (loss + (own / self.optimiser.items() as f64)?)?;
            }
        }
        Ok(loss)
    }

    fn validation(&self) -> Result<Option<f64>> {
        let items = self.windows.validation_items();
        let losses = parallel::map(&items, |item| {
            let loss = self.loss_of(&self.windows.validation[item.window], item)?;
            Ok(loss.map(|loss| loss.to_scalar::<f32>()).transpose()?)
        })?;
        let losses: Vec<f64> = losses.into_iter().flatten().map(f64::from).collect();
        Ok((!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64))
    }
}
