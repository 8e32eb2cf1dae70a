//! What a network computes on: candle's devices, or any graphics adapter through shaders.

use super::autoencoder::{Autoencoder, Codec};
use super::cascade::{Refiner, RefinerSizes};
use super::denoiser::{Denoiser, NoisePredictor};
use super::manifest::{AutoencoderSizes, DenoiserSizes};
use super::parameters::Parameters;
use super::shaders::{Adapters, Gpu, ShaderAutoencoder, ShaderDenoiser, ShaderRefiner, product_alone};
use super::{Computing, DeviceChoice, Init, LowRank, Precision};
use crate::error::{Error, Result};
use crate::modality::ModalityTable;
use candle_core::{Device, Tensor};
use std::sync::Arc;
use std::time::Instant;

/// What a network computes on.
#[derive(Debug, Clone)]
pub enum Engine {
    /// Candle's CPU, or in builds with that feature CUDA or Metal.
    Candle(Device, Precision),
    /// A graphics adapter.
    Shaders(Arc<Gpu>),
}

impl Engine {
    /// The CPU.
    pub fn cpu() -> Self {
        Self::Candle(Device::Cpu, Precision::F32)
    }

    /// Opens what was asked for.
    ///
    /// # Errors
    /// When this build or this machine does not have it, or cannot hold weights that way.
    pub fn of(Computing { device: choice, precision }: Computing) -> Result<Self> {
        let missing = |e: candle_core::Error| {
            Error::request(format!(
                "There is no {choice} device: {e}. Build with --features {choice} on a machine that has one, or use cpu."
            ))
        };
        let adapter = |software: bool| -> Result<Self> {
            Ok(Self::Shaders(Arc::new(Adapters::find().open(software, precision)?)))
        };
        let engine = match choice {
            DeviceChoice::Cpu => Self::Candle(Device::Cpu, precision),
            DeviceChoice::Cuda => Self::Candle(Device::new_cuda(0).map_err(missing)?, precision),
            DeviceChoice::Metal => Self::Candle(Device::new_metal(0).map_err(missing)?, precision),
            DeviceChoice::Gpu => adapter(true)?,
            // What only a CPU can.
            DeviceChoice::Auto if [Precision::I16, Precision::I8, Precision::Bf16].contains(&precision) => {
                Self::Candle(Device::Cpu, precision)
            }
            DeviceChoice::Auto => {
                let candle = Device::new_cuda(0).or_else(|_| Device::new_metal(0));
                let candle = candle.map(|device| Self::Candle(device, precision));
                candle.or_else(|_| adapter(false)).unwrap_or_else(|_| Self::Candle(Device::Cpu, precision))
            }
        };
        match (precision, &engine) {
            (Precision::F32, _)
            | (Precision::F16, Self::Shaders(_))
            | (Precision::I16 | Precision::I8 | Precision::Bf16, Self::Candle(Device::Cpu, _)) => Ok(engine),
            (Precision::F16, _) => Err(Error::request("Half precision is there for --device gpu only.")),
            (Precision::I16 | Precision::I8, _) => Err(Error::request("Integers are there for --device cpu only.")),
            (Precision::Bf16, _) => Err(Error::request("Bfloat16 is there for --device cpu only.")),
        }
    }

    /// For people: `CPU`, `NVIDIA GeForce RTX 4070 (Vulkan)`.
    pub fn name(&self) -> String {
        match self {
            Self::Candle(Device::Cpu, _) => "CPU".into(),
            Self::Candle(Device::Cuda(_), _) => "CUDA".into(),
            Self::Candle(Device::Metal(_), _) => "Metal".into(),
            Self::Shaders(gpu) => gpu.name().to_owned(),
        }
    }

    /// What the last bits of results depend on: `f32 on CPU with avx2`, `f16 on NVIDIA GeForce RTX 4070 (Vulkan)`.
    pub fn describe(&self) -> String {
        let instructions = if self.is_cpu() {
            format!(" with {}", super::kernels::Instructions::here().name())
        } else {
            String::new()
        };
        format!("{} on {}{instructions}", self.precision().name(), self.name())
    }

    /// Names of all devices this build can compute on here, with their memory where it is known.
    pub fn all() -> Vec<String> {
        let memory = crate::process::memory_limit();
        let memory = memory.map_or(String::new(), |bytes| format!(", {:.0} GB for this program", bytes as f64 / 1e9));
        let instructions = super::kernels::Instructions::here().name();
        let mut names = vec![format!("cpu    CPU with {instructions}{memory}")];
        let candle = [("cuda", Device::new_cuda(0)), ("metal", Device::new_metal(0))];
        names.extend(candle.into_iter().filter_map(|(name, device)| {
            device.ok().map(|device| format!("{name:<6} {}", Self::Candle(device, Precision::F32).name()))
        }));
        let adapters = Adapters::find().names().into_iter().enumerate();
        names.extend(adapters.map(|(i, name)| format!("{:<6} {name}", if i == 0 { "gpu" } else { "" })));
        names
    }

