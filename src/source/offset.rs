//! Whether the values of an item carry the offset that Sentinel-2 products have from processing baseline 04.00 on: by what its
//! catalogue says, in whichever form.

use super::providers::Product;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// From this processing baseline on, Sentinel-2 products carry an offset (25 January 2022; products of earlier years that were
/// processed anew carry it, too).
const OFFSET_FROM: f32 = 4.0;
/// From this one on, they were not processed by ESA, and the number says nothing of the offset.
const OTHERS_FROM: f32 = 90.0;

/// What is known of the offset of an item's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offset {
    /// It is there.
    Present,
    /// It is not: never was, or was taken off.
    Absent,
    /// Nobody says.
    Unknown,
    /// One says that it is there, the other that it is not.
    Contradictory,
}

/// The processing baseline of an item, as a number such as 5.09; those of others than ESA say nothing.
pub(super) fn baseline(product: &Product, feature: &Value) -> Option<f32> {
    let number = match said(product, feature) {
        Some(Value::Number(number)) => number.as_f64().map(|v| v as f32),
        Some(Value::String(text)) => parsed(text),
        _ => of_name(feature),
    };
    number.filter(|baseline| *baseline < OTHERS_FROM)
}

/// What a property says of it.
fn said<'a>(product: &'a Product, feature: &'a Value) -> Option<&'a Value> {
    let names = product.baseline.as_deref().into_iter().chain(["s2:processing_baseline", "processing:version"]);
    names.map(|name| &feature["properties"][name]).find(|value| !value.is_null())
}

/// What the name of the product says of it.
fn of_name(feature: &Value) -> Option<f32> {
    let names = [&feature["properties"]["s2:product_uri"], &feature["id"]];
    names.into_iter().find_map(|name| in_name(name.as_str()?)).filter(|baseline| *baseline < OTHERS_FROM)
}

/// `05.09`, `N0509`, `0509`, `V5.09`, `05.09.01`.
fn parsed(text: &str) -> Option<f32> {
    let plain = text.trim().trim_start_matches(['N', 'n', 'V', 'v']);
    if plain.len() == 4 && plain.bytes().all(|b| b.is_ascii_digit()) {
        return format!("{}.{}", &plain[..2], &plain[2..]).parse().ok();
    }
    let mut parts = plain.split('.');
    let (whole, rest) = (parts.next()?, parts.next().unwrap_or("0"));
    format!("{whole}.{rest}").parse().ok().filter(|v: &f32| v.is_finite())
}

/// In the name of a product: `S2A_MSIL2A_20210114T143741_N0500_R096_T18HYC_20230101T000000`.
fn in_name(name: &str) -> Option<f32> {
    let digits =
        |part: &&str| part.len() == 5 && part.starts_with('N') && part[1..].bytes().all(|b| b.is_ascii_digit());
    name.split('_').find(digits).and_then(parsed)
}

/// What an item says of its offset: a property of the catalogue that says whether it is gone counts first, with the baseline,
/// for some of them declare the offset of the product beside values that it was taken off; then what is declared of a band, and
/// what the name of the product says of its baseline.
pub(super) fn of(product: &Product, feature: &Value, baseline: Option<f32>) -> Offset {
    let said = product.offset_applied.as_ref().map(|name| &feature["properties"][name]).filter(|said| !said.is_null());
    let from_baseline = baseline.map(|baseline| baseline >= OFFSET_FROM);
    let from_name = of_name(feature).map(|baseline| baseline >= OFFSET_FROM);
    let known = |there: bool| if there { Offset::Present } else { Offset::Absent };
    match (said.map(says_yes), declared(product, feature), from_baseline) {
        (Some(true), ..) => Offset::Absent,
        _ if from_baseline.zip(from_name).is_some_and(|(said, named)| said != named) => Offset::Contradictory,
        (Some(false), _, Some(there)) => known(there),
        (_, Some(declared), Some(there)) if declared != there => Offset::Contradictory,
        (_, Some(there), _) | (_, None, Some(there)) => known(there),
        (_, None, None) => Offset::Unknown,
    }
}

/// Whether scale and offset of the first band that has them declare an offset: of STAC 1.1 (`bands`, or the asset itself), or of
/// the raster extension before it.
fn declared(product: &Product, feature: &Value) -> Option<bool> {
    let names = product.bands.values().map(|name| name.split('#').next().unwrap_or(name));
    names.map(|name| &feature["assets"][name]).find_map(|asset| {
        let band = &asset["bands"][0];
        let older = &asset["raster:bands"][0];
        let first = |values: [&Value; 4]| values.into_iter().find_map(Value::as_f64);
        let offset = first([&band["raster:offset"], &band["offset"], &asset["raster:offset"], &older["offset"]])?;
        let scale = first([&band["raster:scale"], &band["scale"], &asset["raster:scale"], &older["scale"]]);
        // With a scale it is said in units of reflectance, else in digital numbers.
        Some((offset / scale.filter(|scale| *scale != 0.0).unwrap_or(1.0)).abs() > 0.5)
    })
}

