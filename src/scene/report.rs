//! All that is found out about a scene folder, band by band, so that people see what the program sees.

use super::checks::{DARKEST, dark_below};
use super::codes::Unknown;
use super::{Extent, Scene};
use crate::error::{Error, Result};
use crate::modality::{Group, Location, ModalityTable, Value};
use crate::text::percent;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Values that are looked at together.
const TOGETHER: usize = 1 << 22;
/// Of bands with more pixels than this only some pieces are looked at: a file of a few bytes may claim any number.
const MOST_PIXELS: usize = 1 << 30;
/// So many pixels of such a band.
const SAMPLE: usize = 1 << 25;

/// A scene.
#[derive(Debug, Clone, Serialize)]
pub struct SceneReport {
    /// Its name.
    pub name: String,
    /// Where it lies on disk.
    pub folder: PathBuf,
    /// Its coordinate system, if it has a place.
    pub system: Option<String>,
    /// Left and top edge in that system, width and height, metres.
    pub extent: [f64; 4],
    /// Its centre.
    pub centre: Option<Location>,
    /// The day that stands for it (ISO 8601).
    pub date: Option<String>,
    /// Licence and origin.
    pub attribution: Option<String>,
    /// Its rasters.
    pub rasters: Vec<RasterReport>,
    /// Rasters that cannot be used: name, file, why.
    pub unusable: Vec<(String, PathBuf, String)>,
    /// What a careful reader should know of all of it.
    pub notes: Vec<String>,
}

/// A raster.
#[derive(Debug, Clone, Serialize)]
pub struct RasterReport {
    /// Name of its modality.
    pub name: String,
    /// When it was acquired, as the scene says.
    pub date: Option<String>,
    /// Columns and rows.
    pub pixels: [usize; 2],
    /// Left and top edge, width and height of a pixel as the file says, in units of its coordinate system.
    pub grid: Option<[f64; 4]>,
    /// Its coordinate system.
    pub system: Option<String>,
    /// Evidence for the offset that newer Sentinel-2 baselines add; of other sensors none.
    pub offset: Option<String>,
    /// Its bands.
    pub bands: Vec<BandReport>,
    /// What was done to its numbers, and what looks wrong about those of the window in the middle.
    pub notes: Vec<String>,
    /// Why it cannot be read, if so.
    pub problem: Option<String>,
}

/// A band.
#[derive(Debug, Clone, Serialize)]
pub struct BandReport {
    /// Its channel.
    pub channel: String,
    /// Where it is.
    pub file: PathBuf,
    /// Type of the stored numbers.
    pub stored: String,
    /// What the band says that they are multiplied by.
    pub scale: f64,
    /// What the band says that is added then.
    pub offset: f64,
    /// Unit, as the band says; empty if it does not.
    pub unit: String,
    /// What the band declares to be no data.
    pub no_data: Option<f64>,
    /// Whether a mask or alpha band says where it is valid.
    pub masked: bool,
    /// Share of its pixels that were looked at, 0…1; the next figures are of those.
    pub looked_at: f64,
    /// Share of its pixels that is valid, 0…1.
    pub valid: f64,
    /// Least and greatest value, as the program reads them; `None` where nothing is valid.
    pub range: Option<[f32; 2]>,
    /// Their mean.
    pub mean: Option<f64>,
    /// Classes there are, the commonest first; empty where values are measured.
    pub classes: Vec<ClassShare>,
}

/// A class of a raster.
#[derive(Debug, Clone, Serialize)]
pub struct ClassShare {
    /// Its code.
    pub code: i64,
    /// Its name; `None` for a code that is unknown.
    pub name: Option<String>,
    /// Its share of what is not declared no data, 0…1; an unknown code is no data, too.
    pub share: f64,
}

