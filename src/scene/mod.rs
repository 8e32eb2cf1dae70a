//! Real rasters to co-registered windows at native resolution.

mod by_hand;
mod checks;
mod codes;
mod collection;
mod dates;
mod eopf;
mod extent;
mod gap;
mod geotiff;
mod layer;
mod legends;
mod loose;
mod major_tom;
mod metadata;
mod numbers;
mod pictures;
mod raster_file;
mod read_back;
mod report;

pub use by_hand::read_raster_for;
pub use collection::{Collection, Holding};
pub use dates::day_in;
pub use extent::{Extent, Window};
pub use gap::Gap;
pub(crate) use geotiff::set_unit;
pub use geotiff::{GeoTiff, Meaning, Pixels, refuse_existing};
pub use loose::{LooseFile, recognise, scene_of};
pub(crate) use metadata::{YEARS, day_of};
pub(crate) use numbers::{Conversion, Numbers, already_gone, already_power};
pub use raster_file::quiet_gdal;
pub(crate) use raster_file::{BEYOND_MEASURE, MOST_PACKED, alpha, blocks_fit, demoted, pixels};
pub(crate) use read_back::{Bits, read_back};
pub use report::{BandReport, ClassShare, RasterReport, SceneReport};

use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::{Catalogue, Family, Group, Location, MOST_MISSING, Modality, ModalityTable, Subject, Value};
use jiff::civil::Date;
use layer::Layer;
use metadata::Metadata;
use raster_file::RasterFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Windows and other extents begin and end at multiples of the coarsest pixel, so that they fall on pixel borders in every
/// modality.
pub const WINDOW_STEP_M: f64 = 60.0;

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

/// Everything known about one window or other extent: co-registered values in table order.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Name of the place and of the extent in it; begins the names of files.
    pub tile: String,
    /// The ground it covers.
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

    /// Its values as truth to compare with or to learn from: without the pixels that no measurement has, whatever else they may
    /// mean.
    ///
    /// # Errors
    /// When more than half of a raster is none: its file.
    pub fn truth(self, table: &ModalityTable) -> Result<Vec<Option<Value>>> {
        let value = |(m, given): (&Modality, Option<Given>)| {
            let Some(Given { value: Value::Image(raster), sources, .. }) = given else {
                return Ok(given.map(|given| given.value));
            };
            let raster = raster.that_can_be(m)?;
            if 1.0 - raster.valid_share() > MOST_MISSING {
                let what = format!("Most of {} in the window is no data, or can be no measurement", m.name);
                return Err(Error::file(sources.into_iter().next().unwrap_or_default(), what));
            }
            Ok(Some(Value::Image(raster)))
        };
        table.iter().zip(self.values).map(value).collect()
    }

    /// The date of the place (ISO 8601 day), if one is known.
    pub fn date(&self, table: &ModalityTable) -> Option<String> {
        let at = table.iter().position(|m| m.is_date())?;
        match &self.values[at].as_ref()?.value {
            Value::Date(date) => Some(date.to_string()),
            _ => None,
        }
    }
}

/// How to open a scene.
#[derive(Debug, Clone)]
pub struct SceneOptions {
    /// Take what the catalogue says may stand in for another family where that is missing: terrain-corrected sigma0
    /// (`S1GRD.tif`) where no radiometrically terrain-corrected radar exists. The two differ by about a dB over flat land,
    /// more on slopes.
    pub accept_stand_ins: bool,
    /// What can be read.
    pub catalogue: Arc<Catalogue>,
}

impl Default for SceneOptions {
    /// No stand-ins, and the user's catalogue.
    fn default() -> Self {
        Self { accept_stand_ins: false, catalogue: Catalogue::of_user() }
    }
}

impl SceneOptions {
    /// For a model: what can be read where its table is used.
    pub fn of(table: &ModalityTable) -> Self {
        Self { accept_stand_ins: false, catalogue: table.catalogue().clone() }
    }
}

