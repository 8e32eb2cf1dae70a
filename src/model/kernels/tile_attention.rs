//! Attention on the matrix unit: scores of 32 queries with all keys lie in a core's own cache.

use super::fill::Room;
use super::functions::{exp, exp2_near};
use super::instructions::Instructions;
use super::matrix_unit::{self, Block, Form, Line, PAIR, Place, SIDE, Sums, TILE};
use super::tile_rows::{TileRows, TileSource, split_sums, turn_tile};
#[cfg(target_arch = "x86_64")]
use super::wide;
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// What the heads mix, `[head][block][step][part][32 lines]`, from rows of queries, keys and values beside each other, each
/// `width` wide; a head is some whole steps of them.
pub(super) fn attend(qkv: &TileRows, tokens: usize, heads: usize, width: usize) -> Room<Line> {
    let steps = width / heads / SIDE;
    let each = tokens.div_ceil(SIDE) * steps * qkv.form().lines();
    let mut lines = Room::new(heads * each);
    lines.par_chunks_exact_mut(each).enumerate().for_each(|(head, out)| {
        Instructions::here().registers().dispatch(Head { qkv, tokens, heads, head, steps, out });
    });
    lines
}

/// What one head mixes.
struct Head<'a> {
    qkv: &'a TileRows,
    tokens: usize,
    heads: usize,
    head: usize,
    steps: usize,
    out: &'a mut [Line],
}

impl NullaryFnOnce for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { qkv, tokens, heads, head, steps, out } = self;
        let _ready = matrix_unit::ready();
        let multiply = matrix_unit::own();
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
                multiply(Block { form, rows: qkv.lines(), place, starts: &starts, steps, panel, out, wide });
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
                multiply(Block { form, rows, place, starts: &[0], steps: blocks, panel, out: out_sums, wide: 2 });
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
fn pair_rows(rows: &[Line], panel: &mut [Line]) {
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
