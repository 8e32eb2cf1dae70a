//! How far solvers with few evaluations end from the solution, beside what half precision changes.
//!
//! Everything starts from the same noise, so answers can be subtracted. The solution is what a solver of high order gives
//! with very many evaluations; a second one tells how well that is known.

use super::solver_study::{Deviation, ModalityDeviation, SolverStudy};
use super::solver_table::SolverTable;
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, PostOptions, Subject, Value, measured_unit, measured_value};
use crate::model::{
    Computing, DENOISER_FILE, DeviceChoice, Engine, Model, NoisePredictor, Precision, WeightFile, read_weights,
    write_manifest, write_tensors,
};
use crate::sampler::{
    BatchName, Method, NoisePurpose, Role, Roles, SamplerOptions, Solver, Start, TimeGrid, sample, solved,
};
use crate::scene::{Remarks, Scene, SceneOptions, Window};
use candle_core::{DType, Device, Tensor};
use std::path::Path;
use std::sync::atomic::Ordering;

/// What is asked: in words, what is given, what is generated (all else where nothing is named).
const QUESTIONS: [(&str, &[Subject], &[Subject]); 2] = [
    ("everything from elevation, land cover and radar", &[Subject::Elevation, Subject::LandCover, Subject::Radar], &[]),
    ("S2L2A from S2L1C", &[Subject::TopOfAtmosphere], &[Subject::SurfaceReflectance]),
];

/// One place and question, with the solution.
struct Case {
    question: &'static str,
    roles: Roles,
    start: Start,
    solution: Answer,
    /// Variance over realisations, mean over the latent's elements; by modality.
    variance: Vec<f64>,
}

/// Latents and values of every generated modality, by modality and realisation.
struct Answer {
    latents: Vec<Vec<Vec<f32>>>,
    values: Vec<Vec<Value>>,
}

/// Measures all; `progress` hears what is being worked on.
///
/// # Errors
/// When a place cannot be read or answers none of the questions, sampling fails, or the study was stopped.
pub fn compare_solvers(study: &SolverStudy, progress: &mut dyn FnMut(&str)) -> Result<SolverTable> {
    if study.samples < 2 {
        return Err(Error::request("Deviations are measured against the spread of realisations: ask for at least 2."));
    }
    progress("solving with very many evaluations");
    let reference = study.reference();
    // Another family, for how well the solution is known.
    let second = Method { solver: Solver::Singlestep, ..reference };
    let cases = study.cases()?;
    let published = study.model.denoiser();
    let mut table = SolverTable {
        second: study.deviation("solved by another family", published, &cases, second)?,
        half: Vec::new(),
        solvers: Vec::new(),
    };
    let folder = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), "create a folder in", &e))?;
    for (name, dtype) in [("float16", DType::F16), ("bfloat16", DType::BF16)] {
        progress(&format!("solving with weights in {name}"));
        let model = rounded(study.model, dtype, &folder.path().join(name))?;
        let weights = model.denoiser();
        table.half.push(study.deviation(&format!("weights in {name}"), weights, &cases, reference)?);
        let both = HalfPredictions { denoiser: weights, dtype };
        table.half.push(study.deviation(&format!("weights and predictions in {name}"), &both, &cases, reference)?);
    }
    if study.model.engine().is_cpu() {
        let integers = [("16-bit integers", Precision::I16), ("8-bit integers", Precision::I8)];
        for (name, precision) in integers.into_iter().chain([("bfloat16", Precision::Bf16)]) {
            let engine = Engine::of(Computing { device: DeviceChoice::Cpu, precision })?;
            let model = Model::open(&study.model.dir, &engine)?;
            // The bundled model's kind computes in float32 whatever is asked for.
            if model.engine().precision() != precision {
                continue;
            }
            progress(&format!("solving with products in {name}"));
            table.half.push(study.deviation(&format!("products in {name}"), model.denoiser(), &cases, reference)?);
        }
    }
    for &solver in study.solvers {
        for grid in TimeGrid::ALL {
            progress(&format!("{} on a grid even in {}", solver.name(), grid.name()));
            for &steps in study.steps {
                let method = Method { solver, grid, steps };
                table.solvers.push(study.deviation(solver.name(), published, &cases, method)?);
            }
        }
    }
    Ok(table)
}

