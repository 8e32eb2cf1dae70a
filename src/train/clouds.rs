//! Changes to training windows that keep them plausible: clouds, another sun, another calibration.
//!
//! Everything works on single bands: square, row-major, row 0 north, Sentinel-2 in DN (reflectance × 10 000) where
//! valid values are at least 1 and 0 means no data. No data stays no data; bands of other names or sizes stay as
//! they are. Azimuths are clockwise from north, so shade a window before turning it.

use std::f64::consts::TAU;
use std::ops::Range;

/// Mask code of clear ground.
pub(super) const CLEAR: u8 = 0;
/// Mask code of thick cloud.
pub(super) const THICK: u8 = 1;
/// Mask code of thin cloud.
pub(super) const THIN: u8 = 2;
/// Mask code of cloud shadow.
pub(super) const SHADOW: u8 = 3;

/// Opacity from which cloud is thick, and thin, and shadow from which ground is shadow.
const THICK_OPACITY: f32 = 0.5;
const THIN_OPACITY: f32 = 0.08;
const SHADOW_DEPTH: f32 = 0.25;

/// Metres per pixel of the cloud fields.
const PIXEL_M: f64 = 10.0;
/// Greatest DN; the least valid one is 1.
const MAX_DN: f32 = 65_535.0;

/// Sentinel-2 bands: name, index and multiple of the cloud reflectance in [`Clouds::bright`], and the share of light
/// lost in full shadow. Sky light is blue, so shadows are least deep there. B10 does not see the ground.
const BANDS: [(&str, usize, f32, f32); 13] = [
    ("B01", 0, 1.03, 0.42),
    ("B02", 0, 1.02, 0.48),
    ("B03", 0, 0.99, 0.56),
    ("B04", 0, 1.00, 0.62),
    ("B05", 0, 1.01, 0.65),
    ("B06", 0, 1.02, 0.68),
    ("B07", 0, 1.03, 0.70),
    ("B08", 0, 1.02, 0.72),
    ("B8A", 0, 1.02, 0.74),
    ("B09", 1, 1.00, 0.74),
    ("B10", CIRRUS, 1.00, 0.00),
    ("B11", 3, 1.00, 0.82),
    ("B12", 3, 0.72, 0.85),
];
const CIRRUS: usize = 2;

fn band_index(name: &str) -> Option<usize> {
    BANDS.iter().position(|band| band.0.eq_ignore_ascii_case(name))
}

fn between(uniform: &mut dyn FnMut() -> f64, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * uniform().clamp(0.0, 1.0)
}

/// Replaces the valid values of a band by a function of index and value, and keeps them valid.
fn change(band: &mut [f32], new: impl Fn(usize, f32) -> f32) {
    for (i, dn) in band.iter_mut().enumerate().filter(|(_, dn)| (1.0..=f32::MAX).contains(*dn)) {
        *dn = new(i, *dn).clamp(1.0, MAX_DN);
    }
}

fn is_square(data: &[f32], side: usize) -> bool {
    side > 0 && side.checked_mul(side) == Some(data.len())
}

/// A simulated cloud scene over one window; fields are row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clouds {
    /// Pixels of 10 m per side.
    pub side: usize,
    /// Share of the light from the ground that cloud replaces, 0…1.
    pub opacity: Vec<f32>,
    /// Share of the direct sun that thick cloud keeps from the ground, 0…1; 0 where cloud is.
    pub shadow: Vec<f32>,
    /// Opacity times relative brightness, the latter about 1.
    glow: Vec<f32>,
    /// Reflectance of opaque cloud: visible and near infrared, water vapour, cirrus, short-wave infrared.
    bright: [f32; 4],
}

/// Kinds of cloud layer, three of heaps and thin veils: the share of draws up to this kind, and ranges of the longest
/// wave in metres, its stretch along the wind, cover (beyond 1 closed) and optical depth per field value. Over a kilometre
/// or two a sky is mostly either clear or closed (Falls 1974, Wood and Field 2011), so closed ones are drawn most.
const KINDS: [(f64, [(f64, f64); 4]); 4] = [
    (0.20, [(250.0, 700.0), (1.0, 1.3), (0.03, 0.35), (2.5, 6.0)]),
    (0.35, [(350.0, 1100.0), (1.0, 1.6), (0.3, 0.8), (2.5, 6.0)]),
    (0.75, [(350.0, 1500.0), (1.0, 2.0), (0.75, 2.0), (2.0, 5.0)]),
    (1.00, [(350.0, 900.0), (1.5, 5.0), (0.25, 1.3), (1.0, 2.5)]),
];
const VEIL: usize = 3;

