//! asyncio <-> Rust futures.
//!
//! `operation` is the awaitable that an ASYNC method returns: it polls on the loop's thread first, so that a ready one
//! finishes without a trip through the loop. A pending one yields itself to its task, as a future that is foreign to asyncio
//! (`protocol`); one that is ready and has to give way is `kept`. Its `waker`, on any thread, holds no Python reference and takes no Python lock: it posts to the mailbox of
//! its `event_loop` and signals once a batch; the loop's thread takes what was posted. `relay` does the signalling for loops
//! that watch no descriptors. `callouts` is what components ask of the engine.
#![allow(unsafe_code)] // the ABI's operation and waker, CPython's object protocol, eventfd

mod callouts;
mod event_file;
mod event_loop;
mod kept;
mod known;
mod object;
mod operation;
mod protocol;
mod relay;
mod slots;
mod state;
mod waker;

use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use symphony_pit_abi::Returned;

use crate::pit_api::{Component, MethodView};

pub(crate) use callouts::serve_callouts;
pub(crate) use relay::stop_relays;

/// The awaitable of an operation that an ASYNC method gave, or the asynchronous iterator of a stream: a new reference.
pub(crate) fn awaitable(
    py: Python<'_>,
    returned: Returned,
    component: &Arc<Component>,
    method: MethodView,
) -> PyResult<*mut ffi::PyObject> {
    object::new(py, state::State::new(returned, component, method))
}

/// What the tests read: operations that were made and dropped, signals sent to loops, wakes that came to no loop.
#[pyfunction]
fn async_counts(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let counts = PyDict::new(py);
    counts.set_item("created", state::CREATED.get())?;
    counts.set_item("dropped", state::DROPPED.get())?;
    counts.set_item("signals", event_loop::SIGNALS.get())?;
    counts.set_item("late", event_loop::LATE.get())?;
    Ok(counts)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(async_counts, module)?)
}
