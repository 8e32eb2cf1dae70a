//! Bad input: a sentence that says what to do, the right exit code, nothing half written, never a panic.

use crate::common::{
    self, COMPLETE, copgen, copy_scene, failure, files, generate, peak_memory, project, scene, success,
};
use gdal::raster::Buffer;
use gdal::{Dataset, DriverManager};
use std::path::Path;

const QUICK: [&str; 6] = ["--generate", "S2L2A_60m", "--samples", "1", "--steps", "1"];

/// Runs on a scene that was damaged; it must fail with exit code 1 and write nothing.
fn refused(scene: &Path, given: &str) -> String {
    let out = scene.join("out");
    let message = failure(generate(scene, &out, &QUICK).args(["--given", given]), 1);
    assert!(files(&out).is_empty(), "{:?} was left behind", files(&out));
    assert!(message.lines().filter(|line| !line.is_empty() && !line.starts_with("note:")).count() == 1, "{message}");
    message
}

/// A GeoTIFF like `like`, with other pixels or another grid.
fn rewrite(path: &Path, size: (usize, usize), transform: [f64; 6], epsg: u32, value: impl Fn(usize) -> f32) {
    let driver = DriverManager::get_driver_by_name("GTiff").expect("driver");
    let mut dataset: Dataset = driver.create_with_band_type::<f32, _>(path, size.0, size.1, 1).expect("file");
    dataset.set_geo_transform(&transform).expect("transform");
    dataset.set_spatial_ref(&gdal::spatial_ref::SpatialRef::from_epsg(epsg).expect("system")).expect("system");
    let mut buffer = Buffer::new(size, (0..size.0 * size.1).map(value).collect());
    dataset.rasterband(1).expect("band").write((0, 0), size, &mut buffer).expect("write");
}

fn grid(scene: &Path, file: &str) -> ((usize, usize), [f64; 6]) {
    let dataset = Dataset::open(scene.join(file)).expect("raster");
    (dataset.raster_size(), dataset.geo_transform().expect("transform"))
}

#[test]
fn wrong_arguments_are_told_from_failed_jobs() {
    let out = tempfile::tempdir().expect("folder");
    for (arguments, word) in [
        (vec!["--given", "S3"], "S3"),
        (vec!["--given", "DEM", "--generate", "DEM"], "both given and to be generated"),
        (vec!["--set", "date=yesterday"], "2023-04-19"),
        (vec!["--set", "location=95,0"], "latitude"),
        (vec!["--set", "LULC=lava"], "Water"),
        (vec!["--set", "LULC"], "NAME=VALUE"),
        (vec!["--samples", "0"], "at least 1"),
        (vec!["--batch", "0"], "at least 1"),
        (vec!["--steps", "0"], "1 to 1000"),
        (vec!["--steps", "1001"], "1 to 1000"),
        (vec!["--seed=-1"], "seed"),
        (vec!["--window", "0,30"], "multiples of 60"),
        (vec!["--window", "99960,0"], "leaves the scene"),
        (vec!["--window", "nan,0"], "leaves the scene"),
        (vec!["--window", "here"], "metres east and south"),
        (vec!["--given", "location,date,DEM,LULC,S1RTC,S2L1C,S2L2A,cloud_mask"], "Nothing is left"),
    ] {
        let message = failure(&mut generate(&scene(COMPLETE), out.path(), &arguments), 2);
        assert!(message.contains(word), "{arguments:?}: {message}");
    }
    failure(copgen().args(["generate", "--out", "x"]), 2);
    failure(copgen().arg("paint"), 2);
    assert!(files(out.path()).is_empty());
}

#[test]
fn a_missing_scene_or_modality_is_named() {
    let out = tempfile::tempdir().expect("folder");
    let run =
        |dir: &Path, given: &str| failure(generate(dir, &out.path().join("o"), &QUICK).args(["--given", given]), 1);
    assert!(run(&out.path().join("nowhere"), "DEM").contains("no such scene folder"));
    assert!(run(&scene(COMPLETE).join("DEM.tif"), "DEM").contains("name the folder"));
    assert!(run(out.path(), "DEM").contains("holds no modality"));
    let message = failure(
        generate(&scene("newzealand_T60HWB_2020-10-02"), &out.path().join("o"), &QUICK).args(["--given", "DEM"]),
        2,
    );
    assert!(message.contains("newzealand") && message.contains("DEM"), "{message}");
}