impl Scene {
    /// Reads all pixels of all rasters once, a few rows at a time, and tells what was found. What looks wrong about values is
    /// looked for in the middle window of a network with this table.
    ///
    /// # Errors
    /// When a file cannot be opened any more; what is wrong with single rasters is in the report.
    pub fn report(&self, table: &ModalityTable) -> Result<SceneReport> {
        let (extent, system) = (self.footprint(), self.footprint().crs.as_ref().map(crate::grid::Crs::short));
        let parts = &self.parts;
        let layers =
            parts.layers.iter().chain(parts.pictures.iter().filter(|(name, _)| !parts.layers.contains_key(*name)));
        let rasters = layers
            .filter_map(|(name, _)| self.catalogue.group(name))
            .map(|m| self.raster_report(m, table))
            .collect::<Result<_>>()?;
        let stand_ins = parts.refused.iter().map(|(name, why)| format!("There is no {name}: {why}."));
        Ok(SceneReport {
            name: self.name.clone(),
            folder: self.dir.clone(),
            system,
            extent: [extent.left, extent.top, extent.width_m, extent.height_m],
            centre: self.location(),
            date: self.date().map(|date| date.to_string()),
            attribution: self.attribution().map(str::to_owned),
            rasters,
            unusable: self.unusable(),
            notes: self.notes().iter().cloned().chain(stand_ins).collect(),
        })
    }

    fn unusable(&self) -> Vec<(String, PathBuf, String)> {
        let broken =
            |(name, (path, problem)): (&String, &(PathBuf, String))| (name.clone(), path.clone(), problem.clone());
        self.parts.broken.iter().map(broken).collect()
    }

    fn raster_report(&self, m: &Group, table: &ModalityTable) -> Result<RasterReport> {
        let Some(layer) = self.parts.layer(m) else {
            return Err(Error::request(format!("The scene {} has no {}.", self.name, m.name)));
        };
        let header = layer.header();
        let mut report = RasterReport {
            name: m.name.clone(),
            date: self.date_of(&m.family).map(str::to_owned),
            pixels: [header.width, header.height],
            grid: header.grid,
            system: header.crs.as_ref().map(crate::grid::Crs::short),
            offset: None,
            bands: Vec::new(),
            notes: Vec::new(),
            problem: layer.check_pixels(&m.name, m.ground_m).err().map(|e| e.to_string()),
        };
        let mut evidence = Vec::new();
        for channel in &m.channels {
            match self.band_report(m, channel, &mut report.notes) {
                Ok((band, found)) => {
                    evidence.push(found);
                    report.bands.push(band);
                }
                // One band that cannot be read does not hide the others.
                Err(error) => report.problem = report.problem.or_else(|| Some(error.to_string())),
            }
        }
        if m.about.offset.is_some() {
            report.offset = Some(self.offset_evidence(m, &evidence));
        }
        match self.middle(m, table) {
            Ok(notes) => {
                let own = notes.into_iter().filter(|note| !self.notes().contains(note));
                for note in own {
                    if !report.notes.contains(&note) {
                        report.notes.push(note);
                    }
                }
            }
            Err(error) => report.problem = report.problem.or_else(|| Some(error.to_string())),
        }
        Ok(report)
    }

    /// What is noted when the window in the middle is read; nothing where the table has no such modality.
    fn middle(&self, m: &Group, table: &ModalityTable) -> Result<Vec<String>> {
        let Some(i) = table.iter().position(|other| other.name == m.name) else { return Ok(Vec::new()) };
        let within = |extent: Extent| extent.within(self.footprint(), table.window_m(), self.step_m());
        // A place that is smaller than this network's window may be large enough for another's.
        let window = within(Extent::default()).or_else(|_| within(Extent::Whole))?;
        let found = self.read(table, &window, &[i])?;
        let mut notes = found.notes;
        if let Some(Value::Image(raster)) = found.values[i].as_ref().map(|given| &given.value)
            && raster.valid().is_some_and(|valid| valid.count() == 0)
        {
            notes.push("Nothing of the window in the middle is valid.".into());
        }
        Ok(notes)
    }

    /// Why the offset counts as removed, added, or unknown.
    fn offset_evidence(&self, m: &Group, bands: &[Evidence]) -> String {
        let dark = bands.iter().map(|band| band.dark).max_by(f64::total_cmp).unwrap_or_default();
        let least = dark_below(m).unwrap_or_default();
        match () {
            () if bands.iter().any(|band| band.moved) => "taken off, as the bands' tags say".into(),
            () if self.settles_offset(m) => "none left, as scene.json says".into(),
            () if bands.is_empty() => "unknown: no band can be read".into(),
            () if dark > DARKEST => format!("none left: {} of a band is darker than {least} DN", percent(dark)),
            () => {
                format!("unknown: hardly any value is below {least} DN, and neither tags nor scene.json speak of it")
            }
        }
    }