/// A place with real data.
#[derive(Debug, Clone)]
pub struct Scene {
    name: String,
    dir: PathBuf,
    extent: Footprint,
    parts: Parts,
    catalogue: Arc<Catalogue>,
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
    /// By modality: what could stand in for it but was not taken, in words.
    refused: BTreeMap<String, String>,
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
        self.notes.extend(self.metadata.date_notes());
        for (name, layer) in self.layers.iter().chain(&self.pictures).filter(|(_, layer)| layer.header().synthetic) {
            let path = layer.header().path.display();
            self.notes.push(format!("{name} is no observation: {path} was generated by a model."));
        }
        self
    }

    /// What a modality is read from.
    fn layer(&self, m: &Group) -> Option<&Layer> {
        if m.is_picture() { self.pictures.get(&m.name) } else { self.layers.get(&m.name) }
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
    /// Opens a scene folder: GeoTIFFs named by modality (`S2L2A_10m.tif`, …) and `scene.json`; or a Sentinel-2 product in
    /// EOPF's encoding (Zarr of version 2). Any folder of a cell in
    /// the Major TOM layout (`Core-S2L2A/618U/618U_30L`) stands for all that its root has of the cell.
    ///
    /// # Errors
    /// When the folder holds no modality, or a file is no raster.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, &SceneOptions::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(dir: &Path, options: &SceneOptions) -> Result<Self> {
        let catalogue = &options.catalogue;
        if let Some((root, cell)) = major_tom::cell_folder(dir, catalogue) {
            let parts = major_tom::open(&root, &cell.to_string(), catalogue)?;
            return Self::assemble(cell.to_string(), dir, parts, catalogue);
        }
        if eopf::is_product(dir) {
            let name = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
            let name = name.file_stem().map_or_else(|| "product".into(), |n| n.to_string_lossy().into_owned());
            return Self::assemble(name, dir, eopf::open(dir, catalogue)?, catalogue);
        }
        let metadata = Metadata::read(dir)?;
        let mut parts = Parts { notes: metadata.notes.clone(), metadata, ..Parts::default() };
        let own_grids = parts.metadata.own_grids;
        let legends = parts.metadata.legends.clone();
        let layer = |m: &Group, file| {
            let layer = Layer::single(file).in_codes_of(legends.get(&m.family));
            if own_grids { layer.on_own_grid() } else { layer }
        };
        for m in catalogue.groups() {
            let elsewhere = parts.metadata.files.get(&m.name).map(|path| dir.join(path));
            let named = elsewhere.is_some();
            let usual = || {
                let mut paths = std::iter::once(&m.name).chain(&m.files).map(|stem| dir.join(format!("{stem}.tif")));
                paths.find(|path| path.exists()).unwrap_or_default()
            };
            let path = elsewhere.unwrap_or_else(usual);
            // What a description names has to be there.
            if named || path.exists() {
                match RasterFile::open(&path).map(|file| if named { file.called(m) } else { file }) {
                    Ok(file) if pictures::is_picture(&file) => parts.put_picture(&m.name, pictures::layer(file))?,
                    file => parts.put(&m.name, file.map(|file| layer(m, file)))?,
                }
            }
        }
        pictures::find(dir, catalogue, &mut parts)?;
        for m in catalogue.groups() {
            if let Some((path, about)) = stand_in(dir, catalogue, m).filter(|_| !parts.layers.contains_key(&m.name)) {
                if options.accept_stand_ins {
                    parts.put(&m.name, RasterFile::open(&path).map(Layer::single))?;
                } else {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    parts
                        .refused
                        .insert(m.name.clone(), format!("{file} holds {}, not {}", about.quantity, m.about.quantity));
                }
            }
        }
        // A scene has one name, and so one set of noise streams, however its path is written.
        let full = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        let name = full.file_name().map_or_else(|| "scene".into(), |n| n.to_string_lossy().into_owned());
        Self::assemble(name, dir, parts, catalogue)
    }

    /// Opens one cell of a folder in the Major TOM layout (specification B.10).
    ///
    /// # Errors
    /// When the cell has no data there, or a file is no raster.
    pub fn open_major_tom(root: &Path, cell: &str) -> Result<Self> {
        Self::open_major_tom_with(root, cell, &SceneOptions::default())
    }

    /// As [`open_major_tom`](Self::open_major_tom), with options.
    ///
    /// # Errors
    /// As [`open_major_tom`](Self::open_major_tom).
    pub fn open_major_tom_with(root: &Path, cell: &str, options: &SceneOptions) -> Result<Self> {
        let parts = major_tom::open(root, cell, &options.catalogue)?;
        Self::assemble(cell.to_owned(), root, parts, &options.catalogue)
    }

    fn assemble(name: String, dir: &Path, parts: Parts, catalogue: &Arc<Catalogue>) -> Result<Self> {
        // The finest modality defines the extent, all others must nest in it; of equals the one that the catalogue ranks
        // first, because land-cover and cloud rasters are sometimes a pixel larger.
        let ground = |name: &str| catalogue.group(name).map_or(10.0, |m| m.ground_m);
        let rank = |name: &str| catalogue.group(name).and_then(|m| m.about.anchor).unwrap_or(u32::MAX);
        let finest =
            parts.layers.iter().min_by(|a, b| ground(a.0).total_cmp(&ground(b.0)).then(rank(a.0).cmp(&rank(b.0))));
        let Some((finest, layer)) = finest else {
            // Pictures are a scene of their own.
            if let Some(layer) = parts.pictures.values().next() {
                let pixel_m = layer.header().grid.map_or(pictures::PIXEL_M, |[_, _, pixel, _]| pixel);
                let extent = layer.footprint(pixel_m);
                let (dir, parts, catalogue) = (dir.to_path_buf(), parts.with_notes(), catalogue.clone());
                return Ok(Self { name, dir, extent, parts, catalogue });
            }
            if let Some((path, problem)) = parts.broken.values().next() {
                return Err(Error::file(path, problem.clone()));
            }
            let radar = parts.refused.values().next().map(|refused| format!(": {refused}")).unwrap_or_default();
            return Err(Error::file(
                dir,
                format!(
                    "This folder holds no modality{radar}; expected GeoTIFFs such as S2L2A_10m.tif, S1RTC.tif, DEM.tif or LULC.tif"
                ),
            ));
        };
        layer.check_pixels(finest, ground(finest))?;
        let extent = layer.footprint(ground(finest));
        let (dir, parts, catalogue) = (dir.to_path_buf(), parts.with_notes(), catalogue.clone());
        Ok(Self { name, dir, extent, parts, catalogue })
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
        let first = |subject: Subject| {
            let mut own = self.catalogue.of(subject).filter(|family| family.stands_in_for.is_none());
            own.find_map(|family| day(&family.name))
        };
        let stand_in = || {
            let mut radar = self.catalogue.of(Subject::Radar).filter(|family| family.stands_in_for.is_some());
            radar.find_map(|family| day(&family.name))
        };
        match (first(Subject::Radar), first(Subject::SurfaceReflectance)) {
            (Some(a), Some(b)) => {
                let (first, last) = (a.min(b), a.max(b));
                let days = first.until(last).ok()?.get_days();
                first.checked_add(jiff::Span::new().days(days / 2)).ok()
            }
            (a, b) => a.or(b).or_else(|| first(Subject::TopOfAtmosphere)).or_else(stand_in),
        }
    }

    /// What a careful reader should know about the scene as a whole.
    pub fn notes(&self) -> &[String] {
        &self.parts.notes
    }

    /// Whether a product could carry the offset of processing baselines from 04.00 on. Its day says nothing of it: what was seen
    /// before January 2022 has been processed anew with such baselines.
    fn offset_possible(&self, m: &Group) -> bool {
        m.about.offset.is_some() && !self.settles_offset(m)
    }

    /// Whether `scene.json` says that none is left.
    fn settles_offset(&self, m: &Group) -> bool {
        let rasters = self.catalogue.families().filter(|family| family.is_raster());
        let families: Vec<&str> = rasters.map(|family| family.name.as_str()).collect();
        self.parts.metadata.settles_offset(&m.family, &families)
    }

    fn missing(&self, table: &ModalityTable, m: &Modality) -> Error {
        let names: Vec<&str> = self.available(table).iter().map(|&i| table[i].name.as_str()).collect();
        let refused = self.parts.refused.get(&m.name).map(|refused| format!(" ({refused})")).unwrap_or_default();
        Error::request(format!(
            "The scene {} has no {}{refused}; it has {}. Do not give it, or set a value for it.",
            self.name,
            m.name,
            names.join(", ")
        ))
    }

    /// Modalities of a table that the scene has a value for.
    pub fn available(&self, table: &ModalityTable) -> Vec<usize> {
        let known = |m: &Modality| match () {
            () if m.is_location() => self.extent.crs.is_some(),
            () if m.is_date() => self.date().is_some(),
            () => self.parts.layer(m).is_some_and(|layer| layer.holds(m)),
        };
        (0..table.len()).filter(|&i| known(&table[i])).collect()
    }

    /// What offsets of windows are multiples of: the coarsest pixel.
    fn step_m(&self) -> f64 {
        if self.parts.layers.is_empty() { pictures::PIXEL_M } else { WINDOW_STEP_M }
    }

    /// Reads the wanted modalities on some of its ground (see [`ground`](Self::ground)), in the table's channel order. Each
    /// raster has as many pixels as the ground is large, whatever the size of a network's window.
    ///
    /// # Errors
    /// When a wanted modality is not there, or its raster does not fit (see the message).
    pub fn read(&self, table: &ModalityTable, window: &Footprint, wanted: &[usize]) -> Result<Observation> {
        let mut notes = self.parts.notes.clone();
        let mut values = vec![None; table.len()];
        for &i in wanted {
            let m = &table[i];
            let missing = || self.missing(table, m);
            values[i] = Some(match () {
                () if m.is_location() => {
                    let at = window.crs.as_ref().map(|_| window.centre()).ok_or_else(missing)??;
                    Given::of(Value::Location(at))
                }
                () if m.is_date() => {
                    let date = self.date().ok_or_else(missing)?;
                    if self.parts.metadata.month_alone(date) {
                        notes.push(format!("Only the month of the scene is known; {date} stands for it."));
                    }
                    Given { date: Some(date.to_string()), ..Given::of(Value::Date(date)) }
                }
                () => {
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
        let mut tile = format!("{}_e{}_s{}", self.name, offset[0], offset[1]);
        let side_m = table.window_m();
        if (window.width_m, window.height_m) != (side_m, side_m) {
            tile += &format!("_{:.0}x{:.0}m", window.width_m, window.height_m);
        }
        Ok(Observation { tile, footprint: window.clone(), values, notes })
    }
}

/// A raster of the folder that may stand in for another one: where it is, and what it is.
fn stand_in<'a>(dir: &Path, catalogue: &'a Catalogue, m: &Group) -> Option<(PathBuf, &'a Family)> {
    catalogue.stand_ins(&m.family).find_map(|other| {
        let entry = other.groups.iter().find(|entry| entry.channels == m.channels)?;
        let path = dir.join(format!("{}.tif", entry.name));
        path.exists().then(|| (path, other.as_ref()))
    })
}
