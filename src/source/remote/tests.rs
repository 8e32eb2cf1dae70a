//! Files on a grid: pixels, places, gaps, bands.

use super::*;
use crate::grid::{Crs, Footprint};
use crate::scene::{GeoTiff, Meaning, Pixels};
use gdal::Metadata;
use gdal::raster::{Buffer, ColorInterpretation};
use std::path::Path;

const VALUES: PixelKind<'_> = PixelKind { classes: false, nothing: None, codes: &[] };

/// The only band of a file.
fn any() -> Meant<'static> {
    meant("").1
}

fn ground(epsg: u32, left: f64, top: f64, width_m: f64, height_m: f64) -> Footprint {
    Footprint { crs: Some(Crs(format!("EPSG:{epsg}"))), left, top, width_m, height_m }
}

/// A raster whose values are a plane of easting and northing in metres, so that every resampling is known.
fn plane(path: &Path, footprint: &Footprint, pixel: f64, size: (usize, usize), value: impl Fn(f64, f64) -> f32) {
    let values: Vec<f32> = (0..size.1)
        .flat_map(|row| (0..size.0).map(move |column| (row, column)))
        .map(|(row, column)| {
            value(footprint.left + (column as f64 + 0.5) * pixel, footprint.top - (row as f64 + 0.5) * pixel)
        })
        .collect();
    let bands = vec![("DEM".to_owned(), values.as_slice())];
    let file = GeoTiff {
        footprint,
        pixel_m: pixel,
        size,
        bands,
        pixels: Pixels::WithHoles(-32768.0),
        meaning: Meaning::default(),
        metadata: Vec::new(),
        cloud_optimised: false,
    };
    file.write(path, true).expect("raster");
}

#[test]
fn the_same_grid_is_read_as_it_is_also_at_an_edge() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("a.tif");
    let whole = ground(32632, 600_000.0, 5_200_020.0, 600.0, 600.0);
    plane(&path, &whole, 10.0, (60, 60), |x, y| (x - 600_000.0 + (5_200_020.0 - y) / 1000.0) as f32);
    let grid = PixelGrid { footprint: ground(32632, 599_940.0, 5_199_900.0, 240.0, 240.0), pixel_m: 10.0 };
    let layer = on_grid(&path.display().to_string(), &any(), &grid, VALUES).expect("layer");
    assert_eq!(layer.resampling, Resampling::None);
    assert_eq!(layer.values.len(), 24 * 24);
    assert!(layer.values[..6].iter().all(|v| v.is_nan()), "west of the source is nothing");
    assert!((layer.values[6] - 5.125).abs() < 1e-3, "{}", layer.values[6]);
    let away = PixelGrid { footprint: ground(32632, 700_020.0, 5_199_900.0, 240.0, 240.0), pixel_m: 10.0 };
    assert!(
        on_grid(&path.display().to_string(), &any(), &away, VALUES).expect("layer").values.iter().all(|v| v.is_nan())
    );
}

