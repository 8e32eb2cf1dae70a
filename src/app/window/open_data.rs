//! Carries out what is asked about open data, and takes what comes back.

use crate::app::dialogs::open_data::DataForm;
use crate::app::state::open_data::{Fetching, KeptPlaces, Site};
use crate::app::state::place::Selection;
use crate::app::state::ticket::Ticket;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::open_data::{kept_places, small_pictures};
use crate::app::work::queue::Lane;
use crate::app::work::read;
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::Catalogue;
use crate::source::{Area, FetchProgress, Query, Survey, fetch, remarks, survey};
use egui::TextureOptions;
use std::path::PathBuf;

impl ExplorerWindow {
    /// Opens the window of open data; looks at once where it has not looked before.
    pub(super) fn data_window(&mut self, open: bool) {
        self.data.open = open;
        if !open {
            return;
        }
        self.list_kept_places();
        let here = self.site().ok();
        if self.data.found.as_ref().map(|(site, _)| site) != here.as_ref() {
            self.data.found = None;
            if self.session.selection.is_some() && !self.session.offline {
                self.search_data();
            }
        }
    }

    /// What is known of open data; for tests.
    pub fn data(&self) -> &DataForm {
        &self.data
    }

    /// The picked place, as ground to fetch.
    fn site(&self) -> Result<Site> {
        let side = self.session.table().map_or(0.0, |table| table.window_m());
        let area = if self.data.whole_cell { Area::Cell } else { Area::Window(side) };
        let nowhere = || Error::request("Pick a place on the map first: a grid cell, or a scene with a position.");
        let (cell, around) = match &self.session.selection {
            Some(Selection::Cell(cell)) => (*cell, None),
            Some(Selection::Scene(i)) => {
                let window = self.session.observed.as_ref().and_then(|o| o.ground.footprint.centre().ok());
                let scene = self.session.scenes.get(*i).and_then(|known| known.scene.location());
                let middle = window.or(scene).ok_or_else(nowhere)?;
                (GridCell::containing(middle).ok_or_else(nowhere)?, Some(middle))
            }
            None => return Err(nowhere()),
        };
        Ok(Site { cell, footprint: area.ground(cell, around)? })
    }

    /// Asks the catalogues.
    pub(super) fn search_data(&mut self) {
        (self.data.problem, self.data.found) = (None, None);
        let query = |site: &Site| {
            let corners = site.footprint.corners()?;
            let (from, to, most_cloud) = (self.data.from, self.data.to, self.data.most_cloud);
            Ok(Query { corners, from, to, most_cloud })
        };
        let (site, query) = match self.site().and_then(|site| query(&site).map(|query| (site, query))) {
            Ok(asked) => asked,
            Err(error) => return self.data.problem = Some(error.to_string()),
        };
        let (ticket, sources) = (self.data.searches.next(), self.sources.clone());
        self.data.search = Some(self.exchange(
            move |network, _, stop| {
                let families = Catalogue::of_user().product_names();
                survey(network, &sources, &families, &query, stop)
            },
            move |window: &mut Self, found| {
                // Something else may have been asked meanwhile.
                if ticket.is_latest() {
                    window.surveyed(site, found);
                }
            },
        ));
    }

    fn surveyed(&mut self, site: Site, found: Result<Survey>) {
        self.data.search = None;
        match found {
            Ok(survey) => {
                self.data.surveyed(site, survey);
                self.picture_data();
            }
            Err(Error::Cancelled) => {}
            Err(error) => self.data.problem = Some(error.to_string()),
        }
    }

    fn picture_data(&mut self) {
        let (wanted, kept) = (self.data.wanted_pictures(), self.session.kept.clone());
        self.data.picturing = Some(self.exchange(
            move |network, tell, stop| {
                small_pictures(network, &wanted, kept.as_ref(), stop, &mut |url, picture| {
                    tell.send(move |window: &mut Self| {
                        let texture = window.ctx.load_texture("acquisition", picture, TextureOptions::LINEAR);
                        window.data.pictures.insert(url, texture);
                    });
                });
                Ok(())
            },
            |window: &mut Self, done| {
                // Without small pictures everything else still works.
                if let Err(error) = done {
                    window.session.note(error.to_string(), true);
                }
            },
        ));
    }

