//! What items of a catalogue say of their files, and where files and pixels say something else: what is fetched is right, or it is
//! refused or told.

use crate::common::catalogue::ground;
use crate::common::server::{Reply, Seen, Server};
use copgen::modality::{ModalityTable, Value};
use copgen::net::Network;
use copgen::scene::{Scene, Window};
use copgen::source::{Order, Provider, Query, Survey, best, fetch, providers_in, survey};
use gdal::raster::Buffer;
use gdal::spatial_ref::SpatialRef;
use gdal::{DriverManager, Metadata};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A catalogue of one family.
struct Loopback {
    server: Server,
    dir: tempfile::TempDir,
    providers: Vec<Provider>,
    family: String,
}

/// Values of a band of a file, by column and row.
type Values<'a> = &'a dyn Fn(usize, usize) -> f32;

impl Loopback {
    /// One with these bands (in TOML), these settings, and what `items` makes of its address.
    fn new(family: &str, time: &str, bands: &str, more: &str, items: impl Fn(&str) -> Vec<Json>) -> Self {
        let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
        let files = dir.path().to_path_buf();
        server.handle("/files/", move |seen: &Seen| {
            let path = files.join(seen.path.trim_start_matches("/files/"));
            if path.exists() { Reply::file(path) } else { Reply::new("text/plain", "").status(404) }
        });
        let items = items(&server.url);
        server.put("/search", Reply::json(&json!({"type": "FeatureCollection", "features": items, "links": []})));
        let sources = dir.path().join("sources.toml");
        let text = format!(
            "[[provider]]\nname = \"Loopback\"\napi = \"{}\"\n[[provider.product]]\nfamily = \"{family}\"\ncollection = \"c\"\nlicence = \"l\"\nattribution = \"a\"\ntime = \"{time}\"\nbands = {{ {bands} }}\n{more}\n",
            server.url
        );
        std::fs::write(&sources, text).expect("sources");
        let providers = providers_in(&sources).expect("sources");
        Self { server, dir, providers, family: family.into() }
    }

    /// Writes a file on the ground that is asked for, pixel by pixel: its bands, with their names.
    fn file(&self, name: &str, pixel_m: f64, shift_m: f64, bands: &[(&str, Values)]) {
        let ground = ground();
        let side = ((ground.width_m + 600.0) / pixel_m) as usize;
        let driver = DriverManager::get_driver_by_name("GTiff").expect("driver");
        let path = self.dir.path().join(name);
        let mut file = driver.create_with_band_type::<f32, _>(&path, side, side, bands.len()).expect("file");
        let (left, top) = (ground.left - 300.0 + shift_m, ground.top + 300.0);
        file.set_geo_transform(&[left, pixel_m, 0.0, top, 0.0, -pixel_m]).expect("transform");
        let system = ground.crs.as_ref().expect("system");
        file.set_spatial_ref(&SpatialRef::from_definition(&system.0).expect("system")).expect("system");
        for (i, (name, value)) in bands.iter().enumerate() {
            let values = (0..side * side).map(|at| value(at % side, at / side)).collect();
            let mut band = file.rasterband(i + 1).expect("band");
            band.set_description(name).expect("name");
            band.write((0, 0), (side, side), &mut Buffer::new((side, side), values)).expect("pixels");
        }
        file.close().expect("written");
    }

    fn query(&self) -> Query {
        Query {
            corners: ground().corners().expect("corners"),
            from: jiff::civil::date(2023, 1, 1),
            to: jiff::civil::date(2023, 12, 31),
            most_cloud: 100.0,
        }
    }

    fn survey(&self) -> Result<Survey, String> {
        let families = [self.family.clone()];
        survey(&Network::default(), &self.providers, &families, &self.query(), &AtomicBool::new(false))
            .map_err(|e| e.to_string())
    }

    /// The pixels of what is fetched, invalid ones as NaN.
    fn fetch(&self, modality: &str) -> Result<Vec<f32>, String> {
        let survey = self.survey()?;
        let chosen = best(&survey.found, None);
        let chosen = chosen.iter().map(|(family, &i)| survey.found[family][i].clone()).collect();
        let order = Order { name: "place".into(), footprint: ground(), chosen };
        let within = tempfile::tempdir().expect("folder");
        let go_on = AtomicBool::new(false);
        let dir = fetch(&Network::default(), &self.providers, &order, within.path(), &go_on, &mut |_| {})
            .map_err(|e| e.to_string())?;
        pixels(&dir, modality)
    }
}

