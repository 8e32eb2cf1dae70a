//! The tests of the whole program, one module for each part, in one binary: linking GDAL, candle and the window takes
//! long. Tests of a module run beside those of others in one process, so each keeps to folders, servers and windows of
//! its own and sets no environment variable; what it wants of the program's environment it gives to a process.

// The modules of one test binary share their helpers as `pub`.
#![allow(unreachable_pub)]

mod common;

mod assembled;
mod bad_input;
mod batch;
mod bench;
mod cascade;
mod catalogues;
#[cfg(feature = "window")]
mod cells;
#[cfg(feature = "window")]
mod data;
#[cfg(feature = "window")]
mod desk;
mod eopf;
mod evaluate;
mod generate;
mod hub;
mod items;
mod major_tom;
#[cfg(feature = "window")]
mod maps;
mod models;
#[cfg(feature = "window")]
mod models_window;
mod network;
#[cfg(feature = "window")]
mod overlay;
mod parity;
mod partly;
#[cfg(feature = "window")]
mod partly_window;
mod remote_rasters;
mod said;
mod scenes;
#[cfg(all(feature = "window", target_os = "linux"))]
mod screenshots;
#[cfg(feature = "window")]
mod sessions;
mod shaders;
#[cfg(feature = "window")]
mod snapshots;
mod solvers;
mod sources;
mod specification;
mod strange;
#[cfg(feature = "window")]
mod tools;
mod train;
mod weights;
#[cfg(feature = "window")]
mod window;
#[cfg(not(feature = "window"))]
mod windowless;
