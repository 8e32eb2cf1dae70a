//! Published files become a model folder.

use super::catalog::{Entry, Part};
use super::fetch::{Fetch, Progress, RateMeter, bytes_present};
use super::folder::{LockedFolder, Record};
use super::library::Library;
use super::repository::{Hub, Remote, explained};
use super::request::InstallRequest;
use crate::error::{Error, Result};
use crate::files::{make_folder, size_text};
use crate::modality::{Modality, ModalityTable};
use crate::model::{
    AutoencoderEntry, DENOISER_FILE, MANIFEST_FILE, Manifest, Origin, Published, check_autoencoder, check_denoiser,
    convert, sha256_of, write_manifest,
};
use crate::net::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Progress is reported at most this often.
const PAUSE: Duration = Duration::from_millis(100);

/// Where published files come from.
pub enum Source<'a> {
    /// The hub, or its cache on this machine.
    Hub(&'a Hub, &'a Network),
    /// A folder that holds them, in whatever folders below.
    Folder(&'a Path),
}

/// Installs a model of the catalogue in the library, or the parts of it that are not here yet. The manifest is written
/// last; an installation that is interrupted goes on where it stopped.
///
/// # Errors
/// When the request makes no sense, files cannot be had or do not fit, the disk is too small, or [`Error::Cancelled`].
pub fn install(
    library: &Library,
    request: &InstallRequest,
    source: &Source,
    stop: &AtomicBool,
    report: &mut dyn FnMut(&Progress),
) -> Result<Manifest> {
    let entry = library.entry(&request.id)?;
    if entry.bundled.is_some() {
        return Err(Error::request(format!("{} comes with the program; there is nothing to fetch.", entry.id)));
    }
    let wanted = entry.wanted(request.modalities.as_deref())?;
    let folder = LockedFolder::new(&library.dir.join(&entry.id))?;
    folder.remove_leftovers();
    let record = record(&folder.dir, entry, request)?;
    let mut work = Installation {
        entry,
        folder,
        record,
        stop,
        report,
        last_report: None,
        progress: Progress::default(),
        meter: RateMeter::default(),
    };
    let done = work.run(&wanted, source, request.modalities.is_some());
    if let Err(error) = &done {
        // What failed does not begin again by itself.
        if !matches!(error, Error::Cancelled)
            && let Err(second) = super::folder::pause(&work.folder.dir)
        {
            tracing::warn!("{second}");
        }
        work.folder.remove_if_empty();
    }
    done
}

/// What is there already.
fn record(dir: &Path, entry: &Entry, request: &InstallRequest) -> Result<Record> {
    let begun = Record::read(dir);
    let mut record = begun.clone().unwrap_or(Record { half: request.half, ..Record::default() });
    if dir.join(MANIFEST_FILE).exists() {
        let manifest = Manifest::open(dir)?;
        if manifest.origin.as_ref().is_none_or(|origin| origin.id != entry.id) {
            return Err(Error::file(
                dir,
                format!("There is another model in this folder ({}); remove it first", manifest.name),
            ));
        }
        let whole = Record::of(manifest);
        let (autoencoders, published) = (record.autoencoders, record.published);
        record = whole;
        record.autoencoders.extend(autoencoders);
        record.published.extend(published);
    }
    if request.half && !record.half {
        return Err(Error::request(format!(
            "{} is here in single precision, at least in part; remove it first to have it in half precision: copgen models remove {}",
            entry.name, entry.id
        )));
    }
    record.wanted.clone_from(&request.modalities);
    Ok(record)
}

/// Where a published file can be had.
struct PartSource<'a> {
    part: &'a Part,
    /// On this machine, with the hash it must have, if one is known.
    local: Option<(PathBuf, Option<String>)>,
    remote: Option<Remote>,
    bytes: u64,
}

/// A published file on this machine whose hash was checked.
struct PublishedFile {
    path: PathBuf,
    sha256: String,
    bytes: u64,
    /// Whether it was fetched for this alone.
    temporary: bool,
}

struct Installation<'a> {
    entry: &'a Entry,
    folder: LockedFolder,
    record: Record,
    stop: &'a AtomicBool,
    report: &'a mut dyn FnMut(&Progress),
    last_report: Option<Instant>,
    progress: Progress,
    meter: RateMeter,
}

