//! Open data in the window: from a click on the map to exported files, and without a network.

use crate::common;
use crate::common::catalogue::{CELL, Catalogue};
use crate::common::harness::*;
use crate::common::server::Fault;
use copgen::app::{Command, ExplorerWindow, Options, Selection};
use copgen::modality::Location;
use copgen::net::{Network, RetryPolicy};
use copgen::sampler::Role;
use copgen::source::{Kept, providers_in};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use std::path::Path;
use std::time::Duration;

/// A window whose only source is the catalogue, and that keeps places in a folder.
fn opening(catalogue: &Catalogue, dir: &Path) -> Options {
    let sources = dir.join("sources.toml");
    std::fs::write(&sources, catalogue.sources()).expect("sources");
    let patience = RetryPolicy { tries: 2, first_wait: Duration::from_millis(20), ..RetryPolicy::default() };
    Options {
        network: Network::new(patience),
        sources: providers_in(&sources).expect("sources"),
        kept: Some(Kept::new(dir.join("places"))),
        ..options(None)
    }
}

/// Images of the year 2023, however cloudy.
fn days() -> Command {
    Command::DataDays(jiff::civil::date(2023, 1, 1), jiff::civil::date(2023, 12, 31), 100.0)
}

fn pick_by_click(harness: &mut Harness<'_, ExplorerWindow>) {
    let centre = CELL.parse::<copgen::grid::GridCell>().expect("cell").centre();
    // A corner of the cell, where no scene lies.
    let corner = Location { lat: centre.lat - 0.03, lon: centre.lon - 0.035 };
    apply(harness, Command::Fit(corner, 10_000.0));
    let map = harness.get_by_label("Zoom in").rect();
    // The middle of the map: right of the panel, above the strip of the gallery.
    let middle = egui::pos2((map.left() + 1440.0) / 2.0, (map.top() + 850.0) / 2.0);
    click(harness, middle);
    let picked = harness.state().session().selection.clone();
    assert_eq!(picked, Some(Selection::Cell(CELL.parse().expect("cell"))), "a click picks the cell");
    wait(harness, "reading the cell", observed);
}

/// A window in which the cell was clicked and its data of the year were found.
fn found(catalogue: &Catalogue, dir: &Path) -> Harness<'static, ExplorerWindow> {
    let mut harness = window_opening(opening(catalogue, dir));
    wait(&mut harness, "reading the first scene", observed);
    pick_by_click(&mut harness);
    apply(&mut harness, days());
    press(&mut harness, "Get open data …");
    wait(&mut harness, "the search", |w| w.data().found.is_some());
    harness
}

#[test]
fn from_a_click_to_exported_files() {
    let catalogue = Catalogue::start();
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = found(&catalogue, dir.path());
    wait(&mut harness, "a small picture", |w| !w.data().pictures.is_empty());
    harness.get_by_label_contains("S2L2A of 2023-03-08 · 2 % cloud");
    harness.get_by_label_contains("Nothing found of S2L1C.");
    snapshot(&mut harness, "data_found");
    press(&mut harness, "Fetch");
    wait(&mut harness, "the fetch", |w| w.session().selection != Some(Selection::Cell(CELL.parse().expect("cell"))));
    wait(&mut harness, "reading what was fetched", observed);
    let session = harness.state().session();
    let scene = match session.selection {
        Some(Selection::Scene(i)) => &session.scenes[i],
        ref other => panic!("{other:?}"),
    };
    assert!(session.is_kept(scene));
    for name in ["S2L2A_10m", "S2L2A_60m", "S1RTC", "DEM", "LULC", "cloud_mask", "date", "location"] {
        assert!(session.known(index(&harness, name)).is_some(), "{name} was fetched");
    }
    let optical: Vec<usize> = ["S2L2A_10m", "S2L2A_20m", "S2L2A_60m"].map(|name| index(&harness, name)).into();
    apply(&mut harness, Command::Roles(optical, Role::Generated));
    sample(&mut harness, 2, 4);
    snapshot(&mut harness, "data_sampled");
    let out = dir.path().join("out");
    press(&mut harness, "Export …");
    fill(&mut harness, "Folder", &out.display().to_string());
    press(&mut harness, "Write files");
    let written = out.clone();
    wait(&mut harness, "the export", move |_| {
        common::files(&written).iter().any(|f| f.ends_with("r001_S2L2A_10m.tif"))
    });
    let file = common::files(&out).into_iter().find(|f| f.ends_with("r000_S2L2A_10m.tif")).expect("a file");
    let dataset = gdal::Dataset::open(out.join(file)).expect("raster");
    let from = gdal::Metadata::metadata_item(&dataset, "given_from", "").expect("lineage");
    assert!(from.contains("Earth Search, radar, S1A_near, pixels unchanged"), "{from}");
}

