//! The networks' work on a CPU: products with packed weights, and what lies between them in one pass each; on all threads of
//! the pool that calls, with the widest instructions the processor has. Float32 or, in products, bfloat16, 16-bit or 8-bit integers.
//! What is trained goes through [`gradient`].

mod attention;
mod brain_floats;
mod conv;
mod factors;
mod fill;
mod floats;
mod functions;
pub mod gradient;
mod group_norm;
mod instructions;
mod integers;
mod matrix_unit;
mod product;
mod rows;
mod steps;
mod storage;
mod taps;
mod tile_attention;
mod tile_conv;
mod tile_product;
mod tile_rows;
mod tile_targets;
mod tiles;
mod transformer;
#[cfg(target_arch = "x86_64")]
mod wide;

use super::Precision;
use crate::error::Result;
use attention::Attention;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Tensor};
pub use conv::{PackedConv, Sampling};
use factors::{Beside, Finish};
use group_norm::GroupNorm;
pub use instructions::{INSTRUCTIONS_VARIABLE, Instructions};
use matrix_unit::Form;
use product::Packed;
use std::sync::Arc;
use steps::Norm;
use storage::{bad, values};
use transformer::TileBlock;

/// Whether these kernels can take a tensor.
pub fn can_run(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// GFLOP/s of this processor's matrix unit, all threads, in products of this precision with everything in the innermost cache; `None`
/// where there is none, or it does not do them. `sensitive` is what autoencoders take, which stay finer.
pub fn matrix_unit_rate(precision: Precision, sensitive: bool) -> Option<f64> {
    let form = match precision {
        Precision::F32 => Form::Thirds,
        Precision::Bf16 | Precision::I8 if sensitive => Form::Halves,
        Precision::Bf16 => Form::Brain,
        Precision::I8 => Form::Bytes,
        Precision::F16 | Precision::I16 => return None,
    };
    (Instructions::here() == Instructions::Amx).then(|| matrix_unit::rate(form)).flatten()
}

/// Attention of the heads over each other's tokens: `(batch, tokens, 3 · width)` with queries, keys and values beside each
/// other, as a product with the joint weight leaves them → `(batch, tokens, width)`. Never holds more scores than those of
/// 64 queries of one head per thread. In float32, unless bfloat16 is asked for and there is a matrix unit.
pub fn attention(qkv: &Tensor, heads: usize, precision: Precision) -> Result<Tensor> {
    let unit = Instructions::here() == Instructions::Amx && [Precision::Bf16, Precision::I8].contains(&precision);
    let precision = if unit { Precision::Bf16 } else { Precision::F32 };
    Ok(qkv.contiguous()?.apply_op1_no_bwd(&Attention { heads, precision })?)
}

/// Layer norm (eps 1e-5) over the last dimension.
pub fn norm(x: &Tensor, weight: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let op = Norm { weight: weight.to_vec1()?, shift: shift.to_vec1()? };
    Ok(x.contiguous()?.apply_op1_no_bwd(&op)?)
}

/// Group norm (eps 1e-6) on `(row, column, batch, channel)`, each (item, group) over all positions and the group's channels;
/// with `swish` followed by x · sigmoid(x).
pub fn group_norm(x: &Tensor, weight: &Tensor, shift: &Tensor, groups: usize, swish: bool) -> Result<Tensor> {
    let op = GroupNorm { weight: weight.to_vec1()?, shift: shift.to_vec1()?, groups, swish };
    Ok(x.contiguous()?.apply_op1_no_bwd(&op)?)
}

/// A linear layer whose weight was packed when it was loaded.
#[derive(Debug, Clone)]
pub struct PackedLinear {
    packed: Arc<Packed>,
    parts: usize,
}

impl PackedLinear {
    /// `weight (outputs, inputs)`, `bias (outputs)`; the inputs come in `parts` tensors of equal width.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>, parts: usize, precision: Precision) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let bias = bias.map(Tensor::to_vec1).transpose()?;
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let pieces = Beside::pieces(parts, inputs / parts);
        let packed = Packed::new(precision, &pieces, outputs, bias, |k, column| values[column * inputs + k]);
        Ok(Self { packed: Arc::new(packed), parts })
    }

    /// Maps the last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.apply_op1_no_bwd(&Product { layer: self.clone(), finish: Finish::Bias })?)
    }

    /// Maps the last dimension, and adds the result to `onto`.
    pub fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.apply_op2_no_bwd(&onto.contiguous()?, &ProductOnto(self.clone()))?)
    }

    /// Maps the last dimension, then GELU with the exact error function.
    pub fn forward_gelu(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.apply_op1_no_bwd(&Product { layer: self.clone(), finish: Finish::Gelu })?)
    }

    /// Maps the last dimensions of two tensors side by side.
    pub fn forward_pair(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let op = Product { layer: self.clone(), finish: Finish::Bias };
        Ok(x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &op)?)
    }

    fn run(
        &self,
        parts: Vec<&[f32]>,
        layout: &Layout,
        finish: Finish,
        onto: Option<&[f32]>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = self.packed.inner() / self.parts;
        let mut shape = layout.shape().dims().to_vec();
        let fits = shape.last() == Some(&width) && parts.len() == self.parts && width > 0;
        if !fits || parts.iter().any(|p| p.len() != parts[0].len()) {
            return Err(bad(format!(
                "{} tensors of {shape:?} for a layer of {} inputs",
                parts.len(),
                self.packed.inner()
            )));
        }
        let count = parts[0].len() / width;
        if onto.is_some_and(|onto| onto.len() != count * self.packed.columns()) {
            return Err(bad(format!("the product of {shape:?} does not fit what it is added to")));
        }
        shape.pop();
        shape.push(self.packed.columns());
        let out = self.packed.product(&Beside::new(parts, width), count, finish, onto);
        Ok((CpuStorage::F32(out), Shape::from(shape)))
    }
}

