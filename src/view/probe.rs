//! One pixel of everything: what was observed there beside what the realisations hold.

use crate::ensemble::Realisation;
use crate::modality::{Group, Raster, measured_value};

/// A place in a window, as shares of its side from the west and from the north, 0…1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// From the west.
    pub x: f64,
    /// From the north.
    pub y: f64,
}

/// One channel at a spot, in the units of [`measured_value`].
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The channel's name.
    pub channel: String,
    /// What was observed.
    pub observed: Option<f32>,
    /// Whether something was observed, but not here: the pixel is no data.
    pub no_data: bool,
    /// What each realisation holds.
    pub realisations: Vec<f32>,
}

impl Figures {
    /// Mean of the realisations.
    pub fn mean(&self) -> Option<f32> {
        let n = self.realisations.len();
        (n > 0).then(|| (self.realisations.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64) as f32)
    }

    /// Smallest and largest of the realisations.
    pub fn range(&self) -> Option<(f32, f32)> {
        let low = self.realisations.iter().copied().min_by(f32::total_cmp)?;
        Some((low, self.realisations.iter().copied().max_by(f32::total_cmp)?))
    }

    /// How many realisations lie below what was observed, and of how many.
    pub fn rank(&self) -> Option<(usize, usize)> {
        let observed = self.observed?;
        let below = self.realisations.iter().filter(|v| **v < observed).count();
        (!self.realisations.is_empty()).then_some((below, self.realisations.len()))
    }
}

/// All channels of an image modality at a spot; its table row and index, what was observed of it, and the realisations.
pub fn figures(
    m: &Group,
    index: usize,
    spot: Spot,
    observed: Option<&Raster>,
    realisations: &[&Realisation],
) -> Vec<Figures> {
    let held: Vec<&Raster> = realisations.iter().filter_map(|r| r.values.get(index)?.as_ref()?.image()).collect();
    let at = |raster: &Raster, channel: usize| {
        let place = |share: f64, side: usize| ((share * side as f64) as usize).min(side.saturating_sub(1));
        let pixel = place(spot.y, raster.height) * raster.width + place(spot.x, raster.width);
        let value = raster.data.get(channel * raster.height * raster.width + pixel)?;
        raster.is_valid(pixel).then(|| measured_value(m, *value))
    };
    let channel = |(c, name): (usize, &String)| Figures {
        channel: name.clone(),
        observed: observed.and_then(|raster| at(raster, c)),
        no_data: observed.is_some_and(|raster| at(raster, c).is_none()),
        realisations: held.iter().filter_map(|raster| at(raster, c)).collect(),
    };
    m.channels
        .iter()
        .enumerate()
        .map(channel)
        .filter(|f| f.observed.is_some() || f.no_data || !f.realisations.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::{Mask, ModalityTable, Value};

    #[test]
    fn a_spot_is_the_same_ground_at_every_resolution() {
        let table = ModalityTable::published();
        for name in ["S2L2A_10m", "S2L2A_20m", "S2L2A_60m"] {
            let index = table.index(name).expect("modality");
            let m = &table[index];
            // The western column, north to south.
            let mut raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, 0.0);
            for c in 0..m.channels.len() {
                for row in 0..m.pixels {
                    raster.channel_mut(c)[row * m.pixels] = 10_000.0 * (row as f32 + 0.5) / m.pixels as f32;
                }
            }
            let made = |factor: f32| {
                let mut values = vec![None; table.len()];
                values[index] = Some(Value::Image(raster.map(|v| v * factor)));
                Realisation { index: 0, seed: 0, values, ..Realisation::default() }
            };
            let realisations = [made(0.5), made(2.0)];
            let realisations: Vec<&Realisation> = realisations.iter().collect();
            for y in [0.0, 0.25, 0.999, 1.0] {
                let found = figures(m, index, Spot { x: 0.0, y }, Some(&raster), &realisations);
                assert_eq!(found.len(), m.channels.len());
                for f in &found {
                    let observed = f.observed.expect("observed");
                    assert!((f64::from(observed) - y).abs() <= 1.0 / m.pixels as f64, "{name} at {y}: {observed}");
                    assert_eq!(f.rank(), Some((1, 2)));
                    assert_eq!(f.range(), Some((0.5 * observed, 2.0 * observed)));
                    assert!((f.mean().expect("mean") - 1.25 * observed).abs() < 1e-6);
                }
            }
            assert!(m.channels.iter().all(|band| m.wavelength_nm(band).is_some()));
            // No data is no value, and is told from what was not observed at all.
            let holed = raster.clone().with_valid(&Mask::from_fn(m.pixels, m.pixels, |pixel| pixel > 0)).expect("mask");
            let found = figures(m, index, Spot { x: 0.0, y: 0.0 }, Some(&holed), &realisations);
            assert!(found.iter().all(|f| f.no_data && f.observed.is_none() && f.rank().is_none()));
            let found = figures(m, index, Spot { x: 0.9, y: 0.0 }, Some(&holed), &realisations);
            assert!(found.iter().all(|f| !f.no_data && f.observed.is_some()));
            assert!(figures(m, index, Spot { x: 0.0, y: 0.0 }, None, &[]).is_empty());
        }
    }
}
