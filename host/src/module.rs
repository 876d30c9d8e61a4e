//! The functions and classes of `symphony._host`.
#![allow(unsafe_code)] // takes over descriptors that the supervisor handed down
#![expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned arguments")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use symphony_pit_abi::{ABI_MAJOR, ABI_MINOR, watch_panics};
use symphony_pit_journal::{Backend, Durability, Notifier, Options};

use crate::errors;
use crate::gate::{Gate, refuse_forked};
use crate::pit_api::{self, CREATE_PATIENCE, Description};
use crate::{async_support, bindings, codec, ending, run_events, vitals};

/// The element of `pit list` for a component.
fn describe_one<'py>(py: Python<'py>, description: &Description) -> PyResult<Bound<'py, PyDict>> {
    let methods = PyList::empty(py);
    for method in description.methods() {
        let row = PyDict::new(py);
        row.set_item("name", method.name())?;
        row.set_item("signature", method.signature())?;
        row.set_item("doc", method.doc())?;
        row.set_item("flags", method.flags())?;
        methods.append(row)?;
    }
    let row = PyDict::new(py);
    row.set_item("id", description.id())?;
    row.set_item("name", description.name())?;
    row.set_item("version", description.version())?;
    row.set_item("description", description.summary())?;
    row.set_item("library", description.path.to_string_lossy())?;
    row.set_item("calls", description.calls().collect::<Vec<_>>())?;
    row.set_item("methods", methods)?;
    Ok(row)
}

/// Open a component library, check it, and describe it; none of its functions runs.
#[pyfunction]
fn describe(py: Python<'_>, library: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let description = Description::open(&library).map_err(|error| errors::from_load(py, &error))?;
    describe_one(py, &description)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A loaded Pit. Components are attributes by their short name, items by their id.
#[pyclass(frozen, module = "symphony._host")]
struct Pit {
    loaded: Arc<pit_api::Pit>,
    gate: Arc<Gate>,
    namespaces: Py<PyDict>,
    by_id: Py<PyDict>,
}

fn missing(py: Python<'_>, name: &str, known: &Bound<'_, PyDict>) -> PyErr {
    let names: Vec<String> = known.keys().iter().map(|key| key.to_string()).collect();
    errors::raise(py, "NotFound", &format!("no Pit component {name:?}; there are {}", names.join(", ")))
}

#[pymethods]
impl Pit {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if name.starts_with("__") {
            return Err(pyo3::exceptions::PyAttributeError::new_err(name.to_owned()));
        }
        let known = self.namespaces.bind(py);
        known.get_item(name)?.ok_or_else(|| {
            let error = missing(py, name, known);
            // hasattr() and completion expect this class; the message is the same.
            pyo3::exceptions::PyAttributeError::new_err(error.value(py).to_string())
        })
    }

    fn __getitem__<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Bound<'py, PyAny>> {
        let known = self.by_id.bind(py);
        known.get_item(id)?.ok_or_else(|| missing(py, id, known))
    }

    fn __dir__(&self, py: Python<'_>) -> Vec<String> {
        let own = [
            "call",
            "close",
            "components",
            "damage",
            "disabled",
            "flush",
            "log_end",
            "retire",
            "serve_callouts",
            "uncovered",
        ];
        let own = own.map(str::to_owned);
        self.namespaces.bind(py).keys().iter().map(|key| key.to_string()).chain(own).collect()
    }

    #[expect(clippy::unused_self, reason = "as PyO3 calls it")]
    fn __reduce__(&self) -> PyResult<()> {
        Err(bindings::unpicklable("a Pit"))
    }

    /// What `symphony pit list --json` shows.
    fn components<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows = PyList::empty(py);
        for component in self.loaded.components() {
            rows.append(describe_one(py, &component.description)?)?;
        }
        Ok(rows)
    }

    /// Damaged places of the log that were set aside when it was opened: (file, offset, what it is, folder).
    fn damage(&self, py: Python<'_>) -> PyResult<Vec<(String, usize, String, String)>> {
        let log = self.loaded.log().map_err(|error| errors::from_load(py, &error))?;
        let rows = log.damage().iter();
        Ok(rows.map(|row| (text(&row.path), row.offset, row.what.clone(), text(&row.aside))).collect())
    }

    /// Components that were left out: (id, reason, the note to remove to have them tried again).
    fn disabled(&self) -> Vec<(String, String, String)> {
        let rows = self.loaded.disabled().into_iter();
        rows.map(|row| (row.id, row.reason, text(&row.note))).collect()
    }

    /// Bytes of the log that the oldest snapshot does not cover.
    fn uncovered(&self, py: Python<'_>) -> PyResult<u64> {
        refuse_forked(py)?;
        Ok(self.loaded.uncovered())
    }

    /// Position behind the last record of the log so far.
    fn log_end(&self, py: Python<'_>) -> PyResult<u64> {
        let log = self.loaded.log().map_err(|error| errors::from_load(py, &error))?;
        Ok(log.end())
    }

    /// Let go of the segments of the log that end before a position and that the components can do without. Gives how many,
    /// and how many records of them are kept beside the log.
    fn retire(&self, py: Python<'_>, before: u64) -> PyResult<(usize, usize)> {
        refuse_forked(py)?;
        let retired = py.detach(|| self.loaded.retire(before));
        let retired = retired.map_err(|error| errors::from_load(py, &error))?;
        Ok((retired.segments, retired.kept))
    }

    /// Wait until everything recorded so far is on the disk. Many who wait at once share one flush.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        refuse_forked(py)?;
        let flushed = py.detach(|| Ok(self.loaded.log()?.flush()?));
        flushed.map_err(|error| errors::from_load(py, &error))
    }

    /// "machine" or "process": what the records survive.
    #[getter]
    fn durability(&self, py: Python<'_>) -> PyResult<&'static str> {
        let log = self.loaded.log().map_err(|error| errors::from_load(py, &error))?;
        Ok(if log.durable() { "machine" } else { "process" })
    }

    /// Call a method by names: component name or id, method, arguments.
    fn call<'py>(
        &self,
        py: Python<'py>,
        component: &str,
        method: &str,
        args: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let namespace = match self.namespaces.bind(py).get_item(component)? {
            Some(namespace) => namespace,
            None => self.__getitem__(py, component)?,
        };
        let function = namespace
            .getattr(method)
            .ok()
            .filter(|found| !method.starts_with('_') && found.is_callable())
            .ok_or_else(|| {
                let known = self.loaded.components().iter().find(|known| {
                    known.description.name() == component || known.description.id() == component
                });
                let names: Vec<&str> = known
                    .into_iter()
                    .flat_map(|known| known.description.methods())
                    .map(pit_api::MethodView::name)
                    .collect();
                let message =
                    format!("component {component} has no method {method:?}; it has {}", names.join(", "));
                errors::raise(py, "NotFound", &message)
            })?;
        function.call1(pyo3::types::PyTuple::new(py, args)?)
    }

    /// Answer what components ask for: `handler(component, name, args)` is called on the thread of `event_loop`.
    fn serve_callouts(&self, event_loop: &Bound<'_, PyAny>, handler: Bound<'_, PyAny>) -> PyResult<()> {
        self.gate.pass(event_loop.py())?;
        async_support::serve_callouts(&self.loaded, event_loop, handler)
    }

    /// Give the lease back; further calls raise PitUnavailable.
    fn close(&self, py: Python<'_>) {
        self.gate.close();
        py.detach(|| self.loaded.close());
    }

    #[getter]
    fn closed(&self) -> bool {
        self.gate.is_closed()
    }
}

