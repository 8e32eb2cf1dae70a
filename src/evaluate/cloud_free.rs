//! What lies under clouds: realisations that keep the clear pixels of an image, beside what was seen there on another day or
//! was hidden by a made-up mask, and beside answers that need no model.

use super::hidden::{errors, fair_crps, fine_power, flat, inverse_distance, regression, steps};
use super::metrics::{Errors, ssim};
use super::per_pixel::mean_and_deviation;
use super::report::Row;
use super::task_input::{TaskInput, rasters};
use super::windows::{HeldWindow, clear_share, opened};
use crate::error::{Error, Result};
use crate::files::folders;
use crate::job::{Keep, KnownWhere, SetValue, kept_mask};
use crate::modality::{ClassMap, Mask, Modality, Raster, Subject, measured};
use crate::sampler::training_generator;
use crate::scene::{Observation, Remarks, Scene, SceneOptions, Window};
use crate::train::Use;
use rand_chacha::rand_core::RngCore;
use std::collections::BTreeMap;

/// Hidden shares of windows that count, of real clouds.
const HIDDEN: std::ops::RangeInclusive<f64> = 0.2..=0.8;
/// Share of a day's window that is clear for it to serve as truth.
const CLEAR: f64 = 0.95;
/// Windows per scene that clouds are made up over.
const MADE_UP: usize = 2;

/// One window with something hidden.
struct Case<'a> {
    window: &'a HeldWindow,
    /// What is kept of the target.
    keep: Keep,
    /// Which pixels of the target are visible, the buffer taken off.
    visible: Mask,
    /// What was there.
    truth: &'a Raster,
    /// The other clear day that is nearest in time.
    other: Option<&'a Raster>,
}

/// A kind of case, by what is hidden and of what.
struct Kind<'a> {
    name: String,
    target: usize,
    cases: Vec<Case<'a>>,
}

