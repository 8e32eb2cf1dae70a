//! DPM-Solver++ in its single-step, mixed-order "fast" form (specification E.2).

use super::DataPrediction;
use crate::error::Result;
use crate::model::Schedule;
use candle_core::Tensor;

/// One block of 1 to 3 evaluations.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SolverBlock {
    /// Time at its start.
    start: f64,
    /// Time at its end.
    end: f64,
    /// 1, 2 or 3: evaluations it takes.
    order: usize,
    /// λ(end) − λ(start).
    h: f64,
    /// Share of h at the second evaluation.
    r1: f64,
    /// Share of h at the third evaluation.
    r2: f64,
}

/// Blocks over these times, of at least one step; their orders sum to the steps.
fn blocks(schedule: &Schedule, times: &[f64]) -> Vec<SolverBlock> {
    let steps = times.len() - 1;
    let k = steps / 3 + 1;
    let mut orders = match steps % 3 {
        0 => vec![3; k - 2],
        _ => vec![3; k - 1],
    };
    match steps % 3 {
        0 => orders.extend([2, 1]),
        rest => orders.push(rest),
    }
    let mut at = 0;
    let block = |order: usize| {
        let (start, end) = (times[at], times[at + order]);
        let lambda = schedule.lambda(start);
        let h = schedule.lambda(end) - lambda;
        let share = |i: usize| if i < order { (schedule.lambda(times[at + i]) - lambda) / h } else { f64::NAN };
        let block = SolverBlock { start, end, order, h, r1: share(1), r2: share(2) };
        at += order;
        block
    };
    orders.into_iter().map(block).collect()
}

/// Solves over these times, one evaluation for each but the last.
pub(super) fn solve(data: &mut DataPrediction, times: &[f64], mut state: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let schedule = data.schedule;
    // a·x + b·D + c·(D' − D), element by element.
    let combine =
        |x: &[Tensor], a: f64, d: &[Tensor], b: f64, correction: Option<(&[Tensor], f64)>| -> Result<Vec<Tensor>> {
            (0..x.len())
                .map(|i| {
                    let mut sum = ((&x[i] * a)? + (&d[i] * b)?)?;
                    if let Some((other, c)) = correction {
                        sum = (sum + ((&other[i] - &d[i])? * c)?)?;
                    }
                    Ok(sum)
                })
                .collect()
        };
    for block in blocks(schedule, times) {
        let SolverBlock { start, end, order, h, r1, r2 } = block;
        let lambda = schedule.lambda(start);
        let phi = |a: f64| (-a).exp_m1();
        let (sigma_s, sigma_e, alpha_e) = (schedule.sigma(start), schedule.sigma(end), schedule.alpha(end));
        let d_s = data.at(&state, start)?;
        let (keep, move_) = (sigma_e / sigma_s, -alpha_e * phi(h));
        if order == 1 {
            state = combine(&state, keep, &d_s, move_, None)?;
            continue;
        }
        let s1 = schedule.inverse_lambda(lambda + r1 * h);
        let x_1 = combine(&state, schedule.sigma(s1) / sigma_s, &d_s, -schedule.alpha(s1) * phi(r1 * h), None)?;
        let d_1 = data.at(&x_1, s1)?;
        if order == 2 {
            state = combine(&state, keep, &d_s, move_, Some((&d_1, -0.5 / r1 * alpha_e * phi(h))))?;
            continue;
        }
        let s2 = schedule.inverse_lambda(lambda + r2 * h);
        let (sigma_2, alpha_2, h_2) = (schedule.sigma(s2), schedule.alpha(s2), r2 * h);
        let slope = r2 / r1 * alpha_2 * (phi(h_2) / h_2 + 1.0);
        let x_2 = combine(&state, sigma_2 / sigma_s, &d_s, -alpha_2 * phi(h_2), Some((&d_1, slope)))?;
        let d_2 = data.at(&x_2, s2)?;
        state = combine(&state, keep, &d_s, move_, Some((&d_2, alpha_e / r2 * (phi(h) / h + 1.0))))?;
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::solver::TimeGrid;

    fn published(steps: usize) -> Vec<SolverBlock> {
        let schedule = Schedule::new();
        blocks(&schedule, &TimeGrid::Time.times(&schedule, steps))
    }

    #[test]
    fn block_coefficients_of_the_specification() {
        let blocks = published(50);
        assert_eq!(blocks.len(), 17);
        for (i, order, h, r1, r2) in [
            (0, 3, 0.348633, 0.342912, 0.676169),
            (7, 3, 0.206341, 0.338247, 0.671357),
            (15, 3, 0.546738, 0.260511, 0.578327),
        ] {
            let b = blocks[i];
            assert_eq!(b.order, order);
            assert!((b.h - h).abs() < 1e-6 && (b.r1 - r1).abs() < 1e-6 && (b.r2 - r2).abs() < 1e-6, "block {i}: {b:?}");
        }
        let last = blocks[16];
        assert_eq!(last.order, 2);
        assert!((last.h - 1.920006).abs() < 1e-6 && (last.r1 - 0.190817).abs() < 1e-6, "{last:?}");
    }

    #[test]
    fn orders_sum_to_the_steps_and_times_join() {
        for steps in 1..=60 {
            let blocks = published(steps);
            assert_eq!(blocks.iter().map(|b| b.order).sum::<usize>(), steps);
            assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((blocks[0].start, blocks[blocks.len() - 1].end), (1.0, 0.001));
        }
    }
}