/// The layers of a transformer's block, in the order in which it takes them; norms as weight and shift.
pub struct BlockLayers<'a> {
    /// The layer that takes a tensor and its skip side by side, and its norm.
    pub skip: Option<(&'a PackedLinear, [&'a Tensor; 2])>,
    /// Queries, keys and values beside each other.
    pub qkv: &'a PackedLinear,
    /// What the heads mixed.
    pub proj: &'a PackedLinear,
    /// After attention.
    pub norm2: [&'a Tensor; 2],
    /// Before the GELU of the MLP.
    pub fc1: &'a PackedLinear,
    /// After it.
    pub fc2: &'a PackedLinear,
    /// After the MLP.
    pub norm3: [&'a Tensor; 2],
    /// Heads of attention.
    pub heads: usize,
}

/// A transformer's block (specification D.3) in one piece, for the matrix unit.
#[derive(Debug, Clone)]
pub struct PackedBlock(Arc<TileBlock>);

impl PackedBlock {
    /// `None` where the layers are not all in bfloat16 on a matrix unit, or their sizes are no multiples of its own.
    pub fn new(layers: &BlockLayers) -> Result<Option<Self>> {
        let norm = |[weight, shift]: [&Tensor; 2]| -> Result<Norm> {
            Ok(Norm { weight: weight.to_vec1()?, shift: shift.to_vec1()? })
        };
        let packed = |layer: &PackedLinear| layer.packed.clone();
        let skip = match layers.skip {
            Some((linear, of)) => Some((packed(linear), norm(of)?)),
            None => None,
        };
        let block = TileBlock {
            skip,
            qkv: packed(layers.qkv),
            proj: packed(layers.proj),
            norm2: norm(layers.norm2)?,
            fc1: packed(layers.fc1),
            fc2: packed(layers.fc2),
            norm3: norm(layers.norm3)?,
            heads: layers.heads,
        };
        Ok(block.fits().then(|| Self(Arc::new(block))))
    }

    /// `(batch, tokens, width)`, and what was skipped where the block takes that; the same shape.
    pub fn forward(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        let x = x.contiguous()?;
        Ok(match skip {
            Some(skip) => x.apply_op2_no_bwd(&skip.contiguous()?, self)?,
            None => x.apply_op1_no_bwd(self)?,
        })
    }

    fn run(&self, x: &[f32], layout: &Layout, skip: Option<&[f32]>) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, tokens, width) = layout.shape().dims3()?;
        let fits = width == self.0.proj.columns() && skip.is_some() == self.0.skip.is_some() && tokens > 0;
        if !fits || skip.is_some_and(|skip| skip.len() != x.len()) {
            return Err(bad(format!("{:?} for a block of width {}", layout.shape(), self.0.proj.columns())));
        }
        let mut out = vec![0.0; x.len()];
        for item in 0..batch {
            let own = item * tokens * width..(item + 1) * tokens * width;
            self.0.forward(&x[own.clone()], skip.map(|skip| &skip[own.clone()]), &mut out[own])?;
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

impl CustomOp1 for PackedBlock {
    fn name(&self) -> &'static str {
        "packed-block"
    }

    fn cpu_fwd(&self, x: &CpuStorage, of_x: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run(values(x, of_x)?, of_x, None)
    }
}

impl CustomOp2 for PackedBlock {
    fn name(&self) -> &'static str {
        "packed-block-with-skip"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        skip: &CpuStorage,
        of_skip: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.run(values(x, of_x)?, of_x, Some(values(skip, of_skip)?))
    }
}

struct Product {
    layer: PackedLinear,
    finish: Finish,
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "packed-product"
    }

    fn cpu_fwd(&self, x: &CpuStorage, of_x: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.layer.run(vec![values(x, of_x)?], of_x, self.finish, None)
    }
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "packed-product-of-pair"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        y: &CpuStorage,
        of_y: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.layer.run(vec![values(x, of_x)?, values(y, of_y)?], of_x, self.finish, None)
    }
}

