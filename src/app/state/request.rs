//! What the choices ask for, and whether there is memory for it.

use crate::app::state::choices::Choices;
use crate::app::state::place::Selection;
use crate::app::state::runs::Run;
use crate::app::state::session::Session;
use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::job::{Place, Request};
use crate::sampler::{Role, Roles};
use std::collections::BTreeMap;

/// Realisations computed together.
fn batch(samples: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.clamp(1, 4).min(samples.max(1))
}

impl Session {
    /// The request that the choices make.
    ///
    /// # Errors
    /// Why nothing can be started: one sentence for the user.
    pub fn request(&self) -> Result<Request> {
        let model = self.model.as_ref().ok_or_else(|| Error::request("The model is still loading."))?;
        let table = &model.manifest.modalities;
        let (selection, observed) = match (&self.selection, &self.observed) {
            (Some(selection), Some(observed)) => (selection, observed),
            (Some(_), None) => return Err(Error::request("The place is still being read.")),
            (None, _) => return Err(Error::request("Pick a scene or a grid cell on the map first.")),
        };
        let roles = Roles(self.choices.now().roles.clone());
        roles.check(table)?;
        model.manifest.check_present(&[roles.with(Role::Given), roles.with(Role::Generated)].concat())?;
        let mut set = BTreeMap::new();
        for i in roles.with(Role::Given) {
            if let Some(value) = self.set(table, i)? {
                set.insert(i, value);
            } else if observed.observation.values[i].is_none() {
                let advice = if Choices::can_be_set(&table[i]) { "set it by hand, or choose" } else { "choose" };
                return Err(Error::request(format!(
                    "{} is given, but not known here: {advice} generate or ignore.",
                    table[i].name
                )));
            }
        }
        let request = Request {
            model: model.dir.clone(),
            place: self.place(selection)?,
            roles,
            set,
            keep: self.choices.now().keep.clone(),
            samples: self.samples,
            first: 0,
            seed: self.seed,
            batch: batch(self.samples),
            computing: self.computing,
            options: self.options.clone(),
            post: self.post,
        };
        self.enough_memory(&request)?;
        Ok(request)
    }

    /// The place that a selection means, with the window that is chosen in it.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn place(&self, selection: &Selection) -> Result<Place> {
        Ok(match selection {
            Selection::Scene(i) => {
                let scene = self.scenes.get(*i).ok_or_else(|| Error::request("That scene is gone; pick another."))?;
                Place::scene(scene.scene.dir(), self.window)
            }
            Selection::Cell(cell) => Place::ground(cell.to_string(), cell.footprint()?),
        })
    }

    /// Estimated peak memory in bytes once a request is done, with all runs that are there or still to come.
    pub fn memory(&self, request: &Request) -> Option<u64> {
        let model = self.model.as_ref()?;
        let one = |request: &Request, ground: &Footprint| {
            model.manifest.realisation_bytes(&request.roles.with(Role::Generated), ground)
        };
        let runs = self.runs.all().iter().map(|run| {
            let owed = if run.active() { run.request.samples } else { 0 };
            owed.max(run.realisations.len()) as u64 * one(&run.request, &run.observed.ground.footprint)
        });
        let generated = request.roles.with(Role::Generated);
        let ground = &self.observed.as_ref()?.ground.footprint;
        let own = model.manifest.run_bytes(model.weight_bytes, &generated, ground, request.samples, request.batch);
        Some(own + runs.sum::<u64>())
    }

    /// Whether there is memory for a request.
    ///
    /// # Errors
    /// How much is missing, and what to do.
    fn enough_memory(&self, request: &Request) -> Result<()> {
        match (self.memory(request), self.memory_limit) {
            (Some(needed), Some(limit)) if needed > limit => Err(Error::request(format!(
                "This needs about {:.1} GB of memory, and {:.1} GB are free: ask for fewer realisations, or forget earlier runs.",
                needed as f64 / 1e9,
                limit as f64 / 1e9
            ))),
            _ => Ok(()),
        }
    }

    /// The request that adds as many realisations again to the run that is looked at.
    ///
    /// # Errors
    /// Why there is nothing to add to.
    pub fn more(&self) -> Result<Request> {
        let Some(run) = self.run().filter(|run| self.can_add_to(run)) else {
            return Err(Error::request("There is no finished run to add to."));
        };
        let first = run.realisations.iter().map(|r| r.index + 1).max().unwrap_or(0);
        let request = Request { first, samples: self.samples, batch: batch(self.samples), ..run.request.clone() };
        self.enough_memory(&request)?;
        Ok(request)
    }

    /// Whether more realisations of a run can be asked for.
    pub fn can_add_to(&self, run: &Run) -> bool {
        let same = || self.model.as_ref().is_some_and(|model| run.model.is(&model.identity()));
        !run.active() && run.lineage.is_some() && same()
    }
}
