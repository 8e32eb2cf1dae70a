use super::*;
use proptest::prelude::*;
use std::sync::Arc;

/// The table of the published model as earlier versions wrote it.
const EARLIER: &str = include_str!("../../tests/fixtures/earlier_modalities.json");

fn earlier() -> ModalityTable {
    ModalityTable::from_json(EARLIER, Catalogue::bundled()).expect("table")
}

/// A file of one's own in a folder of its own.
fn own(text: &str) -> crate::Result<Arc<Catalogue>> {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join(FAMILIES_FILE), text).expect("file");
    Catalogue::with_own(dir.path())
}

const TEMPERATURE: &str = r#"
[[family]]
name = "LST"
quantity = "surface temperature"
unit = "K"
valid = [180, 360]
groups = [{ name = "LST", channels = ["LST"], ground_m = 10 }]
"#;

#[test]
fn what_comes_with_the_program_is_whole() {
    let catalogue = Catalogue::bundled();
    assert_eq!(catalogue.product_names(), ["S2L2A", "S2L1C", "S1RTC", "DEM", "LULC"]);
    for m in catalogue.groups() {
        assert!(!m.is_scalar() && m.ground_m > 0.0, "{}", m.name);
        for channel in &m.channels {
            let band = m.about.band(channel).unwrap_or_else(|| panic!("{} of {} is not described", channel, m.name));
            assert_eq!(band.ground_m, Some(m.ground_m), "{channel}");
            assert_eq!(band.nm.is_some(), m.about.is_optical(), "{channel}");
        }
    }
    assert!(catalogue.group("S1GRD").is_some() && catalogue.groups().all(|m| m.name != "S1GRD"));
    let mask = catalogue.family("cloud_mask").expect("family");
    assert!(mask.is_no_data(255.0) && !mask.is_no_data(0.0), "unknown is not clear");
    assert_eq!(mask.hole(), Some(255.0));
    assert_eq!(catalogue.family("LULC").expect("family").hole(), None, "a class of its own says no data");
}

#[test]
fn tables_of_earlier_versions_say_the_same() {
    assert_eq!(earlier(), ModalityTable::published());
    // What is written now is read as the same, and names only what belongs to the network.
    let text = serde_json::to_string(&ModalityTable::published()).expect("text");
    assert_eq!(serde_json::from_str::<ModalityTable>(&text).expect("table"), earlier());
    assert!(!text.contains("families") && !text.contains("B04\""), "{text}");
}

#[test]
fn units_say_the_scale_that_is_meant() {
    let text = EARLIER.replace("10000.0", "1000.0");
    let table = ModalityTable::from_json(&text, Catalogue::bundled()).expect("table");
    let m = &table[table.index("S2L2A_10m").expect("modality")];
    assert_eq!(m.unit(), "DN (reflectance × 1000)");
    assert_eq!(measured_value(m, 250.0), 0.25);
    let m = &ModalityTable::published()[7];
    assert_eq!((m.unit().as_str(), measured_unit(m)), ("DN (reflectance × 10000)", "reflectance"));
}

#[test]
fn a_table_of_an_unknown_family_can_be_written_and_read_again() {
    let text = r#"[
        {"key": "a", "name": "Own_10m", "family": "Own", "channels": ["x", "y"], "pixels": 8, "ground_m": 10.0,
         "latent": [2, 8, 8], "patch": 2, "scale_factor": 1.0, "values": {"kind": "decibel", "min_db": -50.0, "max_db": 0.0, "min_positive": 1e-5}},
        {"key": "b", "name": "Own_20m", "family": "Own", "channels": ["z"], "pixels": 4, "ground_m": 20.0,
         "latent": [1, 4, 4], "patch": 2, "scale_factor": 1.0, "values": {"kind": "decibel", "min_db": -50.0, "max_db": 0.0, "min_positive": 1e-5}},
        {"key": "c", "name": "Kinds", "family": "Kinds", "channels": ["Kinds"], "pixels": 8, "ground_m": 10.0,
         "latent": [1, 8, 8], "patch": 2, "scale_factor": 1.0, "values": {"kind": "classes", "classes": [{"code": 3, "name": "three", "color": [1, 2, 3]}]}}
    ]"#;
    let table = ModalityTable::from_json(text, Catalogue::bundled()).expect("table");
    // All of it can be read from files from now on.
    let names: Vec<&str> = table.catalogue().groups_of("Own").map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["Own_10m", "Own_20m"]);
    assert_eq!(table.select("own").expect("family"), [0, 1]);
    assert_eq!(table[2].classes().map(<[Class]>::len), Some(1));
    let again: ModalityTable = serde_json::from_str(&serde_json::to_string(&table).expect("text")).expect("table");
    assert_eq!(again, table);
}

