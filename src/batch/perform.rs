//! One job: its row becomes the request of `generate`, and what it delivers a folder that appears whole.

use super::columns::{Columns, RowOptions};
use super::fetching;
use super::pins::Pins;
use super::plan::Row;
use super::store::{ITEM_FILE, RECORD_FILE, Record, RecordedFile, Store, key};
use crate::error::{Error, Result};
use crate::export::{Delivery, ExportRequest, InCollection};
use crate::files::hex;
use crate::job::{Event, enough_memory, run};
use crate::model::{Computing, Model};
use crate::net::Network;
use crate::process::memory_limit;
use crate::source::Kept;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Identifies the collection of a store's plan.
pub(super) fn collection_id(plan_sha256: &str) -> String {
    format!("copgen-batch-{}", plan_sha256.get(..12).unwrap_or(plan_sha256))
}

/// What all jobs of a worker have in common.
pub(super) struct Bench<'a> {
    pub store: &'a dyn Store,
    pub model: &'a Model,
    pub computing: Computing,
    pub pins: &'a Pins,
    /// Identifies the collection that the items are part of.
    pub collection: String,
    /// Where relative paths of rows begin.
    pub base: PathBuf,
    pub network: Network,
}

impl Bench<'_> {
    /// What identifies the result of a row.
    pub(super) fn key(&self, row: &Row) -> String {
        key(&row.sha256(), self.pins)
    }

    /// Does a job; the number of its network evaluations.
    pub(super) fn perform(
        &self,
        row: &Row,
        columns: &mut Columns,
        cancel: &Arc<AtomicBool>,
        note: &mut dyn FnMut(&str),
    ) -> Result<usize> {
        let mut options = row.options(columns)?;
        if let Some(scene) = fetching::scene(self, row, &options, cancel)? {
            options.asked.scene = Some(scene);
            options.asked.cell = None;
        }
        let stage = self.store.stage()?;
        // Errors tell of where things appear, as far as they are files of the job.
        let seen = |e: Error| e.moved(stage.path(), Path::new(&row.name));
        let evaluations = self.compute(row, &options, stage.path(), cancel, note).map_err(seen)?;
        let record = Record { job: row.name.clone(), row: row.number, key: self.key(row), files: files(stage.path())? };
        let text = serde_json::to_vec_pretty(&record).map_err(|e| Error::Compute(format!("No record: {e}.")))?;
        let path = stage.path().join(RECORD_FILE);
        std::fs::write(&path, text).map_err(|e| Error::io(&path, "write", &e))?;
        self.store.publish(&row.name, stage)?;
        Ok(evaluations)
    }

    fn compute(
        &self,
        row: &Row,
        options: &RowOptions,
        dir: &Path,
        cancel: &Arc<AtomicBool>,
        note: &mut dyn FnMut(&str),
    ) -> Result<usize> {
        let manifest = &self.model.manifest;
        let request = options.asked.request(manifest, self.model.dir.clone(), self.computing)?.based(&self.base);
        let ground = request.place.footprint(&manifest.modalities)?;
        enough_memory(manifest, &request, &ground, memory_limit())?;
        let _in_use = Kept::usual().and_then(|kept| kept.hold(options.asked.scene.as_deref()?));
        let collection = InCollection {
            id: self.collection.clone(),
            href: "../../collection.json".to_owned(),
            item: row.name.clone(),
        };
        let wanted = ExportRequest {
            dir: dir.to_path_buf(),
            stac: true,
            created: Some(self.pins.created),
            collection: Some(collection),
            ..ExportRequest::default()
        };
        let mut out = Delivery::new(wanted, &options.files, self.model, &request);
        let (mut evaluations, mut other) = (0, None);
        // The job's own: a failure to write stops it alone.
        let stop = AtomicBool::new(false);
        let result = run(self.model, &request, &stop, false, &mut |event| {
            match &event {
                Event::Progress { total, .. } => evaluations = *total,
                Event::Realisation(made) if made.computed != self.pins.computed => {
                    other.get_or_insert_with(|| made.computed.clone());
                }
                _ => {}
            }
            out.take(event, &stop, note);
            if cancel.load(std::sync::atomic::Ordering::Relaxed) || other.is_some() {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        });
        if let Some(other) = other {
            return Err(Error::Device(format!(
                "It was computed as {other}, and the store was begun with {}; run it again where that device works.",
                self.pins.computed
            )));
        }
        out.finish().and(result)?;
        if dir.join(ITEM_FILE).is_file() {
            Ok(evaluations)
        } else {
            Err(Error::Compute("Nothing was generated.".into()))
        }
    }
}

/// Length and hash of each file of a job.
fn files(dir: &Path) -> Result<BTreeMap<String, RecordedFile>> {
    let unreadable = |path: &Path, e: std::io::Error| Error::io(path, "read", &e);
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| unreadable(dir, e))? {
        let path = entry.map_err(|e| unreadable(dir, e))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let mut hash = Sha256::new();
        let mut file = std::fs::File::open(&path).map_err(|e| unreadable(&path, e))?;
        let bytes = std::io::copy(&mut file, &mut hash).map_err(|e| unreadable(&path, e))?;
        found.insert(name.to_owned(), RecordedFile { bytes, sha256: hex(&hash.finalize()) });
    }
    Ok(found)
}
