//! What rasters say about themselves (scale, offset, unit, kind of number, place, coordinate system) is asked: the right
//! pixels, or a refusal that says why; and beside each a plain twin that stays silent.

use crate::common::{self, COMPLETE};
use copgen::modality::ModalityTable;
use copgen::scene::{Scene, Window};
use gdal::raster::{Buffer, ColorInterpretation, GdalDataType};
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DriverManager, Metadata};
use std::path::Path;

/// A file of the complete scene that is written anew.
pub struct Rewritten {
    pub bands: Vec<(String, Vec<f64>)>,
    pub size: (usize, usize),
    pub transform: [f64; 6],
    pub system: String,
    pub kind: GdalDataType,
    pub scale: Option<[f64; 2]>,
    pub unit: &'static str,
    pub colors: Vec<ColorInterpretation>,
}

impl Rewritten {
    pub fn of(name: &str) -> Self {
        let like = Dataset::open(common::scene(COMPLETE).join(format!("{name}.tif"))).expect("raster");
        let size = like.raster_size();
        let bands = like.rasterbands().map(|band| {
            let band = band.expect("band");
            let values = band.read_as::<f64>((0, 0), size, size, None).expect("pixels").data().to_vec();
            (band.description().expect("name"), values)
        });
        Self {
            bands: bands.collect(),
            size,
            transform: like.geo_transform().expect("transform"),
            system: like.spatial_ref().and_then(|system| system.authority()).expect("system"),
            kind: GdalDataType::Float32,
            scale: None,
            unit: "",
            colors: Vec::new(),
        }
    }

    pub fn map(mut self, change: impl Fn(f64) -> f64) -> Self {
        self.bands.iter_mut().flat_map(|(_, values)| values).for_each(|v| *v = change(*v));
        self
    }

    pub fn write(&self, scene: &Path, name: &str) {
        let driver = DriverManager::get_driver_by_name("GTiff").expect("driver");
        let path = scene.join(format!("{name}.tif"));
        let (width, height, n) = (self.size.0, self.size.1, self.bands.len());
        // GDAL keeps what a file cannot hold itself beside it.
        let beside = scene.join(format!("{name}.tif.aux.xml"));
        let _ = std::fs::remove_file(&beside);
        let mut dataset = match self.kind {
            GdalDataType::UInt16 => driver.create_with_band_type::<u16, _>(&path, width, height, n),
            GdalDataType::UInt8 => driver.create_with_band_type::<u8, _>(&path, width, height, n),
            GdalDataType::Int16 => driver.create_with_band_type::<i16, _>(&path, width, height, n),
            _ => driver.create_with_band_type::<f32, _>(&path, width, height, n),
        }
        .expect("file");
        dataset.set_geo_transform(&self.transform).expect("transform");
        dataset.set_spatial_ref(&SpatialRef::from_definition(&self.system).expect("system")).expect("system");
        for (i, (name, values)) in self.bands.iter().enumerate() {
            let mut band = dataset.rasterband(i + 1).expect("band");
            band.set_description(name).expect("name");
            if let Some(color) = self.colors.get(i) {
                let color = ColorInterpretation::from_c_int(color.c_int()).expect("colour");
                band.set_color_interpretation(color).expect("colour");
            }
            if let Some([scale, offset]) = self.scale {
                band.set_scale(scale).and_then(|()| band.set_offset(offset)).expect("scale");
            }
            band.write((0, 0), self.size, &mut Buffer::new(self.size, values.clone())).expect("pixels");
        }
        dataset.close().expect("written");
        if !self.unit.is_empty() {
            let band = |k: usize| {
                format!("<PAMRasterBand band=\"{}\"><UnitType>{}</UnitType></PAMRasterBand>", k + 1, self.unit)
            };
            let bands: String = (0..n).map(band).collect();
            std::fs::write(beside, format!("<PAMDataset>{bands}</PAMDataset>")).expect("unit");
        }
    }
}

