//! Which pixels of an image are known, made up: behind clouds, at the edge of a swath, between stripes, or at points.

use super::windows::below;
use super::windows::uniform;
use crate::modality::Mask;
use rand_chacha::ChaCha12Rng;
use std::f64::consts::TAU;

/// Waves that a cloudy field is made of.
const WAVES: usize = 8;

/// A mask of `side` × `side` pixels; set where an image is known.
pub(super) fn known_pixels(side: usize, generator: &mut ChaCha12Rng) -> Mask {
    let kind = uniform(generator);
    let share = 0.1 + 0.8 * uniform(generator);
    let field: Vec<f64> = if kind < 0.6 {
        // Clouds of all sizes up to that of the window.
        let waves: Vec<[f64; 4]> = (0..WAVES)
            .map(|_| {
                let length = 0.15 * 10f64.powf(uniform(generator));
                let direction = TAU * uniform(generator);
                [direction.cos() / length, direction.sin() / length, uniform(generator), length.powf(0.7)]
            })
            .collect();
        over(side, |x, y| waves.iter().map(|[a, b, at, size]| size * (TAU * (a * x + b * y + at)).sin()).sum())
    } else if kind < 0.75 {
        // The edge of a swath.
        let direction = TAU * uniform(generator);
        over(side, |x, y| x * direction.cos() + y * direction.sin())
    } else if kind < 0.9 {
        // Stripes.
        let (direction, length) = (TAU * uniform(generator), 0.08 + 0.3 * uniform(generator));
        over(side, |x, y| (TAU * (x * direction.cos() + y * direction.sin()) / length).sin())
    } else {
        // Points, and small squares of them.
        let each = 1 + below(generator, 6);
        let blocks = side.div_ceil(each);
        let values: Vec<f64> = (0..blocks * blocks).map(|_| uniform(generator)).collect();
        (0..side * side).map(|i| values[i / side / each * blocks + i % side / each]).collect()
    };
    let mut sorted = field.clone();
    sorted.sort_by(f64::total_cmp);
    let edge = sorted[((share * sorted.len() as f64) as usize).min(sorted.len() - 1)];
    Mask::from_fn(side, side, |pixel| field[pixel] < edge)
}

/// A function of a pixel's place, from 0 to 1 in both directions.
fn over(side: usize, value: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let at = |k: usize| (k as f64 + 0.5) / side as f64;
    (0..side * side).map(|i| value(at(i % side), at(i / side))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn some_is_known_and_some_is_not_and_no_two_masks_are_alike() {
        let mut generator = ChaCha12Rng::seed_from_u64(1);
        let masks: Vec<Mask> = (0..100).map(|_| known_pixels(48, &mut generator)).collect();
        assert!(masks.iter().all(|mask| (0.05..0.95).contains(&mask.share())));
        let shares: Vec<f64> = masks.iter().map(Mask::share).collect();
        assert!(shares.iter().any(|s| *s < 0.25) && shares.iter().any(|s| *s > 0.75));
        assert!(masks.windows(2).all(|two| two[0] != two[1]));
    }
}
