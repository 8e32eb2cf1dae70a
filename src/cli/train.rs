//! `copgen train`.

use crate::error::Result;
use crate::train::{Progress, Recipe, train_autoencoder, train_denoiser};
use candle_core::Device;
use std::path::PathBuf;
use std::process::ExitCode;

/// Train autoencoders or the denoiser from a recipe.
#[derive(Debug, clap::Subcommand)]
pub enum Train {
    /// The autoencoders, one after another.
    Autoencoder {
        #[command(flatten)]
        common: Common,
        /// Only these modalities (names, comma-separated).
        #[arg(long)]
        only: Option<String>,
    },
    /// The denoiser, on autoencoders that are already in the output folder.
    Denoiser {
        #[command(flatten)]
        common: Common,
        /// Save the weights every so many steps.
        #[arg(long, default_value_t = 200)]
        save_every: u64,
    },
}

/// What both need.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The recipe (TOML).
    recipe: PathBuf,
    /// Folder of scene folders.
    #[arg(long)]
    scenes: PathBuf,
    /// Model folder to write.
    #[arg(long)]
    out: PathBuf,
    /// Print a line every so many steps.
    #[arg(long, default_value_t = 20)]
    log_every: u64,
}

impl Train {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Autoencoder { common, only } => {
                let (recipe, table) = Recipe::open(&common.recipe)?;
                let wanted = match only {
                    Some(names) => table.select_list(&names)?,
                    None => (0..table.len()).collect(),
                };
                for i in wanted.into_iter().filter(|&i| !table[i].is_scalar()) {
                    let mut log = Log::new(common.log_every);
                    let report =
                        train_autoencoder(&recipe, &table, i, &common.scenes, &common.out, &Device::Cpu, &mut |p| {
                            log.show(p)
                        })?;
                    let error = report.held_out_error.map_or("none".into(), |e| format!("{e:.4}"));
                    println!(
                        "{}: {} scenes, scale {:.4}, held-out error {error}, {:.0} s",
                        table[i].name, report.scenes, report.scale_factor, report.seconds
                    );
                }
            }
            Self::Denoiser { common, save_every } => {
                let (recipe, table) = Recipe::open(&common.recipe)?;
                let mut log = Log::new(common.log_every);
                train_denoiser(
                    &recipe,
                    &table,
                    &common.scenes,
                    &common.out,
                    &Device::Cpu,
                    save_every.max(1),
                    &mut |p| log.show(p),
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the mean loss since the last line, with speed and time left.
struct Log {
    every: u64,
    started: std::time::Instant,
    what: String,
    sum: f64,
    count: u64,
}

impl Log {
    fn new(every: u64) -> Self {
        Self { every: every.max(1), started: std::time::Instant::now(), what: String::new(), sum: 0.0, count: 0 }
    }

    fn show(&mut self, p: &Progress) -> Result<()> {
        if p.what != self.what {
            self.what.clone_from(&p.what);
            (self.started, self.sum, self.count) = (std::time::Instant::now(), 0.0, 0);
        }
        self.sum += p.loss;
        self.count += 1;
        if p.step.is_multiple_of(self.every) || p.step == p.steps {
            let per_second = p.step as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
            let left = (p.steps - p.step) as f64 / per_second;
            let loss =
                if p.loss.is_nan() { String::new() } else { format!("loss {:.5}  ", self.sum / self.count as f64) };
            println!("{} {}/{}  {loss}{per_second:.2} steps/s  {left:.0} s left", p.what, p.step, p.steps);
            (self.sum, self.count) = (0.0, 0);
        }
        Ok(())
    }
}
