//! The token denoiser (specification D) on a graphics adapter.

use super::gpu::{Area, Gpu, Matrix};
use super::operations::{Product, Rows};
use super::program::{Program, Recorder};
use crate::error::{Error, Result};
use crate::modality::{Modality, ModalityTable};
use crate::model::Precision;
use crate::model::denoiser::{NoisePredictor, check_inputs, time_tokens, unpatchify};
use crate::model::manifest::DenoiserSizes;
use crate::model::parameters::{Init, Parameters, Scope};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Items evaluated together; more are evaluated in turns. Beyond a few, a card is busy anyway, and memory grows.
const TOGETHER: usize = 8;
/// Largest head the attention kernel takes, features.
const LARGEST_HEAD: usize = 128;

/// The published network. Latents go in and noise comes out on the CPU, a few hundred kilobytes per item.
pub struct ShaderDenoiser {
    gpu: Arc<Gpu>,
    table: ModalityTable,
    sizes: DenoiserSizes,
    embeds: Vec<Linear>,
    /// `pos_embed`, and its first rows (those of the time tokens), which are added on the CPU.
    positions: Area,
    time_positions: Vec<f32>,
    before: Vec<Block>,
    middle: Block,
    after: Vec<Block>,
    norm: Norm,
    heads: Vec<Linear>,
    programs: Mutex<BTreeMap<usize, Arc<Recorded>>>,
}

/// A program, and where its inputs go.
struct Recorded {
    program: Program,
    tokens: Area,
    patches: Area,
}

impl ShaderDenoiser {
    /// Loads the network; parameters as [`Denoiser::new`](crate::model::Denoiser::new) takes them, on the CPU.
    ///
    /// # Errors
    /// When the sizes do not fit together or do not suit the shaders, a parameter is missing or misshapen, or the adapter
    /// has no room.
    pub fn new(
        table: &ModalityTable,
        sizes: &DenoiserSizes,
        source: &mut dyn Parameters,
        gpu: &Arc<Gpu>,
    ) -> Result<Self> {
        sizes.check()?;
        let head = sizes.width / sizes.heads;
        if !head.is_multiple_of(4) || head > LARGEST_HEAD {
            return Err(Error::Device(format!(
                "Attention heads of {head} features do not suit the shaders, which take multiples of 4 up to {LARGEST_HEAD}; compute on cpu."
            )));
        }
        let load = &mut Load { scope: Scope::root(source), gpu };
        let width = sizes.width;
        let mut embeds = Vec::new();
        for (i, m) in table.iter().enumerate() {
            embeds.push(load.at(format!("patch_embeds.{i}.proj")).embed(m, width)?);
        }
        let positions: Vec<f32> =
            load.scope.get("pos_embed", &[1, table.tokens(), width], Init::Zeros)?.flatten_all()?.to_vec1()?;
        let half = sizes.depth / 2;
        let mut blocks = |stack: &str, skip: bool| -> Result<Vec<Block>> {
            (0..half).map(|j| Block::new(&mut load.at(format!("{stack}.{j}")), sizes, skip)).collect()
        };
        let (before, after) = (blocks("in_blocks", false)?, blocks("out_blocks", true)?);
        let middle = Block::new(&mut load.at("mid_block"), sizes, false)?;
        let norm = load.at("norm").norm(width)?;
        let mut heads = Vec::new();
        for (i, m) in table.iter().enumerate() {
            heads.push(load.at(format!("decoder_preds.{i}")).linear(width, m.patch * m.patch * m.latent[0], true)?);
        }
        Ok(Self {
            gpu: gpu.clone(),
            table: table.clone(),
            sizes: sizes.clone(),
            embeds,
            time_positions: positions[..table.len() * width].to_vec(),
            positions: gpu.upload("pos_embed", &positions)?,
            before,
            middle,
            after,
            norm,
            heads,
            programs: Mutex::default(),
        })
    }

