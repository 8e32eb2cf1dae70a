//! Parameters under training, and AdamW with a moving average of the weights.

use super::recipe::OptimiserRecipe;
use crate::error::{Error, Result};
use crate::model::{Init, Parameters, TensorData};
use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A fresh or continued set of parameters.
pub struct Trainable {
    vars: BTreeMap<String, Var>,
    start: BTreeMap<String, TensorData>,
    generator: ChaCha12Rng,
    device: Device,
}

impl Trainable {
    /// Parameters that begin at `start` where it has them, else random from `seed`.
    pub fn new(seed: u64, start: BTreeMap<String, TensorData>, device: &Device) -> Self {
        Self { vars: BTreeMap::new(), start, generator: ChaCha12Rng::seed_from_u64(seed), device: device.clone() }
    }
}

impl Parameters for Trainable {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let tensor = match self.start.remove(name) {
            Some(data) if data.shape == shape => data.to_tensor(&self.device)?,
            Some(data) => {
                return Err(Error::request(format!(
                    "The starting weights have {name} with shape {:?}, the recipe needs {shape:?}.",
                    data.shape
                )));
            }
            None => {
                let count = shape.iter().product();
                let mut uniform = || (self.generator.next_u32() as f32 / u32::MAX as f32) * 2.0 - 1.0;
                let data: Vec<f32> = match init {
                    Init::Zeros => vec![0.0; count],
                    Init::Ones => vec![1.0; count],
                    Init::FanIn(n) => (0..count).map(|_| uniform() / (n as f32).sqrt()).collect(),
                    Init::Normal(sigma) => (0..count)
                        .map(|_| {
                            let x: f32 = StandardNormal.sample(&mut self.generator);
                            x.clamp(-2.0, 2.0) * sigma as f32
                        })
                        .collect(),
                };
                Tensor::from_vec(data, shape, &self.device)?
            }
        };
        let var = Var::from_tensor(&tensor)?;
        let tensor = var.as_tensor().clone();
        self.vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    fn trainable(&self) -> bool {
        true
    }
}

/// State of one parameter.
struct Slot {
    name: String,
    var: Var,
    weight: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    average: Vec<f32>,
}

/// AdamW (decoupled decay, bias-corrected) in one pass over memory, with the moving average of the weights.
pub struct Optimiser {
    slots: Vec<Slot>,
    recipe: OptimiserRecipe,
    step: u64,
}

impl Optimiser {
    /// Takes over all parameters.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(parameters: Trainable, recipe: &OptimiserRecipe) -> Result<Self> {
        let slot = |(name, var): (String, Var)| -> Result<Slot> {
            let weight: Vec<f32> = var.flatten_all()?.to_vec1()?;
            let zeros = vec![0.0; weight.len()];
            Ok(Slot { name, var, average: weight.clone(), first: zeros.clone(), second: zeros, weight })
        };
        let slots = parameters.vars.into_iter().map(slot).collect::<Result<_>>()?;
        Ok(Self { slots, recipe: recipe.clone(), step: 0 })
    }

    /// Learning rate of the coming step: warm-up, plateau, cool-down.
    fn rate(&self) -> f64 {
        let r = &self.recipe;
        let warm = (self.step + 1) as f64 / r.warm_up.max(1) as f64;
        let left = (r.steps.saturating_sub(self.step)) as f64 / (r.cool_down * r.steps as f64).max(1e-9);
        r.learning_rate * warm.min(left).min(1.0)
    }

    /// One step down the sum of these gradients.
    ///
    /// # Errors
    /// When the gradient is not finite (nothing is changed then) or the device fails.
    pub fn step(&mut self, gradients: &[GradStore]) -> Result<()> {
        let sum = |slot: &Slot| -> Result<Option<Vec<f32>>> {
            let mut sum: Option<Vec<f32>> = None;
            for gradient in gradients.iter().filter_map(|part| part.get(&slot.var)) {
                let part: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
                match &mut sum {
                    None => sum = Some(part),
                    Some(sum) => sum.iter_mut().zip(part).for_each(|(a, b)| *a += b),
                }
            }
            Ok(sum)
        };
        let all: Vec<Option<Vec<f32>>> = self.slots.par_iter().map(sum).collect::<Result<_>>()?;
        let square = |g: &Vec<f32>| g.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        let norm = all.par_iter().flatten().map(square).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(Error::Compute(format!("The gradient is not finite at step {}; training stopped.", self.step)));
        }
        let scale = (self.recipe.clip / norm.max(1e-12)).min(1.0) as f32;
        let rate = self.rate();
        let (b1, b2) = (self.recipe.betas[0] as f32, self.recipe.betas[1] as f32);
        let n = (self.step + 1) as i32;
        let (c1, c2) = (1.0 - self.recipe.betas[0].powi(n), 1.0 - self.recipe.betas[1].powi(n));
        let decay = (1.0 - rate * self.recipe.weight_decay) as f32;
        let (size, c2) = ((rate / c1) as f32, c2 as f32);
        // Early on a long average would remember the random beginning.
        let ema = self.recipe.ema.min((1.0 + self.step as f64) / (10.0 + self.step as f64)) as f32;
        self.slots.par_iter_mut().zip(all).try_for_each(|(slot, gradient)| -> Result<()> {
            let Some(gradient) = gradient else { return Ok(()) };
            for (i, g) in gradient.iter().enumerate() {
                let g = g * scale;
                slot.first[i] = b1 * slot.first[i] + (1.0 - b1) * g;
                slot.second[i] = b2 * slot.second[i] + (1.0 - b2) * g * g;
                slot.weight[i] = slot.weight[i] * decay - size * slot.first[i] / ((slot.second[i] / c2).sqrt() + 1e-8);
                slot.average[i] = ema * slot.average[i] + (1.0 - ema) * slot.weight[i];
            }
            slot.var.set(&Tensor::from_slice(&slot.weight, slot.var.shape(), slot.var.device())?)?;
            Ok(())
        })?;
        self.step += 1;
        Ok(())
    }

    /// The averaged weights by name.
    pub fn averaged(&self) -> BTreeMap<String, TensorData> {
        let data = |slot: &Slot| TensorData {
            dtype: DType::F32,
            shape: slot.var.dims().to_vec(),
            bytes: slot.average.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        self.slots.iter().map(|slot| (slot.name.clone(), data(slot))).collect()
    }
}
