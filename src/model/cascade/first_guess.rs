//! What cells of radar and reflectance are likely to be by what is given around them: a regression, to which exemplars add
//! how they themselves differ from what is likely of them (mean and residual, as in Mardani et al. 2025, arXiv 2309.15214).

use super::cells::Cells;
use super::exemplars::can_be_drawn;
use crate::error::Result;
use crate::modality::ModalityTable;
use crate::model::layers::{Projection, linear};
use crate::model::parameters::{Parameters, Scope};
use crate::model::weights::LoadedWeights;
use candle_core::{Device, Tensor};
use std::path::Path;

/// Cells on either side over which means and deviations are told.
const RADII: [usize; 2] = [1, 3];
/// Numbers that tell of one channel: a cell's own, and mean and deviation around it at each radius.
const TELLING: usize = 1 + 2 * RADII.len();
/// The most that a standardised number counts.
const MOST: f32 = 4.0;
/// Name of the first layer.
const FIRST: &str = "layers.0";

/// A network of three layers that looks at one cell and its surroundings, and is told what is given, whatever that is.
#[derive(Debug)]
pub struct FirstGuess {
    cells: Cells,
    layers: [Projection; 3],
    /// By table index, what is guessed: its first channel in what the network answers.
    guessed: Vec<Option<usize>>,
    outputs: usize,
    device: Device,
}

impl FirstGuess {
    /// Builds it from its parameters.
    ///
    /// # Errors
    /// When a parameter is missing or misshapen, or the table is no cascade's.
    pub fn new(table: &ModalityTable, width: usize, source: &mut dyn Parameters, device: &Device) -> Result<Self> {
        let cells = Cells::new(table)?;
        let mut outputs = 0;
        let mut guessed = Vec::with_capacity(table.len());
        for (i, part) in cells.parts.iter().enumerate() {
            let part = part.as_ref().filter(|_| can_be_drawn(&cells, table, i));
            guessed.push(part.map(|_| outputs));
            outputs += part.map_or(0, |part| part.channels);
        }
        let root = &mut Scope::root(source);
        let layers = [
            linear(&mut root.at(FIRST), Self::inputs(&cells), width, true)?,
            linear(&mut root.at("layers.1"), width, width, true)?,
            linear(&mut root.at("layers.2"), width, outputs, true)?,
        ];
        Ok(Self { cells, layers, guessed, outputs, device: device.clone() })
    }

    /// Reads a file of its parameters; with `sha256`, checks that this is its hash.
    ///
    /// # Errors
    /// When it is missing, damaged, or does not fit the table.
    pub fn open(path: &Path, sha256: Option<&str>, table: &ModalityTable) -> Result<Self> {
        let mut source = LoadedWeights::open(path, sha256, &Device::Cpu)?;
        let first = source.tensors().get(&format!("{FIRST}.weight"));
        let width = first.and_then(|weight| weight.shape.first().copied()).unwrap_or(0);
        let network = Self::new(table, width, &mut source, &Device::Cpu)?;
        source.finish()?;
        Ok(network)
    }

    /// Numbers that tell of a cell: of all channels, and which modalities are given.
    pub fn inputs(cells: &Cells) -> usize {
        TELLING * cells.channels + cells.images()
    }

    /// The grid.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Channels of its answer.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// First channel of its answer that is of this modality; `None` where it does not guess it.
    pub fn first(&self, modality: usize) -> Option<usize> {
        self.guessed[modality]
    }

