//! The field against plain linear algebra over all pixels at once.

use super::*;
use crate::Result;
use crate::modality::ModalityTable;
use crate::model::denoiser::NoisePredictor;
use crate::model::manifest::DenoiserSizes;
use crate::model::parameters::{Init, Parameters};
use candle_core::{Device, Tensor};
use nalgebra::DMatrix;

/// Two bands of 8 × 8, elevation of 4 × 4, and where it is.
fn table() -> ModalityTable {
    let text = r#"[
      {"key": "where", "name": "location", "family": "location", "channels": ["x", "y", "z"], "pixels": 0,
       "ground_m": 0.0, "latent": [1, 1, 3], "patch": 1, "scale_factor": 1.0, "values": {"kind": "location"}},
      {"key": "o", "name": "o", "family": "o", "channels": ["B1", "B2"], "pixels": 8, "ground_m": 10.0,
       "latent": [2, 8, 8], "patch": 4, "scale_factor": 1.0, "values": {"kind": "reflectance", "dn_per_unit": 10000.0}},
      {"key": "d", "name": "d", "family": "d", "channels": ["d"], "pixels": 4, "ground_m": 20.0,
       "latent": [1, 4, 4], "patch": 2, "scale_factor": 1.0, "values": {"kind": "root_elevation", "max_m": 9000.0}}
    ]"#;
    serde_json::from_str(text).expect("table")
}

/// A field whose channels go together, differently at each scale.
fn statistics() -> Statistics {
    let n = 6;
    let correlation = |bin: usize| {
        let strength = 0.8 / (1.0 + 0.1 * bin as f64);
        DMatrix::from_fn(n, n, |i, j| if i == j { 1.0 } else { strength * if (i + j) % 2 == 0 { 1.0 } else { -0.5 } })
    };
    let deviation = |bin: usize| (0..n).map(|c| 0.5 / (1.0 + bin as f64 + c as f64)).collect();
    let bins = Layout::bins();
    let mean = (0..n).map(|c| 0.1 * c as f64).collect();
    let regime = Regime { weight: 1.0, mean: vec![0.0; n], covariance: (0..bins).map(correlation).collect() };
    Statistics::new(&table(), mean, (0..bins).map(deviation).collect(), vec![regime]).expect("statistics")
}

fn made_up(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0).collect()
}

#[test]
fn evening_out_and_colouring_are_inverse() {
    let statistics = statistics();
    for (i, part) in statistics.layout.parts.iter().enumerate() {
        let values = made_up(part.size(), i);
        let mut work = values.clone();
        statistics.whiten(i, &mut work);
        statistics.colour(i, &mut work);
        assert!(work.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-4), "modality {i}");
    }
}

/// The covariance of all latents, pixel by pixel, from the definition: coefficients of one frequency go together as
/// the correlation of its bin says and vary by its gain; different frequencies are independent.
fn covariance(statistics: &Statistics) -> (DMatrix<f64>, Vec<usize>) {
    let layout = &statistics.layout;
    let starts: Vec<usize> = layout
        .parts
        .iter()
        .scan(0, |at, part| {
            let start = *at;
            *at += part.size();
            Some(start)
        })
        .collect();
    let size = layout.parts.iter().map(|p| p.size()).sum();
    // Columns: every coefficient's picture.
    let mut pictures = DMatrix::<f64>::zeros(size, size);
    let mut frequency = vec![(0, 0, 0); size];
    for (part, start) in layout.parts.iter().zip(&starts) {
        for k in 0..part.size() {
            let mut image = vec![0f32; part.size()];
            image[k] = 1.0;
            statistics.cosines().inverse(&mut image, part.side);
            image.iter().enumerate().for_each(|(row, v)| pictures[(start + row, start + k)] = f64::from(*v));
            let (channel, square) = (k / (part.side * part.side), k % (part.side * part.side));
            frequency[start + k] = (part.first + channel, square / part.side, square % part.side);
        }
    }
    let between = DMatrix::from_fn(size, size, |a, b| {
        let ((ca, va, ua), (cb, vb, ub)) = (frequency[a], frequency[b]);
        if (va, ua) != (vb, ub) {
            return 0.0;
        }
        let bin = Layout::bin((va as f64).hypot(ua as f64));
        statistics.regimes[0].covariance[bin][(ca, cb)] * Layout::gain(bin).powi(2)
    });
    (&pictures * between * pictures.transpose(), starts)
}

