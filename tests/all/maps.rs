//! Layers below everything: the user's own files, servers' tiles, and what happens when they fail.

use crate::common::harness::{apply, observed, options, press, snapshot, wait, wait_until, window_opening};
use crate::common::server::{Fault, Reply, Server};
use crate::common::{COMPLETE, project, scene};
use copgen::app::{Command, ExplorerWindow, Options};
use copgen::basemap::{
    Archive, Folders, LAYERS_FILE, LayerId, LocalTile, Online, OnlineLayer, TileAt, TileSource, openstreetmap,
};
use copgen::modality::Location;
use copgen::net::{Network, RetryPolicy};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

static GO_ON: AtomicBool = AtomicBool::new(false);

/// A tile of one colour.
fn tile(format: image::ImageFormat, side: u32, colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(side, side, image::Rgb(colour)).write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

fn png(colour: [u8; 3]) -> Vec<u8> {
    tile(image::ImageFormat::Png, 256, colour)
}

fn at(zoom: u8, x: u32, y: u32) -> TileAt {
    TileAt { zoom, x, y }
}

/// An MBTiles file with tiles at these places, rows from the north.
fn mbtiles(path: &Path, told: &[(&str, &str)], tiles: &[(TileAt, Vec<u8>)]) {
    let database = rusqlite::Connection::open(path).expect("database");
    database
        .execute_batch(
            "CREATE TABLE metadata (name TEXT, value TEXT);
             CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB);",
        )
        .expect("tables");
    for (name, value) in told {
        database.execute("INSERT INTO metadata VALUES (?1, ?2)", [name, value]).expect("told");
    }
    for (at, tile) in tiles {
        let row = (1u32 << at.zoom) - 1 - at.y;
        database.execute("INSERT INTO tiles VALUES (?1, ?2, ?3, ?4)", (at.zoom, at.x, row, tile)).expect("tile");
    }
}

/// A PMTiles file with one tile at the top; kind 1 is vector, 2 PNG, 3 JPEG, 4 WebP.
fn pmtiles(kind: u8, tile: &[u8], told: &str) -> Vec<u8> {
    fn varint(mut n: usize, into: &mut Vec<u8>) {
        while n > 127 {
            into.push(n as u8 & 127 | 128);
            n >>= 7;
        }
        into.push(n as u8);
    }
    // One entry: number, run, length, place + 1.
    let mut directory = Vec::new();
    for n in [1, 0, 1, tile.len(), 1] {
        varint(n, &mut directory);
    }
    let mut file = b"PMTiles\x03".to_vec();
    let (root, told_at) = (127, 127 + directory.len());
    let data = told_at + told.len();
    for n in [root, directory.len(), told_at, told.len(), data, 0, data, tile.len(), 1, 1, 1] {
        file.extend((n as u64).to_le_bytes());
    }
    // Clustered, nothing compressed, kind, zoom 0 to 0.
    file.extend([1, 1, 1, kind, 0, 0]);
    for degrees in [-180.0, -85.0, 180.0, 85.0] {
        file.extend(((degrees * 1e7) as i32).to_le_bytes());
    }
    file.extend([0; 9]);
    [file, directory, told.as_bytes().to_vec(), tile.to_vec()].concat()
}

