//! Matrix products with one factor packed beforehand, as the weights of a network are.
//!
//! The other factor is never copied: its rows are read where they lie, in pieces, so that a convolution's neighbourhoods,
//! two tensors side by side, or one head of many need no rearranging. Each entry of the result is summed in an order that
//! depends on the inner dimension alone: a row's values do not depend on how many rows there are or how many threads work.

use super::steps::gelu;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use std::mem::MaybeUninit;

/// Longest piece of the inner dimension that is multiplied at a time: a panel of packed values of this length stays in a
/// core's innermost cache.
pub const PIECE: usize = 256;
/// Columns of the result that one task keeps at hand.
const COLUMNS: usize = 512;
/// Rows that one task works on, at most and at least.
const ROWS: std::ops::RangeInclusive<usize> = 12..=96;

/// The factor that is read in place.
pub trait Rows: Sync {
    /// Piece number `piece` of a row, as long as the packed factor's piece.
    fn piece(&self, row: usize, piece: usize) -> &[f32];
}

/// Rows of one or several tensors side by side, each contiguous with `width` features.
pub struct Beside<'a> {
    parts: Vec<&'a [f32]>,
    width: usize,
}

impl<'a> Beside<'a> {
    /// The same number of rows in each part.
    pub fn new(parts: Vec<&'a [f32]>, width: usize) -> Self {
        Self { parts, width }
    }

    /// Lengths of the pieces of `parts` parts with `width` features.
    pub fn pieces(parts: usize, width: usize) -> Vec<usize> {
        (0..parts).flat_map(|_| (0..width).step_by(PIECE).map(move |start| PIECE.min(width - start))).collect()
    }
}

impl Rows for Beside<'_> {
    #[inline]
    fn piece(&self, row: usize, piece: usize) -> &[f32] {
        let each = self.width.div_ceil(PIECE);
        let (part, start) = (piece / each, piece % each * PIECE);
        &self.parts[part][row * self.width + start..row * self.width + self.width.min(start + PIECE)]
    }
}

/// What happens to a sum before it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finish {
    /// The bias is added, where there is one.
    Bias,
    /// So it is, and then comes the exact GELU.
    Gelu,
}

/// The packed factor, `(inner, columns)`, with a bias per column.
///
/// Values lie as `[piece][panel][k in piece][column in panel]`, panels as wide as the processor's registers want them.
#[derive(Debug)]
pub struct Packed {
    data: Vec<f32>,
    /// Values before the first: vector loads do not cross cache lines then.
    start: usize,
    /// First k of each piece, and the inner dimension.
    bounds: Vec<usize>,
    columns: usize,
    width: usize,
    bias: Option<Vec<f32>>,
}

impl Packed {
    /// Packs `value(k, column)`; `pieces` are the lengths of the pieces of the other factor's rows, none above [`PIECE`].
    pub fn new(
        pieces: &[usize],
        columns: usize,
        bias: Option<Vec<f32>>,
        value: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        const LINE: usize = 16;
        assert!(pieces.iter().all(|&p| p <= PIECE) && bias.as_ref().is_none_or(|b| b.len() == columns));
        let bounds: Vec<usize> = std::iter::once(0)
            .chain(pieces.iter().scan(0, |sum, p| {
                *sum += p;
                Some(*sum)
            }))
            .collect();
        let width = Arch::new().dispatch(PanelWidth);
        let panels = columns.div_ceil(width);
        let inner = bounds[pieces.len()];
        let mut data = vec![0.0; inner * panels * width + LINE];
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let mut rest = &mut data[start..];
        for (&first, &length) in bounds.iter().zip(pieces) {
            for panel in 0..panels {
                let own;
                (own, rest) = rest.split_at_mut(length * width);
                let filled = width.min(columns - panel * width);
                for (k, row) in own.chunks_exact_mut(width).enumerate() {
                    for (column, v) in row[..filled].iter_mut().enumerate() {
                        *v = value(first + k, panel * width + column);
                    }
                }
            }
        }
        Self { data, start, bounds, columns, width, bias }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Length of the inner dimension.
    pub fn inner(&self) -> usize {
        self.bounds[self.bounds.len() - 1]
    }

    fn panel(&self, piece: usize, panel: usize) -> &[f32] {
        let (first, end) = (self.bounds[piece], self.bounds[piece + 1]);
        let at = self.start + (first * self.columns.div_ceil(self.width) + panel * (end - first)) * self.width;
        &self.data[at..at + (end - first) * self.width]
    }

    /// The product with `count` rows, `(count, columns)`, on all threads of the pool that calls; added to `onto`, of the same
    /// shape, where that is given.
    pub fn product(&self, rows: &impl Rows, count: usize, finish: Finish, onto: Option<&[f32]>) -> Vec<f32> {
        assert!(onto.is_none_or(|onto| onto.len() == count * self.columns));
        let tasks = 4 * rayon::current_num_threads();
        let each = (count.div_ceil(tasks).next_multiple_of(*ROWS.start())).clamp(*ROWS.start(), *ROWS.end());
        in_parallel(count * self.columns, each * self.columns, |task, out| {
            if let Some(onto) = onto {
                out.copy_from_slice(&onto[task * each * self.columns..][..out.len()]);
            }
            self.product_onto(rows, task * each, out, finish);
        })
    }

    /// Adds the product on this thread, for as many rows from `first` on as `out` has.
    pub fn product_onto(&self, rows: &impl Rows, first: usize, out: &mut [f32], finish: Finish) {
        Arch::new().dispatch(Task { packed: self, rows, first, out, finish });
    }
}

/// A vector of `length` values, made by tasks that fill `chunk` of them each (the last one what is left). A task finds
/// zeros.
#[allow(unsafe_code)]
pub fn in_parallel(length: usize, chunk: usize, task: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut all: Vec<f32> = Vec::with_capacity(length);
    let room = &mut all.spare_capacity_mut()[..length];
    room.par_chunks_mut(chunk.max(1)).enumerate().for_each(|(i, room)| {
        // Filled here and not at once: clearing megabytes on one thread costs as much as a layer norm.
        room.fill(MaybeUninit::new(0.0));
        // SAFETY: every value of this chunk was just written.
        task(i, unsafe { room.assume_init_mut() });
    });
    // SAFETY: the chunks cover `length` values, and each chunk was filled. A panic in a task leaves the length at 0.
    unsafe { all.set_len(length) };
    all
}

/// How wide a panel is on this processor.
struct PanelWidth;

impl WithSimd for PanelWidth {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        let (_, vectors) = tile_of::<S>();
        vectors * S::F32_LANES
    }
}

