//! Weight files and model folders: import of the published layout, strict loading, hostile files.

use crate::common::published::{self, Entry, index, write_layout, write_pth};
use crate::common::{COMPLETE, copgen, failure, files, generate, project, scene, success};
#[cfg(unix)]
use crate::common::{access_rights, prepared};
use copgen::grid::{Crs, Footprint};
use copgen::modality::{Catalogue, ModalityTable};
use copgen::model::{Manifest, read_weights, weight_file};
use copgen::scene::{GeoTiff, Meaning, Pixels, Scene, SceneOptions, Window};
use copgen::view::{Legend, figures, looks, picture, stretch};
use gdal::Metadata;
use std::path::Path;
use std::sync::Arc;

fn import(denoiser: &Path, autoencoders: &Path, out: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = copgen();
    command.args(["models", "import", "--heads", "2", "--denoiser"]).arg(denoiser);
    command.arg("--autoencoders").arg(autoencoders).arg("--out").arg(out).args(more);
    command
}

#[test]
fn the_published_layout_becomes_a_model_folder_that_runs_on_a_real_scene() {
    let dir = tempfile::tempdir().expect("folder");
    let (denoiser, autoencoders) = write_layout(dir.path());
    for (name, more) in [("full", vec![]), ("half", vec!["--half"])] {
        let model = dir.path().join(name);
        success(&mut import(&denoiser, &autoencoders, &model, &more));
        let printed = success(copgen().args(["models", "inspect"]).arg(&model));
        for part in ["COP-GEN", "CC BY 4.0", "mespinosami", "1920 m, 834 tokens", "S2L2A_60m", "cloud_mask"] {
            assert!(printed.contains(part), "{part} is not in {printed}");
        }
        // The full window of 1920 m on the exact published table.
        let out = dir.path().join(format!("out {name}"));
        let arguments = ["--given", "DEM,LULC,S1RTC", "--samples", "1", "--steps", "2", "--model"];
        success(generate(&scene(COMPLETE), &out, &arguments).arg(&model));
        let path = out.join("433D_629L_3_1_e120_s120_seed0_r000_S2L2A_10m.tif");
        assert_eq!(gdal::Dataset::open(&path).expect("raster").raster_size(), (192, 192));
        // A second import into the same folder would mix two models.
        assert!(failure(&mut import(&denoiser, &autoencoders, &model, &[]), 1).contains("already a model"));
    }
    let size = |name: &str| std::fs::metadata(dir.path().join(name).join("denoiser.safetensors")).expect("file").len();
    assert!(size("half") * 2 < size("full") + 100_000);
}

/// Names of temporary files and folders in a folder.
#[cfg(unix)]
fn unfinished(dir: &Path) -> Vec<std::path::PathBuf> {
    files(dir).iter().filter(|name| name.starts_with(".unfinished-")).map(|name| dir.join(name)).collect()
}

#[cfg(unix)]
#[test]
fn an_import_that_is_killed_leaves_no_half_model_and_can_be_repeated() {
    let dir = tempfile::tempdir().expect("folder");
    let (denoiser, autoencoders) = write_layout(&dir.path().join("published"));
    let place = dir.path().join("models");
    std::fs::create_dir(&place).expect("folder");
    let model = place.join("mine");
    let mut killed = 0;
    // Killed as soon as so many files are written: at the very beginning, and further and further on.
    for written in [0, 1, 3, 6, 9, 11] {
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_copgen"));
        process.args(["models", "import", "--heads", "2", "--denoiser"]).arg(&denoiser);
        process.arg("--autoencoders").arg(&autoencoders).arg("--out").arg(&model);
        process.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = process.spawn().expect("the program starts");
        let finished = |folder: &Path| files(folder).iter().filter(|name| name.ends_with("safetensors")).count();
        let mut ended = None;
        while ended.is_none() && !unfinished(&place).iter().any(|folder| finished(folder) >= written) {
            std::thread::sleep(std::time::Duration::from_millis(1));
            ended = child.try_wait().expect("state");
        }
        child.kill().expect("kill");
        let status = child.wait().expect("its end");
        if status.success() {
            // It was faster than this test.
            std::fs::remove_dir_all(&model).expect("remove");
        } else {
            killed += 1;
            assert!(!model.exists(), "half a model after {written} files: {:?}", files(&model));
            assert!(unfinished(&place).len() <= 1, "what earlier ones left is gone: {:?}", files(&place));
        }
    }
    assert!(killed >= 3, "only {killed} were killed before they had ended");
    success(&mut import(&denoiser, &autoencoders, &model, &[]));
    success(copgen().args(["models", "inspect"]).arg(&model));
    assert_eq!(files(&place), ["mine"], "nothing else is left");
}

