//! Places on the ground: coordinate systems, footprints, and the Major TOM grid (specification G.4).

use crate::error::Result;
use crate::modality::Location;
use serde::{Deserialize, Serialize};

/// A coordinate reference system: `EPSG:32718` where a code is known, else WKT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Crs(pub String);

/// A rectangle on the ground, axis-parallel in its own coordinate system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Footprint {
    /// Coordinate system; `None` for a raster without georeference (then `left = top = 0`).
    pub crs: Option<Crs>,
    /// Easting of the left edge, metres.
    pub left: f64,
    /// Northing of the top edge, metres.
    pub top: f64,
    /// Width, metres.
    pub width_m: f64,
    /// Height, metres.
    pub height_m: f64,
}
