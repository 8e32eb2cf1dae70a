//! What a session keeps on disk: choices as `project.json`, each finished realisation as a file of its own beside it.
//!
//! A project is a folder. Every file is written at once or not at all, so whatever interrupts the program leaves the
//! last state.

mod run_id;

pub use run_id::RunId;

use crate::ensemble::Realisation;
use crate::error::{Error, Result};
use crate::files::{make_folder, write_atomically};
use crate::job::{Keep, Request};
use crate::modality::{Location, Mask, Modality, ModalityTable, PostOptions, Raster, Value};
use crate::model::{Computing, ModelIdentity, SafetensorsContent, TensorData, read_safetensors, write_tensors};
use crate::sampler::{Role, SamplerOptions};
use crate::scene::Window;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "project.json";
/// Version of the format.
const VERSION: u32 = 2;

/// Where a session is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picked {
    /// A scene folder.
    Scene(PathBuf),
    /// A grid cell by its name.
    Cell(String),
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptRun {
    /// What was asked for.
    pub request: Request,
    /// Its name, and that of the folder of its realisations beside the project file.
    #[serde(rename = "folder")]
    pub id: RunId,
    /// SHA-256 of the manifest of the model that made it.
    pub model_sha256: String,
    /// That model; not told by earlier versions.
    #[serde(default)]
    pub made_by: Option<ModelIdentity>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Version of the format.
    pub version: u32,
    /// Model folder.
    pub model: PathBuf,
    /// Scenes on the map.
    pub scenes: Vec<PathBuf>,
    /// What is picked.
    pub picked: Option<Picked>,
    /// Which window of a picked scene.
    pub window: Window,
    /// Roles by name of the modality.
    pub roles: BTreeMap<String, Role>,
    /// Values set by hand, as typed, by name of the modality.
    pub typed: BTreeMap<String, String>,
    /// What is kept of modalities that are generated otherwise, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keep: BTreeMap<String, Keep>,
    /// Number of realisations.
    pub samples: usize,
    /// Sampling switches.
    pub options: SamplerOptions,
    /// Post-processing switches.
    pub post: PostOptions,
    /// What is computed on.
    #[serde(default)]
    pub computing: Computing,
    /// Seed.
    pub seed: u64,
    /// Whether each run takes a seed of its own.
    pub random_seed: bool,
    /// Runs with realisations, oldest first.
    pub runs: Vec<KeptRun>,
    /// Which of them is looked at.
    pub shown: usize,
}

impl Project {
    /// The version that is written.
    pub fn version() -> u32 {
        VERSION
    }

    /// Whether a folder is a project.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(PROJECT_FILE).is_file()
    }

    /// Reads a project.
    ///
    /// # Errors
    /// When there is none, it is damaged, or a newer program wrote it.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(PROJECT_FILE);
        let text = crate::files::read_text(&path).map_err(|e| Error::io(&path, "read", &e))?;
        let bad = |e: serde_json::Error| Error::file(&path, format!("This is not a project: {e}"));
        let version: Version = serde_json::from_str(&text).map_err(bad)?;
        if version.version > VERSION {
            return Err(Error::file(&path, "A newer version of this program wrote this project; update to open it"));
        }
        serde_json::from_str(&text).map_err(bad)
    }

    /// Writes the project file; realisations are written by [`keep`] and removed by [`forget`] alone.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(PROJECT_FILE);
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::file(&path, e.to_string()))?;
        write_atomically(&path, text.as_bytes())
    }

    /// Writes the project and the realisations of its runs to another folder, in place of a project that is there.
    ///
    /// # Errors
    /// When either folder fails.
    pub fn write_with(&self, dir: &Path, table: &ModalityTable, realisations: &[Vec<Arc<Realisation>>]) -> Result<()> {
        let before = Self::read(dir).map(|project| project.runs).unwrap_or_default();
        for (run, realisations) in self.runs.iter().zip(realisations) {
            for realisation in realisations {
                keep(dir, &run.id, table, realisation)?;
            }
        }
        self.write(dir)?;
        let mut gone = before.iter().filter(|old| self.runs.iter().all(|run| run.id != old.id));
        gone.try_for_each(|old| forget(dir, &old.id))
    }

    /// Moves the runs out of the project in one folder into a project of its own in another, new one, which gets
    /// everything else too. Whatever interrupts this, no realisation is lost.
    ///
    /// # Errors
    /// When either folder cannot be written; the runs are where they were then.
    pub fn move_runs(&mut self, dir: &Path, to: &Path) -> Result<()> {
        make_folder(to, |hidden| {
            self.write(hidden)?;
            self.runs.iter().try_for_each(|run| copy_files(&run.id.folder(dir), &run.id.folder(hidden)))
        })?;
        let moved = std::mem::take(&mut self.runs);
        if let Err(error) = self.write(dir) {
            self.runs = moved;
            return Err(error);
        }
        moved.iter().try_for_each(|run| forget(dir, &run.id))
    }
}

