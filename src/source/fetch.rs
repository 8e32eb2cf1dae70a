//! What was chosen, read on the grid of a piece of ground and kept as a scene folder with its provenance.

use super::facts::Facts;
use super::holes;
use super::pixel_grid::{PixelGrid, Resampling};
use super::providers::{Product, Provider};
use super::remote::{PixelKind, read};
use super::signing::FileAccess;
use super::stac::{Acquisition, SCENE_CLASSES};
use super::values::{check, conversion, converted, offset};
use crate::error::{Error, Result};
use crate::files::{hex, make_folder, write_atomically};
use crate::grid::{Crs, Footprint, GridCell};
use crate::modality::{Catalogue, Group, Location, Subject};
use crate::net::Network;
use crate::scene::{GeoTiff, Meaning, Pixels, WINDOW_STEP_M};
use crate::text::address_without_secrets;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Files read side by side.
const SIDE_BY_SIDE: usize = 4;
/// The smallest piece of ground that is fetched, metres: a window of the published model.
const LEAST_M: f64 = 1920.0;

/// Raised when what is made of the same order changes, so that what was made before is not taken for it.
const EDITION: u8 = 5;
/// Northing of the equator in the southern zones of UTM, metres.
const SOUTHERN_EQUATOR_M: f64 = 10_000_000.0;

/// How much ground to fetch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Area {
    /// A square of this side in metres, the published window at least.
    Window(f64),
    /// The whole of the grid cell's rasters: the window can be moved over them.
    Cell,
}

impl Area {
    /// The ground in a grid cell, or around a place in it, on the 60 m grid of the Sentinel-2 tiles, so that their pixels
    /// can be taken as they are.
    ///
    /// # Errors
    /// When the place cannot be projected.
    pub fn ground(self, cell: GridCell, around: Option<Location>) -> Result<Footprint> {
        let whole = cell.footprint()?;
        let square = match (self, around) {
            (Self::Cell, _) => whole,
            (Self::Window(side), None) => whole.centre_window(side.max(LEAST_M), WINDOW_STEP_M),
            (Self::Window(side), Some(at)) => {
                let side = side.max(LEAST_M);
                let crs = Crs(format!("EPSG:{}", cell.utm_epsg()));
                let (x, y) = crs.from_location(at)?;
                let (left, top) = (x - side / 2.0, y + side / 2.0);
                Footprint { crs: Some(crs), left, top, width_m: side, height_m: side }
            }
        };
        Ok(snapped(square))
    }
}

/// The same ground on the 60 m grid of the Sentinel-2 tiles, which is counted from the equator in either hemisphere.
fn snapped(ground: Footprint) -> Footprint {
    let south = ground.crs.as_ref().is_some_and(|crs| crs.0.starts_with("EPSG:327"));
    let equator = if south { SOUTHERN_EQUATOR_M } else { 0.0 };
    let snapped = |v: f64| (v / WINDOW_STEP_M).round() * WINDOW_STEP_M;
    Footprint { left: snapped(ground.left), top: equator + snapped(ground.top - equator), ..ground }
}

/// What to fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Name of the place, such as its grid cell.
    pub name: String,
    /// The ground.
    pub footprint: Footprint,
    /// One acquisition per family.
    pub chosen: Vec<Acquisition>,
}

impl Order {
    /// Name of the scene folder: the same for the same order of the same products.
    fn folder(&self, products: &[(String, &Product)]) -> String {
        let of = |family: &str| self.chosen.iter().find(|a| a.family == family && !a.day.is_empty());
        let catalogue = Catalogue::of_user();
        let day = catalogue.products().filter(|family| family.anchor.is_some()).find_map(|family| of(&family.name));
        let day = day.map(|a| format!("_{}", a.day)).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update([EDITION]);
        hash.update(format!("{:?}", self.footprint));
        for acquisition in &self.chosen {
            hash.update(acquisition.key());
            // What a corrected source or a file that was processed anew would give is another scene.
            hash.update(format!(
                "{:?}",
                products.iter().find(|(a, _)| *a == acquisition.key()).map(|(_, product)| product)
            ));
            for item in &acquisition.items {
                // On whichever server they lie.
                let path = |href: &String| {
                    let address = address_without_secrets(href);
                    let path = address.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
                    path.map_or(address.clone(), |(_, path)| path.to_owned())
                };
                let files: Vec<String> = item.assets.values().map(path).collect();
                hash.update(format!("{:?}", (&item.id, item.baseline, item.offset, &item.updated, &item.said, files)));
            }
        }
        let short = hex(&hash.finalize()[..4]);
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
        format!("{}{day}_{short}", self.name).chars().map(plain).collect()
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchProgress {
    /// What was read last.
    pub what: String,
    /// Bands read.
    pub done: usize,
    /// Bands in all.
    pub total: usize,
}

/// One band to read: which acquisition, the modality, and its channel.
pub(super) struct Job<'a> {
    acquisition: usize,
    pub modality: &'a Group,
    pub channel: &'a str,
}

/// A band that was read.
struct Band {
    values: Vec<f32>,
    /// How the pixels got onto the grid, by source file.
    parts: Vec<(String, Resampling)>,
    /// Names of items whose offset was removed.
    corrected: BTreeSet<String>,
    /// Side of the source's pixels in metres, where they are clearly coarser than ours.
    coarser: Option<f64>,
    /// What was done to its numbers because its files say what they are.
    said: BTreeSet<String>,
}

/// What an acquisition comes from.
struct Source<'a> {
    product: &'a Product,
    access: FileAccess,
}

