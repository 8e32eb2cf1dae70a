//! Solvers that look back: DPM-Solver++ (2M, 3M; arXiv 2211.01095) and UniPC (arXiv 2302.04867), data prediction.
//!
//! Both extrapolate D over the next step from the last evaluations. UniPC also goes back once the evaluation at the end
//! of a step is there, and takes the step again with it; that evaluation is not repeated, so correcting is free.
//!
//! At third order, and in every correction of order 2 or 3, D is the polynomial through what is known, integrated
//! exactly; then UniPC's B(h) drops out, and its predictor and 3M are the same.

use super::DataPrediction;
use super::weights::{halved, interpolated};
use crate::error::Result;
use crate::model::Schedule;
use candle_core::Tensor;
use std::collections::VecDeque;

/// One step: `x_e = keep·x_s + Σ weights·D`.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    keep: f64,
    weights: Vec<f64>,
}

impl Step {
    /// From time `start` to `end`, with D known at the times `known`. The first of them is `start`, or for a
    /// correction `end` and then `start`.
    fn new(schedule: &Schedule, start: f64, end: f64, known: &[f64]) -> Self {
        let (lambda, alpha) = (schedule.lambda(start), schedule.alpha(end));
        let h = schedule.lambda(end) - lambda;
        let places: Vec<f64> = known.iter().map(|&t| (schedule.lambda(t) - lambda) / h).collect();
        let mut weights = match places[..] {
            [0.0, other] => halved(h, other),
            [end, 0.0] => halved(h, end).into_iter().rev().collect(),
            _ => interpolated(h, &places),
        };
        weights.iter_mut().for_each(|w| *w *= alpha);
        Self { keep: schedule.sigma(end) / schedule.sigma(start), weights }
    }

    fn take<'a>(&self, state: &[Tensor], data: impl Iterator<Item = &'a Vec<Tensor>>) -> Result<Vec<Tensor>> {
        let mut next: Vec<Tensor> = state.iter().map(|x| Ok((x * self.keep)?)).collect::<Result<_>>()?;
        for (&weight, data) in self.weights.iter().zip(data) {
            for (x, d) in next.iter_mut().zip(data) {
                *x = (&*x + (d * weight)?)?;
            }
        }
        Ok(next)
    }
}

/// A solver of this family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Multistep {
    /// Highest order of a step.
    pub order: usize,
    /// Whether it goes back to correct steps.
    pub correct: bool,
    /// Whether the order falls again in the last steps: needed where λ leaps so far there that extrapolating fails, and
    /// otherwise a loss (`UniPC-3` on a grid even in λ: half as exact).
    pub fall: bool,
}

impl Multistep {
    /// Order of the step of this number: lower where too little lies behind.
    fn order(self, step: usize, steps: usize) -> usize {
        let most = self.order.min(step + 1);
        if self.fall { most.min(steps - step) } else { most }
    }
}

