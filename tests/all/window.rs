//! The window as a person uses it: widgets found by name, pressed, and what comes of it.

use crate::common;
use crate::common::harness::*;
use copgen::app::{Base, Command, ExplorerWindow, Question, RunState, Selection, Sort};
use copgen::model::{Computing, DeviceChoice, Precision};
use copgen::project::Project;
use copgen::sampler::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

#[test]
fn a_place_is_read_sampled_shown_and_exported() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let session = harness.state().session();
    assert_eq!(session.scenes.len(), 2);
    assert_eq!(session.selection, Some(Selection::Scene(0)));
    let table = session.table().expect("table").clone();
    let optical = table.index("S2L2A_10m").expect("modality");
    assert_eq!(session.choices.now().roles[table.index("DEM").expect("modality")], Role::Given);
    assert_eq!(session.choices.now().roles[optical], Role::Generated);
    assert_eq!(harness.state().shown().modality, optical);
    assert!(harness.state().shown().thumbnails.iter().flatten().count() == 10, "each image modality has a thumbnail");

    press(&mut harness, "LULC generated");
    press(&mut harness, "cloud_mask ignored");
    let roles = &harness.state().session().choices.now().roles;
    assert_eq!(roles[table.index("LULC").expect("modality")], Role::Generated);
    assert_eq!(roles[table.index("cloud_mask").expect("modality")], Role::Ignored);

    apply(&mut harness, Command::Steps(3));
    apply(&mut harness, Command::Samples(3));
    press(&mut harness, "Generate");
    assert!(harness.state().session().run().is_some());
    wait(&mut harness, "sampling", sampled);
    let run = harness.state().session().run().expect("run");
    assert_eq!(run.realisations.len(), 3);
    assert!(run.realisations.iter().all(|r| r.values[table.index("cloud_mask").expect("modality")].is_none()));
    let spread = harness.state().shown().spread.as_ref().expect("spread");
    assert_eq!((spread.samples.count, spread.samples.columns), (3, 96));
    assert!(spread.range[1] > 0.0);

    press(&mut harness, "Show realisation 2");
    assert_eq!(harness.state().shown().base, Base::Realisation(2));
    press(&mut harness, "Show mean");
    assert_eq!(harness.state().shown().base, Base::Mean);
    press(&mut harness, "Variance over realisations");
    assert!(harness.state().shown().spread_wanted);
    press(&mut harness, "Show observed");
    assert_eq!(harness.state().shown().base, Base::Observed);
    // Classes show the share that disagrees.
    press(&mut harness, "Show LULC");
    wait(&mut harness, "painting the classes", compared);
    assert!(harness.query_by_label_contains("Disagreement over realisations").is_some());
    harness.render().expect("a picture with the overlay");

    let out = tempfile::tempdir().expect("folder");
    press(&mut harness, "Export realisation 1");
    press(&mut harness, "Export …");
    harness.get_by_label("Folder").click();
    harness.run_steps(2);
    fill(&mut harness, "Folder", &out.path().display().to_string());
    press(&mut harness, "Write files");
    wait(&mut harness, "exporting", |w| w.session().notes.iter().any(|note| note.text.contains("files were written")));
    let names = common::files(out.path());
    // Realisations 0 and 2, and two statistics, of eight image modalities.
    let count = |part: &str| names.iter().filter(|name| name.contains(part)).count();
    assert_eq!(
        (count("_r000_"), count("_r001_"), count("_r002_"), count("_variance") + count("_disagreement")),
        (7, 0, 7, 7),
        "{names:?}"
    );
}

#[test]
fn stopping_keeps_what_is_finished_and_what_cannot_start_says_why() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Steps(150));
    apply(&mut harness, Command::Samples(200));
    press(&mut harness, "Generate");
    wait(&mut harness, "the first evaluation", |w| w.session().run().is_some_and(|run| run.progress.0 > 0));
    press(&mut harness, "Stop");
    wait(&mut harness, "stopping", |w| w.session().run().is_some_and(|run| run.state == RunState::Cancelled));
    let progress = harness.state().session().run().expect("run").progress;
    assert!(progress.0 < progress.1, "it ends before all is done: {progress:?}");
    assert!(harness.query_by_label_contains("are kept").is_some());

    let table = harness.state().session().table().expect("table").clone();
    let rows: std::collections::BTreeSet<&str> = table.iter().map(|m| m.family.as_str()).collect();
    for row in rows {
        press(&mut harness, &format!("{row} ignored"));
    }
    assert!(harness.query_by_label_contains("Nothing is left to generate").is_some());
    let run_before = harness.state().session().run().map(|run| run.request.clone());
    press(&mut harness, "Generate");
    assert_eq!(harness.state().session().run().map(|run| run.request.clone()), run_before);
}

