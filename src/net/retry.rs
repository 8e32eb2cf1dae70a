//! How often something is tried, and how long the program waits in between.

use std::time::{Duration, SystemTime};

/// How often and how long a request is tried.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Tries in all.
    pub tries: u32,
    /// Wait before the second; doubled before each further one.
    pub first_wait: Duration,
    /// No wait is longer. A server that asks for a longer one is not asked again.
    pub longest_wait: Duration,
    /// Longest silence of a server that was reached.
    pub silence: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
            silence: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// How long to wait after so many failures (from 1 on); `None` if it is not worth another try.
    ///
    /// `asked` is what the server asks for (`Retry-After`); no wait is shorter than that. `random`, from 0 to 1, spreads
    /// the tries of many programs that failed at the same moment: over the second half of the program's own wait, and
    /// over as much again as the first wait beyond the server's.
    pub fn wait(&self, failures: u32, asked: Option<Duration>, random: f64) -> Option<Duration> {
        if failures >= self.tries {
            return None;
        }
        let random = random.clamp(0.0, 1.0);
        let doubled = self.first_wait.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let own = doubled.min(self.longest_wait).mul_f64(0.5 + 0.5 * random);
        match asked {
            Some(asked) if asked > self.longest_wait => None,
            Some(asked) => Some(own.max(asked + self.first_wait.mul_f64(random))),
            None => Some(own),
        }
    }
}

/// How long a server asks to wait (RFC 9110, section 10.2.3): so many seconds, or until a date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> RetryPolicy {
        RetryPolicy { tries: 5, first_wait: SECOND, longest_wait: 6 * SECOND, silence: SECOND }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end_with_the_tries() {
        let waits = |random| [1, 2, 3, 4, 5].map(|failures| policy().wait(failures, None, random));
        let seconds = |all: [f64; 4]| all.map(|s| Some(Duration::from_secs_f64(s)));
        assert_eq!(waits(1.0)[..4], seconds([1.0, 2.0, 4.0, 6.0]));
        assert_eq!(waits(0.0)[..4], seconds([0.5, 1.0, 2.0, 3.0]));
        assert_eq!(waits(0.5)[4], None);
        let many = RetryPolicy { tries: u32::MAX, ..policy() };
        assert_eq!(many.wait(u32::MAX - 1, None, 1.0), Some(6 * SECOND));
    }

    #[test]
    fn no_wait_is_shorter_than_the_server_asks_for() {
        for random in [0.0, 0.3, 1.0] {
            for asked in [0, 1, 3, 6] {
                let wait = policy().wait(1, Some(asked * SECOND), random).expect("another try");
                assert!(wait >= asked * SECOND && wait <= (asked + 1) * SECOND, "{asked} {random}: {wait:?}");
            }
        }
        let spread = [0.0, 1.0].map(|random| policy().wait(1, Some(3 * SECOND), random));
        assert_eq!(spread, [Some(3 * SECOND), Some(4 * SECOND)], "not all at once");
        assert_eq!(policy().wait(1, Some(7 * SECOND), 0.0), None, "longer than anybody waits");
        assert_eq!(policy().wait(1, Some(Duration::MAX), 0.0), None);
    }

    #[test]
    fn servers_ask_in_seconds_or_by_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + 784_111_777 * SECOND;
        for (value, wait) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), wait.map(|seconds| seconds * SECOND), "{value}");
        }
    }
}
