//! What lies between the matrix products of the transformer, on a CPU: in one pass, on all cores of the pool that calls,
//! with the widest instructions the processor has. No gradients.

use crate::error::Result;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Tensor};
use gemm::Parallelism;
use pulp::Arch;
use rayon::prelude::*;

/// Values worked on side by side: one register of the widest processors.
const LANES: usize = 16;
/// Queries whose scores are held at a time; with some thousand keys they fit into a core's own cache.
const QUERIES: usize = 128;
/// Rows that one task works on.
const ROWS: usize = 32;

/// Whether these kernels can take a tensor.
pub fn can_run(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// Attention of the heads over each other's tokens: `(batch, tokens, 3 · width)` with queries, keys and values beside each
/// other, as a product with the joint weight leaves them → `(batch, tokens, width)`. Never holds more scores than those of
/// 64 queries of one head.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    Ok(qkv.contiguous()?.apply_op1_no_bwd(&Attention { heads })?)
}

/// `gelu(x + bias)` with the exact error function; `bias` has the last dimension of `x`.
pub fn bias_gelu(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op2_no_bwd(&bias.contiguous()?, &BiasGelu)?)
}

/// Layer norm (eps 1e-5) of `x + y + bias` over the last dimension.
pub fn add_norm(x: &Tensor, y: &Tensor, bias: Option<&Tensor>, weight: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let vector = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.to_vec1()?) };
    let width = weight.dim(0)?;
    let op = AddNorm {
        bias: bias.map_or_else(|| Ok(vec![0.0; width]), vector)?,
        weight: vector(weight)?,
        shift: vector(shift)?,
    };
    Ok(x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &op)?)
}

/// Contiguous values of a tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| candle_core::Error::Msg("not contiguous".into()))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

struct Attention {
    heads: usize,
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, tokens, joint) = layout.shape().dims3()?;
        let (width, all) = (joint / 3, values(storage, layout)?);
        let head = width / self.heads;
        if joint != 3 * width || width != head * self.heads {
            candle_core::bail!("attention of {} heads over {joint} features", self.heads);
        }
        let mut out = vec![0.0; batch * tokens * width];
        let arch = Arch::new();
        for (own, out) in all.chunks_exact(tokens * joint).zip(out.chunks_exact_mut(tokens * width)) {
            out.par_chunks_mut(QUERIES * width).enumerate().for_each_init(
                || vec![0.0; QUERIES * tokens],
                |scores, (block, out)| {
                    let rows = out.len() / width;
                    for h in 0..self.heads {
                        let at = |part: usize, token: usize| token * joint + part * width + h * head;
                        let scores = &mut scores[..rows * tokens];
                        let scale = (head as f32).powf(-0.5);
                        let queries = Strided { data: &own[at(0, block * QUERIES)..], row: joint, column: 1 };
                        let keys = Strided { data: &own[at(1, 0)..], row: 1, column: joint };
                        product([rows, head, tokens], queries, keys, scores, tokens, scale);
                        let sums: Vec<f32> =
                            scores.chunks_exact_mut(tokens).map(|row| arch.dispatch(|| exponentials(row))).collect();
                        let weights = Strided { data: scores, row: tokens, column: 1 };
                        let all_values = Strided { data: &own[at(2, 0)..], row: joint, column: 1 };
                        product([rows, tokens, head], weights, all_values, &mut out[h * head..], width, 1.0);
                        for (row, sum) in out.chunks_mut(width).zip(sums) {
                            row[h * head..(h + 1) * head].iter_mut().for_each(|v| *v /= sum);
                        }
                    }
                },
            );
        }
        Ok((CpuStorage::F32(out), Shape::from((batch, tokens, width))))
    }
}

/// A matrix within a slice: entry (i, j) lies at `i · row + j · column`.
struct Strided<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

