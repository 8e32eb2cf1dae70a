//! Measures of one generated scene and of a set of samples against reality (specification G.1–G.3).
//!
//! Pixels come as float32, sums are float64. What is not defined (nothing given, no spread to compare with) is NaN
//! or `None`, never a panic. Only slices of different length, a mistake of the caller, do panic: a comparison
//! silently cut short would look like a result. Vectors of one set have one length and finite numbers.

use std::f64::consts::TAU;

/// Side of the SSIM window in pixels (specification G.1).
const SSIM_SIDE: usize = 11;
/// `(K · range)²` with K 0.01 and 0.03 and range 1 (specification G.1).
const SSIM_C: [f64; 2] = [0.01 * 0.01, 0.03 * 0.03];

/// Values of two equally long slices side by side.
fn paired<T: Copy + Into<U>, U>(a: &[T], b: &[T]) -> impl Iterator<Item = (U, U)> {
    assert_eq!(a.len(), b.len(), "compared slices differ in length");
    a.iter().zip(b).map(|(&x, &y)| (x.into(), y.into()))
}

/// Mean; NaN of nothing.
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (n, sum) = values.into_iter().fold((0.0, 0.0), |(n, sum), v| (n + 1.0, sum + v));
    sum / n
}

/// Share of hits; NaN of nothing.
fn share(hits: impl IntoIterator<Item = bool>) -> f64 {
    mean(hits.into_iter().map(|hit| f64::from(u8::from(hit))))
}

/// Errors pooled over all pixels of all files given, in the unit of the pixels (specification G.1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Errors {
    /// Number of pixels.
    pub n: u64,
    signed: f64,
    absolute: f64,
    squared: f64,
}

impl Errors {
    /// Pools one more file.
    pub fn add<T: Copy + Into<f64>>(&mut self, truth: &[T], predicted: &[T]) {
        for (t, p) in paired::<T, f64>(truth, predicted) {
            self.n += 1;
            self.signed += p - t;
            self.absolute += (p - t).abs();
            self.squared += (p - t) * (p - t);
        }
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.absolute += other.absolute;
        self.squared += other.squared;
        self.signed += other.signed;
    }

    /// Mean absolute error; NaN without pixels.
    pub fn mae(&self) -> f64 {
        self.absolute / self.n as f64
    }

    /// Root of the mean squared error; NaN without pixels.
    pub fn rmse(&self) -> f64 {
        (self.squared / self.n as f64).sqrt()
    }

    /// Mean of predicted − truth; NaN without pixels.
    pub fn bias(&self) -> f64 {
        self.signed / self.n as f64
    }
}

