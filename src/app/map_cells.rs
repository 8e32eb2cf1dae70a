//! Cells of data sets on the map: outlines close by, dots from afar.

use super::scenery::Scenery;
use super::theme;
use crate::grid::GridCell;
use crate::modality::Location;
use crate::scene::Collection;
use egui::{Pos2, Rect, Stroke, StrokeKind, vec2};

/// Cells smaller than this on the screen are drawn as dots, points.
const DOT_BELOW: f32 = 7.0;
/// Radius of a dot, and how far from one a click still means it.
const DOT: f32 = 2.0;
const REACH: f32 = 6.0;

/// Middle of a data set, and the side of a square around it in metres.
pub(super) fn around(collection: &Collection) -> Option<(Location, f64)> {
    let all = collection.cells.keys().map(|cell| cell.bounds());
    let (west, south, east, north) = all.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1), a.2.max(b.2), a.3.max(b.3)))?;
    let middle = Location { lat: (south + north) / 2.0, lon: (west + east) / 2.0 };
    let degree_m = 111_320.0;
    let side_m = ((north - south) * degree_m).max((east - west) * degree_m * middle.lat.to_radians().cos());
    Some((middle, side_m * 1.2))
}

/// Cells of a data set between two latitudes, in degrees.
fn between(collection: &Collection, [south, north]: [f64; 2]) -> impl Iterator<Item = GridCell> {
    let row = |lat: f64| GridCell::containing(Location { lat: lat.clamp(-84.9, 84.9), lon: 0.0 }).map(|cell| cell.row);
    let from = GridCell { row: row(south).map_or(i32::MIN, |row| row - 1), column: i32::MIN };
    let to = GridCell { row: row(north).map_or(i32::MAX, |row| row + 1), column: i32::MAX };
    collection.cells.range(from.min(to)..=to.max(from)).map(|(cell, _)| *cell)
}

impl Scenery<'_> {
    /// Cells that wait to be opened.
    pub(super) fn collected(&self) {
        let seen = self.clip.expand(20.0);
        let fill = theme::OBSERVED.gamma_multiply(0.16);
        let at = |p: Pos2| self.projector.unproject(p.to_vec2()).y();
        let rows = [at(seen.left_bottom()), at(seen.left_top())];
        for collection in &self.session.collections {
            for cell in between(collection, rows) {
                let rect = self.cell_rect(cell);
                if !seen.intersects(rect) {
                    continue;
                }
                if rect.width() < DOT_BELOW {
                    self.painter.rect_filled(
                        Rect::from_center_size(rect.center(), vec2(DOT, DOT) * 2.0),
                        1.0,
                        theme::OBSERVED,
                    );
                } else {
                    let stroke = Stroke::new(1.0, theme::OBSERVED);
                    self.painter.rect(rect.shrink(1.0), 0.0, fill, stroke, StrokeKind::Inside);
                }
            }
        }
    }

    /// The cell of a data set at a place on the screen.
    pub(super) fn collected_at(&self, at: Pos2) -> Option<GridCell> {
        if self.session.collections.is_empty() {
            return None;
        }
        let place = self.projector.unproject(at.to_vec2());
        let under = GridCell::containing(Location { lat: place.y(), lon: place.x() })?;
        let there = |cell: &GridCell| self.session.collections.iter().any(|c| c.cells.contains_key(cell));
        if there(&under) {
            return Some(under);
        }
        let width = self.cell_rect(under).width();
        if width >= DOT_BELOW {
            return None;
        }
        // From afar the nearest dot is meant.
        let reach = |by: f32| self.projector.unproject((at + vec2(0.0, by)).to_vec2()).y();
        let rows = [reach(2.0 * REACH), reach(-2.0 * REACH)];
        let cells = self.session.collections.iter().flat_map(|collection| between(collection, rows));
        let distance = |cell: GridCell| self.cell_rect(cell).center().distance(at);
        let nearest = cells.map(|cell| (distance(cell), cell)).min_by(|a, b| a.0.total_cmp(&b.0))?;
        (nearest.0 <= REACH).then_some(nearest.1)
    }

    /// What the data sets have of a cell.
    pub(super) fn families_of(&self, cell: GridCell) -> String {
        let held = self.session.collections.iter().rev().find_map(|collection| collection.cells.get(&cell));
        held.map(|has| has.families().collect::<Vec<_>>().join(" ")).unwrap_or_default()
    }
}
