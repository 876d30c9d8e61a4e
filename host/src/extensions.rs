//! Types that neither the ABI nor the durable form has a tag for: `symphony.values.codec_extensions` turns them into a name
//! and a plain value, and back. The one table of types for calls and records alike.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use crate::mismatch::{Mismatch, type_name, unknown_type};

/// What stands for a value: a name, a plain value, and the nearest builtin value or None.
pub(crate) struct Reduced<'py> {
    pub name: Bound<'py, PyString>,
    pub plain: Bound<'py, PyAny>,
    pub base: Bound<'py, PyAny>,
}

fn function<'py>(
    py: Python<'py>,
    cache: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    let function = cache.get_or_try_init(py, || {
        py.import("symphony.values.codec_extensions")?.getattr(name).map(Bound::unbind)
    })?;
    Ok(function.bind(py))
}

/// None for a type that the table does not have. Runs authors' code: whoever walks a container holds references.
pub(crate) fn reduce<'py>(value: &Bound<'py, PyAny>) -> Result<Option<Reduced<'py>>, Mismatch> {
    static REDUCE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let found = function(py, &REDUCE, "reduce").and_then(|reduce| {
        let reduced = reduce.call1((value,))?;
        if reduced.is_none() {
            Ok(None)
        } else {
            reduced.cast_into::<PyTuple>().map(Some).map_err(PyErr::from)
        }
    });
    let parts = match found {
        Ok(None) => return Ok(None),
        Ok(Some(parts)) => parts.extract::<(Bound<'py, PyString>, Bound<'py, PyAny>, Bound<'py, PyAny>)>(),
        Err(error) => Err(error),
    };
    let (name, plain, base) = parts.map_err(|error| Mismatch::raised(py, &type_name(value), error))?;
    Ok(Some(Reduced { name, plain, base }))
}

/// As [`reduce`], where a type that the table does not have is refused.
pub(crate) fn must_reduce<'py>(value: &Bound<'py, PyAny>) -> Result<Reduced<'py>, Mismatch> {
    reduce(value)?.ok_or_else(|| unknown_type(value))
}

/// The value that [`reduce`] was given. Imports no class: one that nobody registered comes back as a record.
pub(crate) fn revive<'py>(
    py: Python<'py>,
    name: &str,
    plain: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static REVIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    function(py, &REVIVE, "revive")?.call1((name, plain))
}

/// The bytes of an exact int in two's complement, the lowest first.
pub(crate) fn big_to_bytes<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let bits: usize = value.call_method0("bit_length")?.extract()?;
    let kwargs = pyo3::types::PyDict::new(value.py());
    kwargs.set_item("signed", true)?;
    value.call_method("to_bytes", (bits / 8 + 1, "little"), Some(&kwargs))
}

/// The int of such bytes.
pub(crate) fn big_from_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = pyo3::types::PyDict::new(py);
    kwargs.set_item("signed", true)?;
    let bytes = pyo3::types::PyBytes::new(py, bytes);
    py.get_type::<pyo3::types::PyInt>().call_method("from_bytes", (bytes, "little"), Some(&kwargs))
}
