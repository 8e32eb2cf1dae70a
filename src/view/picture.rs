//! One raster as an RGB picture.

use crate::modality::{Class, Modality, Raster, ValueKind};

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

/// Values shown as black and as full, for each of the three colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch(pub [[f32; 2]; 3]);

/// Bands shown as red, green and blue, by preference.
const COMPOSITES: [[&str; 3]; 3] = [["B04", "B03", "B02"], ["B11", "B8A", "B05"], ["B01", "B01", "B01"]];

fn composite(m: &Modality) -> [usize; 3] {
    let find = |name: &str| m.channels.iter().position(|c| c == name);
    COMPOSITES
        .iter()
        .find_map(|[r, g, b]| Some([find(r)?, find(g)?, find(b)?]))
        .unwrap_or_else(|| [0, 1.min(m.channels.len() - 1), 2.min(m.channels.len() - 1)])
}

/// What the colours of a modality's picture mean.
pub fn caption(m: &Modality) -> String {
    let names = composite(m).map(|c| m.channels.get(c).map_or("", String::as_str));
    match &m.values {
        ValueKind::Reflectance { .. } if names == ["B04", "B03", "B02"] => "true colour".into(),
        ValueKind::Reflectance { .. } if names[0] == names[1] => names[0].into(),
        ValueKind::Reflectance { .. } => format!("{} {} {}", names[0], names[1], names[2]),
        ValueKind::Decibel { .. } => "VV, VH, VV/VH in dB".into(),
        ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => "elevation with hillshade".into(),
        ValueKind::Classes { .. } => "classes".into(),
        ValueKind::Picture => "picture".into(),
        ValueKind::Location | ValueKind::Date => String::new(),
    }
}

/// A stretch shared by several rasters of one modality, so that their pictures can be compared.
pub fn stretch(m: &Modality, rasters: &[&Raster]) -> Stretch {
    match m.values {
        // Usual ranges of land surfaces in dB: fixed, so that pictures of different places compare.
        ValueKind::Decibel { .. } => Stretch([[-20.0, 0.0], [-28.0, -6.0], [1.0, 14.0]]),
        ValueKind::Picture => Stretch([[0.0, 255.0]; 3]),
        ValueKind::Reflectance { .. } => {
            let bands = composite(m);
            let mut values: Vec<f32> =
                rasters.iter().flat_map(|r| bands.iter().flat_map(|&b| r.channel(b).iter().copied())).collect();
            let [low, high] = percentiles(&mut values, [0.01, 0.985]);
            // One stretch for all three keeps the balance of colours; a flat scene is not blown up to noise.
            Stretch([[low, high.max(low + 300.0)]; 3])
        }
        _ => {
            let mut values: Vec<f32> = rasters.iter().flat_map(|r| r.data.iter().copied()).collect();
            let [low, high] = percentiles(&mut values, [0.0, 1.0]);
            Stretch([[low, high.max(low + 20.0)]; 3])
        }
    }
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

/// Draws a raster.
pub fn picture(m: &Modality, raster: &Raster, stretch: &Stretch) -> Picture {
    let n = raster.width * raster.height;
    let pixels = match &m.values {
        ValueKind::Classes { classes } => raster.channel(0).iter().map(|&v| class_colour(classes, v)).collect(),
        ValueKind::LogElevation { .. } | ValueKind::RootElevation { .. } => {
            relief(raster, m.ground_m as f32, stretch.0[0])
        }
        ValueKind::Decibel { .. } => {
            let db = |power: f32| 10.0 * power.max(1e-5).log10();
            let vv = m.channels.iter().position(|c| c.eq_ignore_ascii_case("vv")).unwrap_or(0);
            let vh = m.channels.iter().position(|c| c.eq_ignore_ascii_case("vh")).unwrap_or(0);
            let (vv, vh) = (raster.channel(vv), raster.channel(vh));
            (0..n).map(|i| (db(vv[i]), db(vh[i]))).map(|(a, b)| rgb([a, b, a - b], stretch, 1.0)).collect()
        }
        _ => {
            let [r, g, b] = composite(m).map(|c| raster.channel(c));
            (0..n).map(|i| rgb([r[i], g[i], b[i]], stretch, 1.5)).collect()
        }
    };
    Picture { width: raster.width, height: raster.height, pixels }
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

/// Elevation in colour, lit from the north-west at 45°.
fn relief(raster: &Raster, pixel_m: f32, [low, high]: [f32; 2]) -> Vec<[u8; 3]> {
    const RAMP: [[f32; 3]; 5] = [
        [70.0, 120.0, 84.0],
        [142.0, 168.0, 98.0],
        [208.0, 196.0, 138.0],
        [176.0, 138.0, 104.0],
        [238.0, 236.0, 232.0],
    ];
    let (w, h, z) = (raster.width, raster.height, raster.channel(0));
    let at = |row: usize, column: usize| z[row.min(h - 1) * w + column.min(w - 1)];
    let mut pixels = Vec::with_capacity(w * h);
    for row in 0..h {
        for column in 0..w {
            let dx = (at(row, column + 1) - at(row, column.saturating_sub(1))) / (2.0 * pixel_m);
            let dy = (at(row + 1, column) - at(row.saturating_sub(1), column)) / (2.0 * pixel_m);
            // Light direction (−1, −1, √2)/2 in (east, south, up); slopes are doubled for small windows.
            let (sx, sy) = (2.0 * dx, 2.0 * dy);
            let light = (0.5 * sx + 0.5 * sy + std::f32::consts::FRAC_1_SQRT_2) / (sx * sx + sy * sy + 1.0).sqrt();
            let shade = (0.35 + 0.92 * light.max(0.0)).min(1.25);
            let position = ((at(row, column) - low) / (high - low)).clamp(0.0, 1.0) * 4.0;
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
    use super::*;
    use crate::modality::ModalityTable;

    fn raster(m: &Modality, value: impl Fn(usize, usize) -> f32) -> Raster {
        let n = m.pixels * m.pixels;
        let data = (0..m.channels.len()).flat_map(|c| (0..n).map(move |i| (c, i))).map(|(c, i)| value(c, i)).collect();
        Raster { channels: m.channels.len(), height: m.pixels, width: m.pixels, data }
    }

    #[test]
    fn every_image_modality_has_a_picture_of_its_own_size() {
        for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
            let raster = raster(m, |c, i| (c * 1000 + i % 97) as f32);
            let drawn = picture(m, &raster, &stretch(m, &[&raster]));
            assert_eq!((drawn.width, drawn.height, drawn.pixels.len()), (m.pixels, m.pixels, m.pixels * m.pixels));
            assert!(!caption(m).is_empty(), "{}", m.name);
        }
    }

    #[test]
    fn true_colour_shows_red_where_the_red_band_is_bright() {
        let table = ModalityTable::published();
        let m = &table[table.index("S2L2A_10m").expect("in the table")];
        let red = m.channels.iter().position(|c| c == "B04").expect("band");
        let raster = raster(m, |c, i| if c == red && i % 2 == 0 { 3000.0 } else { 200.0 });
        let drawn = picture(m, &raster, &stretch(m, &[&raster]));
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
        let bright =
            |r: Raster| picture(m, &r, &Stretch([[0.0, 4000.0]; 3])).pixels[mid].map(u32::from).iter().sum::<u32>();
        // Rising to the south-east: the face looks north-west, into the light.
        assert!(bright(slope(1.0)) > bright(slope(-1.0)));
    }
}
