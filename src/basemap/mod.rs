//! What lies below everything on the map, without its window: tiles from files and servers, coast, borders and names.

mod archive;
mod cache;
mod contents;
mod directory;
mod layers;
mod lines;
mod mbtiles;
mod online;
mod places;
mod pmtiles;

pub use archive::{Archive, MapInfo};
pub use layers::{FileLayer, Folders, LAYERS_FILE, LayerId, Layers};
pub use lines::{Line, Lines};
pub use online::{Online, OnlineLayer, openstreetmap};
pub use places::{Kind, Place, Places};

use crate::error::Result;
use crate::text::printable;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A tile of web mercator: column from the west and row from the north, of 2^zoom each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TileAt {
    /// Zoom level.
    pub zoom: u8,
    /// Column.
    pub x: u32,
    /// Row.
    pub y: u32,
}

impl TileAt {
    /// The tile that holds this one, one level up.
    pub fn parent(self) -> Option<Self> {
        Some(Self { zoom: self.zoom.checked_sub(1)?, x: self.x / 2, y: self.y / 2 })
    }
}

/// What is at hand of a tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalTile {
    /// Its picture as PNG, JPEG or WebP.
    Fresh(Vec<u8>),
    /// A picture that its server wants to be asked about again.
    Stale(Vec<u8>),
    /// There is no such tile.
    Missing,
    /// It has to be fetched.
    Remote,
}

/// Where tiles come from. All of it is called on threads of its own.
pub trait TileSource: Send + Sync {
    /// What can be had from this machine.
    ///
    /// # Errors
    /// When a file is damaged.
    fn local(&self, at: TileAt) -> Result<LocalTile>;

    /// Fetches a tile from its server; `None` if there is no such tile. Only called after [`LocalTile::Remote`] or [`LocalTile::Stale`].
    ///
    /// # Errors
    /// When it cannot be had now.
    fn fetch(&self, _at: TileAt, _stop: &AtomicBool) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Work to be done once, such as making room on disk.
    fn tidy_up(&self) {}

    /// Something has changed for the better: what failed may be tried again at once.
    fn retry_now(&self) {}

    /// How long to leave a tile alone that could not be fetched.
    fn retry_delay(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Threads that fetch at the same time; none for files.
    fn lanes(&self) -> usize {
        0
    }

    /// Zoom levels there are tiles for.
    fn zooms(&self) -> RangeInclusive<u8>;

    /// Side of a tile, pixels at a scale of one.
    fn side(&self) -> u32;
}

/// The unit square of web mercator, x to the east, y to the south; degrees.
pub fn mercator(lon: f64, lat: f64) -> [f64; 2] {
    let lat = lat.clamp(-85.0511, 85.0511).to_radians();
    [(lon + 180.0) / 360.0, (1.0 - lat.tan().asinh() / std::f64::consts::PI) / 2.0]
}

/// What others wrote on one line: markup and line ends are left out, and it is cut where it is too long.
fn one_line(text: &str, most: usize) -> String {
    let mut plain = String::new();
    let mut tag = false;
    for c in text.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => tag = false,
            _ if tag => {}
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    let plain = printable(&plain).replace("&copy;", "©").replace("&amp;", "&").replace("&nbsp;", " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= most { line } else { line.chars().take(most - 2).chain(" …".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributions_become_one_line() {
        let text = "<a href=\"https://osm.org\">&copy; OpenStreetMap</a>\n contributors";
        assert_eq!(one_line(text, 80), "© OpenStreetMap contributors");
        assert_eq!(one_line(&"x".repeat(100), 10).chars().count(), 10);
        assert_eq!(one_line("a < b", 10), "a");
    }

    #[test]
    fn mercator_has_its_corners() {
        let near = |a: [f64; 2], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(mercator(-180.0, 90.0), [0.0, 0.0]) && near(mercator(0.0, 0.0), [0.5, 0.5]));
    }
}
