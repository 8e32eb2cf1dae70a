//! The denoiser: a transformer with long skips over the latent patches of all modalities (specification D).

use super::kernels::{self, BlockLayers, PackedBlock};
use super::known::Known;
use super::layers::{LayerNorm, Projection, linear, linear_pair, softmax};
use super::manifest::DenoiserSizes;
use super::parameters::{Init, Parameters, Scope};
use super::precision::Precision;
use crate::error::{Error, Result};
use crate::modality::{Modality, ModalityTable};
use candle_core::{Device, Module, Tensor};
use candle_nn::Linear;

/// Anything the sampler can follow: predicts the noise in every modality's latent.
pub trait NoisePredictor: Send + Sync {
    /// The modality table it was built for.
    fn table(&self) -> &ModalityTable;

    /// Where latents and noise are.
    fn device(&self) -> &Device;

    /// Whether the items of a batch have to be evaluated one by one: on a CPU the rounding of a matrix product depends on
    /// its number of rows, and a realisation must not depend on its neighbours.
    fn one_by_one(&self) -> bool {
        self.device().is_cpu()
    }

    /// One evaluation: the predicted noise of all modalities, each in its latent shape.
    ///
    /// `latents[i]` is `(batch, C, h, w)` of modality i; `times[i]` the network time (0…1000, may be fractional)
    /// of each item of the batch.
    ///
    /// # Errors
    /// When shapes do not match the table or the device fails.
    fn noise(&self, latents: &[Tensor], times: &[Vec<f32>]) -> Result<Vec<Tensor>>;

    /// Whether it has learned to take what is known of a modality that is generated.
    fn takes_known(&self) -> bool {
        false
    }

    /// As [`noise`](Self::noise), with what is known of the latents, by modality; only where
    /// [`takes_known`](Self::takes_known).
    ///
    /// # Errors
    /// As there.
    fn noise_knowing(&self, latents: &[Tensor], times: &[Vec<f32>], _known: &[Option<Known>]) -> Result<Vec<Tensor>> {
        self.noise(latents, times)
    }
}

/// Latents and times fit the table.
///
/// # Errors
/// A sentence that names the first modality that does not.
pub(super) fn check_inputs(table: &ModalityTable, latents: &[Tensor], times: &[Vec<f32>]) -> Result<usize> {
    if latents.len() != table.len() || times.len() != table.len() {
        return Err(Error::Compute(format!("The denoiser needs {} modalities, got {}.", table.len(), latents.len())));
    }
    let batch = latents[0].dim(0)?;
    for ((m, latent), t) in table.iter().zip(latents).zip(times) {
        let [c, h, w] = m.latent;
        if latent.dims() != [batch, c, h, w] || t.len() != batch {
            return Err(Error::Compute(format!(
                "The latent of {} has shape {:?} with {} times, expected {:?}.",
                m.name,
                latent.dims(),
                t.len(),
                [batch, c, h, w]
            )));
        }
    }
    Ok(batch)
}

/// The published network.
#[derive(Debug)]
pub struct Denoiser {
    table: ModalityTable,
    sizes: DenoiserSizes,
    embeds: Vec<PatchEmbed>,
    positions: Tensor,
    blocks: Blocks,
    norm: LayerNorm,
    heads: Vec<Projection>,
    device: Device,
}

impl Denoiser {
    /// Builds the network from its parameters; names as in specification D.4.
    ///
    /// # Errors
    /// When the sizes do not fit together or a parameter is missing or misshapen.
    pub fn new(
        table: &ModalityTable,
        sizes: &DenoiserSizes,
        source: &mut dyn Parameters,
        device: &Device,
    ) -> Result<Self> {
        sizes.check()?;
        let root = &mut Scope::root(source);
        let width = sizes.width;
        let mut embeds = Vec::new();
        for (i, m) in table.iter().enumerate() {
            embeds.push(PatchEmbed::new(&mut root.at(format!("patch_embeds.{i}.proj")), m, width)?);
        }
        let positions = root.get("pos_embed", &[1, table.tokens(), width], Init::Normal(0.02))?;
        let blocks = Blocks::new(root, sizes)?;
        let norm = LayerNorm::new(&mut root.at("norm"), width)?;
        let mut heads = Vec::new();
        for (i, m) in table.iter().enumerate() {
            heads.push(linear(
                &mut root.at(format!("decoder_preds.{i}")),
                width,
                m.patch * m.patch * m.latent[0],
                true,
            )?);
        }
        Ok(Self {
            table: table.clone(),
            sizes: sizes.clone(),
            embeds,
            positions,
            blocks,
            norm,
            heads,
            device: device.clone(),
        })
    }

