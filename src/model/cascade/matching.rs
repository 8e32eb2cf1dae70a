//! How well neighbourhoods of exemplars fit what is known of a window, and what they tell of the rest.

use super::cells::Part;
use super::exemplars::Exemplars;
use crate::error::Result;
use crate::modality::{ModalityTable, Subject};
use crate::parallel;

/// Windows that are looked at: those that fit what is given best somewhere.
const WINDOWS: usize = 64;
/// Cells on either side that say whether a neighbourhood is like what is given.
const GIVEN_RADIUS: usize = 2;
/// Neighbourhoods that what is given leaves to choose from, at each cell.
const LEFT: f64 = 200.0;
/// Deviation of given measurements, standardised, within which they count as alike, and that of shares of classes.
const ALIKE: f32 = 0.5;
const ALIKE_SHARES: f32 = 0.3;
/// The same of the numbers of a location or date.
const ALIKE_SCALARS: f32 = 0.4;
/// What it costs a neighbourhood that a given modality is not known of it: more than any that is alike.
const NOT_KNOWN: f32 = 250.0;
/// How much more a window fits of which much fits already: pictures are made of few places, so that colours go together.
const TOGETHER: f32 = 4.0;
/// Cells on either side that are compared under noise of more than this deviation, standardised: what is broad is decided
/// first, what is fine by its surroundings alone.
const RADII: [(f32, usize); 4] = [(0.6, 4), (0.25, 3), (0.12, 2), (0.0, 1)];
/// Deviation within which known cells of what is drawn count as alike, standardised.
pub(super) const ALIKE_KNOWN: f32 = 0.15;
/// Logarithm of a weight, beside the greatest, that is left out.
const NEGLIGIBLE: f32 = -14.0;

/// What is asked for, by table index.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// What is given: standardised cells; of a location or date its numbers.
    pub given: Vec<Option<Vec<f32>>>,
    /// Whether it is sampled.
    pub sampled: Vec<bool>,
}

/// What windows are like beside given values.
#[derive(Debug)]
pub(super) struct Conditions {
    side: usize,
    windows: Vec<Condition>,
    /// Modalities that are drawn, with their channels in what is compared.
    drawn: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Condition {
    number: usize,
    /// Standardised cells of what is drawn, `(channel, cell)`.
    cells: Vec<f32>,
    /// By pair of cells, of the window in question and of this one ([`Pairs`]): logarithm of how well what is given fits.
    fit: Vec<f32>,
}

/// A state of what is drawn.
pub(super) struct State<'a> {
    /// `(channel, cell)`: standardised cells under noise.
    pub noisy: &'a [f32],
    /// `(channel, cell)`: deviation of the noise.
    pub noise: &'a [f32],
}

/// What exemplars tell of a state.
pub(super) struct Told {
    /// `(channel, cell)`, standardised.
    pub values: Vec<f32>,
    /// By cell: the window that fits best, and which of its cells.
    pub picks: Vec<(usize, usize)>,
}

/// What one window tells of each cell.
struct Partial {
    best: Vec<f32>,
    at: Vec<usize>,
    /// Sums of weights, relative to the best.
    sum: Vec<f32>,
    /// `(cell, channel)`: weighted sums.
    values: Vec<f32>,
}

