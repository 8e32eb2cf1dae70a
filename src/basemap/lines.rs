//! Coast and borders as lines, simplified beforehand for each zoom level.

use super::mercator;
use crate::error::{Error, Result};
use crate::files::bundled;

/// Points of a piece of line: short pieces are quickly found to be out of view.
const PIECE: usize = 160;
/// Zoom levels lines are simplified for; from the last on, all points are drawn.
const LEVELS: usize = 9;
/// How far a simplified line may be from the true one, pixels: more where the whole world is drawn at once.
fn astray(zoom: usize) -> f64 {
    if zoom < 4 { 0.9 } else { 0.5 }
}

/// What the file of lines begins with.
const MAGIC: &[u8] = b"COPGENL1";
/// The file's units, per degree.
const UNITS: f64 = 1000.0;

/// A piece of coast or border.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Between two countries, not at the sea.
    pub border: bool,
    /// Corners of its bounds in the unit square of web mercator: north-west, south-east.
    pub bounds: [[f64; 2]; 2],
    /// From coarse to fine, one per zoom level.
    levels: Vec<Vec<[f64; 2]>>,
}

impl Line {
    /// Its points in the unit square, as exact as a zoom level can show.
    pub fn points(&self, zoom: f64) -> &[[f64; 2]] {
        let level = zoom.ceil().clamp(0.0, (self.levels.len() - 1) as f64) as usize;
        &self.levels[level]
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines(pub Vec<Line>);

impl Lines {
    /// Reads the bundled file.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn open() -> Result<Self> {
        let path = bundled("assets/basemap/lines.bin")?;
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", &e))?;
        Self::read(&bytes).ok_or_else(|| Error::file(&path, "These are no map lines; get the program's files anew"))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let mut lines = Vec::new();
        for _ in 0..number(&mut rest)? {
            let (&border, tail) = rest.split_first()?;
            rest = tail;
            let (mut lon, mut lat, mut arc) = (0, 0, Vec::new());
            for _ in 0..number(&mut rest)? {
                lon = number(&mut rest)?.checked_add(lon)?;
                lat = number(&mut rest)?.checked_add(lat)?;
                arc.push(mercator(lon as f64 / UNITS, lat as f64 / UNITS));
            }
            // Where a line jumps over the antimeridian it is cut, and what runs along the map's edge is no coast.
            let edge = |p: &[f64; 2]| p[0] < 1e-4 || p[0] > 1.0 - 1e-4 || p[1] > 0.999;
            let joined = |a: &[f64; 2], b: &[f64; 2]| (a[0] - b[0]).abs() < 0.5 && !(edge(a) && edge(b));
            for part in arc.chunk_by(joined).filter(|part| part.len() > 1) {
                let mut from = 0;
                while from + 1 < part.len() {
                    let to = (from + PIECE).min(part.len() - 1);
                    lines.push(piece(&part[from..=to], border != 0));
                    from = to;
                }
            }
        }
        rest.is_empty().then_some(Self(lines))
    }
}

/// A signed number of seven bits a byte.
fn number(rest: &mut &[u8]) -> Option<i64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 127).checked_shl(shift)?;
        shift += 7;
        if byte < 128 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
}

fn piece(points: &[[f64; 2]], border: bool) -> Line {
    let bound = |axis: usize, pick: fn(f64, f64) -> f64| points.iter().map(|p| p[axis]).reduce(pick).unwrap_or(0.0);
    let bounds = [[bound(0, f64::min), bound(1, f64::min)], [bound(0, f64::max), bound(1, f64::max)]];
    let mut levels = vec![points.to_vec()];
    for zoom in (0..LEVELS).rev() {
        let finer = levels.last().map_or(points, Vec::as_slice);
        let coarser = simplified(finer, astray(zoom) / (256.0 * 2f64.powi(zoom as i32)));
        levels.push(coarser);
    }
    levels.reverse();
    Line { border, bounds, levels }
}

/// The method of Douglas and Peucker: no point that is left out is further from the line than `tolerance`.
fn simplified(points: &[[f64; 2]], tolerance: f64) -> Vec<[f64; 2]> {
    let last = points.len().saturating_sub(1);
    let mut keep = vec![false; points.len()];
    let mut open = vec![(0, last)];
    while let Some((from, to)) = open.pop() {
        (keep[from], keep[to]) = (true, true);
        let far = |i: &usize| distance(points[*i], points[from], points[to]);
        let furthest = (from + 1..to).max_by(|a, b| far(a).total_cmp(&far(b)));
        if let Some(i) = furthest.filter(|i| far(i) > tolerance) {
            open.extend([(from, i), (i, to)]);
        }
    }
    points.iter().zip(keep).filter_map(|(p, keep)| keep.then_some(*p)).collect()
}

/// From a point to a stretch of line.
fn distance(p: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let along = [b[0] - a[0], b[1] - a[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    let t = if length > 0.0 { ((p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1]) / length } else { 0.0 };
    let t = t.clamp(0.0, 1.0);
    (p[0] - a[0] - t * along[0]).hypot(p[1] - a[1] - t * along[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coast_and_borders_lie_in_the_world_and_get_finer() {
        let lines = Lines::open().expect("bundled lines");
        assert!(lines.0.iter().any(|line| line.border) && lines.0.iter().any(|line| !line.border));
        let count = |zoom: f64| lines.0.iter().map(|line| line.points(zoom).len()).sum::<usize>();
        let counts: Vec<usize> = (0..=9).map(|zoom| count(f64::from(zoom))).collect();
        assert!(counts.is_sorted() && counts[9] > 10 * counts[2], "{counts:?}");
        for line in &lines.0 {
            let all = line.points(20.0);
            assert!(all.iter().flatten().all(|v| (-1e-6..=1.0 + 1e-6).contains(v)));
            for zoom in 0..=9 {
                let points = line.points(f64::from(zoom));
                assert_eq!((points.first(), points.last()), (all.first(), all.last()), "pieces stay joined");
            }
        }
    }

    #[test]
    fn simplified_lines_stay_close() {
        let lines = Lines::open().expect("bundled lines");
        for line in lines.0.iter().step_by(50) {
            for zoom in [0, 3, 6usize] {
                let (coarse, pixel) = (line.points(zoom as f64), 1.0 / (256.0 * 2f64.powi(zoom as i32)));
                for p in line.points(20.0) {
                    let nearest = coarse.windows(2).map(|w| distance(*p, w[0], w[1])).fold(f64::INFINITY, f64::min);
                    // Each level adds to the error of the finer one: half, a quarter … of it.
                    assert!(nearest <= 2.0 * astray(zoom) * pixel, "{} pixels at {zoom}", nearest / pixel);
                }
            }
        }
    }

    #[test]
    fn damaged_lines_are_refused() {
        let path = bundled("assets/basemap/lines.bin").expect("bundled");
        let bytes = std::fs::read(path).expect("read");
        assert_eq!(Lines::read(&bytes[1..]), None);
        for cut in [8, 9, 100, bytes.len() - 1] {
            assert_eq!(Lines::read(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Lines::read(&[MAGIC, &[255; 40]].concat()), None);
    }
}
