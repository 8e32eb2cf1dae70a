//! What cells are expected to be by their statistics alone: that to which the coarse network adds structure.

use crate::error::{Error, Result};
use crate::model::cosines::Cosines;
use crate::model::tensor_data::TensorData;
use crate::model::weights::LoadedWeights;
use crate::model::{Init, Parameters};
use candle_core::{DType, Device};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use std::collections::BTreeMap;
use std::path::Path;

/// Variance, relative to a channel's own, that even a given value is taken to be unsure by: channels that are all but
/// copies of each other would leave no system to solve.
const FLOOR: f64 = 1e-4;

/// The least variance of a channel: of classes that were never seen.
const LEAST: f64 = 1e-6;

/// The least deviation that is left open, beside a channel's own.
const LEAST_OPEN: f64 = 0.03;

/// Ends of the bands of frequencies, in half waves a window: its mean, and five octaves.
const BANDS: [f64; 6] = [0.5, 1.5, 3.0, 6.0, 12.0, f64::INFINITY];

/// Windows that the statistics of a kind are taken to be known from when kinds are told apart: what lies far from all of
/// them then says little (the predictive density is Student's t, not the Gaussian).
const KNOWN_FROM: f64 = 6.0;

/// Kinds that are less probable than the likeliest one by this factor are left out of an estimate.
const NEGLIGIBLE: f64 = 1e-3;

/// The most kinds that a file may hold.
const MOST_KINDS: usize = 64;

/// One kind of window: snow, sea, fields, closed clouds.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Share of all windows.
    pub share: f64,
    /// Mean of each channel of standardised cells.
    pub mean: Vec<f32>,
    /// Covariance of the channels' coefficients (of an orthonormal cosine transform) in each band of frequencies.
    pub covariance: Vec<DMatrix<f64>>,
}

/// Kinds of windows, each with mean and covariance of the channels of standardised cells, at each scale: cosine
/// coefficients of a window are taken to be independent, their covariance that of their band of frequencies.
#[derive(Debug, Clone)]
pub struct Mixture {
    side: usize,
    kinds: Vec<Kind>,
    /// By channel: how much cells vary about the mean of their window, over all kinds.
    about: Vec<f32>,
    /// Which coefficients are in each band.
    members: Vec<Vec<usize>>,
    cosines: Cosines,
}

/// What is expected of cells, and what that leaves open.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// `(row, column, channels)`, standardised.
    pub values: Vec<f32>,
    /// By channel: deviation of the truth from it, apart from the mean of the window.
    pub open: Vec<f32>,
}

/// What is seen of one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Variance of the noise beside a signal of full strength: 0 for what is given, infinite for what is not there.
    pub noise: f64,
    /// Share of its cells that are known without noise, 0…1.
    pub known: f64,
}

impl Seen {
    /// All of it under noise of this variance.
    pub fn under(noise: f64) -> Self {
        Self { noise, known: 0.0 }
    }

    fn any(self) -> bool {
        self.noise.is_finite() || self.known > 0.0
    }

    /// Variance of the noise of its coefficients in a band of which they have this variance: what is known of some cells tells
    /// the more of a coefficient, the more there are.
    fn noise_in_band(self, variance: f64) -> f64 {
        let of_known = variance * (1.0 - self.known) / self.known;
        if self.known > 0.0 { 1.0 / (1.0 / self.noise + 1.0 / of_known) } else { self.noise }
    }
}

