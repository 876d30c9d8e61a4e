//! An operation of a component while Python awaits it: polled on the loop's thread, woken from any, dropped when given up.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::ffi;
use pyo3::prelude::*;
use symphony_mailbox::fairness::Verdict;
use symphony_pit_abi::{Operation, Returned, STATUS_END, STATUS_OK, STATUS_PENDING};
use symphony_pit_journal::forked;

use super::event_loop::{Guess, Running, Shared, recent, running};
use super::kept::{Kept, postpone};
use super::known::known;
use super::object::Object;
use super::state::{Asked, Callback, Phase, State, finish, let_go};
use super::waker::{PollWaker, Woken};
use crate::gate::refuse_forked;
use crate::pit_api::Component;
use crate::types::from_raw;
use crate::{ending, errors, owned};

/// What awaiting comes to.
pub(super) enum Step {
    /// A new reference, for the awaiting task's loop.
    Yield(*mut ffi::PyObject),
    /// A new reference: the result.
    Return(*mut ffi::PyObject),
}

/// One step of the awaiting task.
///
/// # Safety
/// `own` is live; attached to Python.
pub(super) unsafe fn advance(py: Python<'_>, own: *mut Object) -> PyResult<Step> {
    // SAFETY: promised by the caller. No Python runs while it is borrowed.
    let state = unsafe { &mut (*own).state };
    if state.returned.is_some() {
        refuse_forked(py)?;
    }
    match state.phase {
        Phase::Idle if state.is_stream() && state.asked != Asked::Item => {
            return Err(PyRuntimeError::new_err(format!("{}() is iterated by `async for`", state.name())));
        }
        Phase::Idle | Phase::Kept | Phase::Woken => {}
        Phase::Waiting => {
            return Err(PyRuntimeError::new_err(format!("{}() is being awaited already", state.name())));
        }
        Phase::Cancelled => {
            let error = cancelled(py, state);
            // SAFETY: as above; the borrow of the state has ended.
            unsafe { finish(own, Phase::Finished) };
            return Err(error);
        }
        Phase::Finished if state.asked == Asked::Close => {
            state.asked = Asked::Nothing;
            // SAFETY: attached.
            return Ok(Step::Return(unsafe { ffi::Py_NewRef(ffi::Py_None()) }));
        }
        Phase::Finished if state.is_stream() => return Err(PyStopAsyncIteration::new_err(())),
        Phase::Finished => {
            let message = format!("cannot reuse already awaited {}()", state.name());
            return Err(PyRuntimeError::new_err(message));
        }
    }
    // SAFETY: as above; the borrow of the state has ended.
    unsafe { resume(py, own) }
}

/// # Safety
/// As [`advance`].
unsafe fn resume(py: Python<'_>, own: *mut Object) -> PyResult<Step> {
    let _inside = ending::enter(py)?;
    // SAFETY: promised by the caller.
    let bound = unsafe { !(*own).state.event_loop.is_null() };
    let asked;
    let mut current = if let Some(recent) = recent(py).filter(|_| !bound) {
        recent
    } else {
        asked = running(py)?;
        Guess::from(&asked)
    };
    let actual;
    // SAFETY: as above; borrowed anew, since looking for the loop may run Python.
    let state = unsafe { &mut (*own).state };
    if bound && state.event_loop != current.event_loop {
        return Err(PyRuntimeError::new_err(format!("{}() is attached to a different loop", state.name())));
    }
    if let Some(kept) = state.kept.take() {
        // SAFETY: as above; the borrow of the state has ended.
        return unsafe { conclude(py, own, kept.status, kept.out) };
    }
    let mut gives_way = false;
    if state.phase == Phase::Idle {
        if !std::mem::take(&mut state.yielded) && current.shared.postponed.load(Relaxed) {
            state.yielded = true;
            return Ok(give_way());
        }
        match current.shared.spend() {
            Verdict::Go => {}
            Verdict::Watch => {
                actual = running(py)?;
                current = Guess::from(&actual);
                actual.watch()?;
            }
            Verdict::Yield => gives_way = true,
        }
    }
    let mut out = Returned::EMPTY;
    // SAFETY: as above.
    let mut status = unsafe { poll(own, current.shared, &mut out)? };
    if status == STATUS_PENDING {
        let actual = running(py)?;
        if actual.event_loop.as_ptr() != current.event_loop {
            // SAFETY: as above. The wakes of that poll would come to another loop: the next poll's waker takes its place.
            status = unsafe { poll(own, actual.shared(), &mut out)? };
        }
        if status == STATUS_PENDING {
            // SAFETY: as above.
            return unsafe { wait(own, &actual) };
        }
    }
    if gives_way {
        // SAFETY: as above.
        let state = unsafe { &mut (*own).state };
        (state.phase, state.kept) = (Phase::Kept, Some(Box::new(Kept { status, out })));
        return Ok(give_way());
    }
    // SAFETY: as above.
    unsafe { conclude(py, own, status, out) }
}

/// The task goes on with the next turn of the loop. While attached.
fn give_way() -> Step {
    // SAFETY: promised by the caller.
    Step::Yield(unsafe { ffi::Py_NewRef(ffi::Py_None()) })
}

/// End an await whose result is kept, though its task was cancelled: that comes again. None where it is to end as it would.
///
/// # Safety
/// As [`advance`].
pub(super) unsafe fn deliver(
    py: Python<'_>,
    own: *mut Object,
    thrown: &Bound<'_, PyAny>,
) -> PyResult<Option<Step>> {
    // SAFETY: promised by the caller.
    if unsafe { (*own).state.kept.is_none() } || forked() || !postpone(py, thrown)? {
        return Ok(None);
    }
    // SAFETY: as above.
    unsafe { resume(py, own) }.map(Some)
}

