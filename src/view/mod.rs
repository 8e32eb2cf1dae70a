//! Physical values as pictures for people: band combinations, stretches, colour maps. No window code.

mod picture;
mod spread;

pub use picture::{Picture, Stretch, caption, picture, stretch};
pub use spread::{COLOUR_STEPS, colour_steps, samples, spread_name, spread_range, spread_unit, value_unit};
