//! The plot of a training run's loss.

use super::record::Row;
use crate::error::Result;
use crate::files::write_atomically;
use crate::view::{load_font, not_drawn};
use image::RgbImage;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Size of the plot in pixels.
const SIZE: [u32; 2] = [960, 540];
/// Fewer rows than this are drawn as points and not smoothed.
const FEW: usize = 60;
/// Drawn this much larger, then averaged: lines and letters get smooth edges.
const ZOOM: u32 = 4;
const RAW: RGBColor = RGBColor(173, 202, 230);
const SMOOTH: RGBColor = RGBColor(20, 72, 130);
const VALIDATION: RGBColor = RGBColor(222, 100, 20);
const TEXT: RGBColor = RGBColor(50, 54, 60);
const GRID: RGBColor = RGBColor(222, 225, 230);
const FAINT: RGBColor = RGBColor(241, 243, 245);

/// Writes a PNG of the loss over the steps: as it is, smoothed, and on held-out scenes.
///
/// # Errors
/// When the drawing library fails or the file cannot be written.
pub(super) fn write_plot(path: &Path, rows: &[Row], title: &str) -> Result<()> {
    let mut png = std::io::Cursor::new(Vec::new());
    plot(rows, title)?.write_to(&mut png, image::ImageFormat::Png).map_err(not_drawn)?;
    write_atomically(path, png.get_ref())
}

/// Draws the loss.
fn plot(rows: &[Row], title: &str) -> Result<RgbImage> {
    let [width, height] = SIZE.map(|side| side * ZOOM);
    let mut pixels = vec![255; (width * height * 3) as usize];
    draw(&mut pixels, rows, title).map_err(not_drawn)?;
    let large = RgbImage::from_raw(width, height, pixels).ok_or_else(|| not_drawn("wrong size"))?;
    Ok(image::imageops::thumbnail(&large, SIZE[0], SIZE[1]))
}

/// Step and loss.
type Point = (f64, f64);

fn draw(pixels: &mut [u8], rows: &[Row], title: &str) -> Result<(), Box<dyn std::error::Error>> {
    let z = ZOOM as i32;
    let font = |size: i32| ("sans-serif", size * z).into_font().color(&TEXT);
    load_font()?;
    let raw: Vec<Point> = rows.iter().map(|r| (r.step as f64, known(r.loss))).collect();
    let validation: Vec<Point> = rows
        .iter()
        .filter_map(|r| Some((r.step as f64, known(r.validation_loss?))))
        .filter(|p| !p.1.is_nan())
        .collect();
    let bounds = usual(&raw);
    let smooth = if raw.len() < FEW { raw.clone() } else { smoothed(&raw, bounds) };
    let (steps, losses) = (Axis::steps(rows), Axis::losses(bounds, &smooth, &validation));
    let beneath_legend = |p: &Point| steps.share(p.0) > 0.75 && losses.share(p.1) > 0.8;
    let legend = match smooth.iter().chain(&validation).any(beneath_legend) {
        false => SeriesLabelPosition::UpperRight,
        true => SeriesLabelPosition::LowerRight,
    };
    let loss_name = if losses.log { "loss (log scale)" } else { "loss" };

    let root = BitMapBackend::with_buffer(pixels, (SIZE[0] * ZOOM, SIZE[1] * ZOOM)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, font(20))
        .margin(12 * z)
        .margin_right(24 * z)
        .x_label_area_size(46 * z)
        .y_label_area_size(64 * z)
        .build_cartesian_2d(steps, losses)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(ZOOM))
        .light_line_style(FAINT.stroke_width(ZOOM))
        .axis_style(TEXT.stroke_width(ZOOM))
        .set_all_tick_mark_size(5 * z)
        .label_style(font(14))
        .axis_desc_style(font(15))
        .x_desc("step")
        .y_desc(loss_name)
        .draw()?;

    let mut line = |points: &[Point], colour: RGBColor, stroke: i32, dot: i32, label: &str| {
        let style = colour.stroke_width(stroke as u32);
        // Piece by piece with round joints: the library's own joints are spikes at sharp turns.
        let pieces = points.windows(2).filter(|ends| !ends.iter().any(|p| p.1.is_nan()));
        chart.draw_series(pieces.map(|ends| PathElement::new(ends.to_vec(), style)))?;
        let joints = points.iter().filter(|p| !p.1.is_nan());
        let joints = chart.draw_series(joints.map(|&p| Circle::new(p, dot.max(stroke / 2), colour.filled())))?;
        let sample = colour.stroke_width(stroke.max(2 * z) as u32);
        joints.label(label).legend(move |(x, y)| PathElement::new([(x, y), (x + 22 * z, y)], sample));
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    // A few points are hardly a line.
    let dot = |points: &[Point], size: i32| if points.len() < FEW { size * z } else { 0 };
    if raw.len() < FEW {
        line(&smooth, SMOOTH, 2 * z, dot(&smooth, 4), "training")?;
    } else {
        line(&thinned(&raw), RAW, z / 2, 0, "training")?;
        line(&smooth, SMOOTH, 5 * z / 2, 0, "training, smoothed")?;
    }
    if !validation.is_empty() {
        line(&validation, VALIDATION, 3 * z / 2, dot(&validation, 4), "held-out scenes")?;
    }
    if raw.iter().chain(&validation).all(|p| p.1.is_nan()) {
        let centre = (root.dim_in_pixel().0 as i32 / 2, root.dim_in_pixel().1 as i32 / 2);
        let centred = font(16).pos(Pos::new(HPos::Center, VPos::Center));
        root.draw(&Text::new("No loss has been recorded yet", centre, centred))?;
        return Ok(root.present()?);
    }
    chart
        .configure_series_labels()
        .position(legend)
        .margin(10 * z)
        .legend_area_size(30 * z)
        .label_font(font(14))
        .background_style(WHITE.mix(0.85))
        .border_style(GRID.stroke_width(ZOOM))
        .draw()?;
    Ok(root.present()?)
}

