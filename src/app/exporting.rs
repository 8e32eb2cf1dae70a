//! Writes what the export window asks for; runs on the studio's thread.

use super::studio::Reply;
use crate::ensemble::{Measure, Quantity, Realisation, Samples, Statistics, statistics};
use crate::error::Result;
use crate::export::{Exporter, Lineage};
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
    /// How spread is measured, and of which quantity, for that modality.
    pub measure: (Measure, Quantity),
    /// What was observed, by modality: it sets the stretch.
    pub observed: Vec<Option<Raster>>,
}

/// Writes files.
pub fn export(order: &ExportOrder) -> Reply {
    let write = || {
        let exporter = Exporter::new(&order.dir, &order.lineage, order.overwrite)?
            .cloud_optimised(order.cloud_optimised)
            .only(order.modalities.clone());
        let mut written = Vec::new();
        if order.realisations {
            for realisation in &order.members {
                written.extend(exporter.realisation(realisation)?);
            }
            written.extend(exporter.tables(&order.members)?);
        }
        if order.statistics {
            written.extend(exporter.statistics(&order.members)?);
        }
        if let Some(pictures) = &order.pictures {
            for &i in &order.modalities {
                written.extend(order.pictures_of(&exporter, pictures, i)?);
            }
        }
        if let Some(table) = &order.inspected {
            written.push(exporter.inspected(table)?);
        }
        if order.stac {
            written.push(exporter.stac_item(&written)?);
        }
        Ok(written)
    };
    Reply::Exported(write())
}

impl ExportOrder {
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
            let legend = pictures.legend.then(|| Legend::of_look(m, (name, look), raster, &stretch, title));
            view::plate(&view::picture(m, look, raster, &stretch), legend.as_ref(), synthetic)
        };
        let (tile, seed) = (&self.lineage.tile, self.lineage.seed);
        let mut written = Vec::new();
        if let Some(observed) = observed {
            let picture = draw(observed, &format!("{} observed, {tile}", m.name), false)?;
            written.push(exporter.picture("observed", m, name, &picture)?);
        }
        for (index, raster) in &held {
            let title = format!("{} realisation {index}, seed {seed}, {tile} (synthetic)", m.name);
            written.push(exporter.picture(&format!("r{index:03}"), m, name, &draw(raster, &title, true)?)?);
        }
        if held.len() > 1 {
            let (what, middle) = match statistics(m, i, &members)? {
                Statistics::Continuous { mean, .. } => ("mean", mean),
                Statistics::Classes { mode, .. } => ("mode", mode),
            };
            let title = format!("{} {what} of {} realisations, {tile} (synthetic)", m.name, held.len());
            written.push(exporter.picture(what, m, name, &draw(&middle, &title, true)?)?);
            written.push(self.spread_of(exporter, pictures, (i, m), look, &members)?);
        }
        Ok(written)
    }

    fn spread_of(
        &self,
        exporter: &Exporter,
        pictures: &Pictures,
        (i, m): (usize, &Modality),
        look: Look,
        members: &[&Realisation],
    ) -> Result<PathBuf> {
        let (measure, quantity) =
            if pictures.look.0 == i { pictures.measure } else { (Measure::of(m, false)[0], compared(look)) };
        let observed = pictures.observed.get(i).and_then(Option::as_ref);
        let samples = Samples::new(m, i, quantity, members, observed, measure)?;
        let range = view::spread_range(&samples);
        let what = Quantity::of(m).into_iter().find(|(_, q)| *q == quantity).map(|(name, _)| name).unwrap_or_default();
        let title = format!("{} {what}, {} realisations, {}", m.name, members.len(), self.lineage.tile);
        let legend = pictures.legend.then(|| Legend::of_spread(m, quantity, measure, range, &title));
        let picture = view::plate(&view::spread_picture(&samples.spread(), range), legend.as_ref(), true)?;
        exporter.picture("spread", m, &format!("{} {what}", view::spread_name(measure)), &picture)
    }
}

/// The quantity that stands for a look.
fn compared(look: Look) -> Quantity {
    match look {
        Look::Composite([c, ..]) | Look::Band(c) | Look::Polarisation(c) | Look::Radar(c, _) => Quantity::Channel(c),
        Look::Index(a, b, index) => Quantity::Index(index, a, b),
        Look::Relief | Look::Hillshade | Look::Classes => Quantity::Channel(0),
    }
}
