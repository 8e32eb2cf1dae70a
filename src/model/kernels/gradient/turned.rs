//! Images turned so that a channel's places lie side by side: what is summed over places becomes the inner dimension of a
//! product.

use super::super::factors::{PIECE, Rows};
use super::super::fill::in_parallel;
use super::super::instructions::Instructions;
use super::super::rows::{BLOCK, turn};
use super::super::taps::{Image, Part};
use pulp::NullaryFnOnce;

/// Lengths of the pieces of `rows` rows of `width` values each: no piece is longer than a product takes, none reaches over two
/// rows.
pub(super) fn pieces_along(rows: usize, width: usize) -> Vec<usize> {
    let (count, each) = cut(width);
    let lengths = (0..count).map(move |i| each.min(width - i * each));
    (0..rows).flat_map(|_| lengths.clone()).collect()
}

/// Pieces of a row and their length.
fn cut(width: usize) -> (usize, usize) {
    let count = width.div_ceil(PIECE).max(1);
    (count, width.div_ceil(count))
}

/// An image as `(channel, plane, row, column · batch)`: one plane for each remainder of a row's and a column's number by the
/// stride, each with a place of zeros all around.
pub(super) struct Turned {
    values: Vec<f32>,
    stride: usize,
    /// Of the result's phase: the planes have two more.
    size: [usize; 2],
    batch: usize,
    channels: usize,
}

impl Turned {
    pub(super) fn new(image: Image, stride: usize, size: [usize; 2]) -> Self {
        let mut new = Self { values: Vec::new(), stride, size, batch: image.batch, channels: image.channels };
        let channel = stride * stride * new.plane();
        new.values = in_parallel(image.channels * channel, BLOCK * channel, |task, out| {
            Instructions::here().registers().dispatch(Turn { image, to: &new, first: task * BLOCK, out });
        });
        new
    }

    /// Values of a row of a plane.
    fn row(&self) -> usize {
        (self.size[1] + 2) * self.batch
    }

    fn plane(&self) -> usize {
        (self.size[0] + 2) * self.row()
    }

    /// What the places of a phase read, `(tap · channel, place)`.
    pub(super) fn reading<'a>(&'a self, part: &Part) -> Reading<'a> {
        Reading { of: self, starts: part.starts(self.stride, self.size, self.batch) }
    }
}

/// See [`Turned::reading`].
pub(super) struct Reading<'a> {
    of: &'a Turned,
    /// By tap: where the first place lies within a channel.
    starts: Vec<usize>,
}

impl Rows for Reading<'_> {
    #[inline]
    fn piece(&self, row: usize, piece: usize) -> &[f32] {
        let Turned { values, stride, size, batch, channels } = self.of;
        let width = size[1] * batch;
        let (count, each) = cut(width);
        let (line, start) = (piece / count, piece % count * each);
        let channel = row % channels * stride * stride * self.of.plane();
        let at = channel + self.starts[row / channels] + line * self.of.row() + start;
        &values[at..at + each.min(width - start)]
    }
}

/// Some channels of an image, turned.
struct Turn<'a> {
    image: Image<'a>,
    to: &'a Turned,
    first: usize,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { image: Image { values, size: [height, width], batch, channels }, to, first, out } = self;
        let (stride, row) = (to.stride, to.row());
        let own = BLOCK.min(channels - first);
        let channel = out.len() / own;
        for plane in 0..stride * stride {
            let (below, right) = (plane / stride, plane % stride);
            // Places of the plane that are within the image.
            let wide = (width.saturating_sub(right)).div_ceil(stride).min(to.size[1] + 1) * batch;
            for line in 0..(height.saturating_sub(below)).div_ceil(stride).min(to.size[0] + 1) {
                let place = |i: usize| {
                    (line * stride + below) * width * batch + (i / batch * stride + right) * batch + i % batch
                };
                let to = plane * to.plane() + (line + 1) * row + batch;
                let whole = if own == BLOCK { wide / BLOCK * BLOCK } else { 0 };
                for start in (0..whole).step_by(BLOCK) {
                    let mut block = [[0.0; BLOCK]; BLOCK];
                    for (i, block) in block.iter_mut().enumerate() {
                        if let Some(found) = values[place(start + i) * channels + first..].first_chunk::<BLOCK>() {
                            *block = *found;
                        }
                    }
                    turn(&block, out, channel, to + start);
                }
                for i in whole..wide {
                    let from = &values[place(i) * channels + first..][..own];
                    from.iter().enumerate().for_each(|(c, v)| out[c * channel + to + i] = *v);
                }
            }
        }
    }
}
