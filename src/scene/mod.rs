//! Real rasters to co-registered windows at native resolution.

mod checks;
mod collection;
mod dates;
mod gap;
mod geotiff;
mod layer;
mod loose;
mod major_tom;
mod metadata;
mod pictures;
mod raster_file;
mod read_back;

pub use collection::{Collection, Holding};
pub use dates::day_in;
pub use gap::Gap;
pub use geotiff::{GeoTiff, Pixels, refuse_existing};
pub use loose::{LooseFile, recognise, scene_of};
pub(crate) use raster_file::pixels;
pub use raster_file::quiet_gdal;
pub(crate) use read_back::{Bits, read_back};

use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::{Location, Modality, ModalityTable, Value, ValueKind};
use jiff::civil::Date;
use layer::Layer;
use metadata::Metadata;
use raster_file::RasterFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Windows begin at multiples of the coarsest pixel, so that they fall on pixel borders in every modality.
pub const WINDOW_STEP_M: f64 = 60.0;

/// Which square of a scene to take.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The centre crop of specification B.2.
    #[default]
    Centre,
    /// A window whose upper-left corner lies this far from the scene's, metres; multiples of 60 m.
    At {
        /// Metres east of the scene's left edge.
        east_m: f64,
        /// Metres south of the scene's top edge.
        south_m: f64,
    },
}

/// One modality's value in a window, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Physical value.
    pub value: Value,
    /// Files it was read from; empty when set by hand or derived.
    pub sources: Vec<PathBuf>,
    /// ISO 8601 date, month or year of acquisition, if known.
    pub date: Option<String>,
    /// Where it comes from and what was done to it, if the scene says.
    pub origin: Option<String>,
    /// The largest gap of its rasters in the window, if some of it is no data.
    pub gap: Option<Gap>,
}

impl Given {
    /// A value without sources.
    pub fn of(value: Value) -> Self {
        Self { value, sources: Vec::new(), date: None, origin: None, gap: None }
    }
}

/// Everything known about one window: co-registered values in table order.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Name of the place and window; part of the seed of every noise stream.
    pub tile: String,
    /// Where the window lies.
    pub footprint: Footprint,
    /// One entry per modality of the table; `None` where nothing is known or wanted.
    pub values: Vec<Option<Given>>,
    /// What a careful reader should know (suspicious value ranges, no-data pixels, …).
    pub notes: Vec<String>,
}

impl Observation {
    /// Why a modality cannot be given, though it was read: too much of it is no data.
    pub fn mostly_missing(&self, m: &Modality, index: usize) -> Option<Error> {
        let given = self.values.get(index)?.as_ref()?;
        given.gap.as_ref()?.suits(m, given.value.image()?).err()
    }

    /// The date of the place (ISO 8601 day), if one is known.
    pub fn date(&self, table: &ModalityTable) -> Option<String> {
        let at = table.iter().position(|m| m.values == ValueKind::Date)?;
        match &self.values[at].as_ref()?.value {
            Value::Date(date) => Some(date.to_string()),
            _ => None,
        }
    }
}

/// How to open a scene.
#[derive(Debug, Clone, Copy, Default)]
pub struct SceneOptions {
    /// Take terrain-corrected sigma0 (`S1GRD.tif`) where no radiometrically terrain-corrected radar exists. The two
    /// differ by about a dB over flat land, more on slopes.
    pub accept_grd_as_rtc: bool,
}

/// A place with real data.
#[derive(Debug, Clone)]
pub struct Scene {
    name: String,
    dir: PathBuf,
    extent: Footprint,
    parts: Parts,
}

/// What was found in a folder.
#[derive(Debug, Clone, Default)]
struct Parts {
    layers: BTreeMap<String, Layer>,
    /// Colours without units, beside or instead of measurements of the same name.
    pictures: BTreeMap<String, Layer>,
    metadata: Metadata,
    notes: Vec<String>,
    /// Modalities whose files cannot be used, and why.
    broken: BTreeMap<String, (PathBuf, String)>,
    /// The radar is sigma0 and was not taken for gamma0.
    sigma0_only: bool,
}

impl Parts {
    /// Keeps a picture, or why there is none.
    fn put_picture(&mut self, name: &str, layer: Result<Layer>) -> Result<()> {
        match layer {
            Ok(layer) => {
                self.pictures.insert(name.to_owned(), layer);
                Ok(())
            }
            failed => self.put(name, failed),
        }
    }