impl Mixture {
    /// Of kinds that all have one number of channels, on a grid of so many cells along a side.
    ///
    /// # Errors
    /// When there are none, sizes differ, or a number is not finite.
    pub fn new(side: usize, kinds: Vec<Kind>) -> Result<Self> {
        let n = kinds.first().map_or(0, |kind| kind.mean.len());
        let fits = |kind: &Kind| {
            kind.covariance.len() == Self::bands()
                && kind.covariance.iter().all(|c| c.shape() == (n, n) && c.iter().all(|v| v.is_finite()))
                && kind.covariance.iter().all(|c| c.diagonal().iter().all(|v| *v >= 0.0))
                && kind.mean.len() == n
                && kind.mean.iter().all(|v| v.is_finite())
                && kind.share > 0.0
                && kind.share <= 1.0
        };
        if kinds.is_empty() || !kinds.iter().all(fits) {
            return Err(Error::request(format!("These are not statistics of {n} channels of cells.")));
        }
        let members = Self::coefficients(side);
        let share = |band: usize| members[band].len() as f64 / (side * side) as f64;
        let of = |kind: &Kind, c: usize| (1..Self::bands()).map(|b| share(b) * kind.covariance[b][(c, c)]).sum::<f64>();
        let about = |c: usize| kinds.iter().map(|kind| kind.share * of(kind, c)).sum::<f64>().max(LEAST).sqrt() as f32;
        let about = (0..n).map(about).collect();
        Ok(Self { side, kinds, about, members, cosines: Cosines::new([side]) })
    }

    /// One kind, whose channels say nothing of each other.
    #[cfg(test)]
    pub(super) fn unrelated(side: usize, channels: usize) -> Self {
        let covariance = vec![DMatrix::identity(channels, channels); Self::bands()];
        Self::new(side, vec![Kind { share: 1.0, mean: vec![0.0; channels], covariance }]).expect("statistics")
    }

    /// Number of bands.
    pub fn bands() -> usize {
        BANDS.len()
    }

