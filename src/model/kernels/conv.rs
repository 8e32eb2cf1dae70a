//! 3×3 convolution on images laid out `(row, column, batch, channel)`.
//!
//! A convolution is a product whose rows are a pixel's neighbours: nine pieces (or more, of wide images), each read where
//! the neighbour lies. Nothing is gathered, padded or doubled.

use super::factors::{Beside, Finish, PIECE, Rows};
use super::instructions::Instructions;
use super::matrix_unit::{self, Form};
use super::product::{Packed, is_wide};
use super::storage::{bad, values};
use super::taps::{Image, Part, Plan};
use super::tile_conv::TileConv;
use crate::error::Result;
use crate::model::Precision;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use std::sync::Arc;

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
    packed: Arc<Weights>,
    inputs: usize,
    outputs: usize,
    sampling: Sampling,
}

#[derive(Debug)]
enum Weights {
    /// A product whose rows are read where the neighbours lie.
    Rows(Packed),
    /// The same on a matrix unit.
    Tiles(TileConv),
}

impl PackedConv {
    /// `weight (outputs, inputs, 3, 3)`, `bias (outputs)`.
    pub fn new(weight: &Tensor, bias: &Tensor, sampling: Sampling, precision: Precision) -> Result<Self> {
        let (outputs, inputs, _, _) = weight.dims4()?;
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let value = |k: usize, column: usize| values[(column * inputs + k % inputs) * 9 + k / inputs];
        let (pieces, bias) = (Beside::pieces(9, inputs), Some(bias.to_vec1()?));
        let rounded = [Precision::Bf16, Precision::I8].contains(&precision);
        let form = if rounded { Form::Halves } else { Form::Thirds };
        let packed = if Instructions::here() == Instructions::Amx
            && precision != Precision::I16
            && is_wide(inputs, outputs, precision)
        {
            // Taps that meet in one place are one, with the sum of their weights.
            let of_place = |part: &Part, k: usize, column: usize| {
                let taps = part.taps[k / inputs].of_kernel.iter();
                taps.map(|tap| value(tap * inputs + k % inputs, column)).sum()
            };
            let plan = Plan::forward(sampling);
            Weights::Tiles(TileConv::new(plan, form, [inputs, outputs], bias, of_place, matrix_unit::own()))
        } else {
            Weights::Rows(Packed::sensitive(precision, &pieces, outputs, bias, value))
        };
        Ok(Self { packed: Arc::new(packed), inputs, outputs, sampling })
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
        if onto.is_some_and(|onto| onto.len() != count * self.outputs) {
            return Err(bad("a convolution does not fit what it is added to"));
        }
        let shape = Shape::from((rows, columns, batch, self.outputs));
        let packed = match self.packed.as_ref() {
            Weights::Tiles(tiles) => {
                let image = Image { values: x, size: [height, width], batch, channels };
                return Ok((CpuStorage::F32(tiles.apply(image, [rows, columns], onto)), shape));
            }
            Weights::Rows(packed) => packed,
        };
        let neighbours = Neighbours {
            image: x,
            size: [height, width],
            columns,
            batch,
            channels,
            sampling: self.sampling,
            outside: vec![0.0; PIECE.min(channels)],
        };
        Ok((CpuStorage::F32(packed.product(&neighbours, count, Finish::Bias, onto)), shape))
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
}
