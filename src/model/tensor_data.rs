//! A tensor in the memory of the program as files hold it.

use crate::error::Result;
use candle_core::{DType, Device, Tensor};

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