#[test]
fn map_files_tell_what_they_are() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("alps.mbtiles");
    let told =
        [("name", "Alps"), ("attribution", "<a href='x'>&copy; Me</a>"), ("bounds", "5,43,17,48"), ("minzoom", "0")];
    let jpeg = tile(image::ImageFormat::Jpeg, 512, [200, 10, 10]);
    mbtiles(&path, &told, &[(at(5, 16, 11), jpeg.clone()), (at(7, 67, 45), png([0, 0, 0]))]);
    let archive = Archive::open(&path).expect("opens");
    let info = &archive.info;
    assert_eq!((info.name.as_str(), info.credit.as_str(), info.side), ("Alps", "© Me", 512));
    assert_eq!((info.zooms.clone(), info.bounds), (5..=7, Some([5.0, 43.0, 17.0, 48.0])), "zoom levels are the tiles'");
    assert_eq!(archive.local(at(5, 16, 11)).expect("read"), LocalTile::Fresh(jpeg));
    assert_eq!(archive.local(at(5, 16, 20)).expect("read"), LocalTile::Missing);

    let webp = tile(image::ImageFormat::WebP, 256, [1, 2, 3]);
    let path = dir.path().join("World.PMTILES");
    std::fs::write(&path, pmtiles(4, &webp, "{\"name\": \"W\", \"attribution\": \"you\"}")).expect("written");
    let archive = Archive::open(&path).expect("opens");
    assert_eq!((archive.info.name.as_str(), archive.info.credit.as_str()), ("W", "you"));
    assert_eq!(archive.local(at(0, 0, 0)).expect("read"), LocalTile::Fresh(webp));
    let bundled = Archive::open(&project("assets/basemap/world.pmtiles")).expect("opens");
    assert_eq!((bundled.info.zooms.clone(), bundled.info.side, bundled.info.bounds), (0..=5, 256, None));
}

#[test]
fn damaged_and_strange_files_get_a_sentence() {
    let dir = tempfile::tempdir().expect("folder");
    let fails = |name: &str, bytes: &[u8], told: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let error = Archive::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(told) && error.contains(name), "{name}: {error}");
    };
    fails("a.pmtiles", b"", "damaged");
    fails("b.pmtiles", &[7; 4000], "damaged");
    fails("c.pmtiles", &pmtiles(1, b"\x1f\x8b vector", "{}"), "vector");
    fails("d.pmtiles", &pmtiles(2, b"\x1a\x05 no picture", "{}"), "no pictures");
    fails("e.pmtiles", &pmtiles(2, &tile(image::ImageFormat::Png, 100, [0; 3]), "{}"), "100 pixels");
    // What is compressed further than gzip can may grow beyond all memory, and so may very large pieces.
    let mut squeezed = pmtiles(2, &png([9; 3]), "{}");
    squeezed[97] = 4;
    fails("f.pmtiles", &squeezed, "compressed in a way");
    (squeezed[97], squeezed[98]) = (2, 2);
    fails("f.pmtiles", &squeezed, "compressed in a way");
    fails("g.pmtiles", &pmtiles(2, &png([9; 3]), &" ".repeat(3 << 20)), "too large");
    fails("f.mbtiles", b"", "damaged");
    fails("g.mbtiles", &[7; 4000], "damaged");
    fails("h.png", &png([0; 3]), "no map");
    assert!(Archive::open(&dir.path().join("none.mbtiles")).is_err_and(|e| e.to_string().contains("does not exist")));
    assert!(Archive::open(dir.path()).is_err());
    // Every length, and every byte of the header turned around: an error or a map, never a panic.
    let whole = pmtiles(2, &png([9; 3]), "{\"name\": 3}");
    let path = dir.path().join("cut.pmtiles");
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut refused = 0;
    for i in 0..whole.len() + 127 {
        let bytes = if i < whole.len() {
            whole[..i].to_vec()
        } else {
            let mut bytes = whole.clone();
            bytes[i - whole.len()] ^= 0xff;
            bytes
        };
        std::fs::write(&path, bytes).expect("written");
        match Archive::open(&path) {
            Ok(archive) => drop(archive.local(at(0, 0, 0))),
            Err(_) => refused += 1,
        }
    }
    std::panic::set_hook(hook);
    assert!(refused >= whole.len(), "{refused}");

    let path = dir.path().join("vector.mbtiles");
    mbtiles(&path, &[("format", "pbf")], &[(at(0, 0, 0), b"\x1f\x8b".to_vec())]);
    assert!(Archive::open(&path).is_err_and(|e| e.to_string().contains("vector")));
    let path = dir.path().join("empty.mbtiles");
    mbtiles(&path, &[], &[]);
    assert!(Archive::open(&path).is_err_and(|e| e.to_string().contains("no tiles")));
    let path = dir.path().join("half.mbtiles");
    mbtiles(&path, &[], &(0..64).map(|x| (at(6, x, 20), png([x as u8; 3]))).collect::<Vec<_>>());
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("cut");
    if let Ok(archive) = Archive::open(&path) {
        assert!((0..64).any(|x| archive.local(at(6, x, 20)).is_err()), "something is missing");
    }
}

