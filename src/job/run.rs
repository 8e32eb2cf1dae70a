//! Runs one request from the scene to its realisations.

use super::keep::paste;
use super::observe::{fillings, observe};
use super::{Event, Keep, Request, Stage};
use crate::ensemble::Realisation;
use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::{Modality, ModalityTable, PostOptions, Raster, Subject, Value};
use crate::model::{Engine, Model, Moments};
use crate::sampler::{
    BatchName, ConditionLatent, Evaluation, NoisePurpose, Partly, Role, Start, Stream, sample_partly, solved,
};
use crate::scene::Observation;
use candle_core::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Runs a request on a loaded model. Events go to `send` as things happen; realisations one by one.
///
/// With `preview`, the data prediction is decoded now and then, never for more than about a fifth of the time.
/// Setting `cancel` ends the job within one network evaluation. When the model's device fails, the job goes on with the
/// same model on the CPU, and says so; what is finished is kept.
///
/// # Errors
/// What made the job impossible or failed, or [`Error::Cancelled`]; realisations already sent stay valid.
pub fn run(
    model: &Model,
    request: &Request,
    cancel: &AtomicBool,
    preview: bool,
    send: &mut dyn FnMut(Event),
) -> Result<()> {
    let table = &model.manifest.modalities;
    request.roles.check(table)?;
    // Before anything is computed, not at the end.
    model.manifest.check_present(&[request.roles.with(Role::Given), request.roles.with(Role::Generated)].concat())?;
    if request.samples == 0 || request.batch == 0 {
        return Err(Error::request("The numbers of samples and of realisations per batch must be at least 1."));
    }
    // The last number is the stream of draws that all realisations share.
    if request.first.checked_add(request.samples as u64).is_none_or(|end| end == u64::MAX) {
        return Err(Error::request("The numbers of the realisations are too large."));
    }
    request.options.method().check()?;
    send(Event::Stage(Stage::ReadingScene));
    let mut observation = observe(table, request)?;
    one_window(table, &observation.footprint)?;
    let said = fillings(table, &request.roles.with(Role::Given), &observation)?;
    observation.notes.extend(said);
    let observation = Arc::new(observation);
    send(Event::Observed(observation.clone()));

    send(Event::Stage(Stage::Encoding));
    let mut conditions = Vec::new();
    let mut models = Models { first: model, spare: None };
    for i in request.roles.with(Role::Given) {
        stop_if(cancel)?;
        let condition = match Condition::new(models.now(), request, &observation, i) {
            Err(error) => {
                models.turn_to_cpu(error, send)?;
                Condition::new(models.now(), request, &observation, i)?
            }
            Ok(condition) => condition,
        };
        conditions.push(condition);
    }

    let all: Vec<u64> = (request.first..).take(request.samples).collect();
    let evaluations = request.options.evaluations();
    let mut job = Job {
        request,
        cancel,
        clock: Clock { started: Instant::now(), done: 0, total: all.chunks(request.batch).count() * evaluations },
        preview: if preview { Preview::new(model, request) } else { None },
        finished: 0,
        send,
    };
    for chunk in all.chunks(request.batch) {
        let (finished, evaluated) = (job.finished, job.clock.done);
        if let Err(error) = job.batch(models.now(), &observation, &conditions, chunk) {
            models.turn_to_cpu(error, job.send)?;
            job.clock.done = evaluated;
            let rest = &chunk[job.finished - finished..];
            job.batch(models.now(), &observation, &conditions, rest)?;
        }
    }
    Ok(())
}

/// The model, and once its device failed, the same on the CPU.
struct Models<'a> {
    first: &'a Model,
    spare: Option<Model>,
}

