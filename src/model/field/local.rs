//! The second correction: a small convolutional network for edges and texture, alike everywhere in the window.

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::modality::ModalityTable;
use crate::model::layers::{Conv3, GroupNorm, Projection, Sampling, linear, pointwise};
use crate::model::parameters::{Init, Parameters, Scope};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Groups of every group norm.
const GROUPS: usize = 4;

/// Sizes of the local network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSizes {
    /// Channels on the fine grid; twice as many on the one of half the resolution.
    pub width: usize,
    /// Residual blocks on the fine grid before, and again after, the coarse one.
    pub fine_blocks: usize,
    /// Residual blocks on the coarse grid.
    pub coarse_blocks: usize,
}

impl LocalSizes {
    /// # Errors
    /// When the sizes do not fit together.
    pub fn check(&self) -> Result<()> {
        let blocks = self.fine_blocks.max(self.coarse_blocks);
        if self.width == 0 || !self.width.is_multiple_of(GROUPS) || self.width > 4096 || blocks > 64 {
            return Err(Error::request(format!(
                "The width of the local network must be a multiple of {GROUPS}, with at most 64 blocks."
            )));
        }
        Ok(())
    }
}

/// How images of all resolutions lie on the fine grid, half the finest resolution: finer pixels become channels,
/// coarser ones are repeated.
#[derive(Debug, Clone)]
pub struct CellGrid {
    /// Cells along a side.
    pub side: usize,
    /// By modality: first channel on the grid, and pixels per cell and direction; `None` for scalars.
    parts: Vec<Option<(usize, usize)>>,
    /// Channels on the grid.
    pub channels: usize,
    /// Channels that are corrected: of the modalities that are at least as fine as the grid, which come first.
    pub corrected: usize,
}

impl CellGrid {
    /// The grid of a table.
    ///
    /// # Errors
    /// When the finest images do not have an even, or others not a fitting, number of pixels.
    pub fn new(table: &ModalityTable, layout: &Layout) -> Result<Self> {
        let side = layout.parts.iter().map(|p| p.side).max().unwrap_or(0) / 2;
        if side < 2 || !side.is_multiple_of(2) {
            return Err(Error::request("Images are too small for a local network."));
        }
        let mut parts = vec![None; layout.parts.len()];
        let (mut channels, mut corrected) = (0, 0);
        for fine in [true, false] {
            for (i, part) in layout.parts.iter().enumerate() {
                if table[i].is_scalar() || (part.side >= side) != fine {
                    continue;
                }
                let per_cell = if fine { part.side / side } else { 1 };
                if fine && per_cell * side != part.side {
                    return Err(Error::request(format!("{} does not fit the local network's grid.", table[i].name)));
                }
                parts[i] = Some((channels, per_cell));
                channels += part.channels * per_cell * per_cell;
            }
            if fine {
                corrected = channels;
            }
        }
        Ok(Self { side, parts, channels, corrected })
    }

    /// Whether a modality is corrected.
    pub fn corrects(&self, modality: usize) -> bool {
        self.parts[modality].is_some_and(|(first, _)| first < self.corrected)
    }

    /// Channels of a modality on the grid.
    pub fn range(&self, layout: &Layout, modality: usize) -> std::ops::Range<usize> {
        let Some((first, per_cell)) = self.parts[modality] else { return 0..0 };
        first..first + layout.parts[modality].channels * per_cell * per_cell
    }

    /// Puts an image `(channels, side, side)` times `scale` on the grid `(row, column, channel)`.
    pub fn put(&self, layout: &Layout, modality: usize, image: &[f32], scale: f32, to: &mut Block) {
        self.each(layout, modality, |cell, channel, pixel| {
            to.values[cell * to.stride + to.offset + channel] = image[pixel] * scale;
        });
    }

    /// Adds corrections on the grid to an image; the inverse of [`put`](Self::put) for what is corrected.
    pub fn add(&self, layout: &Layout, modality: usize, from: &[f32], scale: f32, image: &mut [f32]) {
        if self.corrects(modality) {
            self.each(layout, modality, |cell, channel, pixel| {
                image[pixel] += from[cell * self.corrected + channel] * scale;
            });
        }
    }

