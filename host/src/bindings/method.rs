//! The function objects: one builtin function for each method, whose `self` is an instance of a heap type named after the
//! component, so that `repr`, `__qualname__` and `help()` read well.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;
use symphony_pit_abi::{RawValue, Returned};

use super::call;
use crate::gate::Gate;
use crate::interrupt;
use crate::pit_api::{Component, MethodView};
use crate::recent_calls;
use crate::types::scalar;

pub(super) struct Parameter {
    /// Interned, so that a keyword is mostly found by its address.
    pub name: Py<PyAny>,
    pub text: &'static str,
    pub default: Option<Py<PyAny>>,
}

/// What a method object keeps alive, and what only unusual calls read.
pub(super) struct Target {
    pub component: Arc<Component>,
    pub gate: Arc<Gate>,
    pub method: MethodView,
    /// What the main thread waits for instead, so that a signal ends it.
    pub twin: Option<MethodView>,
    pub parameters: Vec<Parameter>,
    /// The last parameters' defaults as the component takes them; they borrow from `parameters`.
    pub defaults: Vec<RawValue>,
    /// The function points to it; both go together.
    definition: ffi::PyMethodDef,
    _doc: CString,
    _name: CString,
}

/// The `self` of a function. What every call reads lies side by side.
#[repr(C)]
pub(super) struct Method {
    base: ffi::PyObject,
    pub call: unsafe extern "C" fn(*const c_void, *const RawValue, usize, *mut Returned) -> u32,
    pub instance: *const c_void,
    pub gate: *const Gate,
    /// By which `recent_calls` knows it.
    pub number: u32,
    target: *mut Target,
}

impl Method {
    #[inline]
    pub const fn target(&self) -> &Target {
        // SAFETY: set by `object` before anyone calls, and freed with this object.
        unsafe { &*self.target }
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: an instance of a type made by `self_type`; its target was boxed in `object`.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let target = (*object.cast::<Method>()).target;
        if !target.is_null() {
            drop(Box::from_raw(target));
        }
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// The heap type of a component's methods: `DagTracker` for `dag_tracker`.
pub(super) fn self_type<'py>(py: Python<'py>, component: &str) -> PyResult<Bound<'py, PyAny>> {
    let name: String = component
        .split('_')
        .filter(|word| !word.is_empty()) // as of `a__b`
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect();
    let name = CString::new(format!("symphony.pit.{name}"))?;
    let mut slots = [
        ffi::PyType_Slot { slot: ffi::Py_tp_dealloc, pfunc: dealloc as *mut c_void },
        ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(), // copied since CPython 3.11
        basicsize: c_int::try_from(size_of::<Method>())?,
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

fn parameters(py: Python<'_>, method: MethodView) -> PyResult<Vec<Parameter>> {
    let parameter = |param: &crate::pit_api::ParamView| {
        let default = match param.default {
            "" => None,
            text => Some(literal(py, text)?.unbind()),
        };
        let name = PyString::intern(py, param.name).into_any().unbind();
        Ok(Parameter { name, text: param.name, default })
    };
    method.params().iter().map(parameter).collect()
}

/// The values of the last parameters, as far as each has a default that is a scalar.
fn defaults(parameters: &[Parameter]) -> Vec<RawValue> {
    let converted = parameters.iter().rev().map_while(|parameter| {
        // SAFETY: an object that lives as long as the parameter; attached.
        unsafe { scalar(parameter.default.as_ref()?.as_ptr()) }
    });
    let mut values: Vec<RawValue> = converted.collect();
    values.reverse();
    values
}

/// What `help()` shows; its first line is what `inspect.signature()` reads.
fn doc(method: MethodView) -> PyResult<CString> {
    let signature: Vec<String> = method
        .params()
        .iter()
        .map(|param| match param.default {
            "" => param.name.to_owned(),
            default => format!("{}={default}", param.name),
        })
        .collect();
    let (name, text) = (method.name(), method.doc());
    let doc = format!("{name}({})\n--\n\n{text}\n\n{name}{}", signature.join(", "), method.signature());
    Ok(CString::new(doc)?)
}

/// One builtin function for one method.
pub(super) fn object<'py>(
    py: Python<'py>,
    kind: &Bound<'py, PyAny>,
    component: &Arc<Component>,
    gate: &Arc<Gate>,
    method: MethodView,
) -> PyResult<Bound<'py, PyAny>> {
    let parameters = parameters(py, method)?;
    let (name, doc) = (CString::new(method.name())?, doc(method)?);
    let number = recent_calls::number(format!("{}.{}", component.description.name(), method.name()));
    let definition = ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: call::entry(method.raw.flags, parameters.len()),
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    };
    let target = Target {
        component: Arc::clone(component),
        gate: Arc::clone(gate),
        method,
        twin: interrupt::twin(&component.description, method),
        defaults: defaults(&parameters),
        parameters,
        definition,
        _doc: doc,
        _name: name,
    };
    // SAFETY: the type's instances are `Method`; its allocator sets header and count, dealloc frees the target. The function
    // holds a reference to `own`, and so keeps the definition it points to.
    unsafe {
        let own = ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0);
        if own.is_null() {
            return Err(PyErr::fetch(py));
        }
        let this = own.cast::<Method>();
        (*this).call = method.raw.call;
        (*this).instance = component.instance();
        (*this).gate = Arc::as_ptr(gate);
        (*this).number = number;
        (*this).target = Box::into_raw(Box::new(target));
        let module = PyString::new(py, "symphony.pit");
        let definition = &raw mut (*(*this).target).definition;
        let function = ffi::PyCFunction_NewEx(definition, own, module.as_ptr());
        ffi::Py_DECREF(own);
        Bound::from_owned_ptr_or_err(py, function)
    }
}
