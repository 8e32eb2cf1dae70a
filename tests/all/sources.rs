//! Open data of a place: searched, chosen, read and kept, with servers as good and as bad as real ones.

use crate::common::catalogue::{CELL, Catalogue, elevation, ground, real};
use crate::common::server::Fault;
use crate::common::{copgen, failure, files, generate, peak_memory, success};
use copgen::grid::{Crs, GridCell};
use copgen::modality::{Location, ModalityTable, Value};
use copgen::scene::{Scene, Window};
use copgen::source::Area;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program with this catalogue as its only source.
pub fn program(catalogue: &Catalogue, config: &Path) -> assert_cmd::Command {
    std::fs::write(config.join("sources.toml"), catalogue.sources()).expect("sources");
    let mut command = copgen();
    command.env("COPGEN_CONFIG", config).env("COPGEN_PLACES", config.join("places"));
    command
}

/// `copgen fetch` of the catalogue's cell and year.
pub fn fetch(catalogue: &Catalogue, config: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = program(catalogue, config);
    command.args(["fetch", "--cell", CELL, "--from", "2023-01-01", "--to", "2023-12-31"]).args(more);
    command
}

#[test]
fn a_place_is_searched_fetched_and_sampled() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let listed = success(&mut fetch(&catalogue, config.path(), &["--list", "--max-cloud", "100"]));
    for part in ["2023-03-08  cloud 2 %", "2023-03-18  cloud 64 %", "covers 100 %", "2023-03-11", "no date", "2021"] {
        assert!(listed.contains(part), "{part} is not in {listed}");
    }
    assert!(!listed.contains("2023-03-28"), "what lies beside is left out: {listed}");
    assert!(!success(&mut fetch(&catalogue, config.path(), &["--list"])).contains("64 %"));
    let printed = success(&mut fetch(&catalogue, config.path(), &[]));
    let dir = PathBuf::from(printed.lines().last().expect("a folder"));
    assert_eq!(
        files(&dir),
        [
            "DEM.tif",
            "LULC.tif",
            "S1RTC.tif",
            "S2L2A_10m.tif",
            "S2L2A_20m.tif",
            "S2L2A_60m.tif",
            "cloud_mask.tif",
            "scene.json"
        ]
    );
    let scene = Scene::open(&dir).expect("scene");
    let table = ModalityTable::published();
    let window = scene.window(1920.0, Window::Centre).expect("window");
    let wanted: Vec<usize> = scene.available(&table);
    let observed = scene.read(&table, &window, &wanted).expect("observation");
    let raster = |name: &str| match &observed.values[table.index(name).expect("name")].as_ref().expect("value").value {
        Value::Image(raster) => raster.clone(),
        other => panic!("{other:?}"),
    };
    // The source is 2160 m wide, the window lies in its middle: 12 pixels of 10 m in from its corner. Its pixels are the
    // real ones, without the offset.
    let (bands, side) = real("S2L2A_10m");
    let optical = raster("S2L2A_10m");
    for (k, channel) in ["B04", "B03", "B02", "B08"].iter().enumerate() {
        for (row, column) in [(0, 0), (100, 31), (191, 191)] {
            let expected = bands[*channel][(row + 12) * side + column + 12];
            assert_eq!(optical.channel(k)[row * 192 + column], expected, "{channel} {row} {column}");
        }
    }
    let (radar, side) = real("S1RTC");
    assert_eq!(raster("S1RTC").channel(0)[5 * 192 + 7], radar["vv"][17 * side + 19]);
    let (cover, side) = real("LULC");
    assert_eq!(raster("LULC").data[150 * 192 + 20], cover["LULC"][162 * side + 32]);
    // Two tiles of elevation in degrees, one plane in metres.
    let dem = raster("DEM");
    let crs = window.crs.clone().expect("system");
    for (row, column) in [(0, 0), (31, 32), (32, 32), (63, 63)] {
        let at = copgen::grid::Footprint {
            crs: Some(crs.clone()),
            left: window.left + column as f64 * 30.0,
            top: window.top - row as f64 * 30.0,
            width_m: 30.0,
            height_m: 30.0,
        };
        let expected = elevation(at.centre().expect("centre").lat);
        assert!(
            (f64::from(dem.data[row * 64 + column]) - expected).abs() < 0.5,
            "{row} {column}: {} for {expected}",
            dem.data[row * 64 + column]
        );
    }
    // Cloud in the north-west of the classification; the window begins 120 m inside.
    let mask = raster("cloud_mask");
    assert_eq!([mask.data[0], mask.data[95], mask.data[96], mask.data[96 * 192]], [1.0, 1.0, 0.0, 0.0]);
    // Where it all comes from travels with it.
    let text = std::fs::read_to_string(dir.join("scene.json")).expect("description");
    for part in [
        "S2A_clear",
        "S1A_near",
        "offset of 1000 removed",
        "processing baseline 05.09",
        "pixels unchanged",
        "bilinear",
        "north and south",
        "Loopback optical 2023",
        "/files/B04.tif",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(scene.date_of("S2L2A"), Some("2023-03-08T14:37:29Z"));
    let out = config.path().join("out");
    success(&mut generate(&dir, &out, &["--given", "DEM,S1RTC,LULC", "--samples", "1", "--steps", "2"]));
    let exported = files(&out).into_iter().find(|name| name.ends_with("S2L2A_10m.tif")).expect("exported");
    let dataset = gdal::Dataset::open(out.join(exported)).expect("raster");
    let from = gdal::Metadata::metadata_item(&dataset, "given_from", "").expect("lineage");
    assert!(from.contains("S1A_near") && from.contains("Earth Search"), "{from}");
    // The same again asks for no pixels.
    let before = catalogue.server.seen().iter().filter(|seen| seen.path.starts_with("/files/")).count();
    success(&mut fetch(&catalogue, config.path(), &[]));
    assert_eq!(catalogue.server.seen().iter().filter(|seen| seen.path.starts_with("/files/")).count(), before);
}

