//! Physical values as pictures for people: band combinations, stretches, colour maps. No window code.

mod area;
mod lettering;
mod look;
mod picture;
mod plate;
mod probe;
mod spread;

pub use area::{AreaFigures, AreaOrder, BINS, BandMean, ClassSpectrum, area_figures};
pub use lettering::{not_drawn, register_letters, write_text};
pub use look::{Look, caption, looks, usual_look};
pub use picture::{HATCHED, Picture, Stretch, decoded, picture, stretch};
pub use plate::{Legend, plate};
pub use probe::{Figures, Spot, figures, wavelength_nm};
pub use spread::{
    COLOUR_STEPS, caution, colour_steps, spread_name, spread_picture, spread_range, spread_unit, value_unit,
};