impl SolverStudy<'_> {
    fn reference(&self) -> Method {
        Method { solver: Solver::Unipc3, grid: TimeGrid::Lambda, steps: self.reference }
    }

    fn cases(&self) -> Result<Vec<Case>> {
        let table = &self.model.manifest.modalities;
        let (mut cases, remarks) = (Vec::new(), Remarks::default());
        for dir in self.places {
            let scene = Scene::open_with(dir, &SceneOptions::of(table))?;
            let window = scene.window(table.window_m(), Window::Centre)?;
            let available = scene.available(table);
            for (question, given, generated) in QUESTIONS {
                let known = |subject: &Subject| !table.telling_of(*subject).is_empty();
                let all = |subjects: &[Subject]| -> Vec<usize> {
                    subjects.iter().flat_map(|subject| table.telling_of(*subject)).collect()
                };
                let asked = given.iter().chain(generated).all(known);
                let given = all(given);
                if !asked || !given.iter().all(|i| available.contains(i)) {
                    continue;
                }
                let generated = (!generated.is_empty()).then(|| all(generated));
                let roles = Roles::new(table, &given, generated.as_deref())?;
                let observation = scene.read(table, &window, &given)?;
                remarks.tell(scene.name(), &observation);
                let realisations = (0..self.samples as u64).collect();
                let batch = BatchName { seed: self.seed, ground: window.clone(), realisations };
                let mut start = Start { conditions: vec![None; table.len()], noise: vec![None; table.len()], batch };
                for i in given {
                    if let Some(given) = &observation.values[i] {
                        let latent = self.model.encode(i, &given.value, None)?;
                        start.conditions[i] = Some(Tensor::cat(&vec![latent; self.samples], 0)?);
                    }
                }
                for i in solved(&roles, SamplerOptions::default().ignored) {
                    start.noise[i] = Some(start.batch.normal(self.model.denoiser(), i, NoisePurpose::Initial)?);
                }
                let solution = self.answer(self.model.denoiser(), &roles, &start, self.reference())?;
                let variance = solution.latents.iter().map(|realisations| variance(realisations)).collect();
                cases.push(Case { question, roles, start, solution, variance });
            }
        }
        if cases.is_empty() {
            return Err(Error::request(
                "None of the places has what a question needs: elevation, land cover and radar, or Sentinel-2 L1C.",
            ));
        }
        Ok(cases)
    }

    fn answer(&self, denoiser: &dyn NoisePredictor, roles: &Roles, start: &Start, method: Method) -> Result<Answer> {
        let options = SamplerOptions {
            steps: method.steps,
            solver: method.solver,
            grid: Some(method.grid),
            ..SamplerOptions::default()
        };
        let tensors = sample(denoiser, roles, start, &options, &mut |_| {
            if self.cancel.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
        })?;
        let mut answer = Answer { latents: vec![Vec::new(); tensors.len()], values: vec![Vec::new(); tensors.len()] };
        for i in roles.with(Role::Generated) {
            let Some(all) = &tensors[i] else { continue };
            for item in 0..self.samples {
                let latent = all.narrow(0, item, 1)?;
                answer.values[i].push(self.model.decode(i, &latent, &PostOptions::default())?);
                answer.latents[i].push(latent.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?);
            }
        }
        Ok(answer)
    }

    fn deviation(
        &self,
        what: &str,
        denoiser: &dyn NoisePredictor,
        cases: &[Case],
        method: Method,
    ) -> Result<Deviation> {
        let table = &self.model.manifest.modalities;
        let answers: Vec<Answer> =
            cases.iter().map(|c| self.answer(denoiser, &c.roles, &c.start, method)).collect::<Result<_>>()?;
        let mut modalities = Vec::new();
        for (question, ..) in QUESTIONS {
            for i in 0..table.len() {
                let of: Vec<(&Case, &Answer)> = cases
                    .iter()
                    .zip(&answers)
                    .filter(|(case, answer)| case.question == question && !answer.latents[i].is_empty())
                    .collect();
                if !of.is_empty() {
                    modalities.push(modality_deviation(table, question, i, &of));
                }
            }
        }
        let mean = modalities.iter().map(|m| m.relative).sum::<f64>() / modalities.len() as f64;
        Ok(Deviation { what: what.to_owned(), method, mean, modalities })
    }
}

