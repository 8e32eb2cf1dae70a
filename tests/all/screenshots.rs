//! The true window on a virtual display, drawn by a software rasteriser.

use crate::common;
use crate::common::catalogue::{CELL, Catalogue};
use std::collections::HashSet;
use std::path::Path;

/// The program on a virtual display, told to take few pictures into a folder; nothing of the user's own is used.
fn pictures_of(dir: &Path, own: &Path) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new("xvfb-run");
    command.env("COPGEN_HOME", env!("CARGO_MANIFEST_DIR")).env_remove("WAYLAND_DISPLAY").env_remove("COPGEN_OFFLINE");
    for folder in ["MODELS", "PLACES", "CONFIG", "TILES"] {
        command.env(format!("COPGEN_{folder}"), own.join(folder.to_lowercase()));
    }
    command.args(["-a", "-s", "-screen 0 1440x900x24", env!("CARGO_BIN_EXE_copgen"), "screenshots"]);
    command.arg(dir).args(["--samples", "2", "--steps", "2"]);
    command
}

/// The same for open data of a cell, from a catalogue.
fn trip(catalogue: &Catalogue, cell: &str, dir: &Path, own: &Path) -> assert_cmd::Command {
    let config = own.join("config");
    std::fs::create_dir(&config).expect("folder");
    std::fs::write(config.join("sources.toml"), catalogue.sources()).expect("sources");
    let mut command = pictures_of(dir, own);
    command.args(["--cell", cell, "--from", "2023-01-01", "--to", "2023-12-31"]);
    command
}

#[test]
fn the_window_takes_pictures_of_itself_at_work() {
    let dir = tempfile::tempdir().expect("folder");
    let printed = common::success(&mut pictures_of(dir.path(), dir.path()));
    assert_eq!(printed.lines().count(), 10, "{printed}");
    let open = |name: &str| image::open(dir.path().join(name)).expect("picture").to_rgb8();
    let pictures = ["map.png", "roles.png", "realisation.png", "variance.png", "inspector.png"].map(open);
    for picture in &pictures {
        assert_eq!(picture.dimensions(), (1440, 900));
        let colours: HashSet<_> = picture.pixels().map(|p| p.0).collect();
        assert!(colours.len() > 2000, "only {} colours: is anything drawn?", colours.len());
    }
    // The overlay changes what lies on the map, and nothing of the panel beside it.
    let [_, _, realisation, variance, _] = &pictures;
    let changed = |left: u32, right: u32| {
        (0..900)
            .flat_map(|y| (left..right).map(move |x| (x, y)))
            .filter(|&(x, y)| realisation.get_pixel(x, y) != variance.get_pixel(x, y))
            .count()
    };
    assert!(changed(340, 1440) > 10_000);
    assert!(changed(0, 330) < 200);
}

#[test]
fn the_window_goes_from_an_empty_cell_to_exported_files() {
    let catalogue = Catalogue::start();
    let dir = tempfile::tempdir().expect("folder");
    let shots = std::env::var_os("COPGEN_TEST_PICTURES").map_or_else(|| dir.path().join("pictures"), Into::into);
    let printed = common::success(&mut trip(&catalogue, CELL, &shots, dir.path()));
    let names = ["cell", "found", "fetched", "sampled", "export", "exported"];
    assert_eq!(printed.lines().count(), names.len(), "{printed}");
    let pictures = names.map(|name| image::open(shots.join(format!("{name}.png"))).expect("picture").to_rgb8());
    for pair in pictures.windows(2) {
        let changed = pair[0].pixels().zip(pair[1].pixels()).filter(|(a, b)| a != b).count();
        assert!(changed > 2000, "only {changed} pixels changed");
    }
    let exported = std::fs::read_dir(shots.join("exports")).expect("exports");
    let rasters = exported.filter(|file| {
        let path = file.as_ref().expect("file").path();
        path.extension().is_some_and(|e| e == "tif")
    });
    // Of three modalities of surface reflectance, of L1C and of the rest that is not given.
    assert!(rasters.count() >= 2 * 3);
    // One place is kept for the next time.
    let kept = std::fs::read_dir(dir.path().join("places/scenes")).expect("kept places");
    assert_eq!(kept.filter(|place| place.as_ref().expect("place").path().join("scene.json").exists()).count(), 1);
}

#[test]
fn what_cannot_be_found_ends_the_tour_with_a_sentence() {
    let catalogue = Catalogue::start();
    let dir = tempfile::tempdir().expect("folder");
    // On the other side of the world.
    let output = trip(&catalogue, "618U_30L", &dir.path().join("pictures"), dir.path()).output().expect("program");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("Nothing was found of this cell"), "{told}");
}
