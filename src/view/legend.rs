//! Legends, and pictures to be shown outside the program: enlarged, with a badge where a model made them, and a legend
//! below.

use super::look::Look;
use super::picture::{HATCHED, Picture, Stretch, index_colour};
use super::spread::{COLOUR_STEPS, caution, colour_steps, spread_name, spread_unit, value_unit};
use super::text::{text_width, write_text};
use crate::ensemble::{Measure, Quantity};
use crate::error::Result;
use crate::modality::{Group, Raster, measured_unit, measured_value};
use image::{Rgb, RgbImage};

/// Pictures are enlarged by a whole number to at least half of this, pixels.
const SIDE: u32 = 768;
const MARGIN: u32 = 12;
const LINE: u32 = 24;
const TEXT: i32 = 17;
const INK: [u8; 3] = [40, 44, 50];
/// Room for a class and its name.
const SWATCH: u32 = 190;
/// Colour of everything synthetic, as in the window.
const BADGE: Rgb<u8> = Rgb([240, 160, 64]);

/// What a picture shows, for those who did not make it.
#[derive(Debug, Default)]
pub struct Legend {
    /// Text, line by line.
    pub lines: Vec<String>,
    /// Colours of a bar, from its low end.
    pub bar: Vec<[u8; 3]>,
    /// Classes.
    pub swatches: Vec<([u8; 3], String)>,
}

/// A picture for those who did not make it: enlarged by a whole number, its legend below, if any, and the badge
/// *synthetic* where a model made it.
///
/// # Errors
/// When text cannot be drawn.
pub fn labelled(drawn: &Picture, legend: Option<&Legend>, marked: Option<&str>) -> Result<RgbImage> {
    let (width, height) = (drawn.width as u32, drawn.height as u32);
    let zoom = (SIDE / width.max(1)).max(1);
    let small = RgbImage::from_fn(width, height, |x, y| Rgb(drawn.pixels[(y * width + x) as usize]));
    // Pixels are measurements: they stay sharp squares.
    let large = image::imageops::resize(&small, width * zoom, height * zoom, image::imageops::FilterType::Nearest);
    let below = legend.map_or(0, |legend| legend.height(large.width()) + 2 * MARGIN);
    let mut out = RgbImage::from_pixel(large.width(), large.height() + below, Rgb([255; 3]));
    image::imageops::replace(&mut out, &large, 0, 0);
    if let Some(word) = marked {
        badge(&mut out, &word.to_uppercase())?;
    }
    if let Some(legend) = legend {
        legend.draw(&mut out, large.height() + MARGIN)?;
    }
    Ok(out)
}

fn badge(out: &mut RgbImage, word: &str) -> Result<()> {
    let width = text_width(word, TEXT)? + 16;
    fill(out, [8, 8], [width, LINE], BADGE);
    write_text(out, (16, 11), word, TEXT, [0; 3])
}

fn fill(out: &mut RgbImage, [left, top]: [u32; 2], [width, height]: [u32; 2], colour: Rgb<u8>) {
    for y in top..(top + height).min(out.height()) {
        for x in left..(left + width).min(out.width()) {
            out.put_pixel(x, y, colour);
        }
    }
}

impl Legend {
    /// Of a raster that is looked at in this way.
    pub fn of_look(m: &Group, (name, look): (&str, Look), raster: &Raster, stretch: &Stretch, title: &str) -> Self {
        let [first, ..] = stretch.0;
        let values = |[low, high]: [f32; 2]| {
            let [low, high] = [low, high].map(|v| measured_value(m, v));
            format!("{low:.3} … {high:.3} {}", measured_unit(m))
        };
        let mut legend = Self { lines: vec![title.to_owned()], ..Self::default() };
        if raster.valid().is_some() {
            legend.lines.push(format!("hatched: {HATCHED}"));
        }
        let line = match look {
            Look::Composite(bands) => {
                let bands = bands.map(|c| m.channels[c].as_str()).join(", ");
                format!("{name}: {bands} as red, green, blue, {}", values(first))
            }
            Look::Band(_) => format!("{name}, {}", values(first)),
            Look::Index(index) => {
                let [low, high] = index.range;
                let step = |i: usize| low + (high - low) * i as f32 / COLOUR_STEPS as f32;
                legend.bar = (0..COLOUR_STEPS).map(|i| index_colour(step(i), [low, high])).collect();
                format!("{name}, {low} … {high}")
            }
            Look::Radar(..) => {
                let ranges = stretch.0.map(|[low, high]| format!("{low} … {high}"));
                format!("{name}: {} dB", ranges.join(", "))
            }
            Look::Polarisation(_) => format!("{name}: {} … {} dB", first[0], first[1]),
            Look::Relief => format!("{name}, {:.0} … {:.0} {}", first[0], first[1], value_unit(m)),
            Look::Classes => {
                let present = |code: u8| raster.valid_values(0).any(|v| v == f32::from(code));
                let classes = m.classes().unwrap_or_default().iter().filter(|c| present(c.code));
                legend.swatches = classes.map(|c| (c.color, c.name.clone())).collect();
                return legend;
            }
            Look::Hillshade | Look::Picture(_) => name.to_owned(),
        };
        legend.lines.push(line);
        legend
    }

