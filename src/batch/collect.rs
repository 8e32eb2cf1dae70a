//! The catalogue of what a batch has made: a STAC collection (1.1.0) beside the items that lie with their files, and all items
//! once more in one table.

use super::items::{Base, Seen, Shape, Table};
use super::perform::collection_id;
use super::status::{TOGETHER, for_rows};
use super::store::{Header, ITEM_FILE, Record, Store, begun, job_file, open};
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::Path;

/// The collection's file in a store.
const COLLECTION_FILE: &str = "collection.json";
/// The table of all items.
const TABLE_FILE: &str = "items.parquet";

/// What was collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Items of the collection.
    pub items: usize,
    /// Jobs of the plan that have none yet.
    pub missing: usize,
    /// Addresses of the collection and the table.
    pub files: [String; 2],
}

/// Makes the catalogue of all jobs that are whole. Addresses of files are relative to the table, unless `base` says what comes
/// before them (`https://example.org/store`).
///
/// # Errors
/// When the store cannot be read or written, no batch was begun in it, or nothing is done yet.
pub fn collect(address: &str, base: Option<&str>) -> Result<Collected> {
    let store = open(address)?;
    let header = begun(store.as_ref())?;
    let base = Base::of(base.or(address.contains("://").then_some(address)));
    let mut shape = Shape::default();
    let links = scratch()?;
    // Items as they were read, for the second look at them: the table's columns are known once all were seen.
    let read = scratch()?;
    let mut out = [&links, &read].map(|file| std::io::BufWriter::new(file.as_file()));
    let unwritten = |e: std::io::Error| Error::io(links.path(), "write", &e);
    each(store.as_ref(), &header, &mut |record, seen, bytes| {
        shape.see(seen);
        let href = format!("./{}", job_file(&record.job, ITEM_FILE));
        let link = json!({ "rel": "item", "href": href, "type": "application/geo+json", "title": record.job });
        write!(out[0], ",\n    {link}").map_err(unwritten)?;
        keep(&mut out[1], &[record.job.as_bytes(), &bytes]).map_err(unwritten)
    })?;
    out.iter_mut().try_for_each(Write::flush).map_err(unwritten)?;
    drop(out);
    if shape.items == 0 {
        return Err(Error::request(format!("No job of {} is done yet; there is nothing to collect.", store.address())));
    }
    let about = collection(&header, &shape);
    let parquet = scratch()?;
    let mut table = Table::begin(parquet.path(), &shape, &about, &base)?;
    let again = |e: std::io::Error| Error::io(read.path(), "read", &e);
    let mut items = std::io::BufReader::new(read.reopen().map_err(again)?);
    loop {
        let some = kept(&mut items).map_err(again)?;
        if some.is_empty() {
            break;
        }
        table.add(&some).map_err(|why| Error::file(store.address(), format!("An item is damaged ({why})")))?;
    }
    table.finish()?;
    store.put(TABLE_FILE, parquet.path())?;
    let json = scratch()?;
    write_collection(json.path(), &about, links.path())?;
    // Last: whoever reads it finds the table.
    store.put(COLLECTION_FILE, json.path())?;
    let files = [COLLECTION_FILE, TABLE_FILE].map(|name| format!("{}/{name}", store.address().trim_end_matches('/')));
    Ok(Collected { items: shape.items, missing: header.plan.rows.saturating_sub(shape.items), files })
}

fn scratch() -> Result<tempfile::NamedTempFile> {
    tempfile::NamedTempFile::new().map_err(|e| Error::Compute(format!("No temporary file can be made: {e}.")))
}

fn damaged(store: &dyn Store, record: &Record, why: &str) -> Error {
    let path = format!("{}/{}", store.address(), job_file(&record.job, ITEM_FILE));
    Error::file(
        path,
        format!("The item of row {} is damaged ({why}); remove the folder and do the job again", record.row),
    )
}

/// Takes what a job's record, its item's shape and text are.
type Take<'a> = &'a mut dyn FnMut(&Record, Seen, Vec<u8>) -> Result<()>;

/// The items of all jobs that are whole, in the plan's order; read side by side.
fn each(store: &dyn Store, header: &Header, take: Take) -> Result<()> {
    for_rows(store, &header.pins, &mut |rows| {
        let records: Vec<Record> = rows.into_iter().filter_map(|(_, record)| record).collect();
        let read = |record: &Record| {
            let bytes = store.read(&job_file(&record.job, ITEM_FILE))?;
            let bytes = bytes.ok_or_else(|| damaged(store, record, "it is gone"))?;
            let seen = Seen::read(&bytes).map_err(|why| damaged(store, record, &why))?;
            Ok((seen, bytes))
        };
        let items = records.par_iter().map(read).collect::<Result<Vec<_>>>()?;
        records.iter().zip(items).try_for_each(|(record, (seen, bytes))| take(record, seen, bytes))
    })
}

/// Writes texts with their lengths.
fn keep(out: &mut dyn Write, texts: &[&[u8]]) -> std::io::Result<()> {
    texts.iter().try_for_each(|text| {
        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(text)
    })
}

/// The next items that were kept, each with the name of its job; none at the end.
fn kept(from: &mut impl BufRead) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    while all.len() < TOGETHER && !from.fill_buf()?.is_empty() {
        let mut text = || {
            let mut length = [0; 8];
            from.read_exact(&mut length)?;
            let mut text = vec![0; u64::from_le_bytes(length) as usize];
            from.read_exact(&mut text).map(|()| text)
        };
        let job = text()?;
        all.push((String::from_utf8_lossy(&job).into_owned(), text()?));
    }
    Ok(all)
}

/// The collection without its links.
fn collection(header: &Header, shape: &Shape) -> Value {
    let pins = &header.pins;
    json!({
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": collection_id(&header.plan.sha256),
        "title": format!("Synthetic realisations of {} places", shape.items),
        "description": "Generated by a model; not observations. Spread over realisations is not calibrated error.",
        "license": "other",
        "keywords": ["synthetic"],
        "extent": {
            "spatial": { "bbox": [shape.bounds()] },
            "temporal": { "interval": [shape.interval()] },
        },
        "summaries": {
            "copgen:model": [pins.model],
            "copgen:model_sha256": [pins.model_sha256],
            "copgen:computed": [pins.computed],
            "copgen:program": [format!("COP-GEN Explorer {}", pins.program)],
        },
        "copgen:plan_sha256": header.plan.sha256,
        "assets": {
            "items": {
                "href": format!("./{TABLE_FILE}"),
                "type": "application/vnd.apache.parquet",
                "title": "All items (stac-geoparquet)",
                "roles": ["collection-mirror"],
            },
        },
    })
}

/// Writes the collection with its links, which are as many as there are items.
fn write_collection(path: &Path, about: &Value, links: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(path, "write", &e);
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    let text = serde_json::to_string_pretty(about).map_err(|e| Error::Compute(format!("No collection: {e}.")))?;
    let body = text.trim_end().trim_end_matches('}').trim_end();
    let root = json!({ "rel": "root", "href": format!("./{COLLECTION_FILE}"), "type": "application/json" });
    write!(out, "{body},\n  \"links\": [\n    {root}").map_err(failed)?;
    let mut links = std::fs::File::open(links).map_err(failed)?;
    std::io::copy(&mut links, &mut out).map_err(failed)?;
    write!(out, "\n  ]\n}}\n").and_then(|()| out.flush()).map_err(failed)
}
