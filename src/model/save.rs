//! Writing model folders: import of the published layout (A.3), and what training saves.

use super::autoencoder::Autoencoder;
use super::denoiser::Denoiser;
use super::manifest::{AutoencoderEntry, AutoencoderSizes, DenoiserSizes, MANIFEST_FILE, Manifest, WeightFile};
use super::order::network_order;
use super::weights::{LoadedWeights, TensorData, read_weights, sha256_of};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Modality, ModalityTable};
use candle_core::{DType, Device};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Folder of each published autoencoder (A.3), by modality key.
const PUBLISHED_FOLDERS: [(&str, &str); 10] = [
    ("DEM_DEM", "DEM_64x64_DEM_latent_8"),
    ("S1RTC_vh_vv", "S1RTC_192x192_VV_VH_latent_8"),
    ("S2L1C_B02_B03_B04_B08", "S2L1C_192x192_B4_3_2_8_latent_8"),
    ("S2L1C_B05_B06_B07_B11_B12_B8A", "S2L1C_96x96_B5_6_7_8A_11_12_latent_8"),
    ("S2L1C_B01_B09_B10", "S2L1C_32x32_B1_9_10_latent_8"),
    ("S2L2A_B02_B03_B04_B08", "S2L2A_192x192_B4_3_2_8_latent_8"),
    ("S2L2A_B05_B06_B07_B11_B12_B8A", "S2L2A_96x96_B5_6_7_8A_11_12_latent_8"),
    ("S2L2A_B01_B09", "S2L2A_32x32_B1_9_latent_8"),
    ("LULC_LULC", "LULC_192x192_LULC_latent_8"),
    ("S2L1C_cloud_mask", "S2L1C_192x192_cloud_mask_latent_8"),
];

/// The denoiser's file in a model folder.
pub const DENOISER_FILE: &str = "denoiser.safetensors";

/// The file of a Gaussian field's statistics in a model folder.
pub const FIELD_FILE: &str = "field.safetensors";

/// The file of a modality's autoencoder in a model folder.
pub fn autoencoder_file(m: &Modality) -> String {
    format!("autoencoder_{}.safetensors", m.name)
}

/// Writes tensors as safetensors, in half precision if asked; under a temporary name first, so that a full disk
/// or a crash never leaves half a file under the final one.
///
/// # Errors
/// When the file cannot be written or a value does not fit half precision.
pub fn write_weights(path: &Path, tensors: &BTreeMap<String, TensorData>, half: bool) -> Result<()> {
    let mut converted = BTreeMap::new();
    for (name, data) in tensors {
        if half && data.dtype != DType::F16 {
            let values: Vec<f32> = data.to_tensor(&Device::Cpu)?.flatten_all()?.to_vec1()?;
            let halves: Vec<half::f16> = values.iter().map(|&v| half::f16::from_f32(v)).collect();
            if values.iter().zip(&halves).any(|(v, h)| v.is_finite() && !h.is_finite()) {
                return Err(Error::file(
                    path,
                    format!("Tensor {name} holds values beyond half precision; convert without --half"),
                ));
            }
            let bytes = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
            converted.insert(name.clone(), TensorData { dtype: DType::F16, shape: data.shape.clone(), bytes });
        } else {
            converted.insert(name.clone(), data.clone());
        }
    }
    write_tensors(path, &converted, None)
}

/// Writes tensors as they are, with notes for whoever reads the file; at once or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, TensorData>,
    notes: Option<HashMap<String, String>>,
) -> Result<()> {
    let views = tensors.iter().map(|(name, data)| {
        let dtype = match data.dtype {
            DType::F16 => safetensors::Dtype::F16,
            DType::BF16 => safetensors::Dtype::BF16,
            DType::F64 => safetensors::Dtype::F64,
            _ => safetensors::Dtype::F32,
        };
        let view = safetensors::tensor::TensorView::new(dtype, data.shape.clone(), &data.bytes);
        view.map(|view| (name.clone(), view)).map_err(|e| Error::file(path, e.to_string()))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, notes).map_err(|e| Error::file(path, e.to_string()))?;
    write_atomically(path, &bytes)
}

/// Hash of a file that was just written, as a manifest entry.
///
/// # Errors
/// When it cannot be read.
pub fn weight_file(dir: &Path, file: impl Into<PathBuf>) -> Result<WeightFile> {
    let file = file.into();
    Ok(WeightFile { sha256: sha256_of(&dir.join(&file))?, file })
}

/// Writes `DIR/manifest.json`.
///
/// # Errors
/// When it cannot be written.
pub fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let path = dir.join(MANIFEST_FILE);
    let mut text = serde_json::to_string_pretty(manifest).map_err(|e| Error::file(&path, e.to_string()))?;
    text.push('\n');
    write_atomically(&path, text.as_bytes())
}

