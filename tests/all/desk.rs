//! Runs, files and the window itself: queue, export, opening, finding, sizes.

use crate::common;
use crate::common::harness::*;
use copgen::app::{Command, GuideStep, Question, RunState, Selection};
use copgen::basemap::LayerId;
use copgen::sampler::Role;
use copgen::view::Spot;
use egui_kittest::kittest::{NodeT, Queryable};
use std::path::Path;

#[test]
fn runs_queue_and_stay() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    // The first would take minutes.
    for (seed, steps, samples) in [(1, 150, 200), (2, 2, 2), (3, 2, 2)] {
        apply(&mut harness, Command::Steps(steps));
        apply(&mut harness, Command::Samples(samples));
        apply(&mut harness, Command::Seed(seed));
        apply(&mut harness, Command::Generate);
    }
    let session = harness.state().session();
    assert_eq!(session.runs.waiting().count(), 2);
    assert_eq!(session.run().map(|run| run.request.seed), Some(1), "what is looked at stays");
    press(&mut harness, "Withdraw 1");
    assert!(harness.state().session().busy(), "the first goes on");
    apply(&mut harness, Command::Stop);
    let finished = |seed: u64| {
        move |w: &copgen::app::ExplorerWindow| {
            w.session().runs.all().iter().any(|r| r.request.seed == seed && r.state == RunState::Finished)
        }
    };
    wait(&mut harness, "the last run", finished(3));
    let seeds: Vec<u64> = harness.state().session().runs.all().iter().map(|run| run.request.seed).collect();
    assert_eq!(seeds, [1, 3]);
    apply(&mut harness, Command::ShowRun(1));
    wait(&mut harness, "its pictures", |w| w.shown().realisations.len() == 2);
    assert_eq!(harness.state().session().run().map(|run| run.request.seed), Some(3));
    apply(&mut harness, Command::ForgetRun(1));
    assert_eq!(harness.state().session().run().map(|run| run.request.seed), Some(1));
    // A random seed is another one each time, and is told.
    press(&mut harness, "random");
    apply(&mut harness, Command::Steps(2));
    apply(&mut harness, Command::Generate);
    let first = harness.state().session().seed;
    apply(&mut harness, Command::Generate);
    assert_ne!(harness.state().session().seed, first);
    assert_eq!(harness.state().session().runs.all()[1].request.seed, first);
}

#[test]
fn too_much_for_the_memory_is_refused_before_the_start() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let session = harness.state().session();
    let request = session.request().expect("request");
    let few = session.memory(&request).expect("estimate");
    let many = session.memory(&copgen::job::Request { samples: 2000, ..request }).expect("estimate");
    // 1996 more realisations of some 24 channels of up to 96 × 96 float32 values.
    assert!(many - few > 500_000_000, "{few} to {many}");
    assert!(session.memory_limit.expect("the system tells") > few);
}

fn export_with(
    harness: &mut egui_kittest::Harness<'_, copgen::app::ExplorerWindow>,
    out: &Path,
    boxes: &[&str],
) -> Vec<String> {
    press(harness, "Export …");
    for name in boxes {
        press(harness, name);
    }
    fill(harness, "Folder", &out.display().to_string());
    press(harness, "Write files");
    wait(harness, "exporting", |w| w.session().notes.iter().any(|note| note.text.contains("files were written")));
    common::files(out)
}

