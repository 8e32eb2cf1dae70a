//! Group norm on images laid out `(row, column, batch, channel)`.

use super::fill::in_parallel;
use super::functions::silu;
use super::instructions::Instructions;
use super::storage::{bad, values};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape};
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// Pixels whose sums are taken by one task; fixed, so that sums do not depend on the number of threads.
pub(super) const PIXELS: usize = 512;

/// Group norm (eps 1e-6) and, with `swish`, x · sigmoid(x).
pub(super) struct GroupNorm {
    pub weight: Vec<f32>,
    pub shift: Vec<f32>,
    pub groups: usize,
    pub swish: bool,
}

impl CustomOp1 for GroupNorm {
    fn name(&self) -> &'static str {
        "group-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, of_x: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (height, width, batch, channels) = of_x.shape().dims4()?;
        let fits = channels == self.weight.len() && channels == self.shift.len();
        let Some(sizes) = Sizes::new([height * width, batch, channels], self.groups).filter(|_| fits) else {
            return Err(bad(format!("{channels} channels for a group norm of {}", self.weight.len())));
        };
        let x = values(x, of_x)?;
        let norm = Normed { moments: &Moments::of(x, sizes), weight: &self.weight, shift: &self.shift };
        Ok((CpuStorage::F32(norm.apply(x, self.swish)), of_x.shape().clone()))
    }
}

/// Sizes of an image and its groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub pixels: usize,
    pub batch: usize,
    pub channels: usize,
    /// Channels of a group.
    pub each: usize,
}

impl Sizes {
    /// `None` when the channels do not make that many groups.
    pub(super) fn new([pixels, batch, channels]: [usize; 3], groups: usize) -> Option<Self> {
        let fits = groups > 0 && channels > 0 && channels % groups == 0;
        fits.then(|| Self { pixels, batch, channels, each: channels / groups })
    }

    /// Values of a pixel.
    pub(super) fn row(&self) -> usize {
        self.batch * self.channels
    }

    /// From sums by item and channel, in parts, to the mean over each group of an item.
    pub(super) fn averages(&self, parts: &[Vec<f32>]) -> Vec<f64> {
        let mut sums = vec![0.0; self.row() / self.each];
        for part in parts {
            for (at, sum) in part.iter().enumerate() {
                sums[at / self.each] += f64::from(*sum);
            }
        }
        sums.iter().map(|sum| sum / (self.pixels * self.each) as f64).collect()
    }
}

/// Mean and spread of the groups.
#[derive(Debug)]
pub(super) struct Moments {
    pub sizes: Sizes,
    /// By item and channel.
    pub means: Vec<f32>,
    /// 1 / standard deviation, by item and group.
    pub inverse: Vec<f64>,
}

impl Moments {
    pub(super) fn of(x: &[f32], sizes: Sizes) -> Self {
        const EPS: f64 = 1e-6;
        let average = |means: &[f32], moment: Moment| {
            let parts: Vec<_> = x.par_chunks(PIXELS * sizes.row()).map(|pixels| moment.sums(pixels, means)).collect();
            sizes.averages(&parts)
        };
        let first = average(&vec![0.0; sizes.row()], Moment::First);
        let means: Vec<f32> = first.iter().flat_map(|mean| vec![*mean as f32; sizes.each]).collect();
        // Two passes: exact where values are large and differ little.
        let variances = average(&means, Moment::Second);
        let inverse = variances.iter().map(|v| (v + EPS).sqrt().recip()).collect();
        Self { sizes, means, inverse }
    }
}

/// A norm of known moments.
pub(super) struct Normed<'a> {
    pub moments: &'a Moments,
    /// By channel, or by item and channel.
    pub weight: &'a [f32],
    /// As many.
    pub shift: &'a [f32],
}

