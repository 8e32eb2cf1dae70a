//! The noise schedule (specification E.1): a table of log α at t = n/1000, linear between its knots.

/// Number of discrete steps the model was trained with; network time is this times t.
pub const TRAIN_STEPS: usize = 1000;

/// log α as a function of continuous time t in about 0.001…1. Float64 throughout.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// log α at t = n/1000, n = 1…1000.
    log_alphas: Vec<f64>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

impl Schedule {
    /// The schedule of the published model.
    pub fn new() -> Self {
        let mut sum = 0.0;
        let log_alphas = (0..TRAIN_STEPS).map(|i| {
            sum += (1.0 - Self::beta(i)).ln();
            0.5 * sum
        });
        Self { log_alphas: log_alphas.collect() }
    }

    /// Variance added at step `i` of 0…999.
    pub fn beta(i: usize) -> f64 {
        let (first, last) = (0.00085f64.sqrt(), 0.012f64.sqrt());
        (first + i as f64 / (TRAIN_STEPS - 1) as f64 * (last - first)).powi(2)
    }

    /// log α(t); outside the table its first and last segment go on.
    pub fn log_alpha(&self, t: f64) -> f64 {
        let position = t * TRAIN_STEPS as f64 - 1.0;
        let i = (position.floor().max(0.0) as usize).min(TRAIN_STEPS - 2);
        let (a, b) = (self.log_alphas[i], self.log_alphas[i + 1]);
        a + (position - i as f64) * (b - a)
    }

    /// α(t): what is left of the signal.
    pub fn alpha(&self, t: f64) -> f64 {
        self.log_alpha(t).exp()
    }

    /// σ(t): standard deviation of the noise.
    pub fn sigma(&self, t: f64) -> f64 {
        (-(2.0 * self.log_alpha(t)).exp_m1()).sqrt()
    }

    /// λ(t) = log(α/σ), falling in t.
    pub fn lambda(&self, t: f64) -> f64 {
        let log_alpha = self.log_alpha(t);
        log_alpha - 0.5 * (-(2.0 * log_alpha).exp_m1()).ln()
    }

    /// The time at which λ has this value.
    pub fn inverse_lambda(&self, lambda: f64) -> f64 {
        // log α = −½ ln(1 + e^{−2λ}), without overflow for very negative λ.
        let x = -2.0 * lambda;
        let log_alpha = -0.5 * (x.max(0.0) + (-x.abs()).exp().ln_1p());
        let i = self.log_alphas.partition_point(|&knot| knot > log_alpha).clamp(1, TRAIN_STEPS - 1) - 1;
        let (a, b) = (self.log_alphas[i], self.log_alphas[i + 1]);
        (i as f64 + 1.0 + (log_alpha - a) / (b - a)) / TRAIN_STEPS as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_the_specification() {
        let s = Schedule::new();
        for (n, log_alpha, alpha, sigma, lambda) in [
            (1, -0.00042518, 0.99957491, 0.02915476, 3.534712),
            (10, -0.00435840, 0.99565109, 0.09316068, 2.369071),
            (100, -0.05520731, 0.94628895, 0.32332217, 1.073899),
            (250, -0.19620109, 0.82184695, 0.56970833, 0.366430),
            (500, -0.64066159, 0.52694369, 0.84990020, -0.478025),
            (750, -1.43566567, 0.23795691, 0.97127571, -1.406521),
            (1000, -2.68435935, 0.06826491, 0.99766723, -2.682024),
        ] {
            let t = f64::from(n) / 1000.0;
            assert!((s.log_alpha(t) - log_alpha).abs() < 1e-8, "log alpha at {n}");
            assert!((s.alpha(t) - alpha).abs() < 1e-8, "alpha at {n}");
            assert!((s.sigma(t) - sigma).abs() < 1e-8, "sigma at {n}");
            assert!((s.lambda(t) - lambda).abs() < 1e-6, "lambda at {n}");
        }
        for (i, beta) in [(0, 0.00085), (499, 0.00480379), (999, 0.012)] {
            assert!((Schedule::beta(i) - beta).abs() < 1e-8, "beta {i}");
        }
    }

    #[test]
    fn inverse_lambda_inverts_lambda_also_between_and_beyond_the_knots() {
        let s = Schedule::new();
        for i in 0..=2000 {
            let t = 0.0007 + f64::from(i) * (1.02 - 0.0007) / 2000.0;
            assert!((s.inverse_lambda(s.lambda(t)) - t).abs() < 1e-9, "t = {t}");
        }
    }
}
