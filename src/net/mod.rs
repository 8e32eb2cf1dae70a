//! The one way to the network: requests with limits, retries and explained errors, and the switch that turns all of it off.

mod address;
mod fault;
mod json;
mod part;
mod retry;

pub use crate::error::Fault;
pub use address::{resolved, same_host, server};
pub use fault::unexpected;
pub use part::Part;
pub use retry::RetryPolicy;

use crate::error::{Error, Result};
use address::{redirected, same_server};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use ureq::http::{HeaderMap, Response};

/// What the program calls itself, as servers ask clients to.
pub const USER_AGENT: &str =
    concat!("COP-GEN-Explorer/", env!("CARGO_PKG_VERSION"), " (+https://arxiv.org/abs/2603.03239)");
/// Set to anything but nothing or `0`, it switches the network off for good.
pub const OFFLINE_VARIABLE: &str = "COPGEN_OFFLINE";
/// No description of data is longer, bytes.
const LONGEST_TEXT: u64 = 32 << 20;
/// Redirections that are followed.
const REDIRECTS: u32 = 5;
/// How often a wait looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// The network, or its absence. Clones share the switch.
#[derive(Debug, Clone)]
pub struct Network {
    agent: ureq::Agent,
    offline: Arc<AtomicBool>,
    /// Switched off for good, from outside.
    forced: bool,
    policy: RetryPolicy,
}

impl Default for Network {
    fn default() -> Self {
        Self::new(RetryPolicy::default())
    }
}

/// One request.
#[derive(Debug, Clone, Default)]
pub struct HttpRequest<'a> {
    /// Address.
    pub url: &'a str,
    /// A JSON body makes it a POST.
    pub body: Option<&'a serde_json::Value>,
    /// Further headers; never logged.
    pub headers: &'a [(String, String)],
    /// First byte wanted; 0 asks for all.
    pub from: u64,
    /// One past the last byte wanted; all that follow if left out.
    pub to: Option<u64>,
    /// The body must come uncompressed: it may have to be continued, or its length is known.
    pub plain: bool,
}

impl<'a> HttpRequest<'a> {
    /// All of what is at an address.
    pub fn get(url: &'a str) -> Self {
        Self { url, ..Self::default() }
    }
}

/// What a server answers, before its body is read.
pub struct HttpResponse {
    /// Of success, or 304 where a request said what is known already.
    pub status: u16,
    /// First byte of the body within the whole: what was asked for, or 0 from servers that cannot skip.
    pub from: u64,
    /// Bytes of the whole, if the server says.
    pub total: Option<u64>,
    /// Whether it is a part, as was asked for; servers that know no parts send the whole.
    pub partial: bool,
    headers: HeaderMap,
    body: ureq::BodyReader<'static>,
}

impl HttpResponse {
    /// A header, if it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Read for HttpResponse {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.body.read(into)
    }
}

/// What a server says about an address.
pub struct Head {
    /// The address on that server, after its own redirections.
    pub url: String,
    /// Whether what is there lies on another server.
    pub elsewhere: bool,
    headers: HeaderMap,
}

