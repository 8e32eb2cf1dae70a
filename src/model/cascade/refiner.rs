//! The refiner of a cascade: draws pixels from what is broad in cells, from what is given at full resolution, and from noise.

use super::cells::{Cells, Part, bilinear, relief};
use super::network::TensorRefiner;
use crate::error::{Error, Result};
use crate::modality::{Mask, ModalityTable};
use crate::model::cosines::Cosines;
use crate::model::parameters::{Parameters, Scope};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Half waves a window up to which the refiner follows drawn cells, and from which on it takes nothing from them. Edges
/// of fields lie between: a coarse network of this size samples blobs there, while the judge that the refiner learned
/// from knows edges.
const FOLLOWED: [f32; 2] = [8.0, 14.0];

/// Channels of noise at the finest pixels.
pub const NOISE_CHANNELS: usize = 4;

/// Sizes of the refiner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefinerSizes {
    /// Channels at the finest pixels; twice as many at half the resolution, four times as many on the grid of cells.
    pub width: usize,
    /// Residual blocks on the grid of cells.
    pub cell_blocks: usize,
    /// Residual blocks at half the resolution, on the way down and again on the way up.
    pub half_blocks: usize,
    /// Residual blocks at the finest pixels, on the way up.
    pub fine_blocks: usize,
}

impl RefinerSizes {
    /// # Errors
    /// When the sizes do not fit together.
    pub fn check(&self) -> Result<()> {
        let blocks = self.cell_blocks.max(self.half_blocks).max(self.fine_blocks);
        if self.width == 0 || !self.width.is_multiple_of(16) || self.width > 1024 || blocks > 64 {
            return Err(Error::request(
                "The width of a cascade's refiner must be a multiple of 16, with at most 64 blocks.",
            ));
        }
        Ok(())
    }
}

/// Modalities of one pixel size, side by side.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Pixels along a side.
    pub side: usize,
    /// Modality, and its first channel here.
    pub members: Vec<(usize, usize)>,
    /// Channels in all.
    pub channels: usize,
}

impl Layer {
    fn new(cells: &Cells, side: usize) -> Self {
        let (mut members, mut channels) = (Vec::new(), 0);
        for (i, part) in cells.parts.iter().enumerate() {
            if let Some(part) = part.as_ref().filter(|part| part.pixels == side) {
                members.push((i, channels));
                channels += part.channels;
            }
        }
        Self { side, members, channels }
    }
}

/// What a modality is to the refiner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Its pixels are given.
    Given,
    /// Its cells are known; its pixels are to be drawn.
    Drawn,
    /// Nothing is known of it.
    Absent,
}

impl Usage {
    fn number(self) -> f32 {
        match self {
            Self::Given => 1.0,
            Self::Drawn => 0.0,
            Self::Absent => -1.0,
        }
    }
}

/// One modality of an item.
#[derive(Debug, Clone)]
pub struct RefinerInput {
    /// What it is.
    pub usage: Usage,
    /// Its cells without noise, standardised, `(latent channels, side, side)`; anything where it is absent.
    pub cells: Vec<f32>,
    /// Standardised pixels, and where they are known (everywhere, if `None`): of what is given, and of what is kept of
    /// what is drawn.
    pub pixels: Option<(Vec<f32>, Option<Mask>)>,
}

/// Items, prepared for the network: tensors `(row, column, item, channel)`.
#[derive(Debug)]
pub struct RefinerInputs {
    pub(in crate::model) fine: Tensor,
    pub(in crate::model) half: Tensor,
    pub(in crate::model) cells: Tensor,
    /// What cells alone make of both layers.
    pub base: [Tensor; 2],
    /// `(item, image modalities)`.
    pub(in crate::model) states: Tensor,
}

/// Numbers of channels that a refiner's network takes and makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefinerChannels {
    /// What goes in: at the finest pixels, at half the resolution, and on the grid of cells.
    pub inputs: [usize; 3],
    /// What is known of an item as a whole: one number for each image modality.
    pub states: usize,
    /// What is drawn: at the finest pixels, and at half the resolution.
    pub drawn: [usize; 2],
}

/// A refiner's network, whatever computes it.
pub trait RefinerNetwork: std::fmt::Debug + Send + Sync {
    /// Standardised pixels of both layers, `(row, column, item, channel)`; logits of classes.
    ///
    /// # Errors
    /// When the device fails.
    fn forward(&self, inputs: &RefinerInputs) -> Result<[Tensor; 2]>;
}

/// Prepares what is known, and has its network draw.
#[derive(Debug)]
pub struct Refiner {
    cells: Cells,
    cosines: Cosines,
    fine: Layer,
    half: Layer,
    elevation: Option<usize>,
    classes: Vec<bool>,
    device: Device,
    network: Box<dyn RefinerNetwork>,
}

