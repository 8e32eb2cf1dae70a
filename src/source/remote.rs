//! Pixels of a window from rasters anywhere: only the parts that the window needs are read (GDAL's `/vsicurl`).

use super::asset::{Meant, meant};
use super::in_memory::InMemory;
use super::pixel_grid::{PixelGrid, Resampling};
use super::signing::{FileAccess, Opening};
use super::warp::{Gaps, NOTHING, warped};
use crate::error::{Error, Fault, Result};
use crate::net::Network;
use crate::scene::{
    BEYOND_MEASURE, MOST_PACKED, Numbers, alpha, blocks_fit, demoted, is_half, is_signed_byte, pixels, quiet_gdal,
    rounded_to,
};
use crate::text::{address_without_secrets, without_secrets};
use gdal::raster::GdalDataType;
use gdal::spatial_ref::{AxisMappingStrategy, SpatialRef};
use gdal::{Dataset, DatasetOptions, GeoTransform, GeoTransformEx};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Grids closer than this share of a pixel are the same.
const SAME_GRID: f64 = 0.01;
/// What is read at once of a file elsewhere takes no more than this in memory, bytes.
const LARGEST_PIECE: u64 = 1 << 30;
/// Sources whose pixels are smaller than this share of ours are averaged.
const FINER: f64 = 0.75;

/// One band on a grid, row-major from the north-west.
#[derive(Debug, Clone, PartialEq)]
pub struct WarpedBand {
    /// As stored in the source; NaN where there is nothing.
    pub values: Vec<f32>,
    /// How they got there.
    pub resampling: Resampling,
    /// Side of the source's pixels, metres.
    pub source_m: f64,
    /// What the file says of its numbers.
    pub(super) numbers: Numbers,
}

/// What is known of the pixels of a file that it may not say itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PixelKind<'a> {
    /// Values must not be mixed.
    pub classes: bool,
    /// The value that stands for nothing, unless the file names one.
    pub nothing: Option<f64>,
    /// Values that mean nothing where files often fail to say so: mixed with others they would not be known any more.
    pub codes: &'a [f64],
}

/// Fresh addresses for GDAL: those of retries must not come again, because it remembers failures by address.
static RETRIES: AtomicU32 = AtomicU32::new(1);

/// Why a raster was not read.
#[derive(Debug, PartialEq)]
enum Trouble {
    /// What it is will be so at the next try too: a sentence about the raster without its end.
    Lasting(String),
    /// GDAL could not read it, for a reason that may pass.
    Reading(String),
}

impl Trouble {
    fn error(self, href: &str) -> Error {
        let (fault, problem) = match self {
            Self::Lasting(what) => (Fault::Unexpected, format!("The raster {what}; choose another image")),
            Self::Reading(why) => {
                let why = without_secrets(&why);
                let what = "The raster cannot be read from there";
                (
                    Fault::Broken,
                    format!("{what} ({why}): the connection broke off, or the file is damaged; try again later"),
                )
            }
        };
        Error::Network { fault, problem, address: address_without_secrets(href) }
    }
}

impl From<gdal::errors::GdalError> for Trouble {
    fn from(e: gdal::errors::GdalError) -> Self {
        Self::Reading(text(e))
    }
}

/// Reads the first band of a file where it covers a grid. A server that sends whole files only is asked once.
///
/// # Errors
/// [`Error::Network`] when the server fails, tried again as [`Network::retry`] does, or when the file is no raster with a
/// place, which is not; [`Error::Cancelled`].
pub(super) fn read(
    network: &Network,
    access: &FileAccess,
    href: &str,
    grid: &PixelGrid,
    kind: PixelKind<'_>,
    stop: &AtomicBool,
) -> Result<WarpedBand> {
    quiet_gdal();
    let (href, band) = meant(href);
    if let Some(bytes) = access.whole_if_no_parts(network, href, stop)? {
        let file = InMemory::new(bytes).map_err(|e| Error::Compute(format!("A file cannot be held in memory: {e}")))?;
        return on_grid(&file.path().to_string_lossy(), &band, grid, kind).map_err(|trouble| match trouble {
            // All of it has arrived.
            Trouble::Reading(why) => Trouble::Lasting(format!("is damaged or of another kind ({why})")).error(href),
            lasting => lasting.error(href),
        });
    }
    let mut attempt = 0;
    network.retry(stop, &mut || {
        network.check(href)?;
        let opening = access.opening(href, attempt)?;
        attempt = RETRIES.fetch_add(1, Ordering::Relaxed);
        with_settings(&opening, || on_grid(&opening.name, &band, grid, kind)).map_err(|trouble| match trouble {
            Trouble::Reading(_) => access.diagnosis(network, href).unwrap_or_else(|| trouble.error(href)),
            lasting => lasting.error(href),
        })
    })
}