#[test]
fn pictures_cloud_optimised_files_and_a_catalogue_item_are_written() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 2, 2);
    let out = tempfile::tempdir().expect("folder");
    let unwanted =
        ["S2L1C_10m", "S2L1C_20m", "S2L1C_60m", "S2L2A_20m", "S2L2A_60m"].map(|name| format!("Write {name}"));
    let mut boxes: Vec<&str> = unwanted.iter().map(String::as_str).collect();
    boxes.extend(["cloud-optimised", "Pictures (PNG), as they are shown", "STAC item"]);
    let names = export_with(&mut harness, out.path(), &boxes);
    assert!(names.iter().all(|name| !name.contains("S2L1C") && !name.contains("_20m")), "{names:?}");
    let ending = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    // Two realisations, mean and variance; observed, two realisations, mean and spread; the item.
    // Beside an item each band has a file.
    assert_eq!((ending(".tif"), ending(".png"), ending(".json")), (16, 5, 1), "{names:?}");
    let path = |part: &str| out.path().join(names.iter().find(|name| name.contains(part)).expect(part));
    let cog = gdal::Dataset::open(path("r000_S2L2A_10m_B04.tif")).expect("GeoTIFF");
    use gdal::Metadata;
    assert_eq!(cog.metadata_item("LAYOUT", "IMAGE_STRUCTURE").as_deref(), Some("COG"));
    assert_eq!(cog.metadata_item("synthetic", "").as_deref(), Some("yes"));
    assert_eq!(cog.rasterband(1).expect("band").description().expect("name"), "B04");
    // Generated pictures carry the badge and their lineage, the observed one does not.
    let orange = |part: &str| {
        let picture = image::open(path(part)).expect("PNG").to_rgb8();
        picture.enumerate_pixels().filter(|(x, y, p)| *x < 160 && *y < 60 && p.0 == [240, 160, 64]).count()
    };
    assert!(
        orange("r001_S2L2A_10m_true-colour.png") > 500 && orange("mean_S2L2A") > 500 && orange("spread_S2L2A") > 500
    );
    assert_eq!(orange("observed_S2L2A"), 0);
    let decoder =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path("r001_S2L2A_10m_true")).expect("file")));
    let reader = decoder.read_info().expect("PNG");
    let texts = &reader.info().utf8_text;
    assert!(texts.iter().any(|chunk| chunk.keyword == "synthetic" && chunk.get_text().is_ok_and(|t| t == "yes")));
    // The item names every other file, and says where and that it is synthetic.
    let item: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path(".json")).expect("item")).expect("JSON");
    assert_eq!((&item["type"], &item["stac_version"]), (&"Feature".into(), &"1.1.0".into()));
    assert_eq!(item["properties"]["copgen:synthetic"], "yes");
    assert!(item["properties"]["datetime"].as_str().is_some_and(|t| t.ends_with('Z')));
    let assets = item["assets"].as_object().expect("assets");
    assert_eq!(assets.len(), 16 + 5);
    assert!(assets.values().all(|a| out.path().join(a["href"].as_str().expect("href")).exists()));
    let bbox: Vec<f64> = item["bbox"].as_array().expect("bbox").iter().filter_map(serde_json::Value::as_f64).collect();
    assert!(bbox[0] < bbox[2] && bbox[1] < bbox[3] && (-73.0..-72.0).contains(&bbox[0]), "{bbox:?}");
    let ring = item["geometry"]["coordinates"][0].as_array().expect("ring");
    assert!(ring.len() == 5 && ring[0] == ring[4]);
    // Whatever was exported brings its settings back.
    let asked = harness.state().session().run().expect("run").request.clone();
    for file in ["r000_S2L2A_10m_B04.tif", "r001_S2L2A_10m_true", "S2L2A_10m_B04_mean.tif"] {
        apply(&mut harness, Command::Ask(Question::Nothing));
        apply(&mut harness, Command::Seed(77));
        apply(&mut harness, Command::OpenPaths(vec![path(file)]));
        wait(&mut harness, file, |w| w.session().seed != 77);
        let again = harness.state().session().request().expect("request");
        assert_eq!((&again.roles, &again.set, &again.options), (&asked.roles, &asked.set, &asked.options), "{file}");
    }
}

