//! How well neighbourhoods of exemplars fit what is known of a window, and what they tell of the rest.

use super::exemplars::Exemplars;
use super::pairs::{Term, Workshop, distances};
use crate::error::Result;
use crate::modality::{ModalityTable, Subject};
use crate::model::kernels::Instructions;
use crate::parallel;
use pulp::NullaryFnOnce;

/// Windows that are looked at: those that fit what is given best somewhere.
const WINDOWS: usize = 64;
/// Cells on either side that say whether a neighbourhood is like what is given.
const GIVEN_RADIUS: usize = 2;
/// Windows that what is given leaves to choose from, at each cell.
const LEFT: f64 = 10.0;
/// The most that distances are divided by for that: another class, or one that is not known, stays far away.
const SOFTEST: f32 = 12.0;
/// Deviation of given measurements, standardised, within which they count as alike, and that of shares of classes.
const ALIKE: f32 = 0.5;
const ALIKE_SHARES: f32 = 0.3;
/// The same of the numbers of a location or date.
const ALIKE_SCALARS: f32 = 0.4;
/// What it costs a neighbourhood that a given modality is not known of it: more than any that is alike.
const NOT_KNOWN: f32 = 250.0;
/// How much more a window fits that has more of the picture than what is given says: pictures are made of few places, so that
/// colours go together; which ones, is decided by noise.
const TOGETHER: f32 = 4.0;
/// Share of a picture that is as good as none.
const NO_SHARE: f32 = 0.003;
/// Cells on either side that are compared under noise of more than this deviation, standardised: what is broad is decided
/// first, what is fine by its surroundings alone.
const RADII: [(f32, usize); 4] = [(0.6, 4), (0.25, 3), (0.12, 2), (0.0, 1)];
/// Deviation within which known cells of what is drawn count as alike, standardised.
pub(super) const ALIKE_KNOWN: f32 = 0.15;
/// Windows that one core looks at in a row.
const SHARE: usize = 4;
/// Numbers that are compared at once.
const LANES: usize = 8;
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
    /// By window: share of the picture that it has by what is given alone.
    shares: Vec<f32>,
    /// Modalities that are drawn, with their channels in what is compared.
    drawn: Vec<(usize, usize)>,
    /// `(channel, cell)`: what is likely by what is given.
    likely: Vec<f32>,
}

#[derive(Debug)]
struct Condition {
    number: usize,
    /// `(channel, cell)`: what is likely by what it has of what is given.
    likely: Vec<f32>,
    /// Standardised cells of what is drawn less what is likely, `(channel, cell)`.
    cells: Vec<f32>,
    /// The same, `(cell, channel)`: what a cell adds lies together.
    by_cell: Vec<f32>,
    /// By pair of cells, as [`distances`] have them: logarithm of how well what is given fits.
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
    /// By cell: what fits best.
    pub picks: Vec<Pick>,
    /// By window, how much is gained by taking from it: the more, the more fits it anyway.
    pub favour: Vec<f32>,
}

