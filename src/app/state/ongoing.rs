//! A handle on something that goes on in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something that goes on; it ends soon after it was asked to, or after this was dropped.
#[derive(Debug)]
pub struct Ongoing {
    stop: Arc<AtomicBool>,
}

impl Ongoing {
    /// Of what looks at this flag.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop }
    }

    /// Asks it to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.stop();
    }
}
