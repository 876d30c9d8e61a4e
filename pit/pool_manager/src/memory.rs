//! The memory cap: which idle models go, least recently used first, and what is loaded in their place.

use symphony_pit::{Error, ErrorKind, Result};

use crate::model::{Model, ModelState};
use crate::state::{After, State};

impl State {
    fn memory_of(&self, wanted: impl Fn(&Model) -> bool) -> u64 {
        self.models.iter().filter(|model| wanted(model)).map(|model| model.registration.memory).sum()
    }

    /// Bytes that would be taken beyond the cap if a model of this size came in.
    fn excess(&self, limit: u64, wanted: u64) -> u64 {
        self.memory_of(Model::is_resident).saturating_add(wanted).saturating_sub(limit)
    }

    /// Whether a model fits the memory; if not, idle ones are chosen to go. The time (µs) at which one more may go comes
    /// back where that is what is missing.
    pub fn make_room(&mut self, index: usize, now: i64, after: &mut After) -> Result<(bool, Option<i64>)> {
        let Some(limit) = self.limits.memory else { return Ok((true, None)) };
        let wanted = self.models[index].registration.memory;
        if wanted > limit {
            let name = &self.models[index].name;
            let message =
                format!("model {name} takes {wanted} bytes, and all models together may take {limit}");
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        match self.excess(limit, wanted) {
            0 => Ok((true, None)),
            missing => Ok((false, self.evict(missing, now, after))),
        }
    }

    /// Let idle models go that no longer fit the cap.
    pub fn shrink(&mut self, now: i64, after: &mut After) {
        if let Some(limit) = self.limits.memory {
            self.evict(self.excess(limit, 0), now, after);
        }
    }

    /// Ask the engine to unload idle models until so many bytes are free, or on their way to be. Gives the time (µs) at
    /// which one more may go, if that is not enough.
    fn evict(&mut self, missing: u64, now: i64, after: &mut After) -> Option<i64> {
        // What is on its way out counts, so that no more than needed is sent after it.
        let going = |model: &Model| model.state == ModelState::Cooling || model.unload_asked;
        let mut missing = missing.saturating_sub(self.memory_of(going));
        let mut idle: Vec<(u64, usize, i64)> = (0..self.models.len())
            .filter(|&index| !self.models[index].unload_asked && self.waiters.is_empty(index))
            .filter_map(|index| {
                Some((self.models[index].last_use, index, self.models[index].evictable_at()?))
            })
            .collect();
        idle.sort_unstable();
        let mut next = None;
        for (_, index, when) in idle {
            if missing == 0 {
                break;
            }
            if when > now {
                next = Some(next.map_or(when, |next: i64| next.min(when)));
                continue;
            }
            let model = &mut self.models[index];
            model.unload_asked = true;
            model.metrics.evictions += 1;
            missing = missing.saturating_sub(model.registration.memory);
            after.asks.push(("model.unload", index, model.name.clone()));
        }
        next
    }

    /// Ask the engine to load a cold model, once there is room for it.
    pub fn want_load(&mut self, index: usize, now: i64, after: &mut After) -> Result<Option<i64>> {
        let (room, next) = self.make_room(index, now, after)?;
        let model = &mut self.models[index];
        if room && model.state == ModelState::Cold && !model.load_asked {
            model.load_asked = true;
            after.asks.push(("model.load", index, model.name.clone()));
        }
        Ok(next)
    }

    /// Go on with the models that are wanted ahead of their use, where there is room for them now.
    pub fn load_ahead(&mut self, now: impl FnOnce() -> i64, after: &mut After) {
        if self.ahead.is_empty() {
            return;
        }
        let now = now();
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.retain(|&index| self.models[index].prewarmed && self.models[index].state == ModelState::Cold);
        for &index in &ahead {
            if !self.models[index].load_asked {
                let _ = self.want_load(index, now, after); // no room: it is a wish, and stays one
            }
        }
        self.ahead = ahead;
    }
}
