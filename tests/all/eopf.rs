//! Sentinel-2 products in EOPF's encoding are scenes: the same pixels as from GeoTIFFs of them, at the same place and time.

use crate::common::{self, COMPLETE};
use copgen::modality::ModalityTable;
use copgen::scene::{Scene, Window};
use gdal::{Dataset, Metadata};
use serde_json::json;
use std::path::Path;

/// Chunks of an array: so many rows and columns.
const CHUNK: usize = 50;

fn write(path: &Path, value: &serde_json::Value) {
    std::fs::write(path, value.to_string()).expect("written");
}

/// An array of 16-bit numbers as Zarr of version 2 has it, without compression.
fn array(dir: &Path, (width, height): (usize, usize), values: &[u16], about: &serde_json::Value) {
    std::fs::create_dir_all(dir).expect("folder");
    write(
        &dir.join(".zarray"),
        &json!({
            "zarr_format": 2, "shape": [height, width], "chunks": [CHUNK, CHUNK], "dtype": "<u2", "fill_value": 0,
            "order": "C", "filters": null, "compressor": null, "dimension_separator": "."
        }),
    );
    write(&dir.join(".zattrs"), about);
    for (row, column) in (0..height.div_ceil(CHUNK)).flat_map(|r| (0..width.div_ceil(CHUNK)).map(move |c| (r, c))) {
        let at = |k: usize| {
            let (y, x) = (row * CHUNK + k / CHUNK, column * CHUNK + k % CHUNK);
            if y < height && x < width { values[y * width + x] } else { 0 }
        };
        let bytes: Vec<u8> = (0..CHUNK * CHUNK).flat_map(|k| at(k).to_le_bytes()).collect();
        std::fs::write(dir.join(format!("{row}.{column}")), bytes).expect("written");
    }
}

/// The surface reflectance of the complete scene as a product, with the offset of its baseline.
fn product(dir: &Path) {
    write_root(dir, &json!({ "datetime": "2021-01-14T14:37:41Z", "processing:level": "L2A" }));
    for (group, metres) in [("S2L2A_10m", 10), ("S2L2A_20m", 20), ("S2L2A_60m", 60)] {
        let file = Dataset::open(common::scene(COMPLETE).join(format!("{group}.tif"))).expect("raster");
        let size = file.raster_size();
        let [left, dx, _, top, _, dy] = file.geo_transform().expect("transform");
        let system = file.spatial_ref().and_then(|system| system.auth_code()).expect("code");
        for band in file.rasterbands() {
            let band = band.expect("band");
            let pixels = band.read_as::<u16>((0, 0), size, size, None).expect("pixels");
            let stored: Vec<u16> = pixels.data().iter().map(|v| if *v == 0 { 0 } else { v + 1000 }).collect();
            let name = band.description().expect("name").to_lowercase();
            let about = json!({
                "_ARRAY_DIMENSIONS": ["y", "x"], "scale_factor": 1e-4, "add_offset": -0.1, "proj:epsg": system,
                "proj:transform": [dx, 0.0, left, 0.0, dy, top]
            });
            array(&dir.join(format!("measurements/reflectance/r{metres}m/{name}")), size, &stored, &about);
        }
    }
}

fn write_root(dir: &Path, properties: &serde_json::Value) {
    std::fs::create_dir_all(dir.join("measurements/reflectance")).expect("folder");
    write(&dir.join(".zgroup"), &json!({ "zarr_format": 2 }));
    write(&dir.join(".zattrs"), &json!({ "stac_discovery": { "properties": properties } }));
}

