//! Everything drawn over the tiles of the map, and what a click there means.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::map::window_handle::{WindowHandle, along};
use crate::app::state::place::{Ground, Selection};
use crate::app::state::session::Session;
use crate::app::view::shown::{Base, Shown};
use crate::app::view::spread_overlay::SpreadCallback;
use crate::grid::GridCell;
use crate::modality::Location;
use crate::view::Spot;
use egui::{Align2, Color32, FontId, Painter, Pos2, Rect, Shape, Stroke, TextureId, pos2, vec2};
use walkers::{Projector, lat_lon};

/// At most so many cells are drawn.
const GRID_CELLS: usize = 4000;
/// A footprint smaller than this on the screen is drawn as a dot, points.
const DOT_BELOW: f32 = 14.0;

/// A place on the screen.
pub(super) fn screen(projector: &Projector, at: Location) -> Pos2 {
    projector.project(lat_lon(at.lat, at.lon)).to_pos2()
}

/// Four places on the screen, beside each other also where the antimeridian lies between them.
pub(super) fn corners(projector: &Projector, corners: &[Location; 4]) -> [Pos2; 4] {
    let first = corners[0].lon;
    corners.map(|at| {
        let turns = ((first - at.lon) / 360.0).round();
        screen(projector, Location { lon: at.lon + 360.0 * turns, ..at })
    })
}

/// Everything drawn over the tiles in one frame.
pub(crate) struct MapPainter<'a> {
    /// Over the tiles.
    pub painter: &'a Painter,
    /// Between ground and screen.
    pub projector: &'a Projector<'a>,
    /// What is known.
    pub session: &'a Session,
    /// What is shown.
    pub shown: &'a Shown,
    /// The map on the screen.
    pub clip: Rect,
}

