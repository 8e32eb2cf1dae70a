//! One large file over the network: resumed, checked, whole or not at all.

use super::repository::Remote;
use crate::error::{Error, Fault, Result};
use crate::files::{LONGEST_TEXT, hex, read, size_text, write_atomically};
use crate::net::{HttpRequest, Network};
use crate::text::address_without_secrets;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How far an installation is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// What is being done.
    pub what: String,
    /// Bytes of all files that have arrived.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
    /// Rate over the last seconds; 0 where nothing is being fetched.
    pub bytes_per_s: f64,
    /// Estimated time left.
    pub left: Option<Duration>,
}

impl Progress {
    /// Speed and time left in words; nothing where nothing is being fetched.
    pub fn pace(&self) -> String {
        if self.bytes_per_s <= 0.0 {
            return String::new();
        }
        let left = self.left.map_or(0, |left| left.as_secs());
        let left = match left {
            0..90 => format!("{left} s left"),
            90..5400 => format!("{} min left", left.div_ceil(60)),
            _ => format!("{} h left", left.div_ceil(3600)),
        };
        format!("{}/s · {left}", size_text(self.bytes_per_s as u64))
    }
}

/// The rate of a download over the last seconds.
#[derive(Debug)]
pub(super) struct RateMeter {
    /// Seconds and bytes, of which older ones count less and less.
    lately: [f64; 2],
    last: Instant,
}

impl Default for RateMeter {
    fn default() -> Self {
        Self { lately: [0.0; 2], last: Instant::now() }
    }
}

impl RateMeter {
    /// Bytes that arrived longer ago than this hardly count, seconds.
    const MEMORY_S: f64 = 6.0;

    /// Counts bytes that have just arrived; bytes per second.
    pub(super) fn add(&mut self, bytes: u64) -> f64 {
        let passed = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let fade = (-passed / Self::MEMORY_S).exp();
        self.lately = [self.lately[0] * fade + passed, self.lately[1] * fade + bytes as f64];
        self.lately[1] / self.lately[0].max(1e-3)
    }
}

/// Which file a part belongs to; a part of another file is begun anew.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PartLabel {
    etag: String,
    bytes: u64,
}

/// A file that is being fetched.
pub(super) struct Fetch<'a> {
    /// Through which it is fetched.
    pub network: &'a Network,
    /// What the server said.
    pub remote: &'a Remote,
    /// Headers of requests; never logged.
    pub headers: &'a [(String, String)],
    /// Where it will lie; a part of it lies beside it as `NAME.part`.
    pub target: &'a Path,
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    target.with_file_name(name)
}

/// Bytes of this file, or of its part, that have arrived already.
pub(super) fn bytes_present(target: &Path, remote: &Remote) -> u64 {
    let length = |path: &Path| std::fs::metadata(path).map(|file| file.len()).ok();
    if length(target) == Some(remote.bytes) {
        return remote.bytes;
    }
    let label =
        read(&beside(target, ".part.json"), LONGEST_TEXT).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let own = PartLabel { etag: remote.etag.clone(), bytes: remote.bytes };
    if label != Some(own) || remote.etag.is_empty() {
        return 0;
    }
    length(&beside(target, ".part")).filter(|bytes| *bytes <= remote.bytes).unwrap_or(0)
}

