//! Solvers of the sampling equation from t = 1 to t = 0.001 (specification E.2): the published one, and two families
//! that need fewer evaluations.
//!
//! All integrate `x(λ)/σ = ∫ e^λ D dλ`, where D is the data prediction, and keep D where they know it: a solver is a
//! choice of where to evaluate and of the weights of what it found. Weights are float64, tensors what they came as.

mod grid;
mod multistep;
mod singlestep;
mod weights;

pub(super) use grid::T_END;
pub use grid::TimeGrid;

use crate::error::{Error, Result};
use crate::model::Schedule;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Most evaluations of a run.
pub const MOST_STEPS: usize = 1000;

/// How the sampling equation is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// DPM-Solver++ in single steps of order 3 (arXiv 2211.01095), the published solver.
    #[default]
    Singlestep,
    /// DPM-Solver++ (2M): the same paper's Algorithm 2, which looks back at one earlier evaluation.
    Multistep2,
    /// The same looking back at two.
    Multistep3,
    /// UniPC of order 2 (arXiv 2302.04867, B(h) = e^h − 1): each step is corrected by the evaluation that ends it.
    Unipc2,
    /// The same of order 3.
    Unipc3,
}

impl Solver {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Singlestep, Self::Multistep2, Self::Multistep3, Self::Unipc2, Self::Unipc3];

    /// The grid it does best on (`benches/solvers.md`); of the published solver the published one.
    pub fn grid(self) -> TimeGrid {
        match self {
            Self::Singlestep => TimeGrid::Time,
            Self::Multistep2 | Self::Multistep3 | Self::Unipc2 | Self::Unipc3 => TimeGrid::Lambda,
        }
    }

    /// Its name in the literature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Singlestep => "DPM-Solver++ singlestep",
            Self::Multistep2 => "DPM-Solver++ 2M",
            Self::Multistep3 => "DPM-Solver++ 3M",
            Self::Unipc2 => "UniPC-2",
            Self::Unipc3 => "UniPC-3",
        }
    }
}

/// A solver with its grid of times and number of evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Method {
    /// The solver.
    pub solver: Solver,
    /// Where it evaluates.
    pub grid: TimeGrid,
    /// Evaluations, 1 to [`MOST_STEPS`]. Where they are too few for an order, a lower one takes its place.
    pub steps: usize,
}

impl Method {
    /// Whether the number of evaluations can be meant.
    ///
    /// # Errors
    /// When it is 0 or beyond [`MOST_STEPS`].
    pub fn check(&self) -> Result<()> {
        match self.steps {
            1..=MOST_STEPS => Ok(()),
            steps => Err(Error::request(format!("The number of steps must be 1 to {MOST_STEPS}, got {steps}."))),
        }
    }
}

/// Predicts the noise in each tensor of a state at continuous time t.
pub(super) type Predictor<'a> = dyn FnMut(&[Tensor], f64) -> Result<Vec<Tensor>> + 'a;

/// Sees time and data prediction of each evaluation; an error from it ends the run.
pub(super) type Watch<'a> = dyn FnMut(f64, &[Tensor]) -> Result<()> + 'a;

/// Solves from t = 1 to t = 0.001 with exactly `method.steps` evaluations.
///
/// `state` holds one tensor per generated modality (any float type); `noise(state, t)` predicts the noise in
/// them at continuous time t (network time 1000·t). With `final_denoise` one more evaluation at t = 0.001 gives the
/// result.
///
/// # Errors
/// Those of `noise` and `watch`; a wrong number of steps.
pub fn solve(
    schedule: &Schedule,
    method: Method,
    final_denoise: bool,
    state: Vec<Tensor>,
    noise: &mut Predictor,
    watch: &mut Watch,
) -> Result<Vec<Tensor>> {
    method.check()?;
    let times = method.grid.times(schedule, method.steps);
    let mut data = DataPrediction { schedule, noise, watch };
    let form = |order, correct| multistep::Multistep { order, correct, fall: method.grid != TimeGrid::Lambda };
    let state = match method.solver {
        Solver::Singlestep => singlestep::solve(&mut data, &times, state),
        Solver::Multistep2 => multistep::solve(&mut data, &times, state, form(2, false)),
        Solver::Multistep3 => multistep::solve(&mut data, &times, state, form(3, false)),
        Solver::Unipc2 => multistep::solve(&mut data, &times, state, form(2, true)),
        Solver::Unipc3 => multistep::solve(&mut data, &times, state, form(3, true)),
    }?;
    if final_denoise { data.at(&state, T_END) } else { Ok(state) }
}

/// What every solver asks for.
struct DataPrediction<'a, 'n, 'w> {
    schedule: &'a Schedule,
    noise: &'a mut Predictor<'n>,
    watch: &'a mut Watch<'w>,
}

impl DataPrediction<'_, '_, '_> {
    /// One evaluation: `D(x, t) = (x − σ ε) / α`.
    fn at(&mut self, state: &[Tensor], t: f64) -> Result<Vec<Tensor>> {
        let (alpha, sigma) = (self.schedule.alpha(t), self.schedule.sigma(t));
        let epsilon = (self.noise)(state, t)?;
        let data = data_of(state, &epsilon, (alpha, sigma))?;
        (self.watch)(t, &data)?;
        Ok(data)
    }
}

/// The data prediction that a prediction of noise means: `D = (x − σ ε) / α`.
pub(super) fn data_of(state: &[Tensor], noise: &[Tensor], (alpha, sigma): (f64, f64)) -> Result<Vec<Tensor>> {
    state.iter().zip(noise).map(|(x, e)| Ok(((x - (e * sigma)?)? / alpha)?)).collect()
}

#[cfg(test)]
mod tests;
