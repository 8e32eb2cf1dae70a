//! Fits the statistics of a cascade's cells to windows that lack some modalities: first to all of them, then to each kind.

use super::coarse::{CachedWindows, standardised_cells};
use super::holes::is_whole;
use super::items::Item;
use super::k_means::k_means;
use super::moments::{Moments, NOT_SEEN, Prior, maximise, own_deviations, rough_mean, scaled, squares};
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, Subject};
use crate::model::Cosines;
use crate::model::cascade::{Cells, Kind, Mixture, Seen, Standard};
use crate::parallel;
use crate::sampler::training_generator;
use nalgebra::{DMatrix, DVector};
use std::collections::BTreeMap;

/// Windows that are looked at.
const MOST_WINDOWS: usize = 2000;
/// Independent windows that all of them count for: many are of one place.
const INDEPENDENT: f64 = 200.0;
/// Windows that the belief in unrelated channels is worth: more would blur what goes closely together.
const PRIOR_WINDOWS: f64 = 1.0;
/// How much of what the mean of one kind of measurement seems to tell of another's is believed, and of what its variation
/// tells, at each scale: a hundred places are few to learn a landscape's colour from. Chosen on validation places, whose
/// colour was told better with 0.5 than with 1 (squared error 1.10 instead of 1.31 from radar and land cover).
const BELIEVED: [f64; 2] = [0.5, 0.95];
/// Variance of a mean of which nothing is known, in units of the channels'.
const FLAT: f64 = 1e6;

/// Kinds of windows that are told apart. Of 6, 12 and 24 the last were best on validation places (squared error of optical
/// bands in noise, from radar and land cover: 0.362, 0.359 and 0.347 of their variance).
const KINDS: usize = 24;
/// Windows that the covariance of all windows is worth to a kind.
const POOLED_WINDOWS: f64 = 12.0;

/// What is held of a window.
struct Held {
    /// Channels.
    stack: Vec<usize>,
    /// Cosine coefficients of their standardised cells, `(channel, cell)`.
    coefficients: Vec<f32>,
}

/// Mean and covariance of standardised cells at each scale, by expectation maximisation, of each kind of window.
///
/// # Errors
/// When a value does not fit its modality, or a covariance cannot be inverted.
pub(super) fn cell_statistics(
    windows: &CachedWindows,
    cells: &Cells,
    standards: &[Option<Standard>],
) -> Result<Mixture> {
    let held = held(windows, cells, standards)?;
    if held.is_empty() {
        return Err(Error::request("No window to train on holds an image; check the folder of scenes and the recipe."));
    }
    let table = &windows.table;
    let pooled = pooled(cells, &held)?;
    let labels = labels(windows, cells, &held, &pooled)?;
    let kinds: Vec<usize> = (0..KINDS).filter(|k| labels.contains(&Some(*k))).collect();
    if kinds.len() < 2 {
        return Mixture::new(cells.side, vec![believed(table, cells, pooled)]);
    }
    let seen = labels.iter().flatten().count() as f64;
    let fitted = parallel::map(&kinds, |&k| {
        let own: Vec<usize> = (0..held.len()).filter(|&w| labels[w] == Some(k)).collect();
        Ok(believed(table, cells, of_kind(table, cells, &held, &own, own.len() as f64 / seen, &pooled)?))
    })?;
    Mixture::new(cells.side, fitted)
}

/// What some windows hold: as they are trained on, with clouds that are not there.
fn held(windows: &CachedWindows, cells: &Cells, standards: &[Option<Standard>]) -> Result<Vec<Held>> {
    let every = windows.train.len().div_ceil(MOST_WINDOWS).max(1);
    let chosen: Vec<usize> = (0..windows.train.len()).step_by(every).collect();
    let cosines = Cosines::new([cells.side]);
    let held = parallel::map(&chosen, |&window| {
        let (mut stack, mut coefficients) = (Vec::new(), Vec::new());
        let item = Item { window, turn: window % 8, states: Vec::new(), seed: window as u64 };
        for (i, value) in windows.augmented(&item).iter().enumerate() {
            // Scales are those of a whole image: what was filled in is smoother than what it stands for.
            let value = value.as_ref().filter(|value| is_whole(value));
            let (Some(value), Some(part), Some(standard)) = (value, &cells.parts[i], &standards[i]) else { continue };
            coefficients.extend(standardised_cells(&windows.table[i], cells, part, standard, value)?);
            stack.extend(part.first..part.first + part.latent);
        }
        cosines.forward(&mut coefficients, cells.side);
        Ok(Held { stack, coefficients })
    })?;
    Ok(held.into_iter().filter(|window| !window.stack.is_empty()).collect())
}

