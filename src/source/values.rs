//! What the stored numbers of an item become, and whether they are what is said of them.

use super::fetch::Job;
use super::mask::cloud_code;
use super::offset::Offset;
use super::providers::Product;
use super::stac::{Item, SCENE_CLASSES};
use crate::error::{Error, Result};
use crate::scene::{Conversion, Numbers, already_gone, already_power};

/// Digital numbers to take off a band of an item.
pub(super) fn offset(job: &Job, item: &Item) -> f32 {
    if item.offset == Offset::Present { job.modality.about.offset.unwrap_or(0.0) } else { 0.0 }
}

/// What a file's own scale, offset and unit make of its numbers; those that the source is described with count instead.
///
/// # Errors
/// When its unit is unknown, or it takes off an offset that its catalogue says is gone.
pub(super) fn conversion(product: &Product, job: &Job, item: &Item, numbers: &Numbers) -> Result<Conversion> {
    let described = product.multiply != 1.0 || product.add != 0.0 || product.decibel;
    if described || !job.modality.is_measured() || job.channel == SCENE_CLASSES {
        return Ok(Conversion::none());
    }
    let wrong = |what: String| wrong(job, item, &what);
    let said = item.said.get(job.channel);
    let numbers = said.map_or_else(
        || Ok(numbers.clone()),
        |said| numbers.or_said(job.modality, said.scale, said.offset, said.unit.as_deref()),
    );
    let conversion = numbers.and_then(|numbers| numbers.conversion(job.modality)).map_err(wrong)?;
    if conversion.moves() && job.modality.about.offset.is_some() && item.offset == Offset::Absent {
        return Err(wrong(
            "The file says that an offset is to be taken off, its catalogue that there is none; choose another image"
                .into(),
        ));
    }
    Ok(conversion)
}

fn wrong(job: &Job, item: &Item, what: &str) -> Error {
    Error::request(format!("{} of {}: {what}.", job.channel, item.id))
}

/// Makes sure that the stored values of an item are what is said of them.
///
/// # Errors
/// When they tell that an offset which is to be taken off is gone, that decibels are power, or that classes were averaged.
pub(super) fn check(product: &Product, job: &Job, item: &Item, stored: &[f32], conversion: &Conversion) -> Result<()> {
    let about = &job.modality.about;
    let known = || stored.iter().copied().filter(|v| !v.is_nan() && !about.is_no_data(*v) && !about.is_no_echo(*v));
    if let Some(between) = known().find(|v| job.modality.classes().is_some() && v.fract() != 0.0) {
        return Err(wrong(
            job,
            item,
            &format!(
                "Its file holds {between} where there should be class codes, which are whole numbers; choose another image"
            ),
        ));
    }
    let left = if conversion.moves() { 0.0 } else { offset(job, item) };
    let value = |v: f32| (f64::from(conversion.value(v)) * product.multiply + product.add) as f32;
    let offset = about.offset.unwrap_or(0.0);
    if (left > 0.0 || conversion.moves()) && already_gone(known().map(|v| value(v) - left), offset) {
        return Err(wrong(
            job,
            item,
            &format!(
                "Its catalogue or its file says that its values carry an offset of {offset}, and its pixels that it is gone already: many would be reflectances below zero; choose another image"
            ),
        ));
    }
    let power = |v: f32| if product.decibel { 10f32.powf(value(v) / 10.0) } else { value(v) };
    if (product.decibel || conversion.decibels()) && already_power(&known().map(power).collect::<Vec<_>>()) {
        return Err(wrong(
            job,
            item,
            "Its values are said to be decibels, but read so they are within a decibel of 1 nearly everywhere: they are linear power or amplitudes; choose another image, or correct sources.toml",
        ));
    }
    Ok(())
}

/// A stored value as ours; NaN where it means nothing.
pub(super) fn converted(product: &Product, job: &Job, item: &Item, stored: f32, conversion: &Conversion) -> f32 {
    if job.channel == SCENE_CLASSES {
        let class = Some(stored).filter(|code| (0.0..=255.0).contains(code)).map(|code| code as u8);
        return class.and_then(cloud_code).map_or(f32::NAN, f32::from);
    }
    let value = (f64::from(conversion.value(stored)) * product.multiply + product.add) as f32;
    let about = &job.modality.about;
    let no_data = item.said.get(job.channel).and_then(|said| said.no_data);
    if no_data.is_some_and(|none| stored == none as f32) || job.modality.classes().is_some() && stored < 0.0 {
        return f32::NAN;
    }
    if job.modality.classes().is_some() && !product.codes.is_empty() {
        return product.codes.get(&(stored as i64).to_string()).map_or(f32::NAN, |code| f32::from(*code));
    }
    // No data, whatever the file declares: another file may know more.
    if about.is_no_data(stored) || about.is_no_echo(stored) {
        return f32::NAN;
    }
    match () {
        // What the offset would push below stays data.
        () if about.whole_numbers && conversion.moves() => value.max(1.0),
        () if about.whole_numbers => (value - offset(job, item)).max(1.0),
        () if about.decibel && product.decibel => 10f32.powf(value / 10.0),
        () => value,
    }
}
