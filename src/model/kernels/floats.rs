//! Products in float32.

use super::product::{Bounds, Finish, LINE, PIECE, Packed, Rows, finish_rows, load, store};
use pulp::{Arch, Simd, WithSimd};

/// A packed factor in float32.
#[derive(Debug)]
pub(super) struct Floats {
    /// `[piece][panel][k in piece][column in panel]`, panels as wide as the processor's registers want them.
    data: Vec<f32>,
    /// Values before the first: vector loads do not cross cache lines then.
    start: usize,
    bounds: Bounds,
    panels: usize,
    width: usize,
}

impl Floats {
    /// `pieces` and `value` as in [`Packed::new`].
    pub fn new(pieces: &[usize], columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let bounds = Bounds::new(pieces.iter().copied());
        let width = Arch::new().dispatch(PanelWidth);
        let panels = columns.div_ceil(width);
        let mut data = vec![0.0; bounds.end() * panels * width + LINE];
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let mut rest = &mut data[start..];
        for piece in 0..bounds.pieces() {
            for panel in 0..panels {
                let own;
                (own, rest) = rest.split_at_mut(bounds.length(piece) * width);
                let filled = width.min(columns - panel * width);
                // A few steps of all columns at a time, whichever way neighbours lie in what is packed.
                for (block, rows) in own.chunks_mut(8 * width).enumerate() {
                    for column in 0..filled {
                        for (k, row) in rows.chunks_exact_mut(width).enumerate() {
                            row[column] = value(bounds.first(piece) + 8 * block + k, panel * width + column);
                        }
                    }
                }
            }
        }
        Self { data, start, bounds, panels, width }
    }

    fn panel(&self, piece: usize, panel: usize) -> &[f32] {
        let length = self.bounds.length(piece);
        let at = (self.bounds.first(piece) * self.panels + panel * length) * self.width;
        &self.data[self.start + at..][..length * self.width]
    }

    /// As [`Packed::product_onto`].
    pub fn product_onto(&self, packed: &Packed, rows: &impl Rows, first: usize, out: &mut [f32], finish: Finish) {
        Arch::new().dispatch(Task { own: self, packed, rows, first, out, finish });
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
    own: &'a Floats,
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
        let Self { own, packed, rows, first, out, finish } = self;
        let (columns, width) = (packed.columns(), own.width);
        let count = out.len() / columns;
        // Rows beyond the last repeat it; what they give is not stored.
        let padded = count.next_multiple_of(M);
        let mut near = vec![0.0; PIECE.min(packed.inner()) * padded];
        for (left, right) in packed.strips(width) {
            for piece in 0..own.bounds.pieces() {
                // Rows that lie a power of two apart would push each other out of the innermost cache.
                let length = own.bounds.length(piece);
                for (row, near) in near.chunks_exact_mut(length).take(padded).enumerate() {
                    near.copy_from_slice(rows.piece(first + row.min(count - 1), piece));
                }
                for panel in left / width..right.div_ceil(width) {
                    let weights = own.panel(piece, panel);
                    let across = panel * width..right.min((panel + 1) * width);
                    for block in 0..padded / M {
                        let a: [&[f32]; M] = std::array::from_fn(|i| &near[(block * M + i) * length..][..length]);
                        let out = &mut out[block * M * columns..];
                        let mut sums = [[simd.splat_f32s(0.0); V]; M];
                        for (sums, row) in sums.iter_mut().zip(out.chunks_exact(columns)) {
                            load(simd, &row[across.clone()], sums);
                        }
                        let sums = tile::<S, M, V>(simd, a, weights, sums);
                        for (sums, row) in sums.iter().zip(out.chunks_exact_mut(columns)) {
                            store(simd, &mut row[across.clone()], sums);
                        }
                    }
                }
            }
            finish_rows(packed, out, left..right, finish);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::array::from_fn;

    fn waves(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
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
