//! Bytes of a parquet file by range, on the disk or on the web, with limits.

use super::{Access, Origin};
use crate::error::{Error, Result};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ranges closer than this are asked for together: an exchange costs more than so many bytes.
const GAP: u64 = 128 << 10;
/// No exchange is larger; longer ranges are asked for piece by piece.
const LONGEST: u64 = 32 << 20;
/// What is read where nobody says how much is needed.
const PEEK: u64 = 16 << 10;
/// From one file no more is read over the network at once: a cell has some 30 MB, an index some 100.
const MOST: u64 = 1 << 30;
/// Nor in more exchanges.
const MOST_EXCHANGES: u64 = 4000;

/// The file; clones share everything.
#[derive(Clone)]
pub(super) struct Ranges(Arc<Inner>);

struct Inner {
    origin: Origin,
    /// `None` on the web.
    file: Option<Mutex<File>>,
    length: u64,
    access: Access,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By first byte.
    kept: BTreeMap<u64, Bytes>,
    read: u64,
    exchanges: u64,
    /// Why the last read failed; the parquet crate would tell it as its own.
    failed: Option<Error>,
}

impl Ranges {
    /// Opens the file and looks at its first bytes.
    ///
    /// # Errors
    /// When it cannot be reached, or is no parquet file.
    pub(super) fn open(origin: &Origin, access: &Access) -> Result<Self> {
        let (file, length, head) = match origin {
            Origin::File(path) => {
                let mut file = crate::files::open(path).map_err(|e| Error::io(path, "open", &e))?;
                let length = file.metadata().map_err(|e| Error::io(path, "read", &e))?.len();
                let mut head = Vec::new();
                file.by_ref().take(8).read_to_end(&mut head).map_err(|e| Error::io(path, "read", &e))?;
                (Some(Mutex::new(file)), length, head)
            }
            Origin::Web(url) => {
                let part = access.network.part(url, 0..8, &access.stop)?;
                let total = part.total.ok_or_else(|| {
                    origin
                        .problem("The server does not say how long the file is; download it and open it from the disk")
                })?;
                (None, total, part.bytes)
            }
        };
        access.read.fetch_add(head.len() as u64, Ordering::Relaxed);
        if !head.starts_with(b"PAR1") {
            return Err(origin.problem(match head.as_slice() {
                b"version " => {
                    "This is the pointer of a file that Git LFS keeps elsewhere, not the file; fetch it (git lfs pull)"
                }
                [b'P', b'A', b'R', b'E', ..] => "This parquet file is encrypted, which cannot be read",
                [b'P', b'K', 3, 4, ..] => "This is a zip archive; unpack it and open the folder",
                [b'<', ..] => "This is a page for people, not a parquet file; the address of the file itself is needed",
                _ => "This is no parquet file: it does not begin with PAR1",
            }));
        }
        let state = Mutex::new(State { read: head.len() as u64, exchanges: 1, ..State::default() });
        Ok(Self(Arc::new(Inner { origin: origin.clone(), file, length, access: access.clone(), state })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every exchange takes its time.
    pub(super) fn is_remote(&self) -> bool {
        self.0.file.is_none()
    }

    /// An error of the parquet crate: what was behind it, or that the file is damaged.
    pub(super) fn explain(&self, error: &ParquetError) -> Error {
        self.state().failed.take().unwrap_or_else(|| {
            self.0
                .origin
                .problem(&format!("The file is damaged or of a kind that cannot be read ({error}); fetch it again"))
        })
    }

    /// Reads what will be needed in as few exchanges as makes sense, and keeps it until [`forget`](Self::forget).
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn hold(&self, mut wanted: Vec<Range<u64>>) -> Result<()> {
        if !self.is_remote() {
            return Ok(());
        }
        wanted.retain(|range| range.start < range.end && self.kept(range.start, range.end - range.start).is_none());
        wanted.sort_by_key(|range| range.start);
        let mut together: Vec<Range<u64>> = Vec::new();
        for range in wanted {
            match together.last_mut() {
                Some(last) if range.start <= last.end + GAP && range.end.max(last.end) - last.start <= LONGEST => {
                    last.end = last.end.max(range.end);
                }
                _ => together.push(range),
            }
        }
        for range in together {
            let bytes = self.fetch(range.clone())?;
            self.state().kept.insert(range.start, bytes);
        }
        Ok(())
    }

    /// Drops what was kept.
    pub(super) fn forget(&self) {
        self.state().kept.clear();
    }

    /// These bytes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn bytes(&self, start: u64, length: u64) -> Result<Bytes> {
        match self.kept(start, length) {
            Some(bytes) => Ok(bytes),
            None => self.fetch(start..start.saturating_add(length)),
        }
    }

    /// Bytes of which the first ones will be read again soon: over the network they are kept.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn header(&self, range: Range<u64>) -> Result<Bytes> {
        let ahead = range.start..self.0.length.min(range.end.max(range.start.saturating_add(PEEK)));
        self.hold(vec![ahead])?;
        self.bytes(range.start, range.end.saturating_sub(range.start))
    }

    fn kept(&self, start: u64, length: u64) -> Option<Bytes> {
        let state = self.state();
        let (first, bytes) = state.kept.range(..=start).next_back()?;
        let from = usize::try_from(start - first).ok()?;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    }

    fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let inner = &self.0;
        if inner.access.stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if range.end > inner.length || range.start > range.end {
            return Err(inner.origin.problem("It is cut off, or its description is damaged; fetch it again"));
        }
        let length = range.end - range.start;
        let bytes = match (&inner.file, &inner.origin) {
            (Some(file), Origin::File(path)) => {
                let failed = |e: std::io::Error| Error::io(path, "read", &e);
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
                let mut bytes = Vec::with_capacity(length.min(LONGEST) as usize);
                file.by_ref().take(length).read_to_end(&mut bytes).map_err(failed)?;
                if (bytes.len() as u64) < length {
                    return Err(inner.origin.problem("It became shorter while it was read; try again"));
                }
                bytes
            }
            (_, origin) => {
                let Origin::Web(url) = origin else { return Err(origin.problem("It is not open")) };
                let mut state = self.state();
                let exchanges = length.div_ceil(LONGEST).max(1);
                (state.read, state.exchanges) = (state.read + length, state.exchanges + exchanges);
                if state.read > MOST || state.exchanges > MOST_EXCHANGES {
                    return Err(origin.problem(
                        "Its row groups are so large or so many that one cell would cost a good part of the file; download it and open it from the disk",
                    ));
                }
                drop(state);
                let mut all = Vec::new();
                for i in 0..exchanges {
                    let start = range.start + i * LONGEST;
                    let piece = start..range.end.min(start + LONGEST);
                    let part = inner.access.network.part(url, piece, &inner.access.stop)?;
                    if part.total.is_some_and(|total| total != inner.length) {
                        return Err(origin.problem("The file was changed while it was read; try again"));
                    }
                    match exchanges {
                        1 => all = part.bytes,
                        _ => all.extend(part.bytes),
                    }
                }
                all
            }
        };
        inner.access.read.fetch_add(length, Ordering::Relaxed);
        Ok(bytes.into())
    }

