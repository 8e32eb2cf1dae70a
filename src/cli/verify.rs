//! `copgen verify`.

use crate::error::{Error, Result};
use crate::model::{Computing, DeviceChoice, Engine, Precision};
use crate::verify::verify;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare with recorded numbers, tensor by tensor.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Folder with config.json, expected.safetensors and weights.
    dir: PathBuf,
    /// Largest accepted max |a−b| / max |b|.
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    /// Where to compute: cpu, gpu (any graphics adapter), auto, cuda or metal (those need a build with that feature).
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// How weights are held and multiplied: bf16, i16 or i8 on the CPU, f16 on a gpu, f32 on any.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode> {
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return Err(Error::request("The tolerance must not be negative."));
        }
        let engine = Engine::of(Computing { device: self.device, precision: self.precision })?;
        let done = verify(&self.dir, &engine, &mut |c| tell!("{:<60} {:.3e}", c.name, c.relative_error))?;
        let largest = done.iter().fold(0.0, |m: f64, c| m.max(c.relative_error));
        tell!("max relative error {largest:.3e} over {} tensors on {}", done.len(), engine.name());
        let beyond: Vec<_> = done.iter().filter(|c| c.relative_error > self.tolerance).collect();
        let worst = beyond.iter().max_by(|a, b| a.relative_error.total_cmp(&b.relative_error));
        match worst {
            None => Ok(ExitCode::SUCCESS),
            Some(worst) => Err(Error::Compute(format!(
                "{} of {} tensors differ by more than the tolerance of {:e}; the furthest is {} with {:.3e}. Check the weights, the device and the precision, or accept more with --tolerance.",
                beyond.len(),
                done.len(),
                self.tolerance,
                worst.name,
                worst.relative_error
            ))),
        }
    }
}
