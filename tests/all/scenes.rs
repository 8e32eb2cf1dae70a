//! Real rasters to co-registered windows: bundled scenes, the Major TOM layout, places and dates.

use crate::common::{self, COMPLETE, files, scene, success};
use copgen::grid::GridCell;
use copgen::modality::{ModalityTable, Value};
use copgen::scene::{Scene, Window};
use gdal::Dataset;

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
        &std::fs::read_to_string(common::project("models/recipes/demo_modalities.json")).expect("table"),
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
    assert_eq!(places, 8);
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
