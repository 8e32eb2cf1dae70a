//! The map below everything: offline imagery, coast and borders, or an online layer by choice.

use super::theme;
use crate::error::{Error, Result};
use crate::files::bundled;
use egui::{Pos2, Rect, Stroke, pos2, vec2};
use serde::Deserialize;
use walkers::sources::{Attribution, OpenStreetMap};
use walkers::{HttpOptions, HttpTiles, PmTiles, Projector, Style, TileId, TilePiece, Tiles, lat_lon};

/// What is shown below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Blue Marble from the program's own files.
    Offline,
    /// OpenStreetMap from the network.
    OpenStreetMap,
}

impl Layer {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Offline, Self::OpenStreetMap];

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "Blue Marble (offline)",
            Self::OpenStreetMap => "OpenStreetMap (online)",
        }
    }

    /// Whom to thank.
    pub fn credit(self) -> &'static str {
        match self {
            Self::Offline => "Imagery: NASA Blue Marble; map data: Natural Earth",
            Self::OpenStreetMap => "© OpenStreetMap contributors",
        }
    }
}

/// Opens a layer's tiles.
///
/// # Errors
/// When the offline tiles are missing.
pub fn open(layer: Layer, ctx: &egui::Context) -> Result<Box<dyn Tiles>> {
    match layer {
        Layer::Offline => {
            let path = bundled("assets/basemap/world.pmtiles")?;
            Ok(Box::new(Offline(PmTiles::with_style_and_tile_size(path, Style, 256, ctx.clone()))))
        }
        Layer::OpenStreetMap => {
            let agent = concat!("COP-GEN-Explorer/", env!("CARGO_PKG_VERSION"));
            let cache = directories::ProjectDirs::from("", "", "copgen").map(|dirs| dirs.cache_dir().join("tiles"));
            let options =
                HttpOptions { cache, user_agent: walkers::HeaderValue::from_str(agent).ok(), ..HttpOptions::default() };
            Ok(Box::new(HttpTiles::with_options(OpenStreetMap, options, ctx.clone())))
        }
    }
}

/// Last zoom level of the bundled tiles.
const OFFLINE_ZOOM: u8 = 5;

/// The bundled tiles; further in, enlarged parts of their last level stand in.
struct Offline(PmTiles);

impl Tiles for Offline {
    fn at(&mut self, id: TileId) -> Option<TilePiece> {
        let levels = u32::from(id.zoom.saturating_sub(OFFLINE_ZOOM));
        let parent = TileId { x: id.x >> levels, y: id.y >> levels, zoom: id.zoom.min(OFFLINE_ZOOM) };
        let piece = self.0.at(parent)?;
        let side = 0.5f32.powi(levels as i32);
        let inside = |v: u32| (v & ((1 << levels) - 1)) as f32 * side;
        let min = piece.uv.min + piece.uv.size() * vec2(inside(id.x), inside(id.y));
        Some(TilePiece::new(piece.tile, Rect::from_min_size(min, piece.uv.size() * side)))
    }

    fn attribution(&self) -> Attribution {
        self.0.attribution()
    }

    fn tile_size(&self) -> u32 {
        self.0.tile_size()
    }
}

/// Coast and borders: lines in the unit square of web mercator, each with its bounds.
pub struct Lines(Vec<Line>);

struct Line {
    points: Vec<[f64; 2]>,
    low: [f64; 2],
    high: [f64; 2],
}

#[derive(Deserialize)]
struct Topology {
    transform: Transform,
    arcs: Vec<Vec<[i64; 2]>>,
}

#[derive(Deserialize)]
struct Transform {
    scale: [f64; 2],
    translate: [f64; 2],
}

/// The unit square of web mercator, x to the east, y to the south.
fn mercator(lon: f64, lat: f64) -> [f64; 2] {
    let lat = lat.clamp(-85.0511, 85.0511).to_radians();
    [(lon + 180.0) / 360.0, (1.0 - lat.tan().asinh() / std::f64::consts::PI) / 2.0]
}

impl Lines {
    /// Reads the arcs of a quantised TopoJSON file.
    ///
    /// # Errors
    /// When it is missing or no such file.
    pub fn open() -> Result<Self> {
        let path = bundled("assets/basemap/countries-50m.json")?;
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", &e))?;
        let topology: Topology =
            serde_json::from_str(&text).map_err(|e| Error::file(&path, format!("These are no map lines: {e}")))?;
        let t = topology.transform;
        let decode = |arc: &Vec<[i64; 2]>| -> Vec<[f64; 2]> {
            let (mut x, mut y) = (0, 0);
            arc.iter()
                .map(|[dx, dy]| {
                    (x, y) = (x + dx, y + dy);
                    mercator(x as f64 * t.scale[0] + t.translate[0], y as f64 * t.scale[1] + t.translate[1])
                })
                .collect()
        };
        let line = |points: &[[f64; 2]]| {
            let points = points.to_vec();
            let bound =
                |axis: usize, pick: fn(f64, f64) -> f64, start| points.iter().map(|p| p[axis]).fold(start, pick);
            let low = [0, 1].map(|axis| bound(axis, f64::min, f64::INFINITY));
            let high = [0, 1].map(|axis| bound(axis, f64::max, f64::NEG_INFINITY));
            Line { points, low, high }
        };
        // Where a line jumps over the antimeridian it is cut, and what runs along the map's edge is no coast.
        let edge = |p: &[f64; 2]| p[0] < 1e-4 || p[0] > 1.0 - 1e-4;
        let joined = |a: &[f64; 2], b: &[f64; 2]| (a[0] - b[0]).abs() < 0.5 && !(edge(a) && edge(b));
        let arcs: Vec<Vec<[f64; 2]>> = topology.arcs.iter().map(decode).collect();
        let parts = arcs.iter().flat_map(|arc| arc.chunk_by(joined)).filter(|part| part.len() > 1);
        Ok(Self(parts.map(line).collect()))
    }

    /// Draws what lies in view; points closer than a pixel or so are left out.
    pub fn draw(&self, painter: &egui::Painter, projector: &Projector, clip: Rect) {
        // Web mercator to the screen is a scale and a shift; two points give both.
        let screen = |lon, lat| projector.project(lat_lon(lat, lon));
        let (a, b) = (screen(-90.0, 0.0), screen(90.0, 0.0));
        let scale = f64::from(b.x - a.x) * 2.0;
        let origin = [f64::from(a.x) - 0.25 * scale, f64::from(a.y) - 0.5 * scale];
        let to_screen = |p: &[f64; 2]| pos2((p[0] * scale + origin[0]) as f32, (p[1] * scale + origin[1]) as f32);
        for line in &self.0 {
            let bounds = Rect::from_min_max(to_screen(&line.low), to_screen(&line.high));
            if !bounds.intersects(clip) || bounds.size().max_elem() < 2.0 {
                continue;
            }
            let mut points: Vec<Pos2> = Vec::new();
            let last = line.points.len().saturating_sub(1);
            for (i, point) in line.points.iter().enumerate() {
                let at = to_screen(point);
                if i == last || points.last().is_none_or(|p| p.distance_sq(at) > 2.0) {
                    points.push(at);
                }
            }
            painter.line(points, Stroke::new(1.0, theme::MAP_LINE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coast_and_borders_lie_in_the_world() {
        let lines = Lines::open().expect("bundled lines");
        assert!(lines.0.len() > 1000);
        for line in &lines.0 {
            assert!(line.low.iter().chain(&line.high).all(|v| (-1e-6..=1.0 + 1e-6).contains(v)));
        }
    }
}
