//! Cascades: a tiny one is trained from the bundled scenes, made a model, and asked, end to end through the program.

use crate::common::{COMPLETE, copgen, failure, files, generate, project, scene, success};
use crate::shaders::{gpu, job, request};
use copgen::ensemble::Realisation;
use copgen::job::Request;
use copgen::modality::{ModalityTable, Value};
use copgen::model::{
    Computing, DeviceChoice, Engine, Manifest, Model, Precision, TensorData, read_weights, write_manifest,
    write_weights,
};
use copgen::sampler::Roles;
use std::path::{Path, PathBuf};

/// The bundled recipe, tiny.
const TINY: [(&str, &str); 17] = [
    ("width = 96", "width = 32"),
    ("width = 96", "width = 8"),
    ("width = 32\ncell_blocks = 4", "width = 16\ncell_blocks = 1"),
    ("blocks = 2\nmiddle_blocks = 2", "blocks = 1\nmiddle_blocks = 1"),
    ("heads = 4\n\n[cascade.first_guess]", "heads = 2\n\n[cascade.first_guess]"),
    ("judge_width = 48", "judge_width = 8"),
    ("cached_windows = 5000", "cached_windows = 12"),
    ("split = \"split.csv\"", "held_out = [\"newzealand\"]"),
    ("other_level = 0.5", "other_level = 1.0"),
    ("warm_up = 30", "warm_up = 1"),
    ("warm_up = 60", "warm_up = 2"),
    ("warm_up = 50", "warm_up = 1"),
    ("batch = 16", "batch = 4"),
    ("batch = 8", "batch = 2"),
    ("STEPS_OF_COARSE", "8"),
    ("STEPS_OF_FIRST_GUESS", "4"),
    ("STEPS_OF_REFINER", "3"),
];

