//! Open data: the place they are looked for, a fetch that goes on, and what is kept for offline use.

use crate::app::state::ongoing::Ongoing;
use crate::grid::{Footprint, GridCell};
use crate::source::{FetchProgress, KeptScene};

/// A place that data are looked for: its cell, and the exact ground.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The grid cell, which names it.
    pub cell: GridCell,
    /// The ground to fetch.
    pub footprint: Footprint,
}

/// A fetch that goes on.
pub struct Fetching {
    /// Ends it when dropped.
    pub ongoing: Ongoing,
    /// How far it is.
    pub progress: FetchProgress,
}

/// What is kept for offline use.
#[derive(Debug, Clone, Default)]
pub struct KeptPlaces {
    /// Scenes.
    pub scenes: Vec<KeptScene>,
    /// Bytes of everything.
    pub bytes: u64,
    /// Bytes it may be.
    pub limit: u64,
}
