//! Building blocks of both networks.
//!
//! Images inside the autoencoder are laid out `(row, column, batch, channel)`: convolutions become one matrix
//! product over gathered neighbours (several times faster on a CPU than candle's own convolution), and
//! everything that belongs to a (batch, channel) pair broadcasts from the left.

use super::Precision;
pub use super::kernels::Sampling;
use super::kernels::{self, PackedConv, PackedLinear, gradient};
use super::parameters::{Init, LowRank, Scope};
use crate::error::Result;
use candle_core::{D, Module, Tensor};
use candle_nn::Linear;

/// Gathered neighbours of one strip of a convolution are kept below this many values (64 MiB).
const MAX_GATHERED: usize = 16 << 20;

/// A linear layer `name.weight (out, in)`, `name.bias (out)`.
pub(super) fn linear(scope: &mut Scope, inputs: usize, outputs: usize, bias: bool) -> Result<Projection> {
    linear_from(scope, inputs, outputs, bias, Init::Normal(0.02))
}

/// As [`linear`], beginning elsewhere when it is trained.
pub(super) fn linear_from(
    scope: &mut Scope,
    inputs: usize,
    outputs: usize,
    bias: bool,
    init: Init,
) -> Result<Projection> {
    Projection::new(scope, [inputs, outputs], bias, init, 1)
}

/// As [`linear`], over two tensors of `inputs` features each side by side.
pub(super) fn linear_pair(scope: &mut Scope, inputs: usize, outputs: usize) -> Result<Projection> {
    Projection::new(scope, [2 * inputs, outputs], true, Init::Normal(0.02), 2)
}

/// A linear layer; in low-rank fine-tuning with a trained product of two thin matrices beside the fixed weight.
#[derive(Debug)]
pub struct Projection {
    weight: Weight,
    precision: Precision,
}

#[derive(Debug)]
enum Weight {
    /// For a CPU that only computes forward.
    Packed(PackedLinear),
    Plain(Linear, Option<LowRank>),
}

impl Projection {
    /// `name.weight (out, in)` and, with `bias`, `name.bias (out)`; the inputs come in so many tensors of equal width.
    ///
    /// # Errors
    /// When a parameter is missing or misshapen.
    pub fn new(scope: &mut Scope, [inputs, outputs]: [usize; 2], bias: bool, init: Init, parts: usize) -> Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs], init)?;
        let bias = if bias { Some(scope.get("bias", &[outputs], Init::Zeros)?) } else { None };
        let low_rank = scope.low_rank("weight", [outputs, inputs])?;
        Self::of(scope, weight, bias, low_rank, parts)
    }

    fn of(
        scope: &Scope,
        weight: Tensor,
        bias: Option<Tensor>,
        low_rank: Option<LowRank>,
        parts: usize,
    ) -> Result<Self> {
        let packed = !scope.trainable() && low_rank.is_none() && kernels::can_run(&weight);
        Ok(Self {
            weight: if packed {
                Weight::Packed(PackedLinear::new(&weight, bias.as_ref(), parts, scope.precision())?)
            } else {
                Weight::Plain(Linear::new(weight, bias), low_rank)
            },
            precision: scope.precision(),
        })
    }

    /// The packed weight, of a layer that only computes forward on a CPU.
    pub(super) fn packed(&self) -> Option<&PackedLinear> {
        match &self.weight {
            Weight::Packed(packed) => Some(packed),
            Weight::Plain(..) => None,
        }
    }

    /// Maps the last dimension.
    ///
    /// # Errors
    /// When it does not have as many features as there are inputs, or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let plain = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| -> Result<Tensor> {
            if kernels::can_run(x) {
                return gradient::linear(x, weight, bias, self.precision);
            }
            Ok(Linear::new(weight.clone(), bias.cloned()).forward(&x.contiguous()?)?)
        };
        match &self.weight {
            Weight::Packed(packed) => packed.forward(x),
            Weight::Plain(linear, None) => plain(x, linear.weight(), linear.bias()),
            Weight::Plain(linear, Some(LowRank { a, b, scale })) => {
                let beside = plain(&plain(x, a, None)?, b, None)?;
                Ok((plain(x, linear.weight(), linear.bias())? + (beside * *scale)?)?)
            }
        }
    }

    /// Maps the last dimension, and adds the result to `onto`.
    pub(super) fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Packed(packed) => packed.forward_onto(x, onto),
            Weight::Plain(..) => Ok((onto + self.forward(x)?)?),
        }
    }

    /// Maps the last dimension, then GELU with the exact error function.
    pub fn forward_gelu(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Packed(packed) => packed.forward_gelu(x),
            Weight::Plain(..) if kernels::can_run(x) => gradient::gelu(&self.forward(x)?),
            Weight::Plain(..) => Ok(self.forward(x)?.gelu_erf()?),
        }
    }

    /// Maps the last dimensions of two tensors side by side, for a layer made by [`linear_pair`].
    pub(super) fn forward_pair(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Packed(packed) => packed.forward_pair(x, y),
            Weight::Plain(..) => self.forward(&Tensor::cat(&[x, y], D::Minus1)?),
        }
    }
}