fn pixels(dir: &Path, modality: &str) -> Result<Vec<f32>, String> {
    let table = ModalityTable::published();
    let i = table.index(modality).expect("modality");
    let scene = Scene::open(dir).map_err(|e| e.to_string())?;
    let window = scene.window(table.window_m(), Window::Centre).map_err(|e| e.to_string())?;
    let found = scene.read(&table, &window, &[i]).map_err(|e| e.to_string())?;
    let Some(Value::Image(raster)) = found.values[i].as_ref().map(|given| given.value.clone()) else {
        return Err("no raster".into());
    };
    let n = raster.width * raster.height;
    Ok((0..raster.data.len()).map(|at| if raster.is_valid(at % n) { raster.data[at] } else { f32::NAN }).collect())
}

fn item(id: &str, when: &str, assets: Json, properties: Json) -> Json {
    let mut properties = properties;
    properties["datetime"] = json!(when);
    json!({"id": id, "collection": "c", "bbox": [-180, -90, 180, 90], "properties": properties, "assets": assets})
}

const DAY: &str = "2023-04-19T10:00:00Z";

/// Elevation whose item says this of its file.
fn heights(url: &str, about: Json) -> Vec<Json> {
    let mut asset = about;
    asset["href"] = json!(format!("{url}/files/d.tif"));
    vec![item("d", DAY, json!({"data": asset}), json!({}))]
}

#[test]
fn what_the_item_alone_says_of_numbers_is_followed() {
    let plane = |x: usize, y: usize| 400.0 + (x + 2 * y) as f32;
    let of = |about: Json, stored: &dyn Fn(f32) -> f32| {
        let catalogue = Loopback::new("DEM", "always", "DEM = \"data\"", "", |url: &str| heights(url, about.clone()));
        catalogue.file("d.tif", 30.0, 0.0, &[("", &|x, y| stored(plane(x, y)))]);
        catalogue.fetch("DEM")
    };
    let twin = of(json!({}), &|v| v).expect("twin");
    assert!(twin.iter().all(|v| *v >= 400.0));
    for (about, factor) in [
        (json!({"raster:bands": [{"scale": 0.1, "offset": 0}]}), 10.0),
        (json!({"bands": [{"name": "data", "raster:scale": 0.1}]}), 10.0),
        (json!({"bands": [{"name": "data", "unit": "foot"}]}), 1.0 / 0.3048),
        (json!({"unit": "cm"}), 100.0),
        (json!({"raster:bands": [{"scale": 1, "offset": 0, "unit": "m"}]}), 1.0),
    ] {
        let found = of(about.clone(), &|v| v * factor).expect("followed");
        assert!(found.iter().zip(&twin).all(|(a, b)| (a - b).abs() < 0.01), "{about}: {:?}", &found[..3]);
    }
    // A number that the item alone calls nothing, also where it would be mixed with others.
    for shift in [0.0, 15.0] {
        let about = json!({"raster:bands": [{"nodata": -5555}]});
        let catalogue = Loopback::new("DEM", "always", "DEM = \"data\"", "", |url: &str| heights(url, about.clone()));
        catalogue.file("d.tif", 30.0, shift, &[("", &|x, _| if x < 40 { -5555.0 } else { 700.0 })]);
        let found = catalogue.fetch("DEM").expect("fetched");
        assert!(found.iter().any(|v| v.is_nan()), "{shift}");
        assert!(found.iter().all(|v| v.is_nan() || *v == 700.0), "{shift}");
    }
    // Both speak, and differ.
    let catalogue = Loopback::new("DEM", "always", "DEM = \"data\"", "", |url: &str| {
        heights(url, json!({"raster:bands": [{"scale": 0.01}]}))
    });
    catalogue.file("d.tif", 30.0, 0.0, &[("", &plane)]);
    let path = catalogue.dir.path().join("d.tif");
    let mut file = gdal::Dataset::open_ex(
        &path,
        gdal::DatasetOptions { open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE, ..Default::default() },
    )
    .expect("file");
    file.rasterband(1).and_then(|mut band| band.set_scale(0.1)).expect("scale");
    file.flush_cache().expect("written");
    drop(file);
    let problem = catalogue.fetch("DEM").expect_err("contradiction");
    assert!(problem.contains("0.1") && problem.contains("0.01") && problem.contains("DEM of d"), "{problem}");
}

