//! Pit method table -> Python builtin functions.
//!
//! Every method is a `PyCFunction` with METH_FASTCALL | METH_KEYWORDS; its `self` is an instance of a heap type named after
//! the component, which holds the target. A positional call converts its arguments on the stack and calls the component.
#![allow(unsafe_code)] // method objects are made through CPython's C API: pyo3's own `__call__` builds a tuple per call

use std::ffi::{CString, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use symphony_pit_abi::{FLAG_ASYNC, FLAG_BLOCKING, RawValue, Returned, STATUS_OK, Tag};

use crate::errors;
use crate::interrupt;
use crate::owned;
use crate::pit_api::{Component, MAX_PARAMS, MethodView};
use crate::types::{Arena, from_raw, to_raw};

struct Parameter {
    /// Interned, so that a keyword is mostly found by its address.
    name: Py<PyAny>,
    text: &'static str,
    default: Option<Py<PyAny>>,
}

/// What a method object calls.
struct Target {
    component: Arc<Component>,
    closed: Arc<AtomicBool>,
    method: MethodView,
    /// What the main thread waits for instead, so that a signal ends it.
    twin: Option<MethodView>,
    parameters: Vec<Parameter>,
    /// The method object points to it; both go together.
    definition: ffi::PyMethodDef,
    _doc: CString,
    _name: CString,
}

#[repr(C)]
struct MethodSelf {
    base: ffi::PyObject,
    target: *mut Target,
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: an instance of a type made by `self_type`; its target was boxed in `method_object`.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let target = (*object.cast::<MethodSelf>()).target;
        if !target.is_null() {
            drop(Box::from_raw(target));
        }
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// The heap type of a component's method objects: `DagTracker` for `dag_tracker`.
fn self_type<'py>(py: Python<'py>, component: &str) -> PyResult<Bound<'py, PyAny>> {
    let name: String = component
        .split('_')
        .filter(|word| !word.is_empty()) // as of `a__b`
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect();
    let name = CString::new(format!("symphony.pit.{name}"))?.into_raw(); // types are never freed here, nor is this
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_dealloc, pfunc: dealloc as *mut c_void },
        ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name,
        basicsize: c_int::try_from(size_of::<MethodSelf>())?,
        itemsize: 0,
        flags: u32::try_from(ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION)?,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a well-formed spec; the result is a new reference or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }
}

/// `None`, a number, a string: defaults in a method table are literals.
fn literal<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("ast")?.getattr("literal_eval")?.call1((text,))
}

/// One builtin function for one method.
fn method_object<'py>(
    py: Python<'py>,
    kind: &Bound<'py, PyAny>,
    component: &Arc<Component>,
    closed: &Arc<AtomicBool>,
    method: MethodView,
) -> PyResult<Bound<'py, PyAny>> {
    let params = method.params();
    let parameters = params
        .iter()
        .map(|param| {
            let default = match param.default {
                "" => None,
                text => Some(literal(py, text)?.unbind()),
            };
            let name = pyo3::types::PyString::intern(py, param.name).into_any().unbind();
            Ok(Parameter { name, text: param.name, default })
        })
        .collect::<PyResult<Vec<_>>>()?;
    let signature: Vec<String> = params
        .iter()
        .map(|param| match param.default {
            "" => param.name.to_owned(),
            default => format!("{}={default}", param.name),
        })
        .collect();
    let name = CString::new(method.name())?;
    let doc = CString::new(format!(
        "{}({})\n--\n\n{}\n\n{}{}",
        method.name(),
        signature.join(", "),
        method.doc(),
        method.name(),
        method.signature()
    ))?;
    let definition = ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: trampoline },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    };
    let target = Box::into_raw(Box::new(Target {
        component: Arc::clone(component),
        closed: Arc::clone(closed),
        method,
        twin: interrupt::twin(&component.description, method),
        parameters,
        definition,
        _doc: doc,
        _name: name,
    }));
    // SAFETY: the type's instances are `MethodSelf`; its allocator sets header and count, dealloc frees the target. The
    // function holds a reference to `own`, and so keeps the definition it points to.
    unsafe {
        let own = ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0);
        if own.is_null() {
            drop(Box::from_raw(target));
            return Err(PyErr::fetch(py));
        }
        (*own.cast::<MethodSelf>()).target = target;
        let module = pyo3::types::PyString::new(py, "symphony.pit");
        let function = ffi::PyCFunction_NewEx(&raw mut (*target).definition, own, module.as_ptr());
        ffi::Py_DECREF(own);
        Bound::from_owned_ptr_or_err(py, function)
    }
}

/// The namespace of a component: `pit.pool_manager`, with its methods as builtins.
pub(crate) fn namespace<'py>(
    py: Python<'py>,
    component: &Arc<Component>,
    closed: &Arc<AtomicBool>,
) -> PyResult<Bound<'py, PyAny>> {
    let description = &component.description;
    let kind = self_type(py, description.name())?;
    let members = PyDict::new(py);
    members.set_item("__doc__", description.summary())?;
    members.set_item("__slots__", PyTuple::empty(py))?;
    members.set_item("__module__", "symphony.pit")?;
    for method in description.methods() {
        members.set_item(method.name(), method_object(py, &kind, component, closed, method)?)?;
    }
    let name: String = kind.getattr("__name__")?.extract()?;
    // Builtins do not bind, so as members of a class they are found by CPython's type cache and called as they are.
    py.get_type::<pyo3::types::PyType>().call1((name, PyTuple::empty(py), members))?.call0()
}

