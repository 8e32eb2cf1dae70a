//! The main job from the command line, on real scenes with the bundled model.

use crate::common::{COMPLETE, copy_scene, failure, files, generate, scene, success};
#[cfg(unix)]
use crate::common::{access_rights, prepared};
use gdal::raster::GdalDataType;
use gdal::{Dataset, Metadata};
use std::path::Path;

fn open(path: &Path) -> Dataset {
    Dataset::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn pixels(path: &Path, band: usize) -> Vec<f64> {
    let dataset = open(path);
    let size = dataset.raster_size();
    let buffer = dataset.rasterband(band).expect("band").read_as::<f64>((0, 0), size, size, None).expect("pixels");
    buffer.data().to_vec()
}

#[test]
fn files_lie_where_the_window_is_and_say_what_they_are() {
    let out = tempfile::tempdir().expect("folder");
    let given = ["--given", "DEM,LULC,S1RTC", "--samples", "2", "--steps", "3", "--seed", "7"];
    let printed = success(&mut generate(&scene(COMPLETE), out.path(), &given));

    let source = open(&scene(COMPLETE).join("S2L2A_10m.tif"));
    let [left, pixel, _, top, ..] = source.geo_transform().expect("transform");
    let (width, height) = source.raster_size();
    // The centre window of 960 m, rounded down to a multiple of 60 m so that it fits the pixels of every modality.
    let offset = |n: usize| ((n as f64 * pixel - 960.0) / 2.0 / 60.0).floor() * 60.0;

    let mut georeferenced = 0;
    for path in printed.lines().filter(|line| line.ends_with(".tif")).map(Path::new) {
        let dataset = open(path);
        let t = dataset.geo_transform().expect("transform");
        assert!((t[0] - left - offset(width)).abs() < 1e-6, "{}: {t:?}", path.display());
        assert!((t[3] - top + offset(height)).abs() < 1e-6, "{}: {t:?}", path.display());
        assert!((t[1] * dataset.raster_size().0 as f64 - 960.0).abs() < 1e-6 && t[5] == -t[1]);
        let authority = dataset.spatial_ref().and_then(|srs| srs.authority()).expect("coordinate system");
        assert_eq!(authority, source.spatial_ref().and_then(|srs| srs.authority()).expect("coordinate system"));
        assert_eq!(dataset.metadata_item("synthetic", "").as_deref(), Some("yes"), "{}", path.display());
        for key in
            ["model", "model_sha256", "seed", "steps", "solver", "given", "given_from", "program", "unit", "computed"]
        {
            let text = dataset.metadata_item(key, "").unwrap_or_default();
            assert!(!text.is_empty(), "{} lacks {key}", path.display());
        }
        assert_eq!(dataset.metadata_item("COMPRESSION", "IMAGE_STRUCTURE").as_deref(), Some("DEFLATE"));
        georeferenced += 1;
    }
    // Seven of the ten image modalities are generated: two realisations, mean and variance of each.
    assert_eq!(georeferenced, 7 * 4);

    let file = |name: &str| out.path().join(format!("433D_629L_3_1_e600_s600_seed7_{name}.tif"));
    let optical = open(&file("r001_S2L2A_20m"));
    let bands: Vec<String> =
        optical.rasterbands().map(|b| b.and_then(|b| b.description()).expect("description")).collect();
    assert_eq!(bands, ["B05", "B06", "B07", "B8A", "B11", "B12"]);
    let band = optical.rasterband(1).expect("band");
    assert_eq!(band.band_type(), GdalDataType::UInt16);
    assert_eq!((band.scale(), band.no_data_value()), (Some(0.0001), Some(0.0)));
    assert_eq!(optical.metadata_item("realisation", "").as_deref(), Some("1"));
    assert_eq!(optical.metadata_item("given", "").as_deref(), Some("DEM S1RTC LULC"));
    assert!(optical.metadata_item("given_from", "").is_some_and(|from| from.contains("433D_629L_3_1/DEM.tif")));
    let mask = open(&file("r000_cloud_mask"));
    let band = mask.rasterband(1).expect("band");
    assert_eq!(band.band_type(), GdalDataType::UInt8);
    assert!(band.color_table().is_some());
    assert_eq!(
        open(&file("r000-001_S2L2A_10m_variance")).rasterband(1).expect("band").band_type(),
        GdalDataType::Float32
    );
    // Location and date were generated too.
    for name in ["location", "date"] {
        let table = out.path().join(format!("433D_629L_3_1_e600_s600_seed7_r000-001_{name}.csv"));
        assert_eq!(std::fs::read_to_string(table).expect("table").lines().count(), 3);
    }
}

#[test]
fn a_seed_means_the_same_whatever_the_folder_is_called_and_other_ground_is_other_noise() {
    let dir = tempfile::tempdir().expect("folder");
    let copy = copy_scene(COMPLETE, dir.path());
    let renamed = dir.path().join("renamed");
    std::fs::rename(&copy, &renamed).expect("renamed");
    let elevation = |scene: &Path, window: &str, out: &str| {
        let out = dir.path().join(out);
        let arguments = ["--generate", "DEM", "--steps", "2", "--seed", "7", "--samples", "1", "--window", window];
        let printed = success(&mut generate(scene, &out, &arguments));
        pixels(Path::new(printed.lines().find(|line| line.ends_with("DEM.tif")).expect("elevation")), 1)
    };
    let first = elevation(&scene(COMPLETE), "600,600", "first");
    assert!(first == elevation(&renamed, "600,600", "second"), "the folder's name changed what a seed means");
    let moved = elevation(&renamed, "660,600", "third");
    assert!(first.iter().zip(&moved).filter(|(a, b)| a == b).count() < first.len() / 100, "other ground, other noise");
}

#[test]
fn a_seed_gives_the_same_files_whatever_the_batch_and_samples_differ() {
    let (a, b) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let run = |out: &Path, more: &[&str]| {
        let mut arguments = vec!["--given", "DEM,LULC,S1RTC", "--steps", "4", "--seed", "7"];
        arguments.extend(more);
        success(&mut generate(&scene(COMPLETE), out, &arguments));
    };
    run(a.path(), &["--samples", "4", "--batch", "4"]);
    run(b.path(), &["--samples", "2", "--batch", "1", "--first", "1"]);
    let mut compared = 0;
    for name in files(b.path()).iter().filter(|name| name.contains("_r001_") || name.contains("_r002_")) {
        let read = |dir: &Path| std::fs::read(dir.join(name)).expect("file");
        assert!(read(a.path()) == read(b.path()), "{name} depends on batch or order");
        compared += 1;
    }
    assert_eq!(compared, 2 * 7);

    let one =
        |index: u32| pixels(&a.path().join(format!("433D_629L_3_1_e600_s600_seed7_r{index:03}_S2L2A_10m.tif")), 1);
    let all: Vec<Vec<f64>> = (0..4).map(one).collect();
    for i in 0..4 {
        for k in 0..i {
            let same = all[i].iter().zip(&all[k]).filter(|(a, b)| a == b).count();
            assert!(same < all[i].len() / 2, "realisations {k} and {i} are alike");
        }
    }
    // Mean and variance are those of the realisations.
    let mean = pixels(&a.path().join("433D_629L_3_1_e600_s600_seed7_r000-003_S2L2A_10m_mean.tif"), 1);
    let variance = pixels(&a.path().join("433D_629L_3_1_e600_s600_seed7_r000-003_S2L2A_10m_variance.tif"), 1);
    let mut compared = 0;
    for i in (0..mean.len()).step_by(7) {
        // Whole digital numbers begin at 1: what was below was raised to it in the files of the realisations.
        if all.iter().any(|r| r[i] <= 1.0) {
            continue;
        }
        compared += 1;
        let m = all.iter().map(|r| r[i]).sum::<f64>() / 4.0;
        let v = all.iter().map(|r| (r[i] - m).powi(2)).sum::<f64>() / 4.0;
        // Files hold whole digital numbers, statistics are of the values before rounding.
        assert!((mean[i] - m).abs() <= 0.5, "{} {m}", mean[i]);
        assert!((variance[i].sqrt() - v.sqrt()).abs() <= 1.0, "{} {v}", variance[i]);
    }
    assert!(compared > 20, "only {compared} pixels could be compared");
}

#[test]
fn bands_can_be_infilled_values_set_and_the_rest_ignored() {
    for (name, arguments) in [
        ("band infilling", vec!["--given", "S2L2A_10m", "--generate", "S2L2A_20m,S2L2A_60m"]),
        ("published keys", vec!["--given", "DEM_DEM,LULC_LULC", "--generate", "S2L2A_B01_B09,S1RTC_vh_vv"]),
        (
            "set values",
            vec![
                "--given",
                "DEM",
                "--set",
                "date=2023-04-19",
                "--set",
                "location=55.9,-3.2",
                "--set",
                "LULC=water",
                "--generate",
                "S2L2A_20m,S1RTC",
            ],
        ),
        ("unknown ignored", vec!["--given", "DEM", "--generate", "S2L2A_20m,S1RTC", "--ignored", "noise-at-end"]),
        (
            "as published",
            vec![
                "--given",
                "DEM",
                "--generate",
                "S2L2A_20m,S1RTC",
                "--ignored",
                "fresh-noise-at-zero",
                "--condition-latent",
                "shared-draw",
            ],
        ),
        (
            "drawn conditions",
            vec![
                "--given",
                "DEM",
                "--generate",
                "S2L2A_20m,S1RTC",
                "--condition-latent",
                "draw-per-realisation",
                "--final-denoise",
                "--clip",
            ],
        ),
    ] {
        let out = tempfile::tempdir().expect("folder");
        let mut all = arguments;
        all.extend(["--samples", "1", "--steps", "2"]);
        success(&mut generate(&scene(COMPLETE), out.path(), &all));
        assert_eq!(files(out.path()).len(), 2, "{name}: {:?}", files(out.path()));
    }
}

#[test]
fn everything_can_be_made_from_nothing_and_one_from_everything() {
    let out = tempfile::tempdir().expect("folder");
    success(&mut generate(&scene(COMPLETE), out.path(), &["--samples", "1", "--steps", "2"]));
    assert_eq!(files(out.path()).len(), 12);
    let all = "location,date,DEM,S1RTC,S2L1C,S2L2A,LULC";
    success(&mut generate(
        &scene(COMPLETE),
        out.path(),
        &["--given", all, "--samples", "1", "--steps", "2", "--seed", "1"],
    ));
    assert_eq!(files(out.path()).len(), 13);
}

#[test]
fn existing_files_stay_unless_asked_and_another_window_is_another_place() {
    let out = tempfile::tempdir().expect("folder");
    let run = |more: &[&str]| {
        let mut arguments = vec!["--given", "DEM", "--generate", "S2L2A_60m", "--samples", "1", "--steps", "2"];
        arguments.extend(more);
        generate(&scene(COMPLETE), out.path(), &arguments)
    };
    success(&mut run(&[]));
    let path = out.path().join("433D_629L_3_1_e600_s600_seed0_r000_S2L2A_60m.tif");
    std::fs::write(&path, "precious").expect("write");
    let message = failure(&mut run(&[]), 1);
    assert!(message.contains("exists already") && message.contains("S2L2A_60m"), "{message}");
    assert_eq!(std::fs::read(&path).expect("read"), b"precious");
    success(&mut run(&["--overwrite"]));
    assert_ne!(std::fs::read(&path).expect("read"), b"precious");
    success(&mut run(&["--window", "120,1200"]));
    let moved = open(&out.path().join("433D_629L_3_1_e120_s1200_seed0_r000_S2L2A_60m.tif"));
    let (a, b) = (moved.geo_transform().expect("transform"), open(&path).geo_transform().expect("transform"));
    assert!((b[0] - a[0] - 480.0).abs() < 1e-6 && (b[3] - a[3] - 600.0).abs() < 1e-6);
}

#[test]
fn rasters_set_by_hand_are_read_where_the_window_is_and_named_in_the_files() {
    let out = tempfile::tempdir().expect("folder");
    let dem = scene(COMPLETE).join("DEM.tif");
    let run = |name: &str, more: &[&str]| {
        let mut arguments = vec!["--generate", "S2L2A_60m", "--samples", "1", "--steps", "2", "--window", "0,0"];
        arguments.extend(more);
        success(&mut generate(&scene(COMPLETE), &out.path().join(name), &arguments));
        let path = out.path().join(name).join("433D_629L_3_1_e0_s0_seed0_r000_S2L2A_60m.tif");
        (pixels(&path, 1), open(&path).metadata_item("given_from", "").expect("lineage"))
    };
    let (given, from) = run("given", &["--given", "DEM"]);
    let (set, also_from) = run("set", &["--set", &format!("DEM={}", dem.display())]);
    assert!(given == set, "the same raster gives another result when it is set by hand");
    assert_eq!(from, also_from);
    let (_, from) = run("water", &["--set", "LULC=water", "--set", "date=2023-04-19"]);
    assert_eq!(from, "date set by hand to 2023-04-19; LULC set by hand to Water (1) everywhere");
    // Another place's raster is not silently taken for this one's.
    let other = format!("DEM={}", scene("38D_378R_2_3").join("DEM.tif").display());
    let mut command = generate(&scene(COMPLETE), &out.path().join("other"), &["--set", &other, "--samples", "1"]);
    assert!(failure(&mut command, 1).contains("coordinate system"));
}

#[test]
fn a_run_can_be_extended_in_the_same_folder_and_a_scene_has_one_name() {
    let (out, here) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let arguments = ["--given", "DEM", "--generate", "S2L2A_60m,date", "--samples", "2", "--steps", "2"];
    success(&mut generate(&scene(COMPLETE), out.path(), &arguments));
    success(generate(&scene(COMPLETE), out.path(), &arguments).args(["--first", "2"]));
    assert_eq!(files(out.path()).len(), 2 * (2 + 2 + 1), "{:?}", files(out.path()));
    let mut command = generate(Path::new("."), here.path(), &arguments);
    success(command.current_dir(scene(COMPLETE)));
    for name in files(here.path()).iter().filter(|name| name.contains("_r00") && name.ends_with("60m.tif")) {
        assert!(pixels(&out.path().join(name), 1) == pixels(&here.path().join(name), 1), "{name}");
    }
    failure(generate(&scene(COMPLETE), out.path(), &arguments).args(["--first", "18446744073709551615"]), 2);
}

#[test]
fn pictures_come_with_legends_and_say_in_their_pixels_what_a_model_made() {
    let out = tempfile::tempdir().expect("folder");
    let arguments = ["--given", "DEM,S1RTC", "--generate", "S2L2A_10m,LULC,date", "--samples", "2", "--steps", "4"];
    let printed = success(generate(&scene(COMPLETE), out.path(), &arguments).args(["--seed", "7", "--png", "--stac"]));
    let name = |what: &str| format!("433D_629L_3_1_e600_s600_seed7_{what}.png");
    let optical = ["observed", "r000", "r001", "r000-001_mean"].map(|part| format!("{part}_S2L2A_10m_true-colour"));
    let cover = ["observed", "r000", "r001", "r000-001_mode"].map(|part| format!("{part}_LULC_classes"));
    let spread = ["r000-001_spread_S2L2A_10m_Variance-B04", "r000-001_spread_LULC_Disagreement-LULC"];
    let mut expected: Vec<String> = optical.iter().chain(&cover).map(String::as_str).chain(spread).map(name).collect();
    expected.sort();
    let pictures: Vec<String> = files(out.path()).into_iter().filter(|file| file.ends_with(".png")).collect();
    assert_eq!(pictures, expected);
    let item = std::fs::read_to_string(out.path().join("433D_629L_3_1_e600_s600_seed7_item.json")).expect("item");
    for file in &pictures {
        assert!(printed.contains(file.as_str()), "{file} is not named");
        assert!(item.contains(&format!("./{file}")), "the item does not know {file}");
        let decoder =
            png::Decoder::new(std::io::BufReader::new(std::fs::File::open(out.path().join(file)).expect("file")));
        let mut reader = decoder.read_info().expect("header");
        let text = |key: &str| {
            let chunks = &reader.info().utf8_text;
            chunks.iter().find(|chunk| chunk.keyword == key).and_then(|chunk| chunk.get_text().ok())
        };
        let synthetic = !file.contains("_observed_");
        assert_eq!(text("synthetic").as_deref(), Some(if synthetic { "yes" } else { "no" }), "{file}");
        assert_eq!(text("seed").is_some(), synthetic, "{file}: what was observed has no seed");
        let mut pixels = vec![0; reader.output_buffer_size().expect("size")];
        let frame = reader.next_frame(&mut pixels).expect("pixels");
        let badge = pixels.chunks_exact(3).filter(|p| **p == [240, 160, 64]).count();
        assert_eq!(badge > 500, synthetic, "{file}: {badge} pixels of the badge's colour");
        // A square window of 768 pixels; below it a legend, dark on white.
        assert!(frame.width == 768 && frame.height > 768 + 24, "{} × {}", frame.width, frame.height);
        let legend = &pixels[768 * 768 * 3..];
        assert!(legend.iter().filter(|v| **v < 100).count() > 100, "{file}: the legend is empty");
    }
}

#[test]
fn a_stac_item_tells_grid_type_scale_and_unit_of_every_band() {
    let out = tempfile::tempdir().expect("folder");
    let arguments = ["--given", "DEM", "--generate", "S2L2A_20m,LULC", "--samples", "2", "--steps", "1", "--stac"];
    success(&mut generate(&scene(COMPLETE), out.path(), &arguments));
    let item = std::fs::read_to_string(out.path().join("433D_629L_3_1_e600_s600_seed0_item.json")).expect("item");
    let item: serde_json::Value = serde_json::from_str(&item).expect("JSON");
    assert_eq!(item["stac_version"], "1.1.0");
    assert_eq!(
        (&item["properties"]["proj:code"], &item["properties"]["proj:epsg"]),
        (&"EPSG:32718".into(), &32718.into())
    );
    let assets = item["assets"].as_object().expect("assets");
    assert_eq!(assets.len(), 4 * (6 + 1));
    for (key, asset) in assets {
        let file = asset["href"].as_str().expect("address").trim_start_matches("./");
        let dataset = Dataset::open(out.path().join(file)).expect("raster");
        let (width, height) = dataset.raster_size();
        assert_eq!(asset["proj:shape"], serde_json::json!([height, width]), "{key}");
        let [left, dx, skew, top, turned, dy] = dataset.geo_transform().expect("transform");
        assert_eq!(asset["proj:transform"], serde_json::json!([dx, skew, left, turned, dy, top]), "{key}");
        let band = dataset.rasterband(1).expect("band");
        assert_eq!((dataset.raster_count(), asset["bands"].as_array().map(Vec::len)), (1, Some(1)));
        assert_eq!(asset["bands"][0]["raster:scale"].as_f64(), band.scale().filter(|scale| *scale != 1.0), "{key}");
        assert_eq!(asset["raster:bands"][0]["nodata"].as_f64(), band.no_data_value(), "{key}");
        assert_eq!(asset["raster:bands"][0]["unit"].as_str().unwrap_or_default(), band.unit(), "{key}");
    }
    let of = |key: &str| &assets[key]["raster:bands"][0];
    assert_eq!(
        (of("r001_S2L2A_20m_B05")["data_type"].as_str(), of("r001_S2L2A_20m_B05")["unit"].as_str()),
        (Some("uint16"), Some("reflectance"))
    );
    let variance = of("r000-001_S2L2A_20m_B05_variance");
    assert!((variance["scale"].as_f64().expect("scale") - 1e-8).abs() < 1e-12 && variance["unit"] == "(reflectance)^2");
    assert_eq!(assets["r000_LULC"]["title"], "LULC, realisation 000 (synthetic)");
}

#[test]
fn a_picture_that_exists_is_refused_before_anything_is_written() {
    let out = tempfile::tempdir().expect("folder");
    let arguments = ["--given", "DEM", "--generate", "S2L2A_60m", "--samples", "2", "--steps", "2", "--png"];
    let name = "433D_629L_3_1_e600_s600_seed0_r000-001_spread_S2L2A_60m_Variance-B01.png";
    std::fs::write(out.path().join(name), "precious").expect("write");
    let message = failure(&mut generate(&scene(COMPLETE), out.path(), &arguments), 1);
    assert!(message.contains("exists already") && message.contains(name), "{message}");
    assert_eq!(files(out.path()), [name]);
    success(generate(&scene(COMPLETE), out.path(), &arguments).arg("--overwrite"));
    assert_ne!(std::fs::read(out.path().join(name)).expect("read"), b"precious");
}

#[cfg(unix)]
#[test]
fn files_have_the_access_rights_that_the_umask_leaves() {
    let dir = tempfile::tempdir().expect("folder");
    let given = ["--given", "DEM", "--generate", "S2L2A_60m,date", "--samples", "2", "--steps", "1", "--stac"];
    for (umask, folders, plain) in [("umask 027", 0o750, 0o640), ("umask 002", 0o775, 0o664)] {
        for more in [&[][..], &["--cog"]] {
            let out = dir.path().join(format!("{umask} {}", more.len()));
            success(&mut prepared(umask, generate(&scene(COMPLETE), &out, &given).args(more)));
            assert_eq!(access_rights(&out), [[folders].into(), [plain].into()], "{umask} {more:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_a_killed_run_left_is_removed_by_the_next_and_a_living_one_is_left_alone() {
    let dir = tempfile::tempdir().expect("folder");
    let out = dir.path().join("out");
    let hidden = |out: &Path| -> Vec<String> {
        files(out).into_iter().filter(|name| name.starts_with(".unfinished-")).collect()
    };
    // It writes into a hidden folder until a realisation is whole.
    let arguments = ["--given", "DEM", "--generate", "S2L2A", "--samples", "40", "--steps", "1", "--batch", "1"];
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_copgen"));
    process.args(["generate", "--scene"]).arg(scene(COMPLETE)).arg("--out").arg(&out).args(arguments);
    process.env("COPGEN_HOME", env!("CARGO_MANIFEST_DIR"));
    process.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = process.spawn().expect("the program starts");
    let signal = |name: &str| {
        let done = std::process::Command::new("kill").args([name, &child.id().to_string()]).status();
        assert!(done.expect("kill").success(), "{name}");
    };
    while hidden(&out).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    signal("-STOP");
    let caught = hidden(&out);
    assert_eq!(caught.len(), 1, "it is still at work");
    let other = ["--given", "DEM", "--generate", "S2L2A_60m", "--samples", "1", "--steps", "1", "--seed", "9"];
    success(&mut generate(&scene(COMPLETE), &out, &other));
    assert_eq!(hidden(&out), caught, "the files of a process that lives stay");
    signal("-KILL");
    child.wait().expect("its end");
    assert_eq!(hidden(&out), caught);
    success(generate(&scene(COMPLETE), &out, &other).arg("--overwrite"));
    assert!(hidden(&out).is_empty(), "{:?}", hidden(&out));
}

#[test]
fn sigma0_stands_in_for_gamma0_only_where_that_is_accepted() {
    let out = tempfile::tempdir().expect("folder");
    let place = scene("worldcereal_be_2021-06");
    let arguments = ["--given", "S1RTC", "--generate", "LULC", "--samples", "1", "--steps", "1"];
    let message = failure(&mut generate(&place, out.path(), &arguments), 2);
    assert!(message.contains("S1GRD"), "{message}");
    assert!(files(out.path()).is_empty());
    success(generate(&place, out.path(), &arguments).arg("--accept-sigma0"));
    assert_eq!(files(out.path()).len(), 1);
}
