//! Rows and columns of matrices that lie in memory row by row.

use super::fill::in_parallel;
use super::instructions::Instructions;
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// Rows and columns that are turned at a time: both ways they stay in the innermost cache.
pub(super) const BLOCK: usize = 16;
/// Rows whose sums are taken by one task; fixed, so that sums do not depend on the number of threads.
const SUMMED: usize = 256;

/// `(rows, columns)` → `(columns, rows)`.
pub(super) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    in_parallel(values.len(), BLOCK * rows, |task, out| {
        Instructions::here().registers().dispatch(Turn { values, columns, first: task * BLOCK, rows, out });
    })
}

/// The same on this thread, into `out`.
pub(super) fn transpose(values: &[f32], columns: usize, out: &mut [f32]) {
    let rows = values.len() / columns.max(1);
    for (task, out) in out.chunks_mut((BLOCK * rows).max(1)).enumerate() {
        Instructions::here().registers().dispatch(Turn { values, columns, first: task * BLOCK, rows, out });
    }
}

/// Some columns of a matrix, made to rows.
struct Turn<'a> {
    values: &'a [f32],
    columns: usize,
    first: usize,
    rows: usize,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { values, columns, first, rows, out } = self;
        let own = out.len() / rows;
        let whole = if own == BLOCK { rows / BLOCK * BLOCK } else { 0 };
        for top in (0..whole).step_by(BLOCK) {
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (row, block) in block.iter_mut().enumerate() {
                if let Some(found) = values[(top + row) * columns + first..].first_chunk() {
                    *block = *found;
                }
            }
            turn(&block, out, rows, top);
        }
        for column in 0..own {
            for row in whole..rows {
                out[column * rows + row] = values[row * columns + first + column];
            }
        }
    }
}

/// Writes a block's columns to rows that lie `step` apart, from `at` on. (Loops and not closures, which would not be sure to be
/// compiled for the registers at hand.)
#[inline(always)]
pub(super) fn turn(block: &[[f32; BLOCK]; BLOCK], out: &mut [f32], step: usize, at: usize) {
    for column in 0..BLOCK {
        if let Some(to) = out[column * step + at..].first_chunk_mut::<BLOCK>() {
            for (to, row) in to.iter_mut().zip(block) {
                *to = row[column];
            }
        }
    }
}

/// Sums over the rows.
pub(super) fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = values
        .par_chunks(SUMMED * columns.max(1))
        .map(|rows| {
            let mut sums = vec![0.0; columns];
            Instructions::here().registers().dispatch(Add { rows, sums: &mut sums });
            sums
        })
        .collect();
    added(parts.iter().map(Vec::as_slice), columns)
}

/// The sum of parts of so many values, in their order.
pub(super) fn added<'a>(parts: impl Iterator<Item = &'a [f32]>, length: usize) -> Vec<f32> {
    let mut all = vec![0.0; length];
    parts.for_each(|part| all.iter_mut().zip(part).for_each(|(a, b)| *a += b));
    all
}

struct Add<'a> {
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl NullaryFnOnce for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for row in self.rows.chunks_exact(self.sums.len()) {
            self.sums.iter_mut().zip(row).for_each(|(a, b)| *a += b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::values_of_waves as waves;
    use super::*;

    #[test]
    fn matrices_are_turned_and_summed() {
        for (rows, columns) in [(1, 1), (16, 16), (33, 50), (700, 7), (5, 160)] {
            let values = waves(rows * columns, 0.7);
            let turned = transposed(&values, columns);
            let at = |row: usize, column: usize| values[row * columns + column];
            let expected: Vec<f32> = (0..rows * columns).map(|i| at(i % rows, i / rows)).collect();
            assert_eq!(turned, expected, "{rows} × {columns}");
            for (column, sum) in column_sums(&values, columns).iter().enumerate() {
                let exact: f64 = (0..rows).map(|row| f64::from(at(row, column))).sum();
                assert!((f64::from(*sum) - exact).abs() < 1e-4, "{sum} {exact}");
            }
        }
        assert!(transposed(&[], 4).is_empty() && column_sums(&[], 2) == [0.0, 0.0]);
    }
}