#[test]
fn files_that_are_no_rasters_or_end_early_are_named() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene(COMPLETE, dir.path());
    let path = scene.join("DEM.tif");
    let whole = std::fs::read(&path).expect("raster");
    std::fs::write(&path, "elevation: high").expect("write");
    let message = refused(&scene, "DEM");
    assert!(message.contains("not a raster") && message.contains("DEM.tif"), "{message}");
    std::fs::write(&path, "").expect("write");
    assert!(refused(&scene, "DEM").contains("DEM.tif"));
    for part in 1..12 {
        std::fs::write(&path, &whole[..whole.len() * part / 12]).expect("write");
        // A cut may fall behind all that is needed; it must then be read as it was.
        let out = scene.join("out");
        let output = generate(&scene, &out, &QUICK).args(["--given", "DEM"]).output().expect("run");
        assert!(output.status.code() == Some(1), "part {part}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(files(&out).is_empty());
    }
    std::fs::write(scene.join("scene.json"), "{").expect("write");
    std::fs::write(&path, &whole).expect("write");
    assert!(refused(&scene, "DEM").contains("scene.json"));
}

#[test]
fn wrong_grids_are_refused_with_what_was_found_and_expected() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene(COMPLETE, dir.path());
    let (size, t) = grid(&scene, "DEM.tif");
    let path = scene.join("DEM.tif");
    let moved = |east: f64| [t[0] + east, t[1], 0.0, t[3], 0.0, t[5]];
    for (name, size, transform, epsg, words) in [
        ("resolution", size, [t[0], 25.0, 0.0, t[3], 0.0, -25.0], 32718, ["30 m", "25 m"]),
        ("half a pixel off", size, moved(14.0), 32718, ["line up", "0.4"]),
        ("another zone", size, t, 32719, ["EPSG:32719", "EPSG:32718"]),
        ("too small", (20, 20), t, 32718, ["20 × 20", "does not fit"]),
        ("elsewhere", size, moved(90_000.0), 32718, ["outside", "DEM.tif"]),
    ] {
        println!("{name}");
        rewrite(&path, size, transform, epsg, |_| 300.0);
        let message = refused(&scene, "DEM");
        assert!(words.iter().all(|word| message.contains(word)) && message.contains("DEM.tif"), "{name}: {message}");
    }
    rewrite(&path, size, [t[0], 30.0, 5.0, t[3], 5.0, -30.0], 32718, |_| 300.0);
    assert!(refused(&scene, "DEM").contains("rotated"));
    let side = size.0;
    rewrite(&path, size, t, 32718, |i| if i / side < side * 3 / 5 { f32::NAN } else { 300.0 });
    let message = refused(&scene, "DEM");
    assert!(
        message.contains("DEM.tif") && message.contains("no data") && message.contains("another window"),
        "{message}"
    );
}

#[test]
fn grids_that_are_not_metres_on_the_ground_are_refused_also_when_they_only_set_the_extent() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = dir.path().join("degrees");
    std::fs::create_dir(&scene).expect("folder");
    let path = scene.join("LULC.tif");
    for (transform, epsg, word) in [
        ([-72.5, 0.0001, 0.0, -38.8, 0.0, -0.0001], 4326, "EPSG:4326"),
        ([-8e6, 10.0, 0.0, -4.7e6, 0.0, -10.0], 3857, "EPSG:3857"),
        ([700_000.0, 5.0, 0.0, 5.7e6, 0.0, -5.0], 32718, "5 m"),
    ] {
        rewrite(&path, (300, 300), transform, epsg, |_| 2.0);
        let message = refused(&scene, "location");
        assert!(message.contains(word) && message.contains("gdalwarp"), "{message}");
    }
}

#[test]
fn a_band_without_a_name_is_not_taken_for_several() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene(COMPLETE, dir.path());
    let (size, t) = grid(&scene, "S1RTC.tif");
    rewrite(&scene.join("S1RTC.tif"), size, t, 32718, |_| 0.1);
    let message = refused(&scene, "S1RTC");
    assert!(message.contains("Band vv is missing"), "{message}");
}

#[test]
fn one_bad_file_does_not_spoil_the_others() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene(COMPLETE, dir.path());
    std::fs::write(scene.join("DEM.tif"), "elevation: high").expect("write");
    let out = scene.join("out");
    success(generate(&scene, &out, &QUICK).args(["--given", "LULC"]));
}

