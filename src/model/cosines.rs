//! The cosine transform of a whole window.

use rustdct::{DctPlanner, TransformType2And3};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Orthonormal two-dimensional cosine transforms (DCT-II and its inverse) of square images.
///
/// A window is continued by its mirror image, so its border is no edge, as it would be for a Fourier transform.
#[derive(Clone)]
pub struct Cosines {
    plans: BTreeMap<usize, Arc<dyn TransformType2And3<f32>>>,
}

impl std::fmt::Debug for Cosines {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Cosines({:?})", self.plans.keys())
    }
}

impl Cosines {
    /// Transforms for these sides.
    pub fn new(sides: impl IntoIterator<Item = usize>) -> Self {
        let mut planner = DctPlanner::new();
        Self { plans: sides.into_iter().map(|n| (n, planner.plan_dct2(n))).collect() }
    }

    /// Images `(channels, side, side)` → coefficients, in place.
    pub fn forward(&self, images: &mut [f32], side: usize) {
        let Some(plan) = self.plans.get(&side) else { return };
        let (first, others) = scales(side);
        let row = |row: &mut [f32]| {
            plan.process_dct2(row);
            row.iter_mut().enumerate().for_each(|(i, v)| *v *= if i == 0 { first } else { others });
        };
        both_ways(images, side, row);
    }

    /// Coefficients `(channels, side, side)` → images, in place.
    pub fn inverse(&self, coefficients: &mut [f32], side: usize) {
        let Some(plan) = self.plans.get(&side) else { return };
        let (first, others) = scales(side);
        // The library's DCT-III halves the first coefficient and inverts DCT-II up to side/2.
        let scale = 2.0 / side as f32;
        let row = |row: &mut [f32]| {
            row.iter_mut().enumerate().for_each(|(i, v)| *v *= scale / if i == 0 { first } else { others });
            plan.process_dct3(row);
        };
        both_ways(coefficients, side, row);
    }
}

/// What makes the library's transform orthonormal: for the first coefficient, and the others.
fn scales(side: usize) -> (f32, f32) {
    ((1.0 / side as f32).sqrt(), (2.0 / side as f32).sqrt())
}

/// Applies `each` to every row, then to every column.
fn both_ways(images: &mut [f32], side: usize, each: impl Fn(&mut [f32])) {
    for image in images.chunks_exact_mut(side * side) {
        for _ in 0..2 {
            image.chunks_exact_mut(side).for_each(&each);
            for r in 0..side {
                for c in 0..r {
                    image.swap(r * side + c, c * side + r);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * i * 7919) % 1009) as f32 / 500.0 - 1.0).collect()
    }

    #[test]
    fn the_transform_keeps_lengths_and_has_an_inverse() {
        let sides = [1, 16, 32, 48, 96];
        let cosines = Cosines::new(sides);
        for side in sides {
            let image = made_up(2 * side * side);
            let mut work = image.clone();
            cosines.forward(&mut work, side);
            let energy = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            assert!((energy(&work) / energy(&image) - 1.0).abs() < 1e-4, "side {side}");
            cosines.inverse(&mut work, side);
            assert!(work.iter().zip(&image).all(|(a, b)| (a - b).abs() < 1e-4), "side {side}");
        }
    }

    #[test]
    fn a_constant_is_one_coefficient_and_a_cosine_another() {
        let side = 16;
        let cosines = Cosines::new([side]);
        let mut constant = vec![3.0; side * side];
        cosines.forward(&mut constant, side);
        assert!((constant[0] - 48.0).abs() < 1e-3 && constant[1..].iter().all(|v| v.abs() < 1e-3));
        let wave = |c: usize| (std::f32::consts::PI * 5.0 * (c as f32 + 0.5) / side as f32).cos();
        let mut image: Vec<f32> = (0..side * side).map(|i| wave(i % side)).collect();
        cosines.forward(&mut image, side);
        let largest = (0..side * side).max_by(|&a, &b| image[a].abs().total_cmp(&image[b].abs()));
        assert_eq!(largest, Some(5), "row 0, column 5");
    }
}
