//! A result that is there before its await ends. Every operation is polled in its turn, so that the order of effects is the
//! order of awaits; where that would starve the loop, the result is kept while the task gives way to it once.
//!
//! A task that is cancelled meanwhile has been given something, a lease perhaps, which must not be lost. So the await ends
//! with its result, and the cancellation comes again with the next turn of the loop, as if it had been asked for then.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::prelude::*;
use symphony_pit_abi::Returned;

use super::event_loop::{Shared, running};
use super::known::known;
use crate::ending;

/// What the last poll gave.
pub(super) struct Kept {
    pub status: u32,
    pub out: Returned,
}

/// Cancels a task again, unless whoever cancelled it has taken that back.
#[pyclass(frozen, module = "symphony._host")]
struct Again {
    task: Py<PyAny>,
    /// How often it was asked to end, which is what `uncancel` counts back.
    requests: usize,
    message: Option<Py<PyAny>>,
    shared: Arc<Shared>,
}

#[pymethods]
impl Again {
    fn __call__(&self, py: Python<'_>, _argument: &Bound<'_, PyAny>) -> PyResult<()> {
        self.shared.postponed.store(false, Relaxed);
        let Ok(_inside) = ending::enter(py) else { return Ok(()) };
        let task = self.task.bind(py);
        let requests: usize = task.call_method0("cancelling")?.extract()?;
        if requests < self.requests || task.call_method0("done")?.is_truthy()? {
            return Ok(());
        }
        task.call_method1("cancel", (&self.message,))?;
        task.call_method0("uncancel").map(drop) // this was no further request
    }
}

/// Whether what is thrown is a cancellation of the running task, which then comes again.
pub(super) fn postpone(py: Python<'_>, thrown: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !thrown.is_instance(known(py)?.cancelled.bind(py))? {
        return Ok(false);
    }
    let running = running(py)?;
    let task = py.import("asyncio")?.call_method1("current_task", (&running.event_loop,))?;
    if task.is_none() {
        return Ok(false);
    }
    let requests: usize = task.call_method0("cancelling")?.extract()?;
    if requests == 0 {
        return Ok(false); // thrown by hand
    }
    let message = thrown.getattr("args")?.get_item(0).ok().map(Bound::unbind);
    let shared = Arc::clone(running.shared());
    // Whatever the task awaits in this turn gives way before it is polled: the cancellation is to find it undone.
    shared.postponed.store(true, Relaxed);
    let again = Bound::new(py, Again { task: task.unbind(), requests, message, shared })?;
    running.event_loop.call_method1("call_soon", (again, py.None()))?;
    Ok(true)
}
