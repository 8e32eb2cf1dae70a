//! A small convolutional network that learns to tell two sets of pictures apart. Pictures that it cannot tell apart look alike.

use super::correlations::interval_of;
use crate::error::{Error, Result};
use crate::sampler::training_generator;
use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, ops};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use rand_distr::{Distribution, StandardNormal};
use std::collections::{BTreeMap, BTreeSet};

/// Pixels along a side of the crops that are learned from.
const CROP: usize = 48;
/// Steps of training.
const STEPS: usize = 300;
/// Pictures of either set in a step.
const BATCH: usize = 16;
/// Channels of the three layers.
const WIDTHS: [usize; 3] = [16, 32, 64];
/// Standardised values beyond this are clouds and roofs.
const LARGEST: f32 = 4.0;

/// A square picture of a place.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// Where it is of: no place is both learned from and judged.
    pub place: String,
    /// `(channels, side, side)`.
    pub values: Vec<f32>,
}

/// How well two sets are told apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    /// Area under the curve of the classifier on places it did not learn from: 0.5 is a guess, 1 is certainty.
    pub area: f64,
    /// The same over draws of the places.
    pub interval: Option<[f64; 2]>,
}

/// Learns on every second place, judges the others, and the other way round; pictures have these channels. `None` with
/// fewer than two places on either side.
///
/// # Errors
/// When the device fails.
pub(super) fn told_apart(real: &[Picture], other: &[Picture], channels: usize) -> Result<Option<Verdict>> {
    told_apart_after(STEPS, real, other, channels)
}

fn told_apart_after(steps: usize, real: &[Picture], other: &[Picture], channels: usize) -> Result<Option<Verdict>> {
    let places: BTreeSet<&str> = real.iter().chain(other).map(|p| p.place.as_str()).collect();
    let fold: BTreeMap<&str, usize> = places.iter().enumerate().map(|(k, place)| (*place, k % 2)).collect();
    fn of_fold<'a>(set: &'a [Picture], fold: &BTreeMap<&str, usize>, wanted: usize) -> Vec<&'a Picture> {
        set.iter().filter(|p| fold[p.place.as_str()] == wanted).collect()
    }
    let standards = standards(real, channels);
    // By place: scores of either set, comparable within a fold.
    let mut scores: [BTreeMap<String, [Vec<f64>; 2]>; 2] = Default::default();
    for (judged, scores) in scores.iter_mut().enumerate() {
        let learned = [real, other].map(|set| of_fold(set, &fold, 1 - judged));
        let asked = [real, other].map(|set| of_fold(set, &fold, judged));
        if learned.iter().chain(&asked).any(Vec::is_empty) {
            return Ok(None);
        }
        let classifier = Classifier::learn(steps, &learned, channels, &standards, judged as u64)?;
        for (set, pictures) in asked.iter().enumerate() {
            for picture in pictures {
                let score = classifier.score(picture, channels, &standards)?;
                scores.entry(picture.place.clone()).or_default()[set].push(score);
            }
        }
    }
    let area_of = |places: &[Vec<&[Vec<f64>; 2]>; 2]| {
        let areas = places.each_ref().map(|fold| {
            let all = |set: usize| -> Vec<f64> { fold.iter().flat_map(|s| s[set].iter().copied()).collect() };
            area_under_curve(&all(0), &all(1))
        });
        (areas[0] + areas[1]) / 2.0
    };
    let by_place = scores.each_ref().map(|fold| fold.values().collect::<Vec<_>>());
    let sizes = by_place.each_ref().map(Vec::len);
    let interval = interval_of(sizes[0].min(sizes[1]), &mut |draw| {
        area_of(&by_place.each_ref().map(|fold| (0..fold.len()).map(|_| fold[draw(fold.len())]).collect()))
    });
    Ok(Some(Verdict { area: area_of(&by_place), interval }))
}

