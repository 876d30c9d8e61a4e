//! Blocking jobs of components: threads that are kept for some seconds, so that a burst of jobs does not start one each.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// More jobs than this wait for one another.
const MAX_THREADS: usize = 32;
const IDLE: Duration = Duration::from_secs(10);

/// A function of a component with its data, run once on any thread.
struct Job {
    run: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
}

// SAFETY: the ABI demands that a job may run on any thread.
unsafe impl Send for Job {}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    posted: Condvar,
}

#[derive(Default)]
pub(super) struct Jobs {
    shared: Arc<Shared>,
}

impl Jobs {
    /// # Safety
    /// `run` takes `data` over, and may be called from any thread.
    pub unsafe fn spawn(&self, run: unsafe extern "C" fn(*mut c_void), data: *mut c_void) -> io::Result<()> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.idle <= state.queue.len() && state.threads < MAX_THREADS {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("symphony-job".to_owned());
            match thread.spawn(move || serve(&shared)) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(error),
                Err(_) => {} // those that run take it in turn
            }
        }
        state.queue.push_back(Job { run, data });
        drop(state);
        self.shared.posted.notify_one();
        Ok(())
    }
}

fn serve(shared: &Shared) {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(job) = state.queue.pop_front() {
            drop(state);
            // SAFETY: queued once, run once.
            unsafe { (job.run)(job.data) };
            state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        state.idle += 1;
        let (woken, timeout) =
            shared.posted.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
        state = woken;
        state.idle -= 1;
        if timeout.timed_out() && state.queue.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}