/// Both images scaled with the minimum and maximum of `truth` (range at least 1e-6), cut to 0…1 (specification G.1).
fn scaled(truth: &[f32], predicted: &[f32]) -> Vec<(f64, f64)> {
    let low = f64::from(truth.iter().copied().fold(f32::INFINITY, f32::min));
    let high = f64::from(truth.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let scale = |v: f64| ((v - low) / (high - low).max(1e-6)).clamp(0.0, 1.0);
    paired(truth, predicted).map(|(t, p)| (scale(t), scale(p))).collect()
}

/// Peak signal-to-noise ratio from the squared error pooled over files, each scaled by itself (specification G.1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Psnr(Errors);

impl Psnr {
    /// Pools one more file.
    pub fn add(&mut self, truth: &[f32], predicted: &[f32]) {
        let (t, p): (Vec<f64>, Vec<f64>) = scaled(truth, predicted).into_iter().unzip();
        self.0.add(&t, &p);
    }

    /// In dB; infinite without error, NaN without pixels.
    pub fn db(&self) -> f64 {
        -20.0 * self.0.rmse().log10()
    }
}

/// Mean structural similarity of two row-major images, scaled as for [`Psnr`] (specification G.1).
///
/// Gaussian window of 11 × 11 pixels, σ 1.5, only where it lies wholly inside the image (no padding), without a
/// sample correction of variances. NaN if the image is smaller than the window or not of whole rows of `width`.
pub fn ssim(truth: &[f32], predicted: &[f32], width: usize) -> f64 {
    if width < SSIM_SIDE || truth.len() / width < SSIM_SIDE || !truth.len().is_multiple_of(width) {
        return f64::NAN;
    }
    let pixels = scaled(truth, predicted);
    let blur = |f: fn(f64, f64) -> f64| blurred(&pixels.iter().map(|&(t, p)| f(t, p)).collect::<Vec<_>>(), width);
    let (t, p) = (blur(|t, _| t), blur(|_, p| p));
    let (tt, pp, tp) = (blur(|t, _| t * t), blur(|_, p| p * p), blur(|t, p| t * p));
    mean((0..t.len()).map(|i| {
        let (means, squares) = (t[i] * p[i], t[i] * t[i] + p[i] * p[i]);
        let (covariance, variances) = (tp[i] - means, tt[i] + pp[i] - squares);
        (2.0 * means + SSIM_C[0]) * (2.0 * covariance + SSIM_C[1]) / ((squares + SSIM_C[0]) * (variances + SSIM_C[1]))
    }))
}

/// Gaussian means over every whole SSIM window of an image.
fn blurred(image: &[f64], width: usize) -> Vec<f64> {
    let gauss: [f64; SSIM_SIDE] = std::array::from_fn(|i| (-0.5 * ((i as f64 - 5.0) / 1.5).powi(2)).exp());
    let sum = |v: &[f64], i: usize, step: usize| (0..SSIM_SIDE).map(|k| gauss[k] * v[i + k * step]).sum::<f64>();
    let (inner, norm) = (width - SSIM_SIDE + 1, gauss.iter().sum::<f64>().powi(2));
    let rows: Vec<f64> = (0..image.len()).filter(|i| i % width < inner).map(|i| sum(image, i, 1)).collect();
    (0..rows.len() - (SSIM_SIDE - 1) * inner).map(|i| sum(&rows, i, inner) / norm).collect()
}

/// Mean power of the spatial frequencies above `cutoff` (radial, cycles/pixel, at most √½) of a square image.
///
/// The mean is taken off and a periodic Hann window applied; power is divided by the sum of the squared window,
/// so that white noise has its variance at every frequency (unit: that of the image, squared). NaN if the image is
/// empty or not `side` × `side`, or if no frequency lies above the cutoff.
pub fn power_above(image: &[f32], side: usize, cutoff: f64) -> f64 {
    if image.is_empty() || image.len() != side * side {
        return f64::NAN;
    }
    let wave: Vec<(f64, f64)> = (0..side).map(|k| (TAU * k as f64 / side as f64).sin_cos()).collect();
    let hann: Vec<f64> = wave.iter().map(|(_, cos)| 0.5 - 0.5 * cos).collect();
    let centre = mean(image.iter().map(|&v| f64::from(v)));
    let mut plane: Vec<[f64; 2]> =
        (0..image.len()).map(|i| [(f64::from(image[i]) - centre) * hann[i / side] * hann[i % side], 0.0]).collect();
    // Each pass transforms the rows and transposes, so two passes give the whole spectrum in its own place.
    for _ in 0..2 {
        let sum = |(k, row): (usize, &[[f64; 2]])| {
            let mut phase = 0;
            row.iter().fold([0.0; 2], |sum, [re, im]| {
                let (sin, cos) = wave[phase];
                phase = if phase + k < side { phase + k } else { phase + k - side };
                [sum[0] + re * cos + im * sin, sum[1] + im * cos - re * sin]
            })
        };
        plane = (0..side).flat_map(|k| plane.chunks_exact(side).map(move |row| (k, row))).map(sum).collect();
    }
    let frequency = |k: usize| k.min(side - k) as f64 / side as f64;
    let above = (0..plane.len()).filter(|i| frequency(i / side).hypot(frequency(i % side)) > cutoff);
    let window = hann.iter().map(|w| w * w).sum::<f64>().powi(2);
    mean(above.map(|i| (plane[i][0].powi(2) + plane[i][1].powi(2)) / window))
}

/// Confusion matrix of class rasters, pooled over files (specification G.1).
///
/// Pixels of a true class outside the table are skipped; a predicted class outside it misses the true one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// Pixels by true class (row) and predicted class (column; the last one is "outside the table").
    pub counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// An empty matrix for class indices `0..classes`.
    pub fn new(classes: usize) -> Self {
        Self { counts: vec![vec![0; classes + 1]; classes] }
    }

    /// Pools one more file of class indices (`u8` or `usize`).
    pub fn add<T: Copy + Into<usize>>(&mut self, truth: &[T], predicted: &[T]) {
        let outside = self.counts.len();
        for (t, p) in paired::<T, usize>(truth, predicted) {
            if let Some(row) = self.counts.get_mut(t) {
                row[p.min(outside)] += 1;
            }
        }
    }

    /// Share of pixels with the right class; NaN without pixels.
    pub fn top1(&self) -> f64 {
        let right: u64 = self.counts.iter().enumerate().map(|(class, row)| row[class]).sum();
        right as f64 / self.counts.iter().flatten().sum::<u64>() as f64
    }

    /// Intersection over union `tp/(tp+fp+fn)` of one class; `None` if it occurs in neither truth nor prediction.
    pub fn iou(&self, class: usize) -> Option<f64> {
        let row = self.counts.get(class)?;
        let union = row.iter().chain(self.counts.iter().map(|row| &row[class])).sum::<u64>() - row[class];
        (union > 0).then(|| row[class] as f64 / union as f64)
    }

    /// Mean intersection over union of the classes that occur in truth or prediction; NaN if none does.
    pub fn mean_iou(&self) -> f64 {
        mean((0..self.counts.len()).filter_map(|class| self.iou(class)))
    }

    /// Share of the most frequent true class: what always guessing that class would score; NaN without pixels.
    pub fn majority_share(&self) -> f64 {
        let most: u64 = self.counts.iter().map(|row| row.iter().sum()).max().unwrap_or(0);
        most as f64 / self.counts.iter().flatten().sum::<u64>() as f64
    }
}