    /// Of a map of spread.
    pub fn of_spread(m: &Group, quantity: Quantity, measure: Measure, range: [f32; 2], title: &str) -> Self {
        let unit = spread_unit(m, quantity, measure);
        let line = format!("{}, {} … {} {unit}", spread_name(measure), range[0], range[1]);
        Self {
            lines: vec![title.to_owned(), line, caution(measure).to_owned()],
            bar: colour_steps(),
            swatches: Vec::new(),
        }
    }

    fn columns(width: u32) -> u32 {
        (width / SWATCH).max(1)
    }

    fn height(&self, width: u32) -> u32 {
        let rows = self.lines.len() as u32 + (self.swatches.len() as u32).div_ceil(Self::columns(width));
        (rows + u32::from(!self.bar.is_empty())) * LINE
    }

    fn draw(&self, out: &mut RgbImage, mut top: u32) -> Result<()> {
        for line in &self.lines {
            write_text(out, (MARGIN as i32, top as i32 + 3), line, TEXT, INK)?;
            top += LINE;
        }
        let (width, steps) = (out.width() - 2 * MARGIN, self.bar.len() as u32);
        for (i, colour) in (0..).zip(&self.bar) {
            let (left, right) = (i * width / steps, (i + 1) * width / steps);
            fill(out, [MARGIN + left, top + 4], [right - left, LINE - 10], Rgb(*colour));
        }
        for (i, (colour, name)) in (0..).zip(&self.swatches) {
            let columns = Self::columns(out.width());
            let (left, top) = (MARGIN + i % columns * SWATCH, top + i / columns * LINE);
            fill(out, [left, top + 4], [16, 16], Rgb([120; 3]));
            fill(out, [left + 1, top + 5], [14, 14], Rgb(*colour));
            write_text(out, (left as i32 + 22, top as i32 + 3), name, TEXT, INK)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::looks;
    use super::super::picture::{picture, stretch};
    use super::*;
    use crate::modality::ModalityTable;

    fn drawn(title: Option<&str>, synthetic: bool, name: &str, look: usize) -> RgbImage {
        let table = ModalityTable::published();
        let m = &table[table.index(name).expect("modality")];
        let raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, if name == "LULC" { 2.0 } else { 900.0 });
        let (name, look) = looks(m).swap_remove(look);
        let stretch = stretch(m, look, &[&raster]);
        let legend = title.map(|title| Legend::of_look(m, (&name, look), &raster, &stretch, title));
        labelled(&picture(m, look, &raster, &stretch), legend.as_ref(), synthetic.then_some("synthetic"))
            .expect("picture")
    }

    #[test]
    fn what_a_model_made_says_so_in_its_pixels() {
        let badged = |image: &RgbImage| image.pixels().filter(|p| **p == BADGE).count() > 500;
        assert!(badged(&drawn(None, true, "S2L2A_10m", 0)));
        assert!(!badged(&drawn(None, false, "S2L2A_10m", 0)));
    }

    #[test]
    fn a_legend_lies_below_and_never_over_the_picture() {
        let table = ModalityTable::published();
        for m in table.iter().filter(|m| !m.is_scalar()) {
            for look in 0..looks(m).len() {
                let (bare, with) = (drawn(None, false, &m.name, look), drawn(Some("A title"), false, &m.name, look));
                assert_eq!(bare.width(), with.width());
                assert!(with.height() > bare.height() + LINE, "{}", m.name);
                let same =
                    (0..bare.height()).all(|y| (0..bare.width()).all(|x| bare.get_pixel(x, y) == with.get_pixel(x, y)));
                assert!(same, "{}", m.name);
                let ink = (bare.height()..with.height()).any(|y| with.get_pixel(MARGIN + 4, y).0[0] < 200);
                assert!(ink, "{} has no letters", m.name);
            }
        }
    }
}
