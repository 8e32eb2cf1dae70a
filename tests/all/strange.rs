//! Files that a careful reader would stop at: each is read as it is meant, questioned, or refused with the reason; its plain twin
//! stays silent.

use crate::common::{self, COMPLETE, copgen};
use crate::said::{Rewritten, read, say_legend};
use copgen::modality::{Catalogue, ModalityTable, Value};
use copgen::scene::{Scene, Window};
use gdal::Metadata;
use gdal::raster::{ColorInterpretation, GdalDataType};

/// A copy of the complete scene that says nothing of itself.
fn silent_scene(dir: &std::path::Path) -> std::path::PathBuf {
    let scene = common::copy_scene(COMPLETE, dir);
    std::fs::remove_file(scene.join("scene.json")).expect("removed");
    scene
}

#[test]
fn land_cover_stays_what_it_is_beside_some_strange_codes() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = silent_scene(dir.path());
    let (own, silent) = read(&scene, "LULC").expect("as it is");
    let with = |code: f64| {
        let mut file = Rewritten::of("LULC");
        // Twelve rows in the middle.
        let (first, rows) = (file.size.0 * file.size.1 / 2, 12 * file.size.0);
        file.bands[0].1[first..first + rows].fill(code);
        file.kind = if code.fract() == 0.0 { GdalDataType::Int16 } else { GdalDataType::Float32 };
        file.write(&scene, "LULC");
        read(&scene, "LULC")
    };
    // What means no data in most maps, what is in no map, and what is in a map that this one is not.
    for code in [255.0, 200.0, -1.0, 12.0] {
        let (pixels, notes) = with(code).expect("read");
        let changed: Vec<f32> = pixels.iter().zip(&own).filter(|(a, b)| a != b).map(|(a, _)| *a).collect();
        assert!(changed.len() <= 12 * 192 && changed.iter().all(|v| *v == 0.0), "{code}: {changed:?}");
        assert!(notes.contains("of LULC in the window is no data"), "{code}: {notes}");
        assert_eq!(notes.contains(&format!("unknown class code {code} ")), code != 255.0, "{code}: {notes}");
        assert!(!notes.contains("CORINE"), "{code}: {notes}");
    }
    let problem = with(10.5).expect_err("between two classes");
    assert!(problem.contains("10.5") && problem.contains("averaging") && problem.contains("LULC.tif"), "{problem}");
    // A map of other codes than any that is known.
    Rewritten::of("LULC").map(|v| v + 80.0).write(&scene, "LULC");
    let problem = read(&scene, "LULC").expect_err("another map");
    assert!(problem.contains("unknown class code") && problem.contains("100.0 %"), "{problem}");
    Rewritten::of("LULC").write(&scene, "LULC");
    assert_eq!(read(&scene, "LULC"), Ok((own, silent)));
}

#[test]
fn codes_of_other_maps_that_mean_no_data_are_that() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = silent_scene(dir.path());
    let (own, _) = read(&scene, "LULC").expect("as it is");
    let coded = |codes: &[f64; 3]| {
        let [trees, rest, none] = *codes;
        let mut file = Rewritten::of("LULC").map(|v| if v == 2.0 { trees } else { rest });
        let (width, height) = file.size;
        file.bands[0].1[..width * height / 2].iter_mut().step_by(2).for_each(|v| *v = none);
        (file.kind, file.scale) = (GdalDataType::Int16, None);
        file.write(&scene, "LULC");
        read(&scene, "LULC")
    };
    for codes in [[23.0, 12.0, 48.0], [311.0, 211.0, 999.0]] {
        let (pixels, notes) = coded(&codes).expect("CORINE");
        assert!(notes.contains("CORINE Land Cover") && !notes.contains("unknown"), "{notes}");
        let expected = |own: f32| if own == 2.0 { 2.0 } else { 5.0 };
        let valid: Vec<(f32, f32)> =
            pixels.iter().copied().zip(own.iter().copied()).filter(|(v, _)| *v != 0.0).collect();
        assert!(valid.len() > pixels.len() / 2 && valid.iter().all(|(v, own)| *v == expected(*own)));
    }
    // No data of a map whose code 0 is water.
    say_legend_of(&scene, "dynamic-world");
    let (pixels, notes) = coded(&[1.0, 4.0, -1.0]).expect("stated");
    assert!(!pixels.contains(&1.0) && pixels.contains(&0.0), "no water");
    assert!(notes.contains("unknown class code -1"), "{notes}");
}

/// A description that says nothing but the legend.
fn say_legend_of(scene: &std::path::Path, legend: &str) {
    std::fs::write(scene.join("scene.json"), "{}").expect("description");
    say_legend(scene, legend);
}

