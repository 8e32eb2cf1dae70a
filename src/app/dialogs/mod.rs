//! Windows within the window, each with its form.

pub mod acquisitions;
pub mod cells;
pub mod export;
pub mod folder_line;
pub mod keys;
pub mod loose_files;
pub mod models;
pub mod open;
pub mod open_data;
pub mod palette;
pub mod save_project;