    /// `(cells, inputs)` of what is given, standardised cells by table index. Location and date say nothing to it: of few
    /// places it would learn each by heart.
    ///
    /// # Errors
    /// When the device fails.
    pub fn telling(&self, given: &[Option<Vec<f32>>]) -> Result<Tensor> {
        let (cells, count, stride) = (&self.cells, self.cells.count(), Self::inputs(&self.cells));
        let mut values = vec![0.0; count * stride];
        for (given, part) in given.iter().zip(&cells.parts) {
            let (Some(given), Some(part)) = (given, part) else { continue };
            for (k, channel) in given.chunks_exact(count).enumerate() {
                let channel: Vec<f32> = channel.iter().map(|v| v.clamp(-MOST, MOST)).collect();
                let squares: Vec<f32> = channel.iter().map(|v| v * v).collect();
                let means = RADII.map(|radius| around(&channel, cells.side, radius));
                let squares = RADII.map(|radius| around(&squares, cells.side, radius));
                for (cell, v) in channel.iter().enumerate() {
                    let own = &mut values[cell * stride + TELLING * (part.first + k)..][..TELLING];
                    own[0] = *v;
                    for (r, (means, squares)) in means.iter().zip(&squares).enumerate() {
                        own[1 + r] = means[cell];
                        own[1 + RADII.len() + r] = (squares[cell] - means[cell].powi(2)).max(0.0).sqrt();
                    }
                }
            }
            for cell in 0..count {
                values[cell * stride + TELLING * cells.channels + part.number] = 1.0;
            }
        }
        Ok(Tensor::from_vec(values, (count, stride), &self.device)?)
    }

    /// What it answers to `(cells, inputs)`: `(cells, outputs)`, standardised means of cells.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(&self, telling: &Tensor) -> Result<Tensor> {
        let x = self.layers[0].forward(telling)?.silu()?;
        let x = self.layers[1].forward(&x)?.silu()?;
        self.layers[2].forward(&x)
    }

    /// Standardised cells `(channel, cell)` of these modalities, one after another, that are likely by what is given; zero for how
    /// much cells vary.
    ///
    /// # Errors
    /// When the device fails.
    pub fn likely(&self, given: &[Option<Vec<f32>>], wanted: &[usize]) -> Result<Vec<f32>> {
        let count = self.cells.count();
        let all: Vec<f32> = self.forward(&self.telling(given)?)?.flatten_all()?.to_vec1()?;
        let mut likely = Vec::new();
        for &i in wanted {
            let Some(part) = &self.cells.parts[i] else { continue };
            for k in 0..part.latent {
                match self.guessed[i].filter(|_| k < part.channels).map(|first| first + k) {
                    // Radar has speckle; what is likely of the land has not.
                    Some(channel) => {
                        let own: Vec<f32> = (0..count).map(|cell| all[cell * self.outputs + channel]).collect();
                        likely.extend(medians(&own, self.cells.side));
                    }
                    None => likely.extend(std::iter::repeat_n(0.0, count)),
                }
            }
        }
        Ok(likely)
    }
}

/// By cell, the median of it and its neighbours: edges stay where they are.
fn medians(channel: &[f32], side: usize) -> impl Iterator<Item = f32> {
    let near = move |at: usize| at.saturating_sub(1)..(at + 2).min(side);
    (0..side * side).map(move |cell| {
        let rows = near(cell / side);
        let mut own: Vec<f32> = rows.flat_map(|r| near(cell % side).map(move |c| channel[r * side + c])).collect();
        own.sort_by(f32::total_cmp);
        own[own.len() / 2]
    })
}

/// Means of the cells that lie within `radius` on every side.
fn around(channel: &[f32], side: usize, radius: usize) -> Vec<f32> {
    let along = |values: &[f32], at: &dyn Fn(usize, usize) -> usize| -> Vec<f32> {
        let mut out = vec![0.0; side * side];
        for line in 0..side {
            for place in 0..side {
                let (begin, end) = (place.saturating_sub(radius), (place + radius + 1).min(side));
                let sum: f32 = (begin..end).map(|other| values[at(line, other)]).sum();
                out[at(line, place)] = sum / (end - begin) as f32;
            }
        }
        out
    };
    let rows = along(channel, &|row, column| row * side + column);
    along(&rows, &|column, row| row * side + column)
}
