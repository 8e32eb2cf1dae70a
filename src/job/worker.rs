//! The background thread that the window talks to.

use super::{Event, Request, Stage, run};
use crate::error::{Error, Result};
use crate::model::{Computing, MANIFEST_FILE, Model, sha256_of};
use crate::process::panic_text;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that may wait for the window; the worker pauses when there are more.
const EVENTS: usize = 1024;
/// Jobs that may wait.
const JOBS: usize = 64;

/// A request, and the flag that stops it.
type Job = (Request, Arc<AtomicBool>);

/// A background worker: takes requests, sends events. One job at a time, in order.
pub struct Worker {
    requests: Sender<Job>,
    /// Events of the running job, in order.
    pub events: Receiver<Event>,
    /// Of the job that was handed over last.
    cancel: Mutex<Arc<AtomicBool>>,
}

impl Worker {
    /// Starts the thread. `wake` is called after each event (the window asks for a repaint there).
    ///
    /// The thread ends when the worker is dropped, after the evaluation it is in.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn spawn(wake: impl Fn() + Send + 'static) -> Result<Self> {
        let (requests, inbox) = bounded::<Job>(JOBS);
        let (outbox, events) = bounded(EVENTS);
        let body = move || {
            let mut model: Option<Loaded> = None;
            for (request, flag) in inbox {
                let mut send = |event| {
                    // Nobody listens any more: the window is gone, so stop soon.
                    if outbox.send(event).is_err() {
                        flag.store(true, Ordering::Relaxed);
                    }
                    wake();
                };
                // A defect must not leave the window waiting for ever.
                let done = catch_unwind(AssertUnwindSafe(|| work(&mut model, &request, &flag, &mut send)));
                let ended = match done {
                    Ok(Ok(())) => Event::Finished { cancelled: false },
                    Ok(Err(Error::Cancelled)) => Event::Finished { cancelled: true },
                    Ok(Err(error)) => Event::Failed(error.to_string()),
                    Err(panic) => Event::Failed(format!(
                        "Sampling ended with an internal error ({}); finished realisations are kept. Please report it.",
                        panic_text(panic.as_ref())
                    )),
                };
                send(ended);
            }
        };
        std::thread::Builder::new()
            .name("sampling".into())
            .spawn(body)
            .map_err(|e| Error::Compute(format!("The background thread cannot be started: {e}")))?;
        Ok(Self { requests, events, cancel: Mutex::default() })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// When 64 jobs wait already or the thread is gone.
    pub fn start(&self, request: Request) -> Result<()> {
        let flag = Arc::new(AtomicBool::new(false));
        self.requests.try_send((request, flag.clone())).map(|()| *self.last() = flag).map_err(|error| {
            Error::Compute(match error {
                TrySendError::Full(_) => "Too many jobs are waiting; let one finish first.".into(),
                TrySendError::Disconnected(_) => "The background thread has ended; restart the program.".into(),
            })
        })
    }

    /// Asks the job that was handed over last to stop, whether it runs already or not; it does so within one network
    /// evaluation and keeps what is finished.
    pub fn cancel(&self) {
        self.last().store(true, Ordering::Relaxed);
    }

    fn last(&self) -> MutexGuard<'_, Arc<AtomicBool>> {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// A model, and what it was opened for.
type Loaded = (Model, Computing);

/// Runs a job, keeping the model loaded for the next one.
fn work(kept: &mut Option<Loaded>, request: &Request, cancel: &AtomicBool, send: &mut dyn FnMut(Event)) -> Result<()> {
    // Parts may have been added to it meanwhile.
    let same = |model: &Model| sha256_of(&model.dir.join(MANIFEST_FILE)).is_ok_and(|now| now == model.sha256);
    let fits =
        |(model, computing): &Loaded| model.dir == request.model && *computing == request.computing && same(model);
    let (model, computing) = match kept.take().filter(fits) {
        Some(loaded) => loaded,
        None => {
            send(Event::Stage(Stage::LoadingModel));
            let model = Model::open_on(&request.model, &request.computing, &mut |note| {
                send(Event::Note(note));
            })?;
            (model, request.computing)
        }
    };
    let result = run(&model, request, cancel, true, send);
    // A lost device has to be opened anew.
    *kept = Some((model, computing)).filter(|(model, _)| !model.engine().is_lost());
    result
}
