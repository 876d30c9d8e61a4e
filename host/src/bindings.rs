//! Pit method table -> Python builtin functions.
//!
//! `method` makes the function objects, `call` is what CPython calls, `bind` sorts arguments that are not all positional.
//! This file puts a component's functions together as its namespace, `pit.pool_manager`.
#![allow(unsafe_code)] // method objects are made through CPython's C API: pyo3's own `__call__` builds a tuple per call

mod bind;
mod call;
mod method;

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple, PyType};

use crate::gate::Gate;
use crate::pit_api::Component;

/// What `pickle` and `copy` are told.
pub(crate) fn unpicklable(what: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "cannot pickle {what}: a Pit lives in one process. Pickle what its methods return, and call them where the Pit is"
    ))
}

/// The namespace of a component: `pit.pool_manager`, with its methods as builtins.
pub(crate) fn namespace<'py>(
    py: Python<'py>,
    component: &Arc<Component>,
    gate: &Arc<Gate>,
) -> PyResult<Bound<'py, PyAny>> {
    let description = &component.description;
    let kind = method::self_type(py, description.name())?;
    let (id, version) = (description.id(), description.version());
    let pickled = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        Err(unpicklable(&format!("the Pit component {id} or a method of it")))
    };
    let pickled = PyCFunction::new_closure(py, Some(c"__reduce__"), None, pickled)?;
    kind.setattr("__reduce__", &pickled)?;
    let shown = format!("<Pit component {id} {version}>");
    let shown = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| shown.clone();
    let members = PyDict::new(py);
    members.set_item("__doc__", description.summary())?;
    members.set_item("__slots__", PyTuple::empty(py))?;
    members.set_item("__module__", "symphony.pit")?;
    members.set_item("__reduce__", pickled)?;
    members.set_item("__repr__", PyCFunction::new_closure(py, Some(c"__repr__"), None, shown)?)?;
    for view in description.methods() {
        members.set_item(view.name(), method::object(py, &kind, component, gate, view)?)?;
    }
    let name: String = kind.getattr("__name__")?.extract()?;
    // Builtins do not bind, so as members of a class they are found by CPython's type cache and called as they are.
    py.get_type::<PyType>().call1((name, PyTuple::empty(py), members))?.call0()
}
