//! What surrounds products on a matrix unit, in the instructions that processors with one have besides: 512 bits, and rounding to
//! bfloat16. A compiler left to itself makes of the same loops several times as many.
// Every transmute is between 64 bytes and a vector of them.
#![allow(unsafe_code, clippy::missing_transmute_annotations)]

use super::functions::{ERF_ABOVE, ERF_BELOW, EXP2};
use super::matrix_unit::{Line, PAIR, SIDE, Sums, TILE};
use std::arch::x86_64::*;
use std::mem::transmute;

/// Whether this processor has them.
pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

#[target_feature(enable = "avx512f")]
fn floats(line: &Line) -> __m512 {
    // SAFETY: both are 64 bytes that may hold anything.
    unsafe { transmute(line.0) }
}

/// Two vectors rounded to bfloat16, the first in the lower halves of the words.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn rounded(near: __m512, far: __m512) -> Line {
    // SAFETY: both are 64 bytes that may hold anything.
    let both: __m512i = unsafe { transmute(_mm512_cvtne2ps_pbh(far, near)) };
    let order: [u16; 2 * TILE] = const {
        let (mut order, mut i) = ([0; 2 * TILE], 0);
        while i < TILE {
            (order[2 * i], order[2 * i + 1]) = (i as u16, (i + TILE) as u16);
            i += 1;
        }
        order
    };
    // SAFETY: as above.
    Line(unsafe { transmute(_mm512_permutexvar_epi16(transmute(order), both)) })
}

/// See [`super::functions::exp2_near`].
#[target_feature(enable = "avx512f")]
fn exp2(x: __m512) -> __m512 {
    // What is no number stays none: it is the second factor that comes out then.
    let x = _mm512_max_ps(_mm512_set1_ps(-126.0), x);
    let whole = _mm512_roundscale_ps::<8>(x);
    let rest = _mm512_sub_ps(x, whole);
    let mut p = _mm512_set1_ps(EXP2[0]);
    for c in &EXP2[1..] {
        p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(*c));
    }
    _mm512_scalef_ps(p, whole)
}

/// See [`super::functions::gelu_near`].
#[target_feature(enable = "avx512f")]
fn gelu(x: __m512) -> __m512 {
    let scaled = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::FRAC_1_SQRT_2));
    let scaled = _mm512_min_ps(_mm512_set1_ps(4.0), _mm512_max_ps(_mm512_set1_ps(-4.0), scaled));
    let square = _mm512_mul_ps(scaled, scaled);
    let polynomial = |coefficients: &[f32]| {
        let mut p = _mm512_set1_ps(coefficients[0]);
        for c in &coefficients[1..] {
            p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(*c));
        }
        p
    };
    let (above, below) = (polynomial(&ERF_ABOVE), polynomial(&ERF_BELOW));
    let first = _mm512_rcp14_ps(below);
    let inverse = _mm512_mul_ps(first, _mm512_fnmadd_ps(below, first, _mm512_set1_ps(2.0)));
    let half = _mm512_mul_ps(x, _mm512_set1_ps(0.5));
    let erf = _mm512_mul_ps(_mm512_mul_ps(scaled, above), inverse);
    _mm512_fmadd_ps(half, erf, half)
}

/// Puts 2 to the `scale` times scores less the largest of them into every 32nd line, two lines of scores in one; 1 / their sum.
/// `scale` > 0. The scores of tokens that are none are below all.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn weigh(scores: &[Line], scale: f32, weights: &mut [Line]) -> f32 {
    let (pairs, _) = scores.as_chunks::<2>();
    let mut highest = [_mm512_set1_ps(f32::NEG_INFINITY); 2];
    for [near, far] in pairs {
        highest = [_mm512_max_ps(highest[0], floats(near)), _mm512_max_ps(highest[1], floats(far))];
    }
    let highest = _mm512_reduce_max_ps(_mm512_max_ps(highest[0], highest[1]));
    let (scale, shift) = (_mm512_set1_ps(scale), _mm512_set1_ps(-highest * scale));
    let mut totals = [_mm512_setzero_ps(); 2];
    for ([near, far], line) in pairs.iter().zip(weights.iter_mut().step_by(PAIR)) {
        let near = exp2(_mm512_fmadd_ps(floats(near), scale, shift));
        let far = exp2(_mm512_fmadd_ps(floats(far), scale, shift));
        totals = [_mm512_add_ps(totals[0], near), _mm512_add_ps(totals[1], far)];
        *line = rounded(near, far);
    }
    1.0 / _mm512_reduce_add_ps(_mm512_add_ps(totals[0], totals[1]))
}

