//! Those who wait for a ticket, on a thread or in an event loop.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use symphony_pit::{Error, ErrorKind, Result, Sleep};

use crate::audit::{Reason, Why};
use crate::engine::Engine;
use crate::ticket::{TicketState, Wish};

/// Resolves to the ticket once it is granted. Dropped before that, it gives the ticket up.
pub(crate) struct Acquire {
    engine: Arc<Engine>,
    ticket: u64,
    resource: Arc<str>,
    deadline: Option<i64>,
    alarm: Option<Sleep>,
    delivered: bool,
}

impl Acquire {
    pub fn new(engine: Arc<Engine>, wish: Wish) -> Result<Self> {
        let (resource, deadline) = (Arc::clone(&wish.resource), wish.deadline);
        let answer = engine.request(wish)?;
        let Some(ticket) = answer.ticket else { return Err(refused(&resource, &answer.reason)) };
        Ok(Self { engine, ticket, resource, deadline, alarm: None, delivered: false })
    }
}

/// Why there is no ticket.
fn refused(resource: &str, reason: &Reason) -> Error {
    let kind = match reason.why {
        Why::TooMuch | Why::UsedUp => ErrorKind::Exhausted,
        Why::Slow | Why::Late => ErrorKind::TimedOut,
        Why::Withdrawn => ErrorKind::Cancelled,
        _ => ErrorKind::Conflict,
    };
    Error::new(kind, format!("no part of {resource}: {reason}")).with("resource", resource)
}

impl Future for Acquire {
    type Output = Result<i64>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let ticket = self.ticket;
            let (state, reason) = self.engine.change(|state| state.watch(ticket, context.waker()))?;
            match state {
                TicketState::Granted => {
                    self.delivered = true;
                    return Poll::Ready(Ok(i64::try_from(ticket).unwrap_or(i64::MAX)));
                }
                TicketState::Waiting => {}
                _ => {
                    self.delivered = true;
                    return Poll::Ready(Err(refused(&self.resource, &reason)));
                }
            }
            let Some(deadline) = self.deadline else { return Poll::Pending };
            let mut alarm = self.engine.host.sleep_until(deadline);
            let polled = Pin::new(&mut alarm).poll(context);
            self.alarm = Some(alarm);
            if polled.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if !self.delivered {
            let gone = self.engine.change(|state| state.abandon(self.ticket));
            debug_assert!(gone.is_ok(), "{gone:?}");
        }
    }
}
