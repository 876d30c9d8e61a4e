//! What CPython calls: arguments to values on the stack, the component's function, the result to an object.
//!
//! A FAST method of up to four parameters has an entry for its arity, which serves calls whose arguments are all positional
//! scalars: nothing in it can panic, so it needs no guard, and what it does not serve it leaves, unchanged, to [`general`].

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use symphony_pit_abi::{FLAG_ASYNC, FLAG_BLOCKING, RawValue, Returned, STATUS_OK, Tag};

use super::bind::bind;
use super::method::{Method, Target};
use crate::ending::{self, Inside, attached};
use crate::errors;
use crate::interrupt;
use crate::owned;
use crate::pit_api::MAX_PARAMS;
use crate::recent_calls;
use crate::types::{Arena, from_raw, scalar, scalar_object, to_raw};

/// The entry of a method with these flags and so many parameters.
pub(super) fn entry(flags: u32, parameters: usize) -> ffi::PyCFunctionFastWithKeywords {
    if flags & (FLAG_BLOCKING | FLAG_ASYNC) != 0 {
        return general;
    }
    match parameters {
        0 => fast::<0>,
        1 => fast::<1>,
        2 => fast::<2>,
        3 => fast::<3>,
        4 => fast::<4>,
        _ => general,
    }
}

/// # Safety
/// CPython calls with the `self` of a [`Method`], attached, and `count` arguments plus one per name.
unsafe extern "C" fn fast<const N: usize>(
    own: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller; the gate lives as long as the method.
    unsafe {
        let method = &*own.cast::<Method>();
        let mut values = [RawValue::NONE; N];
        let ready = names.is_null()
            && (*method.gate).is_open()
            && if count.unsigned_abs() == N {
                convert(args, &mut values)
            } else {
                convert_with_defaults(method, args, count.unsigned_abs(), &mut values)
            };
        if !ready {
            return general(own, args, count, names);
        }
        recent_calls::note(method.number);
        let mut out = Returned::EMPTY;
        let status = (method.call)(method.instance, values.as_ptr(), N, &raw mut out);
        if status == STATUS_OK
            && out.release.is_none()
            && let Some(object) = scalar_object(&out.value)
        {
            return object;
        }
        guarded(|py, _inside| finish(py, method.target(), status, out))
    }
}

/// Whether all arguments are scalars, which then are in `values`.
///
/// # Safety
/// As many live arguments as values; attached.
#[inline(always)]
#[expect(clippy::inline_always, reason = "unrolled for each arity")]
unsafe fn convert(args: *const *mut ffi::PyObject, values: &mut [RawValue]) -> bool {
    for (index, value) in values.iter_mut().enumerate() {
        // SAFETY: promised by the caller.
        match unsafe { scalar(*args.add(index)) } {
            Some(converted) => *value = converted,
            None => return false,
        }
    }
    true
}

/// # Safety
/// `count` live arguments; attached.
#[inline(never)]
unsafe fn convert_with_defaults(
    method: &Method,
    args: *const *mut ffi::PyObject,
    count: usize,
    values: &mut [RawValue],
) -> bool {
    let defaults = &method.target().defaults;
    let Some(missing) = values.len().checked_sub(count).filter(|missing| *missing <= defaults.len()) else {
        return false;
    };
    let (given, rest) = values.split_at_mut(count);
    rest.copy_from_slice(&defaults[defaults.len() - missing..]);
    // SAFETY: promised by the caller.
    unsafe { convert(args, given) }
}

/// The entry for every shape of call.
///
/// # Safety
/// As for [`fast`].
unsafe extern "C" fn general(
    own: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(|py, inside| {
        // SAFETY: promised by the caller.
        unsafe { call(py, inside, &*own.cast::<Method>(), args, count.unsigned_abs(), names) }
    })
}

