//! The Python objects of awaitables and their types, made through CPython's C API: `am_send` gives a result without an
//! exception around it, which pyo3's classes cannot.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::slots;
use super::state::{Phase, State, finish};

#[repr(C)]
pub(super) struct Object {
    base: ffi::PyObject,
    pub state: State,
}

struct Types {
    operation: Py<PyAny>,
    stream: Py<PyAny>,
}

fn types(py: Python<'_>) -> PyResult<&'static Types> {
    static TYPES: PyOnceLock<Types> = PyOnceLock::new();
    TYPES.get_or_try_init(py, || {
        let operation = class(
            py,
            c"symphony._host.PitOperation",
            c"What an ASYNC method of a Pit component returns: await it once. Dropped un-awaited, it is cancelled.",
            false,
        )?;
        let stream = class(
            py,
            c"symphony._host.PitStream",
            c"What a STREAM method of a Pit component returns: iterate it by `async for`, and close it by `aclose()`.",
            true,
        )?;
        Ok(Types { operation: operation.unbind(), stream: stream.unbind() })
    })
}

/// A new reference. It is tracked by the garbage collector once it waits: before, it refers to nothing.
pub(super) fn new(py: Python<'_>, state: State) -> PyResult<*mut ffi::PyObject> {
    let types = types(py)?;
    let class = if state.is_stream() { &types.stream } else { &types.operation };
    // SAFETY: instances of both types are `Object`; the header is set by CPython, the rest here.
    unsafe {
        let own = ffi::PyObject_GC_New::<Object>(class.as_ptr().cast());
        if own.is_null() {
            return Err(PyErr::fetch(py));
        }
        (&raw mut (*own).state).write(state);
        Ok(own.cast())
    }
}

// SAFETY (all below): called by CPython, attached, with live instances of the types made here.

unsafe extern "C" fn dealloc(own: *mut ffi::PyObject) {
    let object = own.cast::<Object>();
    unsafe {
        let class = ffi::Py_TYPE(own);
        ffi::PyObject_GC_UnTrack(own.cast());
        finish(object, Phase::Finished);
        ptr::drop_in_place(&raw mut (*object).state);
        ffi::PyObject_GC_Del(own.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn traverse(own: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    unsafe {
        let state = &(*own.cast::<Object>()).state;
        let callbacks = state.callbacks.iter().flat_map(|callback| [callback.function, callback.context]);
        let all = [ffi::Py_TYPE(own).cast(), state.event_loop, state.message].into_iter().chain(callbacks);
        for reference in all.filter(|reference| !reference.is_null()) {
            let found = visit(reference, arg);
            if found != 0 {
                return found;
            }
        }
    }
    0
}

unsafe extern "C" fn clear(own: *mut ffi::PyObject) -> c_int {
    unsafe {
        let references = (*own.cast::<Object>()).state.take_references();
        for reference in references {
            ffi::Py_XDECREF(reference);
        }
    }
    0
}

fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

/// A heap type whose instances are [`Object`]s. It is never freed, nor is what it points to.
fn class<'py>(
    py: Python<'py>,
    name: &'static CStr,
    doc: &'static CStr,
    stream: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let mut slots = vec![
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_doc, doc.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_methods, Box::leak(slots::methods(stream).into_boxed_slice()).as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, Box::leak(slots::attributes().into_boxed_slice()).as_mut_ptr().cast()),
    ];
    slots.extend(slots::protocols(stream).into_iter().map(|(number, function)| slot(number, function)));
    slots.push(slot(0, ptr::null_mut()));
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: c_int::try_from(size_of::<Object>())?,
        itemsize: 0,
        flags: u32::try_from(flags)?,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a well-formed spec; the result is a new reference or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }
}
