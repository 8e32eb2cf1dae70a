//! Places that a row names without data: open data of them is looked for once, what was chosen is fixed in the store, and each
//! worker that needs it fetches just that.

use super::columns::RowOptions;
use super::perform::Bench;
use super::plan::Row;
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::source::{Acquisition, Order, Query, best, days, fetch, middle, parse_place, providers, survey};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// The scene folder of a row that names a cell or coordinates alone; `None` if it names its data.
///
/// # Errors
/// When nothing is found there, or it cannot be fetched.
pub(super) fn scene(bench: &Bench, row: &Row, options: &RowOptions, stop: &AtomicBool) -> Result<Option<PathBuf>> {
    let (asked, at) = (&options.asked, row.value("at"));
    if asked.scene.is_some() || asked.major_tom.is_some() || (asked.cell.is_none() && at.is_none()) {
        return Ok(None);
    }
    let at = at.map(parse_place).transpose().map_err(|why| Error::request(format!("at: {why}.")))?;
    let cell: GridCell = match (&asked.cell, at) {
        (Some(cell), _) => cell.parse()?,
        (None, Some(at)) => {
            GridCell::containing(at).ok_or_else(|| Error::request("The grid ends at 85 degrees of latitude."))?
        }
        (None, None) => return Ok(None),
    };
    let footprint = options.fetch.area.ground(cell, at)?;
    let providers = providers()?;
    let path = format!("items/{}.json", row.name);
    let known = bench.store.read(&path)?;
    let chosen: Vec<Acquisition> = match known {
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| Error::file(format!("{}/{path}", bench.store.address()), format!("It is damaged: {e}")))?,
        None => {
            let (from, to) = days(options.fetch.from, options.fetch.to);
            let query = Query { corners: footprint.corners()?, from, to, most_cloud: options.fetch.max_cloud };
            let families: Vec<String> = options.fetch.families.split(',').map(|f| f.trim().to_owned()).collect();
            let survey = survey(&bench.network, &providers, &families, &query, stop)?;
            let best = best(&survey.found, Some(middle(from, to)));
            let chosen: Vec<Acquisition> = best.iter().map(|(family, &i)| survey.found[family][i].clone()).collect();
            if chosen.is_empty() {
                return Err(Error::request("Nothing was found there; allow more days or more cloud."));
            }
            let text = serde_json::to_vec_pretty(&chosen).map_err(|e| Error::Compute(format!("No list: {e}.")))?;
            if bench.store.create(&path, &text)? {
                chosen
            } else {
                // Another worker chose first.
                let bytes = bench.store.read(&path)?.unwrap_or(text);
                serde_json::from_slice(&bytes).map_err(|e| Error::Compute(format!("{path} is damaged: {e}.")))?
            }
        }
    };
    let order = Order { name: cell.to_string(), footprint, chosen };
    fetch(&bench.network, &providers, &order, &bench.store.scenes()?, stop, &mut |_| {}).map(Some)
}
