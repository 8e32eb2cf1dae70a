//! Every number that the published system's description gives for values and sizes (the schedule's and the solver's
//! are beside their code).

use candle_core::{DType, Device, Tensor};
use copgen::modality::{Location, Modality, ModalityTable, PostOptions, Raster, Value, from_network, to_network};
use copgen::model::{Autoencoder, AutoencoderSizes, Denoiser, DenoiserSizes, Init, Parameters};
use proptest::prelude::*;

fn modality(name: &str) -> Modality {
    let table = ModalityTable::published();
    table[table.index(name).expect("in the table")].clone()
}

/// Network values of a raster whose first pixels of every channel are these.
fn network(m: &Modality, values: &[f32]) -> Vec<f32> {
    let mut raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, 1.0);
    for c in 0..raster.channels {
        raster.channel_mut(c)[..values.len()].copy_from_slice(values);
    }
    to_network(m, &Value::Image(raster)).expect("network values")
}

fn image(value: Value) -> Raster {
    match value {
        Value::Image(raster) => raster,
        other => panic!("{other:?} is no image"),
    }
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    for (a, b) in found.iter().zip(expected) {
        assert!((f64::from(*a) - b).abs() <= tolerance, "{a} should be {b}");
    }
}

#[test]
fn backscatter_b5() {
    let found = network(&modality("S1RTC"), &[-32768.0, 0.0, 0.001, 0.01, 0.1, 1.0]);
    let expected = [-0.99999998, -0.99999998, -0.46283962, -0.25453446, -0.04622931, 0.16207585];
    assert_close(&found, &expected, 1e-7);
}

#[test]
fn elevation_b6() {
    let found = network(&modality("DEM"), &[-5.0, 0.0, 1.0, 100.0, 1000.0, 8849.0]);
    let expected = [-1.00000002, -1.00000002, -0.84746003, 0.01565087, 0.52041227, 1.00003801];
    assert_close(&found, &expected, 1e-7);
}

#[test]
fn reflectance_b4_is_neither_clipped_nor_rounded_unless_asked_to() {
    let m = modality("S2L2A_10m");
    assert_close(&network(&m, &[0.0, 5000.0, 10000.0, 12345.0]), &[-1.0, 0.0, 1.0, 1.469], 1e-6);
    let mut data = vec![0.0; m.channels.len() * m.pixels * m.pixels];
    (data[0], data[1]) = (-1.02, 1.5);
    let open = image(from_network(&m, &data, &PostOptions::default()).expect("values"));
    assert_close(&open.data[..3], &[-100.0, 12500.0, 5000.0], 0.01);
    let clip = PostOptions { clip_reflectance: true, ..PostOptions::default() };
    let clipped = image(from_network(&m, &data, &clip).expect("values"));
    assert_close(&clipped.data[..3], &[0.0, 10000.0, 5000.0], 0.01);
}

#[test]
fn classes_b7_unknown_codes_count_as_the_first_and_ties_go_to_the_first() {
    let m = modality("LULC");
    let n = m.pixels * m.pixels;
    let found = network(&m, &[0.0, 1.0, 4.0, 11.0, 3.0]);
    for (pixel, class) in [0, 1, 3, 9, 0].into_iter().enumerate() {
        for c in 0..10 {
            assert_eq!(found[c * n + pixel], if c == class { 1.0 } else { -1.0 }, "pixel {pixel}, class {c}");
        }
    }
    let back = image(from_network(&m, &vec![0.5; 10 * n], &PostOptions::default()).expect("values"));
    assert!(back.data.iter().all(|&code| code == 0.0));
}

#[test]
fn location_b8() {
    let m = modality("location");
    let found = to_network(&m, &Value::Location(Location { lat: 55.95, lon: -3.19 })).expect("vector");
    assert_close(&found, &[0.55904857, -0.03115779, 0.82854927], 1e-7);
    // The published code reads the latitude off a vector that need not have length 1 (I.15).
    let short = [0.3f32, 0.0, 0.4];
    let read = |options: PostOptions| match from_network(&m, &short, &options).expect("location") {
        Value::Location(at) => at.lat,
        other => panic!("{other:?}"),
    };
    assert!((read(PostOptions::default()) - 53.130102).abs() < 1e-5);
    let published = PostOptions { normalise_location: false, ..PostOptions::default() };
    assert!((read(published) - 23.578178).abs() < 1e-5);
}

#[test]
fn date_b9() {
    let m = modality("date");
    for (date, expected) in [
        ("2023-04-19", [0.9536810, -0.3008198, 0.46]),
        ("2020-02-29", [0.8573146, 0.5147928, 0.4]),
        ("2021-12-31", [0.0, 1.0, 0.42]),
    ] {
        let date = Value::Date(date.parse().expect("date"));
        let found = to_network(&m, &date).expect("vector");
        assert_close(&found, &expected, 1e-7);
        assert_eq!(from_network(&m, &found, &PostOptions::default()).expect("date"), date);
    }
}