impl Clouds {
    /// A random scene of `side` × `side` pixels of 10 m: scattered, broken or closed heaps, or a thin veil.
    pub(super) fn draw(uniform: &mut dyn FnMut() -> f64, side: usize) -> Self {
        let at = uniform();
        let kind = KINDS.iter().position(|(share, _)| at < *share).unwrap_or(VEIL);
        let (layer, thickness) = Layer::draw(kind, uniform, side);
        // A veil above heaps is common.
        let veil = (kind != VEIL && uniform() < 0.15).then(|| Layer::draw(VEIL, uniform, side));
        let cirrus = if veil.is_some() || kind == VEIL { (0.02, 0.07) } else { (0.002, 0.008) };
        let bright = [(0.45, 0.75), (0.19, 0.31), cirrus, (0.29, 0.41)].map(|range| between(uniform, range) as f32);
        let azimuth = between(uniform, (0.0, TAU));
        let elevation = between(uniform, (25.0, 70.0)).to_radians();
        // Low clouds are drawn more often: their shadows fall into the window that holds the cloud.
        let height_m = 150.0 * 10f64.powf(between(uniform, (0.0, 1.0)));
        // Towards the sun, in columns and rows.
        let sun = (azimuth.sin(), -azimuth.cos());

        let tops: Vec<f64> = thickness.iter().map(|t| (t + 0.1).sqrt() + 0.4 * t).collect();
        let pixel = |(i, &depth): (usize, &f64)| {
            // Heaps are brighter where they are deep and on the side of the sun.
            let (to_east, to_south) = rises(side, i, |at| tops[at]);
            let facing = (-2.0 * (to_east * sun.0 + to_south * sun.1)).clamp(-1.0, 1.0);
            let brightness = 1.0 + layer.relief * (facing + 0.5 - (-depth).exp());
            let above = veil.as_ref().map_or(0.0, |(veil, depth)| veil.opacity(depth[i]));
            let opacity = 1.0 - (1.0 - layer.opacity(depth)) * (1.0 - above);
            (opacity as f32, (opacity * brightness) as f32)
        };
        let (opacity, glow): (Vec<f32>, Vec<f32>) = thickness.iter().enumerate().map(pixel).unzip();
        let reach = height_m / elevation.tan() / PIXEL_M;
        // Only thick cloud casts a shadow.
        let cast = |excess: &f64| (2.0 * layer.opacity(*excess) - 1.0).max(0.0) as f32;
        let cast: Vec<f32> = layer.excess(side, (reach * sun.0, reach * sun.1)).iter().map(cast).collect();
        // The sun is half a degree wide, and cloud edges scatter.
        let near = |radius: usize| move |k: usize| k.saturating_sub(radius)..(k + radius + 1).min(side);
        let radius = 1 + (height_m / elevation.sin() * 0.005 / PIXEL_M) as usize;
        let cast = means(&means(&cast, side, side, near(radius)), side, side, near(1));
        let outside = |(cast, opacity): (&f32, &f32)| (cast * (1.0 - opacity / THIN_OPACITY)).clamp(0.0, 1.0);
        let shadow = cast.iter().zip(&opacity).map(outside).collect();
        Self { side, opacity, shadow, glow, bright }
    }

    /// The mask code of every pixel.
    pub(super) fn mask(&self) -> Vec<u8> {
        let code = |(opacity, shadow): (&f32, &f32)| match (*opacity, *shadow) {
            (o, _) if o >= THICK_OPACITY => THICK,
            (o, _) if o >= THIN_OPACITY => THIN,
            (_, s) if s >= SHADOW_DEPTH => SHADOW,
            _ => CLEAR,
        };
        self.opacity.iter().zip(&self.shadow).map(code).collect()
    }

