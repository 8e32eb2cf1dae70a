//! One raster as a GeoTIFF: written under a temporary name, read back, then moved to its own.

use super::read_back::{Bits, read_back};
use crate::error::{Error, Result};
use crate::files::temporary_file;
use crate::grid::Footprint;
use crate::modality::Class;
use gdal::raster::{Buffer, ColorEntry, ColorTable, GdalDataType, RasterBand, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DriverManager, Metadata};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// How pixels are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// Digital numbers with a scale: 0 is no data and stands for what is not finite, values are rounded and clamped to
    /// 1…65535.
    Scaled {
        /// Physical value of one digital number.
        scale: f64,
    },
    /// As they are.
    Float,
    /// As they are; what is not finite becomes this, the declared no-data value.
    WithHoles(f32),
    /// Colours from 0 to 255, in bands of red, green and blue.
    Picture,
    /// Class codes with their colours.
    Classes(Vec<Class>),
    /// As classes; what is not finite becomes this, the declared no-data value.
    ClassesWithHoles(Vec<Class>, u8),
}

/// What a band says of its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning {
    /// What stored numbers are multiplied by to be in `unit`; digital numbers have a scale of their own
    /// ([`Pixels::Scaled`]).
    pub scale: f64,
    /// Unit; empty if there is none.
    pub unit: String,
}

impl Default for Meaning {
    /// Numbers as they are, of no unit.
    fn default() -> Self {
        Self { scale: 1.0, unit: String::new() }
    }
}

/// Everything one GeoTIFF holds.
#[derive(Debug)]
pub struct GeoTiff<'a> {
    /// Ground it covers.
    pub footprint: &'a Footprint,
    /// Side of a pixel in metres.
    pub pixel_m: f64,
    /// Columns and rows.
    pub size: (usize, usize),
    /// Description and values of each band, row-major from the north-west.
    pub bands: Vec<(String, &'a [f32])>,
    /// How they are stored.
    pub pixels: Pixels,
    /// What they say of their numbers.
    pub meaning: Meaning,
    /// Name and text, in this order.
    pub metadata: Vec<(String, String)>,
    /// Whether it is laid out for reading parts of it over a network.
    pub cloud_optimised: bool,
}