impl Conditions {
    /// Of what is drawn (indices), beside what is given.
    pub(super) fn new(
        exemplars: &Exemplars,
        table: &ModalityTable,
        given: &[Option<Vec<f32>>],
        wanted: &[usize],
    ) -> Result<Self> {
        let cells = exemplars.cells();
        let (side, count) = (cells.side, cells.count());
        let numbers: Vec<usize> = exemplars.holding(wanted).collect();
        let fit = |number: &usize| -> Result<Vec<f32>> { Ok(distances(exemplars, table, given, *number)) };
        let least = |pairs: &[f32], cell: usize| {
            Pairs(side).of(cell).flat_map(|at| &pairs[at]).copied().fold(f32::MAX, f32::min)
        };
        // First what fits at all, in little memory; then the windows that do, whole.
        let leasts = parallel::map(&numbers, |number| {
            let pairs = fit(number)?;
            Ok((0..count).map(|cell| least(&pairs, cell)).collect::<Vec<f32>>())
        })?;
        let best: Vec<f32> = (0..count).map(|c| leasts.iter().map(|l| l[c]).fold(f32::MAX, f32::min)).collect();
        let fits = |l: &Vec<f32>| l.iter().zip(&best).map(|(v, best)| (-(v - best) / 8.0).exp()).sum::<f32>();
        let mut order: Vec<(f32, usize)> = leasts.iter().map(fits).zip(numbers).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        order.truncate(WINDOWS);
        let chosen: Vec<usize> = order.into_iter().map(|(_, number)| number).collect();
        let mut all = parallel::map(&chosen, fit)?;
        let places: Vec<usize> = (0..count).collect();
        let softness = parallel::map(&places, |&cell| Ok(softness(&all, side, cell)))?;
        for pairs in &mut all {
            for cell in 0..count {
                let (best, softness) = softness[cell];
                for at in Pairs(side).of(cell) {
                    pairs[at].iter_mut().for_each(|v| *v = (best - *v) / softness);
                }
            }
        }
        let mut drawn = Vec::new();
        let mut channels = 0;
        for &i in wanted {
            drawn.push((i, channels));
            channels += cells.parts[i].as_ref().map_or(0, |part| part.latent);
        }
        let own = |number: usize| -> Vec<f32> {
            wanted.iter().flat_map(|&i| exemplars.windows()[number].cells[i].iter().flatten().copied()).collect()
        };
        let windows = chosen.into_iter().zip(all).map(|(number, fit)| Condition { number, cells: own(number), fit });
        Ok(Self { side, windows: windows.collect(), drawn })
    }

    /// What is drawn, with its first channel in what is compared.
    pub(super) fn drawn(&self) -> &[(usize, usize)] {
        &self.drawn
    }

    /// What all windows tell of a state: the mean of their neighbourhoods, weighted by how well each fits it and what is given.
    pub(super) fn tell(&self, state: &State) -> Result<Told> {
        let count = self.side * self.side;
        let channels = state.noisy.len() / count;
        let least = state.noise.iter().copied().fold(f32::MAX, f32::min);
        // Known cells have hardly any noise; the others say how far to look.
        let most = state.noise.iter().copied().fold(least, f32::max);
        let radius = RADII.iter().find(|(noise, _)| most > *noise).map_or(1, |(_, radius)| *radius);
        let weights: Vec<f32> = state.noise.iter().map(|noise| 0.5 / noise.powi(2).max(1e-8)).collect();
        let partials = parallel::map(&self.windows, |window| {
            let mut pairs = vec![0.0; count * count];
            add_distances(&mut pairs, self.side, (state.noisy, &weights), &window.cells);
            around(&mut pairs, self.side, radius);
            for (v, fit) in pairs.iter_mut().zip(&window.fit) {
                *v = fit - *v;
            }
            Ok(partial(&pairs, self.side, &window.cells, channels))
        })?;
        Ok(self.together(&partials, channels))
    }

    fn together(&self, partials: &[Partial], channels: usize) -> Told {
        let count = self.side * self.side;
        let mut masses = vec![0.0f32; partials.len()];
        for cell in 0..count {
            let best = partials.iter().map(|p| p.best[cell]).fold(f32::MIN, f32::max);
            let weight = |p: &Partial| p.sum[cell] * (p.best[cell] - best).exp();
            let total: f32 = partials.iter().map(weight).sum();
            masses.iter_mut().zip(partials).for_each(|(mass, p)| *mass += weight(p) / total / count as f32);
        }
        let favour: Vec<f32> = masses.iter().map(|mass| TOGETHER * (mass + 0.003).ln()).collect();
        let mut told = Told { values: vec![0.0; channels * count], picks: Vec::with_capacity(count) };
        for cell in 0..count {
            let score = |w: usize| partials[w].best[cell] + favour[w];
            let pick = (0..partials.len()).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap_or(0);
            let weight = |w: usize| (score(w) - score(pick)).exp();
            let total: f32 = (0..partials.len()).map(|w| weight(w) * partials[w].sum[cell]).sum();
            for (w, p) in partials.iter().enumerate() {
                let weight = weight(w) / total;
                if weight > 0.0 {
                    let own = &p.values[cell * channels..(cell + 1) * channels];
                    for (channel, v) in own.iter().enumerate() {
                        told.values[channel * count + cell] += weight * v;
                    }
                }
            }
            told.picks.push((self.windows[pick].number, partials[pick].at[cell]));
        }
        told
    }
}

