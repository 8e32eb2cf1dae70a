//! Cascades: a tiny one is trained from the bundled scenes, made a model, and asked, end to end through the program.

use crate::common::{COMPLETE, copgen, failure, files, generate, project, scene, success};
use std::path::{Path, PathBuf};

/// The bundled recipe, tiny.
const TINY: [(&str, &str); 14] = [
    ("width = 96", "width = 32"),
    ("width = 32\ncell_blocks = 4", "width = 16\ncell_blocks = 1"),
    ("blocks = 2\nmiddle_blocks = 2", "blocks = 1\nmiddle_blocks = 1"),
    ("heads = 4\n\n[cascade.refiner]", "heads = 2\n\n[cascade.refiner]"),
    ("judge_width = 48", "judge_width = 8"),
    ("cached_windows = 5000", "cached_windows = 12"),
    ("split = \"split.csv\"", "held_out = [\"newzealand\"]"),
    ("other_level = 0.5", "other_level = 1.0"),
    ("warm_up = 60", "warm_up = 2"),
    ("warm_up = 50", "warm_up = 1"),
    ("batch = 16", "batch = 4"),
    ("batch = 8", "batch = 2"),
    ("STEPS_OF_COARSE", "8"),
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
        let mut names = ["STEPS_OF_REFINER", "STEPS_OF_COARSE"].iter();
        let with_names =
            |line: &str| if steps(line) { format!("steps = {}", names.next().expect("two")) } else { line.into() };
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
    success(&mut workshop.train("refiner", "model"));
    for (what, steps) in [("coarse", 8), ("refiner", 3)] {
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
    let ask = |out: &str, batch: &str| {
        let out = workshop.path(out);
        let arguments = ["--given", "DEM,S1RTC", "--set", "cloud_mask=Clear", "--generate", "S2L2A,LULC"];
        let mut command = generate(&scene(COMPLETE), &out, &arguments);
        command.args(["--samples", "2", "--steps", "3", "--batch", batch, "--model"]).arg(&model);
        success(&mut command);
        let made = files(&out);
        let images: Vec<Vec<u8>> =
            made.iter().filter(|f| f.ends_with(".tif")).map(|f| std::fs::read(out.join(f)).expect("file")).collect();
        assert_eq!(images.len(), 16, "{made:?}");
        images
    };
    assert!(ask("one", "1") == ask("two", "2"));

    // Trained further without the optimiser's state.
    success(workshop.train("coarse", "further").arg("--from").arg(&model));
    assert_ne!(std::fs::read(workshop.path("further").join("coarse.safetensors")).expect("weights"), before);
    // From the model alone, without what the training left beside it.
    let alone = workshop.path("alone");
    std::fs::create_dir(&alone).expect("folder");
    for name in ["manifest.json", "coarse.safetensors", "statistics.safetensors", "drawing.safetensors"] {
        std::fs::copy(model.join(name), alone.join(name)).expect("copy");
    }
    for what in ["coarse", "refiner"] {
        success(workshop.train(what, "further").arg("--from").arg(&alone));
    }
    success(&mut workshop.train("finish", "further"));
    // The recipe of another kind does not fit.
    let message = failure(workshop.train("denoiser", "other").arg("--from").arg(&model), 1);
    assert!(message.contains("cascade"), "{message}");
}
