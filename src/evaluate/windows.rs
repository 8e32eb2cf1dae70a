//! Windows of places that were never trained on, and what is known about them.

use crate::error::{Error, Result};
use crate::files::folders;
use crate::grid::Footprint;
use crate::modality::{ModalityTable, Raster, Value};
use crate::scene::{Observation, Remarks, Scene, SceneOptions, WINDOW_STEP_M, Window};
use crate::train::{DataRecipe, Use};
use std::path::{Path, PathBuf};

/// One window of a scene with everything the scene holds there.
#[derive(Debug, Clone)]
pub struct HeldWindow {
    /// Scene folder.
    pub dir: PathBuf,
    /// Name of the scene.
    pub scene: String,
    /// Which window.
    pub window: Window,
    /// The ground it covers.
    pub ground: Footprint,
    /// By modality, physical units.
    pub truth: Vec<Option<Value>>,
}

/// Share of a cloud mask that is clear; what is not known is not.
pub(super) fn clear_share(sky: &Raster) -> f64 {
    sky.clear_sky().count() as f64 / (sky.width * sky.height).max(1) as f64
}

impl HeldWindow {
    /// Reads a window with these modalities; `None` where it cannot be read or is not fit to be measured at. What is to be
    /// said of it is logged.
    ///
    /// # Errors
    /// When the window does not lie in the scene.
    pub(super) fn read(
        dir: &Path,
        scene: &Scene,
        table: &ModalityTable,
        window: Window,
        available: &[usize],
        remarks: &Remarks,
        fit: impl FnOnce(&Observation) -> bool,
    ) -> Result<Option<Self>> {
        let ground = scene.window(table.window_m(), window)?;
        let read = || {
            let observation = scene.read(table, &ground, available)?;
            remarks.tell(scene.name(), &observation);
            fit(&observation).then(|| observation.truth(table)).transpose()
        };
        let truth = read().unwrap_or_else(|error| {
            tracing::warn!("a window of {} is left out: {error}", scene.name());
            None
        });
        Ok(truth.map(|truth| Self { dir: dir.to_path_buf(), scene: scene.name().to_owned(), window, ground, truth }))
    }

    /// Whether it holds all these modalities.
    pub fn holds(&self, modalities: &[usize]) -> bool {
        modalities.iter().all(|&i| self.truth[i].is_some())
    }

    /// The pixels of a modality.
    pub fn image(&self, modality: usize) -> Option<&Raster> {
        self.truth[modality].as_ref()?.image()
    }
}

/// Which windows are meant.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// What their scenes are for.
    pub uses: &'a [Use],
    /// The most of them along a side of a scene, as far apart as they can be.
    pub along_a_side: usize,
    /// Whether they may show the same ground.
    pub overlapping: bool,
}

impl Choice<'_> {
    /// Windows that figures come from: none shows the ground of another.
    pub const fn of_tests(along_a_side: usize) -> Self {
        Self { uses: &[Use::Test], along_a_side, overlapping: false }
    }
}

/// A scene; where it cannot be opened, the log says so.
pub(super) fn opened(dir: &Path, options: &SceneOptions) -> Option<Scene> {
    Scene::open_with(dir, options).inspect_err(|error| tracing::warn!("left out: {error}")).ok()
}

/// These windows of all scenes of a folder.
///
/// # Errors
/// When the folder cannot be read or no such scene holds a window.
pub fn held_windows(
    dir: &Path,
    table: &ModalityTable,
    recipe: &DataRecipe,
    choice: &Choice,
) -> Result<Vec<HeldWindow>> {
    let (mut windows, remarks) = (Vec::new(), Remarks::default());
    for dir in folders(dir)? {
        let options = SceneOptions { accept_stand_ins: recipe.accept_grd_as_rtc, ..SceneOptions::of(table) };
        let Some(scene) = opened(&dir, &options) else { continue };
        if !choice.uses.iter().any(|purpose| recipe.is_for(scene.name(), *purpose)) {
            continue;
        }
        let extent = scene.footprint();
        let step = WINDOW_STEP_M;
        let play = [extent.width_m, extent.height_m].map(|s| ((s - table.window_m() + 1e-3) / step).floor());
        let available = scene.available(table);
        if play.iter().any(|p| *p < 0.0) || available.is_empty() {
            continue;
        }
        let apart = if choice.overlapping { step } else { table.window_m() };
        let count = |p: f64| ((p * step / apart).floor() as usize + 1).min(choice.along_a_side);
        let [across, down] = play.map(count);
        let at = |k: usize, n: usize, p: f64| {
            if n < 2 { (p / 2.0).floor() } else { (p * k as f64 / (n - 1) as f64).floor() }
        };
        for k in 0..across * down {
            let window = Window::At {
                east_m: at(k % across, across, play[0]) * step,
                south_m: at(k / across, down, play[1]) * step,
            };
            // A window mostly without data of something is none to measure at.
            let fit = |observation: &Observation| {
                (0..table.len()).all(|i| observation.mostly_missing(&table[i], i).is_none())
            };
            windows.extend(HeldWindow::read(&dir, &scene, table, window, &available, &remarks, fit)?);
        }
    }
    if windows.is_empty() {
        return Err(Error::file(dir, "No held-out scene of the recipe lies here"));
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Mask;

    #[test]
    fn a_sky_that_is_not_known_is_not_clear() {
        let clear = Raster::constant(1, 4, 4, 0.0);
        assert_eq!(clear_share(&clear), 1.0);
        // What lies beneath a hole looks like the code of a clear sky.
        let holed = clear.clone().with_valid(&Mask::from_fn(4, 4, |pixel| pixel >= 4)).expect("mask");
        assert_eq!(clear_share(&holed), 0.75);
        let unknown = clear.with_valid(&Mask::from_fn(4, 4, |_| false)).expect("mask");
        assert_eq!(clear_share(&unknown), 0.0);
    }
}
