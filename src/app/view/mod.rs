//! What is on screen of a run and a place: textures made from what was painted.

pub(super) mod gallery_zoom;
pub(super) mod inspected;
pub(super) mod shown;
pub(super) mod spread_overlay;
