//! What is said about rasters that were fetched.

use super::offset::Offset;
use super::providers::Product;
use super::stac::{Acquisition, Item};
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::modality::{Catalogue, Family, Subject};
use crate::text::address_without_secrets;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What is said about a family of rasters.
pub(super) struct Facts {
    pub provider: String,
    pub collection: String,
    family: Arc<Family>,
    pub date: String,
    pub attribution: String,
    pub licence: String,
    addresses: BTreeMap<String, BTreeMap<String, String>>,
    baselines: BTreeMap<String, f32>,
    offsets: BTreeMap<String, Offset>,
    pub parts: BTreeSet<(String, &'static str)>,
    pub corrected: BTreeSet<String>,
    /// What was done to numbers because files say what they are.
    pub said: BTreeSet<String>,
    /// Share of the pixels that no source had, of the group of bands that lacks most.
    pub missing: f64,
    /// That group.
    pub poorest: String,
    /// Share of the pixels that stay without data.
    pub open: f64,
    /// Share of the pixels that are exactly 0 m high though no sea is there.
    pub zeros: f64,
    /// Side of the coarsest source pixels in metres, where they are clearly coarser than ours.
    pub coarsest: Option<f64>,
}

impl Facts {
    pub(super) fn new(chosen: &Acquisition, product: &Product, family: &Arc<Family>) -> Self {
        let addresses = |item: &Item| {
            item.assets.iter().map(|(channel, href)| (channel.clone(), address_without_secrets(href))).collect()
        };
        Self {
            provider: chosen.provider.clone(),
            collection: chosen.collection.clone(),
            family: family.clone(),
            date: chosen.instant.clone().unwrap_or_else(|| chosen.day.clone()),
            attribution: product.credit(&chosen.day),
            licence: product.licence.clone(),
            addresses: chosen.items.iter().map(|item| (item.id.clone(), addresses(item))).collect(),
            baselines: chosen.items.iter().filter_map(|item| Some((item.id.clone(), item.baseline?))).collect(),
            offsets: chosen.items.iter().map(|item| (item.id.clone(), item.offset)).collect(),
            parts: BTreeSet::new(),
            corrected: BTreeSet::new(),
            said: BTreeSet::new(),
            missing: 0.0,
            poorest: String::new(),
            open: 0.0,
            zeros: 0.0,
            coarsest: None,
        }
    }

    /// Items that were used.
    fn items(&self) -> BTreeSet<&String> {
        self.parts.iter().map(|(id, _)| id).collect()
    }

    pub(super) fn sentence(&self) -> String {
        let items: Vec<&str> = self.items().into_iter().map(String::as_str).collect();
        let how: BTreeSet<&str> = self.parts.iter().map(|(_, how)| *how).collect();
        let mut text = format!("{}, {}, {}", self.provider, self.collection, items.join(" and "));
        let baselines: BTreeSet<String> =
            self.items().iter().filter_map(|id| Some(format!("{:05.2}", self.baselines.get(*id)?))).collect();
        for baseline in baselines {
            text += &format!(", processing baseline {baseline}");
        }
        let offset = self.family.offset.unwrap_or_default();
        let unknown = self.items().iter().any(|id| self.offsets.get(*id) == Some(&Offset::Unknown));
        // Words that settle it are said only if they hold of all items.
        text += &match (offset > 0.0, unknown, self.corrected.is_empty()) {
            (false, ..) => String::new(),
            (_, true, true) => format!(", processing baseline unknown, so an offset of {offset} may be left"),
            (_, true, false) => format!(", an offset of {offset} taken off some of it, and perhaps left in the rest"),
            (_, false, true) => ", no offset".to_owned(),
            (_, false, false) => format!(", offset of {offset} removed"),
        };
        text += &format!(", {}", how.into_iter().collect::<Vec<_>>().join(" and "));
        if let Some(side) = self.coarsest {
            text += &format!(", from coarser pixels of {side:.0} m");
        }
        for said in &self.said {
            text += &format!(", {said}");
        }
        if self.missing > 0.0 {
            text += &format!(", {} of {} without data", percent(self.missing), self.poorest);
            let fill =
                self.family.fill.as_ref().map(|fill| fill.meaning.as_str()).filter(|meaning| !meaning.is_empty());
            text += &match fill {
                Some(meaning) if self.open <= 0.0 => format!(", {meaning}"),
                Some(meaning) if self.open < self.missing => {
                    format!(", {meaning} but for {} that lie on land", percent(self.open))
                }
                Some(_) => ", on land: tiles may be missing".to_owned(),
                None => String::new(),
            };
        }
        if self.zeros > 0.0 {
            text += &format!(", {} exactly 0 m on land, which may be no data", percent(self.zeros));
        }
        text
    }

    pub(super) fn record(&self) -> serde_json::Value {
        let used: BTreeMap<&String, _> =
            self.items().into_iter().map(|id| (id, self.addresses.get(id).cloned().unwrap_or_default())).collect();
        json!({
            "provider": self.provider,
            "collection": self.collection,
            "items": used,
            "resampling": self.parts.iter().map(|(id, how)| json!([id, how])).collect::<Vec<_>>(),
            "baselines": self.baselines,
            "offset_unknown": self.items().iter().any(|id| self.offsets.get(*id) == Some(&Offset::Unknown)),
            "offset_removed_from": self.corrected,
            "without_data": self.missing,
            "left_without_data": self.open,
            "zeros_on_land": self.zeros,
            "source_pixels_m": self.coarsest,
            "attribution": self.attribution,
            "licence": self.licence,
        })
    }
}

/// A share for people; one that is there is never none.
fn percent(share: f64) -> String {
    if share < 0.0005 { "less than 0.1 %".to_owned() } else { format!("{:.1} %", share * 100.0) }
}

/// What a user should know at once of a fetched scene: of families of which some is missing or was coarser than it looks, where
/// they come from.
///
/// # Errors
/// When the description of the scene cannot be read.
pub fn remarks(scene: &Path) -> Result<Vec<String>> {
    let path = scene.join("scene.json");
    let text = read_text(&path).map_err(|e| Error::io(&path, "read", &e))?;
    let description: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| Error::file(&path, format!("This is no description of a scene: {e}")))?;
    let provenance = description["provenance"].as_object().into_iter().flatten();
    let odd = provenance.filter(|(family, record)| {
        let some = |what: &str| record[what].as_f64().is_some_and(|share| share > 0.0);
        let missing = some("without_data") || some("zeros_on_land");
        let offset =
            record["offset_unknown"] == true && Catalogue::of_user().family(family).is_some_and(|f| f.offset.is_some());
        // Masks are always made of a classification of 20 m.
        let of_sky = |family: &str| Catalogue::of_user().family(family).is_some_and(|f| f.subject == Subject::Clouds);
        missing || offset || record["source_pixels_m"].is_number() && !of_sky(family)
    });
    Ok(odd.filter_map(|(family, _)| Some(format!("{family}: {}.", description["origins"][family].as_str()?))).collect())
}
