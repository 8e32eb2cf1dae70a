//! Attention and its gradient, which computes the scores anew instead of keeping them.

use super::super::factors::{Beside, Finish};
use super::super::fill::in_parallel;
use super::super::instructions::Instructions;
use super::super::matrix_unit;
use super::super::product::Packed;
use super::super::rows::transposed;
use super::super::steps::Exponentials;
use super::super::tile_attention::fits;
use super::{Held, made, tile_attention};
use crate::model::Precision;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use pulp::NullaryFnOnce;

/// Queries whose scores are held at a time.
const QUERIES: usize = 64;

/// See [`super::attention`].
pub(super) struct Attention {
    heads: usize,
    precision: Precision,
}

impl Attention {
    pub(super) fn new(heads: usize, precision: Precision) -> Self {
        Self { heads, precision }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention-with-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        super::super::attention::Attention { heads: self.heads, precision: self.precision }.cpu_fwd(storage, layout)
    }

    fn bwd(&self, qkv: &Tensor, out: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (batch, tokens, width) = out.dims3()?;
        let head = width / self.heads;
        let (all, mixed, gradient) = (Held::of(qkv)?, Held::of(out)?, Held::of(&grad)?);
        let size = 3 * tokens * head;
        let in_tiles = Instructions::has_unit_for(self.precision) && fits(width, self.heads);
        // Gradients of queries, keys and values, one head of one item after the other.
        let of_heads = |task: usize, out: &mut [f32]| {
            let (item, number) = (task / self.heads, task % self.heads);
            let rows = |values: &[f32], parts: usize, part: usize| -> Vec<f32> {
                let own = &values[item * tokens * parts * width..][..tokens * parts * width];
                let start = part * width + number * head;
                let mut found = Vec::with_capacity(tokens * head);
                own.chunks_exact(parts * width).for_each(|row| found.extend_from_slice(&row[start..start + head]));
                found
            };
            let one = Head {
                queries: rows(&all, 3, 0),
                keys: rows(&all, 3, 1),
                values: rows(&all, 3, 2),
                mixed: rows(&mixed, 1, 0),
                gradient: rows(&gradient, 1, 0),
                width: head,
                precision: self.precision,
            };
            one.backward(out);
        };
        let apart = if in_tiles {
            tile_attention::backward([&all, &mixed, &gradient], [tokens, width], self.heads, matrix_unit::own())
        } else {
            in_parallel(batch * self.heads * size, size, of_heads)
        };
        let joint = 3 * width;
        let merged = in_parallel(batch * tokens * joint, joint, |at, out| {
            let (item, token) = (at / tokens, at % tokens);
            for (piece, out) in out.chunks_exact_mut(head).enumerate() {
                let (part, number) = (piece / self.heads, piece % self.heads);
                let from = (item * self.heads + number) * size + (part * tokens + token) * head;
                out.copy_from_slice(&apart[from..from + head]);
            }
        });
        made(merged, qkv.shape())
    }
}

/// One head of one item, `(tokens, width)` each.
struct Head {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    mixed: Vec<f32>,
    /// Of what was mixed.
    gradient: Vec<f32>,
    width: usize,
    precision: Precision,
}

impl Head {
    /// Puts the gradients of queries, keys and values after each other.
    fn backward(&self, out: &mut [f32]) {
        let width = self.width;
        let tokens = self.queries.len() / width;
        let (of_queries, rest) = out.split_at_mut(tokens * width);
        let (of_keys, of_values) = rest.split_at_mut(tokens * width);
        let turned =
            |values: &[f32]| Packed::of_columns(self.precision, &Beside::pieces(1, width), tokens, None, values);
        let (keys, values) = (turned(&self.keys), turned(&self.values));
        let key_rows = Packed::of_rows(self.precision, &Beside::pieces(1, tokens), width, None, &self.keys);
        let scale = (width as f32).powf(-0.5);
        let arch = Instructions::here().registers();
        for first in (0..tokens).step_by(QUERIES) {
            let count = QUERIES.min(tokens - first);
            let own = first * width..(first + count) * width;
            let (queries, gradient, mixed) =
                (&self.queries[own.clone()], &self.gradient[own.clone()], &self.mixed[own.clone()]);
            let mut weights = vec![0.0; count * tokens];
            let mut sums = vec![0.0; count];
            keys.product_onto(&Beside::new(vec![queries], width), 0, &mut weights, Finish::Bias);
            arch.dispatch(Exponentials { rows: &mut weights, width: tokens, scale, sums: &mut sums });
            let mut of_scores = vec![0.0; count * tokens];
            values.product_onto(&Beside::new(vec![gradient], width), 0, &mut of_scores, Finish::Bias);
            arch.dispatch(OfScores {
                weights: &mut weights,
                sums: &sums,
                of_scores: &mut of_scores,
                gradient,
                mixed,
                scale,
            });
            key_rows.product_onto(&Beside::new(vec![&of_scores], tokens), 0, &mut of_queries[own], Finish::Bias);
            self.gather(&weights, gradient, of_values);
            self.gather(&of_scores, queries, of_keys);
        }
    }

    /// Adds `rowsᵀ · (count, width)`, `rows (count, tokens)`.
    fn gather(&self, rows: &[f32], other: &[f32], onto: &mut [f32]) {
        let (count, tokens) = (other.len() / self.width, onto.len() / self.width);
        let packed = Packed::of_rows(self.precision, &[count], self.width, None, other);
        let turned = transposed(rows, tokens);
        packed.product_onto(&Beside::new(vec![&turned], count), 0, onto, Finish::Bias);
    }
}

/// Finishes some rows of weights, and turns the gradients of weights into those of scores.
struct OfScores<'a> {
    /// Exponentials.
    weights: &'a mut [f32],
    /// Of them, by row.
    sums: &'a [f32],
    /// Of weights, at first.
    of_scores: &'a mut [f32],
    /// Of what was mixed.
    gradient: &'a [f32],
    mixed: &'a [f32],
    scale: f32,
}

impl NullaryFnOnce for OfScores<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { weights, sums, of_scores, gradient, mixed, scale } = self;
        let (tokens, width) = (weights.len() / sums.len(), gradient.len() / sums.len());
        let rows = weights.chunks_exact_mut(tokens).zip(of_scores.chunks_exact_mut(tokens));
        let both = gradient.chunks_exact(width).zip(mixed.chunks_exact(width));
        for (((weights, of_scores), (gradient, mixed)), total) in rows.zip(both).zip(sums) {
            let inner: f32 = gradient.iter().zip(mixed).map(|(a, b)| a * b).sum();
            let share = total.recip();
            for (weight, of_score) in weights.iter_mut().zip(of_scores) {
                *weight *= share;
                *of_score = *weight * (*of_score - inner) * scale;
            }
        }
    }
}
