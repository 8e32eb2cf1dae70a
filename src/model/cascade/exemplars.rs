//! Real windows that a cascade makes pictures of: what their cells are like, and the pixels in them.
//!
//! The ideal denoiser of a set of pictures, if it may look at no more than a neighbourhood and does not know where in the
//! picture it is, answers with the mean of all neighbourhoods of the set, each weighted by how well it fits (Kamb and Ganguli
//! 2025, arXiv 2412.20292). A sampler that follows it makes new pictures, mosaics of neighbourhoods of real ones. It needs
//! no training and has no weights: where little is known of a window, it draws a landscape where a small network draws fog.

use super::cells::{Cells, Standard};
use super::first_guess::FirstGuess;
use super::matching::{Conditions, Wanted};
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, Raster, Subject, Value, to_network};
use crate::model::parameters::{Init, Parameters};
use crate::model::tensor_data::TensorData;
use crate::model::weights::LoadedWeights;
use candle_core::{DType, Device};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The most windows that a file may hold.
const MOST_WINDOWS: usize = 2048;
/// Fewer windows make no picture: all of them would look alike.
pub(super) const FEWEST_WINDOWS: usize = 8;
/// By how much less clear than the clearest exemplar a given mask may be, standardised: some 2 % of a window.
const CLEAR: f32 = 0.1;

/// One real window. Lists are by table index.
#[derive(Debug)]
pub struct Exemplar {
    /// Standardised cells `(latent channels, side, side)`; the numbers of a location or date.
    pub cells: Vec<Option<Vec<f32>>>,
    /// Standardised pixels `(channels, pixels, pixels)`, of what is drawn from exemplars.
    pub pixels: Vec<Option<Vec<f32>>>,
}

/// A set of real windows.
#[derive(Debug)]
pub struct Exemplars {
    table: ModalityTable,
    cells: Cells,
    windows: Vec<Exemplar>,
    first_guess: Option<FirstGuess>,
    /// What the windows are like beside the values that were given last: all steps and realisations of a request share it.
    last: Mutex<Option<(Wanted, Option<Arc<Conditions>>)>>,
}

impl Exemplars {
    /// Reads a file that [`tensors`](Self::tensors) filled; with `sha256`, checks that this is its hash.
    ///
    /// # Errors
    /// When it is missing, damaged, or does not fit the table.
    pub fn open(
        path: &Path,
        sha256: Option<&str>,
        table: &ModalityTable,
        standards: &[Option<Standard>],
    ) -> Result<Self> {
        let cells = Cells::new(table)?;
        let mut source = LoadedWeights::open(path, sha256, &Device::Cpu)?;
        let shapes: BTreeMap<String, Vec<usize>> =
            source.tensors().iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
        let mut windows: Vec<Exemplar> = Vec::new();
        for (i, m) in table.iter().enumerate() {
            let Some(count) = shapes.get(&m.key).and_then(|shape| shape.first().copied()) else { continue };
            let shape = match m.pixels {
                0 => vec![count, 3],
                side => vec![count, stored_channels(m), side, side],
            };
            let mut get = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
                Ok(source.get(name, shape, Init::Zeros)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
            };
            let numbers = get(&format!("{}.windows", m.key), &[count])?;
            let values = get(&m.key, &shape)?;
            let each = shape[1..].iter().product::<usize>().max(1);
            for (number, values) in numbers.iter().zip(values.chunks_exact(each)) {
                let number = *number as usize;
                if number >= MOST_WINDOWS {
                    return Err(Error::file(
                        path,
                        format!("It speaks of window {number}, but may hold {MOST_WINDOWS}"),
                    ));
                }
                while windows.len() <= number {
                    windows.push(Exemplar { cells: vec![None; table.len()], pixels: vec![None; table.len()] });
                }
                let (Some(part), Some(standard)) = (&cells.parts[i], &standards[i]) else {
                    windows[number].cells[i] = Some(values.to_vec());
                    continue;
                };
                let mut pixels = values.to_vec();
                if m.classes().is_some() {
                    pixels = to_network(m, &Value::Image(Raster::new(1, m.pixels, m.pixels, pixels)?))?;
                    standard.standardise(&mut pixels);
                }
                windows[number].cells[i] = Some(cells.of_image(part, standard, &pixels));
                windows[number].pixels[i] = Some(pixels).filter(|_| can_be_drawn(&cells, table, i));
            }
        }
        source.finish()?;
        Ok(Self { table: table.clone(), cells, windows, first_guess: None, last: Mutex::default() })
    }

    /// The same, with a regression to which the windows add how they differ from it.
    pub fn with_first_guess(mut self, first_guess: FirstGuess) -> Self {
        self.first_guess = Some(first_guess);
        self
    }

    /// Standardised cells `(channel, cell)` of these modalities, one after another, that are likely by what is given; zero where
    /// nothing is guessed.
    pub(super) fn likely(&self, given: &[Option<Vec<f32>>], wanted: &[usize]) -> Result<Vec<f32>> {
        let channels = |i: &usize| self.cells.parts[*i].as_ref().map_or(0, |part| part.latent);
        match &self.first_guess {
            Some(first_guess) => first_guess.likely(given, wanted),
            None => Ok(vec![0.0; wanted.iter().map(channels).sum::<usize>() * self.cells.count()]),
        }
    }

