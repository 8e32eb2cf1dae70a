//! The KL autoencoder (specification C) on a graphics adapter. Images lie as (item, row, column, channel) there.

use super::denoiser::{Linear, Load};
use super::gpu::{Area, Gpu, Matrix};
use super::operations::{Product, Rows};
use super::picture::{GroupNorm, Picture};
use super::program::{Program, Recorder};
use crate::error::{Error, Result};
use crate::model::autoencoder::{Codec, LinearPath};
use crate::model::layers::{Sampling, from_pixels, to_pixels};
use crate::model::manifest::AutoencoderSizes;
use crate::model::parameters::{Init, Parameters, Scope};
use candle_core::{D, Device, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Encoder, decoder and the 1×1 convolutions between them. Images and latents go in and out on the CPU.
pub struct ShaderAutoencoder {
    gpu: Arc<Gpu>,
    channels: usize,
    latent: usize,
    factor: usize,
    encoder: Encoder,
    decoder: Decoder,
    quant: Linear,
    post_quant: Linear,
    /// Two small products, added on the CPU.
    linear: Option<LinearPath>,
    programs: Mutex<BTreeMap<Task, Arc<Recorded>>>,
}

/// Whether it encodes, and the size of what goes in.
type Task = (bool, [usize; 3]);

/// A program, and where its input goes.
struct Recorded {
    program: Program,
    input: Area,
}

impl ShaderAutoencoder {
    /// Loads the network; parameters as [`Autoencoder::new`](crate::model::Autoencoder::new) takes them, on the CPU.
    ///
    /// # Errors
    /// When the sizes do not fit together or do not suit the shaders, a parameter is missing or misshapen, or the adapter
    /// has no room.
    pub fn new(
        sizes: &AutoencoderSizes,
        channels: usize,
        latent: usize,
        source: &mut dyn Parameters,
        gpu: &Arc<Gpu>,
    ) -> Result<Self> {
        sizes.check()?;
        if sizes.multipliers.iter().any(|m| !(m * sizes.base_width).is_multiple_of(4)) {
            return Err(Error::Device(format!(
                "The shaders take numbers of channels that 4 divides, but this autoencoder's base width is {}; compute on cpu.",
                sizes.base_width
            )));
        }
        let root = &mut Scope::root(source);
        let linear = if sizes.linear_path { Some(LinearPath::new(root, sizes, channels, latent)?) } else { None };
        let load = |name: &str, root: &mut Scope, inputs: usize| Load { scope: root.at(name), gpu }.pointwise(inputs);
        let (quant, post_quant) = (load("quant_conv", root, 2 * latent)?, load("post_quant_conv", root, latent)?);
        Ok(Self {
            gpu: gpu.clone(),
            channels,
            latent,
            factor: 1 << (sizes.multipliers.len() - 1),
            encoder: Encoder::new(&mut Load { scope: root.at("encoder"), gpu }, sizes, channels, 2 * latent)?,
            decoder: Decoder::new(&mut Load { scope: root.at("decoder"), gpu }, sizes, channels, latent)?,
            quant,
            post_quant,
            linear,
            programs: Mutex::default(),
        })
    }

    fn program(&self, decode: bool, size: [usize; 3]) -> Result<Arc<Recorded>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&(decode, size)) {
            return Ok(program.clone());
        }
        let program = Arc::new(self.record(decode, size)?);
        programs.insert((decode, size), program.clone());
        Ok(program)
    }

    fn record(&self, decode: bool, [items, height, width]: [usize; 3]) -> Result<Recorded> {
        let mut recorder = Recorder::new(&self.gpu);
        let channels = if decode { self.latent } else { self.channels }.div_ceil(4);
        let area = recorder.take(items * height * width * channels)?;
        let picture = Picture { area: area.clone(), items, height, width, channels };
        let result = if decode {
            let z = picture.pointwise(&mut recorder, &self.post_quant, None)?;
            recorder.release(picture.area);
            self.decoder.record(&mut recorder, z)?
        } else {
            let moments = self.encoder.record(&mut recorder, picture)?;
            moments.pointwise(&mut recorder, &self.quant, None)?
        };
        let quads = result.pixels() * result.channels;
        Ok(Recorded { program: recorder.finish(&[(&result.area, quads)])?, input: area })
    }

    /// `(row, column, batch, channel)` in and out.
    fn run(&self, decode: bool, x: &Tensor, channels: usize) -> Result<Tensor> {
        let (h, w, items, c) = x.dims4()?;
        let recorded = self.program(decode, [items, h, w])?;
        let own = x.permute((2, 0, 1, 3))?.pad_with_zeros(3, 0, c.next_multiple_of(4) - c)?;
        let values: Vec<f32> = own.flatten_all()?.to_vec1()?;
        let values = recorded.program.run(&self.gpu, &[(&recorded.input, 0, &values)])?;
        let resized = |n: usize| if decode { n * self.factor } else { n / self.factor };
        let shape = (items, resized(h), resized(w), channels.next_multiple_of(4));
        let y = Tensor::from_vec(values, shape, &Device::Cpu)?.narrow(D::Minus1, 0, channels)?;
        Ok(y.permute((1, 2, 0, 3))?)
    }
}

