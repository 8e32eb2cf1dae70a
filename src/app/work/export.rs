//! Writes what the export window asks for; runs on the queue's thread.

use crate::app::work::queue::Reply;
use crate::ensemble::{Measure, Quantity, Realisation, Samples, Statistics, statistics};
use crate::error::{Error, Result};
use crate::export::{Exporter, Lineage, move_all};
use crate::modality::{Modality, Raster};
use crate::view::{self, Legend, Look};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// What to write.
pub struct ExportOrder {
    /// Where.
    pub dir: PathBuf,
    /// How it was made.
    pub lineage: Arc<Lineage>,
    /// Which realisations.
    pub members: Vec<Arc<Realisation>>,
    /// Which modalities, by index.
    pub modalities: BTreeSet<usize>,
    /// Whether to write the realisations themselves.
    pub realisations: bool,
    /// Whether to write mean and variance.
    pub statistics: bool,
    /// Whether GeoTIFFs are cloud-optimised.
    pub cloud_optimised: bool,
    /// Pictures, if any are wanted.
    pub pictures: Option<Pictures>,
    /// The inspector's table, if it is wanted.
    pub inspected: Option<String>,
    /// Whether to write a STAC item.
    pub stac: bool,
    /// Whether existing files may be replaced.
    pub overwrite: bool,
}

/// How pictures look.
pub struct Pictures {
    /// Whether a legend is drawn below.
    pub legend: bool,
    /// Modality that is looked at in this way; all others in their usual one.
    pub look: (usize, usize),
    /// Whether each has a stretch of its own.
    pub own_stretch: bool,
    /// Values at both ends of the legend of spread that were set by hand, for that modality.
    pub fixed_range: Option<[f32; 2]>,
    /// How spread is measured, and of which quantity, for that modality.
    pub measure: (Measure, Quantity),
    /// What was observed, by modality: it sets the stretch.
    pub observed: Vec<Option<Raster>>,
}

/// Writes files: beside the folder first, so that all of them appear or none.
pub fn export(order: &ExportOrder) -> Reply {
    Reply::Exported(order.dir.clone(), order.write())
}

impl ExportOrder {
    fn write(&self) -> Result<Vec<PathBuf>> {
        std::fs::create_dir_all(&self.dir).map_err(|e| Error::io(&self.dir, "create", &e))?;
        let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(&self.dir);
        let unfinished = unfinished.map_err(|e| Error::io(&self.dir, "write to", &e))?;
        let exporter = Exporter::new(unfinished.path(), &self.lineage, true)?
            .cloud_optimised(self.cloud_optimised)
            .only(self.modalities.clone());
        let mut written = Vec::new();
        if self.realisations {
            for realisation in &self.members {
                written.extend(exporter.realisation(realisation)?);
            }
            written.extend(exporter.tables(&self.members)?);
        }
        if self.statistics && self.members.len() > 1 {
            written.extend(exporter.statistics(&self.members)?);
        }
        if let Some(pictures) = &self.pictures {
            for &i in &self.modalities {
                written.extend(self.pictures_of(&exporter, pictures, i)?);
            }
        }
        if let Some(table) = &self.inspected {
            written.push(exporter.inspected(table)?);
        }
        if self.stac {
            written.push(exporter.stac_item(&written)?);
        }
        move_all(&written, &self.dir, self.overwrite)
    }

