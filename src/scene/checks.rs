//! Values that a careful reader would question.

use super::raster_file::RasterFile;
use crate::error::{Error, Result};
use crate::modality::{Modality, Raster, ValueKind};

/// Checks the values of a window: not finite or mostly missing is an error, what merely looks wrong a note.
pub(super) fn values(m: &Modality, raster: &Raster, file: &RasterFile, notes: &mut Vec<String>) -> Result<()> {
    let n = raster.data.len().max(1) as f64;
    if let Some(bad) = raster.data.iter().find(|v| !v.is_finite()) {
        let count = raster.data.iter().filter(|v| !v.is_finite()).count();
        return Err(Error::file(
            &file.path,
            format!("{count} of {n} values in the window are {bad}; fill or mask them first"),
        ));
    }
    let name = file.path.file_name().and_then(|f| f.to_str()).unwrap_or(&m.name);
    if let Some(no_data) = file.no_data {
        let share = raster.data.iter().filter(|v| f64::from(**v) == no_data).count() as f64 / n;
        if share > 0.5 {
            return Err(Error::file(
                &file.path,
                format!("{:.0} % of the window is no data ({no_data}); choose another window", share * 100.0),
            ));
        }
        if share > 0.0 {
            notes.push(format!("{name}: {:.1} % of the window is no data ({no_data}).", share * 100.0));
        }
    }
    let mut sorted: Vec<f32> = raster.data.clone();
    sorted.sort_by(f32::total_cmp);
    let (min, median, max) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    match &m.values {
        ValueKind::Reflectance { dn_per_unit } => {
            if max <= 2.0 {
                notes.push(format!("{name}: values reach only {max}; this looks like reflectance 0–1, expected DN (reflectance × {dn_per_unit})."));
            } else if min >= 1000.0 {
                notes.push(format!("{name}: no value is below {min} DN; the offset of 1000 of processing baselines from 04.00 on may not have been removed."));
            }
            if m.channels.iter().any(|c| c == "B10") {
                let cirrus = m.channels.iter().position(|c| c == "B10").map(|i| raster.channel(i));
                let least = cirrus.into_iter().flatten().copied().fold(f32::INFINITY, f32::min);
                if least > 900.0 {
                    notes.push(format!("{name}: the cirrus band B10 is nowhere below {least} DN; the offset of 1000 of processing baselines from 04.00 on was not removed."));
                }
            }
        }
        ValueKind::Decibel { .. } => {
            if median < 0.0 && max <= 40.0 && min > -100.0 {
                notes.push(format!(
                    "{name}: the median is {median}; this looks like decibels, expected linear power (10^(dB/10))."
                ));
            }
        }
        ValueKind::LogElevation { .. } => {
            let low = sorted.partition_point(|v| *v <= 0.0) as f64 / n;
            if low > 0.0 {
                notes.push(format!(
                    "{name}: {:.0} % of the window is at or below 0 m; the model sees all of that as 0 m.",
                    low * 100.0
                ));
            }
        }
        ValueKind::Classes { classes } => {
            let known = |v: f32| classes.iter().any(|c| f32::from(c.code) == v);
            sorted.dedup();
            let unknown: Vec<String> = sorted.iter().filter(|v| !known(**v)).take(5).map(ToString::to_string).collect();
            if !unknown.is_empty() {
                let codes: Vec<String> = classes.iter().map(|c| c.code.to_string()).collect();
                notes.push(format!(
                    "{name}: unknown class code {}, taken as \"{}\"; known codes are {}.",
                    unknown.join(", "),
                    classes[0].name,
                    codes.join(" ")
                ));
            }
        }
        ValueKind::Picture | ValueKind::Location | ValueKind::Date => {}
    }
    Ok(())
}
