//! Where to sample: whose data are taken, and which ground is meant.

use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::ModalityTable;
use crate::scene::{Extent, Scene, SceneOptions, WINDOW_STEP_M, Window};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where to sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Place {
    /// Whose data are taken.
    pub data: PlaceData,
    /// Which ground of it is meant, apart from the size of the network's window.
    pub extent: Extent,
    /// Whether data that are nearly what a modality is (radar as sigma0 where gamma0 is meant) stand in for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stand_ins: bool,
}

/// Whose data are taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceData {
    /// A scene folder, with `scene.json`.
    Scene(PathBuf),
    /// A cell of a folder in the Major TOM layout (specification B.10).
    MajorTom {
        /// The dataset root.
        root: PathBuf,
        /// Cell name, `618U_30L`.
        cell: String,
    },
    /// Bare ground without any data: only location and date can be given.
    Ground {
        /// Name of the place, e.g. its grid cell.
        name: String,
        /// The ground.
        footprint: Footprint,
    },
}

impl Place {
    /// One window of a scene folder.
    pub fn scene(dir: impl Into<PathBuf>, window: Window) -> Self {
        Self { data: PlaceData::Scene(dir.into()), extent: Extent::Window(window), stand_ins: false }
    }

    /// One window on bare ground, in its middle.
    pub fn ground(name: impl Into<String>, footprint: Footprint) -> Self {
        Self { data: PlaceData::Ground { name: name.into(), footprint }, extent: Extent::default(), stand_ins: false }
    }

    /// Its data, opened for a model with this table.
    pub(super) fn open(&self, table: &ModalityTable) -> Result<Opened> {
        self.data.open(&SceneOptions { accept_stand_ins: self.stand_ins, ..SceneOptions::of(table) })
    }

    /// The ground meant, for a model with this table.
    ///
    /// # Errors
    /// When the scene cannot be opened, or the extent does not lie in it.
    pub fn footprint(&self, table: &ModalityTable) -> Result<Footprint> {
        self.open(table)?.footprint(table.window_m(), &self.extent)
    }
}

/// A place whose data are at hand.
#[derive(Debug, Clone)]
pub(super) enum Opened {
    Scene(Box<Scene>),
    Ground { name: String, footprint: Footprint },
}

impl PlaceData {
    /// The one way to its data.
    pub(super) fn open(&self, options: &SceneOptions) -> Result<Opened> {
        Ok(match self {
            Self::Scene(dir) => Opened::Scene(Box::new(Scene::open_with(dir, options)?)),
            Self::MajorTom { root, cell } => Opened::Scene(Box::new(Scene::open_major_tom_with(root, cell, options)?)),
            Self::Ground { name, footprint } => Opened::Ground { name: name.clone(), footprint: footprint.clone() },
        })
    }
}

impl Opened {
    pub(super) fn footprint(&self, window_m: f64, extent: &Extent) -> Result<Footprint> {
        match self {
            Self::Scene(scene) => scene.ground(window_m, extent),
            Self::Ground { name, footprint } => extent
                .within(footprint, window_m, WINDOW_STEP_M)
                .map_err(|error| Error::request(format!("{name}: {error}"))),
        }
    }
}

/// As it stands in files; until version 0.1 places and windows were one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Now {
        data: PlaceData,
        extent: Extent,
        #[serde(default)]
        stand_ins: bool,
    },
    Before(Before),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Before {
    Scene { dir: PathBuf, window: Window },
    MajorTom { root: PathBuf, cell: String, window: Window },
    Ground { name: String, footprint: Footprint },
}

impl From<Written> for Place {
    fn from(written: Written) -> Self {
        match written {
            Written::Now { data, extent, stand_ins } => Self { data, extent, stand_ins },
            Written::Before(Before::Scene { dir, window }) => Self::scene(dir, window),
            Written::Before(Before::MajorTom { root, cell, window }) => {
                let data = PlaceData::MajorTom { root, cell };
                Self { data, extent: Extent::Window(window), stand_ins: false }
            }
            Written::Before(Before::Ground { name, footprint }) => Self::ground(name, footprint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_and_read_and_those_of_earlier_versions_too() {
        let footprint = Footprint { crs: None, left: 0.0, top: 0.0, width_m: 1920.0, height_m: 1920.0 };
        let window = Window::At { east_m: 60.0, south_m: 120.0 };
        let cell = PlaceData::MajorTom { root: "tom".into(), cell: "618U_30L".into() };
        let places = [
            (Place::scene("a", window), r#"{"scene":{"dir":"a","window":{"at":{"east_m":60.0,"south_m":120.0}}}}"#),
            (
                Place { data: cell, extent: Extent::Window(Window::Centre), stand_ins: false },
                r#"{"major_tom":{"root":"tom","cell":"618U_30L","window":"centre"}}"#,
            ),
            (
                Place::ground("618U_30L", footprint),
                r#"{"ground":{"name":"618U_30L","footprint":{"crs":null,"left":0.0,"top":0.0,"width_m":1920.0,"height_m":1920.0}}}"#,
            ),
        ];
        for (place, before) in places {
            assert_eq!(serde_json::from_str::<Place>(before).expect("an earlier version's"), place);
            let text = serde_json::to_string(&place).expect("written");
            assert_eq!(serde_json::from_str::<Place>(&text).expect("read"), place);
        }
        let whole = Place { extent: Extent::Whole, stand_ins: true, ..Place::scene("a", window) };
        let text = serde_json::to_string(&whole).expect("written");
        assert_eq!(serde_json::from_str::<Place>(&text).expect("read"), whole);
    }
}