#[test]
fn every_widget_has_a_name() {
    use egui::accesskit::Role;
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    sample(&mut harness, 2, 2);
    apply(&mut harness, Command::Spread(true));
    press(&mut harness, "Advanced");
    press(&mut harness, "Band groups of S2L2A");
    for open in [Command::ExportWindow(true), Command::SceneWindow(true), Command::ProjectWindow(true)] {
        apply(&mut harness, open);
        harness.run_steps(10);
        let roles = [
            Role::Button,
            Role::CheckBox,
            Role::ComboBox,
            Role::RadioButton,
            Role::Slider,
            Role::SpinButton,
            Role::TextInput,
        ];
        for role in roles {
            let nameless: Vec<egui::Rect> = harness
                .query_all_by_role(role)
                .filter(|node| node.accesskit_node().label().is_none_or(|label| label.trim().is_empty()))
                .map(|node| node.rect())
                .collect();
            assert!(role != Role::Button || harness.query_all_by_role(role).count() > 20, "buttons are found");
            assert!(nameless.is_empty(), "{role:?} without a name at {nameless:?}");
        }
        harness.key_press(egui::Key::Escape);
        harness.run_steps(3);
    }
}

#[test]
fn loose_rasters_become_a_scene() {
    let session = tempfile::tempdir().expect("folder");
    let files = tempfile::tempdir().expect("folder");
    let from = common::scene(common::COMPLETE);
    let copy = |name: &str, to: &str| {
        std::fs::copy(from.join(name), files.path().join(to)).expect("copy");
        files.path().join(to)
    };
    let radar = copy("S1RTC.tif", "my radar 20200411.tif");
    let optical = copy("S2L2A_10m.tif", "picture.tif");
    let height = copy("DEM.tif", "place_DEM.tif");
    let mut harness = window_with(Some(session.path().into()));
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Guide(None));
    // Radar and elevation say what they are; the four bands are of one of two levels.
    apply(&mut harness, Command::OpenPaths(vec![radar.clone(), optical, height]));
    let asks = |w: &copgen::app::ExplorerWindow| w.session().scenes.len() == 2;
    wait(&mut harness, "looking into the files", asks);
    wait_for_words(&mut harness, "What are these files?");
    press(&mut harness, "Modality of picture.tif");
    harness.get_by_role_and_label(egui::accesskit::Role::Button, "S2L2A_10m").click();
    harness.run_steps(3);
    press(&mut harness, "Open as a scene");
    wait(&mut harness, "opening", |w| {
        w.session().scenes.len() == 3 && w.session().selection == Some(Selection::Scene(2))
    });
    wait(&mut harness, "reading", observed);
    let now = harness.state().session();
    let known: Vec<&str> = now
        .table()
        .expect("table")
        .iter()
        .enumerate()
        .filter(|(i, _)| now.known(*i).is_some())
        .map(|(_, m)| m.name.as_str())
        .collect();
    assert_eq!(known, ["location", "date", "DEM", "S1RTC", "S2L2A_10m"]);
    assert!(now.request().is_ok());
    let dir = now.scenes[2].scene.dir().to_path_buf();
    // The same scene serves the command line, and comes back with the session.
    let out = tempfile::tempdir().expect("folder");
    let mut command = common::generate(&dir, out.path(), &["--given", "DEM,S1RTC", "--samples", "1", "--steps", "1"]);
    common::success(&mut command);
    // What is no raster, and what is gone, is told.
    let text = files.path().join("notes.txt");
    std::fs::write(&text, "no raster").expect("file");
    apply(&mut harness, Command::OpenPaths(vec![text]));
    wait(&mut harness, "the note", |w| w.session().notes.iter().any(|n| n.problem && n.text.contains("notes.txt")));
    std::fs::remove_file(radar).expect("removed");
    let message = common::failure(&mut common::generate(&dir, out.path(), &["--given", "S1RTC"]), 1);
    assert!(message.contains("my radar"), "{message}");
}