/// Reads everything and makes a scene folder in `within`; its path. An order that was fetched before is there already.
///
/// # Errors
/// [`Error::Network`], [`Error::Cancelled`], or when a file is no raster or the folder cannot be written. Nothing is left
/// behind then.
pub fn fetch(
    network: &Network,
    providers: &[Provider],
    order: &Order,
    within: &Path,
    stop: &AtomicBool,
    progress: &mut (dyn FnMut(FetchProgress) + Send),
) -> Result<PathBuf> {
    if order.chosen.is_empty() {
        return Err(Error::request("Nothing was chosen to be fetched."));
    }
    crate::grid::check_systems()?;
    let catalogue = Catalogue::of_user();
    let mut products = Vec::new();
    for acquisition in &order.chosen {
        let provider = providers.iter().find(|p| p.name == acquisition.provider);
        let fits = |p: &&Product| p.collection == acquisition.collection && p.family == acquisition.family;
        let found = provider.and_then(|provider| Some((provider, provider.products.iter().find(fits)?)));
        let (provider, product) = found.ok_or_else(|| {
            Error::request(format!("{} of {} is no source any more.", acquisition.collection, acquisition.provider))
        })?;
        products.push((provider, product));
    }
    let keys: Vec<(String, &Product)> =
        order.chosen.iter().zip(&products).map(|(acquisition, (_, product))| (acquisition.key(), *product)).collect();
    let target = within.join(order.folder(&keys));
    if target.join("scene.json").exists() {
        return Ok(target);
    }
    let mut sources = Vec::new();
    for (provider, product) in products {
        let access = FileAccess::new(network, provider.access(product), &product.collection, stop)?;
        sources.push(Source { product, access });
    }
    let jobs = jobs(&catalogue, order);
    for (i, chosen) in order.chosen.iter().enumerate() {
        if !jobs.iter().any(|job| job.acquisition == i) {
            let what = if chosen.day.is_empty() { chosen.collection.clone() } else { chosen.day.clone() };
            return Err(Error::request(format!(
                "{} ({what}) of {} has not all bands of any modality; choose another one.",
                chosen.family, chosen.provider
            )));
        }
    }
    let bands = read_all(network, &sources, order, &jobs, stop, progress)?;
    match make_folder(&target, |dir| write(&catalogue, order, &sources, &jobs, &bands, dir)) {
        // Somebody else may have fetched the same meanwhile.
        Err(_) if target.join("scene.json").exists() => Ok(target),
        made => made.map(|()| target),
    }
}

/// Bands that can be read: those of modalities of which all channels are there, and the cloud mask.
fn jobs<'a>(catalogue: &'a Catalogue, order: &'a Order) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for (acquisition, chosen) in order.chosen.iter().enumerate() {
        // A neighbour may hold what the largest of them does not.
        let any_has = |channels: &[String]| {
            chosen.items.iter().any(|item| channels.iter().all(|channel| item.assets.contains_key(channel)))
        };
        for modality in catalogue.groups_of(&chosen.family) {
            if any_has(&modality.channels) {
                jobs.extend(modality.channels.iter().map(|channel| Job { acquisition, modality, channel }));
            }
        }
        let masked = jobs.iter().any(|job| job.modality.about.subject == Subject::Clouds);
        if any_has(&[SCENE_CLASSES.to_owned()]) && !masked {
            let mask = catalogue.groups().find(|m| m.about.subject == Subject::Clouds);
            jobs.extend(mask.map(|modality| Job { acquisition, modality, channel: SCENE_CLASSES }));
        }
    }
    jobs
}

fn grid(order: &Order, m: &Group) -> PixelGrid {
    PixelGrid { footprint: order.footprint.clone(), pixel_m: m.ground_m }
}

