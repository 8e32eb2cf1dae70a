//! A store in a bucket that speaks S3: files go up in parts and appear one by one, a job's record last; nothing counts without it.

use super::store::{Claim, RECORD_FILE, Record, Store, job_file, worker};
use crate::error::{Error, Fault, Result};
use crate::net::Network;
use crate::source::Kept;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig, UpdateVersion, WriteMultipart,
};
use std::collections::HashMap;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

/// Files from this size on go up in parts of it.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at a time.
const PARTS: usize = 4;
/// How often a worker says that it is still at a job.
const BEAT: Duration = Duration::from_secs(10);
/// A claim that nobody renewed for this long, by the clock of whoever looks, is a dead worker's.
const EXPIRY: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct BucketStore {
    address: String,
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    runtime: Runtime,
    expiry: Duration,
    worker: String,
    /// Claims of others: in which version they were seen first, and when.
    seen: Mutex<HashMap<String, (Option<String>, Instant)>>,
    /// Files that this worker adds lines to, as they are.
    added: Mutex<HashMap<String, String>>,
    scratch: TempDir,
}

impl BucketStore {
    /// By `s3://bucket/prefix`; who asks and where the server is stand in the variables of AWS (`AWS_ACCESS_KEY_ID`,
    /// `AWS_ENDPOINT_URL` and so on).
    ///
    /// # Errors
    /// When the network is switched off, or these say nothing sensible.
    pub(super) fn open(address: &str) -> Result<Self> {
        Network::default().check(address)?;
        // One of the two that the TLS library could have; that it is chosen already is no fault.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = url::Url::parse(address).map_err(|e| Error::request(format!("{address} is no address: {e}.")))?;
        let endpoint = crate::files::variable("AWS_ENDPOINT_URL_S3").or(crate::files::variable("AWS_ENDPOINT_URL"));
        let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        // Only single files are removed, which every server understands.
        let builder = AmazonS3Builder::from_env().with_disable_bulk_delete(true).with_retry(patient());
        let built = builder.with_url(address).with_allow_http(plain).build();
        let store = built.map_err(|e| Error::request(format!("The bucket cannot be opened: {e}.")))?;
        Self::on(Arc::new(store), address, url.path())
    }

    /// On any store of objects.
    fn on(store: Arc<dyn ObjectStore>, address: &str, prefix: &str) -> Result<Self> {
        let failed = |e: std::io::Error| Error::Compute(format!("A bucket cannot be worked with: {e}."));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Ok(Self {
            address: address.trim_end_matches('/').to_owned(),
            store,
            prefix: Key::from(prefix.trim_matches('/')),
            runtime: runtime.map_err(failed)?,
            expiry: EXPIRY,
            worker: worker(),
            seen: Mutex::default(),
            added: Mutex::default(),
            scratch: tempfile::tempdir().map_err(failed)?,
        })
    }

    fn key(&self, path: &str) -> Key {
        path.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |key, part| key.join(part))
    }

    fn wait<T>(&self, path: &str, work: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        self.runtime.block_on(work).map_err(|e| self.problem(path, &e))
    }

    fn problem(&self, path: &str, error: &object_store::Error) -> Error {
        let fault = match error {
            object_store::Error::NotFound { .. } => Fault::NotFound,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Fault::Refused
            }
            _ => Fault::Server(None),
        };
        let text = crate::text::without_secrets(&error.to_string());
        let problem = format!("The bucket did not take or give a file: {text}; check it and try again");
        Error::Network { fault, problem, address: format!("{}/{path}", self.address) }
    }

    /// Writes unless the condition of `mode` fails: the new version then.
    fn conditional(&self, path: &str, text: String, mode: PutMode) -> Result<bool> {
        let options = PutOptions::from(mode);
        let put = self.runtime.block_on(self.store.put_opts(&self.key(path), text.into(), options));
        match put {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(e) => Err(self.problem(path, &e)),
        }
    }

    fn claimed(&self, path: &str) -> Box<dyn Claim> {
        let (store, key, worker) = (self.store.clone(), self.key(path), self.worker.clone());
        let beating = self.runtime.spawn({
            let (store, key) = (store.clone(), key.clone());
            async move {
                for beat in 1u64.. {
                    tokio::time::sleep(BEAT).await;
                    // What fails once comes with the next beat.
                    let _ = store.put(&key, format!("{worker} {beat}").into()).await;
                }
            }
        });
        let (beat, handle) = (beating.abort_handle(), self.runtime.handle().clone());
        Box::new(Held { store, key, beat, handle })
    }
}

