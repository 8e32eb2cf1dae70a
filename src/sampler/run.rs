//! One sampling run of a batch of realisations: conditions in, latents out (specification E.3, E.4).

use super::conditioning::Conditioning;
use super::noise::{NoisePurpose, Stream};
use super::options::{IgnoredMode, SamplerOptions};
use super::roles::{Role, Roles};
use super::solver::{data_of, solve};
use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::model::{Known, NoisePredictor, Schedule, TRAIN_STEPS};
use crate::parallel;
use candle_core::Tensor;

/// What a batch of realisations starts from. Every tensor is `(batch, C, h, w)`.
#[derive(Debug, Clone)]
pub struct Start {
    /// Scaled latents of the given modalities, by table index.
    pub conditions: Vec<Option<Tensor>>,
    /// Initial noise of every modality that takes part in the solver, by table index.
    pub noise: Vec<Option<Tensor>>,
    /// The streams' seed, ground and the realisations of the batch: source of noise for ignored modalities.
    pub batch: BatchName,
}

/// Which realisations a batch holds.
#[derive(Debug, Clone)]
pub struct BatchName {
    /// Seed of the run.
    pub seed: u64,
    /// Ground the noise is bound to.
    pub ground: Footprint,
    /// Realisation of each item.
    pub realisations: Vec<u64>,
}

impl BatchName {
    /// Noise of one modality for the whole batch, each item from its own stream.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn normal(&self, denoiser: &dyn NoisePredictor, modality: usize, purpose: NoisePurpose) -> Result<Tensor> {
        let m = &denoiser.table()[modality];
        let items: Vec<Tensor> = self
            .realisations
            .iter()
            .map(|&realisation| {
                let stream = Stream { seed: self.seed, realisation, modality: &m.key, purpose };
                stream.on_ground(m, &self.ground, denoiser.device())
            })
            .collect::<Result<_>>()?;
        Ok(Tensor::cat(&items, 0)?)
    }
}

/// What a run shows after each network evaluation.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// Number of evaluations done, from 1.
    pub done: usize,
    /// Network time of this evaluation.
    pub network_time: f64,
    /// Data prediction (scaled latents) of the modalities of [`solved`], in that order.
    pub data: &'a [Tensor],
}

/// What is known in part of modalities that are generated.
pub struct Partly<'a> {
    /// By table index; nothing is known of the others.
    pub known: Vec<Option<Known>>,
    /// Evaluations beside the usual one of each step, at most.
    pub probes: usize,
    /// Called before each of these; an error from it ends the run.
    pub pause: &'a dyn Fn() -> Result<()>,
    /// Called after a third and two thirds of the evaluations with each partly known modality and its data prediction
    /// `(batch, C, h, w)`: a better latent of what is known, if there is one, now that its surroundings are.
    pub renew: &'a dyn Fn(usize, &Tensor) -> Result<Option<Tensor>>,
}

/// Modalities the solver moves: the generated ones, and with [`IgnoredMode::GenerateAndDiscard`] the ignored too.
pub fn solved(roles: &Roles, ignored: IgnoredMode) -> Vec<usize> {
    (0..roles.len())
        .filter(|&i| match roles[i] {
            Role::Generated => true,
            Role::Ignored => ignored == IgnoredMode::GenerateAndDiscard,
            Role::Given => false,
        })
        .collect()
}

/// Samples a batch. Returns the scaled latents of the solved modalities by table index.
///
/// `watch` is called after each evaluation; an error from it ends the run (so cancelling takes at most one).
///
/// # Errors
/// When a condition or its noise is missing, the device fails, numbers stop being finite, or `watch` says so.
pub fn sample(
    denoiser: &dyn NoisePredictor,
    roles: &Roles,
    start: &Start,
    options: &SamplerOptions,
    watch: &mut dyn FnMut(&Evaluation) -> Result<()>,
) -> Result<Vec<Option<Tensor>>> {
    sample_partly(denoiser, roles, start, None, options, watch)
}

