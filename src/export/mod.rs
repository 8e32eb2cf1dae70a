//! Realisations and statistics as files that say where they come from and that they are synthetic.

mod delivery;
mod lineage;
mod pictures;
mod request;
mod sequence;
mod stac;

pub use delivery::{Delivery, DeliveryOptions};
pub use lineage::Lineage;
pub use pictures::{ChosenLook, Pictures};
pub use request::{ExportRequest, InCollection};
pub use sequence::{Export, export};

use crate::ensemble::{Realisation, Statistics, statistics};
use crate::error::Result;
use crate::files::write_atomically;
use crate::modality::{Class, Group, Modality, Raster, Value};
use crate::scene::{GeoTiff, Meaning, Pixels};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Writes single files to one folder; which of them, in which order, and what may be in their way, [`Export`] knows.
#[derive(Debug)]
struct Exporter<'a> {
    dir: PathBuf,
    lineage: &'a Lineage,
    request: &'a ExportRequest,
}

impl<'a> Exporter<'a> {
    fn new(dir: &Path, lineage: &'a Lineage, request: &'a ExportRequest) -> Self {
        Self { dir: dir.to_path_buf(), lineage, request }
    }

    fn wanted(&self, modality: usize) -> bool {
        self.request.modalities.contains(&modality)
    }

    fn path(&self, part: &str, name: &str) -> PathBuf {
        // Names of places come from folders; keep only what every file system and shell takes.
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let tile: String = self.lineage.tile.chars().map(plain).collect();
        self.dir.join(format!("{tile}_seed{}_{part}{name}", self.lineage.seed))
    }

    /// The files of a realisation.
    fn realisation_paths(&self, index: u64, m: &Modality) -> Vec<PathBuf> {
        self.parts(m)
            .map(|part| self.path(&format!("r{index:03}_"), &format!("{}{}.tif", m.name, part.suffix)))
            .collect()
    }

