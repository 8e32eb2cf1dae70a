//! What a 3×3 convolution reads, as products: forward, and under training backward to its input.
//!
//! A place of the result reads the places `stride · place + offset` of its source. Doubled pixels never exist: of the result there
//! are four *phases* (even and odd rows and columns), and each reads fewer places than nine, with sums of the weights of the taps
//! that meet there. The same holds backward.

use super::Sampling;
use super::factors::{PIECE, Rows};

/// Places along one direction that are read, each with the taps of the kernel that meet there.
type Along = &'static [(isize, &'static [usize])];

/// How a result is made from its source along rows; along columns alike.
#[derive(Debug)]
pub(super) struct Plan {
    pub stride: usize,
    /// One, or one for even and one for odd places.
    pub phases: &'static [Along],
}

impl Plan {
    pub(super) fn forward(sampling: Sampling) -> Self {
        match sampling {
            Sampling::Same => Self { stride: 1, phases: &[&[(-1, &[0]), (0, &[1]), (1, &[2])]] },
            Sampling::Half => Self { stride: 2, phases: &[&[(0, &[0]), (1, &[1]), (2, &[2])]] },
            Sampling::Double => Self { stride: 1, phases: &[&[(-1, &[0]), (0, &[1, 2])], &[(0, &[0, 1]), (1, &[2])]] },
        }
    }

    /// From the gradient of the result to that of the source.
    pub(super) fn backward(sampling: Sampling) -> Self {
        match sampling {
            Sampling::Same => Self { stride: 1, phases: &[&[(1, &[0]), (0, &[1]), (-1, &[2])]] },
            Sampling::Half => Self { stride: 1, phases: &[&[(0, &[0]), (-1, &[2])], &[(0, &[1])]] },
            Sampling::Double => Self { stride: 2, phases: &[&[(-1, &[2]), (0, &[1, 2]), (1, &[0, 1]), (2, &[0])]] },
        }
    }

    /// Every pair of phases of rows and columns.
    pub(super) fn parts(&self) -> Vec<Part> {
        let pairs = |i: usize| (0..self.phases.len()).map(move |j| [i, j]);
        (0..self.phases.len())
            .flat_map(pairs)
            .map(|phase| {
                let columns = self.phases[phase[1]];
                let of_row = |&(dy, down): &'static (isize, &'static [usize])| {
                    columns.iter().map(move |&(dx, across)| Tap {
                        offset: [dy, dx],
                        of_kernel: down.iter().flat_map(|y| across.iter().map(move |x| 3 * y + x)).collect(),
                    })
                };
                Part { phase, taps: self.phases[phase[0]].iter().flat_map(of_row).collect() }
            })
            .collect()
    }
}

/// A phase of the result.
#[derive(Debug)]
pub(super) struct Part {
    pub phase: [usize; 2],
    pub taps: Vec<Tap>,
}

impl Part {
    /// Where what the first place of a result of `size` reads begins, by tap, in an image laid out as planes, one for each remainder of a
    /// row's and a column's number by the stride, each of two rows and columns more than the result; in places.
    pub(super) fn starts(&self, stride: usize, [rows, columns]: [usize; 2], batch: usize) -> Vec<usize> {
        let apart = stride as isize;
        let start = |[dy, dx]: [isize; 2]| {
            let plane = (dy.rem_euclid(apart) * apart + dx.rem_euclid(apart)) as usize;
            let (down, across) = ((1 + dy.div_euclid(apart)) as usize, (1 + dx.div_euclid(apart)) as usize);
            ((plane * (rows + 2) + down) * (columns + 2) + across) * batch
        };
        self.taps.iter().map(|tap| start(tap.offset)).collect()
    }
}

/// A place that is read.
#[derive(Debug)]
pub(super) struct Tap {
    /// Rows and columns from `stride · place`.
    pub offset: [isize; 2],
    /// The taps of the kernel, row by row, whose weights are summed.
    pub of_kernel: Vec<usize>,
}

/// An image `(row, column, batch, channel)`.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub values: &'a [f32],
    pub size: [usize; 2],
    pub batch: usize,
    pub channels: usize,
}

/// The places read by each place of a phase, side by side.
pub(super) struct Read<'a> {
    image: Image<'a>,
    part: &'a Part,
    stride: isize,
    /// Of the phase.
    columns: usize,
    outside: Vec<f32>,
}

impl<'a> Read<'a> {
    pub(super) fn new(image: Image<'a>, part: &'a Part, stride: usize, columns: usize) -> Self {
        Self { image, part, stride: stride as isize, columns, outside: vec![0.0; PIECE.min(image.channels)] }
    }
}

impl Rows for Read<'_> {
    #[inline]
    fn piece(&self, row: usize, piece: usize) -> &[f32] {
        let Image { values, size: [height, width], batch, channels } = self.image;
        let each = channels.div_ceil(PIECE);
        let (tap, start) = (&self.part.taps[piece / each], piece % each * PIECE);
        let length = PIECE.min(channels - start);
        let (pixel, item) = (row / batch, row % batch);
        let y = (pixel / self.columns) as isize * self.stride + tap.offset[0];
        let x = (pixel % self.columns) as isize * self.stride + tap.offset[1];
        if y < 0 || x < 0 || y as usize >= height || x as usize >= width {
            return &self.outside[..length];
        }
        &values[((y as usize * width + x as usize) * batch + item) * channels + start..][..length]
    }
}