#[test]
fn what_is_to_be_said_of_fetched_rasters_is_said_in_the_window() {
    let catalogue = Catalogue::start();
    let dir = tempfile::tempdir().expect("folder");
    // A corner of the radar image lies beyond the swath.
    let (radar, side) = common::catalogue::real("S1RTC");
    let swath = |(i, v): (usize, &f32)| if i % side + i / side < side / 2 { f32::NAN } else { *v };
    let values: Vec<f32> = radar["vv"].iter().enumerate().map(swath).collect();
    let file = copgen::scene::GeoTiff {
        footprint: &common::catalogue::ground(),
        pixel_m: 10.0,
        size: (side, side),
        bands: vec![("vv".into(), values.as_slice())],
        pixels: copgen::scene::Pixels::WithHoles(-32768.0),
        meaning: copgen::scene::Meaning::default(),
        metadata: Vec::new(),
        cloud_optimised: true,
    };
    file.write(&catalogue.dir.path().join("vv.tif"), true).expect("raster");
    let mut harness = found(&catalogue, dir.path());
    press(&mut harness, "Fetch");
    wait(&mut harness, "the fetch", |w| matches!(w.session().selection, Some(Selection::Scene(i)) if i > 1));
    let notes: Vec<&str> = harness.state().session().notes.iter().map(|note| note.text.as_str()).collect();
    let note = notes.iter().find(|note| note.starts_with("S1RTC: ")).unwrap_or_else(|| panic!("{notes:?}"));
    assert!(note.contains("% of S1RTC without data") && note.contains("S1A_near"), "{note}");
    // What every scene has is not worth a word.
    assert!(notes.iter().all(|note| !note.starts_with("cloud_mask")), "{notes:?}");
}

#[test]
fn without_a_network_kept_places_are_there_and_nobody_is_asked() {
    let catalogue = Catalogue::start();
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = found(&catalogue, dir.path());
    press(&mut harness, "Fetch");
    wait(&mut harness, "the fetch", |w| matches!(w.session().selection, Some(Selection::Scene(i)) if i > 1));
    drop(harness);
    let asked = catalogue.server.seen().len();
    let options = opening(&catalogue, dir.path());
    options.network.set_offline(true);
    let mut harness = window_opening(options);
    wait(&mut harness, "reading the first scene", observed);
    wait(&mut harness, "kept places", |w| w.session().scenes.iter().any(|known| w.session().is_kept(known)));
    let at = harness.state().session().scenes.len() - 1;
    apply(&mut harness, Command::Pick(Selection::Scene(at)));
    wait(&mut harness, "reading the kept place", observed);
    assert!(harness.state().session().known(index(&harness, "S1RTC")).is_some());
    sample(&mut harness, 2, 2);
    apply(&mut harness, Command::DataWindow(true));
    wait(&mut harness, "the list of kept places", |w| w.data().store.scenes.len() == 1);
    harness.get_by_label_contains("The network is switched off");
    apply(&mut harness, Command::SearchData);
    wait(&mut harness, "the refusal", |w| w.data().problem.is_some());
    assert!(harness.state().data().problem.as_ref().is_some_and(|p| p.contains("offline")));
    assert_eq!(catalogue.server.seen().len(), asked, "nobody was asked");
    // A place in use stays; another one can be removed.
    let kept = harness.state().data().store.scenes[0].dir.clone();
    apply(&mut harness, Command::RemoveKept(kept.clone()));
    assert!(kept.exists());
    apply(&mut harness, Command::ForgetRun(0));
    apply(&mut harness, Command::Pick(Selection::Scene(0)));
    harness.get_by_label_contains("Kept for offline use").click();
    harness.run_steps(20);
    let name = kept.file_name().expect("name").to_string_lossy().into_owned();
    press(&mut harness, &format!("Remove {name}"));
    assert!(kept.exists(), "it asks once more");
    press(&mut harness, &format!("Remove for good? {name}"));
    wait(&mut harness, "the removal", |w| w.data().store.scenes.is_empty());
    assert!(!kept.exists());
    assert_eq!(harness.state().session().scenes.len(), at);
}

