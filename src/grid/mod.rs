//! Places on the ground: coordinate systems, footprints, and the Major TOM grid (specification G.4).

mod cell;
mod footprint;

pub use cell::{CELL_RASTER_M, GridCell};
pub use footprint::{Crs, Footprint, check_systems, haversine_km};