impl Installation<'_> {
    fn run(&mut self, wanted: &[&Part], source: &Source, chosen: bool) -> Result<Manifest> {
        let todo = wanted.iter().copied().filter(|part| !self.record.holds(&self.folder.dir, self.entry, part));
        let todo: Vec<&Part> = todo.collect();
        self.begin_stage("looking for the files");
        let found = match source {
            Source::Hub(hub, network) => {
                todo.into_iter().map(|part| self.at_hub(part, hub, network)).collect::<Result<Vec<_>>>()?
            }
            Source::Folder(dir) => self.in_folder(todo, dir, chosen)?,
        };
        self.progress.total = found.iter().map(|found| found.bytes).sum();
        self.enough_room(&found)?;
        // From here on it goes on after an interruption.
        self.record.write(&self.folder.dir)?;
        let mut before = 0;
        for found in &found {
            self.stop_if_asked()?;
            let raw = self.fetched(found, source, before)?;
            self.converted(found.part, &raw)?;
            before += found.bytes;
            self.progress.done = before;
        }
        let manifest = manifest_of(self.entry, &self.record)?;
        write_manifest(&self.folder.dir, &manifest)?;
        self.folder.finish()?;
        Ok(manifest)
    }

    fn begin_stage(&mut self, what: impl Into<String>) {
        self.progress.what = what.into();
        (self.progress.bytes_per_s, self.progress.left, self.last_report) = (0.0, None, None);
        (self.report)(&self.progress);
    }

    fn stop_if_asked(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Looks for a part: what the server describes, from the cache of this machine if it lies there.
    fn at_hub<'b>(&self, part: &'b Part, hub: &Hub, network: &Network) -> Result<PartSource<'b>> {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let cached = hub.cached(part);
        match (hub.describe(network, part, self.stop), cached) {
            (Ok(remote), cached) => {
                let local = cached.filter(|(path, _)| length(path) == remote.bytes && remote.sha256.is_some());
                let local = local.map(|(path, _)| (path, remote.sha256.clone()));
                Ok(PartSource { part, local, bytes: remote.bytes, remote: Some(remote) })
            }
            (Err(Error::Cancelled), _) => Err(Error::Cancelled),
            (Err(error), cached) => {
                // Only what a hash vouches for is as good as what the server would send.
                let known = part.sha256.as_ref().map(|text| text.to_lowercase());
                match cached.map(|(path, named)| (path, known.or(named))) {
                    Some((path, Some(expected))) => {
                        let bytes = length(&path);
                        Ok(PartSource { part, local: Some((path, Some(expected))), remote: None, bytes })
                    }
                    _ => Err(error),
                }
            }
        }
    }

    /// Looks for parts in a folder; with `chosen`, all must be there, else the denoiser.
    fn in_folder<'b>(&self, todo: Vec<&'b Part>, dir: &Path, chosen: bool) -> Result<Vec<PartSource<'b>>> {
        let files = files_below(dir)?;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for part in todo {
            let mut fits = files.iter().filter(|path| path.ends_with(&part.file));
            match fits.next() {
                None if chosen || part.modalities.is_empty() => missing.push(part.file.as_str()),
                None => {}
                Some(path) => {
                    let same = |other: &PathBuf| matches!((other.canonicalize(), path.canonicalize()), (Ok(a), Ok(b)) if a == b);
                    if let Some(other) = fits.find(|other| !same(other)) {
                        let text = format!(
                            "Both this and {} may be meant; name a folder that holds only one",
                            other.display()
                        );
                        return Err(Error::file(path, text));
                    }
                    let bytes = std::fs::metadata(path).map_err(|e| Error::io(path, "read", &e))?.len();
                    let expected = part.sha256.as_ref().map(|text| text.to_lowercase());
                    found.push(PartSource { part, local: Some((path.clone(), expected)), remote: None, bytes });
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        Err(Error::file(dir, format!("These files are in no folder below: {}", missing.join(", "))))
    }

    /// Makes sure that the disk can hold what is fetched and what is made of it.
    fn enough_room(&self, found: &[PartSource]) -> Result<()> {
        let dir = &self.folder.dir;
        let converted = self.progress.total / if self.record.half { 2 } else { 1 };
        let fetched =
            found.iter().filter_map(|found| Some((found, found.remote.as_ref().filter(|_| found.local.is_none())?)));
        // Each is removed once it is converted.
        let most = fetched.map(|(found, remote)| {
            remote.bytes
                - bytes_present(&self.folder.download(&file_name(self.entry, found.part), &found.part.file), remote)
        });
        let needed = converted.saturating_add(most.max().unwrap_or(0));
        let free = fs4::available_space(dir).map_err(|e| Error::io(dir, "look at", &e))?;
        if needed <= free {
            return Ok(());
        }
        Err(Error::file(
            dir,
            format!(
                "Installing this needs {} on this disk, and {} are free: free some space, take fewer modalities, or choose a folder on another disk (COPGEN_MODELS)",
                size_text(needed),
                size_text(free)
            ),
        ))
    }

    /// The file, from this machine if it has the right content, else from the server.
    fn fetched(&mut self, found: &PartSource, source: &Source, before: u64) -> Result<PublishedFile> {
        let part = found.part;
        if let Some((path, expected)) = &found.local {
            self.begin_stage(format!("checking {}", part.title()));
            let sha256 = sha256_of(path)?;
            match expected {
                Some(expected) if *expected != sha256 && found.remote.is_none() => {
                    let text = format!(
                        "The file is damaged or another one: its sha256 is {sha256}, expected {expected}. Fetch it again"
                    );
                    return Err(Error::file(path, text));
                }
                Some(expected) if *expected != sha256 => {}
                _ => return Ok(PublishedFile { path: path.clone(), sha256, bytes: found.bytes, temporary: false }),
            }
        }
        let (Some(remote), Source::Hub(hub, network)) = (&found.remote, source) else {
            return Err(Error::request(format!("{} is not to be had.", part.file)));
        };
        let target = self.folder.download(&file_name(self.entry, part), &part.file);
        self.begin_stage(format!("downloading {}", part.title()));
        let headers = hub.headers();
        let fetch = Fetch { network, remote, headers: &headers, target: &target };
        let mut last = None;
        self.meter = RateMeter::default();
        let sha256 = fetch
            .run(self.stop, &mut |bytes| self.received(&mut last, bytes, before))
            .map_err(|e| explained(e, part))?;
        Ok(PublishedFile { path: target, sha256, bytes: remote.bytes, temporary: true })
    }

    fn received(&mut self, last: &mut Option<u64>, bytes: u64, before: u64) {
        self.progress.done = before + bytes;
        if self.last_report.is_some_and(|last_report| last_report.elapsed() < PAUSE) {
            return;
        }
        // What was here at the start was not fetched now.
        let fresh = bytes.saturating_sub(last.unwrap_or(bytes));
        *last = Some(bytes);
        let speed = self.meter.add(fresh);
        self.progress.bytes_per_s = speed;
        let left = self.progress.total.saturating_sub(self.progress.done) as f64 / speed;
        self.progress.left = Duration::try_from_secs_f64(left).ok();
        self.last_report = Some(Instant::now());
        (self.report)(&self.progress);
    }

    fn converted(&mut self, part: &Part, raw: &PublishedFile) -> Result<()> {
        self.begin_stage(format!("converting {}", part.title()));
        let (dir, file) = (self.folder.dir.clone(), file_name(self.entry, part));
        let own = convert_part(self.entry, part, &raw.path, &dir, self.record.half)?;
        match own {
            Converted::Denoiser(table, denoiser) => {
                (self.record.table, self.record.denoiser) = (Some(table), Some(denoiser))
            }
            Converted::Autoencoders(entries) => self.record.autoencoders.extend(entries),
        }
        let (repository, name) = (part.repository.clone(), part.file.clone());
        let published = Published { repository, file: name, sha256: raw.sha256.clone(), bytes: raw.bytes };
        self.record.published.insert(file.into(), published);
        self.record.write(&dir)?;
        if raw.temporary {
            std::fs::remove_file(&raw.path).map_err(|e| Error::io(&raw.path, "remove", &e))?;
        }
        Ok(())
    }
}

enum Converted {
    Denoiser(ModalityTable, (crate::model::DenoiserSizes, crate::model::WeightFile)),
    Autoencoders(BTreeMap<String, AutoencoderEntry>),
}

/// Loads a published file strictly, then writes it into a model folder.
fn convert_part(entry: &Entry, part: &Part, path: &Path, dir: &Path, half: bool) -> Result<Converted> {
    let file = file_name(entry, part);
    if part.modalities.is_empty() {
        let (table, sizes) = check_denoiser(path, entry.modalities.clone(), entry.heads)?;
        return Ok(Converted::Denoiser(table, (sizes, convert(path, dir, &file, half)?)));
    }
    let modalities = modalities_of(entry, part);
    let sizes = check_autoencoder(path, &modalities)?;
    let weights = convert(path, dir, &file, half)?;
    let own = |m: &&Modality| (m.key.clone(), AutoencoderEntry { sizes: sizes.clone(), weights: weights.clone() });
    Ok(Converted::Autoencoders(modalities.iter().map(own).collect()))
}

fn modalities_of<'a>(entry: &'a Entry, part: &Part) -> Vec<&'a Modality> {
    part.modalities.iter().filter_map(|name| entry.modalities.iter().find(|m| m.name == *name)).collect()
}

