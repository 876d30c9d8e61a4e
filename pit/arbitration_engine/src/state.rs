//! All resources and tickets, what is asked of them, and what lasts of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use symphony_pit::{Error, Host, Level, Result};

use crate::audit::{Audit, Decision, Reason, Row, Why};
use crate::deadlock::Holders;
use crate::queue::Ahead;
use crate::records::{Event, REVISION};
use crate::resource::Resource;
use crate::ticket::{Ticket, TicketState, Wish};

/// So many tickets that ended can still be asked about.
pub(crate) const ENDED: usize = 10_000;

pub(crate) struct State {
    pub host: Host,
    /// The clock (µs), which never goes back here.
    pub now: i64,
    pub resources: BTreeMap<Arc<str>, Resource>,
    pub tickets: BTreeMap<u64, Ticket>,
    pub ended: VecDeque<u64>,
    pub holders: Holders,
    pub deadlines: BTreeSet<(i64, u64)>,
    /// Other weights than 1.
    pub weights: BTreeMap<Arc<str>, f64>,
    pub audit: Audit,
    /// Resources where someone may be next now.
    pub touched: BTreeSet<Arc<str>>,
    pub wakers: Vec<Waker>,
}

/// What came of a request.
pub(crate) struct Answer {
    pub decision: Decision,
    pub reason: Reason,
    pub ticket: Option<u64>,
    pub amount: f64,
    pub wait_estimate: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "a span in seconds")]
pub(crate) fn seconds(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1e6
}

impl State {
    pub fn new(host: Host) -> Self {
        Self {
            host,
            now: 0,
            resources: BTreeMap::new(),
            tickets: BTreeMap::new(),
            ended: VecDeque::new(),
            holders: Holders::default(),
            deadlines: BTreeSet::new(),
            weights: BTreeMap::new(),
            audit: Audit::default(),
            touched: BTreeSet::new(),
            wakers: Vec::new(),
        }
    }

    pub fn named(&mut self, name: &str) -> Result<&mut Resource> {
        if !self.resources.contains_key(name) {
            let known: Vec<&str> = self.resources.keys().map(|name| &**name).collect();
            return Err(
                Error::not_found(format!("no resource {name:?}")).with("known resources", known.join(", "))
            );
        }
        self.resources.get_mut(name).ok_or_else(|| Error::not_found(format!("no resource {name:?}")))
    }

    pub fn ticket(&self, number: u64) -> Result<&Ticket> {
        self.tickets.get(&number).ok_or_else(|| {
            Error::not_found(format!("no ticket {number}: it ended long ago, or was never given"))
        })
    }

    /// What lasts, as it was recorded.
    pub fn apply(&mut self, event: Event<'_>) {
        match event {
            Event::Defined { resource: name, terms } => {
                let name: Arc<str> = name.into();
                let resource =
                    self.resources.entry(Arc::clone(&name)).or_insert_with(|| Resource::new(name, terms));
                resource.terms = terms;
            }
            Event::Undefined { resource } => {
                self.resources.remove(resource);
            }
            Event::Shared { owner, weight } => {
                self.weights.insert(owner.into(), weight);
                self.weights.retain(|_, weight| (*weight - 1.0).abs() > f64::EPSILON);
            }
            Event::Consumed { resource, amount } => {
                if let Some(resource) = self.resources.get_mut(resource) {
                    resource.consumed += amount;
                }
            }
            Event::BudgetReset { resource } => {
                if let Some(resource) = self.resources.get_mut(resource) {
                    resource.consumed = 0.0;
                }
            }
            Event::Decided(row) => self.audit.push(row),
            Event::Counted(tally, last) => {
                self.audit.tally = tally;
                self.audit.last = last;
            }
        }
    }

    /// Append what lasts, then apply it.
    pub fn record(&mut self, event: Event<'_>) -> Result<()> {
        self.host.append(event.kind(), REVISION, self.now, &event.encode())?;
        self.apply(event);
        Ok(())
    }

    pub fn weight(&self, owner: &str) -> f64 {
        self.weights.get(owner).copied().unwrap_or(1.0)
    }

