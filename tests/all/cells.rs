//! Folders and files of many cells: the Major TOM layout, and all of them opened in the window.

use crate::common::harness::{apply, observed, press, snapshot, wait, wait_for, window_with};
use crate::common::major_tom::{Format, L2A, Row, layout, row, write};
use crate::common::server::{Fault, Reply, Server};
use crate::common::{self, COMPLETE, copgen, failure, success};
use copgen::app::{Command, ExplorerWindow, Selection};
use copgen::grid::GridCell;
use copgen::modality::ModalityTable;
use copgen::net::Network;
use copgen::scene::{Collection, Scene};
use copgen::source::major_tom::{Access, Origin, list, look_up};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn cell() -> GridCell {
    "433D_629L".parse().expect("cell")
}

#[test]
fn the_published_subset_opens_at_any_of_its_folders() {
    let dir = tempfile::tempdir().expect("folder");
    let root = layout(&dir.path().join("data/majorTOM/edinburgh"), COMPLETE);
    for file in ["3d_cartesian_lat_lon_cache/meta.json", "Core-S2L2A/.cache_S2L2A.pkl", "mean_timestamps_cache.pkl"] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        std::fs::write(path, "x").expect("file");
    }
    std::fs::create_dir_all(root.join("Core-S2L2A/433D/not_a_cell")).expect("folder");
    std::fs::create_dir_all(root.join("Core-S2L2A/433D/600U_1R")).expect("folder of another row");
    std::fs::create_dir_all(root.join("Core-DEM/434D/434D_629L")).expect("a second cell");
    for start in [dir.path().to_path_buf(), dir.path().join("data"), root.clone(), root.join("Core-DEM")] {
        let found = Collection::find(&start).expect("read").expect("a data set");
        let cells: Vec<String> = found.cells.keys().map(ToString::to_string).collect();
        assert_eq!(cells, ["434D_629L", "433D_629L"], "{}", start.display());
        let has: Vec<&str> = found.families_of(cell()).collect();
        assert_eq!(has, ["S2L2A", "S2L1C", "S1RTC", "DEM", "LULC"]);
    }
    assert!(Collection::find(&common::project("assets")).expect("read").is_none());
    let listed = success(copgen().args(["scene", "list"]).arg(dir.path()));
    assert!(listed.contains("433D_629L  S2L2A S2L1C S1RTC DEM LULC"), "{listed}");
    assert!(failure(copgen().args(["scene", "list"]).arg(common::project("assets")), 1).contains("no data set"));

    // Any folder of the cell is the cell, with one name and so one set of noise.
    let table = ModalityTable::published();
    let all: Vec<usize> = (0..table.len()).collect();
    for folder in ["Core-S2L2A/433D/433D_629L", "Core-DEM/433D/433D_629L", "Core-LULC/433D/629L"] {
        let opened = Scene::open(&root.join(folder)).expect("scene");
        assert_eq!((opened.name(), opened.available(&table)), ("433D_629L", all.clone()));
    }
    let found = Collection::find(&root).expect("read").expect("a data set");
    assert_eq!(found.folder(cell()), Some(root.join("Core-S2L2A/433D/433D_629L")));
    std::fs::create_dir_all(dir.path().join("data/majorTOM/second/Core-DEM/1U/1U_1R")).expect("folder");
    let error = Collection::find(dir.path()).expect_err("two");
    assert!(error.to_string().contains("several data sets"), "{error}");
}

#[test]
fn thousands_of_cells_are_listed() {
    let dir = tempfile::tempdir().expect("folder");
    for i in 0..5000 {
        let (row, column) = (500 + i / 100, i % 100);
        for core in ["Core-S2L2A", "Core-S1RTC", "Core-DEM"] {
            let cell = dir.path().join(format!("{core}/{row}U/{row}U_{column}R"));
            std::fs::create_dir_all(cell.join("product")).expect("folder");
        }
    }
    let found = Collection::find(dir.path()).expect("read").expect("a data set");
    assert_eq!(found.cells.len(), 5000);
}

/// The window with a session, its guide closed.
fn ready(session: &tempfile::TempDir) -> Harness<'static, ExplorerWindow> {
    let mut harness = window_with(Some(session.path().into()));
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Guide(None));
    harness
}

/// Whether a scene in this folder is picked and read.
fn reads(window: &ExplorerWindow, ends: &str) -> bool {
    let session = window.session();
    let dir = match session.selection {
        Some(Selection::Scene(i)) => session.scenes[i].scene.dir(),
        _ => return false,
    };
    dir.ends_with(ends) && observed(window)
}