#[test]
fn everything_is_found_by_typing() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::K);
    harness.run_steps(3);
    harness.event(egui::Event::Text("optical radar".into()));
    harness.run_steps(3);
    harness.key_press(egui::Key::ArrowDown);
    harness.run_steps(2);
    harness.key_press(egui::Key::Enter);
    harness.run_steps(3);
    let radar = index(&harness, "S1RTC");
    assert_eq!(harness.state().session().choices.now().roles[radar], Role::Generated, "optical to radar is the second");
    assert!(harness.query_by_label("What to do").is_none());
    // Keys for the modality that is shown, and the sheet that lists them.
    let shown = harness.state().shown().modality;
    harness.key_press(egui::Key::Num3);
    harness.run_steps(3);
    assert_eq!(harness.state().session().choices.now().roles[shown], Role::Ignored);
    harness.key_press(egui::Key::F1);
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("One realisation after another").is_some());
}

#[test]
fn folds_and_families_hold_all_band_groups() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    assert!(harness.query_by_label("S2L2A_20m given").is_none());
    press(&mut harness, "S2L2A given");
    press(&mut harness, "Band groups of S2L2A");
    harness.run_steps(20);
    press(&mut harness, "S2L2A_20m generated");
    let roles = ["S2L2A_10m", "S2L2A_20m", "S2L2A_60m"].map(|name| index(&harness, name));
    let roles = roles.map(|i| harness.state().session().choices.now().roles[i]);
    assert_eq!(roles, [Role::Given, Role::Generated, Role::Given]);
    assert!(harness.query_by_label_contains("mixed").is_some());
    apply(&mut harness, Command::Undo);
    apply(&mut harness, Command::Undo);
    assert!(harness.query_by_label_contains("mixed").is_none());
}

#[test]
fn small_windows_hold_everything_that_is_needed() {
    for (size, scale) in
        [(egui::vec2(1280.0, 720.0), 1.0), (egui::vec2(1280.0, 720.0), 2.0), (egui::vec2(1100.0, 640.0), 1.0)]
    {
        let mut harness = window_of(None, size);
        harness.set_pixels_per_point(scale);
        wait(&mut harness, "reading the first scene", observed);
        sample(&mut harness, 2, 2);
        let screen = egui::Rect::from_min_size(egui::Pos2::ZERO, size);
        for name in [
            "Generate",
            "Realisations",
            "Show realisation 0",
            "Export …",
            "Zoom in",
            "Find a place",
            "Variance over realisations",
        ] {
            let rect = harness.get_all_by_label(name).next().unwrap_or_else(|| panic!("{name}")).rect();
            assert!(screen.expand(1.0).contains_rect(rect), "{name} at {rect:?} of {size:?}");
        }
        harness.render().expect("a picture");
    }
}

#[test]
fn panels_and_dialogs_look_as_they_did() {
    let mut harness = window();
    wait(&mut harness, "reading the scenes", |w| observed(w) && w.session().scenes.len() == 2);
    for (name, open, close) in [
        ("keys", Command::KeySheet(true), Command::KeySheet(false)),
        ("open", Command::SceneWindow(true), Command::SceneWindow(false)),
        ("save", Command::ProjectWindow(true), Command::ProjectWindow(false)),
        ("palette", Command::Palette(true), Command::Palette(false)),
        ("guide", Command::Guide(Some(GuideStep::Look)), Command::Guide(None)),
        ("light", Command::Theme(egui::Theme::Light), Command::Theme(egui::Theme::Dark)),
    ] {
        apply(&mut harness, open);
        snapshot(&mut harness, name);
        apply(&mut harness, close);
        harness.run_steps(5);
    }
}

#[test]
fn what_is_seen_of_a_run_looks_as_it_did() {
    let mut harness = window();
    wait(&mut harness, "reading the scenes", |w| observed(w) && w.session().scenes.len() == 2);
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 3, 4);
    apply(&mut harness, Command::Spread(true));
    snapshot(&mut harness, "gallery");
    apply(&mut harness, Command::Spread(false));
    apply(&mut harness, Command::Inspect(Some(Spot { x: 0.6, y: 0.4 })));
    snapshot(&mut harness, "inspector");
    apply(&mut harness, Command::Inspect(None));
    apply(&mut harness, Command::Area(Some([Spot { x: 0.5, y: 0.3 }, Spot { x: 0.9, y: 0.8 }])));
    wait(&mut harness, "counting", |w| w.shown().area_figures.is_some());
    snapshot(&mut harness, "area");
    apply(&mut harness, Command::Area(None));
    apply(&mut harness, Command::ExportWindow(true));
    snapshot(&mut harness, "export");
    apply(&mut harness, Command::ExportWindow(false));
    press(&mut harness, "Paint LULC");
    snapshot(&mut harness, "brush");
}

