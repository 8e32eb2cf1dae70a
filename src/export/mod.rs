//! Realisations and statistics as files that say where they come from and that they are synthetic.

mod lineage;
mod png;
mod stac;

pub use lineage::Lineage;

use crate::ensemble::{Realisation, Statistics, statistics};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Modality, Value, ValueKind};
use crate::scene::{GeoTiff, Pixels, refuse_existing};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes to one folder.
#[derive(Debug)]
pub struct Exporter<'a> {
    dir: PathBuf,
    lineage: &'a Lineage,
    overwrite: bool,
    cloud_optimised: bool,
    only: Option<BTreeSet<usize>>,
}

impl<'a> Exporter<'a> {
    /// Prepares a folder, creating it if needed, and makes sure it can be written to.
    ///
    /// # Errors
    /// When it cannot be created or written to.
    pub fn new(dir: &Path, lineage: &'a Lineage, overwrite: bool) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
        tempfile::tempfile_in(dir).map_err(|e| Error::io(dir, "write to", &e))?;
        Ok(Self { dir: dir.to_path_buf(), lineage, overwrite, cloud_optimised: false, only: None })
    }

    /// Writes cloud-optimised GeoTIFFs instead of plain ones.
    #[must_use]
    pub fn cloud_optimised(self, yes: bool) -> Self {
        Self { cloud_optimised: yes, ..self }
    }

    /// Writes only these modalities, by index in the table.
    #[must_use]
    pub fn only(self, modalities: BTreeSet<usize>) -> Self {
        Self { only: Some(modalities), ..self }
    }

