//! Runs of the session: those that are done, the one that samples, those that wait, and which is looked at.

use crate::app::state::place::Observed;
use crate::ensemble::Realisation;
use crate::export::Lineage;
use crate::job::{Request, SetValue, Stage};
use crate::modality::{Modality, ModalityTable, Raster};
use crate::model::ModelIdentity;
use crate::project::RunId;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Its turn has not come.
    Waiting,
    /// It samples.
    Running,
    /// The user asked it to stop.
    Stopping,
    /// It made all realisations.
    Finished,
    /// It was stopped.
    Cancelled,
    /// It failed.
    Failed,
}

/// One run and what it delivered.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was asked for; its samples are all that were asked for, also later.
    pub request: Request,
    /// Its name, in the session and on disk; no two runs share one.
    pub id: RunId,
    /// The model that makes it or has made it, whatever model is used later.
    pub model: ModelIdentity,
    /// The place as it was when the run was asked for.
    pub observed: Observed,
    /// For exports; known once the worker has read the scene.
    pub lineage: Option<Arc<Lineage>>,
    /// Finished realisations.
    pub realisations: Vec<Arc<Realisation>>,
    /// Those ticked for export.
    pub chosen: BTreeSet<u64>,
    /// Those pinned to the front of the gallery.
    pub pinned: BTreeSet<u64>,
    /// What it does now.
    pub stage: Stage,
    /// Evaluations done, in all, time left.
    pub progress: (usize, usize, Option<Duration>),
    /// State.
    pub state: RunState,
}

impl Run {
    /// A run that waits for its turn.
    pub fn new(request: Request, model: ModelIdentity, observed: Observed) -> Self {
        Self {
            request,
            id: RunId::now(),
            model,
            observed,
            lineage: None,
            realisations: Vec::new(),
            chosen: BTreeSet::new(),
            pinned: BTreeSet::new(),
            stage: Stage::Waiting,
            progress: (0, 0, None),
            state: RunState::Waiting,
        }
    }

    /// Whether the worker has still to do with it.
    pub fn active(&self) -> bool {
        matches!(self.state, RunState::Waiting | RunState::Running | RunState::Stopping)
    }