#[test]
fn reflectance_that_is_not_what_is_expected_is_questioned() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = silent_scene(dir.path());
    let name = "S2L2A_10m";
    assert!(!read(&scene, name).expect("as it is").1.contains("offset of 1000"));
    // One pixel that is darker than ground gets with the offset.
    let mut offset = Rewritten::of(name).map(|v| v + 1000.0);
    let middle = offset.size.0 * (offset.size.1 / 2) + offset.size.0 / 2;
    offset.bands[0].1[middle] = 600.0;
    offset.write(&scene, name);
    let notes = read(&scene, name).expect("read").1;
    assert!(notes.contains("the offset of 1000 of processing baselines"), "{notes}");
    let checked = common::copgen().args(["scene", "check"]).arg(&scene).output().expect("run").stdout;
    let checked = String::from_utf8_lossy(&checked).into_owned();
    assert!(checked.contains("offset of Sentinel-2: unknown"), "{checked}");
    // Words that say that it is gone, and words that do not.
    for (words, settled) in [("S2L2A: +1000 offset found and removed", true), ("the offset was not removed", false)] {
        std::fs::write(scene.join("scene.json"), format!("{{\"conversions\": [\"{words}\"]}}")).expect("description");
        assert_eq!(!read(&scene, name).expect("read").1.contains("offset of 1000"), settled, "{words}");
    }
    std::fs::remove_file(scene.join("scene.json")).expect("removed");
    Rewritten::of(name).map(|v| (v / 100.0).min(100.0)).write(&scene, name);
    let notes = read(&scene, name).expect("read").1;
    assert!(notes.contains("this looks like reflectance in percent"), "{notes}");
    // An offset in units of reflectance beside numbers that are none; an offset that is gone already.
    for (scale, change, said) in [
        ([1.0, -0.1], (|v| v) as fn(f64) -> f64, "a reflectance, beside digital numbers"),
        ([1e-4, -0.1], |v| v.min(900.0), "gone already"),
    ] {
        let file = Rewritten { scale: Some(scale), kind: GdalDataType::UInt16, ..Rewritten::of(name).map(change) };
        file.write(&scene, name);
        let problem = read(&scene, name).expect_err(said);
        assert!(problem.contains(said) && problem.contains("S2L2A_10m.tif"), "{problem}");
    }
}

#[test]
fn radar_that_is_no_power_is_questioned_and_no_echo_is_no_data() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = silent_scene(dir.path());
    let (own, silent) = read(&scene, "S1RTC").expect("as it is");
    Rewritten::of("S1RTC").map(f64::sqrt).write(&scene, "S1RTC");
    let notes = read(&scene, "S1RTC").expect("read").1;
    assert!(notes.contains("the median of vh") && notes.contains("amplitudes"), "{notes}");
    Rewritten { unit: "dB", ..Rewritten::of("S1RTC") }.write(&scene, "S1RTC");
    let problem = read(&scene, "S1RTC").expect_err("power, called decibels");
    assert!(problem.contains("linear power or amplitudes") && problem.contains("S1RTC.tif"), "{problem}");
    // A frame that is filled up, of power and of decibels.
    for unit in ["", "dB"] {
        let mut file = Rewritten::of("S1RTC").map(|v| if unit.is_empty() { v } else { 10.0 * v.log10() });
        file.unit = unit;
        let filled = file.size.0 * file.size.1 * 2 / 5;
        file.bands.iter_mut().for_each(|(_, values)| values[..filled].fill(0.0));
        file.write(&scene, "S1RTC");
        let (pixels, notes) = read(&scene, "S1RTC").expect("read");
        assert!(notes.contains("of S1RTC in the window is no data"), "{unit}: {notes}");
        let wrong = pixels.iter().zip(&own).filter(|(v, own)| **v != 0.0 && (**v - **own).abs() > 1e-3).count();
        assert!(wrong == 0 && pixels.contains(&0.0), "{unit}: {wrong}");
    }
    Rewritten::of("S1RTC").write(&scene, "S1RTC");
    assert_eq!(read(&scene, "S1RTC"), Ok((own, silent)));
}

