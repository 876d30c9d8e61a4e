//! What the methods show of resources and tickets.

use std::collections::BTreeSet;

use symphony_pit::Value;

use crate::resource::Resource;
use crate::state::{Answer, State};
use crate::ticket::{Ticket, TicketState};

impl Answer {
    pub fn shown(&self) -> Value {
        Value::map([
            ("decision", Value::from(self.decision.name())),
            ("reason", Value::from(self.reason.to_string())),
            ("ticket", Value::from(self.ticket)),
            ("amount", Value::from(self.amount)),
            ("wait_estimate", Value::from(self.wait_estimate)),
        ])
    }
}

impl Resource {
    pub fn shown(&self) -> Value {
        let policy = &self.terms.policy;
        Value::map([
            ("resource", Value::from(&*self.name)),
            ("kind", Value::from(self.terms.kind.name())),
            ("capacity", Value::from(self.capacity())),
            ("free", Value::from(self.free())),
            ("granted", Value::from(self.granted)),
            ("consumed", Value::from(self.consumed)),
            ("holding", Value::from(self.tickets.len())),
            ("waiting", Value::from(self.queue.len())),
            ("held_average", Value::from(self.held)),
            ("strategy", Value::from(policy.strategy.name())),
            ("ageing_rate", Value::from(policy.ageing_rate)),
            ("seed", Value::from(policy.seed)),
            ("minimum", Value::from(policy.minimum)),
        ])
    }
}

impl State {
    /// A resource of which more is wanted than there is.
    pub fn conflict(&self, resource: &Resource) -> Option<Value> {
        let demand = resource.granted + resource.queue.amount();
        if demand <= resource.usable() * (1.0 + 1e-9) {
            return None;
        }
        let holders = |tickets: &mut dyn Iterator<Item = &Ticket>| {
            let names: BTreeSet<&str> = tickets.map(|ticket| &*ticket.wish.holder).collect();
            Value::List(names.into_iter().map(Value::from).collect())
        };
        let waiting = self.waiting(resource);
        Some(Value::map([
            ("resource", Value::from(&*resource.name)),
            ("kind", Value::from(resource.terms.kind.name())),
            ("conflict", Value::from(resource.terms.kind.conflict())),
            ("capacity", Value::from(resource.usable())),
            ("demand", Value::from(demand)),
            ("holders", holders(&mut resource.tickets.iter().filter_map(|number| self.tickets.get(number)))),
            ("waiters", holders(&mut waiting.iter().filter_map(|number| self.tickets.get(number)))),
        ]))
    }

    pub fn row(&self, ticket: &Ticket) -> Value {
        let waits = ticket.state == TicketState::Waiting;
        let (wait_estimate, position) = if waits { self.outlook(ticket) } else { (None, 0) };
        Value::map([
            ("ticket", Value::from(ticket.number)),
            ("resource", Value::from(&*ticket.wish.resource)),
            ("owner", Value::from(&*ticket.wish.owner)),
            ("holder", Value::from(&*ticket.wish.holder)),
            ("amount", Value::from(if waits { ticket.wish.amount } else { ticket.granted })),
            ("priority", Value::from(ticket.wish.priority)),
            ("state", Value::from(ticket.state.name())),
            ("reason", Value::from(ticket.reason.to_string())),
            ("since", Value::from(ticket.changed)),
            ("seconds", Value::from(self.age(ticket))),
            ("position", Value::from(Some(position).filter(|_| waits))),
            ("wait_estimate", Value::from(wait_estimate)),
        ])
    }
}