impl MapPainter<'_> {
    /// The grid and the names of its cells; where the names are.
    pub(super) fn grid(&self) -> Vec<Rect> {
        let mut names = Vec::new();
        let at = |p: Pos2| self.projector.unproject(p.to_vec2());
        let (nw, se) = (at(self.clip.left_top()), at(self.clip.right_bottom()));
        for cell in GridCell::cells_in(nw.x(), se.y(), se.x(), nw.y(), GRID_CELLS) {
            let rect = self.cell_rect(cell);
            let stroke = Stroke::new(1.0, theme::GRID_LINE);
            self.painter.line_segment([rect.left_top(), rect.left_bottom()], stroke);
            self.painter.line_segment([rect.left_bottom(), rect.right_bottom()], stroke);
            if rect.width() > 76.0 {
                let font = FontId::proportional(10.5);
                let at = rect.left_top() + vec2(4.0, 3.0);
                self.painter.text(
                    at + vec2(1.0, 1.0),
                    Align2::LEFT_TOP,
                    cell.to_string(),
                    font.clone(),
                    theme::MAP_LABEL,
                );
                names.push(self.painter.text(at, Align2::LEFT_TOP, cell.to_string(), font, theme::GRID_TEXT));
            }
        }
        names
    }

    pub(super) fn cell_rect(&self, cell: GridCell) -> Rect {
        let (west, south, east, north) = cell.bounds();
        let corner = |lat, lon| screen(self.projector, Location { lat, lon });
        Rect::from_two_pos(corner(north, west), corner(south, east))
    }

    /// Footprints of scenes, or dots.
    pub(super) fn scenes(&self) {
        for (i, known) in self.session.scenes.iter().enumerate() {
            let Some(places) = &known.corners else { continue };
            let points = corners(self.projector, places);
            let bounds = Rect::from_points(&points);
            if !bounds.expand(20.0).intersects(self.clip) {
                continue;
            }
            let picked = self.session.selection == Some(Selection::Scene(i));
            let colour = match picked {
                true => theme::PICKED,
                false if self.session.is_kept(known) => theme::KEPT,
                false => theme::OBSERVED,
            };
            if bounds.width() < DOT_BELOW {
                self.painter.circle(bounds.center(), 6.5, colour, Stroke::new(2.0, Color32::WHITE));
            } else {
                self.painter
                    .add(Shape::closed_line(points.to_vec(), Stroke::new(if picked { 2.0 } else { 1.5 }, colour)));
            }
        }
    }

    /// The picture that is chosen, and the spread over it.
    pub(super) fn pictures(&self, overlay: bool) {
        let ground = match self.shown.base {
            Base::Observed => self.session.observed.as_ref().map(|o| &o.ground),
            _ => self.session.run().map(|r| &r.observed.ground),
        };
        let texture = match self.shown.base {
            Base::None => None,
            Base::Observed => {
                let thumbnail = || self.shown.thumbnails.get(self.shown.modality).and_then(Option::as_ref);
                let painting = self.shown.painting(self.shown.modality);
                painting.or_else(|| self.shown.observed_here(self.session)).or_else(thumbnail)
            }
            Base::Reference => self.shown.reference.as_ref(),
            Base::Mean => self.shown.mean.as_ref(),
            Base::Realisation(i) => self.shown.realisations.get(&i),
        };
        if let (Some(places), Some(texture)) = (ground.and_then(|g| g.corners.as_ref()), texture) {
            let points = corners(self.projector, places);
            self.picture(self.painter, &points, texture.id());
            if let (Base::Observed, Some(hatching)) = (self.shown.base, self.shown.hatching(self.shown.modality)) {
                self.picture(self.painter, &points, hatching.id());
            }
            if let Some((x, observed)) = self.divider(&points).zip(self.shown.beside(self.session)) {
                let west = Rect::from_min_max(self.clip.min, pos2(x, self.clip.max.y));
                self.picture(&self.painter.with_clip_rect(west), &points, observed.id());
            }
        }
        let run_ground = self.session.run().and_then(|r| r.observed.ground.corners.as_ref());
        if let (true, true, Some(spread), Some(places)) =
            (overlay, self.shown.spread_wanted, &self.shown.spread, run_ground)
        {
            let points = corners(self.projector, places);
            self.painter.add(SpreadCallback::shape(
                self.clip,
                points,
                spread,
                self.shown.range(spread),
                self.shown.opacity,
            ));
        }
    }

    /// Where the swipe's line stands, if what is shown is generated.
    pub(super) fn divider(&self, points: &[Pos2; 4]) -> Option<f32> {
        let synthetic = matches!(self.shown.base, Base::Mean | Base::Realisation(_));
        let bounds = Rect::from_points(points);
        self.shown.swipe.filter(|_| synthetic).map(|share| bounds.left() + share * bounds.width())
    }

    /// The line of the swipe, which can be dragged.
    pub(super) fn swipe(&self, ui: &mut egui::Ui) -> Option<Command> {
        let places = self.session.run()?.observed.ground.corners.as_ref()?;
        self.shown.beside(self.session)?;
        let points = corners(self.projector, places);
        let (x, bounds) = (self.divider(&points)?, Rect::from_points(&points));
        let line = Rect::from_x_y_ranges((x - 5.0)..=(x + 5.0), bounds.y_range());
        let response = ui.interact(line, ui.scope_id().with("swipe"), egui::Sense::drag());
        widgets::named(&response, egui::Role::Slider, "Swipe");
        let hot = response.hovered() || response.dragged();
        self.painter.vline(x, bounds.y_range(), Stroke::new(if hot { 3.0 } else { 2.0 }, theme::PICKED));
        let west = if self.shown.reference.is_some() { "reference" } else { "observed" };
        for (text, align, at) in [(west, Align2::RIGHT_BOTTOM, x - 4.0), ("synthetic", Align2::LEFT_BOTTOM, x + 4.0)] {
            self.label(pos2(at, bounds.bottom() - 4.0), align, text.into(), &FontId::proportional(11.0));
        }
        if hot {
            ui.ctx().set_cursor_icon(egui::CursorIcon::ResizeHorizontal);
        }
        let pointer = response.interact_pointer_pos().filter(|_| response.dragged())?;
        Some(Command::Swipe(Some(((pointer.x - bounds.left()) / bounds.width().max(1.0)).clamp(0.0, 1.0))))
    }

    pub(super) fn picture(&self, painter: &Painter, corners: &[Pos2; 4], texture: TextureId) {
        let mut mesh = egui::Mesh::with_texture(texture);
        let at = [pos2(0.0, 0.0), pos2(1.0, 0.0), pos2(1.0, 1.0), pos2(0.0, 1.0)];
        for (&pos, uv) in corners.iter().zip(at) {
            mesh.vertices.push(egui::epaint::Vertex {
                pos,
                uv,
                color: Color32::WHITE.gamma_multiply(self.shown.picture_opacity),
            });
        }
        mesh.indices = vec![0, 1, 2, 0, 2, 3];
        painter.add(Shape::mesh(mesh));
    }

    /// The picked cell with its rasters' exact footprint, and the model's window.
    pub(super) fn selection(&self) {
        if let Some(Selection::Cell(cell)) = self.session.selection {
            let rect = self.cell_rect(cell);
            self.painter.rect_stroke(rect, 0.0, Stroke::new(2.0, theme::PICKED), egui::StrokeKind::Middle);
            if let Ok(places) = cell.footprint().and_then(|footprint| footprint.corners()) {
                let points = corners(self.projector, &places);
                let stroke = Stroke::new(1.0, theme::PICKED);
                let closed = points.iter().chain(&points[..1]).copied().collect::<Vec<_>>();
                self.painter.extend(Shape::dashed_line(&closed, stroke, 6.0, 4.0));
            }
        }
        let outline = |ground: &Ground, colour| {
            if let Some(places) = &ground.corners {
                let points = corners(self.projector, places);
                self.painter.add(Shape::closed_line(points.to_vec(), Stroke::new(2.0, colour)));
            }
        };
        if let Some(run) = self.session.run() {
            outline(&run.observed.ground, theme::SYNTHETIC);
        }
        if let Some(observed) = &self.session.observed {
            let same = self.session.run().is_some_and(|run| {
                run.observed.ground.footprint == observed.ground.footprint && self.shown.base != Base::Observed
            });
            if !same {
                outline(&observed.ground, theme::PICKED);
            }
        }
    }

    /// The handle that moves the window over the picked scene.
    pub(super) fn grip(&self, ui: &mut egui::Ui) -> Option<Command> {
        let Some(Selection::Scene(i)) = self.session.selection else { return None };
        let known = self.session.scenes.get(i)?;
        let ground = &self.session.observed.as_ref()?.ground;
        let extent = known.scene.footprint();
        let (scene, window) = (known.corners.as_ref()?, ground.corners.as_ref()?);
        let (scene, window) = (corners(self.projector, scene), corners(self.projector, window));
        let extent_m = [extent.width_m, extent.height_m];
        WindowHandle { scene: &scene, extent_m, window: &window, side_m: ground.footprint.width_m }
            .show(ui, self.painter)
    }

    /// Corners of the picked window on the screen, if it is large enough to tell its pixels.
    pub(super) fn window(&self) -> Option<[Pos2; 4]> {
        let places = self.session.observed.as_ref()?.ground.corners.as_ref()?;
        let points = corners(self.projector, places);
        (Rect::from_points(&points).width() > 60.0).then_some(points)
    }

    /// A click inside the picked window inspects the spot.
    pub(super) fn inspect(&self, at: Pos2) -> Option<Command> {
        let [nw, ne, _, sw] = self.window()?;
        let [x, y] = along(at - nw, ne - nw, sw - nw);
        let inside = (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y);
        inside.then_some(Command::Inspect(Some(Spot { x, y })))
    }

    /// The spot that is inspected.
    pub(super) fn spot(&self) {
        if let (Some(spot), Some([nw, ne, _, sw])) = (self.shown.spot, self.window()) {
            mark(self.painter, nw + (ne - nw) * spot.x as f32 + (sw - nw) * spot.y as f32);
        }
    }

    /// What a click means: a scene close by, else a cell once the grid is shown.
    pub(super) fn pick(&self, at: Pos2, grid: bool) -> Option<Command> {
        let hit = |places: &[Location; 4]| {
            let bounds = Rect::from_points(&corners(self.projector, places));
            let reach = if bounds.width() < DOT_BELOW { 9.0 } else { 2.0 };
            bounds.expand(reach).contains(at)
        };
        let scene = self.session.scenes.iter().position(|known| known.corners.as_ref().is_some_and(hit));
        if let Some(i) = scene {
            return Some(Command::Pick(Selection::Scene(i)));
        }
        if let Some(cell) = self.collected_at(at) {
            return Some(Command::Pick(Selection::Cell(cell)));
        }
        let place = self.projector.unproject(at.to_vec2());
        let cell = GridCell::containing(Location { lat: place.y(), lon: place.x() })?;
        grid.then_some(Command::Pick(Selection::Cell(cell)))
    }
}

/// The mark of a spot.
fn mark(painter: &egui::Painter, at: egui::Pos2) {
    for (width, colour) in [(3.5, Color32::from_black_alpha(170)), (1.5, theme::PICKED)] {
        let stroke = egui::Stroke::new(width, colour);
        painter.circle_stroke(at, 5.0, stroke);
        for direction in [vec2(1.0, 0.0), vec2(-1.0, 0.0), vec2(0.0, 1.0), vec2(0.0, -1.0)] {
            painter.line_segment([at + direction * 5.0, at + direction * 11.0], stroke);
        }
    }
}
