//! Work in the background: it knows nothing of the window.

pub mod answers;
pub mod cells;
pub mod exchange;
pub mod export;
pub mod open_data;
pub mod paint;
pub mod queue;
pub mod read;
pub mod restore;
pub mod session_folder;
pub mod tile_reader;
pub mod tiles;
