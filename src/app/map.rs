//! The slippy map: grid, scenes, the model's window, pictures at their true place, and what a click picks.

use super::basemap::{Layer, Lines, open};
use super::command::Command;
use super::scenery::Scenery;
use super::session::Session;
use super::shown::Shown;
use super::{map_buttons, map_controls};
use crate::modality::Location;
use std::ops::RangeInclusive;
use walkers::{Map, MapMemory, Tiles, lat_lon};

/// From this zoom level on the grid is drawn, and cells can be picked.
const GRID_ZOOM: f64 = 8.5;
/// Zoom levels at which pixels still mean something.
const ZOOMS: RangeInclusive<f64> = 1.0..=19.0;

/// The map and where it looks.
pub struct MapView {
    memory: MapMemory,
    tiles: Option<Box<dyn Tiles>>,
    layer: Layer,
    lines: Option<Lines>,
    /// Height of the map when it was last drawn, points.
    height: f32,
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
            scene.collected();
            scene.scenes();
            scene.pictures(overlay);
            scene.selection();
            scene.spot();
            scene.places();
            scene.area();
            commands.extend(scene.swipe(ui));
            commands.extend(scene.grip(ui));
            commands.extend(scene.tool(ui));
            scene.ruler(response.hover_pos());
            scene.labels(response, grid, layer);
            if response.clicked()
                && let Some(at) = response.interact_pointer_pos()
            {
                commands.extend(scene.click(at, grid));
            }
        });
        self.stay_on_earth();
        map_buttons::show(ui, drawn.response.rect, session, shown, &mut commands);
        map_controls::layers(ui, drawn.response.rect, session, shown, overlay, &mut commands);
        commands
    }
}
