//! Panels: they read and push commands.

pub(super) mod area;
pub(super) mod base_map_menu;
pub(super) mod gallery;
pub(super) mod guide;
pub(super) mod inspector;
pub(super) mod notes;
pub(super) mod open_data_offer;
mod partly;
pub(super) mod role_row;
pub(super) mod roles;
pub(super) mod sampling;
pub(super) mod scalar_gallery;
pub(super) mod top_bar;