/// Numbers for each pair of a cell of the window in question and one of an exemplar: by row of the one, row of the other,
/// column of the one, column of the other.
struct Pairs(usize);

impl Pairs {
    /// Where the pairs of a cell lie: a run for each row of the exemplar.
    fn of(&self, cell: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let side = self.0;
        let (row, column) = (cell / side, cell % side);
        (0..side).map(move |other| {
            let first = ((row * side + other) * side + column) * side;
            first..first + side
        })
    }
}

/// How badly what is given fits each pair of cells with their surroundings.
fn distances(exemplars: &Exemplars, table: &ModalityTable, given: &[Option<Vec<f32>>], number: usize) -> Vec<f32> {
    let cells = exemplars.cells();
    let count = cells.count();
    let window = &exemplars.windows()[number];
    let mut pairs = vec![0.0; count * count];
    let mut everywhere = 0.0;
    for (i, given) in given.iter().enumerate() {
        let Some(given) = given else { continue };
        match (&window.cells[i], &cells.parts[i]) {
            (None, Some(_)) => everywhere += NOT_KNOWN,
            (None, None) => everywhere += 1.0 / ALIKE_SCALARS.powi(2),
            (Some(own), None) => {
                let apart: f32 = own.iter().zip(given).map(|(a, b)| (a - b).powi(2)).sum();
                everywhere += 0.5 * apart / ALIKE_SCALARS.powi(2);
            }
            (Some(own), Some(part)) => {
                // What cells are, not how much they vary: of radar that is speckle.
                let size = part.channels * count;
                let weights = weights_of_given(table, i, part, count);
                add_distances(&mut pairs, cells.side, (&given[..size], &weights), &own[..size]);
            }
        }
    }
    around(&mut pairs, cells.side, GIVEN_RADIUS);
    pairs.iter_mut().for_each(|v| *v += everywhere);
    pairs
}

fn weights_of_given(table: &ModalityTable, i: usize, part: &Part, count: usize) -> Vec<f32> {
    // Classes are ±1 before they are standardised by about 0.8.
    let alike = if table[i].classes().is_some() { 2.0 * ALIKE_SHARES / 0.8 } else { ALIKE };
    let alike = if table[i].about.subject == Subject::Clouds { 2.0 * alike } else { alike };
    vec![0.5 / alike.powi(2); part.channels * count]
}

/// Adds weighted squared distances between cells `(channel, cell)`.
fn add_distances(pairs: &mut [f32], side: usize, (given, weights): (&[f32], &[f32]), own: &[f32]) {
    let count = side * side;
    for (at, run) in pairs.chunks_exact_mut(side).enumerate() {
        let (row, other, column) = (at / (side * side), at / side % side, at % side);
        let cell = row * side + column;
        for ((given, weights), own) in
            given.chunks_exact(count).zip(weights.chunks_exact(count)).zip(own.chunks_exact(count))
        {
            let (value, weight) = (given[cell], weights[cell]);
            for (sum, own) in run.iter_mut().zip(&own[other * side..(other + 1) * side]) {
                *sum += weight * (value - own) * (value - own);
            }
        }
    }
}

/// Sums over the surroundings of both cells of each pair; where some of them lie outside, what lies inside counts for all.
fn around(pairs: &mut [f32], side: usize, radius: usize) {
    let whole = ((2 * radius + 1) * (2 * radius + 1)) as f32;
    let block = side * side;
    let inside = |at: usize, step: usize| (at + step).checked_sub(radius).filter(|at| *at < side);
    let mut across = vec![0.0; pairs.len()];
    for (own, sums) in pairs.chunks_exact(block).zip(across.chunks_exact_mut(block)) {
        for (column, run) in sums.chunks_exact_mut(side).enumerate() {
            for step in 0..=2 * radius {
                let Some(source) = inside(column, step) else { continue };
                let source = &own[source * side..(source + 1) * side];
                match step.checked_sub(radius) {
                    Some(ahead) => run.iter_mut().zip(&source[ahead..]).for_each(|(sum, v)| *sum += v),
                    None => run[radius - step..].iter_mut().zip(source).for_each(|(sum, v)| *sum += v),
                }
            }
        }
    }
    let counted = |a: usize, b: usize| 1 + a.min(b).min(radius) + (side - 1 - a).min(side - 1 - b).min(radius);
    for row in 0..side {
        for other in 0..side {
            let sums = &mut pairs[(row * side + other) * block..][..block];
            sums.fill(0.0);
            for step in 0..=2 * radius {
                let (Some(a), Some(b)) = (inside(row, step), inside(other, step)) else { continue };
                let source = &across[(a * side + b) * block..][..block];
                sums.iter_mut().zip(source).for_each(|(sum, v)| *sum += v);
            }
            let rows = counted(row, other);
            for (column, run) in sums.chunks_exact_mut(side).enumerate() {
                for (other, v) in run.iter_mut().enumerate() {
                    *v *= whole / (rows * counted(column, other)) as f32;
                }
            }
        }
    }
}

