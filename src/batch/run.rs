//! A worker's way through a plan: what is whole is passed over, what others do is left to them, and what they leave undone is
//! taken over.

use super::columns::Columns;
use super::perform::{Bench, collection_id};
use super::pins::Pins;
use super::plan::{Plan, Row, rows};
use super::store::{
    BATCH_FILE, Claim, FORMAT, Header, PLAN_FILE, Store, failure_file, header, key, open, whole, worker,
};
use crate::error::{Error, Result};
use crate::model::{Computing, Model};
use crate::net::Network;
use crate::process::{panic_text, peak_memory};
use jiff::Timestamp;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Seek;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a worker looks whether what others do is done.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Rows looked at together.
const TOGETHER: usize = 256;

/// What a worker does of a plan.
#[derive(Debug, Clone, Default)]
pub struct BatchOptions {
    /// Only every n-th row, from the i-th on (counted from 0).
    pub shard: Option<(usize, usize)>,
    /// At most so many jobs are computed.
    pub limit: Option<usize>,
    /// How often a job that failed is tried again.
    pub retry: usize,
    /// Whether others are done after one failed.
    pub keep_going: bool,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Done by this worker.
    Done,
    /// It was whole already, or another worker did it meanwhile.
    Skipped,
    /// It failed, here or a moment ago elsewhere.
    Failed,
    /// This worker cannot give the bytes that are meant.
    Declined,
}

/// What there is to say about a job, one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobLine {
    /// Its name.
    pub job: String,
    /// The number of its row.
    pub row: usize,
    /// How it ended.
    pub status: Status,
    /// Time it took, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Network evaluations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<usize>,
    /// The most memory that the worker has held so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a worker tells while it works.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// How many rows are this worker's.
    Rows(usize),
    /// A job ended.
    Job(JobLine),
    /// Something people should know about a job.
    Note(String),
    /// So many jobs are in others' hands; this worker waits for them.
    Waiting(usize),
}

/// How a worker's jobs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows that are this worker's.
    pub rows: usize,
    /// Computed by it.
    pub done: usize,
    /// Whole already, or done by others.
    pub skipped: usize,
    /// Failed.
    pub failed: usize,
    /// Declined.
    pub declined: usize,
    /// Whether somebody stopped it.
    pub stopped: bool,
}

impl Summary {
    /// Rows that nothing was said about.
    pub fn left(&self) -> usize {
        self.rows.saturating_sub(self.done + self.skipped + self.failed + self.declined)
    }
}

/// `failed/NAME.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failure {
    pub job: String,
    pub row: usize,
    pub reason: String,
    pub at: Timestamp,
    pub worker: String,
}

/// Does what is left of a plan, into a store that is begun with it if there is none. Setting `cancel` ends it within one network
/// evaluation; what is finished stays.
///
/// # Errors
/// When the plan is no plan, the store is one of another plan, or the store or the model cannot be opened. What happens to
/// single jobs is told.
pub fn run_batch(
    plan: &Plan,
    store: &str,
    (model, computing): (&Path, Computing),
    options: &BatchOptions,
    cancel: &Arc<AtomicBool>,
    tell: &mut dyn FnMut(Told),
) -> Result<Summary> {
    let store = open(store)?;
    // Flat memory, however many rows: the plan is on the disk, and read once more as it is kept.
    let mut kept = tempfile::tempfile().map_err(|e| Error::Compute(format!("No temporary file can be made: {e}.")))?;
    let identity = plan.keep(&mut std::io::BufWriter::new(&mut kept))?;
    if let Some(header) = header(store.as_ref())? {
        same_plan(&header, &identity, store.as_ref())?;
    }
    let model = Model::open_on(model, &computing, &mut |note| tell(Told::Note(note)))?;
    let own = Pins::here(&model);
    let wrong = |e: std::io::Error| Error::Compute(format!("The plan cannot be read again: {e}."));
    let header = match header(store.as_ref())? {
        Some(header) => header,
        None => {
            kept.rewind().map_err(wrong)?;
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut kept, &mut bytes).map_err(wrong)?;
            begin(store.as_ref(), &bytes, Header { format: FORMAT, plan: identity.clone(), pins: own.clone() })?
        }
    };
    same_plan(&header, &identity, store.as_ref())?;
    kept.rewind().map_err(wrong)?;
    let mine = rows(std::io::BufReader::new(kept))?.filter(|row| match (row, options.shard) {
        (Ok(row), Some((i, n))) => (row.number - 1) % n == i,
        _ => true,
    });
    let count = match options.shard {
        Some((i, n)) => (header.plan.rows + n - 1).saturating_sub(i) / n,
        None => header.plan.rows,
    };
    tell(Told::Rows(count));
    let bench = Bench {
        store: store.as_ref(),
        model: &model,
        computing,
        pins: &header.pins,
        collection: collection_id(&header.plan.sha256),
        base: plan.base(),
        network: Network::default(),
    };
    let mut worker = Worker {
        bench,
        columns: Columns::new(),
        options,
        cancel,
        tell,
        lacks: header.pins.check(&own).err().map(|e| e.to_string()),
        summary: Summary { rows: count, ..Summary::default() },
        log: format!("log/{}.jsonl", worker()),
        began: Timestamp::now(),
    };
    let mut busy = Vec::new();
    let mut mine = mine;
    loop {
        let some = mine.by_ref().take(TOGETHER).collect::<Result<Vec<Row>>>()?;
        if some.is_empty() || worker.is_over() {
            break;
        }
        let whole = whole_ones(store.as_ref(), &header.pins, &some)?;
        for (row, whole) in some.into_iter().zip(whole) {
            if worker.is_over() {
                break;
            }
            if whole {
                worker.end(&row, Status::Skipped, None);
            } else if !worker.row(&row)? {
                busy.push(row);
            }
        }
    }
    worker.take_over(busy)?;
    worker.summary.stopped = cancel.load(Ordering::Relaxed);
    Ok(worker.summary)
}

