//! How long the networks take: one evaluation of the published base size (made-up weights), and a whole realisation
//! with the bundled model.
//!
//!     cargo bench --bench model

#![allow(missing_docs)] // criterion_group! makes an undocumented function

use candle_core::{Device, Tensor};
use copgen::job::{Place, Request, run};
use copgen::modality::{ModalityTable, PostOptions};
use copgen::model::{Denoiser, DenoiserSizes, Engine, MadeUp, Model, NoisePredictor};
use copgen::sampler::{Roles, SamplerOptions};
use copgen::scene::Window;
use criterion::{Criterion, criterion_group, criterion_main};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn base_evaluation(criterion: &mut Criterion) {
    let table = ModalityTable::published();
    let sizes = DenoiserSizes { width: 1024, depth: 20, heads: 16, mlp_ratio: 4 };
    let denoiser = Denoiser::new(&table, &sizes, &mut MadeUp::new(&Device::Cpu), &Device::Cpu).expect("denoiser");
    let latents: Vec<Tensor> = table
        .iter()
        .map(|m| {
            let [c, h, w] = m.latent;
            let data: Vec<f32> = (0..c * h * w).map(|i| (i as f32 * 0.37).sin()).collect();
            Tensor::from_vec(data, (1, c, h, w), &Device::Cpu).expect("latent")
        })
        .collect();
    let times = vec![vec![500.0]; table.len()];
    let mut group = criterion.benchmark_group("published base size");
    group.sample_size(10);
    group.bench_function("one evaluation", |b| b.iter(|| denoiser.noise(&latents, &times).expect("noise")));
    group.finish();
}

fn bundled_realisation(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = Model::open(&root.join("models/demo"), &Engine::cpu()).expect("model");
    let table = &model.manifest.modalities;
    let request = |samples: usize| Request {
        model: model.dir.clone(),
        place: Place::scene(root.join("assets/scenes/433D_629L_3_1"), Window::Centre),
        roles: Roles::new(table, &table.select_list("DEM,LULC,S1RTC").expect("names"), None).expect("roles"),
        set: Default::default(),
        keep: Default::default(),
        samples,
        first: 0,
        seed: 7,
        batch: 4,
        computing: Default::default(),
        options: SamplerOptions { steps: 20, ..SamplerOptions::default() },
        post: PostOptions::default(),
    };
    let mut group = criterion.benchmark_group("bundled model, 20 steps");
    group.sample_size(10);
    for samples in [1, 4] {
        let request = request(samples);
        let name = format!("{samples} realisations, scene to values");
        group.bench_function(name, |b| {
            b.iter(|| run(&model, &request, &AtomicBool::new(false), false, &mut |_| {}).expect("realisations"));
        });
    }
    group.finish();
}

fn setup(criterion: &mut Criterion) {
    copgen::process::keep_freed_memory();
    copgen::process::keep_to_own_threads(false);
    bundled_realisation(criterion);
    base_evaluation(criterion);
}

criterion_group!(benches, setup);
criterion_main!(benches);
