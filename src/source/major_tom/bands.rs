//! Blobs of single bands become one GeoTIFF per modality, pixels and grid unchanged.

use super::super::in_memory::InMemory;
use super::Origin;
use crate::error::{Error, Result};
use crate::modality::Group;
use crate::scene::{Bits, Numbers, blocks_fit, is_signed_byte, quiet_gdal, read_back, set_unit};
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

    /// Whether it says that the offset of newer Sentinel-2 baselines is to be taken off, as readers of it do.
    pub(super) fn moves(&self, m: &Group) -> bool {
        let numbers = self.dataset.rasterband(1).map(|band| Numbers::of(&band));
        numbers.is_ok_and(|numbers| numbers.conversion(m).is_ok_and(|conversion| conversion.moves()))
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
    let signed = |band: &Band| band.dataset.rasterband(1).is_ok_and(|band| is_signed_byte(&band));
    if let Some(band) = bands.iter().find(|band| signed(band)) {
        return Err(origin.problem(&format!("{} in it holds signed bytes, which are not read from here", band.name)));
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
    let mut valid = vec![true; size.0 * size.1];
    for (i, band) in bands.iter().enumerate() {
        let reading = |e: gdal::errors::GdalError| Trouble::Reading(band.name.clone(), text(e));
        let source = band.dataset.rasterband(1).map_err(reading)?;
        let mut pixels = source.read_as::<T>((0, 0), size, size, None).map_err(reading)?;
        let mut into = target.rasterband(i + 1).map_err(writing)?;
        into.set_description(&band.name).map_err(writing)?;
        if let Some(no_data) = source.no_data_value() {
            into.set_no_data_value(Some(no_data)).map_err(writing)?;
        }
        for said in [source.scale().map(|v| into.set_scale(v)), source.offset().map(|v| into.set_offset(v))] {
            said.transpose().map_err(writing)?;
        }
        set_unit(&into, &source.unit()).map_err(Trouble::Writing)?;
        if source.mask_flags().map_err(reading)?.is_per_dataset() {
            let mask = source.open_mask_band().and_then(|mask| mask.read_as::<u8>((0, 0), size, size, None));
            let mask = mask.map_err(reading)?;
            valid.iter_mut().zip(mask.data()).for_each(|(valid, mask)| *valid &= *mask > 0);
        }
        into.write((0, 0), size, &mut pixels).map_err(writing)?;
        written.push(pixels);
    }
    if valid.contains(&false) {
        let mut first = target.rasterband(1).map_err(writing)?;
        first.create_mask_band(true).map_err(writing)?;
        let mut mask = Buffer::new(size, valid.iter().map(|valid| if *valid { 255u8 } else { 0 }).collect());
        first.open_mask_band().and_then(|mut own| own.write((0, 0), size, &mut mask)).map_err(writing)?;
    }
    target.close().map_err(writing)?;
    read_back(path, &written).map_err(Trouble::Writing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob of 4 × 4 heights with scale, unit and, if wanted, a mask that hides the first pixel.
    fn blob(masked: bool) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("blob.tif");
        let driver = DriverManager::get_driver_by_name("GTiff").expect("driver");
        let mut file = driver.create_with_band_type::<i16, _>(&path, 4, 4, 1).expect("file");
        file.set_geo_transform(&[0.0, 30.0, 0.0, 0.0, 0.0, -30.0]).expect("transform");
        let mut band = file.rasterband(1).expect("band");
        band.set_scale(0.1).expect("scale");
        set_unit(&band, "m").expect("unit");
        band.write((0, 0), (4, 4), &mut Buffer::new((4, 4), (100i16..116).collect())).expect("pixels");
        gdal::config::set_thread_local_config_option("GDAL_TIFF_INTERNAL_MASK", "YES").expect("option");
        if masked {
            band.create_mask_band(true).expect("mask");
            let mut mask = Buffer::new((4, 4), (0..16).map(|i| if i == 0 { 0u8 } else { 255 }).collect());
            band.open_mask_band().and_then(|mut own| own.write((0, 0), (4, 4), &mut mask)).expect("mask");
        }
        gdal::config::clear_thread_local_config_option("GDAL_TIFF_INTERNAL_MASK").expect("option");
        file.close().expect("written");
        std::fs::read(path).expect("bytes")
    }

    #[test]
    fn what_blobs_say_of_their_numbers_and_of_what_is_valid_is_kept() {
        let dir = tempfile::tempdir().expect("folder");
        let origin = Origin::of("cells.parquet");
        let two = |masked: [bool; 2]| {
            let open = |(name, masked): (&str, bool)| Band::open(name, blob(masked), &origin).expect("band");
            [("a", masked[0]), ("b", masked[1])].map(open)
        };
        for (number, masked) in [[false, false], [false, true], [true, true]].into_iter().enumerate() {
            let path = dir.path().join(format!("{number}.tif"));
            stack(&two(masked), &path, &origin).expect("written");
            let file = Dataset::open(&path).expect("raster");
            for k in 1..=2 {
                let band = file.rasterband(k).expect("band");
                assert_eq!((band.scale(), &*band.unit()), (Some(0.1), "m"));
                let values = crate::scene::pixels(&file, k, (0, 0), (4, 4)).expect("pixels");
                assert_eq!(values[0].is_nan(), masked.contains(&true), "{masked:?}");
                assert_eq!(values[1..], (101u8..116).map(f32::from).collect::<Vec<_>>());
            }
        }
    }
}
