//! `copgen screenshots`.

use crate::app::{Options, Tour, open};
use crate::error::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// Take pictures of the window at work, from the bundled scene and model. Needs a display (Xvfb will do).
#[derive(Debug, clap::Args)]
pub struct Screenshots {
    /// Folder to write PNG files to; existing ones are replaced.
    dir: PathBuf,
    /// Number of realisations.
    #[arg(long, default_value_t = 6)]
    samples: usize,
    /// Network evaluations per realisation.
    #[arg(long, default_value_t = 20)]
    steps: usize,
}

impl Screenshots {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (tour, pictures) = Tour::new(self.samples, self.steps);
        open(Options { tour: Some(tour), ..Options::bundled()? })?;
        eprintln!("{}", pictures.report());
        for path in pictures.write(&self.dir)? {
            println!("{}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
