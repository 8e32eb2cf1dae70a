//! Partly given modalities: pixels that are known are kept bit for bit, the rest is sampled; files say which is which.

use crate::common::{COMPLETE, copy_scene, failure, files, generate, scene, success};
use crate::shaders::{gpu, job, model, request};
use copgen::job::{Keep, KnownWhere};
use copgen::modality::{ClassMap, ModalityTable, Raster, Value};
use copgen::model::{Engine, Model, Precision};
use gdal::{Dataset, Metadata};
use std::path::Path;

/// A cloudy day, half of whose middle window is clear and not close to a cloud.
const CLOUDY: &str = "bolzano_2022-06-02";
const KEEP: [&str; 6] = ["--keep", "S2L2A_10m=clear", "--set", "cloud_mask=Clear", "--generate", "S2L2A_10m"];

fn pixels(path: &Path, band: usize) -> Vec<f64> {
    let dataset = Dataset::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let size = dataset.raster_size();
    dataset
        .rasterband(band)
        .and_then(|band| band.read_as::<f64>((0, 0), size, size, None))
        .expect("pixels")
        .data()
        .to_vec()
}

/// The middle 96 × 96 pixels of a band of the bundled part of a Bolzano scene, which has 192 × 192.
fn middle(name: &str, file: &str, band: usize) -> Vec<f64> {
    let dataset = Dataset::open(scene(name).join(file)).expect("raster");
    let band = dataset.rasterband(band).expect("band");
    band.read_as::<f64>((48, 48), (96, 96), (96, 96), None).expect("pixels").data().to_vec()
}

#[test]
fn clear_pixels_of_a_cloudy_image_are_kept_and_files_say_which() {
    let out = tempfile::tempdir().expect("folder");
    let more = ["--samples", "2", "--steps", "4", "--seed", "3", "--stac", "--png"];
    let printed = success(&mut generate(&scene(CLOUDY), out.path(), &[&KEEP[..], &more[..]].concat()));
    let path = |part: &str| {
        let found = printed.lines().find(|line| line.ends_with(part)).unwrap_or_else(|| panic!("{part}: {printed}"));
        std::path::PathBuf::from(found)
    };
    let kept = pixels(&path("r000_S2L2A_10m_observed.tif"), 1);
    assert_eq!(kept, pixels(&path("r001_S2L2A_10m_observed.tif"), 1));
    let share = kept.iter().sum::<f64>() / kept.len() as f64;
    assert!((0.4..0.6).contains(&share), "{share}");
    // Nothing is kept that the cloud mask calls cloudy, or that lies within 60 m of it.
    let sky = middle(CLOUDY, "cloud_mask.tif", 1);
    for (pixel, _) in sky.iter().enumerate().filter(|(_, code)| **code != 0.0) {
        let (row, column) = ((pixel / 96) as i64, (pixel % 96) as i64);
        for (dy, dx) in (-6..=6i64).flat_map(|dy| (-6..=6i64).map(move |dx| (dy, dx))) {
            let (y, x) = (row + dy, column + dx);
            let near = dy * dy + dx * dx <= 36 && (0..96).contains(&y) && (0..96).contains(&x);
            assert!(!near || kept[(y * 96 + x) as usize] == 0.0, "{row} {column} {dy} {dx}");
        }
    }
    // Beside a STAC item each band has a file.
    for (band, observed) in [("B04", 3), ("B03", 2), ("B02", 1), ("B08", 4)] {
        let observed = middle(CLOUDY, "S2L2A_10m.tif", observed);
        let [first, second] = ["r000", "r001"].map(|part| pixels(&path(&format!("{part}_S2L2A_10m_{band}.tif")), 1));
        let mut other = 0;
        for pixel in 0..kept.len() {
            if kept[pixel] == 1.0 {
                assert_eq!([first[pixel], second[pixel]], [observed[pixel]; 2], "band {band}, pixel {pixel}");
            } else {
                other += usize::from(first[pixel] != second[pixel]);
            }
        }
        assert!(other > 3000, "band {band}: {other} pixels differ");
    }
    // There is no spread where nothing was sampled.
    let variance = Dataset::open(path("S2L2A_10m_B04_variance.tif")).expect("variance");
    let band = variance.rasterband(1).expect("band");
    let mask = band.open_mask_band().expect("mask");
    let valid = mask.read_as::<u8>((0, 0), (96, 96), (96, 96), None).expect("mask");
    assert!(valid.data().iter().zip(&kept).all(|(valid, kept)| (*valid == 0) == (*kept == 1.0)));
    // What the files say.
    let realisation = Dataset::open(path("r001_S2L2A_10m_B04.tif")).expect("realisation");
    let said = |key: &str| realisation.metadata_item(key, "").unwrap_or_default();
    assert_eq!(said("synthetic"), "yes");
    let from = said("kept_from");
    assert!(from.contains("bolzano_2022-06-02/S2L2A_10m.tif") && from.contains("cloud mask says clear"), "{from}");
    assert!(from.contains("60 m") && said("kept_by").contains("3 probes"), "{from}");
    assert!(said("kept_mask").ends_with("r001_S2L2A_10m_observed.tif") && said("settings").contains("clear"));
    assert!(said("TIFFTAG_IMAGEDESCRIPTION").starts_with("Partly synthetic"));
    let item = std::fs::read_to_string(path("item.json")).expect("item");
    let item: serde_json::Value = serde_json::from_str(&item).expect("JSON");
    assert!(item["properties"]["processing:lineage"].as_str().is_some_and(|text| text.contains("kept as observed")));
    let roles = |part: &str| {
        let assets = item["assets"].as_object().expect("assets");
        assets.iter().find(|(key, _)| key.ends_with(part)).map(|(_, asset)| asset["roles"][0].clone()).expect("asset")
    };
    assert_eq!((roles("r000_S2L2A_10m_observed"), roles("r000_S2L2A_10m_B04")), ("data-mask".into(), "data".into()));
}