/// How likely one of the second set scores higher than one of the first; equal scores count half.
fn area_under_curve(first: &[f64], second: &[f64]) -> f64 {
    let of_pair = |a: f64, b: f64| if b > a { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
    let sum: f64 = second.iter().flat_map(|b| first.iter().map(move |a| of_pair(*a, *b))).sum();
    sum / (first.len() * second.len()) as f64
}

/// Mean and reciprocal deviation of each channel.
fn standards(pictures: &[Picture], channels: usize) -> Vec<[f32; 2]> {
    let of = |c: usize| {
        let own = |p: &Picture| {
            let size = p.values.len() / channels;
            p.values[c * size..(c + 1) * size].iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
        };
        let all: Vec<f64> = pictures.iter().flat_map(own).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / all.len() as f64;
        [mean as f32, (1.0 / variance.sqrt().max(1e-9)) as f32]
    };
    (0..channels).map(of).collect()
}

/// Three convolutions, the mean of what they find, and a number.
struct Classifier {
    convolutions: Vec<[Var; 2]>,
    last: [Var; 2],
}

impl Classifier {
    fn new(channels: usize, generator: &mut ChaCha12Rng) -> Result<Self> {
        let mut normal = |shape: &[usize], deviation: f64| -> Result<Var> {
            let count = shape.iter().product();
            let mut value = || -> f32 { (deviation * Distribution::<f64>::sample(&StandardNormal, generator)) as f32 };
            let values: Vec<f32> = (0..count).map(|_| value()).collect();
            Ok(Var::from_vec(values, shape, &Device::Cpu)?)
        };
        let (mut convolutions, mut inputs) = (Vec::new(), channels);
        for width in WIDTHS {
            let weight = normal(&[width, inputs, 3, 3], (2.0 / (9 * inputs) as f64).sqrt())?;
            convolutions.push([weight, normal(&[width], 0.0)?]);
            inputs = width;
        }
        Ok(Self { convolutions, last: [normal(&[inputs, 1], 0.1)?, normal(&[1], 0.0)?] })
    }

    fn variables(&self) -> Vec<Var> {
        self.convolutions.iter().chain([&self.last]).flatten().cloned().collect()
    }

    /// `(pictures, channels, side, side)` to one number each.
    fn forward(&self, pictures: &Tensor) -> Result<Tensor> {
        let mut x = pictures.clone();
        for (k, [weight, bias]) in self.convolutions.iter().enumerate() {
            // The first layer sees every pixel: what is blurred by one pixel differs there.
            let stride = if k == 0 { 1 } else { 2 };
            let bias = bias.reshape((1, bias.elem_count(), 1, 1))?;
            x = ops::leaky_relu(&x.conv2d(weight, 1, stride, 1, 1)?.broadcast_add(&bias)?, 0.1)?;
        }
        let found = x.mean((2, 3))?.matmul(&self.last[0])?.broadcast_add(&self.last[1])?;
        Ok(found.squeeze(1)?)
    }

    fn learn(
        steps: usize,
        sets: &[Vec<&Picture>; 2],
        channels: usize,
        standards: &[[f32; 2]],
        number: u64,
    ) -> Result<Self> {
        let mut generator = training_generator(0, "classifier", "", number);
        let network = Self::new(channels, &mut generator)?;
        let rate = ParamsAdamW { lr: 2e-3, weight_decay: 1e-2, ..Default::default() };
        let mut optimiser = AdamW::new(network.variables(), rate)?;
        let answers = [0f32, 1.0].map(|answer| [answer; BATCH]).concat();
        let answers = Tensor::from_vec(answers, 2 * BATCH, &Device::Cpu)?;
        for _ in 0..steps {
            let (mut values, mut side) = (Vec::new(), CROP);
            for set in sets {
                for _ in 0..BATCH {
                    let picture = set[(generator.next_u64() % set.len() as u64) as usize];
                    let (crop, own) = crop(picture, channels, standards, Some(&mut generator));
                    values.extend(crop);
                    side = own;
                }
            }
            let pictures = Tensor::from_vec(values, (2 * BATCH, channels, side, side), &Device::Cpu)?;
            optimiser.backward_step(&cross_entropy(&network.forward(&pictures)?, &answers)?)?;
        }
        Ok(network)
    }

    fn score(&self, picture: &Picture, channels: usize, standards: &[[f32; 2]]) -> Result<f64> {
        let (values, side) = crop(picture, channels, standards, None);
        let picture = Tensor::from_vec(values, (1, channels, side, side), &Device::Cpu)?;
        let score = f64::from(self.forward(&picture)?.to_vec1::<f32>()?[0]);
        if score.is_finite() {
            return Ok(score);
        }
        Err(Error::Compute("The classifier that tells realisations from real windows gave no number.".into()))
    }
}

/// Mean cross-entropy of logits and answers of 0 and 1: finite however sure the network is.
fn cross_entropy(logits: &Tensor, answers: &Tensor) -> Result<Tensor> {
    let sure = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok(((logits.relu()? - (logits * answers)?)? + sure)?.mean_all()?)
}

/// A turned crop of a picture, standardised, and its side; with no generator the whole picture as it lies.
fn crop(
    picture: &Picture,
    channels: usize,
    standards: &[[f32; 2]],
    generator: Option<&mut ChaCha12Rng>,
) -> (Vec<f32>, usize) {
    let size = picture.values.len() / channels;
    let side = size.isqrt();
    let (crop, mut below) = match generator {
        None => (side, None),
        Some(generator) => (CROP.min(side), Some(move |n: usize| (generator.next_u64() % n as u64) as usize)),
    };
    let mut draw = |n: usize| below.as_mut().map_or(0, |below| below(n));
    let [top, left] = [draw(side - crop + 1), draw(side - crop + 1)];
    let [upside_down, mirrored, transposed] = [draw(2), draw(2), draw(2)].map(|chosen| chosen == 1);
    let mut values = Vec::with_capacity(channels * crop * crop);
    for (c, [mean, scale]) in standards.iter().enumerate() {
        for row in 0..crop {
            for column in 0..crop {
                let (row, column) = if transposed { (column, row) } else { (row, column) };
                let row = if upside_down { crop - 1 - row } else { row };
                let column = if mirrored { crop - 1 - column } else { column };
                let value = picture.values[c * size + (top + row) * side + left + column];
                values.push(((value - mean) * scale).clamp(-LARGEST, LARGEST));
            }
        }
    }
    (values, crop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_lie_between_certainty_and_guessing() {
        assert_eq!(area_under_curve(&[0.0, 1.0], &[2.0, 3.0]), 1.0);
        assert_eq!(area_under_curve(&[2.0, 3.0], &[0.0, 1.0]), 0.0);
        assert_eq!(area_under_curve(&[1.0, 2.0], &[1.0, 2.0]), 0.5);
    }

    #[test]
    fn whoever_is_sure_stays_finite() {
        let tensor = |values: [f32; 2]| Tensor::new(&values, &Device::Cpu).expect("tensor");
        let loss = |logits| cross_entropy(&tensor(logits), &tensor([0.0, 1.0])).and_then(|l| Ok(l.to_scalar::<f32>()?));
        assert!((loss([0.0, 0.0]).expect("loss") - 2f32.ln()).abs() < 1e-6);
        assert_eq!(loss([-1e4, 1e4]).expect("loss"), 0.0);
        assert!((loss([1e4, -1e4]).expect("loss") - 1e4).abs() < 1.0);
        // Sets that any pixel tells apart.
        let flat = |value: f32| -> Vec<Picture> {
            (0..8).map(|k| Picture { place: format!("place {}", k % 4), values: vec![value; 64] }).collect()
        };
        let verdict = told_apart_after(100, &flat(0.0), &flat(9.0), 1).expect("verdict").expect("four places");
        assert_eq!(verdict.area, 1.0);
    }

    #[test]
    fn blurred_noise_is_told_from_noise_and_noise_is_not() {
        let mut generator = training_generator(0, "noise", "", 0);
        let mut picture = |number: usize, blurred: bool| {
            let side = 24;
            let mut sample = || -> f32 { StandardNormal.sample(&mut generator) };
            let noise: Vec<f32> = (0..2 * side * side).map(|_| sample()).collect();
            let mean = |k: usize| (noise[k] + noise[(k + 1) % noise.len()]) / 2f32.sqrt();
            let values = (0..noise.len()).map(|k| if blurred { mean(k) } else { noise[k] }).collect();
            Picture { place: format!("place {}", number % 6), values }
        };
        let sets: [Vec<Picture>; 3] =
            [false, false, true].map(|blurred| (0..24).map(|k| picture(k, blurred)).collect());
        let verdict =
            |other: &[Picture]| told_apart_after(60, &sets[0], other, 2).expect("verdict").expect("six places");
        let (alike, blurred) = (verdict(&sets[1]), verdict(&sets[2]));
        assert!((0.25..0.75).contains(&alike.area), "{alike:?}");
        assert!(blurred.area > 0.95, "{blurred:?}");
        let [low, high] = alike.interval.expect("interval");
        assert!(low <= alike.area && alike.area <= high, "{alike:?}");
        assert!(told_apart(&sets[0][..1], &sets[1][..1], 2).expect("no failure").is_none());
    }
}
