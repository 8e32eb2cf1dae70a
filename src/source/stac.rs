//! What a STAC catalogue holds of a place (STAC API, item search; STAC 1.0 items).

use super::asset::{self, Said};
use super::offset::{self, Offset};
use super::outline::Outline;
use super::pages::pages;
use super::providers::{Product, Provider, Time};
use super::query::{Query, middle, share};
use crate::error::{Error, Result};
use crate::modality::{Catalogue, Group};
use crate::net::{HttpRequest, Network};
use crate::scene::day_of;
use crate::text::printable;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Largest picture worth showing, bytes.
const LARGEST_THUMBNAIL: u64 = 8 << 20;
/// Tiles of one pass were seen within this time.
const ONE_PASS: SignedDuration = SignedDuration::from_mins(15);

/// Something that can be fetched: one or several files of one pass, or one map, that together cover the ground.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acquisition {
    /// Who has it.
    pub provider: String,
    /// Of which collection.
    pub collection: String,
    /// What it is: a family of the catalogue.
    pub family: String,
    /// ISO 8601 day or year; empty for what has none.
    pub day: String,
    /// Instant, if the catalogue says.
    pub instant: Option<String>,
    /// Share of cloud in the whole image, percent.
    pub cloud: Option<f32>,
    /// Share of the ground that it covers, 0…1.
    pub coverage: f32,
    /// Satellite, if the catalogue says.
    pub platform: Option<String>,
    /// Address of a small picture.
    pub thumbnail: Option<String>,
    /// Its files, the best first.
    pub items: Vec<Item>,
}

impl Acquisition {
    /// Identifies it among others.
    pub fn key(&self) -> String {
        let first = self.items.first().map_or("", |item| &item.id);
        format!("{}/{}/{first}", self.provider, self.collection)
    }
}

/// One STAC item, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Name.
    pub id: String,
    /// Addresses by our channel, and that of the scene classification as `SCL`.
    pub assets: BTreeMap<String, String>,
    /// What it says of the numbers of its files, by our channel.
    pub(super) said: BTreeMap<String, Said>,
    /// Sentinel-2 processing baseline, such as 5.09.
    pub baseline: Option<f32>,
    /// Whether its values carry the offset of newer baselines.
    pub offset: Offset,
    /// When the catalogue changed it last; empty if it does not say.
    pub updated: String,
    /// Which points of the ground it covers.
    covered: u128,
}

/// Channel name under which the scene classification is kept.
pub(super) const SCENE_CLASSES: &str = "SCL";

/// What a product has of a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Newest first; what covers nothing of the place is left out.
    pub acquisitions: Vec<Acquisition>,
    /// Whether that is all: no more than 500 items are read.
    pub all: bool,
    /// Images left out because nobody knows whether their offset is gone.
    pub uncertain: usize,
    /// Images left out because their date is missing or cannot be read.
    pub undated: usize,
    /// Images left out because they are not of the days that were asked for.
    pub elsewhen: usize,
}

/// Asks a catalogue what it has of a place.
///
/// # Errors
/// [`Error::Network`], [`Error::Cancelled`], or when the answer is no item collection.
pub fn search(
    network: &Network,
    provider: &Provider,
    product: &Product,
    query: &Query,
    stop: &AtomicBool,
) -> Result<Found> {
    let boxes = query.boxes();
    if !boxes.iter().flatten().all(|v| v.is_finite()) {
        return Err(Error::request("This ground has no place on Earth; choose another one."));
    }
    let catalogue = Catalogue::of_user();
    let mut items: Vec<ParsedItem> = Vec::new();
    let mut all = true;
    for bounds in boxes {
        all &= pages(network, provider, product, bounds, query, stop, &mut |feature| {
            // A tile on the antimeridian lies in both boxes.
            let new = |parsed: &ParsedItem| !items.iter().any(|other| other.item.id == parsed.item.id);
            if let Some(parsed) = read(&catalogue, product, query, feature).filter(new) {
                items.push(parsed);
            }
        })?;
    }
    let mut left_out = |keep: &dyn Fn(&ParsedItem) -> bool| {
        let before = items.len();
        items.retain(keep);
        before - items.len()
    };
    let dated = product.time == Time::Acquisition;
    let undated = left_out(&|parsed| !dated || !parsed.day.is_empty());
    // Some servers pass over the days of a question.
    let elsewhen = left_out(&|parsed| !dated || parsed.is_between(query.from, query.to));
    let uncertain = left_out(&|parsed| !uncertain(product, &parsed.item));
    let mut found = grouped(provider, product, items);
    found.retain(|a| a.cloud.is_none_or(|cloud| f64::from(cloud) <= query.most_cloud));
    found.sort_by(|a, b| b.day.cmp(&a.day).then(b.coverage.total_cmp(&a.coverage)));
    Ok(Found { acquisitions: found, all, uncertain, undated, elsewhen })
}

