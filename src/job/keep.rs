//! Partly given modalities: which pixels are kept, and how they come back into what was sampled.

use super::Request;
use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::{ClassMap, Mask, Modality, ModalityTable, Raster, Subject, Value};
use crate::scene::{Given, Observation, read_raster_for};
use crate::text::percent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is kept of a modality that is generated otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// Where it is known.
    pub known: KnownWhere,
    /// What lies closer than this to a pixel that is not known is sampled too, metres.
    pub buffer_m: f64,
}

/// Where a modality is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownWhere {
    /// Where the cloud mask of the place has the class of a clear sky.
    Clear {
        /// Further classes that are kept, by code.
        also: Vec<u8>,
    },
    /// Where its own raster is valid.
    Valid,
    /// Where a raster file of the place is not 0.
    File(PathBuf),
    /// Where 1 is painted, not 0.
    Painted(ClassMap),
}

impl Keep {
    /// The buffer that is used unless another one is named, metres: cloud edges are soft, and shadows lie beside them.
    pub const BUFFER_M: f64 = 60.0;
}

impl KnownWhere {
    /// Reads what follows `NAME=` on the command line: `clear`, `valid`, or the path of a GeoTIFF.
    ///
    /// # Errors
    /// When the text is none of these; the message says what is expected.
    pub fn parse(text: &str) -> Result<Self> {
        let lower = text.trim().to_lowercase();
        match lower.as_str() {
            "clear" => Ok(Self::Clear { also: Vec::new() }),
            "valid" => Ok(Self::Valid),
            _ if lower.ends_with(".tif") || lower.ends_with(".tiff") => Ok(Self::File(text.trim().into())),
            _ if ClassMap::is_text(text) => text
                .parse()
                .map(Self::Painted)
                .map_err(|expected: String| Error::request(format!("What is kept: {expected}."))),
            _ => Err(Error::request(format!(
                "\"{text}\" does not say what is kept; expected clear, valid, or the path of a GeoTIFF (.tif) that is not 0 where pixels are kept."
            ))),
        }
    }

    /// In words, after "kept where".
    pub fn describe(&self) -> String {
        match self {
            Self::Clear { also } if also.is_empty() => "the cloud mask says clear".into(),
            Self::Clear { also } => {
                let codes: Vec<String> = also.iter().map(u8::to_string).collect();
                format!("the cloud mask says clear or has one of the codes {}", codes.join(", "))
            }
            Self::Valid => "it has data".into(),
            Self::File(path) => format!("{} is not 0", path.file_name().unwrap_or_default().to_string_lossy()),
            Self::Painted(_) => "a mask was painted".into(),
        }
    }
}

/// The modality that tells how clear the sky is, if what is kept depends on it.
pub(super) fn sky(table: &ModalityTable, request: &Request) -> Result<Option<usize>> {
    let asks = |keep: &Keep| matches!(keep.known, KnownWhere::Clear { .. });
    if !request.keep.values().any(asks) {
        return Ok(None);
    }
    table.finest(Subject::Clouds).map(Some).ok_or_else(|| {
        Error::request("This model knows no cloud mask, so it cannot tell which pixels are clear; keep them by a mask of your own.")
    })
}

