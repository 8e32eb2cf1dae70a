//! Sentinel-2 products in the encoding of the Earth Observation Processing Framework (EOPF): Zarr of version 2, a folder per
//! product. `measurements/reflectance/r10m/b02` is a band; its attributes say scale, offset, grid and coordinate system.

use super::Parts;
use super::layer::Layer;
use super::numbers::Numbers;
use super::raster_file::RasterFile;
use crate::error::{Error, Result};
use crate::grid::Crs;
use crate::modality::{Catalogue, Group, Subject};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where a product's bands lie.
const BANDS: &str = "measurements/reflectance";

/// Whether a folder is such a product.
pub(super) fn is_product(dir: &Path) -> bool {
    let root = ["zarr.json", ".zgroup", ".zattrs", ".zmetadata"].iter().any(|name| dir.join(name).is_file());
    root && dir.join(BANDS).is_dir()
}

/// The bands of a product, each where its resolution has it.
///
/// # Errors
/// When it is of another version of Zarr, or does not say what it is.
pub(super) fn open(dir: &Path, catalogue: &Catalogue) -> Result<Parts> {
    if dir.join("zarr.json").is_file() {
        return Err(Error::file(
            dir,
            "This product is Zarr of version 3, which is not read; convert it to version 2 or to GeoTIFFs first",
        ));
    }
    let about = attributes(dir)?;
    let properties = &about["stac_discovery"]["properties"];
    let level = level(dir, properties).ok_or_else(|| {
        Error::file(dir, "It does not say whether it is level 1C or 2A (stac_discovery.properties, processing:level)")
    })?;
    let mut parts = Parts::default();
    let families: Vec<&str> = catalogue
        .of(level)
        .filter(|family| family.stands_in_for.is_none())
        .map(|family| family.name.as_str())
        .collect();
    for m in catalogue.groups().filter(|m| m.is_measured() && families.contains(&m.family.as_str())) {
        let paths: Vec<PathBuf> = m
            .channels
            .iter()
            .map(|channel| dir.join(BANDS).join(format!("r{}m", m.ground_m)).join(channel.to_lowercase()))
            .collect();
        if paths.iter().any(|path| !path.is_dir()) {
            continue;
        }
        let rasters = m.channels.iter().zip(&paths).map(|(channel, path)| array(path, channel, properties));
        parts.put(&m.name, rasters.collect::<Result<Vec<_>>>().and_then(Layer::per_band))?;
        let instant = ["datetime", "start_datetime"].iter().find_map(|key| properties[*key].as_str());
        parts.metadata.dates.insert(m.family.clone(), instant.map(str::to_owned));
        parts.metadata.origins.insert(m.family.clone(), origin(dir, m, properties));
    }
    if parts.layers.is_empty() && parts.broken.is_empty() {
        return Err(Error::file(dir, format!("This product has no bands that are known below {BANDS}")));
    }
    let year = parts.metadata.dates.values().flatten().next().and_then(|date| date.get(..4)).unwrap_or_default();
    parts.metadata.attribution = Some(format!("Contains modified Copernicus Sentinel data {year}").trim().to_owned());
    Ok(parts)
}

/// The level of a product: as it says, or as it is called.
fn level(dir: &Path, properties: &Value) -> Option<Subject> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    let said = properties["processing:level"].as_str().unwrap_or_default().to_uppercase();
    let is = |level: &str| said.contains(level) || (said.is_empty() && name.contains(&format!("MSIL{level}")));
    match () {
        () if is("2A") => Some(Subject::SurfaceReflectance),
        () if is("1C") => Some(Subject::TopOfAtmosphere),
        () => None,
    }
}

/// Where it comes from, in one sentence.
fn origin(dir: &Path, m: &Group, properties: &Value) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let by = properties["processing:software"].as_object().and_then(|all| all.iter().next());
    let by = by.map(|(name, version)| format!(", made by {name} {}", version.as_str().unwrap_or_default()));
    crate::text::printable(&format!("{} from the product {name}{}", m.family, by.unwrap_or_default())).into_owned()
}

/// A band.
fn array(path: &Path, channel: &str, product: &Value) -> Result<RasterFile> {
    let shape = json(&path.join(".zarray"))?;
    let about = attributes(path)?;
    let wrong = |what: &str| Error::file(path, format!("This band of an EOPF product {what}"));
    let side = |k: usize| shape["shape"][k].as_u64().and_then(|n| usize::try_from(n).ok());
    let (Some(height), Some(width), None) = (side(0), side(1), side(2)) else {
        return Err(wrong("has not two dimensions"));
    };
    // Attributes as its makers write them, or below the name of their own.
    let own = |key: &str| [&about[key], &about["_eopf_attrs"][key]].into_iter().find(|value| !value.is_null()).cloned();
    let number = |key: &str, usual: f64| own(key).and_then(|value| value.as_f64()).unwrap_or(usual);
    let transform: Vec<f64> = own("proj:transform")
        .and_then(|t| Some(t.as_array()?.iter().filter_map(Value::as_f64).collect()))
        .unwrap_or_default();
    let [dx, skew, left, turned, dy, top, ..] = transform[..] else {
        return Err(wrong("does not say where it lies (proj:transform)"));
    };
    if skew != 0.0 || turned != 0.0 || dx <= 0.0 || dy >= 0.0 {
        return Err(wrong("is rotated or not north-up"));
    }
    let code = |value: &Value| match value {
        Value::Number(number) => Some(format!("EPSG:{number}")),
        Value::String(text) if text.starts_with("EPSG:") => Some(text.clone()),
        _ => None,
    };
    let said =
        [own("proj:code"), own("proj:epsg"), Some(product["proj:code"].clone()), Some(product["proj:epsg"].clone())];
    let system = said.iter().flatten().find_map(code).ok_or_else(|| wrong("does not say its coordinate system"))?;
    Ok(RasterFile {
        path: path.to_path_buf(),
        width,
        height,
        grid: Some([left, top, dx, dy]),
        crs: Some(Crs(system)),
        bands: vec![channel.to_owned()],
        byte: false,
        palette: false,
        by_order: false,
        colors: vec![None],
        nothing: ["_FillValue", "missing_value", "fill_value"]
            .into_iter()
            .find_map(|key| own(key)?.as_f64())
            .map(|v| v as f32),
        numbers: vec![Numbers::new(number("scale_factor", 1.0), number("add_offset", 0.0))],
        synthetic: false,
    })
}

/// The attributes of a group or an array; none is no fault.
fn attributes(dir: &Path) -> Result<Value> {
    let path = dir.join(".zattrs");
    if path.is_file() { json(&path) } else { Ok(Value::Null) }
}

fn json(path: &Path) -> Result<Value> {
    let text = crate::files::read_text(path).map_err(|e| Error::io(path, "read", &e))?;
    serde_json::from_str(&text).map_err(|e| Error::file(path, format!("This is no description of Zarr: {e}")))
}
