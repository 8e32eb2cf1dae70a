//! The networks on whatever graphics adapter there is; Mesa's software one will do.

use crate::common::published::write_layout;
use crate::common::{self, COMPLETE, copgen, files, project, scene, success};
use candle_core::{Device, Tensor};
use copgen::Error;
use copgen::ensemble::Realisation;
use copgen::job::{Event, Place, Request, run};
use copgen::modality::{ModalityTable, PostOptions};
use copgen::model::{Adapters, Computing, DenoiserSizes, DeviceChoice, Engine, Gpu, MadeUp, Model, Precision};
use copgen::sampler::{Roles, SamplerOptions};
use copgen::scene::Window;
use copgen::verify::verify;
use gdal::Metadata;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The best adapter, or `None`, and why, where there is none.
pub(crate) fn gpu(precision: Precision) -> Option<Arc<Gpu>> {
    Adapters::find().open(true, precision).map_err(|e| println!("skipped: {e}")).ok().map(Arc::new)
}

fn largest_error(folder: &str, gpu: &Arc<Gpu>) -> f64 {
    let dir = project("tests/fixtures").join(folder);
    let engine = Engine::Shaders(gpu.clone());
    let done = verify(&dir, &engine, &mut |c| println!("{:<50} {:.2e}", c.name, c.relative_error)).expect("verify");
    done.iter().fold(0.0, |m, c| m.max(c.relative_error))
}

#[test]
fn shaders_agree_with_the_recorded_numbers() {
    // The larger system takes minutes on a software adapter: `copgen verify tests/fixtures/parity --device gpu`.
    for (folder, precision, bound) in
        [("parity-beta", Precision::F32, 1e-4), ("parity-beta", Precision::F16, HALF_BOUND)]
    {
        let Some(gpu) = gpu(precision) else { return };
        let error = largest_error(folder, &gpu);
        println!("{folder} {precision:?}: {error:.2e}");
        assert!(error < bound, "{folder} {precision:?}: {error}");
    }
}

/// Largest deviation with weights in half precision; the larger system's is 2.5e-3.
const HALF_BOUND: f64 = 1e-2;

/// Sizes that fill no tile: 834 tokens, a width of 20.
fn small() -> DenoiserSizes {
    DenoiserSizes { width: 20, depth: 2, heads: 1, mlp_ratio: 3 }
}

#[test]
fn an_item_is_the_same_bit_for_bit_in_any_batch() {
    let Some(gpu) = gpu(Precision::F32) else { return };
    let table = ModalityTable::published();
    let engine = Engine::Shaders(gpu);
    let denoiser = engine.denoiser(&table, &small(), &mut MadeUp::new(&Device::Cpu)).expect("denoiser");
    assert!(!denoiser.one_by_one());
    // More than are evaluated together.
    let items = 9;
    let value = |i: usize| (i as f32 * 0.7391).sin() * 2.0;
    let latents: Vec<Tensor> = table
        .iter()
        .map(|m| {
            let [c, h, w] = m.latent;
            let data: Vec<f32> = (0..items * c * h * w).map(value).collect();
            Tensor::from_vec(data, (items, c, h, w), &Device::Cpu).expect("latent")
        })
        .collect();
    let times: Vec<Vec<f32>> =
        (0..table.len()).map(|m| (0..items).map(|i| (i * 90 + m) as f32 + 0.5).collect()).collect();
    let bits = |t: &Tensor| -> Vec<u32> {
        t.flatten_all().expect("flat").to_vec1::<f32>().expect("values").iter().map(|v| v.to_bits()).collect()
    };
    let together = denoiser.noise(&latents, &times).expect("noise");
    for (item, with) in [(0, 1), (3, 2), (8, 1)] {
        let start = item + 1 - with;
        let own: Vec<Tensor> = latents.iter().map(|l| l.narrow(0, start, with).expect("item")).collect();
        let own_times: Vec<Vec<f32>> = times.iter().map(|t| t[start..start + with].to_vec()).collect();
        let alone = denoiser.noise(&own, &own_times).expect("noise");
        for (a, b) in alone.iter().zip(&together) {
            let (a, b) = (a.narrow(0, with - 1, 1).expect("item"), b.narrow(0, item, 1).expect("item"));
            assert_eq!(bits(&a), bits(&b), "item {item} in a batch of {with}");
        }
    }
}

#[test]
fn a_network_larger_than_the_limits_is_refused_in_a_sentence() {
    let Ok(gpu) = Adapters::find().open_limited(Precision::F32, |limits| {
        limits.max_storage_buffer_binding_size = 1 << 20;
        limits.max_buffer_size = 1 << 20;
    }) else {
        println!("skipped: there is no graphics adapter");
        return;
    };
    let engine = Engine::Shaders(Arc::new(gpu));
    let table = ModalityTable::published();
    let sizes = DenoiserSizes { width: 512, heads: 8, ..small() };
    let refused = engine.denoiser(&table, &sizes, &mut MadeUp::new(&Device::Cpu)).err().expect("refused");
    assert!(matches!(refused, Error::Device(_)));
    let message = refused.to_string();
    assert!(message.contains("allows buffers of 1 MB") && message.contains("compute on cpu"), "{message}");
    // One that fits, but whose space between layers does not.
    let sizes = DenoiserSizes { width: 128, depth: 0, heads: 8, mlp_ratio: 8 };
    let denoiser = engine.denoiser(&table, &sizes, &mut MadeUp::new(&Device::Cpu)).expect("denoiser");
    let latents: Vec<Tensor> = table
        .iter()
        .map(|m| Tensor::zeros((1, m.latent[0], m.latent[1], m.latent[2]), candle_core::DType::F32, &Device::Cpu))
        .collect::<Result<_, _>>()
        .expect("latents");
    let refused = denoiser.noise(&latents, &vec![vec![1.0]; table.len()]).expect_err("refused");
    assert!(refused.to_string().contains("the space between layers needs"), "{refused}");
}