impl TaskInput<'_> {
    /// Real clouds over places with a clear day, and made-up ones over clear days.
    pub(super) fn cloud_free(&self, progress: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
        let optical: Vec<usize> = [Subject::SurfaceReflectance, Subject::TopOfAtmosphere]
            .into_iter()
            .filter_map(|subject| self.finest(subject))
            .collect();
        let (Some(mask), false) = (self.finest(Subject::Clouds), optical.is_empty()) else { return Ok(Vec::new()) };
        let windows = self.test_windows(&optical, mask)?;
        let mut rows = Vec::new();
        for target in optical {
            let m = &self.evaluation.model.manifest.modalities[target];
            let mut kinds = real(&windows, m, target, mask)?;
            kinds.extend(self.made_up(&windows, target, mask));
            for kind in kinds.iter().filter(|kind| !kind.cases.is_empty()) {
                progress(&format!("{}: {} windows", kind.name, kind.cases.len()));
                rows.extend(self.score(kind, mask)?);
            }
        }
        Ok(rows)
    }

    /// All windows of the scenes for tests that hold one of the targets, side by side.
    fn test_windows(&self, targets: &[usize], mask: usize) -> Result<Vec<HeldWindow>> {
        let table = &self.evaluation.model.manifest.modalities;
        let options = SceneOptions { accept_stand_ins: true, ..SceneOptions::of(table) };
        let side = table.window_m();
        let (mut windows, remarks) = (Vec::new(), Remarks::default());
        for dir in folders(self.evaluation.scenes)? {
            let Some(scene) = opened(&dir, &options) else { continue };
            let available = scene.available(table);
            let wanted = self.evaluation.recipe.data.is_for(scene.name(), Use::Test);
            if !wanted || !targets.iter().any(|target| available.contains(target)) {
                continue;
            }
            let ground = scene.footprint();
            let [across, down] =
                [ground.width_m, ground.height_m].map(|length| (length / side + 1e-6).floor() as usize);
            for k in 0..across * down {
                let at = |k: usize| k as f64 * side;
                let window = Window::At { east_m: at(k % across), south_m: at(k / across) };
                let whole = |observation: &Observation| {
                    let whole = |i: &usize| {
                        observation.values[*i].as_ref().is_none_or(|given| given.gap.is_none() || *i == mask)
                    };
                    available.iter().all(whole)
                };
                windows.extend(HeldWindow::read(&dir, &scene, table, window, &available, &remarks, whole)?);
            }
        }
        Ok(windows)
    }

    /// Half of a clear window hidden by blobs, in some windows of each scene.
    fn made_up<'a>(&self, windows: &'a [HeldWindow], target: usize, mask: usize) -> Option<Kind<'a>> {
        let m = &self.evaluation.model.manifest.modalities[target];
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        let mut cases = Vec::new();
        for (number, window) in windows.iter().enumerate() {
            let Some(truth) = window.image(target) else { continue };
            let known = window.image(mask).is_none_or(|sky| clear_share(sky) > CLEAR);
            // Optical scenes without a cloud mask were picked on days without clouds by those who made them.
            let taken = taken.entry(&window.scene).or_default();
            if !known || window.scene.ends_with("_cloudy") || *taken == MADE_UP {
                continue;
            }
            *taken += 1;
            let hidden = blobs(truth.height, truth.width, number as u64);
            let visible = hidden.inverted();
            let keep = Keep { known: KnownWhere::Painted(ClassMap::of_mask(&visible)), buffer_m: 0.0 };
            cases.push(Case { window, keep, visible, truth, other: None });
        }
        (!cases.is_empty()).then(|| Kind { name: format!("half of {} hidden", m.name), target, cases })
    }

    fn score(&self, kind: &Kind, mask: usize) -> Result<Vec<Row>> {
        let table = &self.evaluation.model.manifest.modalities;
        let m = &table[kind.target];
        let radar = self.finest(Subject::Radar);
        let known =
            self.telling_of(&[Subject::Place, Subject::Date, Subject::Elevation, Subject::LandCover, Subject::Radar]);
        let mut tally = Tally::new(m);
        for case in &kind.cases {
            let window = case.window;
            // Stand-ins for radar are no radar to the model's chain; only what the scene holds is given.
            let scene = Scene::open_with(&window.dir, &SceneOptions::of(table))?;
            let available = scene.available(table);
            let given: Vec<usize> = known.iter().copied().filter(|i| available.contains(i)).collect();
            let keep = BTreeMap::from([(kind.target, case.keep.clone())]);
            let made = self.partly(window, &given, &[(mask, SetValue::Class(0))], &keep)?;
            let samples: Vec<Raster> = rasters(&made, kind.target).map(|r| measured(m, r)).collect();
            for raster in rasters(&made, kind.target) {
                check_kept(m, window.image(kind.target), raster, &case.visible)?;
            }
            let image = window.image(kind.target).ok_or_else(|| Error::request("A window without its image."))?;
            let image = measured(m, image);
            let truth = measured(m, case.truth);
            let backscatter =
                radar.and_then(|i| Some(measured(&table[i], window.image(i)?))).filter(|r| r.width == image.width);
            let mut answers = vec![
                ("clear pixels' mean", Some(flat(&image, &case.visible))),
                ("inverse distance", Some(inverse_distance(&image, &case.visible))),
                ("regression from radar", backscatter.and_then(|radar| regression(&image, &case.visible, &[&radar]))),
                ("nearest other clear day", case.other.map(|other| measured(m, other))),
            ];
            if case.truth != window.image(kind.target).unwrap_or(case.truth) {
                answers.push(("the cloudy image", Some(image.clone())));
            }
            tally.add(case, &truth, &samples, answers);
        }
        Ok(tally.rows(&kind.name))
    }
}