/// Makes weights of a row of scores times `scale`, and the gradients of scores of those of weights; `inner` is the sum of their
/// products.
#[target_feature(enable = "avx512f")]
pub(super) fn weigh_backward(scores: &mut [Line], of_scores: &mut [Line], scale: f32, inner: f32) {
    let mut highest = _mm512_set1_ps(f32::NEG_INFINITY);
    for line in &*scores {
        highest = _mm512_max_ps(highest, floats(line));
    }
    let by = scale * std::f32::consts::LOG2_E;
    let (by, shift) = (_mm512_set1_ps(by), _mm512_set1_ps(-_mm512_reduce_max_ps(highest) * by));
    let mut total = _mm512_setzero_ps();
    for line in &mut *scores {
        let weight = exp2(_mm512_fmadd_ps(floats(line), by, shift));
        total = _mm512_add_ps(total, weight);
        *line = line_of(weight);
    }
    let share = _mm512_set1_ps(1.0 / _mm512_reduce_add_ps(total));
    let (scale, inner) = (_mm512_set1_ps(scale), _mm512_set1_ps(inner));
    for (line, of_line) in scores.iter_mut().zip(of_scores) {
        let weight = _mm512_mul_ps(floats(line), share);
        *line = line_of(weight);
        let of_score = _mm512_mul_ps(_mm512_sub_ps(floats(of_line), inner), _mm512_mul_ps(weight, scale));
        *of_line = line_of(of_score);
    }
}

/// 32 rows of values, `apart` lines from each other and two lines for each step, as packed rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn to_rows(values: &[Line], apart: usize, rows: &mut [Line]) {
    for (step, lines) in rows.chunks_exact_mut(PAIR).enumerate() {
        for (row, line) in lines.iter_mut().enumerate() {
            let pair = &values[row * apart + 2 * step..][..2];
            *line = rounded(floats(&pair[0]), floats(&pair[1]));
        }
    }
}

#[target_feature(enable = "avx512f")]
fn line_of(values: __m512) -> Line {
    // SAFETY: both are 64 bytes that may hold anything.
    Line(unsafe { transmute(values) })
}

/// Rows of sums, each times its share, rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn mix(sums: &Sums, shares: &[f32; SIDE], lines: &mut [Line]) {
    for ((sums, share), line) in sums.as_chunks::<2>().0.iter().zip(shares).zip(lines) {
        let share = _mm512_set1_ps(*share);
        *line = rounded(_mm512_mul_ps(floats(&sums[0]), share), _mm512_mul_ps(floats(&sums[1]), share));
    }
}

/// What turns sums into values: what integers are multiplied with, by row and by column, and what is added to each column.
pub(super) struct Ending<'a> {
    pub factors: Option<&'a [[f32; SIDE]; 2]>,
    pub bias: &'a [[f32; TILE]; 2],
    pub gelu: bool,
}

#[target_feature(enable = "avx512f")]
fn ended(sums: &Sums, row: usize, half: usize, ending: &Ending) -> __m512 {
    // SAFETY: both are 64 bytes that may hold anything.
    let bias: __m512 = unsafe { transmute(ending.bias[half]) };
    let values = match ending.factors {
        None => _mm512_add_ps(floats(&sums[2 * row + half]), bias),
        Some(factors) => {
            let (of_columns, _) = factors[1].as_chunks::<TILE>();
            // SAFETY: as above.
            let (sums, columns): (__m512i, __m512) =
                unsafe { (transmute(sums[2 * row + half].0), transmute(of_columns[half])) };
            let factors = _mm512_mul_ps(_mm512_set1_ps(factors[0][row]), columns);
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), factors, bias)
        }
    };
    if ending.gelu { gelu(values) } else { values }
}

/// The values of a row of sums.
#[target_feature(enable = "avx512f")]
pub(super) fn end_row(sums: &Sums, row: usize, ending: &Ending) -> [[f32; TILE]; 2] {
    // SAFETY: both are 64 bytes that may hold anything.
    [0, 1].map(|half| unsafe { transmute(ended(sums, row, half, ending)) })
}

