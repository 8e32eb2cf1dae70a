//! `copgen generate`: the window's job without the window.

use super::solving::Solving;
use super::{interrupt, progress_bar};
use crate::error::{Error, Result};
use crate::export::{Export, ExportRequest, Lineage, Pictures};
use crate::files::bundled;
use crate::grid::Footprint;
use crate::hub::model_folder;
use crate::job::{Event, Keep, KnownWhere, Place, PlaceData, Request, SetValue, observe_all, run};
use crate::modality::{Class, ModalityTable, PostOptions, Subject};
use crate::model::{Computing, DeviceChoice, Manifest, Model, ModelIdentity, Precision};
use crate::process::memory_limit;
use crate::sampler::{ConditionLatent, IgnoredMode, KeepQuality, Role, Roles, SamplerOptions};
use crate::scene::{Extent, Observation, Window};
use crate::source::Kept;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sample realisations of a place and write them as GeoTIFF.
#[derive(Debug, clap::Args)]
pub(super) struct Generate {
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
    /// What is known in part: its pixels are kept where the cloud mask says clear (S2L2A=clear), where it has data
    /// (S1RTC=valid), or where a GeoTIFF is not 0 (S2L2A_10m=mask.tif); the rest is generated.
    #[arg(long, value_name = "NAME=WHERE")]
    keep: Vec<String>,
    /// What lies closer than this to what is not kept is generated, too, in metres.
    #[arg(long, value_name = "METRES", value_parser = parse_metres, default_value = "60", requires = "keep")]
    buffer: f64,
    /// Classes of the cloud mask that are not kept, comma-separated, such as thick,shadow; all but clear if left out.
    #[arg(long, value_name = "CLASSES", requires = "keep")]
    drop: Option<String>,
    /// How closely estimates follow what is kept.
    #[arg(long, value_enum, default_value = "careful", requires = "keep")]
    keep_quality: KeepQuality,
    /// Number of realisations.
    #[arg(long, default_value_t = 4)]
    samples: usize,
    /// Number of the first realisation.
    #[arg(long, default_value_t = 0)]
    first: u64,
    #[command(flatten)]
    solving: Solving,
    /// Seed; the same seed gives the same realisations.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Realisations computed together; changes speed and memory, not the result.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Where to compute: auto (a graphics adapter if there is a true one, else the CPU), cpu, gpu (any graphics adapter),
    /// cuda or metal (those need a build with that feature).
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// How weights are held and multiplied: bf16, i16 or i8 on the CPU, f16 on a gpu, f32 on any.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Window inside the scene: metres east and south of its upper-left corner, multiples of 60; centred if left out.
    #[arg(long, value_name = "EAST,SOUTH", value_parser = parse_window, default_value = "centre")]
    window: Window,
    /// Take sigma0 radar (S1GRD) for gamma0 where a scene has no other; slopes are brighter or darker in it.
    #[arg(long)]
    accept_sigma0: bool,
    /// Folder to write to.
    #[arg(long)]
    out: PathBuf,
    /// Replace files that exist.
    #[arg(long)]
    overwrite: bool,
    /// Write cloud-optimised GeoTIFFs.
    #[arg(long)]
    cog: bool,
    /// Also write pictures (PNG) with legends: what was observed, each realisation, mean and spread; what a model made is
    /// marked as synthetic.
    #[arg(long)]
    png: bool,
    /// Also write a STAC item that describes the files. Each band then has a file of its own, as readers of items expect.
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

fn parse_metres(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('m').trim_end().parse().ok();
    let sensible = |metres: &f64| (0.0..=10_000.0).contains(metres);
    number.filter(sensible).ok_or_else(|| "expected metres from 0 to 10000, such as 60 or 60m".into())
}

impl Generate {
    fn computing(&self) -> Computing {
        Computing { device: self.device, precision: self.precision }
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        let dir = self.model.as_deref().map_or_else(|| bundled("models/demo"), model_folder)?;
        let manifest = Manifest::open(&dir)?;
        let request = self.request(&manifest, dir)?;
        let ground = request.place.footprint(&manifest.modalities)?;
        enough_memory(&manifest, &request, &ground, memory_limit())?;
        let _in_use = Kept::usual().and_then(|kept| kept.hold(self.scene.as_deref()?));
        let model = Model::open_on(&request.model, &self.computing(), &mut |note| eprintln!("note: {note}"))?;
        let cancel = interrupt()?;

        let mut out = Output { command: &self, model: &model, request: &request, export: None, failed: None };
        // Hidden until there is something to count.
        let bar = progress_bar(0);
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        let result = run(&model, &request, &cancel, false, &mut |event| {
            match &event {
                Event::Stage(stage) => bar.set_prefix(stage.to_string()),
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
        let written = out.finish();
        let export = out.export.iter();
        export.flat_map(Export::written).for_each(|path| tell!("{}", path.display()));
        let finished = out.export.as_ref().map_or(0, Export::finished);
        let result = written.and(result);
        if finished > 0 && result.is_err() {
            let samples = request.samples;
            eprintln!("{finished} of {samples} realisations were finished and are kept.");
        }
        result.map(|()| ExitCode::SUCCESS)
    }

    fn request(&self, manifest: &Manifest, model: PathBuf) -> Result<Request> {
        let table = &manifest.modalities;
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
        let keep = self.kept(table)?;
        let mut generated = self.generate.as_deref().map(|names| table.select_list(names)).transpose()?;
        let absent: Vec<usize> = (0..table.len()).filter(|&i| manifest.is_absent(i)).collect();
        if generated.is_none() && !absent.is_empty() {
            // What cannot be decoded is not asked for unless it is named.
            let rest = |i: &usize| !absent.contains(i) && !given.contains(i);
            generated = Some((0..table.len()).filter(rest).collect());
        }
        if let Some(generated) = &mut generated {
            let new: Vec<usize> = keep.keys().copied().filter(|i| !generated.contains(i)).collect();
            generated.extend(new);
        }
        if self.samples > 100_000 {
            return Err(Error::request("At most 100000 realisations can be asked for in one run."));
        }
        let place = match (&self.scene, &self.major_tom, &self.cell) {
            (Some(dir), ..) => Place { stand_ins: self.accept_sigma0, ..Place::scene(dir, self.window) },
            (None, Some(root), Some(cell)) => {
                let data = PlaceData::MajorTom { root: root.clone(), cell: cell.clone() };
                Place { data, extent: Extent::Window(self.window), stand_ins: self.accept_sigma0 }
            }
            _ => return Err(Error::request("Name a place with --scene, or with --major-tom and --cell.")),
        };
        Ok(Request {
            model,
            place,
            roles: Roles::new(table, &given, generated.as_deref())?,
            set,
            keep,
            samples: self.samples,
            first: self.first,
            seed: self.seed,
            batch: self.batch,
            computing: self.computing(),
            options: SamplerOptions {
                condition: self.condition_latent,
                ignored: self.ignored,
                final_denoise: self.final_denoise,
                keep: self.keep_quality,
                ..self.solving.options()
            },
            post: PostOptions { clip_reflectance: self.clip, ..PostOptions::default() },
        })
    }

    /// What is kept, by modality: a family stands for all its band groups.
    fn kept(&self, table: &ModalityTable) -> Result<BTreeMap<usize, Keep>> {
        let also = self.drop.as_deref().map_or(Ok(Vec::new()), |dropped| not_dropped(table, dropped))?;
        let mut keep = BTreeMap::new();
        for text in &self.keep {
            let (name, known) = text
                .split_once('=')
                .ok_or_else(|| Error::request(format!("--keep {text}: expected NAME=WHERE, such as S2L2A=clear.")))?;
            let known = match KnownWhere::parse(known)? {
                KnownWhere::Clear { .. } => KnownWhere::Clear { also: also.clone() },
                other => other,
            };
            for i in table.select(name)? {
                keep.insert(i, Keep { known: known.clone(), buffer_m: self.buffer });
            }
        }
        Ok(keep)
    }
}

/// Codes of the cloud mask that are neither clear nor dropped.
fn not_dropped(table: &ModalityTable, dropped: &str) -> Result<Vec<u8>> {
    let sky = table.finest(Subject::Clouds).and_then(|i| table[i].classes()).unwrap_or_default();
    let named = |name: &str, class: &Class| {
        class.code.to_string() == name || class.name.to_lowercase().split(' ').any(|word| word == name)
    };
    let names: Vec<String> = dropped.split(',').map(|name| name.trim().to_lowercase()).collect();
    if let Some(unknown) = names.iter().find(|name| !sky.iter().any(|class| named(name, class))) {
        let known: Vec<&str> = sky.iter().map(|class| class.name.as_str()).collect();
        return Err(Error::request(format!(
            "--drop: the cloud mask knows no class \"{unknown}\"; it has: {}.",
            known.join(", ")
        )));
    }
    Ok(sky.iter().filter(|class| class.code != 0 && !names.iter().any(|n| named(n, class))).map(|c| c.code).collect())
}

/// Whether there is memory for a run.
///
/// # Errors
/// How much is missing, and how to go on.
fn enough_memory(manifest: &Manifest, request: &Request, ground: &Footprint, free: Option<u64>) -> Result<()> {
    let weights = manifest.weight_bytes(&request.model);
    let generated = request.roles.with(Role::Generated);
    let need = |samples: usize, batch: usize| manifest.run_bytes(weights, &generated, ground, samples, batch);
    let (samples, needed) = (request.samples, need(request.samples, request.batch));
    let Some(free) = free.filter(|free| needed > *free) else { return Ok(()) };
    let together = (1..request.batch.min(samples)).rev().find(|batch| need(samples, *batch) <= free);
    let advice = match (together, (1..samples).rev().find(|samples| need(*samples, 1) <= free)) {
        (Some(batch), _) => format!("compute fewer realisations together, with --batch {batch} or less"),
        (None, Some(most)) => format!(
            "make them in several runs, with --batch 1, --samples {most} or less, and --first for the number of the next one"
        ),
        (None, None) => "not even one realisation fits; close other programs, or use a smaller model".into(),
    };
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    Err(Error::request(format!(
        "This needs about {:.1} GB of memory, and {:.1} GB are free: {advice}.",
        gigabytes(needed),
        gigabytes(free)
    )))
}

/// Writes what the job delivers, as it comes: a job that is stopped keeps what is finished.
struct Output<'a> {
    command: &'a Generate,
    model: &'a Model,
    request: &'a Request,
    export: Option<Export>,
    failed: Option<Error>,
}

impl Output<'_> {
    /// Takes an event; the first failure to write stops the job.
    fn take(&mut self, event: Event, cancel: &AtomicBool) {
        let taken = match (event, self.export.as_mut().filter(|_| self.failed.is_none())) {
            (Event::Observed(observation), None) => self.begin(&observation),
            (Event::Realisation(made), Some(export)) => export.add(&made).and_then(|()| export.hand_out()),
            (Event::Note(note), _) => {
                eprintln!("note: {note}");
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = taken {
            self.failed.get_or_insert(error);
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Makes sure that everything can be written, before anything is computed.
    fn begin(&mut self, observation: &Observation) -> Result<()> {
        let (command, request) = (self.command, self.request);
        for note in &observation.notes {
            eprintln!("note: {note}");
        }
        let model = ModelIdentity::of(&self.model.manifest, &self.model.sha256);
        let lineage = Lineage::new(&model, &self.model.manifest.modalities, request, observation);
        let mut pictures = None;
        if command.png {
            let known = observe_all(&lineage.table, &request.place)?;
            for note in known.notes.iter().filter(|note| !observation.notes.contains(note)) {
                eprintln!("note: {note}");
            }
            let rasters = known.values.iter().map(|given| given.as_ref()?.value.image().cloned());
            pictures = Some(Pictures::usual(rasters.collect()));
        }
        let wanted = ExportRequest {
            dir: command.out.clone(),
            modalities: request.roles.with(Role::Generated).into_iter().collect(),
            realisations: true,
            statistics: true,
            cloud_optimised: command.cog,
            pictures,
            inspected: None,
            stac: command.stac,
            overwrite: command.overwrite,
        };
        let indices: Vec<u64> = (request.first..).take(request.samples).collect();
        self.export = Some(Export::begin(wanted, Arc::new(lineage), &indices)?);
        Ok(())
    }

    /// Statistics, tables and pictures of what is there.
    fn finish(&mut self) -> Result<()> {
        match (self.failed.take(), &mut self.export) {
            (Some(error), _) => Err(error),
            (None, Some(export)) => export.finish().map(|_| ()),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::SamplerOptions;

    fn request(samples: usize, batch: usize) -> (Manifest, Request) {
        let model = bundled("models/demo").expect("model");
        let manifest = Manifest::open(&model).expect("manifest");
        let roles = Roles::new(&manifest.modalities, &[], None).expect("roles");
        let (computing, set) = Default::default();
        let place = Place::scene("", Window::Centre);
        let (options, post) = (SamplerOptions::default(), PostOptions::default());
        let request = Request {
            model,
            place,
            roles,
            set,
            keep: BTreeMap::new(),
            samples,
            first: 0,
            seed: 0,
            batch,
            computing,
            options,
            post,
        };
        (manifest, request)
    }

    #[test]
    fn what_is_told_to_save_memory_is_enough_and_no_more_than_needed() {
        let number = |text: &str, option: &str| -> usize {
            let rest = text.split(option).nth(1).unwrap_or_else(|| panic!("no {option} in {text}"));
            rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("number")
        };
        let ground = Footprint { crs: None, left: 0.0, top: 0.0, width_m: 960.0, height_m: 960.0 };
        let estimate = |samples: usize, batch: usize, free: u64| {
            let (manifest, request) = request(samples, batch);
            enough_memory(&manifest, &request, &ground, Some(free)).map_err(|e| e.to_string())
        };
        let (manifest, all) = request(3000, 3000);
        let (weights, generated) = (manifest.weight_bytes(&all.model), all.roles.with(Role::Generated));
        let need = |samples: usize, batch: usize| manifest.run_bytes(weights, &generated, &ground, samples, batch);
        assert_eq!(estimate(3000, 3000, need(3000, 3000)), Ok(()));
        assert_eq!(enough_memory(&manifest, &all, &ground, None).map_err(|e| e.to_string()), Ok(()));
        let text = estimate(3000, 3000, need(3000, 17)).expect_err("too much");
        assert_eq!(number(&text, "--batch"), 17, "{text}");
        assert!(text.contains(&format!("{:.1} GB of memory", need(3000, 3000) as f64 / 1e9)), "{text}");
        let text = estimate(3000, 3000, need(40, 1)).expect_err("too much");
        assert_eq!((number(&text, "--batch"), number(&text, "--samples")), (1, 40), "{text}");
        assert!(estimate(3000, 3000, 1 << 20).expect_err("too much").contains("not even one"));
        // A batch is never larger than what is asked for.
        assert_eq!(estimate(4, usize::MAX, need(4, 4)), Ok(()));
    }
}