#[cfg(unix)]
#[test]
fn a_model_folder_has_the_access_rights_that_the_umask_leaves() {
    let dir = tempfile::tempdir().expect("folder");
    let (denoiser, autoencoders) = write_layout(&dir.path().join("published"));
    let model = dir.path().join("mine");
    success(&mut prepared("umask 002", &import(&denoiser, &autoencoders, &model, &[])));
    assert_eq!(access_rights(&model), [[0o775].into(), [0o664].into()]);
}

#[cfg(unix)]
#[test]
fn an_import_onto_a_full_disk_leaves_nothing_and_can_be_repeated() {
    let dir = tempfile::tempdir().expect("folder");
    let (denoiser, autoencoders) = write_layout(&dir.path().join("published"));
    let place = dir.path().join("models");
    // An empty folder that the user has made stays as it was.
    let model = place.join("mine");
    std::fs::create_dir_all(&model).expect("folder");
    let program = import(&denoiser, &autoencoders, &model, &[]);
    // No file may grow beyond 64 kB (or 128, as the shell counts); the signal of it is ignored, so writing fails.
    let told = failure(&mut prepared("trap '' XFSZ; ulimit -f 128", &program), 1);
    assert!(told.contains("Cannot write it") && told.contains("safetensors"), "{told}");
    assert_eq!((files(&place), files(&model)), (vec!["mine".to_owned()], Vec::new()));
    success(&mut import(&denoiser, &autoencoders, &model, &[]));
    success(copgen().args(["models", "inspect"]).arg(&model));
    assert_eq!(files(&place), ["mine"]);
}

