//! Work in the background: it knows nothing of the window.

pub(super) mod answers;
pub(super) mod cells;
pub(super) mod exchange;
pub(super) mod export;
pub(super) mod open_data;
pub(super) mod paint;
pub(super) mod queue;
pub(super) mod read;
pub(super) mod restore;
pub(super) mod session_folder;
pub(super) mod tile_reader;
pub(super) mod tiles;
