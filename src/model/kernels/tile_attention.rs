//! Attention on the matrix unit: scores of 32 queries with all keys lie in a core's own cache.
// Loops over 16 lanes become one instruction each.
#![allow(clippy::needless_range_loop)]

use super::factors::Beside;
use super::fill::Room;
use super::functions::{exp, exp2_near};
use super::instructions::Instructions;
use super::matrix_unit::{self, Block, Form, Line, Multiply, PAIR, Place, SIDE, Sums, TILE};
use super::tile_rows::{TileRows, TileSource, split_sums, turn_tile};
#[cfg(target_arch = "x86_64")]
use super::wide;
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// What the heads mix, `[head][block][step][part][32 lines]`, from rows of queries, keys and values beside each other, each
/// `width` wide; a head is some whole steps of them.
pub(super) fn attend(qkv: &TileRows, [tokens, width]: [usize; 2], heads: usize, multiply: Multiply) -> Room<Line> {
    let steps = width / heads / SIDE;
    let each = tokens.div_ceil(SIDE) * steps * qkv.form().lines();
    let mut lines = Room::new(heads * each);
    lines.par_chunks_exact_mut(each).enumerate().for_each(|(head, out)| {
        Instructions::here().registers().dispatch(Head { qkv, tokens, heads, head, steps, multiply, out });
    });
    lines
}

/// Whether heads are whole steps.
pub(super) fn fits(width: usize, heads: usize) -> bool {
    heads > 0 && width > 0 && width.is_multiple_of(heads * SIDE)
}

/// The same of values in float32 and of several items, `(batch, tokens, 3 · width)` → `(batch, tokens, width)`, in bfloat16.
pub(super) fn attend_values(qkv: &[f32], [tokens, width]: [usize; 2], heads: usize, multiply: Multiply) -> Vec<f32> {
    let joint = 3 * width;
    let mut out = vec![0.0; qkv.len() / 3];
    for (own, out) in qkv.chunks_exact((tokens * joint).max(1)).zip(out.chunks_exact_mut((tokens * width).max(1))) {
        let mut rows = TileRows::new(Form::Brain, tokens, joint / SIDE);
        rows.pack(&Beside::new(vec![own], joint), &Beside::pieces(1, joint), 0, tokens);
        let lines = attend(&rows, [tokens, width], heads, multiply);
        out.par_chunks_mut(SIDE * width).enumerate().for_each(|(block, out)| {
            unpack(&lines, block, [heads, width], out);
        });
    }
    out
}

/// Rows of what heads mixed in bfloat16, from the beginning of a block on, in float32.
pub(super) fn unpack(lines: &[Line], block: usize, [heads, width]: [usize; 2], rows: &mut [f32]) {
    let (steps, each) = (width / heads / SIDE, lines.len() / heads);
    for (row, values) in rows.chunks_exact_mut(width).enumerate() {
        let block = block + row / SIDE;
        for (at, values) in values.chunks_exact_mut(SIDE).enumerate() {
            let line = &lines[at / steps * each + (block * steps + at % steps) * PAIR + row % SIDE];
            let (near, far) = values.split_at_mut(TILE);
            for ((word, near), far) in line.0.iter().zip(near).zip(far) {
                (*near, *far) = (f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000));
            }
        }
    }
}

/// What one head mixes.
struct Head<'a> {
    qkv: &'a TileRows,
    tokens: usize,
    heads: usize,
    head: usize,
    steps: usize,
    multiply: Multiply,
    out: &'a mut [Line],
}

impl NullaryFnOnce for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { qkv, tokens, heads, head, steps, multiply, out } = self;
        let _ready = matrix_unit::ready();
        let form = qkv.form();
        let (blocks, each, place) = (tokens.div_ceil(SIDE), form.lines(), Place::packed(form));
        let at = |part: usize, step: usize| (part * heads + head) * steps + step;
        // Keys, turned: `[block of tokens][step]`; values, tokens in pairs: `[step][block of tokens]`.
        let mut keys = Room::<Line>::new(blocks * steps * each);
        let mut values = Room::<Line>::new(blocks * steps * each);
        for block in 0..blocks {
            for step in 0..steps {
                let panel = &mut keys[(block * steps + step) * each..][..each];
                panel.copy_from_slice(qkv.step(block, at(1, step)));
                for tile in panel.chunks_exact_mut(TILE) {
                    turn_tile(tile);
                }
                let own = qkv.step(block, at(2, step)).chunks_exact(PAIR);
                let panel = values[(step * blocks + block) * each..][..each].chunks_exact_mut(PAIR);
                for (own, panel) in own.zip(panel) {
                    pair_rows(own, panel);
                }
            }
        }
        let scale = ((steps * SIDE) as f32).powf(-0.5);
        // Of 32 queries, row by row; rows lie no power of two apart.
        let wide = 2 * blocks + 1;
        let mut scores = Room::<Line>::new(SIDE * wide);
        let mut weights = Room::<Line>::new(blocks * each);
        let mut sums = [Line::default(); 2 * SIDE];
        for (block, out) in out.chunks_exact_mut(steps * each).enumerate() {
            let starts = [qkv.start(block, at(0, 0))];
            for (other, panel) in keys.chunks_exact(steps * each).enumerate() {
                let out = &mut scores[2 * other..];
                multiply(Block {
                    form,
                    rows: qkv.lines(),
                    place,
                    starts: &starts,
                    steps,
                    panel,
                    out,
                    add: false,
                    wide,
                });
            }
            let mut shares = [0.0; SIDE];
            for (row, share) in shares.iter_mut().enumerate() {
                let scores = &mut scores[row * wide..][..2 * blocks];
                // Tokens that are none.
                for at in tokens..scores.len() * TILE {
                    scores[at / TILE].0[at % TILE] = f32::NEG_INFINITY.to_bits();
                }
                *share = weigh(form, scores, scale, &mut weights[row..]);
            }
            for (panel, out) in values.chunks_exact(blocks * each).zip(out.chunks_exact_mut(each)) {
                let (rows, out_sums) = (&weights, &mut sums);
                multiply(Block {
                    form,
                    rows,
                    place,
                    starts: &[0],
                    steps: blocks,
                    panel,
                    out: out_sums,
                    add: false,
                    wide: 2,
                });
                mix(form, &sums, &shares, out);
            }
        }
    }
}

