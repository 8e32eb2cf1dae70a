//! Opens what holds many cells: data sets in the Major TOM layout, and parquet files of Major TOM Core.

use crate::app::state::place::Selection;
use crate::app::state::place::around;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::cells::{self, Listed};
use crate::app::work::exchange::News;
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::scene::Collection;
use crate::source::Kept;
use crate::source::major_tom::{Access, Fetched, Origin, Row, fetch_within};
use std::path::PathBuf;

impl ExplorerWindow {
    /// Takes parquet files and addresses out of what was dropped or typed, and opens them together.
    pub(super) fn without_tables(&mut self, paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let (tables, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| Origin::is_meant(path));
        if !tables.is_empty() {
            let files = tables.iter().map(|path| match path.to_str() {
                Some(text) => Origin::of(text),
                None => Origin::File(path.clone()),
            });
            self.open_tables(files.collect(), None);
        }
        let archive =
            |path: &PathBuf| path.is_file() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"));
        let (archives, others): (Vec<_>, Vec<_>) = others.into_iter().partition(archive);
        for path in archives {
            let text = "This is a zip archive; unpack it, then open the folder that comes out";
            self.session.note(Error::file(path, text).to_string(), true);
        }
        others
    }

    /// Where scenes that this program made itself are kept.
    pub(super) fn own_scenes(&self) -> PathBuf {
        let session = self.session_folder.as_ref().map(|session_folder| session_folder.dir().to_path_buf());
        session.unwrap_or_else(std::env::temp_dir).join("copgen-scenes")
    }

    /// Has parquet files looked into.
    pub(super) fn open_tables(&mut self, files: Vec<Origin>, cell: Option<GridCell>) {
        self.scene_form.open = false;
        let names: Vec<String> = files.iter().map(Origin::name).collect();
        let place = self.new_place();
        let (number, read) = self.cells_form.begin(names.join(", "), place);
        let sent = self.exchanges.send(
            move |e| News::CellsListed(number, Err(e)),
            move |network, teller, stop| {
                let access = Access::new(network.clone(), stop.clone()).counting(read);
                teller.tell(News::CellsListed(number, cells::look_into(files, cell, &access)));
            },
        );
        self.going(sent);
    }

    fn going(&mut self, sent: Result<crate::app::work::exchange::Exchange>) {
        match sent {
            Ok(exchange) => self.cells_form.going(exchange),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &Error) {
        self.cells_form.close();
        if !matches!(error, Error::Cancelled) {
            self.session.note(error.to_string(), true);
        }
    }

    /// Files were looked into: what is clear is fetched, else it is asked for.
    pub(super) fn cells_listed(&mut self, number: u64, listed: Result<Listed>) {
        if !self.cells_form.waits_for(number) {
            return;
        }
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return self.failed(&error),
        };
        if listed.ask {
            let picked = match self.session.selection {
                Some(Selection::Cell(cell)) => Some(cell),
                _ => None,
            };
            return self.cells_form.ask_for_cell(listed.files, picked);
        }
        let mut scenes = listed.scenes;
        match scenes.len() {
            0 => self.failed(&Error::request("The files hold no cell.")),
            1 => self.fetch_rows(scenes.swap_remove(0).rows, self.cells_form.place),
            _ => self.cells_form.choose(scenes),
        }
    }

    /// Has a scene made of rows; `place` is the number of the wish for it.
    pub(super) fn fetch_rows(&mut self, rows: Vec<Row>, place: u64) {
        // What was read over the network or out of a large file is kept like other fetched places.
        let kept = self.session.kept.clone();
        let within = kept.as_ref().map_or_else(|| self.own_scenes(), Kept::scenes_dir);
        let name = rows.first().map(|row| format!("cell {}", row.cell)).unwrap_or_default();
        let (number, read) = self.cells_form.begin(name, place);
        let sent = self.exchanges.send(
            move |e| News::CellFetched(number, Err(e)),
            move |network, teller, stop| {
                let access = Access::new(network.clone(), stop.clone()).counting(read);
                let made = fetch_within(&rows, &within, &access);
                if let (Ok(made), Some(kept)) = (&made, kept) {
                    teller.tell(News::MadeRoom(kept.make_room(&made.dir)));
                }
                teller.tell(News::CellFetched(number, made));
            },
        );
        self.going(sent);
    }

    /// A scene was made.
    pub(super) fn cell_fetched(&mut self, number: u64, fetched: Result<Fetched>) {
        if !self.cells_form.waits_for(number) {
            return;
        }
        match fetched {
            Ok(fetched) => {
                self.cells_form.close();
                self.open_scene(fetched.dir, self.cells_form.place);
            }
            Err(error) => self.failed(&error),
        }
    }

    /// A data set was opened: one cell is picked at once, of many one is picked on the map, which moves there unless
    /// another place was picked meanwhile.
    pub(super) fn collected(&mut self, collection: Collection, wish: u64) {
        self.remember(&collection.root);
        let (name, count) = (collection.name().to_owned(), collection.cells.len());
        let only = collection.cells.keys().next().copied().filter(|_| count == 1);
        let place = around(&collection);
        self.session.add_collection(collection);
        if let Some(dir) = only.and_then(|cell| self.session.collected(cell)) {
            return self.open_scene(dir, wish);
        }
        if let Some((middle, side_m)) = place.filter(|_| wish == self.places) {
            self.map.fit(middle, side_m);
        }
        self.session
            .note(format!("{count} cells of {name} are on the map: click one, or type its name, to open it."), false);
    }
}
