//! Where a solver evaluates.

use crate::model::Schedule;
use serde::{Deserialize, Serialize};

/// Last time of every run, the published one; σ = 0.029 remains.
pub(crate) const T_END: f64 = 0.001;

/// How the times of a run are spread between 1 and `T_END`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum TimeGrid {
    /// Evenly, the published grid.
    Time,
    /// Evenly in λ = ln(α/σ).
    Lambda,
    /// Evenly in √t: denser towards the end.
    Quadratic,
}

impl TimeGrid {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Time, Self::Lambda, Self::Quadratic];

    /// In words, after "uniform in".
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "t",
            Self::Lambda => "λ",
            Self::Quadratic => "√t",
        }
    }

    /// The `steps` + 1 falling times; the first is 1, the last [`T_END`].
    pub(super) fn times(self, schedule: &Schedule, steps: usize) -> Vec<f64> {
        let between = |a: f64, b: f64, i: usize| (a * (steps - i) as f64 + b * i as f64) / steps as f64;
        let time = |i: usize| match self {
            _ if i == 0 => 1.0,
            _ if i == steps => T_END,
            Self::Time => between(1.0, T_END, i),
            Self::Lambda => schedule.inverse_lambda(between(schedule.lambda(1.0), schedule.lambda(T_END), i)),
            Self::Quadratic => between(1.0, T_END.sqrt(), i).powi(2),
        };
        (0..=steps).map(time).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_from_first_to_last_whatever_their_number() {
        let schedule = Schedule::new();
        for grid in TimeGrid::ALL {
            for steps in (1..=60).chain([999, 1000]) {
                let times = grid.times(&schedule, steps);
                assert_eq!((times.len(), times[0], times[steps]), (steps + 1, 1.0, T_END));
                assert!(times.windows(2).all(|pair| pair[0] > pair[1]), "{grid:?}, {steps} steps");
            }
        }
    }

    #[test]
    fn each_grid_is_even_in_what_it_says() {
        let schedule = Schedule::new();
        let even = |grid: TimeGrid, of: &dyn Fn(f64) -> f64| {
            let values: Vec<f64> = grid.times(&schedule, 20).into_iter().map(of).collect();
            let first = values[1] - values[0];
            assert!(values.windows(2).all(|v| (v[1] - v[0] - first).abs() < 1e-9 * first.abs()), "{grid:?}");
        };
        even(TimeGrid::Time, &|t| t);
        even(TimeGrid::Lambda, &|t| schedule.lambda(t));
        even(TimeGrid::Quadratic, &f64::sqrt);
    }
}
