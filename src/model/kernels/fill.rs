//! Vectors that all threads of the calling pool fill.

use rayon::prelude::*;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

use super::matrix_unit::Line;

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

/// The same of tasks that find anything: to clear megabytes first that are written once costs as much as a layer norm.
///
/// # Safety
/// A task has to write every value of its chunk.
#[allow(unsafe_code)]
pub(super) unsafe fn in_parallel_unfilled(
    length: usize,
    chunk: usize,
    task: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Vec<f32> {
    let mut all: Vec<f32> = Vec::with_capacity(length);
    all.spare_capacity_mut()[..length].par_chunks_mut(chunk.max(1)).enumerate().for_each(|(i, room)| task(i, room));
    // SAFETY: the chunks cover `length` values, all of which were written, as the caller promises. A panic in a task leaves the
    // length at 0.
    unsafe { all.set_len(length) };
    all
}

/// Values as room that is to be written. Nothing makes them uninitialised: what takes such room writes values alone.
#[allow(unsafe_code)]
pub(super) fn as_room(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the layouts are the same, and only `Finished` of products writes to it, always values.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>]) }
}

/// Most bytes of one type that a thread keeps: what the largest networks work in, and far less than the weights of a model
/// that was closed.
const MOST_KEPT: usize = 64 << 20;

/// Room for values, which are anything at first; given back to its thread for others when it is dropped.
#[derive(Debug)]
pub(super) struct Room<T: Kept> {
    values: Vec<T>,
    length: usize,
}

/// What a thread keeps room for.
pub(super) trait Kept: Copy + Default + 'static {
    fn kept() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>>;
}

macro_rules! kept {
    ($kind:ty) => {
        impl Kept for $kind {
            fn kept() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>> {
                thread_local!(static KEPT: RefCell<Vec<Vec<$kind>>> = const { RefCell::new(Vec::new()) });
                &KEPT
            }
        }
    };
}

kept!(f32);
kept!(Line);

impl<T: Kept> Room<T> {
    pub(super) fn new(length: usize) -> Self {
        let mut values = T::kept().with_borrow_mut(|kept| {
            // The smallest that is large enough, or else the largest.
            let fits = |values: &Vec<T>| (values.len() < length, values.len().abs_diff(length));
            let best = (0..kept.len()).min_by_key(|at| fits(&kept[*at]));
            best.map(|at| kept.remove(at)).unwrap_or_default()
        });
        if values.len() < length {
            values.resize(length, T::default());
        }
        Self { values, length }
    }
}

impl<T: Kept> Drop for Room<T> {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        // A thread that ends has nowhere to keep it.
        let _ = T::kept().try_with(|kept| {
            if let Ok(mut kept) = kept.try_borrow_mut() {
                kept.push(values);
                let bytes = |kept: &[Vec<T>]| kept.iter().map(|v| size_of_val(v.as_slice())).sum::<usize>();
                while bytes(&kept) > MOST_KEPT {
                    // What has lain there longest.
                    kept.remove(0);
                }
            }
        });
    }
}

impl<T: Kept> Deref for Room<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[..self.length]
    }
}

impl<T: Kept> DerefMut for Room<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again() {
        let mut first = Room::<f32>::new(10);
        first.fill(1.0);
        let place = first.as_ptr();
        let second = Room::<f32>::new(5);
        assert!(second.as_ptr() != place && second.len() == 5);
        drop(first);
        assert_eq!(Room::<f32>::new(7).as_ptr(), place);
        assert_eq!(Room::<f32>::new(1000).len(), 1000);
    }

    #[test]
    fn a_thread_keeps_no_more_than_it_is_allowed_to() {
        let each = MOST_KEPT / size_of::<f32>() / 4;
        drop((0..10).map(|_| Room::<f32>::new(each)).collect::<Vec<_>>());
        let kept = || <f32 as Kept>::kept().with_borrow(|kept| kept.iter().map(Vec::len).sum::<usize>());
        assert_eq!(kept(), 4 * each);
        drop(Room::<f32>::new(MOST_KEPT));
        assert!(kept() <= 4 * each);
    }

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