#[test]
fn families_of_the_user_are_added_and_bad_ones_are_told() {
    let catalogue = own(TEMPERATURE).expect("catalogue");
    let m = catalogue.group("lst").expect("group");
    assert_eq!((m.unit().as_str(), measured_unit(m), m.about.valid("LST")), ("K", "K", Some([180.0, 360.0])));
    for (text, problem) in [
        ("[[family]]\nname = 'X'\n", "groups"),
        (&TEMPERATURE.replace("unit = \"K\"", "units = \"K\""), "units"),
        (&TEMPERATURE.replace("[180, 360]", "[360, 180]"), "valid range"),
        (&TEMPERATURE.replace("ground_m = 10", "ground_m = 0"), "pixel size"),
        (&TEMPERATURE.replace("channels = [\"LST\"]", "channels = []"), "channels"),
        (&TEMPERATURE.replace("name = \"LST\", channels", "name = \"../LST\", channels"), "letters"),
        (&TEMPERATURE.replace("name = \"LST\", channels", "name = \"DEM\", channels"), "both have a raster called DEM"),
        (&TEMPERATURE.replace("quantity", "synonyms = ['lat_lon']\nquantity"), "both called lat_lon"),
        (&TEMPERATURE.replace("quantity", "form = 'class'\nquantity"), "legend"),
        // Nothing would be shown of it: its bands lie on two grids.
        (
            "[[family]]\nname = 'X'\nsubject = 'other'\nquantity = 'ratio'\nunit = ''\n\
            indices = [{ name = 'N', bands = ['a', 'b'], range = [-1, 1], about = 'both' }]\n\
            groups = [{ name = 'X_10m', channels = ['a'], ground_m = 10 }, { name = 'X_20m', channels = ['b'], ground_m = 20 }]\n",
            "no group holds together",
        ),
        // Models rely on what comes with the program.
        (&TEMPERATURE.replace("\"LST\"", "\"DEM\""), "must keep its groups"),
    ] {
        let error = own(text).expect_err(problem).to_string();
        assert!(error.contains(problem) && error.contains("families.toml"), "{error}");
    }
}