impl Models<'_> {
    fn now(&self) -> &Model {
        self.spare.as_ref().unwrap_or(self.first)
    }

    /// Goes on on the CPU if the error is one of a device; otherwise returns it.
    fn turn_to_cpu(&mut self, error: Error, send: &mut dyn FnMut(Event)) -> Result<()> {
        match error {
            Error::Device(problem) if !self.now().engine().is_cpu() => {
                send(Event::Note(format!("{problem} The rest is computed on the CPU.")));
                self.spare = Some(Model::open(&self.first.dir, &Engine::cpu())?);
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// Networks take windows of one size.
fn one_window(table: &ModalityTable, ground: &Footprint) -> Result<()> {
    let side_m = table.window_m();
    if [ground.width_m, ground.height_m].iter().all(|side| (side - side_m).abs() < 1e-3) {
        return Ok(());
    }
    Err(Error::request(format!(
        "The area asked for covers {} × {} m, but this model samples windows of {side_m} × {side_m} m; ask for a window of it.",
        ground.width_m, ground.height_m
    )))
}

fn stop_if(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
}

/// The latent of a given modality, and how each realisation gets its own (specification I.5).
struct Condition {
    modality: usize,
    latent: Latent,
}

enum Latent {
    /// The same for all realisations, scaled.
    Fixed(Tensor),
    /// Drawn for each realisation from this posterior.
    Posterior(Moments),
}

impl Condition {
    fn new(model: &Model, request: &Request, observation: &Observation, modality: usize) -> Result<Self> {
        let m = &model.manifest.modalities[modality];
        let value = &observation.values[modality]
            .as_ref()
            .ok_or_else(|| {
                Error::request(format!(
                    "{} is to be given, but this place has no data for it: set a value, or choose generated or ignored.",
                    m.name
                ))
            })?
            .value;
        let latent = match (request.options.condition, model.posterior(modality, value)?) {
            (ConditionLatent::DrawPerRealisation, Some(moments)) => Latent::Posterior(moments),
            (ConditionLatent::SharedDraw, Some(_)) => {
                let noise = stream(request, &m.key, u64::MAX).on_ground(m, &observation.footprint, model.device())?;
                Latent::Fixed(model.encode(modality, value, Some(&noise))?)
            }
            _ => Latent::Fixed(model.encode(modality, value, None)?),
        };
        Ok(Self { modality, latent })
    }

    /// `(batch, C, h, w)` for these realisations.
    fn latents(
        &self,
        model: &Model,
        request: &Request,
        observation: &Observation,
        realisations: &[u64],
    ) -> Result<Tensor> {
        let m = &model.manifest.modalities[self.modality];
        let one = |realisation: &u64| -> Result<Tensor> {
            Ok(match &self.latent {
                Latent::Fixed(latent) => latent.clone(),
                Latent::Posterior(moments) => {
                    let stream = stream(request, &m.key, *realisation);
                    let noise = stream.on_ground(m, &observation.footprint, model.device())?;
                    (moments.draw(&noise)? * m.scale_factor)?
                }
            })
        };
        let items: Vec<Tensor> = realisations.iter().map(one).collect::<Result<_>>()?;
        Ok(Tensor::cat(&items, 0)?)
    }
}

fn stream<'a>(request: &Request, modality: &'a str, realisation: u64) -> Stream<'a> {
    Stream { seed: request.seed, realisation, modality, purpose: NoisePurpose::Condition }
}

/// A sampled value with what is kept of it in its place.
fn with_kept(m: &Modality, keep: Option<&Keep>, kept: Option<&Raster>, value: Value) -> Result<Value> {
    match (keep, kept, value) {
        (Some(keep), Some(observed), Value::Image(raster)) => {
            paste(m, observed, keep.buffer_m, raster).map(Value::Image)
        }
        (_, _, value) => Ok(value),
    }
}

/// Latents of a batch with what is known of an image put into the estimates of it: what surrounds it by then is better
/// than the smooth filling it was first encoded with.
fn renewed(model: &Model, i: usize, known: &Raster, data: &Tensor, post: &PostOptions) -> Result<Tensor> {
    let m = &model.manifest.modalities[i];
    let one = |item: usize| -> Result<Tensor> {
        match model.decode(i, &data.narrow(0, item, 1)?, post)? {
            Value::Image(raster) => model.encode(i, &Value::Image(paste(m, known, 0.0, raster)?), None),
            _ => Err(Error::Compute(format!("{} is no raster.", m.name))),
        }
    };
    let items: Vec<Tensor> = (0..data.dim(0)?).map(one).collect::<Result<_>>()?;
    Ok(Tensor::cat(&items, 0)?)
}

struct Clock {
    started: Instant,
    done: usize,
    total: usize,
}

impl Clock {
    fn eta(&self) -> Option<Duration> {
        let left = self.total.checked_sub(self.done)? as f64;
        (self.done > 0).then(|| self.started.elapsed().mul_f64(left / self.done as f64))
    }
}

/// Which modality to show while sampling, and when it was last shown.
struct Preview {
    modality: usize,
    /// Position among the solved modalities.
    position: usize,
    shown: Instant,
    cost: Duration,
}

impl Preview {
    /// Surface reflectance at 10 m if it is generated, else the first generated image.
    fn new(model: &Model, request: &Request) -> Option<Self> {
        let table = &model.manifest.modalities;
        let generated = request.roles.with(Role::Generated);
        let images = || generated.iter().copied().filter(|&i| !table[i].is_scalar());
        let modality =
            images().find(|&i| table.finest(Subject::SurfaceReflectance) == Some(i)).or_else(|| images().next())?;
        let position = solved(&request.roles, request.options.ignored).iter().position(|&i| i == modality)?;
        Some(Self { modality, position, shown: Instant::now(), cost: Duration::from_millis(100) })
    }

    fn due(&self) -> bool {
        self.shown.elapsed() > self.cost * 5
    }
}

struct Job<'a> {
    request: &'a Request,
    cancel: &'a AtomicBool,
    clock: Clock,
    preview: Option<Preview>,
    /// Realisations delivered.
    finished: usize,
    send: &'a mut dyn FnMut(Event),
}

