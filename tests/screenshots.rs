//! The true window on a virtual display, drawn by a software rasteriser.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;

#[test]
fn the_window_takes_pictures_of_itself_at_work() {
    let dir = tempfile::tempdir().expect("folder");
    let mut command = assert_cmd::Command::new("xvfb-run");
    command.env("COPGEN_HOME", env!("CARGO_MANIFEST_DIR")).env_remove("WAYLAND_DISPLAY");
    command.args(["-a", "-s", "-screen 0 1440x900x24", env!("CARGO_BIN_EXE_copgen"), "screenshots"]);
    command.arg(dir.path()).args(["--samples", "2", "--steps", "2"]);
    let printed = common::success(&mut command);
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
