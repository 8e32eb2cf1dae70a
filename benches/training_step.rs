//! Windows per second of two networks under training, forward, backward and AdamW on a batch of 16: a convolutional U-Net of 150
//! channels of 48 × 48, and a transformer of 256 tokens. `benches/pytorch_training.py` runs it in turn with the same in PyTorch.
//!
//!     cargo bench --bench training_step -- --network unet --precision f32 --steps 3

use candle_core::{Device, Tensor};
use clap::Parser;
use copgen::Result;
use copgen::model::kernels::{Instructions, gradient};
use copgen::model::{Conv3, GroupNorm, Init, LayerNorm, Parameters, Precision, Projection, Sampling, Scope};
use copgen::train::{Optimiser, OptimiserRecipe, Trainable, accumulate};
use std::collections::BTreeMap;
use std::time::Instant;

const BATCH: usize = 16;
const GROUPS: usize = 32;

/// Parameters that are numbered in the order in which they are asked for.
struct Numbered {
    of: Trainable,
    count: usize,
    weights: usize,
}

impl Parameters for Numbered {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.count += 1;
        self.weights += shape.iter().product::<usize>();
        self.of.get(&format!("{}.{name}", self.count), shape, init)
    }

    fn trainable(&self) -> bool {
        true
    }

    fn precision(&self) -> Precision {
        self.of.precision()
    }
}

fn linear(scope: &mut Scope, inputs: usize, outputs: usize) -> Result<Projection> {
    Projection::new(scope, [inputs, outputs], true, Init::Normal(0.02), 1)
}

trait Network: Sync {
    /// What goes in, for so many windows, and their embedding of 256 values.
    fn input(&self, windows: usize) -> candle_core::Result<(Tensor, Tensor)> {
        let shape = self.shape(windows);
        Ok((Tensor::randn(0f32, 1.0, shape, &Device::Cpu)?, Tensor::randn(0f32, 1.0, (windows, 256), &Device::Cpu)?))
    }
    fn shape(&self, windows: usize) -> Vec<usize>;
    fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor>;
}

struct Residual {
    norm1: GroupNorm,
    conv1: Conv3,
    embed: Projection,
    norm2: (Tensor, Tensor),
    conv2: Conv3,
    skip: Option<Projection>,
}

impl Residual {
    fn new(scope: &mut Scope, inputs: usize, outputs: usize, embedding: usize) -> Result<Self> {
        Ok(Self {
            norm1: GroupNorm::new(scope, inputs, GROUPS)?,
            conv1: Conv3::new(scope, inputs, outputs, Sampling::Same)?,
            embed: linear(scope, embedding, 2 * outputs)?,
            norm2: (scope.get("weight", &[outputs], Init::Ones)?, scope.get("bias", &[outputs], Init::Zeros)?),
            conv2: Conv3::new(scope, outputs, outputs, Sampling::Same)?,
            skip: if inputs == outputs { None } else { Some(linear(scope, inputs, outputs)?) },
        })
    }

    fn forward(&self, x: &Tensor, embedding: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.forward_swish(x)?)?;
        let both = self.embed.forward(embedding)?;
        let (scale, shift) = (both.chunk(2, 1)?[0].affine(1.0, 1.0)?, both.chunk(2, 1)?[1].clone());
        // Weight and shift of the norm, scaled and shifted by the embedding.
        let weight = scale.broadcast_mul(&self.norm2.0)?;
        let shift = (scale.broadcast_mul(&self.norm2.1)? + shift)?;
        let h = self.conv2.forward(&gradient::group_norm(&h, &weight, &shift, GROUPS, true)?)?;
        Ok(match &self.skip {
            Some(skip) => (skip.forward(x)? + h)?,
            None => (x + h)?,
        })
    }
}

struct Attention {
    norm: GroupNorm,
    qkv: Projection,
    proj: Projection,
    width: usize,
    precision: Precision,
}

