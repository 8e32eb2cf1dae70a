//! Products on the matrix unit. A block of the result, 32 rows by 32 columns, is summed over the whole inner dimension without
//! leaving the tiles, and finished while it lies in the innermost cache.

use super::factors::{Beside, Finish, ResultColumns, Rows};
use super::fill::Room;
use super::instructions::Instructions;
use super::matrix_unit::{self, Block, Form, Line, Multiply, SIDE, Sums, TILE};
use super::tile_rows::{TileRows, TileSource, pair_values, step_of, steps_of};
use super::tile_targets::{Addend, NextRows, Target, Values};
use super::tiles::Bounds;
use pulp::NullaryFnOnce;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Bytes of packed rows that are multiplied with one panel after the other: they stay in a core's own cache.
const NEAR: usize = 1408 << 10;
/// Blocks of rows that are multiplied so at most: rows of the result lie on as many pages.
const MOST: usize = 8;

/// A packed factor in tiles.
#[derive(Debug)]
pub(super) struct Tiles {
    form: Form,
    /// Lengths of the pieces of the rows.
    pieces: Vec<usize>,
    steps: usize,
    /// `[panel][step][part][left, right][16 lines]`
    lines: Room<Line>,
    /// What a column's sums are multiplied with: of bytes.
    scales: Vec<f32>,
    multiply: Multiply,
}

/// Values that lie column by column.
struct Columns<'a> {
    values: &'a [f32],
    inner: usize,
    bounds: Bounds,
}

impl Rows for Columns<'_> {
    fn piece(&self, row: usize, piece: usize) -> &[f32] {
        &self.values[row * self.inner + self.bounds.first(piece)..][..self.bounds.length(piece)]
    }
}

impl Tiles {
    /// `pieces` and `value` as in [`Packed::new`](super::product::Packed::new).
    pub(super) fn new(
        form: Form,
        pieces: &[usize],
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
        multiply: Multiply,
    ) -> Self {
        let inner: usize = pieces.iter().sum();
        let values: Vec<f32> = (0..columns * inner).map(|at| value(at % inner, at / inner)).collect();
        Self::of_columns(form, pieces, &values, multiply)
    }

    /// The same of values that lie column by column, `(columns, inner)`.
    pub(super) fn of_columns(form: Form, pieces: &[usize], values: &[f32], multiply: Multiply) -> Self {
        let inner: usize = pieces.iter().sum();
        let (columns, steps) = (values.len() / inner.max(1), steps_of(form, pieces));
        let rows = Columns { values, inner, bounds: Bounds::new(pieces.iter().copied()) };
        let (panels, each) = (columns.div_ceil(SIDE), steps * form.lines());
        let mut lines = Room::new(panels * each);
        let mut scales = vec![0.0; if form == Form::Bytes { panels * SIDE } else { 0 }];
        // As many tasks where there are no scales.
        let mut none = vec![[0.0; 0]; panels];
        let of_panels = scales.chunks_mut(SIDE).chain(none.iter_mut().map(<[f32; 0]>::as_mut_slice)).take(panels);
        let all: Vec<_> = lines.chunks_mut(each.max(1)).zip(of_panels).enumerate().collect();
        all.into_par_iter().for_each(|(panel, (lines, scales))| {
            let mut packed = TileRows::new(form, SIDE, steps);
            packed.pack(&rows, pieces, panel * SIDE, SIDE.min(columns - panel * SIDE));
            packed.turn_into(lines, scales);
        });
        Self { form, pieces: pieces.to_vec(), steps, lines, scales, multiply }
    }

