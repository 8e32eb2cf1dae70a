//! Pages of items that a STAC API answers a search with (STAC API, item search).

use super::providers::{Product, Provider, Time};
use super::query::Query;
use crate::error::{Error, Fault, Result};
use crate::net::{HttpRequest, Network, resolved, same_host, unexpected};
use crate::text::{address_without_secrets, printable};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// Items asked for at once, and pages of them.
const PAGE: usize = 100;
const PAGES: usize = 5;
/// What is written otherwise in the parameters of an address.
const IN_ADDRESS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

#[derive(Deserialize)]
struct ItemCollection {
    /// Missing where the server says that something went wrong.
    features: Option<Vec<Value>>,
    /// Ways to go on, among others; what is none of the kind is passed over.
    #[serde(default)]
    links: Value,
    /// Items that there are.
    #[serde(default, rename = "numberMatched")]
    matched: Value,
    /// The same, before version 1.0.
    #[serde(default)]
    context: Value,
    /// The rest: what went wrong.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl ItemCollection {
    /// What a server says in place of items.
    fn complaint(&self) -> String {
        // What went wrong, or the first of several things, may lie in an object of its own.
        let inner = self.others.get("error").filter(|error| error.is_object());
        let inner = inner.or_else(|| self.others.get("errors")?.get(0));
        let words = |value: &Value| value.as_str().map(str::to_owned).or_else(|| value.as_i64().map(|n| n.to_string()));
        let named = |names: &[&str]| {
            let found = |name: &&str| words(inner.and_then(|inner| inner.get(*name)).or(self.others.get(*name))?);
            names.iter().find_map(found)
        };
        let said = [named(&["code", "title", "error"]), named(&["description", "detail", "message"])];
        let said: Vec<String> = said.into_iter().flatten().collect();
        match said.is_empty() {
            true => "no list of items".to_owned(),
            false => format!("no list of items but the words: {}", printable(&said.join(": "))),
        }
    }
}

impl ItemCollection {
    /// Where it goes on.
    fn next(&self) -> Option<Link> {
        let links = self.links.as_array()?;
        links.iter().filter(|link| link["rel"] == "next").find_map(|link| serde_json::from_value(link.clone()).ok())
    }

    /// How many items there are in all, if the server says.
    fn matched(&self) -> Option<u64> {
        let number = |value: &Value| {
            let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
            (number >= 0.0).then_some(number as u64)
        };
        number(&self.matched).or_else(|| number(&self.context["matched"]))
    }

