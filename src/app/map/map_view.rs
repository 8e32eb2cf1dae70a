//! The slippy map: grid, scenes, the model's window, pictures at their true place, and what a click picks.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::map::borders::Borders;
use crate::app::map::buttons;
use crate::app::map::labels;
use crate::app::map::painter::MapPainter;
use crate::app::map::picture_card;
use crate::app::map::screen_map::ScreenMap;
use crate::app::map::tile_layers::TileLayers;
use crate::app::state::session::Session;
use crate::app::view::shown::Shown;
use crate::app::work::tiles::TileLoader;
use crate::basemap::{MapInfo, OnlineLayer, TileSource};
use crate::modality::Location;
use egui::Context;
use std::ops::RangeInclusive;
use std::sync::Arc;
use walkers::{Map, MapMemory, lat_lon};

/// From this zoom level on the grid is drawn, and cells can be picked.
const GRID_ZOOM: f64 = 8.5;
/// Zoom levels at which pixels still mean something.
const ZOOMS: RangeInclusive<f64> = 1.0..=19.0;

/// Whom to thank for the bundled layer with its coast, borders and names.
const BUNDLED: &str = "Imagery: NASA Blue Marble; map data: Natural Earth, GeoNames";
/// Whom to thank for coast, borders and names alone.
const CHART: &str = "borders and names: Natural Earth, GeoNames";

/// What a layer says about itself.
#[derive(Debug, Clone)]
pub struct LayerInfo {
    name: String,
    credit: String,
    /// Zoom level of the map it begins at.
    first: u8,
    /// Whether it lacks borders and names.
    bare: bool,
}

impl LayerInfo {
    /// Of a server's layer.
    pub fn online(layer: &OnlineLayer) -> Self {
        let (name, credit) = (layer.name.clone(), layer.attribution.clone());
        Self { name, credit, first: first(layer.min_zoom, layer.tile_size), bare: layer.names }
    }

    /// Of a file.
    pub fn file(info: &MapInfo) -> Self {
        let zooms = format!("zoom {} to {}", info.zooms.start(), info.zooms.end());
        let parts = [info.name.as_str(), &zooms, &info.credit];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self {
            name: info.name.clone(),
            credit: parts.join("  ·  "),
            first: first(*info.zooms.start(), info.side),
            bare: true,
        }
    }
}

/// Zoom level of the map that shows a zoom level of tiles: large tiles hold what four ordinary ones do.
fn first(zoom: u8, side: u32) -> u8 {
    if zoom > 0 && side > 256 { zoom + 1 } else { zoom }
}

/// The map and where it looks.
pub struct MapView {
    memory: MapMemory,
    bundled: Option<TileLoader>,
    layer: Option<(TileLoader, LayerInfo)>,
    borders: Option<Borders>,
    /// Whether borders and names are drawn, if that was chosen for this layer.
    names: Option<bool>,
    /// Height of the map when it was last drawn, points.
    height: f32,
}

impl Default for MapView {
    /// The whole world.
    fn default() -> Self {
        let memory = MapMemory::default();
        let mut view = Self { memory, bundled: None, layer: None, borders: None, names: None, height: 700.0 };
        view.centre(Location { lat: 20.0, lon: 10.0 }, 2.0);
        view
    }
}

impl MapView {
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

    /// Moves to a layer's bounds (west, south, east, north), unless the map's middle is within them.
    pub fn bring_into_view(&mut self, [west, south, east, north]: [f64; 4]) {
        let (lat, lon) = self.memory.detached().map_or((20.0, 10.0), |at| (at.y(), at.x()));
        if (south..north).contains(&lat) && (west..east).contains(&lon) {
            return;
        }
        let zoom = (360.0 / (east - west).max(1e-4)).log2() + 1.0;
        let first = self.layer.as_ref().map_or(0, |(_, info)| info.first);
        let middle = Location { lat: (south + north) / 2.0, lon: (west + east) / 2.0 };
        self.centre(middle, zoom.max(f64::from(first)));
    }

