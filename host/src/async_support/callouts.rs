//! What components ask of the engine, handed over on the loop's thread; and the answers that they wait for.
//!
//! A question is answered by a coroutine of Python's, which is cancelled when the component drops the operation by which it
//! waits. Nothing here is called from another thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use pyo3::prelude::*;
use pyo3::types::PyList;
use symphony_pit_abi::{Error, ErrorKind, Returned, Value, ValueRef};

use super::event_file::EventFile;
use super::known::known;
use crate::ending;
use crate::pit_api::{Callout, Pit, Question};
use crate::types::{Arena, from_raw, to_raw};

/// The tasks that answer, by the number of their question. Locked for a moment, and only while attached.
type Answering = Arc<Mutex<HashMap<u64, Py<PyAny>>>>;

/// The Python side of a Pit's callouts: called by the loop when some are queued.
#[pyclass(frozen, module = "symphony._host")]
struct CalloutService {
    pit: Weak<Pit>,
    event: Arc<EventFile>,
    handler: Py<PyAny>,
    answering: Answering,
    listener: OnceLock<u64>,
}

/// The loop was closed.
impl Drop for CalloutService {
    fn drop(&mut self) {
        if let (Some(pit), Some(listener)) = (self.pit.upgrade(), self.listener.get()) {
            pit.callouts().leave(*listener);
        }
        let left = std::mem::take(&mut *self.answering.lock().unwrap_or_else(PoisonError::into_inner));
        drop(left);
    }
}

#[pymethods]
impl CalloutService {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(_inside) = ending::enter(py) else { return Ok(()) };
        self.event.clear();
        let Some(pit) = self.pit.upgrade() else { return Ok(()) };
        let (callouts, withdrawn) = pit.callouts().take();
        let mut outcome = Ok(());
        for callout in callouts {
            outcome = outcome.and(self.serve(py, callout)); // one that fails must not take the others along
        }
        for number in withdrawn {
            if let Some(task) = self.taken(number) {
                outcome = outcome.and(task.call_method0(py, "cancel").map(drop));
            }
        }
        outcome
    }
}

impl CalloutService {
    fn taken(&self, number: u64) -> Option<Py<PyAny>> {
        self.answering.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)
    }

    fn serve(&self, py: Python<'_>, callout: Callout) -> PyResult<()> {
        let Callout { component, name, args, question } = callout;
        let called = arguments(py, args)
            .and_then(|args| self.handler.bind(py).call1((component, name.as_str(), args)));
        let Some(question) = question else { return called.map(drop) };
        match called {
            Err(error) => question.answer(Err(carried(py, &error))),
            Ok(answer) if answer.is(py.NotImplemented().bind(py)) => {
                let message = format!("the engine does not know {name:?}, which {component} asks for");
                question.answer(Err(Error::not_found(message)));
            }
            Ok(answer) if answer.hasattr("__await__")? => self.wait(&answer, question)?,
            Ok(answer) => question.answer(value(&answer)),
        }
        Ok(())
    }

    /// Have a task answer.
    fn wait(&self, awaitable: &Bound<'_, PyAny>, question: Question) -> PyResult<()> {
        let py = awaitable.py();
        let task = py.import("asyncio")?.call_method1("ensure_future", (awaitable,))?;
        let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        answering.insert(question.number, task.clone().unbind());
        drop(answering);
        let done = Answered { question, answering: Arc::clone(&self.answering) };
        task.call_method1("add_done_callback", (Bound::new(py, done)?,)).map(drop)
    }
}

/// Called by the task that answered.
#[pyclass(frozen, module = "symphony._host")]
struct Answered {
    question: Question,
    answering: Answering,
}

#[pymethods]
impl Answered {
    fn __call__(&self, task: &Bound<'_, PyAny>) {
        let Ok(_inside) = ending::enter(task.py()) else { return };
        let number = self.question.number;
        let own = self.answering.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        drop(own);
        self.question.answer(match task.call_method0("result") {
            Ok(result) => value(&result),
            Err(error) => Err(carried(task.py(), &error)),
        });
    }
}

fn arguments(py: Python<'_>, args: Vec<Value>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for value in args {
        // SAFETY: a well-formed value of this side, released once after it was read.
        unsafe {
            let mut returned = Returned::from_value(value);
            let object = from_raw(&returned.value);
            returned.release();
            list.append(Bound::from_owned_ptr_or_err(py, object)?)?;
        }
    }
    Ok(list)
}

/// What Python answered, as the component gets it.
fn value(answer: &Bound<'_, PyAny>) -> Result<Value, Error> {
    let mut arena = Arena::default();
    // SAFETY: a live object, attached; what was made of it is copied before the arena goes.
    unsafe {
        match to_raw(answer.as_ptr(), &mut arena, false, 0) {
            Ok(raw) => Ok(ValueRef::new(&raw).to_owned()),
            Err(mismatch) => Err(carried(answer.py(), &mismatch.raise(answer.py(), "the answer"))),
        }
    }
}

/// A Python exception, as the component gets it: a cancelled task is an answer, and not the asking task's own cancellation.
fn carried(py: Python<'_>, error: &PyErr) -> Error {
    let cancelled = known(py).is_ok_and(|known| error.matches(py, known.cancelled.bind(py)).unwrap_or(false));
    let carried = crate::passing::enter(py, error);
    if cancelled { Error { kind: ErrorKind::Cancelled, ..carried } } else { carried }
}

/// Call `handler` on the loop's thread for whatever the components of `pit` ask.
pub(crate) fn serve_callouts(
    pit: &Arc<Pit>,
    event_loop: &Bound<'_, PyAny>,
    handler: Bound<'_, PyAny>,
) -> PyResult<()> {
    let event = Arc::new(EventFile::new()?);
    let (descriptor, signal) = (event.descriptor(), Arc::clone(&event));
    let service = CalloutService {
        pit: Arc::downgrade(pit),
        event,
        handler: handler.unbind(),
        answering: Answering::default(),
        listener: OnceLock::new(),
    };
    let service = Bound::new(event_loop.py(), service)?;
    event_loop.call_method1("add_reader", (descriptor, &service))?;
    let listener = pit.callouts().listen(Some(Box::new(move || signal.signal())));
    let _ = service.get().listener.set(listener); // set once, here
    Ok(())
}
