//! Answers to "what is the rest, if these pixels are so?", from any network, without training and without gradients.
//!
//! A network that sees a partly known image at one noise level estimates everything from noisy values, the known ones
//! too. What is wanted is the estimate given the known values y themselves. Nudge the noisy values at what is known
//! until the network's estimate there is y: its estimate of the rest is then the wanted one, exactly so if
//! everything is Gaussian (the mean of a Gaussian given part of it is linear, and its covariance is the network's
//! Jacobian), and to first order otherwise. The nudge is found by generalised conjugate residuals; each product with the
//! Jacobian is a difference of two estimates, so one more evaluation (a *probe*). It is carried over to the next step,
//! and probes stay small beside the noise, so the network never sees what it was not trained on.
//!
//! Methods that only put what is known into state or estimate (`RePaint`, arXiv 2201.09865) leave mean and variance of the rest
//! wrong; here they come out right, as the test below measures (benches/README.md has its table).

use crate::error::Result;
use crate::model::Known;
use candle_core::{DType, Tensor};

/// Size of a probe beside the noise.
const PROBE: f64 = 0.5;
/// Largest nudge that is carried over, beside the noise: root mean square over what is known.
const LARGEST: f64 = 3.0;
/// What is missing counts as nothing below this, root mean square in units of a latent.
const NOTHING: f64 = 1e-4;

/// Numbers of one item each.
type PerItem = Vec<f64>;

/// Keeps estimates to what is known, over all evaluations of a run.
pub(super) struct Conditioning {
    /// Position among the solved modalities, and what is known of it.
    known: Vec<(usize, Known)>,
    probes: usize,
    /// The nudge of the last evaluation, and σ²/α there.
    carried: Option<(Vec<Tensor>, f64)>,
}

/// A direction that was probed: the nudge, what the estimates change by, and what the measurements change by.
struct Probe {
    nudge: Vec<Tensor>,
    change: Vec<Tensor>,
    measured: Vec<Tensor>,
    length: PerItem,
}

impl Conditioning {
    pub(super) fn new(known: Vec<(usize, Known)>, probes: usize) -> Self {
        Self { known, probes, carried: None }
    }

    /// What is known, by position among the solved modalities.
    pub(super) fn known_mut(&mut self) -> &mut [(usize, Known)] {
        &mut self.known
    }

    /// The data prediction at a state, given what is known. `data` is the network's own at any state.
    pub(super) fn data(
        &mut self,
        state: &[Tensor],
        (alpha, sigma): (f64, f64),
        data: &mut dyn FnMut(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        let unit = sigma * sigma / alpha;
        let carried = match self.carried.take() {
            Some((nudge, before)) => {
                let nudge = scaled(&nudge, &vec![unit / before; state[0].dim(0)?])?;
                let largest: PerItem =
                    self.root_mean_square(&nudge)?.into_iter().map(|size| (LARGEST * sigma / size).min(1.0)).collect();
                Some(scaled(&nudge, &largest)?)
            }
            None => None,
        };
        let around = match &carried {
            Some(nudge) => self.nudged(state, nudge)?,
            None => state.to_vec(),
        };
        let first = data(&around)?;
        let mut estimate = first.clone();
        let mut missing: Vec<Tensor> =
            self.known.iter().map(|(i, known)| known.missing(&first[*i])).collect::<Result<_>>()?;
        let mut nudge = carried;
        let mut probes: Vec<Probe> = Vec::with_capacity(self.probes);
        for _ in 0..self.probes {
            let lacking = self.root_mean_square(&missing)?;
            if lacking.iter().all(|size| *size < NOTHING) {
                break;
            }
            let mut direction = missing.clone();
            let size: PerItem = self
                .root_mean_square(&direction)?
                .iter()
                .map(|size| PROBE * sigma / size.max(f64::MIN_POSITIVE))
                .collect();
            let there = data(&self.nudged(&around, &scaled(&direction, &size)?)?)?;
            let back: PerItem = size.iter().map(|size| 1.0 / size).collect();
            let difference: Vec<Tensor> =
                there.iter().zip(&first).map(|(there, here)| Ok((there - here)?)).collect::<Result<_>>()?;
            let mut change = scaled(&difference, &back)?;
            let mut measured = self.measured(&change)?;
            for earlier in &probes {
                let along = dot(&measured, &earlier.measured)?;
                let share: PerItem = along.iter().zip(&earlier.length).map(|(a, b)| -ratio(*a, *b)).collect();
                add(&mut direction, &earlier.nudge, &share)?;
                add(&mut change, &earlier.change, &share)?;
                add(&mut measured, &earlier.measured, &share)?;
            }
            let length = dot(&measured, &measured)?;
            // An item that lacks nothing is left as it is, whatever the others of its batch need.
            let step: PerItem = dot(&missing, &measured)?
                .iter()
                .zip(&length)
                .zip(&lacking)
                .map(|((along, length), lacking)| if *lacking < NOTHING { 0.0 } else { ratio(*along, *length) })
                .collect();
            add(&mut estimate, &change, &step)?;
            let less: PerItem = step.iter().map(|step| -step).collect();
            add(&mut missing, &measured, &less)?;
            match &mut nudge {
                Some(nudge) => add(nudge, &direction, &step)?,
                None => nudge = Some(scaled(&direction, &step)?),
            }
            probes.push(Probe { nudge: direction, change, measured, length });
        }
        self.carried = nudge.map(|nudge| (nudge, unit));
        for ((i, _), missing) in self.known.iter().zip(&missing) {
            estimate[*i] = (&estimate[*i] + missing)?;
        }
        Ok(estimate)
    }

    fn nudged(&self, state: &[Tensor], nudge: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut state = state.to_vec();
        for ((i, _), nudge) in self.known.iter().zip(nudge) {
            state[*i] = (&state[*i] + nudge)?;
        }
        Ok(state)
    }

    fn measured(&self, change: &[Tensor]) -> Result<Vec<Tensor>> {
        self.known.iter().map(|(i, known)| known.at_known(&change[*i])).collect()
    }

    /// Root mean square by item, over as many values as are known.
    fn root_mean_square(&self, values: &[Tensor]) -> Result<PerItem> {
        let count = self.known.iter().map(|(_, known)| known.count()).sum::<usize>().max(1) as f64;
        Ok(dot(values, values)?.into_iter().map(|sum| (sum / count).sqrt()).collect())
    }
}

/// a / b, and 0 where b is nothing.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 1e-30 { a / b } else { 0.0 }
}

