//! Products in 16-bit integers: both factors are rounded piece by piece, each piece of a row with its own scale.
//!
//! A rounded value is at most [`LARGEST`], so that the sum over a piece fits into 32 bits whatever the values are; sums of
//! pieces are exact, and added up in float32. One step is 1/2896 of a piece's largest value: finer than bfloat16 keeps the
//! largest values, coarser for those far below them. The same numbers come out on every processor.

use super::factors::{Finish, PIECE, ResultColumns, Rows};
use super::instructions::Instructions;
use super::tiles::{Panels, Steps, load, store, tile};
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{Arch, NullaryFnOnce, Scalar, Simd};

/// The largest rounded value: 256 products of two of them stay below 2³¹.
pub(super) const LARGEST: f32 = 2896.0;

const _: () = assert!((LARGEST as i64) * (LARGEST as i64) * (PIECE as i64) < 1 << 31);

/// A packed factor in integers: pairs of neighbours along the inner dimension, and what to multiply with afterwards.
#[derive(Debug)]
pub(super) struct Integers {
    /// A step is a pair.
    pairs: Panels<i32>,
    /// One step for each piece.
    scales: Panels<f32>,
    instructions: Instructions,
}

impl Integers {
    /// `pieces` and `value` as in [`Packed::new`](super::product::Packed::new).
    pub(super) fn new(
        instructions: Instructions,
        pieces: &[usize],
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let width = panel_width(instructions.registers());
        let mut pairs = Panels::new(pieces.iter().map(|piece| piece.div_ceil(2)), columns, width);
        let mut scales = Panels::new(pieces.iter().map(|_| 1), columns, width);
        let (mut first, mut own, mut rounded) = (0, vec![0.0; PIECE], vec![0; PIECE]);
        for (piece, &length) in pieces.iter().enumerate() {
            let (own, rounded) = (&mut own[..length], &mut rounded[..length]);
            for column in 0..columns {
                let (panel, lane) = (column / width, column % width);
                own.iter_mut().enumerate().for_each(|(k, v)| *v = value(first + k, column));
                scales.panel_mut(piece, panel)[lane] = round(own, rounded);
                let steps = pairs.panel_mut(piece, panel).chunks_exact_mut(width);
                for (pair, step) in rounded.chunks(2).zip(steps) {
                    step[lane] = bytemuck::cast([pair[0], pair.get(1).copied().unwrap_or(0)]);
                }
            }
            first += length;
        }
        Self { pairs, scales, instructions }
    }

    /// As [`Packed::product_onto`](super::product::Packed::product_onto).
    #[allow(unsafe_code)]
    pub(super) fn product_onto(
        &self,
        result: &ResultColumns,
        rows: &impl Rows,
        first: usize,
        out: &mut [f32],
        finish: Finish,
    ) {
        let task = Task { own: self, result, rows, first, out, finish };
        match self.instructions.registers() {
            #[cfg(target_arch = "x86_64")]
            Arch::V4(simd) if self.instructions >= Instructions::Vnni => {
                // SAFETY: this processor has VNNI, as `Instructions` found out.
                unsafe { with_dots(task, simd) }
            }
            #[cfg(target_arch = "x86_64")]
            Arch::V4(simd) => simd.vectorize(Compiled::<_, _, 12, 2>(task, simd)),
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => simd.vectorize(Compiled::<_, _, 6, 2>(task, simd)),
            _ => task.run::<Scalar, _, 4, 4>(Scalar, InPairs(Scalar)),
        }
    }
}

/// Rounds a piece; returns what to multiply the rounded values with, which is not a number where a value is none.
#[inline(always)]
fn round(values: &[f32], rounded: &mut [i16]) -> f32 {
    const LANES: usize = 16;
    /// Adding it rounds to a whole number, which then lies in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let (mut largest, mut poison) = ([0f32; LANES], [0f32; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for ((largest, poison), v) in largest.iter_mut().zip(&mut poison).zip(chunk) {
            *largest = if v.abs() > *largest { v.abs() } else { *largest };
            *poison += v * 0.0;
        }
    }
    let highest = largest.into_iter().chain(rest.iter().map(|v| v.abs())).fold(0.0, f32::max);
    let poison = poison.iter().sum::<f32>() + rest.iter().map(|v| v * 0.0).sum::<f32>();
    // Values too small for their inverse to be a number are zero.
    let inverse = if highest > 1e-30 { LARGEST / highest } else { 0.0 };
    for (rounded, v) in rounded.iter_mut().zip(values) {
        *rounded = (v * inverse + ROUND).to_bits() as i16;
    }
    highest / LARGEST + poison
}

