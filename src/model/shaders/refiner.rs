//! The refiner of a cascade on a graphics adapter. Images lie as (item, row, column, channel) there.

use super::denoiser::{Linear, Load};
use super::gpu::{Area, Gpu};
use super::operations::{Affine, Product};
use super::picture::{GroupNorm, Picture};
use super::program::{Program, Recorder};
use crate::error::Result;
use crate::model::cascade::{RefinerChannels, RefinerInputs, RefinerNetwork, RefinerSizes, groups};
use crate::model::layers::Sampling;
use crate::model::parameters::{Init, Parameters, Scope};
use candle_core::{D, Device, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The refiner's U-Net. What is known goes in and pixels come out on the CPU.
#[derive(Debug)]
pub(crate) struct ShaderRefiner {
    gpu: Arc<Gpu>,
    channels: RefinerChannels,
    enter_fine: Linear,
    down_fine: Linear,
    enter_half: Linear,
    half_in: Vec<Residual>,
    down_half: Linear,
    enter_cells: Linear,
    at_cells: Vec<Residual>,
    up_cells: Linear,
    half_out: Vec<Residual>,
    leave_half: Linear,
    up_half: Linear,
    fine_out: Vec<Residual>,
    norm: GroupNorm,
    leave_fine: Linear,
    direct: Linear,
    direct_half: Linear,
    /// By items, and cells along a side.
    programs: Mutex<BTreeMap<[usize; 2], Arc<Recorded>>>,
}

/// A program, and where its inputs go: the three images, what cells alone make of both layers, and what is known of items
/// as a whole.
#[derive(Debug)]
struct Recorded {
    program: Program,
    inputs: [Area; 6],
}

impl ShaderRefiner {
    /// Loads the network; parameters as [`Refiner::new`](crate::model::cascade::Refiner::new) takes them, on the CPU.
    ///
    /// # Errors
    /// When a parameter is missing or misshapen, or the adapter has no room.
    pub(crate) fn new(
        sizes: &RefinerSizes,
        channels: &RefinerChannels,
        source: &mut dyn Parameters,
        gpu: &Arc<Gpu>,
    ) -> Result<Self> {
        let load = &mut Load { scope: Scope::root(source), gpu };
        let (w, h, c) = (sizes.width, 2 * sizes.width, 4 * sizes.width);
        let [fine_inputs, half_inputs, cell_inputs] = channels.inputs;
        let [fine, half] = channels.drawn;
        let blocks = |load: &mut Load, name: &str, n: usize, width: usize| -> Result<Vec<Residual>> {
            (0..n).map(|k| Residual::new(&mut load.at(format!("{name}.{k}")), width, channels.states)).collect()
        };
        Ok(Self {
            gpu: gpu.clone(),
            channels: channels.clone(),
            enter_fine: load.at("enter_fine").conv(fine_inputs, w)?,
            down_fine: load.at("down_fine").conv(w, h)?,
            enter_half: load.at("enter_half").pointwise_to(half_inputs, h)?,
            half_in: blocks(load, "half_in", sizes.half_blocks, h)?,
            down_half: load.at("down_half").conv(h, c)?,
            enter_cells: load.at("enter_cells").pointwise_to(cell_inputs, c)?,
            at_cells: blocks(load, "at_cells", sizes.cell_blocks, c)?,
            up_cells: load.at("up_cells").conv(c, h)?,
            half_out: blocks(load, "half_out", sizes.half_blocks, h)?,
            leave_half: load.at("leave_half").conv(h, half)?,
            up_half: load.at("up_half").conv(h, w)?,
            fine_out: blocks(load, "fine_out", sizes.fine_blocks, w)?,
            norm: load.at("norm").group_norm(w, groups(w))?,
            leave_fine: load.at("leave_fine").conv(w, fine)?,
            direct: load.at("direct").linear(fine_inputs, fine, true)?,
            direct_half: load.at("direct_half").linear(half_inputs, half, true)?,
            programs: Mutex::default(),
        })
    }

    /// The program for this many items on so many cells along a side, recorded at first use.
    fn program(&self, size: [usize; 2]) -> Result<Arc<Recorded>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&size) {
            return Ok(program.clone());
        }
        let program = Arc::new(self.record(size)?);
        programs.insert(size, program.clone());
        Ok(program)
    }

    /// Inputs stay where they are until nothing reads them any more: they are written again before each run.
    fn record(&self, [items, side]: [usize; 2]) -> Result<Recorded> {
        let mut recording = Recorder::new(&self.gpu);
        let recorder = &mut recording;
        let mut picture = |side: usize, channels: usize| -> Result<Picture> {
            let channels = channels.div_ceil(4);
            let area = recorder.take(items * side * side * channels)?;
            Ok(Picture { area, items, height: side, width: side, channels })
        };
        let [fine_inputs, half_inputs, cell_inputs] = self.channels.inputs;
        let [fine_drawn, half_drawn] = self.channels.drawn;
        let known_fine = picture(4 * side, fine_inputs)?;
        let known_half = picture(2 * side, half_inputs)?;
        let known_cells = picture(side, cell_inputs)?;
        let (base_fine, base_half) = (picture(4 * side, fine_drawn)?, picture(2 * side, half_drawn)?);
        let states = picture(1, self.channels.states)?;
        let inputs = [&known_fine, &known_half, &known_cells, &base_fine, &base_half, &states];
        let inputs = inputs.map(|picture| picture.area.clone());

        let fine = known_fine.conv(recorder, &self.enter_fine, Sampling::Same, None)?;
        let entering = known_half.pointwise(recorder, &self.enter_half, None)?;
        let half = down(recorder, &fine, &self.down_fine, entering)?;
        let half = through(recorder, &self.half_in, half, &states)?;
        let entering = known_cells.pointwise(recorder, &self.enter_cells, None)?;
        recorder.release(known_cells.area);
        let x = down(recorder, &half, &self.down_half, entering)?;
        let x = through(recorder, &self.at_cells, x, &states)?;
        let x = up(recorder, x, &self.up_cells, half)?;
        let x = through(recorder, &self.half_out, x, &states)?;

        let told = known_half.pointwise(recorder, &self.direct_half, Some(&base_half.area))?;
        recorder.release(known_half.area);
        recorder.release(base_half.area);
        let bent = x.swish(recorder)?;
        let drawn_half = leave(recorder, bent, &self.leave_half, told)?;
        let x = up(recorder, x, &self.up_half, fine)?;
        let x = through(recorder, &self.fine_out, x, &states)?;

        let told = known_fine.pointwise(recorder, &self.direct, Some(&base_fine.area))?;
        recorder.release(known_fine.area);
        recorder.release(base_fine.area);
        recorder.release(states.area);
        let bent = x.norm(recorder, &self.norm, true)?;
        recorder.release(x.area);
        let drawn_fine = leave(recorder, bent, &self.leave_fine, told)?;

        let quads = |drawn: &Picture| drawn.pixels() * drawn.channels;
        let results = [(&drawn_fine.area, quads(&drawn_fine)), (&drawn_half.area, quads(&drawn_half))];
        Ok(Recorded { program: recording.finish(&results)?, inputs })
    }
}