    /// All pixels of a channel, or of very many a sample; and what they tell of the offset.
    fn band_report(&self, m: &Group, channel: &str, notes: &mut Vec<String>) -> Result<(BandReport, Evidence)> {
        let layer = self.parts.layer(m).ok_or_else(|| Error::request(format!("There is no {}.", m.name)))?;
        let found = layer.channel(m, channel)?;
        found.tell(notes);
        let file = found.file;
        let stored = file.stored(found.band)?;
        let (scale, offset, unit) = file.numbers[found.band].said();
        let (mut looked_at, mut count, mut sum, mut range) = (0usize, 0usize, 0.0, [f32::INFINITY, f32::NEG_INFINITY]);
        let (mut codes, mut unknown, mut dark) = (BTreeMap::<i64, usize>::new(), Unknown::default(), 0usize);
        let darkest = dark_below(m).unwrap_or(f32::NEG_INFINITY);
        for (at, size) in pieces((file.width, file.height), stored.block, MOST_PIXELS) {
            looked_at += size.0 * size.1;
            for v in found.read(at, size, &mut unknown)?.into_iter().filter(|v| !v.is_nan()) {
                count += 1;
                sum += f64::from(v);
                range = [range[0].min(v), range[1].max(v)];
                dark += usize::from(v < darkest);
                if m.classes().is_some() {
                    *codes.entry(v as i64).or_default() += 1;
                }
            }
        }
        let said = count + unknown.count();
        codes.extend(&unknown.codes);
        let name = |code: i64| {
            let class = m.classes().unwrap_or_default().iter().find(|class| i64::from(class.code) == code);
            class.map(|class| class.name.clone())
        };
        let share = |(code, n): (i64, usize)| ClassShare { code, name: name(code), share: n as f64 / said as f64 };
        let mut classes: Vec<ClassShare> = codes.into_iter().map(share).collect();
        classes.sort_by(|a, b| b.share.total_cmp(&a.share));
        let report = BandReport {
            channel: channel.to_owned(),
            file: file.path.clone(),
            stored: stored.kind,
            scale,
            offset,
            unit: unit.to_owned(),
            no_data: stored.no_data,
            masked: stored.masked,
            looked_at: looked_at as f64 / (file.width as f64 * file.height as f64).max(1.0),
            valid: count as f64 / looked_at.max(1) as f64,
            range: (count > 0).then_some(range),
            mean: (count > 0).then(|| sum / count as f64),
            classes,
        };
        Ok((report, Evidence { moved: found.moves(), dark: dark as f64 / count.max(1) as f64 }))
    }
}

/// What a band tells of the offset of newer Sentinel-2 baselines.
struct Evidence {
    /// Whether it is taken off when the band is read.
    moved: bool,
    /// Share of what is valid that could not be so dark with it.
    dark: f64,
}

/// A rectangle of pixels: where it begins, and its size.
type Piece = ((usize, usize), (usize, usize));

/// All pixels of a band a few rows at a time; of more than `most` some of the blocks in which they are stored, evenly spread.
fn pieces((width, height): (usize, usize), (columns, rows): (usize, usize), most: usize) -> Vec<Piece> {
    let whole = width.saturating_mul(height) <= most;
    let (wide, high) = match whole {
        true => (width.min(TOGETHER), (TOGETHER / width.clamp(1, TOGETHER)).clamp(1, height.max(1))),
        false => (columns.clamp(1, width), rows.clamp(1, height)),
    };
    let (across, down) = (width.div_ceil(wide.max(1)), height.div_ceil(high));
    let all = across * down;
    let wanted = if whole { all } else { (SAMPLE / (wide * high)).clamp(4, all.max(4)).min(all) };
    // From the middle of each of so many parts.
    let number = |i: usize| ((2 * i + 1) as u128 * all as u128 / (2 * wanted as u128)) as usize;
    let piece = |i: usize| {
        let (column, row) = (number(i) % across * wide, number(i) / across * high);
        ((column, row), (wide.min(width - column), high.min(height - row)))
    };
    (0..wanted).map(piece).collect()
}

