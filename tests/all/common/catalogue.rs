//! A provider of open data on loopback: a STAC API and cloud-optimised files, made from a real scene.

use super::server::{Reply, Seen, Server};
use super::{COMPLETE, scene};
use copgen::grid::{Crs, Footprint, GridCell};
use copgen::modality::ModalityTable;
use copgen::scene::{GeoTiff, Meaning, Pixels};
use gdal::{Dataset, Metadata};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The cell whose data the catalogue has.
pub const CELL: &str = "433D_629L";

/// Pixels of a real raster by band description, and its size.
pub fn real(name: &str) -> (BTreeMap<String, Vec<f32>>, usize) {
    let dataset = Dataset::open(scene(COMPLETE).join(format!("{name}.tif"))).expect("raster");
    let (width, height) = dataset.raster_size();
    assert_eq!(width, height);
    let bands = dataset.rasterbands().map(|band| {
        let band = band.expect("band");
        let values = band.read_as::<f32>((0, 0), (width, height), (width, height), None).expect("pixels");
        (band.description().expect("name"), values.data().to_vec())
    });
    (bands.collect(), width)
}

/// Ground that the catalogue's images cover: the middle of the cell, on the 60 m grid of the Sentinel-2 tiles, which is
/// counted from the equator (at 10 000 km, which is no multiple of 60 m, in the southern hemisphere).
pub fn ground() -> Footprint {
    let cell: GridCell = CELL.parse().expect("cell");
    let whole = cell.footprint().expect("footprint");
    let snapped = |v: f64| (v / 60.0).round() * 60.0;
    let inner = whole.centre_window(2160.0, 60.0);
    let equator = 10_000_000.0;
    Footprint { left: snapped(inner.left), top: equator - snapped(equator - inner.top), ..inner }
}

fn cog(dir: &Path, name: &str, footprint: &Footprint, pixel_m: f64, side: usize, values: &[f32], pixels: Pixels) {
    let file = GeoTiff {
        footprint,
        pixel_m,
        size: (side, values.len() / side),
        bands: vec![(String::new(), values)],
        pixels,
        meaning: Meaning::default(),
        metadata: Vec::new(),
        cloud_optimised: true,
    };
    file.write(&dir.join(name), true).expect("file");
}

/// The catalogue, and where its files lie.
pub struct Catalogue {
    pub server: Server,
    pub dir: tempfile::TempDir,
}