fn type_and_open(harness: &mut Harness<'_, ExplorerWindow>, text: &str) {
    apply(harness, Command::SceneWindow(true));
    write_into(harness, "Folder, file or address", text);
    harness.key_press(egui::Key::Enter);
    harness.run_steps(3);
}

fn write_into(harness: &mut Harness<'_, ExplorerWindow>, field: &str, text: &str) {
    let field = |harness: &Harness<'_, ExplorerWindow>| {
        harness.get_by_role_and_label(egui::accesskit::Role::TextInput, field).rect().center()
    };
    let at = field(harness);
    common::harness::click(harness, at);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    harness.event(egui::Event::Text(text.into()));
    harness.run_steps(3);
}

#[test]
fn a_data_set_lies_on_the_map_and_its_cells_open() {
    let (session, dir) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let root = layout(&dir.path().join("edinburgh"), COMPLETE);
    for i in 620..640 {
        std::fs::create_dir_all(root.join(format!("Core-DEM/434D/434D_{i}L/id"))).expect("folder");
    }
    let mut harness = ready(&session);
    type_and_open(&mut harness, &dir.path().display().to_string());
    wait(&mut harness, "finding the data set", |w| !w.session().collections.is_empty());
    let notes = |w: &ExplorerWindow| w.session().notes.iter().map(|n| n.text.clone()).collect::<Vec<_>>().join(" ");
    assert!(notes(harness.state()).contains("21 cells of edinburgh are on the map"), "{}", notes(harness.state()));
    snapshot(&mut harness, "cells_of_a_data_set");
    // By name, as by a click: what the data set has is read.
    apply(&mut harness, Command::Find("433D_629L".into()));
    wait(&mut harness, "opening the cell", |w| reads(w, "Core-S2L2A/433D/433D_629L"));
    let table = ModalityTable::published();
    let known = |w: &ExplorerWindow, name: &str| {
        w.session().known(w.session().table().and_then(|t| t.index(name)).expect("modality")).is_some()
    };
    for name in ["S2L2A_10m", "S1RTC", "DEM", "LULC", "date"] {
        assert!(table.index(name).is_none() || known(harness.state(), name), "{name}");
    }
    // A cell without rasters is told; a cell elsewhere is bare ground as before.
    apply(&mut harness, Command::Find("434D_620L".into()));
    wait(&mut harness, "telling", |w| notes(w).contains("nothing of cell 434D_620L"));
    apply(&mut harness, Command::Find("1U_1R".into()));
    wait(&mut harness, "bare ground", |w| matches!(w.session().selection, Some(Selection::Cell(_))) && observed(w));
    // It is there again at the next start.
    apply(&mut harness, Command::Find("433D_629L".into()));
    wait(&mut harness, "opening the cell", |w| reads(w, "Core-S2L2A/433D/433D_629L"));
    std::thread::sleep(Duration::from_millis(800));
    harness.run_steps(3);
    eframe::App::on_exit(harness.state_mut());
    drop(harness);
    let mut harness = window_with(Some(session.path().into()));
    wait(&mut harness, "the last session", |w| !w.session().collections.is_empty() && reads(w, "433D_629L"));
    assert_eq!(harness.state().session().collections[0].cells.len(), 21);
    let zip = dir.path().join("Core-S2L2A.zip");
    std::fs::write(&zip, b"PK").expect("file");
    apply(&mut harness, Command::OpenPaths(vec![zip]));
    assert!(notes(harness.state()).contains("unpack it"));
}

