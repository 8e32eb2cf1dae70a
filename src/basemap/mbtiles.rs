//! Raster tiles of an MBTiles file (<https://github.com/mapbox/mbtiles-spec>, version 1.3), an SQLite database.

use super::TileAt;
use super::archive::{Found, not_pictures};
use crate::error::{Error, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// An open file.
pub struct MbTiles {
    path: PathBuf,
    database: Mutex<Connection>,
}

impl MbTiles {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// When it is damaged or holds no pictures.
    pub(super) fn open(path: &Path) -> Result<(Self, Found)> {
        let failed = |e: rusqlite::Error| damaged(path, &e);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(path, flags).map_err(failed)?;
        let told = |name: &str| -> rusqlite::Result<String> {
            let sql = "SELECT CAST(value AS TEXT) FROM metadata WHERE name = ?1";
            let found: Option<Option<String>> = database.query_row(sql, [name], |row| row.get(0)).optional()?;
            Ok(found.flatten().unwrap_or_default())
        };
        let (name, credit) = (told("name").map_err(failed)?, told("attribution").map_err(failed)?);
        if ["pbf", "mvt"].contains(&told("format").map_err(failed)?.as_str()) {
            return Err(not_pictures(path));
        }
        // What the metadata says of zoom levels may be wrong or missing; the tiles know.
        let sql = "SELECT MIN(zoom_level), MAX(zoom_level) FROM tiles";
        let span: (Option<u8>, Option<u8>) =
            database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        let (Some(low), Some(high)) = span else {
            return Err(Error::file(path, "This map file holds no tiles"));
        };
        let sql = "SELECT tile_data FROM tiles WHERE zoom_level = ?1 LIMIT 1";
        let sample = database.query_row(sql, [low], |row| row.get(0)).optional().map_err(failed)?;
        let numbers: Vec<f64> =
            told("bounds").map_err(failed)?.split(',').filter_map(|v| v.trim().parse().ok()).collect();
        let found = Found { name, credit, zooms: low..=high, bounds: numbers.try_into().ok(), sample };
        Ok((Self { path: path.to_path_buf(), database: Mutex::new(database) }, found))
    }

    /// A tile's picture, if the file has it.
    ///
    /// # Errors
    /// When the file is damaged.
    pub(super) fn tile(&self, at: TileAt) -> Result<Option<Vec<u8>>> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        // Rows are counted from the south.
        let row = (1u64 << at.zoom).saturating_sub(1 + u64::from(at.y));
        let sql = "SELECT tile_data FROM tiles WHERE zoom_level = ?1 AND tile_column = ?2 AND tile_row = ?3";
        let mut statement = database.prepare(sql).map_err(|e| damaged(&self.path, &e))?;
        let tile = statement.query_row((at.zoom, at.x, row as i64), |row| row.get(0)).optional();
        tile.map_err(|e| damaged(&self.path, &e))
    }
}

fn damaged(path: &Path, e: &rusqlite::Error) -> Error {
    let reason = e.sqlite_error().map_or_else(|| e.to_string(), ToString::to_string);
    Error::file(path, format!("The map file is damaged or no MBTiles ({reason}); get it anew"))
}