/// Take the Pit lease of a home, open its log, load the libraries and replay the log into them.
///
/// `notify` are the descriptors (eventfd, memfd) by which the reader of the log in another process is woken.
/// `create_timeout` is how long a component may take to come into being, `durability` what records survive ("process", or
/// "machine": power loss too, for those who flush), `flush_interval` how much of the past a power loss may take in the mode
/// "process", `log_backend` forces "mmap" or "pwrite" where the probe of the file system would choose.
#[pyfunction]
#[pyo3(signature = (home, libraries, log_segment_bytes = 0, notify = None, create_timeout = CREATE_PATIENCE,
    durability = "process", flush_interval = Duration::from_secs(1), log_backend = None))]
#[expect(clippy::too_many_arguments, reason = "settings, all with defaults")]
fn open_pit(
    py: Python<'_>,
    home: PathBuf,
    libraries: Vec<PathBuf>,
    log_segment_bytes: usize,
    notify: Option<(RawFd, RawFd)>,
    create_timeout: Duration,
    durability: &str,
    flush_interval: Duration,
    log_backend: Option<&str>,
) -> PyResult<Pit> {
    refuse_forked(py)?;
    let _inside = ending::enter(py)?;
    let durability = match durability {
        "process" => Durability::Process { flush_interval },
        "machine" => Durability::Machine,
        other => return Err(unknown_setting(py, "durability", other, "process, machine")),
    };
    let backend = match log_backend {
        None => None,
        Some(name) => Some(
            Backend::named(name).ok_or_else(|| unknown_setting(py, "log_backend", name, "mmap, pwrite"))?,
        ),
    };
    let notifier = match notify {
        // SAFETY: descriptors that the supervisor opened for this process and that nothing else uses.
        Some((event, memory)) => unsafe {
            Some(Notifier::new(OwnedFd::from_raw_fd(event), &OwnedFd::from_raw_fd(memory))?)
        },
        None => None,
    };
    let options = Options { segment_bytes: log_segment_bytes, notifier, durability, backend };
    let opened = py.detach(|| pit_api::Pit::open(&home, &libraries, options, create_timeout));
    let pit = opened.map_err(|error| errors::from_load(py, &error))?;
    let gate = Arc::new(Gate::default());
    let (namespaces, by_id) = (PyDict::new(py), PyDict::new(py));
    for component in pit.components() {
        let namespace = bindings::namespace(py, component, &gate)?;
        by_id.set_item(component.description.id(), &namespace)?;
        if !namespaces.contains(component.description.name())? {
            namespaces.set_item(component.description.name(), namespace)?;
        }
    }
    Ok(Pit { loaded: Arc::new(pit), gate, namespaces: namespaces.unbind(), by_id: by_id.unbind() })
}

