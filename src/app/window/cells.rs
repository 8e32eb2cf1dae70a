//! Opens parquet files of Major TOM Core, which hold many cells.

use crate::app::state::place::Selection;
use crate::app::state::ticket::Ticket;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::cells::{self, Listed};
use crate::error::{Error, Result};
use crate::grid::GridCell;
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
        let session = self.session_folder.as_ref().map(|folder| folder.dir().to_path_buf());
        session.unwrap_or_else(std::env::temp_dir).join("copgen-scenes")
    }

    /// Has parquet files looked into.
    pub(super) fn open_tables(&mut self, files: Vec<Origin>, cell: Option<GridCell>) {
        self.scene_form.open = false;
        let names: Vec<String> = files.iter().map(Origin::name).collect();
        let place = self.new_place();
        let (ticket, read) = self.cells_form.begin(names.join(", "));
        let ongoing = self.exchange(
            move |network, _, stop| {
                let access = Access::new(network.clone(), stop.clone()).counting(read);
                cells::look_into(files, cell, &access)
            },
            move |window: &mut Self, listed| {
                if ticket.is_latest() {
                    window.cells_listed(listed, place);
                }
            },
        );
        self.cells_form.going(ongoing);
    }

    fn reading_cells_failed(&mut self, error: &Error) {
        self.cells_form.close();
        if !matches!(error, Error::Cancelled) {
            self.session.note(error.to_string(), true);
        }
    }

    /// Files were looked into: what is clear is fetched, else it is asked for.
    fn cells_listed(&mut self, listed: Result<Listed>, place: Ticket) {
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return self.reading_cells_failed(&error),
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
            0 => self.reading_cells_failed(&Error::request("The files hold no cell.")),
            1 => self.fetch_rows(scenes.swap_remove(0).rows, place),
            _ => self.cells_form.choose(scenes),
        }
    }

    /// Has a scene made of rows, and opens it.
    pub(super) fn fetch_rows(&mut self, rows: Vec<Row>, place: Ticket) {
        // What was read over the network or out of a large file is kept like other fetched places.
        let kept = self.session.kept.clone();
        let within = kept.as_ref().map_or_else(|| self.own_scenes(), Kept::scenes_dir);
        let name = rows.first().map(|row| format!("cell {}", row.cell)).unwrap_or_default();
        let (ticket, read) = self.cells_form.begin(name);
        let ongoing = self.exchange(
            move |network, tell, stop| {
                let access = Access::new(network.clone(), stop.clone()).counting(read);
                let made = fetch_within(&rows, &within, &access)?;
                if let Some(kept) = kept {
                    let removed = kept.make_room(&made.dir);
                    tell.send(move |window: &mut Self| window.made_room(removed));
                }
                Ok(made)
            },
            move |window: &mut Self, made| {
                if ticket.is_latest() {
                    window.cell_fetched(made, place);
                }
            },
        );
        self.cells_form.going(ongoing);
    }

    fn cell_fetched(&mut self, fetched: Result<Fetched>, place: Ticket) {
        match fetched {
            Ok(fetched) => {
                self.cells_form.close();
                self.open_folder(fetched.dir, place);
            }
            Err(error) => self.reading_cells_failed(&error),
        }
    }
}
