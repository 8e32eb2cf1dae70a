//! Training: tiny models from the bundled scenes, end to end through the program.

use crate::common::{COMPLETE, copgen, failure, files, generate, project, scene, success};
use std::path::{Path, PathBuf};

/// Two recipes of the published kind in a folder, both tiny; one has more steps than the other.
struct Recipes {
    dir: tempfile::TempDir,
}

fn shrunk(text: &str, changes: &[(&str, toml::Value)]) -> String {
    let mut table: toml::Table = text.parse().expect("TOML");
    for (path, value) in changes {
        let mut at = &mut table;
        let mut parts: Vec<&str> = path.split('.').collect();
        let last = parts.pop().expect("a name");
        for part in parts {
            at = at.entry(part).or_insert(toml::Table::new().into()).as_table_mut().expect("table");
        }
        at.insert(last.into(), value.clone());
    }
    toml::to_string(&table).expect("TOML")
}

impl Recipes {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let held_out = toml::Value::Array(vec!["newzealand".into()]);
        let mut tiny: Vec<(&str, toml::Value)> = vec![
            ("data.held_out", held_out),
            ("denoiser.sizes.width", 32.into()),
            ("denoiser.sizes.depth", 2.into()),
            ("denoiser.sizes.heads", 2.into()),
            ("denoiser.cached_windows", 8.into()),
            ("denoiser.optimiser.batch", 4.into()),
            ("denoiser.optimiser.accumulation", 1.into()),
            ("denoiser.optimiser.warm_up", 5.into()),
            ("denoiser.optimiser.learning_rate", 4e-3.into()),
            ("modalities", "small_modalities.json".into()),
            ("data.accept_grd_as_rtc", true.into()),
            ("autoencoder.sizes.base_width", 8.into()),
            ("autoencoder.sizes.multipliers", toml::Value::Array(vec![1.into(), 2.into(), 2.into(), 2.into()])),
            ("autoencoder.sizes.residual_blocks", 1.into()),
            ("autoencoder.sizes.norm_groups", 4.into()),
            ("autoencoder.sizes.linear_path", true.into()),
            ("autoencoder.pca_windows", 8.into()),
            ("autoencoder.whitening", 0.5.into()),
            ("autoencoder.cross_entropy", 0.1.into()),
            ("autoencoder.optimiser.steps", 6.into()),
            ("autoencoder.optimiser.batch", 1.into()),
            ("autoencoder.optimiser.learning_rate", 1e-3.into()),
            ("denoiser.optimiser.steps", 60.into()),
            ("denoiser.optimiser.betas", toml::Value::Array(vec![0.9.into(), 0.99.into()])),
            ("denoiser.optimiser.ema", 0.9.into()),
        ];
        let text = std::fs::read_to_string(project("models/recipes/base.toml")).expect("recipe");
        std::fs::write(dir.path().join("tiny.toml"), shrunk(&text, &tiny)).expect("write");
        tiny.extend([("denoiser.optimiser.steps", 12.into()), ("denoiser.withheld", 0.1.into())]);
        std::fs::write(dir.path().join("short.toml"), shrunk(&text, &tiny)).expect("write");
        let table = project("tests/fixtures/small_modalities.json");
        std::fs::copy(table, dir.path().join("small_modalities.json")).expect("table");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn train(&self, what: &str, recipe: &str, out: &str) -> assert_cmd::Command {
        let mut command = copgen();
        command.args(["train", what]).arg(self.path(recipe)).arg("--scenes").arg(project("assets/scenes"));
        command.arg("--out").arg(self.path(out)).args(["--log-every", "1"]);
        command
    }

    /// Folders with the same trained autoencoders.
    fn with_autoencoders(&self, folders: &[&str]) {
        let (first, others) = folders.split_first().expect("a folder");
        success(&mut self.train("autoencoder", "tiny.toml", first));
        for other in others {
            std::fs::create_dir(self.path(other)).expect("folder");
            for name in files(&self.path(first)) {
                std::fs::copy(self.path(first).join(&name), self.path(other).join(&name)).expect("copy");
            }
        }
    }
}