fn unknown_setting(py: Python<'_>, name: &str, found: &str, known: &str) -> PyErr {
    errors::raise(py, "PitInvalidArgument", &format!("{name}: expected one of {known}, got {found:?}"))
}

/// Turn the log of a home so far into snapshots, without its lease. Gives (component, position, bytes) of each.
#[pyfunction]
fn compact(py: Python<'_>, home: PathBuf, libraries: Vec<PathBuf>) -> PyResult<Vec<(String, u64, usize)>> {
    let written = py.detach(|| pit_api::compact(&home, &libraries, CREATE_PATIENCE));
    let written = written.map_err(|error| errors::from_load(py, &error))?;
    Ok(written.into_iter().map(|row| (row.id, row.position, row.bytes)).collect())
}

/// What is in the log of a home, without its lease and without changing anything: the rows of `symphony doctor`.
#[pyfunction]
fn inspect(py: Python<'_>, home: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let pit = home.join("pit");
    let found = py.detach(|| symphony_pit_journal::inspect(&pit));
    let found = found.map_err(|error| errors::from_load(py, &error.into()))?;
    let segments = PyList::empty(py);
    for segment in &found.segments {
        let row = PyDict::new(py);
        row.set_item("path", text(&segment.path))?;
        row.set_item("first", segment.first)?;
        row.set_item("bytes", segment.bytes)?;
        row.set_item("used", segment.end)?;
        row.set_item("records", segment.records)?;
        row.set_item("sealed", segment.sealed)?;
        row.set_item("holes", segment.holes)?;
        let damage = segment.damage.as_ref().map(|(offset, what)| {
            let damage = PyDict::new(py);
            damage.set_item("offset", offset)?;
            damage.set_item("what", what)?;
            PyResult::Ok(damage)
        });
        row.set_item("damage", damage.transpose()?)?;
        segments.append(row)?;
    }
    let aside = found.aside.iter().map(|(path, what)| (text(path), what.clone()));
    let disabled = pit_api::disabled(&pit).into_iter().map(|row| (row.id, row.reason, text(&row.note)));
    let poison = found.poison.as_ref().map(|(id, poison)| (id, poison.position, poison.deaths));
    let rows = PyDict::new(py);
    rows.set_item("poison", poison)?;
    rows.set_item("backend", found.backend.map_or("none", Backend::name))?;
    rows.set_item("backend_reason", &found.reason)?;
    rows.set_item("segments", segments)?;
    rows.set_item("records", &found.records)?;
    rows.set_item("aside", aside.collect::<Vec<_>>())?;
    rows.set_item("disabled", disabled.collect::<Vec<_>>())?;
    Ok(rows)
}

/// Process that holds the Pit lease of a home, if any.
#[pyfunction]
fn lease_holder(home: PathBuf) -> Option<i32> {
    symphony_pit_journal::holder(&home.join("pit").join("lease"))
}

/// End this process when the peer of a socket goes away. A native thread does it, so that it needs no Python lock.
#[pyfunction]
fn watch_parent(descriptor: RawFd) -> PyResult<()> {
    let watch = move || {
        let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLRDHUP, revents: 0 };
        loop {
            // SAFETY: one valid entry; a descriptor that is open for the life of the process.
            let ready = unsafe { libc::poll(&raw mut entry, 1, -1) };
            if ready > 0
                && entry.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
            {
                // SAFETY: ends the process at once: what was recorded is recorded.
                unsafe { libc::_exit(0) };
            }
        }
    };
    std::thread::Builder::new().name("symphony-parent".to_owned()).spawn(watch)?;
    Ok(())
}

/// Statics of this module hold objects of the interpreter that imported it first; another one must not meet them.
fn refuse_sub_interpreter() -> PyResult<()> {
    // SAFETY: a module is made attached to the interpreter that imports it.
    if unsafe { ffi::PyInterpreterState_Get() != ffi::PyInterpreterState_Main() } {
        let message = "symphony._host does not support sub-interpreters: import it, and open the Pit, in the main \
                       interpreter of a process";
        return Err(PyImportError::new_err(message));
    }
    Ok(())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    refuse_sub_interpreter()?;
    watch_panics();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("ABI", (ABI_MAJOR, ABI_MINOR))?;
    module.add_class::<Pit>()?;
    module.add_function(wrap_pyfunction!(codec::encode, module)?)?;
    module.add_function(wrap_pyfunction!(codec::decode, module)?)?;
    module.add_function(wrap_pyfunction!(describe, module)?)?;
    module.add_function(wrap_pyfunction!(open_pit, module)?)?;
    module.add_function(wrap_pyfunction!(compact, module)?)?;
    module.add_function(wrap_pyfunction!(inspect, module)?)?;
    module.add_function(wrap_pyfunction!(lease_holder, module)?)?;
    module.add_function(wrap_pyfunction!(watch_parent, module)?)?;
    async_support::register(module)?;
    ending::register(module)?;
    run_events::register(module)?;
    vitals::register(module)?;
    Ok(())
}
