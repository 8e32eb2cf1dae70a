//! Matrix products with one factor packed beforehand, as the weights of a network are.
//!
//! The other factor is never rearranged as a whole: its rows are read where they lie, in pieces, so that a convolution's
//! neighbourhoods, two tensors side by side, or one head of many need no room of their own; a task copies or rounds the
//! pieces that it is about to multiply. Each entry of the result is summed in an order that
//! depends on the inner dimension alone: a row's values do not depend on how many rows there are or how many threads work.

use super::brain_floats::BrainFloats;
use super::factors::{Finish, PIECE, ResultColumns, Rows};
use super::fill::{as_room, in_parallel, in_parallel_unfilled};
use super::floats::{Floats, Onto};
use super::instructions::Instructions;
use super::integers::Integers;
use super::matrix_unit::{self, Form, SIDE};
use super::rows::transposed;
use super::tile_product::Tiles;
use super::tile_targets::Addend;
use super::tiles::Bounds;
use crate::model::Precision;
use std::mem::MaybeUninit;

/// A factor with fewer rows or columns is no work: images' few channels, latents, the values of a patch. Such layers stay in
/// float32 where others are rounded to bfloat16.
const NARROW: usize = 48;

/// Whether a convolution of so many channels is work for a matrix unit.
pub(super) fn is_wide(inputs: usize, outputs: usize, precision: Precision) -> bool {
    inputs.min(outputs) >= if precision == Precision::F32 { LARGE / 4 } else { SIDE }
}

/// Whether a float32 product is worth a matrix unit's six: below this it stays with fused multiplications, whose bits are those of every
/// other processor, so that small models give the same everywhere.
fn is_large(pieces: &[usize], columns: usize) -> bool {
    pieces.iter().sum::<usize>().min(columns) >= LARGE
}

fn is_narrow(pieces: &[usize], columns: usize) -> bool {
    pieces.iter().sum::<usize>().min(columns) < NARROW
}

/// See [`is_large`]; of a convolution's channels a quarter of it.
const LARGE: usize = 512;

/// Tasks for each thread where the matrix unit multiplies: few, since every task reads all of the packed factor.
const TASKS: usize = 3;

/// Rows that one task works on, at most and at least.
const ROWS: std::ops::RangeInclusive<usize> = 12..=96;

/// The packed factor, `(inner, columns)`, with a bias per column.
#[derive(Debug)]
pub(super) struct Packed {
    values: Values,
    result: ResultColumns,
}

#[derive(Debug)]
enum Values {
    Floats(Floats),
    BrainFloats(BrainFloats),
    Integers(Integers),
    Tiles(Tiles),
}

impl Packed {
    /// Packs `value(k, column)`; `pieces` are the lengths of the pieces of the other factor's rows, none above [`PIECE`].
    /// Half precision is for graphics adapters; here it is float32.
    pub(super) fn new(
        precision: Precision,
        pieces: &[usize],
        columns: usize,
        bias: Option<Vec<f32>>,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        Self::with(Instructions::here(), precision, pieces, columns, bias, value)
    }

    /// The same for layers that rounding to bfloat16 would hurt: where it is asked for they are in split bfloat16 if there is a
    /// matrix unit, which then is as good as float32, and else in float32.
    pub(super) fn sensitive(
        precision: Precision,
        pieces: &[usize],
        columns: usize,
        bias: Option<Vec<f32>>,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        if ![Precision::Bf16, Precision::I8].contains(&precision) {
            return Self::new(precision, pieces, columns, bias, value);
        }
        if Instructions::here() != Instructions::Amx || is_narrow(pieces, columns) {
            let precision = if precision == Precision::I8 { Precision::I16 } else { Precision::F32 };
            return Self::new(precision, pieces, columns, bias, value);
        }
        let values = Values::Tiles(Tiles::new(Form::Halves, pieces, columns, value, matrix_unit::own()));
        Self { values, result: ResultColumns { inner: pieces.iter().sum(), count: columns, bias } }
    }

    /// The same of values that lie row by row, `(inner, columns)`.
    pub(super) fn of_rows(
        precision: Precision,
        pieces: &[usize],
        columns: usize,
        bias: Option<Vec<f32>>,
        values: &[f32],
    ) -> Self {
        let bounds = Bounds::new(pieces.iter().copied());
        let part = |piece: usize| &values[bounds.first(piece) * columns..][..bounds.length(piece) * columns];
        Self::of_pieces(precision, pieces, columns, bias, part)
    }

