//! What components ask of the engine, handed over on the loop's thread.

use std::sync::{Arc, Weak};

use pyo3::prelude::*;
use pyo3::types::PyList;
use symphony_pit_abi::Returned;

use super::event_file::EventFile;
use crate::pit_api::Pit;
use crate::types::from_raw;

/// The Python side of a Pit's callouts: called by the loop when some are queued.
#[pyclass(frozen, module = "symphony._host")]
struct CalloutService {
    pit: Weak<Pit>,
    event: Arc<EventFile>,
    handler: Py<PyAny>,
}

#[pymethods]
impl CalloutService {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.event.clear();
        let Some(pit) = self.pit.upgrade() else { return Ok(()) };
        for callout in pit.callouts().take() {
            let args = PyList::empty(py);
            for value in callout.args {
                // SAFETY: a well-formed value of this side, released once after it was read.
                unsafe {
                    let mut returned = Returned::from_value(value);
                    let object = from_raw(&returned.value, 0);
                    returned.release();
                    args.append(Bound::from_owned_ptr_or_err(py, object)?)?;
                }
            }
            self.handler.call1(py, (callout.component, callout.name, args))?;
        }
        Ok(())
    }
}

/// Call `handler` on the loop's thread for whatever the components of `pit` ask.
pub(crate) fn serve_callouts(
    pit: &Arc<Pit>,
    event_loop: &Bound<'_, PyAny>,
    handler: Bound<'_, PyAny>,
) -> PyResult<()> {
    let event = Arc::new(EventFile::new()?);
    let (descriptor, signal) = (event.descriptor(), Arc::clone(&event));
    let service = CalloutService { pit: Arc::downgrade(pit), event, handler: handler.unbind() };
    event_loop.call_method1("add_reader", (descriptor, Bound::new(event_loop.py(), service)?))?;
    pit.callouts().listen(Some(Box::new(move || signal.signal())));
    Ok(())
}
