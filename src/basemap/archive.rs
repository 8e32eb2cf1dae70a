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

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of 256 pixels with a packed text of so many bytes before them.
    fn with_text(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 256, 256);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.add_ztxt_chunk("note".into(), " ".repeat(length)).expect("text");
        encoder.write_header().and_then(|mut w| w.write_image_data(&[7; 256 * 256])).expect("picture");
        bytes
    }

    #[test]
    fn a_picture_with_a_text_that_would_unpack_to_a_lot_is_measured_like_any() {
        assert_eq!(side(&with_text(1000)), Some(256));
        let large = with_text(24 << 20);
        assert!(large.len() < 1 << 20);
        assert_eq!(side(&large), Some(256));
    }

    #[test]
    fn a_map_whose_directory_claims_more_tiles_than_it_has_bytes_for_is_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("claims.pmtiles");
        let picture = with_text(10);
        let open = |tiles: u8| {
            // Number, run, length in three bytes, place.
            let length =
                [0, 7, 14].map(|shift| (picture.len() >> shift) as u8 & 0x7f | if shift < 14 { 0x80 } else { 0 });
            let directory = [&[tiles, 0, 1][..], &length, &[1]].concat();
            let told = 127 + directory.len();
            let mut file = b"PMTiles\x03".to_vec();
            for n in [127, directory.len(), told, 2, told + 2, 0, told + 2, picture.len(), 1, 1, 1] {
                file.extend((n as u64).to_le_bytes());
            }
            file.extend([1, 1, 1, 2, 0, 0]);
            for degrees in [-180, -85, 180, 85] {
                file.extend((degrees * 10_000_000i32).to_le_bytes());
            }
            file.extend([0; 9]);
            std::fs::write(&path, [&file, &directory, &b"{}"[..], &picture].concat()).expect("file");
            Archive::open(&path).map(|map| map.info.side).map_err(|e| e.to_string())
        };
        assert_eq!(open(1), Ok(256));
        let problem = open(100).expect_err("claims");
        assert!(
            problem.contains("claims 100 tiles and has room for 1") && problem.contains("claims.pmtiles"),
            "{problem}"
        );
    }
}
