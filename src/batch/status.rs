//! How far a batch is, from its store alone.

use super::plan::{Row, rows};
use super::run::{Failure, JobLine};
use super::store::{PLAN_FILE, Record, Store, begun, failure_file, key, open, whole};
use super::{Pins, Status};
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::io::Cursor;

/// Rows looked at together.
pub(super) const TOGETHER: usize = 2048;
/// Reasons that are listed.
const MOST_REASONS: usize = 20;

/// What there is to say about a batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Jobs of the plan.
    pub rows: usize,
    /// Jobs whose results are whole.
    pub done: usize,
    /// Jobs that failed when they were last tried.
    pub failed: usize,
    /// Jobs that workers are at.
    pub working: usize,
    /// Jobs that are none of these.
    pub left: usize,
    /// Mean time of a job so far.
    pub seconds_per_job: Option<f64>,
    /// About how long the rest takes if as many workers go on; none while none works.
    pub seconds_left: Option<f64>,
    /// Why jobs failed, the first of them.
    pub reasons: Vec<String>,
    /// What the store was begun with.
    pub pins: Pins,
}

/// Looks at a store.
///
/// # Errors
/// When it cannot be read, or no batch was begun in it.
pub fn status(address: &str) -> Result<Report> {
    let store = open(address)?;
    let header = begun(store.as_ref())?;
    let failures: std::collections::HashSet<String> = store.list("failed")?.into_iter().collect();
    let (mut done, mut failed, mut reasons) = (0, 0, Vec::new());
    for_rows(store.as_ref(), &header.pins, &mut |rows| {
        for (row, record) in rows {
            let failure = failure_file(&row.name);
            if record.is_some() {
                done += 1;
            } else if failures.contains(&format!("{}.json", row.name)) {
                failed += 1;
                if reasons.len() < MOST_REASONS
                    && let Some(bytes) = store.read(&failure)?
                    && let Ok(failure) = serde_json::from_slice::<Failure>(&bytes)
                {
                    reasons.push(failure.reason);
                }
            }
        }
        Ok(())
    })?;
    let working = store.working()?;
    let left = header.plan.rows.saturating_sub(done + failed + working);
    let seconds_per_job = pace(store.as_ref())?;
    let workers = (working > 0).then_some(working as f64);
    let seconds_left = seconds_per_job.zip(workers).map(|(each, workers)| each * (left + working) as f64 / workers);
    let rows = header.plan.rows;
    Ok(Report { rows, done, failed, working, left, seconds_per_job, seconds_left, reasons, pins: header.pins })
}

/// Rows of the plan in its order, some at a time, each with its record if it is whole.
pub(super) fn for_rows(
    store: &dyn Store,
    pins: &Pins,
    take: &mut dyn FnMut(Vec<(Row, Option<Record>)>) -> Result<()>,
) -> Result<()> {
    let plan = store.read(PLAN_FILE)?;
    let plan = plan.ok_or_else(|| Error::file(format!("{}/{PLAN_FILE}", store.address()), "The plan is gone"))?;
    let mut all = rows(Cursor::new(plan))?;
    loop {
        let some = all.by_ref().take(TOGETHER).collect::<Result<Vec<Row>>>()?;
        if some.is_empty() {
            return Ok(());
        }
        let look = |row: Row| -> Result<(Row, Option<Record>)> {
            let record = whole(store, &row.name)?.filter(|record| record.key == key(&row.sha256(), pins));
            Ok((row, record))
        };
        take(some.into_par_iter().map(look).collect::<Result<_>>()?)?;
    }
}

/// Mean seconds of a job, from the logs of all workers.
fn pace(store: &dyn Store) -> Result<Option<f64>> {
    let (mut sum, mut count) = (0.0, 0);
    for name in store.list("log")? {
        let text = store.read(&format!("log/{name}"))?.unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<JobLine>(line).ok());
        for line in lines.filter(|line| line.status == Status::Done) {
            sum += line.seconds.unwrap_or(0.0);
            count += 1;
        }
    }
    Ok((count > 0).then(|| sum / f64::from(count)))
}
