//! Tiles from a server, by a template of its addresses; kept on disk, gentle to servers that have trouble.

use super::cache::{Cache, Kept};
use super::contents::DEEPEST;
use super::{LocalTile, TileAt, TileSource};
use crate::error::{Error, Result};
use crate::files::variable;
use crate::net::{Fault, HttpRequest, Network};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No tile is larger, bytes.
const LARGEST: usize = 8 << 20;
/// A tile that takes longer does not come any more.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a server is left alone after its first failure, and at most.
const DELAYS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// Connections at the same time: as many as OpenStreetMap's tile usage policy allows a program.
const LANES: usize = 2;

/// A layer of a server, as `layers.toml` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineLayer {
    /// Name for people.
    pub name: String,
    /// Address of a tile with `{z}`, `{x}`, `{y}`, and if wanted `{s}` (server) and `{key}`.
    pub url: String,
    /// What `{s}` stands for, in turn.
    #[serde(default = "abc")]
    pub servers: Vec<String>,
    /// Whom to thank; always on the map.
    pub attribution: String,
    /// First zoom level.
    #[serde(default)]
    pub min_zoom: u8,
    /// Last zoom level; further in, its tiles are enlarged.
    #[serde(default = "nineteen")]
    pub max_zoom: u8,
    /// Side of a tile, pixels: 256 or 512.
    #[serde(default = "usual_side")]
    pub tile_size: u32,
    /// Environment variable that holds a key; its value is never written anywhere.
    #[serde(default)]
    pub key_variable: Option<String>,
    /// Header the key is sent in, if not in the address.
    #[serde(default)]
    pub key_header: Option<String>,
    /// Whether borders and names are drawn over it, because it has none.
    #[serde(default)]
    pub names: bool,
}

fn abc() -> Vec<String> {
    ["a", "b", "c"].map(String::from).into()
}

fn nineteen() -> u8 {
    19
}

fn usual_side() -> u32 {
    256
}

/// The built-in layer.
pub fn openstreetmap() -> OnlineLayer {
    OnlineLayer {
        name: "OpenStreetMap".into(),
        url: "https://tile.openstreetmap.org/{z}/{x}/{y}.png".into(),
        servers: abc(),
        attribution: "© OpenStreetMap contributors".into(),
        min_zoom: 0,
        max_zoom: 19,
        tile_size: 256,
        key_variable: None,
        key_header: None,
        names: false,
    }
}

impl OnlineLayer {
    /// What is wrong with the description, if anything.
    pub fn problem(&self) -> Option<String> {
        let lacks = |part: &&&str| !self.url.contains(**part);
        if self.name.trim().is_empty() {
            return Some("a layer has no name".into());
        }
        let text = if !(self.url.starts_with("http://") || self.url.starts_with("https://")) {
            "its url must begin with https:// or http://".into()
        } else if let Some(part) = ["{z}", "{x}", "{y}"].iter().find(lacks) {
            format!("its url lacks {part}")
        } else if self.url.contains("{s}") && self.servers.is_empty() {
            "its url has {s}, but servers is empty".into()
        } else if self.attribution.trim().is_empty() {
            "attribution must say whom to thank".into()
        } else if self.min_zoom > self.max_zoom || self.max_zoom > DEEPEST {
            format!("zoom levels must be 0 to {DEEPEST}, min_zoom not above max_zoom")
        } else if ![256, 512].contains(&self.tile_size) {
            "tile_size must be 256 or 512".into()
        } else if (self.url.contains("{key}") || self.key_header.is_some()) && self.key_variable.is_none() {
            "key_variable must name the environment variable that holds the key".into()
        } else if self.key_variable.is_some() && !self.url.contains("{key}") && self.key_header.is_none() {
            "its key is used nowhere: put {key} into the url, or name a key_header".into()
        } else if self
            .key_header
            .as_ref()
            .is_some_and(|name| ureq::http::HeaderName::from_bytes(name.as_bytes()).is_err())
        {
            "key_header is no name of a header".into()
        } else {
            return None;
        };
        Some(format!("layer \"{}\": {text}", self.name))
    }

    fn key(&self) -> Result<Option<String>> {
        let Some(name) = &self.key_variable else { return Ok(None) };
        match variable(name) {
            Some(key) => Ok(Some(key)),
            None => Err(Error::Request(format!(
                "{} needs a key: set the environment variable {name} to it and start the program anew",
                self.name
            ))),
        }
    }
}

/// A layer with the way to its server.
pub struct Online {
    layer: OnlineLayer,
    network: Network,
    cache: Option<Cache>,
    trouble: Mutex<Option<Trouble>>,
}

struct Trouble {
    until: Instant,
    next: Duration,
}