/// Copies the realisations of a run, or has them lie in both folders where the disk can do that.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let (file, copy) = (entry.path(), to.join(entry.file_name()));
        if is_realisation(&file) {
            std::fs::create_dir_all(to).map_err(|e| Error::io(to, "create", &e))?;
            let copied = std::fs::hard_link(&file, &copy).or_else(|_| std::fs::copy(&file, &copy).map(|_| ()));
            copied.map_err(|e| Error::io(&copy, "write", &e))?;
        }
    }
    Ok(())
}

fn is_realisation(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "safetensors")
}

/// Removes the realisations of a run: files this program writes, and the folder if nothing else is in it.
///
/// # Errors
/// When a file cannot be removed.
pub fn forget(dir: &Path, run: &RunId) -> Result<()> {
    let folder = run.folder(dir);
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_realisation(&path) {
            std::fs::remove_file(&path).map_err(|e| Error::io(&path, "remove", &e))?;
        }
    }
    // What else lies there is not ours.
    let _ = std::fs::remove_dir(&folder);
    Ok(())
}

/// Puts a project file that cannot be read out of the way, so that the next one does not replace it; its new name.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(PROJECT_FILE);
    let aside = dir.join(format!("project-unread-{}.json", jiff::Timestamp::now().as_millisecond()));
    std::fs::rename(&path, &aside).map_err(|e| Error::io(&path, "rename", &e))?;
    Ok(aside)
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn file_of(dir: &Path, run: &RunId, index: u64) -> PathBuf {
    run.folder(dir).join(format!("{index:06}.safetensors"))
}

/// Whether a realisation lies there.
pub fn is_kept(dir: &Path, run: &RunId, index: u64) -> bool {
    file_of(dir, run, index).is_file()
}

/// Writes one finished realisation.
///
/// # Errors
/// When the folder cannot be written.
pub fn keep(dir: &Path, run: &RunId, table: &ModalityTable, realisation: &Realisation) -> Result<()> {
    let mut tensors = BTreeMap::new();
    let mut notes = HashMap::from([
        ("synthetic".to_owned(), "yes".to_owned()),
        ("index".to_owned(), realisation.index.to_string()),
        ("seed".to_owned(), realisation.seed.to_string()),
        (COMPUTED.to_owned(), realisation.computed.clone()),
    ]);
    for (i, (m, value)) in table.iter().zip(&realisation.values).enumerate() {
        match value {
            Some(Value::Image(r)) => {
                tensors.insert(m.name.clone(), TensorData::new(vec![r.channels, r.height, r.width], &r.data));
                for (name, mask) in [(valid_name(m), r.valid()), (kept_name(m), realisation.kept.get(&i))] {
                    if let Some(mask) = mask {
                        tensors.insert(name, TensorData::new(vec![r.height, r.width], &mask.numbers()));
                    }
                }
            }
            Some(Value::Location(at)) => {
                notes.insert(m.name.clone(), serde_json::to_string(at).map_err(|e| Error::Compute(e.to_string()))?);
            }
            Some(Value::Date(date)) => {
                notes.insert(m.name.clone(), date.to_string());
            }
            None => {}
        }
    }
    write_tensors(&file_of(dir, run, realisation.index), &tensors, Some(notes)).map(drop)
}