impl std::fmt::Display for SceneReport {
    /// Several lines for a terminal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [left, top, width, height] = self.extent;
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
        writeln!(f, "{}: {:.2} × {:.2} km", self.name, width / 1000.0, height / 1000.0)?;
        writeln!(f, "  system {}, from {left} east, {top} north", or_none(&self.system))?;
        if let Some(centre) = self.centre {
            writeln!(f, "  centre {:.5}, {:.5}", centre.lat, centre.lon)?;
        }
        writeln!(f, "  date {}", or_none(&self.date))?;
        writeln!(f, "  attribution {}", or_none(&self.attribution))?;
        for raster in &self.rasters {
            write!(f, "{raster}")?;
        }
        for (name, path, problem) in &self.unusable {
            writeln!(f, "{name}: cannot be used: {problem} ({})", path.display())?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for RasterReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [columns, rows] = self.pixels;
        write!(f, "{}: {columns} × {rows} pixels", self.name)?;
        match self.grid {
            Some([left, top, dx, dy]) => {
                write!(
                    f,
                    " of {dx} × {} from {left}, {top} in {}",
                    -dy,
                    self.system.as_deref().unwrap_or("no system")
                )?;
            }
            None => write!(f, ", no georeference")?,
        }
        writeln!(f, ", date {}", self.date.as_deref().unwrap_or("unknown"))?;
        for band in &self.bands {
            write!(f, "  {band}")?;
        }
        if let Some(offset) = &self.offset {
            writeln!(f, "  offset of Sentinel-2: {offset}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        if let Some(problem) = &self.problem {
            writeln!(f, "  cannot be given: {problem}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for BandReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.channel, self.stored)?;
        if (self.scale, self.offset) != (1.0, 0.0) {
            write!(f, ", scale {}, offset {}", self.scale, self.offset)?;
        }
        if !self.unit.is_empty() {
            write!(f, ", unit {}", self.unit)?;
        }
        match (self.no_data, self.masked) {
            (Some(value), _) => write!(f, ", no data {value}")?,
            (None, true) => write!(f, ", masked")?,
            (None, false) => write!(f, ", no data not declared")?,
        }
        write!(f, ", {:.2} % valid", self.valid * 100.0)?;
        if self.looked_at < 1.0 {
            write!(f, " of the {} of its pixels that were looked at", percent(self.looked_at))?;
        }
        if let ([least, most], Some(mean), true) = (self.range.unwrap_or_default(), self.mean, self.classes.is_empty())
        {
            write!(f, ", {least} to {most}, mean {mean:.4}")?;
        }
        writeln!(f)?;
        for class in &self.classes {
            let name = class.name.as_deref().unwrap_or("unknown, taken as no data");
            writeln!(f, "    {:>5.1} % {} {name}", class.share * 100.0, class.code)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pixels_are_looked_at_once_or_some_blocks_all_over() {
        let count = |all: &[Piece]| all.iter().map(|(_, (width, height))| width * height).sum::<usize>();
        for size in [(1, 1), (5000, 3000), (10_000_000, 2)] {
            let all = pieces(size, (256, 256), MOST_PIXELS);
            assert_eq!(count(&all), size.0 * size.1);
            assert!(all.iter().all(|((x, y), (w, h))| w * h <= TOGETHER && x + w <= size.0 && y + h <= size.1));
        }
        for block in [(4096, 4096), (400_000, 1), (16, 16)] {
            let some = pieces((400_000, 400_000), block, MOST_PIXELS);
            assert!((SAMPLE / 2..=4 * 4096 * 4096).contains(&count(&some)), "{block:?}: {}", count(&some));
            let rows: Vec<usize> = some.iter().map(|((_, row), _)| *row).collect();
            assert!(rows[0] < 80_000 && rows[rows.len() - 1] > 300_000, "{block:?}");
            assert!(some.iter().all(|((x, y), (w, h))| x + w <= 400_000 && y + h <= 400_000));
        }
    }
}
