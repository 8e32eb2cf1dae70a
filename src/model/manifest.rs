//! `manifest.json` of a model folder: sizes, modality table, files with their hashes, licence.

use super::cascade::CascadeEntry;
use super::precision::Precision;
use crate::error::{Error, Result};
use crate::modality::ModalityTable;
use crate::text::{printable, printable_lines};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Name of the manifest inside a model folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Sizes of the denoiser (specification D.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenoiserSizes {
    /// Features per token, D.
    pub width: usize,
    /// In-blocks plus out-blocks; one mid block comes on top.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden features of the MLP divided by the width.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: usize,
}

fn default_mlp_ratio() -> usize {
    4
}

fn default_groups() -> usize {
    32
}

/// Sizes of one autoencoder (specification C.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderSizes {
    /// Channels at full resolution.
    pub base_width: usize,
    /// Channel multiplier per level, full resolution first; one halving between levels.
    pub multipliers: Vec<usize>,
    /// Residual blocks per encoder level; the decoder has one more.
    pub residual_blocks: usize,
    /// Groups of every group norm; 32 in the published model.
    #[serde(default = "default_groups")]
    pub norm_groups: usize,
    /// A linear path beside the network: one strided convolution into the latent mean and its transpose back.
    /// Not in the published model; it lets a small autoencoder start from patch PCA.
    #[serde(default)]
    pub linear_path: bool,
}

impl AutoencoderSizes {
    /// Those of the published autoencoders.
    pub fn published() -> Self {
        Self {
            base_width: 128,
            multipliers: vec![1, 2, 4, 4],
            residual_blocks: 2,
            norm_groups: default_groups(),
            linear_path: false,
        }
    }
}

/// One file of the model folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightFile {
    /// Path relative to the manifest.
    pub file: PathBuf,
    /// Lower-case hexadecimal SHA-256 of the file.
    pub sha256: String,
}

/// The autoencoder of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderEntry {
    /// Sizes.
    pub sizes: AutoencoderSizes,
    /// Weights.
    pub weights: WeightFile,
}

/// A published file that weights of this folder were converted from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Repository on the hub.
    pub repository: String,
    /// File in it.
    pub file: String,
    /// Lower-case hexadecimal SHA-256 of that file, checked before the conversion.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Where a model of the catalogue came from, and what of it is not here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its name in the catalogue, by which the rest can be fetched.
    pub id: String,
    /// Whether weights were converted to half precision.
    #[serde(default)]
    pub half: bool,
    /// Keys of image modalities whose autoencoder is not here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub absent: BTreeSet<String>,
    /// By file of this folder: what it was converted from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub published: BTreeMap<PathBuf, Published>,
}

