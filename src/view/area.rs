//! Figures of an area: how values are spread in it, and mean spectra by land cover.

use super::probe::Spot;
use crate::ensemble::{Quantity, Realisation, Statistics, statistics};
use crate::modality::{Modality, ModalityTable, Raster, Subject, measured_value};
use std::ops::Range;

/// Bins of a histogram.
pub const BINS: usize = 32;

/// What is counted in an area of a window.
#[derive(Debug)]
pub struct AreaOrder<'a> {
    /// North-western and south-eastern corner.
    pub area: [Spot; 2],
    /// All modalities.
    pub table: &'a ModalityTable,
    /// What was observed, by modality.
    pub observed: &'a [Option<Raster>],
    /// The realisations.
    pub realisations: &'a [&'a Realisation],
    /// Which modality, and what of it.
    pub modality: usize,
    /// See there.
    pub quantity: Quantity,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AreaFigures {
    /// Values at both ends of the histogram, in the units of [`measured_value`].
    pub range: [f32; 2],
    /// Share of the observed pixels by bin; empty if nothing was observed.
    pub observed: Vec<f32>,
    /// Share of the pixels of all realisations by bin; empty if there are none.
    pub made: Vec<f32>,
    /// Pixels of the modality in the area.
    pub pixels: usize,
    /// Mean spectra by class, the commonest first.
    pub classes: Vec<ClassSpectrum>,
}

/// Mean spectrum of a class in an area.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassSpectrum {
    /// The class.
    pub name: String,
    /// Its colour.
    pub colour: [u8; 3],
    /// Its share of the area.
    pub share: f32,
    /// By wavelength.
    pub bands: Vec<BandMean>,
}

/// One band of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandMean {
    /// Central wavelength.
    pub nm: f64,
    /// Mean of what was observed, reflectance.
    pub observed: Option<f32>,
    /// Mean over realisations of their means, reflectance.
    pub made: Option<f32>,
    /// Standard deviation over realisations of their means; 0 for one.
    pub deviation: f32,
}

/// Pixels of a raster that lie in the area: at least one.
fn pixels([a, b]: [Spot; 2], raster: &Raster) -> [Range<usize>; 2] {
    let range = |from: f64, to: f64, side: usize| {
        let first = ((from * side as f64).floor() as usize).min(side.saturating_sub(1));
        let last = ((to * side as f64).ceil() as usize).clamp(first + 1, side.max(first + 1));
        first..last
    };
    [range(a.x, b.x, raster.width), range(a.y, b.y, raster.height)]
}

fn indices(area: [Spot; 2], raster: &Raster) -> Vec<usize> {
    let [columns, rows] = pixels(area, raster);
    rows.flat_map(|row| columns.clone().map(move |column| row * raster.width + column)).collect()
}

/// Counts; what is not valid is left out.
pub fn area_figures(order: &AreaOrder) -> Option<AreaFigures> {
    let m = order.table.get(order.modality)?;
    let held: Vec<&Raster> =
        order.realisations.iter().filter_map(|r| r.values.get(order.modality)?.as_ref()?.image()).collect();
    let observed = order.observed.get(order.modality)?.as_ref();
    let values = |raster: &Raster| -> Vec<f32> {
        let Some(all) = order.quantity.pixels(raster) else { return Vec::new() };
        let stated = |v: f32| match order.quantity {
            Quantity::Channel(_) => measured_value(m, v),
            Quantity::Index(..) => v,
        };
        let valid = indices(order.area, raster).into_iter().filter(|i| raster.is_valid(*i));
        valid.filter_map(|i| all.get(i).copied()).map(stated).collect()
    };
    let seen: Vec<f32> = observed.map(values).unwrap_or_default();
    let made: Vec<f32> = held.iter().flat_map(|raster| values(raster)).collect();
    let all = || seen.iter().chain(&made).copied().filter(|v| v.is_finite());
    let (low, high) = (all().min_by(f32::total_cmp)?, all().max_by(f32::total_cmp)?);
    let range = [low, if high > low { high } else { low + 1.0 }];
    let pixels = indices(order.area, observed.or(held.first().copied())?).len();
    Some(AreaFigures {
        range,
        observed: histogram(&seen, range),
        made: histogram(&made, range),
        pixels,
        classes: spectra(order, m),
    })
}