/// Pixels of the middle of a scene, and what is noted; or the problem.
pub fn read(scene: &Path, name: &str) -> Result<(Vec<f32>, String), String> {
    let table = ModalityTable::published();
    let i = table.index(name).expect("modality");
    let opened = Scene::open(scene).map_err(|e| e.to_string())?;
    let window = opened.window(table.window_m(), Window::Centre).map_err(|e| e.to_string())?;
    let observed = opened.read(&table, &window, &[i]).map_err(|e| e.to_string())?;
    let given = observed.values[i].as_ref().ok_or("not there")?;
    let raster = given.value.image().expect("raster");
    let pixels = (0..raster.channels).flat_map(|c| raster.channel(c).to_vec()).collect();
    Ok((pixels, observed.notes.join("\n")))
}

fn near(a: &[f32], b: &[f32], off: f32) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= off)
}

#[test]
fn scale_offset_and_unit_are_followed_and_told() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let own = |name: &str| read(&common::scene(COMPLETE), name).expect("as it is");
    let changed = |name: &str, file: Rewritten| {
        file.write(&scene, name);
        let found = read(&scene, name).expect("read");
        std::fs::copy(common::scene(COMPLETE).join(format!("{name}.tif")), scene.join(format!("{name}.tif")))
            .expect("copy");
        let _ = std::fs::remove_file(scene.join(format!("{name}.tif.aux.xml")));
        found
    };
    let tags = "read as its tags say";
    for (name, off) in [("DEM", 0.06), ("S2L2A_10m", 0.5), ("S1RTC", 1e-3)] {
        let (plain, notes) = own(name);
        assert!(!notes.contains(tags), "{notes}");
        let (twin, twin_notes) = changed(name, Rewritten::of(name));
        assert!(near(&plain, &twin, 0.0) && notes == twin_notes, "{name}: {notes} {twin_notes}");
        let files = match name {
            "DEM" => vec![
                Rewritten {
                    scale: Some([0.1, 0.0]),
                    kind: GdalDataType::Int16,
                    ..Rewritten::of(name).map(|v| (v * 10.0).round())
                },
                Rewritten { unit: "ft", ..Rewritten::of(name).map(|v| v / 0.3048) },
                Rewritten { unit: "US survey foot", ..Rewritten::of(name).map(|v| v * 3937.0 / 1200.0) },
                Rewritten { unit: "cm", ..Rewritten::of(name).map(|v| v * 100.0) },
            ],
            "S2L2A_10m" => vec![Rewritten {
                scale: Some([1e-4, -0.1]),
                kind: GdalDataType::UInt16,
                ..Rewritten::of(name).map(|v| v + 1000.0)
            }],
            _ => vec![Rewritten { unit: "dB", ..Rewritten::of(name).map(|v| 10.0 * v.log10()) }],
        };
        for file in files {
            let what = format!("{name} {:?} {}", file.scale, file.unit);
            let (found, notes) = changed(name, file);
            assert!(near(&plain, &found, off), "{what}: {:?} for {:?}", &found[..4], &plain[..4]);
            assert!(notes.contains(tags), "{what}: {notes}");
        }
    }
    // What our own files say of themselves changes nothing.
    let (twin, notes) = changed("S2L2A_10m", Rewritten { scale: Some([1e-4, 0.0]), ..Rewritten::of("S2L2A_10m") });
    assert!(near(&own("S2L2A_10m").0, &twin, 0.0) && !notes.contains(tags), "{notes}");
}

#[test]
fn numbers_that_cannot_be_true_are_questioned() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    for (name, change, said) in [
        ("S2L2A_10m", (|v| 64_800.0 + v / 100.0) as fn(f64) -> f64, "beyond what clouds and roofs reach"),
        ("DEM", |v| v + 20_000.0, "where there is no ground on Earth"),
        ("S1RTC", |v| 1000.0 * v.log10(), "decibels times 100"),
        ("S1RTC", |v| v.sqrt() * 500.0, "amplitudes or digital numbers"),
    ] {
        Rewritten::of(name).map(change).write(&scene, name);
        let notes = read(&scene, name).expect("read").1;
        assert!(notes.contains(said), "{name}: {notes}");
        assert!(!read(&common::scene(COMPLETE), name).expect("read").1.contains(said));
    }
}

