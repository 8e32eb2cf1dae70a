//! What is known of an image at some of its pixels, as a latent can be held to it: values y and a linear measurement A of
//! the latent, so that y = A · latent.

use super::field::Statistics;
use crate::error::{Error, Result};
use crate::modality::Mask;
use crate::parallel;
use candle_core::{DType, Device, Tensor};

/// Most iterations of [`Known::lifted`].
const MOST_ITERATIONS: usize = 40;
/// Share of the square of what is to be explained that may be left.
const NEGLIGIBLE: f64 = 1e-4;
/// Added to the variance of a known pixel, relative to how much the channel varies: pixels are not known to the last digit.
const RIDGE: f32 = 1e-4;

/// Values known of one modality. Tensors are `(batch, C, h, w)` of its latent's shape, zero where nothing is known.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// 1 where a value is known: `(1, 1, h, w)`.
    mask: Tensor,
    /// The known values.
    values: Tensor,
    measurement: Measurement<'a>,
    /// Number of known values.
    count: usize,
}

/// How a latent is measured.
#[derive(Debug, Clone)]
enum Measurement<'a> {
    /// Latent cells themselves.
    Cells,
    /// Pixels of the image whose whitened form the latent is, each channel divided by how much it varies.
    Pixels { field: &'a Statistics, modality: usize, unit: Vec<f32> },
}

impl<'a> Known<'a> {
    /// Known cells of a latent `(1 or batch, C, h, w)`.
    ///
    /// # Errors
    /// When the mask has another size.
    pub fn cells(latent: &Tensor, known: &Mask) -> Result<Self> {
        let (_, channels, h, w) = latent.dims4()?;
        if known.size() != (h, w) {
            let (rows, columns) = known.size();
            return Err(Error::Compute(format!("A mask of {rows} × {columns} cells for a latent of {h} × {w}.")));
        }
        let mask = mask_of(known, latent)?;
        let values = latent.broadcast_mul(&mask)?;
        Ok(Self { mask, values, measurement: Measurement::Cells, count: known.count() * channels })
    }

    /// Known pixels of an image, given by shape and network values, the latent being its whitened form.
    ///
    /// # Errors
    /// When sizes do not fit.
    pub(super) fn pixels(
        field: &'a Statistics,
        modality: usize,
        ([channels, rows, columns], mut image): ([usize; 3], Vec<f32>),
        known: &Mask,
        device: &Device,
    ) -> Result<Self> {
        field.without_mean(modality, &mut image);
        let mut unit = Vec::with_capacity(channels);
        for values in image.chunks_exact_mut(rows * columns) {
            let scale = field.channel_deviation(modality, unit.len()).max(f32::MIN_POSITIVE);
            values.iter_mut().for_each(|v| *v /= scale);
            unit.push(scale);
        }
        let values = Tensor::from_vec(image, (1, channels, rows, columns), device)?;
        let mask = mask_of(known, &values)?;
        let values = values.broadcast_mul(&mask)?;
        let measurement = Measurement::Pixels { field, modality, unit };
        Ok(Self { mask, values, measurement, count: known.count() * channels })
    }