/// Step and loss of every row.
fn losses(dir: &Path, what: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(dir.join(format!("{what}_metrics.csv"))).expect("metrics");
    let row = |line: &str| {
        let mut cells = line.split(',').map(str::to_owned);
        (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn autoencoders_and_a_denoiser_of_the_published_kind_learn_and_run() {
    let recipes = Recipes::new();
    let model = recipes.path("model");
    let missing = failure(&mut recipes.train("denoiser", "tiny.toml", "model"), 1);
    assert!(missing.contains("autoencoder_"), "{missing}");

    let printed = success(&mut recipes.train("autoencoder", "tiny.toml", "model"));
    assert!(printed.contains("held-out error"));
    // Patch PCA already explains most; a few steps must not make it worse by much.
    let dem: Vec<f64> =
        losses(&model, "autoencoder_DEM").iter().map(|(_, loss)| loss.parse().expect("number")).collect();
    assert!(dem.len() == 6 && dem.iter().all(|loss| loss.is_finite() && *loss < 0.2), "{dem:?}");

    success(&mut recipes.train("denoiser", "tiny.toml", "model"));
    let curve: Vec<f64> = losses(&model, "denoiser").iter().map(|(_, loss)| loss.parse().expect("number")).collect();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&curve[50..]) < 0.8 * mean(&curve[..10]), "the loss does not fall: {curve:?}");

    success(copgen().args(["models", "inspect"]).arg(&model));
    let out = recipes.path("out");
    let arguments = ["--given", "DEM,LULC", "--generate", "S2L2A_10m", "--samples", "1", "--steps", "2", "--model"];
    success(generate(&scene(COMPLETE), &out, &arguments).arg(&model));
    assert_eq!(files(&out).len(), 1);
    // The same recipe and seed give the same weights, now with latents from the disk.
    let first = std::fs::read(model.join("denoiser.safetensors")).expect("weights");
    success(&mut recipes.train("denoiser", "tiny.toml", "model"));
    assert!(first == std::fs::read(model.join("denoiser.safetensors")).expect("weights"));
}

#[test]
fn a_training_that_was_stopped_goes_on_as_if_it_had_not_been() {
    let recipes = Recipes::new();
    recipes.with_autoencoders(&["whole", "stopped"]);
    success(&mut recipes.train("denoiser", "short.toml", "whole"));
    let whole = losses(&recipes.path("whole"), "denoiser");
    assert_eq!(whole.len(), 12);

    // Killed in the middle, after some checkpoint.
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("copgen"))
        .args(["train", "denoiser"])
        .arg(recipes.path("short.toml"))
        .arg("--scenes")
        .arg(project("assets/scenes"))
        .arg("--out")
        .arg(recipes.path("stopped"))
        .args(["--save-every", "1"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("training");
    let stopped = recipes.path("stopped");
    while !stopped.join("denoiser_checkpoint.safetensors").exists() && child.try_wait().expect("state").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // A second training would mix its files with those of the first.
    let message = failure(&mut recipes.train("denoiser", "short.toml", "stopped"), 1);
    assert!(message.contains("Another training writes to this folder"), "{message}");
    child.kill().expect("kill");
    child.wait().expect("its end");
    assert!(!stopped.join("manifest.json").exists(), "it had already ended");
    success(recipes.train("denoiser", "short.toml", "stopped").arg("--resume"));
    assert_eq!(losses(&stopped, "denoiser"), whole);
    let weights = |name: &str| std::fs::read(recipes.path(name).join("denoiser.safetensors")).expect("weights");
    assert!(weights("whole") == weights("stopped"));
    assert!(stopped.join("denoiser_loss.png").exists() && stopped.join("sheets/000012.png").exists());

    // Killed between the last checkpoint and what is drawn of it: the next start draws it.
    for name in ["sheets/000012.png", "denoiser_loss.png", "manifest.json"] {
        std::fs::remove_file(stopped.join(name)).expect("remove");
    }
    success(recipes.train("denoiser", "short.toml", "stopped").arg("--resume"));
    for name in ["sheets/000012.png", "denoiser_loss.png", "manifest.json"] {
        assert!(stopped.join(name).exists(), "{name}");
    }
    assert_eq!(losses(&stopped, "denoiser"), whole);

    // A checkpoint of another recipe is refused.
    let text = std::fs::read_to_string(recipes.path("short.toml")).expect("recipe");
    std::fs::write(recipes.path("other.toml"), text.replace("learning_rate = 0.004", "learning_rate = 0.003"))
        .expect("write");
    let message = failure(recipes.train("denoiser", "other.toml", "stopped").arg("--resume"), 1);
    assert!(message.contains("another recipe"), "{message}");

    // Fine-tuning leaves what the denoiser works on as it is, and with low rank all but its products.
    for more in [vec![], vec!["--low-rank", "2"]] {
        let name = format!("tuned {}", more.len());
        success(recipes.train("denoiser", "short.toml", &name).arg("--from").arg(recipes.path("whole")).args(&more));
        let coder = |dir: &str| std::fs::read(recipes.path(dir).join("autoencoder_DEM.safetensors")).expect("weights");
        assert!(coder("whole") == coder(&name) && weights("whole") != weights(&name));
        success(copgen().args(["models", "inspect"]).arg(recipes.path(&name)));
    }
    let message = failure(recipes.train("denoiser", "short.toml", "none").args(["--low-rank", "2"]), 2);
    assert!(message.contains("--from"), "{message}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_training_and_keeps_the_checkpoint() {
    let recipes = Recipes::new();
    recipes.with_autoencoders(&["model"]);
    let text = std::fs::read_to_string(recipes.path("short.toml")).expect("recipe");
    let text = text.replace("learning_rate = 0.004", "learning_rate = 1e30").replace("warm_up = 5", "warm_up = 1");
    std::fs::write(recipes.path("wild.toml"), text).expect("write");
    let message = failure(recipes.train("denoiser", "wild.toml", "model").args(["--save-every", "1"]), 1);
    assert!(message.contains("not finite"), "{message}");
    assert!(recipes.path("model").join("denoiser_checkpoint.safetensors").exists());
    assert!(!recipes.path("model").join("manifest.json").exists());
}

#[test]
fn bad_recipes_are_refused_with_the_reason() {
    let recipes = Recipes::new();
    let text = std::fs::read_to_string(recipes.path("short.toml")).expect("recipe");
    for (change, word) in [
        (("batch = 4", "batch = 0"), "batch"),
        (("heads = 2", "heads = 5"), "heads"),
        (("withheld = 0.1", "withheld = 7.0"), "0…1"),
        (("turns = false", "turns = false\nspin = true"), "spin"),
        (("cached_windows = 8", "cached_windows = 0"), "windows"),
    ] {
        let changed = text.replace(change.0, change.1);
        assert_ne!(changed, text, "{change:?}");
        std::fs::write(recipes.path("bad.toml"), changed).expect("write");
        let message = failure(&mut recipes.train("denoiser", "bad.toml", "model"), 1);
        assert!(message.contains(word) && message.contains("bad.toml"), "{change:?}: {message}");
    }
    let message = failure(recipes.train("denoiser", "short.toml", "model").args(["--device", "abacus"]), 2);
    assert!(message.contains("abacus"), "{message}");
    // The published recipe is one, and of the published size.
    let (recipe, table) = copgen::train::Recipe::open(&project("models/recipes/base.toml")).expect("recipe");
    let sizes = recipe.denoiser.sizes.expect("sizes");
    assert_eq!((sizes.width, sizes.depth, table.window_m()), (1024, 20, 1920.0));
}
