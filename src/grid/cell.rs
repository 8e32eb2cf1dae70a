//! The Major TOM grid of about 10 km (specification G.4).

use super::footprint::{Crs, Footprint};
use crate::error::{Error, Result};
use crate::modality::Location;

/// Earth's radius and the grid's spacing, km.
const RADIUS_KM: f64 = 6378.137;
const SPACING_KM: f64 = 10.0;
/// Rows end at this latitude.
const MAX_LATITUDE: f64 = 85.0;
/// Side of a cell's rasters in metres; they reach 340 m beyond the grid point to the south and west.
pub const CELL_RASTER_M: f64 = 10_680.0;

/// A cell, named by its row and column counted from equator and prime meridian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GridCell {
    /// Rows north of the equator; negative to the south.
    pub row: i32,
    /// Columns east of the prime meridian; negative to the west.
    pub column: i32,
}

impl std::fmt::Display for GridCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (v, h) = (if self.row < 0 { 'D' } else { 'U' }, if self.column < 0 { 'L' } else { 'R' });
        write!(f, "{}{v}_{}{h}", self.row.abs(), self.column.abs())
    }
}

impl std::str::FromStr for GridCell {
    type Err = Error;
    fn from_str(label: &str) -> Result<Self> {
        let number = |text: &str, positive: char, negative: char| -> Option<i32> {
            let digits = text.strip_suffix([positive, negative])?;
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let n: i32 = plain.then(|| digits.parse().ok())??;
            Some(if text.ends_with(negative) { -n } else { n })
        };
        let parse = || -> Option<Self> {
            let (row, column) = label.trim().split_once('_')?;
            let cell = Self { row: number(row, 'U', 'D')?, column: number(column, 'R', 'L')? };
            (cell.latitude().abs() <= MAX_LATITUDE && cell.is_on_earth()).then_some(cell)
        };
        parse().ok_or_else(|| {
            Error::request(format!("\"{label}\" is no Major TOM cell; expected a name such as 618U_30L."))
        })
    }
}

fn row_height() -> f64 {
    180.0 / (std::f64::consts::PI * RADIUS_KM / SPACING_KM).ceil()
}

/// Columns of a row, by the cosine of its southern latitude.
fn columns(row: i32) -> i32 {
    let latitude = f64::from(row) * row_height();
    (std::f64::consts::TAU * RADIUS_KM * latitude.to_radians().cos() / SPACING_KM).ceil() as i32
}

impl GridCell {
    /// The cell a place lies in; a place on a grid line belongs to the cell south or west of it. `None` beyond 85° of
    /// latitude or 180° of longitude.
    pub fn containing(at: Location) -> Option<Self> {
        let below = |value: f64, step: f64| (value / step).ceil() as i32 - 1;
        let row = below(at.lat, row_height());
        // The antimeridian has two names.
        let lon = if at.lon == -180.0 { 180.0 } else { at.lon };
        let cell = Self { row, column: below(lon, 360.0 / f64::from(columns(row))) };
        let known = at.lat.is_finite() && lon.abs() <= 180.0;
        (known && cell.latitude().abs() <= MAX_LATITUDE).then_some(cell)
    }

    /// Whether some of it lies between the antimeridian and itself, around the Earth.
    fn is_on_earth(self) -> bool {
        let [west, east] = [self.column, self.column.saturating_add(1)].map(|column| f64::from(column) * self.width());
        west < 180.0 && east > -180.0
    }

    fn latitude(self) -> f64 {
        f64::from(self.row) * row_height()
    }

    /// Width of the cell in degrees of longitude.
    fn width(self) -> f64 {
        360.0 / f64::from(columns(self.row))
    }

    /// The grid point: south-west corner.
    pub fn south_west(self) -> Location {
        Location { lat: self.latitude(), lon: f64::from(self.column) * self.width() }
    }

    /// Mid-point between grid point, next row and next column.
    pub fn centre(self) -> Location {
        let (west, south, east, north) = self.bounds();
        Location { lat: (south + north) / 2.0, lon: (west + east) / 2.0 }
    }

    /// West, south, east, north in degrees.
    pub fn bounds(self) -> (f64, f64, f64, f64) {
        let corner = self.south_west();
        (corner.lon, corner.lat, corner.lon + self.width(), corner.lat + row_height())
    }

    /// EPSG code of the UTM zone of the grid point, with the exceptions of Norway and Svalbard.
    pub fn utm_epsg(self) -> u32 {
        let Location { lat, lon } = self.south_west();
        let mut zone = (((lon + 180.0) / 6.0).floor() as i32).rem_euclid(60) + 1;
        if (56.0..64.0).contains(&lat) && (3.0..12.0).contains(&lon) {
            zone = 32;
        }
        if (72.0..84.0).contains(&lat) && (0.0..42.0).contains(&lon) {
            zone = match lon {
                l if l < 9.0 => 31,
                l if l < 21.0 => 33,
                l if l < 33.0 => 35,
                _ => 37,
            };
        }
        (if lat >= 0.0 { 32600 } else { 32700 }) + zone as u32
    }

    /// Footprint of the cell's rasters: 10 680 m, 340 m beyond the grid point.
    ///
    /// # Errors
    /// When the grid point cannot be projected.
    pub fn footprint(self) -> Result<Footprint> {
        let crs = Crs(format!("EPSG:{}", self.utm_epsg()));
        let (east, north) = crs.from_location(self.south_west())?;
        let margin = (CELL_RASTER_M - 1000.0 * SPACING_KM) / 2.0;
        Ok(Footprint {
            crs: Some(crs),
            left: east - margin,
            top: north - margin + CELL_RASTER_M,
            width_m: CELL_RASTER_M,
            height_m: CELL_RASTER_M,
        })
    }