    /// Note a decision about a wish. The first one on a wish fails if it cannot be recorded; a later one is carried out
    /// nevertheless, since a full disk shall not keep anybody from what is free.
    pub fn decide(
        &mut self,
        ticket: Option<u64>,
        wish: &Wish,
        decision: Decision,
        reason: Reason,
        position: usize,
    ) -> Result<()> {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let waiting = self.resources.get(&wish.resource).map_or(0, |resource| resource.queue.len());
        let row = Row {
            number: self.audit.next(),
            time: self.now,
            ticket,
            resource: Arc::clone(&wish.resource),
            owner: Arc::clone(&wish.owner),
            amount: wish.amount,
            priority: wish.priority,
            decision,
            reason,
            waiting: small(waiting - usize::from(decision == Decision::Granted)), // it still stands there
            position: small(position),
        };
        let first = ticket.is_none_or(|ticket| ticket == row.number);
        match self.record(Event::Decided(row.clone())) {
            Err(error) if first => Err(error),
            Err(error) => {
                self.host.log(Level::Error, &format!("decision {} is not recorded: {error}", row.number));
                self.audit.push(row);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub fn request(&mut self, mut wish: Wish) -> Result<Answer> {
        let (number, now, weight) = (self.audit.next(), self.now, self.weight(&wish.owner));
        let resource = self.named(&wish.resource)?;
        wish.resource = Arc::clone(&resource.name);
        if let Some(reason) = resource.refuses(wish.amount) {
            return self.refuse(&wish, reason);
        }
        let (class, step) = (resource.class(wish.priority), resource.first_step(weight, number));
        resource.queue.shares.run(now, resource.pace());
        if resource.queue.is_empty() {
            resource.queue.shares.level();
        }
        let ahead = resource.queue.ahead(number, &wish.owner, class, now);
        let waits = resource.queue.waits(&wish.owner);
        resource.queue.account(&wish.owner, |shares| shares.join(&wish.owner, waits, step));
        resource.queue.enter(number, &wish.owner, class, wish.amount, now);
        let next = resource.queue.first() == Some(number);
        let part = resource.part(wish.amount).filter(|_| next);
        let wait_estimate = resource.wait_estimate(ahead.amount, wish.amount);
        self.holders.wait(&wish.holder, wish.sequential, &wish.resource, number, wish.amount);
        self.deadlines.extend(wish.deadline.map(|deadline| (deadline, number)));
        self.tickets.insert(
            number,
            Ticket {
                number,
                wish: wish.clone(),
                state: TicketState::Waiting,
                reason: Why::Busy.into(),
                granted: 0.0,
                since: now,
                changed: now,
                charged: 0.0,
                waker: None,
            },
        );
        let result = match part {
            Some(part) => {
                let why = if part < wish.amount { Why::Equal } else { Why::Free };
                self.grant(number, part, why)
            }
            None => self.defer(number, &wish, ahead, next, wait_estimate),
        };
        let denied = match result {
            Ok(denied) => denied,
            Err(error) => {
                self.forget(number);
                return Err(error);
            }
        };
        if let Some(reason) = denied {
            self.forget(number);
            return self.refuse(&wish, reason);
        }
        self.serve();
        let ticket = self.ticket(number)?;
        let decision = match ticket.state {
            TicketState::Granted => Decision::Granted,
            TicketState::Waiting => Decision::Deferred,
            _ => Decision::Denied,
        };
        Ok(Answer {
            decision,
            reason: ticket.reason.clone(),
            ticket: Some(number).filter(|_| decision != Decision::Denied),
            amount: ticket.granted,
            wait_estimate: wait_estimate.filter(|_| decision == Decision::Deferred),
        })
    }

    fn refuse(&mut self, wish: &Wish, reason: Reason) -> Result<Answer> {
        self.decide(None, wish, Decision::Denied, reason.clone(), 0)?;
        Ok(Answer { decision: Decision::Denied, reason, ticket: None, amount: 0.0, wait_estimate: None })
    }

    /// Let a new ticket wait, unless that has no end or takes too long: then the reason comes back.
    fn defer(
        &mut self,
        number: u64,
        wish: &Wish,
        ahead: Ahead,
        next: bool,
        wait_estimate: Option<f64>,
    ) -> Result<Option<Reason>> {
        let path = self.holders.deadlock(&self.resources, &wish.holder, &wish.resource, wish.amount);
        if let Some(path) = path {
            return Ok(Some(Reason::new(Why::Deadlock, path)));
        }
        if let Some(most) = wish.max_wait
            && (most <= 0.0 || wait_estimate.is_some_and(|estimate| estimate > most))
        {
            let estimate =
                wait_estimate.map_or_else(|| "it is not known".to_owned(), |wait| format!("{wait:.3} s"));
            return Ok(Some(Reason::new(Why::Slow, format!("{estimate}, and {most} s are wanted at most"))));
        }
        let why = if next { Why::Busy } else { Why::Behind };
        self.decide(Some(number), wish, Decision::Deferred, why.into(), ahead.tickets)?;
        if let Some(ticket) = self.tickets.get_mut(&number) {
            ticket.reason = why.into();
        }
        self.look_at_entangled();
        Ok(None)
    }

    /// More of a resource is free than before.
    pub fn look_at(&mut self, name: &Arc<str>) {
        self.touched.insert(Arc::clone(name));
    }

    /// Those who wait for a resource, in the order in which they would be granted.
    pub fn waiting(&self, resource: &Resource) -> Vec<u64> {
        let next = self.audit.next();
        resource
            .queue
            .in_order(|owner, amount, served| resource.step(self.weight(owner), amount, next + served))
    }

    /// About how long a ticket still waits (seconds), and how many come before it.
    pub fn outlook(&self, ticket: &Ticket) -> (Option<f64>, usize) {
        let Some(resource) = self.resources.get(&ticket.wish.resource) else { return (None, 0) };
        let class = resource.class(ticket.wish.priority);
        let ahead = resource.queue.ahead(ticket.number, &ticket.wish.owner, class, ticket.since);
        (resource.wait_estimate(ahead.amount, ticket.wish.amount), ahead.tickets)
    }

    /// Since the ticket got into its state (seconds).
    pub fn age(&self, ticket: &Ticket) -> f64 {
        seconds(ticket.changed, self.now)
    }

    /// Leave a waker with a ticket that waits; its state and reason come back.
    pub fn watch(&mut self, number: u64, waker: &Waker) -> Result<(TicketState, Reason)> {
        self.ticket(number)?;
        let Some(ticket) = self.tickets.get_mut(&number) else {
            return Err(Error::not_found("no such ticket"));
        };
        if ticket.state == TicketState::Waiting {
            ticket.waker = Some(waker.clone());
        }
        Ok((ticket.state, ticket.reason.clone()))
    }
}
