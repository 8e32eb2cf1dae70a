//! The questions with one right answer per pixel.

use super::baselines::majority;
use super::correlations::{Correlations, correlation};
use super::metrics::{Confusion, Errors, Psnr, best_and_mean, power_above, spearman, ssim};
use super::report::Row;
use super::task_input::{TaskInput, rasters};
use super::windows::HeldWindow;
use crate::error::Result;
use crate::job::SetValue;
use crate::modality::{Modality, Raster, Subject, class_index, filled, measured, measured_unit};
use crate::sampler::{NoisePurpose, Stream};

/// Periods below eight pixels: what tells an image from its blurred mean.
const FINE: f64 = 0.125;

impl TaskInput<'_> {
    fn table(&self) -> &[Modality] {
        &self.evaluation.model.manifest.modalities
    }

    /// Error of encoding and decoding alone, all windows that hold a modality.
    pub(super) fn reconstruct(&self) -> Result<Vec<Row>> {
        let e = self.evaluation;
        let mut rows = Vec::new();
        for (i, m) in self.table().iter().enumerate().filter(|(_, m)| !m.is_scalar()) {
            let (mut errors, mut count) = (Errors::default(), 0);
            for window in &self.windows {
                let Some(value) = &window.truth[i] else { continue };
                let stream =
                    Stream { seed: e.seed, realisation: 0, modality: &m.key, purpose: NoisePurpose::Condition };
                let noise = stream.on_ground(m, &window.ground, e.model.device())?;
                let latent = e.model.encode(i, value, Some(&noise))?;
                let back = e.model.decode(i, &latent, &Default::default())?;
                if let (Some(truth), Some(back)) = (value.image(), back.image()) {
                    let (truth, back) = (measured(m, truth), measured(m, back));
                    match m.classes() {
                        Some(_) => {
                            let same: Vec<f32> =
                                truth.data.iter().zip(&back.data).map(|(a, b)| f32::from(u8::from(a != b))).collect();
                            let same = truth.valid_of(&same);
                            errors.add(&vec![0f32; same.len()], &same);
                        }
                        None => errors.add(&truth.valid_of(&truth.data), &truth.valid_of(&back.data)),
                    }
                    count += 1;
                }
            }
            if count > 0 {
                let limit = match m.about.subject {
                    Subject::Radar => 1.3,
                    Subject::Elevation => 2.0,
                    Subject::LandCover | Subject::Clouds => 0.03,
                    _ if m.ground_m < 15.0 => 0.010,
                    _ => 0.015,
                };
                let mae = errors.mae();
                rows.push(
                    Row::single(&m.name, "MAE", measured_unit(m), mae, count)
                        .should(format!("≤ {limit}"), mae <= limit),
                );
            }
        }
        Ok(rows)
    }

    pub(super) fn rest(&self) -> Result<Vec<Row>> {
        let target = self.telling_of(&[Subject::SurfaceReflectance]);
        let given: Vec<usize> = (0..self.table().len()).filter(|i| !target.contains(i)).collect();
        self.compare(&given, &target, &[], "regression")
    }

    pub(super) fn others(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for subject in [Subject::TopOfAtmosphere, Subject::Radar, Subject::Elevation] {
            let target = self.telling_of(&[subject]);
            let given: Vec<usize> = (0..self.table().len()).filter(|i| !target.contains(i)).collect();
            rows.extend(self.compare(&given, &target, &[], "")?);
        }
        Ok(rows)
    }

    pub(super) fn bands(&self) -> Result<Vec<Row>> {
        // The bands at the finest resolution give the coarser ones.
        let finest = self.finest(Subject::SurfaceReflectance);
        let (given, targets): (Vec<usize>, Vec<usize>) =
            self.telling_of(&[Subject::SurfaceReflectance]).into_iter().partition(|i| Some(*i) == finest);
        self.compare(&given, &targets, &[], "regression")
    }

    pub(super) fn radar(&self) -> Result<Vec<Row>> {
        let given = self.telling_of(&[Subject::Elevation, Subject::LandCover, Subject::Radar]);
        self.compare(&given, &self.telling_of(&[Subject::SurfaceReflectance]), &[], "class mean")
    }

    /// The same with the sky said to be clear, as it was on the held-out dates with radar.
    pub(super) fn clear_radar(&self) -> Result<Vec<Row>> {
        let Some(&mask) = self.telling_of(&[Subject::Clouds]).first() else { return Ok(Vec::new()) };
        let given = self.telling_of(&[Subject::Elevation, Subject::LandCover, Subject::Radar]);
        self.compare(
            &given,
            &self.telling_of(&[Subject::SurfaceReflectance]),
            &[(mask, SetValue::Class(0))],
            "class mean",
        )
    }

    /// The finest surface reflectance from what tells of these subjects, with the sky said to be clear, as it was on the
    /// held-out dates with radar.
    pub(super) fn seen_by_radar(&self, subjects: &[Subject]) -> Result<Vec<Row>> {
        let (Some(&mask), Some(target)) =
            (self.telling_of(&[Subject::Clouds]).first(), self.finest(Subject::SurfaceReflectance))
        else {
            return Ok(Vec::new());
        };
        self.compare(&self.telling_of(subjects), &[target], &[(mask, SetValue::Class(0))], "regression")
    }

    /// The finest surface reflectance from what the top of the atmosphere shows.
    pub(super) fn level(&self) -> Result<Vec<Row>> {
        let Some(target) = self.finest(Subject::SurfaceReflectance) else { return Ok(Vec::new()) };
        self.compare(&self.telling_of(&[Subject::TopOfAtmosphere]), &[target], &[], "regression")
    }

    /// Continuous values from what is given or set by hand, beside the baselines; the mean of the realisations should
    /// beat those whose name begins with `rival` (none if it is empty).
    fn compare(&self, given: &[usize], targets: &[usize], set: &[(usize, SetValue)], rival: &str) -> Result<Vec<Row>> {
        let everything: Vec<usize> = given.iter().chain(targets).copied().collect();
        let windows: Vec<&HeldWindow> = self.windows.iter().filter(|w| w.holds(&everything)).collect();
        if windows.is_empty() || targets.is_empty() {
            return Ok(Vec::new());
        }
        let cover = self.telling_of(&[Subject::LandCover]).first().copied();
        let samples: Vec<_> =
            windows.iter().map(|w| self.realisations(w, given, targets, set)).collect::<Result<_>>()?;
        let mut rows = Vec::new();
        for &i in targets {
            let m = &self.table()[i];
            let mean = self.training.mean(i);
            let level: Vec<usize> =
                self.telling_of(&[Subject::TopOfAtmosphere]).into_iter().filter(|l| given.contains(l)).collect();
            let mut regressions = vec![("regression", self.training.regression(given, i))];
            // Far more scenes hold both levels than hold everything.
            if !level.is_empty() && level.len() < given.len() {
                regressions.push(("regression from L1C alone", self.training.regression(&level, i)));
            }
            let classes = cover.map(|c| (c, self.training.class_means(i, c)));
            let mut tally = Tally::new(m);
            for (window, realisations) in windows.iter().zip(&samples) {
                let Some(truth) = window.image(i) else { continue };
                let truth = measured(m, truth);
                let flat = |of: &dyn Fn(usize, usize) -> f64| {
                    Raster::from_fn(truth.channels, truth.height, truth.width, |c, p| of(p, c) as f32)
                };
                let mut baselines = vec![("training mean", flat(&|_, c| mean[c]))];
                if let Some((cover, means)) = &classes
                    && let (Some(codes), Some(names)) = (window.image(*cover), self.table()[*cover].classes())
                    && let Ok(codes) = filled(&self.table()[*cover], codes)
                {
                    let codes = majority(&codes, truth.width);
                    baselines.push(("class mean", flat(&|p, c| means[class_index(names, codes[p])][c])));
                }
                let table = &self.evaluation.model.manifest.modalities;
                for (name, regression) in &regressions {
                    let predicted = regression.as_ref().and_then(|r| r.predict(table, &window.truth));
                    baselines.extend(predicted.map(|raster| (*name, raster)));
                }
                let realisations: Vec<Raster> = rasters(realisations, i).map(|r| measured(m, r)).collect();
                tally.add(&window.scene, &truth, &realisations, baselines);
            }
            rows.extend(tally.rows(rival));
        }
        Ok(rows)
    }

    /// Land cover from the optical bands a window has.
    pub(super) fn cover(&self) -> Result<Vec<Row>> {
        let (optical, cover) =
            (self.telling_of(&[Subject::SurfaceReflectance]), self.telling_of(&[Subject::LandCover]));
        let Some(&cover) = cover.first() else { return Ok(Vec::new()) };
        let classes = self.table()[cover].classes().unwrap_or_default().to_vec();
        let index =
            |raster: &Raster| -> Vec<usize> { raster.data.iter().map(|code| class_index(&classes, *code)).collect() };
        let commonest = {
            let mut counts = vec![0usize; classes.len()];
            self.training.rasters(cover).for_each(|r| r.valid_of(&index(&r)).iter().for_each(|c| counts[*c] += 1));
            (0..classes.len()).max_by_key(|&c| counts[c]).unwrap_or(0)
        };
        let (mut mode, mut fixed) = (Confusion::new(classes.len()), Confusion::new(classes.len()));
        let (mut single, mut best, mut mean, mut count) = (Confusion::new(classes.len()), 0.0, 0.0, 0);
        for window in &self.windows {
            let given: Vec<usize> = optical.iter().copied().filter(|&i| window.truth[i].is_some()).collect();
            let (Some(truth), false) = (window.image(cover), given.is_empty()) else { continue };
            let seen = |raster: &Raster| truth.valid_of(&index(raster)).into_owned();
            let realisations = self.realisations(window, &given, &[cover], &[])?;
            let realisations: Vec<Vec<usize>> = rasters(&realisations, cover).map(seen).collect();
            let truth = seen(truth);
            let vote = |p: usize| {
                let mut votes = vec![0; classes.len()];
                realisations.iter().for_each(|s| votes[s[p]] += 1);
                (0..votes.len()).max_by_key(|&c| votes[c]).unwrap_or(0)
            };
            mode.add(&truth, &(0..truth.len()).map(vote).collect::<Vec<_>>());
            fixed.add(&truth, &vec![commonest; truth.len()]);
            let right =
                |s: &Vec<usize>| s.iter().zip(&truth).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64;
            let shares: Vec<f64> = realisations.iter().map(right).collect();
            realisations.iter().for_each(|s| single.add(&truth, s));
            if let Some((b, a)) = best_and_mean(&shares, false) {
                (best, mean, count) = (best + b, mean + a, count + 1);
            }
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let (n, name) = (f64::from(count), self.table()[cover].name.clone());
        let majority = mode.majority_share();
        let mut top1 = Row::single(&name, "top-1", "share of pixels", mode.top1(), count as usize)
            .should("majority class + 0.20", mode.top1() >= majority + 0.2);
        (top1.mean_of_samples, top1.best_of_samples) = (mean / n, best / n);
        top1.baselines =
            vec![("majority class of these windows", majority), ("commonest class of training", fixed.top1())];
        let mut iou = Row::single(&name, "mean IoU", "", mode.mean_iou(), count as usize);
        (iou.mean_of_samples, iou.baselines) =
            (single.mean_iou(), vec![("commonest class of training", fixed.mean_iou())]);
        Ok(vec![top1, iou])
    }

    /// Spread of L2A along DEM → + land cover → + radar → + L1C, and whether it shows where the mean is wrong.
    pub(super) fn certainty(&self) -> Result<Vec<Row>> {
        let targets = self.telling_of(&[Subject::SurfaceReflectance]);
        let chain = [Subject::Elevation, Subject::LandCover, Subject::Radar, Subject::TopOfAtmosphere];
        let all: Vec<usize> = self.telling_of(&chain).into_iter().chain(targets.iter().copied()).collect();
        let windows: Vec<&HeldWindow> = self.windows.iter().filter(|w| w.holds(&all)).collect();
        if windows.is_empty() || targets.is_empty() {
            return Ok(Vec::new());
        }
        let (mut rows, mut before) = (Vec::new(), f64::INFINITY);
        for n in 1..=chain.len() {
            let given = self.telling_of(&chain[..n]);
            let (mut spread, mut error): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
            let mut within: Vec<f64> = Vec::new();
            let mut inside = 0usize;
            for window in &windows {
                let realisations = self.realisations(window, &given, &targets, &[])?;
                for &i in &targets {
                    let m = &self.table()[i];
                    let Some(truth) = window.image(i) else { continue };
                    let realisations: Vec<Raster> = rasters(&realisations, i).map(|r| measured(m, r)).collect();
                    let (mean, deviation) = mean_and_deviation(&realisations);
                    let truth = measured(m, truth);
                    let off: Vec<f32> = truth.data.iter().zip(&mean).map(|(t, m)| (t - m).abs()).collect();
                    let square = truth.width * truth.height;
                    let bands = off.chunks_exact(square).zip(deviation.chunks_exact(square));
                    within.extend(bands.map(|(a, b)| spearman(&truth.valid_of(a), &truth.valid_of(b))));
                    error.extend_from_slice(&truth.valid_of(&off));
                    inside += (0..truth.data.len())
                        .filter(|k| truth.is_valid(k % square))
                        .filter(|&k| {
                            let above = realisations.iter().filter(|r| r.data[k] > truth.data[k]).count();
                            above > 0 && above < realisations.len()
                        })
                        .count();
                    spread.extend_from_slice(&truth.valid_of(&deviation));
                }
            }
            let average = spread.iter().map(|v| f64::from(*v)).sum::<f64>() / spread.len() as f64;
            let correlation = spearman(&spread, &error);
            let given = self.named(&given);
            let mut row = Row::single(
                format!("given {given}"),
                "mean standard deviation of L2A",
                "reflectance",
                average,
                windows.len(),
            );
            if n > 1 {
                row = row.should("less than with one fewer", average < before);
            }
            rows.push(row);
            let row = Row::single(
                format!("given {given}"),
                "Spearman of spread and error, all bands",
                "",
                correlation,
                windows.len(),
            );
            rows.push(if n > 2 { row.should("> 0.3", correlation > 0.3) } else { row });
            within.retain(|v| v.is_finite());
            let map = within.iter().sum::<f64>() / within.len().max(1) as f64;
            let metric = "the same within one band of one window";
            rows.push(Row::single(format!("given {given}"), metric, "", map, windows.len()));
            let share = inside as f64 / error.len() as f64;
            let mut row = Row::single(
                format!("given {given}"),
                "true values within the realisations",
                "share",
                share,
                windows.len(),
            );
            let samples = self.evaluation.samples as f64;
            row.baselines = vec![("if spread were calibrated", (samples - 1.0) / (samples + 1.0))];
            rows.push(row);
            before = average;
        }
        Ok(rows)
    }
}

