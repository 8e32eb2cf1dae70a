//! A model folder in use: manifest, denoiser, and autoencoders loaded when first needed.

use super::autoencoder::{Codec, Moments};
use super::cascade::{Cascade, Cells, Coarse, Drawing, Exemplars, FirstGuess, Mixture};
use super::denoiser::NoisePredictor;
use super::engine::Engine;
use super::known::Known;
use super::manifest::{MANIFEST_FILE, Manifest, WeightFile};
use super::weights::{LoadedWeights, sha256_of};
use super::{Computing, DeviceChoice, Precision};
use crate::error::{Error, Result};
use crate::modality::{Mask, PostOptions, Raster, Value, filled_however, from_network, to_network};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A file, and the numbers of channels of its images and latents.
type Shared = (PathBuf, usize, usize);

/// A loaded model.
pub struct Model {
    /// Its folder.
    pub dir: PathBuf,
    /// What the manifest says.
    pub manifest: Manifest,
    /// SHA-256 of the manifest, which holds those of all files: identifies the model.
    pub sha256: String,
    denoiser: Box<dyn NoisePredictor>,
    cascade: Option<Cascade>,
    /// By file and numbers of channels: modalities that share a file share its network.
    autoencoders: Mutex<BTreeMap<Shared, Arc<dyn Codec>>>,
    engine: Engine,
}

impl Model {
    /// Opens a model folder: reads the manifest, checks and loads the denoiser. A cascade computes in float32 on the CPU;
    /// where the engine is a graphics adapter, its refiner draws there.
    ///
    /// # Errors
    /// When a file is missing, damaged (its hash differs), or does not fit the manifest; [`Error::Device`] when the engine
    /// cannot hold it.
    pub fn open(dir: &Path, engine: &Engine) -> Result<Self> {
        Self::load(dir, Manifest::open(dir)?, engine)
    }

    /// As [`open`](Self::open), with the manifest read.
    fn load(dir: &Path, manifest: Manifest, engine: &Engine) -> Result<Self> {
        let follows = match engine {
            Engine::Shaders(_) => true,
            Engine::Candle(..) => manifest.has_autoencoders(),
        };
        let engine = if follows { engine.clone() } else { Engine::cpu() };
        let device = engine.tensors();
        let open = |file: &WeightFile| LoadedWeights::open(&dir.join(&file.file), Some(&file.sha256), device);
        let table = &manifest.modalities;
        let mut weights = open(&manifest.denoiser_weights)?;
        let mut cascade = None;
        let denoiser: Box<dyn NoisePredictor> = match (&manifest.denoiser, &manifest.cascade) {
            (Some(sizes), _) => engine.denoiser(table, sizes, &mut weights)?,
            (None, Some(entry)) => {
                let mut refiner = open(&entry.refiner_weights)?;
                let network = engine.refiner(table, &entry.refiner, &mut refiner)?;
                refiner.finish()?;
                let mut drawing = Cascade::new(table, entry, network)?;
                let path = dir.join(&entry.statistics.file);
                let cells = Cells::new(table)?;
                let statistics = Mixture::open(&path, Some(&entry.statistics.sha256), cells.side, cells.channels)?;
                let mut coarse = Coarse::new(table, &entry.coarse, statistics, &mut weights, device)?;
                if let Some(file) = &entry.exemplars {
                    let path = dir.join(&file.file);
                    let mut exemplars = Exemplars::open(&path, Some(&file.sha256), table, drawing.standards())?;
                    if let Some(WeightFile { file, sha256 }) = &entry.first_guess {
                        let first_guess = FirstGuess::open(&dir.join(file), Some(sha256), table)?;
                        exemplars = exemplars.with_first_guess(first_guess);
                    }
                    let exemplars = Arc::new(exemplars);
                    coarse = coarse.with_exemplars(exemplars.clone());
                    drawing = drawing.with_exemplars(exemplars);
                }
                cascade = Some(drawing);
                Box::new(coarse)
            }
            (None, None) => return Err(Error::file(dir, "The manifest has no sizes of a denoiser")),
        };
        weights.finish()?;
        Ok(Self {
            dir: dir.to_path_buf(),
            sha256: sha256_of(&dir.join(MANIFEST_FILE))?,
            manifest,
            denoiser,
            cascade,
            autoencoders: Mutex::default(),
            engine,
        })
    }

    /// Opens a model folder on the device asked for ([`Engine::of`]). `note` gets what people should know: that
    /// `auto` had to fall back to the CPU, or that another device was asked for than makes sense.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`Engine::of`]; with `auto`, no device's failure is one.
    pub fn open_on(dir: &Path, computing: &Computing, note: &mut dyn FnMut(String)) -> Result<Self> {
        let manifest = Manifest::open(dir)?;
        let engine = if manifest.has_autoencoders() { Engine::of(*computing)? } else { of_cascade(*computing, note)? };
        match Self::load(dir, manifest.clone(), &engine) {
            Err(Error::Device(problem)) if computing.device == DeviceChoice::Auto => {
                note(format!("{problem} The model is computed on the CPU."));
                Self::load(dir, manifest, &Engine::cpu())
            }
            opened => opened,
        }
    }

