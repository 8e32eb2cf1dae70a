//! Sampling: what is asked of the worker, what it tells, and which run is looked at.

use crate::app::state::runs::Run;
use crate::app::view::shown::{Base, Shown};
use crate::app::window::explorer::ExplorerWindow;
use crate::job::Event;
use crate::sampler::Role;

impl ExplorerWindow {
    /// Takes what the worker has told.
    pub(super) fn take_events(&mut self) {
        let mut preview = None;
        let mut repaint = false;
        while let Ok(event) = self.worker.events.try_recv() {
            match event {
                // Only the newest preview is worth painting.
                Event::Preview { index, modality, raster } => {
                    preview = Some((index, modality, raster));
                    continue;
                }
                Event::Realisation(_) | Event::Finished { .. } | Event::Failed(_) => {
                    preview = None;
                    self.shown.preview = None;
                    repaint |= self.session.run().is_some_and(Run::working);
                }
                _ => {}
            }
            if let (Event::Realisation(made), Some(run)) = (&event, self.session.runs.working()) {
                self.keep_realisation(run.id.clone(), made.clone());
            }
            self.session.event(event);
        }
        self.next_run();
        self.refresh_if_due();
        if repaint {
            self.paint_gallery();
        }
        if let Some((index, modality, raster)) = preview {
            self.paint_preview(index, modality, raster);
        }
    }

    /// Asks for a run of the choices; it is looked at at once unless another one goes on.
    pub(super) fn generate(&mut self) {
        if self.session.random_seed {
            self.session.seed = random_seed();
        }
        match self.session.request() {
            Ok(request) => self.session.asked(request),
            Err(error) => return self.session.note(error.to_string(), true),
        }
        if !self.session.busy() {
            self.session.runs.show(usize::MAX);
            self.show_run();
        }
        self.next_run();
    }

    /// Asks for more realisations of the run that is looked at.
    pub(super) fn more(&mut self) {
        match self.session.more() {
            Ok(request) => self.session.runs.extend(request),
            Err(error) => self.session.note(error.to_string(), true),
        }
        self.next_run();
    }

    /// Forgets a run with what it has on disk.
    pub(super) fn forget_run(&mut self, at: usize) {
        let id = self.session.runs.all().get(at).filter(|run| !run.active()).map(|run| run.id.clone());
        self.session.runs.remove(at);
        if let Some(id) = id {
            self.forget_on_disk(id);
        }
        self.show_run();
    }

    /// Takes what is at this place of the queue out of it.
    pub(super) fn withdraw(&mut self, place: usize) {
        let shown = |window: &Self| window.session.run().map(|run| run.id.clone());
        let before = shown(self);
        self.session.runs.withdraw(place);
        if shown(self) != before {
            self.show_run();
        }
    }

    /// Hands the next request to the worker, if it is idle.
    fn next_run(&mut self) {
        while let Some(request) = self.session.runs.begin_next() {
            if let Err(error) = self.worker.start(request) {
                self.session.event(Event::Failed(error.to_string()));
            }
        }
    }

    /// Has the pictures of the run that is looked at painted.
    pub(super) fn show_run(&mut self) {
        self.shown.forget_run();
        self.shown.base = Base::Observed;
        let Some(run) = self.session.run() else { return };
        self.shown.fresh_run = true;
        if !run.request.roles.generated(self.shown.modality) {
            self.show_a_generated_modality();
        }
        self.paint_gallery();
    }

    fn show_a_generated_modality(&mut self) {
        let (Some(table), Some(run)) = (self.session.table(), self.session.run()) else { return };
        let generated = run.request.roles.with(Role::Generated);
        let best = Some(Shown::first_choice(table)).filter(|i| generated.contains(i));
        let image = generated.iter().copied().find(|&i| !table[i].is_scalar());
        if let Some(i) = best.or(image).or(generated.first().copied()) {
            self.shown.show_modality(i);
        }
    }
}

/// A seed nobody chose: short enough to be read out.
fn random_seed() -> u64 {
    // The hasher's keys are the standard library's own random numbers.
    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0u8) % 1_000_000
}
