//! Which cells a file holds, and which rows make a scene.

use super::column::{Datum, may_hold, same_everywhere};
use super::table::Table;
use super::{Access, Origin};
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::Catalogue;
use crate::scene::day_in;
use crate::text::printable;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

/// A list longer than this is none that a person reads.
const MOST_LISTED: usize = 50_000;
/// The label of the cell.
const CELL: &str = "grid_cell";
/// In an index: where the data are.
const URL: &str = "parquet_url";
const ROW: &str = "parquet_row";
/// Columns that describe a row.
const DESCRIBING: [&str; 4] = ["product_id", "timestamp", "cloud_cover", "nodata"];

/// One acquisition of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The file that holds its pixels.
    pub origin: Origin,
    /// Its family in the catalogue.
    pub family: String,
    /// The cell.
    pub cell: GridCell,
    /// Name of the product it was cut from, if it is told.
    pub product: Option<String>,
    /// Acquisition, ISO 8601, if it is told.
    pub time: Option<String>,
    /// Share under clouds, percent, if it is told.
    pub cloud_cover: Option<f64>,
    /// Share without data, if it is told.
    pub no_data: Option<f64>,
    /// Where in the file.
    pub(super) at: At,
}

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum At {
    /// Row group, and row in it.
    Known(usize, usize),
    /// As an index says: a row group's number where each holds one row.
    Indexed(Option<u64>),
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Cells with pixels.
    Rows(Vec<Row>),
    /// Names of cells and where their pixels are; it has to be asked for one ([`look_up`]).
    Index,
}

/// Lists the cells of a file; of an index only that it is one.
///
/// # Errors
/// When the file cannot be read, or is no part of Major TOM Core.
pub fn list(origin: &Origin, access: &Access) -> Result<Found> {
    let table = Table::open(origin, access)?;
    if family_of(&table).is_none() && table.has(URL) {
        return Ok(Found::Index);
    }
    rows_in(&table, None).map(Found::Rows)
}

/// Acquisitions of a cell: in a file with pixels, or by an index.
///
/// # Errors
/// When the file cannot be read, or does not hold the cell.
pub fn look_up(origin: &Origin, cell: GridCell, access: &Access) -> Result<Vec<Row>> {
    let table = Table::open(origin, access)?;
    let rows = if family_of(&table).is_none() && table.has(URL) {
        indexed(&table, cell)?
    } else {
        rows_in(&table, Some(cell))?
    };
    match rows.is_empty() {
        true => Err(origin.problem(&format!("It does not hold the cell {cell}; choose another cell or another file"))),
        false => Ok(rows),
    }
}

/// The family that the bands of a file belong to.
fn family_of(table: &Table) -> Option<String> {
    let catalogue = Catalogue::of_user();
    let held = |name: &str| catalogue.groups_of(name).flat_map(|m| &m.channels).filter(|band| table.has(band)).count();
    // The one with the most bands there; of equals the first.
    let all = catalogue.products().filter(|family| family.major_tom.is_some()).rev();
    let most =
        all.map(|family| (held(&family.name), family)).filter(|(held, _)| *held > 0).max_by_key(|(held, _)| *held);
    most.map(|(_, family)| family.name.clone())
}

/// The family of a row: its product's name knows best.
fn family(columns: &str, product: Option<&str>) -> String {
    let catalogue = Catalogue::of_user();
    let named = product.and_then(|id| catalogue.products().find(|family| family.made(id)));
    named.map_or(columns, |family| family.name.as_str()).to_owned()
}

/// A row group, rows in it, and the cell of each.
type RowGroup = (usize, Vec<usize>, Vec<GridCell>);

