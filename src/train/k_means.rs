//! Sorts points into kinds.

use super::windows::{below, uniform};
use rand_chacha::ChaCha12Rng;

/// Searches, of which the best is taken.
const STARTS: usize = 8;
/// Rounds of a search.
const ROUNDS: usize = 30;

/// Which of so many kinds each of the weighted points is of, by k-means (begun as in Arthur and Vassilvitskii 2007); some kinds
/// may stay empty.
pub(super) fn k_means(points: &[Vec<f64>], weights: &[f64], kinds: usize, generator: &mut ChaCha12Rng) -> Vec<usize> {
    let mut best = (f64::INFINITY, vec![0; points.len()]);
    for _ in 0..STARTS {
        // Far from each other to begin with.
        let mut centres: Vec<Vec<f64>> =
            points.get(below(generator, points.len().max(1))).cloned().into_iter().collect();
        while !centres.is_empty() && centres.len() < kinds {
            let far: Vec<f64> = points.iter().zip(weights).map(|(p, w)| w * nearest(&centres, p).1).collect();
            let mut at = uniform(generator) * far.iter().sum::<f64>();
            let chosen = far.iter().position(|d| {
                at -= d;
                at < 0.0
            });
            centres.push(points[chosen.unwrap_or(0)].clone());
        }
        let mut labels = vec![0; points.len()];
        for _ in 0..ROUNDS {
            labels = points.iter().map(|p| nearest(&centres, p).0).collect();
            for (k, centre) in centres.iter_mut().enumerate() {
                let own = || points.iter().zip(weights).zip(&labels).filter(|(_, l)| **l == k).map(|(p, _)| p);
                let total: f64 = own().map(|(_, w)| w).sum();
                if total > 0.0 {
                    *centre = (0..centre.len()).map(|d| own().map(|(p, w)| w * p[d]).sum::<f64>() / total).collect();
                }
            }
        }
        let spread = points.iter().zip(weights).map(|(p, w)| w * nearest(&centres, p).1).sum();
        if spread < best.0 {
            best = (spread, labels);
        }
    }
    best.1
}

/// The nearest centre, and its squared distance.
fn nearest(centres: &[Vec<f64>], point: &[f64]) -> (usize, f64) {
    let distance = |c: &Vec<f64>| c.iter().zip(point).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    centres.iter().map(distance).enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn heaps_of_points_are_told_apart() {
        let points: Vec<Vec<f64>> = (0..60).map(|i| vec![f64::from(i % 3) * 5.0 + f64::from(i) * 0.01]).collect();
        let labels = k_means(&points, &[1.0; 60], 3, &mut ChaCha12Rng::seed_from_u64(1));
        for (i, label) in labels.iter().enumerate() {
            assert_eq!(*label, labels[i % 3], "{i}");
        }
        assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2]);
        assert!(k_means(&[], &[], 3, &mut ChaCha12Rng::seed_from_u64(1)).is_empty());
    }
}
