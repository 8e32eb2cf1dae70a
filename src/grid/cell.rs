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
            let known = cell.row.abs() <= rows() / 2 && cell.latitude().abs() <= MAX_LATITUDE;
            (known && cell.is_on_earth()).then_some(cell)
        };
        parse().ok_or_else(|| {
            Error::request(format!("\"{label}\" is no Major TOM cell; expected a name such as 618U_30L."))
        })
    }
}

/// Rows from pole to pole.
fn rows() -> i32 {
    (std::f64::consts::PI * RADIUS_KM / SPACING_KM).ceil() as i32
}

fn row_height() -> f64 {
    180.0 / f64::from(rows())
}

/// Where the grid line of this number lies on a circle of so many parts, in degrees from the middle one. The numbers are
/// those that data sets were made with, to the last bit, for a last bit decides which UTM zone a grid point lies in: lines
/// are counted from the other end of the circle and turned back by half of it.
fn line(number: i32, parts: i32, circle: f64) -> f64 {
    let half = circle / 2.0;
    if number < 0 {
        from_end(parts + number, parts, circle) - half
    } else {
        from_end(number, parts, circle) + circle - half
    }
}

/// The same counted from the other end.
fn from_end(number: i32, parts: i32, circle: f64) -> f64 {
    f64::from(number) * (circle / f64::from(parts)) - circle / 2.0
}

/// Columns of a row, by the cosine of its southern latitude.
fn columns(row: i32) -> i32 {
    let latitude = line(row, rows(), 180.0);
    let radius = RADIUS_KM * (latitude * std::f64::consts::PI / 180.0).cos();
    (std::f64::consts::TAU * radius / SPACING_KM).ceil() as i32
}

/// First and last column of a row. With an odd number of columns the last reaches beyond the antimeridian, to where the
/// first begins; with an even one a last bit decides whether the line at the antimeridian begins the row or ends it.
fn ends(row: i32) -> [i32; 2] {
    let columns = columns(row);
    let half = columns / 2;
    if columns % 2 == 1 || from_end(half, columns, 360.0) < 0.0 {
        [half + 1 - columns, half]
    } else {
        [-half, half - 1]
    }
}

impl GridCell {
    /// The cell a place lies in; a place on a grid line belongs to the cell south or west of it. `None` beyond 85° of
    /// latitude or 180° of longitude.
    pub fn containing(at: Location) -> Option<Self> {
        // A quotient may be off by its last bit: the grid line itself decides.
        let below = |value: f64, parts: i32, circle: f64| -> i32 {
            let near = (value / circle * f64::from(parts)).ceil() as i32 - 1;
            (near - 1..=near + 1).rev().find(|number| line(*number, parts, circle) < value).unwrap_or(near - 1)
        };
        if !at.lat.is_finite() || at.lat.abs() > 90.0 || !(-180.0..=180.0).contains(&at.lon) {
            return None;
        }
        let row = below(at.lat, rows(), 180.0);
        let [first, last] = ends(row);
        let column = below(at.lon, columns(row), 360.0);
        // West of the first column the last one goes on, from beyond the antimeridian.
        let cell = Self { row, column: if column < first { last } else { column } };
        (cell.latitude().abs() <= MAX_LATITUDE).then_some(cell)
    }

    /// Whether its row has such a column.
    fn is_on_earth(self) -> bool {
        let [first, last] = ends(self.row);
        (first..=last).contains(&self.column)
    }

    fn latitude(self) -> f64 {
        line(self.row, rows(), 180.0)
    }

    /// Width of the cell in degrees of longitude.
    fn width(self) -> f64 {
        360.0 / f64::from(columns(self.row))
    }

    /// The grid point: south-west corner.
    pub fn south_west(self) -> Location {
        Location { lat: self.latitude(), lon: line(self.column, columns(self.row), 360.0) }
    }

    /// Mid-point between grid point, next row and next column.
    pub fn centre(self) -> Location {
        let (west, south, east, north) = self.bounds();
        Location { lat: (south + north) / 2.0, lon: (west + east) / 2.0 }
    }

