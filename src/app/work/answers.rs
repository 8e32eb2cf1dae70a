//! How work in the background answers: with what is to be done on the window's thread.
//!
//! `S` is what the answers are for. Nothing here knows what it is.

use crate::error::{Error, Result};
use crate::process::panic_text;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What is to be done when an answer has come.
pub(crate) type Continuation<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Where threads put their answers.
pub(crate) struct Outbox<S> {
    sender: Sender<Continuation<S>>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl<S> Clone for Outbox<S> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wake: self.wake.clone() }
    }
}

impl<S> Outbox<S> {
    /// One with the end that answers are taken from, in the order in which they come; `wake` is called after each.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> (Self, Receiver<Continuation<S>>) {
        let (sender, receiver) = unbounded();
        (Self { sender, wake: Arc::new(wake) }, receiver)
    }

    /// Answers.
    pub(crate) fn send(&self, answer: impl FnOnce(&mut S) + Send + 'static) {
        // Nobody takes answers any more while the window closes.
        let _ = self.sender.send(Box::new(answer));
        (self.wake)();
    }
}

impl<S: 'static> Outbox<S> {
    /// Does a task on a thread of its own, as it may take long or wait for somebody; `then` is what to do with its
    /// result. It is done in any case, also if the task panics or no thread can be started.
    pub(crate) fn aside<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T> + Send + 'static,
        then: impl FnOnce(&mut S, Result<T>) + Send + 'static,
    ) {
        // The thread gets its task once it runs, so that nothing is lost if it never does.
        let (give, take) = bounded::<Box<dyn FnOnce() + Send>>(1);
        let serve = move || take.into_iter().for_each(|task| task());
        let outbox = self.clone();
        match std::thread::Builder::new().name("aside".into()).spawn(serve) {
            Ok(_) => {
                let answer = move || {
                    let result = guarded(task);
                    outbox.send(move |state| then(state, result));
                };
                let _ = give.send(Box::new(answer));
            }
            Err(e) => {
                let error = Error::Compute(format!("A background thread cannot be started: {e}"));
                outbox.send(move |state| then(state, Err(error)));
            }
        }
    }
}

/// Does a piece of work. A panic in it is a defect of the program, but becomes an error like all others: so whoever
/// waits for the answer gets one, tells it, and nothing stays stuck.
///
/// # Errors
/// What the work fails with, or the text of its panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        Err(Error::Compute(format!("A task in the background failed ({text}); please report it. Work goes on.")))
    })
}
