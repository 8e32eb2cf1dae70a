//! Functions of one number, exact to float32, that a compiler can spread over a vector.

/// e to the x for x ≤ 0, to about one unit in the last place; 0 below −87 (Cephes' polynomial).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which then lies in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5] {
        p = p * r + c;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

/// 2 to the x between −½ and ½ to 3e-6, as a polynomial in x; highest power first.
pub(super) const EXP2: [f32; 5] = [9.570_09e-3, 5.591_786e-2, 0.240_247_45, 0.693_121_8, 0.999_999_3];

/// 2 to the x for x ≤ 0, to 3e-6 of it: for what is rounded to bfloat16 next; next to nothing below −126. For processors that
/// multiply and add in one, as those with a matrix unit do.
#[inline(always)]
pub(super) fn exp2_near(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -126.0 { -126.0 } else { x };
    let shifted = clamped + ROUND;
    let r = clamped - (shifted - ROUND);
    let mut p: f32 = EXP2[0];
    for c in &EXP2[1..] {
        p = p.mul_add(r, *c);
    }
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// [`gelu`] to 7e-6 of its size: for what is rounded to bfloat16 next.
#[inline(always)]
pub(super) fn gelu_near(x: f32) -> f32 {
    let scaled = (x * std::f32::consts::FRAC_1_SQRT_2).clamp(-4.0, 4.0);
    let square = scaled * scaled;
    let above = ERF_ABOVE.into_iter().fold(0.0, |p: f32, c| p.mul_add(square, c));
    // A division takes longer than two of Newton's steps to its inverse, which begin with one by the exponent.
    let size = -ERF_BELOW.into_iter().fold(0.0, |p: f32, c| p.mul_add(square, c));
    let mut inverse = f32::from_bits(0x7EF3_11C7_u32.wrapping_sub(size.to_bits()));
    for _ in 0..2 {
        inverse *= size.mul_add(-inverse, 2.0);
    }
    let half = 0.5 * x;
    (-half * scaled).mul_add(above * inverse, half)
}

/// x · sigmoid(x).
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    let small = exp(-x.abs());
    x * if x < 0.0 { small } else { 1.0 } / (1.0 + small)
}

/// The slope of [`silu`].
#[inline(always)]
pub(super) fn silu_slope(x: f32) -> f32 {
    let small = exp(-x.abs());
    let sigmoid = if x < 0.0 { small } else { 1.0 } / (1.0 + small);
    sigmoid * (1.0 + x * (1.0 - sigmoid))
}

/// The slope of [`gelu`].
#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    /// 1 / √(2 π).
    const HEIGHT: f32 = 0.398_942_3;
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)) + x * HEIGHT * exp(-0.5 * x * x)
}

/// x · Φ(x) with the error function as a ratio of polynomials (that of Eigen and XLA), to about 1e-7.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function between −4 and 4 is x times a ratio of two polynomials in x²; this is the upper one.
pub(super) const ERF_ABOVE: [f32; 7] =
    [-2.726_142_3e-10, 2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2];
/// And the lower one, below zero everywhere.
pub(super) const ERF_BELOW: [f32; 5] =
    [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_474e-2];

#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let above = ERF_ABOVE.into_iter().fold(0.0, |p, c| p * square + c);
    let below = ERF_BELOW.into_iter().fold(0.0, |p, c| p * square + c);
    x * above / below
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn exponentials_and_error_function_are_exact_to_float32() {
        for i in 0..87_000 {
            let x = -(i as f32) / 1000.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 2.5e-7 * exact, "exp {x}: {}", exp(x));
        }
        assert!(exp(-1e9) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37 && exp(0.0) == 1.0);
        for i in 0..125_000 {
            let x = -(i as f32) / 1000.0;
            let exact = f64::from(x).exp2();
            assert!((f64::from(exp2_near(x)) - exact).abs() <= 3.5e-6 * exact, "exp2 {x}: {}", exp2_near(x));
        }
        assert!(exp2_near(f32::NEG_INFINITY) < 1e-37 && exp2_near(f32::NAN).is_nan() && gelu_near(f32::NAN).is_nan());
        for i in -20_000..20_000 {
            let x = i as f32 / 200.0;
            let exact = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(silu(x)) - exact).abs() <= 4e-7 * exact.abs() + 1e-30, "silu {x}: {}", silu(x));
        }
        let reference = |t: Tensor| t.gelu_erf().and_then(|t| t.to_vec1::<f32>()).expect("gelu");
        let points: Vec<f32> = (-60_000..60_000).map(|i| i as f32 / 5000.0).collect();
        let exact = reference(Tensor::new(points.as_slice(), &Device::Cpu).expect("points"));
        for (x, exact) in points.iter().zip(exact) {
            assert!((gelu(*x) - exact).abs() <= 4e-7 * (1.0 + x.abs()), "gelu {x}: {} and {exact}", gelu(*x));
            assert!((gelu_near(*x) - exact).abs() <= 1e-5 * x.abs(), "gelu {x}: {} and {exact}", gelu_near(*x));
        }
    }
}
