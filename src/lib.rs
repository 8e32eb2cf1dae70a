//! COP-GEN Explorer: what a place on Earth could plausibly look like.
//!
//! `scene → encode → sample → decode → ensemble → view / export`: see `ARCHITECTURE.md`.

#[cfg(feature = "window")]
pub mod app;
#[cfg(feature = "window")]
pub mod basemap;
pub mod batch;
pub mod cli;
pub mod ensemble;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod files;
#[cfg(feature = "window")]
pub mod gpu;
pub mod grid;
pub mod hub;
pub mod job;
pub mod modality;
pub mod model;
pub mod net;
mod parallel;
pub mod process;
pub mod project;
pub mod sampler;
pub mod scene;
pub mod source;
pub mod text;
pub mod train;
pub mod verify;
pub mod view;

pub use error::{Error, Result};
