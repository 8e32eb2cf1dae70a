//! Colours, names of widgets, times of frames.

pub mod frames;
pub mod theme;
pub mod widgets;
