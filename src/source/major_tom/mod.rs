//! Major TOM Core (specification B.1, G.5): one cell out of parquet files of gigabytes, on the disk or on the web.
//!
//! A file holds one row per acquisition of a cell, mostly each in a row group of its own, with one GeoTIFF per band as a
//! blob. What cells a file holds stands in the statistics of its footer; so a cell costs the footer and its own columns.

mod bands;
mod column;
mod folder;
mod origin;
mod pages;
mod ranges;
mod rows;
mod table;

pub use folder::{Fetched, fetch, fetch_within};
pub use origin::Origin;
pub use rows::{Found, Row, choose, entries, list, look_up};

use crate::net::Network;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What reading needs besides the place: clones share the counter.
#[derive(Debug, Clone)]
pub struct Access {
    /// The way to servers.
    pub network: Network,
    /// Ends the work once it is set.
    pub stop: Arc<AtomicBool>,
    read: Arc<AtomicU64>,
}

impl Access {
    /// Nothing read yet.
    pub fn new(network: Network, stop: Arc<AtomicBool>) -> Self {
        Self { network, stop, read: Arc::default() }
    }

    /// Counts in this instead, so that others can watch.
    #[must_use]
    pub fn counting(mut self, read: Arc<AtomicU64>) -> Self {
        self.read = read;
        self
    }

    /// Bytes read so far, from disk and network.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
