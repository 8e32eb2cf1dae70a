//! Tiles for the map: asked for while it is drawn, and looked up as they arrive.

use crate::app::work::tile_reader::{Found, TileReader};
use crate::basemap::{TileAt, TileSource};
use egui::{Context, Rect, TextureHandle, pos2, vec2};
use lru::LruCache;
use std::sync::Arc;
use std::time::Instant;
use walkers::{Tile, TilePiece};

/// Tiles kept in memory: several screens of them.
const HELD: usize = 384;
/// Pictures kept in memory, bytes: several large screens of them.
const MOST: usize = 256 << 20;

/// What is known of a tile.
enum Held {
    /// It will come; whether it could not be had before.
    Asked(bool),
    Picture(TextureHandle),
    /// A picture its server is to be asked about: from then on, or being asked about.
    Old(TextureHandle, Option<Instant>),
    Nothing,
    /// Not to be asked for again before this.
    Failed(Instant),
}

impl Held {
    fn picture(&self) -> Option<&TextureHandle> {
        match self {
            Self::Picture(picture) | Self::Old(picture, _) => Some(picture),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        self.picture().map_or(0, TextureHandle::byte_size)
    }
}

/// The tiles of one source.
pub(crate) struct TileLoader {
    reader: TileReader,
    held: LruCache<TileAt, Held>,
    /// Of the pictures in it.
    bytes: usize,
    /// Frame that was drawn last, and the last one that lacked a tile.
    drawn: u64,
    lacking: Option<u64>,
}

impl TileLoader {
    /// Starts its threads; they end soon after this is dropped.
    pub(crate) fn new(source: Arc<dyn TileSource>, ctx: &Context) -> Self {
        let reader = TileReader::new(source, ctx);
        Self { reader, held: LruCache::unbounded(), bytes: 0, drawn: 0, lacking: None }
    }

    /// Side of a tile, points.
    pub(crate) fn side(&self) -> u32 {
        self.reader.source().side()
    }

    /// Why tiles are missing where the map looks, if they are.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.reader.source().lanes() > 0 && self.lacking != Some(self.drawn) {
            return None;
        }
        self.reader.trouble()
    }

    /// Lets everything that failed be tried again.
    pub(crate) fn retry(&mut self) {
        self.reader.retry();
        let failed = self.held.iter().filter(|(_, held)| matches!(held, Held::Failed(_)));
        let failed: Vec<TileAt> = failed.map(|(at, _)| *at).collect();
        failed.iter().for_each(|at| drop(self.held.pop(at)));
        for (_, held) in self.held.iter_mut() {
            if let Held::Old(_, Some(again)) = held {
                *again = Instant::now();
            }
        }
    }

    /// Remembers what is known of a tile; what was not looked at for longest is forgotten.
    fn put(&mut self, at: TileAt, held: Held) {
        self.bytes += held.bytes();
        self.bytes -= self.held.put(at, held).map_or(0, |before| before.bytes());
        while self.held.len() > HELD || self.bytes > MOST {
            let Some((_, gone)) = self.held.pop_lru() else { return };
            self.bytes -= gone.bytes();
        }
    }

    /// Takes what the threads have found.
    fn take(&mut self) {
        while let Some((at, found)) = self.reader.found() {
            match (found, self.held.peek_mut(&at)) {
                (Found::Picture(picture), _) => self.put(at, Held::Picture(picture)),
                (Found::Old(picture), _) => self.put(at, Held::Old(picture, None)),
                (Found::Nothing, _) => self.put(at, Held::Nothing),
                // An old picture is better than none.
                (Found::Failed(until), Some(Held::Old(_, again))) => *again = Some(until),
                (Found::Failed(_), Some(Held::Picture(_))) => {}
                (Found::Failed(until), _) => self.put(at, Held::Failed(until)),
                (Found::Dropped, Some(Held::Old(_, again))) => *again = Some(Instant::now()),
                (Found::Dropped, Some(Held::Asked(_))) => drop(self.held.pop(&at)),
                (Found::Dropped, _) => {}
            }
        }
    }

    /// The tile, or the part of a coarser one that covers it.
    pub(crate) fn piece(&mut self, at: TileAt) -> Option<TilePiece> {
        self.take();
        let zooms = self.reader.source().zooms();
        let mut wanted = at;
        while wanted.zoom > *zooms.end() {
            wanted = wanted.parent()?;
        }
        let mut shown = wanted;
        // Where there is nothing so fine, something coarser may be.
        while shown.zoom >= *zooms.start() {
            self.want(shown);
            match self.held.peek(&shown) {
                Some(Held::Nothing) => shown = shown.parent()?,
                _ => break,
            }
        }
        loop {
            if let Some(picture) = self.held.get(&shown).and_then(Held::picture) {
                return Some(TilePiece::new(Tile::Raster(picture.clone()), part(at, shown.zoom)));
            }
            shown = shown.parent()?;
        }
    }

    fn want(&mut self, at: TileAt) {
        if at.zoom < *self.reader.source().zooms().start() {
            return;
        }
        let frame = self.reader.frame();
        self.drawn = frame;
        let before = matches!(self.held.peek(&at), Some(Held::Asked(true) | Held::Failed(_)));
        if before {
            self.lacking = Some(frame);
        }
        let now = Instant::now();
        let ask = match self.held.peek_mut(&at) {
            Some(Held::Asked(_) | Held::Old(_, None)) => {
                self.reader.still_wanted(at, frame);
                false
            }
            Some(Held::Old(_, again)) if again.is_some_and(|again| again <= now) => {
                *again = None;
                self.reader.fetch(at, frame);
                false
            }
            Some(Held::Failed(until)) => *until <= now,
            Some(Held::Picture(_) | Held::Old(..) | Held::Nothing) => false,
            None => true,
        };
        if ask {
            self.put(at, Held::Asked(before));
            self.reader.read(at, frame);
        }
    }
}

