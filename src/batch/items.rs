//! Items as a table (stac-geoparquet 1.1.0): properties are columns, geometry is WKB, assets are a structure with a field for
//! each key that any item has.

use crate::error::{Error, Result};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use gdal::vector::Geometry;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Items written together.
const TOGETHER: usize = 256;
/// Rows of a group: what is held before it is written.
const GROUP_ROWS: usize = 8192;

/// What comes before the relative addresses of files.
pub(super) struct Base(String);

impl Base {
    pub(super) fn of(base: Option<&str>) -> Self {
        Self(base.map_or(".".to_owned(), |base| base.trim_end_matches('/').to_owned()))
    }

    /// The address of what an item of a job means by a relative one.
    fn address(&self, job: &str, href: &str) -> String {
        if href.contains("://") {
            return href.to_owned();
        }
        match href.strip_prefix("../../") {
            Some(above) => format!("{}/{above}", self.0),
            None => format!("{}/jobs/{job}/{}", self.0, href.trim_start_matches("./")),
        }
    }
}

/// What all items together have.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub items: usize,
    properties: BTreeSet<String>,
    assets: BTreeSet<String>,
    geometries: BTreeSet<String>,
    bounds: Option<[f64; 4]>,
    interval: Option<[String; 2]>,
}

/// What the shape of all depends on.
#[derive(Deserialize)]
pub(super) struct Seen {
    geometry: Option<SeenGeometry>,
    bbox: Option<[f64; 4]>,
    properties: BTreeMap<String, SeenText>,
    assets: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct SeenGeometry {
    r#type: String,
}

/// A text; of anything else nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum SeenText {
    Text(String),
    Other(IgnoredAny),
}

impl Seen {
    /// From the text of an item.
    pub(super) fn read(item: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(item).map_err(|e| e.to_string())
    }
}

