//! Who is served when something is free, and what that leads to.

use std::sync::Arc;

use symphony_pit::Result;

use crate::audit::{Decision, Reason, Why};
use crate::queue::{Queue, count};
use crate::state::State;
use crate::strategy::Strategy;
use crate::ticket::TicketEvent;

impl State {
    /// Grant a ticket that waits.
    pub fn grant(&mut self, number: u64, part: f64, why: Why) -> Result<Option<Reason>> {
        let ticket = self.ticket(number)?;
        let (wish, state) = (ticket.wish.clone(), ticket.after(TicketEvent::Grant)?);
        let decision = self.audit.next();
        self.decide(Some(number), &wish, Decision::Granted, why.into(), 0)?;
        self.leave(number);
        let weight = self.weight(&wish.owner);
        let Some(resource) = self.resources.get_mut(&wish.resource) else { return Ok(None) };
        let step = resource.step(weight, part, decision);
        resource.queue.account(&wish.owner, |shares| shares.serve(&wish.owner, step));
        resource.grant(number, &wish.holder, part);
        self.holders.grant(&wish.holder, wish.sequential, &wish.resource, part);
        if let Some(ticket) = self.tickets.get_mut(&number) {
            (ticket.state, ticket.reason, ticket.changed) = (state, why.into(), self.now);
            (ticket.granted, ticket.charged) = (part, step);
            self.wakers.extend(ticket.waker.take());
        }
        self.untangle(&wish.holder);
        Ok(None)
    }

    /// A holder has something now: what else it waits for may have become a deadlock.
    pub fn untangle(&mut self, holder: &Arc<str>) {
        if !self.holders.are_entangled() {
            return;
        }
        self.look_at_entangled();
        for (resource, number) in self.holders.waits(holder) {
            let Some(amount) = self.tickets.get(&number).map(|ticket| ticket.wish.amount) else { continue };
            if let Some(path) = self.holders.deadlock(&self.resources, holder, &resource, amount) {
                self.end(number, TicketEvent::Deny, Reason::new(Why::Deadlock, path));
            }
        }
    }

    /// Who waits for whom has changed: someone may pass others now, anywhere.
    pub fn look_at_entangled(&mut self) {
        if self.holders.are_entangled() {
            let waited_for = self.resources.values().filter(|one| !one.queue.is_empty() && one.free() > 0.0);
            self.touched.extend(waited_for.map(|resource| Arc::clone(&resource.name)));
        }
    }

    pub fn expire(&mut self) {
        while let Some((deadline, number)) = self.deadlines.first().copied()
            && deadline <= self.now
        {
            self.deadlines.pop_first();
            self.end(number, TicketEvent::Expire, Why::Late.into());
        }
    }

    /// Serve whoever is next wherever something changed.
    pub fn serve(&mut self) {
        while let Some(name) = self.touched.pop_first() {
            while self.serve_next(&name) {}
        }
    }

    /// Serve or refuse those who are next on a resource. False: nothing can be done now.
    pub fn serve_next(&mut self, name: &Arc<str>) -> bool {
        let Some(resource) = self.resources.get(name) else { return false };
        let Some(number) = resource.queue.first() else { return false };
        let Some(amount) = self.tickets.get(&number).map(|ticket| ticket.wish.amount) else { return false };
        if let Some(reason) = resource.refuses(amount) {
            self.end(number, TicketEvent::Deny, reason);
            return true;
        }
        match resource.part(amount) {
            Some(_) if resource.terms.policy.strategy == Strategy::Collaborative => self.share_out(name),
            Some(part) => self.grant(number, part, Why::Turn).is_ok(),
            None => self.let_pass(name),
        }
    }

    /// Give everyone who waits an equal part of what is free, as long as that is not less than the least part.
    pub fn share_out(&mut self, name: &Arc<str>) -> bool {
        let Some(resource) = self.resources.get(name) else { return false };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 0; it saturates"
        )]
        let parts = (resource.free() / resource.terms.policy.minimum + 1e-9) as usize;
        let takers = parts.clamp(1, resource.queue.len());
        for rest in (1..=takers).rev() {
            let Some(resource) = self.resources.get(name) else { return false };
            let Some(ticket) = resource.queue.first().and_then(|number| self.tickets.get(&number)) else {
                break;
            };
            let part = ticket.wish.amount.min(resource.free() / count(rest));
            let (number, why) =
                (ticket.number, if part < ticket.wish.amount { Why::Equal } else { Why::Turn });
            if self.grant(number, part, why).is_err() {
                return false;
            }
        }
        true
    }

    /// The next one does not fit. One that it waits for may go first, or both would wait for ever.
    pub fn let_pass(&mut self, name: &Arc<str>) -> bool {
        let Some(resource) = self.resources.get(name) else { return false };
        if !self.holders.are_entangled() || resource.free() <= 0.0 {
            return false;
        }
        let needed = self.holders.needed_by(&self.resources, name);
        let waits = needed.iter().flat_map(|holder| self.holders.waits(holder));
        let fitting = waits.filter(|(wanted, _)| wanted == name).filter_map(|(_, number)| {
            let amount = self.tickets.get(&number)?.wish.amount;
            Some((number, resource.part(amount)?))
        });
        let first = fitting.min_by_key(|(number, _)| *number);
        first.is_some_and(|(number, part)| self.grant(number, part, Why::Passed).is_ok())
    }

    /// Order those who wait anew, after the terms of their resource changed.
    pub fn reorder(&mut self, name: &str) -> Result<()> {
        let resource = self.named(name)?;
        let waiting = resource.queue.in_order(|_, _, _| 0.0);
        let name = Arc::clone(&resource.name);
        let shares = std::mem::take(&mut resource.queue.shares);
        resource.queue = Queue::new(resource.terms.policy.ageing_rate, shares);
        let mut numbers = waiting;
        numbers.sort_unstable();
        for number in numbers {
            if let (Some(ticket), Some(resource)) = (self.tickets.get(&number), self.resources.get_mut(&name))
            {
                let wish = &ticket.wish;
                resource.queue.enter(
                    number,
                    &wish.owner,
                    resource.class(wish.priority),
                    wish.amount,
                    ticket.since,
                );
            }
        }
        self.touched.insert(name);
        Ok(())
    }
}