    /// What of a modality lies in one file: all of it, or a band where readers of STAC items are to find each.
    fn parts<'m>(&self, m: &'m Modality) -> impl Iterator<Item = Part> + use<'m> {
        let each = if self.request.stac && !m.is_picture() { 1 } else { m.channels.len() };
        (0..m.channels.len()).step_by(each.max(1)).map(move |first| Part {
            channels: first..(first + each).min(m.channels.len()),
            suffix: if each < m.channels.len() { format!("_{}", m.channels[first]) } else { String::new() },
        })
    }

    /// Where the file lies that says which pixels of a realisation are observed.
    fn kept_path(&self, index: u64, m: &Modality) -> PathBuf {
        self.path(&format!("r{index:03}_"), &format!("{}_observed.tif", m.name))
    }

    /// Statistics and tables carry the numbers of the first and the last realisation in their names, so that a run
    /// that is extended later does not meet its own files.
    fn range_path(&self, range: [u64; 2], name: &str) -> PathBuf {
        self.path(&format!("{}_", numbers(range)), name)
    }

    /// By statistic, the files of it.
    fn statistic_paths(&self, range: [u64; 2], m: &Modality) -> [Vec<PathBuf>; 2] {
        let path = |part: Part, what: &str| self.range_path(range, &format!("{}{}_{what}.tif", m.name, part.suffix));
        statistic_names(m).map(|what| self.parts(m).map(|part| path(part, what)).collect())
    }

    fn table_path(&self, range: [u64; 2], m: &Modality) -> PathBuf {
        self.range_path(range, &format!("{}.csv", m.name))
    }

    fn inspected_path(&self) -> PathBuf {
        self.path("", "inspected.csv")
    }

    /// Writes one realisation, a file for each image modality. Scalars are in the metadata of those files and in the
    /// tables of [`tables`](Self::tables).
    ///
    /// # Errors
    /// When a file cannot be written.
    fn realisation(&self, realisation: &Realisation) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for (i, (m, value)) in self.lineage.table.iter().zip(&realisation.values).enumerate() {
            let Some(Value::Image(raster)) = value.as_ref().filter(|_| self.wanted(i)) else { continue };
            let mut metadata = vec![
                ("unit".to_owned(), m.unit()),
                ("realisation".to_owned(), realisation.index.to_string()),
                ("computed".to_owned(), computed(&[realisation])),
            ];
            for (m, value) in self.lineage.table.iter().zip(&realisation.values) {
                match value {
                    Some(Value::Location(at)) => {
                        metadata.push((format!("generated_{}", m.name), format!("{:.6},{:.6}", at.lat, at.lon)));
                    }
                    Some(Value::Date(date)) => metadata.push((format!("generated_{}", m.name), date.to_string())),
                    _ => {}
                }
            }
            let raster = with_gaps(raster)?;
            let bands: Vec<(String, &[f32])> =
                m.channels.iter().enumerate().map(|(c, name)| (name.clone(), raster.channel(c))).collect();
            let pixels = pixels(m, raster.valid().is_some());
            let kept = realisation.kept.get(&i);
            let what = match pixels {
                _ if kept.is_some() => "Partly synthetic realisation: some pixels are observed, the rest is not",
                Pixels::Picture => "Synthetic picture without units, not an observation",
                _ => "Synthetic realisation, not an observation",
            };
            if let Some(kept) = kept {
                metadata.push(("kept_share".to_owned(), format!("{:.4}", kept.share())));
                let beside = self.kept_path(realisation.index, m);
                metadata
                    .push(("kept_mask".to_owned(), beside.file_name().unwrap_or_default().to_string_lossy().into()));
                let set = kept.numbers();
                let bands = vec![("observed".to_owned(), set.as_slice())];
                let legend = Pixels::Classes(observed_or_synthetic());
                let what = "Which pixels are observed (1) and which synthetic (0)";
                self.write(m, &beside, bands, (legend, Meaning::default()), Vec::new(), what)?;
                written.push(beside);
            }
            let meaning = Meaning { scale: 1.0, unit: m.band_unit().to_owned() };
            for (part, path) in self.parts(m).zip(self.realisation_paths(realisation.index, m)) {
                let bands = bands[part.channels].to_vec();
                self.write(m, &path, bands, (pixels.clone(), meaning.clone()), metadata.clone(), what)?;
                written.push(path);
            }
        }
        Ok(written)
    }

    /// Writes mean and variance (most frequent class and disagreement) of each image modality the realisations hold.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn statistics(&self, realisations: &[&Realisation]) -> Result<Vec<PathBuf>> {
        let Some(range) = range_of(realisations) else { return Ok(Vec::new()) };
        let held = |i: usize| {
            self.wanted(i) && realisations.iter().any(|r| matches!(r.values.get(i), Some(Some(Value::Image(_)))))
        };
        let mut written = Vec::new();
        for (i, m) in self.lineage.table.iter().enumerate().filter(|(i, _)| held(*i)) {
            let (rasters, count, classes) = match statistics(m, i, realisations)? {
                Statistics::Continuous { mean, variance, count } => ([mean, variance], count, None),
                Statistics::Classes { mode, disagreement, count } => ([mode, disagreement], count, m.classes()),
            };
            let files = statistic_names(m).into_iter().zip(self.statistic_paths(range, m));
            for (k, ((what, paths), raster)) in files.zip(&rasters).enumerate() {
                let holes = raster.valid().is_some();
                let raster = with_gaps(raster)?;
                let bands: Vec<(String, &[f32])> =
                    m.channels.iter().enumerate().map(|(c, n)| (format!("{n} {what}"), raster.channel(c))).collect();
                let pixels = match classes {
                    Some(classes) if k == 0 && holes => Pixels::ClassesWithHoles(classes.to_vec(), NO_CLASS),
                    Some(classes) if k == 0 => Pixels::Classes(classes.to_vec()),
                    _ => Pixels::WithHoles(NO_VALUE),
                };
                let meaning = match (k, classes) {
                    (_, Some(_)) => Meaning::default(),
                    (k, None) => statistic_meaning(m, k == 1),
                };
                let indices: Vec<String> = realisations.iter().map(|r| r.index.to_string()).collect();
                let unit = match (k, classes) {
                    (0, _) => m.unit(),
                    (_, None) if m.is_picture() => "square of levels of a picture, no unit".to_owned(),
                    (_, None) => format!("square of {}", m.unit()),
                    (_, Some(_)) => "share of realisations, 0 to 1".to_owned(),
                };
                let metadata = vec![
                    ("unit".to_owned(), unit),
                    ("statistic".to_owned(), what.to_owned()),
                    ("samples".to_owned(), count.to_string()),
                    ("realisations".to_owned(), indices.join(" ")),
                    ("computed".to_owned(), computed(realisations)),
                    ("caution".to_owned(), "Spread over realisations is not calibrated error.".to_owned()),
                ];
                let said = format!("Synthetic: {what} of {count} realisations");
                for (part, path) in self.parts(m).zip(paths) {
                    let bands = bands[part.channels].to_vec();
                    self.write(m, &path, bands, (pixels.clone(), meaning.clone()), metadata.clone(), &said)?;
                    written.push(path);
                }
            }
        }
        Ok(written)
    }

    /// Writes a table (CSV) of each generated location and date.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn tables(&self, realisations: &[&Realisation]) -> Result<Vec<PathBuf>> {
        let Some(range) = range_of(realisations) else { return Ok(Vec::new()) };
        let mut written = Vec::new();
        for (i, m) in self.lineage.table.iter().enumerate().filter(|(i, m)| m.is_scalar() && self.wanted(*i)) {
            let row = |r: &&Realisation| match r.values.get(i)?.as_ref()? {
                Value::Location(at) => Some(format!("{},{},{:.6},{:.6},yes\n", r.seed, r.index, at.lat, at.lon)),
                Value::Date(date) => Some(format!("{},{},{date},yes\n", r.seed, r.index)),
                Value::Image(_) => None,
            };
            let rows: Vec<String> = realisations.iter().filter_map(row).collect();
            if rows.is_empty() {
                continue;
            }
            let columns = if m.is_location() { "latitude,longitude" } else { "date" };
            let path = self.table_path(range, m);
            let text = format!("seed,realisation,{columns},synthetic\n{}", rows.concat());
            write_atomically(&path, text.as_bytes())?;
            written.push(path);
        }
        Ok(written)
    }

    /// Writes a table of one spot over realisations (CSV), as the window's inspector makes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn inspected(&self, table: &str) -> Result<PathBuf> {
        let path = self.inspected_path();
        write_atomically(&path, table.as_bytes())?;
        Ok(path)
    }

    fn write(
        &self,
        m: &Modality,
        path: &Path,
        bands: Vec<(String, &[f32])>,
        (pixels, meaning): (Pixels, Meaning),
        own: Vec<(String, String)>,
        what: &str,
    ) -> Result<()> {
        let mut metadata = self.lineage.metadata.clone();
        metadata.push(("modality".into(), m.name.clone()));
        if let Pixels::Classes(classes) | Pixels::ClassesWithHoles(classes, _) = &pixels {
            let list: Vec<String> = classes.iter().map(|c| format!("{} {}", c.code, c.name)).collect();
            metadata.push(("classes".into(), list.join("; ")));
        }
        metadata.extend(own);
        metadata.push(("TIFFTAG_IMAGEDESCRIPTION".into(), format!("{what}: {}", m.name)));
        metadata.push(("TIFFTAG_SOFTWARE".into(), format!("COP-GEN Explorer {}", env!("CARGO_PKG_VERSION"))));
        let footprint = &self.lineage.footprint;
        let (rows, columns) = footprint.pixels(m.ground_m)?;
        let size = (columns, rows);
        let cloud_optimised = self.request.cloud_optimised;
        GeoTiff { footprint, pixel_m: m.ground_m, size, bands, pixels, meaning, metadata, cloud_optimised }
            .write(path, false)
    }
}

