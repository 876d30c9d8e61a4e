//! Errors on their way to Python: classes of `symphony.errors`, context pairs as notes.
#![allow(unsafe_code)] // reads a component's error result

use std::any::Any;

use pyo3::prelude::*;
use symphony_pit_abi::{Error, ErrorKind, Returned};

use crate::failure::FREE_SPACE;
use crate::passing;
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

/// Whether an exception is of a class of `symphony.errors`.
pub(crate) fn is(py: Python<'_>, error: &PyErr, class: &str) -> bool {
    let class = py.import("symphony.errors").and_then(|module| module.getattr(class));
    class.is_ok_and(|class| error.is_instance(py, &class))
}

pub(crate) const fn class_of(kind: ErrorKind) -> &'static str {
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
        ErrorKind::WrongType => "PitWrongType",
    }
}

pub(crate) fn from_error(py: Python<'_>, error: &Error, component: &Description) -> PyErr {
    if let Some(own) = passing::leave(error) {
        return own;
    }
    let raised = raise_one(py, error);
    if error.kind == ErrorKind::Panic {
        note(py, &raised, &format!("component: {}", component.id()));
    }
    let mut last = raised.clone_ref(py);
    for cause in std::iter::successors(error.source.as_deref(), |error| error.source.as_deref()) {
        let own = passing::leave(cause);
        let whole = own.is_some(); // it has its causes with it
        let next = own.unwrap_or_else(|| raise_one(py, cause));
        last.set_cause(py, Some(next.clone_ref(py)));
        if whole {
            break;
        }
        last = next;
    }
    raised
}

/// The exception of one link of the chain, its context as notes.
fn raise_one(py: Python<'_>, error: &Error) -> PyErr {
    let raised = raise(py, class_of(error.kind), &error.message);
    for (key, value) in &error.context {
        match (error.kind, key.as_str(), value.parse::<i32>()) {
            // An OSError has a place of its own for it; without it, it is still the right error.
            (ErrorKind::Io, "errno", Ok(code)) => drop(raised.value(py).setattr("errno", code)),
            _ if passing::is_number(key) => {}
            _ => note(py, &raised, &format!("{key}: {value}")),
        }
    }
    raised
}

fn note(py: Python<'_>, raised: &PyErr, text: &str) {
    // A note that cannot be added must not hide the error itself.
    let _ = raised.value(py).call_method1("add_note", (text,));
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

/// The exception for a panic of the bridge's own code.
pub(crate) fn from_panic(py: Python<'_>, payload: &(dyn Any + Send)) -> PyErr {
    let error = Error::panicked(payload);
    let raised = raise_one(py, &error);
    note(py, &raised, "component: the bridge");
    raised
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
        LoadError::Poisoned { .. }
        | LoadError::Incomplete { .. }
        | LoadError::Log(LogError::Foreign { .. } | LogError::Snapshot { .. } | LogError::Begin { .. }) => {
            "PitCorrupt"
        }
        LoadError::Log(_) | LoadError::Io { .. } => "HostUnavailable",
    };
    let raised = raise(py, class, &error.to_string());
    let hint = match error {
        _ if full => Some(FREE_SPACE),
        LoadError::Poisoned { .. } => Some("symphony doctor shows the log; its records are all there"),
        LoadError::Incomplete { .. } => Some(
            "bring the folder pit of the home back from a copy, or move it away to begin anew: finished runs stay in the history",
        ),
        _ => None,
    };
    if let Some(hint) = hint {
        // As above: without the hint it is still the right error.
        let _ = raised.value(py).setattr("hint", hint);
    }
    raised
}
