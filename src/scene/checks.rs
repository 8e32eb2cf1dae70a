//! Values that a careful reader would question.

use super::legends::elsewhere;
use super::raster_file::RasterFile;
use super::units::MOST_PERCENT;
use super::zeros::{inland, unexplained};
use crate::modality::{Class, Group, Modality, Raster, Subject};

/// No more than this share of a band's values tells anything of how dark it gets: single pixels may be darker than any ground.
pub(super) const DARKEST: f64 = 0.001;
/// Beside an offset, this share of it is darker than ground gets: corrections of the atmosphere reach a little below 0.
const OF_THE_OFFSET: f32 = 0.9;
/// Linear power in the other polarisation than was sent that half of a window never reaches: cities have less.
const MOST_CROSS_POWER: f32 = 0.1;
/// Reflectance that no ground reaches: real clouds and roofs were seen with 2.8.
const MOST_REFLECTANCE: f32 = 3.2;
/// Reflectance that no correction of the atmosphere leaves, however dark the ground.
const LEAST_REFLECTANCE: f32 = -0.2;
/// From so many pixels on, a channel that has one value alone is questioned.
const SEVERAL: usize = 64;
/// Linear power that half of a window never reaches: cities have some 1.
const MOST_POWER: f32 = 20.0;
/// From the shore of the Dead Sea to Mount Everest, and something more, metres.
const ELEVATIONS: [f32; 2] = [-450.0, 8900.0];

/// Notes what merely looks wrong about the values of a window. `offset_possible`: whether the product may carry the
/// Sentinel-2 offset of newer processing baselines.
pub(super) fn values(m: &Modality, raster: &Raster, file: &RasterFile, offset_possible: bool, notes: &mut Vec<String>) {
    let name = file.path.file_name().and_then(|f| f.to_str()).unwrap_or(&m.name);
    let mut sorted: Vec<f32> = (0..raster.channels).flat_map(|channel| raster.valid_values(channel)).collect();
    if sorted.is_empty() {
        return;
    }
    let n = sorted.len() as f64;
    sorted.sort_by(f32::total_cmp);
    let (min, median, max) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    let about = &m.about;
    if let Some(classes) = m.classes() {
        if about.subject == Subject::LandCover
            && let Some((code, share)) = unseen(classes, &sorted)
            && let Some(meanings) = elsewhere(m, code)
        {
            notes.push(format!(
                "{name}: {:.0} % of the window has code {code}, which tells nothing of the ground in {}; it is {meanings}. If it is that, say so in scene.json (\"legends\": {{\"{}\": …}}).",
                share * 100.0,
                about.quantity,
                m.family
            ));
        }
    } else if about.is_optical() {
        let dn_per_unit = about.per_unit;
        if file.byte {
            notes.push(format!("{name}: its numbers are of 8 bits; this looks like a picture, expected DN (reflectance × {dn_per_unit})."));
        } else if max <= 2.0 {
            notes.push(format!("{name}: values reach only {max}; this looks like reflectance 0–1, expected DN (reflectance × {dn_per_unit})."));
        } else if max <= MOST_PERCENT && sorted.iter().any(|v| v.fract() != 0.0) {
            notes.push(format!("{name}: values with fractions reach only {max}; this looks like reflectance in percent, expected DN (reflectance × {dn_per_unit})."));
        } else if let Some(darkest) = darkest(m, raster)
            && dark_below(m).is_some_and(|least| darkest >= least)
            && offset_possible
        {
            let offset = about.offset.unwrap_or_default();
            notes.push(format!("{name}: hardly any value is below {darkest} DN; the offset of {offset} of processing baselines from 04.00 on may not have been removed."));
        }
        let most = MOST_REFLECTANCE * dn_per_unit;
        let beyond = sorted.len() - sorted.partition_point(|v| *v <= most);
        if beyond > 0 {
            notes.push(format!(
                "{name}: {beyond} of {} values are above {most} DN, a reflectance beyond what clouds and roofs reach; they may have wrapped around, or mean no data.",
                sorted.len()
            ));
        }
        let least = LEAST_REFLECTANCE * dn_per_unit;
        let below = sorted.partition_point(|v| *v < least);
        if below > 0 {
            notes.push(format!(
                "{name}: {below} of {} values are below {least} DN, a reflectance that is none (down to {min}); they may mean no data.",
                sorted.len()
            ));
        }
        constant(m, raster, name, notes);
        let cirrus = |channel: &String| about.band(channel).is_some_and(|band| band.cirrus);
        if let Some(i) = m.channels.iter().position(cirrus) {
            let least = raster.valid_values(i).fold(f32::INFINITY, f32::min);
            if least > 900.0 && offset_possible {
                let band = &m.channels[i];
                notes.push(format!("{name}: the cirrus band {band} is nowhere below {least} DN; the offset of 1000 of processing baselines from 04.00 on was not removed."));
            }
        }
    } else if about.decibel {
        let dark = sorted.partition_point(|v| *v <= 0.0) as f64 / n;
        if median >= 0.0 && dark > 0.01 {
            notes.push(format!("{name}: {:.0} % of the window has no power (0 or less).", dark * 100.0));
        }
        let negative = sorted.partition_point(|v| *v < 0.0);
        if median >= 0.0 && negative > 0 {
            notes.push(format!(
                "{name}: {negative} of {} values are below 0 (down to {min}), which no power is; they may mean no data.",
                sorted.len()
            ));
        }
        constant(m, raster, name, notes);
        if median < 0.0 && max <= 40.0 && min > -100.0 {
            notes.push(format!(
                "{name}: the median is {median}; this looks like decibels, expected linear power (10^(dB/10))."
            ));
        } else if median < 0.0 {
            notes.push(format!(
                "{name}: the median is {median}; power is never below 0, so these may be decibels times 100; expected linear power (10^(dB/10))."
            ));
        } else if median > MOST_POWER {
            notes.push(format!(
                "{name}: the median is {median}, a power beyond what any ground sends back; these may be amplitudes or digital numbers, expected linear power."
            ));
        } else if let Some((band, median)) = cross_power(m, raster).filter(|(_, median)| *median > MOST_CROSS_POWER) {
            notes.push(format!(
                "{name}: the median of {band} is {median}, more power than ground sends back in that polarisation; these may be amplitudes, expected linear power."
            ));
        }
        range(m, raster, name, notes);
    } else if m.is_measured() && about.subject != Subject::Elevation {
        range(m, raster, name, notes);
    } else if about.subject == Subject::Elevation && !m.is_picture() {
        let [lowest, highest] = ELEVATIONS;
        let beyond = sorted.iter().filter(|v| !(lowest..=highest).contains(*v)).count();
        if beyond > 0 {
            notes.push(format!(
                "{name}: {beyond} of {} values lie outside {lowest}…{highest} m (from {min} to {max}), where there is no ground on Earth; they may mean no data, or another unit.",
                sorted.len()
            ));
        }
        let low = sorted.partition_point(|v| *v <= 0.0) as f64 / n;
        if low > 0.0 {
            notes.push(format!(
                "{name}: {:.0} % of the window is at or below 0 m; the model sees all of that as 0 m.",
                low * 100.0
            ));
        }
        let height = |(pixel, v): (usize, &f32)| if raster.is_valid(pixel) { *v } else { f32::NAN };
        let heights: Vec<f32> = raster.channel(0).iter().enumerate().map(height).collect();
        let zeros = unexplained(&heights, &inland(&heights, raster.width, &|_| None));
        if zeros > 0 {
            notes.push(format!(
                "{name}: {zeros} of {} values are exactly 0 m, in the midst of ground that lies far higher; no sea is there, they may mean no data.",
                sorted.len()
            ));
        }
    }
}

