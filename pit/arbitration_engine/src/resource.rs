//! One resource: its terms, what of it is given away, who waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use symphony_pit::{Error, Result};

use crate::audit::{Reason, Why};
use crate::queue::Queue;
use crate::strategy::{Policy, Strategy};
use symphony_pit::named;

/// A grant counts as held at least so many seconds, so that owners of very short ones take turns as well.
const LEAST_HELD: f64 = 0.001;
/// How much the newest held time counts in the moving average.
const NEWEST: f64 = 0.2;
/// The virtual time runs with the clock as if so many owners shared the resource (see `share`).
const CROWD: f64 = 1000.0;

named! {
/// What a resource is; names the conflict about it.
Kind {
    Model = "model",
    Memory = "memory",
    Cpu = "cpu",
    /// Consumed by use, not given back.
    Cost = "cost",
}}

impl Kind {
    pub const fn conflict(self) -> &'static str {
        match self {
            Self::Model => "model contention",
            Self::Memory => "memory pressure",
            Self::Cpu => "CPU saturation",
            Self::Cost => "cost limit",
        }
    }
}

/// What a user says about a resource; lasts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Terms {
    pub kind: Kind,
    /// 0 for a model: as many as the Pool Manager has instances.
    pub capacity: f64,
    pub policy: Policy,
}

pub(crate) struct Resource {
    pub name: Arc<str>,
    pub terms: Terms,
    /// Instances that the Pool Manager knows, once it was asked.
    pub instances: Option<f64>,
    /// Cost used for good; lasts.
    pub consumed: f64,
    /// The sum of what is granted now, by holder; and the tickets.
    pub granted: f64,
    pub holders: BTreeMap<Arc<str>, f64>,
    pub tickets: BTreeSet<u64>,
    pub queue: Queue,
    /// Moving average of how long a grant is held (seconds).
    pub held: Option<f64>,
}

impl Resource {
    pub fn new(name: Arc<str>, terms: Terms) -> Self {
        Self {
            name,
            terms,
            instances: None,
            consumed: 0.0,
            granted: 0.0,
            holders: BTreeMap::new(),
            tickets: BTreeSet::new(),
            queue: Queue::new(terms.policy.ageing_rate, crate::share::Shares::default()),
            held: None,
        }
    }

    /// Whether nobody holds a part of it or waits for one.
    pub fn is_idle(&self) -> bool {
        self.tickets.is_empty() && self.queue.is_empty()
    }

    /// Whether its capacity is what the Pool Manager says.
    pub fn asks_pool(&self) -> bool {
        self.terms.kind == Kind::Model && self.terms.capacity == 0.0
    }

    pub fn capacity(&self) -> f64 {
        if self.asks_pool() { self.instances.unwrap_or(0.0) } else { self.terms.capacity }
    }

    /// What can be given in all, less what is consumed.
    pub fn usable(&self) -> f64 {
        self.capacity() - self.consumed
    }

    pub fn free(&self) -> f64 {
        self.usable() - self.granted
    }

    /// Whether so much is free, up to the rounding of sums.
    pub fn fits(&self, amount: f64) -> bool {
        within(amount, self.free(), self.capacity())
    }

    /// What a ticket of this amount gets now, if it is its turn.
    pub fn part(&self, amount: f64) -> Option<f64> {
        if self.fits(amount) {
            return Some(amount);
        }
        let policy = &self.terms.policy;
        let shared = policy.strategy == Strategy::Collaborative && self.fits(policy.minimum.min(amount));
        shared.then(|| self.free().min(amount))
    }

    /// Why an amount can never be granted, if so.
    pub fn refuses(&self, amount: f64) -> Option<Reason> {
        let capacity = self.capacity();
        if !within(amount, capacity, capacity) {
            return Some(Reason::new(Why::TooMuch, format!("{amount} of {capacity}")));
        }
        if !within(amount, self.usable(), capacity) {
            let spent = self.consumed;
            return Some(Reason::new(
                Why::UsedUp,
                format!("{spent} of {capacity} spent, {amount} asked for"),
            ));
        }
        None
    }

