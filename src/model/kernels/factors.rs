//! What goes into a product and what comes out: the factor that is read in place, and the columns of the result.

use super::functions::gelu;
use std::ops::Range;

/// Longest piece of the inner dimension that is multiplied at a time: a panel of packed values of this length stays in a
/// core's innermost cache.
pub(super) const PIECE: usize = 256;
/// Columns of the result that one task keeps at hand.
const COLUMNS: usize = 512;
/// The factor that is read in place.
pub(super) trait Rows: Sync {
    /// Piece number `piece` of a row, as long as the packed factor's piece.
    fn piece(&self, row: usize, piece: usize) -> &[f32];

    /// The same of so many rows from `first` on, where they lie one after the other with nothing between.
    fn pieces_together(&self, _first: usize, _count: usize, _piece: usize) -> Option<&[f32]> {
        None
    }
}

/// Rows of one or several tensors side by side, each contiguous with `width` features.
pub(super) struct Beside<'a> {
    parts: Vec<&'a [f32]>,
    width: usize,
}

impl<'a> Beside<'a> {
    /// The same number of rows in each part.
    pub(super) fn new(parts: Vec<&'a [f32]>, width: usize) -> Self {
        Self { parts, width }
    }

    /// Lengths of the pieces of `parts` parts with `width` features.
    pub(super) fn pieces(parts: usize, width: usize) -> Vec<usize> {
        (0..parts).flat_map(|_| (0..width).step_by(PIECE).map(move |start| PIECE.min(width - start))).collect()
    }
}

impl Rows for Beside<'_> {
    #[inline]
    fn piece(&self, row: usize, piece: usize) -> &[f32] {
        let each = self.width.div_ceil(PIECE);
        let (part, start) = (piece / each, piece % each * PIECE);
        &self.parts[part][row * self.width + start..row * self.width + self.width.min(start + PIECE)]
    }

    #[inline]
    fn pieces_together(&self, first: usize, count: usize, piece: usize) -> Option<&[f32]> {
        (self.width <= PIECE).then(|| &self.parts[piece][first * self.width..(first + count) * self.width])
    }
}

/// What happens to a sum before it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Finish {
    /// The bias is added, where there is one.
    Bias,
    /// So it is, and then comes the exact GELU.
    Gelu,
}

/// The columns of a product's result.
#[derive(Debug)]
pub(super) struct ResultColumns {
    /// Length of the inner dimension.
    pub inner: usize,
    /// How many there are.
    pub count: usize,
    /// What is added to each.
    pub bias: Option<Vec<f32>>,
}

impl ResultColumns {
    /// First and last column of what is kept at hand at a time.
    pub(super) fn strips(&self, width: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (step, columns) = (COLUMNS.next_multiple_of(width), self.count);
        (0..columns).step_by(step).map(move |left| (left, columns.min(left + step)))
    }

    /// What comes after the last piece, for some columns of all rows.
    #[inline(always)]
    pub(super) fn finish(&self, out: &mut [f32], across: Range<usize>, finish: Finish) {
        for row in out.chunks_exact_mut(self.count) {
            let row = &mut row[across.clone()];
            if let Some(bias) = &self.bias {
                row.iter_mut().zip(&bias[across.clone()]).for_each(|(v, b)| *v += b);
            }
            if finish == Finish::Gelu {
                row.iter_mut().for_each(|v| *v = gelu(*v));
            }
        }
    }
}
