//! A ticket, someone's wish for a part of a resource: Waiting → Granted → Released, or it ends before.

use std::sync::Arc;
use std::task::Waker;

use symphony_pit::{Error, Result};

use crate::audit::Reason;
use symphony_pit::named;

named! { TicketState {
    Waiting = "waiting",
    Granted = "granted",
    Released = "released",
    /// Its owner no longer wants it.
    Cancelled = "cancelled",
    /// It cannot be granted any more.
    Denied = "denied",
    /// It waited longer than its owner would.
    Expired = "expired",
}}

named! { TicketEvent {
    Grant = "grant",
    Release = "release",
    Cancel = "cancel",
    Deny = "deny",
    Expire = "expire",
}}

impl TicketState {
    /// The next state, or none where the event is not legal.
    pub const fn after(self, event: TicketEvent) -> Option<Self> {
        match (self, event) {
            (Self::Waiting, TicketEvent::Grant) => Some(Self::Granted),
            (Self::Granted, TicketEvent::Release) => Some(Self::Released),
            (Self::Waiting, TicketEvent::Cancel) => Some(Self::Cancelled),
            (Self::Waiting, TicketEvent::Deny) => Some(Self::Denied),
            (Self::Waiting, TicketEvent::Expire) => Some(Self::Expired),
            _ => None,
        }
    }

    pub const fn is_live(self) -> bool {
        matches!(self, Self::Waiting | Self::Granted)
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub resource: Arc<str>,
    pub owner: Arc<str>,
    /// Who would hold it, for the search for deadlocks.
    pub holder: Arc<str>,
    /// The holder was named by the caller: it does one thing after the other. A mere owner may do several at once.
    pub sequential: bool,
    pub amount: f64,
    pub priority: i64,
    /// A wait estimated longer than this (seconds) is denied.
    pub max_wait: Option<f64>,
    /// When the wait is given up (µs).
    pub deadline: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Ticket {
    pub number: u64,
    pub wish: Wish,
    pub state: TicketState,
    /// Why it is in this state.
    pub reason: Reason,
    /// What is granted, at most what was asked for.
    pub granted: f64,
    /// When it came, and when it got into its state (µs).
    pub since: i64,
    pub changed: i64,
    /// What its owner was charged for it (see `share`).
    pub charged: f64,
    /// Of whoever waits for it.
    pub waker: Option<Waker>,
}

impl Ticket {
    pub fn after(&self, event: TicketEvent) -> Result<TicketState> {
        self.state.after(event).ok_or_else(|| {
            let (number, state) = (self.number, self.state.name());
            Error::conflict(format!("ticket {number} is {state}: to {} it is not possible", event.name()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_legal_transitions_are_possible() {
        use TicketEvent::{Cancel, Deny, Expire, Grant, Release};
        use TicketState::{Cancelled, Denied, Expired, Granted, Released, Waiting};
        let legal = [
            (Waiting, Grant, Granted),
            (Granted, Release, Released),
            (Waiting, Cancel, Cancelled),
            (Waiting, Deny, Denied),
            (Waiting, Expire, Expired),
        ];
        for state in TicketState::ALL {
            for event in TicketEvent::ALL {
                let next = legal.iter().find(|row| (row.0, row.1) == (*state, *event)).map(|row| row.2);
                assert_eq!(state.after(*event), next, "{state:?} {event:?}");
            }
        }
    }
}
