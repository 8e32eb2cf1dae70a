//! One cell out of Major TOM's parquet files, on the disk and by range from servers as bad as real ones.

use crate::common::major_tom::{Format, L1C, L2A, Row, S1, row, write};
use crate::common::server::{Fault, Reply, Server};
use crate::common::{COMPLETE, copgen, failure, files, scene, success};
use copgen::grid::GridCell;
use copgen::modality::{ModalityTable, Value};
use copgen::net::{Network, RetryPolicy};
use copgen::scene::{Scene, Window};
use copgen::source::Kept;
use copgen::source::major_tom::{Access, Found, Origin, choose, entries, fetch, fetch_within, list, look_up};
use gdal::{Dataset, Metadata};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn access() -> Access {
    let patience = RetryPolicy {
        tries: 3,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        silence: Duration::from_secs(10),
    };
    Access::new(Network::new(patience), Arc::default())
}

fn cell() -> GridCell {
    "433D_629L".parse().expect("cell")
}

/// Two dates of the complete scene's surface reflectance, and two other cells.
fn rows() -> Vec<Row> {
    let older = L2A.replace("20220119", "20210704").replace("N0510", "N0301");
    vec![
        row(
            "38D_378R_2_3",
            "S2L2A",
            "S2A_MSIL2A_20200101T000000_N0213_R001_T36MZS_20200101T000001",
            "2020-01-01 00:00:00",
        ),
        row(COMPLETE, "S2L2A", &older, "2021-07-04 14:37:29"),
        row(COMPLETE, "S2L2A", L2A, "2022-01-19 14:37:29"),
        row("282D_485L_3_3", "S2L2A", "S2A_MSIL2A_20210723T132241_N0301_R038_T22JGS_20210723T132242", "2021-07-23"),
    ]
}

fn origin(path: &Path) -> Origin {
    Origin::File(path.to_path_buf())
}

/// Band by band: pixels, no data, grid and system as in the bundled scene.
fn same_rasters(made: &Path, names: &[&str]) {
    let table = ModalityTable::published();
    for name in names {
        let m = &table[table.index(name).expect("modality")];
        let (a, b) =
            [made, &scene(COMPLETE)].map(|dir| Dataset::open(dir.join(format!("{name}.tif"))).expect("raster")).into();
        assert_eq!(a.geo_transform().expect("grid"), b.geo_transform().expect("grid"), "{name}");
        let system = |raster: &Dataset| raster.spatial_ref().expect("system").authority().expect("code");
        assert_eq!(system(&a), system(&b), "{name}");
        assert_eq!(a.raster_size(), b.raster_size());
        let find = |from: &Dataset, band: &str| {
            let at = (1..=from.raster_count())
                .find(|&i| from.rasterband(i).is_ok_and(|b| b.description().is_ok_and(|d| d == band)))
                .unwrap_or_else(|| panic!("{name} has no {band}"));
            let band = from.rasterband(at).expect("band");
            let size = from.raster_size();
            let pixels = band.read_as::<f32>((0, 0), size, size, None).expect("pixels").data().to_vec();
            (band.band_type(), band.no_data_value(), pixels)
        };
        for band in &m.channels {
            assert!(find(&a, band) == find(&b, band), "{name} {band}");
        }
    }
}

const S2: [&str; 3] = ["S2L2A_10m", "S2L2A_20m", "S2L2A_60m"];

