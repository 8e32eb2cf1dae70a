//! A plan: rows that are jobs, each with a name of its own, and what identifies all of them together.

use super::columns::{Columns, NAME, RowOptions};
use super::table::{Origin, Region};
use crate::error::{Error, Result};
use crate::files::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::path::PathBuf;

/// Names of jobs are names of folders, with room for what is put before them.
const LONGEST_NAME: usize = 120;

/// One job as the plan has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Counted from 1, the line with the column names left out.
    pub number: usize,
    /// Names the job and its folder.
    pub name: String,
    pub(super) values: BTreeMap<String, String>,
}

impl Row {
    /// Tells apart what is asked for, whatever else the plan holds.
    pub(super) fn sha256(&self) -> String {
        let text = serde_json::json!(self.values).to_string();
        hex(&Sha256::digest(text))
    }

    /// What it asks for.
    pub(super) fn options(&self, columns: &mut Columns) -> Result<RowOptions> {
        columns.read(&self.values)
    }

    /// The value of a column, if it has one.
    pub(super) fn value(&self, column: &str) -> Option<&str> {
        self.values.get(column).map(String::as_str)
    }
}

/// What identifies a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanIdentity {
    /// Number of jobs.
    pub rows: usize,
    /// SHA-256 over what all rows ask for, in their order.
    pub sha256: String,
}

/// A plan where its author keeps it.
#[derive(Debug, Clone)]
pub struct Plan {
    origin: Origin,
    defaults: BTreeMap<String, String>,
}

impl Plan {
    /// From a file (CSV, Parquet), a data set in the Major TOM layout (all its cells or those of a region), a folder of scene
    /// folders, or the text of a region whose cells are to be fetched. `defaults` are options for rows that say nothing else.
    ///
    /// # Errors
    /// When there is no plan there, or a default is no option.
    pub fn open(text: &str, region: Option<Region>, defaults: &[String]) -> Result<Self> {
        Ok(Self { origin: Origin::of(text, region).map_err(wrong)?, defaults: Columns::new().defaults(defaults)? })
    }

    /// Where relative paths in its rows begin.
    pub(super) fn base(&self) -> PathBuf {
        self.origin.base()
    }

    /// Writes it as a store keeps it (CSV, each row with its name and the defaults), and tells what identifies it.
    ///
    /// # Errors
    /// About a column, a row that cannot be read, or two rows of one name; with the row's number.
    pub(super) fn keep(&self, out: &mut dyn Write) -> Result<PlanIdentity> {
        let table = self.origin.table().map_err(wrong)?;
        let columns = Columns::new();
        let header = table.header.iter().map(|column| columns.named(column)).collect::<Result<Vec<_>>>()?;
        if let Some(twice) = (1..header.len()).find(|&i| header[..i].contains(&header[i])) {
            return Err(Error::request(format!("The plan has the column \"{}\" twice.", header[twice])));
        }
        let mut all = vec![NAME.to_owned()];
        for column in header.iter().chain(self.defaults.keys()) {
            if !all.contains(column) {
                all.push(column.clone());
            }
        }
        let failed = |e: csv::Error| Error::Compute(format!("The plan cannot be kept: {e}."));
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(&all).map_err(failed)?;
        // Hashes instead of the names: the same memory for each.
        let mut names: HashMap<u64, usize> = HashMap::new();
        let (mut hash, mut number) = (Sha256::new(), 0);
        for texts in table.rows {
            number += 1;
            let mut values = self.defaults.clone();
            let filled = header.iter().cloned().zip(texts.map_err(wrong)?).filter(|(_, text)| !text.is_empty());
            values.extend(filled);
            let name = values.get(NAME).or(values.get("cell")).cloned().unwrap_or_else(|| format!("row{number:06}"));
            check_name(&name).map_err(|why| Error::request(format!("Row {number} has the name \"{name}\": {why}.")))?;
            let digest = Sha256::digest(name.to_lowercase());
            let short = digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
            if let Some(before) = names.insert(short, number) {
                return Err(Error::request(format!(
                    "Rows {before} and {number} have the same name \"{name}\"; give each a name of its own in the column name."
                )));
            }
            values.insert(NAME.to_owned(), name.clone());
            let row = Row { number, name, values };
            hash.update(row.sha256());
            writer.write_record(all.iter().map(|c| row.value(c).unwrap_or_default())).map_err(failed)?;
        }
        writer.flush().map_err(|e| failed(e.into()))?;
        if number == 0 {
            return Err(Error::request("The plan has no rows."));
        }
        Ok(PlanIdentity { rows: number, sha256: hex(&hash.finalize()) })
    }
}

