//! asyncio <-> Rust futures.
//!
//! A [`PitOperation`] polls on the loop's thread first, so that a ready one finishes without a trip through the loop. A pending
//! one awaits a future of the loop. Its waker, on any thread, holds no Python reference and takes no Python lock: it pushes to
//! the loop's [`Mailbox`] and signals an eventfd once per batch; the drain runs on the loop's thread.
#![allow(unsafe_code)] // the ABI's operation and waker, eventfd

use std::ffi::c_void;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};
use symphony_pit_abi::{Operation, RawWaker, Returned, STATUS_OK, STATUS_PENDING};

use crate::errors;
use crate::pit_api::{Component, Pit};
use crate::types::from_raw;

/// Wakes of one loop, from any thread.
struct Mailbox {
    woken: Mutex<Vec<u64>>,
    signalled: AtomicBool,
    event: File,
}

impl Mailbox {
    fn wake(&self, operation: u64) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // A full counter means that it is signalled already.
            let _ = (&self.event).write(&1_u64.to_ne_bytes());
        }
    }

    fn take(&self) -> Vec<u64> {
        let mut count = [0; 8];
        let _ = (&self.event).read(&mut count); // non-blocking: an empty counter is no error here
        self.signalled.store(false, Ordering::Release);
        std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The Python side of a loop's mailbox: called by the loop when the eventfd is readable.
#[pyclass(frozen, module = "symphony._host")]
struct LoopMailbox {
    mailbox: Arc<Mailbox>,
    next: AtomicU64,
    /// Operation -> the loop's future that its task awaits.
    waiting: Py<PyDict>,
}

#[pymethods]
impl LoopMailbox {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        for operation in self.mailbox.take() {
            let waiting = self.waiting.bind(py);
            let Some(future) = waiting.get_item(operation)? else { continue };
            waiting.del_item(operation)?;
            if !future.call_method0("done")?.is_truthy()? {
                future.call_method1("set_result", (py.None(),))?;
            }
        }
        Ok(())
    }
}

/// The Python side of a Pit's callouts: called by the loop when some are queued.
#[pyclass(frozen, module = "symphony._host")]
struct CalloutService {
    pit: Weak<Pit>,
    event: Arc<File>,
    handler: Py<PyAny>,
}

#[pymethods]
impl CalloutService {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let mut count = [0; 8];
        let _ = (&*self.event).read(&mut count); // non-blocking: an empty counter is no error here
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
    let event = Arc::new(event_file()?);
    let (descriptor, signal) = (event.as_raw_fd(), Arc::clone(&event));
    let service = CalloutService { pit: Arc::downgrade(pit), event, handler: handler.unbind() };
    event_loop.call_method1("add_reader", (descriptor, Bound::new(event_loop.py(), service)?))?;
    pit.callouts().listen(Some(Box::new(move || {
        // A full counter means that it is signalled already.
        let _ = (&*signal).write(&1_u64.to_ne_bytes());
    })));
    Ok(())
}

/// A descriptor by which any thread wakes the loop.
fn event_file() -> PyResult<File> {
    // SAFETY: a plain system call; the descriptor is owned by the file from here on.
    unsafe {
        let descriptor = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(File::from_raw_fd(descriptor))
    }
}

static MAILBOXES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The mailbox of the running loop, made and registered at its first use.
fn mailbox_of<'py>(py: Python<'py>, event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, LoopMailbox>> {
    let mailboxes = MAILBOXES
        .get_or_try_init(py, || {
            py.import("weakref")?.getattr("WeakKeyDictionary")?.call0().map(Bound::unbind)
        })?
        .bind(py);
    let known = mailboxes.call_method1("get", (event_loop,))?;
    if !known.is_none() {
        return Ok(known.cast_into::<LoopMailbox>()?);
    }
    let event = event_file()?;
    let descriptor = event.as_raw_fd();
    let mailbox = Arc::new(Mailbox { woken: Mutex::default(), signalled: AtomicBool::new(false), event });
    let made =
        Bound::new(py, LoopMailbox { mailbox, next: AtomicU64::new(0), waiting: PyDict::new(py).unbind() })?;
    event_loop.call_method1("add_reader", (descriptor, &made))?;
    mailboxes.set_item(event_loop, &made)?;
    Ok(made)
}

struct Wake {
    mailbox: Arc<Mailbox>,
    operation: u64,
}

fn waker(wake: Arc<Wake>) -> RawWaker {
    RawWaker {
        data: Arc::into_raw(wake).cast(),
        clone: waker_clone,
        wake: waker_wake,
        wake_by_ref: waker_wake_by_ref,
        drop: waker_drop,
    }
}

