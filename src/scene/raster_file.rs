//! One GeoTIFF: what it says about itself, and pixels of a window.

use super::codes::Found;
use super::numbers::Numbers;
use super::odd_numbers::{as_signed, is_half, is_signed_byte, rounded_to};
use crate::error::{Error, Result};
use crate::grid::Crs;
use crate::modality::Group;
use gdal::raster::{ColorInterpretation, GdalDataType};
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DatasetOptions, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// What a scene is made of (cloud-optimised GeoTIFFs are GeoTIFFs). Other kinds, such as virtual rasters, may name files
/// and servers elsewhere, which would be opened whatever the user said about the network.
const DRIVERS: [&str; 4] = ["GTiff", "PNG", "JPEG", "JP2OpenJPEG"];

/// Pieces of a file up to this size are read whatever they are packed into, bytes.
const SMALL_BLOCK: u64 = 64 << 20;
/// Bytes that one byte of a file can stand for, at most: deflate reaches 1032.
pub(crate) const MOST_PACKED: u64 = 1100;

/// No measurement reaches this: it is the largest float, or near it because somebody rounded it, and means no data.
pub(crate) const BEYOND_MEASURE: f32 = 1e30;
/// What a piece of an array in many files is taken to hold, bytes.
const ARRAY_BYTES: u64 = 1 << 20;

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
    /// The colour that each band is said to be, by wavelength in nanometres.
    pub colors: Vec<Option<[f64; 2]>>,
    /// A stored number that means no data, where that is said elsewhere than in the file.
    pub nothing: Option<f32>,
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
    /// When the file is missing, no raster, of complex numbers, rotated, south-up, or has no place but by control points or formulas.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let dataset = open(path)?;
        let (width, height) = dataset.raster_size();
        let mut bands = Vec::new();
        let (mut byte, mut palette, mut numbers, mut colors) = (true, false, Vec::new(), Vec::new());
        for (i, band) in dataset.rasterbands().enumerate() {
            let band = band.map_err(|e| Error::file(path, format!("Band {} cannot be opened: {e}", i + 1)))?;
            byte &= band.band_type() == GdalDataType::UInt8 && !is_signed_byte(&band);
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
            colors.push(color(band.color_interpretation()));
            bands.push(band.description().unwrap_or_default());
        }
        if width == 0 || height == 0 || bands.is_empty() {
            return Err(Error::file(path, "The raster has no pixels"));
        }
        let size = std::fs::metadata(path).map_err(|e| Error::io(path, "read", &e))?.len();
        blocks_fit(&dataset, size).map_err(|problem| Error::file(path, problem))?;
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
            _ if placed_otherwise(&dataset) => {
                return Err(Error::file(
                    path,
                    "It lies on the ground by formulas alone (rational polynomials, or arrays of places), so its pixels have no size in metres; correct it for the terrain and warp it first (gdalwarp -rpc -to RPC_DEM=… -t_srs, or gdalwarp -geoloc)",
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
            colors,
            nothing: None,
            numbers,
            synthetic,
        })
    }

    /// The same with the names of a group's channels for its bands, if it has as many and none is described: by what their
    /// colours say, else by their order.
    #[must_use]
    pub(super) fn called(mut self, m: &Group) -> Self {
        let channels = &m.channels;
        if self.bands.iter().all(String::is_empty) && self.bands.len() == channels.len() {
            let named = by_color(&self.colors, m);
            self.by_order = named.is_none() && channels.len() > 1;
            self.bands = named.unwrap_or_else(|| channels.clone());
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
            let at = (column as isize, row as isize);
            data.append(&mut pixels(&dataset, band + 1, at, size).map_err(failed)?);
        }
        data.iter_mut().filter(|v| Some(**v) == self.nothing).for_each(|v| *v = f32::NAN);
        Ok(data)
    }
}

/// Of rows wider than that many pieces of so many columns, those pieces are looked at.
const PIECES: usize = 4;
const PIECE: usize = 256;
/// Rows of a class raster that are looked at to tell whose codes it holds.
const LOOKED_AT: usize = 16;

/// How a band is stored, for people.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Type of its numbers, as GDAL calls it.
    pub kind: String,
    /// What it declares to be no data.
    pub no_data: Option<f64>,
    /// Whether a mask or alpha band says where it is valid.
    pub masked: bool,
    /// Columns and rows that are read at once.
    pub block: (usize, usize),
}

