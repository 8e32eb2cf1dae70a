//! `copgen evaluate`.

use super::interrupt;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, Task, evaluate};
use crate::files::write_atomically;
use crate::hub::model_folder;
use crate::model::{Computing, DeviceChoice, Model, Precision};
use crate::sampler::{Method, Preset, SamplerOptions, Solving};
use crate::train::Recipe;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure a model on the places its recipe held out, beside simple baselines.
#[derive(Debug, clap::Args)]
pub(super) struct Evaluate {
    /// Model folder.
    #[arg(long)]
    model: PathBuf,
    /// The recipe it was trained with: says which places were held out.
    #[arg(long)]
    recipe: PathBuf,
    /// Folder of scene folders.
    #[arg(long)]
    scenes: PathBuf,
    /// Questions, comma-separated; all if left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    task: Vec<Task>,
    /// Realisations per window.
    #[arg(long, default_value_t = 16)]
    samples: usize,
    #[command(flatten)]
    solving: Solving,
    /// Seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: cpu, gpu (any graphics adapter), auto, cuda or metal (those need a build with that feature).
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// How weights are held and multiplied: bf16, i16 or i8 on the CPU, f16 on a gpu, f32 on any.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Also write the figures here, as CSV and as Markdown (.md beside it).
    #[arg(long)]
    csv: Option<PathBuf>,
}

impl Evaluate {
    pub(super) fn run(self) -> Result<ExitCode> {
        if let Some(path) = self.csv.as_ref().filter(|p| p.extension().is_none_or(|e| e != "csv")) {
            return Err(Error::request(format!("{} is no name of a CSV file; end it in .csv.", path.display())));
        }
        let (recipe, _) = Recipe::open(&self.recipe)?;
        let computing = Computing { device: self.device, precision: self.precision };
        let model = Model::open_on(&model_folder(&self.model)?, &computing, &mut |note| eprintln!("note: {note}"))?;
        let options = self.solving.options();
        let solved = solved_by(&options);
        let cancel = interrupt()?;
        let evaluation = Evaluation {
            model: &model,
            recipe: &recipe,
            scenes: &self.scenes,
            samples: self.samples,
            options,
            seed: self.seed,
            cancel: &cancel,
        };
        let started = std::time::Instant::now();
        let report = evaluate(&evaluation, &self.task, &mut |what| eprintln!("{what} …"))?;
        let text = format!(
            "{}: {} questions, on the places that {} holds out of training; {} realisations per window, each solved by {solved}; seed {}, {:.0} s. Realisations are synthetic; their spread is not a calibrated error.\n{}",
            model.manifest.name,
            report.parts.len(),
            self.recipe.display(),
            self.samples,
            self.seed,
            started.elapsed().as_secs_f64(),
            report.markdown()
        );
        tell!("{}", text.trim_end());
        if let Some(path) = &self.csv {
            report.write_csv(path)?;
            write_atomically(&path.with_extension("md"), text.as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Evaluations, solver, grid and preset in words.
fn solved_by(options: &SamplerOptions) -> String {
    let Method { solver, grid, steps } = options.method();
    let preset = Preset::of(options).map_or_else(
        || "none of the presets".to_owned(),
        |preset| format!("the preset {}", preset.name().to_lowercase()),
    );
    format!("{steps} evaluations of {} even in {} ({preset})", solver.name(), grid.name())
}
