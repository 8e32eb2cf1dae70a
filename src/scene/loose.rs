//! GeoTIFFs that lie anywhere: which modality each is, and a scene made of several.

use super::raster_file::RasterFile;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Modality, ModalityTable};
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Pixel sizes may differ from the nominal one by this share.
const PIXEL_TOLERANCE: f64 = 0.01;

/// A file, and what it may be.
#[derive(Debug, Clone, PartialEq)]
pub struct LooseFile {
    /// Where it is.
    pub path: PathBuf,
    /// Names of the modalities it may hold, the likeliest first; one if it is certain.
    pub candidates: Vec<String>,
    /// Day in its name, if there is one.
    pub date: Option<Date>,
}

/// Tells what a GeoTIFF may be: by its name, else by band descriptions, number of bands and pixel size.
///
/// # Errors
/// When it is no raster, or nothing fits.
pub fn recognise(path: &Path) -> Result<LooseFile> {
    let file = RasterFile::open(path)?;
    let table = ModalityTable::published();
    let images: Vec<&Modality> = table.iter().filter(|m| !m.is_scalar()).collect();
    let name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let described = file.bands.iter().any(|band| !band.is_empty());
    let holds = |m: &&&Modality| {
        let described = described && m.channels.iter().all(|c| file.bands.iter().any(|b| b.eq_ignore_ascii_case(c)));
        let counted = file.bands.len() == m.channels.len();
        described || (counted && (m.channels.len() == 1 || file.bands.iter().all(String::is_empty)))
    };
    let fits = |m: &&&Modality| match file.grid {
        Some([_, _, pixel, _]) if file.crs.as_ref().is_some_and(|crs| crs.is_metric().unwrap_or(false)) => {
            (pixel / m.ground_m - 1.0).abs() < PIXEL_TOLERANCE
        }
        _ => true,
    };
    let named = images.iter().find(|m| name.contains(&m.name.to_lowercase())).filter(holds);
    let mut candidates: Vec<String> = match named {
        Some(m) => vec![m.name.clone()],
        None => images.iter().filter(holds).filter(fits).map(|m| m.name.clone()).collect(),
    };
    // The family may be named without the pixel size.
    let family = |m: &String| images.iter().any(|i| i.name == *m && name.contains(&i.family.to_lowercase()));
    if candidates.iter().any(family) {
        candidates.retain(family);
    }
    if candidates.is_empty() {
        let bands: Vec<&str> = file.bands.iter().map(|b| if b.is_empty() { "(no description)" } else { b }).collect();
        return Err(Error::file(
            path,
            format!(
                "Its bands ({}) and pixels fit no modality; describe the bands (gdal_edit.py -d), or resample it to 10, 20, 30 or 60 m",
                bands.join(", ")
            ),
        ));
    }
    Ok(LooseFile { path: path.to_path_buf(), candidates, date: date_in(&name) })
}

/// A day written as eight digits, or as three numbers with dashes between, from 2014 on.
fn date_in(name: &str) -> Option<Date> {
    let day = |at: usize| {
        let part = name.get(at..)?;
        let plain = part.get(..8).filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
        let text = match plain {
            Some(p) => format!("{}-{}-{}", &p[..4], &p[4..6], &p[6..]),
            None => part.get(..10)?.to_owned(),
        };
        text.parse::<Date>().ok().filter(|date| (2014..2100).contains(&date.year()))
    };
    (0..name.len()).find_map(day)
}

/// Makes a scene folder in `within` that names files where they are; opened like any other. An equal one that is there
/// already is used again.
///
/// # Errors
/// When two files are to be the same modality, or the folder cannot be written.
pub fn scene_of(within: &Path, files: &[(PathBuf, String, Option<Date>)]) -> Result<PathBuf> {
    let table = ModalityTable::published();
    let (mut named, mut dates) = (BTreeMap::new(), BTreeMap::new());
    for (path, modality, date) in files {
        let m = table.index(modality).map(|i| &table[i]);
        let m = m.ok_or_else(|| Error::request(format!("There is no modality called {modality}.")))?;
        let full = path.canonicalize().map_err(|e| Error::io(path, "find", &e))?;
        if let Some(other) = named.insert(m.name.clone(), full) {
            return Err(Error::request(format!(
                "{} and {} are both to be {}; leave one out.",
                other.display(),
                path.display(),
                m.name
            )));
        }
        dates.extend(date.map(|date| (m.family.clone(), date.to_string())));
    }
    let Some((first, ..)) = files.first() else { return Err(Error::request("There are no files to open.")) };
    let stem = first.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let text = serde_json::json!({ "files": named, "dates": dates }).to_string();
    for number in 1.. {
        let suffix = if number == 1 { String::new() } else { format!("_{number}") };
        let dir = within.join(stem.chars().map(plain).collect::<String>() + &suffix);
        let description = dir.join("scene.json");
        match std::fs::read_to_string(&description) {
            Ok(there) if there != text => continue,
            Ok(_) => return Ok(dir),
            Err(_) => {
                write_atomically(&description, text.as_bytes())?;
                return Ok(dir);
            }
        }
    }
    Err(Error::Compute("No name is left for the scene.".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_found_in_file_names() {
        let find = |name: &str| date_in(name).map(|date| date.to_string());
        assert_eq!(find("s2a_msil2a_20220614t101031_x"), Some("2022-06-14".into()));
        assert_eq!(find("dem_2021-03-05"), Some("2021-03-05".into()));
        assert_eq!(find("tile_99999999_é_20221332"), None);
        assert_eq!(find(""), None);
    }
}
