//! Parameters under training, and AdamW with a moving average of the weights.

use super::recipe::OptimiserRecipe;
use crate::error::{Error, Result};
use crate::model::{Init, LowRank, Parameters, Precision, TensorData};
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
    fixed: BTreeMap<String, TensorData>,
    rank: Option<usize>,
    precision: Precision,
    generator: ChaCha12Rng,
    device: Device,
}

impl Trainable {
    /// Parameters that begin at `start` where it has them, else random from `seed`.
    pub fn new(seed: u64, start: BTreeMap<String, TensorData>, device: &Device) -> Self {
        let generator = ChaCha12Rng::seed_from_u64(seed);
        Self {
            vars: BTreeMap::new(),
            start,
            fixed: BTreeMap::new(),
            rank: None,
            precision: Precision::F32,
            generator,
            device: device.clone(),
        }
    }

    /// The same with products in this precision; weights and gradients stay in float32.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Keeps every parameter as it starts and trains a product of this rank beside each linear layer instead (LoRA,
    /// arXiv 2106.09685).
    pub fn with_low_rank(mut self, rank: usize) -> Self {
        self.rank = Some(rank);
        self
    }

    fn variable(&mut self, name: &str, tensor: &Tensor) -> Result<Tensor> {
        let var = Var::from_tensor(tensor)?;
        let tensor = var.as_tensor().clone();
        self.vars.insert(name.to_owned(), var);
        Ok(tensor)
    }
}

impl Parameters for Trainable {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let tensor = match self.start.remove(name) {
            Some(data) if data.shape == shape && self.rank.is_some() => {
                let tensor = data.to_tensor(&self.device)?;
                self.fixed.insert(name.to_owned(), data);
                return Ok(tensor);
            }
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
        self.variable(name, &tensor)
    }

    fn low_rank(&mut self, name: &str, [outputs, inputs]: [usize; 2]) -> Result<Option<LowRank>> {
        // A weight that starts afresh is trained whole.
        let fixed = self.fixed.contains_key(name);
        let Some(rank) = self.rank.filter(|rank| fixed && *rank < outputs.min(inputs)) else { return Ok(None) };
        let uniform = || (self.generator.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) / (inputs as f32).sqrt();
        let a: Vec<f32> = std::iter::repeat_with(uniform).take(rank * inputs).collect();
        let a = Tensor::from_vec(a, (rank, inputs), &self.device)?;
        // The product begins at zero, so that training begins with the model as it is.
        let b = Tensor::zeros((outputs, rank), DType::F32, &self.device)?;
        let (a, b) = (self.variable(&format!("{name}{A}"), &a)?, self.variable(&format!("{name}{B}"), &b)?);
        Ok(Some(LowRank { a, b, scale: LOW_RANK_SCALE }))
    }

    fn trainable(&self) -> bool {
        true
    }

    fn precision(&self) -> Precision {
        self.precision
    }
}

/// Ends of the names of low-rank pairs.
const A: &str = ".low_rank_a";
const B: &str = ".low_rank_b";
/// α / rank of the LoRA paper.
const LOW_RANK_SCALE: f64 = 2.0;

/// State of one parameter.
struct Slot {
    name: String,
    var: Var,
    weight: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    average: Vec<f32>,
    /// Sum of the gradients since the last step; empty where the parameter had none.
    gradient: Vec<f32>,
}

