//! The gradient of attention on the matrix unit, in bfloat16: scores are computed anew, some queries at a time.
// Loops over 16 lanes become one instruction each.
#![allow(clippy::needless_range_loop)]

use super::super::factors::Beside;
use super::super::fill::Room;
use super::super::functions::exp;
use super::super::instructions::Instructions;
use super::super::matrix_unit::{self, Block, Form, Line, Multiply, PAIR, Place, SIDE, Sums, TILE};
use super::super::tile_attention::pair_rows;
use super::super::tile_rows::{TileRows, TileSource, split_sums, turn_tile};
#[cfg(target_arch = "x86_64")]
use super::super::wide;
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// Blocks of 32 queries whose scores are held at a time.
const BLOCKS: usize = 2;

/// Gradients of queries, keys and values, `[item][head][queries, keys, values][token][feature]`, from these beside each other, what
/// heads mixed, and its gradient; heads are whole steps.
pub(super) fn backward(
    [qkv, mixed, gradient]: [&[f32]; 3],
    [tokens, width]: [usize; 2],
    heads: usize,
    multiply: Multiply,
) -> Vec<f32> {
    let head = width / heads;
    let pack = |values: &[f32], width: usize| {
        let mut rows = TileRows::new(Form::Brain, tokens, width / SIDE);
        rows.pack(&Beside::new(vec![values], width), &Beside::pieces(1, width), 0, tokens);
        rows
    };
    let mut out = vec![0.0; qkv.len()];
    let items = out.chunks_exact_mut(3 * tokens * width).enumerate();
    for (item, out) in items {
        let own = item * tokens * width..(item + 1) * tokens * width;
        let (mixed, gradient) = (&mixed[own.clone()], &gradient[own.clone()]);
        let (all, of_mixed) = (pack(&qkv[3 * own.start..3 * own.end], 3 * width), pack(gradient, width));
        out.par_chunks_exact_mut(3 * tokens * head).enumerate().for_each(|(number, out)| {
            let (qkv, of_mixed) = (&all, &of_mixed);
            let steps = head / SIDE;
            let one = Head { qkv, of_mixed, mixed, gradient, tokens, heads, number, steps, multiply, out };
            Instructions::here().registers().dispatch(one);
        });
    }
    out
}

/// One head of one item.
struct Head<'a> {
    qkv: &'a TileRows,
    /// The gradient of what was mixed.
    of_mixed: &'a TileRows,
    /// The same and what was mixed, `(token, width)`.
    gradient: &'a [f32],
    mixed: &'a [f32],
    tokens: usize,
    heads: usize,
    number: usize,
    steps: usize,
    multiply: Multiply,
    out: &'a mut [f32],
}

/// Rows and columns of a step for all blocks of tokens, as panels.
fn panels(blocks: usize, steps: usize, step_first: bool, fill: impl Fn(usize, usize, &mut [Line])) -> Room<Line> {
    let mut panels = Room::new(blocks * steps * PAIR);
    for block in 0..blocks {
        for step in 0..steps {
            let at = if step_first { step * blocks + block } else { block * steps + step };
            fill(block, step, &mut panels[at * PAIR..][..PAIR]);
        }
    }
    panels
}