    /// Cells that touch a rectangle of degrees (`west` < `east`), row by row, at most `limit`.
    pub fn cells_in(west: f64, south: f64, east: f64, north: f64, limit: usize) -> Vec<Self> {
        let mut cells = Vec::new();
        let (south, north) = (south.max(-MAX_LATITUDE), north.min(MAX_LATITUDE));
        let first = (south / row_height()).floor() as i32;
        for row in (first..).take_while(|&row| f64::from(row) * row_height() <= north) {
            let width = 360.0 / f64::from(columns(row));
            let from = (west.max(-180.0) / width).floor() as i32;
            for column in (from..).take_while(|&c| f64::from(c) * width <= east && f64::from(c) * width < 180.0) {
                if cells.len() == limit {
                    return cells;
                }
                cells.push(Self { row, column });
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(label: &str) -> GridCell {
        label.parse().expect("label")
    }

    #[test]
    fn cells_of_the_specification() {
        for (label, lat, n, lon) in [
            ("560U_34R", 50.29940120, 2560, 4.78125),
            ("618U_30L", 55.50898204, 2270, -4.75770925),
            ("502U_263R", 45.08982036, 2830, 33.45583039),
        ] {
            let corner = cell(label).south_west();
            assert_eq!(columns(cell(label).row), n);
            assert!((corner.lat - lat).abs() < 1e-8 && (corner.lon - lon).abs() < 1e-8, "{label}: {corner:?}");
            assert_eq!(cell(label).to_string(), label);
        }
        for (label, lat, lon) in [("560U_34R", 50.34431138, 4.85156250), ("618U_30L", 55.55389222, -4.67841410)] {
            let centre = cell(label).centre();
            assert!((centre.lat - lat).abs() < 1e-8 && (centre.lon - lon).abs() < 1e-8, "{label}: {centre:?}");
            assert_eq!(GridCell::containing(centre), Some(cell(label)));
        }
    }

    #[test]
    fn real_scenes_lie_in_the_cell_they_are_named_after() {
        let at = Location { lat: -38.831028, lon: -72.478556 };
        assert_eq!(GridCell::containing(at), Some(cell("433D_629L")));
        assert_eq!(cell("433D_629L").utm_epsg(), 32718);
    }

    #[test]
    fn every_place_has_one_cell_that_holds_it() {
        for i in 0..2000 {
            let at =
                Location { lat: -84.0 + 168.0 * (f64::from(i) * 0.618).fract(), lon: -179.9 + 0.1799 * f64::from(i) };
            let found = GridCell::containing(at).expect("within 85 degrees");
            let (west, south, east, north) = found.bounds();
            assert!(west < at.lon && at.lon <= east && south < at.lat && at.lat <= north, "{at:?} {found}");
            assert_eq!(cell(&found.to_string()), found);
        }
        assert_eq!(GridCell::containing(Location { lat: 89.0, lon: 0.0 }), None);
    }

    #[test]
    fn footprints_hold_the_cell_and_bad_labels_are_refused() {
        let footprint = cell("618U_30L").footprint().expect("footprint");
        let [nw, _, se, _] = footprint.corners().expect("corners");
        let (west, south, ..) = cell("618U_30L").bounds();
        assert!(nw.lon < west && se.lat < south && footprint.width_m == 10_680.0);
        for bad in ["", "618U", "618X_30L", "U_L", "99999U_1R", "10U_99999R", "-3U_2R", "1U_é"] {
            assert!(bad.parse::<GridCell>().is_err(), "{bad}");
        }
    }

    #[test]
    fn cells_in_a_view_touch_it_and_stop_at_the_limit() {
        let cells = GridCell::cells_in(10.0, 46.0, 11.0, 46.5, 1000);
        assert!(cells.len() > 50 && cells.len() < 120);
        for cell in &cells {
            let (west, south, east, north) = cell.bounds();
            assert!(east >= 10.0 && west <= 11.0 && north >= 46.0 && south <= 46.5);
        }
        assert_eq!(GridCell::cells_in(-180.0, -90.0, 180.0, 90.0, 77).len(), 77);
    }

    #[test]
    fn the_grid_ends_at_the_antimeridian() {
        for row in [-184, 0, 400, 840] {
            let lat = (f64::from(row) + 0.5) * row_height();
            let at = |lon| GridCell::containing(Location { lat, lon });
            let (first, last) = (at(-179.9999).expect("cell"), at(180.0).expect("cell"));
            assert_eq!(at(-180.0), Some(last));
            assert_eq!(at(180.01), None);
            for cell in [first, last] {
                assert_eq!(cell.to_string().parse::<GridCell>().expect("a name"), cell);
            }
            let beyond = [GridCell { column: first.column - 1, ..first }, GridCell { column: last.column + 1, ..last }];
            for cell in beyond {
                assert!(cell.to_string().parse::<GridCell>().is_err(), "{cell}");
            }
            let all = GridCell::cells_in(-180.0, lat, 180.0, lat, 10_000);
            assert!(all.iter().all(|cell| (first.column..=last.column).contains(&cell.column)));
        }
    }
}
