//! The models under one lock: who gets a lease, what the engine is asked to do.
//!
//! Every change goes through [`Pool::change`], which calls wakers and the engine once the lock is given back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use symphony_pit::{Error, Host, Level, Result, Value};

use crate::model::{Model, ModelState, Transition, Usage};
use crate::records::{Event, REVISION};
use crate::state::{After, State};
use crate::waiting::Wish;

/// Calls without cost are recorded in lots of this many, at each health check, and when the model is loaded, unloaded or
/// broken: what came after that may be lost with a killed process.
const CALLS_PER_RECORD: u64 = 100;

pub(crate) enum Attempt {
    Granted(i64),
    /// Look again at this time (µs), or when woken.
    Waiting {
        look_again: Option<i64>,
    },
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
                let waited = !state.waiters.remove(place).is_empty();
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
            for index in state.waiters.remove(wish.place()) {
                state.wake_next(index, after);
            }
            Ok(())
        });
        debug_assert!(left.is_ok(), "nothing in here fails");
    }

    pub fn release(&self, number: i64) -> Result<()> {
        self.change(|state, after| {
            let lease = state.leases.take(number)?;
            let model = &mut state.models[lease.model];
            model.leased -= lease.slots;
            if model.registration.keep_warm > 0.0 {
                model.idle_since = self.host.now();
            }
            let cost = model.registration.cost_per_call;
            model.count(Usage { calls: 1, cost, units: 0.0 });
            let due = cost > 0.0 || model.unrecorded.calls >= CALLS_PER_RECORD;
            state.spent += cost;
            state.wake_next(lease.model, after);
            state.load_ahead(|| self.host.now(), after);
            if due {
                self.try_to_record_usage(state, lease.model);
            }
            Ok(())
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

    /// The same where what is counted has happened anyway: what a full disk does not take goes with the next counts.
    fn try_to_record_usage(&self, state: &mut State, index: usize) {
        if let Err(error) = self.record_usage(state, index) {
            let model = &state.models[index].name;
            self.host.log(Level::Error, &format!("the use of model {model} is not recorded yet: {error}"));
        }
    }

    pub fn charge(&self, name: &str, cost: f64, units: f64) -> Result<()> {
        if !(cost >= 0.0 && cost.is_finite() && units.is_finite()) {
            return Err(Error::invalid(format!(
                "cost: expected a number of at least 0, got {cost}; units: a finite one, got {units}"
            )));
        }
        self.change(|state, _| {
            let index = state.index(name)?;
            let before = (state.models[index].usage, state.models[index].unrecorded);
            state.models[index].count(Usage { calls: 0, cost, units });
            let recorded = self.record_usage(state, index);
            if recorded.is_ok() {
                state.spent += cost;
            } else {
                (state.models[index].usage, state.models[index].unrecorded) = before;
            }
            recorded
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
            state.load_ahead(|| now, after);
            self.try_to_record_usage(state, index);
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
            if !state.ahead.contains(&index) {
                state.ahead.push(index);
            }
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