fn histogram(values: &[f32], [low, high]: [f32; 2]) -> Vec<f32> {
    if values.is_empty() {
        return Vec::new();
    }
    let mut bins = vec![0.0; BINS];
    for v in values {
        let at = ((v - low) / (high - low) * BINS as f32) as usize;
        bins[at.min(BINS - 1)] += 1.0 / values.len() as f32;
    }
    bins
}

/// Spectra of the modality's family, or of surface reflectance, by land cover: as it was observed, else the most frequent
/// class of the realisations.
fn spectra(order: &AreaOrder, m: &Modality) -> Vec<ClassSpectrum> {
    let surface = || order.table.finest(Subject::SurfaceReflectance).map(|i| order.table[i].family.as_str());
    let family = if m.about.is_optical() { Some(m.family.as_str()) } else { surface() };
    let Some(at) = order.table.finest(Subject::LandCover) else { return Vec::new() };
    let cover = order.observed.get(at).and_then(Option::as_ref).cloned();
    let mode = || match statistics(&order.table[at], at, order.realisations) {
        Ok(Statistics::Classes { mode, .. }) => Some(mode),
        _ => None,
    };
    let Some(cover) = cover.or_else(mode) else { return Vec::new() };
    let mut here = indices(order.area, &cover);
    here.retain(|i| cover.is_valid(*i));
    let mut found: Vec<ClassSpectrum> = Vec::new();
    for class in order.table[at].classes().unwrap_or_default() {
        let count = here.iter().filter(|&&i| cover.data[i] == f32::from(class.code)).count();
        if count > 0 {
            let mut bands: Vec<BandMean> = order
                .table
                .iter()
                .enumerate()
                .filter(|(_, other)| Some(other.family.as_str()) == family)
                .flat_map(|(i, other)| band_means(order, i, other, &cover, class.code))
                .collect();
            bands.sort_by(|a, b| a.nm.total_cmp(&b.nm));
            let share = count as f32 / here.len() as f32;
            found.push(ClassSpectrum { name: class.name.clone(), colour: class.color, share, bands });
        }
    }
    found.sort_by(|a, b| b.share.total_cmp(&a.share));
    found
}

