//! What is needed to show where realisations disagree.

use super::picture::percentiles;
use crate::ensemble::{Realisation, Statistics, statistics};
use crate::error::Result;
use crate::gpu::Samples;
use crate::modality::{Modality, ValueKind};
use std::sync::Arc;

/// Steps of the colour map.
pub const COLOUR_STEPS: usize = 64;

/// The colour map of spread (inferno): dark is agreement; readable for colour-blind people.
pub fn colour_steps() -> Vec<[u8; 3]> {
    (0..COLOUR_STEPS)
        .map(|i| {
            let colour = colorous::INFERNO.eval_rational(i, COLOUR_STEPS);
            [colour.r, colour.g, colour.b]
        })
        .collect()
}

/// What the spread of a modality is called.
pub fn spread_name(m: &Modality) -> &'static str {
    if m.classes().is_some() { "Disagreement" } else { "Variance" }
}

/// Its unit.
pub fn spread_unit(m: &Modality) -> &'static str {
    match m.values {
        ValueKind::Reflectance { .. } => "DN²",
        ValueKind::Decibel { .. } => "(linear power)²",
        ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => "m²",
        ValueKind::Classes { .. } => "share of realisations",
        ValueKind::Picture => "(0…255)²",
        ValueKind::Location | ValueKind::Date => "",
    }
}

/// The unit of the values themselves, short.
pub fn value_unit(m: &Modality) -> &'static str {
    match m.values {
        ValueKind::Reflectance { .. } => "DN",
        ValueKind::Decibel { .. } => "linear power",
        ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => "m",
        _ => "",
    }
}

/// One channel of all realisations that hold the modality, for the shader; `None` if none does.
pub fn samples(m: &Modality, index: usize, channel: usize, members: &[&Realisation]) -> Option<Samples> {
    let rasters: Vec<_> = members.iter().filter_map(|r| r.values.get(index)?.as_ref()?.image()).collect();
    let first = rasters.first()?;
    let data = rasters.iter().flat_map(|r| r.channel(channel).iter().copied()).collect();
    Some(Samples {
        data: Arc::new(data),
        count: rasters.len(),
        columns: first.width,
        rows: first.height,
        classes: m.classes().is_some(),
    })
}

/// A range for the legend: from 0 to the 99th percentile of the spread of one channel, computed on the CPU.
///
/// # Errors
/// When no realisation holds the modality.
pub fn spread_range(m: &Modality, index: usize, channel: usize, members: &[&Realisation]) -> Result<[f32; 2]> {
    let (raster, least) = match statistics(m, index, members)? {
        Statistics::Continuous { variance, .. } => (variance, f32::MIN_POSITIVE),
        Statistics::Classes { disagreement, .. } => (disagreement, 0.25),
    };
    let [_, high] = percentiles(&mut raster.channel(channel).to_vec(), [0.0, 0.99]);
    Ok([0.0, high.max(least)])
}
