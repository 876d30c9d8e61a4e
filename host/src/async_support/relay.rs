//! Signals for loops that watch no descriptors: a thread that sleeps on the mailbox and calls `call_soon_threadsafe`.
//!
//! It is the one native thread of the bridge that attaches to Python, and it never does while the interpreter ends: what
//! is left of them is stopped and joined, detached, when Python exits.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use pyo3::prelude::*;

use super::event_loop::{Drain, Shared};

struct Relay {
    shared: Weak<Shared>,
    thread: JoinHandle<()>,
}

static RELAYS: Mutex<Vec<Relay>> = Mutex::new(Vec::new());

/// Serve a loop from now on. Fails where it takes no callbacks from other threads either.
pub(super) fn start(
    event_loop: &Bound<'_, PyAny>,
    shared: &Arc<Shared>,
    drain: Bound<'_, Drain>,
) -> PyResult<()> {
    event_loop.call_method1("call_soon_threadsafe", (&drain,))?;
    let weak = event_loop.py().import("weakref")?.getattr("ref")?.call1((event_loop,))?.unbind();
    let (drain, own) = (drain.unbind(), Arc::clone(shared));
    let run = move || {
        while !own.is_closed() {
            own.event.wait();
            if own.is_closed() || !signal(&weak, &drain) {
                break;
            }
        }
        own.close();
        // Where there is no Python any more, there is nobody to give the references back to.
        let left = (weak, drain);
        let mut left = Some(left);
        if Python::try_attach(|_| drop(left.take())).is_none() {
            std::mem::forget(left);
        }
    };
    let thread = std::thread::Builder::new().name("symphony-relay".to_owned()).spawn(run)?;
    let mut relays = RELAYS.lock().unwrap_or_else(PoisonError::into_inner);
    relays.retain(|relay| !relay.thread.is_finished());
    relays.push(Relay { shared: Arc::downgrade(shared), thread });
    Ok(())
}

/// Whether there still is a loop that takes a callback.
fn signal(event_loop: &Py<PyAny>, drain: &Py<Drain>) -> bool {
    let called = Python::try_attach(|py| {
        let event_loop = event_loop.call0(py).ok().filter(|found| !found.is_none(py))?;
        event_loop.call_method1(py, "call_soon_threadsafe", (drain,)).ok()
    });
    called.flatten().is_some()
}

/// No thread of this module attaches from here on. Not while attached: they may be about to.
pub(crate) fn stop_relays() {
    let relays = std::mem::take(&mut *RELAYS.lock().unwrap_or_else(PoisonError::into_inner));
    for shared in relays.iter().filter_map(|relay| relay.shared.upgrade()) {
        shared.close();
        shared.event.signal();
    }
    for relay in relays {
        let _ = relay.thread.join(); // it does not panic; if it did, it is gone
    }
}
