//! Why a value cannot cross the bridge: the path to it, and what was expected and found there.

use std::fmt::Write;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};

use crate::errors;

/// A key longer than this is cut off in a path.
const MAX_KEY: usize = 60;
/// Of a longer path so many parts are shown at each end.
const SHOWN_PARTS: usize = 8;

/// `path` is innermost first: every container that the refusal passes on its way out adds its part.
pub struct Mismatch {
    path: Vec<String>,
    what: String,
    /// What Python code raised on the way: an author's codec, a property, a buffer.
    cause: Option<PyErr>,
}

impl Mismatch {
    pub fn new(what: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into(), cause: None }
    }

    /// Python code raised while it was asked for what stands for a value.
    pub fn raised(py: Python<'_>, kind: &str, error: PyErr) -> Self {
        let name = error.get_type(py).name().map_or_else(|_| String::new(), |name| name.to_string());
        Self {
            cause: Some(error),
            ..Self::new(format!("a value of type {kind} raised {name} as it was read"))
        }
    }

    #[must_use]
    pub fn inside(mut self, place: String) -> Self {
        self.path.push(place);
        self
    }

    #[must_use]
    pub fn at(self, index: usize) -> Self {
        self.inside(format!("[{index}]"))
    }

    /// The path through an extension: what stands for it lies behind its name or class, and fields show as attributes.
    #[must_use]
    pub fn through(mut self, extension: &str) -> Self {
        if matches!(extension, "record" | "typed") {
            self.path.pop();
        }
        if let (true, Some(last)) = (extension == "record", self.path.last_mut()) {
            *last = format!(".{}", last.trim_matches(['[', ']', '\'']));
        }
        self
    }

    /// `steps[3].timeout: expected …`, with the name of the whole value in front.
    pub fn message(&self, name: &str) -> String {
        let mut text = name.to_owned();
        let (shown, end) = (SHOWN_PARTS, self.path.len().saturating_sub(SHOWN_PARTS));
        for (depth, place) in self.path.iter().rev().enumerate() {
            if depth < shown || depth >= end {
                text.push_str(place);
            } else if depth == shown {
                let _ = write!(text, "…{} more…", end - shown); // as below
            }
        }
        let joint = if text.is_empty() { "" } else { ": " };
        let _ = write!(text, "{joint}{}", self.what); // writing to a String cannot fail
        text
    }

    /// The exception, from what Python code raised. What is no error, such as a
    /// `KeyboardInterrupt`, passes as it is.
    pub fn raise(self, py: Python<'_>, name: &str) -> PyErr {
        let text = self.message(name);
        let cause = match self.cause {
            Some(error) if !error.is_instance_of::<PyException>(py) => return error,
            cause => cause,
        };
        let raised = errors::raise(py, "ConversionError", &text);
        raised.set_cause(py, cause);
        raised
    }
}

/// A key as it stands in a path. Only the builtin ones are asked for their text: others would run their authors' code.
pub(crate) fn key_place(key: &Bound<'_, PyAny>) -> String {
    let builtin = key.is_none()
        || key.is_exact_instance_of::<PyString>()
        || key.is_exact_instance_of::<PyInt>()
        || key.is_exact_instance_of::<PyBool>()
        || key.is_exact_instance_of::<PyFloat>()
        || key.is_exact_instance_of::<PyBytes>();
    let shown = builtin.then(|| key.repr().ok().map(|text| text.to_string_lossy().into_owned())).flatten();
    let shown = shown.unwrap_or_else(|| type_name(key));
    match shown.char_indices().nth(MAX_KEY) {
        Some((end, _)) => format!("[{}…]", &shown[..end]),
        None => format!("[{shown}]"),
    }
}

/// Said of a container that an author's code, or another thread, changed meanwhile.
pub(crate) fn changed() -> Mismatch {
    Mismatch::new("changed its size while it was read")
}

/// The name of a value's true type, whatever its `__class__` says.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value
        .get_type()
        .name()
        .map_or_else(|_| "an unknown type".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What is said of a type that no row of the table has: a subclass of a builtin would come back as another type.
pub(crate) fn unknown_type(value: &Bound<'_, PyAny>) -> Mismatch {
    let name = type_name(value);
    let base = [
        ("str", value.is_instance_of::<PyString>()),
        ("int", value.is_instance_of::<PyInt>()),
        ("float", value.is_instance_of::<PyFloat>()),
        ("bytes", value.is_instance_of::<PyBytes>()),
        ("list", value.is_instance_of::<pyo3::types::PyList>()),
        ("tuple", value.is_instance_of::<pyo3::types::PyTuple>()),
        ("dict", value.is_instance_of::<pyo3::types::PyDict>()),
        ("set", value.is_instance_of::<pyo3::types::PySet>()),
    ];
    let base = base.into_iter().find(|(_, is)| *is).map(|(base, _)| base);
    Mismatch::new(match base {
        Some(base) => format!(
            "{name} is a subclass of {base} and would come back as another type: pass {base}(...), or register it with \
             symphony.register_types"
        ),
        None => format!("a value of type {name} cannot cross: see symphony.register_types"),
    })
}