    /// Lays the scene over a Sentinel-2 band of `side` × `side` pixels in DN.
    pub(super) fn apply(&self, band: &mut [f32], side: usize, band_name: &str) {
        let fits = is_square(band, side) && [&self.opacity, &self.shadow].iter().all(|f| is_square(f, self.side));
        let Some(index) = band_index(band_name).filter(|_| fits) else { return };
        let (_, group, multiple, strength) = BANDS[index];
        let cloud_dn = self.bright[group] * multiple * 10_000.0;
        // Averages of products, since what a coarse pixel sees is the average of what its parts send.
        let shade: Vec<f32> = self.opacity.iter().zip(&self.shadow).map(|(o, s)| s * (1.0 - o)).collect();
        let [opacity, shade, glow] = [&self.opacity, &shade, &self.glow].map(|f| averaged(f, self.side, side));
        change(band, |i, dn| dn * (1.0 - opacity[i] - strength * shade[i]).max(0.0) + cloud_dn * glow[i]);
    }
}

/// One layer of cloud, defined everywhere so that clouds beyond the window cast their shadows into it.
struct Layer {
    seed: u64,
    /// Waves of the coarsest octave along and across the wind: per column, per row, and at the first pixel.
    waves: [[f64; 3]; 2],
    octaves: u64,
    /// Share of round heaps in the field; the rest is smooth noise.
    heaps: f64,
    /// Field value where cloud begins.
    threshold: f64,
    /// Optical depth per field value above the threshold, reached only beyond `softness`.
    density: f64,
    softness: f64,
    /// Greatest opacity.
    ceiling: f64,
    /// Strength of the brightness texture.
    relief: f64,
}

impl Layer {
    /// A random layer and its thickness over the window.
    fn draw(kind: usize, uniform: &mut dyn FnMut() -> f64, side: usize) -> (Self, Vec<f64>) {
        let mut range = |low, high| between(uniform, (low, high));
        let [wave_m, stretch, cover, density] = KINDS[kind].1.map(|(low, high)| range(low, high));
        let (heaps, softness, ceiling, relief) =
            if kind == VEIL { (0.0, 0.4, range(0.2, THICK_OPACITY.into()), 0.05) } else { (0.5, 0.08, 1.0, 0.2) };
        let seed = range(0.0, (1u64 << 53) as f64) as u64;
        let wave = wave_m / PIXEL_M;
        let (sin, cos) = range(0.0, TAU).sin_cos();
        let along = [cos / wave / stretch, sin / wave / stretch, range(0.0, 1.0)];
        let waves = [along, [-sin / wave, cos / wave, range(0.0, 1.0)]];
        // Waves below two pixels would be speckle.
        let octaves = 1 + (wave / 2.0).log2() as u64;
        let mut layer = Self { seed, waves, octaves, heaps, threshold: 0.0, density, softness, ceiling, relief };
        let field = layer.excess(side, (0.0, 0.0));
        let mut sorted = field.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * (1.0 - cover.min(1.0))) as usize;
        layer.threshold = sorted.get(rank).copied().unwrap_or(0.0) - 2.0 * (cover - 1.0).max(0.0);
        let thickness = field.iter().map(|f| (f - layer.threshold).max(0.0)).collect();
        (layer, thickness)
    }

    /// The field less its threshold over the window moved by (columns, rows); cloud is where it is positive.
    fn excess(&self, side: usize, moved: (f64, f64)) -> Vec<f64> {
        let at = |i: usize| self.field((i % side) as f64 + moved.0, (i / side) as f64 + moved.1) - self.threshold;
        (0..side * side).map(at).collect()
    }

    /// The noise that clouds are cut from, of a spread of about 1.
    fn field(&self, x: f64, y: f64) -> f64 {
        let [mut u, mut v] = self.waves.map(|[column, row, start]| start + x * column + y * row);
        // Squares of the amplitudes add up to 1, nearly.
        let (mut sum, mut amplitude) = (0.0, 0.87);
        for octave in 0..self.octaves {
            let seed = self.seed.wrapping_add(octave);
            // Heaps are parts of clouds, not whole ones.
            let heaps = if octave == 0 { 0.0 } else { self.heaps };
            let round = if heaps > 0.0 { heap_noise(seed, u, v) } else { 0.0 };
            sum += amplitude * (smooth_noise(seed, u, v) * (1.0 - heaps) + round * heaps);
            amplitude *= 0.5;
            // Octaves are turned against each other, so that no lattice shows.
            (u, v) = (1.6 * u - 1.2 * v + 17.3, 1.2 * u + 1.6 * v + 5.9);
        }
        sum
    }

    fn opacity(&self, thickness: f64) -> f64 {
        let thickness = thickness.max(0.0);
        let depth = self.density * thickness * thickness / (thickness + self.softness);
        self.ceiling * (1.0 - (-depth).exp())
    }
}