impl Catalogue {
    /// Starts it. Surface reflectance carries the offset of a newer processing baseline, elevation is in degrees, land
    /// cover in WorldCover's codes.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let ground = ground();
        let dn = || Pixels::Scaled { scale: 0.0001 };
        for (name, pixel_m) in [("S2L2A_10m", 10.0), ("S2L2A_20m", 20.0), ("S2L2A_60m", 60.0)] {
            let (bands, side) = real(name);
            for (band, values) in bands {
                let shifted: Vec<f32> = values.iter().map(|v| v + 1000.0).collect();
                cog(dir.path(), &format!("{band}.tif"), &ground, pixel_m, side, &shifted, dn());
            }
        }
        // Cloud over the north-western quarter.
        let scl: Vec<f32> = (0..108 * 108).map(|i| if i % 108 < 54 && i / 108 < 54 { 9.0 } else { 4.0 }).collect();
        cog(dir.path(), "SCL.tif", &ground, 20.0, 108, &scl, Pixels::Classes(Vec::new()));
        let (radar, side) = real("S1RTC");
        for (band, values) in radar {
            cog(dir.path(), &format!("{band}.tif"), &ground, 10.0, side, &values, Pixels::WithHoles(-32768.0));
        }
        let (cover, side) = real("LULC");
        let theirs = |v: &f32| match *v as u8 {
            1 => 80.0,
            2 => 10.0,
            5 => 40.0,
            7 => 50.0,
            8 => 60.0,
            11 => 30.0,
            _ => 0.0,
        };
        let classes: Vec<f32> = cover["LULC"].iter().map(theirs).collect();
        cog(dir.path(), "map.tif", &ground, 10.0, side, &classes, Pixels::Classes(Vec::new()));
        // Elevation as a plane of latitude, in degrees, in two tiles that meet inside the ground.
        let centre = ground.centre().expect("centre");
        let second = 1.0 / 3600.0;
        for (name, lat) in [("north.tif", centre.lat), ("south.tif", centre.lat - 200.0 * second)] {
            let left = centre.lon - 200.0 * second;
            let tile = Footprint {
                crs: Some(Crs("EPSG:4326".into())),
                left,
                top: lat + 200.0 * second,
                width_m: 400.0 * second,
                height_m: 200.0 * second,
            };
            let values: Vec<f32> =
                (0..200 * 400).map(|i| elevation(tile.top - ((i / 400) as f64 + 0.5) * second) as f32).collect();
            cog(dir.path(), name, &tile, second, 400, &values, Pixels::Float);
        }
        let server = Server::start();
        let files = dir.path().to_path_buf();
        server.handle("/files/", move |seen: &Seen| {
            let path = files.join(seen.path.trim_start_matches("/files/"));
            if path.exists() { Reply::file(path) } else { Reply::new("text/plain", "").status(404) }
        });
        let url = server.url.clone();
        let items = Arc::new(items(&url, &ground));
        server.handle("/search", move |seen: &Seen| answer(seen, &items, &url));
        server.put("/token/private", Reply::json(&json!({"token": "sig=very-secret"})));
        let mut picture = Vec::new();
        let image = image::RgbImage::from_fn(48, 48, |x, y| image::Rgb([40 + x as u8 * 3, 90 + y as u8 * 2, 60]));
        image.write_to(&mut std::io::Cursor::new(&mut picture), image::ImageFormat::Png).expect("picture");
        server.put("/thumbnail.png", Reply::new("image/png", picture));
        Self { server, dir }
    }

    /// `sources.toml` that knows this catalogue and no other.
    pub fn sources(&self) -> String {
        let bands = |names: &str| -> String {
            let pairs: Vec<String> = names.split(' ').map(|name| format!("{name} = \"{name}\"")).collect();
            pairs.join(", ")
        };
        let product = |family: &str, collection: &str, time: &str, bands: String, more: &str| {
            format!(
                "[[provider.product]]\nfamily = \"{family}\"\ncollection = \"{collection}\"\nlicence = \"CC BY 4.0\"\nattribution = \"Loopback {collection} {{year}}\"\ntime = \"{time}\"\nbands = {{ {bands} }}\n{more}\n"
            )
        };
        let mut text = format!("[[provider]]\nname = \"Earth Search\"\napi = \"{}\"\n", self.server.url);
        let all = bands("B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12");
        text += &product(
            "S2L2A",
            "optical",
            "acquisition",
            all,
            "scene_classes = \"SCL\"\nbaseline = \"s2:processing_baseline\"",
        );
        text += &product("S1RTC", "radar", "acquisition", bands("vv vh"), "");
        text += &product("DEM", "elevation", "always", "DEM = \"data\"".into(), "");
        let codes = "codes = { 10 = 2, 30 = 11, 40 = 5, 50 = 7, 60 = 8, 80 = 1 }";
        text += &product("LULC", "cover", "year", "LULC = \"map\"".into(), codes);
        for name in ["Planetary Computer", "Copernicus Data Space"] {
            text += &format!("[[provider]]\nname = \"{name}\"\napi = \"{}\"\n", self.server.url);
        }
        text
    }
}

/// Metres at a latitude.
pub fn elevation(lat: f64) -> f64 {
    500.0 + (lat + 39.0) * 2000.0
}

