//! What is fetched is put together of several files: coarser copies, neighbours that hold only some bands, and sources that were
//! described wrongly before.

use crate::common::catalogue::{Catalogue, ground, real};
use crate::common::server::{Reply, Seen};
use crate::common::{copgen, failure, files, success};
use crate::sources::fetch;
use copgen::scene::{GeoTiff, Meaning, Pixels};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Items in place of what the catalogue has.
fn answering(catalogue: &Catalogue, items: Vec<Value>) {
    catalogue.server.handle("/search", move |_: &Seen| {
        Reply::json(&json!({"type": "FeatureCollection", "features": items, "links": []}))
    });
}

/// An item with these files by channel.
fn item(
    catalogue: &Catalogue,
    id: &str,
    collection: &str,
    bounds: [f64; 4],
    at: &str,
    assets: &[(&str, &str)],
) -> Value {
    let assets: serde_json::Map<String, Value> = assets
        .iter()
        .map(|(name, file)| ((*name).to_owned(), json!({"href": format!("{}/files/{file}", catalogue.server.url)})))
        .collect();
    json!({"id": id, "collection": collection, "bbox": bounds, "assets": assets,
        "properties": {"datetime": at, "platform": "a", "updated": at, "s2:processing_baseline": "05.09", "eo:cloud_cover": 1.0}})
}

fn raster(dir: &Path, name: &str, pixel_m: f64, values: &[f32]) {
    let side = (2160.0 / pixel_m) as usize;
    let file = GeoTiff {
        footprint: &ground(),
        pixel_m,
        size: (side, side),
        bands: vec![(String::new(), values)],
        pixels: Pixels::WithHoles(-32768.0),
        meaning: Meaning::default(),
        metadata: Vec::new(),
        cloud_optimised: true,
    };
    file.write(&dir.join(name), true).expect("raster");
}

fn fetched(command: &mut assert_cmd::Command) -> PathBuf {
    PathBuf::from(success(command).lines().last().expect("a folder"))
}

fn pixel(path: &Path, band: usize, at: (isize, isize)) -> f32 {
    let dataset = gdal::Dataset::open(path).expect("raster");
    dataset.rasterband(band).expect("band").read_as::<f32>(at, (1, 1), (1, 1), None).expect("pixel").data()[0]
}

const WORLD: [f64; 4] = [-180.0, -90.0, 180.0, 90.0];
const EVENING: &str = "2023-03-11T23:43:09Z";

#[test]
fn a_coarser_copy_does_not_hide_a_finer_one_and_alone_it_is_told() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    for (k, name) in ["coarse_vv.tif", "coarse_vh.tif"].into_iter().enumerate() {
        raster(catalogue.dir.path(), name, 60.0, &vec![0.5 + k as f32; 36 * 36]);
    }
    let coarse = [("vv", "coarse_vv.tif"), ("vh", "coarse_vh.tif")];
    let fine = [("vv", "vv.tif"), ("vh", "vh.tif")];
    // What was changed last is looked at first.
    let copy = item(&catalogue, "copy", "radar", WORLD, "2023-03-11T23:43:10Z", &coarse);
    let whole = item(&catalogue, "whole", "radar", WORLD, EVENING, &fine);
    answering(&catalogue, vec![copy.clone(), whole]);
    let dir = fetched(&mut fetch(&catalogue, config.path(), &["--families", "S1RTC"]));
    let (radar, side) = real("S1RTC");
    assert_eq!(pixel(&dir.join("S1RTC.tif"), 1, (7, 5)), radar["vv"][17 * side + 19]);
    answering(&catalogue, vec![copy]);
    let output = fetch(&catalogue, config.path(), &["--families", "S1RTC"]).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("from coarser pixels of 60 m"), "{told}");
}

#[test]
fn a_neighbour_gives_the_bands_that_the_largest_image_lacks() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let fine: Vec<(String, String)> = ["B02", "B03", "B04", "B08"].map(|b| (b.to_owned(), format!("{b}.tif"))).into();
    let other = ["B05", "B06", "B07", "B8A", "B11", "B12"].map(|b| (b.to_owned(), format!("{b}.tif")));
    let all: Vec<(String, String)> = fine.iter().cloned().chain(other).collect();
    let pairs = |bands: &[(String, String)]| -> Vec<(&'static str, &'static str)> {
        bands.iter().map(|(a, b)| (&*a.clone().leak(), &*b.clone().leak())).collect()
    };
    let centre = ground().centre().expect("centre");
    let east = [centre.lon - 0.001, -90.0, 180.0, 90.0];
    let large = item(&catalogue, "large", "optical", WORLD, "2023-03-08T14:37:29Z", &pairs(&fine));
    let beside = item(&catalogue, "beside", "optical", east, "2023-03-08T14:37:40Z", &pairs(&all));
    answering(&catalogue, vec![large, beside]);
    let dir = fetched(&mut fetch(&catalogue, config.path(), &["--families", "S2L2A"]));
    assert_eq!(files(&dir), ["S2L2A_10m.tif", "S2L2A_20m.tif", "scene.json"]);
    for (name, band, [first, second]) in [("S2L2A_10m", "B04", [12, 12]), ("S2L2A_20m", "B05", [6, 6])] {
        let (bands, side) = real(name);
        assert_eq!(pixel(&dir.join(format!("{name}.tif")), 1, (0, 0)), bands[band][first * side + second], "{name}");
    }
    let text = std::fs::read_to_string(dir.join("scene.json")).expect("description");
    assert!(text.contains("beside and large"), "{text}");
}

#[test]
fn a_source_that_was_corrected_gives_other_data() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let families = ["--families", "S1RTC"];
    let (radar, side) = real("S1RTC");
    let expected = radar["vv"][17 * side + 19];
    let mut dirs = Vec::new();
    for factor in ["2.0", "1.0"] {
        let mut command = fetch(&catalogue, config.path(), &families);
        let radar = "collection = \"radar\"";
        let sources = catalogue.sources().replace(radar, &format!("{radar}\nmultiply = {factor}"));
        std::fs::write(config.path().join("sources.toml"), sources).expect("sources");
        let dir = fetched(&mut command);
        let factor: f32 = factor.parse().expect("number");
        assert!((pixel(&dir.join("S1RTC.tif"), 1, (7, 5)) - factor * expected).abs() <= 1e-6 * expected);
        dirs.push(dir);
    }
    assert_ne!(dirs[0], dirs[1]);
}

#[test]
fn the_data_base_of_another_installation_is_told_before_anything_is_fetched_or_written() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let other = config.path().join("other proj");
    std::fs::create_dir_all(&other).expect("folder");
    std::fs::write(other.join("proj.db"), "of another time").expect("file");
    let mut command = fetch(&catalogue, config.path(), &["--families", "S1RTC"]);
    let problem = failure(command.env("PROJ_DATA", &other).env_remove("PROJ_LIB"), 1);
    assert!(problem.contains("proj.db") && problem.contains("PROJ_DATA may lead to that of another"), "{problem}");
    assert!(catalogue.server.seen().iter().all(|seen| !seen.path.starts_with("/files/")));
    let out = config.path().join("out");
    let scene = crate::common::scene(crate::common::COMPLETE);
    let mut command = copgen();
    command.args(["generate", "--samples", "1", "--steps", "1", "--given", "DEM", "--scene"]).arg(scene);
    let problem = failure(command.arg("--out").arg(&out).env("PROJ_DATA", &other).env_remove("PROJ_LIB"), 1);
    assert!(problem.contains("proj.db") && files(&out).is_empty(), "{problem}");
}