/// Sum of products over everything but the batch.
fn dot(a: &[Tensor], b: &[Tensor]) -> Result<PerItem> {
    let mut sums: PerItem = Vec::new();
    for (a, b) in a.iter().zip(b) {
        let products = (a * b)?.flatten_from(1)?.to_dtype(DType::F32)?.sum(1)?;
        let of_one = products.to_vec1::<f32>()?;
        sums.resize(of_one.len(), 0.0);
        sums.iter_mut().zip(of_one).for_each(|(sum, one)| *sum += f64::from(one));
    }
    Ok(sums)
}

fn column(factors: &[f64], like: &Tensor) -> Result<Tensor> {
    let values: Vec<f32> = factors.iter().map(|factor| *factor as f32).collect();
    Ok(Tensor::from_vec(values, (factors.len(), 1, 1, 1), like.device())?.to_dtype(like.dtype())?)
}

fn scaled(tensors: &[Tensor], factors: &[f64]) -> Result<Vec<Tensor>> {
    tensors.iter().map(|tensor| Ok(tensor.broadcast_mul(&column(factors, tensor)?)?)).collect()
}

/// `to += factor · what`, item by item.
fn add(to: &mut [Tensor], what: &[Tensor], factors: &[f64]) -> Result<()> {
    for (to, what) in to.iter_mut().zip(what) {
        *to = (&*to + what.broadcast_mul(&column(factors, what)?)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Mask;
    use crate::model::Schedule;
    use crate::sampler::KeepQuality;
    use crate::sampler::solver::{Method, Solver, TimeGrid, solve};
    use candle_core::Device;
    use clap::ValueEnum;
    use nalgebra::{DMatrix, DVector};
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    const SIDE: usize = 4;
    const CELLS: usize = SIDE * SIDE;
    const SAMPLES: usize = 4096;

    /// Covariance of cells whose correlation falls by e with this distance.
    fn covariance(distance: f64) -> DMatrix<f64> {
        let apart = |i: usize, j: usize| {
            let d = |k: usize| ((i / k % SIDE) as f64 - (j / k % SIDE) as f64).powi(2);
            (d(1) + d(SIDE)).sqrt()
        };
        DMatrix::from_fn(CELLS, CELLS, |i, j| (-apart(i, j) / distance).exp())
    }

    fn normal(seed: u64, n: usize) -> Vec<f32> {
        let mut generator = ChaCha12Rng::seed_from_u64(seed);
        (0..n).map(|_| StandardNormal.sample(&mut generator)).collect()
    }

    fn tensor(values: Vec<f32>) -> Tensor {
        let items = values.len() / CELLS;
        Tensor::from_vec(values, (items, 1, SIDE, SIDE), &Device::Cpu).expect("tensor")
    }

    /// Samples of a Gaussian field given some of its cells, its exact estimate in place of a network; and evaluations.
    fn samples(
        covariance: &DMatrix<f64>,
        known: &Mask,
        y: &DVector<f64>,
        probes: usize,
        steps: usize,
    ) -> (Vec<f32>, usize) {
        let schedule = Schedule::new();
        let mut evaluations = 0;
        let mut network = |state: &[Tensor], t: f64| -> Result<Vec<Tensor>> {
            evaluations += 1;
            let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
            let noisy = covariance * alpha.powi(2) + DMatrix::identity(CELLS, CELLS) * sigma.powi(2);
            let gain = covariance * alpha * noisy.try_inverse().expect("a covariance");
            let values: Vec<f32> = gain.iter().map(|v| *v as f32).collect();
            // Column-major, so this is the transpose: rows of states times it are estimates.
            let gain = Tensor::from_vec(values, (CELLS, CELLS), &Device::Cpu)?;
            let data = state[0].flatten_from(1)?.matmul(&gain)?;
            Ok(vec![data.reshape(state[0].shape())?])
        };
        let at = tensor(y.iter().map(|v| *v as f32).collect());
        let known = Known::cells(&at, known).expect("known");
        let mut conditioning = Conditioning::new(vec![(0, known)], probes);
        let method = Method { solver: Solver::Unipc3, grid: TimeGrid::Lambda, steps };
        let start = vec![tensor(normal(3, SAMPLES * CELLS))];
        let (alpha, sigma) = (schedule.alpha(1.0), schedule.sigma(1.0));
        let data = conditioning.data(&start, (alpha, sigma), &mut |at| network(at, 1.0)).expect("estimate");
        let start = vec![((&start[0] * sigma).expect("noise") + (&data[0] * alpha).expect("data")).expect("start")];
        let mut noise = |state: &[Tensor], t: f64| -> Result<Vec<Tensor>> {
            let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
            let data = conditioning.data(state, (alpha, sigma), &mut |at| network(at, t))?;
            state.iter().zip(&data).map(|(x, d)| Ok(((x - (d * alpha)?)? / sigma)?)).collect()
        };
        let found = solve(&schedule, method, true, start, &mut noise, &mut |_, _| Ok(())).expect("solved");
        (found[0].flatten_all().and_then(|x| x.to_vec1()).expect("values"), evaluations)
    }

    /// Worst mean and variance of unknown cells beside the exact conditional ones, in standard errors of so many samples.
    fn errors(distance: f64, known: &Mask, probes: usize, steps: usize) -> ([f64; 2], usize) {
        let covariance = covariance(distance);
        let draw = DVector::from_iterator(CELLS, normal(11, CELLS).into_iter().map(f64::from));
        let y = covariance.clone().cholesky().expect("a covariance").l() * draw;
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..CELLS).partition(|cell| known.at(*cell));
        let part = |rows: &[usize], columns: &[usize]| covariance.select_rows(rows).select_columns(columns);
        let weights = part(&outside, &inside) * part(&inside, &inside).try_inverse().expect("a covariance");
        let mean = &weights * y.select_rows(&inside);
        let left = part(&outside, &outside) - &weights * part(&inside, &outside);
        let (found, evaluations) = samples(&covariance, known, &y, probes, steps);
        for (cell, sample) in
            inside.iter().flat_map(|cell| found.chunks_exact(CELLS).map(move |one| (*cell, one[*cell])))
        {
            assert!((f64::from(sample) - y[cell]).abs() < 1e-3, "cell {cell} is known");
        }
        let mut worst = [0.0f64; 2];
        for (k, &cell) in outside.iter().enumerate() {
            let values = || found.chunks_exact(CELLS).map(|one| f64::from(one[cell]));
            let n = SAMPLES as f64;
            let average = values().sum::<f64>() / n;
            let variance = values().map(|v| (v - average).powi(2)).sum::<f64>() / (n - 1.0);
            let exact = left[(k, k)];
            worst[0] = worst[0].max((average - mean[k]).abs() / (exact / n).sqrt());
            worst[1] = worst[1].max((variance / exact - 1.0).abs() / (2.0 / (n - 1.0)).sqrt());
        }
        (worst, evaluations)
    }

    #[test]
    fn with_everything_known_the_result_is_what_is_known() {
        let y = DVector::from_iterator(CELLS, normal(5, CELLS).into_iter().map(f64::from));
        let (found, evaluations) = samples(&covariance(2.0), &Mask::full(SIDE, SIDE), &y, 3, 6);
        let far = found.chunks_exact(CELLS).flatten().zip(y.iter().cycle()).map(|(a, b)| (f64::from(*a) - b).abs());
        assert!(far.fold(0.0, f64::max) < 1e-4);
        assert!(evaluations <= 8 * 4, "{evaluations}");
    }

    #[test]
    fn samples_of_a_gaussian_field_given_a_part_of_it_have_the_exact_mean_and_variance() {
        let half = Mask::from_fn(SIDE, SIDE, |cell| cell % SIDE < 2);
        let scattered = Mask::from_fn(SIDE, SIDE, |cell| cell % 3 == 0);
        for (distance, known, name) in [(2.0, &half, "half"), (2.0, &scattered, "scattered"), (6.0, &half, "smooth")] {
            for quality in KeepQuality::value_variants() {
                let ([mean, variance], evaluations) = errors(distance, known, quality.probes(), 20);
                eprintln!("{name}, {quality:?}: mean {mean:.1}, variance {variance:.1}; {evaluations} evaluations");
            }
            let careful = KeepQuality::Careful.probes();
            let ([mean, variance], evaluations) = errors(distance, known, careful, 20);
            assert!(mean < 3.0 && variance < 3.0, "{name}: {mean}, {variance}");
            assert!(evaluations <= (20 + 2) * (1 + careful), "{evaluations}");
            // Putting what is known into the estimate and no more, as pasting does, fails.
            let ([mean, variance], evaluations) = errors(distance, known, 0, 20);
            assert!(evaluations == 22 && mean.max(variance) > 6.0, "{name}: {mean}, {variance}");
        }
    }
}
