//! Exchanges with servers, each on a thread of its own: they may take long, and none waits for another.

use crate::app::state::open_data::Site;
use crate::app::window::models::ModelNews;
use crate::app::work::cells;
use crate::error::{Error, Result};
use crate::hub;
use crate::net::Network;
use crate::process::panic_text;
use crate::source::major_tom::Fetched;
use crate::source::{FetchProgress, Survey};
use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::ColorImage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an exchange tells.
pub enum News {
    /// By number of the exchange: parquet files were looked into.
    CellsListed(u64, Result<cells::Listed>),
    /// By number of the exchange: a scene was made of rows.
    CellFetched(u64, Result<Fetched>),
    /// The models that are known, by number of the listing.
    Models(u64, Result<Vec<hub::Listed>>),
    /// Something about a model, by its name.
    Model(String, ModelNews),
    /// Something failed that nobody waits for.
    Broken(Error),
    /// What was found of a place, by number of the search.
    Surveyed(u64, Result<Box<(Site, Survey)>>),
    /// A small picture from this address.
    Pictured(String, Arc<ColorImage>),
    /// How far a fetch is, by its number.
    Fetching(u64, FetchProgress),
    /// A place was fetched into this folder, by number of the fetch.
    Fetched(u64, Result<PathBuf>),
    /// Kept places that had to make room.
    MadeRoom(Result<Vec<PathBuf>>),
}

/// Tells news from an exchange and wakes the window.
#[derive(Clone)]
pub struct Teller {
    outbox: Sender<News>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Teller {
    /// Tells.
    pub fn tell(&self, news: News) {
        // The window may be closing.
        let _ = self.outbox.send(news);
        (self.wake)();
    }
}

/// An exchange that goes on; ends when asked to, or when this is dropped.
pub struct Exchange {
    stop: Arc<AtomicBool>,
}

impl Exchange {
    /// Asks it to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends for things.
pub struct Exchanges {
    /// The way out.
    pub network: Network,
    /// What has been told.
    pub news: Receiver<News>,
    teller: Teller,
}

impl Exchanges {
    /// `wake` is called after each piece of news.
    pub fn new(network: Network, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let (outbox, news) = unbounded();
        Self { network, news, teller: Teller { outbox, wake: Arc::new(wake) } }
    }

    /// Begins an exchange; `broken` makes the news of it if it fails in a way nobody foresaw.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn send(
        &self,
        broken: impl FnOnce(Error) -> News + Send + 'static,
        exchange: impl FnOnce(&Network, &Teller, &Arc<AtomicBool>) + Send + 'static,
    ) -> Result<Exchange> {
        let (network, teller, stop) = (self.network.clone(), self.teller.clone(), Arc::new(AtomicBool::new(false)));
        let own = stop.clone();
        let work = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| exchange(&network, &teller, &own))) {
                let text = panic_text(panic.as_ref());
                let text = format!("A task in the background failed ({text}); please report it. Work goes on.");
                teller.tell(broken(Error::Compute(text)));
            }
        };
        let started = std::thread::Builder::new().name("exchanges".into()).spawn(work);
        started.map_err(|e| Error::Compute(format!("A background thread cannot be started: {e}")))?;
        Ok(Exchange { stop })
    }
}