#[test]
fn other_places_and_choices() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let out = config.path().join("scenes");
    let place = ground().centre().expect("centre");
    let at = format!("{},{}", place.lat, place.lon);
    let mut command = program(&catalogue, config.path());
    command
        .args([
            "fetch",
            "--at",
            &at,
            "--from",
            "2023-01-01",
            "--to",
            "2023-12-31",
            "--max-cloud",
            "100",
            "--families",
            "S2L2A,S1RTC",
            "--choose",
            "S2L2A=1",
            "--choose",
            "S1RTC=2",
            "--area",
            "1920",
            "--out",
        ])
        .arg(&out);
    let dir = PathBuf::from(success(&mut command).lines().last().expect("folder"));
    assert!(dir.starts_with(&out) && dir.to_string_lossy().contains("2023-03-18"));
    let text = std::fs::read_to_string(dir.join("scene.json")).expect("description");
    assert!(text.contains("S2A_cloudy") && text.contains("S1A_early"), "{text}");
    let footprint = Scene::open(&dir).expect("scene").footprint().clone();
    assert_eq!(footprint.crs, Some(Crs("EPSG:32718".into())));
    assert!((footprint.left / 60.0).fract() == 0.0 && footprint.width_m == 1920.0);
    for bad in [
        vec!["--choose", "S2L2A=9"],
        vec!["--families", "S3"],
        vec!["--area", "100"],
        vec!["--from", "2024-12-31"],
        vec!["--at", "91,0"],
    ] {
        let code = 2;
        let mut command = program(&catalogue, config.path());
        command.args(["fetch", "--to", "2023-12-31"]);
        if bad[0] != "--at" {
            command.args(["--cell", CELL]);
        }
        failure(command.args(&bad), code);
    }
    let nothing = failure(&mut fetch(&catalogue, config.path(), &["--families", "S2L2A", "--max-cloud", "1"]), 2);
    assert!(nothing.contains("allow more"), "{nothing}");
}

#[test]
fn servers_that_fail_are_explained_and_leave_nothing_behind() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let server = &catalogue.server;
    let attempt = |path: &str, fault: Fault, times: usize| {
        server.heal();
        server.fail(path, fault, times);
        let mut command = fetch(&catalogue, config.path(), &["--families", "S1RTC"]);
        command.timeout(Duration::from_secs(100));
        command
    };
    for (path, fault, expected) in [
        ("/search", Fault::Status(403), "refused"),
        ("/search", Fault::ContentType("text/html"), "login page"),
        ("/search", Fault::RedirectLoop, "without end"),
        ("/search", Fault::WrongBytes, "no description"),
        ("/search", Fault::Endless, "more than"),
        ("/files/vv.tif", Fault::Status(404), "nothing at this address"),
        ("/files/vv.tif", Fault::Status(403), "refused"),
        ("/files/vv.tif", Fault::WrongBytes, "no GeoTIFF"),
    ] {
        let error = failure(&mut attempt(path, fault.clone(), 1000), 1);
        assert!(error.contains(expected), "{fault:?} on {path}: {error}");
        let left = files(&config.path().join("places/scenes"));
        assert!(left.is_empty(), "{fault:?} left {left:?}");
    }
    // What passes is survived: two failures, then an answer.
    for (path, fault) in [
        ("/search", Fault::Status(500)),
        ("/search", Fault::BreakAfter(100)),
        ("/search", Fault::LieAboutLength(100)),
        ("/files/vv.tif", Fault::Status(503)),
        ("/files/vv.tif", Fault::BreakAfter(3000)),
    ] {
        let printed = success(&mut attempt(path, fault.clone(), 2));
        let dir = PathBuf::from(printed.lines().last().expect("folder"));
        let (radar, side) = real("S1RTC");
        let dataset = gdal::Dataset::open(dir.join("S1RTC.tif")).expect("raster");
        let band = dataset.rasterband(1).expect("band");
        let pixel = band.read_as::<f32>((7, 5), (1, 1), (1, 1), None).expect("pixel");
        assert_eq!(pixel.data()[0], radar["vv"][17 * side + 19], "{fault:?}");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}