/// The values of sums, rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn end_rounded(sums: &Sums, ending: &Ending, lines: &mut [Line]) {
    for (row, line) in lines.iter_mut().enumerate().take(SIDE) {
        *line = rounded(ended(sums, row, 0, ending), ended(sums, row, 1, ending));
    }
}

#[target_feature(enable = "avx512f")]
fn half(values: &[f32; TILE]) -> __m512 {
    // SAFETY: both are 64 bytes that may hold anything.
    unsafe { transmute(*values) }
}

/// Values of a row rounded, 32 in each line; lines lie `apart`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn round(values: &[f32], lines: &mut [Line], apart: usize) {
    let (steps, rest) = values.as_chunks::<SIDE>();
    let mut lines = lines.iter_mut().step_by(apart);
    for (step, line) in steps.iter().zip(&mut lines) {
        let (halves, _) = step.as_chunks::<TILE>();
        *line = rounded(half(&halves[0]), half(&halves[1]));
    }
    if let (false, Some(line)) = (rest.is_empty(), lines.next()) {
        let [near, far] = super::tile_rows::step_of(rest);
        *line = rounded(half(&near), half(&far));
    }
}

/// Two rows of 32 values side by side in words, rounded: a line of a panel's left tile and one of its right.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn pair(upper: &[[f32; TILE]; 2], lower: &[[f32; TILE]; 2]) -> [Line; 2] {
    [rounded(half(&upper[0]), half(&lower[0])), rounded(half(&upper[1]), half(&lower[1]))]
}

/// The largest distance from zero of values, and zero, or no number where one is none or without end.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn largest(values: &[f32]) -> (f32, f32) {
    let (mut largest, mut poison) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let (vectors, rest) = values.as_chunks::<TILE>();
    let mut last = [0.0; TILE];
    last[..rest.len()].copy_from_slice(rest);
    for values in vectors.iter().chain([&last]) {
        let values = half(values);
        largest = _mm512_max_ps(largest, _mm512_abs_ps(values));
        poison = _mm512_fmadd_ps(values, _mm512_setzero_ps(), poison);
    }
    (_mm512_reduce_max_ps(largest), _mm512_reduce_add_ps(poison))
}

/// Values of a row times `inverse`, which makes them at most 127, rounded to bytes in every 32nd line, 64 in each.
#[target_feature(enable = "avx512f")]
pub(super) fn to_bytes(values: &[f32], inverse: f32, lines: &mut [Line]) {
    let inverse = _mm512_set1_ps(inverse);
    for (values, line) in values.chunks(4 * TILE).zip(lines.iter_mut().step_by(PAIR)) {
        let mut all = [[0.0; TILE]; 4];
        all.as_flattened_mut()[..values.len()].copy_from_slice(values);
        let byte = |quarter: usize| {
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(half(&all[quarter]), inverse));
            _mm512_and_si512(whole, _mm512_set1_epi32(0xff))
        };
        let low = _mm512_or_si512(byte(0), _mm512_slli_epi32::<8>(byte(1)));
        let high = _mm512_or_si512(_mm512_slli_epi32::<16>(byte(2)), _mm512_slli_epi32::<24>(byte(3)));
        // SAFETY: both are 64 bytes that may hold anything.
        line.0 = unsafe { transmute(_mm512_or_si512(low, high)) };
    }
}

/// Turns a tile: word `i` of line `j` becomes word `j` of line `i`.
#[target_feature(enable = "avx512f")]
pub(super) fn turn(tile: &mut [Line; TILE]) {
    // SAFETY: both are 64 bytes that may hold anything.
    let mut rows: [__m512i; TILE] = tile.map(|line| unsafe { transmute(line.0) });
    let mut pairs = rows;
    for i in (0..TILE).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for i in (0..TILE).step_by(4) {
        rows[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        rows[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        rows[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        rows[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // Each quarter of `rows[4 · i + k]` now is a column's part of four rows.
    for k in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|i| rows[i + k]);
        let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (far_even, far_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        let columns = [
            _mm512_shuffle_i32x4::<0x88>(even, far_even),
            _mm512_shuffle_i32x4::<0x88>(odd, far_odd),
            _mm512_shuffle_i32x4::<0xdd>(even, far_even),
            _mm512_shuffle_i32x4::<0xdd>(odd, far_odd),
        ];
        for (i, column) in columns.into_iter().enumerate() {
            // SAFETY: as above.
            tile[4 * i + k] = Line(unsafe { transmute(column) });
        }
    }
}
