//! Tiles of servers kept on disk for as long as the servers want, so that no tile is asked for twice.

use super::TileAt;
use crate::error::{Error, Result};
use crate::files::{hex, read, write_atomically};
use http_cache_semantics::{CacheOptions, CachePolicy};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, Request, Response};

/// Of servers that say nothing, tiles are kept so long: what OpenStreetMap's tile usage policy asks for.
const UNSAID: Duration = Duration::from_secs(7 * 24 * 3600);
/// From this size on, the oldest tiles of a layer go, bytes.
const MOST: u64 = 400 << 20;
/// No tile with what is known of it is larger, bytes.
const LARGEST: u64 = 16 << 20;
/// Servers' headers hold any number; nothing is kept longer without asking.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// Tiles of a layer none of which was fetched for so long go: it may be on no list any more.
const FORGOTTEN: Duration = Duration::from_secs(180 * 24 * 3600);

/// What is known of a tile on disk. Nothing of the request is, so no key can be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Good until then, seconds since 1970.
    until: u64,
    /// What the server calls this version.
    pub etag: Option<String>,
    /// When it was made, as the server wrote it.
    pub modified: Option<String>,
}

impl Kept {
    /// What an answer's headers allow; `None` if it must not be kept.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let now = SystemTime::now();
        // A private cache: the address and what was sent do not matter to how long it may be kept.
        let request = Request::get("http://tile/").body(()).ok()?;
        let mut response = Response::new(());
        *response.headers_mut() = headers.clone();
        let options = CacheOptions { shared: false, ..CacheOptions::default() };
        let policy = CachePolicy::new_options(&request, &response, now, options);
        if !policy.is_storable() {
            return None;
        }
        let said = headers.contains_key("cache-control") || headers.contains_key("expires");
        let left = if said { policy.time_to_live(now).min(LONGEST) } else { UNSAID };
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Some(Self { until: seconds(now + left), etag: text("etag"), modified: text("last-modified") })
    }

    /// Whether the server need not be asked.
    pub(super) fn fresh(&self) -> bool {
        seconds(SystemTime::now()) < self.until
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Tiles of one layer.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The folder of a layer's tiles, named by its address without any key.
    pub(super) fn new(within: &Path, template: &str) -> Self {
        let name = hex(&Sha256::digest(template)[..8]);
        Self { dir: within.join(name) }
    }

    fn file(&self, at: TileAt) -> PathBuf {
        self.dir.join(at.zoom.to_string()).join(format!("{}-{}", at.x, at.y))
    }

    /// A tile that was kept.
    pub(super) fn get(&self, at: TileAt) -> Option<(Kept, Vec<u8>)> {
        let mut bytes = read(&self.file(at), LARGEST).ok()?;
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let kept = serde_json::from_slice(&bytes[..end]).ok()?;
        Some((kept, bytes.split_off(end + 1)))
    }

    /// Keeps a tile.
    ///
    /// # Errors
    /// When the disk is full or the folder cannot be written.
    pub(super) fn put(&self, at: TileAt, kept: &Kept, tile: &[u8]) -> Result<()> {
        let mut bytes = serde_json::to_vec(kept).map_err(|e| Error::file(self.file(at), e.to_string()))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(tile);
        write_atomically(&self.file(at), &bytes)
    }

    /// Forgets a tile that turned out damaged.
    pub(super) fn drop(&self, at: TileAt) {
        // What cannot be removed is replaced by the next that is fetched.
        let _ = std::fs::remove_file(self.file(at));
    }

    /// Removes the oldest tiles if there are too many, and those of layers that were not used for long.
    pub(super) fn prune(&self) {
        self.prune_to(MOST);
        let list = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
        let changed = |dir: &Path| std::fs::metadata(dir).and_then(|about| about.modified()).ok();
        let name = |dir: &Path| dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let layer = |dir: &PathBuf| name(dir).len() == 16 && name(dir).bytes().all(|b| b.is_ascii_hexdigit());
        let folders = self.dir.parent().into_iter().flat_map(list).map(|entry| entry.path());
        for dir in folders.filter(|dir| *dir != self.dir && layer(dir)) {
            // A folder changes when a tile is put into it.
            let levels = list(&dir).filter_map(|level| changed(&level.path()));
            let last = levels.chain(changed(&dir)).max();
            if last.and_then(|last| last.elapsed().ok()).is_some_and(|since| since > FORGOTTEN) {
                // What cannot be removed is tried again at the next start.
                let _ = std::fs::remove_dir_all(&dir);
            }
        }
    }

    fn prune_to(&self, most: u64) {
        let list = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut all: Vec<(SystemTime, u64, PathBuf)> = list(&self.dir)
            .flat_map(|level| list(&level.path()))
            .filter_map(|file| {
                let about = file.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), file.path()))
            })
            .collect();
        let mut total: u64 = all.iter().map(|(_, bytes, _)| bytes).sum();
        all.sort();
        for (_, bytes, path) in all {
            if total <= most {
                return;
            }
            if std::fs::remove_file(&path).is_ok() {
                total -= bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::{HeaderName, HeaderValue};

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
            (name, HeaderValue::from_str(value).expect("value"))
        };
        all.iter().map(pair).collect()
    }

    fn left(kept: &Kept) -> u64 {
        kept.until.saturating_sub(seconds(SystemTime::now()))
    }

    #[test]
    fn tiles_are_kept_as_their_servers_want() {
        let kept = Kept::of(&headers(&[("cache-control", "max-age=1000"), ("etag", "\"a\"")])).expect("kept");
        assert!((995..=1000).contains(&left(&kept)) && kept.fresh());
        assert_eq!(kept.etag.as_deref(), Some("\"a\""));
        let kept = Kept::of(&headers(&[("cache-control", "max-age=1000"), ("age", "900")])).expect("kept");
        assert!((95..=100).contains(&left(&kept)));
        let kept = Kept::of(&headers(&[])).expect("kept");
        assert!(left(&kept) > 6 * 24 * 3600, "a week if nothing is said");
        let kept = Kept::of(&headers(&[("expires", "Thu, 01 Jan 1970 00:00:00 GMT")])).expect("kept");
        assert!(!kept.fresh());
        assert_eq!(Kept::of(&headers(&[("cache-control", "no-store")])), None);
        for huge in ["max-age=18446744073709551615", "max-age=9223372036854775807", "max-age=99999999999"] {
            let kept = Kept::of(&headers(&[("cache-control", huge)])).expect("kept");
            assert!(left(&kept) <= LONGEST.as_secs(), "{huge}");
        }
    }

    #[test]
    fn layers_that_are_gone_leave_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        let caches = ["a", "b", "c"].map(|template| Cache::new(dir.path(), template));
        let (at, kept) = (TileAt { zoom: 3, x: 1, y: 2 }, Kept::default());
        caches.iter().for_each(|cache| cache.put(at, &kept, b"tile").expect("put"));
        let other = dir.path().join("notes");
        std::fs::create_dir(&other).expect("folder");
        let old = SystemTime::now() - FORGOTTEN - Duration::from_secs(60);
        let [own, gone, used] = &caches;
        for folder in [&own.dir.join("3"), &own.dir, &gone.dir.join("3"), &gone.dir, &used.dir, &other] {
            std::fs::File::open(folder).and_then(|folder| folder.set_modified(old)).expect("time");
        }
        own.prune();
        assert_eq!([own, gone, used].map(|cache| cache.get(at).is_some()), [true, false, true]);
        assert!(!gone.dir.exists() && other.exists(), "only layers' folders go");
    }

    #[test]
    fn what_was_kept_comes_back_and_the_oldest_goes_first() {
        let dir = tempfile::tempdir().expect("folder");
        let cache = Cache::new(dir.path(), "https://tiles/{z}/{x}/{y}?key={key}");
        let at = |x| TileAt { zoom: 3, x, y: 2 };
        let kept = Kept { until: 5, etag: Some("v".into()), modified: None };
        for x in 0..4 {
            cache.put(at(x), &kept, &[b'\n', x as u8, 0, 255]).expect("put");
            let old = SystemTime::now() - Duration::from_secs(u64::from(100 - x));
            let file = std::fs::File::options().write(true).open(cache.file(at(x))).expect("file");
            file.set_modified(old).expect("time");
        }
        assert_eq!(cache.get(at(2)), Some((kept, vec![b'\n', 2, 0, 255])));
        let one = std::fs::metadata(cache.file(at(0))).expect("file").len();
        cache.prune_to(2 * one);
        assert_eq!([0, 1, 2, 3].map(|x| cache.get(at(x)).is_some()), [false, false, true, true]);
        std::fs::write(cache.file(at(3)), "damaged").expect("damage");
        assert_eq!(cache.get(at(3)), None);
    }
}