impl Codec for ShaderAutoencoder {
    fn moments(&self, image: &Tensor) -> Result<Tensor> {
        let (_, c, h, w) = image.dims4()?;
        let factor = self.factor;
        if c != self.channels || h % factor != 0 || w % factor != 0 || h == 0 || w == 0 {
            return Err(Error::Compute(format!(
                "The autoencoder takes {} channels and sides that {factor} divides, got {:?}.",
                self.channels,
                image.dims()
            )));
        }
        let x = to_pixels(image)?;
        let moments = self.run(false, &x, 2 * self.latent)?;
        from_pixels(&match &self.linear {
            None => moments,
            Some(linear) => linear.add_to_mean(&moments, &x)?,
        })
    }

    fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        let (_, c, _, _) = latent.dims4()?;
        if c != self.latent {
            return Err(Error::Compute(format!("The autoencoder's latent has {} channels, got {c}.", self.latent)));
        }
        let z = to_pixels(latent)?;
        let image = self.run(true, &z, self.channels)?;
        from_pixels(&match &self.linear {
            None => image,
            Some(linear) => (image + linear.decode(&z)?)?,
        })
    }
}

struct Res {
    norm1: GroupNorm,
    conv1: Linear,
    norm2: GroupNorm,
    conv2: Linear,
    shortcut: Option<Linear>,
}

impl Res {
    fn new(load: &mut Load, inputs: usize, outputs: usize, groups: usize) -> Result<Self> {
        Ok(Self {
            norm1: load.at("norm1").group_norm(inputs, groups)?,
            conv1: load.at("conv1").conv(inputs, outputs)?,
            norm2: load.at("norm2").group_norm(outputs, groups)?,
            conv2: load.at("conv2").conv(outputs, outputs)?,
            shortcut: if inputs == outputs {
                None
            } else {
                Some(load.at("nin_shortcut").pointwise_to(inputs, outputs)?)
            },
        })
    }

    fn record(&self, recorder: &mut Recorder, x: Picture) -> Result<Picture> {
        let normed = x.norm(recorder, &self.norm1, true)?;
        let h = normed.conv(recorder, &self.conv1, Sampling::Same, None)?;
        recorder.release(normed.area);
        let normed = h.norm(recorder, &self.norm2, true)?;
        recorder.release(h.area);
        let x = match &self.shortcut {
            Some(shortcut) => {
                let short = x.pointwise(recorder, shortcut, None)?;
                recorder.release(x.area);
                short
            }
            None => x,
        };
        let y = normed.conv(recorder, &self.conv2, Sampling::Same, Some(&x.area))?;
        recorder.release(normed.area);
        recorder.release(x.area);
        Ok(y)
    }
}

/// Single-head attention over all positions. Small images: the scores are stored.
struct Attention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    /// In float32, for it takes the place of the other operand; and its bias.
    v: Area,
    v_bias: Area,
    out: Linear,
    none: Area,
}

