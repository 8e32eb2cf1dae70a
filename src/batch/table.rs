//! The rows of a plan from where they stand: a CSV or Parquet file, a data set, a folder of scenes, or a region.

use crate::error::{Error, Result};
use crate::files::{check, folders};
use crate::grid::GridCell;
use crate::scene::Collection;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// No region has more cells.
const MOST_CELLS: usize = 1_000_000;

/// Column names, and rows with a text for each; an empty one says nothing.
pub(super) struct Table {
    pub header: Vec<String>,
    pub rows: Box<dyn Iterator<Item = Result<Vec<String>>>>,
}

/// West, south, east and north in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region(pub [f64; 4]);

impl std::str::FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[west, south, east, north])
                if west < east
                    && south < north
                    && west >= -180.0
                    && east <= 180.0
                    && south >= -85.0
                    && north <= 85.0 =>
            {
                Ok(Self([west, south, east, north]))
            }
            _ => Err("expected west,south,east,north in degrees, such as 11.2,46.4,11.5,46.6".into()),
        }
    }
}

/// Where a plan stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// Comma-separated values.
    Csv(PathBuf),
    /// Parquet, with or without geometry.
    Parquet(PathBuf),
    /// The cells of a data set in the Major TOM layout, all or those of a region.
    DataSet(PathBuf, Option<Region>),
    /// Scene folders in a folder.
    Scenes(PathBuf),
    /// All cells of a region, to be fetched.
    Region(Region),
}

impl Origin {
    /// What a text on the command line means.
    pub(super) fn of(text: &str, region: Option<Region>) -> Result<Self> {
        let path = PathBuf::from(text);
        if path.is_dir() {
            return match Collection::find(&path)? {
                Some(found) => Ok(Self::DataSet(found.root, region)),
                None if region.is_none() => Ok(Self::Scenes(path)),
                None => Err(Error::file(path, "There is no data set in it whose cells lie in a region")),
            };
        }
        if region.is_some() {
            return Err(Error::request("--region chooses cells of a data set; the plan is none."));
        }
        if let Ok(region) = text.parse()
            && !path.exists()
        {
            return Ok(Self::Region(region));
        }
        check(&path).map_err(|e| Error::io(&path, "read", &e))?;
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "parquet" | "geoparquet" => Ok(Self::Parquet(path)),
            "csv" => Ok(Self::Csv(path)),
            _ => Err(Error::file(path, "A plan is a table: a file whose name ends in .csv or .parquet")),
        }
    }

    /// Where relative paths of its rows begin.
    pub(super) fn base(&self) -> PathBuf {
        let folder = match self {
            Self::Csv(path) | Self::Parquet(path) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
            Self::DataSet(root, _) | Self::Scenes(root) => root.clone(),
            Self::Region(_) => PathBuf::new(),
        };
        std::path::absolute(&folder).unwrap_or(folder)
    }

    /// Its rows, one after the other.
    pub(super) fn table(&self) -> Result<Table> {
        match self {
            Self::Csv(path) => csv_table(path),
            Self::Parquet(path) => parquet_table(path),
            Self::DataSet(root, region) => {
                let Some(found) = Collection::find(root)? else {
                    return Err(Error::file(root, "The data set is gone"));
                };
                let all: Vec<GridCell> = match region {
                    Some(Region([west, south, east, north])) => found.cells_in(*west, *south, *east, *north).collect(),
                    None => found.cells.keys().copied().collect(),
                };
                Ok(cells(all, Some(".")))
            }
            Self::Scenes(dir) => {
                let inner = folders(dir)?.into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
                let names: Vec<String> = inner.filter(|name| !name.starts_with('.')).collect();
                let rows = names.into_iter().map(|name| Ok(vec![name.clone(), name]));
                Ok(Table { header: ["name", "scene"].map(str::to_owned).into(), rows: Box::new(rows) })
            }
            Self::Region(Region([west, south, east, north])) => {
                let all = GridCell::cells_in(*west, *south, *east, *north, MOST_CELLS + 1);
                if all.len() > MOST_CELLS {
                    return Err(Error::request(format!(
                        "The region has more than {MOST_CELLS} cells; choose a smaller one."
                    )));
                }
                Ok(cells(all, None))
            }
        }
    }
}

fn cells(all: Vec<GridCell>, root: Option<&'static str>) -> Table {
    let header = ["name", "cell"].into_iter().chain(root.map(|_| "major_tom"));
    let row = move |cell: GridCell| {
        let label = cell.to_string();
        Ok([label.clone(), label].into_iter().chain(root.map(str::to_owned)).collect())
    };
    Table { header: header.map(str::to_owned).collect(), rows: Box::new(all.into_iter().map(row)) }
}

