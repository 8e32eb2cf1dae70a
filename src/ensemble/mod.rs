//! Realisations and where they disagree.
//!
//! Spread over realisations is the model's own disagreement. It is not calibrated error.

mod agreement;
mod measure;
mod samples;

pub use agreement::Agreement;
pub use measure::{Measure, distance};
pub use samples::{Quantity, Samples};

use crate::error::{Error, Result};
use crate::modality::{Mask, Modality, Raster, Value};
use std::collections::BTreeMap;

/// One plausible answer: a synthetic value for every generated modality.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Realisation {
    /// Number within (seed, tile), from 0.
    pub index: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Values in table order; `None` for modalities that were not generated.
    pub values: Vec<Option<Value>>,
    /// Which pixels of a partly given modality are observed, not synthetic, by modality index.
    pub kept: BTreeMap<usize, Mask>,
    /// In which precision, on what, with which instructions it was computed: what the last bits depend on
    /// ([`Model::describe_computing`](crate::model::Model::describe_computing)). Empty where an earlier version did not say.
    pub computed: String,
}

/// Per-pixel statistics of one image modality over the realisations.
#[derive(Debug, Clone, PartialEq)]
pub enum Statistics {
    /// For measurements.
    Continuous {
        /// Arithmetic mean, physical unit.
        mean: Raster,
        /// Population variance (divided by n), physical unit squared; valid where something was sampled.
        variance: Raster,
        /// Number of realisations.
        count: usize,
    },
    /// For class rasters.
    Classes {
        /// Most frequent code; the smallest code on ties.
        mode: Raster,
        /// Share of realisations that differ from the mode, 0…1.
        disagreement: Raster,
        /// Number of realisations.
        count: usize,
    },
}

impl Statistics {
    /// The mean, or the most frequent class.
    pub fn middle(self) -> Raster {
        match self {
            Self::Continuous { mean, .. } => mean,
            Self::Classes { mode, .. } => mode,
        }
    }
}

/// Which pixels of a partly given modality are observed in realisations of one run: the same in all of them.
pub fn kept<'a>(realisations: impl IntoIterator<Item = &'a Realisation>, modality: usize) -> Option<&'a Mask> {
    realisations.into_iter().find_map(|realisation| realisation.kept.get(&modality))
}

/// The rasters of one modality, at least one, all of one size.
fn rasters<'a>(modality: &Modality, index: usize, realisations: &[&'a Realisation]) -> Result<Vec<&'a Raster>> {
    let rasters: Vec<&Raster> = realisations.iter().filter_map(|r| r.values.get(index)?.as_ref()?.image()).collect();
    let first = rasters
        .first()
        .ok_or_else(|| Error::request(format!("No realisation holds {} as an image.", modality.name)))?;
    let shape = (first.channels, first.height, first.width);
    if rasters.iter().any(|r| (r.channels, r.height, r.width) != shape) {
        return Err(Error::request(format!("Realisations of {} differ in size.", modality.name)));
    }
    Ok(rasters)
}

/// Statistics of one modality over realisations; those that lack it are skipped.
///
/// # Errors
/// When no realisation has it as an image.
pub fn statistics(modality: &Modality, index: usize, realisations: &[&Realisation]) -> Result<Statistics> {
    let rasters = rasters(modality, index, realisations)?;
    let shape = (rasters[0].channels, rasters[0].height, rasters[0].width);
    let count = rasters.len();
    // Where one of them says nothing, nothing is said of all.
    let mut valid = rasters.iter().filter_map(|raster| raster.valid().cloned());
    let valid = valid.next().map(|first| valid.fold(first, |all, one: Mask| all.and(&one)));
    // Observed pixels that are kept have a value, but no spread.
    let sampled = kept(realisations.iter().copied(), index).map(Mask::inverted);
    let of_sampled = |raster: Raster| match &sampled {
        Some(mask) if mask.size() == (raster.height, raster.width) => raster.with_valid(mask),
        _ => Ok(raster),
    };
    let masked = |raster: Raster| match &valid {
        Some(valid) => raster.with_valid(valid),
        None => Ok(raster),
    };
    let blank = Raster::constant(shape.0, shape.1, shape.2, 0.0);
    if let Some(classes) = modality.classes() {
        let (mut mode, mut disagreement) = (blank.clone(), blank);
        for i in 0..mode.data.len() {
            let (mut best, mut votes) = (f32::NAN, 0);
            let mut codes: Vec<u8> = classes.iter().map(|class| class.code).collect();
            codes.sort_unstable();
            for code in codes {
                let n = rasters.iter().filter(|r| r.data[i] == f32::from(code)).count();
                if n > votes {
                    (best, votes) = (f32::from(code), n);
                }
            }
            mode.data[i] = best;
            disagreement.data[i] = 1.0 - votes as f32 / count as f32;
        }
        let (mode, disagreement) = (masked(mode)?, of_sampled(masked(disagreement)?)?);
        return Ok(Statistics::Classes { mode, disagreement, count });
    }
    let (mut mean, mut variance) = (blank.clone(), blank);
    for i in 0..mean.data.len() {
        // Two passes in float64: exact enough for elevations of thousands of metres that differ by centimetres.
        let m = rasters.iter().map(|r| f64::from(r.data[i])).sum::<f64>() / count as f64;
        let v = rasters.iter().map(|r| (f64::from(r.data[i]) - m).powi(2)).sum::<f64>() / count as f64;
        mean.data[i] = m as f32;
        variance.data[i] = v as f32;
    }
    Ok(Statistics::Continuous { mean: masked(mean)?, variance: of_sampled(masked(variance)?)?, count })
}
