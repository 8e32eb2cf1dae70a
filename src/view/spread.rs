//! What is needed to show where realisations disagree.

use super::picture::percentiles;
use crate::ensemble::{Measure, Realisation, spread};
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

/// What a measure is called.
pub fn spread_name(measure: Measure) -> &'static str {
    match measure {
        Measure::Variance => "Variance",
        Measure::Deviation => "Standard deviation",
        Measure::Quartiles => "Interquartile range",
        Measure::Range => "Range",
        Measure::Disagreement => "Disagreement",
        Measure::Entropy => "Entropy",
    }
}

/// Its unit.
pub fn spread_unit(m: &Modality, measure: Measure) -> String {
    match (measure, value_unit(m)) {
        (Measure::Disagreement, _) => "share of realisations".into(),
        (Measure::Entropy, _) => "bits".into(),
        (Measure::Variance, unit) if unit.contains(' ') => format!("({unit})²"),
        (Measure::Variance, unit) => format!("{unit}²"),
        (_, unit) => unit.into(),
    }
}

/// The unit of the values themselves, short.
pub fn value_unit(m: &Modality) -> &'static str {
    match m.values {
        ValueKind::Reflectance { .. } => "DN",
        ValueKind::Decibel { .. } => "linear power",
        ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => "m",
        ValueKind::Picture => "0…255",
        ValueKind::Classes { .. } | ValueKind::Location | ValueKind::Date => "",
    }
}

/// One channel of all realisations that hold the modality, for the shader; `None` if none does.
pub fn samples(index: usize, channel: usize, members: &[&Realisation], measure: Measure) -> Option<Samples> {
    let rasters: Vec<_> = members.iter().filter_map(|r| r.values.get(index)?.as_ref()?.image()).collect();
    let first = rasters.first()?;
    let data = rasters.iter().flat_map(|r| r.channel(channel).iter().copied()).collect();
    let (columns, rows) = (first.width, first.height);
    Some(Samples { data: Arc::new(data), count: rasters.len(), columns, rows, measure })
}

/// A range for the legend: from 0 to the 99th percentile of the spread of one channel, computed on the CPU.
///
/// # Errors
/// As [`spread`].
pub fn spread_range(
    m: &Modality,
    index: usize,
    channel: usize,
    members: &[&Realisation],
    measure: Measure,
) -> Result<[f32; 2]> {
    let mut values = spread(m, index, channel, members, measure)?.data;
    // Classes that nearly agree everywhere are not blown up.
    let least = if m.classes().is_some() { 0.25 } else { f32::MIN_POSITIVE };
    let [_, high] = percentiles(&mut values, [0.0, 0.99]);
    Ok([0.0, high.max(least)])
}