/// Makes the rasters of partly given modalities valid only where they are kept.
///
/// # Errors
/// When a mask does not fit, keeps nothing or everything, or a kept modality is not one that is sampled.
pub(super) fn keep_known(
    table: &ModalityTable,
    request: &Request,
    sky: Option<&Given>,
    observation: &mut Observation,
) -> Result<()> {
    let mut kept: BTreeMap<usize, Option<Mask>> = BTreeMap::new();
    for (&i, keep) in &request.keep {
        let m = table.get(i).filter(|m| !m.is_scalar()).ok_or_else(|| {
            Error::request(
                "What is kept has to be a raster of the model: places and dates are given or generated whole.",
            )
        })?;
        if !request.roles.generated(i) {
            return Err(Error::request(format!("{} is kept in part, so the rest of it has to be generated.", m.name)));
        }
        let raster = observation.values[i].as_ref().and_then(|given| given.value.image()).ok_or_else(|| {
            Error::request(format!("{} is to be kept in part, but this place has no data for it.", m.name))
        })?;
        let sky = sky.and_then(|given| given.value.image());
        let mask = kept_mask(m, keep, sky, raster, &observation.footprint)?;
        kept.insert(i, (mask.count() > 0).then_some(mask));
    }
    let names = || kept.keys().map(|&i| table[i].name.as_str()).collect::<Vec<_>>().join(", ");
    if !kept.is_empty() && kept.values().all(Option::is_none) {
        return Err(Error::request(format!(
            "Nothing of {} can be kept in this window: no pixel is known and far enough from those that are not; choose a smaller buffer, another mask or window, or generate it whole.",
            names()
        )));
    }
    if !kept.is_empty() && kept.values().flatten().all(Mask::is_full) {
        return Err(Error::request(format!(
            "All of {} is kept in this window, so nothing is left to sample; give it instead.",
            names()
        )));
    }
    for (i, mask) in kept {
        let m = &table[i];
        let given = observation.values[i].take();
        match (given, mask) {
            (Some(Given { value: Value::Image(raster), gap: _, sources, date, origin }), Some(mask)) => {
                observation.notes.push(format!(
                    "{} of {} is kept as observed; the rest is sampled.",
                    percent(mask.share()),
                    m.name
                ));
                let value = Value::Image(raster.with_valid(&mask)?);
                observation.values[i] = Some(Given { value, sources, date, origin, gap: None });
            }
            _ => observation
                .notes
                .push(format!("Nothing of {} can be kept in this window: all of it is sampled.", m.name)),
        }
    }
    Ok(())
}

/// Which pixels of a raster are kept: known, valid, and no closer to others than the buffer is wide. `sky` is the cloud mask
/// of the same ground.
///
/// # Errors
/// When there is no mask, or it belongs to other ground.
pub fn kept_mask(m: &Modality, keep: &Keep, sky: Option<&Raster>, raster: &Raster, ground: &Footprint) -> Result<Mask> {
    let (known, pixel_m) = known(m, keep, sky, raster, ground)?;
    let known = known.eroded(keep.buffer_m / pixel_m).resized(raster.height, raster.width);
    Ok(match raster.valid() {
        Some(valid) => known.and(&valid.eroded(keep.buffer_m / m.ground_m)),
        None => known,
    })
}

/// Where a modality is known, before the buffer, and how large the pixels of that mask are.
fn known(m: &Modality, keep: &Keep, sky: Option<&Raster>, raster: &Raster, ground: &Footprint) -> Result<(Mask, f64)> {
    match &keep.known {
        KnownWhere::Valid => Ok((Mask::full(raster.height, raster.width), m.ground_m)),
        KnownWhere::Clear { also } => {
            let sky = sky.ok_or_else(|| {
                Error::request(format!(
                    "This place has no cloud mask, so which pixels of {} are clear is not known; keep them by a mask of your own.",
                    m.name
                ))
            })?;
            let also = |pixel: usize| also.iter().any(|also| f32::from(*also) == sky.data[pixel]);
            let also = Mask::from_fn(sky.height, sky.width, |pixel| sky.is_valid(pixel) && also(pixel));
            let mask = sky.clear_sky().or(&also);
            Ok((mask, ground.width_m / sky.width as f64))
        }
        KnownWhere::Painted(map) => {
            let (rows, columns) = map.size();
            let ratio = raster.width as f64 / columns as f64;
            if rows == 0 || columns == 0 || (raster.height as f64 / rows as f64 - ratio).abs() > 1e-9 {
                return Err(Error::request(format!(
                    "The mask painted for {} belongs to ground of another shape.",
                    m.name
                )));
            }
            let mask = Mask::from_fn(rows, columns, |pixel| map.codes()[pixel] != 0);
            Ok((mask, ground.width_m / columns as f64))
        }
        KnownWhere::File(path) => {
            let mut notes = Vec::new();
            let read = read_raster_for(&m.as_mask(), path, ground, &mut notes)?;
            let mask = read.value.image().ok_or_else(|| Error::file(path, "It is no raster"))?;
            let set = Mask::from_fn(mask.height, mask.width, |pixel| mask.is_valid(pixel) && mask.data[pixel] != 0.0);
            Ok((set, m.ground_m))
        }
    }
}

