//! Operations to await, and the same by the usual means: a future of `pyo3-async-runtimes`, and an asyncio future that
//! another thread completes by `call_soon_threadsafe`.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;

#[derive(Default)]
struct Slot {
    done: bool,
    waker: Option<Waker>,
}

/// One thread that completes what it is given.
pub struct Worker {
    queue: Sender<Arc<Mutex<Slot>>>,
    counted: Arc<()>,
}

impl Worker {
    pub fn start() -> Self {
        let (queue, given) = channel::<Arc<Mutex<Slot>>>();
        std::thread::spawn(move || {
            for slot in given {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                slot.done = true;
                let waker = slot.waker.take();
                drop(slot);
                waker.into_iter().for_each(Waker::wake);
            }
        });
        Self { queue, counted: Arc::default() }
    }

    pub async fn complete(&self) {
        let slot = Arc::new(Mutex::new(Slot::default()));
        let mut given = false;
        std::future::poll_fn(|context: &mut Context<'_>| {
            let mut own = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if own.done {
                return Poll::Ready(());
            }
            own.waker = Some(context.waker().clone());
            drop(own);
            if !std::mem::replace(&mut given, true) {
                let _ = self.queue.send(Arc::clone(&slot)); // the thread lives as long as this
            }
            Poll::Pending
        })
        .await;
    }

    pub fn count(&self) -> Arc<()> {
        Arc::clone(&self.counted)
    }

    pub fn counted(&self) -> usize {
        Arc::strong_count(&self.counted) - 1
    }
}

/// The number, as an awaitable of `pyo3-async-runtimes`.
#[pyfunction]
pub fn future_ready(py: Python<'_>, number: i64) -> PyResult<Bound<'_, PyAny>> {
    pyo3_async_runtimes::tokio::future_into_py(py, async move { Ok(number) })
}

/// Loop, `set_result`, number.
type Completion = (Py<PyAny>, Py<PyAny>, i64);

/// Have another thread complete an asyncio future with a number, by `call_soon_threadsafe`.
#[pyfunction]
pub fn complete_future(event_loop: Py<PyAny>, set_result: Py<PyAny>, number: i64) {
    static QUEUE: LazyLock<Sender<Completion>> = LazyLock::new(|| {
        let (queue, given) = channel::<Completion>();
        std::thread::spawn(move || {
            for (event_loop, set_result, number) in given {
                Python::try_attach(|py| {
                    let _ = event_loop.call_method1(py, "call_soon_threadsafe", (set_result, number));
                    drop(event_loop);
                });
            }
        });
        queue
    });
    let _ = QUEUE.send((event_loop, set_result, number)); // its thread never ends
}
