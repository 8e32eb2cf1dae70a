//! The Hugging Face hub, or a mirror of it: addresses, what lies in its cache on this machine, and what a server says
//! about a file before it is fetched.

use super::catalog::Part;
use crate::error::{Error, Result};
use crate::files::variable;
use crate::net::{Fault, HttpRequest, Network};
use hf_hub::{Cache, Repo, RepoType};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use ureq::http::Uri;

/// What a part of an address cannot hold as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where files are, and how to ask for them. Never printed: it may hold a key.
#[derive(Clone)]
pub struct Hub {
    endpoint: String,
    cache: Option<Cache>,
    token: Option<String>,
    offline: bool,
}

/// What a server says about a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    /// Where it is.
    pub url: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// Names its content; another one is another file.
    pub etag: String,
    /// Its SHA-256, from servers that tell.
    pub sha256: Option<String>,
}

impl Hub {
    /// A server, without cache or key.
    pub fn at(endpoint: &str) -> Self {
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), cache: None, token: None, offline: false }
    }

    /// As the environment says: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` (or the file that signing in leaves),
    /// `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        // Without a home folder the crate would panic.
        let usual = || {
            let somewhere = variable("HF_HOME").is_some() || directories::BaseDirs::new().is_some();
            somewhere.then(Cache::from_env)
        };
        let cache = variable("HF_HUB_CACHE").map(|path| Cache::new(path.into())).or_else(usual);
        let token = variable("HF_TOKEN").or_else(|| usual()?.token());
        let offline = variable("HF_HUB_OFFLINE");
        let offline = offline.is_some_and(|v| ["1", "on", "yes", "true"].contains(&v.to_lowercase().as_str()));
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), cache, token, offline }
    }

    /// Address of a file.
    pub fn url(&self, part: &Part) -> String {
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let file: Vec<String> = part.file.split('/').map(encode).collect();
        format!("{}/{}/resolve/{}/{}", self.endpoint, part.repository, encode(&part.revision), file.join("/"))
    }

    /// The file in the cache on this machine, with the hash its name there vouches for.
    pub fn cached(&self, part: &Part) -> Option<(PathBuf, Option<String>)> {
        let repo = Repo::with_revision(part.repository.clone(), RepoType::Model, part.revision.clone());
        let path = self.cache.as_ref()?.repo(repo).get(&part.file)?;
        // Snapshots are links to files that are named by their hash.
        let blob = path.canonicalize().ok()?;
        let name = blob.file_name()?.to_str()?.to_owned();
        Some((path, Some(name).filter(|name| is_sha256(name))))
    }

    /// Makes sure that a server may be asked.
    ///
    /// # Errors
    /// When `HF_HUB_OFFLINE` forbids it.
    pub fn check(&self) -> Result<()> {
        if self.offline {
            return Err(Error::request(
                "HF_HUB_OFFLINE is set, so only files in the Hugging Face cache of this machine are used, and not all are there. Unset it, or import a folder that holds them: copgen models import ID --from FOLDER",
            ));
        }
        Ok(())
    }

    /// Headers of a request: the key goes only to the hub itself, and never in the clear.
    pub fn headers(&self) -> Vec<(String, String)> {
        let safe = self.endpoint.parse::<Uri>().is_ok_and(|uri| {
            let on_this_machine = uri.host().is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host));
            uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && on_this_machine)
        });
        let token = self.token.iter().filter(|_| safe);
        token.map(|token| ("authorization".into(), format!("Bearer {token}"))).collect()
    }

    /// Asks the server what a file is: where it lies, its length and its hash.
    ///
    /// # Errors
    /// When the server cannot be reached, does not have it, does not give it, or does not say how long it is.
    pub fn describe(&self, network: &Network, part: &Part, stop: &AtomicBool) -> Result<Remote> {
        self.check()?;
        let (url, headers) = (self.url(part), self.headers());
        let ask = HttpRequest { headers: &headers, ..HttpRequest::get(&url) };
        let found = match network.retry(stop, &mut || network.head(&ask)) {
            Ok(found) => Some(found),
            // Some servers answer no such question; asking for the first byte tells what is wrong, if it is something else.
            Err(Error::Network { fault: Fault::Unexpected | Fault::Refused, .. }) => None,
            Err(error) => return Err(explained(error, part)),
        };
        let header = |name: &str| found.as_ref()?.header(name);
        let number = |name: &str| header(name)?.trim().parse::<u64>().ok();
        // A redirection's own length is not the file's.
        let elsewhere = found.as_ref().is_some_and(|found| found.elsewhere);
        let bytes = number("x-linked-size").or_else(|| number("content-length").filter(|_| !elsewhere));
        let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
        let bytes = match bytes.filter(|bytes| *bytes > 0) {
            Some(bytes) => Some(bytes),
            // Some mirrors say nothing of a file, or that it has no length, until it is asked for.
            None => {
                let first = HttpRequest { to: Some(1), ..ask };
                let answer = network.retry(stop, &mut || network.open(&first)).map_err(|e| explained(e, part))?;
                answer.total.filter(|bytes| *bytes > 0)
            }
        };
        let bytes = bytes
            .ok_or_else(|| crate::net::unexpected(&url, "a file of no length, or of one that it does not tell"))?;
        let announced = Some(etag.to_lowercase()).filter(|etag| is_sha256(etag));
        if let (Some(announced), Some(known)) = (&announced, &part.sha256)
            && !announced.eq_ignore_ascii_case(known)
        {
            let text = format!("another file than the catalogue means: its sha256 is {announced}, expected {known}");
            return Err(crate::net::unexpected(&url, &text));
        }
        let sha256 = announced.or_else(|| part.sha256.as_ref().map(|text| text.to_lowercase()));
        let url = found.map_or(url, |found| found.url);
        Ok(Remote { url, bytes, etag, sha256 })
    }
}