#[test]
fn what_is_transparent_is_no_data_in_files_of_every_kind() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = silent_scene(dir.path());
    for (name, kind, opaque) in [
        ("DEM", GdalDataType::Float32, 255.0),
        ("S1RTC", GdalDataType::Float32, 1.0),
        ("S2L2A_10m", GdalDataType::UInt16, 65_535.0),
    ] {
        let (own, _) = read(&scene, name).expect("as it is");
        let mut file = Rewritten::of(name);
        let n = file.size.0 * file.size.1;
        let hidden = n * 2 / 5;
        file.bands.iter_mut().for_each(|(_, values)| values[..hidden].fill(33_333.0));
        file.bands.push((String::new(), (0..n).map(|i| if i < hidden { 0.0 } else { opaque }).collect()));
        file.colors = (1..file.bands.len()).map(|_| ColorInterpretation::Undefined).collect();
        file.colors.push(ColorInterpretation::AlphaBand);
        file.kind = kind;
        file.write(&scene, name);
        let (pixels, notes) = read(&scene, name).expect("read");
        assert!(notes.contains("in the window is no data"), "{name}: {notes}");
        assert!(!pixels.contains(&33_333.0) && pixels.iter().zip(&own).all(|(v, own)| *v == 0.0 || v == own), "{name}");
        // What is measured is no mask, whatever a program that wrote four bands called the fourth.
        let mut four = Rewritten::of("S2L2A_10m");
        four.colors = (0..3).map(|_| ColorInterpretation::Undefined).collect();
        four.colors.push(ColorInterpretation::AlphaBand);
        four.write(&scene, "S2L2A_10m");
        assert_eq!(
            read(&scene, "S2L2A_10m").expect("read").0,
            read(&common::scene(COMPLETE), "S2L2A_10m").expect("as it is").0
        );
    }
}

#[test]
fn bands_without_names_are_told_by_their_colours() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let (own, _) = read(&scene, "S2L2A_10m").expect("as it is");
    let mut file = Rewritten::of("S2L2A_10m");
    let by_name: std::collections::BTreeMap<String, Vec<f64>> = file.bands.drain(..).collect();
    file.bands = ["B08", "B04", "B03", "B02"].map(|name| (String::new(), by_name[name].clone())).into();
    use ColorInterpretation::{BlueBand, GreenBand, RedBand, Undefined};
    let chosen = |file: &Rewritten| {
        file.write(dir.path(), "chosen");
        let table = ModalityTable::published();
        let m = &table[table.index("S2L2A_10m").expect("modality")];
        let window =
            Scene::open(&scene).and_then(|scene| scene.window(table.window_m(), Window::Centre)).expect("window");
        let mut notes = Vec::new();
        let given =
            copgen::scene::read_raster_for(m, &dir.path().join("chosen.tif"), &window, &mut notes).expect("read");
        let Value::Image(raster) = given.value else { panic!("a raster") };
        (raster.data, notes.join("\n"))
    };
    file.colors = vec![Undefined, RedBand, GreenBand, BlueBand];
    let (pixels, notes) = chosen(&file);
    assert!(pixels == own && !notes.contains("no names"), "{notes}");
    file.colors = (0..4).map(|_| Undefined).collect();
    let (pixels, notes) = chosen(&file);
    assert!(pixels != own && notes.contains("its bands have no names"), "{notes}");
}

#[test]
fn places_that_are_none_are_refused() {
    let dir = tempfile::tempdir().expect("folder");
    let table = ModalityTable::published();
    let like = Rewritten::of("DEM");
    let (left, top) = (like.transform[0], like.transform[3]);
    let at = |left: f64, top: f64| {
        let transform = [left, 30.0, 0.0, top, 0.0, -30.0];
        Rewritten { transform, ..Rewritten::of("DEM") }.write(dir.path(), "DEM");
        Scene::open(dir.path())
            .map(|scene| scene.window(table.window_m(), Window::Centre).is_ok())
            .map_err(|e| e.to_string())
    };
    assert_eq!(at(left, top), Ok(true));
    // Neighbouring zones are written in one system for some way.
    assert_eq!(at(5_000.0, top), Ok(true));
    for (left, top, said) in [
        (1e20, top, "no place on Earth in any system"),
        (left, 3e7, "no place on Earth lies there"),
        (left, -3e6, "no place on Earth lies there"),
        (2.0e6, top, "on the ground there"),
    ] {
        let problem = at(left, top).expect_err(said);
        assert!(problem.contains(said) && problem.contains("DEM.tif"), "{problem}");
    }
}