#[test]
fn a_cell_comes_out_of_every_kind_of_file_unchanged() {
    let dir = tempfile::tempdir().expect("folder");
    let rows = rows();
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4_RAW,
    ];
    for (i, codec) in codecs.into_iter().enumerate() {
        let (rows_per_group, statistics, dictionary) = ([1, 3, 100][i % 3], i % 2 == 0, i < 3);
        let format = Format { codec, rows_per_group, statistics, dictionary, ..Format::default() };
        let path = dir.path().join(format!("part_{i}.parquet"));
        write(&path, &rows, &format);
        let Found::Rows(found) = list(&origin(&path), &access()).expect("list") else { panic!("an index") };
        assert_eq!(found.len(), 4, "{codec:?}");
        assert_eq!(found[1].time.as_deref(), Some("2021-07-04T14:37:29Z"));
        assert_eq!((found[2].product.as_deref(), found[2].cloud_cover), (Some(L2A), Some(2.5)));
        // Four scenes, the newest of a cell first.
        let scenes = entries(&found);
        assert_eq!(scenes.len(), 4);
        let days: Vec<_> =
            scenes.iter().filter(|s| s[0].cell == cell()).map(|s| s[0].time.clone().expect("time")).collect();
        assert!(days.len() == 2 && days[0] > days[1], "{days:?}");

        let rows = look_up(&origin(&path), cell(), &access()).expect("look up");
        let chosen = choose(&rows, cell(), &[]).expect("latest");
        let made = fetch(&chosen, &dir.path().join(format!("scene_{i}")), &access()).expect("scene");
        assert_eq!(made.modalities, S2);
        same_rasters(&made.dir, &S2);
    }
    assert!(files(dir.path()).iter().all(|name| !name.starts_with('.')), "nothing temporary stays");
}

#[test]
fn files_of_one_cell_make_one_scene_that_reads_like_the_bundled_one() {
    let dir = tempfile::tempdir().expect("folder");
    let others = [
        row(COMPLETE, "S2L1C", L1C, "2022-01-19 14:37:29"),
        row(COMPLETE, "S1RTC", S1, "2022-01-15 09:50:00"),
        row(COMPLETE, "DEM", "id", ""),
    ];
    let l2a = dir.path().join("l2a.parquet");
    write(&l2a, &rows(), &Format::default());
    let mut all = vec![l2a.display().to_string()];
    for (i, other) in others.into_iter().enumerate() {
        let path = dir.path().join(format!("{i}.parquet"));
        write(&path, &[other], &Format::default());
        all.push(path.display().to_string());
    }
    let out = dir.path().join("433D_629L");
    let mut command = copgen();
    command.args(["scene", "major-tom", "--cell", "433D_629L", "--out"]).arg(&out);
    all.iter().for_each(|path| {
        command.args(["--file", path]);
    });
    let printed = success(&mut command);
    let names =
        ["DEM", "S1RTC", "S2L1C_10m", "S2L1C_20m", "S2L1C_60m", "S2L2A_10m", "S2L2A_20m", "S2L2A_60m", "cloud_mask"];
    assert!(names.iter().all(|name| printed.contains(name)), "{printed}");
    same_rasters(&out, &names);

    let table = ModalityTable::published();
    let read = |dir: &Path| {
        let opened = Scene::open(dir).expect("scene");
        let window = opened.window(table.window_m(), Window::Centre).expect("window");
        let wanted: Vec<usize> = names.iter().map(|name| table.index(name).expect("modality")).collect();
        opened.read(&table, &window, &wanted).expect("values")
    };
    let (made, bundled) = (read(&out), read(&scene(COMPLETE)));
    assert_eq!(made.footprint, bundled.footprint);
    let values = |o: &copgen::scene::Observation| {
        o.values.iter().map(|g| g.clone().map(|g| g.value)).collect::<Vec<Option<Value>>>()
    };
    assert!(values(&made) == values(&bundled));
    // The offset of the newer product stays, and is told; the older product has none.
    let offset: Vec<&String> = made.notes.iter().filter(|note| note.contains("baseline 05.10")).collect();
    assert!(offset.len() == 1 && offset[0].contains("S2L2A"), "{:?}", made.notes);
    assert!(!made.notes.iter().any(|note| note.contains("03.01")));

    let opened = Scene::open(&out).expect("scene");
    assert_eq!(opened.date().map(|date| date.to_string()).as_deref(), Some("2022-01-17"), "half-way (B.9)");
    let credit = opened.attribution().expect("attribution");
    for part in ["CC BY-SA 4.0", "modified Copernicus Sentinel data 2022", "Copernicus DEM"] {
        assert!(credit.contains(part), "{credit}");
    }
    let text = std::fs::read_to_string(out.join("scene.json")).expect("description");
    let told: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(told["sources"].as_array().map(Vec::len), Some(4));
    let l2a = told["sources"].as_array().and_then(|s| s.iter().find(|s| s["family"] == "S2L2A")).expect("source");
    assert_eq!((&l2a["product_id"], &l2a["processing_baseline"]), (&L2A.into(), &"05.10".into()));

    // An older product of the same cell, by its name; a folder that is there is not touched; unknown names are told.
    let older = L2A.replace("20220119", "20210704").replace("N0510", "N0301");
    let mut command = copgen();
    command.args(["scene", "major-tom", "--cell", "433D_629L", "--file", &all[0], "--product", &older, "--out"]);
    assert!(failure(command.arg(&out), 1).contains("exists already"));
    let second = dir.path().join("second");
    let run = |product: &str, cell: &str| {
        let mut command = copgen();
        command.args(["scene", "major-tom", "--cell", cell, "--file", &all[0], "--product", product, "--out"]);
        command.arg(&second);
        command
    };
    assert!(failure(&mut run("S2X", "433D_629L"), 2).contains(L2A));
    assert!(failure(&mut run(&older, "1U_1R"), 1).contains("1U_1R"));
    assert!(!second.exists());
    success(&mut run(&older, "433D_629L"));
    assert_eq!(Scene::open(&second).expect("scene").date_of("S2L2A"), Some("2021-07-04T14:37:29Z"));
    let listed = success(copgen().args(["scene", "list", &all[0]]));
    assert_eq!(listed.lines().count(), 4, "{listed}");
}

