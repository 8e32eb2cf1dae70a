//! Every operation beside the same made of candle's own: values, and gradients of everything that goes in.

use super::super::{farthest, waves};
use super::*;
use candle_core::{D, Var};

type Operation<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// The farthest value and gradient, as a share of the largest of each.
fn apart(shapes: &[&[usize]], ours: Operation, candles: Operation) -> f32 {
    let vars: Vec<Var> = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| Var::from_tensor(&waves(shape, 0.37 + 0.21 * i as f32)).expect("variable"))
        .collect();
    let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let run = |operation: Operation| {
        // Used twice, so that gradients add up.
        let out = operation(&inputs).expect("forward");
        let weights = waves(out.dims(), 0.53);
        let twice = (&out * &weights).and_then(|a| a + out.sqr()? * 0.1).and_then(|a| a.sum_all()).expect("loss");
        let gradients = twice.backward().expect("backward");
        let all: Vec<Tensor> = vars.iter().map(|var| gradients.get(var).expect("a gradient").clone()).collect();
        (out, all)
    };
    let ((out, own), (expected, theirs)) = (run(ours), run(candles));
    assert_eq!(out.dims(), expected.dims());
    let share = |a: &Tensor, b: &Tensor| {
        let largest = farthest(b, &b.zeros_like().expect("zeros"));
        farthest(a, b) / largest.max(1e-6)
    };
    own.iter().zip(&theirs).map(|(a, b)| share(a, b)).fold(share(&out, &expected), f32::max)
}

#[test]
fn linear_layers_are_candles() {
    for (count, inputs, outputs) in [(1, 1, 1), (70, 300, 33), (5, 40, 520)] {
        let shapes: [&[usize]; 3] = [&[2, count, inputs], &[outputs, inputs], &[outputs]];
        let found = apart(&shapes, &|t| linear(&t[0], &t[1], Some(&t[2]), Precision::F32), &|t| {
            Ok(t[0].broadcast_matmul(&t[1].t()?)?.broadcast_add(&t[2])?)
        });
        assert!(found < 2e-5, "{found}");
        let found = apart(&shapes[..2], &|t| linear(&t[0], &t[1], None, Precision::F32), &|t| {
            Ok(t[0].broadcast_matmul(&t[1].t()?)?)
        });
        assert!(found < 2e-5, "{found}");
        let found = apart(&shapes, &|t| linear(&t[0], &t[1], Some(&t[2]), Precision::Bf16), &|t| {
            Ok(t[0].broadcast_matmul(&t[1].t()?)?.broadcast_add(&t[2])?)
        });
        assert!(found < 2e-2, "in bfloat16 {found}");
    }
    assert!(linear(&waves(&[2, 3], 0.1), &waves(&[4, 5], 0.1), None, Precision::F32).is_err());
}

#[test]
fn convolutions_of_every_sampling_are_candles() {
    // Thin ones, wide ones, long rows; the last three also by Winograd's way.
    let cases = [
        ([4, 6], 2, 3, 5),
        ([2, 2], 1, 300, 17),
        ([8, 4], 3, 16, 40),
        ([6, 40], 9, 20, 8),
        ([6, 8], 3, 33, 40),
        ([4, 4], 1, 300, 32),
        ([4, 70], 9, 35, 37),
    ];
    for (size, batch, inputs, outputs) in cases {
        for sampling in [Sampling::Same, Sampling::Half, Sampling::Double] {
            let [h, w] = size;
            let plain = |t: &[Tensor]| -> Result<Tensor> {
                let x = t[0].permute((2, 3, 0, 1))?.contiguous()?;
                let y = match sampling {
                    Sampling::Same => x.conv2d(&t[1], 1, 1, 1, 1)?,
                    Sampling::Half => x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?.conv2d(&t[1], 0, 2, 1, 1)?,
                    Sampling::Double => {
                        // Its own doubling has no gradient that could be trusted here.
                        let wide = x.reshape((batch, inputs, h, 1, w, 1))?.broadcast_as((batch, inputs, h, 2, w, 2))?;
                        wide.reshape((batch, inputs, 2 * h, 2 * w))?.conv2d(&t[1], 1, 1, 1, 1)?
                    }
                };
                Ok(y.permute((2, 3, 0, 1))?.broadcast_add(&t[2])?.contiguous()?)
            };
            let found = apart(
                &[&[h, w, batch, inputs], &[outputs, inputs, 3, 3], &[outputs]],
                &|t| convolution(&t[0], &t[1], &t[2], sampling, Precision::F32),
                &plain,
            );
            assert!(found < 3e-5, "{sampling:?} of {size:?}: {found}");
            let found = apart(
                &[&[h, w, batch, inputs], &[outputs, inputs, 3, 3], &[outputs]],
                &|t| convolution(&t[0], &t[1], &t[2], sampling, Precision::Bf16),
                &plain,
            );
            // Sums over waves nearly cancel, so that rounding shows; what is read in a wrong place is off by as much as it is large.
            assert!(found < 0.2, "in bfloat16, {sampling:?} of {size:?}: {found}");
        }
    }
    let wrong = convolution(
        &waves(&[3, 4, 1, 2], 0.1),
        &waves(&[5, 2, 3, 3], 0.1),
        &waves(&[5], 0.1),
        Sampling::Half,
        Precision::F32,
    );
    assert!(wrong.is_err());
}