    /// The same with what has to be said about it.
    fn with_notes(mut self) -> Self {
        for (name, layer) in self.layers.iter().chain(&self.pictures).filter(|(_, layer)| layer.header().synthetic) {
            let path = layer.header().path.display();
            self.notes.push(format!("{name} is no observation: {path} was generated by a model."));
        }
        self
    }

    /// What a modality is read from.
    fn layer(&self, m: &Modality) -> Option<&Layer> {
        if m.values == ValueKind::Picture { self.pictures.get(&m.name) } else { self.layers.get(&m.name) }
    }

    /// Keeps a layer, or why there is none: one bad file does not spoil the others.
    fn put(&mut self, name: &str, layer: Result<Layer>) -> Result<()> {
        match layer {
            Ok(layer) => {
                self.layers.insert(name.to_owned(), layer);
            }
            Err(Error::File { problem, path }) => {
                // The first is what matters more: measurements are looked at before pictures of them.
                self.broken.entry(name.to_owned()).or_insert((path, problem));
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

impl Scene {
    /// Opens a scene folder: GeoTIFFs named by modality (`S2L2A_10m.tif`, …) and `scene.json`. Any folder of a cell in
    /// the Major TOM layout (`Core-S2L2A/618U/618U_30L`) stands for all that its root has of the cell.
    ///
    /// # Errors
    /// When the folder holds no modality, or a file is no raster.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, SceneOptions::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(dir: &Path, options: SceneOptions) -> Result<Self> {
        if let Some((root, cell)) = major_tom::cell_folder(dir) {
            return Self::assemble(cell.to_string(), dir, major_tom::open(&root, &cell.to_string())?);
        }
        let metadata = Metadata::read(dir)?;
        let mut parts = Parts { notes: metadata.notes.clone(), metadata, ..Parts::default() };
        let own_grids = parts.metadata.own_grids;
        let layer = |file| if own_grids { Layer::single(file).on_own_grid() } else { Layer::single(file) };
        for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
            let elsewhere = parts.metadata.files.get(&m.name).map(|path| dir.join(path));
            let named = elsewhere.is_some();
            let path = elsewhere.unwrap_or_else(|| dir.join(format!("{}.tif", m.name)));
            // What a description names has to be there.
            if named || path.exists() {
                match RasterFile::open(&path).map(|file| if named { file.called(&m.channels) } else { file }) {
                    Ok(file) if pictures::is_picture(&file) => parts.put_picture(&m.name, pictures::layer(file))?,
                    file => parts.put(&m.name, file.map(layer))?,
                }
            }
        }
        pictures::find(dir, &mut parts)?;
        let grd = dir.join("S1GRD.tif");
        if grd.exists() && !parts.layers.contains_key("S1RTC") {
            if options.accept_grd_as_rtc {
                parts.put("S1RTC", RasterFile::open(&grd).map(Layer::single))?;
            } else {
                parts.sigma0_only = true;
            }
        }
        // A scene has one name, and so one set of noise streams, however its path is written.
        let full = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        let name = full.file_name().map_or_else(|| "scene".into(), |n| n.to_string_lossy().into_owned());
        Self::assemble(name, dir, parts)
    }

    /// Opens one cell of a folder in the Major TOM layout (specification B.10).
    ///
    /// # Errors
    /// When the cell has no data there, or a file is no raster.
    pub fn open_major_tom(root: &Path, cell: &str) -> Result<Self> {
        Self::assemble(cell.to_owned(), root, major_tom::open(root, cell)?)
    }

    fn assemble(name: String, dir: &Path, parts: Parts) -> Result<Self> {
        // The finest modality defines the extent, all others must nest in it; of equals the first of these, because
        // land-cover and cloud rasters are sometimes a pixel larger.
        const ANCHORS: [&str; 3] = ["S2L2A_10m", "S2L1C_10m", "S1RTC"];
        let table = ModalityTable::published();
        let ground = |name: &str| table.index(name).map_or(10.0, |i| table[i].ground_m);
        let rank = |name: &str| ANCHORS.iter().position(|a| *a == name).unwrap_or(ANCHORS.len());
        let finest =
            parts.layers.iter().min_by(|a, b| ground(a.0).total_cmp(&ground(b.0)).then(rank(a.0).cmp(&rank(b.0))));
        let Some((finest, layer)) = finest else {
            // Pictures are a scene of their own.
            if let Some(layer) = parts.pictures.values().next() {
                let pixel_m = layer.header().grid.map_or(pictures::PIXEL_M, |[_, _, pixel, _]| pixel);
                let extent = layer.footprint(pixel_m);
                return Ok(Self { name, dir: dir.to_path_buf(), extent, parts: parts.with_notes() });
            }
            if let Some((path, problem)) = parts.broken.values().next() {
                return Err(Error::file(path, problem.clone()));
            }
            let radar =
                if parts.sigma0_only { ": its radar is sigma0 (S1GRD.tif), not terrain-flattened gamma0" } else { "" };
            return Err(Error::file(
                dir,
                format!(
                    "This folder holds no modality{radar}; expected GeoTIFFs such as S2L2A_10m.tif, S1RTC.tif, DEM.tif or LULC.tif"
                ),
            ));
        };
        layer.check_pixels(finest, ground(finest))?;
        let extent = layer.footprint(ground(finest));
        Ok(Self { name, dir: dir.to_path_buf(), extent, parts: parts.with_notes() })
    }

    /// Folder name, or cell.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies on disk.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ground the scene covers.
    pub fn footprint(&self) -> &Footprint {
        &self.extent
    }

    /// Centre of the scene, if it has a georeference.
    pub fn location(&self) -> Option<Location> {
        self.extent.centre().ok()
    }

    /// Licence and attribution, as `scene.json` says.
    pub fn attribution(&self) -> Option<&str> {
        self.parts.metadata.attribution.as_deref()
    }

    /// Date of acquisition of a modality's family (ISO 8601 day, month or year), if known.
    pub fn date_of(&self, family: &str) -> Option<&str> {
        self.parts.metadata.date(family)
    }

    /// Date that stands for the scene (specification B.9): the middle between radar and surface reflectance where
    /// both are known, else any optical or radar acquisition.
    pub fn date(&self) -> Option<Date> {
        let day = |family: &str| self.parts.metadata.day(family);
        match (day("S1RTC"), day("S2L2A")) {
            (Some(a), Some(b)) => {
                let (first, last) = (a.min(b), a.max(b));
                let days = first.until(last).ok()?.get_days();
                first.checked_add(jiff::Span::new().days(days / 2)).ok()
            }
            (a, b) => a.or(b).or_else(|| day("S2L1C")).or_else(|| day("S1GRD")),
        }
    }

    /// What a careful reader should know about the scene as a whole.
    pub fn notes(&self) -> &[String] {
        &self.parts.notes
    }

    /// Whether a product could carry the offset of processing baselines from 04.00 on (25 January 2022).
    fn offset_possible(&self, m: &Modality) -> bool {
        self.parts.metadata.day(&m.family).is_none_or(|day| day.year() >= 2022)
    }

    fn missing(&self, table: &ModalityTable, m: &Modality) -> Error {
        let names: Vec<&str> = self.available(table).iter().map(|&i| table[i].name.as_str()).collect();
        let radar = if self.parts.sigma0_only && m.name == "S1RTC" {
            " (its radar is sigma0, S1GRD.tif, not terrain-flattened gamma0)"
        } else {
            ""
        };
        Error::request(format!(
            "The scene {} has no {}{radar}; it has {}. Do not give it, or set a value for it.",
            self.name,
            m.name,
            names.join(", ")
        ))
    }

    /// Modalities of a table that the scene has a value for.
    pub fn available(&self, table: &ModalityTable) -> Vec<usize> {
        let known = |m: &Modality| match m.values {
            ValueKind::Location => self.extent.crs.is_some(),
            ValueKind::Date => self.date().is_some(),
            _ => self.parts.layer(m).is_some_and(|layer| layer.holds(m)),
        };
        (0..table.len()).filter(|&i| known(&table[i])).collect()
    }

    /// What offsets of windows are multiples of: the coarsest pixel.
    fn step_m(&self) -> f64 {
        if self.parts.layers.is_empty() { pictures::PIXEL_M } else { WINDOW_STEP_M }
    }

    /// A window of this side.
    ///
    /// # Errors
    /// When the scene is smaller, or the window leaves it or its 60 m raster.
    pub fn window(&self, side_m: f64, window: Window) -> Result<Footprint> {
        if !(side_m > 0.0 && side_m.is_finite()) {
            return Err(Error::request("The window has no size."));
        }
        let (w, h) = (self.extent.width_m, self.extent.height_m);
        if side_m > w + 1e-6 || side_m > h + 1e-6 {
            return Err(Error::file(
                &self.dir,
                format!("The scene covers {w} × {h} m, but the model needs a window of {side_m} × {side_m} m"),
            ));
        }
        match window {
            Window::Centre => Ok(self.extent.centre_window(side_m, self.step_m())),
            Window::At { east_m, south_m } => {
                for (offset, extent) in [(east_m, w), (south_m, h)] {
                    if !(-1e-6..=extent - side_m + 1e-6).contains(&offset) {
                        return Err(Error::request(format!(
                            "The window begins at {east_m} m east, {south_m} m south and leaves the scene of {w} × {h} m."
                        )));
                    }
                    let step = self.step_m();
                    if (offset / step - (offset / step).round()).abs() > 1e-6 {
                        return Err(Error::request(format!(
                            "The window must begin at multiples of {step} m, not {offset} m."
                        )));
                    }
                }
                Ok(self.extent.inner(east_m, south_m, side_m))
            }
        }
    }

    /// Reads the wanted modalities in a window (see [`window`](Self::window)), in the table's channel order.
    ///
    /// # Errors
    /// When a wanted modality is not there, or its raster does not fit (see the message).
    pub fn read(&self, table: &ModalityTable, window: &Footprint, wanted: &[usize]) -> Result<Observation> {
        let mut notes = self.parts.notes.clone();
        let mut values = vec![None; table.len()];
        for &i in wanted {
            let m = &table[i];
            let missing = || self.missing(table, m);
            values[i] = Some(match m.values {
                ValueKind::Location => {
                    let at = window.crs.as_ref().map(|_| window.centre()).ok_or_else(missing)??;
                    Given::of(Value::Location(at))
                }
                ValueKind::Date => {
                    let date = self.date().ok_or_else(missing)?;
                    let day = date.to_string();
                    if self.parts.metadata.dates.values().flatten().any(|text| text.len() == 7 && day.starts_with(text))
                    {
                        notes.push(format!("Only the month of the scene is known; {date} stands for it."));
                    }
                    Given { date: Some(date.to_string()), ..Given::of(Value::Date(date)) }
                }
                _ => {
                    // A bad picture does not hide good measurements.
                    let layer = self.parts.layer(m).ok_or_else(|| match self.parts.broken.get(&m.name) {
                        Some((path, problem)) => Error::file(path, problem.clone()),
                        None => missing(),
                    })?;
                    if layer.header().grid.is_none() && !layer.covers_like(&self.extent, m.ground_m) {
                        return Err(Error::file(
                            &layer.header().path,
                            "It has no georeference and another extent than the scene's other rasters, so its place is unknown",
                        ));
                    }
                    let (raster, gap) = layer.read(m, window, self.offset_possible(m), &mut notes)?;
                    let value = Value::Image(raster);
                    let origin = self.parts.metadata.origins.get(&m.family).cloned();
                    let date = self.date_of(&m.family).map(str::to_owned);
                    Given { value, sources: layer.paths(), date, origin, gap }
                }
            });
        }
        let offset = [window.left - self.extent.left, self.extent.top - window.top].map(|m| m.round() as i64);
        let tile = format!("{}_e{}_s{}", self.name, offset[0], offset[1]);
        Ok(Observation { tile, footprint: window.clone(), values, notes })
    }
}

/// Reads a modality from a GeoTIFF chosen by hand: bands by description, or in channel order if none has one.
///
/// A raster that lies in the window's coordinate system is read where the window is; one without georeference (or for a
/// window without one) is cropped at its centre (B.2), with a note.
///
/// # Errors
/// When bands, resolution, place, size or values do not fit.
pub fn read_raster_for(m: &Modality, path: &Path, window: &Footprint, notes: &mut Vec<String>) -> Result<Given> {
    let file = RasterFile::open(path)?;
    if file.width < m.pixels || file.height < m.pixels {
        return Err(Error::file(
            path,
            format!(
                "The raster has {} × {} pixels, {} needs at least {} × {}",
                file.width, file.height, m.name, m.pixels, m.pixels
            ),
        ));
    }
    let given = |(raster, gap)| Given { sources: vec![path.to_path_buf()], gap, ..Given::of(Value::Image(raster)) };
    let placed = file.crs.is_some() && window.crs.is_some();
    let layer = match m.values {
        ValueKind::Picture => pictures::layer(file)?,
        _ => Layer::single(file.called(&m.channels)),
    };
    if placed {
        return layer.read(m, window, true, notes).map(given);
    }
    notes.push(format!("{} has no place of its own; its centre was taken for {}.", path.display(), m.name));
    let centre = layer.footprint(m.ground_m).centre_window(m.window_m(), m.ground_m);
    layer.read(m, &centre, true, notes).map(given)
}
