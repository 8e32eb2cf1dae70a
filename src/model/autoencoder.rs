//! The KL autoencoder of one image modality (specification C).

use super::kernels;
use super::layers::{Conv3, GroupNorm, Projection, Sampling, from_pixels, pointwise, softmax, to_pixels};
use super::manifest::AutoencoderSizes;
use super::parameters::{Init, Parameters, Scope};
use super::precision::Precision;
use crate::error::{Error, Result};
use candle_core::{D, Device, Tensor};

/// Anything that turns the images of one modality into latents and back.
pub trait Codec: Send + Sync {
    /// Image `(batch, channels, H, W)` in network values → moments `(batch, 2·latent, h, w)`: mean, log-variance.
    ///
    /// # Errors
    /// When the shape does not fit or the device fails.
    fn moments(&self, image: &Tensor) -> Result<Tensor>;

    /// Latent `(batch, latent, h, w)`, already divided by the scale factor → image `(batch, channels, H, W)`.
    ///
    /// # Errors
    /// When the shape does not fit or the device fails.
    fn decode(&self, latent: &Tensor) -> Result<Tensor>;
}

/// Encoder, decoder and the 1×1 convolutions between them.
#[derive(Debug)]
pub struct Autoencoder {
    sizes: AutoencoderSizes,
    channels: usize,
    latent: usize,
    encoder: Encoder,
    decoder: Decoder,
    quant: Projection,
    post_quant: Projection,
    linear: Option<LinearPath>,
    device: Device,
}

/// Mean and log-variance of the latent posterior, each `(batch, latent, rows, columns)`, not scaled.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Mean.
    pub mean: Tensor,
    /// Log-variance, clamped to −30…20 (C.3).
    pub log_variance: Tensor,
}

impl Moments {
    /// Splits what [`Codec::moments`] returns.
    ///
    /// # Errors
    /// When the device fails.
    pub fn split(moments: &Tensor) -> Result<Self> {
        let halves = moments.chunk(2, 1)?;
        Ok(Self { mean: halves[0].contiguous()?, log_variance: halves[1].clamp(-30.0, 20.0)? })
    }

    /// `mean + std · noise`.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn draw(&self, noise: &Tensor) -> Result<Tensor> {
        Ok((&self.mean + (self.log_variance.affine(0.5, 0.0)?.exp()? * noise)?)?)
    }
}

impl Autoencoder {
    /// Builds the network; names as in specification C.2 (and `encoder.linear`, `decoder.linear` for the linear path).
    ///
    /// `channels` enter and leave the network; the latent has `latent` channels.
    ///
    /// # Errors
    /// When the sizes do not fit together or a parameter is missing or misshapen.
    pub fn new(
        sizes: &AutoencoderSizes,
        channels: usize,
        latent: usize,
        source: &mut dyn Parameters,
        device: &Device,
    ) -> Result<Self> {
        sizes.check()?;
        let root = &mut Scope::root(source);
        let linear = if sizes.linear_path { Some(LinearPath::new(root, sizes, channels, latent)?) } else { None };
        Ok(Self {
            sizes: sizes.clone(),
            channels,
            latent,
            encoder: Encoder::new(&mut root.at("encoder"), sizes, channels, 2 * latent)?,
            decoder: Decoder::new(&mut root.at("decoder"), sizes, channels, latent)?,
            quant: pointwise(&mut root.at("quant_conv"), 2 * latent, 2 * latent)?,
            post_quant: pointwise(&mut root.at("post_quant_conv"), latent, latent)?,
            linear,
            device: device.clone(),
        })
    }

