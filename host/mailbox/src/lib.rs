//! The mailbox of an event loop: letters posted by any thread, taken by the loop's own. Nobody takes a lock or waits. And
//! `fairness`: how long awaits that are ready may keep the loop from turning.
//!
//! A crate by itself, without dependencies, so that `make memcheck` can check every interleaving of it. It must not know
//! Python, nor how the loop is signalled: [`Posted::First`] tells the one poster of a batch who has to.
#![allow(unsafe_code)] // an intrusive list: a letter is linked by a pointer in itself, so that a post allocates nothing

pub mod fairness;
#[cfg(all(test, loom))]
mod model;

use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

#[cfg(loom)]
use loom::sync::Arc;
#[cfg(loom)]
use loom::sync::atomic::{AtomicPtr, AtomicU8};
#[cfg(not(loom))]
use std::sync::Arc;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicPtr, AtomicU8};

/// In nobody's hands: a post takes it.
const IDLE: u8 = 0;
/// In the list, or on its way into it.
const POSTED: u8 = 1;
/// Whoever it was for is gone.
const WITHDRAWN: u8 = 2;

/// What is posted, again and again. It lies in a mailbox at most once at a time.
pub struct Letter<T> {
    next: AtomicPtr<Self>,
    state: AtomicU8,
    pub content: T,
}

impl<T> Letter<T> {
    pub fn new(content: T) -> Self {
        Self { next: AtomicPtr::new(ptr::null_mut()), state: AtomicU8::new(IDLE), content }
    }

    /// From now on it is not taken any more, whether it is in a mailbox or not.
    pub fn withdraw(&self) {
        self.state.swap(WITHDRAWN, AcqRel);
    }

    fn moved(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }
}

/// What came of a post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Posted {
    /// The first of a batch: its poster signals the loop.
    First,
    /// The loop is signalled already.
    Later,
    /// It lies there already, or it was withdrawn.
    Needless,
    /// The loop is gone, and the letter dropped.
    Closed,
}

/// A list whose head is all that its users share. Empty, it is null; closed, it is a pointer that no letter has.
pub struct Mailbox<T> {
    head: AtomicPtr<Letter<T>>,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }
}

const fn closed<T>() -> *mut Letter<T> {
    ptr::without_provenance_mut(usize::MAX)
}

impl<T> Mailbox<T> {
    /// From any thread, under any lock.
    pub fn post(&self, letter: &Arc<Letter<T>>) -> Posted {
        if !letter.moved(IDLE, POSTED) {
            return Posted::Needless;
        }
        let link = Arc::into_raw(Arc::clone(letter)).cast_mut();
        let mut head = self.head.load(Acquire);
        loop {
            if head == closed() {
                // SAFETY: the count made above, which nobody else has seen.
                drop(unsafe { Arc::from_raw(link) });
                return Posted::Closed;
            }
            letter.next.store(head, Relaxed); // published by the exchange below
            match self.head.compare_exchange_weak(head, link, AcqRel, Acquire) {
                Ok(_) => return if head.is_null() { Posted::First } else { Posted::Later },
                Err(found) => head = found,
            }
        }
    }

    /// Everything posted so far, in order. By one thread at a time.
    pub fn take(&self) -> Taken<T> {
        let mut head = self.head.load(Acquire);
        loop {
            if head.is_null() || head == closed() {
                return Taken { first: ptr::null_mut() };
            }
            match self.head.compare_exchange_weak(head, ptr::null_mut(), AcqRel, Acquire) {
                Ok(_) => return Taken { first: reversed(head) },
                Err(found) => head = found,
            }
        }
    }

    /// The loop is gone: what comes from now on is dropped. Gives how many letters lay here, which are dropped too.
    pub fn close(&self) -> u64 {
        let head = self.head.swap(closed(), AcqRel);
        if head == closed() { 0 } else { Taken { first: head }.count() as u64 }
    }

    pub fn is_closed(&self) -> bool {
        self.head.load(Acquire) == closed()
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The list has the last letter first.
fn reversed<T>(mut from: *mut Letter<T>) -> *mut Letter<T> {
    let mut first = ptr::null_mut();
    while !from.is_null() {
        // SAFETY: a link owns a count, and what was taken out of the head is this thread's alone.
        let next = unsafe { &(*from).next };
        let following = next.load(Relaxed);
        next.store(first, Relaxed);
        first = from;
        from = following;
    }
    first
}

/// See [`Mailbox::take`]. Those that were withdrawn are left out.
pub struct Taken<T> {
    first: *mut Letter<T>,
}

impl<T> Iterator for Taken<T> {
    type Item = Arc<Letter<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.first.is_null() {
            // SAFETY: the count of the link, taken over here; the letter lives until it is dropped.
            let letter = unsafe { Arc::from_raw(self.first.cast_const()) };
            self.first = letter.next.load(Relaxed);
            // From here on it may be posted again.
            if letter.moved(POSTED, IDLE) {
                return Some(letter);
            }
        }
        None
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn contents(mailbox: &Mailbox<u32>) -> Vec<u32> {
        mailbox.take().map(|letter| letter.content).collect()
    }

    #[test]
    fn letters_come_in_order_and_the_first_of_a_batch_signals() {
        let mailbox = Mailbox::default();
        let letters = [1, 2, 3].map(|number| Arc::new(Letter::new(number)));
        for _ in 0..2 {
            let posted: Vec<_> = letters.iter().map(|letter| mailbox.post(letter)).collect();
            assert_eq!(posted, [Posted::First, Posted::Later, Posted::Later]);
            assert_eq!(mailbox.post(&letters[0]), Posted::Needless);
            assert_eq!(contents(&mailbox), [1, 2, 3]);
        }
        assert!(contents(&mailbox).is_empty());
        assert_eq!(letters.map(|letter| Arc::strong_count(&letter)), [1, 1, 1]);
    }

    #[test]
    fn what_is_withdrawn_is_not_taken() {
        let mailbox = Mailbox::default();
        let letters = [1, 2].map(|number| Arc::new(Letter::new(number)));
        for letter in &letters {
            assert_ne!(mailbox.post(letter), Posted::Needless);
        }
        letters[0].withdraw();
        assert_eq!(contents(&mailbox), [2]);
        assert_eq!(mailbox.post(&letters[0]), Posted::Needless);
        assert_eq!(Arc::strong_count(&letters[0]), 1);
    }

    #[test]
    fn a_batch_that_is_not_read_to_its_end_is_given_back() {
        let mailbox = Mailbox::default();
        let letters = [1, 2].map(|number| Arc::new(Letter::new(number)));
        for letter in &letters {
            assert_ne!(mailbox.post(letter), Posted::Needless);
        }
        assert_eq!(mailbox.take().next().map(|letter| letter.content), Some(1));
        assert_eq!(letters.map(|letter| Arc::strong_count(&letter)), [1, 1]);
    }

    #[test]
    fn a_closed_mailbox_tells_what_comes_too_late() {
        let mailbox = Mailbox::default();
        let letters = [1, 2, 3].map(|number| Arc::new(Letter::new(number)));
        assert_eq!((mailbox.post(&letters[0]), mailbox.post(&letters[1])), (Posted::First, Posted::Later));
        letters[1].withdraw();
        assert_eq!((mailbox.close(), mailbox.close(), mailbox.is_closed()), (1, 0, true));
        assert_eq!(mailbox.post(&letters[2]), Posted::Closed);
        assert!(contents(&mailbox).is_empty());
        assert_eq!(letters.map(|letter| Arc::strong_count(&letter)), [1, 1, 1]);
    }
}
