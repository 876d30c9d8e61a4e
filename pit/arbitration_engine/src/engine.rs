//! The state under its lock. Every change goes through [`Engine::change`]: what follows from it (the next ones are served,
//! some are refused) happens under the same lock, and wakers are called once it is given back. The Pool Manager is asked
//! outside the lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use symphony_pit::{Error, Host, Result, Value};

use crate::resource::Resource;
use crate::state::{Answer, State};
use crate::ticket::Wish;

const POOL: &str = "symphony.pool_manager";

pub(crate) struct Engine {
    pub host: Host,
    state: Mutex<State>,
}

impl Engine {
    pub fn new(host: Host) -> Self {
        Self { host, state: Mutex::new(State::new(host)) }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change the state under its lock, and serve whoever is next by that; then call those who were served.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let now = self.host.now();
        let mut state = self.lock();
        state.now = state.now.max(now);
        state.expire();
        state.serve();
        let result = change(&mut state);
        state.serve();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub fn request(&self, wish: Wish) -> Result<Answer> {
        self.ask_pool(&wish.resource, wish.amount)?;
        self.change(|state| state.request(wish))
    }

    /// Learn how many instances a model has, where that is its capacity and is not known, or may be too little by now.
    fn ask_pool(&self, name: &str, amount: f64) -> Result<()> {
        let asks = |found: &Resource| found.asks_pool() && found.instances.is_none_or(|known| known < amount);
        if !self.lock().resources.get(name).is_some_and(asks) {
            return Ok(());
        }
        let instances = instances(&self.host.call(POOL, "models", &[])?);
        let count = instances.get(name).copied().ok_or_else(|| {
            Error::not_found(format!(
                "the Pool Manager has no model {name:?}, and the resource no capacity of its own"
            ))
        })?;
        self.change(|state| {
            state.named(name)?.instances = Some(count);
            Ok(())
        })
    }

    /// Look up the instances of all models anew; those that the Pool Manager no longer knows keep theirs.
    pub fn refresh(&self) -> Result<()> {
        if !self.lock().resources.values().any(Resource::asks_pool) {
            return Ok(());
        }
        let instances = instances(&self.host.call(POOL, "models", &[])?);
        self.change(|state| {
            for resource in state.resources.values_mut().filter(|resource| resource.asks_pool()) {
                if let Some(count) = instances.get(&*resource.name) {
                    resource.instances = Some(*count);
                    state.touched.insert(Arc::clone(&resource.name));
                }
            }
            Ok(())
        })
    }
}

/// The instances of every model, from the Pool Manager's list.
fn instances(models: &Value) -> BTreeMap<String, f64> {
    let Value::List(models) = models else { return BTreeMap::new() };
    let row = |model: &Value| {
        let Value::Map(pairs) = model else { return None };
        let get =
            |wanted: &str| pairs.iter().find(|(key, _)| *key == Value::from(wanted)).map(|(_, value)| value);
        let (Value::Str(name), instances) = (get("name")?, get("instances")?) else { return None };
        #[expect(clippy::cast_precision_loss, reason = "a u32")]
        match instances {
            Value::Int(count) => Some((name.clone(), *count as f64)),
            Value::UInt(count) => Some((name.clone(), *count as f64)),
            _ => None,
        }
    };
    models.iter().filter_map(row).collect()
}
