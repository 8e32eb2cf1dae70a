//! What is needed to show where realisations disagree.

use super::picture::{Picture, percentiles};
use crate::ensemble::{Measure, Quantity, Samples};
use crate::modality::{Group, Raster};

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

/// Spread of one channel in the colours of the overlay.
pub fn spread_picture(spread: &Raster, [low, high]: [f32; 2]) -> Picture {
    let steps = colour_steps();
    let step = |v: &f32| {
        let share = ((v - low) / (high - low)).clamp(0.0, 1.0);
        steps[(share * (COLOUR_STEPS - 1) as f32).round() as usize]
    };
    Picture { width: spread.width, height: spread.height, pixels: spread.channel(0).iter().map(step).collect() }
        .hatched(spread)
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
        Measure::Error => "Error of the mean",
        Measure::Rank => "Rank of the truth",
        Measure::Missed => "Class missed",
    }
}

/// What has to be said with it.
pub fn caution(measure: Measure) -> &'static str {
    match measure {
        Measure::Rank => "At 0 and 1 what was observed lies outside the ensemble.",
        Measure::Error | Measure::Missed => "Compared with what was observed here.",
        _ => "The model's own disagreement, not calibrated error.",
    }
}

/// Its unit.
pub fn spread_unit(m: &Group, quantity: Quantity, measure: Measure) -> String {
    let index = matches!(quantity, Quantity::Index(..));
    let unit = if index { "" } else { value_unit(m) };
    match (measure, unit) {
        (Measure::Disagreement | Measure::Missed, _) => "share of realisations".into(),
        (Measure::Rank, _) => "share of realisations below it".into(),
        (Measure::Entropy, _) => "bits".into(),
        (Measure::Variance, "") if index => "index²".into(),
        (_, "") if index => "index".into(),
        (_, "") => "no unit".into(),
        (Measure::Variance, unit) if unit.contains(' ') => format!("({unit})²"),
        (Measure::Variance, unit) => format!("{unit}²"),
        (_, unit) => unit.into(),
    }
}

/// The unit of the values themselves, short.
pub fn value_unit(m: &Group) -> &str {
    m.short_unit()
}

/// Values at both ends of the legend: from 0 to the 99th percentile, shares of realisations from 0 to 1. Computed on the
/// CPU.
pub fn spread_range(samples: &Samples) -> [f32; 2] {
    match samples.measure {
        Measure::Rank | Measure::Missed => [0.0, 1.0],
        measure => {
            let mut spread: Vec<f32> = samples.spread().valid_values(0).collect();
            let [_, high] = percentiles(&mut spread, [0.0, 0.99]);
            // Classes that nearly agree everywhere are not blown up.
            let classes = matches!(measure, Measure::Disagreement | Measure::Entropy);
            [0.0, high.max(if classes { 0.25 } else { f32::MIN_POSITIVE })]
        }
    }
}

/// A figure with about three significant digits.
pub fn short(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if !(1e-3..1e6).contains(&v) => format!("{value:.1e}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