impl RasterFile {
    /// How a band is stored.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn stored(&self, band: usize) -> Result<Stored> {
        let failed =
            |e: gdal::errors::GdalError| Error::file(&self.path, format!("Band {} cannot be opened: {e}", band + 1));
        let dataset = open(&self.path)?;
        let raster = dataset.rasterband(band + 1).map_err(failed)?;
        let flags = raster.mask_flags().map_err(failed)?;
        Ok(Stored {
            kind: if is_signed_byte(&raster) { "Int8".into() } else { raster.band_type().name() },
            no_data: raster.no_data_value().or(self.nothing.map(f64::from)),
            masked: flags.is_per_dataset() || alpha(&dataset, band + 1).is_some(),
            block: raster.block_size(),
        })
    }

    /// The class codes in rows of a band that lie evenly over the file, or in pieces of them, without what it says is no data.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn codes(&self, band: usize) -> Result<Found> {
        let failed = |e: gdal::errors::GdalError| {
            Error::file(&self.path, format!("The pixels cannot be read; the file may be truncated ({e})"))
        };
        let dataset = open(&self.path)?;
        let rows = self.height.min(LOOKED_AT);
        let mut found = Found::default();
        for i in 0..rows {
            let row = (2 * i + 1) * self.height / (2 * rows);
            // Pieces of wide rows, at other columns in each: a header may claim millions of them.
            let each = if self.width <= PIECES * PIECE { self.width } else { PIECE };
            for piece in 0..self.width.div_ceil(each).min(PIECES) {
                let column = (piece * rows + i) * (self.width - each) / (PIECES * rows);
                found.add(pixels(&dataset, band + 1, (column as isize, row as isize), (each, 1)).map_err(failed)?);
            }
        }
        Ok(found)
    }
}

/// Pixels of a band, counted from 1, row-major; NaN where they are no data: where the file says so by a declared value, by a
/// mask in it or beside it or by how opaque it is, and where a value is not finite.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn pixels(
    dataset: &Dataset,
    number: usize,
    at: (isize, isize),
    size: (usize, usize),
) -> gdal::errors::Result<Vec<f32>> {
    let band = dataset.rasterband(number)?;
    let mut values = band.read_as::<f32>(at, size, size, None)?.into_shape_and_vec().1;
    if is_signed_byte(&band) {
        as_signed(&mut values);
    }
    // Declared in float64, while pixels hold float32.
    let none = band.no_data_value().map(|value| value as f32);
    let half = is_half(&band);
    let is_none = |v: f32| none.is_some_and(|none| v == none || half && rounded_to(v, none));
    let is_nothing = |v: f32| !v.is_finite() || v.abs() >= BEYOND_MEASURE || is_none(v);
    values.iter_mut().filter(|v| is_nothing(**v)).for_each(|v| *v = f32::NAN);
    let mut hide = |mask: &[f32]| {
        values.iter_mut().zip(mask).filter(|(_, mask)| **mask == 0.0).for_each(|(v, _)| *v = f32::NAN);
    };
    let flags = band.mask_flags()?;
    if flags.is_per_dataset() {
        hide(band.open_mask_band()?.read_as::<f32>(at, size, size, None)?.data());
    }
    if let Some(alpha) = alpha(dataset, number) {
        hide(dataset.rasterband(alpha)?.read_as::<f32>(at, size, size, None)?.data());
    }
    Ok(values)
}

/// The number of the band that says how opaque another one is, if there is one. GDAL calls it a mask only in some files, of two
/// or four bands of 8 or 16 bits; as such it counts whatever its name. Else a band with a name of its own is a measurement, for
/// programs that write four bands often call the fourth one so.
pub(crate) fn alpha(dataset: &Dataset, number: usize) -> Option<usize> {
    let masks = dataset.rasterband(number).and_then(|band| band.mask_flags()).is_ok_and(|flags| flags.is_alpha());
    let opaque = |other: &usize| {
        dataset.rasterband(*other).is_ok_and(|band| {
            let name = band.description().unwrap_or_default().to_lowercase();
            let plain = name.is_empty() || name.contains("alpha") || name.contains("mask") || name.contains("valid");
            band.color_interpretation() == ColorInterpretation::AlphaBand && (masks || plain)
        })
    };
    (1..=dataset.raster_count()).filter(|other| *other != number).find(opaque)
}

/// Makes sure that a piece of a file of so many bytes, as it is read at once, is no larger in memory than the file can fill:
/// a header of a few bytes may claim gigabytes.
///
/// # Errors
/// A sentence, when it is.
pub(crate) fn blocks_fit(dataset: &Dataset, size: u64) -> Result<(), String> {
    let band = dataset.rasterband(1).map_err(|e| format!("It has no band that can be read: {e}"))?;
    let (width, height) = band.block_size();
    let together = match dataset.metadata_item("INTERLEAVE", "IMAGE_STRUCTURE").as_deref() {
        Some("PIXEL") => dataset.raster_count(),
        _ => 1,
    };
    let each = u64::from(band.band_type().bytes()).max(1);
    let block = [width as u64, height as u64, together as u64].iter().fold(each, |all, n| all.saturating_mul(*n));
    if block > SMALL_BLOCK && block > size.saturating_mul(MOST_PACKED) {
        return Err(format!(
            "Its header claims pieces of {width} × {height} pixels and {together} bands, {:.1} GB each, which a file of {size} bytes cannot hold; it may be damaged. If it is right, write it in tiles first (gdal_translate -co TILED=YES)",
            block as f64 / 1e9
        ));
    }
    Ok(())
}

