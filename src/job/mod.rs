//! The one place that runs the chain: scene → encode → sample → decode → realisations.

mod keep;
mod memory;
mod observe;
mod options;
mod place;
mod run;
mod settings;
mod stage;
mod worker;

pub use keep::{Keep, KnownWhere, kept_mask, paste};
pub use memory::enough_memory;
pub use observe::{observe, observe_all};
pub use options::RequestOptions;
pub use place::{Place, PlaceData};
pub use run::run;
pub use settings::{SETTINGS_KEY, Settings};
pub use stage::Stage;
pub use worker::Worker;

use crate::ensemble::Realisation;
use crate::modality::{ClassMap, Location, PostOptions, Raster};
use crate::model::Computing;
use crate::sampler::{Roles, SamplerOptions};
use crate::scene::Observation;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A value set by hand instead of read from the scene (specification H.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetValue {
    /// For `location`.
    Location(Location),
    /// For `date`.
    Date(Date),
    /// One class everywhere, by raster code, for class rasters.
    Class(u8),
    /// A class for each pixel of the extent, for class rasters.
    Painted(ClassMap),
    /// Pixels from a raster file of the extent's size and resolution (larger ones are centre-cropped).
    File(PathBuf),
}

/// One request, the same from the window and the command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Model folder.
    pub model: PathBuf,
    /// Where.
    pub place: Place,
    /// What is given, generated, ignored, in the order of the model's table.
    pub roles: Roles,
    /// Values set by hand, by modality index.
    pub set: BTreeMap<usize, SetValue>,
    /// What is kept of modalities that are generated otherwise, by modality index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keep: BTreeMap<usize, Keep>,
    /// Number of realisations.
    pub samples: usize,
    /// Index of the first realisation (more of the same run can be added later).
    pub first: u64,
    /// Seed.
    pub seed: u64,
    /// Realisations computed together; changes speed and memory, never the numbers' meaning.
    pub batch: usize,
    /// What to compute on.
    #[serde(default)]
    pub computing: Computing,
    /// Sampling switches.
    pub options: SamplerOptions,
    /// Post-processing switches.
    pub post: PostOptions,
}

impl Request {
    /// The same with relative paths of scenes and rasters counted from a folder.
    #[must_use]
    pub fn based(mut self, base: &Path) -> Self {
        let based = |path: &mut PathBuf| *path = base.join(&*path);
        match &mut self.place.data {
            PlaceData::Scene(dir) => based(dir),
            PlaceData::MajorTom { root, .. } => based(root),
            PlaceData::Ground { .. } => {}
        }
        for value in self.set.values_mut() {
            if let SetValue::File(path) = value {
                based(path);
            }
        }
        for keep in self.keep.values_mut() {
            if let KnownWhere::File(path) = &mut keep.known {
                based(path);
            }
        }
        self
    }
}

/// What a running job tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new stage began.
    Stage(Stage),
    /// The observation the job works on: what is given, from which files.
    Observed(Arc<Observation>),
    /// Network evaluations done of all in this job, and an estimate of the time left.
    Progress {
        /// Evaluations done, over all batches.
        done: usize,
        /// Evaluations in total.
        total: usize,
        /// Estimated time left.
        eta: Option<Duration>,
    },
    /// The current data prediction of the first realisation of the batch, decoded for one modality.
    Preview {
        /// Realisation it belongs to.
        index: u64,
        /// Modality.
        modality: usize,
        /// Decoded pixels, physical units.
        raster: Raster,
    },
    /// A realisation is finished.
    Realisation(Arc<Realisation>),
    /// Something people should know, such as that the rest is computed on another device.
    Note(String),
    /// The job ended; `cancelled` tells whether before all realisations were made.
    Finished {
        /// Whether the user stopped it.
        cancelled: bool,
    },
    /// The job failed; realisations already delivered stay valid.
    Failed(String),
}