    /// The same of values that lie row by row, each piece's rows by themselves; not in bytes.
    pub(super) fn of_rows<'a>(
        form: Form,
        pieces: &[usize],
        columns: usize,
        part: impl Fn(usize) -> &'a [f32] + Sync,
        multiply: Multiply,
    ) -> Self {
        let (panels, steps) = (columns.div_ceil(SIDE), steps_of(form, pieces));
        let mut lines = Room::new(panels * steps * form.lines());
        lines.par_chunks_mut((steps * form.lines()).max(1)).enumerate().for_each(|(panel, mut lines)| {
            for (piece, length) in pieces.iter().enumerate() {
                let own;
                (own, lines) = lines.split_at_mut(length.div_ceil(form.step()) * form.lines());
                let rows = PanelOfRows { form, rows: part(piece), columns, left: panel * SIDE, lines: own };
                Instructions::here().registers().dispatch(rows);
            }
        });
        Self { form, pieces: pieces.to_vec(), steps, lines, scales: Vec::new(), multiply }
    }

    /// Room for the rows of a product, packed.
    pub(super) fn rows(&self, rows: &impl Rows, first: usize, count: usize) -> TileRows {
        let mut packed = TileRows::new(self.form, count, self.steps);
        packed.pack(rows, &self.pieces, first, count);
        packed
    }

    /// How values are put into the tiles.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// What multiplies.
    pub(super) fn multiply(&self) -> Multiply {
        self.multiply
    }

    /// What a column's sums are multiplied with: of bytes.
    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Blocks of rows that stay near.
    fn near(&self) -> usize {
        (NEAR / (self.steps * self.form.lines() * size_of::<Line>()).max(1)).max(1)
    }

    /// Number of panels.
    fn panels(&self) -> usize {
        self.lines.len() / (self.steps * self.form.lines()).max(1)
    }

    /// Puts the product of rows `first` on, as many as `out` has, into `out`, on this thread.
    pub(super) fn product(
        &self,
        result: &ResultColumns,
        rows: &impl Rows,
        first: usize,
        out: &mut [MaybeUninit<f32>],
        finish: Finish,
        onto: Addend,
    ) {
        let count = out.len() / result.count;
        let each = self.near().min(MOST) * SIDE;
        for (at, out) in out.chunks_mut(each * result.count).enumerate() {
            let at = at * each;
            let packed = self.rows(rows, first + at, each.min(count - at));
            let onto = match onto {
                Addend::These(all) => Addend::These(&all[at * result.count..][..out.len()]),
                other => other,
            };
            let blocks = 0..packed.blocks();
            self.run(&packed, blocks, &mut Values::fresh(result, &self.scales, out, finish, onto));
        }
    }

    /// Puts the product of rows into the lines of the next one's.
    pub(super) fn next_rows(
        &self,
        result: &ResultColumns,
        rows: &[f32],
        lines: &mut [Line],
        form: Form,
        finish: Finish,
    ) {
        let count = rows.len() / result.inner;
        let most = self.near();
        let each = most * result.count.div_ceil(SIDE) * form.lines();
        for (at, lines) in lines.chunks_mut(each).enumerate() {
            let at = at * most * SIDE;
            let own = Beside::new(vec![rows], result.inner);
            let packed = self.rows(&own, at, (most * SIDE).min(count - at));
            let panels = 0..self.panels();
            let target = &mut NextRows { result, scales: &self.scales, lines, form, panels, finish };
            self.run(&packed, 0..packed.blocks(), target);
        }
    }

    /// Multiplies blocks of rows with all panels and hands the sums on.
    pub(super) fn run<S: TileSource>(&self, source: &S, blocks: Range<usize>, target: &mut impl Target) {
        self.run_part(source, blocks, Cut { panels: 0..self.panels(), steps: 0..self.steps }, target);
    }

    /// The same with some panels, over some steps, which are all that the rows have.
    pub(super) fn run_part<S: TileSource>(&self, source: &S, blocks: Range<usize>, cut: Cut, target: &mut impl Target) {
        let _ready = matrix_unit::ready();
        let (mut sums, mut starts): (Sums, _) = ([Line::default(); 2 * SIDE], Vec::new());
        let each = self.steps * self.form.lines();
        let inner = cut.steps.start * self.form.lines()..cut.steps.end * self.form.lines();
        for panel in cut.panels.clone() {
            let lines = &self.lines[panel * each..][inner.clone()];
            for block in blocks.clone() {
                source.starts(block, &mut starts);
                (self.multiply)(Block {
                    form: self.form,
                    rows: source.lines(),
                    place: source.place(),
                    starts: &starts,
                    steps: source.steps(),
                    panel: lines,
                    out: &mut sums,
                    add: false,
                    wide: 2,
                });
                target.take(self.form, [block, panel], &sums, source);
            }
        }
    }
}

