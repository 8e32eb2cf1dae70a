//! Where a batch keeps its plan, its pins and what is finished: a folder that all workers see, or a bucket.
//!
//! `batch.json` says of which plan it is and what it was begun with, `plan.csv` is the plan. A finished job is
//! `jobs/NAME/`, with `job.json` naming all its files; in a folder it appears by one renaming, in a bucket `job.json` comes last
//! and nothing counts without it. `claims/` says who works on what, `failed/` why a job failed, `items/` what was fetched for
//! a job, `log/` how long things took.

use super::folder::FolderStore;
use super::pins::Pins;
use super::plan::PlanIdentity;
use crate::error::{Error, Result};
use crate::files::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The file of a store that says what it is.
pub(super) const BATCH_FILE: &str = "batch.json";
/// The plan in it.
pub(super) const PLAN_FILE: &str = "plan.csv";
/// The last file of a finished job.
pub(super) const RECORD_FILE: &str = "job.json";
/// The STAC item of a finished job.
pub(super) const ITEM_FILE: &str = "item.json";

/// Raised when stores of before cannot be gone on with.
pub(super) const FORMAT: u32 = 1;

/// `batch.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub format: u32,
    pub plan: PlanIdentity,
    pub pins: Pins,
}

/// `job.json`: nothing in it depends on who made it when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub job: String,
    pub row: usize,
    /// Of what the row asks for and the store's pins.
    pub key: String,
    /// Length and SHA-256 by name of the file.
    pub files: BTreeMap<String, RecordedFile>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RecordedFile {
    pub bytes: u64,
    pub sha256: String,
}

/// Held while a job is worked on; given back when dropped.
pub(super) trait Claim: Send {}

/// A place for results. Paths are relative, with `/`.
pub(super) trait Store: Send + Sync {
    /// For people.
    fn address(&self) -> String;
    /// The bytes of a file; `None` if there is none.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;
    /// Writes a file at once, unless it is there: whether it was written.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool>;
    /// Writes a file at once.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<()>;
    /// Writes a file that lies on the disk.
    fn put(&self, path: &str, file: &Path) -> Result<()>;
    /// Adds lines to a file that this worker alone writes.
    fn append(&self, path: &str, text: &str) -> Result<()>;
    /// Removes a file; done, too, if there is none.
    fn remove(&self, path: &str) -> Result<()>;
    /// Names right in a folder of the store.
    fn list(&self, folder: &str) -> Result<Vec<String>>;
    /// Says that this worker does a job; `None` while another one does.
    fn claim(&self, job: &str) -> Result<Option<Box<dyn Claim>>>;
    /// Number of jobs that workers are at.
    fn working(&self) -> Result<usize>;
    /// A hidden folder to make a job's files in.
    fn stage(&self) -> Result<TempDir>;
    /// Has a job's files appear, the record last or with them. What was there of it goes.
    fn publish(&self, job: &str, made: TempDir) -> Result<()>;
    /// Whether all is there that a job's record names.
    fn is_whole(&self, record: &Record) -> Result<bool>;
    /// Where fetched scenes of this worker may lie.
    fn scenes(&self) -> Result<PathBuf>;
}

/// Opens a store by its address: a folder, or `s3://bucket/prefix`.
///
/// # Errors
/// When it cannot be reached, or this build knows no buckets.
pub(super) fn open(address: &str) -> Result<Box<dyn Store>> {
    if let Some((scheme, _)) = address.split_once("://") {
        #[cfg(feature = "s3")]
        if scheme == "s3" {
            return Ok(Box::new(super::bucket::BucketStore::open(address)?));
        }
        return Err(Error::request(format!(
            "A store is a folder or an address such as s3://bucket/prefix (in builds with the feature s3), not {scheme}://."
        )));
    }
    Ok(Box::new(FolderStore::new(PathBuf::from(address))))
}

/// What identifies the result of a row.
pub(super) fn key(row_sha256: &str, pins: &Pins) -> String {
    let text = serde_json::json!([FORMAT, row_sha256, pins]).to_string();
    hex(&Sha256::digest(text))
}

/// The path of a file of a job.
pub(super) fn job_file(job: &str, name: &str) -> String {
    format!("jobs/{job}/{name}")
}

/// Why a job failed.
pub(super) fn failure_file(job: &str) -> String {
    format!("failed/{job}.json")
}

/// What a store says of itself; `None` if nothing was begun in it.
///
/// # Errors
/// When it cannot be read, or another version of the program made it.
pub(super) fn header(store: &dyn Store) -> Result<Option<Header>> {
    let Some(bytes) = store.read(BATCH_FILE)? else { return Ok(None) };
    let bad = |why: String| Error::file(format!("{}/{BATCH_FILE}", store.address()), why);
    let header: Header =
        serde_json::from_slice(&bytes).map_err(|e| bad(format!("It is damaged, or of another program ({e})")))?;
    if header.format != FORMAT {
        return Err(
            bad("Another version of the program made this store; go on with that one, or begin another".into()),
        );
    }
    Ok(Some(header))
}

/// As [`header`], of a store that must have been begun.
///
/// # Errors
/// When it was not.
pub(super) fn begun(store: &dyn Store) -> Result<Header> {
    header(store)?.ok_or_else(|| {
        Error::request(format!("There is no batch in {}; begin one with copgen batch PLAN --out.", store.address()))
    })
}

/// The record of a job, if all that it names is there.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn whole(store: &dyn Store, job: &str) -> Result<Option<Record>> {
    let Some(bytes) = store.read(&job_file(job, RECORD_FILE))? else { return Ok(None) };
    // What cannot be read was left by a disk that failed: the job is done again.
    let Ok(record) = serde_json::from_slice::<Record>(&bytes) else { return Ok(None) };
    Ok(if store.is_whole(&record)? { Some(record) } else { None })
}

/// The name of this worker in logs and claims.
pub(super) fn worker() -> String {
    let host = sysinfo::System::host_name().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '-' };
    let host: String = host.chars().map(plain).collect();
    format!("{host}_{}_{:08x}", std::process::id(), fastrand::u32(..))
}
