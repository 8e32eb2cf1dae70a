//! What map files of either format hold, as far as it has to be known to show them.

use crate::error::Error;
use std::ops::RangeInclusive;
use std::path::Path;

/// No map zooms further.
pub(super) const DEEPEST: u8 = 24;

/// What opening a file finds.
pub(super) struct Contents {
    /// Its name for people, as it is written there.
    pub name: String,
    /// Whom to thank, as it is written there.
    pub credit: String,
    /// Zoom levels it has.
    pub zooms: RangeInclusive<u8>,
    /// West, south, east and north, degrees, if it says.
    pub bounds: Option<[f64; 4]>,
    /// One of its tiles, if one was found quickly.
    pub sample: Option<Vec<u8>>,
}

/// What to say of tiles that are not raster pictures.
pub(super) fn not_pictures(path: &Path) -> Error {
    let text = "Its tiles are no pictures (PNG, JPEG or WebP); vector tiles cannot be shown, make raster tiles of them";
    Error::file(path, text)
}
