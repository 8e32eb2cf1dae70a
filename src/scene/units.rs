//! Bands of one raster that are not in one unit, as far as their numbers show it.

use crate::modality::{Modality, Raster};

/// From so many pixels on, a band's numbers tell of its unit.
const SEVERAL: usize = 64;
/// Reflectance from 0 to 1 stays below this, in clouds as well.
const MOST_SHARE: f32 = 2.0;
/// Reflectance in percent does.
pub(super) const MOST_PERCENT: f32 = 150.0;
/// Digital numbers of reflectance reach more.
const SOME_NUMBERS: f32 = 1000.0;
/// Bands differ by less than this, water that is dark beyond the visible apart.
const BRIGHTER: f32 = 30.0;
/// Power is never below 0, and what is left of it after noise was taken off never below this.
const LEAST_POWER: f32 = -1.0;

/// What the valid numbers of a band are like.
struct Band<'a> {
    index: usize,
    name: &'a str,
    median: f32,
    max: f32,
    /// Whether most are no whole numbers.
    fractions: bool,
}

impl Band<'_> {
    /// Numbers between these that digital numbers never are.
    fn reaches(&self, least: f32, most: f32) -> bool {
        self.fractions && self.max > least && self.max <= most
    }
}

/// Questions bands that seem to be in another unit than the others.
///
/// # Errors
/// When they are certainly in different ones: the band that is odd, and a sentence.
pub(super) fn check(m: &Modality, raster: &Raster, name: &str, notes: &mut Vec<String>) -> Result<(), (usize, String)> {
    let about = &m.about;
    if !(about.is_optical() || about.decibel) || m.is_picture() {
        return Ok(());
    }
    // The cirrus band sees no ground.
    let counts = |(_, name): &(usize, &String)| about.band(name).is_none_or(|band| !band.cirrus);
    let bands: Vec<Band> =
        m.channels.iter().enumerate().filter(counts).filter_map(|(i, n)| band(raster, i, n)).collect();
    if about.decibel {
        let pair =
            bands.iter().find(|band| band.median < LEAST_POWER).zip(bands.iter().find(|band| band.median >= 0.0));
        return match pair {
            None => Ok(()),
            Some((odd, other)) => Err((
                odd.index,
                format!(
                    "{} has a median of {}, as decibels have, and {} one of {}, as linear power has; bands of one raster need one unit, or each its own in its tags (unit dB)",
                    odd.name, odd.median, other.name, other.median
                ),
            )),
        };
    }
    let brightest = bands.iter().max_by(|a, b| a.max.total_cmp(&b.max));
    let Some(other) = brightest else { return Ok(()) };
    if let Some(odd) = bands.iter().find(|band| band.reaches(f32::MIN, MOST_SHARE)).filter(|_| other.max > MOST_PERCENT)
    {
        return Err((
            odd.index,
            format!(
                "{} reaches only {}, as reflectance from 0 to 1 does, and {} reaches {}, as digital numbers do; bands of one raster need one unit, or each its own scale in its tags",
                odd.name, odd.max, other.name, other.max
            ),
        ));
    }
    if other.max > SOME_NUMBERS
        && let Some(odd) =
            bands.iter().find(|band| band.reaches(MOST_SHARE, MOST_PERCENT) && other.median > BRIGHTER * band.median)
    {
        notes.push(format!(
            "{name}: {} reaches only {} and {} reaches {}; the first looks like reflectance in percent, expected DN (reflectance × {}) in all bands.",
            odd.name, odd.max, other.name, other.max, about.per_unit
        ));
    }
    Ok(())
}

fn band<'a>(raster: &Raster, index: usize, name: &'a str) -> Option<Band<'a>> {
    let mut values: Vec<f32> = raster.valid_values(index).collect();
    if values.len() < SEVERAL {
        return None;
    }
    let middle = values.len() / 2;
    let fractions = 2 * values.iter().filter(|v| v.fract() != 0.0).count() > values.len();
    let max = values.iter().copied().fold(f32::MIN, f32::max);
    let (_, median, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    Some(Band { index, name, median: *median, max, fractions })
}
