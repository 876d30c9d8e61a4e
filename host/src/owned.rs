//! Results that live on after the call: bytes that Python reads where they lie, and handles.
#![allow(unsafe_code)] // the buffer protocol, and results of components that are released later

use std::ffi::c_int;
use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use symphony_pit_abi::{RawValue, Returned, Tag};

use crate::pit_api::Component;

/// A result that is released with its last use, and its component, whose code releases it.
struct Owned {
    returned: Returned,
    component: Arc<Component>,
}

// SAFETY: the ABI demands that a result may be read and released on any thread.
unsafe impl Send for Owned {}
// SAFETY: as above; it is only read.
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        if symphony_pit_journal::forked() {
            return; // what it would give back is the parent's
        }
        // SAFETY: released once, not read afterwards.
        unsafe { self.returned.release() };
    }
}

/// What a memoryview of a result keeps alive.
#[pyclass(frozen, module = "symphony._host")]
struct PitBuffer(Owned);

#[pymethods]
impl PitBuffer {
    #[expect(clippy::needless_pass_by_value, reason = "as PyO3 calls it")]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("content is immutable"));
        }
        // SAFETY: a buffer result holds a span; the view owns a reference to this object until it is released.
        unsafe {
            let span = slf.get().0.returned.value.data.span;
            let start = if span.len == 0 { c"".as_ptr().cast_mut().cast() } else { span.ptr.cast_mut() };
            if ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, span.len.cast_signed(), 1, flags) == -1 {
                return Err(PyErr::fetch(slf.py()));
            }
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "as PyO3 calls it")]
    const unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {}
}

/// Something that a component keeps for its caller: given back to its methods; let go when it is collected.
#[pyclass(frozen, module = "symphony._host")]
pub(crate) struct Handle(Owned);

impl Handle {
    fn number(&self) -> u64 {
        // SAFETY: a handle result holds a number.
        unsafe { self.0.returned.value.data.uint }
    }

    pub(crate) fn raw(&self) -> RawValue {
        RawValue { tag: Tag::Handle as u32, ..RawValue::uint(self.number()) }
    }
}

#[pymethods]
impl Handle {
    fn __index__(&self) -> u64 {
        self.number()
    }

    fn __repr__(&self) -> String {
        format!("<Handle {} of {}>", self.number(), self.0.component.description.id())
    }
}

/// The Python object of a result that lives on, or the result back where it does not.
pub(crate) fn object(
    py: Python<'_>,
    returned: Returned,
    component: &Arc<Component>,
) -> PyResult<Result<*mut ffi::PyObject, Returned>> {
    let tag = returned.value.tag;
    if tag != Tag::Buffer as u32 && tag != Tag::Handle as u32 {
        return Ok(Err(returned));
    }
    let owned = Owned { returned, component: Arc::clone(component) };
    if tag == Tag::Handle as u32 {
        return Ok(Ok(Py::new(py, Handle(owned))?.into_ptr()));
    }
    let buffer = Py::new(py, PitBuffer(owned))?;
    // SAFETY: attached; an object with the buffer protocol. A new reference, or null with an exception.
    let view = unsafe { ffi::PyMemoryView_FromObject(buffer.as_ptr()) };
    if view.is_null() { Err(PyErr::fetch(py)) } else { Ok(Ok(view)) }
}

/// The handle behind a Python object, if it is one.
///
/// # Safety
/// `object` is live; the caller is attached to Python.
pub(crate) unsafe fn handle(object: *mut ffi::PyObject) -> Option<RawValue> {
    // SAFETY: promised by the caller.
    let any = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), object) };
    any.cast::<Handle>().ok().map(|handle| handle.get().raw())
}
