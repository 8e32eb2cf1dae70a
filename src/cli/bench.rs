//! `copgen bench`: how fast the networks are here, beside what this machine's matrix products can do.

use crate::error::{Error, Result};
use crate::hub::model_folder;
use crate::modality::{ModalityTable, PostOptions, Raster, Value};
use crate::model::kernels::{Instructions, matrix_unit_rate};
use crate::model::{
    AutoencoderEntry, AutoencoderSizes, Computing, DenoiserSizes, DeviceChoice, Engine, MadeUp, Model, NoisePredictor,
    Precision,
};
use candle_core::{Device, Tensor};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Measure how fast the networks are on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    /// Model folder.
    #[arg(long, conflicts_with = "size")]
    model: Option<PathBuf>,
    /// A network of this size with made-up weights instead.
    #[arg(long, value_enum, default_value = "base")]
    size: Size,
    /// Where to compute: cpu, gpu (any graphics adapter), auto, cuda or metal (those need a build with that feature).
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// How weights are held and multiplied: bf16, i16 or i8 on the CPU, f16 on a gpu, f32 on any.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Realisations evaluated together.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    batch: u64,
    /// Evaluations that are timed, after one that is not; the median is told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeats: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Size {
    /// The published one.
    Base,
    /// A few thousand weights, to see that all of it runs.
    Tiny,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    /// Folder or size.
    model: String,
    device: String,
    threads: usize,
    precision: Precision,
    /// The best instructions that the CPU's kernels use here.
    instructions: &'static str,
    batch: usize,
    /// Median over the repeats, of the whole batch.
    seconds_per_evaluation: f64,
    /// Of 50 evaluations and one decoding of every image modality, for one item of the batch.
    seconds_per_realisation: f64,
    /// Operations of an evaluation (a multiplication and an addition count two); `None` for the bundled model's kind, whose
    /// work is no plain product.
    gflop_per_evaluation: Option<f64>,
    gflops: Option<f64>,
    /// The best of several products of the sizes that occur, by the device's own product, in this run.
    gemm_peak_gflops: f64,
    share_of_gemm_peak: Option<f64>,
    /// What the processor's matrix unit does at this precision with everything in the innermost cache, in this run; `None` without one.
    matrix_unit_gflops: Option<f64>,
    share_of_matrix_unit: Option<f64>,
    /// The same for autoencoders.
    encode_share_of_matrix_unit: Option<f64>,
    decode_share_of_matrix_unit: Option<f64>,
    /// Of surface reflectance at 10 m.
    encode_seconds: f64,
    decode_seconds: f64,
    /// `None` as above.
    encode_share_of_gemm_peak: Option<f64>,
    decode_share_of_gemm_peak: Option<f64>,
    /// `None` where the system does not tell.
    peak_memory_bytes: Option<u64>,
}