/// A refusal, with what it usually means at the hub.
pub(super) fn explained(error: Error, part: &Part) -> Error {
    match error {
        Error::Network { fault: Fault::Refused, problem, address } => {
            let problem = format!(
                "{problem}. If the model asks for its terms to be accepted, do so on the page of {} and set HF_TOKEN to a key of that account",
                part.repository
            );
            Error::Network { fault: Fault::Refused, problem, address }
        }
        other => other,
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers a request's first line, beginning with the status; `answer` gets its port, too.
    fn server(answer: impl Fn(&str, u16) -> String + Send + 'static) -> String {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let asked = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let _ = (&stream).write_all(format!("HTTP/1.1 {}", answer(&asked, port)).as_bytes());
            }
        });
        format!("http://127.0.0.1:{port}")
    }

    /// A server that refuses to say what a file is (HEAD), and gives it.
    fn refusing(status: &'static str) -> String {
        server(move |asked, _| match asked.starts_with("HEAD") {
            true => format!("{status}\r\ncontent-length: 0\r\n\r\n"),
            false => "206 Partial Content\r\ncontent-range: bytes 0-0/77\r\ncontent-length: 1\r\n\r\nP".into(),
        })
    }

    #[test]
    fn a_mirror_that_refuses_to_describe_a_file_is_asked_for_its_beginning() {
        let text = "repository = 'a/b'\nfile = 'c.pth'\nabout_bytes = 1";
        let part: Part = toml::from_str(text).expect("part");
        for status in ["405 Method Not Allowed", "403 Forbidden", "501 Not Implemented", "400 Bad Request"] {
            let found = Hub::at(&refusing(status)).describe(&Network::default(), &part, &AtomicBool::new(false));
            assert_eq!(found.expect(status).bytes, 77, "{status}");
        }
    }

    /// A mirror that sends elsewhere without a word on the file.
    fn mirror() -> String {
        server(|asked, port| match () {
            () if !asked.contains("/cdn/") => {
                let path = asked.split(' ').nth(1).unwrap_or("/");
                format!("302 Found\r\nlocation: http://localhost:{port}/cdn{path}\r\ncontent-length: 0\r\n\r\n")
            }
            () if asked.starts_with("HEAD") => "405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".into(),
            () => "206 Partial Content\r\ncontent-range: bytes 0-0/1005\r\ncontent-length: 1\r\n\r\nP".into(),
        })
    }

    #[test]
    fn a_mirror_that_tells_no_length_is_asked_for_the_beginning() {
        let text = "repository = 'a/b'\nfile = 'c.pth'\nabout_bytes = 1";
        let part: Part = toml::from_str(text).expect("part");
        let found =
            Hub::at(&mirror()).describe(&Network::default(), &part, &AtomicBool::new(false)).expect("described");
        assert_eq!((found.bytes, found.sha256), (1005, None));
    }

    #[test]
    fn the_key_stays_with_the_hub() {
        let sent = |endpoint: &str| !Hub { token: Some("key".into()), ..Hub::at(endpoint) }.headers().is_empty();
        for endpoint in ["https://huggingface.co", "http://127.0.0.1:8000/", "http://localhost:1", "http://[::1]:1"] {
            assert!(sent(endpoint), "{endpoint}");
        }
        for endpoint in
            ["http://127.0.0.1.evil", "http://localhost.evil:80", "http://127.0.0.1:80@evil", "http://hub", "hub"]
        {
            assert!(!sent(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn addresses_hold_what_names_hold() {
        let (file, revision) = ("a b/ü+(1).pth".into(), "refs/pr/1".into());
        let repository = "some/where".into();
        let part = Part { repository, revision, file, modalities: Vec::new(), about_bytes: 1, sha256: None };
        assert_eq!(
            Hub::at("https://h/").url(&part),
            "https://h/some/where/resolve/refs%2Fpr%2F1/a%20b/%C3%BC%2B%281%29.pth"
        );
    }
}
