//! Windows within the window, each with its form.

pub(super) mod acquisitions;
pub(super) mod cells;
pub(super) mod export;
pub(super) mod folder_line;
pub(super) mod keys;
pub(super) mod loose_files;
pub(super) mod models;
pub(super) mod open;
pub(super) mod open_data;
pub(super) mod palette;
pub(super) mod save_project;
