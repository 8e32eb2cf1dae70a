//! Rectangles on the ground and their way to longitude and latitude.

use crate::error::{Error, Result};
use crate::modality::Location;
use serde::{Deserialize, Serialize};

/// A coordinate reference system: `EPSG:32718` where a code is known, else WKT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Crs(pub String);

/// A rectangle on the ground, axis-parallel in its own coordinate system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Footprint {
    /// Coordinate system; `None` for a raster without georeference (then `left = top = 0`).
    pub crs: Option<Crs>,
    /// Easting of the left edge, metres.
    pub left: f64,
    /// Northing of the top edge, metres.
    pub top: f64,
    /// Width, metres.
    pub width_m: f64,
    /// Height, metres.
    pub height_m: f64,
}

impl Crs {
    /// The UTM zone and hemisphere (north: true) of EPSG:326zz and EPSG:327zz.
    fn utm(&self) -> Option<(u32, bool)> {
        let code: u32 = self.0.strip_prefix("EPSG:")?.parse().ok()?;
        let zone = code % 100;
        ((1..=60).contains(&zone) && (code / 100 == 326 || code / 100 == 327)).then_some((zone, code / 100 == 326))
    }

    /// Code or name for messages; a full WKT is too long for them.
    pub fn short(&self) -> String {
        self.0.split(',').next().unwrap_or_default().to_owned()
    }

    /// Whether it is projected, in metres that are metres on the ground (web mercator's are not).
    ///
    /// # Errors
    /// When the definition cannot be understood.
    pub fn is_metric(&self) -> Result<bool> {
        if self.utm().is_some() {
            return Ok(true);
        }
        let failed = |e: gdal::errors::GdalError| {
            Error::Compute(format!("The coordinate system {} is not understood: {e}", self.short()))
        };
        let srs = gdal::spatial_ref::SpatialRef::from_definition(&self.0).map_err(failed)?;
        let mercator = self.0 == "EPSG:3857" || self.0.contains("Pseudo-Mercator");
        Ok(srs.is_projected() && !mercator && (srs.linear_units() - 1.0).abs() < 1e-6)
    }

    /// Whether it is a zone of UTM on WGS 84.
    pub fn is_utm(&self) -> bool {
        self.utm().is_some()
    }

    /// How many metres on the ground a metre of this projected system is at a place of it: the two of east and north that
    /// differ more from 1. To a hundredth: the Earth is taken to be a sphere.
    ///
    /// # Errors
    /// When the system cannot be projected from.
    pub fn metres_of_a_metre(&self, (x, y): (f64, f64)) -> Result<f64> {
        const STEP: f64 = 1000.0;
        let mut points = [(x, y), (x + STEP, y), (x, y + STEP)];
        self.project(&mut points, true)?;
        let [here, others @ ..] = points;
        let [east, north] = others.map(|there| haversine_km(here.1, here.0, there.1, there.0) * 1000.0 / STEP);
        let off = |scale: f64| (scale - 1.0).abs();
        Ok(if off(east) > off(north) { east } else { north })
    }

    /// Projects points between this system and longitude/latitude in degrees, in place.
    fn project(&self, points: &mut [(f64, f64)], to_degrees: bool) -> Result<()> {
        let failed =
            |e: &dyn std::fmt::Display| Error::Compute(format!("Coordinates of {} cannot be projected: {e}", self.0));
        if let Some((zone, north)) = self.utm() {
            let south = if north { "" } else { " +south" };
            let utm = proj4rs::Proj::from_proj_string(&format!("+proj=utm +zone={zone}{south} +datum=WGS84 +units=m"))
                .map_err(|e| failed(&e))?;
            let degrees = proj4rs::Proj::from_proj_string("+proj=longlat +datum=WGS84").map_err(|e| failed(&e))?;
            for point in points {
                let mut at = (point.0, point.1, 0.0);
                if to_degrees {
                    proj4rs::transform::transform(&utm, &degrees, &mut at).map_err(|e| failed(&e))?;
                    *point = (at.0.to_degrees(), at.1.to_degrees());
                } else {
                    at = (at.0.to_radians(), at.1.to_radians(), 0.0);
                    proj4rs::transform::transform(&degrees, &utm, &mut at).map_err(|e| failed(&e))?;
                    *point = (at.0, at.1);
                }
            }
            return Ok(());
        }
        use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};
        let open = |definition: &str| -> Result<SpatialRef> {
            let mut srs = SpatialRef::from_definition(definition).map_err(|e| failed(&e))?;
            srs.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
            Ok(srs)
        };
        let (own, degrees) = (open(&self.0)?, open("EPSG:4326")?);
        let (from, to) = if to_degrees { (&own, &degrees) } else { (&degrees, &own) };
        let transform = CoordTransform::new(from, to).map_err(|e| failed(&e))?;
        let (mut x, mut y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        transform.transform_coords(&mut x, &mut y, &mut []).map_err(|e| failed(&e))?;
        for (point, at) in points.iter_mut().zip(x.into_iter().zip(y)) {
            *point = at;
        }
        Ok(())
    }