fn band_means(order: &AreaOrder, i: usize, m: &Modality, cover: &Raster, code: u8) -> Vec<BandMean> {
    let of_class = |raster: &Raster| -> Vec<usize> {
        let class = |pixel: &usize| {
            let (row, column) = (pixel / raster.width, pixel % raster.width);
            let row = (row * cover.height + cover.height / 2) / raster.height;
            let column = (column * cover.width + cover.width / 2) / raster.width;
            let at = row.min(cover.height - 1) * cover.width + column.min(cover.width - 1);
            raster.is_valid(*pixel) && cover.is_valid(at) && cover.data[at] == f32::from(code)
        };
        indices(order.area, raster).into_iter().filter(class).collect()
    };
    let mean = |raster: &Raster, channel: usize| -> Option<f32> {
        let (own, values) = (of_class(raster), raster.channel(channel));
        let sum: f64 = own.iter().map(|&p| f64::from(measured_value(m, values[p]))).sum();
        (!own.is_empty()).then(|| (sum / own.len() as f64) as f32)
    };
    let observed = order.observed.get(i).and_then(Option::as_ref);
    let held: Vec<&Raster> = order.realisations.iter().filter_map(|r| r.values.get(i)?.as_ref()?.image()).collect();
    let band = |(channel, name): (usize, &String)| {
        let nm = m.wavelength_nm(name)?;
        let seen = observed.and_then(|raster| mean(raster, channel));
        let made: Vec<f32> = held.iter().filter_map(|raster| mean(raster, channel)).collect();
        let n = made.len() as f32;
        let middle = (n > 0.0).then(|| made.iter().sum::<f32>() / n);
        let deviation =
            middle.map_or(0.0, |middle| (made.iter().map(|v| (v - middle).powi(2)).sum::<f32>() / n).sqrt());
        (seen.is_some() || middle.is_some()).then_some(BandMean { nm, observed: seen, made: middle, deviation })
    };
    m.channels.iter().enumerate().filter_map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::{Mask, Value};

    #[test]
    fn an_area_counts_its_own_pixels_by_class() {
        let table = ModalityTable::published();
        let [optical, cover] = ["S2L2A_20m", "LULC"].map(|name| table.index(name).expect("modality"));
        let flat = |i: usize, value: f32| {
            let m = &table[i];
            Raster::constant(m.channels.len(), m.pixels, m.pixels, value)
        };
        let mut classes = flat(cover, 1.0);
        // The western half is another class.
        let side = classes.width;
        classes.data.iter_mut().enumerate().filter(|(i, _)| i % side < side / 2).for_each(|(_, v)| *v = 2.0);
        let mut observed = vec![None; table.len()];
        observed[cover] = Some(classes);
        observed[optical] = Some(flat(optical, 1000.0));
        let member = |value: f32| {
            let mut values = vec![None; table.len()];
            values[optical] = Some(Value::Image(flat(optical, value)));
            Realisation { index: 0, seed: 0, values, ..Realisation::default() }
        };
        let realisations = [member(2000.0), member(4000.0)];
        let realisations: Vec<&Realisation> = realisations.iter().collect();
        let order = |area: [[f64; 2]; 2]| AreaOrder {
            area: area.map(|[x, y]| Spot { x, y }),
            table: &table,
            observed: &observed,
            realisations: &realisations,
            modality: optical,
            quantity: Quantity::Channel(0),
        };
        let west = area_figures(&order([[0.0, 0.0], [0.25, 0.5]])).expect("figures");
        assert_eq!(west.pixels, table[optical].pixels.pow(2) / 8);
        assert_eq!((west.range, west.classes.len()), ([0.1, 0.4], 1));
        let band = west.classes[0].bands[0];
        assert_eq!(band.observed, Some(0.1));
        assert!((band.made.expect("made") - 0.3).abs() < 1e-6 && (band.deviation - 0.1).abs() < 1e-6);
        assert!((west.observed[0] - 1.0).abs() < 1e-3 && (west.made[BINS - 1] - 0.5).abs() < 1e-3);
        let both = area_figures(&order([[0.0, 0.0], [0.75, 1.0]])).expect("figures");
        let shares: Vec<f32> = both.classes.iter().map(|c| c.share).collect();
        assert!((shares[0] - 2.0 / 3.0).abs() < 0.02 && (shares[1] - 1.0 / 3.0).abs() < 0.02, "{shares:?}");
        // No data is counted nowhere.
        let north = |raster: &Option<Raster>| {
            let raster = raster.clone().expect("observed");
            let (height, width) = (raster.height, raster.width);
            raster.with_valid(&Mask::from_fn(height, width, |i| i / width >= height / 2)).ok()
        };
        let mut holed = observed.clone();
        (holed[optical], holed[cover]) = (north(&observed[optical]), north(&observed[cover]));
        let order = |area: [[f64; 2]; 2]| AreaOrder { observed: &holed, ..order(area) };
        let north = area_figures(&order([[0.0, 0.0], [0.25, 0.5]])).expect("figures");
        assert!(north.observed.is_empty() && north.classes.is_empty() && north.range == [0.2, 0.4]);
        let all = area_figures(&order([[0.0, 0.0], [1.0, 1.0]])).expect("figures");
        assert!((all.observed.iter().sum::<f32>() - 1.0).abs() < 1e-3);
        assert_eq!(all.classes.iter().map(|c| c.share).collect::<Vec<_>>(), [0.5, 0.5]);
        assert_eq!(all.classes[0].bands[0].observed, Some(0.1));
        // A point is one pixel.
        assert_eq!(area_figures(&order([[0.5, 0.5], [0.5, 0.5]])).expect("figures").pixels, 1);
        assert_eq!(area_figures(&order([[1.0, 1.0], [1.0, 1.0]])).expect("figures").pixels, 1);
    }
}