    /// The program for this many items, recorded at first use.
    fn program(&self, items: usize) -> Result<Arc<Recorded>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&items) {
            return Ok(program.clone());
        }
        let program = Arc::new(self.record(items)?);
        programs.insert(items, program.clone());
        Ok(program)
    }

    fn record(&self, items: usize) -> Result<Recorded> {
        let mut recording = Recorder::new(&self.gpu);
        let recorder = &mut recording;
        let (all, width) = (self.table.tokens(), self.sizes.width / 4);
        let run = Run { rows: items * all, items, tokens: all, width, heads: self.sizes.heads };
        let tokens = recorder.take(run.rows * width)?;
        let patches = recorder.take(items * self.input_quads())?;
        let (mut base, mut start) = (0, self.table.len());
        for (m, embed) in self.table.iter().zip(&self.embeds) {
            let own = Rows { base: start * width, step: all };
            recorder.product(&Product {
                per_item: m.tokens(),
                first_rows: Rows { base, step: m.tokens() },
                residual: Some((&self.positions, Rows { step: 0, ..own })),
                result_rows: own,
                ..Product::new(items * m.tokens(), &patches, &embed.weight, &embed.bias, &tokens)
            })?;
            base += items * m.tokens() * embed.weight.inner / 4;
            start += m.tokens();
        }
        // Both are written again before the next run.
        recorder.release(patches.clone());
        let (mut x, mut skips) = (tokens.clone(), Vec::new());
        for block in &self.before {
            // The first block's input is the tokens, all others' are skips, which are still needed.
            let y = block.record(recorder, &run, &x, None)?;
            if skips.is_empty() {
                recorder.release(x);
            }
            skips.push(y.clone());
            x = y;
        }
        let y = self.middle.record(recorder, &run, &x, None)?;
        if skips.is_empty() {
            recorder.release(x);
        }
        x = y;
        for block in &self.after {
            let skip = skips.pop().ok_or_else(|| Error::Compute("The denoiser's skips do not match.".into()))?;
            let y = block.record(recorder, &run, &x, Some(&skip))?;
            recorder.release(x);
            recorder.release(skip);
            x = y;
        }
        let normed = recorder.take(run.rows * width)?;
        recorder.layer_norm(run.rows, width, &x, self.norm.areas(), &normed)?;
        let quads = items * self.output_quads();
        let noise = recorder.take(quads)?;
        let (mut base, mut start) = (0, self.table.len());
        for (m, head) in self.table.iter().zip(&self.heads) {
            recorder.product(&Product {
                per_item: m.tokens(),
                first_rows: Rows { base: start * width, step: all },
                result_rows: Rows { base, step: m.tokens() },
                ..Product::new(items * m.tokens(), &normed, &head.weight, &head.bias, &noise)
            })?;
            base += items * m.tokens() * head.weight.rows / 4;
            start += m.tokens();
        }
        Ok(Recorded { program: recording.finish(&[(&noise, quads)])?, tokens, patches })
    }

    /// Quads of all patches of an item, each padded to whole quads.
    fn input_quads(&self) -> usize {
        self.table.iter().zip(&self.embeds).map(|(m, embed)| m.tokens() * embed.weight.inner / 4).sum()
    }

    /// Quads of the predictions for all patches of an item.
    fn output_quads(&self) -> usize {
        self.table.iter().zip(&self.heads).map(|(m, head)| m.tokens() * head.weight.rows / 4).sum()
    }

    /// At most [`TOGETHER`] items.
    fn evaluate(&self, latents: &[Tensor], times: &[Vec<f32>], items: usize) -> Result<Vec<Tensor>> {
        let recorded = self.program(items)?;
        let mut patches = Vec::with_capacity(4 * items * self.input_quads());
        for ((m, latent), embed) in self.table.iter().zip(latents).zip(&self.embeds) {
            push_patches(&mut patches, m, &latent.flatten_all()?.to_vec1()?, embed.weight.inner);
        }
        let width = self.sizes.width;
        let mut times = time_tokens(times, items, width);
        for own in times.chunks_exact_mut(self.time_positions.len()) {
            own.iter_mut().zip(&self.time_positions).for_each(|(v, position)| *v += position);
        }
        let mut inputs = vec![(&recorded.patches, 0, patches.as_slice())];
        for (item, own) in times.chunks_exact(self.time_positions.len()).enumerate() {
            inputs.push((&recorded.tokens, item * self.table.tokens() * width, own));
        }
        let all = recorded.program.run(&self.gpu, &inputs)?;
        let (mut rest, mut noise) = (all.as_slice(), Vec::with_capacity(self.table.len()));
        for (m, head) in self.table.iter().zip(&self.heads) {
            let (own, left) = rest.split_at(items * m.tokens() * head.weight.rows);
            rest = left;
            let features = m.patch * m.patch * m.latent[0];
            let values: Vec<f32> =
                own.chunks_exact(head.weight.rows).flat_map(|row| &row[..features]).copied().collect();
            noise.push(unpatchify(m, &Tensor::from_vec(values, (items, m.tokens(), features), &Device::Cpu)?)?);
        }
        Ok(noise)
    }
}

