//! Writes what a job delivers, as it comes: a job that is stopped keeps what is finished.

use super::{Export, ExportRequest, Lineage, Pictures};
use crate::error::{Error, Result};
use crate::job::{Event, Request, observe_all};
use crate::model::{Model, ModelIdentity};
use crate::sampler::Role;
use crate::scene::Observation;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// In which formats files are written, as arguments of `generate` and as columns of a plan.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DeliveryOptions {
    /// Write cloud-optimised GeoTIFFs.
    #[arg(long)]
    pub cog: bool,
    /// Also write pictures (PNG) with legends: what was observed, each realisation, mean and spread; what a model made is
    /// marked as synthetic.
    #[arg(long)]
    pub png: bool,
}

/// Takes the events of a job and writes all that was generated.
pub struct Delivery<'a> {
    wanted: ExportRequest,
    pictures: bool,
    model: &'a Model,
    request: &'a Request,
    export: Option<Export>,
    failed: Option<Error>,
}

impl<'a> Delivery<'a> {
    /// For a request on a model. What `wanted` says of modalities, statistics and pictures follows from the request and the
    /// options.
    pub fn new(wanted: ExportRequest, options: &DeliveryOptions, model: &'a Model, request: &'a Request) -> Self {
        let modalities = request.roles.with(Role::Generated).into_iter().collect();
        let wanted = ExportRequest {
            modalities,
            realisations: true,
            statistics: true,
            cloud_optimised: options.cog,
            pictures: None,
            inspected: None,
            ..wanted
        };
        Self { wanted, pictures: options.png, model, request, export: None, failed: None }
    }

    /// Takes an event; the first failure to write sets `cancel`, which stops the job. `note` gets what people should know.
    pub fn take(&mut self, event: Event, cancel: &AtomicBool, note: &mut dyn FnMut(&str)) {
        let taken = match (event, self.export.as_mut().filter(|_| self.failed.is_none())) {
            (Event::Observed(observation), None) => self.begin(&observation, note),
            (Event::Realisation(made), Some(export)) => export.add(&made).and_then(|()| export.hand_out()),
            (Event::Note(text), _) => {
                note(&text);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = taken {
            self.failed.get_or_insert(error);
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Makes sure that everything can be written, before anything is computed.
    fn begin(&mut self, observation: &Observation, note: &mut dyn FnMut(&str)) -> Result<()> {
        observation.notes.iter().for_each(|text| note(text));
        let identity = ModelIdentity::of(&self.model.manifest, &self.model.sha256);
        let lineage = Lineage::new(&identity, &self.model.manifest.modalities, self.request, observation);
        let mut wanted = self.wanted.clone();
        if self.pictures {
            let known = observe_all(&lineage.table, &self.request.place)?;
            known.notes.iter().filter(|text| !observation.notes.contains(text)).for_each(|text| note(text));
            let rasters = known.values.iter().map(|given| given.as_ref()?.value.image().cloned());
            wanted.pictures = Some(Pictures::usual(rasters.collect()));
        }
        let indices: Vec<u64> = (self.request.first..).take(self.request.samples).collect();
        self.export = Some(Export::begin(wanted, Arc::new(lineage), &indices)?);
        Ok(())
    }

    /// Statistics, tables and pictures of what is there.
    ///
    /// # Errors
    /// The first failure to write, now or before.
    pub fn finish(&mut self) -> Result<()> {
        match (self.failed.take(), &mut self.export) {
            (Some(error), _) => Err(error),
            (None, Some(export)) => export.finish().map(|_| ()),
            (None, None) => Ok(()),
        }
    }

    /// What was written so far; `None` before the job knew its place.
    pub fn export(&self) -> Option<&Export> {
        self.export.as_ref()
    }
}