/// A small model of the published kind.
pub(crate) fn model(dir: &Path) -> std::path::PathBuf {
    let (denoiser, autoencoders) = write_layout(dir);
    let model = dir.join("model");
    let mut command = copgen();
    command.args(["models", "import", "--heads", "2", "--denoiser"]).arg(denoiser);
    success(command.arg("--autoencoders").arg(autoencoders).arg("--out").arg(&model));
    model
}

pub(crate) fn request(model: &Path, samples: usize) -> Request {
    let table = ModalityTable::published();
    let index = |name: &str| table.index(name).expect("modality");
    Request {
        model: model.to_path_buf(),
        place: Place::scene(scene(COMPLETE), Window::Centre),
        roles: Roles::new(&table, &[index("S2L2A_60m")], Some(&[index("DEM"), index("location")])).expect("roles"),
        set: Default::default(),
        keep: Default::default(),
        samples,
        first: 0,
        seed: 5,
        batch: 2,
        computing: Computing { device: DeviceChoice::Gpu, precision: Precision::F32 },
        options: SamplerOptions { steps: 2, ..SamplerOptions::default() },
        post: PostOptions::default(),
    }
}

/// Realisations and notes of a job; `seen` is told of each realisation.
pub(crate) fn job(model: &Model, request: &Request, seen: &mut dyn FnMut(u64)) -> (Vec<Arc<Realisation>>, Vec<String>) {
    let (mut made, mut notes) = (Vec::new(), Vec::new());
    run(model, request, &AtomicBool::new(false), false, &mut |event| match event {
        Event::Realisation(realisation) => {
            seen(realisation.index);
            made.push(realisation);
        }
        Event::Note(note) => notes.push(note),
        _ => {}
    })
    .expect("job");
    (made, notes)
}

#[test]
fn a_job_whose_device_is_lost_goes_on_on_the_cpu() {
    let Some(gpu) = gpu(Precision::F32) else { return };
    let dir = tempfile::tempdir().expect("folder");
    let dir = model(dir.path());
    let model = Model::open(&dir, &Engine::Shaders(gpu.clone())).expect("model");
    assert_eq!(model.engine().name(), gpu.name());
    let request = request(&dir, 4);
    let (whole, notes) = job(&model, &request, &mut |_| {});
    assert!(notes.is_empty() && whole.len() == 4, "{notes:?}");

    // In the middle of a batch: its first realisation is kept, its second computed again.
    let (made, notes) = job(&model, &request, &mut |index| {
        if index == 2 {
            gpu.destroy();
        }
    });
    assert_eq!(made.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(made[..3], whole[..3]);
    assert!(notes.len() == 1 && notes[0].contains("lost") && notes[0].contains("on the CPU"), "{notes:?}");
    assert!(model.engine().is_lost());
    // What the CPU made differs by rounding only.
    for (a, b) in made[3].values.iter().flatten().zip(whole[3].values.iter().flatten()) {
        let (Some(a), Some(b)) = (a.image(), b.image()) else { continue };
        let largest = b.data.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-2 * largest));
    }
    // A job that begins on a lost device is made on the CPU altogether.
    let (made, notes) = job(&model, &request, &mut |_| {});
    assert_eq!((made.len(), notes.len()), (4, 1), "{notes:?}");
    // Nothing panics, and the error says what to do.
    let message = Model::open(&dir, &Engine::Shaders(gpu)).err().expect("an error").to_string();
    assert!(message.contains("lost"), "{message}");
}

#[test]
fn devices_are_named_on_the_command_line() {
    let printed = success(copgen().arg("devices"));
    assert!(printed.starts_with("cpu"), "{printed}");
    if gpu(Precision::F32).is_none() {
        return;
    }
    assert!(printed.contains("gpu    "), "{printed}");
    let fixtures = project("tests/fixtures/parity-beta");
    let printed = success(copgen().args(["verify", "--device", "gpu"]).arg(&fixtures));
    assert!(printed.contains("max relative error"), "{printed}");
    // The bundled model's pixels are drawn there, and its files say so.
    let out = tempfile::tempdir().expect("folder");
    let arguments = ["--samples", "1", "--steps", "1", "--device", "gpu"];
    let output = common::generate(&scene(COMPLETE), out.path(), &arguments).output().expect("output");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !told.contains("computes on the CPU"), "{told}");
    let name = files(out.path()).into_iter().find(|name| name.ends_with(".tif")).expect("a file");
    let file = gdal::Dataset::open(out.path().join(&name)).expect("raster");
    let computed = file.metadata_item("computed", "").expect("lineage");
    assert!(computed.contains("CPU with") && computed.contains("drawn in f32 on "), "{computed}");
}
