//! Threads that read, fetch and decode the map's tiles.

use crate::basemap::{LocalTile, TileAt, TileSource};
use crate::error::Error;
use crate::process::panic_text;
use crate::view;
use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::{ColorImage, Context, TextureHandle, TextureOptions};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Threads that read and decode.
const READERS: usize = 2;
/// No tile is wider or higher, pixels.
const WIDEST: u32 = 2048;
/// Pictures are scaled down to so many times the side they are shown with: screens have up to twice as many pixels as
/// points.
const DENSEST: u32 = 2;

/// What a thread found.
pub(crate) enum Found {
    /// Its picture.
    Picture(TextureHandle),
    /// An old picture; the better one is waited for.
    Old(TextureHandle),
    /// There is no such tile.
    Nothing,
    /// It could not be had; not to be asked for again before this.
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
    outbox: Sender<(TileAt, Found)>,
    closed: AtomicBool,
    trouble: Mutex<Option<String>>,
}

/// The threads of one source; they end soon after this is dropped.
pub(crate) struct TileReader {
    shared: Arc<Shared>,
    found: Receiver<(TileAt, Found)>,
}

impl TileReader {
    /// Starts the threads.
    pub(crate) fn new(source: Arc<dyn TileSource>, ctx: &Context) -> Self {
        let (outbox, found) = unbounded();
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
        Self { shared, found }
    }

    /// Where the tiles come from.
    pub(crate) fn source(&self) -> &dyn TileSource {
        &*self.shared.source
    }

    /// The number of the frame that is being drawn: what no recent one wants is not read any more.
    pub(crate) fn frame(&self) -> u64 {
        let frame = self.shared.ctx.cumulative_pass_nr();
        self.shared.newest.fetch_max(frame, Ordering::Relaxed);
        frame
    }

    /// What was found since, if anything was.
    pub(crate) fn found(&self) -> Option<(TileAt, Found)> {
        self.found.try_recv().ok()
    }

    /// Has a tile read in this frame, or fetched if it is not here.
    pub(crate) fn read(&self, at: TileAt, frame: u64) {
        self.shared.wait_for(TileWork::Read, at, frame);
    }

    /// Has a tile fetched in this frame, though an old one is here.
    pub(crate) fn fetch(&self, at: TileAt, frame: u64) {
        self.shared.wait_for(TileWork::Fetch, at, frame);
    }

    /// A tile that waits is wanted in this frame as well.
    pub(crate) fn still_wanted(&self, at: TileAt, frame: u64) {
        for waiting in lock(&self.shared.waiting).iter_mut() {
            waiting.entry(at).and_modify(|asked| *asked = frame);
        }
    }

    /// Why tiles are missing, if they are.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.shared.trouble).clone()
    }

    /// What could not be had may be had by now.
    pub(crate) fn retry(&self) {
        self.shared.source.retry_now();
        *lock(&self.shared.trouble) = None;
    }
}

impl Drop for TileReader {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.bell.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn wait_for(&self, work: TileWork, at: TileAt, frame: u64) {
        lock(&self.waiting)[work as usize].insert(at, frame);
        self.bell.notify_all();
    }

    /// Takes what was wanted last, until the reader is dropped.
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
                self.tell(at, Found::Dropped);
                continue;
            }
            let done = catch_unwind(AssertUnwindSafe(|| match work {
                TileWork::Read => self.read(at, frame),
                TileWork::Fetch => self.fetch(at),
            }));
            if let Err(panic) = done {
                let text = panic_text(panic.as_ref());
                *lock(&self.trouble) = Some(format!("a tile failed ({text}); please report it"));
                self.tell(at, Found::Nothing);
            }
        }
    }

    fn tell(&self, at: TileAt, found: Found) {
        if let Found::Failed(until) = found {
            self.ctx.request_repaint_after(until.saturating_duration_since(Instant::now()));
        }
        // The window may be closing.
        let _ = self.outbox.send((at, found));
        self.ctx.request_repaint();
    }

    fn read(&self, at: TileAt, frame: u64) {
        let further = match self.source.local(at) {
            Ok(LocalTile::Fresh(tile)) => match self.picture(&tile) {
                Some(picture) => return self.tell(at, Found::Picture(picture)),
                None => true,
            },
            Ok(LocalTile::Stale(tile)) => {
                if let Some(picture) = self.picture(&tile) {
                    self.tell(at, Found::Old(picture));
                }
                true
            }
            Ok(LocalTile::Remote) => true,
            Ok(LocalTile::Missing) => return self.tell(at, Found::Nothing),
            Err(error) => {
                *lock(&self.trouble) = Some(error.to_string());
                return self.tell(at, Found::Nothing);
            }
        };
        if further && self.source.lanes() > 0 {
            self.wait_for(TileWork::Fetch, at, frame);
        } else if further {
            *lock(&self.trouble) = Some("some of its tiles are damaged".into());
            self.tell(at, Found::Nothing);
        }
    }

    fn fetch(&self, at: TileAt) {
        let outcome = match self.source.fetch(at, &self.closed) {
            Ok(tile) => {
                *lock(&self.trouble) = None;
                let picture = tile.and_then(|tile| self.picture(&tile));
                picture.map_or(Found::Nothing, Found::Picture)
            }
            Err(error) => {
                if !matches!(error, Error::Cancelled) {
                    *lock(&self.trouble) = Some(error.to_string());
                }
                Found::Failed(Instant::now() + self.source.retry_delay())
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
