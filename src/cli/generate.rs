//! `copgen generate`: the window's job without the window.

use super::{interrupt, progress_bar};
use crate::ensemble::Realisation;
use crate::error::{Error, Result};
use crate::export::{Exporter, Lineage};
use crate::files::bundled;
use crate::hub::model_folder;
use crate::job::{Event, Place, Request, SetValue, run};
use crate::modality::PostOptions;
use crate::model::{Computing, Model, Precision};
use crate::sampler::{ConditionLatent, Grid, IgnoredMode, Preset, Role, Roles, SamplerOptions, Solver};
use crate::scene::{Observation, Window};
use crate::source::Kept;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Sample realisations of a place and write them as GeoTIFF.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// Scene folder with GeoTIFFs named by modality (DEM.tif, S2L2A_10m.tif, …).
    #[arg(long, required_unless_present = "major_tom", conflicts_with_all = ["major_tom", "cell"])]
    scene: Option<PathBuf>,
    /// Root of a dataset in the Major TOM layout.
    #[arg(long, requires = "cell")]
    major_tom: Option<PathBuf>,
    /// Cell in it, such as 618U_30L.
    #[arg(long, requires = "major_tom")]
    cell: Option<String>,
    /// Model: a folder, or a name of "copgen models list"; the bundled demonstration model if left out.
    #[arg(long)]
    model: Option<PathBuf>,
    /// What is known, comma-separated: location date DEM LULC S1RTC S2L1C S2L2A cloud_mask, or band groups: S2L1C_10m
    /// S2L1C_20m S2L1C_60m S2L2A_10m S2L2A_20m S2L2A_60m.
    #[arg(long, default_value = "")]
    given: String,
    /// What to generate; everything that is not given if left out.
    #[arg(long)]
    generate: Option<String>,
    /// A given value set by hand: date=2023-04-19, location=55.9,-3.2, LULC=water, or a GeoTIFF.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Number of realisations.
    #[arg(long, default_value_t = 4)]
    samples: usize,
    /// Number of the first realisation.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How exactly to solve; chooses solver and number of evaluations.
    #[arg(long, value_enum, default_value = "standard")]
    preset: Preset,
    /// Another solver than the preset's.
    #[arg(long, value_enum)]
    solver: Option<Solver>,
    /// Another number of network evaluations per realisation than the preset's.
    #[arg(long)]
    steps: Option<usize>,
    /// What the times of evaluations are even in; the solver's own choice if left out.
    #[arg(long, value_enum)]
    grid: Option<Grid>,
    /// Seed; the same seed gives the same realisations.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Realisations computed together; changes speed and memory, not the result.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Where to compute: auto (a graphics adapter if there is a true one, else the CPU), cpu, gpu (any graphics adapter),
    /// cuda or metal (those need a build with that feature).
    #[arg(long, default_value = "auto")]
    device: String,
    /// How weights are held: i16 on the CPU, f16 on a gpu, f32 on any.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Window inside the scene: metres east and south of its upper-left corner, multiples of 60; centred if left out.
    #[arg(long, value_name = "EAST,SOUTH", value_parser = parse_window, default_value = "centre")]
    window: Window,
    /// Folder to write to.
    #[arg(long)]
    out: PathBuf,
    /// Replace files that exist.
    #[arg(long)]
    overwrite: bool,
    /// Write cloud-optimised GeoTIFFs.
    #[arg(long)]
    cog: bool,
    /// Also write a STAC item that describes the files.
    #[arg(long)]
    stac: bool,
    /// How a condition's latent is taken from its encoder.
    #[arg(long, value_enum, default_value = "mean")]
    condition_latent: ConditionLatent,
    /// What the network sees of modalities that are neither given nor generated.
    #[arg(long, value_enum, default_value = "generate-and-discard")]
    ignored: IgnoredMode,
    /// One more evaluation that removes the last trace of noise.
    #[arg(long)]
    final_denoise: bool,
    /// Clip generated Sentinel-2 values to 0…10000 DN.
    #[arg(long)]
    clip: bool,
}

fn parse_window(text: &str) -> Result<Window, String> {
    if text == "centre" {
        return Ok(Window::Centre);
    }
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[east_m, south_m]) => Ok(Window::At { east_m, south_m }),
        _ => Err("expected metres east and south, such as 120,600, or centre".into()),
    }
}

impl Generate {
    fn computing(&self) -> Computing {
        Computing { device: self.device.clone(), precision: self.precision }
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        let model_dir = self.model.as_deref().map_or_else(|| bundled("models/demo"), model_folder)?;
        let model = Model::open_on(&model_dir, &self.computing(), &mut |note| eprintln!("note: {note}"))?;
        let request = self.request(&model, model_dir)?;
        let _in_use = Kept::usual().and_then(|kept| kept.hold(self.scene.as_deref()?));
        let cancel = interrupt()?;

        let mut out = Output::new(&self, &model, &request);
        // Hidden until there is something to count.
        let bar = progress_bar(0);
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        let result = run(&model, &request, &cancel, false, &mut |event| {
            match &event {
                Event::Stage(stage) => bar.set_prefix(stage.clone()),
                Event::Progress { done, total, .. } => {
                    if bar.is_hidden() && bar.position() == 0 {
                        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                    }
                    bar.set_length(*total as u64);
                    bar.set_position(*done as u64);
                }
                _ => {}
            }
            out.take(event, &cancel);
        });
        bar.finish_and_clear();
        let finished = out.members.len();
        let paths = out.finish()?;
        for path in &paths {
            println!("{}", path.display());
        }
        if matches!(result, Err(Error::Cancelled)) {
            eprintln!("{finished} of {} realisations were finished and are kept.", request.samples);
        }
        result.map(|()| ExitCode::SUCCESS)
    }

