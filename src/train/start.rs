//! What the training of a denoiser starts from.

use super::autoencoder::trained_autoencoder;
use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::files::write_aside;
use crate::modality::{Modality, ModalityTable};
use crate::model::field::Statistics;
use crate::model::{
    Autoencoder, AutoencoderEntry, DenoiserSizes, FIELD_FILE, LoadedWeights, Manifest, TensorData, WeightFile,
    autoencoder_file, weight_file,
};
use candle_core::Device;
use std::collections::BTreeMap;
use std::path::Path;

/// How latents come about.
pub(super) enum Latents {
    /// By one autoencoder per image modality, in table order.
    Autoencoders(Vec<Option<Autoencoder>>),
    /// They are the images themselves, whitened.
    Field(Statistics),
}

/// A beginning: everything of a model but the trained denoiser.
pub(super) struct Start {
    /// Modalities, with the scale factors of the autoencoders.
    pub table: ModalityTable,
    /// Denoiser sizes.
    pub sizes: DenoiserSizes,
    /// Manifest entries of the autoencoders, whose files lie in the output folder.
    pub autoencoders: BTreeMap<String, AutoencoderEntry>,
    /// Manifest entry of the field.
    pub field: Option<WeightFile>,
    /// The same, loaded.
    pub latents: Latents,
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
    /// A denoiser yet to be trained, on autoencoders or a field that were trained into `out`.
    ///
    /// # Errors
    /// When one of them is missing there.
    pub(super) fn fresh(recipe: &Recipe, table: &ModalityTable, out: &Path, device: &Device) -> Result<Self> {
        let missing = || Error::request("The recipe has no [denoiser.sizes].");
        let sizes = recipe.denoiser.sizes.clone().ok_or_else(missing)?;
        let weights = BTreeMap::new();
        if recipe.field.is_some() {
            let path = out.join(FIELD_FILE);
            if !path.exists() {
                return Err(Error::file(&path, "The field is not fitted yet; run copgen train field first"));
            }
            let latents = Latents::Field(Statistics::open(table, &path, None)?);
            let field = Some(weight_file(out, FIELD_FILE)?);
            return Ok(Self {
                table: table.clone(),
                sizes,
                autoencoders: BTreeMap::new(),
                field,
                latents,
                weights,
                base: None,
            });
        }
        let settings = recipe.autoencoder.as_ref().ok_or_else(|| {
            Error::request(
                "The recipe has neither [autoencoder] nor [field]: say with --from which model to start from.",
            )
        })?;
        let (mut table, mut latents, mut entries): (Vec<Modality>, _, _) =
            (table.clone().into(), Vec::new(), BTreeMap::new());
        for m in &mut table {
            if m.is_scalar() {
                latents.push(None);
                continue;
            }
            let (autoencoder, report) = trained_autoencoder(settings, m, out, device)?;
            m.scale_factor = report.scale_factor;
            let weights = weight_file(out, autoencoder_file(m))?;
            entries.insert(m.key.clone(), AutoencoderEntry { sizes: settings.sizes.clone(), weights });
            latents.push(Some(autoencoder));
        }
        let (table, latents) = (ModalityTable::new(table)?, Latents::Autoencoders(latents));
        Ok(Self { table, sizes, autoencoders: entries, field: None, latents, weights, base: None })
    }

    /// The denoiser of a finished model. What it works on is copied to `out`. If the recipe has a local network and the
    /// model none, it gets a fresh one.
    ///
    /// # Errors
    /// When the model is damaged or files cannot be copied.
    pub(super) fn from_model(recipe: &Recipe, dir: &Path, out: &Path, device: &Device) -> Result<Self> {
        let manifest = Manifest::open(dir)?;
        let table = manifest.modalities.clone();
        manifest.check_present(&(0..table.len()).collect::<Vec<_>>())?;
        let open = |file: &WeightFile| LoadedWeights::open(&dir.join(&file.file), Some(&file.sha256), device);
        let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if same(dir, out) {
            return Err(Error::file(out, "A model cannot be trained into its own folder; choose another one"));
        }
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, "create", &e))?;
        for file in manifest.autoencoders.values().map(|a| &a.weights).chain(&manifest.field) {
            let from = dir.join(&file.file);
            let to = out.join(&file.file);
            let mut source = crate::files::open(&from).map_err(|e| Error::io(&from, "read", &e))?;
            write_aside(&to, |copy| std::io::copy(&mut source, copy).map_err(|e| Error::io(&to, "write", &e)))?;
        }
        let latents = match &manifest.field {
            Some(file) => Latents::Field(Statistics::open(&table, &dir.join(&file.file), Some(&file.sha256))?),
            None => {
                let load = |m: &Modality| -> Result<Option<Autoencoder>> {
                    let Some(entry) = manifest.autoencoders.get(&m.key) else { return Ok(None) };
                    let (sizes, channels) = (&entry.sizes, m.network_channels());
                    Autoencoder::new(sizes, channels, m.latent[0], &mut open(&entry.weights)?, device).map(Some)
                };
                Latents::Autoencoders(table.iter().map(load).collect::<Result<_>>()?)
            }
        };
        let weights = open(&manifest.denoiser_weights)?.into_tensors();
        let base = Some(Base {
            sha256: manifest.denoiser_weights.sha256.clone(),
            credit: format!("{}: {} ({})", manifest.name, manifest.attribution, manifest.licence),
        });
        let Manifest { denoiser: sizes, autoencoders, field, .. } = manifest;
        let mut sizes = sizes.ok_or_else(|| {
            Error::file(dir, "This model is a cascade; go on with copgen train coarse and refiner, and --from")
        })?;
        if field.is_some() && sizes.local.is_none() {
            sizes.local = recipe.denoiser.sizes.as_ref().and_then(|sizes| sizes.local.clone());
        }
        Ok(Self { table, sizes, autoencoders, field, latents, weights, base })
    }
}