    /// The denoiser.
    pub fn denoiser(&self) -> &dyn NoisePredictor {
        self.denoiser.as_ref()
    }

    /// What the model's networks compute on. In a cascade this is what its refiner draws on; the rest of it is computed on
    /// the CPU ([`sampling_engine`](Self::sampling_engine)).
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the denoiser computes on: in a cascade always the CPU.
    pub fn sampling_engine(&self) -> Engine {
        if self.cascade.is_some() { Engine::cpu() } else { self.engine.clone() }
    }

    /// What the last bits of realisations depend on: [`Engine::describe`], and where pixels are drawn on another engine,
    /// that as well.
    pub fn describe_computing(&self) -> String {
        let sampled = self.sampling_engine();
        if self.engine.is_cpu() || !sampled.is_cpu() {
            return self.engine.describe();
        }
        format!("{}, drawn in {}", sampled.describe(), self.engine.describe())
    }

    /// Where its latents are.
    pub fn device(&self) -> &Device {
        self.engine.tensors()
    }

    /// The autoencoder of an image modality, loaded at first use.
    ///
    /// # Errors
    /// When its file is missing, damaged or misshapen, or the modality is a scalar.
    pub fn autoencoder(&self, index: usize) -> Result<Arc<dyn Codec>> {
        let m = &self.manifest.modalities[index];
        self.manifest.check_present(&[index])?;
        let entry = self
            .manifest
            .autoencoders
            .get(&m.key)
            .ok_or_else(|| Error::request(format!("{} has no autoencoder.", m.name)))?;
        let name = (entry.weights.file.clone(), m.network_channels(), m.latent[0]);
        let mut loaded = self.autoencoders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(autoencoder) = loaded.get(&name) {
            return Ok(autoencoder.clone());
        }
        let path = self.dir.join(&entry.weights.file);
        let mut weights = LoadedWeights::open(&path, Some(&entry.weights.sha256), self.device())?;
        let autoencoder = self.engine.autoencoder(&entry.sizes, m.network_channels(), m.latent[0], &mut weights)?;
        weights.finish()?;
        loaded.insert(name, autoencoder.clone());
        Ok(autoencoder)
    }

    /// Whether an image has the size of a window.
    fn check_size(&self, index: usize, value: &Value) -> Result<()> {
        let m = &self.manifest.modalities[index];
        let fits = |raster: &Raster| raster.height == m.pixels && raster.width == m.pixels;
        if !m.is_scalar() && !value.image().is_some_and(fits) {
            return Err(Error::request(format!(
                "The value given for {} is not {} × {} pixels.",
                m.name, m.pixels, m.pixels
            )));
        }
        Ok(())
    }

    /// Posterior of a physical value's latent, not scaled; `None` where the latent follows from the value alone: for
    /// scalars, and for everything in a cascade.
    ///
    /// # Errors
    /// When the value has the wrong kind or size, or the device fails.
    pub fn posterior(&self, index: usize, value: &Value) -> Result<Option<Moments>> {
        let m = &self.manifest.modalities[index];
        self.check_size(index, value)?;
        if m.is_scalar() || !self.has_autoencoders() {
            return Ok(None);
        }
        let shape = (1, m.network_channels(), m.pixels, m.pixels);
        let image = Tensor::from_vec(to_network(m, value)?, shape, self.device())?;
        Moments::split(&self.autoencoder(index)?.moments(&image)?).map(Some)
    }

    /// Scaled latent `(1, C, h, w)` of a physical value: the posterior's mean, or a draw with the given noise.
    ///
    /// # Errors
    /// As [`posterior`](Self::posterior).
    pub fn encode(&self, index: usize, value: &Value, noise: Option<&Tensor>) -> Result<Tensor> {
        let m = &self.manifest.modalities[index];
        let latent = match self.posterior(index, value)? {
            None => {
                let mut values = to_network(m, value)?;
                if let Some(cascade) = self.cascade.as_ref().filter(|_| !m.is_scalar()) {
                    values = cascade.encode(index, values)?;
                }
                let [c, h, w] = m.latent;
                Tensor::from_vec(values, (1, c, h, w), self.device())?
            }
            Some(moments) => {
                (match noise {
                    Some(noise) => moments.draw(noise)?,
                    None => moments.mean,
                } * m.scale_factor)?
            }
        };
        Ok(latent)
    }

