//! The component: its method table, and what of it lasts.

use std::collections::BTreeMap;
use std::sync::Arc;

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Component, Error, Host, Record, Result, Value, block_on, pit_component};

use crate::audit::Decision;
use crate::engine::Engine;
use crate::priority::Priority;
use crate::records::{Event, REVISION};
use crate::resource::{Kind, Resource, Terms};
use crate::strategy::{Policy, Strategy};
use crate::ticket::Wish;
use crate::waiting::Acquire;

/// See the module documentation of the crate.
pub(crate) struct ArbitrationEngine {
    engine: Arc<Engine>,
}

#[pit_component(
    id = "symphony.arbitration_engine",
    description = "Decides who gets a contended resource",
    revision = 2,
    calls = ["symphony.pool_manager"]
)]
impl ArbitrationEngine {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: decisions, granted, denied, deferred, expired, deadlocks (all over restarts), and resources, held, waiting
    /// (now).
    #[pit_method]
    fn stats(&self) -> Result<BTreeMap<String, u64>> {
        let state = self.engine.lock();
        let tally = state.audit.tally;
        let sum = |count: fn(&Resource) -> usize| state.resources.values().map(count).sum::<usize>() as u64;
        let counted =
            Decision::ALL.iter().map(|decision| (decision.name(), tally.counts[*decision as usize]));
        let counters = [
            ("decisions", tally.counts.iter().sum()),
            ("deadlocks", tally.deadlocks),
            ("resources", state.resources.len() as u64),
            ("held", sum(|resource| resource.tickets.len())),
            ("waiting", sum(|resource| resource.queue.len())),
        ];
        Ok(counted.chain(counters).map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Make a resource known, or change its terms; lasts over restarts.
    ///
    /// capacity is what can be granted at once, in any unit; for a cost, what can be consumed in all; for a model, 0 = as many
    /// as the Pool Manager has instances of the model of this name. kind is model, memory, cpu or cost and names the
    /// conflict about it. strategy and seed as in `set_policy`. Raises `PitInvalidArgument`, and `PitConflict` where the kind
    /// changes while someone holds or awaits a part.
    #[pit_method]
    fn define(
        &self,
        resource: &str,
        capacity: f64,
        kind: &str,
        #[default("priority")] strategy: &str,
        #[default(0)] seed: u64,
    ) -> Result<()> {
        let kind = Kind::from_name("kind", kind)?;
        let strategy = Strategy::from_name("strategy", strategy)?;
        self.engine.change(|state| {
            let known = state.resources.get(resource);
            if known.is_some_and(|known| known.terms.kind != kind && !known.is_idle()) {
                return Err(Error::conflict(format!(
                    "resource {resource} is in use: its kind cannot change"
                )));
            }
            let policy = known.map_or_else(Policy::default, |known| known.terms.policy);
            let terms = Terms { kind, capacity, policy: Policy { strategy, seed, ..policy } };
            Resource::check(resource, &terms)?;
            if known.is_some_and(|known| known.terms == terms) {
                return Ok(());
            }
            state.record(Event::Defined { resource, terms })?;
            state.reorder(resource)
        })
    }

    /// Choose who comes next on a resource, also among those who wait already; lasts over restarts.
    ///
    /// strategy: priority (effective priority, then fair share by amount × time held and weight), `round_robin` (the owners in
    /// turn), collaborative (everyone who waits gets an equal part of what is free, at least minimum), `weighted_random` (by
    /// lot from seed, by the owners' weights). `ageing_rate` is what waiting adds to a priority per second; 0 = nothing, and
    /// low priorities may starve. Raises `PitNotFound`, `PitInvalidArgument`.
    #[pit_method]
    fn set_policy(
        &self,
        resource: &str,
        #[default("priority")] strategy: &str,
        #[default(1.0)] ageing_rate: f64,
        #[default(0)] seed: u64,
        #[default(1.0)] minimum: f64,
    ) -> Result<()> {
        let strategy = Strategy::from_name("strategy", strategy)?;
        self.engine.change(|state| {
            let policy = Policy { strategy, ageing_rate, seed, minimum };
            let known = state.named(resource)?.terms;
            let terms = Terms { policy, ..known };
            Resource::check(resource, &terms)?;
            if known == terms {
                return Ok(());
            }
            state.record(Event::Defined { resource, terms })?;
            state.reorder(resource)
        })
    }

    /// Forget a resource that nobody holds or waits for. Raises `PitNotFound`, `PitConflict`.
    #[pit_method]
    fn undefine(&self, resource: &str) -> Result<()> {
        self.engine.change(|state| {
            if !state.named(resource)?.is_idle() {
                return Err(Error::conflict(format!("resource {resource} is in use")));
            }
            state.record(Event::Undefined { resource })
        })
    }

    /// Every resource with its terms, what of it is free, granted and consumed, how many hold and await it, and for how many
    /// seconds a part is held on the average.
    #[pit_method]
    fn resources(&self) -> Result<Vec<Value>> {
        Ok(self.engine.lock().resources.values().map(Resource::shown).collect())
    }

    /// The resources of which more is granted and awaited (demand) than there is, with the name of the conflict (model
    /// contention, memory pressure, CPU saturation, cost limit) and the names of holders and waiters.
    #[pit_method]
    fn conflicts(&self) -> Result<Vec<Value>> {
        self.engine.refresh()?;
        let state = self.engine.lock();
        Ok(state.resources.values().filter_map(|resource| state.conflict(resource)).collect())
    }

    /// Set what was consumed of a cost back to nothing. Raises `PitNotFound`.
    #[pit_method]
    fn reset_budget(&self, resource: &str) -> Result<()> {
        self.engine.change(|state| {
            let name = Arc::clone(&state.named(resource)?.name);
            state.record(Event::BudgetReset { resource: &name })?;
            state.look_at(&name);
            Ok(())
        })
    }

    /// Let an owner have `weight` times the fair share of every resource; 1 is what all have. Lasts over restarts.
    #[pit_method]
    fn set_share(&self, owner: &str, weight: f64) -> Result<()> {
        if !(1e-6..=1e6).contains(&weight) {
            return Err(Error::invalid(format!("weight: expected 0.000001 to 1,000,000, got {weight}")));
        }
        self.engine.change(|state| state.record(Event::Shared { owner, weight }))
    }

    /// The weights that differ from 1, by owner.
    #[pit_method]
    fn shares(&self) -> Result<BTreeMap<String, f64>> {
        let state = self.engine.lock();
        Ok(state.weights.iter().map(|(owner, weight)| (owner.to_string(), *weight)).collect())
    }

    /// Ask for a part of a resource, without waiting for it.
    ///
    /// owner is whose fair share it counts for, a run id; amount is in the resource's unit; priority a number, higher first, or
    /// CRITICAL (1000), HIGH (100), NORMAL (0), LOW (-100), BACKGROUND (-1000). holder names who would hold it, such as a
    /// step that does one thing after the other: who waits for whom is told by it; it is the owner unless given, and then the
    /// owner may do several things at once. `max_wait` in seconds: a wait estimated longer is denied, one that lasts longer
    /// expires; None waits for ever.
    ///
    /// Gives a dict: decision (granted; deferred: it waits, and `status` tells when it is granted; denied), reason, ticket
    /// (None if denied), amount (granted; by collaborative sharing it may be less than asked for), `wait_estimate` (seconds,
    /// or None while nothing is known). Raises `PitNotFound` for an unknown resource.
    #[pit_method]
    fn request(
        &self,
        resource: &str,
        owner: &str,
        #[default(1.0)] amount: f64,
        #[default(0)] priority: Priority,
        #[default("")] holder: &str,
        #[default(None)] max_wait: Option<f64>,
    ) -> Result<Value> {
        let wish = self.wish(resource, owner, amount, priority, holder, ("max_wait", max_wait))?;
        Ok(self.engine.request(Wish { max_wait, ..wish })?.shown())
    }

    /// Wait for a part of a resource, on this thread, and give its ticket. Parameters as in request; timeout in seconds,
    /// None waits for ever. Raises `PitTimeout`, `PitExhausted` (more than there is, a budget that is used up), `PitConflict`
    /// (a deadlock, with its path), `PitCancelled` (by cancel), `PitNotFound`.
    #[pit_method(waiting)]
    fn acquire(
        &self,
        resource: &str,
        owner: &str,
        #[default(1.0)] amount: f64,
        #[default(0)] priority: Priority,
        #[default("")] holder: &str,
        #[default(None)] timeout: Option<f64>,
    ) -> Result<i64> {
        let wish = self.wish(resource, owner, amount, priority, holder, ("timeout", timeout))?;
        block_on(Acquire::new(Arc::clone(&self.engine), wish)?)
    }

    /// Wait for a part of a resource, as acquire does; cancelling the await leaves the queue.
    #[pit_method]
    async fn acquire_async(
        self: Arc<Self>,
        resource: String,
        owner: String,
        #[default(1.0)] amount: f64,
        #[default(0)] priority: Priority,
        #[default("")] holder: String,
        #[default(None)] timeout: Option<f64>,
    ) -> Result<i64> {
        let wish = self.wish(&resource, &owner, amount, priority, &holder, ("timeout", timeout))?;
        Acquire::new(Arc::clone(&self.engine), wish)?.await
    }

    /// Give back what a ticket was granted. used is what was consumed of a cost, by default all that was granted; it does
    /// not come back, and lasts over restarts. Raises `PitConflict` unless the ticket is granted, `PitNotFound`.
    #[pit_method]
    fn release(&self, ticket: u64, #[default(None)] used: Option<f64>) -> Result<()> {
        self.engine.change(|state| state.release(ticket, used))
    }

    /// Leave the queue. Raises `PitConflict` unless the ticket waits, `PitNotFound`.
    #[pit_method]
    fn cancel(&self, ticket: u64) -> Result<()> {
        self.engine.change(|state| state.cancel(ticket))
    }

    /// Release or cancel every ticket of an owner, as when its run ends; a cost counts as used. Gives how many there were.
    #[pit_method]
    fn release_all(&self, owner: &str) -> Result<usize> {
        self.engine.change(|state| state.release_all(owner))
    }

    /// A ticket with its state (waiting, granted, released, cancelled, denied, expired), the reason, since when (µs) and for
    /// how many seconds it is in it, and while it waits about its position and how long it still waits (seconds). The last
    /// 10,000 that ended are known too. Raises `PitNotFound`.
    #[pit_method]
    fn status(&self, ticket: u64) -> Result<Value> {
        self.engine.change(|state| Ok(state.row(state.ticket(ticket)?)))
    }

    /// The tickets that wait for a resource, in the order in which they would be granted if nobody came or left, and what is
    /// held were held as long as the average. Raises `PitNotFound`.
    #[pit_method]
    fn queue(&self, resource: &str) -> Result<Vec<Value>> {
        self.engine.change(|state| {
            let name = Arc::clone(&state.named(resource)?.name);
            let order =
                state.resources.get(&name).map(|resource| state.waiting(resource)).unwrap_or_default();
            Ok(order
                .iter()
                .filter_map(|number| state.ticket(*number).ok())
                .map(|one| state.row(one))
                .collect())
        })
    }

    /// The newest decisions, newest first, of the 10,000 that are kept: of this resource, owner and decision (granted, denied,
    /// deferred, expired) where given, and with a number above after. Each with its number, time (µs), ticket, resource,
    /// owner, amount, priority, decision, reason, `queue_length` and position. Lasts over restarts.
    #[pit_method]
    fn audit(
        &self,
        #[default("")] resource: &str,
        #[default("")] owner: &str,
        #[default("")] decision: &str,
        #[default(100)] limit: usize,
        #[default(0)] after: u64,
    ) -> Result<Vec<Value>> {
        let decision =
            if decision.is_empty() { None } else { Some(Decision::from_name("decision", decision)?) };
        Ok(self.engine.lock().audit.find(resource, owner, decision, limit, after))
    }
}

impl ArbitrationEngine {
    fn wish(
        &self,
        resource: &str,
        owner: &str,
        amount: f64,
        Priority(priority): Priority,
        holder: &str,
        (name, most): (&str, Option<f64>),
    ) -> Result<Wish> {
        if owner.is_empty() {
            return Err(Error::invalid("owner: expected a name"));
        }
        if !(amount > 0.0 && amount < 1e15) {
            return Err(Error::invalid(format!("amount: expected a number of more than 0, got {amount}")));
        }
        if let Some(seconds) = most.filter(|seconds| !(0.0..1e12).contains(seconds)) {
            return Err(Error::invalid(format!("{name}: expected seconds of at least 0, got {seconds}")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        let deadline = most.map(|seconds| self.engine.host.now() + (seconds * 1e6) as i64);
        let (sequential, holder) = if holder.is_empty() { (false, owner) } else { (true, holder) };
        let (resource, owner, holder) = (resource.into(), owner.into(), holder.into());
        Ok(Wish { resource, owner, holder, sequential, amount, priority, max_wait: None, deadline })
    }
}

impl Component for ArbitrationEngine {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { engine: Arc::new(Engine::new(host)) })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        let mut reader = Reader::new(snapshot);
        let payloads = reader.each(|reader| Ok((reader.u32()?, reader.bytes()?)))?;
        let mut state = self.engine.lock();
        for (kind, payload) in payloads {
            let kind = u16::try_from(kind).unwrap_or(u16::MAX);
            match Event::decode(&Record { position: 0, time: 0, kind, revision: REVISION, payload })? {
                Event::Decided(row) => state.audit.keep(row), // counted already
                event => state.apply(event),
            }
        }
        Ok(())
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        let event = Event::decode(record)?;
        self.engine.lock().apply(event);
        Ok(())
    }

    /// The shortest log that leads to this state. Tickets do not last.
    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        let state = self.engine.lock();
        let mut events = Vec::new();
        for resource in state.resources.values() {
            events.push(Event::Defined { resource: &resource.name, terms: resource.terms });
            if resource.consumed > 0.0 {
                events.push(Event::Consumed { resource: &resource.name, amount: resource.consumed });
            }
        }
        events.extend(state.weights.iter().map(|(owner, weight)| Event::Shared { owner, weight: *weight }));
        events.push(Event::Counted(state.audit.tally, state.audit.last));
        events.extend(state.audit.rows.iter().cloned().map(Event::Decided));
        let writer = Writer::default()
            .each(events.iter(), |writer, event| writer.u32(event.kind().into()).bytes(&event.encode()));
        Ok(Some(writer.finish()))
    }
}

#[cfg(test)]
mod tests;