#[test]
fn coordinate_systems_are_compared_by_meaning_and_metres_have_to_be_some() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let plain = read(&common::scene(COMPLETE), "DEM").expect("as it is");
    // With heights, and without a code.
    let like = Rewritten::of("DEM");
    let wkt = SpatialRef::from_definition(&like.system).and_then(|system| system.to_wkt()).expect("wkt");
    let bare = wkt.rfind(",AUTHORITY[").map(|at| format!("{}]", &wkt[..at])).expect("a code at its end");
    for system in [format!("{}+5773", like.system), bare] {
        Rewritten { system: system.clone(), ..Rewritten::of("DEM") }.write(&scene, "DEM");
        assert_eq!(read(&scene, "DEM").expect(&system), plain);
    }
    // The whole scene in metres that are none.
    let moved = tempfile::tempdir().expect("folder");
    for (system, x, y) in [("EPSG:3395", 1_113_180.0, 8_362_680.0), ("EPSG:4087", 1_113_180.0, 6_679_140.0)] {
        let file = Rewritten::of("DEM");
        let transform = [x, 30.0, 0.0, y, 0.0, -30.0];
        Rewritten { system: system.into(), transform, ..file }.write(moved.path(), "DEM");
        let problem = read(moved.path(), "DEM").expect_err(system);
        assert!(problem.contains("on the ground there; warp it to a UTM zone first"), "{problem}");
    }
}

#[test]
fn pixels_that_are_a_little_smaller_are_found_where_they_lie() {
    let dir = tempfile::tempdir().expect("folder");
    let (n, bright) = (1500, 12_000.0);
    let table = ModalityTable::published();
    let i = table.index("S2L2A_10m").expect("modality");
    let west_of_bright = |pixel: f64| {
        let mut file = Rewritten::of("S2L2A_10m");
        let at = (bright / pixel).round() as usize;
        for (_, values) in &mut file.bands {
            *values = vec![1000.0; n * n];
            (0..20).for_each(|row| values[(at + row) * n + at..][..20].fill(9000.0));
        }
        (file.transform[1], file.transform[5]) = (pixel, -pixel);
        Rewritten { size: (n, n), ..file }.write(dir.path(), "S2L2A_10m");
        let opened = Scene::open(dir.path()).expect("scene");
        let corner = Window::At { east_m: bright - 600.0, south_m: bright - 600.0 };
        let window = opened.window(table.window_m(), corner).expect("window");
        let observed = opened.read(&table, &window, &[i]).expect("values");
        let raster = observed.values[i].as_ref().and_then(|given| given.value.image().cloned()).expect("raster");
        raster.channel(0).iter().position(|v| *v > 3000.0).expect("bright") % raster.width
    };
    assert_eq!((west_of_bright(10.0), west_of_bright(9.982)), (60, 60));
}