/// Converts the published folder layout (A.3) into one model folder.
///
/// Sizes are read off the weights, except the number of attention heads, which no shape tells: it is `heads`, or
/// else follows from the published sizes. Every file is loaded strictly before anything is written; the manifest is
/// written last, so a folder with a manifest is complete.
///
/// # Errors
/// When a file is missing or does not fit the published architecture, the target exists, or cannot be written.
pub fn import(
    denoiser: &Path,
    autoencoders: &Path,
    out: &Path,
    half: bool,
    heads: Option<usize>,
    progress: &mut dyn FnMut(&str),
) -> Result<Manifest> {
    if let Some(taken) = [MANIFEST_FILE, DENOISER_FILE].into_iter().find(|name| out.join(name).exists()) {
        return Err(Error::file(out, format!("There is already a model in this folder ({taken}); choose another one")));
    }
    let open = |path: &Path| LoadedWeights::open(path, None, &Device::Cpu);
    progress("checking the denoiser");
    let mut weights = open(denoiser)?;
    let table = network_order(ModalityTable::published(), weights.tensors());
    let sizes = denoiser_sizes(denoiser, weights.tensors(), heads)?;
    Denoiser::new(&table, &sizes, &mut weights, &Device::Cpu)?;
    weights.finish()?;
    // Each autoencoder is read twice, so that only one is held at a time and nothing is written before all are known
    // to fit.
    let mut checked = Vec::new();
    for m in table.iter().filter(|m| !m.is_scalar()) {
        let folder =
            PUBLISHED_FOLDERS.iter().find(|(key, _)| *key == m.key).map_or(m.key.as_str(), |(_, folder)| folder);
        let path = autoencoders.join(folder).join("model-50-ema.pth");
        progress(&format!("checking the autoencoder of {}", m.name));
        let mut weights = open(&path)?;
        let sizes = autoencoder_sizes(&path, weights.tensors())?;
        Autoencoder::new(&sizes, m.network_channels(), m.latent[0], &mut weights, &Device::Cpu)?;
        weights.finish()?;
        checked.push((m, path, sizes));
    }
    let mut entries = BTreeMap::new();
    for (m, path, sizes) in checked {
        progress(&format!("writing the autoencoder of {}", m.name));
        let file = autoencoder_file(m);
        write_weights(&out.join(&file), &read_weights(&path)?, half)?;
        entries.insert(m.key.clone(), AutoencoderEntry { sizes, weights: weight_file(out, file)? });
    }
    progress("writing the denoiser");
    write_weights(&out.join(DENOISER_FILE), &read_weights(denoiser)?, half)?;
    let manifest = Manifest {
        name: "COP-GEN".into(),
        description: format!(
            "The published COP-GEN weights (arXiv 2603.03239), converted{}.",
            if half { " to half precision" } else { "" }
        ),
        licence: "CC BY 4.0".into(),
        attribution: "COP-GEN (Espinosa et al., arXiv 2603.03239), weights mespinosami/copgen-base and mespinosami/copgen-vaes, CC BY 4.0; converted to safetensors".into(),
        modalities: table,
        denoiser: sizes,
        denoiser_weights: weight_file(out, DENOISER_FILE)?,
        autoencoders: entries,
        field: None,
    };
    write_manifest(out, &manifest)?;
    Ok(manifest)
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
    let width = *shape(path, tensors, "pos_embed")?.last().unwrap_or(&0);
    let hidden = shape(path, tensors, "mid_block.mlp.fc1.weight")?.first().copied().unwrap_or(0);
    let heads = heads.or(match width {
        1024 => Some(16),
        1152 => Some(16),
        1536 => Some(24),
        _ => None,
    });
    let heads = heads.ok_or_else(|| {
        Error::file(path, format!("A denoiser of width {width} is none of the published sizes; say its number of attention heads with --heads"))
    })?;
    let depth = 2 * count(tensors, |j| format!("in_blocks.{j}.norm2.weight"));
    Ok(DenoiserSizes { width, depth, heads, mlp_ratio: hidden / width.max(1), local: None })
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
