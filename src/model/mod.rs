//! The networks and their weights.

mod manifest;

pub use manifest::{AutoencoderEntry, AutoencoderSizes, DenoiserSizes, MANIFEST_FILE, Manifest, WeightFile};