impl NoisePredictor for ShaderDenoiser {
    fn table(&self) -> &ModalityTable {
        &self.table
    }

    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn one_by_one(&self) -> bool {
        false
    }

    fn noise(&self, latents: &[Tensor], times: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        let items = check_inputs(&self.table, latents, times)?;
        if items <= TOGETHER {
            return self.evaluate(latents, times, items);
        }
        let mut parts = Vec::new();
        for start in (0..items).step_by(TOGETHER) {
            let count = TOGETHER.min(items - start);
            let own: Vec<Tensor> = latents.iter().map(|l| l.narrow(0, start, count)).collect::<Result<_, _>>()?;
            let times: Vec<Vec<f32>> = times.iter().map(|t| t[start..start + count].to_vec()).collect();
            parts.push(self.evaluate(&own, &times, count)?);
        }
        let joined = |m: usize| Tensor::cat(&parts.iter().map(|part| &part[m]).collect::<Vec<_>>(), 0);
        Ok((0..self.table.len()).map(joined).collect::<Result<_, _>>()?)
    }
}

/// Appends the patches of a latent `(items, C, h, w)`, row-major, each as (channel, row, column) and padded to `padded`.
fn push_patches(to: &mut Vec<f32>, m: &Modality, latent: &[f32], padded: usize) {
    let ([c, h, w], p) = (m.latent, m.patch);
    for item in latent.chunks_exact(c * h * w) {
        for (top, left) in (0..h / p).flat_map(|y| (0..w / p).map(move |x| (y * p, x * p))) {
            let end = to.len() + padded;
            for (channel, y) in (0..c).flat_map(|channel| (0..p).map(move |y| (channel, y))) {
                let at = (channel * h + top + y) * w + left;
                to.extend_from_slice(&item[at..at + p]);
            }
            to.resize(end, 0.0);
        }
    }
}

/// Sizes of a run.
struct Run {
    rows: usize,
    items: usize,
    tokens: usize,
    /// Quads of a token.
    width: usize,
    heads: usize,
}

/// A linear layer on the adapter; inputs and outputs are padded with zeros to multiples of four.
#[derive(Debug)]
pub(super) struct Linear {
    pub weight: Matrix,
    pub bias: Area,
}

/// Scale and shift of a norm.
#[derive(Debug)]
pub(super) struct Norm {
    scale: Area,
    shift: Area,
}

impl Norm {
    pub(super) fn areas(&self) -> [&Area; 2] {
        [&self.scale, &self.shift]
    }
}

/// Copies parameters below a scope to the adapter.
pub(super) struct Load<'a, 'b> {
    pub scope: Scope<'a>,
    pub gpu: &'b Gpu,
}

impl<'b> Load<'_, 'b> {
    pub(super) fn at(&mut self, name: impl std::fmt::Display) -> Load<'_, 'b> {
        Load { scope: self.scope.at(name), gpu: self.gpu }
    }

    /// `weight (outputs, inputs)`, and `bias (outputs)` or zeros.
    pub(super) fn linear(&mut self, inputs: usize, outputs: usize, bias: bool) -> Result<Linear> {
        self.matrix(&[outputs, inputs], bias, Ok)
    }

    fn embed(&mut self, m: &Modality, width: usize) -> Result<Linear> {
        self.matrix(&[width, m.latent[0], m.patch, m.patch], true, |weight| Ok(weight.flatten_from(1)?))
    }

    /// A weight of this shape, made into a matrix `(outputs, inputs)`.
    pub(super) fn matrix(
        &mut self,
        shape: &[usize],
        bias: bool,
        matrix: impl FnOnce(Tensor) -> Result<Tensor>,
    ) -> Result<Linear> {
        let half = self.gpu.precision() == Precision::F16;
        let weight = matrix(self.scope.get("weight", shape, Init::Normal(0.02))?)?;
        let outputs = weight.dim(0)?;
        let bias = if bias { self.scope.get("bias", &[outputs], Init::Zeros)?.to_vec1()? } else { vec![0.0; outputs] };
        self.upload(&weight, bias, half)
    }

    /// A matrix `(outputs, inputs)` and a bias, held in half precision if wanted.
    pub(super) fn upload(&self, weight: &Tensor, mut bias: Vec<f32>, half: bool) -> Result<Linear> {
        let (outputs, inputs) = weight.dims2()?;
        let (rows, inner) = (outputs.next_multiple_of(4), inputs.next_multiple_of(4));
        let weight = weight.pad_with_zeros(1, 0, inner - inputs)?.pad_with_zeros(0, 0, rows - outputs)?;
        bias.resize(rows, 0.0);
        let weight: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        Ok(Linear {
            weight: self.gpu.upload_matrix("a weight", &weight, inner, half)?,
            bias: self.gpu.upload("a bias", &bias)?,
        })
    }

    /// `weight` and `bias`, both of this many features.
    pub(super) fn norm(&mut self, features: usize) -> Result<Norm> {
        let scale: Vec<f32> = self.scope.get("weight", &[features], Init::Ones)?.to_vec1()?;
        let shift: Vec<f32> = self.scope.get("bias", &[features], Init::Zeros)?.to_vec1()?;
        Ok(Norm { scale: self.gpu.upload("a norm", &scale)?, shift: self.gpu.upload("a norm", &shift)? })
    }
}