    /// Number of known values.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The known cells `(C, h, w)` of one item and which they are: 1 or 0 for each of `(h, w)`. `None` where a latent is
    /// known by more than its cells.
    ///
    /// # Errors
    /// When the device fails.
    pub fn as_cells(&self) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        if !matches!(self.measurement, Measurement::Cells) {
            return Ok(None);
        }
        let flat = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?) };
        Ok(Some((flat(&self.values.narrow(0, 0, 1)?)?, flat(&self.mask)?)))
    }

    /// A latent `(batch, C, h, w)` with the known cells in their places.
    ///
    /// # Errors
    /// When the device fails.
    pub fn put_into(&self, latent: &Tensor) -> Result<Tensor> {
        match self.measurement {
            Measurement::Cells => {
                let rest = latent.broadcast_mul(&self.mask.affine(-1.0, 1.0)?)?;
                Ok(rest.broadcast_add(&self.values)?)
            }
            Measurement::Pixels { .. } => Ok(latent.clone()),
        }
    }

    /// Other values for what is known: the latent of an image in which more has become known.
    ///
    /// # Errors
    /// When the device fails.
    pub fn renew(&mut self, latent: &Tensor) -> Result<()> {
        if matches!(self.measurement, Measurement::Cells) {
            self.values = latent.broadcast_mul(&self.mask)?;
        }
        Ok(())
    }

    /// A · latent.
    ///
    /// # Errors
    /// When the device fails.
    pub fn measured(&self, latent: &Tensor) -> Result<Tensor> {
        let seen = match &self.measurement {
            Measurement::Cells => latent.clone(),
            Measurement::Pixels { field, modality, unit } => each_item(latent, |values| {
                field.shape(*modality, values);
                divide(values, unit);
            })?,
        };
        Ok(seen.broadcast_mul(&self.mask)?)
    }

    /// y − A · latent: what a latent lacks of what is known.
    ///
    /// # Errors
    /// When the device fails.
    pub fn missing(&self, latent: &Tensor) -> Result<Tensor> {
        Ok(self.values.broadcast_sub(&self.measured(latent)?)?)
    }

    /// Aᵀ (A Aᵀ)⁻¹ · values: the least change of a latent whose measurement these values are.
    ///
    /// # Errors
    /// When the device fails.
    pub fn lifted(&self, values: &Tensor) -> Result<Tensor> {
        let values = values.broadcast_mul(&self.mask)?;
        let Measurement::Pixels { field, modality, unit } = &self.measurement else { return Ok(values) };
        let known: Vec<f32> = self.mask.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        let all: Vec<f32> = values.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        let images: Vec<(usize, &[f32])> = all.chunks_exact(known.len().max(1)).enumerate().collect();
        // Channels and items do not know of each other.
        let lifted = parallel::map(&images, |(number, image)| {
            let channel = number % unit.len();
            let shape = |image: &mut [f32], times: i32| field.shape_channel(*modality, channel, image, times);
            Ok(least_change(image, &known, unit[channel], &shape))
        })?;
        Ok(Tensor::from_vec(lifted.concat(), values.shape(), values.device())?.to_dtype(values.dtype())?)
    }
}

/// Conjugate gradients for a channel of [`Known::lifted`]: A Aᵀ is what `shape` does twice, seen through the mask.
fn least_change(values: &[f32], known: &[f32], unit: f32, shape: &dyn Fn(&mut [f32], i32)) -> Vec<f32> {
    let seen = |image: &mut [f32]| image.iter_mut().zip(known).for_each(|(v, k)| *v *= k);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let scale = unit.powi(-2);
    let mut solution = vec![0.0; values.len()];
    let mut rest = values.to_vec();
    let mut direction = rest.clone();
    let mut square = dot(&rest, &rest);
    let enough = square * NEGLIGIBLE;
    for _ in 0..MOST_ITERATIONS {
        if square <= enough || square < 1e-20 {
            break;
        }
        let mut product = direction.clone();
        shape(&mut product, 2);
        seen(&mut product);
        product.iter_mut().zip(&direction).for_each(|(p, d)| *p = *p * scale + RIDGE * d);
        let step = (square / dot(&direction, &product)) as f32;
        solution.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
        rest.iter_mut().zip(&product).for_each(|(r, p)| *r -= step * p);
        let next = dot(&rest, &rest);
        let keep = (next / square) as f32;
        direction.iter_mut().zip(&rest).for_each(|(d, r)| *d = r + keep * *d);
        square = next;
    }
    solution.iter_mut().for_each(|v| *v /= unit);
    shape(&mut solution, 1);
    solution
}

fn mask_of(known: &Mask, like: &Tensor) -> Result<Tensor> {
    let (rows, columns) = known.size();
    Ok(Tensor::from_vec(known.numbers(), (1, 1, rows, columns), like.device())?.to_dtype(like.dtype())?)
}

