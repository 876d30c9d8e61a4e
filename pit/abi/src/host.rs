//! The host, as a component sees it: safe calls through the host's table and its extensions.

use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::{
    ASYNC_EXTENSION, AsyncTable, CALLOUT_EXTENSION, CALLS_EXTENSION, CalloutTable, CallsTable, HostTable,
    Level, Returned, STATUS_OK, Str,
};
use crate::operation::raw_waker;
use crate::returned::with_raw;
use crate::value::Value;
use crate::view::ValueRef;

/// The host of one component instance.
#[derive(Clone, Copy)]
pub struct Host {
    pub(crate) table: &'static HostTable,
}

// SAFETY: the functions of the table may be called from any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// For glue and tests: components get theirs at `create`.
    pub const fn new(table: &'static HostTable) -> Self {
        Self { table }
    }

    /// Folder that this component alone writes to.
    pub fn data_dir(&self) -> &str {
        // SAFETY: lives as long as the table.
        unsafe { self.table.data_dir.as_str() }
    }

    /// Whether records must survive power loss: then sync a file before a record names it.
    pub const fn durable(&self) -> bool {
        self.table.durable != 0
    }

    /// Microseconds since the epoch, UTC.
    pub fn now(&self) -> i64 {
        // SAFETY: a function of the table with its own context.
        unsafe { (self.table.now)(self.table.context) }
    }

    /// Append one record; gives its position. Once this returns, the record outlives the process.
    pub fn append(&self, kind: u16, revision: u16, time: i64, payload: &[u8]) -> Result<u64> {
        // SAFETY: as above; the payload is borrowed for the call.
        let position = unsafe {
            (self.table.append)(self.table.context, kind, revision, time, payload.as_ptr(), payload.len())
        };
        u64::try_from(position).map_err(|_| match -position {
            1 => Error::invalid(format!(
                "a record of revision {revision}, newer than the component says it reads"
            )),
            3 => Error::new(
                ErrorKind::Exhausted,
                format!("a record of {} bytes is larger than the log takes", payload.len()),
            ),
            4 => Error::conflict("the log is closed"),
            _ => Error::new(ErrorKind::Io, "the log could not be extended: the disk is full or read-only"),
        })
    }

    /// Wait until the record at `position` survives power loss, where the mode promises that. Not under a lock.
    pub fn flush_to(&self, position: u64) -> Result<()> {
        // SAFETY: as above.
        match unsafe { (self.table.flush_to)(self.table.context, position) } {
            STATUS_OK => Ok(()),
            status => Err(Error::new(ErrorKind::from_status(status), "the log could not be synchronised")),
        }
    }

    /// Write a line to the host's log.
    pub fn log(&self, level: Level, text: &str) {
        // SAFETY: as above; the text is borrowed for the call.
        unsafe { (self.table.log)(self.table.context, level as u32, Str::borrow(text)) }
    }

    /// # Safety
    /// `T` is the table that the id stands for.
    pub(crate) unsafe fn extension<T>(&self, id: &'static str) -> Result<&'static T> {
        // SAFETY: as above.
        let table = unsafe { (self.table.extension)(self.table.context, Str::new(id)) }.cast::<T>();
        // SAFETY: promised by the caller; tables live as long as the instance.
        unsafe { table.as_ref() }
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("this host has no {id}")))
    }

    /// A future that is ready at a time (µs since the epoch). Without timers in the host it is ready at once.
    pub const fn sleep_until(&self, when: i64) -> Sleep {
        Sleep { host: *self, when, timer: None }
    }

    /// Run a closure once on a thread of the host that may block.
    pub fn spawn_blocking(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        type Job = Box<dyn FnOnce() + Send>;
        unsafe extern "C" fn run(data: *mut c_void) {
            // SAFETY: boxed below, run once. A panic ends the job alone.
            let job = unsafe { Box::from_raw(data.cast::<Job>()) };
            let _ = catch_unwind(AssertUnwindSafe(*job));
        }
        // SAFETY: the id of this table.
        let table = unsafe { self.extension::<AsyncTable>(ASYNC_EXTENSION)? };
        let job: *mut Job = Box::into_raw(Box::new(Box::new(job)));
        // SAFETY: `run` takes the box over.
        match unsafe { (table.spawn_blocking)(self.table.context, run, job.cast()) } {
            STATUS_OK => Ok(()),
            status => {
                // SAFETY: refused, so never run.
                drop(unsafe { Box::from_raw(job) });
                Err(Error::new(ErrorKind::from_status(status), "the host can start no more threads"))
            }
        }
    }

    /// Run a closure on a thread that may block, and wait for what it gives.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = Arc::new(Mutex::new(Slot { result: None, waker: None }));
        let filled = Arc::clone(&slot);
        self.spawn_blocking(move || {
            let result = catch_unwind(AssertUnwindSafe(job));
            Slot::fill(&filled, result.unwrap_or_else(|panic| Err(Error::panicked(&*panic))));
        })?;
        std::future::poll_fn(|context| {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = slot.result.take() {
                Poll::Ready(result)
            } else {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Call a FAST or BLOCKING method of a component that this one declares. Not under a lock.
    pub fn call(&self, component: &str, method: &str, args: &[Value]) -> Result<Value> {
        // SAFETY: the id of this table.
        let table = unsafe { self.extension::<CallsTable>(CALLS_EXTENSION)? };
        let mut out = Returned::EMPTY;
        with_raw(args, |raw| {
            let (component, method) = (Str::borrow(component), Str::borrow(method));
            // SAFETY: everything is borrowed for the call; the result is read once and released.
            unsafe {
                let context = self.table.context;
                let status = (table.call)(context, component, method, raw.as_ptr(), raw.len(), &raw mut out);
                let result = match status {
                    STATUS_OK => Ok(ValueRef::new(&out.value).to_owned()),
                    status => Err(out.to_error(status)),
                };
                out.release();
                result
            }
        })
    }

    /// Ask the Python engine for something; the answer is a call of one of this component's methods. Not under a lock.
    ///
    /// Fails with [`ErrorKind::WouldBlock`] where no engine listens.
    pub fn callout(&self, name: &str, args: &[Value]) -> Result<()> {
        // SAFETY: the id of this table.
        let table = unsafe { self.extension::<CalloutTable>(CALLOUT_EXTENSION)? };
        // SAFETY: everything is borrowed for the call.
        let status = with_raw(args, |raw| unsafe {
            (table.callout)(self.table.context, Str::borrow(name), raw.as_ptr(), raw.len())
        });
        match status {
            STATUS_OK => Ok(()),
            status => {
                let message = format!("no engine listens here for {name}");
                Err(Error::new(ErrorKind::from_status(status), message))
            }
        }
    }
}

/// Where a blocking job leaves its result.
struct Slot<T> {
    result: Option<Result<T>>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    fn fill(this: &Mutex<Self>, result: Result<T>) {
        let mut slot = this.lock().unwrap_or_else(PoisonError::into_inner);
        slot.result = Some(result);
        let waker = slot.waker.take();
        drop(slot);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// See [`Host::sleep_until`].
pub struct Sleep {
    host: Host,
    when: i64,
    timer: Option<u64>,
}

impl Sleep {
    fn cancel(&mut self, table: &AsyncTable) {
        if let Some(timer) = self.timer.take() {
            // SAFETY: a number of this host's.
            unsafe { (table.cancel_sleep)(self.host.table.context, timer) };
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the id of this table.
        let Ok(table) = (unsafe { self.host.extension::<AsyncTable>(ASYNC_EXTENSION) }) else {
            return Poll::Ready(());
        };
        self.cancel(table);
        if self.host.now() >= self.when {
            return Poll::Ready(());
        }
        let waker = raw_waker(context.waker());
        // SAFETY: the waker is borrowed for the call; the host keeps a clone.
        let timer = unsafe { (table.sleep_until)(self.host.table.context, self.when, &raw const waker) };
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        // SAFETY: the id of this table.
        if let Ok(table) = unsafe { self.host.extension::<AsyncTable>(ASYNC_EXTENSION) } {
            self.cancel(table);
        }
    }
}
