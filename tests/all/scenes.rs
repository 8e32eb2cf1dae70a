//! Real rasters to co-registered windows: bundled scenes, the Major TOM layout, places and dates.

use crate::common::{self, COMPLETE, files, scene, success};
use copgen::grid::GridCell;
use copgen::job::{Event, Place, Request, SetValue, Stage, observe, observe_all, run};
use copgen::modality::{ClassMap, Modality, ModalityTable, Raster, Value};
use copgen::model::{Engine, Model};
use copgen::sampler::{Role, Roles, SamplerOptions};
use copgen::scene::{Extent, Scene, Window};
use gdal::raster::{Buffer, GdalDataType};
use gdal::{Dataset, DriverManager, Metadata};
use std::path::Path;

fn index(table: &ModalityTable, name: &str) -> usize {
    table.index(name).expect("in the table")
}

#[test]
fn the_published_window_is_the_same_ground_in_every_modality() {
    let table = ModalityTable::published();
    let opened = Scene::open(&scene(COMPLETE)).expect("scene");
    let window = opened.window(table.window_m(), Window::Centre).expect("window");
    let all: Vec<usize> = (0..table.len()).collect();
    assert_eq!(opened.available(&table), all);
    let observed = opened.read(&table, &window, &all).expect("values");
    for (m, given) in table.iter().zip(&observed.values) {
        let value = &given.as_ref().expect("known").value;
        let Some(raster) = value.image() else { continue };
        assert_eq!((raster.channels, raster.height, raster.width), (m.channels.len(), m.pixels, m.pixels));
        // B.2: floor((H − h) / 2) pixels, read independently of the code under test.
        let dataset = Dataset::open(scene(COMPLETE).join(format!("{}.tif", m.name))).expect("raster");
        let side = dataset.raster_size().0;
        let at = ((side - m.pixels) / 2) as isize;
        for (c, channel) in m.channels.iter().enumerate() {
            let band = (1..=dataset.raster_count())
                .map(|i| dataset.rasterband(i).expect("band"))
                .find(|band| gdal::Metadata::description(band).is_ok_and(|d| d == *channel))
                .unwrap_or_else(|| panic!("{} has no band {channel}", m.name));
            let size = (m.pixels, m.pixels);
            let expected = band.read_as::<f32>((at, at), size, size, None).expect("pixels");
            assert!(raster.channel(c) == expected.data(), "{} {channel}", m.name);
        }
    }
    match observed.values[0].as_ref().map(|given| &given.value) {
        Some(Value::Location(at)) => {
            let cell = GridCell::containing(*at).expect("cell");
            assert_eq!(cell.to_string(), "433D_629L");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_bundled_scene_can_be_read_whole_and_names_its_licence() {
    let table: ModalityTable = serde_json::from_str(
        &std::fs::read_to_string(common::project("models/recipes/cascade_modalities.json")).expect("table"),
    )
    .expect("table");
    let mut places = 0;
    for name in files(&common::project("assets/scenes")) {
        if !scene(&name).is_dir() {
            continue;
        }
        let opened = Scene::open(&scene(&name)).expect("scene");
        assert!(opened.attribution().is_some_and(|text| !text.is_empty()), "{name} names no attribution");
        let window = opened.window(table.window_m(), Window::Centre).expect("window");
        opened.read(&table, &window, &opened.available(&table)).unwrap_or_else(|e| panic!("{name}: {e}"));
        places += 1;
    }
    assert_eq!(places, 10);
}

#[test]
fn the_major_tom_layout_gives_the_same_window_and_the_same_realisations() {
    let root = tempfile::tempdir().expect("folder");
    let cell = "433D_629L";
    let table = ModalityTable::published();
    common::major_tom::layout(root.path(), COMPLETE);
    let folder = Scene::open(&scene(COMPLETE)).expect("scene");
    let cells = Scene::open_major_tom(root.path(), cell).expect("cell");
    let read = |opened: &Scene, names: &[&str]| {
        let wanted: Vec<usize> = names.iter().map(|name| index(&table, name)).collect();
        let window = opened.window(table.window_m(), Window::Centre).expect("window");
        opened.read(&table, &window, &wanted).expect("values")
    };
    let names = ["DEM", "S1RTC", "S2L1C_10m", "S2L1C_60m", "S2L2A_20m", "LULC", "cloud_mask"];
    let (a, b) = (read(&folder, &names), read(&cells, &names));
    assert_eq!(a.footprint, b.footprint);
    for name in names {
        let value = |o: &copgen::scene::Observation| o.values[index(&table, name)].clone().map(|given| given.value);
        assert!(value(&a) == value(&b), "{name} differs between the two layouts");
    }
    // Half-way between radar and surface reflectance (B.9).
    assert_eq!(cells.date().map(|date| date.to_string()).as_deref(), Some("2022-01-17"));

    let out = root.path().join("out");
    let mut command = common::copgen();
    command.arg("generate").arg("--major-tom").arg(root.path()).args(["--cell", cell, "--given", "DEM,LULC,date"]);
    command.args(["--generate", "S2L2A_60m", "--samples", "1", "--steps", "1", "--out"]).arg(&out);
    success(&mut command);
    assert_eq!(files(&out).len(), 1);
    let message = common::failure(command.args(["--cell"]).arg("1U_1R").arg("--overwrite"), 2);
    assert!(message.contains("--cell"), "{message}");
    assert!(Scene::open_major_tom(root.path(), "1U_1R").is_err());
    assert!(Scene::open_major_tom(root.path(), "../../etc").is_err());
}

#[test]
fn a_bad_picture_does_not_hide_good_measurements() {
    let dir = tempfile::tempdir().expect("folder");
    let name = "DEM.tif";
    std::fs::copy(scene(COMPLETE).join(name), dir.path().join(name)).expect("copy");
    let deep = image::ImageBuffer::<image::Luma<u16>, Vec<u16>>::from_pixel(300, 300, image::Luma([40_000]));
    deep.save(dir.path().join("DEM.png")).expect("picture");
    let table = ModalityTable::published();
    let opened = Scene::open(dir.path()).expect("scene");
    let window = opened.window(table.window_m(), Window::Centre).expect("window");
    let observed = opened.read(&table, &window, &[index(&table, "DEM")]).expect("elevations");
    let given = observed.values[index(&table, "DEM")].as_ref().expect("given");
    assert!(given.sources[0].ends_with(name), "{:?}", given.sources);
    // Where both are bad, the measurements are named.
    std::fs::write(dir.path().join(name), "no raster").expect("file");
    assert!(Scene::open(dir.path()).expect_err("nothing good").to_string().contains(name));
}

#[test]
fn a_description_of_rasters_elsewhere_is_no_raster() {
    let dir = tempfile::tempdir().expect("folder");
    let target = scene(COMPLETE).join("DEM.tif");
    let from = Dataset::open(&target).expect("raster");
    let place = dir.path().join("place");
    std::fs::create_dir_all(&place).expect("folder");
    let vrt = place.join("DEM.vrt");
    gdal::programs::raster::build_vrt(Some(&vrt), std::slice::from_ref(&from), None)
        .expect("VRT")
        .close()
        .expect("VRT");
    std::fs::rename(&vrt, place.join("DEM.tif")).expect("renamed");
    assert!(Dataset::open(place.join("DEM.tif")).is_ok(), "GDAL would follow it");
    let error = Scene::open(&place).expect_err("refused").to_string();
    assert!(error.contains("not a raster") && error.contains("GeoTIFF") && error.contains("DEM.tif"), "{error}");
    assert!(copgen::scene::recognise(&place.join("DEM.tif")).is_err());
}

#[test]
fn an_extent_larger_than_a_window_is_read_whole_and_agrees_with_its_windows() {
    let table = ModalityTable::published();
    let whole = Place { extent: Extent::Whole, ..Place::scene(scene(COMPLETE), Window::Centre) };
    let all = observe_all(&table, &whole).expect("the whole scene");
    let ground = Scene::open(&scene(COMPLETE)).expect("scene").footprint().clone();
    assert_eq!(all.footprint, ground, "it is a whole number of 60 m pixels");
    assert!(all.tile.ends_with("_e0_s0_2160x2160m"), "{}", all.tile);
    let at = Window::At { east_m: 60.0, south_m: 180.0 };
    let window = observe_all(&table, &Place::scene(scene(COMPLETE), at)).expect("a window");
    for (i, m) in table.iter().enumerate() {
        let rasters = [&all, &window].map(|o| o.values[i].as_ref().and_then(|given| given.value.image()));
        let [Some(large), Some(small)] = rasters else { continue };
        assert_eq!((large.height, large.width), ground.pixels(m.ground_m).expect("whole pixels"), "{}", m.name);
        assert_eq!((small.height, small.width), (m.pixels, m.pixels), "{}", m.name);
        let (east, south) = ((60.0 / m.ground_m) as usize, (180.0 / m.ground_m) as usize);
        for c in 0..large.channels {
            for row in 0..small.height {
                let from = (row + south) * large.width + east;
                let part = &large.channel(c)[from..from + small.width];
                assert_eq!(part, &small.channel(c)[row * small.width..][..small.width], "{} row {row}", m.name);
            }
        }
    }
    // A rectangle that is no square, and leaves the place if moved.
    let part = Extent::Rectangle(ground.part(120.0, 60.0, 600.0, 1200.0));
    let part = observe_all(&table, &Place { extent: part, ..whole.clone() }).expect("a part");
    let index = index(&table, "S2L2A_20m");
    let raster = part.values[index].as_ref().and_then(|given| given.value.image()).expect("pixels");
    assert_eq!((raster.height, raster.width), (60, 30));
    let beyond = Extent::Rectangle(ground.part(1620.0, 60.0, 600.0, 1200.0));
    let refused = observe_all(&table, &Place { extent: beyond, ..whole }).expect_err("refused").to_string();
    assert!(refused.contains("leaves the place"), "{refused}");
}

/// A request of the bundled model on a place: land cover given, elevation generated.
fn request(model: &Model, place: Place) -> Request {
    let table = &model.manifest.modalities;
    let roles = Roles::new(table, &[index(table, "LULC")], Some(&[index(table, "DEM")])).expect("roles");
    Request {
        model: model.dir.clone(),
        place,
        roles,
        set: Default::default(),
        keep: Default::default(),
        samples: 3,
        first: 0,
        seed: 5,
        batch: 1,
        computing: Default::default(),
        options: SamplerOptions { steps: 2, ..SamplerOptions::default() },
        post: Default::default(),
    }
}

#[test]
fn what_is_set_by_hand_follows_the_extent_and_what_no_window_holds_is_refused_before_sampling() {
    let model = Model::open(&common::project("models/demo"), &Engine::cpu()).expect("model");
    let table = &model.manifest.modalities;
    let lulc = index(table, "LULC");
    let place = Place { extent: Extent::Whole, ..Place::scene(scene(COMPLETE), Window::Centre) };
    let mut request = request(&model, place);
    request.set.insert(lulc, SetValue::Class(1));
    let given = observe(table, &request).expect("given");
    let raster = given.values[lulc].as_ref().and_then(|given| given.value.image()).expect("classes");
    assert_eq!((raster.height, raster.width), (216, 216));
    request.set.insert(lulc, SetValue::Painted(ClassMap::constant((216, 216), 2)));
    assert!(observe(table, &request).is_ok());
    request.set.insert(lulc, SetValue::Painted(ClassMap::constant((96, 96), 2)));
    let refused = observe(table, &request).expect_err("of another size").to_string();
    assert!(refused.contains("has another size"), "{refused}");

    request.set.insert(lulc, SetValue::Class(1));
    let mut stages = Vec::new();
    let refused = run(&model, &request, &Default::default(), false, &mut |event| {
        if let Event::Stage(stage) = event {
            stages.push(stage);
        }
    });
    let refused = refused.expect_err("larger than a window").to_string();
    assert!(refused.contains("covers 2160 × 2160 m") && refused.contains("windows of 960 × 960 m"), "{refused}");
    assert_eq!(stages, [Stage::ReadingScene]);
    // Memory and files follow from the extent, too.
    let generated = request.roles.with(Role::Generated);
    assert_eq!(model.manifest.realisation_bytes(&generated, &given.footprint), 4 * 72 * 72);
}

#[test]
fn each_batch_is_sampled_and_then_decoded() {
    let model = Model::open(&common::project("models/demo"), &Engine::cpu()).expect("model");
    let request = request(&model, Place::scene(scene(COMPLETE), Window::Centre));
    let mut seen = Vec::new();
    run(&model, &request, &Default::default(), false, &mut |event| match event {
        Event::Stage(stage) => seen.push(stage.to_string()),
        Event::Realisation(made) => seen.push(made.index.to_string()),
        _ => {}
    })
    .expect("run");
    let batch = |index: &str| ["Sampling on CPU".to_owned(), "Decoding".into(), index.into()];
    let expected: Vec<String> = ["Reading the scene", "Encoding"]
        .map(str::to_owned)
        .into_iter()
        .chain(["0", "1", "2"].map(batch).into_iter().flatten())
        .collect();
    assert_eq!(seen, expected);
}

/// Where the centre window of the bundled scene begins, and its side, metres.
const WINDOW_M: [f64; 2] = [600.0, 960.0];

/// How a file says that there is nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Nothing {
    /// A declared value.
    Declared(f64),
    /// A value that nobody declared.
    Value(f64),
    /// A mask in the file, over values that mean nothing.
    Mask,
}

/// Writes a file of the complete scene anew: one value everywhere, except over a share of the window from its northern
/// side down, where there is nothing.
fn holed(scene: &Path, name: &str, value: f64, hole: f64, nothing: Nothing) {
    let path = scene.join(format!("{name}.tif"));
    let (size, transform, system, bands, kind) = {
        let like = Dataset::open(common::scene(COMPLETE).join(format!("{name}.tif"))).expect("raster");
        let bands: Vec<String> =
            like.rasterbands().map(|band| band.and_then(|band| band.description()).expect("name")).collect();
        let kind = like.rasterband(1).expect("band").band_type();
        let transform = like.geo_transform().expect("transform");
        (like.raster_size(), transform, like.spatial_ref().expect("system"), bands, kind)
    };
    let rows = |metres: f64| (metres / transform[1]).round() as usize;
    let [begin, side] = WINDOW_M;
    let inside = |i: usize| (rows(begin)..rows(begin + hole * side)).contains(&(i / size.0));
    let beneath = match nothing {
        Nothing::Declared(value) | Nothing::Value(value) => value,
        Nothing::Mask => 7.0,
    };
    let driver = DriverManager::get_driver_by_name("GTiff").expect("driver");
    let create = |path: &Path| match kind {
        GdalDataType::UInt8 => driver.create_with_band_type::<u8, _>(path, size.0, size.1, bands.len()),
        GdalDataType::UInt16 => driver.create_with_band_type::<u16, _>(path, size.0, size.1, bands.len()),
        _ => driver.create_with_band_type::<f32, _>(path, size.0, size.1, bands.len()),
    };
    let mut dataset = create(&path).expect("file");
    dataset.set_geo_transform(&transform).expect("transform");
    dataset.set_spatial_ref(&system).expect("system");
    let pixels = size.0 * size.1;
    for (i, name) in bands.iter().enumerate() {
        let mut band = dataset.rasterband(i + 1).expect("band");
        band.set_description(name).expect("name");
        if let (Nothing::Declared(value), true) = (nothing, hole > 0.0) {
            band.set_no_data_value(Some(value)).expect("no data");
        }
        let values = (0..pixels).map(|i| if inside(i) { beneath } else { value }).collect();
        band.write((0, 0), size, &mut Buffer::new(size, values)).expect("pixels");
    }
    if nothing == Nothing::Mask {
        let mut band = dataset.rasterband(1).expect("band");
        band.create_mask_band(true).expect("mask");
        let mask = (0..pixels).map(|i| if inside(i) { 0u8 } else { 255 }).collect();
        band.open_mask_band().expect("mask").write((0, 0), size, &mut Buffer::new(size, mask)).expect("mask");
    }
    dataset.close().expect("written");
}

/// What one realisation holds where something of a scene is given, and what was said.
fn given(scene: &Path, name: &str) -> (Vec<f32>, String) {
    let out = tempfile::tempdir().expect("folder");
    let arguments = ["--given", name, "--generate", "S2L1C_20m", "--samples", "1", "--steps", "2", "--seed", "3"];
    let output = common::generate(scene, out.path(), &arguments).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let file = files(out.path()).into_iter().find(|file| file.ends_with(".tif")).expect("a file");
    let dataset = Dataset::open(out.path().join(file)).expect("raster");
    let (width, height) = dataset.raster_size();
    let band = dataset.rasterband(1).expect("band");
    (band.read_as::<f32>((0, 0), (width, height), (width, height), None).expect("pixels").data().to_vec(), told)
}

#[test]
fn holes_are_filled_for_the_network_and_told_and_what_has_none_stays_silent() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    for (name, value, nothing, how) in [
        ("S2L2A_10m", 700.0, Nothing::Declared(0.0), "smoothly"),
        ("S2L2A_10m", 700.0, Nothing::Mask, "smoothly"),
        ("DEM", 300.0, Nothing::Value(f64::NAN), "smoothly"),
        ("DEM", 300.0, Nothing::Value(f64::INFINITY), "smoothly"),
        ("DEM", 300.0, Nothing::Declared(-9999.0), "smoothly"),
        ("S1RTC", 0.05, Nothing::Declared(-32768.0), "smoothly"),
        // "Unknown" is not "clear", whether the file declares it or not.
        ("cloud_mask", 1.0, Nothing::Value(255.0), "nearest"),
        ("cloud_mask", 1.0, Nothing::Declared(255.0), "nearest"),
        ("LULC", 2.0, Nothing::Value(0.0), "nearest"),
    ] {
        println!("{name} {nothing:?}");
        holed(&scene, name, value, 0.0, nothing);
        let (whole, silent) = given(&scene, name);
        assert!(!silent.contains("no data"), "{silent}");
        holed(&scene, name, value, 0.25, nothing);
        let (filled, told) = given(&scene, name);
        assert!(told.contains(&format!("{name}.tif: 25.0 % of {name} in the window is no data")), "{told}");
        assert!(
            told.contains(&format!("25.0 % of {name} is no data; for the network")) && told.contains(how),
            "{told}"
        );
        assert!(filled == whole, "the network saw something else than {value}");
        // Had the hole been taken for a value, the answer would be another.
        if let ("cloud_mask", Nothing::Value(_)) = (name, nothing) {
            holed(&scene, name, value, 0.25, Nothing::Value(0.0));
            assert!(given(&scene, name).0 != whole);
        }
        std::fs::copy(common::scene(COMPLETE).join(format!("{name}.tif")), scene.join(format!("{name}.tif")))
            .expect("copy");
        let _ = std::fs::remove_file(scene.join(format!("{name}.tif.msk")));
    }
}

#[test]
fn what_is_mostly_missing_is_read_but_not_given() {
    let table = ModalityTable::published();
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    for (hole, share) in [(0.75, "75.0 %"), (1.0, "100.0 %")] {
        holed(&scene, "S2L2A_10m", 700.0, hole, Nothing::Declared(0.0));
        let out = tempfile::tempdir().expect("folder");
        let arguments = ["--given", "S2L2A_10m", "--generate", "S2L2A_60m", "--samples", "1", "--steps", "1"];
        let message = common::failure(&mut common::generate(&scene, out.path(), &arguments), 1);
        for word in ["S2L2A_10m.tif", "B04", share, "another window"] {
            assert!(message.contains(word), "{word}: {message}");
        }
        assert!(files(out.path()).is_empty());
        // It can be looked at all the same.
        let opened = Scene::open(&scene).expect("scene");
        let optical = index(&table, "S2L2A_10m");
        // A window of 960 m whatever the table's, so that the share is the same.
        let mut small: Vec<Modality> = table.iter().cloned().collect();
        small[optical].pixels = 96;
        let window = opened.window(960.0, Window::Centre).expect("window");
        let table = ModalityTable::new(vec![small.swap_remove(optical)]).expect("table");
        let observed = opened.read(&table, &window, &[0]).expect("read");
        let raster = observed.values[0].as_ref().and_then(|given| given.value.image()).expect("image");
        assert!((raster.valid_share() - (1.0 - hole)).abs() < 1e-9);
        for pixel in 0..96 * 96 {
            let valid = pixel / 96 >= (hole * 96.0) as usize;
            assert_eq!(raster.is_valid(pixel), valid);
            assert_eq!(raster.channel(3)[pixel], if valid { 700.0 } else { Raster::BENEATH });
        }
    }
}
