//! Questions to the Python engine, awaited: an operation of the host's, polled from this side.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::layout::{ASK_EXTENSION, AskTable, Operation, Returned, STATUS_OK, STATUS_PENDING, Str};
use crate::operation::raw_waker;
use crate::returned::with_raw;
use crate::value::Value;
use crate::view::ValueRef;

impl Host {
    /// Ask the Python engine for something, and wait for what its coroutine returns. Not under a lock.
    ///
    /// Dropped, it cancels the coroutine. What that raises comes as an error of the fitting kind. Fails with
    /// [`ErrorKind::WouldBlock`] where no engine listens, with [`ErrorKind::NotFound`] where it does not know the name.
    pub async fn ask(&self, name: &str, args: &[Value]) -> Result<Value> {
        self.asked(name, args)?.await
    }

    fn asked(&self, name: &str, args: &[Value]) -> Result<Asked> {
        // SAFETY: the id of this table.
        let table = unsafe { self.extension::<AskTable>(ASK_EXTENSION)? };
        let mut out = Returned::EMPTY;
        // SAFETY: everything is borrowed for the call.
        let status = with_raw(args, |raw| unsafe {
            (table.ask)(self.table.context, Str::borrow(name), raw.as_ptr(), raw.len(), &raw mut out)
        });
        if status == STATUS_OK {
            return Ok(Asked(out));
        }
        let message = format!("no engine listens here for {name}");
        Err(Error::new(ErrorKind::from_status(status), message))
    }
}

/// An operation of the host's.
struct Asked(Returned);

// SAFETY: the ABI lets an operation be polled and released on any thread, by one at a time.
unsafe impl Send for Asked {}

impl Future for Asked {
    type Output = Result<Value>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Value>> {
        let operation = self.0.owner.cast::<Operation>();
        let waker = raw_waker(context.waker());
        let mut out = Returned::EMPTY;
        // SAFETY: a live operation; the waker is borrowed for the call, the result read once and released.
        unsafe {
            let status = ((*operation).poll)(operation, &raw const waker, &raw mut out);
            let result = match status {
                STATUS_PENDING => return Poll::Pending,
                STATUS_OK => Ok(ValueRef::new(&out.value).to_owned()),
                status => Err(out.to_error(status)),
            };
            out.release();
            Poll::Ready(result)
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // SAFETY: released once, not polled afterwards.
        unsafe { self.0.release() };
    }
}
