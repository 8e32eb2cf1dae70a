//! Addresses: what a relative one means, and whether two are of one server.

use super::fault;
use crate::error::Result;
use url::Url;

/// What an address means that was found at another one: relative to it by the rules of RFC 3986, section 5; one that is
/// whole stays as it is written.
///
/// # Errors
/// When one of them is no address.
pub fn resolved(base: &str, found: &str) -> Result<String> {
    match Url::parse(found) {
        Ok(_) => Ok(found.to_owned()),
        Err(_) => redirected(base, found),
    }
}

/// Where a redirection leads, in the one way of writing it: what is compared is what is asked for.
pub(super) fn redirected(base: &str, found: &str) -> Result<String> {
    let whole = Url::parse(base).and_then(|base| base.join(found));
    whole.map(String::from).map_err(|e| {
        let named = crate::text::address_without_secrets(found);
        fault::unexpected(base, &format!("a way to something that is no address (\"{named}\": {e})"))
    })
}

/// Whether two addresses have scheme, host and port in common.
pub(super) fn same_server(a: &str, b: &str) -> bool {
    match (Url::parse(a), Url::parse(b)) {
        (Ok(a), Ok(b)) => a.origin() == b.origin(),
        _ => false,
    }
}

/// Whether two addresses have host and port in common; the usual ports of http and https count as one.
pub fn same_host(a: &str, b: &str) -> bool {
    let host = |url: &str| Url::parse(url).ok().and_then(|url| Some((url.host_str()?.to_owned(), url.port())));
    host(a).is_some_and(|a| Some(a) == host(b))
}

/// Scheme, host and port of an address, for messages.
pub fn server(url: &str) -> String {
    let whole = crate::text::address_without_secrets(url);
    let end = whole.match_indices('/').nth(2).map_or(whole.len(), |(at, _)| at);
    whole[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_addresses_are_resolved_as_rfc_3986_says() {
        // Section 5.4.1, and of 5.4.2 what climbs above the root.
        let base = "http://a/b/c/d;p?q";
        for (found, whole) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g/", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("g;x=1/../y", "http://a/b/c/y"),
        ] {
            assert_eq!(resolved(base, found).expect("whole"), whole, "{found}");
        }
        assert_eq!(resolved("http://h", "a").expect("whole"), "http://h/a");
        assert_eq!(resolved(base, "s3://bucket/a b.tif").expect("whole"), "s3://bucket/a b.tif", "left as it is");
        let error = resolved("http://h/?sig=secret", "http://[").expect_err("no address").to_string();
        assert!(error.contains("no address") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn servers_are_compared_by_what_they_are() {
        assert!(same_server("https://h/a", "https://H:443/b") && !same_server("https://h/", "http://h/"));
        assert!(!same_server("https://h/", "https://h.evil/") && !same_server("https://h/", "https://h@evil/"));
        assert!(same_host("https://h/a", "http://h/b") && !same_host("https://h:8080/", "https://h/"));
        assert_eq!(server("https://user:word@h:8/a?b"), "https://h:8");
    }
}