#[test]
fn other_systems_and_pixels_are_warped_to_the_true_place() {
    let dir = tempfile::tempdir().expect("folder");
    let name = |path: &Path| path.display().to_string();
    // A plane of longitude and latitude in degrees, as elevation comes.
    let degrees = dir.path().join("degrees.tif");
    let second = 1.0 / 3600.0;
    let whole = ground(4326, 10.0, 47.0, 720.0 * second, 720.0 * second);
    plane(&degrees, &whole, second, (720, 720), |lon, lat| (lon * 1000.0 + lat * 100.0) as f32);
    let centre = crate::modality::Location { lat: 46.9, lon: 10.1 };
    let crs = Crs("EPSG:32632".into());
    let (x, y) = crs.from_location(centre).expect("projected");
    let grid = PixelGrid { footprint: ground(32632, x - 960.0, y + 960.0, 1920.0, 1920.0), pixel_m: 30.0 };
    let layer = on_grid(&name(&degrees), &any(), &grid, VALUES).expect("layer");
    assert_eq!(layer.resampling, Resampling::Bilinear);
    // Pixel 32, 32 begins at the centre: its middle is 15 m east and south of it.
    let expected = 10.1 * 1000.0 + 46.9 * 100.0 + 15.0 / 76_050.0 * 1000.0 - 15.0 / 111_180.0 * 100.0;
    let found = f64::from(layer.values[32 * 64 + 32]);
    assert!((found - expected).abs() < 0.02, "{found} for {expected}");
    // Finer pixels are averaged, classes are not, and another zone is another grid.
    let fine = dir.path().join("fine.tif");
    let whole = ground(32632, x - 1200.0, y + 1200.0, 2400.0, 2400.0);
    plane(&fine, &whole, 10.0, (240, 240), |x, _| if ((x / 10.0) as i64) % 2 == 0 { 0.0 } else { 2.0 });
    let averaged = on_grid(&name(&fine), &any(), &grid, VALUES).expect("layer");
    assert_eq!(averaged.resampling, Resampling::Average);
    assert!(averaged.values.iter().all(|v| (0.5..=1.5).contains(v)));
    let classes =
        on_grid(&name(&fine), &any(), &grid, PixelKind { classes: true, nothing: None, codes: &[] }).expect("layer");
    assert_eq!(classes.resampling, Resampling::Nearest);
    assert!(classes.values.iter().all(|v| *v == 0.0 || *v == 2.0));
    let (x, y) = Crs("EPSG:32633".into()).from_location(centre).expect("projected");
    let zone = PixelGrid { footprint: ground(32633, x - 300.0, y + 300.0, 600.0, 600.0), pixel_m: 10.0 };
    let turned = on_grid(&name(&fine), &any(), &zone, VALUES).expect("layer");
    assert_eq!(turned.resampling, Resampling::Bilinear);
    assert!(turned.values.iter().all(|v| (0.0..=2.0).contains(v)));
}

#[test]
fn what_is_missing_stays_missing() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("a.tif");
    let whole = ground(32632, 600_000.0, 5_200_020.0, 600.0, 600.0);
    plane(&path, &whole, 10.0, (60, 60), |x, _| if x < 600_300.0 { f32::NAN } else { 5.0 });
    for (pixel_m, resampling) in [(10.0, Resampling::None), (20.0, Resampling::Average)] {
        let grid = PixelGrid { footprint: ground(32632, 600_000.0, 5_200_020.0, 600.0, 600.0), pixel_m };
        let layer = on_grid(&path.display().to_string(), &any(), &grid, VALUES).expect("layer");
        assert_eq!(layer.resampling, resampling);
        let missing = layer.values.iter().filter(|v| v.is_nan()).count();
        assert_eq!(missing * 2, layer.values.len());
        assert!(layer.values.iter().all(|v| v.is_nan() || *v == 5.0));
    }
}

