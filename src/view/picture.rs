//! One raster as an RGB picture.

use super::look::Look;
use crate::modality::{Class, Group, Mask, Raster, Style};
use image::{DynamicImage, ImageReader, Limits};
use std::io::Cursor;

/// 8-bit sRGB pixels, row-major from the north-west.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width · height` colours.
    pub pixels: Vec<[u8; 3]>,
}

/// Ends of the colours of bands in decibels and of their ratio where the catalogue fixes none.
const DECIBELS: [f32; 2] = [-25.0, 0.0];
const RATIO: [f32; 2] = [0.0, 15.0];
/// What is hatched in pictures.
pub const HATCHED: &str = "no data";

/// The two greys of the hatching.
const HATCHING: [[u8; 3]; 2] = [[74, 76, 80], [128, 130, 134]];

impl Picture {
    /// The same, hatched where a raster of its size is not valid.
    #[must_use]
    pub fn hatched(mut self, raster: &Raster) -> Self {
        for hole in raster.valid().into_iter().flat_map(Mask::holes) {
            let (row, column) = (hole / raster.width, hole % raster.width);
            if let Some(pixel) = self.pixels.get_mut(hole) {
                *pixel = HATCHING[usize::from((row + column) % 4 < 2)];
            }
        }
        self
    }
}

/// Values shown as black and as full, for each of the three colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch(pub [[f32; 2]; 3]);

/// A picture file (PNG, JPEG, WebP …) that came from elsewhere; `None` for what is none, is wider or higher than `widest`
/// pixels, or would need more than 256 MB while it is decoded.
pub fn decoded(file: &[u8], widest: u32) -> Option<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(widest), Some(widest));
    limits.max_alloc = Some(256 << 20);
    reader.limits(limits);
    reader.decode().ok()
}

/// A stretch shared by several rasters of one modality, so that their pictures can be compared; of valid pixels alone. What the
/// catalogue fixes is the same for every place.
pub fn stretch(m: &Group, look: Look, rasters: &[&Raster]) -> Stretch {
    let fixed = |style: Style| m.about.looks.iter().find(|entry| entry.style == style)?.stretch;
    // Colours in decibels are stretched as they are stated, others as they are stored.
    let stored = |ends: [f32; 2]| ends.map(|v| v * m.about.per_unit);
    // A flat scene is not blown up to noise.
    let wide = |low: f32, high: f32, least: f32| [low, high.max(low + least.max(low.abs() * 1e-5).max(1e-6))];
    let least = m.about.least_contrast;
    let values = |channels: &[usize]| -> Vec<f32> {
        rasters.iter().flat_map(|r| channels.iter().flat_map(|&c| r.valid_values(c))).collect()
    };
    match look {
        Look::Radar(..) => Stretch(fixed(Style::Decibels).unwrap_or([DECIBELS, DECIBELS, RATIO])),
        Look::Polarisation(_) => Stretch([m.about.shown.unwrap_or(DECIBELS); 3]),
        Look::Index(index) => Stretch([index.range; 3]),
        Look::Classes | Look::Hillshade | Look::Picture(_) => Stretch([[0.0, 255.0]; 3]),
        Look::Composite(bands) => {
            let named = bands.map(|c| m.channels.get(c).map(String::as_str).unwrap_or_default());
            let fixed = m.about.looks.iter().find(|entry| entry.bands == named).and_then(|entry| entry.stretch);
            if let Some(ends) = fixed {
                return Stretch(ends.map(stored));
            }
            let [low, high] = percentiles(&mut values(&bands), [0.01, 0.985]);
            // One stretch for all three keeps the balance of colours.
            Stretch([wide(low, high, 3.0 * least); 3])
        }
        Look::Band(band) => {
            if let Some(ends) = m.about.shown {
                return Stretch([stored(ends); 3]);
            }
            let [low, high] = percentiles(&mut values(&[band]), [0.01, 0.985]);
            Stretch([wide(low, high, least); 3])
        }
        Look::Relief => {
            let [low, high] = percentiles(&mut values(&[0]), [0.0, 1.0]);
            Stretch([wide(low, high, least); 3])
        }
    }
}