    /// Keeps an error for [`explain`](Self::explain).
    fn failed(&self, error: Error) -> ParquetError {
        let text = error.to_string();
        self.state().failed = Some(error);
        ParquetError::General(text)
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for Ranges {
    type T = Stream;

    fn get_read(&self, start: u64) -> Result<Stream, ParquetError> {
        Ok(Stream { ranges: self.clone(), at: start, ahead: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.bytes(start, length as u64).map_err(|error| self.failed(error))
    }
}

/// Bytes from one place on.
pub(super) struct Stream {
    ranges: Ranges,
    at: u64,
    ahead: Bytes,
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.ahead.is_empty() {
            let state = self.ranges.state();
            // The rest of what is kept from here on, whatever its length.
            let kept = state.kept.range(..=self.at).next_back().and_then(|(first, bytes)| {
                let from = usize::try_from(self.at - first).ok()?;
                (from < bytes.len()).then(|| bytes.slice(from..))
            });
            drop(state);
            self.ahead = match kept {
                Some(bytes) => bytes,
                None => {
                    let end = self.ranges.0.length.min(self.at.saturating_add(PEEK));
                    if self.at >= end {
                        return Ok(0);
                    }
                    let bytes =
                        self.ranges.fetch(self.at..end).map_err(|e| std::io::Error::other(self.ranges.failed(e)))?;
                    if self.ranges.is_remote() {
                        self.ranges.state().kept.insert(self.at, bytes.clone());
                    }
                    bytes
                }
            };
        }
        let n = into.len().min(self.ahead.len());
        into[..n].copy_from_slice(&self.ahead.split_to(n));
        self.at += n as u64;
        Ok(n)
    }
}
