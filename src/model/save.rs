//! Writing model folders: weights, and the manifest at last.

use super::manifest::{MANIFEST_FILE, Manifest, WeightFile};
use super::safetensors_file;
use super::tensor_data::TensorData;
use super::weights::sha256_of;
use crate::error::{Error, Result};
use crate::files::{write_aside, write_atomically};
use crate::modality::Modality;
use candle_core::{DType, Device};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The denoiser's file in a model folder.
pub const DENOISER_FILE: &str = "denoiser.safetensors";

/// The file of a modality's autoencoder in a model folder.
pub fn autoencoder_file(m: &Modality) -> String {
    format!("autoencoder_{}.safetensors", m.name)
}

/// Writes tensors as safetensors, in half precision if asked; under a temporary name first, so that a full disk
/// or a crash never leaves half a file under the final one. The file's SHA-256.
///
/// # Errors
/// When the file cannot be written or a value does not fit half precision.
pub fn write_weights(path: &Path, tensors: &BTreeMap<String, TensorData>, half: bool) -> Result<String> {
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
            let half = TensorData { dtype: DType::F16, shape: data.shape.clone(), bytes };
            converted.insert(name.as_str(), Cow::Owned(half));
        } else {
            // Weights are gigabytes: held once.
            converted.insert(name.as_str(), Cow::Borrowed(data));
        }
    }
    write(path, converted.iter().map(|(name, data)| (*name, data.as_ref())), None)
}

/// Writes tensors as they are, with notes for whoever reads the file; at once or not at all. The file's SHA-256.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, TensorData>,
    notes: Option<HashMap<String, String>>,
) -> Result<String> {
    write(path, tensors.iter().map(|(name, data)| (name.as_str(), data)), notes)
}

fn write<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a TensorData)>,
    notes: Option<HashMap<String, String>>,
) -> Result<String> {
    write_aside(path, |file| safetensors_file::write(path, file, tensors, notes))
}

/// A file of a model folder with its hash, as a manifest entry.
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