    /// The priority that counts for the order.
    pub fn class(&self, priority: i64) -> i64 {
        if self.terms.policy.minds_priority() { priority } else { 0 }
    }

    /// By how much the virtual time runs in a second.
    pub fn pace(&self) -> f64 {
        match self.terms.policy.strategy {
            Strategy::Priority | Strategy::Collaborative => {
                self.capacity() * self.terms.policy.ageing_rate.min(1.0) / CROWD
            }
            Strategy::RoundRobin | Strategy::WeightedRandom => 0.0,
        }
    }

    /// How much later than the others an owner begins that comes anew.
    pub fn first_step(&self, weight: f64, number: u64) -> f64 {
        match self.terms.policy.strategy {
            Strategy::WeightedRandom => self.terms.policy.draw(2 * number) / weight,
            _ => 0.0,
        }
    }

    /// What a grant moves its owner on by: an estimate, where that depends on how long it will be held.
    pub fn step(&self, weight: f64, amount: f64, number: u64) -> f64 {
        match self.terms.policy.strategy {
            Strategy::RoundRobin => 1.0,
            Strategy::WeightedRandom => self.terms.policy.draw(2 * number + 1) / weight,
            Strategy::Priority | Strategy::Collaborative => {
                let seconds = if self.terms.kind == Kind::Cost { 1.0 } else { self.held.unwrap_or(1.0) };
                amount * seconds.max(LEAST_HELD) / weight
            }
        }
    }

    /// The same once it is known: `used` is what was consumed of a cost.
    pub fn final_step(&self, weight: f64, charged: f64, amount: f64, seconds: f64, used: f64) -> f64 {
        if !self.terms.policy.minds_priority() {
            return charged;
        }
        match self.terms.kind {
            Kind::Cost => used / weight,
            _ => amount * seconds.max(LEAST_HELD) / weight,
        }
    }

    pub fn count_held(&mut self, seconds: f64) {
        self.held = Some(self.held.map_or(seconds, |mean| mean + NEWEST * (seconds - mean)));
    }

    /// About how long one waits before whom so much is to be served (seconds); none before anything was ever given back.
    pub fn wait_estimate(&self, ahead: f64, amount: f64) -> Option<f64> {
        let missing = (ahead + amount - self.free()).max(0.0);
        Some(self.held? * missing / self.capacity())
    }

    pub fn grant(&mut self, ticket: u64, holder: &Arc<str>, amount: f64) {
        self.tickets.insert(ticket);
        self.granted += amount;
        *self.holders.entry(Arc::clone(holder)).or_default() += amount;
    }

    pub fn give_back(&mut self, ticket: u64, holder: &Arc<str>, amount: f64, holds_more: bool) {
        self.tickets.remove(&ticket);
        self.granted = if self.tickets.is_empty() { 0.0 } else { self.granted - amount };
        if !holds_more {
            self.holders.remove(holder);
        } else if let Some(held) = self.holders.get_mut(holder) {
            *held -= amount;
        }
    }

    /// Refuse terms that contradict each other.
    pub fn check(name: &str, terms: &Terms) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("resource: expected a name"));
        }
        let Terms { kind, capacity, policy } = terms;
        let least = if *kind == Kind::Model { "at least 0" } else { "more than 0" };
        if !(0.0..1e15).contains(capacity) || (*capacity == 0.0 && *kind != Kind::Model) {
            return Err(Error::invalid(format!("capacity: expected a number of {least}, got {capacity}")));
        }
        if !(0.0..=1e6).contains(&policy.ageing_rate) {
            let rate = policy.ageing_rate;
            return Err(Error::invalid(format!("ageing_rate: expected 0 to 1,000,000, got {rate}")));
        }
        if !(policy.minimum > 0.0 && policy.minimum.is_finite()) {
            let minimum = policy.minimum;
            return Err(Error::invalid(format!("minimum: expected a number of more than 0, got {minimum}")));
        }
        Ok(())
    }
}

/// Whether an amount is at most a limit, up to the rounding of sums of this scale.
fn within(amount: f64, limit: f64, scale: f64) -> bool {
    amount <= limit + scale * 1e-9
}
