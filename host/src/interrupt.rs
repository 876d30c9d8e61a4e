//! Waiting that Ctrl-C ends.
//!
//! A thread that waits detached inside a component cannot be told that a signal has come. So on the main thread, which is
//! where Python handles signals, the bridge does not call a WAITING method: it waits for the operation of its twin, looks for
//! signals whenever it is woken, and drops the operation when a handler raises.
#![allow(unsafe_code)] // the ABI's operation, poll(2), CPython's signal check

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Wake, Waker};

use pyo3::ffi;
use pyo3::prelude::*;
use symphony_pit_abi::{
    FLAG_ASYNC, FLAG_WAITING, Operation, RawValue, Returned, STATUS_OK, STATUS_PENDING, raw_waker,
};

use crate::pit_api::{Description, MethodView};

/// A signal that reaches another thread does not end this one's sleep: it looks for itself this often (ms).
const LOOK: i32 = 100;

/// The asynchronous method that waits for the same as a WAITING one.
pub(crate) fn twin(component: &Description, method: MethodView) -> Option<MethodView> {
    if method.raw.flags & FLAG_WAITING == 0 {
        return None;
    }
    let name = format!("{}_async", method.name());
    let names = |method: MethodView| method.params().iter().map(|param| param.name).collect::<Vec<_>>();
    component.methods().find(|other| {
        other.name() == name && other.raw.flags & FLAG_ASYNC != 0 && names(*other) == names(method)
    })
}

/// Whether this is the thread on which Python handles signals.
pub(crate) fn on_main_thread() -> bool {
    // SAFETY: plain system calls. On Linux the first thread of a process has the number of the process.
    unsafe { libc::gettid() == libc::getpid() }
}

struct Signal(PipeWriter);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        // The other end lives as long as the wait; once that is over, nobody needs to be woken.
        let _ = (&self.0).write(&[1]);
    }
}

/// An operation of a component, dropped (and so cancelled) however the wait ends.
struct Pending(Returned);

impl Pending {
    fn poll(&self, waker: &Waker, out: &mut Returned) -> u32 {
        let (operation, waker) = (self.0.owner.cast::<Operation>(), raw_waker(waker));
        // SAFETY: a live operation, polled by this thread alone; the waker is borrowed for the call.
        unsafe { ((*operation).poll)(operation, &raw const waker, out) }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // SAFETY: released once, not read afterwards.
        unsafe { self.0.release() };
    }
}

/// Call the twin and wait for its end; the status and result are those of the method that was asked for.
///
/// # Safety
/// `twin` is asynchronous, `instance` its component's; one value per parameter, alive for the call; attached to Python.
pub(crate) unsafe fn wait(
    py: Python<'_>,
    twin: MethodView,
    instance: *const std::ffi::c_void,
    values: &[RawValue],
    out: &mut Returned,
) -> PyResult<u32> {
    let mut started = Returned::EMPTY;
    // SAFETY: promised by the caller.
    let status = unsafe { (twin.raw.call)(instance, values.as_ptr(), values.len(), &raw mut started) };
    if status != STATUS_OK {
        *out = started;
        return Ok(status);
    }
    let operation = Pending(started);
    let status = operation.poll(Waker::noop(), out);
    if status != STATUS_PENDING {
        return Ok(status);
    }
    let (mut woken, signal) = pipe()?;
    let waker = Waker::from(Arc::new(Signal(signal)));
    loop {
        let status = operation.poll(&waker, out);
        if status != STATUS_PENDING {
            return Ok(status);
        }
        while !sleep(&woken) {
            check_signals(py)?;
        }
        woken.read_exact(&mut [0])?;
    }
}

fn check_signals(py: Python<'_>) -> PyResult<()> {
    // SAFETY: attached; runs the handlers of signals that have come.
    if unsafe { ffi::PyErr_CheckSignals() } == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
}

/// Sleep detached from Python until the operation is woken (true), a signal comes, or it is time to look for one.
fn sleep(woken: &PipeReader) -> bool {
    let mut entry = libc::pollfd { fd: woken.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: attached before and after; one valid entry.
    unsafe {
        let thread = ffi::PyEval_SaveThread();
        let ready = libc::poll(&raw mut entry, 1, LOOK);
        ffi::PyEval_RestoreThread(thread);
        ready > 0
    }
}
