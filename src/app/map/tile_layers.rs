//! A layer of tiles over the bundled one.

use crate::app::work::tiles::TileLoader;
use crate::basemap::TileAt;
use walkers::sources::Attribution;
use walkers::{TileId, TilePiece, Tiles};

/// A layer over the bundled one, which stands in where the layer has nothing (yet).
pub(crate) struct TileLayers<'a> {
    /// The layer that was chosen, unless it is the bundled one.
    pub own: Option<&'a mut TileLoader>,
    /// The bundled one.
    pub below: Option<&'a mut TileLoader>,
}

impl Tiles for TileLayers<'_> {
    fn at(&mut self, id: TileId) -> Option<TilePiece> {
        let across = 1u64 << id.zoom.min(40);
        if u64::from(id.x) >= across || u64::from(id.y) >= across {
            return None;
        }
        let at = TileAt { zoom: id.zoom, x: id.x, y: id.y };
        let own = self.own.as_mut().and_then(|own| own.piece(at));
        own.or_else(|| self.below.as_mut().and_then(|below| below.piece(at)))
    }

    /// The map writes it itself: there it may be longer, and change.
    fn attribution(&self) -> Attribution {
        Attribution { text: "", url: "", logo_light: None, logo_dark: None }
    }

    fn tile_size(&self) -> u32 {
        let loader = self.own.as_ref().or(self.below.as_ref());
        loader.map_or(256, |loader| loader.side())
    }
}
