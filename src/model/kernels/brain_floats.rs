//! Products in bfloat16 on processors without a matrix unit: both factors are rounded to eight bits, products are exact, sums in
//! float32. Halves are widened to float32 as they are read, which costs no less than float32, but half the memory.

use super::factors::{Finish, ResultColumns, Rows};
use super::floats::{Onto, add_strip};
use super::instructions::Instructions;
use super::tiles::Panels;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Columns of a panel.
const COLUMNS: usize = 32;

/// A packed factor in bfloat16: pairs of neighbours along the inner dimension.
#[derive(Debug)]
pub(super) struct BrainFloats {
    pairs: Panels<u32>,
    instructions: Instructions,
}

/// The nearest bfloat16, ties to even, in the lower half; what is no number stays none.
#[inline(always)]
pub(super) fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    let up = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // A quiet one, whatever bits it had.
    let none = bits >> 16 | 0x40;
    if value.is_nan() { none } else { up }
}

#[inline(always)]
fn pair(first: f32, second: f32) -> u32 {
    rounded(first) | rounded(second) << 16
}

/// What rounding to bfloat16 leaves of a value; nothing of one that is no number or without end.
#[inline(always)]
pub(super) fn rest(value: f32) -> f32 {
    let left = value - f32::from_bits(rounded(value) << 16);
    if left.is_finite() { left } else { 0.0 }
}

impl BrainFloats {
    /// `pieces` and `value` as in [`Packed::new`](super::product::Packed::new).
    pub(super) fn new(
        instructions: Instructions,
        pieces: &[usize],
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        Self { pairs: packed(pieces, columns, value), instructions }
    }

    /// As [`Packed::product_onto`](super::product::Packed::product_onto).
    pub(super) fn product_onto(
        &self,
        result: &ResultColumns,
        rows: &impl Rows,
        first: usize,
        out: &mut [f32],
        finish: Finish,
    ) {
        let task = Task { own: self, result, rows, first, out, finish };
        self.instructions.registers().dispatch(task);
    }
}

/// Pairs of rounded values, in panels.
fn packed(pieces: &[usize], columns: usize, value: impl Fn(usize, usize) -> f32) -> Panels<u32> {
    let steps = pieces.iter().map(|piece| piece.div_ceil(2));
    let mut pairs = Panels::new(steps, columns, COLUMNS);
    let mut first = 0;
    for (piece, &length) in pieces.iter().enumerate() {
        for panel in 0..pairs.count() {
            let filled = COLUMNS.min(columns - panel * COLUMNS);
            let own = pairs.panel_mut(piece, panel);
            for (step, own) in own.chunks_exact_mut(COLUMNS).enumerate().take(length.div_ceil(2)) {
                for (lane, own) in own[..filled].iter_mut().enumerate() {
                    let at = |k: usize| if k < length { value(first + k, panel * COLUMNS + lane) } else { 0.0 };
                    *own = pair(at(2 * step), at(2 * step + 1));
                }
            }
        }
        first += length;
    }
    pairs
}

/// Some rows of a product, in registers.
struct Task<'a, R> {
    own: &'a BrainFloats,
    result: &'a ResultColumns,
    rows: &'a R,
    first: usize,
    out: &'a mut [f32],
    finish: Finish,
}

impl<R: Rows> WithSimd for Task<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 12, 2>(simd),
            8 => self.run::<S, 6, 2>(simd),
            _ => self.run::<S, 4, 4>(simd),
        }
    }
}