#[test]
fn a_cell_on_the_web_costs_its_own_bytes() {
    let dir = tempfile::tempdir().expect("folder");
    let mut many = rows();
    for i in 0..12 {
        many.push(Row { cell: format!("{}U_{i}R", 100 + i), ..many[i % 4].clone() });
    }
    let path = dir.path().join("part.parquet");
    write(&path, &many, &Format { codec: Compression::ZSTD(ZstdLevel::default()), ..Format::default() });
    let whole = std::fs::metadata(&path).expect("file").len();
    let server = Server::start();
    server.put("/part.parquet", Reply::file(&path));
    let web = Origin::of(&format!("{}/part.parquet?sig=secret", server.url));

    let Found::Rows(found) = list(&web, &access()).expect("list") else { panic!("an index") };
    assert_eq!(found.len(), 16);
    let listing = server.sent("/part.parquet");
    assert!(listing < whole / 20, "listing took {listing} of {whole} bytes");
    // Statistics tell everything: first bytes and end.
    assert!(server.seen().len() <= 3, "{} exchanges", server.seen().len());

    let before = server.seen().len();
    let one = access();
    let chosen = choose(&look_up(&web, cell(), &one).expect("rows"), cell(), &[]).expect("latest");
    let within = dir.path().join("scenes");
    let made = fetch_within(&chosen, &within, &one).expect("scene");
    same_rasters(&made.dir, &S2);
    let sent = server.sent("/part.parquet") - listing;
    println!("one cell: {sent} of {whole} bytes in {} exchanges", server.seen().len() - before);
    assert!(sent < whole / 8, "one cell took {sent} of {whole} bytes");
    assert_eq!(sent, one.bytes_read(), "what is told is what was sent");
    let text = std::fs::read_to_string(made.dir.join("scene.json")).expect("description");
    assert!(text.contains("/part.parquet") && !text.contains("secret"));

    let kept = Kept::new(dir.path().to_path_buf()).scenes();
    assert!(kept.len() == 1 && kept[0].dir == made.dir, "it counts as kept");

    // The same again costs nothing, even without a network; another date is another folder.
    let off = access();
    off.network.set_offline(true);
    let count = server.seen().len();
    let again = fetch_within(&chosen, &within, &off).expect("there already");
    assert!(again.before && again.dir == made.dir);
    match look_up(&web, cell(), &off) {
        Err(error @ copgen::Error::Network { fault: copgen::net::Fault::Offline, .. }) => {
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.seen().len(), count);
    let older =
        entries(&found).into_iter().find(|s| s[0].time.as_deref() == Some("2021-07-04T14:37:29Z")).expect("older");
    assert_eq!(fetch_within(&older, &within, &access()).expect("scene").dir, within.join("433D_629L_2"));
}

#[test]
fn without_statistics_only_labels_are_read_and_large_groups_page_by_page() {
    let dir = tempfile::tempdir().expect("folder");
    let mut many = rows();
    // Row groups larger than what is read whole: 40 rows of 370 kB.
    for i in 0..36 {
        many.push(Row { cell: format!("{}U_{i}R", 100 + i), ..many[i % 4].clone() });
    }
    let path = dir.path().join("part.parquet");
    let format = Format {
        codec: Compression::UNCOMPRESSED,
        rows_per_group: 20,
        statistics: false,
        dictionary: false,
        ..Format::default()
    };
    write(&path, &many, &format);
    let whole = std::fs::metadata(&path).expect("file").len();
    let server = Server::start();
    server.put("/part.parquet", Reply::file(&path));
    let web = Origin::of(&format!("{}/part.parquet", server.url));
    let rows = look_up(&web, "107U_7R".parse().expect("cell"), &access()).expect("rows");
    assert_eq!(rows.len(), 1);
    let labels = server.sent("/part.parquet");
    assert!(labels < whole / 4, "labels took {labels} of {whole}");
    let rows = look_up(&web, cell(), &access()).expect("rows");
    let chosen = choose(&rows, cell(), &[]).expect("latest");
    let made = fetch(&chosen, &dir.path().join("scene"), &access()).expect("scene");
    same_rasters(&made.dir, &S2);
}

#[test]
fn an_index_leads_to_file_and_row() {
    let dir = tempfile::tempdir().expect("folder");
    let part = dir.path().join("part_00001.parquet");
    let base = rows();
    write(&part, &base, &Format::default());
    let server = Server::start();
    server.put("/images/part_00001.parquet", Reply::file(&part));
    let link =
        |i: usize, url: String| Row { link: Some((url, i as i64)), blobs: Default::default(), ..base[i].clone() };
    let web = format!("{}/images/part_00001.parquet", server.url);
    let mut entries: Vec<Row> = (0..4).map(|i| link(i, web.clone())).collect();
    for i in 0..3000 {
        let cell = format!("{}U_{}R", i / 60, i % 60);
        entries.push(Row { cell, ..link(0, "https://elsewhere.invalid/part.parquet".into()) });
    }
    let index = dir.path().join("metadata.parquet");
    write(&index, &entries, &Format { rows_per_group: 1000, ..Format::default() });
    server.put("/metadata.parquet", Reply::file(&index));
    for place in [index.display().to_string(), format!("{}/metadata.parquet", server.url)] {
        assert_eq!(list(&Origin::of(&place), &access()).expect("list"), Found::Index);
        let out = dir.path().join(format!("from_{}", place.len()));
        let mut command = copgen();
        command.args(["scene", "major-tom", "--cell", "433D_629L", "--metadata", &place, "--out"]).arg(&out);
        success(&mut command);
        same_rasters(&out, &S2);
        assert_eq!(Scene::open(&out).expect("scene").date_of("S2L2A"), Some("2022-01-19T14:37:29Z"), "the latest");
    }
    // Rows beside the truth are found by their label, and an index never leads to files of this machine.
    write(&index, &[link(2, web.clone())].map(|row| Row { link: Some((web.clone(), 0)), ..row }), &Format::default());
    let rows = look_up(&origin(&index), cell(), &access()).expect("rows");
    let made = fetch(&choose(&rows, cell(), &[]).expect("row"), &dir.path().join("moved"), &access()).expect("scene");
    assert_eq!(Scene::open(&made.dir).expect("scene").date_of("S2L2A"), Some("2022-01-19T14:37:29Z"));
    write(&index, &[link(2, "/etc/passwd".into())], &Format::default());
    server.put("/metadata.parquet", Reply::file(&index));
    let error =
        look_up(&Origin::of(&format!("{}/metadata.parquet", server.url)), cell(), &access()).expect_err("local");
    assert!(error.to_string().contains("no address"), "{error}");
    // Beside a local index a local file may lie.
    write(&index, &[link(2, "part_00001.parquet".into())], &Format::default());
    let rows = look_up(&origin(&index), cell(), &access()).expect("rows");
    same_rasters(&fetch(&rows, &dir.path().join("beside"), &access()).expect("scene").dir, &S2);
}

/// What goes wrong when a cell is read from there; nothing may be left behind.
fn problem(place: &Origin) -> String {
    let dir = tempfile::tempdir().expect("folder");
    let done = look_up(place, cell(), &access())
        .and_then(|rows| fetch(&choose(&rows, cell(), &[])?, &dir.path().join("scene"), &access()));
    assert!(files(dir.path()).is_empty(), "{:?}", files(dir.path()));
    done.expect_err("a problem").to_string()
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_made_is_told_before_anything_is_read() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("part.parquet");
    write(&path, &rows()[1..2], &Format::default());
    let rows = look_up(&origin(&path), cell(), &access()).expect("rows");
    let chosen = choose(&rows, cell(), &[]).expect("row");
    // Nothing can be read any more, and that is not what is told.
    std::fs::remove_file(&path).expect("remove");
    let out = dir.path().join("new/deep").join("x".repeat(256));
    let error = fetch(&chosen, &out, &access()).expect_err("too long").to_string();
    assert!(error.contains("too long"), "{error}");
    assert!(files(dir.path()).is_empty(), "{:?} was left behind", files(dir.path()));
    let error = fetch(&chosen, &dir.path().join("new/deep/scene"), &access()).expect_err("no file").to_string();
    assert!(error.contains("part.parquet"), "{error}");
    assert!(files(dir.path()).is_empty(), "{:?} was left behind", files(dir.path()));
}

#[test]
fn damaged_files_are_told_and_leave_nothing() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("part.parquet");
    let at = origin(&path);
    write(&path, &rows()[1..2], &Format::default());
    let whole = std::fs::read(&path).expect("bytes");
    let n = whole.len();
    let with = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("file");
        problem(&at)
    };
    let patched = |at: usize, patch: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        bytes
    };
    for (bytes, word) in [
        (&b""[..], "PAR1"),
        (b"PAR1", "cut off"),
        (&whole[..n / 2], "cut off"),
        (&whole[..n - 1], "cut off"),
        (b"<html>a page</html>", "page for people"),
        (b"version https://git-lfs.github.com/spec/v1", "LFS"),
        (b"PK\x03\x04 an archive of some length", "zip"),
        (&patched(n - 8, &u32::MAX.to_le_bytes()), "claims 4294967295 bytes"),
        (&patched(n - 8, &[3, 0, 0, 0]), "damaged"),
    ] {
        let told = with(bytes);
        assert!(told.contains(word), "{word}: {told}");
    }
    // Damage anywhere: the file is refused, or what was hit did not matter.
    let mut random = 1u64;
    for round in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Mostly the description, which decides everything.
            let within = if round % 3 == 0 { n } else { 6000.min(n) };
            bytes[n - 1 - (random >> 33) as usize % within] ^= 1 << (random >> 20 & 7);
        }
        std::fs::write(&path, &bytes).expect("file");
        let target = dir.path().join(format!("scene_{round}"));
        let done = look_up(&at, cell(), &access()).and_then(|rows| fetch(&rows, &target, &access()));
        assert_eq!(done.is_ok(), target.exists(), "{done:?}");
    }

    let one = rows()[1].clone();
    let wrong = |change: &dyn Fn(&mut Row), format: &Format| {
        let mut row = one.clone();
        change(&mut row);
        write(&path, &[row], format);
        problem(&at)
    };
    let blob = |bytes: &'static [u8]| move |row: &mut Row| drop(row.blobs.insert("B04".into(), bytes.to_vec()));
    assert!(wrong(&blob(b"no TIFF at all"), &Format::default()).contains("B04 in it is no TIFF"));
    assert!(wrong(&blob(b"II*\0and then nothing"), &Format::default()).contains("B04 in it cannot be opened"));
    // A description of files elsewhere is no raster here.
    let vrt = b"<VRTDataset rasterXSize=\"1\" rasterYSize=\"1\"><VRTRasterBand/></VRTDataset>";
    assert!(wrong(&blob(vrt), &Format::default()).contains("no TIFF"));
    let cut = |row: &mut Row| row.blobs.get_mut("B04").expect("band").truncate(9000);
    assert!(wrong(&cut, &Format::default()).contains("B04"));
    let other = |row: &mut Row| {
        let b05 = row.blobs["B05"].clone();
        row.blobs.insert("B04".into(), b05);
    };
    assert!(wrong(&other, &Format::default()).contains("different grids"));
    let nameless = Format { without: vec!["grid_cell"], ..Format::default() };
    assert!(wrong(&|_| {}, &nameless).contains("grid_cell"));
    write(&path, &[Row { blobs: Default::default(), ..one }], &Format::default());
    assert!(problem(&at).contains("no bands"));

    // A missing band costs its modality, missing descriptions nothing.
    let row = rows()[1].clone();
    let sparse = Format { without: vec!["B05", "timestamp", "cloud_cover", "nodata", "crs"], ..Format::default() };
    write(&path, &[row], &sparse);
    let rows = look_up(&at, cell(), &access()).expect("rows");
    assert_eq!((rows[0].time.as_deref(), rows[0].cloud_cover), (Some("2021-07-04"), None), "the product's name tells");
    let made = fetch(&rows, &dir.path().join("sparse"), &access()).expect("scene");
    assert_eq!(made.modalities, ["S2L2A_10m", "S2L2A_60m"]);
    let notes = Scene::open(&made.dir).expect("scene").notes().join(" ");
    assert!(notes.contains("no B05, so there is no S2L2A_20m"), "{notes}");
}