/// A cell of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pick {
    /// Which of the windows of [`Conditions`].
    pub window: usize,
    /// Which of its cells.
    pub cell: usize,
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
        // First what fits at all, in little memory; then the windows that do, whole.
        let leasts = parallel::map(&numbers, |number| {
            let mut least = vec![f32::MAX; count];
            given_distances(exemplars, table, given, *number, |row, sums| {
                for (at, run) in sums.chunks_exact(side).enumerate() {
                    let least = &mut least[row * side + at % side];
                    *least = run.iter().copied().fold(*least, f32::min);
                }
            });
            Ok(least)
        })?;
        let best: Vec<f32> = (0..count).map(|c| leasts.iter().map(|l| l[c]).fold(f32::MAX, f32::min)).collect();
        let fits = |l: &Vec<f32>| l.iter().zip(&best).map(|(v, best)| (-(v - best) / 8.0).exp()).sum::<f32>();
        let mut order: Vec<(f32, usize)> = leasts.iter().map(fits).zip(0..).collect();
        // Windows that fit alike in any order but that of their places.
        let scattered = |at: usize| (at as u32).wrapping_mul(2_654_435_769);
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(scattered(a.1).cmp(&scattered(b.1))));
        order.truncate(WINDOWS);
        let chosen: Vec<usize> = order.iter().map(|(_, at)| numbers[*at]).collect();
        let softness = |cell: usize| softness(order.iter().map(|(_, at)| leasts[*at][cell]).collect());
        let mut softness: Vec<(f32, f32)> = (0..count).map(softness).collect();
        // Where few windows fit at all, or hold what is given, these are chosen from.
        let mut sorted: Vec<f32> = softness.iter().map(|(_, softness)| *softness).collect();
        sorted.sort_by(f32::total_cmp);
        softness.iter_mut().for_each(|(_, softness)| *softness = softness.min(sorted[count / 2]).min(SOFTEST));
        let all = parallel::map(&chosen, |number| {
            let mut pairs = Vec::with_capacity(count * count);
            given_distances(exemplars, table, given, *number, |row, sums| {
                for (at, run) in sums.chunks_exact(side).enumerate() {
                    let (best, softness) = softness[row * side + at % side];
                    pairs.extend(run.iter().map(|v| (best - v) / softness));
                }
            });
            Ok(pairs)
        })?;
        let mut drawn = Vec::new();
        let mut channels = 0;
        for &i in wanted {
            drawn.push((i, channels));
            channels += cells.parts[i].as_ref().map_or(0, |part| part.latent);
        }
        let own = |number: usize| -> Vec<f32> {
            wanted.iter().flat_map(|&i| exemplars.windows()[number].cells[i].iter().flatten().copied()).collect()
        };
        let likely = parallel::map(&chosen, |number| {
            let own = exemplars.windows()[*number].cells.iter();
            let of_given = own.zip(given).map(|(own, given)| own.clone().filter(|_| given.is_some()));
            exemplars.likely(&of_given.collect::<Vec<_>>(), wanted)
        })?;
        let window = |((number, fit), likely): ((usize, Vec<f32>), Vec<f32>)| {
            let cells: Vec<f32> = own(number).iter().zip(&likely).map(|(own, likely)| own - likely).collect();
            let by_cell = (0..count).flat_map(|cell| cells.iter().skip(cell).step_by(count).copied()).collect();
            Condition { number, likely, cells, by_cell, fit }
        };
        let weight = |cell: usize, at: usize| ((softness[cell].0 - leasts[at][cell]) / softness[cell].1).exp();
        let totals: Vec<f32> = (0..count).map(|cell| order.iter().map(|(_, at)| weight(cell, *at)).sum()).collect();
        let share = |at: usize| (0..count).map(|cell| weight(cell, at) / totals[cell]).sum::<f32>() / count as f32;
        let shares = order.iter().map(|(_, at)| share(*at)).collect();
        let windows = chosen.into_iter().zip(all).zip(likely).map(window).collect();
        Ok(Self { side, windows, shares, drawn, likely: exemplars.likely(given, wanted)? })
    }

    /// What is drawn, with its first channel in what is compared.
    pub(super) fn drawn(&self) -> &[(usize, usize)] {
        &self.drawn
    }

    /// Cells along a side.
    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// `(channel, cell)`: what is likely of the window in question (`None`) or of one of the others, by what is given.
    pub(super) fn likely(&self, window: Option<usize>) -> &[f32] {
        window.map_or(&self.likely, |window| &self.windows[window].likely)
    }

    /// How a state differs from what is likely, `(channel, cell)`.
    pub(super) fn residual(&self, state: &[f32]) -> Vec<f32> {
        state.iter().zip(&self.likely).map(|(v, likely)| v - likely).collect()
    }

    /// Standardised cells of one of the windows less what is likely, `(channel, cell)`.
    pub(super) fn cells(&self, window: usize) -> &[f32] {
        &self.windows[window].cells
    }

    /// Its number among all exemplars.
    pub(super) fn number(&self, window: usize) -> usize {
        self.windows[window].number
    }

    /// Logarithm of how well a cell of a window goes with what is given at one in question.
    pub(super) fn fit(&self, cell: usize, pick: Pick) -> f32 {
        let side = self.side;
        let rows = (cell / side) * side + pick.cell / side;
        self.windows[pick.window].fit[(rows * side + cell % side) * side + pick.cell % side]
    }

    /// What all windows tell of a state: what is likely, and the mean of how their neighbourhoods differ from that, weighted by how
    /// well each fits it and what is given.
    pub(super) fn tell(&self, state: &State) -> Result<Told> {
        let count = self.side * self.side;
        let channels = state.noisy.len() / count;
        let residual = self.residual(state.noisy);
        let least = state.noise.iter().copied().fold(f32::MAX, f32::min);
        // Known cells have hardly any noise; the others say how far to look.
        let most = state.noise.iter().copied().fold(least, f32::max);
        let radius = RADII.iter().find(|(noise, _)| most > *noise).map_or(1, |(_, radius)| *radius);
        let weights: Vec<f32> = state.noise.iter().map(|noise| 0.5 / noise.powi(2).max(1e-8)).collect();
        let shares: Vec<&[Condition]> = self.windows.chunks(SHARE).collect();
        let partials = parallel::map(&shares, |share| {
            let mut workshop = Workshop::default();
            let of = |window: &Condition| {
                let term = Term { values: &residual, weights: &weights, other: &window.cells };
                let mut partial = Partial::new(count, channels);
                distances(self.side, radius, &[term], &mut workshop, |row, sums| {
                    let fit = &window.fit[row * sums.len()..(row + 1) * sums.len()];
                    let best = BestOf { row, sums, fit, by_cell: &window.by_cell, partial: &mut partial };
                    Instructions::here().registers().dispatch(best);
                });
                partial
            };
            Ok(share.iter().map(of).collect::<Vec<_>>())
        })?;
        let partials: Vec<Partial> = partials.into_iter().flatten().collect();
        let mut told = self.together(&partials, channels);
        told.values.iter_mut().zip(&self.likely).for_each(|(v, likely)| *v += likely);
        Ok(told)
    }

    fn together(&self, partials: &[Partial], channels: usize) -> Told {
        let count = self.side * self.side;
        let mut masses = vec![0.0f32; partials.len()];
        for cell in 0..count {
            let best = partials.iter().map(|p| p.best[cell]).fold(f32::MIN, f32::max);
            let weight = |p: &Partial| (p.best[cell] - best).exp();
            let total: f32 = partials.iter().map(weight).sum();
            masses.iter_mut().zip(partials).for_each(|(mass, p)| *mass += weight(p) / total / count as f32);
        }
        let more = |(mass, share): (&f32, &f32)| TOGETHER * ((mass + NO_SHARE) / (share + NO_SHARE)).ln();
        let favour: Vec<f32> = masses.iter().zip(&self.shares).map(more).collect();
        let mut told = Told { values: vec![0.0; channels * count], picks: Vec::with_capacity(count), favour };
        for cell in 0..count {
            let score = |w: usize| partials[w].best[cell] + told.favour[w];
            let pick = (0..partials.len()).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap_or(0);
            let weight = |w: usize| (score(w) - score(pick)).exp();
            let total: f32 = (0..partials.len()).map(weight).sum();
            for (w, p) in partials.iter().enumerate() {
                // Of a window the mean of its neighbourhoods: one that is all alike has no more to say than another.
                let weight = weight(w) / total / p.sum[cell];
                if weight > 0.0 {
                    let own = &p.values[cell * channels..(cell + 1) * channels];
                    for (channel, v) in own.iter().enumerate() {
                        told.values[channel * count + cell] += weight * v;
                    }
                }
            }
            told.picks.push(Pick { window: pick, cell: partials[pick].at[cell] });
        }
        told
    }
}