/// Rows of a plan as a store keeps it.
pub(super) fn rows(kept: impl Read + 'static) -> Result<impl Iterator<Item = Result<Row>>> {
    let bad = |e: csv::Error| Error::Compute(format!("The plan in the store cannot be read: {e}."));
    let mut reader = csv::Reader::from_reader(kept);
    let header: Vec<String> = reader.headers().map_err(bad)?.iter().map(str::to_owned).collect();
    Ok(reader.into_records().enumerate().map(move |(i, record)| {
        let record = record.map_err(bad)?;
        let filled = header.iter().cloned().zip(record.iter().map(str::to_owned)).filter(|(_, text)| !text.is_empty());
        let values: BTreeMap<String, String> = filled.collect();
        let name = values.get(NAME).cloned().unwrap_or_default();
        check_name(&name).map_err(|why| Error::Compute(format!("The plan in the store is damaged: {why}.")))?;
        Ok(Row { number: i + 1, name, values })
    }))
}

/// What is wrong with a plan is wrong with what was asked for, wherever it was found.
fn wrong(error: Error) -> Error {
    let text = error.to_string();
    Error::request(if text.ends_with('.') { text } else { text + "." })
}

/// Whether a name can be that of a folder everywhere.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(format!("names have 1 to {LONGEST_NAME} characters"));
    }
    if !name.chars().all(plain) || name.starts_with(['.', '-']) || name.ends_with('.') {
        return Err("names hold letters of ASCII, digits, - _ and ., and begin with a letter, a digit or _".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, defaults: &[&str]) -> Result<(PlanIdentity, Vec<Row>)> {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("plan.csv");
        std::fs::write(&path, text).expect("plan");
        let defaults: Vec<String> = defaults.iter().map(|&d| d.to_owned()).collect();
        let plan = Plan::open(path.to_str().expect("path"), None, &defaults)?;
        let mut out = Vec::new();
        let identity = plan.keep(&mut out)?;
        let all = rows(std::io::Cursor::new(out))?.collect::<Result<Vec<_>>>()?;
        Ok((identity, all))
    }

    #[test]
    fn a_plan_is_kept_with_names_and_defaults_and_known_by_what_it_asks() {
        let (identity, rows) = kept("name,scene,seed\na,x,\n,y,3\n", &["--seed", "7", "--cog"]).expect("a plan");
        assert_eq!((identity.rows, rows.len()), (2, 2));
        assert_eq!((rows[0].name.as_str(), rows[0].value("seed")), ("a", Some("7")));
        assert_eq!((rows[1].name.as_str(), rows[1].value("seed")), ("row000002", Some("3")));
        assert_eq!(rows[1].value("cog"), Some("yes"));
        // The order of columns, blanks and empty columns ask for nothing else; another seed does.
        let same = kept("seed, scene ,name,steps\n7,x,a,\n3,y,,\n", &["--cog"]).expect("a plan").0;
        assert_eq!(same, identity);
        assert_ne!(kept("name,scene,seed\na,x,8\n,y,3\n", &["--cog"]).expect("a plan").0, identity);
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_told_with_the_number_of_the_row() {
        for (text, said) in [
            ("name,sceen\na,x\n", "\"sceen\""),
            ("name,scene\na,x\nb,y\nA,z\n", "Rows 1 and 3"),
            ("name,scene\na,x\nb\n", "Row 2 has 1 values"),
            ("name,scene\n../a,x\n", "Row 1 has the name \"../a\""),
            ("name,scene\n", "no rows"),
            ("scene,scene\na,b\n", "\"scene\" twice"),
        ] {
            let error = kept(text, &[]).expect_err(said).to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }
}
