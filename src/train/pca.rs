//! Patch PCA: the beginning of an autoencoder's linear path.

use crate::error::{Error, Result};
use crate::model::TensorData;
use candle_core::{DType, Tensor};
use nalgebra::{DMatrix, SymmetricEigen};
use std::collections::BTreeMap;

/// log-variance at which the posterior begins: std 0.03 of a whitened latent.
const INITIAL_LOG_VARIANCE: f32 = -7.0;

/// Linear path fitted to network images `(n, channels, H, W)`: patches of `factor` × `factor` pixels are projected on
/// their leading principal components. Latents have the components' standard deviations to the power `1 − whitening`:
/// 1 makes all alike, 0 leaves them as they are; in between, what matters most to the eye also weighs most in the
/// denoiser's loss. Their average variance is 1. `whole` says by image and patch which patches count; `None`: all.
/// Returns the starting tensors of an autoencoder with `latent` channels.
///
/// # Errors
/// When the images are smaller than a patch or all alike, or no patch counts.
pub(super) fn fit(
    images: &Tensor,
    whole: Option<&[bool]>,
    factor: usize,
    latent: usize,
    whitening: f64,
) -> Result<BTreeMap<String, TensorData>> {
    let (n, c, h, w) = images.dims4()?;
    let (rows, columns) = (h / factor, w / factor);
    let size = c * factor * factor;
    if size < latent {
        return Err(Error::request(format!("A patch has {size} values, fewer than {latent} latent channels.")));
    }
    let mut patches = images
        .reshape(&[n, c, rows, factor, columns, factor][..])?
        .permute(&[0, 2, 4, 1, 3, 5][..])?
        .reshape((n * rows * columns, c, factor * factor))?;
    let mut mean = images.mean_keepdim((0, 2, 3))?.reshape((1, c, 1))?;
    if let Some(whole) = whole {
        let kept: Vec<u32> = (0u32..).zip(whole).filter_map(|(patch, whole)| whole.then_some(patch)).collect();
        if kept.is_empty() {
            return Err(Error::request("Every patch of the training images has pixels without data."));
        }
        patches = patches.index_select(&Tensor::new(kept, images.device())?, 0)?;
        mean = patches.mean_keepdim((0, 2))?;
    }
    let count = patches.dim(0)?;
    let patches = patches.broadcast_sub(&mean)?.reshape((count, size))?;
    let covariance = (patches.t()?.contiguous()?.matmul(&patches)? / count as f64)?;
    let covariance: Vec<f32> = covariance.flatten_all()?.to_vec1()?;
    let matrix = DMatrix::from_iterator(size, size, covariance.iter().map(|&v| f64::from(v)));
    let eigen = SymmetricEigen::new(matrix);
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let largest = eigen.eigenvalues[order[0]];
    if largest.is_nan() || largest <= 0.0 {
        return Err(Error::request("All training images of this modality are alike; there is nothing to fit."));
    }
    let mean: Vec<f32> = mean.flatten_all()?.to_vec1()?;
    // Components without variance would blow up rounding noise when whitened.
    let deviation = |k: usize| eigen.eigenvalues[k].max(1e-6 * largest).sqrt();
    let kept = &order[..latent];
    let average = kept.iter().map(|&k| deviation(k).powf(2.0 * (1.0 - whitening))).sum::<f64>() / latent as f64;
    let (mut encode, mut decode, mut bias) = (Vec::new(), Vec::new(), Vec::new());
    for &k in kept {
        // One unit of the latent in network values.
        let deviation = deviation(k).powf(whitening) * average.sqrt();
        let vector = eigen.eigenvectors.column(k);
        let mut at_mean = 0.0;
        for (j, v) in vector.iter().enumerate() {
            encode.push((v / deviation) as f32);
            decode.push((v * deviation) as f32);
            at_mean += v / deviation * f64::from(mean[j / (factor * factor)]);
        }
        bias.push(-at_mean as f32);
    }
    let mut quant_bias = vec![0.0; latent];
    quant_bias.resize(2 * latent, INITIAL_LOG_VARIANCE);
    let kernel = vec![latent, c, factor, factor];
    Ok([
        ("encoder.linear.weight", kernel.clone(), encode),
        ("encoder.linear.bias", vec![latent], bias),
        ("decoder.linear.weight", kernel, decode),
        ("decoder.linear.bias", vec![c], mean),
        ("quant_conv.bias", vec![2 * latent], quant_bias),
    ]
    .into_iter()
    .map(|(name, shape, values): (_, _, Vec<f32>)| {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (name.to_owned(), TensorData { dtype: DType::F32, shape, bytes })
    })
    .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn patches_with_pixels_that_say_nothing_count_neither_in_the_mean_nor_in_the_components() {
        let images = |beneath: f32| {
            let value = |i: usize| match (i / 64, i % 64) {
                // The first patch of the second image.
                (1, pixel) if pixel / 8 < 4 && pixel % 8 < 4 => beneath,
                (image, pixel) => ((pixel * 37 + image * 11) % 29) as f32 / 29.0,
            };
            Tensor::from_vec((0..128).map(value).collect::<Vec<f32>>(), (2, 1, 8, 8), &Device::Cpu).expect("images")
        };
        let whole: Vec<bool> = (0..8).map(|patch| patch != 4).collect();
        let fitted = |beneath: f32, whole: Option<&[bool]>| -> Vec<(String, Vec<u8>)> {
            let tensors = fit(&images(beneath), whole, 4, 3, 0.5).expect("fit");
            tensors.into_iter().map(|(name, tensor)| (name, tensor.bytes)).collect()
        };
        assert_eq!(fitted(0.0, Some(&whole)), fitted(50.0, Some(&whole)));
        assert_ne!(fitted(0.0, None), fitted(50.0, None));
        assert!(fit(&images(0.0), Some(&[false; 8]), 4, 3, 0.5).is_err());
    }
}