impl Job<'_> {
    fn batch(
        &mut self,
        model: &Model,
        observation: &Observation,
        conditions: &[Condition],
        realisations: &[u64],
    ) -> Result<()> {
        stop_if(self.cancel)?;
        (self.send)(Event::Stage(Stage::Sampling { device: model.sampling_engine().name() }));
        let request = self.request;
        let table = &model.manifest.modalities;
        let (ground, realisations_of_batch) = (observation.footprint.clone(), realisations.to_vec());
        let batch = BatchName { seed: request.seed, ground, realisations: realisations_of_batch };
        let mut start = Start { conditions: vec![None; table.len()], noise: vec![None; table.len()], batch };
        for condition in conditions {
            start.conditions[condition.modality] =
                Some(condition.latents(model, request, observation, realisations)?);
        }
        for i in solved(&request.roles, request.options.ignored) {
            start.noise[i] = Some(start.batch.normal(model.denoiser(), i, NoisePurpose::Initial)?);
        }
        let kept = |i: usize| observation.values[i].as_ref().filter(|_| request.keep.contains_key(&i))?.value.image();
        let known = |i: usize| kept(i).map_or(Ok(None), |raster| model.known(i, raster));
        let cancel = self.cancel;
        let partly = Partly {
            known: (0..table.len()).map(known).collect::<Result<_>>()?,
            probes: request.options.keep.probes(),
            pause: &|| stop_if(cancel),
            renew: &|i, data| match kept(i) {
                Some(raster) if model.has_autoencoders() => renewed(model, i, raster, data, &request.post).map(Some),
                _ => Ok(None),
            },
        };
        let roles = &request.roles;
        let latents =
            sample_partly(model.denoiser(), roles, &start, Some(partly), &request.options, &mut |evaluation| {
                self.after(model, evaluation, realisations[0])
            })?;
        (self.send)(Event::Stage(Stage::Decoding));
        for (item, &index) in realisations.iter().enumerate() {
            let mut wanted = vec![None; table.len()];
            for i in request.roles.with(Role::Generated) {
                wanted[i] = latents[i].as_ref().map(|latent| latent.narrow(0, item, 1)).transpose()?;
            }
            let knows = |i: usize| request.roles[i] == Role::Given || request.keep.contains_key(&i);
            let known: Vec<Option<&Value>> = (0..table.len())
                .map(|i| observation.values[i].as_ref().map(|given| &given.value).filter(|_| knows(i)))
                .collect();
            let noise = model.drawing_noise().map_or_else(Vec::new, |[channels, rows, columns]| {
                let stream = Stream { purpose: NoisePurpose::Drawing, ..stream(request, "", index) };
                stream.cells(channels, rows, columns, &observation.footprint)
            });
            let mut values = model.draw(&wanted, &known, &noise, &request.post, &|| stop_if(cancel))?;
            for (i, value) in values.iter_mut().enumerate() {
                if let Some(drawn) = value.take() {
                    *value = Some(with_kept(&table[i], request.keep.get(&i), kept(i), drawn)?);
                }
            }
            let observed = |i: usize| Some((i, kept(i)?.valid()?.clone()));
            let kept = (0..table.len()).filter_map(observed).collect();
            let computed = model.describe_computing();
            let made = Realisation { index, seed: request.seed, values, kept, computed };
            (self.send)(Event::Realisation(Arc::new(made)));
            self.finished += 1;
        }
        Ok(())
    }

    fn after(&mut self, model: &Model, evaluation: &Evaluation, index: u64) -> Result<()> {
        stop_if(self.cancel)?;
        self.clock.done += 1;
        (self.send)(Event::Progress { done: self.clock.done, total: self.clock.total, eta: self.clock.eta() });
        if let Some(preview) = self.preview.as_mut().filter(|p| p.due()) {
            let begun = Instant::now();
            let latent = evaluation.data[preview.position].narrow(0, 0, 1)?;
            let value = model.decode(preview.modality, &latent, &self.request.post)?;
            if let Value::Image(raster) = value {
                (self.send)(Event::Preview { index, modality: preview.modality, raster });
            }
            preview.cost = begun.elapsed();
            preview.shown = Instant::now();
        }
        Ok(())
    }
}