/// Whether an image may or may not carry the offset of newer baselines: its catalogue contradicts itself, or is known to forget
/// to say that it was taken off.
fn uncertain(product: &Product, item: &Item) -> bool {
    item.offset == Offset::Contradictory || product.newer_must_say_applied && item.offset == Offset::Present
}

/// What an item says besides its files.
struct ParsedItem {
    /// Empty for what has none, or none that can be read.
    day: String,
    /// The last one of those it was seen on, if it says so.
    last: Option<Date>,
    instant: Option<String>,
    cloud: Option<f32>,
    platform: Option<String>,
    thumbnail: Option<String>,
    item: Item,
}

impl ParsedItem {
    /// Whether it was seen on one of these days.
    fn is_between(&self, from: Date, to: Date) -> bool {
        self.day.parse().is_ok_and(|day: Date| day <= to && self.last.unwrap_or(day).max(day) >= from)
    }
}

/// An item, if it has all bands of a modality and covers something.
fn read(catalogue: &Catalogue, product: &Product, query: &Query, feature: &Value) -> Option<ParsedItem> {
    let text = |value: &Value| value.as_str().map(|text| printable(text).into_owned());
    let properties = &feature["properties"];
    // Redirections and old servers answer with what nobody asked for.
    if feature["collection"].as_str().is_some_and(|collection| collection != product.collection) {
        return None;
    }
    let (mut assets, mut said) = (BTreeMap::new(), BTreeMap::new());
    for (channel, name) in &product.bands {
        if let Some((href, numbers)) = asset::find(&feature["assets"], name) {
            assets.insert(channel.clone(), href);
            said.insert(channel.clone(), numbers);
        }
    }
    // Some radar images are of one polarisation only.
    let whole = |m: &Arc<Group>| m.channels.iter().all(|channel| assets.contains_key(channel));
    if !catalogue.groups_of(&product.family).any(whole) {
        return None;
    }
    if let Some((classes, _)) = product.scene_classes.as_deref().and_then(|name| asset::find(&feature["assets"], name))
    {
        assets.insert(SCENE_CLASSES.into(), classes);
    }
    let outline = Outline::of(feature)?;
    let covered = query.covered_by(&outline);
    if covered == 0 {
        return None;
    }
    let instant = text(&properties["datetime"]).or_else(|| text(&properties["start_datetime"]));
    let [begin, end] = ["start_datetime", "end_datetime"].map(|name| text(&properties[name]));
    let last = end.as_deref().and_then(day_of);
    let day = match product.time {
        Time::Always => String::new(),
        Time::Year => {
            let begin = begin.or_else(|| instant.clone())?;
            // It may begin at midnight of another zone, in the last hours of the year before.
            let middle = day_of(&begin).zip(last).map(|(begin, end)| format!("{:04}", middle(begin, end).year()));
            middle.or_else(|| begin.get(..4).map(str::to_owned))?
        }
        // One that cannot be read is told.
        Time::Acquisition => instant.as_deref().and_then(day_of).map(|day| day.to_string()).unwrap_or_default(),
    };
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok()).map(|v| v as f32);
    let baseline = offset::baseline(product, feature);
    let item = Item {
        id: text(&feature["id"])?,
        baseline,
        offset: offset::of(product, feature, baseline),
        updated: text(&properties["updated"]).or_else(|| text(&properties["created"])).unwrap_or_default(),
        assets,
        said,
        covered,
    };
    let thumbnail = ["thumbnail", "rendered_preview", "preview"].iter().find_map(|name| {
        let asset = &feature["assets"][*name];
        let kind = asset["type"].as_str().unwrap_or("");
        // Others cannot be shown.
        text(&asset["href"]).filter(|_| kind.contains("png") || kind.contains("jpeg") || kind.contains("jpg"))
    });
    Some(ParsedItem {
        day,
        last,
        instant: instant.filter(|_| product.time == Time::Acquisition),
        cloud: number(&properties["eo:cloud_cover"]),
        platform: text(&properties["platform"]),
        thumbnail,
        item,
    })
}

