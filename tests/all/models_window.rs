//! Models of pictures, and the list of models in the window.

use crate::common::harness::{apply, options, press, wait, window_opening};
use crate::common::mirror::{Mirror, network, on, thumbnails, tiny};
use crate::common::published::{write_autoencoder, write_denoiser};
use crate::common::server::{Fault, Reply, Seen};
use crate::common::{self, failure, files, generate, project, success};
use copgen::Result;
use copgen::app::{Command, ExplorerWindow, Options};
use copgen::hub::{Catalogue, Hub, InstallRequest, Progress, State};
use copgen::model::{Engine, Model};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_model_of_pictures_runs_from_data_alone() {
    let dir = tempfile::tempdir().expect("folder");
    let models = dir.path().join("models");
    let entry = Catalogue::bundled().get("cop-gen-beta").cloned().expect("entry");
    let published = dir.path().join("published");
    write_denoiser(&published.join("nnet_ema_114000.pth"), &entry.modalities);
    write_autoencoder(&published.join("autoencoder_kl_ema.pth"), 3, 4);
    success(on(&models).args(["models", "import", "cop-gen-beta", "--from"]).arg(&published));
    let folder = models.join("cop-gen-beta");
    // The autoencoder of all four is stored once, and loaded once.
    let names: Vec<String> = files(&folder).into_iter().filter(|name| name.ends_with("safetensors")).collect();
    assert_eq!(names, ["autoencoder.safetensors", "denoiser.safetensors"]);
    let model = Model::open(&folder, &Engine::cpu()).expect("model");
    let codec = model.autoencoder(0).expect("autoencoder");
    assert!((1..4).all(|i| std::sync::Arc::ptr_eq(&codec, &model.autoencoder(i).expect("autoencoder"))));

    let scene = thumbnails(dir.path(), ["png", "jpg"]);
    let out = dir.path().join("out");
    let mut command = on(&models);
    command.args(["generate", "--model", "cop-gen-beta", "--given", "DEM,S2L2A", "--samples", "2", "--steps", "2"]);
    // The first of sixteen windows of the middle 1024 pixels.
    command.args(["--window", "220,220", "--device", "cpu", "--scene"]).arg(&scene).arg("--out").arg(&out);
    success(&mut command);
    let made = files(&out);
    let path = out.join(made.iter().find(|name| name.ends_with("r000_S1RTC.tif")).expect("a picture"));
    let raster = gdal::Dataset::open(&path).expect("raster");
    use gdal::Metadata;
    assert_eq!((raster.raster_size(), raster.raster_count()), ((256, 256), 3));
    assert_eq!(raster.rasterband(1).expect("band").band_type(), gdal::raster::GdalDataType::UInt8);
    assert!(raster.spatial_ref().is_err(), "it lies nowhere on Earth");
    for (key, value) in [("unit", "picture, no unit"), ("synthetic", "yes"), ("model", "COP-GEN-Beta")] {
        assert_eq!(raster.metadata_item(key, "").as_deref(), Some(value));
    }
    assert!(raster.metadata_item("TIFFTAG_IMAGEDESCRIPTION", "").expect("text").contains("without units"));
    // Windows begin at whole pixels, and stay inside.
    let mut beside = on(&models);
    beside.args(["generate", "--model", "cop-gen-beta", "--given", "DEM", "--samples", "1", "--steps", "1"]);
    beside.args(["--window", "225,220", "--scene"]).arg(&scene).arg("--out").arg(dir.path().join("beside"));
    assert!(failure(&mut beside, 2).contains("multiples of 10 m"));
    // The other model finds nothing to read there, and says so.
    let told = failure(&mut generate(&scene, &dir.path().join("demo"), &["--given", "DEM", "--samples", "1"]), 2);
    assert!(told.contains("has no DEM"), "{told}");
}

