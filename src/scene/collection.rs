//! All cells of a data set in the Major TOM folder layout (specification B.10), found by the names of its folders alone.

use crate::error::{Error, Result};
use crate::grid::GridCell;
use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

/// Product folders, in the order in which they lead.
const FAMILIES: [&str; 5] = ["S2L2A", "S2L1C", "S1RTC", "DEM", "LULC"];
/// How far below a folder the data set may begin: `data/majorTOM/edinburgh`.
const DEPTH: usize = 3;
/// No more folders are looked into to find it.
const LOOKED_INTO: usize = 500;

/// What a data set has of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holding([bool; FAMILIES.len()]);

impl Holding {
    /// Names of the products.
    pub fn families(self) -> impl Iterator<Item = &'static str> {
        FAMILIES.into_iter().zip(self.0).filter(|(_, there)| *there).map(|(family, _)| family)
    }
}

/// A data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    /// The folder that holds `Core-S2L2A` and its like.
    pub root: PathBuf,
    /// Its cells.
    pub cells: BTreeMap<GridCell, Holding>,
}

impl Collection {
    /// Finds a data set at a folder, in one above it (`Core-S2L2A`), or up to three below (`data/majorTOM/edinburgh`);
    /// `None` if there is none.
    ///
    /// # Errors
    /// When the folder cannot be read, or holds more than one data set.
    pub fn find(dir: &Path) -> Result<Option<Self>> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let full = dir.canonicalize().map_err(|e| Error::io(dir, "read", &e))?;
        if is_core(&full)
            && let Some(root) = full.parent()
        {
            return Self::read(root).map(Some);
        }
        let mut level = vec![dir.to_path_buf()];
        let mut looked = 0;
        for _ in 0..=DEPTH {
            let (mut roots, mut below) = (Vec::new(), Vec::new());
            for dir in level {
                looked += 1;
                if looked > LOOKED_INTO {
                    return Ok(None);
                }
                let inner = folders(&dir);
                if inner.iter().any(|path| is_core(path)) {
                    roots.push(dir);
                } else {
                    below.extend(inner.into_iter().filter(|path| !is_hidden(path)));
                }
            }
            match roots.as_slice() {
                [] => level = below,
                [root] => return Self::read(root).map(Some),
                [first, second, ..] => {
                    return Err(Error::file(
                        dir,
                        format!(
                            "It holds several data sets, among them {} and {}; open one of them",
                            first.display(),
                            second.display()
                        ),
                    ));
                }
            }
        }
        Ok(None)
    }

    fn read(root: &Path) -> Result<Self> {
        let mut cells: BTreeMap<GridCell, Holding> = BTreeMap::new();
        for (i, family) in FAMILIES.iter().enumerate() {
            for row in folders(&root.join(format!("Core-{family}"))) {
                let row_name = name(&row);
                for inner in folder_names(&row) {
                    // Land cover is filed by the column alone.
                    let label = if *family == "LULC" { format!("{row_name}_{inner}") } else { inner };
                    if let Ok(cell) = label.parse::<GridCell>()
                        && cell.to_string() == label
                        && label.split('_').next() == Some(&row_name)
                    {
                        cells.entry(cell).or_default().0[i] = true;
                    }
                }
            }
        }
        if cells.is_empty() {
            return Err(Error::file(
                root,
                "Its folders are those of Major TOM, but they hold no cell; expected folders such as Core-S2L2A/618U/618U_30L",
            ));
        }
        Ok(Self { root: root.to_path_buf(), cells })
    }

    /// Name for people.
    pub fn name(&self) -> String {
        let full = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        full.file_name().map_or_else(|| "data set".into(), |n| n.to_string_lossy().into_owned())
    }

    /// The folder that stands for a cell, which opens as a scene; `None` if it has none.
    pub fn folder(&self, cell: GridCell) -> Option<PathBuf> {
        let family = self.cells.get(&cell)?.families().next()?;
        let label = cell.to_string();
        let (row, column) = label.split_once('_')?;
        let core = self.root.join(format!("Core-{family}")).join(row);
        Some(core.join(if family == "LULC" { column } else { &label }))
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_core(path: &Path) -> bool {
    name(path).strip_prefix("Core-").is_some_and(|family| FAMILIES.contains(&family))
}

fn is_hidden(path: &Path) -> bool {
    name(path).starts_with('.')
}

/// The system tells the kind of an entry with its name; only links have to be followed.
fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()))
}

fn folder_names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let folders = entries.filter_map(Result::ok).filter(is_folder);
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = folder_names(dir).into_iter().map(|name| dir.join(name)).collect();
    all.sort();
    all
}
