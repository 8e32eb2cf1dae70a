//! How a training run shows itself: a progress bar on a terminal, lines elsewhere.

use crate::train::Row;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Shows the steps of one run.
pub(super) struct Bar {
    what: String,
    steps: u64,
    every: u64,
    /// None where nobody watches.
    terminal: Option<ProgressBar>,
    last: (u64, Instant),
    /// Steps and seconds of the last minutes.
    lately: [f64; 2],
}

/// A long run goes on as of late, not as when it began: speeds this old count little.
const MEMORY_S: f64 = 300.0;

impl Bar {
    /// For a run of `what` with `done` of `steps` behind it. Without a terminal, a line every `every` steps.
    pub(super) fn new(what: &str, done: u64, steps: u64, every: u64) -> Self {
        // Lines where either output is kept: the bar is drawn on the error output, lines are printed.
        let watched = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}").ok().filter(|_| watched);
        let bar = |style| ProgressBar::new(steps).with_style(style).with_prefix(what.to_string()).with_position(done);
        let terminal = style.map(bar);
        Self { what: what.into(), steps, every: every.max(1), terminal, last: (done, Instant::now()), lately: [0.0; 2] }
    }

    /// Shows a step done.
    pub(super) fn show(&mut self, row: &Row) {
        let per_second = self.pace(row.step, Instant::now());
        match &self.terminal {
            Some(bar) => {
                bar.set_message(state(row, self.steps, per_second));
                bar.set_position(row.step);
            }
            None if row.step.is_multiple_of(self.every) || row.step == self.steps => {
                print(&line(&self.what, row, self.steps, per_second));
            }
            None => {}
        }
    }

    /// Prints a remark without disturbing the bar.
    pub(super) fn remark(&self, text: &str) {
        match &self.terminal {
            Some(bar) => bar.suspend(|| print(text)),
            None => print(text),
        }
    }

    /// Steps per second of late.
    fn pace(&mut self, step: u64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.last.1).as_secs_f64();
        let added = [step.saturating_sub(self.last.0) as f64, passed];
        let kept = (-passed / MEMORY_S).exp();
        self.lately = std::array::from_fn(|i| kept * self.lately[i] + added[i]);
        self.last = (step, now);
        self.lately[0] / self.lately[1]
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // Finished or stopped, the last state stays to be read.
        self.terminal.iter().for_each(ProgressBar::abandon);
    }
}

/// One line: `denoiser 120/4000 loss 0.8312 1.9 steps/s 34 min left`.
pub(super) fn line(what: &str, row: &Row, steps: u64, steps_per_s: f64) -> String {
    format!("{what} {}/{steps} {}", row.step, state(row, steps, steps_per_s)).trim_end().into()
}

fn state(row: &Row, steps: u64, steps_per_s: f64) -> String {
    let loss = if row.loss.is_nan() { String::new() } else { format!("loss {:.4} ", row.loss) };
    let pace = match steps_per_s {
        p if !p.is_finite() || p <= 0.0 => return loss,
        p if p < 0.95 => format!("{:.1} s/step", 1.0 / p),
        p => format!("{p:.1} steps/s"),
    };
    let left = steps.saturating_sub(row.step) as f64 / steps_per_s;
    let [min, h] = [60.0, 3600.0].map(|unit| (left / unit).round() as u64);
    match left {
        ..90.0 => format!("{loss}{pace} {left:.0} s left"),
        ..5400.0 => format!("{loss}{pace} {min} min left"),
        ..172_800.0 => format!("{loss}{pace} {} h {:02} min left", min / 60, min % 60),
        _ => format!("{loss}{pace} {} d {} h left", h / 24, h % 24),
    }
}

/// Prints a line; training goes on even when whoever read it has gone away.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_fast_and_how_long() {
        let row = |loss| Row { step: 120, loss, rate: 0.0, seconds: 0.0, items_per_s: 0.0, validation_loss: None };
        assert_eq!(line("d", &row(0.83124), 4000, 1.9), "d 120/4000 loss 0.8312 1.9 steps/s 34 min left");
        assert_eq!(line("d", &row(f64::NAN), 4000, 0.04), "d 120/4000 25.0 s/step 26 h 57 min left");
        assert_eq!(line("d", &row(f64::NAN), 120, f64::NAN), "d 120/120");
    }
}
