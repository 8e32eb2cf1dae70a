//! Products in 16-bit integers: both factors are rounded piece by piece, each piece of a row with its own scale.
//!
//! A rounded value is at most [`LARGEST`], so that the sum over a piece fits into 32 bits whatever the values are; sums of
//! pieces are exact, and added up in float32. One step is 1/2896 of a piece's largest value: finer than bfloat16 keeps the
//! largest values, coarser for those far below them. The same numbers come out on every processor.

use super::product::{PIECE, Packed, Rows, load, store};
use pulp::{Arch, Simd, WithSimd};

/// The largest rounded value: 256 products of two of them stay below 2³¹.
pub(super) const LARGEST: f32 = 2896.0;

const _: () = assert!((LARGEST as i64) * (LARGEST as i64) * (PIECE as i64) < 1 << 31);

/// Whether this processor multiplies integers fast enough for it to pay.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !matches!(Arch::new(), Arch::Scalar);
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// A packed factor in integers: pairs of neighbours along the inner dimension, and what to multiply with afterwards.
#[derive(Debug)]
pub(super) struct Integers {
    /// `[piece][panel][pair in piece][column in panel]`, the first of a pair in the lower half.
    pairs: Vec<i32>,
    /// Values before the first: vector loads do not cross cache lines then.
    start: usize,
    /// Pairs before each piece, and all of them.
    bounds: Vec<usize>,
    /// `[piece][column, panel by panel]`.
    scales: Vec<f32>,
}

impl Integers {
    /// `pieces` as in [`Packed::new`]; `panels` panels of `width` columns.
    pub fn new(
        pieces: &[usize],
        columns: usize,
        [panels, width]: [usize; 2],
        value: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Self {
        const LINE: usize = 16;
        let mut bounds = vec![0];
        for piece in pieces {
            bounds.push(bounds[bounds.len() - 1] + piece.div_ceil(2));
        }
        let mut pairs = vec![0; bounds[pieces.len()] * panels * width + LINE];
        let start = pairs.as_ptr().align_offset(LINE * size_of::<i32>()).min(LINE);
        let mut scales = vec![0.0; pieces.len() * panels * width];
        let (mut first, mut own) = (0, vec![0.0; PIECE]);
        for (piece, &length) in pieces.iter().enumerate() {
            for column in 0..columns {
                let own = &mut own[..length];
                own.iter_mut().enumerate().for_each(|(k, v)| *v = value(first + k, column));
                let (panel, lane) = (column / width, column % width);
                let at = start + (bounds[piece] * panels + panel * length.div_ceil(2)) * width + lane;
                let (scale, rounded) = rounding(own);
                scales[piece * panels * width + column] = scale;
                for (k, pair) in own.chunks(2).enumerate() {
                    pairs[at + k * width] = joined(rounded(pair[0]), pair.get(1).map_or(0, |v| rounded(*v)));
                }
            }
            first += length;
        }
        Self { pairs, start, bounds, scales }
    }

    fn panel(&self, piece: usize, panel: usize, [panels, width]: [usize; 2]) -> &[i32] {
        let (first, end) = (self.bounds[piece], self.bounds[piece + 1]);
        &self.pairs[self.start + (first * panels + panel * (end - first)) * width..][..(end - first) * width]
    }
}

/// What a rounded value is to be multiplied with, and the rounding.
#[inline(always)]
fn rounding(values: &[f32]) -> (f32, impl Fn(f32) -> i32 + use<>) {
    let mut largest = 0f32;
    for v in values {
        // Not a number is no larger than anything, and rounds to zero below: the caller's sums must show it.
        largest = if v.abs() > largest { v.abs() } else { largest };
    }
    let (scale, inverse) = if largest > 0.0 { (largest / LARGEST, LARGEST / largest) } else { (0.0, 0.0) };
    // Adding it rounds to a whole number, which then lies in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    (scale, move |v: f32| (v * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32)
}

#[inline(always)]
fn joined(low: i32, high: i32) -> i32 {
    (low & 0xffff) | (high << 16)
}
