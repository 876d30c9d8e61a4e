//! Python's exceptions on their way through a component: they come out as the objects they were.
//!
//! A component sees an error of the fitting kind, with notes and causes. The exception itself waits here, under a number in the
//! error's context, until the error comes out again. A component may also keep the error to itself, so only the last ones wait.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{
    PyException, PyLookupError, PyOSError, PyStopAsyncIteration, PyStopIteration, PyTimeoutError,
    PyValueError,
};
use pyo3::prelude::*;
use symphony_pit_abi::{Error, ErrorKind};

use crate::errors::class_of;

/// The key of the number, which is no note.
const NUMBER: &str = "exception";
/// Exceptions hold the frames they passed through: no more of them than this wait.
const MAX_WAITING: usize = 64;
/// A chain of causes is followed this far.
const MAX_CAUSES: usize = 32;

struct Waiting {
    next: u64,
    exceptions: VecDeque<(u64, PyErr)>,
}

/// Locked for a moment, and only while attached to Python; nothing of Python's runs or is dropped under it.
static WAITING: Mutex<Waiting> = Mutex::new(Waiting { next: 0, exceptions: VecDeque::new() });

/// What Python raised, as a component gets it.
pub(crate) fn enter(py: Python<'_>, raised: &PyErr) -> Error {
    let error = described(py, raised, MAX_CAUSES);
    // Python gives those a meaning of their own wherever they are raised: they stay what the component makes of them.
    let special =
        raised.is_instance_of::<PyStopIteration>(py) || raised.is_instance_of::<PyStopAsyncIteration>(py);
    if special || !raised.is_instance_of::<PyException>(py) {
        return error;
    }
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.next += 1;
    let number = waiting.next;
    waiting.exceptions.push_back((number, raised.clone_ref(py)));
    let forgotten =
        if waiting.exceptions.len() > MAX_WAITING { waiting.exceptions.pop_front() } else { None };
    drop(waiting);
    drop(forgotten);
    error.with(NUMBER, number)
}

/// The exception that an error came in as, if it still waits.
pub(crate) fn leave(error: &Error) -> Option<PyErr> {
    let (_, number) = error.context.iter().find(|(key, _)| is_number(key))?;
    let number: u64 = number.parse().ok()?;
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let at = waiting.exceptions.iter().position(|(known, _)| *known == number)?;
    waiting.exceptions.remove(at).map(|(_, raised)| raised)
}

pub(crate) fn is_number(key: &str) -> bool {
    key == NUMBER
}

fn described(py: Python<'_>, raised: &PyErr, left: usize) -> Error {
    let class =
        raised.get_type(py).fully_qualified_name().map_or_else(|_| "?".into(), |name| name.to_string());
    let mut error = Error::new(kind(py, raised, &class), raised.value(py).to_string());
    error = error.with("raised by the engine", class);
    let notes = raised.value(py).getattr("__notes__").and_then(|notes| notes.extract::<Vec<String>>());
    for note in notes.unwrap_or_default() {
        error = error.with("note", note);
    }
    let cause = raised.cause(py).filter(|_| left > 0);
    error.source = cause.map(|cause| Box::new(described(py, &cause, left - 1)));
    error
}

/// The kind whose class it is, or the one of the builtin class that comes nearest.
fn kind(py: Python<'_>, raised: &PyErr, class: &str) -> ErrorKind {
    let own = class.strip_prefix("symphony.errors.");
    let known = (1..=12).map(ErrorKind::from_status).find(|kind| own == Some(class_of(*kind)));
    known.unwrap_or_else(|| {
        if raised.is_instance_of::<PyTimeoutError>(py) {
            ErrorKind::TimedOut
        } else if raised.is_instance_of::<PyLookupError>(py) {
            ErrorKind::NotFound
        } else if raised.is_instance_of::<PyValueError>(py) {
            ErrorKind::InvalidArgument
        } else if raised.is_instance_of::<PyOSError>(py) {
            ErrorKind::Io
        } else {
            ErrorKind::Internal
        }
    })
}
