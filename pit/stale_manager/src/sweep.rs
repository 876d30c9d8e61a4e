//! One sweep: Running → Stepped, and from either or after a restart → Committed or Aborted.
//!
//! The plan of a sweep dies with the interpreter, what it put into the trash does not: a sweep found at the start is
//! Interrupted, which can be committed or aborted but not go on.

use std::collections::BTreeSet;

use symphony_pit::{Error, Result, ToPit};

use crate::artifact::Id;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ToPit)]
pub(crate) enum Phase {
    Running,
    Stepped,
    Interrupted,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transition {
    Step,
    /// The last step is done.
    Finish,
    /// The interpreter has gone.
    Interrupt,
    Commit,
    Abort,
}

impl Phase {
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Stepped, Self::Interrupted, Self::Committed, Self::Aborted];

    /// The next phase, or none where the transition is not legal.
    pub const fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::Running, Transition::Step) => Some(Self::Running),
            (Self::Running, Transition::Finish) => Some(Self::Stepped),
            (Self::Running | Self::Stepped | Self::Interrupted, Transition::Interrupt) => {
                Some(Self::Interrupted)
            }
            (Self::Running | Self::Stepped | Self::Interrupted, Transition::Commit) => Some(Self::Committed),
            (Self::Running | Self::Stepped | Self::Interrupted, Transition::Abort) => Some(Self::Aborted),
            _ => None,
        }
    }

    pub const fn is_over(self) -> bool {
        matches!(self, Self::Committed | Self::Aborted)
    }
}

/// What lasts of a sweep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sweep {
    pub id: u64,
    pub phase: Phase,
    /// The plan's time, by which ages are measured.
    pub now: i64,
    pub started: i64,
    pub finished: Option<i64>,
    /// Contents that the plan archives or deletes, and how many of them are done.
    pub total: u64,
    pub done: u64,
    pub deleted: u64,
    pub archived: u64,
    /// Planned, but kept after all when their turn came.
    pub kept: u64,
    /// Of what was deleted.
    pub bytes: u64,
    /// What it may have put into the trash or the archive, while it is not over.
    pub trashed: BTreeSet<Id>,
    pub moved: BTreeSet<Id>,
}

#[derive(Clone, PartialEq, Eq, Debug, ToPit)]
pub(crate) struct SweepRow {
    pub sweep: u64,
    pub state: Phase,
    pub now: i64,
    pub started: i64,
    pub finished: Option<i64>,
    pub total: u64,
    pub done: u64,
    pub deleted: u64,
    pub archived: u64,
    pub kept: u64,
    pub bytes: u64,
}

impl Sweep {
    pub const fn new(id: u64, now: i64, started: i64, total: u64) -> Self {
        Self {
            id,
            phase: if total == 0 { Phase::Stepped } else { Phase::Running },
            now,
            started,
            finished: None,
            total,
            done: 0,
            deleted: 0,
            archived: 0,
            kept: 0,
            bytes: 0,
            trashed: BTreeSet::new(),
            moved: BTreeSet::new(),
        }
    }

    pub fn next(&self, transition: Transition) -> Result<Phase> {
        self.phase.after(transition).ok_or_else(|| {
            let phase = format!("{:?}", self.phase).to_lowercase();
            Error::conflict(format!("sweep {} is {phase}: {transition:?} is not possible", self.id))
        })
    }

    pub const fn row(&self) -> SweepRow {
        SweepRow {
            sweep: self.id,
            state: self.phase,
            now: self.now,
            started: self.started,
            finished: self.finished,
            total: self.total,
            done: self.done,
            deleted: self.deleted,
            archived: self.archived,
            kept: self.kept,
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_legal_transitions_are_possible() {
        use Phase::{Aborted, Committed, Interrupted, Running, Stepped};
        use Transition::{Abort, Commit, Finish, Interrupt, Step};
        let legal = [
            (Running, Step, Running),
            (Running, Finish, Stepped),
            (Running, Interrupt, Interrupted),
            (Running, Commit, Committed),
            (Running, Abort, Aborted),
            (Stepped, Interrupt, Interrupted),
            (Stepped, Commit, Committed),
            (Stepped, Abort, Aborted),
            (Interrupted, Interrupt, Interrupted),
            (Interrupted, Commit, Committed),
            (Interrupted, Abort, Aborted),
        ];
        for phase in Phase::ALL {
            for transition in [Step, Finish, Interrupt, Commit, Abort] {
                let next = legal.iter().find(|row| (row.0, row.1) == (phase, transition)).map(|row| row.2);
                assert_eq!(phase.after(transition), next, "{phase:?} {transition:?}");
            }
        }
    }

    #[test]
    fn a_sweep_with_nothing_to_do_is_stepped_at_once() {
        assert_eq!(Sweep::new(1, 0, 0, 0).phase, Phase::Stepped);
        assert_eq!(Sweep::new(1, 0, 0, 1).phase, Phase::Running);
    }
}
