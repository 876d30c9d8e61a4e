//! Keyword arguments and defaults, and errors worded as CPython's own.

use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::method::{Parameter, Target};
use crate::pit_api::MAX_PARAMS;

/// The arguments in the order of the parameters: borrowed from the caller, and from the defaults.
///
/// # Safety
/// Attached to Python; `count` arguments at `args`, and one more for each of `names`, a tuple of str or null.
pub(super) unsafe fn bind(
    py: Python<'_>,
    target: &Target,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<[*mut ffi::PyObject; MAX_PARAMS]> {
    let (name, parameters) = (target.method.name(), &target.parameters);
    // SAFETY: promised by the caller.
    let keywords = if names.is_null() { 0 } else { unsafe { ffi::PyTuple_Size(names) } };
    if count > parameters.len() {
        return Err(too_many(name, parameters.len(), count + keywords.unsigned_abs()));
    }
    let mut objects = [ptr::null_mut(); MAX_PARAMS];
    // SAFETY: promised by the caller.
    unsafe {
        for (index, slot) in objects.iter_mut().enumerate().take(count) {
            *slot = *args.add(index);
        }
        for index in 0..keywords {
            let keyword = Bound::from_borrowed_ptr(py, ffi::PyTuple_GetItem(names, index));
            let at = position(parameters, &keyword)?.ok_or_else(|| {
                PyTypeError::new_err(format!("{name}() got an unexpected keyword argument '{keyword}'"))
            })?;
            if !objects[at].is_null() {
                let message = format!("{name}() got multiple values for argument '{}'", parameters[at].text);
                return Err(PyTypeError::new_err(message));
            }
            objects[at] = *args.add(count + index.unsigned_abs());
        }
    }
    for (at, (slot, parameter)) in objects.iter_mut().zip(parameters).enumerate() {
        if slot.is_null() {
            let default = parameter.default.as_ref().ok_or_else(|| {
                let missing =
                    format!("{name}() missing required argument: '{}' (pos {})", parameter.text, at + 1);
                PyTypeError::new_err(missing)
            })?;
            *slot = default.as_ptr();
        }
    }
    Ok(objects)
}

/// Names in source code are interned, as the parameters' are; others are compared as text.
fn position(parameters: &[Parameter], keyword: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    let same = |parameter: &Parameter| parameter.name.as_ptr() == keyword.as_ptr();
    if let Some(at) = parameters.iter().position(same) {
        return Ok(Some(at));
    }
    let keyword: std::borrow::Cow<'_, str> = keyword.extract()?;
    Ok(parameters.iter().position(|parameter| parameter.text == keyword))
}

fn too_many(name: &str, most: usize, given: usize) -> PyErr {
    PyTypeError::new_err(match most {
        0 => format!("{name}() takes no arguments ({given} given)"),
        1 => format!("{name}() takes at most 1 argument ({given} given)"),
        _ => format!("{name}() takes at most {most} arguments ({given} given)"),
    })
}
