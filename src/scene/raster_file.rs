//! One GeoTIFF: what it says about itself, and pixels of a window.

use super::numbers::Numbers;
use crate::error::{Error, Result};
use crate::grid::Crs;
use gdal::raster::{GdalDataType, RasterBand};
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DatasetOptions, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// What a scene is made of (cloud-optimised GeoTIFFs are GeoTIFFs). Other kinds, such as virtual rasters, may name files
/// and servers elsewhere, which would be opened whatever the user said about the network.
const DRIVERS: [&str; 4] = ["GTiff", "PNG", "JPEG", "JP2OpenJPEG"];

/// Header of a raster.
#[derive(Debug, Clone)]
pub(super) struct RasterFile {
    /// Where it is.
    pub path: PathBuf,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Upper-left corner (x, y) and pixel size (x, y; y negative for north-up); `None` without georeference.
    pub grid: Option<[f64; 4]>,
    /// Coordinate system, if any.
    pub crs: Option<Crs>,
    /// Description of each band; empty where there is none.
    pub bands: Vec<String>,
    /// Whether all bands hold bytes.
    pub byte: bool,
    /// Whether a band's values stand for colours of a table.
    pub palette: bool,
    /// Whether several bands have names by their order alone.
    pub by_order: bool,
    /// What each band says of its numbers.
    pub numbers: Vec<Numbers>,
    /// Whether it says of itself that it was generated.
    pub synthetic: bool,
}

/// Sends GDAL's messages to the log instead of the terminal; errors reach the user as ours.
pub fn quiet_gdal() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gdal::config::set_error_handler(|kind, number, message| {
            tracing::debug!("GDAL {kind:?} {number}: {}", crate::text::without_secrets(message));
        });
        // A cache of this many MB is more than any window needs; GDAL's own choice is a share of the memory.
        let _ = gdal::config::set_config_option("GDAL_CACHEMAX", "64");
    });
}

impl RasterFile {
    /// Reads the header.
    ///
    /// # Errors
    /// When the file is missing, no raster, of complex numbers, rotated, south-up, or has no place but by control points.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let dataset = open(path)?;
        let (width, height) = dataset.raster_size();
        let mut bands = Vec::new();
        let (mut byte, mut palette, mut numbers) = (true, false, Vec::new());
        for (i, band) in dataset.rasterbands().enumerate() {
            let band = band.map_err(|e| Error::file(path, format!("Band {} cannot be opened: {e}", i + 1)))?;
            byte &= band.band_type() == GdalDataType::UInt8;
            palette |= band.color_table().is_some();
            if band.band_type() == GdalDataType::Unknown {
                return Err(Error::file(
                    path,
                    format!(
                        "Band {} holds numbers of a kind that is not read, such as complex ones; make measurements of them first (the power of a radar image)",
                        i + 1
                    ),
                ));
            }
            numbers.push(Numbers::of(&band));
            bands.push(band.description().unwrap_or_default());
        }
        if width == 0 || height == 0 || bands.is_empty() {
            return Err(Error::file(path, "The raster has no pixels"));
        }
        let system = dataset.spatial_ref().ok();
        if system.is_some() {
            crate::grid::check_systems()?;
        }
        let crs = system.and_then(|srs| horizontal(&srs));
        // GDAL reports the identity for rasters without a transform.
        let grid = match dataset.geo_transform() {
            Ok(t) if !t.iter().all(|v| v.is_finite()) => {
                return Err(Error::file(path, "Its place is not a number; give it one (gdal_edit.py -a_ullr)"));
            }
            Ok(t) if t != [0.0, 1.0, 0.0, 0.0, 0.0, 1.0] => {
                if t[2] != 0.0 || t[4] != 0.0 || t[1] <= 0.0 || t[5] >= 0.0 {
                    return Err(Error::file(path, "The raster is rotated or not north-up; warp it first (gdalwarp)"));
                }
                Some([t[0], t[3], t[1], t[5]])
            }
            _ if !dataset.gcps().is_empty() => {
                return Err(Error::file(
                    path,
                    "It lies on the ground by control points alone, so its pixels have no size in metres; warp it first (gdalwarp -t_srs)",
                ));
            }
            _ => None,
        };
        let crs = if grid.is_some() { crs } else { None };
        let synthetic = dataset.metadata_item("synthetic", "").is_some_and(|value| value == "yes");
        Ok(Self {
            path: path.to_path_buf(),
            width,
            height,
            grid,
            crs,
            bands,
            byte,
            palette,
            by_order: false,
            numbers,
            synthetic,
        })
    }

    /// The same with these names for its bands, if it has as many and none is described.
    #[must_use]
    pub(super) fn called(mut self, channels: &[String]) -> Self {
        if self.bands.iter().all(String::is_empty) && self.bands.len() == channels.len() {
            self.bands = channels.to_vec();
            self.by_order = channels.len() > 1;
        }
        self
    }

    /// Index of a band by description, not case-sensitive; with `single`, a file's only band needs none.
    ///
    /// # Errors
    /// When it is not there; the message lists what is.
    pub(super) fn band(&self, name: &str, single: bool) -> Result<usize> {
        if let Some(i) = self.bands.iter().position(|b| b.eq_ignore_ascii_case(name)) {
            return Ok(i);
        }
        if single && self.bands.len() == 1 && self.bands[0].is_empty() {
            return Ok(0);
        }
        let found: Vec<&str> = self.bands.iter().map(|b| if b.is_empty() { "(no description)" } else { b }).collect();
        Err(Error::file(&self.path, format!("Band {name} is missing; the file has: {}", found.join(", "))))
    }

    /// Pixels of some bands in a rectangle that begins at this column and row, band after band, row-major; NaN where they are
    /// no data: where the file says so by a value or a mask, and where a value is not finite. `size` is its width and height.
    ///
    /// # Errors
    /// When the rectangle leaves the raster or the data cannot be read.
    pub(super) fn read(
        &self,
        bands: &[usize],
        (column, row): (usize, usize),
        size: (usize, usize),
    ) -> Result<Vec<f32>> {
        let (width, height) = size;
        let inside = width > 0 && height > 0 && column + width <= self.width && row + height <= self.height;
        if !inside {
            return Err(Error::file(
                &self.path,
                format!(
                    "The raster has {} × {} pixels; a window of {width} × {height} from column {column}, row {row} does not fit",
                    self.width, self.height
                ),
            ));
        }
        let dataset = open(&self.path)?;
        let mut data = Vec::with_capacity(bands.len() * width * height);
        for &band in bands {
            let failed = |e: gdal::errors::GdalError| {
                Error::file(&self.path, format!("The pixels cannot be read; the file may be truncated ({e})"))
            };
            let raster = dataset.rasterband(band + 1).map_err(failed)?;
            let at = (column as isize, row as isize);
            data.append(&mut pixels(&raster, at, size).map_err(failed)?);
        }
        Ok(data)
    }
}

