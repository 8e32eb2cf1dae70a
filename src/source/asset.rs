//! What an item says of one of its files: where it is, which of its bands is meant, and what the numbers of that band are.

use crate::text::printable;
use gdal::{Dataset, Metadata};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an item says of the numbers of a band, in the words of STAC 1.1 or of the extensions before it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    /// By how much stored numbers are multiplied.
    pub scale: Option<f64>,
    /// What is added then.
    pub offset: Option<f64>,
    /// Unit of the result.
    pub unit: Option<String>,
    /// The number that stands for nothing.
    pub no_data: Option<f64>,
}

/// The address of a file, with the band that is meant of several behind `#` where `name` says one (`asset#band`), and what is said
/// of its numbers. The number of a band is found by its name or what it commonly is, as the item lists its bands; where it lists
/// none, the name is looked for in the file. `None` if there is no such file or band, or there are two.
pub(super) fn find(assets: &Value, name: &str) -> Option<(String, Said)> {
    let (name, band) = name.split_once('#').map_or((name, None), |(name, band)| (name, Some(band)));
    let asset = &assets[name];
    let text = |value: &Value| value.as_str().map(|text| printable(text).into_owned());
    let alternates = asset["alternate"].as_object().into_iter().flatten().map(|(_, other)| &other["href"]);
    let hrefs: Vec<String> = std::iter::once(&asset["href"]).chain(alternates).filter_map(text).collect();
    // What everybody can read, if there is any; else what is said first.
    let href = hrefs.iter().find(|href| href.starts_with("http")).or(hrefs.first())?;
    let Some(band) = band else { return Some((href.clone(), said(asset, Some(0)))) };
    let lists = [&asset["bands"], &asset["eo:bands"]];
    let named = |bands: &&Vec<Value>| bands.iter().any(|band| !names(band).is_empty());
    let Some(bands) = lists.into_iter().filter_map(Value::as_array).find(named) else {
        return Some((format!("{href}#:{band}"), said(asset, None)));
    };
    let is_called = |other: &Value| names(other).iter().any(|name| name.eq_ignore_ascii_case(band));
    let mut found = bands.iter().enumerate().filter(|(_, band)| is_called(band));
    let (i, entry) = found.next().filter(|_| found.next().is_none())?;
    Some((format!("{href}#{}:{}", i + 1, names(entry).join("|")), said(asset, Some(i))))
}

/// What a band is called, or commonly is.
fn names(band: &Value) -> Vec<&str> {
    let keys = ["name", "common_name", "eo:common_name", "description"];
    keys.iter().filter_map(|key| band[*key].as_str()).filter(|name| !name.is_empty()).collect()
}

/// What is said of the numbers of a band of an asset, by its place in the lists, or of all of them.
fn said(asset: &Value, band: Option<usize>) -> Said {
    let of = |list: &str| band.map_or(&Value::Null, |band| &asset[list][band]);
    let (own, older) = (of("bands"), of("raster:bands"));
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let first = |values: [&Value; 4]| values.into_iter().find_map(number).filter(|v: &f64| v.is_finite());
    let unit = [&own["unit"], &asset["unit"], &older["unit"]].into_iter().find_map(Value::as_str);
    Said {
        scale: first([&own["raster:scale"], &own["scale"], &asset["raster:scale"], &older["scale"]]),
        offset: first([&own["raster:offset"], &own["offset"], &asset["raster:offset"], &older["offset"]]),
        unit: unit.map(|unit| printable(unit.trim()).to_lowercase()).filter(|unit| !unit.is_empty()),
        no_data: first([&own["nodata"], &asset["nodata"], &older["nodata"], &Value::Null]),
    }
}

/// The band that is meant of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meant<'a> {
    /// Counted from 1; `None` if nobody says.
    number: Option<usize>,
    /// What it is called, if the item or the source says.
    names: Vec<&'a str>,
}

/// An address, and the band that is meant of several: by number, by names, or by a number and the names that it has
/// (`address#2`, `address#:B04`, `address#2:B04|red`).
pub(super) fn meant(href: &str) -> (&str, Meant<'_>) {
    let nothing = Meant { number: None, names: Vec::new() };
    let Some((address, band)) = href.rsplit_once('#') else { return (href, nothing) };
    let (number, names) = band.split_once(':').map_or((band, ""), |(number, names)| (number, names));
    let names: Vec<&str> = names.split('|').filter(|name| !name.is_empty()).collect();
    match number.parse() {
        Ok(number) => (address, Meant { number: Some(number), names }),
        Err(_) if number.is_empty() && !names.is_empty() => (address, Meant { number: None, names }),
        Err(_) => (href, nothing),
    }
}

