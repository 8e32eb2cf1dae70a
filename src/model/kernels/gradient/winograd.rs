//! 3×3 convolution of images of the same size by Winograd's F(2×2, 3×3) (arXiv 1509.09308): squares of 4 × 4 pixels and kernels are
//! transformed so that a square of 2 × 2 results costs 16 products in place of 36, as 16 matrix products over all squares. The
//! gradient of the kernel likewise.
//!
//! One row of squares is a task, so that sums do not depend on the number of threads.

use super::super::factors::{Beside, Finish, PIECE, Rows};
use super::super::fill::{Room, in_parallel};
use super::super::instructions::Instructions;
use super::super::product::Packed;
use super::super::rows::{transpose, transposed};
use super::super::taps::Image;
use crate::model::Precision;
use pulp::NullaryFnOnce;

/// Values of a transformed square.
const SQUARE: usize = 16;
/// Values that are transformed side by side: one register.
const LANES: usize = 8;
/// Values of a transformed image that are held at a time (4 MiB, so that they stay in a cache).
const MOST: usize = 1 << 20;
/// Below so many channels the transformations cost more than they save.
const LEAST: usize = 32;

/// How far apart the beginnings of 16 matrices of so many values lie that are written side by side: a cache line further than
/// they are long, or all would fall into the same few lines of the innermost cache.
fn apart(length: usize) -> usize {
    length + 16
}

/// Whether a convolution can, and should, go this way.
pub(super) fn suits([height, width]: [usize; 2], inputs: usize, outputs: usize, precision: Precision) -> bool {
    let whole = height > 2 && width > 2 && height.is_multiple_of(2) && width.is_multiple_of(2);
    precision == Precision::F32 && whole && inputs >= LEAST && outputs >= LEAST
}

/// A kernel transformed, 16 matrices `(outputs, inputs)`, from `(outputs, inputs, 3, 3)`; turned by half a turn for the way
/// back.
pub(super) fn transformed_kernel(kernel: &[f32], turned: bool) -> Vec<f32> {
    // (tap, output · input)
    let (taps, count) = (transposed(kernel, 9), kernel.len() / 9);
    let of = |tap: usize| &taps[if turned { 8 - tap } else { tap } * count..][..count];
    let once = |[a, b, c]: [f32; 3]| [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c];
    in_parallel(SQUARE * count, count, |at, out| {
        let (row, column) = (at / 4, at % 4);
        // Rows that go into this one, with their factors.
        let weights: Vec<(usize, f32)> = (0..9)
            .map(|tap| {
                let one = |i: usize| once(std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }));
                (tap, one(tap / 3)[row] * one(tap % 3)[column])
            })
            .filter(|(_, weight)| *weight != 0.0)
            .collect();
        for (tap, weight) in weights {
            out.iter_mut().zip(of(tap)).for_each(|(sum, v)| *sum += weight * v);
        }
    })
}

/// `image` convolved by a transformed kernel of `outputs` outputs: `(row, column, batch, output)`. `packed` are its matrices,
/// from inputs to outputs.
pub(super) fn convolve(image: Image, packed: &[Packed], bias: Option<&[f32]>) -> Vec<f32> {
    let [height, width] = image.size;
    let outputs = packed[0].columns();
    let (inner, pixel) = (image.batch * image.channels, image.batch * outputs);
    let bias: Vec<f32> = bias.map_or_else(|| vec![0.0; pixel], |bias| bias.repeat(image.batch));
    let squares = width / 2;
    in_parallel(height * width * pixel, 2 * width * pixel, |row, out| {
        let [of_before, of_after] = [squares * inner, squares * pixel].map(apart);
        let mut room = Room::new(SQUARE * (of_before + of_after));
        let (before, after) = room.split_at_mut(SQUARE * of_before);
        dispatch(Squares { image, row, out: before });
        let pairs = before.chunks_exact(of_before).zip(after.chunks_exact_mut(of_after));
        for ((before, after), packed) in pairs.zip(packed) {
            let rows = Beside::new(vec![&before[..squares * inner]], image.channels);
            packed.product_into(&rows, 0, &mut after[..squares * pixel], Finish::Bias);
        }
        dispatch(Results { after, squares, bias: &bias, out });
    })
}

