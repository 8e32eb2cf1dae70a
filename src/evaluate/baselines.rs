//! What a model has to be better than, fitted on the training scenes.

use crate::error::Result;
use crate::modality::{Mask, ModalityTable, Raster, Value, class_index, filled, measured};
use crate::sampler::training_generator;
use crate::train::{Recipe, Use, Windows};
use nalgebra::{DMatrix, DVector};
use std::collections::BTreeMap;
use std::path::Path;

/// Training windows the baselines are fitted on.
const WINDOWS: usize = 400;

/// Random windows of the training scenes.
pub struct Training {
    table: ModalityTable,
    windows: Vec<Vec<Option<Value>>>,
    /// Number of each window's scene.
    scenes: Vec<usize>,
}

/// Per-pixel linear regression from the given bands, at the resolution of the target.
pub struct Regression {
    given: Vec<usize>,
    target: usize,
    weights: DMatrix<f64>,
}

impl Training {
    /// Draws them.
    ///
    /// # Errors
    /// When scenes cannot be read.
    pub fn draw(recipe: &Recipe, table: &ModalityTable, scenes: &Path) -> Result<Self> {
        let windows = Windows::open(scenes, table, &recipe.data, Use::Train)?.without_turns();
        let mut generator = training_generator(recipe.seed, "baselines", "", 0);
        let drawn: Vec<_> = (0..WINDOWS).map(|_| windows.draw_from(&mut generator, None)).collect::<Result<_>>()?;
        let (scenes, windows) = drawn.into_iter().unzip();
        Ok(Self { table: table.clone(), windows, scenes })
    }

    /// Rasters of a modality in all windows that hold it, in the unit of errors.
    pub fn rasters(&self, modality: usize) -> impl Iterator<Item = Raster> + '_ {
        let m = &self.table[modality];
        self.windows.iter().filter_map(move |w| Some(measured(m, w[modality].as_ref()?.image()?)))
    }

    /// Values of a modality in all windows that hold it.
    pub fn values(&self, modality: usize) -> impl Iterator<Item = &Value> {
        self.windows.iter().filter_map(move |w| w[modality].as_ref())
    }

    /// Mean of each channel over all training windows.
    pub fn mean(&self, modality: usize) -> Vec<f64> {
        let (mut sums, mut count) = (vec![0.0; self.table[modality].channels.len()], 0.0);
        for raster in self.rasters(modality) {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum += raster.valid_values(c).map(f64::from).sum::<f64>();
            }
            count += raster.valid_of(raster.channel(0)).len() as f64;
        }
        sums.iter().map(|s| s / f64::max(count, 1.0)).collect()
    }

    /// Mean of each channel over the pixels of each class; the mean of all where a class never occurs.
    pub fn class_means(&self, modality: usize, classes: usize) -> Vec<Vec<f64>> {
        let table = self.table[classes].classes().unwrap_or_default();
        let channels = self.table[modality].channels.len();
        let mut sums = vec![vec![0.0; channels]; table.len()];
        let mut counts = vec![0.0; table.len()];
        let m = &self.table[modality];
        for window in &self.windows {
            let image = |i: usize| window[i].as_ref().and_then(Value::image);
            let (Some(raster), Some(codes)) = (image(modality), image(classes)) else { continue };
            let raster = measured(m, raster);
            let Ok(codes) = filled(&self.table[classes], codes) else { continue };
            let coarse = majority(&codes, raster.width);
            for (p, code) in coarse.iter().enumerate().filter(|(p, _)| raster.is_valid(*p)) {
                let class = class_index(table, *code);
                counts[class] += 1.0;
                for (c, sum) in sums[class].iter_mut().enumerate() {
                    *sum += f64::from(raster.channel(c)[p]);
                }
            }
        }
        let all = self.mean(modality);
        let mean = |(sums, count): (&Vec<f64>, &f64)| {
            if *count > 0.0 { sums.iter().map(|s| s / count).collect() } else { all.clone() }
        };
        sums.iter().zip(&counts).map(mean).collect()
    }

    /// Fits the regression on all windows that hold everything; `None` if there are none. How far it is shrunk is what
    /// serves best on each training scene when it is fitted on the others.
    pub fn regression(&self, given: &[usize], target: usize) -> Option<Regression> {
        let mut given: Vec<usize> = given.iter().copied().filter(|&i| !self.table[i].is_scalar()).collect();
        given.retain(|&i| self.windows.iter().any(|w| w[i].is_some() && w[target].is_some()));
        let m = &self.table[target];
        let mut scenes: BTreeMap<usize, Fitted> = BTreeMap::new();
        for (window, scene) in self.windows.iter().zip(&self.scenes) {
            let Some(truth) = window[target].as_ref().and_then(Value::image) else { continue };
            let Some(mut x) = features(&self.table, &given, window, truth.width) else { continue };
            let truth = measured(m, truth);
            let pixels = truth.width * truth.height;
            let mut y = DMatrix::from_fn(pixels, truth.channels, |p, c| f64::from(truth.channel(c)[p]));
            // What is no data has no weight.
            for hole in truth.valid().into_iter().flat_map(Mask::holes) {
                x.row_mut(hole).fill(0.0);
                y.row_mut(hole).fill(0.0);
            }
            let (square, cross) = (x.tr_mul(&x), x.tr_mul(&y));
            match scenes.get_mut(scene) {
                Some(known) => {
                    known.square += square;
                    known.cross += cross;
                }
                None => {
                    scenes.insert(*scene, Fitted { square, cross, one: (x, y) });
                }
            }
        }
        let first = scenes.values().next()?;
        let (mut square, mut cross) = (first.square.clone(), first.cross.clone());
        for scene in scenes.values().skip(1) {
            square += &scene.square;
            cross += &scene.cross;
        }
        let error = |ridge: f64| -> f64 {
            let left_out = scenes.values().map(|scene| {
                let weights = solved(&square - &scene.square, &(&cross - &scene.cross), ridge);
                let (x, y) = &scene.one;
                weights.map_or(f64::INFINITY, |w| (x * w - y).abs().mean())
            });
            left_out.sum()
        };
        let ridges = [1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1];
        let best = if scenes.len() < 2 {
            1e-4
        } else {
            ridges.into_iter().min_by(|a, b| error(*a).total_cmp(&error(*b))).unwrap_or(1e-4)
        };
        Some(Regression { given, target, weights: solved(square, &cross, best)? })
    }
}

