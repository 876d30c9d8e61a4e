//! From a Rust type to the functions of an [`Entry`](crate::Entry): every one catches panics and checks its pointers.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{HostTable, Param, RawRecord, RawValue, Returned, STATUS_OK};
use crate::value::Args;

/// What a component type provides; the method table comes from `export_component!`.
pub trait Component: Sized + Send + Sync + 'static {
    /// Make an empty instance.
    fn create(host: Host) -> Result<Self>;

    /// Apply one record of this component, as it was appended.
    fn replay(&self, record: &Record<'_>) -> Result<()>;

    /// All records are replayed.
    fn start(&self) -> Result<()> {
        Ok(())
    }
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

/// The host, as a component sees it.
pub struct Host {
    table: &'static HostTable,
}

// SAFETY: the functions of the table may be called from any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// Folder that this component alone writes to.
    pub fn data_dir(&self) -> &str {
        // SAFETY: lives as long as the table.
        unsafe { self.table.data_dir.as_str() }
    }

    /// Microseconds since the epoch, UTC.
    pub fn now(&self) -> i64 {
        // SAFETY: a function of the table with its own context.
        unsafe { (self.table.now)(self.table.context) }
    }

    /// Append one record. Once this returns, the record outlives the process.
    pub fn append(&self, kind: u16, revision: u16, time: i64, payload: &[u8]) -> Result<u64> {
        // SAFETY: as above; the payload is borrowed for the call.
        let position = unsafe {
            (self.table.append)(self.table.context, kind, revision, time, payload.as_ptr(), payload.len())
        };
        u64::try_from(position).map_err(|_| match -position {
            3 => Error::new(
                ErrorKind::Exhausted,
                format!("a record of {} bytes is larger than the log takes", payload.len()),
            ),
            4 => Error::conflict("the log is closed"),
            _ => Error::new(ErrorKind::Io, "the log could not be extended: the disk is full or read-only"),
        })
    }
}

fn finish(result: std::thread::Result<Result<Returned>>, out: *mut Returned) -> u32 {
    let (status, returned) = match result {
        Ok(Ok(returned)) => (STATUS_OK, returned),
        Ok(Err(error)) => (error.kind as u32, Returned::from_error(error)),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "unknown panic".to_owned());
            (ErrorKind::Panic as u32, Returned::from_error(Error::new(ErrorKind::Panic, message)))
        }
    };
    // SAFETY: `out` is the caller's slot, valid for a write.
    unsafe { out.write(returned) };
    status
}

/// # Safety
/// Called by the host with the pointers that the layout promises.
pub unsafe fn create<C: Component>(table: *const HostTable, out: *mut Returned) -> *mut c_void {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the host keeps the table alive as long as the instance.
        C::create(Host { table: unsafe { &*table } }).map(Box::new)
    }));
    match result {
        Ok(Ok(instance)) => Box::into_raw(instance).cast(),
        Ok(Err(error)) => {
            finish(Ok(Err(error)), out);
            std::ptr::null_mut()
        }
        Err(panic) => {
            finish(Err(panic), out);
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// As [`create`].
pub unsafe fn replay<C: Component>(
    instance: *const c_void,
    record: *const RawRecord,
    out: *mut Returned,
) -> u32 {
    let result = catch_unwind(AssertUnwindSafe(|| {
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
    }));
    finish(result, out)
}

/// # Safety
/// As [`create`].
pub unsafe fn start<C: Component>(instance: *const c_void, out: *mut Returned) -> u32 {
    // SAFETY: instance of `create`.
    finish(
        catch_unwind(AssertUnwindSafe(|| {
            unsafe { &*instance.cast::<C>() }.start().map(|()| Returned::EMPTY)
        })),
        out,
    )
}

/// # Safety
/// As [`create`]; the instance is not used afterwards.
pub unsafe fn destroy<C: Component>(instance: *mut c_void) {
    // SAFETY: made by `create`, destroyed once.
    let boxed = unsafe { Box::from_raw(instance.cast::<C>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(boxed)));
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
    body: impl FnOnce(&C, &Args<'_>) -> Result<Returned>,
) -> u32 {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: instance of `create`.
        let this = unsafe { &*instance.cast::<C>() };
        // SAFETY: promised by the caller.
        let values = if count == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(args, count) } };
        body(this, &Args::new(values, params))
    }));
    finish(result, out)
}
