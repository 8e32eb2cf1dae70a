//! The map.

pub(super) mod borders;
pub(super) mod buttons;
pub(super) mod cells;
pub(super) mod compared;
pub(super) mod labels;
pub(super) mod map_view;
pub(super) mod names;
pub(super) mod painter;
pub(super) mod picture_card;
pub(super) mod screen_map;
pub(super) mod tile_layers;
pub(super) mod tools;
pub(super) mod window_handle;