#[test]
fn weights_must_fit_exactly() {
    let dir = tempfile::tempdir().expect("folder");
    let (denoiser, autoencoders) = write_layout(dir.path());
    let path = autoencoders.join("DEM_64x64_DEM_latent_8/model-50-ema.pth");
    let whole: Vec<Entry> = read_weights(&path)
        .expect("weights")
        .into_iter()
        .map(|(name, t)| {
            (name, t.shape, t.bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        })
        .collect();
    let at = whole.iter().position(|(name, ..)| name == "decoder.conv_in.bias").expect("tensor");
    let mut missing = whole.clone();
    missing.remove(at);
    let mut misshapen = whole.clone();
    misshapen[at].1 = vec![4, 8];
    let mut surplus = whole.clone();
    surplus.push(("loss.logvar".into(), vec![1], vec![0.0]));
    for (entries, message) in [
        (missing, "Missing tensor decoder.conv_in.bias"),
        (misshapen, "Misshapen tensor decoder.conv_in.bias"),
        (surplus, "Surplus tensor loss.logvar"),
    ] {
        write_pth(&path, &index(&entries), &entries);
        let model = dir.path().join("model");
        let found = failure(&mut import(&denoiser, &autoencoders, &model, &[]), 1);
        assert!(found.contains(message) && found.contains("DEM_64x64"), "{found}");
        assert!(!model.join("manifest.json").exists());
    }
}

#[test]
fn hostile_and_broken_weight_files_are_refused_and_never_executed() {
    let dir = tempfile::tempdir().expect("folder");
    let marker = dir.path().join("executed");
    let shell = format!("touch {}", marker.display());
    let mut system = b"\x80\x02cos\nsystem\nX".to_vec();
    system.extend((shell.len() as u32).to_le_bytes());
    system.extend(shell.bytes());
    system.extend(b"\x85R.");
    let deep: Vec<u8> = b"\x80\x02".iter().copied().chain(std::iter::repeat_n(b'(', 100_000)).collect();
    // Nine levels of ten times the level before would be a thousand million objects.
    let mut bomb = b"\x80\x02)q\x00".to_vec();
    for level in 1..=9u8 {
        bomb.push(b'(');
        (0..10).for_each(|_| bomb.extend([b'h', level - 1]));
        bomb.extend([b't', b'q', level]);
    }
    bomb.push(b'.');
    let liar = index(&[("x".into(), vec![1_000_000, 1000], vec![0.0; 4])]);
    for (name, pickle) in [
        ("system", system),
        ("deep", deep),
        ("bomb", bomb),
        ("empty", Vec::new()),
        ("liar", liar),
        ("cut", index(&[("x".into(), vec![4], vec![0.0; 4])])[..40].to_vec()),
    ] {
        let path = dir.path().join(format!("{name}.pth"));
        write_pth(&path, &pickle, &[("x".into(), vec![4], vec![0.0; 4])]);
        let message = failure(&mut import(&path, dir.path(), &dir.path().join("model"), &[]), 1);
        assert!(message.contains("not a readable PyTorch weight file"), "{name}: {message}");
        assert!(message.contains(&format!("{name}.pth")), "{name}: {message}");
    }
    assert!(!marker.exists());
    for (name, bytes) in [("text.pth", b"weights".to_vec()), ("zero.pth", Vec::new())] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        failure(&mut import(&path, dir.path(), &dir.path().join("model"), &[]), 1);
    }
    let message = failure(&mut import(&dir.path().join("none.pth"), dir.path(), &dir.path().join("model"), &[]), 1);
    assert!(message.contains("does not exist"), "{message}");
    assert!(files(&dir.path().join("model")).is_empty());
}

#[test]
fn truncated_weights_are_found_at_every_length() {
    let dir = tempfile::tempdir().expect("folder");
    let whole = std::fs::read(project("tests/fixtures/parity-beta/denoiser.pth")).expect("fixture");
    let path = dir.path().join("cut.pth");
    for part in 0..40 {
        std::fs::write(&path, &whole[..whole.len() * part / 40]).expect("write");
        assert!(read_weights(&path).is_err(), "{part} of 40 parts were taken for the whole");
    }
    let expected = std::fs::read(project("tests/fixtures/parity-beta/expected.safetensors")).expect("fixture");
    let path = dir.path().join("cut.safetensors");
    for part in 0..40 {
        std::fs::write(&path, &expected[..expected.len() * part / 40]).expect("write");
        assert!(read_weights(&path).is_err(), "{part} of 40 parts were taken for the whole");
    }
}

#[test]
fn a_model_folder_that_was_changed_is_refused() {
    let dir = tempfile::tempdir().expect("folder");
    for entry in std::fs::read_dir(project("models/demo")).expect("bundled model") {
        let path = entry.expect("entry").path();
        std::fs::copy(&path, dir.path().join(path.file_name().expect("name"))).expect("copy");
    }
    let run = || {
        let out = dir.path().join("out");
        let mut command = generate(&scene(COMPLETE), &out, &["--given", "DEM", "--samples", "1", "--steps", "1"]);
        command.arg("--model").arg(dir.path());
        command
    };
    let manifest = Manifest::open(dir.path()).expect("manifest");
    let all = manifest.files();
    assert!(all.len() > 2, "{all:?}");
    for name in all.into_keys() {
        let weights = dir.path().join(name);
        let whole = std::fs::read(&weights).expect("weights");
        let mut changed = whole.clone();
        *changed.last_mut().expect("a byte") ^= 1;
        std::fs::write(&weights, &changed).expect("write");
        assert!(failure(&mut run(), 1).contains("damaged or was changed"), "{}", name.display());
        std::fs::remove_file(&weights).expect("remove");
        assert!(failure(&mut run(), 1).contains(&*name.to_string_lossy()), "{}", name.display());
        std::fs::write(&weights, &whole).expect("write");
    }
    std::fs::write(dir.path().join("manifest.json"), "{\"name\": 1}").expect("write");
    assert!(failure(&mut run(), 1).contains("not a model manifest"));
    std::fs::remove_file(dir.path().join("manifest.json")).expect("remove");
    assert!(failure(&mut run(), 1).contains("not a model folder"));
    assert!(files(&dir.path().join("out")).is_empty());
}

