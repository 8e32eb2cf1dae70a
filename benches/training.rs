//! How long the layers of a training take beside candle's own: a 3×3 convolution, forward and backward.
//!
//!     cargo bench --bench training

#![allow(missing_docs)] // criterion_group! makes an undocumented function

use candle_core::{DType, Device, Tensor, Var};
use copgen::model::{Conv3, Init, Parameters, Sampling, Scope};
use criterion::{Criterion, criterion_group, criterion_main};

/// Trainable parameters of the right shape.
#[derive(Default)]
struct Vars(Vec<Var>);

impl Parameters for Vars {
    fn get(&mut self, _name: &str, shape: &[usize], _init: Init) -> copgen::Result<Tensor> {
        let var = Var::randn(0f32, 0.05, shape, &Device::Cpu)?;
        self.0.push(var.clone());
        Ok(var.as_tensor().clone())
    }

    fn trainable(&self) -> bool {
        true
    }
}

fn convolution(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("3×3 convolution, forward and backward");
    group.sample_size(10);
    // Four images at the two finest levels of a small autoencoder.
    for (channels, side) in [(16, 96), (32, 48)] {
        let mut vars = Vars::default();
        let ours = Conv3::new(&mut Scope::root(&mut vars), channels, channels, Sampling::Same).expect("layer");
        let name = format!("{channels} channels of {side} × {side}");
        let image = Tensor::randn(0f32, 1.0, (side, side, 4, channels), &Device::Cpu).expect("image");
        group.bench_function(format!("{name}, this program"), |b| {
            b.iter(|| ours.forward(&image).and_then(|y| Ok(y.sqr()?.sum_all()?.backward()?)).expect("gradients"));
        });
        let weight = Var::zeros((channels, channels, 3, 3), DType::F32, &Device::Cpu).expect("weight");
        let image = Tensor::randn(0f32, 1.0, (4, channels, side, side), &Device::Cpu).expect("image");
        group.bench_function(format!("{name}, candle"), |b| {
            b.iter(|| {
                let y = image.conv2d(&weight, 1, 1, 1, 1).expect("convolution");
                y.sqr().and_then(|y| y.sum_all()).and_then(|y| y.backward()).expect("gradients")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, convolution);
criterion_main!(benches);
