//! Numbers for each pair of a cell of one window and a cell of another: how far apart their surroundings are.
//!
//! They are made row by row and never lie in memory as a whole: a row of the one window beside all of the other.

use crate::model::kernels::Instructions;
use pulp::NullaryFnOnce;

/// Numbers of a register that sums are kept in.
const LANES: usize = 8;

/// What is compared of two windows, `(channel, cell)` each.
pub(super) struct Term<'a> {
    /// Of the window in question.
    pub values: &'a [f32],
    /// What a squared difference counts, as `values`.
    pub weights: &'a [f32],
    /// Of the other window.
    pub other: &'a [f32],
}

/// Memory that many comparisons share.
#[derive(Default)]
pub(super) struct Workshop {
    /// By row of the one, row of the other, column of the one, column of the other: sums along rows.
    across: Vec<f32>,
    block: Vec<f32>,
    row: Vec<f32>,
}

/// Weighted squared distances of all pairs, summed over `radius` cells on every side of both; where some of these lie outside,
/// what lies inside counts for all. `each` gets, by row of the one window, the numbers by row of the other, column of the one,
/// and column of the other.
pub(super) fn distances(
    side: usize,
    radius: usize,
    terms: &[Term],
    workshop: &mut Workshop,
    each: impl FnMut(usize, &mut [f32]),
) {
    Instructions::here().registers().dispatch(Distances { side, radius, terms, workshop, each });
}

struct Distances<'a, F> {
    side: usize,
    radius: usize,
    terms: &'a [Term<'a>],
    workshop: &'a mut Workshop,
    each: F,
}

impl<F: FnMut(usize, &mut [f32])> NullaryFnOnce for Distances<'_, F> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let (side, radius) = (self.side, self.radius);
        let block = side * side;
        let Workshop { across, block: own, row: sums } = self.workshop;
        across.resize(block * block, 0.0);
        own.resize(block, 0.0);
        sums.resize(side * block, 0.0);
        for (at, across) in across.chunks_exact_mut(block).enumerate() {
            own.fill(0.0);
            for term in self.terms {
                add_block(own, side, (at / side, at % side), term);
            }
            along_diagonals(own, across, side, radius);
        }
        let inside = |at: usize, step: usize| (at + step).checked_sub(radius).filter(|at| *at < side);
        let counted = |a: usize, b: usize| 1 + a.min(b).min(radius) + (side - 1 - a).min(side - 1 - b).min(radius);
        let whole = ((2 * radius + 1) * (2 * radius + 1)) as f32;
        let columns: Vec<f32> = (0..block).map(|at| whole / counted(at / side, at % side) as f32).collect();
        for row in 0..side {
            for (other, sums) in sums.chunks_exact_mut(block).enumerate() {
                sums.fill(0.0);
                for step in 0..=2 * radius {
                    if let (Some(a), Some(b)) = (inside(row, step), inside(other, step)) {
                        add(sums, &across[(a * side + b) * block..][..block]);
                    }
                }
                let rows = 1.0 / counted(row, other) as f32;
                sums.iter_mut().zip(&columns).for_each(|(v, columns)| *v *= rows * columns);
            }
            (self.each)(row, sums);
        }
    }
}

#[inline(always)]
fn add(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
}

#[inline(always)]
fn add_squares(sums: &mut [f32; LANES], own: &[f32], value: f32, weight: f32) {
    sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += weight * (value - own) * (value - own));
}

/// Adds the distances of the cells of two rows.
#[inline(always)]
fn add_block(block: &mut [f32], side: usize, (row, other): (usize, usize), term: &Term) {
    let count = side * side;
    for (column, run) in block.chunks_exact_mut(side).enumerate() {
        let cell = row * side + column;
        let channels = term.values.len() / count;
        let mut first = 0;
        // As much of the run as a few registers hold, over all channels.
        while first < side {
            let part = (side - first).min(LANES);
            let mut sums = [0.0f32; LANES];
            for channel in 0..channels {
                let (value, weight) = (term.values[channel * count + cell], term.weights[channel * count + cell]);
                let own = &term.other[channel * count + other * side + first..][..part];
                match <&[f32; LANES]>::try_from(own) {
                    // Of a length that is known when it is compiled.
                    Ok(own) => add_squares(&mut sums, own, value, weight),
                    Err(_) => add_squares(&mut sums, own, value, weight),
                }
            }
            add(&mut run[first..first + part], &sums);
            first += part;
        }
    }
}

/// Sums of a block over columns on either side, of both windows alike.
#[inline(always)]
fn along_diagonals(own: &[f32], sums: &mut [f32], side: usize, radius: usize) {
    for (column, run) in sums.chunks_exact_mut(side).enumerate() {
        run.fill(0.0);
        for step in 0..=2 * radius {
            let Some(source) = (column + step).checked_sub(radius).filter(|at| *at < side) else { continue };
            let source = &own[source * side..(source + 1) * side];
            match step.checked_sub(radius) {
                Some(ahead) => add(&mut run[..side - ahead], &source[ahead..]),
                None => add(&mut run[radius - step..], &source[..side - (radius - step)]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_summed_over_the_surroundings_of_both_cells() {
        let (side, channels) = (10usize, 2usize);
        let count = side * side;
        let numbers = |seed: usize| -> Vec<f32> {
            (0..channels * count).map(|k| ((k * 37 + seed) % 101) as f32 / 25.0).collect()
        };
        let (values, weights, other) = (numbers(1), numbers(7), numbers(29));
        let apart = |a: usize, b: usize| -> f32 {
            (0..channels).map(|c| weights[c * count + a] * (values[c * count + a] - other[c * count + b]).powi(2)).sum()
        };
        for radius in [0usize, 1, 2, 4] {
            let mut rows = 0;
            let mut workshop = Workshop::default();
            // Two terms count as their sum.
            let term = || Term { values: &values, weights: &weights, other: &other };
            distances(side, radius, &[term(), term()], &mut workshop, |row, sums| {
                rows += 1;
                for (at, sum) in sums.iter().enumerate().step_by(7) {
                    let place = [row, at / count, at / side % side, at % side];
                    let (mut expected, mut known) = (0.0, 0);
                    let reach = radius as isize;
                    for down in -reach..=reach {
                        for across in -reach..=reach {
                            let moved = |v: usize, by: isize| v.checked_add_signed(by).filter(|v| *v < side);
                            let [row, other] = [moved(place[0], down), moved(place[1], down)];
                            let [column, beside] = [moved(place[2], across), moved(place[3], across)];
                            if let (Some(row), Some(other), Some(column), Some(beside)) = (row, other, column, beside) {
                                expected += 2.0 * apart(row * side + column, other * side + beside);
                                known += 1;
                            }
                        }
                    }
                    expected *= ((2 * radius + 1) * (2 * radius + 1)) as f32 / known as f32;
                    assert!((sum - expected).abs() < 1e-4 * expected.abs() + 1e-4, "{place:?}: {sum} for {expected}");
                }
            });
            assert_eq!(rows, side);
        }
    }
}
