//! Rasters that lie elsewhere and cannot be read as others: for good, only whole, or not by everybody.

use crate::common::catalogue::{Catalogue, ground, real};
use crate::common::server::{Fault, Reply, Seen, Server};
use crate::common::{failure, success};
use crate::sources::fetch;
use copgen::grid::Footprint;
use copgen::scene::{GeoTiff, Meaning, Pixels};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Requests for a file so far.
fn requests(server: &Server, path: &str) -> usize {
    server.seen().iter().filter(|seen| seen.path == path).count()
}

#[test]
fn what_is_wrong_with_a_raster_for_good_is_asked_for_once_and_told() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let (radar, side) = real("S1RTC");
    let nowhere = GeoTiff {
        footprint: &Footprint { crs: None, ..ground() },
        pixel_m: 10.0,
        size: (side, side),
        bands: vec![("vv".into(), radar["vv"].as_slice())],
        pixels: Pixels::WithHoles(-32768.0),
        meaning: Meaning::default(),
        metadata: Vec::new(),
        cloud_optimised: false,
    };
    nowhere.write(&catalogue.dir.path().join("vv.tif"), true).expect("raster");
    let error = failure(&mut fetch(&catalogue, config.path(), &["--families", "S1RTC"]), 1);
    assert!(error.contains("no coordinate system") && error.contains("choose another image"), "{error}");
    assert!(!error.contains("try again") && error.contains("/files/vv.tif"), "{error}");
    let asked = requests(&catalogue.server, "/files/vv.tif");
    assert!(asked <= 6, "read once: {asked} requests");
}

#[test]
fn servers_without_ranges_are_asked_once_for_each_file() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    catalogue.server.fail("/files/", Fault::IgnoreRange, usize::MAX);
    let printed = success(&mut fetch(&catalogue, config.path(), &["--families", "S1RTC"]));
    let dir = PathBuf::from(printed.lines().last().expect("folder"));
    let (radar, side) = real("S1RTC");
    let dataset = gdal::Dataset::open(dir.join("S1RTC.tif")).expect("raster");
    let pixel = dataset.rasterband(1).expect("band").read_as::<f32>((7, 5), (1, 1), (1, 1), None).expect("pixel");
    assert_eq!(pixel.data()[0], radar["vv"][17 * side + 19]);
    assert_eq!(["/files/vv.tif", "/files/vh.tif"].map(|file| requests(&catalogue.server, file)), [1, 1]);
    std::fs::remove_dir_all(&dir).expect("removed");
    // What is too large is not begun.
    let file = std::fs::File::options().write(true).open(catalogue.dir.path().join("vv.tif")).expect("file");
    file.set_len(80 << 20).expect("longer");
    let error = failure(&mut fetch(&catalogue, config.path(), &["--families", "S1RTC"]), 1);
    assert!(error.contains("sends whole files only"), "{error}");
    assert_eq!(requests(&catalogue.server, "/files/vv.tif"), 2);
}

#[test]
fn buckets_say_why_they_refuse() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let files = catalogue.dir.path().to_path_buf();
    let item = |seen: &Seen| {
        assert_eq!(seen.path, "/bucket-search/search");
        let assets = json!({"vv": {"href": "s3://bucket/in/vv.tif"}, "vh": {"href": "s3://bucket/in/vh.tif"}});
        let properties = json!({"datetime": "2023-03-11T23:43:09Z"});
        let item = json!({"id": "bucket", "bbox": [-180, -90, 180, 90], "properties": properties, "assets": assets});
        Reply::json(&json!({"type": "FeatureCollection", "features": [item], "links": []}))
    };
    catalogue.server.handle("/bucket-search/", item);
    catalogue.server.handle("/bucket/in/", move |seen: &Seen| {
        let name = seen.path.trim_start_matches("/bucket/in/");
        Reply::file(files.join(name))
    });
    let host = catalogue.server.url.trim_start_matches("http://");
    let access = format!("{{ kind = \"s3\", id = \"TEST_ID\", secret = \"TEST_SECRET\", endpoint = \"{host}\" }}");
    let attempt = || {
        let mut command = fetch(&catalogue, config.path(), &["--families", "S1RTC"]);
        let api = format!("api = \"{}\"", catalogue.server.url);
        let own = format!("api = \"{}/bucket-search\"\naccess = {access}", catalogue.server.url);
        std::fs::write(config.path().join("sources.toml"), catalogue.sources().replacen(&api, &own, 1))
            .expect("sources");
        command.env("AWS_HTTPS", "NO").env("TEST_ID", "the-id").env("TEST_SECRET", "the-secret");
        command.env("COPGEN_LOG", "trace").env("CPL_DEBUG", "ON").timeout(Duration::from_secs(100));
        command
    };
    for (status, told) in [(403, "access was refused"), (404, "nothing at this address")] {
        catalogue.server.heal();
        catalogue.server.fail("/bucket/", Fault::Status(status), usize::MAX);
        let before = catalogue.server.seen().len();
        let error = failure(&mut attempt(), 1);
        let line = error.lines().last().unwrap_or_default();
        assert!(line.contains(told) && line.contains("/bucket/in/v"), "{line}");
        assert!(!error.contains("the-secret") && !error.contains("X-Amz-Signature="), "{error}");
        let asked = catalogue.server.seen().len() - before;
        assert!(asked <= 16, "{status}: {asked} requests for two files and a search");
    }
    catalogue.server.heal();
    let dir = PathBuf::from(success(&mut attempt()).lines().last().expect("folder"));
    assert!(dir.join("S1RTC.tif").exists());
}
