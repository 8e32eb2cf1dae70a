//! The tests of the whole program, one module for each part, in one binary: linking GDAL, candle and the window takes
//! long. Tests of a module run beside those of others in one process, so each keeps to folders, servers and windows of
//! its own and sets no environment variable; what it wants of the program's environment it gives to a process.

mod common;

mod bad_input;
mod bench;
mod cells;
mod data;
mod desk;
mod evaluate;
mod generate;
mod hub;
mod major_tom;
mod maps;
mod models;
mod models_window;
mod network;
mod overlay;
mod parity;
mod scenes;
#[cfg(target_os = "linux")]
mod screenshots;
mod shaders;
mod solvers;
mod sources;
mod specification;
mod tools;
mod train;
mod window;