#[test]
fn offline_asks_nobody() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let error = failure(fetch(&catalogue, config.path(), &[]).env("COPGEN_OFFLINE", "1"), 1);
    assert!(error.contains("offline"), "{error}");
    assert!(catalogue.server.seen().is_empty());
}

#[test]
fn signatures_and_keys_stay_secret() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let with_access = |access: &str| {
        let text = catalogue.sources().replacen(
            "\n[[provider.product]]",
            &format!("\naccess = {access}\n[[provider.product]]"),
            1,
        );
        std::fs::write(config.path().join("sources.toml"), text).expect("sources");
        let mut command = copgen();
        command.env("COPGEN_CONFIG", config.path()).env("COPGEN_PLACES", config.path().join("places"));
        // As much as anybody can ask for, of libraries too.
        command.env("COPGEN_LOG", "trace").env("CPL_DEBUG", "ON").env("CPL_CURL_VERBOSE", "YES").args([
            "fetch",
            "--cell",
            CELL,
            "--from",
            "2023-01-01",
            "--to",
            "2023-12-31",
            "--families",
            "S1RTC",
        ]);
        command
    };
    let url = &catalogue.server.url;
    let token =
        format!("{{ kind = \"token\", url = \"{url}/token/private\", header = \"X-Key\", key = \"COPGEN_TEST_KEY\" }}");
    let output = with_access(&token).env("COPGEN_TEST_KEY", "my-own-key").output().expect("program");
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    assert!(log.contains("GDAL"), "it is logged: {log}");
    let seen = catalogue.server.seen();
    let asked = seen.iter().find(|s| s.path == "/token/private").expect("token was asked for");
    assert_eq!(asked.headers["x-key"], "my-own-key");
    let read: Vec<_> = seen.iter().filter(|s| s.path.starts_with("/files/")).collect();
    assert!(!read.is_empty() && read.iter().all(|s| s.query == "sig=very-secret"), "{read:?}");
    let dir = PathBuf::from(out.lines().last().expect("folder"));
    let mut written = std::fs::read_to_string(dir.join("scene.json")).expect("description");
    written += &String::from_utf8_lossy(&std::fs::read(dir.join("S1RTC.tif")).expect("raster"));
    for secret in ["very-secret", "my-own-key"] {
        assert!(!written.contains(secret) && !log.contains(secret) && !out.contains(secret), "{secret} in {log}");
    }
    // Failing reads tell no secrets either.
    catalogue.server.fail("/files/", Fault::Status(403), 100);
    let output = with_access(&token).arg("--area").arg("2040").output().expect("program");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("refused") && !log.contains("very-secret"), "{log}");
    // What needs a key says which.
    let error = failure(&mut with_access("{ kind = \"bearer\", key = \"COPGEN_TEST_ABSENT\", hosts = [] }"), 2);
    assert!(error.contains("COPGEN_TEST_ABSENT"), "{error}");
}

/// A raster of 1 GB, the middle of the cell somewhere inside.
fn large(path: &Path) {
    use gdal::raster::{Buffer, RasterCreationOptions};
    const SIDE: usize = 23_040;
    let options = RasterCreationOptions::from_iter(["TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=512"]);
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let mut dataset =
        driver.create_with_band_type_with_options::<u16, _>(path, SIDE, SIDE, 1, &options).expect("raster");
    let ground = ground();
    let system = ground.crs.as_ref().map(|crs| gdal::spatial_ref::SpatialRef::from_definition(&crs.0).expect("system"));
    dataset.set_spatial_ref(&system.expect("system")).expect("set");
    dataset.set_geo_transform(&[ground.left - 100_020.0, 10.0, 0.0, ground.top + 100_020.0, 0.0, -10.0]).expect("set");
    let mut band = dataset.rasterband(1).expect("band");
    for row in (0..SIDE).step_by(512) {
        let values = (0..512 * SIDE).map(|i| 1001 + ((row + i / SIDE) % 5000) as u16 + (i % 7) as u16).collect();
        band.write((0, row as isize), (SIDE, 512), &mut Buffer::new((SIDE, 512), values)).expect("written");
    }
}

