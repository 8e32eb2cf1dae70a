//! Places: what is on the map, what is picked, and what is known of it.

use crate::grid::{Footprint, GridCell};
use crate::modality::Location;
use crate::scene::{Collection, Observation, Scene};
use std::path::PathBuf;

/// A scene on the map.
#[derive(Debug, Clone)]
pub struct KnownScene {
    /// The scene.
    pub scene: Scene,
    /// Its corners (north-west, north-east, south-east, south-west); `None` without georeference.
    pub corners: Option<[Location; 4]>,
}

/// A rectangle on the map.
#[derive(Debug, Clone)]
pub struct Ground {
    /// In its own coordinate system.
    pub footprint: Footprint,
    /// North-west, north-east, south-east, south-west; `None` without georeference.
    pub corners: Option<[Location; 4]>,
}

/// What is picked.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// One of the scenes.
    Scene(usize),
    /// A grid cell without data.
    Cell(GridCell),
}

/// What is known of the picked place.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The window of the model.
    pub ground: Ground,
    /// All values that could be read there.
    pub observation: Observation,
}

/// Another scene of the same ground, which is compared with what was made: a clear date beside a cloudy one.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The scene's folder.
    pub dir: PathBuf,
    /// What it is called.
    pub name: String,
    /// What was read of it where the run samples that is looked at; `None` while it is being read.
    pub observation: Option<Observation>,
}

/// Middle of a data set, and the side of a square around it in metres.
pub(crate) fn around(collection: &Collection) -> Option<(Location, f64)> {
    let all = collection.cells.keys().map(|cell| cell.bounds());
    let (west, south, east, north) = all.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1), a.2.max(b.2), a.3.max(b.3)))?;
    let middle = Location { lat: (south + north) / 2.0, lon: (west + east) / 2.0 };
    let degree_m = 111_320.0;
    let side_m = ((north - south) * degree_m).max((east - west) * degree_m * middle.lat.to_radians().cos());
    Some((middle, side_m * 1.2))
}