    /// Which of a window's coefficients are in each band.
    pub fn coefficients(side: usize) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); Self::bands()];
        for k in 0..side * side {
            let radius = ((k / side) as f64).hypot((k % side) as f64);
            let band = BANDS.iter().position(|end| radius < *end).unwrap_or(Self::bands() - 1);
            all[band].push(k);
        }
        all
    }

    /// Channels it is of.
    pub fn channels(&self) -> usize {
        self.kinds.first().map_or(0, |kind| kind.mean.len())
    }

    /// Reads a file that [`tensors`](Self::tensors) filled; with `sha256`, checks that this is its hash.
    ///
    /// # Errors
    /// When it is missing, damaged, or of another number of channels.
    pub fn open(path: &Path, sha256: Option<&str>, side: usize, channels: usize) -> Result<Self> {
        let mut source = LoadedWeights::open(path, sha256, &Device::Cpu)?;
        let count = source.tensors().get("share").and_then(|share| share.shape.first().copied()).unwrap_or(0);
        if !(1..=MOST_KINDS).contains(&count) {
            return Err(Error::file(path, "It holds no statistics of kinds of windows; it may be of an older version"));
        }
        let mut get = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            Ok(source.get(name, shape, Init::Zeros)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        };
        let shares = get("share", &[count])?;
        let means = get("mean", &[count, channels])?;
        let all = get("covariance", &[count, Self::bands(), channels, channels])?;
        source.finish()?;
        let square = |c: &[f32]| DMatrix::from_iterator(channels, channels, c.iter().map(|v| f64::from(*v)));
        let squares: Vec<DMatrix<f64>> = all.chunks_exact((channels * channels).max(1)).map(square).collect();
        let kinds = shares.iter().zip(means.chunks_exact(channels.max(1))).zip(squares.chunks_exact(Self::bands()));
        let kind = |((share, mean), covariance): ((&f32, &[f32]), &[DMatrix<f64>])| Kind {
            share: f64::from(*share),
            mean: mean.to_vec(),
            covariance: covariance.to_vec(),
        };
        Self::new(side, kinds.map(kind).collect()).map_err(|e| Error::file(path, e.to_string()))
    }

    /// `share (kinds)`, `mean (kinds, channels)`, `covariance (kinds, bands, channels, channels)`.
    pub fn tensors(&self) -> BTreeMap<String, TensorData> {
        let (k, n) = (self.kinds.len(), self.channels());
        let tensor = |shape: Vec<usize>, values: &mut dyn Iterator<Item = f32>| TensorData {
            dtype: DType::F32,
            shape,
            bytes: values.flat_map(f32::to_le_bytes).collect(),
        };
        let kinds = || self.kinds.iter();
        // Symmetric: the order of rows and columns does not matter.
        let mut all = kinds().flat_map(|kind| &kind.covariance).flatten().map(|v| *v as f32);
        BTreeMap::from([
            ("share".to_owned(), tensor(vec![k], &mut kinds().map(|kind| kind.share as f32))),
            ("mean".to_owned(), tensor(vec![k, n], &mut kinds().flat_map(|kind| kind.mean.iter().copied()))),
            ("covariance".to_owned(), tensor(vec![k, Self::bands(), n, n], &mut all)),
        ])
    }

    /// By channel: how much cells vary about the mean of their window, over all kinds.
    pub fn about(&self) -> &[f32] {
        &self.about
    }

    /// What cells are expected to be, standardised, given noisy ones `(row, column, channels)`: by kind the best linear
    /// estimate, weighed by how probable each kind is, which the mean of the window tells. Where a channel is not there,
    /// anything may stand in its place.
    ///
    /// # Errors
    /// When the statistics are no covariance, or what is given is not finite.
    pub fn estimate(&self, noisy: &[f32], seen: &[Seen]) -> Result<Estimate> {
        let (n, cells, side) = (self.channels(), self.side * self.side, self.side as f32);
        let Start { stack, observed, likely } = self.start(noisy, seen)?;
        let mut expected = vec![0.0; n * cells];
        let mut open = vec![0.0; n];
        for Likely { kind, share, level } in likely {
            let found = &level.matrix * kind.off(&stack, &observed, self.side);
            for (c, found) in found.iter().enumerate() {
                expected[c * cells] += share as f32 * (side * kind.mean[c] + found);
            }
            for (band, members) in self.members.iter().enumerate().skip(1) {
                let gain = Gain::new(&kind.covariance[band], &stack, &system(kind, band, &stack, seen)?);
                let own = DMatrix::from_fn(stack.len(), members.len(), |i, k| observed[i * cells + members[k]]);
                let found = &gain.matrix * own;
                for (k, member) in members.iter().enumerate() {
                    let into = found.column(k);
                    into.iter().enumerate().for_each(|(c, v)| expected[c * cells + member] += share as f32 * v);
                    // Kinds differ in what they expect.
                    let squares = open.iter_mut().zip(into.iter());
                    squares.for_each(|(open, v)| *open += share * f64::from(*v).powi(2) / cells as f64);
                }
                let count = members.len() as f64 / cells as f64;
                open.iter_mut().zip(&gain.left).for_each(|(open, left)| *open += share * count * left);
            }
        }
        for (c, open) in open.iter_mut().enumerate() {
            let told = expected[c * cells + 1..(c + 1) * cells].iter().map(|v| f64::from(v * v)).sum::<f64>();
            *open -= told / cells as f64;
        }
        self.cosines.inverse(&mut expected, self.side);
        let cell = |cell: usize| (0..n).map(move |c| (c, cell));
        let values = (0..cells).flat_map(cell).map(|(c, cell)| expected[c * cells + cell]).collect();
        let least = |c: usize| LEAST_OPEN * f64::from(self.about[c]);
        let open = open.iter().enumerate().map(|(c, open)| open.max(0.0).sqrt().max(least(c)) as f32).collect();
        Ok(Estimate { values, open })
    }

    /// What the means of windows are expected to be, by channel.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    pub fn means(&self, noisy: &[f32], seen: &[Seen]) -> Result<Vec<f32>> {
        let Start { stack, observed, likely } = self.start(noisy, seen)?;
        let mut means = vec![0.0; self.channels()];
        for Likely { kind, share, level } in likely {
            let found = &level.matrix * kind.off(&stack, &observed, self.side) / self.side as f32;
            means.iter_mut().enumerate().for_each(|(c, mean)| *mean += share as f32 * (kind.mean[c] + found[c]));
        }
        Ok(means)
    }

    /// What is seen, as coefficients, and what its mean tells.
    fn start(&self, noisy: &[f32], seen: &[Seen]) -> Result<Start<'_>> {
        let (n, cells) = (self.channels(), self.side * self.side);
        let stack: Vec<usize> = (0..n).filter(|&c| seen[c].any()).collect();
        let of = |&c: &usize| (0..cells).map(move |cell| noisy[cell * n + c]);
        let mut observed: Vec<f32> = stack.iter().flat_map(of).collect();
        self.cosines.forward(&mut observed, self.side);
        let systems = self.kinds.iter().map(|kind| system(kind, 0, &stack, seen)).collect::<Result<Vec<_>>>()?;
        let likely = |(kind, system): (&Kind, &Cholesky<f64, Dyn>)| {
            kind.share.ln() + log_density(system, &kind.off(&stack, &observed, self.side))
        };
        let logs: Vec<f64> = self.kinds.iter().zip(&systems).map(likely).collect();
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight = |log: &f64| Some((log - highest).exp()).filter(|w| *w > NEGLIGIBLE).unwrap_or(0.0);
        let weights: Vec<f64> = logs.iter().map(weight).collect();
        let sum: f64 = weights.iter().sum();
        if sum.is_nan() || sum <= 0.0 {
            return Err(Error::Compute("No kind of window fits what is given; its numbers may not be finite.".into()));
        }
        let all = self.kinds.iter().zip(systems).zip(weights);
        let likely = all.filter(|(_, weight)| *weight > 0.0).map(|((kind, system), weight)| Likely {
            kind,
            share: weight / sum,
            level: Gain::new(&kind.covariance[0], &stack, &system),
        });
        Ok(Start { likely: likely.collect(), stack, observed })
    }
}

