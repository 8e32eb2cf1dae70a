//! Panels: they read and push commands.

pub mod area;
pub mod base_map_menu;
pub mod gallery;
pub mod guide;
pub mod inspector;
pub mod notes;
pub mod open_data_offer;
pub mod role_row;
pub mod roles;
pub mod sampling;
pub mod scalar_gallery;
pub mod top_bar;