/// The wavelengths of a colour, nanometres.
fn color(interpretation: ColorInterpretation) -> Option<[f64; 2]> {
    match interpretation {
        ColorInterpretation::RedBand => Some([600.0, 700.0]),
        ColorInterpretation::GreenBand => Some([520.0, 600.0]),
        ColorInterpretation::BlueBand => Some([450.0, 520.0]),
        _ => None,
    }
}

/// Names of bands of which all but one are of colours that tell one channel each, and another than the others'.
fn by_color(colors: &[Option<[f64; 2]>], m: &Group) -> Option<Vec<String>> {
    let channel = |[low, high]: [f64; 2]| {
        let of_color = |name: &&String| m.wavelength_nm(name).is_some_and(|nm| (low..high).contains(&nm));
        let mut found = m.channels.iter().filter(of_color);
        found.next().filter(|_| found.next().is_none())
    };
    let mut named: Vec<Option<&String>> = colors.iter().map(|color| color.and_then(channel)).collect();
    let mut left = m.channels.iter().filter(|name| !named.contains(&Some(*name)));
    let rest = left.next().filter(|_| left.next().is_none());
    if let [only] = named.iter().enumerate().filter(|(_, name)| name.is_none()).map(|(i, _)| i).collect::<Vec<_>>()[..]
    {
        named[only] = rest;
    }
    let named: Vec<String> = named.into_iter().flatten().cloned().collect();
    let all = m.channels.iter().all(|name| named.contains(name)) && named.len() == m.channels.len();
    (all && m.channels.len() > 1).then_some(named)
}

/// Whether a raster without a transform or control points says by formulas or arrays where it lies.
fn placed_otherwise(dataset: &Dataset) -> bool {
    ["RPC", "GEOLOCATION"].iter().any(|domain| dataset.metadata_domain(domain).is_some_and(|said| !said.is_empty()))
}

/// A coordinate system without heights: by its code where there is one, or one can be found.
fn horizontal(srs: &SpatialRef) -> Option<Crs> {
    let srs = &demoted(srs.clone());
    let wkt = srs.to_wkt().ok().filter(|wkt| !wkt.is_empty())?;
    // The system of heights comes after that of places.
    let of_places = || wkt.find("PROJCS[").or_else(|| wkt.find("GEOGCS[")).and_then(|at| node(&wkt[at..]));
    let places = Some(()).filter(|()| srs.is_compound()).and_then(|()| of_places());
    let mut own = places.and_then(|wkt| SpatialRef::from_wkt(wkt).ok()).unwrap_or_else(|| srs.clone());
    let code = own.authority().or_else(|_| own.auto_identify_epsg().and_then(|()| own.authority()));
    Some(Crs(code.unwrap_or_else(|_| places.unwrap_or(&wkt).to_owned())))
}

/// A system whose third axis is height above the ellipsoid, without that axis: no WKT of version 1 can be written of it. Any
/// other stays as it is.
#[allow(unsafe_code)]
pub(crate) fn demoted(srs: SpatialRef) -> SpatialRef {
    if srs.axes_count() == 3 && !srs.is_compound() {
        // SAFETY: the system is owned here, so nobody else reads it while GDAL changes it; without a name it keeps its own. What
        // fails leaves it as it was.
        unsafe { gdal_sys::OSRDemoteTo2D(srs.to_c_hsrs(), std::ptr::null()) };
    }
    srs
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
    if path.join(".zarray").is_file() {
        let options = DatasetOptions { allowed_drivers: Some(&["Zarr"]), ..DatasetOptions::default() };
        let dataset = Dataset::open_ex(path, options)
            .map_err(|e| Error::file(path, format!("This array of Zarr cannot be read ({})", short(&e))))?;
        blocks_fit(&dataset, ARRAY_BYTES).map_err(|problem| Error::file(path, problem))?;
        return Ok(dataset);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use gdal::raster::RasterCreationOptions;

    /// A file of which no pixel was written, in pieces of this many rows.
    fn written(path: &Path, options: &[&str]) {
        let options = RasterCreationOptions::from_iter(options.iter().copied());
        let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
        driver.create_with_band_type_with_options::<f32, _>(path, 5000, 5000, 1, &options).expect("raster");
    }

    #[test]
    fn what_a_header_claims_is_checked_before_anything_is_read() {
        let dir = tempfile::tempdir().expect("folder");
        let one_piece = dir.path().join("strip.tif");
        written(&one_piece, &["SPARSE_OK=TRUE", "COMPRESS=DEFLATE", "BLOCKYSIZE=5000"]);
        let problem = RasterFile::open(&one_piece).expect_err("100 MB in a few bytes").to_string();
        assert!(problem.contains("5000 × 5000") && problem.contains("strip.tif"), "{problem}");
        let tiles = dir.path().join("tiles.tif");
        written(&tiles, &["SPARSE_OK=TRUE", "TILED=YES"]);
        let file = RasterFile::open(&tiles).expect("small pieces");
        assert_eq!(file.read(&[0], (4990, 4990), (10, 10)).expect("pixels"), [0.0; 100]);
    }
}
