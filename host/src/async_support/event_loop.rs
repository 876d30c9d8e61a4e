//! What belongs to one event loop: its mailbox, what it is signalled by, and how long it may be kept from turning.
//!
//! The loop's own table of readers holds the only reference to [`Drain`]: where the loop is closed it goes, and closes the
//! mailbox. So nothing has to be told when a loop ends, and what comes later is counted.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use pyo3::exceptions::{PyAttributeError, PyNotImplementedError, PyRuntimeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PySet;
use symphony_mailbox::fairness::{Budget, Verdict};
use symphony_mailbox::{Letter, Mailbox, Posted};

use super::event_file::EventFile;
use super::known::known;
use super::waker::Woken;
use super::{operation, relay};
use crate::ending::{self, attached};

/// A number that only grows.
pub(super) struct Count(AtomicU64);

impl Count {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// One more, counted only while attached: a load and a store.
    pub fn add_attached(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Wakes that came to a loop that was closed.
pub(super) static LATE: Count = Count::new();
/// How often a loop was signalled.
pub(super) static SIGNALS: Count = Count::new();
/// Moves on when a loop goes: what threads remember of theirs is then no longer sure.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// A loop's part that other threads see. No Python reference in it.
pub(super) struct Shared {
    mailbox: Mailbox<Woken>,
    /// The set of [`Drain`], borrowed; null once that has gone. Read only while attached.
    waiting: AtomicPtr<ffi::PyObject>,
    pub event: EventFile,
    pub budget: Budget,
    /// Until the next turn: a cancellation waits for it. Touched only while attached.
    pub postponed: AtomicBool,
}

/// Nanoseconds of a clock that never goes back. By the system call itself: `Instant` takes twice as long.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the time; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

impl Shared {
    /// An await is about to poll.
    pub fn spend(&self) -> Verdict {
        self.budget.spend(now())
    }

    /// From any thread, attached or not, under any lock.
    pub fn post(&self, letter: &Arc<Letter<Woken>>) {
        match self.mailbox.post(letter) {
            Posted::First => {
                SIGNALS.add(1);
                self.event.signal();
            }
            Posted::Closed => LATE.add(1),
            Posted::Later | Posted::Needless => {}
        }
    }

    pub fn close(&self) {
        LATE.add(self.mailbox.close());
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }

    /// Keep an object that waits: nothing else may refer to its task, and a wake has to find it. While attached.
    pub fn hold(&self, object: *mut ffi::PyObject) -> PyResult<()> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        // SAFETY: a live set and a live object, which is hashed by its address.
        if waiting.is_null() || unsafe { ffi::PySet_Add(waiting, object) } == 0 {
            return Ok(());
        }
        // SAFETY: promised by the caller.
        unsafe { attached(|py| Err(PyErr::fetch(py))) }
    }

    /// The object waits no more. While attached, and while the caller has a reference to it, or it goes.
    pub fn let_go(&self, object: *mut ffi::PyObject) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if !waiting.is_null() {
            // SAFETY: as above. It cannot fail: the object is hashed by its address, and the set is one.
            unsafe { ffi::PySet_Discard(waiting, object) };
        }
    }

    pub fn is_closed(&self) -> bool {
        self.mailbox.is_closed()
    }
}

/// Called by the loop when it is signalled.
#[pyclass(frozen, module = "symphony._host")]
pub(super) struct Drain {
    shared: Arc<Shared>,
    /// The operations that wait. Here, so that they go with the loop, and the garbage collector sees through them.
    waiting: Py<PySet>,
}

#[pymethods]
impl Drain {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(_inside) = ending::enter(py) else { return Ok(()) };
        self.shared.event.clear();
        let mut outcome = Ok(());
        for letter in self.shared.mailbox.take() {
            // One task's trouble must not keep the others asleep.
            outcome = outcome.and(operation::woken(py, &letter.content));
        }
        outcome
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.waiting)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.shared.waiting.store(std::ptr::null_mut(), Ordering::Relaxed);
        self.shared.close();
    }
}

/// What is known of a loop; called by it, it marks a turn.
#[pyclass(frozen, module = "symphony._host")]
pub(super) struct Entry {
    shared: Arc<Shared>,
}

#[pymethods]
impl Entry {
    fn __call__(&self, _argument: &Bound<'_, PyAny>) {
        self.shared.budget.turned();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.event.signal(); // a relay ends
    }
}

/// The loop that runs on this thread.
pub(super) struct Running<'py> {
    pub event_loop: Bound<'py, PyAny>,
    /// Borrowed from `Known::entries`, where it is as long as there is the loop.
    entry: *mut ffi::PyObject,
    shared: *const Arc<Shared>,
}

