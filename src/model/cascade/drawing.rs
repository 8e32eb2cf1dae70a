//! Cells of physical values, and physical values of cells: what a cascade has instead of autoencoders.

use super::CoarseSizes;
use super::cells::{Cells, Part, Standard, bilinear, resample};
use super::exemplars::Exemplars;
use super::matching::{Pick, State, Wanted};
use super::mosaic::mosaic;
use super::pieces::larger;
use super::refiner::{NOISE_CHANNELS, Refiner, RefinerInput, RefinerSizes, Usage};
use crate::error::{Error, Result};
use crate::modality::{Mask, Modality, ModalityTable, Raster, Value, filled_however, to_network};
use crate::model::manifest::WeightFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Deviation within which the cells of what was sampled and those of the exemplar that is drawn for them are alike.
const LAST_NOISE: f32 = 0.06;

/// What a manifest says of a cascade, beside the weights of its coarse network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeEntry {
    /// Sizes of the coarse network.
    pub coarse: CoarseSizes,
    /// Sizes of the refiner.
    pub refiner: RefinerSizes,
    /// Weights of the refiner.
    pub refiner_weights: WeightFile,
    /// Statistics of cells ([`Mixture`](super::Mixture)).
    pub statistics: WeightFile,
    /// Real windows that pictures are made of ([`Exemplars`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemplars: Option<WeightFile>,
    /// The regression to which these add how they differ from it ([`FirstGuess`](super::FirstGuess)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_guess: Option<WeightFile>,
    /// What standardises the images of each modality, by key.
    pub standards: BTreeMap<String, Standard>,
}

impl CascadeEntry {
    /// # Errors
    /// When sizes, standards and table do not fit together.
    pub fn check(&self, table: &ModalityTable) -> Result<()> {
        self.coarse.check()?;
        self.refiner.check()?;
        let cells = Cells::new(table)?;
        for (m, part) in table.iter().zip(&cells.parts) {
            let Some(part) = part else { continue };
            let spreads = if part.has_spreads() { part.channels } else { 0 };
            let fits = |s: &&Standard| {
                let all = s.pixels.iter().chain(&s.spreads);
                let usable =
                    |[mean, deviation]: &[f32; 2]| mean.is_finite() && *deviation > 0.0 && deviation.is_finite();
                s.pixels.len() == part.channels && s.spreads.len() == spreads && { all }.all(usable)
            };
            if self.standards.get(&m.key).filter(fits).is_none() {
                return Err(Error::request(format!("The cascade has no fitting standard for {}.", m.key)));
            }
        }
        Ok(())
    }
}

/// What a realisation's pixels are drawn from. Lists are by table index.
pub struct Drawing<'a> {
    /// Scaled latents of what was sampled.
    pub latents: &'a [Option<Vec<f32>>],
    /// What is given; and of what was sampled, what is known of it (where its raster is valid).
    pub known: &'a [Option<&'a Value>],
    /// Noise of the finest pixels, `(`[`NOISE_CHANNELS`]`, side, side)`.
    pub noise: &'a [f32],
}

/// The refiner of a cascade and what standardises images.
#[derive(Debug)]
pub struct Cascade {
    table: ModalityTable,
    refiner: Refiner,
    standards: Vec<Option<Standard>>,
    exemplars: Option<Arc<Exemplars>>,
}

impl Cascade {
    /// Lets a refiner of the entry's sizes draw, whatever it computes on.
    ///
    /// # Errors
    /// When entry and table do not fit together.
    pub fn new(table: &ModalityTable, entry: &CascadeEntry, refiner: Refiner) -> Result<Self> {
        entry.check(table)?;
        let standards = table.iter().map(|m| entry.standards.get(&m.key).cloned()).collect();
        Ok(Self { table: table.clone(), refiner, standards, exemplars: None })
    }

    /// The same, with exemplars that lend their pixels.
    pub fn with_exemplars(mut self, exemplars: Arc<Exemplars>) -> Self {
        self.exemplars = Some(exemplars);
        self
    }

    /// What standardises the images of each modality, by table index.
    pub fn standards(&self) -> &[Option<Standard>] {
        &self.standards
    }