impl Attention {
    fn new(load: &mut Load, channels: usize, groups: usize) -> Result<Self> {
        let mut scope = load.scope.at("v");
        let v: Vec<f32> =
            scope.get("weight", &[channels, channels, 1, 1], Init::FanIn(channels))?.flatten_all()?.to_vec1()?;
        let v_bias: Vec<f32> = scope.get("bias", &[channels], Init::Zeros)?.to_vec1()?;
        Ok(Self {
            norm: load.at("norm").group_norm(channels, groups)?,
            q: load.at("q").pointwise(channels)?,
            k: load.at("k").pointwise(channels)?,
            v: load.gpu.upload("a weight", &v)?,
            v_bias: load.gpu.upload("a bias", &v_bias)?,
            out: load.at("proj_out").pointwise(channels)?,
            none: load.gpu.upload("no bias", &vec![0.0; 4096])?,
        })
    }

    fn record(&self, recorder: &mut Recorder, x: Picture) -> Result<Picture> {
        let normed = x.norm(recorder, &self.norm, false)?;
        let (q, k) = (normed.pointwise(recorder, &self.q, None)?, normed.pointwise(recorder, &self.k, None)?);
        let (positions, channels) = (x.height * x.width, 4 * x.channels);
        let padded = positions.next_multiple_of(4);
        let mixed = recorder.take(x.pixels() * x.channels)?;
        let scores = recorder.take(positions * padded / 4)?;
        let values = recorder.take(channels * padded / 4)?;
        let activations =
            |area: &Area, rows: usize, inner: usize| Matrix { area: area.clone(), half: false, rows, inner };
        for item in 0..x.items {
            let own = Rows { base: item * positions * x.channels, step: positions };
            // Scores, a row for each query: Q · Kᵀ. The keys are the weight here, and begin where the item does.
            let keys = activations(&k.area, padded, channels);
            recorder.product(&Product {
                first_rows: own,
                weight_base: own.base,
                weight_rows: Some(positions),
                ..Product::new(positions, &q.area, &keys, &self.none, &scores)
            })?;
            recorder.softmax(&scores, [positions, positions, padded], (channels as f32).powf(-0.5))?;
            // Values, transposed: W · Xᵀ. Their bias comes last, for the weights of a query sum to one.
            let inputs = activations(&normed.area, padded, channels);
            recorder.product(&Product {
                weight_base: own.base,
                weight_rows: Some(positions),
                ..Product::new(channels, &self.v, &inputs, &self.none, &values)
            })?;
            let columns = activations(&values, channels, padded);
            recorder.product(&Product {
                result_rows: own,
                ..Product::new(positions, &scores, &columns, &self.v_bias, &mixed)
            })?;
        }
        for area in [normed.area, q.area, k.area, scores, values] {
            recorder.release(area);
        }
        let mixed = x.like(mixed, x.channels);
        let y = mixed.pointwise(recorder, &self.out, Some(&x.area))?;
        recorder.release(mixed.area);
        recorder.release(x.area);
        Ok(y)
    }
}

struct Middle {
    block_1: Res,
    attention: Attention,
    block_2: Res,
}

impl Middle {
    fn new(load: &mut Load, channels: usize, groups: usize) -> Result<Self> {
        Ok(Self {
            block_1: Res::new(&mut load.at("block_1"), channels, channels, groups)?,
            attention: Attention::new(&mut load.at("attn_1"), channels, groups)?,
            block_2: Res::new(&mut load.at("block_2"), channels, channels, groups)?,
        })
    }

    fn record(&self, recorder: &mut Recorder, x: Picture) -> Result<Picture> {
        let x = self.block_1.record(recorder, x)?;
        let x = self.attention.record(recorder, x)?;
        self.block_2.record(recorder, x)
    }
}

struct Level {
    blocks: Vec<Res>,
    resample: Option<Linear>,
}

/// Records levels, each followed by its convolution to the next size.
fn record_levels(recorder: &mut Recorder, levels: &[Level], how: Sampling, mut x: Picture) -> Result<Picture> {
    for level in levels {
        for block in &level.blocks {
            x = block.record(recorder, x)?;
        }
        if let Some(conv) = &level.resample {
            let y = x.conv(recorder, conv, how, None)?;
            recorder.release(x.area);
            x = y;
        }
    }
    Ok(x)
}

