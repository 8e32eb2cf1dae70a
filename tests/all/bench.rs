//! `copgen bench` says what it measured, as text and as one JSON object.

use crate::common;

#[test]
fn one_object_holds_what_was_measured() {
    let mut command = common::copgen();
    command.args(["bench", "--size", "tiny", "--batch", "2", "--repeats", "2", "--json"]);
    let printed = common::success(&mut command);
    let measured: serde_json::Value = serde_json::from_str(&printed).expect("one object");
    for (key, least) in [
        ("seconds_per_evaluation", 1e-6),
        ("gflops", 1e-3),
        ("gemm_peak_gflops", 1e-1),
        ("share_of_gemm_peak", 1e-6),
        ("encode_seconds", 1e-6),
        ("decode_seconds", 1e-6),
    ] {
        let value = measured[key].as_f64().unwrap_or_else(|| panic!("{key}: {printed}"));
        assert!(value >= least && value < 1e6, "{key}: {value}");
    }
    assert_eq!(
        (&measured["device"], &measured["precision"], &measured["batch"]),
        (&"cpu".into(), &"f32".into(), &2.into())
    );
    let share = measured["gflops"].as_f64().expect("gflops") / measured["gemm_peak_gflops"].as_f64().expect("peak");
    assert!((share - measured["share_of_gemm_peak"].as_f64().expect("share")).abs() < 1e-9);
    if cfg!(target_os = "linux") {
        assert!(measured["peak_memory_bytes"].as_u64().is_some_and(|bytes| bytes > 10_000_000));
    }
}

#[test]
fn a_folder_of_the_other_kind_is_measured_without_counting_operations() {
    let mut command = common::copgen();
    let model = common::project("models/demo");
    command.args(["bench", "--repeats", "1", "--json", "--model"]).arg(&model);
    let measured: serde_json::Value = serde_json::from_str(&common::success(&mut command)).expect("one object");
    assert!(measured["gflops"].is_null() && measured["seconds_per_realisation"].as_f64().is_some_and(|s| s > 0.0));
    let message = common::failure(common::copgen().args(["bench", "--device", "abacus"]), 2);
    assert!(message.contains("abacus"), "{message}");
}