#[test]
fn a_session_that_cannot_be_read_is_set_aside_with_its_runs() {
    let dir = tempfile::tempdir().expect("folder");
    let run = dir.path().join("run-1700000000000");
    std::fs::create_dir(&run).expect("a run");
    std::fs::write(run.join("000000.safetensors"), "of a newer program").expect("a realisation");
    std::fs::write(dir.path().join("project.json"), "{\"version\": 99}").expect("of a newer program");
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "the note", |w| w.session().notes.iter().any(|n| n.text.contains("it is kept as")));
    apply(&mut harness, Command::Pick(Selection::Scene(0)));
    wait(&mut harness, "reading", observed);
    sample(&mut harness, 2, 2);
    let written = |dir: &Path| copgen::project::Project::read(dir).is_ok_and(|p| p.runs.len() == 1);
    wait(&mut harness, "keeping", |_| written(dir.path()));
    assert!(run.join("000000.safetensors").exists(), "nothing is deleted that was not understood");
    let aside = common::files(dir.path()).into_iter().filter(|name| name.starts_with("project-unread")).count();
    assert_eq!(aside, 1);
}

#[test]
fn runs_whose_scene_is_gone_stay_named() {
    let dir = tempfile::tempdir().expect("folder");
    let place = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(common::COMPLETE, place.path());
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::OpenScene(scene.clone()));
    wait(&mut harness, "opening", |w| w.session().selection == Some(Selection::Scene(2)) && observed(w));
    sample(&mut harness, 2, 2);
    let kept = |dir: &Path| copgen::project::Project::read(dir).is_ok_and(|p| p.runs.len() == 1 && p.scenes.len() == 3);
    wait(&mut harness, "keeping", |_| kept(dir.path()));
    drop(harness);
    let hidden = place.path().join("elsewhere");
    std::fs::rename(&scene, &hidden).expect("the disk is gone");
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "the note", |w| w.session().notes.iter().any(|n| n.text.contains("A run cannot be shown")));
    apply(&mut harness, Command::Pick(Selection::Scene(0)));
    wait(&mut harness, "reading", observed);
    apply(&mut harness, Command::Seed(5));
    wait(&mut harness, "keeping", |_| copgen::project::Project::read(dir.path()).is_ok_and(|p| p.seed == 5));
    assert!(kept(dir.path()), "run and scene are still named");
    drop(harness);
    std::fs::rename(hidden, &scene).expect("the disk is back");
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "coming back", |w| w.session().runs.all().len() == 1);
    assert_eq!(harness.state().session().runs.all()[0].realisations.len(), 2);
}

#[test]
fn what_was_generated_is_not_taken_for_observed() {
    let out = tempfile::tempdir().expect("folder");
    let scene = common::scene(common::COMPLETE);
    common::success(&mut common::generate(&scene, out.path(), &["--given", "DEM", "--samples", "1", "--steps", "1"]));
    let named =
        |part: &str| out.path().join(common::files(out.path()).into_iter().find(|n| n.contains(part)).expect(part));
    let pair = vec![named("S1RTC"), named("LULC")];
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::OpenPaths(pair));
    wait(&mut harness, "the notes", |w| {
        w.session().notes.iter().filter(|n| n.text.contains("is no observation")).count() == 2
    });
    assert_eq!(harness.state().session().scenes.len(), 2);
    // A folder of them says so.
    let folder = out.path().join("folder");
    std::fs::create_dir(&folder).expect("folder");
    std::fs::copy(named("S1RTC"), folder.join("S1RTC.tif")).expect("copy");
    apply(&mut harness, Command::OpenScene(folder));
    wait(&mut harness, "the note", |w| {
        observed(w) && w.session().notes.iter().any(|n| n.text.contains("S1RTC is no observation"))
    });
}

