//! `copgen train`.

use super::bar::Bar;
use super::{device, interrupt};
use crate::error::{Error, Result};
use crate::evaluate::{Choice, contact_sheet, held_windows};
use crate::hub::model_folder;
use crate::modality::ModalityTable;
use crate::model::{DeviceChoice, Engine, Model};
use crate::train::{
    Denoising, Options, OutputFolder, Progress, Recipe, Seen, Setting, checkpoint_file, finish_cascade,
    train_autoencoder, train_coarse, train_denoiser, train_first_guess, train_refiner,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// Train autoencoders and a denoiser, or a cascade, from a recipe.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Train {
    /// The autoencoders, one after another.
    Autoencoder {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        steps: Steps,
        /// Only these modalities (names, comma-separated).
        #[arg(long)]
        only: Option<String>,
    },
    /// The coarse network of a cascade.
    Coarse(CascadeNetwork),
    /// The regression of a cascade, to which its exemplars add how they differ from it.
    FirstGuess(CascadeNetwork),
    /// The refiner of a cascade.
    Refiner(CascadeNetwork),
    /// The model folder of a cascade whose networks are trained.
    Finish {
        /// The recipe (TOML).
        recipe: PathBuf,
        /// Folder that both networks were trained into.
        #[arg(long)]
        out: PathBuf,
        /// Folder of scene folders: clear windows of those to train on become exemplars, which pictures are made of; and a contact
        /// sheet is drawn of others, sheet.png.
        #[arg(long)]
        scenes: Option<PathBuf>,
    },
    /// The denoiser, on autoencoders that are already in the output folder, or from a finished model.
    Denoiser {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        steps: Steps,
        /// Fine-tune this model folder instead of starting anew; its autoencoders are taken over.
        #[arg(long)]
        from: Option<PathBuf>,
        /// With --from: train matrices of this rank beside the weights (LoRA) instead of all weights.
        #[arg(long)]
        low_rank: Option<usize>,
    },
}

/// A network of a cascade.
#[derive(Debug, clap::Args)]
pub(super) struct CascadeNetwork {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    steps: Steps,
    /// Go on from the weights in this folder, without the state of the optimiser.
    #[arg(long)]
    from: Option<PathBuf>,
}

/// How a network of a cascade is trained.
type TrainNetwork = fn(&Recipe, &ModalityTable, &Denoising, &mut dyn FnMut(&Progress) -> Result<()>) -> Result<()>;

impl CascadeNetwork {
    fn run(&self, train: TrainNetwork) -> Result<()> {
        let Self { common, steps, from } = self;
        let (recipe, table) = Recipe::open(&common.recipe)?;
        let (device, options) = (device(steps.device)?, steps.options());
        let out = OutputFolder::open(&common.out)?;
        let place = Denoising {
            scenes: &common.scenes,
            out: &out,
            from: from.as_deref(),
            low_rank: None,
            device: &device,
            options: &options,
        };
        let mut shown = Shown::new(steps.log_every)?;
        train(&recipe, &table, &place, &mut |p| shown.show(p))
    }
}

/// What all need.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// The recipe (TOML).
    recipe: PathBuf,
    /// Folder of scene folders.
    #[arg(long)]
    scenes: PathBuf,
    /// Model folder to write.
    #[arg(long)]
    out: PathBuf,
}

/// How steps are run.
#[derive(Debug, clap::Args)]
pub(super) struct Steps {
    /// Where to compute: cpu, cuda or metal (those need a build with that feature).
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// Go on from the last checkpoint in the output folder.
    #[arg(long)]
    resume: bool,
    /// Write a checkpoint every so many steps (and when stopped with Ctrl-C).
    #[arg(long, default_value_t = 100)]
    save_every: u64,
    /// Measure the loss on held-out scenes, plot, and draw a contact sheet every so many steps.
    #[arg(long, default_value_t = 250)]
    validate_every: u64,
    /// Print a line every so many steps where there is no terminal for a progress bar.
    #[arg(long, default_value_t = 20)]
    log_every: u64,
}

impl Steps {
    fn options(&self) -> Options {
        Options { resume: self.resume, save_every: self.save_every, validate_every: self.validate_every }
    }
}

