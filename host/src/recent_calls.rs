//! The last Pit calls of this process, in the memory that its host reads after a death.
//!
//! A call stores its method's number and counts on: some nanoseconds, and no lock, since whoever calls holds Python's.
#![allow(unsafe_code)] // shared memory; each block says why it is sound

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::pulse::{CALLS, METHOD_BYTES, METHODS};

/// Where calls are noted while nobody looks: the count, and the ring.
static UNSEEN: [AtomicU32; 1 + CALLS] = [const { AtomicU32::new(0) }; 1 + CALLS];
static RING: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const UNSEEN).cast::<AtomicU32>().cast_mut());

/// The names of methods, each at the place of its number; 0 is any further one.
struct Names {
    known: Vec<String>,
    /// Where the host reads them.
    seen: Option<usize>,
}

static NAMES: Mutex<Names> = Mutex::new(Names { known: Vec::new(), seen: None });

impl Names {
    fn write(&self, number: usize) {
        let Some(base) = self.seen else { return };
        let name = self.known[number - 1].as_bytes();
        let length = name.len().min(METHOD_BYTES - 4);
        let entry = (base + number * METHOD_BYTES) as *const AtomicU32;
        // SAFETY: within the part of the memory that `show` was given; under the lock of the names, so with one writer.
        unsafe {
            name.as_ptr().copy_to_nonoverlapping(entry.add(1).cast_mut().cast(), length);
            (*entry).store(u32::try_from(length).unwrap_or(0), Ordering::Release);
        }
    }
}

/// The number of a method that may be called.
pub(crate) fn number(name: String) -> u32 {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = names.known.iter().position(|known| *known == name);
    let number = known.map_or(names.known.len(), |at| at) + 1;
    if number >= METHODS {
        return 0;
    }
    if known.is_none() {
        names.known.push(name);
        names.write(number);
    }
    u32::try_from(number).unwrap_or(0)
}

/// Let the host see the calls and the names from now on.
///
/// # Safety
/// `ring` has room for the count and the ring, `methods` for all names, both aligned to four bytes and for ever.
pub(crate) unsafe fn show(ring: *mut AtomicU32, methods: *mut u8) {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.seen = Some(methods as usize);
    (1..=names.known.len()).for_each(|number| names.write(number));
    RING.store(ring, Ordering::Release);
}

/// A method is called, by a thread that holds the Python lock.
#[inline(always)]
#[expect(clippy::inline_always, reason = "six instructions")]
pub(crate) fn note(number: u32) {
    // SAFETY: the ring has `1 + CALLS` words, is never unmapped, and is accessed atomically.
    unsafe {
        let ring = RING.load(Ordering::Relaxed);
        let count = (*ring).load(Ordering::Relaxed);
        (*ring.add(1 + count as usize % CALLS)).store(number, Ordering::Relaxed);
        (*ring).store(count.wrapping_add(1), Ordering::Relaxed);
    }
}
