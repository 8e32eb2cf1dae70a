//! What lies between the matrix products of the transformer, on a CPU: in one pass, on all cores of the pool that calls,
//! with the widest instructions the processor has. No gradients.
//!
//! What is to use those instructions is a type whose `call` is inlined always; a closure would not be sure to be.

use super::fill::in_parallel;
use super::functions::exp;
use super::instructions::Instructions;
use super::storage::{bad, values};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape};
use pulp::NullaryFnOnce;

/// Values worked on side by side: one register of the widest processors.
const LANES: usize = 16;
/// Rows that one task works on.
pub(super) const ROWS: usize = 32;

/// Layer norm (eps 1e-5) over the last dimension.
#[derive(Debug)]
pub(super) struct Norm {
    pub weight: Vec<f32>,
    pub shift: Vec<f32>,
}

impl CustomOp1 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, of_x: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, width, arch) = (values(x, of_x)?, self.weight.len(), Instructions::here().registers());
        if width == 0 || !x.len().is_multiple_of(width) || self.shift.len() != width {
            return Err(bad(format!("{} values for a norm over {width}", x.len())));
        }
        let out = in_parallel(x.len(), ROWS * width, |task, out| {
            arch.dispatch(NormRows { norm: self, x: &x[task * ROWS * width..], out });
        });
        Ok((CpuStorage::F32(out), of_x.shape().clone()))
    }
}

/// Some rows of a layer norm.
struct NormRows<'a> {
    norm: &'a Norm,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for NormRows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let width = self.norm.weight.len();
        for (out, x) in self.out.chunks_exact_mut(width).zip(self.x.chunks_exact(width)) {
            self.norm.row(x, out);
        }
    }
}

/// Rows that are normed where they lie.
struct InPlace<'a> {
    norm: &'a Norm,
    rows: &'a mut [f32],
}

impl NullaryFnOnce for InPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Norm { weight, shift } = self.norm;
        for row in self.rows.chunks_exact_mut(weight.len()) {
            let (mean, factor) = moments(row);
            for ((v, weight), shift) in row.iter_mut().zip(weight).zip(shift) {
                *v = (*v - mean) * factor * weight + shift;
            }
        }
    }
}

impl Norm {
    /// Norms rows on this thread.
    pub(super) fn in_place(&self, rows: &mut [f32]) {
        Instructions::here().registers().dispatch(InPlace { norm: self, rows });
    }

    #[inline(always)]
    fn row(&self, x: &[f32], out: &mut [f32]) {
        let (mean, factor) = moments(x);
        for (((out, x), weight), shift) in out.iter_mut().zip(x).zip(&self.weight).zip(&self.shift) {
            *out = (x - mean) * factor * weight + shift;
        }
    }
}

/// Mean of a row, and 1 / standard deviation (eps 1e-5).
#[inline(always)]
pub(super) fn moments(x: &[f32]) -> (f32, f32) {
    const EPS: f32 = 1e-5;
    let n = x.len() as f32;
    let mean = sum(x, |v| v) / n;
    // Two passes: exact where values are large and differ little.
    let variance = sum(x, |v| (v - mean) * (v - mean)) / n;
    (mean, (variance + EPS).sqrt().recip())
}

/// Sum of a function of all values, lane by lane.
#[inline(always)]
pub(super) fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += of(*v);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|v| of(*v)).sum::<f32>()
}

/// Puts the exponentials of `scale` times each row, less its largest value, in its place, and their sums beside.
pub(super) struct Exponentials<'a> {
    pub rows: &'a mut [f32],
    pub width: usize,
    /// Above 0.
    pub scale: f32,
    pub sums: &'a mut [f32],
}

impl NullaryFnOnce for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (row, sum) in self.rows.chunks_exact_mut(self.width).zip(self.sums) {
            *sum = exponentials(row, self.scale);
        }
    }
}

/// Puts the exponentials of `scale` times a row, less its largest value, in its place; returns their sum. `scale` > 0.
#[inline(always)]
fn exponentials(row: &mut [f32], scale: f32) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *v);
        }
    }
    let highest = lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger);
    for v in row.iter_mut() {
        *v = exp((*v - highest) * scale);
    }
    sum(row, |v| v)
}
