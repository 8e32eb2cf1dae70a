//! `copgen solvers`: how many evaluations it takes.

use super::chosen::folder_or_bundled;
use super::interrupt;
use crate::error::{Error, Result};
use crate::evaluate::{SolverStudy, compare_solvers};
use crate::files::write_atomically;
use crate::model::{Engine, Model};
use crate::sampler::Solver;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure how far solvers with few evaluations end from the solution, beside what half precision changes.
#[derive(Debug, clap::Args)]
pub(super) struct Solvers {
    /// Model folder; the bundled demonstration model if left out.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Scene folders, comma-separated; their centres are asked about.
    #[arg(long, value_delimiter = ',', required = true)]
    places: Vec<PathBuf>,
    /// Solvers, comma-separated; all if left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    solvers: Vec<Solver>,
    /// Numbers of evaluations.
    #[arg(long, value_delimiter = ',', default_value = "5,8,10,12,15,20,25,30,50")]
    steps: Vec<usize>,
    /// Evaluations of what is taken for the solution.
    #[arg(long, default_value_t = 200)]
    reference: usize,
    /// Realisations per place and question.
    #[arg(long, default_value_t = 4)]
    samples: usize,
    /// Seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// Also write the table here, as Markdown.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Solvers {
    pub(super) fn run(self) -> Result<ExitCode> {
        let dir = folder_or_bundled(self.model.as_deref())?;
        let model = Model::open(&dir, &Engine::cpu())?;
        let cancel = interrupt()?;
        let study = SolverStudy {
            model: &model,
            places: &self.places,
            solvers: if self.solvers.is_empty() { &Solver::ALL } else { &self.solvers },
            steps: &self.steps,
            reference: self.reference,
            samples: self.samples,
            seed: self.seed,
            cancel: &cancel,
        };
        let found = compare_solvers(&study, &mut |what| eprintln!("{what} …"))?;
        let text = format!("{}\n{}", self.heading(&model), found.markdown());
        if self.json {
            let json = serde_json::to_string(&found).map_err(|e| Error::Compute(e.to_string()))?;
            tell!("{json}");
        } else {
            tell!("{}", text.trim_end());
        }
        if let Some(path) = &self.out {
            write_atomically(path, text.as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// How the figures came about.
    fn heading(&self, model: &Model) -> String {
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        format!(
            "# Solvers by number of evaluations\n\n    copgen {command}\n\n{}, {}. Root mean square difference of scaled latents from those that {} evaluations of UniPC-3 (even in λ) give for the same noise, in percent of the latents' standard deviation over {} realisations; mean over all generated modalities, over everything from elevation, land cover and radar and S2L2A from S2L1C, pooled over {}. In brackets the difference of decoded values. **Bold**: the grid the program uses.\n",
            model.manifest.name,
            machine(),
            self.reference,
            self.samples,
            match self.places.len() {
                1 => "one place".into(),
                n => format!("{n} places"),
            }
        )
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} CPU cores{}", vector_unit())
}

#[cfg(target_arch = "x86_64")]
fn vector_unit() -> &'static str {
    match () {
        () if std::arch::is_x86_feature_detected!("avx512f") => ", AVX-512",
        () if std::arch::is_x86_feature_detected!("avx2") => ", AVX2",
        () => "",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_unit() -> &'static str {
    ""
}
