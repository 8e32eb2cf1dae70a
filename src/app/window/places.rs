//! Which place is picked, and what is known of it.

use crate::app::state::find;
use crate::app::state::place::{KnownScene, Selection};
use crate::app::state::ticket::Ticket;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::queue::Lane;
use crate::app::work::read::{self, Pictured};
use crate::error::Result;
use crate::job::PlaceData;
use crate::scene::Window;

impl ExplorerWindow {
    /// Another place was asked for.
    pub(super) fn new_place(&mut self) -> Ticket {
        self.places.next()
    }

    /// Picks a place; a cell of a data set on the map is opened first.
    pub(super) fn pick(&mut self, selection: Selection) {
        if let Selection::Cell(cell) = selection
            && let Some(dir) = self.session.collected(cell)
        {
            return self.open_folder(dir, self.places.latest());
        }
        let known = self.session.observed.is_some() || self.session.reading;
        if self.session.selection.as_ref() == Some(&selection) && known && !self.session.moved {
            return;
        }
        self.session.selection = Some(selection.clone());
        self.session.observed = None;
        (self.session.window, self.session.moved) = (Window::Centre, false);
        self.go_to_picked();
        // Notes about the old place; problems stay until they are read.
        self.session.notes.retain(|note| note.problem);
        self.shown.thumbnails.clear();
        self.shown.spot = None;
        (self.shown.area, self.shown.area_figures) = (None, None);
        self.observe(selection);
    }

    /// Moves the map to the picked scene.
    pub(super) fn go_to_picked(&mut self) {
        if let (Some(Selection::Scene(i)), Some(table)) = (&self.session.selection, self.session.table())
            && let Some(middle) = self.session.scenes.get(*i).and_then(|known| known.scene.location())
        {
            self.map.fit(middle, table.window_m());
        }
    }

    /// Reads the picked place, once the model is known.
    pub(super) fn observe(&mut self, selection: Selection) {
        let Some(table) = self.session.table().cloned() else { return };
        let place = match self.session.place(&selection) {
            Ok(place) => place,
            Err(error) => return self.session.note(error.to_string(), true),
        };
        let kept = self.session.kept.clone();
        self.read_place(move || {
            if let (Some(kept), PlaceData::Scene(dir)) = (kept, &place.data) {
                kept.touch(dir);
            }
            Ok(read::pictured(&table, read::observed_at(&place, &table)?))
        });
    }

    /// What is still being read is of a place, or for a model, that is no longer wanted.
    pub(super) fn read_no_longer(&mut self) {
        self.readings.next();
        self.session.reading = false;
    }

    fn read_place(&mut self, read: impl FnOnce() -> Result<Pictured> + Send + 'static) {
        let ticket = self.readings.next();
        self.session.reading = true;
        self.queue.run(Lane::Read, read, move |window: &mut Self, read| {
            // Another place may have been picked meanwhile.
            if ticket.is_latest() {
                window.place_read(read);
            }
        });
    }

    fn place_read(&mut self, read: Result<Pictured>) {
        self.session.reading = false;
        match read {
            Ok((observed, thumbnails)) => {
                self.shown.place(&self.ctx, thumbnails);
                self.session.observed(observed);
                self.paint_gallery();
            }
            Err(error) => {
                self.session.selection = None;
                self.session.note(error.to_string(), true);
            }
        }
    }

    /// Moves to what was typed: a scene by its name, a grid cell, or coordinates.
    pub(super) fn find(&mut self, text: &str) {
        let named = |known: &KnownScene| known.scene.name().to_lowercase().contains(&text.to_lowercase());
        match find::place(text) {
            Some(found) => {
                self.map.fit(found.middle, found.side_m);
                self.new_place();
                self.pick(Selection::Cell(found.cell));
            }
            None => match self.session.scenes.iter().position(named) {
                Some(i) => {
                    self.new_place();
                    self.pick(Selection::Scene(i));
                }
                None => self.session.note(
                    format!("\"{text}\" was not found: type a latitude and longitude such as 46.5, 11.35, a grid cell such as 618U_30L, or part of a scene's name."),
                    true,
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::app::state::place::Selection;
    use crate::app::window::explorer::{answered, bare};

    #[test]
    fn a_place_whose_reading_panics_is_told_and_can_be_picked_again() {
        let mut harness = bare(crate::files::bundled("models/demo").expect("model"), None, None);
        let window = harness.state_mut();
        answered(window, |window| window.session.model.is_some());
        let cell = Selection::Cell("618U_30L".parse().expect("cell"));
        window.session.selection = Some(cell.clone());
        window.read_place(|| panic!("a raster without an end"));
        assert!(window.session.reading);
        answered(window, |window| !window.session.reading);
        let found = window.session.notes.iter().find(|note| note.text.contains("a raster without an end"));
        assert!(found.is_some_and(|note| note.problem), "{:?}", window.session.notes);
        window.pick(cell);
        answered(window, |window| window.session.observed.is_some());
    }
}
