//! What networks get where nothing is known: the one place that decides it.
//!
//! Measurements are filled smoothly, in physical units (so radar in linear power, as several looks would be averaged):
//! means over squares of doubling side take the place of holes that are that large, and are interpolated between the
//! squares' centres. Classes are those of the nearest valid pixel. Valid pixels keep every bit, and rasters without
//! holes are not touched.

use super::{Mask, Modality, Raster};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// Rasters of which more is missing are not filled, share of the pixels.
pub const MOST_MISSING: f64 = 0.5;

/// A raster with its holes filled, valid everywhere.
///
/// # Errors
/// When more than [`MOST_MISSING`] of it is missing.
pub fn filled<'a>(m: &Modality, raster: &'a Raster) -> Result<Cow<'a, Raster>> {
    let Some(valid) = raster.valid() else { return Ok(Cow::Borrowed(raster)) };
    let missing = 1.0 - valid.share();
    if missing > MOST_MISSING {
        return Err(Error::request(format!(
            "{:.0} % of {} in the window is no data; choose another window.",
            missing * 100.0,
            m.name
        )));
    }
    filled_however(m, raster)
}

/// As [`filled`], however much is missing: what is sampled anew is not invented by it. A raster without any valid pixel
/// stays as it is beneath.
///
/// # Errors
/// When a raster's size does not fit its values.
pub fn filled_however<'a>(m: &Modality, raster: &'a Raster) -> Result<Cow<'a, Raster>> {
    let Some(valid) = raster.valid() else { return Ok(Cow::Borrowed(raster)) };
    let source = if m.classes().is_some() { nearest(valid) } else { Vec::new() };
    let mut out = Raster::new(raster.channels, raster.height, raster.width, raster.data.clone())?;
    for channel in 0..raster.channels {
        let values = out.channel_mut(channel);
        if m.classes().is_some() {
            valid.holes().zip(&source).for_each(|(hole, from)| values[hole] = values[*from]);
        } else {
            smooth(values, valid);
        }
    }
    Ok(Cow::Owned(out))
}

/// For each hole, the nearest pixel that is set; of several equally near the most northern, then the most western. A hole
/// itself where nothing is set.
fn nearest(valid: &Mask) -> Vec<usize> {
    let (height, width) = valid.size();
    // By pixel: the nearest row above or below it (or its own) where its column is set.
    let mut rows: Vec<Option<usize>> = vec![None; height * width];
    for column in 0..width {
        let mut above = None;
        for row in 0..height {
            above = if valid.at(row * width + column) { Some(row) } else { above };
            rows[row * width + column] = above;
        }
        let mut below = None;
        for row in (0..height).rev() {
            let pixel = row * width + column;
            below = if valid.at(pixel) { Some(row) } else { below };
            rows[pixel] = match (rows[pixel], below) {
                (Some(above), Some(below)) => Some(if row - above <= below - row { above } else { below }),
                (one, other) => one.or(other),
            };
        }
    }
    let of_hole = |hole: usize| {
        let (row, column) = (hole / width, hole % width);
        // Squared distance and pixel.
        let mut best = (usize::MAX, hole);
        for aside in 0..width {
            if aside * aside > best.0 {
                break;
            }
            for other in [column.checked_sub(aside), Some(column + aside).filter(|c| *c < width)].into_iter().flatten()
            {
                if let Some(near) = rows[row * width + other] {
                    best = best.min((aside * aside + near.abs_diff(row).pow(2), near * width + other));
                }
            }
        }
        best.1
    };
    valid.holes().map(of_hole).collect()
}

/// One resolution of an image with holes.
struct Level {
    height: usize,
    width: usize,
    /// Sum and number of the valid pixels in each square.
    squares: Vec<(f64, f64)>,
}

impl Level {
    /// Squares of twice the side.
    fn coarser(&self) -> Self {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        let mut squares = vec![(0.0, 0.0); height * width];
        for (i, (sum, count)) in self.squares.iter().enumerate() {
            let square = &mut squares[i / self.width / 2 * width + i % self.width / 2];
            *square = (square.0 + sum, square.1 + count);
        }
        Self { height, width, squares }
    }

    /// Means of the squares; of empty ones, interpolated between those of the next coarser level.
    fn means(&self, coarser: &[f64]) -> Vec<f64> {
        let (height, width) = (self.height.div_ceil(2), self.width.div_ceil(2));
        // The two squares of the coarser level beside a centre, and the share of the second.
        let between = |at: usize, side: usize| {
            let centre = ((at as f64 + 0.5) / 2.0 - 0.5).clamp(0.0, (side - 1) as f64);
            let first = centre.floor() as usize;
            (first, (first + 1).min(side - 1), centre - first as f64)
        };
        let mean = |(i, (sum, count)): (usize, &(f64, f64))| {
            if *count > 0.0 {
                return sum / count;
            }
            let (top, bottom, down) = between(i / self.width, height);
            let (left, right, across) = between(i % self.width, width);
            let row = |row: usize| {
                let (a, b) = (coarser[row * width + left], coarser[row * width + right]);
                a + (b - a) * across
            };
            row(top) + (row(bottom) - row(top)) * down
        };
        self.squares.iter().enumerate().map(mean).collect()
    }
}

