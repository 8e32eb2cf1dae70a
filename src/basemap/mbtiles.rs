//! Raster tiles of an MBTiles file (<https://github.com/mapbox/mbtiles-spec>, version 1.3), an SQLite database.

use super::TileAt;
use super::contents::{Contents, not_pictures};
use crate::error::{Error, Result};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No question to the database takes longer: its tables may be views that compute without end.
const LONGEST: Duration = Duration::from_secs(5);
/// Steps of the database between looks at the clock.
const STEPS: i32 = 10_000;
/// No value is larger, bytes.
const LARGEST: i32 = 64 << 20;

/// An open file.
pub(super) struct MbTiles {
    path: PathBuf,
    database: Mutex<Connection>,
    /// When what is being asked for now was begun.
    begun: Arc<Mutex<Instant>>,
    /// Whether rows are counted from the north, as addresses of tiles do, and not from the south, as the specification says.
    from_north: bool,
}

impl MbTiles {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// When it is damaged or holds no pictures.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents)> {
        let failed = |e: rusqlite::Error| damaged(path, &e);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(path, flags).map_err(failed)?;
        let begun = Arc::new(Mutex::new(Instant::now()));
        let own = begun.clone();
        let over = move || own.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > LONGEST;
        database.progress_handler(STEPS, Some(over));
        database.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST).map_err(failed)?;
        // Some writers leave the table of names out.
        let sql = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'metadata'";
        let has_metadata = database.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed)? > 0;
        let metadata = |name: &str| -> rusqlite::Result<String> {
            let sql = "SELECT CAST(value AS TEXT) FROM metadata WHERE name = ?1";
            if !has_metadata {
                return Ok(String::new());
            }
            let found: Option<Option<String>> = database.query_row(sql, [name], |row| row.get(0)).optional()?;
            Ok(found.flatten().unwrap_or_default())
        };
        let (name, credit) = (metadata("name").map_err(failed)?, metadata("attribution").map_err(failed)?);
        if ["pbf", "mvt"].contains(&metadata("format").map_err(failed)?.as_str()) {
            return Err(not_pictures(path));
        }
        // What the metadata says of zoom levels may be wrong or missing; the tiles know.
        // Asked for one by one, an index answers at once.
        let from_north = metadata("scheme").map_err(failed)?.trim().eq_ignore_ascii_case("xyz");
        let end = |sql: &str| database.query_row(sql, [], |row| row.get::<_, Option<u8>>(0)).map_err(failed);
        let low = end("SELECT MIN(zoom_level) FROM tiles")?;
        let high = end("SELECT MAX(zoom_level) FROM tiles")?;
        let (Some(low), Some(high)) = (low, high) else {
            return Err(Error::file(path, "This map file holds no tiles"));
        };
        let sql = "SELECT tile_data FROM tiles WHERE zoom_level = ?1 LIMIT 1";
        let sample = database.query_row(sql, [low], |row| row.get(0)).optional().map_err(failed)?;
        let numbers: Vec<f64> =
            metadata("bounds").map_err(failed)?.split(',').filter_map(|v| v.trim().parse().ok()).collect();
        let found = Contents { name, credit, zooms: low..=high, bounds: numbers.try_into().ok(), sample };
        Ok((Self { path: path.to_path_buf(), database: Mutex::new(database), begun, from_north }, found))
    }

    /// A tile's picture, if the file has it.
    ///
    /// # Errors
    /// When the file is damaged.
    pub(super) fn tile(&self, at: TileAt) -> Result<Option<Vec<u8>>> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let row = match self.from_north {
            true => u64::from(at.y),
            false => (1u64 << at.zoom).saturating_sub(1 + u64::from(at.y)),
        };
        let sql = "SELECT tile_data FROM tiles WHERE zoom_level = ?1 AND tile_column = ?2 AND tile_row = ?3";
        let mut statement = database.prepare(sql).map_err(|e| damaged(&self.path, &e))?;
        let tile = statement.query_row((at.zoom, at.x, row as i64), |row| row.get(0)).optional();
        tile.map_err(|e| damaged(&self.path, &e))
    }
}

fn damaged(path: &Path, e: &rusqlite::Error) -> Error {
    if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
        let text = "The map file takes too long to find a tile: it may lack an index, or be none; get it anew";
        return Error::file(path, text);
    }
    let reason = e.sqlite_error().map_or_else(|| e.to_string(), ToString::to_string);
    Error::file(path, format!("The map file is damaged or no MBTiles ({reason}); get it anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_from_the_north_and_files_without_names_are_read() {
        let dir = tempfile::tempdir().expect("folder");
        for (scheme, row) in [(None, 2), (Some("tms"), 2), (Some("xyz"), 1)] {
            let path = dir.path().join(format!("{scheme:?}.mbtiles"));
            let database = Connection::open(&path).expect("file");
            let table = "CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data);";
            database.execute_batch(table).expect("made");
            if let Some(scheme) = scheme {
                database.execute_batch("CREATE TABLE metadata (name text, value text);").expect("made");
                database.execute("INSERT INTO metadata VALUES ('scheme', ?1)", [scheme]).expect("told");
            }
            database.execute("INSERT INTO tiles VALUES (2, 3, ?1, x'0102')", [row]).expect("tile");
            drop(database);
            let (map, found) = MbTiles::open(&path).expect("read");
            assert_eq!(found.zooms, 2..=2);
            assert_eq!(map.tile(TileAt { zoom: 2, x: 3, y: 1 }).expect("asked"), Some(vec![1, 2]), "{scheme:?}");
            assert_eq!(map.tile(TileAt { zoom: 2, x: 3, y: 2 }).expect("asked"), None, "{scheme:?}");
        }
    }

    #[test]
    fn views_that_never_end_are_given_up() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("endless.mbtiles");
        let database = Connection::open(&path).expect("file");
        let sql = "CREATE TABLE metadata (name text, value text);
            CREATE VIEW tiles AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n)
            SELECT i AS zoom_level, i AS tile_column, i AS tile_row, x'00' AS tile_data FROM n WHERE i < 0;";
        database.execute_batch(sql).expect("made");
        drop(database);
        let error = MbTiles::open(&path).err().expect("refused").to_string();
        assert!(error.contains("too long"), "{error}");
    }
}