/// What is seen of a window.
struct Start<'a> {
    /// Channels that are seen.
    stack: Vec<usize>,
    /// Their coefficients, `(channel, cell)`.
    observed: Vec<f32>,
    /// Kinds that it may be of.
    likely: Vec<Likely<'a>>,
}

/// A kind that a window may be of.
struct Likely<'a> {
    kind: &'a Kind,
    /// How probable it is.
    share: f64,
    /// What the means that are seen tell of all means.
    level: Gain,
}

impl Kind {
    /// First coefficients, which are the means of windows, less what this kind expects.
    fn off(&self, stack: &[usize], observed: &[f32], side: usize) -> DVector<f32> {
        DVector::from_fn(stack.len(), |i, _| observed[i * side * side] - side as f32 * self.mean[stack[i]])
    }
}

/// The covariance of the coefficients of a band that are seen, with their noise.
fn system(kind: &Kind, band: usize, stack: &[usize], seen: &[Seen]) -> Result<Cholesky<f64, Dyn>> {
    let mut system = kind.covariance[band].select_rows(stack).select_columns(stack);
    for (i, &c) in stack.iter().enumerate() {
        // The mean of some cells differs from that of all by what varies most broadly.
        let broadest = kind.covariance[band.max(1)][(c, c)];
        system[(i, i)] += FLOOR * system[(i, i)] + LEAST + seen[c].noise_in_band(broadest);
    }
    Cholesky::new(system).ok_or_else(|| Error::Compute("The statistics of the model's cells are no covariance.".into()))
}

/// Logarithm of the density of what is seen, less its mean, up to a constant. What each channel adds to those before it is
/// judged by itself: a strange land cover does not silence the cloud mask.
fn log_density(system: &Cholesky<f64, Dyn>, off: &DVector<f32>) -> f64 {
    let (lower, off) = (system.l_dirty(), off.map(f64::from));
    // A lower factor has no zero on its diagonal.
    let added = lower.solve_lower_triangular(&off).unwrap_or(off);
    let log_determinant: f64 = lower.diagonal().iter().map(|v| v.ln()).sum();
    let each = |v: f64| 0.5 * (KNOWN_FROM + 1.0) * (v * v / KNOWN_FROM).ln_1p();
    -log_determinant - added.iter().copied().map(each).sum::<f64>()
}

