//! Each kernel against candle on shapes that fill no tile.

use super::gpu::{Adapters, Area, Gpu};
use super::operations::{Affine, Image, Product, Rows};
use super::program::Recorder;
use super::{ShaderAutoencoder, ShaderDenoiser};
use crate::modality::{Mask, ModalityTable};
use crate::model::autoencoder::{Autoencoder, Codec};
use crate::model::cascade::{NOISE_CHANNELS, Part, Refiner, RefinerInput, RefinerSizes, Usage};
use crate::model::manifest::AutoencoderSizes;
use crate::model::parameters::MadeUp;
use crate::model::{Engine, Precision};
use candle_core::shape::Dims;
use candle_core::{D, Device, Tensor};
use candle_nn::ops::softmax_last_dim;
use std::sync::{Arc, LazyLock};

/// The adapter here, or `None`, and why, where there is none.
fn gpu() -> Option<&'static Arc<Gpu>> {
    static GPU: LazyLock<Option<Arc<Gpu>>> = LazyLock::new(|| {
        let opened = Adapters::find().open(true, Precision::F32);
        opened.map_err(|e| println!("skipped: {e}")).ok().map(Arc::new)
    });
    GPU.as_ref()
}

/// Irregular values of about 1.
fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) as f32 * 0.618).sin() * 1.3).collect()
}

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape, &Device::Cpu).expect("tensor")
}

/// Largest difference in terms of the largest value.
fn apart(found: &[f32], expected: &Tensor) -> f32 {
    let expected: Vec<f32> = expected.flatten_all().expect("flat").to_vec1().expect("values");
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.0);
    found
        .iter()
        .zip(&expected)
        .fold(0f32, |m, (a, b)| if (a - b).is_nan() { f32::INFINITY } else { m.max((a - b).abs()) })
        / largest
}

/// With mean 0 and variance 1 over these dimensions.
fn standardised(x: &Tensor, dims: impl Dims + Copy, eps: f64) -> Tensor {
    let centred = x.broadcast_sub(&x.mean_keepdim(dims).expect("mean")).expect("centred");
    let variance = centred.sqr().and_then(|squares| squares.mean_keepdim(dims)).expect("variance");
    let deviation = (variance + eps).and_then(|v| v.sqrt()).expect("deviation");
    centred.broadcast_div(&deviation).expect("standardised")
}

fn affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Tensor {
    x.broadcast_mul(scale).and_then(|x| x.broadcast_add(shift)).expect("affine")
}

/// Records one thing and runs it.
fn run(gpu: &Gpu, quads: usize, record: impl FnOnce(&mut Recorder, &Area)) -> Vec<f32> {
    let mut recorder = Recorder::new(gpu);
    let result = recorder.take(quads).expect("memory");
    record(&mut recorder, &result);
    let program = recorder.finish(&[(&result, quads)]).expect("program");
    program.run(gpu, &[]).expect("run")
}

#[test]
fn products_end_as_they_should_on_any_shape() {
    let Some(gpu) = gpu() else { return };
    for (rows, inner, columns) in [(1, 4, 4), (3, 20, 68), (65, 36, 132), (130, 128, 12)] {
        let (a, w, b) = (values(rows * inner, 1), values(columns * inner, 2), values(columns, 3));
        let extra = values(rows * columns, 4);
        let plain = tensor(&a, &[rows, inner]).matmul(&tensor(&w, &[columns, inner]).t().expect("t")).expect("product");
        let plain = plain.broadcast_add(&tensor(&b, &[columns])).expect("sum");
        let residual = (&plain + tensor(&extra, &[rows, columns])).expect("sum");
        for half in [false, true] {
            let weight = gpu.upload_matrix("w", &w, inner, half).expect("weight");
            let [first, bias, added] = [&a, &b, &extra].map(|v| gpu.upload("v", v).expect("upload"));
            let bound = if half { 2e-3 } else { 2e-6 };
            let quads = rows * columns / 4;
            let check =
                |name: &str, expected: &Tensor, change: &dyn for<'a> Fn(Product<'a>, &'a Area) -> Product<'a>| {
                    let found = run(gpu, quads, |recorder, result| {
                        let product = change(Product::new(rows, &first, &weight, &bias, result), &added);
                        recorder.product(&product).expect("product");
                    });
                    let error = apart(&found, expected);
                    assert!(error < bound, "{name} of {rows}×{inner}×{columns}, half {half}: {error}");
                };
            check("plain", &plain, &|product, _| product);
            check("gelu", &plain.gelu_erf().expect("gelu"), &|product, _| Product { gelu: true, ..product });
            check("residual", &residual, &|product, added| Product {
                residual: Some((added, Rows { base: 0, step: rows })),
                ..product
            });
        }
    }
}