impl Meant<'_> {
    /// The number of the band in a file of `count` bands (those that only say what is valid not counted), from 1: the only one, if
    /// nothing says which.
    ///
    /// # Errors
    /// A sentence about the raster without its beginning and end, when it has no such band, or calls another one so.
    pub(super) fn number(&self, dataset: &Dataset, count: usize) -> Result<usize, String> {
        let described = |number: usize| {
            dataset.rasterband(number).and_then(|band| band.description()).map(|text| text.trim().to_owned())
        };
        let described: Vec<String> = (1..=count).map(|number| described(number).unwrap_or_default()).collect();
        let is_called = |text: &String| self.names.iter().any(|name| name.eq_ignore_ascii_case(text));
        let by_name = described.iter().position(is_called).map(|i| i + 1);
        let wanted = self.names.join(", ");
        match (self.number, by_name) {
            (Some(number), _) if !(1..=count).contains(&number) => {
                Err(format!("has {count} bands, so there is no band {number}"))
            }
            (Some(number), Some(named)) if !is_called(&described[number - 1]) && !described[number - 1].is_empty() => {
                Err(format!(
                    "calls its band {number} {}, and its band {named} {}, while its catalogue says that the first of them is {wanted}",
                    printable(&described[number - 1]),
                    printable(&described[named - 1])
                ))
            }
            (Some(number), _) => Ok(number),
            (None, Some(named)) => Ok(named),
            // A name is of use only where there are several.
            (None, None) if count == 1 => Ok(1),
            (None, None) if self.names.is_empty() => Err(format!(
                "holds {count} bands, and nothing says which is meant; name it in sources.toml (asset#band)"
            )),
            (None, None) => {
                let named: Vec<&String> = described.iter().filter(|name| !name.is_empty()).collect();
                let has = match named.is_empty() {
                    true => "none of its bands has a name".to_owned(),
                    false => format!("its bands are {}", printable(&format!("{named:?}"))),
                };
                Err(format!("has no band called {wanted}, and its catalogue does not say which it is ({has})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_said_of_numbers_is_found_in_all_words() {
        let expected = Said { scale: Some(0.1), offset: Some(-5.0), unit: Some("foot".into()), no_data: Some(-5555.0) };
        for asset in [
            json!({"raster:bands": [{"scale": 0.1, "offset": -5, "unit": "foot", "nodata": -5555}]}),
            json!({"bands": [{"raster:scale": 0.1, "raster:offset": -5, "unit": "Foot", "nodata": "-5555"}]}),
            json!({"raster:scale": 0.1, "raster:offset": -5, "unit": "foot", "nodata": -5555}),
        ] {
            let mut asset = asset;
            asset["href"] = json!("https://h/a.tif");
            assert_eq!(find(&json!({"data": asset}), "data"), Some(("https://h/a.tif".into(), expected.clone())));
        }
        let odd = json!({"data": {"href": "h", "nodata": "nan", "raster:bands": [7]}});
        assert_eq!(find(&odd, "data").expect("asset").1, Said::default());
        // Of several bands those of the one that is meant.
        let two = json!({"data": {"href": "h", "bands": [{"name": "a", "nodata": 1}, {"name": "b", "nodata": 2}]}});
        let (href, said) = find(&two, "data#b").expect("band");
        assert_eq!((&*href, said.no_data), ("h#2:b", Some(2.0)));
    }

    #[test]
    fn addresses_say_which_band_is_meant() {
        let of = |href| {
            let (address, Meant { number, names }) = meant(href);
            (address, number, names)
        };
        assert_eq!(of("https://h/a.tif"), ("https://h/a.tif", None, vec![]));
        assert_eq!(of("https://h/a.tif#2"), ("https://h/a.tif", Some(2), vec![]));
        assert_eq!(of("https://h/a.tif#2:B04|red"), ("https://h/a.tif", Some(2), vec!["B04", "red"]));
        assert_eq!(of("https://h/a.tif#:B04"), ("https://h/a.tif", None, vec!["B04"]));
        assert_eq!(of("https://h/a#b.tif"), ("https://h/a#b.tif", None, vec![]));
    }
}