    fn request(&self, loaded: &Model, model: PathBuf) -> Result<Request> {
        let table = &loaded.manifest.modalities;
        let mut given = table.select_list(&self.given)?;
        let mut set = BTreeMap::new();
        for text in &self.set {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| Error::request(format!("--set {text}: expected NAME=VALUE, such as LULC=water.")))?;
            for i in table.select(name)? {
                set.insert(i, SetValue::parse(&table[i], value)?);
                given.push(i);
            }
        }
        let mut generated = self.generate.as_deref().map(|names| table.select_list(names)).transpose()?;
        let absent: Vec<usize> = (0..table.len()).filter(|&i| loaded.manifest.is_absent(i)).collect();
        if generated.is_none() && !absent.is_empty() {
            // What cannot be decoded is not asked for unless it is named.
            let rest = |i: &usize| !absent.contains(i) && !given.contains(i);
            generated = Some((0..table.len()).filter(rest).collect());
        }
        if self.samples > 100_000 {
            return Err(Error::request("At most 100000 realisations can be asked for in one run."));
        }
        let place = match (&self.scene, &self.major_tom, &self.cell) {
            (Some(dir), ..) => Place::Scene { dir: dir.clone(), window: self.window },
            (None, Some(root), Some(cell)) => {
                Place::MajorTom { root: root.clone(), cell: cell.clone(), window: self.window }
            }
            _ => return Err(Error::request("Name a place with --scene, or with --major-tom and --cell.")),
        };
        let preset = self.preset.options();
        Ok(Request {
            model,
            place,
            roles: Roles::new(table, &given, generated.as_deref())?,
            set,
            samples: self.samples,
            first: self.first,
            seed: self.seed,
            batch: self.batch,
            computing: self.computing(),
            options: SamplerOptions {
                steps: self.steps.unwrap_or(preset.steps),
                solver: self.solver.unwrap_or(preset.solver),
                grid: self.grid,
                condition: self.condition_latent,
                ignored: self.ignored,
                final_denoise: self.final_denoise,
            },
            post: PostOptions { clip_reflectance: self.clip, ..PostOptions::default() },
        })
    }
}

/// Writes what the job delivers, as it comes: a job that is stopped keeps what is finished.
struct Output<'a> {
    command: &'a Generate,
    model: &'a Model,
    request: &'a Request,
    lineage: Option<Lineage>,
    members: Vec<Arc<Realisation>>,
    written: Vec<PathBuf>,
    failed: Option<Error>,
}

impl<'a> Output<'a> {
    fn new(command: &'a Generate, model: &'a Model, request: &'a Request) -> Self {
        Self { command, model, request, lineage: None, members: Vec::new(), written: Vec::new(), failed: None }
    }

    fn exporter<'b>(&self, lineage: &'b Lineage) -> Result<Exporter<'b>> {
        Ok(Exporter::new(&self.command.out, lineage, self.command.overwrite)?.cloud_optimised(self.command.cog))
    }

    /// Takes an event; the first failure to write stops the job.
    fn take(&mut self, event: Event, cancel: &std::sync::atomic::AtomicBool) {
        let taken = match event {
            Event::Observed(observation) => self.begin(&observation),
            Event::Realisation(realisation) => self.keep(realisation),
            Event::Note(note) => {
                eprintln!("note: {note}");
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = taken {
            self.failed.get_or_insert(error);
            cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn begin(&mut self, observation: &Observation) -> Result<()> {
        for note in &observation.notes {
            eprintln!("note: {note}");
        }
        let lineage = Lineage::new(&self.model.manifest, &self.model.sha256, self.request, observation);
        let indices = self.request.first..self.request.first + self.request.samples as u64;
        let generated = self.request.roles.with(Role::Generated);
        self.exporter(&lineage)?.check(&generated, indices, self.request.samples > 1)?;
        self.lineage = Some(lineage);
        Ok(())
    }

    fn keep(&mut self, realisation: Arc<Realisation>) -> Result<()> {
        if let (Some(lineage), None) = (&self.lineage, &self.failed) {
            let paths = self.exporter(lineage)?.realisation(&realisation)?;
            self.written.extend(paths);
            self.members.push(realisation);
        }
        Ok(())
    }

    /// Statistics and tables of what is there.
    fn finish(mut self) -> Result<Vec<PathBuf>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(lineage) = &self.lineage {
            let exporter = self.exporter(lineage)?;
            let mut more = exporter.tables(&self.members)?;
            if self.members.len() > 1 {
                more.extend(exporter.statistics(&self.members)?);
            }
            self.written.extend(more);
            if self.command.stac {
                self.written.push(exporter.stac_item(&self.written)?);
            }
        }
        Ok(self.written)
    }
}