/// Settings of every reading over the network.
const SETTINGS: [(&str, &str); 10] = [
    ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"),
    ("GDAL_HTTP_CONNECTTIMEOUT", "10"),
    ("GDAL_HTTP_LOW_SPEED_TIME", "20"),
    ("GDAL_HTTP_LOW_SPEED_LIMIT", "100"),
    ("GDAL_HTTP_TIMEOUT", "120"),
    ("GDAL_HTTP_USERAGENT", crate::net::USER_AGENT),
    ("GDAL_HTTP_MERGE_CONSECUTIVE_RANGES", "YES"),
    ("CPL_VSIL_CURL_CACHE_SIZE", "16777216"),
    ("GDAL_INGESTED_BYTES_AT_OPEN", "32768"),
    // Else curl would write requests with their keys to the terminal, past the log.
    ("CPL_CURL_VERBOSE", "NO"),
];

/// Runs something with settings of this thread only, and takes them back whatever happens.
fn with_settings<T>(opening: &Opening, run: impl FnOnce() -> T) -> T {
    struct Restore(Vec<String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            for name in &self.0 {
                let _ = gdal::config::clear_thread_local_config_option(name);
            }
        }
    }
    let mut restore = Restore(Vec::new());
    let own = opening.settings.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in SETTINGS.into_iter().chain(own) {
        // A setting that cannot be made is not worth failing for.
        let _ = gdal::config::set_thread_local_config_option(name, value);
        restore.0.push(name.to_owned());
    }
    run()
}

fn text(e: gdal::errors::GdalError) -> String {
    match e {
        gdal::errors::GdalError::NullPointer { msg, .. } if !msg.is_empty() => msg,
        gdal::errors::GdalError::CplError { msg, .. } if !msg.is_empty() => msg,
        other => other.to_string(),
    }
}

/// The band that is meant of a file, counted from 1.
fn band_of(dataset: &Dataset, meant: &Meant<'_>) -> Result<usize, Trouble> {
    let count = dataset.raster_count() - usize::from(alpha(dataset, 1).is_some());
    meant.number(dataset, count).map_err(Trouble::Lasting)
}

/// A band of what GDAL opens under this name, on a grid.
fn on_grid(name: &str, band: &Meant<'_>, grid: &PixelGrid, kind: PixelKind<'_>) -> Result<WarpedBand, Trouble> {
    // A server must not have GDAL read descriptions of other things, such as VRT files, with our keys.
    let drivers = DatasetOptions { allowed_drivers: Some(&["GTiff", "JP2OpenJPEG"]), ..Default::default() };
    let dataset = Dataset::open_ex(name, drivers)?;
    blocks_fit(&dataset, LARGEST_PIECE / MOST_PACKED)
        .map_err(|problem| Trouble::Lasting(format!("cannot be read: {problem}")))?;
    let number = band_of(&dataset, band)?;
    let source = dataset.rasterband(number)?;
    if source.band_type() == GdalDataType::Unknown {
        return Err(Trouble::Lasting("holds numbers of a kind that is not read, such as complex ones".into()));
    }
    let numbers = Numbers::of(&source);
    let target =
        grid.footprint.crs.as_ref().ok_or_else(|| Trouble::Lasting("is wanted on ground that has no place".into()))?;
    let target = system(&target.0)?;
    let own = dataset
        .spatial_ref()
        .map_err(|_| Trouble::Lasting("has no coordinate system, so nobody knows where it lies".into()))?;
    let mut own = demoted(own);
    own.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    let transform =
        dataset.geo_transform().map_err(|_| Trouble::Lasting("does not say where on Earth it lies".into()))?;
    let same = own == target && transform[2] == 0.0 && transform[4] == 0.0;
    if same && let Some(offset) = offset(&transform, grid) {
        let values = direct(&dataset, number, offset, grid)?;
        return Ok(WarpedBand { values, resampling: Resampling::None, source_m: grid.pixel_m, numbers });
    }
    if is_signed_byte(&source) {
        let problem = "holds signed bytes, which can only be read where their pixels are those that are wanted";
        return Err(Trouble::Lasting(problem.into()));
    }
    let pixel_m = match own.is_geographic() {
        // At the equator; elsewhere pixels are narrower, which changes nothing in what is finer.
        true => transform[5].abs() * 111_320.0,
        false => transform[5].abs() * own.linear_units(),
    };
    let resampling = match (kind.classes, pixel_m < FINER * grid.pixel_m) {
        (true, _) => Resampling::Nearest,
        (false, true) => Resampling::Average,
        (false, false) => Resampling::Bilinear,
    };
    transform.invert().map_err(|_| Trouble::Lasting("has pixels without a size".into()))?;
    let alpha = alpha(&dataset, number);
    let seen = |transform: &GeoTransform, resampling: Resampling, no_data: Option<f64>| -> Result<Vec<f32>, Trouble> {
        let gaps = Gaps { no_data, alpha, band: number };
        let warped = Dataset::open(warped(name, transform, &own, grid, &target, resampling, gaps)?)?;
        let (width, height) = grid.size();
        let read = warped.rasterband(1)?.read_as::<f32>((0, 0), (width, height), (width, height), None)?;
        Ok(read.data().iter().map(|&v| if v > NOTHING && v < BEYOND_MEASURE { v } else { f32::NAN }).collect())
    };
    let mut no_data = source.no_data_value().or(kind.nothing);
    if is_half(&source)
        && let Some(declared) = no_data
    {
        let unmixed = seen(&transform, Resampling::Nearest, None)?;
        no_data = unmixed.into_iter().find(|v| rounded_to(*v, declared as f32)).map(f64::from).or(no_data);
    }
    if no_data.is_none() && !kind.codes.is_empty() && resampling != Resampling::Nearest {
        let unmixed = seen(&transform, Resampling::Nearest, None)?;
        no_data = kind.codes.iter().copied().find(|code| unmixed.contains(&(*code as f32)));
    }
    let mut values = seen(&transform, resampling, no_data)?;
    // What lies beside 180 degrees may be counted from the other side.
    for turn in around(&own, &transform, dataset.raster_size().0) {
        if values.iter().any(|v| v.is_nan()) {
            let mut turned = transform;
            turned[0] += turn;
            let other = seen(&turned, resampling, no_data)?;
            values.iter_mut().zip(other).filter(|(v, _)| v.is_nan()).for_each(|(v, other)| *v = other);
        }
    }
    // Not before: what is remembered of a file may go when it is closed.
    drop(dataset);
    Ok(WarpedBand { values, resampling, source_m: pixel_m, numbers })
}

