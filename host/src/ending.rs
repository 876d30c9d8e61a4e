//! The end of the interpreter, while threads of Python's still run loops.
//!
//! CPython ends such a thread where it next asks for its lock. Below this module's frames that would end the process: a thread
//! cannot be unwound through Rust. So once Python exits, other threads do not enter any more, and those inside get out first.

use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::relay;

/// Threads below whose frames here Python may run. Changed only while attached, so that plain loads and stores do.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The thread that ends the interpreter, by the address of its `HERE`; 0 = none does.
static ENDING: AtomicUsize = AtomicUsize::new(0);
/// How long to wait for those inside: what they call does not wait.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    static HERE: u8 = const { 0 };
}

fn here() -> usize {
    HERE.with(|here| ptr::from_ref(here).addr())
}

/// Kept while Python may run.
pub(super) struct Inside(());

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.store(INSIDE.load(Relaxed) - 1, Relaxed);
    }
}

/// Whether this thread may have Python run; none where it is about to be ended. While attached.
pub(super) fn enter() -> Option<Inside> {
    let ending = ENDING.load(Relaxed);
    if ending != 0 && ending != here() {
        return None;
    }
    INSIDE.store(INSIDE.load(Relaxed) + 1, Relaxed);
    Some(Inside(()))
}

/// Called by Python when it exits: threads of this module are joined, those of Python's leave it.
#[pyfunction]
pub(super) fn end_async(py: Python<'_>) {
    ENDING.store(here(), SeqCst);
    py.detach(|| {
        relay::stop_relays();
        let start = Instant::now();
        while INSIDE.load(SeqCst) != 0 && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