/// Whether a property says yes: catalogues that were made from other formats write it as a word or a number.
fn says_yes(value: &Value) -> bool {
    let word = value.as_str().map(|text| text.trim().to_ascii_lowercase());
    *value == true || value.as_f64() == Some(1.0) || word.is_some_and(|word| ["true", "1", "yes"].contains(&&*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn product(more: &str) -> Product {
        let text = format!(
            "family = 'S2L2A'\ncollection = 'c'\nlicence = 'l'\nattribution = 'a'\ntime = 'acquisition'\nbands = {{ B02 = 'blue' }}\n{more}"
        );
        toml::from_str(&text).expect("product")
    }

    #[test]
    fn baselines_are_read_in_every_form() {
        let own = product("baseline = 'b'");
        let of = |properties: Value, id: &str| baseline(&own, &json!({ "id": id, "properties": properties }));
        let name = "S2B_MSIL2A_20180501T100029_N0500_R122_T33TWM_20230801T010203";
        for (properties, id, expected) in [
            (json!({"b": "05.09"}), "x", Some(5.09)),
            (json!({"b": 5.09}), "x", Some(5.09)),
            (json!({"b": "N0509"}), "x", Some(5.09)),
            (json!({"b": "0509"}), "x", Some(5.09)),
            (json!({"b": "05.09.01"}), "x", Some(5.09)),
            (json!({"processing:version": "05.10"}), "x", Some(5.1)),
            (json!({"s2:processing_baseline": "02.12"}), "x", Some(2.12)),
            (json!({"s2:product_uri": format!("{name}.SAFE")}), "x", Some(5.0)),
            (json!({}), name, Some(5.0)),
            // Processed by others.
            (json!({"b": "99.99"}), "x", None),
            (json!({"b": "N9999"}), name, None),
            (json!({"b": "new"}), "x", None),
            (json!({}), "S2A_33TWM_20180501_0_L2A", None),
        ] {
            assert_eq!(of(properties.clone(), id), expected, "{properties} {id}");
        }
    }

    #[test]
    fn evidence_decides_and_what_contradicts_itself_is_not_believed() {
        let own = product("offset_applied = 'gone'");
        let v10 = |offset: f64| json!({"raster:bands": [{"scale": 0.0001, "offset": offset}]});
        let v11 = |offset: f64| json!({"bands": [{"name": "B02", "raster:scale": 0.0001, "raster:offset": offset}]});
        let of = |asset: Value, gone: Value, baseline| {
            super::of(&own, &json!({ "properties": { "gone": gone }, "assets": { "blue": asset } }), baseline)
        };
        use Offset::{Absent, Contradictory, Present, Unknown};
        for (asset, gone, baseline, expected) in [
            (json!({}), json!(null), Some(5.09), Present),
            (json!({}), json!(false), Some(5.09), Present),
            (json!({}), json!("true"), Some(5.09), Absent),
            (json!({}), json!("True"), Some(5.09), Absent),
            (json!({}), json!(1), Some(5.09), Absent),
            (json!({}), json!(null), Some(3.01), Absent),
            (json!({}), json!(null), None, Unknown),
            (v10(-0.1), json!(null), None, Present),
            (v11(-0.1), json!(null), None, Present),
            (json!({"raster:offset": -0.1, "raster:scale": 0.0001}), json!(null), None, Present),
            (json!({"raster:bands": [{"offset": -1000}]}), json!(null), None, Present),
            (v10(0.0), json!(null), None, Absent),
            (v11(-0.1), json!(null), Some(5.1), Present),
            (v10(0.0), json!(null), Some(5.1), Contradictory),
            (v11(-0.1), json!(null), Some(2.12), Contradictory),
            // Earth Search declares the offset of the product beside values that it was taken off.
            (v10(-0.1), json!(true), Some(5.1), Absent),
            (v10(-0.1), json!(false), Some(2.1), Absent),
        ] {
            assert_eq!(of(asset.clone(), gone.clone(), baseline), expected, "{asset} {gone} {baseline:?}");
        }
        // The name of the product says that it was processed anew, its description that it was not.
        let named = |gone: Value, said: &str, name: &str| {
            let properties = json!({"gone": gone, "s2:processing_baseline": said, "s2:product_uri": name});
            let feature = json!({"properties": properties, "assets": {}});
            super::of(&own, &feature, baseline(&own, &feature))
        };
        let anew = "S2A_MSIL2A_20180501T101401_N0500_R022_T32TPS_20230101T000000.SAFE";
        assert_eq!(named(json!(null), "02.14", anew), Contradictory);
        assert_eq!(named(json!(true), "02.14", anew), Absent);
        assert_eq!(named(json!(null), "05.00", anew), Present);
        assert_eq!(named(json!(null), "05.09", "no name of a product"), Present);
    }
}