impl Head {
    /// A header, if it is there and readable.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Network {
    /// The network, unless `COPGEN_OFFLINE` switches it off.
    pub fn new(policy: RetryPolicy) -> Self {
        let config = ureq::Agent::config_builder()
            .user_agent(USER_AGENT)
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .max_redirects_will_error(true)
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(policy.silence))
            .timeout_per_read(Some(policy.silence));
        let forced = std::env::var_os(OFFLINE_VARIABLE).is_some_and(|v| !v.is_empty() && v != "0");
        Self { agent: config.build().into(), offline: Arc::default(), forced, policy }
    }

    /// Whether all of it is switched off.
    pub fn is_offline(&self) -> bool {
        self.forced || self.offline.load(Ordering::Relaxed)
    }

    /// Switches it off or on; what `COPGEN_OFFLINE` switched off stays off.
    pub fn set_offline(&self, offline: bool) {
        self.offline.store(offline, Ordering::Relaxed);
    }

    /// Makes sure that the network may be used.
    ///
    /// # Errors
    /// When it is switched off.
    pub fn check(&self, url: &str) -> Result<()> {
        if self.is_offline() { Err(fault::offline(url)) } else { Ok(()) }
    }

    /// One try; the body is still to be read, with [`copy`](Self::copy).
    ///
    /// # Errors
    /// [`Error::Network`], also for every status that is no success.
    pub fn open(&self, ask: &HttpRequest) -> Result<HttpResponse> {
        self.check(ask.url)?;
        let response = self.followed(ask)?;
        let status = response.status().as_u16();
        if !(response.status().is_success() || status == 304) {
            return Err(fault::status(ask.url, status, wait_asked(response.headers())));
        }
        Ok(answer(response, ask.from))
    }

    /// A request that is followed where the server sends it, with its question, unless the server says that the answer is to be
    /// got there (303); the headers stay with the server they are meant for, because they may hold keys.
    fn followed(&self, ask: &HttpRequest) -> Result<Response<ureq::Body>> {
        let (mut url, mut headers, mut body) = (ask.url.to_owned(), ask.headers, ask.body);
        for _ in 0..=REDIRECTS {
            self.check(&url)?;
            let failed = |e: ureq::Error| fault::of(&url, &e);
            let response = if let Some(body) = body {
                let request = self.agent.post(&url).config().max_redirects(0).build();
                let request = request.header("content-type", "application/json");
                headers
                    .iter()
                    .fold(request, |r, (name, value)| r.header(name, value))
                    .send_json(body)
                    .map_err(failed)?
            } else {
                let mut request = self.agent.get(&url).config().max_redirects(0).build();
                if ask.from > 0 || ask.to.is_some() {
                    let last = ask.to.map_or(String::new(), |to| to.saturating_sub(1).to_string());
                    request = request.header("range", format!("bytes={}-{last}", ask.from));
                }
                if ask.plain || ask.from > 0 || ask.to.is_some() {
                    request = request.header("accept-encoding", "identity");
                }
                headers.iter().fold(request, |r, (name, value)| r.header(name, value)).call().map_err(failed)?
            };
            let status = response.status();
            let redirection = status.is_redirection() && status != 304;
            let to = response.headers().get("location").and_then(|to| to.to_str().ok()).filter(|_| redirection);
            let Some(to) = to.map(|to| redirected(&url, to)).transpose()? else { return Ok(response) };
            if !same_server(&to, &url) {
                headers = &[];
            }
            if status == 303 {
                body = None;
            }
            url = to;
        }
        Err(fault::of(ask.url, &ureq::Error::TooManyRedirects))
    }

    /// What a server says about an address without sending what is there (HEAD). Ways to another server are not followed,
    /// but told; those to another address of the same server are.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn head(&self, ask: &HttpRequest) -> Result<Head> {
        let mut url = ask.url.to_owned();
        for _ in 0..=REDIRECTS {
            self.check(&url)?;
            // A compressed body would have another length.
            let request = self.agent.head(&url).config().max_redirects(0).build().header("accept-encoding", "identity");
            let request = ask.headers.iter().fold(request, |r, (name, value)| r.header(name, value));
            let response = request.call().map_err(|e| fault::of(&url, &e))?;
            let status = response.status();
            let to =
                response.headers().get("location").and_then(|to| to.to_str().ok()).filter(|_| status.is_redirection());
            match to.map(|to| redirected(&url, to)).transpose()? {
                Some(to) if same_server(&to, &url) => url = to,
                None if !status.is_success() => {
                    return Err(fault::status(&url, status.as_u16(), wait_asked(response.headers())));
                }
                elsewhere => {
                    let elsewhere = elsewhere.is_some();
                    return Ok(Head { url, elsewhere, headers: response.into_parts().0.headers });
                }
            }
        }
        Err(fault::of(ask.url, &ureq::Error::TooManyRedirects))
    }

    /// Reads a body to its end, piece by piece; `take` gets each. A body that ends before the length the server named is
    /// an error.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Cancelled`], or what `take` fails with.
    pub fn copy(
        &self,
        url: &str,
        answer: &mut HttpResponse,
        stop: &AtomicBool,
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut piece = vec![0; 256 << 10];
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            self.check(url)?;
            match answer.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(n) => take(&piece[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(fault::reading(url, &e)),
            }
        }
    }

    /// A whole answer of at most `most` bytes, tried again as [`retry`](Self::retry) does.
    ///
    /// # Errors
    /// [`Error::Network`] or [`Error::Cancelled`].
    pub fn bytes(&self, ask: &HttpRequest, most: u64, stop: &AtomicBool) -> Result<Vec<u8>> {
        self.retry(stop, &mut || {
            let mut answer = self.open(ask)?;
            self.whole(ask.url, &mut answer, most, stop)
        })
    }

    /// A described thing.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and when the answer is no such description.
    pub fn json<T: DeserializeOwned>(&self, ask: &HttpRequest, stop: &AtomicBool) -> Result<T> {
        let bytes = self.retry(stop, &mut || {
            let mut answer = self.open(ask)?;
            let kind = answer.header("content-type").unwrap_or("").to_ascii_lowercase();
            if kind.contains("html") {
                return Err(fault::page(ask.url));
            }
            self.whole(ask.url, &mut answer, LONGEST_TEXT, stop)
        })?;
        serde_json::from_slice(&json::usual(bytes))
            .map_err(|e| fault::unexpected(ask.url, &format!("no description of data ({e})")))
    }

    fn whole(&self, url: &str, answer: &mut HttpResponse, most: u64, stop: &AtomicBool) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        // A server that drips must not hold a description up for ever.
        let end = Instant::now() + self.policy.silence * 6;
        self.copy(url, answer, stop, &mut |piece| {
            all.extend_from_slice(piece);
            if all.len() as u64 > most {
                return Err(fault::unexpected(url, &format!("more than the {} MB it may have", most >> 20)));
            }
            if Instant::now() > end { Err(fault::slow(url)) } else { Ok(()) }
        })?;
        Ok(all)
    }

    /// Tries something until it works, fails in a way that will last, or the patience is at its end; waits in between.
    ///
    /// # Errors
    /// The last failure, or [`Error::Cancelled`].
    pub fn retry<T>(&self, stop: &AtomicBool, attempt: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        let mut failures = 0;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            match attempt() {
                Err(Error::Network { fault, problem, address }) if fault.passing() => {
                    failures += 1;
                    match self.policy.wait(failures, fault.wait_asked(), fastrand::f64()) {
                        Some(wait) => {
                            tracing::info!("try {failures} failed: {problem}");
                            self.wait(wait, stop)?;
                        }
                        None => return Err(Error::Network { fault, problem, address }),
                    }
                }
                done => return done,
            }
        }
    }

    /// Waits as before a second try, and looks often whether it should stop.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn pause(&self, stop: &AtomicBool) -> Result<()> {
        self.wait(self.policy.first_wait, stop)
    }

    fn wait(&self, how_long: Duration, stop: &AtomicBool) -> Result<()> {
        let end = Instant::now() + how_long;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            std::thread::sleep(left.min(STOP_CHECK));
        }
        Ok(())
    }
}

/// How long a busy server asks to wait.
fn wait_asked(headers: &HeaderMap) -> Option<Duration> {
    retry::retry_after(headers.get("retry-after")?.to_str().ok()?, SystemTime::now())
}

fn answer(response: Response<ureq::Body>, asked_from: u64) -> HttpResponse {
    let status = response.status().as_u16();
    let partial = status == 206;
    let (parts, body) = response.into_parts();
    let number = |name: &str| parts.headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    // bytes 10-99/100
    let range = || {
        let text = parts.headers.get("content-range")?.to_str().ok()?.strip_prefix("bytes ")?;
        let (span, total) = text.split_once('/')?;
        Some((span.split_once('-')?.0.parse::<u64>().ok()?, total.parse::<u64>().ok()))
    };
    let (from, total) = match (partial, range()) {
        (true, Some(found)) => found,
        (true, None) => (asked_from, number("content-length").map(|n| n.saturating_add(asked_from))),
        (false, _) => (0, number("content-length")),
    };
    HttpResponse { status, from, total, partial, body: body.into_reader(), headers: parts.headers }
}