#[test]
fn a_grid_cell_without_data_offers_only_what_is_known_there() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let cell = Selection::Cell("618U_30L".parse().expect("cell"));
    apply(&mut harness, Command::Pick(cell.clone()));
    wait(&mut harness, "reading the cell", observed);
    let session = harness.state().session();
    let table = session.table().expect("table").clone();
    assert_eq!(session.choices.now().roles[table.index("location").expect("modality")], Role::Given);
    let dem = table.index("DEM").expect("modality");
    assert!(!session.can_be_given(dem));
    press(&mut harness, "DEM given");
    assert_eq!(harness.state().session().choices.now().roles[dem], Role::Generated, "a disabled button does nothing");
    // A date can be typed; nonsense is refused with the reason.
    press(&mut harness, "date given");
    assert!(harness.query_by_label_contains("date is given, but not known here").is_some());
    let date = table.index("date").expect("modality");
    apply(&mut harness, Command::Typed(date, "soon".into()));
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("expected a date").is_some());
    apply(&mut harness, Command::Typed(date, "2023-04-19".into()));
    harness.run_steps(3);
    assert!(harness.state().session().request().is_ok());
}

#[test]
fn what_cannot_be_opened_becomes_a_note_that_stays_until_it_is_dismissed() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::OpenScene("/nowhere".into()));
    let told = |w: &ExplorerWindow| w.session().notes.iter().any(|note| note.problem && note.text.contains("/nowhere"));
    wait(&mut harness, "the note", told);
    let count = harness.state().session().notes.len();
    press(&mut harness, &format!("Dismiss note {count}"));
    assert!(!told(harness.state()));
    // The picked scene is still there.
    assert!(harness.state().session().observed.is_some());
}

#[test]
fn the_first_view_looks_as_it_did() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", |w| {
        observed(w) && w.session().scenes.len() == 2 && w.session().notes.is_empty()
    });
    snapshot(&mut harness, "first_view");
}

fn role(harness: &Harness<'_, ExplorerWindow>, name: &str) -> Role {
    let session = harness.state().session();
    session.choices.now().roles[session.table().and_then(|t| t.index(name)).expect("modality")]
}

#[test]
fn questions_set_roles_and_values_and_can_be_undone() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let before = harness.state().session().choices.now().clone();
    press(&mut harness, "Questions");
    press(&mut harness, "Optical to radar");
    assert_eq!(role(&harness, "S2L2A_20m"), Role::Given);
    assert_eq!(role(&harness, "S1RTC"), Role::Generated);
    assert_eq!(role(&harness, "LULC"), Role::Ignored);
    press(&mut harness, "Questions");
    press(&mut harness, "Cloud-free view");
    let session = harness.state().session();
    let mask = session.table().and_then(|t| t.index("cloud_mask")).expect("modality");
    assert_eq!(session.request().expect("request").set[&mask], copgen::job::SetValue::Class(0));
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    harness.run_steps(3);
    assert_eq!(role(&harness, "S1RTC"), Role::Generated);
    press(&mut harness, "Undo");
    assert_eq!(*harness.state().session().choices.now(), before);
    press(&mut harness, "Redo");
    assert_eq!(role(&harness, "S1RTC"), Role::Generated);
}

#[test]
fn every_question_leads_to_realisations() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Steps(2));
    apply(&mut harness, Command::Samples(1));
    for question in Question::ALL {
        apply(&mut harness, Command::Ask(question));
        press(&mut harness, "Generate");
        wait(&mut harness, question.name(), |w| w.session().run().is_some_and(|run| run.state == RunState::Finished));
        let run = harness.state().session().run().expect("run");
        let generated = run.request.roles.with(Role::Generated);
        assert!(generated.iter().all(|&i| run.realisations[0].values[i].is_some()), "{}", question.name());
    }
}