fn divide(values: &mut [f32], unit: &[f32]) {
    let pixels = values.len() / unit.len().max(1);
    for (channel, unit) in values.chunks_exact_mut(pixels.max(1)).zip(unit) {
        channel.iter_mut().for_each(|v| *v /= unit);
    }
}

/// Changes each item of a batch on the CPU.
fn each_item(batch: &Tensor, change: impl Fn(&mut [f32])) -> Result<Tensor> {
    let mut values: Vec<f32> = batch.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    let item = (values.len() / batch.dim(0)?.max(1)).max(1);
    values.chunks_exact_mut(item).for_each(change);
    Ok(Tensor::from_vec(values, batch.shape(), batch.device())?.to_dtype(batch.dtype())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Raster;
    use crate::model::{Engine, Model};

    fn rms(tensor: &Tensor) -> f64 {
        let values: Vec<f32> = tensor.flatten_all().and_then(|t| t.to_vec1()).expect("values");
        (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn pixels_of_a_whitened_image_are_measured_and_their_least_change_makes_up_for_them() {
        let dir = crate::files::bundled("models/demo").expect("model");
        let model = Model::open(&dir, &Engine::cpu()).expect("model");
        let table = &model.manifest.modalities;
        for name in ["S2L2A_10m", "DEM", "LULC"] {
            let i = table.index(name).expect("modality");
            let m = &table[i];
            let n = m.pixels;
            let value = |_, pixel: usize| match m.classes() {
                Some(classes) => f32::from(classes[pixel % n / 30 % classes.len()].code),
                None => 900.0 + 300.0 * ((pixel % n) as f32 * 0.2).sin() + (pixel / n) as f32,
            };
            let raster = Raster::from_fn(m.channels.len(), n, n, value);
            let west = Mask::from_fn(n, n, |pixel| pixel % n < n / 2);
            let known = model.known(i, &raster.clone().with_valid(&west).expect("mask")).expect("known").expect("some");
            assert_eq!(known.count(), n * (n / 2) * m.network_channels());
            // The image itself lacks nothing, whatever lies where it is not known.
            let latent = model.encode(i, &crate::modality::Value::Image(raster), None).expect("latent");
            let scale = rms(&known.measured(&latent).expect("measured"));
            assert!(rms(&known.missing(&latent).expect("missing")) < 2e-3 * scale, "{name}");
            // An empty latent lacks it all; the least change makes up for nearly all of it.
            let nothing = latent.zeros_like().expect("zeros");
            let missing = known.missing(&nothing).expect("missing");
            let change = known.lifted(&missing).expect("lifted");
            let left = rms(&known.missing(&change).expect("missing"));
            assert!(left < 0.06 * rms(&missing), "{name}: {left} of {}", rms(&missing));
            assert!(rms(&change) < rms(&latent), "{name}: no more than is needed");
        }
    }

    #[test]
    fn cells_are_themselves_and_may_be_renewed() {
        let device = candle_core::Device::Cpu;
        let latent = |value: f32| Tensor::full(value, (2, 3, 4, 4), &device).expect("latent");
        let half = Mask::from_fn(4, 4, |cell| cell < 8);
        let mut known = Known::cells(&latent(2.0), &half).expect("known");
        assert_eq!(known.count(), 24);
        let sum = |tensor: Tensor| tensor.sum_all().and_then(|t| t.to_scalar::<f32>()).expect("sum");
        assert_eq!(sum(known.missing(&latent(0.5)).expect("missing")), 1.5 * 48.0);
        assert_eq!(sum(known.lifted(&latent(1.0)).expect("lifted")), 48.0);
        known.renew(&latent(5.0)).expect("renewed");
        assert_eq!(sum(known.missing(&latent(0.5)).expect("missing")), 4.5 * 48.0);
        assert!(Known::cells(&latent(1.0), &Mask::full(3, 4)).is_err());
    }
}
