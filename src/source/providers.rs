//! Providers of open data, as configuration: `assets/sources.toml` says what its fields mean.

use crate::error::{Error, Result};
use crate::files::{UserFolder, bundled, read_toml, variable};
use crate::modality::Catalogue;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A STAC catalogue and what of it is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// For people.
    pub name: String,
    /// Address of the STAC API.
    pub api: String,
    /// How its files are read.
    #[serde(default)]
    access: Access,
    /// Its collections.
    #[serde(default, rename = "product")]
    pub products: Vec<Product>,
}

/// One collection.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Sensor or product: a family of the catalogue.
    pub family: String,
    /// Name of the collection there.
    pub collection: String,
    /// Licence of the data.
    pub licence: String,
    /// Whom to name; `{year}` stands for the year of the data.
    pub attribution: String,
    /// What its dates mean.
    pub time: Time,
    /// Assets by our channel.
    pub bands: BTreeMap<String, String>,
    /// Asset of the Sentinel-2 scene classification.
    #[serde(default)]
    pub scene_classes: Option<String>,
    /// Property that holds the Sentinel-2 processing baseline.
    #[serde(default)]
    pub baseline: Option<String>,
    /// Property that says whether the offset of newer baselines is already gone.
    #[serde(default)]
    pub offset_applied: Option<String>,
    /// Images of newer baselines that do not say so are left out, because the catalogue is known to forget it.
    #[serde(default)]
    pub newer_must_say_applied: bool,
    /// Factor from stored values to ours.
    #[serde(default = "one")]
    pub multiply: f64,
    /// Added after that.
    #[serde(default)]
    pub add: f64,
    /// Stored values are decibels.
    #[serde(default)]
    pub decibel: bool,
    /// Our class by theirs; empty if they are the same.
    #[serde(default)]
    pub codes: BTreeMap<String, u8>,
    /// How its files are read, if not as the provider's others.
    #[serde(default)]
    access: Option<Access>,
}

fn one() -> f64 {
    1.0
}

/// What the dates of a collection mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// When it was seen.
    Acquisition,
    /// The year a map is of.
    Year,
    /// Nothing: it is as it is.
    Always,
}

/// How files are read. Keys are names of variables of the environment, never what is in them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Access {
    /// As anyone.
    Open {
        /// Beginnings of addresses, and what stands for them.
        #[serde(default)]
        replace: Vec<[String; 2]>,
    },
    /// With a signature that an address gives.
    Token {
        /// The address; `{collection}` stands for the collection's name.
        url: String,
        /// Header that takes a subscription key.
        #[serde(default)]
        header: Option<String>,
        /// Variable that holds it.
        #[serde(default)]
        key: Option<String>,
        /// Whether it has to be set.
        #[serde(default)]
        required: bool,
    },
    /// With an access token.
    Bearer {
        /// Variable that holds it.
        key: String,
        /// Hosts it may be sent to.
        hosts: Vec<String>,
    },
    /// From an S3 bucket.
    S3 {
        /// Variable that holds the key's name.
        id: String,
        /// Variable that holds the key.
        secret: String,
        /// Host, if not Amazon's.
        #[serde(default)]
        endpoint: Option<String>,
        /// Amazon's region.
        #[serde(default)]
        region: Option<String>,
        /// Whether the reader is billed.
        #[serde(default)]
        requester_pays: bool,
    },
}

impl Default for Access {
    fn default() -> Self {
        Self::Open { replace: Vec::new() }
    }
}

impl Access {
    /// Whether it can be used as things are.
    ///
    /// # Errors
    /// What has to be set up first.
    pub fn ready(&self) -> Result<()> {
        let (needed, why): (Vec<&String>, &str) = match self {
            Self::Open { .. } => return Ok(()),
            Self::Token { required: false, .. } => return Ok(()),
            Self::Token { key, .. } => (key.iter().collect(), ""),
            Self::Bearer { key, .. } => (vec![key], ""),
            Self::S3 { id, secret, requester_pays, .. } => {
                (vec![id, secret], if *requester_pays { "; reading from there is billed to your account" } else { "" })
            }
        };
        let missing: Vec<&str> =
            needed.iter().filter(|name| variable(name).is_none()).map(|name| name.as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::request(format!(
            "This source needs an account of your own: set {} in the environment{why}.",
            missing.join(" and ")
        )))
    }
}