/// Layer norm over the last dimension, eps 1e-5.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    trainable: bool,
}

impl LayerNorm {
    const EPS: f32 = 1e-5;

    /// `name.weight`, `name.bias`, both `(features)`.
    pub fn new(scope: &mut Scope, features: usize) -> Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[features], Init::Ones)?,
            bias: scope.get("bias", &[features], Init::Zeros)?,
            trainable: scope.trainable(),
        })
    }

    /// Weight and shift.
    pub(super) fn parts(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.trainable && kernels::can_run(x) {
            return gradient::norm(x, &self.weight, &self.bias);
        }
        if self.trainable {
            return Ok(candle_nn::ops::layer_norm_slow(&x.contiguous()?, &self.weight, &self.bias, Self::EPS)?);
        }
        if kernels::can_run(x) {
            return kernels::norm(x, &self.weight, &self.bias);
        }
        Ok(candle_nn::ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, Self::EPS)?)
    }
}

/// Softmax over the last dimension, with a backward pass only when one is wanted.
pub(super) fn softmax(x: &Tensor, trainable: bool) -> Result<Tensor> {
    Ok(if trainable { candle_nn::ops::softmax(x, D::Minus1)? } else { candle_nn::ops::softmax_last_dim(x)? })
}

/// Group norm (eps 1e-6, affine) on `(row, column, batch, channel)`.
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    trainable: bool,
}

impl GroupNorm {
    const EPS: f64 = 1e-6;

    /// `name.weight`, `name.bias`, both `(channels)`.
    pub fn new(scope: &mut Scope, channels: usize, groups: usize) -> Result<Self> {
        Ok(Self {
            weight: scope.get("weight", &[channels], Init::Ones)?,
            bias: scope.get("bias", &[channels], Init::Zeros)?,
            groups,
            trainable: scope.trainable(),
        })
    }

    /// Normalises each (item, group) over all positions and the group's channels.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if kernels::can_run(x) {
            return self.on_cpu(x, false);
        }
        let plain = Self::plain(x, self.groups)?;
        Ok(plain.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?)
    }

    /// The same without weight and bias, by candle's operations.
    pub(super) fn plain(x: &Tensor, groups: usize) -> Result<Tensor> {
        let (h, w, b, c) = x.dims4()?;
        let flat = x.reshape((h * w, b * c))?;
        // Sums over positions as a product with a row of 1/n: fast, and it has a gradient.
        let average = Tensor::full(1f32 / (h * w) as f32, (1, h * w), x.device())?;
        let over_group = |per_channel: Tensor| -> Result<Tensor> {
            let grouped = per_channel.reshape((b, groups, c / groups))?.mean_keepdim(2)?;
            Ok(grouped.broadcast_as((b, groups, c / groups))?.reshape((1, b * c))?)
        };
        let mean = over_group(average.matmul(&flat)?)?;
        let centred = flat.broadcast_sub(&mean)?;
        let variance = over_group(average.matmul(&centred.sqr()?)?)?;
        let scale = (variance + Self::EPS)?.sqrt()?.recip()?;
        Ok(centred.broadcast_mul(&scale)?.reshape((h, w, b, c))?)
    }

    /// Normalises, then x · sigmoid(x).
    pub fn forward_swish(&self, x: &Tensor) -> Result<Tensor> {
        if kernels::can_run(x) {
            return self.on_cpu(x, true);
        }
        Ok(self.forward(x)?.silu()?)
    }

    fn on_cpu(&self, x: &Tensor, swish: bool) -> Result<Tensor> {
        let norm = if self.trainable { gradient::group_norm } else { kernels::group_norm };
        norm(x, &self.weight, &self.bias, self.groups, swish)
    }
}

/// 3×3 convolution with bias on `(row, column, batch, channel)`.
#[derive(Debug)]
pub struct Conv3 {
    weight: ConvWeight,
    sampling: Sampling,
    precision: Precision,
}

#[derive(Debug)]
enum ConvWeight {
    /// For a CPU that only computes forward.
    Packed(PackedConv),
    /// `(out, in, 3, 3)`, and the bias.
    Plain(Tensor, Tensor),
}

impl Conv3 {
    /// `name.weight (out, in, 3, 3)`, `name.bias (out)`.
    pub fn new(scope: &mut Scope, inputs: usize, outputs: usize, sampling: Sampling) -> Result<Self> {
        Self::with_init(scope, inputs, outputs, sampling, Init::FanIn(9 * inputs))
    }

    /// As [`new`](Self::new) with another beginning for training.
    pub fn with_init(scope: &mut Scope, inputs: usize, outputs: usize, sampling: Sampling, init: Init) -> Result<Self> {
        let weight = scope.get("weight", &[outputs, inputs, 3, 3], init)?;
        let bias = scope.get("bias", &[outputs], Init::Zeros)?;
        let weight = if !scope.trainable() && kernels::can_run(&weight) {
            ConvWeight::Packed(PackedConv::new(&weight, &bias, sampling, scope.precision())?)
        } else {
            ConvWeight::Plain(weight, bias)
        };
        Ok(Self { weight, sampling, precision: scope.precision() })
    }