impl Online {
    /// `cache` is the folder for tiles of all layers; without one, tiles are only kept in memory.
    pub fn new(layer: OnlineLayer, network: Network, cache: Option<&Path>) -> Self {
        let cache = cache.map(|dir| Cache::new(dir, &layer.url));
        Self { layer, network, cache, trouble: Mutex::new(None) }
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, at: TileAt, known: Option<&Kept>, stop: &AtomicBool) -> Result<Option<Vec<u8>>> {
        let key = self.layer.key()?;
        let server = self.layer.servers.get((at.x + at.y) as usize % self.layer.servers.len().max(1));
        let url = self.layer.url.replace("{z}", &at.zoom.to_string()).replace("{x}", &at.x.to_string());
        let url = url.replace("{y}", &at.y.to_string()).replace("{s}", server.map_or("", String::as_str));
        let url = url.replace("{key}", key.as_deref().unwrap_or_default());
        let mut headers: Vec<(String, String)> = Vec::new();
        headers.extend(self.layer.key_header.clone().zip(key));
        let version = |name: &str, value: &Option<String>| value.clone().map(|value| (name.to_owned(), value));
        if let Some(kept) = known {
            headers.extend(version("if-none-match", &kept.etag));
            headers.extend(version("if-modified-since", &kept.modified));
        }
        let mut answer = self.network.open(&HttpRequest { headers: &headers, ..HttpRequest::get(&url) })?;
        let kept = Kept::of(answer.headers());
        if answer.status == 304 {
            // Good for longer; should it have gone from the disk meanwhile, it is simply asked for again.
            let Some((cache, (_, tile))) = self.cache.as_ref().and_then(|cache| Some((cache, cache.get(at)?))) else {
                return Err(Error::request("the tile that was kept is gone"));
            };
            let mut kept = kept.unwrap_or_default();
            let known = known.cloned().unwrap_or_default();
            (kept.etag, kept.modified) = (kept.etag.or(known.etag), kept.modified.or(known.modified));
            self.keep(cache, at, &kept, &tile);
            return Ok(Some(tile));
        }
        let (mut tile, end) = (Vec::new(), Instant::now() + LONGEST);
        self.network.copy(&url, &mut answer, stop, &mut |piece| {
            tile.extend_from_slice(piece);
            if tile.len() > LARGEST || Instant::now() > end {
                return Err(Error::request("a tile is larger or comes more slowly than any map's"));
            }
            Ok(())
        })?;
        if image::guess_format(&tile).is_err() {
            return Err(Error::request("the answer is no picture; a login page of the network may stand in between"));
        }
        if let (Some(cache), Some(kept)) = (&self.cache, &kept) {
            self.keep(cache, at, kept, &tile);
        }
        Ok(Some(tile))
    }

    /// A full disk is no reason to show nothing.
    fn keep(&self, cache: &Cache, at: TileAt, kept: &Kept, tile: &[u8]) {
        if let Err(error) = cache.put(at, kept, tile) {
            tracing::warn!("a map tile is not kept: {error}");
        }
    }

    /// The server is left alone for a while, twice as long each time.
    fn failed(&self, fault: Option<Fault>) {
        let asked = match fault {
            Some(Fault::Offline) => return,
            Some(Fault::Quota(Some(wait)) | Fault::Server(Some(wait))) => wait,
            Some(Fault::Refused) | None => DELAYS[1],
            _ => DELAYS[0],
        };
        let mut trouble = self.trouble();
        let before = trouble.as_ref().map_or(DELAYS[0], |t| t.next);
        let rest = before.max(asked).min(DELAYS[1]);
        // Several lanes may fail at once; that is one failure.
        if trouble.as_ref().is_none_or(|t| t.until <= Instant::now()) {
            *trouble = Some(Trouble { until: Instant::now() + rest, next: (rest * 2).min(DELAYS[1]) });
        }
    }
}

impl TileSource for Online {
    fn local(&self, at: TileAt) -> Result<LocalTile> {
        Ok(match self.cache.as_ref().and_then(|cache| cache.get(at)) {
            Some((_, tile)) if image::guess_format(&tile).is_err() => {
                if let Some(cache) = &self.cache {
                    cache.drop(at);
                }
                LocalTile::Remote
            }
            Some((kept, tile)) if kept.fresh() => LocalTile::Fresh(tile),
            Some((_, tile)) => LocalTile::Stale(tile),
            None => LocalTile::Remote,
        })
    }

    fn fetch(&self, at: TileAt, stop: &AtomicBool) -> Result<Option<Vec<u8>>> {
        if self.network.is_offline() {
            return Err(Error::request("the network is switched off, so only what was seen before is shown"));
        }
        if self.trouble().as_ref().is_some_and(|t| t.until > Instant::now()) {
            return Err(Error::Cancelled);
        }
        let known = self.cache.as_ref().and_then(|cache| cache.get(at)).map(|(kept, _)| kept);
        match self.ask(at, known.as_ref(), stop) {
            Ok(tile) => {
                self.retry_now();
                Ok(tile)
            }
            // Where a map ends, servers have nothing.
            Err(Error::Network { fault: Fault::NotFound, .. }) => {
                self.retry_now();
                Ok(None)
            }
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(Error::Network { fault, problem, .. }) => {
                self.failed(Some(fault));
                // The address may hold a key.
                Err(Error::Request(problem))
            }
            Err(error) => {
                self.failed(None);
                Err(error)
            }
        }
    }

    fn tidy_up(&self) {
        if let Some(cache) = &self.cache {
            cache.prune();
        }
    }

    fn retry_now(&self) {
        *self.trouble() = None;
    }

    fn retry_delay(&self) -> Duration {
        let left = self.trouble().as_ref().map(|t| t.until.saturating_duration_since(Instant::now()));
        left.unwrap_or(DELAYS[0]) + Duration::from_millis(100)
    }

    fn lanes(&self) -> usize {
        LANES
    }

    fn zooms(&self) -> RangeInclusive<u8> {
        self.layer.min_zoom..=self.layer.max_zoom
    }

    fn side(&self) -> u32 {
        self.layer.tile_size
    }
}
