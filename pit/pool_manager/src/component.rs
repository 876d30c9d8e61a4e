//! The component: its method table, and what of it lasts.

use std::collections::BTreeMap;
use std::sync::Arc;

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Component, Error, Host, Record, Result, Value, block_on, pit_component};

use crate::model::{Model, ModelState, Registration, Transition, Usage};
use crate::pool::{Pool, recover};
use crate::records::{Event, Limits, REVISION};
use crate::waiting::Acquire;

/// See the module documentation of the crate.
pub(crate) struct PoolManager {
    pool: Arc<Pool>,
}

#[pit_component(
    id = "symphony.pool_manager",
    description = "The life of every model: loading, leases, limits",
    revision = 2
)]
impl PoolManager {
    /// Do nothing: shows that the component answers.
    #[pit_method]
    fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Counters: models, hot, `resident_bytes`, leases, waiting, hits, misses, evictions, `cold_starts_avoided`, waits,
    /// `wait_seconds`, `wait_max`, spent.
    #[pit_method]
    fn stats(&self) -> Result<BTreeMap<String, f64>> {
        let state = self.pool.lock();
        let known = state.registered();
        let sum = |read: fn(&Model) -> f64| known.iter().map(|(_, model)| read(model)).sum::<f64>();
        #[expect(clippy::cast_precision_loss, reason = "counters are far below 2^53")]
        let counters = [
            ("models", known.len() as f64),
            ("hot", sum(|model| f64::from(u8::from(model.state == ModelState::Hot)))),
            ("resident_bytes", sum(|m| if m.is_resident() { m.registration.memory as f64 } else { 0.0 })),
            ("leases", state.leases.len() as f64),
            ("waiting", state.waiters.total() as f64),
            ("hits", sum(|model| model.metrics.hits as f64)),
            ("misses", sum(|model| model.metrics.misses as f64)),
            ("evictions", sum(|model| model.metrics.evictions as f64)),
            ("cold_starts_avoided", sum(|model| model.metrics.cold_starts_avoided as f64)),
            ("waits", sum(|model| model.metrics.waits as f64)),
            ("wait_seconds", sum(|model| model.metrics.wait_seconds)),
            ("wait_max", known.iter().map(|(_, model)| model.metrics.wait_max).fold(0.0, f64::max)),
            ("spent", state.spent),
        ];
        Ok(counters.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Make a model known, or change its terms; lasts over restarts.
    ///
    /// memory is an estimate in bytes, instances the slots that may be leased at once, `cost_per_call` what a lease costs
    /// when it is given back, backup the model that serves while this one is failed, `keep_warm` the seconds that an idle model
    /// is kept before it may be evicted, `failure_threshold` the failed health checks in a row that make it failed.
    #[pit_method]
    #[expect(clippy::too_many_arguments, reason = "the terms of a model, all with defaults")]
    fn register(
        &self,
        model: &str,
        #[default("")] provider: &str,
        #[default(0)] memory: u64,
        #[default(1)] instances: u32,
        #[default(0.0)] cost_per_call: f64,
        #[default("")] backup: &str,
        #[default(0.0)] keep_warm: f64,
        #[default(3)] failure_threshold: u32,
    ) -> Result<()> {
        if model.is_empty() || instances == 0 || failure_threshold == 0 {
            return Err(Error::invalid(
                "a model needs a name, at least one instance, a threshold of at least 1",
            ));
        }
        for (name, number) in [("cost_per_call", cost_per_call), ("keep_warm", keep_warm)] {
            if !(0.0..1e12).contains(&number) {
                return Err(Error::invalid(format!("{name}: expected a number of at least 0, got {number}")));
            }
        }
        if backup == model {
            return Err(Error::invalid(format!("backup: {model} cannot stand in for itself")));
        }
        let registration = Registration {
            provider: provider.to_owned(),
            memory,
            instances,
            cost_per_call,
            backup: backup.to_owned(),
            keep_warm,
            failure_threshold,
        };
        self.pool.change(|state, after| {
            if state.named(model).is_ok_and(|known| known.registration == registration) {
                return Ok(());
            }
            self.pool.record(state, Event::Registered { model, registration })?;
            let now = self.pool.host.now();
            state.named(model)?.idle_since = now; // what is to be kept warm is so from now on
            state.settle(now, after);
            Ok(())
        })
    }

    /// Forget a model that is cold or failed and that nobody leases or waits for.
    #[pit_method]
    fn unregister(&self, model: &str) -> Result<()> {
        self.pool.change(|state, _| {
            let index = state.index(model)?;
            let known = &state.models[index];
            if known.is_resident() || known.leased > 0 || !state.waiters.is_empty(index) {
                return Err(Error::conflict(format!(
                    "model {model} is {}, leased or waited for: unload it first",
                    known.state.name()
                )));
            }
            self.pool.record(state, Event::Unregistered { model })
        })
    }

    /// Limit the bytes that all loaded models together may take, and the cost up to which leases are given; None = no
    /// limit. Lasts over restarts.
    #[pit_method]
    fn configure(
        &self,
        #[default(None)] memory_limit: Option<u64>,
        #[default(None)] budget: Option<f64>,
    ) -> Result<()> {
        if budget.is_some_and(|budget| budget.is_nan() || budget < 0.0) {
            return Err(Error::invalid("budget: expected a number of at least 0"));
        }
        let limits = Limits { memory: memory_limit, budget };
        self.pool.change(|state, after| {
            if state.limits == limits {
                return Ok(());
            }
            self.pool.record(state, Event::Limited(limits))?;
            state.settle(self.pool.host.now(), after);
            Ok(())
        })
    }

    /// Set what was spent of the budget back to nothing.
    #[pit_method]
    fn reset_budget(&self) -> Result<()> {
        self.pool.change(|state, _| self.pool.record(state, Event::BudgetReset))
    }

    /// Every model with its terms, its state, its counters since the start, and its calls, cost and units so far.
    #[pit_method]
    fn models(&self) -> Result<Vec<Value>> {
        let state = self.pool.lock();
        Ok(state.registered().into_iter().map(|(index, model)| model.row(state.waiters.len(index))).collect())
    }

    /// Begin to warm a cold or failed model. True: the caller loads it now and answers with warmed or failed. False: it is
    /// not cold, or there is no room yet.
    #[pit_method]
    fn warm(&self, model: &str) -> Result<bool> {
        self.pool.warm(model)
    }

    /// The model is loaded; it took so many seconds. Those who wait for it are served.
    #[pit_method]
    fn warmed(&self, model: &str, seconds: f64) -> Result<()> {
        self.pool.moved(model, |model| {
            model.transition(Transition::Warmed)?;
            model.failures = 0;
            model.metrics.loads += 1;
            model.metrics.load_seconds += seconds;
            Ok(())
        })
    }

    /// The model could not be loaded, or broke. Those who wait for it get the reason, or the backup.
    #[pit_method]
    fn failed(&self, model: &str, reason: &str) -> Result<()> {
        self.pool.moved(model, |model| {
            model.transition(Transition::Fail)?;
            model.prewarmed = false;
            reason.clone_into(&mut model.reason);
            Ok(())
        })
    }

    /// Make a failed model cold again, so that it can be loaded.
    #[pit_method]
    fn recover(&self, model: &str) -> Result<()> {
        self.pool.moved(model, recover)
    }

    /// Begin to cool a hot model that no one leases. True: the caller unloads it now and answers with cooled.
    #[pit_method]
    fn cool(&self, model: &str) -> Result<bool> {
        self.pool.cool(model)
    }

    /// The model is unloaded; whoever waits for its room is served.
    #[pit_method]
    fn cooled(&self, model: &str) -> Result<()> {
        self.pool.moved(model, |model| model.transition(Transition::Cooled))
    }

    /// Ask the engine to load a cold model ahead of its first use. False: it is not cold.
    #[pit_method]
    fn prewarm(&self, model: &str) -> Result<bool> {
        self.pool.prewarm(model)
    }

    /// Ask the engine whether a hot model is well; it answers with checked. False: it is not hot.
    #[pit_method]
    fn check(&self, model: &str) -> Result<bool> {
        self.pool.check(model)
    }

    /// The answer of a health check. As many failures in a row as the model's threshold make it failed.
    #[pit_method]
    fn checked(&self, model: &str, healthy: bool, #[default("")] detail: &str) -> Result<()> {
        self.pool.moved(model, |model| {
            if healthy {
                model.failures = 0;
                return Ok(());
            }
            if model.is_resident() && model.failures + 1 < model.registration.failure_threshold {
                model.failures += 1;
                return Ok(());
            }
            model.transition(Transition::Fail)?;
            model.failures += 1;
            model.prewarmed = false;
            model.reason = format!("{} health checks failed: {detail}", model.failures);
            Ok(())
        })
    }

    /// A lease of a hot model, or None when it is not hot, has no free slot, or others wait for one.
    #[pit_method]
    fn try_acquire(&self, model: &str, #[default(1)] slots: u32) -> Result<Option<i64>> {
        self.pool.try_acquire(model, slots)
    }

    /// Wait for a lease, on this thread; timeout in seconds, None waits for ever. Higher priorities are served first. Raises
    /// `PitTimeout`, `PitConflict` (the model failed), `PitExhausted` (budget, memory).
    #[pit_method(waiting)]
    fn acquire(
        &self,
        model: &str,
        #[default(None)] timeout: Option<f64>,
        #[default(0)] priority: i64,
        #[default(1)] slots: u32,
    ) -> Result<i64> {
        let wish = self.pool.wish(model.to_owned(), slots, priority, timeout)?;
        block_on(Acquire::new(Arc::clone(&self.pool), wish))
    }

    /// Wait for a lease, as acquire does; cancelling the await leaves the queue.
    #[pit_method]
    async fn acquire_async(
        self: Arc<Self>,
        model: String,
        #[default(None)] timeout: Option<f64>,
        #[default(0)] priority: i64,
        #[default(1)] slots: u32,
    ) -> Result<i64> {
        let wish = self.pool.wish(model, slots, priority, timeout)?;
        Acquire::new(Arc::clone(&self.pool), wish).await
    }

    /// The model of a lease: the one asked for, or the backup that serves for it.
    #[pit_method]
    fn lease_model(&self, lease: i64) -> Result<String> {
        let mut state = self.pool.lock();
        let index = state.leases.get(lease)?.model;
        Ok(state.models[index].name.clone())
    }

    /// Give a lease back.
    #[pit_method]
    fn release(&self, lease: i64) -> Result<()> {
        self.pool.release(lease)
    }

    /// Count what a call cost beyond the model's fixed price, and units such as tokens. Lasts over restarts.
    #[pit_method]
    fn charge(&self, model: &str, cost: f64, #[default(0.0)] units: f64) -> Result<()> {
        self.pool.charge(model, cost, units)
    }
}

impl Component for PoolManager {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { pool: Arc::new(Pool::new(host)) })
    }