    /// Whether it is the CPU, which never fails.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Candle(Device::Cpu, _))
    }

    /// Whether it stopped working, and has to be opened anew.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Shaders(gpu) if gpu.is_lost())
    }

    /// How weights are held.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Candle(_, precision) => *precision,
            Self::Shaders(gpu) => gpu.precision(),
        }
    }

    /// Where parameters, latents and images have to be.
    pub fn tensors(&self) -> &Device {
        match self {
            Self::Candle(device, _) => device,
            Self::Shaders(_) => &Device::Cpu,
        }
    }

    /// The token denoiser on it.
    ///
    /// # Errors
    /// When sizes do not fit together or do not suit the engine, a parameter is missing or misshapen, or there is no room.
    pub fn denoiser(
        &self,
        table: &ModalityTable,
        sizes: &DenoiserSizes,
        source: &mut dyn Parameters,
    ) -> Result<Box<dyn NoisePredictor>> {
        Ok(match self {
            Self::Candle(device, precision) => {
                Box::new(Denoiser::new(table, sizes, &mut Held(source, *precision), device)?)
            }
            Self::Shaders(gpu) => Box::new(ShaderDenoiser::new(table, sizes, source, gpu)?),
        })
    }

    /// An autoencoder on it, of so many image and latent channels.
    ///
    /// # Errors
    /// As [`denoiser`](Self::denoiser).
    pub fn autoencoder(
        &self,
        sizes: &AutoencoderSizes,
        channels: usize,
        latent: usize,
        source: &mut dyn Parameters,
    ) -> Result<Arc<dyn Codec>> {
        Ok(match self {
            Self::Candle(device, precision) => {
                Arc::new(Autoencoder::new(sizes, channels, latent, &mut Held(source, *precision), device)?)
            }
            Self::Shaders(gpu) => Arc::new(ShaderAutoencoder::new(sizes, channels, latent, source, gpu)?),
        })
    }

    /// The refiner of a cascade on it; candle's devices compute it in float32.
    ///
    /// # Errors
    /// As [`denoiser`](Self::denoiser).
    pub fn refiner(&self, table: &ModalityTable, sizes: &RefinerSizes, source: &mut dyn Parameters) -> Result<Refiner> {
        match self {
            Self::Candle(device, _) => Refiner::new(table, sizes, source, device),
            Self::Shaders(gpu) => Refiner::with_network(table, sizes, self.tensors(), |channels| {
                Ok(Box::new(ShaderRefiner::new(sizes, channels, source, gpu)?))
            }),
        }
    }

    /// GFLOP/s of its matrix product alone, `rows × inner` by `inner × columns`; the best of a few.
    ///
    /// # Errors
    /// When the device fails.
    pub fn measure_product(&self, size: [usize; 3]) -> Result<f64> {
        let [rows, inner, columns] = size;
        let run: Box<dyn Fn() -> Result<()> + '_> = match self {
            Self::Shaders(gpu) => Box::new(product_alone(gpu, size)?),
            Self::Candle(device, _) => {
                let waves = |rows: usize, columns: usize| {
                    let data: Vec<f32> = (0..rows * columns).map(|i| (i as f32 * 0.37).sin()).collect();
                    Tensor::from_vec(data, (rows, columns), device)
                };
                let (a, b) = (waves(rows, inner)?, waves(inner, columns)?);
                Box::new(move || Ok(a.matmul(&b)?.device().synchronize()?))
            }
        };
        let mut best: f64 = 0.0;
        for _ in 0..4 {
            let begun = Instant::now();
            run()?;
            best = best.max(2.0 * (rows * inner * columns) as f64 / begun.elapsed().as_secs_f64() / 1e9);
        }
        Ok(best)
    }
}

/// Parameters that layers are to hold in some precision.
struct Held<'a>(&'a mut dyn Parameters, Precision);

impl Parameters for Held<'_> {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        self.0.get(name, shape, init)
    }

    fn trainable(&self) -> bool {
        self.0.trainable()
    }

    fn low_rank(&mut self, name: &str, shape: [usize; 2]) -> Result<Option<LowRank>> {
        self.0.low_rank(name, shape)
    }

    fn precision(&self) -> Precision {
        self.1
    }
}