#[test]
fn what_is_kept_does_not_depend_on_the_batch() {
    let (a, b) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let run = |out: &Path, more: &[&str]| {
        success(&mut generate(&scene(CLOUDY), out, &[&KEEP[..], &["--steps", "3", "--seed", "3"], more].concat()));
    };
    run(a.path(), &["--samples", "2", "--batch", "2"]);
    run(b.path(), &["--samples", "1", "--first", "1"]);
    let name = "bolzano_2022-06-02_e480_s480_seed3_r001_S2L2A_10m.tif";
    let read = |dir: &Path| std::fs::read(dir.join(name)).expect("file");
    assert!(read(a.path()) == read(b.path()));
}

#[test]
fn masks_come_from_files_too_and_what_does_not_fit_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("folder");
    let out = dir.path().join("out");
    let refused = |scene: &Path, arguments: &[&str]| {
        let mut command = generate(scene, &out, &[arguments, &["--steps", "2", "--samples", "1"]].concat());
        let code = command.output().expect("the program starts").status.code().expect("no signal");
        assert!([1, 2].contains(&code));
        let message = failure(&mut command, code);
        assert!(!out.exists(), "{message}");
        message
    };
    let mask = |name: &str, side: usize, pixel: f64, set: &dyn Fn(usize) -> bool| {
        let path = dir.path().join(name);
        let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
        let mut file = driver.create_with_band_type::<u8, _>(&path, side, side, 1).expect("file");
        let source = Dataset::open(scene(CLOUDY).join("cloud_mask.tif")).expect("scene");
        let [left, _, _, top, ..] = source.geo_transform().expect("transform");
        file.set_geo_transform(&[left, pixel, 0.0, top, 0.0, -pixel]).expect("transform");
        file.set_spatial_ref(&source.spatial_ref().expect("system")).expect("system");
        let values: Vec<u8> = (0..side * side).map(|pixel| u8::from(set(pixel))).collect();
        let mut band = file.rasterband(1).expect("band");
        band.write((0, 0), (side, side), &mut gdal::raster::Buffer::new((side, side), values)).expect("written");
        path.display().to_string()
    };
    let keep = |what: &str| format!("S2L2A_10m={what}");
    let west = mask("west.tif", 192, 10.0, &|pixel| pixel % 192 < 96);
    let cloudy = scene(CLOUDY);
    success(&mut generate(
        &cloudy,
        &out,
        &["--keep", &keep(&west), "--buffer", "0", "--generate", "S2L2A_10m", "--steps", "2", "--samples", "1"],
    ));
    let name = files(&out).into_iter().find(|name| name.ends_with("_observed.tif")).expect("mask");
    let kept = pixels(&out.join(name), 1);
    assert!(kept.iter().enumerate().all(|(pixel, kept)| (*kept == 1.0) == (pixel % 96 < 48)));
    std::fs::remove_dir_all(&out).expect("removed");

    let (nothing, small) = (mask("none.tif", 192, 10.0, &|_| false), mask("small.tif", 40, 10.0, &|_| true));
    let (coarse, all) = (mask("coarse.tif", 192, 20.0, &|_| true), mask("all.tif", 192, 10.0, &|_| true));
    let slovenia = scene("slovenia_2015-08-20");
    for (place, arguments, expected) in [
        (&cloudy, vec!["--keep", &keep(&nothing)[..]], "Nothing of S2L2A_10m can be kept"),
        (&cloudy, vec!["--keep", &keep(&all)[..], "--buffer", "0"], "All of S2L2A_10m is kept"),
        (&cloudy, vec!["--keep", &keep(&small)[..]], "small.tif"),
        (&cloudy, vec!["--keep", &keep(&coarse)[..]], "coarse.tif"),
        (&cloudy, vec!["--keep", "S2L2A_10m=clear", "--buffer", "9000"], "choose a smaller buffer"),
        (&cloudy, vec!["--keep", "S2L2A_10m=elsewhere"], "expected clear, valid, or the path"),
        (&cloudy, vec!["--keep", "S2L2A_10m=clear", "--drop", "thick,haze"], "no class \"haze\""),
        (&cloudy, vec!["--keep", "S2L2A_10m=clear", "--given", "S2L2A_10m"], "S2L2A_10m"),
        (&cloudy, vec!["--keep", "DEM=valid"], "DEM"),
        (&cloudy, vec!["--keep", "date=valid"], "date"),
        // Wholly cloudy, and without a cloud mask.
        (&slovenia, vec!["--keep", "S2L1C=clear"], "Nothing of S2L1C_10m"),
        (&scene("worldcereal_be_2021-06"), vec!["--keep", "S2L2A_10m=clear"], "no cloud mask"),
    ] {
        let message = refused(place, &arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    // Thin cloud counts as clear if it is not dropped.
    let share = |arguments: &[&str]| {
        let out = tempfile::tempdir().expect("folder");
        let arguments = [&KEEP[..], arguments, &["--steps", "2", "--samples", "1", "--buffer", "20m"]].concat();
        success(&mut generate(&cloudy, out.path(), &arguments));
        let name = files(out.path()).into_iter().find(|name| name.ends_with("_observed.tif")).expect("mask");
        pixels(&out.path().join(name), 1).iter().sum::<f64>()
    };
    assert!(share(&["--drop", "thick,shadow"]) > share(&[]) + 100.0);
}

#[test]
fn gaps_of_any_raster_are_sampled() {
    // A radar image of which the east was not seen.
    let dir = tempfile::tempdir().expect("folder");
    let scene = copy_scene(COMPLETE, dir.path());
    let path = scene.join("S1RTC.tif");
    let file = Dataset::open_ex(
        &path,
        gdal::DatasetOptions { open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE, ..Default::default() },
    );
    let file = file.expect("radar");
    let (width, height) = file.raster_size();
    for band in 1..=2 {
        let mut band = file.rasterband(band).expect("band");
        let none = band.no_data_value().expect("no data") as f32;
        let mut buffer = gdal::raster::Buffer::new((width / 2, height), vec![none; width / 2 * height]);
        band.write(((width / 2) as isize, 0), (width / 2, height), &mut buffer).expect("written");
    }
    drop(file);
    let out = dir.path().join("out");
    let arguments = ["--keep", "S1RTC=valid", "--buffer", "20", "--given", "DEM,LULC", "--generate", "S1RTC"];
    success(&mut generate(&scene, &out, &[&arguments[..], &["--steps", "3", "--samples", "2"]].concat()));
    let part = |name: &str| {
        let found = files(&out).into_iter().find(|file| file.ends_with(name)).unwrap_or_else(|| panic!("{name}"));
        pixels(&out.join(found), 1)
    };
    let (kept, [a, b]) = (part("r000_S1RTC_observed.tif"), ["r000_S1RTC.tif", "r001_S1RTC.tif"].map(part));
    // The window's middle is that of the scene; the two pixels before the gap are its buffer.
    assert!(kept.iter().enumerate().all(|(pixel, kept)| (*kept == 1.0) == (pixel % 96 < 46)), "{kept:?}");
    for pixel in 0..kept.len() {
        assert!(a[pixel] > 0.0 && (kept[pixel] == 1.0) == (a[pixel] == b[pixel]), "{pixel}");
    }
}

#[test]
fn the_published_kind_keeps_what_is_known_on_every_device() {
    let dir = tempfile::tempdir().expect("folder");
    let folder = model(dir.path());
    let table = ModalityTable::published();
    let elevation = table.index("DEM").expect("modality");
    let side = table[elevation].pixels;
    let west = Raster::from_fn(1, side, side, |_, pixel| f32::from(u8::from(pixel % side < side / 2)));
    let mut asked = request(&folder, 3);
    asked.options.steps = 3;
    let keep = Keep { known: KnownWhere::Painted(ClassMap::of(&west)), buffer_m: 90.0 };
    asked.keep.insert(elevation, keep);
    let observed = Dataset::open(scene(COMPLETE).join("DEM.tif")).expect("elevation");
    let (columns, _) = observed.raster_size();
    let from = ((columns - side) / 2) as isize;
    let observed =
        observed.rasterband(1).and_then(|band| band.read_as::<f32>((from, from), (side, side), (side, side), None));
    let observed = observed.expect("pixels");
    let engines = [Some(Engine::cpu()), gpu(Precision::F32).map(Engine::Shaders)];
    for engine in engines.into_iter().flatten() {
        let model = Model::open(&folder, &engine).expect("model");
        let (made, _) = job(&model, &asked, &mut |_| {});
        let (alone, _) = job(&model, &copgen::job::Request { batch: 1, ..asked.clone() }, &mut |_| {});
        assert!(made == alone, "{}: the batch matters", engine.name());
        for realisation in &made {
            let raster = realisation.values[elevation].as_ref().and_then(Value::image).expect("elevation");
            let kept = &realisation.kept[&elevation];
            assert_eq!(kept.count(), side * (side / 2 - 3), "three pixels of 30 m are the buffer");
            for pixel in kept.set_pixels() {
                assert_eq!(raster.data[pixel].to_bits(), observed.data()[pixel].to_bits(), "{}", engine.name());
            }
        }
        let image =
            |k: usize| made[k].values[elevation].as_ref().and_then(Value::image).expect("elevation").data.clone();
        let differ = image(0).iter().zip(image(1)).filter(|(a, b)| **a != *b).count();
        assert!(differ > side * side / 3, "{differ} pixels are sampled");
    }
}
