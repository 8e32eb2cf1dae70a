//! What the pointer does on the map: look at a spot, measure, mark an area, paint classes, choose a place.

use crate::modality::ClassMap;
use crate::view::Spot;

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Tool {
    /// Picks places and inspects spots.
    #[default]
    Pointer,
    /// Measures distances.
    Ruler,
    /// Marks an area of the window.
    Area,
    /// Paints a class.
    Brush(Brush),
    /// The next click is the value of this modality.
    Place(usize),
}

/// What a brush paints with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// The class modality.
    pub modality: usize,
    /// Code of the class.
    pub code: u8,
    /// Whether it paints what is kept of the modality (1) or sampled (0), not its classes.
    pub keeps: bool,
    /// Radius on the ground in metres.
    pub radius_m: f64,
    /// Whether what it draws is the outline of an area to be filled.
    pub outline: bool,
}

impl Brush {
    /// Fills an outline on a map of the window.
    pub(in crate::app) fn fill(self, map: &mut ClassMap, outline: &[Spot]) {
        let (rows, columns) = map.size();
        let outline: Vec<[f64; 2]> =
            outline.iter().map(|spot| [spot.x * columns as f64, spot.y * rows as f64]).collect();
        map.fill(&outline, self.code);
    }
}

/// One stroke of a brush.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stroked {
    /// With what.
    pub brush: Brush,
    /// Where from.
    pub from: Spot,
    /// Where to.
    pub to: Spot,
}

impl Stroked {
    /// Paints it over a map of the window, whose pixels are so large on the ground.
    pub(in crate::app) fn onto(&self, map: &mut ClassMap, ground_m: f64) {
        let (rows, columns) = map.size();
        let at = |spot: Spot| [spot.x * columns as f64, spot.y * rows as f64];
        map.paint([at(self.from), at(self.to)], self.brush.radius_m / ground_m, self.brush.code);
    }
}