/// The file of a part in the model folder.
fn file_name(entry: &Entry, part: &Part) -> String {
    match modalities_of(entry, part).as_slice() {
        [] => DENOISER_FILE.into(),
        [first, rest @ ..] if rest.is_empty() || entry.autoencoders.len() > 1 => crate::model::autoencoder_file(first),
        _ => "autoencoder.safetensors".into(),
    }
}

/// What a model folder says of itself.
fn manifest_of(entry: &Entry, record: &Record) -> Result<Manifest> {
    let incomplete = || Error::request(format!("{} has no denoiser yet.", entry.name));
    let (denoiser, denoiser_weights) = record.denoiser.clone().ok_or_else(incomplete)?;
    let modalities = record.table.clone().ok_or_else(incomplete)?;
    let images = modalities.iter().filter(|m| !m.is_scalar()).map(|m| m.key.clone());
    let absent: BTreeSet<String> = images.filter(|key| !record.autoencoders.contains_key(key)).collect();
    let half = if record.half { " Converted to half precision." } else { "" };
    let origin = Origin { id: entry.id.clone(), half: record.half, absent, published: record.published.clone() };
    let manifest = Manifest {
        name: entry.name.clone(),
        description: format!("{}{half}", entry.description),
        licence: entry.licence.clone(),
        attribution: entry.attribution.clone(),
        modalities,
        denoiser: Some(denoiser),
        denoiser_weights,
        autoencoders: record.autoencoders.clone(),
        cascade: None,
        origin: Some(origin),
    };
    manifest.check()?;
    Ok(manifest)
}