/// `out[i · stride + j] = scale · Σₖ a(i, k) · b(k, j)` on this thread, for sizes `[rows, inner, columns]`.
#[allow(unsafe_code)]
fn product([m, k, n]: [usize; 3], a: Strided, b: Strided, out: &mut [f32], stride: usize, scale: f32) {
    let last = |rows: usize, columns: usize, row: usize, column: usize| (rows - 1) * row + (columns - 1) * column;
    assert!(m > 0 && n > 0 && k > 0 && n <= stride);
    assert!(last(m, k, a.row, a.column) < a.data.len() && last(k, n, b.row, b.column) < b.data.len());
    assert!(last(m, n, stride, 1) < out.len());
    // SAFETY: the asserts keep every entry that is read or written inside its slice; `out` is borrowed mutably, so it
    // overlaps neither factor. The strides fit isize because the slices do. Tested in `products_are_those_of_the_definition`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            false,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            0.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

struct BiasGelu;

impl CustomOp2 for BiasGelu {
    fn name(&self) -> &'static str {
        "bias-gelu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        bias: &CpuStorage,
        of_bias: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, bias, arch) = (values(x, of_x)?, values(bias, of_bias)?, Arch::new());
        let width = bias.len();
        if width == 0 || x.len() % width != 0 {
            candle_core::bail!("a bias of {width} for {} values", x.len());
        }
        let mut out = vec![0.0; x.len()];
        out.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                arch.dispatch(|| {
                    for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
                        *out = gelu(x + bias);
                    }
                });
            }
        });
        Ok((CpuStorage::F32(out), of_x.shape().clone()))
    }
}

struct AddNorm {
    bias: Vec<f32>,
    weight: Vec<f32>,
    shift: Vec<f32>,
}

impl CustomOp2 for AddNorm {
    fn name(&self) -> &'static str {
        "add-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        y: &CpuStorage,
        of_y: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, y, arch) = (values(x, of_x)?, values(y, of_y)?, Arch::new());
        let width = self.weight.len();
        if width == 0
            || x.len() != y.len()
            || x.len() % width != 0
            || self.bias.len() != width
            || self.shift.len() != width
        {
            candle_core::bail!("{} and {} values for a norm over {width}", x.len(), y.len());
        }
        let mut out = vec![0.0; x.len()];
        let rows = x.par_chunks(ROWS * width).zip(y.par_chunks(ROWS * width));
        out.par_chunks_mut(ROWS * width).zip(rows).for_each(|(out, (x, y))| {
            let rows = x.chunks_exact(width).zip(y.chunks_exact(width));
            for (out, (x, y)) in out.chunks_exact_mut(width).zip(rows) {
                arch.dispatch(|| self.row(x, y, out));
            }
        });
        Ok((CpuStorage::F32(out), of_x.shape().clone()))
    }
}

impl AddNorm {
    #[inline(always)]
    fn row(&self, x: &[f32], y: &[f32], out: &mut [f32]) {
        const EPS: f32 = 1e-5;
        for (((out, x), y), bias) in out.iter_mut().zip(x).zip(y).zip(&self.bias) {
            *out = x + y + bias;
        }
        let n = out.len() as f32;
        let mean = sum(out, |v| v) / n;
        // Two passes: exact where values are large and differ little.
        let variance = sum(out, |v| (v - mean) * (v - mean)) / n;
        let factor = (variance + EPS).sqrt().recip();
        for ((out, weight), shift) in out.iter_mut().zip(&self.weight).zip(&self.shift) {
            *out = (*out - mean) * factor * weight + shift;
        }
    }
}

/// Sum of a function of all values, lane by lane.
#[inline(always)]
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += of(*v);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|v| of(*v)).sum::<f32>()
}

/// Puts the exponentials of a row, less its largest value, in its place; returns their sum.
#[inline(always)]
fn exponentials(row: &mut [f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *v);
        }
    }
    let highest = lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger);
    for v in row.iter_mut() {
        *v = exp(*v - highest);
    }
    sum(row, |v| v)
}

