//! Tiles for the map: asked for while it is drawn, read, fetched and decoded on threads of their own.

use crate::basemap::{LocalTile, TileAt, TileSource};
use crate::error::Error;
use crate::view;
use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::{ColorImage, Context, Rect, TextureHandle, TextureOptions, pos2, vec2};
use lru::LruCache;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use walkers::sources::Attribution;
use walkers::{Tile, TileId, TilePiece, Tiles};

/// Tiles kept in memory: several screens of them.
const HELD: usize = 384;
/// Threads that read and decode.
const READERS: usize = 2;
/// No tile is wider or higher, pixels.
const WIDEST: u32 = 2048;
/// Pictures kept in memory, bytes: several large screens of them.
const MOST: usize = 256 << 20;
/// Pictures are scaled down to so many times the side they are shown with: screens have up to twice as many pixels as
/// points.
const DENSEST: u32 = 2;

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

/// What a thread found.
enum Outcome {
    Picture(TextureHandle),
    /// The better one is waited for.
    Old(TextureHandle),
    Nothing,
    Failed(Instant),
    /// Nobody looks at it any more.
    Dropped,
}

/// Which of the two kinds of work a tile waits for.
#[derive(Clone, Copy)]
enum TileWork {
    Read = 0,
    Fetch = 1,
}

/// What threads and window share.
struct Shared {
    source: Arc<dyn TileSource>,
    ctx: Context,
    /// By work: tiles that wait, with the number of the frame that last wanted them.
    waiting: Mutex<[HashMap<TileAt, u64>; 2]>,
    bell: Condvar,
    newest: AtomicU64,
    outbox: Sender<(TileAt, Outcome)>,
    closed: AtomicBool,
    trouble: Mutex<Option<String>>,
}

/// The tiles of one source.
pub struct Loader {
    shared: Arc<Shared>,
    held: LruCache<TileAt, Held>,
    /// Of the pictures in it.
    bytes: usize,
    arrived: Receiver<(TileAt, Outcome)>,
    /// Frame that was drawn last, and the last one that lacked a tile.
    drawn: u64,
    lacking: Option<u64>,
}

impl Loader {
    /// Starts the threads; they end soon after this is dropped.
    pub fn new(source: Arc<dyn TileSource>, ctx: &Context) -> Self {
        let (outbox, arrived) = unbounded();
        let lanes = source.lanes();
        let shared = Arc::new(Shared {
            source,
            ctx: ctx.clone(),
            waiting: Mutex::default(),
            bell: Condvar::new(),
            newest: AtomicU64::new(0),
            outbox,
            closed: AtomicBool::new(false),
            trouble: Mutex::default(),
        });
        for (work, number) in [(TileWork::Read, READERS), (TileWork::Fetch, lanes)] {
            for i in 0..number {
                let own = shared.clone();
                let settle = i == 0 && matches!(work, TileWork::Fetch);
                let serve = move || {
                    if settle {
                        own.source.tidy_up();
                    }
                    own.serve(work);
                };
                if let Err(e) = std::thread::Builder::new().name("tiles".into()).spawn(serve) {
                    *lock(&shared.trouble) = Some(format!("a thread for map tiles cannot be started: {e}"));
                }
            }
        }
        Self { shared, held: LruCache::unbounded(), bytes: 0, arrived, drawn: 0, lacking: None }
    }

    /// Why tiles are missing where the map looks, if they are.
    pub fn trouble(&self) -> Option<String> {
        if self.shared.source.lanes() > 0 && self.lacking != Some(self.drawn) {
            return None;
        }
        lock(&self.shared.trouble).clone()
    }