// SAFETY (all four): `data` is an `Arc<Wake>` as raw pointer, with one count per waker.
unsafe extern "C" fn waker_clone(data: *const c_void) -> RawWaker {
    unsafe { Arc::increment_strong_count(data.cast::<Wake>()) };
    waker(unsafe { Arc::from_raw(data.cast()) })
}

unsafe extern "C" fn waker_wake(data: *const c_void) {
    let wake = unsafe { Arc::from_raw(data.cast::<Wake>()) };
    wake.mailbox.wake(wake.operation);
}

unsafe extern "C" fn waker_wake_by_ref(data: *const c_void) {
    let wake = unsafe { &*data.cast::<Wake>() };
    wake.mailbox.wake(wake.operation);
}

unsafe extern "C" fn waker_drop(data: *const c_void) {
    drop(unsafe { Arc::from_raw(data.cast::<Wake>()) });
}

/// The awaitable that an `ASYNC` method returns. Dropped un-awaited, or thrown into, it cancels the operation.
#[pyclass(module = "symphony._host")]
pub(crate) struct PitOperation {
    returned: Option<Returned>,
    component: Arc<Component>,
    /// Set while pending: where the waker pushes, and under which number.
    waiting: Option<(Py<LoopMailbox>, u64)>,
}

// SAFETY: the operation is only touched while attached to Python, by one thread at a time (`&mut self`).
unsafe impl Send for PitOperation {}
// SAFETY: as above.
unsafe impl Sync for PitOperation {}

impl PitOperation {
    pub(crate) const fn new(returned: Returned, component: Arc<Component>) -> Self {
        Self { returned: Some(returned), component, waiting: None }
    }

    fn cancel(&mut self) {
        if let Some(mut returned) = self.returned.take() {
            // SAFETY: released once, not read afterwards.
            unsafe { returned.release() };
        }
    }
}

impl Drop for PitOperation {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[pymethods]
impl PitOperation {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(returned) = &self.returned else {
            return Err(PyRuntimeError::new_err("cannot reuse an already awaited Pit operation"));
        };
        let operation = returned.owner.cast::<Operation>();
        let event_loop = py.import("asyncio")?.getattr("get_running_loop")?.call0()?;
        let mailbox = mailbox_of(py, &event_loop)?;
        let number = match &self.waiting {
            Some((_, number)) => *number,
            None => mailbox.get().next.fetch_add(1, Ordering::Relaxed),
        };
        let wake = Arc::new(Wake { mailbox: Arc::clone(&mailbox.get().mailbox), operation: number });
        let waker = waker(wake);
        let mut out = Returned::EMPTY;
        // SAFETY: a live operation, polled by one thread at a time; the waker is dropped here, clones are the component's.
        let status = unsafe {
            let status = ((*operation).poll)(operation, &raw const waker, &raw mut out);
            (waker.drop)(waker.data);
            status
        };
        if status == STATUS_PENDING {
            let future = event_loop.call_method0("create_future")?;
            // Marks the future as awaited, as its own `__await__` does before it yields itself to the task.
            future.setattr("_asyncio_future_blocking", true)?;
            mailbox.get().waiting.bind(py).set_item(number, &future)?;
            self.waiting = Some((mailbox.unbind(), number));
            return Ok(future.unbind());
        }
        self.cancel();
        if status != STATUS_OK {
            return Err(errors::from_status(py, status, out, &self.component.description));
        }
        let mut out = match crate::owned::object(py, out, &self.component)? {
            // SAFETY: a new reference.
            Ok(object) => {
                let value = unsafe { Bound::from_owned_ptr(py, object) };
                return Err(PyStopIteration::new_err((value.unbind(),)));
            }
            Err(out) => out,
        };
        // SAFETY: a well-formed result, released once after it was read.
        let value = unsafe {
            let object = from_raw(&out.value, 0);
            out.release();
            Bound::from_owned_ptr_or_err(py, object)?
        };
        Err(PyStopIteration::new_err((value.unbind(),)))
    }

    fn send(&mut self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.__next__(py)
    }

    /// The awaiting task was cancelled: the operation is dropped before the exception reaches its code.
    #[pyo3(signature = (exception, *_rest))]
    fn throw(
        &mut self,
        py: Python<'_>,
        exception: Bound<'_, PyAny>,
        _rest: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.close(py)?;
        Err(PyErr::from_value(exception))
    }

    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        self.cancel();
        if let Some((mailbox, number)) = self.waiting.take() {
            let waiting = mailbox.get().waiting.bind(py);
            if waiting.contains(number)? {
                waiting.del_item(number)?;
            }
        }
        Ok(())
    }
}
