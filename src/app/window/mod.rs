//! The window itself: carries out commands and takes answers.

pub mod answers;
pub mod apply;
pub mod base_maps;
pub mod cells;
pub mod explorer;
pub mod models;
pub mod open_data;
pub mod opening;
pub mod tour;
