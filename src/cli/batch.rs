//! `copgen batch`: many jobs of a plan, by one worker or many.

use super::chosen::ChosenModel;
use super::{interrupt, progress_bar};
use crate::batch::{BatchOptions, JobLine, Plan, Region, Report, Status, Summary, Told, collect, run_batch, status};
use crate::error::{Error, Result};
use indicatif::ProgressBar;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

/// Do all jobs of a plan. Each is what "copgen generate" does; what is whole is passed over, and any number of workers may do
/// the same at once. Exit codes: 0 all of this worker's jobs are whole, 1 some failed, 2 wrong arguments or a bad plan,
/// 3 this worker declined or was stopped.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Batch {
    /// The plan: a table (.csv, .parquet) with a row per job and columns named like the options of generate (name, scene, cell,
    /// extent, given, generate, keep, set, samples, seed, steps, …); several values of one column are separated by semicolons,
    /// paths begin at the plan's folder. A row with a cell, or with coordinates in a column "at", and without scene has open data
    /// fetched first, with columns named like the options of fetch. Or a data set in the Major TOM layout, a folder of scene
    /// folders, or a region (west,south,east,north) whose cells are fetched.
    #[arg(required = true)]
    plan: Option<String>,
    /// Where results go: a folder that all workers see, or s3://bucket/prefix (credentials and endpoint from AWS_* variables).
    #[arg(long, required = true)]
    out: Option<String>,
    /// Of a data set, only cells in this box of degrees.
    #[arg(long, value_name = "WEST,SOUTH,EAST,NORTH", allow_hyphen_values = true)]
    region: Option<Region>,
    #[command(flatten)]
    chosen: ChosenModel,
    /// Only every n-th row, from the i-th on, counted from 0: 3/16.
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<(usize, usize)>,
    /// Compute at most so many jobs.
    #[arg(long)]
    limit: Option<usize>,
    /// Try a job that failed so many times again.
    #[arg(long, default_value_t = 0)]
    retry: usize,
    /// Do the other jobs after one failed.
    #[arg(long)]
    keep_going: bool,
    /// Options of generate for all rows that have no such column.
    #[arg(last = true, value_name = "OPTIONS OF GENERATE")]
    options: Vec<String>,
    #[command(subcommand)]
    look: Option<Look>,
}

#[derive(Debug, clap::Subcommand)]
enum Look {
    /// Say how far a batch is.
    Status {
        /// The store, as given to --out.
        store: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the catalogue of what is done: collection.json (STAC) and items.parquet (stac-geoparquet).
    Collect {
        /// The store, as given to --out.
        store: String,
        /// What comes before the addresses of files in items.parquet; they are relative to it if left out.
        #[arg(long)]
        base: Option<String>,
    },
}

fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
    parts.filter(|(i, n)| i < n).ok_or_else(|| "expected I/N with I from 0 to N-1, such as 3/16".into())
}

impl Batch {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.look {
            Some(Look::Status { store, json }) => say_status(&status(&store)?, json),
            Some(Look::Collect { store, base }) => {
                let collected = collect(&store, base.as_deref())?;
                if collected.missing > 0 {
                    eprintln!("note: {} jobs of the plan are not done and not part of it.", collected.missing);
                }
                collected.files.iter().for_each(|file| tell!("{file}"));
                Ok(ExitCode::SUCCESS)
            }
            None => self.work(),
        }
    }

    fn work(self) -> Result<ExitCode> {
        let (Some(plan), Some(out)) = (self.plan, self.out) else {
            return Err(Error::request("Name a plan, and a store with --out."));
        };
        let plan = Plan::open(&plan, self.region, &self.options)?;
        let (computing, dir) = (self.chosen.computing(), self.chosen.folder()?);
        let options =
            BatchOptions { shard: self.shard, limit: self.limit, retry: self.retry, keep_going: self.keep_going };
        let mut shown = Shown::new();
        let summary = run_batch(&plan, &out, (&dir, computing), &options, &interrupt()?, &mut |told| shown.take(told));
        shown.bar.finish_and_clear();
        let summary = summary?;
        eprintln!("{}", sentence(&summary));
        Ok(ExitCode::from(code(&summary)))
    }
}

