//! Is the interpreter alive, blocked, hung or stopped? Judged by its beats alone.

use std::time::Duration;

use crate::pulse::Beats;

/// A loop that is silent for so long is blocked.
const BLOCKED_AFTER: Duration = Duration::from_secs(3);

/// How an interpreter that is ready is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Liveness {
    #[default]
    Running,
    /// Its event loop does not go round.
    Blocked,
    /// Not even a thread that needs nothing runs: a debugger, SIGSTOP, swapping.
    Stopped,
}

impl Liveness {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
        }
    }
}

/// When patience ends; the home's settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// None: never.
    pub hang_after: Option<Duration>,
    pub kill_stopped: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hang_after: Some(Duration::from_secs(60)), kill_stopped: false }
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    Nothing,
    Changed(Liveness),
    /// It is to be ended, after so long a silence.
    Hung(Duration),
}

/// Looks at the beats of one interpreter, again and again.
pub(super) struct Vigil {
    patience: Patience,
    /// Silence is counted from here at the earliest, in the clock of the beats.
    from: u64,
    liveness: Liveness,
}

impl Vigil {
    pub fn new(now: u64, patience: Patience) -> Self {
        Self { patience, from: now, liveness: Liveness::Running }
    }

    pub const fn liveness(&self) -> Liveness {
        self.liveness
    }

    /// `limit`: the time limit of the step that the loop is in, which it may use up.
    pub fn look(&mut self, now: u64, beats: Beats, limit: Option<Duration>) -> Seen {
        if beats.event_loop == 0 {
            return Seen::Nothing; // it does not beat
        }
        let silence = |beat: u64| Duration::from_nanos(now.saturating_sub(beat.max(self.from)));
        let hang_after = self.patience.hang_after;
        let blocked_after = hang_after.map_or(BLOCKED_AFTER, |limit| BLOCKED_AFTER.min(limit / 2));
        let (silent, numb) = (silence(beats.event_loop), silence(beats.native));
        let found = match (silent >= blocked_after, numb >= blocked_after) {
            (true, true) => Liveness::Stopped,
            (true, false) => Liveness::Blocked,
            (false, _) => Liveness::Running,
        };
        if self.liveness == Liveness::Stopped && found == Liveness::Blocked {
            self.from = now; // the time in which it could not run is not its own silence
            self.liveness = Liveness::Running;
            return Seen::Changed(Liveness::Running);
        }
        let hung = match found {
            Liveness::Running => false,
            Liveness::Blocked => {
                let patience = limit.or(hang_after);
                hang_after.and(patience).is_some_and(|patience| silent >= patience)
            }
            Liveness::Stopped => {
                self.patience.kill_stopped && hang_after.is_some_and(|patience| numb >= patience)
            }
        };
        if hung {
            return Seen::Hung(silent);
        }
        if found == self.liveness {
            return Seen::Nothing;
        }
        self.liveness = found;
        Seen::Changed(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HANG: Duration = Duration::from_secs(60);

    fn at(event_loop: u64, native: u64) -> Beats {
        Beats { event_loop: event_loop * SECOND, lock: native * SECOND, native: native * SECOND }
    }

    fn vigil(kill_stopped: bool) -> Vigil {
        Vigil::new(100 * SECOND, Patience { hang_after: Some(HANG), kill_stopped })
    }

    /// What is seen at each second, with beats as told.
    fn watched(
        vigil: &mut Vigil,
        seconds: std::ops::Range<u64>,
        beats: impl Fn(u64) -> Beats,
    ) -> Vec<(u64, Seen)> {
        let looks = seconds.map(|second| (second, vigil.look(second * SECOND, beats(second), None)));
        looks.filter(|(_, seen)| *seen != Seen::Nothing).collect()
    }

    #[test]
    fn a_silent_loop_is_blocked_and_then_hung() {
        let mut vigil = vigil(false);
        let seen = watched(&mut vigil, 100..171, |now| at(now.min(110), now));
        assert_eq!(seen, [(113, Seen::Changed(Liveness::Blocked)), (170, Seen::Hung(HANG))]);
    }

    #[test]
    fn a_loop_that_goes_on_is_running_again() {
        let mut vigil = vigil(false);
        let seen = watched(&mut vigil, 100..300, |now| at(if now < 150 { now.min(110) } else { now }, now));
        assert_eq!(seen, [(113, Seen::Changed(Liveness::Blocked)), (150, Seen::Changed(Liveness::Running))]);
    }

    #[test]
    fn a_stopped_process_is_not_killed_and_gets_its_time_once_it_goes_on() {
        let mut vigil = vigil(false);
        let seen = watched(&mut vigil, 100..500, |_| at(100, 100));
        assert_eq!(seen, [(103, Seen::Changed(Liveness::Stopped))]);
        // The native thread is back at once, the loop never.
        let seen = watched(&mut vigil, 500..561, |now| at(100, now));
        assert_eq!(
            seen,
            [
                (500, Seen::Changed(Liveness::Running)),
                (503, Seen::Changed(Liveness::Blocked)),
                (560, Seen::Hung(HANG))
            ]
        );
    }

    #[test]
    fn kill_stopped_ends_it_too() {
        let seen = watched(&mut vigil(true), 100..161, |_| at(100, 100));
        assert_eq!(seen, [(103, Seen::Changed(Liveness::Stopped)), (160, Seen::Hung(HANG))]);
    }

    #[test]
    fn a_step_may_use_up_its_own_time_limit() {
        let mut vigil = vigil(false);
        let limit = Some(Duration::from_secs(305));
        assert_eq!(vigil.look(404 * SECOND, at(100, 404), limit), Seen::Changed(Liveness::Blocked));
        assert_eq!(vigil.look(405 * SECOND, at(100, 405), limit), Seen::Hung(Duration::from_secs(305)));
    }

    #[test]
    fn no_patience_limit_means_for_ever_and_no_beat_means_no_judgement() {
        let mut endless = Vigil::new(SECOND, Patience { hang_after: None, kill_stopped: true });
        assert_eq!(endless.look(9_999 * SECOND, at(1, 9_999), None), Seen::Changed(Liveness::Blocked));
        assert_eq!(endless.look(99_999 * SECOND, at(1, 99_999), None), Seen::Nothing);
        assert_eq!(vigil(true).look(9_999 * SECOND, at(0, 0), None), Seen::Nothing);
    }
}
