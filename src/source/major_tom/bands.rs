//! Blobs of single bands become one GeoTIFF per modality, pixels and grid unchanged.

use super::super::in_memory::InMemory;
use super::Origin;
use crate::error::{Error, Result};
use crate::scene::{Bits, blocks_fit, quiet_gdal, read_back};
use gdal::raster::{Buffer, GdalDataType, RasterCreationOptions};
use gdal::{Dataset, DatasetOptions, DriverManager, Metadata};
use std::path::Path;

/// The largest blob: 1068 × 1068 float32 values have 4.6 MB.
pub(super) const LARGEST_BLOB: u64 = 64 << 20;
/// The largest raster that is unpacked, pixels per side.
const LARGEST_SIDE: usize = 4096;

/// One band.
pub(super) struct Band {
    /// Its name, such as `B04`.
    pub name: String,
    // Closed before its file goes.
    dataset: Dataset,
    _file: InMemory,
}

impl Band {
    /// Opens a blob.
    ///
    /// # Errors
    /// When it is no GeoTIFF with one band of a reasonable size.
    pub(super) fn open(name: &str, blob: Vec<u8>, origin: &Origin) -> Result<Self> {
        quiet_gdal();
        let wrong = |what: &str| origin.problem(&format!("The raster of {name} in it {what}; fetch the file again"));
        let tiff = [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| blob.starts_with(magic));
        if !tiff {
            return Err(wrong("is no TIFF"));
        }
        let size = blob.len() as u64;
        let file = InMemory::new(blob).map_err(|e| wrong(&format!("cannot be opened ({e})")))?;
        // No other driver: a blob could be a description of files elsewhere.
        let options = DatasetOptions { allowed_drivers: Some(&["GTiff"]), ..DatasetOptions::default() };
        let dataset = Dataset::open_ex(file.path(), options).map_err(|e| wrong(&format!("cannot be opened ({e})")))?;
        let (width, height) = dataset.raster_size();
        if dataset.raster_count() != 1 || width == 0 || height == 0 || width.max(height) > LARGEST_SIDE {
            let count = dataset.raster_count();
            return Err(wrong(&format!("has {count} bands of {width} × {height} pixels, which no cell has")));
        }
        blocks_fit(&dataset, size).map_err(|problem| wrong(&format!("cannot be read ({problem})")))?;
        Ok(Self { name: name.to_owned(), dataset, _file: file })
    }

    fn kind(&self) -> Result<GdalDataType, String> {
        Ok(self.dataset.rasterband(1).map_err(text)?.band_type())
    }
}

fn text(error: gdal::errors::GdalError) -> String {
    error.to_string()
}

/// Writes bands that lie on one grid as one GeoTIFF, each described by its name, and reads it back.
///
/// # Errors
/// When they do not lie on one grid, cannot be read, or the file cannot be written.
pub(super) fn stack(bands: &[Band], path: &Path, origin: &Origin) -> Result<()> {
    let Some(first) = bands.first() else { return Err(Error::request("A modality without bands.")) };
    let kind = first.kind().map_err(|e| origin.problem(&e))?;
    let grid = |band: &Band| {
        let system = band.dataset.spatial_ref().and_then(|srs| srs.to_wkt()).ok();
        (band.dataset.raster_size(), band.dataset.geo_transform().ok(), system)
    };
    for other in &bands[1..] {
        if grid(other) != grid(first) || other.kind().ok() != Some(kind) {
            return Err(origin.problem(&format!(
                "{} and {} in it have different grids or types, so they make no modality",
                first.name, other.name
            )));
        }
    }
    let done = match kind {
        GdalDataType::UInt8 => copy::<u8>(bands, path, "PREDICTOR=2"),
        GdalDataType::UInt16 => copy::<u16>(bands, path, "PREDICTOR=2"),
        GdalDataType::Int16 => copy::<i16>(bands, path, "PREDICTOR=2"),
        GdalDataType::UInt32 => copy::<u32>(bands, path, "PREDICTOR=2"),
        GdalDataType::Int32 => copy::<i32>(bands, path, "PREDICTOR=2"),
        GdalDataType::Float32 => copy::<f32>(bands, path, "PREDICTOR=3"),
        GdalDataType::Float64 => copy::<f64>(bands, path, "PREDICTOR=3"),
        other => return Err(origin.problem(&format!("Its rasters hold values of type {other}, which no cell has"))),
    };
    match done {
        Ok(()) => Ok(()),
        Err(Trouble::Reading(band, e)) => {
            Err(origin.problem(&format!("The raster of {band} in it cannot be read ({e}); fetch the file again")))
        }
        Err(Trouble::Writing(e)) => Err(Error::file(path, format!("It cannot be written; the disk may be full ({e})"))),
    }
}

enum Trouble {
    Reading(String, String),
    Writing(String),
}

fn copy<T: Bits>(bands: &[Band], path: &Path, predictor: &str) -> Result<(), Trouble> {
    let writing = |e: gdal::errors::GdalError| Trouble::Writing(text(e));
    let first = &bands[0].dataset;
    let size = first.raster_size();
    let options = RasterCreationOptions::from_iter(["COMPRESS=DEFLATE", predictor]);
    let driver = DriverManager::get_driver_by_name("GTiff").map_err(writing)?;
    let mut target = driver
        .create_with_band_type_with_options::<T, _>(path, size.0, size.1, bands.len(), &options)
        .map_err(writing)?;
    if let Ok(system) = first.spatial_ref() {
        target.set_spatial_ref(&system).map_err(writing)?;
    }
    if let Ok(transform) = first.geo_transform() {
        target.set_geo_transform(&transform).map_err(writing)?;
    }
    let mut written: Vec<Buffer<T>> = Vec::with_capacity(bands.len());
    for (i, band) in bands.iter().enumerate() {
        let reading = |e: gdal::errors::GdalError| Trouble::Reading(band.name.clone(), text(e));
        let source = band.dataset.rasterband(1).map_err(reading)?;
        let mut pixels = source.read_as::<T>((0, 0), size, size, None).map_err(reading)?;
        let mut into = target.rasterband(i + 1).map_err(writing)?;
        into.set_description(&band.name).map_err(writing)?;
        if let Some(no_data) = source.no_data_value() {
            into.set_no_data_value(Some(no_data)).map_err(writing)?;
        }
        into.write((0, 0), size, &mut pixels).map_err(writing)?;
        written.push(pixels);
    }
    target.close().map_err(writing)?;
    read_back(path, &written).map_err(Trouble::Writing)
}
