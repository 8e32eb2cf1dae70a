//! Weights by name: files, strict loading, and parameters to train.

use super::Precision;
use super::layers::LowRank;
use super::pth;
use crate::error::{Error, Result};
use crate::files::{self, hex};
use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A tensor as it lies in a file: little-endian, contiguous.
#[derive(Debug, Clone)]
pub struct TensorData {
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<usize>,
    /// Raw bytes.
    pub bytes: Vec<u8>,
}

impl TensorData {
    /// Float32 values of this shape.
    pub fn new(shape: Vec<usize>, values: &[f32]) -> Self {
        Self { dtype: DType::F32, shape, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    /// As float32 on a device.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_raw_buffer(&self.bytes, self.dtype, &self.shape, &Device::Cpu)?
            .to_dtype(DType::F32)?
            .to_device(device)?)
    }
}

/// Reads every tensor of a `.safetensors` file or a PyTorch `.pth`/`.pt`/`.ckpt` file.
///
/// # Errors
/// When the file is missing, truncated, or no such file.
pub fn read_weights(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    if path.extension().is_none_or(|e| e != "safetensors") {
        return pth::read(path);
    }
    let bytes = files::read(path, u64::MAX).map_err(|e| Error::io(path, "read", &e))?;
    safetensors_in(path, &bytes)
}

/// Every tensor of a `.safetensors` file that was read already; `path` names it in errors.
///
/// # Errors
/// When it is truncated or no such file.
pub fn safetensors_in(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, TensorData>> {
    let bad = |what: String| Error::file(path, format!("This is not a readable safetensors file (truncated?): {what}"));
    let file = safetensors::SafeTensors::deserialize(bytes).map_err(|e| bad(e.to_string()))?;
    file.iter()
        .map(|(name, view)| {
            let dtype = match view.dtype() {
                safetensors::Dtype::F32 => DType::F32,
                safetensors::Dtype::F16 => DType::F16,
                safetensors::Dtype::BF16 => DType::BF16,
                safetensors::Dtype::F64 => DType::F64,
                other => return Err(bad(format!("tensor {name} has type {other:?}, expected floating point"))),
            };
            Ok((name.to_owned(), TensorData { dtype, shape: view.shape().to_vec(), bytes: view.data().to_vec() }))
        })
        .collect()
}

/// Lower-case hexadecimal SHA-256 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = files::open(path).map_err(|e| Error::io(path, "open", &e))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, "read", &e))? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
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

/// Strict loading: every expected tensor with the right shape, nothing left over.
pub struct LoadedWeights {
    path: PathBuf,
    tensors: BTreeMap<String, TensorData>,
    device: Device,
}

impl LoadedWeights {
    /// Reads a weight file; with `sha256`, checks it first.
    ///
    /// # Errors
    /// As [`read_weights`]; or when the hash differs.
    pub fn open(path: &Path, sha256: Option<&str>, device: &Device) -> Result<Self> {
        if let Some(expected) = sha256 {
            let found = sha256_of(path)?;
            if !found.eq_ignore_ascii_case(expected) {
                return Err(Error::file(
                    path,
                    format!(
                        "The file is damaged or was changed: its sha256 is {found}, the manifest says {expected}. Fetch or import the model again"
                    ),
                ));
            }
        }
        Ok(Self { path: path.to_path_buf(), tensors: read_weights(path)?, device: device.clone() })
    }

    /// All tensors that were not asked for yet.
    pub fn tensors(&self) -> &BTreeMap<String, TensorData> {
        &self.tensors
    }

    /// All of them.
    pub fn into_tensors(self) -> BTreeMap<String, TensorData> {
        self.tensors
    }

    /// Ends loading.
    ///
    /// # Errors
    /// When a tensor was not asked for; the message names the first.
    pub fn finish(self) -> Result<()> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::file(
                &self.path,
                format!(
                    "Surplus tensor {name} ({} in all): these weights belong to another architecture than the manifest describes",
                    self.tensors.len()
                ),
            )),
        }
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

impl Parameters for LoadedWeights {
    fn get(&mut self, name: &str, shape: &[usize], _init: Init) -> Result<Tensor> {
        let data = self
            .tensors
            .remove(name)
            .ok_or_else(|| Error::file(&self.path, format!("Missing tensor {name}, expected with shape {shape:?}")))?;
        if data.shape != shape {
            return Err(Error::file(
                &self.path,
                format!("Misshapen tensor {name}: found {:?}, expected {shape:?}", data.shape),
            ));
        }
        data.to_tensor(&self.device)
    }
}
