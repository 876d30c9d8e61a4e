//! Where the interpreter is in its life, and where the host wants it to be.

use std::rc::Rc;
use std::time::Duration;

use super::channel::Channel;
use crate::failure::Failure;

/// Where in its life the interpreter is.
#[derive(Clone)]
pub enum Phase {
    Starting,
    Ready(Rc<Channel>),
    /// It died; the next one comes by itself.
    Restarting,
    /// It is being stopped, for good or to be started anew.
    Stopping,
    /// None comes by itself any more, for this reason.
    Failed(Failure),
    /// It was stopped on request, and the next one comes on request.
    Resting,
    /// The host ends.
    Stopped,
}

impl Phase {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready(_) => "ready",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Failed(_) => "failed",
            Self::Resting | Self::Stopped => "stopped",
        }
    }

    /// Why no interpreter works on anything now; None: one does.
    pub fn absence(&self) -> Option<String> {
        let reason = match self {
            Self::Ready(channel) if channel.is_open() => return None,
            Self::Ready(_) | Self::Restarting => "the interpreter died and is being restarted".to_owned(),
            Self::Starting => "the interpreter is being started".to_owned(),
            Self::Stopping => "the interpreter is being stopped".to_owned(),
            Self::Failed(failure) => format!("no interpreter is started any more: {}", failure.message),
            Self::Resting => "the interpreter was stopped on request: symphony host restart".to_owned(),
            Self::Stopped => "the host ends".to_owned(),
        };
        Some(reason)
    }
}

/// What the host wants; looked at again after every wait.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Wanted {
    /// Grows with each wish for a fresh interpreter.
    pub generation: u64,
    /// For good.
    pub stop: Option<Stop>,
    /// Until a fresh one is wanted.
    pub rest: Option<Stop>,
}

impl Wanted {
    /// How the present one is to end; None: as one that is replaced.
    pub fn ending(&self) -> Option<Stop> {
        self.stop.or(self.rest)
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Stop {
    /// How long running steps may take to finish.
    pub drain: Duration,
    /// Kill it now.
    pub hurry: bool,
}