impl Store for BucketStore {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let key = self.key(path);
        let work = async {
            match self.store.get(&key).await {
                Ok(found) => found.bytes().await.map(|bytes| Some(bytes.to_vec())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        };
        self.wait(path, work)
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        self.conditional(path, String::from_utf8_lossy(bytes).into_owned(), PutMode::Create)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.wait(path, self.store.put(&self.key(path), bytes.to_vec().into())).map(drop)
    }

    fn put(&self, path: &str, file: &Path) -> Result<()> {
        let unreadable = |e: std::io::Error| Error::io(file, "read", &e);
        let mut from = std::fs::File::open(file).map_err(unreadable)?;
        if from.metadata().map_err(unreadable)?.len() <= PART_BYTES as u64 {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).map_err(unreadable)?;
            return self.write(path, &bytes);
        }
        let upload = self.wait(path, self.store.put_multipart(&self.key(path)))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut part = vec![0; PART_BYTES];
        loop {
            let read = match from.read(&mut part) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) => {
                    self.wait(path, upload.abort())?;
                    return Err(unreadable(e));
                }
            };
            // Within the runtime, which sends the parts off.
            let sent = self.runtime.block_on(async {
                upload.wait_for_capacity(PARTS).await?;
                upload.write(&part[..read]);
                Ok(())
            });
            if let Err(e) = sent {
                let _ = self.runtime.block_on(upload.abort());
                return Err(self.problem(path, &e));
            }
        }
        self.wait(path, upload.finish()).map(drop)
    }

    fn append(&self, path: &str, text: &str) -> Result<()> {
        let all = {
            let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
            let all = added.entry(path.to_owned()).or_default();
            all.push_str(text);
            all.clone()
        };
        self.write(path, all.as_bytes())
    }

    fn remove(&self, path: &str) -> Result<()> {
        let key = self.key(path);
        let work = async {
            match self.store.delete(&key).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                done => done,
            }
        };
        self.wait(path, work)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let found = self.wait(folder, self.store.list_with_delimiter(Some(&self.key(folder))))?;
        let files = found.objects.into_iter().map(|object| object.location);
        let names = files.chain(found.common_prefixes).filter_map(|key| key.filename().map(str::to_owned));
        Ok(names.collect())
    }

    fn claim(&self, job: &str) -> Result<Option<Box<dyn Claim>>> {
        let path = format!("claims/{job}");
        if self.conditional(&path, format!("{} 0", self.worker), PutMode::Create)? {
            return Ok(Some(self.claimed(&path)));
        }
        let key = self.key(&path);
        let head = match self.runtime.block_on(self.store.head(&key)) {
            Ok(head) => head,
            // Given back a moment ago.
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(self.problem(&path, &e)),
        };
        let stale = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = seen.entry(path.clone()).or_insert_with(|| (head.e_tag.clone(), Instant::now()));
            if entry.0 != head.e_tag {
                *entry = (head.e_tag.clone(), Instant::now());
            }
            entry.1.elapsed() >= self.expiry
        };
        if !stale {
            return Ok(None);
        }
        let version = UpdateVersion { e_tag: head.e_tag, version: head.version };
        let taken = self.conditional(&path, format!("{} 0", self.worker), PutMode::Update(version))?;
        Ok(taken.then(|| self.claimed(&path)))
    }

    fn working(&self) -> Result<usize> {
        let claims = self.key("claims");
        let found = self.wait("claims", self.store.list(Some(&claims)).try_collect::<Vec<_>>())?;
        let now = jiff::Timestamp::now().as_second();
        let is_live = |at: i64| now.saturating_sub(at) < EXPIRY.as_secs() as i64;
        Ok(found.iter().filter(|claim| is_live(claim.last_modified.timestamp())).count())
    }

    fn stage(&self) -> Result<TempDir> {
        let dir = self.scratch.path();
        tempfile::tempdir_in(dir).map_err(|e| Error::io(dir, "write to", &e))
    }

    fn publish(&self, job: &str, made: TempDir) -> Result<()> {
        let unreadable = |e: std::io::Error| Error::io(made.path(), "read", &e);
        let mut names: Vec<String> = std::fs::read_dir(made.path())
            .map_err(unreadable)?
            .filter_map(|entry| entry.ok()?.file_name().to_str().map(str::to_owned))
            .collect();
        // The record last: it makes the job count.
        names.sort_by_key(|name| (name == RECORD_FILE, name.clone()));
        names.iter().try_for_each(|name| self.put(&job_file(job, name), &made.path().join(name)))
    }

    fn is_whole(&self, record: &Record) -> Result<bool> {
        let folder = format!("jobs/{}", record.job);
        let found = self.wait(&folder, self.store.list(Some(&self.key(&folder))).try_collect::<Vec<_>>())?;
        let sizes: HashMap<&str, u64> = found.iter().filter_map(|o| Some((o.location.filename()?, o.size))).collect();
        Ok(record.files.iter().all(|(name, file)| sizes.get(name.as_str()) == Some(&file.bytes)))
    }

    fn scenes(&self) -> Result<PathBuf> {
        Ok(Kept::usual().map_or_else(|| self.scratch.path().join("scenes"), |kept| kept.scenes_dir()))
    }
}