#[test]
fn more_adds_to_the_run_and_changes_nothing_of_it() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Steps(2));
    apply(&mut harness, Command::Samples(2));
    press(&mut harness, "Generate");
    let finished = |count: usize| {
        move |w: &ExplorerWindow| {
            w.session()
                .run()
                .as_ref()
                .is_some_and(|run| run.state == RunState::Finished && run.realisations.len() == count)
        }
    };
    wait(&mut harness, "sampling", finished(2));
    let first = harness.state().session().run().expect("run").realisations.clone();
    // Other choices meanwhile do not change what is added.
    press(&mut harness, "LULC generated");
    press(&mut harness, "More");
    wait(&mut harness, "adding", |w| finished(4)(w) && compared(w));
    let run = harness.state().session().run().expect("run");
    assert_eq!(run.realisations.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(first.iter().zip(&run.realisations).all(|(a, b)| std::sync::Arc::ptr_eq(a, b)));
    let lulc = harness.state().session().table().and_then(|t| t.index("LULC")).expect("modality");
    assert_eq!(run.request.roles[lulc], Role::Given);
    assert!(run.realisations[2].values[lulc].is_none());
    // Keys go through the pictures.
    assert_eq!(harness.state().shown().base, Base::Realisation(0));
    harness.key_press(egui::Key::ArrowRight);
    harness.run_steps(3);
    assert_eq!(harness.state().shown().base, Base::Realisation(1));
}

#[test]
fn places_are_found_by_what_is_typed() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    for (text, cell) in [("55.9, -3.2", "622U_20L"), ("618U_30L", "618U_30L")] {
        apply(&mut harness, Command::Find(text.into()));
        assert_eq!(harness.state().session().selection, Some(Selection::Cell(cell.parse().expect("cell"))), "{text}");
    }
    apply(&mut harness, Command::Find("newzealand".into()));
    assert_eq!(harness.state().session().selection, Some(Selection::Scene(1)));
    apply(&mut harness, Command::Find("Atlantis".into()));
    assert!(harness.state().session().notes.iter().any(|note| note.problem && note.text.contains("Atlantis")));
}

#[test]
fn the_window_moves_over_its_scene_and_keeps_what_was_chosen() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    press(&mut harness, "LULC generated");
    let grip = harness.get_by_label("Move the window").rect().center();
    let before = harness.state().session().observed.as_ref().expect("place").ground.footprint.clone();
    harness.drag_at(grip);
    harness.run_steps(2);
    for k in 1..=10 {
        harness.hover_at(grip + egui::vec2(-6.0 * k as f32, 8.0 * k as f32));
        harness.run_steps(1);
    }
    harness.drop_at(grip + egui::vec2(-60.0, 80.0));
    harness.run_steps(2);
    wait(&mut harness, "reading the other window", observed);
    let session = harness.state().session();
    let after = &session.observed.as_ref().expect("place").ground.footprint;
    let moved = (before.left - after.left, before.top - after.top);
    assert!(moved.0 >= 60.0 && moved.1 >= 60.0, "west and south: {moved:?}");
    assert!([moved.0, moved.1].iter().all(|m| (m / 60.0 - (m / 60.0).round()).abs() < 1e-6), "{moved:?}");
    assert_eq!(role(&harness, "LULC"), Role::Generated);
    assert!(matches!(
        session.request().expect("request").place.extent,
        copgen::scene::Extent::Window(copgen::scene::Window::At { .. })
    ));
}

/// Whether the session's folder holds so many realisations of its only run, and the project that names them.
fn kept(dir: &std::path::Path, count: usize) -> bool {
    let run = Project::read(dir).ok().and_then(|project| project.runs.first().cloned());
    run.is_some_and(|run| std::fs::read_dir(run.id.folder(dir)).is_ok_and(|files| files.count() == count))
}