#[test]
fn a_product_has_the_pixels_place_and_time_of_its_geotiffs() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("S2A_MSIL2A_20210114T143741_N0511_R096_T18HYC_20230101T000000.zarr");
    product(&path);
    let table = ModalityTable::published();
    let wanted: Vec<usize> = (0..table.len()).filter(|&i| table[i].family == "S2L2A").collect();
    let read = |scene: &Path| {
        let scene = Scene::open(scene).expect("scene");
        let window = scene.window(table.window_m(), Window::Centre).expect("window");
        let found = scene.read(&table, &window, &wanted).expect("pixels");
        (window, wanted.iter().map(|&i| found.values[i].clone().expect("there")).collect::<Vec<_>>(), found.notes)
    };
    let (own_place, own, _) = read(&common::scene(COMPLETE));
    let (place, found, notes) = read(&path);
    assert_eq!(place, own_place);
    for (found, own) in found.iter().zip(&own) {
        assert_eq!(found.value.image(), own.value.image());
        assert_eq!(found.date.as_deref(), Some("2021-01-14T14:37:41Z"));
    }
    assert!(notes.iter().any(|note| note.contains("0.0001") && note.contains("0.1")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("offset of 1000")), "{notes:?}");
    let out = dir.path().join("out");
    let arguments = ["--given", "S2L2A", "--generate", "DEM", "--samples", "1", "--steps", "1"];
    common::success(&mut common::generate(&path, &out, &arguments));
    assert!(common::files(&out).iter().any(|file| file.starts_with("S2A_MSIL2A") && file.ends_with("DEM.tif")));
}

#[test]
fn what_is_no_such_product_is_said() {
    let dir = tempfile::tempdir().expect("folder");
    let problem = |name: &str, change: &dyn Fn(&Path)| {
        let path = dir.path().join(name);
        product(&path);
        change(&path);
        Scene::open(&path).expect_err("refused").to_string()
    };
    let newer = problem("newer", &|path| write(&path.join("zarr.json"), &json!({ "zarr_format": 3 })));
    assert!(newer.contains("version 3"), "{newer}");
    let nameless = problem("nameless", &|path| write_root(path, &json!({})));
    assert!(nameless.contains("processing:level"), "{nameless}");
    let b02 = |path: &Path| path.join("measurements/reflectance/r10m/b02");
    // One band without a place spoils its group alone.
    let path = dir.path().join("placeless");
    product(&path);
    for name in ["b02", "b03", "b04", "b08"] {
        write(&b02(&path).with_file_name(name).join(".zattrs"), &json!({ "proj:epsg": 32718 }));
    }
    let text = common::copgen().args(["scene", "check"]).arg(&path).output().expect("run").stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("S2L2A_10m: cannot be used") && text.contains("proj:transform"), "{text}");
    assert!(text.contains("B05: UInt16, scale 0.0001, offset -0.1, no data 0"), "{text}");
}

#[test]
fn what_means_nothing_is_also_said_in_attributes() {
    let dir = tempfile::tempdir().expect("folder");
    let table = ModalityTable::published();
    let i = table.index("S2L2A_10m").expect("modality");
    for (name, said) in
        [("attribute", json!({ "_FillValue": 65535 })), ("own", json!({ "_eopf_attrs": { "fill_value": 65535 } }))]
    {
        let path = dir.path().join(name);
        product(&path);
        for band in ["b02", "b03", "b04", "b08"] {
            let folder = path.join("measurements/reflectance/r10m").join(band);
            // A chunk in the middle.
            std::fs::write(folder.join("2.2"), vec![0xff; 2 * CHUNK * CHUNK]).expect("written");
            let text = std::fs::read_to_string(folder.join(".zattrs")).expect("attributes");
            let mut about: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            about.as_object_mut().expect("object").extend(said.as_object().expect("object").clone());
            write(&folder.join(".zattrs"), &about);
        }
        let scene = Scene::open(&path).expect("scene");
        let window = scene.window(table.window_m(), Window::Centre).expect("window");
        let found = scene.read(&table, &window, &[i]).expect("pixels");
        let raster = found.values[i].as_ref().and_then(|given| given.value.image()).expect("raster");
        assert_eq!(raster.valid().map(|valid| valid.holes().count()), Some(CHUNK * CHUNK), "{name}: {:?}", found.notes);
        assert!(raster.data.iter().all(|v| *v < 60_000.0));
    }
}