/// Kept pixels are those that were observed, bit for bit.
fn check_kept(m: &Modality, observed: Option<&Raster>, made: &Raster, visible: &Mask) -> Result<()> {
    let pixels = made.height * made.width;
    let same = |at: usize| observed.is_some_and(|o| o.data[at].to_bits() == made.data[at].to_bits());
    match (0..made.data.len()).filter(|at| visible.at(at % pixels)).all(same) {
        true => Ok(()),
        false => Err(Error::Compute(format!("A realisation of {} does not hold the pixels that are kept.", m.name))),
    }
}

/// Cloudy windows of which part is clear, with the nearest clear day of the same ground. Pairs whose scenes say that they
/// are pairs lie on one footprint as well.
fn real<'a>(windows: &'a [HeldWindow], m: &Modality, target: usize, mask: usize) -> Result<Vec<Kind<'a>>> {
    let mut kinds: Vec<Kind> = Vec::new();
    for window in windows {
        let (Some(image), Some(sky)) = (window.image(target), window.image(mask)) else { continue };
        let keep = Keep { known: KnownWhere::Clear { also: Vec::new() }, buffer_m: Keep::BUFFER_M };
        let visible = kept_mask(m, &keep, Some(sky), image, &window.ground)?;
        if !HIDDEN.contains(&(1.0 - visible.share())) {
            continue;
        }
        let mut days: Vec<(i64, &HeldWindow)> = windows
            .iter()
            .filter(|other| other.ground == window.ground && other.scene != window.scene)
            .filter(|other| other.image(mask).is_some_and(|sky| clear_share(sky) > CLEAR))
            .filter_map(|other| {
                Some((apart(&window.scene, &other.scene), other)).filter(|(_, w)| w.truth[target].is_some())
            })
            .collect();
        days.sort_by_key(|(days, other)| (*days, other.scene.clone()));
        let Some(truth) = days.first().and_then(|(_, day)| day.image(target)) else { continue };
        let other = days.get(1).and_then(|(_, day)| day.image(target));
        let case = Case { window, keep, visible, truth, other };
        let place = window.scene.split(['_']).next().unwrap_or_default();
        let name = format!("clouds over {place}");
        match kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.cases.push(case),
            None => kinds.push(Kind { name, target, cases: vec![case] }),
        }
    }
    Ok(kinds)
}

/// Days between two scenes whose names end in a date; scenes without one are as near as can be.
fn apart(a: &str, b: &str) -> i64 {
    let date = |name: &str| name.rsplit('_').next().and_then(|text| text.parse::<jiff::civil::Date>().ok());
    match (date(a), date(b)) {
        (Some(a), Some(b)) => a.until(b).map_or(i64::MAX, |span| i64::from(span.get_days()).abs()),
        _ => 0,
    }
}

/// A mask of blobs over half of the pixels: smooth noise above its median.
fn blobs(height: usize, width: usize, number: u64) -> Mask {
    let mut generator = training_generator(19, "hidden", "", number);
    let mut uniform = || f64::from(generator.next_u32()) / f64::from(u32::MAX);
    let waves: Vec<[f64; 4]> = (0..24)
        .map(|_| {
            let (angle, length) = (uniform() * std::f64::consts::TAU, 16.0 + 48.0 * uniform());
            [angle.cos() / length, angle.sin() / length, uniform() * std::f64::consts::TAU, length]
        })
        .collect();
    let value = |pixel: usize| {
        let (row, column) = ((pixel / width) as f64, (pixel % width) as f64);
        let wave = |w: &[f64; 4]| w[3] * ((row * w[0] + column * w[1]) * std::f64::consts::TAU + w[2]).sin();
        waves.iter().map(wave).sum::<f64>()
    };
    let values: Vec<f64> = (0..height * width).map(value).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted[sorted.len() / 2];
    Mask::from_fn(height, width, |pixel| values[pixel] > middle)
}

