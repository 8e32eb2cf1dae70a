//! Pixels of a mosaic of exemplars: each cell's are those of the cell that fits best, without seams.

use super::cells::Part;
use super::matching::Pick;
use crate::model::cosines::Cosines;
use std::collections::BTreeMap;

/// How much the brightness of each piece counts, beside the steps between neighbouring pixels: without it pieces of
/// water and land would flow into each other, and with more of it seams would show.
const BRIGHTNESS: f32 = 0.15;
/// How much of a piece counts in the pixels along its border, just inside and just outside.
const BORDER: [f32; 2] = [0.85, 0.15];

/// Pixels `(channels, pixels, pixels)` of one modality, put together from images of the windows that are picked from; `cells`
/// along a side.
pub(super) fn mosaic(images: &BTreeMap<usize, Vec<f32>>, cells: usize, part: &Part, picks: &[Pick]) -> Vec<f32> {
    let pixels = part.pixels;
    let each = pixels / cells;
    let pieces: Vec<Piece> = picks
        .iter()
        .enumerate()
        .filter_map(|(cell, &Pick { window, cell: other })| {
            let image = images.get(&window).filter(|image| image.len() == part.channels * pixels * pixels)?;
            let at = |cell: usize| [(cell / cells * each) as isize, (cell % cells * each) as isize];
            let (own, from) = (at(cell), at(other));
            Some(Piece { image, side: pixels, moved: [from[0] - own[0], from[1] - own[1]] })
        })
        .collect();
    if pieces.len() != picks.len() {
        return vec![0.0; part.channels * pixels * pixels];
    }
    let cosines = Cosines::new([pixels]);
    let channel = |c: usize| seamless(&pieces, c, (cells, each), &cosines);
    (0..part.channels).flat_map(channel).collect()
}

/// A piece of an image: pixels as far away from those that are made as the cells are.
struct Piece<'a> {
    image: &'a [f32],
    side: usize,
    moved: [isize; 2],
}

impl Piece<'_> {
    /// Its value for a pixel of the mosaic; beyond its border the nearest.
    fn at(&self, channel: usize, row: usize, column: usize) -> f32 {
        let within = |at: usize, moved: isize| (at as isize + moved).clamp(0, self.side as isize - 1) as usize;
        let (row, column) = (within(row, self.moved[0]), within(column, self.moved[1]));
        self.image[(channel * self.side + row) * self.side + column]
    }
}

/// The image whose steps between pixels are those of the pieces, and whose brightness is near theirs: a screened Poisson
/// equation (Pérez et al. 2003), solved by cosines.
fn seamless(pieces: &[Piece], channel: usize, (cells, each): (usize, usize), cosines: &Cosines) -> Vec<f32> {
    let side = cells * each;
    let piece = |row: usize, column: usize| &pieces[row / each * cells + column / each];
    let mut image = vec![0.0; side * side];
    for row in 0..side {
        for column in 0..side {
            let (mut sum, mut total) = (0.0, 0.0);
            for (down, rows) in shares(row, each, cells) {
                for (across, columns) in shares(column, each, cells) {
                    let weight = rows * columns;
                    sum += weight * pieces[down * cells + across].at(channel, row, column);
                    total += weight;
                }
            }
            image[row * side + column] += BRIGHTNESS * sum / total;
        }
    }
    for row in 0..side {
        for column in 0..side {
            for [down, across] in [[0, 1], [1, 0]] {
                let (next, beside) = (row + down, column + across);
                if next >= side || beside >= side {
                    continue;
                }
                // As the pieces of both pixels have it.
                let step = |piece: &Piece| piece.at(channel, next, beside) - piece.at(channel, row, column);
                let step = (step(piece(row, column)) + step(piece(next, beside))) / 2.0;
                image[row * side + column] -= step;
                image[next * side + beside] += step;
            }
        }
    }
    cosines.forward(&mut image, side);
    let stiffness = |k: usize| 2.0 - 2.0 * (std::f32::consts::PI * k as f32 / side as f32).cos();
    for (k, v) in image.iter_mut().enumerate() {
        *v /= stiffness(k / side) + stiffness(k % side) + BRIGHTNESS;
    }
    cosines.inverse(&mut image, side);
    image
}

/// Rows of cells that count for a row of pixels, and how much.
fn shares(pixel: usize, each: usize, cells: usize) -> impl Iterator<Item = (usize, f32)> {
    let (own, within) = (pixel / each, pixel % each);
    let before = (within == 0).then(|| own.checked_sub(1)).flatten();
    let after = Some(own + 1).filter(|next| within + 1 == each && *next < cells);
    let inside = if before.is_some() || after.is_some() { BORDER[0] } else { 1.0 };
    let outside = move |cell: Option<usize>| cell.map(|cell| (cell, BORDER[1]));
    [Some((own, inside)), outside(before), outside(after)].into_iter().flatten()
}