struct ProductOnto(PackedLinear);

impl CustomOp2 for ProductOnto {
    fn name(&self) -> &'static str {
        "packed-product-onto"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        onto: &CpuStorage,
        of_onto: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.0.run(vec![values(x, of_x)?], of_x, Finish::Bias, Some(values(onto, of_onto)?))
    }
}

#[cfg(test)]
fn values_of_waves(n: usize, step: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * step).sin()).collect()
}

#[cfg(test)]
fn waves(shape: &[usize], step: f32) -> Tensor {
    let data: Vec<f32> = values_of_waves(shape.iter().product(), step).iter().map(|v| 2.0 * v).collect();
    Tensor::from_vec(data, shape, &candle_core::Device::Cpu).expect("tensor")
}

#[cfg(test)]
fn farthest(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_scalar()).expect("distance")
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Module};

    #[test]
    fn attention_is_that_of_its_definition() {
        // More tokens than a block of queries, and no multiple of anything.
        for (batch, tokens, heads, head) in [(2, 131, 3, 8), (1, 5, 2, 4), (1, 64, 1, 64), (1, 300, 1, 300)] {
            let width = heads * head;
            let qkv = waves(&[batch, tokens, 3 * width], 0.713);
            let parts =
                qkv.reshape((batch, tokens, 3, heads, head)).and_then(|t| t.permute((2, 0, 3, 1, 4))).expect("parts");
            let part = |i: usize| parts.get(i).and_then(|t| t.contiguous()).expect("part");
            let scores =
                part(0).matmul(&part(1).t().expect("keys")).and_then(|s| s * (head as f64).powf(-0.5)).expect("scores");
            let weights = candle_nn::ops::softmax(&scores, D::Minus1).expect("weights");
            let expected = weights
                .matmul(&part(2))
                .and_then(|t| t.transpose(1, 2)?.reshape((batch, tokens, width)))
                .expect("expected");
            let found = attention(&qkv, heads, Precision::F32).expect("attention");
            assert!(farthest(&found, &expected) < 5e-6, "{}", farthest(&found, &expected));
        }
        assert!(attention(&waves(&[1, 2, 9], 1.0), 2, Precision::F32).is_err());
        // With rounded products, as on a matrix unit, it stays near.
        let qkv = waves(&[1, 131, 96], 0.713);
        let rounded = qkv.apply_op1_no_bwd(&Attention { heads: 2, precision: Precision::Bf16 }).expect("attention");
        assert!(farthest(&rounded, &attention(&qkv, 2, Precision::F32).expect("attention")) < 0.05);
    }

    #[test]
    fn norms_are_those_of_the_definition() {
        let x = waves(&[2, 37, 40], 0.31);
        let [weight, shift] = [0.2, 0.3].map(|step| waves(&[40], step));
        let slow = candle_nn::ops::layer_norm_slow(&x, &weight, &shift, 1e-5).expect("norm");
        assert!(farthest(&norm(&x, &weight, &shift).expect("norm"), &slow) < 5e-6);
        assert!(norm(&x, &waves(&[7], 1.0), &waves(&[7], 1.0)).is_err());
    }

    #[test]
    fn packed_layers_are_the_plain_ones() {
        let (x, y) = (waves(&[2, 37, 40], 0.31), waves(&[2, 37, 40], 0.77));
        let (weight, bias) = (waves(&[23, 80], 0.05), waves(&[23], 0.9));
        let plain =
            |x: &Tensor, weight: Tensor| candle_nn::Linear::new(weight, Some(bias.clone())).forward(x).expect("plain");
        let pair = PackedLinear::new(&weight, Some(&bias), 2, Precision::F32).expect("layer");
        let beside = Tensor::cat(&[&x, &y], 2).expect("beside");
        assert!(farthest(&pair.forward_pair(&x, &y).expect("pair"), &plain(&beside, weight.clone())) < 5e-5);
        assert!(pair.forward(&x).is_err() && pair.forward_pair(&x, &beside).is_err());
        let thin = weight.narrow(1, 0, 40).expect("thin");
        let single = PackedLinear::new(&thin, Some(&bias), 1, Precision::F32).expect("layer");
        let expected = plain(&x, thin.contiguous().expect("thin"));
        assert!(farthest(&single.forward(&x).expect("one"), &expected) < 5e-5);
        let sum = single.forward_onto(&x, &expected).expect("onto");
        assert!(farthest(&sum, &(&expected * 2.0).expect("twice")) < 1e-4 && single.forward_onto(&x, &y).is_err());
        let active = expected.gelu_erf().expect("gelu");
        assert!(farthest(&single.forward_gelu(&x).expect("one"), &active) < 5e-5);
        assert!(single.forward(&y.narrow(2, 0, 7).expect("narrow")).is_err());
    }
}