/// Pooled over places.
fn modality_deviation(
    table: &ModalityTable,
    question: &'static str,
    i: usize,
    of: &[(&Case, &Answer)],
) -> ModalityDeviation {
    let m = &table[i];
    let (mut squares, mut variance, mut pairs) = (0.0, 0.0, Vec::new());
    for (case, answer) in of {
        let mean =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64;
        let each = answer.latents[i].iter().zip(&case.solution.latents[i]).map(|(a, b)| mean(a, b));
        squares += each.sum::<f64>() / answer.latents[i].len() as f64;
        variance += case.variance[i];
        pairs.extend(answer.values[i].iter().zip(&case.solution.values[i]));
    }
    let over = |f: &dyn Fn(&Value, &Value) -> f64| pairs.iter().map(|(a, b)| f(a, b)).sum::<f64>() / pairs.len() as f64;
    let (physical, unit) = match of[0].1.values[i][0] {
        Value::Location(_) => (over(&kilometres), "km"),
        Value::Date(_) => (over(&days), "days"),
        Value::Image(_) => {
            let classes = m.classes().is_some();
            let pixel = |(a, b): (&f32, &f32)| match classes {
                true => f64::from(a != b),
                false => f64::from(measured_value(m, *a) - measured_value(m, *b)).powi(2),
            };
            let image = |a: &Value, b: &Value| {
                let (a, b) = (a.image().map_or(&[][..], |r| &r.data), b.image().map_or(&[][..], |r| &r.data));
                a.iter().zip(b).map(pixel).sum::<f64>() / a.len() as f64
            };
            let mean = over(&image);
            (if classes { mean } else { mean.sqrt() }, measured_unit(m))
        }
    };
    let relative = (squares / variance).sqrt();
    ModalityDeviation { question, modality: m.name.clone(), relative, physical, unit: unit.into() }
}

fn kilometres(a: &Value, b: &Value) -> f64 {
    match (a, b) {
        (Value::Location(a), Value::Location(b)) => crate::grid::haversine_km(a.lat, a.lon, b.lat, b.lon),
        _ => f64::NAN,
    }
}

fn days(a: &Value, b: &Value) -> f64 {
    match (a, b) {
        (Value::Date(a), Value::Date(b)) => a.duration_until(*b).as_hours().unsigned_abs() as f64 / 24.0,
        _ => f64::NAN,
    }
}

/// Unbiased variance over realisations of each element, then the mean over elements.
fn variance(realisations: &[Vec<f32>]) -> f64 {
    let n = realisations.len() as f64;
    let elements = realisations.first().map_or(0, Vec::len);
    let of = |k: usize| {
        let mean = realisations.iter().map(|m| f64::from(m[k])).sum::<f64>() / n;
        realisations.iter().map(|m| (f64::from(m[k]) - mean).powi(2)).sum::<f64>() / (n - 1.0)
    };
    (0..elements).map(of).sum::<f64>() / elements as f64
}

/// The model with the weights of its denoiser rounded, by way of a model folder. Everything else of a cascade stays as it is.
fn rounded(model: &Model, dtype: DType, dir: &Path) -> Result<Model> {
    let mut weights = read_weights(&model.dir.join(&model.manifest.denoiser_weights.file))?;
    for data in weights.values_mut() {
        let values: Vec<f32> = data.to_tensor(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        data.bytes = match dtype {
            DType::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        };
        data.dtype = dtype;
    }
    let sha256 = write_tensors(&dir.join(DENOISER_FILE), &weights, None)?;
    let mut manifest = model.manifest.clone();
    manifest.denoiser_weights = WeightFile { file: DENOISER_FILE.into(), sha256 };
    // Autoencoders are not asked of this copy.
    let others = manifest.files().into_keys().filter(|file| *file != Path::new(DENOISER_FILE));
    for file in others.filter(|_| !manifest.has_autoencoders()) {
        std::fs::copy(model.dir.join(file), dir.join(file)).map_err(|e| Error::io(dir, "write", &e))?;
    }
    write_manifest(dir, &manifest)?;
    Model::open(dir, model.engine())
}

/// A denoiser of which inputs and predictions pass through half precision, as they do in the published code.
struct HalfPredictions<'a> {
    denoiser: &'a dyn NoisePredictor,
    dtype: DType,
}

impl HalfPredictions<'_> {
    fn round(&self, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
        tensors.iter().map(|t| Ok(t.to_dtype(self.dtype)?.to_dtype(DType::F32)?)).collect()
    }
}

impl NoisePredictor for HalfPredictions<'_> {
    fn table(&self) -> &ModalityTable {
        self.denoiser.table()
    }

    fn device(&self) -> &Device {
        self.denoiser.device()
    }

    fn noise(&self, latents: &[Tensor], times: &[Vec<f32>]) -> Result<Vec<Tensor>> {
        self.round(&self.denoiser.noise(&self.round(latents)?, times)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variance_is_over_members_and_unbiased() {
        let found = variance(&[vec![1.0, 5.0], vec![3.0, 5.0]]);
        assert!((found - 1.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn scalars_differ_in_days_and_kilometres() {
        let date = |day| Value::Date(jiff::civil::date(2023, 3, day));
        assert_eq!(days(&date(9), &date(2)), 7.0);
        let at = |lat| Value::Location(crate::modality::Location { lat, lon: 10.0 });
        assert!((kilometres(&at(0.0), &at(1.0)) - 111.2).abs() < 0.1);
    }
}
