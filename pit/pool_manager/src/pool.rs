//! All models under one lock: who gets a lease, who makes room, what the engine is asked to do.
//!
//! Every change goes through [`Pool::change`], which calls wakers and the engine once the lock is given back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use symphony_pit::{Error, ErrorKind, Host, Result, Value};

use crate::leases::{Lease, Leases};
use crate::model::{Model, ModelState, Registration, Transition, Usage};
use crate::records::{Event, Limits, REVISION};
use crate::waiting::{Waiters, Wish};

/// Calls without cost are recorded in lots of this many: that many may be lost with a killed process.
const CALLS_PER_RECORD: u64 = 100;

#[derive(Default)]
pub(crate) struct State {
    pub models: Vec<Model>,
    by_name: HashMap<String, usize>,
    pub leases: Leases,
    pub waiters: Waiters,
    pub limits: Limits,
    /// Cost since the budget was set back.
    pub spent: f64,
    sequence: u64,
}

/// What is done after the lock is given back.
#[derive(Default)]
pub(crate) struct After {
    wakers: Vec<Waker>,
    /// Callout and model.
    asks: Vec<(&'static str, usize, String)>,
}

pub(crate) enum Attempt {
    Granted(i64),
    /// Look again at this time (µs), or when woken.
    Waiting {
        look_again: Option<i64>,
    },
}

impl State {
    pub fn index(&self, name: &str) -> Result<usize> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let mut known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            known.sort_unstable();
            Error::not_found(format!("no model {name:?}")).with("known models", known.join(", "))
        })
    }

    pub fn named(&mut self, name: &str) -> Result<&mut Model> {
        let index = self.index(name)?;
        Ok(&mut self.models[index])
    }

    /// The model that serves for `name`: itself, or while it is failed its backup.
    fn serving(&self, name: &str) -> Result<usize> {
        let mut index = self.index(name)?;
        for _ in 0..self.models.len() {
            let model = &self.models[index];
            if model.state != ModelState::Failed {
                return Ok(index);
            }
            let backup = &model.registration.backup;
            if backup.is_empty() {
                return Err(
                    Error::conflict(format!("model {} failed", model.name)).with("reason", &model.reason)
                );
            }
            index = self.index(backup)?;
        }
        Err(Error::conflict(format!("model {name} failed, and so did all its backups")))
    }

    pub fn register(&mut self, name: &str, registration: Registration) {
        if let Some(&index) = self.by_name.get(name) {
            self.models[index].registration = registration;
        } else {
            self.by_name.insert(name.to_owned(), self.models.len());
            self.models.push(Model::new(name, registration));
        }
    }

    /// What lasts, as it was recorded.
    pub fn apply(&mut self, event: Event<'_>) {
        match event {
            Event::Registered { model, registration } => self.register(model, registration),
            // Its place stays, so that indices hold; a model of that name would be a new one.
            Event::Unregistered { model } => {
                self.by_name.remove(model);
            }
            Event::Limited(limits) => self.limits = limits,
            Event::Used { model, usage } => {
                self.spent += usage.cost;
                if let Some(&index) = self.by_name.get(model) {
                    self.models[index].count(usage);
                    self.models[index].unrecorded = Usage::default();
                }
            }
            Event::BudgetReset => self.spent = 0.0,
        }
    }

    /// Registered models in the order of their names.
    pub fn registered(&self) -> Vec<(usize, &Model)> {
        let mut known: Vec<_> = self.by_name.values().map(|&index| (index, &self.models[index])).collect();
        known.sort_unstable_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        known
    }

    fn check_slots(&self, index: usize, slots: u32) -> Result<()> {
        let limit = self.models[index].registration.instances;
        if (1..=limit).contains(&slots) {
            return Ok(());
        }
        Err(Error::invalid(format!("slots: expected 1 to {limit}, got {slots}")))
    }

    fn check_budget(&self) -> Result<()> {
        match self.limits.budget {
            Some(budget) if self.spent >= budget => {
                let message = format!("the budget of {budget} is used up: {} was spent", self.spent);
                Err(Error::new(ErrorKind::Exhausted, message))
            }
            _ => Ok(()),
        }
    }

    fn grant(&mut self, index: usize, slots: u32) -> i64 {
        self.sequence += 1;
        let model = &mut self.models[index];
        model.leased += slots;
        model.last_use = self.sequence;
        model.unload_asked = false; // it is used again before the engine came to unload it
        if std::mem::take(&mut model.prewarmed) {
            model.metrics.cold_starts_avoided += 1;
        }
        self.leases.give(Lease { model: index, slots })
    }

    fn resident(&self) -> u64 {
        self.models.iter().filter(|model| model.is_resident()).map(|model| model.registration.memory).sum()
    }

    /// Whether a model fits the memory; if not, idle ones are chosen to go, least recently used first. The time (µs) at
    /// which one more may go comes back where that is what is missing.
    fn make_room(&mut self, index: usize, now: i64, after: &mut After) -> Result<(bool, Option<i64>)> {
        let Some(limit) = self.limits.memory else { return Ok((true, None)) };
        let wanted = self.models[index].registration.memory;
        if wanted > limit {
            let name = &self.models[index].name;
            let message =
                format!("model {name} takes {wanted} bytes, and all models together may take {limit}");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        let mut free = limit.saturating_sub(self.resident());
        if free >= wanted {
            return Ok((true, None));
        }
        // What is on its way out counts, so that no more than needed is sent after it.
        let going = |model: &&Model| model.state == ModelState::Cooling || model.unload_asked;
        free += self.models.iter().filter(going).map(|model| model.registration.memory).sum::<u64>();
        let mut idle: Vec<usize> = (0..self.models.len())
            .filter(|&other| {
                other != index && !self.models[other].unload_asked && self.waiters.is_empty(other)
            })
            .filter(|&other| self.models[other].evictable_at().is_some())
            .collect();
        idle.sort_unstable_by_key(|&other| self.models[other].last_use);
        let mut next = None;
        for other in idle {
            if free >= wanted {
                break;
            }
            match self.models[other].evictable_at() {
                Some(when) if when <= now => {
                    let model = &mut self.models[other];
                    model.unload_asked = true;
                    model.metrics.evictions += 1;
                    free += model.registration.memory;
                    after.asks.push(("model.unload", other, model.name.clone()));
                }
                when => next = [next, when].into_iter().flatten().min(),
            }
        }
        Ok((false, next))
    }

    /// Ask the engine to load a cold model, once there is room for it.
    fn want_load(&mut self, index: usize, now: i64, after: &mut After) -> Result<Option<i64>> {
        let (room, next) = self.make_room(index, now, after)?;
        let model = &mut self.models[index];
        if room && model.state == ModelState::Cold && !model.load_asked {
            model.load_asked = true;
            after.asks.push(("model.load", index, model.name.clone()));
        }
        Ok(next)
    }

    /// Go on with the models that are wanted ahead of their use, where there is room for them now.
    fn load_ahead(&mut self, now: i64, after: &mut After) {
        for index in 0..self.models.len() {
            let model = &self.models[index];
            if model.prewarmed && model.state == ModelState::Cold && !model.load_asked {
                let _ = self.want_load(index, now, after); // no room: it is a wish, and stays one
            }
        }
    }

    /// Something became free: those who wait look again.
    fn wake_next(&self, index: usize, after: &mut After) {
        after.wakers.extend(self.waiters.first(index));
        if self.limits.memory.is_some() {
            let others = self.waiters.models().into_iter().filter(|&other| other != index);
            after.wakers.extend(others.filter_map(|other| self.waiters.first(other)));
        }
    }
}

