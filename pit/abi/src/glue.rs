//! From a Rust type to the functions of an [`Entry`](crate::Entry): every one catches panics and checks its pointers.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::layout::{HostTable, Param, RawRecord, RawValue, Returned, STATUS_OK};
use crate::panic;
use crate::value::Value;
use crate::view::Args;

/// What a component type provides; the method table comes from `pit_component`.
pub trait Component: Sized + Send + Sync + 'static {
    /// Make an empty instance.
    fn create(host: Host) -> Result<Self>;

    /// Take over what [`snapshot`](Component::snapshot) gave, before any record is replayed.
    fn restore(&self, _snapshot: &[u8]) -> Result<()> {
        Err(Error::corrupt("a snapshot of a component that makes none"))
    }

    /// Apply one record of this component, as it was appended. Time and randomness come from the record.
    fn replay(&self, record: &Record<'_>) -> Result<()>;

    /// All records are replayed.
    fn start(&self) -> Result<()> {
        Ok(())
    }

    /// The whole lasting state, or none: then every record is replayed each time. Never called after `start`.
    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// The end: append what was kept back, stop threads.
    fn stop(&self) {}
}

/// A record during replay.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub position: u64,
    /// Microseconds since the epoch, UTC.
    pub time: i64,
    pub kind: u16,
    pub revision: u16,
    pub payload: &'a [u8],
}

/// Run a body whose result goes straight into the caller's slot; a panic ends here.
#[inline]
fn answer(out: *mut Returned, body: impl FnOnce() -> Result<Returned>) -> u32 {
    let status = catch_unwind(AssertUnwindSafe(|| match body() {
        Ok(returned) => {
            // SAFETY: `out` is the caller's slot, valid for a write.
            unsafe { out.write(returned) };
            STATUS_OK
        }
        Err(error) => fail(error, out),
    }));
    status.unwrap_or_else(|panic| fail(Error::panicked(&*panic), out))
}

#[cold]
fn fail(error: Error, out: *mut Returned) -> u32 {
    let kind = error.kind as u32;
    // SAFETY: as above.
    unsafe { out.write(Returned::from_error(error)) };
    kind
}

/// # Safety
/// Called by the host with the pointers that the layout promises.
pub unsafe fn create<C: Component>(table: *const HostTable, out: *mut Returned) -> *mut c_void {
    panic::watch();
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the host keeps the table alive as long as the instance.
        C::create(Host::new(unsafe { &*table })).map(Arc::new)
    }));
    match result {
        Ok(Ok(instance)) => Arc::into_raw(instance).cast_mut().cast(),
        Ok(Err(error)) => {
            fail(error, out);
            std::ptr::null_mut()
        }
        Err(panic) => {
            fail(Error::panicked(&*panic), out);
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// As [`create`]; `bytes` points to `len` bytes borrowed for the call.
pub unsafe fn restore<C: Component>(
    instance: *const c_void,
    bytes: *const u8,
    len: usize,
    out: *mut Returned,
) -> u32 {
    answer(out, || {
        // SAFETY: promised by the caller.
        let bytes = if len == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(bytes, len) } };
        // SAFETY: instance of `create`.
        unsafe { &*instance.cast::<C>() }.restore(bytes).map(|()| Returned::EMPTY)
    })
}

/// # Safety
/// As [`create`].
pub unsafe fn snapshot<C: Component>(instance: *const c_void, out: *mut Returned) -> u32 {
    answer(out, || {
        // SAFETY: instance of `create`.
        let made = unsafe { &*instance.cast::<C>() }.snapshot()?;
        Ok(Returned::from_value(made.map_or(Value::None, Value::Bytes)))
    })
}

/// # Safety
/// As [`create`].
pub unsafe fn stop<C: Component>(instance: *const c_void) {
    // SAFETY: instance of `create`. A panic must not cross the ABI, and there is no one left to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| unsafe { &*instance.cast::<C>() }.stop()));
}

/// # Safety
/// As [`create`].
pub unsafe fn replay<C: Component>(
    instance: *const c_void,
    record: *const RawRecord,
    out: *mut Returned,
) -> u32 {
    answer(out, || {
        // SAFETY: instance of `create`, record borrowed for the call.
        let (this, raw) = unsafe { (&*instance.cast::<C>(), &*record) };
        let payload: &[u8] =
            // SAFETY: as above.
            if raw.len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(raw.payload, raw.len) } };
        let record = Record {
            position: raw.position,
            time: raw.time,
            kind: raw.kind,
            revision: raw.revision,
            payload,
        };
        this.replay(&record).map(|()| Returned::EMPTY)
    })
}

/// # Safety
/// As [`create`].
pub unsafe fn start<C: Component>(instance: *const c_void, out: *mut Returned) -> u32 {
    // SAFETY: instance of `create`.
    answer(out, || unsafe { &*instance.cast::<C>() }.start().map(|()| Returned::EMPTY))
}

/// # Safety
/// As [`create`]; the instance is not used afterwards.
pub unsafe fn destroy<C: Component>(instance: *mut c_void) {
    // SAFETY: made by `create`, destroyed once.
    let owned = unsafe { Arc::from_raw(instance.cast_const().cast::<C>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(owned)));
}

/// An instance behind the ABI, which holds it in an `Arc`.
pub struct Instance<'a, C> {
    component: &'a C,
}

impl<C> Instance<'_, C> {
    /// Ownership of its own, for an operation that outlives the call.
    pub fn shared(&self) -> Arc<C> {
        let pointer = std::ptr::from_ref(self.component);
        // SAFETY: `create` made the instance by `Arc::into_raw`; this adds a count, and takes it.
        unsafe {
            Arc::increment_strong_count(pointer);
            Arc::from_raw(pointer)
        }
    }
}

impl<C> std::ops::Deref for Instance<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.component
    }
}

/// Run one method.
///
/// # Safety
/// As [`create`]; `args` points to `count` values that live for the call.
#[inline]
pub unsafe fn call<C: Component>(
    instance: *const c_void,
    args: *const RawValue,
    count: usize,
    out: *mut Returned,
    params: &'static [Param],
    body: impl FnOnce(&Instance<'_, C>, &Args<'_>) -> Result<Returned>,
) -> u32 {
    answer(out, || {
        // SAFETY: instance of `create`.
        let this = Instance { component: unsafe { &*instance.cast::<C>() } };
        // SAFETY: promised by the caller.
        let values = if count == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(args, count) } };
        body(&this, &Args::new(values, params))
    })
}