/// Moments of some of the windows in each band of frequencies.
fn moments(cells: &Cells, held: &[Held], chosen: &[usize]) -> Vec<Vec<Moments>> {
    let weight = INDEPENDENT / held.len().max(1) as f64;
    let members = Mixture::coefficients(cells.side);
    let mut bands = vec![BTreeMap::new(); members.len()];
    for Held { stack, coefficients } in chosen.iter().map(|&window| &held[window]) {
        let at = |channel: usize, k: usize| f64::from(coefficients[channel * cells.count() + k]);
        for (band, (all, members)) in bands.iter_mut().zip(&members).enumerate() {
            let columns = DMatrix::from_fn(stack.len(), members.len(), |channel, k| at(channel, members[k]));
            let mean = if band == 0 { columns.column(0).into_owned() } else { DVector::zeros(stack.len()) };
            let moments = all.entry(stack.clone()).or_insert_with(|| Moments::empty(stack.clone()));
            // Coefficients of one window are not independent: they count as the root of their number.
            let count = members.len() as f64;
            moments.add(weight * count.sqrt(), &mean, &columns, 1.0 / count);
        }
    }
    bands.into_iter().map(|all| all.into_values().map(Moments::averaged).collect()).collect()
}

/// One kind for all windows.
fn pooled(cells: &Cells, held: &[Held]) -> Result<Kind> {
    let (n, all) = (cells.channels, (0..held.len()).collect::<Vec<_>>());
    let (mut mean, mut covariance) = (Vec::new(), Vec::new());
    for (band, moments) in moments(cells, held, &all).into_iter().enumerate() {
        let level = if band == 0 { rough_mean(&moments, n) } else { DVector::zeros(n) };
        let about: Vec<Moments> = moments.iter().map(|m| m.clone().about(&level)).collect();
        let unrelated = unrelated(&about, n);
        let mean_covariance = &unrelated * if band == 0 { FLAT } else { 0.0 };
        let prior = Prior { mean: level, mean_covariance, covariance: &unrelated, windows: PRIOR_WINDOWS };
        let (level, own) = maximise(&moments, &prior)?;
        if band == 0 {
            mean = level.iter().map(|v| (v / cells.side as f64) as f32).collect();
        }
        covariance.push(own);
    }
    Ok(Kind { share: 1.0, mean, covariance })
}

/// One kind of some windows. Channels go together as in all windows; how much they vary is the kind's own.
fn of_kind(
    table: &ModalityTable,
    cells: &Cells,
    held: &[Held],
    own: &[usize],
    share: f64,
    pooled: &Kind,
) -> Result<Kind> {
    let (n, side) = (cells.channels, cells.side as f64);
    let seen: Vec<bool> =
        measurements(table, cells).iter().map(|m| matches!(m, None | Some(Subject::Clouds))).collect();
    let (mut mean, mut covariance) = (Vec::new(), Vec::new());
    for ((band, moments), pooled_covariance) in
        moments(cells, held, own).into_iter().enumerate().zip(&pooled.covariance)
    {
        let usual = DVector::from_fn(n, |c, _| if band == 0 { f64::from(pooled.mean[c]) * side } else { 0.0 });
        let mut level = usual.clone();
        if band == 0 {
            let rough = rough_mean(&moments, n);
            moments.iter().flat_map(|m| &m.stack).for_each(|&c| level[c] = rough[c]);
        }
        let about: Vec<Moments> = moments.iter().map(|m| m.clone().about(&level)).collect();
        let (mut sum, count) = squares(&about, vec![0.0; n]);
        sum.iter_mut().enumerate().for_each(|(c, sum)| *sum /= pooled_covariance[(c, c)].max(1e-12));
        let prior_covariance = scaled(pooled_covariance, &own_deviations(&sum, &count, &seen));
        // A mean that few windows tell keeps to that of all, and what the optical sensor does not see all the more.
        let sure = |c: usize| if seen[c] { 1.0 } else { NOT_SEEN };
        let mean_covariance = match band {
            0 => DMatrix::from_fn(n, n, |i, j| pooled_covariance[(i, j)] / (sure(i) * sure(j)).sqrt()),
            _ => DMatrix::zeros(n, n),
        };
        let prior = Prior { mean: usual, mean_covariance, covariance: &prior_covariance, windows: POOLED_WINDOWS };
        let (level, own) = maximise(&moments, &prior)?;
        if band == 0 {
            mean = level.iter().map(|v| (v / side) as f32).collect();
        }
        covariance.push(own);
    }
    Ok(Kind { share, mean, covariance })
}