struct Workshop {
    dir: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let text = std::fs::read_to_string(project("models/recipes/cascade.toml")).expect("recipe");
        let steps = |line: &str| line.starts_with("steps = ");
        let mut names = ["STEPS_OF_FIRST_GUESS", "STEPS_OF_REFINER", "STEPS_OF_COARSE"].iter();
        let with_names =
            |line: &str| if steps(line) { format!("steps = {}", names.next().expect("three")) } else { line.into() };
        let mut text: String = text.lines().map(with_names).collect::<Vec<_>>().join("\n");
        for (from, to) in TINY {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(dir.path().join("tiny.toml"), text).expect("write");
        std::fs::copy(project("models/recipes/cascade_modalities.json"), dir.path().join("cascade_modalities.json"))
            .expect("table");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn train(&self, what: &str, out: &str) -> assert_cmd::Command {
        let mut command = copgen();
        command.args(["train", what]).arg(self.path("tiny.toml")).arg("--out").arg(self.path(out));
        command.arg("--scenes").arg(project("assets/scenes"));
        command
    }
}

fn losses(dir: &Path, what: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(dir.join(format!("{what}_metrics.csv"))).expect("metrics");
    text.lines().skip(1).map(|line| line.split(',').nth(1).and_then(|v| v.parse().ok()).expect("loss")).collect()
}

#[test]
fn a_cascade_is_trained_made_a_model_and_asked() {
    let workshop = Workshop::new();
    let model = workshop.path("model");
    let missing = failure(&mut workshop.train("refiner", "model"), 1);
    assert!(missing.contains("standards.json"), "{missing}");

    success(&mut workshop.train("coarse", "model"));
    success(&mut workshop.train("first-guess", "model"));
    success(&mut workshop.train("refiner", "model"));
    for (what, steps) in [("coarse", 8), ("first_guess", 4), ("refiner", 3)] {
        let curve = losses(&model, what);
        assert!(curve.len() == steps && curve.iter().all(|loss| loss.is_finite()), "{what}: {curve:?}");
    }
    // Stopped after its last checkpoint, a training has nothing left to do and leaves the same weights.
    let weights = |name: &str| std::fs::read(workshop.path("model").join(name)).expect("weights");
    let before = weights("coarse.safetensors");
    success(workshop.train("coarse", "model").arg("--resume"));
    assert!(before == weights("coarse.safetensors"));
    // Without a manifest it is no model yet.
    let message = failure(copgen().args(["models", "inspect"]).arg(&model), 1);
    assert!(message.contains("manifest.json"), "{message}");
    success(&mut workshop.train("finish", "model"));
    assert!(model.join("sheet.png").exists());
    let printed = success(copgen().args(["models", "inspect"]).arg(&model));
    assert!(printed.contains("coarse network: width 32") && printed.contains("refiner: width 16"), "{printed}");

    // Asked twice it answers alike, whatever the batch, and keeps what is kept.
    let ask = |out: &str, batch: &str, more: &[&str]| {
        let out = workshop.path(out);
        let arguments = ["--given", "DEM,S1RTC", "--set", "cloud_mask=Clear", "--generate", "S2L2A,LULC"];
        let mut command = generate(&scene(COMPLETE), &out, &arguments);
        command.args(["--samples", "2", "--steps", "3", "--batch", batch, "--model"]).arg(&model).args(more);
        success(&mut command);
        let made = files(&out);
        let images: Vec<Vec<u8>> =
            made.iter().filter(|f| f.ends_with(".tif")).map(|f| std::fs::read(out.join(f)).expect("file")).collect();
        assert_eq!(images.len(), 16, "{made:?}");
        images
    };
    assert!(ask("one", "1", &[]) == ask("two", "2", &[]));
    if gpu(Precision::F32).is_some() {
        let card = ["--device", "gpu"];
        assert!(ask("three", "1", &card) == ask("four", "2", &card));
    }
    let drawing = workshop.path("drawing");
    with_made_up_refiner(&model, &drawing);
    pixels_are_drawn_alike_on_an_adapter(&drawing);
    a_precision_that_no_adapter_has_is_told(&drawing);

    // Trained further without the optimiser's state.
    success(workshop.train("coarse", "further").arg("--from").arg(&model));
    assert_ne!(std::fs::read(workshop.path("further").join("coarse.safetensors")).expect("weights"), before);
    // From the model alone, without what the training left beside it.
    let alone = workshop.path("alone");
    std::fs::create_dir(&alone).expect("folder");
    for name in ["manifest", "coarse", "first_guess", "statistics", "drawing"] {
        let name = if name == "manifest" { "manifest.json".to_owned() } else { format!("{name}.safetensors") };
        std::fs::copy(model.join(&name), alone.join(&name)).expect("copy");
    }
    for what in ["coarse", "first-guess", "refiner"] {
        success(workshop.train(what, "further").arg("--from").arg(&alone));
    }
    success(&mut workshop.train("finish", "further"));
    // The recipe of another kind does not fit.
    let message = failure(workshop.train("denoiser", "other").arg("--from").arg(&model), 1);
    assert!(message.contains("cascade"), "{message}");
}

/// A copy of a cascade whose refiner has weights that matter everywhere; after a few steps of training they hardly do.
fn with_made_up_refiner(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("folder");
    let mut manifest = Manifest::open(from).expect("manifest");
    for file in manifest.files().into_keys() {
        std::fs::copy(from.join(file), to.join(file)).expect("copy");
    }
    let entry = &mut manifest.cascade.as_mut().expect("cascade").refiner_weights;
    let path = to.join(&entry.file);
    let mut weights = read_weights(&path).expect("weights");
    for (k, (name, data)) in weights.iter_mut().enumerate() {
        let middle = f32::from(u8::from(name.contains("norm") && name.ends_with("weight")));
        let value = |i: usize| middle + 0.1 * ((i * 7919 + k * 104_729) as f32 * 0.618).sin();
        let values: Vec<f32> = (0..data.shape.iter().product()).map(value).collect();
        *data = TensorData::new(data.shape.clone(), &values);
    }
    entry.sha256 = write_weights(&path, &weights, false).expect("weights");
    write_manifest(to, &manifest).expect("manifest");
}

/// Largest difference of two realisations' measurements in terms of the largest value, and the largest share of pixels whose
/// class differs.
fn apart(table: &ModalityTable, a: &Realisation, b: &Realisation) -> (f32, f32) {
    let (mut measured, mut classes) = (0f32, 0f32);
    let image = |value: &Option<Value>| value.as_ref().and_then(Value::image).map(|raster| raster.data.clone());
    for (m, (a, b)) in table.iter().zip(a.values.iter().zip(&b.values)) {
        let (Some(a), Some(b)) = (image(a), image(b)) else { continue };
        let differences = || a.iter().zip(&b).map(|(a, b)| (a - b).abs());
        if m.classes().is_some() {
            classes = classes.max(differences().filter(|d| *d > 0.0).count() as f32 / a.len() as f32);
        } else {
            let largest = b.iter().fold(0f32, |largest, v| largest.max(v.abs()));
            measured = measured.max(differences().fold(0f32, f32::max) / largest);
        }
    }
    (measured, classes)
}

/// Whatever draws, a realisation is the same but for rounding; the same adapter repeats it bit for bit, and one that is lost
/// is replaced by the CPU.
fn pixels_are_drawn_alike_on_an_adapter(dir: &Path) {
    let Some(gpu) = gpu(Precision::F32) else { return };
    let open = |engine: &Engine| Model::open(dir, engine).expect("model");
    let (cpu, card) = (open(&Engine::cpu()), open(&Engine::Shaders(gpu.clone())));
    let table = &cpu.manifest.modalities;
    let index = |name: &str| table.index(name).expect("modality");
    // With reflectance given nothing is made of exemplars.
    let (given, drawn) = (["S2L2A_60m", "DEM"].map(index), ["S2L2A_10m", "S2L2A_20m", "LULC"].map(index));
    let roles = Roles::new(table, &given, Some(&drawn)).expect("roles");
    let asked = Request { roles, ..request(dir, 3) };
    let (expected, notes) = job(&cpu, &asked, &mut |_| {});
    assert!(notes.is_empty() && drawn.iter().all(|&i| expected[0].values[i].is_some()), "{notes:?}");
    let (made, notes) = job(&card, &asked, &mut |_| {});
    assert!(notes.is_empty(), "{notes:?}");
    let alike = |a: &Realisation, b: &Realisation| {
        let (measured, classes) = apart(table, a, b);
        println!("{measured:.1e} of the largest value, {classes:.1e} of all classes");
        assert!(measured < 1e-4 && classes < 1e-3, "{measured} {classes}");
    };
    for (a, b) in made.iter().zip(&expected) {
        alike(a, b);
        assert!(!b.computed.contains("drawn"), "{}", b.computed);
        assert!(a.computed.contains("CPU with") && a.computed.ends_with(&format!("drawn in f32 on {}", gpu.name())));
    }
    assert_ne!(made[0].values, made[1].values);
    // Again, in other batches.
    let (again, _) = job(&card, &Request { batch: 3, ..asked.clone() }, &mut |_| {});
    assert_eq!(again, made);

    let (rest, notes) = job(&card, &asked, &mut |index| {
        if index == 0 {
            gpu.destroy();
        }
    });
    assert_eq!(rest.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(notes.len() == 1 && notes[0].contains("lost") && notes[0].contains("on the CPU"), "{notes:?}");
    assert_eq!(rest[0], made[0]);
    // What the CPU drew is what it draws by itself.
    assert_eq!(rest[1..], expected[1..]);
    assert!(card.engine().is_lost());
}

/// What a cascade is computed on where this is asked for, and what is said about it.
fn a_precision_that_no_adapter_has_is_told(dir: &Path) {
    let Some(gpu) = gpu(Precision::F32) else { return };
    let open = |device: DeviceChoice, precision: Precision| {
        let mut notes = Vec::new();
        let model = Model::open_on(dir, &Computing { device, precision }, &mut |note| notes.push(note)).expect("model");
        // Only what can be held is offered in the window.
        assert_eq!(model.manifest.holds_as(precision), [Precision::F32, Precision::F16].contains(&precision));
        assert_eq!(model.sampling_engine().name(), "CPU");
        (model.engine().name(), model.engine().precision(), notes)
    };
    let float32 = || vec!["This model's kind computes in float32.".to_owned()];
    let (cpu, card) = ("CPU".to_owned(), gpu.name().to_owned());
    for (device, precision, wanted) in [
        (DeviceChoice::Gpu, Precision::F32, (card.clone(), Precision::F32, vec![])),
        (DeviceChoice::Gpu, Precision::F16, (card.clone(), Precision::F16, vec![])),
        (DeviceChoice::Gpu, Precision::I16, (card, Precision::F32, float32())),
        (DeviceChoice::Cpu, Precision::F32, (cpu.clone(), Precision::F32, vec![])),
        (DeviceChoice::Cpu, Precision::F16, (cpu.clone(), Precision::F32, float32())),
    ] {
        assert_eq!(open(device, precision), wanted, "{device} {precision:?}");
    }
    let (name, precision, notes) = open(DeviceChoice::Cuda, Precision::F32);
    assert!(name == cpu && precision == Precision::F32 && notes.len() == 1 && notes[0].contains("cuda"), "{notes:?}");
}