    /// A file's tensors for windows of physical values, by table index: `KEY (windows, channels, pixels, pixels)`, standardised
    /// measurements or class codes, and `KEY.windows`, which windows they are of.
    ///
    /// # Errors
    /// When a value does not fit its modality.
    pub fn tensors(
        table: &ModalityTable,
        standards: &[Option<Standard>],
        windows: &[Vec<Option<Value>>],
    ) -> Result<BTreeMap<String, TensorData>> {
        let mut tensors = BTreeMap::new();
        for (i, m) in table.iter().enumerate() {
            let (mut values, mut numbers) = (Vec::new(), Vec::new());
            for (number, window) in windows.iter().enumerate() {
                let Some(value) = &window[i] else { continue };
                let stored = match (value, &standards[i]) {
                    (Value::Image(raster), _) if m.classes().is_some() => raster.data.clone(),
                    (_, Some(standard)) => {
                        let mut pixels = to_network(m, value)?;
                        standard.standardise(&mut pixels);
                        pixels
                    }
                    (_, None) => to_network(m, value)?,
                };
                values.extend(stored);
                numbers.push(number as f32);
            }
            if !numbers.is_empty() {
                let mut shape = vec![numbers.len()];
                match m.pixels {
                    0 => shape.push(3),
                    side => shape.extend([stored_channels(m), side, side]),
                }
                tensors.insert(m.key.clone(), TensorData::new(shape, &values));
                tensors.insert(format!("{}.windows", m.key), TensorData::new(vec![numbers.len()], &numbers));
            }
        }
        Ok(tensors)
    }

    /// The grid of cells.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The windows.
    pub fn windows(&self) -> &[Exemplar] {
        &self.windows
    }

    /// What is drawn from exemplars, of what is sampled: radar, and reflectance at the finest pixels where no reflectance
    /// is given (from that, statistics and the refiner tell it better than any other place could) and no clouds are asked
    /// for.
    pub(super) fn drawn(&self, Wanted { given, sampled }: &Wanted) -> Vec<usize> {
        let of = |subject: Subject| {
            let wanted = self.table.finest(subject).filter(|&i| sampled[i]);
            wanted.filter(|&i| can_be_drawn(&self.cells, &self.table, i))
        };
        let optical_given = self.table.iter().zip(given).any(|(m, g)| g.is_some() && m.about.is_optical());
        let reflectance = of(Subject::SurfaceReflectance).or_else(|| of(Subject::TopOfAtmosphere));
        let reflectance = reflectance.filter(|_| !optical_given && !self.cloudy(given));
        let radar = self.table.telling_of(Subject::Radar).into_iter().find(|&i| sampled[i]);
        let radar = radar.filter(|&i| can_be_drawn(&self.cells, &self.table, i));
        let both: Vec<usize> = reflectance.into_iter().chain(radar).collect();
        let enough = |wanted: &[usize]| self.holding(wanted).count() >= FEWEST_WINDOWS;
        [both, reflectance.into_iter().collect(), radar.into_iter().collect()]
            .into_iter()
            .find(|wanted| !wanted.is_empty() && enough(wanted))
            .unwrap_or_default()
    }

    /// Whether what is given says that there are clouds.
    fn cloudy(&self, given: &[Option<Vec<f32>>]) -> bool {
        self.table.telling_of(Subject::Clouds).into_iter().any(|i| {
            // The first class is clear sky, and exemplars are clear.
            let clear =
                |cells: &Vec<f32>| cells.iter().take(self.cells.count()).sum::<f32>() / self.cells.count() as f32;
            let clearest = self.windows.iter().filter_map(|w| w.cells[i].as_ref()).map(clear).reduce(f32::max);
            matches!((&given[i], clearest), (Some(cells), Some(clearest)) if clear(cells) < clearest - CLEAR)
        })
    }

    /// Numbers of the windows that hold all of these.
    pub(super) fn holding<'a>(&'a self, wanted: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        let holds = |window: &Exemplar| wanted.iter().all(|&i| window.pixels[i].is_some());
        self.windows.iter().enumerate().filter(move |(_, window)| holds(window)).map(|(number, _)| number)
    }

    /// What the windows are like beside given values, and what is drawn from them; `None` where that is nothing.
    ///
    /// # Errors
    /// When the work is stopped.
    pub(super) fn conditions(&self, wanted: Wanted) -> Result<Option<Arc<Conditions>>> {
        let last = || self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, conditions)) = last().as_ref().filter(|(of, _)| *of == wanted) {
            return Ok(conditions.clone());
        }
        // Not while it is locked: the others need not wait for each other.
        let drawn = self.drawn(&wanted);
        let conditions = match drawn.is_empty() {
            true => None,
            false => Some(Arc::new(Conditions::new(self, &self.table, &wanted.given, &drawn)?)),
        };
        *last() = Some((wanted, conditions.clone()));
        Ok(conditions)
    }
}

/// Channels as they are stored: classes by their codes.
fn stored_channels(m: &crate::modality::Modality) -> usize {
    if m.classes().is_some() { 1 } else { m.network_channels() }
}

/// Whether cells hold several of its pixels, and these are measurements.
pub(super) fn can_be_drawn(cells: &Cells, table: &ModalityTable, i: usize) -> bool {
    table[i].classes().is_none() && cells.parts[i].as_ref().is_some_and(|part| part.has_spreads())
}
