//! Between web mercator and the screen.

use egui::{Pos2, Rect, pos2};
use walkers::{Projector, lat_lon};

/// Where the unit square of web mercator lies on the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScreenMap {
    /// Its side, points.
    pub scale: f64,
    /// Its north-western corner, points.
    pub origin: [f64; 2],
    /// The map on the screen.
    pub clip: Rect,
}

impl ScreenMap {
    /// Of a map as it is drawn.
    pub fn new(projector: &Projector, clip: Rect) -> Self {
        // Web mercator to the screen is a scale and a shift; two points give both.
        let screen = |lon, lat| projector.project(lat_lon(lat, lon));
        let (a, b) = (screen(-90.0, 0.0), screen(90.0, 0.0));
        let scale = f64::from(b.x - a.x) * 2.0;
        let origin = [f64::from(a.x) - 0.25 * scale, f64::from(a.y) - 0.5 * scale];
        Self { scale, origin, clip }
    }

    /// A place on the screen.
    pub fn screen(&self, p: [f64; 2]) -> Pos2 {
        pos2((p[0] * self.scale + self.origin[0]) as f32, (p[1] * self.scale + self.origin[1]) as f32)
    }

    /// Zoom level, as tiles of 256 points have it.
    pub fn zoom(&self) -> f64 {
        (self.scale / 256.0).log2()
    }
}