#[test]
fn verify_judges_by_the_tolerance() {
    let run = |tolerance: &str| {
        let mut command = copgen();
        command.arg("verify").arg(project("tests/fixtures/parity-beta")).args(["--tolerance", tolerance]);
        command
    };
    let printed = success(&mut run("1e-4"));
    let last = printed.lines().last().expect("a line");
    assert!(last.starts_with("max relative error ") && last.ends_with(" over 7 tensors on CPU"), "{last}");
    // What exceeds which tolerance is said.
    let told = failure(&mut run("1e-12"), 1);
    assert!(told.contains("tensors differ by more than the tolerance of 1e-12; the furthest is "), "{told}");
    // A recorded number that is not finite must never count as agreement.
    let dir = tempfile::tempdir().expect("folder");
    for name in ["config.json", "denoiser.pth", "expected.safetensors"] {
        std::fs::copy(project("tests/fixtures/parity-beta").join(name), dir.path().join(name)).expect("copy");
    }
    let path = dir.path().join("expected.safetensors");
    let mut tensors = read_weights(&path).expect("tensors");
    let name = tensors.keys().find(|name| name.starts_with("forward.out")).cloned().expect("an output");
    if let Some(tensor) = tensors.get_mut(&name) {
        tensor.bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    }
    copgen::model::write_weights(&path, &tensors, false).expect("write");
    let told = failure(copgen().arg("verify").arg(dir.path()), 1);
    assert!(told.contains("1 of 7 tensors") && told.contains(&format!("{name} with inf")), "{told}");
    assert!(failure(copgen().args(["verify", "nowhere"]), 1).contains("config.json"));
    // Sizes that cannot be are refused for what is wrong with them.
    let config = std::fs::read_to_string(dir.path().join("config.json")).expect("configuration");
    let config: serde_json::Value = serde_json::from_str(&config).expect("configuration");
    for (heads, word) in [(0, "at least one attention head"), (5, "cannot be shared evenly by 5 attention heads")] {
        let mut changed = config.clone();
        changed["denoiser"]["heads"] = heads.into();
        std::fs::write(dir.path().join("config.json"), changed.to_string()).expect("write");
        let told = failure(copgen().arg("verify").arg(dir.path()), 1);
        assert!(told.contains(word) && told.contains("config.json"), "{told}");
    }
    let mut changed = config.clone();
    changed["modalities"][0]["latent"] = serde_json::json!([4, 1u64 << 62, 1u64 << 62]);
    std::fs::write(dir.path().join("config.json"), changed.to_string()).expect("write");
    assert!(failure(copgen().arg("verify").arg(dir.path()), 2).contains("larger than anything"));
}

/// A surface temperature that no published model has; and an embedding of 64 channels, which the model's own table brings.
const FAMILIES: &str = r#"
[[family]]
name = "LST"
title = "Surface temperature"
quantity = "surface temperature"
unit = "K"
valid = [180, 360]
no_data = [-9999]
shown = [270, 320]
groups = [{ name = "LST", channels = ["LST"], ground_m = 10 }]
"#;