impl Refiner {
    /// Builds it with a network of candle's tensors on a device.
    ///
    /// # Errors
    /// When the sizes do not fit together, or a parameter is missing or misshapen.
    pub fn new(
        table: &ModalityTable,
        sizes: &RefinerSizes,
        source: &mut dyn Parameters,
        device: &Device,
    ) -> Result<Self> {
        Self::with_network(table, sizes, device, |channels| {
            Ok(Box::new(TensorRefiner::new(sizes, channels, &mut Scope::root(source))?))
        })
    }

    /// Builds it with the network that is made for its channels; inputs are prepared on `device`.
    ///
    /// # Errors
    /// When the sizes do not fit together; those of `build`.
    pub fn with_network(
        table: &ModalityTable,
        sizes: &RefinerSizes,
        device: &Device,
        build: impl FnOnce(&RefinerChannels) -> Result<Box<dyn RefinerNetwork>>,
    ) -> Result<Self> {
        sizes.check()?;
        let cells = Cells::new(table)?;
        let finest = cells.parts.iter().flatten().map(|part| part.pixels).max().unwrap_or(0);
        if finest != 4 * cells.side {
            return Err(Error::request("In a cascade four of the finest pixels make the side of a cell."));
        }
        let (fine, half) = (Layer::new(&cells, finest), Layer::new(&cells, finest / 2));
        let channels = RefinerChannels {
            inputs: Self::inputs(&cells, &fine, &half),
            states: cells.images(),
            drawn: [fine.channels, half.channels],
        };
        Ok(Self {
            elevation: cells.parts.iter().position(|part| part.as_ref().is_some_and(|part| part.relief)),
            classes: table.iter().map(|m| m.classes().is_some()).collect(),
            device: device.clone(),
            network: build(&channels)?,
            cosines: Cosines::new([cells.side]),
            cells,
            fine,
            half,
        })
    }

    /// Channels that go in: at the finest pixels, at half the resolution, and on the grid of cells.
    fn inputs(cells: &Cells, fine: &Layer, half: &Layer) -> [usize; 3] {
        [
            fine.channels + fine.members.len() + 1 + NOISE_CHANNELS,
            half.channels + half.members.len(),
            cells.channels + cells.images(),
        ]
    }

    /// The grid of cells.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The finest pixels, and those of half the resolution: what is drawn. Anything else is made of cells.
    pub fn layers(&self) -> [&Layer; 2] {
        [&self.fine, &self.half]
    }

    /// Prepares items, each a list of all modalities (scalars may be anything) and noise
    /// `(`[`NOISE_CHANNELS`]`, side, side)` of the finest pixels.
    ///
    /// # Errors
    /// When the device fails.
    pub fn prepare(&self, items: &[(&[RefinerInput], &[f32])]) -> Result<RefinerInputs> {
        let n = items.len();
        let [fine_inputs, half_inputs, cell_inputs] = Self::inputs(&self.cells, &self.fine, &self.half);
        let mut fine = Canvas::new(self.fine.side, n, fine_inputs);
        let mut half = Canvas::new(self.half.side, n, half_inputs);
        let mut cells = Canvas::new(self.cells.side, n, cell_inputs);
        let mut fine_base = Canvas::new(self.fine.side, n, self.fine.channels);
        let mut half_base = Canvas::new(self.half.side, n, self.half.channels);
        let mut states = Vec::with_capacity(n * self.cells.images());
        for (item, (inputs, noise)) in items.iter().enumerate() {
            let followed: Vec<Cow<[f32]>> = inputs.iter().map(|input| self.followed(input)).collect();
            for ((input, own), part) in inputs.iter().zip(&followed).zip(&self.cells.parts) {
                let Some(part) = part else { continue };
                states.push(input.usage.number());
                cells.fill(item, self.cells.channels + part.number, input.usage.number());
                if input.usage != Usage::Absent {
                    cells.put(item, part.first, own);
                }
            }
            self.put_layer(&self.fine, item, (inputs, &followed), [&mut fine, &mut fine_base]);
            self.put_layer(&self.half, item, (inputs, &followed), [&mut half, &mut half_base]);
            if let Some(relief) = self.relief(inputs, &followed) {
                fine.put(item, self.fine.channels + self.fine.members.len(), &relief);
            }
            fine.put(item, fine_inputs - NOISE_CHANNELS, noise);
        }
        let tensor = |canvas: Canvas| canvas.tensor(&self.device);
        Ok(RefinerInputs {
            fine: tensor(fine)?,
            half: tensor(half)?,
            cells: tensor(cells)?,
            base: [tensor(fine_base)?, tensor(half_base)?],
            states: Tensor::from_vec(states, (n, self.cells.images()), &self.device)?,
        })
    }