impl Normed<'_> {
    /// The normed image, and x · sigmoid(x) of it where `swish` says so.
    pub(super) fn apply(&self, x: &[f32], swish: bool) -> Vec<f32> {
        let Moments { sizes, means, inverse } = self.moments;
        let row = sizes.row();
        let scales: Vec<f32> = (0..row)
            .map(|at| (inverse[at / sizes.each] * f64::from(self.weight[at % self.weight.len()])) as f32)
            .collect();
        in_parallel(x.len(), PIXELS * row, |task, out| {
            let x = &x[task * PIXELS * row..][..out.len()];
            let pixels = NormPixels { shift: self.shift, swish, x, means, scales: &scales, out };
            Instructions::here().registers().dispatch(pixels);
        })
    }
}

/// What is summed over the pixels, per item and channel.
#[derive(Clone, Copy)]
enum Moment {
    First,
    /// Squared distances from the mean.
    Second,
}

impl Moment {
    fn sums(self, pixels: &[f32], means: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0; means.len()];
        Instructions::here().registers().dispatch(Sums { moment: self, pixels, means, sums: &mut sums });
        sums
    }
}

struct Sums<'a> {
    moment: Moment,
    pixels: &'a [f32],
    means: &'a [f32],
    sums: &'a mut [f32],
}

impl NullaryFnOnce for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for pixel in self.pixels.chunks_exact(self.means.len()) {
            for ((sum, v), mean) in self.sums.iter_mut().zip(pixel).zip(self.means) {
                *sum += match self.moment {
                    Moment::First => *v,
                    Moment::Second => (v - mean) * (v - mean),
                };
            }
        }
    }
}

/// Some pixels of a group norm.
struct NormPixels<'a> {
    shift: &'a [f32],
    swish: bool,
    x: &'a [f32],
    /// Per item and channel.
    means: &'a [f32],
    scales: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for NormPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { shift, swish, x, means, scales, out } = self;
        let (row, channels) = (means.len(), shift.len());
        for (out, x) in out.chunks_exact_mut(row).zip(x.chunks_exact(row)) {
            for (item, out) in out.chunks_exact_mut(channels).enumerate() {
                let own = item * channels..(item + 1) * channels;
                let (x, means, scales) = (&x[own.clone()], &means[own.clone()], &scales[own]);
                let each = out.iter_mut().zip(x).zip(means).zip(scales).zip(shift);
                for ((((out, x), mean), scale), shift) in each {
                    let v = (x - mean) * scale + shift;
                    *out = if swish { silu(v) } else { v };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{farthest, waves};
    use super::*;
    use candle_core::Tensor;

    #[test]
    fn group_norms_are_those_of_the_definition() {
        let (groups, channels) = (4, 24);
        // Far from zero, and more pixels than one task takes.
        let x = waves(&[30, 40, 2, channels], 0.41).affine(1.0, 50.0).expect("image");
        let (weight, shift) = (waves(&[channels], 0.2), waves(&[channels], 0.3));
        for swish in [false, true] {
            let op = GroupNorm {
                weight: weight.to_vec1().expect("weight"),
                shift: shift.to_vec1().expect("shift"),
                groups,
                swish,
            };
            let found = x.apply_op1_no_bwd(&op).expect("norm");
            let run = || -> candle_core::Result<Tensor> {
                let grouped = x.permute((2, 3, 0, 1))?.reshape((2, groups, ()))?;
                let centred = grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?;
                let normed = centred.broadcast_div(&(centred.sqr()?.mean_keepdim(2)? + 1e-6)?.sqrt()?)?;
                let normed = normed.reshape((2, channels, 30, 40))?.permute((2, 3, 0, 1))?;
                let y = normed.broadcast_mul(&weight)?.broadcast_add(&shift)?;
                if swish { y.silu() } else { Ok(y) }
            };
            let expected = run().expect("slow");
            assert!(farthest(&found, &expected) < 1e-3, "{}", farthest(&found, &expected));
            let wrong = GroupNorm { groups: 5, ..op };
            assert!(x.apply_op1_no_bwd(&wrong).is_err());
        }
    }
}
