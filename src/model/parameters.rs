//! Parameters of networks by name, wherever they come from: a file, or a fresh set to train.

use super::Precision;
use crate::error::Result;
use candle_core::{Device, Tensor};

/// `scale · b · a` is added to a weight.
#[derive(Debug)]
pub struct LowRank {
    /// `(rank, in)`.
    pub a: Tensor,
    /// `(out, rank)`.
    pub b: Tensor,
    /// Scale of the product.
    pub scale: f64,
}

/// How a parameter begins when it is to be trained (specification D.5: linear weights σ 0.02, norms 1/0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Normal with this standard deviation.
    Normal(f64),
    /// Uniform in ±1/√fan-in, PyTorch's default for convolutions.
    FanIn(usize),
}

/// Where a network's parameters come from: a file, or a fresh set to train.
pub trait Parameters {
    /// The parameter of this name and shape, float32.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor>;

    /// Whether gradients are wanted: then layers avoid operations without a backward pass.
    fn trainable(&self) -> bool {
        false
    }

    /// How layers hold them.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// The thin matrices trained beside the weight of this name and shape; `None` outside low-rank fine-tuning.
    ///
    /// # Errors
    /// When the device has no room.
    fn low_rank(&mut self, _name: &str, _shape: [usize; 2]) -> Result<Option<LowRank>> {
        Ok(None)
    }
}

/// A prefix below which a layer finds its parameters.
pub struct Scope<'a> {
    source: &'a mut dyn Parameters,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// The root of a parameter source.
    pub fn root(source: &'a mut dyn Parameters) -> Self {
        Self { source, prefix: String::new() }
    }

    /// The scope `prefix.name`.
    pub fn at(&mut self, name: impl std::fmt::Display) -> Scope<'_> {
        let prefix = if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) };
        Scope { source: self.source, prefix }
    }

    /// The parameter `prefix.name`.
    ///
    /// # Errors
    /// As [`Parameters::get`].
    pub fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let full = if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) };
        self.source.get(&full, shape, init)
    }

    /// As [`Parameters::low_rank`].
    ///
    /// # Errors
    /// As there.
    pub fn low_rank(&mut self, name: &str, shape: [usize; 2]) -> Result<Option<LowRank>> {
        let full = if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) };
        self.source.low_rank(&full, shape)
    }

    /// As [`Parameters::trainable`].
    pub fn trainable(&self) -> bool {
        self.source.trainable()
    }

    /// As [`Parameters::precision`].
    pub fn precision(&self) -> Precision {
        self.source.precision()
    }
}

/// Weights of the right size and spread, made up: for measuring time, which does not depend on their values.
#[derive(Debug)]
pub struct MadeUp {
    state: u32,
    device: Device,
}

impl MadeUp {
    /// Always the same ones.
    pub fn new(device: &Device) -> Self {
        Self { state: 1, device: device.clone() }
    }
}

impl Parameters for MadeUp {
    fn get(&mut self, _name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        let mut next = || {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if matches!(init, Init::Ones) { 1.0 } else { (self.state as f32 / u32::MAX as f32 - 0.5) * 0.07 }
        };
        let data: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        Ok(Tensor::from_vec(data, shape, &self.device)?)
    }
}
