//! What the pointer does on the map: look at a spot, measure, mark an area, paint classes, choose a place.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::map::painter::{MapPainter, corners, screen};
use crate::app::map::window_handle::along;
use crate::app::state::tools::{Brush, Stroked, Tool};
use crate::modality::Location;
use crate::view::Spot;
use egui::{Align2, Color32, CursorIcon, FontId, Pos2, Rect, Sense, Shape, Stroke, Ui, vec2};
use geographiclib_rs::{Geodesic, InverseGeodesic};

/// Length of a path over the ellipsoid, metres.
pub(crate) fn length_m(path: &[Location]) -> f64 {
    let earth = Geodesic::wgs84();
    let leg = |pair: &[Location]| -> f64 { earth.inverse(pair[0].lat, pair[0].lon, pair[1].lat, pair[1].lon) };
    path.windows(2).map(leg).sum()
}

impl MapPainter<'_> {
    /// Place in the picked window, as shares of its sides; outside it lies below 0 or above 1.
    fn share(&self, at: Pos2) -> Option<Spot> {
        let [nw, ne, _, sw] = self.window()?;
        let [x, y] = along(at - nw, ne - nw, sw - nw);
        Some(Spot { x, y })
    }

    fn place(&self, at: Pos2) -> Location {
        let at = self.projector.unproject(at.to_vec2());
        Location { lat: at.y(), lon: at.x() }
    }

    /// What a click on the map means.
    pub(super) fn click(&self, at: Pos2, grid: bool) -> Option<Command> {
        match self.shown.tool {
            Tool::Ruler => Some(Command::Ruler(Some(self.place(at)))),
            Tool::Place(modality) => Some(Command::Placed(modality, self.place(at))),
            Tool::Pointer => self.inspect(at).or_else(|| self.pick(at, grid)),
            Tool::Area | Tool::Brush(_) => None,
        }
    }

    /// Tools that drag inside the picked window.
    pub(super) fn tool(&self, ui: &mut Ui) -> Vec<Command> {
        let (tool, Some(window)) = (self.shown.tool, self.window()) else { return Vec::new() };
        let name = match tool {
            Tool::Area => "Mark an area",
            Tool::Brush(_) => "Paint",
            _ => {
                if tool != Tool::Pointer {
                    ui.ctx().set_cursor_icon(CursorIcon::Crosshair);
                }
                return Vec::new();
            }
        };
        let rect = Rect::from_points(&window).intersect(self.clip);
        let response = ui.interact(rect, ui.scope_id().with("tool"), Sense::click_and_drag());
        widgets::named(&response, egui::Role::Button, name);
        if response.hovered() {
            ui.ctx().set_cursor_icon(CursorIcon::Crosshair);
        }
        match tool {
            Tool::Brush(brush) if brush.outline => self.outline(ui, brush, &response),
            Tool::Brush(brush) => self.brush(ui, brush, &response, window),
            _ => self.mark(ui, &response),
        }
    }

    fn brush(&self, ui: &Ui, brush: Brush, response: &egui::Response, window: [Pos2; 4]) -> Vec<Command> {
        let mut commands = Vec::new();
        if let (Some(at), Some(observed)) = (response.hover_pos(), &self.session.observed) {
            let across = (window[1] - window[0]).length();
            let radius = across * (brush.radius_m / observed.ground.footprint.width_m) as f32;
            for (width, colour) in [(3.0, Color32::from_black_alpha(160)), (1.5, Color32::WHITE)] {
                self.painter.circle_stroke(at, radius, Stroke::new(width, colour));
            }
        }
        if let Some(at) = response.interact_pointer_pos()
            && let Some(to) = self.share(at)
        {
            // From where the pointer was: fast strokes have no gaps.
            let from = at - ui.input(|input| input.pointer.delta());
            let begins = ui.input(|input| input.pointer.any_pressed());
            let from = if begins { Some(to) } else { self.share(from) };
            commands.extend(from.map(|from| Command::Paint(Stroked { brush, from, to })));
        }
        if response.drag_stopped() || response.clicked() {
            commands.push(Command::EndUndoStep);
        }
        commands
    }

    /// Draws round an area while the pointer is held down; what it encloses is painted when it is let go.
    fn outline(&self, ui: &Ui, brush: Brush, response: &egui::Response) -> Vec<Command> {
        let id = response.id.with("outline");
        let mut outline: Vec<Pos2> = ui.data(|data| data.get_temp(id)).unwrap_or_default();
        if let Some(at) = ui.input(|input| input.pointer.press_origin()).filter(|_| response.drag_started()) {
            outline = vec![at];
        }
        let moved = |at: &Pos2| outline.last() != Some(at);
        outline.extend(response.interact_pointer_pos().filter(|_| response.dragged()).filter(moved));
        for (width, colour) in [(3.0, Color32::from_black_alpha(160)), (1.5, Color32::WHITE)] {
            self.painter.add(Shape::closed_line(outline.clone(), Stroke::new(width, colour)));
        }
        let ended = response.drag_stopped().then(|| std::mem::take(&mut outline));
        ui.data_mut(|data| data.insert_temp(id, outline));
        let area = ended.map(|outline| outline.into_iter().filter_map(|at| self.share(at)).collect());
        area.map_or_else(Vec::new, |area| vec![Command::Fill(brush, area), Command::EndUndoStep])
    }

    fn mark(&self, ui: &Ui, response: &egui::Response) -> Vec<Command> {
        // Where the drag began; egui forgets it in the frame that ends it.
        let from = response.id.with("from");
        if let Some(at) = ui.input(|input| input.pointer.press_origin()).filter(|_| response.drag_started()) {
            ui.data_mut(|data| data.insert_temp(from, at));
        }
        let pressed = ui.data(|data| data.get_temp::<Pos2>(from));
        let held = response.dragged() || response.drag_stopped();
        let ends = response.interact_pointer_pos().zip(pressed).filter(|_| held);
        let inside =
            |at: Pos2| self.share(at).map(|spot| Spot { x: spot.x.clamp(0.0, 1.0), y: spot.y.clamp(0.0, 1.0) });
        let Some((Some(a), Some(b))) = ends.map(|(to, from)| (inside(from), inside(to))) else { return Vec::new() };
        let area = [Spot { x: a.x.min(b.x), y: a.y.min(b.y) }, Spot { x: a.x.max(b.x), y: a.y.max(b.y) }];
        self.frame(area);
        if response.drag_stopped() { vec![Command::Area(Some(area))] } else { Vec::new() }
    }

    /// The area that is marked.
    pub(super) fn area(&self) {
        if let Some(area) = self.shown.area {
            self.frame(area);
        }
    }

    fn frame(&self, [a, b]: [Spot; 2]) {
        let Some([nw, ne, _, sw]) = self.window() else { return };
        let at = |x: f64, y: f64| nw + (ne - nw) * x as f32 + (sw - nw) * y as f32;
        let ring = vec![at(a.x, a.y), at(b.x, a.y), at(b.x, b.y), at(a.x, b.y)];
        self.painter.add(Shape::closed_line(ring.clone(), Stroke::new(3.0, Color32::from_black_alpha(150))));
        self.painter.add(Shape::closed_line(ring, Stroke::new(1.5, theme::PICKED)));
    }

    /// The path that is measured, to the pointer while it goes on.
    pub(super) fn ruler(&self, pointer: Option<Pos2>) {
        let mut path = self.shown.ruler.clone();
        let going_on = self.shown.tool == Tool::Ruler && !path.is_empty();
        path.extend(pointer.filter(|_| going_on).map(|at| self.place(at)));
        let points: Vec<Pos2> = path.iter().map(|at| screen(self.projector, *at)).collect();
        let Some(last) = points.last() else { return };
        for (width, colour) in [(4.0, Color32::from_black_alpha(150)), (2.0, theme::PICKED)] {
            self.painter.add(Shape::line(points.clone(), Stroke::new(width, colour)));
        }
        for at in &points {
            self.painter.circle(*at, 3.5, theme::PICKED, Stroke::new(1.0, Color32::BLACK));
        }
        if points.len() > 1 {
            let metres = length_m(&path);
            let text = if metres < 10_000.0 { format!("{metres:.0} m") } else { format!("{:.1} km", metres / 1000.0) };
            self.label(*last + vec2(10.0, -6.0), Align2::LEFT_BOTTOM, text, &FontId::proportional(12.0));
        }
    }

    /// Places that realisations say, and the one that was observed, while location is looked at.
    pub(super) fn places(&self) {
        let (Some(run), modality) = (self.session.run(), self.shown.modality) else { return };
        let place = |value: Option<&crate::modality::Value>| match value {
            Some(crate::modality::Value::Location(at)) => Some(*at),
            _ => None,
        };
        let made = run.realisations.iter().filter_map(|r| Some((r.index, place(r.values.get(modality)?.as_ref())?)));
        for (index, at) in made {
            let at = screen(self.projector, at);
            self.painter.circle(at, 5.0, theme::SYNTHETIC, Stroke::new(1.0, Color32::BLACK));
            self.painter.text(
                at + vec2(7.0, 0.0),
                Align2::LEFT_CENTER,
                index,
                FontId::proportional(10.0),
                theme::SYNTHETIC,
            );
        }
        let observed = run.observed.observation.values.get(modality).and_then(Option::as_ref);
        if let Some(at) = place(observed.map(|given| &given.value)) {
            let at = corners(self.projector, &[at; 4])[0];
            self.painter.circle(at, 6.0, theme::OBSERVED, Stroke::new(1.5, Color32::WHITE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_ellipsoid() {
        let at = |lat, lon| Location { lat, lon };
        // A quarter of a meridian, and a degree along the equator (WGS 84).
        assert!((length_m(&[at(0.0, 5.0), at(90.0, 5.0)]) - 10_001_965.7).abs() < 1.0);
        assert!((length_m(&[at(0.0, 0.0), at(0.0, 1.0)]) - 111_319.5).abs() < 0.1);
        assert!((length_m(&[at(0.0, 179.5), at(0.0, -179.5)]) - 111_319.5).abs() < 0.1);
        assert_eq!(length_m(&[at(1.0, 1.0)]), 0.0);
    }
}