/// How badly what is given fits each pair of cells with their surroundings, row by row as [`distances`] tell them.
fn given_distances(
    exemplars: &Exemplars,
    table: &ModalityTable,
    given: &[Option<Vec<f32>>],
    number: usize,
    mut each: impl FnMut(usize, &[f32]),
) {
    let cells = exemplars.cells();
    let window = &exemplars.windows()[number];
    let mut everywhere = 0.0;
    let mut compared = Vec::new();
    for (i, given) in given.iter().enumerate() {
        let Some(given) = given else { continue };
        match (&window.cells[i], &cells.parts[i]) {
            (None, Some(_)) => everywhere += NOT_KNOWN,
            (None, None) => everywhere += 1.0 / ALIKE_SCALARS.powi(2),
            (Some(own), None) => {
                let apart: f32 = own.iter().zip(given).map(|(a, b)| (a - b).powi(2)).sum();
                everywhere += 0.5 * apart / ALIKE_SCALARS.powi(2);
            }
            // What cells are, not how much they vary: of radar that is speckle.
            (Some(own), Some(part)) => {
                let size = part.channels * cells.count();
                compared.push((&given[..size], weights_of_given(table, i, size), &own[..size]));
            }
        }
    }
    let terms: Vec<Term> = compared.iter().map(|(values, weights, other)| Term { values, weights, other }).collect();
    distances(cells.side, GIVEN_RADIUS, &terms, &mut Workshop::default(), |row, sums| {
        sums.iter_mut().for_each(|v| *v += everywhere);
        each(row, sums);
    });
}