    /// Convolves; the result has the size [`Sampling`] says.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = match &self.weight {
            ConvWeight::Packed(packed) => return packed.forward(x),
            ConvWeight::Plain(weight, bias) => (weight, bias),
        };
        if kernels::can_run(x) {
            return gradient::convolution(x, weight, bias, self.sampling, self.precision);
        }
        self.forward_anywhere(x, weight, bias)
    }

    /// The same by candle's operations.
    fn forward_anywhere(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let doubled = if self.sampling == Sampling::Double { Some(upsample(x)?) } else { None };
        let x = doubled.as_ref().unwrap_or(x);
        let (h, w, b, c) = x.dims4()?;
        let matrix = conv_matrix(weight)?;
        let (padded, rows, columns) = match self.sampling {
            Sampling::Same | Sampling::Double => (x.pad_with_zeros(0, 1, 1)?.pad_with_zeros(1, 1, 1)?, h, w),
            Sampling::Half => (x.pad_with_zeros(0, 0, 2)?.pad_with_zeros(1, 0, 2)?, h / 2, w / 2),
        };
        let strip = (MAX_GATHERED / (columns * b * c * 9)).clamp(1, rows);
        let mut strips = Vec::new();
        for top in (0..rows).step_by(strip) {
            let height = strip.min(rows - top);
            let gathered = match self.sampling {
                Sampling::Same | Sampling::Double => gather_same(&padded, top, height, columns)?,
                Sampling::Half => gather_half(&padded, top, height, columns)?,
            };
            let product = gathered.reshape((height * columns * b, 9 * c))?.matmul(&matrix)?;
            strips.push(product.broadcast_add(bias)?.reshape((height, columns, b, ()))?);
        }
        Ok(if strips.len() == 1 { strips.swap_remove(0) } else { Tensor::cat(&strips, 0)? })
    }

    /// Convolves, and adds the result to `onto`.
    pub fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Result<Tensor> {
        match &self.weight {
            ConvWeight::Packed(packed) => packed.forward_onto(x, onto),
            ConvWeight::Plain(..) => Ok((onto + self.forward(x)?)?),
        }
    }
}

/// `(out, in, 3, 3)` → `(9·in, out)`, the nine taps row by row.
fn conv_matrix(weight: &Tensor) -> Result<Tensor> {
    let (outputs, inputs, _, _) = weight.dims4()?;
    Ok(weight.permute((2, 3, 1, 0))?.reshape((9 * inputs, outputs))?.contiguous()?)
}

fn gather_same(padded: &Tensor, top: usize, rows: usize, columns: usize) -> Result<Tensor> {
    let mut taps = Vec::with_capacity(9);
    for dy in 0..3 {
        for dx in 0..3 {
            // Contiguous pieces take candle's fast path of `cat`.
            taps.push(padded.narrow(0, top + dy, rows)?.narrow(1, dx, columns)?.contiguous()?);
        }
    }
    Ok(Tensor::cat(&taps, 3)?)
}

/// Every second pixel: the padded image is seen as 2×2 blocks, and a tap picks one corner of them.
fn gather_half(padded: &Tensor, top: usize, rows: usize, columns: usize) -> Result<Tensor> {
    let (h, w, b, c) = padded.dims4()?;
    let blocks = padded.reshape(&[h / 2, 2, w / 2, 2, b, c][..])?;
    let mut taps = Vec::with_capacity(9);
    for dy in 0..3 {
        for dx in 0..3 {
            let tap = blocks.narrow(0, top + dy / 2, rows)?.narrow(1, dy % 2, 1)?;
            let tap = tap.narrow(2, dx / 2, columns)?.narrow(3, dx % 2, 1)?;
            taps.push(tap.contiguous()?.reshape((rows, columns, b, c))?);
        }
    }
    Ok(Tensor::cat(&taps, 3)?)
}

/// 1×1 convolution `name.weight (out, in, 1, 1)`, `name.bias (out)`: a linear layer on the last dimension.
pub(super) fn pointwise(scope: &mut Scope, inputs: usize, outputs: usize) -> Result<Projection> {
    let weight = scope.get("weight", &[outputs, inputs, 1, 1], Init::FanIn(inputs))?.reshape((outputs, inputs))?;
    let bias = scope.get("bias", &[outputs], Init::Zeros)?;
    Projection::of(scope, weight, Some(bias), None, 1)
}

/// Nearest-neighbour doubling of rows and columns.
fn upsample(x: &Tensor) -> Result<Tensor> {
    let (h, w, b, c) = x.dims4()?;
    let wide = x.reshape(&[h, 1, w, 1, b, c][..])?.broadcast_as(&[h, 2, w, 2, b, c][..])?;
    Ok(wide.reshape((2 * h, 2 * w, b, c))?)
}

/// `(batch, channel, row, column)` → `(row, column, batch, channel)`.
pub(super) fn to_pixels(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((2, 3, 0, 1))?.contiguous()?)
}

/// `(row, column, batch, channel)` → `(batch, channel, row, column)`.
pub(super) fn from_pixels(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((2, 3, 0, 1))?.contiguous()?)
}