/// What was sampled with the observed pixels in their places, bit for bit. Within the buffer measurements are shifted
/// towards them, less and less with distance, so that no step is left; these pixels stay synthetic.
///
/// # Errors
/// When sizes differ.
pub fn paste(m: &Modality, observed: &Raster, buffer_m: f64, mut sampled: Raster) -> Result<Raster> {
    let (height, width) = (observed.height, observed.width);
    if (sampled.channels, sampled.height, sampled.width) != (observed.channels, height, width) {
        return Err(Error::Compute(format!("What was sampled of {} has another size than what is kept.", m.name)));
    }
    let full = Mask::full(height, width);
    let kept = observed.valid().unwrap_or(&full);
    let reach = buffer_m / m.ground_m;
    let shifts = if m.is_measured() { shifts(m, observed, kept, reach, &sampled) } else { Vec::new() };
    let pixels = height * width;
    for pixel in (0..pixels).filter(|pixel| kept.at(*pixel)) {
        for channel in 0..observed.channels {
            sampled.data[channel * pixels + pixel] = observed.data[channel * pixels + pixel];
        }
    }
    for (at, value) in shifts {
        sampled.data[at] = value;
    }
    Ok(sampled)
}

/// Values within the buffer, by position in the raster's data.
fn shifts(m: &Modality, observed: &Raster, kept: &Mask, reach: f64, sampled: &Raster) -> Vec<(usize, f32)> {
    let (height, width) = (observed.height as isize, observed.width as isize);
    let pixels = observed.height * observed.width;
    let around = reach.floor() as isize;
    // Backscatter differs by factors.
    let level = |v: f32| if m.about.decibel { v.max(1e-6).ln() } else { v };
    let back = |v: f32| if m.about.decibel { v.exp() } else { v };
    let lowest = m.about.valid.map_or(f32::NEG_INFINITY, |[least, _]| least as f32);
    let mut out = Vec::new();
    for pixel in kept.holes() {
        let (row, column) = (pixel as isize / width, pixel as isize % width);
        let mut near: Vec<(usize, f64)> = Vec::new();
        for dy in -around..=around {
            for dx in -around..=around {
                let (y, x, distance) = (row + dy, column + dx, ((dy * dy + dx * dx) as f64).sqrt());
                if distance <= reach && (0..height).contains(&y) && (0..width).contains(&x) {
                    let other = (y * width + x) as usize;
                    if kept.at(other) {
                        near.push((other, distance));
                    }
                }
            }
        }
        let Some(nearest) = near.iter().map(|(_, distance)| *distance).min_by(f64::total_cmp) else { continue };
        let fade = 1.0 - nearest / (reach + 1.0);
        let weights: f64 = near.iter().map(|(_, distance)| distance.powi(-3)).sum();
        for channel in 0..observed.channels {
            let at = |pixel: usize| channel * pixels + pixel;
            let apart = |other: usize| f64::from(level(observed.data[at(other)]) - level(sampled.data[at(other)]));
            let shift = near.iter().map(|(other, distance)| apart(*other) * distance.powi(-3)).sum::<f64>() / weights;
            let value = back(level(sampled.data[at(pixel)]) + (fade * shift) as f32);
            out.push((at(pixel), value.max(lowest)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modality(name: &str) -> Modality {
        let table = ModalityTable::published();
        table.index(name).map(|i| table[i].clone()).expect("modality")
    }

    /// Kept in the west, up to this column.
    fn observed(m: &Modality, columns: usize, value: impl Fn(usize, usize) -> f32) -> Raster {
        let n = m.pixels;
        let west = Mask::from_fn(n, n, |pixel| pixel % n < columns);
        Raster::from_fn(m.channels.len(), n, n, value).with_valid(&west).expect("mask")
    }

    #[test]
    fn kept_pixels_are_pasted_bit_for_bit_and_only_the_buffer_is_shifted() {
        for (name, level) in [("S2L2A_10m", 1000.0f32), ("DEM", 4321.5), ("S1RTC", 0.031_25)] {
            let m = modality(name);
            let n = m.pixels;
            let wavy = |pixel: usize| level * (1.0 + 0.1 * (pixel as f32 * 0.7).sin());
            let kept = observed(&m, 20, |c, pixel| wavy(pixel + 31 * c));
            // A step of half the level lies between what was observed and what was sampled.
            let sampled = Raster::constant(m.channels.len(), n, n, 1.5 * level);
            let buffer_m = 6.0 * m.ground_m;
            let out = paste(&m, &kept, buffer_m, sampled.clone()).expect("pasted");
            for c in 0..m.channels.len() {
                for pixel in 0..n * n {
                    let (column, value) = (pixel % n, out.channel(c)[pixel]);
                    match column {
                        0..20 => assert_eq!(value.to_bits(), kept.channel(c)[pixel].to_bits(), "{name} {pixel}"),
                        26.. => assert_eq!(value, 1.5 * level, "{name} {pixel}"),
                        _ => assert!(value > 0.8 * level && value < 1.5 * level, "{name} {pixel}: {value}"),
                    }
                }
            }
            // From the observed level to the sampled one in small steps.
            let middle = |column: usize| {
                let values = (0..n).map(|row| f64::from(out.channel(0)[row * n + column]));
                values.sum::<f64>() / n as f64 / f64::from(level)
            };
            for column in 19..27 {
                let step = middle(column + 1) - middle(column);
                assert!((-0.03..0.17).contains(&step), "{name}: {step} at {column}");
            }
            let sharp = paste(&m, &kept, 0.0, sampled.clone()).expect("pasted");
            assert!((0..n * n).all(|pixel| pixel % n < 20 || sharp.channel(0)[pixel] == 1.5 * level));
        }
        // Classes are never mixed.
        let m = modality("LULC");
        let kept = observed(&m, 20, |_, _| 1.0);
        let out = paste(&m, &kept, 60.0, Raster::constant(1, m.pixels, m.pixels, 7.0)).expect("pasted");
        assert!((0..m.pixels.pow(2)).all(|pixel| out.data[pixel] == if pixel % m.pixels < 20 { 1.0 } else { 7.0 }));
        assert!(paste(&m, &kept, 60.0, Raster::constant(1, 3, 3, 7.0)).is_err());
    }

    #[test]
    fn masks_of_another_resolution_keep_only_what_is_wholly_known() {
        let m = modality("S2L2A_60m");
        let n = m.pixels;
        let ground = Footprint { crs: None, left: 0.0, top: 0.0, width_m: 1920.0, height_m: 1920.0 };
        let raster = Raster::constant(m.channels.len(), n, n, 1.0);
        // One cloudy pixel of 10 m, at 605 m from the west and 5 m from the north; and one of which nothing is known.
        let sky = Raster::from_fn(1, 192, 192, |_, pixel| if pixel == 60 { 3.0 } else { 0.0 });
        let sky = sky.with_valid(&Mask::from_fn(192, 192, |pixel| pixel != 191 * 192)).expect("mask");
        let mask = |buffer_m: f64, also: Vec<u8>| {
            let keep = Keep { known: KnownWhere::Clear { also }, buffer_m };
            kept_mask(&m, &keep, Some(&sky), &raster, &ground).expect("mask").holes().collect::<Vec<_>>()
        };
        assert_eq!(mask(0.0, Vec::new()), [10, n * (n - 1)]);
        assert_eq!(mask(0.0, vec![3]), [n * (n - 1)]);
        assert_eq!(mask(10.0, vec![3]), [n * (n - 1)]);
        assert_eq!(mask(60.0, Vec::new()), [9, 10, 11, n + 10, n * (n - 2), n * (n - 1), n * (n - 1) + 1]);
        let painted = Keep { known: KnownWhere::Painted(ClassMap::constant((20, 30), 1)), buffer_m: 0.0 };
        assert!(kept_mask(&m, &painted, None, &raster, &ground).is_err(), "of another shape");
        let clear = Keep { known: KnownWhere::Clear { also: Vec::new() }, buffer_m: 0.0 };
        let error = kept_mask(&m, &clear, None, &raster, &ground).expect_err("no cloud mask").to_string();
        assert!(error.contains("no cloud mask") && error.contains(&m.name), "{error}");
    }

    #[test]
    fn what_is_kept_is_said_in_words() {
        for (text, words) in [("clear", "clear"), (" VALID ", "has data"), ("folder/mask.TIF", "mask.TIF is not 0")] {
            assert!(KnownWhere::parse(text).expect(text).describe().contains(words), "{text}");
        }
        assert!(KnownWhere::parse("cloudy").is_err() && KnownWhere::parse("painted:1x").is_err());
        assert!(matches!(KnownWhere::parse("painted:1x4"), Ok(KnownWhere::Painted(_))));
    }
}
