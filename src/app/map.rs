//! The slippy map: grid, scenes, the model's window, pictures at their true place, and what a click picks.

use super::basemap::{Layer, Lines, open};
use super::command::Command;
use super::inspector;
use super::map_controls;
use super::session::{Ground, Selection, Session};
use super::shown::{Base, Shown};
use super::spread_paint::SpreadCallback;
use super::window_grip::{Grip, along};
use super::{theme, widgets};
use crate::grid::GridCell;
use crate::modality::Location;
use crate::view::Spot;
use egui::{Align2, Color32, FontId, Painter, Pos2, Rect, Response, Shape, Stroke, TextureId, pos2, vec2};
use std::ops::RangeInclusive;
use walkers::{Map, MapMemory, Projector, Tiles, lat_lon};

/// From this zoom level on the grid is drawn, and cells can be picked.
const GRID_ZOOM: f64 = 8.5;
/// Zoom levels at which pixels still mean something.
const ZOOMS: RangeInclusive<f64> = 1.0..=19.0;
/// At most so many cells are drawn.
const GRID_CELLS: usize = 4000;
/// A footprint smaller than this on the screen is drawn as a dot, points.
const DOT_BELOW: f32 = 14.0;

/// The map and where it looks.
pub struct MapView {
    memory: MapMemory,
    tiles: Option<Box<dyn Tiles>>,
    layer: Layer,
    lines: Option<Lines>,
    /// Height of the map when it was last drawn, points.
    height: f32,
}

/// A place on the screen.
fn screen(projector: &Projector, at: Location) -> Pos2 {
    projector.project(lat_lon(at.lat, at.lon)).to_pos2()
}

fn corners(projector: &Projector, corners: &[Location; 4]) -> [Pos2; 4] {
    corners.map(|at| screen(projector, at))
}

impl MapView {
    /// The whole world.
    pub fn new() -> Self {
        let mut view =
            Self { memory: MapMemory::default(), tiles: None, layer: Layer::Offline, lines: None, height: 700.0 };
        view.centre(Location { lat: 20.0, lon: 10.0 }, 2.0);
        view
    }

    /// Looks at a place.
    pub fn centre(&mut self, at: Location, zoom: f64) {
        self.memory.center_at(lat_lon(at.lat, at.lon));
        // The map itself allows more levels, so nothing is refused.
        let _ = self.memory.set_zoom(zoom.clamp(*ZOOMS.start(), *ZOOMS.end()));
    }

    /// Looks at a place so that a square of this side around it fills a good part of the map.
    pub fn fit(&mut self, at: Location, side_m: f64) {
        const SHARE: f64 = 0.55;
        let metres_per_point = side_m / (SHARE * f64::from(self.height));
        let equator = std::f64::consts::TAU * 6_378_137.0 / 256.0;
        let zoom = (equator * at.lat.to_radians().cos() / metres_per_point).log2();
        self.centre(at, zoom);
    }

    /// Zooms by so many levels.
    pub fn zoom_by(&mut self, levels: f64) {
        let _ = self.memory.set_zoom((self.memory.zoom() + levels).clamp(*ZOOMS.start(), *ZOOMS.end()));
    }

    /// Keeps the middle of the map in the world and the zoom in its range, whatever wheel and mouse did.
    fn stay_on_earth(&mut self) {
        if let Some(at) = self.memory.detached() {
            let (lat, lon) = (at.y().clamp(-84.0, 84.0), at.x().clamp(-180.0, 180.0));
            if (lat, lon) != (at.y(), at.x()) {
                self.memory.center_at(lat_lon(lat, lon));
            }
        }
        self.zoom_by(0.0);
    }

    /// The layer below everything.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// Another layer below everything.
    ///
    /// # Errors
    /// When its tiles are missing; the old layer stays.
    pub fn set_layer(&mut self, layer: Layer, ctx: &egui::Context) -> crate::Result<()> {
        self.tiles = Some(open(layer, ctx)?);
        self.layer = layer;
        Ok(())
    }

    /// Coast and borders, once they are read.
    pub fn set_lines(&mut self, lines: Lines) {
        self.lines = Some(lines);
    }