#[test]
fn suspicious_values_are_told_and_not_changed_silently() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene(COMPLETE, dir.path());
    let noted = |given: &str| {
        let out = tempfile::tempdir().expect("folder");
        let output = generate(&scene, out.path(), &QUICK).args(["--given", given]).output().expect("run");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text
    };
    let (size, t) = grid(&scene, "LULC.tif");
    rewrite(&scene.join("LULC.tif"), size, t, 32718, |i| if i % 7 == 0 { 203.0 } else { 2.0 });
    let text = noted("LULC");
    assert!(text.contains("unknown class code 203 (14.3 % of the window)") && text.contains("LULC.tif"), "{text}");
    let (size, t) = grid(&scene, "DEM.tif");
    rewrite(&scene.join("DEM.tif"), size, t, 32718, |i| if i % 2 == 0 { -3.0 } else { 8.0 });
    assert!(noted("DEM").contains("at or below 0 m"));
    // Radar in decibels, reflectance 0–1, an offset that was not removed: each with its own band names.
    let like = |file: &str, change: &dyn Fn(f32) -> f32| {
        let source = Dataset::open(common::scene(COMPLETE).join(file)).expect("raster");
        let driver = DriverManager::get_driver_by_name("GTiff").expect("driver");
        let size = source.raster_size();
        let count = source.raster_count();
        let mut target = driver.create_with_band_type::<f32, _>(scene.join(file), size.0, size.1, count).expect("file");
        target.set_geo_transform(&source.geo_transform().expect("transform")).expect("transform");
        target.set_spatial_ref(&source.spatial_ref().expect("system")).expect("system");
        for i in 1..=count {
            let from = source.rasterband(i).expect("band");
            let mut buffer = from.read_as::<f32>((0, 0), size, size, None).expect("pixels");
            buffer.data_mut().iter_mut().for_each(|v| *v = change(*v));
            let mut to = target.rasterband(i).expect("band");
            to.write((0, 0), size, &mut buffer).expect("write");
            gdal::Metadata::set_description(&mut to, &gdal::Metadata::description(&from).expect("name")).expect("name");
        }
    };
    like("S1RTC.tif", &|v| 10.0 * v.max(1e-6).log10());
    assert!(noted("S1RTC").contains("looks like decibels"));
    like("S2L2A_10m.tif", &|v| v / 10_000.0);
    assert!(noted("S2L2A_10m").contains("reflectance 0–1"));
    // Where the scene says that there is no offset, that counts; its day says nothing, since old images are processed anew.
    like("S2L1C_60m.tif", &|v| v + 1000.0);
    for (day, conversions, told) in [
        ("2020-06-01", "", true),
        ("2023-06-01", "", true),
        ("2020-06-01", "S2L1C: no offset (2020)", false),
        ("2023-06-01", "offset of 1000 removed", false),
        ("2023-06-01", "nothing is known of an offset", true),
    ] {
        let text = format!(r#"{{"dates": {{"S2L1C": "{day}"}}, "conversions": ["{conversions}"]}}"#);
        std::fs::write(scene.join("scene.json"), text).expect("write");
        assert_eq!(noted("S2L1C_60m").contains("offset of 1000"), told, "{day} {conversions}");
    }
}

#[test]
fn a_scene_smaller_than_the_window_is_refused() {
    // 96 px hold the demonstration model's window of 960 m exactly; the published one needs 1920 m.
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene("slovenia_2015-08-20", dir.path());
    let (size, t) = grid(&scene, "LULC.tif");
    for entry in std::fs::read_dir(&scene).expect("scene") {
        std::fs::remove_file(entry.expect("entry").path()).expect("remove");
    }
    rewrite(&scene.join("LULC.tif"), (size.0 - 6, size.1 - 6), t, 32633, |_| 2.0);
    let message = refused(&scene, "LULC");
    assert!(message.contains("960 × 960 m"), "{message}");
}

