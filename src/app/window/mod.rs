//! The window itself: carries out commands and takes answers.

pub(super) mod apply;
pub(super) mod base_maps;
pub(super) mod cells;
pub(super) mod explorer;
pub(super) mod frame;
pub(super) mod keeping;
pub(super) mod launch;
pub(super) mod models;
pub(super) mod on_tour;
pub(super) mod open_data;
pub(super) mod opening;
pub(super) mod options;
pub(super) mod painting;
pub(super) mod places;
pub(super) mod runs;
pub(super) mod tour;