/// Rows and vectors of the tile that is held in registers.
#[inline(always)]
fn tile_of<S: Simd>() -> (usize, usize) {
    match S::F32_LANES {
        16 => (12, 2),
        8 => (6, 2),
        4 => (6, 4),
        _ => (4, 4),
    }
}

/// Some rows of a product.
struct Task<'a, R> {
    packed: &'a Packed,
    rows: &'a R,
    first: usize,
    out: &'a mut [f32],
    finish: Finish,
}

impl<R: Rows> WithSimd for Task<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_of::<S>() {
            (12, 2) => self.run::<S, 12, 2>(simd),
            (6, 2) => self.run::<S, 6, 2>(simd),
            (6, 4) => self.run::<S, 6, 4>(simd),
            _ => self.run::<S, 4, 4>(simd),
        }
    }
}

impl<R: Rows> Task<'_, R> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const V: usize>(self, simd: S) {
        let Packed { columns, width, bounds, bias, .. } = self.packed;
        let (columns, width) = (*columns, *width);
        let count = self.out.len() / columns;
        let step = COLUMNS.next_multiple_of(width);
        let mut pieces: Vec<&[f32]> = Vec::with_capacity(count + M);
        for left in (0..columns).step_by(step) {
            let right = columns.min(left + step);
            for piece in 0..bounds.len() - 1 {
                // Where rows lie is found once for all panels. Rows beyond the last repeat it; what they give is not stored.
                pieces.clear();
                pieces.extend(
                    (0..count.next_multiple_of(M)).map(|row| self.rows.piece(self.first + row.min(count - 1), piece)),
                );
                let (blocks, _) = pieces.as_chunks::<M>();
                for panel in left / width..right.div_ceil(width) {
                    let weights = self.packed.panel(piece, panel);
                    let across = panel * width..right.min((panel + 1) * width);
                    for (block, a) in blocks.iter().enumerate() {
                        let out = &mut self.out[block * M * columns..];
                        let mut sums = [[simd.splat_f32s(0.0); V]; M];
                        for (sums, row) in sums.iter_mut().zip(out.chunks_exact(columns)) {
                            load(simd, &row[across.clone()], sums);
                        }
                        let sums = tile::<S, M, V>(simd, *a, weights, sums);
                        for (sums, row) in sums.iter().zip(out.chunks_exact_mut(columns)) {
                            store(simd, &mut row[across.clone()], sums);
                        }
                    }
                }
            }
            for row in self.out.chunks_exact_mut(columns) {
                let row = &mut row[left..right];
                if let Some(bias) = bias {
                    row.iter_mut().zip(&bias[left..right]).for_each(|(v, b)| *v += b);
                }
                if self.finish == Finish::Gelu {
                    row.iter_mut().for_each(|v| *v = gelu(*v));
                }
            }
        }
    }
}