fn weights_of_given(table: &ModalityTable, i: usize, size: usize) -> Vec<f32> {
    // Classes are ±1 before they are standardised by about 0.8.
    let alike = if table[i].classes().is_some() { 2.0 * ALIKE_SHARES / 0.8 } else { ALIKE };
    let alike = if table[i].about.subject == Subject::Clouds { 2.0 * alike } else { alike };
    vec![0.5 / alike.powi(2); size]
}

/// The least of the distances of windows at a cell, and by what all have to be divided to leave so many windows to choose from.
fn softness(distances: Vec<f32>) -> (f32, f32) {
    let best = distances.iter().copied().fold(f32::MAX, f32::min);
    let (mut low, mut high) = (0.02f32, 200.0f32);
    for _ in 0..16 {
        let middle = (low * high).sqrt();
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        for v in &distances {
            let weight = f64::from((best - v) / middle).exp();
            sum += weight;
            squares += weight * weight;
        }
        if sum * sum / squares < LEFT { low = middle } else { high = middle }
    }
    (best, (low * high).sqrt())
}

impl Partial {
    fn new(count: usize, channels: usize) -> Self {
        Self {
            best: vec![f32::MIN; count],
            at: vec![0; count],
            sum: vec![0.0; count],
            values: vec![0.0; count * channels],
        }
    }
}

/// What a window tells of one row of cells.
struct BestOf<'a> {
    row: usize,
    /// How far its cells are from the state.
    sums: &'a mut [f32],
    /// How well they fit what is given.
    fit: &'a [f32],
    /// `(cell, channel)`: what they are.
    by_cell: &'a [f32],
    partial: &'a mut Partial,
}

impl NullaryFnOnce for BestOf<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { row, sums, fit, by_cell, partial } = self;
        let count = partial.best.len();
        let side = count.isqrt();
        let channels = by_cell.len() / count;
        sums.iter_mut().zip(fit).for_each(|(v, fit)| *v = fit - *v);
        for column in 0..side {
            let cell = row * side + column;
            let runs = || sums.chunks_exact(side).skip(column).step_by(side);
            let greater = |a: f32, b: f32| if b > a { b } else { a };
            let most = |run: &[f32]| run.iter().fold(f32::MIN, |most, v| greater(most, *v));
            let mosts = |run: &[f32]| {
                let mut all = [f32::MIN; LANES];
                let (chunks, rest) = run.as_chunks::<LANES>();
                for chunk in chunks {
                    all.iter_mut().zip(chunk).for_each(|(most, v)| *most = greater(*most, *v));
                }
                greater(most(&all), most(rest))
            };
            let mut best = (f32::MIN, 0);
            for (other, run) in runs().enumerate() {
                let most = mosts(run);
                if most > best.0 {
                    let at = run.iter().position(|v| *v == most).unwrap_or(0);
                    best = (most, other * side + at);
                }
            }
            let values = &mut partial.values[cell * channels..(cell + 1) * channels];
            for (other, run) in runs().enumerate() {
                for (part, run) in run.chunks(LANES).enumerate() {
                    if most(run) - best.0 <= NEGLIGIBLE {
                        continue;
                    }
                    for (at, v) in run.iter().enumerate() {
                        let log = v - best.0;
                        if log > NEGLIGIBLE {
                            let weight = log.exp();
                            partial.sum[cell] += weight;
                            let own = &by_cell[(other * side + part * LANES + at) * channels..][..channels];
                            values.iter_mut().zip(own).for_each(|(sum, v)| *sum += weight * v);
                        }
                    }
                }
            }
            (partial.best[cell], partial.at[cell]) = best;
        }
    }
}