impl Fetch<'_> {
    /// Fetches what has not arrived yet, and checks all of it; the file's SHA-256. `progress` gets the bytes that have
    /// arrived.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Cancelled`] or [`Error::File`]; what has arrived stays for the next try, unless it is
    /// not what the server described.
    pub(super) fn run(&self, stop: &AtomicBool, progress: &mut dyn FnMut(u64)) -> Result<String> {
        let (part, label) = (beside(self.target, ".part"), beside(self.target, ".part.json"));
        if let Some(dir) = self.target.parent() {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
        }
        if self.target.exists() {
            // Checked and named before an interruption.
            let length = std::fs::metadata(self.target).map_err(|e| Error::io(self.target, "read", &e))?.len();
            if length == self.remote.bytes {
                let sha256 = crate::model::sha256_of(self.target)?;
                if self.remote.sha256.as_ref().is_none_or(|expected| *expected == sha256) {
                    progress(self.remote.bytes);
                    return Ok(sha256);
                }
            }
            std::fs::remove_file(self.target).map_err(|e| Error::io(self.target, "remove", &e))?;
        }
        let begun = bytes_present(self.target, self.remote);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(begun == 0).open(&part);
        let mut file = open.map_err(|e| Error::io(&part, "create", &e))?;
        let own = PartLabel { etag: self.remote.etag.clone(), bytes: self.remote.bytes };
        let text = serde_json::to_vec(&own).map_err(|e| Error::file(&label, e.to_string()))?;
        write_atomically(&label, &text)?;
        // What lies there is read, not believed.
        let mut received = Received { hash: hash_of(&mut file, begun, &part, stop)?, bytes: begun };
        progress(received.bytes);
        self.receive(&mut file, &part, &mut received, stop, progress)?;
        file.sync_all().map_err(|e| Error::io(&part, "write", &e))?;
        let sha256 = hex(&received.hash.finalize());
        let remove = |path: &Path| std::fs::remove_file(path).map_err(|e| Error::io(path, "remove", &e));
        if let Some(expected) = self.remote.sha256.as_ref().filter(|expected| **expected != sha256) {
            remove(&part)?;
            remove(&label)?;
            let what = format!(
                "another file than it announced: its sha256 is {sha256}, announced was {expected}. What arrived was deleted"
            );
            return Err(crate::net::unexpected(&self.remote.url, &what));
        }
        std::fs::rename(&part, self.target).map_err(|e| Error::io(self.target, "write", &e))?;
        remove(&label)?;
        Ok(sha256)
    }

    /// Sends requests until the whole file has arrived. A request that brought something does not count as a failed try.
    fn receive(
        &self,
        file: &mut File,
        path: &Path,
        received: &mut Received,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut furthest = received.bytes;
        while received.bytes < self.remote.bytes {
            let mut attempt = || {
                let done = self.attempt_once(file, path, received, stop, progress);
                let nearer = received.bytes > furthest;
                furthest = furthest.max(received.bytes);
                match done {
                    Err(Error::Network { fault, problem, .. }) if fault.passing() && nearer => {
                        tracing::info!("{problem}; going on from byte {}", received.bytes);
                        Ok(())
                    }
                    // An answer that ends well but brings nothing would be asked for without end.
                    Ok(()) if !nearer && received.bytes < self.remote.bytes => Err(Error::Network {
                        fault: Fault::Broken,
                        problem: "The server's answers end before all of it has arrived; try again".into(),
                        address: address_without_secrets(&self.remote.url),
                    }),
                    done => done,
                }
            };
            self.network.retry(stop, &mut attempt)?;
            if received.bytes < self.remote.bytes {
                self.network.pause(stop)?;
            }
        }
        Ok(())
    }

    fn attempt_once(
        &self,
        file: &mut File,
        path: &Path,
        received: &mut Received,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let url = &self.remote.url;
        let ask = HttpRequest { headers: self.headers, from: received.bytes, plain: true, ..HttpRequest::get(url) };
        let mut answer = self.network.open(&ask)?;
        if answer.total.is_some_and(|total| total != self.remote.bytes) {
            let what = format!(
                "of another length ({}) than announced ({} bytes)",
                answer.total.unwrap_or(0),
                self.remote.bytes
            );
            return Err(crate::net::unexpected(url, &what));
        }
        match answer.from {
            from if from == received.bytes => {}
            // A server that cannot skip sends everything.
            0 => *received = Received::default(),
            _ => return Err(crate::net::unexpected(url, "another part of the file than was asked for")),
        }
        let failed = |e: std::io::Error| Error::io(path, "write", &e);
        file.set_len(received.bytes).map_err(failed)?;
        file.seek(SeekFrom::Start(received.bytes)).map_err(failed)?;
        self.network.copy(url, &mut answer, stop, &mut |piece| {
            if received.bytes + piece.len() as u64 > self.remote.bytes {
                return Err(crate::net::unexpected(url, "longer than announced"));
            }
            file.write_all(piece).map_err(failed)?;
            received.hash.update(piece);
            received.bytes += piece.len() as u64;
            progress(received.bytes);
            Ok(())
        })
    }
}

#[derive(Default)]
struct Received {
    hash: Sha256,
    bytes: u64,
}

/// Hash of the first bytes of a file.
fn hash_of(file: &mut File, bytes: u64, path: &Path, stop: &AtomicBool) -> Result<Sha256> {
    let failed = |e: std::io::Error| Error::io(path, "read", &e);
    let (mut hash, mut left, mut piece) = (Sha256::new(), bytes, vec![0; 1 << 20]);
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    while left > 0 {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let most = left.min(piece.len() as u64) as usize;
        match file.read(&mut piece[..most]).map_err(failed)? {
            0 => return Err(Error::file(path, "It has become shorter while it was read; try again")),
            n => {
                hash.update(&piece[..n]);
                left -= n as u64;
            }
        }
    }
    Ok(hash)
}