impl Shape {
    /// Takes in an item.
    pub(super) fn see(&mut self, seen: Seen) {
        self.items += 1;
        if let Some(SeenText::Text(instant)) = seen.properties.get("datetime") {
            let [first, last] = self.interval.get_or_insert_with(|| [instant.clone(), instant.clone()]);
            if instant < first {
                first.clone_from(instant);
            }
            if instant > last {
                last.clone_from(instant);
            }
        }
        let new = seen.properties.into_keys().filter(|key| !self.properties.contains(key)).collect::<Vec<_>>();
        self.properties.extend(new);
        let new = seen.assets.into_keys().filter(|key| !self.assets.contains(key)).collect::<Vec<_>>();
        self.assets.extend(new);
        self.geometries.extend(seen.geometry.map(|geometry| geometry.r#type));
        if let Some([west, south, east, north]) = seen.bbox {
            // What lies across 180 degrees lies on both sides.
            let (west, east) = if west > east { (-180.0, 180.0) } else { (west, east) };
            let [w, s, e, n] = self.bounds.unwrap_or([west, south, east, north]);
            self.bounds = Some([w.min(west), s.min(south), e.max(east), n.max(north)]);
        }
    }

    /// West, south, east and north of all that is somewhere.
    pub(super) fn bounds(&self) -> [f64; 4] {
        self.bounds.unwrap_or([-180.0, -90.0, 180.0, 90.0])
    }

    /// First and last instant.
    pub(super) fn interval(&self) -> [Option<String>; 2] {
        self.interval.clone().map_or([None, None], |both| both.map(Some))
    }

    fn schema(&self) -> Schema {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let number = |name: &str| Field::new(name, DataType::Float64, true);
        let list = |name: &str, of: DataType| {
            Field::new(name, DataType::List(Arc::new(Field::new("element", of, true))), true)
        };
        let group = |fields: Vec<Field>| DataType::Struct(Fields::from(fields));
        let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let band = |prefix: &str| {
            let scale = ["scale", "offset"].map(|name| number(&format!("{prefix}{name}")));
            let mut fields = vec![text("data_type"), number("nodata"), text("unit")];
            fields.extend(scale);
            fields
        };
        let bands = [vec![text("name")], band("raster:")].concat();
        let asset = group(vec![
            text("href"),
            text("type"),
            text("title"),
            list("roles", DataType::Utf8),
            list("bands", group(bands)),
            list("raster:bands", group(band(""))),
            list("proj:shape", DataType::Int64),
            list("proj:transform", DataType::Float64),
        ]);
        let corners = ["xmin", "ymin", "xmax", "ymax"].map(number).to_vec();
        let links = group(["href", "rel", "type"].map(text).to_vec());
        let assets: Vec<Field> = self.assets.iter().map(|key| Field::new(key, asset.clone(), true)).collect();
        let mut fields = vec![
            text("type"),
            text("stac_version"),
            list("stac_extensions", DataType::Utf8),
            text("id"),
            Field::new("geometry", DataType::Binary, true),
            Field::new("bbox", group(corners), true),
            list("links", links),
            Field::new("assets", group(assets), true),
            text("collection"),
        ];
        let own: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        fields.extend(self.properties.iter().filter(|key| !own.contains(key)).map(|key| match key.as_str() {
            "datetime" | "created" => Field::new(key, instant(), true),
            "proj:epsg" => Field::new(key, DataType::Int64, true),
            _ => text(key),
        }));
        Schema::new(fields)
    }

    /// What GeoParquet wants to be told.
    fn geo(&self) -> Value {
        json!({
            "version": "1.1.0",
            "primary_column": "geometry",
            "columns": { "geometry": {
                "encoding": "WKB",
                "geometry_types": self.geometries,
                "bbox": self.bounds(),
                "covering": { "bbox": {
                    "xmin": ["bbox", "xmin"], "ymin": ["bbox", "ymin"], "xmax": ["bbox", "xmax"], "ymax": ["bbox", "ymax"],
                } },
            } },
        })
    }
}

/// The table while it is written.
pub(super) struct Table<'a> {
    path: PathBuf,
    base: &'a Base,
    decoder: Decoder,
    writer: ArrowWriter<File>,
}

impl<'a> Table<'a> {
    /// Begins a file for items of this shape.
    pub(super) fn begin(path: &Path, shape: &Shape, collection: &Value, base: &'a Base) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::file(path, format!("The table cannot be written: {e}"));
        let schema = Arc::new(shape.schema());
        let id = collection["id"].as_str().unwrap_or_default().to_owned();
        let mut collection = collection.clone();
        collection["links"] = json!([]);
        let stac = json!({ "version": "1.1.0", "collections": { id: collection } });
        let told = [("geo", shape.geo()), ("stac-geoparquet", stac)];
        let told = told.map(|(key, value)| KeyValue::new(key.to_owned(), value.to_string()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(Some(told.to_vec()))
            .build();
        let file = File::create(path).map_err(|e| Error::io(path, "create", &e))?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|e| failed(&e))?;
        let decoder = ReaderBuilder::new(schema).with_batch_size(TOGETHER).with_coerce_primitive(true);
        let decoder = decoder.build_decoder().map_err(|e| failed(&e))?;
        Ok(Self { path: path.to_path_buf(), base, decoder, writer })
    }

    /// Adds items, each with the name of its job.
    pub(super) fn add(&mut self, items: &[(String, Vec<u8>)]) -> Result<(), String> {
        for some in items.chunks(TOGETHER) {
            let base = self.base;
            let rows = some.par_iter().map(|(job, item)| row(base, job, item).map_err(|why| format!("{job}: {why}")));
            let rows = rows.collect::<Result<Vec<Value>, String>>()?;
            self.decoder.serialize(&rows).map_err(|e| e.to_string())?;
            if let Some(batch) = self.decoder.flush().map_err(|e| e.to_string())? {
                self.writer.write(&batch).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// Ends the file.
    pub(super) fn finish(self) -> Result<()> {
        let failed = |e| Error::file(&self.path, format!("The table cannot be written: {e}"));
        self.writer.close().map(drop).map_err(failed)
    }
}

/// An item as a row of the table.
fn row(base: &Base, job: &str, item: &[u8]) -> Result<Value, String> {
    let mut item: Value = serde_json::from_slice(item).map_err(|e| e.to_string())?;
    let item = item.as_object_mut().ok_or("no object")?;
    let mut row = Map::new();
    if let Some(Value::Object(properties)) = item.remove("properties") {
        row.extend(properties);
    }
    row.append(item);
    if let Some(geometry) = row.remove("geometry").filter(|geometry| !geometry.is_null()) {
        let wkb = Geometry::from_geojson(&geometry.to_string()).and_then(|geometry| geometry.wkb());
        let wkb = wkb.map_err(|e| format!("its geometry: {e}"))?;
        row.insert("geometry".into(), json!(crate::files::hex(&wkb)));
    }
    let bounds = row.remove("bbox").and_then(|bounds| serde_json::from_value::<[f64; 4]>(bounds).ok());
    if let Some([west, south, east, north]) = bounds {
        row.insert("bbox".into(), json!({ "xmin": west, "ymin": south, "xmax": east, "ymax": north }));
    }
    let place = |of: &mut Value| {
        if let Some(href) = of["href"].as_str() {
            of["href"] = json!(base.address(job, href));
        }
    };
    row.get_mut("assets").and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut()).for_each(place);
    row.get_mut("links").and_then(Value::as_array_mut).into_iter().flatten().for_each(place);
    Ok(Value::Object(row))
}