/// Least share of a picture that sets the contrast of all.
const LEAST_COMPARABLE: f64 = 0.05;

/// The part of what was observed that sets a contrast to compare realisations in: what of it was kept, or what is clear, by a
/// cloud mask of the same ground, of an image in sunlight. `None` if that is too little to tell.
pub fn comparable(m: &Group, observed: &Raster, kept: Option<&Mask>, sky: Option<&Raster>) -> Option<Raster> {
    let clear = |sky: &Raster| sky.clear_sky().resized(observed.height, observed.width);
    let part = match (kept, sky.filter(|_| m.about.is_optical())) {
        (Some(mask), _) => observed.clone().with_valid(mask).ok()?,
        (None, Some(sky)) => observed.clone().with_valid(&clear(sky)).ok()?,
        (None, None) => observed.clone(),
    };
    (part.valid_share() >= LEAST_COMPARABLE).then_some(part)
}

/// Two percentiles (shares 0…1); zeros for no values.
pub(super) fn percentiles(values: &mut [f32], shares: [f64; 2]) -> [f32; 2] {
    if values.is_empty() {
        return [0.0, 0.0];
    }
    shares.map(|share| {
        let at = (share * (values.len() - 1) as f64).round() as usize;
        *values.select_nth_unstable_by(at, f32::total_cmp).1
    })
}

/// Draws a raster; what is not valid is hatched.
pub fn picture(m: &Group, look: Look, raster: &Raster, stretch: &Stretch) -> Picture {
    let db = |power: f32| 10.0 * power.max(1e-5).log10();
    let pixels = match look {
        Look::Classes => {
            let classes = m.classes().unwrap_or_default();
            raster.channel(0).iter().map(|&v| class_colour(classes, v)).collect()
        }
        Look::Relief => relief(raster, m.ground_m as f32, Some(stretch.0[0])),
        Look::Hillshade => relief(raster, m.ground_m as f32, None),
        Look::Radar(vv, vh) => {
            let pairs = raster.channel(vv).iter().zip(raster.channel(vh)).map(|(a, b)| (db(*a), db(*b)));
            pairs.map(|(a, b)| rgb([a, b, a - b], stretch, 1.0)).collect()
        }
        Look::Polarisation(c) => raster.channel(c).iter().map(|v| rgb([db(*v); 3], stretch, 1.0)).collect(),
        Look::Index(index) => {
            let [a, b] = index.channels.map(|c| raster.channel(c));
            a.iter().zip(b).map(|(a, b)| index_colour(index.of(*a, *b), stretch.0[0])).collect()
        }
        Look::Band(c) => raster.channel(c).iter().map(|v| rgb([*v; 3], stretch, 1.5)).collect(),
        Look::Composite(bands) | Look::Picture(bands) => {
            // A picture's bytes are colours already.
            let gamma = if matches!(look, Look::Picture(_)) { 1.0 } else { 1.5 };
            let [r, g, b] = bands.map(|c| raster.channel(c));
            (0..r.len()).map(|i| rgb([r[i], g[i], b[i]], stretch, gamma)).collect()
        }
    };
    Picture { width: raster.width, height: raster.height, pixels }.hatched(raster)
}

/// Viridis: even steps, readable for colour-blind people.
pub(super) fn index_colour(value: f32, [low, high]: [f32; 2]) -> [u8; 3] {
    let colour = colorous::VIRIDIS.eval_continuous(f64::from(((value - low) / (high - low)).clamp(0.0, 1.0)));
    [colour.r, colour.g, colour.b]
}

fn rgb(values: [f32; 3], stretch: &Stretch, gamma: f32) -> [u8; 3] {
    std::array::from_fn(|i| {
        let [low, high] = stretch.0[i];
        let share = ((values[i] - low) / (high - low)).clamp(0.0, 1.0);
        (share.powf(1.0 / gamma) * 255.0).round() as u8
    })
}

