//! Independent pieces of work in parallel, one core each.
//!
//! Matrix products inside a piece split themselves over the rayon pool they run in. With one pool for all, pieces wait
//! for each other at every product; a pool of one thread for each core keeps them apart (1.6 times faster on two cores).

use crate::error::{Error, Result};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `work` on every item, as many at once as there are cores, and returns the results in order. A single item has
/// all cores to itself. The result of an item does not depend on how many run beside it. Work that is itself such a piece
/// goes through its items one by one: the other cores are taken.
///
/// # Errors
/// The first error among the items, by their order; or when threads cannot be started.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    thread_local! {
        static IS_PIECE: Cell<bool> = const { Cell::new(false) };
    }
    let pools = single_thread_pools()?;
    if items.len() < 2 || pools.len() < 2 || IS_PIECE.get() {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        IS_PIECE.set(true);
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return done };
            done.push((i, work(item)));
        }
    };
    let mut all: Vec<(usize, Result<R>)> = std::thread::scope(|scope| {
        let running: Vec<_> = pools.iter().take(items.len()).map(|pool| scope.spawn(|| pool.install(take))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    all.sort_by_key(|(i, _)| *i);
    all.into_iter().map(|(_, result)| result).collect()
}

/// One pool of one thread for each core, started at the first use.
fn single_thread_pools() -> Result<&'static [rayon::ThreadPool]> {
    static POOLS: OnceLock<Vec<rayon::ThreadPool>> = OnceLock::new();
    if let Some(pools) = POOLS.get() {
        return Ok(pools);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pools: Vec<_> = (0..cores)
        .map(pool)
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::Compute(format!("Threads for the computation cannot be started: {e}")))?;
    Ok(POOLS.get_or_init(|| pools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_wins() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(map(&items, |i| Ok(i * i)).expect("results")[99], 9801);
        let failing = map(&items, |&i| if i % 30 == 29 { Err(Error::request(i.to_string())) } else { Ok(i) });
        assert_eq!(failing.expect_err("an error").to_string(), "29");
        assert!(map(&[], |_: &usize| Ok(())).expect("nothing").is_empty());
    }

    #[test]
    fn pieces_that_consist_of_pieces_do_not_wait_for_each_other() {
        let items: Vec<usize> = (0..40).collect();
        let sums = map(&items, |&i| Ok(map(&items, |&k| Ok(i * k))?.into_iter().sum::<usize>()));
        assert_eq!(sums.expect("sums")[3], 3 * 780);
    }
}
