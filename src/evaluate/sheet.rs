//! Contact sheets: what is given, what was observed, and a few realisations, of fixed windows.

use super::task_input::{Sampling, rasters, realisations};
use super::windows::HeldWindow;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Raster, Subject};
use crate::model::Model;
use crate::sampler::Preset;
use crate::view::write_text;
use crate::view::{picture, stretch, usual_look};
use image::RgbImage;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Side of one picture, and the gap beside it, in pixels.
const SIDE: u32 = 192;
const GAP: u32 = 8;
/// Height of the line of text over each row, in pixels.
const LINE: u32 = 24;
/// Realisations per row.
const SAMPLES: usize = 4;

/// Draws one sheet: per place, a row for optical bands from all that is not optical and one for them from a single neighbour
/// (L1C, else land cover). The windows and the noise are always the same, so sheets of one training compare.
///
/// # Errors
/// When sampling fails or the file cannot be written.
pub fn contact_sheet(model: &Model, windows: &[HeldWindow], path: &Path, cancel: &AtomicBool) -> Result<()> {
    let mut rows: Vec<RgbImage> = Vec::new();
    let mut seen = BTreeSet::new();
    for window in windows {
        // One window of each kind of scene.
        let kind = window.scene.split(['_', '-']).next().unwrap_or_default().to_owned();
        if rows.len() < 8 && seen.insert(kind) {
            rows.extend(place(model, window, cancel)?);
        }
    }
    let Some(width) = rows.iter().map(RgbImage::width).max() else {
        return Err(Error::request("No held-out window has anything to draw."));
    };
    let height = rows.iter().map(RgbImage::height).sum::<u32>();
    let mut sheet = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    let mut top = 0;
    for row in rows {
        image::imageops::replace(&mut sheet, &row, 0, i64::from(top));
        top += row.height();
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| Error::file(path, e.to_string()))?;
    write_atomically(path, bytes.get_ref())
}

fn place(model: &Model, window: &HeldWindow, cancel: &AtomicBool) -> Result<Vec<RgbImage>> {
    let table = &model.manifest.modalities;
    let known: Vec<usize> = (0..table.len()).filter(|&i| window.truth[i].is_some()).collect();
    let optical = |i: &usize| table[*i].about.is_optical();
    let tells = |i: usize, subject: Subject| table[i].about.subject == subject;
    let shown = |i: &usize| optical(i) && table[*i].ground_m < 15.0;
    // Surface reflectance rather than that at the top of the atmosphere.
    let Some(target) = known.iter().copied().filter(shown).max_by_key(|&i| tells(i, Subject::SurfaceReflectance))
    else {
        return Ok(Vec::new());
    };
    let Some(truth) = window.image(target) else { return Ok(Vec::new()) };
    let others: Vec<usize> = known.iter().copied().filter(|i| !optical(i)).collect();
    let neighbour = known.iter().copied().find(|&i| shown(&i) && i != target);
    let neighbour = neighbour.or_else(|| known.iter().copied().find(|&i| tells(i, Subject::LandCover)));
    let mut rows = Vec::new();
    let mut sets = vec![others, neighbour.into_iter().collect()];
    sets.dedup();
    for given in sets {
        if given.is_empty() {
            continue;
        }
        let sampling = Sampling { samples: SAMPLES, seed: 0, options: Preset::default().options(), stand_ins: true };
        let realisations = realisations(model, window, &given, &[target], &[], &sampling, cancel)?;
        let look = usual_look(&table[target]);
        let stretch_of = stretch(&table[target], look, &[truth]);
        let tile = |raster: &Raster| tile(&picture(&table[target], look, raster, &stretch_of));
        // What says most about the ground, where several things are given; an empty place if none is a picture.
        let most = [Subject::Clouds, Subject::Elevation, Subject::LandCover, Subject::Radar];
        let informative = |i: &usize| most.iter().position(|subject| tells(*i, *subject));
        let first = given.iter().copied().max_by_key(|i| informative(i)).and_then(|i| Some((i, window.image(i)?)));
        let mut tiles = vec![match first {
            Some((i, raster)) => {
                let look = usual_look(&table[i]);
                self::tile(&picture(&table[i], look, raster, &stretch(&table[i], look, &[raster])))
            }
            None => RgbImage::from_pixel(SIDE, SIDE, image::Rgb([238; 3])),
        }];
        tiles.push(tile(truth));
        tiles.extend(rasters(&realisations, target).map(tile));
        let names: Vec<&str> = given.iter().map(|&i| table[i].name.as_str()).collect();
        let text = format!(
            "{}: {} from {}.   Given (one of them) | observed | {SAMPLES} realisations, synthetic",
            window.scene,
            table[target].name,
            names.join(", ")
        );
        rows.push(row(&tiles, &text)?);
    }
    Ok(rows)
}

fn tile(picture: &crate::view::Picture) -> RgbImage {
    let (w, h) = (picture.width as u32, picture.height as u32);
    let pixel = |x: u32, y: u32| image::Rgb(picture.pixels[(y * w + x) as usize]);
    image::imageops::resize(&RgbImage::from_fn(w, h, pixel), SIDE, SIDE, image::imageops::FilterType::Nearest)
}

fn row(tiles: &[RgbImage], text: &str) -> Result<RgbImage> {
    let width = (SAMPLES as u32 + 2) * (SIDE + GAP) + GAP;
    let mut row = RgbImage::from_pixel(width, SIDE + LINE + GAP, image::Rgb([255; 3]));
    for (k, tile) in tiles.iter().enumerate() {
        image::imageops::replace(&mut row, tile, i64::from(GAP + k as u32 * (SIDE + GAP)), i64::from(LINE));
    }
    write_text(&mut row, (GAP as i32, 4), text, 15, [50, 54, 60])?;
    Ok(row)
}