/// Rows of each group that hold a cell, or any, with its label.
fn labelled(table: &Table, cell: Option<GridCell>) -> Result<Vec<RowGroup>> {
    if !table.has(CELL) {
        return Err(table.origin.problem(
            "It has no column grid_cell, so it is no part of Major TOM Core; expected a file such as images/part_00001.parquet",
        ));
    }
    let label = cell.map(|cell| cell.to_string());
    let same = |group| same_everywhere(table.statistics(group, CELL), table.rows(group) as u64);
    let open = |group: &usize| {
        let possible = label.as_ref().is_none_or(|label| may_hold(table.statistics(*group, CELL), label));
        table.rows(*group) > 0 && possible
    };
    let groups: Vec<usize> = (0..table.groups()).filter(open).collect();
    let too_many = |count: usize| {
        let text = format!("It holds {count} rows or more, too many to list; name a cell, or choose another file");
        table.origin.problem(&text)
    };
    let claimed: usize = groups.iter().map(|&group| table.rows(group)).sum();
    if cell.is_none() && claimed > MOST_LISTED {
        return Err(too_many(claimed));
    }
    let (mut found, mut count) = (Vec::new(), 0);
    let parsed = |value: Option<Datum>| value?.text()?.parse::<GridCell>().ok();
    let wanted = |this: &GridCell| cell.is_none_or(|wanted| wanted == *this);
    // A few at a time: labels of a large index are not held all at once.
    for some in groups.chunks(64) {
        table.hold(some.iter().filter(|&&group| same(group).is_none()).map(|&group| (group, CELL.to_owned())))?;
        for &group in some {
            let all = table.rows(group);
            let (rows, cells): (Vec<usize>, Vec<GridCell>) = match same(group) {
                // A few bytes can claim millions of equal labels.
                Some(value) => match parsed(Some(value)).filter(wanted) {
                    Some(_) if count + all > MOST_LISTED => return Err(too_many(count + all)),
                    Some(this) => ((0..all).collect(), vec![this; all]),
                    None => continue,
                },
                None => {
                    let values = table.values(group, CELL, &(0..all).collect::<Vec<_>>())?;
                    let labelled = values.into_iter().map(parsed).enumerate();
                    labelled.filter_map(|(row, this)| Some((row, this.filter(wanted)?))).unzip()
                }
            };
            count += rows.len();
            if count > MOST_LISTED {
                return Err(too_many(count));
            }
            if !rows.is_empty() {
                found.push((group, rows, cells));
            }
        }
        table.forget();
    }
    Ok(found)
}

/// Rows with pixels.
fn rows_in(table: &Table, cell: Option<GridCell>) -> Result<Vec<Row>> {
    let columns = family_of(table).ok_or_else(|| {
        table
            .origin
            .problem("It has no bands (B02 …, vv, vh or DEM), so it is no part of Major TOM Core; choose another file")
    })?;
    let found = labelled(table, cell)?;
    let count: usize = found.iter().map(|(_, rows, _)| rows.len()).sum();
    if count == 0 && cell.is_none() {
        return Err(table.origin.problem("It holds no row that names a Major TOM cell"));
    }
    let mut all = Vec::with_capacity(count);
    for some in found.chunks(64) {
        hold_descriptions(table, some, &DESCRIBING)?;
        for (group, rows, cells) in some {
            for (i, description) in described(table, *group, rows)?.into_iter().enumerate() {
                all.push(Row {
                    origin: table.origin.clone(),
                    family: family(&columns, description.product.as_deref()),
                    cell: cells[i],
                    product: description.product,
                    time: description.time,
                    cloud_cover: description.cloud_cover,
                    no_data: description.no_data,
                    at: At::Known(*group, rows[i]),
                });
            }
        }
        table.forget();
    }
    Ok(all)
}

/// Fetches descriptions that the statistics do not tell.
fn hold_descriptions(table: &Table, groups: &[RowGroup], columns: &[&str]) -> Result<()> {
    let untold = groups.iter().flat_map(|(group, ..)| columns.iter().map(move |name| (*group, (*name).to_owned())));
    table.hold(
        untold.filter(|(group, name)| {
            same_everywhere(table.statistics(*group, name), table.rows(*group) as u64).is_none()
        }),
    )
}

struct Description {
    product: Option<String>,
    time: Option<String>,
    cloud_cover: Option<f64>,
    no_data: Option<f64>,
}

fn described(table: &Table, group: usize, rows: &[usize]) -> Result<Vec<Description>> {
    let [product, time, cloud, no_data] = DESCRIBING;
    let products = table.values(group, product, rows)?;
    let times = table.instants(group, time, rows)?;
    let clouds = table.values(group, cloud, rows)?;
    let no_data = table.values(group, no_data, rows)?;
    let number = |value: Option<Datum>| value.as_ref().and_then(Datum::number);
    let each = products.into_iter().zip(times).zip(clouds).zip(no_data);
    Ok(each
        .map(|(((product, time), cloud), no_data)| {
            let product = product.as_ref().and_then(Datum::text).filter(|id| !id.is_empty() && id != "id");
            let product = product.map(|id| printable(&id).into_owned());
            let time = time.or_else(|| Some(day_in(product.as_deref()?)?.to_string()));
            Description { time, product, cloud_cover: number(cloud), no_data: number(no_data) }
        })
        .collect())
}

