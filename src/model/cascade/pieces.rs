//! Which cells of exemplars a picture is put together from: larger pieces, which meet where they are alike.
//!
//! The cell that fits best is another one at each cell of the picture. What is found here fits nearly as well, but for each cell
//! whose neighbours come from the same place, and whose border goes where both sides are alike, it is the better one (as
//! textures are made by Ashikhmin 2001 and Kwatra et al. 2003): a picture has a few borders instead of one around each cell.

use super::matching::{Conditions, Pick};

/// Deviation within which cells and those they are made of count as alike, standardised.
const ALIKE: f32 = 0.3;
/// What a border between two cells costs at least: as much as that many numbers that are one deviation off.
const BORDER: f32 = 12.0;
/// How much a border weighs where its sides are not alike.
const UNLIKE: f32 = 3.0;
/// How often every cell is asked again.
const ROUNDS: usize = 8;
/// A cell's neighbours.
const BESIDE: [[isize; 2]; 4] = [[-1, 0], [0, -1], [0, 1], [1, 0]];

/// Cells in larger pieces, near those that fit best (`picks`); `state` are the cells `(channel, cell)` that they are to be.
pub(super) fn larger(conditions: &Conditions, state: &[f32], favour: &[f32], picks: &[Pick]) -> Vec<Pick> {
    let pieces = Pieces { conditions, state, favour, side: conditions.side() };
    let mut picks = picks.to_vec();
    let mut own: Vec<f32> = picks.iter().enumerate().map(|(cell, pick)| pieces.misfit(cell, *pick)).collect();
    for round in 0..ROUNDS {
        let mut changed = false;
        for step in 0..picks.len() {
            // To and fro, so that a piece grows to all sides.
            let cell = if round % 2 == 0 { step } else { picks.len() - 1 - step };
            let mut best = (own[cell] + pieces.borders(&picks, cell, picks[cell]), picks[cell], own[cell]);
            for candidate in pieces.candidates(&picks, cell) {
                if candidate == picks[cell] {
                    continue;
                }
                let misfit = pieces.misfit(cell, candidate);
                let cost = misfit + pieces.borders(&picks, cell, candidate);
                if cost < best.0 {
                    best = (cost, candidate, misfit);
                    changed = true;
                }
            }
            (picks[cell], own[cell]) = (best.1, best.2);
        }
        if !changed {
            break;
        }
    }
    picks
}

struct Pieces<'a> {
    conditions: &'a Conditions,
    state: &'a [f32],
    favour: &'a [f32],
    side: usize,
}

impl Pieces<'_> {
    fn moved(&self, cell: usize, [down, across]: [isize; 2]) -> Option<usize> {
        let row = (cell / self.side).checked_add_signed(down).filter(|row| *row < self.side)?;
        let column = (cell % self.side).checked_add_signed(across).filter(|column| *column < self.side)?;
        Some(row * self.side + column)
    }

    /// What the neighbours' pieces would put here.
    fn candidates(&self, picks: &[Pick], cell: usize) -> impl Iterator<Item = Pick> {
        BESIDE.into_iter().filter_map(move |[down, across]| {
            let beside = picks[self.moved(cell, [down, across])?];
            Some(Pick { cell: self.moved(beside.cell, [-down, -across])?, ..beside })
        })
    }

    /// How badly a cell and its surroundings go with what is given and with the state.
    fn misfit(&self, cell: usize, pick: Pick) -> f32 {
        let (count, own) = (self.side * self.side, self.conditions.cells(pick.window));
        let (mut sum, mut known) = (0.0, 0);
        for down in -1..=1 {
            for across in -1..=1 {
                let at = self.moved(cell, [down, across]).zip(self.moved(pick.cell, [down, across]));
                let Some((a, b)) = at else { continue };
                known += 1;
                let channel = |(state, own): (&[f32], &[f32])| (state[a] - own[b]).powi(2);
                sum += self.state.chunks_exact(count).zip(own.chunks_exact(count)).map(channel).sum::<f32>();
            }
        }
        0.5 / ALIKE.powi(2) * sum * 9.0 / known.max(1) as f32
            - self.conditions.fit(cell, pick)
            - self.favour[pick.window]
    }

    /// What the borders around a cell cost.
    fn borders(&self, picks: &[Pick], cell: usize, pick: Pick) -> f32 {
        let count = self.side * self.side;
        let mut cost = 0.0;
        for [down, across] in BESIDE {
            let Some(beside) = self.moved(cell, [down, across]) else { continue };
            let other = picks[beside];
            let continued = self.moved(pick.cell, [down, across]);
            if other.window == pick.window && continued == Some(other.cell) {
                continue;
            }
            let apart = |a: Pick, at: usize, b: Pick| {
                let (a, b) = ((self.conditions.cells(a.window), at), (self.conditions.cells(b.window), b.cell));
                let channel = |k: usize| (a.0[k * count + a.1] - b.0[k * count + b.1]).powi(2);
                (0..self.state.len() / count).map(channel).sum::<f32>()
            };
            // What each of the two pieces has in the place of the other.
            let (mut sum, mut sides) = (0.0, 0);
            if let Some(at) = continued {
                sum += apart(pick, at, other);
                sides += 1;
            }
            if let Some(at) = self.moved(other.cell, [-down, -across]) {
                sum += apart(other, at, pick);
                sides += 1;
            }
            let unlike = if sides > 0 { sum / sides as f32 } else { 0.0 };
            cost += BORDER + UNLIKE * 0.5 / ALIKE.powi(2) * unlike;
        }
        cost
    }
}