#[test]
fn what_was_finished_comes_back_after_the_window_is_gone() {
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Ask(Question::RadarToOptical));
    apply(&mut harness, Command::MoveWindow(copgen::scene::Window::At { east_m: 120.0, south_m: 240.0 }));
    wait(&mut harness, "reading the other window", observed);
    apply(&mut harness, Command::Steps(2));
    apply(&mut harness, Command::Samples(3));
    apply(&mut harness, Command::Seed(41));
    press(&mut harness, "Generate");
    let finished = |w: &ExplorerWindow| w.session().run().is_some_and(|run| run.state == RunState::Finished);
    wait(&mut harness, "sampling", finished);
    wait(&mut harness, "keeping", |_| kept(dir.path(), 3));
    let before = harness.state().session().run().expect("run").clone();
    let choices = harness.state().session().choices.now().clone();
    // A second window of the same session keeps its hands off.
    let mut second = window_with(Some(dir.path().into()));
    wait(&mut second, "the note", |w| w.session().notes.iter().any(|note| note.text.contains("Another window")));
    drop(second);
    // Nothing is saved at the end: this is what a kill leaves.
    drop(harness);

    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "coming back", |w| observed(w) && compared(w));
    let session = harness.state().session();
    let run = session.run().expect("run");
    assert_eq!((&run.request, &run.realisations), (&before.request, &before.realisations));
    assert_eq!(*session.choices.now(), choices);
    assert!(session.run_is_here() && run.lineage.is_some());
    // What is compared with realisations comes back too, not only what was given.
    assert!(harness.state().shown().observed.is_some());
    assert_eq!((session.samples, session.options.steps, session.seed), (3, 2, 41));
    // What came back can be added to.
    press(&mut harness, "More");
    wait(&mut harness, "adding", |w| finished(w) && w.session().run().is_some_and(|r| r.realisations.len() == 6));
    wait(&mut harness, "keeping", |_| kept(dir.path(), 6));
    // And saved elsewhere, and opened from there like a scene.
    let project = dir.path().join("elsewhere");
    apply(&mut harness, Command::SaveProject(project.clone()));
    wait(&mut harness, "saving", |w| w.session().notes.iter().any(|note| note.text.contains("was saved")));
    drop(harness);
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::OpenScene(project));
    wait(&mut harness, "opening", |w| w.session().run().is_some_and(|run| run.realisations.len() == 6) && observed(w));
    assert_eq!(harness.state().session().run().expect("run").realisations[..3], before.realisations[..]);
}

#[test]
fn a_click_in_the_window_shows_what_is_there() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    sample(&mut harness, 2, 2);
    // South-west of the handle lies the window.
    let inside = harness.get_by_label("Move the window").rect().center() + egui::vec2(-60.0, 60.0);
    harness.hover_at(inside);
    harness.run_steps(1);
    harness.drag_at(inside);
    harness.run_steps(1);
    harness.drop_at(inside);
    harness.run_steps(3);
    let spot = harness.state().shown().spot.expect("a spot");
    assert!((0.5..1.0).contains(&spot.x) && (0.0..0.5).contains(&spot.y), "{spot:?}");
    assert!(harness.query_by_label_contains("S2L2A, reflectance over wavelength").is_some());
    press(&mut harness, "Copy as CSV");
    harness.render().expect("a picture with the inspector");
    harness.key_press(egui::Key::Escape);
    harness.run_steps(3);
    assert!(harness.state().shown().spot.is_none());
}

#[test]
fn looks_and_measures_change_what_is_painted() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    sample(&mut harness, 3, 2);
    let id =
        |w: &ExplorerWindow| w.shown().spread.as_ref().map(|spread| (spread.id, spread.range, spread.samples.measure));
    let before = id(harness.state()).expect("spread");
    harness.get_by_role_and_label(egui::accesskit::Role::ComboBox, "Measure of spread").click();
    harness.run_steps(3);
    press(&mut harness, "Standard deviation");
    wait(&mut harness, "painting", |w| id(w).is_some_and(|now| now.0 != before.0));
    let after = id(harness.state()).expect("spread");
    assert_eq!(after.2, copgen::ensemble::Measure::Deviation);
    assert!((after.1[1] - before.1[1].sqrt()).abs() < 0.02 * after.1[1], "{before:?} {after:?}");
    harness.get_by_role_and_label(egui::accesskit::Role::ComboBox, "Bands").click();
    harness.run_steps(3);
    press(&mut harness, "NDVI");
    wait(&mut harness, "painting", |w| id(w).is_some_and(|now| now.0 != after.0));
    assert!(harness.query_by_label_contains("Standard deviation over realisations").is_some());
    harness.render().expect("a picture");
}