/// Two random numbers in 0…1 that belong to a lattice point.
fn pair(seed: u64, i: i64, j: i64) -> (f64, f64) {
    let (i, j) = ((i as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93), (j as u64).wrapping_mul(0xA076_1D64_78BD_642F));
    let mut h = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i).wrapping_add(j);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^= h >> 31;
    (f64::from(h as u32) / f64::from(u32::MAX), f64::from((h >> 32) as u32) / f64::from(u32::MAX))
}

/// Gradient noise on a lattice of unit pitch, of mean 0 and spread 1.
fn smooth_noise(seed: u64, u: f64, v: f64) -> f64 {
    let (i, j) = (u.floor(), v.floor());
    let (a, b) = (u - i, v - j);
    let corner = |di: u8, dj: u8| {
        let (p, q) = pair(seed, i as i64 + i64::from(di), j as i64 + i64::from(dj));
        (2.0 * p - 1.0) * (a - f64::from(di)) + (2.0 * q - 1.0) * (b - f64::from(dj))
    };
    let fade = |t: f64| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let mix = |p: f64, q: f64, share: f64| p + (q - p) * share;
    let row = |dj: u8| mix(corner(0, dj), corner(1, dj), fade(a));
    5.6 * mix(row(0), row(1), fade(b))
}

/// Round bumps, one per cell of a lattice of unit pitch, of mean 0 and spread 1.
fn heap_noise(seed: u64, u: f64, v: f64) -> f64 {
    let (i, j) = (u.floor() as i64, v.floor() as i64);
    let mut nearest = f64::INFINITY;
    for (i, j) in (i - 1..=i + 1).flat_map(|i| (j - 1..=j + 1).map(move |j| (i, j))) {
        let (p, q) = pair(!seed, i, j);
        nearest = nearest.min((i as f64 + p - u).powi(2) + (j as f64 + q - v).powi(2));
    }
    2.26 - 5.26 * nearest.sqrt()
}

/// Rise of a square field per pixel eastwards and southwards at pixel `i`, one-sided at the border.
fn rises(side: usize, i: usize, at: impl Fn(usize) -> f64) -> (f64, f64) {
    let along = |k: usize, step: usize| {
        let (back, ahead) = (k.min(1), usize::from(k + 1 < side));
        (at(i + ahead * step) - at(i - back * step)) / (back + ahead).max(1) as f64
    };
    (along(i % side, 1), along(i / side, side))
}

/// Means of a square field of `from` pixels per side over given rows and columns, for each of `to` × `to` pixels.
fn means(field: &[f32], from: usize, to: usize, span: impl Fn(usize) -> Range<usize>) -> Vec<f32> {
    let mean = |i: usize| {
        let (rows, columns) = (span(i / to), span(i % to));
        let count = rows.len() * columns.len();
        let sum: f32 = rows.flat_map(|row| &field[row * from + columns.start..row * from + columns.end]).sum();
        sum / count as f32
    };
    (0..to * to).map(mean).collect()
}

/// Mean over the pixels that each of `to` × `to` larger pixels touches.
fn averaged(field: &[f32], from: usize, to: usize) -> Vec<f32> {
    means(field, from, to, |k| k * from / to..((k + 1) * from).div_ceil(to))
}