/// As [`sample`], with some of the generated modalities known in part. Latents follow what is known closely, not
/// exactly; nothing known gives the same bits as [`sample`].
///
/// # Errors
/// As [`sample`]; what `partly` calls.
pub fn sample_partly(
    denoiser: &dyn NoisePredictor,
    roles: &Roles,
    start: &Start,
    partly: Option<Partly>,
    options: &SamplerOptions,
    watch: &mut dyn FnMut(&Evaluation) -> Result<()>,
) -> Result<Vec<Option<Tensor>>> {
    let table = denoiser.table();
    roles.check(table)?;
    let solved = solved(roles, options.ignored);
    let missing = |what: &str, i: usize| Error::request(format!("{} has no {what}.", table[i].name));
    let state: Vec<Tensor> = solved
        .iter()
        .map(|&i| start.noise[i].clone().ok_or_else(|| missing("initial noise", i)))
        .collect::<Result<_>>()?;
    let batch = state[0].dim(0)?;

    // What does not change from one evaluation to the next.
    let mut inputs: Vec<Option<Tensor>> = vec![None; table.len()];
    let mut times = vec![vec![0f32; batch]; table.len()];
    for i in roles.with(Role::Given) {
        inputs[i] = Some(start.conditions[i].clone().ok_or_else(|| missing("value to be given", i))?);
    }
    let ignored = if options.ignored == IgnoredMode::GenerateAndDiscard { vec![] } else { roles.with(Role::Ignored) };
    if options.ignored == IgnoredMode::NoiseAtEnd {
        for &i in &ignored {
            inputs[i] = Some(start.batch.normal(denoiser, i, NoisePurpose::Ignored { evaluation: 0 })?);
            times[i].fill(TRAIN_STEPS as f32);
        }
    }

    let partly = partly.filter(|partly| solved.iter().any(|i| partly.known.get(*i).is_some_and(Option::is_some)));
    // What is known goes into a network that has learned to take it; others are held to it from outside.
    let (partly, learned) = match partly {
        Some(Partly { known, .. }) if denoiser.takes_known() => (None, known),
        partly => (partly, Vec::new()),
    };

    let schedule = Schedule::new();
    let mut network = |state: &[Tensor], t: f64, evaluation: usize| -> Result<Vec<Tensor>> {
        for (&i, x) in solved.iter().zip(state) {
            inputs[i] = Some(x.clone());
            times[i].fill((TRAIN_STEPS as f64 * t) as f32);
        }
        if options.ignored == IgnoredMode::FreshNoiseAtZero {
            for &i in &ignored {
                inputs[i] = Some(start.batch.normal(denoiser, i, NoisePurpose::Ignored { evaluation })?);
            }
        }
        let latents: Vec<Tensor> =
            (0..table.len()).map(|i| inputs[i].clone().ok_or_else(|| missing("latent", i))).collect::<Result<_>>()?;
        let noise = evaluate(denoiser, &latents, &times, &learned)?;
        Ok(solved.iter().map(|&i| noise[i].clone()).collect())
    };
    let mut evaluation = 0;
    let mut partly = partly.map(|partly| PartlySolved::new(partly, &schedule, &solved, options.evaluations()));
    let state = match &mut partly {
        Some(partly) => partly.start(&state, &mut network)?,
        None => state,
    };
    let mut noise = |state: &[Tensor], t: f64| -> Result<Vec<Tensor>> {
        evaluation += 1;
        match &mut partly {
            Some(partly) => partly.noise(state, t, evaluation, &mut network),
            None => network(state, t, evaluation - 1),
        }
    };
    let mut done = 0;
    let mut watch = |t: f64, data: &[Tensor]| {
        done += 1;
        watch(&Evaluation { done, network_time: TRAIN_STEPS as f64 * t, data })
    };
    let result = solve(&schedule, options.method(), options.final_denoise, state, &mut noise, &mut watch)?;
    let mut latents = vec![None; table.len()];
    for (&i, x) in solved.iter().zip(result) {
        // A NaN anywhere makes the sum NaN.
        if !x.sum_all()?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?.is_finite() {
            return Err(Error::Compute(format!(
                "Sampling {} gave numbers that are not finite; the weights or a given value are out of range.",
                table[i].name
            )));
        }
        let known = learned.get(i).and_then(Option::as_ref);
        latents[i] = Some(known.map_or(Ok(x.clone()), |known| known.put_into(&x))?);
    }
    Ok(latents)
}

