//! `copgen scene`.

use super::interrupt;
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::ModalityTable;
use crate::net::Network;
use crate::scene::Collection;
use crate::source::major_tom::{Access, Found, Origin, choose, fetch, list, look_up};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List and fetch places with real data.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Scene {
    /// List the cells of a folder in the Major TOM layout, or of a parquet file of Major TOM Core.
    List {
        /// Folder that holds Core-S2L2A and its like, or a parquet file, or its address.
        root: String,
    },
    /// Print all that is found out about a place's files: types, scales, units, no-data, valid shares, ranges, grids, classes,
    /// evidence for Sentinel-2's offset, and everything that looks wrong.
    Check {
        /// Scene folder, or the folder of a cell in the Major TOM layout.
        folder: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Take one cell out of parquet files of Major TOM Core and make a scene folder of it.
    MajorTom {
        /// Parquet file with pixels, or its address; several of the same cell make one scene.
        #[arg(long)]
        file: Vec<String>,
        /// Index (metadata.parquet), or its address: finds file and row of the cell.
        #[arg(long)]
        metadata: Vec<String>,
        /// The cell, such as 618U_30L.
        #[arg(long)]
        cell: GridCell,
        /// Product to take where there are several of the cell; the latest if left out.
        #[arg(long)]
        product: Vec<String>,
        /// New scene folder.
        #[arg(long)]
        out: PathBuf,
    },
}

impl Scene {
    pub(super) fn run(self) -> Result<ExitCode> {
        let access = Access::new(Network::default(), interrupt()?);
        match self {
            Self::Check { folder, json } => return check(&folder, json),
            Self::List { root } => list_all(&root, &access)?,
            Self::MajorTom { file, metadata, cell, product, out } => {
                if file.is_empty() && metadata.is_empty() {
                    return Err(Error::request("Name a parquet file with --file, or an index with --metadata."));
                }
                let mut rows = Vec::new();
                for text in file.iter().chain(&metadata) {
                    rows.extend(look_up(&Origin::of(text), cell, &access)?);
                }
                let chosen = choose(&rows, cell, &product)?;
                for row in &chosen {
                    eprintln!("{}  {}", row.line(), row.product.as_deref().unwrap_or(""));
                }
                let fetched = fetch(&chosen, &out, &access)?;
                for note in crate::scene::Scene::open(&out)?.notes() {
                    eprintln!("note: {note}");
                }
                eprintln!("{:.1} MB were read.", access.bytes_read() as f64 / 1e6);
                tell!("{}: {}", out.display(), fetched.modalities.join(" "));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells what is found in a folder. What cannot be used makes it fail.
fn check(folder: &Path, json: bool) -> Result<ExitCode> {
    let scene = crate::scene::Scene::open(folder)?;
    let report = scene.report(&ModalityTable::published())?;
    if json {
        let text = serde_json::to_string_pretty(&report).map_err(|e| Error::file(folder, e.to_string()))?;
        tell!("{text}");
    } else {
        tell!("{}", report.to_string().trim_end());
    }
    let usable = report.unusable.is_empty() && report.rasters.iter().all(|raster| raster.problem.is_none());
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list_all(root: &str, access: &Access) -> Result<()> {
    let origin = Origin::of(root);
    if let Origin::File(dir) = &origin
        && dir.is_dir()
    {
        let Some(collection) = Collection::find(dir)? else {
            return Err(Error::file(
                dir,
                "There is no data set in the Major TOM layout here; expected folders such as Core-S2L2A/618U/618U_30L",
            ));
        };
        for cell in collection.cells.keys() {
            tell!("{cell}  {}", collection.families_of(*cell).collect::<Vec<_>>().join(" "));
        }
        eprintln!("{} cells in {}", collection.cells.len(), collection.root.display());
        return Ok(());
    }
    match list(&origin, access)? {
        Found::Rows(rows) => {
            for row in &rows {
                tell!("{}  {}", row.line(), row.product.as_deref().unwrap_or(""));
            }
        }
        Found::Index => tell!("An index: name a cell with copgen scene major-tom --metadata {origin} --cell …"),
    }
    Ok(())
}
