//! 3×3 convolution and group norm on images laid out `(row, column, batch, channel)`.
//!
//! A convolution is a product whose rows are a pixel's neighbours: nine pieces (or more, of wide images), each read where
//! the neighbour lies. Nothing is gathered, padded or doubled.

use super::factors::{Beside, Finish, PIECE, Rows};
use super::fill::in_parallel;
use super::functions::silu;
use super::instructions::Instructions;
use super::product::Packed;
use super::storage::{bad, values};
use crate::error::Result;
use crate::model::Precision;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use pulp::NullaryFnOnce;
use rayon::prelude::*;
use std::sync::Arc;

/// Pixels whose sums are taken by one task; fixed, so that sums do not depend on the number of threads.
const PIXELS: usize = 512;

/// What a convolution does with the size of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// Same size, one pixel of zeros around.
    Same,
    /// Half the size: zeros to the right and below, stride 2 (C.1, "down").
    Half,
    /// Twice the size: every pixel is doubled in both directions before (C.1, "up").
    Double,
}

/// A convolution whose weight was packed when it was loaded.
#[derive(Debug, Clone)]
pub struct PackedConv {
    packed: Arc<Packed>,
    inputs: usize,
    sampling: Sampling,
}

impl PackedConv {
    /// `weight (outputs, inputs, 3, 3)`, `bias (outputs)`.
    pub fn new(weight: &Tensor, bias: &Tensor, sampling: Sampling, precision: Precision) -> Result<Self> {
        let (outputs, inputs, _, _) = weight.dims4()?;
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let value = |k: usize, column: usize| values[(column * inputs + k % inputs) * 9 + k / inputs];
        let pieces = Beside::pieces(9, inputs);
        let packed = Packed::sensitive(precision, &pieces, outputs, Some(bias.to_vec1()?), value);
        Ok(Self { packed: Arc::new(packed), inputs, sampling })
    }

    /// `(row, column, batch, inputs)` → `(row, column, batch, outputs)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.apply_op1_no_bwd(self)?)
    }

    /// The same, added to `onto`.
    pub fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.apply_op2_no_bwd(&onto.contiguous()?, self)?)
    }

    fn run(&self, x: &[f32], layout: &Layout, onto: Option<&[f32]>) -> candle_core::Result<(CpuStorage, Shape)> {
        let (height, width, batch, channels) = layout.shape().dims4()?;
        if channels != self.inputs {
            return Err(bad(format!("{channels} channels for a convolution of {}", self.inputs)));
        }
        let (rows, columns) = match self.sampling {
            Sampling::Same => (height, width),
            Sampling::Half => (height / 2, width / 2),
            Sampling::Double => (2 * height, 2 * width),
        };
        let count = rows * columns * batch;
        if onto.is_some_and(|onto| onto.len() != count * self.packed.columns()) {
            return Err(bad("a convolution does not fit what it is added to"));
        }
        let neighbours = Neighbours {
            image: x,
            size: [height, width],
            columns,
            batch,
            channels,
            sampling: self.sampling,
            outside: vec![0.0; PIECE.min(channels)],
        };
        let out = self.packed.product(&neighbours, count, Finish::Bias, onto);
        Ok((CpuStorage::F32(out), Shape::from((rows, columns, batch, self.packed.columns()))))
    }
}

impl CustomOp1 for PackedConv {
    fn name(&self) -> &'static str {
        "packed-convolution"
    }

    fn cpu_fwd(&self, x: &CpuStorage, of_x: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run(values(x, of_x)?, of_x, None)
    }
}

impl CustomOp2 for PackedConv {
    fn name(&self) -> &'static str {
        "packed-convolution-onto"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        onto: &CpuStorage,
        of_onto: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run(values(x, of_x)?, of_x, Some(values(onto, of_onto)?))
    }
}

/// The neighbours of each pixel of a convolution's result, as rows of a product: nine times all channels.
struct Neighbours<'a> {
    image: &'a [f32],
    size: [usize; 2],
    /// Of the result.
    columns: usize,
    batch: usize,
    channels: usize,
    sampling: Sampling,
    outside: Vec<f32>,
}