#[test]
fn realisations_are_ordered_compared_and_recalled() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 3, 2);
    // Nearest to what was observed first, by the figures that are shown.
    apply(&mut harness, Command::Sort(Sort::Observed));
    let shown = harness.state().shown();
    let order = shown.sorted(&Default::default());
    let far: Vec<f32> = order.iter().map(|i| shown.distances[i].observed.expect("observed")).collect();
    assert!(order.len() == 3 && far.is_sorted() && far[0] > 0.0, "{far:?}");
    apply(&mut harness, Command::Base(Base::Realisation(order[0])));
    apply(&mut harness, Command::Step(1));
    assert_eq!(harness.state().shown().base, Base::Realisation(order[1]));
    // Observed and back.
    harness.key_press(egui::Key::B);
    harness.run_steps(3);
    assert_eq!(harness.state().shown().base, Base::Observed);
    harness.key_press(egui::Key::B);
    harness.run_steps(3);
    assert_eq!(harness.state().shown().base, Base::Realisation(order[1]));
    // The line of the swipe follows the pointer.
    press(&mut harness, "swipe with observed");
    let line = harness.get_by_label("Swipe").rect().center();
    harness.drag_at(line);
    harness.run_steps(2);
    harness.hover_at(line + egui::vec2(-40.0, 0.0));
    harness.run_steps(2);
    harness.hover_at(line + egui::vec2(-90.0, 0.0));
    harness.run_steps(2);
    harness.drop_at(line + egui::vec2(-90.0, 0.0));
    harness.run_steps(3);
    assert!(harness.state().shown().swipe.is_some_and(|at| at < 0.45), "{:?}", harness.state().shown().swipe);
    harness.render().expect("a picture with the swipe");
    // Roles, values, steps and seed of the run come back, and can be undone.
    let asked = harness.state().session().run().expect("run").request.clone();
    apply(&mut harness, Command::Ask(Question::Nothing));
    apply(&mut harness, Command::Seed(99));
    press(&mut harness, "Recall");
    let again = harness.state().session().request().expect("request");
    assert_eq!((&again.roles, &again.set, again.seed), (&asked.roles, &asked.set, asked.seed));
    press(&mut harness, "Undo");
    assert!(harness.state().session().choices.now().roles.iter().all(|role| *role == Role::Generated));
}

#[test]
fn presets_choose_solver_and_steps_and_are_recalled_with_the_run() {
    use copgen::sampler::{Preset, Solver};
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let options = |harness: &egui_kittest::Harness<'_, ExplorerWindow>| harness.state().session().options.clone();
    assert_eq!(options(&harness), Preset::Standard.options());
    for effort in [Preset::Published, Preset::Draft] {
        press(&mut harness, effort.name());
        assert_eq!(options(&harness), effort.options());
    }
    // Another solver of the same number of steps is none of the presets.
    press(&mut harness, "Advanced");
    harness.get_by_role_and_label(egui::accesskit::Role::ComboBox, "Solver").click();
    harness.run_steps(3);
    press(&mut harness, Solver::Multistep2.name());
    assert_eq!(options(&harness).solver, Solver::Multistep2);
    assert_eq!(Preset::of(&options(&harness)), None);
    sample(&mut harness, 2, 3);
    let asked = options(&harness);
    press(&mut harness, Preset::Standard.name());
    press(&mut harness, "Recall");
    assert_eq!(options(&harness), asked);
}

#[test]
fn what_is_computed_on_is_chosen_and_told() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    press(&mut harness, "Advanced");
    snapshot(&mut harness, "advanced");
    harness.get_by_role_and_label(egui::accesskit::Role::ComboBox, "Compute on").click();
    harness.run_steps(3);
    // Only what the bundled model's kind can be held in is offered.
    let offered = ["automatic", "CPU", "graphics adapter", "graphics adapter, half precision"];
    for name in offered {
        assert!(harness.query_by_label(name).is_some(), "{name}");
    }
    for name in ["CPU, 16-bit integers", "CPU, bfloat16", "CPU, 8-bit integers"] {
        assert!(harness.query_by_label(name).is_none(), "{name}");
    }
    press(&mut harness, "graphics adapter");
    let computing = Computing { device: DeviceChoice::Gpu, precision: Precision::F32 };
    assert_eq!(harness.state().session().request().expect("request").computing, computing);
    apply(&mut harness, Command::Samples(1));
    apply(&mut harness, Command::Steps(2));
    apply(&mut harness, Command::Generate);
    wait(&mut harness, "sampling", |w| w.session().run().is_some_and(|run| run.state == RunState::Finished));
    let run = harness.state().session().run().expect("run");
    let made = run.realisations.first().expect("a realisation");
    assert!(made.computed.contains("CPU with") && made.computed.contains("drawn in f32 on "), "{}", made.computed);
    // Another precision than the model is held in is told, and does not stop anything.
    apply(&mut harness, Command::Computing(Computing { device: DeviceChoice::Cpu, precision: Precision::I16 }));
    apply(&mut harness, Command::Generate);
    wait(&mut harness, "sampling", |w| {
        let runs = w.session().runs.all();
        runs.len() == 2 && runs.iter().all(|run| run.state == RunState::Finished)
    });
    let notes = &harness.state().session().notes;
    assert!(notes.iter().any(|note| note.text.contains("computes in float32")), "{notes:?}");
}
