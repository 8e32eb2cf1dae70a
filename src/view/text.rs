//! Text on pictures, in the font the window uses.

use crate::error::{Error, Result};
use image::RgbImage;
use plotters::prelude::*;
use plotters::style::register_font;

/// Makes the font known to the drawing library as `sans-serif`.
///
/// # Errors
/// When the font cannot be used.
pub fn load_font() -> Result<()> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| not_drawn("unusable font"))
}

/// Writes text of this height and colour onto a picture, its upper left corner at `(x, y)`; what does not fit is cut off.
///
/// # Errors
/// When the drawing library fails.
pub fn write_text(picture: &mut RgbImage, at: (i32, i32), text: &str, height: i32, colour: [u8; 3]) -> Result<()> {
    load_font()?;
    let size = picture.dimensions();
    let area = BitMapBackend::with_buffer(picture, size).into_drawing_area();
    let [r, g, b] = colour;
    let font = ("sans-serif", height).into_font().color(&RGBColor(r, g, b));
    area.draw_text(text, &font, at).map_err(not_drawn)?;
    area.present().map_err(not_drawn)
}

/// Width of a text of this height in pixels.
///
/// # Errors
/// When the drawing library fails.
pub(super) fn text_width(text: &str, height: i32) -> Result<u32> {
    load_font()?;
    let (width, _) = ("sans-serif", height).into_font().box_size(text).map_err(not_drawn)?;
    Ok(width)
}

/// The one place where errors of the drawing libraries become ours.
pub fn not_drawn(error: impl std::fmt::Display) -> Error {
    Error::Compute(format!("The picture cannot be drawn: {error}"))
}
