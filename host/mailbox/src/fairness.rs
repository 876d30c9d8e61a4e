//! How long awaits that are ready at once may keep the loop from turning.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// Ready awaits without a turn of the loop, after which the next one yields.
const AWAITS: u32 = 256;
/// Nanoseconds without a turn, after which the next one yields.
const SPAN: u64 = 1_000_000;
/// Nobody tells whether the loop has turned, short of a callback in its queue, which costs more than an await. So the first
/// few go unwatched; then a callback marks the next turn, and only what is seen to come before it counts as starvation.
const UNWATCHED: (u32, u64) = (8, SPAN / 2);

/// What a ready await does.
#[derive(PartialEq, Eq, Debug)]
pub enum Verdict {
    Go,
    /// As `Go`, and [`Budget::turned`] is to be called by the next turn of the loop.
    Watch,
    Yield,
}

/// One loop's. Only its thread touches it; atomics because it lies in what other threads share.
#[derive(Default)]
pub struct Budget {
    awaits: AtomicU32,
    since: AtomicU64,
    watched: AtomicBool,
}

impl Budget {
    /// One more await, at a time in nanoseconds that never goes back.
    pub fn spend(&self, now: u64) -> Verdict {
        let awaits = self.awaits.load(Relaxed) + 1;
        self.awaits.store(awaits, Relaxed);
        if awaits == 1 {
            self.since.store(now, Relaxed);
        }
        let span = now.saturating_sub(self.since.load(Relaxed));
        if self.watched.load(Relaxed) {
            if awaits > AWAITS || span >= SPAN {
                self.turned();
                return Verdict::Yield;
            }
        } else if awaits >= UNWATCHED.0 || span >= UNWATCHED.1 {
            self.watched.store(true, Relaxed);
            self.since.store(now, Relaxed);
            return Verdict::Watch;
        }
        Verdict::Go
    }

    /// The loop has turned, or is about to: a task has given way.
    pub fn turned(&self) {
        self.awaits.store(0, Relaxed);
        self.watched.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yields(budget: &Budget, nanoseconds: u64, count: u32) -> Vec<u32> {
        (0..count).filter(|at| budget.spend(u64::from(*at) * nanoseconds) == Verdict::Yield).collect()
    }

    #[test]
    fn the_await_after_256_yields() {
        assert_eq!(yields(&Budget::default(), 10, 600), [256, 513]);
    }

    #[test]
    fn slow_awaits_yield_after_a_millisecond_that_was_watched() {
        assert_eq!(yields(&Budget::default(), 200_000, 12), [8]);
    }

    #[test]
    fn awaits_of_different_turns_never_yield() {
        let budget = Budget::default();
        for at in 0..10_000_u64 {
            match budget.spend(at * 10_000_000) {
                Verdict::Go => {}
                Verdict::Watch => budget.turned(), // as the loop does between two such awaits
                Verdict::Yield => panic!("await {at} yielded"),
            }
        }
    }
}
