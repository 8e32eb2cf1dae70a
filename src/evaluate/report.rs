//! Results as a table for people and as CSV.

use crate::error::Result;
use crate::files::write_atomically;
use std::path::Path;

/// One figure, with what it is to be compared to. NaN where there is none.
#[derive(Debug, Clone)]
pub struct Row {
    /// Modality, and band where it is of one.
    pub of: String,
    /// What was measured.
    pub metric: String,
    /// Unit.
    pub unit: String,
    /// The model: of the mean of the realisations where that makes a difference.
    pub model: f64,
    /// Mean over the realisations, each by itself.
    pub mean_of_samples: f64,
    /// Best realisation of each window.
    pub best_of_samples: f64,
    /// Baselines by name.
    pub baselines: Vec<(&'static str, f64)>,
    /// What it should be, in words, and whether it is.
    pub target: Option<(String, bool)>,
    /// Where the model's figure lies in nineteen of twenty draws of the places it was measured on.
    pub interval: Option<[f64; 2]>,
    /// Windows it was measured on.
    pub windows: usize,
}

impl Row {
    /// A figure by itself.
    pub fn single(of: impl Into<String>, metric: &str, unit: &str, model: f64, windows: usize) -> Self {
        Self {
            of: of.into(),
            metric: metric.into(),
            unit: unit.into(),
            model,
            mean_of_samples: f64::NAN,
            best_of_samples: f64::NAN,
            baselines: Vec::new(),
            target: None,
            interval: None,
            windows,
        }
    }

    /// With a target.
    pub fn should(mut self, what: impl Into<String>, met: bool) -> Self {
        self.target = Some((what.into(), met));
        self
    }
}

/// All figures by question.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Name of the task, the question, its figures.
    pub parts: Vec<(String, String, Vec<Row>)>,
}

impl Report {
    /// Adds the answer to a question.
    pub fn add(&mut self, name: &str, question: &str, rows: Vec<Row>) {
        self.parts.push((name.into(), question.into(), rows));
    }

    /// As a Markdown document.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for (name, question, rows) in &self.parts {
            out += &format!("\n### {name}: {question}\n\n");
            if rows.is_empty() {
                out += "No held-out window has what this needs.\n";
                continue;
            }
            out += "| of | metric | model | one sample | best sample | baselines | target | windows |\n";
            out += "|---|---|---|---|---|---|---|---|\n";
            for row in rows {
                let baselines: Vec<String> =
                    row.baselines.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
                let target = row.target.as_ref().map_or(String::new(), |(text, met)| {
                    format!("{text}: {}", if *met { "met" } else { "**not met**" })
                });
                let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
                out += &format!(
                    "| {} | {}{unit} | {} | {} | {} | {} | {target} | {} |\n",
                    row.of,
                    row.metric,
                    with_interval(row),
                    number(row.mean_of_samples),
                    number(row.best_of_samples),
                    baselines.join(", "),
                    row.windows
                );
            }
        }
        out
    }

    /// Writes all figures as CSV, one per line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut out = String::from("task,of,metric,unit,figure,value,target,met,windows\n");
        for (name, _, rows) in &self.parts {
            for row in rows {
                let figures =
                    [("model", row.model), ("one sample", row.mean_of_samples), ("best sample", row.best_of_samples)];
                let interval = row.interval.map(|[low, high]| [("model, low end", low), ("model, high end", high)]);
                let interval = interval.into_iter().flatten();
                for (figure, value) in figures.into_iter().chain(interval).chain(row.baselines.iter().copied()) {
                    if value.is_nan() {
                        continue;
                    }
                    let (target, met) = match &row.target {
                        Some((text, met)) if figure == "model" => (text.as_str(), if *met { "yes" } else { "no" }),
                        _ => ("", ""),
                    };
                    out += &format!(
                        "{name},{},{},{},{figure},{value},{},{met},{}\n",
                        quoted(&row.of),
                        quoted(&row.metric),
                        row.unit,
                        quoted(target),
                        row.windows
                    );
                }
            }
        }
        write_atomically(path, out.as_bytes())
    }
}

fn with_interval(row: &Row) -> String {
    match row.interval {
        Some([low, high]) => format!("{} ({} to {})", number(row.model), number(low), number(high)),
        None => number(row.model),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => String::new(),
        0.0 => "0".into(),
        v if v < 0.1 => format!("{value:.4}"),
        v if v < 10.0 => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_is_missing_and_what_was_missed() {
        let mut report = Report::default();
        report.add("a", "first?", vec![Row::single("x, y", "MAE", "m", 0.05, 3).should("≤ 0.01", false)]);
        report.add("b", "second?", Vec::new());
        let text = report.markdown();
        assert!(text.contains("**not met**") && text.contains("No held-out window"), "{text}");
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("r.csv");
        report.write_csv(&path).expect("write");
        let csv = std::fs::read_to_string(path).expect("read");
        assert!(csv.contains("a,\"x, y\",MAE,m,model,0.05,≤ 0.01,no,3"), "{csv}");
    }
}