#[test]
fn pictures_are_read_as_colours_and_what_is_none_is_refused() {
    use copgen::scene::{Scene, Window};
    let dir = tempfile::tempdir().expect("folder");
    let entry = Catalogue::bundled().get("cop-gen-beta").cloned().expect("entry");
    let table = entry.modalities;
    let read = |name: &str| -> Result<Vec<f32>> {
        let opened = Scene::open(&dir.path().join("place"))?;
        let i = table.index(name).expect("modality");
        let window = opened.window(table.window_m(), Window::At { east_m: 10.0, south_m: 0.0 })?;
        let observation = opened.read(&table, &window, &[i])?;
        let given = observation.values[i].clone().expect("value");
        Ok(given.value.image().expect("pixels").data.clone())
    };
    let place = dir.path().join("place");
    std::fs::create_dir_all(&place).expect("folder");
    let side = 300;
    let grey = image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x / 2 + y / 3) as u8]));
    grey.save(place.join("DEM.png")).expect("picture");
    let clear = image::RgbaImage::from_fn(side, side, |x, y| image::Rgba([x as u8, y as u8, 7, 90]));
    clear.save(place.join("S2L2A.png")).expect("picture");
    let deep = image::ImageBuffer::<image::Luma<u16>, Vec<u16>>::from_pixel(side, side, image::Luma([40_000]));
    deep.save(place.join("S2L1C.png")).expect("picture");
    let n = 256 * 256;
    let data = read("DEM").expect("grey");
    assert!(data[..n] == data[n..2 * n] && data[..n] == data[2 * n..], "grey stands for all three");
    // The window begins one pixel east.
    assert_eq!((data[1], data[256]), (1.0, 0.0));
    let data = read("S2L2A").expect("colours");
    assert_eq!((data[0], data[n], data[2 * n], data.len()), (1.0, 0.0, 7.0, 3 * n));
    let error = read("S2L1C").expect_err("16 bits").to_string();
    assert!(error.contains("8-bit") && error.contains("S2L1C.png"), "{error}");
    assert!(read("S1RTC").expect_err("missing").to_string().contains("no S1RTC"));
    // Pictures nobody named after a modality are no scene.
    let holiday = dir.path().join("holiday");
    std::fs::create_dir_all(&holiday).expect("folder");
    grey.save(holiday.join("beach.png")).expect("picture");
    assert!(Scene::open(&holiday).expect_err("no scene").to_string().contains("holds no modality"));
}

fn window(models: &Path, mirror: &Mirror) -> Harness<'static, ExplorerWindow> {
    let dir = models.parent().expect("folder");
    let options = Options {
        scenes: vec![thumbnails(dir, ["png", "png"])],
        models: Some(models.to_path_buf()),
        hub: Hub::at(&mirror.hub.url),
        network: network(),
        ..options(None)
    };
    window_opening(options)
}

fn listed(window: &ExplorerWindow) -> Option<State> {
    Some(window.models().listed.iter().find(|listed| listed.id == "tiny")?.state.clone())
}

fn outcome(window: &ExplorerWindow) -> String {
    window.models().outcomes.get("tiny").map(|outcome| outcome.text.clone()).unwrap_or_default()
}

/// What the hub says of a file, once it may.
fn late_answer(mirror: &Mirror, may: Arc<AtomicBool>) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let to = format!("{}/some/where/shared.pth", mirror.storage.url);
    move |_| {
        while !may.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let reply = Reply::new("text/plain", "moved").status(302).header("location", &to);
        reply.header("x-linked-etag", "\"v1\"").header("x-linked-size", "1000000")
    }
}