    /// Easting and northing of a place.
    ///
    /// # Errors
    /// When the system cannot be projected to.
    pub fn from_location(&self, at: Location) -> Result<(f64, f64)> {
        let mut points = [(at.lon, at.lat)];
        self.project(&mut points, false)?;
        Ok(points[0])
    }
}

/// Great-circle distance in km on a sphere of 6371 km; degrees (specification G.1).
pub fn haversine_km(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let h = half(lat1, lat2) + lat1.to_radians().cos() * lat2.to_radians().cos() * half(lon1, lon2);
    // Rounding may carry antipodes past 1.
    2.0 * 6371.0 * h.clamp(0.0, 1.0).sqrt().asin()
}

/// Whether coordinate systems can be looked up at all.
///
/// # Errors
/// When PROJ has no data base that fits it: programs such as conda and QGIS lead others to their own.
pub fn check_systems() -> Result<()> {
    static KNOWN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    if *KNOWN.get_or_init(|| gdal::spatial_ref::SpatialRef::from_epsg(32632).is_ok()) {
        return Ok(());
    }
    let leads = ["PROJ_DATA", "PROJ_LIB"].into_iter().filter(|name| std::env::var_os(name).is_some());
    let advice = match leads.collect::<Vec<_>>()[..] {
        [] => "install it (on Debian proj-data)".to_owned(),
        ref names => format!("{} may lead to that of another program; unset it and start anew", names.join(" and ")),
    };
    Err(Error::Compute(format!("The data base of coordinate systems (proj.db of PROJ) cannot be used; {advice}.")))
}

impl Footprint {
    /// Places of the points given as easting and northing in this footprint's system.
    fn locations<const N: usize>(&self, mut points: [(f64, f64); N]) -> Result<[Location; N]> {
        let crs = self.crs.as_ref().ok_or_else(|| Error::request("This raster has no georeference."))?;
        crs.project(&mut points, true)?;
        if points.iter().any(|(lon, lat)| !lon.is_finite() || !lat.is_finite()) {
            return Err(Error::Compute(format!("Coordinates of {} cannot be projected.", crs.0)));
        }
        Ok(points.map(|(lon, lat)| Location { lat, lon }))
    }

    /// Corners in the order north-west, north-east, south-east, south-west.
    ///
    /// # Errors
    /// When there is no georeference or it cannot be projected.
    pub fn corners(&self) -> Result<[Location; 4]> {
        let (l, t, r, b) = (self.left, self.top, self.left + self.width_m, self.top - self.height_m);
        self.locations([(l, t), (r, t), (r, b), (l, b)])
    }

    /// Centre.
    ///
    /// # Errors
    /// As [`corners`](Self::corners).
    pub fn centre(&self) -> Result<Location> {
        let [centre] = self.locations([(self.left + self.width_m / 2.0, self.top - self.height_m / 2.0)])?;
        Ok(centre)
    }

    /// The rectangle of this size whose upper-left corner lies so far east and south of this one's.
    pub fn part(&self, east_m: f64, south_m: f64, width_m: f64, height_m: f64) -> Self {
        Self { crs: self.crs.clone(), left: self.left + east_m, top: self.top - south_m, width_m, height_m }
    }

    /// Whether it shows all of the ground of another, by the coordinate system of both.
    pub fn holds(&self, other: &Self) -> bool {
        let east_m = other.left - self.left;
        let south_m = self.top - other.top;
        let within = |offset: f64, side: f64, extent: f64| (-1e-6..=extent - side + 1e-6).contains(&offset);
        self.crs.is_some()
            && self.crs == other.crs
            && within(east_m, other.width_m, self.width_m)
            && within(south_m, other.height_m, self.height_m)
    }