/// The last norm and convolution.
struct Last {
    norm: GroupNorm,
    conv: Linear,
}

impl Last {
    fn new(load: &mut Load, width: usize, outputs: usize, groups: usize) -> Result<Self> {
        let norm = load.at("norm_out").group_norm(width, groups)?;
        Ok(Self { norm, conv: load.at("conv_out").conv(width, outputs)? })
    }

    fn record(&self, recorder: &mut Recorder, x: Picture) -> Result<Picture> {
        let normed = x.norm(recorder, &self.norm, true)?;
        recorder.release(x.area);
        let y = normed.conv(recorder, &self.conv, Sampling::Same, None)?;
        recorder.release(normed.area);
        Ok(y)
    }
}

struct Encoder {
    conv_in: Linear,
    down: Vec<Level>,
    middle: Middle,
    last: Last,
}

impl Encoder {
    fn new(load: &mut Load, sizes: &AutoencoderSizes, channels: usize, outputs: usize) -> Result<Self> {
        let (groups, levels) = (sizes.norm_groups, sizes.multipliers.len());
        let conv_in = load.at("conv_in").conv(channels, sizes.base_width)?;
        let mut width = sizes.base_width;
        let mut down = Vec::new();
        for (l, multiplier) in sizes.multipliers.iter().enumerate() {
            let mut blocks = Vec::new();
            for b in 0..sizes.residual_blocks {
                let wider = sizes.base_width * multiplier;
                blocks.push(Res::new(&mut load.at(format!("down.{l}.block.{b}")), width, wider, groups)?);
                width = wider;
            }
            let mut resample = None;
            if l + 1 < levels {
                resample = Some(load.at(format!("down.{l}.downsample.conv")).conv(width, width)?);
            }
            down.push(Level { blocks, resample });
        }
        let middle = Middle::new(&mut load.at("mid"), width, groups)?;
        Ok(Self { conv_in, down, middle, last: Last::new(load, width, outputs, groups)? })
    }

    fn record(&self, recorder: &mut Recorder, image: Picture) -> Result<Picture> {
        let x = image.conv(recorder, &self.conv_in, Sampling::Same, None)?;
        recorder.release(image.area);
        let x = record_levels(recorder, &self.down, Sampling::Half, x)?;
        let x = self.middle.record(recorder, x)?;
        self.last.record(recorder, x)
    }
}

struct Decoder {
    conv_in: Linear,
    middle: Middle,
    /// In order of execution: smallest image first.
    up: Vec<Level>,
    last: Last,
}

impl Decoder {
    fn new(load: &mut Load, sizes: &AutoencoderSizes, channels: usize, latent: usize) -> Result<Self> {
        let groups = sizes.norm_groups;
        let widths: Vec<usize> = sizes.multipliers.iter().map(|m| sizes.base_width * m).collect();
        let mut width = widths[widths.len() - 1];
        let conv_in = load.at("conv_in").conv(latent, width)?;
        let middle = Middle::new(&mut load.at("mid"), width, groups)?;
        let mut up = Vec::new();
        for (l, &narrower) in widths.iter().enumerate().rev() {
            let mut blocks = Vec::new();
            for b in 0..=sizes.residual_blocks {
                blocks.push(Res::new(&mut load.at(format!("up.{l}.block.{b}")), width, narrower, groups)?);
                width = narrower;
            }
            let mut resample = None;
            if l > 0 {
                resample = Some(load.at(format!("up.{l}.upsample.conv")).conv(width, width)?);
            }
            up.push(Level { blocks, resample });
        }
        Ok(Self { conv_in, middle, up, last: Last::new(load, width, channels, groups)? })
    }

    fn record(&self, recorder: &mut Recorder, z: Picture) -> Result<Picture> {
        let x = z.conv(recorder, &self.conv_in, Sampling::Same, None)?;
        recorder.release(z.area);
        let x = self.middle.record(recorder, x)?;
        let x = record_levels(recorder, &self.up, Sampling::Double, x)?;
        self.last.record(recorder, x)
    }
}
