//! Reading from disks, which may be slow: folders, places, files that were dropped, map files.

use crate::app::state::place::{Ground, KnownScene, Observed};
use crate::app::work::paint::{Picture, usual};
use crate::basemap::{Archive, LayerId};
use crate::error::Result;
use crate::files::bundled;
use crate::job::{Place, Settings, observe_all};
use crate::modality::{Modality, ModalityTable};
use crate::scene::{Collection, Given, LooseFile, Scene, recognise};
use crate::source::Kept;
use std::path::{Path, PathBuf};

/// What a folder can be.
pub(crate) enum Known {
    /// One place.
    Scene(Box<KnownScene>),
    /// Many cells.
    Collection(Box<Collection>),
}

/// What files that were dropped or typed turned out to be.
pub(crate) enum LookedInto {
    /// One that this program exported, with the settings it holds.
    Settings(PathBuf, Box<Settings>),
    /// Files that may be parts of a scene.
    Files(Vec<Result<LooseFile>>),
}

/// Values of a place with a small picture by modality of the table.
pub(crate) type Pictured = (Observed, Vec<Option<Picture>>);

/// Opens what a folder is.
///
/// # Errors
/// When it is neither a scene nor a data set.
pub(crate) fn folder(dir: &Path) -> Result<Known> {
    let error = match scene(dir) {
        Ok(known) => return Ok(Known::Scene(Box::new(known))),
        Err(error) => error,
    };
    match Collection::find(dir)? {
        Some(collection) => Ok(Known::Collection(Box::new(collection))),
        None => Err(error),
    }
}

/// A scene as the map needs it.
///
/// # Errors
/// When the folder is no scene.
pub(crate) fn scene(dir: &Path) -> Result<KnownScene> {
    let scene = Scene::open(dir)?;
    let corners = scene.footprint().corners().ok();
    Ok(KnownScene { scene, corners })
}

/// All places kept for offline use; one that is damaged is left out.
pub(crate) fn kept_scenes(kept: &Kept) -> Vec<KnownScene> {
    kept.scenes().iter().filter_map(|kept| scene(&kept.dir).ok()).collect()
}

/// Looks into files: one that this program exported holds settings, others may be part of a scene.
pub(crate) fn look_into(paths: &[PathBuf]) -> LookedInto {
    if let [path] = paths
        && let Ok(Some(settings)) = Settings::in_file(path)
    {
        return LookedInto::Settings(path.clone(), Box::new(settings));
    }
    LookedInto::Files(paths.iter().map(|path| recognise(path)).collect())
}

/// Opens a file with map tiles: the bundled one, unless another is named.
///
/// # Errors
/// When it cannot be read, or holds no pictures.
pub(crate) fn map_file(layer: &LayerId) -> Result<Archive> {
    match layer {
        LayerId::File(path) => Archive::open(path),
        _ => bundled("assets/basemap/world.pmtiles").and_then(|path| Archive::open(&path)),
    }
}

/// All that is known at a place.
///
/// # Errors
/// When the place cannot be opened, or its extent does not lie in it.
pub(crate) fn observed_at(place: &Place, table: &ModalityTable) -> Result<Observed> {
    let mut observation = observe_all(table, place)?;
    let footprint = observation.footprint.clone();
    let ground = Ground { corners: footprint.corners().ok(), footprint };
    if ground.corners.is_none() {
        let text = "This scene has no position, so it is not on the map; its pictures are in the gallery.";
        observation.notes.push(text.into());
    }
    Ok(Observed { ground, observation })
}

/// Adds the small pictures.
pub(crate) fn pictured(table: &ModalityTable, observed: Observed) -> Pictured {
    let thumbnail = |(m, given): (&Modality, &Option<Given>)| {
        let raster = given.as_ref()?.value.image()?;
        Some(usual(m, raster))
    };
    let pictures = table.iter().zip(&observed.observation.values).map(thumbnail).collect();
    (observed, pictures)
}