impl Train {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Autoencoder { common, steps, only } => {
                let (recipe, table) = Recipe::open(&common.recipe)?;
                let device = device(steps.device)?;
                let wanted = match only {
                    Some(names) => table.select_list(&names)?,
                    None => (0..table.len()).collect(),
                };
                let mut shown = Shown::new(steps.log_every)?;
                let out = &OutputFolder::open(&common.out)?;
                for i in wanted.into_iter().filter(|&i| !table[i].is_scalar()) {
                    let scenes = &common.scenes;
                    // Modalities that were not begun when the training stopped begin now.
                    let begun = checkpoint_file(out.dir(), &format!("autoencoder_{}", table[i].name)).exists();
                    let options = Options { resume: steps.resume && begun, ..steps.options() };
                    let setting = Setting { scenes, out, device: &device, options: &options };
                    let report = train_autoencoder(&recipe, &table, i, &setting, &mut |p| shown.show(p))?;
                    let error = report.held_out_error.map_or("none".into(), |e| format!("{e:.4}"));
                    tell!(
                        "{}: {} scenes, scale {:.4}, held-out error {error}, {:.0} s",
                        table[i].name,
                        report.scenes,
                        report.scale_factor,
                        report.seconds
                    );
                }
            }
            Self::Coarse(network) => network.run(train_coarse)?,
            Self::FirstGuess(network) => network.run(train_first_guess)?,
            Self::Refiner(network) => network.run(train_refiner)?,
            Self::Finish { recipe, out, scenes } => {
                let (recipe, table) = Recipe::open(&recipe)?;
                let mut shown = Shown::new(1)?;
                let folder = OutputFolder::open(&out)?;
                finish_cascade(&recipe, &table, scenes.as_deref(), &folder, &mut |p| shown.show(p))?;
                if let Some(scenes) = scenes {
                    let windows = held_windows(&scenes, &table, &recipe.data, &Choice::of_tests(1))?;
                    let model = Model::open(&out, &Engine::cpu())?;
                    contact_sheet(&model, &windows, &out.join("sheet.png"), &shown.stop)?;
                }
            }
            Self::Denoiser { common, steps, from, low_rank } => {
                let (recipe, table) = Recipe::open(&common.recipe)?;
                let (device, options) = (device(steps.device)?, steps.options());
                let from = from.as_deref().map(model_folder).transpose()?;
                let out = OutputFolder::open(&common.out)?;
                let place = Denoising {
                    scenes: &common.scenes,
                    out: &out,
                    from: from.as_deref(),
                    low_rank,
                    device: &device,
                    options: &options,
                };
                let mut shown = Shown::new(steps.log_every)?;
                let stop = shown.stop.clone();
                let mut windows = None;
                let mut look = |dir: &Path, step: u64, seen: Seen| -> Result<()> {
                    let path = common.out.join("sheets").join(format!("{step:06}.png"));
                    if seen == Seen::Perhaps && is_newer(&path, &checkpoint_file(&common.out, "denoiser")) {
                        return Ok(());
                    }
                    let model = Model::open(dir, &Engine::Candle(device.clone(), crate::model::Precision::F32))?;
                    if windows.is_none() {
                        let held = held_windows(
                            &common.scenes,
                            &model.manifest.modalities,
                            &recipe.data,
                            &Choice::of_tests(1),
                        );
                        windows = Some(held.unwrap_or_default());
                    }
                    match windows.as_deref() {
                        Some(windows) if !windows.is_empty() => {
                            // A sheet that cannot be drawn is no reason to end a training.
                            if let Err(error) = contact_sheet(&model, windows, &path, &stop) {
                                tracing::warn!("no contact sheet at step {step}: {error}");
                            }
                            Ok(())
                        }
                        _ => Ok(()),
                    }
                };
                train_denoiser(&recipe, &table, &place, &mut look, &mut |p| shown.show(p))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether a file was written after another: a sheet that was drawn of a checkpoint, not of a training before.
fn is_newer(path: &Path, than: &Path) -> bool {
    let written = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    matches!((written(path), written(than)), (Some(own), Some(other)) if own >= other)
}

/// Shows steps as they are done; Ctrl-C ends the training after a checkpoint.
struct Shown {
    every: u64,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    bar: Option<(String, Bar)>,
}

impl Shown {
    fn new(every: u64) -> Result<Self> {
        Ok(Self { every, stop: interrupt()?, bar: None })
    }

    fn show(&mut self, progress: &Progress) -> Result<()> {
        match progress {
            Progress::Remark(text) => match &self.bar {
                Some((_, bar)) => bar.remark(text),
                None => tell!("{text}"),
            },
            Progress::Step { what, row, steps } => {
                if self.bar.as_ref().is_none_or(|(of, _)| of != what) {
                    self.bar = Some((what.clone(), Bar::new(what, row.step - 1, *steps, self.every)));
                }
                if let Some((_, bar)) = &mut self.bar {
                    bar.show(row);
                }
            }
        }
        if self.stop.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }
}