impl Provider {
    /// How a product's files are read.
    pub fn access<'a>(&'a self, product: &'a Product) -> &'a Access {
        product.access.as_ref().unwrap_or(&self.access)
    }
}

impl Product {
    /// The licence line, with the year of the data.
    pub fn credit(&self, day: &str) -> String {
        self.attribution.replace("{year}", day.get(..4).unwrap_or("of an unknown year"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sources {
    #[serde(default)]
    provider: Vec<Provider>,
}

/// All providers: those that come with the program, and the user's own.
///
/// # Errors
/// When a file cannot be read or is no such configuration.
pub fn providers() -> Result<Vec<Provider>> {
    let mut all = providers_in(&bundled("assets/sources.toml")?)?;
    if let Some(own) = UserFolder::Settings.folder().map(|dir| dir.join("sources.toml")).filter(|path| path.exists()) {
        for provider in providers_in(&own)? {
            match all.iter_mut().find(|other| other.name == provider.name) {
                Some(other) => *other = provider,
                None => all.push(provider),
            }
        }
    }
    Ok(all)
}

/// Those that one file describes.
///
/// # Errors
/// When it cannot be read or is no such configuration.
pub fn providers_in(path: &Path) -> Result<Vec<Provider>> {
    let sources: Sources = read_toml(path, "a description of data sources")?;
    let catalogue = Catalogue::of_user();
    for provider in &sources.provider {
        if !provider.api.starts_with("https://") && !provider.api.starts_with("http://") {
            return Err(Error::file(path, format!("{}: api must be an address of the web (https://…)", provider.name)));
        }
        for product in &provider.products {
            let fault =
                |what: &str| Err(Error::file(path, format!("{} of {}: {what}", product.collection, provider.name)));
            if catalogue.product(&product.family).is_none() {
                let known = catalogue.product_names().join(", ");
                return fault(&format!("there is no family {}; known: {known}", product.family));
            }
            if product.bands.is_empty() {
                return fault("no bands are named");
            }
            if product.codes.keys().any(|code| code.parse::<i64>().is_err()) {
                return fault("codes must be numbers");
            }
        }
    }
    Ok(sources.provider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Catalogue;

    #[test]
    fn bundled_sources_fit_the_table() {
        let all = providers_in(&bundled("assets/sources.toml").expect("file")).expect("sources");
        let catalogue = Catalogue::bundled();
        let mut families: Vec<&str> = Vec::new();
        for product in all.iter().flat_map(|provider| &provider.products) {
            families.push(&product.family);
            let rows: Vec<_> = catalogue.groups_of(&product.family).collect();
            assert!(!rows.is_empty(), "{}", product.family);
            for channel in rows.iter().flat_map(|m| &m.channels) {
                assert!(product.bands.contains_key(channel), "{} of {}", channel, product.collection);
            }
            let classes = rows[0].classes().unwrap_or_default();
            for code in product.codes.values() {
                assert!(classes.iter().any(|class| class.code == *code), "{code}");
            }
            assert!(!product.credit("2023-04-19").contains('{'));
        }
        for family in catalogue.products() {
            assert!(families.contains(&family.name.as_str()), "{}", family.name);
        }
    }

    #[test]
    fn keys_are_asked_for_by_name() {
        let access = Access::Bearer { key: "COPGEN_NO_SUCH_KEY".into(), hosts: Vec::new() };
        assert!(access.ready().expect_err("not set").to_string().contains("COPGEN_NO_SUCH_KEY"));
        assert!(Access::default().ready().is_ok());
    }
}