/// The class's colour; magenta for codes that are none.
fn class_colour(classes: &[Class], code: f32) -> [u8; 3] {
    classes.iter().find(|c| f32::from(c.code) == code).map_or([255, 0, 255], |c| c.color)
}

/// Elevation lit from the north-west at 45°, in colour between two elevations, else in grey.
fn relief(raster: &Raster, pixel_m: f32, range: Option<[f32; 2]>) -> Vec<[u8; 3]> {
    const RAMP: [[f32; 3]; 5] = [
        [70.0, 120.0, 84.0],
        [142.0, 168.0, 98.0],
        [208.0, 196.0, 138.0],
        [176.0, 138.0, 104.0],
        [238.0, 236.0, 232.0],
    ];
    let (w, h, z) = (raster.width, raster.height, raster.channel(0));
    // Beside a hole the ground goes on level.
    let at = |row: usize, column: usize, own: f32| {
        let pixel = row.min(h - 1) * w + column.min(w - 1);
        if raster.is_valid(pixel) { z[pixel] } else { own }
    };
    let mut pixels = Vec::with_capacity(w * h);
    for row in 0..h {
        for column in 0..w {
            let own = z[row * w + column];
            let dx = (at(row, column + 1, own) - at(row, column.saturating_sub(1), own)) / (2.0 * pixel_m);
            let dy = (at(row + 1, column, own) - at(row.saturating_sub(1), column, own)) / (2.0 * pixel_m);
            // Light direction (−1, −1, √2)/2 in (east, south, up); slopes are doubled for small windows.
            let (sx, sy) = (2.0 * dx, 2.0 * dy);
            let light = (0.5 * sx + 0.5 * sy + std::f32::consts::FRAC_1_SQRT_2) / (sx * sx + sy * sy + 1.0).sqrt();
            let shade = (0.35 + 0.92 * light.max(0.0)).min(1.25);
            let Some([low, high]) = range else {
                pixels.push([(190.0 * shade).clamp(0.0, 255.0) as u8; 3]);
                continue;
            };
            let position = ((own - low) / (high - low)).clamp(0.0, 1.0) * 4.0;
            let left = (position as usize).min(3);
            let share = position - left as f32;
            pixels.push(std::array::from_fn(|i| {
                let colour = RAMP[left][i] * (1.0 - share) + RAMP[left + 1][i] * share;
                (colour * shade).clamp(0.0, 255.0) as u8
            }));
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::super::look::{looks, usual_look};
    use super::*;
    use crate::modality::{Modality, ModalityTable};

    fn raster(m: &Modality, value: impl Fn(usize, usize) -> f32) -> Raster {
        Raster::from_fn(m.channels.len(), m.pixels, m.pixels, value)
    }

    #[test]
    fn every_look_at_every_image_modality_has_its_size_and_is_not_blank() {
        for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
            let classes = m.classes().map(|c| c.iter().map(|c| f32::from(c.code)).collect::<Vec<_>>());
            let raster = raster(m, |c, i| match &classes {
                Some(codes) => codes[i % codes.len()],
                None if m.family == "S1RTC" => 0.002 * ((c * 31 + i % 97) + 1) as f32,
                None => (c * 1000 + (i * i) % 977) as f32,
            });
            let all = looks(m);
            assert!(!all.is_empty(), "{}", m.name);
            for (name, look) in all {
                let drawn = picture(m, look, &raster, &stretch(m, look, &[&raster]));
                assert_eq!((drawn.width, drawn.height, drawn.pixels.len()), (m.pixels, m.pixels, m.pixels * m.pixels));
                assert!(drawn.pixels.iter().any(|p| *p != drawn.pixels[0]), "{} as {name}", m.name);
            }
        }
    }

    #[test]
    fn indices_are_what_their_names_say() {
        let table = ModalityTable::published();
        let m = &table[table.index("S2L2A_10m").expect("in the table")];
        let (name, look) = looks(m).into_iter().find(|(name, _)| name == "NDVI").expect("look");
        let Look::Index(index) = look else { panic!("{name} is no index") };
        let [near, red] = index.channels;
        assert_eq!((m.channels[near].as_str(), m.channels[red].as_str()), ("B08", "B04"));
        let leaf = raster(m, |c, _| if c == near { 4000.0 } else { 300.0 });
        let soil = raster(m, |c, _| if c == near { 2600.0 } else { 2400.0 });
        let brightness =
            |r: &Raster| picture(m, look, r, &stretch(m, look, &[r])).pixels[0].map(u32::from).iter().sum::<u32>();
        assert!(brightness(&leaf) > brightness(&soil));
        // Nothing at all is neither.
        let nothing = raster(m, |_, _| 0.0);
        assert_eq!(
            picture(m, look, &nothing, &stretch(m, look, &[&nothing])).pixels[0],
            index_colour(0.0, [-0.2, 0.9])
        );
    }

    #[test]
    fn what_is_no_data_is_hatched_and_changes_no_other_pixel() {
        for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
            let codes = m.classes().map(|c| c.iter().map(|c| f32::from(c.code)).collect::<Vec<_>>());
            // The eastern half is no data, far from its edge in the west all stays as it is.
            let value = |i: usize| match &codes {
                Some(codes) => codes[i % codes.len()],
                None => 900.0 + ((i * i) % 977) as f32,
            };
            let side = m.pixels;
            let west = |i: usize| i % side < side / 2;
            let valid = Mask::from_fn(side, side, west);
            let truth = raster(m, |_, i| if west(i) { value(i) } else { 0.5 }).with_valid(&valid).expect("mask");
            let known = truth.crop(0..side, 0..side / 2).expect("part");
            let twice = raster(m, |_, i| value(if west(i) { i } else { i - side / 2 }));
            for (name, look) in looks(m) {
                let scale = stretch(m, look, &[&truth]);
                assert_eq!(scale, stretch(m, look, &[&known]), "{} as {name}", m.name);
                let (drawn, whole) = (picture(m, look, &truth, &scale), picture(m, look, &twice, &scale));
                for (i, (found, expected)) in drawn.pixels.iter().zip(&whole.pixels).enumerate() {
                    match i % side {
                        column if column >= side / 2 => assert!(HATCHING.contains(found), "{} as {name}", m.name),
                        // Slopes look one pixel aside.
                        column if column + 1 == side / 2 => {}
                        _ => assert_eq!(found, expected, "{} as {name}, pixel {i}", m.name),
                    }
                }
            }
        }
    }

    #[test]
    fn true_colour_shows_red_where_the_red_band_is_bright() {
        let table = ModalityTable::published();
        let m = &table[table.index("S2L2A_10m").expect("in the table")];
        let red = m.channels.iter().position(|c| c == "B04").expect("band");
        let raster = raster(m, |c, i| if c == red && i % 2 == 0 { 3000.0 } else { 200.0 });
        let look = usual_look(m);
        let drawn = picture(m, look, &raster, &stretch(m, look, &[&raster]));
        assert_eq!(drawn.pixels[0], [255, 0, 0]);
        assert_eq!(drawn.pixels[1], [0, 0, 0]);
    }

    #[test]
    fn slopes_towards_the_north_west_are_brighter() {
        let table = ModalityTable::published();
        let m = &table[table.index("DEM").expect("in the table")];
        let side = m.pixels;
        let slope = |sign: f32| raster(m, |_, i| 500.0 + sign * 10.0 * ((i % side) as f32 + (i / side) as f32));
        let mid = side * side / 2 + side / 2;
        let bright = |r: Raster| {
            picture(m, Look::Relief, &r, &Stretch([[0.0, 4000.0]; 3])).pixels[mid].map(u32::from).iter().sum::<u32>()
        };
        // Rising to the south-east: the face looks north-west, into the light.
        assert!(bright(slope(1.0)) > bright(slope(-1.0)));
    }
}
