//! One bit per pixel.

use fixedbitset::FixedBitSet;
use std::ops::Range;

/// A bit for each pixel of a raster, row-major from the north-west.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    height: usize,
    width: usize,
    bits: FixedBitSet,
}

impl Mask {
    /// Set everywhere.
    pub fn full(height: usize, width: usize) -> Self {
        let mut bits = FixedBitSet::with_capacity(height * width);
        bits.insert_range(..);
        Self { height, width, bits }
    }

    /// Set where a function of the pixel says so.
    pub fn from_fn(height: usize, width: usize, mut set: impl FnMut(usize) -> bool) -> Self {
        let mut bits = FixedBitSet::with_capacity(height * width);
        (0..height * width).for_each(|pixel| bits.set(pixel, set(pixel)));
        Self { height, width, bits }
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Whether a pixel is set; none outside is.
    pub fn at(&self, pixel: usize) -> bool {
        self.bits.contains(pixel)
    }

    /// Sets a pixel or clears it; those outside do not exist.
    pub fn set(&mut self, pixel: usize, value: bool) {
        if pixel < self.bits.len() {
            self.bits.set(pixel, value);
        }
    }

    /// Number of pixels that are set.
    pub fn count(&self) -> usize {
        self.bits.count_ones(..)
    }

    /// Share of the pixels that are set, 0…1; 1 of a mask without pixels.
    pub fn share(&self) -> f64 {
        if self.bits.is_empty() { 1.0 } else { self.count() as f64 / self.bits.len() as f64 }
    }

    /// Whether all pixels are set.
    pub fn is_full(&self) -> bool {
        self.bits.is_full()
    }

    /// The pixels that are not set.
    pub fn holes(&self) -> impl Iterator<Item = usize> {
        self.bits.zeroes()
    }

    /// The pixels that are set.
    pub fn set_pixels(&self) -> impl Iterator<Item = usize> {
        self.bits.ones()
    }

    /// 1 where it is set, 0 elsewhere, row-major.
    pub fn numbers(&self) -> Vec<f32> {
        (0..self.height * self.width).map(|pixel| f32::from(u8::from(self.at(pixel)))).collect()
    }

    /// The opposite.
    #[must_use]
    pub fn inverted(&self) -> Self {
        Self::from_fn(self.height, self.width, |pixel| !self.at(pixel))
    }

    /// Set where both are; the pixels of a smaller one count row by row, so both should have one size.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.bits.intersect_with(&other.bits);
        out
    }

    /// Set where one of them is, in the size of the first.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self::from_fn(self.height, self.width, |pixel| self.at(pixel) || other.at(pixel))
    }

    /// Set where everything within a distance is: pixels whose centres are no further from that of one that is not set,
    /// in pixels, are cleared. What lies outside counts as set.
    #[must_use]
    pub fn eroded(&self, distance: f64) -> Self {
        let reach = distance.floor().max(0.0) as isize;
        let disc: Vec<(isize, isize)> = (-reach..=reach)
            .flat_map(|dy| (-reach..=reach).map(move |dx| (dy, dx)))
            .filter(|(dy, dx)| ((dy * dy + dx * dx) as f64).sqrt() <= distance)
            .collect();
        let mut out = self.clone();
        let (height, width) = (self.height as isize, self.width as isize);
        for hole in self.holes() {
            let (row, column) = (hole as isize / width, hole as isize % width);
            // Within a hole nothing is left to clear.
            let inside = |dy: isize, dx: isize| {
                let (y, x) = (row + dy, column + dx);
                (0..height).contains(&y) && (0..width).contains(&x)
            };
            let at_edge = [(-1, 0), (1, 0), (0, -1), (0, 1)]
                .iter()
                .any(|&(dy, dx)| inside(dy, dx) && self.at(((row + dy) * width + column + dx) as usize));
            if !at_edge {
                continue;
            }
            for &(dy, dx) in disc.iter().filter(|(dy, dx)| inside(*dy, *dx)) {
                out.set(((row + dy) * width + column + dx) as usize, false);
            }
        }
        out
    }

    /// The same ground in another number of pixels: set where every pixel of this one beneath it is.
    #[must_use]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        let range = |at: usize, of: usize, from: usize| {
            let first = at * from / of.max(1);
            first..((at + 1) * from).div_ceil(of.max(1)).clamp(first + 1, from.max(first + 1))
        };
        Self::from_fn(height, width, |pixel| {
            let (rows, columns) = (range(pixel / width, height, self.height), range(pixel % width, width, self.width));
            rows.into_iter().all(|row| columns.clone().all(|column| self.at(row * self.width + column)))
        })
    }

    /// A part of it; what lies outside is not set.
    #[must_use]
    pub fn crop(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        Self::from_fn(rows.len(), columns.len(), |pixel| {
            let (row, column) = (rows.start + pixel / columns.len(), columns.start + pixel % columns.len());
            row < self.height && column < self.width && self.at(row * self.width + column)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_and_combined() {
        let even = Mask::from_fn(3, 5, |pixel| pixel % 2 == 0);
        let low = Mask::from_fn(3, 5, |pixel| pixel < 5);
        assert_eq!((even.count(), low.count(), even.and(&low).count(), even.or(&low).count()), (8, 5, 3, 10));
        assert!((even.share() - 8.0 / 15.0).abs() < 1e-12);
        assert!(Mask::full(3, 5).is_full() && !even.is_full() && Mask::full(0, 5).share() == 1.0);
        assert_eq!(low.holes().collect::<Vec<_>>(), (5..15).collect::<Vec<_>>());
        assert!(!even.at(15) && !even.at(999));
    }

    #[test]
    fn masks_are_eroded_by_distance_and_resized_without_inventing_anything() {
        let mut mask = Mask::full(9, 9);
        mask.set(4 * 9 + 4, false);
        assert_eq!(mask.eroded(0.0), mask);
        assert_eq!([1.0, 1.5, 2.0, 3.0].map(|d| 81 - mask.eroded(d).count()), [5, 9, 13, 29]);
        let half = Mask::from_fn(9, 9, |pixel| pixel % 9 > 3);
        assert_eq!(half.eroded(2.0), Mask::from_fn(9, 9, |pixel| pixel % 9 > 5));
        // A coarse pixel is set where all of it is; fine ones are as what they lie in.
        let fine = Mask::from_fn(6, 6, |pixel| pixel != 7);
        assert_eq!(fine.resized(3, 3).holes().collect::<Vec<_>>(), [0]);
        assert_eq!(fine.resized(3, 3).resized(6, 6).holes().collect::<Vec<_>>(), [0, 1, 6, 7]);
        assert_eq!(fine.resized(6, 6), fine);
    }

    #[test]
    fn parts_are_cut_by_row_and_column() {
        let mut mask = Mask::full(3, 5);
        mask.set(7, false);
        mask.set(99, false);
        assert_eq!(mask.crop(1..3, 2..4).holes().collect::<Vec<_>>(), [0]);
        assert_eq!(mask.crop(2..4, 4..6).count(), 1, "nothing outside is set");
    }
}