/// A TIFF of 8 × 8 pixels without compression, with these tags besides; each of 32-bit numbers or of doubles.
fn tiff(path: &Path, bits: u32, format: u32, doubles: &[(u16, Vec<f64>)]) {
    let data = vec![0u8; 8 * 8 * bits as usize / 8];
    let mut entries: Vec<(u16, u16, u32, u32)> = vec![
        (256, 4, 1, 8),
        (257, 4, 1, 8),
        (258, 4, 1, bits),
        (259, 4, 1, 1),
        (262, 4, 1, 1),
        (273, 4, 1, 8),
        (277, 4, 1, 1),
        (278, 4, 1, 8),
        (279, 4, 1, data.len() as u32),
        (339, 4, 1, format),
    ];
    let mut file = b"II*\0\0\0\0\0".to_vec();
    file.extend(data);
    for (tag, values) in doubles {
        entries.push((*tag, 12, values.len() as u32, file.len() as u32));
        file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    let at = file.len() as u32;
    file[4..8].copy_from_slice(&at.to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend(tag.to_le_bytes().into_iter().chain(kind.to_le_bytes()));
        file.extend(count.to_le_bytes().into_iter().chain(value.to_le_bytes()));
    }
    file.extend([0; 4]);
    std::fs::write(path, file).expect("file");
}

#[test]
fn complex_numbers_and_control_points_are_refused_for_what_they_are() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let path = scene.join("S1RTC.tif");
    let points = [[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]];
    let points = points.iter().flat_map(|[x, y]| [*x, *y, 0.0, 11.0 + x / 100.0, 46.0 - y / 100.0, 0.0]).collect();
    for (bits, format, doubles, said) in [
        (64, 6, vec![], "Band 1 holds numbers of a kind that is not read, such as complex ones"),
        (32, 3, vec![(33922, points)], "by control points alone"),
    ] {
        tiff(&path, bits, format, &doubles);
        let problem = Scene::open(&scene).err().map(|e| e.to_string()).or_else(|| read(&scene, "S1RTC").err());
        let problem = problem.expect(said);
        assert!(problem.contains(said) && problem.contains("S1RTC.tif"), "{problem}");
    }
}

/// Writes into a scene's description whose codes its land cover holds.
pub fn say_legend(scene: &Path, legend: &str) {
    let path = scene.join("scene.json");
    let text = std::fs::read_to_string(&path).expect("description");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["legends"] = serde_json::json!({ "LULC": legend });
    std::fs::write(path, json.to_string()).expect("written");
}

#[test]
fn land_cover_in_the_codes_of_another_map_is_recognised_or_asked_about() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let coded = |codes: &[(f64, f64)]| {
        let to = |v: f64| codes.iter().find(|(own, _)| *own == v).map_or(v, |(_, other)| *other);
        Rewritten::of("LULC").map(to).write(&scene, "LULC");
    };
    let (own, silent) = read(&common::scene(COMPLETE), "LULC").expect("as it is");
    assert!(!silent.contains("codes"), "{silent}");
    // ESA WorldCover says itself what it is.
    coded(&[(1.0, 80.0), (2.0, 10.0), (4.0, 90.0), (5.0, 40.0), (7.0, 50.0), (8.0, 60.0), (9.0, 70.0), (11.0, 30.0)]);
    let (pixels, told) = read(&scene, "LULC").expect("recognised");
    assert_eq!(pixels, own);
    assert!(
        told.contains("LULC.tif") && told.contains("ESA WorldCover") && told.contains("40 Cropland → Crops"),
        "{told}"
    );
    // Dynamic World's codes could be others' too.
    coded(&[(1.0, 0.0), (2.0, 1.0), (4.0, 3.0), (5.0, 4.0), (7.0, 6.0), (8.0, 7.0), (9.0, 8.0), (11.0, 2.0)]);
    let problem = read(&scene, "LULC").expect_err("asked");
    assert!(
        problem.contains("dynamic-world") && problem.contains("LULC.tif") && problem.contains("legends"),
        "{problem}"
    );
    say_legend(&scene, "dynamic-world");
    let (pixels, told) = read(&scene, "LULC").expect("stated");
    assert_eq!(pixels, own);
    assert!(told.contains("Dynamic World"), "{told}");
    say_legend(&scene, "worldcover");
    assert!(read(&scene, "LULC").expect_err("contradicted").contains("ESA WorldCover, which has no code"));
    // All forest in one map, all cloud in the other.
    std::fs::remove_file(scene.join("scene.json")).expect("removed");
    Rewritten::of("LULC").map(|_| 10.0).write(&scene, "LULC");
    let (_, told) = read(&scene, "LULC").expect("possible");
    assert!(
        told.contains("100 % of the window has code 10") && told.contains("Tree cover in ESA WorldCover"),
        "{told}"
    );
}