impl RefinerNetwork for ShaderRefiner {
    fn forward(&self, inputs: &RefinerInputs) -> Result<[Tensor; 2]> {
        let (side, _, items, _) = inputs.cells.dims4()?;
        let recorded = self.program([items, side])?;
        let [base_fine, base_half] = &inputs.base;
        let images = [&inputs.fine, &inputs.half, &inputs.cells, base_fine, base_half];
        let mut values: Vec<Vec<f32>> = images.iter().map(|image| by_item(image)).collect::<Result<_>>()?;
        values.push(padded(&inputs.states)?);
        let written: Vec<(&Area, usize, &[f32])> =
            recorded.inputs.iter().zip(&values).map(|(area, values)| (area, 0, values.as_slice())).collect();
        let mut drawn = recorded.program.run(&self.gpu, &written)?;
        let image = |values: Vec<f32>, side: usize, channels: usize| -> Result<Tensor> {
            let shape = (items, side, side, channels.next_multiple_of(4));
            let image = Tensor::from_vec(values, shape, &Device::Cpu)?.narrow(D::Minus1, 0, channels)?;
            Ok(image.permute((1, 2, 0, 3))?.contiguous()?)
        };
        let [fine, half] = self.channels.drawn;
        let coarser = drawn.split_off(items * 16 * side * side * fine.next_multiple_of(4));
        Ok([image(drawn, 4 * side, fine)?, image(coarser, 2 * side, half)?])
    }
}

/// `(row, column, item, channel)` as it lies on the adapter.
fn by_item(image: &Tensor) -> Result<Vec<f32>> {
    padded(&image.permute((2, 0, 1, 3))?)
}

/// Values with zeros after the last dimension, up to a multiple of four.
fn padded(x: &Tensor) -> Result<Vec<f32>> {
    let n = x.dim(D::Minus1)?;
    Ok(x.pad_with_zeros(D::Minus1, 0, n.next_multiple_of(4) - n)?.flatten_all()?.to_vec1()?)
}

