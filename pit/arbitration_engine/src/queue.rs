//! The order of those who wait for one resource.
//!
//! Ageing works between priorities, fair share within one. Tickets of the same declared priority are a class; in it the
//! owner with the least virtual time is next, with its oldest ticket, and ties go by arrival. Among the classes the one is
//! first whose next ticket has the highest effective priority, priority + rate × time waited. Since all age at the same
//! rate, the order by priority − rate × arrival is the same and never changes for a ticket, so ordered sets hold it: entering,
//! leaving and being served are O(k log n), k = the different priorities with which that owner waits.
//!
//! That nobody starves: a class is served at the latest once its next ticket has waited for the distance of the priorities
//! divided by the rate, and within the class the others move past the one that waits (see `share`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::share::{Shares, Tag};

#[derive(Clone, Copy, Debug)]
struct Place {
    amount: f64,
    /// Of arrival (µs).
    time: i64,
}

/// One owner's tickets of one priority.
#[derive(Clone, Default)]
struct Flow {
    places: BTreeMap<u64, Place>,
    amount: f64,
}

/// Effective priority, then arrival.
type Rank = (Reverse<i128>, u64, i64);

#[derive(Clone, Default)]
struct Class {
    flows: HashMap<Arc<str>, Flow>,
    /// Each owner with its oldest ticket; the first one is next.
    heads: BTreeSet<(Tag, u64, Arc<str>)>,
    tickets: usize,
    amount: f64,
    rank: Option<Rank>,
}

/// What stands before a place.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Ahead {
    pub tickets: usize,
    pub amount: f64,
}

#[derive(Clone, Default)]
pub(crate) struct Queue {
    pub shares: Shares,
    /// Millionths of a priority that a second of waiting adds.
    ageing: i128,
    classes: BTreeMap<i64, Class>,
    order: BTreeSet<Rank>,
    /// The priorities with which an owner waits.
    priorities: HashMap<Arc<str>, BTreeSet<i64>>,
    tickets: usize,
    amount: f64,
}

impl Queue {
    #[expect(clippy::cast_possible_truncation, reason = "a rate is checked to be small")]
    pub fn new(ageing_rate: f64, shares: Shares) -> Self {
        Self { ageing: (ageing_rate * 1e6).round() as i128, shares, ..Self::default() }
    }

    pub const fn len(&self) -> usize {
        self.tickets
    }

    pub const fn is_empty(&self) -> bool {
        self.tickets == 0
    }

    /// The sum of what is asked for.
    pub const fn amount(&self) -> f64 {
        self.amount
    }

    pub fn waits(&self, owner: &str) -> bool {
        self.priorities.contains_key(owner)
    }

    /// The next one.
    pub fn first(&self) -> Option<u64> {
        let (_, ticket, _) = self.order.first()?;
        Some(*ticket)
    }

    /// Take a ticket in. Its owner has joined the shares.
    pub fn enter(&mut self, ticket: u64, owner: &Arc<str>, priority: i64, amount: f64, time: i64) {
        self.unlink(priority, owner);
        let class = self.classes.entry(priority).or_default();
        let flow = class.flows.entry(Arc::clone(owner)).or_default();
        flow.places.insert(ticket, Place { amount, time });
        for sum in [&mut flow.amount, &mut class.amount, &mut self.amount] {
            *sum += amount;
        }
        class.tickets += 1;
        self.tickets += 1;
        self.priorities.entry(Arc::clone(owner)).or_default().insert(priority);
        self.link(priority, owner);
    }

    /// Take a ticket out.
    pub fn take(&mut self, ticket: u64, owner: &Arc<str>, priority: i64) {
        self.unlink(priority, owner);
        self.remove(ticket, owner, priority);
        self.link(priority, owner);
    }

    fn remove(&mut self, ticket: u64, owner: &Arc<str>, priority: i64) {
        let Some(class) = self.classes.get_mut(&priority) else { return };
        let Some(flow) = class.flows.get_mut(owner) else { return };
        let Some(place) = flow.places.remove(&ticket) else { return };
        flow.amount -= place.amount;
        class.amount -= place.amount;
        class.tickets -= 1;
        self.tickets -= 1;
        self.amount = if self.tickets == 0 { 0.0 } else { self.amount - place.amount };
        if !flow.places.is_empty() {
            return;
        }
        class.flows.remove(owner);
        if class.flows.is_empty() {
            self.classes.remove(&priority);
        }
        if let Some(priorities) = self.priorities.get_mut(owner) {
            priorities.remove(&priority);
            if priorities.is_empty() {
                self.priorities.remove(owner);
            }
        }
    }

