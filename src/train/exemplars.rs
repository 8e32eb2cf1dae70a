//! Chooses the real windows that a cascade makes pictures of.

use super::recipe::Recipe;
use super::split::Use;
use super::windows::Windows;
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, Subject, Value};
use crate::model::cascade::{Exemplars, Standard};
use crate::model::write_weights;
use crate::parallel;
use std::path::Path;

/// The most windows along a side of one scene: breadth of places is worth more than of one place.
const ALONG: usize = 2;
/// Share of pixels under clouds, or of unknown sky, above which a window is left out.
const CLOUDS: f64 = 0.02;
/// Share of pixels without data above which a modality is.
const HOLES: f64 = 0.001;

/// Whether nothing says that there are clouds over a window.
pub(super) fn is_clear(table: &ModalityTable, values: &[Option<Value>]) -> bool {
    let clouds = table.telling_of(Subject::Clouds).into_iter();
    let mut skies = clouds.filter_map(|i| values[i].as_ref().and_then(Value::image));
    skies.all(|sky| 1.0 - sky.clear_sky().share() < CLOUDS)
}

/// Writes the exemplars of a cascade: clear windows of all scenes to train on, side by side. Says how many.
///
/// # Errors
/// When scenes cannot be read, or the file cannot be written.
pub(super) fn write_exemplars(
    recipe: &Recipe,
    table: &ModalityTable,
    scenes: &Path,
    standards: &[Option<Standard>],
    path: &Path,
) -> Result<(usize, String)> {
    let windows = Windows::open(scenes, table, &recipe.data, Use::Train)?.without_turns();
    let places = windows.side_by_side(ALONG);
    let read = parallel::map(&places, |&(scene, at)| match windows.read(scene, at, None) {
        Ok(values) => Ok(Some(values)),
        Err(Error::File { path, problem }) => {
            tracing::debug!("left out: {}: {problem}", path.display());
            Ok(None)
        }
        Err(other) => Err(other),
    })?;
    let clear = |values: &Vec<Option<Value>>| is_clear(table, values);
    let whole = |value: &Value| value.image().is_none_or(|raster| 1.0 - raster.valid_share() < HOLES);
    let mut chosen: Vec<Vec<Option<Value>>> = read.into_iter().flatten().filter(clear).collect();
    chosen.iter_mut().flatten().for_each(|value| *value = value.take().filter(whole));
    // Of windows without any of these nothing is ever drawn.
    let finest = |subject: Subject| table.finest(subject);
    let drawn = [Subject::SurfaceReflectance, Subject::TopOfAtmosphere, Subject::Radar].map(finest);
    chosen.retain(|values| drawn.into_iter().flatten().any(|i| values[i].is_some()));
    let tensors = Exemplars::tensors(table, standards, &chosen)?;
    Ok((chosen.len(), write_weights(path, &tensors, true)?))
}