#[test]
fn a_system_with_a_height_axis_is_that_of_its_places() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let plain = read(&scene, "DEM").expect("as it is");
    let like = Rewritten::of("DEM");
    let code: i32 = like.system.trim_start_matches("EPSG:").parse().expect("a code");
    let (zone, south) = (code % 100, code / 100 == 327);
    let length = "LENGTHUNIT[\"metre\",1]";
    let degrees = "ANGLEUNIT[\"degree\",0.0174532925199433]";
    let system = format!(
        "PROJCRS[\"UTM with heights\",BASEGEOGCRS[\"WGS 84\",DATUM[\"World Geodetic System 1984\",ELLIPSOID[\"WGS 84\",6378137,298.257223563,{length}]],PRIMEM[\"Greenwich\",0,{degrees}],ID[\"EPSG\",4979]],CONVERSION[\"UTM zone\",METHOD[\"Transverse Mercator\",ID[\"EPSG\",9807]],PARAMETER[\"Latitude of natural origin\",0,{degrees},ID[\"EPSG\",8801]],PARAMETER[\"Longitude of natural origin\",{meridian},{degrees},ID[\"EPSG\",8802]],PARAMETER[\"Scale factor at natural origin\",0.9996,SCALEUNIT[\"unity\",1],ID[\"EPSG\",8805]],PARAMETER[\"False easting\",500000,{length},ID[\"EPSG\",8806]],PARAMETER[\"False northing\",{equator},{length},ID[\"EPSG\",8807]]],CS[Cartesian,3],AXIS[\"(E)\",east,ORDER[1],{length}],AXIS[\"(N)\",north,ORDER[2],{length}],AXIS[\"ellipsoidal height (h)\",up,ORDER[3],{length}]]",
        meridian = zone * 6 - 183,
        equator = if south { 10_000_000 } else { 0 },
    );
    Rewritten { system, ..like }.write(&scene, "DEM");
    assert_eq!(read(&scene, "DEM"), Ok(plain));
}

#[test]
fn a_raster_that_lies_by_formulas_alone_is_refused_for_it() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("DEM.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let mut file = driver.create_with_band_type::<f32, _>(&path, 64, 64, 1).expect("file");
    let zeros = |first: &str| format!("{first} {}", ["0"; 19].join(" "));
    let one = |at: usize| (0..20).map(|i| if i == at { "1" } else { "0" }).collect::<Vec<_>>().join(" ");
    for (key, value) in [
        ("LINE_OFF", "32".to_owned()),
        ("SAMP_OFF", "32".into()),
        ("LAT_OFF", "46.5".into()),
        ("LONG_OFF", "11.35".into()),
        ("HEIGHT_OFF", "500".into()),
        ("LINE_SCALE", "32".into()),
        ("SAMP_SCALE", "32".into()),
        ("LAT_SCALE", "0.1".into()),
        ("LONG_SCALE", "0.1".into()),
        ("HEIGHT_SCALE", "500".into()),
        ("LINE_NUM_COEFF", one(2)),
        ("LINE_DEN_COEFF", zeros("1")),
        ("SAMP_NUM_COEFF", one(1)),
        ("SAMP_DEN_COEFF", zeros("1")),
    ] {
        file.set_metadata_item(key, &value, "RPC").expect("formula");
    }
    file.close().expect("written");
    let problem = Scene::open(dir.path()).expect_err("no place").to_string();
    assert!(problem.contains("by formulas alone") && problem.contains("DEM.tif"), "{problem}");
}

#[test]
fn what_cannot_be_true_is_no_truth() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let table = ModalityTable::published();
    let i = table.index("DEM").expect("modality");
    let truth = |change: &dyn Fn(f64, bool) -> f64| {
        let mut file = Rewritten::of("DEM");
        let half = file.bands[0].1.len() * 2 / 5;
        file.bands[0].1.iter_mut().enumerate().for_each(|(at, v)| *v = change(*v, at < half));
        file.write(&scene, "DEM");
        let opened = Scene::open(&scene).expect("scene");
        let window = opened.window(table.window_m(), Window::Centre).expect("window");
        opened.read(&table, &window, &[i]).expect("read").truth(&table).map(|mut values| values[i].take())
    };
    let image = |value: Option<Value>| value.and_then(|value| value.image().cloned()).expect("raster");
    let own = image(truth(&|v, _| v).expect("truth"));
    assert_eq!(own.valid(), None);
    for none in [32_767.0, -9999.0, 20_000.0] {
        let found = image(truth(&|v, first| if first { none } else { v }).expect("truth"));
        assert!((0.5..0.8).contains(&found.valid_share()), "{none}: {}", found.valid_share());
        assert!(found.data.iter().zip(&own.data).all(|(a, b)| *a == 0.0 || a == b), "{none}");
    }
    let problem = truth(&|v, _| v + 20_000.0).expect_err("nothing").to_string();
    assert!(problem.contains("can be no measurement") && problem.contains("DEM.tif"), "{problem}");
    // Voids by the largest number of their type are holes of the data itself.
    assert!(Catalogue::bundled().group("DEM").expect("group").about.is_no_data(32_767.0));
}