/// Pixels of a band, row-major; NaN where they are no data: where the file says so by a declared value, by a mask in it or
/// beside it or by how opaque it is, and where a value is not finite.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn pixels(band: &RasterBand, at: (isize, isize), size: (usize, usize)) -> gdal::errors::Result<Vec<f32>> {
    let mut values = band.read_as::<f32>(at, size, size, None)?.into_shape_and_vec().1;
    // Declared in float64, while pixels hold float32.
    let none = band.no_data_value().map(|value| value as f32);
    values.iter_mut().filter(|v| !v.is_finite() || Some(**v) == none).for_each(|v| *v = f32::NAN);
    let flags = band.mask_flags()?;
    if flags.is_per_dataset() || flags.is_alpha() {
        let mask = band.open_mask_band()?.read_as::<u8>(at, size, size, None)?;
        values.iter_mut().zip(mask.data()).filter(|(_, mask)| **mask == 0).for_each(|(v, _)| *v = f32::NAN);
    }
    Ok(values)
}

/// A coordinate system without heights: by its code where there is one, or one can be found.
fn horizontal(srs: &SpatialRef) -> Option<Crs> {
    let wkt = srs.to_wkt().ok().filter(|wkt| !wkt.is_empty())?;
    // The system of heights comes after that of places.
    let of_places = || wkt.find("PROJCS[").or_else(|| wkt.find("GEOGCS[")).and_then(|at| node(&wkt[at..]));
    let places = Some(()).filter(|()| srs.is_compound()).and_then(|()| of_places());
    let mut own = places.and_then(|wkt| SpatialRef::from_wkt(wkt).ok()).unwrap_or_else(|| srs.clone());
    let code = own.authority().or_else(|_| own.auto_identify_epsg().and_then(|()| own.authority()));
    Some(Crs(code.unwrap_or_else(|_| places.unwrap_or(&wkt).to_owned())))
}

/// The node of a WKT that begins here, with everything in its brackets.
fn node(wkt: &str) -> Option<&str> {
    let (mut depth, mut quoted) = (0usize, false);
    for (at, c) in wkt.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(&wkt[..=at]);
                }
            }
            _ => {}
        }
    }
    None
}

fn open(path: &Path) -> Result<Dataset> {
    quiet_gdal();
    crate::files::check(path).map_err(|e| Error::io(path, "open", &e))?;
    let options = DatasetOptions { allowed_drivers: Some(&DRIVERS), ..DatasetOptions::default() };
    Dataset::open_ex(path, options).map_err(|e| {
        Error::file(
            path,
            format!(
                "This is not a raster that can be read; expected a GeoTIFF, PNG, JPEG or JPEG 2000 ({})",
                short(&e)
            ),
        )
    })
}

fn short(error: &gdal::errors::GdalError) -> String {
    match error {
        gdal::errors::GdalError::NullPointer { msg, .. } if !msg.is_empty() => msg.clone(),
        gdal::errors::GdalError::NullPointer { .. } => "no driver knows it".into(),
        other => other.to_string(),
    }
}