#[test]
fn servers_fail_in_ways_that_are_told() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("part.parquet");
    write(&path, &rows()[1..3], &Format::default());
    let server = Server::start();
    server.put("/p", Reply::file(&path));
    let web = Origin::of(&format!("{}/p?key=secret", server.url));
    for (fault, times, word) in [
        (Fault::Status(404), 1, "nothing at this address"),
        (Fault::Status(403), 1, "access was refused"),
        (Fault::Status(500), 99, "problem of its own"),
        (Fault::IgnoreRange, 1, "whole files only"),
        (Fault::Endless, 1, "whole files only"),
        (Fault::WrongBytes, 1, "PAR1"),
        (Fault::RedirectLoop, 99, "without end"),
        (Fault::BreakAfter(3), 99, "broke off"),
    ] {
        server.fail("/p", fault.clone(), times);
        let told = problem(&web);
        assert!(told.contains(word) && !told.contains("secret"), "{fault:?}: {told}");
        server.heal();
    }
    // The server that ignores ranges sends no more than what was on its way.
    let whole = std::fs::metadata(&path).expect("file").len();
    // What passes is tried again.
    let begin = server.seen().len();
    for fault in [Fault::Status(500), Fault::BreakAfter(5)] {
        server.fail("/p", fault, 1);
    }
    let rows = look_up(&web, cell(), &access()).expect("third try");
    assert_eq!(server.seen().len(), begin + 4, "two failures, the beginning and the end");
    // A file that changes while it is read.
    let chosen = choose(&rows, cell(), &[]).expect("rows");
    let longer = [std::fs::read(&path).expect("bytes"), vec![0; 100]].concat();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let (short, long) = (std::fs::read(&path).expect("bytes"), longer);
    server.handle("/p", move |_| {
        let first = count.fetch_add(1, Ordering::Relaxed) < 2;
        Reply::new("application/octet-stream", if first { short.clone() } else { long.clone() })
    });
    let error = fetch(&chosen, &dir.path().join("scene"), &access()).expect_err("changed");
    assert!(error.to_string().contains("changed while"), "{error}");
    assert!(whole > 0 && !dir.path().join("scene").exists());

    // A stop ends it at once.
    server.put("/p", Reply::file(&path));
    server.fail("/p", Fault::Slow(20, Duration::from_millis(20)), 99);
    let flag = Arc::new(AtomicBool::new(false));
    let stopped = Access::new(access().network, flag.clone());
    let before = server.sent("/p");
    std::thread::scope(|scope| {
        let work = scope.spawn(|| look_up(&web, cell(), &stopped));
        while server.sent("/p") == before {
            std::thread::yield_now();
        }
        flag.store(true, Ordering::Relaxed);
        assert!(matches!(work.join().expect("thread"), Err(copgen::Error::Cancelled)));
    });
    assert!(server.sent("/p") - before < whole, "it ends before the answer does");
}