/// Factors on reflectance, 0.5…2, by which slopes brighten or darken under another sun, one per elevation pixel.
///
/// `dem` holds `dem_side` × `dem_side` metres at `pixel_m` metres per pixel; suns are (azimuth, elevation) in
/// degrees. Flat ground has factor 1, since reflectance is already relative to the light on flat ground.
pub(super) fn shade(dem: &[f32], dem_side: usize, pixel_m: f64, old_sun: (f64, f64), new_sun: (f64, f64)) -> Vec<f32> {
    // Diffuse light, as a share of the direct light with the sun at the zenith.
    const DIFFUSE: f64 = 0.3;
    // Light on a slope relative to flat ground (C-correction); the lowest sun is 5°.
    let light = |(azimuth, elevation): (f64, f64), to_east: f64, to_north: f64| {
        let (sin, cos) = azimuth.to_radians().sin_cos();
        let (up, level) = elevation.clamp(5.0, 90.0).to_radians().sin_cos();
        let normal = (1.0 + to_east * to_east + to_north * to_north).sqrt();
        let incidence = (up - level * (to_east * sin + to_north * cos)) / normal;
        (incidence.max(0.0) + DIFFUSE) / (up + DIFFUSE)
    };
    if !is_square(dem, dem_side) || pixel_m <= 0.0 {
        return vec![1.0; dem.len()];
    }
    let factor = |i: usize| {
        let (to_east, to_south) = rises(dem_side, i, |at| f64::from(dem[at]) / pixel_m);
        let ratio = light(new_sun, to_east, -to_south) / light(old_sun, to_east, -to_south);
        // Gaps in the elevation say nothing about the slope.
        if (to_east + to_south).is_finite() { ratio.clamp(0.5, 2.0) as f32 } else { 1.0 }
    };
    (0..dem.len()).map(factor).collect()
}

/// Multiplies a Sentinel-2 band of `side` × `side` pixels in DN by factors of [`shade`], resampled bilinearly.
pub(super) fn apply_shade(band: &mut [f32], side: usize, factor: &[f32], dem_side: usize) {
    if !is_square(band, side) || !is_square(factor, dem_side) {
        return;
    }
    // The two nearest factors and the share of the second; pixel areas coincide, not pixel centres.
    let place = |i: usize| {
        let at = ((i as f32 + 0.5) * dem_side as f32 / side as f32 - 0.5).clamp(0.0, (dem_side - 1) as f32);
        (at as usize, (at as usize + 1).min(dem_side - 1), at.fract())
    };
    let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
    change(band, |i, dn| {
        let ((top, bottom, down), (left, right, along)) = (place(i / side), place(i % side));
        let line = |row: usize| mix(factor[row * dem_side + left], factor[row * dem_side + right], along);
        dn * mix(line(top), line(bottom), down)
    });
}

/// A small change of calibration of all bands of one scene.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Radiometry {
    gain: [f32; BANDS.len()],
    offset_dn: f32,
}

/// A random calibration: gains within 3 % of 1 together and 1 % more each, and up to 20 DN.
pub(super) fn radiometric(uniform: &mut dyn FnMut() -> f64) -> Radiometry {
    let common = between(uniform, (0.97, 1.03));
    let gain = std::array::from_fn(|_| (common * between(uniform, (0.99, 1.01))) as f32);
    Radiometry { gain, offset_dn: between(uniform, (-20.0, 20.0)) as f32 }
}

