//! Whether a Pit may be called: not once it is closed, and not in a forked child of the process that opened it.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use symphony_pit_journal::forked;

use crate::errors;

/// What a forked child is told.
const FORKED: &str = "the Pit cannot be used in a forked child: it belongs to the parent process. Start child processes by \
     \"spawn\" or \"forkserver\", and call the Pit in the parent";

/// One for each open Pit; every call looks at it.
#[derive(Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
}

impl Gate {
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed) && !forked()
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Let through, or say why not.
    pub fn pass(&self, py: Python<'_>) -> PyResult<()> {
        refuse_forked(py)?;
        if self.is_closed() {
            return Err(errors::raise(py, "PitUnavailable", "the Pit is closed"));
        }
        Ok(())
    }
}

/// A child that was forked off a process with a Pit has none of its threads, and may hold its locks for ever.
pub(crate) fn refuse_forked(py: Python<'_>) -> PyResult<()> {
    if forked() { Err(errors::raise(py, "PitUnavailable", FORKED)) } else { Ok(()) }
}
