//! The pixels that a raster elsewhere is read onto, and how its own become these.

use crate::grid::Footprint;

/// Square pixels on a piece of ground.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelGrid {
    /// The ground; its sides are multiples of the pixel's.
    pub footprint: Footprint,
    /// Side of a pixel, metres.
    pub pixel_m: f64,
}

impl PixelGrid {
    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        let pixels = |metres: f64| (metres / self.pixel_m).round() as usize;
        (pixels(self.footprint.width_m), pixels(self.footprint.height_m))
    }
}

/// How pixels of a source became pixels of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling {
    /// They are the source's own.
    None,
    /// The nearest one.
    Nearest,
    /// From the four around.
    Bilinear,
    /// The mean of those within.
    Average,
}

impl Resampling {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "pixels unchanged",
            Self::Nearest => "nearest neighbour",
            Self::Bilinear => "bilinear",
            Self::Average => "averaged",
        }
    }

    /// GDAL's name.
    pub(super) fn algorithm(self) -> &'static str {
        match self {
            Self::None | Self::Nearest => "NearestNeighbour",
            Self::Bilinear => "Bilinear",
            Self::Average => "Average",
        }
    }
}