/// Patient with busy machines.
fn network() -> Network {
    Network::default()
}

/// Gives a server up that is silent for so many seconds.
fn network_with(seconds: u64) -> Network {
    Network::new(RetryPolicy { silence: Duration::from_secs(seconds), ..RetryPolicy::default() })
}

fn layer(server: &Server) -> OnlineLayer {
    OnlineLayer { name: "Test".into(), url: format!("{}/t/{{z}}/{{x}}/{{y}}.png", server.url), ..openstreetmap() }
}

#[test]
fn tiles_are_fetched_once_and_kept_as_long_as_the_server_wants() {
    let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
    let red = png([255, 0, 0]);
    server.put("/t/", Reply::new("image/png", red.clone()).header("cache-control", "max-age=600"));
    let source = Online::new(layer(&server), network(), Some(dir.path()));
    assert_eq!(source.local(at(3, 4, 2)).expect("near"), LocalTile::Remote);
    assert_eq!(source.fetch(at(3, 4, 2), &GO_ON).expect("far"), Some(red.clone()));
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/t/3/4/2.png"));
    assert!(seen[0].headers["user-agent"].starts_with("COP-GEN-Explorer/"), "{:?}", seen[0].headers);
    // Another start of the program.
    let again = Online::new(layer(&server), network(), Some(dir.path()));
    assert_eq!(again.local(at(3, 4, 2)).expect("near"), LocalTile::Fresh(red.clone()));
    assert_eq!(server.seen().len(), 1);

    // What has become old is asked about, and not sent again if it is still good.
    server.handle("/t/", move |seen| match seen.headers.get("if-none-match") {
        Some(_) => Reply::new("image/png", "").status(304).header("cache-control", "max-age=600"),
        None => Reply::new("image/png", png([0, 255, 0])).header("etag", "\"v1\"").header("cache-control", "max-age=0"),
    });
    let green = source.fetch(at(3, 4, 3), &GO_ON).expect("far").expect("tile");
    assert_eq!(source.local(at(3, 4, 3)).expect("near"), LocalTile::Stale(green.clone()));
    assert_eq!(source.fetch(at(3, 4, 3), &GO_ON).expect("far"), Some(green.clone()));
    assert_eq!(server.seen().last().expect("asked").headers["if-none-match"], "\"v1\"");
    assert_eq!(source.local(at(3, 4, 3)).expect("near"), LocalTile::Fresh(green));

    server.put("/t/", Reply::new("image/png", red).header("cache-control", "no-store"));
    source.fetch(at(3, 0, 0), &GO_ON).expect("far").expect("tile");
    assert_eq!(source.local(at(3, 0, 0)).expect("near"), LocalTile::Remote, "what must not be kept is not");
}

#[test]
fn a_server_with_trouble_is_left_alone() {
    let server = Server::start();
    server.put("/t/", Reply::new("image/png", png([1; 3])));
    let [patient, hasty] = [network(), network_with(2)].map(|network| Online::new(layer(&server), network, None));
    let problem = |result: Result<Option<Vec<u8>>, copgen::Error>| result.expect_err("fails").to_string();
    for (fault, told) in [
        (Fault::Status(503), "problem of its own"),
        (Fault::Status(403), "refused"),
        (Fault::Busy(503, "30"), "try again in 30 s"),
        (Fault::Silent, "slow"),
        (Fault::BreakAfter(20), "broke off"),
        (Fault::WrongBytes, "no picture"),
        (Fault::Endless, "larger"),
    ] {
        let source = if fault == Fault::Silent { &hasty } else { &patient };
        source.retry_now();
        server.fail("/t/", fault.clone(), 1);
        let (before, error) = (server.seen().len(), problem(source.fetch(at(2, 1, 1), &GO_ON)));
        let rest = source.retry_delay();
        assert!(error.contains(told) && !error.contains(&server.url), "{fault:?}: {error}");
        // The second request does not reach the server.
        assert!(matches!(source.fetch(at(2, 1, 2), &GO_ON), Err(copgen::Error::Cancelled)), "{fault:?}");
        assert_eq!(server.seen().len(), before + 1, "{fault:?}");
        assert!(rest > Duration::from_secs(1), "{fault:?}");
    }
    patient.retry_now();
    server.fail("/t/", Fault::Status(404), 1);
    assert_eq!(patient.fetch(at(2, 1, 1), &GO_ON).expect("there is no such tile"), None);
    assert!(patient.fetch(at(2, 1, 1), &GO_ON).expect("far").is_some());
}

