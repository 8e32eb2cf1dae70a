//! Group norm, with x · sigmoid(x) after it or without, and its gradients.

use super::super::fill::in_parallel;
use super::super::functions::silu_slope;
use super::super::group_norm::{Moments, Normed, PIXELS, Sizes};
use super::super::instructions::Instructions;
use super::super::rows::added;
use super::super::storage::{bad, values};
use super::{Held, made};
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use pulp::NullaryFnOnce;
use rayon::prelude::*;
use std::sync::OnceLock;

/// See [`super::group_norm`].
pub(super) struct GroupNorm {
    groups: usize,
    swish: bool,
    /// Of the image that was normed.
    moments: OnceLock<Moments>,
}

impl GroupNorm {
    pub(super) fn new(groups: usize, swish: bool) -> Self {
        Self { groups, swish, moments: OnceLock::new() }
    }
}

impl CustomOp3 for GroupNorm {
    fn name(&self) -> &'static str {
        "group-norm-with-gradient"
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
        let (height, width, batch, channels) = of_x.shape().dims4()?;
        let (x, weight, shift) = (values(x, of_x)?, values(weight, of_weight)?, values(shift, of_shift)?);
        let fits = weight.len() == shift.len() && [channels, batch * channels].contains(&weight.len());
        let Some(sizes) = Sizes::new([height * width, batch, channels], self.groups).filter(|_| fits) else {
            return Err(bad(format!("{channels} channels for a group norm of {}", weight.len())));
        };
        let moments = self.moments.get_or_init(|| Moments::of(x, sizes));
        let out = Normed { moments, weight, shift }.apply(x, self.swish);
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
        let (of_x, of_weight, of_shift) = {
            let (x, weight, shift, gradient) = (Held::of(x)?, Held::of(weight)?, Held::of(shift)?, Held::of(&grad)?);
            let moments = self.moments.get().ok_or_else(|| bad("a norm went backward before it went forward"))?;
            Backward::new(moments, &weight, &shift, self.swish).run(&x, &gradient)
        };
        Ok((made(of_x, x.shape())?, made(of_weight, weight.shape())?, made(of_shift, shift.shape())?))
    }
}

/// What is needed to go back, each by item and channel.
struct Backward<'a> {
    moments: &'a Moments,
    swish: bool,
    inverse: Vec<f32>,
    weight: Vec<f32>,
    shift: Vec<f32>,
    /// Of the weights.
    given: usize,
}

impl<'a> Backward<'a> {
    fn new(moments: &'a Moments, weight: &[f32], shift: &[f32], swish: bool) -> Self {
        let (row, each) = (moments.sizes.row(), moments.sizes.each);
        let spread = |values: &[f32]| (0..row).map(|at| values[at % values.len()]).collect();
        let inverse = (0..row).map(|at| moments.inverse[at / each] as f32).collect();
        Self { moments, swish, inverse, weight: spread(weight), shift: spread(shift), given: weight.len() }
    }

    /// Gradients of the image, the weights and the shifts.
    fn run(&self, x: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let sizes = self.moments.sizes;
        let (row, arch) = (sizes.row(), Instructions::here().registers());
        let parts: Vec<[Vec<f32>; 2]> = (x.par_chunks(PIXELS * row).zip(gradient.par_chunks(PIXELS * row)))
            .map(|(x, gradient)| {
                let mut sums = [vec![0.0; row], vec![0.0; row]];
                arch.dispatch(Sums { of: self, x, gradient, sums: &mut sums });
                sums
            })
            .collect();
        let sums = [0, 1].map(|i| added(parts.iter().map(|part| part[i].as_slice()), row));
        // Means over each group, by item and channel.
        let means = [0, 1].map(|i| -> Vec<f32> {
            let weighted = sums[i].iter().zip(&self.weight).map(|(sum, w)| sum * w).collect();
            sizes.averages(&[weighted]).iter().flat_map(|mean| vec![*mean as f32; sizes.each]).collect()
        });
        let of_x = in_parallel(x.len(), PIXELS * row, |task, out| {
            let own = task * PIXELS * row..task * PIXELS * row + out.len();
            arch.dispatch(Pixels { of: self, x: &x[own.clone()], gradient: &gradient[own], means: &means, out });
        });
        let [shift, weight] = sums.map(|sums| added(sums.chunks(self.given), self.given));
        (of_x, weight, shift)
    }
}

/// The normed value, and the gradient before the activation.
#[inline(always)]
fn before(x: f32, gradient: f32, [mean, inverse, weight, shift]: [f32; 4], swish: bool) -> (f32, f32) {
    let normed = (x - mean) * inverse;
    (normed, if swish { gradient * silu_slope(normed * weight + shift) } else { gradient })
}

/// Sums over some pixels of the gradient, and of its product with the normed value.
struct Sums<'a> {
    of: &'a Backward<'a>,
    x: &'a [f32],
    gradient: &'a [f32],
    sums: &'a mut [Vec<f32>; 2],
}

impl NullaryFnOnce for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Backward { moments, swish, inverse, weight, shift, .. } = self.of;
        let row = inverse.len();
        let [first, second] = self.sums;
        for (x, gradient) in self.x.chunks_exact(row).zip(self.gradient.chunks_exact(row)) {
            let own = moments.means.iter().zip(inverse).zip(weight).zip(shift);
            let sums = first.iter_mut().zip(second.iter_mut());
            for (((x, gradient), (((mean, inverse), weight), shift)), (first, second)) in
                x.iter().zip(gradient).zip(own).zip(sums)
            {
                let (normed, gradient) = before(*x, *gradient, [*mean, *inverse, *weight, *shift], *swish);
                *first += gradient;
                *second += gradient * normed;
            }
        }
    }
}

/// The gradient of some pixels.
struct Pixels<'a> {
    of: &'a Backward<'a>,
    x: &'a [f32],
    gradient: &'a [f32],
    means: &'a [Vec<f32>; 2],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Pixels<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Backward { moments, swish, inverse, weight, shift, .. } = self.of;
        let row = inverse.len();
        let [first, second] = self.means;
        let pixels = self.x.chunks_exact(row).zip(self.gradient.chunks_exact(row));
        for (out, (x, gradient)) in self.out.chunks_exact_mut(row).zip(pixels) {
            let own = moments.means.iter().zip(inverse).zip(weight).zip(shift);
            let means = first.iter().zip(second);
            for (out, (((x, gradient), (((mean, inverse), weight), shift)), (first, second))) in
                out.iter_mut().zip(x.iter().zip(gradient).zip(own).zip(means))
            {
                let (normed, gradient) = before(*x, *gradient, [*mean, *inverse, *weight, *shift], *swish);
                *out = inverse * (weight * gradient - first - normed * second);
            }
        }
    }
}
