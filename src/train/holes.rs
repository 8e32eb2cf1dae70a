//! Pixels that say nothing. Networks get them filled, but what was filled in is no truth: it gives no loss and counts in no
//! statistics.

use crate::modality::{Mask, Value};

/// Where an image is valid; `None`: everywhere, or this is no image.
pub(super) fn valid(value: &Value) -> Option<&Mask> {
    value.image().and_then(|raster| raster.valid())
}

/// Whether every pixel of a value says something.
pub(super) fn is_whole(value: &Value) -> bool {
    valid(value).is_none()
}

/// The squares of a grid of so many rows and columns that hold no pixel without a value; `None`: all of them.
pub(super) fn told(value: &Value, side: usize) -> Option<Mask> {
    valid(value).map(|valid| valid.resized(side, side))
}

/// Whether a square counts.
pub(super) fn counts(told: Option<&Mask>, square: usize) -> bool {
    told.is_none_or(|told| told.at(square))
}

/// How many of so many squares count.
pub(super) fn counted(told: Option<&Mask>, squares: usize) -> usize {
    told.map_or(squares, Mask::count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Raster;

    #[test]
    fn a_square_counts_where_all_its_pixels_say_something() {
        let raster = Raster::constant(1, 4, 4, 1.0);
        let holed = raster.clone().with_valid(&Mask::from_fn(4, 4, |pixel| pixel != 6)).expect("mask");
        let (whole, holed) = (Value::Image(raster), Value::Image(holed));
        assert!(is_whole(&whole) && !is_whole(&holed) && told(&whole, 2).is_none());
        let squares = told(&holed, 2);
        assert_eq!(
            (0..4).map(|square| counts(squares.as_ref(), square)).collect::<Vec<_>>(),
            [true, false, true, true]
        );
        assert_eq!((counted(squares.as_ref(), 4), counted(None, 4)), (3, 4));
    }
}
