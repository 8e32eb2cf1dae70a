//! How files are reached: addresses, signatures, keys. Keys live in the environment and in memory only.

use super::providers::Access;
use crate::error::{Error, Fault, Result};
use crate::files::variable;
use crate::net::{HttpRequest, HttpResponse, Network, server, unexpected};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bytes that tell what a file is.
const HEAD: u64 = 16;
/// How files begin that can be read: TIFF and BigTIFF in either order of bytes, JPEG 2000 as file and as codestream.
const RASTERS: [&[u8]; 6] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"];
/// The largest file that is fetched whole from servers that send no parts, bytes; several are held at once.
const LARGEST_WHOLE: u64 = 64 << 20;
/// How long a signed address is good for.
const SIGNED_FOR: Duration = Duration::from_secs(300);

/// How to read the files of one collection now.
pub(super) struct FileAccess {
    access: Access,
    /// A short-lived signature.
    signature: Option<String>,
    /// Servers that were found to send parts of files.
    sends_parts: Mutex<BTreeSet<String>>,
}

/// What GDAL opens, and with which settings.
pub(super) struct Opening {
    /// Name for GDAL.
    pub name: String,
    /// Settings of this thread while it is read.
    pub settings: Vec<(&'static str, String)>,
}

impl FileAccess {
    /// Asks for what is needed to read files of a collection.
    ///
    /// # Errors
    /// When keys are not set up, or the signature is refused.
    pub(super) fn new(network: &Network, access: &Access, collection: &str, stop: &AtomicBool) -> Result<Self> {
        access.ready()?;
        let mut signature = None;
        if let Access::Token { url, header, key, .. } = access {
            let url = url.replace("{collection}", collection);
            let key = header.clone().zip(key.as_deref().and_then(variable));
            let headers: Vec<(String, String)> = key.into_iter().collect();
            let answer: serde_json::Value =
                network.json(&HttpRequest { headers: &headers, ..HttpRequest::get(&url) }, stop)?;
            let token = answer["token"].as_str().filter(|token| !token.is_empty());
            signature = Some(token.ok_or_else(|| unexpected(&url, "without a signature"))?.to_owned());
        }
        Ok(Self { access: access.clone(), signature, sends_parts: Mutex::default() })
    }

    /// The address to read from.
    fn address(&self, href: &str) -> String {
        match &self.access {
            Access::Open { replace } => {
                let found = replace.iter().find_map(|[from, to]| Some(format!("{to}{}", href.strip_prefix(from)?)));
                found.unwrap_or_else(|| href.to_owned())
            }
            _ => match &self.signature {
                Some(signature) if href.contains('?') => format!("{href}&{signature}"),
                Some(signature) => format!("{href}?{signature}"),
                None => href.to_owned(),
            },
        }
    }

    /// Headers that a request needs. A token goes to servers it is meant for, over safe connections, and nowhere else.
    fn headers(&self, url: &str) -> Result<Vec<(String, String)>> {
        let Access::Bearer { key, hosts } = &self.access else { return Ok(Vec::new()) };
        let host = url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        if !host.is_some_and(|host| hosts.iter().any(|own| own == host)) {
            return Err(Error::request(format!(
                "The token of {key} is not for {}; name the hosts it may go to in sources.toml.",
                server(url)
            )));
        }
        Ok(variable(key).map(|key| ("authorization".into(), format!("Bearer {key}"))).into_iter().collect())
    }

