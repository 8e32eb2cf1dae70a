//! Functions of one value, and products with a row, with their gradients.

use super::super::fill::in_parallel;
use super::super::functions::{gelu, gelu_slope, silu, silu_slope};
use super::super::instructions::Instructions;
use super::super::rows::column_sums;
use super::super::storage::{bad, values};
use super::{Held, made};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use pulp::NullaryFnOnce;

/// Values that one task works on.
const CHUNK: usize = 1 << 14;

/// A function of one value.
#[derive(Clone, Copy)]
pub(super) enum Activation {
    Gelu,
    Silu,
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, of_x: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = values(x, of_x)?;
        let out = in_parallel(x.len(), CHUNK, |task, out| {
            let x = &x[task * CHUNK..][..out.len()];
            Instructions::here().registers().dispatch(Values { of: *self, x, gradient: None, out });
        });
        Ok((CpuStorage::F32(out), of_x.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (values, gradient) = (Held::of(x)?, Held::of(&grad)?);
        let out = in_parallel(values.len(), CHUNK, |task, out| {
            let own = task * CHUNK..task * CHUNK + out.len();
            let (x, gradient) = (&values[own.clone()], Some(&gradient[own]));
            Instructions::here().registers().dispatch(Values { of: *self, x, gradient, out });
        });
        made(out, x.shape())
    }
}

/// Some values of an activation, or of what its gradient becomes.
struct Values<'a> {
    of: Activation,
    x: &'a [f32],
    gradient: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Values<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let both = self.out.iter_mut().zip(self.x);
        match (self.of, self.gradient) {
            (Activation::Gelu, None) => both.for_each(|(out, x)| *out = gelu(*x)),
            (Activation::Silu, None) => both.for_each(|(out, x)| *out = silu(*x)),
            (Activation::Gelu, Some(gradient)) => {
                both.zip(gradient).for_each(|((out, x), gradient)| *out = gradient * gelu_slope(*x));
            }
            (Activation::Silu, Some(gradient)) => {
                both.zip(gradient).for_each(|((out, x), gradient)| *out = gradient * silu_slope(*x));
            }
        }
    }
}

/// See [`super::scaled`].
pub(super) struct Scaled;

/// Every row of an item times the item's own row.
fn times_rows(x: &[f32], rows: &[f32], features: usize) -> Vec<f32> {
    let item = x.len() / (rows.len() / features).max(1);
    in_parallel(x.len(), item, |i, out| {
        let (by, x) = (&rows[i * features..][..features], &x[i * item..][..item]);
        Instructions::here().registers().dispatch(Product { x, by, out });
    })
}

/// Every row, or all values, times others.
struct Product<'a> {
    x: &'a [f32],
    by: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { x, by, out } = self;
        for (out, x) in out.chunks_exact_mut(by.len()).zip(x.chunks_exact(by.len())) {
            out.iter_mut().zip(x).zip(by).for_each(|((out, x), by)| *out = x * by);
        }
    }
}

impl CustomOp2 for Scaled {
    fn name(&self) -> &'static str {
        "scaled"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        by: &CpuStorage,
        of_by: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, _, features) = of_x.shape().dims3()?;
        if of_by.shape().dims() != [batch, features] {
            return Err(bad(format!("{:?} scaled by {:?}", of_x.shape(), of_by.shape())));
        }
        Ok((CpuStorage::F32(times_rows(values(x, of_x)?, values(by, of_by)?, features)), of_x.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        by: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (batch, tokens, features) = x.dims3()?;
        let (values, rows, gradient) = (Held::of(x)?, Held::of(by)?, Held::of(&grad)?);
        let both = in_parallel(values.len(), CHUNK, |task, out| {
            let own = task * CHUNK..task * CHUNK + out.len();
            Instructions::here().registers().dispatch(Product { x: &values[own.clone()], by: &gradient[own], out });
        });
        let of_by = (0..batch)
            .flat_map(|i| column_sums(&both[i * tokens * features..][..tokens * features], features))
            .collect();
        Ok((made(times_rows(&gradient, &rows, features), x.shape())?, made(of_by, by.shape())?))
    }
}
