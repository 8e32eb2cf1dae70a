//! Colours, names of widgets, times of frames.

pub(super) mod frames;
pub(super) mod theme;
pub(super) mod widgets;
