//! Solvers and presets from the command line: what they are called in files, and the comparison that chose them.

use crate::common::{self, COMPLETE, copgen, failure, generate, scene, success};
use copgen::job::Settings;
use copgen::sampler::{Preset, SamplerOptions, Solver, TimeGrid};
use gdal::Metadata;
use std::path::PathBuf;

const QUICK: [&str; 6] = ["--given", "DEM,LULC", "--generate", "S2L2A_60m", "--samples", "1"];

#[test]
fn files_carry_their_solver_and_bring_it_back() {
    let published = SamplerOptions { steps: 3, ..Preset::Published.options() };
    let own =
        SamplerOptions { solver: Solver::Multistep2, grid: Some(TimeGrid::Quadratic), steps: 2, ..published.clone() };
    for (arguments, options, told) in [
        (vec![], Preset::Standard.options(), Solver::Unipc3.name()),
        (vec!["--preset", "draft"], Preset::Draft.options(), "evaluations"),
        (vec!["--preset", "published", "--steps", "3"], published, "DPM-Solver++ singlestep on a grid even in t, 3"),
        (vec!["--solver", "multistep2", "--grid", "quadratic", "--steps", "2"], own, "2M on a grid even in √t, 2"),
    ] {
        let out = tempfile::tempdir().expect("folder");
        let all: Vec<&str> = QUICK.into_iter().chain(arguments).collect();
        let printed = success(&mut generate(&scene(COMPLETE), out.path(), &all));
        let file =
            printed.lines().map(PathBuf::from).find(|p| p.extension().is_some_and(|e| e == "tif")).expect("file");
        let settings = Settings::in_file(&file).expect("readable").expect("settings");
        assert_eq!(settings.options, options, "{all:?}");
        let solver = gdal::Dataset::open(&file).expect("GeoTIFF").metadata_item("solver", "").expect("solver");
        assert!(solver.contains(told) && solver.contains(&options.steps.to_string()), "{solver}");
    }
}

/// The bundled model without its exemplars, among which an estimate jumps: there is no solution to come nearer to.
fn without_exemplars(dir: &std::path::Path) -> PathBuf {
    let (from, to) = (common::project("models/demo"), dir.join("model"));
    std::fs::create_dir(&to).expect("folder");
    let text = std::fs::read_to_string(from.join("manifest.json")).expect("manifest");
    let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let cascade = manifest["cascade"].as_object_mut().expect("a cascade");
    for part in ["exemplars", "first_guess"] {
        cascade.remove(part).expect(part);
    }
    std::fs::write(to.join("manifest.json"), manifest.to_string()).expect("manifest");
    for file in ["coarse", "drawing", "statistics"].map(|name| format!("{name}.safetensors")) {
        std::fs::copy(from.join(&file), to.join(&file)).expect("copied");
    }
    to
}

#[test]
fn solvers_are_compared_where_a_place_has_what_a_question_needs() {
    let dir = tempfile::tempdir().expect("folder");
    let out = dir.path().join("solvers.md");
    let mut command = copgen();
    command.arg("solvers").arg("--model").arg(without_exemplars(dir.path()));
    command.arg("--places").arg(scene(COMPLETE)).arg("--out").arg(&out);
    command.args(["--solvers", "multistep2,unipc3", "--steps", "2,8", "--reference", "16", "--samples", "2", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&success(&mut command)).expect("one object");
    let of = |what: &str, grid: &str, steps: u64| -> f64 {
        let all = found["solvers"].as_array().expect("solvers");
        let fits = |d: &&serde_json::Value| d["what"] == what && d["grid"] == grid && d["steps"] == steps;
        all.iter().find(fits).unwrap_or_else(|| panic!("no {what}"))["mean"].as_f64().expect("number")
    };
    for solver in [Solver::Multistep2, Solver::Unipc3] {
        // More evaluations come nearer to the solution.
        let (few, many) = (of(solver.name(), "lambda", 2), of(solver.name(), "lambda", 8));
        assert!(many > 0.0 && many < 0.5 * few && few < 3.0, "{}: {few} {many}", solver.name());
    }
    let floor = found["second"]["mean"].as_f64().expect("number");
    assert!(floor > 0.0 && floor < 0.1, "{floor}");
    // The bundled weights are halves already, so that rounding them to halves changes nothing.
    let half = |k: usize| found["half"][k]["mean"].as_f64().expect("number");
    assert_eq!(half(0), 0.0, "{}", found["half"][0]["what"]);
    assert!(half(2) > 1e-6, "{}", found["half"][2]["what"]);
    let text = std::fs::read_to_string(&out).expect("table");
    assert!(
        text.contains("copgen solvers --model") && text.contains("CPU cores") && text.contains("| UniPC-3"),
        "{text}"
    );

    // This place has no radar and no L1C.
    let refused = failure(copgen().arg("solvers").arg("--places").arg(scene("worldcereal_be_2021-06")), 2);
    assert!(refused.contains("None of the places"), "{refused}");
    let refused = failure(copgen().args(["solvers", "--samples", "1", "--places"]).arg(scene(COMPLETE)), 2);
    assert!(refused.contains("at least 2"), "{refused}");
}

/// What the window says about a preset is what was measured.
#[test]
fn presets_are_told_as_the_table_has_them() {
    let text = std::fs::read_to_string(common::project("benches/solvers.md")).expect("table");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let line = |start: &[&str]| {
        let found =
            text.lines().find(|l| start.iter().enumerate().all(|(k, s)| cells(l).get(k + 1).is_some_and(|c| c == s)));
        cells(found.unwrap_or_else(|| panic!("no line {start:?} in\n{text}")))
    };
    let heads = line(&["solver", "even in"]);
    for preset in Preset::ALL {
        let options = preset.options();
        let row = line(&[&format!("**{}**", options.solver.name()), options.method().grid.name()]);
        let column = heads.iter().position(|head| *head == options.steps.to_string()).expect("column");
        assert_eq!(row[column].parse::<f64>(), Ok(preset.deviation_percent()), "{preset:?}");
    }
    let half = line(&["weights in bfloat16"]);
    assert_eq!(half[2].parse::<f64>(), Ok(Preset::BFLOAT16_PERCENT));
    assert!(Preset::Standard.deviation_percent() < Preset::BFLOAT16_PERCENT);
    assert!(2 * Preset::Standard.options().steps <= Preset::Published.options().steps);
}