/// Everything the program needs to know about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name shown to people and written into files.
    pub name: String,
    /// One or two sentences: what it is and is not. Shown wherever the model is chosen.
    pub description: String,
    /// Licence of the weights.
    pub licence: String,
    /// Attribution that has to accompany the weights and what is made with them.
    pub attribution: String,
    /// The modality table, in network order.
    pub modalities: ModalityTable,
    /// Sizes of the denoiser; a cascade has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denoiser: Option<DenoiserSizes>,
    /// Weights of the denoiser, or of the coarse network of a cascade.
    pub denoiser_weights: WeightFile,
    /// Autoencoders by modality key; a cascade has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub autoencoders: BTreeMap<String, AutoencoderEntry>,
    /// The rest of a cascade ([`crate::model::cascade`]); the published model is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<CascadeEntry>,
    /// Where it came from, if from the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Manifest {
    /// Every weight file once, with its hash: several modalities may share an autoencoder.
    pub fn files(&self) -> BTreeMap<&Path, &str> {
        let of_cascade = self.cascade.iter().flat_map(|cascade| {
            let always = [&cascade.refiner_weights, &cascade.statistics].into_iter();
            always.chain(&cascade.exemplars).chain(&cascade.first_guess)
        });
        let own = std::iter::once(&self.denoiser_weights).chain(of_cascade);
        let all = own.chain(self.autoencoders.values().map(|entry| &entry.weights));
        all.map(|file| (file.file.as_path(), file.sha256.as_str())).collect()
    }

    /// Whether latents of images are those of autoencoders.
    pub fn has_autoencoders(&self) -> bool {
        self.cascade.is_none()
    }

    /// Whether there is a device that its weights are held on in this precision. A cascade is float32, but for its refiner,
    /// which a graphics adapter holds in half precision, too.
    pub fn holds_as(&self, precision: Precision) -> bool {
        match precision {
            Precision::F32 | Precision::F16 => true,
            Precision::Bf16 | Precision::I16 | Precision::I8 => self.has_autoencoders(),
        }
    }

    /// Whether this modality's autoencoder is part of the model, but not here.
    pub fn is_absent(&self, modality: usize) -> bool {
        let key = self.modalities.get(modality).map(|m| &m.key);
        key.is_some_and(|key| self.origin.as_ref().is_some_and(|origin| origin.absent.contains(key)))
    }

    /// Makes sure that these modalities can be encoded and decoded.
    ///
    /// # Errors
    /// Which autoencoders are not here, and how to fetch them.
    pub fn check_present(&self, modalities: &[usize]) -> Result<()> {
        let names = modalities.iter().filter(|&&i| self.is_absent(i)).map(|&i| self.modalities[i].name.as_str());
        let names: Vec<&str> = names.collect();
        match &self.origin {
            Some(origin) if !names.is_empty() => Err(Error::request(format!(
                "The autoencoder of {} is not installed, so it can be neither given nor generated. Fetch it under \"Models\" in the window, or with: copgen models download {} --modalities {}",
                names.join(" and "),
                origin.id,
                names.join(",")
            ))),
            _ => Ok(()),
        }
    }

    /// Reads and checks `DIR/manifest.json`.
    ///
    /// # Errors
    /// When it is missing, no valid manifest, or inconsistent (a modality without autoencoder, sizes that do not fit).
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST_FILE);
        let text = crate::files::read_text(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(
                dir,
                format!("This is not a model folder: it has no {MANIFEST_FILE}; make one with copgen models import"),
            ),
            _ => Error::io(&path, "read", &e),
        })?;
        let mut manifest: Self = serde_json::from_str(&text).map_err(|e| Error::file(&path, no_manifest(&text, &e)))?;
        // Others' models are listed on terminals too, which must not obey what they are called.
        for text in [&mut manifest.name, &mut manifest.licence, &mut manifest.attribution] {
            *text = printable(text).into_owned();
        }
        manifest.description = printable_lines(&manifest.description).into_owned();
        manifest.check().map_err(|e| Error::file(&path, e.to_string()))?;
        Ok(manifest)
    }

    /// # Errors
    /// When it is inconsistent, as a sentence.
    pub fn check(&self) -> Result<()> {
        match (&self.denoiser, &self.cascade) {
            (Some(sizes), None) => sizes.check()?,
            (None, Some(cascade)) => cascade.check(&self.modalities)?,
            _ => return Err(Error::request("A manifest has the sizes of either a denoiser or a cascade.")),
        }
        if !self.has_autoencoders() && !self.autoencoders.is_empty() {
            return Err(Error::request("A model of this kind has no autoencoders, but the manifest names some."));
        }
        let absent = self.origin.as_ref().map(|origin| &origin.absent);
        let here = |m: &&crate::modality::Modality| absent.is_none_or(|absent| !absent.contains(&m.key));
        for m in self.modalities.iter().filter(|m| !m.is_scalar() && self.has_autoencoders()).filter(here) {
            let entry = self
                .autoencoders
                .get(&m.key)
                .ok_or_else(|| Error::request(format!("The manifest names no autoencoder for {}.", m.key)))?;
            entry.sizes.check()?;
            let factor = 1 << (entry.sizes.multipliers.len() - 1);
            if m.latent[1] * factor != m.pixels {
                return Err(Error::request(format!(
                    "The autoencoder of {} divides the window by {factor}, but the table says {} pixels and a latent of {}.",
                    m.key, m.pixels, m.latent[1]
                )));
            }
        }
        for file in self.files().into_keys() {
            if file.is_absolute() || file.components().any(|c| c == std::path::Component::ParentDir) {
                return Err(Error::request(format!("The manifest points outside its folder: {}.", file.display())));
            }
        }
        Ok(())
    }
}

