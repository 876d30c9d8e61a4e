//! The end of the interpreter, while threads of Python's still run.
//!
//! CPython ends such a thread where it next asks for its lock. Below Rust frames that would end the process: a thread cannot
//! be unwound through them. So once Python exits, other threads do not let it run any more below this module's entries, and
//! those inside get out first. Where a thread comes back from a call that ran detached, there is nothing of Python's to run:
//! it sleeps for ever if Python has gone meanwhile (pyo3's `PyEval_RestoreThread` sees to that).
#![allow(unsafe_code)] // gives up Python's lock where pyo3 does not know that the thread holds it

use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use symphony_pit_journal::forked;

use crate::async_support::stop_relays;

/// Threads below whose frames here Python may run. Changed only while attached, so that plain loads and stores do.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The thread that ends the interpreter, by the address of its `HERE`; 0 = none does.
static ENDING: AtomicUsize = AtomicUsize::new(0);
/// How long to wait for those inside, who convert values and make errors: what they call rarely waits.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    static HERE: u8 = const { 0 };
}

fn here() -> usize {
    HERE.with(|here| ptr::from_ref(here).addr())
}

/// Kept while Python may run.
pub(crate) struct Inside(());

impl Inside {
    /// Run without Python's lock, and without keeping its end waiting. An error where it has begun to end meanwhile: then the
    /// caller gives back nothing of Python's, which might run code.
    pub fn detached<T>(self, py: Python<'_>, body: impl FnOnce() -> T) -> (T, PyResult<Self>) {
        drop(self);
        // SAFETY: attached now, and again before anything of Python is touched.
        let value = unsafe {
            let thread = ffi::PyEval_SaveThread();
            let value = body();
            ffi::PyEval_RestoreThread(thread);
            value
        };
        (value, enter(py))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.store(INSIDE.load(Relaxed) - 1, Relaxed);
    }
}

/// Let Python run on this thread; an error where it is about to end. That is `SystemExit`, which ends a thread of Python's
/// without a word.
pub(crate) fn enter(_py: Python<'_>) -> PyResult<Inside> {
    let ending = ENDING.load(Relaxed);
    if ending != 0 && ending != here() {
        return Err(PySystemExit::new_err("the interpreter is ending"));
    }
    INSIDE.store(INSIDE.load(Relaxed) + 1, Relaxed);
    Ok(Inside(()))
}

/// Have pyo3 know that this thread is attached: otherwise it would put off every reference that is given back, and refuse to
/// attach, with a panic, while the interpreter ends.
///
/// # Safety
/// Attached to Python.
pub(crate) unsafe fn attached<T>(body: impl FnOnce(Python<'_>) -> T) -> T {
    // SAFETY: promised by the caller.
    unsafe { Python::attach_unchecked(body) }
}

/// Called by Python when it exits: native threads that attach are joined, those of Python's leave.
#[pyfunction]
fn end(py: Python<'_>) {
    if forked() {
        return; // the threads are the parent's
    }
    ENDING.store(here(), SeqCst);
    py.detach(|| {
        stop_relays();
        let start = Instant::now();
        while INSIDE.load(SeqCst) != 0 && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let end = wrap_pyfunction!(end, module)?;
    module.py().import("atexit")?.call_method1("register", (end,)).map(drop)
}