    /// Sizes.
    pub fn sizes(&self) -> &AutoencoderSizes {
        &self.sizes
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Pixels per latent position along one side.
    pub fn factor(&self) -> usize {
        1 << (self.sizes.multipliers.len() - 1)
    }
}

impl Codec for Autoencoder {
    fn moments(&self, image: &Tensor) -> Result<Tensor> {
        let (_, c, h, w) = image.dims4()?;
        let factor = self.factor();
        if c != self.channels || h % factor != 0 || w % factor != 0 || h == 0 || w == 0 {
            return Err(Error::Compute(format!(
                "The autoencoder takes {} channels and sides that {factor} divides, got {:?}.",
                self.channels,
                image.dims()
            )));
        }
        let x = to_pixels(image)?;
        let moments = self.quant.forward(&self.encoder.forward(&x)?)?;
        let moments = match &self.linear {
            None => moments,
            Some(linear) => linear.add_to_mean(&moments, &x)?,
        };
        from_pixels(&moments)
    }

    fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        let (_, c, _, _) = latent.dims4()?;
        if c != self.latent {
            return Err(Error::Compute(format!("The autoencoder's latent has {} channels, got {c}.", self.latent)));
        }
        let z = to_pixels(latent)?;
        let image = self.decoder.forward(&self.post_quant.forward(&z)?)?;
        let image = match &self.linear {
            None => image,
            Some(linear) => (image + linear.decode(&z)?)?,
        };
        from_pixels(&image)
    }
}

#[derive(Debug)]
struct Res {
    norm1: GroupNorm,
    conv1: Conv3,
    norm2: GroupNorm,
    conv2: Conv3,
    shortcut: Option<Projection>,
}