#[test]
fn a_check_tells_what_the_program_sees_in_a_folder() {
    let dir = tempfile::tempdir().expect("folder");
    let check = |scene: &Path| {
        let output = common::copgen().args(["scene", "check"]).arg(scene).output().expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = check(&common::scene(COMPLETE));
    assert_eq!(code, Some(0), "{text}");
    for told in
        ["S2L2A_10m: ", "B02: UInt16", "offset of Sentinel-2: none left", "% 5 Crops", "EPSG:", "100.00 % valid"]
    {
        assert!(text.contains(told), "{told} is missing:\n{text}");
    }
    let scene = common::copy_scene(COMPLETE, dir.path());
    let mut feet = Rewritten::of("DEM").map(|v| v / 0.3048);
    feet.unit = "ft";
    feet.write(&scene, "DEM");
    std::fs::write(scene.join("LULC.tif"), "no raster").expect("written");
    let (code, text) = check(&scene);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("unit ft") && text.contains("LULC: cannot be used"), "{text}");
    let json = common::copgen().args(["scene", "check", "--json"]).arg(&scene).output().expect("run").stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let heights = json["rasters"].as_array().and_then(|all| all.iter().find(|raster| raster["name"] == "DEM"));
    let heights = heights.expect("elevation");
    assert_eq!(heights["bands"][0]["unit"], "ft");
    let [feet, metres] = [&check(&scene).1, &check(&common::scene(COMPLETE)).1].map(|text| {
        text.lines()
            .find(|line| line.contains("mean") && line.contains("DEM"))
            .map(|line| line[line.find("mean").unwrap_or(0)..].to_owned())
    });
    assert!(feet.is_some() && feet == metres, "{feet:?} {metres:?}");
}

#[cfg(unix)]
#[test]
fn whoever_has_read_enough_of_a_check_ends_it_without_a_word() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_copgen"));
    command.env("COPGEN_HOME", env!("CARGO_MANIFEST_DIR")).args(["scene", "check"]).arg(common::scene(COMPLETE));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // Nobody listens before it says anything.
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()), (Some(0), String::new()));
}

#[test]
fn bands_of_one_raster_are_in_one_unit_or_each_says_its_own() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    // The band of this name alone, or all of them.
    let changed = |name: &str, band: &str, change: fn(f64) -> f64| {
        let mut file = Rewritten::of(name);
        let bands = file.bands.iter_mut().filter(|(own, _)| band.is_empty() || own == band);
        bands.flat_map(|(_, values)| values).for_each(|v| *v = change(*v));
        file.write(&scene, name);
        read(&scene, name)
    };
    let odd = |notes: &str| notes.contains("percent") || notes.contains("one unit");
    for name in ["S2L2A_10m", "S1RTC"] {
        let (_, notes) = changed(name, "", |v| v).expect("a plain twin");
        assert!(!odd(&notes), "{notes}");
    }
    let problem = changed("S2L2A_10m", "B03", |v| v / 10_000.0).expect_err("one band of 0 to 1");
    assert!(problem.contains("S2L2A_10m.tif") && problem.contains("B03 reaches only 0."), "{problem}");
    let problem = changed("S1RTC", "vh", |v| 10.0 * v.log10()).expect_err("one band in decibels");
    assert!(problem.contains("S1RTC.tif") && problem.contains("vh has a median of -"), "{problem}");
    let (_, notes) = changed("S2L2A_10m", "B03", |v| v / 100.0).expect("one band in percent");
    assert!(notes.contains("B03 reaches only"), "{notes}");
    let (_, notes) = changed("S2L2A_10m", "", |v| v / 100.0).expect("all bands in percent");
    assert!(notes.contains("this looks like reflectance in percent"), "{notes}");
    // Each band says what it is in: that is followed, band by band.
    for (name, band, unit, change, off) in [
        ("S2L2A_10m", "B03", "%", (|v| v / 100.0) as fn(f64) -> f64, 0.5),
        ("S1RTC", "vh", "dB", |v| 10.0 * v.log10(), 1e-3),
    ] {
        let number = 1 + Rewritten::of(name).bands.iter().position(|(own, _)| own == band).expect("band");
        let beside = scene.join(format!("{name}.tif.aux.xml"));
        let say = format!(
            "<PAMDataset><PAMRasterBand band=\"{number}\"><UnitType>{unit}</UnitType></PAMRasterBand></PAMDataset>"
        );
        let _ = changed(name, band, change);
        std::fs::write(&beside, say).expect("unit");
        let (found, notes) = read(&scene, name).expect("said");
        let (plain, _) = read(&common::scene(COMPLETE), name).expect("as it is");
        assert!(near(&plain, &found, off) && notes.contains("read as its tags say") && !odd(&notes), "{name}: {notes}");
    }
}

