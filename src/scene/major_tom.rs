//! The Major TOM folder layout (specification B.10): one file per band below product folders.

use super::Parts;
use super::dates::day_in;
use super::layer::Layer;
use super::raster_file::RasterFile;
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::ModalityTable;
use std::path::{Path, PathBuf};

/// Root and cell, if this is the folder of a cell: `ROOT/Core-S2L2A/618U/618U_30L`, or `ROOT/Core-LULC/618U/30L`.
pub(super) fn cell_folder(dir: &Path) -> Option<(PathBuf, GridCell)> {
    let dir = dir.canonicalize().ok()?;
    let name = |path: &Path| path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    let (row, core) = (dir.parent()?, dir.parent()?.parent()?);
    let (own, row, kind) = (name(&dir)?, name(row)?, name(core)?);
    let label = match kind.strip_prefix("Core-")? {
        "LULC" => format!("{row}_{own}"),
        _ => own,
    };
    let cell: GridCell = label.parse().ok().filter(|_| label.starts_with(&format!("{row}_")))?;
    (dir.is_dir() && label == cell.to_string()).then(|| Some((core.parent()?.to_path_buf(), cell)))?
}

/// Layers of one cell. Product folders are found by looking, not through the index pickles.
pub(super) fn open(root: &Path, cell: &str) -> Result<Parts> {
    // The cell's name becomes part of paths, so it must be one.
    let _: GridCell = cell.parse()?;
    let (row, column) = cell.split_once('_').unwrap_or((cell, ""));
    let mut parts = Parts::default();
    for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
        let files = match m.name.as_str() {
            "LULC" => {
                let dir = root.join("Core-LULC").join(row).join(column);
                let maps = sorted(&dir, |path| path.extension().is_some_and(|e| e == "tif"));
                if maps.len() > 1 {
                    parts.notes.push(format!("{} land-cover years for {cell}; the latest was taken.", maps.len()));
                }
                maps.last().cloned().into_iter().collect()
            }
            name => {
                let (family, bands): (&str, Vec<String>) = match name {
                    "cloud_mask" => ("S2L1C", vec!["cloud_mask".into()]),
                    _ => (&m.family, m.channels.clone()),
                };
                let mut products =
                    sorted(&root.join(format!("Core-{family}")).join(row).join(cell), |path| path.is_dir());
                // The latest acquisition, whichever satellite it came from.
                products.sort_by_key(|path| path.file_name().and_then(|n| day_in(&n.to_string_lossy())));
                let Some(product) = products.last() else { continue };
                let id = product.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                if products.len() > 1 {
                    parts.notes.push(format!("{} products of {family} for {cell}; {id} was taken.", products.len()));
                }
                if let Some(date) = day_in(&id).map(|day| day.to_string()) {
                    parts.metadata.dates.insert(family.to_owned(), Some(date.clone()));
                    parts.metadata.dates.insert(m.family.clone(), Some(date));
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
        let rasters: Result<Vec<RasterFile>> = files.iter().map(|p| RasterFile::open(p)).collect();
        let layer = rasters.and_then(|mut rasters| {
            if m.name != "LULC" {
                return Layer::per_band(rasters);
            }
            // The file is named by cell and year, not by band.
            rasters[0].bands = vec![String::new()];
            let mut layer = Layer::single(rasters.swap_remove(0));
            layer.alignment = 1.0;
            Ok(layer)
        });
        parts.put(&m.name, layer)?;
    }
    if parts.layers.is_empty() && parts.broken.is_empty() {
        return Err(Error::file(
            root,
            format!("There is nothing of cell {cell} here; expected folders such as Core-S2L2A/{row}/{cell}"),
        ));
    }
    Ok(parts)
}

fn sorted(dir: &Path, keep: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| keep(p)).collect();
    paths.sort();
    paths
}