/// Mean and standard deviation (of n) of each value over rasters of one size.
pub(super) fn mean_and_deviation(realisations: &[Raster]) -> (Vec<f32>, Vec<f32>) {
    let (n, size) = (realisations.len().max(1) as f64, realisations.first().map_or(0, |r| r.data.len()));
    let at = |k: usize| {
        let values = || realisations.iter().map(|r| f64::from(r.data[k]));
        let mean = values().sum::<f64>() / n;
        (mean as f32, (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt() as f32)
    };
    (0..size).map(at).unzip()
}

/// Sums of one modality over windows.
struct Tally<'a> {
    m: &'a Modality,
    mean: Errors,
    bands: Vec<Errors>,
    samples: Vec<[f64; 2]>,
    structure: Vec<[f64; 2]>,
    noise: Psnr,
    texture: Vec<f64>,
    baselines: Vec<(&'static str, Errors)>,
    /// By scene: correlations inside a window and band, of the mean, of single realisations, and of each baseline.
    correlations: Correlations,
}

impl<'a> Tally<'a> {
    fn new(m: &'a Modality) -> Self {
        Self {
            m,
            mean: Errors::default(),
            bands: vec![Errors::default(); m.channels.len()],
            samples: Vec::new(),
            structure: Vec::new(),
            noise: Psnr::default(),
            texture: Vec::new(),
            baselines: Vec::new(),
            correlations: Correlations::default(),
        }
    }

    /// Adds a window; what is no data is no truth. Structure and texture are those of windows without holes.
    fn add(&mut self, scene: &str, truth: &Raster, realisations: &[Raster], baselines: Vec<(&'static str, Raster)>) {
        let (mean, _) = mean_and_deviation(realisations);
        self.correlations.add(scene, "model", correlation(truth, &mean));
        for realisation in realisations {
            self.correlations.add(scene, "one sample", correlation(truth, &realisation.data));
        }
        for (name, raster) in &baselines {
            self.correlations.add(scene, name, correlation(truth, &raster.data));
        }
        let known = truth.valid_of(&truth.data);
        self.mean.add(&known, &truth.valid_of(&mean));
        let square = truth.width * truth.height;
        for (c, errors) in self.bands.iter_mut().enumerate() {
            errors.add(&truth.valid_of(truth.channel(c)), &truth.valid_of(&mean[c * square..(c + 1) * square]));
        }
        let each = |f: &dyn Fn(&Raster) -> f64| realisations.iter().map(f).collect::<Vec<f64>>();
        let mae = each(&|r| {
            let mut errors = Errors::default();
            errors.add(&known, &truth.valid_of(&r.data));
            errors.mae()
        });
        let similar = each(&|r| {
            let bands = (0..truth.channels).map(|c| ssim(truth.channel(c), r.channel(c), truth.width));
            bands.sum::<f64>() / truth.channels as f64
        });
        self.samples.extend(best_and_mean(&mae, true).map(|(best, mean)| [best, mean]));
        let whole = truth.valid().is_none();
        if whole {
            self.structure.extend(best_and_mean(&similar, false).map(|(best, mean)| [best, mean]));
        }
        for realisation in realisations {
            for c in 0..truth.channels {
                self.noise.add(&truth.valid_of(truth.channel(c)), &truth.valid_of(realisation.channel(c)));
                if whole {
                    let power = |r: &Raster| power_above(r.channel(c), r.width, FINE);
                    self.texture.push(power(realisation) / power(truth));
                }
            }
        }
        for (name, raster) in baselines {
            let at = self.baselines.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                self.baselines.push((name, Errors::default()));
                self.baselines.len() - 1
            });
            self.baselines[at].1.add(&known, &truth.valid_of(&raster.data));
        }
    }

    fn rows(mut self, rival: &str) -> Vec<Row> {
        let (m, n) = (self.m, self.samples.len());
        let average = |of: &[[f64; 2]], k: usize| of.iter().map(|v| v[k]).sum::<f64>() / of.len().max(1) as f64;
        let unit = measured_unit(m);
        let mut mae = Row::single(&m.name, "MAE", unit, self.mean.mae(), n);
        (mae.best_of_samples, mae.mean_of_samples) = (average(&self.samples, 0), average(&self.samples, 1));
        mae.baselines = self.baselines.iter().map(|(name, errors)| (*name, errors.mae())).collect();
        let rivals = self.baselines.iter().filter(|(name, _)| !rival.is_empty() && name.starts_with(rival));
        if let Some(best) = rivals.map(|(_, errors)| errors.mae()).min_by(f64::total_cmp) {
            mae = mae.should(format!("better than the {rival}"), self.mean.mae() < best);
        }
        let mut rmse = Row::single(&m.name, "RMSE", unit, self.mean.rmse(), n);
        rmse.baselines = self.baselines.iter().map(|(name, errors)| (*name, errors.rmse())).collect();
        let mut psnr = Row::single(&m.name, "PSNR", "dB", f64::NAN, n);
        psnr.mean_of_samples = self.noise.db();
        let mut rows = vec![mae, rmse, psnr];
        if m.pixels >= 16 {
            let mut similar = Row::single(&m.name, "SSIM", "", f64::NAN, n);
            (similar.best_of_samples, similar.mean_of_samples) =
                (average(&self.structure, 0), average(&self.structure, 1));
            rows.push(similar);
        }
        self.texture.retain(|v| v.is_finite());
        self.texture.sort_by(f64::total_cmp);
        if m.pixels >= 48 && !self.texture.is_empty() {
            let middle = self.texture[self.texture.len() / 2];
            let name = "fine power of a sample ÷ real (median)";
            rows.push(Row::single(&m.name, name, "", middle, n).should("0.5…2", (0.5..=2.0).contains(&middle)));
        }
        rows.push(self.correlations.row(&m.name, n));
        for (band, errors) in m.channels.iter().zip(&self.bands) {
            rows.push(Row::single(format!("{} {band}", m.name), "MAE", unit, errors.mae(), n));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::{Mask, ModalityTable};

    #[test]
    fn what_is_no_data_is_no_truth() {
        let table = ModalityTable::published();
        let m = table.index("S2L2A_20m").map(|i| &table[i]).expect("modality");
        let n = m.pixels;
        let flat = |value: f32| Raster::constant(m.channels.len(), n, n, value);
        // A tenth of the truth is no data, over which zeros lie in files.
        let valid = Mask::from_fn(n, n, |pixel| pixel % 10 > 0);
        let truth = Raster::from_fn(m.channels.len(), n, n, |_, pixel| if pixel % 10 > 0 { 0.2 } else { 0.0 });
        let truth = truth.with_valid(&valid).expect("mask");
        let mut tally = Tally::new(m);
        tally.add("scene", &truth, &[flat(0.25), flat(0.35)], vec![("class mean", flat(0.5))]);
        let rows = tally.rows("class mean");
        let row = |metric: &str| rows.iter().find(|row| row.metric == metric && row.of == m.name).expect("row");
        let mae = row("MAE");
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        near(mae.model, 0.1);
        near(mae.best_of_samples, 0.05);
        near(mae.baselines[0].1, 0.3);
        near(row("RMSE").model, 0.1);
        assert!(rows.iter().all(|row| !row.metric.contains("fine power")), "no texture of what has holes");
    }
}