/// Why a text is no manifest, as a sentence without its end.
fn no_manifest(text: &str, error: &serde_json::Error) -> String {
    let value = serde_json::from_str::<serde_json::Value>(text);
    if value.is_ok_and(|value| value.get("field").is_some()) {
        return "This model is a Gaussian field, a kind that only version 0.1.0 computes; use another model".into();
    }
    format!("This is not a model manifest: {error}")
}

impl DenoiserSizes {
    /// # Errors
    /// When the sizes do not fit together.
    pub fn check(&self) -> Result<()> {
        let Self { width, depth, heads, mlp_ratio } = *self;
        let problem = match () {
            () if width == 0 || !width.is_multiple_of(2) => {
                format!("the width must be even and more than 0, not {width}")
            }
            () if width > 65_536 => format!("a width of {width} is more than the 65536 that are accepted"),
            () if heads == 0 => "there must be at least one attention head".into(),
            () if !width.is_multiple_of(heads) => {
                format!("the width of {width} cannot be shared evenly by {heads} attention heads")
            }
            () if !depth.is_multiple_of(2) => format!("the depth must be even, not {depth}"),
            () if depth > 1024 => format!("a depth of {depth} is more than the 1024 that are accepted"),
            () if !(1..=64).contains(&mlp_ratio) => format!("the MLP ratio must be 1 to 64, not {mlp_ratio}"),
            () => return Ok(()),
        };
        Err(Error::request(format!("Denoiser sizes do not fit together: {problem}.")))
    }
}

impl AutoencoderSizes {
    /// # Errors
    /// When the sizes do not fit together.
    pub fn check(&self) -> Result<()> {
        let ok = self.base_width > 0
            && self.norm_groups > 0
            && !self.multipliers.is_empty()
            && self.multipliers.len() <= 8
            && self.residual_blocks <= 64
            && self.multipliers.iter().all(|&m| {
                let width = self.base_width.checked_mul(m);
                m > 0 && width.is_some_and(|width| width.is_multiple_of(self.norm_groups) && width <= 65_536)
            });
        if ok {
            return Ok(());
        }
        Err(Error::request(format!(
            "Autoencoder sizes do not fit together: every multiple of the base width {} must be divisible by {} norm groups and at most 65536.",
            self.base_width, self.norm_groups
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_do_not_fit_are_refused_for_the_reason_that_holds() {
        let fitting = DenoiserSizes { width: 32, depth: 2, heads: 2, mlp_ratio: 4 };
        fitting.check().expect("fitting");
        for (sizes, word) in [
            (DenoiserSizes { heads: 5, ..fitting.clone() }, "32 cannot be shared evenly by 5 attention heads"),
            (DenoiserSizes { heads: 0, ..fitting.clone() }, "at least one attention head"),
            (DenoiserSizes { width: 0, ..fitting.clone() }, "width must be even"),
            (DenoiserSizes { width: 33, heads: 3, ..fitting.clone() }, "width must be even"),
            (DenoiserSizes { width: usize::MAX - 1, ..fitting.clone() }, "65536"),
            (DenoiserSizes { depth: 3, ..fitting.clone() }, "depth must be even"),
            (DenoiserSizes { mlp_ratio: 65, ..fitting.clone() }, "MLP ratio"),
        ] {
            let problem = sizes.check().expect_err(word).to_string();
            assert!(problem.contains(word), "{problem}");
            // Heads are named only where they are what does not fit.
            assert_eq!(problem.contains("attention head"), word.contains("attention head"), "{problem}");
        }
        let wide = AutoencoderSizes { base_width: 1 << 60, multipliers: vec![1, 16], ..AutoencoderSizes::published() };
        assert!(wide.check().is_err());
    }
}