impl GeoTiff<'_> {
    /// Writes the file; an existing one is replaced only with `overwrite`. Nothing is left behind on failure.
    ///
    /// # Errors
    /// When the folder cannot be written to, the disk is full, the file exists, or it does not read back as written.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<()> {
        super::quiet_gdal();
        if self.footprint.crs.is_some() {
            crate::grid::check_systems()?;
        }
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished = || temporary_file(dir, ".tif").map_err(|e| Error::io(dir, "write to", &e));
        let (plain, temporary) = match self.cloud_optimised {
            true => (Some(unfinished()?), unfinished()?),
            false => (None, unfinished()?),
        };
        let plain = plain.as_ref().map(|file| file.path());
        let code = |v: f32| v.round().clamp(0.0, 255.0) as u8;
        let written = match &self.pixels {
            Pixels::Scaled { .. } => self.fill(plain, temporary.path(), |v| v.round().clamp(1.0, 65_535.0) as u16),
            Pixels::Float => self.fill(plain, temporary.path(), |v| v),
            Pixels::WithHoles(none) => self.fill(plain, temporary.path(), |v| if v.is_finite() { v } else { *none }),
            Pixels::Classes(_) | Pixels::Picture => self.fill(plain, temporary.path(), code),
            Pixels::ClassesWithHoles(_, none) => {
                self.fill(plain, temporary.path(), |v| if v.is_finite() { code(v) } else { *none })
            }
        };
        written.map_err(|e| Error::file(path, format!("It cannot be written; the disk may be full ({e})")))?;
        temporary.as_file().sync_all().map_err(|e| Error::io(path, "write", &e))?;
        let moved = if overwrite { temporary.persist(path) } else { temporary.persist_noclobber(path) };
        moved.map_err(|e| match e.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(path),
            _ => Error::io(path, "write", &e.error),
        })?;
        Ok(())
    }

    /// Writes and reads back; a cloud-optimised file is a copy of a plain one, which lies at `plain`.
    fn fill<T: Bits>(&self, plain: Option<&Path>, path: &Path, convert: impl Fn(f32) -> T) -> Result<(), String> {
        let text = |e: gdal::errors::GdalError| e.to_string();
        let predictor = if T::datatype() == GdalDataType::Float32 { "PREDICTOR=3" } else { "PREDICTOR=2" };
        let coloured = self.pixels == Pixels::Picture && self.bands.len() == 3;
        let photometric = coloured.then_some("PHOTOMETRIC=RGB");
        let options = ["COMPRESS=DEFLATE", "ZLEVEL=9", predictor].into_iter().chain(photometric);
        let options = RasterCreationOptions::from_iter(options);
        let driver = DriverManager::get_driver_by_name("GTiff").map_err(text)?;
        let (width, height) = self.size;
        let mut dataset: Dataset = driver
            .create_with_band_type_with_options::<T, _>(
                plain.unwrap_or(path),
                width,
                height,
                self.bands.len(),
                &options,
            )
            .map_err(text)?;
        if let Some(crs) = &self.footprint.crs {
            dataset.set_spatial_ref(&SpatialRef::from_definition(&crs.0).map_err(text)?).map_err(text)?;
        }
        // A scene without georeference lies at the origin; one with a grid but no system keeps its grid.
        if self.footprint.crs.is_some() || (self.footprint.left, self.footprint.top) != (0.0, 0.0) {
            dataset.set_geo_transform(&self.footprint.geo_transform(self.pixel_m)).map_err(text)?;
        }
        for (key, value) in &self.metadata {
            dataset.set_metadata_item(key, value, "").map_err(text)?;
        }
        let mut expected = Vec::with_capacity(self.bands.len());
        for (i, (description, values)) in self.bands.iter().enumerate() {
            let mut band = dataset.rasterband(i + 1).map_err(text)?;
            band.set_description(description).map_err(text)?;
            let scale = if let Pixels::Scaled { scale } = self.pixels { scale } else { self.meaning.scale };
            if scale != 1.0 {
                band.set_scale(scale).and_then(|()| band.set_offset(0.0)).map_err(text)?;
            }
            set_unit(&band, &self.meaning.unit)?;
            match &self.pixels {
                Pixels::Scaled { .. } => band.set_no_data_value(Some(0.0)).map_err(text)?,
                Pixels::Classes(classes) => band.set_color_table(&color_table(classes)),
                Pixels::ClassesWithHoles(classes, none) => {
                    band.set_color_table(&color_table(classes));
                    band.set_no_data_value(Some(f64::from(*none))).map_err(text)?;
                }
                Pixels::WithHoles(none) => band.set_no_data_value(Some(f64::from(*none))).map_err(text)?,
                Pixels::Float | Pixels::Picture => {}
            }
            let mut buffer = Buffer::new(self.size, values.iter().map(|&v| convert(v)).collect());
            band.write((0, 0), self.size, &mut buffer).map_err(text)?;
            expected.push(buffer);
        }
        dataset.close().map_err(text)?;
        if let Some(plain) = plain {
            let driver = DriverManager::get_driver_by_name("COG").map_err(text)?;
            let predictor = if T::datatype() == GdalDataType::Float32 { "FLOATING_POINT" } else { "STANDARD" };
            let predictor = format!("PREDICTOR={predictor}");
            // Class codes must not be averaged.
            let resampling = if matches!(self.pixels, Pixels::Classes(_) | Pixels::ClassesWithHoles(..)) {
                "MODE"
            } else {
                "AVERAGE"
            };
            let resampling = format!("OVERVIEW_RESAMPLING={resampling}");
            let options = RasterCreationOptions::from_iter([
                "COMPRESS=DEFLATE",
                "LEVEL=9",
                predictor.as_str(),
                resampling.as_str(),
            ]);
            let source = Dataset::open(plain).map_err(text)?;
            source.create_copy(&driver, path, &options).map_err(text)?.close().map_err(text)?;
        }
        read_back(path, &expected)
    }
}

/// Says the unit of a band's numbers; nothing where there is none.
#[allow(unsafe_code)]
pub(crate) fn set_unit(band: &RasterBand, unit: &str) -> Result<(), String> {
    if unit.is_empty() {
        return Ok(());
    }
    let text = CString::new(unit).map_err(|e| e.to_string())?;
    // SAFETY: the band lives as long as its data set, which is borrowed with it; GDAL copies the text.
    let done = unsafe { gdal_sys::GDALSetRasterUnitType(band.c_rasterband(), text.as_ptr()) };
    if done == gdal_sys::CPLErr::CE_None { Ok(()) } else { Err("its unit cannot be written".into()) }
}

fn color_table(classes: &[Class]) -> ColorTable<'_> {
    let mut table = ColorTable::default();
    for class in classes {
        let [r, g, b] = class.color.map(i16::from);
        table.set_color_entry(u16::from(class.code), &ColorEntry::rgba(r, g, b, 255));
    }
    table
}

fn exists(path: &Path) -> Error {
    Error::file(
        path,
        "The file exists already; choose another folder, or ask for it to be replaced (--overwrite, or \"Replace files that exist\" in the window)",
    )
}

/// Fails when one of these files exists, before any work is done.
///
/// # Errors
/// Which one it is.
pub fn refuse_existing(paths: &[PathBuf]) -> Result<()> {
    paths.iter().find(|path| path.exists()).map_or(Ok(()), |path| Err(exists(path)))
}
