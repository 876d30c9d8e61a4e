//! Timers of components: one thread that sleeps until the next one is due, started by the first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Default)]
struct State {
    next: u64,
    /// Time (µs) and number, in the order in which they fall due.
    due: BTreeMap<(i64, u64), Waker>,
    times: HashMap<u64, i64>,
    running: bool,
    stopped: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Timers {
    shared: Arc<Shared>,
}

impl Timers {
    /// Wake at a wall-clock time (µs since the epoch). Without a thread to wait on, at once.
    pub fn add(&self, when: i64, waker: Waker) -> u64 {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next += 1;
        let number = state.next;
        if !state.running {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("symphony-timers".to_owned());
            state.running = thread.spawn(move || serve(&shared)).is_ok();
            if !state.running {
                drop(state);
                waker.wake();
                return number;
            }
        }
        state.due.insert((when, number), waker);
        state.times.insert(number, when);
        drop(state);
        self.shared.changed.notify_one();
        number
    }

    pub fn cancel(&self, number: u64) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = state.times.remove(&number).and_then(|when| state.due.remove(&(when, number)));
        drop(state);
        drop(waker); // its destructor is the component's code
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.shared.changed.notify_one();
    }
}

fn serve(shared: &Shared) {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    while !state.stopped {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        match state.due.first_key_value().map(|((when, _), _)| *when) {
            Some(when) if when <= now => {
                if let Some(((_, number), waker)) = state.due.pop_first() {
                    state.times.remove(&number);
                    drop(state);
                    waker.wake();
                    state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
                }
            }
            // The wall clock may be set: look again once a minute.
            Some(when) => {
                let left = Duration::from_micros(when.abs_diff(now)).min(Duration::from_secs(60));
                state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            None => state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}