/// Instructions on pairs of 16-bit integers.
trait Pairs: Simd {
    /// Of each pair of halves: `sums + a.low · b.low + a.high · b.high`.
    fn multiply_add(self, a: Self::i32s, b: Self::i32s, sums: Self::i32s) -> Self::i32s;
    fn to_floats(self, v: Self::i32s) -> Self::f32s;
}

impl Pairs for Scalar {
    #[inline(always)]
    fn multiply_add(self, a: i32, b: i32, sums: i32) -> i32 {
        let ([a, c], [b, d]): ([i16; 2], [i16; 2]) = (bytemuck::cast(a), bytemuck::cast(b));
        sums.wrapping_add(i32::from(a) * i32::from(b)).wrapping_add(i32::from(c) * i32::from(d))
    }

    #[inline(always)]
    fn to_floats(self, v: i32) -> f32 {
        v as f32
    }
}

#[cfg(target_arch = "x86_64")]
impl Pairs for V3 {
    #[inline(always)]
    fn multiply_add(self, a: Self::i32s, b: Self::i32s, sums: Self::i32s) -> Self::i32s {
        let products = self.multiply_wrapping_add_adjacent_i16x16(pulp::cast(a), pulp::cast(b));
        self.wrapping_add_i32x8(sums, products)
    }

    #[inline(always)]
    fn to_floats(self, v: Self::i32s) -> Self::f32s {
        self.convert_i32x8_to_f32x8(v)
    }
}

#[cfg(target_arch = "x86_64")]
impl Pairs for V4 {
    #[inline(always)]
    fn multiply_add(self, a: Self::i32s, b: Self::i32s, sums: Self::i32s) -> Self::i32s {
        let products = self.multiply_wrapping_add_adjacent_i16x32(pulp::cast(a), pulp::cast(b));
        self.wrapping_add_i32x16(sums, products)
    }

    #[inline(always)]
    fn to_floats(self, v: Self::i32s) -> Self::f32s {
        self.convert_i32x16_to_f32x16(v)
    }
}

/// Columns of a panel on this processor.
fn panel_width(registers: Arch) -> usize {
    match registers {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(_) => 2 * V4::I32_LANES,
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => 2 * V3::I32_LANES,
        _ => 4,
    }
}

/// Some rows of a product.
struct Task<'a, R> {
    own: &'a Integers,
    result: &'a ResultColumns,
    rows: &'a R,
    first: usize,
    out: &'a mut [f32],
    finish: Finish,
}

/// A task for some instructions; a closure would not be sure to be compiled with them.
struct Compiled<T, S, const M: usize, const V: usize>(T, S);

impl<R: Rows, S: Pairs, const M: usize, const V: usize> NullaryFnOnce for Compiled<Task<'_, R>, S, M, V> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.run::<S, _, M, V>(self.1, InPairs(self.1));
    }
}