impl<R: Rows> Task<'_, R> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const V: usize>(self, simd: S) {
        let Self { own, result, rows, first, out, finish } = self;
        let columns = result.count;
        let count = out.len() / columns;
        // Rows beyond the last repeat it; what they give is not stored.
        let padded = count.next_multiple_of(M);
        // Panels are cut into strips that fit the registers, and widened strip by strip: for all rows at once.
        let strip = V * S::F32_LANES;
        let (mut near, mut wide) = (Vec::new(), Vec::new());
        for (left, right) in result.strips(COLUMNS) {
            for piece in 0..own.pairs.bounds.pieces() {
                let length = 2 * own.pairs.bounds.length(piece);
                near.clear();
                near.resize(length * padded, 0.0);
                for (row, near) in near.chunks_exact_mut(length).enumerate() {
                    let values = rows.piece(first + row.min(count - 1), piece);
                    near.iter_mut().zip(values).for_each(|(out, v)| *out = widened(rounded(*v)));
                }
                for from in (left..right).step_by(strip) {
                    let (panel, within) = (from / COLUMNS, from % COLUMNS);
                    widen(own.pairs.panel(piece, panel), within..within + strip, &mut wide);
                    let (weights, _) = S::as_simd_f32s(&wide);
                    let across = from..right.min(from + strip);
                    add_strip::<S, M, V>(simd, &near, weights, out, (columns, across), Onto::Values);
                }
            }
            result.finish(out, left..right, finish);
        }
    }
}

/// A bfloat16, in the lower half, as float32.
#[inline(always)]
fn widened(half: u32) -> f32 {
    f32::from_bits(half << 16)
}

/// Some columns of a panel in float32, step by step.
#[inline(always)]
fn widen(pairs: &[u32], columns: Range<usize>, wide: &mut Vec<f32>) {
    let strip = columns.len();
    wide.resize(pairs.len() / COLUMNS * 2 * strip, 0.0);
    for (pairs, wide) in pairs.chunks_exact(COLUMNS).zip(wide.chunks_exact_mut(2 * strip)) {
        let (first, second) = wide.split_at_mut(strip);
        for ((pair, first), second) in pairs[columns.clone()].iter().zip(first).zip(second) {
            (*first, *second) = (widened(*pair), f32::from_bits(pair & 0xffff_0000));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors::Beside;
    use super::super::values_of_waves as waves;
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_and_ties_are_even() {
        let back = |v: f32| f32::from_bits(rounded(v) << 16);
        for (value, near) in [(1.0, 1.0), (-3.5, -3.5), (0.0, 0.0), (1.003, 1.0), (1.005, 1.0078125)] {
            assert_eq!(back(value), near);
        }
        // Half way between two: the one whose last bit is zero.
        assert_eq!((back(1.0 + 1.0 / 256.0), back(1.0 + 3.0 / 256.0)), (1.0, 1.015625));
        assert!(back(f32::NAN).is_nan() && back(f32::from_bits(0x7f80_0001)).is_nan());
        assert_eq!((back(f32::INFINITY), back(f32::MAX)), (f32::INFINITY, f32::INFINITY));
    }

    #[test]
    fn registers_of_every_width_agree_with_the_definition() {
        for (count, width, columns) in [(1, 1, 1), (33, 37, 33), (50, 300, 70), (32, 64, 32), (5, 520, 1030)] {
            let (a, weights) = (waves(count * width, 0.7), waves(width * columns, 0.9));
            let rows = Beside::new(vec![&a], width);
            let pieces = Beside::pieces(1, width);
            let result = ResultColumns { inner: width, count: columns, bias: Some(waves(columns, 0.3)) };
            let near = |v: f32| f64::from(f32::from_bits(rounded(v) << 16));
            let exact: Vec<f64> = (0..count * columns)
                .map(|at| {
                    let (row, column) = (at / columns, at % columns);
                    let product = |k: usize| near(a[row * width + k]) * near(weights[k * columns + column]);
                    (0..width).map(product).sum::<f64>() + f64::from(result.bias.as_ref().expect("bias")[column])
                })
                .collect();
            let check = |found: Vec<f32>, who: &str| {
                for (found, exact) in found.iter().zip(&exact) {
                    assert!((f64::from(*found) - exact).abs() < 2e-6 * width as f64 + 1e-6, "{who}: {found} {exact}");
                }
            };
            let packed = |set| BrainFloats::new(set, &pieces, columns, |k, n| weights[k * columns + n]);
            for set in Instructions::ALL.into_iter().filter(|set| set.is_here()) {
                let mut out = vec![0.0; count * columns];
                packed(set).product_onto(&result, &rows, 0, &mut out, Finish::Bias);
                check(out, set.name());
            }
        }
    }
}