    /// Draws everything and reads clicks. `overlay`: whether the graphics card can draw the spread.
    pub fn show(&mut self, ui: &mut egui::Ui, session: &Session, shown: &Shown, overlay: bool) -> Vec<Command> {
        let mut commands = Vec::new();
        let layer = self.layer;
        let lines = self.lines.as_ref();
        let tiles = self.tiles.as_mut().map(|tiles| tiles.as_mut() as &mut dyn Tiles);
        let map = Map::new(tiles, &mut self.memory, lat_lon(20.0, 10.0)).zoom_with_ctrl(false).zoom_speed(1.0);
        self.height = ui.available_height();
        let drawn = map.show(ui, |ui, response, projector, memory| {
            let painter = ui.painter().with_clip_rect(response.rect);
            if layer == Layer::Offline
                && let Some(lines) = lines
            {
                lines.draw(&painter, projector, response.rect);
            }
            let scene = Scenery { painter: &painter, projector, session, shown, clip: response.rect };
            let grid = memory.zoom() >= GRID_ZOOM;
            if grid {
                scene.grid();
            }
            scene.scenes();
            scene.pictures(overlay);
            scene.selection();
            scene.spot();
            commands.extend(scene.swipe(ui));
            commands.extend(scene.grip(ui));
            scene.labels(response, grid, layer);
            if response.clicked()
                && let Some(at) = response.interact_pointer_pos()
            {
                commands.extend(scene.inspect(at).or_else(|| scene.pick(at, grid)));
            }
        });
        self.stay_on_earth();
        map_controls::zoom_buttons(ui, drawn.response.rect, &mut commands);
        map_controls::layers(ui, drawn.response.rect, session, shown, overlay, &mut commands);
        commands
    }
}

/// Everything drawn over the tiles in one frame.
struct Scenery<'a> {
    painter: &'a Painter,
    projector: &'a Projector<'a>,
    session: &'a Session,
    shown: &'a Shown,
    clip: Rect,
}