    fn each(&self, layout: &Layout, modality: usize, mut each: impl FnMut(usize, usize, usize)) {
        let Some((first, per_cell)) = self.parts[modality] else { return };
        let part = &layout.parts[modality];
        for channel in 0..part.channels {
            for cell in 0..self.side * self.side {
                let (row, column) = (cell / self.side, cell % self.side);
                for sub in 0..per_cell * per_cell {
                    // Of a coarser image, the pixel that holds the cell.
                    let at = |k: usize, s: usize| {
                        if part.side >= self.side { k * per_cell + s } else { k * part.side / self.side }
                    };
                    let pixel =
                        (channel * part.side + at(row, sub / per_cell)) * part.side + at(column, sub % per_cell);
                    each(cell, first + channel * per_cell * per_cell + sub, pixel);
                }
            }
        }
    }
}

/// Where [`CellGrid::put`] writes: a block of channels.
pub struct Block<'a> {
    /// `(row, column, channel)`.
    pub values: &'a mut [f32],
    /// Channels in all.
    pub stride: usize,
    /// First channel of the block.
    pub offset: usize,
}

/// The network.
#[derive(Debug)]
pub struct Local {
    enter: Projection,
    globals: Projection,
    fine_in: Vec<Residual>,
    down: Conv3,
    coarse: Vec<Residual>,
    up: Conv3,
    fine_out: Vec<Residual>,
    norm: GroupNorm,
    leave: Conv3,
    device: Device,
}

impl Local {
    /// Parameters below `local.`; `globals` numbers describe levels.
    ///
    /// # Errors
    /// When a parameter is missing or misshapen.
    pub fn new(
        sizes: &LocalSizes,
        grid: &CellGrid,
        globals: usize,
        source: &mut dyn Parameters,
        device: &Device,
    ) -> Result<Self> {
        sizes.check()?;
        let root = &mut Scope::root(source);
        let root = &mut root.at("local");
        let (w, c) = (sizes.width, 2 * sizes.width);
        let blocks = |root: &mut Scope, name: &str, n: usize, width: usize| -> Result<Vec<Residual>> {
            (0..n).map(|k| Residual::new(&mut root.at(format!("{name}.{k}")), width, w)).collect()
        };
        Ok(Self {
            enter: pointwise(&mut root.at("enter"), 2 * grid.channels, w)?,
            globals: linear(&mut root.at("globals"), globals, w, true)?,
            fine_in: blocks(root, "fine_in", sizes.fine_blocks, w)?,
            down: Conv3::new(&mut root.at("down"), w, c, Sampling::Half)?,
            coarse: blocks(root, "coarse", sizes.coarse_blocks, c)?,
            up: Conv3::new(&mut root.at("up"), c, w, Sampling::Double)?,
            fine_out: blocks(root, "fine_out", sizes.fine_blocks, w)?,
            norm: GroupNorm::new(&mut root.at("norm"), w, GROUPS)?,
            // It begins as no correction at all.
            leave: Conv3::with_init(&mut root.at("leave"), w, grid.corrected, Sampling::Same, Init::Zeros)?,
            device: device.clone(),
        })
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// `(row, column, item, 2 · grid channels)` and `(item, globals)` → `(row, column, item, corrected)`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, x: &Tensor, globals: &Tensor) -> Result<Tensor> {
        // (item, width), added to every position.
        let globals = self.globals.forward(globals)?.silu()?;
        let mut x = self.enter.forward(x)?;
        for block in &self.fine_in {
            x = block.forward(&x, &globals)?;
        }
        let fine = x;
        let mut x = self.down.forward(&fine)?;
        for block in &self.coarse {
            x = block.forward(&x, &globals)?;
        }
        let mut x = self.up.forward_onto(&x, &fine)?;
        for block in &self.fine_out {
            x = block.forward(&x, &globals)?;
        }
        self.leave.forward(&self.norm.forward_swish(&x)?)
    }
}

#[derive(Debug)]
struct Residual {
    norm1: GroupNorm,
    conv1: Conv3,
    globals: Projection,
    norm2: GroupNorm,
    conv2: Conv3,
}

impl Residual {
    fn new(scope: &mut Scope, width: usize, globals: usize) -> Result<Self> {
        Ok(Self {
            norm1: GroupNorm::new(&mut scope.at("norm1"), width, GROUPS)?,
            conv1: Conv3::new(&mut scope.at("conv1"), width, width, Sampling::Same)?,
            globals: linear(&mut scope.at("globals"), globals, width, true)?,
            norm2: GroupNorm::new(&mut scope.at("norm2"), width, GROUPS)?,
            conv2: Conv3::new(&mut scope.at("conv2"), width, width, Sampling::Same)?,
        })
    }

    fn forward(&self, x: &Tensor, globals: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.forward_swish(x)?)?;
        let h = h.broadcast_add(&self.globals.forward(globals)?)?;
        self.conv2.forward_onto(&self.norm2.forward_swish(&h)?, x)
    }
}