/// Items of one pass of one satellite belong together: tiles side by side, or one tile processed twice.
fn grouped(provider: &Provider, product: &Product, items: Vec<ParsedItem>) -> Vec<Acquisition> {
    // A pass may begin on one day and end on the next; without an instant the day is all that is known.
    let mut groups: BTreeMap<(String, Option<String>), Vec<ParsedItem>> = BTreeMap::new();
    for parsed in items {
        let day = if instant(&parsed).is_some() { String::new() } else { parsed.day.clone() };
        groups.entry((day, parsed.platform.clone())).or_default().push(parsed);
    }
    let passes = groups
        .into_iter()
        .flat_map(|((_, platform), group)| passes(group).into_iter().map(move |pass| (platform.clone(), pass)));
    let acquisition = |(platform, mut group): (Option<String>, Vec<ParsedItem>)| {
        // What covers most comes first, of equals what was processed last.
        group.sort_by(|a, b| {
            let newest = |s: &ParsedItem| s.item.baseline.unwrap_or(0.0);
            let (x, y) = (&a.item, &b.item);
            share(y.covered)
                .total_cmp(&share(x.covered))
                .then(newest(b).total_cmp(&newest(a)))
                .then(y.updated.cmp(&x.updated))
        });
        let first = group.first()?;
        Some(Acquisition {
            provider: provider.name.clone(),
            collection: product.collection.clone(),
            family: product.family.clone(),
            day: first.day.clone(),
            instant: first.instant.clone(),
            cloud: first.cloud,
            platform,
            thumbnail: first.thumbnail.clone(),
            coverage: share(group.iter().fold(0, |all, s| all | s.item.covered)),
            items: group.into_iter().map(|parsed| parsed.item).collect(),
        })
    };
    passes.filter_map(acquisition).collect()
}

/// When an item was seen, if it says so to the second.
fn instant(parsed: &ParsedItem) -> Option<Timestamp> {
    parsed.instant.as_deref()?.parse().ok()
}

/// Items of one satellite, parted where more time lies between them than a pass over neighbouring tiles takes.
fn passes(mut group: Vec<ParsedItem>) -> Vec<Vec<ParsedItem>> {
    group.sort_by_key(instant);
    let mut passes: Vec<Vec<ParsedItem>> = Vec::new();
    for parsed in group {
        let before = passes.last().and_then(|pass| pass.last()).map(instant);
        let together = before.is_some_and(|before| match (before, instant(&parsed)) {
            (Some(before), Some(now)) => now.duration_since(before) <= ONE_PASS,
            (before, now) => before == now,
        });
        match passes.last_mut().filter(|_| together) {
            Some(pass) => pass.push(parsed),
            None => passes.push(vec![parsed]),
        }
    }
    passes
}