#[test]
fn of_a_large_file_only_the_window_is_read() {
    let catalogue = Catalogue::start();
    let config = tempfile::tempdir().expect("folder");
    let red = catalogue.dir.path().join("B04.tif");
    std::fs::remove_file(&red).expect("removed");
    large(&red);
    let size = std::fs::metadata(&red).expect("file").len();
    assert!(size > 1_000_000_000, "{size}");
    std::fs::write(config.path().join("sources.toml"), catalogue.sources()).expect("sources");
    let mut command = copgen();
    command.args(["fetch", "--cell", CELL, "--from", "2023-01-01", "--to", "2023-12-31", "--families", "S2L2A"]);
    command.env("COPGEN_CONFIG", config.path()).env("COPGEN_PLACES", config.path().join("places"));
    let most = peak_memory(&command);
    let sent = catalogue.server.sent("/files/B04.tif");
    let ranges: Vec<_> = catalogue
        .server
        .seen()
        .into_iter()
        .filter(|s| s.path == "/files/B04.tif")
        .map(|s| (s.method, s.headers.get("range").cloned()))
        .collect();
    println!("{ranges:?}");
    println!("peak {most} bytes; {sent} of {size} bytes were sent");
    assert!(sent < size / 100, "{sent} of {size} bytes were sent");
    // GDAL's blocks and the rasters of one window; nowhere near the file.
    assert!(cfg!(not(target_os = "linux")) || (1..400_000_000).contains(&most), "{most} bytes");
}

#[test]
fn ground_lies_on_the_grid_of_the_tiles_in_both_hemispheres() {
    for (cell, equator) in [("618U_30L", 0.0), (CELL, 10_000_000.0)] {
        let cell: GridCell = cell.parse().expect("cell");
        let centre = cell.centre();
        let aside = Location { lat: centre.lat + 0.004, lon: centre.lon - 0.007 };
        for (area, around) in [(Area::Cell, None), (Area::Window(1920.0), None), (Area::Window(2040.0), Some(aside))] {
            let ground = area.ground(cell, around).expect("ground");
            // As of published tiles: 53HPA (south) begins at 6 100 000 m, 40 m beyond a multiple of 60.
            let off = [ground.left, ground.top - equator].map(|v| v.rem_euclid(60.0));
            assert_eq!(off, [0.0, 0.0], "{cell} {area:?}");
        }
    }
}

#[test]
fn of_sources_that_all_fail_each_is_named_and_none_for_want_of_an_account() {
    let config = tempfile::tempdir().expect("folder");
    let provider = |name: &str, api: &str, more: &str| {
        format!(
            "[[provider]]\nname = \"{name}\"\napi = \"{api}\"\n{more}\n[[provider.product]]\nfamily = \"DEM\"\ncollection = \"c\"\nlicence = \"l\"\nattribution = \"a\"\ntime = \"always\"\nbands = {{ DEM = \"data\" }}\n"
        )
    };
    // Nobody listens there.
    let closed = "http://127.0.0.1:9";
    let keys = "access = { kind = \"s3\", id = \"NO_SUCH_ID\", secret = \"NO_SUCH_SECRET\" }";
    let text = provider("Earth Search", closed, "")
        + &provider("Planetary Computer", closed, "")
        + &provider("Copernicus Data Space", closed, keys);
    let fails = |text: &str, code: i32| {
        std::fs::write(config.path().join("sources.toml"), text).expect("sources");
        let mut command = copgen();
        command.env("COPGEN_CONFIG", config.path()).args(["fetch", "--cell", CELL, "--families", "DEM"]);
        failure(&mut command, code)
    };
    let told = fails(&text, 2);
    assert!(told.contains("Earth Search: ") && told.contains("Planetary Computer: "), "{told}");
    assert!(told.contains("takes no connection") && !told.contains("NO_SUCH_ID"), "{told}");
    let told = fails(&text.replacen("family = \"DEM\"", "family = \"DOM\"", 1), 1);
    assert!(told.contains("there is no family DOM"), "{told}");
    let told = fails(&text.replacen(closed, "nonsense", 1), 1);
    assert!(told.contains("Earth Search: api must be an address"), "{told}");
}