/// Poll once; no Python runs.
///
/// # Safety
/// As [`advance`].
unsafe fn poll(own: *mut Object, shared: &Arc<Shared>, out: &mut Returned) -> PyResult<u32> {
    // SAFETY: promised by the caller.
    let state = unsafe { &mut (*own).state };
    let Some(returned) = &state.returned else {
        return Err(PyRuntimeError::new_err(format!("{}() was closed", state.name())));
    };
    let operation = returned.owner.cast::<Operation>();
    if state.letter.as_ref().is_some_and(|letter| !letter.content.is_for(shared)) {
        state.forget_wakes(); // of a poll that was ready, and had taken another loop for this one
    }
    let waker = PollWaker::new(shared, own, state.letter.take());
    let raw = waker.raw();
    // SAFETY: a live operation, polled by one thread at a time; the waker is borrowed, clones are the component's.
    let status = unsafe { ((*operation).poll)(operation, &raw const raw, out) };
    state.letter = waker.into_letter();
    Ok(status)
}

/// The task sleeps: it gets this object, as a future that is foreign to asyncio.
///
/// # Safety
/// As [`advance`].
unsafe fn wait(own: *mut Object, current: &Running<'_>) -> PyResult<Step> {
    current.shared().budget.turned(); // the task gives way: that is all the loop needs
    // SAFETY: live objects; from here on the object is part of cycles (task, coroutine, callback).
    unsafe {
        let state = &mut (*own).state;
        (state.phase, state.blocking) = (Phase::Waiting, true);
        state.holder = Some(Arc::clone(current.shared()));
        if state.event_loop.is_null() {
            state.event_loop = ffi::Py_NewRef(current.event_loop.as_ptr());
            ffi::PyObject_GC_Track(own.cast());
        }
        current.shared().hold(own.cast())?;
        Ok(Step::Yield(ffi::Py_NewRef(own.cast())))
    }
}

/// A final poll: the operation is dropped, unless it is a stream that goes on.
///
/// # Safety
/// As [`advance`].
unsafe fn conclude(py: Python<'_>, own: *mut Object, status: u32, out: Returned) -> PyResult<Step> {
    // SAFETY: promised by the caller; the borrow of the state ends before Python runs.
    let component = unsafe {
        let state = &mut (*own).state;
        let component = Arc::clone(&state.component);
        if state.is_stream() && status == STATUS_OK {
            (state.phase, state.asked) = (Phase::Idle, Asked::Nothing);
        } else {
            finish(own, Phase::Finished);
        }
        component
    };
    match status {
        STATUS_OK => result(py, out, &component).map(Step::Return),
        STATUS_END => Err(PyStopAsyncIteration::new_err(())),
        _ => Err(errors::from_status(py, status, out, &component.description)),
    }
}

/// A new reference to what the operation gave.
fn result(py: Python<'_>, out: Returned, component: &Arc<Component>) -> PyResult<*mut ffi::PyObject> {
    let mut out = match owned::object(py, out, component)? {
        Ok(object) => return Ok(object),
        Err(out) => out,
    };
    // SAFETY: a well-formed result, released once after it was read.
    unsafe {
        let object = from_raw(&out.value);
        out.release();
        if object.is_null() { Err(PyErr::fetch(py)) } else { Ok(object) }
    }
}

/// The `CancelledError` with the message that the cancellation came with.
pub(super) fn cancelled(py: Python<'_>, state: &State) -> PyErr {
    // SAFETY: null or a live object.
    let message = unsafe { Bound::from_borrowed_ptr_or_opt(py, state.message) };
    let made = known(py).and_then(|known| match message.filter(|message| !message.is_none()) {
        Some(message) => known.cancelled.bind(py).call1((message,)),
        None => known.cancelled.bind(py).call0(),
    });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// Queue the callbacks in their loop.
///
/// # Safety
/// `own` is live, and stays so while Python runs; attached to Python.
pub(super) unsafe fn schedule(py: Python<'_>, own: *mut Object) -> PyResult<()> {
    // SAFETY: promised by the caller; the borrow ends here.
    let (callbacks, event_loop) = unsafe {
        let state = &mut (*own).state;
        (std::mem::take(&mut state.callbacks), ffi::Py_XNewRef(state.event_loop))
    };
    let known = known(py)?;
    let mut outcome = Ok(());
    for Callback { function, context } in callbacks {
        outcome = outcome.and(known.call_soon(py, event_loop, function, own.cast(), context));
        // SAFETY: owned until here.
        unsafe {
            ffi::Py_DECREF(function);
            ffi::Py_DECREF(context);
        }
    }
    // SAFETY: as above.
    unsafe { ffi::Py_XDECREF(event_loop) };
    outcome
}

/// A wake has arrived on the loop's thread.
pub(super) fn woken(py: Python<'_>, woken: &Woken) -> PyResult<()> {
    // SAFETY: the letter was not withdrawn, so the object is live; a reference keeps it while Python runs.
    unsafe {
        let own = Bound::from_borrowed_ptr(py, woken.own.cast());
        let state = &mut (*woken.own).state;
        if state.phase != Phase::Waiting {
            return Ok(());
        }
        state.phase = Phase::Woken;
        let_go(woken.own);
        schedule(py, own.as_ptr().cast())
    }
}