#[test]
fn norms_are_candles() {
    let (batch, channels, groups) = (2, 24, 4);
    for swish in [false, true] {
        for of_items in [false, true] {
            let of = if of_items { vec![batch, channels] } else { vec![channels] };
            let plain = |t: &[Tensor]| -> Result<Tensor> {
                let grouped = t[0].permute((2, 3, 0, 1))?.reshape((batch, groups, ()))?;
                let centred = grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?;
                let normed = centred.broadcast_div(&(centred.sqr()?.mean_keepdim(2)? + 1e-6)?.sqrt()?)?;
                let normed = normed.reshape((batch, channels, 30, 40))?.permute((2, 3, 0, 1))?;
                let y = normed.broadcast_mul(&t[1])?.broadcast_add(&t[2])?;
                Ok(if swish { y.silu()? } else { y })
            };
            let found = apart(
                &[&[30, 40, batch, channels], &of, &of],
                &|t| group_norm(&t[0], &t[1], &t[2], groups, swish),
                &plain,
            );
            assert!(found < 1e-4, "{swish} {of_items}: {found}");
        }
    }
    for of in [&[40][..], &[3, 40]] {
        let plain = |t: &[Tensor]| -> Result<Tensor> {
            let centred = t[0].broadcast_sub(&t[0].mean_keepdim(D::Minus1)?)?;
            let normed = centred.broadcast_div(&(centred.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?)?;
            let row = |t: &Tensor| t.reshape(if of.len() == 1 { vec![1, 1, 40] } else { vec![3, 1, 40] });
            Ok(normed.broadcast_mul(&row(&t[1])?)?.broadcast_add(&row(&t[2])?)?)
        };
        let found = apart(&[&[3, 37, 40], of, of], &|t| norm(&t[0], &t[1], &t[2]), &plain);
        assert!(found < 1e-5, "{of:?}: {found}");
    }
    assert!(norm(&waves(&[2, 3, 4], 0.1), &waves(&[5], 0.1), &waves(&[5], 0.1)).is_err());
}

#[test]
fn attention_is_candles() {
    for (batch, tokens, heads, head) in
        [(2, 131, 3, 8), (1, 5, 2, 4), (1, 64, 1, 64), (2, 300, 1, 20), (2, 131, 2, 64), (1, 32, 2, 32)]
    {
        let width = heads * head;
        let plain = |t: &[Tensor]| -> Result<Tensor> {
            let parts = t[0].reshape((batch, tokens, 3, heads, head))?.permute((2, 0, 3, 1, 4))?;
            let part = |i: usize| parts.get(i)?.contiguous();
            let scores = (part(0)?.matmul(&part(1)?.t()?)? * (head as f64).powf(-0.5))?;
            let mixed = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&part(2)?)?;
            Ok(mixed.transpose(1, 2)?.reshape((batch, tokens, width))?)
        };
        let found = apart(&[&[batch, tokens, 3 * width]], &|t| attention(&t[0], heads, Precision::F32), &plain);
        assert!(found < 2e-5, "{tokens} tokens: {found}");
        let found = apart(&[&[batch, tokens, 3 * width]], &|t| attention(&t[0], heads, Precision::Bf16), &plain);
        assert!(found < 0.1, "in bfloat16, {tokens} tokens: {found}");
    }
}

#[test]
fn functions_of_one_value_are_candles() {
    let shapes: [&[usize]; 1] = [&[7, 5000]];
    let found = apart(&shapes, &|t| gelu(&t[0]), &|t| Ok(t[0].gelu_erf()?));
    assert!(found < 2e-6, "GELU {found}");
    let found = apart(&shapes, &|t| silu(&t[0]), &|t| Ok(t[0].silu()?));
    assert!(found < 2e-6, "SiLU {found}");
    let shapes: [&[usize]; 2] = [&[3, 50, 24], &[3, 24]];
    let found = apart(&shapes, &|t| scaled(&t[0], &t[1]), &|t| Ok(t[0].broadcast_mul(&t[1].unsqueeze(1)?)?));
    assert!(found < 1e-5, "scaled {found}");
    assert!(scaled(&waves(&[2, 3, 4], 0.1), &waves(&[3, 4], 0.1)).is_err());
}

#[test]
fn a_gradient_does_not_depend_on_the_number_of_threads() {
    let of = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            let x = Var::from_tensor(&waves(&[12, 12, 3, 40], 0.3)).expect("image");
            let kernel = Var::from_tensor(&waves(&[50, 40, 3, 3], 0.7)).expect("kernel");
            let [weight, shift] = [0.2, 0.5].map(|step| waves(&[40], step));
            let normed = group_norm(&x, &weight, &shift, 4, true).expect("norm");
            let out = convolution(&normed, &kernel, &waves(&[50], 0.1), Sampling::Same, Precision::F32).expect("out");
            let gradients = out.sqr().and_then(|t| t.sum_all()).and_then(|t| t.backward()).expect("gradients");
            let values = |var: &Var| -> Vec<f32> {
                gradients.get(var).and_then(|g| g.flatten_all().ok()).and_then(|g| g.to_vec1().ok()).expect("gradient")
            };
            (values(&x), values(&kernel))
        })
    };
    assert_eq!(of(1), of(3));
}