#[test]
fn an_export_that_would_replace_a_file_writes_none() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 2, 2);
    let out = tempfile::tempdir().expect("folder");
    let names = export_with(&mut harness, out.path(), &["STAC item"]);
    let before = names.len();
    // All but one are taken away: the next export meets its own file and leaves the rest alone.
    for name in names.iter().filter(|name| !name.ends_with("item.json")) {
        std::fs::remove_file(out.path().join(name)).expect("removed");
    }
    press(&mut harness, "Export …");
    press(&mut harness, "Write files");
    wait_for_words(&mut harness, "exists already");
    assert_eq!(common::files(out.path()).len(), 1, "of {before}");
}

#[test]
fn what_opens_late_does_not_replace_what_was_picked_meanwhile() {
    let place = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(common::COMPLETE, place.path());
    let project = place.path().join("project");
    let mut harness = window();
    wait(&mut harness, "reading the scenes", |w| observed(w) && w.session().scenes.len() == 2);
    sample(&mut harness, 2, 2);
    apply(&mut harness, Command::SaveProject(project.clone()));
    wait(&mut harness, "saving", |w| w.session().notes.iter().any(|note| note.text.contains("was saved")));
    drop(harness);
    let mut harness = window();
    wait(&mut harness, "reading the scenes", |w| observed(w) && w.session().scenes.len() == 2);
    // Both before any answer is taken, as from a slow disk.
    for (late, name, scenes, runs) in [(scene, "618U_30L", 3, 0), (project, "619U_30L", 3, 1)] {
        let cell = Selection::Cell(name.parse().expect("cell"));
        harness.state_mut().apply(Command::OpenScene(late));
        harness.state_mut().apply(Command::Pick(cell.clone()));
        let opened = |w: &copgen::app::ExplorerWindow| (w.session().scenes.len(), w.session().runs.all().len());
        wait(&mut harness, "opening", |w| opened(w) == (scenes, runs) && observed(w));
        let session = harness.state().session();
        assert_eq!(session.selection, Some(cell.clone()));
        assert_eq!(session.observed.as_ref().map(|o| o.observation.tile.as_str()), Some(name));
    }
}

#[test]
fn a_map_file_that_opens_late_does_not_replace_a_newer_choice() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let path = common::project("assets/basemap/world.pmtiles");
    let own = LayerId::File(path.clone());
    // Both before any answer is taken, as from a slow disk.
    harness.state_mut().apply(Command::OpenPaths(vec![path]));
    harness.state_mut().apply(Command::Basemap(LayerId::Bundled));
    wait(&mut harness, "opening", |w| w.session().layers.all().contains(&own));
    assert_eq!(*harness.state().session().layers.shown(), LayerId::Bundled);
    // It is in the list, and shown once it is the newest choice.
    apply(&mut harness, Command::Basemap(own.clone()));
    wait(&mut harness, "showing", |w| *w.session().layers.shown() == own);
}

#[test]
fn the_network_stays_off_at_the_next_start() {
    let dir = tempfile::tempdir().expect("folder");
    let open = || window_opening(options(Some(dir.path().to_path_buf())));
    let mut harness = open();
    assert!(!harness.state().session().offline);
    apply(&mut harness, Command::Offline(true));
    apply(&mut harness, Command::Theme(egui::Theme::Light));
    let written = || std::fs::read_to_string(dir.path().join("window.json")).unwrap_or_default();
    wait(&mut harness, "keeping", |_| written().contains("\"light\":true") && written().contains("\"offline\":true"));
    drop(harness);
    // The harness has colours of its own, whatever the window says.
    assert!(open().state().session().offline);
}