    /// What is known of an image where its raster is valid, to hold a latent to. A latent cell counts as known if all its
    /// pixels are, and those of the cells around it: an autoencoder's latents depend on their surroundings, which are
    /// filled in smoothly before encoding. `None` if no cell is known.
    ///
    /// # Errors
    /// As [`posterior`](Self::posterior).
    pub fn known(&self, index: usize, raster: &Raster) -> Result<Option<Known>> {
        let m = &self.manifest.modalities[index];
        let all = Mask::full(raster.height, raster.width);
        let valid = raster.valid().unwrap_or(&all);
        if valid.count() == 0 || m.is_scalar() {
            return Ok(None);
        }
        let filled = Value::Image(filled_however(m, raster)?.into_owned());
        let [_, rows, columns] = m.latent;
        let cells = valid.resized(rows, columns);
        let cells = if self.has_autoencoders() { cells.eroded(2f64.sqrt()) } else { cells };
        if cells.count() == 0 {
            return Ok(None);
        }
        Known::cells(&self.encode(index, &filled, None)?, &cells).map(Some)
    }

    /// Whether latents of images are those of an autoencoder, so that what is known leaks into its surroundings.
    pub fn has_autoencoders(&self) -> bool {
        self.manifest.has_autoencoders()
    }

    /// Physical value of one scaled latent `(1, C, h, w)`; of a cascade, what cells alone tell
    /// ([`draw`](Self::draw) tells more). Post-processing is float32 (specification E.5).
    ///
    /// # Errors
    /// When the device fails or the numbers are not finite.
    pub fn decode(&self, index: usize, latent: &Tensor, post: &PostOptions) -> Result<Value> {
        let m = &self.manifest.modalities[index];
        let network = if m.is_scalar() || !self.has_autoencoders() {
            latent.clone()
        } else {
            self.autoencoder(index)?.decode(&(latent / m.scale_factor)?)?
        };
        let mut data: Vec<f32> = network.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        if let Some(cascade) = self.cascade.as_ref().filter(|_| !m.is_scalar()) {
            data = cascade.smooth(index, &data)?;
        }
        self.physical(index, &data, post)
    }

    /// Shape `(channels, rows, columns)` of the noise that [`draw`](Self::draw) takes; none where latents are all there is.
    pub fn drawing_noise(&self) -> Option<[usize; 3]> {
        self.cascade.as_ref().map(Cascade::noise_shape)
    }

    /// Physical values of one realisation: `latents` are the scaled latents `(1, C, h, w)` of what was sampled and is
    /// wanted, `known` what is given and what is known of the others, both by table index. `pause` is called before each
    /// piece of work; an error from it ends the drawing.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); those of `pause`.
    pub fn draw(
        &self,
        latents: &[Option<Tensor>],
        known: &[Option<&Value>],
        noise: &[f32],
        post: &PostOptions,
        pause: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<Option<Value>>> {
        let table = &self.manifest.modalities;
        let Some(cascade) = &self.cascade else {
            let each = |(i, latent): (usize, &Option<Tensor>)| {
                pause()?;
                latent.as_ref().map(|latent| self.decode(i, latent, post)).transpose()
            };
            return latents.iter().enumerate().map(each).collect();
        };
        let flat = |latent: &Tensor| -> Result<Vec<f32>> { Ok(latent.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?) };
        let latents: Vec<Option<Vec<f32>>> =
            latents.iter().map(|latent| latent.as_ref().map(flat).transpose()).collect::<Result<_>>()?;
        pause()?;
        let drawn = cascade.draw(&Drawing { latents: &latents, known, noise })?;
        let value = |i: usize| -> Result<Option<Value>> {
            match (&latents[i], &drawn[i]) {
                (Some(latent), None) if table[i].is_scalar() => self.physical(i, latent, post).map(Some),
                (_, Some(pixels)) => self.physical(i, pixels, post).map(Some),
                _ => Ok(None),
            }
        };
        (0..table.len()).map(value).collect()
    }

    /// A physical value from network values.
    fn physical(&self, index: usize, data: &[f32], post: &PostOptions) -> Result<Value> {
        let m = &self.manifest.modalities[index];
        if data.iter().any(|v| !v.is_finite()) {
            return Err(Error::Compute(format!("Decoding {} gave numbers that are not finite.", m.name)));
        }
        from_network(m, data, post)
    }
}

/// What a cascade computes on where this is asked for. Its refiner follows to a graphics adapter, in float32 or in half
/// precision; everything else is float32 on the CPU. `note` gets what is done otherwise than asked for.
fn of_cascade(asked: Computing, note: &mut dyn FnMut(String)) -> Result<Engine> {
    let Computing { device, precision } = asked;
    let to_adapter = [DeviceChoice::Auto, DeviceChoice::Gpu].contains(&device);
    if !to_adapter && ![DeviceChoice::Auto, DeviceChoice::Cpu].contains(&device) {
        note(format!("This model's kind computes on the CPU, also where {device} is asked for."));
    }
    let precision = if to_adapter && precision == Precision::F16 { precision } else { Precision::F32 };
    let engine = match to_adapter.then(|| Engine::of(Computing { device, precision })) {
        Some(Ok(engine @ Engine::Shaders(_))) => engine,
        Some(Err(error)) if device == DeviceChoice::Gpu => return Err(error),
        _ => Engine::cpu(),
    };
    if engine.precision() != asked.precision {
        note("This model's kind computes in float32.".into());
    }
    Ok(engine)
}