    /// Change an owner's virtual time, and its place with it.
    pub fn account(&mut self, owner: &Arc<str>, change: impl FnOnce(&mut Shares)) {
        let priorities = self.priorities.get(owner).cloned().unwrap_or_default();
        for priority in &priorities {
            self.unlink(*priority, owner);
        }
        change(&mut self.shares);
        for priority in &priorities {
            self.link(*priority, owner);
        }
    }

    fn unlink(&mut self, priority: i64, owner: &Arc<str>) {
        let tag = self.shares.tag(owner);
        let Some(class) = self.classes.get_mut(&priority) else { return };
        if let Some(head) = class.flows.get(owner).and_then(|flow| flow.places.first_key_value()) {
            class.heads.remove(&(tag, *head.0, Arc::clone(owner)));
        }
        if let Some(rank) = class.rank.take() {
            self.order.remove(&rank);
        }
    }

    fn link(&mut self, priority: i64, owner: &Arc<str>) {
        let tag = self.shares.tag(owner);
        let Some(class) = self.classes.get_mut(&priority) else { return };
        if let Some(head) = class.flows.get(owner).and_then(|flow| flow.places.first_key_value()) {
            class.heads.insert((tag, *head.0, Arc::clone(owner)));
        }
        let Some((_, ticket, next)) = class.heads.first() else { return };
        let place = class.flows.get(next).and_then(|flow| flow.places.get(ticket));
        class.rank =
            place.map(|place| (Reverse(level(self.ageing, priority, place.time)), *ticket, priority));
        self.order.extend(class.rank);
    }

    /// About what is served before one that an owner enters now with this priority, or before one that it entered already.
    /// Exact where each owner waits with one priority and equal amounts; O(different priorities).
    pub fn ahead(&self, ticket: u64, owner: &str, priority: i64, time: i64) -> Ahead {
        let own_class = self.classes.get(&priority);
        let own = level(self.ageing, priority, time);
        let rank = own_class.and_then(|class| class.rank).unwrap_or((Reverse(own), ticket, priority));
        let mut ahead = Ahead::default();
        for (_, _, other) in self.order.range(..rank) {
            if let Some(class) = self.classes.get(other) {
                ahead.tickets += class.tickets;
                ahead.amount += class.amount;
            }
        }
        let Some(class) = own_class else { return ahead };
        let flow = class.flows.get(owner);
        let before = flow.map_or(0, |flow| match flow.places.last_key_value() {
            Some((last, _)) if *last < ticket => flow.places.len(),
            _ => flow.places.range(..ticket).count(),
        });
        let others = class.flows.len() - usize::from(flow.is_some());
        let most = class.tickets - flow.map_or(0, |flow| flow.places.len());
        let passing = most.min(others * (before + 1));
        let mean = |amount: f64, tickets: usize| if tickets == 0 { 0.0 } else { amount / count(tickets) };
        ahead.tickets += before + passing;
        ahead.amount += flow.map_or(0.0, |flow| mean(flow.amount, flow.places.len())) * count(before);
        ahead.amount += mean(class.amount - flow.map_or(0.0, |flow| flow.amount), most) * count(passing);
        ahead
    }

    /// All tickets in the order in which they would be served, if nobody came or left. `charge` gives what a grant moves its
    /// owner on by: ticket and owner, amount, how many were served before.
    pub fn in_order(&self, charge: impl Fn(&str, f64, u64) -> f64) -> Vec<u64> {
        let mut rest = self.clone();
        let mut order = Vec::with_capacity(rest.tickets);
        while let Some(&(_, ticket, priority)) = rest.order.first() {
            let head = rest.classes.get(&priority).and_then(|class| class.heads.first()).cloned();
            let Some((_, _, owner)) = head else { break };
            let amount = rest.classes[&priority].flows[&owner].places[&ticket].amount;
            rest.take(ticket, &owner, priority);
            let step = charge(&owner, amount, order.len() as u64);
            rest.account(&owner, |shares| shares.serve(&owner, step));
            order.push(ticket);
        }
        order
    }
}

/// Effective priorities compare as these, at any time.
fn level(ageing: i128, priority: i64, time: i64) -> i128 {
    i128::from(priority) * 1_000_000_000_000 - ageing * i128::from(time)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) const fn count(number: usize) -> f64 {
    number as f64
}