#[test]
fn keys_are_sent_and_never_written() {
    let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
    server.put("/t/", Reply::new("image/png", png([1; 3])));
    // Set in every process, so no test has to change the environment of others.
    let (variable, key) = ("PATH", std::env::var("PATH").expect("a path"));
    let mut described = layer(&server);
    (described.key_variable, described.key_header) = (Some(variable.into()), Some("x-api-key".into()));
    described.url += "?k={key}";
    let source = Online::new(described.clone(), network(), Some(dir.path()));
    source.fetch(at(1, 0, 0), &GO_ON).expect("far").expect("tile");
    let seen = server.seen();
    assert_eq!(seen[0].headers["x-api-key"], key);
    assert_eq!(seen[0].query, format!("k={key}"));
    let kept = walk(dir.path());
    assert_eq!(kept.len(), 1);
    let text = format!("{} {}", kept[0].display(), String::from_utf8_lossy(&std::fs::read(&kept[0]).expect("kept")));
    assert!(!text.contains(&key) && !text.contains("x-api-key"), "{text}");
    server.fail("/t/", Fault::Status(401), 1);
    let error = source.fetch(at(1, 1, 0), &GO_ON).expect_err("refused").to_string();
    assert!(!error.contains(&key), "{error}");
    described.key_variable = Some("COPGEN_NO_SUCH_KEY".into());
    let before = server.seen().len();
    let error = Online::new(described, network(), None).fetch(at(1, 0, 0), &GO_ON).expect_err("no key").to_string();
    assert!(error.contains("set the environment variable COPGEN_NO_SUCH_KEY"), "{error}");
    assert_eq!(server.seen().len(), before);
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("folder").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// A window whose configuration names the server's layer, with folders for cache and session.
fn window(dir: &Path, server: &Server, offline: bool) -> Harness<'static, ExplorerWindow> {
    let network = network();
    network.set_offline(offline);
    window_on(dir, server, network)
}

fn window_on(dir: &Path, server: &Server, network: Network) -> Harness<'static, ExplorerWindow> {
    let config = dir.join("config");
    std::fs::create_dir_all(&config).expect("folder");
    let text = format!(
        "[[layer]]\nname = \"Test\"\nurl = \"{}/t/{{z}}/{{x}}/{{y}}.png\"\nattribution = \"© Tester\"\nmax_zoom = 12\n",
        server.url
    );
    std::fs::write(config.join(LAYERS_FILE), text).expect("written");
    let mut window = window_opening(Options {
        scenes: vec![scene(COMPLETE)],
        network,
        maps: Folders { config: Some(config), cache: Some(dir.join("cache")) },
        ..options(Some(dir.join("session")))
    });
    apply(&mut window, Command::Guide(None));
    wait(&mut window, "reading", observed);
    window
}