impl Bench {
    pub(super) fn run(self) -> Result<ExitCode> {
        let engine = Engine::of(Computing { device: self.device, precision: self.precision })?;
        let measured = match &self.model {
            Some(dir) => self.folder(&model_folder(dir)?, &engine)?,
            None => self.made_up(&engine)?,
        };
        if self.json {
            tell!("{}", serde_json::to_string(&measured).map_err(|e| Error::Compute(e.to_string()))?);
        } else {
            print(&measured);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn folder(&self, dir: &std::path::Path, engine: &Engine) -> Result<Measured> {
        let model = Model::open(dir, engine)?;
        let table = &model.manifest.modalities;
        let nothing = || Error::request("This model has no raster to encode.");
        let index = table.leading().ok_or_else(nothing)?;
        let m = &table[index];
        let mut raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, 0.0);
        raster.data.iter_mut().enumerate().for_each(|(i, v)| *v = 900.0 + (i * 37 % 1009) as f32);
        let value = Value::Image(raster);
        let latent = model.encode(index, &value, None)?;
        let encode = self.median(|| model.encode(index, &value, None).map(drop))?;
        let decode = self.median(|| model.decode(index, &latent, &PostOptions::default()).map(drop))?;
        let sizes = model.manifest.denoiser.as_ref();
        let flop = sizes.map(|sizes| sizes.flop(table, self.batch as usize));
        let coding = model.manifest.autoencoders.get(&m.key).map(|AutoencoderEntry { sizes, .. }| {
            let (side, channels) = (m.pixels, m.network_channels());
            [sizes.encode_flop(side, channels, m.latent[0]), sizes.decode_flop(side, channels, m.latent[0])]
        });
        self.measure(
            dir.display().to_string(),
            &model.sampling_engine(),
            model.denoiser(),
            flop,
            [encode, decode],
            coding,
        )
    }

    fn made_up(&self, engine: &Engine) -> Result<Measured> {
        let (table, device) = (ModalityTable::published(), engine.tensors());
        let (sizes, autoencoder) = match self.size {
            Size::Base => {
                (DenoiserSizes { width: 1024, depth: 20, heads: 16, mlp_ratio: 4 }, AutoencoderSizes::published())
            }
            Size::Tiny => (
                DenoiserSizes { width: 32, depth: 2, heads: 2, mlp_ratio: 2 },
                AutoencoderSizes { base_width: 8, norm_groups: 4, ..AutoencoderSizes::published() },
            ),
        };
        let m = &table[table.leading().ok_or_else(|| Error::request("There is no raster to encode."))?];
        let coder = engine.autoencoder(&autoencoder, m.network_channels(), m.latent[0], &mut MadeUp::new(device))?;
        let image = waves(&[1, m.network_channels(), m.pixels, m.pixels], device)?;
        let latent = waves(&[1, m.latent[0], m.latent[1], m.latent[2]], device)?;
        let encode = self.median(|| finished(&coder.moments(&image)?))?;
        let decode = self.median(|| finished(&coder.decode(&latent)?))?;
        // One network at a time in memory.
        drop(coder);
        let denoiser = engine.denoiser(&table, &sizes, &mut MadeUp::new(device))?;
        let flop = sizes.flop(&table, self.batch as usize);
        let (side, channels) = (m.pixels, m.network_channels());
        let coding = [
            autoencoder.encode_flop(side, channels, m.latent[0]),
            autoencoder.decode_flop(side, channels, m.latent[0]),
        ];
        let name = format!("{:?}, made-up weights", self.size).to_lowercase();
        self.measure(name, engine, denoiser.as_ref(), Some(flop), [encode, decode], Some(coding))
    }

    fn measure(
        &self,
        model: String,
        engine: &Engine,
        denoiser: &dyn NoisePredictor,
        flop: Option<f64>,
        [encode_seconds, decode_seconds]: [f64; 2],
        coding: Option<[f64; 2]>,
    ) -> Result<Measured> {
        const EVALUATIONS: f64 = 50.0;
        let (table, device, batch) = (denoiser.table(), denoiser.device(), self.batch as usize);
        let latents: Vec<Tensor> = table
            .iter()
            .map(|m| waves(&[batch, m.latent[0], m.latent[1], m.latent[2]], device))
            .collect::<Result<_>>()?;
        let times = vec![vec![500.0; batch]; table.len()];
        let seconds = self.median(|| denoiser.noise(&latents, &times)?.iter().try_for_each(finished))?;
        let peak = gemm_peak(engine)?;
        let unit = engine.is_cpu().then(|| matrix_unit_rate(engine.precision(), false)).flatten();
        let coders = unit.and_then(|_| matrix_unit_rate(engine.precision(), true));
        let share_of_unit = |flop: f64, seconds: f64| coders.map(|unit| flop / seconds / 1e9 / unit);
        let gflops = flop.map(|flop| flop / seconds / 1e9);
        let images = table.iter().filter(|m| !m.is_scalar()).count() as f64;
        Ok(Measured {
            model,
            device: if engine.is_cpu() { "cpu".into() } else { engine.name() },
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            precision: engine.precision(),
            instructions: Instructions::here().name(),
            batch,
            seconds_per_evaluation: seconds,
            seconds_per_realisation: EVALUATIONS * seconds / batch as f64 + images * decode_seconds,
            gflop_per_evaluation: flop.map(|flop| flop / 1e9),
            gflops,
            gemm_peak_gflops: peak,
            share_of_gemm_peak: gflops.map(|gflops| gflops / peak),
            matrix_unit_gflops: unit,
            share_of_matrix_unit: gflops.zip(unit).map(|(gflops, unit)| gflops / unit),
            encode_share_of_matrix_unit: coding.and_then(|[flop, _]| share_of_unit(flop, encode_seconds)),
            decode_share_of_matrix_unit: coding.and_then(|[_, flop]| share_of_unit(flop, decode_seconds)),
            encode_seconds,
            decode_seconds,
            encode_share_of_gemm_peak: coding.map(|[flop, _]| flop / encode_seconds / 1e9 / peak),
            decode_share_of_gemm_peak: coding.map(|[_, flop]| flop / decode_seconds / 1e9 / peak),
            peak_memory_bytes: crate::process::peak_memory(),
        })
    }

    /// Median time of a piece of work in seconds; once is not timed.
    fn median(&self, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        work()?;
        let mut times = Vec::with_capacity(self.repeats as usize);
        for _ in 0..self.repeats {
            let begun = Instant::now();
            work()?;
            times.push(begun.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

/// Smooth values of about 1 in this shape.
fn waves(shape: &[usize], device: &Device) -> Result<Tensor> {
    let data: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32 * 0.37).sin()).collect();
    Ok(Tensor::from_vec(data, shape, device)?)
}

/// Waits until a tensor is computed, also on devices that answer before they are done.
fn finished(tensor: &Tensor) -> Result<()> {
    tensor.device().synchronize()?;
    Ok(())
}

/// The best of several products of the sizes that occur in the published network, GFLOP/s.
fn gemm_peak(engine: &Engine) -> Result<f64> {
    let sizes = [[1401, 1024, 4096], [1401, 4096, 1024], [2048, 2048, 2048]];
    sizes.into_iter().try_fold(0.0, |best: f64, size| Ok(best.max(engine.measure_product(size)?)))
}

fn print(measured: &Measured) {
    let Measured { model, device, threads, precision, instructions, batch, .. } = measured;
    tell!("{model} on {device} ({threads} threads, {instructions}), {precision:?}, batch {batch}");
    tell!("  evaluation   {:.3} s", measured.seconds_per_evaluation);
    tell!("  realisation  {:.1} s (50 evaluations, all images decoded)", measured.seconds_per_realisation);
    let share = |share: Option<f64>| share.map_or_else(String::new, |share| format!(" ({:.0} %)", 100.0 * share));
    tell!(
        "  encode       {:.3} s{}, decode {:.3} s{} (S2L2A at 10 m)",
        measured.encode_seconds,
        share(measured.encode_share_of_gemm_peak),
        measured.decode_seconds,
        share(measured.decode_share_of_gemm_peak)
    );
    if let (Some(flop), Some(gflops), Some(share)) =
        (measured.gflop_per_evaluation, measured.gflops, measured.share_of_gemm_peak)
    {
        let peak = measured.gemm_peak_gflops;
        tell!("  work         {flop:.0} GFLOP, {gflops:.0} GFLOP/s, {:.0} % of the products' {peak:.0}", 100.0 * share);
    }
    if let (Some(rate), Some(share)) = (measured.matrix_unit_gflops, measured.share_of_matrix_unit) {
        let of = |share: Option<f64>| 100.0 * share.unwrap_or(0.0);
        tell!(
            "  matrix unit  {rate:.0} GFLOP/s from the innermost cache, of which {:.0} %; encode {:.0} %, decode {:.0} %",
            100.0 * share,
            of(measured.encode_share_of_matrix_unit),
            of(measured.decode_share_of_matrix_unit)
        );
    }
    if let Some(bytes) = measured.peak_memory_bytes {
        tell!("  memory       {:.0} MB at most", bytes as f64 / 1e6);
    }
}