/// A part of a factor in tiles.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub panels: Range<usize>,
    /// Of the inner dimension.
    pub steps: Range<usize>,
}

/// A panel's columns of some rows.
struct PanelOfRows<'a> {
    form: Form,
    rows: &'a [f32],
    columns: usize,
    left: usize,
    lines: &'a mut [Line],
}

impl NullaryFnOnce for PanelOfRows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { form, rows, columns, left, lines } = self;
        for (step, lines) in lines.chunks_exact_mut(form.lines()).enumerate() {
            for i in 0..TILE {
                let of = |row: usize| match rows.chunks_exact(columns).nth(row) {
                    Some(row) => step_of(&row[left..]),
                    None => [[0.0; TILE]; 2],
                };
                let first = step * SIDE + i;
                pair_values(form, &mut of(first), &mut of(first + TILE), &mut lines[i..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors::Beside;
    use super::super::fill::as_room;
    use super::super::functions::gelu;
    use super::super::values_of_waves as waves;
    use super::*;

    /// The processor's own unit, where it has one, and what stands for it.
    pub(in super::super) fn units() -> Vec<Multiply> {
        let own = matrix_unit::is_here().then(matrix_unit::own);
        own.into_iter().chain([matrix_unit::emulated as Multiply]).collect()
    }

    /// How far a product may be from the exact one, as a share of the factors' lengths.
    fn bound(form: Form) -> f64 {
        match form {
            Form::Brain => 4e-3,
            Form::Halves => 4e-6,
            Form::Thirds => 2e-7,
            Form::Bytes => 8e-3,
        }
    }

    #[test]
    fn products_are_those_of_the_definition_in_every_form() {
        for (count, width, columns) in [(1, 1, 1), (33, 37, 33), (50, 300, 70), (32, 64, 32), (5, 520, 103)] {
            let (a, weights) = (waves(count * width, 0.7), waves(width * columns, 0.9));
            let (rows, pieces) = (Beside::new(vec![&a], width), Beside::pieces(1, width));
            let result = ResultColumns { inner: width, count: columns, bias: Some(waves(columns, 0.3)) };
            let (bias, onto) = (waves(columns, 0.3), waves(count * columns, 0.2));
            for (form, unit) in Form::ALL.into_iter().flat_map(|form| units().into_iter().map(move |unit| (form, unit)))
            {
                let tiles = Tiles::new(form, &pieces, columns, |k, n| weights[k * columns + n], unit);
                let [mut plain, mut sum, mut active] = [(); 3].map(|()| vec![f32::NAN; count * columns]);
                tiles.product(&result, &rows, 0, as_room(&mut plain), Finish::Bias, Addend::Nothing);
                tiles.product(&result, &rows, 0, as_room(&mut sum), Finish::Bias, Addend::These(&onto));
                tiles.product(&result, &rows, 0, as_room(&mut active), Finish::Gelu, Addend::Nothing);
                for at in 0..count * columns {
                    let (row, column) = (at / columns, at % columns);
                    let (mut exact, mut of_row, mut of_column) = (0.0, 0.0, 0.0);
                    for k in 0..width {
                        let (a, b) = (f64::from(a[row * width + k]), f64::from(weights[k * columns + column]));
                        (exact, of_row, of_column) = (exact + a * b, of_row + a * a, of_column + b * b);
                    }
                    let lengths = f64::sqrt(of_row * of_column);
                    let found = f64::from(plain[at]) - f64::from(bias[column]);
                    assert!(
                        (found - exact).abs() <= bound(form) * lengths + 3e-7,
                        "{form:?}: {found} {exact} {lengths}"
                    );
                    assert!((sum[at] - onto[at] - plain[at]).abs() < 1e-5 * (1.0 + plain[at].abs()));
                    // Where little is left of values, `gelu_near` may stand for it.
                    let near = matches!(form, Form::Brain | Form::Bytes);
                    let bound = if near { 1e-5 * plain[at].abs() + 1e-6 } else { 1e-6 };
                    assert!((active[at] - gelu(plain[at])).abs() < bound);
                }
            }
        }
    }

    #[test]
    fn a_unit_gives_the_bits_of_its_description_for_integers_and_near_ones_for_floats() {
        let (count, width, columns) = (40, 500, 50);
        let (a, weights) = (waves(count * width, 0.37), waves(width * columns, 0.11));
        let result = ResultColumns { inner: width, count: columns, bias: None };
        for form in Form::ALL {
            let products: Vec<Vec<f32>> = units()
                .into_iter()
                .map(|unit| {
                    let pieces = Beside::pieces(1, width);
                    let tiles = Tiles::new(form, &pieces, columns, |k, n| weights[k * columns + n], unit);
                    let mut out = vec![0.0; count * columns];
                    tiles.product(
                        &result,
                        &Beside::new(vec![&a], width),
                        0,
                        as_room(&mut out),
                        Finish::Bias,
                        Addend::Nothing,
                    );
                    out
                })
                .collect();
            let near = |(a, b): (&f32, &f32)| if form == Form::Bytes { a == b } else { (a - b).abs() < 1e-4 };
            assert!(products.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(near)), "{form:?}");
        }
    }

    #[test]
    fn rows_of_the_next_product_are_the_rounded_values() {
        let (count, width, columns) = (37, 64, 96);
        let (a, weights) = (waves(count * width, 0.7), waves(width * columns, 0.9));
        let result = ResultColumns { inner: width, count: columns, bias: Some(waves(columns, 0.3)) };
        for form in [Form::Brain, Form::Halves, Form::Thirds] {
            let tiles = Tiles::new(form, &[width], columns, |k, n| weights[k * columns + n], matrix_unit::emulated);
            let mut values = vec![0.0; count * columns];
            let rows = Beside::new(vec![&a], width);
            tiles.product(&result, &rows, 0, as_room(&mut values), Finish::Bias, Addend::Nothing);
            let [mut next, mut expected] = [(); 2].map(|()| TileRows::new(form, count, 3));
            tiles.next_rows(&result, &a, next.lines_mut(), form, Finish::Bias);
            expected.pack(&Beside::new(vec![&values], columns), &[columns], 0, count);
            for row in 0..count {
                for step in 0..3 {
                    let of = |rows: &TileRows| -> Vec<Line> {
                        rows.step(row / SIDE, step).iter().skip(row % SIDE).step_by(SIDE).copied().collect()
                    };
                    assert_eq!(of(&next), of(&expected));
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let mut a = waves(3 * 40, 0.7);
        a[45] = f32::NAN;
        let result = ResultColumns { inner: 40, count: 8, bias: None };
        for form in Form::ALL {
            let tiles = Tiles::new(form, &[40], 8, |k, n| (k + n) as f32, matrix_unit::emulated);
            let mut out = vec![0.0; 3 * 8];
            tiles.product(&result, &Beside::new(vec![&a], 40), 0, as_room(&mut out), Finish::Bias, Addend::Nothing);
            assert!(out[8..16].iter().all(|v| v.is_nan()) && out[..8].iter().all(|v| v.is_finite()), "{form:?}");
        }
    }
}