impl Res {
    fn new(scope: &mut Scope, inputs: usize, outputs: usize, groups: usize) -> Result<Self> {
        Ok(Self {
            norm1: GroupNorm::new(&mut scope.at("norm1"), inputs, groups)?,
            conv1: Conv3::new(&mut scope.at("conv1"), inputs, outputs, Sampling::Same)?,
            norm2: GroupNorm::new(&mut scope.at("norm2"), outputs, groups)?,
            conv2: Conv3::new(&mut scope.at("conv2"), outputs, outputs, Sampling::Same)?,
            shortcut: if inputs == outputs {
                None
            } else {
                Some(pointwise(&mut scope.at("nin_shortcut"), inputs, outputs)?)
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.forward_swish(x)?)?;
        let h = self.norm2.forward_swish(&h)?;
        match &self.shortcut {
            Some(shortcut) => self.conv2.forward_onto(&h, &shortcut.forward(x)?),
            None => self.conv2.forward_onto(&h, x),
        }
    }
}

/// Single-head attention over all positions.
#[derive(Debug)]
struct Attention {
    norm: GroupNorm,
    q: Projection,
    k: Projection,
    v: Projection,
    out: Projection,
    trainable: bool,
}

impl Attention {
    fn new(scope: &mut Scope, channels: usize, groups: usize) -> Result<Self> {
        let part = |scope: &mut Scope, name: &str| pointwise(&mut scope.at(name), channels, channels);
        Ok(Self {
            norm: GroupNorm::new(&mut scope.at("norm"), channels, groups)?,
            q: part(scope, "q")?,
            k: part(scope, "k")?,
            v: part(scope, "v")?,
            out: part(scope, "proj_out")?,
            trainable: scope.trainable(),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (h, w, b, c) = x.dims4()?;
        let normed = self.norm.forward(x)?;
        // (batch, positions, channels)
        let part = |p: &Projection| -> Result<Tensor> {
            Ok(p.forward(&normed)?.reshape((h * w, b, c))?.transpose(0, 1)?.contiguous()?)
        };
        let (q, k, v) = (part(&self.q)?, part(&self.k)?, part(&self.v)?);
        let mixed = if !self.trainable && kernels::can_run(x) {
            kernels::attention(&Tensor::cat(&[q, k, v], D::Minus1)?, 1, Precision::F32)?
        } else {
            let q = (q * (c as f64).powf(-0.5))?;
            softmax(&q.matmul(&k.t()?)?, self.trainable)?.matmul(&v)?
        };
        let mixed = mixed.transpose(0, 1)?.contiguous()?.reshape((h, w, b, c))?;
        self.out.forward_onto(&mixed, x)
    }
}

#[derive(Debug)]
struct Middle {
    block_1: Res,
    attention: Attention,
    block_2: Res,
}

impl Middle {
    fn new(scope: &mut Scope, channels: usize, groups: usize) -> Result<Self> {
        Ok(Self {
            block_1: Res::new(&mut scope.at("block_1"), channels, channels, groups)?,
            attention: Attention::new(&mut scope.at("attn_1"), channels, groups)?,
            block_2: Res::new(&mut scope.at("block_2"), channels, channels, groups)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.block_2.forward(&self.attention.forward(&self.block_1.forward(x)?)?)
    }
}

#[derive(Debug)]
struct Level {
    blocks: Vec<Res>,
    resample: Option<Conv3>,
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv3,
    down: Vec<Level>,
    middle: Middle,
    norm_out: GroupNorm,
    conv_out: Conv3,
}

impl Encoder {
    fn new(scope: &mut Scope, sizes: &AutoencoderSizes, channels: usize, outputs: usize) -> Result<Self> {
        let (groups, levels) = (sizes.norm_groups, sizes.multipliers.len());
        let conv_in = Conv3::new(&mut scope.at("conv_in"), channels, sizes.base_width, Sampling::Same)?;
        let mut width = sizes.base_width;
        let mut down = Vec::new();
        for (l, multiplier) in sizes.multipliers.iter().enumerate() {
            let mut blocks = Vec::new();
            for b in 0..sizes.residual_blocks {
                let wider = sizes.base_width * multiplier;
                blocks.push(Res::new(&mut scope.at(format!("down.{l}.block.{b}")), width, wider, groups)?);
                width = wider;
            }
            let resample = if l + 1 < levels {
                Some(Conv3::new(&mut scope.at(format!("down.{l}.downsample.conv")), width, width, Sampling::Half)?)
            } else {
                None
            };
            down.push(Level { blocks, resample });
        }
        Ok(Self {
            conv_in,
            down,
            middle: Middle::new(&mut scope.at("mid"), width, groups)?,
            norm_out: GroupNorm::new(&mut scope.at("norm_out"), width, groups)?,
            conv_out: last_conv(&mut scope.at("conv_out"), width, outputs, sizes)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x)?;
        for level in &self.down {
            for block in &level.blocks {
                x = block.forward(&x)?;
            }
            if let Some(resample) = &level.resample {
                x = resample.forward(&x)?;
            }
        }
        let x = self.middle.forward(&x)?;
        self.conv_out.forward(&self.norm_out.forward_swish(&x)?)
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv3,
    middle: Middle,
    /// In order of execution: smallest image first.
    up: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Conv3,
}

impl Decoder {
    fn new(scope: &mut Scope, sizes: &AutoencoderSizes, channels: usize, latent: usize) -> Result<Self> {
        let groups = sizes.norm_groups;
        let widths: Vec<usize> = sizes.multipliers.iter().map(|m| sizes.base_width * m).collect();
        let mut width = widths[widths.len() - 1];
        let conv_in = Conv3::new(&mut scope.at("conv_in"), latent, width, Sampling::Same)?;
        let middle = Middle::new(&mut scope.at("mid"), width, groups)?;
        let mut up = Vec::new();
        for (l, &narrower) in widths.iter().enumerate().rev() {
            let mut blocks = Vec::new();
            for b in 0..=sizes.residual_blocks {
                blocks.push(Res::new(&mut scope.at(format!("up.{l}.block.{b}")), width, narrower, groups)?);
                width = narrower;
            }
            let resample = if l > 0 {
                Some(Conv3::new(&mut scope.at(format!("up.{l}.upsample.conv")), width, width, Sampling::Double)?)
            } else {
                None
            };
            up.push(Level { blocks, resample });
        }
        Ok(Self {
            conv_in,
            middle,
            up,
            norm_out: GroupNorm::new(&mut scope.at("norm_out"), width, groups)?,
            conv_out: last_conv(&mut scope.at("conv_out"), width, channels, sizes)?,
        })
    }

    fn forward(&self, z: &Tensor) -> Result<Tensor> {
        let mut x = self.middle.forward(&self.conv_in.forward(z)?)?;
        for level in &self.up {
            for block in &level.blocks {
                x = block.forward(&x)?;
            }
            if let Some(resample) = &level.resample {
                x = resample.forward(&x)?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward_swish(&x)?)
    }
}

/// With a linear path the network begins as a zero correction to it.
fn last_conv(scope: &mut Scope, inputs: usize, outputs: usize, sizes: &AutoencoderSizes) -> Result<Conv3> {
    let init = if sizes.linear_path { Init::Zeros } else { Init::FanIn(9 * inputs) };
    Conv3::with_init(scope, inputs, outputs, Sampling::Same, init)
}

/// One strided convolution from image to latent mean, and one transposed convolution back.
#[derive(Debug)]
pub(super) struct LinearPath {
    encode_weight: Tensor,
    encode_bias: Tensor,
    decode_weight: Tensor,
    decode_bias: Tensor,
}

impl LinearPath {
    pub(super) fn new(scope: &mut Scope, sizes: &AutoencoderSizes, channels: usize, latent: usize) -> Result<Self> {
        let f = 1 << (sizes.multipliers.len() - 1);
        let fan_in = channels * f * f;
        Ok(Self {
            encode_weight: scope.get("encoder.linear.weight", &[latent, channels, f, f], Init::FanIn(fan_in))?,
            encode_bias: scope.get("encoder.linear.bias", &[latent], Init::Zeros)?,
            decode_weight: scope.get("decoder.linear.weight", &[latent, channels, f, f], Init::FanIn(latent))?,
            decode_bias: scope.get("decoder.linear.bias", &[channels], Init::Zeros)?,
        })
    }

    /// Moments with this path's part added to the mean; all `(row, column, batch, channel)`.
    pub(super) fn add_to_mean(&self, moments: &Tensor, x: &Tensor) -> Result<Tensor> {
        let latent = self.encode_bias.dim(0)?;
        let mean = (moments.narrow(D::Minus1, 0, latent)? + self.encode(x)?)?;
        Ok(Tensor::cat(&[mean, moments.narrow(D::Minus1, latent, latent)?.contiguous()?], D::Minus1)?)
    }

    fn encode(&self, x: &Tensor) -> Result<Tensor> {
        let (h, w, b, c) = x.dims4()?;
        let (latent, _, f, _) = self.encode_weight.dims4()?;
        let patches = x.reshape(&[h / f, f, w / f, f, b, c][..])?.permute(&[0, 2, 4, 5, 1, 3][..])?;
        let patches = patches.reshape((h / f * (w / f) * b, c * f * f))?;
        let weight = self.encode_weight.reshape((latent, c * f * f))?;
        let z = patches.matmul(&weight.t()?)?.broadcast_add(&self.encode_bias)?;
        Ok(z.reshape((h / f, w / f, b, latent))?)
    }

    /// `(row, column, batch, latent)` → `(row, column, batch, channel)`.
    pub(super) fn decode(&self, z: &Tensor) -> Result<Tensor> {
        let (h, w, b, latent) = z.dims4()?;
        let (_, c, f, _) = self.decode_weight.dims4()?;
        let weight = self.decode_weight.reshape((latent, c * f * f))?;
        let patches = z.reshape((h * w * b, latent))?.matmul(&weight)?.reshape(&[h, w, b, c, f, f][..])?;
        let image = patches.permute(&[0, 4, 1, 5, 2, 3][..])?.reshape((h * f, w * f, b, c))?;
        Ok(image.broadcast_add(&self.decode_bias)?)
    }
}