impl<R: Rows> Task<'_, R> {
    /// With tiles of M rows and V vectors.
    #[inline(always)]
    fn run<S: Pairs, T, const M: usize, const V: usize>(self, simd: S, steps: T)
    where
        T: Steps<Value = i32, Vector = S::i32s>,
    {
        let Self { own, result, rows, first, out, finish } = self;
        let (columns, width) = (result.count, own.pairs.width);
        let count = out.len() / columns;
        // Rows beyond the last repeat it; what they give is not stored.
        let padded = count.next_multiple_of(M);
        let (rounded, scales) = round_rows(own, rows, first, count, padded);
        for (left, right) in result.strips(width) {
            for piece in 0..own.pairs.bounds.pieces() {
                let length = own.pairs.bounds.length(piece);
                let own_rows = &rounded[own.pairs.bounds.first(piece) * padded..][..length * padded];
                let row_scales = &scales[piece * padded..][..padded];
                for panel in left / width..right.div_ceil(width) {
                    let (weights, _) = S::as_simd_i32s(own.pairs.panel(piece, panel));
                    let (column_scales, _) = S::as_simd_f32s(own.scales.panel(piece, panel));
                    let Some(column_scales) = column_scales.first_chunk::<V>() else { continue };
                    let across = panel * width..right.min((panel + 1) * width);
                    for block in 0..padded / M {
                        let mut a: [&[i32]; M] = [&[]; M];
                        for (i, row) in a.iter_mut().enumerate() {
                            *row = &own_rows[(block * M + i) * length..][..length];
                        }
                        let zeros = [[simd.splat_i32s(0); V]; M];
                        let sums = tile::<_, M, V>(steps, a, weights, zeros);
                        let out = out[block * M * columns..].chunks_exact_mut(columns);
                        for ((sums, scale), row) in sums.iter().zip(&row_scales[block * M..]).zip(out) {
                            let row = &mut row[across.clone()];
                            let mut total = [simd.splat_f32s(0.0); V];
                            load(simd, row, &mut total);
                            for j in 0..V {
                                let factor = simd.mul_f32s(simd.splat_f32s(*scale), column_scales[j]);
                                total[j] = simd.mul_add_f32s(simd.to_floats(sums[j]), factor, total[j]);
                            }
                            store(simd, row, &total);
                        }
                    }
                }
            }
            result.finish(out, left..right, finish);
        }
    }
}

/// All pieces of some rows as pairs, `[piece][row][pair]`, and what to multiply them with, `[piece][row]`.
#[inline(always)]
fn round_rows(own: &Integers, rows: &impl Rows, first: usize, count: usize, padded: usize) -> (Vec<i32>, Vec<f32>) {
    let mut rounded = vec![0i32; own.pairs.bounds.end() * padded];
    let mut scales = vec![0.0; own.pairs.bounds.pieces() * padded];
    for piece in 0..own.pairs.bounds.pieces() {
        let length = own.pairs.bounds.length(piece);
        for row in 0..padded {
            let values = rows.piece(first + row.min(count - 1), piece);
            let pairs = &mut rounded[own.pairs.bounds.first(piece) * padded + row * length..][..length];
            scales[piece * padded + row] = round(values, &mut bytemuck::cast_slice_mut(pairs)[..values.len()]);
        }
    }
    (rounded, scales)
}

/// Pairs of 16-bit integers.
#[derive(Clone, Copy)]
struct InPairs<S>(S);

impl<S: Pairs> Steps for InPairs<S> {
    type Value = i32;
    type Vector = S::i32s;

    #[inline(always)]
    fn spread(self, value: i32) -> S::i32s {
        self.0.splat_i32s(value)
    }

    #[inline(always)]
    fn multiply_add(self, a: S::i32s, b: S::i32s, sums: S::i32s) -> S::i32s {
        self.0.multiply_add(a, b, sums)
    }
}

/// A task with an instruction that multiplies pairs and adds them to the sums in one: the same integers.
///
/// # Safety
/// The processor has to have VNNI.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma")]
unsafe fn with_dots<R: Rows>(task: Task<'_, R>, simd: V4) {
    task.run::<V4, _, 12, 2>(simd, InDots(simd));
}

/// As [`InPairs`], where the processor has VNNI.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct InDots(V4);

#[cfg(target_arch = "x86_64")]
impl Steps for InDots {
    type Value = i32;
    type Vector = <V4 as Simd>::i32s;