impl NullaryFnOnce for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { qkv, of_mixed, gradient, mixed, tokens, heads, number, steps, multiply, out } = self;
        let _ready = matrix_unit::ready();
        let (form, place) = (Form::Brain, Place::packed(Form::Brain));
        let (blocks, head, width) = (tokens.div_ceil(SIDE), steps * SIDE, heads * steps * SIDE);
        let at = |part: usize, step: usize| (part * heads + number) * steps + step;
        let turned = |part: usize| {
            panels(blocks, steps, false, |block, step, panel| {
                panel.copy_from_slice(qkv.step(block, at(part, step)));
                panel.chunks_exact_mut(TILE).for_each(turn_tile);
            })
        };
        let (keys, values) = (turned(1), turned(2));
        let key_rows = panels(blocks, steps, true, |block, step, panel| pair_rows(qkv.step(block, at(1, step)), panel));
        let scale = (head as f32).powf(-0.5);
        let wide = 2 * blocks + 1;
        let [mut weights, mut of_scores] = [(); 2].map(|()| Room::<Line>::new(SIDE * wide));
        // Packed rows of a block of queries, and the same turned, `[block of keys][block of queries]`.
        let mut rows = Room::<Line>::new(blocks * PAIR);
        let [mut weights_turned, mut scores_turned] = [(); 2].map(|()| Room::<Line>::new(blocks * BLOCKS * PAIR));
        // Queries and gradients as panels, `[step][block of queries]`.
        let [mut queries, mut gradients] = [(); 2].map(|()| Room::<Line>::new(steps * BLOCKS * PAIR));
        let [mut of_keys, mut of_values]: [Vec<Sums>; 2] =
            [(); 2].map(|()| vec![[Line::default(); 2 * SIDE]; blocks * steps]);
        let mut sums = [Line::default(); 2 * SIDE];
        let (of_queries, rest) = out.split_at_mut(tokens * head);
        for first in (0..blocks).step_by(BLOCKS) {
            let count = BLOCKS.min(blocks - first);
            for own in 0..count {
                let block = first + own;
                for (source, start, panels, scores) in [
                    (qkv, qkv.start(block, at(0, 0)), &keys, &mut weights),
                    (of_mixed, of_mixed.start(block, number * steps), &values, &mut of_scores),
                ] {
                    for (other, panel) in panels.chunks_exact(steps * PAIR).enumerate() {
                        let (rows, out) = (source.lines(), &mut scores[2 * other..]);
                        multiply(Block { form, rows, place, starts: &[start], steps, panel, out, add: false, wide });
                    }
                }
                for row in 0..SIDE {
                    let token = block * SIDE + row;
                    let scores = &mut weights[row * wide..][..2 * blocks];
                    let of_scores = &mut of_scores[row * wide..][..2 * blocks];
                    if token >= tokens {
                        scores.fill(Line::default());
                        of_scores.fill(Line::default());
                        continue;
                    }
                    let own = token * width + number * head..token * width + (number + 1) * head;
                    let inner: f32 = gradient[own.clone()].iter().zip(&mixed[own]).map(|(a, b)| a * b).sum();
                    finish(scores, of_scores, tokens, scale, inner);
                }
                to_rows(&of_scores, wide, &mut rows);
                to_columns(&rows, own, &mut scores_turned);
                for (step, panel) in key_rows.chunks_exact(blocks * PAIR).enumerate() {
                    let (starts, steps, out) = (&[0], blocks, &mut sums);
                    multiply(Block { form, rows: &rows, place, starts, steps, panel, out, add: false, wide: 2 });
                    put(&sums, [block, step, head], of_queries);
                }
                to_rows(&weights, wide, &mut rows);
                to_columns(&rows, own, &mut weights_turned);
                for step in 0..steps {
                    let at_panel = (step * BLOCKS + own) * PAIR;
                    pair_rows(qkv.step(block, at(0, step)), &mut queries[at_panel..][..PAIR]);
                    pair_rows(of_mixed.step(block, number * steps + step), &mut gradients[at_panel..][..PAIR]);
                }
            }
            for (turned, panels, sums) in
                [(&scores_turned, &queries, &mut of_keys), (&weights_turned, &gradients, &mut of_values)]
            {
                for (at, out) in sums.iter_mut().enumerate() {
                    let (rows, panel) =
                        (&turned[at / steps * BLOCKS * PAIR..][..count * PAIR], at % steps * BLOCKS * PAIR);
                    let panel = &panels[panel..][..count * PAIR];
                    multiply(Block { form, rows, place, starts: &[0], steps: count, panel, out, add: true, wide: 2 });
                }
            }
        }
        let (keys, values) = rest.split_at_mut(tokens * head);
        for (sums, out) in [(&of_keys, keys), (&of_values, values)] {
            for (at, sums) in sums.iter().enumerate() {
                put(sums, [at / steps, at % steps, head], out);
            }
        }
    }
}

/// Makes weights of a row of scores, and the gradients of scores of those of weights; `inner` is the sum of their products.
#[inline(always)]
#[allow(unsafe_code)]
fn finish(scores: &mut [Line], of_scores: &mut [Line], tokens: usize, scale: f32, inner: f32) {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    for at in tokens..scores.len() * TILE {
        scores[at / TILE].0[at % TILE] = f32::NEG_INFINITY.to_bits();
    }
    #[cfg(target_arch = "x86_64")]
    if wide::is_here() {
        // SAFETY: these instructions are here.
        return unsafe { wide::weigh_backward(scores, of_scores, scale, inner) };
    }
    let mut lanes = [f32::NEG_INFINITY; TILE];
    for line in &*scores {
        for i in 0..TILE {
            lanes[i] = larger(lanes[i], f32::from_bits(line.0[i]));
        }
    }
    let highest = lanes.into_iter().fold(f32::NEG_INFINITY, larger);
    let mut total = [0.0; TILE];
    for line in &mut *scores {
        for i in 0..TILE {
            let weight = exp((f32::from_bits(line.0[i]) - highest) * scale);
            line.0[i] = weight.to_bits();
            total[i] += weight;
        }
    }
    let share = 1.0 / total.iter().sum::<f32>();
    for (line, of_line) in scores.iter_mut().zip(of_scores) {
        for i in 0..TILE {
            let weight = f32::from_bits(line.0[i]) * share;
            line.0[i] = weight.to_bits();
            of_line.0[i] = (weight * (f32::from_bits(of_line.0[i]) - inner) * scale).to_bits();
        }
    }
}