/// Days between two days of the year (or any two day counts) on a wheel of 365.25 days: 0…182.625.
pub fn day_difference_circular(a: f64, b: f64) -> f64 {
    let ahead = (a - b).rem_euclid(365.25);
    ahead.min(365.25 - ahead)
}

/// Pearson correlation of `f32` or `f64` values; NaN if either side is constant or empty.
pub fn pearson<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    let pairs: Vec<(f64, f64)> = paired(a, b).collect();
    // Asked exactly: a rounded mean gives constants a tiny variance, and from that a correlation of noise.
    if pairs.iter().all(|p| p.0 == pairs[0].0) || pairs.iter().all(|p| p.1 == pairs[0].1) {
        return f64::NAN;
    }
    let (mean_a, mean_b) = (mean(pairs.iter().map(|p| p.0)), mean(pairs.iter().map(|p| p.1)));
    let sum = |f: fn(f64, f64) -> f64| pairs.iter().map(|p| f(p.0 - mean_a, p.1 - mean_b)).sum::<f64>();
    sum(|x, y| x * y) / (sum(|x, _| x * x).sqrt() * sum(|_, y| y * y).sqrt())
}

/// Rank correlation, ties at their average rank; NaN if either side is constant, empty or holds a NaN.
pub fn spearman<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    let (a, b): (Vec<f64>, Vec<f64>) = paired(a, b).unzip();
    if a.iter().chain(&b).any(|v| v.is_nan()) { f64::NAN } else { pearson(&ranks(&a), &ranks(&b)) }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let (mut ranks, mut before) = (vec![0.0; values.len()], 0);
    for tied in order.chunk_by(|&i, &j| values[i] == values[j]) {
        for &i in tied {
            ranks[i] = before as f64 + (tied.len() - 1) as f64 / 2.0;
        }
        before += tied.len();
    }
    ranks
}

