//! The latest request wins: an answer counts only while nothing else was asked for since.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the requests of one kind.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    latest: Arc<AtomicU64>,
}

/// One request; its answer carries it.
#[derive(Debug, Clone)]
pub struct Ticket {
    number: u64,
    latest: Arc<AtomicU64>,
}

impl Requests {
    /// A new request: answers to all earlier ones come too late from now on.
    pub fn next(&self) -> Ticket {
        Ticket { number: self.latest.fetch_add(1, Ordering::Relaxed) + 1, latest: self.latest.clone() }
    }

    /// The latest request once more, for work that belongs to it; number 0 if there was none yet.
    pub fn latest(&self) -> Ticket {
        Ticket { number: self.latest.load(Ordering::Relaxed), latest: self.latest.clone() }
    }
}

impl Ticket {
    /// Whether nothing was asked for since; threads in the background may ask as well.
    pub fn is_latest(&self) -> bool {
        self.latest.load(Ordering::Relaxed) == self.number
    }

    /// Number of the request, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_request_counts() {
        let (places, others) = (Requests::default(), Requests::default());
        assert_eq!(places.latest().number(), 0);
        let first = places.next();
        assert!(first.is_latest());
        let again = places.latest();
        let second = places.next();
        others.next();
        assert!(!first.is_latest() && !again.is_latest() && second.is_latest());
        assert_eq!((first.number(), second.number()), (1, 2));
    }
}