#[test]
fn a_skip_is_a_product_with_both_rows_beside_each_other() {
    let Some(gpu) = gpu() else { return };
    let (rows, inner, columns) = (70, 36, 36);
    let (x, skip) = (values(rows * inner, 1), values(rows * inner, 2));
    let (w, b) = (values(2 * inner * columns, 3), values(columns, 4));
    let joined = Tensor::cat(&[tensor(&x, &[rows, inner]), tensor(&skip, &[rows, inner])], 1).expect("cat");
    let expected = joined.matmul(&tensor(&w, &[columns, 2 * inner]).t().expect("t")).expect("product");
    let expected = expected.broadcast_add(&tensor(&b, &[columns])).expect("sum");
    let weight = gpu.upload_matrix("w", &w, 2 * inner, false).expect("weight");
    let [x, skip, bias] = [&x, &skip, &b].map(|v| gpu.upload("v", v).expect("upload"));
    let found = run(gpu, rows * columns / 4, |recorder, result| {
        let product = Product { second: Some(&skip), ..Product::new(rows, &x, &weight, &bias, result) };
        recorder.product(&product).expect("product");
    });
    assert!(apart(&found, &expected) < 2e-6);
}

#[test]
fn convolutions_read_zeros_around_and_may_halve_or_double() {
    let Some(gpu) = gpu() else { return };
    let (items, channels, outputs) = (2, 12, 20);
    for (height, width, halved, doubled) in [(5, 7, false, false), (6, 10, true, false), (5, 3, false, true)] {
        let x = values(items * height * width * channels, 1);
        let (w, b) = (values(outputs * 9 * channels, 2), values(outputs, 3));
        // (item, row, column, channel) → (item, channel, row, column).
        let image = tensor(&x, &[items, height, width, channels]).permute((0, 3, 1, 2)).expect("image");
        let image = if doubled { image.upsample_nearest2d(2 * height, 2 * width).expect("up") } else { image };
        let kernel = tensor(&w, &[outputs, 3, 3, channels]).permute((0, 3, 1, 2)).expect("kernel").contiguous();
        let kernel = kernel.expect("kernel");
        let expected = if halved {
            let padded = image.pad_with_zeros(2, 0, 1).and_then(|x| x.pad_with_zeros(3, 0, 1)).expect("pad");
            padded.contiguous().expect("image").conv2d(&kernel, 0, 2, 1, 1)
        } else {
            image.contiguous().expect("image").conv2d(&kernel, 1, 1, 1, 1)
        };
        let expected = expected.and_then(|y| y.permute((0, 2, 3, 1))).expect("convolution");
        let expected = expected.broadcast_add(&tensor(&b, &[outputs])).expect("bias");
        let shape = Image { height, width, channels: channels / 4, halved, doubled };
        let [rows, columns] = shape.result();
        let weight = gpu.upload_matrix("w", &w, 9 * channels, false).expect("weight");
        let [first, bias] = [&x, &b].map(|v| gpu.upload("v", v).expect("upload"));
        let found = run(gpu, items * rows * columns * outputs / 4, |recorder, result| {
            let all = Rows { base: 0, step: rows * columns };
            let product = Product::new(items * rows * columns, &first, &weight, &bias, result);
            let product = Product { per_item: rows * columns, image: Some(shape), result_rows: all, ..product };
            recorder.product(&product).expect("product");
        });
        let error = apart(&found, &expected);
        assert!(error < 2e-6, "{height}×{width}, halved {halved}, doubled {doubled}: {error}");
    }
}

#[test]
fn attention_agrees_with_stored_scores() {
    let Some(gpu) = gpu() else { return };
    for (items, tokens, heads, head) in
        [(1, 1, 1, 4), (2, 65, 3, 16), (1, 130, 2, 72), (2, 64, 1, 128), (1, 200, 2, 64)]
    {
        let width = heads * head;
        let mut qkv = values(items * tokens * 3 * width, 1);
        // Some scores far above the others, in later tiles too.
        qkv.iter_mut().enumerate().filter(|(i, _)| i % 1013 < 40).for_each(|(_, v)| *v *= 6.0);
        let joint = tensor(&qkv, &[items, tokens, 3, heads, head]).permute((2, 0, 3, 1, 4)).expect("joint");
        let part = |i: usize| joint.get(i).expect("part").contiguous().expect("part");
        let scores =
            (part(0).matmul(&part(1).t().expect("t")).expect("scores") * (head as f64).powf(-0.5)).expect("scale");
        let mixed = softmax_last_dim(&scores).expect("softmax").matmul(&part(2)).expect("mixed");
        let expected = mixed.transpose(1, 2).expect("order");
        let area = gpu.upload("qkv", &qkv).expect("upload");
        let found = run(gpu, items * tokens * width / 4, |recorder, result| {
            recorder.attention(&area, result, [items, tokens, width / 4, heads]).expect("attention");
        });
        let error = apart(&found, &expected);
        assert!(error < 5e-6, "{items} × {tokens} tokens, {heads} heads of {head}: {error}");
    }
}