/// Rows of sums, each times its share, as packed lines.
#[inline(always)]
#[allow(unsafe_code)]
fn mix(form: Form, sums: &Sums, shares: &[f32; SIDE], lines: &mut [Line]) {
    #[cfg(target_arch = "x86_64")]
    if form == Form::Brain && wide::is_here() {
        // SAFETY: these instructions are here.
        return unsafe { wide::mix(sums, shares, lines) };
    }
    for (row, share) in shares.iter().enumerate() {
        let mut values = [[0.0; TILE]; 2];
        for (values, sums) in values.iter_mut().zip(&sums[2 * row..]) {
            for i in 0..TILE {
                values[i] = f32::from_bits(sums.0[i]) * share;
            }
        }
        split_sums(form, &mut values, &mut lines[row..]);
    }
}

/// 32 rows of a step as a panel: the inner dimension runs over the rows then.
#[inline(always)]
pub(super) fn pair_rows(rows: &[Line], panel: &mut [Line]) {
    for row in 0..TILE {
        for i in 0..TILE {
            let (near, far) = (rows[row].0[i], rows[row + TILE].0[i]);
            panel[row].0[i] = near & 0xffff | far << 16;
            panel[row + TILE].0[i] = near >> 16 | far & 0xffff_0000;
        }
    }
}

/// Puts exponentials of scaled scores less the largest of them into packed lines, two lines of scores in one; 1 / their sum.
#[inline(always)]
#[allow(unsafe_code)]
fn weigh(form: Form, scores: &[Line], scale: f32, weights: &mut [Line]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if form == Form::Brain && wide::is_here() {
        // SAFETY: these instructions are here.
        return unsafe { wide::weigh(scores, scale * std::f32::consts::LOG2_E, weights) };
    }
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; TILE];
    for line in scores {
        for i in 0..TILE {
            lanes[i] = larger(lanes[i], f32::from_bits(line.0[i]));
        }
    }
    let highest = lanes.into_iter().fold(f32::NEG_INFINITY, larger);
    let mut total = [0.0; TILE];
    let near_scale = scale * std::f32::consts::LOG2_E;
    let shift = -highest * near_scale;
    let (pairs, _) = scores.as_chunks::<2>();
    for (pair, lines) in pairs.iter().zip(weights.chunks_mut(form.lines())) {
        let mut values = [[0.0; TILE]; 2];
        for (values, line) in values.iter_mut().zip(pair) {
            if form == Form::Brain {
                for i in 0..TILE {
                    values[i] = exp2_near(f32::from_bits(line.0[i]).mul_add(near_scale, shift));
                }
            } else {
                for i in 0..TILE {
                    values[i] = exp((f32::from_bits(line.0[i]) - highest) * scale);
                }
            }
            for i in 0..TILE {
                total[i] += values[i];
            }
        }
        split_sums(form, &mut values, lines);
    }
    1.0 / total.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::super::values_of_waves as waves;
    use super::*;

    #[test]
    fn heads_attend_as_their_definition_says() {
        let own = matrix_unit::is_here().then(matrix_unit::own);
        for multiply in own.into_iter().chain([matrix_unit::emulated as Multiply]) {
            for (batch, tokens, heads, head) in [(2, 33, 2, 32), (1, 64, 1, 64), (1, 5, 1, 32)] {
                let (width, joint) = (heads * head, 3 * heads * head);
                let qkv = waves(batch * tokens * joint, 0.713);
                let found = attend_values(&qkv, [tokens, width], heads, multiply);
                for (at, found) in found.iter().enumerate() {
                    let (item, token, of) = (at / width / tokens, at / width % tokens, at % width);
                    let row = |token: usize, part: usize| {
                        &qkv[(item * tokens + token) * joint + part * width + of / head * head..][..head]
                    };
                    let score = |other: usize| {
                        let both = row(token, 0).iter().zip(row(other, 1));
                        both.map(|(a, b)| f64::from(a * b)).sum::<f64>() / (head as f64).sqrt()
                    };
                    let weights: Vec<f64> = (0..tokens).map(|other| score(other).exp()).collect();
                    let mixed =
                        (0..tokens).map(|other| weights[other] * f64::from(row(other, 2)[of % head])).sum::<f64>();
                    let exact = mixed / weights.iter().sum::<f64>();
                    assert!((f64::from(*found) - exact).abs() < 2e-2, "{tokens} {at}: {found} {exact}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        let mut qkv = waves(5 * 96, 0.7);
        qkv[3 * 96 + 40] = f32::NAN;
        let found = attend_values(&qkv, [5, 32], 1, matrix_unit::emulated);
        assert!(found.iter().all(|v| v.is_nan()), "a key that is none spoils every weight");
    }
}
