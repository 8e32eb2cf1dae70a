//! Weights of data predictions in one step of an exponential integrator, float64.
//!
//! A step from λ to λ + h is exact in its linear part: `x_e = (σ_e/σ_s)·x_s + α_e·∫₀ʰ e^{δ−h} D(λ+δ) dδ`. What differs
//! is what is taken for D between the places where it is known. Places are counted in steps from the start of the
//! step: 0 is the start, 1 the end, what lies behind is negative.

/// `∫₀ʰ e^{δ−h} (δ/h)^k dδ`. As a series: the closed form cancels for short steps.
fn moment(h: f64, k: usize) -> f64 {
    let (mut sum, mut term, mut n) = (0.0, h / (k + 1) as f64, k + 2);
    while term.abs() > 1e-18 * f64::abs(sum) {
        sum += term;
        term *= -h / n as f64;
        n += 1;
    }
    sum
}

/// Weights of D at these places if D is the polynomial through them: the integral is exact for it.
pub(super) fn interpolated(h: f64, places: &[f64]) -> Vec<f64> {
    let basis = |j: usize| {
        // Coefficients of the Lagrange polynomial that is 1 at place j, 0 at the others; lowest power first.
        let mut polynomial = vec![1.0];
        for (m, place) in places.iter().enumerate().filter(|(m, _)| *m != j) {
            let scale = 1.0 / (places[j] - places[m]);
            polynomial.push(0.0);
            for k in (0..polynomial.len()).rev() {
                let lower = if k > 0 { polynomial[k - 1] } else { 0.0 };
                polynomial[k] = scale * (lower - place * polynomial[k]);
            }
        }
        polynomial
    };
    (0..places.len()).map(|j| basis(j).iter().enumerate().map(|(k, c)| c * moment(h, k)).sum()).collect()
}

/// Weights of D at the start and at one other place if what D changes by counts half over the step: what both papers
/// take at second order, where the exact share (which [`interpolated`] takes) differs only at third.
pub(super) fn halved(h: f64, other: f64) -> Vec<f64> {
    let whole = moment(h, 0);
    let slope = 0.5 * whole / other;
    vec![whole - slope, slope]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_integrals() {
        for h in [1e-4, 0.3, 1.9, 6.3] {
            let phi = f64::exp_m1(-h);
            let closed = [-phi, phi / h + 1.0, 1.0 - 2.0 / h * (phi / h + 1.0)];
            for (k, expected) in closed.into_iter().enumerate() {
                let found = moment(h, k);
                // The closed form loses digits where h is small.
                assert!(
                    (found - expected).abs() < 1e-15 * (1.0 / h).powi(k as i32).max(10.0),
                    "h {h}, k {k}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn polynomials_through_the_places_are_integrated_exactly() {
        for places in [&[0.0][..], &[0.0, -0.7], &[0.0, -0.7, -1.9], &[1.0, 0.0, -0.7, -1.9]] {
            for h in [0.05, 0.8, 3.0] {
                let weights = interpolated(h, places);
                for power in 0..places.len() {
                    let sum: f64 = weights.iter().zip(places).map(|(w, p)| w * p.powi(power as i32)).sum();
                    assert!((sum - moment(h, power)).abs() < 1e-12, "{places:?}, h {h}, power {power}");
                }
            }
        }
    }

    #[test]
    fn half_shares_approach_the_exact_ones_for_short_steps() {
        let off = |h: f64| (halved(h, -0.8)[1] - interpolated(h, &[0.0, -0.8])[1]).abs();
        assert!(off(0.1) < 0.01 && (off(0.1) / off(0.05) - 4.0).abs() < 0.2);
    }
}
