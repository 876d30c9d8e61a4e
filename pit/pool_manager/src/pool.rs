//! The component: models by name, leases, and the waiters for them. Wakers are called after the lock is given back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Args, Component, Error, Host, Pending, Record, Result, Value};

use crate::model::{Model, ModelState, Registration, Transition};
use crate::waiting::{Acquire, Waiter, block_on};

const KIND_REGISTERED: u16 = 1;
const REVISION: u16 = 1;

#[derive(Default)]
struct State {
    models: BTreeMap<String, Model>,
    /// Lease -> model and slots.
    leases: HashMap<i64, (String, u32)>,
    waiters: VecDeque<Waiter>,
    next: u64,
}

impl State {
    fn model(&mut self, name: &str) -> Result<&mut Model> {
        if self.models.contains_key(name) {
            return self.models.get_mut(name).ok_or_else(|| Error::not_found(name));
        }
        let known: Vec<&str> = self.models.keys().map(String::as_str).collect();
        Err(Error::not_found(format!("no model {name:?}")).with("known models", known.join(", ")))
    }

    fn grant(&mut self, name: &str, slots: u32) -> Result<i64> {
        self.model(name)?.leased += slots;
        self.next += 1;
        let lease = self.next.cast_signed();
        self.leases.insert(lease, (name.to_owned(), slots));
        Ok(lease)
    }

    fn wakers(&self, name: &str) -> Vec<Waker> {
        self.waiters.iter().filter(|waiter| waiter.model == name).map(|waiter| waiter.waker.clone()).collect()
    }
}