fn embedding() -> serde_json::Value {
    let channels: Vec<String> = (0..64).map(|i| format!("A{i:02}")).collect();
    serde_json::json!({
        "name": "AEF", "quantity": "embedding of a year",
        "groups": [{ "name": "AEF", "channels": channels, "ground_m": 10.0 }],
        "looks": [{ "name": "three of 64", "style": "composite", "bands": ["A01", "A16", "A09"] }],
    })
}

/// Rasters of 192 × 192 pixels: temperature rises southwards, each channel of the embedding has a level of its own.
fn write_scene(dir: &Path) {
    let footprint = Footprint {
        crs: Some(Crs("EPSG:32632".into())),
        left: 600_000.0,
        top: 5_100_000.0,
        width_m: 1920.0,
        height_m: 1920.0,
    };
    let size = (192, 192);
    let write = |name: &str, bands: Vec<(String, Vec<f32>)>| {
        let bands = bands.iter().map(|(name, values)| (name.clone(), values.as_slice())).collect();
        let (footprint, pixels, metadata, meaning) = (&footprint, Pixels::Float, Vec::new(), Meaning::default());
        let file = GeoTiff { footprint, pixel_m: 10.0, size, bands, pixels, meaning, metadata, cloud_optimised: false };
        file.write(&dir.join(format!("{name}.tif")), false).expect("raster");
    };
    std::fs::create_dir_all(dir).expect("folder");
    write("LST", vec![("LST".into(), (0..192 * 192).map(|i| 280.0 + (i / 192) as f32 / 10.0).collect())]);
    write("AEF", (0..64).map(|c| (format!("A{c:02}"), vec![(c as f32 - 32.0) / 32.0; 192 * 192])).collect());
}

/// A small network of made-up weights that takes both.
fn write_model(dir: &Path, catalogue: Arc<Catalogue>) -> ModalityTable {
    let row = |name: &str, latent: usize, normalisation: serde_json::Value| {
        serde_json::json!({
            "key": name, "name": name, "pixels": 96, "latent": [latent, 12, 12], "patch": 2, "scale_factor": 1.0,
            "normalisation": normalisation,
        })
    };
    let table = serde_json::json!({
        "families": [embedding()],
        "rows": [
            row("LST", 4, serde_json::json!({"kind": "linear", "min": 250.0, "max": 330.0})),
            row("AEF", 8, serde_json::json!({"kind": "linear", "min": -1.0, "max": 1.0})),
        ],
    });
    let modalities = ModalityTable::from_json(&table.to_string(), catalogue).expect("table");
    std::fs::create_dir_all(dir).expect("folder");
    published::write_denoiser(&dir.join("denoiser.pth"), &modalities);
    let mut autoencoders = serde_json::Map::new();
    for m in modalities.iter() {
        let file = format!("{}.pth", m.name);
        published::write_autoencoder(&dir.join(&file), m.network_channels(), m.latent[0]);
        let sizes = serde_json::json!({"base_width": 32, "multipliers": [1, 1, 1, 1], "residual_blocks": 1});
        let weights = weight_file(dir, file).expect("weights");
        autoencoders.insert(m.key.clone(), serde_json::json!({"sizes": sizes, "weights": weights}));
    }
    let manifest = serde_json::json!({
        "name": "warmth", "description": "made up", "licence": "none", "attribution": "nobody", "modalities": table,
        "denoiser": {"width": 32, "depth": 2, "heads": 2},
        "denoiser_weights": weight_file(dir, "denoiser.pth").expect("weights"), "autoencoders": autoencoders,
    });
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).expect("manifest");
    modalities
}

