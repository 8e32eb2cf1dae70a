//! Another scene of the same ground, which is compared with what was made: a clear date beside a cloudy one.

use crate::app::state::place::{KnownScene, Reference};
use crate::app::state::session::Session;
use crate::grid::Footprint;
use crate::job::{Place, PlaceData};
use crate::modality::{Raster, Value};
use crate::scene::{Extent, Observation};
use std::path::Path;

impl Session {
    /// Scenes on the map that show all of the ground of the run that is looked at, and are not its own.
    pub fn references(&self) -> impl Iterator<Item = &KnownScene> {
        let run = self.run();
        let own = run.and_then(|run| match &run.request.place.data {
            PlaceData::Scene(dir) => Some(dir.as_path()),
            _ => None,
        });
        let ground = run.map(|run| &run.observed.ground.footprint);
        let fits = move |known: &&KnownScene| {
            ground.is_some_and(|ground| known.scene.footprint().holds(ground)) && own != Some(known.scene.dir())
        };
        self.scenes.iter().filter(fits)
    }

    /// Compares with the scene of this folder, or with none.
    pub fn compare(&mut self, dir: Option<&Path>) {
        let named = |known: &KnownScene| known.scene.name().to_owned();
        let known = dir.and_then(|dir| self.references().find(|known| known.scene.dir() == dir));
        self.reference =
            known.map(|known| Reference { dir: known.scene.dir().to_owned(), name: named(known), observation: None });
    }

    /// What was read of the reference is of another model's modalities: it is read again.
    pub fn forget_reference_values(&mut self) {
        if let Some(reference) = &mut self.reference {
            reference.observation = None;
        }
    }

    /// The ground of the reference that has to be read: that of the run that is looked at, unless it was read. A reference
    /// that does not show it is dropped.
    pub fn reference_to_read(&mut self) -> Option<Place> {
        let ground = self.run()?.observed.ground.footprint.clone();
        let dir = self.reference.as_ref()?.dir.clone();
        if self.reference_of(&ground).is_some() {
            return None;
        }
        if !self.references().any(|known| known.scene.dir() == dir) {
            self.reference = None;
            return None;
        }
        Some(Place { data: PlaceData::Scene(dir), extent: Extent::Rectangle(ground), stand_ins: false })
    }

    fn reference_of(&self, ground: &Footprint) -> Option<&Observation> {
        self.reference.as_ref()?.observation.as_ref().filter(|read| read.footprint == *ground)
    }

    /// What the reference shows of a modality where the run samples that is looked at.
    pub fn reference_raster(&self, modality: usize) -> Option<&Raster> {
        let read = self.reference_of(&self.run()?.observed.ground.footprint)?;
        read.values.get(modality)?.as_ref().map(|given| &given.value).and_then(Value::image)
    }
}