#[test]
fn the_estimate_is_the_conditional_mean_and_its_deviation_the_conditional_one() {
    let statistics = statistics();
    let layout = &statistics.layout;
    let (covariance, starts) = covariance(&statistics);
    let size = covariance.nrows();
    let levels =
        [Level { signal: 0.9, noise: 0.436 }, Level { signal: 0.5, noise: 0.866 }, Level { signal: 1.0, noise: 0.05 }];
    let noisy: Vec<Vec<f32>> = layout.parts.iter().enumerate().map(|(i, p)| made_up(p.size(), i + 5)).collect();
    let of = |k: usize| levels[starts.iter().rposition(|s| *s <= k).expect("modality")];
    // x = A z + σ ε: mean = C A (A C A + σ²)⁻¹ x.
    let cross = DMatrix::from_fn(size, size, |i, j| covariance[(i, j)] * of(j).signal);
    let mut system = DMatrix::from_fn(size, size, |i, j| cross[(i, j)] * of(i).signal);
    for k in 0..size {
        // Without the floor: where noise is this large it hardly matters.
        system[(k, k)] += of(k).noise.powi(2);
    }
    let gain = &cross * system.try_inverse().expect("invertible");
    let x = nalgebra::DVector::from_iterator(size, noisy.iter().flatten().map(|v| f64::from(*v)));
    let expected = &gain * x;

    let posterior = Posterior::new(&statistics, &levels).expect("posterior");
    let mut coefficients = noisy.clone();
    for (values, part) in coefficients.iter_mut().zip(&layout.parts) {
        statistics.cosines().forward(values, part.side);
    }
    let Estimate { coefficients: mut estimate, shares } = posterior.estimate(layout, &coefficients);
    let deviation = posterior.deviation(&shares);
    for (values, part) in estimate.iter_mut().zip(&layout.parts) {
        statistics.cosines().inverse(values, part.side);
    }
    let found: Vec<f32> = estimate.into_iter().flatten().collect();
    let worst = found.iter().zip(expected.iter()).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(worst < 5e-3, "{worst}");

    // Total variance left in band 1 = sum over its frequencies.
    let rest = &covariance - &gain * cross.transpose();
    let (start, square) = (starts[1], 64);
    let expected: f64 = (start..start + square).map(|k| rest[(k, k)]).sum();
    let by_frequency = (0..square).map(|k| {
        let bin = Layout::bin(((k / 8) as f64).hypot((k % 8) as f64));
        // A bin has one deviation, the root of its mean square.
        f64::from(deviation[bin][layout.parts[1].first]).powi(2)
    });
    let found: f64 = by_frequency.sum();
    assert!((found / expected - 1.0).abs() < 0.05, "{found} {expected}");
}

/// Parameters that are all zero: the network says nothing.
struct Silent;

impl Parameters for Silent {
    fn get(&mut self, _name: &str, shape: &[usize], _init: Init) -> Result<Tensor> {
        Ok(Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu)?)
    }
}