/// Rows of values, two lines for each step, as packed rows.
#[inline(always)]
#[allow(unsafe_code)]
fn to_rows(values: &[Line], apart: usize, rows: &mut [Line]) {
    #[cfg(target_arch = "x86_64")]
    if wide::is_here() {
        // SAFETY: these instructions are here.
        return unsafe { wide::to_rows(values, apart, rows) };
    }
    for (step, lines) in rows.chunks_exact_mut(PAIR).enumerate() {
        for (row, line) in lines.iter_mut().enumerate() {
            let mut both = [[0.0; TILE]; 2];
            for (half, values) in both.iter_mut().zip(&values[row * apart + 2 * step..]) {
                for i in 0..TILE {
                    half[i] = f32::from_bits(values.0[i]);
                }
            }
            split_sums(Form::Brain, &mut both, std::slice::from_mut(line));
        }
    }
}

/// Packed rows of 32 queries turned: rows of keys, a step of them in each block of keys.
#[inline(always)]
fn to_columns(rows: &[Line], step: usize, turned: &mut [Line]) {
    for (rows, turned) in rows.chunks_exact(PAIR).zip(turned.chunks_exact_mut(BLOCKS * PAIR)) {
        let turned = &mut turned[step * PAIR..][..PAIR];
        pair_rows(rows, turned);
        turned.chunks_exact_mut(TILE).for_each(turn_tile);
    }
}

/// Writes the sums of a block of tokens and a step of features, as far as there are tokens.
#[inline(always)]
fn put(sums: &Sums, [block, step, head]: [usize; 3], out: &mut [f32]) {
    let rows = out.chunks_exact_mut(head).skip(block * SIDE);
    for (row, pair) in rows.zip(sums.as_chunks::<2>().0) {
        for (half, line) in row[step * SIDE..][..SIDE].chunks_exact_mut(TILE).zip(pair) {
            for (v, word) in half.iter_mut().zip(&line.0) {
                *v = f32::from_bits(*word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tile_attention::attend_values;
    use super::*;

    /// Waves that get shorter and shorter: no two heads look alike, and nothing cancels.
    fn waves(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| 2.0 * ((i * i % 9973) as f32 * step).sin()).collect()
    }

    #[test]
    fn gradients_are_those_of_the_definition() {
        let own = matrix_unit::is_here().then(matrix_unit::own);
        for multiply in own.into_iter().chain([matrix_unit::emulated as Multiply]) {
            for (batch, tokens, heads, head) in [(2, 33, 2, 32), (1, 100, 1, 64)] {
                let width = heads * head;
                let (qkv, gradient) = (waves(batch * tokens * 3 * width, 0.713), waves(batch * tokens * width, 0.37));
                let mixed = attend_values(&qkv, [tokens, width], heads, multiply);
                let found = backward([&qkv, &mixed, &gradient], [tokens, width], heads, multiply);
                let scale = (head as f64).powf(-0.5);
                for (at, found) in found.chunks_exact(3 * tokens * head).enumerate() {
                    let (item, number) = (at / heads, at % heads);
                    let row = |values: &[f32], parts: usize, part: usize, token: usize| -> Vec<f64> {
                        let start = (item * tokens + token) * parts * width + part * width + number * head;
                        values[start..start + head].iter().map(|v| f64::from(*v)).collect()
                    };
                    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    let part = |part: usize| -> Vec<Vec<f64>> { (0..tokens).map(|t| row(&qkv, 3, part, t)).collect() };
                    let (queries, keys, values) = (part(0), part(1), part(2));
                    let mut expected = vec![0.0; 3 * tokens * head];
                    for t in 0..tokens {
                        let gradient = row(&gradient, 1, 0, t);
                        let weights: Vec<f64> = keys.iter().map(|key| (dot(&queries[t], key) * scale).exp()).collect();
                        let total: f64 = weights.iter().sum();
                        let of_weights: Vec<f64> = values.iter().map(|value| dot(&gradient, value)).collect();
                        let inner = dot(&weights, &of_weights) / total;
                        for other in 0..tokens {
                            let weight = weights[other] / total;
                            let of_score = weight * (of_weights[other] - inner) * scale;
                            for i in 0..head {
                                expected[t * head + i] += of_score * keys[other][i];
                                expected[(tokens + other) * head + i] += of_score * queries[t][i];
                                expected[(2 * tokens + other) * head + i] += weight * gradient[i];
                            }
                        }
                    }
                    for (part, (found, expected)) in
                        found.chunks_exact(tokens * head).zip(expected.chunks_exact(tokens * head)).enumerate()
                    {
                        let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
                        let off = found.iter().zip(expected).fold(0f64, |m, (a, b)| m.max((f64::from(*a) - b).abs()));
                        assert!(off < 0.05 * largest, "{tokens} tokens, part {part}: {off} of {largest}");
                    }
                }
            }
        }
    }
}