    /// Sizes.
    pub fn sizes(&self) -> &DenoiserSizes {
        &self.sizes
    }
}

impl NoisePredictor for Denoiser {
    fn table(&self) -> &ModalityTable {
        &self.table
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn noise(&self, latents: &[Tensor], times: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        let batch = check_inputs(&self.table, latents, times)?;
        let width = self.sizes.width;
        let time = time_tokens(times, batch, width);
        let mut tokens = vec![Tensor::from_vec(time, (batch, times.len(), width), &self.device)?];
        for ((embed, m), latent) in self.embeds.iter().zip(self.table.iter()).zip(latents) {
            tokens.push(embed.forward(m, latent)?);
        }
        let x = self.blocks.forward(Tensor::cat(&tokens, 1)?.broadcast_add(&self.positions)?)?;
        let x = self.norm.forward(&x)?;
        let mut start = self.table.len();
        let mut noise = Vec::with_capacity(self.table.len());
        for (m, head) in self.table.iter().zip(&self.heads) {
            let own = x.narrow(1, start, m.tokens())?.contiguous()?;
            noise.push(unpatchify(m, &head.forward(&own)?)?);
            start += m.tokens();
        }
        Ok(noise)
    }
}

/// Kernel = stride = patch, so a product over the patch's values (D.2, 1).
#[derive(Debug)]
struct PatchEmbed {
    weight: Tensor,
    bias: Tensor,
}

impl PatchEmbed {
    fn new(scope: &mut Scope, m: &Modality, width: usize) -> Result<Self> {
        let fan_in = m.latent[0] * m.patch * m.patch;
        Ok(Self {
            weight: scope.get("weight", &[width, m.latent[0], m.patch, m.patch], Init::FanIn(fan_in))?,
            bias: scope.get("bias", &[width], Init::FanIn(fan_in))?,
        })
    }

    /// `(batch, C, h, w)` → `(batch, tokens, width)`, row-major.
    fn forward(&self, m: &Modality, latent: &Tensor) -> Result<Tensor> {
        let ([c, h, w], p) = (m.latent, m.patch);
        let batch = latent.dim(0)?;
        let patches = latent.reshape(&[batch, c, h / p, p, w / p, p][..])?.permute(&[0, 2, 4, 1, 3, 5][..])?;
        let patches = patches.reshape((batch, m.tokens(), c * p * p))?;
        let weight = self.weight.reshape(((), c * p * p))?;
        Ok(Linear::new(weight, Some(self.bias.clone())).forward(&patches)?)
    }
}

/// One token per modality: cosines first, then sines, no parameters (D.2, 2). `(batch, modalities, width)`.
pub(super) fn time_tokens(times: &[Vec<f32>], batch: usize, width: usize) -> Vec<f32> {
    let half = width / 2;
    let frequency = |j: usize| (-(10_000f64.ln()) * j as f64 / half as f64).exp() as f32;
    let frequencies: Vec<f32> = (0..half).map(frequency).collect();
    let mut data = Vec::with_capacity(batch * times.len() * width);
    for item in 0..batch {
        for t in times {
            data.extend(frequencies.iter().map(|f| (t[item] * f).cos()));
            data.extend(frequencies.iter().map(|f| (t[item] * f).sin()));
        }
    }
    data
}

/// `(batch, tokens, p²·C)` → `(batch, C, h, w)`; in a token the channel runs fastest (D.2, 6).
pub(super) fn unpatchify(m: &Modality, tokens: &Tensor) -> Result<Tensor> {
    let ([c, h, w], p) = (m.latent, m.patch);
    let batch = tokens.dim(0)?;
    let grid = tokens.reshape(&[batch, h / p, w / p, p, p, c][..])?.permute(&[0, 5, 1, 3, 2, 4][..])?;
    Ok(grid.reshape((batch, c, h, w))?)
}

/// All blocks: half before the middle one, half after it, each of these with a long skip from its counterpart (D.2, 4).
#[derive(Debug)]
struct Blocks {
    before: Vec<Block>,
    middle: Block,
    after: Vec<Block>,
}

impl Blocks {
    fn new(root: &mut Scope, sizes: &DenoiserSizes) -> Result<Self> {
        let half = sizes.depth / 2;
        let blocks = |root: &mut Scope, stack: &str, skip: bool| -> Result<Vec<Block>> {
            (0..half).map(|j| Block::new(&mut root.at(format!("{stack}.{j}")), sizes, skip)).collect()
        };
        Ok(Self {
            before: blocks(root, "in_blocks", false)?,
            middle: Block::new(&mut root.at("mid_block"), sizes, false)?,
            after: blocks(root, "out_blocks", true)?,
        })
    }

