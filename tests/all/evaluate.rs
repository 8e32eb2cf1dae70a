//! Evaluation of the bundled model on the bundled scenes that it was not trained on.

use crate::common::{COMPLETE, copgen, copy_scene, failure, files, project, punch_elevation, success};

fn evaluate(model: &str, recipe: &str) -> assert_cmd::Command {
    let mut command = copgen();
    command.args(["evaluate", "--model"]).arg(project(model)).arg("--recipe").arg(project(recipe));
    command.arg("--scenes").arg(project("assets/scenes"));
    command
}

#[test]
fn figures_stand_beside_their_baselines_and_nothing_trained_on_is_measured() {
    let dir = tempfile::tempdir().expect("folder");
    let csv = dir.path().join("figures.csv");
    let tasks = "reconstruct,rest,certainty,dates";
    let mut command = evaluate("models/demo", "models/recipes/cascade.toml");
    command.args(["--task", tasks, "--samples", "3", "--steps", "4", "--csv"]).arg(&csv);
    let printed = success(&mut command);
    assert!(printed.contains("holds out of training") && printed.contains("synthetic"), "{printed}");
    assert!(printed.contains("each solved by 4 evaluations of UniPC-3 even in λ (none of the presets)"), "{printed}");
    let text = std::fs::read_to_string(&csv).expect("figures");
    assert!(csv.with_extension("md").exists());
    let value = |start: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"));
        line.split(',').nth(5).expect("value").parse().expect("number")
    };
    // The mean of realisations is nearer to the truth than a single one, and both know more than nothing.
    let one = value("rest,S2L2A_10m,MAE,reflectance,one sample");
    let mean = value("rest,S2L2A_10m,MAE,reflectance,model");
    let nothing = value("rest,S2L2A_10m,MAE,reflectance,training mean");
    assert!(mean < one && one < nothing, "{mean} {one} {nothing}");
    // Cells of 40 m tell most of an image, but not all.
    let cells = value("reconstruct,S2L2A_10m,MAE,reflectance,model");
    assert!(cells > 1e-3 && cells < 0.03 && cells < nothing, "{cells} {nothing}");
    let classes = value("reconstruct,LULC,MAE,share of pixels,model");
    assert!(classes > 1e-3 && classes < 0.08, "{classes}");
    // The bundled scenes hold no series of dates: the report says so instead of inventing one.
    assert!(printed.contains("### dates") && printed.contains("No held-out window has what this needs"));
    // Only 433D and New Zealand are held out among the bundled scenes: 4 windows of the former hold everything.
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("rest,S2L2A_10m,MAE,reflectance,model")).collect();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].ends_with(",4"), "{}", rows[0]);
}

#[test]
fn the_default_preset_solves_unless_another_is_chosen_and_the_report_says_which() {
    for (chosen, solved) in [
        (vec![], "each solved by 20 evaluations of UniPC-3 even in λ (the preset standard)"),
        (vec!["--preset", "published"], "50 evaluations of DPM-Solver++ singlestep even in t (the preset published)"),
        (
            vec!["--solver", "unipc2", "--grid", "time", "--steps", "7"],
            "7 evaluations of UniPC-2 even in t (none of the presets)",
        ),
    ] {
        let mut command = evaluate("models/demo", "models/recipes/cascade.toml");
        // Nothing is sampled for this task.
        let printed = success(command.args(["--task", "reconstruct", "--samples", "1"]).args(chosen));
        assert!(printed.contains(solved), "{printed}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_the_reason() {
    let message = failure(evaluate("models/demo", "models/recipes/cascade.toml").args(["--task", "guess"]), 2);
    let known = "reconstruct, rest, others, bands, radar, clear_radar, radar_cover, radar_alone, level, told_apart, cover, where, certainty, dates, clear";
    assert!(message.contains("guess") && message.contains(known), "{message}");
    // Another recipe holds nothing out.
    let message = failure(&mut evaluate("models/demo", "models/recipes/base.toml"), 1);
    assert!(message.contains("held-out"), "{message}");
    let csv = ["--csv", "figures.txt"];
    assert!(failure(evaluate("models/demo", "models/recipes/cascade.toml").args(csv), 2).contains(".csv"));
}

#[test]
fn what_reading_finds_out_is_told_once_per_scene_while_training_and_evaluating() {
    let scenes = tempfile::tempdir().expect("folder");
    let odd = copy_scene(COMPLETE, scenes.path());
    for name in files(&project("assets/scenes")).into_iter().filter(|name| name != COMPLETE) {
        copy_scene(&name, scenes.path());
    }
    // No ground on Earth is that deep: in one pixel of every window.
    punch_elevation(&odd, 16, -6000.0);
    let told = |command: &mut assert_cmd::Command| {
        let output = command.output().expect("the program starts");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log.lines().filter(|line| line.contains(COMPLETE) && line.contains("where there is no ground on Earth")).count()
    };
    let mut command = copgen();
    command.args(["evaluate", "--model"]).arg(project("models/demo"));
    command.arg("--recipe").arg(project("models/recipes/cascade.toml")).arg("--scenes").arg(scenes.path());
    assert_eq!(told(command.args(["--task", "reconstruct", "--samples", "1"])), 1);

    let mut recipe = std::fs::read_to_string(project("models/recipes/base.toml")).expect("recipe");
    for (from, to) in [
        ("base_width = 128", "base_width = 8"),
        ("residual_blocks = 2", "residual_blocks = 1\nnorm_groups = 4"),
        ("steps = 500000\nbatch = 16", "steps = 1\nbatch = 1"),
    ] {
        assert!(recipe.contains(from), "{from}");
        recipe = recipe.replacen(from, to, 1);
    }
    std::fs::write(scenes.path().join("tiny.toml"), recipe).expect("recipe");
    let mut command = copgen();
    command.args(["train", "autoencoder", "--only", "DEM"]).arg(scenes.path().join("tiny.toml"));
    command.arg("--scenes").arg(scenes.path());
    assert_eq!(told(command.arg("--out").arg(scenes.path().join("model"))), 1);
}