fn read_all(
    network: &Network,
    sources: &[Source],
    order: &Order,
    jobs: &[Job],
    stop: &AtomicBool,
    progress: &mut (dyn FnMut(FetchProgress) + Send),
) -> Result<Vec<Band>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let state = Mutex::new((Vec::<(usize, Result<Band>)>::new(), progress));
    let work = || {
        while let Some((i, job)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, jobs.get(i)?))) {
            if failed.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed) {
                return;
            }
            let chosen = &order.chosen[job.acquisition];
            let band = read_band(network, &sources[job.acquisition], chosen, job, &grid(order, job.modality), stop);
            failed.fetch_or(band.is_err(), Ordering::Relaxed);
            let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            state.0.push((i, band));
            let done = state.0.len();
            (state.1)(FetchProgress { what: format!("{} {}", chosen.family, job.channel), done, total: jobs.len() });
        }
    };
    std::thread::scope(|scope| {
        (0..SIDE_BY_SIDE.min(jobs.len())).for_each(|_| {
            scope.spawn(work);
        });
    });
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    let (mut bands, _) = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    bands.sort_by_key(|(i, _)| *i);
    bands.into_iter().map(|(_, band)| band).collect()
}

/// Source pixels that are so many times as wide as ours are told of.
const COARSER: f64 = 1.5;

/// One band: item after item until the ground is covered.
fn read_band(
    network: &Network,
    source: &Source,
    chosen: &Acquisition,
    job: &Job,
    grid: &PixelGrid,
    stop: &AtomicBool,
) -> Result<Band> {
    let (width, height) = grid.size();
    let mut band = Band {
        values: vec![f32::NAN; width * height],
        parts: Vec::new(),
        corrected: BTreeSet::new(),
        coarser: None,
        said: BTreeSet::new(),
    };
    // By pixel, how wide those of its source are.
    let mut sides = vec![f64::INFINITY; width * height];
    // JPEG 2000 files do not say that 0 is no data.
    let silent = job.modality.about.whole_numbers;
    let echo = job.modality.about.decibel;
    let codes = &job.modality.about.no_data;
    let nothing = (silent || echo).then_some(0.0);
    let classes = job.modality.classes().is_some();
    for item in &chosen.items {
        let Some(href) = item.assets.get(job.channel) else { continue };
        let nothing = item.said.get(job.channel).and_then(|said| said.no_data).or(nothing);
        let kind = PixelKind { classes, nothing, codes };
        let layer = read(network, &source.access, href, grid, kind, stop)?;
        let conversion = conversion(source.product, job, item, &layer.numbers)?;
        check(source.product, job, item, &layer.values, &conversion)?;
        let mut used = false;
        for ((to, side), &from) in band.values.iter_mut().zip(&mut sides).zip(&layer.values) {
            // What is clearly finer counts more than what was processed last.
            if !from.is_nan() && (to.is_nan() || layer.source_m * COARSER < *side) {
                let value = converted(source.product, job, item, from, &conversion);
                if !value.is_nan() {
                    (*to, *side, used) = (value, layer.source_m, true);
                }
            }
        }
        if used {
            band.parts.push((item.id.clone(), layer.resampling));
            band.said.extend(conversion.note().map(str::to_owned));
            if offset(job, item) > 0.0 && !conversion.moves() {
                band.corrected.insert(item.id.clone());
            }
        }
        if band.values.iter().zip(&sides).all(|(v, side)| !v.is_nan() && *side <= COARSER * grid.pixel_m) {
            break;
        }
    }
    let coarsest =
        band.values.iter().zip(&sides).filter(|(v, _)| !v.is_nan()).map(|(_, side)| *side).fold(0.0, f64::max);
    band.coarser = Some(coarsest).filter(|side| *side > COARSER * grid.pixel_m);
    if band.parts.is_empty() {
        return Err(Error::request(format!(
            "{} of {} has no data on this ground; choose another one.",
            chosen.family, chosen.day
        )));
    }
    Ok(band)
}

