//! Whether a small classifier tells realisations from real windows.

use super::classifier::{Picture, told_apart};
use super::report::Row;
use super::task_input::{TaskInput, rasters, realisations};
use super::windows::{Choice, HeldWindow, clear_share, held_windows};
use crate::error::Result;
use crate::job::SetValue;
use crate::modality::{Raster, Subject};
use crate::train::Use;

/// Windows of a place along either side of it, overlapping where it is small.
const WINDOWS_ALONG_A_SIDE: usize = 3;
/// Windows in all: two hundred tell areas to some hundredths.
const MOST_WINDOWS: usize = 240;

impl TaskInput<'_> {
    /// The finest surface reflectance from radar under a sky said to be clear: one realisation of each window of all
    /// places that were not trained on, beside the real ones; and how the same classifier does where the answer is known.
    pub(super) fn told_apart(&self) -> Result<Vec<Row>> {
        let e = self.evaluation;
        let table = &e.model.manifest.modalities;
        let (Some(&sky), Some(target)) =
            (self.telling_of(&[Subject::Clouds]).first(), self.finest(Subject::SurfaceReflectance))
        else {
            return Ok(Vec::new());
        };
        let radar = self.telling_of(&[Subject::Radar]);
        let needed: Vec<usize> = radar.iter().copied().chain([target]).collect();
        let choice = Choice {
            uses: &[Use::Validation, Use::Calibration, Use::Test],
            along_a_side: WINDOWS_ALONG_A_SIDE,
            overlapping: true,
        };
        let windows: Vec<HeldWindow> = held_windows(e.scenes, table, &e.recipe.data, &choice)?
            .into_iter()
            .filter(|w| w.holds(&needed) && w.image(target).is_some_and(|raster| raster.valid().is_none()))
            .filter(|w| w.image(sky).is_none_or(|mask| clear_share(mask) >= 1.0))
            .collect();
        let every = windows.len().div_ceil(MOST_WINDOWS).max(1);
        let windows: Vec<&HeldWindow> = windows.iter().step_by(every).collect();
        let (mut real, mut drawn) = (Vec::new(), Vec::new());
        for window in &windows {
            let Some(truth) = window.image(target) else { continue };
            let picture = |raster: &Raster| Picture { place: window.scene.clone(), values: raster.data.clone() };
            real.push(picture(truth));
            let clear = [(sky, SetValue::Class(0))];
            let found = realisations(e.model, window, &radar, &[target], &clear, &e.sampling(1), e.cancel)?;
            drawn.extend(rasters(&found, target).take(1).map(picture));
        }
        let (channels, side) = (table[target].channels.len(), table[target].pixels);
        let Some(verdict) = told_apart(&real, &drawn, channels)? else { return Ok(Vec::new()) };
        let blurred: Vec<Picture> =
            real.iter().map(|p| Picture { values: blurred(&p.values, side), ..p.clone() }).collect();
        // Halves of each place's windows.
        let half = |odd: usize| -> Vec<Picture> { real.iter().skip(odd).step_by(2).cloned().collect() };
        let mut row = Row::single(
            format!("{} from {}", table[target].name, self.named(&radar)),
            "told from real windows, area under the curve",
            "",
            verdict.area,
            windows.len(),
        );
        row.interval = verdict.interval;
        let known = [
            ("blurred by one pixel", told_apart(&real, &blurred, channels)?),
            ("real from real", told_apart(&half(0), &half(1), channels)?),
        ];
        row.baselines = known.into_iter().filter_map(|(name, v)| Some((name, v?.area))).collect();
        Ok(vec![row.should("at most 0.85", verdict.area <= 0.85)])
    }
}

/// Each pixel and its eight neighbours, the nearer ones weighing more: a deviation of 0.7 pixels along each side.
fn blurred(values: &[f32], side: usize) -> Vec<f32> {
    const WEIGHTS: [f32; 3] = [0.25, 0.5, 0.25];
    let beside = |at: usize, step: usize| (at + step).saturating_sub(1).min(side - 1);
    let along = |values: &[f32], of: &dyn Fn(usize, usize, usize) -> usize| -> Vec<f32> {
        let one = |k: usize| {
            let (row, column) = (k / side, k % side);
            (0..3).map(|step| WEIGHTS[step] * values[of(row, column, step)]).sum()
        };
        (0..values.len()).map(one).collect()
    };
    let blur = |image: &[f32]| {
        let across = along(image, &|row, column, step| row * side + beside(column, step));
        along(&across, &|row, column, step| beside(row, step) * side + column)
    };
    values.chunks_exact(side * side).flat_map(blur).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blurring_spreads_a_point_and_keeps_the_sum_of_each_channel() {
        let mut values = vec![0.0; 2 * 25];
        values[12] = 16.0;
        let found = blurred(&values, 5);
        assert_eq!([found[12], found[11], found[6]], [4.0, 2.0, 1.0]);
        assert_eq!(found[..25].iter().sum::<f32>(), 16.0);
        assert!(found[25..].iter().all(|v| *v == 0.0));
        assert_eq!(blurred(&[3.0; 9], 3), [3.0; 9]);
    }
}