/// 0 all done, 1 some failed, 3 declined or stopped.
fn code(summary: &Summary) -> u8 {
    match summary {
        Summary { failed: 1.., .. } => 1,
        Summary { declined: 1.., .. } | Summary { stopped: true, .. } => 3,
        _ => 0,
    }
}

/// One line about all jobs.
fn sentence(summary: &Summary) -> String {
    let Summary { rows, done, skipped, failed, declined, stopped } = *summary;
    let what = match code(summary) {
        1 => "Some jobs failed",
        3 if stopped => "Stopped",
        3 => "Declined",
        _ if summary.left() > 0 => "All that was asked for is done",
        _ => "All done",
    };
    format!(
        "{what}: of {rows} jobs {done} computed, {skipped} whole already, {failed} failed, {declined} declined, {} left.",
        summary.left()
    )
}

/// Lines on the standard output, and a bar with the time left on a terminal.
struct Shown {
    bar: ProgressBar,
    began: Instant,
    computed: u32,
}

impl Shown {
    fn new() -> Self {
        let bar = progress_bar(0);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        if let Ok(style) = indicatif::ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { bar, began: Instant::now(), computed: 0 }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Rows(rows) => {
                self.bar.set_length(rows as u64);
                self.began = Instant::now();
            }
            Told::Note(text) => self.bar.suspend(|| eprintln!("note: {text}")),
            Told::Waiting(jobs) => self.bar.set_message(format!("waiting for {jobs} of other workers")),
            Told::Job(line) => self.job(&line),
        }
    }

    fn job(&mut self, line: &JobLine) {
        self.bar.inc(1);
        if line.status == Status::Done {
            self.computed += 1;
            let left = self.bar.length().unwrap_or(0).saturating_sub(self.bar.position());
            let seconds = self.began.elapsed().as_secs_f64() / f64::from(self.computed) * left as f64;
            self.bar.set_message(format!("{} left", duration(seconds)));
        }
        if let Ok(text) = serde_json::to_string(line) {
            self.bar.suspend(|| tell!("{text}"));
        }
    }
}

/// A time for people.
fn duration(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

fn say_status(report: &Report, json: bool) -> Result<ExitCode> {
    if json {
        let text = serde_json::to_string(report).map_err(|e| Error::Compute(format!("No report: {e}.")))?;
        tell!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let Report { rows, done, failed, working, left, .. } = report;
    tell!("{done} of {rows} jobs are done, {failed} failed, {working} are being worked on, {left} are left.");
    if let Some(each) = report.seconds_per_job {
        let rest = report.seconds_left.map_or(String::new(), |left| format!(", about {} left", duration(left)));
        tell!("{each:.1} s per job{rest}.");
    }
    report.reasons.iter().for_each(|reason| tell!("{reason}"));
    if *failed > report.reasons.len() {
        tell!("… and {} more.", failed - report.reasons.len());
    }
    let pins = &report.pins;
    tell!(
        "Model {} ({}), {}, program {}, GDAL {}.",
        pins.model,
        pins.model_sha256,
        pins.computed,
        pins.program,
        pins.gdal
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_and_the_code_tell_how_it_ended() {
        let all = Summary { rows: 9, done: 4, skipped: 5, ..Summary::default() };
        for (summary, expected, said) in [
            (all, 0, "All done: of 9 jobs 4 computed, 5 whole"),
            (Summary { done: 3, failed: 1, ..all }, 1, "Some jobs failed"),
            (Summary { done: 0, declined: 4, ..all }, 3, "Declined"),
            (Summary { done: 1, stopped: true, ..all }, 3, "Stopped"),
            (Summary { done: 1, ..all }, 0, "All that was asked for is done"),
        ] {
            assert_eq!(code(&summary), expected);
            assert!(sentence(&summary).starts_with(said), "{}", sentence(&summary));
        }
        assert_eq!((parse_shard("3/16"), parse_shard("0/1")), (Ok((3, 16)), Ok((0, 1))));
        assert!(["16/16", "3", "-1/2", "1/0"].iter().all(|text| parse_shard(text).is_err()));
    }
}
