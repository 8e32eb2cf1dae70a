//! The window as a person uses it: widgets found by name, pressed, and what comes of it.

mod common;

use copgen::app::{Base, Command, Options, RunState, Selection, Window};
use copgen::sampler::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn window() -> Harness<'static, Window> {
    let options = Options {
        model: common::project("models/demo"),
        scenes: [common::COMPLETE, "newzealand_T60HWB_2020-10-02"].map(common::scene).into(),
        first: Some(common::scene(common::COMPLETE)),
        tour: None,
    };
    Harness::builder()
        .with_size(egui::vec2(1440.0, 900.0))
        .wgpu()
        .build_eframe(|cc| Window::new(cc, options).expect("window"))
}

/// Runs frames until something has happened.
fn wait(harness: &mut Harness<'_, Window>, what: &str, done: impl Fn(&Window) -> bool) {
    let started = Instant::now();
    while !done(harness.state()) {
        let notes = &harness.state().session().notes;
        assert!(started.elapsed() < Duration::from_secs(120), "{what} did not happen; notes: {notes:?}");
        harness.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(3);
}

fn press(harness: &mut Harness<'_, Window>, name: &str) {
    harness.get_by_label(name).click();
    harness.run_steps(3);
}

fn apply(harness: &mut Harness<'_, Window>, command: Command) {
    let ctx = harness.ctx.clone();
    harness.state_mut().apply(&ctx, command);
    harness.run_steps(3);
}

fn observed(window: &Window) -> bool {
    window.session().observed.is_some()
}

#[test]
fn a_place_is_read_sampled_shown_and_exported() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let session = harness.state().session();
    assert_eq!(session.scenes.len(), 2);
    assert_eq!(session.selection, Some(Selection::Scene(0)));
    let table = session.table().expect("table").clone();
    let optical = table.index("S2L2A_10m").expect("modality");
    assert_eq!(session.roles[table.index("DEM").expect("modality")], Role::Given);
    assert_eq!(session.roles[optical], Role::Generated);
    assert_eq!(harness.state().shown().modality, optical);
    assert!(harness.state().shown().thumbnails.iter().flatten().count() == 10, "each image modality has a thumbnail");

    press(&mut harness, "LULC generated");
    press(&mut harness, "cloud_mask ignored");
    let roles = &harness.state().session().roles;
    assert_eq!(roles[table.index("LULC").expect("modality")], Role::Generated);
    assert_eq!(roles[table.index("cloud_mask").expect("modality")], Role::Ignored);

    apply(&mut harness, Command::Steps(3));
    apply(&mut harness, Command::Samples(3));
    press(&mut harness, "Generate");
    assert!(harness.state().session().busy());
    wait(&mut harness, "sampling", |w| {
        w.session().run.as_ref().is_some_and(|run| run.state == RunState::Finished) && w.shown().spread.is_some()
    });
    let run = harness.state().session().run.as_ref().expect("run");
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
    wait(&mut harness, "painting the classes", |w| w.shown().spread.is_some());
    assert!(harness.query_by_label_contains("Disagreement over realisations").is_some());
    harness.render().expect("a picture with the overlay");

    let out = tempfile::tempdir().expect("folder");
    press(&mut harness, "Export realisation 1");
    press(&mut harness, "Export …");
    harness.get_by_label("Folder").click();
    harness.run_steps(2);
    let field = harness.get_by_role_and_label(egui::accesskit::Role::TextInput, "Folder");
    field.focus();
    harness.run_steps(2);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    harness.run_steps(2);
    harness.event(egui::Event::Text(out.path().display().to_string()));
    harness.run_steps(2);
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
    wait(&mut harness, "the first evaluation", |w| w.session().run.as_ref().is_some_and(|run| run.progress.0 > 0));
    let before = Instant::now();
    press(&mut harness, "Stop");
    wait(&mut harness, "stopping", |w| w.session().run.as_ref().is_some_and(|run| run.state == RunState::Cancelled));
    assert!(before.elapsed() < Duration::from_secs(20));
    assert!(harness.query_by_label_contains("are kept").is_some());

    let table = harness.state().session().table().expect("table").clone();
    for m in table.iter() {
        press(&mut harness, &format!("{} ignored", m.name));
    }
    assert!(harness.query_by_label_contains("Nothing is left to generate").is_some());
    let run_before = harness.state().session().run.as_ref().map(|run| run.request.clone());
    press(&mut harness, "Generate");
    assert_eq!(harness.state().session().run.as_ref().map(|run| run.request.clone()), run_before);
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
    assert_eq!(session.roles[table.index("location").expect("modality")], Role::Given);
    let dem = table.index("DEM").expect("modality");
    assert!(!session.can_be_given(dem));
    press(&mut harness, "DEM given");
    assert_eq!(harness.state().session().roles[dem], Role::Generated, "a disabled button does nothing");
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
    apply(&mut harness, Command::OpenScene(PathBuf::from("/nowhere")));
    let told = |w: &Window| w.session().notes.iter().any(|note| note.problem && note.text.contains("/nowhere"));
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
    // Map tiles arrive on their own time.
    for _ in 0..40 {
        harness.step();
        std::thread::sleep(Duration::from_millis(10));
    }
    // Rasterisers differ a little in how they smooth edges.
    let options = egui_kittest::SnapshotOptions::new().threshold(1.5).max_failed_pixels(3000);
    harness.snapshot_options("first_view", &options);
}