/// The small picture of an acquisition, as it lies at its address.
///
/// # Errors
/// [`Error::Network`], or when there is none.
pub fn thumbnail(network: &Network, acquisition: &Acquisition, stop: &AtomicBool) -> Result<Vec<u8>> {
    let url = acquisition.thumbnail.as_deref().ok_or_else(|| Error::request("It has no small picture."))?;
    if !url.starts_with("http") {
        return Err(Error::request("Its small picture is not on the web."));
    }
    network.bytes(&HttpRequest::get(url), LARGEST_THUMBNAIL, stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Location;
    use serde_json::json;

    fn catalogue() -> Arc<Catalogue> {
        Catalogue::bundled()
    }

    fn query() -> Query {
        let at = |lat, lon| Location { lat, lon };
        Query {
            corners: [at(47.0, 11.0), at(47.0, 12.0), at(46.0, 12.0), at(46.0, 11.0)],
            from: jiff::civil::date(2023, 1, 1),
            to: jiff::civil::date(2023, 12, 31),
            most_cloud: 100.0,
        }
    }

    /// An item of surface reflectance between two meridians.
    fn seen(id: &str, at: &str, west: f64, east: f64, properties: Value) -> Value {
        let mut item = json!({
            "id": id, "bbox": [west, 45, east, 48], "properties": properties,
            "assets": {"red": {"href": format!("https://h/{id}.tif")}},
        });
        item["properties"]["datetime"] = json!(at);
        item["properties"]["platform"] = json!("sentinel-2a");
        item
    }

    fn reflectance(more: &str) -> (Provider, Product) {
        let text = format!(
            "family = 'S2L2A'\ncollection = 'c'\nlicence = 'l'\nattribution = 'a'\ntime = 'acquisition'\nbands = {{ B02 = 'red', B03 = 'red', B04 = 'red', B08 = 'red' }}\nbaseline = 'b'\noffset_applied = 'gone'\n{more}"
        );
        let provider = toml::from_str("name = 'p'\napi = 'https://h'").expect("provider");
        (provider, toml::from_str(&text).expect("product"))
    }

    #[test]
    fn tiles_of_one_pass_belong_together_and_do_not_count_twice() {
        let (provider, product) = reflectance("");
        let found = |items: &[Value]| {
            grouped(
                &provider,
                &product,
                items.iter().filter_map(|item| read(&catalogue(), &product, &query(), item)).collect(),
            )
        };
        let west = |id: &str, at: &str| seen(id, at, 10.0, 11.6, json!({}));
        let east = |id: &str, at: &str| seen(id, at, 11.4, 13.0, json!({}));
        let twice = found(&[west("a", "2023-04-19T10:00:00Z"), west("b", "2023-04-19T10:00:03Z")]);
        assert_eq!((twice.len(), twice[0].items.len()), (1, 2));
        assert!((0.4..0.8).contains(&twice[0].coverage), "processed twice, it covers no more: {}", twice[0].coverage);
        let beside = found(&[west("a", "2023-04-19T10:00:00Z"), east("b", "2023-04-19T10:00:17Z")]);
        assert_eq!((beside.len(), beside[0].coverage), (1, 1.0));
        // The next orbit, as it happens far in the north.
        let orbits = found(&[west("a", "2023-04-19T10:00:00Z"), east("b", "2023-04-19T11:40:00Z")]);
        assert_eq!(orbits.iter().map(|a| a.items.len()).collect::<Vec<_>>(), [1, 1]);
        // A pass over midnight, as of radar in the evening; and the same hour of the next day.
        let midnight = [west("a", "2023-04-19T23:59:50Z"), east("b", "2023-04-20T00:00:15Z")];
        let [pass] = &found(&midnight)[..] else { panic!("one pass") };
        assert_eq!((pass.items.len(), pass.coverage), (2, 1.0));
        assert!(pass.instant.as_deref().is_some_and(|instant| instant.starts_with(&pass.day)), "{pass:?}");
        let nights = found(&[west("a", "2023-04-19T23:59:50Z"), east("b", "2023-04-20T23:59:50Z")]);
        assert_eq!(nights.len(), 2);
        // Of what has a day alone nobody knows whether it was seen at once.
        let days = found(&[west("a", "2023-04-19"), east("b", "2023-04-19"), east("c", "2023-04-20")]);
        assert_eq!(
            days.iter().map(|a| (&*a.day, a.items.len())).collect::<Vec<_>>(),
            [("2023-04-19", 2), ("2023-04-20", 1)]
        );
    }

    #[test]
    fn images_whose_offset_is_uncertain_are_left_out_where_the_source_says_so() {
        let items = [json!({"b": "03.01"}), json!({"b": "05.09"}), json!({"b": "05.09", "gone": true})];
        let kept = |more: &str| {
            let (_, product) = reflectance(more);
            let all = items.iter().map(|parsed| seen("a", "2023-04-19T10:00:00Z", 10.0, 13.0, parsed.clone()));
            let all = all.filter_map(|item| read(&catalogue(), &product, &query(), &item));
            all.filter(|parsed| !uncertain(&product, &parsed.item)).count()
        };
        assert_eq!(kept(""), 3);
        assert_eq!(kept("newer_must_say_applied = true"), 2);
    }

    #[test]
    fn bands_of_one_file_are_found_by_their_names() {
        let (_, mut product) = reflectance("");
        product.bands = [("B02", "image#blue"), ("B03", "image#B03"), ("B04", "image#red"), ("B08", "image#nir")]
            .map(|(ours, theirs)| (ours.into(), theirs.into()))
            .into();
        let mut item = seen("a", "2023-04-19T10:00:00Z", 10.0, 13.0, json!({}));
        let names = [("B04", "red"), ("B03", "green"), ("B02", "blue"), ("B08", "nir")];
        let old: Vec<Value> = names.iter().map(|(name, common)| json!({"name": name, "common_name": common})).collect();
        let new: Vec<Value> =
            names.iter().map(|(name, common)| json!({"name": name, "eo:common_name": common})).collect();
        for bands in [json!({"eo:bands": old}), json!({"bands": new})] {
            item["assets"]["image"] = bands;
            item["assets"]["image"]["href"] = json!("https://h/a.tif");
            let found = read(&catalogue(), &product, &query(), &item).expect("item").item;
            assert_eq!(found.assets["B02"], "https://h/a.tif#3:B02|blue");
            assert_eq!(found.assets["B03"], "https://h/a.tif#2:B03|green");
        }
        // Names that are not told may be those of the file.
        item["assets"]["image"] = json!({"href": "https://h/a.tif"});
        let found = read(&catalogue(), &product, &query(), &item).expect("item").item;
        assert_eq!(found.assets["B03"], "https://h/a.tif#:B03");
        item["assets"]["image"]["bands"] = json!([{"name": "other"}]);
        assert!(read(&catalogue(), &product, &query(), &item).is_none());
        // What is of another collection was not asked for, and what everybody can read is read.
        let (_, product) = reflectance("");
        let mut item = seen("a", "2023-04-19T10:00:00Z", 10.0, 13.0, json!({}));
        item["assets"]["red"] = json!({"href": "s3://b/a.tif", "alternate": {"https": {"href": "https://h/b.tif"}}});
        assert_eq!(read(&catalogue(), &product, &query(), &item).expect("item").item.assets["B02"], "https://h/b.tif");
        item["collection"] = json!("another");
        assert!(read(&catalogue(), &product, &query(), &item).is_none());
    }

    #[test]
    fn an_item_is_of_the_days_it_was_seen_on_and_a_map_of_the_year_most_of_it_is_of() {
        let (_, product) = reflectance("");
        let on = |at: &str, end: Option<&str>| {
            let item = seen("a", at, 10.0, 13.0, json!({"end_datetime": end}));
            let read = read(&catalogue(), &product, &query(), &item).expect("item");
            read.is_between(query().from, query().to)
        };
        assert!(on("2023-01-01T00:00:00Z", None) && on("2022-12-31T23:59:50Z", Some("2023-01-01T00:00:10Z")));
        for other in ["2019-04-19T10:00:00Z", "0000-04-19T10:00:00Z", "9999-04-19T10:00:00Z", "2024-01-01T00:00:00Z"] {
            assert!(!on(other, None), "{other}");
        }
        let mut map = product.clone();
        map.time = Time::Year;
        for (begin, end, year) in [
            ("2022-12-31T23:00:00Z", json!("2023-12-31T22:59:59Z"), "2023"),
            ("2023-01-01T00:00:00Z", json!("2024-01-01T00:00:00Z"), "2023"),
            ("2023-01-01T00:00:00Z", json!(null), "2023"),
        ] {
            let properties = json!({"start_datetime": begin, "end_datetime": end});
            let item = seen("a", begin, 10.0, 13.0, properties);
            assert_eq!(read(&catalogue(), &map, &query(), &item).expect("map").day, year, "{begin}");
        }
    }

    #[test]
    fn strange_items_are_left_out() {
        let product: Product = toml::from_str(
            "family = 'DEM'\ncollection = 'c'\nlicence = 'l'\nattribution = 'a'\ntime = 'acquisition'\nbands = { DEM = 'data' }",
        )
        .expect("product");
        let good = json!({
            "id": "a", "bbox": [10, 45, 13, 48], "properties": {"datetime": "2023-04-19T10:00:00Z"},
            "assets": {"data": {"href": "https://h/a.tif"}},
        });
        assert_eq!(read(&catalogue(), &product, &query(), &good).expect("item").day, "2023-04-19");
        let mut radar = product.clone();
        radar.family = "S1RTC".into();
        radar.bands = [("vv", "data"), ("vh", "second")].map(|(ours, theirs)| (ours.into(), theirs.into())).into();
        assert!(read(&catalogue(), &radar, &query(), &good).is_none(), "one polarisation of two");
        let mut both = good.clone();
        both["assets"]["second"] = json!({"href": "https://h/b.tif"});
        assert!(read(&catalogue(), &radar, &query(), &both).is_some());
        let mut undated = good.clone();
        undated["properties"]["datetime"] = json!("yesterday é");
        assert_eq!(read(&catalogue(), &product, &query(), &undated).expect("told of").day, "");
        undated["properties"]["datetime"] = json!("20230419T100000Z");
        assert_eq!(read(&catalogue(), &product, &query(), &undated).expect("item").day, "2023-04-19");
        let spoilt: [fn(&mut Value); 5] = [
            |v| v["assets"] = json!({}),
            |v| v["assets"]["data"] = json!(7),
            |v| v["bbox"] = json!(["x"]),
            |v| v["bbox"] = json!([0, 0, 1, 1]),
            |v| v["id"] = json!(null),
        ];
        for (i, spoil) in spoilt.iter().enumerate() {
            let mut item = good.clone();
            spoil(&mut item);
            assert!(read(&catalogue(), &product, &query(), &item).is_none(), "{i}");
        }
    }
}
