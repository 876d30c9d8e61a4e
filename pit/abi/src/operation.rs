//! Asynchronous operations: a Rust future or stream behind the ABI's poll function, and the waker on its other side.

use std::ffi::c_void;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, RawWaker as StdRawWaker, RawWakerVTable, Waker};

use crate::error::{Error, Result};
use crate::layout::{Operation, RawValue, RawWaker, Returned, STATUS_END, STATUS_OK, STATUS_PENDING};
use crate::value::Value;

/// What a stream gives: items until the first error or none.
pub type PolledItem = Poll<Option<Result<Value>>>;

/// What an operation polls: once to its end, or item by item.
trait Source {
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> PolledItem;

    /// Whether it is polled again after an item.
    const MANY: bool;
}

struct Once<F>(F);

impl<F: Future<Output = Result<Value>>> Source for Once<F> {
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> PolledItem {
        // SAFETY: the one field, pinned with the whole.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(context).map(Some)
    }

    const MANY: bool = false;
}

struct Many<F>(F);

impl<F: FnMut(&mut Context<'_>) -> PolledItem + Unpin> Source for Many<F> {
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> PolledItem {
        (self.0)(context)
    }

    const MANY: bool = true;
}

/// `head` is first, so that a pointer to it is a pointer to the whole.
#[repr(C)]
struct Polled<S> {
    head: Operation,
    /// Pinned: boxed with the whole, and dropped where it is.
    source: Option<S>,
}

/// Box a future as an operation of the ABI; `release` drops, and so cancels it.
pub fn operation(future: impl Future<Output = Result<Value>> + Send + 'static) -> Returned {
    boxed(Once(future))
}

/// Box a function that polls for the next item as the operation of a stream; `release` drops it.
pub fn stream(next: impl FnMut(&mut Context<'_>) -> PolledItem + Send + Unpin + 'static) -> Returned {
    boxed(Many(next))
}

fn boxed<S: Source>(source: S) -> Returned {
    let size = u32::try_from(size_of::<Operation>()).unwrap_or(0);
    let head = Operation { size, reserved: 0, poll: poll::<S> };
    let owner = Box::into_raw(Box::new(Polled { head, source: Some(source) })).cast();
    Returned { value: RawValue::NONE, owner, release: Some(release::<S>) }
}

unsafe extern "C" fn release<S>(owner: *mut c_void) {
    // SAFETY: made in `boxed`, released once.
    let boxed = unsafe { Box::from_raw(owner.cast::<Polled<S>>()) };
    // A panic in a destructor must not cross the ABI.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(boxed)));
}

unsafe extern "C" fn poll<S: Source>(
    operation: *mut Operation,
    waker: *const RawWaker,
    out: *mut Returned,
) -> u32 {
    // SAFETY: the caller polls what `boxed` made, from one thread at a time; the source is never moved.
    let source = unsafe { Pin::new_unchecked(&mut (*operation.cast::<Polled<S>>()).source) };
    let Some(polled) = source.as_pin_mut() else {
        return if S::MANY { STATUS_END } else { STATUS_PENDING };
    };
    // SAFETY: the waker is borrowed for this call, and so is the one made of it.
    let waker = ManuallyDrop::new(unsafe { Waker::from_raw(StdRawWaker::new(waker.cast(), &BORROWED)) });
    let polled = catch_unwind(AssertUnwindSafe(|| polled.poll(&mut Context::from_waker(&waker))));
    let item = match polled {
        Ok(Poll::Pending) => return STATUS_PENDING,
        Ok(Poll::Ready(item)) => item,
        Err(panic) => Some(Err(Error::panicked(&*panic))),
    };
    if !S::MANY || !matches!(item, Some(Ok(_))) {
        // As in `release`: what is left of it may panic where it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: as above; dropped in its place.
            unsafe { (*operation.cast::<Polled<S>>()).source = None }
        }));
    }
    let (status, returned) = match item {
        None => return STATUS_END,
        Some(Ok(value)) => (STATUS_OK, Returned::from_value(value)),
        Some(Err(error)) => (error.kind as u32, Returned::from_error(error)),
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
/// Of a waker that lies with the caller of a poll: only its clones are boxed, so that a poll that is ready allocates nothing.
/// It is never dropped, and so never woken by value.
const BORROWED: RawWakerVTable = RawWakerVTable::new(clone_raw, wake_by_ref_raw, wake_by_ref_raw, keep_raw);

const unsafe fn keep_raw(_data: *const ()) {}

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
