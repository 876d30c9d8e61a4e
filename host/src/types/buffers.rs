//! Objects with the buffer protocol as bytes: where they lie, or a copy where they cannot be read there.
#![allow(unsafe_code)] // the buffer protocol

use std::ffi::{CStr, c_char};
use std::mem::zeroed;

use pyo3::ffi;
use pyo3::prelude::*;
use symphony_pit_abi::{RawValue, Tag};

use super::arena::Arena;
use crate::mismatch::{Mismatch, type_name, unknown_type};

/// The bytes of a buffer. Pinned until the call is over, so that nobody resizes it; copied where it is not in one piece, or
/// may be written to while the call runs detached from Python.
///
/// # Safety
/// `object` has the buffer protocol and is live for the call; attached to Python.
pub(super) unsafe fn buffer(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    arena: &mut Arena,
    detached: bool,
) -> Result<RawValue, Mismatch> {
    // SAFETY (whole function): promised by the caller; the view is released once, by the arena or here.
    unsafe {
        let any = Bound::from_borrowed_ptr(py, object);
        let mut view: Box<ffi::Py_buffer> = Box::new(zeroed());
        if ffi::PyObject_GetBuffer(object, &raw mut *view, ffi::PyBUF_FULL_RO) != 0 {
            return Err(Mismatch::raised(py, &type_name(&any), PyErr::fetch(py)));
        }
        if holds_objects(view.format) {
            ffi::PyBuffer_Release(&raw mut *view);
            return Err(unknown_type(&any));
        }
        let whole = ffi::PyBuffer_IsContiguous(&raw const *view, b'C'.cast_signed()) != 0;
        if whole && (view.readonly != 0 || !detached) {
            let value = RawValue::span(Tag::Bytes, view.buf, view.len.unsigned_abs());
            arena.pin(view);
            return Ok(value);
        }
        let copy = ffi::PyBytes_FromObject(object);
        ffi::PyBuffer_Release(&raw mut *view);
        if copy.is_null() {
            return Err(Mismatch::raised(py, &type_name(&any), PyErr::fetch(py)));
        }
        arena.adopt(copy);
        let start = ffi::PyBytes_AsString(copy).cast_const().cast();
        Ok(RawValue::span(Tag::Bytes, start, ffi::PyBytes_Size(copy).unsigned_abs()))
    }
}

/// Whether items are references to objects, by the format of the struct module: letters outside of field names.
///
/// # Safety
/// `format` is null or text.
unsafe fn holds_objects(format: *const c_char) -> bool {
    if format.is_null() {
        return false;
    }
    // SAFETY: promised by the caller.
    let format = unsafe { CStr::from_ptr(format) }.to_bytes();
    format.split(|letter| *letter == b':').step_by(2).any(|part| part.contains(&b'O'))
}
