//! Products in float32.

use super::factors::{Finish, PIECE, ResultColumns, Rows};
use super::instructions::Instructions;
use super::tiles::{Panels, Steps, load, store, tile};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// What a product is added to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Onto {
    /// Whatever lies where it goes is overwritten.
    Nothing,
    /// The values that lie there.
    Values,
}

/// A packed factor in float32.
#[derive(Debug)]
pub(super) struct Floats {
    panels: Panels<f32>,
    instructions: Instructions,
}

impl Floats {
    /// `pieces` and `value` as in [`Packed::new`](super::product::Packed::new).
    pub(super) fn new(
        instructions: Instructions,
        pieces: &[usize],
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let width = instructions.registers().dispatch(PanelWidth);
        let mut panels = Panels::new(pieces.iter().copied(), columns, width);
        for piece in 0..pieces.len() {
            let first = panels.bounds.first(piece);
            for panel in 0..panels.count() {
                let filled = width.min(columns - panel * width);
                // A few steps of all columns at a time, whichever way neighbours lie in what is packed.
                for (block, rows) in panels.panel_mut(piece, panel).chunks_mut(8 * width).enumerate() {
                    for column in 0..filled {
                        for (k, row) in rows.chunks_exact_mut(width).enumerate() {
                            row[column] = value(first + 8 * block + k, panel * width + column);
                        }
                    }
                }
            }
        }
        Self { panels, instructions }
    }

    /// As [`Packed::of_pieces`](super::product::Packed::of_pieces).
    pub(super) fn of_pieces<'a>(
        instructions: Instructions,
        pieces: &[usize],
        columns: usize,
        part: impl Fn(usize) -> &'a [f32],
    ) -> Self {
        let width = instructions.registers().dispatch(PanelWidth);
        let panels = Panels::filled(pieces.iter().copied(), columns, width, |piece, panel, to| {
            let (rows, left) = (part(piece), panel * width);
            let filled = width.min(columns - left);
            match (width, filled) {
                (16, 16) => copy_panel::<16>(rows, columns, left, to),
                (32, 32) => copy_panel::<32>(rows, columns, left, to),
                _ => {
                    for row in rows.chunks_exact(columns) {
                        to.extend_from_slice(&row[left..left + filled]);
                        to.resize(to.len() + width - filled, 0.0);
                    }
                }
            }
        });
        Self { panels, instructions }
    }

    /// As [`Packed::product_onto`](super::product::Packed::product_onto), or
    /// [`Packed::product_into`](super::product::Packed::product_into).
    pub(super) fn product(
        &self,
        result: &ResultColumns,
        rows: &impl Rows,
        first: usize,
        out: &mut [f32],
        finish: Finish,
        onto: Onto,
    ) {
        let task = Task { panels: &self.panels, result, rows, first, out, finish, onto };
        self.instructions.registers().dispatch(task);
    }
}

/// Adds so many columns of each row.
fn copy_panel<const WIDTH: usize>(rows: &[f32], columns: usize, left: usize, to: &mut Vec<f32>) {
    for row in rows.chunks_exact(columns) {
        if let Some(own) = row[left..].first_chunk::<WIDTH>() {
            to.extend_from_slice(own);
        }
    }
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
    panels: &'a Panels<f32>,
    result: &'a ResultColumns,
    rows: &'a R,
    first: usize,
    out: &'a mut [f32],
    finish: Finish,
    onto: Onto,
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
        let Self { panels, result, rows, first, out, finish, onto } = self;
        let (columns, width) = (result.count, panels.width);
        let count = out.len() / columns;
        // Rows beyond the last repeat it; what they give is not stored.
        let padded = count.next_multiple_of(M);
        let mut room = vec![0.0; PIECE.min(result.inner) * padded];
        for (left, right) in result.strips(width) {
            for piece in 0..panels.bounds.pieces() {
                // Rows that lie a power of two apart would push each other out of the innermost cache.
                let length = panels.bounds.length(piece);
                let together = if count == padded { rows.pieces_together(first, count, piece) } else { None };
                let near = together.unwrap_or_else(|| {
                    for (row, near) in room.chunks_exact_mut(length).take(padded).enumerate() {
                        near.copy_from_slice(rows.piece(first + row.min(count - 1), piece));
                    }
                    &room[..length * padded]
                });
                for panel in left / width..right.div_ceil(width) {
                    let (weights, _) = S::as_simd_f32s(panels.panel(piece, panel));
                    let across = panel * width..right.min((panel + 1) * width);
                    let onto = if piece == 0 { onto } else { Onto::Values };
                    add_strip::<S, M, V>(simd, near, weights, out, (columns, across), onto);
                }
            }
            result.finish(out, left..right, finish);
        }
    }
}

/// Adds the product of all rows, `length` values each, with a strip of V vectors of columns to those columns of the result.
#[inline(always)]
pub(super) fn add_strip<S: Simd, const M: usize, const V: usize>(
    simd: S,
    rows: &[f32],
    weights: &[S::f32s],
    out: &mut [f32],
    (columns, across): (usize, Range<usize>),
    onto: Onto,
) {
    let length = weights.len() / V;
    for block in 0..rows.len() / (M * length) {
        let mut a: [&[f32]; M] = [&[]; M];
        for (i, row) in a.iter_mut().enumerate() {
            *row = &rows[(block * M + i) * length..][..length];
        }
        let out = &mut out[block * M * columns..];
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        if onto == Onto::Values {
            for (sums, row) in sums.iter_mut().zip(out.chunks_exact(columns)) {
                load(simd, &row[across.clone()], sums);
            }
        }
        let sums = tile::<_, M, V>(InFloats(simd), a, weights, sums);
        for (sums, row) in sums.iter().zip(out.chunks_exact_mut(columns)) {
            store(simd, &mut row[across.clone()], sums);
        }
    }
}

/// Float32 values.
#[derive(Clone, Copy)]
struct InFloats<S>(S);

impl<S: Simd> Steps for InFloats<S> {
    type Value = f32;
    type Vector = S::f32s;

    #[inline(always)]
    fn spread(self, value: f32) -> S::f32s {
        self.0.splat_f32s(value)
    }

    #[inline(always)]
    fn multiply_add(self, a: S::f32s, b: S::f32s, sums: S::f32s) -> S::f32s {
        self.0.mul_add_f32s(a, b, sums)
    }
}

#[cfg(test)]
mod tests {
    use super::super::values_of_waves as waves;
    use super::*;
    use pulp::Arch;
    use std::array::from_fn;

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
                    let (vectors, _) = S::as_simd_f32s(&weights);
                    let sums = tile::<_, M, V>(InFloats(simd), rows, vectors, [[simd.splat_f32s(1.0); V]; M]);
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
