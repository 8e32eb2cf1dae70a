//! Parity with numbers recorded from the published implementation (`tests/fixtures/README.md`).

use copgen::model::{Computing, DeviceChoice, Engine, Precision};
use copgen::verify::verify;
use std::path::Path;

fn largest_error(folder: &str, precision: Precision, tensors: usize) -> f64 {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let engine = Engine::of(Computing { device: DeviceChoice::Cpu, precision }).expect("engine");
    let done = verify(&dir, &engine, &mut |c| println!("{:<50} {:.2e}", c.name, c.relative_error)).expect("verify");
    assert_eq!(done.len(), tensors, "every recorded output is compared");
    done.iter().fold(0.0, |m, c| m.max(c.relative_error))
}

#[test]
fn published_system() {
    // 12 outputs of one evaluation, 3 schedule tables, 9 + 9 + 12 sampled latents with their times, 2 × 2 autoencoder outputs.
    assert!(largest_error("parity", Precision::F32, 12 + 3 + 30 + 3 + 4) < 1e-4);
}

#[test]
fn four_modality_predecessor() {
    assert!(largest_error("parity-beta", Precision::F32, 4 + 2 + 1) < 1e-4);
}

/// The bound that 16-bit integers keep to on both systems; measured 3.3e-3 and 1.1e-3.
#[test]
fn integers_stay_close_to_the_recorded_numbers() {
    for (folder, tensors) in [("parity", 52), ("parity-beta", 7)] {
        let error = largest_error(folder, Precision::I16, tensors);
        assert!(error > 1e-5 && error < 1e-2, "{folder}: {error}");
    }
}

/// The bound that bfloat16 keeps to on both systems.
#[test]
fn bfloat16_stays_close_to_the_recorded_numbers() {
    for (folder, tensors) in [("parity", 52), ("parity-beta", 7)] {
        let error = largest_error(folder, Precision::Bf16, tensors);
        println!("{folder}: {error:.1e}");
        assert!(error > 1e-4 && error < 1e-2, "{folder}: {error}");
    }
}

/// The bound that 8-bit integers keep to on both systems; without a matrix unit they are 16-bit ones. The recorded networks are tiny,
/// so that a value is a larger part of its layer than in real ones.
#[test]
fn small_integers_stay_near_the_recorded_numbers() {
    for (folder, tensors) in [("parity", 52), ("parity-beta", 7)] {
        let error = largest_error(folder, Precision::I8, tensors);
        println!("{folder}: {error:.1e}");
        assert!(error > 1e-5 && error < 6e-2, "{folder}: {error}");
    }
}
