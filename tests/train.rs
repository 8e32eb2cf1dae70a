//! Training: a tiny model from the bundled scenes, end to end through the program.

mod common;

use common::{COMPLETE, copgen, failure, files, generate, project, scene, success};

/// The bundled recipe, smaller and shorter.
fn recipe(dir: &std::path::Path) -> std::path::PathBuf {
    let text = std::fs::read_to_string(project("models/recipes/demo.toml")).expect("recipe");
    let mut table: toml::Table = text.parse().expect("TOML");
    let mut set = |path: [&str; 3], value: toml::Value| {
        let part = table[path[0]].as_table_mut().expect("table");
        part[path[1]].as_table_mut().expect("table").insert(path[2].into(), value);
    };
    set(["autoencoder", "sizes", "base_width"], 8.into());
    set(["autoencoder", "optimiser", "steps"], 6.into());
    set(["autoencoder", "optimiser", "batch"], 1.into());
    set(["denoiser", "sizes", "width"], 32.into());
    set(["denoiser", "sizes", "depth"], 2.into());
    set(["denoiser", "sizes", "heads"], 2.into());
    // Predicting the noise is easy at once; what the bundled model predicts takes longer to learn.
    set(["denoiser", "sizes", "predicts"], "noise".into());
    set(["denoiser", "optimiser", "learning_rate"], 4e-3.into());
    set(["denoiser", "optimiser", "steps"], 60.into());
    set(["denoiser", "optimiser", "batch"], 4.into());
    set(["denoiser", "optimiser", "warm_up"], 5.into());
    let part = table["denoiser"].as_table_mut().expect("table");
    part.insert("cached_windows".into(), 8.into());
    // Every modality of every item counts, so that losses can be compared from step to step.
    part.insert("given".into(), 0.0.into());
    part.insert("withheld".into(), 0.0.into());
    let part = table["autoencoder"].as_table_mut().expect("table");
    part.insert("pca_windows".into(), 8.into());
    let data = table["data"].as_table_mut().expect("table");
    data.insert("held_out".into(), toml::Value::Array(vec!["newzealand".into()]));
    std::fs::copy(project("models/recipes/demo_modalities.json"), dir.join("demo_modalities.json")).expect("table");
    let path = dir.join("tiny.toml");
    std::fs::write(&path, toml::to_string(&table).expect("TOML")).expect("write");
    path
}

fn losses(printed: &str, what: &str) -> Vec<f64> {
    let lines = printed.lines().filter(|line| line.starts_with(what));
    lines.filter_map(|line| line.split("loss ").nth(1)?.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn a_model_trained_on_the_bundled_scenes_learns_and_runs() {
    let dir = tempfile::tempdir().expect("folder");
    let (recipe, model) = (recipe(dir.path()), dir.path().join("model"));
    let train = |what: &str| {
        let mut command = copgen();
        command.args(["train", what]).arg(&recipe).arg("--scenes").arg(project("assets/scenes"));
        command.arg("--out").arg(&model).args(["--log-every", "2"]);
        command
    };
    let missing = failure(&mut train("denoiser"), 1);
    assert!(missing.contains("autoencoder_"), "{missing}");

    let printed = success(&mut train("autoencoder"));
    // Patch PCA already explains most; a few steps must not make it worse by much.
    let dem = losses(&printed, "DEM");
    assert!(dem.len() == 3 && dem.iter().all(|loss| loss.is_finite() && *loss < 0.2), "{dem:?}");
    assert!(printed.contains("held-out error"));

    let printed = success(&mut train("denoiser"));
    let curve = losses(&printed, "denoiser");
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&curve[curve.len() - 4..]) < 0.8 * mean(&curve[..4]), "the loss does not fall: {curve:?}");

    success(copgen().args(["models", "inspect"]).arg(&model));
    let out = dir.path().join("out");
    let arguments = ["--given", "DEM,LULC", "--generate", "S2L2A_10m", "--samples", "1", "--steps", "2", "--model"];
    success(generate(&scene(COMPLETE), &out, &arguments).arg(&model));
    assert_eq!(files(&out).len(), 1);
    // The same recipe and seed give the same weights.
    let first = std::fs::read(model.join("denoiser.safetensors")).expect("weights");
    success(&mut train("denoiser"));
    assert!(first == std::fs::read(model.join("denoiser.safetensors")).expect("weights"));
}

#[test]
fn bad_recipes_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("folder");
    let path = recipe(dir.path());
    let text = std::fs::read_to_string(&path).expect("recipe");
    for (change, word) in [
        (("batch = 4", "batch = 0"), "batch"),
        (("heads = 2", "heads = 5"), "heads"),
        (("withheld = 0.0", "withheld = 7.0"), "0…1"),
        (("turns = true", "turns = true\nspin = true"), "spin"),
        (("kl_weight", "KL_weight"), "kl_weight"),
    ] {
        std::fs::write(&path, text.replace(change.0, change.1)).expect("write");
        let mut command = copgen();
        command.args(["train", "denoiser"]).arg(&path).arg("--scenes").arg(project("assets/scenes"));
        let message = failure(command.arg("--out").arg(dir.path()), 1);
        assert!(message.contains(word) && message.contains("tiny.toml"), "{change:?}: {message}");
    }
}
