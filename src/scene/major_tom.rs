//! The Major TOM folder layout (specification B.10): one file per band below product folders.

use super::Parts;
use super::dates::day_in;
use super::layer::Layer;
use super::raster_file::RasterFile;
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::{Catalogue, Family, Group};
use std::path::{Path, PathBuf};

/// Root and cell, if this is the folder of a cell: `ROOT/Core-S2L2A/618U/618U_30L`, or `ROOT/Core-LULC/618U/30L`.
pub(super) fn cell_folder(dir: &Path, catalogue: &Catalogue) -> Option<(PathBuf, GridCell)> {
    let dir = dir.canonicalize().ok()?;
    let name = |path: &Path| path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    let (row, core) = (dir.parent()?, dir.parent()?.parent()?);
    let (own, row, kind) = (name(&dir)?, name(row)?, name(core)?);
    let place = catalogue.products().filter_map(|family| family.major_tom.as_ref()).find(|p| p.folder == kind)?;
    let label = if place.by_column { format!("{row}_{own}") } else { own };
    let cell: GridCell = label.parse().ok().filter(|_| label.starts_with(&format!("{row}_")))?;
    (dir.is_dir() && label == cell.to_string()).then(|| Some((core.parent()?.to_path_buf(), cell)))?
}

/// Layers of one cell. Product folders are found by looking, not through the index pickles.
pub(super) fn open(root: &Path, cell: &str, catalogue: &Catalogue) -> Result<Parts> {
    // The cell's name becomes part of paths, so it must be one.
    let _: GridCell = cell.parse()?;
    let (row, _) = cell.split_once('_').unwrap_or((cell, ""));
    let mut parts = Parts::default();
    for m in catalogue.groups() {
        // What other products bring along lies with the first of them that is there.
        let mut families = std::iter::once(&m.family).chain(&m.about.within).filter_map(|name| catalogue.family(name));
        let product = families.find_map(|family| Product::find(root, cell, family));
        let Some(product) = product else { continue };
        let files = match &product {
            Product::Maps(maps) => {
                if maps.len() > 1 {
                    parts.notes.push(format!("{} {} years for {cell}; the latest was taken.", maps.len(), kind(m)));
                }
                maps.last().cloned().into_iter().collect()
            }
            Product::Folders { family, folders } => {
                let Some(folder) = folders.last() else { continue };
                let id = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                if folders.len() > 1 {
                    parts.notes.push(format!("{} products of {family} for {cell}; {id} was taken.", folders.len()));
                }
                if let Some(date) = day_in(&id).map(|day| day.to_string()) {
                    parts.metadata.dates.insert(family.clone(), Some(date.clone()));
                    parts.metadata.dates.insert(m.family.clone(), Some(date));
                }
                let paths: Vec<PathBuf> = m.channels.iter().map(|b| folder.join(format!("{b}.tif"))).collect();
                if paths.iter().any(|p| !p.exists()) {
                    continue;
                }
                paths
            }
        };
        let rasters: Result<Vec<RasterFile>> = files.iter().map(|p| RasterFile::open(p)).collect();
        let layer = rasters.and_then(|mut rasters| match product {
            Product::Folders { .. } => Layer::per_band(rasters),
            Product::Maps(_) => {
                // The file is named by cell and year, not by band.
                rasters[0].bands = vec![String::new()];
                let mut layer = Layer::single(rasters.swap_remove(0));
                layer.alignment = 1.0;
                Ok(layer)
            }
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

/// What a data set has of a family for a cell: at least one of it.
enum Product {
    /// One folder per acquisition with a file per band, the latest last; and the family they are of.
    Folders { family: String, folders: Vec<PathBuf> },
    /// One file per year, the latest last.
    Maps(Vec<PathBuf>),
}

impl Product {
    fn find(root: &Path, cell: &str, family: &Family) -> Option<Self> {
        let place = family.major_tom.as_ref()?;
        let (row, column) = cell.split_once('_').unwrap_or((cell, ""));
        let dir = root.join(&place.folder).join(row).join(if place.by_column { column } else { cell });
        if place.by_column {
            let maps = sorted(&dir, |path| path.extension().is_some_and(|e| e == "tif"));
            return (!maps.is_empty()).then_some(Self::Maps(maps));
        }
        let mut folders = sorted(&dir, |path| path.is_dir());
        // The latest acquisition, whichever satellite it came from.
        folders.sort_by_key(|path| path.file_name().and_then(|n| day_in(&n.to_string_lossy())));
        (!folders.is_empty()).then(|| Self::Folders { family: family.name.clone(), folders })
    }
}

/// What a map shows, in words.
fn kind(m: &Group) -> String {
    m.about.title().to_lowercase().replace(' ', "-")
}

fn sorted(dir: &Path, keep: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| keep(p)).collect();
    paths.sort();
    paths
}