#[test]
fn voids_that_nobody_declares_are_not_mixed_with_heights() {
    for void in [32_767.0, -99_999.0, -9999.0] {
        let catalogue = Loopback::new("DEM", "always", "DEM = \"data\"", "", |url: &str| heights(url, json!({})));
        catalogue.file("d.tif", 30.0, 15.0, &[("", &|x, _| if x < 40 { void } else { 700.0 })]);
        let found = catalogue.fetch("DEM").expect("fetched");
        assert!(found.iter().any(|v| v.is_nan()), "{void}");
        assert!(found.iter().all(|v| v.is_nan() || *v == 700.0), "{void}");
    }
}

const OPTICAL: &str = "B02 = \"B02\", B03 = \"B03\", B04 = \"B04\", B08 = \"B08\"";

fn optical(url: &str, when: &str, properties: Json) -> Json {
    let asset = |band: &str| (band.to_owned(), json!({"href": format!("{url}/files/s.tif")}));
    let assets: serde_json::Map<String, Json> = ["B02", "B03", "B04", "B08"].map(asset).into_iter().collect();
    item("s", when, assets.into(), properties)
}

#[test]
fn an_offset_that_is_gone_is_not_taken_off_again() {
    let of = |value: Values| {
        let catalogue = Loopback::new("S2L2A", "acquisition", OPTICAL, "baseline = \"b\"", |url: &str| {
            vec![optical(url, DAY, json!({"b": "05.09"}))]
        });
        catalogue.file("s.tif", 10.0, 0.0, &[("", value)]);
        catalogue.fetch("S2L2A_10m")
    };
    let ramp = |x: usize, y: usize| (x + y) as f32;
    let twin = of(&|x, y| 1300.0 + 5.0 * ramp(x, y)).expect("with an offset");
    assert!(twin.iter().all(|v| *v >= 300.0), "{:?}", &twin[..3]);
    // Dark water lies about the offset.
    let water = of(&|x, y| 990.0 + 0.2 * ramp(x, y)).expect("water");
    assert!(water.iter().all(|v| (1.0..200.0).contains(v)));
    let problem = of(&|x, y| 200.0 + ramp(x, y)).expect_err("gone");
    assert!(problem.contains("it is gone already") && problem.contains("of s"), "{problem}");
}

#[test]
fn images_of_other_days_and_of_none_are_left_out_and_told() {
    let of = |when: &str| {
        let catalogue = Loopback::new("S2L2A", "acquisition", OPTICAL, "baseline = \"b\"", |url: &str| {
            vec![optical(url, when, json!({"b": "02.09"}))]
        });
        let found = catalogue.survey().expect("survey");
        assert!(!catalogue.server.seen().is_empty());
        (found.found.get("S2L2A").map(|all| all[0].day.clone()), found.problems.join("\n"))
    };
    assert_eq!(of(DAY), (Some("2023-04-19".into()), String::new()));
    assert_eq!(of("20230419T100000Z"), (Some("2023-04-19".into()), String::new()));
    for other in ["2019-04-19T10:00:00Z", "0000-04-19T10:00:00Z", "9999-04-19T10:00:00Z"] {
        let (found, told) = of(other);
        assert!(
            found.is_none() && told.contains("1 images were left out, because they are not of 2023-01-01"),
            "{told}"
        );
    }
    let (found, told) = of("19.04.2023");
    assert!(found.is_none() && told.contains("their date cannot be read"), "{told}");
}

/// Two images of a pass, of numbers that the source calls decibels.
fn decibels() -> Loopback {
    let bands = "vv = \"vv\", vh = \"vh\"";
    Loopback::new("S1RTC", "acquisition", bands, "decibel = true", |url: &str| {
        let image = |id: &str, when: &str| {
            let asset = json!({"href": format!("{url}/files/{id}.tif")});
            item(id, when, json!({"vv": asset, "vh": asset}), json!({"platform": "s"}))
        };
        vec![image("west", DAY), image("whole", "2023-04-19T10:00:20Z")]
    })
}

