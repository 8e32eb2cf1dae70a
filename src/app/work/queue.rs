//! Threads in the background that work off what is asked for, so that the window never waits.

use crate::app::work::answers::{Continuation, Outbox, guarded};
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When the window closes, what is being read or painted is waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which thread does a piece of work. Within a lane one comes after the other; lanes do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Reading and painting: dropped when the window closes.
    Read,
    /// What the session has to keep for the next start: finished before the window closes.
    Keep,
    /// Files that the person asked for, which may take long: finished before the window closes.
    Write,
}

type Task = Box<dyn FnOnce() + Send>;

/// A thread and what waits for it.
struct LaneThread {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    /// Whether what waits is dropped.
    dropped: Arc<AtomicBool>,
}

impl LaneThread {
    fn spawn(name: &str) -> Result<Self> {
        let (tasks, inbox) = unbounded::<Task>();
        let dropped = Arc::<AtomicBool>::default();
        let own = dropped.clone();
        let serve = move || inbox.into_iter().take_while(|_| !own.load(Ordering::Relaxed)).for_each(|task| task());
        let thread = std::thread::Builder::new().name(name.into()).spawn(serve);
        let thread = thread.map_err(|e| Error::Compute(format!("A background thread cannot be started: {e}")))?;
        Ok(Self { tasks: Some(tasks), thread: Some(thread), dropped })
    }

    fn finish(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // It catches the panics of its tasks.
            let _ = thread.join();
        }
    }

    fn drop_what_waits(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
        self.tasks = None;
        let begun = Instant::now();
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The lanes, and the answers of everything in the background; `S` is what answers are given to.
pub(crate) struct Queue<S> {
    read: LaneThread,
    keep: LaneThread,
    write: LaneThread,
    outbox: Outbox<S>,
    answers: Receiver<Continuation<S>>,
}

impl<S: 'static> Queue<S> {
    /// Starts the threads; `wake` is called after each answer.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub(crate) fn spawn(wake: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        let (outbox, answers) = Outbox::new(wake);
        let [read, keep, write] = ["read", "keep", "write"].map(LaneThread::spawn);
        Ok(Self { read: read?, keep: keep?, write: write?, outbox, answers })
    }

    /// Queues a task; `then` is what to do with its result. It is done in any case: a task that panics has an error for
    /// its result, as [`guarded`] makes it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        task: impl FnOnce() -> Result<T> + Send + 'static,
        then: impl FnOnce(&mut S, Result<T>) + Send + 'static,
    ) {
        let worker = match lane {
            Lane::Read => &self.read,
            Lane::Keep => &self.keep,
            Lane::Write => &self.write,
        };
        let outbox = self.outbox.clone();
        let task = Box::new(move || {
            let result = guarded(task);
            outbox.send(move |state: &mut S| then(state, result));
        });
        // The threads end only with the window.
        if let Some(tasks) = &worker.tasks {
            let _ = tasks.send(task);
        }
    }

    /// The next answer, if one has come.
    pub(crate) fn answer(&self) -> Option<Continuation<S>> {
        self.answers.try_recv().ok()
    }

    /// Where other threads put answers for the same state.
    pub(crate) fn outbox(&self) -> &Outbox<S> {
        &self.outbox
    }

    /// Finishes what has to be kept and what the person asked to be written; drops what would only be shown. Nothing can
    /// be queued any more.
    pub(crate) fn close(&mut self) {
        self.read.drop_what_waits();
        self.keep.finish();
        self.write.finish();
    }

    /// Waits until all that was queued is done and answered.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        for worker in [&self.read, &self.keep, &self.write] {
            let (done, wait) = crossbeam_channel::bounded(1);
            let task: Task = Box::new(move || done.send(()).expect("waited for"));
            worker.tasks.as_ref().expect("open").send(task).expect("running");
            wait.recv().expect("done");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    /// What was answered, in order.
    type Results = Vec<std::result::Result<u32, String>>;

    fn queue() -> Queue<Results> {
        Queue::spawn(|| {}).expect("threads")
    }

    fn tell(results: &mut Results, result: Result<u32>) {
        results.push(result.map_err(|error| error.to_string()));
    }

    fn answers(queue: &Queue<Results>) -> Results {
        let mut results = Results::new();
        while let Some(answer) = queue.answer() {
            answer(&mut results);
        }
        results
    }

    #[test]
    fn a_panic_is_answered_with_its_text_and_work_goes_on() {
        let queue = queue();
        queue.run(Lane::Read, || panic!("the {} is gone", "ground"), tell);
        queue.run(Lane::Read, || Ok(7), tell);
        queue.settle();
        let results = answers(&queue);
        assert_eq!(results.len(), 2);
        let sentence = results[0].clone().expect_err("it panicked");
        assert!(sentence.contains("the ground is gone") && sentence.contains("report"), "{sentence}");
        assert_eq!(results[1], Ok(7));
    }

    #[test]
    fn long_writing_holds_up_neither_keeping_nor_reading() {
        let queue = queue();
        let (go, wait) = bounded::<()>(1);
        queue.run(Lane::Write, move || Ok(wait.recv().map_or(0, |()| 1)), tell);
        let (kept, seen) = bounded(2);
        for lane in [Lane::Keep, Lane::Read] {
            let kept = kept.clone();
            queue.run(lane, move || Ok(kept.send(lane).map_or(0, |()| 2)), tell);
        }
        // Both come while the first one still writes.
        let mut done = [seen.recv().expect("done"), seen.recv().expect("done")];
        done.sort_by_key(|lane| *lane as u8);
        assert_eq!(done, [Lane::Read, Lane::Keep]);
        go.send(()).expect("it waits");
        queue.settle();
        assert_eq!(answers(&queue).last(), Some(&Ok(1)));
    }

    #[test]
    fn closing_finishes_what_is_kept_and_written_and_drops_what_is_only_shown() {
        let mut queue = queue();
        let (begun, at_work) = bounded(1);
        let (release, wait) = bounded::<()>(1);
        let (done, seen) = unbounded();
        let own = done.clone();
        let reading = move || {
            begun.send(()).expect("waited for");
            wait.recv().expect("released");
            own.send("read").expect("listened to");
            Ok(1)
        };
        queue.run(Lane::Read, reading, tell);
        for (lane, name) in [(Lane::Read, "dropped"), (Lane::Keep, "kept"), (Lane::Write, "written")] {
            for _ in 0..3 {
                let done = done.clone();
                queue.run(lane, move || Ok(done.send(name).map_or(0, |()| 2)), tell);
            }
        }
        at_work.recv().expect("it reads");
        // What is being read when the window closes may end; what waits behind it does not begin.
        let closing = queue.read.dropped.clone();
        let released = std::thread::spawn(move || {
            while !closing.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            release.send(()).expect("it waits");
        });
        queue.close();
        released.join().expect("released");
        drop(done);
        let mut all: Vec<&str> = seen.try_iter().collect();
        all.sort_unstable();
        assert_eq!(all, ["kept", "kept", "kept", "read", "written", "written", "written"]);
    }
}