#[test]
fn a_modality_that_no_model_had_needs_data_alone() {
    let dir = tempfile::tempdir().expect("folder");
    let (config, model, place) = (dir.path().join("config"), dir.path().join("model"), dir.path().join("warm_place"));
    std::fs::create_dir_all(&config).expect("folder");
    std::fs::write(config.join("families.toml"), FAMILIES).expect("families");
    write_scene(&place);
    let catalogue = Catalogue::with_own(&config).expect("catalogue");
    let table = write_model(&model, catalogue);

    // Read and looked at, through the library.
    let options = SceneOptions { accept_stand_ins: false, catalogue: table.catalogue().clone() };
    let scene = Scene::open_with(&place, &options).expect("scene");
    assert_eq!(scene.available(&table), [0, 1]);
    let window = scene.window(table.window_m(), Window::Centre).expect("window");
    let seen = scene.read(&table, &window, &[0, 1]).expect("pixels");
    assert_eq!(seen.notes, Vec::<String>::new());
    let raster = |i: usize| seen.values[i].as_ref().and_then(|given| given.value.image()).expect("raster");
    assert_eq!((raster(0).channels, raster(1).channels), (1, 64));
    let (m, looks) = (&table[0], looks(&table[0]));
    assert_eq!(looks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["LST"]);
    let stretch = stretch(m, looks[0].1, &[raster(0)]);
    assert_eq!(stretch.0[0], [270.0, 320.0], "as the family says");
    let drawn = picture(m, looks[0].1, raster(0), &stretch);
    assert!(drawn.pixels[0][0] < drawn.pixels[96 * 95][0], "warmer is brighter");
    let legend = Legend::of_look(m, (&looks[0].0, looks[0].1), raster(0), &stretch, "title");
    assert!(legend.lines[1].ends_with("270.000 … 320.000 K"), "{:?}", legend.lines);
    let spot = copgen::view::Spot { x: 0.5, y: 0.0 };
    let figures = figures(m, 0, spot, Some(raster(0)), &[]);
    assert!((figures[0].observed.expect("value") - 284.8).abs() < 1e-3, "{figures:?}");
    let looks = copgen::view::looks(&table[1]);
    assert_eq!((looks.len(), looks[0].0.as_str()), (65, "three of 64"));

    // Generated and exported, from the command line.
    let run = |given: &str, out: &Path| {
        let arguments = ["--given", given, "--samples", "2", "--steps", "2", "--model"];
        success(generate(&place, out, &arguments).arg(&model).env("COPGEN_CONFIG", &config))
    };
    let bands = |path: &Path| -> (Vec<String>, Option<String>) {
        let dataset = gdal::Dataset::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let names = dataset.rasterbands().map(|b| b.and_then(|b| b.description()).expect("description")).collect();
        (names, dataset.metadata_item("unit", ""))
    };
    let out = dir.path().join("out");
    run("AEF", &out);
    let file = |name: &str| out.join(format!("warm_place_e480_s480_seed0_{name}.tif"));
    assert_eq!(bands(&file("r001_LST")), (vec!["LST".into()], Some("K".into())));
    assert_eq!(bands(&file("r000-001_LST_variance")).1.as_deref(), Some("square of K"));
    run("LST", &out);
    let (names, unit) = bands(&file("r000_AEF"));
    assert_eq!((names.len(), names[63].as_str(), unit.as_deref()), (64, "A63", Some("no unit")));

    // Without the description nothing knows what LST is, and the model says so.
    let other = dir.path().join("nothing");
    let mut command = generate(&place, &out, &["--given", "AEF", "--model"]);
    let error = failure(command.arg(&model).env("COPGEN_CONFIG", &other), 1);
    assert!(error.contains("LST") && error.contains("families.toml"), "{error}");
    // A description that cannot be used is told with its file, not left out in silence.
    std::fs::write(config.join("families.toml"), FAMILIES.replace("ground_m = 10", "ground_m = -10"))
        .expect("families");
    let mut command = generate(&place, &out, &["--given", "AEF", "--model"]);
    let error = failure(command.arg(&model).env("COPGEN_CONFIG", &config), 1);
    assert!(error.contains("pixel size") && error.contains("families.toml"), "{error}");
}
