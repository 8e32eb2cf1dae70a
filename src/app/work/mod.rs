//! Work in the background: it knows nothing of the window.

pub mod cells;
pub mod exchange;
pub mod export;
pub mod queue;
pub mod restore;
pub mod session_folder;
pub mod tiles;
