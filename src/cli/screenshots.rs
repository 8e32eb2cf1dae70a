//! `copgen screenshots`.

use crate::app::{Options, Tour, Trip, open_on_tour};
use crate::error::Result;
use crate::grid::GridCell;
use crate::source::days;
use jiff::civil::Date;
use std::path::PathBuf;
use std::process::ExitCode;

/// Take pictures of the window at work, with the bundled model. Needs a display (Xvfb will do).
///
/// Without a cell, at the bundled scene. With one, from an empty cell by way of open data (or providers of your own) to
/// files exported below the folder of the pictures.
#[derive(Debug, clap::Args)]
pub(super) struct Screenshots {
    /// Folder to write PNG files to; existing ones are replaced.
    dir: PathBuf,
    /// Fetch open data of this Major TOM cell, such as 618U_30L, and sample and export that.
    #[arg(long)]
    cell: Option<GridCell>,
    /// First day to look for images of it; a year ago if left out.
    #[arg(long, requires = "cell")]
    from: Option<Date>,
    /// Last day; today if left out.
    #[arg(long, requires = "cell")]
    to: Option<Date>,
    /// Number of realisations.
    #[arg(long, default_value_t = 6)]
    samples: usize,
    /// Network evaluations per realisation.
    #[arg(long, default_value_t = 20)]
    steps: usize,
}

impl Screenshots {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (from, to) = days(self.from, self.to);
        let exports = self.dir.join("exports");
        let trip = self.cell.map(|cell| Trip { cell, from, to, exports });
        let (tour, pictures) = Tour::new(self.samples, self.steps, trip);
        open_on_tour(Options::bundled()?, tour)?;
        eprintln!("{}", pictures.report());
        for path in pictures.write(&self.dir)? {
            tell!("{}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
