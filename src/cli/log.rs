//! The log, on standard error: what the program's own parts say, and of libraries no more than warnings, because those of
//! the network log whole requests, keys and signatures included. `COPGEN_LOG` says how much (`debug`,
//! `copgen::net=trace`); a line never holds secrets or anything that a terminal would obey.

use crate::text::{printable, without_secrets};
use std::io::{self, Write};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Begins to write it. To be called once.
pub(super) fn begin() {
    let wanted = EnvFilter::try_from_env("COPGEN_LOG").unwrap_or_else(|_| "copgen=warn".into());
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Clean(io::stderr())).with_ansi(false).without_time();
    tracing_subscriber::registry().with(lines.with_filter(wanted.and(filter_fn(may_be_logged)))).init();
}

/// Whether something may be written if it is wanted.
fn may_be_logged(about: &Metadata) -> bool {
    let target = about.target();
    target == "copgen" || target.starts_with("copgen::") || *about.level() <= Level::WARN
}

/// Writes lines without secrets and control characters; each event comes as a whole.
struct Clean<W>(W);

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = without_secrets(text.strip_suffix('\n').unwrap_or(&text));
        writeln!(self.0, "{}", printable(&line))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_clean_whatever_is_logged() {
        let mut written = Vec::new();
        let mut log = Clean(&mut written);
        log.write_all(b"WARN GET https://h/a?sig=secret gave \x1b[31mred\nauthorization: Bearer secret\n")
            .expect("log");
        log.write_all(b"WARN cut off \xff").expect("log");
        let text = String::from_utf8(written).expect("text");
        assert_eq!(text, "WARN GET https://h/a gave \\u{1b}[31mred\\nauthorization: (hidden)\nWARN cut off \u{fffd}\n");
    }
}
