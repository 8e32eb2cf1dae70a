//! The record of a training run: a table of its steps.

use crate::error::{Error, Result};
use crate::files::{LONGEST_TEXT, read, write_atomically};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is recorded of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Steps done, this one included.
    pub step: u64,
    /// Training loss; NaN where there is none.
    pub loss: f64,
    /// Learning rate.
    pub rate: f64,
    /// Training time so far in seconds.
    pub seconds: f64,
    /// Windows or images per second.
    pub items_per_s: f64,
    /// Loss on held-out scenes, at the steps where it was measured.
    pub validation_loss: Option<f64>,
}

const HEADER: &str = "step,loss,rate,seconds,items_per_s,validation_loss";

impl Row {
    /// Seven digits tell rows apart and can be read.
    fn rounded(self) -> Self {
        let digits = |v: f64| format!("{v:.6e}").parse().unwrap_or(v);
        Self {
            step: self.step,
            loss: digits(self.loss),
            rate: digits(self.rate),
            seconds: digits(self.seconds),
            items_per_s: digits(self.items_per_s),
            validation_loss: self.validation_loss.map(digits),
        }
    }

    fn to_line(self) -> String {
        let Self { step, loss, rate, seconds, items_per_s, validation_loss } = self;
        let validation_loss = validation_loss.map_or(String::new(), |v| format!("{v:?}"));
        format!("{step},{loss:?},{rate:?},{seconds:?},{items_per_s:?},{validation_loss}\n")
    }

    fn from_line(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.split(',').collect();
        let [step, loss, rate, seconds, items_per_s, validation_loss] = cells[..] else { return None };
        Some(Self {
            step: step.parse().ok()?,
            loss: loss.parse().ok()?,
            rate: rate.parse().ok()?,
            seconds: seconds.parse().ok()?,
            items_per_s: items_per_s.parse().ok()?,
            validation_loss: if validation_loss.is_empty() { None } else { Some(validation_loss.parse().ok()?) },
        })
    }
}

/// The rows of a run, in memory and in `<name>_metrics.csv`.
pub(super) struct Record {
    rows: Vec<Row>,
    table: PathBuf,
    file: std::fs::File,
}

impl Record {
    /// Continues the record after `resume_at` steps: later rows will be computed again and are dropped, as is a last
    /// line that was cut off when the run was killed. 0 begins a new record.
    ///
    /// # Errors
    /// When the table cannot be read or written, or holds something else.
    pub(super) fn open(dir: &Path, name: &str, resume_at: u64) -> Result<Self> {
        let table = dir.join(format!("{name}_metrics.csv"));
        let mut rows = Vec::new();
        match read(&table, LONGEST_TEXT) {
            Ok(bytes) => rows = kept(&table, &String::from_utf8_lossy(&bytes), resume_at)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(&table, "read", &e)),
        }
        let text = format!("{HEADER}\n") + &rows.iter().map(|row| row.to_line()).collect::<String>();
        write_atomically(&table, text.as_bytes())?;
        let file = std::fs::OpenOptions::new().append(true).open(&table);
        let file = file.map_err(|e| Error::io(&table, "write to", &e))?;
        Ok(Self { rows, table, file })
    }

    /// Adds a row, to the file as well.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub(super) fn add(&mut self, row: Row) -> Result<()> {
        let row = row.rounded();
        // In one piece and unbuffered, so that a run killed later loses nothing.
        self.file.write_all(row.to_line().as_bytes()).map_err(|e| Error::io(&self.table, "write to", &e))?;
        self.rows.push(row);
        Ok(())
    }

    /// All rows, those from before a resumption included.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// The rows of a table up to a step.
fn kept(table: &Path, text: &str, resume_at: u64) -> Result<Vec<Row>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = whole.lines().enumerate();
    if lines.next().is_some_and(|(_, header)| header != HEADER) {
        let problem = "This is not the table of a training run, which would be overwritten; move it away";
        return Err(Error::file(table, problem));
    }
    if resume_at == 0 {
        return Ok(Vec::new());
    }
    let read = |(i, line)| {
        Row::from_line(line).ok_or_else(|| {
            Error::file(table, format!("Line {} is not a row of a training run; correct or remove it", i + 1))
        })
    };
    let rows: Vec<Row> = lines.map(read).collect::<Result<_>>()?;
    Ok(rows.into_iter().filter(|row| row.step <= resume_at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64) -> Row {
        let loss = if step == 3 { f64::NAN } else { 1.0 / 3.0 / step as f64 };
        let validation_loss = step.is_multiple_of(2).then_some(2e-7 * step as f64);
        Row { step, loss, rate: 1e-4, seconds: 0.5 * step as f64, items_per_s: 16.0, validation_loss }
    }

    fn run(dir: &Path, resume_at: u64, until: u64) -> Record {
        let mut record = Record::open(dir, "denoiser", resume_at).expect("opened");
        (resume_at + 1..=until).for_each(|step| record.add(row(step)).expect("added"));
        record
    }

    #[test]
    fn a_run_killed_and_resumed_leaves_what_an_uninterrupted_one_does() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("folder"));
        let tables = dirs.each_ref().map(|dir| dir.path().join("denoiser_metrics.csv"));
        let whole = run(dirs[0].path(), 0, 9);
        drop(run(dirs[1].path(), 0, 7));
        let mut torn = std::fs::read(&tables[1]).expect("table");
        torn.truncate(torn.len() - 5);
        std::fs::write(&tables[1], torn).expect("written");
        let resumed = run(dirs[1].path(), 4, 9);
        let [a, b] = tables.each_ref().map(|table| std::fs::read_to_string(table).expect("table"));
        assert_eq!(a, b);
        assert_eq!(a.lines().nth(2), Some("2,0.1666667,0.0001,1.0,16.0,4e-7"));
        assert_eq!(format!("{:?}", whole.rows()), format!("{:?}", resumed.rows()));
        assert_eq!(run(dirs[1].path(), 0, 1).rows().len(), 1);
    }

    #[test]
    fn rows_without_a_complete_last_line_are_kept() {
        let dir = tempfile::tempdir().expect("folder");
        for (text, rows) in [("", 0), ("step,lo", 0), (HEADER, 0), (&format!("{HEADER}\n1,1,1,1,1,\n2,1,1,1,1,1"), 1)] {
            std::fs::write(dir.path().join("a_metrics.csv"), text).expect("written");
            assert_eq!(Record::open(dir.path(), "a", 9).expect("opened").rows().len(), rows, "{text}");
        }
    }

    #[test]
    fn other_tables_are_left_alone() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a_metrics.csv");
        for (text, resume_at) in [("name,age\n", 0), (&format!("{HEADER}\n1,2,3\n2,1,1,1,1,\n"), 2)] {
            std::fs::write(&path, text).expect("written");
            assert!(Record::open(dir.path(), "a", resume_at).is_err());
            assert_eq!(std::fs::read_to_string(&path).expect("table"), text);
        }
    }
}
