//! Whether a raster that was written is what it should be: a full disk shows itself here at the latest.

use gdal::Dataset;
use gdal::raster::{Buffer, GdalType};
use std::path::Path;

/// Bits, so that what is no number is equal to itself.
pub(crate) trait Bits: GdalType + Copy {
    /// Of the value.
    fn bits(self) -> u64;
}

macro_rules! bits {
    ($($kind:ty: $value:ident => $bits:expr),*) => { $(impl Bits for $kind { fn bits(self) -> u64 { let $value = self; $bits } })* };
}

bits!(u8: v => v.into(), u16: v => v.into(), u32: v => v.into(), i16: v => v as u64, i32: v => v as u64,
      f32: v => v.to_bits().into(), f64: v => v.to_bits());

/// Reads all bands of a raster and compares them, bit by bit.
///
/// # Errors
/// Why it cannot be read, or which band differs; a part of a sentence.
pub(crate) fn read_back<T: Bits>(path: &Path, written: &[Buffer<T>]) -> Result<(), String> {
    let text = |e: gdal::errors::GdalError| e.to_string();
    let back = Dataset::open(path).map_err(text)?;
    for (i, pixels) in written.iter().enumerate() {
        let size = pixels.shape();
        let read = back.rasterband(i + 1).and_then(|b| b.read_as::<T>((0, 0), size, size, None)).map_err(text)?;
        if !read.data().iter().zip(pixels.data()).all(|(a, b)| a.bits() == b.bits()) {
            return Err(format!("band {} does not read back as written", i + 1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Meaning;
    use super::super::{GeoTiff, Pixels};
    use super::*;
    use crate::grid::Footprint;

    #[test]
    fn what_is_no_number_reads_back_as_written() {
        let dir = tempfile::tempdir().expect("folder");
        let footprint = Footprint { crs: None, left: 0.0, top: 0.0, width_m: 20.0, height_m: 20.0 };
        let values = [1.0, f32::NAN, -0.0, f32::INFINITY];
        let raster = |cloud_optimised| GeoTiff {
            footprint: &footprint,
            pixel_m: 10.0,
            size: (2, 2),
            bands: vec![("DEM".into(), &values[..])],
            pixels: Pixels::Float,
            meaning: Meaning::default(),
            metadata: Vec::new(),
            cloud_optimised,
        };
        for cloud_optimised in [false, true] {
            let path = dir.path().join(format!("{cloud_optimised}.tif"));
            raster(cloud_optimised).write(&path, false).expect("written");
            let same = |data: [f32; 4]| read_back(&path, &[Buffer::new((2, 2), data.to_vec())]);
            assert_eq!(same(values), Ok(()));
            assert!(same([1.0, f32::NAN, 0.0, f32::INFINITY]).expect_err("another zero").contains("band 1"));
        }
    }
}