/// What is counted over the windows of a kind.
struct Tally<'a> {
    m: &'a Modality,
    windows: usize,
    mean: Vec<Errors>,
    single: Vec<Errors>,
    /// By window: the least mean absolute error of a realisation, by channel.
    best: Vec<Vec<f64>>,
    crps: Vec<(f64, usize)>,
    answers: Vec<(&'static str, Vec<Errors>)>,
    /// By channel: steps across the outer and the inner edge of the buffer, and inside.
    steps: Vec<[(f64, usize); 3]>,
    fine: Vec<Vec<f64>>,
    angle: [(f64, usize); 2],
    structure: Vec<f64>,
    kept: f64,
}

impl<'a> Tally<'a> {
    fn new(m: &'a Modality) -> Self {
        let n = m.channels.len();
        Self {
            m,
            windows: 0,
            mean: vec![Errors::default(); n],
            single: vec![Errors::default(); n],
            best: vec![Vec::new(); n],
            crps: vec![(0.0, 0); n],
            answers: Vec::new(),
            steps: vec![[(0.0, 0); 3]; n],
            fine: vec![Vec::new(); n],
            angle: [(0.0, 0); 2],
            structure: Vec::new(),
            kept: 0.0,
        }
    }

    fn add(&mut self, case: &Case, truth: &Raster, samples: &[Raster], answers: Vec<(&'static str, Option<Raster>)>) {
        let (height, width, pixels) = (truth.height, truth.width, truth.height * truth.width);
        let hidden = Mask::from_fn(height, width, |pixel| !case.visible.at(pixel) && truth.is_valid(pixel));
        // Beyond the buffer: hidden pixels further from what is visible than the buffer is wide.
        let core = hidden.eroded(case.keep.buffer_m / self.m.ground_m);
        self.windows += 1;
        self.kept += case.visible.share();
        let (mean, _) = mean_and_deviation(samples);
        let mean = Raster::from_fn(truth.channels, height, width, |c, pixel| mean[c * pixels + pixel]);
        let add = |to: &mut [Errors], answer: &Raster| {
            to.iter_mut().zip(errors(truth, answer, &hidden)).for_each(|(sum, one)| sum.merge(&one));
        };
        add(&mut self.mean, &mean);
        let mut of_one = Vec::new();
        for sample in samples {
            let one = errors(truth, sample, &hidden);
            self.single.iter_mut().zip(&one).for_each(|(sum, one)| sum.merge(one));
            of_one.push(one);
        }
        for (name, answer) in answers.into_iter().filter_map(|(name, answer)| Some((name, answer?))) {
            let at = self.answers.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                self.answers.push((name, vec![Errors::default(); truth.channels]));
                self.answers.len() - 1
            });
            add(&mut self.answers[at].1, &answer);
        }
        for c in 0..truth.channels {
            self.best[c].extend(of_one.iter().map(|errors| errors[c].mae()).min_by(f64::total_cmp));
            let mut ensemble = vec![0.0; samples.len()];
            for pixel in (0..pixels).filter(|pixel| hidden.at(*pixel)) {
                ensemble.iter_mut().zip(samples).for_each(|(v, sample)| *v = f64::from(sample.channel(c)[pixel]));
                self.crps[c].0 += fair_crps(&mut ensemble, f64::from(truth.channel(c)[pixel]));
                self.crps[c].1 += 1;
            }
            let real = fine_power(truth, c, &core);
            for sample in samples {
                let [outer, inside] = steps(sample, c, &case.visible, &core);
                let [inner, _] = steps(sample, c, &core, &core);
                for (sum, one) in self.steps[c].iter_mut().zip([outer, inner, inside]) {
                    *sum = (sum.0 + one.0, sum.1 + one.1);
                }
                if let (Some(made), Some(real)) = (fine_power(sample, c, &core), real) {
                    self.fine[c].push(made / real);
                }
            }
        }
        for (k, answers) in [std::slice::from_ref(&mean), samples].into_iter().enumerate() {
            for answer in answers {
                for pixel in (0..pixels).filter(|pixel| hidden.at(*pixel)) {
                    let spectrum =
                        |r: &Raster| (0..r.channels).map(|c| f64::from(r.channel(c)[pixel])).collect::<Vec<_>>();
                    self.angle[k].0 += angle(&spectrum(answer), &spectrum(truth));
                    self.angle[k].1 += 1;
                }
            }
        }
        for sample in samples {
            let bands = (0..truth.channels).map(|c| ssim(truth.channel(c), sample.channel(c), width));
            self.structure.push(bands.sum::<f64>() / truth.channels as f64);
        }
    }

    fn rows(&self, kind: &str) -> Vec<Row> {
        let (m, n) = (self.m, self.windows);
        let unit = &m.about.unit;
        let average = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut rows = Vec::new();
        for (c, band) in m.channels.iter().enumerate() {
            let of = format!("{kind}, {} {band}", m.name);
            let mut mae = Row::single(&of, "MAE where hidden", unit, self.mean[c].mae(), n);
            (mae.mean_of_samples, mae.best_of_samples) = (self.single[c].mae(), average(&self.best[c]));
            mae.baselines = self.answers.iter().map(|(name, errors)| (*name, errors[c].mae())).collect();
            // A picture of another day is no answer from this one.
            let rivals =
                || mae.baselines.iter().filter(|(name, _)| *name != "nearest other clear day").map(|(_, v)| *v);
            let least = rivals().fold(f64::INFINITY, f64::min);
            let better = self.mean[c].mae() < least;
            let score = self.crps[c].0 / self.crps[c].1.max(1) as f64;
            rows.push(mae.should("better than answers from the visible pixels", better));
            let mut rmse = Row::single(&of, "RMSE where hidden", unit, self.mean[c].rmse(), n);
            rmse.mean_of_samples = self.single[c].rmse();
            rmse.baselines = self.answers.iter().map(|(name, errors)| (*name, errors[c].rmse())).collect();
            rows.push(rmse);
            let crps = Row::single(&of, "fair CRPS where hidden", unit, score, n);
            rows.push(crps.should("below every answer's MAE", score < least));
            let mean_step = |(sum, count): (f64, usize)| sum / count.max(1) as f64;
            let inside = mean_step(self.steps[c][2]);
            for (k, edge) in ["outer", "inner"].into_iter().enumerate() {
                if self.steps[c][k].1 == 0 || (k == 1 && self.steps[0][0].1 == self.steps[0][1].1) {
                    continue;
                }
                let mut row = Row::single(&of, &format!("step across the {edge} edge ÷ steps inside"), "", f64::NAN, n);
                row.mean_of_samples = mean_step(self.steps[c][k]) / inside;
                let fits = row.mean_of_samples <= 1.5;
                rows.push(row.should("≤ 1.5", fits));
            }
            let mut fine = self.fine[c].clone();
            fine.retain(|v| v.is_finite());
            fine.sort_by(f64::total_cmp);
            if let Some(middle) = fine.get(fine.len() / 2) {
                let mut row = Row::single(&of, "fine power of a sample ÷ real (median)", "", f64::NAN, n);
                row.mean_of_samples = *middle;
                rows.push(row.should("0.5…1.5", (0.5..=1.5).contains(middle)));
            }
        }
        let of = format!("{kind}, {}", m.name);
        let [of_mean, of_one] = self.angle.map(|(sum, count)| (sum / count.max(1) as f64).to_degrees());
        let mut row = Row::single(&of, "spectral angle where hidden", "degrees", of_mean, n);
        row.mean_of_samples = of_one;
        rows.push(row);
        let mut row = Row::single(&of, "SSIM of the whole window", "", f64::NAN, n);
        row.mean_of_samples = average(&self.structure);
        rows.push(row);
        rows.push(Row::single(&of, "share of pixels kept", "", self.kept / n.max(1) as f64, n));
        rows
    }
}

/// Angle between two spectra, radians.
fn angle(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0).acos() } else { 0.0 }
}