    /// Reads what is chosen.
    pub(super) fn fetch_data(&mut self) {
        let Some(order) = self.data.order() else { return };
        self.data.problem = None;
        let Some(kept) = self.session.kept.clone() else {
            self.data.problem = Some("There is no folder to keep places in; set COPGEN_PLACES to one.".into());
            return;
        };
        let sources = self.sources.clone();
        let (ticket, place) = (self.data.fetches.next(), self.new_place());
        let (telling, ending) = (ticket.clone(), place);
        let ongoing = self.exchange(
            move |network, tell, stop| {
                let mut progressed = |progress| {
                    let ticket = telling.clone();
                    tell.send(move |window: &mut Self| window.fetching(&ticket, progress));
                };
                let dir = fetch(network, &sources, &order, &kept.scenes_dir(), stop, &mut progressed)?;
                let removed = kept.make_room(&dir);
                tell.send(move |window: &mut Self| window.made_room(removed));
                Ok((remarks(&dir), dir))
            },
            move |window: &mut Self, done| window.fetched(&ticket, done, ending),
        );
        let progress = FetchProgress { what: "beginning …".into(), done: 0, total: 1 };
        self.data.fetching = Some(Fetching { ongoing, progress });
    }

    /// Fetches no further.
    pub(super) fn stop_fetch(&mut self) {
        self.data.fetches.next();
        self.data.fetching = None;
    }

    fn fetching(&mut self, ticket: &Ticket, progress: FetchProgress) {
        if let Some(fetching) = self.data.fetching.as_mut().filter(|_| ticket.is_latest()) {
            fetching.progress = progress;
        }
    }

    /// Opens what was fetched, with what is to be said of it.
    fn fetched(&mut self, ticket: &Ticket, done: Result<(Result<Vec<String>>, PathBuf)>, place: Ticket) {
        // What was told to stop has been forgotten; another fetch may go on.
        if !ticket.is_latest() {
            return self.list_kept_places();
        }
        self.data.fetching = None;
        match done {
            Ok((remarks, dir)) => {
                self.data.open = false;
                let said = remarks.unwrap_or_else(|error| vec![error.to_string()]);
                self.open_places_saying(move || read::folder(&dir), place, true, said);
                self.list_kept_places();
            }
            Err(Error::Cancelled) => {}
            Err(error) => {
                self.data.problem = Some(error.to_string());
                if !self.data.open {
                    self.session.note(error.to_string(), true);
                }
            }
        }
    }

    /// Takes kept places off the map that had to make room.
    pub(super) fn made_room(&mut self, removed: Result<Vec<PathBuf>>) {
        let removed = match removed {
            Ok(removed) => removed,
            Err(error) => return self.session.note(error.to_string(), true),
        };
        removed.iter().for_each(|gone| self.session.forget_scene(gone));
        if !removed.is_empty() {
            let text = format!("To keep within the limit, {} kept places were removed.", removed.len());
            self.session.note(text, false);
        }
    }

    /// Looks what is kept, in the background.
    fn list_kept_places(&mut self) {
        let Some(kept) = self.session.kept.clone() else { return };
        self.change_kept_places(Lane::Read, move || Ok((kept_places(&kept), Vec::new())));
    }

    /// Removes a kept place.
    pub(super) fn remove_kept(&mut self, dir: PathBuf) {
        let Some(kept) = self.session.kept.clone().filter(|_| !self.session.uses(&dir)) else { return };
        self.session.forget_scene(&dir);
        self.change_kept_places(Lane::Write, move || {
            kept.remove(&dir)?;
            Ok((kept_places(&kept), Vec::new()))
        });
    }

    /// Sets how much is kept; what is too much goes at once.
    pub(super) fn keep_at_most(&mut self, bytes: u64) {
        let Some(kept) = self.session.kept.clone() else { return };
        self.data.store.limit = bytes;
        self.change_kept_places(Lane::Write, move || {
            kept.set_limit(bytes)?;
            let removed = kept.shrink()?;
            Ok((kept_places(&kept), removed))
        });
    }

    /// Does something with what is kept: what there is then, and what had to make room.
    fn change_kept_places(
        &self,
        lane: Lane,
        change: impl FnOnce() -> Result<(KeptPlaces, Vec<PathBuf>)> + Send + 'static,
    ) {
        self.queue.run(lane, change, |window: &mut Self, changed| match changed {
            Ok((places, removed)) => {
                window.data.store = places;
                window.made_room(Ok(removed));
            }
            Err(error) => window.session.note(error.to_string(), true),
        });
    }
}
