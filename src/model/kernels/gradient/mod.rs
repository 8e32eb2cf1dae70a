//! Layers under training, on a CPU: forward and backward by the same kernels, as operations that candle's gradients pass
//! through. What a backward pass can use again (statistics of norms, sums of attention) is kept by the operation.
//!
//! Sums run in an order that depends on shapes alone, so a gradient does not depend on how many threads work.

mod attention;
mod convolution;
mod group_norm;
mod layer_norm;
mod linear;
mod pointwise;
#[cfg(test)]
mod tests;
mod tile_attention;
mod tile_kernel;
mod turned;
mod winograd;

use super::{Precision, Sampling};
use crate::error::Result;
use candle_core::{Device, Shape, Storage, StorageRef, Tensor};
use std::ops::{Deref, Range};

/// `x (…, inputs)`, `weight (outputs, inputs)`, `bias (outputs)` → `x · weightᵀ + bias`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, precision: Precision) -> Result<Tensor> {
    let op = linear::Linear { precision };
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    Ok(match bias {
        Some(bias) => x.apply_op3(&weight, bias, op)?,
        None => x.apply_op2(&weight, op)?,
    })
}

/// 3×3 convolution of `x (row, column, batch, inputs)` with `weight (outputs, inputs, 3, 3)` and `bias (outputs)`.
pub fn convolution(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    sampling: Sampling,
    precision: Precision,
) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, bias, convolution::Convolution { sampling, precision })?)
}

/// As [`super::group_norm`]; weight and shift may also be those of each item, `(batch, channel)`.
pub fn group_norm(x: &Tensor, weight: &Tensor, shift: &Tensor, groups: usize, swish: bool) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op3(
        &weight.contiguous()?,
        &shift.contiguous()?,
        group_norm::GroupNorm::new(groups, swish),
    )?)
}

/// As [`super::norm`]; weight and shift may also be those of each item of the first dimension, `(batch, features)`.
pub fn norm(x: &Tensor, weight: &Tensor, shift: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, &shift.contiguous()?, layer_norm::Norm)?)
}

/// As [`super::attention`].
pub fn attention(qkv: &Tensor, heads: usize, precision: Precision) -> Result<Tensor> {
    Ok(qkv.contiguous()?.apply_op1(attention::Attention::new(heads, precision))?)
}

/// GELU with the exact error function.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op1(pointwise::Activation::Gelu)?)
}

/// x · sigmoid(x).
pub fn silu(x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op1(pointwise::Activation::Silu)?)
}

/// `x (batch, tokens, features)` times `by (batch, features)`.
pub fn scaled(x: &Tensor, by: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op2(&by.contiguous()?, pointwise::Scaled)?)
}

/// Values of a contiguous tensor while it is looked at.
struct Held<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Held<'a> {
    fn of(x: &'a Tensor) -> candle_core::Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        let (start, end) = layout.contiguous_offsets().ok_or_else(|| super::bad("not contiguous"))?;
        let Storage::Cpu(own) = &*storage else { return Err(super::bad("not on a CPU")) };
        own.as_slice::<f32>()?;
        Ok(Self { storage, range: start..end })
    }
}

impl Deref for Held<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(own) => own.as_slice::<f32>().map_or(&[], |all| &all[self.range.clone()]),
            _ => &[],
        }
    }
}

/// A tensor of a gradient.
fn made(values: Vec<f32>, shape: impl Into<Shape>) -> candle_core::Result<Option<Tensor>> {
    Ok(Some(Tensor::from_vec(values, shape, &Device::Cpu)?))
}
