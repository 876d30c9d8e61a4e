//! What components ask of the Python engine and wait for: each question is answered once, or withdrawn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use symphony_pit_abi::{Error, ErrorKind, Returned, Value};

use super::host_table::Services;

type Answer = Result<Value, Error>;

#[derive(Default)]
struct State {
    answer: Option<Answer>,
    /// Given to the component, or nobody waits for it any more.
    over: bool,
    waker: Option<Waker>,
}

/// The engine's side. Dropped without an answer, it is answered with an error, so that nobody waits for ever.
pub struct Question {
    pub number: u64,
    shared: Arc<Mutex<State>>,
}

impl Question {
    /// The first answer counts.
    pub fn answer(&self, answer: Answer) {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.over && state.answer.is_none() {
            state.answer = Some(answer);
        }
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.answer(Err(Error::new(ErrorKind::Cancelled, "the engine ended before it answered")));
    }
}

/// The component's side: dropped before the answer has come, the question is withdrawn.
struct Waiting {
    number: u64,
    shared: Arc<Mutex<State>>,
    services: Arc<Services>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let open = !std::mem::replace(&mut state.over, true) && state.answer.is_none();
        let waker = state.waker.take();
        drop(state);
        drop(waker); // its destructor is the component's code
        if open {
            self.services.callouts.withdraw(self.number);
        }
    }
}

/// A question, and the operation by which the component waits for its answer.
pub(super) fn question(services: &Arc<Services>) -> (Question, Returned) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::new(Mutex::new(State::default()));
    let waiting = Waiting { number, shared: Arc::clone(&shared), services: Arc::clone(services) };
    let operation = symphony_pit_abi::operation(std::future::poll_fn(move |context| {
        let mut state = waiting.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = state.answer.take() {
            state.over = true;
            return Poll::Ready(answer);
        }
        let before = state.waker.replace(context.waker().clone());
        drop(state);
        drop(before); // as above
        Poll::Pending
    }));
    (Question { number, shared }, operation)
}