    /// How GDAL opens a file; `attempt` makes names differ, because GDAL remembers what it got, failures too, by address.
    ///
    /// # Errors
    /// When the address is of a kind that cannot be read.
    pub(super) fn opening(&self, href: &str, attempt: u32) -> Result<Opening> {
        let mut settings = Vec::new();
        if let Access::S3 { id, secret, endpoint, region, requester_pays } = &self.access {
            let path = href.strip_prefix("s3://").ok_or_else(|| unknown(href))?;
            for (name, key) in [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)] {
                settings.extend(variable(key).map(|value| (name, value)));
            }
            settings.extend(endpoint.clone().map(|endpoint| ("AWS_S3_ENDPOINT", endpoint)));
            if endpoint.is_some() {
                settings.push(("AWS_VIRTUAL_HOSTING", "FALSE".into()));
            }
            settings.extend(region.clone().map(|region| ("AWS_REGION", region)));
            if *requester_pays {
                settings.push(("AWS_REQUEST_PAYER", "requester".into()));
            }
            // Names cannot be made to differ here, so nothing is remembered.
            settings.push(("CPL_VSIL_CURL_NON_CACHED", "/vsis3/".into()));
            return Ok(Opening { name: format!("/vsis3/{path}"), settings });
        }
        let url = self.address(href);
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(unknown(href));
        }
        for (name, value) in self.headers(&url)? {
            settings.push(("GDAL_HTTP_HEADERS", format!("{name}: {value}")));
        }
        // What stands after # is not sent, but makes another address to GDAL.
        let url = if attempt > 0 { format!("{url}#{attempt}") } else { url };
        let url = utf8_percent_encode(&url, NON_ALPHANUMERIC);
        let name = format!("/vsicurl?list_dir=no&url={url}");
        Ok(Opening { name, settings })
    }

    /// The address from which this program itself asks for a file; one in a bucket is signed for a while.
    fn own_address(&self, href: &str) -> Option<String> {
        let Access::S3 { id, secret, endpoint, region, requester_pays } = &self.access else {
            return Some(self.address(href));
        };
        let (bucket, key) = href.strip_prefix("s3://")?.split_once('/')?;
        // As GDAL understands these settings.
        let safe = gdal::config::get_config_option("AWS_HTTPS", "YES")
            .is_ok_and(|text| !["NO", "OFF", "FALSE", "0"].contains(&text.to_uppercase().as_str()));
        let region = region.clone().unwrap_or_else(|| "us-east-1".into());
        let (host, style) = match endpoint {
            Some(host) => (host.clone(), UrlStyle::Path),
            None => (format!("s3.{region}.amazonaws.com"), UrlStyle::VirtualHost),
        };
        let server = format!("{}://{host}", if safe { "https" } else { "http" }).parse().ok()?;
        let bucket = Bucket::new(server, style, bucket.to_owned(), region).ok()?;
        let keys = match variable("AWS_SESSION_TOKEN") {
            Some(token) => Credentials::new_with_token(variable(id)?, variable(secret)?, token),
            None => Credentials::new(variable(id)?, variable(secret)?),
        };
        let mut ask = bucket.get_object(Some(&keys), key);
        if *requester_pays {
            ask.query_mut().insert("x-amz-request-payer", "requester");
        }
        Some(ask.sign(SIGNED_FOR).into())
    }

    /// Asks for the first bytes of a file.
    fn first_bytes(&self, network: &Network, url: &str) -> Result<HttpResponse> {
        network.open(&HttpRequest { headers: &self.headers(url)?, to: Some(HEAD), ..HttpRequest::get(url) })
    }

    /// All of a file from a server that sends whole files only, however little is asked for; `None` from one that sends
    /// parts, as is found once for each server.
    ///
    /// # Errors
    /// [`Error::Network`], also when the file is too large to be fetched whole; [`Error::Cancelled`].
    pub(super) fn whole_if_no_parts(
        &self,
        network: &Network,
        href: &str,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<u8>>> {
        // Buckets have always sent parts; what cannot be asked for is told when it is opened.
        let url = self.address(href);
        if matches!(self.access, Access::S3 { .. }) || !url.starts_with("http") {
            return Ok(None);
        }
        let server = server(&url);
        let sends_parts = || self.sends_parts.lock().unwrap_or_else(PoisonError::into_inner);
        if sends_parts().contains(&server) {
            return Ok(None);
        }
        network.retry(stop, &mut || {
            let mut answer = self.first_bytes(network, &url)?;
            if answer.partial {
                sends_parts().insert(server.clone());
                return Ok(None);
            }
            network.whole_instead(&url, &mut answer, LARGEST_WHOLE, stop).map(Some)
        })
    }

    /// Why a file cannot be read, if its server says so: asks for its first bytes.
    pub(super) fn diagnosis(&self, network: &Network, href: &str) -> Option<Error> {
        let url = self.own_address(href)?;
        let mut head = Vec::new();
        match self.first_bytes(network, &url) {
            // The signed address may not be the way GDAL goes: only what is the same on both ways is believed.
            Err(Error::Network { fault: Fault::Unexpected, .. }) if matches!(self.access, Access::S3 { .. }) => None,
            Err(error) => Some(error),
            Ok(answer) => {
                answer.take(HEAD).read_to_end(&mut head).ok()?;
                let known = head.len() < RASTERS[0].len() || RASTERS.iter().any(|begin| head.starts_with(begin));
                (!known).then(|| unexpected(&url, "no GeoTIFF or JPEG 2000"))
            }
        }
    }
}

fn unknown(href: &str) -> Error {
    let scheme = href.split(':').next().unwrap_or_default();
    Error::request(format!(
        "Files at addresses that begin with {scheme}: cannot be read from this source as it is set up; see assets/sources.toml."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_access(access: Access, signature: Option<String>) -> FileAccess {
        FileAccess { access, signature, sends_parts: Mutex::default() }
    }

    #[test]
    fn addresses_become_names_for_gdal() {
        let replace = vec![["s3://bucket/".to_owned(), "https://bucket.host/".to_owned()]];
        let pass = file_access(Access::Open { replace }, None);
        let name = |href: &str| pass.opening(href, 0).map(|opening| opening.name);
        assert!(name("s3://bucket/a.tif").expect("name").ends_with("url=https%3A%2F%2Fbucket%2Ehost%2Fa%2Etif"));
        for odd in ["s3://other/a.tif", "/etc/passwd", "file:///etc/passwd", "<VRTDataset/>", "/vsizip/x"] {
            assert!(name(odd).is_err(), "{odd}");
        }
        let token = Access::Token { url: "u".into(), header: None, key: None, required: false };
        let pass = file_access(token, Some("sig=1".into()));
        assert_eq!(pass.address("https://h/a.tif"), "https://h/a.tif?sig=1");
        assert_eq!(pass.address("https://h/a.tif?v=2"), "https://h/a.tif?v=2&sig=1");
    }
}