#[test]
fn a_table_takes_only_what_the_catalogue_knows() {
    let row = r#"[{"key": "t", "name": "LST", "pixels": 8, "latent": [1, 8, 8], "patch": 2, "scale_factor": 1.0,
        "normalisation": {"kind": "linear", "min": 250, "max": 330}}]"#;
    let error = ModalityTable::from_json(row, Catalogue::bundled()).expect_err("unknown");
    assert!(error.contains("LST") && error.contains("families.toml"), "{error}");
    let catalogue = own(TEMPERATURE).expect("catalogue");
    let table = ModalityTable::from_json(row, catalogue.clone()).expect("table");
    let network = to_network(&table[0], &Value::Image(Raster::constant(1, 8, 8, 290.0))).expect("values");
    assert!(network.iter().all(|v| *v == 0.0));
    for (kind, problem) in [
        (r#"{"kind": "one_hot"}"#, "does not suit"),
        (r#"{"kind": "linear", "min": 330, "max": 250}"#, "smaller to a greater"),
        (r#"{"kind": "warm"}"#, "warm"),
    ] {
        let text = row.replace(r#"{"kind": "linear", "min": 250, "max": 330}"#, kind);
        let error = ModalityTable::from_json(&text, catalogue.clone()).expect_err(problem);
        assert!(error.contains(problem), "{error}");
    }
    let kind = r#""scale_factor": 1.0,
        "normalisation": {"kind": "linear", "min": 250, "max": 330}"#;
    let error = ModalityTable::from_json(&row.replace(kind, r#""scale_factor": 1.0"#), catalogue);
    assert!(error.expect_err("nothing").contains("no normalisation"));
}

proptest! {
    #[test]
    fn earlier_tables_give_the_same_numbers_to_the_last_bit(x in -1000.0f32..40_000.0, v in -1.5f32..1.5) {
        let scale = |v: f64, low: f64, high: f64| (2.0 * (v - low) / (high - low) - 1.0) as f32;
        let unscale = |v: f32, low: f64, high: f64| ((f64::from(v) + 1.0) / 2.0).clamp(0.0, 1.0) * (high - low) + low;
        let positive = |x: f32, least: f64| if x <= 0.0 { least } else { f64::from(x) };
        // The formulas as they stood in the version that wrote these tables.
        let formulas: [(&str, f32, f32); 6] = [
            (r#"{"kind": "reflectance", "dn_per_unit": 10000.0}"#, x / 10_000f32 * 2.0 - 1.0, (v + 1.0) / 2.0 * 10_000f32),
            (
                r#"{"kind": "reflectance", "dn_per_unit": 10000.0, "curve": "square_root"}"#,
                (x / 10_000f32).max(0.0).sqrt() * 2.0 - 1.0,
                ((v + 1.0) / 2.0).max(0.0).powi(2) * 10_000f32,
            ),
            (
                r#"{"kind": "root_elevation", "max_m": 9000.0}"#,
                (x / 9000f32).abs().sqrt().copysign(x) * 2.0 - 1.0,
                { let root = (v + 1.0) / 2.0; (root * root).copysign(root) * 9000f32 },
            ),
            (r#"{"kind": "picture"}"#, x / 255.0 * 2.0 - 1.0, ((v + 1.0) / 2.0 * 255.0).clamp(0.0, 255.0)),
            (
                r#"{"kind": "decibel", "min_db": -55.787186, "max_db": 40.2258, "min_positive": 2.6380407689430285e-06}"#,
                scale(10.0 * positive(x, 2.6380407689430285e-06).log10(), -55.787186, 40.2258),
                10f64.powf(unscale(v, -55.787186, 40.2258) / 10.0).max(2.6380407689430285e-06) as f32,
            ),
            (
                r#"{"kind": "log_elevation", "min_log": 6e-06, "max_log": 9.088, "min_positive": 5.899129519093549e-06}"#,
                scale(positive(x, 5.899129519093549e-06).ln_1p(), 6e-06, 9.088),
                unscale(v, 6e-06, 9.088).exp_m1().max(5.899129519093549e-06) as f32,
            ),
        ];
        for (values, forth, back) in formulas {
            let text = format!(
                r#"[{{"key": "k", "name": "N", "family": "N", "channels": ["n"], "pixels": 2, "ground_m": 10.0,
                "latent": [1, 2, 2], "patch": 1, "scale_factor": 1.0, "values": {values}}}]"#
            );
            let table = ModalityTable::from_json(&text, Catalogue::bundled()).expect("table");
            let network = to_network(&table[0], &Value::Image(Raster::constant(1, 2, 2, x))).expect("values");
            prop_assert_eq!(network[0].to_bits(), forth.to_bits(), "{} {}", values, x);
            let physical = from_network(&table[0], &[v; 4], &PostOptions::default()).expect("values");
            let found = physical.image().map(|raster| raster.data[0].to_bits());
            prop_assert_eq!(found, Some(back.to_bits()), "{} {}", values, v);
        }
    }
}
