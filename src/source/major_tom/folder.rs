//! Rows become a scene folder, written at once or not at all.

use super::bands::{Band, LARGEST_BLOB, stack};
use super::rows::Row;
use super::table::Table;
use super::{Access, Origin};
use crate::error::{Error, Result};
use crate::files::{make_folder, read_text, write_atomically};
use crate::modality::{Catalogue, Family, Group};
use crate::scene::Scene;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A scene that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// Its folder.
    pub dir: PathBuf,
    /// Whether it was there already.
    pub before: bool,
    /// Names of its modalities.
    pub modalities: Vec<String>,
}

/// What `scene.json` names as one source.
fn source(row: &Row) -> Value {
    json!({
        "file": row.origin.to_string(),
        "family": row.family,
        "grid_cell": row.cell.to_string(),
        "product_id": row.product,
        "timestamp": row.time,
        "cloud_cover": row.cloud_cover,
        "nodata": row.no_data,
        "processing_baseline": row.product.as_deref().and_then(baseline),
    })
}

/// Processing baseline in the name of a Sentinel-2 product: `N0509` is 05.09.
fn baseline(product: &str) -> Option<String> {
    let digits = product.split('_').find_map(|part| part.strip_prefix('N').filter(|d| d.len() == 4))?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| format!("{}.{}", &digits[..2], &digits[2..]))
}

/// Makes a scene folder of one cell's rows in `within`, named by the cell; one of the same rows that is there already is
/// used again, without any reading.
///
/// # Errors
/// See [`fetch`].
pub fn fetch_within(rows: &[Row], within: &Path, access: &Access) -> Result<Fetched> {
    let cell = rows.first().ok_or_else(|| Error::request("No row was chosen."))?.cell.to_string();
    let wanted: Value = rows.iter().map(source).collect();
    for number in 1..10_000 {
        let dir = within.join(if number == 1 { cell.clone() } else { format!("{cell}_{number}") });
        if !dir.exists() {
            return fetch(rows, &dir, access);
        }
        let text = read_text(&dir.join("scene.json")).unwrap_or_default();
        let there: Value = serde_json::from_str(&text).unwrap_or_default();
        if there["sources"] == wanted {
            let modalities = there["modalities"].as_object().map(|m| m.keys().cloned().collect());
            return Ok(Fetched { dir, before: true, modalities: modalities.unwrap_or_default() });
        }
    }
    Err(Error::file(within, "No name is left for the scene; choose another folder"))
}

/// Makes a new scene folder of one cell's rows, at most one per family.
///
/// # Errors
/// When the folder exists, something cannot be read or is not what it should be, or the disk is full; nothing is left
/// behind then.
pub fn fetch(rows: &[Row], dir: &Path, access: &Access) -> Result<Fetched> {
    let mut modalities = BTreeMap::new();
    make_folder(dir, |hidden| fill(rows, hidden, access, &mut modalities))?;
    Ok(Fetched { dir: dir.to_path_buf(), before: false, modalities: modalities.into_keys().collect() })
}

/// Writes rasters and description, and makes sure that they open.
fn fill(rows: &[Row], dir: &Path, access: &Access, modalities: &mut BTreeMap<String, Value>) -> Result<()> {
    let (mut tables, mut notes, mut silent) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    for row in rows {
        let table = match tables.entry(row.origin.clone()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Table::open(&row.origin, access)?),
        };
        take(row, table, rows, dir, modalities, (&mut notes, &mut silent))?;
    }
    if modalities.is_empty() {
        let origin = rows.first().map_or(Origin::File(dir.into()), |row| row.origin.clone());
        return Err(origin.problem("The row holds no complete modality; choose another cell or another file"));
    }
    notes.extend(rows.iter().filter(|row| silent.contains(&row.family)).filter_map(offset_note));
    let text = description(rows, modalities, &notes);
    write_atomically(&dir.join("scene.json"), text.as_bytes())?;
    Scene::open(dir).map(|_| ())
}

/// Whether a row gives a modality: clouds come from the L1C product where there is one, as published (B.10).
fn gives(row: &Row, m: &Group, rows: &[Row]) -> bool {
    let mut families = std::iter::once(&m.family).chain(&m.about.within);
    families.find(|family| rows.iter().any(|row| row.family == **family)) == Some(&row.family)
}

