//! What components ask of the Python engine: a queue, and the wake-up of whoever serves it.

use std::sync::{Mutex, PoisonError};

use symphony_pit_abi::Value;

use super::questions::Question;

/// One request of a component; the answer is a call of one of its methods, or goes to its question.
pub struct Callout {
    pub component: &'static str,
    pub name: String,
    pub args: Vec<Value>,
    pub question: Option<Question>,
}

type Wake = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    queue: Vec<Callout>,
    /// Numbers of questions whose answer nobody waits for any more.
    withdrawn: Vec<u64>,
    wake: Option<Wake>,
    /// Who listens: a number that grows.
    listener: u64,
}

/// Requests in the order in which they were posted.
#[derive(Default)]
pub struct Callouts {
    state: Mutex<State>,
}

impl Callouts {
    /// Whether someone listens; only then the request is kept.
    pub(super) fn post(&self, callout: Callout) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.wake.is_none() {
            return false;
        }
        state.queue.push(callout);
        if let (1, Some(wake)) = (state.queue.len(), &state.wake) {
            wake();
        }
        true
    }

    /// Nobody waits for the answer to a question any more.
    pub(super) fn withdraw(&self, question: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.withdrawn.push(question);
        if let (1, Some(wake)) = (state.withdrawn.len(), &state.wake) {
            wake();
        }
    }

    /// Be woken when the queue begins to fill, in the place of whoever listened before; none = nobody does. Gives a number.
    pub fn listen(&self, wake: Option<Wake>) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.listener += 1;
        let listener = state.listener;
        let before = std::mem::replace(&mut state.wake, wake);
        let left = (std::mem::take(&mut state.queue), std::mem::take(&mut state.withdrawn));
        drop(state);
        drop((before, left)); // questions are answered by their end, which wakes the components
        listener
    }

    /// Nobody listens any more, unless somebody else does meanwhile.
    pub fn leave(&self, listener: u64) {
        let current = self.state.lock().unwrap_or_else(PoisonError::into_inner).listener;
        if current == listener {
            self.listen(None);
        }
    }

    /// What was asked, in order, and the numbers of the questions that were withdrawn.
    pub fn take(&self) -> (Vec<Callout>, Vec<u64>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut state.queue), std::mem::take(&mut state.withdrawn))
    }
}