/// e to the x for x ≤ 0, to about one unit in the last place; 0 below −87 (Cephes' polynomial).
#[inline(always)]
fn exp(x: f32) -> f32 {
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

/// x · Φ(x) with the error function as a ratio of polynomials (that of Eigen and XLA), to about 1e-7.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn erf(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_474e-2];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let above = ABOVE.into_iter().fold(0.0, |p, c| p * square + c);
    let below = BELOW.into_iter().fold(0.0, |p, c| p * square + c);
    x * above / below
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Device};

    fn waves(shape: &[usize], step: f32) -> Tensor {
        let data: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32 * step).sin() * 2.0).collect();
        Tensor::from_vec(data, shape, &Device::Cpu).expect("tensor")
    }

    fn farthest(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).and_then(|d| d.abs()?.flatten_all()?.max(0)?.to_scalar()).expect("distance")
    }

    #[test]
    fn exponentials_and_error_function_are_exact_to_float32() {
        for i in 0..87_000 {
            let x = -(i as f32) / 1000.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 2.5e-7 * exact, "exp {x}: {}", exp(x));
        }
        assert!(exp(-1e9) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37 && exp(0.0) == 1.0);
        let reference = |t: Tensor| t.gelu_erf().and_then(|t| t.to_vec1::<f32>()).expect("gelu");
        let points: Vec<f32> = (-60_000..60_000).map(|i| i as f32 / 5000.0).collect();
        let exact = reference(Tensor::new(points.as_slice(), &Device::Cpu).expect("points"));
        for (x, exact) in points.iter().zip(exact) {
            assert!((gelu(*x) - exact).abs() <= 4e-7 * (1.0 + x.abs()), "gelu {x}: {} and {exact}", gelu(*x));
        }
    }

    #[test]
    fn products_are_those_of_the_definition() {
        let (a, b): (Vec<f32>, Vec<f32>) =
            ((0..60).map(|i| i as f32).collect(), (0..90).map(|i| (i % 7) as f32).collect());
        let mut out = vec![-1.0; 40];
        // 3 × 4 in a slice of rows of 11; 4 × 5, transposed, in one of columns of 13.
        let left = Strided { data: &a, row: 11, column: 2 };
        let right = Strided { data: &b, row: 1, column: 13 };
        product([3, 4, 5], left, right, &mut out, 8, 0.5);
        for i in 0..3 {
            for j in 0..8 {
                let expected: f32 = (0..4).map(|k| 0.5 * a[i * 11 + k * 2] * b[k + j * 13 % 90]).sum();
                let expected = if j < 5 { expected } else { -1.0 };
                assert_eq!(out[i * 8 + j], expected, "({i}, {j})");
            }
        }
        let outside = std::panic::catch_unwind(|| {
            let mut out = vec![0.0; 4];
            product(
                [2, 2, 2],
                Strided { data: &[1.0; 3], row: 2, column: 1 },
                Strided { data: &[1.0; 4], row: 2, column: 1 },
                &mut out,
                2,
                1.0,
            );
        });
        assert!(outside.is_err(), "beyond a slice nothing is read");
    }

    #[test]
    fn attention_is_that_of_its_definition() {
        // More tokens than a block of queries, and no multiple of anything.
        for (batch, tokens, heads, head) in [(2, 131, 3, 8), (1, 5, 2, 4), (1, 64, 1, 64)] {
            let width = heads * head;
            let qkv = waves(&[batch, tokens, 3 * width], 0.713);
            let parts =
                qkv.reshape((batch, tokens, 3, heads, head)).and_then(|t| t.permute((2, 0, 3, 1, 4))).expect("parts");
            let part = |i: usize| parts.get(i).and_then(|t| t.contiguous()).expect("part");
            let scores =
                part(0).matmul(&part(1).t().expect("keys")).and_then(|s| s * (head as f64).powf(-0.5)).expect("scores");
            let weights = candle_nn::ops::softmax(&scores, D::Minus1).expect("weights");
            let expected = weights
                .matmul(&part(2))
                .and_then(|t| t.transpose(1, 2)?.reshape((batch, tokens, width)))
                .expect("expected");
            let found = attention(&qkv, heads).expect("attention");
            assert!(farthest(&found, &expected) < 2e-6, "{}", farthest(&found, &expected));
        }
        assert!(attention(&waves(&[1, 2, 9], 1.0), 2).is_err());
    }

    #[test]
    fn fused_steps_are_those_one_by_one() {
        let (x, y) = (waves(&[2, 37, 40], 0.31), waves(&[2, 37, 40], 0.77));
        let [bias, weight, shift] = [0.1, 0.2, 0.3].map(|step| waves(&[40], step));
        let slow = x.broadcast_add(&bias).and_then(|t| t.gelu_erf()).expect("gelu");
        assert!(farthest(&bias_gelu(&x, &bias).expect("gelu"), &slow) < 2e-6);
        let sum = (&x + &y).and_then(|t| t.broadcast_add(&bias)).expect("sum");
        let slow = candle_nn::ops::layer_norm_slow(&sum, &weight, &shift, 1e-5).expect("norm");
        assert!(farthest(&add_norm(&x, &y, Some(&bias), &weight, &shift).expect("norm"), &slow) < 5e-6);
        assert!(bias_gelu(&x, &waves(&[7], 1.0)).is_err());
    }
}
