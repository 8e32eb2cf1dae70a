//! Published weight files (specification A.3): whether they fit, and their conversion into files of a model folder.
//!
//! Sizes are read off the weights, except the number of attention heads, which no shape tells.

use super::autoencoder::Autoencoder;
use super::denoiser::Denoiser;
use super::manifest::{AutoencoderSizes, DenoiserSizes, WeightFile};
use super::order::network_order;
use super::save::write_weights;
use super::tensor_data::TensorData;
use super::weights::{LoadedWeights, read_weights};
use crate::error::{Error, Result};
use crate::modality::{Modality, ModalityTable};
use candle_core::Device;
use std::collections::BTreeMap;
use std::path::Path;

/// Loads a denoiser strictly; the table in the order its weights have, and its sizes.
///
/// # Errors
/// When the file is unreadable or does not fit the architecture.
pub fn check_denoiser(
    path: &Path,
    table: ModalityTable,
    heads: Option<usize>,
) -> Result<(ModalityTable, DenoiserSizes)> {
    let mut weights = LoadedWeights::open(path, None, &Device::Cpu)?;
    let table = network_order(table, weights.tensors());
    let sizes = denoiser_sizes(path, weights.tensors(), heads)?;
    sizes.check().map_err(|e| Error::file(path, e.to_string()))?;
    Denoiser::new(&table, &sizes, &mut weights, &Device::Cpu)?;
    weights.finish()?;
    Ok((table, sizes))
}

/// Loads an autoencoder strictly; its sizes.
///
/// # Errors
/// When the file is unreadable, does not fit the architecture, or not every modality that shares it.
pub fn check_autoencoder(path: &Path, modalities: &[&Modality]) -> Result<AutoencoderSizes> {
    let shape = |m: &Modality| (m.network_channels(), m.latent[0]);
    let [first, rest @ ..] = modalities else {
        return Err(Error::file(path, "No modality uses this autoencoder"));
    };
    if let Some(other) = rest.iter().find(|m| shape(m) != shape(first)) {
        let text = format!("{} and {} cannot share an autoencoder: their channels differ", first.name, other.name);
        return Err(Error::file(path, text));
    }
    let mut weights = LoadedWeights::open(path, None, &Device::Cpu)?;
    let sizes = autoencoder_sizes(path, weights.tensors())?;
    sizes.check().map_err(|e| Error::file(path, e.to_string()))?;
    Autoencoder::new(&sizes, first.network_channels(), first.latent[0], &mut weights, &Device::Cpu)?;
    weights.finish()?;
    Ok(sizes)
}

/// Writes a published file as `DIR/FILE`, in half precision if asked.
///
/// # Errors
/// When it cannot be read or written.
pub fn convert(path: &Path, dir: &Path, file: &str, half: bool) -> Result<WeightFile> {
    let sha256 = write_weights(&dir.join(file), &read_weights(path)?, half)?;
    Ok(WeightFile { file: file.into(), sha256 })
}

type Tensors = BTreeMap<String, TensorData>;

fn shape<'a>(path: &Path, tensors: &'a Tensors, name: &str) -> Result<&'a [usize]> {
    let missing =
        || Error::file(path, format!("Missing tensor {name}: these are not the weights this command expects"));
    tensors.get(name).map(|t| t.shape.as_slice()).ok_or_else(missing)
}

/// Number of consecutive indices for which `name(i)` exists.
fn count(tensors: &Tensors, name: impl Fn(usize) -> String) -> usize {
    (0..).take_while(|&i| tensors.contains_key(&name(i))).count()
}

/// D.1: heads are 64 (base, huge) or 72 (large) features wide.
fn denoiser_sizes(path: &Path, tensors: &Tensors, heads: Option<usize>) -> Result<DenoiserSizes> {
    let positions = shape(path, tensors, "pos_embed")?;
    let &[_, _, width] = positions else {
        let text = format!(
            "Misshapen tensor pos_embed: found {positions:?}, expected three sizes of which the last is the width; these are not the weights of a denoiser"
        );
        return Err(Error::file(path, text));
    };
    let hidden = shape(path, tensors, "mid_block.mlp.fc1.weight")?.first().copied().unwrap_or(0);
    let heads = heads.or(match width {
        1024 => Some(16),
        1152 => Some(16),
        1536 => Some(24),
        _ => None,
    });
    let heads = heads.ok_or_else(|| {
        let text = format!(
            "A denoiser of width {width} is none of the published sizes, and no weight tells its number of attention heads; say it with --heads, or in a catalog.toml with heads"
        );
        Error::file(path, text)
    })?;
    let depth = 2 * count(tensors, |j| format!("in_blocks.{j}.norm2.weight"));
    Ok(DenoiserSizes { width, depth, heads, mlp_ratio: hidden / width.max(1) })
}

/// C.1: read off the shapes; norm groups are 32.
fn autoencoder_sizes(path: &Path, tensors: &Tensors) -> Result<AutoencoderSizes> {
    let base_width = shape(path, tensors, "encoder.conv_in.weight")?.first().copied().unwrap_or(0);
    let levels = count(tensors, |l| format!("encoder.down.{l}.block.0.conv1.weight"));
    let mut multipliers = Vec::new();
    for l in 0..levels {
        let width =
            shape(path, tensors, &format!("encoder.down.{l}.block.0.conv1.weight"))?.first().copied().unwrap_or(0);
        multipliers.push(width / base_width.max(1));
    }
    let residual_blocks = count(tensors, |b| format!("encoder.down.0.block.{b}.conv1.weight"));
    Ok(AutoencoderSizes { base_width, multipliers, residual_blocks, norm_groups: 32, linear_path: false })
}