/// Writes the rasters and, last, the description.
fn write(
    catalogue: &Catalogue,
    order: &Order,
    sources: &[Source],
    jobs: &[Job],
    bands: &[Band],
    dir: &Path,
) -> Result<()> {
    let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
    for m in catalogue.groups() {
        let own: Vec<(&Job, &Band)> = jobs.iter().zip(bands).filter(|(job, _)| job.modality.name == m.name).collect();
        let Some((first, _)) = own.first() else { continue };
        let chosen = &order.chosen[first.acquisition];
        let facts = facts
            .entry(m.family.clone())
            .or_insert_with(|| Facts::new(chosen, sources[first.acquisition].product, &m.about));
        let missing = own.iter().flat_map(|(_, band)| &band.values).filter(|v| v.is_nan()).count();
        let all: usize = own.iter().map(|(_, band)| band.values.len()).sum();
        let share = missing as f64 / all.max(1) as f64;
        if share > facts.missing {
            (facts.missing, facts.poorest) = (share, m.name.clone());
        }
        for (_, band) in &own {
            facts.parts.extend(band.parts.iter().map(|(id, how)| (id.clone(), how.name())));
            facts.coarsest = band.coarser.into_iter().chain(facts.coarsest).reduce(f64::max);
            facts.corrected.extend(band.corrected.iter().cloned());
            facts.said.extend(band.said.iter().cloned());
        }
        let grid = grid(order, m);
        let mut filled: Vec<Vec<f32>> = Vec::new();
        let dry = |pixel: usize| dry(order, jobs, bands, &grid, pixel);
        for (_, band) in &own {
            let band = holes::filled(m, &band.values, grid.size().0, &dry);
            let share = |count: usize| count as f64 / band.values.len().max(1) as f64;
            (facts.open, facts.zeros) = (facts.open.max(share(band.open)), facts.zeros.max(share(band.zeros)));
            filled.push(band.values);
        }
        let names = m.channels.iter().cloned();
        let file = GeoTiff {
            footprint: &order.footprint,
            pixel_m: m.ground_m,
            size: grid.size(),
            bands: names.zip(filled.iter().map(Vec::as_slice)).collect(),
            pixels: pixels(m),
            meaning: Meaning { scale: 1.0, unit: m.band_unit().to_owned() },
            metadata: vec![("source".into(), facts.sentence()), ("licence".into(), facts.licence.clone())],
            cloud_optimised: false,
        };
        file.write(&dir.join(format!("{}.tif", m.name)), false)?;
    }
    let credits: BTreeSet<&String> = facts.values().map(|facts| &facts.attribution).collect();
    let licences: BTreeSet<&String> = facts.values().map(|facts| &facts.licence).collect();
    let joined = |all: &BTreeSet<&String>| all.iter().map(|s| s.as_str()).collect::<Vec<_>>().join("; ");
    let by = |of: fn(&Facts) -> serde_json::Value| -> serde_json::Value {
        facts.iter().map(|(family, facts)| (family.clone(), of(facts))).collect::<serde_json::Map<_, _>>().into()
    };
    let description = json!({
        "name": order.name,
        "crs": order.footprint.crs,
        "fetched": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "attribution": joined(&credits),
        "licence": joined(&licences),
        "dates": by(|facts| json!((!facts.date.is_empty()).then_some(&facts.date))),
        "origins": by(|facts| json!(facts.sentence())),
        "provenance": by(Facts::record),
    });
    write_atomically(&dir.join("scene.json"), format!("{description:#}").as_bytes())
}

/// Whether the ground in a pixel of a grid is dry, as land cover that was read with it says; `None` where that says nothing.
fn dry(order: &Order, jobs: &[Job], bands: &[Band], grid: &PixelGrid, pixel: usize) -> Option<bool> {
    let covers = |job: &Job| job.modality.about.subject == Subject::LandCover;
    let (job, band) = jobs.iter().zip(bands).find(|(job, _)| covers(job))?;
    let (width, own) = (grid.size().0, self::grid(order, job.modality));
    let middle = |at: usize| ((at as f64 + 0.5) * grid.pixel_m / own.pixel_m) as usize;
    let code = *band.values.get(middle(pixel / width) * own.size().0 + middle(pixel % width))?;
    let class = job.modality.classes()?.iter().find(|class| f32::from(class.code) == code)?;
    match class.name.as_str() {
        "No data" | "Clouds" => None,
        name => Some(!matches!(name, "Water" | "Flooded vegetation")),
    }
}

/// How it is stored; what has nothing and no filling becomes the declared no-data value.
fn pixels(m: &Group) -> Pixels {
    let hole = m.about.hole().filter(|_| m.about.fill.is_none() || m.classes().is_none());
    match (m.classes(), hole) {
        (Some(classes), Some(none)) => Pixels::ClassesWithHoles(classes.to_vec(), none as u8),
        (Some(classes), None) => Pixels::Classes(classes.to_vec()),
        (None, _) if m.about.whole_numbers => Pixels::Scaled { scale: 1.0 / f64::from(m.about.per_unit) },
        (None, Some(none)) => Pixels::WithHoles(none),
        (None, None) => Pixels::Float,
    }
}
