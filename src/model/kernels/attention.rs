//! Attention that holds the scores of a few queries at a time. In float32, but for bfloat16 on a matrix unit: elsewhere rounding
//! the scores costs more time than it saves.

use super::factors::{Beside, Finish, PIECE, Rows};
use super::fill::in_parallel;
use super::instructions::Instructions;
use super::matrix_unit;
use super::product::Packed;
use super::steps::Exponentials;
use super::storage::{bad, values};
use super::tile_attention::{attend_values, fits};
use crate::model::Precision;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape};

/// Queries whose scores are held at a time; with some thousand keys they stay in a core's own caches. The matrix unit works on
/// 32 rows at a time.
fn queries_at_a_time(precision: Precision) -> usize {
    if precision == Precision::Bf16 { 64 } else { 48 }
}

/// Rows that a task puts into their final order.
const MERGED: usize = 32;

/// See [`super::attention`].
pub(super) struct Attention {
    pub heads: usize,
    /// Of both products.
    pub precision: Precision,
}

/// Queries of one head within the joint rows.
struct Queries<'a> {
    joint: &'a [f32],
    row: usize,
    head: usize,
}

impl Rows for Queries<'_> {
    fn piece(&self, row: usize, piece: usize) -> &[f32] {
        let start = row * self.row + piece * PIECE;
        &self.joint[start..start + PIECE.min(self.head - piece * PIECE)]
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, tokens, joint) = layout.shape().dims3()?;
        let (width, heads, all) = (joint / 3, self.heads, values(storage, layout)?);
        let head = width / heads;
        if joint != 3 * width || head == 0 || width != head * heads {
            return Err(bad(format!("attention of {heads} heads over {joint} features")));
        }
        if Instructions::has_unit_for(self.precision) && fits(width, heads) {
            let mixed = attend_values(all, [tokens, width], heads, matrix_unit::own());
            return Ok((CpuStorage::F32(mixed), Shape::from((batch, tokens, width))));
        }
        // One head of one item after the other; heads are put beside each other afterwards.
        let apart = in_parallel(batch * tokens * width, tokens * head, |task, out| {
            let own = &all[task / heads * tokens * joint..][..tokens * joint];
            one_head(own, [tokens, joint, head], task % heads, self.precision, out);
        });
        let merged = in_parallel(batch * tokens * width, MERGED * width, |task, out| {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let at = task * MERGED + row;
                for (h, out) in out.chunks_exact_mut(head).enumerate() {
                    let from = ((at / tokens * heads + h) * tokens + at % tokens) * head;
                    out.copy_from_slice(&apart[from..from + head]);
                }
            }
        });
        Ok((CpuStorage::F32(merged), Shape::from((batch, tokens, width))))
    }
}

/// `(tokens, joint)` → what one head mixes, `(tokens, head)`.
fn one_head(own: &[f32], [tokens, joint, head]: [usize; 3], number: usize, precision: Precision, out: &mut [f32]) {
    let at_a_time = queries_at_a_time(precision);
    let width = joint / 3;
    let at = |part: usize| part * width + number * head;
    let keys =
        Packed::new(precision, &Beside::pieces(1, head), tokens, None, |k, token| own[token * joint + at(1) + k]);
    // Rows of all heads lie a multiple of 4 KiB apart, and a column of them would not fit a cache.
    let mut own_values = Vec::with_capacity(tokens * head);
    own.chunks_exact(joint).for_each(|row| own_values.extend_from_slice(&row[at(2)..at(2) + head]));
    let mixed = Packed::new(precision, &Beside::pieces(1, tokens), head, None, |token, k| own_values[token * head + k]);
    let queries = Queries { joint: &own[at(0)..], row: joint, head };
    let mut scores = vec![0.0; at_a_time.min(tokens) * tokens];
    let mut sums = vec![0.0; at_a_time];
    for (block, out) in out.chunks_mut(at_a_time * head).enumerate() {
        let scores = &mut scores[..out.len() / head * tokens];
        scores.fill(0.0);
        keys.product_onto(&queries, block * at_a_time, scores, Finish::Bias);
        let scale = (head as f32).powf(-0.5);
        Instructions::here().registers().dispatch(Exponentials { rows: scores, width: tokens, scale, sums: &mut sums });
        mixed.product_onto(&Beside::new(vec![scores], tokens), 0, out, Finish::Bias);
        for (row, sum) in out.chunks_exact_mut(head).zip(&sums) {
            row.iter_mut().for_each(|v| *v /= sum);
        }
    }
}