#[test]
fn norms_and_softmax_agree_far_from_zero_too() {
    let Some(gpu) = gpu() else { return };
    let (rows, width) = (5, 132);
    let x: Vec<f32> = values(rows * width, 1).iter().map(|v| v + 30.0).collect();
    let (scale, shift) = (values(width, 2), values(width, 3));
    let [scale_t, shift_t] = [&scale, &shift].map(|v| tensor(v, &[width]));
    let expected = affine(&standardised(&tensor(&x, &[rows, width]), 1, 1e-5), &scale_t, &shift_t);
    let [area, a, b] = [&x, &scale, &shift].map(|v| gpu.upload("v", v).expect("upload"));
    let found = run(gpu, rows * width / 4, |recorder, result| {
        recorder.layer_norm(rows, width / 4, &area, [&a, &b], result).expect("norm");
    });
    assert!(apart(&found, &expected) < 2e-5);

    let (items, pixels) = (2, 150);
    let x: Vec<f32> = values(items * pixels * width, 4).iter().map(|v| v + 20.0).collect();
    let area = gpu.upload("v", &x).expect("upload");
    for (groups, swish) in [(33, true), (1, false), (132, true)] {
        let own = tensor(&x, &[items, pixels, groups, width / groups]);
        let normed = standardised(&own, (1, 3), 1e-6).reshape((items, pixels, width)).expect("shape");
        let affine = affine(&normed, &scale_t, &shift_t);
        let expected = if swish { affine.silu().expect("swish") } else { affine };
        let found = run(gpu, items * pixels * width / 4, |recorder, result| {
            let sizes = [items, pixels, width / 4, groups];
            recorder.group_norm(sizes, &area, Affine::shared([&a, &b]), swish, result).expect("norm");
        });
        let error = apart(&found, &expected);
        assert!(error < 2e-5, "{groups} groups: {error}");
    }

    let (rows, count, step) = (3, 70, 72);
    let x = values(rows * step, 5);
    let own = tensor(&x, &[rows, step]).narrow(1, 0, count).expect("narrow");
    let expected = softmax_last_dim(&(own * 3.0).expect("scale").contiguous().expect("own")).expect("softmax");
    let expected = expected.pad_with_zeros(D::Minus1, 0, step - count).expect("padded");
    let mut recorder = Recorder::new(gpu);
    let area = gpu.upload("v", &x).expect("upload");
    recorder.softmax(&area, [rows, count, step], 3.0).expect("softmax");
    let program = recorder.finish(&[(&area, rows * step / 4)]).expect("program");
    assert!(apart(&program.run(gpu, &[]).expect("run"), &expected) < 2e-6);
}

#[test]
fn an_autoencoder_with_a_linear_path_and_odd_channels_agrees_with_candle() {
    let Some(gpu) = gpu() else { return };
    let sizes = AutoencoderSizes {
        base_width: 8,
        multipliers: vec![1, 2],
        residual_blocks: 1,
        norm_groups: 4,
        linear_path: true,
    };
    let (channels, latent) = (3, 5);
    let device = &Device::Cpu;
    let cpu = Autoencoder::new(&sizes, channels, latent, &mut Named, device).expect("autoencoder");
    let card = ShaderAutoencoder::new(&sizes, channels, latent, &mut Named, gpu).expect("autoencoder");
    // An odd number of positions, and two items.
    let image = tensor(&values(2 * channels * 10 * 6, 1), &[2, channels, 10, 6]);
    let z = tensor(&values(2 * latent * 5 * 3, 2), &[2, latent, 5, 3]);
    for (found, expected) in [
        (card.moments(&image).expect("moments"), cpu.moments(&image).expect("moments")),
        (card.decode(&z).expect("decoded"), cpu.decode(&z).expect("decoded")),
    ] {
        assert_eq!(found.dims(), expected.dims());
        let found: Vec<f32> = found.flatten_all().expect("flat").to_vec1().expect("values");
        assert!(apart(&found, &expected) < 1e-5);
    }
    assert!(card.moments(&z).is_err() && card.decode(&image).is_err());
}

/// Parameters that depend on their name alone, in whichever order they are asked for.
struct Named;

impl crate::model::Parameters for Named {
    fn get(&mut self, name: &str, shape: &[usize], init: crate::model::Init) -> crate::Result<Tensor> {
        let seed = name.bytes().fold(7, |seed: usize, b| (seed * 31 + usize::from(b)) % 9973);
        let offset = if init == crate::model::Init::Ones { 1.0 } else { 0.0 };
        let data: Vec<f32> = values(shape.iter().product(), seed).iter().map(|v| offset + 0.2 * v).collect();
        Ok(Tensor::from_vec(data, shape, &Device::Cpu)?)
    }
}

