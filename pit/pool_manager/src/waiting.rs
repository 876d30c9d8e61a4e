//! The queue for a model's leases: first come, first served; a waiter that goes away leaves no gap.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use symphony_pit::{Error, ErrorKind, Result, Value};

use crate::pool::Shared;

/// Someone who waits for a lease, as a place in the queue.
pub(crate) struct Waiter {
    pub ticket: u64,
    pub model: String,
    pub waker: Waker,
}

/// Resolves to a lease once the model is hot, a slot is free and everyone who came before has been served.
pub(crate) struct Acquire {
    shared: Arc<Shared>,
    model: String,
    ticket: u64,
}

impl Acquire {
    pub fn new(shared: Arc<Shared>, model: &str) -> Self {
        let ticket = shared.ticket();
        Self { shared, model: model.to_owned(), ticket }
    }
}

impl Future for Acquire {
    type Output = Result<Value>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.shared.acquire_or_wait(&self.model, self.ticket, context.waker()) {
            Ok(Some(lease)) => Poll::Ready(Ok(Value::Int(lease))),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        self.shared.leave(&self.model, self.ticket);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Wait on this thread; no limit without a time-out.
pub(crate) fn block_on(mut acquire: Acquire, timeout: Option<Duration>) -> Result<Value> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        if let Poll::Ready(result) = Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(left) if left.is_zero() => {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    format!("no lease of model {} in time", acquire.model),
                ));
            }
            Some(left) => std::thread::park_timeout(left),
        }
    }
}