/// Under this name lies how a realisation was computed.
const COMPUTED: &str = "computed";

/// Under this name lies where a modality is valid (1) and where not (0), if it is not valid everywhere.
fn valid_name(m: &Modality) -> String {
    format!("{}.valid", m.name)
}

/// Under this name lies which pixels of a partly given modality are observed (1) and which are sampled (0).
fn kept_name(m: &Modality) -> String {
    format!("{}.kept", m.name)
}

/// Float32 numbers of a tensor.
fn numbers(data: &TensorData) -> impl Iterator<Item = f32> {
    data.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// All realisations of a run that can be read, by number, and what cannot.
pub fn kept(dir: &Path, run: &RunId, table: &ModalityTable) -> (Vec<Realisation>, Vec<Error>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(run.folder(dir)).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_realisation(&path) {
            match read_realisation(&path, table) {
                Ok(realisation) => found.push(realisation),
                Err(error) => problems.push(error),
            }
        }
    }
    found.sort_by_key(|r| r.index);
    found.dedup_by_key(|r| r.index);
    (found, problems)
}

fn read_realisation(path: &Path, table: &ModalityTable) -> Result<Realisation> {
    let bad = |what: &str| Error::file(path, format!("This is not a realisation of this model: {what}"));
    let SafetensorsContent { mut tensors, notes, .. } = read_safetensors(path)?;
    let number = |name: &str| notes.get(name).and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| bad(name));
    let (mut values, mut covered, mut kept) = (Vec::new(), None, BTreeMap::new());
    for (i, m) in table.iter().enumerate() {
        values.push(match (tensors.remove(&m.name), notes.get(&m.name)) {
            (Some(data), _) => {
                let (rows, columns) = match *data.shape.as_slice() {
                    [channels, rows, columns] if !m.is_scalar() && channels == m.channels.len() => (rows, columns),
                    _ => return Err(bad(&format!("{} has another size", m.name))),
                };
                // All cover the same ground, whatever the size of a network's window.
                let ground = [rows, columns].map(|pixels| pixels as f64 * m.ground_m);
                if ground.contains(&0.0) || *covered.get_or_insert(ground) != ground {
                    return Err(bad(&format!("{} covers other ground", m.name)));
                }
                let raster = Raster::new(m.channels.len(), rows, columns, numbers(&data).collect());
                let raster = raster.map_err(|_| bad(&format!("{} is not float32", m.name)))?;
                let mut mask = |name: &str| -> Result<Option<Mask>> {
                    let Some(data) = tensors.remove(name) else { return Ok(None) };
                    let set: Vec<bool> = numbers(&data).map(|v| v > 0.0).collect();
                    match set.len() == rows * columns {
                        true => Ok(Some(Mask::from_fn(rows, columns, |pixel| set[pixel]))),
                        false => Err(bad(&format!("{name} has another size"))),
                    }
                };
                if let Some(mask) = mask(&kept_name(m))? {
                    kept.insert(i, mask);
                }
                Some(Value::Image(match mask(&valid_name(m))? {
                    Some(valid) => raster.with_valid(&valid)?,
                    None => raster,
                }))
            }
            (None, Some(text)) => Some(match serde_json::from_str::<Location>(text) {
                Ok(at) => Value::Location(at),
                Err(_) => Value::Date(text.parse().map_err(|_| bad(&format!("{} is no value", m.name)))?),
            }),
            (None, None) => None,
        });
    }
    let computed = notes.get(COMPUTED).cloned().unwrap_or_default();
    Ok(Realisation { index: number("index")?, seed: number("seed")?, values, kept, computed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realisation(table: &ModalityTable, index: u64) -> Realisation {
        let value = |m: &crate::modality::Modality| match m.name.as_str() {
            "location" => Some(Value::Location(Location { lat: -33.123_456_789, lon: 18.4 })),
            "date" => Some(Value::Date(jiff::civil::date(2023, 2, 28))),
            "DEM" | "LULC" => None,
            _ => {
                let mut raster = Raster::constant(m.channels.len(), m.pixels, m.pixels, 0.0);
                raster.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i as f32 * 0.37 + index as f32).sin());
                if m.name == "S1RTC" {
                    let valid = Mask::from_fn(m.pixels, m.pixels, |pixel| pixel % 7 != 3);
                    raster = raster.with_valid(&valid).expect("mask");
                }
                Some(Value::Image(raster))
            }
        };
        let computed = "f32 on CPU with avx2".to_owned();
        Realisation { index, seed: 7, values: table.iter().map(value).collect(), computed, ..Realisation::default() }
    }

    fn id(name: &str) -> RunId {
        RunId::try_from(name.to_owned()).expect("a name")
    }

    fn project(run: &str, request: Request) -> Project {
        Project {
            version: VERSION,
            model: "models/demo".into(),
            scenes: vec!["a".into(), "b".into()],
            picked: Some(Picked::Cell("618U_30L".into())),
            window: Window::At { east_m: 60.0, south_m: 120.0 },
            roles: BTreeMap::from([("DEM".into(), Role::Given)]),
            typed: BTreeMap::from([("date".into(), "2023-02-28".into())]),
            keep: BTreeMap::new(),
            samples: 4,
            options: SamplerOptions { steps: 20, ..SamplerOptions::default() },
            post: PostOptions::default(),
            computing: Computing { device: crate::model::DeviceChoice::Cpu, precision: crate::model::Precision::I16 },
            seed: 7,
            random_seed: true,
            runs: vec![KeptRun { request, id: id(run), model_sha256: "0".into(), made_by: None }],
            shown: 0,
        }
    }

    fn request(table: &ModalityTable) -> Request {
        Request {
            model: "models/demo".into(),
            place: crate::job::Place::scene("a", Window::Centre),
            roles: crate::sampler::Roles::new(table, &[2], None).expect("roles"),
            set: BTreeMap::new(),
            keep: BTreeMap::new(),
            samples: 2,
            first: 0,
            seed: 7,
            batch: 2,
            computing: Default::default(),
            options: crate::sampler::SamplerOptions::default(),
            post: crate::modality::PostOptions::default(),
        }
    }

    #[test]
    fn what_is_kept_comes_back_bit_for_bit() {
        let table = ModalityTable::published();
        let dir = tempfile::tempdir().expect("folder");
        let realisations = [realisation(&table, 3), realisation(&table, 0)].map(Arc::new);
        let written = project("run-1", request(&table));
        written.write_with(dir.path(), &table, &[realisations.to_vec()]).expect("written");
        assert!(Project::is_at(dir.path()));
        assert_eq!(Project::read(dir.path()).expect("read"), written);
        let (found, problems) = kept(dir.path(), &id("run-1"), &table);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(found, [(*realisations[1]).clone(), (*realisations[0]).clone()]);
    }

    #[test]
    fn another_project_replaces_its_own_files_and_nothing_else() {
        let table = ModalityTable::published();
        let dir = tempfile::tempdir().expect("folder");
        // Folders of the user's that look like ours.
        for name in ["run-9", "run-1"] {
            std::fs::create_dir(dir.path().join(name)).expect("a folder of the user's");
            std::fs::write(dir.path().join(name).join("notes.txt"), "mine").expect("a file of the user's");
        }
        let first = project("run-1", request(&table));
        first.write_with(dir.path(), &table, &[vec![Arc::new(realisation(&table, 0))]]).expect("written");
        let second = project("run-2", request(&table));
        second.write_with(dir.path(), &table, &[Vec::new()]).expect("written");
        let left = |name: &str| std::fs::read_dir(dir.path().join(name)).map(|files| files.count()).unwrap_or(0);
        assert_eq!((left("run-1"), left("run-9")), (1, 1), "the user's files stay, ours are gone");
        // The session's own write removes nothing at all.
        keep(dir.path(), &id("run-3"), &table, &realisation(&table, 0)).expect("kept");
        second.write(dir.path()).expect("written");
        assert_eq!(left("run-3"), 1);
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_not_replaced() {
        let dir = tempfile::tempdir().expect("folder");
        std::fs::write(dir.path().join(PROJECT_FILE), "{\"version\": 99}").expect("a newer project");
        let aside = set_aside(dir.path()).expect("set aside");
        assert!(!Project::is_at(dir.path()) && std::fs::read_to_string(aside).is_ok_and(|text| text.contains("99")));
    }

    #[test]
    fn damage_is_told_and_the_rest_comes_back() {
        let table = ModalityTable::published();
        let dir = tempfile::tempdir().expect("folder");
        for index in 0..3 {
            keep(dir.path(), &id("run-1"), &table, &realisation(&table, index)).expect("kept");
        }
        let path = dir.path().join("run-1/000001.safetensors");
        let bytes = std::fs::read(&path).expect("bytes");
        for length in [0, 7, 100, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).expect("cut");
            let (found, problems) = kept(dir.path(), &id("run-1"), &table);
            assert_eq!(found.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 2], "cut at {length}");
            assert_eq!(problems.len(), 1);
        }
        assert!(kept(dir.path(), &id("run-9"), &table).0.is_empty());
        for text in ["", "{}", "{\"version\": 9}", "[]"] {
            std::fs::write(dir.path().join(PROJECT_FILE), text).expect("write");
            assert!(Project::read(dir.path()).is_err(), "{text}");
        }
        let text = serde_json::to_string(&project("run-1", request(&table))).expect("json");
        std::fs::write(dir.path().join(PROJECT_FILE), text.replace("run-1", "../../etc")).expect("write");
        assert!(Project::read(dir.path()).is_err());
    }

    #[test]
    fn runs_that_are_moved_are_whole_in_their_own_project_and_gone_from_the_other() {
        let table = ModalityTable::published();
        let dir = tempfile::tempdir().expect("folder");
        let (session, own) = (dir.path().join("session"), dir.path().join("session/earlier/one"));
        let realisations = [realisation(&table, 0), realisation(&table, 1)].map(Arc::new);
        let before = project("run-1", request(&table));
        before.write_with(&session, &table, &[realisations.to_vec()]).expect("written");
        let mut now = before.clone();
        // Where nothing can be written, nothing is lost.
        std::fs::write(dir.path().join("session/earlier"), "in the way").expect("file");
        now.move_runs(&session, &own).expect_err("no folder");
        assert_eq!((&now, &Project::read(&session).expect("read")), (&before, &before));
        std::fs::remove_file(dir.path().join("session/earlier")).expect("out of the way");
        now.move_runs(&session, &own).expect("moved");
        assert!(now.runs.is_empty() && Project::read(&session).expect("read") == now);
        assert!(!id("run-1").folder(&session).exists());
        assert_eq!(Project::read(&own).expect("read"), before);
        let (found, problems) = kept(&own, &id("run-1"), &table);
        assert!(problems.is_empty() && found == realisations.map(|made| (*made).clone()), "{problems:?}");
    }

    #[test]
    fn projects_of_earlier_versions_do_not_tell_the_model_and_open() {
        let table = ModalityTable::published();
        let dir = tempfile::tempdir().expect("folder");
        let written = project("run-1", request(&table));
        let mut text = serde_json::to_value(&written).expect("json");
        let run = text["runs"][0].as_object_mut().expect("a run");
        assert!(run.remove("made_by").is_some() && run.contains_key("folder"));
        std::fs::write(dir.path().join(PROJECT_FILE), text.to_string()).expect("file");
        assert_eq!(Project::read(dir.path()).expect("read"), written);
    }
}
