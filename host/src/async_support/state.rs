//! What is known of an operation while Python holds it. Touched only while attached, never borrowed across a call of Python's.

use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use symphony_mailbox::Letter;
use symphony_pit_abi::{FLAG_STREAM, Returned};
use symphony_pit_journal::forked;

use super::event_loop::{Count, Shared};
use super::kept::Kept;
use super::object::Object;
use super::waker::Woken;
use crate::pit_api::{Component, MethodView};

pub(super) static CREATED: Count = Count::new();
pub(super) static DROPPED: Count = Count::new();

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Nobody awaits it: not yet, or, of a stream, not until the next item is asked for.
    Idle,
    /// Polled to its end, or to an item; the task gives way before it gets what there is.
    Kept,
    /// Pending; the task sleeps.
    Waiting,
    /// The task's callbacks are queued: it will poll.
    Woken,
    /// Dropped before its end; whoever awaits is told.
    Cancelled,
    Finished,
}

/// What a stream is awaited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// By `__anext__`.
    Item,
    /// By `aclose`.
    Close,
}

/// What is called when the operation is woken or cancelled, and in which context.
pub(super) struct Callback {
    pub function: *mut ffi::PyObject,
    pub context: *mut ffi::PyObject,
}

/// Python references in it are owned, as pointers: what drops one has to be attached.
pub(super) struct State {
    pub returned: Option<Returned>,
    pub component: Arc<Component>,
    pub method: MethodView,
    pub phase: Phase,
    /// Whether a task is about to wait for it: `_asyncio_future_blocking`.
    pub blocking: bool,
    /// It gave way to the loop unpolled, and polls next.
    pub yielded: bool,
    /// In that phase. Boxed, since it is rare.
    pub kept: Option<Box<Kept>>,
    pub asked: Asked,
    /// That of the first poll that was pending.
    pub event_loop: *mut ffi::PyObject,
    /// While it waits: who holds it.
    pub holder: Option<Arc<Shared>>,
    pub letter: Option<Arc<Letter<Woken>>>,
    pub callbacks: Vec<Callback>,
    /// Given with the cancellation.
    pub message: *mut ffi::PyObject,
}

impl State {
    pub fn new(returned: Returned, component: &Arc<Component>, method: MethodView) -> Self {
        CREATED.add_attached();
        Self {
            returned: Some(returned),
            component: Arc::clone(component),
            method,
            phase: Phase::Idle,
            blocking: false,
            yielded: false,
            kept: None,
            asked: Asked::Nothing,
            event_loop: ptr::null_mut(),
            holder: None,
            letter: None,
            callbacks: Vec::new(),
            message: ptr::null_mut(),
        }
    }

    pub const fn is_stream(&self) -> bool {
        self.method.raw.flags & FLAG_STREAM != 0
    }

    /// `pool_manager.acquire_async`
    pub fn name(&self) -> String {
        format!("{}.{}", self.component.description.name(), self.method.name())
    }

    /// Let no wake of an earlier poll through.
    pub fn forget_wakes(&mut self) {
        if let Some(letter) = self.letter.take() {
            letter.withdraw();
        }
    }

    /// Drop the operation, which cancels it unless it is done, and let no wake of it through any more.
    pub fn release(&mut self) {
        self.forget_wakes();
        let operation = self.returned.take();
        if operation.is_some() {
            DROPPED.add_attached();
        }
        let kept = self.kept.take().map(|kept| kept.out);
        if forked() {
            return; // what they would give back is the parent's
        }
        for mut returned in operation.into_iter().chain(kept) {
            // SAFETY: released once, not read afterwards.
            unsafe { returned.release() };
        }
    }

    /// The Python references, to be given back once nothing is borrowed.
    pub fn take_references(&mut self) -> Vec<*mut ffi::PyObject> {
        let mut all: Vec<_> =
            self.callbacks.drain(..).flat_map(|callback| [callback.function, callback.context]).collect();
        all.extend([std::mem::replace(&mut self.event_loop, ptr::null_mut())]);
        all.extend([std::mem::replace(&mut self.message, ptr::null_mut())]);
        all
    }
}

/// It waits no more.
///
/// # Safety
/// `own` is live, and somebody else has a reference to it, or it goes; attached to Python.
pub(super) unsafe fn let_go(own: *mut Object) {
    // SAFETY: promised by the caller; the borrow ends here.
    if let Some(holder) = unsafe { (*own).state.holder.take() } {
        holder.let_go(own.cast());
    }
}

/// Come to an end: whatever is still referred to is given back.
///
/// # Safety
/// `own` is live; attached to Python.
pub(super) unsafe fn finish(own: *mut Object, phase: Phase) {
    // SAFETY: as below.
    unsafe { let_go(own) };
    // SAFETY: promised by the caller; the borrow ends before Python runs.
    let references = unsafe {
        let state = &mut (*own).state;
        state.phase = phase;
        state.release();
        if state.event_loop.is_null() && state.message.is_null() && state.callbacks.is_empty() {
            return;
        }
        state.take_references()
    };
    references.into_iter().for_each(|reference| unsafe { ffi::Py_XDECREF(reference) });
}
