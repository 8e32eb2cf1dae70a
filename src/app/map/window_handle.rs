//! The handle that moves the model's window over a scene.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::scene::{WINDOW_STEP_M, Window};
use egui::{CursorIcon, Painter, Pos2, Rect, Sense, Shape, Stroke, Ui, Vec2, vec2};

/// Radius of the handle, points.
const RADIUS: f32 = 9.0;

/// A scene and the model's window in it, on the screen: north-west, north-east, south-east, south-west.
pub(crate) struct WindowHandle<'a> {
    /// Corners of the scene.
    pub scene: &'a [Pos2; 4],
    /// Its extent in metres.
    pub extent_m: [f64; 2],
    /// Corners of the window.
    pub window: &'a [Pos2; 4],
    /// Side of the window in metres.
    pub side_m: f64,
}

impl WindowHandle<'_> {
    /// Draws the handle at the window's north-eastern corner; dragging it moves the window in steps of 60 m, and letting
    /// go asks for the new one. Nothing is drawn where the window cannot move.
    pub(crate) fn show(&self, ui: &mut Ui, painter: &Painter) -> Option<Command> {
        let play = self.extent_m.map(|extent| ((extent - self.side_m + 1e-3) / WINDOW_STEP_M).floor());
        if play.iter().all(|steps| *steps < 1.0) || (self.window[1] - self.window[0]).length() < 3.0 * RADIUS {
            return None;
        }
        let at = self.window[1];
        let rect = Rect::from_center_size(at, Vec2::splat(2.0 * RADIUS + 6.0));
        let response = ui.interact(rect, ui.scope_id().with("window grip"), Sense::drag());
        widgets::named(&response, egui::Role::Button, "Move the window");
        let pointer = response.interact_pointer_pos();
        let held = (response.dragged() || response.drag_stopped()).then_some(pointer).flatten();
        let moved = held.map(|pointer| self.offset(pointer, play));
        if let Some([east_m, south_m]) = moved {
            let points = self.corners([east_m, south_m]);
            painter.add(Shape::closed_line(points.to_vec(), Stroke::new(2.0, theme::PICKED)));
        }
        let at = moved.map_or(at, |offset| self.corners(offset)[1]);
        handle(painter, at, response.hovered() || held.is_some());
        let [east_m, south_m] = moved.filter(|_| response.drag_stopped())?;
        Some(Command::MoveWindow(Window::At { east_m, south_m }))
    }

    /// Metres per point along the scene's top and left edges are nearly the same everywhere in it.
    fn axes(&self) -> [Vec2; 2] {
        let [east, south] = [self.scene[1] - self.scene[0], self.scene[3] - self.scene[0]];
        [east / self.extent_m[0] as f32, south / self.extent_m[1] as f32]
    }

    /// Offset of a window whose handle lies at the pointer, metres east and south of the scene's corner.
    fn offset(&self, pointer: Pos2, play: [f64; 2]) -> [f64; 2] {
        let [east, south] = self.axes();
        let from = pointer - self.scene[0] - east * self.side_m as f32;
        let metres = along(from, east, south);
        std::array::from_fn(|k| (metres[k] / WINDOW_STEP_M).round().clamp(0.0, play[k].max(0.0)) * WINDOW_STEP_M)
    }

    fn corners(&self, [east_m, south_m]: [f64; 2]) -> [Pos2; 4] {
        let [east, south] = self.axes();
        let at = |e: f64, s: f64| self.scene[0] + east * e as f32 + south * s as f32;
        let (right, bottom) = (east_m + self.side_m, south_m + self.side_m);
        [at(east_m, south_m), at(right, south_m), at(right, bottom), at(east_m, bottom)]
    }
}

/// How often each of two axes goes into a way on the screen.
pub(crate) fn along(way: Vec2, east: Vec2, south: Vec2) -> [f64; 2] {
    let determinant = f64::from(east.x * south.y - east.y * south.x);
    [
        f64::from(way.x * south.y - way.y * south.x) / determinant,
        f64::from(east.x * way.y - east.y * way.x) / determinant,
    ]
}

/// A disc with four arrows.
fn handle(painter: &Painter, at: Pos2, hot: bool) {
    if hot {
        painter.ctx().set_cursor_icon(CursorIcon::Move);
    }
    let radius = if hot { RADIUS + 1.5 } else { RADIUS };
    painter.circle(at, radius, theme::MAP_LABEL, Stroke::new(2.0, theme::PICKED));
    let stroke = Stroke::new(1.4, theme::MAP_TEXT);
    for direction in [vec2(1.0, 0.0), vec2(-1.0, 0.0), vec2(0.0, 1.0), vec2(0.0, -1.0)] {
        let (tip, side) = (at + direction * 5.5, direction.rot90() * 2.0);
        painter.line_segment([at, tip], stroke);
        painter.line_segment([tip, tip - direction * 2.0 + side], stroke);
        painter.line_segment([tip, tip - direction * 2.0 - side], stroke);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::pos2;

    #[test]
    fn handles_lead_to_the_nearest_window_inside_the_scene() {
        // A scene of 2160 m, a tenth of a point per metre, turned by a right angle: east is down on the screen.
        let scene = [pos2(100.0, 50.0), pos2(100.0, 266.0), pos2(-116.0, 266.0), pos2(-116.0, 50.0)];
        let grip = WindowHandle { scene: &scene, extent_m: [2160.0, 2160.0], window: &scene, side_m: 960.0 };
        let play = [20.0, 20.0];
        for offset in [[0.0, 0.0], [600.0, 0.0], [1200.0, 540.0]] {
            let corner = grip.corners(offset)[1];
            assert_eq!(grip.offset(corner + vec2(1.4, -1.9), play), offset);
        }
        assert_eq!(grip.offset(pos2(500.0, -900.0), play), [0.0, 0.0]);
        assert_eq!(grip.offset(pos2(-900.0, 900.0), play), [1200.0, 1200.0]);
    }
}