/// Fills the holes of one channel from its valid pixels.
fn smooth(values: &mut [f32], valid: &Mask) {
    let (height, width) = valid.size();
    let square = |(pixel, v): (usize, &f32)| if valid.at(pixel) { (f64::from(*v), 1.0) } else { (0.0, 0.0) };
    let mut levels = vec![Level { height, width, squares: values.iter().enumerate().map(square).collect() }];
    while let Some(last) = levels.last()
        && last.squares.len() > 1
        && last.squares.iter().any(|(_, count)| *count == 0.0)
    {
        let coarser = last.coarser();
        levels.push(coarser);
    }
    let Some(coarsest) = levels.pop() else { return };
    let mut means: Vec<f64> = coarsest.squares.iter().map(|(sum, count)| sum / count.max(1.0)).collect();
    while let Some(level) = levels.pop() {
        means = level.means(&means);
    }
    valid.holes().for_each(|hole| values[hole] = means[hole] as f32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::ModalityTable;
    use proptest::prelude::*;

    fn of(name: &str) -> Modality {
        let table = ModalityTable::published();
        table.index(name).map(|i| table[i].clone()).expect("modality")
    }

    fn holed(m: &Modality, valid: impl FnMut(usize) -> bool, value: impl FnMut(usize, usize) -> f32) -> Raster {
        let side = m.pixels;
        let raster = Raster::from_fn(m.channels.len(), side, side, value);
        raster.with_valid(&Mask::from_fn(side, side, valid)).expect("mask")
    }

    #[test]
    fn what_has_no_holes_is_the_same_raster() {
        let m = of("DEM");
        let raster = Raster::from_fn(1, m.pixels, m.pixels, |_, pixel| pixel as f32 / 3.0);
        assert!(matches!(filled(&m, &raster), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_slope_goes_on_through_a_hole_without_a_step() {
        let m = of("DEM");
        let n = m.pixels;
        let truth = |pixel: usize| 500.0 + 3.0 * (pixel % n) as f32 + 2.0 * (pixel / n) as f32;
        // A disc of 20 pixels across in the middle.
        let hole = |pixel: usize| (pixel / n).abs_diff(n / 2).pow(2) + (pixel % n).abs_diff(n / 2).pow(2) < 100;
        let raster = holed(&m, |pixel| !hole(pixel), |_, pixel| truth(pixel));
        let out = filled(&m, &raster).expect("filled");
        assert!(out.valid().is_none());
        let worst = (0..n * n).filter(|p| hole(*p)).map(|p| (out.data[p] - truth(p)).abs()).fold(0.0, f32::max);
        // The values differ by 250 m over the window, by 100 m over the hole.
        assert!(worst < 25.0, "{worst}");
        for p in (0..n * n).filter(|p| !hole(*p)) {
            assert_eq!(out.data[p].to_bits(), truth(p).to_bits());
        }
    }

    #[test]
    fn classes_are_those_of_the_nearest_valid_pixel() {
        let m = of("cloud_mask");
        let n = m.pixels;
        // Thick cloud to the west of the middle of a gap of 40 columns, shadow to the east.
        let (from, to) = (60, 100);
        let class = |pixel: usize| if pixel % n < 80 { 1.0 } else { 3.0 };
        let raster = holed(&m, |pixel| !(from..to).contains(&(pixel % n)), |_, pixel| class(pixel));
        let out = filled(&m, &raster).expect("filled");
        assert!((0..n * n).all(|pixel| out.data[pixel] == class(pixel)));
    }

    #[test]
    fn more_than_half_missing_is_refused() {
        let m = of("S2L2A_10m");
        let n = m.pixels;
        let half = |rows: usize| holed(&m, |pixel| pixel / n >= rows, |_, _| 700.0);
        assert!(filled(&m, &half(n / 2)).is_ok_and(|out| out.data.iter().all(|v| *v == 700.0)));
        let refused = filled(&m, &half(n / 2 + 1)).expect_err("refused").to_string();
        assert!(refused.contains("S2L2A_10m") && refused.contains("51 %"), "{refused}");
        assert!(filled(&m, &half(n)).is_err(), "nothing is left");
    }

    proptest! {
        #[test]
        fn fillings_lie_between_the_valid_values(
            values in proptest::collection::vec(-1000.0f32..1000.0, 35),
            valid in proptest::collection::vec(proptest::bool::ANY, 35),
        ) {
            prop_assume!(valid.contains(&true));
            let mask = Mask::from_fn(5, 7, |pixel| valid[pixel]);
            let mut out = values.clone();
            smooth(&mut out, &mask);
            let known: Vec<f32> = (0..35).filter(|p| valid[*p]).map(|p| values[p]).collect();
            let (low, high) = (known.iter().copied().fold(f32::MAX, f32::min), known.iter().copied().fold(f32::MIN, f32::max));
            for pixel in 0..35 {
                if valid[pixel] {
                    prop_assert_eq!(out[pixel].to_bits(), values[pixel].to_bits());
                } else {
                    prop_assert!((low - 1e-2..=high + 1e-2).contains(&out[pixel]));
                }
            }
            // By comparing with every pixel.
            let apart = |a: usize, b: usize| (a / 7).abs_diff(b / 7).pow(2) + (a % 7).abs_diff(b % 7).pow(2);
            for (hole, found) in mask.holes().zip(nearest(&mask)) {
                let least = (0..35).filter(|p| valid[*p]).map(|p| apart(hole, p)).min();
                prop_assert!(valid[found] && Some(apart(hole, found)) == least);
            }
        }
    }
}