/// `sums[i][j] += Σₖ a[i][k] · weights[k][j]`.
#[inline(always)]
fn tile<S: Simd, const M: usize, const V: usize>(
    simd: S,
    a: [&[f32]; M],
    weights: &[f32],
    mut sums: [[S::f32s; V]; M],
) -> [[S::f32s; V]; M] {
    // Eight steps at a time: one check of each row's length for all of them.
    const STEPS: usize = 8;
    let (weights, _) = S::as_simd_f32s(weights);
    let (weights, _) = weights.as_chunks::<V>();
    let (blocks, rest) = weights.as_chunks::<STEPS>();
    for (at, weights) in blocks.iter().enumerate() {
        let a: [&[f32; STEPS]; M] = a.map(|row| &row.as_chunks::<STEPS>().0[at]);
        for k in 0..STEPS {
            for i in 0..M {
                let factor = simd.splat_f32s(a[i][k]);
                for j in 0..V {
                    sums[i][j] = simd.mul_add_f32s(factor, weights[k][j], sums[i][j]);
                }
            }
        }
    }
    for (k, weights) in (blocks.len() * STEPS..).zip(rest) {
        for i in 0..M {
            let factor = simd.splat_f32s(a[i][k]);
            for j in 0..V {
                sums[i][j] = simd.mul_add_f32s(factor, weights[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Reads a row of a tile; lanes beyond its end are zero.
#[inline(always)]
fn load<S: Simd, const V: usize>(simd: S, row: &[f32], sums: &mut [S::f32s; V]) {
    let (whole, rest) = S::as_simd_f32s(row);
    if let Some(whole) = whole.first_chunk::<V>() {
        *sums = *whole;
        return;
    }
    sums[..whole.len()].copy_from_slice(whole);
    sums[whole.len()] = simd.partial_load_f32s(rest);
}

/// Writes a row of a tile as far as it goes.
#[inline(always)]
fn store<S: Simd, const V: usize>(simd: S, row: &mut [f32], sums: &[S::f32s; V]) {
    let (whole, rest) = S::as_mut_simd_f32s(row);
    if let Some(whole) = whole.first_chunk_mut::<V>() {
        *whole = *sums;
        return;
    }
    whole.copy_from_slice(&sums[..whole.len()]);
    simd.partial_store_f32s(rest, sums[whole.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::array::from_fn;

    fn waves(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

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
            let packed = Packed::new(&pieces, columns, Some(bias.clone()), |k, n| weights[k * columns + n]);
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
        let packed = Packed::new(&Beside::pieces(1, width), columns, None, |k, n| weights[k * columns + n]);
        let whole = packed.product(&Beside::new(vec![&a], width), 100, Finish::Bias, None);
        for (first, count) in [(0, 1), (17, 1), (40, 29), (99, 1)] {
            let own = &a[first * width..(first + count) * width];
            let part = packed.product(&Beside::new(vec![own], width), count, Finish::Bias, None);
            assert_eq!(part, whole[first * columns..(first + count) * columns], "rows {first} to {}", first + count);
        }
    }

    #[test]
    fn tasks_fill_a_vector_of_any_length() {
        for (length, chunk) in [(0, 5), (1, 1), (10, 3), (10, 10), (10, 99)] {
            let made = in_parallel(length, chunk, |task, out| {
                assert!(out.iter().all(|v| *v == 0.0));
                out.iter_mut().enumerate().for_each(|(i, v)| *v = (task * chunk + i) as f32);
            });
            let expected: Vec<f32> = (0..length).map(|i| i as f32).collect();
            assert_eq!(made, expected, "{length} in chunks of {chunk}");
        }
        let panicked = std::panic::catch_unwind(|| in_parallel(4, 1, |task, _| assert!(task != 2)));
        assert!(panicked.is_err());
    }

    /// Every shape of tile, also those of other processors.
    #[test]
    fn tiles_of_all_shapes_agree() {
        struct All;
        impl WithSimd for All {
            type Output = ();
            fn with_simd<S: Simd>(self, simd: S) {
                fn run<S: Simd, const M: usize, const V: usize>(simd: S) {
                    let (k, width) = (37, V * S::F32_LANES);
                    let (a, weights) = (waves(M * k, 0.5), waves(k * width, 0.8));
                    let rows = from_fn(|i| &a[i * k..(i + 1) * k]);
                    let sums = tile::<S, M, V>(simd, rows, &weights, [[simd.splat_f32s(1.0); V]; M]);
                    for (i, sums) in sums.iter().enumerate() {
                        let mut found = vec![0.0; width];
                        store(simd, &mut found, sums);
                        for (j, v) in found.iter().enumerate() {
                            let exact: f32 = (0..k).map(|l| a[i * k + l] * weights[l * width + j]).sum::<f32>() + 1.0;
                            assert!((v - exact).abs() < 1e-4, "{M} × {V}: {v} {exact}");
                        }
                    }
                }
                run::<S, 12, 2>(simd);
                run::<S, 6, 2>(simd);
                run::<S, 6, 4>(simd);
                run::<S, 4, 4>(simd);
            }
        }
        Arch::new().dispatch(All);
        Arch::Scalar.dispatch(All);
    }
}
