//! Open data by click: what providers hold of a place, and reading of it only what the window needs.
//!
//! `search` asks STAC catalogues, `fetch` reads the windows of what was chosen and makes a scene folder of them, `kept`
//! is where they stay. Providers are configuration (`assets/sources.toml`).
//! `major_tom` reads single cells out of Major TOM's parquet files.

mod asset;
mod facts;
mod fetch;
mod holes;
mod in_memory;
mod kept;
pub mod major_tom;
mod mask;
mod offset;
mod options;
mod outline;
mod pages;
mod pixel_grid;
mod providers;
mod query;
mod remote;
mod signing;
mod stac;
mod survey;
mod values;
mod warp;

pub use facts::remarks;
pub use fetch::{Area, FetchProgress, Order, fetch};
pub use kept::{InUse, Kept, KeptScene};
pub use mask::cloud_code;
pub use options::{FetchOptions, parse_place};
pub use pixel_grid::{PixelGrid, Resampling};
pub use providers::{Access, Product, Provider, Time, providers, providers_in};
pub use query::{Query, days, middle};
pub use remote::WarpedBand;
pub use stac::{Acquisition, Found, search, thumbnail};
pub use survey::{Survey, best, survey};