/// The least distance of a cell, and by what distances have to be divided to leave so many neighbourhoods to choose from.
fn softness(all: &[Vec<f32>], side: usize, cell: usize) -> (f32, f32) {
    let distances = || all.iter().flat_map(move |pairs| Pairs(side).of(cell).flat_map(move |at| &pairs[at]));
    let best = distances().copied().fold(f32::MAX, f32::min);
    let (mut low, mut high) = (0.02f32, 200.0f32);
    for _ in 0..12 {
        let middle = (low * high).sqrt();
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        for v in distances() {
            let log = (best - v) / middle;
            if log > NEGLIGIBLE {
                let weight = f64::from(log.exp());
                sum += weight;
                squares += weight * weight;
            }
        }
        if sum * sum / squares < LEFT { low = middle } else { high = middle }
    }
    (best, (low * high).sqrt())
}

fn partial(pairs: &[f32], side: usize, own: &[f32], channels: usize) -> Partial {
    let count = side * side;
    // By cell, so that what a cell adds lies together.
    let by_cell: Vec<f32> = (0..count).flat_map(|cell| (0..channels).map(move |c| own[c * count + cell])).collect();
    let mut out = Partial {
        best: vec![f32::MIN; count],
        at: vec![0; count],
        sum: vec![0.0; count],
        values: vec![0.0; count * channels],
    };
    for cell in 0..count {
        let mut best = (f32::MIN, 0);
        for (row, at) in Pairs(side).of(cell).enumerate() {
            for (column, v) in pairs[at].iter().enumerate() {
                if *v > best.0 {
                    best = (*v, row * side + column);
                }
            }
        }
        let values = &mut out.values[cell * channels..(cell + 1) * channels];
        for (row, at) in Pairs(side).of(cell).enumerate() {
            for (column, v) in pairs[at].iter().enumerate() {
                let log = v - best.0;
                if log > NEGLIGIBLE {
                    let weight = log.exp();
                    out.sum[cell] += weight;
                    let own = &by_cell[(row * side + column) * channels..][..channels];
                    values.iter_mut().zip(own).for_each(|(sum, v)| *sum += weight * v);
                }
            }
        }
        (out.best[cell], out.at[cell]) = best;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_surroundings_are_those_of_both_cells() {
        let (side, radius) = (7usize, 2isize);
        let pairs: Vec<f32> = (0..side.pow(4)).map(|k| ((k * 37) % 101) as f32).collect();
        let mut sums = pairs.clone();
        around(&mut sums, side, radius as usize);
        let at = |row: usize, other: usize, column: usize, beside: usize| {
            ((row * side + other) * side + column) * side + beside
        };
        for k in (0..side.pow(4)).step_by(5) {
            let place = [k / side.pow(3), k / side.pow(2) % side, k / side % side, k % side];
            let (mut sum, mut count) = (0.0, 0);
            for down in -radius..=radius {
                for across in -radius..=radius {
                    let moved = |v: usize, by: isize| v.checked_add_signed(by).filter(|v| *v < side);
                    let [row, other, column, beside] = [
                        moved(place[0], down),
                        moved(place[1], down),
                        moved(place[2], across),
                        moved(place[3], across),
                    ];
                    if let (Some(row), Some(other), Some(column), Some(beside)) = (row, other, column, beside) {
                        sum += pairs[at(row, other, column, beside)];
                        count += 1;
                    }
                }
            }
            let expected = sum * 25.0 / count as f32;
            assert!((sums[k] - expected).abs() < 1e-3 * expected.abs(), "{place:?}: {} for {expected}", sums[k]);
        }
    }
}
