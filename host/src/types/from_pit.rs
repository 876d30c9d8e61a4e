//! From Pit values to Python objects.
#![allow(unsafe_code)] // CPython's C API and the ABI's unions

use std::ffi::c_char;
use std::ptr;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use symphony_pit_abi::{RawValue, Span, Tag, ValueRef};

use super::MAX_DEPTH;
use super::keys::Keys;
use crate::ending::attached;
use crate::extensions;

/// The object of a scalar that no one has to release: a new reference, or null with an exception. None for the rest, which
/// [`from_raw`] reads.
///
/// # Safety
/// As for [`from_raw`].
#[inline]
pub(crate) unsafe fn scalar_object(raw: &RawValue) -> Option<*mut ffi::PyObject> {
    // SAFETY: promised by the caller; the tag says which field is set.
    unsafe {
        Some(match raw.tag {
            0 => {
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                none
            }
            1 => ffi::PyBool_FromLong((raw.data.uint & 0xff).try_into().unwrap_or(1)),
            2 => ffi::PyLong_FromLongLong(raw.data.int),
            3 => ffi::PyLong_FromUnsignedLongLong(raw.data.uint),
            4 => ffi::PyFloat_FromDouble(raw.data.float),
            _ => return None,
        })
    }
}

/// A new reference, or null with an exception set.
///
/// # Safety
/// `raw` is well formed; attached to Python.
pub unsafe fn from_raw(raw: &RawValue) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller.
    unsafe { object(raw, 0, &mut Keys::default()) }
}

/// # Safety
/// As [`from_raw`]; the value is a part of what `keys` belongs to.
unsafe fn object(raw: &RawValue, depth: usize, keys: &mut Keys) -> *mut ffi::PyObject {
    if depth > MAX_DEPTH {
        // SAFETY: attached; a static message.
        unsafe { ffi::PyErr_SetString(ffi::PyExc_ValueError, c"a result is nested too deep".as_ptr()) };
        return ptr::null_mut();
    }
    // SAFETY (whole block): the tag says which field is set, spans hold what the component promised.
    unsafe {
        if let Some(object) = scalar_object(raw) {
            return object;
        }
        match raw.tag {
            5 => text(raw.data.span),
            6 | 9 => {
                let span = raw.data.span;
                ffi::PyBytes_FromStringAndSize(span.ptr.cast::<c_char>(), span.len.cast_signed())
            }
            7 | 10 => list_like(raw, depth, keys),
            8 => dict(raw, depth, keys),
            12 | 13 => rare(raw, depth, keys),
            _ => {
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                none
            }
        }
    }
}

/// # Safety
/// As [`from_raw`], with the span of a text.
pub(super) unsafe fn text(span: Span) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller.
    unsafe { ffi::PyUnicode_DecodeUTF8(span.ptr.cast::<c_char>(), span.len.cast_signed(), ptr::null()) }
}

/// # Safety
/// As [`object`], with a list of any kind.
unsafe fn list_like(raw: &RawValue, depth: usize, keys: &mut Keys) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller.
    unsafe {
        let span = raw.data.span;
        let list = ffi::PyList_New(span.len.cast_signed());
        if list.is_null() {
            return list;
        }
        for index in 0..span.len {
            let item = object(&*span.ptr.cast::<RawValue>().add(index), depth + 1, keys);
            if item.is_null() {
                ffi::Py_DECREF(list);
                return ptr::null_mut();
            }
            ffi::PyList_SetItem(list, index.cast_signed(), item);
        }
        let other = match (raw.tag, raw.kind) {
            (7, 1) => ffi::PyList_AsTuple(list),
            (7, 2) => ffi::PySet_New(list),
            (7, 3) => ffi::PyFrozenSet_New(list),
            _ => return list,
        };
        ffi::Py_DECREF(list);
        other
    }
}

/// # Safety
/// As [`object`], with a map.
unsafe fn dict(raw: &RawValue, depth: usize, keys: &mut Keys) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller.
    unsafe {
        let span = raw.data.span;
        let dict = ffi::PyDict_New();
        for pair in 0..span.len {
            let key = &*span.ptr.cast::<RawValue>().add(2 * pair);
            // Other maps of the same result are likely to have the same keys; there are none beside the outermost.
            let key = if key.tag == Tag::Str as u32 && depth > 0 {
                keys.key(key.data.span)
            } else {
                object(key, depth + 1, keys)
            };
            let value = if key.is_null() {
                ptr::null_mut()
            } else {
                object(&*span.ptr.cast::<RawValue>().add(2 * pair + 1), depth + 1, keys)
            };
            let failed = key.is_null() || value.is_null() || ffi::PyDict_SetItem(dict, key, value) != 0;
            ffi::Py_XDECREF(key);
            ffi::Py_XDECREF(value);
            if failed {
                ffi::Py_DECREF(dict);
                return ptr::null_mut();
            }
        }
        dict
    }
}

/// # Safety
/// As [`object`], with a big int or an extension.
#[cold]
unsafe fn rare(raw: &RawValue, depth: usize, keys: &mut Keys) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller.
    unsafe {
        attached(|py| match rare_object(py, raw, depth, keys) {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        })
    }
}

/// # Safety
/// As [`rare`].
unsafe fn rare_object<'py>(
    py: Python<'py>,
    raw: &RawValue,
    depth: usize,
    keys: &mut Keys,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: promised by the caller; an extension has a second value, which `as_extension` has seen.
    unsafe {
        let view = ValueRef::new(raw);
        match (view.as_big(), view.as_extension()) {
            (Some(bytes), _) => extensions::big_from_bytes(py, bytes),
            (None, Some((name, _))) => {
                let plain = &*raw.data.span.ptr.cast::<RawValue>().add(1);
                let plain = Bound::from_owned_ptr_or_err(py, object(plain, depth + 1, keys))?;
                extensions::revive(py, name, plain)
            }
            (None, None) => Err(PyValueError::new_err("a result is an extension without a name")),
        }
    }
}