/// Which kind each window is of, as far as all windows' statistics tell the colour of what an optical sensor sees there from
/// everything the window holds; none where it holds nothing of it.
fn labels(windows: &CachedWindows, cells: &Cells, held: &[Held], pooled: &Kind) -> Result<Vec<Option<usize>>> {
    let table = &windows.table;
    let optical: Vec<usize> = table
        .iter()
        .zip(&cells.parts)
        .filter_map(|(m, part)| part.as_ref().filter(|_| m.about.is_optical()))
        .flat_map(|part| part.first..part.first + part.channels)
        .collect();
    let one = Mixture::new(cells.side, vec![pooled.clone()])?;
    let shown: Vec<usize> = (0..held.len()).filter(|&w| held[w].stack.iter().any(|c| optical.contains(c))).collect();
    let points = parallel::map(&shown, |&window| {
        // The mean of a window is all that counts.
        let mut noisy = vec![0.0; cells.count() * cells.channels];
        let mut seen = vec![Seen::under(f64::INFINITY); cells.channels];
        for (channel, own) in held[window].stack.iter().zip(held[window].coefficients.chunks_exact(cells.count())) {
            seen[*channel] = Seen::under(0.0);
            let mean = own[0] / cells.side as f32;
            (0..cells.count()).for_each(|cell| noisy[cell * cells.channels + channel] = mean);
        }
        let found = one.means(&noisy, &seen)?;
        Ok(optical.iter().map(|&c| f64::from(found[c])).collect::<Vec<f64>>())
    })?;
    let mut generator = training_generator(windows.recipe.seed, "kinds", "", 0);
    let found = k_means(&points, &vec![1.0; points.len()], KINDS, &mut generator);
    let mut labels = vec![None; held.len()];
    shown.iter().zip(found).for_each(|(&window, kind)| labels[window] = Some(kind));
    Ok(labels)
}

/// A kind of which only so much is believed across kinds of measurement.
fn believed(table: &ModalityTable, cells: &Cells, kind: Kind) -> Kind {
    let measurements = measurements(table, cells);
    let less = |(band, covariance): (usize, DMatrix<f64>)| {
        let factor = BELIEVED[band.min(1)];
        covariance.map_with_location(|i, j, v| if measurements[i] == measurements[j] { v } else { factor * v })
    };
    Kind { covariance: kind.covariance.into_iter().enumerate().map(less).collect(), ..kind }
}

/// By channel: what kind of measurement it belongs to; `None` for the optical levels, which are of one kind.
fn measurements(table: &ModalityTable, cells: &Cells) -> Vec<Option<Subject>> {
    let mut all = vec![None; cells.channels];
    for (m, part) in table.iter().zip(&cells.parts) {
        let Some(part) = part.as_ref().filter(|_| !m.about.is_optical()) else { continue };
        all[part.first..part.first + part.latent].fill(Some(m.about.subject));
    }
    all
}

/// The variance of each channel that moments about their mean tell, and nothing between channels.
fn unrelated(moments: &[Moments], n: usize) -> DMatrix<f64> {
    let (sum, count) = squares(moments, vec![1e-9; n]);
    DMatrix::from_diagonal(&DVector::from_fn(n, |c, _| (sum[c] / count[c]).max(1e-4)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::bundled;
    use crate::modality::{Mask, Value};
    use crate::train::Recipe;

    #[test]
    fn statistics_are_not_fitted_to_what_was_filled_in() {
        let path = bundled("models/recipes/cascade.toml").expect("recipe");
        let (mut recipe, table) = Recipe::open(&path).expect("recipe");
        // Of the bundled scenes this one alone holds everything.
        recipe.data.uses = None;
        recipe.data.weights = [("433D".to_owned(), 1.0), (String::new(), 0.0)].into();
        recipe.denoiser.cached_windows = 2;
        let scenes = bundled("assets/scenes").expect("scenes");
        let mut windows = CachedWindows::read(&recipe, &table, &scenes).expect("windows");
        let cells = Cells::new(&table).expect("cells");
        let standards = super::super::coarse::standards(&windows, &cells).expect("standards");
        let elevation = table.index("DEM").expect("modality");
        let part = cells.parts[elevation].as_ref().expect("an image");
        let channels = part.first..part.first + part.latent;
        let held_of = |windows: &CachedWindows| -> Vec<Held> { held(windows, &cells, &standards).expect("windows") };
        let whole = held_of(&windows);
        assert!(whole.len() == 2 && whole.iter().all(|window| channels.clone().all(|c| window.stack.contains(&c))));

        let value = windows.train[1][elevation].take().expect("elevation");
        let raster = value.image().expect("an image").clone();
        let valid = Mask::from_fn(raster.height, raster.width, |pixel| pixel != 40);
        windows.train[1][elevation] = Some(Value::Image(raster.with_valid(&valid).expect("mask")));
        let holed = held_of(&windows);
        assert_eq!((&holed[0].stack, &holed[0].coefficients), (&whole[0].stack, &whole[0].coefficients));
        let rest: Vec<usize> = whole[1].stack.iter().copied().filter(|c| !channels.contains(c)).collect();
        assert_eq!(holed[1].stack, rest);
    }
}
