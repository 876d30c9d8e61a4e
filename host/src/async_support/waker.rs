//! The waker that a component gets: it posts to a mailbox, and knows nothing of Python.

use std::ffi::c_void;
use std::sync::{Arc, OnceLock};

use symphony_mailbox::Letter;
use symphony_pit_abi::RawWaker;

use super::event_loop::Shared;
use super::object::Object;

/// What a wake brings to the loop.
pub(super) struct Woken {
    shared: Arc<Shared>,
    /// Borrowed: the letter is withdrawn before the object goes. Read only while attached.
    pub own: *mut Object,
}

impl Woken {
    /// Whether it comes to that loop.
    pub fn is_for(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }
}

// SAFETY: the pointer is followed by the loop's thread alone, while attached to Python.
unsafe impl Send for Woken {}
// SAFETY: as above.
unsafe impl Sync for Woken {}

/// The waker of one poll, on its stack. The letter is made with the first clone, so that a poll that is ready makes none.
pub(super) struct PollWaker<'a> {
    shared: &'a Arc<Shared>,
    own: *mut Object,
    letter: OnceLock<Arc<Letter<Woken>>>,
}

impl<'a> PollWaker<'a> {
    /// `letter` is that of an earlier poll of the same operation.
    pub fn new(shared: &'a Arc<Shared>, own: *mut Object, letter: Option<Arc<Letter<Woken>>>) -> Self {
        Self { shared, own, letter: letter.map_or_else(OnceLock::new, OnceLock::from) }
    }

    /// Borrowed for the poll.
    pub fn raw(&self) -> RawWaker {
        RawWaker {
            data: std::ptr::from_ref(self).cast(),
            clone: poll_clone,
            wake: poll_wake,
            wake_by_ref: poll_wake,
            drop: poll_drop,
        }
    }

    fn letter(&self) -> &Arc<Letter<Woken>> {
        self.letter
            .get_or_init(|| Arc::new(Letter::new(Woken { shared: Arc::clone(self.shared), own: self.own })))
    }

    pub fn into_letter(self) -> Option<Arc<Letter<Woken>>> {
        self.letter.into_inner()
    }
}

fn wake(letter: &Arc<Letter<Woken>>) {
    letter.content.shared.post(letter);
}

// SAFETY (these three): `data` is the `PollWaker` of the poll that is under way.
unsafe extern "C" fn poll_clone(data: *const c_void) -> RawWaker {
    kept(Arc::clone(unsafe { &*data.cast::<PollWaker<'_>>() }.letter()))
}

unsafe extern "C" fn poll_wake(data: *const c_void) {
    wake(unsafe { &*data.cast::<PollWaker<'_>>() }.letter());
}

const unsafe extern "C" fn poll_drop(_data: *const c_void) {}

fn kept(letter: Arc<Letter<Woken>>) -> RawWaker {
    RawWaker {
        data: Arc::into_raw(letter).cast(),
        clone: kept_clone,
        wake: kept_wake,
        wake_by_ref: kept_wake_by_ref,
        drop: kept_drop,
    }
}

// SAFETY (these four): `data` is an `Arc` of a letter as raw pointer, with one count per waker.
unsafe extern "C" fn kept_clone(data: *const c_void) -> RawWaker {
    unsafe { Arc::increment_strong_count(data.cast::<Letter<Woken>>()) };
    kept(unsafe { Arc::from_raw(data.cast()) })
}

unsafe extern "C" fn kept_wake(data: *const c_void) {
    wake(&unsafe { Arc::from_raw(data.cast::<Letter<Woken>>()) });
}

unsafe extern "C" fn kept_wake_by_ref(data: *const c_void) {
    let letter = std::mem::ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Letter<Woken>>()) });
    wake(&letter);
}

unsafe extern "C" fn kept_drop(data: *const c_void) {
    drop(unsafe { Arc::from_raw(data.cast::<Letter<Woken>>()) });
}
