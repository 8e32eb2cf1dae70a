//! How files are reached: addresses, signatures, keys. Keys live in the environment and in memory only.

use super::providers::Access;
use crate::error::{Error, Result};
use crate::files::variable;
use crate::net::{Ask, Network};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::atomic::AtomicBool;

/// How to read the files of one collection now.
#[derive(Clone)]
pub(super) struct Pass {
    access: Access,
    /// A short-lived signature.
    signature: Option<String>,
}

/// What GDAL opens, and with which settings.
pub(super) struct Opening {
    /// Name for GDAL.
    pub name: String,
    /// Settings of this thread while it is read.
    pub settings: Vec<(&'static str, String)>,
}

impl Pass {
    /// Asks for what is needed to read files of a collection.
    ///
    /// # Errors
    /// When keys are not set up, or the signature is refused.
    pub fn new(network: &Network, access: &Access, collection: &str, stop: &AtomicBool) -> Result<Self> {
        access.ready()?;
        let mut signature = None;
        if let Access::Token { url, header, key, .. } = access {
            let url = url.replace("{collection}", collection);
            let key = header.clone().zip(key.as_deref().and_then(variable));
            let headers: Vec<(String, String)> = key.into_iter().collect();
            let answer: serde_json::Value = network.json(&Ask { headers: &headers, ..Ask::get(&url) }, stop)?;
            let token = answer["token"].as_str().filter(|token| !token.is_empty());
            signature = Some(token.ok_or_else(|| crate::net::unexpected(&url, "without a signature"))?.to_owned());
        }
        Ok(Self { access: access.clone(), signature })
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
                crate::net::server(url)
            )));
        }
        Ok(variable(key).map(|key| ("authorization".into(), format!("Bearer {key}"))).into_iter().collect())
    }

    /// How GDAL opens a file; `attempt` makes names differ, because GDAL remembers what it got, failures too, by address.
    ///
    /// # Errors
    /// When the address is of a kind that cannot be read.
    pub fn opening(&self, href: &str, attempt: u32) -> Result<Opening> {
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

    /// Why a file cannot be read: asks for its first bytes.
    pub fn diagnosis(&self, network: &Network, href: &str) -> Option<Error> {
        if matches!(self.access, Access::S3 { .. }) {
            return None;
        }
        let url = self.address(href);
        let headers = self.headers(&url).ok()?;
        network.open(&Ask { headers: &headers, to: Some(1), ..Ask::get(&url) }).err()
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

    #[test]
    fn addresses_become_names_for_gdal() {
        let replace = vec![["s3://bucket/".to_owned(), "https://bucket.host/".to_owned()]];
        let pass = Pass { access: Access::Open { replace }, signature: None };
        let name = |href: &str| pass.opening(href, 0).map(|opening| opening.name);
        assert!(name("s3://bucket/a.tif").expect("name").ends_with("url=https%3A%2F%2Fbucket%2Ehost%2Fa%2Etif"));
        for odd in ["s3://other/a.tif", "/etc/passwd", "file:///etc/passwd", "<VRTDataset/>", "/vsizip/x"] {
            assert!(name(odd).is_err(), "{odd}");
        }
        let token = Access::Token { url: "u".into(), header: None, key: None, required: false };
        let pass = Pass { access: token, signature: Some("sig=1".into()) };
        assert_eq!(pass.address("https://h/a.tif"), "https://h/a.tif?sig=1");
        assert_eq!(pass.address("https://h/a.tif?v=2"), "https://h/a.tif?v=2&sig=1");
    }
}