    /// The cells of an input; of drawn ones, what is broad.
    fn followed<'a>(&self, input: &'a RefinerInput) -> Cow<'a, [f32]> {
        if input.usage != Usage::Drawn {
            return Cow::Borrowed(&input.cells);
        }
        let (mut cells, side) = (input.cells.clone(), self.cells.side);
        self.cosines.forward(&mut cells, side);
        let [all, none] = FOLLOWED;
        for (k, v) in cells.iter_mut().enumerate() {
            let radius = ((k / side % side) as f32).hypot((k % side) as f32);
            *v *= ((none - radius) / (none - all)).clamp(0.0, 1.0);
        }
        self.cosines.inverse(&mut cells, side);
        Cow::Owned(cells)
    }

    /// What is known of the pixels of a layer, and what its cells make of all of them.
    fn put_layer(
        &self,
        layer: &Layer,
        item: usize,
        (inputs, followed): (&[RefinerInput], &[Cow<[f32]>]),
        [known, base]: [&mut Canvas; 2],
    ) {
        for (number, &(i, first)) in layer.members.iter().enumerate() {
            let (Some(part), input) = (&self.cells.parts[i], &inputs[i]) else { continue };
            if input.usage == Usage::Absent {
                continue;
            }
            let smooth = self.smooth(part, &followed[i]);
            if let Some((pixels, mask)) = &input.pixels {
                let size = layer.side * layer.side;
                let is_known = |k: usize| mask.as_ref().is_none_or(|mask| mask.at(k % size));
                // Cells hold the rest of what is measured.
                let of = |k: usize| if self.classes[i] { pixels[k] } else { pixels[k] - smooth[k] };
                let detail: Vec<f32> = (0..pixels.len()).map(|k| if is_known(k) { of(k) } else { 0.0 }).collect();
                known.put(item, first, &detail);
                let flags: Vec<f32> = (0..size).map(|k| f32::from(u8::from(is_known(k)))).collect();
                known.put(item, layer.channels + number, &flags);
            }
            base.put(item, first, &smooth);
        }
    }

    /// Pixels as cells alone tell them.
    pub fn smooth(&self, part: &Part, cells: &[f32]) -> Vec<f32> {
        bilinear(&cells[..part.channels * self.cells.count()], self.cells.side, part.pixels)
    }

    /// Elevation above the window's mean at the finest pixels.
    fn relief(&self, inputs: &[RefinerInput], followed: &[Cow<[f32]>]) -> Option<Vec<f32>> {
        let elevation = self.elevation?;
        if inputs[elevation].usage == Usage::Absent {
            return None;
        }
        Some(bilinear(&relief(&followed[elevation][..self.cells.count()]), self.cells.side, self.fine.side))
    }

    /// What is known of the pixels of both layers, as it went in: values, then where they are known.
    ///
    /// # Errors
    /// When the device fails.
    pub fn known(&self, inputs: &RefinerInputs) -> Result<[Tensor; 2]> {
        let own = |x: &Tensor, layer: &Layer| x.narrow(3, 0, layer.channels + layer.members.len());
        Ok([own(&inputs.fine, &self.fine)?.contiguous()?, own(&inputs.half, &self.half)?.contiguous()?])
    }

    /// Standardised pixels of both layers, `(row, column, item, channels)`; logits of classes.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, inputs: &RefinerInputs) -> Result<[Tensor; 2]> {
        self.network.forward(inputs)
    }
}

/// An image of several items, `(row, column, item, channel)`.
struct Canvas {
    values: Vec<f32>,
    side: usize,
    items: usize,
    channels: usize,
}

impl Canvas {
    fn new(side: usize, items: usize, channels: usize) -> Self {
        Self { values: vec![0.0; side * side * items * channels], side, items, channels }
    }

    /// Channels `(k, side, side)` of an item, from channel `first` on.
    fn put(&mut self, item: usize, first: usize, images: &[f32]) {
        for (k, image) in images.chunks_exact(self.side * self.side).enumerate() {
            for (pixel, v) in image.iter().enumerate() {
                self.values[(pixel * self.items + item) * self.channels + first + k] = *v;
            }
        }
    }

    fn fill(&mut self, item: usize, channel: usize, value: f32) {
        for pixel in 0..self.side * self.side {
            self.values[(pixel * self.items + item) * self.channels + channel] = value;
        }
    }

    fn tensor(self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values, (self.side, self.side, self.items, self.channels), device)?)
    }
}
