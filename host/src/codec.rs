//! The durable form of Python values: a tag byte, then the content; numbers as LEB128, containers with their count in front.
//!
//! `decode(encode(x))` has the type and value of `x`. Equal values give equal bytes, also for sets, since the bytes serve as
//! fingerprints. What is no builtin goes through `crate::extensions`; nothing is imported while decoding.

mod reading;
mod writing;

use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::{ending, errors};

/// The durable form of a value. Raises ConversionError, which names the path to what has none.
#[pyfunction]
pub(crate) fn encode<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let _inside = ending::enter(py)?;
    let bytes = writing::write(value).map_err(|mismatch| mismatch.raise(py, ""))?;
    Ok(PyBytes::new(py, &bytes))
}

/// The value that `encode` was given. Classes that nobody registered come back as `symphony.values.Record`. Raises
/// `TypeMissing` where a plugin that is not loaded has the codec of a value, ValueError for other bytes.
#[pyfunction]
pub(crate) fn decode<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let _inside = ending::enter(py)?;
    reading::read(py, data).map_err(|error| {
        // What is no error at all, such as a KeyboardInterrupt, passes as it is.
        if !error.is_instance_of::<PyException>(py)
            || error.get_type(py).is(py.get_type::<PyValueError>())
            || errors::is(py, &error, "TypeMissing")
        {
            return error;
        }
        let raised = PyValueError::new_err(format!("the encoded value cannot be read: {error}"));
        raised.set_cause(py, Some(error));
        raised
    })
}
