//! How tickets end: given back, withdrawn, refused, expired.

use std::sync::Arc;

use symphony_pit::{Error, Level, Result};

use crate::audit::{Decision, Reason, Why};
use crate::records::Event;
use crate::resource::Kind;
use crate::state::{ENDED, State, seconds};
use crate::ticket::{Ticket, TicketEvent, TicketState};

impl State {
    /// Take a waiting ticket out of its queue.
    pub fn leave(&mut self, number: u64) {
        let Some(Ticket { wish, .. }) = self.tickets.get(&number) else { return };
        if let Some(resource) = self.resources.get_mut(&wish.resource) {
            let class = resource.class(wish.priority);
            resource.queue.take(number, &wish.owner, class);
        }
        self.holders.end_wait(&wish.holder, &wish.resource, number, wish.amount);
        if let Some(deadline) = wish.deadline {
            self.deadlines.remove(&(deadline, number));
        }
    }

    /// Undo the entry of a ticket.
    pub fn forget(&mut self, number: u64) {
        self.leave(number);
        if let Some(ticket) = self.tickets.remove(&number)
            && let Some(resource) = self.resources.get_mut(&ticket.wish.resource)
        {
            resource.queue.shares.leave(&ticket.wish.owner);
        }
    }

    /// A ticket stops waiting without a grant.
    pub fn end(&mut self, number: u64, event: TicketEvent, reason: Reason) {
        let Some(ticket) = self.tickets.get(&number) else { return };
        let (Some(state), wish) = (ticket.state.after(event), ticket.wish.clone()) else { return };
        self.leave(number);
        let decision = match event {
            TicketEvent::Deny => Some(Decision::Denied),
            TicketEvent::Expire => Some(Decision::Expired),
            _ => None,
        };
        if let Some(decision) = decision
            && let Err(error) = self.decide(Some(number), &wish, decision, reason.clone(), 0)
        {
            self.host.log(Level::Error, &error.to_string());
        }
        self.finish(number, state, reason);
    }

    /// A ticket is over; whoever is next on its resource is looked for.
    pub fn finish(&mut self, number: u64, state: TicketState, reason: Reason) {
        let Some(ticket) = self.tickets.get_mut(&number) else { return };
        (ticket.state, ticket.reason, ticket.changed) = (state, reason, self.now);
        self.wakers.extend(ticket.waker.take());
        if let Some(resource) = self.resources.get_mut(&ticket.wish.resource) {
            resource.queue.account(&ticket.wish.owner, |shares| shares.leave(&ticket.wish.owner));
        }
        self.touched.insert(Arc::clone(&ticket.wish.resource));
        self.ended.push_back(number);
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.tickets.remove(&oldest);
        }
    }

    pub fn cancel(&mut self, number: u64) -> Result<()> {
        self.ticket(number)?.after(TicketEvent::Cancel)?;
        self.end(number, TicketEvent::Cancel, Why::Withdrawn.into());
        Ok(())
    }

    pub fn release(&mut self, number: u64, used: Option<f64>) -> Result<()> {
        let ticket = self.ticket(number)?;
        let state = ticket.after(TicketEvent::Release)?;
        let (wish, granted, charged) = (ticket.wish.clone(), ticket.granted, ticket.charged);
        let held = seconds(ticket.changed, self.now);
        let kind = self.named(&wish.resource)?.terms.kind;
        if used.is_some_and(|used| kind != Kind::Cost || !(0.0..1e15).contains(&used)) {
            return Err(Error::invalid("used: expected a number of at least 0, and only for a cost"));
        }
        let used = used.unwrap_or(granted);
        if kind == Kind::Cost && used > 0.0 {
            self.record(Event::Consumed { resource: &wish.resource, amount: used })?;
        }
        let weight = self.weight(&wish.owner);
        let holds_more = self.holders.give_back(&wish.holder, &wish.resource, granted);
        let now = self.now;
        let resource = self.named(&wish.resource)?;
        resource.queue.shares.run(now, resource.pace());
        resource.give_back(number, &wish.holder, granted, holds_more);
        resource.count_held(held);
        let correction = resource.final_step(weight, charged, granted, held, used) - charged;
        resource.queue.account(&wish.owner, |shares| shares.charge(&wish.owner, correction));
        self.finish(number, state, Why::GivenBack.into());
        Ok(())
    }

    /// End every ticket of an owner; so many there were.
    pub fn release_all(&mut self, owner: &str) -> Result<usize> {
        let live =
            self.tickets.values().filter(|ticket| ticket.state.is_live() && *ticket.wish.owner == *owner);
        let numbers: Vec<u64> = live.map(|ticket| ticket.number).collect();
        for number in &numbers {
            self.abandon(*number)?;
        }
        Ok(numbers.len())
    }

    /// Nobody wants this ticket any more, whether it waits or is granted.
    pub fn abandon(&mut self, number: u64) -> Result<()> {
        match self.ticket(number)?.state {
            TicketState::Waiting => self.cancel(number),
            TicketState::Granted => self.release(number, None),
            _ => Ok(()),
        }
    }
}
