//! The kernels of the networks on a CPU beside the operations of candle that they replace, at the published sizes.
//!
//!     cargo bench --bench kernels

#![allow(missing_docs)] // criterion_group! makes an undocumented function

use candle_core::{D, Device, Tensor};
use copgen::model::Precision;
use copgen::model::kernels::{PackedConv, PackedLinear, Sampling, attention, group_norm, norm};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use std::hint::black_box;

fn waves(shape: &[usize]) -> Tensor {
    let data: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).expect("tensor")
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, flop: u64) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    // One element is one operation.
    group.sample_size(10).throughput(Throughput::Elements(flop));
    group
}

fn products(criterion: &mut Criterion) {
    for (inputs, outputs) in [(1024, 4096), (4096, 1024)] {
        let (x, weight) = (waves(&[1, 834, inputs]), waves(&[outputs, inputs]));
        let mut group =
            group(criterion, &format!("product 834 × {inputs} × {outputs}"), (2 * 834 * inputs * outputs) as u64);
        let plain = weight.t().and_then(|w| w.broadcast_left(1)?.contiguous()).expect("weight");
        group.bench_function("candle", |b| b.iter(|| black_box(x.matmul(&plain).expect("product"))));
        for precision in [Precision::F32, Precision::Bf16, Precision::I16] {
            let layer = PackedLinear::new(&weight, None, 1, precision).expect("layer");
            group.bench_function(format!("packed {precision:?}"), |b| b.iter(|| layer.forward(&x).expect("product")));
        }
    }
}

fn attentions(criterion: &mut Criterion) {
    let (tokens, heads, width) = (834, 16, 1024);
    let qkv = waves(&[1, tokens, 3 * width]);
    let mut group = group(criterion, "attention of 834 tokens", (4 * tokens * tokens * width) as u64);
    let plain = || -> candle_core::Result<Tensor> {
        let parts = qkv.reshape((1, tokens, 3, heads, width / heads))?.permute((2, 0, 3, 1, 4))?;
        let part = |i: usize| parts.get(i)?.contiguous();
        let scores = ((part(0)? * 0.125)?).matmul(&part(1)?.t()?)?;
        candle_nn::ops::softmax_last_dim(&scores)?.matmul(&part(2)?)?.transpose(1, 2)?.flatten_from(D::Minus2)
    };
    group.bench_function("candle", |b| b.iter(|| plain().expect("attention")));
    group.bench_function("fused", |b| b.iter(|| attention(&qkv, heads, Precision::F32).expect("attention")));
}

fn convolutions(criterion: &mut Criterion) {
    let (side, channels) = (96, 256);
    let (x, weight, bias) = (waves(&[side, side, 1, channels]), waves(&[channels, channels, 3, 3]), waves(&[channels]));
    let mut group =
        group(criterion, "convolution 96 px, 256 channels", (18 * side * side * channels * channels) as u64);
    let planes = x.permute((2, 3, 0, 1)).and_then(|x| x.contiguous()).expect("planes");
    group.bench_function("candle", |b| b.iter(|| planes.conv2d(&weight, 1, 1, 1, 1).expect("convolution")));
    for precision in [Precision::F32, Precision::Bf16, Precision::I16] {
        let conv = PackedConv::new(&weight, &bias, Sampling::Same, precision).expect("layer");
        group.bench_function(format!("packed {precision:?}"), |b| b.iter(|| conv.forward(&x).expect("convolution")));
    }
}

fn norms(criterion: &mut Criterion) {
    let (x, scale) = (waves(&[1, 834, 1024]), waves(&[1024]));
    let mut layer = group(criterion, "layer norm 834 × 1024", 834 * 1024);
    layer.bench_function("candle", |b| b.iter(|| candle_nn::ops::layer_norm(&x, &scale, &scale, 1e-5).expect("norm")));
    layer.bench_function("own", |b| b.iter(|| norm(&x, &scale, &scale).expect("norm")));
    layer.finish();
    let (x, scale) = (waves(&[192, 192, 1, 128]), waves(&[128]));
    let mut image = group(criterion, "group norm and swish, 192 px, 128 channels", 192 * 192 * 128);
    image.bench_function("own", |b| b.iter(|| group_norm(&x, &scale, &scale, 32, true).expect("norm")));
}

criterion_group!(benches, products, attentions, convolutions, norms);
criterion_main!(benches);
