//! What the hot path needs of Python, looked up once.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use crate::ending;

pub(super) struct Known {
    pub running_loop: Py<PyAny>,
    pub cancelled: Py<PyAny>,
    pub invalid_state: Py<PyAny>,
    pub call_soon: Py<PyString>,
    /// The names of keyword arguments: `("context",)`.
    pub context: Py<PyTuple>,
    pub context_name: Py<PyString>,
    /// Event loop to its [`Entry`](super::event_loop::Entry), as long as there is the loop.
    pub entries: Py<PyAny>,
}

pub(super) fn known(py: Python<'_>) -> PyResult<&'static Known> {
    static KNOWN: PyOnceLock<Known> = PyOnceLock::new();
    KNOWN.get_or_try_init(py, || {
        let asyncio = py.import("asyncio")?;
        Ok(Known {
            running_loop: asyncio.getattr("_get_running_loop")?.unbind(),
            cancelled: asyncio.getattr("CancelledError")?.unbind(),
            invalid_state: asyncio.getattr("InvalidStateError")?.unbind(),
            call_soon: PyString::intern(py, "call_soon").unbind(),
            context: PyTuple::new(py, [PyString::intern(py, "context")])?.unbind(),
            context_name: PyString::intern(py, "context").unbind(),
            entries: py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?.unbind(),
        })
    })
}

impl Known {
    /// `event_loop.call_soon(callback, argument, context=context)`; without a context, the current one.
    pub fn call_soon(
        &self,
        py: Python<'_>,
        event_loop: *mut ffi::PyObject,
        callback: *mut ffi::PyObject,
        argument: *mut ffi::PyObject,
        context: *mut ffi::PyObject,
    ) -> PyResult<()> {
        let Ok(_inside) = ending::enter(py) else { return Ok(()) };
        let mut args = [event_loop, callback, argument, context];
        let names = if context.is_null() { std::ptr::null_mut() } else { self.context.as_ptr() };
        // SAFETY: live objects, borrowed for the call: the loop, two arguments, and the one that is named.
        unsafe {
            let handle = ffi::PyObject_VectorcallMethod(self.call_soon.as_ptr(), args.as_mut_ptr(), 3, names);
            Bound::from_owned_ptr_or_err(py, handle).map(drop)
        }
    }
}
