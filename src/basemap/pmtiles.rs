//! Raster tiles of a PMTiles file (<https://github.com/protomaps/PMTiles>, version 3).

use super::contents::{Contents, DEEPEST, not_pictures};
use super::directory::{HEADER, Section, Sections};
use super::{TileAt, mercator};
use crate::error::{Error, Result};
use ::pmtiles::{AsyncBackend, AsyncPmTilesReader, BackendResponse, PmtError, PmtResult, TileCoord, TileType};
use bytes::Bytes;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The largest piece (a tile, a directory, the description) that is read: what is compressed may grow a thousandfold.
const LARGEST_PIECE: u64 = 2 << 20;
/// How files begin.
const MAGIC: &[u8] = b"PMTiles";
/// Where the header says how directories and tiles are compressed.
const DIRECTORIES: usize = 97;
const TILES: usize = 98;
/// Where the header says what tiles are, and what stands there for pictures: PNG, JPEG, WebP; 4 and 5.
const KIND: usize = 99;
const PICTURES: std::ops::RangeInclusive<u8> = 2..=5;
/// Ways to compress: not at all, and gzip. Others grow further; pictures are compressed already.
const PLAIN: u8 = 1;
pub(super) const GZIP: u8 = 2;

/// An open file.
pub(super) struct PmTiles {
    path: PathBuf,
    reader: AsyncPmTilesReader<Plain>,
}

/// Reads where it is told. A memory map would end the program if somebody cut the file short.
struct Plain {
    file: Mutex<File>,
    length: u64,
    /// `None` until they are known.
    sections: Option<Sections>,
}

impl Plain {
    fn bytes(&self, offset: usize, length: usize) -> std::io::Result<Bytes> {
        if length as u64 > LARGEST_PIECE {
            return Err(std::io::Error::other("a single piece of it is too large"));
        }
        let left = self.length.saturating_sub(offset as u64);
        let mut bytes = vec![0; left.min(length as u64) as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset as u64))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl Plain {
    /// A part of the file, all of it or as much as there is.
    fn section(&self, section: Section) -> std::io::Result<Bytes> {
        let fits = |v: u64| usize::try_from(v).map_err(|_| std::io::Error::other("a part of it lies outside"));
        self.bytes(fits(section.offset)?, fits(section.length)?)
    }

    /// The same; of a directory only if it is one.
    fn checked(&self, offset: usize, length: usize) -> std::io::Result<Bytes> {
        let bytes = self.bytes(offset, length)?;
        if let Some(sections) = self.sections.as_ref().filter(|sections| sections.is_leaf(offset as u64)) {
            sections.check_directory(&bytes)?;
        }
        Ok(bytes)
    }
}

impl AsyncBackend for Plain {
    fn read(&self, offset: usize, length: usize) -> impl Future<Output = PmtResult<BackendResponse>> + Send {
        std::future::ready(self.checked(offset, length).map(BackendResponse::new).map_err(PmtError::Reading))
    }
}

impl PmTiles {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is damaged or holds no pictures.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents)> {
        let read = |e: std::io::Error| Error::io(path, "read", &e);
        let file = crate::files::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut backend = Plain { file: Mutex::new(file), length, sections: None };
        let start = backend.bytes(0, HEADER).map_err(read)?;
        if start.starts_with(MAGIC) && start.get(KIND).is_some_and(|kind| !PICTURES.contains(kind)) {
            return Err(not_pictures(path));
        }
        let squeezed = start.starts_with(MAGIC)
            && start.len() > TILES
            && !(matches!(start[DIRECTORIES], PLAIN | GZIP) && start[TILES] == PLAIN);
        if squeezed {
            let what = "It is compressed in a way that is not read: directories may be with gzip, pictures not again";
            return Err(Error::file(path, format!("{what}; convert it with the pmtiles tool")));
        }
        // What is not checked here is taken at its word.
        if let Some(sections) = Sections::of(&start).filter(|_| start.starts_with(MAGIC)) {
            let checked = backend.section(sections.root).and_then(|root| sections.check_directory(&root));
            let description = || backend.section(sections.description);
            checked
                .and_then(|()| sections.check_description(&description()?))
                .map_err(|e| damaged(path, &e.to_string()))?;
            backend.sections = Some(sections);
        }
        let reader = guarded(path, || pollster::block_on(AsyncPmTilesReader::try_from_source(backend)))?;
        let header = reader.get_header();
        if !matches!(header.tile_type, TileType::Png | TileType::Jpeg | TileType::Webp) {
            return Err(not_pictures(path));
        }
        let zooms = header.min_zoom..=header.max_zoom;
        let bounds = [header.min_longitude, header.min_latitude, header.max_longitude, header.max_latitude];
        let metadata = guarded(path, || pollster::block_on(reader.get_metadata()))?;
        let metadata: Value = serde_json::from_str(&metadata).unwrap_or_default();
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let (name, credit) = (text("name"), text("attribution"));
        let middle = mercator((bounds[0] + bounds[2]) / 2.0, (bounds[1] + bounds[3]) / 2.0);
        let mut found = Contents { name, credit, zooms: zooms.clone(), bounds: Some(bounds), sample: None };
        let own = Self { path: path.to_path_buf(), reader };
        if *zooms.end() <= DEEPEST {
            let at = |zoom: u8| {
                let [x, y] = middle.map(|v| ((v * f64::from(1u32 << zoom)) as u32).min((1 << zoom) - 1));
                TileAt { zoom, x, y }
            };
            found.sample = zooms.take(25).find_map(|zoom| own.tile(at(zoom)).transpose()).transpose()?;
        }
        Ok((own, found))
    }

    /// A tile's picture, if the file has it.
    ///
    /// # Errors
    /// When the file is damaged.
    pub(super) fn tile(&self, at: TileAt) -> Result<Option<Vec<u8>>> {
        let tile = guarded(&self.path, || {
            let coord = TileCoord::new(at.zoom, at.x, at.y)?;
            pollster::block_on(self.reader.get_tile_decompressed(coord))
        })?;
        Ok(tile.map(|bytes| bytes.to_vec()))
    }
}

/// The reader trusts what files say about themselves, and panics where that is nonsense.
fn guarded<T>(path: &Path, read: impl FnOnce() -> PmtResult<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(done) => done.map_err(|e| damaged(path, &e.to_string())),
        Err(_) => Err(damaged(path, "its directory points outside")),
    }
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::file(path, format!("The map file is damaged or of another kind ({reason}); get it anew"))
}