/// What the coefficients of one band that are seen tell of all of them.
struct Gain {
    /// From what is seen, less its mean, to everything, less its mean.
    matrix: DMatrix<f32>,
    /// By channel, the variance that is left.
    left: Vec<f64>,
}

impl Gain {
    fn new(covariance: &DMatrix<f64>, stack: &[usize], system: &Cholesky<f64, Dyn>) -> Self {
        let n = covariance.nrows();
        if stack.is_empty() {
            return Self { matrix: DMatrix::zeros(n, 0), left: covariance.diagonal().iter().copied().collect() };
        }
        let cross = covariance.select_columns(stack);
        let gain = system.solve(&cross.transpose()).transpose();
        let told = |c: usize| gain.row(c).dot(&cross.row(c));
        let left = (0..n).map(|c| (covariance[(c, c)] - told(c)).max(0.0)).collect();
        Self { matrix: gain.map(|v| v as f32), left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 8;

    /// Two channels: the second is half the first and a little of its own; windows differ by more than cells do.
    fn pair(share: f64, mean: [f32; 2], scale: f64) -> Kind {
        let of = |own: f64| DMatrix::from_row_slice(2, 2, &[1.0, 0.5, 0.5, 0.26]) * own * scale;
        Kind { share, mean: mean.to_vec(), covariance: [64.0, 8.0, 1.0, 0.1, 0.1, 0.1].map(of).to_vec() }
    }

    fn one() -> Mixture {
        Mixture::new(SIDE, vec![pair(1.0, [1.0, -1.0], 1.0)]).expect("statistics")
    }

    /// A calm dark kind, and a bright one ten times as varied.
    fn kinds() -> Vec<Kind> {
        vec![pair(0.7, [-2.0, -3.0], 0.01), pair(0.3, [4.0, 5.0], 0.1)]
    }

    fn cells(first: impl Fn(usize) -> f32) -> Vec<f32> {
        (0..SIDE * SIDE).flat_map(|cell| [first(cell), 99.0]).collect()
    }

    const NOTHING: [Seen; 2] = [Seen { noise: f64::INFINITY, known: 0.0 }; 2];
    const FIRST: [Seen; 2] = [Seen { noise: 0.0, known: 0.0 }, NOTHING[1]];

    #[test]
    fn what_is_linear_in_what_is_given_is_told_and_what_is_not_there_is_the_mean() {
        let first = |cell: usize| 2.0 + (cell as f32 * 0.7).sin();
        let found = one().estimate(&cells(first), &FIRST).expect("estimate");
        for (cell, found) in found.values.chunks_exact(2).enumerate() {
            assert!((found[0] - first(cell)).abs() < 2e-3, "{cell}: {found:?}");
            assert!((found[1] - (-1.0 + (first(cell) - 1.0) / 2.0)).abs() < 2e-3, "{cell}: {found:?}");
        }
        let means = one().means(&cells(first), &FIRST).expect("means");
        let mean = found.values.chunks_exact(2).map(|c| c[1]).sum::<f32>() / (SIDE * SIDE) as f32;
        assert!((means[1] - mean).abs() < 1e-4, "{means:?} {mean}");
        let nothing = one().estimate(&cells(first), &NOTHING).expect("estimate");
        for found in nothing.values.chunks_exact(2) {
            assert!((found[0] - 1.0).abs() < 1e-5 && (found[1] + 1.0).abs() < 1e-5, "{found:?}");
        }
        // Open is what the first does not tell of the second.
        assert!(((found.open[1] / nothing.open[1]).powi(2) - 0.01 / 0.26).abs() < 1e-2, "{:?}", found.open);
        assert!((nothing.open[1] / one().about()[1] - 1.0).abs() < 1e-4, "{:?} {:?}", nothing.open, one().about());
        assert!(found.open[0] < 0.04 * nothing.open[0]);
    }

    #[test]
    fn what_is_broad_is_believed_before_what_is_fine() {
        // A level of 2 above the mean, and a chequerboard of 1 on top, under noise of 1.
        let board = |cell: usize| if (cell / SIDE + cell % SIDE).is_multiple_of(2) { 1.0 } else { -1.0 };
        let seen = [Seen::under(1.0), NOTHING[1]];
        let found = one().estimate(&cells(|cell| 3.0 + board(cell)), &seen).expect("estimate").values;
        let mean = found.chunks_exact(2).map(|c| c[0]).sum::<f32>() / (SIDE * SIDE) as f32;
        assert!((mean - 1.0 - 2.0 * 64.0 / 65.0).abs() < 0.01, "{mean}");
        let fine = found.chunks_exact(2).enumerate().map(|(cell, c)| (c[0] - mean) * board(cell)).sum::<f32>();
        assert!(fine / ((SIDE * SIDE) as f32) < 0.2, "{fine}");
    }

    #[test]
    fn a_kind_is_told_by_what_is_given_and_says_what_it_expects_of_the_rest() {
        let both = Mixture::new(SIDE, kinds()).expect("statistics");
        let nothing = both.means(&cells(|_| 0.0), &NOTHING).expect("means");
        assert!((nothing[0] - (0.3 * 4.0 - 0.7 * 2.0)).abs() < 1e-3, "{nothing:?}");
        let open = [(-2.0, -3.0), (4.0, 5.0)].map(|(level, expected)| {
            let found = both.estimate(&cells(|_| level), &FIRST).expect("estimate");
            assert!((found.values[1] - expected).abs() < 0.05, "{}", found.values[1]);
            found.open[1]
        });
        assert!(open[0] < 0.5 * open[1], "{open:?}");
        assert!(both.estimate(&cells(|_| f32::NAN), &FIRST).is_err());
    }

    #[test]
    fn some_cells_tell_the_level_of_the_others() {
        let told = |known: f64| one().means(&cells(|_| 3.0), &[Seen { noise: f64::INFINITY, known }, NOTHING[1]]);
        let [none, little, half, all] = [0.0, 0.1, 0.5, 1.0].map(|known| told(known).expect("means")[0]);
        assert!((none - 1.0).abs() < 1e-5 && none < little && little < half && half <= all, "{none} {little} {half}");
        assert!((half - 3.0).abs() < 0.3 && (all - 3.0).abs() < 0.01, "{half} {all}");
    }

    #[test]
    fn every_coefficient_is_in_one_band() {
        let all = Mixture::coefficients(24);
        assert_eq!(all[0], [0]);
        let mut members: Vec<usize> = all.concat();
        members.sort_unstable();
        assert_eq!(members, (0..576).collect::<Vec<_>>());
    }

    #[test]
    fn statistics_come_back_from_their_file_and_others_are_refused() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("statistics.safetensors");
        let both = Mixture::new(SIDE, kinds()).expect("statistics");
        crate::model::write_weights(&path, &both.tensors(), false).expect("write");
        let back = Mixture::open(&path, None, SIDE, 2).expect("read");
        let estimate = |of: &Mixture| of.estimate(&cells(|_| 3.0), &FIRST).expect("estimate").values;
        assert!(estimate(&back).iter().zip(estimate(&both)).all(|(a, b)| (a - b).abs() < 1e-4));
        assert!(Mixture::open(&path, None, SIDE, 3).is_err());
        let spoilt = |spoil: &dyn Fn(&mut Kind)| {
            let mut kinds = kinds();
            spoil(&mut kinds[1]);
            Mixture::new(SIDE, kinds).is_err()
        };
        assert!(Mixture::new(SIDE, Vec::new()).is_err());
        assert!(spoilt(&|kind| kind.mean.push(0.0)));
        assert!(spoilt(&|kind| kind.mean[0] = f32::NAN));
        assert!(spoilt(&|kind| drop(kind.covariance.pop())));
        assert!(spoilt(&|kind| kind.share = 0.0));
    }
}