/// What the component and the operations under way share.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place in the queue, kept once the waiter polls.
    pub fn ticket(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next
    }

    pub fn acquire_or_wait(&self, name: &str, ticket: u64, waker: &Waker) -> Result<Option<i64>> {
        let mut state = self.lock();
        let model = state.model(name)?;
        if model.state == ModelState::Failed {
            return Err(Error::conflict(format!("model {name} failed")).with("reason", &model.reason));
        }
        let free = model.free(1);
        let first = state.waiters.iter().find(|waiter| waiter.model == name).map(|waiter| waiter.ticket);
        if free && first.is_none_or(|first| first == ticket) {
            state.waiters.retain(|waiter| waiter.ticket != ticket);
            return state.grant(name, 1).map(Some);
        }
        let waiter = Waiter { ticket, model: name.to_owned(), waker: waker.clone() };
        match state.waiters.iter_mut().find(|known| known.ticket == ticket) {
            Some(known) => *known = waiter,
            None => state.waiters.push_back(waiter),
        }
        Ok(None)
    }

    /// The waiter got its lease, or gave up: the next one looks again.
    pub fn leave(&self, name: &str, ticket: u64) {
        let wakers = {
            let mut state = self.lock();
            let before = state.waiters.len();
            state.waiters.retain(|waiter| waiter.ticket != ticket);
            let more = state.models.get(name).is_some_and(|model| model.free(1));
            if before == state.waiters.len() && !more { Vec::new() } else { state.wakers(name) }
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Change a model, then wake those who wait for it.
    fn change(&self, name: &str, change: impl FnOnce(&mut Model) -> Result<()>) -> Result<Value> {
        let wakers = {
            let mut state = self.lock();
            change(state.model(name)?)?;
            state.wakers(name)
        };
        wakers.into_iter().for_each(Waker::wake);
        Ok(Value::None)
    }
}

/// See the module documentation of the crate.
pub(crate) struct PoolManager {
    host: Host,
    shared: Arc<Shared>,
}

impl PoolManager {
    pub fn register(&self, args: &Args<'_>) -> Result<Value> {
        let name = args.str(0)?;
        let registration = Registration {
            provider: args.str(1)?.to_owned(),
            memory: args.unsigned(2)?,
            instances: args.unsigned(3)?,
        };
        if name.is_empty() || registration.instances == 0 {
            return Err(Error::invalid("a model needs a name and at least one instance"));
        }
        let mut state = self.shared.lock();
        if state.models.get(name).is_some_and(|model| model.registration == registration) {
            return Ok(Value::None);
        }
        let payload = Writer::default()
            .str(name)
            .str(&registration.provider)
            .u64(registration.memory)
            .u32(registration.instances)
            .finish();
        self.host.append(KIND_REGISTERED, REVISION, self.host.now(), &payload)?;
        match state.models.get_mut(name) {
            Some(model) => model.registration = registration,
            None => {
                state.models.insert(name.to_owned(), Model::new(registration));
            }
        }
        Ok(Value::None)
    }

    pub fn warm(&self, args: &Args<'_>) -> Result<Value> {
        let mut state = self.shared.lock();
        let name = args.str(0)?;
        let model = state.model(name)?;
        if model.state == ModelState::Failed {
            model.transition(name, Transition::Recover)?;
            model.reason.clear();
        }
        let load = model.state == ModelState::Cold;
        if load {
            model.transition(name, Transition::Warm)?;
            model.misses += 1;
        }
        Ok(Value::Bool(load))
    }

    pub fn warmed(&self, args: &Args<'_>) -> Result<Value> {
        let (name, seconds) = (args.str(0)?, args.float(1)?);
        self.shared.change(name, |model| {
            model.transition(name, Transition::Warmed)?;
            model.loads += 1;
            model.load_seconds += seconds;
            Ok(())
        })
    }

    pub fn failed(&self, args: &Args<'_>) -> Result<Value> {
        let (name, reason) = (args.str(0)?, args.str(1)?);
        self.shared.change(name, |model| {
            model.transition(name, Transition::Fail)?;
            reason.clone_into(&mut model.reason);
            Ok(())
        })
    }

    pub fn cool(&self, args: &Args<'_>) -> Result<Value> {
        let name = args.str(0)?;
        let mut state = self.shared.lock();
        let model = state.model(name)?;
        let unload = model.state == ModelState::Hot && model.leased == 0;
        if unload {
            model.transition(name, Transition::Cool)?;
        }
        Ok(Value::Bool(unload))
    }

    pub fn cooled(&self, args: &Args<'_>) -> Result<Value> {
        let name = args.str(0)?;
        self.shared.change(name, |model| model.transition(name, Transition::Cooled))
    }

    pub fn try_acquire(&self, args: &Args<'_>) -> Result<Value> {
        let (name, slots): (_, u32) = (args.str(0)?, args.unsigned(1)?);
        let mut state = self.shared.lock();
        let waited_for = state.waiters.iter().any(|waiter| waiter.model == name);
        let model = state.model(name)?;
        if slots == 0 || slots > model.registration.instances {
            let limit = model.registration.instances;
            return Err(Error::invalid(format!("slots: expected 1 to {limit}, got {slots}")));
        }
        if waited_for || !model.free(slots) {
            return Ok(Value::None);
        }
        model.hits += 1;
        state.grant(name, slots).map(Value::Int)
    }

    pub fn acquire(&self, args: &Args<'_>) -> Result<Value> {
        let timeout = args.get(1)?;
        let timeout = match timeout.as_f64() {
            Some(seconds) => Some(Duration::try_from_secs_f64(seconds).map_err(|_| {
                Error::invalid(format!("timeout: expected seconds of at least 0, got {seconds}"))
            })?),
            None if timeout.is_none() => None,
            None => {
                return Err(Error::invalid(format!("timeout: expected float, got {}", timeout.type_name())));
            }
        };
        block_on(Acquire::new(Arc::clone(&self.shared), args.str(0)?), timeout)
    }

    pub fn acquire_async(&self, args: &Args<'_>) -> Result<Pending> {
        Ok(Pending(Box::pin(Acquire::new(Arc::clone(&self.shared), args.str(0)?))))
    }

    pub fn release(&self, args: &Args<'_>) -> Result<Value> {
        let lease = args.int(0)?;
        let wakers = {
            let mut state = self.shared.lock();
            let (name, slots) =
                state.leases.remove(&lease).ok_or_else(|| Error::not_found(format!("no lease {lease}")))?;
            state.model(&name)?.leased -= slots;
            state.wakers(&name)
        };
        wakers.into_iter().for_each(Waker::wake);
        Ok(Value::None)
    }

    pub fn models(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::List(self.shared.lock().models.iter().map(|(name, model)| model.row(name)).collect()))
    }

    #[expect(clippy::unused_self, reason = "every component answers ping, and does nothing")]
    pub fn ping(&self, _args: &Args<'_>) -> Result<Value> {
        Ok(Value::None)
    }

    pub fn stats(&self, _args: &Args<'_>) -> Result<Value> {
        let state = self.shared.lock();
        let sum = |count: fn(&Model) -> u64| Value::from(state.models.values().map(count).sum::<u64>());
        Ok(Value::map([
            ("models", Value::from(state.models.len())),
            ("hot", sum(|model| u64::from(model.state == ModelState::Hot))),
            ("leases", Value::from(state.leases.len())),
            ("waiting", Value::from(state.waiters.len())),
            ("hits", sum(|model| model.hits)),
            ("misses", sum(|model| model.misses)),
        ]))
    }
}

impl Component for PoolManager {
    fn create(host: Host) -> Result<Self> {
        Ok(Self { host, shared: Arc::default() })
    }

    fn replay(&self, record: &Record<'_>) -> Result<()> {
        if record.kind != KIND_REGISTERED {
            return Err(Error::corrupt(format!("a model record has kind {}", record.kind)));
        }
        let mut reader = Reader::new(record.payload);
        let name = reader.str()?.to_owned();
        let registration = Registration {
            provider: reader.str()?.to_owned(),
            memory: reader.u64()?,
            instances: reader.u32()?,
        };
        self.shared.lock().models.insert(name, Model::new(registration));
        Ok(())
    }
}