/// The gradient of a kernel from an image and the gradient of the result: nine matrices `(inputs, outputs)`.
pub(super) fn of_kernel(image: Image, gradient: &[f32], outputs: usize) -> Vec<f32> {
    let [height, width] = image.size;
    let (inputs, count) = (image.channels, width / 2 * image.batch);
    let result = Image { values: gradient, channels: outputs, ..image };
    let cuts: Vec<(usize, usize)> = (0..count).step_by(PIECE).map(|at| (at, PIECE.min(count - at))).collect();
    // As many rows of squares at a time as keep both transformed images small.
    let together = (MOST / (SQUARE * count * inputs.max(outputs))).max(1);
    let mut squares = vec![Vec::new(); SQUARE];
    for first in (0..height / 2).step_by(together) {
        let rows = together.min(height / 2 - first);
        // By row of squares: 16 matrices (input, square) and 16 matrices (square, output).
        let of_image = in_parallel(SQUARE * rows * count * inputs, SQUARE * count * inputs, |row, out| {
            let step = apart(count * inputs);
            let mut squares = Room::new(SQUARE * step);
            dispatch(Squares { image, row: first + row, out: &mut squares });
            for (squares, out) in squares.chunks_exact(step).zip(out.chunks_exact_mut(count * inputs)) {
                transpose(&squares[..count * inputs], inputs, out);
            }
        });
        let step = apart(count * outputs);
        let of_result = in_parallel(SQUARE * rows * step, SQUARE * step, |row, out| {
            dispatch(Corners { result, row: first + row, out });
        });
        let pieces: Vec<usize> = (0..rows).flat_map(|_| cuts.iter().map(|cut| cut.1)).collect();
        for (at, sums) in squares.iter_mut().enumerate() {
            let of_image = OfImage { values: &of_image, at, count, inputs, cuts: &cuts };
            let part = |piece: usize| {
                let (row, (start, length)) = (piece / cuts.len(), cuts[piece % cuts.len()]);
                &of_result[(row * SQUARE + at) * step + start * outputs..][..length * outputs]
            };
            let packed = Packed::of_pieces(Precision::F32, &pieces, outputs, None, part);
            let onto = Some(sums.as_slice()).filter(|sums| !sums.is_empty());
            *sums = packed.product(&of_image, inputs, Finish::Bias, onto);
        }
    }
    let once = |i: usize| [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]][i];
    in_parallel(9 * inputs * outputs, inputs * outputs, |tap, out| {
        for (at, squares) in squares.iter().enumerate() {
            let weight: f32 = once(at / 4)[tap / 3] * once(at % 4)[tap % 3];
            if weight != 0.0 {
                out.iter_mut().zip(squares).for_each(|(sum, v)| *sum += weight * v);
            }
        }
    })
}

/// A channel's squares, one value of each.
struct OfImage<'a> {
    values: &'a [f32],
    at: usize,
    /// Squares of a row.
    count: usize,
    inputs: usize,
    cuts: &'a [(usize, usize)],
}

impl Rows for OfImage<'_> {
    #[inline]
    fn piece(&self, channel: usize, piece: usize) -> &[f32] {
        let (row, (start, length)) = (piece / self.cuts.len(), self.cuts[piece % self.cuts.len()]);
        &self.values[((row * SQUARE + self.at) * self.inputs + channel) * self.count + start..][..length]
    }

    #[inline]
    fn pieces_together(&self, first: usize, count: usize, row: usize) -> Option<&[f32]> {
        let start = ((row * SQUARE + self.at) * self.inputs + first) * self.count;
        (self.cuts.len() == 1).then(|| &self.values[start..start + count * self.count])
    }
}

fn dispatch(task: impl NullaryFnOnce<Output = ()>) {
    Instructions::here().registers().dispatch(task);
}

type Vector = [f32; LANES];

// Loops and not closures, which would not be sure to be compiled for the registers at hand.

#[inline(always)]
fn load(values: &[f32], at: usize) -> Vector {
    if let Some(own) = values[at..].first_chunk() { *own } else { load_rest(&values[at..]) }
}

#[inline(always)]
fn store(values: &mut [f32], at: usize, vector: &Vector) {
    if let Some(own) = values[at..].first_chunk_mut() {
        *own = *vector;
    } else {
        store_rest(&mut values[at..], vector);
    }
}

// By themselves, so that whole registers are not moved by calls of the same copy as these.

#[cold]
#[inline(never)]
fn load_rest(values: &[f32]) -> Vector {
    let mut vector = [0.0; LANES];
    vector[..values.len()].copy_from_slice(values);
    vector
}

#[cold]
#[inline(never)]
fn store_rest(values: &mut [f32], vector: &Vector) {
    let length = values.len();
    values.copy_from_slice(&vector[..length]);
}

#[inline(always)]
fn add(a: &Vector, b: &Vector) -> Vector {
    let mut sum = *a;
    for (sum, b) in sum.iter_mut().zip(b) {
        *sum += b;
    }
    sum
}

#[inline(always)]
fn less(a: &Vector, b: &Vector) -> Vector {
    let mut rest = *a;
    for (rest, b) in rest.iter_mut().zip(b) {
        *rest -= b;
    }
    rest
}

