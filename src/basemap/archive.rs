//! Files that hold many tiles: PMTiles and MBTiles, raster only.

use super::contents::{DEEPEST, not_pictures};
use super::mbtiles::MbTiles;
use super::pmtiles::PmTiles;
use super::{LocalTile, TileAt, TileSource, one_line};
use crate::error::{Error, Result};
use std::ops::RangeInclusive;
use std::path::Path;

/// What a file says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct MapInfo {
    /// Its name for people; the file's if it has none.
    pub name: String,
    /// Whom to thank; empty if it does not say.
    pub credit: String,
    /// Zoom levels it has.
    pub zooms: RangeInclusive<u8>,
    /// Side of a tile, pixels: 256 or 512.
    pub side: u32,
    /// West, south, east and north, degrees, if it does not hold the world.
    pub bounds: Option<[f64; 4]>,
}

/// An open file.
pub struct Archive {
    /// What it says about itself.
    pub info: MapInfo,
    file: File,
}

enum File {
    Pm(PmTiles),
    Mb(MbTiles),
}

impl Archive {
    /// Whether a path looks like such a file.
    pub fn is_one(path: &Path) -> bool {
        kind(path).is_some()
    }

    /// Opens a file and looks at one of its tiles.
    ///
    /// # Errors
    /// When it is damaged, or its tiles are no pictures.
    pub fn open(path: &Path) -> Result<Self> {
        crate::files::check(path).map_err(|e| Error::io(path, "open", &e))?;
        let (file, found) = match kind(path) {
            Some(Kind::Pm) => PmTiles::open(path).map(|(file, found)| (File::Pm(file), found))?,
            Some(Kind::Mb) => MbTiles::open(path).map(|(file, found)| (File::Mb(file), found))?,
            None => return Err(Error::file(path, "This is no map: a .pmtiles or .mbtiles file is expected")),
        };
        let side = match found.sample.as_deref().map(side) {
            Some(Some(side @ (256 | 512))) => side,
            // High-resolution tiles of an ordinary grid.
            Some(Some(1024)) => 512,
            None => 256,
            Some(Some(other)) => {
                let text = format!("Its tiles are {other} pixels wide; 256 or 512 are expected");
                return Err(Error::file(path, text));
            }
            Some(None) => return Err(not_pictures(path)),
        };
        if found.zooms.start() > found.zooms.end() || *found.zooms.end() > DEEPEST {
            return Err(Error::file(path, "Its zoom levels make no sense; the file is damaged or of another kind"));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = Some(one_line(&found.name, 60)).filter(|name| !name.is_empty()).unwrap_or(stem);
        let bounds = found.bounds.filter(|[west, south, east, north]| {
            let whole = east - west > 359.0 && north - south > 169.0;
            let sound = [west, south, east, north].iter().all(|v| v.is_finite()) && east > west && north > south;
            sound && !whole
        });
        let info = MapInfo { name, credit: one_line(&found.credit, 200), zooms: found.zooms, side, bounds };
        Ok(Self { info, file })
    }
}

impl TileSource for Archive {
    fn local(&self, at: TileAt) -> Result<LocalTile> {
        let tile = match &self.file {
            File::Pm(file) => file.tile(at)?,
            File::Mb(file) => file.tile(at)?,
        };
        Ok(tile.map_or(LocalTile::Missing, LocalTile::Fresh))
    }

    fn zooms(&self) -> RangeInclusive<u8> {
        self.info.zooms.clone()
    }

    fn side(&self) -> u32 {
        self.info.side
    }
}

enum Kind {
    Pm,
    Mb,
}

fn kind(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "pmtiles" => Some(Kind::Pm),
        "mbtiles" => Some(Kind::Mb),
        _ => None,
    }
}

/// Width of a picture, from its first bytes.
fn side(picture: &[u8]) -> Option<u32> {
    let mut reader = image::ImageReader::new(std::io::Cursor::new(picture)).with_guessed_format().ok()?;
    // What comes before the pixels may be packed, too.
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(16 << 20);
    reader.limits(limits);
    reader.into_dimensions().ok().map(|(width, _)| width)
}