/// What an index says of a cell.
fn indexed(table: &Table, cell: GridCell) -> Result<Vec<Row>> {
    let found = labelled(table, Some(cell))?;
    let products = Catalogue::of_user().product_names();
    let mut all = Vec::new();
    for some in found.chunks(64) {
        hold_descriptions(table, some, &[&DESCRIBING[..], &[URL, ROW]].concat())?;
        for (group, rows, _) in some {
            let urls = table.values(*group, URL, rows)?;
            let numbers = table.values(*group, ROW, rows)?;
            for ((description, url), number) in described(table, *group, rows)?.into_iter().zip(urls).zip(numbers) {
                let url = url.as_ref().and_then(Datum::text).unwrap_or_default();
                let number = match number {
                    Some(Datum::Whole(n)) => u64::try_from(n).ok(),
                    _ => None,
                };
                // Without a product the address tells: …/Core-DEM/resolve/…
                let known = products.iter().find(|name| url.contains(*name)).or(products.first());
                all.push(Row {
                    origin: table.origin.beside(&url)?,
                    family: family(known.map_or("", String::as_str), description.product.as_deref()),
                    cell,
                    product: description.product,
                    time: description.time,
                    cloud_cover: description.cloud_cover,
                    no_data: description.no_data,
                    at: At::Indexed(number),
                });
            }
        }
        table.forget();
    }
    Ok(all)
}

impl Row {
    /// One line for people: what, when, and how cloudy.
    pub fn line(&self) -> String {
        let mut line = format!("{}  {}", self.cell, self.family);
        if let Some(time) = &self.time {
            line += &format!("  {}", time.get(..10).unwrap_or(time));
        }
        if let Some(cloud) = self.cloud_cover {
            line += &format!("  {cloud:.0} % cloud");
        }
        line
    }

    /// Row group and row in the file, which has to hold what an index promised.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn locate(&self, table: &Table) -> Result<(usize, usize)> {
        let number = match self.at {
            At::Known(group, row) => return Ok((group, row)),
            At::Indexed(number) => number.and_then(|n| usize::try_from(n).ok()),
        };
        if let Some(number) = number {
            let mut candidates = Vec::new();
            if number < table.groups() && table.rows(number) == 1 {
                candidates.push((number, 0));
            }
            let mut before = 0;
            for group in 0..table.groups() {
                if let Some(row) = number.checked_sub(before).filter(|row| *row < table.rows(group)) {
                    candidates.push((group, row));
                }
                before += table.rows(group);
            }
            for (group, row) in candidates {
                let label = table.values(group, CELL, &[row])?.pop().flatten().and_then(|v| v.text());
                if label.as_deref() == Some(&self.cell.to_string()) {
                    return Ok((group, row));
                }
            }
        }
        // The index may be older than the file.
        let rows = rows_in(table, Some(self.cell))?;
        let same =
            rows.iter().find(|row| row.product == self.product).or(if rows.len() == 1 { rows.first() } else { None });
        match same.map(|row| row.at) {
            Some(At::Known(group, row)) => Ok((group, row)),
            _ => Err(table.origin.problem(&format!(
                "It does not hold {} where the index says; the index may be of another version",
                self.cell
            ))),
        }
    }
}

/// Scenes that rows can make: one for each cell and acquisition of its leading family, the newest first, each with those
/// of the other families that are nearest in time.
pub fn entries(rows: &[Row]) -> Vec<Vec<Row>> {
    let mut cells: BTreeMap<GridCell, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| cells.entry(row.cell).or_default().push(row));
    let products = Catalogue::of_user().product_names();
    let mut all = Vec::new();
    for rows in cells.values() {
        let of = |family: &String| ByDay::of(rows.iter().copied().filter(|row| row.family == *family));
        let mut families = products.iter().map(of).filter(|family| !family.0.is_empty());
        let Some(lead) = families.next() else { continue };
        let others: Vec<ByDay> = families.collect();
        for (day, first) in lead.newest_first() {
            let beside = others.iter().filter_map(|family| family.nearest(day));
            all.push(std::iter::once(first).chain(beside).cloned().collect());
        }
    }
    all
}

/// Rows of a family, the earliest first; those without a day before all others. Of equal ones the first comes last.
struct ByDay<'a>(Vec<(Option<Date>, &'a Row)>);

impl<'a> ByDay<'a> {
    fn of(rows: impl DoubleEndedIterator<Item = &'a Row>) -> Self {
        let day = |row: &Row| row.time.as_ref()?.get(..10)?.parse::<Date>().ok();
        let mut all: Vec<_> = rows.rev().map(|row| (day(row), row)).collect();
        all.sort_by(|a, b| (a.0, &a.1.time).cmp(&(b.0, &b.1.time)));
        Self(all)
    }

    fn newest_first(&self) -> impl Iterator<Item = (Option<Date>, &'a Row)> {
        self.0.iter().rev().copied()
    }