#[test]
fn zeros_that_fill_a_frame_of_decibels_do_not_hide_what_lies_beside() {
    let catalogue = decibels();
    catalogue.file("west.tif", 10.0, 0.0, &[("", &|x, _| if x < 130 { 0.0 } else { -10.0 })]);
    catalogue.file("whole.tif", 10.0, 0.0, &[("", &|_, _| -20.0)]);
    let found = catalogue.fetch("S1RTC").expect("fetched");
    let share = |power: f32| found.iter().filter(|v| (**v - power).abs() < 1e-4).count() as f64 / found.len() as f64;
    assert!((share(0.1) + share(0.01) - 1.0).abs() < 1e-9 && share(0.01) > 0.2, "{} {}", share(0.1), share(0.01));
    // Linear power that is called decibels.
    let catalogue = decibels();
    catalogue.file("west.tif", 10.0, 0.0, &[("", &|x, y| 0.05 + 0.0001 * (x + y) as f32)]);
    catalogue.file("whole.tif", 10.0, 0.0, &[("", &|_, _| -20.0)]);
    let problem = catalogue.fetch("S1RTC").expect_err("power");
    assert!(problem.contains("linear power or amplitudes"), "{problem}");
}

#[test]
fn bands_of_one_file_are_those_that_are_named_in_it() {
    let bands = "B02 = \"all#B02\", B03 = \"all#B03\", B04 = \"all#B04\", B08 = \"all#B08\"";
    let of = |listed: &[&str], named: [&str; 4]| {
        let list: Vec<Json> = listed.iter().map(|name| json!({"name": name})).collect();
        let catalogue = Loopback::new("S2L2A", "acquisition", bands, "baseline = \"b\"", |url: &str| {
            let mut asset = json!({"href": format!("{url}/files/all.tif")});
            if !list.is_empty() {
                asset["bands"] = json!(list);
            }
            vec![item("x", DAY, json!({"all": asset}), json!({"b": "02.09"}))]
        });
        let values: [Values; 4] = [&|_, _| 800.0, &|_, _| 400.0, &|_, _| 300.0, &|_, _| 200.0];
        let all: Vec<(&str, Values)> = named.into_iter().zip(values).collect();
        catalogue.file("all.tif", 10.0, 0.0, &all);
        // In the order B04, B03, B02, B08.
        catalogue.fetch("S2L2A_10m").map(|found| found.chunks(found.len() / 4).map(|band| band[0]).collect::<Vec<_>>())
    };
    let names = ["B08", "B04", "B03", "B02"];
    let right = Ok(vec![400.0, 300.0, 200.0, 800.0]);
    assert_eq!(of(&names, names), right);
    assert_eq!(of(&names, [""; 4]), right);
    assert_eq!(of(&[], names), right, "named in the file alone");
    let problem = of(&names, ["B02", "B03", "B04", "B08"]).expect_err("contradiction");
    assert!(problem.contains("calls its band"), "{problem}");
    assert!(of(&[], [""; 4]).expect_err("nobody says").contains("no band called"));
}

#[test]
fn class_codes_between_two_classes_are_refused() {
    let of = |other: f32| {
        let codes = "codes = { 10 = 2, 80 = 1 }";
        let catalogue = Loopback::new("LULC", "year", "LULC = \"data\"", codes, |url: &str| {
            let asset = json!({"href": format!("{url}/files/m.tif")});
            vec![item("m", DAY, json!({"data": asset}), json!({}))]
        });
        catalogue.file("m.tif", 10.0, 0.0, &[("", &|x, _| if x < 100 { 10.0 } else { other })]);
        catalogue.fetch("LULC")
    };
    let whole = of(80.0).expect("classes");
    assert!(whole.contains(&1.0) && whole.iter().all(|v| [1.0, 2.0].contains(v)));
    let problem = of(10.5).expect_err("averaged");
    assert!(problem.contains("10.5"), "{problem}");
}
