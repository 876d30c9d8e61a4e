//! Asynchronous operations: a Rust future behind the ABI's poll function, and the waker on its other side.

use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, RawWaker as StdRawWaker, RawWakerVTable, Waker};

use crate::error::{Error, Result};
use crate::layout::{Operation, RawValue, RawWaker, Returned, STATUS_OK, STATUS_PENDING};
use crate::value::Value;

pub type Boxed = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

/// `head` is first, so that a pointer to it is a pointer to the whole.
#[repr(C)]
struct FutureOperation {
    head: Operation,
    future: Option<Boxed>,
}

/// Box a future as an operation of the ABI; `release` drops, and so cancels it.
pub fn operation(future: Boxed) -> Returned {
    let size = u32::try_from(size_of::<Operation>()).unwrap_or(0);
    let boxed =
        Box::new(FutureOperation { head: Operation { size, reserved: 0, poll }, future: Some(future) });
    Returned { value: RawValue::NONE, owner: Box::into_raw(boxed).cast(), release: Some(release) }
}

unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: made in `operation`, released once.
    let boxed = unsafe { Box::from_raw(owner.cast::<FutureOperation>()) };
    // A panic in a destructor must not cross the ABI.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(boxed)));
}

unsafe extern "C" fn poll(operation: *mut Operation, waker: *const RawWaker, out: *mut Returned) -> u32 {
    // SAFETY: the caller polls what `operation` made, from one thread at a time.
    let this = unsafe { &mut *operation.cast::<FutureOperation>() };
    let Some(future) = this.future.as_mut() else {
        return STATUS_PENDING;
    };
    // SAFETY: the waker is borrowed for this call.
    let waker = unsafe { self::waker(&*waker) };
    let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
    let result = match polled {
        Ok(Poll::Pending) => return STATUS_PENDING,
        Ok(Poll::Ready(result)) => result,
        Err(panic) => Err(Error::panicked(&*panic)),
    };
    let done = this.future.take();
    // As in `release`: what is left of the future may panic where it is dropped.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(done)));
    let (status, returned) = match result {
        Ok(value) => (STATUS_OK, Returned::from_value(value)),
        Err(error) => (error.kind as u32, Returned::from_error(error)),
    };
    // SAFETY: `out` is the caller's slot.
    unsafe { out.write(returned) };
    status
}

/// A waker of the other side, cloned.
///
/// # Safety
/// The functions of `foreign` keep the ABI's promises.
pub unsafe fn waker(foreign: &RawWaker) -> Waker {
    // SAFETY: `clone_raw` takes a reference of its own.
    unsafe { Waker::from_raw(clone_raw(std::ptr::from_ref(foreign).cast())) }
}

const VTABLE: RawWakerVTable = RawWakerVTable::new(clone_raw, wake_raw, wake_by_ref_raw, drop_raw);

// SAFETY (all four): `data` is a `RawWaker` of the other side: borrowed in `clone_raw`, boxed by it everywhere else.
unsafe fn clone_raw(data: *const ()) -> StdRawWaker {
    let foreign = unsafe { &*data.cast::<RawWaker>() };
    let own = Box::new(unsafe { (foreign.clone)(foreign.data) });
    StdRawWaker::new(Box::into_raw(own).cast_const().cast(), &VTABLE)
}

unsafe fn wake_raw(data: *const ()) {
    let own = unsafe { Box::from_raw(data.cast::<RawWaker>().cast_mut()) };
    unsafe { (own.wake)(own.data) };
}

unsafe fn wake_by_ref_raw(data: *const ()) {
    let own = unsafe { &*data.cast::<RawWaker>() };
    unsafe { (own.wake_by_ref)(own.data) };
}

unsafe fn drop_raw(data: *const ()) {
    let own = unsafe { Box::from_raw(data.cast::<RawWaker>().cast_mut()) };
    unsafe { (own.drop)(own.data) };
}

/// A waker of this side in the ABI's form, borrowed from `waker` for one call.
pub fn raw_waker(waker: &Waker) -> RawWaker {
    RawWaker {
        data: std::ptr::from_ref(waker).cast(),
        clone: own_clone,
        wake: own_wake,
        wake_by_ref: own_wake_by_ref,
        drop: own_drop,
    }
}

// SAFETY (all four): `data` is a `Waker`: borrowed in the first one that is handed out, boxed in every clone.
unsafe extern "C" fn own_clone(data: *const c_void) -> RawWaker {
    let own = Box::new(unsafe { &*data.cast::<Waker>() }.clone());
    RawWaker { data: Box::into_raw(own).cast_const().cast(), ..raw_waker(Waker::noop()) }
}

unsafe extern "C" fn own_wake(data: *const c_void) {
    unsafe { Box::from_raw(data.cast::<Waker>().cast_mut()) }.wake();
}

unsafe extern "C" fn own_wake_by_ref(data: *const c_void) {
    unsafe { &*data.cast::<Waker>() }.wake_by_ref();
}

unsafe extern "C" fn own_drop(data: *const c_void) {
    drop(unsafe { Box::from_raw(data.cast::<Waker>().cast_mut()) });
}
