//! Weight files: reading with a check of the hash, and strict loading into networks.

use super::parameters::{Init, Parameters};
use super::tensor_data::TensorData;
use super::{pth, safetensors_file};
use crate::error::{Error, Result};
use crate::files::{self, hex};
use candle_core::{Device, Tensor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "safetensors")
}

/// Reads every tensor of a `.safetensors` file or a PyTorch `.pth`/`.pt`/`.ckpt` file. Besides the tensors hardly any
/// memory is taken.
///
/// # Errors
/// When the file is missing, truncated, or no such file.
pub fn read_weights(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    let tensors = match () {
        () if is_index(path) => sharded(path)?,
        () if is_safetensors(path) => safetensors_file::read(path)?.tensors,
        () => pth::read(path)?,
    };
    Ok(unwrapped(tensors))
}

/// Whether a file tells which safetensors files beside it hold which tensors (`model.safetensors.index.json`).
fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".safetensors.index.json"))
}

/// All tensors of several files, of which each holds some, as their index says.
fn sharded(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    let wrong = |what: String| Error::file(path, format!("This index of weights in several files {what}"));
    let text = files::read_text(path).map_err(|e| Error::io(path, "read", &e))?;
    let index: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(format!("is no JSON: {e}")))?;
    let map = index["weight_map"].as_object().ok_or_else(|| wrong("has no weight_map".into()))?;
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, file) in map {
        // Beside it, and nowhere else.
        let file = file.as_str().filter(|file| Path::new(file).file_name().is_some_and(|own| own == *file));
        names.entry(file.ok_or_else(|| wrong(format!("names no file for {name}")))?).or_default().push(name);
    }
    let mut all = BTreeMap::new();
    for (file, names) in names {
        let file = path.with_file_name(file);
        let mut tensors = safetensors_file::read(&file)?.tensors;
        for name in names {
            let tensor =
                tensors.remove(name).ok_or_else(|| wrong(format!("names {}, which has no {name}", file.display())))?;
            all.insert(name.to_owned(), tensor);
        }
    }
    Ok(all)
}

/// Prefixes that PyTorch gives to the names of a network that was wrapped (data parallel, compiled).
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// The same without the prefixes that all names have.
fn unwrapped(mut tensors: BTreeMap<String, TensorData>) -> BTreeMap<String, TensorData> {
    while let Some(wrapper) =
        WRAPPERS.iter().find(|wrapper| !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(**wrapper)))
    {
        tensors = tensors.into_iter().map(|(name, data)| (name[wrapper.len()..].to_owned(), data)).collect();
    }
    tensors
}

/// As [`read_weights`], of a file that must have this SHA-256. A safetensors file is read once, hashed on the way.
///
/// # Errors
/// As there; and when the hash differs.
pub(super) fn read_weights_checked(path: &Path, sha256: &str) -> Result<BTreeMap<String, TensorData>> {
    let same = |found: &str| {
        if found.eq_ignore_ascii_case(sha256) {
            return Ok(());
        }
        let problem = format!(
            "The file is damaged or was changed: its sha256 is {found}, the manifest says {sha256}. Fetch or import the model again"
        );
        Err(Error::file(path, problem))
    };
    if !is_safetensors(path) {
        same(&sha256_of(path)?)?;
        return pth::read(path);
    }
    match safetensors_file::read(path) {
        Ok(read) => same(&read.sha256).map(|()| read.tensors),
        // What is damaged may not be readable: then the hash says more.
        Err(error) => Err(sha256_of(path).and_then(|found| same(&found)).err().unwrap_or(error)),
    }
}

/// Number of values in a weight file; of a safetensors file only the header is read.
///
/// # Errors
/// As [`read_weights`].
pub fn count_values(path: &Path) -> Result<usize> {
    if is_safetensors(path) {
        return safetensors_file::count(path);
    }
    Ok(pth::read(path)?.values().map(|t| t.shape.iter().product::<usize>()).sum())
}

/// Lower-case hexadecimal SHA-256 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = files::open(path).map_err(|e| Error::io(path, "open", &e))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, "read", &e))? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Strict loading: every expected tensor with the right shape, nothing left over.
pub struct LoadedWeights {
    path: PathBuf,
    tensors: BTreeMap<String, TensorData>,
    device: Device,
}

impl LoadedWeights {
    /// Reads a weight file; with `sha256`, checks that this is its hash.
    ///
    /// # Errors
    /// As [`read_weights`]; or when the hash differs.
    pub fn open(path: &Path, sha256: Option<&str>, device: &Device) -> Result<Self> {
        let tensors = match sha256 {
            Some(sha256) => read_weights_checked(path, sha256)?,
            None => read_weights(path)?,
        };
        Ok(Self { path: path.to_path_buf(), tensors, device: device.clone() })
    }

    /// All tensors that were not asked for yet.
    pub fn tensors(&self) -> &BTreeMap<String, TensorData> {
        &self.tensors
    }

    /// All of them.
    pub fn into_tensors(self) -> BTreeMap<String, TensorData> {
        self.tensors
    }

    /// Ends loading.
    ///
    /// # Errors
    /// When a tensor was not asked for; the message names the first.
    pub fn finish(self) -> Result<()> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::file(
                &self.path,
                format!(
                    "Surplus tensor {name} ({} in all): these weights belong to another architecture than the manifest describes",
                    self.tensors.len()
                ),
            )),
        }
    }
}

impl Parameters for LoadedWeights {
    fn get(&mut self, name: &str, shape: &[usize], _init: Init) -> Result<Tensor> {
        let data = self
            .tensors
            .remove(name)
            .ok_or_else(|| Error::file(&self.path, format!("Missing tensor {name}, expected with shape {shape:?}")))?;
        if data.shape != shape {
            return Err(Error::file(
                &self.path,
                format!("Misshapen tensor {name}: found {:?}, expected {shape:?}", data.shape),
            ));
        }
        data.to_tensor(&self.device)
    }
}