    /// West, south, east, north in degrees; east of 180 where it reaches beyond the antimeridian.
    pub fn bounds(self) -> (f64, f64, f64, f64) {
        let corner = self.south_west();
        let north = line(self.row + 1, rows(), 180.0);
        // What begins at the antimeridian lies in the west.
        let west = if 180.0 - corner.lon < 1e-9 { corner.lon - 360.0 } else { corner.lon };
        let next = self.column + 1;
        let is_last = next > ends(self.row)[1];
        let east = if is_last { west + self.width() } else { line(next, columns(self.row), 360.0) };
        (west, corner.lat, east, north)
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
            let [start, end] = ends(row);
            let columns = ((west / width).floor() as i32).max(start)..=((east / width).floor() as i32).min(end);
            // What reaches beyond the antimeridian begins the row, too.
            let around = (west < f64::from(start) * width && !columns.contains(&end)).then_some(end);
            for column in around.into_iter().chain(columns) {
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

    /// All cells, computed with numpy in the way that data sets were made with (lines of a circle counted from its far end,
    /// modulo the circle, less half of it), gave these sums.
    #[test]
    fn every_cell_has_the_name_and_the_zone_that_data_sets_give_it() {
        let (mut cells, mut odd, mut sum) = (0i64, 0, 0i64);
        for row in -946..=946 {
            let [first, last] = ends(row);
            odd += i32::from(columns(row) % 2 == 1);
            for column in first..=last {
                cells += 1;
                let name = (i64::from(row) + 2000) * 10_007 + i64::from(column) + 5000;
                sum += name * i64::from(GridCell { row, column }.utm_epsg());
            }
        }
        assert_eq!((cells, odd, sum), (5_094_350, 926, 3_331_954_606_478_470_951));
        // By the nearest numbers it would be zone 13's, which begins at 108° west.
        assert_eq!(cell("502U_849L").utm_epsg(), 32612);
        assert_eq!(cell("502U_848L").utm_epsg(), 32613);
        let beyond = GridCell { row: 947, column: 0 };
        assert!(beyond.latitude() > MAX_LATITUDE && beyond.to_string().parse::<GridCell>().is_err());
    }

    #[test]
    fn the_last_cell_of_an_odd_row_goes_on_beyond_the_antimeridian() {
        let east = cell("253U_1848R");
        let at = |lon| GridCell::containing(Location { lat: 22.770441, lon });
        assert_eq!([-179.995259, -180.0, 180.0, 179.96].map(at), [Some(east); 4]);
        assert_eq!(at(-179.9), Some(cell("253U_1848L")));
        assert!("253U_1849L".parse::<GridCell>().is_err());
        let (west, _, reach, _) = east.bounds();
        assert!(west < 180.0 && reach > 180.0 && (reach - 360.0 - cell("253U_1848L").bounds().0).abs() < 1e-9);
        assert!(GridCell::cells_in(-180.0, 22.77, -179.99, 22.771, 9).contains(&east));
        assert!(GridCell::cells_in(179.99, 22.77, 180.0, 22.771, 9).contains(&east));
        assert!(!GridCell::cells_in(-179.9, 22.77, -179.0, 22.771, 9).contains(&east));
        // An even row ends at the antimeridian.
        assert_eq!(columns(0) % 2, 0);
        assert!((cell("0U_2003R").bounds().2 - 180.0).abs() < 1e-9);
    }

    /// In 41 rows the line at the antimeridian comes out as +180.
    #[test]
    fn a_column_that_begins_at_the_antimeridian_may_end_its_row() {
        let last = cell("800D_624R");
        assert_eq!((columns(-800), ends(-800)), (1248, [-623, 624]));
        assert_eq!(last.south_west().lon, 180.0);
        assert_eq!(last.bounds().0, -180.0);
        assert_eq!(GridCell::containing(Location { lat: -71.8, lon: -179.9 }), Some(last));
        assert!("800D_624L".parse::<GridCell>().is_err());
    }

    #[test]
    fn every_place_has_one_cell_that_holds_it() {
        for i in 0..2000 {
            let at =
                Location { lat: -84.0 + 168.0 * (f64::from(i) * 0.618).fract(), lon: -179.9 + 0.1799 * f64::from(i) };
            let found = GridCell::containing(at).expect("within 85 degrees");
            let (west, south, east, north) = found.bounds();
            let lon = if at.lon <= west { at.lon + 360.0 } else { at.lon };
            assert!(west < lon && lon <= east && south < at.lat && at.lat <= north, "{at:?} {found}");
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
        for row in [-184, 0, 400, 839] {
            let lat = (f64::from(row) + 0.5) * row_height();
            let at = |lon| GridCell::containing(Location { lat, lon });
            let width = 360.0 / f64::from(columns(row));
            let (first, last) = (at(-180.0 + 0.75 * width).expect("cell"), at(180.0).expect("cell"));
            assert_eq!([first.column, last.column], ends(row));
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
