//! An image between the layers of an autoencoder or a refiner, and the layers that it goes through.

use super::denoiser::{Linear, Load, Norm};
use super::gpu::Area;
use super::operations::{Affine, Image, Product, Rows};
use super::program::Recorder;
use crate::error::Result;
use crate::model::layers::Sampling;

/// An image between layers.
pub(super) struct Picture {
    pub area: Area,
    pub items: usize,
    pub height: usize,
    pub width: usize,
    /// Quads of a pixel.
    pub channels: usize,
}

impl Picture {
    pub(super) fn pixels(&self) -> usize {
        self.items * self.height * self.width
    }

    /// Another of the same place with other channels.
    pub(super) fn like(&self, area: Area, channels: usize) -> Self {
        Self { area, items: self.items, height: self.height, width: self.width, channels }
    }

    /// A 1×1 convolution, to which something may be added.
    pub(super) fn pointwise(&self, recorder: &mut Recorder, layer: &Linear, added: Option<&Area>) -> Result<Self> {
        let channels = layer.weight.rows / 4;
        let area = recorder.take(self.pixels() * channels)?;
        let all = Rows { base: 0, step: self.pixels() };
        recorder.product(&Product {
            residual: added.map(|area| (area, all)),
            ..Product::new(self.pixels(), &self.area, &layer.weight, &layer.bias, &area)
        })?;
        Ok(self.like(area, channels))
    }

    /// A 3×3 convolution, to which something may be added.
    pub(super) fn conv(
        &self,
        recorder: &mut Recorder,
        layer: &Linear,
        sampling: Sampling,
        added: Option<&Area>,
    ) -> Result<Self> {
        let image = Image {
            height: self.height,
            width: self.width,
            channels: self.channels,
            halved: sampling == Sampling::Half,
            doubled: sampling == Sampling::Double,
        };
        let ([height, width], channels) = (image.result(), layer.weight.rows / 4);
        let rows = self.items * height * width;
        let area = recorder.take(rows * channels)?;
        let all = Rows { base: 0, step: height * width };
        recorder.product(&Product {
            per_item: height * width,
            image: Some(image),
            residual: added.map(|area| (area, all)),
            result_rows: all,
            ..Product::new(rows, &self.area, &layer.weight, &layer.bias, &area)
        })?;
        Ok(Self { area, items: self.items, height, width, channels })
    }

    /// Group norm, with swish if wanted.
    pub(super) fn norm(&self, recorder: &mut Recorder, norm: &GroupNorm, swish: bool) -> Result<Self> {
        self.norm_with(recorder, Affine::shared(norm.norm.areas()), norm.groups, swish)
    }

    /// Group norm that ends with any scale and shift, with swish if wanted.
    pub(super) fn norm_with(
        &self,
        recorder: &mut Recorder,
        affine: Affine,
        groups: usize,
        swish: bool,
    ) -> Result<Self> {
        let area = recorder.take(self.pixels() * self.channels)?;
        let sizes = [self.items, self.height * self.width, self.channels, groups];
        recorder.group_norm(sizes, &self.area, affine, swish, &area)?;
        Ok(self.like(area, self.channels))
    }

    /// x · sigmoid(x).
    pub(super) fn swish(&self, recorder: &mut Recorder) -> Result<Self> {
        let quads = self.pixels() * self.channels;
        let area = recorder.take(quads)?;
        recorder.swish(quads, &self.area, &area)?;
        Ok(self.like(area, self.channels))
    }
}

#[derive(Debug)]
pub(super) struct GroupNorm {
    norm: Norm,
    groups: usize,
}

impl Load<'_, '_> {
    /// A 3×3 convolution `weight (outputs, inputs, 3, 3)`: a matrix of the nine taps row by row, channels of each padded.
    pub(super) fn conv(&mut self, inputs: usize, outputs: usize) -> Result<Linear> {
        self.matrix(&[outputs, inputs, 3, 3], true, |weight| {
            let taps = weight.permute((0, 2, 3, 1))?.pad_with_zeros(3, 0, inputs.next_multiple_of(4) - inputs)?;
            Ok(taps.flatten_from(1)?)
        })
    }

    /// A 1×1 convolution of equally many inputs and outputs.
    pub(super) fn pointwise(&mut self, channels: usize) -> Result<Linear> {
        self.pointwise_to(channels, channels)
    }

    pub(super) fn pointwise_to(&mut self, inputs: usize, outputs: usize) -> Result<Linear> {
        self.matrix(&[outputs, inputs, 1, 1], true, |weight| Ok(weight.flatten_from(1)?))
    }

    pub(super) fn group_norm(&mut self, channels: usize, groups: usize) -> Result<GroupNorm> {
        Ok(GroupNorm { norm: self.norm(channels)?, groups })
    }
}