    /// Whether the worker works on it now.
    pub fn working(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Stopping)
    }

    /// Rasters that were read where it samples, by modality; classes set by hand in place of those that were read.
    pub fn known_rasters(&self, table: &ModalityTable) -> Vec<Option<Raster>> {
        let read = |i: usize| self.observed.observation.values.get(i)?.as_ref()?.value.image().cloned();
        let known = |(i, m): (usize, &Modality)| match self.request.set.get(&i) {
            Some(SetValue::Painted(map)) => Some(map.raster()),
            Some(SetValue::Class(code)) => {
                let (rows, columns) = self.observed.ground.footprint.pixels(m.ground_m).ok()?;
                Some(Raster::constant(1, rows, columns, f32::from(*code)))
            }
            _ => read(i),
        };
        table.iter().enumerate().map(known).collect()
    }

    fn rest(&mut self) {
        let whole = self.realisations.len() >= self.request.samples;
        self.state = if whole { RunState::Finished } else { RunState::Cancelled };
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Runs {
    /// Oldest first.
    all: Vec<Run>,
    /// Place in `all` of the one that is looked at.
    shown: usize,
    /// The runs that wait, and what is asked for, in order.
    queue: VecDeque<(RunId, Request)>,
}

impl Runs {
    /// All of them, oldest first.
    pub fn all(&self) -> &[Run] {
        &self.all
    }

    /// Place of the one that is looked at.
    pub fn shown_at(&self) -> usize {
        self.shown
    }

    /// The one that is looked at.
    pub fn shown(&self) -> Option<&Run> {
        self.all.get(self.shown)
    }

    /// See [`shown`](Self::shown).
    pub fn shown_mut(&mut self) -> Option<&mut Run> {
        self.all.get_mut(self.shown)
    }

    /// Looks at another one.
    pub fn show(&mut self, at: usize) {
        self.shown = at.min(self.all.len().saturating_sub(1));
    }

    /// The one the worker works on.
    pub fn working(&self) -> Option<&Run> {
        self.all.iter().find(|run| run.working())
    }

    /// See [`working`](Self::working).
    pub fn working_mut(&mut self) -> Option<&mut Run> {
        self.all.iter_mut().find(|run| run.working())
    }

    /// What waits, in order: the run, and how many realisations are asked for.
    pub fn waiting(&self) -> impl Iterator<Item = (&Run, usize)> {
        self.queue.iter().filter_map(|(id, request)| Some((self.find(id)?, request.samples)))
    }

    fn find(&self, id: &RunId) -> Option<&Run> {
        self.all.iter().find(|run| run.id == *id)
    }

    fn find_mut(&mut self, id: &RunId) -> Option<&mut Run> {
        self.all.iter_mut().find(|run| run.id == *id)
    }

    /// Adds a run to the end of the queue.
    pub fn add(&mut self, mut run: Run) {
        self.tell_apart(&mut run);
        self.queue.push_back((run.id.clone(), run.request.clone()));
        self.all.push(run);
    }

    /// Puts more realisations of the run that is looked at at the end of the queue.
    pub fn extend(&mut self, request: Request) {
        let Some(run) = self.all.get_mut(self.shown) else { return };
        run.request.samples = run.realisations.len() + request.samples;
        run.state = RunState::Waiting;
        self.queue.push_back((run.id.clone(), request));
    }

    /// The request the worker should begin with now, if it is idle and one waits.
    pub fn begin_next(&mut self) -> Option<Request> {
        if self.working().is_some() {
            return None;
        }
        let (id, request) = self.queue.pop_front()?;
        let run = self.find_mut(&id)?;
        (run.state, run.progress, run.stage) = (RunState::Running, (0, 0, None), Stage::Waiting);
        Some(request)
    }

    /// Takes the one at this place of the queue out again; a run without realisations is forgotten.
    pub fn withdraw(&mut self, place: usize) {
        let Some((id, _)) = self.queue.remove(place) else { return };
        let Some(at) = self.all.iter().position(|run| run.id == id) else { return };
        let made = self.all[at].realisations.len();
        self.all[at].request.samples = made.max(1);
        self.all[at].rest();
        if self.all[at].realisations.is_empty() {
            self.remove(at);
        }
    }

    /// Forgets a run, unless the worker has still to do with it.
    pub fn remove(&mut self, at: usize) {
        if self.all.get(at).is_some_and(|run| !run.active()) {
            self.all.remove(at);
            if self.shown > at || self.shown == self.all.len() {
                self.shown = self.shown.saturating_sub(1);
            }
        }
    }

    /// Takes runs that were brought back after those that are there, and looks at one of them.
    pub fn restore(&mut self, runs: Vec<Run>, shown: usize) {
        let before = self.all.len();
        for mut run in runs {
            self.tell_apart(&mut run);
            self.all.push(run);
        }
        self.show(before + shown);
    }

    /// No two runs share a name.
    fn tell_apart(&self, run: &mut Run) {
        while self.find(&run.id).is_some() {
            run.id = run.id.next();
        }
    }
}

#[cfg(test)]
pub(in crate::app) mod tests {
    use super::*;
    use crate::app::state::place::Ground;
    use crate::grid::GridCell;
    use crate::job::Place;
    use crate::modality::PostOptions;
    use crate::sampler::{Roles, SamplerOptions};
    use crate::scene::Observation;

    /// A run in a grid cell that waits for its turn.
    pub(in crate::app) fn run(seed: u64) -> Run {
        let table = ModalityTable::published();
        let footprint = "618U_30L".parse::<GridCell>().and_then(|cell| cell.footprint()).expect("cell");
        let request = Request {
            model: "models/demo".into(),
            place: Place::ground("618U_30L", footprint.clone()),
            roles: Roles::new(&table, &[], None).expect("roles"),
            set: Default::default(),
            keep: Default::default(),
            samples: 2,
            first: 0,
            seed,
            batch: 1,
            computing: Default::default(),
            options: SamplerOptions::default(),
            post: PostOptions::default(),
        };
        let observation = Observation {
            tile: "618U_30L".into(),
            footprint: footprint.clone(),
            values: vec![None; table.len()],
            notes: Vec::new(),
        };
        let text = String::new;
        let model = ModelIdentity { sha256: text(), name: text(), licence: text(), attribution: text() };
        Run::new(request, model, Observed { ground: Ground { footprint, corners: None }, observation })
    }

    fn finish(runs: &mut Runs) {
        let run = runs.working_mut().expect("one works");
        let made = (run.realisations.len() as u64..run.request.samples as u64)
            .map(|index| Arc::new(Realisation { index, seed: run.request.seed, ..Realisation::default() }));
        run.realisations.extend(made);
        run.state = RunState::Finished;
    }

    #[test]
    fn one_after_the_other_in_the_order_they_were_asked_for() {
        let mut runs = Runs::default();
        for seed in 1..=3 {
            runs.add(run(seed));
        }
        assert_eq!(runs.begin_next().map(|r| r.seed), Some(1));
        assert!(runs.begin_next().is_none(), "one works already");
        let names: std::collections::HashSet<_> = runs.all().iter().map(|r| r.id.clone()).collect();
        assert_eq!(names.len(), 3);
        runs.withdraw(0);
        assert_eq!(runs.all().len(), 2, "nothing was made of the one that was withdrawn");
        finish(&mut runs);
        assert_eq!(runs.begin_next().map(|r| r.seed), Some(3));
        finish(&mut runs);
        assert!(runs.begin_next().is_none());
    }

    #[test]
    fn more_of_an_older_run_waits_like_all_others() {
        let mut runs = Runs::default();
        runs.add(run(1));
        runs.begin_next();
        finish(&mut runs);
        runs.add(run(2));
        runs.show(0);
        let more = Request { first: 2, samples: 3, ..runs.shown().expect("run").request.clone() };
        runs.extend(more);
        assert_eq!(runs.shown().expect("run").request.samples, 5);
        assert_eq!(
            runs.waiting().map(|(run, samples)| (run.request.seed, samples)).collect::<Vec<_>>(),
            [(2, 2), (1, 3)]
        );
        assert_eq!(runs.begin_next().map(|r| r.seed), Some(2));
        runs.withdraw(0);
        let kept = runs.shown().expect("what was made stays");
        assert_eq!((kept.realisations.len(), kept.request.samples, kept.state), (2, 2, RunState::Finished));
        runs.remove(1);
        assert_eq!(runs.all().len(), 2, "one that works is not forgotten");
        finish(&mut runs);
        runs.show(1);
        runs.remove(1);
        assert_eq!((runs.all().len(), runs.shown_at()), (1, 0));
        runs.remove(0);
        assert!(runs.shown().is_none());
    }
}
