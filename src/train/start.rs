//! What the training of a denoiser starts from.

use super::autoencoder::trained_autoencoder;
use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::files::write_aside;
use crate::modality::{Modality, ModalityTable};
use crate::model::{
    Autoencoder, AutoencoderEntry, DenoiserSizes, LoadedWeights, Manifest, TensorData, WeightFile, autoencoder_file,
    weight_file,
};
use candle_core::Device;
use std::collections::BTreeMap;
use std::path::Path;

/// A beginning: everything of a model but the trained denoiser.
pub(super) struct Start {
    /// Modalities, with the scale factors of the autoencoders.
    pub table: ModalityTable,
    /// Denoiser sizes.
    pub sizes: DenoiserSizes,
    /// Manifest entries of the autoencoders, whose files lie in the output folder.
    pub autoencoders: BTreeMap<String, AutoencoderEntry>,
    /// The same, loaded: one per image modality, in table order.
    pub loaded: Vec<Option<Autoencoder>>,
    /// Weights of the denoiser to begin with; none for a fresh one.
    pub weights: BTreeMap<String, TensorData>,
    /// The model it starts from.
    pub base: Option<Base>,
}

/// A model that is trained further.
pub(super) struct Base {
    /// Hash of its denoiser.
    pub sha256: String,
    /// Whose it is, for the model that comes of it.
    pub credit: String,
}

impl Start {
    /// A denoiser yet to be trained, on autoencoders that were trained into `out`.
    ///
    /// # Errors
    /// When one of them is missing there.
    pub(super) fn fresh(recipe: &Recipe, table: &ModalityTable, out: &Path, device: &Device) -> Result<Self> {
        let missing = || Error::request("The recipe has no [denoiser.sizes].");
        let sizes = recipe.denoiser.sizes.clone().ok_or_else(missing)?;
        let settings = recipe.autoencoder.as_ref().ok_or_else(|| {
            Error::request("The recipe has no [autoencoder]: say with --from which model to start from.")
        })?;
        let (mut table, mut loaded, mut entries): (Vec<Modality>, _, _) =
            (table.clone().into(), Vec::new(), BTreeMap::new());
        for m in &mut table {
            if m.is_scalar() {
                loaded.push(None);
                continue;
            }
            let (autoencoder, report) = trained_autoencoder(settings, m, out, device)?;
            m.scale_factor = report.scale_factor;
            let weights = weight_file(out, autoencoder_file(m))?;
            entries.insert(m.key.clone(), AutoencoderEntry { sizes: settings.sizes.clone(), weights });
            loaded.push(Some(autoencoder));
        }
        let table = ModalityTable::new(table)?;
        Ok(Self { table, sizes, autoencoders: entries, loaded, weights: BTreeMap::new(), base: None })
    }

    /// The denoiser of a finished model. What it works on is copied to `out`.
    ///
    /// # Errors
    /// When the model is damaged or files cannot be copied.
    pub(super) fn from_model(dir: &Path, out: &Path, device: &Device) -> Result<Self> {
        let manifest = Manifest::open(dir)?;
        let table = manifest.modalities.clone();
        manifest.check_present(&(0..table.len()).collect::<Vec<_>>())?;
        let open = |file: &WeightFile| LoadedWeights::open(&dir.join(&file.file), Some(&file.sha256), device);
        let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if same(dir, out) {
            return Err(Error::file(out, "A model cannot be trained into its own folder; choose another one"));
        }
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, "create", &e))?;
        for file in manifest.autoencoders.values().map(|a| &a.weights) {
            let from = dir.join(&file.file);
            let to = out.join(&file.file);
            let mut source = crate::files::open(&from).map_err(|e| Error::io(&from, "read", &e))?;
            write_aside(&to, |copy| std::io::copy(&mut source, copy).map_err(|e| Error::io(&to, "write", &e)))?;
        }
        let load = |m: &Modality| -> Result<Option<Autoencoder>> {
            let Some(entry) = manifest.autoencoders.get(&m.key) else { return Ok(None) };
            let (sizes, channels) = (&entry.sizes, m.network_channels());
            Autoencoder::new(sizes, channels, m.latent[0], &mut open(&entry.weights)?, device).map(Some)
        };
        let loaded = table.iter().map(load).collect::<Result<_>>()?;
        let weights = open(&manifest.denoiser_weights)?.into_tensors();
        let base = Some(Base {
            sha256: manifest.denoiser_weights.sha256.clone(),
            credit: format!("{}: {} ({})", manifest.name, manifest.attribution, manifest.licence),
        });
        let Manifest { denoiser: sizes, autoencoders, .. } = manifest;
        let sizes = sizes.ok_or_else(|| {
            Error::file(dir, "This model is a cascade; go on with copgen train coarse and refiner, and --from")
        })?;
        Ok(Self { table, sizes, autoencoders, loaded, weights, base })
    }
}