#[test]
fn pictures_constant_bands_and_negative_power_are_questioned() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let notes = |name: &str, file: Rewritten| {
        file.write(&scene, name);
        read(&scene, name).expect("read").1
    };
    let said = ["numbers are of 8 bits", "no sensor measures that", "which no power is"];
    for name in ["S2L2A_10m", "S1RTC"] {
        let plain = notes(name, Rewritten::of(name));
        assert!(said.iter().all(|said| !plain.contains(said)), "{plain}");
    }
    let picture = Rewritten::of("S2L2A_10m").map(|v| (v / 20.0).min(255.0).round());
    let told = notes("S2L2A_10m", Rewritten { kind: GdalDataType::UInt8, ..picture });
    assert!(told.contains("S2L2A_10m.tif") && told.contains(said[0]), "{told}");
    for (name, value) in [("S2L2A_10m", 1234.0), ("S1RTC", 0.25)] {
        let mut file = Rewritten::of(name);
        let band = file.bands[1].0.clone();
        file.bands[1].1.fill(value);
        let told = notes(name, file);
        assert!(told.contains(&format!("{band} is {value} at all")) && told.contains(said[1]), "{told}");
    }
    let mut file = Rewritten::of("S1RTC");
    let (width, _) = file.size;
    // In the middle, where the window lies.
    let middle = file.bands[0].1.len() / 2 + width / 2;
    file.bands[0].1[middle..middle + 3].fill(-0.01);
    let told = notes("S1RTC", file);
    assert!(told.contains("3 of") && told.contains(said[2]), "{told}");
}

#[test]
fn zeros_in_the_mountains_are_questioned_and_those_of_a_sea_are_not() {
    let dir = tempfile::tempdir().expect("folder");
    let scene = common::copy_scene(COMPLETE, dir.path());
    let notes = |lift: f64| {
        let mut file = Rewritten::of("DEM").map(|v| v.max(0.0) + lift);
        let (width, height) = file.size;
        let inside = |i: usize| (i % width).abs_diff(width / 2) < 6 && (i / width).abs_diff(height / 2) < 6;
        file.bands[0].1.iter_mut().enumerate().filter(|(i, _)| inside(*i)).for_each(|(_, v)| *v = 0.0);
        file.write(&scene, "DEM");
        read(&scene, "DEM").expect("read").1
    };
    let said = "exactly 0 m, in the midst of ground that lies far higher";
    let told = notes(800.0);
    assert!(told.contains("DEM.tif: 121 of") && told.contains(said), "{told}");
    let flat = {
        let mut file = Rewritten::of("DEM").map(|_| 4.0);
        file.bands[0].1.iter_mut().step_by(3).for_each(|v| *v = 0.0);
        file.write(&scene, "DEM");
        read(&scene, "DEM").expect("read").1
    };
    assert!(!flat.contains(said) && !read(&common::scene(COMPLETE), "DEM").expect("read").1.contains(said), "{flat}");
}