    #[inline(always)]
    fn spread(self, value: i32) -> Self::Vector {
        self.0.splat_i32s(value)
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, sums: Self::Vector) -> Self::Vector {
        // SAFETY: only `with_dots` makes use of this, whose caller knows that the processor has VNNI.
        let sums = unsafe { std::arch::x86_64::_mm512_dpwssd_epi32(pulp::cast(sums), pulp::cast(a), pulp::cast(b)) };
        pulp::cast(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::super::factors::Beside;
    use super::super::product::Packed;
    use super::super::values_of_waves as waves;
    use super::*;
    use crate::model::Precision;

    #[test]
    fn rounding_keeps_values_to_half_a_step() {
        for n in [1, 7, 16, 100, 256] {
            let values = waves(n, 0.7);
            let mut rounded = vec![0; n];
            let scale = round(&values, &mut rounded);
            for (v, r) in values.iter().zip(&rounded) {
                assert!((v - f32::from(*r) * scale).abs() <= 0.501 * scale && f32::from(*r).abs() <= LARGEST);
            }
        }
        let mut rounded = [1; 3];
        assert_eq!((round(&[0.0; 3], &mut rounded), rounded), (0.0, [0; 3]));
        assert!(round(&[1e-38, -1e-40, 0.0], &mut rounded).is_finite() && rounded == [0; 3]);
        assert!(round(&[1.0, f32::NAN, 2.0], &mut rounded).is_nan());
        assert!(round(&[f32::INFINITY; 20], &mut [0; 20]).is_nan());
    }

    #[test]
    fn products_are_close_and_the_worst_case_does_not_overflow() {
        for (count, width, columns) in [(1, 1, 1), (13, 37, 33), (50, 300, 70), (5, 520, 1030)] {
            let (a, weights) = (waves(count * width, 0.7), waves(width * columns, 0.9));
            let rows = Beside::new(vec![&a], width);
            let pack = |precision| {
                Packed::new(precision, &Beside::pieces(1, width), columns, None, |k, n| weights[k * columns + n])
            };
            let exact = pack(Precision::F32).product(&rows, count, Finish::Bias, None);
            let found = pack(Precision::I16).product(&rows, count, Finish::Bias, None);
            for (a, b) in found.iter().zip(&exact) {
                assert!((a - b).abs() < 6e-4 * (width as f32).sqrt(), "{a} {b}");
            }
        }
        let rows = Beside::new(vec![&[-1.0; 256]], 256);
        let packed = Packed::new(Precision::I16, &[256], 40, None, |_, _| 1.0);
        let found = packed.product(&rows, 1, Finish::Bias, None);
        assert!(found.iter().all(|v| (v + 256.0).abs() < 1e-3), "{found:?}");
        let broken = Beside::new(vec![&[f32::NAN; 256]], 256);
        assert!(packed.product(&broken, 1, Finish::Bias, None)[0].is_nan());
    }

    #[test]
    fn all_instructions_give_the_same_integers() {
        let (a, weights): (Vec<i32>, Vec<i32>) = (
            (0..6 * 19)
                .map(|i| bytemuck::cast([(i * 977 % 5793 - 2896) as i16, (i * 31 % 5793 - 2896) as i16]))
                .collect(),
            (0..19 * 16)
                .map(|i| bytemuck::cast([(i * 53 % 5793 - 2896) as i16, (i * 701 % 5793 - 2896) as i16]))
                .collect(),
        );
        fn flat<S: Pairs, const V: usize>(simd: S, a: &[i32], weights: &[i32]) -> Vec<i32> {
            let rows: [&[i32]; 6] = std::array::from_fn(|i| &a[i * 19..(i + 1) * 19]);
            let (vectors, _) = S::as_simd_i32s(weights);
            let sums = tile::<_, 6, V>(InPairs(simd), rows, vectors, [[simd.splat_i32s(0); V]; 6]);
            sums.iter().flat_map(|row| bytemuck::cast_slice(row).to_vec()).collect()
        }
        let plain = flat::<Scalar, 16>(Scalar, &a, &weights);
        let exact: i64 = (0..19)
            .map(|k| {
                let (a, b): ([i16; 2], [i16; 2]) = (bytemuck::cast(a[k]), bytemuck::cast(weights[k * 16]));
                i64::from(a[0]) * i64::from(b[0]) + i64::from(a[1]) * i64::from(b[1])
            })
            .sum();
        assert_eq!(i64::from(plain[0]), exact);
        match Arch::new() {
            #[cfg(target_arch = "x86_64")]
            Arch::V4(simd) => assert_eq!(simd.vectorize(|| flat::<V4, 1>(simd, &a, &weights)), plain),
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => assert_eq!(simd.vectorize(|| flat::<V3, 2>(simd, &a, &weights)), plain),
            _ => {}
        }
    }
}