    /// Lets everything that failed be tried again.
    pub fn retry(&mut self) {
        self.shared.source.retry_now();
        *lock(&self.shared.trouble) = None;
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
        while let Ok((at, outcome)) = self.arrived.try_recv() {
            match (outcome, self.held.peek_mut(&at)) {
                (Outcome::Picture(picture), _) => self.put(at, Held::Picture(picture)),
                (Outcome::Old(picture), _) => self.put(at, Held::Old(picture, None)),
                (Outcome::Nothing, _) => self.put(at, Held::Nothing),
                // An old picture is better than none.
                (Outcome::Failed(until), Some(Held::Old(_, again))) => *again = Some(until),
                (Outcome::Failed(_), Some(Held::Picture(_))) => {}
                (Outcome::Failed(until), _) => self.put(at, Held::Failed(until)),
                (Outcome::Dropped, Some(Held::Old(_, again))) => *again = Some(Instant::now()),
                (Outcome::Dropped, Some(Held::Asked(_))) => drop(self.held.pop(&at)),
                (Outcome::Dropped, _) => {}
            }
        }
    }

    /// The tile, or the part of a coarser one that covers it.
    fn piece(&mut self, at: TileAt) -> Option<TilePiece> {
        self.take();
        let zooms = self.shared.source.zooms();
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
        if at.zoom < *self.shared.source.zooms().start() {
            return;
        }
        let frame = self.shared.ctx.cumulative_pass_nr();
        self.shared.newest.fetch_max(frame, Ordering::Relaxed);
        self.drawn = frame;
        let before = matches!(self.held.peek(&at), Some(Held::Asked(true) | Held::Failed(_)));
        if before {
            self.lacking = Some(frame);
        }
        let now = Instant::now();
        let ask = match self.held.peek_mut(&at) {
            Some(Held::Asked(_) | Held::Old(_, None)) => {
                // Still wanted.
                for work in lock(&self.shared.waiting).iter_mut() {
                    work.entry(at).and_modify(|asked| *asked = frame);
                }
                false
            }
            Some(Held::Old(_, again)) if again.is_some_and(|again| again <= now) => {
                *again = None;
                lock(&self.shared.waiting)[TileWork::Fetch as usize].insert(at, frame);
                self.shared.bell.notify_all();
                false
            }
            Some(Held::Failed(until)) => *until <= now,
            Some(Held::Picture(_) | Held::Old(..) | Held::Nothing) => false,
            None => true,
        };
        if ask {
            self.put(at, Held::Asked(before));
            lock(&self.shared.waiting)[TileWork::Read as usize].insert(at, frame);
            self.shared.bell.notify_all();
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.bell.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes what was wanted last, until the loader is dropped.
    fn serve(&self, work: TileWork) {
        loop {
            let mut waiting = lock(&self.waiting);
            let (at, frame) = loop {
                if self.closed.load(Ordering::Relaxed) {
                    return;
                }
                let newest = waiting[work as usize].iter().max_by_key(|(_, frame)| **frame).map(|(at, f)| (*at, *f));
                match newest {
                    Some(found) => break found,
                    None => waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                }
            };
            waiting[work as usize].remove(&at);
            drop(waiting);
            // The map has moved on.
            if frame + 2 < self.newest.load(Ordering::Relaxed) {
                self.tell(at, Outcome::Dropped);
                continue;
            }
            let done = catch_unwind(AssertUnwindSafe(|| match work {
                TileWork::Read => self.read(at, frame),
                TileWork::Fetch => self.fetch(at),
            }));
            if done.is_err() {
                self.tell(at, Outcome::Nothing);
            }
        }
    }

    fn tell(&self, at: TileAt, outcome: Outcome) {
        if let Outcome::Failed(until) = outcome {
            self.ctx.request_repaint_after(until.saturating_duration_since(Instant::now()));
        }
        // The window may be closing.
        let _ = self.outbox.send((at, outcome));
        self.ctx.request_repaint();
    }

    fn read(&self, at: TileAt, frame: u64) {
        let further = match self.source.local(at) {
            Ok(LocalTile::Fresh(tile)) => match self.picture(&tile) {
                Some(picture) => return self.tell(at, Outcome::Picture(picture)),
                None => true,
            },
            Ok(LocalTile::Stale(tile)) => {
                if let Some(picture) = self.picture(&tile) {
                    self.tell(at, Outcome::Old(picture));
                }
                true
            }
            Ok(LocalTile::Remote) => true,
            Ok(LocalTile::Missing) => return self.tell(at, Outcome::Nothing),
            Err(error) => {
                *lock(&self.trouble) = Some(error.to_string());
                return self.tell(at, Outcome::Nothing);
            }
        };
        if further && self.source.lanes() > 0 {
            lock(&self.waiting)[TileWork::Fetch as usize].insert(at, frame);
            self.bell.notify_all();
        } else if further {
            *lock(&self.trouble) = Some("some of its tiles are damaged".into());
            self.tell(at, Outcome::Nothing);
        }
    }

    fn fetch(&self, at: TileAt) {
        let outcome = match self.source.fetch(at, &self.closed) {
            Ok(tile) => {
                *lock(&self.trouble) = None;
                let picture = tile.and_then(|tile| self.picture(&tile));
                picture.map_or(Outcome::Nothing, Outcome::Picture)
            }
            Err(error) => {
                if !matches!(error, Error::Cancelled) {
                    *lock(&self.trouble) = Some(error.to_string());
                }
                Outcome::Failed(Instant::now() + self.source.retry_delay())
            }
        };
        self.tell(at, outcome);
    }

    /// Decodes a tile; what it may cost is limited, whatever the file says.
    fn picture(&self, tile: &[u8]) -> Option<TextureHandle> {
        let mut picture = view::decoded(tile, WIDEST)?;
        let most = DENSEST * self.source.side();
        if picture.width().max(picture.height()) > most {
            picture = picture.resize(most, most, image::imageops::FilterType::Triangle);
        }
        let picture = picture.to_rgba8();
        let size = [picture.width() as usize, picture.height() as usize];
        let image = ColorImage::from_rgba_unmultiplied(size, picture.as_raw());
        Some(self.ctx.load_texture("tile", image, TextureOptions::LINEAR))
    }
}

/// Where a tile lies within the coarser one that holds it.
fn part(at: TileAt, zoom: u8) -> Rect {
    let levels = u32::from(at.zoom.saturating_sub(zoom));
    let side = 0.5f32.powi(levels as i32);
    let inside = |v: u32| (u64::from(v) & ((1u64 << levels) - 1)) as f32 * side;
    Rect::from_min_size(pos2(inside(at.x), inside(at.y)), vec2(side, side))
}

/// A layer over the bundled one, which stands in where the layer has nothing (yet).
pub struct Stack<'a> {
    /// The layer that was chosen, unless it is the bundled one.
    pub own: Option<&'a mut Loader>,
    /// The bundled one.
    pub below: Option<&'a mut Loader>,
}

impl Tiles for Stack<'_> {
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
        loader.map_or(256, |loader| loader.shared.source.side())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn draw(loader: &mut Loader, ctx: &Context, tiles: &[TileAt], done: impl Fn(&Loader) -> bool) {
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
        let mut loader = Loader::new(Arc::new(Slow { near: LocalTile::Stale, side: 4 }), &ctx);
        let tiles: Vec<TileAt> = (0..30).map(|i| TileAt { zoom: 9, x: i % 6, y: i / 6 }).collect();
        let fresh =
            |loader: &Loader| tiles.iter().filter(|at| matches!(loader.held.peek(at), Some(Held::Picture(_)))).count();
        draw(&mut loader, &ctx, &tiles, |loader| {
            tiles.iter().all(|at| loader.held.peek(at).is_some_and(|h| h.bytes() > 0))
        });
        assert!(fresh(&loader) < tiles.len(), "old pictures are shown at once");
        draw(&mut loader, &ctx, &tiles, |loader| fresh(loader) == tiles.len());
    }

    #[test]
    fn large_pictures_fill_no_memory() {
        let ctx = Context::default();
        let mut loader = Loader::new(Arc::new(Slow { near: LocalTile::Fresh, side: 1024 }), &ctx);
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