    /// The same, each piece's rows by themselves.
    pub(super) fn of_pieces<'a>(
        precision: Precision,
        pieces: &[usize],
        columns: usize,
        bias: Option<Vec<f32>>,
        part: impl Fn(usize) -> &'a [f32] + Sync,
    ) -> Self {
        if Instructions::has_unit_for(precision) && !is_narrow(pieces, columns) {
            let values = Values::Tiles(Tiles::of_rows(Form::Brain, pieces, columns, part, matrix_unit::own()));
            return Self { values, result: ResultColumns { inner: pieces.iter().sum(), count: columns, bias } };
        }
        if matches!(precision, Precision::F32 | Precision::F16)
            || precision == Precision::Bf16 && is_narrow(pieces, columns)
        {
            let values = Values::Floats(Floats::of_pieces(Instructions::here(), pieces, columns, part));
            return Self { values, result: ResultColumns { inner: pieces.iter().sum(), count: columns, bias } };
        }
        let parts: Vec<&[f32]> = (0..pieces.len()).map(part).collect();
        let owners: Vec<(usize, usize)> =
            pieces.iter().enumerate().flat_map(|(piece, length)| (0..*length).map(move |k| (piece, k))).collect();
        Self::new(precision, pieces, columns, bias, |k, column| parts[owners[k].0][owners[k].1 * columns + column])
    }

    /// The same of values that lie column by column, `(columns, inner)`.
    pub(super) fn of_columns(
        precision: Precision,
        pieces: &[usize],
        columns: usize,
        bias: Option<Vec<f32>>,
        values: &[f32],
    ) -> Self {
        let inner: usize = pieces.iter().sum();
        if precision == Precision::F32 {
            return Self::of_rows(precision, pieces, columns, bias, &transposed(values, inner));
        }
        if Instructions::has_unit_for(precision) && !is_narrow(pieces, columns) {
            let values = Values::Tiles(Tiles::of_columns(Form::Brain, pieces, values, matrix_unit::own()));
            return Self { values, result: ResultColumns { inner, count: columns, bias } };
        }
        Self::new(precision, pieces, columns, bias, |k, column| values[column * inner + k])
    }

    /// The same for other instructions than the best.
    fn with(
        instructions: Instructions,
        precision: Precision,
        pieces: &[usize],
        columns: usize,
        bias: Option<Vec<f32>>,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        assert!(pieces.iter().all(|&p| p <= PIECE) && bias.as_ref().is_none_or(|b| b.len() == columns));
        let values = match precision {
            // Costs next to nothing, and everything passes through it.
            Precision::Bf16 | Precision::I8 if is_narrow(pieces, columns) => {
                Values::Floats(Floats::new(instructions, pieces, columns, value))
            }
            Precision::F32 if instructions == Instructions::Amx && is_large(pieces, columns) => {
                Values::Tiles(Tiles::new(Form::Thirds, pieces, columns, value, matrix_unit::own()))
            }
            Precision::Bf16 if instructions == Instructions::Amx => {
                Values::Tiles(Tiles::new(Form::Brain, pieces, columns, value, matrix_unit::own()))
            }
            Precision::I8 if instructions == Instructions::Amx => {
                Values::Tiles(Tiles::new(Form::Bytes, pieces, columns, value, matrix_unit::own()))
            }
            Precision::I16 | Precision::I8 => Values::Integers(Integers::new(instructions, pieces, columns, value)),
            Precision::Bf16 => Values::BrainFloats(BrainFloats::new(instructions, pieces, columns, value)),
            Precision::F32 | Precision::F16 => Values::Floats(Floats::new(instructions, pieces, columns, value)),
        };
        Self { values, result: ResultColumns { inner: pieces.iter().sum(), count: columns, bias } }
    }

    /// The factor in tiles of bfloat16 or bytes, where it is in them, and the columns of the result.
    pub(super) fn tiles(&self) -> Option<(&Tiles, &ResultColumns)> {
        match &self.values {
            Values::Tiles(tiles) => Some((tiles, &self.result)),
            _ => None,
        }
    }

    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        self.result.count
    }

    /// Length of the inner dimension.
    pub(super) fn inner(&self) -> usize {
        self.result.inner
    }

    /// The product with `count` rows, `(count, columns)`, on all threads of the pool that calls; added to `onto`, of the same
    /// shape, where that is given.
    #[allow(unsafe_code)]
    pub(super) fn product(&self, rows: &impl Rows, count: usize, finish: Finish, onto: Option<&[f32]>) -> Vec<f32> {
        assert!(onto.is_none_or(|onto| onto.len() == count * self.result.count));
        if let Values::Tiles(tiles) = &self.values {
            let blocks = count.div_ceil(SIDE);
            let each = blocks.div_ceil(TASKS * rayon::current_num_threads()).max(1) * SIDE;
            let product = |task: usize, out: &mut [MaybeUninit<f32>]| {
                let onto = match onto {
                    Some(onto) => Addend::These(&onto[task * each * self.result.count..][..out.len()]),
                    None => Addend::Nothing,
                };
                tiles.product(&self.result, rows, task * each, out, finish, onto);
            };
            let (length, chunk) = (count * self.result.count, each * self.result.count);
            // SAFETY: the product writes every column of every row.
            return unsafe { in_parallel_unfilled(length, chunk, product) };
        }
        let tasks = 4 * rayon::current_num_threads();
        let each = (count.div_ceil(tasks).next_multiple_of(*ROWS.start())).clamp(*ROWS.start(), *ROWS.end());
        in_parallel(count * self.result.count, each * self.result.count, |task, out| {
            let Some(onto) = onto else { return self.product_into(rows, task * each, out, finish) };
            out.copy_from_slice(&onto[task * each * self.result.count..][..out.len()]);
            self.product_onto(rows, task * each, out, finish);
        })
    }

    /// Puts the product into `out`, whatever is there, on this thread.
    pub(super) fn product_into(&self, rows: &impl Rows, first: usize, out: &mut [f32], finish: Finish) {
        match &self.values {
            Values::Tiles(tiles) => tiles.product(&self.result, rows, first, as_room(out), finish, Addend::Nothing),
            Values::Floats(floats) if self.result.inner > 0 => {
                floats.product(&self.result, rows, first, out, finish, Onto::Nothing);
            }
            _ => {
                out.fill(0.0);
                self.product_onto(rows, first, out, finish);
            }
        }
    }

    /// Adds the product on this thread, for as many rows from `first` on as `out` has.
    pub(super) fn product_onto(&self, rows: &impl Rows, first: usize, out: &mut [f32], finish: Finish) {
        match &self.values {
            Values::Floats(floats) => floats.product(&self.result, rows, first, out, finish, Onto::Values),
            Values::BrainFloats(halves) => halves.product_onto(&self.result, rows, first, out, finish),
            Values::Integers(integers) => integers.product_onto(&self.result, rows, first, out, finish),
            Values::Tiles(tiles) => tiles.product(&self.result, rows, first, as_room(out), finish, Addend::There),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors::Beside;
    use super::super::functions::gelu;
    use super::super::values_of_waves as waves;
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        for (count, width, parts, columns) in
            [(1, 1, 1, 1), (7, 5, 1, 3), (13, 40, 2, 33), (50, 300, 1, 70), (5, 520, 2, 1030), (0, 4, 1, 4)]
        {
            let (a, b) = (waves(count * width, 0.7), waves(count * width, 1.3));
            let weights = waves(parts * width * columns, 0.9);
            let bias = waves(columns, 0.3);
            let both: Vec<&[f32]> = [a.as_slice(), &b].into_iter().take(parts).collect();
            let rows = Beside::new(both.clone(), width);
            let pieces = Beside::pieces(parts, width);
            let packed =
                Packed::new(Precision::F32, &pieces, columns, Some(bias.clone()), |k, n| weights[k * columns + n]);
            assert_eq!((packed.columns(), packed.inner()), (columns, parts * width));
            let found = packed.product(&rows, count, Finish::Bias, None);
            let active = packed.product(&rows, count, Finish::Gelu, None);
            let onto = waves(count * columns, 0.2);
            let sum = packed.product(&rows, count, Finish::Bias, Some(&onto));
            assert_eq!(found.len(), count * columns);
            for (at, v) in found.iter().enumerate() {
                let (row, column) = (at / columns, at % columns);
                let exact: f64 = (0..parts * width)
                    .map(|k| {
                        f64::from(both[k / width][row * width + k % width]) * f64::from(weights[k * columns + column])
                    })
                    .sum::<f64>()
                    + f64::from(bias[column]);
                assert!((f64::from(*v) - exact).abs() < 2e-6 * (parts * width) as f64, "{row} {column}: {v} {exact}");
                assert!((active[at] - gelu(*v)).abs() < 1e-6 && (sum[at] - onto[at] - v).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (width, columns) = (700, 129);
        let a = waves(100 * width, 0.37);
        let weights = waves(width * columns, 0.11);
        for precision in [Precision::F32, Precision::I16, Precision::Bf16] {
            let packed =
                Packed::new(precision, &Beside::pieces(1, width), columns, None, |k, n| weights[k * columns + n]);
            let whole = packed.product(&Beside::new(vec![&a], width), 100, Finish::Bias, None);
            for (first, count) in [(0, 1), (17, 1), (40, 29), (99, 1)] {
                let own = &a[first * width..(first + count) * width];
                let part = packed.product(&Beside::new(vec![own], width), count, Finish::Bias, None);
                assert_eq!(
                    part,
                    whole[first * columns..(first + count) * columns],
                    "rows {first} to {}",
                    first + count
                );
            }
        }
    }

    #[test]
    fn integers_are_the_same_on_every_processor() {
        let (count, width, columns) = (13, 300, 70);
        let (a, weights) = (waves(count * width, 0.7), waves(width * columns, 0.9));
        let of = |set| {
            let pieces = Beside::pieces(1, width);
            let packed = Packed::with(set, Precision::I16, &pieces, columns, None, |k, n| weights[k * columns + n]);
            packed.product(&Beside::new(vec![&a], width), count, Finish::Bias, None)
        };
        let here = Instructions::ALL.into_iter().filter(|set| set.is_here());
        let all: Vec<Vec<f32>> = here.map(of).collect();
        // Sums of pieces are floats: with and without fused additions they may differ in the last bits.
        let near = |other: &Vec<f32>| other.iter().zip(&all[0]).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0));
        assert!(all.iter().all(near));
        // Among those with fused additions they do not.
        assert!(all[1..].windows(2).all(|pair| pair[0] == pair[1]));
    }
}
