//! The protocol of a segment, generic in its atomics so that a model checker can run it: claim space, fill it, publish a
//! word; read up to the first word that is not published.
//!
//! A claim moves the tail only if it fits (compare and swap, not fetch and add), so that the tail of a full segment is
//! exactly where its records end, whoever of several appenders seals it.

#[cfg(all(test, loom))]
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The tail of a segment that nobody may append to any more.
const CLOSED: usize = usize::MAX;

/// An atomic offset.
pub(crate) trait Counter {
    fn load(&self, order: Ordering) -> usize;
    fn swap(&self, value: usize, order: Ordering) -> usize;
    fn compare_exchange_weak(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize>;
}

/// An atomic word that tells whether a record is published.
pub(crate) trait Word {
    #[cfg(all(test, loom))]
    fn load(&self, order: Ordering) -> u32;
    fn store(&self, value: u32, order: Ordering);
}

macro_rules! atomics {
    ($counter:ty, $word:ty) => {
        impl Counter for $counter {
            fn load(&self, order: Ordering) -> usize {
                self.load(order)
            }
            fn swap(&self, value: usize, order: Ordering) -> usize {
                self.swap(value, order)
            }
            fn compare_exchange_weak(
                &self,
                current: usize,
                new: usize,
                success: Ordering,
                failure: Ordering,
            ) -> Result<usize, usize> {
                self.compare_exchange_weak(current, new, success, failure)
            }
        }

        impl Word for $word {
            #[cfg(all(test, loom))]
            fn load(&self, order: Ordering) -> u32 {
                self.load(order)
            }
            fn store(&self, value: u32, order: Ordering) {
                self.store(value, order);
            }
        }
    };
}

atomics!(AtomicUsize, AtomicU32);

/// Where the next record of a segment goes.
pub(crate) struct Claims<C> {
    tail: C,
}

impl<C: Counter> Claims<C> {
    pub const fn new(tail: C) -> Self {
        Self { tail }
    }

    /// Space for `size` bytes below `limit`, for the caller alone; none where it does not fit or the segment is closed.
    pub fn claim(&self, size: usize, limit: usize) -> Option<usize> {
        let mut tail = self.tail.load(Relaxed);
        loop {
            let end = tail.checked_add(size).filter(|end| *end <= limit)?;
            match self.tail.compare_exchange_weak(tail, end, Relaxed, Relaxed) {
                Ok(_) => return Some(tail),
                Err(moved) => tail = moved,
            }
        }
    }

    /// Refuse every further claim. Gives where the claimed space ends, to the first who asks.
    pub fn close(&self) -> Option<usize> {
        Some(self.tail.swap(CLOSED, AcqRel)).filter(|end| *end != CLOSED)
    }

    /// Where the claimed space ends now; none once it is closed.
    pub fn end(&self) -> Option<usize> {
        Some(self.tail.load(Relaxed)).filter(|end| *end != CLOSED)
    }
}

/// Make what was written before visible to whoever sees the word.
pub(crate) fn publish(word: &impl Word, value: u32) {
    word.store(value.to_le(), Release);
}

/// What a reader in the same memory does: the word, if the record is published; what was written before it is then visible.
#[cfg(all(test, loom))]
pub(crate) fn published(word: &impl Word) -> Option<u32> {
    Some(u32::from_le(word.load(Acquire))).filter(|word| *word != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_do_not_overlap_and_end_where_the_last_one_ends() {
        let claims = Claims::new(AtomicUsize::new(8));
        assert_eq!((claims.claim(16, 64), claims.claim(40, 64)), (Some(8), Some(24)));
        assert_eq!((claims.claim(8, 64), claims.end()), (None, Some(64)));
        assert_eq!((claims.close(), claims.close(), claims.end()), (Some(64), None, None));
    }

    #[test]
    fn a_claim_too_large_leaves_room_for_a_smaller_one() {
        let claims = Claims::new(AtomicUsize::new(0));
        assert_eq!((claims.claim(65, 64), claims.claim(64, 64)), (None, Some(0)));
        let closed = Claims::new(AtomicUsize::new(0));
        assert_eq!((closed.close(), closed.claim(1, 64)), (Some(0), None));
    }
}

/// Run by `make memcheck`, with `--cfg loom`: every interleaving of two appenders and a reader, over small segments.
#[cfg(all(test, loom))]
mod model {
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::{AtomicU32, AtomicUsize};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::*;

    atomics!(AtomicUsize, AtomicU32);

    const SLOTS: usize = 2;

    struct Segment {
        claims: Claims<AtomicUsize>,
        words: [AtomicU32; SLOTS],
        payloads: [UnsafeCell<u32>; SLOTS],
        /// End + 1; 0 = not sealed.
        sealed: AtomicUsize,
    }

    struct Log {
        segments: [Segment; 3],
        current: AtomicUsize,
        rolling: Mutex<()>,
    }

    impl Log {
        fn new() -> Self {
            let segment = || Segment {
                claims: Claims::new(AtomicUsize::new(0)),
                words: [AtomicU32::new(0), AtomicU32::new(0)],
                payloads: [UnsafeCell::new(0), UnsafeCell::new(0)],
                sealed: AtomicUsize::new(0),
            };
            Self {
                segments: [segment(), segment(), segment()],
                current: AtomicUsize::new(0),
                rolling: Mutex::new(()),
            }
        }

        /// As `writer::Core::append`, with `size` slots a record.
        fn append(&self, payload: u32, size: usize) {
            loop {
                let index = self.current.load(Acquire);
                let segment = &self.segments[index];
                if let Some(slot) = segment.claims.claim(size, SLOTS) {
                    // SAFETY: claimed; loom fails the model if anyone else looks before it is published.
                    segment.payloads[slot].with_mut(|cell| unsafe { *cell = payload });
                    publish(&segment.words[slot], u32::try_from(size).unwrap());
                    return;
                }
                let _rolling = self.rolling.lock().unwrap();
                if self.current.load(Acquire) == index {
                    let end = segment.claims.close().unwrap();
                    segment.sealed.store(end + 1, Release);
                    self.current.store(index + 1, Release);
                }
            }
        }

        fn read(&self) -> Vec<u32> {
            let mut found = Vec::new();
            for segment in &self.segments {
                let mut slot = 0;
                while slot < SLOTS
                    && let Some(size) = published(&segment.words[slot])
                {
                    // SAFETY: published; loom fails the model if its writer may still be at it.
                    found.push(segment.payloads[slot].with(|cell| unsafe { *cell }));
                    slot += size as usize;
                }
                if segment.sealed.load(Acquire) != slot + 1 {
                    break;
                }
            }
            found
        }
    }

    fn run(sizes: [usize; 2]) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let log = Arc::new(Log::new());
            log.append(9, 1);
            let appenders: Vec<_> = [(1, sizes[0]), (2, sizes[1])]
                .map(|(payload, size)| {
                    let log = Arc::clone(&log);
                    thread::spawn(move || log.append(payload, size))
                })
                .into_iter()
                .collect();
            let seen = log.read();
            assert_eq!(seen[0], 9);
            for appender in appenders {
                appender.join().unwrap();
            }
            let all = log.read();
            assert!(all.starts_with(&seen), "what was read once stays, in its place");
            let mut sorted = all.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [1, 2, 9], "every record is read, once");
        });
    }

    #[test]
    fn appenders_that_fill_a_segment_and_a_reader() {
        run([1, 1]);
    }

    #[test]
    fn a_record_too_large_for_the_rest_and_one_that_fits() {
        run([2, 1]);
    }
}