/// To half the resolution, onto what enters there; `from` stays.
fn down(recorder: &mut Recorder, from: &Picture, layer: &Linear, onto: Picture) -> Result<Picture> {
    let bent = from.swish(recorder)?;
    let halved = bent.conv(recorder, layer, Sampling::Half, Some(&onto.area))?;
    recorder.release(bent.area);
    recorder.release(onto.area);
    Ok(halved)
}

/// To twice the resolution, onto what was there on the way down.
fn up(recorder: &mut Recorder, from: Picture, layer: &Linear, onto: Picture) -> Result<Picture> {
    let doubled = from.conv(recorder, layer, Sampling::Double, Some(&onto.area))?;
    recorder.release(from.area);
    recorder.release(onto.area);
    Ok(doubled)
}

/// Pixels, onto what is told of them without the network.
fn leave(recorder: &mut Recorder, from: Picture, layer: &Linear, onto: Picture) -> Result<Picture> {
    let drawn = from.conv(recorder, layer, Sampling::Same, Some(&onto.area))?;
    recorder.release(from.area);
    recorder.release(onto.area);
    Ok(drawn)
}

fn through(recorder: &mut Recorder, blocks: &[Residual], x: Picture, states: &Picture) -> Result<Picture> {
    blocks.iter().try_fold(x, |x, block| block.record(recorder, x, states))
}

/// Two convolutions beside a skip; the second norm is scaled and shifted by what is known of the whole window.
#[derive(Debug)]
struct Residual {
    norm1: GroupNorm,
    conv1: Linear,
    /// Scale and shift of the second norm, from what is known of the window.
    norm2: Linear,
    groups: usize,
    conv2: Linear,
}

impl Residual {
    fn new(load: &mut Load, width: usize, states: usize) -> Result<Self> {
        Ok(Self {
            norm1: load.at("norm1").group_norm(width, groups(width))?,
            conv1: load.at("conv1").conv(width, width)?,
            norm2: scaled_norm(load, width, states)?,
            groups: groups(width),
            conv2: load.at("conv2").conv(width, width)?,
        })
    }

    fn record(&self, recorder: &mut Recorder, x: Picture, states: &Picture) -> Result<Picture> {
        let normed = x.norm(recorder, &self.norm1, true)?;
        let h = normed.conv(recorder, &self.conv1, Sampling::Same, None)?;
        recorder.release(normed.area);
        let affine = recorder.take(states.items * 2 * h.channels)?;
        let Linear { weight, bias } = &self.norm2;
        recorder.product(&Product::new(states.items, &states.area, weight, bias, &affine))?;
        let normed = h.norm_with(recorder, Affine::by_item(&affine, h.channels), self.groups, true)?;
        recorder.release(affine);
        recorder.release(h.area);
        let y = normed.conv(recorder, &self.conv2, Sampling::Same, Some(&x.area))?;
        recorder.release(normed.area);
        recorder.release(x.area);
        Ok(y)
    }
}

/// The layer that makes a norm's scales, then shifts, of an item's states s: with the norm's weight w and bias b, and two
/// linear layers E and F, the norm ends as (1 + E s) ∘ (w ∘ x + b) + F s, which is linear in s. In float32 always.
fn scaled_norm(load: &mut Load, width: usize, states: usize) -> Result<Linear> {
    let embed = &mut load.scope.at("embed");
    let both = embed.get("weight", &[2 * width, states], Init::Zeros)?;
    let constant = embed.get("bias", &[2 * width], Init::Zeros)?;
    let norm = &mut load.scope.at("norm2");
    let w = norm.get("weight", &[width], Init::Ones)?;
    let b = norm.get("bias", &[width], Init::Zeros)?;
    let (scale, shift) = (both.narrow(0, 0, width)?, both.narrow(0, width, width)?);
    let column = |v: &Tensor| v.reshape((width, 1));
    let scales = scale.broadcast_mul(&column(&w)?)?;
    let shifts = (scale.broadcast_mul(&column(&b)?)? + shift)?;
    let constants = (constant.narrow(0, 0, width)? + 1.0)?;
    let scale_bias = (&constants * &w)?;
    let shift_bias = ((&constants * &b)? + constant.narrow(0, width, width)?)?;
    let bias = Tensor::cat(&[scale_bias, shift_bias], 0)?.to_vec1()?;
    load.upload(&Tensor::cat(&[scales, shifts], 0)?, bias, false)
}