impl Running<'_> {
    pub const fn shared(&self) -> &Arc<Shared> {
        // SAFETY: in the entry, which this loop keeps.
        unsafe { &*self.shared }
    }

    /// Have the next turn of the loop marked.
    pub fn watch(&self) -> PyResult<()> {
        let py = self.event_loop.py();
        // SAFETY: an immortal singleton, borrowed.
        let none = unsafe { ffi::Py_None() };
        known(py)?.call_soon(py, self.event_loop.as_ptr(), self.entry, none, std::ptr::null_mut())
    }
}

#[derive(Clone, Copy)]
struct Remembered {
    event_loop: *mut ffi::PyObject,
    entry: *mut ffi::PyObject,
    shared: *const Arc<Shared>,
    generation: u64,
}

thread_local! {
    /// What this thread saw last. Its pointers are good as long as the generation is: no loop has gone since.
    static LAST: Cell<Option<Remembered>> = const { Cell::new(None) };
}

/// A loop without a reference to it: good until Python runs.
#[derive(Clone, Copy)]
pub(super) struct Guess<'a> {
    pub event_loop: *mut ffi::PyObject,
    pub shared: &'a Arc<Shared>,
}

impl<'a> From<&'a Running<'_>> for Guess<'a> {
    fn from(running: &'a Running<'_>) -> Self {
        Self { event_loop: running.event_loop.as_ptr(), shared: running.shared() }
    }
}

/// The loop that this thread saw last, if there still is that loop: most likely the one that runs. To ask asyncio costs more
/// than an await, and a system call; whoever is about to wait has to.
pub(super) fn recent(_py: Python<'_>) -> Option<Guess<'_>> {
    let generation = GENERATION.load(Ordering::Relaxed);
    let last = LAST.get().filter(|last| last.generation == generation)?;
    // SAFETY: no loop has gone since, nor can it while this thread is attached and runs no Python.
    Some(Guess { event_loop: last.event_loop, shared: unsafe { &*last.shared } })
}

/// The loop that runs on this thread; its mailbox is made at the first use.
pub(super) fn running(py: Python<'_>) -> PyResult<Running<'_>> {
    // SAFETY: a callable without arguments; the result is a new reference or null with an exception.
    let event_loop = unsafe {
        let found = ffi::PyObject_CallNoArgs(known(py)?.running_loop.as_ptr());
        Bound::from_owned_ptr_or_err(py, found)?
    };
    let generation = GENERATION.load(Ordering::Relaxed);
    if let Some(Remembered { entry, shared, .. }) =
        LAST.get().filter(|last| last.event_loop == event_loop.as_ptr() && last.generation == generation)
    {
        return Ok(Running { event_loop, entry, shared });
    }
    if event_loop.is_none() {
        return Err(PyRuntimeError::new_err("no running event loop: a Pit operation is awaited in a task"));
    }
    let entry = entry_of(&event_loop)?;
    let (object, shared) = (entry.as_ptr(), &raw const entry.get().shared);
    LAST.set(Some(Remembered { event_loop: event_loop.as_ptr(), entry: object, shared, generation }));
    Ok(Running { event_loop, entry: object, shared })
}

/// The entry of a loop: the known one, or a new one and what signals it.
fn entry_of<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Entry>> {
    let py = event_loop.py();
    let entries = known(py)?.entries.bind(py);
    let found = entries.call_method1("get", (event_loop,))?;
    if let Ok(entry) = found.cast_into::<Entry>()
        && !entry.get().shared.is_closed()
    {
        return Ok(entry);
    }
    let waiting = PySet::empty(py)?;
    let shared = Arc::new(Shared {
        waiting: AtomicPtr::new(waiting.as_ptr()),
        mailbox: Mailbox::default(),
        event: EventFile::new()?,
        budget: Budget::default(),
        postponed: AtomicBool::new(false),
    });
    let drain = Bound::new(py, Drain { shared: Arc::clone(&shared), waiting: waiting.unbind() })?;
    match event_loop.call_method1("add_reader", (shared.event.descriptor(), &drain)) {
        Ok(_) => {}
        Err(error)
            if error.is_instance_of::<PyNotImplementedError>(py)
                || error.is_instance_of::<PyAttributeError>(py) =>
        {
            relay::start(event_loop, &shared, drain)?;
        }
        Err(error) => return Err(error),
    }
    let entry = Bound::new(py, Entry { shared })?;
    entries.set_item(event_loop, &entry)?;
    Ok(entry)
}