/// Run attached, while the interpreter does not end; a panic becomes an exception here, and goes no further.
fn guarded(body: impl FnOnce(Python<'_>, Inside) -> PyResult<*mut ffi::PyObject>) -> *mut ffi::PyObject {
    // SAFETY: CPython calls methods attached.
    let py = unsafe { Python::assume_attached() };
    let outcome = catch_unwind(AssertUnwindSafe(|| ending::enter(py).and_then(|inside| body(py, inside))));
    let error = match outcome {
        Ok(Ok(object)) => return object,
        Ok(Err(error)) => error,
        Err(panic) => errors::from_panic(py, &*panic),
    };
    // SAFETY: as above.
    unsafe { attached(|py| error.restore(py)) };
    ptr::null_mut()
}

/// # Safety
/// As for [`general`].
unsafe fn call(
    py: Python<'_>,
    inside: Inside,
    method: &Method,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    let target = method.target();
    target.gate.pass(py)?;
    let wanted = target.parameters.len();
    let bound;
    let objects = if names.is_null() && count == wanted && count > 0 {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(args, count) }
    } else {
        // SAFETY: promised by the caller.
        bound = unsafe { bind(py, target, args, count, names)? };
        &bound[..wanted]
    };
    let blocking = target.method.raw.flags & FLAG_BLOCKING != 0;
    if blocking {
        refuse_on_a_loop(py, target)?;
    }
    let mut arena = Arena::default();
    let mut values = [const { MaybeUninit::<RawValue>::uninit() }; MAX_PARAMS];
    for ((value, object), parameter) in values.iter_mut().zip(objects).zip(&target.parameters) {
        // SAFETY: live arguments; the arena is dropped at the end of this function, attached.
        let converted = unsafe { to_raw(*object, &mut arena, blocking, 0) }
            .map_err(|mismatch| mismatch.raise(py, parameter.text))?;
        value.write(converted);
    }
    recent_calls::note(method.number);
    let mut out = Returned::EMPTY;
    // SAFETY: an instance of this method's component, `wanted` values that live for the call; it does not panic.
    let mut invoke =
        || unsafe { (method.call)(method.instance, values.as_ptr().cast(), wanted, &raw mut out) };
    if !blocking {
        let status = invoke();
        return finish(py, target, status, out);
    }
    if let Some(twin) = target.twin.filter(|_| interrupt::on_main_thread()) {
        // SAFETY: as for `invoke`; the twin takes the same parameters.
        let status = unsafe {
            let values = std::slice::from_raw_parts(values.as_ptr().cast(), wanted);
            interrupt::wait(py, twin, method.instance, values, &mut out)?
        };
        return finish(py, target, status, out);
    }
    let (status, inside) = inside.detached(py, invoke);
    match inside {
        Ok(_inside) => {
            let object = finish(py, target, status, out);
            drop(arena); // still inside
            object
        }
        Err(ending) => {
            std::mem::forget(arena);
            Err(ending)
        }
    }
}

/// The object of a result, or the exception of an error; what the component lent is given back.
fn finish(py: Python<'_>, target: &Target, status: u32, mut out: Returned) -> PyResult<*mut ffi::PyObject> {
    if status != STATUS_OK {
        return Err(errors::from_status(py, status, out, &target.component.description));
    }
    if target.method.raw.flags & FLAG_ASYNC != 0 {
        return crate::async_support::awaitable(py, out, &target.component, target.method);
    }
    if out.value.tag >= Tag::Buffer as u32 {
        match owned::object(py, out, &target.component)? {
            Ok(object) => return Ok(object),
            Err(other) => out = other,
        }
    }
    // SAFETY: a well-formed result, released once after it was read.
    unsafe {
        let object = from_raw(&out.value);
        out.release();
        if object.is_null() { Err(PyErr::fetch(py)) } else { Ok(object) }
    }
}

static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A blocking method must not be called where it would stop an event loop.
fn refuse_on_a_loop(py: Python<'_>, target: &Target) -> PyResult<()> {
    let running = RUNNING_LOOP.import(py, "asyncio", "_get_running_loop")?.call0()?;
    if running.is_none() {
        return Ok(());
    }
    let name = target.method.name();
    let message = format!("{name}() would block the event loop: await {name}_async() instead");
    Err(errors::raise(py, "PitWouldBlock", &message))
}