/// Converts published files that are named one by one into a model folder anywhere: the denoiser, and a folder that holds
/// the autoencoders as the catalogue lays them out. The folder appears when it is whole; what an import that was killed
/// left beside it is removed by the next one.
///
/// # Errors
/// When a file is missing or does not fit, something lies in the target already, or it cannot be written. Then the target
/// is as it was.
pub fn import_files(
    entry: &Entry,
    denoiser: &Path,
    autoencoders: &Path,
    out: &Path,
    half: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<Manifest> {
    if out.join(MANIFEST_FILE).exists() {
        return Err(Error::file(out, "There is already a model in this folder; choose another one"));
    }
    if out.join(DENOISER_FILE).exists() {
        let text = format!(
            "There is an import in this folder that broke off ({DENOISER_FILE} without {MANIFEST_FILE}); remove the folder or choose another one"
        );
        return Err(Error::file(out, text));
    }
    let path_of = |part: &Part| match part.modalities.as_slice() {
        [] => denoiser.to_path_buf(),
        _ => autoencoders.join(&part.file),
    };
    make_folder(out, |dir| {
        let mut record = Record { half, ..Record::default() };
        for part in entry.parts() {
            progress(&format!("converting {}", part.title()));
            match convert_part(entry, part, &path_of(part), dir, half)? {
                Converted::Denoiser(table, denoiser) => (record.table, record.denoiser) = (Some(table), Some(denoiser)),
                Converted::Autoencoders(entries) => record.autoencoders.extend(entries),
            }
        }
        let manifest = manifest_of(entry, &record)?;
        // The folder is the user's own, not the library's.
        let manifest = Manifest { origin: None, ..manifest };
        write_manifest(dir, &manifest)?;
        Ok(manifest)
    })
}

/// All files below a folder; links to files count, those to folders do not.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    const MOST: usize = 200_000;
    let (mut open, mut files) = (vec![dir.to_path_buf()], Vec::new());
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, "read", &e))?;
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(_) if path.is_file() => files.push(path),
                _ => {}
            }
        }
        if files.len() + open.len() > MOST {
            return Err(Error::file(
                dir,
                "There are too many files below this folder; name the one that holds the model",
            ));
        }
    }
    files.sort();
    Ok(files)
}
