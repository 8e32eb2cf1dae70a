//! Parity with numbers recorded from the published implementation (`tests/fixtures/README.md`).

use copgen::model::Engine;
use copgen::verify::verify;
use std::path::Path;

fn largest_error(folder: &str, tensors: usize) -> f64 {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let done =
        verify(&dir, &Engine::cpu(), &mut |c| println!("{:<50} {:.2e}", c.name, c.relative_error)).expect("verify");
    assert_eq!(done.len(), tensors, "every recorded output is compared");
    done.iter().fold(0.0, |m, c| m.max(c.relative_error))
}

#[test]
fn published_system() {
    // 12 outputs of one evaluation, 3 schedule tables, 9 + 9 + 12 sampled latents with their times, 2 × 2 autoencoder outputs.
    assert!(largest_error("parity", 12 + 3 + 30 + 3 + 4) < 1e-4);
}

#[test]
fn four_modality_predecessor() {
    assert!(largest_error("parity-beta", 4 + 2 + 1) < 1e-4);
}