/// Items for a refiner: everything occurs in them that one may know of a modality.
fn refiner_items(refiner: &Refiner) -> Vec<(Vec<RefinerInput>, Vec<f32>)> {
    let side = refiner.layers()[0].side;
    let count = refiner.cells().count();
    let input = |item: usize, (i, part): (usize, &Option<Part>)| {
        let usage = [Usage::Given, Usage::Drawn, Usage::Drawn, Usage::Absent][(i + item) % 4];
        let Some(part) = part.as_ref().filter(|_| usage != Usage::Absent) else {
            return RefinerInput { usage: Usage::Absent, cells: Vec::new(), pixels: None };
        };
        let channels = if part.has_spreads() { 2 * part.channels } else { part.channels };
        let pixels = || values(part.channels * part.pixels * part.pixels, 10 * item + i);
        let some = Mask::from_fn(part.pixels, part.pixels, |pixel| pixel % 5 < 2);
        let pixels = match usage {
            Usage::Given => Some((pixels(), None)),
            _ => (i % 2 == 0).then(|| (pixels(), Some(some))),
        };
        RefinerInput { usage, cells: values(channels * count, 20 * item + i), pixels }
    };
    let item = |item: usize| {
        let inputs = refiner.cells().parts.iter().enumerate().map(|part| input(item, part)).collect();
        (inputs, values(NOISE_CHANNELS * side * side, 50 + item))
    };
    (0..2).map(item).collect()
}

#[test]
fn a_refiner_draws_what_it_draws_on_a_cpu_in_any_batch() {
    let Some(gpu) = gpu() else { return };
    let path = crate::files::bundled("models/recipes/cascade_modalities.json").expect("table");
    let table: ModalityTable = serde_json::from_slice(&std::fs::read(path).expect("text")).expect("table");
    let sizes = RefinerSizes { width: 32, cell_blocks: 2, half_blocks: 1, fine_blocks: 1 };
    let on = |engine: &Engine| engine.refiner(&table, &sizes, &mut Named).expect("refiner");
    let (cpu, card) = (on(&Engine::cpu()), on(&Engine::Shaders(gpu.clone())));
    let items = refiner_items(&cpu);
    let items: Vec<(&[RefinerInput], &[f32])> = items.iter().map(|(a, b)| (a.as_slice(), b.as_slice())).collect();
    let drawn = |refiner: &Refiner, items: &[(&[RefinerInput], &[f32])]| {
        let inputs = refiner.prepare(items).expect("inputs");
        (refiner.forward(&inputs).expect("drawn"), inputs.base)
    };
    let flat = |x: &Tensor| -> Vec<f32> { x.flatten_all().expect("flat").to_vec1().expect("values") };
    let ((expected, base), (found, _)) = (drawn(&cpu, &items), drawn(&card, &items));
    let (alone, _) = drawn(&card, &items[1..]);
    for (layer, expected) in expected.iter().enumerate() {
        assert_eq!(found[layer].dims(), expected.dims());
        let error = apart(&flat(&found[layer]), expected);
        println!("layer {layer}: {error:.1e}");
        assert!(error < 2e-5, "layer {layer}: {error}");
        // The network adds something to what cells alone tell.
        assert!(apart(&flat(&base[layer]), expected) > 0.1);
        let second = found[layer].narrow(2, 1, 1).expect("item");
        assert!(flat(&second) == flat(&alone[layer]), "layer {layer} depends on the batch");
    }
    // With weights in half precision.
    let gpu = Adapters::find().open(true, Precision::F16).expect("the same adapter");
    let (found, _) = drawn(&on(&Engine::Shaders(Arc::new(gpu))), &items);
    for (found, expected) in found.iter().zip(&expected) {
        let error = apart(&flat(found), expected);
        println!("half precision: {error:.1e}");
        assert!(error < 1e-2 && error > 1e-6, "half precision: {error}");
    }
}

#[test]
fn heads_and_channels_that_do_not_suit_are_refused() {
    let Some(gpu) = gpu() else { return };
    let table = ModalityTable::published();
    let sizes = crate::model::DenoiserSizes { width: 12, depth: 0, heads: 2, mlp_ratio: 1 };
    let refused = ShaderDenoiser::new(&table, &sizes, &mut MadeUp::new(&Device::Cpu), gpu).err().expect("refused");
    assert!(refused.to_string().contains("heads of 6 features"), "{refused}");
    let sizes = AutoencoderSizes { base_width: 6, norm_groups: 3, ..AutoencoderSizes::published() };
    let refused = ShaderAutoencoder::new(&sizes, 1, 8, &mut MadeUp::new(&Device::Cpu), gpu).err().expect("refused");
    assert!(refused.to_string().contains("base width is 6"), "{refused}");
}