fn items(url: &str, ground: &Footprint) -> Vec<(String, Value)> {
    let corners = ground.corners().expect("corners");
    let ring = |west: f64, south: f64, east: f64, north: f64| {
        json!([[[west, south], [east, south], [east, north], [west, north], [west, south]]])
    };
    let (nw, se) = (corners[0], corners[2]);
    let around = ring(nw.lon - 0.02, se.lat - 0.02, se.lon + 0.02, nw.lat + 0.02);
    let away = ring(nw.lon - 2.0, se.lat - 2.0, nw.lon - 1.0, se.lat - 1.0);
    let asset = |name: &str, file: &str| {
        (name.to_owned(), json!({"href": format!("{url}/files/{file}"), "type": "image/tiff"}))
    };
    let optical = |id: &str, day: &str, cloud: f64, outline: &Value, baseline: &str| {
        let table = ModalityTable::published();
        let names = table.iter().filter(|m| m.family == "S2L2A").flat_map(|m| m.channels.clone());
        let mut assets: serde_json::Map<String, Value> = names.map(|b| asset(&b, &format!("{b}.tif"))).collect();
        assets.extend([asset("SCL", "SCL.tif")]);
        assets.insert("thumbnail".into(), json!({"href": format!("{url}/thumbnail.png"), "type": "image/png"}));
        json!({"type": "Feature", "id": id, "geometry": {"type": "Polygon", "coordinates": outline}, "assets": assets,
            "properties": {"datetime": format!("{day}T14:37:29Z"), "eo:cloud_cover": cloud, "platform": "sentinel-2a", "s2:processing_baseline": baseline}})
    };
    let whole = |id: &str, properties: Value, assets: Vec<(String, Value)>| {
        let assets: serde_json::Map<String, Value> = assets.into_iter().collect();
        json!({"type": "Feature", "id": id, "geometry": {"type": "Polygon", "coordinates": around.clone()}, "assets": assets, "properties": properties})
    };
    let tile = |id: &str, file: &str, south: f64, north: f64| {
        let outline = ring(nw.lon - 0.02, south, se.lon + 0.02, north);
        let assets: serde_json::Map<String, Value> = [asset("data", file)].into_iter().collect();
        json!({"type": "Feature", "id": id, "geometry": {"type": "Polygon", "coordinates": outline}, "assets": assets, "properties": {"datetime": "2021-04-22T00:00:00Z"}})
    };
    let middle = ground.centre().expect("centre").lat;
    [
        ("optical", optical("S2A_clear", "2023-03-08", 2.5, &around, "05.09")),
        ("optical", optical("S2A_cloudy", "2023-03-18", 64.0, &around, "05.09")),
        ("optical", optical("S2A_beside", "2023-03-28", 0.0, &away, "05.09")),
        (
            "radar",
            whole(
                "S1A_early",
                json!({"datetime": "2023-01-11T23:43:09Z"}),
                vec![asset("vv", "vv.tif"), asset("vh", "vh.tif")],
            ),
        ),
        (
            "radar",
            whole(
                "S1A_near",
                json!({"datetime": "2023-03-11T23:43:09Z"}),
                vec![asset("vv", "vv.tif"), asset("vh", "vh.tif")],
            ),
        ),
        ("elevation", tile("north", "north.tif", middle, middle + 0.05)),
        ("elevation", tile("south", "south.tif", middle - 0.05, middle)),
        (
            "cover",
            whole(
                "map_2021",
                json!({"start_datetime": "2021-01-01T00:00:00Z", "end_datetime": "2021-12-31T23:59:59Z"}),
                vec![asset("map", "map.tif")],
            ),
        ),
    ]
    .map(|(collection, item)| (collection.to_owned(), item))
    .into()
}

/// Item search as the specification has it, one item a page.
fn answer(seen: &Seen, items: &[(String, Value)], url: &str) -> Reply {
    let Ok(question) = serde_json::from_slice::<Value>(&seen.body) else {
        return Reply::new("text/plain", "no question").status(400);
    };
    let range: Option<(&str, &str)> = question["datetime"].as_str().and_then(|text| text.split_once('/'));
    let wanted = |(collection, item): &&(String, Value)| {
        let at = item["properties"]["datetime"].as_str().unwrap_or("");
        let asked = question["collections"].as_array().is_some_and(|all| all.contains(&json!(collection)));
        asked && range.is_none_or(|(from, to)| (from..=to).contains(&at))
    };
    let all: Vec<&Value> = items.iter().filter(wanted).map(|(_, item)| item).collect();
    let page = question["page"].as_u64().unwrap_or(0) as usize;
    let mut links = Vec::new();
    if page + 1 < all.len() {
        links.push(json!({"rel": "next", "method": "POST", "merge": true, "href": format!("{url}/search"), "body": {"page": page + 1}}));
    }
    Reply::json(
        &json!({"type": "FeatureCollection", "features": all.get(page).into_iter().collect::<Vec<_>>(), "links": links}),
    )
}