    /// The row nearest to a day, of equally near ones the latest; the latest where no day is known.
    fn nearest(&self, day: Option<Date>) -> Option<&'a Row> {
        let latest = self.0.last()?;
        let Some(day) = day else { return Some(latest.1) };
        let until = |end: Option<Date>| self.0.partition_point(|row| row.0 <= end).checked_sub(1);
        let before = until(Some(day)).map(|i| self.0[i]).filter(|row| row.0.is_some());
        // The latest of the first day that follows.
        let next = self.0.get(until(Some(day)).map_or(0, |i| i + 1)).and_then(|row| until(row.0));
        let after = next.map(|i| self.0[i]);
        let apart = |row: &(Option<Date>, &Row)| row.0?.until(day).ok().map(|span| span.get_days().abs());
        match (before, after) {
            (Some(a), Some(b)) => Some(if apart(&a) < apart(&b) { a.1 } else { b.1 }),
            (one, other) => Some(one.or(other).map_or(latest.1, |row| row.1)),
        }
    }
}

/// The rows of one scene: per family the named product, else as [`entries`] puts them together.
///
/// # Errors
/// When there is none of the cell, or a product is named that is not there.
pub fn choose(rows: &[Row], cell: GridCell, products: &[String]) -> Result<Vec<Row>> {
    let here: Vec<Row> = rows.iter().filter(|row| row.cell == cell).cloned().collect();
    let mut chosen: BTreeMap<String, Row> = BTreeMap::new();
    for product in products {
        let Some(row) = here.iter().find(|row| row.product.as_ref() == Some(product)) else {
            let known: BTreeSet<&String> = here.iter().filter_map(|row| row.product.as_ref()).collect();
            let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
            return Err(Error::request(format!(
                "There is no product {product} of cell {cell}; there is: {}.",
                if known.is_empty() { "none with a name".into() } else { known.join(", ") }
            )));
        };
        if let Some(other) = chosen.insert(row.family.clone(), row.clone()) {
            return Err(Error::request(format!(
                "{product} and {} are both {}; a scene has one of each.",
                other.product.unwrap_or_default(),
                row.family
            )));
        }
    }
    let all = entries(&here);
    let named = |entry: &&Vec<Row>| chosen.values().any(|row| entry.first() == Some(row));
    match all.iter().find(named).or(all.first()) {
        Some(entry) => {
            for row in entry.clone() {
                chosen.entry(row.family.clone()).or_insert(row);
            }
            Ok(chosen.into_values().collect())
        }
        None => Err(Error::request(format!("None of the files holds the cell {cell}."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(family: &str, time: Option<String>) -> Row {
        Row {
            origin: Origin::File("part.parquet".into()),
            family: family.into(),
            cell: GridCell { row: 618, column: -30 },
            product: None,
            time,
            cloud_cover: None,
            no_data: None,
            at: At::Known(0, 0),
        }
    }

    #[test]
    fn the_nearest_in_time_stands_beside() {
        let lead = |time: &str| row("S2L2A", Some(time.into()));
        let beside = |time: &str| row("S1RTC", (!time.is_empty()).then(|| time.into()));
        for (others, day, nearest) in [
            (&["2022-01-01", "2022-01-09"][..], "2022-01-04", "2022-01-01"),
            (&["2022-01-01", "2022-01-09"], "2022-01-05T10:00:00Z", "2022-01-09"),
            (&["2022-01-01", "2022-01-09"], "2023-01-01", "2022-01-09"),
            (&["2022-01-01", "2022-01-09"], "2021-01-01", "2022-01-01"),
            (&["2022-01-09T05:00:00Z", "2022-01-09T17:00:00Z", "2022-01-20"], "2022-01-08", "2022-01-09T17:00:00Z"),
            (&["", "2022-01-09"], "2000-01-01", "2022-01-09"),
            (&["2022-01-01", "2022-01-09"], "some day", "2022-01-09"),
            (&["some day", ""], "2022-01-09", "some day"),
        ] {
            let mut rows: Vec<Row> = others.iter().map(|time| beside(time)).collect();
            rows.push(lead(day));
            let made = entries(&rows);
            assert_eq!(made.len(), 1);
            assert_eq!(made[0][1].time.as_deref().unwrap_or_default(), nearest, "{day} {others:?}");
        }
    }

    #[test]
    fn many_rows_of_one_cell_are_put_together() {
        let day =
            |i: i64| Some(format!("{}Z", jiff::civil::datetime(2015, 7, 1, 10, 0, 0, 0) + jiff::Span::new().hours(i)));
        let rows: Vec<Row> =
            (0..50_000).map(|i| row(if i % 2 == 0 { "S2L2A" } else { "S1RTC" }, day(i64::from(i)))).collect();
        let made = entries(&rows);
        assert_eq!(made.len(), 25_000);
        assert!(
            made.iter()
                .all(|scene| scene[0].time.as_ref().map(|t| &t[..10]) == scene[1].time.as_ref().map(|t| &t[..10]))
        );
    }
}
