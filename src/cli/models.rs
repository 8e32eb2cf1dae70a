//! `copgen models`.

use crate::error::Result;
use crate::model::{Engine, MANIFEST_FILE, Manifest, Model, import, read_weights, sha256_of};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Import, inspect and check model folders.
#[derive(Debug, clap::Subcommand)]
pub enum Models {
    /// Convert the published files into one model folder.
    Import {
        /// The denoiser, `500000_nnet_ema.pth`.
        #[arg(long)]
        denoiser: PathBuf,
        /// Folder with one folder per autoencoder, each with `model-50-ema.pth`.
        #[arg(long)]
        autoencoders: PathBuf,
        /// New model folder.
        #[arg(long)]
        out: PathBuf,
        /// Store half-precision weights: half the size.
        #[arg(long)]
        half: bool,
        /// Attention heads, for a denoiser of none of the published sizes.
        #[arg(long)]
        heads: Option<usize>,
    },
    /// Print what a model folder holds, after checking every file.
    Inspect {
        /// The model folder.
        dir: PathBuf,
    },
}

impl Models {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Import { denoiser, autoencoders, out, half, heads } => {
                let manifest = import(&denoiser, &autoencoders, &out, half, heads, &mut |what| eprintln!("{what}"))?;
                println!("imported {} into {}", manifest.name, out.display());
            }
            Self::Inspect { dir } => inspect(&dir)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn inspect(dir: &Path) -> Result<()> {
    let manifest = Manifest::open(dir)?;
    println!(
        "{}\n{}\nlicence: {}\nattribution: {}",
        manifest.name, manifest.description, manifest.licence, manifest.attribution
    );
    println!("sha256 of the manifest: {}", sha256_of(&dir.join(MANIFEST_FILE))?);
    let window = manifest.modalities.window_m();
    match &manifest.field {
        None => println!("window: {window} m, {} tokens", manifest.modalities.tokens()),
        // All modalities of a place share a token.
        Some(_) => {
            let places = manifest.modalities.iter().map(|m| m.tokens()).max().unwrap_or(0);
            println!("window: {window} m, {places} places");
        }
    }
    let count = |file: &Path| -> Result<(usize, u64)> {
        let values = read_weights(file)?.values().map(|t| t.shape.iter().product::<usize>()).sum();
        let bytes = std::fs::metadata(file).map_err(|e| crate::Error::io(file, "read", &e))?.len();
        Ok((values, bytes))
    };
    // Loading checks hashes, names and shapes.
    let model = Model::open(dir, &Engine::cpu())?;
    let d = &manifest.denoiser;
    let (values, bytes) = count(&dir.join(&manifest.denoiser_weights.file))?;
    println!(
        "denoiser: width {}, depth {} + 1, {} heads, {values} parameters, {bytes} bytes",
        d.width, d.depth, d.heads
    );
    if let Some(file) = &manifest.field {
        let (values, bytes) = count(&dir.join(&file.file))?;
        println!("Gaussian field: {values} numbers, {bytes} bytes");
    }
    if let Some(local) = &d.local {
        let (fine, coarse) = (local.fine_blocks, local.coarse_blocks);
        println!("local network: width {}, {fine} + {fine} fine and {coarse} coarse blocks", local.width);
    }
    for (i, m) in manifest.modalities.iter().enumerate() {
        let [c, h, w] = m.latent;
        print!("  {i:>2} {:<12} {:<32} latent {c}×{h}×{w}", m.name, m.key);
        if let Some(entry) = manifest.autoencoders.get(&m.key) {
            model.autoencoder(i)?;
            let (values, bytes) = count(&dir.join(&entry.weights.file))?;
            print!("  {} px of {} m, {values} parameters, {bytes} bytes", m.pixels, m.ground_m);
        } else if manifest.field.is_some() && !m.is_scalar() {
            print!("  {} px of {} m, the image itself, evened out", m.pixels, m.ground_m);
        }
        println!();
    }
    Ok(())
}
