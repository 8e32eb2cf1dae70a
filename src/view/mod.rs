//! Physical values as pictures for people: band combinations, stretches, colour maps. No window code.

mod look;
mod picture;
mod probe;
mod spread;

pub use look::{Index, Look, caption, looks, usual_look};
pub use picture::{Picture, Stretch, picture, stretch};
pub use probe::{Figures, Spot, figures, wavelength_nm};
pub use spread::{COLOUR_STEPS, colour_steps, samples, spread_name, spread_range, spread_unit, value_unit};