/// The noise in a state at continuous time t, in the evaluation of this number (from 0).
type Network<'a> = dyn FnMut(&[Tensor], f64, usize) -> Result<Vec<Tensor>> + 'a;

/// The network with its estimates kept to what is known.
struct PartlySolved<'a> {
    schedule: &'a Schedule,
    conditioning: Conditioning,
    pause: &'a dyn Fn() -> Result<()>,
    renew: &'a dyn Fn(usize, &Tensor) -> Result<Option<Tensor>>,
    /// Table indices of the solved modalities.
    solved: Vec<usize>,
    evaluations: usize,
}

impl<'a> PartlySolved<'a> {
    fn new(partly: Partly<'a>, schedule: &'a Schedule, solved: &[usize], evaluations: usize) -> Self {
        let Partly { mut known, probes, pause, renew } = partly;
        let place = |(position, i): (usize, &usize)| Some((position, known.get_mut(*i)?.take()?));
        let known = solved.iter().enumerate().filter_map(place).collect();
        Self {
            schedule,
            conditioning: Conditioning::new(known, probes),
            pause,
            renew,
            solved: solved.to_vec(),
            evaluations,
        }
    }

    /// Where sampling starts. The schedule leaves a little of the data even at its end (α is 0.07 there), so what is known
    /// shows in the very first state: pure noise would bias all that follows.
    fn start(&mut self, noise: &[Tensor], network: &mut Network) -> Result<Vec<Tensor>> {
        let (alpha, sigma) = self.level(1.0);
        let data = self.data(noise, 1.0, 0, network)?;
        noise.iter().zip(&data).map(|(noise, data)| Ok(((noise * sigma)? + (data * alpha)?)?)).collect()
    }

    /// Signal and noise at a time.
    fn level(&self, t: f64) -> (f64, f64) {
        (self.schedule.alpha(t), self.schedule.sigma(t))
    }

    /// The data prediction given what is known.
    fn data(&mut self, state: &[Tensor], t: f64, evaluation: usize, network: &mut Network) -> Result<Vec<Tensor>> {
        let (level, pause) = (self.level(t), self.pause);
        let mut data = |at: &[Tensor]| {
            pause()?;
            data_of(at, &network(at, t, evaluation)?, level)
        };
        self.conditioning.data(state, level, &mut data)
    }

    /// The noise that stands for the data prediction given what is known; evaluations are counted from 1.
    fn noise(&mut self, state: &[Tensor], t: f64, evaluation: usize, network: &mut Network) -> Result<Vec<Tensor>> {
        let (alpha, sigma) = self.level(t);
        let wanted = self.data(state, t, evaluation - 1, network)?;
        if [1, 2].map(|third| self.evaluations * third / 3).contains(&evaluation) {
            for (position, known) in self.conditioning.known_mut() {
                if let Some(latent) = (self.renew)(self.solved[*position], &wanted[*position])? {
                    known.renew(&latent)?;
                }
            }
        }
        state.iter().zip(&wanted).map(|(x, d)| Ok(((x - (d * alpha)?)? / sigma)?)).collect()
    }
}

/// One evaluation of the network, item by item side by side where it asks for that.
fn evaluate(
    denoiser: &dyn NoisePredictor,
    latents: &[Tensor],
    times: &[Vec<f32>],
    known: &[Option<Known>],
) -> Result<Vec<Tensor>> {
    let batch = latents[0].dim(0)?;
    if batch == 1 || !denoiser.one_by_one() {
        return denoiser.noise_knowing(latents, times, known);
    }
    let one = |&item: &usize| -> Result<Vec<Tensor>> {
        let latents: Vec<Tensor> =
            latents.iter().map(|l| Ok(l.narrow(0, item, 1)?.contiguous()?)).collect::<Result<_>>()?;
        let times: Vec<Vec<f32>> = times.iter().map(|t| vec![t[item]]).collect();
        denoiser.noise_knowing(&latents, &times, known)
    };
    let numbers: Vec<usize> = (0..batch).collect();
    let items = parallel::map(&numbers, one)?;
    (0..latents.len()).map(|m| Ok(Tensor::cat(&items.iter().map(|i| &i[m]).collect::<Vec<_>>(), 0)?)).collect()
}