/// Where a tile lies within the coarser one that holds it.
fn part(at: TileAt, zoom: u8) -> Rect {
    let levels = u32::from(at.zoom.saturating_sub(zoom));
    let side = 0.5f32.powi(levels as i32);
    let inside = |v: u32| (u64::from(v) & ((1u64 << levels) - 1)) as f32 * side;
    Rect::from_min_size(pos2(inside(at.x), inside(at.y)), vec2(side, side))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basemap::LocalTile;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn parts_of_coarser_tiles() {
        let at = TileAt { zoom: 5, x: 13, y: 6 };
        assert_eq!(part(at, 5), Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0)));
        assert_eq!(part(at, 4), Rect::from_min_max(pos2(0.5, 0.0), pos2(1.0, 0.5)));
        assert_eq!(part(at, 3), Rect::from_min_max(pos2(0.25, 0.5), pos2(0.5, 0.75)));
        let deep = part(TileAt { zoom: 23, x: (1 << 23) - 1, y: 0 }, 0);
        assert!(deep.min.x < 1.0 && deep.width() > 0.0);
    }

    /// A server with slow, green answers; red ones lie on the disk.
    struct Slow {
        near: fn(Vec<u8>) -> LocalTile,
        side: u32,
    }

    fn png(side: u32, colour: [u8; 3]) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let picture = image::RgbImage::from_pixel(side, side, image::Rgb(colour));
        picture.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
        bytes.into_inner()
    }

    impl TileSource for Slow {
        fn local(&self, _at: TileAt) -> crate::error::Result<LocalTile> {
            Ok((self.near)(png(self.side, [255, 0, 0])))
        }
        fn fetch(&self, _at: TileAt, _stop: &AtomicBool) -> crate::error::Result<Option<Vec<u8>>> {
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(Some(png(4, [0, 255, 0])))
        }
        fn lanes(&self) -> usize {
            2
        }
        fn zooms(&self) -> std::ops::RangeInclusive<u8> {
            3..=19
        }
        fn side(&self) -> u32 {
            256
        }
    }

    /// Draws these tiles, frame after frame, until it is done.
    fn draw(loader: &mut TileLoader, ctx: &Context, tiles: &[TileAt], done: impl Fn(&TileLoader) -> bool) {
        let begun = Instant::now();
        while !done(loader) {
            assert!(begun.elapsed().as_secs() < 20, "it never comes to an end");
            let _ = ctx.run_ui(egui::RawInput::default(), |_| tiles.iter().for_each(|at| drop(loader.piece(*at))));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    #[test]
    fn all_old_tiles_in_view_are_asked_about() {
        let ctx = Context::default();
        let mut loader = TileLoader::new(Arc::new(Slow { near: LocalTile::Stale, side: 4 }), &ctx);
        let tiles: Vec<TileAt> = (0..30).map(|i| TileAt { zoom: 9, x: i % 6, y: i / 6 }).collect();
        let fresh = |loader: &TileLoader| {
            tiles.iter().filter(|at| matches!(loader.held.peek(at), Some(Held::Picture(_)))).count()
        };
        draw(&mut loader, &ctx, &tiles, |loader| {
            tiles.iter().all(|at| loader.held.peek(at).is_some_and(|h| h.bytes() > 0))
        });
        assert!(fresh(&loader) < tiles.len(), "old pictures are shown at once");
        draw(&mut loader, &ctx, &tiles, |loader| fresh(loader) == tiles.len());
    }

    #[test]
    fn large_pictures_fill_no_memory() {
        let ctx = Context::default();
        let mut loader = TileLoader::new(Arc::new(Slow { near: LocalTile::Fresh, side: 1024 }), &ctx);
        for row in 0..10 {
            let tiles: Vec<TileAt> = (0..30).map(|x| TileAt { zoom: 9, x, y: row }).collect();
            draw(&mut loader, &ctx, &tiles, |loader| {
                tiles.iter().all(|at| matches!(loader.held.peek(at), Some(Held::Picture(_))))
            });
            let pictures = || loader.held.iter().filter_map(|(_, held)| held.picture());
            assert!(pictures().all(|picture| picture.size() == [512, 512]));
            assert_eq!(loader.bytes, pictures().map(TextureHandle::byte_size).sum::<usize>());
            assert!(loader.bytes <= MOST, "{}", loader.bytes);
        }
        assert!(loader.bytes > MOST - (2 << 20), "what fits is kept: {}", loader.bytes);
    }
}