/// Best ("peak capability", specification G.2) and mean of one metric over samples; `None` without samples, both NaN
/// if one is NaN (a failed sample must not vanish from a best of N).
pub fn best_and_mean(values: &[f64], smaller_is_better: bool) -> Option<(f64, f64)> {
    let best = values.iter().copied().reduce(if smaller_is_better { f64::min } else { f64::max })?;
    Some((if values.iter().any(|v| v.is_nan()) { f64::NAN } else { best }, mean(values.iter().copied())))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    paired(a, b).map(|(x, y): (f64, f64)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

/// Distances over unordered pairs.
fn pair_distances<V: AsRef<[f64]>>(set: &[V]) -> impl Iterator<Item = f64> {
    (0..set.len()).flat_map(move |i| (0..i).map(move |j| distance(set[i].as_ref(), set[j].as_ref())))
}

/// Mean Euclidean distance over unordered pairs of a set; NaN below two vectors.
pub fn intra_set_distance(set: &[Vec<f64>]) -> f64 {
    mean(pair_distances(set))
}

/// Precision (share of `generated` in a ball of `real`) and recall (share of `real` in a ball of `generated`).
///
/// The radius of a point is the distance to its `k`-th nearest neighbour in its own set (the farthest if the set
/// has `k` points or fewer, 0 if it is alone); the border counts as inside. Both NaN if either set is empty.
pub fn precision_recall(real: &[Vec<f64>], generated: &[Vec<f64>], k: usize) -> (f64, f64) {
    let ([_, ..], [_, ..]) = (real, generated) else { return (f64::NAN, f64::NAN) };
    (share_inside(generated, real, k), share_inside(real, generated, k))
}

fn share_inside(points: &[Vec<f64>], set: &[Vec<f64>], k: usize) -> f64 {
    let radius = |i: usize| {
        let mut others: Vec<f64> = (0..set.len()).filter(|&j| j != i).map(|j| distance(&set[j], &set[i])).collect();
        others.sort_by(f64::total_cmp);
        k.min(others.len()).checked_sub(1).map_or(0.0, |last| others[last])
    };
    let radii: Vec<f64> = (0..set.len()).map(radius).collect();
    let inside = |point: &Vec<f64>| set.iter().zip(&radii).any(|(centre, r)| distance(point, centre) <= *r);
    share(points.iter().map(inside))
}

/// Share of the range of `real` that the range of `generated` covers, mean over dimensions (a dimension in which
/// `real` spans no more than 1e-8 counts as 1). NaN if either set is empty.
pub fn range_coverage(real: &[Vec<f64>], generated: &[Vec<f64>]) -> f64 {
    let ([first, ..], [_, ..]) = (real, generated) else { return f64::NAN };
    let range = |set: &[Vec<f64>], d: usize| {
        set.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v[d]), high.max(v[d])))
    };
    mean((0..first.len()).map(|d| {
        let ((low, high), (low_g, high_g)) = (range(real, d), range(generated, d));
        let overlap = (high.min(high_g) - low.max(low_g)).max(0.0);
        if high - low <= 1e-8 { 1.0 } else { overlap / (high - low) }
    }))
}

/// Share of the pooled vectors whose nearest other vector is of their own set: 0.5 is ideal, 1 is told apart.
///
/// Several at exactly the same distance share the vote, whatever their order. NaN if either set is empty.
pub fn one_nn_accuracy(real: &[Vec<f64>], generated: &[Vec<f64>]) -> f64 {
    let ([_, ..], [_, ..]) = (real, generated) else { return f64::NAN };
    let pool: Vec<&Vec<f64>> = real.iter().chain(generated).collect();
    mean((0..pool.len()).map(|i| {
        let others = || (0..pool.len()).filter(|&j| j != i).map(|j| (distance(pool[i], pool[j]), j));
        let nearest = others().map(|(d, _)| d).fold(f64::INFINITY, f64::min);
        share(others().filter(|&(d, _)| d == nearest).map(|(_, j)| (i < real.len()) == (j < real.len())))
    }))
}

