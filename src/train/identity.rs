//! A beginning for the denoiser: its prediction of the noise is the noisy latent itself.
//!
//! That is right where nearly all is noise (t near 1), where an error counts most: the data prediction divides it by
//! α(1) = 0.068. A network that begins at random needs most of a short training to find this alone.

use crate::modality::ModalityTable;
use crate::model::{DenoiserSizes, TensorData};
use candle_core::DType;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// Size of a latent's value in its token, and of the position embedding in the other features: the former is small
/// beside the latter, so that layer norm divides all tokens by nearly the same number and the values' size survives.
const VALUE: f32 = 0.3;
const POSITION: f32 = 0.5;

/// Starting tensors by name (specification D.4); those left out begin as usual.
///
/// Each value of a patch has a feature of its own, no position embedding in it, blocks add nothing at first, long
/// skips are ignored, and the heads read the features back. Patches must have fewer values than half the width.
pub fn identity_start(table: &ModalityTable, sizes: &DenoiserSizes, seed: u64) -> BTreeMap<String, TensorData> {
    let d = sizes.width;
    let mut generator = ChaCha12Rng::seed_from_u64(seed);
    let mut normal = || -> f32 { StandardNormal.sample(&mut generator) };
    let mut start = BTreeMap::new();
    let mut put = |name: String, shape: &[usize], values: Vec<f32>| {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        start.insert(name, TensorData { dtype: DType::F32, shape: shape.to_vec(), bytes });
    };
    let mut positions: Vec<f32> = (0..table.tokens() * d).map(|_| POSITION * normal()).collect();
    let mut token = table.len();
    for (i, m) in table.iter().enumerate() {
        let (c, p) = (m.latent[0], m.patch);
        let n = c * p * p;
        let mut embed = vec![0.0; d * n];
        (0..n).for_each(|k| embed[k * n + k] = VALUE);
        put(format!("patch_embeds.{i}.proj.weight"), &[d, c, p, p], embed);
        put(format!("patch_embeds.{i}.proj.bias"), &[d], vec![0.0; d]);
        for t in token..token + m.tokens() {
            positions[t * d..t * d + n].fill(0.0);
            standardise(&mut positions[t * d + n..(t + 1) * d]);
        }
        token += m.tokens();
        // What layer norm divides by when the latent is pure noise.
        let free = (d - n) as f32 * POSITION.powi(2) + n as f32 * VALUE.powi(2);
        let gain = (free / d as f32).sqrt() / VALUE;
        let mut head = vec![0.0; n * d];
        for channel in 0..c {
            for pixel in 0..p * p {
                // Features of the embedding run (channel, row, column), those of the head (row, column, channel).
                head[(pixel * c + channel) * d + channel * p * p + pixel] = gain;
            }
        }
        put(format!("decoder_preds.{i}.weight"), &[n, d], head);
    }
    put("pos_embed".into(), &[1, table.tokens(), d], positions);
    let half = sizes.depth / 2;
    let stacks = [("in_blocks", half), ("out_blocks", half)];
    let blocks = stacks.iter().flat_map(|(stack, n)| (0..*n).map(move |j| format!("{stack}.{j}")));
    for block in blocks.chain(["mid_block".to_owned()]) {
        put(format!("{block}.attn.proj.weight"), &[d, d], vec![0.0; d * d]);
        let hidden = d * sizes.mlp_ratio;
        put(format!("{block}.mlp.fc2.weight"), &[d, hidden], vec![0.0; d * hidden]);
        if block.starts_with("out") {
            let mut skip = vec![0.0; 2 * d * d];
            (0..d).for_each(|k| skip[k * 2 * d + k] = 1.0);
            put(format!("{block}.skip_linear.weight"), &[d, 2 * d], skip);
        }
    }
    start
}

/// Mean 0 and standard deviation [`POSITION`] exactly, so that no token is read with an offset or another gain.
fn standardise(values: &mut [f32]) {
    let n = values.len() as f32;
    let mean = values.iter().sum::<f32>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
    values.iter_mut().for_each(|v| *v = (*v - mean) / deviation * POSITION);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Denoiser;
    use crate::train::parameters::Trainable;
    use candle_core::{Device, Tensor};

    #[test]
    fn the_network_begins_as_the_identity_on_noise() {
        let table = ModalityTable::published();
        let sizes = DenoiserSizes { width: 128, depth: 4, heads: 4, mlp_ratio: 4 };
        let mut source = Trainable::new(5, identity_start(&table, &sizes, 5), &Device::Cpu);
        let denoiser = Denoiser::new(&table, &sizes, &mut source, &Device::Cpu).expect("denoiser");
        let mut generator = ChaCha12Rng::seed_from_u64(1);
        let noise = |m: &crate::modality::Modality, generator: &mut ChaCha12Rng| {
            let [c, h, w] = m.latent;
            let like = Tensor::zeros((1, c, h, w), DType::F32, &Device::Cpu).expect("tensor");
            crate::train::autoencoder::normal_like(&like, generator).expect("noise")
        };
        let latents: Vec<Tensor> = table.iter().map(|m| noise(m, &mut generator)).collect();
        let times = vec![vec![1000.0]; table.len()];
        let predicted = denoiser.forward(&latents, &times).expect("noise");
        for ((m, x), found) in table.iter().zip(&latents).zip(&predicted) {
            let square =
                |t: &Tensor| t.sqr().and_then(|t| t.mean_all()).and_then(|t| t.to_scalar::<f32>()).expect("mean");
            let error = square(&(found - x).expect("difference"));
            assert!(error < 0.02 * square(x), "{}: relative error {error}", m.name);
        }
    }
}
