//! The functions by which CPython calls an awaitable, and their tables.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::ffi::PySendResult::{self, PYGEN_ERROR, PYGEN_NEXT, PYGEN_RETURN};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::known::known;
use super::object::Object;
use super::operation::{Step, advance};
use super::protocol;
use super::state::Phase;
use crate::ending::attached;

// SAFETY (all below): called by CPython, attached, with live instances of the types made in `object`.

/// The outcome of a body, or none with its error set.
fn guarded<T>(body: impl FnOnce(Python<'_>) -> PyResult<T>) -> Option<T> {
    // SAFETY: called by CPython, attached.
    let outcome = catch_unwind(AssertUnwindSafe(|| body(unsafe { Python::assume_attached() })));
    let error = match outcome {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(error)) => error,
        Err(_) => PyRuntimeError::new_err("the bridge panicked"),
    };
    // SAFETY: as above.
    unsafe { attached(|py| error.restore(py)) };
    None
}

unsafe extern "C" fn send_slot(
    own: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> PySendResult {
    let step = guarded(|py| unsafe { advance(py, own.cast()) });
    let (object, answer) = match step {
        Some(Step::Yield(object)) => (object, PYGEN_NEXT),
        Some(Step::Return(object)) => (object, PYGEN_RETURN),
        None => (ptr::null_mut(), PYGEN_ERROR),
    };
    unsafe { *result = object };
    answer
}

unsafe extern "C" fn iternext(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    unsafe { stepped(|py| advance(py, own.cast())) }
}

/// What is yielded, or null with an exception: for a result, the `StopIteration` that carries it.
unsafe fn stepped(body: impl FnOnce(Python<'_>) -> PyResult<Step>) -> *mut ffi::PyObject {
    match guarded(body) {
        Some(Step::Yield(object)) => return object,
        Some(Step::Return(object)) => unsafe {
            // A tuple would be taken for several arguments, an exception for the error itself.
            if ffi::PyTuple_Check(object) != 0 || ffi::PyExceptionInstance_Check(object) != 0 {
                let raised = ffi::PyObject_CallOneArg(ffi::PyExc_StopIteration, object);
                if !raised.is_null() {
                    ffi::PyErr_SetObject(ffi::PyExc_StopIteration, raised);
                    ffi::Py_DECREF(raised);
                }
            } else {
                ffi::PyErr_SetObject(ffi::PyExc_StopIteration, object);
            }
            ffi::Py_DECREF(object);
        },
        None => {}
    }
    ptr::null_mut()
}

unsafe extern "C" fn itself(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    unsafe { ffi::Py_NewRef(own) }
}

unsafe extern "C" fn send(own: *mut ffi::PyObject, _value: *mut ffi::PyObject) -> *mut ffi::PyObject {
    unsafe { iternext(own) }
}

unsafe extern "C" fn throw(own: *mut ffi::PyObject, args: *mut ffi::PyObject) -> *mut ffi::PyObject {
    unsafe {
        stepped(|py| {
            let args = Bound::from_borrowed_ptr(py, args);
            protocol::throw(py, own.cast(), args.cast::<PyTuple>()?)
        })
    }
}

/// Methods without arguments.
macro_rules! plain {
    ($($name:ident => $body:path),+ $(,)?) => {$(
        unsafe extern "C" fn $name(own: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
            guarded(|py| unsafe { $body(py, own.cast()) }).unwrap_or(ptr::null_mut())
        }
    )+};
}
plain! {
    close => protocol::close,
    is_cancelled => protocol::is_cancelled,
    done => protocol::done,
    result => protocol::result,
    get_loop => protocol::get_loop,
    close_stream => protocol::close_stream,
}

unsafe extern "C" fn next_item(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guarded(|py| unsafe { protocol::next_item(py, own.cast()) }).unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn remove(own: *mut ffi::PyObject, function: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let answer = guarded(|py| unsafe {
        protocol::remove_done_callback(py, own.cast(), &Bound::from_borrowed_ptr(py, function))
    });
    answer.unwrap_or(ptr::null_mut())
}

/// Positional arguments, and one by keyword.
type Given<'py> = (Vec<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// The positional arguments, and the one keyword that these methods know.
unsafe fn arguments<'py>(
    py: Python<'py>,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    known: &str,
) -> PyResult<Given<'py>> {
    let count = count.unsigned_abs();
    let positional = (0..count).map(|at| unsafe { Bound::from_borrowed_ptr(py, *args.add(at)) }).collect();
    if names.is_null() {
        return Ok((positional, None));
    }
    let names = unsafe { Bound::from_borrowed_ptr(py, names) }.cast_into::<PyTuple>()?;
    if names.len() != 1 || !names.get_item(0)?.eq(known)? {
        return Err(PyTypeError::new_err(format!("expected no keyword but {known}, got {names}")));
    }
    Ok((positional, Some(unsafe { Bound::from_borrowed_ptr(py, *args.add(count)) })))
}

unsafe extern "C" fn cancel(
    own: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let answer = guarded(|py| unsafe {
        let (positional, message) = arguments(py, args, count, names, "msg")?;
        protocol::cancel(py, own.cast(), message.as_ref().or(positional.first()))
    });
    answer.unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn add(
    own: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let answer = guarded(|py| unsafe {
        // As a task calls it: without another look at the names.
        if count == 1
            && !names.is_null()
            && ffi::PyTuple_Size(names) == 1
            && ffi::PyTuple_GetItem(names, 0) == known(py)?.context_name.as_ptr()
        {
            let (function, context) =
                (Bound::from_borrowed_ptr(py, *args), Bound::from_borrowed_ptr(py, *args.add(1)));
            return protocol::add_done_callback(py, own.cast(), &function, Some(&context));
        }
        let (positional, context) = arguments(py, args, count, names, "context")?;
        let [function] = &positional[..] else {
            return Err(PyTypeError::new_err("add_done_callback() takes one function"));
        };
        protocol::add_done_callback(py, own.cast(), function, context.as_ref())
    });
    answer.unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn repr(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let text = guarded(|py| {
        let state = unsafe { &(*own.cast::<Object>()).state };
        let kind = if state.is_stream() { "PitStream" } else { "PitOperation" };
        let phase = format!("{:?}", state.phase).to_lowercase();
        Ok(PyString::new(py, &format!("<{kind} {}() {phase}>", state.name())).into_ptr())
    });
    text.unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn name(own: *mut ffi::PyObject, qualified: *mut c_void) -> *mut ffi::PyObject {
    let text = guarded(|py| {
        let state = unsafe { &(*own.cast::<Object>()).state };
        let name = if qualified.is_null() { state.method.name().to_owned() } else { state.name() };
        Ok(PyString::new(py, &name).into_ptr())
    });
    text.unwrap_or(ptr::null_mut())
}

/// None while nobody waits: then asyncio takes it for a coroutine, and makes a task of it.
unsafe extern "C" fn blocking(own: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    unsafe {
        let state = &(*own.cast::<Object>()).state;
        if state.event_loop.is_null() || matches!(state.phase, Phase::Idle | Phase::Finished) {
            return ffi::Py_NewRef(ffi::Py_None());
        }
        ffi::PyBool_FromLong(state.blocking.into())
    }
}

unsafe extern "C" fn set_blocking(
    own: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _: *mut c_void,
) -> c_int {
    unsafe {
        (*own.cast::<Object>()).state.blocking = !value.is_null() && ffi::PyObject_IsTrue(value) == 1;
    }
    0
}

const fn method(
    name: &'static CStr,
    ml_meth: ffi::PyMethodDefPointer,
    flags: c_int,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth, ml_flags: flags, ml_doc: doc.as_ptr() }
}

/// The method table, with the zero entry that ends it.
pub(super) fn methods(stream: bool) -> Vec<ffi::PyMethodDef> {
    let simple = |function| ffi::PyMethodDefPointer { PyCFunction: function };
    let named = |function| ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function };
    let keywords = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    let mut all = vec![
        method(c"send", simple(send), ffi::METH_O, c"Poll the operation, as a coroutine's send."),
        method(c"throw", simple(throw), ffi::METH_VARARGS, c"Drop the operation, then raise the exception."),
        method(c"close", simple(close), ffi::METH_NOARGS, c"Drop the operation."),
        method(c"cancel", named(cancel), keywords, c"Drop the operation; whoever awaits it is cancelled."),
        method(c"cancelled", simple(is_cancelled), ffi::METH_NOARGS, c"Whether it was cancelled."),
        method(c"done", simple(done), ffi::METH_NOARGS, c"Whether whoever awaits it may go on."),
        method(c"result", simple(result), ffi::METH_NOARGS, c"None once done. Raises CancelledError."),
        method(c"exception", simple(result), ffi::METH_NOARGS, c"None once done. Raises CancelledError."),
        method(c"get_loop", simple(get_loop), ffi::METH_NOARGS, c"The loop that it is awaited on."),
        method(c"add_done_callback", named(add), keywords, c"Call a function, in the loop, once done."),
        method(c"remove_done_callback", simple(remove), ffi::METH_O, c"How many callbacks were removed."),
    ];
    if stream {
        all.push(method(c"aclose", simple(close_stream), ffi::METH_NOARGS, c"Drop the stream. Awaitable."));
    }
    all.push(ffi::PyMethodDef::zeroed());
    all
}

/// The attributes, with the zero entry that ends them.
pub(super) fn attributes() -> Vec<ffi::PyGetSetDef> {
    let attribute = |attribute: &'static CStr, get, set, closure| ffi::PyGetSetDef {
        name: attribute.as_ptr(),
        get: Some(get),
        set,
        doc: ptr::null(),
        closure,
    };
    vec![
        attribute(c"__name__", name as ffi::getter, None, ptr::null_mut()),
        attribute(c"__qualname__", name, None, ptr::without_provenance_mut(1)),
        attribute(c"_asyncio_future_blocking", blocking, Some(set_blocking as ffi::setter), ptr::null_mut()),
        ffi::PyGetSetDef::default(),
    ]
}

/// Slot numbers and functions.
pub(super) fn protocols(stream: bool) -> Vec<(c_int, *mut c_void)> {
    let mut all = vec![
        (ffi::Py_am_await, itself as *mut c_void),
        (ffi::Py_am_send, send_slot as *mut c_void),
        (ffi::Py_tp_iter, itself as *mut c_void),
        (ffi::Py_tp_iternext, iternext as *mut c_void),
        (ffi::Py_tp_repr, repr as *mut c_void),
    ];
    if stream {
        all.extend([(ffi::Py_am_aiter, itself as *mut c_void), (ffi::Py_am_anext, next_item as *mut c_void)]);
    }
    all
}
