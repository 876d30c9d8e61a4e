//! Errors on their way to Python: classes of `symphony.errors`, context pairs as notes.
#![allow(unsafe_code)] // reads a component's error result

use pyo3::prelude::*;
use symphony_pit_abi::{Error, ErrorKind, Returned};

use crate::failure::FREE_SPACE;
use crate::pit_api::{Description, LoadError};

/// An exception of `symphony.errors` by its class name.
pub(crate) fn raise(py: Python<'_>, class: &str, message: &str) -> PyErr {
    let made = py
        .import("symphony.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1((message,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

const fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "PitInvalidArgument",
        ErrorKind::NotFound => "PitNotFound",
        ErrorKind::Exhausted => "PitExhausted",
        ErrorKind::Conflict => "PitConflict",
        ErrorKind::WouldBlock => "PitWouldBlock",
        ErrorKind::Cancelled => "PitCancelled",
        ErrorKind::TimedOut => "PitTimeout",
        ErrorKind::Io => "PitIO",
        ErrorKind::Corrupt => "PitCorrupt",
        ErrorKind::Internal => "PitError",
        ErrorKind::Panic => "PitPanic",
    }
}

pub(crate) fn from_error(py: Python<'_>, error: &Error, component: &Description) -> PyErr {
    let raised = raise(py, class_of(error.kind), &error.message);
    let notes = error.context.iter().map(|(key, value)| format!("{key}: {value}"));
    let origin = (error.kind == ErrorKind::Panic).then(|| format!("component: {}", component.id()));
    for note in notes.chain(origin) {
        // A note that cannot be added must not hide the error itself.
        let _ = raised.value(py).call_method1("add_note", (note,));
    }
    raised
}

/// The exception for the failed result of a call, which is released.
pub(crate) fn from_status(py: Python<'_>, status: u32, mut out: Returned, component: &Description) -> PyErr {
    // SAFETY: the error result of a component, read once and released.
    let error = unsafe {
        let error = out.to_error(status);
        out.release();
        error
    };
    from_error(py, &error, component)
}

pub(crate) fn from_load(py: Python<'_>, error: &LoadError) -> PyErr {
    use symphony_pit_journal::Error as LogError;
    let source = match error {
        LoadError::Log(LogError::Io { source, .. }) | LoadError::Io { source, .. } => Some(source),
        _ => None,
    };
    let full =
        source.is_some_and(|source| matches!(source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)));
    let class = match error {
        LoadError::Library { .. } => "Incompatible",
        LoadError::Twice { .. } | LoadError::Edges { .. } => "Conflict",
        LoadError::Component { .. } => "PitError",
        LoadError::Log(LogError::Held { .. }) => "PitUnavailable",
        LoadError::Poisoned { .. } | LoadError::Log(LogError::Foreign { .. } | LogError::Snapshot { .. }) => {
            "PitCorrupt"
        }
        LoadError::Log(_) | LoadError::Io { .. } => "HostUnavailable",
    };
    let raised = raise(py, class, &error.to_string());
    let hint = match error {
        _ if full => Some(FREE_SPACE),
        LoadError::Poisoned { .. } => Some("symphony doctor shows the log; its records are all there"),
        _ => None,
    };
    if let Some(hint) = hint {
        // As above: without the hint it is still the right error.
        let _ = raised.value(py).setattr("hint", hint);
    }
    raised
}
