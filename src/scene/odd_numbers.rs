//! Kinds of numbers that a file has and the library that reads it gives as others.

use gdal::Metadata;
use gdal::raster::{GdalDataType, RasterBand};

/// Where half floats are stored, a declared no-data value and the pixels that mean it may be one step apart: one part in so
/// many.
const HALF_STEP: f32 = 1024.0;

/// Whether bytes of a band are signed. GDAL before 3.7 has no such type: it gives bytes from 0 to 255 and says so beside them.
pub(crate) fn is_signed_byte(band: &RasterBand) -> bool {
    let said = band.metadata_item("PIXELTYPE", "IMAGE_STRUCTURE");
    band.band_type() == GdalDataType::UInt8 && said.is_some_and(|said| said == "SIGNEDBYTE")
}

/// Bytes that were given as 0 to 255, as what they are.
pub(crate) fn as_signed(values: &mut [f32]) {
    values.iter_mut().filter(|v| **v > 127.0).for_each(|v| *v -= 256.0);
}

/// Whether a band's numbers are floats of 16 bits. Its pixels are rounded to them (9999 to 9992 or 10000), the declared no-data
/// value is not.
pub(crate) fn is_half(band: &RasterBand) -> bool {
    let bits = band.metadata_item("NBITS", "IMAGE_STRUCTURE");
    let name = band.band_type().name();
    name == "Float16" || name == "Float32" && bits.is_some_and(|bits| bits == "16")
}

/// Whether a pixel is one of those that a declared no-data value means, in a band of half floats.
pub(crate) fn rounded_to(value: f32, declared: f32) -> bool {
    (value - declared).abs() <= declared.abs() / HALF_STEP
}

#[cfg(test)]
mod tests {
    use super::super::raster_file::{RasterFile, pixels};
    use gdal::raster::{Buffer, RasterCreationOptions};
    use gdal::{Dataset, DriverManager};

    /// A raster of 16 × 1 pixels made with these options: four that are missing, and others.
    fn raster<T: gdal::raster::GdalType + Copy>(options: [&str; 2], nothing: f64, [missing, other]: [T; 2]) -> Dataset {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("heights.tif");
        let driver = DriverManager::get_driver_by_name("GTiff").expect("driver");
        let options = RasterCreationOptions::from_iter(options);
        let made = driver.create_with_band_type_with_options::<T, _>(&path, 16, 1, 1, &options).expect("raster");
        let mut band = made.rasterband(1).expect("band");
        band.set_no_data_value(Some(nothing)).expect("no data");
        let values = (0..16).map(|i| if i < 4 { missing } else { other }).collect();
        band.write((0, 0), (16, 1), &mut Buffer::new((16, 1), values)).expect("pixels");
        made.close().expect("written");
        let stored = RasterFile::open(&path).expect("file");
        assert!(!stored.byte);
        Dataset::open(&path).expect("opened")
    }

    #[test]
    fn signed_bytes_are_what_they_are() {
        let made = raster::<u8>(["PIXELTYPE=SIGNEDBYTE", "COMPRESS=DEFLATE"], -128.0, [128, 207]);
        let read = pixels(&made, 1, (0, 0), (16, 1)).expect("pixels");
        assert!(read[..4].iter().all(|v| v.is_nan()), "{read:?}");
        assert!(read[4..].iter().all(|v| *v == -49.0), "{read:?}");
    }

    #[test]
    fn no_data_of_half_floats_is_found_where_they_round_it_to() {
        let made = raster::<f32>(["NBITS=16", "COMPRESS=DEFLATE"], -9999.0, [-9999.0, 346.0]);
        let read = pixels(&made, 1, (0, 0), (16, 1)).expect("pixels");
        assert!(read[..4].iter().all(|v| v.is_nan()), "{read:?}");
        assert!(read[4..].iter().all(|v| *v == 346.0), "{read:?}");
        // In full floats one step of half floats is another number.
        let made = raster::<f32>(["TILED=NO", "COMPRESS=DEFLATE"], -9999.0, [-9999.0, -9992.0]);
        let read = pixels(&made, 1, (0, 0), (16, 1)).expect("pixels");
        assert!(read[..4].iter().all(|v| v.is_nan()) && read[4..].iter().all(|v| *v == -9992.0), "{read:?}");
    }
}
