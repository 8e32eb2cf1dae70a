//! 8-bit pictures of a place, such as the thumbnails of Major TOM: colours without units, named by modality
//! (`S2L2A.png`, `DEM.jpg`, `S1RTC.tif`).

use super::Parts;
use super::layer::Layer;
use super::raster_file::RasterFile;
use crate::error::{Error, Result};
use crate::modality::Catalogue;
use std::path::{Path, PathBuf};

/// Ground size of a pixel where a picture does not say, metres: that of Major TOM's thumbnails.
pub(super) const PIXEL_M: f64 = 10.0;

/// Names of the bands, in channel order.
const COLOURS: [&str; 3] = ["red", "green", "blue"];

/// Whether a raster can only be a picture: several 8-bit bands without names.
pub(super) fn is_picture(file: &RasterFile) -> bool {
    file.byte && file.bands.len() >= 3 && file.bands.iter().all(String::is_empty)
}

/// The colours of a picture; a grey one has three times the same.
///
/// # Errors
/// When it has a palette, too many bands, or values that are no bytes.
pub(super) fn layer(mut file: RasterFile) -> Result<Layer> {
    if !file.byte || file.palette {
        return Err(Error::file(
            &file.path,
            "A picture needs 8-bit colours without a palette; convert it first (gdal_translate -ot Byte -expand rgb)",
        ));
    }
    let named = |band: usize| COLOURS.get(band).map_or(String::new(), |colour| (*colour).to_owned());
    match file.bands.len() {
        // The fourth is how opaque it is.
        3 | 4 => {
            file.bands = (0..file.bands.len()).map(named).collect();
            Ok(Layer::single(file))
        }
        1 | 2 => {
            let one = |colour: &str| {
                let mut bands = vec![colour.to_owned()];
                bands.resize(file.bands.len(), String::new());
                RasterFile { bands, ..file.clone() }
            };
            Ok(Layer::of(COLOURS.map(one).into()))
        }
        n => Err(Error::file(&file.path, format!("A picture has one, three or four bands, this has {n}"))),
    }
}

/// Puts every picture of a scene folder that some model may know by its name among the scene's parts.
///
/// # Errors
/// As [`Parts::put`].
pub(super) fn find(dir: &Path, catalogue: &Catalogue, parts: &mut Parts) -> Result<()> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        // Other files of the folder are not even opened.
        if !is_named(catalogue, name) {
            continue;
        }
        let known = catalogue.groups().any(|m| m.name == name);
        let certain = ["png", "jpg", "jpeg"].contains(&ending.as_str());
        if !certain && (!["tif", "tiff"].contains(&ending.as_str()) || known) {
            // Rasters that are named by a modality were looked at already.
            continue;
        }
        let Ok(file) = RasterFile::open(&path) else { continue };
        if certain || is_picture(&file) {
            parts.put_picture(name, layer(file))?;
        }
    }
    Ok(())
}

/// Whether a picture has a name that some model may know.
fn is_named(catalogue: &Catalogue, name: &str) -> bool {
    catalogue.groups().any(|m| m.family == name || m.name == name)
}