/// Reads the bands of a row and writes its modalities; families whose tags take off no offset are added to `silent`.
fn take(
    row: &Row,
    table: &Table,
    rows: &[Row],
    dir: &Path,
    modalities: &mut BTreeMap<String, Value>,
    (notes, silent): (&mut Vec<String>, &mut BTreeSet<String>),
) -> Result<()> {
    let (group, at) = row.locate(table)?;
    let catalogue = Catalogue::of_user();
    let given: Vec<&Arc<Group>> = catalogue.groups().filter(|m| gives(row, m, rows)).collect();
    let whole: Vec<&&Arc<Group>> = given.iter().filter(|m| m.channels.iter().all(|band| table.has(band))).collect();
    let wanted: Vec<&String> = whole.iter().flat_map(|m| &m.channels).collect();
    if let Some(band) = wanted.iter().find(|band| table.rows(group) == 1 && table.unpacked(group, band) > LARGEST_BLOB)
    {
        return Err(row
            .origin
            .problem(&format!("The raster of {band} in it is larger than any cell's; it is damaged")));
    }
    // All bands of a cell lie side by side: one exchange brings them.
    table.hold(wanted.iter().map(|band| (group, (*band).clone())))?;
    for m in &given {
        let missing: Vec<&str> = m.channels.iter().filter(|band| !table.has(band)).map(String::as_str).collect();
        if !missing.is_empty() {
            // Neither mask nor every band is in every file.
            if m.about.within.is_empty() {
                notes.push(format!("{} has no {}, so there is no {}.", row.origin.name(), missing.join(", "), m.name));
            }
            continue;
        }
        let mut bands = Vec::new();
        for name in &m.channels {
            let blob = table.values(group, name, &[at])?.pop().flatten();
            match blob {
                Some(super::column::Datum::Bytes(blob)) if !blob.is_empty() => {
                    bands.push(Band::open(name, blob, &row.origin)?);
                }
                _ => break,
            }
        }
        if bands.len() < m.channels.len() {
            let (name, cell) = (&m.channels[bands.len()], row.cell);
            notes.push(format!("{} has no {name} for {cell}, so there is no {}.", row.origin.name(), m.name));
            continue;
        }
        if !bands.iter().all(|band| band.moves(m)) {
            silent.insert(row.family.clone());
        }
        let file = format!("{}.tif", m.name);
        stack(&bands, &dir.join(&file), &row.origin)?;
        let names: Vec<&String> = m.channels.iter().collect();
        modalities.insert(m.name.clone(), json!({ "file": file, "bands": names, "from": row.family }));
    }
    table.forget();
    Ok(())
}

/// What a careful reader should know about the offset of newer Sentinel-2 products.
fn offset_note(row: &Row) -> Option<String> {
    let baseline = row.product.as_deref().and_then(baseline)?;
    let offset = Catalogue::of_user().family(&row.family)?.offset?;
    (baseline.as_str() >= "04.00").then(|| {
        format!(
            "{} is of processing baseline {baseline}: its values may carry an offset of {offset} DN. It was left in, as in \
             the rasters the published networks were trained on; the bundled model knows values without it.",
            row.family
        )
    })
}

/// Where a family comes from, in one sentence.
fn origin_line(row: &Row) -> String {
    let product = row.product.as_deref().unwrap_or("a row without a product's name");
    format!("Major TOM Core, {product} in {}; pixels and grid unchanged.", row.origin)
}

fn description(rows: &[Row], modalities: &BTreeMap<String, Value>, notes: &[String]) -> String {
    let catalogue = Catalogue::of_user();
    let about = |row: &Row| catalogue.family(&row.family);
    let dated = |row: &&Row| about(row).is_none_or(|family| !family.timeless);
    let has = |family: &str| rows.iter().find(|row| row.family == family);
    let years: BTreeSet<&str> = rows.iter().filter(dated).filter_map(|row| row.time.as_deref()?.get(..4)).collect();
    let years = years.into_iter().collect::<Vec<_>>().join(", ");
    let mut attribution = vec!["Major TOM Core (ESA Φ-lab and partners), CC BY-SA 4.0".to_owned()];
    let ours = |family: &&Arc<Family>| has(&family.name).is_some();
    for credit in catalogue.products().filter(ours).filter_map(|family| family.credit.as_ref()) {
        let credit = credit.replace("{years}", &years).trim_end().to_owned();
        if !attribution.contains(&credit) {
            attribution.push(credit);
        }
    }
    let mut dates: BTreeMap<&str, &String> = BTreeMap::new();
    for row in rows.iter().filter(dated) {
        dates.extend(row.time.as_ref().map(|time| (row.family.as_str(), time)));
    }
    // What a product brought along has its date.
    for m in catalogue.groups().filter(|m| !m.about.within.is_empty()) {
        if let Some(from) = modalities.get(&m.name).and_then(|made| made["from"].as_str()) {
            dates.extend(has(from).and_then(|row| row.time.as_ref()).map(|time| (m.family.as_str(), time)));
        }
    }
    let text = json!({
        "name": rows.first().map(|row| row.cell.to_string()),
        "fetched": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "source": "Major TOM Core, one row per product; pixels and grids unchanged",
        "licence": "CC-BY-SA-4.0; Copernicus Sentinel data and Copernicus DEM under their own terms",
        "attribution": attribution.join("; "),
        "dates": dates,
        "origins": rows.iter().map(|row| (row.family.clone(), origin_line(row))).collect::<BTreeMap<_, _>>(),
        "own_grids": true,
        "modalities": modalities,
        "sources": rows.iter().map(source).collect::<Value>(),
        "notes": notes,
    });
    format!("{text:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_are_read_from_product_names() {
        let id = "S2A_MSIL2A_20230420T114351_N0509_R123_T30UUG_20230420T165159";
        assert_eq!(baseline(id).as_deref(), Some("05.09"));
        for none in ["id", "", "S1A_IW_GRDH_NOPE", "N12é4"] {
            assert_eq!(baseline(none), None, "{none}");
        }
    }
}
