//! Evaluation of the bundled model on the bundled scenes that it was not trained on.

use crate::common::{copgen, failure, project, success};

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
    let mut command = evaluate("models/demo", "models/recipes/demo.toml");
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
    // Latents of the bundled model are the images themselves.
    assert!(value("reconstruct,S2L2A_10m,MAE,reflectance,model") < 1e-4);
    assert!(value("reconstruct,LULC,MAE,share of pixels,model") < 1e-6);
    // The mean of realisations is nearer to the truth than a single one, and both know more than nothing.
    let one = value("rest,S2L2A_10m,MAE,reflectance,one sample");
    let mean = value("rest,S2L2A_10m,MAE,reflectance,model");
    let nothing = value("rest,S2L2A_10m,MAE,reflectance,training mean");
    assert!(mean < one && one < nothing, "{mean} {one} {nothing}");
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
        let mut command = evaluate("models/demo", "models/recipes/demo.toml");
        // Nothing is sampled for this task.
        let printed = success(command.args(["--task", "reconstruct", "--samples", "1"]).args(chosen));
        assert!(printed.contains(solved), "{printed}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_the_reason() {
    let message = failure(evaluate("models/demo", "models/recipes/demo.toml").args(["--task", "guess"]), 2);
    let known = "reconstruct, rest, others, bands, radar, clear_radar, radar_cover, radar_alone, level, told_apart, cover, where, certainty, dates, clear";
    assert!(message.contains("guess") && message.contains(known), "{message}");
    // Another recipe holds nothing out.
    let message = failure(&mut evaluate("models/demo", "models/recipes/base.toml"), 1);
    assert!(message.contains("held-out"), "{message}");
    let csv = ["--csv", "figures.txt"];
    assert!(failure(evaluate("models/demo", "models/recipes/demo.toml").args(csv), 2).contains(".csv"));
}
