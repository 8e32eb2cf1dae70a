//! The window itself: carries out commands and takes answers.

pub mod apply;
pub mod base_maps;
pub mod cells;
pub mod explorer;
pub mod frame;
pub mod keeping;
pub mod launch;
pub mod models;
pub mod on_tour;
pub mod open_data;
pub mod opening;
pub mod options;
pub mod painting;
pub mod places;
pub mod runs;
pub mod tour;
