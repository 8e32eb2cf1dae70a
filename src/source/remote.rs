//! Pixels of a window from rasters anywhere: only the parts that the window needs are read (GDAL's `/vsicurl`).

use super::in_memory::InMemory;
use super::pixel_grid::{PixelGrid, Resampling};
use super::signing::{FileAccess, Opening};
use super::warp::{Gaps, NOTHING, alpha, warped};
use crate::error::{Error, Fault, Result};
use crate::net::Network;
use crate::scene::{BEYOND_MEASURE, MOST_PACKED, Numbers, blocks_fit, pixels, quiet_gdal};
use crate::text::{address_without_secrets, without_secrets};
use gdal::raster::{GdalDataType, RasterBand};
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
    let (href, number) = numbered(href);
    if let Some(bytes) = access.whole_if_no_parts(network, href, stop)? {
        let file = InMemory::new(bytes).map_err(|e| Error::Compute(format!("A file cannot be held in memory: {e}")))?;
        return on_grid(&file.path().to_string_lossy(), number, grid, kind).map_err(|trouble| match trouble {
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
        with_settings(&opening, || on_grid(&opening.name, number, grid, kind)).map_err(|trouble| match trouble {
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

/// An address, and the number of the band that is meant of several (`address#2`).
fn numbered(href: &str) -> (&str, Option<usize>) {
    let split = href.rsplit_once('#').and_then(|(address, number)| Some((address, number.parse().ok()?)));
    split.map_or((href, None), |(address, number)| (address, Some(number)))
}

/// The band that is meant of a file, counted from 1: the only one, if no number says it.
fn band_of(dataset: &Dataset, number: Option<usize>) -> Result<usize, Trouble> {
    let alpha = alpha(dataset, &dataset.rasterband(1)?);
    let count = dataset.raster_count() - usize::from(alpha.is_some());
    match number {
        Some(number) if (1..=count).contains(&number) => Ok(number),
        Some(number) => Err(Trouble::Lasting(format!("has {count} bands, so there is no band {number}"))),
        None if count == 1 => Ok(1),
        None => Err(Trouble::Lasting(format!(
            "holds {count} bands, and nothing says which is meant; name it in sources.toml (asset#band)"
        ))),
    }
}

/// A band of what GDAL opens under this name, on a grid.
fn on_grid(name: &str, number: Option<usize>, grid: &PixelGrid, kind: PixelKind<'_>) -> Result<WarpedBand, Trouble> {
    // A server must not have GDAL read descriptions of other things, such as VRT files, with our keys.
    let drivers = DatasetOptions { allowed_drivers: Some(&["GTiff", "JP2OpenJPEG"]), ..Default::default() };
    let dataset = Dataset::open_ex(name, drivers)?;
    blocks_fit(&dataset, LARGEST_PIECE / MOST_PACKED)
        .map_err(|problem| Trouble::Lasting(format!("cannot be read: {problem}")))?;
    let number = band_of(&dataset, number)?;
    let meant = dataset.rasterband(number)?;
    if meant.band_type() == GdalDataType::Unknown {
        return Err(Trouble::Lasting("holds numbers of a kind that is not read, such as complex ones".into()));
    }
    let numbers = Numbers::of(&meant);
    let target =
        grid.footprint.crs.as_ref().ok_or_else(|| Trouble::Lasting("is wanted on ground that has no place".into()))?;
    let target = system(&target.0)?;
    let mut own = dataset
        .spatial_ref()
        .map_err(|_| Trouble::Lasting("has no coordinate system, so nobody knows where it lies".into()))?;
    own.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
    let transform =
        dataset.geo_transform().map_err(|_| Trouble::Lasting("does not say where on Earth it lies".into()))?;
    let same = own == target && transform[2] == 0.0 && transform[4] == 0.0;
    if same && let Some(offset) = offset(&transform, grid) {
        let values = direct(&meant, dataset.raster_size(), offset, grid)?;
        return Ok(WarpedBand { values, resampling: Resampling::None, source_m: grid.pixel_m, numbers });
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
    let alpha = alpha(&dataset, &meant);
    let seen = |resampling: Resampling, no_data: Option<f64>| -> Result<Vec<f32>, Trouble> {
        let gaps = Gaps { no_data, alpha, band: number };
        let warped = Dataset::open(warped(name, &transform, &own, grid, &target, resampling, gaps)?)?;
        let (width, height) = grid.size();
        let read = warped.rasterband(1)?.read_as::<f32>((0, 0), (width, height), (width, height), None)?;
        Ok(read.data().iter().map(|&v| if v > NOTHING && v < BEYOND_MEASURE { v } else { f32::NAN }).collect())
    };
    let mut no_data = meant.no_data_value().or(kind.nothing);
    if no_data.is_none() && !kind.codes.is_empty() && resampling != Resampling::Nearest {
        let unmixed = seen(Resampling::Nearest, None)?;
        no_data = kind.codes.iter().copied().find(|code| unmixed.contains(&(*code as f32)));
    }
    let values = seen(resampling, no_data)?;
    // Not before: what is remembered of a file may go when it is closed.
    drop(dataset);
    Ok(WarpedBand { values, resampling, source_m: pixel_m, numbers })
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
    band: &RasterBand,
    (columns, rows): (usize, usize),
    (column, row): (isize, isize),
    grid: &PixelGrid,
) -> Result<Vec<f32>, Trouble> {
    let (width, height) = grid.size();
    let mut values = vec![f32::NAN; width * height];
    let (left, top) = (column.max(0), row.max(0));
    let right = column.saturating_add(width as isize).min(columns as isize);
    let bottom = row.saturating_add(height as isize).min(rows as isize);
    if right > left && bottom > top {
        let size = ((right - left) as usize, (bottom - top) as usize);
        let read = pixels(band, (left, top), size)?;
        for (i, line) in read.chunks(size.0).enumerate() {
            let begin = ((top - row) as usize + i) * width + (left - column) as usize;
            values[begin..begin + size.0].copy_from_slice(line);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Crs, Footprint};
    use crate::scene::{GeoTiff, Meaning, Pixels};
    use gdal::raster::Buffer;
    use std::path::Path;

    const VALUES: PixelKind<'_> = PixelKind { classes: false, nothing: None, codes: &[] };

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
        let layer = on_grid(&path.display().to_string(), None, &grid, VALUES).expect("layer");
        assert_eq!(layer.resampling, Resampling::None);
        assert_eq!(layer.values.len(), 24 * 24);
        assert!(layer.values[..6].iter().all(|v| v.is_nan()), "west of the source is nothing");
        assert!((layer.values[6] - 5.125).abs() < 1e-3, "{}", layer.values[6]);
        let away = PixelGrid { footprint: ground(32632, 700_020.0, 5_199_900.0, 240.0, 240.0), pixel_m: 10.0 };
        assert!(
            on_grid(&path.display().to_string(), None, &away, VALUES).expect("layer").values.iter().all(|v| v.is_nan())
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
        let layer = on_grid(&name(&degrees), None, &grid, VALUES).expect("layer");
        assert_eq!(layer.resampling, Resampling::Bilinear);
        // Pixel 32, 32 begins at the centre: its middle is 15 m east and south of it.
        let expected = 10.1 * 1000.0 + 46.9 * 100.0 + 15.0 / 76_050.0 * 1000.0 - 15.0 / 111_180.0 * 100.0;
        let found = f64::from(layer.values[32 * 64 + 32]);
        assert!((found - expected).abs() < 0.02, "{found} for {expected}");
        // Finer pixels are averaged, classes are not, and another zone is another grid.
        let fine = dir.path().join("fine.tif");
        let whole = ground(32632, x - 1200.0, y + 1200.0, 2400.0, 2400.0);
        plane(&fine, &whole, 10.0, (240, 240), |x, _| if ((x / 10.0) as i64) % 2 == 0 { 0.0 } else { 2.0 });
        let averaged = on_grid(&name(&fine), None, &grid, VALUES).expect("layer");
        assert_eq!(averaged.resampling, Resampling::Average);
        assert!(averaged.values.iter().all(|v| (0.5..=1.5).contains(v)));
        let classes =
            on_grid(&name(&fine), None, &grid, PixelKind { classes: true, nothing: None, codes: &[] }).expect("layer");
        assert_eq!(classes.resampling, Resampling::Nearest);
        assert!(classes.values.iter().all(|v| *v == 0.0 || *v == 2.0));
        let (x, y) = Crs("EPSG:32633".into()).from_location(centre).expect("projected");
        let zone = PixelGrid { footprint: ground(32633, x - 300.0, y + 300.0, 600.0, 600.0), pixel_m: 10.0 };
        let turned = on_grid(&name(&fine), None, &zone, VALUES).expect("layer");
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
            let layer = on_grid(&path.display().to_string(), None, &grid, VALUES).expect("layer");
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
        band.open_mask_band()
            .expect("mask")
            .write((0, 0), (60, 60), &mut Buffer::new((60, 60), west(255)))
            .expect("mask");
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
                let layer = on_grid(&path.display().to_string(), None, &grid, VALUES).expect("layer");
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
        for (number, value) in [(1, 7i16), (2, 5000)] {
            let mut band = file.rasterband(number).expect("band");
            band.set_scale(0.1).expect("scale");
            band.write((0, 0), (10, 10), &mut Buffer::new((10, 10), vec![value; 100])).expect("pixels");
        }
        file.close().expect("written");
        let crs = |code: &str| Some(Crs(code.into()));
        let own =
            Footprint { crs: crs("EPSG:32632"), left: 600_000.0, top: 5_000_000.0, width_m: 120.0, height_m: 120.0 };
        // On its own grid, and on another, where it is warped.
        for left in [600_000.0, 600_007.0] {
            let grid = PixelGrid { footprint: Footprint { left, ..own.clone() }, pixel_m: 30.0 };
            let read = |number| on_grid(&path.to_string_lossy(), number, &grid, VALUES);
            let second = read(Some(2)).map_err(|_| ()).expect("the second band");
            assert_eq!(second.values, vec![5000.0; 16]);
            assert_eq!(second.numbers.said(), (0.1, 0.0, ""));
            for (number, why) in [(None, "holds 2 bands"), (Some(3), "no band 3")] {
                match read(number) {
                    Err(Trouble::Lasting(what)) => assert!(what.contains(why), "{what}"),
                    _ => panic!("{number:?} is no band"),
                }
            }
        }
        assert_eq!(numbered("https://h/a.tif#2"), ("https://h/a.tif", Some(2)));
        assert_eq!(numbered("https://h/a#b.tif"), ("https://h/a#b.tif", None));
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
        let read = |codes| on_grid(&path.to_string_lossy(), None, &grid, PixelKind { codes, ..VALUES });
        let mixed = read(&[]).map_err(|_| ()).expect("layer");
        assert!(mixed.values.iter().any(|v| *v > -9000.0 && *v < 400.0), "what would be wrong");
        let layer = read(&codes).map_err(|_| ()).expect("layer");
        assert!(layer.values.iter().all(|v| v.is_nan() || *v == 500.0), "{:?}", layer.values);
        assert!(layer.values.iter().filter(|v| v.is_nan()).count() >= 18 * 8);
    }
}
