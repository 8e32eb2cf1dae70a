//! Opens scenes and projects. Disks are slow: what was wished for last is picked, not what comes last.

use crate::app::state::place::{KnownScene, Selection};
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::queue::{self, Reply};
use crate::app::work::restore;
use crate::basemap::{Archive, LayerId};
use crate::error::Result;
use crate::modality::Catalogue;
use crate::project::{PROJECT_FILE, Project};
use crate::scene::{LooseFile, scene_of};
use jiff::civil::Date;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl ExplorerWindow {
    /// Numbers a new wish for a place.
    pub(super) fn new_place(&mut self) -> u64 {
        self.places += 1;
        self.places
    }

    /// Opens a folder; `place` is the number of the wish for it.
    pub(super) fn open_scene(&mut self, dir: PathBuf, place: u64) {
        self.scene_form.open = false;
        if Project::is_at(&dir) {
            self.queue.run(move || restore::restore(dir, place));
        } else {
            self.queue.run(move || queue::open_scene(&dir, Some(place)));
        }
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
        folders.into_iter().for_each(|dir| self.open_scene(dir, place));
        if !loose.is_empty() {
            self.scene_form.open = false;
            self.queue.run(move || queue::look_into(&loose, place));
        }
    }

    /// Opens GeoTIFFs as one scene.
    pub(super) fn open_files(&mut self, files: Vec<(PathBuf, String, Option<Date>)>, place: u64) {
        let within = self.own_scenes();
        self.queue.run(move || match scene_of(&within, &files) {
            Ok(dir) => queue::open_scene(&dir, Some(place)),
            Err(error) => Reply::Scene(Err(error), Some(place)),
        });
    }

    /// Remembers a folder that was opened or saved.
    pub(super) fn remember(&mut self, dir: &Path) {
        if self.recent.add(dir) {
            let recent = self.recent.clone();
            self.queue.run(move || Reply::Kept(recent.write()));
        }
    }

    /// Writes down what was chosen of the window itself.
    pub(super) fn write_preferences(&self) {
        let preferences = self.preferences.clone();
        self.queue.run(move || Reply::Kept(preferences.write()));
    }

    /// A scene was opened: it lies on the map, and is picked if that was wished and nothing else was meanwhile.
    pub(super) fn scene_opened(&mut self, known: KnownScene, place: Option<u64>) {
        let (dir, name) = (known.scene.dir().to_path_buf(), known.scene.name().to_owned());
        let at = self.session.add_scene(known);
        let Some(place) = place else { return };
        // A data set is remembered as a whole; what the window opens with is not.
        let single = !self.session.collections.iter().any(|collection| dir.starts_with(&collection.root));
        if single && place > 0 {
            self.remember(&dir);
        }
        if place == self.places {
            self.pick(Selection::Scene(at));
        } else if place > 0 {
            let text = format!("{name} was opened, but not picked: something else was picked or opened meanwhile.");
            self.session.note(text, false);
        }
    }

    /// What cannot be used becomes a note; the rest is opened, or asked about.
    pub(super) fn recognised(&mut self, files: Vec<Result<LooseFile>>, place: u64) {
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
}
