//! The window as a person uses it: widgets found by name and pressed.

use super::{COMPLETE, project, scene};
use copgen::app::{Command, ExplorerWindow, Options, RunState};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, SnapshotOptions};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The window with two scenes, the first one picked.
pub fn window() -> Harness<'static, ExplorerWindow> {
    window_with(None)
}

/// One that keeps its session in a folder.
pub fn window_with(session: Option<PathBuf>) -> Harness<'static, ExplorerWindow> {
    window_of(session, egui::vec2(1440.0, 900.0))
}

/// One of this size in points.
pub fn window_of(session: Option<PathBuf>, size: egui::Vec2) -> Harness<'static, ExplorerWindow> {
    window_at(options(session), size)
}

/// What the window opens with: two scenes, no network.
pub fn options(session: Option<PathBuf>) -> Options {
    Options {
        model: project("models/demo"),
        scenes: [COMPLETE, "newzealand_T60HWB_2020-10-02"].map(scene).into(),
        named_model: false,
        first: Some(scene(COMPLETE)),
        scene: None,
        session,
        models: None,
        hub: copgen::hub::Hub::at("http://127.0.0.1:9"),
        network: copgen::net::Network::default(),
        sources: Vec::new(),
        kept: None,
        problems: Vec::new(),
        maps: copgen::basemap::Folders::default(),
    }
}

/// A window that opens with this.
pub fn window_opening(options: Options) -> Harness<'static, ExplorerWindow> {
    window_at(options, egui::vec2(1440.0, 900.0))
}

/// One with these options.
pub fn window_at(options: Options, size: egui::Vec2) -> Harness<'static, ExplorerWindow> {
    Harness::builder().with_size(size).wgpu().build_eframe(|cc| ExplorerWindow::new(cc, options).expect("window"))
}

/// Runs frames until something has happened.
pub fn wait(harness: &mut Harness<'_, ExplorerWindow>, what: &str, done: impl Fn(&ExplorerWindow) -> bool) {
    wait_until(harness, what, |harness| done(harness.state()));
}

/// Runs frames until this label is there.
pub fn wait_for(harness: &mut Harness<'_, ExplorerWindow>, label: &str) {
    wait_until(harness, label, |harness| harness.query_by_label(label).is_some());
}

/// Runs frames until these words are there, in whatever label.
pub fn wait_for_words(harness: &mut Harness<'_, ExplorerWindow>, words: &str) {
    wait_until(harness, words, |harness| harness.query_all_by_label_contains(words).next().is_some());
}

/// Runs frames until something holds of the window or of what is drawn.
pub fn wait_until(
    harness: &mut Harness<'_, ExplorerWindow>,
    what: &str,
    mut done: impl FnMut(&mut Harness<'_, ExplorerWindow>) -> bool,
) {
    let started = Instant::now();
    while !done(harness) {
        let notes = &harness.state().session().notes;
        assert!(started.elapsed() < Duration::from_secs(120), "{what} did not happen; notes: {notes:?}");
        harness.step();
        std::thread::sleep(Duration::from_millis(5));
    }
    harness.run_steps(3);
}

/// Presses what is called so.
pub fn press(harness: &mut Harness<'_, ExplorerWindow>, name: &str) {
    harness.get_by_label(name).click();
    harness.run_steps(3);
}

/// Writes a text into the field that is called so, in place of what stands there.
pub fn fill(harness: &mut Harness<'_, ExplorerWindow>, name: &str, text: &str) {
    harness.get_by_role_and_label(egui::accesskit::Role::TextInput, name).focus();
    harness.run_steps(2);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    harness.run_steps(2);
    harness.event(egui::Event::Text(text.to_owned()));
    harness.run_steps(2);
}

/// Carries out a command.
pub fn apply(harness: &mut Harness<'_, ExplorerWindow>, command: Command) {
    harness.state_mut().apply(command);
    harness.run_steps(3);
}

/// Whether the run is finished and painted, with its last realisation.
pub fn sampled(window: &ExplorerWindow) -> bool {
    window.session().run().is_some_and(|run| run.state == RunState::Finished) && compared(window)
}

/// Whether the spread of all realisations is painted.
pub fn compared(window: &ExplorerWindow) -> bool {
    window.shown().is_current() && window.shown().spread.is_some()
}

/// Samples what is chosen.
pub fn sample(harness: &mut Harness<'_, ExplorerWindow>, samples: usize, steps: usize) {
    apply(harness, Command::Steps(steps));
    apply(harness, Command::Samples(samples));
    press(harness, "Generate");
    wait(harness, "sampling", sampled);
}

/// Whether the picked place is read.
pub fn observed(window: &ExplorerWindow) -> bool {
    window.session().observed.is_some()
}

/// Index of a modality.
pub fn index(harness: &Harness<'_, ExplorerWindow>, name: &str) -> usize {
    harness.state().session().table().and_then(|table| table.index(name)).expect("modality")
}

/// Drags from one place to another in a few frames.
pub fn drag(harness: &mut Harness<'_, ExplorerWindow>, from: egui::Pos2, to: egui::Pos2) {
    drag_along(harness, &[from, to]);
}

/// Drags along a path, a few frames for each part of it.
pub fn drag_along(harness: &mut Harness<'_, ExplorerWindow>, path: &[egui::Pos2]) {
    let (Some(first), Some(last)) = (path.first(), path.last()) else { return };
    harness.drag_at(*first);
    harness.run_steps(2);
    for leg in path.windows(2) {
        for k in 1..=5 {
            harness.hover_at(leg[0] + (leg[1] - leg[0]) * (k as f32 / 5.0));
            harness.run_steps(1);
        }
    }
    harness.drop_at(*last);
    harness.run_steps(3);
}

/// A click at a place.
pub fn click(harness: &mut Harness<'_, ExplorerWindow>, at: egui::Pos2) {
    harness.hover_at(at);
    harness.run_steps(1);
    for pressed in [true, false] {
        harness.event(egui::Event::PointerButton {
            pos: at,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: egui::Modifiers::NONE,
        });
        harness.run_steps(1);
    }
    harness.run_steps(2);
}

/// What may differ between a picture of the window and the one that is kept, counted in pixels that are not at a smoothed
/// edge. One rasteriser (Mesa's lavapipe, whatever its number of threads) draws the same picture to the bit; between
/// processors up to a dozen pixels of the map differ by one level of 255, which is a distance of 0.5. The smallest thing to
/// press, the triangle of a fold, is 12 pixels of a distance above 100 (`snapshots`).
pub fn tolerance() -> SnapshotOptions {
    SnapshotOptions::new().threshold(1.5).max_failed_pixels(8)
}

/// Compares a picture of the window with the one that is kept.
pub fn snapshot(harness: &mut Harness<'_, ExplorerWindow>, name: &str) {
    let options = tolerance();
    // Map tiles arrive on their own time, on a busy machine late.
    for last in [false, false, false, false, true] {
        for _ in 0..40 {
            harness.step();
            std::thread::sleep(Duration::from_millis(10));
        }
        if last {
            harness.snapshot_options(name, &options);
        } else if harness.try_snapshot_options(name, &options).is_ok() {
            return;
        }
    }
}