fn csv_table(path: &Path) -> Result<Table> {
    let file = crate::files::open(path).map_err(|e| Error::io(path, "read", &e))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let at = path.to_path_buf();
    let header = reader.headers().map_err(|e| bad_csv(path, &e, 0))?;
    let header: Vec<String> = header.iter().map(str::to_owned).collect();
    let rows = reader.into_records().enumerate().map(move |(i, record)| match record {
        Ok(record) => Ok(record.iter().map(str::to_owned).collect()),
        Err(error) => Err(bad_csv(&at, &error, i + 1)),
    });
    Ok(Table { header, rows: Box::new(rows) })
}

fn bad_csv(path: &Path, error: &csv::Error, row: usize) -> Error {
    let place = if row == 0 { "The first line".to_owned() } else { format!("Row {row}") };
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Error::file(path, format!("{place} has {len} values, and the plan has {expected_len} columns"))
        }
        csv::ErrorKind::Utf8 { .. } => Error::file(path, format!("{place} is no text in UTF-8")),
        csv::ErrorKind::Io(error) => Error::io(path, "read", error),
        _ => Error::file(path, format!("{place} cannot be read: {error}")),
    }
}

fn parquet_table(path: &Path) -> Result<Table> {
    let damaged = |why: String| Error::file(path, format!("This parquet file cannot be read: {why}"));
    let file = File::open(path).map_err(|e| Error::io(path, "read", &e))?;
    // A damaged file must not end the program, whatever the crate makes of it.
    let opened = catch_unwind(|| SerializedFileReader::new(file)).map_err(|_| damaged("it is damaged".into()))?;
    let reader = opened.map_err(|e| damaged(e.to_string()))?;
    let schema = reader.metadata().file_metadata().schema();
    // What tells where a row lies on a map says nothing about its job.
    let fields = schema.get_fields().iter().map(|field| field.name().to_owned());
    let header: Vec<String> = fields.filter(|name| !["geometry", "bbox"].contains(&name.as_str())).collect();
    let wanted = header.clone();
    let at = path.to_path_buf();
    let mut rows = reader.into_iter();
    let mut number = 0;
    let next = move || {
        let row = match catch_unwind(AssertUnwindSafe(|| rows.next())) {
            Ok(row) => row?,
            Err(_) => return Some(Err(Error::file(&at, format!("Row {} is damaged", number + 1)))),
        };
        number += 1;
        Some(match row {
            Err(error) => Err(Error::file(&at, format!("Row {number} cannot be read: {error}"))),
            Ok(row) => {
                let mut texts = vec![String::new(); wanted.len()];
                for (name, field) in row.get_column_iter() {
                    if let Some(i) = wanted.iter().position(|w| w == name) {
                        texts[i] = text(field);
                    }
                }
                Ok(texts)
            }
        })
    };
    Ok(Table { header, rows: Box::new(std::iter::from_fn(next)) })
}

/// A value as it would be written in a CSV file.
fn text(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.trim().to_owned(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        // Pandas turns whole numbers into others where some are missing.
        Field::Double(x) if x.fract() == 0.0 && x.abs() < 1e15 => format!("{x:.0}"),
        Field::Double(x) if x.is_nan() => String::new(),
        Field::Date(days) => {
            let day = jiff::Span::new().try_days(*days).ok();
            let day = day.and_then(|span| jiff::civil::date(1970, 1, 1).checked_add(span).ok());
            day.map_or(String::new(), |day| day.to_string())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(origin: &Origin) -> (Vec<String>, Vec<Vec<String>>) {
        let table = origin.table().expect("a table");
        (table.header, table.rows.collect::<Result<_>>().expect("rows"))
    }

    #[test]
    fn cells_of_data_sets_and_regions_are_rows() {
        let dir = tempfile::tempdir().expect("folder");
        for cell in ["618U/618U_30L", "618U/618U_31L", "433D/433D_629L"] {
            std::fs::create_dir_all(dir.path().join("Core-S2L2A").join(cell)).expect("cell");
        }
        let text = dir.path().to_str().expect("path");
        let (header, all) = rows(&Origin::of(text, None).expect("a data set"));
        assert_eq!(header, ["name", "cell", "major_tom"]);
        assert_eq!(all.len(), 3);
        assert!(all.contains(&["618U_30L", "618U_30L", "."].map(str::to_owned).to_vec()), "{all:?}");
        // North of the equator lie two of them.
        let region: Region = "-10,50,0,60".parse().expect("a region");
        assert_eq!(rows(&Origin::of(text, Some(region)).expect("a data set")).1.len(), 2);
        let (header, all) = rows(&Origin::of("11.2,46.4,11.5,46.6", None).expect("a region"));
        assert_eq!(header, ["name", "cell"]);
        assert!(
            all.len() > 5 && all.iter().all(|row| row[0] == row[1] && row[0].parse::<GridCell>().is_ok()),
            "{all:?}"
        );
        for (text, region) in [("nowhere.csv", None), ("11,46,10,47", None), ("11,46,12,47", Some(region))] {
            assert!(Origin::of(text, region).is_err(), "{text}");
        }
    }
}