/// What one scene adds to a regression, and one window of it to try others on.
struct Fitted {
    square: DMatrix<f64>,
    cross: DMatrix<f64>,
    one: (DMatrix<f64>, DMatrix<f64>),
}

/// Least squares, each feature shrunk in proportion to its own size.
fn solved(mut square: DMatrix<f64>, cross: &DMatrix<f64>, ridge: f64) -> Option<DMatrix<f64>> {
    let least = 1e-12 * square.trace() / square.nrows() as f64;
    for i in 0..square.nrows() {
        square[(i, i)] += square[(i, i)] * ridge + least;
    }
    Some(nalgebra::Cholesky::new(square)?.solve(cross))
}

impl Regression {
    /// Its prediction, in the unit of errors.
    pub fn predict(&self, table: &ModalityTable, values: &[Option<Value>]) -> Option<Raster> {
        let side = table[self.target].pixels;
        let y = features(table, &self.given, values, side)? * &self.weights;
        let channels = table[self.target].channels.len();
        Some(Raster::from_fn(channels, side, side, |c, p| y[(p, c)] as f32))
    }
}

/// One row per pixel of the target's grid: all given bands there (one-hot for classes) and a one; holes are filled as for
/// the network.
fn features(table: &ModalityTable, given: &[usize], values: &[Option<Value>], side: usize) -> Option<DMatrix<f64>> {
    let mut columns = vec![DVector::from_element(side * side, 1.0)];
    for &i in given {
        let raster = filled(&table[i], values[i].as_ref()?.image()?).ok()?;
        match table[i].classes() {
            Some(classes) => {
                for class in classes {
                    let is = raster.map(|code| f32::from(u8::from(code == f32::from(class.code))));
                    columns.push(resampled(&is, 0, side));
                }
            }
            None => {
                let raster = measured(&table[i], &raster);
                columns.extend((0..raster.channels).map(|c| resampled(&raster, c, side)));
            }
        }
    }
    Some(DMatrix::from_columns(&columns))
}

/// A channel on another grid over the same ground: area means of what is finer, nearest of what is coarser.
fn resampled(raster: &Raster, channel: usize, side: usize) -> DVector<f64> {
    let (data, n) = (raster.channel(channel), raster.width);
    DVector::from_fn(side * side, |p, _| {
        let range = |k: usize| (k * n / side)..((k + 1) * n).div_ceil(side).clamp(k * n / side + 1, n);
        let (rows, columns) = (range(p / side), range(p % side));
        let count = (rows.len() * columns.len()) as f64;
        let sum: f64 =
            rows.flat_map(|r| columns.clone().map(move |c| (r, c))).map(|(r, c)| f64::from(data[r * n + c])).sum();
        sum / count
    })
}

/// The commonest code in each cell of a coarser grid.
pub(super) fn majority(codes: &Raster, side: usize) -> Vec<f32> {
    let n = codes.width;
    let cell = |p: usize| {
        let range = |k: usize| (k * n / side)..((k + 1) * n / side).max(k * n / side + 1);
        let mut counts: Vec<(f32, usize)> = Vec::new();
        for r in range(p / side) {
            for c in range(p % side) {
                let code = codes.data[r * n + c];
                match counts.iter_mut().find(|(known, _)| *known == code) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((code, 1)),
                }
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map_or(0.0, |(code, _)| code)
    };
    (0..side * side).map(cell).collect()
}
