//! All cells of a data set in the Major TOM folder layout (specification B.10), found by the names of its folders alone.

use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::{Catalogue, Family, MajorTom};
use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

/// How far below a folder the data set may begin: `data/majorTOM/edinburgh`.
const DEPTH: usize = 3;
/// No more folders are looked into to find it.
const LOOKED_INTO: usize = 500;

/// What a data set has of a cell: a bit for each of its products ([`Collection::families_of`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holding(u64);

/// A data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    /// The folder that holds `Core-S2L2A` and its like.
    pub root: PathBuf,
    /// Its cells.
    pub cells: BTreeMap<GridCell, Holding>,
    /// Name and place of each product that a data set may hold, in the order in which they lead.
    products: Vec<(String, MajorTom)>,
    name: String,
}

/// Products that have a place in the layout.
fn products() -> Vec<(String, MajorTom)> {
    let place = |family: &std::sync::Arc<Family>| Some((family.name.clone(), family.major_tom.clone()?));
    Catalogue::of_user().products().filter_map(place).take(u64::BITS as usize).collect()
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
        let products = products();
        for (i, (_, place)) in products.iter().enumerate() {
            for row in folders(&root.join(&place.folder)) {
                let row_name = name(&row);
                for inner in folder_names(&row) {
                    let label = if place.by_column { format!("{row_name}_{inner}") } else { inner };
                    if let Ok(cell) = label.parse::<GridCell>()
                        && cell.to_string() == label
                        && label.split('_').next() == Some(&row_name)
                    {
                        cells.entry(cell).or_default().0 |= 1 << i;
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
        let full = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        let name = full.file_name().map_or_else(|| "data set".into(), |n| n.to_string_lossy().into_owned());
        Ok(Self { root: root.to_path_buf(), cells, products, name })
    }

    /// Name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cells that touch a rectangle of degrees, found without looking at the others. Those of a border may be among
    /// them though they lie just outside.
    pub fn cells_in(&self, west: f64, south: f64, east: f64, north: f64) -> impl Iterator<Item = GridCell> {
        let height = GridCell { row: 1, column: 0 }.south_west().lat;
        let whole = |number: f64| number.floor() as i32;
        let rows = self.cells.keys().next().zip(self.cells.keys().next_back()).map(|(first, last)| {
            // What is no number, or beyond every row, becomes the nearest row.
            whole(south / height).saturating_sub(1).max(first.row)
                ..=whole(north / height).saturating_add(1).min(last.row)
        });
        rows.into_iter().flatten().flat_map(move |row| {
            let width = GridCell { row, column: 1 }.south_west().lon;
            // One more on each side, for what rounding hides.
            let at = |column| GridCell { row, column };
            let (from, to) = (at(whole(west / width).saturating_sub(1)), at(whole(east / width).saturating_add(1)));
            // A range that ends before it begins is none.
            (from <= to).then(|| self.cells.range(from..=to)).into_iter().flatten().map(|(cell, _)| *cell)
        })
    }

    /// Names of the products that the data set has of a cell.
    pub fn families_of(&self, cell: GridCell) -> impl Iterator<Item = &str> {
        self.held(cell).map(|(name, _)| name.as_str())
    }

    fn held(&self, cell: GridCell) -> impl Iterator<Item = &(String, MajorTom)> {
        let has = self.cells.get(&cell).map_or(0, |has| has.0);
        self.products.iter().enumerate().filter(move |(i, _)| has & (1 << i) != 0).map(|(_, product)| product)
    }

    /// The folder that stands for a cell, which opens as a scene; `None` if it has none.
    pub fn folder(&self, cell: GridCell) -> Option<PathBuf> {
        let (_, place) = self.held(cell).next()?;
        let label = cell.to_string();
        let (row, column) = label.split_once('_')?;
        let core = self.root.join(&place.folder).join(row);
        Some(core.join(if place.by_column { column } else { &label }))
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_core(path: &Path) -> bool {
    let own = name(path);
    Catalogue::of_user().products().filter_map(|family| family.major_tom.as_ref()).any(|place| place.folder == own)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_in_view_are_those_that_touch_it() {
        let every = (-900..=900).step_by(50).flat_map(|row| (-1000..1000).map(move |column| GridCell { row, column }));
        let cells = every.filter(|cell| cell.to_string().parse::<GridCell>().is_ok());
        let all = Collection {
            root: PathBuf::new(),
            cells: cells.map(|cell| (cell, Holding::default())).collect(),
            products: Vec::new(),
            name: String::new(),
        };
        for (west, south, east, north) in [
            (-10.0, 40.0, 12.0, 61.0),
            (-180.0, -90.0, 180.0, 90.0),
            (3.01, 8.99, 3.02, 9.01),
            (100.0, -81.0, 190.0, -22.2),
            (5.0, 60.0, 4.0, 50.0),
            (-1e300, -1e300, 1e300, 1e300),
            (f64::NAN, f64::NAN, f64::NAN, f64::NAN),
        ] {
            let touches = |cell: &&GridCell| {
                let (w, s, e, n) = cell.bounds();
                w < east && e > west && s < north && n > south
            };
            let found: Vec<GridCell> = all.cells_in(west, south, east, north).collect();
            let wanted = all.cells.keys().filter(touches).count();
            assert!(all.cells.keys().filter(touches).all(|cell| found.binary_search(cell).is_ok()), "{west} {south}");
            // No more than a row and a column beside.
            assert!(found.len() <= wanted + 4000 + 4 * 37, "{} of {wanted}", found.len());
        }
        let one = all.cells_in(3.01, 8.99, 3.02, 9.01).count();
        assert!(one <= 4, "{one}");
    }
}
