//! Weight files and model folders: import of the published layout, strict loading, hostile files.

use crate::common::published::{Entry, index, write_layout, write_pth};
use crate::common::{COMPLETE, copgen, failure, files, generate, project, scene, success};
use copgen::model::read_weights;
use std::path::Path;

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
    let weights = dir.path().join("field.safetensors");
    let mut bytes = std::fs::read(&weights).expect("weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, &bytes).expect("write");
    assert!(failure(&mut run(), 1).contains("damaged or was changed"));
    std::fs::remove_file(&weights).expect("remove");
    assert!(failure(&mut run(), 1).contains("field.safetensors"));
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
    assert_eq!(run("1e-12").output().expect("run").status.code(), Some(1));
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
    assert_eq!(copgen().arg("verify").arg(dir.path()).output().expect("run").status.code(), Some(1));
    assert!(failure(copgen().args(["verify", "nowhere"]), 1).contains("config.json"));
}