#[test]
fn failures_are_told_and_a_fetch_can_be_stopped() {
    let catalogue = Catalogue::start();
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = window_opening(opening(&catalogue, dir.path()));
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Find(CELL.into()));
    wait(&mut harness, "reading the cell", observed);
    apply(&mut harness, days());
    catalogue.server.fail("/search", Fault::Status(403), 100);
    apply(&mut harness, Command::DataWindow(true));
    wait(&mut harness, "the refusal", |w| w.data().problem.is_some());
    harness.get_by_label_contains("access was refused");
    catalogue.server.heal();
    press(&mut harness, "Search");
    wait(&mut harness, "the search", |w| w.data().found.is_some());
    assert!(harness.state().data().problem.is_none());
    catalogue.server.fail("/files/", Fault::Slow(2000, Duration::from_millis(300)), 1000);
    press(&mut harness, "Fetch");
    assert!(harness.state().data().fetching.is_some());
    press(&mut harness, "Cancel");
    assert!(harness.state().data().fetching.is_none());
    catalogue.server.heal();
    press(&mut harness, "Fetch");
    wait(&mut harness, "the fetch", |w| matches!(w.session().selection, Some(Selection::Scene(_))));
    // A mark of when it was used lies beside it.
    let left = common::files(&dir.path().join("places/scenes"));
    let made: Vec<_> = left.iter().filter(|name| !name.ends_with(".used")).collect();
    assert_eq!(made.len(), 1, "what was stopped left nothing: {left:?}");
    // Another ground is searched anew: it has other files.
    apply(&mut harness, Command::DataWindow(true));
    wait(&mut harness, "the search around the scene", |w| w.data().found.is_some());
    press(&mut harness, "Whole cell");
    wait(&mut harness, "the search of the whole cell", |w| {
        w.data().order().is_some_and(|order| order.footprint.width_m > 10_000.0)
    });
}

#[test]
fn a_place_picked_while_another_is_fetched_is_not_removed_for_it() {
    let catalogue = Catalogue::start();
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = found(&catalogue, dir.path());
    press(&mut harness, "Fetch");
    wait(&mut harness, "the fetch", |w| matches!(w.session().selection, Some(Selection::Scene(i)) if i > 1));
    let Some(Selection::Scene(at)) = harness.state().session().selection else { panic!("a scene was picked") };
    let first = harness.state().session().scenes[at].scene.dir().to_path_buf();
    wait(&mut harness, "reading what was fetched", observed);
    // Nothing kept is in use when the next fetch begins, and there is no room for two.
    pick_by_click(&mut harness);
    apply(&mut harness, days());
    apply(&mut harness, Command::DataWindow(true));
    wait(&mut harness, "the search", |w| w.data().found.is_some());
    harness.get_by_label_contains("S2L2A of 2023-03-18").click();
    harness.run_steps(3);
    let kept = Kept::new(dir.path().join("places"));
    kept.set_limit(1).expect("limit");
    catalogue.server.fail("/files/", Fault::Slow(20_000, Duration::from_millis(30)), usize::MAX);
    press(&mut harness, "Fetch");
    apply(&mut harness, Command::Pick(Selection::Scene(at)));
    assert!(harness.state().data().fetching.is_some(), "it goes on");
    catalogue.server.heal();
    wait(&mut harness, "the second fetch", |w| w.data().fetching.is_none());
    assert!(harness.state().data().problem.is_none());
    assert_eq!(kept.scenes().len(), 2, "the one that is picked and the one that was made");
    wait(&mut harness, "reading the picked place", observed);
    // What nobody uses any more makes room.
    apply(&mut harness, Command::Pick(Selection::Scene(0)));
    apply(&mut harness, Command::KeepAtMost(1));
    wait(&mut harness, "the removal", move |_| !first.exists());
}