/// Digital numbers below which a band with the offset of newer Sentinel-2 baselines does not get; `None` where there is no such
/// offset.
pub(super) fn dark_below(m: &Group) -> Option<f32> {
    m.about.offset.map(|offset| OF_THE_OFFSET * offset)
}

/// A number below which hardly any value of any band lies, the least of the bands'.
fn darkest(m: &Modality, raster: &Raster) -> Option<f32> {
    let of_band = |channel: usize| quantile(raster.valid_values(channel).collect(), DARKEST);
    (0..m.channels.len()).filter_map(of_band).min_by(f32::total_cmp)
}

/// The value below which this share of the others lies.
fn quantile(mut values: Vec<f32>, share: f64) -> Option<f32> {
    let at = ((values.len() as f64 * share) as usize).min(values.len().checked_sub(1)?);
    Some(*values.select_nth_unstable_by(at, f32::total_cmp).1)
}

/// The band of radar in the other polarisation than was sent, and its median.
fn cross_power<'a>(m: &'a Modality, raster: &Raster) -> Option<(&'a str, f32)> {
    let crossed = |band: &String| ["vh", "hv"].iter().any(|name| band.eq_ignore_ascii_case(name));
    let i = m.channels.iter().position(crossed)?;
    Some((&m.channels[i], quantile(raster.valid_values(i).collect(), 0.5)?))
}

/// A class by which nothing of the ground is seen (clouds in a map of land cover), where half of what is valid or more has it:
/// its code and share.
fn unseen(classes: &[Class], sorted: &[f32]) -> Option<(u16, f64)> {
    let clouds = classes.iter().find(|class| class.name == "Clouds")?;
    let code = f32::from(clouds.code);
    let share = sorted.iter().filter(|v| **v == code).count() as f64 / sorted.len() as f64;
    (share >= 0.5).then_some((u16::from(clouds.code), share))
}

/// Questions a channel that is the same everywhere: a placeholder, or a band that was never filled.
fn constant(m: &Modality, raster: &Raster, name: &str, notes: &mut Vec<String>) {
    for (channel, band) in m.channels.iter().enumerate() {
        let mut values = raster.valid_values(channel);
        // Over a dark sea all may lie at the least number there is.
        let Some(first) = values.next().filter(|v| !m.about.whole_numbers || *v > 1.0) else { continue };
        let mut count = 1;
        if values.all(|v| {
            count += 1;
            v == first
        }) && count >= SEVERAL
        {
            notes.push(format!(
                "{name}: {band} is {first} at all {count} pixels of the window; no sensor measures that, it may be a placeholder."
            ));
        }
    }
}

/// Notes what lies outside the range that the catalogue gives a channel.
fn range(m: &Modality, raster: &Raster, name: &str, notes: &mut Vec<String>) {
    for (channel, band) in m.channels.iter().enumerate() {
        let Some([low, high]) = m.about.valid(band) else { continue };
        // What is below 0 has a note of its own.
        let beyond = |v: &f32| f64::from(*v) > high || f64::from(*v) < low && !m.about.decibel;
        let (mut count, mut furthest) = (0, 0.0f32);
        for v in raster.valid_values(channel).filter(beyond) {
            count += 1;
            furthest = if v.abs() > furthest.abs() { v } else { furthest };
        }
        if count > 0 {
            notes.push(format!(
                "{name}: {count} values of {band} lie outside {low} to {high} (as far as {furthest}), where there is no measurement; they may mean no data."
            ));
        }
    }
}
