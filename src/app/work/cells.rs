//! Looks into parquet files of Major TOM Core.

use crate::error::Result;
use crate::grid::GridCell;
use crate::source::major_tom::{Access, Found, Origin, Row, entries, list, look_up};

/// A scene that can be made.
pub(crate) struct Choice {
    /// Of these.
    pub rows: Vec<Row>,
    /// What is read of it.
    pub line: String,
    /// The same in capitals, where words are looked for.
    pub capitals: String,
}

impl Choice {
    /// Of rows that belong together.
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        let line = line(&rows);
        Self { capitals: line.to_uppercase(), line, rows }
    }
}

/// Cell, day, products and clouds of a scene.
fn line(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let families: Vec<&str> = rows.iter().map(|row| row.family.as_str()).collect();
    let day = first.time.as_deref().map(|time| time.get(..10).unwrap_or(time)).unwrap_or("no date");
    let cloud = first.cloud_cover.map(|cloud| format!("  ·  {cloud:.0} % cloud")).unwrap_or_default();
    format!("{}  ·  {day}  ·  {}{cloud}", first.cell, families.join(" "))
}

/// What parquet files hold.
pub(crate) struct Listed {
    /// The files.
    pub files: Vec<Origin>,
    /// Scenes that can be made of them.
    pub scenes: Vec<Choice>,
    /// Whether a cell has to be named before anything can be listed.
    pub ask: bool,
}

/// Looks into files: at the rows of one cell, if it is named.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn look_into(files: Vec<Origin>, cell: Option<GridCell>, access: &Access) -> Result<Listed> {
    let (mut rows, mut ask) = (Vec::new(), false);
    for file in &files {
        match cell {
            Some(cell) => rows.extend(look_up(file, cell, access)?),
            None => match list(file, access)? {
                Found::Rows(more) => rows.extend(more),
                Found::Index => ask = true,
            },
        }
    }
    // Here and not on the window's thread: there may be tens of thousands.
    let scenes = entries(&rows).into_iter().map(Choice::of).collect();
    Ok(Listed { files, scenes, ask })
}
