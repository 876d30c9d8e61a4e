//! When an interpreter that died is started again, and when not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many deaths within `BREAKER_TIME`, with no step completed between, and none is started any more.
pub(super) const BREAKER_DEATHS: usize = 5;
const BREAKER_TIME: Duration = Duration::from_secs(5 * 60);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// So long a life, with something done in it, makes the next death a first one again.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// What an interpreter did until it died.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub ready_for: Duration,
    /// How many steps were ever completed.
    pub steps: u64,
    /// No step was in flight at its end.
    pub idle: bool,
}

/// Counts deaths.
#[derive(Debug, Default)]
pub struct RestartPolicy {
    deaths: VecDeque<Instant>,
    in_a_row: u32,
    steps: u64,
}

impl RestartPolicy {
    /// Deaths since it last lived long enough, without those that a step is to blame for.
    pub const fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// How long to wait before the next start, or None: not at all. `explained`: a step is to blame, so that it does not count
    /// against the interpreter.
    pub fn died(&mut self, now: Instant, life: Life, explained: bool) -> Option<Duration> {
        let progress = life.steps != self.steps;
        if life.ready_for >= LONG_LIFE && (progress || life.idle) {
            self.in_a_row = 0;
        }
        if progress {
            self.deaths.clear();
            self.steps = life.steps;
        }
        if explained {
            return Some(Duration::ZERO); // there are few of them: the step is soon not executed any more
        }
        self.deaths.push_back(now);
        self.deaths.retain(|death| now.duration_since(*death) <= BREAKER_TIME);
        let delay = match self.in_a_row {
            0 => Duration::ZERO,
            deaths => LONGEST_DELAY.min(FIRST_DELAY * 2_u32.saturating_pow(deaths - 1)),
        };
        self.in_a_row += 1;
        (self.deaths.len() < BREAKER_DEATHS).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(steps: u64) -> Life {
        Life { ready_for: Duration::from_millis(5), steps, idle: false }
    }

    fn long(steps: u64, idle: bool) -> Life {
        Life { ready_for: LONG_LIFE, steps, idle }
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_fifth_death_breaks() {
        let (mut policy, now) = (RestartPolicy::default(), Instant::now());
        let delays: Vec<_> =
            (0..5).map(|_| policy.died(now, short(0), false).map(|delay| delay.as_millis())).collect();
        assert_eq!(delays, [Some(0), Some(100), Some(200), Some(400), None]);
    }

    #[test]
    fn progress_keeps_it_going_with_longer_waits() {
        let (mut policy, now) = (RestartPolicy::default(), Instant::now());
        let last = (0..50).map(|steps| policy.died(now, short(steps), false)).last();
        assert_eq!(last, Some(Some(LONGEST_DELAY)));
        assert_eq!(
            policy.died(now, long(49, false), false),
            Some(LONGEST_DELAY),
            "it did nothing, as one that hangs"
        );
        assert_eq!(policy.died(now, long(50, false), false), Some(Duration::ZERO));
        assert_eq!(policy.died(now, short(51), false), Some(FIRST_DELAY));
        assert_eq!(policy.died(now, long(51, true), false), Some(Duration::ZERO), "there was nothing to do");
    }

    #[test]
    fn deaths_that_a_step_is_to_blame_for_break_nothing() {
        let (mut policy, now) = (RestartPolicy::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(policy.died(now, short(0), true), Some(Duration::ZERO));
        }
    }

    #[test]
    fn old_deaths_are_forgotten() {
        let (mut policy, mut now) = (RestartPolicy::default(), Instant::now());
        for _ in 0..20 {
            assert!(policy.died(now, short(0), false).is_some());
            now += Duration::from_secs(80);
        }
    }
}
