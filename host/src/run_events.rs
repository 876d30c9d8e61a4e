//! [`Following`] as a class of the native module.
#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned arguments")]

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors;
use crate::observing::{Following, Happening};

/// What the log of a home tells of runs and steps, from a position on.
#[pyclass(frozen, module = "symphony._host")]
struct RunEvents(Mutex<Following>);

#[pymethods]
impl RunEvents {
    #[new]
    fn new(home: PathBuf, start: u64) -> Self {
        Self(Mutex::new(Following::new(&home.join("pit"), start)))
    }

    /// About `most` events since the last call, and how many were lost since there were too many of them.
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<(Bound<'py, PyList>, u64)> {
        let taken = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).take(most));
        let (told, lost) = taken.map_err(|error| errors::from_load(py, &error.into()))?;
        let rows = told.iter().map(|happening| row(py, happening)).collect::<PyResult<Vec<_>>>()?;
        Ok((PyList::new(py, rows)?, lost))
    }
}

fn row<'py>(py: Python<'py>, told: &Happening) -> PyResult<Bound<'py, PyAny>> {
    let step = (!told.key.is_empty()).then_some((&told.key, &told.name, told.attempt));
    let failure = (!told.failure.is_empty()).then(|| PyBytes::new(py, &told.failure));
    let (record, run) = ((told.hook, told.position, told.time), (&*told.run, &*told.workflow));
    Ok((record, run, step, told.state, told.since, failure).into_pyobject(py)?.into_any())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RunEvents>()
}