#[test]
fn without_a_word_from_the_network_the_noise_is_that_of_the_field() {
    let (table, statistics) = (table(), statistics());
    let sizes = DenoiserSizes {
        width: 8,
        depth: 2,
        heads: 2,
        mlp_ratio: 2,
        local: Some(LocalSizes { width: 4, fine_blocks: 1, coarse_blocks: 1 }),
    };
    let denoiser = FieldDenoiser::new(&table, &sizes, statistics, &mut Silent, &Device::Cpu).expect("denoiser");
    let latents: Vec<Tensor> = table
        .iter()
        .enumerate()
        .map(|(i, m)| {
            let [c, h, w] = m.latent;
            Tensor::from_vec(made_up(c * h * w, i), (1, c, h, w), &Device::Cpu).expect("latent")
        })
        .collect();
    let times = vec![vec![0.0], vec![400.0], vec![400.0]];
    let noise = denoiser.noise(&latents, &times).expect("noise");
    let flat = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
    assert!(flat(&noise[0]).iter().all(|v| *v == 0.0), "a given value has no noise");
    let level = denoiser.level(400.0);
    let levels: Vec<Level> = times.iter().map(|t| denoiser.level(t[0])).collect();
    let noisy: Vec<Vec<f32>> = latents.iter().map(flat).collect();
    let inputs = denoiser.prepare(&noisy, &levels).expect("inputs");
    let second = denoiser.refine_inputs(&noisy, &inputs.estimate, &levels, &inputs.deviation);
    assert_eq!(second.values.len(), 4 * 4 * 2 * (2 * 4 + 1));
    for i in [1, 2] {
        for ((x, data), found) in noisy[i].iter().zip(&inputs.estimate[i]).zip(flat(&noise[i])) {
            let expected = (f64::from(*x) - level.signal * f64::from(*data)) / level.noise;
            assert!((expected - f64::from(found)).abs() < 1e-4);
        }
    }
    // What is given is estimated to be itself.
    assert!(noisy[0].iter().zip(&inputs.estimate[0]).all(|(a, b)| (a - b).abs() < 1e-2));
}

#[test]
fn features_of_places_go_back_to_where_they_came_from() {
    let (table, statistics) = (table(), statistics());
    let places = Places::new(&table, &statistics.layout).expect("places");
    assert_eq!((places.count(), places.features), (4, 2 * 16 + 4));
    // All coefficients of these small patches are kept, so nothing is lost.
    for i in [1, 2] {
        let image = made_up(statistics.layout.parts[i].size(), i);
        let mut features = vec![0.0; places.count() * places.features];
        places.gather(i, &image, &mut features, places.features);
        let mut back = vec![0.0; image.len()];
        places.scatter(i, &features, places.features, &mut back);
        assert!(back.iter().zip(&image).all(|(a, b)| (a - b).abs() < 1e-5), "modality {i}");
    }
}

#[test]
fn the_local_grid_holds_every_pixel_of_what_it_corrects() {
    let (table, statistics) = (table(), statistics());
    let grid = CellGrid::new(&table, &statistics.layout).expect("grid");
    assert_eq!((grid.side, grid.channels, grid.corrected), (4, 2 * 4 + 1, 2 * 4 + 1));
    for i in [1, 2] {
        let image = made_up(statistics.layout.parts[i].size(), i);
        let mut values = vec![0.0; 16 * grid.channels];
        let mut slot = Block { values: &mut values, stride: grid.channels, offset: 0 };
        grid.put(&statistics.layout, i, &image, 2.0, &mut slot);
        let mut back = vec![0.0; image.len()];
        grid.add(&statistics.layout, i, &values, 0.5, &mut back);
        assert_eq!(back, image, "modality {i}");
    }
}

#[test]
fn the_regime_is_told_from_the_level_and_doubted_in_noise() {
    let one = statistics();
    let regime = |mean: f64, weight: f64| Regime { weight, mean: vec![mean; 6], ..one.regimes[0].clone() };
    let regimes = vec![regime(-4.0, 0.25), regime(4.0, 0.75)];
    let statistics = Statistics::new(&table(), one.mean.clone(), one.deviation.clone(), regimes).expect("statistics");
    let layout = &statistics.layout;
    let shares = |level: f64, noise: Level| {
        // All windows' means at this level, nothing else.
        let constant = |p: &layout::Part| {
            let square = p.side * p.side;
            (0..p.size())
                .map(|k| if k % square == 0 { (level * noise.signal * Layout::gain(0)) as f32 } else { 0.0 })
                .collect()
        };
        let coefficients: Vec<Vec<f32>> = layout.parts.iter().map(constant).collect();
        let posterior = Posterior::new(&statistics, &[noise; 3]).expect("posterior");
        posterior.estimate(layout, &coefficients).shares
    };
    let clear = Level { signal: 1.0, noise: 0.0 };
    assert!(shares(-4.0, clear)[0] > 0.999 && shares(4.0, clear)[1] > 0.999);
    let nothing = Level { signal: 0.0, noise: 1.0 };
    assert!((shares(4.0, nothing)[0] - 0.25).abs() < 1e-9, "without a signal they are as probable as ever");
}