#[test]
fn parquet_files_are_opened_by_name_and_by_address() {
    let (session, dir) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let older = L2A.replace("20220119", "20210704").replace("N0510", "N0301");
    let optical = vec![
        row("38D_378R_2_3", "S2L2A", "S2A_MSIL2A_20200101T000000_N0213_R001_T36MZS_20200101T000001", "2020-01-01"),
        row(COMPLETE, "S2L2A", &older, "2021-07-04 14:37:29"),
        row(COMPLETE, "S2L2A", L2A, "2022-01-19 14:37:29"),
        row("282D_485L_3_3", "S2L2A", "", "2021-07-23"),
    ];
    let (l2a, dem) = (dir.path().join("l2a.parquet"), dir.path().join("dem.parquet"));
    write(&l2a, &optical, &Format::default());
    write(&dem, &[row(COMPLETE, "DEM", "id", "")], &Format::default());
    let mut harness = ready(&session);

    // Dropped together: a list of cells and dates, of which one is chosen.
    apply(&mut harness, Command::OpenPaths(vec![l2a.clone(), dem.clone()]));
    let newest = "433D_629L  ·  2022-01-19  ·  S2L2A DEM  ·  2 % cloud";
    wait_for(&mut harness, newest);
    snapshot(&mut harness, "cells_of_parquet_files");
    write_into(&mut harness, "Find a cell or a date", "433d 2021");
    assert!(harness.query_by_label(newest).is_none());
    press(&mut harness, "433D_629L  ·  2021-07-04  ·  S2L2A DEM  ·  2 % cloud");
    wait(&mut harness, "making the scene", |w| reads(w, "copgen-scenes/433D_629L"));
    let dates = |w: &ExplorerWindow| match w.session().selection {
        Some(Selection::Scene(i)) => w.session().scenes[i].scene.date_of("S2L2A").map(str::to_owned),
        _ => None,
    };
    assert_eq!(dates(harness.state()).as_deref(), Some("2021-07-04T14:37:29Z"));

    // One cell with one date opens at once; what fails on the way is told, and Escape ends the waiting.
    let server = Server::start();
    server.put("/dem.parquet", Reply::file(&dem));
    let address = format!("{}/dem.parquet", server.url);
    server.fail("/dem.parquet", Fault::IgnoreRange, 1);
    type_and_open(&mut harness, &address);
    let told =
        |w: &ExplorerWindow, word: &str| w.session().notes.iter().any(|note| note.problem && note.text.contains(word));
    wait(&mut harness, "telling", |w| told(w, "whole files only"));
    while !harness.state().session().notes.is_empty() {
        apply(&mut harness, Command::Dismiss(0));
    }
    server.fail("/dem.parquet", Fault::Slow(1, Duration::from_millis(300)), 9);
    apply(&mut harness, Command::OpenPaths(vec![PathBuf::from(&address)]));
    wait_for(&mut harness, "Cancel");
    press(&mut harness, "Cancel");
    assert!(harness.query_by_label("Cancel").is_none());
    server.heal();
    type_and_open(&mut harness, &address);
    wait(&mut harness, "making the scene", |w| reads(w, "copgen-scenes/433D_629L_2"));

    // An index asks for the cell.
    let index = dir.path().join("metadata.parquet");
    let linked = optical.into_iter().enumerate().map(|(i, row)| Row {
        blobs: Default::default(),
        link: Some(("l2a.parquet".into(), i as i64)),
        ..row
    });
    write(&index, &linked.collect::<Vec<_>>(), &Format { rows_per_group: 3, ..Format::default() });
    apply(&mut harness, Command::OpenPaths(vec![index.clone()]));
    wait_for(&mut harness, "Find");
    snapshot(&mut harness, "cell_of_an_index");
    write_into(&mut harness, "Cell", "282D_485L");
    press(&mut harness, "Find");
    wait(&mut harness, "making the scene", |w| reads(w, "copgen-scenes/282D_485L"));

    // Offline nothing is asked for.
    apply(&mut harness, Command::Offline(true));
    let before = server.seen().len();
    apply(&mut harness, Command::OpenPaths(vec![PathBuf::from(&address)]));
    wait(&mut harness, "telling", |w| told(w, "offline"));
    assert_eq!(server.seen().len(), before);
}

#[test]
fn claims_of_many_rows_are_answered_before_they_are_read() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("many.parquet");
    let origin = Origin::File(path.clone());
    let access = || Access::new(Network::default(), Arc::default());
    let bands = std::collections::BTreeMap::from([("DEM".to_owned(), b"x".to_vec())]);
    let one = Row { cell: "1U_1R".into(), blobs: bands, ..Row::default() };
    let format = |statistics| Format { rows_per_group: 60_000, statistics, dictionary: false, ..Format::default() };
    // Different labels would have to be read.
    let mut rows = vec![one; 60_000];
    rows.iter_mut().enumerate().for_each(|(i, row)| row.cell = format!("{}U_{}R", 1 + i / 2000, i % 2000));
    for statistics in [true, false] {
        write(&path, &rows, &format(statistics));
        let access = access();
        let error = list(&origin, &access).expect_err("too many").to_string();
        assert!(error.contains("60000 rows") && error.contains("name a cell"), "{error}");
        assert!(access.bytes_read() < 20_000, "{} bytes", access.bytes_read());
        assert_eq!(look_up(&origin, "1U_7R".parse().expect("cell"), &access).expect("one").len(), 1);
    }
    // Equal ones need no reading, and are not spread out.
    rows.iter_mut().for_each(|row| row.cell = "1U_1R".into());
    write(&path, &rows, &format(true));
    let access = access();
    let error = look_up(&origin, "1U_1R".parse().expect("cell"), &access).expect_err("too many").to_string();
    assert!(error.contains("60000 rows"), "{error}");
    assert!(access.bytes_read() < 20_000, "{} bytes", access.bytes_read());
}
