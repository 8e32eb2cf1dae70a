//! Rows and columns of matrices that lie in memory row by row.

use super::fill::in_parallel;
use super::instructions::Instructions;
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// Rows and columns that are turned at a time: both ways they stay in the innermost cache.
const BLOCK: usize = 16;
/// Rows whose sums are taken by one task; fixed, so that sums do not depend on the number of threads.
const SUMMED: usize = 256;

/// `(rows, columns)` → `(columns, rows)`.
pub(super) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    let strip = BLOCK * rows;
    in_parallel(values.len(), strip, |task, out| {
        Instructions::here().registers().dispatch(Turn { values, columns, first: task * BLOCK, rows, out });
    })
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
        for top in (0..rows).step_by(BLOCK) {
            let height = BLOCK.min(rows - top);
            if height == BLOCK && own == BLOCK {
                // Of known size: through registers.
                let mut block = [[0.0; BLOCK]; BLOCK];
                for (row, block) in block.iter_mut().enumerate() {
                    if let Some(found) = values[(top + row) * columns + first..].first_chunk::<BLOCK>() {
                        *block = *found;
                    }
                }
                for column in 0..BLOCK {
                    let turned: [f32; BLOCK] = std::array::from_fn(|row| block[row][column]);
                    out[column * rows + top..][..BLOCK].copy_from_slice(&turned);
                }
            } else {
                for column in 0..own {
                    for row in top..top + height {
                        out[column * rows + row] = values[row * columns + first + column];
                    }
                }
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
    let mut all = vec![0.0; columns];
    parts.iter().for_each(|part| all.iter_mut().zip(part).for_each(|(a, b)| *a += b));
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