    /// Shape of the noise that a drawing takes.
    pub fn noise_shape(&self) -> [usize; 3] {
        let side = self.refiner.layers()[0].side;
        [NOISE_CHANNELS, side, side]
    }

    fn part(&self, modality: usize) -> Result<(&Modality, &Part, &Standard)> {
        match (&self.refiner.cells().parts[modality], &self.standards[modality]) {
            (Some(part), Some(standard)) => Ok((&self.table[modality], part, standard)),
            _ => Err(Error::Compute(format!("{} is no raster.", self.table[modality].name))),
        }
    }

    /// Scaled latent of network values `(channels, pixels, pixels)`.
    ///
    /// # Errors
    /// When the modality is a scalar.
    pub fn encode(&self, modality: usize, mut network: Vec<f32>) -> Result<Vec<f32>> {
        let (m, part, standard) = self.part(modality)?;
        standard.standardise(&mut network);
        let mut cells = self.refiner.cells().of_image(part, standard, &network);
        cells.iter_mut().for_each(|v| *v *= m.scale_factor as f32);
        Ok(cells)
    }

    /// Network values as cells alone tell them: smooth, without anything that is finer.
    ///
    /// # Errors
    /// When the modality is a scalar.
    pub fn smooth(&self, modality: usize, latent: &[f32]) -> Result<Vec<f32>> {
        let (m, part, standard) = self.part(modality)?;
        let cells: Vec<f32> = latent.iter().map(|v| v / m.scale_factor as f32).collect();
        let mut pixels = self.spread_out(part, &cells);
        standard.restore(&mut pixels);
        Ok(pixels)
    }

    /// Standardised pixels of cells: between their middles where pixels are finer, by area where they are not.
    fn spread_out(&self, part: &Part, cells: &[f32]) -> Vec<f32> {
        let side = self.refiner.cells().side;
        let means = &cells[..part.channels * side * side];
        if part.pixels > side { bilinear(means, side, part.pixels) } else { resample(means, side, part.pixels) }
    }

    /// Network values of everything that was sampled, by table index; of classes, a number for each that is the greater the
    /// likelier it is.
    ///
    /// # Errors
    /// When the device fails.
    pub fn draw(&self, drawing: &Drawing) -> Result<Vec<Option<Vec<f32>>>> {
        let mut inputs = Vec::with_capacity(self.table.len());
        for (i, m) in self.table.iter().enumerate() {
            let absent = RefinerInput { usage: Usage::Absent, cells: Vec::new(), pixels: None };
            let (Some(part), Some(standard)) = (&self.refiner.cells().parts[i], &self.standards[i]) else {
                inputs.push(absent);
                continue;
            };
            let some = |raster: &&Raster| raster.valid().is_none_or(|valid| valid.count() > 0);
            let known = drawing.known[i].and_then(Value::image).filter(some);
            let pixels = known.map(|raster| standardised(m, standard, raster)).transpose()?;
            inputs.push(match (&drawing.latents[i], pixels) {
                (Some(latent), pixels) => {
                    let cells = latent.iter().map(|v| v / m.scale_factor as f32).collect();
                    let mask = known.and_then(Raster::valid).cloned();
                    let mask = mask.unwrap_or_else(|| Mask::from_fn(part.pixels, part.pixels, |_| false));
                    RefinerInput { usage: Usage::Drawn, cells, pixels: pixels.map(|p| (p, Some(mask))) }
                }
                (None, Some(pixels)) => {
                    let cells = self.refiner.cells().of_image(part, standard, &pixels);
                    RefinerInput { usage: Usage::Given, cells, pixels: Some((pixels, None)) }
                }
                (None, None) => absent,
            });
        }
        let made = self.made_of_exemplars(drawing, &inputs)?;
        for (i, pixels) in &made {
            // The rest is drawn to go with it.
            inputs[*i].usage = Usage::Given;
            inputs[*i].pixels = Some((pixels.clone(), None));
        }
        let drawn = self.refiner.forward(&self.refiner.prepare(&[(&inputs, drawing.noise)])?)?;
        let mut values = vec![None; self.table.len()];
        for (i, latent) in drawing.latents.iter().enumerate() {
            let (Some(latent), Some(part)) = (latent, &self.refiner.cells().parts[i]) else { continue };
            let layer = self.refiner.layers().iter().position(|layer| layer.side == part.pixels);
            let member = |k: usize| self.refiner.layers()[k].members.iter().find(|(member, _)| *member == i);
            if let Some((_, pixels)) = made.iter().find(|(own, _)| *own == i) {
                let mut pixels = pixels.clone();
                self.part(i)?.2.restore(&mut pixels);
                values[i] = Some(pixels);
                continue;
            }
            values[i] = Some(match layer.and_then(|k| Some((k, member(k)?))) {
                None => self.smooth(i, latent)?,
                Some((k, &(_, first))) => {
                    let own = drawn[k].narrow(3, first, part.channels)?.permute((2, 3, 0, 1))?;
                    let mut pixels: Vec<f32> = own.flatten_all()?.to_vec1()?;
                    if self.table[i].classes().is_none() {
                        self.part(i)?.2.restore(&mut pixels);
                    }
                    pixels
                }
            });
        }
        Ok(values)
    }

