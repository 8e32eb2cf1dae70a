//! Parity with recorded numbers: runs a folder of fixtures and compares tensor by tensor.
//!
//! Layout: `config.json` (sizes, sampling runs, optionally a modality table), `denoiser.pth`, one `NAME.pth`
//! per autoencoder, and `expected.safetensors` with inputs and outputs (see `tests/fixtures/README.md`).

use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::{Family, Group, Modality, ModalityTable, Normalisation, ValueForm};
use crate::model::{
    AutoencoderSizes, DenoiserSizes, Engine, LoadedWeights, NoisePredictor, TensorData, network_order, read_weights,
};
use crate::sampler::{BatchName, Roles, SamplerOptions, Schedule, Start, sample};
use candle_core::Tensor;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How far one tensor is from what was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Key in `expected.safetensors`.
    pub name: String,
    /// max |a − b| / max |b|.
    pub relative_error: f64,
}

#[derive(Deserialize)]
struct Config {
    modalities: Option<Vec<LatentEntry>>,
    denoiser: Option<DenoiserSizes>,
    #[serde(default)]
    samples: BTreeMap<String, Run>,
    #[serde(default)]
    vaes: BTreeMap<String, Vae>,
}

#[derive(Deserialize)]
struct LatentEntry {
    key: String,
    kind: Kind,
    latent: [usize; 3],
    patch: usize,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Image,
    Scalar,
}

#[derive(Deserialize)]
struct Run {
    conditions: Vec<String>,
    steps: usize,
}

#[derive(Deserialize)]
struct Vae {
    base_width: usize,
    multipliers: Vec<usize>,
    residual_blocks: usize,
    channels: usize,
    scale_factor: f64,
}

/// Runs every part of the folder on an engine; `report` gets each tensor as it is done.
///
/// # Errors
/// When a file is missing or malformed, or a computation fails.
pub fn verify(dir: &Path, engine: &Engine, report: &mut dyn FnMut(&Comparison)) -> Result<Vec<Comparison>> {
    let path = dir.join("config.json");
    let text = crate::files::read_text(&path).map_err(|e| Error::io(&path, "read", &e))?;
    let config: Config = serde_json::from_str(&text)
        .map_err(|e| Error::file(&path, format!("This is no fixture configuration: {e}")))?;
    let path = dir.join("expected.safetensors");
    let mut check = Check { expected: read_weights(&path)?, path, engine, done: Vec::new(), report };

    if let Some(sizes) = &config.denoiser {
        sizes.check().map_err(|e| Error::file(dir.join("config.json"), e.to_string()))?;
        let table = match config.modalities {
            None => ModalityTable::published(),
            Some(entries) => latent_table(entries)?,
        };
        let mut weights = LoadedWeights::open(&dir.join("denoiser.pth"), None, engine.tensors())?;
        let table = network_order(table, weights.tensors());
        let denoiser = engine.denoiser(&table, sizes, &mut weights)?;
        weights.finish()?;
        check.forward(denoiser.as_ref())?;
        for (name, run) in &config.samples {
            check.run(denoiser.as_ref(), name, run)?;
        }
    }
    if check.expected.contains_key("schedule.t") {
        check.schedule()?;
    }
    for (name, vae) in &config.vaes {
        check.vae(name, vae, &dir.join(format!("{name}.pth")))?;
    }
    if check.done.is_empty() {
        return Err(Error::file(
            dir,
            "There is nothing to verify: config.json names neither a denoiser nor autoencoders",
        ));
    }
    Ok(check.done)
}

/// A table that only the denoiser needs: values are pictures, pixels follow from the latent.
fn latent_table(entries: Vec<LatentEntry>) -> Result<ModalityTable> {
    // What the table accepts is far below; a claim beyond it must reach the table's own check without an overflow.
    let pixels = |e: &LatentEntry| e.latent[1].saturating_mul(8);
    let side = entries.iter().map(|e| e.latent[1]).max().unwrap_or(1) as f64;
    let modality = |e: LatentEntry| {
        let scalar = e.kind == Kind::Scalar;
        let form = if scalar { ValueForm::Location } else { ValueForm::Picture };
        let group = Group {
            name: e.key.clone(),
            family: e.key.clone(),
            channels: vec!["value".into()],
            ground_m: if scalar { 0.0 } else { side / e.latent[1] as f64 },
            files: Vec::new(),
            about: Arc::new(Family::unknown(&e.key, form)),
        };
        Modality {
            group: Arc::new(group),
            pixels: if scalar { 0 } else { pixels(&e) },
            latent: e.latent,
            patch: e.patch,
            scale_factor: 1.0,
            normalisation: if scalar { Normalisation::UnitSphere } else { Normalisation::EightBit },
            key: e.key,
        }
    };
    ModalityTable::new(entries.into_iter().map(modality).collect())
}

struct Check<'a> {
    expected: BTreeMap<String, TensorData>,
    path: PathBuf,
    engine: &'a Engine,
    done: Vec<Comparison>,
    report: &'a mut dyn FnMut(&Comparison),
}