unsafe extern "C" fn trampoline(
    own: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the `self` of `method_object`, attached, and `count` arguments plus one per name.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
        let py = Python::assume_attached();
        let target = &*(*own.cast::<MethodSelf>()).target;
        call(py, target, args, count.unsigned_abs(), names)
    }));
    let error = match outcome {
        Ok(Ok(object)) => return object,
        Ok(Err(error)) => error,
        Err(panic) => errors::from_panic(&*panic),
    };
    // pyo3 counts this thread as detached here, and would put off every reference that the error gives back.
    Python::attach(|py| error.restore(py));
    ptr::null_mut()
}

/// # Safety
/// As the trampoline.
unsafe fn call(
    py: Python<'_>,
    target: &Target,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    if target.closed.load(Ordering::Relaxed) {
        return Err(errors::raise(py, "PitUnavailable", "the Pit is closed"));
    }
    let wanted = target.parameters.len();
    let mut objects = [ptr::null_mut(); MAX_PARAMS];
    // SAFETY: promised by the caller.
    unsafe {
        if names.is_null() && count == wanted {
            objects[..count].copy_from_slice(if count == 0 {
                &[]
            } else {
                std::slice::from_raw_parts(args, count)
            });
        } else {
            bind(py, target, args, count, names, &mut objects)?;
        }
    }
    let flags = target.method.raw.flags;
    let blocking = flags & FLAG_BLOCKING != 0;
    if blocking {
        refuse_on_a_loop(py, target)?;
    }
    let mut arena = Arena::default();
    let mut values = [RawValue::NONE; MAX_PARAMS];
    for (index, parameter) in target.parameters.iter().enumerate() {
        // SAFETY: live arguments; the arena is dropped at the end of this function, attached.
        values[index] = unsafe { to_raw(objects[index], &mut arena, blocking, 0) }
            .map_err(|mismatch| mismatch.raise(py, parameter.text))?;
    }
    let mut out = Returned::EMPTY;
    let invoke = |out: *mut Returned| {
        // SAFETY: an instance of this method's component, `wanted` values that live for the call.
        unsafe { (target.method.raw.call)(target.component.instance(), values.as_ptr(), wanted, out) }
    };
    let status = if !blocking {
        invoke(&raw mut out)
    } else if let Some(twin) = target.twin.filter(|_| interrupt::on_main_thread()) {
        // SAFETY: as for `invoke`; the twin takes the same parameters.
        unsafe { interrupt::wait(py, twin, target.component.instance(), &values[..wanted], &mut out)? }
    } else {
        // SAFETY: attached now and again before anything of Python is touched; a panic does not cross `invoke`.
        unsafe {
            let thread = ffi::PyEval_SaveThread();
            let status = invoke(&raw mut out);
            ffi::PyEval_RestoreThread(thread);
            status
        }
    };
    if status != STATUS_OK {
        return Err(errors::from_status(py, status, out, &target.component.description));
    }
    if flags & FLAG_ASYNC != 0 {
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
        let object = from_raw(&out.value, 0);
        out.release();
        if object.is_null() { Err(PyErr::fetch(py)) } else { Ok(object) }
    }
}

/// Keyword arguments, defaults, and errors worded as CPython's own.
///
/// # Safety
/// As the trampoline.
unsafe fn bind(
    py: Python<'_>,
    target: &Target,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
    objects: &mut [*mut ffi::PyObject; MAX_PARAMS],
) -> PyResult<()> {
    let (name, parameters) = (target.method.name(), &target.parameters);
    if count > parameters.len() {
        let message = format!("{name}() takes at most {} arguments ({count} given)", parameters.len());
        return Err(PyTypeError::new_err(message));
    }
    // SAFETY: promised by the caller.
    unsafe {
        for (index, slot) in objects.iter_mut().enumerate().take(count) {
            *slot = *args.add(index);
        }
        let keywords = if names.is_null() { 0 } else { ffi::PyTuple_Size(names) };
        for index in 0..keywords {
            let keyword = Bound::from_borrowed_ptr(py, ffi::PyTuple_GetItem(names, index));
            let same = |parameter: &Parameter| parameter.name.as_ptr() == keyword.as_ptr();
            let at = if let Some(at) = parameters.iter().position(same) {
                at
            } else {
                let text: String = keyword.extract()?;
                parameters.iter().position(|parameter| parameter.text == text).ok_or_else(|| {
                    PyTypeError::new_err(format!("{name}() got an unexpected keyword argument '{text}'"))
                })?
            };
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
    Ok(())
}

/// A blocking method must not be called where it would stop an event loop.
fn refuse_on_a_loop(py: Python<'_>, target: &Target) -> PyResult<()> {
    let running = py.import("asyncio")?.getattr("_get_running_loop")?.call0()?;
    if running.is_none() {
        return Ok(());
    }
    let name = target.method.name();
    let message = format!("{name}() would block the event loop: await {name}_async() instead");
    Err(errors::raise(py, "PitWouldBlock", &message))
}
