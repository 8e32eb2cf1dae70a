//! What a session keeps when models change: whose runs they are, and what is named at the start.

use crate::common::harness::{apply, observed, options, press, wait, window_opening};
use crate::common::{COMPLETE, project, scene};
use copgen::app::{Command, ExplorerWindow, Options, Question, RunState, Selection};
use copgen::project::Project;
use egui_kittest::Harness;
use std::path::{Path, PathBuf};

/// The bundled model under another name; `modalities` changes what it knows.
fn model(dir: &Path, name: &str, modalities: bool) -> PathBuf {
    let to = dir.join(name);
    std::fs::create_dir(&to).expect("folder");
    for entry in std::fs::read_dir(project("models/demo")).expect("model") {
        let entry = entry.expect("entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
    let path = to.join("manifest.json");
    let text = std::fs::read_to_string(&path).expect("manifest");
    let mut manifest: serde_json::Value = serde_json::from_str(&text).expect("json");
    manifest["name"] = name.into();
    if modalities {
        manifest["modalities"][0]["scale_factor"] = 2.0.into();
    }
    std::fs::write(&path, manifest.to_string()).expect("manifest");
    to
}

fn open(session: &Path, model: &Path, more: impl FnOnce(Options) -> Options) -> Harness<'static, ExplorerWindow> {
    window_opening(more(Options { model: model.to_path_buf(), ..options(Some(session.to_path_buf())) }))
}

/// Samples two realisations with two steps.
fn sample(harness: &mut Harness<'_, ExplorerWindow>) {
    wait(harness, "reading a place", observed);
    let before = harness.state().session().runs.all().len();
    apply(harness, Command::Ask(Question::RadarToOptical));
    apply(harness, Command::Steps(2));
    apply(harness, Command::Samples(2));
    press(harness, "Generate");
    wait(harness, "sampling", |w| {
        let runs = w.session().runs.all();
        runs.len() > before && runs.iter().all(|run| run.state == RunState::Finished)
    });
}

/// Which models the kept runs name.
fn kept(session: &Path) -> Vec<String> {
    let runs = Project::read(session).map(|project| project.runs).unwrap_or_default();
    let whole = |run: &copgen::project::KeptRun| {
        std::fs::read_dir(run.id.folder(session)).is_ok_and(|files| files.count() == 2)
    };
    runs.iter().filter(|run| whole(run)).filter_map(|run| Some(run.made_by.clone()?.name)).collect()
}

/// Which models made the runs of the window, by what they and their files say.
fn makers(window: &ExplorerWindow) -> Vec<String> {
    let runs = window.session().runs.all().iter();
    runs.map(|run| {
        let lineage = format!("{:?}", run.lineage.as_ref().expect("lineage"));
        assert!(lineage.contains(&format!("\"{}\"", run.model.name)), "{} in {lineage}", run.model.name);
        assert!(lineage.contains(&run.model.sha256));
        run.model.name.clone()
    })
    .collect()
}

fn model_in_use(window: &ExplorerWindow) -> &str {
    window.session().model.as_ref().map_or("", |model| model.manifest.name.as_str())
}

#[test]
fn a_run_keeps_its_model_when_a_project_of_another_one_is_opened() {
    let dir = tempfile::tempdir().expect("folder");
    let [first, second] = ["first", "second"].map(|name| model(dir.path(), name, false));
    let [session, other, saved] = ["session", "other", "saved"].map(|name| dir.path().join(name));
    let mut harness = open(&other, &second, |options| options);
    sample(&mut harness);
    apply(&mut harness, Command::SaveProject(saved.clone()));
    wait(&mut harness, "saving", |_| kept(&saved) == ["second"]);
    drop(harness);

    let mut harness = open(&session, &first, |options| options);
    sample(&mut harness);
    apply(&mut harness, Command::OpenScene(saved));
    wait(&mut harness, "opening", |w| w.session().runs.all().len() == 2 && observed(w));
    let window = harness.state();
    assert_eq!((makers(window), model_in_use(window)), (vec!["first".to_owned(), "second".into()], "second"));
    let added = |window: &ExplorerWindow| -> Vec<bool> {
        window.session().runs.all().iter().map(|run| window.session().can_add_to(run)).collect()
    };
    assert_eq!(added(window), [false, true], "only the model in use can add to its runs");
    // Each is kept, and comes back, as what it is.
    wait(&mut harness, "keeping", |_| kept(&session) == ["first", "second"]);
    drop(harness);
    let mut harness = open(&session, &first, |options| options);
    wait(&mut harness, "coming back", |w| w.session().runs.all().len() == 2 && observed(w));
    assert_eq!(makers(harness.state()), ["first", "second"]);
    assert_eq!(added(harness.state()), [false, true]);
}

#[test]
fn a_start_with_a_named_model_and_scene_keeps_the_session() {
    let dir = tempfile::tempdir().expect("folder");
    let [first, second] = ["first", "second"].map(|name| model(dir.path(), name, false));
    let session = dir.path().join("session");
    let mut harness = open(&session, &first, |options| options);
    sample(&mut harness);
    apply(&mut harness, Command::Offline(true));
    wait(&mut harness, "keeping", |_| kept(&session) == ["first"]);
    let preferred = || std::fs::read_to_string(session.join("window.json")).unwrap_or_default();
    wait(&mut harness, "keeping", |_| preferred().contains("\"offline\":true"));
    // What is the user's own counts in a second window too, which keeps no session.
    let second_window = open(&session, &first, |options| options);
    assert!(second_window.state().session().offline);
    drop((harness, second_window));

    let elsewhere = scene("newzealand_T60HWB_2020-10-02");
    let named = |options| Options { named_model: true, scene: Some(elsewhere.clone()), ..options };
    let mut harness = open(&session, &second, named);
    wait(&mut harness, "coming back", |w| !w.session().runs.all().is_empty() && observed(w));
    let window = harness.state();
    assert_eq!((makers(window), model_in_use(window)), (vec!["first".to_owned()], "second"));
    assert!(window.session().offline);
    let picked = |window: &ExplorerWindow| match &window.session().selection {
        Some(Selection::Scene(i)) => window.session().scenes[*i].scene.dir().to_path_buf(),
        other => panic!("{other:?} is picked"),
    };
    assert_eq!(picked(window), elsewhere);
    sample(&mut harness);
    wait(&mut harness, "keeping", |_| kept(&session) == ["first", "second"]);
    // Nothing is saved at the end: this is what a kill leaves.
    drop(harness);
    let mut harness = open(&session, &first, |options| options);
    wait(&mut harness, "coming back", |w| w.session().runs.all().len() == 2 && observed(w));
    let window = harness.state();
    assert_eq!((makers(window), model_in_use(window)), (vec!["first".to_owned(), "second".into()], "second"));
    assert_eq!(picked(window), elsewhere);
}

#[test]
fn runs_that_a_named_model_cannot_show_become_a_project_of_their_own() {
    let dir = tempfile::tempdir().expect("folder");
    let (first, other) = (model(dir.path(), "first", false), model(dir.path(), "other", true));
    let session = dir.path().join("session");
    let mut harness = open(&session, &first, |options| options);
    sample(&mut harness);
    wait(&mut harness, "keeping", |_| kept(&session) == ["first"]);
    let made = harness.state().session().run().expect("run").realisations.clone();
    drop(harness);

    let mut harness = open(&session, &other, |options| Options { named_model: true, ..options });
    let told = |window: &ExplorerWindow| {
        let notes = window.session().notes.iter();
        notes.map(|note| note.text.clone()).find(|text| text.contains("project of their own"))
    };
    wait(&mut harness, "telling", |w| told(w).is_some() && observed(w));
    let earlier: Vec<PathBuf> =
        std::fs::read_dir(session.join("earlier")).expect("folder").map(|entry| entry.expect("entry").path()).collect();
    assert_eq!(earlier.len(), 1, "{earlier:?}");
    assert!(told(harness.state()).is_some_and(|text| text.contains(&earlier[0].display().to_string())));
    let window = harness.state();
    assert_eq!((model_in_use(window), window.session().runs.all().len()), ("other", 0));
    assert!(window.session().scenes.iter().any(|known| known.scene.dir() == scene(COMPLETE)), "scenes stay on the map");
    assert_eq!((kept(&earlier[0]), kept(&session)), (vec!["first".to_owned()], Vec::new()));
    // It opens like any project.
    apply(&mut harness, Command::OpenScene(earlier[0].clone()));
    wait(&mut harness, "opening", |w| w.session().run().is_some_and(|run| run.realisations == made) && observed(w));
    assert_eq!(makers(harness.state()), ["first"]);
}