/// Requests are tried again for as long as a server may take to come back. The crate's own ten tries are over in two seconds
/// where a connection is refused at once.
fn patient() -> RetryConfig {
    let (init_backoff, max_backoff) = (Duration::from_millis(200), Duration::from_secs(5));
    let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
    RetryConfig { backoff, max_retries: 1000, retry_timeout: Duration::from_secs(180) }
}

/// A claim that is renewed until it is given back.
struct Held {
    store: Arc<dyn ObjectStore>,
    key: Key,
    beat: AbortHandle,
    handle: tokio::runtime::Handle,
}

impl Claim for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.beat.abort();
        // A claim that stays is taken over after a while.
        let _ = self.handle.block_on(self.store.delete(&self.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn two() -> (BucketStore, BucketStore) {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let open = || BucketStore::on(memory.clone(), "s3://b/p", "/p").expect("store");
        (open(), open())
    }

    #[test]
    fn a_claim_is_one_workers_until_it_is_given_back_or_no_longer_renewed() {
        let (one, mut other) = two();
        let claim = one.claim("a").expect("store").expect("free");
        assert!(other.claim("a").expect("store").is_none() && other.working().expect("count") == 1);
        drop(claim);
        drop(other.claim("a").expect("store").expect("free again"));
        // A worker that died leaves its claim behind.
        one.write("claims/a", b"dead 3").expect("claim");
        other.expiry = Duration::from_millis(200);
        assert!(other.claim("a").expect("store").is_none(), "seen for the first time");
        std::thread::sleep(Duration::from_millis(250));
        one.write("claims/a", b"alive 4").expect("renewed");
        assert!(other.claim("a").expect("store").is_none(), "renewed meanwhile");
        std::thread::sleep(Duration::from_millis(250));
        assert!(other.claim("a").expect("store").is_some(), "taken over");
        // An expiry outlives some beats that fail.
        assert!(EXPIRY > 3 * BEAT);
    }

    #[test]
    fn a_job_counts_when_its_record_is_there_and_large_files_go_up_in_parts() {
        let (store, _) = two();
        let stage = store.stage().expect("stage");
        let large: Vec<u8> = (0..2 * PART_BYTES + 5).map(|i| (i % 251) as u8).collect();
        std::fs::write(stage.path().join("large.tif"), &large).expect("file");
        std::fs::write(stage.path().join(RECORD_FILE), "{}").expect("record");
        let files = [("large.tif", large.len() as u64)]
            .map(|(name, bytes)| (name.to_owned(), super::super::store::RecordedFile { bytes, sha256: String::new() }));
        let record = Record { job: "a".into(), row: 1, key: String::new(), files: files.into() };
        assert!(!store.is_whole(&record).expect("store"));
        store.publish("a", stage).expect("published");
        assert!(store.is_whole(&record).expect("store"));
        assert_eq!(store.read("jobs/a/large.tif").expect("read").as_deref(), Some(large.as_slice()));
        assert_eq!(store.list("jobs").expect("names"), ["a"]);
        store.remove("jobs/a/large.tif").and_then(|()| store.remove("jobs/a/large.tif")).expect("removed, twice");
        assert!(!store.is_whole(&record).expect("store"));
        store.append("log/x", "1\n").and_then(|()| store.append("log/x", "2\n")).expect("added");
        assert_eq!(store.read("log/x").expect("read").as_deref(), Some(&b"1\n2\n"[..]));
    }
}