/// What of a modality lies in one file.
struct Part {
    channels: std::ops::Range<usize>,
    /// What its file's name says of it, after the modality.
    suffix: String,
}

/// What mean or variance of measurements are, in the unit that realisations have with their scale.
fn statistic_meaning(m: &Group, variance: bool) -> Meaning {
    let (scale, unit) = (1.0 / f64::from(m.about.per_unit), m.band_unit());
    match (variance, unit.is_empty()) {
        (true, false) => Meaning { scale: scale * scale, unit: format!("({unit})^2") },
        (true, true) => Meaning { scale: scale * scale, unit: String::new() },
        (false, _) => Meaning { scale, unit: unit.to_owned() },
    }
}

/// What the pixels of a file say about those of a realisation.
fn observed_or_synthetic() -> Vec<Class> {
    let class = |code: u8, name: &str, color: [u8; 3]| Class { code, name: name.to_owned(), color };
    vec![class(0, "synthetic", [230, 120, 30]), class(1, "observed", [60, 130, 200])]
}

/// The smallest and the largest of the numbers of realisations.
fn range(indices: &[u64]) -> Option<[u64; 2]> {
    Some([*indices.iter().min()?, *indices.iter().max()?])
}

/// Stands for no data in files of measurements that have holes; DN have 0 for it.
const NO_VALUE: f32 = -32768.0;
/// Stands for no data in files of classes that have holes.
const NO_CLASS: u8 = 255;

