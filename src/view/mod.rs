//! Physical values as pictures for people: band combinations, stretches, colour maps. No window code.

mod area;
mod legend;
mod look;
mod picture;
mod probe;
mod spread;
mod text;

pub use area::{AreaFigures, AreaOrder, BINS, BandMean, ClassSpectrum, area_figures};
pub use legend::{Legend, labelled};
pub use look::{Look, caption, looks, quantity_of, usual_look};
pub use picture::{HATCHED, Picture, Stretch, comparable, decoded, picture, stretch};
pub use probe::{Figures, Spot, figures};
pub use spread::{
    COLOUR_STEPS, caution, colour_steps, short, spread_name, spread_picture, spread_range, spread_unit, value_unit,
};
pub use text::{load_font, not_drawn, write_text};