impl Rows for Neighbours<'_> {
    #[inline]
    fn piece(&self, row: usize, piece: usize) -> &[f32] {
        let each = self.channels.div_ceil(PIECE);
        let (tap, start) = (piece / each, piece % each * PIECE);
        let length = PIECE.min(self.channels - start);
        let (pixel, item) = (row / self.batch, row % self.batch);
        let [height, width] = self.size;
        // One less than the place, so that −1 wraps around to "outside".
        let place = |at: usize, tap: usize, size: usize| match self.sampling {
            Sampling::Same => (at + tap).wrapping_sub(1),
            Sampling::Half => 2 * at + tap,
            Sampling::Double => match (at + tap).wrapping_sub(1) {
                near if near < 2 * size => near / 2,
                outside => outside,
            },
        };
        let y = place(pixel / self.columns, tap / 3, height);
        let x = place(pixel % self.columns, tap % 3, width);
        if y >= height || x >= width {
            return &self.outside[..length];
        }
        &self.image[((y * width + x) * self.batch + item) * self.channels + start..][..length]
    }
}

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
        const EPS: f64 = 1e-6;
        let (height, width, batch, channels) = of_x.shape().dims4()?;
        let (x, row, arch) = (values(x, of_x)?, batch * channels, Instructions::here().registers());
        if channels != self.weight.len()
            || channels != self.shift.len()
            || self.groups == 0
            || channels % self.groups != 0
        {
            return Err(bad(format!("{channels} channels for a group norm of {}", self.weight.len())));
        }
        let each = channels / self.groups;
        // The mean over each group of an item, item by item.
        let average = |means: &[f32], moment: Moment| -> Vec<f64> {
            let parts: Vec<Vec<f32>> = x.par_chunks(PIXELS * row).map(|pixels| moment.sums(pixels, means)).collect();
            let mut groups = vec![0.0; batch * self.groups];
            for part in &parts {
                for (at, sum) in part.iter().enumerate() {
                    groups[at / each] += f64::from(*sum);
                }
            }
            groups.iter().map(|sum| sum / (height * width * each) as f64).collect()
        };
        let first = average(&vec![0.0; row], Moment::First);
        let means: Vec<f32> = first.iter().flat_map(|mean| vec![*mean as f32; each]).collect();
        // Two passes: exact where values are large and differ little.
        let variances = average(&means, Moment::Second);
        let scales: Vec<f32> = (0..row)
            .map(|at| ((variances[at / each] + EPS).sqrt().recip() * f64::from(self.weight[at % channels])) as f32)
            .collect();
        let out = in_parallel(x.len(), PIXELS * row, |task, out| {
            let x = &x[task * PIXELS * row..][..out.len()];
            arch.dispatch(NormPixels { norm: self, x, means: &means, scales: &scales, out });
        });
        Ok((CpuStorage::F32(out), of_x.shape().clone()))
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
    norm: &'a GroupNorm,
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
        let Self { norm, x, means, scales, out } = self;
        let (row, channels) = (means.len(), norm.shift.len());
        for (out, x) in out.chunks_exact_mut(row).zip(x.chunks_exact(row)) {
            for (item, out) in out.chunks_exact_mut(channels).enumerate() {
                let own = item * channels..(item + 1) * channels;
                let (x, means, scales) = (&x[own.clone()], &means[own.clone()], &scales[own]);
                let each = out.iter_mut().zip(x).zip(means).zip(scales).zip(&norm.shift);
                for ((((out, x), mean), scale), shift) in each {
                    let v = (x - mean) * scale + shift;
                    *out = if norm.swish { silu(v) } else { v };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{farthest, waves};
    use super::*;

    /// Candle's own, on `(batch, channel, row, column)`.
    fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor, sampling: Sampling) -> Tensor {
        let run = || -> candle_core::Result<Tensor> {
            let x = x.permute((2, 3, 0, 1))?.contiguous()?;
            let y = match sampling {
                Sampling::Same => x.conv2d(weight, 1, 1, 1, 1)?,
                Sampling::Half => x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?.conv2d(weight, 0, 2, 1, 1)?,
                Sampling::Double => {
                    let (_, _, h, w) = x.dims4()?;
                    x.upsample_nearest2d(2 * h, 2 * w)?.conv2d(weight, 1, 1, 1, 1)?
                }
            };
            y.permute((2, 3, 0, 1))?.broadcast_add(bias)?.contiguous()
        };
        run().expect("candle")
    }

    #[test]
    fn convolutions_are_those_of_candle() {
        for (h, w, batch, inputs, outputs) in [(4, 6, 2, 3, 5), (2, 2, 1, 300, 17), (8, 4, 1, 16, 40)] {
            let x = waves(&[h, w, batch, inputs], 0.37);
            let (weight, bias) = (waves(&[outputs, inputs, 3, 3], 0.11), waves(&[outputs], 0.9));
            for sampling in [Sampling::Same, Sampling::Half, Sampling::Double] {
                let conv = PackedConv::new(&weight, &bias, sampling, Precision::F32).expect("convolution");
                let found = conv.forward(&x).expect("forward");
                let expected = plain(&x, &weight, &bias, sampling);
                assert_eq!(found.dims(), expected.dims());
                assert!(farthest(&found, &expected) < 1e-3, "{sampling:?}: {}", farthest(&found, &expected));
                let twice = conv.forward_onto(&x, &found).expect("onto");
                assert!(farthest(&twice, &(&expected * 2.0).expect("twice")) < 2e-3);
                assert!(conv.forward(&waves(&[2, 2, 1, inputs + 1], 0.1)).is_err());
                assert!(conv.forward_onto(&x, &waves(&[1], 1.0)).is_err());
            }
        }
    }

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