/// Runs frames for a while.
fn run(harness: &mut Harness<'_, ExplorerWindow>, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        harness.step();
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs frames until the server has not been asked for a while; how often it was in all.
fn settled(harness: &mut Harness<'_, ExplorerWindow>, server: &Server) -> usize {
    let (mut asked, mut quiet) = (server.seen().len(), 0);
    wait_until(harness, "quiet", |_| {
        let now = server.seen().len();
        quiet = if now == asked { quiet + 1 } else { 0 };
        asked = now;
        quiet > 150
    });
    asked
}

/// Ends a window when all it keeps is written.
fn close(mut harness: Harness<'_, ExplorerWindow>) {
    eframe::App::on_exit(harness.state_mut());
}

/// The colour in the middle of the western half of the map, where nothing else is drawn.
fn ground(harness: &mut Harness<'_, ExplorerWindow>) -> [u8; 3] {
    let picture = harness.render().expect("picture");
    let [r, g, b, _] = picture.get_pixel(520, 480).0;
    [r, g, b]
}

fn test_layer() -> LayerId {
    LayerId::Online("Test".into())
}

#[test]
fn a_servers_tiles_come_are_kept_and_stay_away_offline() {
    let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
    server.put("/t/", Reply::new("image/png", png([250, 0, 250])).header("cache-control", "max-age=600"));
    let mut first = window(dir.path(), &server, false);
    apply(&mut first, Command::Centre(Location { lat: 50.0, lon: 10.0 }, 4.0));
    run(&mut first, Duration::from_millis(200));
    assert!(server.seen().is_empty(), "nothing is asked for before the layer is chosen");
    apply(&mut first, Command::Basemap(test_layer()));
    let pink = |harness: &mut Harness<'_, ExplorerWindow>| ground(harness) == [250, 0, 250];
    wait_until(&mut first, "its tiles", pink);
    let asked = settled(&mut first, &server);
    assert_eq!(first.state().map().credit(), "© Tester");
    assert_eq!(first.state().map().hint(), None);
    assert!((9..60).contains(&asked), "{asked} tiles");
    apply(&mut first, Command::Offline(true));
    apply(&mut first, Command::Centre(Location { lat: -20.0, lon: -60.0 }, 6.0));
    wait(&mut first, "a hint", |w| w.map().hint().is_some());
    assert_eq!(settled(&mut first, &server), asked, "the switch keeps everything in");
    let hint = first.state().map().hint().expect("a hint");
    assert!(hint.contains("switched off"), "{hint}");
    assert!(!pink(&mut first), "the bundled layer stands in");
    apply(&mut first, Command::Offline(false));
    wait_until(&mut first, "its tiles by themselves", pink);
    let asked = settled(&mut first, &server);
    close(first);

    // The next start shows the same layer, offline and without asking.
    let mut second = window(dir.path(), &server, true);
    assert_eq!(*second.state().session().layers.shown(), test_layer());
    apply(&mut second, Command::Centre(Location { lat: 50.0, lon: 10.0 }, 4.0));
    wait_until(&mut second, "its tiles from the disk", pink);
    assert_eq!(settled(&mut second, &server), asked);
    assert_eq!(second.state().map().hint(), None, "nothing is missing");
}

#[test]
fn a_failing_server_blocks_nothing() {
    let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
    for fault in [Fault::Status(500), Fault::Silent] {
        server.heal();
        server.fail("/t/", fault.clone(), 1000);
        let mut window = window_on(dir.path(), &server, network_with(2));
        apply(&mut window, Command::Centre(Location { lat: 50.0, lon: 10.0 }, 4.0));
        let before = server.seen().len();
        apply(&mut window, Command::Basemap(test_layer()));
        wait(&mut window, "a hint", |window| window.map().hint().is_some_and(|hint| hint.starts_with("Test: ")));
        run(&mut window, Duration::from_millis(1500));
        // Two at a time, and after each failure a longer rest; without the rests there would be hundreds by now.
        let asked = server.seen().len() - before;
        assert!((1..40).contains(&asked), "{fault:?}: {asked} requests");
        // The session goes on with the bundled layer.
        apply(&mut window, Command::Basemap(LayerId::Bundled));
        assert_eq!(window.state().map().hint(), None);
    }
}

#[test]
fn no_frame_waits_for_a_silent_server() {
    let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
    server.fail("/t/", Fault::Silent, 1000);
    // A frame that waited would do so until the server has failed, and then there would be a hint.
    let mut window = window_on(dir.path(), &server, network_with(600));
    apply(&mut window, Command::Basemap(test_layer()));
    wait(&mut window, "a request", |_| !server.seen().is_empty());
    window.run_steps(100);
    assert_eq!(window.state().map().hint(), None);
}

#[test]
fn the_users_own_files_are_dropped_listed_and_forgotten() {
    let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
    let path = dir.path().join("alps.mbtiles");
    let places = (64..72).flat_map(|x| (40..48).map(move |y| at(7, x, y)));
    let tiles: Vec<_> = places.map(|at| (at, png([10, 200, 10]))).collect();
    mbtiles(&path, &[("name", "Alps by me"), ("attribution", "© Me"), ("bounds", "0.1,41,22,55")], &tiles);
    let mut first = window(dir.path(), &server, true);
    first.input_mut().dropped_files.push(std::sync::Arc::new(Dropped(path.clone())));
    let own = LayerId::File(path.clone());
    let shows = |layer: &LayerId| {
        let layer = layer.clone();
        move |window: &ExplorerWindow| *window.session().layers.shown() == layer
    };
    wait(&mut first, "opening", shows(&own));
    let credit = first.state().map().credit();
    assert!(credit.contains("Alps by me") && credit.contains("zoom 7 to 7") && credit.contains("© Me"), "{credit}");
    let names = first.state().map().names();
    assert!(names, "a file has no names of its own");
    apply(&mut first, Command::MapNames(false));
    // The map has moved to where the file is.
    wait_until(&mut first, "its tiles", |harness| ground(harness) == [10, 200, 10]);
    apply(&mut first, Command::Centre(Location { lat: 48.0, lon: 10.0 }, 5.0));
    let hint = first.state().map().hint().expect("hint");
    assert!(hint.contains("begins at zoom level 7"), "{hint}");
    // A damaged one leaves the map as it is.
    let bad = dir.path().join("bad.pmtiles");
    std::fs::write(&bad, "no map").expect("written");
    apply(&mut first, Command::OpenPaths(vec![bad]));
    wait(&mut first, "a note", |w| w.session().notes.iter().any(|note| note.text.contains("damaged")));
    assert!(shows(&own)(first.state()));
    close(first);

    let mut second = window(dir.path(), &server, true);
    wait(&mut second, "opening again", |w| w.map().credit().contains("Alps by me"));
    press(&mut second, "Base map");
    assert!(
        second.query_by_label("Test (online)").is_some() && second.query_by_label("OpenStreetMap (online)").is_some()
    );
    snapshot(&mut second, "base_maps");
    press(&mut second, "Forget map Alps by me");
    wait(&mut second, "forgetting", shows(&LayerId::Bundled));
    assert!(path.is_file(), "the file itself stays");
    close(second);
    // What is gone at the next start gets a note and the bundled layer.
    let mut third = window(dir.path(), &server, true);
    assert!(!third.state().session().layers.all().contains(&own));
    apply(&mut third, Command::OpenPaths(vec![path.clone()]));
    wait(&mut third, "opening", shows(&own));
    close(third);
    std::fs::remove_file(&path).expect("removed");
    let mut fourth = window(dir.path(), &server, true);
    wait(&mut fourth, "a note", |w| w.session().notes.iter().any(|note| note.text.contains("does not exist")));
    assert!(shows(&LayerId::Bundled)(fourth.state()));
}

/// A file as the system hands it over.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }
    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|e| e.to_string())
    }
}

#[test]
fn the_map_over_europe() {
    let (server, dir) = (Server::start(), tempfile::tempdir().expect("folder"));
    let mut window = window(dir.path(), &server, true);
    run(&mut window, Duration::from_millis(800));
    for (name, lat, lon, zoom, theme) in [
        ("map_3", 50.0, 15.0, 3.0, egui::Theme::Dark),
        ("map_5", 48.0, 12.0, 5.0, egui::Theme::Dark),
        ("map_5_light", 48.0, 12.0, 5.0, egui::Theme::Light),
        ("map_8", 46.5, 11.0, 8.0, egui::Theme::Dark),
    ] {
        apply(&mut window, Command::Theme(theme));
        apply(&mut window, Command::Centre(Location { lat, lon }, zoom));
        run(&mut window, Duration::from_millis(400));
        snapshot(&mut window, name);
    }
}
