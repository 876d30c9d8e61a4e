//! What components ask of the Python engine: a queue, and the wake-up of whoever serves it.

use std::sync::{Mutex, PoisonError};

use symphony_pit_abi::Value;

/// One request of a component; the answer is a call of one of its methods.
pub struct Callout {
    pub component: &'static str,
    pub name: String,
    pub args: Vec<Value>,
}

type Wake = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    queue: Vec<Callout>,
    wake: Option<Wake>,
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

    /// Be woken when the queue begins to fill; none = nobody listens any more.
    pub fn listen(&self, wake: Option<Wake>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wake = wake;
        state.queue.clear();
    }

    pub fn take(&self) -> Vec<Callout> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).queue)
    }
}
