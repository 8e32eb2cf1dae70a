//! The map.

pub mod borders;
pub mod buttons;
pub mod cells;
pub mod labels;
pub mod map_view;
pub mod names;
pub mod painter;
pub mod picture_card;
pub mod screen_map;
pub mod tile_layers;
pub mod tools;
pub mod window_handle;
