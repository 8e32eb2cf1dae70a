use super::*;
use candle_core::Device;

/// Means and deviations of independent normal data, for which the solution is known.
const DATA: [(f64, f64); 4] = [(0.0, 1.0), (0.8, 0.5), (-1.5, 0.1), (0.3, 2.0)];
const START: [f64; 4] = [0.7, -1.3, 0.2, 1.9];

/// What a network that knew the data would predict.
fn gaussian_noise(schedule: &Schedule, x: &Tensor, t: f64) -> Result<Tensor> {
    let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
    let x: Vec<f64> = x.to_vec1()?;
    let predicted = x
        .iter()
        .zip(DATA)
        .map(|(x, (mean, deviation))| sigma * (x - alpha * mean) / ((alpha * deviation).powi(2) + sigma.powi(2)));
    Ok(Tensor::new(predicted.collect::<Vec<f64>>(), &Device::Cpu)?)
}

/// The solution at t = 0.001: as many deviations from the mean as at the start.
fn exact(schedule: &Schedule) -> Vec<f64> {
    let spread = |t: f64, deviation: f64| (schedule.alpha(t) * deviation).hypot(schedule.sigma(t));
    let solved = START.iter().zip(DATA).map(|(x, (mean, deviation))| {
        let away = (x - schedule.alpha(1.0) * mean) / spread(1.0, deviation);
        schedule.alpha(T_END) * mean + away * spread(T_END, deviation)
    });
    solved.collect()
}

/// The solver's answer and the times it evaluated at.
fn gaussian(method: Method, final_denoise: bool) -> Result<(Vec<f64>, Vec<f64>)> {
    let schedule = Schedule::new();
    let start = vec![Tensor::new(&START, &Device::Cpu)?];
    let mut times = Vec::new();
    let mut watched = 0;
    let result = solve(
        &schedule,
        method,
        final_denoise,
        start,
        &mut |x, t| {
            times.push(t);
            Ok(vec![gaussian_noise(&schedule, &x[0], t)?])
        },
        &mut |_, data| {
            watched += 1;
            assert_eq!(data.len(), 1);
            Ok(())
        },
    )?;
    assert_eq!(watched, times.len());
    Ok((result[0].to_vec1()?, times))
}

fn error(solver: Solver, grid: TimeGrid, steps: usize) -> f64 {
    let (found, _) = gaussian(Method { solver, grid, steps }, false).expect("solution");
    let exact = exact(&Schedule::new());
    (found.iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / DATA.len() as f64).sqrt()
}

#[test]
fn errors_fall_with_the_order_of_the_solver() {
    // The first step is of first order, which holds all of 3M to the second; corrected it is of second.
    for (solver, order) in [
        (Solver::Singlestep, 3.0),
        (Solver::Multistep2, 2.0),
        (Solver::Multistep3, 2.0),
        (Solver::Unipc2, 3.0),
        (Solver::Unipc3, 3.0),
    ] {
        // Both numbers end the single-step solver with a block of order 2.
        let (coarse, fine) = (error(solver, TimeGrid::Lambda, 122), error(solver, TimeGrid::Lambda, 242));
        let found = (coarse / fine).ln() / (242f64 / 122.0).ln();
        assert!(found > order - 0.15, "{solver:?}: order {found:.2}, errors {coarse:.2e}, {fine:.2e}");
    }
}

#[test]
fn one_step_is_ddim_whatever_the_solver() {
    let schedule = Schedule::new();
    let noise: Vec<f64> = gaussian_noise(&schedule, &Tensor::new(&START, &Device::Cpu).expect("tensor"), 1.0)
        .and_then(|noise| Ok(noise.to_vec1()?))
        .expect("noise");
    for solver in Solver::ALL {
        for grid in TimeGrid::ALL {
            let (found, times) = gaussian(Method { solver, grid, steps: 1 }, false).expect("solution");
            assert_eq!(times, [1.0]);
            for ((x, e), found) in START.iter().zip(&noise).zip(found) {
                let data = (x - schedule.sigma(1.0) * e) / schedule.alpha(1.0);
                let expected = schedule.alpha(T_END) * data + schedule.sigma(T_END) * e;
                assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{solver:?}: {found} {expected}");
            }
        }
    }
}

