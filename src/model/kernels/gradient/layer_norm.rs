//! Layer norm over the last dimension, and its gradients.

use super::super::instructions::Instructions;
use super::super::rows::added;
use super::super::steps::{ROWS, moments, sum};
use super::super::storage::{bad, values};
use super::{Held, made};
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// See [`super::norm`].
pub(super) struct Norm;

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "norm-with-gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        weight: &CpuStorage,
        of_weight: &Layout,
        shift: &CpuStorage,
        of_shift: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, weight, shift) = (values(x, of_x)?, values(weight, of_weight)?, values(shift, of_shift)?);
        let width = of_x.shape().dims().last().copied().unwrap_or(0);
        let items = weight.len() / width.max(1);
        let fits = items > 0 && items * width == weight.len() && weight.len() == shift.len();
        if !fits || !x.len().is_multiple_of(items * width) {
            return Err(bad(format!("{:?} for a norm over {:?}", of_x.shape(), of_weight.shape())));
        }
        let (mut out, item) = (vec![0.0; x.len()], x.len() / items);
        out.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).enumerate().for_each(|(task, (out, x))| {
            let rows = Rows { x, first: task * ROWS * width, item, weight, width };
            Instructions::here().registers().dispatch(Forward { rows, shift, out });
        });
        Ok((CpuStorage::F32(out), of_x.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        shift: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (values, weights, gradient) = (Held::of(x)?, Held::of(weight)?, Held::of(&grad)?);
        let width = x.dims().last().copied().unwrap_or(0);
        let (count, item) = (weights.len(), values.len() / (weights.len() / width));
        let mut out = vec![0.0; values.len()];
        let both = values.par_chunks(ROWS * width).zip(gradient.par_chunks(ROWS * width));
        let parts: Vec<[Vec<f32>; 2]> = out
            .par_chunks_mut(ROWS * width)
            .zip(both)
            .enumerate()
            .map(|(task, (out, (x, gradient)))| {
                let mut sums = [vec![0.0; count], vec![0.0; count]];
                let rows = Rows { x, first: task * ROWS * width, item, weight: &weights, width };
                Instructions::here().registers().dispatch(Backward { rows, gradient, out, sums: &mut sums });
                sums
            })
            .collect();
        let [of_weight, of_shift] = [0, 1].map(|i| added(parts.iter().map(|part| part[i].as_slice()), count));
        Ok((made(out, x.shape())?, made(of_weight, weight.shape())?, made(of_shift, shift.shape())?))
    }
}

/// Some rows that are normed.
struct Rows<'a> {
    x: &'a [f32],
    /// Values before them.
    first: usize,
    /// Values that share weights.
    item: usize,
    weight: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// By row: values, mean, 1 / standard deviation, and where its weights begin.
    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = (&'a [f32], f32, f32, usize)> {
        let Self { x, first, item, width, .. } = *self;
        x.chunks_exact(width).enumerate().map(move |(row, x)| {
            let (mean, factor) = moments(x);
            (x, mean, factor, (first + row * width) / item * width)
        })
    }
}

struct Forward<'a> {
    rows: Rows<'a>,
    shift: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let width = self.rows.width;
        for (out, (x, mean, factor, at)) in self.out.chunks_exact_mut(width).zip(self.rows.each()) {
            let own = self.rows.weight[at..at + width].iter().zip(&self.shift[at..at + width]);
            for ((out, x), (weight, shift)) in out.iter_mut().zip(x).zip(own) {
                *out = (x - mean) * factor * weight + shift;
            }
        }
    }
}

struct Backward<'a> {
    rows: Rows<'a>,
    gradient: &'a [f32],
    out: &'a mut [f32],
    /// Of weights and shifts.
    sums: &'a mut [Vec<f32>; 2],
}

impl NullaryFnOnce for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let width = self.rows.width;
        let [of_weight, of_shift] = self.sums;
        let gradients = self.gradient.chunks_exact(width);
        for ((out, gradient), (x, mean, factor, at)) in
            self.out.chunks_exact_mut(width).zip(gradients).zip(self.rows.each())
        {
            let own = at..at + width;
            let weight = &self.rows.weight[own.clone()];
            let sums = of_weight[own.clone()].iter_mut().zip(&mut of_shift[own]);
            // The gradient before weights, kept where the result will be.
            for (((out, x), gradient), (weight, (of_weight, of_shift))) in
                out.iter_mut().zip(x).zip(gradient).zip(weight.iter().zip(sums))
            {
                *of_weight += gradient * (x - mean) * factor;
                *of_shift += gradient;
                *out = gradient * weight;
            }
            let first = sum(out, |v| v) / width as f32;
            let second = dot(out, x, mean) * factor / width as f32;
            for (out, x) in out.iter_mut().zip(x) {
                *out = factor * (*out - first - (x - mean) * factor * second);
            }
        }
    }
}

/// Σ a · (x − mean), lane by lane.
#[inline(always)]
fn dot(a: &[f32], x: &[f32], mean: f32) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let ((a, of_a), (x, of_x)) = (a.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    for (a, x) in a.iter().zip(x) {
        for (lane, (a, x)) in lanes.iter_mut().zip(a.iter().zip(x)) {
            *lane += a * (x - mean);
        }
    }
    lanes.iter().sum::<f32>() + of_a.iter().zip(of_x).map(|(a, x)| a * (x - mean)).sum::<f32>()
}