    fn forward(&self, mut x: Tensor) -> Result<Tensor> {
        let mut skips = Vec::with_capacity(self.before.len());
        for block in &self.before {
            x = block.forward(&x, None)?;
            skips.push(x.clone());
        }
        x = self.middle.forward(&x, None)?;
        for block in &self.after {
            x = block.forward(&x, skips.pop().as_ref())?;
        }
        Ok(x)
    }
}

/// Attention and MLP with post-normalisation, optionally with a long skip in front (D.3).
#[derive(Debug)]
struct Block {
    skip: Option<(LayerNorm, Projection)>,
    qkv: Projection,
    proj: Projection,
    fc1: Projection,
    fc2: Projection,
    norm2: LayerNorm,
    norm3: LayerNorm,
    heads: usize,
    precision: Precision,
    trainable: bool,
    /// All of it in one piece, where a matrix unit takes it so.
    whole: Option<PackedBlock>,
}

impl Block {
    fn new(scope: &mut Scope, sizes: &DenoiserSizes, skip: bool) -> Result<Self> {
        let (d, hidden) = (sizes.width, sizes.width * sizes.mlp_ratio);
        let skip = if skip {
            let norm = LayerNorm::new(&mut scope.at("norm1"), d)?;
            Some((norm, linear_pair(&mut scope.at("skip_linear"), d, d)?))
        } else {
            None
        };
        let mut block = Self {
            skip,
            qkv: linear(&mut scope.at("attn.qkv"), d, 3 * d, false)?,
            proj: linear(&mut scope.at("attn.proj"), d, d, true)?,
            fc1: linear(&mut scope.at("mlp.fc1"), d, hidden, true)?,
            fc2: linear(&mut scope.at("mlp.fc2"), hidden, d, true)?,
            norm2: LayerNorm::new(&mut scope.at("norm2"), d)?,
            norm3: LayerNorm::new(&mut scope.at("norm3"), d)?,
            heads: sizes.heads,
            precision: scope.precision(),
            trainable: scope.trainable(),
            whole: None,
        };
        block.whole = block.in_one_piece()?;
        Ok(block)
    }

    fn in_one_piece(&self) -> Result<Option<PackedBlock>> {
        let skip = match &self.skip {
            Some((norm, linear)) => {
                let Some(linear) = linear.packed() else { return Ok(None) };
                Some((linear, norm.parts()))
            }
            None => None,
        };
        let layers = [&self.qkv, &self.proj, &self.fc1, &self.fc2].map(Projection::packed);
        let [Some(qkv), Some(proj), Some(fc1), Some(fc2)] = layers else { return Ok(None) };
        let (norm2, norm3) = (self.norm2.parts(), self.norm3.parts());
        PackedBlock::new(&BlockLayers { skip, qkv, proj, norm2, fc1, fc2, norm3, heads: self.heads })
    }

    fn forward(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        if let Some(whole) = &self.whole {
            return whole.forward(x, skip);
        }
        let joined = match (&self.skip, skip) {
            (Some((norm, linear)), Some(skip)) => norm.forward(&linear.forward_pair(x, skip)?)?,
            _ => x.clone(),
        };
        let x = self.norm2.forward(&self.proj.forward_onto(&self.attention(&joined)?, &joined)?)?;
        self.norm3.forward(&self.fc2.forward_onto(&self.fc1.forward_gelu(&x)?, &x)?)
    }

    /// What the heads mix, before their joint projection.
    fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let (b, n, d) = x.dims3()?;
        if kernels::can_run(x) {
            let attention = if self.trainable { kernels::gradient::attention } else { kernels::attention };
            return attention(&self.qkv.forward(x)?, self.heads, self.precision);
        }
        let head = d / self.heads;
        let qkv = self.qkv.forward(x)?.reshape((b, n, 3, self.heads, head))?.permute((2, 0, 3, 1, 4))?;
        let part = |i: usize| qkv.get(i)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let q = (q * (head as f64).powf(-0.5))?;
        let weights = softmax(&q.matmul(&k.t()?)?, self.trainable)?;
        Ok(weights.matmul(&v)?.transpose(1, 2)?.reshape((b, n, d))?)
    }
}