#[test]
fn all_solvers_agree_at_many_steps() {
    for solver in Solver::ALL {
        for grid in TimeGrid::ALL {
            let off = error(solver, grid, 1000);
            // Evenly in time, the last step still leaps over a ninth of all λ.
            let most = if grid == TimeGrid::Time { 1e-3 } else { 1e-4 };
            assert!(off < most, "{solver:?} on {grid:?}: {off:.2e}");
        }
    }
}

#[test]
fn each_step_is_one_evaluation_at_the_grid_whatever_their_number() {
    let schedule = Schedule::new();
    for solver in Solver::ALL {
        for grid in TimeGrid::ALL {
            for steps in (1..=25).chain([50, 1000]) {
                let (found, times) = gaussian(Method { solver, grid, steps }, false).expect("solution");
                let expected = &grid.times(&schedule, steps)[..steps];
                assert_eq!(times.len(), steps, "{solver:?} {grid:?}");
                assert!(times.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{solver:?} {grid:?} {steps}");
                assert!(found.iter().all(|v| v.abs() < 10.0), "{solver:?} on {grid:?}, {steps} steps: {found:?}");
            }
            let (_, times) = gaussian(Method { solver, grid, steps: 7 }, true).expect("solution");
            assert_eq!((times.len(), times[7]), (8, T_END), "the denoising evaluation comes on top");
            for steps in [0, 1001] {
                let refused = gaussian(Method { solver, grid, steps }, false).expect_err("no such number");
                assert!(refused.to_string().contains("1 to 1000"), "{refused}");
            }
        }
    }
}

#[test]
fn whoever_watches_can_end_a_run_after_any_evaluation() {
    let schedule = Schedule::new();
    for solver in Solver::ALL {
        for last in 1..=6 {
            let mut evaluations = 0;
            let mut watched = 0;
            let result = solve(
                &schedule,
                Method { solver, grid: solver.grid(), steps: 6 },
                false,
                vec![Tensor::new(&START, &Device::Cpu).expect("tensor")],
                &mut |x, t| {
                    evaluations += 1;
                    Ok(vec![gaussian_noise(&schedule, &x[0], t)?])
                },
                &mut |_, _| {
                    watched += 1;
                    if watched == last { Err(Error::Cancelled) } else { Ok(()) }
                },
            );
            assert!(matches!(result, Err(Error::Cancelled)));
            assert_eq!(evaluations, last, "{solver:?}");
        }
    }
}

#[test]
fn toy_network_of_the_specification() {
    let mut times = Vec::new();
    let start = vec![Tensor::new(1f64, &Device::Cpu).expect("tensor")];
    let result = solve(
        &Schedule::new(),
        Method { solver: Solver::Singlestep, grid: TimeGrid::Time, steps: 50 },
        false,
        start,
        &mut |x, t| {
            times.push(1000.0 * t);
            Ok(vec![(x[0].affine(0.3, 0.1 * (1000.0 * t / 100.0).sin()))?])
        },
        &mut |_, _| Ok(()),
    )
    .expect("solution");
    let value = result[0].to_scalar::<f64>().expect("scalar");
    assert!((value - 5.2107764).abs() < 1e-7, "{value}");
    assert_eq!(times.len(), 50);
    for (i, expected) in [(0, 1000.0), (1, 980.02), (2, 960.04), (47, 60.94), (48, 40.96), (49, 20.98)] {
        assert!((times[i] - expected).abs() < 1e-6, "evaluation {i} at {}", times[i]);
    }
}
