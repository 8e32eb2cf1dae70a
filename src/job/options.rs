//! What may be asked for, as arguments of `generate` and as columns of a plan: the one place that makes a request of them.

use super::{Keep, KnownWhere, Place, PlaceData, Request, SetValue};
use crate::error::{Error, Result};
use crate::modality::{Class, ModalityTable, PostOptions, Subject};
use crate::model::{Computing, Manifest};
use crate::sampler::{ConditionLatent, IgnoredMode, KeepQuality, Roles, SamplerOptions, Solving};
use crate::scene::{Extent, Window};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A place, what is given and generated of it, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct RequestOptions {
    /// Scene folder with GeoTIFFs named by modality (DEM.tif, S2L2A_10m.tif, …).
    #[arg(long, conflicts_with_all = ["major_tom", "cell"])]
    pub scene: Option<PathBuf>,
    /// Root of a dataset in the Major TOM layout.
    #[arg(long, requires = "cell")]
    pub major_tom: Option<PathBuf>,
    /// Cell in it, such as 618U_30L.
    #[arg(long)]
    pub cell: Option<String>,
    /// What is known, comma-separated: location date DEM LULC S1RTC S2L1C S2L2A cloud_mask, or band groups: S2L1C_10m
    /// S2L1C_20m S2L1C_60m S2L2A_10m S2L2A_20m S2L2A_60m.
    #[arg(long, default_value = "")]
    pub given: String,
    /// What to generate; everything that is not given if left out.
    #[arg(long)]
    pub generate: Option<String>,
    /// A given value set by hand: date=2023-04-19, location=55.9,-3.2, LULC=water, or a GeoTIFF.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// What is known in part: its pixels are kept where the cloud mask says clear (S2L2A=clear), where it has data
    /// (S1RTC=valid), or where a GeoTIFF is not 0 (S2L2A_10m=mask.tif); the rest is generated.
    #[arg(long, value_name = "NAME=WHERE")]
    pub keep: Vec<String>,
    /// What lies closer than this to what is not kept is generated, too, in metres.
    #[arg(long, value_name = "METRES", value_parser = parse_metres, default_value = "60", requires = "keep")]
    pub buffer: f64,
    /// Classes of the cloud mask that are not kept, comma-separated, such as thick,shadow; all but clear if left out.
    #[arg(long, value_name = "CLASSES", requires = "keep")]
    pub drop: Option<String>,
    /// How closely estimates follow what is kept.
    #[arg(long, value_enum, default_value = "careful", requires = "keep")]
    pub keep_quality: KeepQuality,
    /// Number of realisations.
    #[arg(long, default_value_t = 4)]
    pub samples: usize,
    /// Number of the first realisation.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// How the sampling equation is solved.
    #[command(flatten)]
    pub solving: Solving,
    /// Seed; the same seed gives the same realisations.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Realisations computed together; changes speed and memory, not the result.
    #[arg(long, default_value_t = 4)]
    pub batch: usize,
    /// Window inside the scene: metres east and south of its upper-left corner, multiples of 60; centred if left out.
    #[arg(long, alias = "extent", value_name = "EAST,SOUTH", value_parser = parse_window, default_value = "centre")]
    pub window: Window,
    /// Take sigma0 radar (S1GRD) for gamma0 where a scene has no other; slopes are brighter or darker in it.
    #[arg(long)]
    pub accept_sigma0: bool,
    /// How a condition's latent is taken from its encoder.
    #[arg(long, value_enum, default_value = "mean")]
    pub condition_latent: ConditionLatent,
    /// What the network sees of modalities that are neither given nor generated.
    #[arg(long, value_enum, default_value = "generate-and-discard")]
    pub ignored: IgnoredMode,
    /// One more evaluation that removes the last trace of noise.
    #[arg(long)]
    pub final_denoise: bool,
    /// Clip generated Sentinel-2 values to 0…10000 DN.
    #[arg(long)]
    pub clip: bool,
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

impl RequestOptions {
    /// The request that they describe, of a model with this manifest in this folder.
    ///
    /// # Errors
    /// When a name is unknown, a value cannot be read, or things are asked for together that exclude each other.
    pub fn request(&self, manifest: &Manifest, model: PathBuf, computing: Computing) -> Result<Request> {
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
            computing,
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
