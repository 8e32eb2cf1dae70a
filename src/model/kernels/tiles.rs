//! What products in floats and in integers share: packed panels, and the tile of sums that is held in registers.

use pulp::Simd;
use std::ops::Range;

/// Values of four bytes that share a cache line.
const LINE: usize = 16;

/// Where the pieces of the inner dimension begin.
#[derive(Debug)]
pub(super) struct Bounds(Vec<usize>);

impl Bounds {
    pub(super) fn new(lengths: impl Iterator<Item = usize>) -> Self {
        let mut bounds = vec![0];
        lengths.for_each(|length| bounds.push(bounds[bounds.len() - 1] + length));
        Self(bounds)
    }

    pub(super) fn pieces(&self) -> usize {
        self.0.len() - 1
    }

    pub(super) fn first(&self, piece: usize) -> usize {
        self.0[piece]
    }

    pub(super) fn length(&self, piece: usize) -> usize {
        self.0[piece + 1] - self.0[piece]
    }

    /// Length of all of them.
    pub(super) fn end(&self) -> usize {
        self.0[self.0.len() - 1]
    }
}

/// Packed values, four bytes each: `[piece][panel][step in piece][column in panel]`.
#[derive(Debug)]
pub(super) struct Panels<T> {
    data: Vec<T>,
    /// Values before the first: vector loads do not cross cache lines then.
    start: usize,
    /// Steps of the pieces.
    pub bounds: Bounds,
    panels: usize,
    /// Columns of a panel.
    pub width: usize,
}

impl<T: Copy + Default> Panels<T> {
    /// Zeros: pieces of these numbers of steps, and enough panels for the columns.
    pub(super) fn new(steps: impl Iterator<Item = usize>, columns: usize, width: usize) -> Self {
        let (bounds, panels) = (Bounds::new(steps), columns.div_ceil(width));
        let data = vec![T::default(); bounds.end() * panels * width + LINE];
        let start = data.as_ptr().align_offset(LINE * size_of::<T>()).min(LINE);
        Self { data, start, bounds, panels, width }
    }

    /// Panels filled in the order in which they lie: `fill(piece, panel, to)` adds a panel's values to `to`.
    pub(super) fn filled(
        steps: impl Iterator<Item = usize>,
        columns: usize,
        width: usize,
        mut fill: impl FnMut(usize, usize, &mut Vec<T>),
    ) -> Self {
        let (bounds, panels) = (Bounds::new(steps), columns.div_ceil(width));
        let mut data: Vec<T> = Vec::with_capacity(bounds.end() * panels * width + LINE);
        let start = data.as_ptr().align_offset(LINE * size_of::<T>()).min(LINE);
        data.resize(start, T::default());
        for piece in 0..bounds.pieces() {
            for panel in 0..panels {
                fill(piece, panel, &mut data);
            }
        }
        assert!(data.len() == start + bounds.end() * panels * width);
        Self { data, start, bounds, panels, width }
    }

    /// Number of panels.
    pub(super) fn count(&self) -> usize {
        self.panels
    }

    fn range(&self, piece: usize, panel: usize) -> Range<usize> {
        let length = self.bounds.length(piece);
        let at = self.start + (self.bounds.first(piece) * self.panels + panel * length) * self.width;
        at..at + length * self.width
    }

    /// One panel of a piece.
    pub(super) fn panel(&self, piece: usize, panel: usize) -> &[T] {
        &self.data[self.range(piece, panel)]
    }

    /// The same, to be filled.
    pub(super) fn panel_mut(&mut self, piece: usize, panel: usize) -> &mut [T] {
        let range = self.range(piece, panel);
        &mut self.data[range]
    }
}

/// What is done at each step along the inner dimension.
pub(super) trait Steps: Copy {
    /// Of the rows.
    type Value: Copy;
    /// Of the panels and the sums.
    type Vector: Copy;

    /// The value in every lane.
    fn spread(self, value: Self::Value) -> Self::Vector;

    /// `sums + a · b`.
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, sums: Self::Vector) -> Self::Vector;
}

/// `sums[i][j] += Σₖ a[i][k] · weights[k][j]`.
#[inline(always)]
pub(super) fn tile<T: Steps, const M: usize, const V: usize>(
    steps: T,
    a: [&[T::Value]; M],
    weights: &[T::Vector],
    mut sums: [[T::Vector; V]; M],
) -> [[T::Vector; V]; M] {
    // Eight steps at a time: one check of each row's length for all of them.
    const STEPS: usize = 8;
    let (weights, _) = weights.as_chunks::<V>();
    let (blocks, rest) = weights.as_chunks::<STEPS>();
    for (at, weights) in blocks.iter().enumerate() {
        let a: [&[T::Value; STEPS]; M] = a.map(|row| &row.as_chunks::<STEPS>().0[at]);
        for k in 0..STEPS {
            for i in 0..M {
                let factor = steps.spread(a[i][k]);
                for j in 0..V {
                    sums[i][j] = steps.multiply_add(factor, weights[k][j], sums[i][j]);
                }
            }
        }
    }
    for (k, weights) in (blocks.len() * STEPS..).zip(rest) {
        for i in 0..M {
            let factor = steps.spread(a[i][k]);
            for j in 0..V {
                sums[i][j] = steps.multiply_add(factor, weights[j], sums[i][j]);
            }
        }
    }
    sums
}

/// Reads a row of a tile; lanes beyond its end are zero.
#[inline(always)]
pub(super) fn load<S: Simd, const V: usize>(simd: S, row: &[f32], sums: &mut [S::f32s; V]) {
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
pub(super) fn store<S: Simd, const V: usize>(simd: S, row: &mut [f32], sums: &[S::f32s; V]) {
    let (whole, rest) = S::as_mut_simd_f32s(row);
    if let Some(whole) = whole.first_chunk_mut::<V>() {
        *whole = *sums;
        return;
    }
    whole.copy_from_slice(&sums[..whole.len()]);
    simd.partial_store_f32s(rest, sums[whole.len()]);
}
