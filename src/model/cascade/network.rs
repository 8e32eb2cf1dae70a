//! The refiner's network of candle's tensors: on the CPU through the kernels, in training, and on CUDA or Metal.

use super::layers::{Residual, groups};
use super::refiner::{RefinerChannels, RefinerInputs, RefinerNetwork, RefinerSizes};
use crate::error::Result;
use crate::model::layers::{Conv3, GroupNorm, Projection, Sampling, linear_from, pointwise};
use crate::model::parameters::{Init, Scope};
use candle_core::Tensor;

/// A U-Net: from the finest pixels by way of half the resolution to the grid of cells, and back.
#[derive(Debug)]
pub(super) struct TensorRefiner {
    enter_fine: Conv3,
    down_fine: Conv3,
    enter_half: Projection,
    half_in: Vec<Residual>,
    down_half: Conv3,
    enter_cells: Projection,
    at_cells: Vec<Residual>,
    up_cells: Conv3,
    half_out: Vec<Residual>,
    leave_half: Conv3,
    up_half: Conv3,
    fine_out: Vec<Residual>,
    norm: GroupNorm,
    leave_fine: Conv3,
    direct: Projection,
    direct_half: Projection,
}

impl TensorRefiner {
    pub(super) fn new(sizes: &RefinerSizes, channels: &RefinerChannels, root: &mut Scope) -> Result<Self> {
        let (w, h, c) = (sizes.width, 2 * sizes.width, 4 * sizes.width);
        let [fine_inputs, half_inputs, cell_inputs] = channels.inputs;
        let [fine, half] = channels.drawn;
        let blocks = |root: &mut Scope, name: &str, n: usize, width: usize| -> Result<Vec<Residual>> {
            (0..n).map(|k| Residual::new(&mut root.at(format!("{name}.{k}")), width, channels.states)).collect()
        };
        Ok(Self {
            enter_fine: Conv3::new(&mut root.at("enter_fine"), fine_inputs, w, Sampling::Same)?,
            down_fine: Conv3::new(&mut root.at("down_fine"), w, h, Sampling::Half)?,
            enter_half: pointwise(&mut root.at("enter_half"), half_inputs, h)?,
            half_in: blocks(root, "half_in", sizes.half_blocks, h)?,
            down_half: Conv3::new(&mut root.at("down_half"), h, c, Sampling::Half)?,
            enter_cells: pointwise(&mut root.at("enter_cells"), cell_inputs, c)?,
            at_cells: blocks(root, "at_cells", sizes.cell_blocks, c)?,
            up_cells: Conv3::new(&mut root.at("up_cells"), c, h, Sampling::Double)?,
            half_out: blocks(root, "half_out", sizes.half_blocks, h)?,
            leave_half: Conv3::with_init(&mut root.at("leave_half"), h, half, Sampling::Same, Init::Normal(0.02))?,
            up_half: Conv3::new(&mut root.at("up_half"), h, w, Sampling::Double)?,
            fine_out: blocks(root, "fine_out", sizes.fine_blocks, w)?,
            norm: GroupNorm::new(&mut root.at("norm"), w, groups(w))?,
            leave_fine: Conv3::with_init(&mut root.at("leave_fine"), w, fine, Sampling::Same, Init::Normal(0.02))?,
            // What is linear in one pixel has a path of its own.
            direct: linear_from(&mut root.at("direct"), fine_inputs, fine, true, Init::Zeros)?,
            direct_half: linear_from(&mut root.at("direct_half"), half_inputs, half, true, Init::Zeros)?,
        })
    }
}

impl RefinerNetwork for TensorRefiner {
    fn forward(&self, inputs: &RefinerInputs) -> Result<[Tensor; 2]> {
        let states = &inputs.states;
        let through = |blocks: &[Residual], x: Tensor| blocks.iter().try_fold(x, |x, b| b.forward(&x, states));
        let fine = self.enter_fine.forward(&inputs.fine)?;
        let half = self.down_fine.forward_onto(&fine.silu()?, &self.enter_half.forward(&inputs.half)?)?;
        let half = through(&self.half_in, half)?;
        let x = self.down_half.forward_onto(&half.silu()?, &self.enter_cells.forward(&inputs.cells)?)?;
        let x = through(&self.at_cells, x)?;
        let x = self.up_cells.forward_onto(&x, &half)?;
        let x = through(&self.half_out, x)?;
        let known_half = self.direct_half.forward(&inputs.half)?;
        let drawn_half = self.leave_half.forward_onto(&x.silu()?, &(known_half + &inputs.base[1])?)?;
        let x = self.up_half.forward_onto(&x, &fine)?;
        let x = through(&self.fine_out, x)?;
        let known_fine = self.direct.forward(&inputs.fine)?;
        let drawn_fine =
            self.leave_fine.forward_onto(&self.norm.forward_swish(&x)?, &(known_fine + &inputs.base[0])?)?;
        Ok([drawn_fine, drawn_half])
    }
}
