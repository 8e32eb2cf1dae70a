//! Vectors that all threads of the calling pool fill.

use rayon::prelude::*;
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// A vector of `length` values, made by tasks that fill `chunk` of them each (the last one what is left). A task finds
/// zeros.
#[allow(unsafe_code)]
pub(super) fn in_parallel(length: usize, chunk: usize, task: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut all: Vec<f32> = Vec::with_capacity(length);
    let room = &mut all.spare_capacity_mut()[..length];
    room.par_chunks_mut(chunk.max(1)).enumerate().for_each(|(i, room)| {
        // Filled here and not at once: clearing megabytes on one thread costs as much as a layer norm.
        room.fill(MaybeUninit::new(0.0));
        // SAFETY: every value of this chunk was just written.
        task(i, unsafe { room.assume_init_mut() });
    });
    // SAFETY: the chunks cover `length` values, and each chunk was filled. A panic in a task leaves the length at 0.
    unsafe { all.set_len(length) };
    all
}

/// Room for so many values, which are anything at first: kept by the thread from one task to the next. A task that asks for room
/// while it has some gets other room.
pub(super) fn with_room<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local!(static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
    let mut room = ROOM.take();
    if room.len() < length {
        room.resize(length, 0.0);
    }
    let result = work(&mut room[..length]);
    ROOM.set(room);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_fill_a_vector_of_any_length() {
        for (length, chunk) in [(0, 5), (1, 1), (10, 3), (10, 10), (10, 99)] {
            let made = in_parallel(length, chunk, |task, out| {
                assert!(out.iter().all(|v| *v == 0.0));
                out.iter_mut().enumerate().for_each(|(i, v)| *v = (task * chunk + i) as f32);
            });
            let expected: Vec<f32> = (0..length).map(|i| i as f32).collect();
            assert_eq!(made, expected, "{length} in chunks of {chunk}");
        }
        let panicked = std::panic::catch_unwind(|| in_parallel(4, 1, |task, _| assert!(task != 2)));
        assert!(panicked.is_err());
    }
}