#[test]
fn models_are_fetched_used_and_removed_in_the_window() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, _, mirror) = tiny(dir.path());
    let mut harness = window(&models, &mirror);
    wait(&mut harness, "reading", |window| window.session().observed.is_some());
    press(&mut harness, "Models");
    wait(&mut harness, "listing", |window| listed(window) == Some(State::Absent));
    // A server that refuses: a sentence, not a crash.
    mirror.hub.fail("/some", Fault::Status(403), 9);
    apply(&mut harness, Command::FetchModel(InstallRequest { id: "tiny".into(), ..InstallRequest::default() }));
    wait(&mut harness, "refusal", |window| outcome(window).contains("HF_TOKEN"));
    mirror.hub.heal();
    // Stopped while the last file is looked for: it does not begin by itself at the next start.
    let may = Arc::new(AtomicBool::new(false));
    mirror.hub.handle("/some/where/resolve/main/shared.pth", late_answer(&mirror, may.clone()));
    let asked = |mirror: &Mirror| mirror.hub.seen().iter().filter(|seen| seen.path.ends_with("shared.pth")).count();
    let before = asked(&mirror);
    apply(&mut harness, Command::FetchModel(InstallRequest { id: "tiny".into(), ..InstallRequest::default() }));
    wait(&mut harness, "looking", |_| asked(&mirror) > before);
    apply(&mut harness, Command::StopModel("tiny".into()));
    may.store(true, Ordering::Relaxed);
    wait(&mut harness, "stopping", |window| outcome(window).contains("Stopped"));
    wait(&mut harness, "pause", |_| models.join("tiny/paused").exists());
    mirror.put("some/where", "shared.pth", &dir.path().join("published/shared.pth"));
    wait(&mut harness, "listing", |window| listed(window) == Some(State::Begun));
    // Stopped in the middle of the last file, some 20 s long, with the list closed meanwhile.
    mirror.storage.fail("/some/where/shared.pth", Fault::Slow(1_000, Duration::from_millis(20)), 1);
    harness.get_by_label("Download tiny").scroll_to_me();
    harness.run_steps(3);
    press(&mut harness, "Download tiny");
    let far = |window: &ExplorerWindow| {
        let last = |now: &Progress| now.what.contains("downloading the autoencoder") && now.bytes_per_s > 0.0;
        window.models().going.get("tiny").is_some_and(|going| last(&going.progress))
    };
    wait(&mut harness, "progress", far);
    apply(&mut harness, Command::ModelsWindow(false));
    assert!(far(harness.state()), "it goes on without its window");
    apply(&mut harness, Command::ModelsWindow(true));
    harness.get_by_label("Cancel tiny").scroll_to_me();
    harness.run_steps(3);
    press(&mut harness, "Cancel tiny");
    wait(&mut harness, "stopping", |window| {
        listed(window) == Some(State::Begun) && outcome(window).contains("Stopped")
    });
    drop(harness);

    // What was stopped waits; what was interrupted goes on at the next start.
    let mut harness = window(&models, &mirror);
    wait(&mut harness, "listing", |window| listed(window) == Some(State::Begun));
    std::thread::sleep(Duration::from_millis(200));
    harness.run_steps(3);
    assert!(harness.state().models().going.is_empty());
    drop(harness);
    std::fs::remove_file(models.join("tiny/paused")).expect("paused");
    let mut harness = window(&models, &mirror);
    wait(&mut harness, "going on", |window| listed(window) == Some(State::Installed));
    wait(&mut harness, "reading", |window| window.session().observed.is_some());
    apply(&mut harness, Command::ModelsWindow(true));

    harness.get_by_label("Verify tiny").scroll_to_me();
    harness.run_steps(3);
    press(&mut harness, "Verify tiny");
    wait(&mut harness, "checking", |window| outcome(window).contains("All 2 files"));
    press(&mut harness, "Use tiny");
    let name = |window: &ExplorerWindow| window.session().model.as_ref().map(|model| model.manifest.name.clone());
    wait(&mut harness, "another model", |window| name(window) == Some("Tiny".into()));
    apply(&mut harness, Command::ModelsWindow(false));
    // A scene of pictures makes sense to it, and it samples there.
    let at =
        harness.state().session().scenes.iter().position(|known| known.scene.name() == "thumbnails").expect("scene");
    apply(&mut harness, Command::Pick(copgen::app::Selection::Scene(at)));
    wait(&mut harness, "pictures", |window| window.session().known(1).is_some());
    harness.get_by_label_contains("colours without units");
    apply(&mut harness, Command::Steps(20));
    apply(&mut harness, Command::Samples(8));
    apply(&mut harness, Command::Role(0, copgen::sampler::Role::Given));
    apply(&mut harness, Command::Generate);
    // Parts that are fetched meanwhile are taken over once it has ended.
    let model = |window: &ExplorerWindow| window.session().model.clone().expect("model");
    let before = model(harness.state());
    apply(&mut harness, Command::FetchModel(InstallRequest { id: "tiny".into(), ..InstallRequest::default() }));
    wait(&mut harness, "nothing to fetch", |window| outcome(window).contains("is installed"));
    wait(&mut harness, "sampling", common::harness::sampled);
    wait(&mut harness, "taking over", |window| !Arc::ptr_eq(&before, &model(window)));
    // The runs of one table keep another from being used; what is in use is not removed.
    apply(&mut harness, Command::UseModel(project("models/demo")));
    wait(&mut harness, "refusal", |window| {
        window.session().notes.iter().any(|note| note.text.contains("other modalities"))
    });
    assert_eq!(name(harness.state()), Some("Tiny".into()));
    apply(&mut harness, Command::RemoveModel("tiny".into()));
    assert!(outcome(harness.state()).contains("in use"));
    apply(&mut harness, Command::ForgetRun(0));
    apply(&mut harness, Command::UseModel(project("models/demo")));
    wait(&mut harness, "the first model", |window| name(window) != Some("Tiny".into()));
    apply(&mut harness, Command::ModelsWindow(true));
    harness.get_by_label("Remove tiny").scroll_to_me();
    harness.run_steps(3);
    press(&mut harness, "Remove tiny");
    assert_eq!(listed(harness.state()), Some(State::Installed), "it asks once more");
    press(&mut harness, "Remove for good? tiny");
    wait(&mut harness, "removal", |window| listed(window) == Some(State::Absent));
    assert!(!models.join("tiny").exists());
}

#[test]
fn a_model_with_a_broken_manifest_is_shown_with_the_reason_and_removed() {
    let dir = tempfile::tempdir().expect("folder");
    let (models, _, mirror) = tiny(dir.path());
    std::fs::create_dir(models.join("mine")).expect("folder");
    std::fs::write(models.join("mine/manifest.json"), "{").expect("written");
    let mut harness = window(&models, &mirror);
    let broken = |window: &ExplorerWindow| window.models().listed.iter().any(|listed| listed.id == "mine");
    press(&mut harness, "Models");
    wait(&mut harness, "listing", broken);
    harness.get_by_label("Remove mine").scroll_to_me();
    harness.run_steps(3);
    harness.get_by_label_contains("This is not a model manifest");
    assert!(harness.query_by_label("Use mine").is_none() && harness.query_by_label("Verify mine").is_none());
    press(&mut harness, "Remove mine");
    press(&mut harness, "Remove for good? mine");
    wait(&mut harness, "removal", |window| !broken(window));
    assert!(!models.join("mine").exists());
}
