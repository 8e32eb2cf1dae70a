//! What is on screen of a run and a place: textures made from what was painted.

pub mod gallery_zoom;
pub mod inspected;
pub mod shown;
pub mod spread_overlay;