    /// Pictures of one modality: what was observed, each realisation, their mean and spread.
    fn pictures_of(&self, exporter: &Exporter, pictures: &Pictures, i: usize) -> Result<Vec<PathBuf>> {
        let m = &self.lineage.table[i];
        let members: Vec<&Realisation> = self.members.iter().map(AsRef::as_ref).collect();
        let held: Vec<(u64, &Raster)> =
            members.iter().filter_map(|r| Some((r.index, r.values.get(i)?.as_ref()?.image()?))).collect();
        let looks = view::looks(m);
        let chosen = if pictures.look.0 == i { looks.get(pictures.look.1) } else { None };
        let Some((name, look)) = chosen.or(looks.first()).map(|(name, look)| (name.as_str(), *look)) else {
            return Ok(Vec::new());
        };
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let observed = pictures.observed.get(i).and_then(Option::as_ref);
        let scale: Vec<&Raster> =
            observed.map_or_else(|| held.iter().map(|(_, raster)| *raster).collect(), |observed| vec![observed]);
        let stretch = view::stretch(look, &scale);
        let draw = |raster: &Raster, title: &str, synthetic: bool| {
            let own = pictures.own_stretch.then(|| view::stretch(look, &[raster]));
            let stretch = own.as_ref().unwrap_or(&stretch);
            let legend = pictures.legend.then(|| Legend::of_look(m, (name, look), raster, stretch, title));
            view::plate(&view::picture(m, look, raster, stretch), legend.as_ref(), synthetic)
        };
        let (tile, seed) = (&self.lineage.tile, self.lineage.seed);
        let mut written = Vec::new();
        if let Some(observed) = observed {
            let picture = draw(observed, &format!("{} observed, {tile}", m.name), false)?;
            written.push(exporter.picture("observed", m, name, &picture, false)?);
        }
        for (index, raster) in &held {
            let title = format!("{} realisation {index}, seed {seed}, {tile} (synthetic)", m.name);
            written.push(exporter.picture(&format!("r{index:03}"), m, name, &draw(raster, &title, true)?, true)?);
        }
        if held.len() > 1 {
            let (what, middle) = match statistics(m, i, &members)? {
                Statistics::Continuous { mean, .. } => ("mean", mean),
                Statistics::Classes { mode, .. } => ("mode", mode),
            };
            let title = format!("{} {what} of {} realisations, {tile} (synthetic)", m.name, held.len());
            let numbers = format!("r{:03}-{:03}", held[0].0, held[held.len() - 1].0);
            let part = format!("{numbers}_{what}");
            written.push(exporter.picture(&part, m, name, &draw(&middle, &title, true)?, true)?);
            written.push(self.spread_of(exporter, pictures, (i, m), look, (&members, &numbers))?);
        }
        Ok(written)
    }

    fn spread_of(
        &self,
        exporter: &Exporter,
        pictures: &Pictures,
        (i, m): (usize, &Modality),
        look: Look,
        (members, numbers): (&[&Realisation], &str),
    ) -> Result<PathBuf> {
        let (measure, quantity) =
            if pictures.look.0 == i { pictures.measure } else { (Measure::of(m, false)[0], compared(look)) };
        let observed = pictures.observed.get(i).and_then(Option::as_ref);
        let samples = Samples::new(m, i, quantity, members, observed, measure)?;
        let fixed = pictures.fixed_range.filter(|_| pictures.look.0 == i);
        let range = fixed.unwrap_or_else(|| view::spread_range(&samples));
        let what = Quantity::of(m).into_iter().find(|(_, q)| *q == quantity).map(|(name, _)| name).unwrap_or_default();
        let title = format!("{} {what}, {} realisations, {}", m.name, members.len(), self.lineage.tile);
        let legend = pictures.legend.then(|| Legend::of_spread(m, quantity, measure, range, &title));
        let picture = view::plate(&view::spread_picture(&samples.spread(), range), legend.as_ref(), true)?;
        let look = format!("{} {what}", view::spread_name(measure));
        exporter.picture(&format!("{numbers}_spread"), m, &look, &picture, true)
    }
}

/// The quantity that stands for a look.
fn compared(look: Look) -> Quantity {
    match look {
        Look::Composite([c, ..])
        | Look::Picture([c, ..])
        | Look::Band(c)
        | Look::Polarisation(c)
        | Look::Radar(c, _) => Quantity::Channel(c),
        Look::Index(a, b, index) => Quantity::Index(index, a, b),
        Look::Relief | Look::Hillshade | Look::Classes => Quantity::Channel(0),
    }
}