/// Attention and MLP with post-normalisation, optionally with a long skip in front (D.3).
struct Block {
    skip: Option<(Norm, Linear)>,
    qkv: Linear,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
    norm2: Norm,
    norm3: Norm,
}

impl Block {
    fn new(load: &mut Load, sizes: &DenoiserSizes, skip: bool) -> Result<Self> {
        let (d, hidden) = (sizes.width, sizes.width * sizes.mlp_ratio);
        let skip =
            if skip { Some((load.at("norm1").norm(d)?, load.at("skip_linear").linear(2 * d, d, true)?)) } else { None };
        Ok(Self {
            skip,
            qkv: load.at("attn.qkv").linear(d, 3 * d, false)?,
            proj: load.at("attn.proj").linear(d, d, true)?,
            fc1: load.at("mlp.fc1").linear(d, hidden, true)?,
            fc2: load.at("mlp.fc2").linear(hidden, d, true)?,
            norm2: load.at("norm2").norm(d)?,
            norm3: load.at("norm3").norm(d)?,
        })
    }

    /// Records the block; `x` and `skip` stay as they are.
    fn record(&self, recorder: &mut Recorder, run: &Run, x: &Area, skip: Option<&Area>) -> Result<Area> {
        let Run { rows, width, .. } = *run;
        let quads = rows * width;
        let sum = recorder.take(quads)?;
        let joined = match (&self.skip, skip) {
            (Some((norm, linear)), Some(skip)) => {
                let product = Product::new(rows, x, &linear.weight, &linear.bias, &sum);
                recorder.product(&Product { second: Some(skip), ..product })?;
                let joined = recorder.take(quads)?;
                recorder.layer_norm(rows, width, &sum, norm.areas(), &joined)?;
                Some(joined)
            }
            _ => None,
        };
        let x = joined.as_ref().unwrap_or(x);
        let all = Rows { base: 0, step: rows };

        let qkv = recorder.take(3 * quads)?;
        recorder.product(&Product::new(rows, x, &self.qkv.weight, &self.qkv.bias, &qkv))?;
        let mixed = recorder.take(quads)?;
        recorder.attention(&qkv, &mixed, [run.items, run.tokens, width, run.heads])?;
        recorder.release(qkv);
        let product = Product::new(rows, &mixed, &self.proj.weight, &self.proj.bias, &sum);
        recorder.product(&Product { residual: Some((x, all)), ..product })?;
        recorder.release(mixed);
        let attended = recorder.take(quads)?;
        recorder.layer_norm(rows, width, &sum, self.norm2.areas(), &attended)?;
        if let Some(joined) = joined {
            recorder.release(joined);
        }

        let hidden = recorder.take(rows * self.fc1.weight.rows / 4)?;
        let product = Product::new(rows, &attended, &self.fc1.weight, &self.fc1.bias, &hidden);
        recorder.product(&Product { gelu: true, ..product })?;
        let product = Product::new(rows, &hidden, &self.fc2.weight, &self.fc2.bias, &sum);
        recorder.product(&Product { residual: Some((&attended, all)), ..product })?;
        recorder.release(hidden);
        // Nobody reads it any more, so the result may lie there.
        recorder.layer_norm(rows, width, &sum, self.norm3.areas(), &attended)?;
        recorder.release(sum);
        Ok(attended)
    }
}