    /// How many items a page holds at most: what was asked for, or less where the server says so.
    fn limit(&self) -> usize {
        let said = self.context["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
        said.filter(|limit| *limit > 0).map_or(PAGE, |limit| limit.min(PAGE))
    }
}

#[derive(Deserialize)]
struct Link {
    href: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    merge: Option<bool>,
    #[serde(default)]
    headers: Option<BTreeMap<String, Value>>,
}

impl Link {
    /// The headers that are to be sent: a text, or several for one name. Those of the exchange itself are ours.
    fn wanted_headers(&self) -> Vec<(String, String)> {
        let ours = ["host", "connection", "content-length", "content-type", "transfer-encoding"];
        let plain = |text: &str| !text.chars().any(char::is_control);
        let value = |value: &Value| match value {
            Value::Array(all) => Some(all.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(", ")),
            Value::Number(number) => Some(number.to_string()),
            other => other.as_str().map(str::to_owned),
        };
        let pairs = self.headers.iter().flatten().filter_map(|(name, v)| Some((name.clone(), value(v)?)));
        pairs.filter(|(name, v)| !ours.contains(&name.to_lowercase().as_str()) && plain(name) && plain(v)).collect()
    }
}

/// What lies in a box (west, south, east, north in degrees), item by item, addresses made whole; whether that was all.
///
/// # Errors
/// [`Error::Network`](crate::error::Error::Network), [`Error::Cancelled`](crate::error::Error::Cancelled), or when the answer is
/// no item collection.
pub(super) fn pages(
    network: &Network,
    provider: &Provider,
    product: &Product,
    bounds: [f64; 4],
    query: &Query,
    stop: &AtomicBool,
    take: &mut dyn FnMut(&Value),
) -> Result<bool> {
    let mut question = json!({
        "collections": [product.collection],
        "bbox": bounds,
        "limit": PAGE,
    });
    if product.time == Time::Acquisition {
        question["datetime"] = json!(format!("{}T00:00:00Z/{}T23:59:59Z", query.from, query.to));
    }
    let mut url = format!("{}/search", provider.api.trim_end_matches('/'));
    let mut body = Some(question.clone());
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut seen = 0;
    for page in 0..PAGES {
        let ask = HttpRequest { body: body.as_ref(), headers: &headers, ..HttpRequest::get(&url) };
        let mut answer: ItemCollection = match network.json(&ask, stop) {
            // A server that takes no questions in a body takes them in the address.
            Err(first @ Error::Network { fault: Fault::Unexpected | Fault::NotFound, .. }) if page == 0 => {
                url = asked_in_address(&url, &question);
                body = None;
                match network.json(&HttpRequest::get(&url), stop) {
                    Err(Error::Network { .. }) => return Err(first),
                    answer => answer?,
                }
            }
            answer => answer?,
        };
        let Some(mut features) = answer.features.take() else { return Err(unexpected(&url, &answer.complaint())) };
        features.iter_mut().for_each(|feature| resolve_assets(feature, &url));
        features.iter().for_each(&mut *take);
        seen += features.len();
        // Some servers end at a page and only say by a number that there is more, others not even that.
        let all = answer.matched().map_or(features.len() < answer.limit(), |matched| seen as u64 >= matched);
        // A page without items may lead on: some servers leave out what they find only after they have cut pages.
        let Some(next) = answer.next() else { return Ok(all) };
        let (href, wanted) = (next_address(&url, &next)?, next.wanted_headers());
        // Who gives a body means it to be sent.
        let posts = next.method.as_deref().map_or(next.body.is_some(), |method| method.eq_ignore_ascii_case("post"));
        let asked = (url.clone(), body.clone(), headers.clone());
        body = match next.body {
            _ if !posts => None,
            Some(more) if next.merge == Some(true) => Some(merged(body.as_ref().unwrap_or(&question), &more)),
            Some(more) => Some(more),
            // The same question goes to another address.
            None => Some(body.unwrap_or_else(|| question.clone())),
        };
        headers = wanted;
        url = href;
        // Who leads to the page that was just read leads nowhere.
        if (&url, &body, &headers) == (&asked.0, &asked.1, &asked.2) {
            return Ok(all);
        }
    }
    Ok(false)
}

/// Where the next page is. What stands in a question is no secret, so it may be put to another
/// server, as redirections have it; headers may be keys, so they go to none, and a page that wants some there cannot be had.
///
/// # Errors
/// When that is no address of the web, another server wants headers, or the way leads out of encryption.
fn next_address(url: &str, next: &Link) -> Result<String> {
    let mut href = resolved(url, &next.href)?;
    let refused = |what: &str| unexpected(url, &format!("continued {what} ({})", address_without_secrets(&next.href)));
    let is_safe = |address: &str| address.starts_with("https://");
    let own = same_host(&href, url);
    if own
        && is_safe(url)
        && let Some(rest) = href.strip_prefix("http://")
    {
        // Servers behind others often do not know how they are reached.
        href = format!("https://{rest}");
    }
    match () {
        () if !(is_safe(&href) || href.starts_with("http://")) => Err(refused("at what is no address of the web")),
        () if is_safe(url) && !is_safe(&href) => Err(refused("on another server without encryption")),
        () if !own && !next.wanted_headers().is_empty() => {
            Err(refused("on another server that wants headers, which may be keys and are not sent there"))
        }
        () => Ok(href),
    }
}

/// Makes addresses of files whole that are relative to the item, which says where it is itself (`self`), or to the answer
/// it came in (STAC 1.0, "Relation types" and "Asset object"). What is no address stays, and is refused where it is used.
fn resolve_assets(feature: &mut Value, answer: &str) {
    let links = feature["links"].as_array();
    let own = links.and_then(|links| links.iter().find(|link| link["rel"] == "self")?["href"].as_str());
    let base = own.and_then(|own| resolved(answer, own).ok()).unwrap_or_else(|| answer.to_owned());
    let make_whole = |asset: &mut Value| {
        if let Some(href) = asset.get_mut("href")
            && let Some(whole) = href.as_str().and_then(|href| resolved(&base, href).ok())
        {
            *href = whole.into();
        }
    };
    for (_, asset) in feature.get_mut("assets").and_then(Value::as_object_mut).into_iter().flatten() {
        make_whole(asset);
        let others = asset.get_mut("alternate").and_then(Value::as_object_mut).into_iter().flatten();
        others.for_each(|(_, other)| make_whole(other));
    }
}

/// A search as parameters of its address.
fn asked_in_address(url: &str, question: &Value) -> String {
    let numbers: Vec<String> = question["bbox"].as_array().into_iter().flatten().map(Value::to_string).collect();
    let text = |key: &str| question[key].as_str().unwrap_or_default().to_owned();
    let collection = question["collections"][0].as_str().unwrap_or_default();
    let mut address = format!(
        "{url}?collections={}&bbox={}&limit={PAGE}",
        utf8_percent_encode(collection, IN_ADDRESS),
        numbers.join(",")
    );
    if !text("datetime").is_empty() {
        address += &format!("&datetime={}", utf8_percent_encode(&text("datetime"), IN_ADDRESS));
    }
    address
}

fn merged(question: &Value, more: &Value) -> Value {
    let mut all = question.clone();
    if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stay_with_the_server_that_asks_for_them() {
        let link = |href: &str, headers: Value| -> Link {
            serde_json::from_value(json!({"rel": "next", "href": href, "headers": headers})).expect("link")
        };
        let at = "https://h/stac/search";
        let wants =
            json!({"Search-After": ["a", "b"], "x-page": 2, "Host": "other", "odd": {"a": 1}, "two": "a\nb: c"});
        let own = link("/stac/search?page=2", wants.clone());
        assert_eq!(next_address(at, &own).expect("own"), "https://h/stac/search?page=2");
        let sent = [("Search-After", "a, b"), ("x-page", "2")].map(|(name, v)| (name.to_owned(), v.to_owned()));
        assert_eq!(own.wanted_headers(), sent);
        // Without encryption only because the server does not know better.
        assert_eq!(next_address(at, &link("http://h/next", json!(null))).expect("own"), "https://h/next");
        assert_eq!(next_address(at, &link("https://g/next", json!({}))).expect("other"), "https://g/next");
        for (href, headers, says) in [
            ("https://g/next", wants, "wants headers"),
            ("http://g/next", json!(null), "without encryption"),
            ("file:///etc/hosts", json!(null), "no address of the web"),
        ] {
            let problem = next_address(at, &link(href, headers)).expect_err(href).to_string();
            assert!(problem.contains(says) && problem.contains(href), "{problem}");
        }
    }

    #[test]
    fn relative_addresses_of_files_are_made_whole() {
        let item = |links: Value| {
            let assets =
                json!({"a": {"href": "./a.tif"}, "b": {"href": "s3://bucket/b c.tif"}, "c": {"href": 7}, "d": 7});
            let mut item = json!({"assets": assets, "links": links});
            resolve_assets(&mut item, "https://h/stac/search?token=t");
            ["a", "b", "c"].map(|name| item["assets"][name]["href"].clone())
        };
        let of_own = item(json!([{"rel": "root", "href": "/"}, {"rel": "self", "href": "collections/c/items/1"}]));
        assert_eq!(of_own, [json!("https://h/stac/collections/c/items/a.tif"), json!("s3://bucket/b c.tif"), json!(7)]);
        assert_eq!(item(json!(null))[0], json!("https://h/stac/a.tif"));
        let mut item =
            json!({"assets": {"a": {"href": "s3://b/a.tif", "alternate": {"https": {"href": "./f/a.tif"}}}}});
        resolve_assets(&mut item, "https://h/stac/search");
        assert_eq!(item["assets"]["a"]["alternate"]["https"]["href"], "https://h/stac/f/a.tif");
    }
}