    /// Rows and columns of a raster with square pixels of this size.
    ///
    /// # Errors
    /// When a pixel would be cut, or there would be none.
    pub fn pixels(&self, pixel_m: f64) -> Result<(usize, usize)> {
        let count = |side_m: f64| {
            let exact = side_m / pixel_m;
            ((0.5..1e9).contains(&exact) && (exact - exact.round()).abs() < 1e-3).then_some(exact.round() as usize)
        };
        count(self.height_m).zip(count(self.width_m)).ok_or_else(|| {
            Error::request(format!(
                "An area of {} × {} m is no whole number of pixels of {pixel_m} m.",
                self.width_m, self.height_m
            ))
        })
    }

    /// The centre crop of specification B.2: the offset is rounded down to a multiple of `step_m`, the coarsest
    /// pixel among the modalities, so that it falls on a pixel border in every one.
    pub fn centre_window(&self, side_m: f64, step_m: f64) -> Self {
        self.centre_part(side_m, side_m, step_m)
    }

    /// The same for a rectangle.
    pub fn centre_part(&self, width_m: f64, height_m: f64, step_m: f64) -> Self {
        let offset = |extent: f64, side: f64| (((extent - side) / 2.0 + 1e-6) / step_m).floor().max(0.0) * step_m;
        self.part(offset(self.width_m, width_m), offset(self.height_m, height_m), width_m, height_m)
    }

    /// GDAL geotransform for square pixels of this size.
    pub fn geo_transform(&self, pixel_m: f64) -> [f64; 6] {
        [self.left, pixel_m, 0.0, self.top, 0.0, -pixel_m]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utm_corners_agree_with_gdal() {
        // Corner coordinates as gdalinfo prints them for the bundled scene 433D_629L_3_1.
        let footprint = Footprint {
            crs: Some(Crs("EPSG:32718".into())),
            left: 717789.8352053782,
            top: 5700033.330553154,
            width_m: 2160.0,
            height_m: 2160.0,
        };
        let corners = footprint.corners().expect("corners");
        let second = 1.0 / 3600.0;
        let expected = [(38.0, 49.0, 17.66, 72.0, 29.0, 28.78), (38.0, 49.0, 15.73, 72.0, 27.0, 59.29)];
        for (corner, (lat, lat_m, lat_s, lon, lon_m, lon_s)) in corners.iter().zip(expected) {
            assert!((corner.lat + lat + lat_m / 60.0 + lat_s * second).abs() < 0.01 * second, "{corner:?}");
            assert!((corner.lon + lon + lon_m / 60.0 + lon_s * second).abs() < 0.01 * second, "{corner:?}");
        }
        let same = Footprint { crs: Some(Crs("+proj=utm +zone=18 +south +datum=WGS84".into())), ..footprint };
        for (a, b) in same.corners().expect("through GDAL").iter().zip(corners) {
            assert!((a.lat - b.lat).abs() < 1e-7 && (a.lon - b.lon).abs() < 1e-7);
        }
    }

    #[test]
    fn pixels_are_counted_whole() {
        let ground = |width_m: f64, height_m: f64| Footprint { crs: None, left: 0.0, top: 0.0, width_m, height_m };
        assert_eq!(ground(1920.0, 960.0).pixels(10.0).expect("whole"), (96, 192));
        assert_eq!(ground(1920.000001, 60.0).pixels(60.0).expect("whole"), (1, 32));
        for (width, height) in [(1925.0, 60.0), (60.0, 0.0), (60.0, -60.0), (f64::NAN, 60.0), (f64::INFINITY, 60.0)] {
            assert!(ground(width, height).pixels(10.0).is_err(), "{width} × {height}");
        }
    }

    #[test]
    fn centre_windows_of_published_tiles() {
        // B.2: 4380 m in tiles of 10 680 m, 4320 m in those of 10 560 m, also when one pixel is added.
        for (extent, offset) in [(10_680.0, 4380.0), (10_560.0, 4320.0), (10_690.0, 4380.0)] {
            let tile = Footprint { crs: None, left: 0.0, top: 0.0, width_m: extent, height_m: extent };
            let window = tile.centre_window(1920.0, 60.0);
            assert_eq!((window.left, window.top), (offset, -offset));
        }
    }
}
