//! The methods of an awaitable: those of a coroutine, and those by which a task waits for a future that is not asyncio's.

use std::ptr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::event_loop::running;
use super::known::known;
use super::object::Object;
use super::operation::{Step, cancelled, deliver, schedule};
use super::state::{Asked, Callback, Phase, finish, let_go};

type Answer = PyResult<*mut ffi::PyObject>;

fn none() -> *mut ffi::PyObject {
    // SAFETY: attached, as all callers are.
    unsafe { ffi::Py_NewRef(ffi::Py_None()) }
}

fn truth(value: bool) -> *mut ffi::PyObject {
    // SAFETY: as above.
    unsafe { ffi::PyBool_FromLong(value.into()) }
}

fn invalid_state(py: Python<'_>, message: &str) -> PyErr {
    let made = known(py).and_then(|known| known.invalid_state.bind(py).call1((message,)));
    made.map_or_else(|error| error, PyErr::from_value)
}

// SAFETY (all below): called by CPython with a live object of this module's types, attached. The state is never borrowed
// while Python runs.

/// `throw(exception)`, also as `throw(type, value, traceback)`: the operation is dropped before the exception goes on. A
/// cancellation that comes when there is a result already waits for the next await.
pub(super) unsafe fn throw(py: Python<'_>, own: *mut Object, args: &Bound<'_, PyTuple>) -> PyResult<Step> {
    let exception = args.get_item(0)?;
    if let Some(step) = unsafe { deliver(py, own, &exception) }? {
        return Ok(step);
    }
    unsafe { finish(own, Phase::Finished) };
    let value = args.get_item(1).ok().filter(|value| !value.is_none());
    let exception = match (exception.cast::<PyType>(), value) {
        (Ok(class), Some(value)) if value.is_instance(class)? => value,
        (Ok(class), Some(value)) => class.call1((value,))?,
        (Ok(class), None) => class.call0()?,
        (Err(_), _) => exception,
    };
    Err(PyErr::from_value(exception))
}

/// `close()`: the operation is dropped.
pub(super) unsafe fn close(_py: Python<'_>, own: *mut Object) -> Answer {
    unsafe { finish(own, Phase::Finished) };
    Ok(none())
}

/// `cancel(msg=None)`: the operation is dropped at once, and whoever awaits it gets a `CancelledError`.
pub(super) unsafe fn cancel(py: Python<'_>, own: *mut Object, message: Option<&Bound<'_, PyAny>>) -> Answer {
    let before = unsafe {
        let state = &mut (*own).state;
        if matches!(state.phase, Phase::Kept | Phase::Cancelled | Phase::Finished) {
            return Ok(truth(false));
        }
        state.phase = Phase::Cancelled;
        state.release();
        let message = message.map_or(ptr::null_mut(), |message| message.clone().into_ptr());
        std::mem::replace(&mut state.message, message)
    };
    unsafe {
        let_go(own);
        ffi::Py_XDECREF(before);
        let _kept = Bound::<PyAny>::from_borrowed_ptr(py, own.cast());
        schedule(py, own)?; // of one that was woken already they are queued
    }
    Ok(truth(true))
}

pub(super) unsafe fn is_cancelled(_py: Python<'_>, own: *mut Object) -> Answer {
    Ok(truth(unsafe { (*own).state.phase } == Phase::Cancelled))
}

pub(super) unsafe fn done(_py: Python<'_>, own: *mut Object) -> Answer {
    Ok(truth(!matches!(unsafe { (*own).state.phase }, Phase::Idle | Phase::Waiting)))
}

/// `result()` and `exception()`: as of a future without a result, since the awaited one is given by the next step.
pub(super) unsafe fn result(py: Python<'_>, own: *mut Object) -> Answer {
    let state = unsafe { &(*own).state };
    match state.phase {
        Phase::Cancelled => Err(cancelled(py, state)),
        Phase::Kept | Phase::Woken | Phase::Finished => Ok(none()),
        Phase::Idle | Phase::Waiting => Err(invalid_state(py, "the Pit operation is not done")),
    }
}

pub(super) unsafe fn get_loop(_py: Python<'_>, own: *mut Object) -> Answer {
    let event_loop = unsafe { (*own).state.event_loop };
    if event_loop.is_null() {
        return Err(PyRuntimeError::new_err("a Pit operation has a loop while it is awaited"));
    }
    Ok(unsafe { ffi::Py_NewRef(event_loop) })
}

/// `add_done_callback(function, *, context=None)`
pub(super) unsafe fn add_done_callback(
    py: Python<'_>,
    own: *mut Object,
    function: &Bound<'_, PyAny>,
    context: Option<&Bound<'_, PyAny>>,
) -> Answer {
    unsafe {
        match (*own).state.phase {
            Phase::Finished if (*own).state.event_loop.is_null() => {
                (*own).state.event_loop = running(py)?.event_loop.into_ptr();
            }
            _ if (*own).state.event_loop.is_null() => {
                return Err(invalid_state(py, "the Pit operation is not awaited yet"));
            }
            _ => {}
        }
        let context = match context.filter(|context| !context.is_none()) {
            Some(context) => context.clone().into_ptr(),
            None => Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())?.into_ptr(),
        };
        let state = &mut (*own).state;
        state.callbacks.push(Callback { function: function.clone().into_ptr(), context });
        if state.phase != Phase::Waiting {
            schedule(py, own)?;
        }
    }
    Ok(none())
}

/// `remove_done_callback(function)`: how many there were.
pub(super) unsafe fn remove_done_callback(
    py: Python<'_>,
    own: *mut Object,
    function: &Bound<'_, PyAny>,
) -> Answer {
    let callbacks = std::mem::take(unsafe { &mut (*own).state.callbacks });
    let (mut kept, mut removed) = (Vec::new(), 0_usize);
    for callback in callbacks {
        // A comparison may run Python; what it adds meanwhile stays behind these.
        let same = unsafe { Bound::from_borrowed_ptr(py, callback.function) }.eq(function).unwrap_or(false);
        if same {
            removed += 1;
            unsafe {
                ffi::Py_DECREF(callback.function);
                ffi::Py_DECREF(callback.context);
            }
        } else {
            kept.push(callback);
        }
    }
    let callbacks = unsafe { &mut (*own).state.callbacks };
    kept.append(callbacks);
    *callbacks = kept;
    Ok(unsafe { ffi::PyLong_FromSize_t(removed) })
}

/// `__anext__` of a stream: itself, which awaits the next item.
pub(super) unsafe fn next_item(_py: Python<'_>, own: *mut Object) -> Answer {
    let state = unsafe { &mut (*own).state };
    if matches!(state.phase, Phase::Kept | Phase::Waiting | Phase::Woken) {
        let message = format!("{}() is being iterated already", state.name());
        return Err(PyRuntimeError::new_err(message));
    }
    state.asked = Asked::Item;
    Ok(unsafe { ffi::Py_NewRef(own.cast()) })
}

/// `aclose()` of a stream: it is dropped, and there is nothing to wait for.
pub(super) unsafe fn close_stream(_py: Python<'_>, own: *mut Object) -> Answer {
    unsafe {
        finish(own, Phase::Finished);
        (*own).state.asked = Asked::Close;
        Ok(ffi::Py_NewRef(own.cast()))
    }
}
