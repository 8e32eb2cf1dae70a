//! Carries out what is wished about open data, and takes what comes back.

use crate::app::dialogs::open_data::DataForm;
use crate::app::state::open_data::{Fetching, Site, Store};
use crate::app::state::place::Selection;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::exchange::{News, Teller};
use crate::app::work::queue;
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::Catalogue;
use crate::net::Network;
use crate::source::{Acquisition, Area, FetchProgress, Kept, Query, Survey, fetch, survey, thumbnail};
use crate::view;
use egui::{ColorImage, Context, TextureOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Small pictures are shown no larger, pixels.
const PICTURE: u32 = 96;
/// No larger ones are read, pixels.
const WIDEST: u32 = 8192;

impl ExplorerWindow {
    /// Opens the window of open data; looks at once where it has not looked before.
    pub(super) fn data_window(&mut self, open: bool) {
        self.data.open = open;
        if !open {
            return;
        }
        self.look_what_is_kept();
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
        let begun = self.site().and_then(|site| {
            let corners = site.footprint.corners()?;
            let (from, to, most_cloud) = (self.data.from, self.data.to, self.data.most_cloud);
            let query = Query { corners, from, to, most_cloud };
            self.data.serial += 1;
            let (serial, sources) = (self.data.serial, self.sources.clone());
            self.exchanges.send(
                move |e| News::Surveyed(serial, Err(e)),
                move |network, teller, stop| {
                    let families = Catalogue::of_user().product_names();
                    let found = survey(network, &sources, &families, &query, stop);
                    teller.tell(News::Surveyed(serial, found.map(|survey| Box::new((site, survey)))));
                },
            )
        });
        match begun {
            Ok(exchange) => self.data.search = Some(exchange),
            Err(error) => self.data.problem = Some(error.to_string()),
        }
    }

    pub(super) fn surveyed(&mut self, serial: u64, found: Result<Box<(Site, Survey)>>) {
        // Something else was asked meanwhile.
        if serial != self.data.serial {
            return;
        }
        self.data.search = None;
        match found {
            Ok(found) => {
                let (site, survey) = *found;
                self.data.surveyed(site, survey);
                self.picture_data();
            }
            Err(Error::Cancelled) => {}
            Err(error) => self.data.problem = Some(error.to_string()),
        }
    }

    fn picture_data(&mut self) {
        let (wanted, kept) = (self.data.wanted_pictures(), self.session.kept.clone());
        let begun = self
            .exchanges
            .send(News::Broken, move |network, teller, stop| pictures(network, &wanted, kept, teller, stop));
        // Without small pictures everything else still works.
        self.data.picturing = begun.ok();
    }

    pub(super) fn pictured(&mut self, ctx: &Context, url: String, image: Arc<ColorImage>) {
        let texture = ctx.load_texture("acquisition", image, TextureOptions::LINEAR);
        self.data.pictures.insert(url, texture);
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
        self.data.serial += 1;
        let serial = self.data.serial;
        let begun = self.exchanges.send(
            move |e| News::Fetched(serial, Err(e)),
            move |network, teller, stop| {
                let mut told = |progress| teller.tell(News::Fetching(serial, progress));
                let made = fetch(network, &sources, &order, &kept.scenes_dir(), stop, &mut told);
                if let Ok(dir) = &made {
                    teller.tell(News::MadeRoom(kept.make_room(dir)));
                }
                teller.tell(News::Fetched(serial, made));
            },
        );
        let progress = FetchProgress { what: "beginning …".into(), done: 0, total: 1 };
        match begun {
            Ok(exchange) => {
                let place = self.new_place();
                self.data.fetching = Some(Fetching { serial, place, exchange, progress });
            }
            Err(error) => self.data.problem = Some(error.to_string()),
        }
    }

    pub(super) fn fetched(&mut self, serial: u64, done: Result<PathBuf>) {
        // What was told to stop has been forgotten; another fetch may go on.
        let Some(Fetching { place, .. }) = self.data.fetching.take_if(|fetching| fetching.serial == serial) else {
            return self.look_what_is_kept();
        };
        match done {
            Ok(dir) => {
                self.data.open = false;
                self.queue.run(move || queue::open_scene(&dir, Some(place)));
                self.look_what_is_kept();
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
    pub(super) fn look_what_is_kept(&mut self) {
        let Some(kept) = self.session.kept.clone() else { return };
        self.queue.run(move || queue::Reply::Store(Ok((store(&kept), Vec::new()))));
    }

    /// Removes a kept place.
    pub(super) fn remove_kept(&mut self, dir: PathBuf) {
        let Some(kept) = self.session.kept.clone().filter(|_| !self.session.uses(&dir)) else { return };
        self.session.forget_scene(&dir);
        self.queue.run(move || queue::Reply::Store(kept.remove(&dir).map(|()| (store(&kept), Vec::new()))));
    }

    /// Sets how much is kept; what is too much goes at once.
    pub(super) fn keep_at_most(&mut self, bytes: u64) {
        let Some(kept) = self.session.kept.clone() else { return };
        self.data.store.limit = bytes;
        self.queue.run(move || {
            let removed = kept.set_limit(bytes).and_then(|()| kept.shrink());
            queue::Reply::Store(removed.map(|removed| (store(&kept), removed)))
        });
    }
}

fn store(kept: &Kept) -> Store {
    let scenes = kept.scenes();
    Store { bytes: kept.bytes_with(&scenes), limit: kept.limit(), scenes }
}

/// Gets small pictures, from what is kept where they are there.
fn pictures(network: &Network, wanted: &[Acquisition], kept: Option<Kept>, teller: &Teller, stop: &AtomicBool) {
    for acquisition in wanted {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(url) = &acquisition.thumbnail else { continue };
        let before = kept.as_ref().and_then(|kept| kept.thumbnail(url));
        let image = before.as_deref().and_then(small).or_else(|| {
            let image = small(&thumbnail(network, acquisition, stop).ok()?)?;
            let mut bytes = std::io::Cursor::new(Vec::new());
            if let (Some(kept), Ok(())) = (&kept, image.write_to(&mut bytes, image::ImageFormat::Png)) {
                // Kept if there is room; asked for again otherwise.
                let _ = kept.keep_thumbnail(url, bytes.get_ref());
            }
            Some(image)
        });
        if let Some(image) = image {
            let size = [image.width() as usize, image.height() as usize];
            teller.tell(News::Pictured(url.clone(), Arc::new(ColorImage::from_rgb(size, image.as_raw()))));
        }
    }
}

/// A picture from a server, made small.
fn small(file: &[u8]) -> Option<image::RgbImage> {
    Some(view::decoded(file, WIDEST)?.thumbnail(PICTURE, PICTURE).to_rgb8())
}