    /// Another layer over the bundled one, or that one alone.
    pub fn set_layer(&mut self, layer: Option<(Arc<dyn TileSource>, LayerInfo, &Context)>) {
        self.layer = layer.map(|(source, info, ctx)| (TileLoader::new(source, ctx), info));
        self.names = None;
    }

    /// The bundled layer, once it is opened.
    pub fn set_bundled(&mut self, source: Arc<dyn TileSource>, ctx: &Context) {
        self.bundled = Some(TileLoader::new(source, ctx));
    }

    /// Coast, borders and names, once they are read.
    pub fn set_borders(&mut self, borders: Borders) {
        self.borders = Some(borders);
    }

    /// Draws borders and names, or not, until another layer is chosen.
    pub fn set_names(&mut self, on: bool) {
        self.names = Some(on);
    }

    /// Whether borders and names are drawn: also where nobody chose, over layers that have none.
    pub fn names(&self) -> bool {
        self.names.unwrap_or_else(|| self.layer.as_ref().is_none_or(|(_, info)| info.bare))
    }

    /// The network may have come back: what could not be fetched is tried again.
    pub fn retry(&mut self) {
        if let Some((loader, _)) = &mut self.layer {
            loader.retry();
        }
    }

    /// Whom to thank for what is drawn.
    pub fn credit(&self) -> String {
        match &self.layer {
            None => BUNDLED.into(),
            Some((_, info)) if self.names() => format!("{}  ·  {CHART}", info.credit),
            Some((_, info)) => info.credit.clone(),
        }
    }

    /// Why some of the layer is missing.
    pub fn hint(&self) -> Option<String> {
        let (loader, info) = self.layer.as_ref()?;
        let first = info.first;
        if self.memory.zoom().round() < f64::from(first) {
            return Some(format!("{} begins at zoom level {first}: zoom in", info.name));
        }
        Some(format!("{}: {}", info.name, loader.trouble()?))
    }

    /// Draws everything and reads clicks. `overlay`: whether the graphics card can draw the spread.
    pub fn show(&mut self, ui: &mut egui::Ui, session: &Session, shown: &Shown, overlay: bool) -> Vec<Command> {
        let mut commands = Vec::new();
        let (names, washed, dark) = (self.names(), self.layer.is_none(), ui.visuals().dark_mode);
        let text = labels::GroundText { credit: self.credit(), hint: self.hint() };
        let borders = self.borders.as_ref().filter(|_| names);
        let own = self.layer.as_mut().map(|(loader, _)| loader);
        let mut tiles = TileLayers { own, below: self.bundled.as_mut() };
        let map =
            Map::new(Some(&mut tiles), &mut self.memory, lat_lon(20.0, 10.0)).zoom_with_ctrl(false).zoom_speed(1.0);
        self.height = ui.available_height();
        let drawn = map.show(ui, |ui, response, projector, memory| {
            let painter = ui.painter().with_clip_rect(response.rect);
            if washed {
                painter.rect_filled(response.rect, 0.0, theme::map_ink(dark, memory.zoom()).wash);
            }
            let scene = MapPainter { painter: &painter, projector, session, shown, clip: response.rect };
            let grid = memory.zoom() >= GRID_ZOOM;
            let taken = if grid { scene.grid() } else { Vec::new() };
            if let Some(borders) = borders {
                borders.draw(&painter, &ScreenMap::new(projector, response.rect), &taken, dark);
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
            scene.labels(response, grid, &text);
            if response.clicked()
                && let Some(at) = response.interact_pointer_pos()
            {
                commands.extend(scene.click(at, grid));
            }
        });
        self.stay_on_earth();
        buttons::show(ui, drawn.response.rect, session, shown, &mut commands);
        picture_card::layers(ui, drawn.response.rect, session, shown, overlay, &mut commands);
        commands
    }
}
