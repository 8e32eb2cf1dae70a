//! The Major TOM folder layout (specification B.10): one file per band below product folders.

use super::layer::Layer;
use super::metadata::Metadata;
use super::raster_file::RasterFile;
use crate::error::{Error, Result};
use crate::modality::ModalityTable;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

type Opened = (BTreeMap<String, Layer>, Metadata, Vec<String>);

/// Layers of one cell. Product folders are found by looking, not through the index pickles.
pub(super) fn open(root: &Path, cell: &str) -> Result<Opened> {
    // The cell's name becomes part of paths, so it must be one.
    let _: crate::grid::GridCell = cell.parse()?;
    let (row, column) = cell.split_once('_').unwrap_or((cell, ""));
    let (mut layers, mut metadata, mut notes) = (BTreeMap::new(), Metadata::default(), Vec::new());
    for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
        let files = match m.name.as_str() {
            "LULC" => {
                let dir = root.join("Core-LULC").join(row).join(column);
                let maps = sorted(&dir, |path| path.extension().is_some_and(|e| e == "tif"));
                if maps.len() > 1 {
                    notes.push(format!("{} land-cover years for {cell}; the latest was taken.", maps.len()));
                }
                maps.last().cloned().into_iter().collect()
            }
            name => {
                let (family, bands): (&str, Vec<String>) = match name {
                    "cloud_mask" => ("S2L1C", vec!["cloud_mask".into()]),
                    _ => (&m.family, m.channels.clone()),
                };
                let products = sorted(&root.join(format!("Core-{family}")).join(row).join(cell), |path| path.is_dir());
                let Some(product) = products.last() else { continue };
                let id = product.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                if products.len() > 1 {
                    notes.push(format!("{} products of {family} for {cell}; {id} was taken.", products.len()));
                }
                if let Some(date) = date_in(&id) {
                    metadata.dates.insert(family.to_owned(), Some(date.clone()));
                    metadata.dates.insert(m.family.clone(), Some(date));
                }
                let paths: Vec<PathBuf> = bands.iter().map(|b| product.join(format!("{b}.tif"))).collect();
                if paths.iter().any(|p| !p.exists()) {
                    continue;
                }
                paths
            }
        };
        if files.is_empty() {
            continue;
        }
        let mut rasters: Vec<RasterFile> = files.iter().map(|p| RasterFile::open(p)).collect::<Result<_>>()?;
        if m.name == "LULC" {
            // The file is named by cell and year, not by band.
            rasters[0].bands = vec![String::new()];
            let mut layer = Layer::single(rasters.swap_remove(0));
            layer.alignment = 1.0;
            layers.insert(m.name.clone(), layer);
        } else {
            layers.insert(m.name.clone(), Layer::per_band(rasters)?);
        }
    }
    if layers.is_empty() {
        return Err(Error::file(
            root,
            format!("There is nothing of cell {cell} here; expected folders such as Core-S2L2A/{row}/{cell}"),
        ));
    }
    Ok((layers, metadata, notes))
}

fn sorted(dir: &Path, keep: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| keep(p)).collect();
    paths.sort();
    paths
}

/// First date such as 20230418 in a product id.
fn date_in(id: &str) -> Option<String> {
    id.split(['_', 'T']).find_map(|part| {
        let digits = part.len() == 8 && part.bytes().all(|b| b.is_ascii_digit());
        let iso = digits.then(|| format!("{}-{}-{}", &part[..4], &part[4..6], &part[6..]))?;
        iso.parse::<jiff::civil::Date>().is_ok().then_some(iso)
    })
}