/// What the component and the operations under way share.
pub(crate) struct Pool {
    pub host: Host,
    state: Mutex<State>,
}

impl Pool {
    pub fn new(host: Host) -> Self {
        Self { host, state: Mutex::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change the state under its lock; then call whoever is concerned.
    pub fn change<T>(&self, change: impl FnOnce(&mut State, &mut After) -> Result<T>) -> Result<T> {
        let mut after = After::default();
        let result = change(&mut self.lock(), &mut after);
        after.wakers.into_iter().for_each(Waker::wake);
        for (ask, index, name) in after.asks {
            if self.host.callout(ask, &[Value::from(name)]).is_err() {
                // Nobody listens: whoever loads models here does so unasked, by `warm` and `cool`.
                let model = &mut self.lock().models[index];
                (model.load_asked, model.unload_asked) = (false, false);
            }
        }
        result
    }

    /// Append what lasts, then apply it.
    pub fn record(&self, state: &mut State, event: Event<'_>) -> Result<()> {
        self.host.append(event.kind(), REVISION, self.host.now(), &event.encode())?;
        state.apply(event);
        Ok(())
    }

    pub fn try_acquire(&self, name: &str, slots: u32) -> Result<Option<i64>> {
        let mut state = self.lock();
        let index = state.serving(name)?;
        state.check_slots(index, slots)?;
        state.check_budget()?;
        if !state.waiters.is_empty(index) || !state.models[index].free(slots) {
            return Ok(None);
        }
        state.models[index].metrics.hits += 1;
        Ok(Some(state.grant(index, slots)))
    }

    pub fn wish(&self, model: String, slots: u32, priority: i64, timeout: Option<f64>) -> Result<Wish> {
        let since = self.host.now();
        let deadline = timeout.map(|seconds| {
            if !(0.0..1e12).contains(&seconds) {
                return Err(Error::invalid(format!(
                    "timeout: expected seconds of at least 0, got {seconds}"
                )));
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            Ok(since + (seconds * 1e6) as i64)
        });
        let mut state = self.lock();
        let index = state.serving(&model)?;
        state.check_slots(index, slots)?;
        state.sequence += 1;
        let ticket = state.sequence;
        drop(state);
        Ok(Wish { model, slots, priority, ticket, since, deadline: deadline.transpose()? })
    }

    pub fn attempt(&self, wish: &Wish, waker: &Waker) -> Result<Attempt> {
        let now = self.host.now();
        self.change(|state, after| {
            let index = state.serving(&wish.model)?;
            state.check_slots(index, wish.slots)?;
            state.check_budget()?;
            let place = wish.place();
            if state.models[index].free(wish.slots) && state.waiters.is_first(index, place) {
                let waited = state.waiters.remove(index, place);
                let metrics = &mut state.models[index].metrics;
                if waited {
                    #[expect(clippy::cast_precision_loss, reason = "a wait in seconds")]
                    let seconds = (now - wish.since).max(0) as f64 / 1e6;
                    metrics.waits += 1;
                    metrics.wait_seconds += seconds;
                    metrics.wait_max = metrics.wait_max.max(seconds);
                } else {
                    metrics.hits += 1;
                }
                let lease = state.grant(index, wish.slots);
                state.wake_next(index, after);
                return Ok(Attempt::Granted(lease));
            }
            state.waiters.put(index, place, waker.clone());
            let cold = state.models[index].state == ModelState::Cold;
            let look_again = if cold { state.want_load(index, now, after)? } else { None };
            Ok(Attempt::Waiting { look_again })
        })
    }

    /// A wish is fulfilled or given up: the next one looks again.
    pub fn leave(&self, wish: &Wish) {
        let left = self.change(|state, after| {
            for index in state.waiters.models() {
                if state.waiters.remove(index, wish.place()) {
                    state.wake_next(index, after);
                }
            }
            Ok(())
        });
        debug_assert!(left.is_ok(), "nothing in here fails");
    }

    pub fn release(&self, number: i64) -> Result<()> {
        let now = self.host.now();
        self.change(|state, after| {
            let lease = state.leases.take(number)?;
            let model = &mut state.models[lease.model];
            model.leased -= lease.slots;
            model.idle_since = now;
            let cost = model.registration.cost_per_call;
            model.count(Usage { calls: 1, cost, units: 0.0 });
            let due = cost > 0.0 || model.unrecorded.calls >= CALLS_PER_RECORD;
            state.spent += cost;
            state.wake_next(lease.model, after);
            state.load_ahead(now, after);
            if due { self.record_usage(state, lease.model) } else { Ok(()) }
        })
    }

    /// Record what was counted since the last such record.
    fn record_usage(&self, state: &mut State, index: usize) -> Result<()> {
        let model = &mut state.models[index];
        if model.unrecorded == Usage::default() {
            return Ok(());
        }
        let event = Event::Used { model: &model.name, usage: model.unrecorded };
        self.host.append(event.kind(), REVISION, self.host.now(), &event.encode())?;
        model.unrecorded = Usage::default();
        Ok(())
    }

    pub fn charge(&self, name: &str, cost: f64, units: f64) -> Result<()> {
        if !(cost >= 0.0 && cost.is_finite() && units.is_finite()) {
            return Err(Error::invalid(format!("cost: expected a number of at least 0, got {cost}")));
        }
        self.change(|state, _| {
            let index = state.index(name)?;
            state.models[index].count(Usage { calls: 0, cost, units });
            state.spent += cost;
            self.record_usage(state, index)
        })
    }

    /// What is kept back is recorded before the end.
    pub fn stop(&self) {
        let mut state = self.lock();
        for index in 0..state.models.len() {
            if self.record_usage(&mut state, index).is_err() {
                return; // the log is closed or full: it is only counts
            }
        }
    }

    /// Begin to warm. True: the caller loads the model now and answers with warmed or failed.
    pub fn warm(&self, name: &str) -> Result<bool> {
        let now = self.host.now();
        self.change(|state, after| {
            let index = state.index(name)?;
            if state.models[index].state == ModelState::Failed {
                recover(&mut state.models[index])?;
            }
            if state.models[index].state != ModelState::Cold {
                return Ok(false);
            }
            if !state.make_room(index, now, after)?.0 {
                state.models[index].load_asked = false; // asked again once there is room
                return Ok(false);
            }
            let model = &mut state.models[index];
            model.transition(Transition::Warm)?;
            model.load_asked = false;
            model.metrics.misses += u64::from(!model.prewarmed);
            Ok(true)
        })
    }

    /// Move a model on, then call all who wait for it: they see what became of it.
    pub fn moved(&self, name: &str, change: impl FnOnce(&mut Model) -> Result<()>) -> Result<()> {
        let now = self.host.now();
        self.change(|state, after| {
            let index = state.index(name)?;
            let model = &mut state.models[index];
            let before = model.state;
            change(model)?;
            if model.state != before {
                model.idle_since = now; // a health check alone is no use of it
            }
            after.wakers.extend(state.waiters.all(index));
            state.wake_next(index, after);
            state.load_ahead(now, after);
            Ok(())
        })
    }

    pub fn cool(&self, name: &str) -> Result<bool> {
        self.change(|state, _| {
            let model = state.named(name)?;
            model.unload_asked = false;
            if model.state != ModelState::Hot || model.leased > 0 {
                return Ok(false);
            }
            model.transition(Transition::Cool)?;
            model.prewarmed = false; // or it would push out whatever it made room for
            Ok(true)
        })
    }

    pub fn prewarm(&self, name: &str) -> Result<bool> {
        let now = self.host.now();
        self.change(|state, after| {
            let index = state.index(name)?;
            if state.models[index].state != ModelState::Cold {
                return Ok(false);
            }
            state.models[index].prewarmed = true;
            state.want_load(index, now, after).map(|_| true)
        })
    }

    pub fn check(&self, name: &str) -> Result<bool> {
        self.change(|state, after| {
            let index = state.index(name)?;
            let hot = state.models[index].state == ModelState::Hot;
            if hot {
                after.asks.push(("model.health", index, name.to_owned()));
            }
            Ok(hot)
        })
    }
}

pub(crate) fn recover(model: &mut Model) -> Result<()> {
    model.transition(Transition::Recover)?;
    model.reason.clear();
    model.failures = 0;
    Ok(())
}