#[test]
fn a_check_of_a_raster_of_very_many_pixels_looks_at_some_of_them_and_says_so() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let like = Rewritten::of("DEM");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let options = ["SPARSE_OK=TRUE", "TILED=YES", "BLOCKXSIZE=1024", "BLOCKYSIZE=1024", "COMPRESS=DEFLATE"];
    let options = gdal::raster::RasterCreationOptions::from_iter(options);
    let side = 60_000;
    let path = scene.join("DEM.tif");
    let mut file = driver.create_with_band_type_with_options::<i16, _>(&path, side, side, 1, &options).expect("raster");
    file.set_geo_transform(&like.transform).expect("transform");
    let system = gdal::spatial_ref::SpatialRef::from_definition(&like.system).expect("system");
    file.set_spatial_ref(&system).expect("system");
    file.rasterband(1).expect("band").set_description("DEM").expect("name");
    file.close().expect("written");
    let output = copgen().args(["scene", "check"]).arg(&scene).timeout(std::time::Duration::from_secs(120)).output();
    let text = String::from_utf8_lossy(&output.expect("run").stdout).into_owned();
    assert!(text.contains("% valid of the 0.9 % of its pixels that were looked at"), "{text}");
    assert!(
        text.contains("B02: UInt16") && text.lines().filter(|line| line.contains("looked at")).count() == 1,
        "{text}"
    );
}

#[test]
fn a_date_set_by_hand_that_cannot_be_is_questioned() {
    let dir = tempfile::tempdir().expect("folder");
    for (date, questioned) in [("2023-04-19", false), ("1850-01-01", true), ("9999-12-31", true)] {
        let out = dir.path().join(date);
        let set = format!("date={date}");
        let arguments = ["--given", "DEM", "--generate", "S1RTC", "--set", &set, "--samples", "1", "--steps", "1"];
        let output = common::generate(&common::scene(COMPLETE), &out, &arguments).output().expect("run");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        assert_eq!(told.contains(&format!("The date that was set, {date}, lies outside")), questioned, "{told}");
    }
}

#[test]
fn tags_that_take_off_the_offset_are_not_contradicted_where_a_cell_is_fetched() {
    use crate::common::major_tom::{Format, L2A, row, write};
    use copgen::net::Network;
    use copgen::source::major_tom::{Access, Origin, choose, fetch, look_up};
    let dir = tempfile::tempdir().expect("folder");
    let cell = "433D_629L".parse().expect("cell");
    for (name, tagged) in [("silent", false), ("tagged", true)] {
        let mut cell_row = row(COMPLETE, "S2L2A", L2A, "2022-01-19 14:37:29");
        let blob = dir.path().join("blob.tif");
        for bytes in cell_row.blobs.values_mut().filter(|_| tagged) {
            std::fs::write(&blob, &bytes).expect("blob");
            let update = gdal::DatasetOptions { open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE, ..Default::default() };
            let mut file = gdal::Dataset::open_ex(&blob, update).expect("blob");
            let mut band = file.rasterband(1).expect("band");
            band.set_scale(1e-4).and_then(|()| band.set_offset(-0.1)).expect("tags");
            // With the offset that the tags take off.
            let size = file.raster_size();
            let stored = band.read_as::<u16>((0, 0), size, size, None).expect("pixels");
            let stored = stored.data().iter().map(|v| if *v == 0 { 0 } else { v + 1000 }).collect();
            band.write((0, 0), size, &mut gdal::raster::Buffer::new(size, stored)).expect("pixels");
            file.flush_cache().expect("written");
            drop(file);
            *bytes = std::fs::read(&blob).expect("blob");
        }
        let path = dir.path().join(format!("{name}.parquet"));
        write(&path, &[cell_row], &Format::default());
        let access = Access::new(Network::default(), std::sync::Arc::default());
        let rows = look_up(&Origin::File(path), cell, &access).expect("rows");
        let made = fetch(&choose(&rows, cell, &[]).expect("row"), &dir.path().join(name), &access).expect("scene");
        let notes = Scene::open(&made.dir).expect("scene").notes().join("\n");
        assert_eq!(notes.contains("It was left in"), !tagged, "{name}: {notes}");
        let (pixels, notes) = read(&made.dir, "S2L2A_10m").expect("pixels");
        assert!(pixels == read(&common::scene(COMPLETE), "S2L2A_10m").expect("as it is").0, "{name}");
        assert_eq!(notes.contains("read as its tags say"), tagged, "{name}: {notes}");
    }
}