#[test]
fn table_a1() {
    let table = ModalityTable::published();
    let tokens: Vec<usize> = table.iter().map(Modality::tokens).collect();
    assert_eq!(tokens, [3, 3, 16, 144, 144, 36, 4, 144, 36, 4, 144, 144]);
    assert_eq!(table.tokens(), 834);
    assert_eq!(table.window_m(), 1920.0);
    // Key order is not channel order (I.1).
    assert_eq!(modality("S2L2A_20m").channels, ["B05", "B06", "B07", "B8A", "B11", "B12"]);
    assert_eq!(modality("S1RTC").channels, ["vv", "vh"]);
    assert_eq!(table.select("S2L1C").expect("family").len(), 3);
    assert_eq!(table.select("lat_lon").expect("synonym"), [0]);
    assert!(table.select("S3").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn measurements_survive_the_way_there_and_back(
        dn in 0.0f32..20000.0, power in 1e-5f32..1000.0, metres in 0.0f32..8848.0
    ) {
        for (name, value, tolerance) in [("S2L1C_60m", dn, 2e-3), ("S1RTC", power, power * 2e-5), ("DEM", metres, 2e-2)] {
            let m = modality(name);
            let raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, value);
            let there = to_network(&m, &Value::Image(raster)).expect("there");
            let back = image(from_network(&m, &there, &PostOptions::default()).expect("back"));
            prop_assert!((back.data[0] - value).abs() <= tolerance, "{name}: {value} came back as {}", back.data[0]);
        }
    }

    #[test]
    fn places_and_days_survive_the_way_there_and_back(lat in -89.9f64..89.9, lon in -179.9f64..179.9, day in 0i64..54787) {
        let back = |name: &str, value: &Value| {
            let m = modality(name);
            from_network(&m, &to_network(&m, value).expect("there"), &PostOptions::default()).expect("back")
        };
        match back("location", &Value::Location(Location { lat, lon })) {
            // Float32 near a pole cannot tell the last thousandth of a degree.
            Value::Location(at) => prop_assert!((at.lat - lat).abs() < 2e-3 && (at.lon - lon).abs() < 2e-2, "{at:?}"),
            other => prop_assert!(false, "{other:?}"),
        }
        let first: jiff::civil::Date = "1950-01-01".parse().expect("date");
        let date = Value::Date(first.checked_add(jiff::Span::new().days(day)).expect("within the calendar"));
        prop_assert_eq!(back("date", &date), date);
    }
}

/// Counts parameters without holding them.
#[derive(Default)]
struct Count(usize);

impl Parameters for Count {
    fn get(&mut self, _name: &str, shape: &[usize], _init: Init) -> copgen::Result<Tensor> {
        self.0 += shape.iter().product::<usize>();
        Ok(Tensor::zeros(1, DType::F32, &Device::Cpu)?.broadcast_as(shape)?)
    }

    // Layers that train keep their parameters as they are, so nothing is copied here either.
    fn trainable(&self) -> bool {
        true
    }
}

#[test]
fn autoencoder_sizes_c4() {
    let sizes = AutoencoderSizes {
        base_width: 128,
        multipliers: vec![1, 2, 4, 4],
        residual_blocks: 2,
        norm_groups: 32,
        linear_path: false,
    };
    let expected = [
        (1, 8, 83_704_809),
        (2, 8, 83_707_114),
        (3, 8, 83_709_419),
        (4, 8, 83_711_724),
        (6, 8, 83_716_334),
        (10, 8, 83_725_554),
        // Stable Diffusion's own.
        (3, 4, 83_653_863),
    ];
    for (channels, latent, parameters) in expected {
        let mut count = Count::default();
        Autoencoder::new(&sizes, channels, latent, &mut count, &Device::Cpu).expect("autoencoder");
        assert_eq!(count.0, parameters, "{channels} channels, {latent} latent channels");
    }
}

#[test]
fn denoiser_sizes_d1() {
    for (width, depth, heads, parameters) in
        [(1024, 20, 16, 286_986_562), (1152, 28, 16, 501_092_674), (1536, 30, 24, 951_274_306)]
    {
        let sizes = DenoiserSizes { width, depth, heads, mlp_ratio: 4 };
        let mut count = Count::default();
        Denoiser::new(&ModalityTable::published(), &sizes, &mut count, &Device::Cpu).expect("denoiser");
        assert_eq!(count.0, parameters, "width {width}");
    }
}