/// A row of an image's squares, which overlap, transformed: 16 matrices `(square · batch, channel)`.
struct Squares<'a> {
    image: Image<'a>,
    row: usize,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Image { values, size: [height, width], batch, channels } = self.image;
        let pixel = batch * channels;
        let zeros = vec![0.0; pixel];
        let matrix = self.out.len() / SQUARE;
        let mut all = [[zeros.as_slice(); 4]; 4];
        for square in 0..width / 2 {
            for (i, line) in all.iter_mut().enumerate() {
                for (j, place) in line.iter_mut().enumerate() {
                    // What is above or to the left of all wraps around and is outside, too.
                    let (y, x) = ((2 * self.row + i).wrapping_sub(1), (2 * square + j).wrapping_sub(1));
                    let inside = y < height && x < width;
                    *place = if inside { &values[(y * width + x) * pixel..][..pixel] } else { &zeros };
                }
            }
            for at in (0..pixel).step_by(LANES) {
                // Row by row of what rows become, so that no more than a few registers are full.
                for i in 0..4 {
                    let (first, second) = [(0, 2), (1, 2), (2, 1), (1, 3)][i];
                    let plus = i == 1;
                    let mut half = [[0.0; LANES]; 4];
                    for (j, half) in half.iter_mut().enumerate() {
                        let (a, b) = (load(all[first][j], at), load(all[second][j], at));
                        *half = if plus { add(&a, &b) } else { less(&a, &b) };
                    }
                    let [a, b, c, d] = &half;
                    let start = 4 * i * matrix + square * pixel;
                    store(&mut self.out[start..start + pixel], at, &less(a, c));
                    store(&mut self.out[start + matrix..][..pixel], at, &add(b, c));
                    store(&mut self.out[start + 2 * matrix..][..pixel], at, &less(c, b));
                    store(&mut self.out[start + 3 * matrix..][..pixel], at, &less(b, d));
                }
            }
        }
    }
}

/// Two rows of results from a row of transformed squares.
struct Results<'a> {
    after: &'a [f32],
    squares: usize,
    /// By item and output.
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Results<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (pixel, matrix) = (self.bias.len(), self.after.len() / SQUARE);
        let (upper, lower) = self.out.split_at_mut(2 * self.squares * pixel);
        for square in 0..self.squares {
            for at in (0..pixel).step_by(LANES) {
                let (mut above, mut below) = ([[0.0; LANES]; 4], [[0.0; LANES]; 4]);
                for j in 0..4 {
                    let start = j * matrix + square * pixel;
                    let a = load(&self.after[start..start + pixel], at);
                    let b = load(&self.after[start + 4 * matrix..][..pixel], at);
                    let c = load(&self.after[start + 8 * matrix..][..pixel], at);
                    let d = load(&self.after[start + 12 * matrix..][..pixel], at);
                    above[j] = add(&add(&a, &b), &c);
                    below[j] = less(&less(&b, &c), &d);
                }
                let (bias, left) = (load(self.bias, at), 2 * square * pixel);
                for (row, [a, b, c, d]) in [(&mut *upper, &above), (&mut *lower, &below)] {
                    store(&mut row[left..left + pixel], at, &add(&add(&add(a, b), c), &bias));
                    store(&mut row[left + pixel..][..pixel], at, &add(&less(&less(b, c), d), &bias));
                }
            }
        }
    }
}

/// A row of 2 × 2 results' gradients, transformed: 16 matrices `(square · batch, channel)`.
struct Corners<'a> {
    result: Image<'a>,
    row: usize,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Corners<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Image { values, size: [_, width], batch, channels } = self.result;
        let (pixel, matrix) = (batch * channels, self.out.len() / SQUARE);
        let zero = [0.0; LANES];
        for square in 0..width / 2 {
            let start = (2 * self.row * width + 2 * square) * pixel;
            let (upper, lower) = (&values[start..][..2 * pixel], &values[start + width * pixel..][..2 * pixel]);
            for at in (0..pixel).step_by(LANES) {
                let (a, b) = (load(&upper[..pixel], at), load(&upper[pixel..], at));
                let (c, d) = (load(&lower[..pixel], at), load(&lower[pixel..], at));
                let left = [a, add(&a, &c), less(&a, &c), less(&zero, &c)];
                let right = [b, add(&b, &d), less(&b, &d), less(&zero, &d)];
                for i in 0..4 {
                    let (left, right) = (&left[i], &right[i]);
                    let start = 4 * i * matrix + square * pixel;
                    store(&mut self.out[start..start + pixel], at, left);
                    store(&mut self.out[start + matrix..][..pixel], at, &add(left, right));
                    store(&mut self.out[start + 2 * matrix..][..pixel], at, &less(left, right));
                    store(&mut self.out[start + 3 * matrix..][..pixel], at, &less(&zero, right));
                }
            }
        }
    }
}