/// AdamW (decoupled decay, bias-corrected) in one pass over memory, with the moving average of the weights.
pub struct Optimiser {
    slots: Vec<Slot>,
    /// Parameters that are not trained.
    fixed: BTreeMap<String, TensorData>,
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
            Ok(Slot {
                name,
                var,
                average: weight.clone(),
                first: zeros.clone(),
                second: zeros,
                weight,
                gradient: Vec::new(),
            })
        };
        let slots = parameters.vars.into_iter().map(slot).collect::<Result<_>>()?;
        Ok(Self { slots, fixed: parameters.fixed, recipe: recipe.clone(), step: 0 })
    }

    /// Learning rate of the coming step: warm-up, plateau, cool-down.
    pub(super) fn rate(&self) -> f64 {
        let r = &self.recipe;
        let warm = (self.step + 1) as f64 / r.warm_up.max(1) as f64;
        let left = (r.steps.saturating_sub(self.step)) as f64 / (r.cool_down * r.steps as f64).max(1e-9);
        r.learning_rate * warm.min(left).min(1.0)
    }

    /// Adds the gradients of a part of the step.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn accumulate(&mut self, gradients: &GradStore) -> Result<()> {
        self.slots.par_iter_mut().try_for_each(|slot| {
            let Some(gradient) = gradients.get(&slot.var) else { return Ok(()) };
            let part: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
            if slot.gradient.is_empty() {
                slot.gradient = part;
            } else {
                slot.gradient.iter_mut().zip(part).for_each(|(a, b)| *a += b);
            }
            Ok(())
        })
    }

    /// One step down the accumulated gradients; `false`, and nothing is changed, when they are not finite.
    ///
    /// # Errors
    /// When the device fails.
    pub fn step(&mut self) -> Result<bool> {
        let square = |slot: &Slot| slot.gradient.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        // Summed in the order of the slots: a parallel sum would round differently from run to run.
        let norm = self.slots.par_iter().map(square).collect::<Vec<_>>().iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Ok(false);
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
        self.slots.par_iter_mut().try_for_each(|slot| -> Result<()> {
            for (i, g) in std::mem::take(&mut slot.gradient).iter().enumerate() {
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
        Ok(true)
    }

    /// Steps done.
    pub(super) fn steps_done(&self) -> u64 {
        self.step
    }

    /// Everything that changes from step to step: name, shape and values.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, Vec<usize>, &[f32])> {
        self.slots.iter().flat_map(|slot| {
            let parts = [
                ("weight", &slot.weight),
                ("first", &slot.first),
                ("second", &slot.second),
                ("average", &slot.average),
            ];
            parts.map(|(part, values)| (format!("{part}.{}", slot.name), slot.var.dims().to_vec(), values.as_slice()))
        })
    }

    /// Takes up a [`state`](Self::state) again; `values` finds a tensor by name and length.
    ///
    /// # Errors
    /// Those of `values`; or when the device fails.
    pub(super) fn restore(&mut self, step: u64, mut values: impl FnMut(&str, usize) -> Result<Vec<f32>>) -> Result<()> {
        for slot in &mut self.slots {
            let mut of = |part: &str| values(&format!("{part}.{}", slot.name), slot.weight.len());
            let (weight, first, second, average) = (of("weight")?, of("first")?, of("second")?, of("average")?);
            slot.var.set(&Tensor::from_slice(&weight, slot.var.shape(), slot.var.device())?)?;
            (slot.weight, slot.first, slot.second, slot.average) = (weight, first, second, average);
        }
        self.step = step;
        Ok(())
    }

    /// The averaged weights by name; low-rank products are added to their weights.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn averaged(&self) -> Result<BTreeMap<String, TensorData>> {
        let data = |values: &[f32], shape: &[usize]| TensorData::new(shape.to_vec(), values);
        let mut all = self.fixed.clone();
        for slot in self.slots.iter().filter(|s| !s.name.ends_with(A)) {
            let Some(name) = slot.name.strip_suffix(B) else {
                all.insert(slot.name.clone(), data(&slot.average, slot.var.dims()));
                continue;
            };
            let partner = self.slots.iter().find(|s| s.name.strip_suffix(A) == Some(name));
            let (Some(partner), Some(fixed)) = (partner, self.fixed.get(name)) else { continue };
            let tensor = |s: &Slot| Tensor::from_slice(&s.average, s.var.shape(), &Device::Cpu);
            let product = (tensor(slot)?.matmul(&tensor(partner)?)? * LOW_RANK_SCALE)?;
            let sum = (fixed.to_tensor(&Device::Cpu)? + product)?;
            all.insert(name.to_owned(), data(&sum.flatten_all()?.to_vec1::<f32>()?, &fixed.shape));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Projection, Scope};
    use crate::train::accumulate;

    #[test]
    fn a_layer_is_learned_in_either_precision_and_its_weights_stay_whole() {
        const WIDTH: usize = 64;
        let recipe = OptimiserRecipe {
            steps: 300,
            batch: 1,
            accumulation: 1,
            learning_rate: 2e-2,
            warm_up: 1,
            cool_down: 0.5,
            betas: [0.9, 0.99],
            weight_decay: 0.0,
            ema: 0.9,
            clip: 10.0,
            precision: Precision::F32,
        };
        let mut generator = ChaCha12Rng::seed_from_u64(5);
        let mut tensor = |rows: usize| {
            let values = (0..rows * WIDTH).map(|_| StandardNormal.sample(&mut generator)).collect::<Vec<f32>>();
            Tensor::from_vec(values, (rows, WIDTH), &Device::Cpu).expect("tensor")
        };
        let teacher = tensor(WIDTH);
        for (precision, most) in [(Precision::F32, 1e-3), (Precision::Bf16, 5e-3)] {
            let mut parameters = Trainable::new(3, BTreeMap::new(), &Device::Cpu).with_precision(precision);
            let size = [WIDTH, WIDTH];
            let scope = &mut Scope::root(&mut parameters);
            let layer = Projection::new(scope, size, true, Init::Normal(0.02), 1).expect("layer");
            let mut optimiser = Optimiser::new(parameters, &recipe).expect("optimiser");
            let mut losses = Vec::new();
            for _ in 0..recipe.steps {
                let x = [tensor(128)];
                let loss = accumulate(&mut optimiser, &x, 1, |x| {
                    let wanted = x.matmul(&teacher.t()?)?;
                    Ok((layer.forward(x)? - wanted)?.sqr()?.mean_all()?)
                });
                losses.push(loss.expect("loss"));
                assert!(optimiser.step().expect("step"));
            }
            let (first, last) = (losses[0], losses[losses.len() - 1]);
            assert!(last < most * first, "{precision:?}: from {first} to {last}");
            let weights = optimiser.averaged().expect("weights").remove("weight").expect("weight");
            let values: Vec<f32> =
                weights.to_tensor(&Device::Cpu).and_then(|t| Ok(t.flatten_all()?.to_vec1()?)).expect("values");
            assert!(values.iter().any(|v| v.to_bits() & 0xffff != 0), "weights are rounded");
        }
    }
}
