//! Opens scenes, projects and files. Disks are slow: what was asked for last is picked, not what comes last.

use crate::app::state::place::{KnownScene, Selection, around};
use crate::app::state::project::Restored;
use crate::app::state::ticket::Ticket;
use crate::app::view::shown::Shown;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::queue::Lane;
use crate::app::work::read::{self, Known, LookedInto};
use crate::app::work::restore::{With, restored};
use crate::basemap::{Archive, LayerId};
use crate::error::Result;
use crate::modality::Catalogue;
use crate::project::{PROJECT_FILE, Project, set_aside};
use crate::scene::{Collection, LooseFile, scene_of};
use jiff::civil::Date;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl ExplorerWindow {
    /// Opens a folder, whatever it is; what it holds is picked, unless something else was asked for since.
    pub(super) fn open_folder(&mut self, dir: PathBuf, place: Ticket) {
        self.scene_form.open = false;
        if Project::is_at(&dir) {
            self.restore(dir, With::Its, place);
        } else {
            self.open_places(move || read::folder(&dir), place, true);
        }
    }

    /// Has places opened; what is `picked` is picked, the rest only lies on the map.
    pub(super) fn open_places(
        &self,
        open: impl FnOnce() -> Result<Known> + Send + 'static,
        place: Ticket,
        picked: bool,
    ) {
        self.open_places_saying(open, place, picked, Vec::new());
    }

    /// The same; when they are open, this is told of them.
    pub(super) fn open_places_saying(
        &self,
        open: impl FnOnce() -> Result<Known> + Send + 'static,
        place: Ticket,
        picked: bool,
        said: Vec<String>,
    ) {
        self.queue.run(Lane::Read, open, move |window: &mut Self, known| {
            match known {
                Ok(Known::Scene(known)) => window.scene_opened(*known, &place, picked),
                Ok(Known::Collection(collection)) => window.collection_opened(*collection, place),
                Err(error) => window.session.note(error.to_string(), true),
            }
            // What is picked takes the notes about the place before with it.
            said.into_iter().for_each(|text| window.session.note(text, false));
        });
    }

    /// Brings a project back with one model or another.
    pub(super) fn restore(&self, dir: PathBuf, with: With, place: Ticket) {
        let from = dir.clone();
        self.queue.run(
            Lane::Read,
            move || restored(&from, with),
            move |window: &mut Self, read| {
                window.restored(&dir, read, &place);
            },
        );
    }

    /// Opens folders; GeoTIFFs named by modality stand for their folder, others are looked into.
    pub(super) fn open_paths(&mut self, paths: Vec<PathBuf>) {
        let catalogue = Catalogue::of_user();
        let named = |path: &Path| {
            path.file_stem().and_then(|s| s.to_str()).is_some_and(|s| catalogue.groups().any(|m| m.name == s))
        };
        let mut loose = Vec::new();
        let mut folders = BTreeSet::new();
        let (maps, paths): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| Archive::is_one(path));
        for path in maps {
            self.scene_form.open = false;
            self.open_map(LayerId::File(path));
        }
        for path in self.without_tables(paths) {
            match path.parent() {
                Some(parent) if path.is_file() && (named(&path) || path.ends_with(PROJECT_FILE)) => {
                    folders.insert(parent.to_path_buf());
                }
                _ if path.is_file() => loose.push(path),
                _ => {
                    folders.insert(path);
                }
            }
        }
        if folders.is_empty() && loose.is_empty() {
            return;
        }
        let place = self.new_place();
        folders.into_iter().for_each(|dir| self.open_folder(dir, place.clone()));
        if !loose.is_empty() {
            self.scene_form.open = false;
            let look = move || Ok(read::look_into(&loose));
            self.queue.run(Lane::Read, look, move |window: &mut Self, looked| match looked {
                Ok(LookedInto::Settings(path, settings)) => {
                    window.session.take(*settings);
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let text = format!("Roles, values, switches and seed of {name} were taken over.");
                    window.session.note(text, false);
                }
                Ok(LookedInto::Files(files)) => window.recognised(files, place),
                Err(error) => window.session.note(error.to_string(), true),
            });
        }
    }

    /// Opens GeoTIFFs as one scene.
    pub(super) fn open_files(&mut self, files: Vec<(PathBuf, String, Option<Date>)>, place: Ticket) {
        let within = self.own_scenes();
        self.open_places(move || read::folder(&scene_of(&within, &files)?), place, true);
    }

    /// A scene was opened: it lies on the map, and is picked if that was asked for and nothing else was since.
    fn scene_opened(&mut self, known: KnownScene, place: &Ticket, picked: bool) {
        let (dir, name) = (known.scene.dir().to_path_buf(), known.scene.name().to_owned());
        let at = self.session.add_scene(known);
        if !picked {
            return;
        }
        // A data set is remembered as a whole; what the window opens with is not.
        let single = !self.session.collections.iter().any(|collection| dir.starts_with(&collection.root));
        let asked = place.number() > 0;
        if single && asked {
            self.remember(&dir);
        }
        if place.is_latest() {
            self.pick(Selection::Scene(at));
        } else if asked {
            let text = format!("{name} was opened, but not picked: something else was picked or opened meanwhile.");
            self.session.note(text, false);
        }
    }

    /// A data set was opened: one cell is picked at once, of many one is picked on the map, which moves there unless
    /// another place was picked meanwhile.
    fn collection_opened(&mut self, collection: Collection, place: Ticket) {
        self.remember(&collection.root);
        let (name, count) = (collection.name().to_owned(), collection.cells.len());
        let only = collection.cells.keys().next().copied().filter(|_| count == 1);
        let ground = around(&collection);
        self.session.add_collection(collection);
        if let Some(dir) = only.and_then(|cell| self.session.collected(cell)) {
            return self.open_folder(dir, place);
        }
        if let Some((middle, side_m)) = ground.filter(|_| place.is_latest()) {
            self.map.fit(middle, side_m);
        }
        self.session
            .note(format!("{count} cells of {name} are on the map: click one, or type its name, to open it."), false);
    }

    /// What cannot be used becomes a note; the rest is opened, or asked about.
    fn recognised(&mut self, files: Vec<Result<LooseFile>>, place: Ticket) {
        let mut usable = Vec::new();
        for file in files {
            match file {
                Ok(file) => usable.push(file),
                Err(error) => self.session.note(error.to_string(), true),
            }
        }
        let names: BTreeSet<&String> = usable.iter().filter_map(|file| file.candidates.first()).collect();
        let certain = names.len() == usable.len() && usable.iter().all(|file| file.candidates.len() == 1);
        if certain && !usable.is_empty() {
            self.open_files(usable.into_iter().map(|f| (f.path, f.candidates.concat(), f.date)).collect(), place);
        } else {
            self.files_form.ask(usable);
        }
    }

    /// A project was read, or could not be.
    fn restored(&mut self, dir: &Path, restored: Result<Restored>, place: &Ticket) {
        let own = self.session_folder.as_ref().is_some_and(|folder| folder.dir() == dir);
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) => {
                self.session.note(error.to_string(), true);
                if own && Project::read(dir).is_ok() {
                    // It can be read, so it stays as it is.
                    self.session_folder = None;
                    let text = "This session is not kept for the next start; the last one stays as it is.";
                    self.session.note(text, true);
                } else if own {
                    match set_aside(dir) {
                        Ok(aside) => self.session.note(
                            format!("The last session could not be read; it is kept as {}.", aside.display()),
                            true,
                        ),
                        // Nothing is written over it.
                        Err(_) => self.session_folder = None,
                    }
                }
                return;
            }
        };
        // A run that goes on is not thrown away.
        if self.session.busy() || self.session.runs.waiting().next().is_some() {
            return self.session.note("Stop the sampling before opening a project.", true);
        }
        let same = self.session.table().is_none_or(|table| *table == restored.model.manifest.modalities);
        if !same && !self.session.runs.all().is_empty() {
            let text = "This project was made with a model of other modalities: save this session's runs and forget them first.";
            return self.session.note(text, true);
        }
        if let Some(earlier) = &restored.earlier {
            self.remember(earlier);
            let text = format!(
                "The runs of the last session were made with a model of other modalities. They are kept as a project of \
                 their own, {}: open it to see them.",
                earlier.display()
            );
            self.session.note(text, true);
        }
        let before = self.session.runs.all().len();
        if !same {
            self.read_no_longer();
        }
        // A place that was picked meanwhile stays.
        restored.apply(&mut self.session, place.is_latest());
        if !own {
            self.remember(dir);
            self.keep_runs_from(before);
        }
        if let Some(table) = self.session.table() {
            self.shown.modality = Shown::first_choice(table);
        }
        self.show_run();
        if let Some(selection) = self.session.selection.clone().filter(|_| self.session.observed.is_none()) {
            self.go_to_picked();
            self.observe(selection);
        }
    }
}