/// Turns of the Earth after which a raster in degrees may be met again, because it reaches 180 degrees or lies beyond.
fn around(own: &SpatialRef, transform: &GeoTransform, columns: usize) -> Vec<f64> {
    let (west, east) = (transform[0], transform[0] + transform[1] * columns as f64);
    let pixel = transform[1].abs();
    let beyond = [(east >= 180.0 - pixel, -360.0), (west <= -180.0 + pixel, 360.0)];
    let turns = beyond.into_iter().filter(|(reaches, _)| own.is_geographic() && *reaches);
    turns.map(|(_, turn)| turn).collect()
}

fn system(definition: &str) -> Result<SpatialRef, Trouble> {
    let unknown = |e| Trouble::Lasting(format!("is wanted in a coordinate system that is not known ({})", text(e)));
    let mut system = SpatialRef::from_definition(definition).map_err(unknown)?;
    system.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    Ok(system)
}

/// Column and row of the source where the grid begins, if both have the same pixels.
fn offset(transform: &GeoTransform, grid: &PixelGrid) -> Option<(isize, isize)> {
    let pixels = [transform[1], -transform[5]];
    if pixels.iter().any(|pixel| (pixel / grid.pixel_m - 1.0).abs() > 1e-6) {
        return None;
    }
    let column = (grid.footprint.left - transform[0]) / grid.pixel_m;
    let row = (transform[3] - grid.footprint.top) / grid.pixel_m;
    let near = |v: f64| (v - v.round()).abs() < SAME_GRID;
    (near(column) && near(row)).then_some((column.round() as isize, row.round() as isize))
}

/// The source's own pixels.
fn direct(
    dataset: &Dataset,
    number: usize,
    (column, row): (isize, isize),
    grid: &PixelGrid,
) -> Result<Vec<f32>, Trouble> {
    let (columns, rows) = dataset.raster_size();
    let (width, height) = grid.size();
    let mut values = vec![f32::NAN; width * height];
    let (left, top) = (column.max(0), row.max(0));
    let right = column.saturating_add(width as isize).min(columns as isize);
    let bottom = row.saturating_add(height as isize).min(rows as isize);
    if right > left && bottom > top {
        let size = ((right - left) as usize, (bottom - top) as usize);
        let read = pixels(dataset, number, (left, top), size)?;
        for (i, line) in read.chunks(size.0).enumerate() {
            let begin = ((top - row) as usize + i) * width + (left - column) as usize;
            values[begin..begin + size.0].copy_from_slice(line);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
