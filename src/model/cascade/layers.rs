//! Layers of both networks of a cascade, on images laid out `(row, column, item, channel)`.

use crate::error::Result;
use crate::model::Precision;
use crate::model::kernels::{self, gradient};
use crate::model::layers::{Conv3, GroupNorm, Projection, Sampling, linear, linear_from};
use crate::model::parameters::{Init, Scope};
use candle_core::Tensor;

/// Channels of a group of every group norm.
const EACH: usize = 16;

/// Groups of a norm over so many channels.
pub(in crate::model) fn groups(channels: usize) -> usize {
    (channels / EACH).max(1)
}

/// Two convolutions beside a skip; the second norm is scaled and shifted by what is known of the whole window.
#[derive(Debug)]
pub(super) struct Residual {
    norm1: GroupNorm,
    conv1: Conv3,
    embed: Projection,
    norm2: (Tensor, Tensor),
    groups: usize,
    conv2: Conv3,
}

impl Residual {
    pub(super) fn new(scope: &mut Scope, width: usize, embedding: usize) -> Result<Self> {
        let norm2 = &mut scope.at("norm2");
        let norm2 = (norm2.get("weight", &[width], Init::Ones)?, norm2.get("bias", &[width], Init::Zeros)?);
        Ok(Self {
            norm1: GroupNorm::new(&mut scope.at("norm1"), width, groups(width))?,
            conv1: Conv3::new(&mut scope.at("conv1"), width, width, Sampling::Same)?,
            embed: linear_from(&mut scope.at("embed"), embedding, 2 * width, true, Init::Zeros)?,
            norm2,
            groups: groups(width),
            // It begins as no change.
            conv2: Conv3::with_init(&mut scope.at("conv2"), width, width, Sampling::Same, Init::Zeros)?,
        })
    }

    /// `embedding` is `(item, features)`.
    pub(super) fn forward(&self, x: &Tensor, embedding: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.forward_swish(x)?)?;
        let both = self.embed.forward(embedding)?.chunk(2, 1)?;
        let scale = both[0].affine(1.0, 1.0)?;
        let weight = scale.broadcast_mul(&self.norm2.0)?;
        let shift = (scale.broadcast_mul(&self.norm2.1)? + &both[1])?;
        self.conv2.forward_onto(&norm_by_item(&h, &weight, &shift, self.groups)?, x)
    }
}

/// Group norm with a weight and a shift `(item, channel)`, then x · sigmoid(x).
fn norm_by_item(x: &Tensor, weight: &Tensor, shift: &Tensor, groups: usize) -> Result<Tensor> {
    if kernels::can_run(x) {
        return gradient::group_norm(x, weight, shift, groups, true);
    }
    let plain = GroupNorm::plain(x, groups)?;
    let shape = (1, 1, weight.dim(0)?, weight.dim(1)?);
    Ok(plain.broadcast_mul(&weight.reshape(shape)?)?.broadcast_add(&shift.reshape(shape)?)?.silu()?)
}

/// Attention between all positions of an image.
#[derive(Debug)]
pub(super) struct Attention {
    norm: GroupNorm,
    qkv: Projection,
    out: Projection,
    heads: usize,
}

impl Attention {
    pub(super) fn new(scope: &mut Scope, width: usize, heads: usize) -> Result<Self> {
        Ok(Self {
            norm: GroupNorm::new(&mut scope.at("norm"), width, groups(width))?,
            qkv: linear(&mut scope.at("qkv"), width, 3 * width, false)?,
            out: linear_from(&mut scope.at("out"), width, width, true, Init::Zeros)?,
            heads,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (high, wide, items, width) = x.dims4()?;
        let tokens = self.norm.forward(x)?.reshape((high * wide, items, width))?.transpose(0, 1)?.contiguous()?;
        let qkv = self.qkv.forward(&tokens)?;
        let mixed = if kernels::can_run(&qkv) {
            gradient::attention(&qkv, self.heads, Precision::F32)?
        } else {
            attention_anywhere(&qkv, self.heads)?
        };
        let out = self.out.forward(&mixed)?.transpose(0, 1)?.contiguous()?;
        Ok((x + out.reshape((high, wide, items, width))?)?)
    }
}

/// The same by candle's operations.
fn attention_anywhere(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (items, positions, three) = qkv.dims3()?;
    let (width, each) = (three / 3, three / 3 / heads);
    let part = |k: usize| -> Result<Tensor> {
        let part = qkv.narrow(2, k * width, width)?.reshape((items, positions, heads, each))?;
        Ok(part.transpose(1, 2)?.contiguous()?)
    };
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let scores = candle_nn::ops::softmax(&(q * (each as f64).powf(-0.5))?.matmul(&k.t()?)?, 3)?;
    Ok(scores.matmul(&v)?.transpose(1, 2)?.reshape((items, positions, width))?)
}