/// Solves over these times, one evaluation for each but the last.
pub(super) fn solve(
    data: &mut DataPrediction,
    times: &[f64],
    mut state: Vec<Tensor>,
    form: Multistep,
) -> Result<Vec<Tensor>> {
    let steps = times.len() - 1;
    // Newest first: as many evaluations as a correction of this order needs.
    let mut known: VecDeque<Vec<Tensor>> = VecDeque::with_capacity(form.order + 1);
    let mut before = state.clone();
    for i in 0..steps {
        known.push_front(data.at(&state, times[i])?);
        known.truncate(form.order + 1);
        let back = |n: usize| -> Vec<f64> { (0..n).map(|k| times[i - k]).collect() };
        if form.correct && i > 0 {
            let n = form.order(i - 1, steps) + 1;
            let step = Step::new(data.schedule, times[i - 1], times[i], &back(n));
            state = step.take(&before, known.iter())?;
        }
        let step = Step::new(data.schedule, times[i], times[i + 1], &back(form.order(i, steps)));
        let next = step.take(&state, known.iter())?;
        before = std::mem::replace(&mut state, next);
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_rise_at_the_start_and_fall_at_the_end_where_told_to() {
        let orders = |steps: usize, order: usize, fall: bool| {
            let form = Multistep { order, correct: false, fall };
            (0..steps).map(|i| form.order(i, steps)).collect::<Vec<_>>()
        };
        assert_eq!(orders(7, 3, true), [1, 2, 3, 3, 3, 2, 1]);
        assert_eq!(orders(4, 3, true), [1, 2, 2, 1]);
        assert_eq!(orders(4, 3, false), [1, 2, 3, 3]);
        assert_eq!(orders(2, 2, true), [1, 1]);
        assert_eq!((orders(1, 3, true), orders(1, 3, false)), (vec![1], vec![1]));
    }

    #[test]
    fn steps_are_those_of_the_papers() {
        let schedule = Schedule::new();
        let (a, b, c, d) = (0.9, 0.8, 0.65, 0.6);
        let [la, lb, lc, ld] = [a, b, c, d].map(|t| schedule.lambda(t));
        let (h, alpha) = (ld - lc, schedule.alpha(d));
        let phi = (-h).exp_m1();
        let close = |found: &Step, expected: &[f64]| {
            assert!((found.keep - schedule.sigma(d) / schedule.sigma(c)).abs() < 1e-15);
            assert_eq!(found.weights.len(), expected.len());
            let near = |(f, e): (&f64, &f64)| (f - e).abs() < 1e-12;
            assert!(found.weights.iter().zip(expected).all(near), "{found:?} {expected:?}");
        };
        // First order is DDIM.
        close(&Step::new(&schedule, c, d, &[c]), &[-alpha * phi]);
        // 2M, Algorithm 2: D = (1 + 1/(2r))·D₀ − 1/(2r)·D₁ with r = h₁/h.
        let half = 0.5 * h / (lc - lb);
        close(&Step::new(&schedule, c, d, &[c, b]), &[-alpha * phi * (1.0 + half), alpha * phi * half]);
        // UniC of order 1: half of what D changes by, over B(h).
        close(&Step::new(&schedule, c, d, &[d, c]), &[-0.5 * alpha * phi, -0.5 * alpha * phi]);
        // UniP and UniC beyond: R ρ = b of the paper, B(h) = e^{−h} − 1 after the change of sign for data prediction.
        let unified = |places: &[f64]| -> Vec<f64> {
            let n = places.len();
            let r = nalgebra::DMatrix::from_fn(n, n, |k, j| places[j].powi(k as i32));
            let (hh, mut factorial) = (-h, 1.0);
            let mut phi_k = phi / hh - 1.0;
            let b = nalgebra::DVector::from_iterator(
                n,
                (1..=n).map(|k| {
                    let b = phi_k * factorial / phi;
                    factorial *= (k + 1) as f64;
                    phi_k = phi_k / hh - 1.0 / factorial;
                    b
                }),
            );
            r.lu().solve(&b).expect("places differ").iter().zip(places).map(|(rho, p)| -alpha * phi * rho / p).collect()
        };
        let place = |l: f64| (l - lc) / h;
        let predicted = unified(&[place(lb), place(la)]);
        let start = -alpha * phi - predicted.iter().sum::<f64>();
        close(&Step::new(&schedule, c, d, &[c, b, a]), &[start, predicted[0], predicted[1]]);
        let corrected = unified(&[1.0, place(lb), place(la)]);
        let start = -alpha * phi - corrected.iter().sum::<f64>();
        close(&Step::new(&schedule, c, d, &[d, c, b, a]), &[corrected[0], start, corrected[1], corrected[2]]);
    }

    /// One step along the known solution of normal data: its error falls by 2^(n+1) as the step is halved, n being the
    /// number of places at which D is known.
    #[test]
    fn a_step_is_as_exact_as_it_knows_places() {
        let schedule = Schedule::new();
        let (mean, deviation) = (0.8, 0.5);
        let spread = |t: f64| (schedule.alpha(t) * deviation).hypot(schedule.sigma(t));
        let state = |t: f64| schedule.alpha(t) * mean + 1.3 * spread(t);
        let data = |t: f64| {
            let gain = schedule.alpha(t) * deviation.powi(2) / spread(t).powi(2);
            mean + gain * (state(t) - schedule.alpha(t) * mean)
        };
        let error = |h: f64, places: &[f64]| {
            let at = |place: f64| schedule.inverse_lambda(h * place);
            let known: Vec<f64> = places.iter().map(|&p| at(p)).collect();
            let step = Step::new(&schedule, at(0.0), at(1.0), &known);
            let moved: f64 = step.weights.iter().zip(&known).map(|(w, &t)| w * data(t)).sum();
            (step.keep * state(at(0.0)) + moved - state(at(1.0))).abs()
        };
        for places in
            [&[0.0][..], &[0.0, -1.0], &[0.0, -1.0, -2.0], &[1.0, 0.0], &[1.0, 0.0, -1.0], &[1.0, 0.0, -1.0, -2.0]]
        {
            let order = (error(0.08, places) / error(0.04, places)).log2();
            assert!((order - (places.len() + 1) as f64).abs() < 0.15, "{places:?}: {order:.2}");
        }
    }
}
