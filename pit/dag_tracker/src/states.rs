//! The states of runs and steps, and what may follow on what. Everything that is not listed is refused.

use symphony_pit::{Error, Result};

use symphony_pit::named;

named! { RunState {
    Pending = "pending",
    Running = "running",
    Paused = "paused",
    WaitingForInput = "waiting_for_input",
    Completed = "completed",
    Failed = "failed",
    Cancelled = "cancelled",
}}

named! { RunEvent {
    /// A step starts.
    Start = "start",
    Pause = "pause",
    Resume = "resume",
    /// The run asks a person.
    Wait = "wait_for_input",
    /// The last question is answered.
    Provide = "provide_input",
    Complete = "complete",
    Fail = "fail",
    Cancel = "cancel",
}}

named! { StepState {
    /// Waits for its dependencies.
    Pending = "pending",
    /// May start.
    Queued = "queued",
    Running = "running",
    Completed = "completed",
    Failed = "failed",
    Skipped = "skipped",
    Cancelled = "cancelled",
}}

named! { StepEvent {
    /// The last dependency is done.
    Ready = "ready",
    /// A dependency appears that was not there before.
    Block = "block",
    Start = "start",
    /// An attempt failed and will be repeated.
    Retry = "retry",
    Complete = "complete",
    /// A result from the cache.
    Reuse = "reuse",
    Fail = "fail",
    Skip = "skip",
    Cancel = "cancel",
    /// A person wants it once more.
    Reset = "reset",
}}

impl RunState {
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The next state, or none where the event is not legal. Questions may be asked and answered while a run is paused,
    /// since its running steps finish; for the same reason it may end then.
    #[expect(
        clippy::match_same_arms,
        reason = "what has ended is said first, and at last what else is refused"
    )]
    pub const fn after(self, event: RunEvent) -> Option<Self> {
        use RunEvent as E;
        match (self, event) {
            (Self::Completed | Self::Failed | Self::Cancelled, _) => None,
            (_, E::Complete) => Some(Self::Completed),
            (_, E::Fail) => Some(Self::Failed),
            (_, E::Cancel) => Some(Self::Cancelled),
            (Self::Paused, E::Wait | E::Provide)
            | (Self::Pending | Self::Running | Self::WaitingForInput, E::Pause) => Some(Self::Paused),
            (Self::Pending | Self::Running, E::Start)
            | (Self::Paused, E::Resume)
            | (Self::WaitingForInput, E::Provide) => Some(Self::Running),
            (Self::Pending | Self::Running | Self::WaitingForInput, E::Wait)
            | (Self::WaitingForInput, E::Start) => Some(Self::WaitingForInput),
            (Self::Pending | Self::Running, E::Resume | E::Provide)
            | (Self::Paused, E::Start | E::Pause)
            | (Self::WaitingForInput, E::Resume) => None,
        }
    }

    pub fn checked(self, run: &str, event: RunEvent) -> Result<Self> {
        self.after(event).ok_or_else(|| {
            Error::conflict(format!("run {run} is {}: {} is not possible", self.name(), event.name()))
                .with("state", self.name())
                .with("event", event.name())
        })
    }
}

impl StepState {
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// The next state, or none where the event is not legal. A running step starts again after a death.
    pub const fn after(self, event: StepEvent) -> Option<Self> {
        use StepEvent as E;
        match (self, event) {
            (Self::Pending, E::Ready) | (Self::Running, E::Retry) => Some(Self::Queued),
            (Self::Queued, E::Block) | (Self::Failed | Self::Skipped | Self::Cancelled, E::Reset) => {
                Some(Self::Pending)
            }
            (Self::Queued | Self::Running, E::Start) => Some(Self::Running),
            (Self::Running, E::Complete) | (Self::Pending | Self::Queued, E::Reuse) => Some(Self::Completed),
            (Self::Queued | Self::Running, E::Fail) => Some(Self::Failed),
            (Self::Pending | Self::Queued | Self::Running, E::Skip) => Some(Self::Skipped),
            (Self::Pending | Self::Queued | Self::Running, E::Cancel) => Some(Self::Cancelled),
            _ => None,
        }
    }

    pub fn checked(self, key: &str, event: StepEvent) -> Result<Self> {
        self.after(event).ok_or_else(|| {
            Error::conflict(format!("step {key} is {}: {} is not possible", self.name(), event.name()))
                .with("state", self.name())
                .with("event", event.name())
        })
    }
}

#[cfg(test)]
mod tests {
    use symphony_pit::ErrorKind;

    use super::*;

    /// One letter per state in the order of the events; `.` = refused.
    fn letters<S: Copy, E: Copy>(
        states: &[S],
        events: &[E],
        after: impl Fn(S, E) -> Option<char>,
    ) -> Vec<String> {
        states
            .iter()
            .map(|state| events.iter().map(|event| after(*state, *event).unwrap_or('.')).collect())
            .collect()
    }

    #[test]
    fn every_pair_of_run_state_and_event() {
        // Pending, Running, pAused, Waiting, Completed, Failed, cancelleD
        let letter = |state: RunState| "PRAWCFD".as_bytes()[state as usize] as char;
        let table = letters(RunState::ALL, RunEvent::ALL, |state, event| state.after(event).map(letter));
        //  Start Pause Resume Wait Provide Complete Fail Cancel
        assert_eq!(
            table,
            ["RA.W.CFD", "RA.W.CFD", "..RAACFD", "WA.WRCFD", "........", "........", "........"]
        );
    }

    #[test]
    fn every_pair_of_step_state_and_event() {
        // Pending, Queued, Running, Completed, Failed, Skipped, cancelleD
        let letter = |state: StepState| "PQRCFSD".as_bytes()[state as usize] as char;
        let table = letters(StepState::ALL, StepEvent::ALL, |state, event| state.after(event).map(letter));
        //  Ready Block Start Retry Complete Reuse Fail Skip Cancel Reset
        assert_eq!(
            table,
            [
                "Q....C.SD.",
                ".PR..CFSD.",
                "..RQC.FSD.",
                "..........",
                ".........P",
                ".........P",
                ".........P"
            ]
        );
    }

    #[test]
    fn a_refusal_names_state_and_event() {
        let error = RunState::Paused.checked("r1", RunEvent::Pause).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Conflict, "run r1 is paused: pause is not possible")
        );
        let error = StepState::Completed.checked("a", StepEvent::Start).unwrap_err();
        assert_eq!(error.message, "step a is completed: start is not possible");
    }

    #[test]
    fn codes_come_back_and_others_are_refused() {
        for state in StepState::ALL {
            assert_eq!(StepState::from_code(*state as u8), Ok(*state));
        }
        assert!(RunState::from_code(7).is_err());
    }
}