impl Attention {
    fn new(scope: &mut Scope, width: usize) -> Result<Self> {
        Ok(Self {
            norm: GroupNorm::new(scope, width, GROUPS)?,
            qkv: linear(scope, width, 3 * width)?,
            proj: linear(scope, width, width)?,
            width,
            precision: scope.precision(),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (high, wide, batch, width) = x.dims4()?;
        let tokens = self.norm.forward(x)?.reshape((high * wide, batch, width))?.transpose(0, 1)?;
        let mixed = gradient::attention(&self.qkv.forward(&tokens)?, self.width / 64, self.precision)?;
        let out = self.proj.forward(&mixed)?.transpose(0, 1)?.contiguous()?;
        Ok((x + out.reshape((high, wide, batch, width))?)?)
    }
}

enum Stage {
    Level(Box<Residual>, Option<Attention>),
    Sample(Conv3),
}

struct UNet {
    enter: Conv3,
    time: [Projection; 2],
    down: Vec<Stage>,
    middle: (Residual, Attention, Residual),
    up: Vec<Stage>,
    norm: GroupNorm,
    leave: Conv3,
}

impl UNet {
    fn new(scope: &mut Scope) -> Result<Self> {
        let (channels, widths, blocks, embedding) = (150, [96, 192, 256], 2, 512);
        let level = |scope: &mut Scope, inputs: usize, i: usize| -> Result<Stage> {
            let block = Residual::new(scope, inputs, widths[i], embedding)?;
            Ok(Stage::Level(Box::new(block), if i > 0 { Some(Attention::new(scope, widths[i])?) } else { None }))
        };
        let (mut down, mut up, mut kept, mut width) = (Vec::new(), Vec::new(), vec![widths[0]], widths[0]);
        for (i, &w) in widths.iter().enumerate() {
            for _ in 0..blocks {
                down.push(level(scope, width, i)?);
                width = w;
                kept.push(w);
            }
            if i + 1 < widths.len() {
                down.push(Stage::Sample(Conv3::new(scope, w, w, Sampling::Half)?));
                kept.push(w);
            }
        }
        let middle = (
            Residual::new(scope, width, width, embedding)?,
            Attention::new(scope, width)?,
            Residual::new(scope, width, width, embedding)?,
        );
        for (i, &w) in widths.iter().enumerate().rev() {
            for _ in 0..=blocks {
                up.push(level(scope, width + kept.pop().unwrap_or(0), i)?);
                width = w;
            }
            if i > 0 {
                up.push(Stage::Sample(Conv3::new(scope, w, w, Sampling::Double)?));
            }
        }
        Ok(Self {
            enter: Conv3::new(scope, channels, widths[0], Sampling::Same)?,
            time: [linear(scope, 256, embedding)?, linear(scope, embedding, embedding)?],
            down,
            middle,
            up,
            norm: GroupNorm::new(scope, width, GROUPS)?,
            leave: Conv3::new(scope, width, channels, Sampling::Same)?,
        })
    }
}

impl Network for UNet {
    fn shape(&self, windows: usize) -> Vec<usize> {
        vec![48, 48, windows, 150]
    }

    fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor> {
        let mut embedding = time.clone();
        for layer in &self.time {
            embedding = gradient::silu(&layer.forward(&embedding)?)?;
        }
        let run = |stage: &Stage, x: &Tensor| -> Result<Tensor> {
            match stage {
                Stage::Sample(conv) => conv.forward(x),
                Stage::Level(block, None) => block.forward(x, &embedding),
                Stage::Level(block, Some(attention)) => attention.forward(&block.forward(x, &embedding)?),
            }
        };
        let mut x = self.enter.forward(x)?;
        let mut kept = vec![x.clone()];
        for stage in &self.down {
            x = run(stage, &x)?;
            kept.push(x.clone());
        }
        let (first, attention, second) = &self.middle;
        x = second.forward(&attention.forward(&first.forward(&x, &embedding)?)?, &embedding)?;
        for stage in &self.up {
            if let (Stage::Level(..), Some(skip)) = (stage, kept.last()) {
                x = Tensor::cat(&[&x, skip], 3)?;
                kept.pop();
            }
            x = run(stage, &x)?;
        }
        self.leave.forward(&self.norm.forward_swish(&x)?)
    }
}

struct Block {
    norms: [(Tensor, Tensor); 2],
    qkv: Projection,
    proj: Projection,
    mlp: [Projection; 2],
    embed: Projection,
    precision: Precision,
}

struct Transformer {
    enter: Projection,
    leave: Projection,
    position: Tensor,
    time: [Projection; 2],
    blocks: Vec<Block>,
    norm: LayerNorm,
}

const FEATURES: usize = 1200;
const TOKENS: usize = 256;
const WIDTH: usize = 384;

impl Block {
    fn new(scope: &mut Scope) -> Result<Self> {
        let mut norm = || -> Result<(Tensor, Tensor)> {
            Ok((scope.get("weight", &[WIDTH], Init::Ones)?, scope.get("bias", &[WIDTH], Init::Zeros)?))
        };
        Ok(Self {
            norms: [norm()?, norm()?],
            qkv: linear(scope, WIDTH, 3 * WIDTH)?,
            proj: linear(scope, WIDTH, WIDTH)?,
            mlp: [linear(scope, WIDTH, 4 * WIDTH)?, linear(scope, 4 * WIDTH, WIDTH)?],
            embed: linear(scope, WIDTH, 6 * WIDTH)?,
            precision: scope.precision(),
        })
    }

    fn forward(&self, x: &Tensor, embedding: &Tensor) -> Result<Tensor> {
        let own = self.embed.forward(embedding)?.chunk(6, 1)?;
        let normed = |x: &Tensor, i: usize| -> Result<Tensor> {
            let (scale, shift) = (own[3 * i].affine(1.0, 1.0)?, &own[3 * i + 1]);
            let (weight, bias) = &self.norms[i];
            gradient::norm(x, &scale.broadcast_mul(weight)?, &(scale.broadcast_mul(bias)? + shift)?)
        };
        let mixed = gradient::attention(&self.qkv.forward(&normed(x, 0)?)?, 6, self.precision)?;
        let x = (x + gradient::scaled(&self.proj.forward(&mixed)?, &own[2])?)?;
        let h = self.mlp[1].forward(&self.mlp[0].forward_gelu(&normed(&x, 1)?)?)?;
        Ok((&x + gradient::scaled(&h, &own[5])?)?)
    }
}

impl Transformer {
    fn new(scope: &mut Scope) -> Result<Self> {
        Ok(Self {
            enter: linear(scope, FEATURES, WIDTH)?,
            leave: linear(scope, WIDTH, FEATURES)?,
            position: scope.get("position", &[1, TOKENS, WIDTH], Init::Normal(0.02))?,
            time: [linear(scope, 256, WIDTH)?, linear(scope, WIDTH, WIDTH)?],
            blocks: (0..8).map(|_| Block::new(scope)).collect::<Result<_>>()?,
            norm: LayerNorm::new(scope, WIDTH)?,
        })
    }
}

impl Network for Transformer {
    fn shape(&self, windows: usize) -> Vec<usize> {
        vec![windows, TOKENS, FEATURES]
    }

    fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor> {
        let mut embedding = time.clone();
        for layer in &self.time {
            embedding = gradient::silu(&layer.forward(&embedding)?)?;
        }
        let mut x = self.enter.forward(x)?.broadcast_add(&self.position)?;
        for block in &self.blocks {
            x = block.forward(&x, &embedding)?;
        }
        self.leave.forward(&self.norm.forward(&x)?)
    }
}

#[derive(Parser)]
struct Arguments {
    /// Which network.
    #[arg(long, default_value = "unet", value_parser = ["unet", "transformer"])]
    network: String,
    /// Of all products.
    #[arg(long, default_value = "f32", value_enum)]
    precision: Precision,
    /// Steps that are timed, of which the median counts; two more come first.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Windows that are computed together.
    #[arg(long, default_value_t = 4)]
    together: usize,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    copgen::process::keep_freed_memory();
    copgen::process::keep_to_own_threads(true);
    let trainable = Trainable::new(1, BTreeMap::default(), &Device::Cpu).with_precision(arguments.precision);
    let mut source = Numbered { of: trainable, count: 0, weights: 0 };
    let network: Box<dyn Network> = match arguments.network.as_str() {
        "unet" => Box::new(UNet::new(&mut Scope::root(&mut source))?),
        _ => Box::new(Transformer::new(&mut Scope::root(&mut source))?),
    };
    let weights = source.weights;
    let recipe = OptimiserRecipe {
        steps: 1000,
        batch: BATCH,
        accumulation: 1,
        learning_rate: 1e-5,
        warm_up: 1,
        cool_down: 0.0,
        betas: [0.9, 0.999],
        weight_decay: 0.01,
        ema: 0.999,
        clip: 1.0,
        precision: arguments.precision,
    };
    let mut optimiser = Optimiser::new(source.of, &recipe)?;
    let mut seconds = Vec::new();
    for _ in 0..arguments.steps + 2 {
        let input = |_| -> Result<(Tensor, Tensor)> { Ok(network.input(arguments.together)?) };
        let parts = (0..BATCH / arguments.together).map(input).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        let loss = accumulate(&mut optimiser, &parts, parts.len(), |(x, time)| {
            let error = network.forward(x, time)?.sub(x)?.sqr()?.mean_all()?;
            Ok((error / parts.len() as f64)?)
        })?;
        assert!(loss.is_finite() && optimiser.step()?, "the loss is not finite");
        seconds.push(begun.elapsed().as_secs_f64());
    }
    seconds.drain(..2);
    seconds.sort_by(f64::total_cmp);
    let speed = BATCH as f64 / seconds[seconds.len() / 2];
    let memory = copgen::process::peak_memory().unwrap_or(0) >> 20;
    let instructions = Instructions::here().name();
    println!(
        r#"{{"weights": {weights}, "windows_per_second": {speed:.4}, "instructions": "{instructions}", "peak_mib": {memory}}}"#
    );
    Ok(())
}
