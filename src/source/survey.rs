//! What all providers together have of a place, and which of it to take unless somebody chooses.

use super::providers::{Product, Provider};
use super::query::Query;
use super::stac::{Acquisition, Found, search};
use crate::error::{Error, Result};
use crate::modality::{Catalogue, Family};
use crate::net::Network;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Less cover than this is taken only if there is nothing better.
const WHOLE: f32 = 0.999;
/// Covers that differ by less are alike, if the place is not covered whole by any.
const NEARLY: f32 = 0.1;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// By family, newest first.
    pub found: BTreeMap<String, Vec<Acquisition>>,
    /// Why a source gave nothing, or not everything: sentences for people.
    pub problems: Vec<String>,
}

/// Asks all providers for these families, side by side. A provider that fails is a problem, not an error.
///
/// # Errors
/// [`Error::Cancelled`]; when every source failed, all failures, but that keys are missing only if nothing else is wrong.
pub fn survey(
    network: &Network,
    providers: &[Provider],
    families: &[String],
    query: &Query,
    stop: &AtomicBool,
) -> Result<Survey> {
    let asked = |product: &&Product| families.contains(&product.family);
    let all: Vec<(&Provider, &Product)> =
        providers.iter().flat_map(|p| p.products.iter().filter(asked).map(move |product| (p, product))).collect();
    if let Some((provider, _)) = all.first() {
        network.check(&provider.api)?;
    }
    let ask = |(provider, product): &(&Provider, &Product)| -> Result<Found> {
        provider.access(product).ready()?;
        search(network, provider, product, query, stop)
    };
    let answers: Vec<Result<Found>> = std::thread::scope(|scope| {
        let running: Vec<_> = all.iter().map(|one| scope.spawn(|| ask(one))).collect();
        let broken = |_| Err(Error::Compute("A search failed in a way nobody foresaw.".into()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(broken)).collect()
    });
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    let mut survey = Survey::default();
    let mut failures: Vec<(&Provider, bool, Error)> = Vec::new();
    let several = answers.len();
    for ((provider, product), answer) in all.iter().zip(answers) {
        match answer {
            Ok(Found { acquisitions, all, uncertain, undated, elsewhen }) => {
                let mut add_problem = |what: String| {
                    survey.problems.push(format!("{} from {}: {what}.", product.family, provider.name));
                };
                if !all {
                    add_problem("there are more images than are looked at; ask for fewer days".into());
                }
                if uncertain > 0 {
                    let what = "left out, because their catalogue may be wrong about the offset of their values";
                    add_problem(format!("{uncertain} images were {what}"));
                }
                if elsewhen > 0 {
                    let (from, to) = (query.from, query.to);
                    add_problem(format!("{elsewhen} images were left out, because they are not of {from} to {to}"));
                }
                if undated > 0 {
                    add_problem(format!("{undated} images were left out, because their date cannot be read"));
                }
                survey.found.entry(product.family.clone()).or_default().extend(acquisitions);
            }
            Err(error) => {
                survey.problems.push(format!("{} from {}: {error}", product.family, provider.name));
                failures.push((provider, provider.access(product).ready().is_ok(), error));
            }
        }
    }
    for found in survey.found.values_mut() {
        found.sort_by(|a, b| b.day.cmp(&a.day).then(b.coverage.total_cmp(&a.coverage)));
    }
    survey.found.retain(|_, found| !found.is_empty());
    if failures.is_empty() || failures.len() < several { Ok(survey) } else { Err(joined(failures)) }
}

/// All failures as one: with the provider, whether it could be asked at all, and why it gave nothing. Who has no account
/// somewhere wants to know first what is wrong elsewhere.
fn joined(mut failures: Vec<(&Provider, bool, Error)>) -> Error {
    if failures.iter().any(|(_, ready, _)| *ready) {
        failures.retain(|(_, ready, _)| *ready);
    }
    if let [(_, _, _)] = &failures[..]
        && let Some((_, _, error)) = failures.pop()
    {
        return error;
    }
    let mut all: Vec<String> =
        failures.iter().map(|(provider, _, error)| format!("{}: {error}", provider.name)).collect();
    all.dedup();
    Error::request(all.join("; "))
}

/// What to take of each family: the least clouded surface reflectance that covers the ground, and what was seen or
/// mapped nearest in time to it; without any, nearest to the day that was asked for, or the newest. By family, the place in
/// the list.
pub fn best(found: &BTreeMap<String, Vec<Acquisition>>, asked: Option<Date>) -> BTreeMap<String, usize> {
    let pick = |family: &str, cost: &dyn Fn(&Acquisition) -> f64| -> Option<usize> {
        let all = found.get(family)?;
        // What covers clearly less than another is left aside, however clear it is; an image also where one covers all. A
        // map of the right year may lack a little.
        let most = all.iter().map(|a| a.coverage).fold(0.0, f32::max);
        let aside =
            |a: &Acquisition| a.coverage < most - NEARLY || year(a).is_none() && most >= WHOLE && a.coverage < WHOLE;
        let cost = |a: &Acquisition| (aside(a), cost(a));
        let order = |x: &(bool, f64), y: &(bool, f64)| x.0.cmp(&y.0).then(x.1.total_cmp(&y.1));
        (0..all.len()).min_by(|&i, &k| order(&cost(&all[i]), &cost(&all[k])))
    };
    let mut chosen = BTreeMap::new();
    let cloud = |a: &Acquisition| f64::from(a.cloud.unwrap_or(100.0));
    let mut day = None;
    // Levels of one image belong together.
    let catalogue = Catalogue::of_user();
    let optical = |family: &&Arc<Family>| family.is_optical();
    for family in catalogue.products().filter(optical).map(|family| &family.name) {
        let days_off = |a: &Acquisition| if day.is_some() { distance(a, day) } else { 0.0 };
        if let Some(i) = pick(family, &|a| days_off(a) * 1000.0 + cloud(a)) {
            day = day.or_else(|| middle(&found[family][i]));
            chosen.insert(family.clone(), i);
        }
    }
    let day = day.or(asked);
    for family in found.keys() {
        if !chosen.contains_key(family)
            && let Some(i) = pick(family, &|a| distance(a, day))
        {
            chosen.insert(family.clone(), i);
        }
    }
    chosen
}

/// The year of a map of one.
fn year(a: &Acquisition) -> Option<i16> {
    a.day.parse().ok().filter(|_| a.day.len() == 4)
}

/// Its day; the middle of the year for a map of a year.
fn middle(a: &Acquisition) -> Option<Date> {
    a.day.parse().ok().or_else(|| format!("{}-07-01", a.day).parse().ok())
}

/// Days between an acquisition and a day; the newest is nearest where there is no such day.
fn distance(a: &Acquisition, day: Option<Date>) -> f64 {
    let far = 1e6;
    if let (Some(own), Some(day)) = (year(a), day) {
        // The last of December belongs to its own year.
        return f64::from((own - day.year()).abs()) * 366.0;
    }
    match (middle(a), day) {
        (Some(own), Some(day)) => own.until(day).map_or(far, |span| f64::from(span.get_days()).abs()),
        (Some(own), None) => far - own.year() as f64 * 366.0 - f64::from(own.day_of_year()),
        (None, _) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquisition(family: &str, day: &str, cloud: Option<f32>, coverage: f32) -> Acquisition {
        Acquisition {
            provider: "p".into(),
            collection: "c".into(),
            family: family.into(),
            day: day.into(),
            instant: None,
            cloud,
            coverage,
            platform: None,
            thumbnail: None,
            items: Vec::new(),
        }
    }

    #[test]
    fn the_clearest_view_leads_and_others_follow_its_day() {
        let mut found: BTreeMap<String, Vec<Acquisition>> = BTreeMap::new();
        let mut add = |a: Acquisition| found.entry(a.family.clone()).or_default().push(a);
        add(acquisition("S2L2A", "2023-06-01", Some(0.0), 0.4));
        add(acquisition("S2L2A", "2023-05-01", Some(3.0), 1.0));
        add(acquisition("S2L2A", "2023-04-01", Some(30.0), 1.0));
        add(acquisition("S2L1C", "2023-06-01", Some(0.0), 1.0));
        add(acquisition("S2L1C", "2023-05-01", Some(5.0), 1.0));
        add(acquisition("S1RTC", "2023-05-20", None, 1.0));
        add(acquisition("S1RTC", "2023-05-03", None, 1.0));
        add(acquisition("LULC", "2017", None, 1.0));
        add(acquisition("LULC", "2023", None, 1.0));
        add(acquisition("DEM", "", None, 1.0));
        let best = best(&found, None);
        for (family, i) in [("S2L2A", 1), ("S2L1C", 1), ("S1RTC", 1), ("LULC", 1), ("DEM", 0)] {
            assert_eq!(best[family], i, "{family}");
        }
        found.retain(|family, _| family == "LULC");
        assert_eq!(super::best(&found, None)["LULC"], 1, "the newest map");
        let asked = jiff::civil::date(2017, 3, 16);
        assert_eq!(super::best(&found, Some(asked))["LULC"], 0, "the map of the year that was asked for");
        let last_day = jiff::civil::date(2017, 12, 31);
        let mut maps = BTreeMap::new();
        maps.insert("LULC".to_owned(), ["2018", "2017"].map(|year| acquisition("LULC", year, None, 1.0)).to_vec());
        assert_eq!(super::best(&maps, Some(last_day))["LULC"], 1, "the year that the day belongs to");
        maps.insert(
            "LULC".to_owned(),
            vec![acquisition("LULC", "2018", None, 1.0), acquisition("LULC", "2017", None, 0.98)],
        );
        assert_eq!(super::best(&maps, Some(last_day))["LULC"], 1, "a little is missing of the right map");
        // No image covers all: a clear sliver does not beat what is nearly whole.
        let images = [("2023-05-01", 0.0, 0.02), ("2023-04-01", 3.0, 0.98), ("2023-03-01", 1.0, 0.95)];
        let images = images.map(|(day, cloud, cover)| acquisition("S2L2A", day, Some(cloud), cover)).to_vec();
        assert_eq!(super::best(&[("S2L2A".to_owned(), images)].into(), None)["S2L2A"], 2);
        assert!(super::best(&BTreeMap::new(), None).is_empty());
    }
}