fn same_plan(header: &Header, identity: &super::PlanIdentity, store: &dyn Store) -> Result<()> {
    if header.plan == *identity {
        return Ok(());
    }
    Err(Error::request(format!(
        "The store {} was begun with another plan ({} rows; this one has {}, or asks for something else in one of them): choose another with --out, or give it that plan.",
        store.address(),
        header.plan.rows,
        identity.rows
    )))
}

/// Begins a store, unless another worker is doing so: what counts is what was there first.
fn begin(store: &dyn Store, plan: &[u8], own: Header) -> Result<Header> {
    if store.read(PLAN_FILE)?.is_none() && !store.list("")?.is_empty() {
        return Err(Error::request(format!(
            "{} holds something else than a batch; choose a new folder with --out.",
            store.address()
        )));
    }
    store.write(PLAN_FILE, plan)?;
    let text = serde_json::to_vec_pretty(&own).map_err(|e| Error::Compute(format!("No header: {e}.")))?;
    if store.create(BATCH_FILE, &text)? {
        return Ok(own);
    }
    super::store::begun(store)
}

/// Whether the results of these rows are whole, looked at side by side.
fn whole_ones(store: &dyn Store, pins: &Pins, rows: &[Row]) -> Result<Vec<bool>> {
    let is_whole = |row: &Row| {
        let record = whole(store, &row.name)?;
        Ok(record.is_some_and(|record| record.key == key(&row.sha256(), pins)))
    };
    rows.par_iter().map(is_whole).collect()
}

struct Worker<'a> {
    bench: Bench<'a>,
    columns: Columns,
    options: &'a BatchOptions,
    cancel: &'a Arc<AtomicBool>,
    tell: &'a mut dyn FnMut(Told),
    /// Why this worker declines.
    lacks: Option<String>,
    summary: Summary,
    log: String,
    began: Timestamp,
}

