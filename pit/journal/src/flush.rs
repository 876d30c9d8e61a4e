//! Group commit: appenders who wait for the disk share one flush, whoever comes first runs it for all.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Default)]
struct State {
    started: u64,
    finished: u64,
    running: bool,
    /// Of the first flush that failed. The kernel tells it once and forgets the pages: a later flush that succeeds says nothing
    /// about them, so none does.
    failed: Option<(io::ErrorKind, String)>,
}

/// Flushes, numbered in the order of their beginning.
#[derive(Default)]
pub(crate) struct Flush {
    state: Mutex<State>,
    changed: Condvar,
}

impl Flush {
    /// Return once a flush that began after this call is done: it covers everything published before the call.
    pub fn wait(&self, run: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = state.started + 1;
        while state.finished < wanted {
            if state.running {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.running = true;
            state.started += 1;
            drop(state);
            let result = run();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.running = false;
            state.finished = state.started;
            if let Err(error) = result {
                state.failed.get_or_insert((error.kind(), error.to_string()));
            }
            self.changed.notify_all();
        }
        match &state.failed {
            None => Ok(()),
            Some((kind, message)) => Err(io::Error::new(*kind, message.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn those_who_wait_during_a_flush_share_the_next_one() {
        let flush = Arc::new(Flush::default());
        let runs = Arc::new(AtomicU32::new(0));
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let wait = || {
            let (flush, runs, held) = (Arc::clone(&flush), Arc::clone(&runs), Arc::clone(&held));
            std::thread::spawn(move || {
                flush.wait(|| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    held.lock().unwrap().recv().unwrap();
                    Ok(())
                })
            })
        };
        let first = wait();
        while runs.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let others: Vec<_> = (0..8).map(|_| wait()).collect();
        while Arc::strong_count(&flush) < 10 {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(50)); // lets them reach the wait; more flushes would only be slower
        release.send(()).unwrap();
        release.send(()).unwrap();
        first.join().unwrap().unwrap();
        drop(release); // a third flush would fail
        for other in others {
            other.join().unwrap().unwrap();
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn after_a_failed_flush_nothing_is_called_lasting_any_more() {
        let flush = Flush::default();
        assert_eq!(flush.wait(|| Err(io::Error::other("no"))).unwrap_err().to_string(), "no");
        assert_eq!(flush.wait(|| Ok(())).unwrap_err().to_string(), "no");
    }
}