impl Radiometry {
    /// Changes a Sentinel-2 band in DN.
    pub(super) fn apply(&self, band: &mut [f32], band_name: &str) {
        let Some(index) = band_index(band_name) else { return };
        // B10 holds only a few DN where no cirrus is; an offset would replace them.
        let offset = if BANDS[index].1 == CIRRUS { 0.0 } else { self.offset_dn };
        change(band, |_, dn| dn * self.gain[index] + offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of numbers in 0…1.
    fn stream(seed: u64) -> impl FnMut() -> f64 {
        let mut numbers = (0..).map(move |count| pair(seed, count, 0).0);
        move || numbers.next().unwrap_or(0.0)
    }

    fn scene(seed: u64) -> Clouds {
        Clouds::draw(&mut stream(seed), 96)
    }

    #[test]
    fn masks_agree_with_fields_and_cover_spans_all() {
        let (mut covers, mut seen) = (Vec::new(), [0; 4]);
        for seed in 0..200 {
            let clouds = scene(seed);
            assert_eq!(clouds, scene(seed), "the same stream gives the same scene");
            let mask = clouds.mask();
            for ((&code, &opacity), &shadow) in mask.iter().zip(&clouds.opacity).zip(&clouds.shadow) {
                assert!((0.0..=1.0).contains(&opacity) && (0.0..=1.0).contains(&shadow));
                let cloud = opacity >= THIN_OPACITY;
                assert!(cloud == matches!(code, THICK | THIN) && !(cloud && shadow > 0.0));
                assert_eq!(code == THICK, opacity >= THICK_OPACITY);
                assert_eq!(code == SHADOW, !cloud && shadow >= SHADOW_DEPTH);
                seen[usize::from(code)] += 1;
            }
            covers.push(mask.iter().filter(|c| matches!(**c, THICK | THIN)).count() as f64 / mask.len() as f64);
        }
        assert!(covers.iter().any(|c| *c < 0.1) && covers.iter().any(|c| *c > 0.9), "{covers:?}");
        assert!(seen.iter().all(|n| n * 50 > 200 * 96 * 96), "each code on 2 % of the ground: {seen:?}");
    }

    #[test]
    fn averages_keep_the_mean_shadows_darken_and_clear_ground_and_gaps_stay() {
        for (seed, (side, name)) in (0..60).zip([(96, "B02"), (48, "B11"), (16, "B01")].iter().cycle()) {
            let clouds = scene(seed);
            let [opacity, shadow] = [&clouds.opacity, &clouds.shadow].map(|f| averaged(f, 96, *side));
            let mean = |field: &[f32]| field.iter().sum::<f32>() / field.len() as f32;
            assert!((mean(&opacity) - mean(&clouds.opacity)).abs() < 1e-4);
            let before: Vec<f32> = (0..side * side).map(|i| if i % 7 == 0 { 0.0 } else { 1000.1 }).collect();
            let mut after = before.clone();
            clouds.apply(&mut after, *side, name);
            for (i, (old, new)) in before.iter().zip(&after).enumerate() {
                if *old == 0.0 || (opacity[i] == 0.0 && shadow[i] == 0.0) {
                    assert_eq!(new.to_bits(), old.to_bits());
                } else if opacity[i] == 0.0 {
                    assert!(*new <= *old && (*new < *old || shadow[i] < 1e-3) && *new > 0.1 * old);
                } else if shadow[i] == 0.0 {
                    assert!(*new >= *old && (*new > *old || opacity[i] < 1e-3) && *new < 10_000.0);
                }
            }
        }
        let mut odd = [f32::NAN, 0.5, -3.0];
        scene(1).apply(&mut odd, 2, "B04");
        scene(1).apply(&mut odd[..1], 1, "B04");
        Clouds::draw(&mut stream(1), 0).apply(&mut odd[1..2], 1, "B04");
        assert!(odd[0].is_nan() && odd[1..] == [0.5, -3.0]);
    }

    #[test]
    fn slopes_towards_the_new_sun_brighten_and_flat_ground_stays() {
        let (morning, evening) = ((90.0, 35.0), (270.0, 50.0));
        assert!(shade(&[312.5; 32 * 32], 32, 30.0, morning, evening).iter().all(|f| *f == 1.0));
        let plane = |run: fn(usize) -> usize| (0..32 * 32).map(|i| run(i) as f32 * 9.0).collect::<Vec<_>>();
        let (west, north) = (plane(|i| i % 32), plane(|i| i / 32));
        let factor = shade(&west, 32, 30.0, morning, evening);
        assert!(factor.iter().all(|f| *f > 1.1 && *f <= 2.0));
        assert!(shade(&west, 32, 30.0, evening, morning).iter().all(|f| *f < 0.9 && *f >= 0.5));
        assert!(shade(&north, 32, 30.0, (180.0, 40.0), (0.0, 40.0)).iter().all(|f| *f > 1.1));
        for side in [96, 48, 16] {
            let mut band = vec![1000.0; side * side];
            band[3] = 0.0;
            apply_shade(&mut band, side, &factor, 32);
            assert!(band[3] == 0.0 && band[4] > 1100.0 && band[side * side - 1] > 1100.0);
        }
        assert_eq!(shade(&[1.0, f32::NAN, f32::NAN, 3.0], 2, 30.0, morning, evening), [1.0; 4]);
    }

    #[test]
    fn calibration_is_small_and_leaves_gaps() {
        for seed in 0..50 {
            let mut band = [0.0, 1.0, 4000.0];
            radiometric(&mut stream(seed)).apply(&mut band, "b8a");
            assert!(band[0] == 0.0 && band[1] >= 1.0 && (band[2] - 4000.0).abs() <= 182.0);
        }
    }
}