impl Worker<'_> {
    fn is_over(&self) -> bool {
        let enough = self.options.limit.is_some_and(|most| self.summary.done >= most);
        let failed = self.summary.failed > 0 && !self.options.keep_going;
        enough || failed || self.cancel.load(Ordering::Relaxed)
    }

    /// Looks after a row; false while another worker does it. What failed elsewhere since this one began is not tried again.
    fn row(&mut self, row: &Row) -> Result<bool> {
        let store = self.bench.store;
        if let Some(reason) = self.lacks.clone() {
            self.end(row, Status::Declined, Some(reason));
            return Ok(true);
        }
        let Some(claim) = store.claim(&row.name)? else { return Ok(false) };
        // Another worker may have had it until now.
        if whole_ones(store, self.bench.pins, std::slice::from_ref(row))? == [true] {
            self.end(row, Status::Skipped, None);
            return Ok(true);
        }
        if let Some(failure) = self.failed_elsewhere(row)? {
            self.end(row, Status::Failed, Some(failure.reason));
            return Ok(true);
        }
        self.work(row, claim);
        Ok(true)
    }

    fn failed_elsewhere(&self, row: &Row) -> Result<Option<Failure>> {
        let bytes = self.bench.store.read(&failure_file(&row.name))?;
        let failure = bytes.and_then(|bytes| serde_json::from_slice::<Failure>(&bytes).ok());
        Ok(failure.filter(|failure| failure.at > self.began && failure.worker != self.log))
    }

    fn work(&mut self, row: &Row, claim: Box<dyn Claim>) {
        let begun = Instant::now();
        let mut outcome = Err(Error::Cancelled);
        for attempt in 0..=self.options.retry {
            let (bench, columns, cancel, tell) = (&self.bench, &mut self.columns, self.cancel, &mut self.tell);
            let mut note = |text: &str| tell(Told::Note(format!("{}: {text}", row.name)));
            // A defect must not keep the other jobs from being done.
            let done = catch_unwind(AssertUnwindSafe(|| bench.perform(row, columns, cancel, &mut note)));
            outcome = done.unwrap_or_else(|panic| {
                Err(Error::Compute(format!(
                    "It ended with an internal error ({}). Please report it.",
                    panic_text(panic.as_ref())
                )))
            });
            match &outcome {
                Err(error) if attempt < self.options.retry && !self.cancel.load(Ordering::Relaxed) => {
                    (self.tell)(Told::Note(format!("Row {} ({}) is tried again: {error}", row.number, row.name)));
                }
                _ => break,
            }
        }
        let failure = failure_file(&row.name);
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(evaluations) => {
                let _ = self.bench.store.remove(&failure);
                self.line(row, Status::Done, None, Some((seconds, evaluations)));
            }
            // Not a failure: it is done the next time.
            Err(Error::Cancelled) if self.cancel.load(Ordering::Relaxed) => {}
            Err(error) => {
                let reason = format!("Row {} ({}): {error}", row.number, row.name);
                let told = Failure {
                    job: row.name.clone(),
                    row: row.number,
                    reason: reason.clone(),
                    at: Timestamp::now(),
                    worker: self.log.clone(),
                };
                let text = serde_json::to_vec_pretty(&told).unwrap_or_default();
                if let Err(error) = self.bench.store.write(&failure, &text) {
                    (self.tell)(Told::Note(format!("Why {} failed cannot be kept: {error}", row.name)));
                }
                self.line(row, Status::Failed, Some(reason), Some((seconds, 0)));
            }
        }
        drop(claim);
    }

    /// Waits for jobs in others' hands, and does those that they leave.
    fn take_over(&mut self, mut busy: Vec<Row>) -> Result<()> {
        while !busy.is_empty() && !self.is_over() {
            (self.tell)(Told::Waiting(busy.len()));
            std::thread::sleep(LOOK_AGAIN);
            let mut still = Vec::new();
            for row in busy {
                if self.is_over() || !self.row(&row)? {
                    still.push(row);
                }
            }
            busy = still;
        }
        Ok(())
    }

    fn end(&mut self, row: &Row, status: Status, reason: Option<String>) {
        self.line(row, status, reason, None);
    }

    fn line(&mut self, row: &Row, status: Status, reason: Option<String>, cost: Option<(f64, usize)>) {
        match status {
            Status::Done => self.summary.done += 1,
            Status::Skipped => self.summary.skipped += 1,
            Status::Failed => self.summary.failed += 1,
            Status::Declined => self.summary.declined += 1,
        }
        let line = JobLine {
            job: row.name.clone(),
            row: row.number,
            status,
            seconds: cost.map(|(seconds, _)| (seconds * 1e3).round() / 1e3),
            evaluations: cost.map(|(_, evaluations)| evaluations).filter(|n| *n > 0),
            memory_bytes: cost.and_then(|_| peak_memory()),
            reason,
        };
        if cost.is_some()
            && let Ok(text) = serde_json::to_string(&line)
            && let Err(error) = self.bench.store.append(&self.log, &format!("{text}\n"))
        {
            (self.tell)(Told::Note(format!("The log cannot be kept: {error}")));
        }
        (self.tell)(Told::Job(line));
    }
}
