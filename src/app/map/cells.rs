//! Cells of data sets on the map: outlines close by, dots from afar.

use crate::app::kit::theme;
use crate::app::map::painter::MapPainter;
use crate::grid::GridCell;
use crate::modality::Location;
use crate::scene::Collection;
use egui::{Pos2, Rect, Stroke, StrokeKind, Vec2, vec2};

/// Cells smaller than this on the screen are drawn as dots, points.
const DOT_BELOW: f32 = 7.0;
/// Radius of a dot, and how far from one a click still means it.
const DOT: f32 = 2.0;
const REACH: f32 = 6.0;

impl MapPainter<'_> {
    /// Cells that wait to be opened.
    pub(super) fn collected(&self) {
        let seen = self.clip.expand(20.0);
        let fill = theme::OBSERVED.gamma_multiply(0.16);
        for collection in &self.session.collections {
            for cell in self.cells_within(collection, seen) {
                let rect = self.cell_rect(cell);
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

    /// Cells of a data set in a part of the screen; those elsewhere cost nothing.
    fn cells_within<'a>(&self, collection: &'a Collection, part: Rect) -> impl Iterator<Item = GridCell> + use<'a> {
        let at = |corner: Pos2| self.projector.unproject(corner.to_vec2());
        let (nw, se) = (at(part.left_top()), at(part.right_bottom()));
        collection.cells_in(nw.x(), se.y(), se.x(), nw.y())
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
        let near = Rect::from_center_size(at, Vec2::splat(2.0 * (REACH + DOT_BELOW)));
        let cells = self.session.collections.iter().flat_map(|collection| self.cells_within(collection, near));
        let distance = |cell: GridCell| self.cell_rect(cell).center().distance(at);
        let nearest = cells.map(|cell| (distance(cell), cell)).min_by(|a, b| a.0.total_cmp(&b.0))?;
        (nearest.0 <= REACH).then_some(nearest.1)
    }

    /// What the data sets have of a cell.
    pub(super) fn families_of(&self, cell: GridCell) -> String {
        let held = self.session.collections.iter().rev().find(|collection| collection.cells.contains_key(&cell));
        held.map(|has| has.families_of(cell).collect::<Vec<_>>().join(" ")).unwrap_or_default()
    }
}
