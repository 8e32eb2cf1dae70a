//! What lies where an image was hidden: answers from its visible pixels alone, and how well any answer fits.

use super::metrics::Errors;
use crate::modality::{Mask, Raster};
use nalgebra::{DMatrix, DVector};

/// Visible pixels that an interpolation listens to.
const NEIGHBOURS: usize = 12;

/// Mean of the visible pixels of each channel, everywhere.
pub(super) fn flat(image: &Raster, visible: &Mask) -> Raster {
    let mean = |channel: usize| {
        let values = image.channel(channel).iter().enumerate().filter(|(pixel, _)| visible.at(*pixel));
        values.map(|(_, v)| f64::from(*v)).sum::<f64>() / visible.count().max(1) as f64
    };
    let means: Vec<f32> = (0..image.channels).map(|channel| mean(channel) as f32).collect();
    Raster::from_fn(image.channels, image.height, image.width, |channel, pixel| {
        if visible.at(pixel) { image.channel(channel)[pixel] } else { means[channel] }
    })
}

/// The nearest visible pixels weighted by the inverse of their squared distance.
pub(super) fn inverse_distance(image: &Raster, visible: &Mask) -> Raster {
    let (height, width) = (image.height as isize, image.width as isize);
    let mut out = image.clone();
    let pixels = image.height * image.width;
    for hole in visible.holes() {
        let (row, column) = (hole as isize / width, hole as isize % width);
        let mut near: Vec<(f64, usize)> = Vec::new();
        // Squares of growing size; one more ring once enough are found, for corners are further than sides.
        let mut last = isize::MAX;
        for ring in 1..height.max(width) {
            if ring > last {
                break;
            }
            for dy in -ring..=ring {
                let step = if dy.abs() == ring { 1 } else { 2 * ring };
                for dx in (-ring..=ring).step_by(step as usize) {
                    let (y, x) = (row + dy, column + dx);
                    let inside = (0..height).contains(&y) && (0..width).contains(&x);
                    let other = (y * width + x) as usize;
                    if inside && visible.at(other) {
                        near.push(((dy * dy + dx * dx) as f64, other));
                    }
                }
            }
            if near.len() >= NEIGHBOURS && last == isize::MAX {
                last = (ring as f64 * 2f64.sqrt()).ceil() as isize;
            }
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(NEIGHBOURS);
        let weights: f64 = near.iter().map(|(square, _)| 1.0 / square).sum();
        for channel in 0..image.channels {
            let values = image.channel(channel);
            let sum: f64 = near.iter().map(|(square, other)| f64::from(values[*other]) / square).sum();
            out.data[channel * pixels + hole] = (sum / weights) as f32;
        }
    }
    out
}

/// A linear regression of each channel on some images of the same size, fitted to the visible pixels.
pub(super) fn regression(image: &Raster, visible: &Mask, from: &[&Raster]) -> Option<Raster> {
    let pixels = image.height * image.width;
    let features: Vec<&[f32]> = from.iter().flat_map(|r| (0..r.channels).map(|c| r.channel(c))).collect();
    let row = |pixel: usize| std::iter::once(1.0).chain(features.iter().map(move |f| f64::from(f[pixel])));
    let seen: Vec<usize> = (0..pixels).filter(|pixel| visible.at(*pixel)).collect();
    let columns = features.len() + 1;
    let x = DMatrix::from_row_iterator(seen.len(), columns, seen.iter().flat_map(|pixel| row(*pixel)));
    let square = x.tr_mul(&x) + DMatrix::identity(columns, columns) * 1e-6;
    let inverse = square.try_inverse()?;
    let mut out = image.clone();
    for channel in 0..image.channels {
        let y = DVector::from_iterator(seen.len(), seen.iter().map(|pixel| f64::from(image.channel(channel)[*pixel])));
        let weights = &inverse * x.tr_mul(&y);
        for hole in visible.holes() {
            out.data[channel * pixels + hole] = row(hole).zip(weights.iter()).map(|(x, w)| x * w).sum::<f64>() as f32;
        }
    }
    Some(out)
}

/// Fair CRPS of an ensemble at one value: mean distance to it, less half the mean distance between different members.
pub(super) fn fair_crps(ensemble: &mut [f64], truth: f64) -> f64 {
    let n = ensemble.len() as f64;
    let error = ensemble.iter().map(|v| (v - truth).abs()).sum::<f64>() / n;
    if ensemble.len() < 2 {
        return error;
    }
    ensemble.sort_by(f64::total_cmp);
    // Each value counts as often as others lie below it, less those above.
    let apart: f64 = ensemble.iter().enumerate().map(|(i, v)| v * (2.0 * i as f64 + 1.0 - n)).sum();
    error - apart / (n * (n - 1.0))
}

/// Errors of an answer, by channel, at some pixels.
pub(super) fn errors(truth: &Raster, answer: &Raster, at: &Mask) -> Vec<Errors> {
    let of = |channel: usize| {
        let mut errors = Errors::default();
        for pixel in (0..truth.height * truth.width).filter(|pixel| at.at(*pixel)) {
            errors.add(&[truth.channel(channel)[pixel]], &[answer.channel(channel)[pixel]]);
        }
        errors
    };
    (0..truth.channels).map(of).collect()
}

/// Mean step between neighbours of which one lies in a mask and the other not, and between neighbours in a third one:
/// sums and numbers.
pub(super) fn steps(image: &Raster, channel: usize, edge_of: &Mask, inside: &Mask) -> [(f64, usize); 2] {
    let values = image.channel(channel);
    let mut found = [(0.0, 0); 2];
    for pixel in 0..image.height * image.width {
        let right = (pixel % image.width + 1 < image.width).then_some(pixel + 1);
        let below = (pixel + image.width < values.len()).then_some(pixel + image.width);
        for other in right.into_iter().chain(below) {
            let step = f64::from((values[pixel] - values[other]).abs());
            for (k, counts) in
                [edge_of.at(pixel) != edge_of.at(other), inside.at(pixel) && inside.at(other)].into_iter().enumerate()
            {
                if counts {
                    found[k] = (found[k].0 + step, found[k].1 + 1);
                }
            }
        }
    }
    found
}

/// Mean square of how far pixels of a mask differ from the mean of their four neighbours, all of them in it: power of what
/// is finer than about four pixels.
pub(super) fn fine_power(image: &Raster, channel: usize, inside: &Mask) -> Option<f64> {
    let (values, width) = (image.channel(channel), image.width);
    let (mut sum, mut count) = (0.0, 0);
    for pixel in width..values.len().saturating_sub(width) {
        let around = [pixel - width, pixel + width, pixel.wrapping_sub(1), pixel + 1];
        if pixel % width == 0
            || pixel % width == width - 1
            || !inside.at(pixel)
            || !around.iter().all(|p| inside.at(*p))
        {
            continue;
        }
        let mean = around.iter().map(|p| f64::from(values[*p])).sum::<f64>() / 4.0;
        (sum, count) = (sum + (f64::from(values[pixel]) - mean).powi(2), count + 1);
    }
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(n: usize) -> Raster {
        Raster::from_fn(2, n, n, |c, pixel| (pixel % n) as f32 * 0.01 + c as f32)
    }

    #[test]
    fn hidden_pixels_are_filled_from_visible_ones_alone() {
        let image = ramp(20);
        let visible = Mask::from_fn(20, 20, |pixel| !(8..12).contains(&(pixel % 20)));
        let mut blind = image.clone();
        let hidden: Vec<usize> = visible.holes().collect();
        for c in 0..2 {
            hidden.iter().for_each(|pixel| blind.channel_mut(c)[*pixel] = 1e9);
        }
        let near = |answer: &Raster, most: f64| {
            let worst = errors(&image, answer, &Mask::from_fn(20, 20, |p| !visible.at(p)))
                .iter()
                .map(Errors::mae)
                .fold(0.0, f64::max);
            assert!(worst < most, "{worst}");
        };
        near(&inverse_distance(&blind, &visible), 0.014);
        near(&flat(&blind, &visible), 0.02);
        let radar = Raster::from_fn(1, 20, 20, |_, pixel| 3.0 - (pixel % 20) as f32 * 0.5);
        near(&regression(&blind, &visible, &[&radar]).expect("fitted"), 1e-4);
    }

    #[test]
    fn the_fair_score_of_an_ensemble_is_that_of_the_formula() {
        // Mean distance 1.5 and 0.5; pairs are 1, 2 and 1 apart.
        assert!((fair_crps(&mut [3.0, 1.0, 2.0], 2.0) - (2.0 / 3.0 - (1.0 + 2.0 + 1.0) / 3.0 / 2.0)).abs() < 1e-12);
        assert_eq!(fair_crps(&mut [3.0], 1.0), 2.0);
        assert!(fair_crps(&mut [1.0, 1.0], 1.0).abs() < 1e-12);
    }

    #[test]
    fn steps_and_fine_power_are_measured_where_they_are_meant() {
        let left = Mask::from_fn(20, 20, |pixel| pixel % 20 < 10);
        let right = Mask::from_fn(20, 20, |pixel| pixel % 20 >= 10);
        let image =
            Raster::from_fn(1, 20, 20, |_, pixel| if pixel % 20 < 10 { 0.0 } else { 1.0 + (pixel % 2) as f32 * 0.1 });
        let [(edge, edges), (inside, pairs)] = steps(&image, 0, &left, &right);
        assert_eq!((edges, pairs), (20, 20 * 9 + 19 * 10));
        assert!((edge / 20.0 - 1.0).abs() < 1e-6 && (inside - 18.0).abs() < 1e-3);
        assert_eq!(fine_power(&image, 0, &left), Some(0.0));
        assert!((fine_power(&image, 0, &right).expect("pixels") - 0.0025).abs() < 1e-5);
        assert_eq!(fine_power(&image, 0, &Mask::from_fn(20, 20, |_| false)), None);
    }
}