#[test]
fn folders_that_cannot_be_written_to_are_named_before_any_work() {
    let dir = tempfile::tempdir().expect("folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("write");
    let message = failure(generate(&scene(COMPLETE), &file.join("out"), &QUICK).args(["--given", "DEM"]), 1);
    assert!(message.contains("file/out"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("folder");
    let out = dir.path().join("out");
    // No file may grow beyond 4 KiB: the same failed write as on a full disk, without filling one.
    let mut command = assert_cmd::Command::new("sh");
    command.env("COPGEN_HOME", env!("CARGO_MANIFEST_DIR"));
    command.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_copgen")]);
    command.args([
        "generate",
        "--samples",
        "1",
        "--steps",
        "1",
        "--given",
        "DEM",
        "--generate",
        "S2L2A_10m",
        "--scene",
    ]);
    command.arg(scene(COMPLETE)).arg("--out").arg(&out);
    let message = failure(&mut command, 1);
    assert!(message.contains("disk may be full"), "{message}");
    // The file that could not be written is named as the user would find it.
    let file = out.join("433D_629L_3_1_e600_s600_seed0_r000_S2L2A_10m.tif");
    assert!(message.trim_end().ends_with(&format!("File: {}", file.display())), "{message}");
    assert!(!out.exists(), "{:?} was left behind", files(&out));
}

#[cfg(unix)]
#[test]
fn of_a_run_that_cannot_be_written_to_its_end_the_finished_realisations_stay() {
    let dir = tempfile::tempdir().expect("folder");
    let out = dir.path().join("out");
    // Enough for a small GeoTIFF, and too little for a picture.
    let mut command = assert_cmd::Command::new("sh");
    command.env("COPGEN_HOME", env!("CARGO_MANIFEST_DIR"));
    command.args(["-c", "trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_copgen")]);
    command.args(["generate", "--png", "--samples", "1", "--steps", "1", "--generate", "S2L2A_60m", "--scene"]);
    command.arg(scene(COMPLETE)).arg("--out").arg(&out);
    let output = command.output().expect("the program starts");
    let (told, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("1 of 1 realisations were finished and are kept"), "{told}");
    let kept = ["433D_629L_3_1_e600_s600_seed0_r000_S2L2A_60m.tif"];
    assert_eq!(files(&out), kept, "{told}");
    assert!(printed.contains(kept[0]), "{printed}");
}

#[cfg(unix)]
#[test]
fn names_that_are_too_long_are_told_before_anything_is_computed() {
    let dir = tempfile::tempdir().expect("folder");
    let long = dir.path().join("x".repeat(213));
    std::fs::rename(copy_scene(COMPLETE, dir.path()), &long).expect("rename");
    let out = dir.path().join("new/out");
    // Files of single realisations have names of 248 bytes; those of their statistics are too long.
    let arguments = ["--generate", "S2L2A_60m", "--steps", "1", "--samples"];
    let message = failure(generate(&long, &out, &arguments).arg("2"), 1);
    assert!(message.contains("too long") && message.contains("_variance.tif"), "{message}");
    assert!(!dir.path().join("new").exists(), "{:?} was left behind", files(&out));
    success(generate(&long, &out, &arguments).arg("1"));
    // The path may be too long as well, also that of a picture alone.
    let mut deep = dir.path().to_path_buf();
    while deep.as_os_str().len() < 4030 {
        let rest = 4040 - deep.as_os_str().len();
        deep.push("y".repeat(rest.clamp(1, 200)));
    }
    let message = failure(generate(&scene(COMPLETE), &deep, &arguments).arg("1"), 1);
    assert!(message.contains("too long"), "{message}");
    assert!(!dir.path().join("y".repeat(200)).exists());
}

#[test]
fn more_than_the_memory_holds_is_told_before_the_start() {
    let out = tempfile::tempdir().expect("folder");
    // Together, 100000 realisations need terabytes.
    let all = ["--generate", "S2L2A_60m", "--steps", "1", "--samples", "100000", "--batch", "100000"];
    let message = failure(&mut generate(&scene(COMPLETE), out.path(), &all), 2);
    assert!(message.contains("GB of memory") && message.contains("--batch"), "{message}");
    assert!(files(out.path()).is_empty());
    // A batch is never larger than the run.
    let few = ["--generate", "S2L2A_60m", "--steps", "1", "--samples", "1", "--batch", "100000000"];
    success(&mut generate(&scene(COMPLETE), out.path(), &few));
}

#[test]
fn memory_is_what_was_estimated_but_for_the_window() {
    let model = copgen::model::Manifest::open(&project("models/demo")).expect("manifest");
    let weights = model.weight_bytes(&project("models/demo"));
    for samples in [1, 6] {
        let out = tempfile::tempdir().expect("folder");
        let count = samples.to_string();
        let arguments = ["--given", "DEM,LULC", "--generate", "S1RTC,S2L2A", "--steps", "2"];
        let mut command = generate(&scene(COMPLETE), out.path(), &arguments);
        let peak = peak_memory(command.args(["--device", "cpu", "--samples", &count, "--batch", &count]));
        let estimate = model.working_bytes(weights, samples);
        println!("{samples} at once: {peak} bytes of {estimate}");
        // Some 200 MB of the estimate are the window's.
        assert!(
            cfg!(not(target_os = "linux")) || (estimate - 270_000_000..estimate).contains(&peak),
            "{peak} of {estimate}"
        );
    }
}

#[test]
fn without_a_display_the_window_names_the_way_without_one() {
    let mut command = copgen();
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        command.env_remove(name);
    }
    let message = failure(&mut command, 1);
    assert!(message.contains("no display") && message.contains("copgen generate"), "{message}");
    let mut command = copgen();
    command.env("DISPLAY", ":987").env_remove("WAYLAND_DISPLAY");
    assert!(failure(&mut command, 1).contains("copgen generate"));
}

#[test]
fn notes_do_not_hide_on_a_clean_scene() {
    let out = tempfile::tempdir().expect("folder");
    let mut command = generate(&scene(COMPLETE), out.path(), &QUICK);
    command.args(["--given", "S2L2A_10m"]);
    let output = command.output().expect("run");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(success(&mut generate(&scene(COMPLETE), &out.path().join("b"), &QUICK)).lines().count(), 1);
}

/// Makes a pipe that nobody writes into: who opens it waits without end.
#[cfg(unix)]
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().expect("folder");
    let named = |name: &str| {
        let path = dir.path().join(name);
        pipe(&path);
        path.display().to_string()
    };
    let scenes = ["DEM.tif", "scene.json"].map(|file| {
        let scene = copy_scene(COMPLETE, &dir.path().join(file.replace('.', "_")));
        std::fs::remove_file(scene.join(file)).expect("removed");
        pipe(&scene.join(file));
        scene.display().to_string()
    });
    let model = dir.path().join("model");
    std::fs::create_dir_all(&model).expect("folder");
    pipe(&model.join("manifest.json"));
    std::fs::create_dir_all(dir.path().join("recorded")).expect("folder");
    pipe(&dir.path().join("recorded/config.json"));
    std::fs::create_dir_all(dir.path().join("config")).expect("folder");
    pipe(&dir.path().join("config/sources.toml"));
    let (out, clean) = (dir.path().join("out").display().to_string(), scene(COMPLETE).display().to_string());
    let (model, recorded) = (model.display().to_string(), dir.path().join("recorded").display().to_string());
    let raster = format!("DEM={}", named("a.tif"));
    // What a name leads to counts.
    let zero = dir.path().join("zero.tif");
    std::os::unix::fs::symlink("/dev/zero", &zero).expect("link");
    let endless = format!("DEM={}", zero.display());
    let [parquet, recipe, weights] = ["a.parquet", "a.toml", "a.pth"].map(named);
    for (arguments, what) in [
        (vec!["generate", "--scene", &scenes[0], "--given", "DEM", "--out", &out], "a pipe"),
        (vec!["generate", "--scene", &scenes[1], "--given", "DEM", "--out", &out], "a pipe"),
        (vec!["generate", "--scene", &clean, "--set", &raster, "--out", &out], "a pipe"),
        (vec!["generate", "--scene", &clean, "--set", &endless, "--out", &out], "a device"),
        (vec!["generate", "--scene", &clean, "--model", &model, "--out", &out], "a pipe"),
        (vec!["scene", "list", &parquet], "a pipe"),
        (vec!["scene", "list", "/dev/zero"], "a device"),
        (vec!["train", "denoiser", &recipe, "--scenes", &clean, "--out", &out], "a pipe"),
        (vec!["train", "denoiser", "/dev/zero", "--scenes", &clean, "--out", &out], "a device"),
        (vec!["models", "import", "--denoiser", &weights, "--autoencoders", &clean, "--out", &out], "a pipe"),
        (vec!["verify", &recorded], "a pipe"),
        (vec!["fetch", "--cell", "618U_30L"], "a pipe"),
    ] {
        let mut command = copgen();
        command.env("COPGEN_CONFIG", dir.path().join("config")).timeout(std::time::Duration::from_secs(120));
        let message = failure(command.args(&arguments), 1);
        assert!(message.contains(what), "{arguments:?}: {message}");
        assert!(!Path::new(&out).exists(), "{arguments:?} left something");
    }
}

#[test]
fn terminals_are_shown_what_others_wrote_and_do_not_obey_it() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene(COMPLETE, dir.path());
    let description = scene.join("scene.json");
    let mut text: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&description).expect("file")).expect("description");
    text["notes"] = serde_json::json!(["red \u{1b}[31m text\nnote: a line of its own\u{202e}"]);
    std::fs::write(&description, text.to_string()).expect("written");
    let output = generate(&scene, &dir.path().join("out"), &QUICK).args(["--given", "DEM"]).output().expect("run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("red \\u{1b}[31m text\\nnote: a line of its own\\u{202e}"), "{error}");
    assert!(error.lines().all(|line| !line.contains('\u{1b}') && !line.starts_with("note: a line")), "{error}");
    // Nor what stands in names of files.
    let odd = dir.path().join("a\u{1b}[2Jb\nc");
    let error = failure(&mut generate(&odd, &dir.path().join("out"), &[]), 1);
    assert!(error.contains("a\\u{1b}[2Jb\\nc") && error.lines().count() == 1, "{error}");
}
