//! DPM-Solver++ in its single-step, mixed-order "fast" form (specification E.2).

use crate::error::{Error, Result};
use crate::model::Schedule;
use candle_core::Tensor;

/// Last time of the published solver.
const T_END: f64 = 0.001;

/// One block of 1 to 3 evaluations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SolverBlock {
    /// Time at its start.
    pub start: f64,
    /// Time at its end.
    pub end: f64,
    /// 1, 2 or 3: evaluations it takes.
    pub order: usize,
    /// λ(end) − λ(start).
    pub h: f64,
    /// Share of h at the second evaluation.
    pub r1: f64,
    /// Share of h at the third evaluation.
    pub r2: f64,
}

/// Blocks of a solver run with `steps` evaluations; their orders sum to `steps`.
///
/// # Errors
/// When `steps` is 0 or beyond 1000.
pub fn blocks(schedule: &Schedule, steps: usize) -> Result<Vec<SolverBlock>> {
    if !(1..=1000).contains(&steps) {
        return Err(Error::request(format!("The number of steps must be 1 to 1000, got {steps}.")));
    }
    let k = steps / 3 + 1;
    let mut orders = match steps % 3 {
        0 => vec![3; k - 2],
        _ => vec![3; k - 1],
    };
    match steps % 3 {
        0 => orders.extend([2, 1]),
        rest => orders.push(rest),
    }
    let grid = |i: usize| ((steps - i) as f64 + T_END * i as f64) / steps as f64;
    let mut at = 0;
    let block = |order: usize| {
        let (start, end) = (grid(at), grid(at + order));
        let lambda = schedule.lambda(start);
        let h = schedule.lambda(end) - lambda;
        let share = |i: usize| if i < order { (schedule.lambda(grid(at + i)) - lambda) / h } else { f64::NAN };
        let block = SolverBlock { start, end, order, h, r1: share(1), r2: share(2) };
        at += order;
        block
    };
    Ok(orders.into_iter().map(block).collect())
}

/// Predicts the noise in each tensor of a state at continuous time t.
pub type Predictor<'a> = dyn FnMut(&[Tensor], f64) -> Result<Vec<Tensor>> + 'a;

/// Solves from t = 1 to t = 0.001 with `steps` evaluations.
///
/// `state` holds one tensor per generated modality (any float type); `noise(state, t)` predicts the noise in
/// them at continuous time t (network time 1000·t). `watch` sees time and data prediction of each evaluation, and
/// may end the run with an error. With `final_denoise` one more evaluation at t = 0.001 gives the result.
///
/// # Errors
/// Those of `noise` and `watch`; a wrong number of steps.
pub fn solve(
    schedule: &Schedule,
    steps: usize,
    final_denoise: bool,
    mut state: Vec<Tensor>,
    noise: &mut Predictor,
    watch: &mut dyn FnMut(f64, &[Tensor]) -> Result<()>,
) -> Result<Vec<Tensor>> {
    // D(x, t) = (x − σ ε) / α
    let mut data_prediction = |state: &[Tensor], t: f64| -> Result<Vec<Tensor>> {
        let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
        let epsilon = noise(state, t)?;
        let data: Vec<Tensor> =
            state.iter().zip(&epsilon).map(|(x, e)| Ok(((x - (e * sigma)?)? / alpha)?)).collect::<Result<_>>()?;
        watch(t, &data)?;
        Ok(data)
    };
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
    for block in blocks(schedule, steps)? {
        let SolverBlock { start, end, order, h, r1, r2 } = block;
        let lambda = schedule.lambda(start);
        let phi = |a: f64| (-a).exp_m1();
        let (sigma_s, sigma_e, alpha_e) = (schedule.sigma(start), schedule.sigma(end), schedule.alpha(end));
        let d_s = data_prediction(&state, start)?;
        let (keep, move_) = (sigma_e / sigma_s, -alpha_e * phi(h));
        if order == 1 {
            state = combine(&state, keep, &d_s, move_, None)?;
            continue;
        }
        let s1 = schedule.inverse_lambda(lambda + r1 * h);
        let x_1 = combine(&state, schedule.sigma(s1) / sigma_s, &d_s, -schedule.alpha(s1) * phi(r1 * h), None)?;
        let d_1 = data_prediction(&x_1, s1)?;
        if order == 2 {
            state = combine(&state, keep, &d_s, move_, Some((&d_1, -0.5 / r1 * alpha_e * phi(h))))?;
            continue;
        }
        let s2 = schedule.inverse_lambda(lambda + r2 * h);
        let (sigma_2, alpha_2, h_2) = (schedule.sigma(s2), schedule.alpha(s2), r2 * h);
        let slope = r2 / r1 * alpha_2 * (phi(h_2) / h_2 + 1.0);
        let x_2 = combine(&state, sigma_2 / sigma_s, &d_s, -alpha_2 * phi(h_2), Some((&d_1, slope)))?;
        let d_2 = data_prediction(&x_2, s2)?;
        state = combine(&state, keep, &d_s, move_, Some((&d_2, alpha_e / r2 * (phi(h) / h + 1.0))))?;
    }
    if final_denoise { data_prediction(&state, T_END) } else { Ok(state) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn block_coefficients_of_the_specification() {
        let blocks = blocks(&Schedule::new(), 50).expect("blocks");
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
            let blocks = blocks(&Schedule::new(), steps).expect("blocks");
            assert_eq!(blocks.iter().map(|b| b.order).sum::<usize>(), steps);
            assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((blocks[0].start, blocks[blocks.len() - 1].end), (1.0, 0.001));
        }
        assert!(super::blocks(&Schedule::new(), 0).is_err());
    }

    #[test]
    fn toy_network_of_the_specification() {
        let mut times = Vec::new();
        let start = vec![Tensor::new(1f64, &Device::Cpu).expect("tensor")];
        let result = solve(
            &Schedule::new(),
            50,
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
}