    fn wanted(&self, modality: usize) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&modality))
    }

    fn path(&self, part: &str, name: &str) -> PathBuf {
        // Names of places come from folders; keep only what every file system and shell takes.
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let tile: String = self.lineage.tile.chars().map(plain).collect();
        self.dir.join(format!("{tile}_seed{}_{part}{name}", self.lineage.seed))
    }

    /// Fails if a file is there and must not be replaced.
    fn refuse(&self, path: &Path) -> Result<()> {
        if self.overwrite { Ok(()) } else { refuse_existing(&[path.to_path_buf()]) }
    }

    fn realisation_path(&self, index: u64, m: &Modality) -> PathBuf {
        self.path(&format!("r{index:03}_"), &format!("{}.tif", m.name))
    }

    /// Statistics and tables carry the numbers of the first and the last realisation in their names, so that a run
    /// that is extended later does not meet its own files.
    fn range_path(&self, [first, last]: [u64; 2], name: &str) -> PathBuf {
        self.path(&format!("r{first:03}-{last:03}_"), name)
    }

    /// Fails if a file of these realisations (and of their statistics) would be overwritten without being asked to.
    /// Called before sampling starts, so that no work is lost.
    ///
    /// # Errors
    /// Names the first file that exists.
    pub fn check(&self, generated: &[usize], indices: std::ops::Range<u64>, with_statistics: bool) -> Result<()> {
        if self.overwrite {
            return Ok(());
        }
        let (mut paths, range) = (Vec::new(), [indices.start, indices.end.saturating_sub(1)]);
        for m in generated.iter().filter(|&&i| self.wanted(i)).map(|&i| &self.lineage.table[i]) {
            if m.is_scalar() {
                paths.push(self.range_path(range, &format!("{}.csv", m.name)));
                continue;
            }
            paths.extend(indices.clone().map(|index| self.realisation_path(index, m)));
            if with_statistics {
                paths.extend(statistic_names(m).map(|what| self.range_path(range, &format!("{}_{what}.tif", m.name))));
            }
        }
        refuse_existing(&paths)
    }

    /// Writes one realisation, a file for each image modality. Scalars are in the metadata of those files and in the
    /// tables of [`tables`](Self::tables).
    ///
    /// # Errors
    /// When a file exists or cannot be written.
    pub fn realisation(&self, realisation: &Realisation) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for (i, (m, value)) in self.lineage.table.iter().zip(&realisation.values).enumerate() {
            let Some(Value::Image(raster)) = value.as_ref().filter(|_| self.wanted(i)) else { continue };
            let mut metadata = vec![
                ("unit".to_owned(), m.unit().to_owned()),
                ("realisation".to_owned(), realisation.index.to_string()),
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
            let bands = m.channels.iter().enumerate().map(|(c, name)| (name.clone(), raster.channel(c))).collect();
            let pixels = match &m.values {
                ValueKind::Reflectance { dn_per_unit, .. } => Pixels::Scaled { scale: 1.0 / f64::from(*dn_per_unit) },
                ValueKind::Classes { classes } => Pixels::Classes(classes.clone()),
                ValueKind::Picture => Pixels::Picture,
                _ => Pixels::Float,
            };
            let what = match pixels {
                Pixels::Picture => "Synthetic picture without units, not an observation",
                _ => "Synthetic realisation, not an observation",
            };
            let path = self.realisation_path(realisation.index, m);
            self.write(m, &path, bands, pixels, metadata, what)?;
            written.push(path);
        }
        Ok(written)
    }

    /// Writes mean and variance (most frequent class and disagreement) of each image modality the members hold.
    ///
    /// # Errors
    /// When a file exists or cannot be written.
    pub fn statistics(&self, members: &[Arc<Realisation>]) -> Result<Vec<PathBuf>> {
        let Some(range) = range(members) else { return Ok(Vec::new()) };
        let members: Vec<&Realisation> = members.iter().map(AsRef::as_ref).collect();
        let held =
            |i: usize| self.wanted(i) && members.iter().any(|r| matches!(r.values.get(i), Some(Some(Value::Image(_)))));
        let mut written = Vec::new();
        for (i, m) in self.lineage.table.iter().enumerate().filter(|(i, _)| held(*i)) {
            let (rasters, count, classes) = match statistics(m, i, &members)? {
                Statistics::Continuous { mean, variance, count } => ([mean, variance], count, None),
                Statistics::Classes { mode, disagreement, count } => ([mode, disagreement], count, m.classes()),
            };
            for (k, (what, raster)) in statistic_names(m).into_iter().zip(&rasters).enumerate() {
                let bands =
                    m.channels.iter().enumerate().map(|(c, n)| (format!("{n} {what}"), raster.channel(c))).collect();
                let pixels = match classes {
                    Some(classes) if k == 0 => Pixels::Classes(classes.to_vec()),
                    _ => Pixels::Float,
                };
                let indices: Vec<String> = members.iter().map(|r| r.index.to_string()).collect();
                let unit = match (k, classes) {
                    (0, _) => m.unit().to_owned(),
                    (_, None) if m.values == ValueKind::Picture => "square of levels of a picture, no unit".to_owned(),
                    (_, None) => format!("square of {}", m.unit()),
                    (_, Some(_)) => "share of realisations, 0 to 1".to_owned(),
                };
                let metadata = vec![
                    ("unit".to_owned(), unit),
                    ("statistic".to_owned(), what.to_owned()),
                    ("samples".to_owned(), count.to_string()),
                    ("realisations".to_owned(), indices.join(" ")),
                    ("caution".to_owned(), "Spread over realisations is not calibrated error.".to_owned()),
                ];
                let path = self.range_path(range, &format!("{}_{what}.tif", m.name));
                self.write(m, &path, bands, pixels, metadata, &format!("Synthetic: {what} of {count} realisations"))?;
                written.push(path);
            }
        }
        Ok(written)
    }

    /// Writes a table (CSV) of each generated location and date.
    ///
    /// # Errors
    /// When a file exists or cannot be written.
    pub fn tables(&self, members: &[Arc<Realisation>]) -> Result<Vec<PathBuf>> {
        let Some(range) = range(members) else { return Ok(Vec::new()) };
        let mut written = Vec::new();
        for (i, m) in self.lineage.table.iter().enumerate().filter(|(i, m)| m.is_scalar() && self.wanted(*i)) {
            let row = |r: &Arc<Realisation>| match r.values.get(i)?.as_ref()? {
                Value::Location(at) => Some(format!("{},{},{:.6},{:.6},yes\n", r.seed, r.index, at.lat, at.lon)),
                Value::Date(date) => Some(format!("{},{},{date},yes\n", r.seed, r.index)),
                Value::Image(_) => None,
            };
            let rows: Vec<String> = members.iter().filter_map(row).collect();
            if rows.is_empty() {
                continue;
            }
            let columns = if m.values == ValueKind::Location { "latitude,longitude" } else { "date" };
            let path = self.range_path(range, &format!("{}.csv", m.name));
            self.refuse(&path)?;
            let text = format!("seed,realisation,{columns},synthetic\n{}", rows.concat());
            write_atomically(&path, text.as_bytes())?;
            written.push(path);
        }
        Ok(written)
    }

    /// Writes a table of one spot over realisations (CSV), as the window's inspector makes it.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn inspected(&self, table: &str) -> Result<PathBuf> {
        let path = self.path("", "inspected.csv");
        self.refuse(&path)?;
        write_atomically(&path, table.as_bytes())?;
        Ok(path)
    }

    fn write(
        &self,
        m: &Modality,
        path: &Path,
        bands: Vec<(String, &[f32])>,
        pixels: Pixels,
        own: Vec<(String, String)>,
        what: &str,
    ) -> Result<()> {
        let mut metadata = self.lineage.metadata.clone();
        metadata.push(("modality".into(), m.name.clone()));
        if let Pixels::Classes(classes) = &pixels {
            let list: Vec<String> = classes.iter().map(|c| format!("{} {}", c.code, c.name)).collect();
            metadata.push(("classes".into(), list.join("; ")));
        }
        metadata.extend(own);
        metadata.push(("TIFFTAG_IMAGEDESCRIPTION".into(), format!("{what}: {}", m.name)));
        metadata.push(("TIFFTAG_SOFTWARE".into(), format!("COP-GEN Explorer {}", env!("CARGO_PKG_VERSION"))));
        let footprint = &self.lineage.footprint;
        let (rows, columns) = footprint.pixels(m.ground_m)?;
        let size = (columns, rows);
        let cloud_optimised = self.cloud_optimised;
        GeoTiff { footprint, pixel_m: m.ground_m, size, bands, pixels, metadata, cloud_optimised }
            .write(path, self.overwrite)
    }
}

/// Moves finished files from one folder to another: all, or none if one of them is there already and must not be replaced.
///
/// # Errors
/// When a file exists or cannot be moved.
pub fn move_all(files: &[PathBuf], to: &Path, overwrite: bool) -> Result<Vec<PathBuf>> {
    let targets: Vec<PathBuf> = files.iter().filter_map(|file| Some(to.join(file.file_name()?))).collect();
    if !overwrite {
        refuse_existing(&targets)?;
    }
    for (from, to) in files.iter().zip(&targets) {
        std::fs::rename(from, to).map_err(|e| Error::io(to, "write", &e))?;
    }
    Ok(targets)
}

/// Numbers of the first and the last realisation.
fn range(members: &[Arc<Realisation>]) -> Option<[u64; 2]> {
    let indices = || members.iter().map(|r| r.index);
    Some([indices().min()?, indices().max()?])
}

/// Names of the two statistics of a modality.
fn statistic_names(m: &Modality) -> [&'static str; 2] {
    if m.classes().is_some() { ["mode", "disagreement"] } else { ["mean", "variance"] }
}