/// The same with NaN where it is not valid, which files get their no-data value for.
fn with_gaps(raster: &Raster) -> Result<Cow<'_, Raster>> {
    let Some(valid) = raster.valid() else { return Ok(Cow::Borrowed(raster)) };
    let pixels = (raster.height * raster.width).max(1);
    let at = |i: usize| if valid.at(i % pixels) { raster.data[i] } else { f32::NAN };
    let data = (0..raster.data.len()).map(at).collect();
    Raster::new(raster.channels, raster.height, raster.width, data).map(Cow::Owned)
}

fn range_of(realisations: &[&Realisation]) -> Option<[u64; 2]> {
    range(&realisations.iter().map(|r| r.index).collect::<Vec<_>>())
}

/// How names of files tell of which realisations they are.
fn numbers([first, last]: [u64; 2]) -> String {
    format!("r{first:03}-{last:03}")
}

/// How the pixels of a realisation are stored.
fn pixels(m: &Group, holes: bool) -> Pixels {
    match m.classes() {
        Some(classes) if holes => Pixels::ClassesWithHoles(classes.to_vec(), NO_CLASS),
        Some(classes) => Pixels::Classes(classes.to_vec()),
        None if m.is_picture() => Pixels::Picture,
        None if m.about.whole_numbers => Pixels::Scaled { scale: 1.0 / f64::from(m.about.per_unit) },
        None if holes => Pixels::WithHoles(NO_VALUE),
        None => Pixels::Float,
    }
}

/// How realisations were computed, each way once.
fn computed(realisations: &[&Realisation]) -> String {
    let ways: BTreeSet<&str> = realisations.iter().map(|r| r.computed.as_str()).filter(|way| !way.is_empty()).collect();
    if ways.is_empty() { "not recorded".to_owned() } else { ways.into_iter().collect::<Vec<_>>().join("; ") }
}

/// Names of the two statistics of a modality.
fn statistic_names(m: &Modality) -> [&'static str; 2] {
    if m.classes().is_some() { ["mode", "disagreement"] } else { ["mean", "variance"] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Crs, Footprint};
    use crate::modality::{Mask, ModalityTable};

    #[test]
    fn readers_see_where_a_raster_is_valid() {
        let dir = tempfile::tempdir().expect("folder");
        let table = ModalityTable::published();
        for name in ["DEM", "LULC", "S2L2A_20m"] {
            let m = table.index(name).map(|i| &table[i]).expect("modality");
            let valid = Mask::from_fn(m.pixels, m.pixels, |pixel| pixel % 5 != 2);
            // Values that could be taken for no data.
            let raster = Raster::from_fn(m.channels.len(), m.pixels, m.pixels, |_, pixel| (pixel % 2) as f32 * 11.0);
            let raster = raster.with_valid(&valid).expect("mask");
            let pixels = super::pixels(m, true);
            let written = with_gaps(&raster).expect("values");
            let side = m.window_m();
            let footprint =
                Footprint { crs: Some(Crs("EPSG:32632".into())), left: 0.0, top: 0.0, width_m: side, height_m: side };
            let path = dir.path().join(format!("{name}.tif"));
            let bands = m.channels.iter().enumerate().map(|(c, name)| (name.clone(), written.channel(c))).collect();
            let size = (m.pixels, m.pixels);
            let file = GeoTiff {
                footprint: &footprint,
                pixel_m: m.ground_m,
                size,
                bands,
                pixels,
                meaning: Meaning::default(),
                metadata: Vec::new(),
                cloud_optimised: false,
            };
            file.write(&path, false).expect("written");
            let dataset = gdal::Dataset::open(&path).expect("raster");
            for c in 0..m.channels.len() {
                let band = dataset.rasterband(c + 1).expect("band");
                let mask = band.open_mask_band().and_then(|mask| mask.read_as::<u8>((0, 0), size, size, None));
                let mask = mask.expect("mask");
                for (pixel, seen) in mask.data().iter().enumerate() {
                    assert_eq!(*seen > 0, valid.at(pixel), "{name} {c} {pixel}");
                }
            }
        }
    }
}