impl Check<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor> {
        let data = self.expected.get(name).ok_or_else(|| {
            Error::file(&self.path, format!("The tensor {name} is missing, though config.json asks for it"))
        })?;
        data.to_tensor(self.engine.tensors())
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.tensor(name)?.flatten_all()?.to_vec1()?)
    }

    fn compare(&mut self, name: &str, found: &Tensor) -> Result<()> {
        let expected = self.tensor(name)?;
        if expected.dims() != found.dims() {
            return Err(Error::file(
                &self.path,
                format!("{name} has shape {:?} in the file, but {:?} was computed", expected.dims(), found.dims()),
            ));
        }
        let (a, b): (Vec<f32>, Vec<f32>) = (found.flatten_all()?.to_vec1()?, expected.flatten_all()?.to_vec1()?);
        let largest = b.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
        // NaN must never pass: it counts as infinitely wrong.
        let difference = a.iter().zip(&b).fold(0f64, |m, (a, b)| {
            let d = (f64::from(*a) - f64::from(*b)).abs();
            if d.is_nan() { f64::INFINITY } else { m.max(d) }
        });
        let ratio = difference / largest.max(f64::MIN_POSITIVE);
        let relative_error = match () {
            () if difference == 0.0 => 0.0,
            () if ratio.is_finite() => ratio,
            () => f64::INFINITY,
        };
        let comparison = Comparison { name: name.to_owned(), relative_error };
        (self.report)(&comparison);
        self.done.push(comparison);
        Ok(())
    }

    fn compare_values(&mut self, name: &str, found: &[f64]) -> Result<()> {
        let found: Vec<f32> = found.iter().map(|&v| v as f32).collect();
        self.compare(name, &Tensor::new(found, self.engine.tensors())?)
    }

    fn forward(&mut self, denoiser: &dyn NoisePredictor) -> Result<()> {
        let keys: Vec<String> = denoiser.table().iter().map(|m| m.key.clone()).collect();
        let latents: Vec<Tensor> =
            keys.iter().map(|k| self.tensor(&format!("forward.in.{k}"))).collect::<Result<_>>()?;
        let times: Vec<Vec<f32>> =
            keys.iter().map(|k| self.values(&format!("forward.t.{k}"))).collect::<Result<_>>()?;
        let noise = denoiser.noise(&latents, &times)?;
        for (key, noise) in keys.iter().zip(&noise) {
            self.compare(&format!("forward.out.{key}"), noise)?;
        }
        Ok(())
    }

    fn schedule(&mut self) -> Result<()> {
        let schedule = Schedule::new();
        let map =
            |values: Vec<f32>, f: &dyn Fn(f64) -> f64| values.iter().map(|&v| f(f64::from(v))).collect::<Vec<_>>();
        let times = self.values("schedule.t")?;
        self.compare_values("schedule.log_alpha", &map(times.clone(), &|t| schedule.log_alpha(t)))?;
        self.compare_values("schedule.lambda", &map(times, &|t| schedule.lambda(t)))?;
        let lambdas = self.values("schedule.lambda")?;
        self.compare_values("schedule.inverse_lambda", &map(lambdas, &|l| schedule.inverse_lambda(l)))
    }

    fn run(&mut self, denoiser: &dyn NoisePredictor, name: &str, run: &Run) -> Result<()> {
        let table = denoiser.table();
        let given: Vec<usize> = run
            .conditions
            .iter()
            .map(|key| {
                table.index(key).ok_or_else(|| {
                    Error::request(format!("The run {name} gives {key}, which is not in the modality table."))
                })
            })
            .collect::<Result<_>>()?;
        let roles = Roles::new(table, &given, None)?;
        let (mut conditions, mut noise) = (vec![None; table.len()], vec![None; table.len()]);
        for (i, m) in table.iter().enumerate() {
            if given.contains(&i) {
                conditions[i] = Some(self.tensor(&format!("{name}.cond.{}", m.key))?);
            } else {
                noise[i] = Some(self.tensor(&format!("{name}.noise.{}", m.key))?);
            }
        }
        // Nothing is ignored, so no further noise is drawn, wherever this lies.
        let side_m = table.window_m();
        let ground = Footprint { crs: None, left: 0.0, top: 0.0, width_m: side_m, height_m: side_m };
        let batch = BatchName { seed: 0, ground, realisations: Vec::new() };
        let options = SamplerOptions { steps: run.steps, ..SamplerOptions::default() };
        let (start, mut times) = (Start { conditions, noise, batch }, Vec::new());
        let latents = sample(denoiser, &roles, &start, &options, &mut |evaluation| {
            times.push(evaluation.network_time);
            Ok(())
        })?;
        self.compare_values(&format!("{name}.network_times"), &times)?;
        for (m, latent) in table.iter().zip(latents) {
            if let Some(latent) = latent {
                self.compare(&format!("{name}.out.{}", m.key), &latent)?;
            }
        }
        Ok(())
    }

    fn vae(&mut self, name: &str, vae: &Vae, path: &Path) -> Result<()> {
        let sizes = AutoencoderSizes {
            base_width: vae.base_width,
            multipliers: vae.multipliers.clone(),
            residual_blocks: vae.residual_blocks,
            norm_groups: 32,
            linear_path: false,
        };
        sizes.check().map_err(|e| Error::file(path, e.to_string()))?;
        let latent = self.tensor(&format!("{name}.latent"))?;
        let mut weights = LoadedWeights::open(path, None, self.engine.tensors())?;
        let autoencoder = self.engine.autoencoder(&sizes, vae.channels, latent.dim(1)?, &mut weights)?;
        weights.finish()?;
        let moments = autoencoder.moments(&self.tensor(&format!("{name}.image"))?)?;
        self.compare(&format!("{name}.moments"), &moments)?;
        let decoded = autoencoder.decode(&(latent / vae.scale_factor)?)?;
        self.compare(&format!("{name}.decoded"), &decoded)
    }
}