/// Area between the two empirical distribution functions, in the unit of the values; NaN if either is empty.
pub fn wasserstein1(a: &[f64], b: &[f64]) -> f64 {
    let ([_, ..], [_, ..]) = (a, b) else { return f64::NAN };
    let (up, down) = (1.0 / a.len() as f64, -1.0 / b.len() as f64);
    let mut steps: Vec<(f64, f64)> = a.iter().map(|&v| (v, up)).chain(b.iter().map(|&v| (v, down))).collect();
    steps.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut gap, mut area) = (0.0_f64, 0.0);
    for pair in steps.windows(2) {
        gap += pair[0].1;
        area += gap.abs() * (pair[1].0 - pair[0].0);
    }
    area
}

/// Unbiased squared maximum mean discrepancy, Gaussian kernel of half the median pooled distance; may be below 0 for
/// sets that are alike, NaN below two vectors on either side.
pub fn mmd2(real: &[Vec<f64>], generated: &[Vec<f64>]) -> f64 {
    let ([_, _, ..], [_, _, ..]) = (real, generated) else { return f64::NAN };
    let pool: Vec<&Vec<f64>> = real.iter().chain(generated).collect();
    let mut pairs: Vec<f64> = pair_distances(&pool).collect();
    pairs.sort_by(f64::total_cmp);
    let scale = f64::midpoint(pairs[(pairs.len() - 1) / 2], pairs[pairs.len() / 2]) / 2.0 + 1e-8;
    let kernel = |d: f64| (-d * d / (2.0 * scale * scale)).exp();
    let within = |set: &[Vec<f64>]| mean(pair_distances(set).map(kernel));
    let between = mean(real.iter().flat_map(|a| generated.iter().map(move |b| kernel(distance(a, b)))));
    within(real) + within(generated) - 2.0 * between
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::haversine_km;

    fn check<const N: usize>(what: &str, found: [f64; N], expected: [f64; N]) {
        let near = |(f, e): (&f64, &f64)| f == e || (f - e).abs() < 1e-9 * (1.0 + e.abs()) || f.is_nan() && e.is_nan();
        assert!(found.iter().zip(&expected).all(near), "{what}: {found:?}, not {expected:?}");
    }

    fn numbers(n: usize, step: usize, start: usize, modulus: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * step + start) % modulus) as f32).collect()
    }

    fn line(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|&v| vec![v]).collect()
    }

    #[test]
    fn errors_and_psnr_pool_pixels_not_files() {
        let (mut errors, mut psnr) = (Errors::default(), Psnr::default());
        check("nothing", [errors.mae(), errors.rmse(), errors.bias(), psnr.db()], [f64::NAN; 4]);
        errors.add(&[0.0, 10.0], &[1.0, 7.0]);
        errors.add(&[5.0_f32; 6], &[5.0; 6]);
        assert_eq!((errors.n, errors.mae(), errors.rmse(), errors.bias()), (8, 0.5, 1.25_f64.sqrt(), -0.25));
        psnr.add(&[3.0, 3.0], &[3.0, 3.0]);
        check("no error", [psnr.db()], [f64::INFINITY]);
        // 20 is cut to the 10 of the truth, 1 is a tenth of its range.
        psnr.add(&[0.0, 10.0], &[1.0, 20.0]);
        check("pooled", [psnr.db()], [-10.0 * (0.01_f64 / 4.0).log10()]);
    }

    #[test]
    fn ssim_agrees_with_a_direct_sum_over_windows() {
        // References: numpy, two-dimensional windows with centred variances.
        let (truth, other) = (numbers(224, 37, 0, 101), numbers(224, 53, 7, 89));
        let scale = |v: &[f32]| v.iter().map(|x| x * 4.0 - 64.0).collect::<Vec<_>>();
        let found = [ssim(&truth, &other, 14), ssim(&scale(&truth), &scale(&other), 14), ssim(&truth, &truth, 14)];
        check("other, other unit, same", found, [0.049_269_984_724_047_73, 0.049_269_984_724_047_73, 1.0]);
        for (n, width) in [(0, 0), (0, 14), (224, 10), (224, 15), (140, 14)] {
            check("no window", [ssim(&truth[..n], &truth[..n], width)], [f64::NAN]);
        }
    }

    #[test]
    fn power_is_that_of_a_wave_at_its_frequency_and_of_the_fft() {
        let wave: Vec<f32> = (0..1024).map(|i| 3.0 * (TAU as f32 * 0.25 * (i % 32) as f32).cos() + 500.0).collect();
        check("all of it (Parseval)", [power_above(&wave, 32, -1.0)], [4.5]);
        assert!(power_above(&wave, 32, 0.2) > 4.5 && power_above(&wave, 32, 0.3) < 1e-9);
        check("numpy.fft", [power_above(&numbers(289, 37, 0, 101), 17, 0.3)], [1_134.190_510_465_699_2]);
        for (n, side, cutoff) in [(0, 0, 0.0), (1, 1, -1.0), (1024, 31, 0.0), (1024, 32, 0.71)] {
            check("undefined", [power_above(&wave[..n], side, cutoff)], [f64::NAN]);
        }
    }

    #[test]
    fn confusion_counts_what_occurs() {
        let mut table = Confusion::new(4);
        check("nothing", [table.top1(), table.mean_iou(), table.majority_share()], [f64::NAN; 3]);
        table.add::<u8>(&[0, 0, 0, 1], &[0, 0, 1, 1]);
        // A prediction outside the table is a miss; a truth outside it is no truth.
        table.add::<usize>(&[1, 9], &[200, 0]);
        assert_eq!(table.counts[..2], [[2, 1, 0, 0, 0], [0, 1, 0, 0, 1]]);
        check("shares", [table.top1(), table.mean_iou(), table.majority_share()], [0.6, 0.5, 0.6]);
        table.add::<u8>(&[0], &[2]);
        assert_eq!([0, 1, 2, 3, 4].map(|class| table.iou(class)), [Some(0.5), Some(1.0 / 3.0), Some(0.0), None, None]);
    }

    #[test]
    fn places_and_days_wrap_around() {
        // To the pole, over the date line, to the antipodes.
        let ways = [[0.0, 77.0, 90.0, -12.0], [0.0, 179.0, 0.0, -179.0], [30.0, 10.0, -30.0, -170.0]];
        let turns = [0.25, 1.0 / 180.0, 0.5];
        check("km", ways.map(|[a, b, c, d]| haversine_km(a, b, c, d)), turns.map(|turn| turn * TAU * 6371.0));
        let days = [[1.0, 365.0], [365.0, 1.0], [10.0, 40.0], [0.0, 182.625]];
        check("days", days.map(|[a, b]| day_difference_circular(a, b)), [1.25, 1.25, 30.0, 182.625]);
    }

    #[test]
    fn ranks_see_order_and_ties_only() {
        let a = [1.0, 2.0, 2.0, 3.0];
        // The ties: ranks 0, 1.5, 1.5, 3 against 0, 2, 1, 3.
        let found = [spearman(&a, &a.map(|v: f64| v.exp())), spearman(&a, &[1.0, 9.0, 4.0, 99.0])];
        check("monotone, ties", found, [1.0, 0.9_f64.sqrt()]);
        check("pearson", [pearson(&[1.0_f32, 2.0, 3.0, 4.0], &[2.0, 1.0, 4.0, 3.0])], [0.6]);
        for (a, b) in [(vec![], vec![]), (vec![0.1; 3], vec![1.0, 2.0, 3.0]), (vec![f64::NAN, 1.0], vec![1.0, 2.0])] {
            check("undefined", [spearman(&a, &b), pearson(&a, &b)], [f64::NAN; 2]);
        }
        assert!(std::panic::catch_unwind(|| pearson(&[1.0, 2.0], &[1.0])).is_err());
        assert_eq!([true, false].map(|least| best_and_mean(&a, least)), [Some((1.0, 2.0)), Some((3.0, 2.0))]);
        assert_eq!(best_and_mean(&[], true), None);
        assert!(best_and_mean(&[1.0, f64::NAN], true).is_some_and(|(best, mean)| best.is_nan() && mean.is_nan()));
    }

    #[test]
    fn set_measures_agree_with_direct_sums() {
        // References: numpy.
        let set = |v: Vec<f32>| v.chunks(3).map(|v| v.iter().map(|&x| x.into()).collect()).collect::<Vec<Vec<f64>>>();
        let (real, made) = (set(numbers(21, 37, 0, 23)), set(numbers(15, 29, 5, 19)));
        let [one, two, five] = [1, 2, 5].map(|k| precision_recall(&real, &made, k));
        assert_eq!((one, two, five), ((0.8, 5.0 / 7.0), (1.0, 6.0 / 7.0), (1.0, 1.0)));
        let found = [intra_set_distance(&real), mmd2(&real, &made), range_coverage(&real, &made)];
        check("means", found, [16.777_823_906_376_18, -0.131_921_057_378_547_1, 0.803_827_751_196_172_3]);
        check("1-NN, one of 12 torn", [one_nn_accuracy(&real, &made), one_nn_accuracy(&made, &real)], [2.5 / 12.0; 2]);
        let first = |set: &[Vec<f64>]| set.iter().map(|v| v[0]).collect::<Vec<_>>();
        check("wasserstein", [wasserstein1(&first(&real), &first(&made))], [3.4]);
    }

    #[test]
    fn set_measures_know_sets_apart_alike_and_empty() {
        let (near, far, none) = (line(&[0.0, 1.0, 3.0]), line(&[100.0, 101.0]), line(&[]));
        let (one, two, wide) = (line(&[5.0]), line(&[2.0; 2]), line(&[-1.0, 9.0]));
        let found = [one_nn_accuracy(&near, &far), one_nn_accuracy(&near, &near), one_nn_accuracy(&two, &two)];
        check("apart, twins, all one point", found, [1.0, 0.0, 1.0 / 3.0]);
        assert_eq!(precision_recall(&near, &far, 5), (0.0, 0.0));
        // The border is inside; a lone point has a ball of radius 0.
        assert_eq!(precision_recall(&near, &one, 1), (1.0, 0.0));
        assert_eq!(precision_recall(&one, &line(&[5.0, 6.0]), 5), (0.5, 1.0));
        let found = [range_coverage(&near, &wide), range_coverage(&near, &far), range_coverage(&one, &far)];
        check("wider, apart, no range", found, [1.0, 0.0, 1.0]);
        let found =
            [wasserstein1(&[3.0, 0.0, 1.0], &[2.0, 5.0, 3.0]), wasserstein1(&[0.0], &[1.0, 3.0]), mmd2(&two, &two)];
        check("shifted, of other size, all one point", found, [2.0, 2.0, 0.0]);
        for (a, b) in [(&near, &none), (&none, &near)] {
            let (precision, recall) = precision_recall(a, b, 5);
            let found = [precision, recall, one_nn_accuracy(a, b), range_coverage(a, b), mmd2(a, b)];
            check("undefined", found, [f64::NAN; 5]);
        }
        check("undefined", [wasserstein1(&[], &[1.0]), intra_set_distance(&one), mmd2(&near, &one)], [f64::NAN; 3]);
    }
}