#[test]
fn masks_and_transparent_pixels_are_missing_also_when_warped() {
    let dir = tempfile::tempdir().expect("folder");
    let whole = ground(32632, 600_000.0, 5_200_020.0, 600.0, 600.0);
    let west = |beside: u8| -> Vec<u8> { (0..3600).map(|i| if i % 60 < 30 { 0 } else { beside }).collect() };
    let masked = dir.path().join("masked.tif");
    plane(&masked, &whole, 10.0, (60, 60), |_, _| 5.0);
    let options = DatasetOptions { open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE, ..DatasetOptions::default() };
    let file = Dataset::open_ex(&masked, options).expect("raster");
    let mut band = file.rasterband(1).expect("band");
    band.create_mask_band(true).expect("mask");
    band.open_mask_band().expect("mask").write((0, 0), (60, 60), &mut Buffer::new((60, 60), west(255))).expect("mask");
    file.close().expect("written");
    let clear = dir.path().join("clear.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let options = gdal::raster::RasterCreationOptions::from_iter(["ALPHA=YES"]);
    let mut file = driver.create_with_band_type_with_options::<u8, _>(&clear, 60, 60, 2, &options).expect("file");
    file.set_spatial_ref(&SpatialRef::from_epsg(32632).expect("system")).expect("system");
    file.set_geo_transform(&whole.geo_transform(10.0)).expect("place");
    for (number, values) in [(1, vec![5; 3600]), (2, west(255))] {
        let mut band = file.rasterband(number).expect("band");
        band.write((0, 0), (60, 60), &mut Buffer::new((60, 60), values)).expect("pixels");
    }
    file.close().expect("written");
    for path in [masked, clear] {
        for pixel_m in [10.0, 20.0] {
            let grid = PixelGrid { footprint: whole.clone(), pixel_m };
            let layer = on_grid(&path.display().to_string(), &any(), &grid, VALUES).expect("layer");
            let columns = grid.size().0;
            for (i, v) in layer.values.iter().enumerate() {
                let missing = i % columns < columns / 2;
                assert!(v.is_nan() == missing && (missing || *v == 5.0), "{} {pixel_m} {i} {v}", path.display());
            }
        }
    }
}

#[test]
fn one_band_of_several_is_read_where_it_is_named_and_says_what_its_numbers_are() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("several.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let mut file = driver.create_with_band_type::<i16, _>(&path, 10, 10, 2).expect("file");
    file.set_geo_transform(&[600_000.0, 30.0, 0.0, 5_000_000.0, 0.0, -30.0]).expect("transform");
    file.set_spatial_ref(&SpatialRef::from_epsg(32632).expect("system")).expect("system");
    for (number, value, name) in [(1, 7i16, "low"), (2, 5000, "high")] {
        let mut band = file.rasterband(number).expect("band");
        band.set_scale(0.1).and_then(|()| band.set_description(name)).expect("scale and name");
        band.write((0, 0), (10, 10), &mut Buffer::new((10, 10), vec![value; 100])).expect("pixels");
    }
    file.close().expect("written");
    let crs = |code: &str| Some(Crs(code.into()));
    let own = Footprint { crs: crs("EPSG:32632"), left: 600_000.0, top: 5_000_000.0, width_m: 120.0, height_m: 120.0 };
    // On its own grid, and on another, where it is warped.
    for left in [600_000.0, 600_007.0] {
        let grid = PixelGrid { footprint: Footprint { left, ..own.clone() }, pixel_m: 30.0 };
        let read = |band| on_grid(&path.to_string_lossy(), &meant(band).1, &grid, VALUES);
        let second = read("#2").map_err(|_| ()).expect("the second band");
        assert_eq!(second.values, vec![5000.0; 16]);
        assert_eq!(second.numbers.said(), (0.1, 0.0, ""));
        // By its name in the file, or by a name that the file does not know.
        for band in ["#:high", "#:other|HIGH", "#2:high", "#2:other"] {
            assert_eq!(read(band).map_err(|_| band).expect("the second band").values, second.values, "{band}");
        }
        for (band, why) in [
            ("", "holds 2 bands"),
            ("#3", "no band 3"),
            ("#:other", "no band called other"),
            ("#1:high", "calls its band 1 low, and its band 2 high"),
        ] {
            match read(band) {
                Err(Trouble::Lasting(what)) => assert!(what.contains(why), "{what}"),
                _ => panic!("{band:?} is no band"),
            }
        }
    }
}

#[test]
fn what_is_transparent_is_nothing_whatever_kind_its_band_is_of() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("alpha.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let mut file = driver.create_with_band_type::<f32, _>(&path, 20, 20, 3).expect("file");
    file.set_geo_transform(&[600_000.0, 30.0, 0.0, 5_000_000.0, 0.0, -30.0]).expect("transform");
    file.set_spatial_ref(&SpatialRef::from_epsg(32632).expect("system")).expect("system");
    for number in 1..=3 {
        let value = |i: usize| if number < 3 { number as f32 } else { f32::from(u8::from(i % 20 >= 10)) };
        let mut band = file.rasterband(number).expect("band");
        let kind = if number == 3 { ColorInterpretation::AlphaBand } else { ColorInterpretation::Undefined };
        band.set_color_interpretation(kind).expect("kind");
        band.write((0, 0), (20, 20), &mut Buffer::new((20, 20), (0..400).map(value).collect())).expect("pixels");
    }
    file.close().expect("written");
    for left in [600_000.0, 600_015.0] {
        let grid = PixelGrid { footprint: ground(32632, left, 5_000_000.0, 540.0, 540.0), pixel_m: 30.0 };
        let layer = on_grid(&path.to_string_lossy(), &meant("#2").1, &grid, VALUES).map_err(|_| ()).expect("layer");
        assert!(layer.values.chunks(18).all(|row| row[..9].iter().all(|v| v.is_nan())), "{left}");
        assert!(layer.values.chunks(18).all(|row| row[10..].iter().all(|v| *v == 2.0)), "{left}");
    }
}

#[test]
fn what_means_nothing_is_not_mixed_with_heights_though_the_file_does_not_say_so() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("heights.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let mut file = driver.create_with_band_type::<f32, _>(&path, 20, 20, 1).expect("file");
    file.set_geo_transform(&[600_000.0, 30.0, 0.0, 5_000_000.0, 0.0, -30.0]).expect("transform");
    file.set_spatial_ref(&SpatialRef::from_epsg(32632).expect("system")).expect("system");
    let values = (0..400).map(|i| if i % 20 < 10 { -9999.0 } else { 500.0 }).collect();
    file.rasterband(1).expect("band").write((0, 0), (20, 20), &mut Buffer::new((20, 20), values)).expect("pixels");
    file.close().expect("written");
    // Half a pixel beside the file's grid.
    let grid = PixelGrid { footprint: ground(32632, 600_015.0, 4_999_985.0, 540.0, 540.0), pixel_m: 30.0 };
    let codes = [-9999.0, -32767.0];
    let read = |codes| on_grid(&path.to_string_lossy(), &any(), &grid, PixelKind { codes, ..VALUES });
    let mixed = read(&[]).map_err(|_| ()).expect("layer");
    assert!(mixed.values.iter().any(|v| *v > -9000.0 && *v < 400.0), "what would be wrong");
    let layer = read(&codes).map_err(|_| ()).expect("layer");
    assert!(layer.values.iter().all(|v| v.is_nan() || *v == 500.0), "{:?}", layer.values);
    assert!(layer.values.iter().filter(|v| v.is_nan()).count() >= 18 * 8);
}

#[test]
fn a_raster_that_reaches_beyond_180_degrees_is_met_on_the_other_side() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("beyond.tif");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let mut file = driver.create_with_band_type::<f32, _>(&path, 1000, 1000, 1).expect("file");
    file.set_geo_transform(&[179.5, 0.001, 0.0, 10.5, 0.0, -0.001]).expect("transform");
    file.set_spatial_ref(&SpatialRef::from_epsg(4326).expect("system")).expect("system");
    let values = vec![70.0f32; 1_000_000];
    file.rasterband(1)
        .expect("band")
        .write((0, 0), (1000, 1000), &mut Buffer::new((1000, 1000), values))
        .expect("pixels");
    file.close().expect("written");
    let crs = Crs("EPSG:32601".into());
    for lon in [-179.8, 179.8] {
        let (east, north) = crs.from_location(crate::modality::Location { lat: 10.0, lon }).expect("place");
        let grid = PixelGrid { footprint: ground(32601, east, north, 600.0, 600.0), pixel_m: 30.0 };
        let layer = on_grid(&path.to_string_lossy(), &any(), &grid, VALUES).map_err(|_| ()).expect("layer");
        assert!(layer.values.iter().all(|v| (*v - 70.0).abs() < 1e-3), "{lon}");
    }
}

#[test]
fn complex_numbers_are_refused_for_what_they_are() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("complex.tif");
    let text = "<VRTDataset rasterXSize=\"8\" rasterYSize=\"8\"><SRS>EPSG:32632</SRS><GeoTransform>600000,10,0,5200020,0,-10</GeoTransform><VRTRasterBand dataType=\"CFloat32\" band=\"1\"/></VRTDataset>";
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let source = Dataset::open(text).expect("description");
    source.create_copy(&driver, &path, &Default::default()).and_then(Dataset::close).expect("raster");
    for pixel_m in [10.0, 20.0] {
        let grid = PixelGrid { footprint: ground(32632, 600_000.0, 5_200_020.0, 80.0, 80.0), pixel_m };
        let trouble = on_grid(&path.display().to_string(), &any(), &grid, VALUES).expect_err("complex");
        let Trouble::Lasting(what) = trouble else { panic!("{trouble:?}") };
        assert!(what.contains("complex"), "{what}");
    }
}