impl Scenery<'_> {
    fn grid(&self) {
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
                self.painter.text(at, Align2::LEFT_TOP, cell.to_string(), font, theme::GRID_TEXT);
            }
        }
    }

    fn cell_rect(&self, cell: GridCell) -> Rect {
        let (west, south, east, north) = cell.bounds();
        let corner = |lat, lon| screen(self.projector, Location { lat, lon });
        Rect::from_two_pos(corner(north, west), corner(south, east))
    }

    fn scenes(&self) {
        for (i, known) in self.session.scenes.iter().enumerate() {
            let Some(places) = &known.corners else { continue };
            let points = corners(self.projector, places);
            let bounds = Rect::from_points(&points);
            if !bounds.expand(20.0).intersects(self.clip) {
                continue;
            }
            let picked = self.session.selection == Some(Selection::Scene(i));
            let colour = if picked { theme::PICKED } else { theme::OBSERVED };
            if bounds.width() < DOT_BELOW {
                self.painter.circle(bounds.center(), 6.5, colour, Stroke::new(2.0, Color32::WHITE));
            } else {
                self.painter
                    .add(Shape::closed_line(points.to_vec(), Stroke::new(if picked { 2.0 } else { 1.5 }, colour)));
            }
        }
    }

    fn pictures(&self, overlay: bool) {
        let ground = match self.shown.base {
            Base::Observed => self.session.observed.as_ref().map(|o| &o.ground),
            _ => self.session.run.as_ref().map(|r| &r.observed.ground),
        };
        let texture = match self.shown.base {
            Base::None => None,
            Base::Observed => {
                let thumbnail = || self.shown.thumbnails.get(self.shown.modality).and_then(Option::as_ref);
                self.shown.observed_here(self.session).or_else(thumbnail)
            }
            Base::Mean => self.shown.mean.as_ref(),
            Base::Realisation(i) => self.shown.realisations.get(&i),
        };
        if let (Some(places), Some(texture)) = (ground.and_then(|g| g.corners.as_ref()), texture) {
            let points = corners(self.projector, places);
            self.picture(self.painter, &points, texture.id());
            if let Some((x, observed)) = self.divider(&points).zip(self.shown.observed_here(self.session)) {
                let west = Rect::from_min_max(self.clip.min, pos2(x, self.clip.max.y));
                self.picture(&self.painter.with_clip_rect(west), &points, observed.id());
            }
        }
        let run_ground = self.session.run.as_ref().and_then(|r| r.observed.ground.corners.as_ref());
        if let (true, true, Some(spread), Some(places)) =
            (overlay, self.shown.spread_wanted, &self.shown.spread, run_ground)
        {
            let points = corners(self.projector, places);
            self.painter.add(SpreadCallback::shape(self.clip, points, spread, self.shown.opacity));
        }
    }

    /// Where the swipe's line stands, if what is shown is generated.
    fn divider(&self, points: &[Pos2; 4]) -> Option<f32> {
        let synthetic = matches!(self.shown.base, Base::Mean | Base::Realisation(_));
        let bounds = Rect::from_points(points);
        self.shown.swipe.filter(|_| synthetic).map(|share| bounds.left() + share * bounds.width())
    }

    /// The line of the swipe, which can be dragged.
    fn swipe(&self, ui: &mut egui::Ui) -> Option<Command> {
        let places = self.session.run.as_ref()?.observed.ground.corners.as_ref()?;
        self.shown.observed_here(self.session)?;
        let points = corners(self.projector, places);
        let (x, bounds) = (self.divider(&points)?, Rect::from_points(&points));
        let line = Rect::from_x_y_ranges((x - 5.0)..=(x + 5.0), bounds.y_range());
        let response = ui.interact(line, ui.scope_id().with("swipe"), egui::Sense::drag());
        widgets::named(&response, egui::Role::Slider, "Swipe");
        let hot = response.hovered() || response.dragged();
        self.painter.vline(x, bounds.y_range(), Stroke::new(if hot { 3.0 } else { 2.0 }, theme::PICKED));
        for (text, align, at) in
            [("observed", Align2::RIGHT_BOTTOM, x - 4.0), ("synthetic", Align2::LEFT_BOTTOM, x + 4.0)]
        {
            self.label(pos2(at, bounds.bottom() - 4.0), align, text.into(), &FontId::proportional(11.0));
        }
        if hot {
            ui.ctx().set_cursor_icon(egui::CursorIcon::ResizeHorizontal);
        }
        let pointer = response.interact_pointer_pos().filter(|_| response.dragged())?;
        Some(Command::Swipe(Some(((pointer.x - bounds.left()) / bounds.width().max(1.0)).clamp(0.0, 1.0))))
    }

    fn picture(&self, painter: &Painter, corners: &[Pos2; 4], texture: TextureId) {
        let mut mesh = egui::Mesh::with_texture(texture);
        let at = [pos2(0.0, 0.0), pos2(1.0, 0.0), pos2(1.0, 1.0), pos2(0.0, 1.0)];
        for (&pos, uv) in corners.iter().zip(at) {
            mesh.vertices.push(egui::epaint::Vertex { pos, uv, color: Color32::WHITE });
        }
        mesh.indices = vec![0, 1, 2, 0, 2, 3];
        painter.add(Shape::mesh(mesh));
    }

    /// The picked cell with its rasters' exact footprint, and the model's window.
    fn selection(&self) {
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
        if let Some(run) = &self.session.run {
            outline(&run.observed.ground, theme::SYNTHETIC);
        }
        if let Some(observed) = &self.session.observed {
            let same = self.session.run.as_ref().is_some_and(|run| {
                run.observed.ground.footprint == observed.ground.footprint && self.shown.base != Base::Observed
            });
            if !same {
                outline(&observed.ground, theme::PICKED);
            }
        }
    }

    /// The handle that moves the window over the picked scene.
    fn grip(&self, ui: &mut egui::Ui) -> Option<Command> {
        let Some(Selection::Scene(i)) = self.session.selection else { return None };
        let known = self.session.scenes.get(i)?;
        let ground = &self.session.observed.as_ref()?.ground;
        let extent = known.scene.footprint();
        let (scene, window) = (known.corners.as_ref()?, ground.corners.as_ref()?);
        let (scene, window) = (corners(self.projector, scene), corners(self.projector, window));
        let extent_m = [extent.width_m, extent.height_m];
        Grip { scene: &scene, extent_m, window: &window, side_m: ground.footprint.width_m }.show(ui, self.painter)
    }

    /// Attribution, scale, coordinates, and what the picture is.
    fn labels(&self, response: &Response, grid: bool, layer: Layer) {
        let small = FontId::proportional(11.0);
        self.label(self.clip.right_bottom() - vec2(6.0, 6.0), Align2::RIGHT_BOTTOM, layer.credit().into(), &small);
        self.scale_bar(self.clip.left_bottom() + vec2(12.0, -14.0));
        if let Some(pointer) = response.hover_pos() {
            let at = self.projector.unproject(pointer.to_vec2());
            let place = Location { lat: at.y(), lon: at.x() };
            let cell = GridCell::containing(place).filter(|_| grid).map(|c| format!("  ·  {c}")).unwrap_or_default();
            let text = format!("{:.4}°, {:.4}°{cell}", place.lat, place.lon);
            self.label(pos2(self.clip.center().x, self.clip.bottom() - 6.0), Align2::CENTER_BOTTOM, text, &small);
        }
        let synthetic = match self.shown.base {
            Base::Mean => self.shown.mean.is_some(),
            Base::Realisation(i) => self.shown.realisations.contains_key(&i),
            Base::None | Base::Observed => self.shown.spread_wanted && self.shown.spread.is_some(),
        };
        let ground = self.session.run.as_ref().filter(|_| synthetic).and_then(|r| r.observed.ground.corners.as_ref());
        if let Some(places) = ground {
            let points = corners(self.projector, places);
            let bounds = Rect::from_points(&points);
            if bounds.width() > 40.0 {
                self.tag(bounds.left_top(), "SYNTHETIC");
            }
        }
    }

    fn label(&self, at: Pos2, align: Align2, text: String, font: &FontId) {
        let galley = self.painter.layout_no_wrap(text, font.clone(), theme::MAP_TEXT);
        let rect = align.anchor_size(at, galley.size() + vec2(10.0, 4.0));
        self.painter.rect_filled(rect, 3.0, theme::MAP_LABEL);
        self.painter.galley(rect.min + vec2(5.0, 2.0), galley, theme::MAP_TEXT);
    }

    fn tag(&self, at: Pos2, text: &str) {
        let galley = self.painter.layout_no_wrap(text.into(), FontId::proportional(10.0), Color32::BLACK);
        let rect = Align2::LEFT_BOTTOM.anchor_size(at, galley.size() + vec2(8.0, 3.0));
        self.painter.rect_filled(rect, 2.0, theme::SYNTHETIC);
        self.painter.galley(rect.min + vec2(4.0, 1.5), galley, Color32::BLACK);
    }

    fn scale_bar(&self, at: Pos2) {
        let middle = self.projector.unproject(self.clip.center().to_vec2());
        let per_metre = self.projector.scale_pixel_per_meter(middle);
        if !(per_metre.is_finite() && per_metre > 0.0) {
            return;
        }
        let metres = round_below(120.0 / f64::from(per_metre));
        let length = metres as f32 * per_metre;
        let text = if metres >= 1000.0 { format!("{} km", metres / 1000.0) } else { format!("{metres} m") };
        let rect = Rect::from_min_size(at - vec2(6.0, 18.0), vec2(length + 12.0, 28.0));
        self.painter.rect_filled(rect, 3.0, theme::MAP_LABEL);
        let stroke = Stroke::new(2.0, theme::MAP_TEXT);
        self.painter.line_segment([at, at + vec2(length, 0.0)], stroke);
        for end in [at, at + vec2(length, 0.0)] {
            self.painter.line_segment([end, end - vec2(0.0, 4.0)], stroke);
        }
        let font = FontId::proportional(11.0);
        self.painter.text(at + vec2(length / 2.0, -3.0), Align2::CENTER_BOTTOM, text, font, theme::MAP_TEXT);
    }

    /// Corners of the picked window on the screen, if it is large enough to tell its pixels.
    fn window(&self) -> Option<[Pos2; 4]> {
        let places = self.session.observed.as_ref()?.ground.corners.as_ref()?;
        let points = corners(self.projector, places);
        (Rect::from_points(&points).width() > 60.0).then_some(points)
    }

    /// A click inside the picked window inspects the spot.
    fn inspect(&self, at: Pos2) -> Option<Command> {
        let [nw, ne, _, sw] = self.window()?;
        let [x, y] = along(at - nw, ne - nw, sw - nw);
        let inside = (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y);
        inside.then_some(Command::Inspect(Some(Spot { x, y })))
    }

    fn spot(&self) {
        if let (Some(spot), Some([nw, ne, _, sw])) = (self.shown.spot, self.window()) {
            inspector::mark(self.painter, nw + (ne - nw) * spot.x as f32 + (sw - nw) * spot.y as f32);
        }
    }

    /// What a click means: a scene close by, else a cell once the grid is shown.
    fn pick(&self, at: Pos2, grid: bool) -> Option<Command> {
        let hit = |places: &[Location; 4]| {
            let bounds = Rect::from_points(&corners(self.projector, places));
            let reach = if bounds.width() < DOT_BELOW { 9.0 } else { 2.0 };
            bounds.expand(reach).contains(at)
        };
        let scene = self.session.scenes.iter().position(|known| known.corners.as_ref().is_some_and(hit));
        if let Some(i) = scene {
            return Some(Command::Pick(Selection::Scene(i)));
        }
        let place = self.projector.unproject(at.to_vec2());
        let cell = GridCell::containing(Location { lat: place.y(), lon: place.x() })?;
        grid.then_some(Command::Pick(Selection::Cell(cell)))
    }
}

/// The largest 1, 2 or 5 times a power of ten not above `value`.
fn round_below(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|n| n * power).find(|v| *v <= value).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::round_below;

    #[test]
    fn scale_bars_have_round_lengths() {
        for (value, expected) in [(1.0, 1.0), (4.9, 2.0), (73.0, 50.0), (19_999.0, 10_000.0), (0.3, 0.2)] {
            assert!((round_below(value) - expected).abs() < 1e-9, "{value}");
        }
    }
}
