//! Has pictures painted, and shows them.

use crate::app::state::runs::Run;
use crate::app::view::shown::Base;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::paint::{self, Gallery, Picture};
use crate::app::work::queue::Lane;
use crate::error::Result;
use crate::job::observe_all;
use crate::modality::Raster;
use crate::project::RunId;

impl ExplorerWindow {
    /// Has the gallery painted: what is new in it, or all of it.
    pub(super) fn paint_gallery(&mut self) {
        self.read_reference();
        let Some(order) = self.shown.gallery_order(&self.session) else { return };
        let ticket = order.ticket.clone();
        self.queue.run(
            Lane::Read,
            move || Ok(paint::gallery(&order)),
            move |window: &mut Self, painted| {
                // What was ordered anew is answered by the newer order.
                if ticket.is_latest() {
                    window.gallery_painted(painted);
                }
            },
        );
    }

    /// Reads what the reference shows where the run samples that is looked at, and has it painted.
    fn read_reference(&mut self) {
        let (Some(place), Some(table)) = (self.session.reference_to_read(), self.session.table().cloned()) else {
            return;
        };
        let ticket = self.references.next();
        let read = move || observe_all(&table, &place);
        self.queue.run(Lane::Read, read, move |window: &mut Self, read| {
            if !ticket.is_latest() {
                return;
            }
            match (read, &mut window.session.reference) {
                (Ok(observation), Some(reference)) => reference.observation = Some(observation),
                (Ok(_), None) => return,
                (Err(error), reference) => {
                    *reference = None;
                    window.session.note(format!("This scene cannot be compared: {error}"), true);
                }
            }
            window.paint_gallery();
        });
    }

    fn gallery_painted(&mut self, painted: Result<Option<Gallery>>) {
        match painted {
            Ok(Some(gallery)) => self.shown.painted(&self.ctx, gallery),
            Ok(None) => return,
            Err(error) => {
                self.shown.not_painted();
                return self.session.note(error.to_string(), true);
            }
        }
        // The first result of a run shows itself.
        if let Some(&first) = self.shown.realisations.keys().next()
            && std::mem::take(&mut self.shown.fresh_run)
        {
            self.shown.base = Base::Realisation(first);
        }
    }

    /// Has a preview painted of a realisation that is being made.
    pub(super) fn paint_preview(&mut self, index: u64, modality: usize, raster: Raster) {
        let Some(m) = self.session.table().and_then(|table| table.get(modality)).cloned() else { return };
        let Some(run) = self.session.runs.working().map(|run| run.id.clone()) else { return };
        let paint = move || Ok(paint::usual(&m, &raster));
        self.queue.run(Lane::Read, paint, move |window: &mut Self, painted| match painted {
            Ok(picture) => window.previewed(&run, index, modality, picture),
            Err(error) => window.session.note(error.to_string(), true),
        });
    }

    fn previewed(&mut self, run: &RunId, index: u64, modality: usize, picture: Picture) {
        // It may come after what it is a preview of.
        let made = |run: &Run| run.realisations.iter().any(|made| made.index == index);
        if self.session.runs.working().is_some_and(|working| working.id == *run && !made(working)) {
            self.shown.previewed(&self.ctx, index, modality, picture);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::app::state::runs;
    use crate::app::window::explorer::{answered, bare};
    use crate::ensemble::Realisation;
    use crate::modality::Raster;
    use std::sync::Arc;

    #[test]
    fn a_preview_does_not_appear_beside_what_it_was_a_preview_of() {
        let mut harness = bare(crate::files::bundled("models/demo").expect("model"), None, None);
        let window = harness.state_mut();
        answered(window, |window| window.session.model.is_some());
        window.session.runs.add(runs::tests::run(1));
        window.session.runs.begin_next();
        let table = window.session.table().expect("table").clone();
        let image = (0..table.len()).find(|&i| !table[i].is_scalar()).expect("an image");
        let m = &table[image];
        // A picture of realisation 1 is still being painted as realisation 0 arrives, whose own came before.
        for index in [1, 0] {
            window.paint_preview(index, image, Raster::constant(m.channels.len(), m.pixels, m.pixels, 1.0));
        }
        let run = window.session.runs.working_mut().expect("a run");
        run.realisations.push(Arc::new(Realisation { index: 0, seed: 1, ..Realisation::default() }));
        window.queue.settle();
        window.take_answers();
        assert_eq!(window.shown.preview.as_ref().map(|(index, ..)| *index), Some(1));
    }
}