    fn restore(&self, snapshot: &[u8]) -> Result<()> {
        let mut reader = Reader::new(snapshot);
        let payloads = reader.each(|reader| Ok((reader.u32()?, reader.bytes()?)))?;
        let mut state = self.pool.lock();
        for (kind, payload) in payloads {
            let kind = u16::try_from(kind).unwrap_or(u16::MAX);
            state.apply(Event::decode(&Record { position: 0, time: 0, kind, revision: REVISION, payload })?);
        }
        state.spent = reader.f64()?;
        Ok(())
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        let event = Event::decode(record)?;
        self.pool.lock().apply(event);
        Ok(())
    }

    /// The shortest log that leads to this state, and what was spent.
    fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        let state = self.pool.lock();
        let mut events = vec![Event::Limited(state.limits)];
        for (_, model) in state.registered() {
            events.push(Event::Registered { model: &model.name, registration: model.registration.clone() });
            if model.usage != Usage::default() {
                events.push(Event::Used { model: &model.name, usage: model.usage });
            }
        }
        let writer = Writer::default()
            .each(events.iter(), |writer, event| writer.u32(event.kind().into()).bytes(&event.encode()));
        Ok(Some(writer.f64(state.spent).finish()))
    }

    fn stop(&self) {
        self.pool.stop();
    }
}

#[cfg(test)]
mod tests;