/// A loss as drawn: one that has run away is as good as none.
fn known(loss: f64) -> f64 {
    if loss.abs() < 1e30 { loss } else { f64::NAN }
}

/// Lowest and highest known loss, but for one in 200 at either end, so that outliers do not flatten the curve.
fn usual(points: &[Point]) -> Option<[f64; 2]> {
    let mut values: Vec<f64> = points.iter().map(|p| p.1).filter(|v| !v.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let cut = values.len() / 200;
    Some([*values.get(cut)?, *values.iter().nth_back(cut)?])
}

/// Weighted means over a twentieth of the rows around each; at the beginning over fewer, so that a steep fall shows.
fn smoothed(points: &[Point], bounds: Option<[f64; 2]>) -> Vec<Point> {
    let Some([low, high]) = bounds else { return Vec::new() };
    let widest = points.len() / 40 + 1;
    let mean = |i: usize| {
        let reach = widest.min(i).max(widest / 8);
        let [mut sum, mut known, mut all] = [0.0; 3];
        for (j, point) in points.iter().enumerate().take(i + reach + 1).skip(i.saturating_sub(reach)) {
            let weight = (reach + 1 - i.abs_diff(j)) as f64;
            all += weight;
            if !point.1.is_nan() {
                known += weight;
                sum += weight * point.1.clamp(low, high);
            }
        }
        if known > 0.5 * all { sum / known } else { f64::NAN }
    };
    // More points than pixels would only take time.
    let every = points.len().div_ceil(1000).max(1);
    (0..points.len()).step_by(every).chain(points.len().checked_sub(1)).map(|i| (points[i].0, mean(i))).collect()
}

/// The lowest and highest of each run of points where there are more than can be seen.
fn thinned(points: &[Point]) -> Vec<Point> {
    let run = points.len().div_ceil(1800);
    if run < 2 {
        return points.to_vec();
    }
    let ends = |run: &[Point]| {
        let known = || (0..run.len()).filter(|&i| !run[i].1.is_nan());
        let by_loss = |a: &usize, b: &usize| run[*a].1.total_cmp(&run[*b].1);
        match (known().min_by(by_loss), known().max_by(by_loss)) {
            (Some(low), Some(high)) => [run[low.min(high)], run[low.max(high)]],
            _ => [run[0]; 2],
        }
    };
    points.chunks(run).flat_map(ends).collect()
}

/// One axis. Values beyond its range are drawn at the frame.
struct Axis {
    log: bool,
    range: [f64; 2],
    labelled: Vec<f64>,
    unlabelled: Vec<f64>,
}

impl Axis {
    fn linear(range: [f64; 2], count: f64, least: f64) -> Self {
        Self { log: false, range, labelled: ticks(range, count, least), unlabelled: Vec::new() }
    }

    fn steps(rows: &[Row]) -> Self {
        let [first, last] = [rows.first(), rows.last()].map(|row| row.map_or(0.0, |r| r.step as f64));
        // A run that goes on from far is shown from where it began.
        let low = if first > last / 2.0 && first < last { first } else { 0.0 };
        Self::linear([low, last.max(1.0)], 10.0, 1.0)
    }

    /// Logarithmic where the losses span more than a decade.
    fn losses(bounds: Option<[f64; 2]>, smooth: &[Point], validation: &[Point]) -> Self {
        let drawn = smooth.iter().chain(validation).map(|p| p.1).filter(|v| !v.is_nan());
        let drawn = drawn.chain(bounds.into_iter().flatten());
        let [low, high] = drawn.fold([f64::MAX, f64::MIN], |[low, high], v| [v.min(low), v.max(high)]);
        if low > high {
            return Self::linear([0.0, 1.0], 5.0, 0.0);
        }
        if low <= 0.0 || high < 10.0 * low {
            let margin = if high > low { 0.06 * (high - low) } else { (0.1 * high.abs()).max(1e-3) };
            let bottom = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
            return Self::linear([bottom, high + margin], 7.0, 0.0);
        }
        let low = low.max(1e-12 * high);
        let margin = (high / low).powf(0.06);
        let range = [low / margin, high * margin];
        let decades = range[0].log10().floor() as i32..=range[1].log10().ceil() as i32;
        let round = |digits: std::ops::RangeInclusive<i32>| -> Vec<f64> {
            let all = decades.clone().flat_map(|d| digits.clone().map(move |n| f64::from(n) * 10f64.powi(d)));
            all.filter(|v| (range[0]..=range[1]).contains(v)).collect()
        };
        let mut labelled = round(1..=1);
        if labelled.len() < 4 {
            labelled.extend([2, 5].into_iter().flat_map(|n| round(n..=n)));
        }
        Self { log: true, range, labelled, unlabelled: round(1..=9) }
    }

    /// Where a value lies between the ends, 0…1.
    fn share(&self, value: f64) -> f64 {
        let at = |v: f64| if self.log { v.log10() } else { v };
        let [low, high] = self.range;
        (at(value.clamp(low, high)) - at(low)) / (at(high) - at(low))
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        start + (self.share(*value) * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { self.unlabelled.clone() } else { self.labelled.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range[0]..self.range[1]
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        short(*value)
    }
}

/// Round numbers in a range: about `count`, at least `least` apart.
fn ticks([low, high]: [f64; 2], count: f64, least: f64) -> Vec<f64> {
    let apart = ((high - low) / count).max(least);
    let decade = 10f64.powf(apart.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * decade).into_iter().find(|s| *s >= apart * 0.999).unwrap_or(apart);
    ((low / step).ceil() as i64..=(high / step + 1e-9).floor() as i64).map(|n| n as f64 * step).collect()
}

/// A number on an axis: 0.05, 4000, 20k, 1.5M.
fn short(v: f64) -> String {
    let (v, unit) = match v.abs() {
        size if size >= 1e6 => (v / 1e6, "M"),
        size if size >= 1e4 => (v / 1e3, "k"),
        _ => (v, ""),
    };
    let rounded: f64 = format!("{v:.5e}").parse().unwrap_or(v);
    if rounded != 0.0 && rounded.abs() < 1e-4 { format!("{rounded:e}") } else { format!("{rounded}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(losses: impl IntoIterator<Item = f64>) -> Vec<Row> {
        let row = |(i, loss)| Row {
            step: i as u64 + 1,
            loss,
            rate: 1e-4,
            seconds: 1.0,
            items_per_s: 1.0,
            validation_loss: (i % 400 == 0).then_some(2.0 * loss),
        };
        losses.into_iter().enumerate().map(row).collect()
    }

    #[test]
    fn any_losses_can_be_drawn() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 5e-324, 1e29, f64::MAX, 1e-9];
        let ends = [f64::MIN, -1e29, 1e29];
        for losses in [&odd[..], &odd[..1], &odd[3..6], &odd[4..6], &odd[7..], &ends, &[0.5; 3], &[]] {
            let drawn = plot(&rows(losses.iter().copied()), "odd").expect("drawn");
            assert_eq!((drawn.width(), drawn.height()), (960, 540));
        }
    }

    #[test]
    fn curves_keep_their_colours() {
        let drawn =
            plot(&rows((0..5000).map(|i| (1.0 + f64::from(i % 7)) / f64::from(i + 9))), "colours").expect("drawn");
        for colour in [SMOOTH, VALIDATION] {
            assert!(drawn.pixels().filter(|p| p.0 == [colour.0, colour.1, colour.2]).count() > 100);
        }
    }

    #[test]
    fn smoothing_passes_over_gaps_and_outliers() {
        let loss = |i: usize| match i {
            300 => (300.0, 1e9),
            500..700 => (i as f64, f64::NAN),
            _ => (i as f64, 2.0 + (i % 2) as f64),
        };
        let points: Vec<Point> = (0..1000).map(loss).collect();
        let smooth = smoothed(&points, usual(&points));
        assert!(smooth.iter().filter(|p| (510.0..690.0).contains(&p.0)).all(|p| p.1.is_nan()));
        assert!(smooth.iter().filter(|p| !p.1.is_nan()).all(|p| (2.2..2.8).contains(&p.1)));
    }

    #[test]
    fn ticks_are_round_numbers() {
        let named = |range, count, least| ticks(range, count, least).into_iter().map(short).collect::<Vec<_>>();
        assert_eq!(named([0.0, 3.0], 10.0, 1.0), ["0", "1", "2", "3"]);
        assert_eq!(named([0.12, 0.71], 6.0, 0.0), ["0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]);
        assert_eq!(
            [0.05, 4000.0, 20_000.0, 1.5e6, 1e-6, 0.1 + 0.2].map(short),
            ["0.05", "4000", "20k", "1.5M", "1e-6", "0.3"]
        );
    }

    #[test]
    fn the_plot_becomes_a_picture_of_fixed_size() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("denoiser_loss.png");
        let row = |step: u64| Row {
            step,
            loss: if step == 3 { f64::NAN } else { 1.0 / step as f64 },
            rate: 1e-4,
            seconds: step as f64,
            items_per_s: 16.0,
            validation_loss: step.is_multiple_of(2).then_some(0.5),
        };
        write_plot(&path, &(1..6).map(row).collect::<Vec<_>>(), "denoiser").expect("written");
        let plot = image::open(&path).expect("picture");
        assert_eq!((plot.width(), plot.height()), (960, 540));
    }
}