    /// Cells as a sampler has them, to the last bit: they went through its scale. What exemplars are like beside them is then
    /// known already.
    fn as_sampled(m: &Modality, cells: &[f32]) -> Vec<f32> {
        let scale = m.scale_factor as f32;
        cells.iter().map(|v| v * scale / scale).collect()
    }

    /// Standardised pixels of what is drawn from exemplars, by table index.
    fn made_of_exemplars(&self, drawing: &Drawing, inputs: &[RefinerInput]) -> Result<Vec<(usize, Vec<f32>)>> {
        let Some(exemplars) = &self.exemplars else { return Ok(Vec::new()) };
        let mut given = Vec::with_capacity(self.table.len());
        for (i, m) in self.table.iter().enumerate() {
            given.push(match (drawing.known[i], inputs[i].usage) {
                _ if drawing.latents[i].is_some() => None,
                (Some(value), _) if m.is_scalar() => Some(to_network(m, value)?),
                (_, Usage::Given) => Some(Self::as_sampled(m, &inputs[i].cells)),
                _ => None,
            });
        }
        let sampled: Vec<bool> = drawing.latents.iter().map(Option::is_some).collect();
        let Some(conditions) = exemplars.conditions(Wanted { given, sampled })? else { return Ok(Vec::new()) };
        let state: Vec<f32> = conditions.drawn().iter().flat_map(|&(i, _)| inputs[i].cells.iter().copied()).collect();
        let told = conditions.tell(&State { noisy: &state, noise: &vec![LAST_NOISE; state.len()] })?;
        let picks = larger(&conditions, &conditions.residual(&state), &told.favour, &told.picks);
        let (count, parts) = (self.refiner.cells().count(), &self.refiner.cells().parts);
        let made = |&(i, first): &(usize, usize)| {
            let part = parts[i].as_ref()?;
            // How exemplars differ from what is likely of them, laid upon what is likely here.
            let likely = |window: Option<usize>| self.spread_out(part, &conditions.likely(window)[first * count..]);
            let mut images: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
            for Pick { window, .. } in &picks {
                images.entry(*window).or_insert_with(|| {
                    let own = exemplars.windows()[conditions.number(*window)].pixels[i].as_deref().unwrap_or_default();
                    own.iter().zip(likely(Some(*window))).map(|(v, likely)| v - likely).collect()
                });
            }
            let mut pixels = mosaic(&images, self.refiner.cells().side, part, &picks);
            pixels.iter_mut().zip(likely(None)).for_each(|(v, likely)| *v += likely);
            Some((i, pixels))
        };
        Ok(conditions.drawn().iter().filter_map(made).collect())
    }
}

/// Standardised pixels of a raster; holes are filled.
fn standardised(m: &Modality, standard: &Standard, raster: &Raster) -> Result<Vec<f32>> {
    let filled = Value::Image(filled_however(m, raster)?.into_owned());
    let mut pixels = to_network(m, &filled)?;
    standard.standardise(&mut pixels);
    Ok(pixels)
}
