//! Real rasters to co-registered windows at native resolution.

use crate::error::Result;
use crate::grid::Footprint;
use crate::modality::{ModalityTable, Value};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which square of a scene to take.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The centre crop of specification B.2.
    #[default]
    Centre,
    /// A window whose upper-left corner lies this far from the scene's, metres; multiples of 60 m.
    At {
        /// Metres east of the scene's left edge.
        east_m: f64,
        /// Metres south of the scene's top edge.
        south_m: f64,
    },
}

/// One modality's value in a window, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Physical value.
    pub value: Value,
    /// Files it was read from; empty when set by hand.
    pub sources: Vec<PathBuf>,
    /// ISO 8601 date, month or year of acquisition, if known.
    pub date: Option<String>,
}

/// Everything known about one window: co-registered values in table order.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Name of the place and window; part of the seed of every noise stream.
    pub tile: String,
    /// Where the window lies.
    pub footprint: Footprint,
    /// One entry per modality of the table; `None` where nothing is known.
    pub values: Vec<Option<Given>>,
    /// What a careful reader should know (suspicious value ranges, no-data pixels, …).
    pub notes: Vec<String>,
}
